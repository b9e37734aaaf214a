//! Blocks: pieces of sorted pairs, each a row. A key says only what it does not share with the one before it, and a
//! checksum finds a flipped bit. Pure.

use super::error::{ViewsError, damaged};
use super::pairs::Pairs;
use super::varint::{push_varint, take_varint};

/// A block is full when it has this many bytes. SQLite keeps about 500 bytes of such a row in the tree and the rest in
/// one page of its own, which is full then.
const FULL_BYTES: usize = 4_560;
/// The most bytes of a block of more than one pair: a row with more takes another page.
const MAX_BYTES: usize = 5_040;
const CHECKSUM_BYTES: usize = 4;

/// A block with the key that it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first_key: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// Packs sorted pairs into blocks.
pub(super) fn pack(pairs: &Pairs) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut first_key, mut data): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut last: &[u8] = &[];
    for (key, value) in pairs.iter() {
        let too_large = data.len() + key.len() + value.len() + 6 > MAX_BYTES;
        if !data.is_empty() && (data.len() >= FULL_BYTES || too_large) {
            blocks.push(sealed(std::mem::take(&mut first_key), std::mem::take(&mut data)));
        }
        if data.is_empty() {
            first_key.extend_from_slice(key);
            data.extend([0; CHECKSUM_BYTES]);
            last = &[];
        }
        let shared = key.iter().zip(last).take_while(|(one, other)| one == other).count();
        push_varint(&mut data, shared as u64);
        push_varint(&mut data, (key.len() - shared) as u64);
        push_varint(&mut data, value.len() as u64);
        data.extend_from_slice(&key[shared..]);
        data.extend_from_slice(value);
        last = key;
    }
    if !data.is_empty() {
        blocks.push(sealed(first_key, data));
    }
    blocks
}

/// Appends the pairs of a block to those of the blocks before it.
///
/// # Errors
/// [`ViewsError::Damaged`] if it is not a block, or not the next one.
pub(super) fn unpack(data: &[u8], pairs: &mut Pairs) -> Result<(), ViewsError> {
    let mut rest = checked(data)?;
    let mut key: Vec<u8> = Vec::new();
    let mut begun = false;
    while !rest.is_empty() {
        let (suffix, value) = take_pair(&mut rest, &mut key).ok_or_else(|| damaged("a block is cut"))?;
        key.extend_from_slice(suffix);
        if pairs.last_key().is_some_and(|last| last >= key.as_slice()) {
            return Err(damaged("the keys of a block are not ascending"));
        }
        begun = true;
        pairs.push(&key, value);
    }
    if begun { Ok(()) } else { Err(damaged("a block is empty")) }
}

/// Cuts `key` to what the next key shares with it, and takes the rest of that key and its value.
fn take_pair<'data>(rest: &mut &'data [u8], key: &mut Vec<u8>) -> Option<(&'data [u8], &'data [u8])> {
    let mut number = || usize::try_from(take_varint(rest)?).ok();
    let (shared, suffix, value) = (number()?, number()?, number()?);
    if shared > key.len() {
        return None;
    }
    key.truncate(shared);
    let (suffix, behind) = rest.split_at_checked(suffix)?;
    let (value, behind) = behind.split_at_checked(value)?;
    *rest = behind;
    Some((suffix, value))
}

/// Puts a checksum before bytes.
pub(super) fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut data = crc32fast::hash(bytes).to_le_bytes().to_vec();
    data.extend_from_slice(bytes);
    data
}

/// What stands behind the checksum.
///
/// # Errors
/// [`ViewsError::Damaged`] if it does not fit.
pub(super) fn checked(data: &[u8]) -> Result<&[u8], ViewsError> {
    let (checksum, bytes) = data.split_first_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("a block is cut"))?;
    let fits = u32::from_le_bytes(*checksum) == crc32fast::hash(bytes);
    if fits { Ok(bytes) } else { Err(damaged("a block does not fit its checksum")) }
}

fn sealed(first_key: Vec<u8>, mut data: Vec<u8>) -> Block {
    let checksum = crc32fast::hash(&data[CHECKSUM_BYTES..]);
    data[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Block { first_key, data }
}
