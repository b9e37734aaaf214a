//! Rows, for [`crate::fuzzing`].

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use super::row::{BOUND_COLUMNS, bind_entry, read_entry};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Entry;

/// A database in memory with its runtime.
struct Memory {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl Memory {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let connection = runtime.block_on(SqliteConnection::connect(":memory:")).expect("memory opens");
        Self { runtime, connection }
    }

    fn through_rows(&mut self, entry: &Entry) -> Arc<Entry> {
        let mut arguments = SqliteArguments::default();
        bind_entry(&mut arguments, entry, LogIndex(0)).expect("a ledger's numbers fit");
        let columns = vec!["?"; BOUND_COLUMNS].join(", ");
        let query = sqlx::query_with(AssertSqlSafe(format!("SELECT {columns}")), arguments);
        let row = self.runtime.block_on(query.fetch_one(&mut self.connection)).expect("a row comes back");
        read_entry(&row).expect("what was bound here can be read")
    }
}

/// An entry reads back from its row unchanged.
pub(crate) fn entry(entry: &Arc<Entry>) {
    thread_local! {
        static MEMORY: std::cell::RefCell<Memory> = std::cell::RefCell::new(Memory::open());
    }
    assert_eq!(MEMORY.with_borrow_mut(|memory| memory.through_rows(entry)), *entry);
}
