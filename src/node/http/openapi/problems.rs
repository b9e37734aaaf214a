//! The problems that a route answers with: which statuses, and which codes under each.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Components, ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use quorapay_api::compatible::{PlainError, SyncPayHealth};
use quorapay_api::{Code, Problem, ProblemPayment, ReportedOutcome};
use quorapay_core::domain::Rejection;

/// Codes under their status.
type Codes = &'static [(u16, &'static [Code])];

const CALLER: Codes = &[(401, &[Code::ApiKeyRequired, Code::InvalidApiKey]), (403, &[Code::ApiKeyForbids])];
const DEADLINE: Codes = &[(400, &[Code::InvalidDeadline])];
const QUERY: Codes = &[(400, &[Code::UnknownField, Code::DuplicateField])];
const READ: Codes = &[
    (400, &[Code::InvalidConsistency, Code::InvalidIndex, Code::InvalidPath]),
    (500, &[Code::StorageError]),
    (503, &[Code::NoLeader, Code::Overloaded, Code::Quarantined, Code::ViewsRebuilding]),
    (504, &[Code::DeadlineExceeded, Code::IndexNotApplied]),
];
const LIST: Codes = &[(400, &[Code::InvalidLimit, Code::InvalidCursor])];
const TIMES: Codes = &[(400, &[Code::InvalidCurrency, Code::InvalidTime])];
const BODY: Codes = &[
    (
        400,
        &[
            Code::InvalidJson,
            Code::JsonTooDeep,
            Code::MissingField,
            Code::UnknownField,
            Code::DuplicateField,
            Code::IncompleteBody,
        ],
    ),
    (408, &[Code::BodyTimeout]),
    (413, &[Code::BodyTooLarge]),
    (415, &[Code::UnsupportedMediaType]),
];
const FOREIGN: Codes = &[(403, &[Code::ForeignPage])];
const SUBMIT: Codes = &[(503, &[Code::NoLeader, Code::Overloaded]), (504, &[Code::OutcomeUnknown])];
const KEYED: Codes = &[
    (400, &[Code::IdempotencyKeyRequired, Code::InvalidIdempotencyKey]),
    (403, &[Code::ForeignPage]),
    (409, &[Code::Bank(Rejection::IdempotencyKeyFenced)]),
    (422, &[Code::Bank(Rejection::IdempotencyKeyReused)]),
];
const PAYMENT_FIELDS: Codes = &[(
    400,
    &[
        Code::InvalidAmount,
        Code::InvalidCurrency,
        Code::InvalidAccountId,
        Code::SameAccount,
        Code::InvalidCapture,
        Code::InvalidExpiresIn,
        Code::InvalidOrder,
        Code::InvalidDescription,
        Code::DescriptionTooLong,
        Code::InvalidMetadata,
        Code::MetadataTooLarge,
    ],
)];
const PAYMENT_REFUSED: Codes = &[(
    409,
    &[
        Code::Bank(Rejection::InsufficientFunds),
        Code::Bank(Rejection::AccountNotFound),
        Code::Bank(Rejection::AccountFrozen),
        Code::Bank(Rejection::AccountClosed),
        Code::Bank(Rejection::BalanceOverflow),
        Code::Bank(Rejection::OrderTotalExceeded),
        Code::Bank(Rejection::OrderMismatch),
    ],
)];
const CHANGE_REFUSED: Codes = &[
    (
        409,
        &[
            Code::Bank(Rejection::NothingHeld),
            Code::Bank(Rejection::PaymentVoided),
            Code::Bank(Rejection::PaymentExpired),
            Code::Bank(Rejection::AmountExceedsHeld),
            Code::Bank(Rejection::NothingToRefund),
            Code::Bank(Rejection::AmountExceedsRefundable),
            Code::Bank(Rejection::TooManyChanges),
            Code::Bank(Rejection::InsufficientFunds),
            Code::Bank(Rejection::AccountFrozen),
            Code::Bank(Rejection::AccountClosed),
            Code::Bank(Rejection::BalanceOverflow),
            Code::Bank(Rejection::PaymentRejected),
        ],
    ),
    (404, &[Code::Bank(Rejection::PaymentNotFound)]),
];

