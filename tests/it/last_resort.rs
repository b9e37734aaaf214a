//! `quorapay recover`: a new cluster after the disks of a majority were lost.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::startup::flip;
use crate::support::cluster::{Cluster, run_program, wait_until};

/// Runs `quorapay recover` with the configuration of a node.
fn recover(cluster: &Cluster, node: usize, from: &Path, accepts_data_loss: bool) -> Output {
    let config = cluster.nodes[node].config.to_str().unwrap();
    let mut arguments = vec!["recover", "--config", config, "--from", from.to_str().unwrap(), "--json"];
    arguments.extend(accepts_data_loss.then_some("--accept-data-loss"));
    run_program(&arguments)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {output:?}"))
}

/// Pays through a cluster, kills all its nodes, and moves their configurations to a new cluster. Returns the last index
/// and the surviving data directory, that of the first node.
fn lose_two_disks(cluster: &mut Cluster) -> (u64, PathBuf) {
    for number in 0..20 {
        cluster.nodes[1].pay(&format!("before-{number}"), "external:bank", "shop", 10).expect(201);
    }
    let leader = cluster.leader();
    cluster.wait_caught_up(0, leader);
    let (last, _) = cluster.nodes[0].last_entry();
    (0..3).for_each(|node| cluster.kill(node));
    let survivor = cluster.become_new_cluster().swap_remove(0);
    (last, survivor)
}

#[test]
fn a_new_cluster_founded_from_one_surviving_ledger_keeps_every_key_and_balance() {
    let mut cluster = Cluster::start(3);
    let (last, survivor) = lose_two_disks(&mut cluster);
    let before = run_program(&["verify", "--json", survivor.to_str().unwrap()]).stdout;

    let output = recover(&cluster, 0, &survivor, true);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["survivor"]["last"]["index"], last);
    assert_eq!(json(&output)["written"]["index"], last + 2, "an epoch and its configuration");
    assert_eq!(run_program(&["verify", "--json", survivor.to_str().unwrap()]).stdout, before, "the survivor is kept");

    cluster.restart(0);
    wait_until("the recovered node leads alone", || {
        cluster.nodes[0].try_get("/readyz").is_some_and(|answer| answer.status == 200)
    });
    assert_eq!(cluster.nodes[0].balance("shop"), 200);
    cluster.restart(1);
    cluster.restart(2);
    cluster.wait_ready();
    wait_until("all three vote", || {
        let voters = cluster.nodes[0].status()["configuration"]["voters"].clone();
        voters.as_object().is_some_and(|voters| voters.len() == 3)
    });
    let repeated = cluster.nodes[2].pay("before-7", "external:bank", "shop", 10);
    repeated.expect(201);
    assert_eq!(repeated.header("Idempotent-Replayed"), Some("true"));
    cluster.nodes[1].pay("after", "external:bank", "shop", 1).expect(201);
    let leader = cluster.leader();
    (0..3).for_each(|node| cluster.wait_caught_up(node, leader));
    cluster.nodes.iter().for_each(|node| assert_eq!(node.balance("shop"), 201, "at {}", node.id));
    // A quorum of the new cluster is two of three again.
    cluster.kill(leader);
    let next = cluster.leader();
    cluster.nodes[next].pay("later", "external:bank", "shop", 1).expect(201);
}

#[test]
fn without_the_word_of_the_operator_nothing_is_written() {
    let mut cluster = Cluster::start(3);
    let (last, survivor) = lose_two_disks(&mut cluster);
    let output = recover(&cluster, 0, &survivor, false);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["written"], Value::Null);
    assert_eq!(report["survivor"]["last"]["index"], last);
    assert!(report["survivor"]["commit_index"].as_u64().unwrap() <= last);
    assert!(!cluster.nodes[0].data_dir.exists(), "the new data directory is not even created");
}

#[test]
fn a_cluster_is_not_recovered_over_a_ledger_or_under_its_old_id_or_from_a_damaged_ledger() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[0].pay("k", "external:bank", "shop", 10).expect(201);
    let running = recover(&cluster, 0, &cluster.nodes[0].data_dir, true);
    assert!(String::from_utf8_lossy(&running.stderr).contains("choose a new one"), "{running:?}");
    let (_, survivor) = lose_two_disks(&mut cluster);
    assert!(recover(&cluster, 0, &survivor, true).status.success());
    let twice = recover(&cluster, 0, &survivor, true);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("already holds a ledger"), "{twice:?}");

    let copied = &cluster.nodes[0].data_dir;
    assert!(flip(&copied.join("ledger.db"), "before-7") > 0, "a copy has no WAL");
    let damaged = recover(&cluster, 1, copied, true);
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("does not verify"), "{damaged:?}");
}
