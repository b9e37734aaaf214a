//! From a proposal to its entry: is its key new, and does memory hold everything that the decision needs? If not, the
//! proposal waits for a lookup on disk.

use crate::domain::{
    ApiKeyId, BatchRequest, Denial, IdempotencyKey, KeyHolder, KeyHolders, LogIndex, OperationRequest, OrderCap,
    PaymentId, PaymentState, Proposal,
};
use crate::planted::{Bug, planted};
use crate::replication::Now;

use super::keys::KeyStatus;
use super::lookups::{LookedUp, PendingLookup};
use super::message::{CallerId, Effect, LookupId, LookupRequest, LookupResult, ProposalOutcome};
use super::state::{Engine, REPEATS_PER_TAIL_ENTRY, Waiter};

/// A proposal with who waits for it and who asks.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) caller: CallerId,
    pub(super) principal: Option<ApiKeyId>,
    pub(super) proposal: Proposal,
}

/// Whether an idempotency key is used.
enum KeyUse {
    UsedAt(LogIndex),
    Unused,
    /// Only the disk knows.
    NeedsLookup,
}

impl Engine {
    pub(super) fn propose(&mut self, now: Now, asking: Asking) {
        self.append_or_look_up(now, asking, LookedUp::default());
    }

    /// Appends the proposal if its decision needs nothing more from the disk; otherwise requests a lookup.
    fn append_or_look_up(&mut self, now: Now, asking: Asking, looked_up: LookedUp) {
        let Asking { caller, proposal, .. } = &asking;
        let caller = *caller;
        if !self.replica.takes_proposals() {
            self.answer(caller, ProposalOutcome::NotLeading);
            return;
        }
        let mut request = LookupRequest::default();
        match self.key_use(&proposal.key, &looked_up) {
            // Before the check for a full tail: "not applied" would be wrong for a proposal that is in that tail.
            KeyUse::UsedAt(index) => {
                return match self.check_caller(now, &asking) {
                    Ok(()) => self.repeat(caller, index, proposal),
                    Err(denial) => self.answer(caller, ProposalOutcome::Denied(denial)),
                };
            }
            KeyUse::NeedsLookup => {
                request.keys.insert(proposal.key.clone(), None);
            }
            KeyUse::Unused => {}
        }
        if self.replica.tail_is_full() || self.pending_lookups.is_full() {
            self.answer(caller, ProposalOutcome::Overloaded);
            return;
        }
        let mut holders = KeyHolders::new();
        match &proposal.request {
            OperationRequest::Payment(payment) => {
                self.require_order(payment.order.as_deref(), &looked_up, &mut request);
            }
            OperationRequest::PaymentChange { payment, .. } => {
                self.require_payment(*payment, &looked_up, &mut request);
            }
            OperationRequest::Batch(batch) => self.require_items(batch, &looked_up, &mut holders, &mut request),
            OperationRequest::Account { .. } | OperationRequest::KeyFence | OperationRequest::ApiKey { .. } => {}
        }
        if request == LookupRequest::default() {
            self.append(now, asking, &holders);
        } else {
            self.look_up(asking, request, looked_up);
        }
    }

    /// Whether the caller may do this as of the end of the log, by the time of the next entry.
    fn check_caller(&self, now: Now, asking: &Asking) -> Result<(), Denial> {
        let Some(principal) = asking.principal else { return Ok(()) };
        self.bank.authorise(self.replica.next_stamp(now).timestamp, principal, &asking.proposal.request)
    }

    fn append(&mut self, now: Now, asking: Asking, holders: &KeyHolders) {
        if let Err(denial) = self.check_caller(now, &asking) {
            return self.answer(asking.caller, ProposalOutcome::Denied(denial));
        }
        let Asking { caller, principal, proposal } = asking;
        let stamp = self.replica.next_stamp(now);
        let (operation, undo) = self.bank.execute(stamp, proposal, holders);
        let refused = operation.rejection().is_some();
        let index = self.append_executed(stamp, principal, operation, undo);
        if refused
            && planted(Bug::RefusalBeforeCommit)
            && let Some(entry) = self.replica.cached_entry(index).cloned()
        {
            return self.answer(caller, ProposalOutcome::Decided(entry));
        }
        self.waiting.entry(index).or_default().push(Waiter { caller, repeated: None });
    }

    /// The entry at `index` already holds the key: the caller waits until it commits and gets the same answer. If too
    /// many wait already, it is told that the outcome is unknown.
    fn repeat(&mut self, caller: CallerId, index: LogIndex, proposal: &Proposal) {
        let fingerprint = proposal.request.fingerprint();
        if index > self.replica.commit_index() && !planted(Bug::RepeatBeforeCommit) {
            let limit = REPEATS_PER_TAIL_ENTRY * self.replica.limits().tail_entries as u64;
            if self.repeats_waiting >= limit && !planted(Bug::RepeatsUnbounded) {
                // The write is in the tail: it may still be committed.
                return self.answer(caller, ProposalOutcome::Unknown);
            }
            self.repeats_waiting += 1;
            self.waiting.entry(index).or_default().push(Waiter { caller, repeated: Some(fingerprint) });
        } else {
            let entry = self.replica.cached_entry(index).cloned();
            self.answer(caller, ProposalOutcome::Repeated { index, entry, fingerprint });
        }
    }

