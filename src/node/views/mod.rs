//! Views of the ledger, in SQLite: keys, accounts, balances, holds, orders, and what lists and statements find by.
//!
//! Everything here is derived from log entries and stands at one projected index; what is younger is answered from
//! memory. It may be deleted, and is made anew when it is missing, damaged or of another ledger. It knows entries and
//! what they decided, and neither the ledger's file nor when it is worth projecting.

mod chunk;
mod error;
mod files;
mod reader;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use error::ViewsError;
pub use files::{OpenViews, open, open_read_only};
pub use reader::{Lookups, ViewsReader};
pub use whole::ViewsContents;
pub use writer::ViewsWriter;
