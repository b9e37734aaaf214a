//! `/v1/payments/batch`: many payments in one entry of the ledger, each by itself or all or none.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{CommittedWrite, Consistency, SubmitError};
use quorapay_api::limits::MAX_BATCH_BODY_BYTES;
use quorapay_api::{BatchBody, BatchLinesBody, Code, DecidedBatch, ItemResult, Rfc3339, query};
use quorapay_core::domain::{
    Batch, BatchOutcome, IdempotencyKey, LogIndex, Operation, OperationRequest, PaymentOutcome, Rejection,
};
use quorapay_core::replication::Entry;

use super::answer::{AsOf, HttpAnswer};
use super::batch_body::{BatchForm, BatchReader};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::request::{self, MediaType, Query};
use super::state::Api;
use super::write_json::{append_json, close_last_list, open_last_list};
use super::writes::{self, PendingWrite};
use super::{openapi, render};

/// Results that are written before other tasks on the thread run.
const RESULTS_PER_YIELD: usize = 512;

/// Capacity for a decided batch without its results.
const DECIDED_BATCH_BYTES: usize = 256;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Make many payments
///
/// Up to 10,000 payments in one entry of the ledger, each by itself or all or none. The body is an array of payments,
/// an object with one, or one payment per line; at most 16 MiB. A wrong payment is named by its position.
#[utoipa::path(
    post, path = "/v1/payments/batch", tag = "Payments", operation_id = "makeBatch",
    security(("api_key" = ["payments:write"])),
    params(query::BatchParams, query::KeyHeader, query::Deadline),
    request_body(content(
        (BatchBody = "application/json", example = json!(openapi::example("batch_body"))),
        (BatchLinesBody = "application/x-ndjson", example = json!(openapi::example("batch_lines"))),
    )),
    responses(
        (status = 200, description = "Decided: a result per payment, in order.", body = DecidedBatch,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("batch"))),
        openapi::BatchProblems,
    ),
)]
async fn create(api: Call, request: Request) -> Response {
    api.answer(Route::BatchCreate, make_batch(&api, request)).await
}

async fn make_batch(api: &Call, request: Request) -> Result<HttpAnswer, Problem> {
    let (parts, body) = request.into_parts();
    let mut query = Query::new(parts.uri.query());
    let atomic = query.parse(query::ATOMIC, Code::InvalidAtomic, "true or false", |text| text.parse().ok())?;
    query.finish()?;
    let form = match request::media_type(&parts.headers) {
        Some(MediaType::Json) => BatchForm::Json,
        Some(MediaType::Ndjson) => BatchForm::Lines,
        None => return Err(request::unsupported_media_type("application/json or application/x-ndjson")),
    };
    let write = PendingWrite::of(&parts)?;
    let mut reader = BatchReader::new(form, atomic);
    let bytes_in_hand = &api.permits.batch_bytes;
    let mut bytes = bytes_in_hand.try_acquire_many(0).map_err(|_| Problem::overloaded())?;
    let take = |piece: &[u8]| {
        let size = u32::try_from(piece.len()).map_err(|_| Problem::overloaded())?;
        bytes.merge(bytes_in_hand.try_acquire_many(size).map_err(|_| Problem::overloaded())?);
        reader.feed(piece)
    };
    request::body_in_pieces(&parts.headers, body, MAX_BATCH_BODY_BYTES, write.deadline, take).await?;
    // Acquired after the body has come, so that slow uploads keep nobody from it.
    let permit = tokio::time::timeout_at(write.deadline, api.permits.batches.acquire()).await;
    let _permit = permit.ok().and_then(Result::ok).ok_or_else(Problem::overloaded)?;
    let batch = reader.finish(&write.key)?;
    api.metrics.count_batch(batch.items.len());
    let (key, deadline) = (write.key.clone(), write.deadline);
    let committed = write.submit(api, OperationRequest::Batch(batch)).await?;
    let Some(Operation::Batch(batch)) = committed.entry.operation() else {
        unreachable!("a batch's key and fingerprint lead to a batch's entry");
    };
    // The batch is decided. If this node cannot read an original now, the caller has to ask again.
    let originals = Originals::fetch(api, batch, deadline).await;
    let originals = originals.ok_or_else(|| Problem::from_submit(SubmitError::Unknown, &key))?;
    if batch.outcome() == BatchOutcome::Aborted {
        return Ok(aborted(&committed, batch, &originals).await);
    }
    Ok(decided(&committed, batch, &originals).await)
}