    fn key_use(&self, key: &IdempotencyKey, looked_up: &LookedUp) -> KeyUse {
        let digest = key.digest();
        match self.keys.find(digest) {
            KeyStatus::UsedAt(index) => KeyUse::UsedAt(index),
            KeyStatus::Unused => KeyUse::Unused,
            KeyStatus::PerhapsInViews if planted(Bug::KeysInMemoryOnly) => KeyUse::Unused,
            KeyStatus::PerhapsInViews => match looked_up.holder(digest) {
                Some(holder) => KeyUse::UsedAt(holder.index),
                None if looked_up.requested_key(key) => KeyUse::Unused,
                None => KeyUse::NeedsLookup,
            },
        }
    }

    /// Brings a payment's order into the bank, or adds it to the lookup. The bank holds every order that an entry above
    /// the projected index changed, and the filters know those of older entries.
    fn require_order(&mut self, order: Option<&OrderCap>, looked_up: &LookedUp, request: &mut LookupRequest) {
        let Some(OrderCap { id, .. }) = order else { return };
        let perhaps_paid = self.keys.filters().orders.may_contain(&id.digest().0) && !planted(Bug::OrdersInMemoryOnly);
        if self.bank.order(id).is_some() || !perhaps_paid {
            return;
        }
        if let Some(state) = looked_up.found.orders.get(id) {
            self.bank.recall_order(id, *state);
        } else if !looked_up.requested.orders.contains(id) {
            request.orders.insert(id.clone());
        }
    }

    /// Brings a payment into the bank, or adds it to the lookup.
    fn require_payment(&mut self, id: PaymentId, looked_up: &LookedUp, request: &mut LookupRequest) {
        if self.bank.payment(id).is_some() || id.index() > self.replica.commit_index() {
            return;
        }
        let found = looked_up.found.payments.get(&id).cloned();
        if let Some(state) = found.or_else(|| self.unchanged_payment_in_cache(id)) {
            self.bank.recall_payment(id, state);
        } else if !looked_up.requested.payments.contains(&id) {
            request.payments.insert(id);
        }
    }

    /// The state of a payment that is younger than the views. The bank would hold it if it had ever changed, so its own
    /// entry says everything.
    fn unchanged_payment_in_cache(&self, id: PaymentId) -> Option<PaymentState> {
        let young = id.index() > self.keys.projected() || planted(Bug::ChangesInMemoryOnly);
        let entry = self.replica.cached_entry(id.index()).filter(|_| young)?;
        let payment = entry.operation()?.payments().find(|payment| payment.item == id.item())?;
        let state = PaymentState::decided(payment.request, payment.outcome)?;
        (PaymentId::derive(entry.stamp(), id.item()) == id).then_some(state)
    }

    /// Finds the orders and the holders of the keys that a batch's items name, or adds them to the lookup.
    fn require_items(
        &mut self,
        batch: &BatchRequest,
        looked_up: &LookedUp,
        holders: &mut KeyHolders,
        request: &mut LookupRequest,
    ) {
        for item in &batch.items {
            self.require_order(item.request.order.as_deref(), looked_up, request);
            let Some(key) = &item.key else { continue };
            match self.key_use(key, looked_up) {
                KeyUse::Unused => {}
                KeyUse::NeedsLookup => {
                    request.keys.insert(key.clone(), None);
                }
                KeyUse::UsedAt(index) => {
                    match self.holder_in_cache(key, index).or_else(|| looked_up.holder(key.digest())) {
                        Some(holder) => {
                            holders.insert(key.digest(), holder);
                        }
                        None => {
                            request.keys.insert(key.clone(), Some(index));
                        }
                    }
                }
            }
        }
    }

    fn holder_in_cache(&self, key: &IdempotencyKey, index: LogIndex) -> Option<KeyHolder> {
        let operation = self.replica.cached_entry(index)?.operation()?;
        Some(operation.holder_of(key, index))
    }

    fn look_up(&mut self, asking: Asking, request: LookupRequest, looked_up: LookedUp) {
        self.last_lookup.0 += 1;
        let id = self.last_lookup;
        self.effects.push(Effect::Lookup { id, request: request.clone() });
        let projected = self.keys.projected();
        self.pending_lookups.insert(id, PendingLookup { projected, asking, request, looked_up });
    }

    pub(super) fn on_lookup_done(&mut self, now: Now, id: LookupId, result: Option<LookupResult>) {
        let Some(pending) = self.pending_lookups.remove(id) else { return };
        let PendingLookup { projected, asking, request, mut looked_up } = pending;
        match result {
            // Nothing was decided or appended, so the caller may safely try again.
            None => self.answer(asking.caller, ProposalOutcome::Overloaded),
            // Since the lookup began, keys and changes may have moved from memory into the views: start again.
            Some(_) if self.keys.projected() > projected => {
                self.append_or_look_up(now, asking, LookedUp::default());
            }
            Some(result) => {
                looked_up.add(request, result);
                self.append_or_look_up(now, asking, looked_up);
            }
        }
    }
}
