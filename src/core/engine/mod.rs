//! Joins the bank to the replica: proposals become entries, entries change the bank, callers get answers.
//!
//! Pure, like the layers under it: time comes in with every step, everything to be done comes out as effects.

mod bloom_filter;
mod keys;
mod message;
mod proposals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::{
    AccountId, AccountState, Bank, Fingerprint, KeyDigest, LogIndex, Operation, OrderDigest, PaymentId, PaymentState,
    Stamp, Undo,
};
use crate::planted::{Bug, planted};
use crate::replication::{Entry, LogChange, Now, Replica, ReplicaConfig, ReplicaStart};

pub use message::{CallerId, Effect, Input, LookupId, LookupRequest, LookupResult, ProposalOutcome};

use bloom_filter::BloomFilter;
use keys::{KeyStatus, Keys};
use proposals::PendingLookup;

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
    /// The entry that was just executed and proposed here: the bank has it already when the log says that it came.
    executed: Option<(LogIndex, Undo)>,
    keys: Keys,
    /// Every order that was ever paid, and some that were not.
    orders: BloomFilter,
    /// Callers by the entry that they wait for.
    waiting: BTreeMap<LogIndex, Vec<Waiter>>,
    /// Proposals that wait for a lookup on disk.
    pending_lookups: BTreeMap<LookupId, PendingLookup>,
    last_lookup: LookupId,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Waiter {
    caller: CallerId,
    /// Fingerprint of a repeated request; `None` for the one that made the entry.
    repeated: Option<Fingerprint>,
}

/// Holds that are ended between two polls, at most: each is an entry of its own, and payments wait meanwhile.
const EXPIRED_AT_ONCE: usize = 64;
/// Payments and orders at rest that are forgotten between two polls, at most.
const FORGOTTEN_AT_ONCE: usize = 1_024;

impl Engine {
    /// Makes the core of a node from what its disk holds.
    #[must_use]
    pub fn new(config: ReplicaConfig, start: EngineStart) -> Self {
        let EngineStart { replica, bank, projected_index, recent_keys } = start;
        let commit_index = replica.commit_index;
        let uncommitted: Vec<_> = replica.tail.iter().filter(|entry| entry.index > commit_index).cloned().collect();
        let mut keys = Keys::new(projected_index);
        for (digest, index) in recent_keys {
            keys.on_appended(digest, index);
        }
        let mut engine = Self {
            replica: Replica::new(config, replica),
            bank,
            undo: VecDeque::new(),
            executed: None,
            keys,
            orders: BloomFilter::default(),
            waiting: BTreeMap::new(),
            pending_lookups: BTreeMap::new(),
            last_lookup: LookupId(0),
            effects: Vec::new(),
        };
        for entry in uncommitted {
            engine.apply(&entry);
        }
        engine
    }

    /// Tells the key filter of a key that the views hold. Called for each at start, before anything is proposed.
    pub fn remember_projected_key(&mut self, digest: KeyDigest) {
        self.keys.add_projected(digest);
    }

    /// Tells the order filter of an order that was paid at or below the commit index. Called for each at start, before
    /// anything is proposed.
    pub fn remember_order(&mut self, digest: OrderDigest) {
        self.orders.insert(&digest.0);
    }

    /// Takes note of something that happened.
    pub fn step(&mut self, now: Now, input: Input) {
        match input {
            Input::Replication(event) => self.replica.step(now, event),
            Input::Propose { caller, proposal } => self.propose(now, caller, proposal),
            Input::LookupDone { id, result } => self.on_lookup_done(now, id, result),
            Input::Read(read) => self.replica.read(read),
            Input::Projected(index) => self.keys.on_projected(index),
            Input::Transfer(to) => self.replica.transfer(now, to),
        }
        self.follow_log();
        self.answer_committed();
        self.let_go_if_deposed();
    }

