//! Errors: RFC 9457 `application/problem+json`.

use std::borrow::Cow;
use std::fmt;

use quorapay_core::domain::{AccountId, LogIndex};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::schema::AccountIdText;
use crate::wire_enum::wire_enum;
use crate::{ChangedPayment, Code, ItemResult, NodeRole, Payment, PaymentStatus};

wire_enum! {
    /// What became of the request.
    ReportedOutcome as "OutcomeWord" {
        /// Nothing moved, and nothing will.
        NotApplied = "not_applied",
        /// It may or may not have moved money: ask `by_key_url`, or send the same request with the same key again.
        Unknown = "unknown",
    }
}

/// What went wrong, in the form of RFC 9457. Some problems have members of their own beside these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem<'a> {
    /// `urn:quorapay:problem:` and the code.
    #[serde(rename = "type", default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub kind: Cow<'a, str>,
    /// The code in words.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub title: Cow<'a, str>,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// What happened, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required, nullable = false))]
    pub detail: Option<Cow<'a, str>>,
    /// What happened, for programs. It never changes.
    pub code: Cow<'a, str>,
    /// Whether the same request, with the same key, may succeed later or at another node.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub retryable: bool,
    /// What became of the write, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required, nullable = false))]
    pub outcome: Option<ReportedOutcome>,
    /// The field, parameter or header that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub field: Option<Cow<'a, str>>,
    /// Which payment of a batch was wrong, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub item: Option<usize>,
    /// The payment that the bank refused, or refused to change, as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub payment: Option<Box<ProblemPayment<'a>>>,
    /// The account that was not opened or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = AccountIdText))]
    pub account: Option<AccountId>,
    /// Where an open outcome can be looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub by_key_url: Option<Cow<'a, str>>,
    /// What the nodes' logs name the request by, if the node failed to answer it. The header of every error has it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub request_id: Option<Cow<'a, str>>,
    /// The index that a read waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub wanted_index: Option<LogIndex>,
    /// The index that the node had applied by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub applied_index: Option<LogIndex>,
    /// Why the node cannot serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Cow<'a, str>>,
    /// What the node that cannot serve is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub role: Option<NodeRole>,
    /// `connected` or `disconnected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub zookeeper: Option<Cow<'a, str>>,
    /// The payments for which a batch of all or none was refused, counted from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<usize>,
    /// What would have become of each payment of that batch.
    // Last, so that a node can write the results one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub results: Option<Vec<ItemResult<'a>>>,
}

/// The payment that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProblemPayment<'a> {
    /// It was refused itself.
    Refused(Payment<'a>),
    /// It was refused to be changed.
    Unchanged(ChangedPayment<'a>),
}

impl ProblemPayment<'_> {
    /// Where the payment stands.
    #[must_use]
    pub const fn status(&self) -> PaymentStatus {
        match self {
            Self::Refused(payment) => payment.status,
            Self::Unchanged(payment) => payment.status,
        }
    }
}

impl<'a> Problem<'a> {
    /// A refusal for good.
    #[must_use]
    pub fn new(status: u16, code: Code, detail: impl Into<Cow<'a, str>>) -> Self {
        Self { detail: Some(detail.into()), ..Self::without_detail(status, code.title(), Cow::Borrowed(code.as_str())) }
    }

    /// A refusal for good of which nothing is said but its title.
    #[must_use]
    pub fn without_detail(status: u16, title: impl Into<Cow<'a, str>>, code: Cow<'a, str>) -> Self {
        Self {
            kind: format!("urn:quorapay:problem:{code}").into(),
            title: title.into(),
            status,
            detail: None,
            code,
            retryable: false,
            outcome: Some(ReportedOutcome::NotApplied),
            field: None,
            item: None,
            payment: None,
            account: None,
            by_key_url: None,
            request_id: None,
            wanted_index: None,
            applied_index: None,
            reasons: Vec::new(),
            role: None,
            zookeeper: None,
            failed: Vec::new(),
            results: None,
        }
    }

    /// Reads a problem document; `None` if the bytes are none.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail.as_deref().unwrap_or(&self.title))?;
        write!(f, " ({})", self.code)?;
        if let Some(field) = &self.field {
            write!(f, ", field {field:?}")?;
        }
        match &self.request_id {
            Some(id) => write!(f, ", request {id}"),
            None => Ok(()),
        }
    }
}
