//! Lookups on disk for a proposal: what was requested, what was found, and the proposal that waits.

use crate::domain::{IdempotencyKey, KeyDigest, KeyHolder, LogIndex, Proposal};

use super::message::{CallerId, LookupRequest, LookupResult};

/// A proposal that waits for a lookup.
#[derive(Debug)]
pub(super) struct PendingLookup {
    /// The projected index when the lookup was requested.
    pub(super) projected: LogIndex,
    pub(super) caller: CallerId,
    pub(super) proposal: Proposal,
    pub(super) request: LookupRequest,
    /// What earlier lookups for this proposal found, as of the same projected index.
    pub(super) looked_up: LookedUp,
}

/// What the lookups for one proposal requested and found: whatever was requested and not found does not exist.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    pub(super) requested: LookupRequest,
    pub(super) found: LookupResult,
}

impl LookedUp {
    pub(super) fn add(&mut self, requested: LookupRequest, found: LookupResult) {
        self.requested.keys.extend(requested.keys);
        self.requested.payments.extend(requested.payments);
        self.requested.orders.extend(requested.orders);
        self.found.keys.extend(found.keys);
        self.found.payments.extend(found.payments);
        self.found.orders.extend(found.orders);
    }

    pub(super) fn requested_key(&self, key: &IdempotencyKey) -> bool {
        self.requested.keys.contains_key(key)
    }

    pub(super) fn holder(&self, digest: KeyDigest) -> Option<KeyHolder> {
        self.found.keys.get(&digest).copied()
    }
}
