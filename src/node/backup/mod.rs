//! Backups: files that hold a stretch of a cluster's ledger, and new data directories from them.
//!
//! A backup is a header, frames of entries, and a trailer that says where it ends; a file without one is cut short. Every
//! block has a checksum, every frame the chain's hash at its end. A full backup begins at the first entry, an incremental
//! one after the last entry of an earlier file, whose hash it names. Nothing is believed of a file: whoever reads it
//! computes the chain.
//!
//! Who fetches the entries is not known here, and no file is read or written while a node runs on it.
//!
//! ```text
//! block    blocks with their checksums
//! format   what the blocks hold, and their order
//! writer   writes a backup to any output
//! part     a backup file while it is written: FILE.part, which can be continued
//! file     reads a backup file: its blocks first, then its entries in any order
//! chain    several files that join
//! audit    verifies a chain: hashes, the bank replayed, double entry
//! restore  a data directory from a chain
//! error    errors
//! ```

mod audit;
mod block;
mod chain;
mod error;
mod file;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod part;
mod restore;
#[cfg(test)]
mod tests;
mod writer;

pub use audit::verify;
pub use chain::BackupChain;
pub use error::BackupError;
pub use file::BackupFile;
pub use format::{Header, Moment};
pub use part::{PartFile, part_of};
pub use restore::{Limit, Restored, restore};
pub use writer::BackupWriter;