/// Declares the errors of a route.
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
    /// Making a payment.
    PaymentProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, PAYMENT_FIELDS, PAYMENT_REFUSED, SUBMIT;
    /// Making a batch.
    BatchProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, PAYMENT_FIELDS, SUBMIT, &[
        (400, &[Code::EmptyBatch, Code::TooManyPayments, Code::DuplicateIdempotencyKey, Code::InvalidAtomic]),
        (409, &[Code::Bank(Rejection::BatchAborted)]),
    ];
    /// Captures, voids and refunds.
    ChangeProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, CHANGE_REFUSED, SUBMIT, &[
        (400, &[Code::InvalidPaymentId, Code::InvalidAmount, Code::InvalidPath]),
    ];
    /// Fencing a key.
    FenceProblems: CALLER, QUERY, DEADLINE, SUBMIT, READ, FOREIGN, &[(400, &[Code::InvalidIdempotencyKey])];
    /// Looking a key up.
    KeyProblems: CALLER, QUERY, DEADLINE, READ, &[(400, &[Code::InvalidIdempotencyKey])];
    /// Reading a payment.
    PaymentReadProblems: CALLER, QUERY, DEADLINE, READ, &[(400, &[Code::InvalidPaymentId]), (404, &[Code::Bank(Rejection::PaymentNotFound)])];
    /// Listing payments.
    PaymentListProblems: CALLER, QUERY, DEADLINE, READ, LIST, TIMES, &[
        (400, &[Code::InvalidAccountId, Code::InvalidStatus, Code::InvalidOrder]),
    ];
    /// Opening an account.
    AccountOpenProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &[Code::InvalidAccountId, Code::InvalidOverdraft]),
        (409, &[Code::Bank(Rejection::AccountExists)]),
    ];
    /// Changing an account.
    AccountChangeProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &[Code::InvalidAccountId, Code::InvalidOverdraft, Code::InvalidStatus, Code::NothingToChange, Code::InvalidPath]),
        (409, &[Code::Bank(Rejection::AccountNotFound), Code::Bank(Rejection::AccountClosed), Code::Bank(Rejection::AccountNotEmpty), Code::Bank(Rejection::OverdraftInUse)]),
    ];
    /// Reading an account.
    AccountReadProblems: CALLER, QUERY, DEADLINE, READ, &[(400, &[Code::InvalidAccountId]), (404, &[Code::Bank(Rejection::AccountNotFound)])];
    /// Listing accounts.
    AccountListProblems: CALLER, QUERY, DEADLINE, READ, LIST;
    /// Reading a statement.
    StatementProblems: CALLER, QUERY, DEADLINE, READ, LIST, TIMES, &[
        (400, &[Code::InvalidAccountId, Code::InvalidFormat]),
        (404, &[Code::Bank(Rejection::AccountNotFound)]),
    ];
    /// Reading the ledger.
    LedgerProblems: CALLER, QUERY, DEADLINE, READ, &[(400, &[Code::InvalidLimit, Code::InvalidFormat])];
    /// Backing the ledger up.
    LedgerBackupProblems: CALLER, QUERY, DEADLINE, READ;
    /// Showing the cluster.
    ClusterProblems: CALLER, QUERY;
    /// Transferring the leadership.
    TransferProblems: CALLER, QUERY, DEADLINE, BODY, FOREIGN, &[
        (400, &[Code::InvalidNodeId, Code::NoSuchSuccessor]),
        (503, &[Code::NoLeader, Code::NoSuccessor]),
        (504, &[Code::TransferTimedOut]),
    ];
    /// Creating an API key.
    ApiKeyCreateProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &[Code::InvalidApiKeyField]),
        (409, &[Code::Bank(Rejection::ApiKeyExists), Code::Bank(Rejection::TooManyApiKeys)]),
    ];
    /// Rotating and revoking an API key.
    ApiKeyChangeProblems: CALLER, QUERY, DEADLINE, KEYED, BODY, SUBMIT, &[
        (400, &[Code::InvalidApiKeyField, Code::InvalidPath]),
        (404, &[Code::Bank(Rejection::ApiKeyNotFound)]),
        (409, &[Code::Bank(Rejection::ApiKeyRevoked)]),
    ];
    /// Listing API keys.
    ApiKeyListProblems: CALLER, QUERY, DEADLINE, READ;
    /// What any key may see.
    AnyKeyProblems: CALLER;
    /// Reading the metrics.
    MetricsProblems: CALLER, &[(400, &[Code::InvalidFormat, Code::DuplicateField]), (503, &[Code::Overloaded])];
    /// Asking whether a node can serve.
    ReadyProblems: &[(503, &[Code::NotReady])];
}

fn responses(groups: &[Codes]) -> BTreeMap<String, RefOr<Response>> {
    let by_status = by_status(groups).into_iter();
    by_status.map(|(status, codes)| (status.to_string(), response(status, &codes).into())).collect()
}

fn by_status(groups: &[Codes]) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for (status, codes) in groups.iter().copied().flatten() {
        let known = by_status.entry(*status).or_default();
        known.extend(codes.iter().filter(|code| !known.contains(code)).collect::<Vec<_>>());
    }
    by_status
}

fn response(status: u16, codes: &[Code]) -> Response {
    let mut description = String::from(summary(status));
    for code in codes {
        description.push_str(&format!("\n- `{code}`: {}", code.meaning()));
    }
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().map(|code| code.as_str())));
    let schema =
        AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(ObjectBuilder::new().property("code", code));
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example(status, codes[0])));
    ResponseBuilder::new().description(description).content("application/problem+json", content.build()).build()
}

