//! Errors as nodes write them: RFC 9457 `application/problem+json`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{ChangedPayment, ItemResult, Payment};

/// What an error says of the write that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedOutcome {
    /// It happened.
    Applied,
    /// It did not happen and will not by itself.
    NotApplied,
    /// It may or may not have happened, or may still happen.
    Unknown,
}

/// A problem document. Members that this client does not know are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One line for people, the same for every problem of this kind.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One line for people on this very problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The stable snake-case code.
    pub code: String,
    /// Whether the same request may fare better later.
    #[serde(default)]
    pub retryable: bool,
    /// What became of the write, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReportedOutcome>,
    /// The field that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where an open outcome can be looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key_url: Option<String>,
    /// The payment that the bank refused, or refused to change, as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Box<ChangedPayment>>,
    /// Which payment of a batch was wrong, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// The payments for which a batch of all or none was refused, counted from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<usize>,
    /// What would have become of each payment of that batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ItemResult>,
}

impl Problem {
    /// Reads a problem document; `None` if the bytes are none.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The problem of a payment that a look-up by key found refused in the ledger.
    #[must_use]
    pub(super) fn of_rejected(payment: Payment) -> Self {
        let code = payment.rejection.clone().unwrap_or_else(|| "rejected".to_owned());
        let stands = ChangedPayment {
            id: payment.id,
            status: payment.status,
            rejection: payment.rejection,
            from: payment.from,
            to: payment.to,
            amount: payment.amount,
            currency: payment.currency,
            captured: payment.captured,
            refunded: payment.refunded,
            held: payment.held,
            expires_at: payment.expires_at,
            order_id: payment.order.map(|order| order.id),
            change: None,
            balances: None,
            index: payment.index,
            epoch: payment.epoch,
        };
        Self { payment: Some(Box::new(stands)), ..Self::refusal("The bank refused the payment", code) }
    }

    /// The problem of a write whose key was fenced before it came.
    #[must_use]
    pub(super) fn of_fenced() -> Self {
        Self::refusal("The idempotency key was fenced", "idempotency_key_fenced".to_owned())
    }

    fn refusal(title: &str, code: String) -> Self {
        Self {
            title: title.to_owned(),
            status: 409,
            detail: None,
            code,
            retryable: false,
            outcome: Some(ReportedOutcome::NotApplied),
            field: None,
            by_key_url: None,
            payment: None,
            item: None,
            failed: Vec::new(),
            results: Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(&self.title))?;
        write!(f, " ({})", self.code)?;
        match &self.field {
            Some(field) => write!(f, ", field {field:?}"),
            None => Ok(()),
        }
    }
}
