//! The description holds: it is the one that is checked in, what the handlers write reads back through it, and it knows
//! every code.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::json::write_object;
use super::super::{docs, render, samples};
use super::*;
use crate::runtime::AccountSnapshot;
use quorapay_core::domain::{
    AccountChangeKind, AccountState, AccountStatus, LogIndex, MinorUnits, Overdraft, PaymentChangeKind,
    PaymentChangeOutcome, PaymentOutcome, Rejection,
};
use quorapay_core::replication::{Configuration, Entry, EntryBody};

fn description() -> Value {
    serde_json::from_slice(&docs::DESCRIPTION).expect("JSON")
}

#[test]
fn the_description_that_is_checked_in_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &*docs::DESCRIPTION).expect("written");
    }
    let checked_in = std::fs::read(&path).unwrap_or_default();
    assert!(checked_in == *docs::DESCRIPTION, "docs/openapi.json is out of date; `make openapi` writes it anew");
}

#[test]
fn the_description_is_openapi_3_1_with_every_reference_to_something_in_it() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    let text = description.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().expect("an end");
        assert!(description.pointer(pointer).is_some(), "there is nothing at {pointer}");
    }
}

#[test]
fn every_operation_says_what_it_does_and_what_it_answers() {
    for (path, item) in description()["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            for member in ["summary", "description", "operationId", "tags", "responses"] {
                assert!(operation.get(member).is_some(), "{method} {path} has no {member}");
            }
            let content = operation["responses"].as_object().expect("responses").values();
            for json in content.filter_map(|response| response["content"].get("application/json")) {
                let exempt = path == "/openapi.json";
                assert!(exempt || json.get("example").is_some(), "{method} {path} has no example of an answer");
            }
        }
    }
}

/// Whatever the API's code answers as a problem, callers can look up.
#[test]
fn every_code_that_is_answered_is_described() {
    let described = description().to_string();
    let mut unknown = Vec::new();
    for code in codes_in_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("http")) {
        if !described.contains(&format!("`{code}`")) {
            unknown.push(code);
        }
    }
    // Answers to calls that are none of the operations.
    unknown.retain(|code| !["not_found", "method_not_allowed"].contains(&code.as_str()));
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn codes_in_source(folder: &Path) -> Vec<String> {
    let mut codes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source");
            let own = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let given = own.split("bad_request(\"").chain(own.split("StatusCode::").skip(1).filter_map(after_status));
            let word = |rest: &str| rest.split('"').next().unwrap_or_default().to_owned();
            let is_code = |code: &String| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            codes.extend(given.skip(1).map(word).filter(is_code));
        }
    }
    codes
}

/// What follows a status in `Problem::new(StatusCode::X, "code", …)`.
fn after_status(rest: &str) -> Option<&str> {
    rest.split_once(", \"").filter(|(status, _)| !status.contains([' ', ')'])).map(|(_, rest)| rest)
}

/// What was written reads back through the type that describes it, and nothing of it is lost.
#[track_caller]
fn fits<T: DeserializeOwned + Serialize>(written: &Value) {
    let read: T = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{error}: {written:#}"));
    assert_eq!(serde_json::to_value(read).expect("JSON"), *written);
}

fn every_kind_of_entry() -> Vec<Entry> {
    let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
    let outcomes = [samples::succeeded(), refused, PaymentOutcome::Repeated { index: LogIndex(3) }];
    let capture = PaymentChangeKind::Capture(Some(MinorUnits::new(1_000)));
    let not_applied = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
    let status = AccountChangeKind::Change { overdraft: None, status: Some(AccountStatus::Frozen) };
    vec![
        samples::start_entry(),
        samples::entry(EntryBody::Configuration(Configuration::default())),
        samples::payment_entry(samples::request(), samples::succeeded()),
        samples::payment_entry(samples::held_request(), samples::authorized()),
        samples::payment_entry(samples::request(), refused),
        samples::change_entry(capture, samples::applied(1_000)).0,
        samples::change_entry(capture, not_applied).0,
        samples::expiry_entry(),
        samples::batch_entry(false, &outcomes),
        samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None)),
        samples::account_entry("shop", status),
        samples::fence_entry("k"),
    ]
}

#[test]
fn whatever_an_entry_holds_it_is_shown_as_described() {
    for entry in every_kind_of_entry() {
        fits::<ledger::RawEntry>(&samples::rendered(|out| render::ledger_entry(out, &entry)));
    }
}

#[test]
fn payments_and_their_changes_are_shown_as_described() {
    for entry in every_kind_of_entry() {
        if let Some(shown) = render::ShownPayment::decided_at(&entry, 0) {
            fits::<Payment>(&samples::rendered(|out| render::payment(out, &shown)));
        }
        if let Some(quorapay_core::domain::Operation::PaymentChange(change)) = entry.operation() {
            fits::<ChangedPayment>(&samples::rendered(|out| render::change(out, &entry, change)));
        }
    }
    let (entry, _) = samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1_250));
    fits::<payments::HistoryStep>(&samples::rendered(|out| render::history_step(out, &entry)));
    fits::<payments::HistoryStep>(&samples::rendered(|out| render::history_step(out, &samples::expiry_entry())));
}

#[test]
fn accounts_are_shown_as_described() {
    let account = AccountSnapshot { id: samples::account("shop"), state: AccountState::default() };
    fits::<accounts::Account>(&samples::rendered(|out| render::account(out, &account)));
    for change in [
        AccountChangeKind::Open(Overdraft::Unlimited),
        AccountChangeKind::Change { overdraft: Some(Overdraft::None), status: Some(AccountStatus::Closed) },
    ] {
        let entry = samples::account_entry("shop", change);
        let written = samples::rendered(|out| render::account_change(out, &entry, samples::account_change_of(&entry)));
        fits::<ChangedAccount>(&written);
    }
}

#[test]
fn a_node_describes_itself_as_described() {
    fits::<node::NodeView>(&serde_json::to_value(samples::status()).expect("JSON"));
}

#[test]
fn a_problem_is_as_described() {
    let problem = crate::http::problem::Problem::bad_request("invalid_amount", "too small").field("amount");
    fits::<problems::Problem>(&serde_json::from_slice(problem.into_answer().body()).expect("JSON"));
}

#[test]
fn the_examples_are_as_described() {
    fits::<NewAccount>(example("new_account"));
    fits::<ChangedAccount>(example("opened_account"));
    fits::<ChangedAccount>(example("changed_account"));
    fits::<AccountAtIndex>(example("account"));
    fits::<AccountPage>(example("account_page"));
    fits::<Statement>(example("statement"));
    fits::<Payment>(example("payment"));
    fits::<PaymentWithHistory>(example("payment_with_history"));
    fits::<PaymentPage>(example("payment_page"));
    for change in ["capture", "void", "refund"] {
        fits::<ChangedPayment>(example(change));
    }
    fits::<DecidedBatch>(example("batch"));
    fits::<KeyState>(example("key"));
    fits::<KeyState>(example("fence"));
    fits::<LedgerPage>(example("ledger"));
    fits::<ClusterView>(example("cluster"));
    fits::<Ready>(example("ready"));
}

#[test]
fn an_object_with_a_member_that_is_not_described_does_not_fit() {
    let mut out = Vec::new();
    write_object(&mut out, |object| {
        object.field("leader", "node1").field("more", &1);
    });
    assert!(serde_json::from_slice::<TransferDone>(&out).is_err());
}
