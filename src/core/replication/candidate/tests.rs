//! Tests of a single candidate, driven by events.

use std::collections::BTreeMap;

use crate::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use crate::replication::sample::{Chain, node};
use crate::replication::{
    Configuration, CoordinationCommand, CoordinationEvent, Effect, EntryBody, EpochSpan, Event, FenceAnswer, Limits,
    NodeId, Now, Outgoing, QueueRank, Replica, ReplicaConfig, ReplicaStart, Request, RequestId, Response, StoreId,
    Timing, Voter,
};

const NODES: [&str; 3] = ["node1", "node2", "node3"];

fn configuration_of_three() -> Configuration {
    let voter = |number: usize| Voter { store_id: store(number), peer_url: format!("http://{}", NODES[number]) };
    Configuration { voters: (0..3).map(|number| (node(NODES[number]), voter(number))).collect() }
}

/// A log of three voters in epoch 1.
fn log_of_three(entries: usize) -> Chain {
    let mut chain = Chain::default();
    chain.start_epoch(1);
    chain.append(EntryBody::Configuration(configuration_of_three()));
    while chain.entries.len() < entries {
        chain.pay();
    }
    chain
}

fn store(number: usize) -> StoreId {
    StoreId(number as u128 + 1)
}

/// Node 2 with this log, nothing of which it knows to be committed.
fn started(chain: &Chain) -> Replica {
    let peers: BTreeMap<NodeId, String> = NODES.map(|id| (node(id), format!("http://{id}"))).into();
    let (timing, limits, newest_rules) = (Timing::default(), Limits::default(), RuleVersion::NEWEST);
    let config = ReplicaConfig { node_id: node("node2"), peers, newest_rules, timing, limits };
    let start = ReplicaStart {
        store_id: store(1),
        promise: None,
        commit_index: LogIndex(0),
        last: chain.last(),
        spans: vec![EpochSpan { epoch: Epoch(1), start: LogIndex(1), rules: RuleVersion::FIRST }],
        configurations: vec![(LogIndex(2), configuration_of_three())],
        tail: chain.entries.clone(),
    };
    Replica::new(config, start)
}

/// Feeds an event and confirms the writes that it causes. Returns the requests and commands.
fn step(replica: &mut Replica, event: Event) -> (Vec<(RequestId, NodeId, Request)>, Vec<CoordinationCommand>) {
    let (mut requests, mut commands) = (Vec::new(), Vec::new());
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        let mut effects = Vec::new();
        replica.step(Now::default(), event);
        replica.take_effects(Now::default(), &mut effects);
        for effect in effects {
            match effect {
                Effect::Persist(write) => events.push(Event::Persisted(write.id)),
                Effect::Send { id, to, request: Outgoing::Plain(request) } => requests.push((id, to, request)),
                Effect::Coordinate(command) => commands.push(command),
                Effect::Halt(reason) => panic!("{reason}"),
                _ => {}
            }
        }
    }
    (requests, commands)
}

fn coordination(event: CoordinationEvent) -> Event {
    Event::Coordination(event)
}

/// Makes the node a candidate that has asked for an epoch.
fn campaigning(chain: &Chain) -> Replica {
    let mut replica = started(chain);
    let (votes, _) = step(&mut replica, coordination(CoordinationEvent::QueueRank(QueueRank::First)));
    let (id, from, _) = votes.into_iter().find(|(_, to, _)| *to == node("node1")).expect("it asks all nodes");
    let silent = Response::PreVote { hears_leader: false, reaches: true, promised: Epoch(1), last: chain.last() };
    let (_, commands) = step(&mut replica, Event::Response { id, from, response: silent });
    assert_eq!(commands, [CoordinationCommand::TakeEpoch { at_least: Epoch(2) }]);
    replica
}

/// Makes the node a candidate of epoch 5 that node 1 has promised, at the end of this log. Returns what it requests.
fn promised(own: &Chain, source: &Chain) -> (Replica, Vec<(RequestId, NodeId, Request)>) {
    let mut replica = campaigning(own);
    let (fences, _) = step(&mut replica, coordination(CoordinationEvent::EpochTaken(Epoch(5))));
    let (id, from, _) = fences.into_iter().find(|(_, to, _)| *to == node("node1")).expect("it asks all nodes");
    let answer = FenceAnswer {
        epoch: Epoch(5),
        store_id: store(0),
        last: source.last(),
        commit_index: LogIndex(0),
        spans: vec![EpochSpan { epoch: source.last().epoch, start: LogIndex(1), rules: RuleVersion::FIRST }],
        clock: Timestamp(0),
        newest_rules: RuleVersion::NEWEST,
    };
    let (requests, _) =
        step(&mut replica, Event::Response { id, from, response: Response::Promised(Box::new(answer)) });
    (replica, requests)
}

