//! Accounts and their statements.

use serde::{Deserialize, Serialize};

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, AccountStatus, Currency, MinorUnits, Overdraft};

/// What an account holds of one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountBalance {
    /// The currency.
    pub currency: Currency,
    /// What was moved.
    pub posted: MinorUnits,
    /// What is set aside.
    pub held: MinorUnits,
    /// What may be paid, in minor units; absent where nothing limits it. A balance and an overdraft together may be more
    /// than an amount can be.
    #[serde(default)]
    pub available: Option<i128>,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// How far below zero it may go.
    pub overdraft: Overdraft,
    /// Whether it may pay and be paid.
    #[serde(default)]
    pub status: AccountStatus,
    /// What it holds, by currency.
    pub balances: Vec<AccountBalance>,
    /// As of this place in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
}

/// The body of `PATCH /v1/accounts/{id}`: at least one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountSettings {
    /// How far below zero it may go from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdraft: Option<Overdraft>,
    /// Whether it may pay and be paid from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<AccountStatus>,
}

/// What was changed of an account, or would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChanged {
    /// The account.
    pub id: AccountId,
    /// Why it was refused, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// How far below zero it may go from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdraft: Option<Overdraft>,
    /// Whether it may pay and be paid from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AccountStatus>,
    /// The ledger entry that changed it.
    pub index: LogIndex,
}

/// One page of accounts, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPage {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// Which lines of a statement. Empty means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementFilter {
    /// In this currency.
    pub currency: Option<Currency>,
    /// Not before, RFC 3339.
    pub from_time: Option<String>,
    /// Before, RFC 3339.
    pub to_time: Option<String>,
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementEntry {
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The payment.
    pub payment_id: String,
    /// `payment`, `capture` or `refund`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Signed: negative where the account paid.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// The account's balance right after.
    pub balance: MinorUnits,
    /// The other account.
    pub counterparty: AccountId,
}

/// One page of an account's statement, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The account.
    pub account: AccountId,
    /// Its lines.
    pub entries: Vec<StatementEntry>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}
