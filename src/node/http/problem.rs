//! Errors as callers see them: RFC 9457 problem details with a stable code and a definite outcome.
//!
//! Nothing of SQL, peers or files may reach a detail text.

use axum::http::StatusCode;
use serde::Serialize;

use crate::runtime::{ReadError, SubmitError, TransferError};
use quorapay_core::domain::IdempotencyKey;

use super::answer::{Answer, Mark};
use super::json::write_object;

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Nothing moved, and nothing will.
    NotApplied,
    /// It may or may not have moved money.
    Unknown,
}

/// Seconds after which a caller may try again when a queue was full.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An error on its way to a caller. Boxed, because every handler returns one and hardly any request makes one.
#[derive(Debug)]
pub(super) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retryable: bool,
    outcome: Outcome,
    field: Option<String>,
    retry_after: Option<u32>,
    members: Vec<(&'static str, Vec<u8>)>,
    mark: Option<Mark>,
}

impl Problem {
    /// A refusal for good.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            status,
            code,
            detail: detail.into(),
            retryable: false,
            outcome: Outcome::NotApplied,
            field: None,
            retry_after: None,
            members: Vec::new(),
            mark: None,
        }))
    }

    /// A 400 for good.
    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Names the field, parameter or header that was wrong.
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Says in which payment of a batch it was, counted from 0.
    pub(super) fn in_item(mut self, item: usize) -> Self {
        self.0.field = Some(match self.0.field.take() {
            Some(field) => format!("payments[{item}].{field}"),
            None => format!("payments[{item}]"),
        });
        self.member("item", &item)
    }

    /// Says that the same request may succeed later or at another node.
    pub(super) fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Says that the outcome is not known.
    pub(super) fn unknown(mut self) -> Self {
        self.0.outcome = Outcome::Unknown;
        self
    }

    /// Adds a member of this problem's own.
    pub(super) fn member<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Self {
        let json = serde_json::to_vec(value).expect("members are made of types that JSON can always hold");
        self.raw_member(name, json)
    }

    /// Adds a member that is JSON already.
    pub(super) fn raw_member(mut self, name: &'static str, json: Vec<u8>) -> Self {
        self.0.members.push((name, json));
        self
    }

    /// Says as of where it was decided.
    pub(super) fn mark(mut self, mark: Mark) -> Self {
        self.0.mark = Some(mark);
        self
    }

    /// The stable code.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What was wrong, if it has a name.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn field_name(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The status that it is answered with.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// A write without a committed entry.
    pub(super) fn from_submit(error: SubmitError, key: &IdempotencyKey) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::KeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail).field("Idempotency-Key")
            }
            SubmitError::Fenced => {
                Self::new(StatusCode::CONFLICT, "idempotency_key_fenced", detail).field("Idempotency-Key")
            }
            SubmitError::Overloaded => Self::overloaded(),
            SubmitError::NoLeader => Self::no_leader(detail),
            SubmitError::Unknown => Self::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail)
                .retryable()
                .unknown()
                .member("by_key_url", &by_key_url(key)),
        }
    }

    /// A queue or a budget of this node is used up for now.
    pub(super) fn overloaded() -> Self {
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "the node's queue is full").retryable();
        problem.0.retry_after = Some(RETRY_AFTER_SECONDS);
        problem
    }

    fn no_leader(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_leader", detail).retryable()
    }

    /// A read that took longer than the caller would wait.
    pub(super) fn deadline_exceeded() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", "the read did not end within the deadline")
            .retryable()
    }

    /// The problem as an answer.
    pub(super) fn into_answer(self) -> Answer {
        let details = *self.0;
        let mut body = Vec::with_capacity(256);
        write_object(&mut body, |object| {
            object.text("type", format_args!("urn:quorapay:problem:{}", details.code));
            object.field("title", &title(details.code)).field("status", &details.status.as_u16());
            object.field("detail", &details.detail).field("code", details.code);
            object.field("retryable", &details.retryable).field("outcome", &details.outcome);
            object.optional("field", details.field);
            for (name, json) in &details.members {
                object.raw(name, json);
            }
        });
        Answer::problem(details.status, body, details.mark, details.retry_after)
    }
}

impl Problem {
    /// The problem in the shape of the earlier systems: `{error}`, and what helps a caller to go on.
    pub(super) fn into_plain_answer(self) -> Answer {
        let details = *self.0;
        let mut body = Vec::with_capacity(128);
        write_object(&mut body, |object| {
            object.field("error", &details.detail);
            for (name, json) in &details.members {
                object.raw(name, json);
            }
        });
        Answer::plain_error(details.status, body, details.mark, details.retry_after)
    }
}

