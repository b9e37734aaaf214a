//! Changes of accounts: opening, policy, status.

use serde::{Deserialize, Serialize};

use super::{AccountId, AccountStatus, Fingerprint, FingerprintBuilder, IdempotencyKey, Overdraft, Rejection};

/// A change of an account, as requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountChangeKind {
    /// Opens the account with this policy; refused if it exists.
    Open(Overdraft),
    /// Gives an existing account another policy, another status, or both.
    Change {
        /// The policy from now on.
        overdraft: Option<Overdraft>,
        /// The status from now on.
        status: Option<AccountStatus>,
    },
}

impl AccountChangeKind {
    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(self, account: &AccountId) -> Fingerprint {
        match self {
            Self::Open(overdraft) => {
                FingerprintBuilder::new("account_open").text(account.as_str()).text(&overdraft.to_string())
            }
            Self::Change { overdraft, status } => FingerprintBuilder::new("account_change")
                .text(account.as_str())
                .optional(overdraft.map(|overdraft| overdraft.to_string()).as_deref())
                .optional(status.map(AccountStatus::as_str)),
        }
        .finish()
    }
}

/// A decided change of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// The request's idempotency key.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The account.
    pub account: AccountId,
    /// The requested change.
    pub change: AccountChangeKind,
    /// The decision.
    pub outcome: AccountOutcome,
}

/// The decision on a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountOutcome {
    /// The account was changed.
    Applied,
    /// Nothing changed.
    Rejected(Rejection),
}
