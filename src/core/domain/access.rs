//! What a caller with an API key may do: its scopes, the accounts that it may debit and credit, and how much.
//!
//! | request | scope | accounts | limit |
//! |---|---|---|---|
//! | payment, hold, each payment of a batch | `payments:write` | `from` among the debits, `to` among the credits | amount |
//! | capture | `payments:write` | those of the payment | what is captured |
//! | void | `payments:write` | those of the payment | none: nothing moves |
//! | refund | `refunds:write` | those of the payment: who may make it may give it back | what is refunded |
//! | fence of an idempotency key | `payments:write` | none | none |
//! | opening or changing an account | `accounts:admin` | the account among the debits and among the credits | none |
//! | creating, rotating, revoking an API key | `cluster:admin` | only a key without accounts and limits may | none |
//!
//! A batch has one caller, and is allowed or denied as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    AccountId, ApiKeyChangeKind, Currency, MinorUnits, Operation, OperationRequest, PaymentChangeKind, PaymentRequest,
    PaymentState, Timestamp,
};

/// Prefixes in each of a key's two lists.
pub const MAX_API_KEY_PREFIXES: usize = 32;

const MAX_PREFIX_CHARS: usize = 64;
const MAX_NAME_BYTES: usize = 100;

/// A group of calls. The names are part of the API and never change; new ones are added at the end, because their
/// numbers are in the hashes of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Payments, batches, captures, voids, fences.
    #[serde(rename = "payments:write")]
    PaymentsWrite,
    /// Payments, accounts, statements and the ledger, to be read.
    #[serde(rename = "payments:read")]
    PaymentsRead,
    /// Refunds.
    #[serde(rename = "refunds:write")]
    RefundsWrite,
    /// Opening and changing accounts.
    #[serde(rename = "accounts:admin")]
    AccountsAdmin,
    /// API keys, backups, the settings, handing the leadership over.
    #[serde(rename = "cluster:admin")]
    ClusterAdmin,
    /// Metrics, and the state of the nodes.
    #[serde(rename = "metrics")]
    Metrics,
}

impl Scope {
    /// All scopes, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::PaymentsWrite,
        Self::PaymentsRead,
        Self::RefundsWrite,
        Self::AccountsAdmin,
        Self::ClusterAdmin,
        Self::Metrics,
    ];

    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentsWrite => "payments:write",
            Self::PaymentsRead => "payments:read",
            Self::RefundsWrite => "refunds:write",
            Self::AccountsAdmin => "accounts:admin",
            Self::ClusterAdmin => "cluster:admin",
            Self::Metrics => "metrics",
        }
    }

    /// Parses what [`Self::as_str`] returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The beginning of account ids: 1 to 64 of their characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AccountPrefix(CompactString);

/// The text is not the beginning of an account id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account prefix has 1 to 64 characters, each one of A-Z a-z 0-9 _ . : -")]
pub struct AccountPrefixError;

impl AccountPrefix {
    /// Checks and wraps a prefix.
    ///
    /// # Errors
    /// [`AccountPrefixError`] for an empty or long text and for any other character.
    pub fn parse(text: &str) -> Result<Self, AccountPrefixError> {
        // Every account id is a prefix, and the other way round.
        let fits = text.len() <= MAX_PREFIX_CHARS && AccountId::parse(text).is_ok();
        if fits { Ok(Self(CompactString::new(text))) } else { Err(AccountPrefixError) }
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AccountPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A name for people: 1 to 100 bytes of text without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ApiKeyName(CompactString);

/// The text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of an API key has 1 to 100 bytes of text without control characters")]
pub struct ApiKeyNameError;

impl ApiKeyName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`ApiKeyNameError`] for an empty or long text and for control characters.
    pub fn parse(text: &str) -> Result<Self, ApiKeyNameError> {
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(CompactString::new(text))) } else { Err(ApiKeyNameError) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ApiKeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// What a key allows. It never changes: another key allows something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyGrant {
    /// For people.
    pub name: ApiKeyName,
    /// The calls.
    pub scopes: BTreeSet<Scope>,
    /// What the accounts that pay begin with; empty for any account.
    pub debits: BTreeSet<AccountPrefix>,
    /// What the accounts that receive begin with; empty for any account.
    pub credits: BTreeSet<AccountPrefix>,
    /// The most that one payment, capture or refund may move. If there is one, other currencies are not allowed.
    pub limits: BTreeMap<Currency, MinorUnits>,
    /// When it ends, by the ledger's time.
    pub expires_at: Option<Timestamp>,
}