/// One title per code, and the code says it all.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    title[..1].make_ascii_uppercase();
    title
}

/// Where a caller learns what became of a key.
fn by_key_url(key: &IdempotencyKey) -> String {
    use std::fmt::Write;
    let mut url = String::from("/v1/payments/by-key/");
    for byte in key.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => url.push(char::from(byte)),
            _ => write!(url, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    url
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::NoLeader => Self::no_leader(detail),
            ReadError::NotApplied { wanted, reached } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "index_not_applied", detail)
                    .retryable()
                    .member("wanted_index", &wanted)
                    .member("applied_index", &reached)
            }
            ReadError::Quarantined => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "quarantined", "this node's ledger is damaged; ask another")
                    .retryable()
            }
            ReadError::Overloaded => Self::overloaded(),
            ReadError::Storage => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "storage_error",
                "this node could not read its ledger; ask another",
            )
            .retryable(),
        }
    }
}

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        let detail = error.to_string();
        match error {
            TransferError::NoLeader => Self::no_leader(detail),
            TransferError::NoSuchSuccessor(_) => Self::bad_request("no_such_successor", detail).field("to"),
            TransferError::NoSuccessor => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_successor", detail).retryable()
            }
            TransferError::TimedOut => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "transfer_timed_out", detail).retryable().unknown()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use quorapay_core::domain::LogIndex;

    fn body(problem: Problem) -> Value {
        serde_json::from_slice(problem.into_answer().body()).expect("JSON")
    }

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text).expect("valid")
    }

    #[test]
    fn a_problem_has_every_member_that_callers_rely_on() {
        let problem = Problem::bad_request("invalid_amount", "too \"small\"").field("amount");
        let expected = json!({
            "type": "urn:quorapay:problem:invalid_amount", "title": "Invalid amount", "status": 400,
            "detail": "too \"small\"", "code": "invalid_amount", "retryable": false, "outcome": "not_applied",
            "field": "amount",
        });
        assert_eq!(body(problem), expected);
    }

    #[test]
    fn a_problem_with_a_payment_of_a_batch_names_its_position() {
        let with_field = body(Problem::bad_request("invalid_amount", "x").field("amount").in_item(17));
        assert_eq!((&with_field["field"], &with_field["item"]), (&json!("payments[17].amount"), &json!(17)));
        let without = body(Problem::bad_request("invalid_json", "x").in_item(0));
        assert_eq!((&without["field"], &without["item"]), (&json!("payments[0]"), &json!(0)));
    }

    #[test]
    fn an_unknown_outcome_comes_with_the_url_that_settles_it() {
        let problem = Problem::from_submit(SubmitError::Unknown, &key("order 42/é?".trim_end_matches("é?")));
        assert_eq!(problem.status(), StatusCode::GATEWAY_TIMEOUT);
        let body = body(problem);
        assert_eq!(body["outcome"], "unknown");
        assert_eq!(body["retryable"], true);
        assert_eq!(body["by_key_url"], "/v1/payments/by-key/order%2042%2F");
    }

    #[test]
    fn a_definite_failure_to_submit_says_that_nothing_moved() {
        let cases = [
            (SubmitError::KeyReused, 422, "idempotency_key_reused", false),
            (SubmitError::Fenced, 409, "idempotency_key_fenced", false),
            (SubmitError::Overloaded, 503, "overloaded", true),
            (SubmitError::NoLeader, 503, "no_leader", true),
        ];
        for (error, status, code, retryable) in cases {
            let body = body(Problem::from_submit(error, &key("k")));
            assert_eq!(body["status"], status);
            assert_eq!(body["code"], code);
            assert_eq!(body["retryable"], retryable);
            assert_eq!(body["outcome"], "not_applied");
        }
    }

    #[test]
    fn a_read_that_was_not_applied_in_time_says_how_far_this_node_is() {
        let problem = Problem::from(ReadError::NotApplied { wanted: LogIndex(9), reached: LogIndex(7) });
        let body = body(problem);
        assert_eq!((&body["status"], &body["code"]), (&json!(504), &json!("index_not_applied")));
        assert_eq!((&body["wanted_index"], &body["applied_index"]), (&json!(9), &json!(7)));
    }
}
