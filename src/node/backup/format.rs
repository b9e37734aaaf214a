//! What a backup file holds: a magic text and a version, then blocks: a header, frames, a trailer. Heads are in postcard.
//!
//! A change of any type here is another version.

use serde::{Deserialize, Serialize};

use super::block::Block;
use quorapay_api::Rfc3339;
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::{MAX_ENTRY_BYTES, Position};

/// What every backup begins with.
pub(super) const MAGIC: [u8; 8] = *b"QPBACKUP";

/// The version of the format, which follows the magic text as four bytes, little-endian.
pub(super) const VERSION: u32 = 2;

/// Bytes of magic text and version.
pub(super) const PREAMBLE_BYTES: usize = MAGIC.len() + size_of::<u32>();

/// A frame is written when it holds so many bytes of entries.
pub(super) const FRAME_BYTES: usize = 1 << 20;

/// Most bytes of entries in a frame: one more entry than it needed.
pub(super) const MAX_FRAME_BYTES: usize = FRAME_BYTES + MAX_ENTRY_BYTES + size_of::<u32>();

pub(super) const HEADER: u8 = b'H';
pub(super) const FRAME: u8 = b'F';
pub(super) const TRAILER: u8 = b'T';

/// A place in a ledger with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The position of the entry.
    pub position: Position,
    /// The ledger's time there.
    pub time: Timestamp,
}

impl Moment {
    /// The time for people.
    #[must_use]
    pub const fn shown_time(&self) -> Rfc3339 {
        Rfc3339(self.time)
    }
}

/// The first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster whose ledger it is.
    pub cluster_id: String,
    /// What its entries follow: nothing for a full backup, the end of an earlier backup for an incremental one.
    pub after: Moment,
}

/// The head of a frame. Its payload are entries, compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameHead {
    /// Its last entry.
    pub(super) end: Moment,
    /// Bytes of the entries before compression.
    pub(super) bytes: u32,
}

/// The last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    /// The last entry.
    pub(super) end: Moment,
}

/// Writes a head.
pub(super) fn head(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("heads are made of numbers and texts")
}

/// Reads the head of a block of this kind, whole.
pub(super) fn read_head<'a, T: Deserialize<'a>>(block: &'a Block, kind: u8) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(&block.head).ok()?;
    (block.kind == kind && rest.is_empty()).then_some(value)
}
