//! The problems that a route answers with: which statuses, and which codes under each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Components, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::codes::meaning;

/// What went wrong, in the form of RFC 9457. Some problems have members of their own beside these.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct Problem {
    /// `urn:quorapay:problem:` and the code.
    pub(super) r#type: String,
    pub(super) title: String,
    #[schema(minimum = 400, maximum = 599)]
    pub(super) status: u16,
    /// What happened, for people.
    pub(super) detail: String,
    /// What happened, for programs. It never changes.
    pub(super) code: String,
    /// Whether the same request, with the same key, may succeed later or at another node.
    pub(super) retryable: bool,
    pub(super) outcome: OutcomeWord,
    /// The field, parameter or header that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) field: Option<String>,
}

/// What became of the request.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum OutcomeWord {
    /// Nothing moved, and nothing will.
    NotApplied,
    /// It may or may not have moved money: ask `by_key_url`, or send the same request with the same key again.
    Unknown,
}

/// Codes under their status.
type Codes = &'static [(u16, &'static [&'static str])];

const DEADLINE: Codes = &[(400, &["invalid_deadline"])];
const QUERY: Codes = &[(400, &["unknown_field", "duplicate_field"])];
const READ: Codes = &[
    (400, &["invalid_consistency", "invalid_index", "invalid_path"]),
    (500, &["storage_error"]),
    (503, &["no_leader", "overloaded", "quarantined"]),
    (504, &["deadline_exceeded", "index_not_applied"]),
];
const LIST: Codes = &[(400, &["invalid_limit", "invalid_cursor"])];
const TIMES: Codes = &[(400, &["invalid_currency", "invalid_time"])];
const BODY: Codes = &[
    (400, &["invalid_json", "json_too_deep", "missing_field", "unknown_field", "duplicate_field", "incomplete_body"]),
    (408, &["body_timeout"]),
    (413, &["body_too_large"]),
    (415, &["unsupported_media_type"]),
];
const SUBMIT: Codes = &[(503, &["no_leader", "overloaded"]), (504, &["outcome_unknown"])];
const KEYED: Codes = &[
    (400, &["idempotency_key_required", "invalid_idempotency_key"]),
    (409, &["idempotency_key_fenced"]),
    (422, &["idempotency_key_reused"]),
];
const PAYMENT_FIELDS: Codes = &[(
    400,
    &[
        "invalid_amount",
        "invalid_currency",
        "invalid_account_id",
        "same_account",
        "invalid_capture",
        "invalid_expires_in",
        "invalid_order",
        "invalid_description",
        "description_too_long",
        "invalid_metadata",
        "metadata_too_large",
    ],
)];
const PAYMENT_REFUSED: Codes = &[(
    409,
    &[
        "insufficient_funds",
        "account_not_found",
        "account_frozen",
        "account_closed",
        "balance_overflow",
        "order_total_exceeded",
        "order_mismatch",
    ],
)];
const CHANGE_REFUSED: Codes = &[
    (
        409,
        &[
            "nothing_held",
            "payment_voided",
            "payment_expired",
            "amount_exceeds_held",
            "nothing_to_refund",
            "amount_exceeds_refundable",
            "too_many_changes",
            "insufficient_funds",
            "account_frozen",
            "account_closed",
            "balance_overflow",
            "payment_rejected",
        ],
    ),
    (404, &["payment_not_found"]),
];

/// Declares what a route answers with when it does not succeed.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($codes:expr),+;)*) => {
        $(
            $(#[$doc])*
            pub(in crate::http) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&[$($codes),+])
                }
            }
        )*
    };
}

