//! The ledger file, in SQLite: the log entries and the replica's durable state.
//!
//! One writer makes entries, promises and the commit index durable, a batch per transaction; readers run concurrently.
//! This module knows entries and rows; it does not know the protocol that decides what is written, peers or clients.
//!
//! A write that returned survives a power cut. A write that failed has an unknown outcome, and the writer rejects
//! everything after it. What is read is verified against the hash chain before it is used.
//!
//! | file | what |
//! |---|---|
//! | `open.rs`, `start.rs` | opens the file, and loads and verifies what a replica starts from |
//! | `durable.rs` | makes durable what a ledger holds when it is opened |
//! | `files.rs` | the files of a ledger, the lock over them, moving damaged ones aside |
//! | `watermark.rs` | the file that reveals a ledger that lost its end |
//! | `writer.rs`, `statements.rs` | writes batches; the SQL texts for that |
//! | `checkpoint.rs` | writes the WAL back into the database file |
//! | `reader.rs`, `scan.rs`, `chain.rs` | reads entries: by index, newest first by a filter, with their chain checked |
//! | `stretch.rs` | reads consecutive entries as the bytes of copies |
//! | `recover.rs` | makes the first ledger of a new cluster, from a surviving one or from entries |
//! | `row.rs`, `detail.rs` | entries as rows and as JSON in a row |
//! | `error.rs` | errors |

mod chain;
mod checkpoint;
mod detail;
mod durable;
mod error;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod open;
mod reader;
mod recover;
mod row;
mod scan;
mod start;
mod statements;
mod stretch;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

pub use error::LedgerError;
pub(crate) use files::condemned;
pub use files::{DirectoryLock, LOCK_FILE, condemn};
pub use open::{Identity, InspectedLedger, OpenLedger, OpeningTimes, inspect, open};
pub use reader::{LedgerReader, StoredEntry};
pub use recover::{FirstVoter, FoundingLedger, move_ledger, recover};
pub use scan::{EntryPage, ScanFilter, ScanFor};
pub use stretch::Stretch;
pub use watermark::Watermark;
pub use writer::LedgerWriter;
