//! The clients against fake nodes.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::history::{Ending, Event, Header, HistoryReader, Operation, Operations, Recorder, Request, Subject};
use quorapay_client::fake::{FakeNode, Received, Reply, nobody, payment_for, problem};

/// The answers of a node that accepts every write and knows every key.
fn decide(request: &Received) -> Reply {
    match (request.method.as_str(), request.path.split('?').next().unwrap()) {
        ("POST", "/v1/payments") => Reply::Answer(201, payment_for(request)),
        ("GET", path) if path.contains("/by-key/") => Reply::Answer(200, json!({"state": "unknown", "as_of_index": 9})),
        ("GET", path) if path.starts_with("/v1/accounts/") => {
            Reply::Answer(404, problem(404, "account_not_found", false, "not_applied"))
        }
        _ => Reply::Answer(200, json!({})),
    }
}

fn plan() -> LoadPlan {
    // Long enough for a busy machine: only a node that hangs exceeds it.
    LoadPlan { rate: 400, processes: 3, outstanding: 4, deadline: Duration::from_secs(3), ..LoadPlan::standard(7) }
}

struct Outcome {
    summary: LoadSummary,
    operations: Vec<Operation>,
    late: usize,
}

/// Runs a load against nodes at these URLs until `sent` requests are sent or skipped.
async fn load(urls: &[&str], plan: LoadPlan, sent: u64) -> Outcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    let recorder = Recorder::create(file.path(), &Header::new("test", plan.seed, 0, plan.processes + 1)).unwrap();
    let names = ["n1", "n2", "n3"].iter().zip(urls);
    let targets: Vec<_> = names.map(|(name, url)| Target { name: (*name).into(), url: (*url).into() }).collect();
    let patience = 3 * plan.deadline;
    let running = Load::start(&targets, plan, recorder).unwrap();
    while running.progress().sent + running.progress().late < sent {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let summary = running.finish(patience).await.unwrap();
    let (mut joined, mut operations, mut late) = (Operations::of(file.path()), Vec::new(), 0);
    for event in HistoryReader::open(file.path()).unwrap() {
        let (line, event) = event.unwrap();
        late += usize::from(matches!(event, Event::NotSent(_)));
        operations.extend(joined.take(line, event).unwrap());
    }
    assert_eq!(joined.never_ended(), []);
    Outcome { summary, operations, late }
}

fn is_write(operation: &Operation) -> bool {
    matches!(operation.invoke.request, Request::Write(_))
}

#[tokio::test]
async fn every_attempt_is_recorded_with_its_intended_time_and_its_end() {
    let nodes = [FakeNode::start(decide), FakeNode::start(decide)];
    let outcome = load(&[&nodes[0].url, &nodes[1].url], plan(), 200).await;
    let received = nodes.iter().map(|node| node.received().len()).sum::<usize>();
    assert_eq!(outcome.operations.len(), received);
    assert_eq!(outcome.summary.progress.sent, u64::try_from(received).unwrap());
    assert_eq!(outcome.summary.unread, Vec::<String>::new());
    for operation in &outcome.operations {
        assert!(operation.invoke.intended <= operation.invoke.at, "{operation:?}");
        assert!(operation.invoke.at <= operation.ending.at().unwrap(), "{operation:?}");
        assert!(matches!(operation.ending, Ending::Ok { .. }), "{operation:?}");
    }
    let mut writes_by_key: BTreeMap<_, usize> = BTreeMap::new();
    for operation in outcome.operations.iter().filter(|operation| is_write(operation)) {
        let Request::Write(proposal) = &operation.invoke.request else { unreachable!() };
        *writes_by_key.entry(&proposal.key).or_default() += 1;
    }
    assert!(writes_by_key.values().any(|count| *count > 1), "some keys are used again");
    let at_each: BTreeSet<_> = outcome.operations.iter().map(|operation| &operation.invoke.node).collect();
    assert_eq!(at_each.len(), 2);
}

#[tokio::test]
async fn an_unknown_outcome_is_retried_under_its_key_at_other_nodes_and_looked_up_in_the_end() {
    let dropping = FakeNode::start(|request| match request.method.as_str() {
        "GET" => decide(request),
        _ => Reply::Drop,
    });
    let url = dropping.url.as_str();
    let outcome = load(&[url, url], plan(), 60).await;
    let retried = outcome.operations.iter().filter(|operation| is_write(operation));
    let nodes_by_key = retried.fold(BTreeMap::<_, BTreeSet<_>>::new(), |mut nodes, operation| {
        let Request::Write(proposal) = &operation.invoke.request else { unreachable!() };
        assert!(matches!(operation.ending, Ending::Unknown { .. } | Ending::Refused { .. }), "{operation:?}");
        nodes.entry(proposal.key.clone()).or_default().insert(operation.invoke.node.clone());
        nodes
    });
    assert!(nodes_by_key.values().any(|nodes| nodes.len() == 2), "a retry goes to another node");
    assert!(outcome.summary.open_keys > 0);
    assert_eq!(outcome.summary.open_keys, outcome.summary.settled_keys);
    let looked_up = outcome.operations.iter().filter_map(|operation| match &operation.invoke.request {
        Request::Read(read) if operation.invoke.process == 3 => match &read.subject {
            Subject::Key(key) => Some(key.clone()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(looked_up.collect::<BTreeSet<_>>().len(), usize::try_from(outcome.summary.open_keys).unwrap());
}

#[tokio::test]
async fn requests_beyond_the_bound_are_recorded_as_not_sent_and_those_without_an_answer_as_unknown() {
    let hanging = FakeNode::start(|_| Reply::Hang);
    let impatient = LoadPlan { deadline: Duration::from_millis(300), ..plan() };
    let outcome = load(&[&hanging.url], impatient, 100).await;
    assert!(outcome.late > 0);
    assert_eq!(u64::try_from(outcome.late).unwrap(), outcome.summary.progress.late);
    let timed_out = |ending: &Ending| matches!(ending, Ending::Unknown { reason, .. } if reason == "timeout");
    assert!(outcome.operations.iter().all(|operation| timed_out(&operation.ending)));
    assert!(!outcome.summary.unread.is_empty());
}

#[tokio::test]
async fn a_request_without_a_connection_was_definitely_not_applied() {
    let outcome = load(&[&nobody()], plan(), 30).await;
    let not_sent = |ending: &Ending| matches!(ending, Ending::Refused { code, .. } if code == "not_sent");
    assert!(outcome.operations.iter().all(|operation| not_sent(&operation.ending)));
    assert_eq!(outcome.summary.open_keys, 0);
}

#[tokio::test]
async fn an_invalid_plan_or_url_is_refused_before_anything_is_sent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let recorder = Recorder::create(file.path(), &Header::new("test", 1, 0, 1)).unwrap();
    let target = |url: &str| Target { name: "n1".into(), url: url.into() };
    let refused =
        |targets: &[Target], plan| Load::start(targets, plan, recorder.clone()).err().expect("refused").to_string();
    assert!(refused(&[], plan()).contains("at least one node"));
    assert!(refused(&[target("ftp://x")], plan()).contains("ftp://x"));
    assert!(refused(&[target("http://x")], LoadPlan { rate: 0, ..plan() }).contains("rate"));
}
