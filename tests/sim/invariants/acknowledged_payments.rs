//! Invariant: every acknowledged write stays in the committed history, at the acknowledged index, under the caller's
//! key.

use quorapay_core::domain::{Fingerprint, IdempotencyKey, LogIndex};
use quorapay_core::replication::Entry;

use super::committed_history::CommittedHistory;
use crate::clients::Intent;

/// All acknowledged writes.
#[derive(Default)]
pub(super) struct AcknowledgedPayments(Vec<(IdempotencyKey, LogIndex)>);

impl AcknowledgedPayments {
    pub(super) fn decided(&mut self, intent: &Intent, entry: &Entry) {
        self.record(intent, entry.index, entry);
        let fingerprint = entry.operation().and_then(|operation| operation.fingerprint());
        let asked = intent.proposal.request.fingerprint();
        assert_eq!(fingerprint, Some(asked), "the answer is of another request: {entry:?}");
    }

    pub(super) fn repeated(&mut self, intent: &Intent, index: LogIndex, entry: Option<&Entry>, asked: Fingerprint) {
        assert_eq!(asked, intent.proposal.request.fingerprint(), "the answer names the caller's own request");
        match entry {
            Some(entry) => {
                assert_eq!(entry.index, index, "the answer's entry is the one it names");
                self.record(intent, index, entry);
            }
            None => self.0.push((intent.proposal.key.clone(), index)),
        }
    }

    fn record(&mut self, intent: &Intent, index: LogIndex, entry: &Entry) {
        let key = &intent.proposal.key;
        let holds = entry.operation().is_some_and(|operation| operation.fingerprint_under(key).is_some());
        assert!(holds, "the answer is of another key than {key}: {entry:?}");
        self.0.push((intent.proposal.key.clone(), index));
    }

    pub(super) fn check_end_state(&self, history: &CommittedHistory) {
        for (key, index) in &self.0 {
            let entry = history.at(*index);
            let operation = entry.and_then(|entry| entry.operation());
            let held = operation.is_some_and(|operation| operation.fingerprint_under(key).is_some());
            assert!(held, "an acknowledged write under {key} is not at {index}: {entry:?}");
        }
    }
}