/// The answer to a decided batch. Its results are appended one by one, so that other tasks can run in between: ten
/// thousand results take several milliseconds.
pub(super) async fn decided(committed: &CommittedWrite, batch: &Batch, originals: &Originals) -> HttpAnswer {
    let entry = &committed.entry;
    let (succeeded, rejected, replayed) = render::batch_counts(batch);
    let head = DecidedBatch {
        status: batch.outcome().into(),
        succeeded,
        rejected,
        replayed,
        index: entry.index,
        epoch: entry.epoch,
        created_at: Rfc3339(entry.timestamp),
        results: Vec::new(),
    };
    let mut body = Vec::with_capacity(DECIDED_BATCH_BYTES + estimated_bytes(batch, originals));
    open_last_list(&mut body, &head);
    write_results(&mut body, entry, batch, originals).await;
    close_last_list(&mut body);
    HttpAnswer::json(StatusCode::OK, body, AsOf::of_write(committed))
}

pub(super) async fn aborted(committed: &CommittedWrite, batch: &Batch, originals: &Originals) -> HttpAnswer {
    let is_cause = |rejection| !matches!(rejection, None | Some(Rejection::BatchAborted));
    let items = batch.items.iter().enumerate();
    let failed = items.filter(|(_, item)| is_cause(item.outcome.rejection())).map(|(at, _)| at).collect();
    let mut results = Vec::with_capacity(estimated_bytes(batch, originals));
    write_results(&mut results, &committed.entry, batch, originals).await;
    writes::refused(committed, Rejection::BatchAborted)
        .with(|problem| problem.failed = failed)
        .answer_with_results(&results)
}

fn estimated_bytes(batch: &Batch, originals: &Originals) -> usize {
    let payments: usize = batch.items.iter().map(|item| render::estimated_bytes(&item.request)).sum();
    payments + originals.json.len()
}

/// Writes the results with commas between them.
async fn write_results(out: &mut Vec<u8>, entry: &Entry, batch: &Batch, originals: &Originals) {
    for (item, _) in batch.numbered() {
        if item > 0 {
            out.push(b',');
        }
        match render::decided_at(entry, item) {
            // A result without `replayed` has the same JSON as its payment, which is written faster without flattening.
            Some(payment) => append_json(out, &payment),
            None => out.extend_from_slice(originals.of(item)),
        }
        if usize::from(item) % RESULTS_PER_YIELD == RESULTS_PER_YIELD - 1 {
            tokio::task::yield_now().await;
        }
    }
}

/// The results of payments that repeat earlier ones: these, as JSON.
#[derive(Debug, Default)]
pub(super) struct Originals {
    json: Vec<u8>,
    /// Where in `json` the one for an item is.
    ranges: HashMap<u16, Range<usize>>,
}

impl Originals {
    /// Reads them from the ledger, entry by entry: one large batch may hold many of them. `None` if this node
    /// cannot.
    async fn fetch(api: &Api, batch: &Batch, deadline: Instant) -> Option<Self> {
        let mut wanted: BTreeMap<LogIndex, Vec<u16>> = BTreeMap::new();
        for (item, decided) in batch.numbered() {
            if let PaymentOutcome::Repeated { index } = decided.outcome {
                wanted.entry(index).or_default().push(item);
            }
        }
        let mut originals = Self::default();
        let Some((newest, _)) = wanted.last_key_value() else { return Some(originals) };
        // This node may be a follower that has not applied the newest entry yet.
        api.node.read_point(Consistency::Local, Some(*newest), deadline).await.ok()?;
        for (index, items) in wanted {
            let read = tokio::time::timeout_at(deadline, api.node.queries().entry(index));
            let entry = read.await.ok()?.ok()??;
            originals.add(&entry, batch, &items)?;
        }
        Some(originals)
    }

