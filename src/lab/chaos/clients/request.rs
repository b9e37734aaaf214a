//! Operations as HTTP requests.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use crate::history::{Consistency, Read, Request, Subject};
use quorapay_core::domain::{AccountChangeKind, BatchItem, Capture, IdempotencyKey, OperationRequest, PaymentRequest};

/// A request without its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) key: Option<String>,
    pub(super) body: Option<Bytes>,
}

impl HttpRequest {
    /// The HTTP request of an operation.
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Write(proposal) => {
                let (method, segments, body) = write_parts(&proposal.key, &proposal.request);
                let key = Some(proposal.key.as_str().to_owned());
                Self { method, segments, query: Vec::new(), key, body: Some(body.to_string().into()) }
            }
            Request::Read(read) => Self {
                method: Method::GET,
                segments: segments_of(&read.subject),
                query: query_of(read),
                key: None,
                body: None,
            },
        }
    }

    /// Its URL at a node.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.path_segments_mut().expect("checked when the load began").pop_if_empty().extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// Method, path and body of a write. A fence has its key in the path too.
fn write_parts(key: &IdempotencyKey, request: &OperationRequest) -> (Method, Vec<String>, Value) {
    match request {
        OperationRequest::Payment(payment) => (Method::POST, path(&["payments"]), Value::Object(payment_body(payment))),
        OperationRequest::Account { account, change: AccountChangeKind::Open(overdraft) } => {
            (Method::POST, path(&["accounts"]), json!({ "id": account, "overdraft": overdraft }))
        }
        OperationRequest::Account { account, change: AccountChangeKind::Change { overdraft, status } } => {
            let mut body = Map::new();
            body.extend(overdraft.map(|overdraft| ("overdraft".to_owned(), json!(overdraft))));
            body.extend(status.map(|status| ("status".to_owned(), json!(status))));
            (Method::PATCH, path(&["accounts", account.as_str()]), Value::Object(body))
        }
        OperationRequest::PaymentChange { payment, change } => {
            let amount = change.named_amount().map(|amount| ("amount".to_owned(), json!(amount)));
            let path = path(&["payments", &payment.to_string(), change.name()]);
            (Method::POST, path, Value::Object(amount.into_iter().collect()))
        }
        OperationRequest::Batch(batch) => {
            let payments: Vec<Value> = batch.items.iter().map(item_body).collect();
            (Method::POST, path(&["payments", "batch"]), json!({ "atomic": batch.atomic, "payments": payments }))
        }
        OperationRequest::ApiKey { .. } => unreachable!("no load changes API keys"),
        OperationRequest::KeyFence => (Method::POST, path(&["payments", "by-key", key.as_str(), "fence"]), json!({})),
    }
}

fn item_body(item: &BatchItem) -> Value {
    let mut body = payment_body(&item.request);
    if let Some(key) = &item.key {
        body.insert("idempotency_key".to_owned(), json!(key));
    }
    Value::Object(body)
}

fn payment_body(payment: &PaymentRequest) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("from".to_owned(), json!(payment.from));
    body.insert("to".to_owned(), json!(payment.to));
    body.insert("amount".to_owned(), json!(payment.amount));
    body.insert("currency".to_owned(), json!(payment.currency));
    if let Capture::Manual { expires_in_s } = payment.capture {
        body.insert("capture".to_owned(), json!("manual"));
        body.insert("expires_in".to_owned(), json!(expires_in_s));
    }
    if let Some(order) = &payment.order {
        body.insert("order".to_owned(), json!({ "id": order.id, "total": order.total }));
    }
    if let Some(description) = &payment.description {
        body.insert("description".to_owned(), json!(description));
    }
    if let Some(metadata) = &payment.metadata {
        let metadata = serde_json::from_str(metadata).expect("these clients make their metadata of JSON");
        body.insert("metadata".to_owned(), metadata);
    }
    body
}

fn segments_of(subject: &Subject) -> Vec<String> {
    match subject {
        Subject::Payment(id) => path(&["payments", id]),
        Subject::Key(key) => path(&["payments", "by-key", key.as_str()]),
        Subject::Account(account) => path(&["accounts", account.as_str()]),
        Subject::Payments { .. } => path(&["payments"]),
    }
}

fn query_of(read: &Read) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    if let Subject::Payments { account, limit } = &read.subject {
        query.extend(account.iter().map(|account| ("account", account.to_string())));
        query.push(("limit", limit.to_string()));
    }
    if read.consistency == Consistency::Local {
        query.push(("consistency", "local".to_owned()));
    }
    query.extend(read.min_index.map(|index| ("min_index", index.to_string())));
    query
}

fn path(segments: &[&str]) -> Vec<String> {
    std::iter::once(&"v1").chain(segments).map(|&segment| segment.to_owned()).collect()
}
