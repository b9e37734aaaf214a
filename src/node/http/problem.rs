//! Problems of the contract as answers, and the errors of the runtime as problems.
//!
//! Nothing of SQL, peers or files may reach a detail text.

use axum::http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::request_id::RequestId;
use crate::runtime::{ReadError, SubmitError, TransferError, ViewsRebuilding};
use quorapay_api::compatible::PlainError;
use quorapay_api::{Code, ProblemPayment, ReportedOutcome, headers};
use quorapay_core::domain::{AccountId, IdempotencyKey, Rejection};

use super::access::Refusal;
use super::answer::{AsOf, HttpAnswer};
use super::write_json::{close_last_list, open_last_list, to_json};

/// Seconds after which a caller may try again when a queue was full.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Capacity for a problem without a payment.
const TYPICAL_PROBLEM_BYTES: usize = 256;

/// The characters that are percent-encoded in a key that becomes a path segment. A dot is one of them, because a
/// segment must not be `.` or `..`.
const KEY_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// An error for a caller. Boxed, because every handler's result has room for one and few requests make one.
#[derive(Debug)]
pub(super) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    status: StatusCode,
    body: quorapay_api::Problem<'static>,
    retry_after: Option<u32>,
    as_of: Option<AsOf>,
    refusal: Option<Refusal>,
}

impl Problem {
    /// A refusal for good.
    pub(super) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        let body = quorapay_api::Problem::new(status.as_u16(), code, detail.into());
        Self(Box::new(Details { status, body, retry_after: None, as_of: None, refusal: None }))
    }

    /// A 400 for good.
    pub(super) fn bad_request(code: Code, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Names the field, parameter or header that was wrong.
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.body.field = Some(field.into().into());
        self
    }

    /// Says in which payment of a batch it was, counted from 0.
    pub(super) fn in_item(mut self, item: usize) -> Self {
        let body = &mut self.0.body;
        body.item = Some(item);
        body.field = Some(match body.field.take() {
            Some(field) => format!("payments[{item}].{field}").into(),
            None => format!("payments[{item}]").into(),
        });
        self
    }

    /// Says that the same request may succeed later or at another node.
    pub(super) fn retryable(mut self) -> Self {
        self.0.body.retryable = true;
        self
    }

    /// Says that the outcome is not known.
    fn unknown(mut self) -> Self {
        self.0.body.outcome = Some(ReportedOutcome::Unknown);
        self
    }

    /// Remembers that the caller was refused, to be counted.
    pub(super) fn refused_for(mut self, refusal: Refusal) -> Self {
        self.0.refusal = Some(refusal);
        self
    }

    /// Why the caller was refused, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.refusal
    }

    /// Names the account that was not opened or changed.
    pub(super) fn account(mut self, account: AccountId) -> Self {
        self.0.body.account = Some(account);
        self
    }

    /// Adds members of the problem's own.
    pub(super) fn with(mut self, set: impl FnOnce(&mut quorapay_api::Problem<'static>)) -> Self {
        set(&mut self.0.body);
        self
    }

    /// Says as of where it was decided.
    pub(super) fn seen_as_of(mut self, as_of: AsOf) -> Self {
        self.0.as_of = Some(as_of);
        self
    }

    /// What was not found in views that are being made anew: says so, and how far they are.
    pub(super) fn while_rebuilding(self, rebuilding: Option<ViewsRebuilding>) -> Self {
        match rebuilding {
            Some(ViewsRebuilding { projected_index, until_index })
                if self.0.body.code == Code::StorageError.as_str() =>
            {
                let detail = format!(
                    "this node is making its damaged views anew, and is at entry {projected_index} of {until_index}; \
                     ask another"
                );
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::ViewsRebuilding, detail).retryable()
            }
            _ => self,
        }
    }

    /// Names the request if this node failed to answer it. A refusal is not named: its repetition gets the same bytes.
    pub(super) fn named(mut self, id: &RequestId) -> Self {
        if self.0.status.is_server_error() {
            self.0.body.request_id = Some(id.to_string().into());
        }
        self
    }

    /// The stable code.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn code(&self) -> &'static str {
        Code::parse(&self.0.body.code).expect("made of a code").as_str()
    }

    /// What was wrong, if it has a name.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn field_name(&self) -> Option<&str> {
        self.0.body.field.as_deref()
    }

    /// The status that it is answered with.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The problem of a write without a committed entry.
    pub(super) fn from_submit(error: SubmitError, key: &IdempotencyKey) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::KeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::Bank(Rejection::IdempotencyKeyReused), detail)
                    .field(headers::IDEMPOTENCY_KEY.name)
            }
            SubmitError::Fenced => Self::new(StatusCode::CONFLICT, Code::Bank(Rejection::IdempotencyKeyFenced), detail)
                .field(headers::IDEMPOTENCY_KEY.name),
            SubmitError::Denied(denial) => Refusal::Denied(denial).problem(),
            SubmitError::Overloaded => Self::overloaded(),
            SubmitError::NoLeader => Self::no_leader(detail),
            SubmitError::Unknown => Self::new(StatusCode::GATEWAY_TIMEOUT, Code::OutcomeUnknown, detail)
                .retryable()
                .unknown()
                .with(|problem| problem.by_key_url = Some(by_key_url(key).into())),
        }
    }

    /// A queue of this node is full.
    pub(super) fn overloaded() -> Self {
        let mut problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, "the node's queue is full").retryable();
        problem.0.retry_after = Some(RETRY_AFTER_SECONDS);
        problem
    }

    fn no_leader(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::NoLeader, detail).retryable()
    }

    /// A read did not end within the caller's deadline.
    pub(super) fn deadline_exceeded() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded, "the read did not end within the deadline")
            .retryable()
    }

    /// The problem as an answer.
    pub(super) fn into_answer(self) -> HttpAnswer {
        let Details { status, body, retry_after, as_of, .. } = *self.0;
        HttpAnswer::problem(status, to_json(&body, TYPICAL_PROBLEM_BYTES), as_of, retry_after)
    }

    /// The answer to a refusal, with the payment. `payment_bytes` is about how many bytes the payment takes.
    pub(super) fn answer_with_payment(self, payment: ProblemPayment<'_>, payment_bytes: usize) -> HttpAnswer {
        let Details { status, body, retry_after, as_of, .. } = *self.0;
        let body = quorapay_api::Problem { payment: Some(Box::new(payment)), ..body };
        HttpAnswer::problem(status, to_json(&body, TYPICAL_PROBLEM_BYTES + payment_bytes), as_of, retry_after)
    }

    /// The answer to a refused batch. `results` are JSON objects with commas between them.
    pub(super) fn answer_with_results(mut self, results: &[u8]) -> HttpAnswer {
        self.0.body.results = Some(Vec::new());
        let Details { status, body, retry_after, as_of, .. } = *self.0;
        let mut json = Vec::with_capacity(TYPICAL_PROBLEM_BYTES + 8 * body.failed.len() + results.len());
        open_last_list(&mut json, &body);
        json.extend_from_slice(results);
        close_last_list(&mut json);
        HttpAnswer::problem(status, json, as_of, retry_after)
    }

    /// The problem in the shape of the earlier systems, `{error}`.
    pub(super) fn into_plain_answer(self) -> HttpAnswer {
        let Details { status, body, retry_after, as_of, .. } = *self.0;
        let quorapay_api::Problem { detail, by_key_url, wanted_index, applied_index, .. } = body;
        let error = PlainError { error: detail.unwrap_or_default(), by_key_url, wanted_index, applied_index };
        HttpAnswer::plain_error(status, to_json(&error, TYPICAL_PROBLEM_BYTES), as_of, retry_after)
    }
}

