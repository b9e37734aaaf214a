//! Entries, payments and accounts as JSON and as CSV.
//!
//! What a write is answered with is rendered from its entry alone, so that a repeat gets the same bytes from any node
//! at any later time.

mod account;
mod change;
mod csv;
mod entry;
mod payment;
mod statement;

use std::fmt;

use quorapay_core::domain::Rejection;
use quorapay_core::domain::Timestamp;

pub(super) use account::{account, account_change, account_fields, applied_overdraft};
pub(super) use change::{change, history_step, payment_after};
pub(super) use csv::{LEDGER_COLUMNS, STATEMENT_COLUMNS, complete_row, ledger_rows, row, statement_row};
pub(super) use entry::ledger_entry;
pub(super) use payment::{ShownPayment, payment, payment_fields};
pub(super) use statement::statement_line;

/// Why the bank refused, in a sentence.
pub(super) const fn reason(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::InsufficientFunds => "the account would fall below what its overdraft policy allows",
        Rejection::AccountNotFound => "the account does not exist: it was neither opened nor ever credited",
        Rejection::AccountExists => "the account exists already",
        Rejection::BalanceOverflow => "a balance would leave the range of a signed 64-bit integer",
        Rejection::OverdraftInUse => "the account's balance is already below what the new policy would allow",
        Rejection::AccountFrozen => "an account concerned is frozen: it neither pays nor receives",
        Rejection::AccountClosed => "an account concerned is closed for good",
        Rejection::AccountNotEmpty => "an account that still holds, owes or sets aside money cannot be closed",
        Rejection::OrderTotalExceeded => "the order's payments would come to more than its total",
        Rejection::OrderMismatch => "the order was first paid with another total or in another currency",
        Rejection::PaymentNotFound => "there is no such payment",
        Rejection::PaymentRejected => "the payment itself was refused, so there is nothing to capture, void or refund",
        Rejection::NothingHeld => "nothing of the payment is held any more: it was captured at once or in full",
        Rejection::PaymentVoided => "the payment's hold was voided",
        Rejection::PaymentExpired => "the payment's hold has expired",
        Rejection::AmountExceedsHeld => "more is to be captured than is still held",
        Rejection::NothingToRefund => "nothing of the payment is left to be refunded",
        Rejection::AmountExceedsRefundable => "more is to be refunded than was captured and not yet refunded",
        Rejection::TooManyChanges => "the payment has had as many captures and refunds as the ledger keeps for one",
        Rejection::BatchAborted => "another payment of the same atomic batch was refused",
        Rejection::IdempotencyKeyReused => "the payment's idempotency key was used before for another request",
        Rejection::IdempotencyKeyFenced => "the payment's idempotency key was fenced: nothing can apply under it",
    }
}

/// A moment of the ledger as RFC 3339 in UTC with milliseconds.
pub(super) struct Rfc3339(pub(super) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The calendar ends in the year 9999. A ledger whose clock was further off still has to be shown.
        let milliseconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{moment:.3}")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_beyond_the_calendar_is_still_shown() {
        assert!(Rfc3339(Timestamp(u64::MAX)).to_string().starts_with("9999-12-"));
    }

    #[test]
    fn every_refusal_is_explained_in_its_own_sentence() {
        let sentences: std::collections::BTreeSet<&str> = Rejection::all().map(reason).collect();
        assert_eq!(sentences.len(), Rejection::all().count());
    }
}
