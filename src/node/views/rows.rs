//! Statements that store many rows: a hop to SQLite's thread costs as much as storing about ten rows.

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe};

use super::error::ViewsError;

/// Rows per statement.
const ROWS_PER_STATEMENT: usize = 64;

pub(super) const NEVER_FAILS: &str = "numbers, texts and bytes always bind";

/// The rows for one table, with the SQL around their `VALUES`.
pub(super) struct Rows {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    arguments: Vec<SqliteArguments>,
    in_last: usize,
}

impl Rows {
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, arguments: Vec::new(), in_last: 0 }
    }

    /// The arguments to which the next row is to be added.
    pub(super) fn next(&mut self) -> &mut SqliteArguments {
        if self.in_last == ROWS_PER_STATEMENT || self.arguments.is_empty() {
            let mut arguments = SqliteArguments::default();
            arguments.reserve(ROWS_PER_STATEMENT * self.columns, 0);
            self.arguments.push(arguments);
            self.in_last = 0;
        }
        self.in_last += 1;
        self.arguments.last_mut().expect("one was just pushed")
    }

    pub(super) async fn store(self, connection: &mut SqliteConnection) -> Result<(), ViewsError> {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        for arguments in self.arguments {
            let values = vec![row.as_str(); arguments.len() / self.columns].join(", ");
            let text = format!("{} VALUES {values} {}", self.head, self.tail);
            sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut *connection).await?;
        }
        Ok(())
    }
}
