//! The generator against a fake node: its counts must be exact.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::engine::{Run, run};
use super::error::BenchError;
use super::plan::{BatchForm, BatchPlan, Consistency, Extent, Load, Plan, Read, Retry, Workload};
use super::report::Report;
use quorapay_client::Access;
use quorapay_client::fake::{FakeNode, Received, Reply, nobody, payment_for, problem};
use quorapay_core::domain::{Currency, MinorUnits};

fn plan(nodes: &[&FakeNode], payments: u64) -> Plan {
    Plan {
        access: Access::none(),
        urls: nodes.iter().map(|node| node.url.clone()).collect(),
        connections: 8,
        threads: 2,
        workload: Workload::Pay,
        load: Load::Closed,
        batch: None,
        extent: Extent::Payments(payments),
        warm_up: Duration::ZERO,
        accounts: 100,
        amount: MinorUnits::new(100),
        currency: Currency::parse("USD").unwrap(),
        deadline: Duration::from_secs(20),
        retry: Retry::Never,
        watch_nodes: false,
        run_id: uuid::Uuid::new_v4(),
    }
}

fn accept(request: &Received) -> Reply {
    Reply::Answer(201, payment_for(request))
}

fn keys(node: &FakeNode) -> BTreeSet<String> {
    node.received().into_iter().filter_map(|request| request.key).collect()
}

fn counts(run: &Run) -> (u64, u64, u64, u64) {
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>();
    (run.tally.ok, sum(&run.tally.refused), sum(&run.tally.failed), sum(&run.tally.unknown))
}

