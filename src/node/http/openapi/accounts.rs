//! Accounts, keys and statements as callers write and see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::payments::{BatchSummary, ChangedPayment, Payment};
use super::words::{AccountIdText, Balance, CurrencyCode, Moment, OverdraftText, PaymentIdText};

/// An account to open.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewAccount {
    pub(super) id: AccountIdText,
    /// `none` if absent; under `external:` it is `unlimited` and cannot be another.
    pub(super) overdraft: Option<OverdraftText>,
}

/// Whether an account may be used.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum AccountStatusWord {
    /// It pays and receives.
    Active,
    /// It neither pays nor receives until it is active again.
    Frozen,
    /// Like frozen, with nothing in it, for good.
    Closed,
}

/// What is to change: at least one of the fields.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AccountPatch {
    pub(super) overdraft: Option<OverdraftText>,
    pub(super) status: Option<AccountStatusWord>,
}

/// What an account has in one currency, in minor units.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CurrencyBalance {
    pub(super) currency: CurrencyCode,
    /// What was received less what was paid.
    pub(super) posted: Balance,
    /// What is set aside for open holds.
    #[schema(minimum = 0)]
    pub(super) held: i64,
    /// What may still be paid, overdraft included; `null` where nothing limits it. It may exceed 64 bits.
    #[schema(schema_with = any_integer_or_null)]
    pub(super) available: Option<serde_json::Number>,
}

/// As wide as two amounts together, which is more than any integer format says.
fn any_integer_or_null() -> Object {
    let description = "What may still be paid, overdraft included; `null` where nothing limits it.";
    let types = SchemaType::Array(vec![Type::Integer, Type::Null]);
    ObjectBuilder::new().schema_type(types).description(Some(description)).build()
}

/// An account.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct Account {
    pub(super) id: AccountIdText,
    pub(super) overdraft: OverdraftText,
    pub(super) status: AccountStatusWord,
    /// One per currency that the account ever had.
    pub(super) balances: Vec<CurrencyBalance>,
}

/// An account as of an index.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct AccountAtIndex {
    #[serde(flatten)]
    pub(super) account: Account,
    pub(super) index: u64,
}

/// What a change of an account has set.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangedAccount {
    pub(super) id: AccountIdText,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) overdraft: Option<OverdraftText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) status: Option<AccountStatusWord>,
    /// Of an account that was opened: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) balances: Option<Vec<CurrencyBalance>>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rejection: Option<String>,
    pub(super) index: u64,
}

/// A page of accounts in the order of their ids, all as of one index.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AccountPage {
    pub(super) accounts: Vec<Account>,
    /// Where the list goes on; `null` at its end.
    pub(super) next_cursor: Option<String>,
    pub(super) index: u64,
}

/// What moved an account's money.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum StatementWord {
    Payment,
    Capture,
    Refund,
}

/// One line of a statement.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StatementLine {
    pub(super) index: u64,
    pub(super) payment_id: PaymentIdText,
    pub(super) r#type: StatementWord,
    pub(super) created_at: Moment,
    /// Negative where the account paid.
    pub(super) amount: Balance,
    pub(super) currency: CurrencyCode,
    /// Posted balance right after it.
    pub(super) balance: Balance,
    pub(super) counterparty: AccountIdText,
}

/// A page of a statement, newest first.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Statement {
    pub(super) account: AccountIdText,
    pub(super) entries: Vec<StatementLine>,
    /// Where the statement goes on; `null` at its end.
    pub(super) next_cursor: Option<String>,
}

/// What a key stands for.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum KeyStateWord {
    /// A write was decided under it, for better or worse.
    Committed,
    /// A write under it is on its way.
    InFlight,
    /// Nothing was decided under it as of `as_of_index`.
    Unknown,
    /// Nothing can ever apply under it.
    Fenced,
}

/// What became of a key: with what its call was answered.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct KeyState {
    pub(super) state: KeyStateWord,
    /// The payment, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) payment: Option<Payment>,
    /// The batch, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) batch: Option<BatchSummary>,
    /// The capture, void or refund, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) change: Option<ChangedPayment>,
    /// The change of an account, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) account: Option<ChangedAccount>,
    /// Place of the fence in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) index: Option<u64>,
    /// As of where it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) as_of_index: Option<u64>,
}
