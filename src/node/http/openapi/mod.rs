//! The API's own description: OpenAPI 3.1, put together from what stands at the handlers, and a page that shows it.
//!
//! The types here are described to callers and never made by the node: bodies are read and written elsewhere, by hand.
//! Tests hold both to each other: what the handlers render must read back through these types without a rest.

mod accounts;
mod codes;
mod ledger;
mod node;
mod parameters;
mod payments;
mod problems;
#[cfg(test)]
mod tests;
mod words;

use std::sync::LazyLock;

use axum::body::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

pub(super) use accounts::{AccountAtIndex, AccountPage, AccountPatch, ChangedAccount, KeyState, NewAccount, Statement};
pub(super) use ledger::LedgerPage;
pub(super) use node::{Alive, ClusterView, Numbers, Ready, TransferDone, TransferWish};
pub(super) use parameters::{
    BatchParams, Deadline, Freshness, LedgerRange, Page, PaymentFilter, StatementFilter, WriteHeaders,
};
pub(super) use payments::{
    BatchBody, BatchLines, ChangedPayment, DecidedBatch, NewPayment, Nothing, Part, Payment, PaymentPage,
    PaymentWithHistory,
};
pub(super) use problems::{
    AccountChangeProblems, AccountListProblems, AccountOpenProblems, AccountReadProblems, BatchProblems,
    ChangeProblems, ClusterProblems, FenceProblems, KeyProblems, LedgerProblems, MetricsProblems, PaymentListProblems,
    PaymentProblems, PaymentReadProblems, ReadyProblems, StatementProblems, TransferProblems,
};
pub(super) use words::{AccountIdText, Key, PaymentIdText};

const DESCRIPTION: &str = "\
A replicated payment ledger. Any node takes any call.\n\n\
**Amounts** are integers in minor units: 15075 is 150.75 USD.\n\n\
**Writes** need an `Idempotency-Key`. Keys are permanent: the same request under the same key gets the identical \
answer, with `Idempotent-Replayed: true`, refusals included.\n\n\
**Errors** are `application/problem+json` with a stable `code`, `retryable` and a definite `outcome`: `not_applied`, \
or `unknown` with the URL that settles it.";

/// Requests and answers of a real cluster, by name.
static EXAMPLES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).expect("the examples are JSON"));

/// A request or an answer of a real cluster.
pub(super) fn example(name: &str) -> &'static Value {
    EXAMPLES.get(name).unwrap_or_else(|| unreachable!("there is an example {name}"))
}

/// The headers of every answer, and when each is there.
const HEADERS: [(&str, &str, Presence); 6] = [
    ("Quorapay-Node", "The node that answered.", Presence::Always),
    ("Quorapay-Leader", "The node that leads, if one is known.", Presence::Sometimes),
    ("Quorapay-Index", "As of which index of the ledger; of a write, its entry's.", Presence::Always),
    ("Quorapay-Epoch", "In which epoch it was answered.", Presence::Always),
    ("Quorapay-Applied-Index", "Of a read: the highest index that this node has applied.", Presence::Sometimes),
    ("Quorapay-Staleness-Ms", "Of a read: how old it may be, in milliseconds.", Presence::Sometimes),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    Sometimes,
}

/// What the handlers' own descriptions are added to.
pub(super) fn outline() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Quorapay")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license));
    let tags = [
        ("Payments", "Make payments, one or many; capture, void and refund them; read and list them."),
        ("Keys", "Settle what became of an idempotency key, or see to it that nothing ever applies under it."),
        ("Accounts", "Open, read, list and change accounts; their statements."),
        ("Ledger", "The raw entries with their hashes."),
        ("Cluster", "The nodes, and handing the leadership over."),
        ("Node", "What a node says of itself."),
    ];
    let tag = |(name, description): (&str, &str)| TagBuilder::new().name(name).description(Some(description)).build();
    OpenApiBuilder::new().info(info).tags(Some(tags.map(tag))).build()
}

/// The finished document: every answer has the headers that every answer has.
pub(super) fn finish(mut document: OpenApi) -> Bytes {
    problems::add_schemas(document.components.get_or_insert_with(Components::new));
    let mut document = serde_json::to_value(document).expect("a description is made of types that JSON can hold");
    for (name, description, presence) in HEADERS {
        let kind = if name.ends_with("Node") || name.ends_with("Leader") { "string" } else { "integer" };
        document["components"]["headers"][name] = json!({
            "description": description, "required": presence == Presence::Always, "schema": { "type": kind },
        });
    }
    for response in responses_of(&mut document) {
        for (name, ..) in HEADERS {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
    bodies_of(&mut document).for_each(unwrap_optional);
    let text = serde_json::to_string_pretty(&document).expect("it is JSON");
    Bytes::from(text + "\n")
}

fn operations_of(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    paths.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut())
}

/// Every response of every operation.
fn responses_of(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let responses = operations_of(document).filter_map(|operation| operation["responses"].as_object_mut());
    responses.flat_map(|responses| responses.values_mut())
}

/// The schema of every JSON body.
fn bodies_of(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    operations_of(document)
        .filter_map(|operation| operation.pointer_mut("/requestBody/content/application~1json/schema"))
}

/// A body that may be left out is still no `null`.
fn unwrap_optional(schema: &mut Value) {
    let null = json!({ "type": "null" });
    if let Some([body, other]) = schema["oneOf"].as_array().map(Vec::as_slice)
        && *other == null
    {
        *schema = body.clone();
    }
}
