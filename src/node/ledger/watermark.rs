//! The watermark: a small file outside SQLite that records a position up to which the ledger was durable and committed.
//!
//! SQLite drops the end of a WAL in which a bit has flipped, without an error: the ledger is then consistent but
//! shorter, and lacks payments that it acknowledged. The watermark reveals that.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::error::LedgerError;
use crate::durable_file;
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::{Hash, Position};

const FILE_NAME: &str = "watermark";
const HEADING: &str = "quorapay-watermark-1";

/// The watermark file of a data directory. Written once a second and at shutdown, so it is a lower bound.
///
/// It may be written from several tasks: the one that advances it, and the one that stops the node. They take turns, and
/// it never goes back.
#[derive(Clone, Debug)]
pub struct Watermark {
    path: PathBuf,
    /// The index that was written last; held while the file is written.
    written: Arc<Mutex<Option<LogIndex>>>,
}

impl Watermark {
    /// The watermark of the ledger in `data_dir`.
    #[must_use]
    pub fn in_directory(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE_NAME), written: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Advances the watermark to `position`, which must be committed and durable in this ledger. Does nothing if it is
    /// there already or further. Blocks for other writers and for one fsync. The directory is not synced: after a power
    /// cut the earlier watermark may be back, which is a lower bound too.
    ///
    /// # Errors
    /// [`LedgerError::File`]; the earlier watermark remains.
    pub fn write(&self, position: &Position) -> Result<(), LedgerError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|written| position.index <= written) {
            return Ok(());
        }
        durable_file::replace(&self.path, encode(position).as_bytes()).map_err(LedgerError::file(&self.path))?;
        *written = Some(position.index);
        Ok(())
    }

    /// The watermark, if there is a valid one: a file that fails its checksum is ignored.
    ///
    /// # Errors
    /// [`LedgerError::File`] if the file exists and cannot be read.
    pub fn read(&self) -> Result<Option<Position>, LedgerError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LedgerError::file(&self.path)(error)),
        };
        let position = std::str::from_utf8(&bytes).ok().and_then(decode);
        if position.is_none() {
            tracing::warn!(file = %self.path.display(), "the watermark fails its checksum and is not used");
        }
        Ok(position)
    }
}

fn encode(position: &Position) -> String {
    let Position { index, epoch, hash } = position;
    let text = format!("{HEADING} {index} {epoch} {hash}");
    let checksum = checksum(&text);
    format!("{text} {checksum}\n")
}

fn decode(line: &str) -> Option<Position> {
    let (text, sum) = line.trim_end().rsplit_once(' ')?;
    if checksum(text).to_string() != sum {
        return None;
    }
    let mut fields = text.strip_prefix(HEADING)?.split_ascii_whitespace();
    let index = LogIndex(fields.next()?.parse().ok()?);
    let epoch = Epoch(fields.next()?.parse().ok()?);
    let hash = parse_hash(fields.next()?)?;
    Some(Position { index, epoch, hash })
}

fn checksum(text: &str) -> Hash {
    Hash(Sha256::digest(text.as_bytes()).into())
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(Hash(hash))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn position() -> Position {
        Position { index: LogIndex(42), epoch: Epoch(7), hash: Hash([0xa5; 32]) }
    }

    #[test]
    fn a_watermark_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let watermark = Watermark::in_directory(dir.path());
        assert_eq!(watermark.read().unwrap(), None);
        watermark.write(&Position::default()).unwrap();
        watermark.write(&position()).unwrap();
        assert_eq!(watermark.read().unwrap(), Some(position()));
    }

    #[test]
    fn writers_take_turns_and_the_watermark_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let watermark = Watermark::in_directory(dir.path());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let watermark = watermark.clone();
                scope.spawn(move || {
                    let mut seen = LogIndex(0);
                    for round in 0..50 {
                        let index = LogIndex(1 + round * 4 + writer);
                        watermark.write(&Position { index, ..position() }).unwrap();
                        let read = watermark.read().unwrap().expect("it is whole");
                        assert!(read.index >= index && read.index >= seen, "{read:?} after {index} and {seen}");
                        seen = read.index;
                    }
                });
            }
        });
        assert_eq!(watermark.read().unwrap(), Some(Position { index: LogIndex(200), ..position() }));
    }

    #[test]
    fn a_watermark_with_any_flipped_bit_is_ignored() {
        let whole = encode(&position());
        for at in 0..whole.len() - 1 {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(std::str::from_utf8(&bytes).ok().and_then(decode), None, "byte {at}");
        }
    }

    #[test]
    fn a_cut_watermark_is_ignored() {
        let whole = encode(&position());
        for length in 0..whole.len() - 1 {
            assert_eq!(decode(&whole[..length]), None, "{length} bytes");
        }
    }
}
