//! The engine's inputs and effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::{
    ApiKeyId, Denial, Fingerprint, IdempotencyKey, KeyDigest, KeyHolder, LogIndex, OrderId, OrderState, PaymentId,
    PaymentState, Proposal,
};
use crate::replication::{self, Entry, Event, NodeId, ReadId};

use super::filters::ViewsFilters;

/// Identifies a caller that waits for an answer. Chosen by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

/// Identifies a lookup on disk. Chosen by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What a decision needs, memory does not hold and the disk may: read as of the projected index or later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupRequest {
    /// Idempotency keys. With an index, that entry is known to hold the key; without one, the views know whether any
    /// entry does.
    pub keys: BTreeMap<IdempotencyKey, Option<LogIndex>>,
    /// Payments that are to be changed.
    pub payments: BTreeSet<PaymentId>,
    /// Orders that are to be paid.
    pub orders: BTreeSet<OrderId>,
}

/// What the disk holds of a [`LookupRequest`]. Whatever was requested and is missing here does not exist on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupResult {
    /// The used keys with their holders.
    pub keys: BTreeMap<KeyDigest, KeyHolder>,
    /// The payments with their states. An id must match as a whole, not only by its index.
    pub payments: BTreeMap<PaymentId, PaymentState>,
    /// The orders with their states.
    pub orders: BTreeMap<OrderId, OrderState>,
}

/// An event for the engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// An event of the replication protocol.
    Replication(Event),
    /// A caller proposes a write to this node as the leader.
    Propose {
        /// Who waits for the outcome.
        caller: CallerId,
        /// The API key with which it asks; `None` for a caller without one, who may do everything.
        principal: Option<ApiKeyId>,
        /// The write.
        proposal: Proposal,
    },
    /// The answer to [`Effect::Lookup`].
    LookupDone {
        /// The lookup that ended.
        id: LookupId,
        /// What it found; `None` if the disk could not be read.
        result: Option<LookupResult>,
    },
    /// A linearizable read needs a read index; answered by `ReadReady` or `ReadRefused`.
    Read(ReadId),
    /// The views hold everything up to `index`, so memory may forget its keys. Also fed when only the filters changed.
    Projected {
        /// The projected index.
        index: LogIndex,
        /// Filters over everything in the views.
        filters: Arc<ViewsFilters>,
    },
    /// Whether this node can look things up in its views. A node that cannot lets another one lead if there is one.
    Fit(bool),
    /// Transfer the leadership, to this node if one is named. Ignored unless this node leads.
    Transfer(Option<NodeId>),
}

/// Something that the runtime must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An effect of the replication protocol.
    Replication(replication::Effect),
    /// Look something up on disk, then feed [`Input::LookupDone`].
    Lookup {
        /// Identifies the lookup.
        id: LookupId,
        /// What to look up.
        request: LookupRequest,
    },
    /// Answer a caller. Each caller is answered once.
    Answer {
        /// Who waits.
        caller: CallerId,
        /// The answer.
        outcome: ProposalOutcome,
    },
}

/// The result of a proposal.
#[derive(Clone, Debug)]
pub enum ProposalOutcome {
    /// This entry holds the decision and is committed.
    Decided(Arc<Entry>),
    /// The committed entry at `index` already holds the key. If its fingerprint equals the one given here, that entry
    /// is the answer; otherwise the key was reused for another request.
    Repeated {
        /// Index of the entry that holds the key.
        index: LogIndex,
        /// The entry, if memory still holds it; otherwise the ledger does.
        entry: Option<Arc<Entry>>,
        /// Fingerprint of the repeated request.
        fingerprint: Fingerprint,
    },
    /// The caller may not do this. The proposal was not appended, and what came under its key before is not told.
    Denied(Denial),
    /// This node does not lead or takes no proposals now. The proposal was not appended.
    NotLeading,
    /// The leader has no room for the proposal, or a lookup for it failed. The proposal was not appended.
    Overloaded,
    /// The proposal was appended, but this node lost the leadership before it committed: it may or may not survive.
    Unknown,
}
