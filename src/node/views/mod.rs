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
//! | `tables.rs` | stores what it changes in the small tables |
//! | `kind.rs` | what the segments hold, and which pairs a merge makes one |
//! | `pairs.rs` | sorted pairs of keys and values, and their merges |
//! | `block.rs`, `varint.rs` | how pairs are encoded |
//! | `segment.rs` | the segments, and which are to be merged when |
//! | `store.rs`, `rows.rs` | segments and blocks as rows |
//! | `merge.rs` | merges segments, step by step |
//! | `lookup.rs` | looks pairs up in all segments |
//! | `reader.rs` | what callers look up |
//! | `whole.rs` | the views as a whole, for loading and auditing |
//! | `recreate.rs` | makes damaged views anew while others read |
//! | `check.rs` | checks the segments, for audits |
//! | `error.rs` | errors |

mod block;
mod check;
mod chunk;
mod error;
mod files;
mod kind;
mod lookup;
#[cfg(test)]
mod measure;
mod merge;
mod pairs;
mod reader;
mod recreate;
mod rows;
mod segment;
#[cfg(test)]
mod segment_tests;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod varint;
mod whole;
mod writer;

pub use error::ViewsError;
pub use files::{OpenViews, open, open_read_only};
pub use reader::{Lookups, ViewsReader};
pub use recreate::recreate;
pub use whole::ViewsContents;
pub use writer::ViewsWriter;
