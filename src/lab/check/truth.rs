//! The ground truth of a check: the committed entries, the entry of every key, and the replayed accounts.

use std::collections::HashMap;

use super::describe;
use super::fact::{
    AccountFact, BatchFact, ChangeFact, Fact, FactKind, ItemFact, KeyContent, KeyedRequest, PaymentFact,
};
use super::model::Model;
use super::report::{Breach, Report};
use quorapay_core::domain::{
    AccountChange, Batch, BatchItem, BatchOutcome, BatchRequest, DecidedItem, Fingerprint, IdempotencyKey, Operation,
    OperationRequest, Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentId, PaymentOutcome,
    PaymentRequest, Rejection, Stamp,
};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::Entry;

/// The entry of a key, and the batch item if it belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyPosition {
    index: LogIndex,
    item: Option<u16>,
}

/// Everything that is derived from the committed entries.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The entries, beginning with index 1.
    facts: Vec<Fact>,
    keys: HashMap<IdempotencyKey, KeyPosition>,
    /// Keys that a second entry has too.
    doubles: Vec<(IdempotencyKey, LogIndex)>,
    last_timestamp: Timestamp,
    pub(super) model: Model,
}

impl Truth {
    /// Index of the last committed entry.
    pub(super) fn last(&self) -> LogIndex {
        LogIndex(u64::try_from(self.facts.len()).expect("a list in memory"))
    }

    /// The entry at an index.
    pub(super) fn fact(&self, index: LogIndex) -> Option<&Fact> {
        self.facts.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// The index of a key's entry.
    pub(super) fn index_of(&self, key: &IdempotencyKey) -> Option<LogIndex> {
        self.keys.get(key).map(|position| position.index)
    }

    /// What the ledger has under a key.
    pub(super) fn content_of(&self, key: &IdempotencyKey) -> Option<KeyContent<'_>> {
        let position = self.keys.get(key)?;
        self.fact(position.index)?.content(position.item)
    }

    /// Keys that a second entry has too, with the index of that entry.
    pub(super) fn doubles(&self) -> &[(IdempotencyKey, LogIndex)] {
        &self.doubles
    }

    /// Adds the next committed entry and checks its decision.
    pub(super) fn add(&mut self, entry: &Entry, report: &mut Report) {
        let index = entry.index;
        if entry.timestamp < self.last_timestamp {
            let (now, before) = (entry.timestamp.0, self.last_timestamp.0);
            let what = format!("entry {index} has the timestamp {now}, and the one before it {before}");
            report.add(Breach::TimeWentBack, None, Some(index), what);
        }
        self.last_timestamp = entry.timestamp;
        self.model.begin_entry();
        let stamp = entry.stamp();
        let kind = match entry.operation() {
            None => FactKind::Protocol,
            Some(Operation::Payment(payment)) => FactKind::Payment(self.payment(stamp, payment, report)),
            Some(Operation::Account(change)) => self.account_change(stamp, change, report),
            Some(Operation::PaymentChange(change)) => FactKind::Change(self.payment_change(stamp, change, report)),
            Some(Operation::Expiry(expiry)) => {
                if let Err(why) = self.model.expire(stamp, expiry.payment) {
                    let what = format!("entry {index} ends the hold of a payment, but {why}");
                    report.add(Breach::WrongDecision, None, Some(index), what);
                }
                FactKind::Expiry(expiry.payment)
            }
            Some(Operation::Batch(batch)) => FactKind::Batch(self.batch(stamp, batch, report)),
            Some(Operation::ApiKey(change)) => {
                let requested = change.change.fingerprint(change.id);
                FactKind::ApiKey(keyed(index, &change.key, change.fingerprint, requested, report))
            }
            Some(Operation::KeyFence(fence)) => {
                let requested = OperationRequest::KeyFence.fingerprint();
                FactKind::Fence(keyed(index, &fence.key, fence.fingerprint, requested, report))
            }
        };
        let fact = Fact { epoch: entry.epoch, kind };
        for (key, item) in fact.keys() {
            let position = KeyPosition { index, item };
            if self.keys.contains_key(key) {
                self.doubles.push((key.clone(), index));
            } else {
                self.keys.insert(key.clone(), position);
            }
        }
        self.facts.push(fact);
    }