#[test]
fn every_payment_is_sent_once_under_a_key_of_its_own_and_counted() {
    let node = FakeNode::start(accept);
    let run = run(&plan(&[&node], 2_500)).unwrap();
    assert_eq!(counts(&run), (2_500, 0, 0, 0));
    assert_eq!(node.received().len(), 2_500);
    assert_eq!(keys(&node).len(), 2_500);
    assert_eq!(run.tally.checked, 3);
    assert_eq!(run.tally.latencies.len(), 2_500);
    assert_eq!(run.tally.timeline.intervals().iter().map(|bucket| bucket.ok).sum::<u64>(), 2_500);
    let first = &node.received()[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/v1/payments"));
    assert_eq!(first.body["from"], "external:bench");
    assert_eq!(first.body["amount"], 100);
    let receivers: BTreeSet<_> = node.received().iter().map(|r| r.body["to"].as_str().unwrap().to_owned()).collect();
    assert_eq!(receivers.len(), 100);
}

#[test]
fn errors_refusals_and_lost_connections_are_counted_by_kind() {
    let node = FakeNode::start(|request| match request.number % 10 {
        3 => Reply::Answer(500, json!({})),
        5 => Reply::Answer(409, problem(409, "insufficient_funds", false, "not_applied")),
        6 => Reply::Answer(504, problem(504, "outcome_unknown", true, "unknown")),
        7 => Reply::Answer(503, problem(503, "no_leader", true, "not_applied")),
        9 => Reply::Drop,
        _ => accept(request),
    });
    let run = run(&plan(&[&node], 500)).unwrap();
    assert_eq!(counts(&run), (250, 50, 100, 100));
    assert_eq!(run.tally.failed["http_500"], 50);
    assert_eq!(run.tally.failed["no_leader"], 50);
    assert_eq!(run.tally.unknown["outcome_unknown"], 50);
    assert_eq!(run.tally.unknown["connection_lost"], 50);
    assert_eq!(run.tally.retries, 0);
    let report = serde_json::to_value(Report::new(&plan(&[&node], 500), &run)).unwrap();
    assert_eq!(report["results"]["operations"], 500);
    assert_eq!(report["results"]["unknown_by_kind"]["connection_lost"], 50);
}

#[test]
fn with_failover_a_broken_payment_is_repeated_under_its_key_at_the_next_url() {
    let breaking = FakeNode::start(|request| if request.number % 5 == 4 { Reply::Drop } else { accept(request) });
    let sound = FakeNode::start(accept);
    let run = run(&Plan { retry: Retry::NextUrl, ..plan(&[&breaking, &sound], 1_000) }).unwrap();
    assert_eq!(counts(&run), (1_000, 0, 0, 0));
    let requests = breaking.received().len() + sound.received().len();
    assert!(run.tally.retries > 0);
    assert_eq!(u64::try_from(requests).unwrap(), 1_000 + run.tally.retries);
    assert_eq!(keys(&breaking).union(&keys(&sound)).count(), 1_000);
}

#[test]
fn with_retry_a_payment_is_repeated_at_its_url_until_it_is_answered() {
    let node = FakeNode::start(|request| match request.number % 2 {
        0 => Reply::Answer(503, problem(503, "no_leader", true, "not_applied")),
        _ => accept(request),
    });
    let run = run(&Plan { retry: Retry::SameUrl, connections: 1, threads: 1, ..plan(&[&node], 50) }).unwrap();
    assert_eq!(counts(&run), (50, 0, 0, 0));
    assert_eq!(run.tally.retries, 50);
    assert_eq!(keys(&node).len(), 50);
}

#[test]
fn an_answer_that_does_not_match_the_request_is_an_error() {
    let node = FakeNode::start(|request| {
        let mut payment = payment_for(request);
        payment["amount"] = json!(7);
        Reply::Answer(201, payment)
    });
    let run = run(&plan(&[&node], 100)).unwrap();
    assert_eq!(counts(&run), (99, 0, 1, 0));
    assert_eq!(run.tally.failed["wrong_answer"], 1);
}

#[test]
fn an_open_loop_measures_from_the_scheduled_start() {
    let stalled = AtomicBool::new(false);
    let node = FakeNode::start(move |request| {
        if stalled.swap(true, Ordering::Relaxed) {
            return accept(request);
        }
        Reply::Late(Duration::from_millis(400), 201, payment_for(request))
    });
    let open = Load::Open { per_second: 100 };
    let run = run(&Plan { load: open, connections: 1, threads: 1, ..plan(&[&node], 60) }).unwrap();
    assert_eq!(counts(&run), (60, 0, 0, 0));
    // Thirty payments were scheduled in the first 300 ms of the stall and waited for the rest of it.
    let waited = run.tally.latencies.count_between(100_000, 10_000_000);
    assert!(waited >= 30, "only {waited} payments show that they waited");
    assert!(run.tally.late >= 30);
    assert_eq!(run.stalls.count, 1);
    assert!((390..2_000).contains(&run.stalls.longest_ms), "{:?}", run.stalls);
    assert_eq!(run.tally.dropped, 0);
}

#[test]
fn an_open_loop_drops_and_counts_payments_that_are_later_than_the_deadline() {
    let node = FakeNode::start(|request| Reply::Late(Duration::from_millis(150), 201, payment_for(request)));
    let plan = Plan {
        load: Load::Open { per_second: 100 },
        connections: 1,
        threads: 1,
        deadline: Duration::from_millis(300),
        ..plan(&[&node], 60)
    };
    let run = run(&plan).unwrap();
    let (ok, refused, failed, unknown) = counts(&run);
    assert!(run.tally.dropped > 0);
    assert_eq!(ok + refused + failed + unknown + run.tally.dropped, 60);
    assert_eq!(u64::try_from(node.received().len()).unwrap(), 60 - run.tally.dropped);
}

#[test]
fn payments_of_the_warm_up_are_not_measured() {
    let node = FakeNode::start(accept);
    let open = Load::Open { per_second: 1_000 };
    let run = run(&Plan { load: open, warm_up: Duration::from_millis(50), ..plan(&[&node], 100) }).unwrap();
    assert_eq!(counts(&run), (100, 0, 0, 0));
    assert_eq!(run.tally.warm_up, 50);
    assert_eq!(node.received().len(), 150);
}

#[test]
fn without_any_node_the_run_does_not_begin() {
    let node = FakeNode::start(accept);
    let plan = Plan { urls: vec![nobody(), nobody()], ..plan(&[&node], 10) };
    assert!(matches!(run(&plan), Err(BenchError::Unreachable { .. })));
}

fn decided(succeeded: usize, rejected: usize) -> Reply {
    // serde_json sorts members by name, so that the counts come before the results, as in a node's answer.
    Reply::Answer(
        200,
        json!({"rejected": rejected, "results": [{"rejected": 7}], "status": "decided", "succeeded": succeeded}),
    )
}

#[test]
fn batches_are_counted_by_their_payments_and_timed_as_a_whole() {
    for form in [BatchForm::Ndjson, BatchForm::Json] {
        let node = FakeNode::start(move |request| match form {
            BatchForm::Ndjson => decided(request.lines.len(), 0),
            BatchForm::Json => decided(request.body.as_array().unwrap().len(), 0),
        });
        let batch = Some(BatchPlan { size: 50, form, item_keys: true });
        let run = run(&Plan { batch, ..plan(&[&node], 1_990) }).unwrap();
        // The last batch is full too.
        assert_eq!(counts(&run), (2_000, 0, 0, 0), "{form:?}");
        assert_eq!((run.tally.latencies.len(), node.received().len()), (40, 40));
        assert_eq!(run.tally.timeline.intervals().iter().map(|bucket| bucket.ok).sum::<u64>(), 2_000);
        assert!(node.received().iter().all(|request| request.path == "/v1/payments/batch"));
        let payments = node.received().into_iter().flat_map(|request| match form {
            BatchForm::Ndjson => request.lines,
            BatchForm::Json => request.body.as_array().unwrap().clone(),
        });
        let item_keys: BTreeSet<_> =
            payments.map(|payment| payment["idempotency_key"].as_str().unwrap().to_owned()).collect();
        assert_eq!(item_keys.len(), 2_000);
        assert!(item_keys.is_disjoint(&keys(&node)));
    }
}

#[test]
fn payments_that_a_batch_refused_and_answers_that_do_not_add_up_are_counted() {
    let node = FakeNode::start(|request| match request.number {
        0 => decided(7, 3),
        1 => decided(7, 0),
        2 => Reply::Drop,
        _ => decided(10, 0),
    });
    let batch = Some(BatchPlan { size: 10, form: BatchForm::Ndjson, item_keys: false });
    let run = run(&Plan { batch, connections: 1, threads: 1, ..plan(&[&node], 40) }).unwrap();
    assert_eq!(counts(&run), (17, 3, 10, 10));
    assert_eq!((run.tally.refused["in_batch"], run.tally.failed["wrong_answer"]), (3, 10));
}

#[test]
fn an_open_loop_of_batches_keeps_the_rate_of_payments() {
    let node = FakeNode::start(|request| decided(request.lines.len(), 0));
    let batch = Some(BatchPlan { size: 10, form: BatchForm::Ndjson, item_keys: false });
    let load = Load::Open { per_second: 2_000 };
    let extent = Extent::Duration(Duration::from_millis(250));
    let run = run(&Plan { batch, load, extent, ..plan(&[&node], 1) }).unwrap();
    assert_eq!(counts(&run), (500, 0, 0, 0));
    assert_eq!(node.received().len(), 50);
}

#[test]
fn the_windows_hold_every_measured_payment_and_no_other() {
    let node = FakeNode::start(accept);
    let open = Load::Open { per_second: 1_000 };
    let run = run(&Plan { load: open, warm_up: Duration::from_millis(50), ..plan(&[&node], 100) }).unwrap();
    let windows = run.windows();
    assert_eq!(windows.len(), 1);
    assert_eq!((windows[0].per_second * windows[0].seconds).round().to_string(), "100");
    let report = serde_json::to_value(Report::new(&plan(&[&node], 100), &run)).unwrap();
    assert_eq!(report["results"]["fastest_to_slowest"], serde_json::Value::Null);
}

/// A node that pays, and shows what was paid.
fn reading_node() -> FakeNode {
    FakeNode::start(|request| match request.path.split(['/', '?']).collect::<Vec<_>>()[..] {
        ["", "v1", "payments"] => accept(request),
        ["", "v1", "payments", id, consistency] | ["", "v1", "accounts", id, consistency] => {
            assert_eq!(consistency, "consistency=local");
            Reply::Answer(200, json!({ "id": id }))
        }
        ["", "v1", "payments", _] => Reply::Answer(200, json!({ "payments": [{}] })),
        _ => Reply::Answer(404, json!({})),
    })
}

#[test]
fn reads_are_of_what_the_run_has_made_before() {
    for (read, path) in [(Read::PaymentById, "/v1/payments/0"), (Read::Account, "/v1/accounts/bench:shop-")] {
        let node = reading_node();
        let workload = Workload::Read(read, Consistency::Local);
        let run = run(&Plan { workload, ..plan(&[&node], 2_000) }).unwrap();
        assert_eq!(counts(&run), (2_000, 0, 0, 0));
        assert_eq!(run.tally.checked, 2);
        let received = node.received();
        let (made, reads): (Vec<_>, Vec<_>) = received.into_iter().partition(|request| request.method == "POST");
        assert_eq!((made.len(), reads.len()), (100, 2_000));
        assert!(reads.iter().all(|request| request.path.starts_with(path)), "{:?}", reads[0]);
    }
}

#[test]
fn a_read_that_shows_something_else_is_an_error() {
    let node = FakeNode::start(|request| match request.method.as_str() {
        "POST" => accept(request),
        _ => Reply::Answer(200, json!({ "id": "another" })),
    });
    let workload = Workload::Read(Read::PaymentById, Consistency::Linearizable);
    let run = run(&Plan { workload, ..plan(&[&node], 10) }).unwrap();
    assert_eq!(counts(&run), (9, 0, 1, 0));
}

#[test]
fn without_what_it_reads_a_run_does_not_begin() {
    let node = FakeNode::start(|_| Reply::Answer(409, problem(409, "account_frozen", false, "not_applied")));
    let workload = Workload::Read(Read::Account, Consistency::Local);
    let refused = run(&Plan { workload, ..plan(&[&node], 10) });
    assert!(matches!(&refused, Err(BenchError::NotPrepared(why)) if why.contains("account_frozen")), "{refused:?}");
}

#[test]
fn with_the_same_key_all_callers_send_it_and_a_wrong_balance_is_found() {
    let node = FakeNode::start(|request| match request.method.as_str() {
        "POST" => accept(request),
        _ => Reply::Answer(404, problem(404, "account_not_found", false, "not_applied")),
    });
    let run = run(&Plan { workload: Workload::SameKey, ..plan(&[&node], 800) }).unwrap();
    assert_eq!(counts(&run), (800, 0, 0, 0));
    assert_eq!(keys(&node).len(), 100);
    let check = run.key_check.unwrap();
    // Every answer of the fake node claims to be the first, and each has another index.
    assert_eq!((check.counts.keys, check.counts.applied_twice, check.counts.unequal), (100, 100, 100));
    assert!(check.received.is_none() && !run.keys_are_kept());
}

/// The answers of two nodes of which one cannot be reached, with metrics that grow by the payments.
fn watched_node(url: &str, paid: usize) -> (serde_json::Value, serde_json::Value) {
    let view = json!({
        "node_id": "node1", "leader": "node1", "epoch": 1, "nodes": [
            {"node_id": "node1", "peer_url": "http://p1", "reachable": true, "status": {
                "node_id": "node1", "store_id": "00000000000000000000000000000001", "cluster_id": "c", "role": "leader",
                "epoch": 1, "promised_epoch": 1, "leader": "node1", "last_index": 1, "commit_index": 1, "applied_index": 1,
                "applied_timestamp": 1, "projected_index": 1, "staleness_ms": 0, "zookeeper_connected": true,
                "elections_won": 1, "quarantine": null, "followers": {}, "configuration": null, "clocks": {},
                "corrected_clock": null, "corrected_clock_error_ms": null, "time_error_ms": null, "wall_clock": 1,
                "rule_version": 1, "newest_rule_version": 1, "client_url": url, "peer_url": "http://p1", "version": "0",
            }},
            {"node_id": "node2", "peer_url": "http://p2", "reachable": false, "status": null},
        ],
    });
    let cpu_s = Duration::from_micros(30 * u64::try_from(paid).unwrap()).as_secs_f64();
    let metrics = json!({
        "node_id": "node1", "timers": {},
        "counters": {
            "process_cpu_seconds": 1.0 + cpu_s, "process_io_storage_written_bytes": 5_000 + 800 * paid,
            "thread_cpu_seconds.main": 1.0 + cpu_s / 2.0,
        },
        "gauges": {
            "process_resident_memory_bytes": 1_000_000 + paid, "views_lag_entries": paid,
            "process_start_time_seconds": 1_700_000_000.5,
        },
    });
    (view, metrics)
}

#[test]
fn what_a_payment_costs_each_node_is_read_from_its_metrics() {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, OnceLock};
    let (paid, url) = (AtomicUsize::new(0), Arc::new(OnceLock::<String>::new()));
    let own_url = Arc::clone(&url);
    let node = FakeNode::start(move |request| {
        let (view, metrics) = watched_node(own_url.get().unwrap(), paid.load(Ordering::Relaxed));
        match request.path.as_str() {
            "/v1/cluster" => Reply::Answer(200, view),
            "/metrics?format=json" => Reply::Answer(200, metrics),
            _ => {
                paid.fetch_add(1, Ordering::Relaxed);
                accept(request)
            }
        }
    });
    url.set(node.url.clone()).unwrap();
    let watched = Plan { watch_nodes: true, ..plan(&[&node], 1_000) };
    let report = Report::new(&watched, &run(&watched).unwrap());
    let usage = serde_json::to_value(&report).unwrap()["results"]["usage"].clone();
    let near = |found: &serde_json::Value, expected: f64| (found.as_f64().unwrap() - expected).abs() < 0.01;
    let first = &usage["nodes"][0];
    assert!(near(&first["per_operation"]["cpu_us"], 30.0), "{usage}");
    assert!(near(&first["per_operation"]["cpu_us_by_thread"]["main"], 15.0), "{usage}");
    assert!(near(&first["per_operation"]["disk_written_bytes"], 800.0), "{usage}");
    assert_eq!((&first["leads"], &first["views_lag_entries"]["end"]), (&json!(true), &json!(1_000)));
    assert_eq!(usage["nodes"][1]["problem"], "node1 does not reach it");
    let text = report.to_string();
    assert!(text.contains("node1 (leader)") && text.contains("node1 does not reach it"), "{text}");
    assert!(text.contains("stalls      none over 100 ms"), "{text}");
}

#[test]
fn nodes_without_metrics_of_their_process_are_named_with_what_is_missing() {
    let url = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own_url = std::sync::Arc::clone(&url);
    let node = FakeNode::start(move |request| match request.path.as_str() {
        "/v1/cluster" => Reply::Answer(200, watched_node(own_url.get().unwrap(), 0).0),
        "/metrics?format=json" => {
            Reply::Answer(200, json!({"node_id": "node1", "timers": {}, "counters": {}, "gauges": {}}))
        }
        _ => accept(request),
    });
    url.set(node.url.clone()).unwrap();
    let watched = Plan { watch_nodes: true, ..plan(&[&node], 10) };
    let text = Report::new(&watched, &run(&watched).unwrap()).to_string();
    assert!(text.contains("its metrics lack process_cpu_seconds"), "{text}");
}
