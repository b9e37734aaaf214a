//! The committed history that everything is judged by: what every entry says, in short, and where every key stands.

use std::collections::HashMap;

use super::fact::{AccountFact, BatchFact, ChangeFact, Fact, Held, ItemFact, Keyed, PaymentFact, What};
use super::model::Model;
use super::report::{Breach, Report};
use super::words;
use quorapay_core::domain::{
    AccountChange, Batch, BatchItem, BatchOutcome, BatchRequest, DecidedItem, Fingerprint, IdempotencyKey, Operation,
    OperationRequest, Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentId, PaymentOutcome,
    PaymentRequest, Rejection, Stamp,
};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::Entry;

/// Where a key stands: in which entry, and as which item of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyPlace {
    index: LogIndex,
    item: Option<u16>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The fact of index 1 first.
    facts: Vec<Fact>,
    keys: HashMap<IdempotencyKey, KeyPlace>,
    /// Keys that stand at a second index.
    doubles: Vec<(IdempotencyKey, LogIndex)>,
    last_timestamp: Timestamp,
    pub(super) model: Model,
}

impl Truth {
    /// The last committed entry.
    pub(super) fn last(&self) -> LogIndex {
        LogIndex(u64::try_from(self.facts.len()).expect("a list in memory"))
    }

    /// What the entry at an index says.
    pub(super) fn fact(&self, index: LogIndex) -> Option<&Fact> {
        self.facts.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// Where a key stands.
    pub(super) fn index_of(&self, key: &IdempotencyKey) -> Option<LogIndex> {
        self.keys.get(key).map(|place| place.index)
    }

    /// What a key holds.
    pub(super) fn held_by(&self, key: &IdempotencyKey) -> Option<Held<'_>> {
        let place = self.keys.get(key)?;
        self.fact(place.index)?.held(place.item)
    }

    /// Keys that stand at a second index, with that index.
    pub(super) fn doubles(&self) -> &[(IdempotencyKey, LogIndex)] {
        &self.doubles
    }

    /// Takes the next committed entry and judges its decision.
    pub(super) fn add(&mut self, entry: &Entry, report: &mut Report) {
        let index = entry.index;
        if entry.timestamp < self.last_timestamp {
            let (now, before) = (entry.timestamp.0, self.last_timestamp.0);
            let what = format!("entry {index} has the timestamp {now}, and the one before it {before}");
            report.add(Breach::TimeWentBack, None, Some(index), what);
        }
        self.last_timestamp = entry.timestamp;
        self.model.begin();
        let stamp = entry.stamp();
        let what = match entry.operation() {
            None => What::Protocol,
            Some(Operation::Payment(payment)) => What::Payment(self.payment(stamp, payment, report)),
            Some(Operation::Account(change)) => self.account_change(stamp, change, report),
            Some(Operation::PaymentChange(change)) => What::Change(self.payment_change(stamp, change, report)),
            Some(Operation::Expiry(expiry)) => {
                if let Err(why) = self.model.expire(stamp, expiry.payment) {
                    let what = format!("entry {index} ends the hold of a payment, but {why}");
                    report.add(Breach::WrongDecision, None, Some(index), what);
                }
                What::Expiry(expiry.payment)
            }
            Some(Operation::Batch(batch)) => What::Batch(self.batch(stamp, batch, report)),
            Some(Operation::KeyFence(fence)) => {
                let asked = OperationRequest::KeyFence.fingerprint();
                What::Fence(keyed(index, &fence.key, fence.fingerprint, asked, report))
            }
        };
        let fact = Fact { epoch: entry.epoch, what };
        for (key, item) in fact.keys() {
            let place = KeyPlace { index, item };
            if self.keys.contains_key(key) {
                self.doubles.push((key.clone(), index));
            } else {
                self.keys.insert(key.clone(), place);
            }
        }
        self.facts.push(fact);
    }

