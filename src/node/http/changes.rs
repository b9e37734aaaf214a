//! `/v1/payments/{id}/capture`, `/void` and `/refund`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::CommittedWrite;
use quorapay_api::{ChangeAmount, ChangedPayment, Nothing, ProblemPayment, query, schema};
use quorapay_core::domain::{Operation, OperationRequest, PaymentChange};

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::change_body::{self, ChangeName};
use super::metrics::Route;
use super::problem::Problem;
use super::state::{Api, path_payment_id};
use super::write_json::to_json;
use super::{openapi, render, writes};

/// Capacity for a changed payment.
const TYPICAL_CHANGE_BYTES: usize = 512;

type PathId = Result<Path<String>, PathRejection>;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(capture)).routes(routes!(void)).routes(routes!(refund))
}

/// Capture a hold
///
/// Takes a part of what is held, or all that is left. There may be several captures.
#[utoipa::path(
    post, path = "/v1/payments/{id}/capture", tag = "Payments", operation_id = "capturePayment",
    security(("api_key" = ["payments:write"])),
    params(("id" = inline(schema::PaymentIdText), Path), query::KeyHeader, query::Deadline),
    request_body(content = Option<ChangeAmount>, example = json!({ "amount": 1000 })),
    responses(
        (status = 200, description = "Done: the payment after it.", body = ChangedPayment,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("capture"))),
        openapi::ChangeProblems,
    ),
)]
async fn capture(api: Call, id: PathId, request: Request) -> Response {
    api.answer(Route::PaymentCapture, change(&api, ChangeName::Capture, id, request)).await
}

/// Void a hold
///
/// Releases what is still held. What was captured stays captured.
#[utoipa::path(
    post, path = "/v1/payments/{id}/void", tag = "Payments", operation_id = "voidPayment",
    security(("api_key" = ["payments:write"])),
    params(("id" = inline(schema::PaymentIdText), Path), query::KeyHeader, query::Deadline),
    request_body(content = Option<Nothing>, example = json!({})),
    responses(
        (status = 200, description = "Done: the payment after it.", body = ChangedPayment,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("void"))),
        openapi::ChangeProblems,
    ),
)]
async fn void(api: Call, id: PathId, request: Request) -> Response {
    api.answer(Route::PaymentVoid, change(&api, ChangeName::Void, id, request)).await
}

/// Refund a payment
///
/// Gives a part of what was captured back, or all that is left of it. There may be several refunds.
#[utoipa::path(
    post, path = "/v1/payments/{id}/refund", tag = "Payments", operation_id = "refundPayment",
    security(("api_key" = ["refunds:write"])),
    params(("id" = inline(schema::PaymentIdText), Path), query::KeyHeader, query::Deadline),
    request_body(content = Option<ChangeAmount>, example = json!({ "amount": 250 })),
    responses(
        (status = 200, description = "Done: the payment after it.", body = ChangedPayment,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("refund"))),
        openapi::ChangeProblems,
    ),
)]
async fn refund(api: Call, id: PathId, request: Request) -> Response {
    api.answer(Route::PaymentRefund, change(&api, ChangeName::Refund, id, request)).await
}

async fn change(api: &Call, name: ChangeName, id: PathId, request: Request) -> Result<HttpAnswer, Problem> {
    let (parts, body) = request.into_parts();
    let payment = path_payment_id(id)?;
    let (write, body) = writes::begin_with_optional_body(&parts, body).await?;
    let change = change_body::parse(name, &body)?;
    let committed = write.submit(api, OperationRequest::PaymentChange { payment, change }).await?;
    match committed.entry.operation() {
        Some(Operation::PaymentChange(change)) => Ok(changed(&committed, change)),
        _ => unreachable!("a payment change's key and fingerprint lead to a payment change's entry"),
    }
}

pub(super) fn changed(committed: &CommittedWrite, change: &PaymentChange) -> HttpAnswer {
    let entry = &committed.entry;
    let Some(rejection) = entry.operation().and_then(Operation::rejection) else {
        let body = to_json(&render::change_by_key(entry, change), TYPICAL_CHANGE_BYTES);
        return HttpAnswer::json(StatusCode::OK, body, AsOf::of_write(committed));
    };
    let problem = writes::refused(committed, rejection);
    match change.after(entry.stamp()) {
        None => problem.into_answer(),
        Some(state) => {
            let payment = render::unchanged(entry, change.payment, state);
            problem.answer_with_payment(ProblemPayment::Unchanged(payment), TYPICAL_CHANGE_BYTES)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::Epoch;
    use quorapay_core::domain::{MinorUnits, PaymentChangeKind, PaymentChangeOutcome, Rejection};
    use quorapay_core::replication::Entry;

    fn answered(entry: Entry) -> (u16, Value) {
        let committed = CommittedWrite {
            entry: Arc::new(entry),
            replayed: false,
            leader: samples::node("node1"),
            epoch: Epoch(2),
            time_error_ms: Some(51),
        };
        let answer = changed(&committed, samples::payment_change_of(&committed.entry));
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).expect("JSON"))
    }

    #[test]
    fn an_applied_change_is_answered_with_the_payment_after_it() {
        let capture = PaymentChangeKind::Capture(Some(MinorUnits::new(1_000)));
        let (status, body) = answered(samples::change_entry(capture, samples::applied(1_000)).0);
        assert_eq!((status, &body["status"], &body["held"]), (200, &json!("partially_captured"), &json!(250)));
    }

    #[test]
    fn a_refused_change_is_answered_with_its_reason_and_the_payment_as_it_is() {
        let capture = PaymentChangeKind::Capture(Some(MinorUnits::new(5_000)));
        let refused = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
        let (status, body) = answered(samples::change_entry(capture, refused).0);
        assert_eq!((status, &body["code"]), (409, &json!("amount_exceeds_held")));
        let payment = &body["payment"];
        assert_eq!((&payment["status"], &payment["held"]), (&json!("authorized"), &json!(1250)));
        assert_eq!((payment.get("change"), payment.get("balances")), (None, None));
    }

    #[test]
    fn a_change_of_a_payment_that_is_not_there_is_not_found() {
        let (mut entry, _) =
            samples::change_entry(PaymentChangeKind::Void, PaymentChangeOutcome::Rejected(Rejection::PaymentNotFound));
        let quorapay_core::replication::EntryBody::Operation(Operation::PaymentChange(change)) = &mut entry.body else {
            panic!("no change")
        };
        change.before = None;
        let (status, body) = answered(entry);
        assert_eq!((status, &body["code"], body.get("payment")), (404, &json!("payment_not_found"), None));
    }
}
