//! The committed history that everything is judged by: what every entry says, in short, and where every key stands.

use std::collections::HashMap;

use super::model::{AccountNumber, Model};
use super::report::{Breach, Report};
use crate::domain::{
    AccountChange, AccountChangeKind, AccountOutcome, Currency, Fingerprint, IdempotencyKey, MinorUnits, Operation,
    OperationRequest, Payment, PaymentId, PaymentOutcome, Rejection,
};
use crate::replication::{Entry, Epoch, LogIndex, Timestamp};

/// What a committed entry says.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) epoch: Epoch,
    pub(super) what: What,
}

/// The kinds of entries.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// An entry of the protocol: nobody asked for it.
    Protocol,
    /// A payment.
    Payment(PaymentFact),
    /// A change of an account.
    Account(AccountFact),
}

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct PaymentFact {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) id: PaymentId,
    pub(super) from: AccountNumber,
    pub(super) to: AccountNumber,
    pub(super) amount: MinorUnits,
    pub(super) currency: Currency,
    pub(super) outcome: PaymentOutcome,
}

/// A change of an account.
#[derive(Clone, Debug)]
pub(super) struct AccountFact {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) account: AccountNumber,
    pub(super) change: AccountChangeKind,
    pub(super) outcome: AccountOutcome,
}

impl Fact {
    /// The key that it stands under.
    pub(super) const fn key(&self) -> Option<&IdempotencyKey> {
        match &self.what {
            What::Protocol => None,
            What::Payment(fact) => Some(&fact.key),
            What::Account(fact) => Some(&fact.key),
        }
    }

