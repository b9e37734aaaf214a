//! Every shape of answer, byte for byte: clients keep answers and compare them, and a repeat must be the same bytes.
//!
//! `UPDATE_GOLDEN=1 cargo test -p quorapay-node --lib golden` writes `golden.txt` anew.

mod bodies;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use serde::Serialize;

use super::problem::Problem;
use super::read::List;
use super::render;
use super::write_json::append_json;
use super::{batches, changes, cluster, compat, health, samples};
use crate::runtime::{
    AccountSnapshot, CommittedWrite, Cursor, NodeStatus, Page, PaymentRecord, PeerStatus, ReadError, Role,
    StatementLine, SubmitError, TransferError,
};
use quorapay_api::{
    AccountAtIndex, AccountPage, Alive, Code, ExportTrailer, KeyLookup, KeyState, LedgerPage, NewLeader, Rfc3339,
};
use quorapay_core::domain::{
    AccountChangeKind, AccountOutcome, AccountState, AccountStatus, ApiKeyChangeKind, Balance, Currency, Epoch,
    LogIndex, MinorUnits, Operation, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome,
    PaymentRequest, PaymentState, PostingKind, Rejection, Timestamp,
};
use quorapay_core::replication::{Configuration, Entry, EntryBody, StoreId, Voter};

const CURSOR: Cursor = Cursor { index: LogIndex(7), item: 3 };
const FROZEN: PaymentOutcome = PaymentOutcome::Rejected(Rejection::AccountFrozen);

/// What is shown, by name.
type Shapes = Vec<(String, Vec<u8>)>;

fn show(shapes: &mut Shapes, name: impl Into<String>, value: &impl Serialize) {
    add(shapes, name, |out| append_json(out, value));
}

fn add(shapes: &mut Shapes, name: impl Into<String>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    shapes.push((name.into(), out));
}

fn committed(entry: Entry) -> CommittedWrite {
    CommittedWrite {
        entry: Arc::new(entry),
        replayed: false,
        leader: samples::node("node1"),
        epoch: Epoch(2),
        time_error_ms: Some(51),
    }
}

fn plain_request() -> PaymentRequest {
    let currency = Currency::parse("JPY").expect("valid");
    PaymentRequest::plain(samples::account("a"), samples::account("b"), MinorUnits::new(i64::MAX), currency)
}

/// Free text with everything that JSON escapes.
fn strange_request() -> PaymentRequest {
    PaymentRequest {
        description: Some("\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\"\\/é\u{2028}\u{1f600}".into()),
        metadata: Some(r#"{"a":"\u0001\"","b":{"c":[null,true,1.5,-7,18446744073709551615]},"é":""}"#.into()),
        ..samples::request()
    }
}

fn payment_entries() -> Vec<(&'static str, Entry)> {
    vec![
        ("succeeded", samples::payment_entry(samples::request(), samples::succeeded())),
        ("plain", samples::payment_entry(plain_request(), samples::succeeded())),
        ("strange", samples::payment_entry(strange_request(), samples::succeeded())),
        ("authorized", samples::payment_entry(samples::held_request(), samples::authorized())),
        ("rejected", samples::payment_entry(samples::request(), FROZEN)),
    ]
}

fn payment_changes() -> Vec<(&'static str, Entry)> {
    let part = Some(MinorUnits::new(1_000));
    let refused = |rejection| PaymentChangeOutcome::Rejected(rejection);
    let mut not_there = samples::change_entry(PaymentChangeKind::Void, refused(Rejection::PaymentNotFound)).0;
    if let EntryBody::Operation(Operation::PaymentChange(change)) = &mut not_there.body {
        change.before = None;
    }
    vec![
        ("capture", samples::change_entry(PaymentChangeKind::Capture(part), samples::applied(1_000)).0),
        ("capture of all", samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1_250)).0),
        ("void", samples::change_entry(PaymentChangeKind::Void, samples::applied(1_250)).0),
        ("refund", samples::change_entry(PaymentChangeKind::Refund(part), samples::applied(5)).0),
        ("refused", samples::change_entry(PaymentChangeKind::Capture(part), refused(Rejection::AmountExceedsHeld)).0),
        ("of no payment", not_there),
    ]
}

