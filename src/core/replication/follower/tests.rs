//! Tests of when a single follower campaigns, driven by events.

use std::collections::BTreeMap;

use crate::domain::{Epoch, LogIndex, RuleVersion};
use crate::replication::sample::{Chain, node};
use crate::replication::{
    Append, Configuration, CoordinationCommand, CoordinationEvent, Effect, EntryBody, EpochSpan, Event, Limits, Now,
    Outgoing, Position, QueueRank, Replica, ReplicaConfig, ReplicaStart, Request, RequestId, Response, RpcId, StoreId,
    Timing, Voter,
};
use crate::time::Reading;

const FIVE: [&str; 5] = ["node1", "node2", "node3", "node4", "node5"];

/// A log of epoch 1 by which these nodes vote, with so many entries in all.
fn log_of(voters: &[&str], entries: usize) -> Chain {
    let mut chain = Chain::default();
    chain.start_epoch(1);
    let voter = |id: &&str| (node(id), Voter { store_id: StoreId(1), peer_url: format!("http://{id}") });
    chain.append(EntryBody::Configuration(Configuration { voters: voters.iter().map(voter).collect() }));
    while chain.entries.len() < entries {
        chain.pay();
    }
    chain
}

/// Node 1 of five, with this log.
fn started(chain: &Chain, voters: &[&str]) -> Replica {
    let peers: BTreeMap<_, _> = FIVE.map(|id| (node(id), format!("http://{id}"))).into();
    let (timing, limits, newest_rules) = (Timing::default(), Limits::default(), RuleVersion::NEWEST);
    let config = ReplicaConfig { node_id: node("node1"), peers, newest_rules, timing, limits };
    let configuration = log_of(voters, 2).entries[1].clone();
    let EntryBody::Configuration(configuration) = configuration.body.clone() else { panic!("it is the second entry") };
    let start = ReplicaStart {
        store_id: StoreId(1),
        promise: None,
        commit_index: LogIndex(0),
        last: chain.last(),
        spans: vec![EpochSpan { epoch: Epoch(1), start: LogIndex(1), rules: RuleVersion::FIRST }],
        configurations: vec![(LogIndex(2), configuration)],
        tail: chain.entries.clone(),
    };
    Replica::new(config, start)
}

fn at(ms: u64) -> Now {
    Now::of(Reading { monotonic_us: ms * 1_000, wall_us: 0 })
}

/// Feeds an event at this time. Returns the pre-votes that it sends, and the commands to ZooKeeper.
fn step(replica: &mut Replica, ms: u64, event: Event) -> (Vec<(RequestId, String)>, Vec<CoordinationCommand>) {
    let (mut asked, mut commands, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    replica.step(at(ms), event);
    replica.take_effects(at(ms), &mut effects);
    for effect in effects {
        match effect {
            Effect::Send { id, to, request: Outgoing::Plain(Request::PreVote) } => asked.push((id, to.to_string())),
            Effect::Coordinate(command) => commands.push(command),
            Effect::Halt(reason) => panic!("{reason}"),
            _ => {}
        }
    }
    (asked, commands)
}

/// The first in the queue asks for a leader; these nodes hear none and answer with the ends of their logs, and whether
/// they reach it. Returns the commands to ZooKeeper until the pre-vote is over.
fn pre_vote(replica: &mut Replica, answers: &[(&str, Position, bool)]) -> Vec<CoordinationCommand> {
    let first = Event::Coordination(CoordinationEvent::QueueRank(QueueRank::First));
    let (asked, mut commands) = step(replica, 1_000, first);
    for (from, last, reaches) in answers {
        let (id, _) = asked.iter().find(|(_, to)| to == from).expect("all nodes are asked");
        let response = Response::PreVote { hears_leader: false, reaches: *reaches, promised: Epoch(2), last: *last };
        commands.extend(step(replica, 1_001, Event::Response { id: *id, from: node(from), response }).1);
    }
    commands.extend(step(replica, 1_200, Event::Tick).1);
    commands
}

#[test]
fn a_first_node_of_an_outdated_configuration_gives_way_to_a_log_that_is_shorter_and_newer() {
    // Node 5 was readmitted after the end of this log, in epoch 2; nodes 3 and 4 are dead. So this node counts only two of
    // the four voters that it knows, and the others would count three of five.
    let four = ["node1", "node2", "node3", "node4"];
    let own = log_of(&four, 30);
    let mut replica = started(&own, &four);
    let newer = Position { index: LogIndex(10), epoch: Epoch(2), ..Position::default() };
    let commands = pre_vote(&mut replica, &[("node2", newer, true), ("node5", newer, true)]);
    assert_eq!(commands, [CoordinationCommand::GoToBack]);
}

#[test]
fn a_first_node_of_an_outdated_configuration_keeps_its_place_if_its_log_is_the_newest() {
    let four = ["node1", "node2", "node3", "node4"];
    let own = log_of(&four, 30);
    let mut replica = started(&own, &four);
    let shorter = Position { index: LogIndex(10), epoch: Epoch(1), ..Position::default() };
    let commands = pre_vote(&mut replica, &[("node2", shorter, true), ("node5", shorter, true)]);
    assert_eq!(commands, []);
}

#[test]
fn a_first_node_that_a_majority_cannot_reach_gives_way_and_removes_the_dead() {
    let own = log_of(&FIVE, 30);
    let mut replica = started(&own, &FIVE);
    let answers = ["node2", "node3", "node4"].map(|id| (id, own.last(), id == "node2"));
    let commands = pre_vote(&mut replica, &answers);
    let dead = CoordinationCommand::RemovePredecessor { node: node("node5"), epoch: Epoch(2) };
    assert_eq!(commands, [dead, CoordinationCommand::GoToBack]);
    assert!(!replica.is_candidate());
}

#[test]
fn a_first_node_that_a_majority_reaches_is_a_candidate_at_once() {
    let own = log_of(&FIVE, 30);
    let mut replica = started(&own, &FIVE);
    let answers = ["node2", "node3", "node4"].map(|id| (id, own.last(), id != "node2"));
    let commands = pre_vote(&mut replica, &answers);
    assert_eq!(commands, [CoordinationCommand::TakeEpoch { at_least: Epoch(3) }]);
}

#[test]
fn an_append_that_was_on_its_way_does_not_stop_the_successor_that_its_leader_has_named() {
    let own = log_of(&FIVE, 30);
    let mut replica = started(&own, &FIVE);
    let from_leader = |rpc, request| Event::Request { rpc: RpcId(rpc), from: node("node2"), request };
    let heartbeat = Request::Append(Append {
        epoch: Epoch(1),
        round: 1,
        log: None,
        commit_index: LogIndex(30),
        commit_hash: None,
        common_rules: RuleVersion::FIRST,
        time_error_ms: None,
        acknowledged: None,
    });
    step(&mut replica, 999, Event::Coordination(CoordinationEvent::QueueRank(QueueRank::Behind)));
    step(&mut replica, 1_000, from_leader(1, heartbeat.clone()));
    let named = Request::Transfer { epoch: Epoch(1), successor: node("node1") };
    step(&mut replica, 1_001, from_leader(2, named));
    step(&mut replica, 1_002, from_leader(3, heartbeat));
    assert!(replica.is_candidate());
}