/// The entries of a log in this range, as a source sends them.
fn piece(chain: &Chain, from: usize, to: usize) -> Response {
    let entries = &chain.entries[from - 1..to];
    Response::Entries {
        previous: if from == 1 { Default::default() } else { chain.entries[from - 2].position() },
        entries: entries.iter().map(|entry| entry.unchained()).collect(),
        last_hash: entries[entries.len() - 1].hash,
    }
}

#[test]
fn entries_newer_than_the_log_that_was_promised_are_not_copied_and_a_higher_epoch_is_taken() {
    let (own, promised_log) = (log_of_three(4), log_of_three(10));
    // Between its promise and its answer a leader of epoch 6 has replaced the end of the source's log.
    let mut replaced = log_of_three(6);
    replaced.start_epoch(6);
    (0..3).for_each(|_| replaced.pay());
    let (mut candidate, requests) = promised(&own, &promised_log);
    let [(id, from, Request::Fetch { from_index, .. })] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(*from_index, LogIndex(5));
    let event = Event::Response { id: *id, from: from.clone(), response: piece(&replaced, 5, 8) };
    let (requests, commands) = step(&mut candidate, event);
    assert_eq!(candidate.last(), own.last(), "nothing of it is stored: {requests:?}");
    assert_eq!(commands, [CoordinationCommand::TakeEpoch { at_least: Epoch(7) }]);
}

#[test]
fn nobody_leads_with_a_log_that_holds_entries_of_its_own_or_a_higher_epoch() {
    let own = log_of_three(4);
    let mut newer = log_of_three(4);
    newer.start_epoch(6);
    let (mut candidate, requests) = promised(&own, &newer);
    let [(id, from, Request::Fetch { .. })] = &requests[..] else { panic!("{requests:?}") };
    let first = if let Request::Fetch { from_index, .. } = requests[0].2 { from_index.0 } else { 0 };
    let response = piece(&newer, usize::try_from(first).expect("small"), 5);
    let (_, commands) = step(&mut candidate, Event::Response { id: *id, from: from.clone(), response });
    assert!(!candidate.is_leader());
    assert_eq!(commands, [CoordinationCommand::TakeEpoch { at_least: Epoch(7) }]);
}

#[test]
fn an_epoch_that_no_election_can_have_led_to_is_not_taken() {
    let chain = log_of_three(4);
    for forged in [u64::MAX, i64::MAX as u64, 1 << 50] {
        let mut candidate = campaigning(&chain);
        let (requests, commands) = step(&mut candidate, coordination(CoordinationEvent::EpochTaken(Epoch(forged))));
        assert_eq!((requests, commands), (Vec::new(), vec![CoordinationCommand::GoToBack]));
        assert_eq!(candidate.promised_epoch(), Epoch(0));
    }
}

#[test]
fn a_peer_cannot_raise_the_next_epoch_to_a_number_that_no_election_can_have_led_to() {
    let chain = log_of_three(4);
    let mut replica = started(&chain);
    let (votes, _) = step(&mut replica, coordination(CoordinationEvent::QueueRank(QueueRank::First)));
    let (id, from, _) = votes.into_iter().next().expect("it asks all nodes");
    let response =
        Response::PreVote { hears_leader: false, reaches: true, promised: Epoch(u64::MAX), last: chain.last() };
    let (_, commands) = step(&mut replica, Event::Response { id, from, response });
    assert_eq!(commands, [CoordinationCommand::TakeEpoch { at_least: Epoch(2) }]);
    let fence = Request::Fence { epoch: Epoch(u64::MAX), commit_index: LogIndex(0) };
    let rpc = crate::replication::RpcId(1);
    step(&mut replica, Event::Request { rpc, from: node("node3"), request: fence });
    assert_eq!(replica.promised_epoch(), Epoch(0), "nor is it promised");
}