/// Why a caller may not do what it asked for. Nothing was decided and nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denial {
    /// The ledger has no such key.
    #[error("the API key is not known")]
    Unknown,
    /// The key was revoked.
    #[error("the API key was revoked")]
    Revoked,
    /// The key has expired, by the ledger's time.
    #[error("the API key has expired")]
    Expired,
    /// The key lacks the scope of the call.
    #[error("the API key lacks the scope {0}")]
    Scope(Scope),
    /// The key may not debit the account that pays.
    #[error("the API key may not debit this account")]
    Debit,
    /// The key may not credit the account that receives.
    #[error("the API key may not credit this account")]
    Credit,
    /// The key may not change or read the account, or everybody's.
    #[error("the API key is not for these accounts")]
    Account,
    /// The amount is above the key's limit, or the currency is not one that it names.
    #[error("the amount is above the limit of the API key")]
    Limit,
    /// The key is limited to accounts or amounts, or would give away what it lacks.
    #[error("an API key creates others only without limits of its own and only with scopes that it has")]
    Management,
}

impl Denial {
    /// Whether the caller is not who it says, rather than not allowed.
    #[must_use]
    pub const fn is_of_the_key(self) -> bool {
        matches!(self, Self::Unknown | Self::Revoked | Self::Expired)
    }
}

impl ApiKeyGrant {
    /// A key that allows everything.
    #[must_use]
    pub fn everything(name: ApiKeyName) -> Self {
        Self {
            name,
            scopes: Scope::ALL.into(),
            debits: BTreeSet::new(),
            credits: BTreeSet::new(),
            limits: BTreeMap::new(),
            expires_at: None,
        }
    }

    /// Checks the scope of a call.
    ///
    /// # Errors
    /// [`Denial::Scope`].
    pub fn check_scope(&self, needed: Scope) -> Result<(), Denial> {
        if self.scopes.contains(&needed) { Ok(()) } else { Err(Denial::Scope(needed)) }
    }

    /// Checks a request. A change of a payment that is not known here is checked as far as that goes.
    ///
    /// # Errors
    /// The first [`Denial`].
    pub fn check_request(&self, request: &OperationRequest, payment: Option<&PaymentState>) -> Result<(), Denial> {
        self.check_scope(scope_of_request(request))?;
        match request {
            OperationRequest::Payment(request) => self.check_payment(request),
            OperationRequest::Batch(batch) => batch.items.iter().try_for_each(|item| self.check_payment(&item.request)),
            OperationRequest::PaymentChange { change, .. } => self.check_change(*change, payment),
            OperationRequest::Account { account, .. } => self.check_account(account),
            OperationRequest::ApiKey { change, .. } => self.check_management(change),
            OperationRequest::KeyFence => Ok(()),
        }
    }

    /// Checks what was decided, as [`Self::check_request`] did.
    ///
    /// # Errors
    /// The first [`Denial`].
    pub(super) fn check_decided(&self, operation: &Operation) -> Result<(), Denial> {
        match operation {
            Operation::Payment(payment) => {
                self.check_scope(Scope::PaymentsWrite)?;
                self.check_payment(&payment.request)
            }
            Operation::Batch(batch) => {
                self.check_scope(Scope::PaymentsWrite)?;
                batch.items.iter().try_for_each(|item| self.check_payment(&item.request))
            }
            Operation::PaymentChange(change) => {
                self.check_scope(scope_of_change(change.change))?;
                self.check_change(change.change, change.before.as_deref())
            }
            Operation::Account(change) => {
                self.check_scope(Scope::AccountsAdmin)?;
                self.check_account(&change.account)
            }
            Operation::ApiKey(change) => {
                self.check_scope(Scope::ClusterAdmin)?;
                self.check_management(&change.change)
            }
            Operation::KeyFence(_) => self.check_scope(Scope::PaymentsWrite),
            // Nobody asks for an expiry.
            Operation::Expiry(_) => Err(Denial::Unknown),
        }
    }