/// The summary of a status, whatever the code.
fn summary(status: u16) -> &'static str {
    match status {
        400 => "The request is wrong; nothing moved.",
        401 => "The caller is not known; nothing moved.",
        403 => "Not allowed; nothing moved.",
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
fn example(status: u16, code: Code) -> Value {
    let outcome = match code {
        Code::OutcomeUnknown | Code::TransferTimedOut => ReportedOutcome::Unknown,
        _ => ReportedOutcome::NotApplied,
    };
    let problem = Problem {
        retryable: matches!(status, 408 | 500 | 503 | 504),
        outcome: Some(outcome),
        field: code.as_str().strip_prefix("invalid_").filter(|_| status == 400).map(Into::into),
        ..Problem::new(status, code, code.meaning())
    };
    json!(problem)
}

/// Declares the errors of a route of the earlier systems.
macro_rules! plain_errors {
    ($($(#[$doc:meta])* $name:ident: $($codes:expr),+;)*) => {
        $(
            $(#[$doc])*
            pub(in crate::http) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    plain_responses(&[$($codes),+])
                }
            }
        )*
    };
}

const PLAIN_BODY: Codes = &[
    (
        400,
        &[
            Code::InvalidJson,
            Code::JsonTooDeep,
            Code::MissingField,
            Code::DuplicateField,
            Code::IncompleteBody,
            Code::InvalidField,
            Code::InvalidAmount,
            Code::SameAccount,
            Code::InvalidIdempotencyKey,
        ],
    ),
    (408, &[Code::BodyTimeout]),
    (413, &[Code::BodyTooLarge]),
];
const PLAIN_REFUSED: Codes = &[
    (409, &[Code::Bank(Rejection::IdempotencyKeyFenced)]),
    (
        422,
        &[
            Code::Bank(Rejection::InsufficientFunds),
            Code::Bank(Rejection::AccountFrozen),
            Code::Bank(Rejection::AccountClosed),
            Code::Bank(Rejection::BalanceOverflow),
            Code::Bank(Rejection::IdempotencyKeyReused),
        ],
    ),
];

plain_errors! {
    /// Payments of SyncPay.
    SyncPayPaymentErrors: CALLER, DEADLINE, PLAIN_BODY, PLAIN_REFUSED, SUBMIT, FOREIGN;
    /// Transfers of the fault-tolerant ledger.
    LedgerTransferErrors: CALLER, DEADLINE, PLAIN_BODY, PLAIN_REFUSED, SUBMIT, FOREIGN, &[
        (400, &[Code::IdempotencyKeyRequired]),
        (422, &[Code::Bank(Rejection::AccountNotFound)]),
    ];
    /// The list of payments of SyncPay.
    SyncPayListErrors: CALLER, QUERY, DEADLINE, READ, LIST;
    /// SyncPay's other calls about a node.
    SyncPayNodeErrors: CALLER;
    /// SyncPay's health check. Its 503 is declared at the handler, because it is also the answer of an unhealthy node.
    SyncPayHealthErrors: CALLER, DEADLINE, &[(500, &[Code::StorageError]), (504, &[Code::DeadlineExceeded])];
}

/// The same without codes, in the shape of the earlier systems.
fn plain_responses(groups: &[Codes]) -> BTreeMap<String, RefOr<Response>> {
    let response = |status: u16, codes: &[Code]| {
        let mut description = String::from(plain_summary(status));
        for code in codes {
            description.push_str(&format!("\n- {}", code.meaning()));
        }
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("PlainError")))
            .example(Some(json!({ "error": codes[0].meaning() })));
        ResponseBuilder::new().description(description).content("application/json", content.build()).build()
    };
    let by_status = by_status(groups).into_iter();
    by_status.map(|(status, codes)| (status.to_string(), response(status, &codes).into())).collect()
}

/// The summary of a status on the surfaces of the earlier systems.
fn plain_summary(status: u16) -> &'static str {
    match status {
        409 => "The key cannot be used; nothing moved.",
        422 => "Refused by the bank, for good, or the key was used for another request. Nothing moved.",
        other => summary(other),
    }
}

/// The body of a 503 of SyncPay's health check.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::http) enum HealthOrError {
    /// The node's ledger is damaged.
    Health(SyncPayHealth<'static>),
    /// The node's queue is full.
    Error(PlainError<'static>),
}

/// Adds the schemas that errors refer to.
pub(super) fn add_schemas(components: &mut Components) {
    let mut schemas = vec![
        (Problem::name().into(), Problem::schema()),
        (PlainError::name().into(), PlainError::schema()),
        (ReportedOutcome::name().into(), ReportedOutcome::schema()),
        (ProblemPayment::name().into(), ProblemPayment::schema()),
    ];
    Problem::schemas(&mut schemas);
    for (name, schema) in schemas {
        components.schemas.entry(name).or_insert(schema);
    }
}
