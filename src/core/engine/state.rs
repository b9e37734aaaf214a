//! The engine's state. It follows the replica's log: applies new entries to the bank, undoes truncated ones, and
//! answers the callers whose entries are committed or lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::{ApiKeyId, Bank, Fingerprint, KeyDigest, LogIndex, Operation, Stamp, Undo};
use crate::planted::{Bug, planted};
use crate::replication::{Entry, EpochSpan, LogChange, Now, Replica, ReplicaConfig, ReplicaStart};

use super::filters::ViewsFilters;
use super::keys::Keys;
use super::lookups::PendingLookups;
use super::message::{CallerId, Effect, LookupId, ProposalOutcome};
use super::unprojected::{EntryWeight, Unprojected};

/// Callers that may wait with repetitions of a write, for each entry that the tail may hold. Clients that repeat their
/// writes while nothing commits must not fill the memory.
pub const REPEATS_PER_TAIL_ENTRY: u64 = 2;

/// What a node's disk holds when its process starts.
#[derive(Debug)]
pub struct EngineStart {
    /// The ledger.
    pub replica: ReplicaStart,
    /// The bank as of `replica.commit_index`, with the rules in force there.
    pub bank: Bank,
    /// Highest index in the views; at most `replica.commit_index`.
    pub projected_index: LogIndex,
    /// Keys of the entries above `projected_index` and up to `replica.commit_index`.
    pub recent_keys: Vec<(KeyDigest, LogIndex)>,
    /// The weights of these entries, in their order.
    pub unprojected: Vec<EntryWeight>,
    /// Filters over the keys and orders in the views.
    pub filters: Arc<ViewsFilters>,
}

/// One node's pure core: the replica, and the bank that follows its log.
#[derive(Debug)]
pub struct Engine {
    pub(super) replica: Replica,
    /// As of the end of the log.
    pub(super) bank: Bank,
    /// How to undo every entry above the applied index, oldest first: reads see the bank without them, and a truncation
    /// removes them.
    pub(super) undo: VecDeque<(LogIndex, Undo)>,
    /// The entry that was just proposed here. The bank executed it before it was appended, so that it must not be
    /// applied again.
    executed: Option<(LogIndex, Undo)>,
    pub(super) keys: Keys,
    pub(super) unprojected: Unprojected,
    /// Callers by the entry that they wait for.
    pub(super) waiting: BTreeMap<LogIndex, Vec<Waiter>>,
    /// How many of those repeat a write.
    pub(super) repeats_waiting: u64,
    /// Proposals that wait for a lookup on disk.
    pub(super) pending_lookups: PendingLookups,
    pub(super) last_lookup: LookupId,
    pub(super) effects: Vec<Effect>,
}

/// A caller that waits for an entry to commit.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) caller: CallerId,
    /// The fingerprint of a repeated request; `None` for the request that the entry was made for.
    pub(super) repeated: Option<Fingerprint>,
}

impl Engine {
    /// Makes the core of a node from what its disk holds.
    #[must_use]
    pub fn new(config: ReplicaConfig, start: EngineStart) -> Self {
        let EngineStart { replica, mut bank, projected_index, recent_keys, unprojected, filters } = start;
        let commit_index = replica.commit_index;
        let in_force = EpochSpan::rules_after(&replica.spans, commit_index);
        assert_eq!(bank.rules(), in_force, "the bank was loaded with the rules in force");
        if planted(Bug::ForgetRuleVersionOnLoad) {
            bank.restore_rules(config.newest_rules);
        }
        let uncommitted: Vec<_> = replica.tail.iter().filter(|entry| entry.index > commit_index).cloned().collect();
        let mut keys = Keys::new(projected_index, filters);
        for (digest, index) in recent_keys {
            keys.on_appended(digest, index);
        }
        let mut engine = Self {
            replica: Replica::new(config, replica),
            bank,
            undo: VecDeque::new(),
            executed: None,
            keys,
            unprojected: Unprojected::new(projected_index, unprojected),
            waiting: BTreeMap::new(),
            repeats_waiting: 0,
            pending_lookups: PendingLookups::default(),
            last_lookup: LookupId(0),
            effects: Vec::new(),
        };
        for entry in uncommitted {
            engine.apply(&entry);
        }
        engine.unprojected.on_applied(engine.replica.applied_index());
        engine
    }

    /// Applies the changes of the log to the bank and the keys.
    pub(super) fn follow_log(&mut self) {
        for change in self.replica.take_changes() {
            match change {
                LogChange::Appended(entry) => self.apply(&entry),
                LogChange::TruncatedAfter(index) => self.undo_after(index),
            }
        }
    }

