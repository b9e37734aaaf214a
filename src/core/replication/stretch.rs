//! A stretch of the ledger as bytes, for those who copy it: consecutive entries in their canonical bytes, each behind
//! its length. The hashes are not sent along. Who reads a stretch computes them, and compares the last one with the one
//! that it was told.

use super::entry::{Entry, UnchainedEntry};
use super::types::Position;
use crate::domain::LogIndex;

/// Most bytes of an entry: four times what a batch may have as a body.
pub const MAX_ENTRY_BYTES: usize = 64 << 20;

/// The length before each entry, little-endian.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Why bytes are no stretch of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StretchError {
    /// The bytes end within an entry, or its length is none.
    #[error("the bytes of entry {0} are cut short")]
    Cut(LogIndex),
    /// The bytes of an entry are none that this program writes.
    #[error("entry {0} cannot be read")]
    Unreadable(LogIndex),
    /// Another entry comes where this one should.
    #[error("entry {0} does not come next")]
    NotConsecutive(LogIndex),
}

/// Appends an entry to a stretch.
///
/// # Panics
/// If the entry is longer than four gigabytes, which no batch comes near.
pub fn append_to_stretch(stretch: &mut Vec<u8>, entry: &Entry) {
    let begun = stretch.len();
    stretch.extend_from_slice(&[0; LENGTH_BYTES]);
    entry.append_canonical(stretch);
    let length = u32::try_from(stretch.len() - begun - LENGTH_BYTES).expect("a batch is limited to megabytes");
    stretch[begun..begun + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Reads the stretch that follows `before`, and computes the hashes of its entries.
///
/// # Errors
/// [`StretchError`] names the entry at which the bytes are wrong.
pub fn read_stretch(mut stretch: &[u8], before: &Position) -> Result<Vec<Entry>, StretchError> {
    let (mut entries, mut last) = (Vec::new(), *before);
    while !stretch.is_empty() {
        let index = last.index.next();
        let cut = StretchError::Cut(index);
        let (length, rest) = stretch.split_first_chunk::<LENGTH_BYTES>().ok_or(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut)?;
        let (bytes, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_ENTRY_BYTES).ok_or(cut)?;
        let entry = UnchainedEntry::from_canonical(bytes).ok_or(StretchError::Unreadable(index))?;
        if entry.index != index || entry.epoch < last.epoch {
            return Err(StretchError::NotConsecutive(index));
        }
        let entry = entry.chain(&last.hash);
        last = entry.position();
        entries.push(entry);
        stretch = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::Chain;

    fn stretch(chain: &Chain) -> Vec<u8> {
        let mut bytes = Vec::new();
        chain.entries.iter().for_each(|entry| append_to_stretch(&mut bytes, entry));
        bytes
    }

    #[test]
    fn a_stretch_reads_back_with_the_same_hashes() {
        let mut chain = Chain::begun();
        chain.one_of_each();
        let read = read_stretch(&stretch(&chain), &Position::default()).expect("its own bytes");
        assert!(read.iter().eq(chain.entries.iter().map(|entry| &**entry)));
        assert_eq!(read.last().map(Entry::position), Some(chain.last()));
    }

    #[test]
    fn a_stretch_that_is_cut_or_begins_elsewhere_is_refused() {
        let chain = Chain::of_payments(4);
        let bytes = stretch(&chain);
        let cut = read_stretch(&bytes[..bytes.len() - 1], &Position::default());
        assert_eq!(cut, Err(StretchError::Cut(LogIndex(4))));
        let elsewhere = read_stretch(&bytes, &chain.entries[0].position());
        assert_eq!(elsewhere, Err(StretchError::NotConsecutive(LogIndex(2))));
        let mut longer = bytes;
        longer.insert(LENGTH_BYTES, 0);
        assert!(read_stretch(&longer, &Position::default()).is_err());
    }

    #[test]
    fn a_changed_byte_never_leads_to_the_same_hash() {
        let chain = Chain::of_payments(3);
        let bytes = stretch(&chain);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = read_stretch(&changed, &Position::default());
            let end = read.ok().and_then(|entries| entries.last().map(Entry::position));
            assert_ne!(end, Some(chain.last()), "byte {at}");
        }
    }
}
