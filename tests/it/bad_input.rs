//! Invalid requests: the answer names the error, and no money moves.

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node};
use crate::support::http::{Connection, Request, Response};

/// A cluster of one node, because requests are validated where they arrive. Checks at the end that no money moved.
struct Judge {
    cluster: Cluster,
}

impl Judge {
    fn new() -> Self {
        Self { cluster: Cluster::start(1) }
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    fn payment(&self, body: impl Into<Vec<u8>>) -> Response {
        self.node().send(&Request::post("/v1/payments").key("k").json(body))
    }

    /// Checks a refused payment.
    #[track_caller]
    fn refuses(&self, body: &str, code: &str, field: &str) {
        assert_problem(&self.payment(body), 400, code, Some(field));
    }

    #[track_caller]
    fn assert_nothing_moved(&self) {
        for entry in self.node().ledger() {
            let kind = entry["kind"].as_str().unwrap();
            assert!(matches!(kind, "epoch_start" | "configuration"), "a refused request is in the ledger: {entry}");
        }
        assert_eq!(self.node().accounts().len(), 0);
    }
}

/// Checks that a problem has all its members and the outcome `not_applied`.
#[track_caller]
fn assert_problem(answer: &Response, status: u16, code: &str, field: Option<&str>) {
    let body = answer.expect(status);
    assert_eq!((&body["code"], &body["field"]), (&json!(code), &field.map_or(Value::Null, Value::from)), "{body}");
    assert_eq!((&body["outcome"], &body["status"]), (&json!("not_applied"), &json!(status)), "{body}");
    assert_eq!(body["type"], format!("urn:quorapay:problem:{code}"));
    assert!(body["retryable"].is_boolean() && body["title"].is_string() && body["detail"].is_string(), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("Quorapay-Node"), Some("node1"));
}

/// A good payment with one field as given, raw JSON.
fn with(field: &str, value: &str) -> String {
    let mut fields = vec![("from", r#""external:a""#), ("to", r#""b""#), ("amount", "5"), ("currency", r#""EUR""#)];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn without(field: &str) -> String {
    let mut body: Value = serde_json::from_str(&with("amount", "5")).unwrap();
    body.as_object_mut().unwrap().remove(field);
    body.to_string()
}

#[test]
fn unknown_missing_and_repeated_fields_are_named() {
    let judge = Judge::new();
    judge.refuses(&with("colour", r#""red""#), "unknown_field", "colour");
    judge.refuses(&with("order", r#"{"id":"o","total":5,"sum":5}"#), "unknown_field", "order.sum");
    judge.refuses(&with("order", r#"{"id":"o"}"#), "missing_field", "order.total");
    judge.refuses(&with("order", r#"{"id":"o","total":5,"total":5}"#), "duplicate_field", "order.total");
    judge.refuses(&with("idempotency_key", r#""k""#), "unknown_field", "idempotency_key");
    judge.refuses(&with("Amount", "5"), "unknown_field", "Amount");
    judge.refuses(&with("ключ", "5"), "unknown_field", "ключ");
    for field in ["from", "to", "amount", "currency"] {
        judge.refuses(&without(field), "missing_field", field);
        let twice = with(field, "1").replace('}', &format!(",\"{field}\":1}}"));
        let answer = judge.payment(twice).expect(400);
        assert_eq!(answer["field"], field, "{answer}");
    }
    let twice = with("amount", "5").replace('}', r#","amount":5}"#);
    judge.refuses(&twice, "duplicate_field", "amount");
    judge.refuses(&with("metadata", r#"{"a":1,"a":2}"#), "duplicate_field", "metadata.a");
    judge.assert_nothing_moved();
}

#[test]
fn an_amount_is_a_positive_integer_in_digits_and_nothing_else() {
    let judge = Judge::new();
    for bad in [
        "0",
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "0x5",
        "99999999999999999999999999999999999999",
        "1.0",
        "150.75",
        "150.755",
        "9999999999999999999",
        "5e0",
        "1e2",
        "1e400",
        "-1e400",
        "-0",
        "-0.0",
        r#""5""#,
        r#""""#,
        "null",
        "true",
        "[5]",
        r#"{"units":5}"#,
        r#""💶""#,
    ] {
        judge.refuses(&with("amount", bad), "invalid_amount", "amount");
    }
    for no_json in ["NaN", "05", "Infinity", "-Infinity", "+5", "5.", ".5", "5_000", "1e", "'5'", "٥"] {
        assert_problem(&judge.payment(with("amount", no_json)), 400, "invalid_json", None);
    }
    judge.assert_nothing_moved();
}

#[test]
fn a_currency_is_a_known_code_of_three_capitals() {
    let judge = Judge::new();
    for bad in
        [r#""eur""#, r#""EURO""#, r#""EU""#, r#""""#, r#""XXY""#, r#""ZZZ""#, "978", "null", r#""€""#, r#"["EUR"]"#]
    {
        judge.refuses(&with("currency", bad), "invalid_currency", "currency");
    }
    judge.assert_nothing_moved();
}

#[test]
fn an_account_id_is_short_and_plain() {
    let judge = Judge::new();
    let long = format!("\"{}\"", "a".repeat(65));
    for bad in
        [&*long, r#""""#, r#""a b""#, r#""a/b""#, r#""é""#, r#""🏦""#, r#""a\u0000""#, r#""a\n""#, "7", "null", "{}"]
    {
        for field in ["from", "to"] {
            judge.refuses(&with(field, bad), "invalid_account_id", field);
        }
        let body = format!("{{\"id\":{bad}}}");
        let answer = judge.node().send(&Request::post("/v1/accounts").key("k").json(body));
        assert_problem(&answer, 400, "invalid_account_id", Some("id"));
    }
    judge.refuses(&with("to", r#""external:a""#), "same_account", "to");
    for bad in ["a%20b", "%F0%9F%8F%A6", &"a".repeat(65)] {
        for path in [format!("/v1/accounts/{bad}"), format!("/v1/accounts/{bad}/statement")] {
            assert_problem(&judge.node().get(&path), 400, "invalid_account_id", Some("id"));
        }
    }
    assert_problem(&judge.node().get("/v1/accounts/a%FF"), 400, "invalid_path", None);
    judge.assert_nothing_moved();
}

#[test]
fn the_other_fields_have_their_limits() {
    let judge = Judge::new();
    judge.refuses(&with("description", &format!("\"{}\"", "é".repeat(501))), "description_too_long", "description");
    judge.refuses(&with("description", "7"), "invalid_description", "description");
    judge.refuses(&with("capture", r#""later""#), "invalid_capture", "capture");
    judge.refuses(&with("capture", "true"), "invalid_capture", "capture");
    judge.refuses(&with("expires_in", "60"), "invalid_expires_in", "expires_in");
    for bad in ["0", "-1", "7776001", "1.5", "1e2", r#""60""#, "true", "1e400", "9223372036854775808"] {
        let manual = with("expires_in", bad).replace('}', r#","capture":"manual"}"#);
        judge.refuses(&manual, "invalid_expires_in", "expires_in");
    }
    for (bad, field) in [
        (r#"{"id":"","total":5}"#, "order.id"),
        (r#"{"id":"💶","total":5}"#, "order.id"),
        (r#"{"id":"o","total":0}"#, "order.total"),
        (r#"{"id":"o","total":150.755}"#, "order.total"),
        (r#"{"id":"o","total":1e400}"#, "order.total"),
        (r#"["o",5]"#, "order"),
        (r#""o""#, "order"),
    ] {
        judge.refuses(&with("order", bad), "invalid_order", field);
    }
    judge.refuses(&with("metadata", r#""text""#), "invalid_metadata", "metadata");
    judge.refuses(&with("metadata", "[1]"), "invalid_metadata", "metadata");
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(4_097 - 8));
    judge.refuses(&with("metadata", &large), "metadata_too_large", "metadata");
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(31), "]".repeat(31));
    assert_problem(&judge.payment(with("metadata", &deep)), 400, "json_too_deep", None);
    judge.assert_nothing_moved();
}

#[test]
fn what_is_just_within_the_limits_is_taken() {
    let judge = Judge::new();
    let fits = [
        with("description", &format!("\"{}\"", "é".repeat(500))),
        with("metadata", &format!(r#"{{"a":"{}"}}"#, "x".repeat(4_096 - 8))),
        with("metadata", &format!(r#"{{"a":{}{}}}"#, "[".repeat(30), "]".repeat(30))),
        with("to", &format!("\"{}\"", "a".repeat(64))),
        with("description", r#""emoji 💶 \ud83d\ude00 and \"quotes\"""#),
    ];
    for (number, body) in fits.iter().enumerate() {
        let key = format!("{number}{}", "k".repeat(254));
        let made = judge.node().send(&Request::post("/v1/payments").key(&key).json(body.as_bytes()));
        let made = made.expect(201);
        let mut read = judge.node().get(&format!("/v1/payments/{}", made["id"].as_str().unwrap())).expect(200);
        read.as_object_mut().unwrap().remove("history");
        assert_eq!(read, made);
    }
}

#[test]
fn a_body_is_one_json_object_in_utf_8() {
    let judge = Judge::new();
    for no_object in ["", " ", "null", "[]", "5", r#""text""#, "[5,6]", "{", "}", r#"{"from":"a""#, "\u{feff}{}"] {
        assert_problem(&judge.payment(no_object), 400, "invalid_json", None);
    }
    assert_problem(&judge.payment(with("amount", "5") + "{}"), 400, "invalid_json", None);
    let mut no_utf_8 = with("description", r#""?""#).into_bytes();
    let at = no_utf_8.iter().position(|byte| *byte == b'?').unwrap();
    no_utf_8[at] = 0xff;
    assert_eq!(judge.payment(no_utf_8).expect(400)["outcome"], "not_applied");
    assert_eq!(judge.payment(with("description", r#""\ud800""#)).expect(400)["outcome"], "not_applied");
    assert_problem(&judge.payment("[".repeat(500_000)), 400, "json_too_deep", None);
    judge.assert_nothing_moved();
}

#[test]
fn every_write_needs_a_good_key() {
    let judge = Judge::new();
    let body = with("amount", "5");
    let long = "k".repeat(256);
    for (method, target) in [("POST", "/v1/payments"), ("POST", "/v1/accounts"), ("PATCH", "/v1/accounts/a")] {
        let request = || Request::new(method, target).json(body.as_bytes());
        let field = Some("Idempotency-Key");
        assert_problem(&judge.node().send(&request()), 400, "idempotency_key_required", field);
        for bad in ["", &*long, "tab\tinside", "é", "💶"] {
            assert_problem(&judge.node().send(&request().key(bad)), 400, "invalid_idempotency_key", field);
        }
        let twice = request().key("one").key("two");
        assert_problem(&judge.node().send(&twice), 400, "invalid_idempotency_key", field);
    }
    let payment = "01890a5d-ac96-774b-bcce-b302099a8057";
    for call in ["capture", "void", "refund"] {
        let answer = judge.node().send(&Request::post(format!("/v1/payments/{payment}/{call}")));
        assert_problem(&answer, 400, "idempotency_key_required", Some("Idempotency-Key"));
    }
    let batch = Request::post("/v1/payments/batch").json(format!("[{body}]"));
    assert_problem(&judge.node().send(&batch), 400, "idempotency_key_required", Some("Idempotency-Key"));
    for bad in ["%C3%A9", "%0A", &*long] {
        let fence = judge.node().send(&Request::post(format!("/v1/payments/by-key/{bad}/fence")));
        assert_problem(&fence, 400, "invalid_idempotency_key", Some("key"));
        let answer = judge.node().get(&format!("/v1/payments/by-key/{bad}"));
        assert_problem(&answer, 400, "invalid_idempotency_key", Some("key"));
    }
    judge.assert_nothing_moved();
}

#[test]
fn a_body_over_one_mebibyte_is_refused_announced_or_not() {
    let judge = Judge::new();
    let head = |more: &str| {
        let mut head = Request::post("/v1/payments").key("k").header("Content-Type", "application/json").head();
        head.extend(more.bytes());
        head
    };
    let announced = Connection::to(judge.node().port).send_bytes(&head("content-length: 1048577\r\n\r\n")).unwrap();
    assert_problem(&announced, 413, "body_too_large", None);

    let mut chunked = head("transfer-encoding: chunked\r\n\r\n");
    for _ in 0..17 {
        chunked.extend(b"10000\r\n");
        chunked.extend([b' '; 0x10000]);
        chunked.extend(b"\r\n");
    }
    let unannounced = Connection::to(judge.node().port).send_bytes(&chunked).unwrap();
    assert_problem(&unannounced, 413, "body_too_large", None);

    let mut just_fits = with("amount", "5").into_bytes();
    just_fits.resize(1 << 20, b' ');
    judge.payment(just_fits).expect(201);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_refused() {
    let judge = Judge::new();
    let mut slow = Request::post("/v1/payments").key("k").header("Quorapay-Deadline-Ms", "200");
    slow = slow.header("Content-Type", "application/json");
    let mut begun = slow.head();
    begun.extend(b"content-length: 100\r\n\r\n{\"from\":");
    let late = Connection::to(judge.node().port).send_bytes(&begun).unwrap();
    assert_problem(&late, 408, "body_timeout", None);
    judge.assert_nothing_moved();
}

#[test]
fn a_deadline_is_a_number_of_milliseconds_up_to_a_minute() {
    let judge = Judge::new();
    for bad in ["0", "60001", "-1", "1.5", "1e3", "", "soon", "99999999999999999999", "5 s"] {
        let write = Request::post("/v1/payments").key("k").json(with("amount", "5"));
        for request in [write, Request::get("/v1/payments"), Request::get("/v1/accounts/a")] {
            let answer = judge.node().send(&request.header("Quorapay-Deadline-Ms", bad));
            assert_problem(&answer, 400, "invalid_deadline", Some("Quorapay-Deadline-Ms"));
        }
    }
    judge.assert_nothing_moved();
}

#[test]
fn lists_refuse_bad_parameters_by_name() {
    let judge = Judge::new();
    let lists = ["/v1/payments", "/v1/accounts", "/v1/accounts/a/statement", "/v1/ledger"];
    let cases = [
        ("limit=0", "invalid_limit", "limit"),
        ("limit=1001", "invalid_limit", "limit"),
        ("limit=-1", "invalid_limit", "limit"),
        ("limit=ten", "invalid_limit", "limit"),
        ("limit=99999999999999999999", "invalid_limit", "limit"),
        ("limit=1&limit=2", "duplicate_field", "limit"),
        ("consistency=eventual", "invalid_consistency", "consistency"),
        ("min_index=-1", "invalid_index", "min_index"),
        ("min_index=x", "invalid_index", "min_index"),
        ("colour=red", "unknown_field", "colour"),
    ];
    for list in lists {
        for (query, code, field) in cases {
            assert_problem(&judge.node().get(&format!("{list}?{query}")), 400, code, Some(field));
        }
    }
    for (query, code, field) in [
        ("account=a%20b", "invalid_account_id", "account"),
        ("status=maybe", "invalid_status", "status"),
        ("currency=eur", "invalid_currency", "currency"),
        ("from_time=yesterday", "invalid_time", "from_time"),
        ("to_time=2026-13-01T00:00:00Z", "invalid_time", "to_time"),
        ("order_id=", "invalid_order", "order_id"),
        ("status=authorised", "invalid_status", "status"),
    ] {
        assert_problem(&judge.node().get(&format!("/v1/payments?{query}")), 400, code, Some(field));
    }
    for bad in ["from_index=-1", "from_index=9223372036854775808", "from_index=x"] {
        assert_problem(&judge.node().get(&format!("/v1/ledger?{bad}")), 400, "invalid_index", Some("from_index"));
    }
    judge.assert_nothing_moved();
}

#[test]
fn a_cursor_is_one_that_the_same_list_gave() {
    let judge = Judge::new();
    for (key, to) in [("1", "a"), ("2", "a"), ("3", "b")] {
        judge.node().pay(key, "external:x", to, 1).expect(201);
    }
    let lists = ["/v1/payments", "/v1/accounts", "/v1/accounts/a/statement"];
    let cursors: Vec<String> = lists
        .iter()
        .map(|list| {
            judge.node().get(&format!("{list}?limit=1")).expect(200)["next_cursor"].as_str().unwrap().to_owned()
        })
        .collect();
    for (at, list) in lists.iter().enumerate() {
        let made_up = ["", "x", "p", "pzz", "s00", "%00", "p3", "💶"].map(str::to_owned);
        let foreign = cursors.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, cursor)| cursor.clone());
        for cursor in made_up.into_iter().chain(foreign) {
            let answer = judge.node().get(&format!("{list}?cursor={cursor}"));
            assert_problem(&answer, 400, "invalid_cursor", Some("cursor"));
        }
    }
}

#[test]
fn overdrafts_of_no_known_kind_are_refused() {
    let judge = Judge::new();
    for bad in [
        r#""some""#,
        r#""limit:0""#,
        r#""limit:-5""#,
        r#""limit:""#,
        r#""limit:1.5""#,
        "5",
        r#""LIMIT:5""#,
        r#""limit:9223372036854775808""#,
        r#""limit:+5""#,
    ] {
        let open = Request::post("/v1/accounts").key("k").json(format!(r#"{{"id":"a","overdraft":{bad}}}"#));
        let change = Request::new("PATCH", "/v1/accounts/a").key("k").json(format!(r#"{{"overdraft":{bad}}}"#));
        for request in [open, change] {
            assert_problem(&judge.node().send(&request), 400, "invalid_overdraft", Some("overdraft"));
        }
    }
    let nothing = Request::new("PATCH", "/v1/accounts/a").key("k").json("{}");
    assert_problem(&judge.node().send(&nothing), 400, "nothing_to_change", None);
    for bad in [r#""open""#, r#""FROZEN""#, "1", "true", "{}"] {
        let change = Request::new("PATCH", "/v1/accounts/a").key("k").json(format!(r#"{{"status":{bad}}}"#));
        assert_problem(&judge.node().send(&change), 400, "invalid_status", Some("status"));
    }
    let outside = Request::post("/v1/accounts").key("k").json(r#"{"id":"external:card","overdraft":"none"}"#);
    assert_problem(&judge.node().send(&outside), 400, "invalid_overdraft", Some("overdraft"));
    judge.assert_nothing_moved();
}

#[test]
fn a_write_is_json_and_has_no_query() {
    let judge = Judge::new();
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"] {
        let request = Request::post("/v1/payments").key("k").header("Content-Type", kind).body(with("amount", "5"));
        assert_problem(&judge.node().send(&request), 415, "unsupported_media_type", Some("Content-Type"));
    }
    let request = Request::post("/v1/payments").key("k").body(with("amount", "5"));
    assert_problem(&judge.node().send(&request), 415, "unsupported_media_type", Some("Content-Type"));
    let request = Request::post("/v1/payments?force=true").key("k").json(with("amount", "5"));
    assert_problem(&judge.node().send(&request), 400, "unknown_field", Some("force"));
    judge.assert_nothing_moved();

    let charset = Request::post("/v1/payments").key("k").header("Content-Type", "Application/JSON; charset=utf-8");
    judge.node().send(&charset.body(with("amount", "5"))).expect(201);
}

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    let judge = Judge::new();
    let other = "01890a5d-ac96-774b-bcce-b302099a8057";
    for path in ["/", "/v1", "/v1/payment", "/v1/payments/", "/v2/payments", "/v1/payments/x/y", "/V1/payments"] {
        assert_problem(&judge.node().get(path), 404, "not_found", None);
    }
    assert_problem(&judge.node().get(&format!("/v1/payments/{other}")), 404, "payment_not_found", None);
    assert_problem(&judge.node().get("/v1/accounts/nobody"), 404, "account_not_found", None);
    for id in ["x", "123", &other[..35], "01890a5d-ac96-774b-bcce-b302099a805g"] {
        assert_problem(&judge.node().get(&format!("/v1/payments/{id}")), 400, "invalid_payment_id", Some("id"));
    }
    for (method, path) in [
        ("DELETE", "/v1/payments"),
        ("PUT", "/v1/payments"),
        ("POST", "/v1/payments/by-key/k"),
        ("POST", "/v1/ledger"),
        ("DELETE", "/v1/accounts/a"),
        ("GET", "/v1/payments/01890a5d-ac96-774b-bcce-b302099a8057/capture"),
        ("GET", "/v1/payments/by-key/k/fence"),
        ("PUT", "/v1/payments/batch"),
        ("POST", "/v1/cluster"),
        ("GET", "/v1/cluster/leader/transfer"),
        ("POST", "/livez"),
    ] {
        assert_problem(&judge.node().send(&Request::new(method, path)), 405, "method_not_allowed", None);
    }
    judge.assert_nothing_moved();
}

#[test]
fn invalid_http_does_not_affect_other_clients() {
    let judge = Judge::new();
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PAY / HTTP/9.9\r\n\r\n",
    ] {
        // An answer and a closed connection are both fine.
        if let Ok(answer) = Connection::to(judge.node().port).send_bytes(noise) {
            assert!((400..600).contains(&answer.status), "{answer:?}");
        }
    }
    let huge = Request::get("/v1/payments").header("X-Large", "x".repeat(1 << 20));
    if let Ok(answer) = judge.node().try_send(&huge) {
        assert_eq!(answer.status, 431);
    }
    judge.assert_nothing_moved();
    assert_eq!(judge.node().get("/livez").status, 200);
}

#[test]
fn a_bad_change_of_a_payment_is_refused_by_the_field() {
    let judge = Judge::new();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let send = |call: &str, body: &str| {
        judge.node().send(&Request::post(format!("/v1/payments/{id}/{call}")).key("k").json(body))
    };
    for call in ["capture", "refund"] {
        for bad in ["0", "-1", "150.755", "1e400", r#""5""#, "9223372036854775808"] {
            let answer = send(call, &format!(r#"{{"amount":{bad}}}"#));
            assert_problem(&answer, 400, "invalid_amount", Some("amount"));
        }
        assert_problem(&send(call, r#"{"amount":NaN}"#), 400, "invalid_json", None);
        assert_problem(&send(call, r#"{"reason":"x"}"#), 400, "unknown_field", Some("reason"));
    }
    assert_problem(&send("void", r#"{"amount":5}"#), 400, "unknown_field", Some("amount"));
    let no_id = judge.node().send(&Request::post("/v1/payments/x/void").key("k"));
    assert_problem(&no_id, 400, "invalid_payment_id", Some("id"));
    let transfer = Request::post("/v1/cluster/leader/transfer").json(r#"{"to":5}"#);
    assert_problem(&judge.node().send(&transfer), 400, "invalid_node_id", Some("to"));
    judge.assert_nothing_moved();
}

#[test]
fn a_bad_item_of_a_batch_names_its_position_and_the_field() {
    let judge = Judge::new();
    let good = with("amount", "5");
    let send = |kind: &str, body: String| {
        judge.node().send(&Request::post("/v1/payments/batch").key("k").header("Content-Type", kind).body(body))
    };
    let refuses = |bad: &str, code: &str, field: &str| {
        let items = [&*good, &good, bad, &good];
        for answer in [
            send("application/json", format!("[{}]", items.join(","))),
            send("application/json", format!(r#"{{"payments":[{}],"atomic":true}}"#, items.join(","))),
            send("application/x-ndjson", items.join("\n")),
        ] {
            assert_problem(&answer, 400, code, Some(field));
            assert_eq!(answer.json()["item"], 2);
        }
    };
    refuses(&with("amount", "150.755"), "invalid_amount", "payments[2].amount");
    refuses(&with("amount", "NaN"), "invalid_json", "payments[2]");
    refuses(&with("currency", r#""💶""#), "invalid_currency", "payments[2].currency");
    refuses(&with("colour", "1"), "unknown_field", "payments[2].colour");
    refuses(&with("idempotency_key", r#""é""#), "invalid_idempotency_key", "payments[2].idempotency_key");
    refuses("7", "invalid_json", "payments[2]");
    let keyed = with("idempotency_key", r#""own""#);
    let twice = send("application/json", format!("[{keyed},{good},{keyed}]"));
    assert_problem(&twice, 400, "duplicate_idempotency_key", Some("payments[2].idempotency_key"));
    assert_problem(&send("application/json", "[]".to_owned()), 400, "empty_batch", Some("payments"));
    assert_problem(&send("application/json", format!("[{good}")), 400, "invalid_json", None);
    assert_problem(&send("text/csv", format!("[{good}]")), 415, "unsupported_media_type", Some("Content-Type"));
    judge.assert_nothing_moved();
}

#[test]
fn a_batch_of_ten_megabytes_is_read_and_one_over_sixteen_is_refused() {
    let judge = Judge::new();
    // The invalid payment comes after a thousand long ones: all of the body is read.
    let long =
        with("description", &format!("\"{}\"", "x".repeat(500))).replace("\":", &format!("\":{}", " ".repeat(2_000)));
    let mut items = vec![long; 1_000];
    items.push(with("amount", "0"));
    let body = format!("[{}]", items.join(","));
    assert!(body.len() > 8 << 20, "{}", body.len());
    let answer = judge.node().send(&Request::post("/v1/payments/batch").key("k").json(body));
    assert_problem(&answer, 400, "invalid_amount", Some("payments[1000].amount"));
    let head = Request::post("/v1/payments/batch").key("k").header("Content-Type", "application/json").head();
    let announced = [head, b"content-length: 16777217\r\n\r\n".to_vec()].concat();
    let answer = Connection::to(judge.node().port).send_bytes(&announced).unwrap();
    assert_problem(&answer, 413, "body_too_large", None);
    judge.assert_nothing_moved();
}
