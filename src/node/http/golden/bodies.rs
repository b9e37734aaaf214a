//! What is read from bodies, and what is said of bad ones.

use super::super::change_body::{self, ChangeName};
use super::super::problem::Problem;
use super::super::read_json::read_object;
use super::super::{accounts, compat, payment_body, samples};
use super::Shapes;
use quorapay_api::LeadershipTransfer;
use quorapay_core::domain::OperationRequest;

/// Bodies of every call.
const BODIES: &[&str] = &[
    "",
    "null",
    "[]",
    "{",
    "{}",
    r#"{"from":"a","from":"b"}"#,
    r#"{"from":"a","to":"a","amount":5,"currency":"EUR"}"#,
    r#"{"from":"a b","to":"a","amount":5,"currency":"EUR"}"#,
    r#"{"from":7,"to":"a","amount":5,"currency":"EUR"}"#,
    r#"{"from":"a","to":"b","amount":5,"currency":"euro"}"#,
    r#"{"from":"a","to":"b","amount":5}"#,
    r#"{"from":"a","to":"b","amount":5,"currency":"EUR"} x"#,
    r#"{"amount":40}"#,
    r#"{"amount":0}"#,
    r#"{"amount":"5"}"#,
    r#"{"amount":1e400}"#,
    r#"{"id":"a b"}"#,
    r#"{"id":"shop","overdraft":"limit:0"}"#,
    r#"{"id":"shop","overdraft":7}"#,
    r#"{"id":"external:a","overdraft":"none"}"#,
    r#"{"id":"shop","name":"x"}"#,
    r#"{"status":"open"}"#,
    r#"{"status":5}"#,
    r#"{"status":null}"#,
    r#"{"status":{}}"#,
    r#"{"to":"no node"}"#,
    r#"{"to":5}"#,
    r#"{"from_id":1,"to_id":"2","amount":1}"#,
    r#"{"from_id":1,"to_id":2,"amount":1.005}"#,
    r#"{"sender":"a","receiver":"b c","amount":1}"#,
    r#"{"sender":"a","receiver":"b","amount":"1"}"#,
    r#"{"sender":"a","receiver":"b","amount":1,"transaction_id":""}"#,
];

/// What else a payment may say.
const FIELDS: &[&str] = &[
    r#""order":{"id":"o","total":1,"extra":1}"#,
    r#""order":{"id":"o"}"#,
    r#""order":{"total":1}"#,
    r#""order":["o",1]"#,
    r#""order":"o""#,
    r#""order":{"id":"","total":1}"#,
    r#""order":{"id":"o","total":0}"#,
    r#""order":{"id":"o","total":1.5}"#,
    r#""order":{"id":"o","total":1,"total":2}"#,
    r#""extra":1"#,
    r#""idempotency_key":"k""#,
    r#""idempotency_key":null"#,
    r#""idempotency_key":7"#,
    r#""idempotency_key":"""#,
    r#""description":7"#,
    r#""metadata":[]"#,
    r#""metadata":7"#,
    r#""metadata":{"a":1,"a":2}"#,
    r#""metadata":{"b":[{"a":1,"a":2}]}"#,
    r#""metadata":{"a":9007199254740993.0}"#,
    r#""metadata":{"a":1e999}"#,
    r#""capture":"later""#,
    r#""capture":true"#,
    r#""capture":null"#,
    r#""capture":{}"#,
    r#""capture":1"#,
];

const AMOUNTS: &[&str] =
    &["0", "-1", "1.0", "1e3", "\"5\"", "null", "true", "[5]", "{}", "9223372036854775808", "1e400", "05"];

const HOLD_SECONDS: &[&str] = &["0", "7776001", "-1", "1.5", "\"60\"", "1e2", "4294967297", "true", "null", "60"];

/// Bad bodies are refused in the same words.
pub(super) fn refusals(shapes: &mut Shapes) {
    for body in bodies() {
        let short: String = body.chars().take(120).collect();
        for (reader, problem) in every_reader(body.as_bytes()) {
            let shown = match problem {
                None => b"taken".to_vec(),
                Some(problem) => problem.into_answer().body().to_vec(),
            };
            shapes.push((format!("{reader} {short}"), shown));
        }
    }
}

fn bodies() -> Vec<String> {
    let payment = |fields: &str| format!(r#"{{"from":"a","to":"b","amount":5,"currency":"EUR",{fields}}}"#);
    let mut bodies: Vec<String> = BODIES.iter().map(|&body| body.to_owned()).collect();
    bodies.extend(FIELDS.iter().map(|fields| payment(fields)));
    bodies.extend(HOLD_SECONDS.iter().flat_map(|seconds| {
        [
            payment(&format!(r#""capture":"manual","expires_in":{seconds}"#)),
            payment(&format!(r#""expires_in":{seconds}"#)),
        ]
    }));
    let amount = |amount| format!(r#"{{"from":"a","to":"b","amount":{amount},"currency":"EUR"}}"#);
    bodies.extend(AMOUNTS.iter().map(amount));
    bodies.push(payment(&format!(r#""description":"{}""#, "x".repeat(501))));
    bodies.push(payment(&format!(r#""metadata":{{"a":"{}"}}"#, "x".repeat(5_000))));
    bodies.push(payment(&format!(r#""metadata":{}1{}"#, "{\"a\":".repeat(40), "}".repeat(40))));
    bodies
}

fn every_reader(body: &[u8]) -> Vec<(&'static str, Option<Problem>)> {
    let account = samples::account("shop");
    vec![
        ("payment body", payment_body::parse(body).err()),
        ("item body", payment_body::parse_item(body).err()),
        ("capture body", change_body::parse(ChangeName::Capture, body).err()),
        ("void body", change_body::parse(ChangeName::Void, body).err()),
        ("account body", read_object(body).and_then(accounts::opening).err()),
        ("patch body", read_object(body).and_then(|body| accounts::changing(&account, body)).err()),
        ("transfer body", read_object::<LeadershipTransfer>(body).err()),
        ("syncpay body", compat::golden::syncpay_refusal(body)),
        ("ledger transfer body", compat::golden::transfer_refusal(body)),
    ]
}

/// A request's fingerprint is in the ledger: the same body must be the same request for ever.
pub(super) fn requests(shapes: &mut Shapes) {
    for body in [
        r#"{"from":"a","to":"b","amount":5,"currency":"EUR"}"#,
        r#"{"from":"a","to":"b","amount":5,"currency":"EUR","capture":"manual"}"#,
        r#"{"from":"a","to":"b","amount":5,"currency":"EUR","capture":"manual","expires_in":60,"description":"tea \u2615",
            "order":{"id":"o 1","total":900},"metadata":{"b":[1,2.5,null,1e2,-0.0],"a":{"z":true,"y":"x"}}}"#,
        r#"{"from":"a","to":"b","amount":5,"currency":"EUR","expires_in":null,"description":null,"order":null,"metadata":null}"#,
    ] {
        let request = payment_body::parse(body.as_bytes()).expect("valid");
        let fingerprint = OperationRequest::Payment(request.clone()).fingerprint();
        shapes
            .push((format!("request {}", body.replace('\n', "")), format!("{request:?} {fingerprint:?}").into_bytes()));
    }
}