fn account_changes() -> Vec<(&'static str, Entry)> {
    let change = |overdraft, status| AccountChangeKind::Change { overdraft, status };
    let limit = Overdraft::Limit(MinorUnits::new(100));
    let mut refused = samples::account_entry("shop", change(Some(Overdraft::None), None));
    if let EntryBody::Operation(Operation::Account(change)) = &mut refused.body {
        change.outcome = AccountOutcome::Rejected(Rejection::OverdraftInUse);
    }
    let mut exists = samples::account_entry("shop", AccountChangeKind::Open(limit));
    if let EntryBody::Operation(Operation::Account(change)) = &mut exists.body {
        change.outcome = AccountOutcome::Rejected(Rejection::AccountExists);
    }
    vec![
        ("open", samples::account_entry("shop", AccountChangeKind::Open(limit))),
        ("open outside", samples::account_entry("external:card", AccountChangeKind::Open(Overdraft::Unlimited))),
        ("overdraft", samples::account_entry("shop", change(Some(Overdraft::Unlimited), None))),
        ("status", samples::account_entry("external:card", change(None, Some(AccountStatus::Frozen)))),
        ("both", samples::account_entry("shop", change(Some(limit), Some(AccountStatus::Closed)))),
        ("refused", refused),
        ("exists", exists),
    ]
}

fn batch_outcomes() -> [PaymentOutcome; 4] {
    [samples::succeeded(), FROZEN, PaymentOutcome::Repeated { index: LogIndex(3) }, samples::authorized()]
}

fn other_entries() -> Vec<(&'static str, Entry)> {
    let voter = |store, url: &str| Voter { store_id: StoreId(store), peer_url: url.to_owned() };
    let voters = [(samples::node("node1"), voter(1, "http://a\"")), (samples::node("node2"), voter(u128::MAX, ""))];
    let mut keyless = samples::batch_entry(false, &[samples::succeeded()]);
    if let EntryBody::Operation(Operation::Batch(batch)) = &mut keyless.body {
        batch.items[0].key = None;
    }
    vec![
        ("epoch start", samples::start_entry()),
        ("no configuration", samples::entry(EntryBody::Configuration(Configuration::default()))),
        ("configuration", samples::entry(EntryBody::Configuration(Configuration { voters: voters.into() }))),
        ("expiry", samples::expiry_entry()),
        ("batch", samples::batch_entry(false, &batch_outcomes())),
        ("keyless batch", keyless),
        ("aborted batch", samples::batch_entry(true, &[samples::succeeded(), FROZEN])),
        ("fence", samples::fence_entry("k \"1\"")),
        ("api key created", samples::api_key_entry(samples::api_key_creation())),
        ("api key revoked", samples::api_key_entry(ApiKeyChangeKind::Revoke)),
    ]
}

fn every_entry() -> Vec<(String, Entry)> {
    let group = |prefix: &'static str, entries: Vec<(&'static str, Entry)>| {
        entries.into_iter().map(move |(name, entry)| (format!("{prefix} {name}"), entry))
    };
    group("payment", payment_entries())
        .chain(group("change", payment_changes()))
        .chain(group("account", account_changes()))
        .chain(group("entry", other_entries()))
        .collect()
}

fn record() -> PaymentRecord {
    let entry = Arc::new(samples::payment_entry(samples::held_request(), samples::authorized()));
    let mut state = PaymentState::decided(&samples::held_request(), samples::authorized()).expect("no repeat");
    (state.held, state.captured, state.refunded) = (MinorUnits::new(250), MinorUnits::new(1_000), MinorUnits::new(5));
    let mut history: Vec<Arc<Entry>> =
        payment_changes().into_iter().take(4).map(|(_, entry)| Arc::new(entry)).collect();
    history.push(Arc::new(samples::expiry_entry()));
    PaymentRecord { entry, item: 0, state, history }
}

fn payments(shapes: &mut Shapes) {
    for (name, entry) in payment_entries() {
        show(shapes, format!("payment {name}"), &render::decided_at(&entry, 0).expect("a payment"));
    }
    let record = record();
    let (_, payment) = render::payment_now(&record).expect("a payment");
    show(shapes, "payment now", &payment);
    show(shapes, "payment with history", &super::payments::with_history(&record, payment.clone()));
    let unchanged = PaymentRecord { history: Vec::new(), ..record.clone() };
    show(shapes, "payment without history", &super::payments::with_history(&unchanged, payment));
    for next_before in [None, Some(CURSOR)] {
        let page = Page { found: vec![record.clone(), record.clone()], next_before };
        show(shapes, format!("payment page {}", next_before.is_some()), &super::payments::payment_page(&page));
    }
    let page = Page { found: Vec::new(), next_before: None };
    show(shapes, "payment page empty", &super::payments::payment_page(&page));
    for (name, entry) in payment_entries() {
        let committed = committed(entry);
        let answer = super::payments::created(&committed, &samples::key("order \"42\""));
        answered(shapes, &format!("made {name}"), Ok(answer));
    }
}

