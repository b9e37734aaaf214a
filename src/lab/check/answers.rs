//! The bodies of answers, and how they differ from the ledger. Members that are not checked are ignored.
//!
//! These types are deliberately independent of those of the HTTP contract: the checker must not share their mistakes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fact::{AccountFact, BatchFact, ChangeFact};
use super::model::{Model, PaymentAmounts, PaymentRecord};
use super::truth::Truth;
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountChangeKind, AccountStatus, Currency, Overdraft, PaymentChangeOutcome, PaymentId, PaymentOutcome,
    PaymentStatus,
};

/// A payment, as it was decided or in its current state.
#[derive(Debug, Deserialize)]
pub(super) struct PaymentBody {
    pub(super) id: String,
    #[serde(default)]
    status: Option<PaymentStatus>,
    #[serde(default)]
    rejection: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    amount: Option<i64>,
    #[serde(default)]
    currency: Option<Currency>,
    #[serde(default)]
    captured: Option<i64>,
    #[serde(default)]
    refunded: Option<i64>,
    #[serde(default)]
    held: Option<i64>,
    #[serde(default)]
    index: Option<LogIndex>,
    #[serde(default)]
    epoch: Option<u64>,
    #[serde(default)]
    balances: Option<PaymentBalances>,
    /// Only in the answer to a change.
    #[serde(default)]
    change: Option<AppliedChangeBody>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct PaymentBalances {
    #[serde(default)]
    from: Option<i64>,
    #[serde(default)]
    to: Option<i64>,
    #[serde(default)]
    from_held: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct AppliedChangeBody {
    #[serde(rename = "type")]
    kind: String,
    amount: i64,
    index: LogIndex,
}

/// The bank's refusal of a payment or of a change of one: a problem with the payment in it.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalBody {
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
}

/// A batch, decided or aborted.
#[derive(Debug, Deserialize)]
pub(super) struct BatchBody {
    results: Vec<PaymentBody>,
}

/// An account that was opened or changed.
#[derive(Debug, Deserialize)]
pub(super) struct ChangedBody {
    id: String,
    #[serde(default)]
    overdraft: Option<Overdraft>,
    #[serde(default)]
    status: Option<AccountStatus>,
    index: LogIndex,
}

/// An account with its balances.
#[derive(Debug, Deserialize)]
pub(super) struct AccountBody {
    pub(super) id: String,
    pub(super) overdraft: Overdraft,
    #[serde(default)]
    pub(super) status: AccountStatus,
    balances: Vec<BalanceBody>,
    pub(super) index: LogIndex,
}

#[derive(Debug, Deserialize)]
struct BalanceBody {
    currency: Currency,
    posted: i64,
    held: i64,
}

/// The state of a key.
#[derive(Debug, Deserialize)]
pub(super) struct KeyBody {
    pub(super) state: String,
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
    #[serde(default)]
    pub(super) change: Option<PaymentBody>,
    #[serde(default)]
    pub(super) account: Option<ChangedBody>,
    /// Absent where a write is answered with its key's content.
    #[serde(default)]
    pub(super) as_of_index: Option<LogIndex>,
}

/// A list of payments.
#[derive(Debug, Deserialize)]
pub(super) struct PaymentsBody {
    pub(super) payments: Vec<PaymentBody>,
    pub(super) next_cursor: Option<String>,
}

/// Parses a body. The error is a sentence.
pub(super) fn parse<'body, T: Deserialize<'body>>(body: &'body str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| format!("the answer cannot be read ({error}): {body}"))
}

/// The first difference between an answer and the ledger.
#[derive(Default)]
struct Difference(Option<String>);

impl Difference {
    fn field(&mut self, name: &str, answered: impl std::fmt::Display, expected: impl std::fmt::Display) {
        if self.0.is_none() {
            let (answered, expected) = (answered.to_string(), expected.to_string());
            self.0 = (answered != expected).then(|| format!("it says that {name} is {answered}, but it is {expected}"));
        }
    }

    /// Compares a member that is required.
    fn member(&mut self, name: &str, answered: Option<impl std::fmt::Display>, expected: impl std::fmt::Display) {
        match answered {
            Some(answered) => self.field(name, answered, expected),
            None if self.0.is_none() => self.0 = Some(format!("it does not say {name}, which is {expected}")),
            None => {}
        }
    }
}

/// `none` for what is absent.
fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

impl PaymentBody {
    /// How it differs from a payment's decision in the entry at `index`.
    pub(super) fn differs_from_decision(
        &self,
        index: LogIndex,
        (id, outcome): (PaymentId, PaymentOutcome),
        truth: &Truth,
    ) -> Option<String> {
        let recorded = truth.model.payment(id)?;
        let mut difference = Difference::default();
        self.compare_request(id, recorded, &truth.model, &mut difference);
        difference.member("the index", self.index, index);
        difference.member("the epoch", self.epoch, truth.fact(index).map_or(0, |fact| fact.epoch.0));
        self.compare_outcome(outcome, &mut difference);
        self.compare_amounts(recorded.first_amounts(), &mut difference);
        difference.0
    }

