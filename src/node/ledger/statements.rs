//! The texts of the writer's statements.
//!
//! A hop to SQLite's thread costs as much as storing ten rows, and each statement of a text wakes this thread once. So
//! up to [`MAX_ROWS`] rows are one text of one statement, which is a transaction by itself. A text with more statements
//! begins or ends a transaction of several. Each combination is a separate text, composed when it is first needed, and
//! prepared once per connection.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::row::{BOUND_COLUMNS, COLUMNS};

/// Most rows in one statement. More would save little of the hop, and every prepared size costs memory.
pub(super) const MAX_ROWS: usize = 64;

/// Prepared statements that a connection keeps: every size alone and at the end of a transaction, and the rest.
pub(super) const CACHED_STATEMENTS: usize = 2 * MAX_ROWS + 8;

/// What one statement text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Begins a transaction with promise and commit index, which come before rows.
    Opening {
        /// Removes the rows above an index first.
        truncates: bool,
    },
    /// Stores promise and commit index, as a transaction.
    Meta,
    /// Inserts this many rows.
    Rows {
        /// How many.
        rows: usize,
        /// Its part in the transaction.
        part: Part,
    },
    /// Ends a transaction.
    Commit,
}

/// The part of a statement in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// It is the whole transaction.
    Whole,
    /// It begins the transaction.
    First,
    /// It neither begins nor ends it.
    Middle,
    /// It ends the transaction.
    Last,
}

impl Part {
    /// The part of a statement that begins the transaction or not, and ends it or not.
    pub(super) const fn of(begins: bool, ends: bool) -> Self {
        match (begins, ends) {
            (true, true) => Self::Whole,
            (true, false) => Self::First,
            (false, false) => Self::Middle,
            (false, true) => Self::Last,
        }
    }
}

impl Shape {
    /// Whether the text is one statement that is a transaction by itself.
    pub(super) const fn is_whole(self) -> bool {
        matches!(self, Self::Meta | Self::Rows { part: Part::Whole, .. })
    }
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

const BEGIN: &str = "BEGIN IMMEDIATE; ";
const TRUNCATE: &str = "DELETE FROM entries WHERE log_index > ?; ";
const UPDATE_META: &str = "UPDATE meta SET promised_epoch = ?, promised_leader = ?, commit_index = ?";

fn compose(shape: Shape) -> String {
    match shape {
        Shape::Opening { truncates } => {
            let truncate = if truncates { TRUNCATE } else { "" };
            format!("{BEGIN}{truncate}{UPDATE_META}")
        }
        Shape::Meta => UPDATE_META.to_owned(),
        Shape::Rows { rows, part } => {
            let row = format!("({})", vec!["?"; BOUND_COLUMNS].join(", "));
            let rows = vec![row.as_str(); rows].join(", ");
            let begin = if part == Part::First { BEGIN } else { "" };
            let commit = if part == Part::Last { "; COMMIT" } else { "" };
            format!("{begin}INSERT INTO entries ({COLUMNS}, commit_lag) VALUES {rows}{commit}")
        }
        Shape::Commit => "COMMIT".to_owned(),
    }
}