fn answered(shapes: &mut Shapes, name: &str, answer: Result<super::answer::HttpAnswer, Problem>) {
    let answer = answer.unwrap_or_else(Problem::into_answer);
    shapes.push((format!("{name} {}", answer.status().as_u16()), answer.body().to_vec()));
}

fn changes_of_payments(shapes: &mut Shapes) {
    for (name, entry) in payment_changes() {
        let committed = committed(entry);
        let change = samples::payment_change_of(&committed.entry);
        show(shapes, format!("change {name}"), &render::change_by_key(&committed.entry, change));
        answered(shapes, &format!("changed {name}"), Ok(changes::changed(&committed, change)));
    }
}

fn accounts(shapes: &mut Shapes) {
    let balance = |posted, held| Balance { posted: MinorUnits::new(posted), held: MinorUnits::new(held) };
    let state = |overdraft, status, balances: &[(&str, Balance)]| {
        let mut state = AccountState { overdraft, status, ..AccountState::default() };
        for (currency, balance) in balances {
            state.balances.set(Currency::parse(currency).expect("valid"), *balance);
        }
        state
    };
    let widest = Overdraft::Limit(MinorUnits::new(i64::MAX));
    let several = [("USD", balance(-40, 10)), ("EUR", balance(i64::MAX, 0)), ("JPY", balance(0, 0))];
    let snapshot = |id: &str, state| AccountSnapshot { id: samples::account(id), state };
    let snapshots = [
        snapshot("shop", state(widest, AccountStatus::Active, &several)),
        snapshot("none", state(Overdraft::None, AccountStatus::Frozen, &[])),
        snapshot("external:card", state(Overdraft::None, AccountStatus::Closed, &[("USD", balance(i64::MIN, 7))])),
        snapshot("all", state(Overdraft::Unlimited, AccountStatus::Active, &[("USD", balance(1, 0))])),
    ];
    let accounts: Vec<_> = snapshots.iter().map(|shown| render::account(shown.id.clone(), &shown.state)).collect();
    for account in &accounts {
        show(shapes, format!("account {}", account.id), account);
        let at_index = AccountAtIndex { account: account.clone(), index: LogIndex(9) };
        show(shapes, format!("account {} at an index", account.id), &at_index);
    }
    for next_cursor in [None, Some(List::Accounts.cursor("shop"))] {
        let name = format!("account page {}", next_cursor.is_some());
        show(shapes, name, &AccountPage { accounts: accounts.clone(), next_cursor, index: LogIndex(9) });
    }
    for (name, entry) in account_changes() {
        let committed = committed(entry);
        let change = samples::account_change_of(&committed.entry);
        show(shapes, format!("account change {name}"), &render::changed_account(&committed.entry, change));
        answered(shapes, &format!("account changed {name}"), super::accounts::changed(StatusCode::CREATED, &committed));
    }
}

fn statements(shapes: &mut Shapes) {
    let (entry, payment) = samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1));
    let line = |kind, amount| StatementLine {
        cursor: CURSOR,
        timestamp: entry.timestamp,
        payment,
        kind,
        amount: MinorUnits::new(amount),
        currency: Currency::parse("EUR").expect("valid"),
        balance: MinorUnits::new(i64::MIN),
        counterparty: samples::account("external:card"),
    };
    let lines = [line(PostingKind::Payment, -5), line(PostingKind::Capture, 7), line(PostingKind::Refund, i64::MAX)];
    for (line, name) in lines.iter().zip(["payment", "capture", "refund"]) {
        show(shapes, format!("statement line {name}"), &render::statement_entry(line));
    }
    for next_before in [None, Some(CURSOR)] {
        let page = Page { found: lines.to_vec(), next_before };
        let account = samples::account("shop");
        let shown = super::statements::statement_page(&account, &page);
        show(shapes, format!("statement {}", next_before.is_some()), &shown);
    }
}

