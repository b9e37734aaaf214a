//! What callers ask for, and what the ledger says of it: every decision is an [`Operation`] with its outcome inside,
//! refusals included, so that a retry is answered from the ledger and never decided again.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AccountId, Currency, Fingerprint, FingerprintBuilder, IdempotencyKey, MinorUnits, Overdraft};

/// A request to move money now, from one account to another (capture is automatic).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRequest {
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives; never the same as `from`.
    pub to: AccountId,
    /// Positive.
    pub amount: MinorUnits,
    /// The currency of `amount`.
    pub currency: Currency,
    /// Free text, at most 500 characters.
    pub description: Option<CompactString>,
    /// A JSON object in its compact form with sorted keys, at most 4 KiB.
    pub metadata: Option<CompactString>,
}

/// What is done to an account, other than paying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountChangeKind {
    /// Opens the account with this policy; refused if it exists.
    Open(Overdraft),
    /// Gives an existing account another policy.
    SetOverdraft(Overdraft),
}

/// A write that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationRequest {
    /// Move money.
    Payment(PaymentRequest),
    /// Open or change an account.
    Account {
        /// The account concerned.
        account: AccountId,
        /// What is done to it.
        change: AccountChangeKind,
    },
}

/// A write under its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The caller's name for this intent.
    pub key: IdempotencyKey,
    /// What is asked for.
    pub request: OperationRequest,
}

/// A payment as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The key under which it was asked for.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// What was asked for.
    pub request: PaymentRequest,
    /// What was decided.
    pub outcome: PaymentOutcome,
}

/// The decision on a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentOutcome {
    /// The money moved; the posted balances in the payment's currency right after it.
    Succeeded {
        /// Balance of the paying account.
        from_balance: MinorUnits,
        /// Balance of the receiving account.
        to_balance: MinorUnits,
    },
    /// Nothing moved.
    Rejected(Rejection),
}

/// A change of an account as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// The key under which it was asked for.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The account concerned.
    pub account: AccountId,
    /// What was asked for.
    pub change: AccountChangeKind,
    /// What was decided.
    pub outcome: AccountOutcome,
}

/// The decision on a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountOutcome {
    /// Done.
    Applied,
    /// Nothing changed.
    Rejected(Rejection),
}

/// Why the bank refused. The codes are part of the API and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The paying account would fall below what its overdraft policy allows.
    InsufficientFunds,
    /// The account does not exist: it was neither opened nor ever credited.
    AccountNotFound,
    /// The account exists already.
    AccountExists,
    /// A balance would leave the range of a signed 64-bit integer.
    BalanceOverflow,
    /// The account's balance is already below what the new policy would allow.
    OverdraftInUse,
}

impl Rejection {
    const ALL: [Self; 5] = [
        Self::InsufficientFunds,
        Self::AccountNotFound,
        Self::AccountExists,
        Self::BalanceOverflow,
        Self::OverdraftInUse,
    ];

    /// The stable snake-case code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "insufficient_funds",
            Self::AccountNotFound => "account_not_found",
            Self::AccountExists => "account_exists",
            Self::BalanceOverflow => "balance_overflow",
            Self::OverdraftInUse => "overdraft_in_use",
        }
    }

    /// Reads a code back.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rejection| rejection.code() == code)
    }
}

/// One application entry of the ledger: something decided under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A payment, made or refused.
    Payment(Payment),
    /// A change of an account, made or refused.
    Account(AccountChange),
}

impl Operation {
    /// The key under which it was asked for.
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        match self {
            Self::Payment(payment) => &payment.key,
            Self::Account(change) => &change.key,
        }
    }

    /// Fingerprint of the request that led to it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Payment(payment) => payment.fingerprint,
            Self::Account(change) => change.fingerprint,
        }
    }

    /// Why it was refused, if it was.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Payment(Payment { outcome: PaymentOutcome::Rejected(rejection), .. })
            | Self::Account(AccountChange { outcome: AccountOutcome::Rejected(rejection), .. }) => Some(*rejection),
            Self::Payment(_) | Self::Account(_) => None,
        }
    }
}

impl OperationRequest {
    /// The fingerprint by which a repeated request is told from another one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Payment(payment) => FingerprintBuilder::new("payment")
                .text(payment.from.as_str())
                .text(payment.to.as_str())
                .number(payment.amount.get())
                .text(payment.currency.code())
                .optional(payment.description.as_deref())
                .optional(payment.metadata.as_deref())
                .finish(),
            Self::Account { account, change } => {
                let (kind, overdraft) = match change {
                    AccountChangeKind::Open(overdraft) => ("account_open", overdraft),
                    AccountChangeKind::SetOverdraft(overdraft) => ("account_set_overdraft", overdraft),
                };
                FingerprintBuilder::new(kind).text(account.as_str()).text(&overdraft.to_string()).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_code_reads_back_as_it_was_written() {
        for rejection in Rejection::ALL {
            assert_eq!(Rejection::from_code(rejection.code()), Some(rejection));
        }
        assert_eq!(Rejection::from_code("no_such_code"), None);
    }
}
