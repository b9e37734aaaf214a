//! The texts of the writer's statements.
//!
//! A hop to SQLite's thread costs as much as storing ten rows, so one hop does as much as it can: a statement text may
//! begin the transaction, insert up to [`MAX_ROWS`] rows and commit. Each combination is a separate text,
//! composed when it is first needed, and prepared once per connection.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::row::{COLUMN_COUNT, COLUMNS};

/// Most rows in one statement. More would save little of the hop, and every prepared size costs memory.
pub(super) const MAX_ROWS: usize = 64;

/// Prepared statements that a connection keeps: every size that ends a transaction, opening it or not, and the rest.
pub(super) const CACHED_STATEMENTS: usize = 2 * MAX_ROWS + 8;

/// What one statement text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Begins the transaction first.
    pub(super) begins: bool,
    /// Inserts this many rows.
    pub(super) rows: usize,
    /// Stores promise and commit index, and commits the transaction.
    pub(super) commits: bool,
}

/// The texts that have been needed so far.
#[derive(Default)]
pub(super) struct Statements {
    texts: HashMap<Shape, Arc<str>>,
}

impl Statements {
    pub(super) fn text(&mut self, shape: Shape) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(self.texts.entry(shape).or_insert_with(|| compose(shape).into())))
    }
}

/// The row of `meta` is only written when it changes: a page that is not written saves 4 KiB in the WAL.
const UPDATE_META: &str = "UPDATE meta SET promised_epoch = ?, promised_leader = ?, commit_index = ? \
                           WHERE promised_epoch IS NOT ? OR commit_index IS NOT ?; ";

fn compose(shape: Shape) -> String {
    let mut text = String::new();
    if shape.begins {
        text.push_str("BEGIN IMMEDIATE; ");
    }
    if shape.rows > 0 {
        let row = format!("({})", vec!["?"; COLUMN_COUNT].join(", "));
        text.push_str("INSERT INTO entries (");
        text.push_str(COLUMNS);
        text.push_str(") VALUES ");
        text.push_str(&vec![row.as_str(); shape.rows].join(", "));
        text.push_str("; ");
    }
    if shape.commits {
        text.push_str(UPDATE_META);
        text.push_str("COMMIT");
    }
    text
}
