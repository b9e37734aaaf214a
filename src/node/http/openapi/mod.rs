//! The API's own description: OpenAPI 3.1, put together from what is declared at the handlers and derived from the
//! types of the contract.
//!
//! ```text
//! mod.rs         the outline, and what holds for every answer
//! problems       which problems each route answers with
//! examples.json  requests and answers of a real cluster
//! ```

mod problems;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use quorapay_api::headers::{self, Header};

pub(super) use problems::{
    AccountChangeProblems, AccountListProblems, AccountOpenProblems, AccountReadProblems, AnyKeyProblems,
    ApiKeyChangeProblems, ApiKeyCreateProblems, ApiKeyListProblems, BatchProblems, ChangeProblems, ClusterProblems,
    FenceProblems, HealthOrError, KeyProblems, LedgerBackupProblems, LedgerProblems, LedgerTransferErrors,
    MetricsProblems, PaymentListProblems, PaymentProblems, PaymentReadProblems, ReadyProblems, StatementProblems,
    SyncPayHealthErrors, SyncPayListErrors, SyncPayNodeErrors, SyncPayPaymentErrors, TransferProblems,
};

const DESCRIPTION: &str = "\
A replicated payment ledger. Any node takes any call.\n\n\
**Amounts** are integers in minor units: 15075 is 150.75 USD.\n\n\
**Callers** have an API key, `Authorization: Bearer qp_…`, unless a node is open to everybody; each operation names \
the scope that it needs.\n\n\
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
const HEADERS: [(Header, &str, Presence); 8] = [
    (headers::NODE, "The node that answered.", Presence::Always),
    (headers::LEADER, "The node that leads, if one is known.", Presence::Sometimes),
    (headers::INDEX, "As of which index of the ledger; of a write, its entry's.", Presence::Always),
    (headers::EPOCH, "In which epoch it was answered.", Presence::Always),
    (headers::APPLIED_INDEX, "Of a read: the highest index that this node has applied.", Presence::Sometimes),
    (headers::STALENESS_MS, "Of a read: how old it may be, in milliseconds.", Presence::Sometimes),
    (
        headers::TIME_ERROR_MS,
        "Of a write that was not decided earlier: how far the true time can be from its timestamp, in milliseconds; absent \
         while no majority of the nodes' clocks agrees.",
        Presence::Sometimes,
    ),
    (
        headers::REQUEST_ID,
        "What the nodes' logs name the request by: the request's own, or a made one if the answer is an error or is logged.",
        Presence::Sometimes,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    Sometimes,
}

/// The document without the routes.
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
        ("API keys", "Who may call, and what: keys in the ledger, created, rotated and revoked."),
        ("Cluster", "The nodes, and handing the leadership over."),
        ("Node", "What a node says of itself."),
        (
            "SyncPay",
            "For clients of SyncPay, which change nothing but the address. The same ledger in other shapes; amounts are \
             decimal numbers, and errors are `{error}`.",
        ),
        (
            "Fault-tolerant ledger",
            "For clients of the fault-tolerant payment ledger, which change nothing but the address.",
        ),
    ];
    let tag = |(name, description): (&str, &str)| TagBuilder::new().name(name).description(Some(description)).build();
    OpenApiBuilder::new().info(info).tags(Some(tags.map(tag))).build()
}

/// The complete document, with what holds for every answer: its headers, and that it has no other fields.
pub(super) fn finish(mut document: OpenApi) -> Bytes {
    problems::add_schemas(document.components.get_or_insert_with(Components::new));
    let mut document = serde_json::to_value(document).expect("a description is made of types that JSON can hold");
    for (header, description, presence) in HEADERS {
        let kind =
            if [headers::NODE, headers::LEADER, headers::REQUEST_ID].contains(&header) { "string" } else { "integer" };
        document["components"]["headers"][header.name] = json!({
            "description": description, "required": presence == Presence::Always, "schema": { "type": kind },
        });
    }
    document["components"]["securitySchemes"]["api_key"] = json!({
        "type": "http", "scheme": "bearer", "bearerFormat": "qp_ID_SECRET",
        "description": "An API key with the scope that the operation names. A node that is open to everybody asks for none.",
    });
    for response in responses_of(&mut document) {
        for (header, ..) in HEADERS {
            let name = header.name;
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
    operations_of(&mut document).for_each(add_challenge);
    operations_of(&mut document).for_each(add_request_id);
    bodies_of(&mut document).for_each(unwrap_optional);
    close_answers(&mut document);
    let text = serde_json::to_string_pretty(&document).expect("it is JSON");
    Bytes::from(text + "\n")
}

/// Whoever is not known is told how to name itself.
fn add_challenge(operation: &mut Value) {
    if let Some(response) = operation["responses"].get_mut("401") {
        response["headers"]["WWW-Authenticate"] = json!({
            "description": "`Bearer`: an API key is asked for.", "required": true, "schema": { "type": "string" },
        });
    }
}

/// Every request may be named. A name that is not valid is replaced, so any text may be sent.
fn add_request_id(operation: &mut Value) {
    let parameter = json!({
        "name": headers::REQUEST_ID.name, "in": "header", "required": false, "schema": { "type": "string" },
        "description": "What the nodes' logs shall name the request by: 1 to 128 of `A-Z a-z 0-9 - _ . : / + =`. Anything \
                        else is replaced by a made id.",
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
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

/// A body may be left out, but it may not be `null`.
fn unwrap_optional(schema: &mut Value) {
    let null = json!({ "type": "null" });
    if let Some([body, other]) = schema["oneOf"].as_array().map(Vec::as_slice)
        && *other == null
    {
        *schema = body.clone();
    }
}

/// Forbids undescribed fields in answers. The types cannot do that, because they are also for readers, which must
/// ignore fields that they do not know. An object that is a part of another in an `allOf` stays open; the whole is
/// closed.
fn close_answers(document: &mut Value) {
    let mut answers = BTreeSet::new();
    let responses: Vec<Value> = responses_of(document).map(|response| response.clone()).collect();
    responses.iter().for_each(|response| add_references(response, document, &mut answers));
    let mut parts = BTreeSet::new();
    add_parts(document, &mut parts);
    for name in answers.difference(&parts) {
        let schema = &mut document["components"]["schemas"][name];
        if schema.get("allOf").is_some() {
            schema["unevaluatedProperties"] = json!(false);
        }
        close(schema);
        let forms = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        forms.into_iter().flatten().for_each(close);
    }
}

/// Closes an object that does not say what other fields it may have.
fn close(schema: &mut Value) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
}

/// Adds the schemas that a value refers to, directly or through others.
fn add_references(value: &Value, document: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = schema_name(value)
                && names.insert(name.to_owned())
            {
                add_references(&document["components"]["schemas"][name], document, names);
            }
            fields.values().for_each(|field| add_references(field, document, names));
        }
        Value::Array(items) => items.iter().for_each(|item| add_references(item, document, names)),
        _ => {}
    }
}

/// Adds the schemas that are parts of others, and the forms of these.
fn add_parts(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let parts = fields.get("allOf").and_then(Value::as_array);
            names.extend(parts.into_iter().flatten().filter_map(schema_name).map(str::to_owned));
            fields.values().for_each(|field| add_parts(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| add_parts(item, names)),
        _ => {}
    }
}

/// The schema that a reference names.
fn schema_name(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}