    /// Adds those that one entry holds.
    pub(super) fn add(&mut self, entry: &Entry, batch: &Batch, items: &[u16]) -> Option<()> {
        let held: HashMap<&IdempotencyKey, u16> =
            entry.operation()?.payments().filter_map(|payment| Some((payment.key?, payment.item))).collect();
        for item in items {
            let (key, _) = batch.items.get(usize::from(*item))?.key.as_ref()?;
            let payment = render::decided_at(entry, *held.get(key)?)?;
            let start = self.json.len();
            append_json(&mut self.json, &ItemResult { payment, replayed: true });
            self.ranges.insert(*item, start..self.json.len());
        }
        Some(())
    }

    fn of(&self, item: u16) -> &[u8] {
        let range = self.ranges.get(&item).expect("every repeated payment's original was fetched");
        &self.json[range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::Epoch;

    fn committed(entry: Entry) -> CommittedWrite {
        CommittedWrite {
            entry: Arc::new(entry),
            replayed: false,
            leader: samples::node("node1"),
            epoch: Epoch(2),
            time_error_ms: Some(51),
        }
    }

    fn batch_of(entry: &Entry) -> &Batch {
        match entry.operation() {
            Some(Operation::Batch(batch)) => batch,
            other => panic!("no batch: {other:?}"),
        }
    }

    const FROZEN: PaymentOutcome = PaymentOutcome::Rejected(Rejection::AccountFrozen);

    #[tokio::test]
    async fn a_decided_batch_has_a_result_per_payment_in_order() {
        let committed = committed(samples::batch_entry(false, &[samples::succeeded(), FROZEN, samples::authorized()]));
        let batch = batch_of(&committed.entry);
        let answer = decided(&committed, batch, &Originals::default()).await;
        let body: Value = serde_json::from_slice(answer.body()).expect("JSON");
        assert_eq!((&body["status"], &body["index"], &body["epoch"]), (&json!("decided"), &json!(7), &json!(2)));
        assert_eq!((&body["succeeded"], &body["rejected"], &body["replayed"]), (&json!(2), &json!(1), &json!(0)));
        let statuses: Vec<&Value> = (0..3).map(|at| &body["results"][at]["status"]).collect();
        assert_eq!(statuses, ["succeeded", "rejected", "authorized"]);
    }

    #[tokio::test]
    async fn a_repeated_payment_is_shown_as_its_original_and_said_to_be_one() {
        // The second payment of an earlier batch has the key that the first one of this batch repeats.
        let original = samples::batch_entry(false, &[FROZEN, samples::succeeded()]);
        let later = samples::batch_entry(false, &[FROZEN, PaymentOutcome::Repeated { index: LogIndex(7) }]);
        let committed = committed(later);
        let batch = batch_of(&committed.entry);
        let mut originals = Originals::default();
        originals.add(&original, batch, &[1]).expect("it is there");
        let answer = decided(&committed, batch, &originals).await;
        let body: Value = serde_json::from_slice(answer.body()).expect("JSON");
        assert_eq!((&body["replayed"], &body["succeeded"]), (&json!(1), &json!(0)));
        let repeated = &body["results"][1];
        assert_eq!((&repeated["replayed"], &repeated["status"]), (&json!(true), &json!("succeeded")));
        assert_eq!(body["results"][0].get("replayed"), None);
    }

    #[tokio::test]
    async fn an_aborted_batch_names_the_payments_to_blame() {
        let spared = PaymentOutcome::Rejected(Rejection::BatchAborted);
        let committed = committed(samples::batch_entry(true, &[spared, FROZEN, spared]));
        let answer = aborted(&committed, batch_of(&committed.entry), &Originals::default()).await;
        let body: Value = serde_json::from_slice(answer.body()).expect("JSON");
        assert_eq!((&body["status"], &body["code"]), (&json!(409), &json!("batch_aborted")));
        assert_eq!(body["failed"], json!([1]));
        assert_eq!(body["results"][0]["rejection"], "batch_aborted");
    }
}