    /// Called once all entries are added: checks that every currency sums to zero and no account is below its policy.
    pub(super) fn finish(&self, report: &mut Report) {
        report.counts.entries = self.last().0;
        for (currency, sum) in self.model.sums().into_iter().filter(|(_, sum)| *sum != 0) {
            let what =
                format!("by the balances in the ledger all accounts together hold {sum} minor units of {currency}");
            report.add(Breach::Unbalanced, None, Some(self.last()), what);
        }
        for (account, currency, balance) in self.model.below_policy() {
            let what = format!("account {account} stands at {balance} minor units of {currency}");
            report.add(Breach::BelowPolicy, None, Some(self.last()), what);
        }
    }

    fn payment(&mut self, stamp: Stamp, payment: &Payment, report: &mut Report) -> PaymentFact {
        let Payment { key, fingerprint, request, outcome, .. } = payment;
        let index = stamp.index;
        let keyed = keyed(index, key, *fingerprint, request.fingerprint(), report);
        let expected = self.model.pay(stamp, 0, request);
        compare(index, key, || describe::payment(request), (&expected, outcome), describe::outcome, report);
        self.record_balances(request, *outcome);
        PaymentFact { keyed, id: PaymentId::derive(stamp, 0), outcome: *outcome }
    }

    fn record_balances(&mut self, request: &PaymentRequest, outcome: PaymentOutcome) {
        if let PaymentOutcome::Succeeded { from_balance, to_balance } = outcome {
            let (from, to) = (self.model.number(&request.from), self.model.number(&request.to));
            self.model.record_written(from, request.currency, from_balance.get());
            self.model.record_written(to, request.currency, to_balance.get());
        }
    }

    fn account_change(&mut self, stamp: Stamp, change: &AccountChange, report: &mut Report) -> FactKind {
        let AccountChange { key, fingerprint, account, change, outcome } = change;
        let index = stamp.index;
        let keyed = keyed(index, key, *fingerprint, change.fingerprint(account), report);
        let expected = self.model.change_account(stamp, account, *change);
        compare(
            index,
            key,
            || describe::change(account, *change),
            (&expected, outcome),
            describe::account_outcome,
            report,
        );
        FactKind::Account(AccountFact {
            keyed,
            account: self.model.number(account),
            change: *change,
            outcome: *outcome,
        })
    }

    fn payment_change(&mut self, stamp: Stamp, change: &PaymentChange, report: &mut Report) -> ChangeFact {
        let PaymentChange { key, fingerprint, payment, change, outcome, .. } = change;
        let index = stamp.index;
        let keyed = keyed(index, key, *fingerprint, change.fingerprint(*payment), report);
        let expected = self.model.change_payment(stamp, *payment, *change);
        let request = || describe::payment_change(*payment, *change);
        compare(index, key, request, (&expected, outcome), describe::change_outcome, report);
        if let (PaymentChangeOutcome::Applied { from_balance, to_balance, .. }, Some(known)) =
            (*outcome, self.model.payment(*payment))
            && *change != PaymentChangeKind::Void
        {
            let (from, to, currency) = (known.from, known.to, known.currency);
            self.model.record_written(from, currency, from_balance.get());
            self.model.record_written(to, currency, to_balance.get());
        }
        ChangeFact { keyed, payment: *payment, change: *change, outcome: *outcome }
    }

