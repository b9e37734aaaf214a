//! No entry was asked for with an API key that was not in force there.

use std::collections::BTreeMap;

use quorapay_core::domain::{ApiKeyChangeKind, ApiKeyId, ApiKeyOutcome, Operation};
use quorapay_core::engine::Engine;
use quorapay_core::replication::Entry;

/// A model of the keys, as of the committed history.
#[derive(Default)]
pub(super) struct Callers {
    /// Whether each is revoked.
    revoked: BTreeMap<ApiKeyId, bool>,
}

impl Callers {
    /// An entry is committed.
    pub(super) fn committed(&mut self, entry: &Entry, operation: &Operation) {
        if let Some(principal) = entry.principal {
            let in_force = self.revoked.get(&principal) == Some(&false);
            assert!(in_force, "entry {} was asked for with {principal}, which is not in force", entry.index);
        }
        let Operation::ApiKey(change) = operation else { return };
        let known = self.revoked.get(&change.id).copied();
        let applies = match change.change {
            ApiKeyChangeKind::Create { .. } => known.is_none(),
            ApiKeyChangeKind::Rotate { .. } | ApiKeyChangeKind::Revoke => known == Some(false),
        };
        assert_eq!(change.outcome == ApiKeyOutcome::Applied, applies, "entry {}: {change:?}", entry.index);
        if applies {
            self.revoked.insert(change.id, matches!(change.change, ApiKeyChangeKind::Revoke));
        }
    }

    /// Compares the keys of a node that has applied the whole history.
    pub(super) fn compare(&self, node: usize, engine: &Engine) {
        let shown: BTreeMap<ApiKeyId, bool> =
            engine.api_keys().iter().map(|(id, key)| (*id, key.revoked_at.is_some())).collect();
        assert_eq!(shown, self.revoked, "node{} holds other API keys than the history", node + 1);
    }
}
