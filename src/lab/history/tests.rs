//! Histories through a file and back.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;

use super::*;
use quorapay_core::domain::{
    AccountId, Capture, Currency, IdempotencyKey, MinorUnits, OperationRequest, PaymentRequest, Proposal,
};
use quorapay_core::domain::{Epoch, LogIndex};

fn header() -> Header {
    Header::new("test", 7, 1_767_225_600_000, 2)
}

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("order \"1\"").unwrap()
}

fn pay() -> Request {
    let account = |id| AccountId::parse(id).unwrap();
    let currency = Currency::parse("EUR").unwrap();
    let plain = PaymentRequest::plain(account("external:card"), account("shop:1"), MinorUnits::new(i64::MAX), currency);
    let request = OperationRequest::Payment(PaymentRequest {
        capture: Capture::Manual { expires_in_s: 60 },
        description: Some("tea".into()),
        metadata: Some(r#"{"a":1}"#.into()),
        ..plain
    });
    Request::Write(Box::new(Proposal { key: key(), request }))
}

fn invoke(operation: u64, request: Request) -> Event {
    let at = Micros(5_021);
    Event::Invoke(Invoke { process: 1, operation, at, intended: Micros(5_000), node: "node1".to_owned(), request })
}

fn response(body: &[u8]) -> Response {
    Response {
        status: 201,
        node: Some("node2".to_owned()),
        index: Some(LogIndex(42)),
        epoch: Some(Epoch(3)),
        applied_index: None,
        staleness_ms: None,
        replayed: true,
        body: ResponseBody::of(body),
    }
}

fn one_of_each() -> Vec<Event> {
    let read = |subject| Request::Read(Read { subject, consistency: Consistency::Local, min_index: Some(LogIndex(9)) });
    let at = Micros(6_000);
    vec![
        invoke(1, pay()),
        Event::Ok(Answered { process: 1, operation: 1, at, response: response(br#"{"id":"x","amount":100.50}"#) }),
        invoke(2, read(Subject::Key(key()))),
        Event::Refused(Refused { process: 1, operation: 2, at, code: "no_leader".to_owned(), response: None }),
        invoke(3, read(Subject::Payments { account: None, limit: 10 })),
        Event::Unknown(Unknown {
            process: 1,
            operation: 3,
            at,
            reason: "timeout".to_owned(),
            response: Some(response(b"<html>")),
        }),
        Event::NotSent(NotSent { process: 1, intended: at, at }),
        Event::Fault(FaultEvent {
            number: 1,
            at,
            phase: FaultPhase::Begin,
            kind: "kill".to_owned(),
            target: "n1".to_owned(),
        }),
        Event::Phase(PhaseEvent { at, name: "healed".to_owned() }),
    ]
}

fn written(events: &[Event]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let recorder = Recorder::create(file.path(), &header()).unwrap();
    events.iter().for_each(|event| recorder.record(event));
    recorder.flush().unwrap();
    file
}

#[test]
fn the_names_in_the_file_are_those_of_the_format() {
    let text = fs::read_to_string(written(&one_of_each()).path()).unwrap();
    let lines: Vec<&str> = text.lines().skip(2).collect();
    let expected = [
        r#"{"ok":{"process":1,"operation":1,"at":6000,"answer":{"status":201,"node":"node2","index":42,"epoch":3,"replayed":true,"body":{"id":"x","amount":100.50}}}}"#,
        r#"{"invoke":{"process":1,"operation":2,"at":5021,"intended":5000,"node":"node1","ask":{"read":{"of":{"key":"order \"1\""},"consistency":"local","min_index":9}}}}"#,
        r#"{"refused":{"process":1,"operation":2,"at":6000,"code":"no_leader"}}"#,
        r#"{"invoke":{"process":1,"operation":3,"at":5021,"intended":5000,"node":"node1","ask":{"read":{"of":{"payments":{"limit":10}},"consistency":"local","min_index":9}}}}"#,
        r#"{"unknown":{"process":1,"operation":3,"at":6000,"why":"timeout","answer":{"status":201,"node":"node2","index":42,"epoch":3,"replayed":true,"body":"<html>"}}}"#,
        r#"{"late":{"process":1,"intended":6000,"at":6000}}"#,
        r#"{"fault":{"number":1,"at":6000,"phase":"begin","kind":"kill","target":"n1"}}"#,
        r#"{"phase":{"at":6000,"name":"healed"}}"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn every_kind_of_line_is_read_as_it_was_written() {
    let events = one_of_each();
    let file = written(&events);
    let reader = HistoryReader::open(file.path()).unwrap();
    assert_eq!(reader.header(), &header());
    let read: Vec<(u64, Event)> = reader.map(Result::unwrap).collect();
    assert_eq!(read.iter().map(|(line, _)| *line).collect::<Vec<_>>(), (2..=10).collect::<Vec<_>>());
    assert_eq!(read.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), events);
}

#[test]
fn a_body_is_stored_byte_for_byte_and_one_that_is_not_json_as_a_string() {
    assert_eq!(ResponseBody::of(br#"{"b": 1.50,"a":2}"#).as_str(), r#"{"b": 1.50,"a":2}"#);
    assert_eq!(ResponseBody::of(b"<html>\n").as_str(), r#""<html>\n""#);
    assert_eq!(ResponseBody::of(b"").as_str(), r#""""#);
}

#[test]
fn a_wrong_line_is_named_with_its_number() {
    let file = written(&one_of_each());
    OpenOptions::new().append(true).open(file.path()).unwrap().write_all(b"{\"ok\":{}}\n").unwrap();
    let error = HistoryReader::open(file.path()).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().contains(":11: this is no event of a history"), "{error}");
}

#[test]
fn an_incomplete_last_line_is_skipped_and_reported() {
    let file = written(&one_of_each());
    let text = fs::read(file.path()).unwrap();
    fs::write(file.path(), &text[..text.len() - 3]).unwrap();
    let mut reader = HistoryReader::open(file.path()).unwrap();
    assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 8);
    assert!(reader.is_cut_off());
}

#[test]
fn a_file_that_is_not_a_history_is_refused() {
    for (text, reason) in [
        ("", "no header"),
        ("{}\n", "no header"),
        (r#"{"quorapay_history":9,"cluster":"","seed":1,"started_unix_ms":1,"clients":1}"#, "of format 9"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let error = HistoryReader::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(":1: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn an_operation_has_a_beginning_and_at_most_one_end() {
    let mut operations = Operations::of("history");
    let mut ended = Vec::new();
    for (line, event) in (2..).zip(one_of_each()) {
        ended.extend(operations.take(line, event).unwrap());
    }
    assert_eq!(ended.iter().map(|operation| operation.line).collect::<Vec<_>>(), [2, 4, 6]);

    let again = operations.take(20, one_of_each().remove(1)).unwrap_err();
    assert_eq!(again.to_string(), "history:20: operation 1 of process 1 ends here but is not under way");
    operations.take(21, invoke(4, pay())).unwrap();
    let twice = operations.take(22, invoke(4, pay())).unwrap_err();
    assert!(twice.to_string().starts_with("history:22: operation 4 of process 1 began at line 21"), "{twice}");
    let never = operations.never_ended();
    assert_eq!((never.len(), never[0].line), (1, 22));
}