    fn check_payment(&self, request: &PaymentRequest) -> Result<(), Denial> {
        self.check_parties(&request.from, &request.to)?;
        self.check_amount(request.amount, request.currency)
    }

    fn check_change(&self, change: PaymentChangeKind, payment: Option<&PaymentState>) -> Result<(), Denial> {
        let Some(payment) = payment else { return Ok(()) };
        self.check_parties(&payment.from, &payment.to)?;
        match change {
            PaymentChangeKind::Void => Ok(()),
            PaymentChangeKind::Capture(amount) => self.check_amount(amount.unwrap_or(payment.held), payment.currency),
            PaymentChangeKind::Refund(amount) => {
                self.check_amount(amount.unwrap_or(payment.refundable()), payment.currency)
            }
        }
    }

    fn check_parties(&self, from: &AccountId, to: &AccountId) -> Result<(), Denial> {
        if !allows(&self.debits, from) {
            Err(Denial::Debit)
        } else if !allows(&self.credits, to) {
            Err(Denial::Credit)
        } else {
            Ok(())
        }
    }

    fn check_amount(&self, amount: MinorUnits, currency: Currency) -> Result<(), Denial> {
        let within = self.limits.is_empty() || self.limits.get(&currency).is_some_and(|limit| amount <= *limit);
        if within { Ok(()) } else { Err(Denial::Limit) }
    }

    fn check_account(&self, account: &AccountId) -> Result<(), Denial> {
        self.check_parties(account, account).map_err(|_| Denial::Account)
    }

    fn check_management(&self, change: &ApiKeyChangeKind) -> Result<(), Denial> {
        let gives_away = match change {
            ApiKeyChangeKind::Create { grant, .. } => !grant.scopes.is_subset(&self.scopes),
            ApiKeyChangeKind::Rotate { .. } | ApiKeyChangeKind::Revoke => false,
        };
        if self.is_limited() || gives_away { Err(Denial::Management) } else { Ok(()) }
    }

    fn is_limited(&self) -> bool {
        self.names_accounts() || !self.limits.is_empty()
    }

    fn names_accounts(&self) -> bool {
        !self.debits.is_empty() || !self.credits.is_empty()
    }

    /// Checks that it may read what concerns an account. A key that names accounts reads those that it names, and nothing
    /// that concerns no account or all.
    ///
    /// # Errors
    /// [`Denial::Account`].
    pub fn check_readable<'id>(&self, accounts: impl IntoIterator<Item = &'id AccountId>) -> Result<(), Denial> {
        let named = |id: &AccountId| begins_with_one(&self.debits, id) || begins_with_one(&self.credits, id);
        if !self.names_accounts() || accounts.into_iter().any(named) { Ok(()) } else { Err(Denial::Account) }
    }
}

/// The scope that a write needs.
const fn scope_of_request(request: &OperationRequest) -> Scope {
    match request {
        OperationRequest::Payment(_) | OperationRequest::Batch(_) | OperationRequest::KeyFence => Scope::PaymentsWrite,
        OperationRequest::PaymentChange { change, .. } => scope_of_change(*change),
        OperationRequest::Account { .. } => Scope::AccountsAdmin,
        OperationRequest::ApiKey { .. } => Scope::ClusterAdmin,
    }
}

const fn scope_of_change(change: PaymentChangeKind) -> Scope {
    match change {
        PaymentChangeKind::Capture(_) | PaymentChangeKind::Void => Scope::PaymentsWrite,
        PaymentChangeKind::Refund(_) => Scope::RefundsWrite,
    }
}

fn allows(prefixes: &BTreeSet<AccountPrefix>, account: &AccountId) -> bool {
    prefixes.is_empty() || begins_with_one(prefixes, account)
}

fn begins_with_one(prefixes: &BTreeSet<AccountPrefix>, account: &AccountId) -> bool {
    prefixes.iter().any(|prefix| account.as_str().starts_with(prefix.as_str()))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
