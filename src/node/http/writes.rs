//! What writes share: key, deadline, and submission to the node.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use tokio::time::Instant;

use crate::runtime::CommittedWrite;
use quorapay_api::Code;
use quorapay_core::domain::{IdempotencyKey, OperationRequest, Proposal, Rejection};

use super::answer::AsOf;
use super::call::Call;
use super::problem::Problem;
use super::request;
use super::state::Api;

/// A write that is not submitted yet.
pub(super) struct PendingWrite {
    /// When the caller stops waiting.
    pub(super) deadline: Instant,
    /// The idempotency key.
    pub(super) key: IdempotencyKey,
}

/// Checks everything about a write with a JSON body except the body.
pub(super) fn begin(parts: &Parts) -> Result<PendingWrite, Problem> {
    request::Query::new(parts.uri.query()).finish()?;
    request::require_json(&parts.headers)?;
    PendingWrite::of(parts)
}

/// Reads a write whose body may be left out. Without a body no content type is needed.
pub(super) async fn begin_with_optional_body(parts: &Parts, body: Body) -> Result<(PendingWrite, Bytes), Problem> {
    request::Query::new(parts.uri.query()).finish()?;
    let write = PendingWrite::of(parts)?;
    let body = request::body(&parts.headers, body, write.deadline).await?;
    if !body.is_empty() {
        request::require_json(&parts.headers)?;
    }
    Ok((write, body))
}

impl PendingWrite {
    /// Takes key and deadline from the headers, unless a page of another site sent the write.
    pub(super) fn of(parts: &Parts) -> Result<Self, Problem> {
        request::refuse_foreign_page(&parts.headers)?;
        let key = request::idempotency_key(&parts.headers)?;
        let deadline = request::deadline(&parts.headers)?;
        Ok(Self { deadline, key })
    }

    /// Submits the write to the node and waits for its entry.
    pub(super) async fn submit<S: AsRef<Api>>(
        &self,
        call: &Call<S>,
        request: OperationRequest,
    ) -> Result<CommittedWrite, Problem> {
        call.check_request(&request)?;
        let proposal = Proposal { key: self.key.clone(), request };
        let submitted = call.submit(&proposal, self.deadline).await;
        submitted.map_err(|error| Problem::from_submit(error, &self.key))
    }
}

/// The problem of a write that the bank refused. It is as permanent as a success.
pub(super) fn refused(committed: &CommittedWrite, rejection: Rejection) -> Problem {
    let status = match rejection {
        Rejection::PaymentNotFound | Rejection::ApiKeyNotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    Problem::new(status, Code::Bank(rejection), quorapay_api::reason(rejection)).seen_as_of(AsOf::of_write(committed))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_write_says_that_it_is_json_and_carries_a_key() {
        let json = ("content-type", "application/json");
        let code = |uri: &str, headers: &[(&str, &str)]| begin(&parts(uri, headers)).map(|_| ()).map_err(|p| p.code());
        assert_eq!(code("/v1/payments", &[json, ("idempotency-key", "k")]), Ok(()));
        assert_eq!(code("/v1/payments", &[("idempotency-key", "k")]), Err("unsupported_media_type"));
        assert_eq!(code("/v1/payments", &[json]), Err("idempotency_key_required"));
        assert_eq!(code("/v1/payments?x=1", &[json, ("idempotency-key", "k")]), Err("unknown_field"));
        let foreign = [json, ("idempotency-key", "k"), ("host", "a:7101"), ("origin", "https://evil.example")];
        assert_eq!(code("/v1/payments", &foreign), Err("foreign_page"));
        let deadline = ("quorapay-deadline-ms", "0");
        assert_eq!(code("/v1/payments", &[json, ("idempotency-key", "k"), deadline]), Err("invalid_deadline"));
    }
}
