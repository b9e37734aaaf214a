//! A proposal's way to its entry: is its key used up, is everything in memory that the decision needs, and if not, a
//! question to the disk while the proposal is parked.

use crate::domain::LogIndex;
use crate::domain::{
    BatchRequest, IdempotencyKey, KeyDigest, KeyHolder, KeyHolders, OperationRequest, OrderCap, PaymentId,
    PaymentState, Proposal,
};
use crate::planted::{Bug, planted};
use crate::replication::Now;

use super::keys::Seen;
use super::{Answer, CallerId, Effect, Engine, Found, SearchId, Waiter, Wanted};

/// Most proposals that may wait for the disk.
const MAX_PARKED: usize = 16_384;

/// A proposal for which something is being looked up.
#[derive(Debug)]
pub(super) struct Parked {
    /// The projected index when the question was asked.
    since: LogIndex,
    caller: CallerId,
    proposal: Proposal,
    wanted: Wanted,
    /// What earlier questions brought, as of the same projected index.
    evidence: Evidence,
}

/// What the disk said to a question, with the question: what was asked for and not found is not there.
#[derive(Debug, Default)]
struct Evidence {
    wanted: Wanted,
    found: Found,
}

/// Whether a key is used up.
enum KeyUse {
    By(LogIndex),
    Nobody,
    AskTheDisk,
}

impl Evidence {
    fn asked_for(&self, key: &IdempotencyKey) -> bool {
        self.wanted.keys.contains_key(key)
    }

    /// Adds what the disk said to one more question.
    fn add(&mut self, wanted: Wanted, found: Found) {
        self.wanted.keys.extend(wanted.keys);
        self.wanted.payments.extend(wanted.payments);
        self.wanted.orders.extend(wanted.orders);
        self.found.keys.extend(found.keys);
        self.found.payments.extend(found.payments);
        self.found.orders.extend(found.orders);
    }

    fn holder(&self, digest: KeyDigest) -> Option<KeyHolder> {
        self.found.keys.get(&digest).copied()
    }
}

impl Engine {
    pub(super) fn propose(&mut self, now: Now, caller: CallerId, proposal: Proposal) {
        self.consider(now, caller, proposal, Evidence::default());
    }

    /// Appends the proposal if all that its decision needs is in memory or in the evidence; else asks the disk.
    fn consider(&mut self, now: Now, caller: CallerId, proposal: Proposal, evidence: Evidence) {
        if !self.replica.takes_proposals() {
            self.answer(caller, Answer::NotLeading);
            return;
        }
        let mut wanted = Wanted::default();
        match self.use_of(&proposal.key, &evidence) {
            // However full the tail is: a caller must not hear "not taken" of what stands in it.
            KeyUse::By(index) => return self.repeat(caller, index, &proposal),
            KeyUse::AskTheDisk => {
                wanted.keys.insert(proposal.key.clone(), None);
            }
            KeyUse::Nobody => {}
        }
        if self.replica.tail_is_full() || self.parked.len() >= MAX_PARKED {
            self.answer(caller, Answer::Overloaded);
            return;
        }
        let mut holders = KeyHolders::new();
        match &proposal.request {
            OperationRequest::Payment(payment) => self.want_order(payment.order.as_deref(), &evidence, &mut wanted),
            OperationRequest::PaymentChange { payment, .. } => self.want_payment(*payment, &evidence, &mut wanted),
            OperationRequest::Batch(batch) => self.want_for_batch(batch, &evidence, &mut holders, &mut wanted),
            OperationRequest::Account { .. } | OperationRequest::KeyFence => {}
        }
        if wanted == Wanted::default() {
            self.append(now, caller, proposal, &holders);
        } else {
            self.park(caller, proposal, wanted, evidence);
        }
    }

    fn append(&mut self, now: Now, caller: CallerId, proposal: Proposal, holders: &KeyHolders) {
        let stamp = self.replica.next_stamp(now);
        let (operation, undo) = self.bank.execute(stamp, proposal, holders);
        let refused = operation.rejection().is_some();
        let index = self.append_executed(stamp, operation, undo);
        if refused
            && planted(Bug::RefusalBeforeCommit)
            && let Some(entry) = self.replica.cached_entry(index).cloned()
        {
            return self.answer(caller, Answer::Decided(entry));
        }
        self.waiting.entry(index).or_default().push(Waiter { caller, repeated: None });
    }

    /// The key has its entry already: the caller waits until that is committed and gets the same answer.
    fn repeat(&mut self, caller: CallerId, index: LogIndex, proposal: &Proposal) {
        let fingerprint = proposal.request.fingerprint();
        if index > self.replica.commit_index() && !planted(Bug::RepeatBeforeCommit) {
            self.waiting.entry(index).or_default().push(Waiter { caller, repeated: Some(fingerprint) });
        } else {
            let entry = self.replica.cached_entry(index).cloned();
            self.answer(caller, Answer::Repeated { index, entry, fingerprint });
        }
    }

