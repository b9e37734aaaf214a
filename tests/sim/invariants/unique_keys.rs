//! Invariants: a key is in the committed history at most once, so nothing happens twice and a refused write never
//! happens later; a write that nobody appended is not there; and one whose outcome was unknown is there or is not.

use std::collections::HashMap;

use quorapay::domain::IdempotencyKey;
use quorapay::replication::LogIndex;

use crate::clients::Intent;

/// Where each committed key stands.
#[derive(Default)]
pub(super) struct UniqueKeys(HashMap<IdempotencyKey, LogIndex>);

impl UniqueKeys {
    pub(super) fn committed(&mut self, key: &IdempotencyKey, index: LogIndex) {
        if let Some(first) = self.0.insert(key.clone(), index) {
            panic!("{key} is committed at {first} and again at {index}");
        }
    }
}

/// What was refused by all who were asked is not in the history; what was answered is.
pub(super) fn check_refused(intents: &[Intent], keys: &UniqueKeys) {
    for intent in intents {
        let key = &intent.proposal.key;
        let committed = keys.0.get(key);
        if intent.settled {
            assert!(committed.is_some(), "{key} was answered and is not committed");
        } else if !intent.unknown && !intent.shared_key {
            assert_eq!(committed, None, "nobody is said to have appended {key}");
        }
    }
}