problems! {
    /// Of making a payment.
    PaymentProblems: QUERY, DEADLINE, KEYED, BODY, PAYMENT_FIELDS, PAYMENT_REFUSED, SUBMIT;
    /// Of making a batch.
    BatchProblems: QUERY, DEADLINE, KEYED, BODY, PAYMENT_FIELDS, SUBMIT, &[
        (400, &["empty_batch", "too_many_payments", "duplicate_idempotency_key", "invalid_atomic"]),
        (409, &["batch_aborted"]),
    ];
    /// Of a capture, a void or a refund.
    ChangeProblems: QUERY, DEADLINE, KEYED, BODY, CHANGE_REFUSED, SUBMIT, &[
        (400, &["invalid_payment_id", "invalid_amount", "invalid_path"]),
    ];
    /// Of fencing a key.
    FenceProblems: QUERY, DEADLINE, SUBMIT, READ, &[(400, &["invalid_idempotency_key"])];
    /// Of looking a key up.
    KeyProblems: QUERY, DEADLINE, READ, &[(400, &["invalid_idempotency_key"])];
    /// Of reading a payment.
    PaymentReadProblems: QUERY, DEADLINE, READ, &[(400, &["invalid_payment_id"]), (404, &["payment_not_found"])];
    /// Of listing payments.
    PaymentListProblems: QUERY, DEADLINE, READ, LIST, TIMES, &[
        (400, &["invalid_account_id", "invalid_status", "invalid_order"]),
    ];
    /// Of opening an account.
    AccountOpenProblems: QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &["invalid_account_id", "invalid_overdraft"]),
        (409, &["account_exists"]),
    ];
    /// Of changing an account.
    AccountChangeProblems: QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &["invalid_account_id", "invalid_overdraft", "invalid_status", "nothing_to_change", "invalid_path"]),
        (409, &["account_not_found", "account_closed", "account_not_empty", "overdraft_in_use"]),
    ];
    /// Of reading an account.
    AccountReadProblems: QUERY, DEADLINE, READ, &[(400, &["invalid_account_id"]), (404, &["account_not_found"])];
    /// Of listing accounts.
    AccountListProblems: QUERY, DEADLINE, READ, LIST;
    /// Of a statement.
    StatementProblems: QUERY, DEADLINE, READ, LIST, TIMES, &[
        (400, &["invalid_account_id", "invalid_format"]),
        (404, &["account_not_found"]),
    ];
    /// Of the raw ledger.
    LedgerProblems: QUERY, DEADLINE, READ, &[(400, &["invalid_limit", "invalid_format"])];
    /// Of showing the cluster.
    ClusterProblems: QUERY;
    /// Of handing the leadership over.
    TransferProblems: QUERY, DEADLINE, BODY, &[
        (400, &["invalid_node_id", "no_such_successor"]),
        (503, &["no_leader", "no_successor"]),
        (504, &["transfer_timed_out"]),
    ];
    /// Of the metrics.
    MetricsProblems: &[(400, &["invalid_format", "duplicate_field"]), (503, &["overloaded"])];
    /// Of asking whether a node can serve.
    ReadyProblems: &[(503, &["not_ready"])];
}

fn responses(groups: &[Codes]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (status, codes) in groups.iter().copied().flatten() {
        let known = by_status.entry(*status).or_default();
        known.extend(codes.iter().filter(|code| !known.contains(code)).collect::<Vec<_>>());
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), response(status, &codes).into())).collect()
}

fn response(status: u16, codes: &[&str]) -> Response {
    let mut description = String::from(summary(status));
    for code in codes {
        description.push_str(&format!("\n- `{code}`: {}", meaning(code)));
    }
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().copied()));
    let schema =
        AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(ObjectBuilder::new().property("code", code));
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example(status, codes[0])));
    ResponseBuilder::new().description(description).content("application/problem+json", content.build()).build()
}

/// What a status says, whatever the code.
fn summary(status: u16) -> &'static str {
    match status {
        400 => "The request is wrong; nothing moved.",
        404 => "There is no such thing.",
        408 => "The body did not arrive in time; nothing moved.",
        409 => "Refused, for good: the same key gets the same answer. Nothing moved.",
        413 => "The body is too long; nothing moved.",
        415 => "The body is of another type; nothing moved.",
        422 => "The key was used for another request; nothing moved.",
        500 => "This node cannot read its ledger.",
        503 => "Not now; nothing moved. The same request with the same key may succeed later.",
        504 => "Not within the deadline. The same request with the same key may succeed later.",
        _ => unreachable!("no route answers with {status}"),
    }
}

/// A problem as it is answered.
fn example(status: u16, code: &str) -> Value {
    let outcome = if code == "outcome_unknown" || code == "transfer_timed_out" { "unknown" } else { "not_applied" };
    let mut title = code.replace('_', " ");
    title[..1].make_ascii_uppercase();
    let mut problem = json!({
        "type": format!("urn:quorapay:problem:{code}"), "title": title, "status": status, "detail": meaning(code),
        "code": code, "retryable": matches!(status, 408 | 500 | 503 | 504), "outcome": outcome,
    });
    if let Some(field) = code.strip_prefix("invalid_").filter(|_| status == 400) {
        problem["field"] = json!(field);
    }
    problem
}

/// Adds the schema that every problem refers to.
pub(super) fn add_schemas(components: &mut Components) {
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    components.schemas.insert("OutcomeWord".to_owned(), OutcomeWord::schema());
}
