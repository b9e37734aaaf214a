//! Views of the ledger, in SQLite: keys, accounts, balances, holds, orders, and the indexes of lists and statements.
//!
//! Everything here is derived from log entries and is as of one projected index; what is younger is answered from
//! memory and the ledger. The file may be deleted, and is created anew when it is missing, damaged or of another
//! ledger. This module knows entries and their outcomes; it knows neither the ledger's file nor when to project.
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | opens the file or creates it |
//! | `writer.rs` | projects entries into the views |
//! | `chunk.rs` | what a chunk of entries changes, aggregated in memory |
//! | `reader.rs` | lookups |
//! | `whole.rs` | the views as a whole, for loading and auditing |
//! | `recreate.rs` | makes damaged views anew while others read |
//! | `error.rs` | errors |

mod chunk;
mod error;
mod files;
mod reader;
mod recreate;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use error::ViewsError;
pub use files::{OpenViews, open, open_read_only};
pub use reader::{Lookups, ViewsReader};
pub use recreate::recreate;
pub use whole::ViewsContents;
pub use writer::ViewsWriter;
