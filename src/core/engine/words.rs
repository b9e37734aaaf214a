//! What goes into the engine and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::LogIndex;
use crate::domain::{
    Fingerprint, IdempotencyKey, KeyDigest, KeyHolder, OrderId, OrderState, PaymentId, PaymentState, Proposal,
};
use crate::replication::{self, Entry, Event, NodeId, ReadId};

/// Names a caller that waits for an answer. Chosen by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

/// Names a question to the disk. Chosen by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub u64);

/// What memory does not hold and the disk may: asked for as of the projected index at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Keys that are used up, with the entries that hold them as far as memory knows; of the others the views know
    /// whether they are.
    pub keys: BTreeMap<IdempotencyKey, Option<LogIndex>>,
    /// Payments that are to be changed.
    pub payments: BTreeSet<PaymentId>,
    /// Orders that are to be paid.
    pub orders: BTreeSet<OrderId>,
}

/// What the disk holds of what was wanted; the rest is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Keys that are used up, with what holds them.
    pub keys: BTreeMap<KeyDigest, KeyHolder>,
    /// Payments, with where they stand. Only those whose whole id is the one asked for.
    pub payments: BTreeMap<PaymentId, PaymentState>,
    /// Orders, with how far they are paid.
    pub orders: BTreeMap<OrderId, OrderState>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Something that concerns the protocol.
    Replication(Event),
    /// A caller proposes a write to this node as the leader.
    Propose {
        /// Who waits.
        caller: CallerId,
        /// The write.
        proposal: Proposal,
    },
    /// Answers [`Effect::Find`].
    Found {
        /// Which question it answers.
        search: SearchId,
        /// What was found; `None` if the disk could not be asked.
        found: Option<Found>,
    },
    /// A linearizable read wants a read index; answered by `ReadReady` or `ReadRefused`.
    Read(ReadId),
    /// Everything up to here is in the views, so memory may forget its keys.
    Projected(LogIndex),
    /// Hand the leadership over, to this node if one is named. Ignored if this node does not lead.
    Transfer(Option<NodeId>),
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Something of the protocol.
    Replication(replication::Effect),
    /// Look things up on the disk; then say [`Input::Found`].
    Find {
        /// Names the question.
        search: SearchId,
        /// What is wanted.
        wanted: Wanted,
    },
    /// Answer a caller, once.
    Answer {
        /// Who waits.
        caller: CallerId,
        /// The answer.
        answer: Answer,
    },
}

/// What became of a proposal.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Decided by this entry, which is committed.
    Decided(Arc<Entry>),
    /// The key is held by the committed entry at `index`. It is the answer if its fingerprint is the one given here;
    /// otherwise the key was reused for another request.
    Repeated {
        /// Where the key stands.
        index: LogIndex,
        /// The entry, if memory still holds it; else read it from the ledger.
        entry: Option<Arc<Entry>>,
        /// Fingerprint of what was proposed now.
        fingerprint: Fingerprint,
    },
    /// This node does not lead, or does not take proposals now. The proposal was not appended.
    NotLeading,
    /// The leader has no room for it, or cannot look its key up just now. The proposal was not appended.
    Overloaded,
    /// The proposal was appended, but this node lost the leadership before it was committed: it may or may not survive.
    Lost,
}