    /// Tells its request from any other.
    pub(super) const fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.what {
            What::Protocol => None,
            What::Payment(fact) => Some(fact.fingerprint),
            What::Account(fact) => Some(fact.fingerprint),
        }
    }

    /// Why it was refused, if it was.
    pub(super) const fn rejection(&self) -> Option<Rejection> {
        match &self.what {
            What::Payment(PaymentFact { outcome: PaymentOutcome::Rejected(rejection), .. })
            | What::Account(AccountFact { outcome: AccountOutcome::Rejected(rejection), .. }) => Some(*rejection),
            What::Protocol | What::Payment(_) | What::Account(_) => None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The fact of index 1 first.
    facts: Vec<Fact>,
    keys: HashMap<IdempotencyKey, LogIndex>,
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
        self.keys.get(key).copied()
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
        let what = match entry.operation() {
            None => What::Protocol,
            Some(Operation::Payment(payment)) => What::Payment(self.payment(entry, payment, report)),
            Some(Operation::Account(change)) => What::Account(self.account_change(index, change, report)),
        };
        let fact = Fact { epoch: entry.epoch, what };
        if let Some(key) = fact.key() {
            match self.keys.get(key) {
                None => {
                    self.keys.insert(key.clone(), index);
                }
                Some(_) => self.doubles.push((key.clone(), index)),
            }
        }
        self.facts.push(fact);
    }

    /// Once all entries are there: money neither made nor lost, no account below its policy.
    pub(super) fn finish(&self, report: &mut Report) {
        report.counts.entries = self.last().0;
        for (currency, sum) in self.model.sums().into_iter().filter(|(_, sum)| *sum != 0) {
            let what = format!("all accounts together hold {sum} minor units of {currency}");
            report.add(Breach::Unbalanced, None, Some(self.last()), what);
        }
        for (account, currency, balance) in self.model.below_policy() {
            let what = format!("account {account} stands at {balance} minor units of {currency}");
            report.add(Breach::BelowPolicy, None, Some(self.last()), what);
        }
    }

    fn payment(&mut self, entry: &Entry, payment: &Payment, report: &mut Report) -> PaymentFact {
        let Payment { key, fingerprint, request, outcome } = payment;
        let index = entry.index;
        let asked = OperationRequest::Payment(request.clone()).fingerprint();
        self.check_fingerprint(index, key, *fingerprint, asked, report);
        let demanded = match self.model.decide_payment(request) {
            Ok((from, to)) => {
                PaymentOutcome::Succeeded { from_balance: MinorUnits::new(from), to_balance: MinorUnits::new(to) }
            }
            Err(rejection) => PaymentOutcome::Rejected(rejection),
        };
        if demanded != *outcome {
            let (demanded, written) = (told_outcome(demanded), told_outcome(*outcome));
            let what = format!(
                "entry {index}, key {:?}: a payment of {} {} from {} to {} was decided as {written}; the accounts \
                 before it demand {demanded}",
                key.as_str(),
                request.amount,
                request.currency,
                request.from,
                request.to
            );
            report.add(Breach::WrongDecision, None, Some(index), what);
        }
        let (from, to) = (self.model.number(&request.from), self.model.number(&request.to));
        // What is written goes on, so that one wrong decision is not told again with every entry after it.
        if let PaymentOutcome::Succeeded { from_balance, to_balance } = outcome {
            self.model.post(index, from, request.currency, from_balance.get());
            self.model.post(index, to, request.currency, to_balance.get());
        }
        PaymentFact {
            key: key.clone(),
            fingerprint: asked,
            id: PaymentId::derive(entry.timestamp.0, entry.epoch.0, index.0),
            from,
            to,
            amount: request.amount,
            currency: request.currency,
            outcome: *outcome,
        }
    }

    fn account_change(&mut self, index: LogIndex, change: &AccountChange, report: &mut Report) -> AccountFact {
        let AccountChange { key, fingerprint, account, change, outcome } = change;
        let asked = OperationRequest::Account { account: account.clone(), change: *change }.fingerprint();
        self.check_fingerprint(index, key, *fingerprint, asked, report);
        let demanded = self.model.decide_change(account, *change);
        let demanded = demanded.map_or_else(AccountOutcome::Rejected, |()| AccountOutcome::Applied);
        if demanded != *outcome {
            let what = format!(
                "entry {index}, key {:?}: {} was decided as {outcome:?}; the accounts before it demand {demanded:?}",
                key.as_str(),
                told_change(account.as_str(), *change)
            );
            report.add(Breach::WrongDecision, None, Some(index), what);
        }
        let number = self.model.number(account);
        if *outcome == AccountOutcome::Applied {
            self.model.change(index, number, *change);
        }
        AccountFact { key: key.clone(), fingerprint: asked, account: number, change: *change, outcome: *outcome }
    }

    /// The fingerprint in an entry decides what a repetition is told, so it has to be that of the entry's own request.
    fn check_fingerprint(
        &self,
        index: LogIndex,
        key: &IdempotencyKey,
        written: Fingerprint,
        computed: Fingerprint,
        report: &mut Report,
    ) {
        if written != computed {
            let what =
                format!("entry {index}, key {:?}: its fingerprint is not that of the request in it", key.as_str());
            report.add(Breach::WrongRequest, None, Some(index), what);
        }
    }

    /// The entry at an index in words.
    pub(super) fn describe(&self, index: LogIndex) -> String {
        let Some(fact) = self.fact(index) else {
            return format!("there is no entry {index}: the ledger ends at {}", self.last());
        };
        match &fact.what {
            What::Protocol => format!("entry {index} is one of the protocol"),
            What::Payment(payment) => {
                let PaymentFact { key, from, to, amount, currency, outcome, .. } = payment;
                let (from, to) = (self.model.id(*from), self.model.id(*to));
                let (outcome, key) = (told_outcome(*outcome), key.as_str());
                format!("entry {index} is a payment of {amount} {currency} from {from} to {to}, {outcome}, key {key:?}")
            }
            What::Account(change) => {
                let request = told_change(self.model.id(change.account).as_str(), change.change);
                let outcome = match change.outcome {
                    AccountOutcome::Applied => "done".to_owned(),
                    AccountOutcome::Rejected(rejection) => format!("refused as {}", rejection.code()),
                };
                format!("entry {index} is {request}, {outcome}, key {:?}", change.key.as_str())
            }
        }
    }
}

/// A decision in words.
pub(super) fn told_outcome(outcome: PaymentOutcome) -> String {
    match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            format!("made (balances after it {from_balance} and {to_balance})")
        }
        PaymentOutcome::Rejected(rejection) => format!("refused as {}", rejection.code()),
    }
}

/// A change of an account in words.
pub(super) fn told_change(account: &str, change: AccountChangeKind) -> String {
    match change {
        AccountChangeKind::Open(overdraft) => format!("the opening of account {account} with overdraft {overdraft}"),
        AccountChangeKind::SetOverdraft(overdraft) => format!("the overdraft of account {account} set to {overdraft}"),
    }
}

/// A request in words.
pub(super) fn told_request(request: &OperationRequest) -> String {
    match request {
        OperationRequest::Payment(payment) => {
            format!("a payment of {} {} from {} to {}", payment.amount, payment.currency, payment.from, payment.to)
        }
        OperationRequest::Account { account, change } => told_change(account.as_str(), *change),
    }
}
