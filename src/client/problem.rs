//! Errors as nodes write them: RFC 9457 `application/problem+json`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Payment;

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
    /// The payment that the bank refused, as the ledger holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Box<Payment>>,
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
        Self {
            title: "The bank refused the payment".to_owned(),
            status: 409,
            detail: None,
            code: payment.rejection.clone().unwrap_or_else(|| "rejected".to_owned()),
            retryable: false,
            outcome: Some(ReportedOutcome::NotApplied),
            field: None,
            by_key_url: None,
            payment: Some(Box::new(payment)),
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
