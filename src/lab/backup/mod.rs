//! Takes backups of a running cluster, from whichever node answers: one file, or a series of files in a directory.
//!
//! ```text
//! copy    copies the ledger from one node after another, verified
//! take    one backup: full or incremental, to a file that can be continued or to any output
//! series  full and incremental backups in a directory, and which of them are kept
//! error   why a backup was not taken
//! ```

mod copy;
mod error;
mod series;
mod take;

pub use error::TakeError;
pub use series::{Series, SeriesBackup};
pub use take::{Backup, take, write_to};
