//! Joins the bank to the replica: proposals become entries, entries change the bank, callers get answers.
//!
//! Pure, like the layers under it: time comes in with every step, everything to be done comes out as effects.

mod keys;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::domain::{AccountId, AccountState, Bank, Fingerprint, KeyDigest, Proposal, Undo};
use crate::planted::{Bug, planted};
use crate::replication::{
    self, Entry, Event, LogChange, LogIndex, NodeId, Now, ReadId, Replica, ReplicaConfig, ReplicaStart,
};

use keys::{Keys, Seen};

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
    /// Answers [`Effect::FindKey`] as well: the views could not be asked.
    KeyNotFindable(KeyDigest),
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
    /// The leader has no room for it, or cannot look its key up just now. The proposal was not appended.
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
#[derive(Debug)]
pub struct Engine {
    replica: Replica,
    bank: Bank,
    /// How to take back every entry above the applied index, oldest first: reads see the bank without them, and a
    /// truncation removes them.
    undo: VecDeque<(LogIndex, Undo)>,
    keys: Keys,
    /// Callers by the entry that they wait for.
    waiting: BTreeMap<LogIndex, Vec<Waiter>>,
    /// Proposals whose key is being looked up, with the projected index at which the look-up began.
    parked: BTreeMap<KeyDigest, Parked>,
    parked_count: usize,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Waiter {
    caller: CallerId,
    /// Fingerprint of a repeated request; `None` for the one that made the entry.
    repeated: Option<Fingerprint>,
}

#[derive(Debug)]
struct Parked {
    since: LogIndex,
    proposals: Vec<(CallerId, Proposal)>,
}

/// Most proposals that may wait for the look-up of a key.
const MAX_PARKED: usize = 16_384;

impl Engine {
    /// Makes the core of a node from what its disk holds.
    #[must_use]
    pub fn new(config: ReplicaConfig, start: EngineStart) -> Self {
        let EngineStart { replica, bank, projected_index, recent_keys } = start;
        let commit_index = replica.commit_index;
        let uncommitted: Vec<_> = replica.tail.iter().filter(|entry| entry.index > commit_index).cloned().collect();
        let mut keys = Keys::new(projected_index);
        for (digest, index) in recent_keys {
            keys.appended(digest, index);
        }
        let mut engine = Self {
            replica: Replica::new(config, replica),
            bank,
            undo: VecDeque::new(),
            keys,
            waiting: BTreeMap::new(),
            parked: BTreeMap::new(),
            parked_count: 0,
            effects: Vec::new(),
        };
        for entry in uncommitted {
            engine.apply(&entry);
        }
        engine
    }

    /// Tells the key filter of a key that the views hold. Called for each at start, before anything is proposed.
    pub fn remember_projected_key(&mut self, digest: KeyDigest) {
        self.keys.remember(digest);
    }

