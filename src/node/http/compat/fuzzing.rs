//! Fuzzes the bodies of the earlier systems, for [`crate::fuzzing`].

use serde::Deserialize;
use serde_json::Value;

use super::super::problem::Problem;
use super::{syncpay, transfer};
use quorapay_core::domain::PaymentRequest;

/// The bodies of `POST /payment` and `POST /transfer`: the amount equals its digits, and a request that is written
/// again is read as the same request.
pub(in crate::http) fn bodies(bytes: &[u8]) {
    match syncpay::parse(bytes) {
        Err(problem) => refused(problem),
        Ok((id, request)) => {
            says(bytes, &request);
            let named = id.as_ref().map_or("null".to_owned(), |id| Value::from(id.as_str()).to_string());
            let (from, to) = (&request.from, &request.to);
            let fields = format!(r#""sender":"{from}","receiver":"{to}","transaction_id":{named}"#);
            assert_eq!(syncpay::parse(written(&request, &fields).as_bytes()).expect("read again"), (id, request));
        }
    }
    match transfer::parse(bytes) {
        Err(problem) => refused(problem),
        Ok(request) => {
            says(bytes, &request);
            let fields = format!(r#""from_id":{},"to_id":{}"#, request.from, request.to);
            assert_eq!(transfer::parse(written(&request, &fields).as_bytes()).expect("read again"), request);
        }
    }
}

/// Compares the amount with the number in the body as a float, as far as floats are exact.
fn says(bytes: &[u8], request: &PaymentRequest) {
    let Said { amount: given } = serde_json::from_slice(bytes).expect("what is read as a payment has an amount");
    let units = request.amount.get();
    let read: f64 = request.currency.format(request.amount).parse().expect("a decimal number");
    assert!((given - read).abs() <= given * 1e-12, "{given} was read as {units} of {}", request.currency.code());
}

#[derive(Deserialize)]
struct Said {
    amount: f64,
}

fn written(request: &PaymentRequest, fields: &str) -> String {
    let (amount, currency) = (request.currency.format(request.amount), request.currency.code());
    format!(r#"{{{fields},"amount":{amount},"currency":"{currency}"}}"#)
}

/// A refusal is a 400 that says what was wrong.
fn refused(problem: Problem) {
    let code = problem.code();
    let answer = problem.into_plain_answer();
    assert_eq!(answer.status().as_u16(), 400, "{code}");
    let body: Value = serde_json::from_slice(answer.body()).expect("a refusal is JSON");
    assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{code}");
}
