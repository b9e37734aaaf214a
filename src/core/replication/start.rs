//! What a node's ledger holds when its process starts.

use std::sync::Arc;

use super::entry::Entry;
use super::message::EpochSpan;
use super::types::{Configuration, Position, Promise, StoreId};
use crate::domain::{LogIndex, RuleVersion};

/// What a node's ledger holds when its process starts.
#[derive(Clone, Debug)]
pub struct ReplicaStart {
    /// The ledger file.
    pub store_id: StoreId,
    /// The highest promise.
    pub promise: Option<Promise>,
    /// Durable lower bound of the commit index; at most `last.index`.
    pub commit_index: LogIndex,
    /// End of the log.
    pub last: Position,
    /// Every epoch in the log with its first index, oldest first.
    pub spans: Vec<EpochSpan>,
    /// Every configuration in the log with its index, oldest first.
    pub configurations: Vec<(LogIndex, Configuration)>,
    /// The last entries of the log, consecutive up to `last`: at least the last one and all above `commit_index`.
    pub tail: Vec<Arc<Entry>>,
}

impl ReplicaStart {
    /// The start of an epoch that names rules which a program does not know that knows `newest` and all before it, with
    /// those rules. Such a program must not run on this ledger.
    #[must_use]
    pub fn unknown_rules(&self, newest: RuleVersion) -> Option<(LogIndex, RuleVersion)> {
        self.spans.iter().find(|span| span.rules > newest).map(|span| (span.start, span.rules))
    }
}
