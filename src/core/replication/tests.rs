//! Tests of single replicas, driven by events. Whole clusters are tested by the simulation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::sample::{Chain, node};
use super::{
    Append, Effect, EntryBatch, EpochSpan, Event, Limits, Now, Persist, Replica, ReplicaConfig, ReplicaStart, Request,
    Response, RpcId, StoreId, Timing,
};
use crate::domain::{Epoch, LogIndex};

/// A follower that has just started with these entries and loaded only those above its commit index.
fn follower(chain: &Chain, commit_index: LogIndex) -> Replica {
    let peers = ["node1", "node2"].map(|id| (node(id), format!("http://{id}")));
    let (timing, limits) = (Timing::default(), Limits::default());
    let config = ReplicaConfig { node_id: node("node2"), peers: BTreeMap::from(peers), timing, limits };
    let start = ReplicaStart {
        store_id: StoreId(2),
        promise: None,
        commit_index,
        last: chain.last(),
        spans: vec![EpochSpan { epoch: Epoch(1), start: LogIndex(1) }],
        configurations: Vec::new(),
        tail: chain.entries.iter().filter(|entry| entry.index > commit_index).cloned().collect(),
    };
    Replica::new(config, start)
}

/// The follower's answer to the leader's entries after `after`, and what it made durable before it.
fn answer(follower: &mut Replica, leader: &Chain, after: usize) -> (Response, Vec<Persist>) {
    let entries = leader.entries[after..].iter().map(|entry| entry.unchained()).collect();
    let log = Some(EntryBatch { previous: leader.entries[after - 1].position(), entries });
    let append = Append { epoch: leader.last().epoch, round: 1, log, commit_index: LogIndex(0), commit_hash: None };
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

/// The files and folders of this module in the order of the map in `mod.rs`.
fn map() -> Vec<String> {
    let lines = include_str!("mod.rs").lines();
    let map = lines.skip_while(|line| *line != "//! # Map").skip_while(|line| *line != "//! ```text").skip(1);
    let names = map.take_while(|line| *line != "//! ```").map(|line| &line[4..21]);
    names.flat_map(|names| names.split(',').map(|name| name.trim().to_owned())).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is read").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn each_file_imports_only_files_above_it_in_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("replication");
    let map = map();
    let rank = |name: &str| map.iter().position(|listed| listed == name);
    let mut files = 0;
    for path in sources(&root) {
        let path = path.strip_prefix(&root).expect("it is below the root");
        let in_folder = path.components().count() > 1;
        let name = path.iter().next().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".rs");
        let Some(own) = rank(name) else {
            assert!(["mod", "sample", "tests"].contains(&name), "the map does not list {name}");
            continue;
        };
        files += 1;
        let text = std::fs::read_to_string(root.join(path)).expect("it is read");
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        let prefix = if in_folder { "use crate::replication::" } else { "use super::" };
        for import in code.lines().filter_map(|line| line.strip_prefix(prefix)) {
            let imported = import.split("::").next().expect("a first part");
            assert!(rank(imported).is_some_and(|rank| rank < own), "{} imports {imported}", path.display());
        }
    }
    assert!(files >= 30, "{files} files were checked");
}
