//! Lookups on disk for a proposal: what was requested, what was found, and the proposal that waits.

use std::collections::BTreeMap;

use crate::domain::{IdempotencyKey, KeyDigest, KeyHolder, LogIndex};

use super::message::{LookupId, LookupRequest, LookupResult};
use super::proposals::Asking;

/// Proposals that may wait for lookups. With more, the disk is too slow for another one to be answered in time.
pub const MAX_PENDING_LOOKUPS: usize = 16_384;

/// Bytes of the proposals that may wait: as many as the uncommitted tail may hold. Batches reach this bound before the
/// other.
pub const MAX_PENDING_BYTES: usize = 64 << 20;

/// A proposal that waits for a lookup.
#[derive(Debug)]
pub(super) struct PendingLookup {
    /// The projected index when the lookup was requested.
    pub(super) projected: LogIndex,
    pub(super) asking: Asking,
    pub(super) request: LookupRequest,
    /// What earlier lookups for this proposal found, as of the same projected index.
    pub(super) looked_up: LookedUp,
}

/// The proposals that wait for lookups, within bounds.
#[derive(Debug, Default)]
pub(super) struct PendingLookups {
    by_id: BTreeMap<LookupId, PendingLookup>,
    /// Sum of the proposals' encoded lengths.
    bytes: usize,
}

impl PendingLookups {
    /// Whether another proposal has no room.
    pub(super) fn is_full(&self) -> bool {
        self.by_id.len() >= MAX_PENDING_LOOKUPS || self.bytes >= MAX_PENDING_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn insert(&mut self, id: LookupId, pending: PendingLookup) {
        self.bytes += pending.asking.proposal.request.encoded_len();
        self.by_id.insert(id, pending);
    }

    pub(super) fn remove(&mut self, id: LookupId) -> Option<PendingLookup> {
        let pending = self.by_id.remove(&id)?;
        self.bytes -= pending.asking.proposal.request.encoded_len();
        Some(pending)
    }
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

#[cfg(test)]
mod tests {
    use super::super::message::CallerId;
    use super::*;
    use crate::domain::Proposal;
    use crate::replication::sample::{batch, item};

    fn pending(metadata_bytes: usize) -> PendingLookup {
        let mut large = item("external:card", "a", 1, None);
        large.request.metadata = Some("x".repeat(metadata_bytes).into());
        PendingLookup {
            projected: LogIndex::default(),
            asking: Asking {
                caller: CallerId(1),
                principal: None,
                proposal: Proposal {
                    key: IdempotencyKey::parse("k").expect("printable"),
                    request: batch(false, vec![large]),
                },
            },
            request: LookupRequest::default(),
            looked_up: LookedUp::default(),
        }
    }

    #[test]
    fn proposals_that_wait_for_the_disk_are_bounded_in_bytes_and_not_only_in_number() {
        let mut waiting = PendingLookups::default();
        let mut count = 0;
        while !waiting.is_full() {
            count += 1;
            waiting.insert(LookupId(count), pending(8 << 20));
        }
        assert!(waiting.len() <= 8, "{} batches of 8 MiB wait", waiting.len());
        for id in 1..=count {
            assert!(waiting.remove(LookupId(id)).is_some());
            assert!(waiting.remove(LookupId(id)).is_none(), "only once");
        }
        assert!(!waiting.is_full());
        assert_eq!(waiting.bytes, 0, "what no longer waits is not counted");
    }
}