    fn use_of(&self, key: &IdempotencyKey, evidence: &Evidence) -> KeyUse {
        let digest = key.digest();
        match self.keys.find(digest) {
            Seen::At(index) => KeyUse::By(index),
            Seen::Never => KeyUse::Nobody,
            Seen::Maybe if planted(Bug::KeysInMemoryOnly) => KeyUse::Nobody,
            Seen::Maybe => match evidence.holder(digest) {
                Some(holder) => KeyUse::By(holder.index),
                None if evidence.asked_for(key) => KeyUse::Nobody,
                None => KeyUse::AskTheDisk,
            },
        }
    }

    fn want_order(&mut self, order: Option<&OrderCap>, evidence: &Evidence, wanted: &mut Wanted) {
        let Some(OrderCap { id, .. }) = order else { return };
        let paid_before = self.orders.may_hold(&id.digest().0) && !planted(Bug::OrdersInMemoryOnly);
        if self.bank.order(id).is_some() || !paid_before {
            return;
        }
        if let Some(state) = evidence.found.orders.get(id) {
            self.bank.recall_order(id, *state);
        } else if !evidence.wanted.orders.contains(id) {
            wanted.orders.insert(id.clone());
        }
    }

    fn want_payment(&mut self, id: PaymentId, evidence: &Evidence, wanted: &mut Wanted) {
        if self.bank.payment(id).is_some() || id.index() > self.replica.commit_index() {
            return;
        }
        let found = evidence.found.payments.get(&id).cloned();
        if let Some(state) = found.or_else(|| self.payment_in_cache(id)) {
            self.bank.recall_payment(id, state);
        } else if !evidence.wanted.payments.contains(&id) {
            wanted.payments.insert(id);
        }
    }

    /// A payment that is younger than the views and that memory does not hold was never changed: its entry tells all.
    fn payment_in_cache(&self, id: PaymentId) -> Option<PaymentState> {
        let young = id.index() > self.keys.projected() || planted(Bug::ChangesInMemoryOnly);
        let entry = self.replica.cached_entry(id.index()).filter(|_| young)?;
        let payment = entry.operation()?.payments().find(|payment| payment.item == id.item())?;
        let state = PaymentState::decided(payment.request, payment.outcome)?;
        (PaymentId::derive(entry.stamp(), id.item()) == id).then_some(state)
    }

    fn want_for_batch(
        &mut self,
        batch: &BatchRequest,
        evidence: &Evidence,
        holders: &mut KeyHolders,
        wanted: &mut Wanted,
    ) {
        for item in &batch.items {
            self.want_order(item.request.order.as_deref(), evidence, wanted);
            let Some(key) = &item.key else { continue };
            match self.use_of(key, evidence) {
                KeyUse::Nobody => {}
                KeyUse::AskTheDisk => {
                    wanted.keys.insert(key.clone(), None);
                }
                KeyUse::By(index) => match self.holder_in_cache(key, index).or_else(|| evidence.holder(key.digest())) {
                    Some(holder) => {
                        holders.insert(key.digest(), holder);
                    }
                    None => {
                        wanted.keys.insert(key.clone(), Some(index));
                    }
                },
            }
        }
    }

    fn holder_in_cache(&self, key: &IdempotencyKey, index: LogIndex) -> Option<KeyHolder> {
        let operation = self.replica.cached_entry(index)?.operation()?;
        Some(operation.holder_of(key, index))
    }

    fn park(&mut self, caller: CallerId, proposal: Proposal, wanted: Wanted, evidence: Evidence) {
        self.last_search.0 += 1;
        let search = self.last_search;
        self.effects.push(Effect::Find { search, wanted: wanted.clone() });
        let since = self.keys.projected();
        self.parked.insert(search, Parked { since, caller, proposal, wanted, evidence });
    }

    pub(super) fn on_found(&mut self, now: Now, search: SearchId, found: Option<Found>) {
        let Some(Parked { since, caller, proposal, wanted, mut evidence }) = self.parked.remove(&search) else {
            return;
        };
        match found {
            // What is not known cannot be decided: the caller is sent away, and nothing has moved.
            None => self.answer(caller, Answer::Overloaded),
            // Something may have moved from memory into the views after they were asked: they are asked again.
            Some(_) if self.keys.projected() > since => self.consider(now, caller, proposal, Evidence::default()),
            Some(found) => {
                evidence.add(wanted, found);
                self.consider(now, caller, proposal, evidence);
            }
        }
    }
}
