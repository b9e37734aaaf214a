//! The load generator against real nodes: its workloads, and what it finds out of them. Figures are printed and not judged,
//! because they depend on the machine.

use std::ops::Range;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::cluster::{Cluster, program, run_program};

/// Payments of which the mean is taken.
const PAYMENTS: u64 = 20_000;

#[test]
#[ignore = "measures; run by make payment-cost"]
fn measure_the_processor_time_of_a_payment() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let payments = PAYMENTS.to_string();
    let report = bench(&cluster, leader..leader + 1, &["--requests", &payments, "--connections", "64"]);
    assert_eq!(report["results"]["ok"], PAYMENTS, "{report}");
    println!(
        "processor time of a payment, {payments} payments of 64 callers{}:",
        if report["settings"]["build"] == "debug" { ", DEBUG BUILD: compare only with debug builds" } else { "" }
    );
    let nodes = report["results"]["usage"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{report}");
    for node in nodes {
        let per = &node["per_operation"];
        let [cpu_us, written] = ["cpu_us", "disk_written_bytes"].map(|name| per[name].as_f64().unwrap());
        assert!(cpu_us > 0.0 && written > 0.0, "{node}");
        let role = if node["leads"] == true { "leader" } else { "follower" };
        let threads = per["cpu_us_by_thread"].as_object().unwrap();
        let main = threads["main"].as_f64().unwrap();
        println!(
            "  {role:<9}{cpu_us:>7.1} µs, of them {main:.1} µs in the main thread; {written:.0} bytes to the disk"
        );
    }
    let generator_us = report["results"]["usage"]["generator_cpu_us"].as_f64().unwrap();
    println!("  generator{generator_us:>7.1} µs");
}

#[test]
fn a_key_that_all_callers_send_at_once_is_applied_once() {
    let cluster = Cluster::start(3);
    let report = bench(&cluster, 0..3, &["--workload", "same-key", "--requests", "3200", "--connections", "16"]);
    assert_eq!(report["results"]["ok"], 3_200, "{report}");
    let check = &report["results"]["same_key"];
    assert_eq!(check["keys"], 200);
    for (name, expected) in [("paid", 200), ("received", 200), ("applied_twice", 0), ("unequal", 0)] {
        assert_eq!(check[name], expected, "{name} in {report}");
    }
}

#[test]
fn reads_of_every_kind_are_measured() {
    let cluster = Cluster::start(3);
    for workload in ["payment-by-id", "account", "list"] {
        for consistency in ["local", "linearizable"] {
            let kind = ["--workload", workload, "--consistency", consistency, "--accounts", "50"];
            // The leader has applied what it has acknowledged, so that a local read there finds it.
            let leader = cluster.leader();
            let arguments = [&kind[..], &["--requests", "2000", "--connections", "8"]].concat();
            let report = bench(&cluster, leader..leader + 1, &arguments);
            assert_eq!(report["results"]["ok"], 2_000, "{report}");
            assert_eq!(report["results"]["answers_checked"], 2, "{report}");
        }
    }
}

#[test]
fn a_run_says_what_it_cannot_do() {
    let refused = |arguments: &[&str], why: &str| {
        let output = run_program(&[&["bench"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
    };
    refused(&["--workload", "refunds"], "[possible values: pay, same-key, payment-by-id, account, list]");
    refused(&["--consistency", "local"], "--consistency is for a workload that reads");
    refused(&["--workload", "account", "--batch", "10"], "--batch is for the workload pay");
    refused(&["--workload", "list", "--accounts", "100001"], "--accounts is at most 100000");
}

/// Runs the load generator against some nodes and returns its report.
pub(crate) fn bench(cluster: &Cluster, nodes: Range<usize>, arguments: &[&str]) -> Value {
    let urls: Vec<String> = cluster.nodes[nodes].iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect();
    let mut command = Command::new(program());
    command.args(["bench", "--json", "--warm-up", "0s", "--url", &urls.join(",")]).args(arguments);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}