fn keys_and_what_holds_them(shapes: &mut Shapes) {
    for (name, entry) in every_entry() {
        for key in ["order \"42\"", "change", "account", "batch", "item 1", "k \"1\""] {
            let held = entry.operation().is_some_and(|operation| {
                operation.key() == Some(&samples::key(key))
                    || operation.payments().any(|payment| payment.key == Some(&samples::key(key)))
            });
            if held {
                let found = render::lookup(&entry, &samples::key(key));
                show(shapes, format!("key {key} of {name}"), &found);
                let found = KeyLookup { as_of_index: Some(LogIndex(9)), ..found };
                show(shapes, format!("key {key} of {name} at an index"), &found);
            }
        }
    }
    for (name, state) in [("in_flight", KeyState::InFlight), ("unknown", KeyState::Unknown)] {
        let found = KeyLookup { as_of_index: Some(LogIndex(9)), ..KeyLookup::of_state(state) };
        show(shapes, format!("key {name}"), &found);
    }
}

async fn batches_of_payments(shapes: &mut Shapes) {
    let original = samples::batch_entry(false, &[FROZEN, FROZEN, samples::succeeded()]);
    for (name, atomic, outcomes) in [
        ("decided", false, batch_outcomes().to_vec()),
        ("of one", true, vec![samples::succeeded()]),
        ("aborted", true, vec![PaymentOutcome::Rejected(Rejection::BatchAborted), FROZEN]),
    ] {
        let committed = committed(samples::batch_entry(atomic, &outcomes));
        let Some(Operation::Batch(batch)) = committed.entry.operation() else { panic!("no batch") };
        let mut originals = batches::Originals::default();
        if name == "decided" {
            originals.add(&original, batch, &[2]).expect("it is there");
        }
        let answer = match name {
            "aborted" => batches::aborted(&committed, batch, &originals).await,
            _ => batches::decided(&committed, batch, &originals).await,
        };
        answered(shapes, &format!("batch {name}"), Ok(answer));
    }
}

fn ledger(shapes: &mut Shapes) {
    let entries = every_entry();
    for (name, entry) in &entries {
        show(shapes, format!("ledger {name}"), &render::ledger_entry(entry));
    }
    let page = LedgerPage {
        entries: entries.iter().take(2).map(|(_, entry)| render::ledger_entry(entry)).collect(),
        next_index: LogIndex(8),
    };
    show(shapes, "ledger page", &page);
    for (name, entry) in &entries {
        add(shapes, format!("csv {name}"), |out| {
            render::ledger_rows(out, entry);
        });
    }
    let trailer = ExportTrailer { complete: true, rows: 12, as_of_index: LogIndex(9) };
    add(shapes, "csv header", |out| render::row(out, render::LEDGER_COLUMNS));
    add(shapes, "csv end", |out| render::complete_row(out, 5, &trailer));
    add(shapes, "csv strange", |out| render::row(out, ["", " a ", "a\rb", "\"", "a,b", "é\n"]));
    add(shapes, "csv empty", |out| render::row(out, [""]));
    show(shapes, "ndjson end", &trailer);
}

fn statuses() -> Vec<(&'static str, NodeStatus)> {
    let voters = [(samples::node("node1"), Voter { store_id: StoreId(1), peer_url: "http://a".to_owned() })];
    vec![
        ("leader", samples::status()),
        (
            "voter",
            NodeStatus {
                configuration: Some(Configuration { voters: voters.into() }),
                role: Role::Follower,
                followers: BTreeMap::new(),
                staleness_ms: 17,
                ..samples::status()
            },
        ),
        (
            "damaged",
            NodeStatus {
                role: Role::Quarantined,
                leader: None,
                quarantine: Some("a \"hash\"".to_owned()),
                zookeeper_connected: false,
                ..samples::status()
            },
        ),
        ("learner", NodeStatus { role: Role::Learner, ..samples::status() }),
        ("recovering", NodeStatus { role: Role::Recovering, leader: None, ..samples::status() }),
    ]
}

fn nodes(shapes: &mut Shapes) {
    for (name, status) in statuses() {
        let peers = [
            PeerStatus {
                node_id: status.node_id.clone(),
                peer_url: "http://a".to_owned(),
                status: Some(status.clone()),
            },
            PeerStatus { node_id: samples::node("node2"), peer_url: "http://\"b".to_owned(), status: None },
        ];
        show(shapes, format!("cluster {name}"), &cluster::cluster_view(&status, peers.to_vec()));
        answered(shapes, &format!("ready {name}"), health::readiness(&status));
        compat::golden::nodes(shapes, name, &status, &peers);
    }
    show(shapes, "alive", &Alive { status: "alive".into(), node_id: samples::node("node1") });
    show(shapes, "transferred", &NewLeader { leader: samples::node("node2") });
}

