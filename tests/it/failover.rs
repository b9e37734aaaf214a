//! Payments go on when a node dies, hangs or leaves, and none is lost or doubled.

use std::time::Duration;

use serde_json::Value;

use crate::support::cluster::{Cluster, Options, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;
use crate::support::zookeeper::ZooKeeperServer;

/// How many payments make a test sure that payments go on.
const SOME: usize = 60;

#[test]
fn a_killed_leader_costs_no_error_no_loss_and_no_double_twice_in_a_row() {
    let mut cluster = Cluster::start(3);
    for _ in 0..2 {
        let leader = cluster.leader();
        let others = cluster.followers();
        let payers = Payers::start(&cluster, &others);
        payers.wait_for_more(SOME);
        cluster.kill(leader);
        payers.wait_for_more(SOME);
        cluster.restart(leader);
        payers.wait_for_more(SOME);
        let history = payers.stop();
        history.assert_no_error();
        cluster.wait_ready();
        cluster.wait_caught_up(leader, others[0]);
        history.assert_kept_by(&cluster);
        assert!(history.slowest() < Duration::from_secs(4), "the slowest answer took {:?}", history.slowest());
    }
}