    /// Takes note of something that happened.
    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Replication(event) => self.replica.step(now, event),
            Input::Propose { caller, proposal } => self.propose(now, caller, proposal),
            Input::KeyFound { digest, index } => self.on_key_found(now, digest, index),
            Input::KeyNotFindable(digest) => self.on_key_not_findable(digest),
            Input::Read(read) => self.replica.read(read),
            Input::Projected(index) => self.keys.projected_up_to(index),
            Input::Transfer(to) => self.replica.transfer(now, to),
        }
        self.follow_log();
        self.answer_committed();
        self.let_go_if_deposed();
    }

    /// Takes out everything that is now to be done. Called after one `step` or after many: what came in between two
    /// calls travels and is persisted as one batch.
    pub fn poll(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut protocol = Vec::new();
        self.replica.poll(now, &mut protocol);
        // A leader may have appended a configuration of its own accord.
        self.follow_log();
        self.keys.move_some();
        effects.append(&mut self.effects);
        effects.extend(protocol.into_iter().map(Effect::Replication));
    }

    /// The replica, for what it says of itself.
    #[must_use]
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Highest index that is committed and durable here: what reads show.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.replica.applied_index()
    }

    /// Everything up to here is in the views.
    #[must_use]
    pub fn projected_index(&self) -> LogIndex {
        self.keys.projected()
    }

    /// Where a key stands, if its entry is younger than the views.
    #[must_use]
    pub fn recent_key(&self, digest: KeyDigest) -> Option<LogIndex> {
        match self.keys.find(digest) {
            Seen::At(index) => Some(index),
            Seen::Maybe | Seen::Never => None,
        }
    }

    /// How many callers wait for an answer.
    #[must_use]
    pub fn waiting_callers(&self) -> usize {
        self.waiting.values().map(Vec::len).sum::<usize>() + self.parked_count
    }

    /// An account as of the applied index.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<AccountState> {
        self.undo.iter().rev().fold(self.bank.account(id).cloned(), |state, (_, undo)| undo.rewind(id, state))
    }

    /// Accounts in the order of their ids, from after `after`, as of the applied index.
    #[must_use]
    pub fn accounts(&self, after: Option<&AccountId>, most: usize) -> Vec<(AccountId, AccountState)> {
        let touched: BTreeSet<&AccountId> = self.undo.iter().flat_map(|(_, undo)| undo.accounts()).collect();
        let as_of_applied = |(id, state): (&AccountId, &AccountState)| {
            let state = if touched.contains(id) { self.account(id) } else { Some(state.clone()) };
            state.map(|state| (id.clone(), state))
        };
        self.bank.accounts_after(after).filter_map(as_of_applied).take(most).collect()
    }

    /// The bank as of the end of the log, for checks.
    #[must_use]
    pub const fn bank(&self) -> &Bank {
        &self.bank
    }

    fn propose(&mut self, now: Now, caller: CallerId, proposal: Proposal) {
        if !self.replica.takes_proposals() {
            self.answer(caller, Answer::NotLeading);
            return;
        }
        if self.replica.tail_is_full() || self.parked_count >= MAX_PARKED {
            self.answer(caller, Answer::Overloaded);
            return;
        }
        let digest = proposal.key.digest();
        match self.keys.find(digest) {
            Seen::At(index) => self.repeat(caller, index, proposal.request.fingerprint()),
            Seen::Never => self.append(now, caller, proposal),
            Seen::Maybe if planted(Bug::KeysInMemoryOnly) => self.append(now, caller, proposal),
            Seen::Maybe => self.park(digest, caller, proposal),
        }
    }

    fn append(&mut self, now: Now, caller: CallerId, proposal: Proposal) {
        let operation = self.bank.decide(proposal);
        let entry = self.replica.propose(now, operation);
        if planted(Bug::RefusalBeforeCommit) && entry.operation().is_some_and(|made| made.rejection().is_some()) {
            return self.answer(caller, Answer::Decided(entry));
        }
        self.waiting.entry(entry.index).or_default().push(Waiter { caller, repeated: None });
        self.follow_log();
    }

    /// The key has its entry already: the caller waits until that is committed and gets the same answer.
    fn repeat(&mut self, caller: CallerId, index: LogIndex, fingerprint: Fingerprint) {
        if index > self.replica.commit_index() && !planted(Bug::RepeatBeforeCommit) {
            self.waiting.entry(index).or_default().push(Waiter { caller, repeated: Some(fingerprint) });
        } else {
            let entry = self.replica.cached_entry(index).cloned();
            self.answer(caller, Answer::Repeated { index, entry, fingerprint });
        }
    }

    fn park(&mut self, digest: KeyDigest, caller: CallerId, proposal: Proposal) {
        self.parked_count += 1;
        let since = self.keys.projected();
        let parked = self.parked.entry(digest).or_insert_with(|| {
            self.effects.push(Effect::FindKey(digest));
            Parked { since, proposals: Vec::new() }
        });
        parked.proposals.push((caller, proposal));
    }

    fn on_key_found(&mut self, now: Now, digest: KeyDigest, index: Option<LogIndex>) {
        let Some(parked) = self.parked.remove(&digest) else { return };
        self.parked_count -= parked.proposals.len();
        let index = match (index, self.keys.find(digest)) {
            (Some(index), _) | (None, Seen::At(index)) => Some(index),
            (None, Seen::Maybe | Seen::Never) => None,
        };
        if index.is_none() && self.keys.projected() > parked.since {
            // The key may have moved from memory into the views after the views were asked: ask them again.
            for (caller, proposal) in parked.proposals {
                self.park(digest, caller, proposal);
            }
            return;
        }
        for (caller, proposal) in parked.proposals {
            let fingerprint = proposal.request.fingerprint();
            if !self.replica.takes_proposals() {
                self.answer(caller, Answer::NotLeading);
            } else if let Some(index) = index.or_else(|| self.recent_key(digest)) {
                self.repeat(caller, index, fingerprint);
            } else {
                self.append(now, caller, proposal);
            }
        }
    }

    /// Whether the key is new cannot be said, so nothing is decided: the callers are sent away, and nothing has moved.
    fn on_key_not_findable(&mut self, digest: KeyDigest) {
        let Some(parked) = self.parked.remove(&digest) else { return };
        self.parked_count -= parked.proposals.len();
        for (caller, _) in parked.proposals {
            self.answer(caller, Answer::Overloaded);
        }
    }

    /// Applies to the bank and the keys what happened to the log.
    fn follow_log(&mut self) {
        for change in self.replica.take_changes() {
            match change {
                LogChange::Appended(entry) => self.apply(&entry),
                LogChange::TruncatedAfter(index) => self.take_back(index),
            }
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let Some(operation) = entry.operation() else { return };
        if !(planted(Bug::RefusedKeyForgotten) && operation.rejection().is_some()) {
            self.keys.appended(operation.key().digest(), entry.index);
        }
        match self.bank.apply(operation) {
            Ok(undo) => self.undo.push_back((entry.index, undo)),
            Err(divergence) => self.replica.halt_on(format!("entry {}: {divergence}", entry.index)),
        }
    }

    fn take_back(&mut self, index: LogIndex) {
        while let Some((_, undo)) = self.undo.pop_back_if(|(at, _)| *at > index) {
            if !planted(Bug::UndoSkipped) {
                self.bank.undo(&undo);
            }
        }
        if !planted(Bug::TruncatedKeyRemembered) {
            self.keys.truncated_after(index);
        }
        if planted(Bug::AnsweredByIndex) {
            return;
        }
        for waiter in self.waiting.split_off(&index.next()).into_values().flatten() {
            self.answer(waiter.caller, Answer::Lost);
        }
    }

    fn answer_committed(&mut self) {
        let applied = self.replica.applied_index();
        while self.undo.pop_front_if(|(at, _)| *at <= applied).is_some() {}
        let commit = self.replica.commit_index();
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= commit
        {
            let (index, waiters) = first.remove_entry();
            let entry = self.replica.cached_entry(index).cloned();
            for Waiter { caller, repeated } in waiters {
                let answer = match (repeated, entry.clone()) {
                    (None, Some(entry)) => Answer::Decided(entry),
                    (None, None) => Answer::Lost,
                    (Some(fingerprint), entry) => Answer::Repeated { index, entry, fingerprint },
                };
                self.answer(caller, answer);
            }
        }
    }

    /// A node that no longer leads cannot tell what becomes of its tail.
    fn let_go_if_deposed(&mut self) {
        if self.waiting.is_empty() || self.replica.is_leader() || planted(Bug::AnsweredByIndex) {
            return;
        }
        for waiter in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.answer(waiter.caller, Answer::Lost);
        }
    }

    fn answer(&mut self, caller: CallerId, answer: Answer) {
        let hidden = planted(Bug::LostSaidNotTaken) && matches!(answer, Answer::Lost);
        let answer = if hidden { Answer::NotLeading } else { answer };
        self.effects.push(Effect::Answer { caller, answer });
    }
}