/// The URL of a key's look-up.
fn by_key_url(key: &IdempotencyKey) -> String {
    format!("/v1/payments/by-key/{}", utf8_percent_encode(key.as_str(), KEY_SEGMENT))
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::NoLeader => Self::no_leader(detail),
            ReadError::NotApplied { wanted, reached } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, Code::IndexNotApplied, detail)
                    .retryable()
                    .with(|problem| (problem.wanted_index, problem.applied_index) = (Some(wanted), Some(reached)))
            }
            ReadError::Quarantined => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Quarantined,
                "this node's ledger is damaged; ask another",
            )
            .retryable(),
            ReadError::Overloaded => Self::overloaded(),
            ReadError::Storage => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::StorageError,
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
            TransferError::NoSuchSuccessor(_) => Self::bad_request(Code::NoSuchSuccessor, detail).field("to"),
            TransferError::NoSuccessor => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::NoSuccessor, detail).retryable()
            }
            TransferError::TimedOut => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, Code::TransferTimedOut, detail).retryable().unknown()
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
        let problem = Problem::bad_request(Code::InvalidAmount, "too \"small\"").field("amount");
        let expected = json!({
            "type": "urn:quorapay:problem:invalid_amount", "title": "Invalid amount", "status": 400,
            "detail": "too \"small\"", "code": "invalid_amount", "retryable": false, "outcome": "not_applied",
            "field": "amount",
        });
        assert_eq!(body(problem), expected);
    }

    #[test]
    fn a_problem_with_a_payment_of_a_batch_names_its_position() {
        let with_field = body(Problem::bad_request(Code::InvalidAmount, "x").field("amount").in_item(17));
        assert_eq!((&with_field["field"], &with_field["item"]), (&json!("payments[17].amount"), &json!(17)));
        let without = body(Problem::bad_request(Code::InvalidJson, "x").in_item(0));
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
