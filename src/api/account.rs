//! Accounts, changes of them, and statements.

use std::borrow::Cow;
use std::ops::Deref;

use quorapay_core::domain::{
    AccountId, AccountStatus, Currency, LogIndex, MinorUnits, Overdraft, PaymentId, PostingKind,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::payment::payment_id;
#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, AccountStatusWord, Balance, CurrencyCode, OverdraftText, PaymentIdText};
use crate::wire_enum::wire_enum;
use crate::{Rfc3339, strict};

/// An account to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccount {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub id: AccountId,
    /// `none` if absent; under `external:` it is `unlimited` and cannot be another.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<OverdraftText>))]
    pub overdraft: Option<Overdraft>,
}

/// What is to change: at least one of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AccountPatch))]
pub struct AccountSettings {
    /// How far below zero it may go from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<OverdraftText>))]
    pub overdraft: Option<Overdraft>,
    /// Whether it may be used from now on.
    #[serde(default, deserialize_with = "strict::account_status", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<AccountStatusWord>))]
    pub status: Option<AccountStatus>,
}

/// What an account has in one currency, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CurrencyBalance))]
pub struct AccountBalance {
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// What was received less what was paid.
    #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
    pub posted: MinorUnits,
    /// What is set aside for open holds.
    #[cfg_attr(feature = "openapi", schema(value_type = i64, minimum = 0))]
    pub held: MinorUnits,
    /// What may still be paid, overdraft included; `null` where nothing limits it. It may exceed 64 bits.
    #[serde(default, deserialize_with = "wide")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schema::any_integer_or_null))]
    pub available: Option<i128>,
}

/// An integer of whatever width JSON gives. Flattened structs cannot read an `i128` by themselves.
fn wide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Integer {
        Signed(i64),
        Unsigned(u64),
    }
    Ok(Option::<Integer>::deserialize(deserializer)?.map(|integer| match integer {
        Integer::Signed(units) => units.into(),
        Integer::Unsigned(units) => units.into(),
    }))
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub id: AccountId,
    /// How far below zero it may go.
    #[cfg_attr(feature = "openapi", schema(value_type = OverdraftText))]
    pub overdraft: Overdraft,
    /// Whether it may be used.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = AccountStatusWord))]
    pub status: AccountStatus,
    /// One per currency that the account ever had.
    pub balances: Vec<AccountBalance>,
}

/// An account as of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountAtIndex {
    /// The account.
    #[serde(flatten)]
    pub account: Account,
    /// As of this place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}

impl Deref for AccountAtIndex {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.account
    }
}

/// What a change of an account has set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedAccount {
    /// The account.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub id: AccountId,
    /// How far below zero it may go from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = OverdraftText))]
    pub overdraft: Option<Overdraft>,
    /// Whether it may be used from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = AccountStatusWord))]
    pub status: Option<AccountStatus>,
    /// Of an account that was opened: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub balances: Option<Vec<AccountBalance>>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rejection: Option<Cow<'static, str>>,
    /// Place of the deciding entry in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}

/// A page of accounts in the order of their ids, all as of one index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountPage {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Where the list goes on; `null` at its end.
    pub next_cursor: Option<String>,
    /// As of this place in the ledger.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = u64))]
    pub index: LogIndex,
}

wire_enum! {
    /// What moved an account's money.
    StatementEntryKind as "StatementWord" {
        /// A payment that was taken at once.
        Payment = "payment",
        /// A capture of a hold.
        Capture = "capture",
        /// A refund.
        Refund = "refund",
    }
}

impl From<PostingKind> for StatementEntryKind {
    fn from(kind: PostingKind) -> Self {
        match kind {
            PostingKind::Payment => Self::Payment,
            PostingKind::Capture => Self::Capture,
            PostingKind::Refund => Self::Refund,
        }
    }
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = StatementLine))]
pub struct StatementEntry<'a> {
    /// Its place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// The payment that the money belongs to.
    #[serde(with = "payment_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
    pub payment_id: PaymentId,
    /// Why the money moved.
    #[serde(rename = "type")]
    pub kind: StatementEntryKind,
    /// When the ledger took it.
    pub created_at: Rfc3339,
    /// Negative where the account paid.
    #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
    pub amount: MinorUnits,
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// Posted balance right after it.
    #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
    pub balance: MinorUnits,
    /// The other account.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub counterparty: Cow<'a, AccountId>,
}

/// A page of a statement, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Statement<'a> {
    /// The account.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub account: Cow<'a, AccountId>,
    /// What moved its money.
    pub entries: Vec<StatementEntry<'a>>,
    /// Where the statement goes on; `null` at its end.
    pub next_cursor: Option<String>,
}