    /// Takes out everything that is now to be done. Called after one `step` or after many: what came in between two
    /// calls travels and is persisted as one batch.
    pub fn take_effects(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.expire_holds(now);
        let mut protocol = Vec::new();
        self.replica.take_effects(now, &mut protocol);
        // A leader may have appended a configuration of its own accord.
        self.follow_log();
        self.keys.move_some();
        self.bank.forget_up_to(self.keys.projected(), FORGOTTEN_AT_ONCE);
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
            KeyStatus::UsedAt(index) => Some(index),
            KeyStatus::PerhapsInViews | KeyStatus::Unused => None,
        }
    }

    /// How many callers wait for an answer.
    #[must_use]
    pub fn waiting_callers(&self) -> usize {
        self.waiting.values().map(Vec::len).sum::<usize>() + self.pending_lookups.len()
    }

    /// An account as of the applied index.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<AccountState> {
        self.rewound([id].into_iter()).remove(id).flatten()
    }

    /// Accounts in the order of their ids, from after `after`, as of the applied index.
    #[must_use]
    pub fn accounts(&self, after: Option<&AccountId>, most: usize) -> Vec<(AccountId, AccountState)> {
        let moved = self.undo.iter().flat_map(|(_, undo)| undo.accounts());
        let mut touched = self.rewound(moved.filter(|id| after.is_none_or(|after| *id > after)));
        let as_of_applied = |(id, state): (&AccountId, &AccountState)| {
            let state = touched.remove(id).unwrap_or_else(|| Some(state.clone()));
            state.map(|state| (id.clone(), state))
        };
        self.bank.accounts_after(after).filter_map(as_of_applied).take(most).collect()
    }

    /// Accounts as of the applied index (`None`: it does not exist yet). One walk through what is to be undone, however
    /// many are asked for.
    fn rewound<'id>(&self, ids: impl Iterator<Item = &'id AccountId>) -> BTreeMap<AccountId, Option<AccountState>> {
        let mut states: BTreeMap<AccountId, Option<AccountState>> =
            ids.map(|id| (id.clone(), self.bank.account(id).cloned())).collect();
        for (_, undo) in self.undo.iter().rev() {
            undo.rewind_accounts(&mut states);
        }
        states
    }

    /// Payments as of the applied index, those that memory holds: on hold, or changed since the views were last brought
    /// up to date. Of any other the disk knows. One walk through what is to be undone, however many are asked for.
    #[must_use]
    pub fn payments(&self, ids: &BTreeSet<PaymentId>) -> BTreeMap<PaymentId, PaymentState> {
        let mut states: BTreeMap<PaymentId, PaymentState> =
            ids.iter().filter_map(|id| Some((*id, self.bank.payment(*id)?.clone()))).collect();
        for (_, undo) in self.undo.iter().rev() {
            undo.rewind_payments(ids, &mut states);
        }
        states
    }

    /// The bank as of the end of the log, for checks.
    #[must_use]
    pub const fn bank(&self) -> &Bank {
        &self.bank
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
        let forgotten = planted(Bug::RefusedKeyForgotten) && operation.rejection().is_some()
            || planted(Bug::FencesForgotten) && matches!(operation, Operation::KeyFence(_));
        if !forgotten {
            operation.keys().for_each(|key| self.keys.on_appended(key.digest(), entry.index));
        }
        let applied = match self.executed.take() {
            Some((index, undo)) if index == entry.index => Ok(undo),
            _ => self.bank.apply(entry.stamp(), operation),
        };
        match applied {
            Ok(undo) => self.undo.push_back((entry.index, undo)),
            Err(divergence) => self.replica.halt_on(format!("entry {}: {divergence}", entry.index)),
        }
        if let Some((currency, sum)) = self.bank.unbalanced() {
            self.replica.halt_on(format!("entry {}: all accounts together hold {sum} {currency}", entry.index));
        }
        self.note_orders(operation);
    }

    fn note_orders(&mut self, operation: &Operation) {
        for order in operation.payments().filter_map(|payment| payment.request.order.as_ref()) {
            let digest = order.id.digest().0;
            if !self.orders.may_contain(&digest) {
                self.orders.insert(&digest);
            }
        }
    }

    /// Ends the holds whose time is up, on the ledger's own time and only where this node leads.
    fn expire_holds(&mut self, now: Now) {
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((expires_at_ms, payment)) = self.bank.first_expiry() else { return };
            if !self.replica.takes_proposals() || self.replica.tail_is_full() {
                return;
            }
            let stamp = self.replica.next_stamp(now);
            if expires_at_ms > stamp.timestamp.0 {
                return;
            }
            let Some((operation, undo)) = self.bank.expire(stamp, payment) else { return };
            self.append_executed(stamp, operation, undo);
        }
    }

    /// Appends an operation that the bank has executed under the stamp of the next entry.
    fn append_executed(&mut self, stamp: Stamp, operation: Operation, undo: Undo) -> LogIndex {
        let index = stamp.index;
        self.executed = Some((index, undo));
        self.replica.propose(stamp, operation);
        self.follow_log();
        index
    }

    fn take_back(&mut self, index: LogIndex) {
        while let Some((_, undo)) = self.undo.pop_back_if(|(at, _)| *at > index) {
            if !planted(Bug::UndoSkipped) {
                self.bank.undo(&undo);
            }
        }
        if !planted(Bug::TruncatedKeyRemembered) {
            self.keys.on_truncated_after(index);
        }
        if planted(Bug::AnsweredByIndex) {
            return;
        }
        for waiter in self.waiting.split_off(&index.next()).into_values().flatten() {
            self.answer(waiter.caller, ProposalOutcome::Unknown);
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
                let outcome = match (repeated, entry.clone()) {
                    (None, Some(entry)) => ProposalOutcome::Decided(entry),
                    (None, None) => ProposalOutcome::Unknown,
                    (Some(fingerprint), entry) => ProposalOutcome::Repeated { index, entry, fingerprint },
                };
                self.answer(caller, outcome);
            }
        }
    }

    /// A node that no longer leads cannot tell what becomes of its tail.
    fn let_go_if_deposed(&mut self) {
        if self.waiting.is_empty() || self.replica.is_leader() || planted(Bug::AnsweredByIndex) {
            return;
        }
        for waiter in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.answer(waiter.caller, ProposalOutcome::Unknown);
        }
    }

    fn answer(&mut self, caller: CallerId, outcome: ProposalOutcome) {
        let hidden = planted(Bug::LostSaidNotTaken) && matches!(outcome, ProposalOutcome::Unknown);
        let outcome = if hidden { ProposalOutcome::NotLeading } else { outcome };
        self.effects.push(Effect::Answer { caller, outcome });
    }
}
