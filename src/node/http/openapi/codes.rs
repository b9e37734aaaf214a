//! What every code means, in a sentence.

use quorapay_core::domain::Rejection;

use super::super::render::reason;

/// What a code means. The bank's own refusals are explained where they are rendered.
pub(super) fn meaning(code: &str) -> &'static str {
    match Rejection::from_code(code) {
        Some(Rejection::IdempotencyKeyReused) => "the idempotency key was used before for another request",
        Some(Rejection::IdempotencyKeyFenced) => "the idempotency key was fenced: nothing can apply under it",
        Some(Rejection::BatchAborted) => "a payment of the atomic batch was refused, so none was made",
        Some(rejection) => reason(rejection),
        None => request_code(code).or_else(|| field_code(code)).unwrap_or_else(|| node_code(code)),
    }
}

/// Something is wrong with the request as a whole.
fn request_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_json" => "the body is no JSON object",
        "json_too_deep" => "the body is nested more than 32 levels deep",
        "missing_field" => "a field that must be there is not",
        "unknown_field" => "a field or parameter is not known",
        "duplicate_field" => "a field or parameter is given twice",
        "incomplete_body" => "the body ended before it was complete",
        "body_timeout" => "the body did not arrive within the deadline",
        "body_too_large" => "the body is longer than this call takes",
        "unsupported_media_type" => "the body is sent with another content type than this call takes",
        "idempotency_key_required" => "the Idempotency-Key header is missing",
        "empty_batch" => "a batch has at least one payment",
        "too_many_payments" => "a batch has at most 10,000 payments",
        "duplicate_idempotency_key" => "two payments of the batch, or a payment and the batch, have the same key",
        "nothing_to_change" => "a change of an account names its overdraft, its status or both",
        "same_account" => "a payment goes from one account to another",
        "description_too_long" => "a description has at most 500 characters",
        "metadata_too_large" => "metadata have at most 4 KiB as compact JSON",
        "no_such_successor" => "the node named is no other voter of this cluster",
        _ => return None,
    })
}

/// A field, parameter or header has a value of the wrong type or out of its range.
fn field_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_amount" => "an amount is a JSON integer of minor units from 1 to 9223372036854775807",
        "invalid_currency" => "a currency is an active ISO 4217 code",
        "invalid_account_id" => "an account id has 1 to 64 characters of A-Z a-z 0-9 _ . : -",
        "invalid_payment_id" => "a payment id is a UUID of version 7 with hyphens",
        "invalid_node_id" => "a node id has letters, digits, - and _",
        "invalid_capture" => "capture is \"automatic\" or \"manual\"",
        "invalid_expires_in" => "expires_in is 1 to 7776000 seconds, and only with capture \"manual\"",
        "invalid_order" => "an order has an id of 1 to 64 printable ASCII characters and a total",
        "invalid_description" => "a description is a text",
        "invalid_metadata" => "metadata are a JSON object whose numbers can be kept exactly",
        "invalid_overdraft" => "an overdraft is none, unlimited or limit:N; under external: it is unlimited",
        "invalid_status" => "there is no such status",
        "invalid_idempotency_key" => "an idempotency key has 1 to 255 printable ASCII characters",
        "invalid_deadline" => "Quorapay-Deadline-Ms is 1 to 60000",
        "invalid_consistency" => "consistency is \"linearizable\" or \"local\"",
        "invalid_index" => "an index is a whole number",
        "invalid_limit" => "a limit is 1 to 1000",
        "invalid_cursor" => "a cursor is the next_cursor of an earlier page of the same list",
        "invalid_time" => "a moment is written as in RFC 3339",
        "invalid_format" => "format is \"csv\" or \"ndjson\"",
        "invalid_atomic" => "atomic is true or false",
        "invalid_path" => "the path is no UTF-8 once decoded",
        _ => return None,
    })
}

/// The request is fine; the node or the cluster is not.
fn node_code(code: &str) -> &'static str {
    match code {
        "no_leader" => "no leader was found within the deadline",
        "overloaded" => "the node's queue is full; Retry-After says when to try again",
        "quarantined" => "this node's ledger is damaged; ask another",
        "storage_error" => "this node could not read its ledger; ask another",
        "deadline_exceeded" => "the read did not end within the deadline",
        "index_not_applied" => "this node has not applied min_index yet; applied_index says how far it is",
        "outcome_unknown" => "it may or may not have been applied; by_key_url tells",
        "no_successor" => "no other node is fit to lead",
        "transfer_timed_out" => "the hand-over did not end within the deadline",
        "not_ready" => "this node cannot serve; reasons tells why",
        other => unreachable!("nobody has said what {other} means"),
    }
}
