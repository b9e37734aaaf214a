//! The ledger file: the truth of a node, in SQLite.
//!
//! One writer makes entries, promises and the commit index durable, a batch per transaction; readers run beside it. It
//! knows entries and rows, and nothing of the protocol that decides what is written, of peers or of clients.
//!
//! A write that returned survives a power cut. A write that failed has an unknown outcome, and the writer refuses
//! everything after it. What comes back from the disk is verified against the chain of hashes before it is believed.

mod chain;
mod detail;
mod error;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod open;
mod reader;
mod row;
mod scan;
mod start;
mod statements;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

pub use error::LedgerError;
pub use files::{DirectoryLock, condemn};
pub use open::{Identity, InspectedLedger, OpenLedger, inspect, open};
pub use reader::LedgerReader;
pub use scan::{EntryPage, ScanFilter, ScanFor};
pub use watermark::Watermark;
pub use writer::LedgerWriter;
