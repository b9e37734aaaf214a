//! Bodies of answers, as far as they are judged, and how they differ from the entry that they are about. Members that
//! are not judged are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::truth::{AccountFact, Fact, PaymentFact, Truth, What};
use crate::domain::{AccountChangeKind, Currency, Overdraft, PaymentOutcome};
use crate::replication::LogIndex;

/// A payment.
#[derive(Debug, Deserialize)]
pub(super) struct PaymentBody {
    pub(super) id: String,
    status: String,
    #[serde(default)]
    rejection: Option<String>,
    from: String,
    to: String,
    amount: i64,
    currency: Currency,
    pub(super) index: LogIndex,
    epoch: u64,
    #[serde(default)]
    balances: Option<PaymentBalances>,
}

#[derive(Debug, Deserialize)]
struct PaymentBalances {
    from: i64,
    to: i64,
}

/// The bank's refusal of a payment: a problem with the payment in it.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalBody {
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
}

/// An account that was opened or changed.
#[derive(Debug, Deserialize)]
pub(super) struct ChangedBody {
    id: String,
    overdraft: Overdraft,
    index: LogIndex,
}

/// An account with its balances.
#[derive(Debug, Deserialize)]
pub(super) struct AccountBody {
    pub(super) id: String,
    pub(super) overdraft: Overdraft,
    pub(super) balances: Vec<BalanceBody>,
    pub(super) index: LogIndex,
}

/// What an account holds of one currency.
#[derive(Debug, Deserialize)]
pub(super) struct BalanceBody {
    currency: Currency,
    posted: i64,
}

/// What became of a key.
#[derive(Debug, Deserialize)]
pub(super) struct KeyBody {
    pub(super) state: String,
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
    pub(super) as_of_index: LogIndex,
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
struct Difference(Option<String>);

impl Difference {
    fn field(&mut self, name: &str, said: impl PartialEq + std::fmt::Display, is: impl std::fmt::Display) {
        let (said, is) = (said.to_string(), is.to_string());
        if self.0.is_none() && said != is {
            self.0 = Some(format!("it says that {name} is {said}, but it is {is}"));
        }
    }
}

impl PaymentBody {
    /// How it differs from the payment at an index.
    pub(super) fn differs(&self, index: LogIndex, fact: &Fact, truth: &Truth) -> Option<String> {
        let What::Payment(payment) = &fact.what else {
            return Some(format!("it shows a payment, but {}", truth.describe(index)));
        };
        let PaymentFact { id, from, to, amount, currency, outcome, .. } = payment;
        let mut difference = Difference(None);
        difference.field("the index", self.index.0, index.0);
        difference.field("the id", &self.id, id);
        difference.field("the epoch", self.epoch, fact.epoch.0);
        difference.field("the payer", &self.from, truth.model.id(*from));
        difference.field("the receiver", &self.to, truth.model.id(*to));
        difference.field("the amount", self.amount, amount.get());
        difference.field("the currency", self.currency, currency);
        let (status, rejection, balances) = match outcome {
            PaymentOutcome::Succeeded { from_balance, to_balance } => {
                ("succeeded", None, Some((from_balance.get(), to_balance.get())))
            }
            PaymentOutcome::Rejected(rejection) => ("rejected", Some(rejection.code()), None),
        };
        difference.field("the status", &self.status, status);
        difference.field("the rejection", self.rejection.as_deref().unwrap_or("none"), rejection.unwrap_or("none"));
        let told =
            |balances: Option<(i64, i64)>| balances.map_or("none".to_owned(), |(from, to)| format!("{from}, {to}"));
        let said = self.balances.as_ref().map(|balances| (balances.from, balances.to));
        difference.field("the pair of balances", told(said), told(balances));
        difference.0
    }
}

impl ChangedBody {
    /// How it differs from the change at an index.
    pub(super) fn differs(&self, index: LogIndex, fact: &AccountFact, truth: &Truth) -> Option<String> {
        let (AccountChangeKind::Open(overdraft) | AccountChangeKind::SetOverdraft(overdraft)) = fact.change;
        let mut difference = Difference(None);
        difference.field("the index", self.index.0, index.0);
        difference.field("the account", &self.id, truth.model.id(fact.account));
        difference.field("the overdraft", self.overdraft.to_string(), overdraft);
        difference.0
    }
}

impl AccountBody {
    /// The balances by currency.
    pub(super) fn posted(&self) -> BTreeMap<Currency, i64> {
        self.balances.iter().map(|balance| (balance.currency, balance.posted)).collect()
    }
}
