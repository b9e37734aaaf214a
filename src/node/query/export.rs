//! Exports: all entries of a stretch, or all lines of a statement, as streams of bounded chunks.

use std::sync::Arc;

use futures_util::Stream;

use super::error::{ReadError, unreadable};
use super::pages::Cursor;
use super::queries::{EngineMemory, Queries};
use super::statement::{StatementFilter, StatementLine};
use quorapay_core::domain::{AccountId, LogIndex};
use quorapay_core::replication::Entry;

/// Entries, or lines of a statement, that an export reads at a time.
const EXPORT_CHUNK: usize = 1_000;

impl<M: EngineMemory> Queries<M> {
    /// All entries from `from` up to and including `to`, oldest first, some at a time. Ends after the first error, and
    /// with one if an entry is missing.
    pub fn export_entries(
        &self,
        from: LogIndex,
        to: LogIndex,
    ) -> impl Stream<Item = Result<Vec<Arc<Entry>>, ReadError>> + Send + use<M> {
        let queries = self.clone();
        futures_util::stream::try_unfold(from, move |from| {
            let queries = queries.clone();
            async move {
                if from > to {
                    return Ok(None);
                }
                let entries = queries.entries(from, to, EXPORT_CHUNK).await?;
                let last = entries.last().ok_or_else(|| unreadable(format!("entry {from} is missing")))?;
                let next = last.index.next();
                Ok(Some((entries, next)))
            }
        })
    }

    /// Everything that moved an account's money up to `at`, newest first, some lines at a time, which may be none. Ends
    /// after the first error.
    pub fn export_statement(
        &self,
        account: AccountId,
        filter: StatementFilter,
        at: LogIndex,
    ) -> impl Stream<Item = Result<Vec<StatementLine>, ReadError>> + Send + use<M> {
        let queries = self.clone();
        futures_util::stream::try_unfold(Some(Cursor::at(at.next())), move |before| {
            let (queries, account) = (queries.clone(), account.clone());
            async move {
                let Some(before) = before else { return Ok(None) };
                let page = queries.statement(&account, filter, at, Some(before), EXPORT_CHUNK).await?;
                Ok(Some((page.found, page.next_before)))
            }
        })
    }
}