    /// Once all entries are there: money neither made nor lost, no account below its policy.
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
        let demanded = self.model.pay(stamp, 0, request);
        compare(index, key, || words::payment(request), (&demanded, outcome), words::outcome, report);
        self.note_written(request, *outcome);
        PaymentFact { keyed, id: PaymentId::derive(stamp, 0), outcome: *outcome }
    }

    fn note_written(&mut self, request: &PaymentRequest, outcome: PaymentOutcome) {
        if let PaymentOutcome::Succeeded { from_balance, to_balance } = outcome {
            let (from, to) = (self.model.number(&request.from), self.model.number(&request.to));
            self.model.wrote(from, request.currency, from_balance.get());
            self.model.wrote(to, request.currency, to_balance.get());
        }
    }

    fn account_change(&mut self, stamp: Stamp, change: &AccountChange, report: &mut Report) -> What {
        let AccountChange { key, fingerprint, account, change, outcome } = change;
        let index = stamp.index;
        let keyed = keyed(index, key, *fingerprint, change.fingerprint(account), report);
        let demanded = self.model.change_account(stamp, account, *change);
        compare(index, key, || words::change(account, *change), (&demanded, outcome), words::account_outcome, report);
        What::Account(AccountFact { keyed, account: self.model.number(account), change: *change, outcome: *outcome })
    }

    fn payment_change(&mut self, stamp: Stamp, change: &PaymentChange, report: &mut Report) -> ChangeFact {
        let PaymentChange { key, fingerprint, payment, change, outcome, .. } = change;
        let index = stamp.index;
        let keyed = keyed(index, key, *fingerprint, change.fingerprint(*payment), report);
        let demanded = self.model.change_payment(stamp, *payment, *change);
        let told = || words::payment_change(*payment, *change);
        compare(index, key, told, (&demanded, outcome), words::change_outcome, report);
        if let (PaymentChangeOutcome::Applied { from_balance, to_balance, .. }, Some(known)) =
            (*outcome, self.model.payment(*payment))
            && *change != PaymentChangeKind::Void
        {
            let (from, to, currency) = (known.from, known.to, known.currency);
            self.model.wrote(from, currency, from_balance.get());
            self.model.wrote(to, currency, to_balance.get());
        }
        ChangeFact { keyed, payment: *payment, change: *change, outcome: *outcome }
    }

    /// What becomes of an item whose key is used up is for the keys to say; the bank decides the others, in order.
    fn batch(&mut self, stamp: Stamp, batch: &Batch, report: &mut Report) -> BatchFact {
        let index = stamp.index;
        let items = batch.items.iter();
        let asked = items.map(|item| BatchItem {
            key: item.key.as_ref().map(|(key, _)| key.clone()),
            request: item.request.clone(),
        });
        let asked = BatchRequest { atomic: batch.atomic, items: asked.collect() };
        let keyed = keyed(index, &batch.key, batch.fingerprint, asked.fingerprint(), report);
        let mut demanded: Vec<PaymentOutcome> = Vec::with_capacity(batch.items.len());
        for (number, item) in batch.numbered() {
            let of_key = self.outcome_of_key(item);
            if let Some(PaymentOutcome::Rejected(why)) = of_key {
                self.model.refused(stamp, number, &item.request, why);
            }
            demanded.push(of_key.unwrap_or_else(|| self.model.pay(stamp, number, &item.request)));
        }
        if batch.atomic && demanded.iter().any(|outcome| outcome.rejection().is_some()) {
            self.model.take_back(index);
            for ((number, item), outcome) in batch.numbered().zip(&mut demanded) {
                if matches!(outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. }) {
                    *outcome = PaymentOutcome::Rejected(Rejection::BatchAborted);
                }
                if let PaymentOutcome::Rejected(why) = *outcome {
                    self.model.refused(stamp, number, &item.request, why);
                }
            }
        }
        for ((number, item), demanded) in batch.numbered().zip(&demanded) {
            let told = || format!("payment {number} of a batch, {}", words::payment(&item.request));
            compare(index, &batch.key, told, (demanded, &item.outcome), words::outcome, report);
            self.note_written(&item.request, item.outcome);
        }
        // An aborted batch uses up no key but its own, and no item does whose key decided it.
        let is_aborted = batch.outcome() == BatchOutcome::Aborted;
        let fact = |(number, item): (u16, &DecidedItem)| {
            let own = item.key.as_ref().filter(|_| !is_aborted && item.was_decided());
            ItemFact {
                keyed: own.map(|(key, fingerprint)| Keyed { key: key.clone(), fingerprint: *fingerprint }),
                id: PaymentId::derive(stamp, number),
                outcome: item.outcome,
            }
        };
        BatchFact { keyed, is_aborted, items: batch.numbered().map(fact).collect() }
    }

    fn outcome_of_key(&self, item: &DecidedItem) -> Option<PaymentOutcome> {
        let (key, _) = item.key.as_ref()?;
        let place = self.keys.get(key)?;
        Some(match self.held_by(key)? {
            Held::Fence => PaymentOutcome::Rejected(Rejection::IdempotencyKeyFenced),
            held if held.fingerprint() == Some(item.request.fingerprint()) => {
                PaymentOutcome::Repeated { index: place.index }
            }
            _ => PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused),
        })
    }

    /// The entry at an index in words.
    pub(super) fn describe(&self, index: LogIndex) -> String {
        match self.fact(index) {
            Some(fact) => words::fact(index, fact, &self.model),
            None => format!("there is no entry {index}: the ledger ends at {}", self.last()),
        }
    }
}

/// The fingerprint in an entry decides what a repetition is told, so it has to be that of the entry's own request.
fn keyed(
    index: LogIndex,
    key: &IdempotencyKey,
    written: Fingerprint,
    computed: Fingerprint,
    report: &mut Report,
) -> Keyed {
    if written != computed {
        let what = format!("entry {index}, key {:?}: its fingerprint is not that of the request in it", key.as_str());
        report.add(Breach::WrongRequest, None, Some(index), what);
    }
    Keyed { key: key.clone(), fingerprint: computed }
}

/// Holds what was written against what the accounts demand.
fn compare<T: PartialEq>(
    index: LogIndex,
    key: &IdempotencyKey,
    request: impl FnOnce() -> String,
    (demanded, written): (&T, &T),
    told: impl Fn(&T) -> String,
    report: &mut Report,
) {
    if demanded != written {
        let what = format!(
            "entry {index}, key {:?}: {} was decided as {}; what the ledger holds before it demands {}",
            key.as_str(),
            request(),
            told(written),
            told(demanded)
        );
        report.add(Breach::WrongDecision, None, Some(index), what);
    }
}
