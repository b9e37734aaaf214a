//! Bodies of answers, as far as they are judged, and how they differ from what they are about. Members that are not
//! judged are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fact::{AccountFact, BatchFact, ChangeFact};
use super::model::{Known, Model, Standing};
use super::truth::Truth;
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountChangeKind, AccountStatus, Currency, Overdraft, PaymentChangeOutcome, PaymentId, PaymentOutcome,
    PaymentStatus,
};

/// A payment, as it was decided or where it stands.
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
    /// Only where a change is answered.
    #[serde(default)]
    change: Option<DoneBody>,
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
struct DoneBody {
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

/// What became of a key.
#[derive(Debug, Deserialize)]
pub(super) struct KeyBody {
    pub(super) state: String,
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
    #[serde(default)]
    pub(super) change: Option<PaymentBody>,
    #[serde(default)]
    pub(super) account: Option<ChangedBody>,
    /// Not said where a write is told what its key holds.
    #[serde(default)]
    pub(super) as_of_index: Option<LogIndex>,
}

/// A list of payments.
#[derive(Debug, Deserialize)]
pub(super) struct PaymentsBody {
    pub(super) payments: Vec<PaymentBody>,
    pub(super) next_cursor: Option<String>,
}

/// Reads a body; what is wrong with it if it is none of this kind.
pub(super) fn parse<'body, T: Deserialize<'body>>(body: &'body str) -> Result<T, String> {
    serde_json::from_str(body).map_err(|error| format!("the answer cannot be read ({error}): {body}"))
}

/// Says the first thing in which an answer differs from what it should be.
#[derive(Default)]
struct Difference(Option<String>);

impl Difference {
    fn field(&mut self, name: &str, said: impl std::fmt::Display, is: impl std::fmt::Display) {
        if self.0.is_none() {
            let (said, is) = (said.to_string(), is.to_string());
            self.0 = (said != is).then(|| format!("it says that {name} is {said}, but it is {is}"));
        }
    }

    /// A member that has to be there.
    fn member(&mut self, name: &str, said: Option<impl std::fmt::Display>, is: impl std::fmt::Display) {
        match said {
            Some(said) => self.field(name, said, is),
            None if self.0.is_none() => self.0 = Some(format!("it does not say {name}, which is {is}")),
            None => {}
        }
    }
}

/// `none` for what is absent.
fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

impl PaymentBody {
    /// How it differs from a payment as it was decided, in the entry at `index`.
    pub(super) fn differs_from_decision(
        &self,
        index: LogIndex,
        (id, outcome): (PaymentId, PaymentOutcome),
        truth: &Truth,
    ) -> Option<String> {
        let known = truth.model.payment(id)?;
        let mut difference = Difference::default();
        self.compare_request(id, known, &truth.model, &mut difference);
        difference.member("the index", self.index, index);
        difference.member("the epoch", self.epoch, truth.fact(index).map_or(0, |fact| fact.epoch.0));
        self.compare_outcome(outcome, &mut difference);
        self.compare_standing(known.first_standing(), &mut difference);
        difference.0
    }

    /// How it differs from a payment where it stands as of `as_of` or a moment later.
    pub(super) fn differs_from_standing(&self, id: PaymentId, as_of: LogIndex, truth: &Truth) -> Option<String> {
        let known = truth.model.payment(id)?;
        let mut difference = Difference::default();
        self.compare_request(id, known, &truth.model, &mut difference);
        let differences = known.standing_from(as_of).map(|standing| {
            let mut difference = Difference::default();
            self.compare_standing(standing, &mut difference);
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
        if let Some(known) = truth.model.payment(fact.payment) {
            self.compare_request(fact.payment, known, &truth.model, &mut difference);
            if let Some(standing) = known.standing_at(index) {
                self.compare_standing(standing, &mut difference);
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

    fn compare_request(&self, id: PaymentId, known: &Known, model: &Model, difference: &mut Difference) {
        difference.field("the id", &self.id, id);
        difference.member("the payer", self.from.as_ref(), model.id(known.from));
        difference.member("the receiver", self.to.as_ref(), model.id(known.to));
        difference.member("the amount", self.amount, known.amount);
        difference.member("the currency", self.currency, known.currency);
    }

    fn compare_outcome(&self, outcome: PaymentOutcome, difference: &mut Difference) {
        let rejection = outcome.rejection().map(|rejection| rejection.code());
        difference.field("the rejection", or_none(self.rejection.as_ref()), or_none(rejection));
        match outcome {
            PaymentOutcome::Succeeded { from_balance, to_balance } => {
                self.compare_balances(Some((from_balance.get(), to_balance.get())), difference);
            }
            PaymentOutcome::Authorized { from_held, .. } => {
                let said = self.balances.as_ref().and_then(|balances| balances.from_held);
                difference.member("what is held after it", said, from_held);
            }
            PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => self.compare_balances(None, difference),
        }
    }

    fn compare_balances(&self, is: Option<(i64, i64)>, difference: &mut Difference) {
        let said = self.balances.as_ref().and_then(|balances| balances.from.zip(balances.to));
        let told = |pair: Option<(i64, i64)>| or_none(pair.map(|(from, to)| format!("{from}, {to}")));
        difference.field("the pair of balances", told(said), told(is));
    }

    fn compare_standing(&self, (standing, status): (Standing, PaymentStatus), difference: &mut Difference) {
        difference.member("the status", self.status, status);
        difference.member("what is captured", self.captured, standing.captured);
        difference.member("what is refunded", self.refunded, standing.refunded);
        difference.member("what is held", self.held, standing.held);
    }
}

impl BatchBody {
    /// How its results differ from the batch at an index. A repeated payment is shown as its original, elsewhere.
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
