//! Invariant: timestamps never go back along the log, whatever the clocks did.

use std::sync::Arc;

use quorapay::replication::Entry;

pub(super) fn check(before: Option<&Arc<Entry>>, entry: &Entry) {
    if let Some(before) = before {
        assert!(entry.timestamp >= before.timestamp, "time goes back from {before:?} to {entry:?}");
    }
}
