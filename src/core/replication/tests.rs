//! Tests of single replicas, driven by events. Whole clusters are tested by the simulation.

use std::collections::BTreeMap;

use super::sample::{Chain, node};
use super::{
    Append, Effect, EntryBatch, EpochSpan, Event, Limits, Now, Persist, Replica, ReplicaConfig, ReplicaStart, Request,
    Response, RpcId, StoreId, Timing,
};
use crate::domain::{Epoch, LogIndex, RuleVersion};

/// A follower that has just started with these entries and loaded only those above its commit index.
fn follower(chain: &Chain, commit_index: LogIndex) -> Replica {
    let peers = ["node1", "node2"].map(|id| (node(id), format!("http://{id}")));
    let (timing, limits) = (Timing::default(), Limits::default());
    let newest_rules = RuleVersion::NEWEST;
    let config = ReplicaConfig { node_id: node("node2"), peers: BTreeMap::from(peers), newest_rules, timing, limits };
    let start = ReplicaStart {
        store_id: StoreId(2),
        promise: None,
        commit_index,
        last: chain.last(),
        spans: vec![EpochSpan { epoch: Epoch(1), start: LogIndex(1), rules: RuleVersion::FIRST }],
        configurations: Vec::new(),
        tail: chain.entries.iter().filter(|entry| entry.index > commit_index).cloned().collect(),
    };
    Replica::new(config, start)
}

/// The follower's answer to the leader's entries after `after`, and what it made durable before it.
fn answer(follower: &mut Replica, leader: &Chain, after: usize) -> (Response, Vec<Persist>) {
    let entries = leader.entries[after..].iter().map(|entry| entry.unchained()).collect();
    let log = Some(EntryBatch { previous: leader.entries[after - 1].position(), entries });
    let (epoch, commit_index) = (leader.last().epoch, LogIndex(0));
    let common_rules = RuleVersion::FIRST;
    let append = Append {
        epoch,
        round: 1,
        log,
        commit_index,
        commit_hash: None,
        common_rules,
        time_error_ms: None,
        acknowledged: None,
    };
    let request = Request::Append(append);
    follower.step(Now::default(), Event::Request { rpc: RpcId(1), from: node("node1"), request });
    let (mut effects, mut writes) = (Vec::new(), Vec::new());
    loop {
        follower.take_effects(Now::default(), &mut effects);
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Persist(write) => {
                    follower.step(Now::default(), Event::Persisted(write.id));
                    writes.push(write);
                }
                Effect::Respond { response, .. } => return (response, writes),
                _ => {}
            }
        }
    }
}

#[test]
fn a_conflict_right_above_the_commit_index_of_the_start_is_resolved_by_asking_for_the_entries_after_it() {
    let (mut own, mut leader) = (Chain::of_payments(10), Chain::of_payments(10));
    own.pay();
    own.pay();
    leader.start_epoch(2);
    let mut follower = follower(&own, LogIndex(10));
    let (refusal, _) = answer(&mut follower, &leader, 9);
    assert!(matches!(refusal, Response::Mismatch { index: LogIndex(10), .. }), "{refusal:?}");
    let (stored, writes) = answer(&mut follower, &leader, 10);
    assert!(matches!(stored, Response::Appended { matched: LogIndex(11), .. }), "{stored:?}");
    assert_eq!(writes.last().and_then(|write| write.truncate_after), Some(LogIndex(10)));
    assert_eq!(follower.last(), leader.last());
}
