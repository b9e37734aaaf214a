//! The reasons for which the bank refuses.

use serde::{Deserialize, Serialize};

/// The reason for which the bank refused. The codes are part of the API and never change; new ones are added at the
/// end, because their numbers are in the hashes of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The paying account would fall below what its overdraft policy allows.
    InsufficientFunds,
    /// The account does not exist: it was neither opened nor ever credited.
    AccountNotFound,
    /// The account already exists.
    AccountExists,
    /// A balance would leave the range of a signed 64-bit integer.
    BalanceOverflow,
    /// The account's balance is already below what the new policy would allow.
    OverdraftInUse,
    /// One of the accounts is frozen: it can neither pay nor receive.
    AccountFrozen,
    /// One of the accounts is closed.
    AccountClosed,
    /// An account with a balance or an open hold cannot be closed.
    AccountNotEmpty,
    /// The sum of the order's payments would exceed its total.
    OrderTotalExceeded,
    /// The order was first paid with another total or in another currency.
    OrderMismatch,
    /// There is no such payment.
    PaymentNotFound,
    /// The payment itself was refused, so there is nothing to capture, void or refund.
    PaymentRejected,
    /// The payment has no open hold: it was captured at once or in full.
    NothingHeld,
    /// The hold was voided.
    PaymentVoided,
    /// The hold has expired.
    PaymentExpired,
    /// The amount to capture exceeds the held amount.
    AmountExceedsHeld,
    /// Nothing of the payment is left to be refunded.
    NothingToRefund,
    /// The amount to refund exceeds the amount captured and not yet refunded.
    AmountExceedsRefundable,
    /// The payment has reached the limit of captures and refunds.
    TooManyChanges,
    /// Another payment of the same atomic batch was refused.
    BatchAborted,
    /// The payment's idempotency key was used before for another request.
    IdempotencyKeyReused,
    /// The payment's idempotency key was fenced: nothing can apply under it.
    IdempotencyKeyFenced,
    /// There is or was an API key with this id.
    ApiKeyExists,
    /// There is no such API key.
    ApiKeyNotFound,
    /// The API key is revoked already.
    ApiKeyRevoked,
    /// There are as many API keys as there may be, and none of them is revoked.
    TooManyApiKeys,
}

impl Rejection {
    const ALL: [Self; 26] = [
        Self::InsufficientFunds,
        Self::AccountNotFound,
        Self::AccountExists,
        Self::BalanceOverflow,
        Self::OverdraftInUse,
        Self::AccountFrozen,
        Self::AccountClosed,
        Self::AccountNotEmpty,
        Self::OrderTotalExceeded,
        Self::OrderMismatch,
        Self::PaymentNotFound,
        Self::PaymentRejected,
        Self::NothingHeld,
        Self::PaymentVoided,
        Self::PaymentExpired,
        Self::AmountExceedsHeld,
        Self::NothingToRefund,
        Self::AmountExceedsRefundable,
        Self::TooManyChanges,
        Self::BatchAborted,
        Self::IdempotencyKeyReused,
        Self::IdempotencyKeyFenced,
        Self::ApiKeyExists,
        Self::ApiKeyNotFound,
        Self::ApiKeyRevoked,
        Self::TooManyApiKeys,
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
            Self::AccountFrozen => "account_frozen",
            Self::AccountClosed => "account_closed",
            Self::AccountNotEmpty => "account_not_empty",
            Self::OrderTotalExceeded => "order_total_exceeded",
            Self::OrderMismatch => "order_mismatch",
            Self::PaymentNotFound => "payment_not_found",
            Self::PaymentRejected => "payment_rejected",
            Self::NothingHeld => "nothing_held",
            Self::PaymentVoided => "payment_voided",
            Self::PaymentExpired => "payment_expired",
            Self::AmountExceedsHeld => "amount_exceeds_held",
            Self::NothingToRefund => "nothing_to_refund",
            Self::AmountExceedsRefundable => "amount_exceeds_refundable",
            Self::TooManyChanges => "too_many_changes",
            Self::BatchAborted => "batch_aborted",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::IdempotencyKeyFenced => "idempotency_key_fenced",
            Self::ApiKeyExists => "api_key_exists",
            Self::ApiKeyNotFound => "api_key_not_found",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::TooManyApiKeys => "too_many_api_keys",
        }
    }

    /// All reasons, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Parses what [`Self::code`] returns.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::all().find(|rejection| rejection.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_code_reads_back_as_it_was_written_and_is_the_one_in_json() {
        for rejection in Rejection::all() {
            assert_eq!(Rejection::from_code(rejection.code()), Some(rejection));
            let json = serde_json::to_string(&rejection).expect("a text");
            assert_eq!(json, format!("\"{}\"", rejection.code()));
        }
        assert_eq!(Rejection::from_code("no_such_code"), None);
    }
}
