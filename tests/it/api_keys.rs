//! API keys: who gets in, what each allows, and what becomes of them while the cluster runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use quorapay_core::domain::{ApiKey, Scope};
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node, Options, run_program, wait_until};
use crate::support::http::{Request, Response};

/// A key whose bytes are all this number.
fn key(number: u8) -> ApiKey {
    ApiKey::from_random([number; 8], [number; 32])
}

/// The key that allows everything: the first one of every cluster here.
pub(crate) fn first() -> ApiKey {
    key(1)
}

/// Nodes that ask for keys.
fn options() -> Options {
    let settings = format!("callers = \"api_keys\"\nfirst_api_key = \"{}\"\n", first().expose());
    Options { settings, ..Options::default() }
}

/// A cluster whose first key is written.
pub(crate) fn cluster(size: usize) -> Cluster {
    let cluster = Cluster::start_with(size, &options());
    wait_until("the first API key is written", || {
        cluster.nodes.iter().all(|node| send(node, Some(&first()), Request::get("/v1/api-keys")).status == 200)
    });
    cluster
}

fn bearer(request: Request, key: &ApiKey) -> Request {
    request.header("Authorization", format!("Bearer {}", key.expose()))
}

fn send(node: &Node, key: Option<&ApiKey>, request: Request) -> Response {
    node.send(&match key {
        Some(key) => bearer(request, key),
        None => request,
    })
}

/// An idempotency key that no other request has.
fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("api-keys-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn post(target: impl Into<String>, body: &Value) -> Request {
    Request::post(target).key(&unique()).json(body.to_string())
}

fn payment(from: &str, to: &str) -> Value {
    json!({ "from": from, "to": to, "amount": 5, "currency": "EUR" })
}

/// Creates a key with these scopes and other fields.
fn create(node: &Node, new: &ApiKey, scopes: &[Scope], mut fields: Value) {
    fields["id"] = json!(new.id());
    fields["secret_sha256"] = json!(new.digest());
    fields["name"] = json!("a test");
    fields["scopes"] = json!(scopes);
    send(node, Some(&first()), post("/v1/api-keys", &fields)).expect(201);
}

fn revoke(node: &Node, revoked: &ApiKey) {
    send(node, Some(&first()), post(format!("/v1/api-keys/{}/revoke", revoked.id()), &json!({}))).expect(200);
}

/// What a route asks of its caller, as the description says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    AnyKey,
    Scope(Scope),
}

/// One operation of the description.
struct Operation {
    id: String,
    method: &'static str,
    target: String,
    body: Option<Value>,
    asked: Asked,
}

/// What the placeholders of paths stand for.
struct Things {
    payment: String,
    idempotency_key: String,
}

impl Operation {
    fn of(path: &str, method: &str, described: &Value, things: &Things) -> Self {
        let id = described["operationId"].as_str().unwrap().to_owned();
        let security = described["security"].as_array().unwrap_or_else(|| panic!("{id} declares no security"));
        assert_eq!(security.len(), 1, "{id} declares one way in");
        let asked = match security[0].get("api_key").map(|scopes| scopes.as_array().unwrap().as_slice()) {
            None => Asked::Nothing,
            Some([]) => Asked::AnyKey,
            Some([scope]) => Asked::Scope(Scope::parse(scope.as_str().unwrap()).unwrap()),
            Some(_) => panic!("{id} asks for several scopes"),
        };
        let target = path.replace("{key}", &things.idempotency_key).replace(
            "{id}",
            match path.split('/').nth(2) {
                Some("payments") => &things.payment,
                Some("accounts") => "shop:1",
                Some("api-keys") => "ffffffffffffffff",
                _ => {
                    assert!(!path.contains("{id}"), "{path} has an unknown placeholder");
                    ""
                }
            },
        );
        let body = &described["requestBody"]["content"]["application/json"]["example"];
        let method = match method {
            "get" => "GET",
            "post" => "POST",
            "patch" => "PATCH",
            other => panic!("{other}"),
        };
        Self { id, method, target, body: Some(body.clone()).filter(|body| !body.is_null()), asked }
    }

    fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// A request with what every such call needs, under a new key.
    fn request(&self) -> Request {
        let request = Request::new(self.method, self.target.clone());
        let request = if self.is_write() { request.key(&unique()) } else { request };
        // Writes have bodies of their own, so that each is decided anew.
        let body = match self.id.as_str() {
            "syncPayPayment" | "syncPayPay" => Some(json!({ "amount": 1, "sender": "shop:1", "receiver": "shop:2" })),
            "transferLeader" => Some(json!({ "to": "node9" })),
            _ => self.body.clone(),
        };
        match body {
            Some(body) => request.json(body.to_string()),
            None => request,
        }
    }
}

fn operations(cluster: &Cluster, things: &Things) -> Vec<Operation> {
    let description = send(&cluster.nodes[0], Some(&first()), Request::get("/openapi.json")).expect(200);
    let paths = description["paths"].as_object().unwrap();
    let operations: Vec<Operation> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, described)| (path, method, described))
        })
        .map(|(path, method, described)| Operation::of(path, method, described, things))
        .collect();
    assert!(operations.len() >= 35, "{} operations", operations.len());
    operations
}

/// The code of a problem, or the error of the earlier systems, which have no codes.
fn code(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let known = body["code"].as_str().map(str::to_owned);
    known.or_else(|| body["error"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn detail(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    body["detail"].as_str().or_else(|| body["error"].as_str()).unwrap_or_default().to_owned()
}

/// Asserts that a caller was not known.
#[track_caller]
fn assert_unknown(operation: &Operation, caller: &str, response: &Response) {
    let found = (response.status, response.header("WWW-Authenticate"));
    assert_eq!(found, (401, Some("Bearer")), "{caller} calls {}: {}", operation.id, code(response));
}

#[track_caller]
fn assert_served(operation: &Operation, caller: &str, response: &Response) {
    let refused = response.status == 401 || detail(response).contains("lacks the scope");
    assert!(!refused, "{caller} calls {}: {} {}", operation.id, response.status, detail(response));
}

/// Calls every operation that changes nothing for others with a caller, at one node after another.
fn call(cluster: &Cluster, at: usize, operation: &Operation, caller: Option<&ApiKey>) -> Response {
    send(&cluster.nodes[at % cluster.nodes.len()], caller, operation.request())
}

/// Whether a key for other accounts is refused by the operation.
fn concerns_accounts(operation: &Operation) -> bool {
    let exempt = ["fenceKey", "transferLeader", "syncPayConfig"].contains(&operation.id.as_str());
    matches!(operation.asked, Asked::Scope(scope) if scope != Scope::Metrics) && !exempt
}

#[test]
fn every_route_is_for_exactly_the_callers_that_the_description_names() {
    let cluster = cluster(3);
    let node = &cluster.nodes[0];
    let hold =
        json!({ "from": "external:card", "to": "shop:1", "amount": 500, "currency": "EUR", "capture": "manual" });
    let made = Request::post("/v1/payments").key("matrix hold").json(hold.to_string());
    let made = send(node, Some(&first()), made).expect(201);
    let things =
        Things { payment: made["id"].as_str().unwrap().to_owned(), idempotency_key: "matrix%20hold".to_owned() };
    let (expired, revoked, elsewhere) = (key(2), key(3), key(4));
    create(node, &expired, &Scope::ALL, json!({ "expires_at": "2020-01-01T00:00:00Z" }));
    create(node, &revoked, &Scope::ALL, json!({}));
    revoke(node, &revoked);
    create(
        node,
        &elsewhere,
        &Scope::ALL,
        json!({ "debit_prefixes": ["elsewhere:"], "credit_prefixes": ["elsewhere:"] }),
    );
    let wrong_secret = ApiKey::with_secret(first().id(), [9; 32]);
    let scoped: Vec<(Scope, ApiKey)> = Scope::ALL.into_iter().zip((10..).map(key)).collect();
    for (scope, scoped) in &scoped {
        create(node, scoped, &[*scope], json!({}));
    }
    for (at, operation) in operations(&cluster, &things).iter().enumerate() {
        let call = |caller| call(&cluster, at, operation, caller);
        if operation.asked == Asked::Nothing {
            assert_served(operation, "nobody", &call(None));
            assert_served(operation, "a stranger", &call(Some(&key(200))));
            continue;
        }
        assert_unknown(operation, "nobody", &call(None));
        let strangers = [
            ("a stranger", key(200)),
            ("a thief", wrong_secret.clone()),
            ("a revoked key", revoked.clone()),
            ("an expired key", expired.clone()),
        ];
        for (name, stranger) in &strangers {
            assert_unknown(operation, name, &call(Some(stranger)));
        }
        for (scope, scoped) in &scoped {
            let response = call(Some(scoped));
            match operation.asked {
                Asked::Scope(asked) if asked != *scope => {
                    assert_eq!(response.status, 403, "{scope} calls {}", operation.id);
                    assert!(detail(&response).contains(asked.as_str()), "{}: {}", operation.id, detail(&response));
                }
                _ => assert_served(operation, scope.as_str(), &response),
            }
        }
        let limited = call(Some(&elsewhere));
        if concerns_accounts(operation) {
            assert_eq!(limited.status, 403, "{} with a key for other accounts: {}", operation.id, code(&limited));
        } else {
            assert_served(operation, "a key for other accounts", &limited);
        }
        assert_served(operation, "the first key", &call(Some(&first())));
    }
    let unmatched = send(node, None, Request::get("/nothing"));
    assert_eq!((unmatched.status, code(&unmatched).as_str()), (401, "api_key_required"));
    let metrics = send(node, Some(&first()), Request::get("/metrics").header("Accept", "text/plain")).text();
    for reason in ["no_key", "unknown", "wrong_secret", "revoked", "scope"] {
        let line = format!("quorapay_refused_callers_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[test]
fn a_new_key_works_at_every_node_at_once_and_a_revoked_one_at_none() {
    let cluster = cluster(3);
    for round in 0..5_u8 {
        let known = key(20 + round);
        let [at, ..] = [usize::from(round) % 3];
        create(&cluster.nodes[at], &known, &[Scope::PaymentsWrite, Scope::PaymentsRead], json!({}));
        let pay = || post("/v1/payments", &payment("external:card", "shop:1"));
        for node in &cluster.nodes {
            send(node, Some(&known), pay()).expect(201);
            send(node, Some(&known), Request::get("/v1/accounts/shop:1")).expect(200);
        }
        revoke(&cluster.nodes[at], &known);
        for node in &cluster.nodes {
            assert_eq!(send(node, Some(&known), pay()).expect(401)["code"], "invalid_api_key");
            assert_eq!(send(node, Some(&known), Request::get("/v1/accounts/shop:1")).expect(401)["status"], 401);
        }
    }
}

#[test]
fn who_asked_stands_in_every_entry_and_keys_outlive_restarts() {
    let mut cluster = cluster(3);
    let (shop, till) = (key(30), key(31));
    create(&cluster.nodes[0], &shop, &[Scope::PaymentsWrite], json!({ "credit_prefixes": ["shop:1:"] }));
    create(&cluster.nodes[0], &till, &[Scope::PaymentsWrite], json!({ "limits": { "EUR": 4 } }));
    let pay =
        |node: &Node, key: &ApiKey, to| send(node, Some(key), post("/v1/payments", &payment("external:card", to)));
    let by_each: Vec<u64> =
        cluster.nodes.iter().map(|node| pay(node, &shop, "shop:1:a").expect(201)["index"].as_u64().unwrap()).collect();
    let refused = pay(&cluster.nodes[1], &shop, "shop:2:a").expect(403);
    assert_eq!((&refused["code"], &refused["field"]), (&json!("api_key_forbids"), &json!("to")));
    assert_eq!(pay(&cluster.nodes[2], &till, "shop:1:a").expect(403)["field"], "amount");
    let entry = |node: &Node, index: u64| {
        let page =
            send(node, Some(&first()), Request::get(format!("/v1/ledger?from_index={index}&limit=1"))).expect(200);
        page["entries"][0].clone()
    };
    for index in &by_each {
        assert_eq!(entry(&cluster.nodes[0], *index)["principal"], json!(shop.id()));
    }
    let csv = send(&cluster.nodes[0], Some(&first()), Request::get("/v1/ledger?format=csv")).text();
    assert!(csv.contains(&format!(",{},", shop.id())), "{csv}");
    // A rotation without overlap.
    let next = ApiKey::with_secret(shop.id(), [77; 32]);
    let rotation = json!({ "secret_sha256": next.digest(), "old_valid_for_s": 0 });
    let target = format!("/v1/api-keys/{}/rotate", shop.id());
    send(&cluster.nodes[2], Some(&first()), post(target.clone(), &rotation)).expect(200);
    for node in &cluster.nodes {
        pay(node, &next, "shop:1:a").expect(201);
        pay(node, &shop, "shop:1:a").expect(401);
    }
    // And one with an overlap.
    let third = ApiKey::with_secret(shop.id(), [78; 32]);
    let rotation = json!({ "secret_sha256": third.digest(), "old_valid_for_s": 3600 });
    send(&cluster.nodes[2], Some(&first()), post(target, &rotation)).expect(200);
    (0..3).for_each(|node| cluster.terminate(node));
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    for node in &cluster.nodes {
        pay(node, &third, "shop:1:a").expect(201);
        pay(node, &next, "shop:1:a").expect(201);
        pay(node, &shop, "shop:1:a").expect(401);
    }
    let listed = send(&cluster.nodes[1], Some(&first()), Request::get("/v1/api-keys")).expect(200);
    let text = listed.to_string();
    assert_eq!(listed["api_keys"].as_array().unwrap().len(), 3);
    assert!(!text.contains(&third.expose()[20..]) && !text.contains("secret_sha256"), "{text}");
    (0..3).for_each(|node| cluster.terminate(node));
    let verified = run_program(&["verify", text_of(&cluster.nodes[0].data_dir)]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_first_key_is_written_once_whoever_leads_and_not_where_there_are_keys() {
    let mut cluster = cluster(3);
    let changes = |cluster: &Cluster| {
        let ledger = send(&cluster.nodes[0], Some(&first()), Request::get("/v1/ledger?limit=1000")).expect(200);
        let entries = ledger["entries"].as_array().unwrap().clone();
        entries.into_iter().filter(|entry| entry["kind"] == "api_key").collect::<Vec<_>>()
    };
    let written = changes(&cluster);
    assert_eq!((written.len(), &written[0]["api_key"]), (1, &json!(first().id())));
    assert_eq!(written[0].get("principal"), None, "nobody asked for it");
    (0..3).for_each(|node| cluster.terminate(node));
    for node in &cluster.nodes {
        let settings = fs::read_to_string(&node.config).unwrap();
        fs::write(&node.config, settings.replace(&first().expose(), &key(99).expose())).unwrap();
    }
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    let leader = cluster.leader();
    wait_until("the leader has looked", || cluster.nodes[leader].log().contains("so the first one is not written"));
    assert_eq!(changes(&cluster).len(), 1);
    assert_eq!(send(&cluster.nodes[0], Some(&key(99)), Request::get("/v1/api-keys")).status, 401);
}

/// Runs a command with a key in a file.
fn command(cluster: &Cluster, key_file: &Path, arguments: &[&str]) -> (bool, String) {
    let urls = cluster.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",");
    let output = run_program(&[arguments, &["--url", &urls, "--api-key-file", text_of(key_file)]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn the_command_line_makes_uses_rotates_and_revokes_keys() {
    let cluster = cluster(1);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(file("first"), first().expose() + "\n").unwrap();
    let (done, text) = command(
        &cluster,
        &file("first"),
        &[
            "api-key",
            "create",
            "till",
            "--scope",
            "payments:write",
            "--limit",
            "EUR=1.00",
            "--to",
            text_of(&file("till")),
        ],
    );
    assert!(done && !text.contains("qp_"), "{text}");
    let till = ApiKey::parse(fs::read_to_string(file("till")).unwrap().trim()).unwrap();
    let pay =
        |key: &str, amount: &str| command(&cluster, &file(key), &["pay", "external:card", "shop:1", amount, "EUR"]);
    assert!(pay("till", "1.00").0);
    let (done, text) = pay("till", "1.01");
    assert!(!done && text.contains("api_key_forbids"), "{text}");
    let (_, text) = command(&cluster, &file("first"), &["api-key", "list"]);
    assert!(text.contains(&till.id().to_string()) && text.contains("EUR=1.00"), "{text}");
    let id = till.id().to_string();
    let next = file("next");
    let rotate = ["api-key", "rotate", &id, "--old-valid-for", "1h", "--to", text_of(&next)];
    let (done, text) = command(&cluster, &file("first"), &rotate);
    assert!(done && text.contains("the old secret is valid until"), "{text}");
    assert!(pay("till", "0.50").0 && pay("next", "0.50").0, "both secrets are valid");
    assert!(command(&cluster, &file("first"), &["status"]).0);
    assert!(command(&cluster, &file("first"), &["api-key", "revoke", &id]).0);
    let (done, text) = pay("next", "0.50");
    assert!(!done && text.contains("invalid_api_key"), "{text}");
}