fn problems(shapes: &mut Shapes) {
    let key = samples::key("order 42/é?.~-_%".trim_end_matches("é?.~-_%"));
    let key_with_marks = samples::key("a.b~c-d_e%f+g&h=i j/k?l#m\"n");
    let all: Vec<(&str, Problem)> = vec![
        ("field", Problem::bad_request(Code::InvalidAmount, "too \"small\"").field("amount")),
        ("plain", Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "there is nothing at /x")),
        ("item field", Problem::bad_request(Code::InvalidAmount, "x").field("amount").in_item(17)),
        ("item", Problem::bad_request(Code::InvalidJson, "x").in_item(0)),
        ("key reused", Problem::from_submit(SubmitError::KeyReused, &key)),
        ("fenced", Problem::from_submit(SubmitError::Fenced, &key)),
        ("overloaded", Problem::from_submit(SubmitError::Overloaded, &key)),
        ("no leader", Problem::from_submit(SubmitError::NoLeader, &key)),
        ("unknown", Problem::from_submit(SubmitError::Unknown, &key)),
        ("unknown with marks", Problem::from_submit(SubmitError::Unknown, &key_with_marks)),
        ("read no leader", ReadError::NoLeader.into()),
        ("not applied", ReadError::NotApplied { wanted: LogIndex(9), reached: LogIndex(7) }.into()),
        ("quarantined", ReadError::Quarantined.into()),
        ("read overloaded", ReadError::Overloaded.into()),
        ("storage", ReadError::Storage.into()),
        ("deadline", Problem::deadline_exceeded()),
        ("transfer no leader", TransferError::NoLeader.into()),
        ("no such successor", TransferError::NoSuchSuccessor(samples::node("node9")).into()),
        ("no successor", TransferError::NoSuccessor.into()),
        ("timed out", TransferError::TimedOut.into()),
        ("no such path", super::no_such_path("/v2/\"")),
        ("no such method", super::no_such_method(&axum::http::Method::DELETE, "/v1/payments")),
    ];
    for (name, problem) in all {
        answered(shapes, &format!("problem {name}"), Err(problem));
    }
    for (name, problem) in [
        ("field", Problem::bad_request(Code::InvalidAmount, "too \"small\"").field("amount")),
        ("unknown", Problem::from_submit(SubmitError::Unknown, &key)),
        ("not applied", ReadError::NotApplied { wanted: LogIndex(9), reached: LogIndex(7) }.into()),
    ] {
        let answer = problem.into_plain_answer();
        shapes.push((format!("plain problem {name} {}", answer.status().as_u16()), answer.body().to_vec()));
    }
    for rejection in Rejection::all() {
        let committed = committed(samples::fence_entry("k"));
        answered(shapes, &format!("refused {}", rejection.code()), Err(super::writes::refused(&committed, rejection)));
    }
}

fn moments(shapes: &mut Shapes) {
    for moment in [0, 1, 999, 1_700_000_000_000, 1_700_000_000_050, 253_402_207_200_999, u64::MAX] {
        let shown = BTreeMap::from([("moment", Rfc3339(Timestamp(moment)))]);
        show(shapes, format!("moment {moment}"), &shown);
    }
}

#[tokio::test]
async fn every_answer_is_the_same_bytes_as_ever() {
    let mut shapes = Shapes::new();
    payments(&mut shapes);
    changes_of_payments(&mut shapes);
    accounts(&mut shapes);
    statements(&mut shapes);
    keys_and_what_holds_them(&mut shapes);
    batches_of_payments(&mut shapes).await;
    ledger(&mut shapes);
    nodes(&mut shapes);
    problems(&mut shapes);
    bodies::refusals(&mut shapes);
    bodies::requests(&mut shapes);
    moments(&mut shapes);
    compat::golden::payments(&mut shapes);
    super::metrics::golden::numbers(&mut shapes);
    let found: String = shapes
        .iter()
        .map(|(name, bytes)| format!("{name}\t{}\n", String::from_utf8_lossy(bytes).escape_debug()))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("http/golden/golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (found, golden) in found.lines().zip(golden.lines()) {
        assert_eq!(found, golden);
    }
    assert_eq!(found.lines().count(), golden.lines().count());
}