    /// The outcome of an item whose key was used follows from that key; the model decides the others in order.
    fn batch(&mut self, stamp: Stamp, batch: &Batch, report: &mut Report) -> BatchFact {
        let index = stamp.index;
        let items = batch.items.iter();
        let requested = items.map(|item| BatchItem {
            key: item.key.as_ref().map(|(key, _)| key.clone()),
            request: item.request.clone(),
        });
        let requested = BatchRequest { atomic: batch.atomic, items: requested.collect() };
        let keyed = keyed(index, &batch.key, batch.fingerprint, requested.fingerprint(), report);
        let mut expected: Vec<PaymentOutcome> = Vec::with_capacity(batch.items.len());
        for (number, item) in batch.numbered() {
            let of_key = self.outcome_of_key(item);
            if let Some(PaymentOutcome::Rejected(why)) = of_key {
                self.model.refused(stamp, number, &item.request, why);
            }
            expected.push(of_key.unwrap_or_else(|| self.model.pay(stamp, number, &item.request)));
        }
        if batch.atomic && expected.iter().any(|outcome| outcome.rejection().is_some()) {
            self.model.undo(index);
            for ((number, item), outcome) in batch.numbered().zip(&mut expected) {
                if matches!(outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. }) {
                    *outcome = PaymentOutcome::Rejected(Rejection::BatchAborted);
                }
                if let PaymentOutcome::Rejected(why) = *outcome {
                    self.model.refused(stamp, number, &item.request, why);
                }
            }
        }
        for ((number, item), expected) in batch.numbered().zip(&expected) {
            let request = || format!("payment {number} of a batch, {}", describe::payment(&item.request));
            compare(index, &batch.key, request, (expected, &item.outcome), describe::outcome, report);
            self.record_balances(&item.request, item.outcome);
        }
        // An aborted batch uses its own key only, and an item whose outcome follows from its key does not use it again.
        let is_aborted = batch.outcome() == BatchOutcome::Aborted;
        let fact = |(number, item): (u16, &DecidedItem)| {
            let own = item.key.as_ref().filter(|_| !is_aborted && item.was_decided());
            ItemFact {
                keyed: own.map(|(key, fingerprint)| KeyedRequest { key: key.clone(), fingerprint: *fingerprint }),
                id: PaymentId::derive(stamp, number),
                outcome: item.outcome,
            }
        };
        BatchFact { keyed, is_aborted, items: batch.numbered().map(fact).collect() }
    }

    fn outcome_of_key(&self, item: &DecidedItem) -> Option<PaymentOutcome> {
        let (key, _) = item.key.as_ref()?;
        let position = self.keys.get(key)?;
        Some(match self.content_of(key)? {
            KeyContent::Fence => PaymentOutcome::Rejected(Rejection::IdempotencyKeyFenced),
            held if held.fingerprint() == Some(item.request.fingerprint()) => {
                PaymentOutcome::Repeated { index: position.index }
            }
            _ => PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused),
        })
    }

    /// Describes the entry at an index.
    pub(super) fn describe(&self, index: LogIndex) -> String {
        match self.fact(index) {
            Some(fact) => describe::fact(index, fact, &self.model),
            None => format!("there is no entry {index}: the ledger ends at {}", self.last()),
        }
    }
}

/// Checks that the fingerprint in an entry is that of the entry's request, because it decides the answers to retries.
fn keyed(
    index: LogIndex,
    key: &IdempotencyKey,
    written: Fingerprint,
    computed: Fingerprint,
    report: &mut Report,
) -> KeyedRequest {
    if written != computed {
        let what = format!("entry {index}, key {:?}: its fingerprint is not that of the request in it", key.as_str());
        report.add(Breach::WrongRequest, None, Some(index), what);
    }
    KeyedRequest { key: key.clone(), fingerprint: computed }
}

/// Compares the decision in an entry with the one that the model expects.
fn compare<T: PartialEq>(
    index: LogIndex,
    key: &IdempotencyKey,
    request: impl FnOnce() -> String,
    (expected, written): (&T, &T),
    describe: impl Fn(&T) -> String,
    report: &mut Report,
) {
    if expected != written {
        let what = format!(
            "entry {index}, key {:?}: {} was decided as {}; what the ledger holds before it demands {}",
            key.as_str(),
            request(),
            describe(written),
            describe(expected)
        );
        report.add(Breach::WrongDecision, None, Some(index), what);
    }
}