    /// How it differs from a payment's state as of `as_of` or any later index.
    pub(super) fn differs_from_amounts(&self, id: PaymentId, as_of: LogIndex, truth: &Truth) -> Option<String> {
        let recorded = truth.model.payment(id)?;
        let mut difference = Difference::default();
        self.compare_request(id, recorded, &truth.model, &mut difference);
        let differences = recorded.amounts_from(as_of).map(|amounts| {
            let mut difference = Difference::default();
            self.compare_amounts(amounts, &mut difference);
            difference.0
        });
        let differences: Vec<_> = differences.collect();
        if difference.0.is_none() && differences.iter().all(Option::is_some) {
            difference.0 = differences.into_iter().flatten().next();
        }
        difference.0
    }

    /// How it differs from a payment after the change at an index.
    pub(super) fn differs_from_change(&self, index: LogIndex, fact: &ChangeFact, truth: &Truth) -> Option<String> {
        let mut difference = Difference::default();
        difference.field("the id", &self.id, fact.payment);
        difference.member("the index", self.index, index);
        if let Some(recorded) = truth.model.payment(fact.payment) {
            self.compare_request(fact.payment, recorded, &truth.model, &mut difference);
            if let Some(amounts) = recorded.amounts_at(index) {
                self.compare_amounts(amounts, &mut difference);
            }
        }
        if let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = fact.outcome {
            let done = self.change.as_ref();
            difference.member("the kind of change", done.map(|done| &done.kind), fact.change.name());
            difference.member("the amount that was moved", done.map(|done| done.amount), amount);
            difference.member("the change's index", done.map(|done| done.index), index);
            self.compare_balances(Some((from_balance.get(), to_balance.get())), &mut difference);
        }
        difference.0
    }

    fn compare_request(&self, id: PaymentId, recorded: &PaymentRecord, model: &Model, difference: &mut Difference) {
        difference.field("the id", &self.id, id);
        difference.member("the payer", self.from.as_ref(), model.id(recorded.from));
        difference.member("the receiver", self.to.as_ref(), model.id(recorded.to));
        difference.member("the amount", self.amount, recorded.amount);
        difference.member("the currency", self.currency, recorded.currency);
    }

    fn compare_outcome(&self, outcome: PaymentOutcome, difference: &mut Difference) {
        let rejection = outcome.rejection().map(|rejection| rejection.code());
        difference.field("the rejection", or_none(self.rejection.as_ref()), or_none(rejection));
        match outcome {
            PaymentOutcome::Succeeded { from_balance, to_balance } => {
                self.compare_balances(Some((from_balance.get(), to_balance.get())), difference);
            }
            PaymentOutcome::Authorized { from_held, .. } => {
                let answered = self.balances.as_ref().and_then(|balances| balances.from_held);
                difference.member("what is held after it", answered, from_held);
            }
            PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => self.compare_balances(None, difference),
        }
    }

    fn compare_balances(&self, expected: Option<(i64, i64)>, difference: &mut Difference) {
        let answered = self.balances.as_ref().and_then(|balances| balances.from.zip(balances.to));
        let format_pair = |pair: Option<(i64, i64)>| or_none(pair.map(|(from, to)| format!("{from}, {to}")));
        difference.field("the pair of balances", format_pair(answered), format_pair(expected));
    }

    fn compare_amounts(&self, (amounts, status): (PaymentAmounts, PaymentStatus), difference: &mut Difference) {
        difference.member("the status", self.status, status);
        difference.member("what is captured", self.captured, amounts.captured);
        difference.member("what is refunded", self.refunded, amounts.refunded);
        difference.member("what is held", self.held, amounts.held);
    }
}

impl BatchBody {
    /// How its results differ from the batch at an index. A repeated payment is shown as its original and not compared.
    pub(super) fn differs(&self, index: LogIndex, batch: &BatchFact, truth: &Truth) -> Option<String> {
        let mut difference = Difference::default();
        difference.field("the number of results", self.results.len(), batch.items.len());
        let decided = self.results.iter().zip(&batch.items).enumerate();
        let decided = decided.filter(|(_, (_, item))| !matches!(item.outcome, PaymentOutcome::Repeated { .. }));
        let mut differences = decided.filter_map(|(number, (shown, item))| {
            let what = shown.differs_from_decision(index, (item.id, item.outcome), truth)?;
            Some(format!("of payment {number}, {what}"))
        });
        difference.0.or_else(|| differences.next())
    }
}

impl ChangedBody {
    /// How it differs from the change of an account at an index.
    pub(super) fn differs(&self, index: LogIndex, fact: &AccountFact, truth: &Truth) -> Option<String> {
        let id = truth.model.id(fact.account);
        let (overdraft, status) = match fact.change {
            AccountChangeKind::Open(overdraft) => (Some(overdraft), Some(AccountStatus::Active)),
            AccountChangeKind::Change { overdraft, status } => (overdraft, status),
        };
        let applied = |overdraft| if id.is_external() { Overdraft::Unlimited } else { overdraft };
        let mut difference = Difference::default();
        difference.field("the index", self.index, index);
        difference.field("the account", &self.id, id);
        difference.field("the overdraft", or_none(self.overdraft), or_none(overdraft.map(applied)));
        difference.field("the status", or_none(self.status), or_none(status));
        difference.0
    }
}

impl AccountBody {
    /// Posted and held, by currency.
    pub(super) fn money(&self) -> BTreeMap<Currency, (i64, i64)> {
        self.balances.iter().map(|balance| (balance.currency, (balance.posted, balance.held))).collect()
    }
}