    /// Takes in no more entries of a leader while the views are as far behind as they may be.
    pub(super) fn pace(&mut self, now: Now) {
        self.unprojected.on_applied(self.replica.applied_index());
        self.replica.hold_batches(now, self.holds_writes());
        self.follow_log();
    }

    fn apply(&mut self, entry: &Entry) {
        self.unprojected.on_appended(entry);
        let Some(operation) = entry.operation() else { return self.begin_epoch_of(entry) };
        let forgotten = planted(Bug::RefusedKeyForgotten) && operation.rejection().is_some()
            || planted(Bug::FencesForgotten) && matches!(operation, Operation::KeyFence(_));
        if !forgotten {
            operation.keys().for_each(|key| self.keys.on_appended(key.digest(), entry.index));
        }
        let applied = match self.executed.take() {
            Some((index, undo)) if index == entry.index => Ok(undo),
            _ => entry.apply_to(&mut self.bank),
        };
        match applied {
            Ok(undo) => self.undo.push_back((entry.index, undo)),
            Err(divergence) => self.replica.halt_on(format!("entry {}: {divergence}", entry.index)),
        }
        if let Some((currency, sum)) = self.bank.unbalanced() {
            self.replica.halt_on(format!("entry {}: all accounts together hold {sum} {currency}", entry.index));
        }
    }

    /// Applies an entry without an operation: the start of an epoch changes the rules.
    fn begin_epoch_of(&mut self, entry: &Entry) {
        if let Ok(undo) = entry.apply_to(&mut self.bank) {
            self.undo.push_back((entry.index, undo));
        }
    }

    /// Appends an operation that `principal` asked for and the bank has executed under the stamp of the next entry.
    pub(super) fn append_executed(
        &mut self,
        stamp: Stamp,
        principal: Option<ApiKeyId>,
        operation: Operation,
        undo: Undo,
    ) -> LogIndex {
        let index = stamp.index;
        self.executed = Some((index, undo));
        self.replica.propose(stamp, principal, operation);
        self.follow_log();
        index
    }

    /// The log was truncated after `index`.
    fn undo_after(&mut self, index: LogIndex) {
        while let Some((_, undo)) = self.undo.pop_back_if(|(at, _)| *at > index) {
            if !planted(Bug::UndoSkipped) {
                self.bank.undo(&undo);
            }
        }
        if !planted(Bug::TruncatedKeyRemembered) {
            self.keys.on_truncated_after(index);
        }
        self.unprojected.on_truncated_after(index);
        if planted(Bug::AnsweredByIndex) {
            return;
        }
        let lost = self.waiting.split_off(&index.next());
        self.answer_unknown(lost);
    }

    /// Answers the callers whose entries are committed.
    pub(super) fn answer_committed(&mut self) {
        let applied = self.replica.applied_index();
        while self.undo.pop_front_if(|(at, _)| *at <= applied).is_some() {}
        let commit = self.replica.commit_index();
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= commit
        {
            let (index, waiters) = first.remove_entry();
            let entry = self.replica.cached_entry(index).cloned();
            for Waiter { caller, repeated } in waiters {
                self.repeats_waiting -= u64::from(repeated.is_some());
                let outcome = match (repeated, entry.clone()) {
                    (None, Some(entry)) => ProposalOutcome::Decided(entry),
                    (None, None) => ProposalOutcome::Unknown,
                    (Some(fingerprint), entry) => ProposalOutcome::Repeated { index, entry, fingerprint },
                };
                self.answer(caller, outcome);
            }
        }
    }

    /// A node that no longer leads does not learn whether its uncommitted entries survive.
    pub(super) fn answer_unknown_if_deposed(&mut self) {
        if self.waiting.is_empty() || self.replica.is_leader() || planted(Bug::AnsweredByIndex) {
            return;
        }
        let unsettled = std::mem::take(&mut self.waiting);
        self.answer_unknown(unsettled);
    }

    fn answer_unknown(&mut self, waiting: BTreeMap<LogIndex, Vec<Waiter>>) {
        for waiter in waiting.into_values().flatten() {
            self.repeats_waiting -= u64::from(waiter.repeated.is_some());
            self.answer(waiter.caller, ProposalOutcome::Unknown);
        }
    }

    pub(super) fn answer(&mut self, caller: CallerId, outcome: ProposalOutcome) {
        let hidden = planted(Bug::UnknownReportedAsNotApplied) && matches!(outcome, ProposalOutcome::Unknown);
        let outcome = if hidden { ProposalOutcome::NotLeading } else { outcome };
        self.effects.push(Effect::Answer { caller, outcome });
    }
}
