//! The stream of `GET /v1/ledger/backup`, in the order of its bytes:
//!
//! 1. the chain's hash before the first entry;
//! 2. pieces: a length as four bytes, little-endian, so many bytes of consecutive entries, each in its canonical bytes
//!    behind its own length of four bytes, and the chain's hash after the last of them;
//! 3. a length of zero. A stream without it is not whole.

/// Bytes of a hash.
pub const BACKUP_HASH_BYTES: usize = 32;

/// Bytes of a piece's length.
pub const BACKUP_LENGTH_BYTES: usize = size_of::<u32>();

/// Longest piece: one entry with its length.
pub const MAX_BACKUP_PIECE_BYTES: usize = quorapay_core::replication::MAX_ENTRY_BYTES + BACKUP_LENGTH_BYTES;
