//! Tests of the description: it is the one that is checked in, examples and answers fit its types, and it has every
//! code.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{DESCRIPTION as SERVED, render, samples};
use super::*;
use crate::runtime::PeerStatus;
use quorapay_api::{
    Account, AccountAtIndex, AccountPage, ApiKeyList, ApiKeyRotation, ChangeByKey, ChangedAccount, ChangedApiKey,
    ChangedPayment, ClusterView, Code, DecidedBatch, HistoryStep, KeyLookup, LedgerEntry, LedgerPage, NewAccount,
    NewApiKey, NewLeader, NodeView, Payment, PaymentPage, PaymentWithHistory, Problem, Readiness, Statement,
};
use quorapay_core::domain::{
    AccountChangeKind, AccountState, AccountStatus, ApiKeyChangeKind, LogIndex, MinorUnits, Overdraft,
    PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome, Rejection,
};
use quorapay_core::replication::{Configuration, Entry, EntryBody};

fn description() -> Value {
    serde_json::from_slice(&SERVED).expect("JSON")
}

#[test]
fn the_description_that_is_checked_in_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &*SERVED).expect("written");
    }
    let checked_in = std::fs::read(&path).unwrap_or_default();
    assert!(checked_in == *SERVED, "docs/openapi.json is out of date; `make openapi` writes it anew");
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
            for member in ["summary", "description", "operationId", "tags", "responses", "security"] {
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

#[test]
fn every_code_that_is_answered_is_described() {
    let described = description().to_string();
    // Only for paths that are not described, and for the earlier systems, whose errors have no code.
    let elsewhere = [Code::NotFound, Code::MethodNotAllowed, Code::InvalidField];
    for code in Code::all().filter(|code| !elsewhere.contains(code)) {
        assert!(described.contains(&format!("`{code}`")), "{code}");
    }
}

/// Asserts that a value can be read as `T` without losing a field.
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
        samples::api_key_entry(samples::api_key_creation()),
        samples::api_key_entry(ApiKeyChangeKind::Revoke),
    ]
}

#[test]
fn whatever_an_entry_holds_it_is_shown_as_described() {
    for entry in every_kind_of_entry() {
        fits::<LedgerEntry<'_>>(&samples::shown(&render::ledger_entry(&entry)));
    }
}

#[test]
fn payments_and_their_changes_are_shown_as_described() {
    for entry in every_kind_of_entry() {
        if let Some(payment) = render::decided_at(&entry, 0) {
            fits::<Payment<'_>>(&samples::shown(&payment));
        }
        if let Some(quorapay_core::domain::Operation::PaymentChange(change)) = entry.operation() {
            fits::<ChangeByKey<'_>>(&samples::shown(&render::change_by_key(&entry, change)));
        }
    }
    let (entry, _) = samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1_250));
    fits::<HistoryStep>(&samples::shown(&render::history_step(&entry)));
    fits::<HistoryStep>(&samples::shown(&render::history_step(&samples::expiry_entry())));
}

#[test]
fn accounts_are_shown_as_described() {
    fits::<Account>(&samples::shown(&render::account(samples::account("shop"), &AccountState::default())));
    for change in [
        AccountChangeKind::Open(Overdraft::Unlimited),
        AccountChangeKind::Change { overdraft: Some(Overdraft::None), status: Some(AccountStatus::Closed) },
    ] {
        let entry = samples::account_entry("shop", change);
        fits::<ChangedAccount>(&samples::shown(&render::changed_account(&entry, samples::account_change_of(&entry))));
    }
}

#[test]
fn a_node_describes_itself_as_described() {
    let status = samples::status();
    let peer = PeerStatus { node_id: status.node_id.clone(), peer_url: String::new(), status: Some(status) };
    fits::<NodeView>(&samples::shown(&render::node_view(peer)));
}

#[test]
fn a_problem_is_as_described() {
    let problem = crate::http::problem::Problem::bad_request(Code::InvalidAmount, "too small").field("amount");
    fits::<Problem<'_>>(&serde_json::from_slice(problem.into_answer().body()).expect("JSON"));
}

#[test]
fn the_examples_are_as_described() {
    fits::<NewAccount>(example("new_account"));
    fits::<ChangedAccount>(example("opened_account"));
    fits::<ChangedAccount>(example("changed_account"));
    fits::<AccountAtIndex>(example("account"));
    fits::<AccountPage>(example("account_page"));
    fits::<Statement<'_>>(example("statement"));
    fits::<Payment<'_>>(example("payment"));
    fits::<PaymentWithHistory<'_>>(example("payment_with_history"));
    fits::<PaymentPage<'_>>(example("payment_page"));
    for change in ["capture", "void", "refund"] {
        fits::<ChangedPayment<'_>>(example(change));
    }
    fits::<DecidedBatch<'_>>(example("batch"));
    fits::<KeyLookup<'_>>(example("key"));
    fits::<KeyLookup<'_>>(example("fence"));
    fits::<LedgerPage<'_>>(example("ledger"));
    fits::<ClusterView>(example("cluster"));
    fits::<Readiness>(example("ready"));
    fits::<NewApiKey>(example("new_api_key"));
    fits::<ApiKeyRotation>(example("api_key_rotation"));
    for change in ["created", "rotated", "revoked"] {
        fits::<ChangedApiKey>(example(&format!("{change}_api_key")));
    }
    fits::<ApiKeyList>(example("api_keys"));
}

#[test]
#[should_panic(expected = "left == right")]
fn an_object_with_a_member_that_is_not_described_does_not_fit() {
    fits::<NewLeader>(&json!({ "leader": "node1", "more": 1 }));
}
