//! Joins the bank to the replica: proposals become entries, entries change the bank, callers get answers.
//!
//! Pure, like the layers under it: time comes in with every step, everything to be done comes out as effects.

use std::sync::Arc;

use crate::domain::{AccountId, AccountState, Bank, Fingerprint, KeyDigest, Proposal};
use crate::replication::{self, Entry, Event, LogIndex, NodeId, Now, ReadId, ReplicaConfig, ReplicaStart};

/// Names a caller that waits for an answer. Chosen by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

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
    /// Answers [`Effect::FindKey`]: where the views hold the key.
    KeyFound {
        /// The key.
        digest: KeyDigest,
        /// The entry that holds it; `None` if the views do not know it.
        index: Option<LogIndex>,
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
    /// Look a key up in the views; then say [`Input::KeyFound`].
    FindKey(KeyDigest),
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
    /// The leader's tail is full. The proposal was not appended.
    Overloaded,
    /// The proposal was appended, but this node lost the leadership before it was committed: it may or may not survive.
    Lost,
}

/// What an engine is made from.
#[derive(Debug)]
pub struct EngineStart {
    /// The replica's part.
    pub replica: ReplicaStart,
    /// The bank as of `replica.commit_index`.
    pub bank: Bank,
    /// Highest index in the views; at most `replica.commit_index`.
    pub projected_index: LogIndex,
    /// Keys of the entries above `projected_index` and up to `replica.commit_index`.
    pub recent_keys: Vec<(KeyDigest, LogIndex)>,
}

/// One node's pure core.
pub struct Engine {}

impl Engine {
    /// Makes the core of a node from what its disk holds.
    #[must_use]
    pub fn new(_config: ReplicaConfig, _start: EngineStart) -> Self {
        todo!()
    }

    /// Tells the key filter of a key that the views hold. Called for each at start, before anything is proposed.
    pub fn remember_projected_key(&mut self, _digest: KeyDigest) {
        todo!()
    }

    /// Takes note of something that happened.
    pub fn step(&mut self, _now: Now, _input: Input) {
        todo!()
    }

    /// Takes out everything that is now to be done. Called after one `step` or after many: what came in between two
    /// calls travels and is persisted as one batch.
    pub fn poll(&mut self, _now: Now, _effects: &mut Vec<Effect>) {
        todo!()
    }

    /// An account as of the applied index.
    #[must_use]
    pub fn account(&self, _id: &AccountId) -> Option<AccountState> {
        todo!()
    }

    /// Highest index that is committed and durable here: what reads show.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        todo!()
    }
}
