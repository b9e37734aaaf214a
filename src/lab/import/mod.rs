//! Reads payments from a CSV or NDJSON file and sends each exactly once, however often the import is interrupted.
//!
//! The file is read twice: first to its end, to check every row and to digest the content; then row by row into batches.
//! Every row has an idempotency key, named by the file or derived from its content, so that a row that was sent before is
//! answered and not paid again.
//!
//! ```text
//! job         one import from its start to its summary
//! source      the file: rows with their numbers and keys, and the digest
//! records     splits the file into records and a CSV record into fields
//! row         parses a record as a payment
//! send        sends rows in batches
//! report      the refused rows, as a CSV file and for the summary
//! checkpoint  how far an import is, in a file beside the imported one
//! file_format CSV or NDJSON
//! error       why an import stopped
//! ```

mod checkpoint;
mod error;
mod file_format;
mod job;
mod records;
mod report;
mod row;
mod send;
mod source;

pub use checkpoint::Counts;
pub use error::{ImportError, StopCause};
pub use file_format::FileFormat;
pub use job::{CheckProgress, CheckedImport, Import, ImportOptions, SendProgress, Summary};
pub use report::RefusedRow;
