//! The simulation: whole clusters of real cores in one thread, from one seed, with every kind of fault; and the
//! invariants that must hold throughout. `SEED=x` replays one run, `N=` sets the number of runs of a sweep.
//!
//! ```text
//! random         the source of chance
//! knobs          the settings of a run, drawn from its seed
//! trace          what a run did, as a hash and as text
//! world          virtual time, the event queue, and the nodes
//! node           one node: host, disk, clock, process
//! disk, views    a node's ledger file and its views
//! projector      what brings the views up to date
//! network        links and messages between nodes
//! zookeeper      the ZooKeeper servers
//! coordination   each node's ZooKeeper client
//! faults         faults other than of disks, and their end
//! lasting_faults  faults that a cluster gets over while they last
//! disk_faults    faults of disks
//! repair         a damaged node that begins again by itself
//! hung_disks     disks that hang
//! restored_ledgers  ledgers replaced by an older copy
//! forwarding     writes that a node forwards to the leader
//! versions       programs upgraded and downgraded one by one
//! twins          a second process with one node's id
//! clients        clients, which propose, retry and read
//! workload       what clients request
//! api_keys       with which API keys clients ask
//! service        since when they ask a node, and when it last answered
//! invariants     one file for each invariant
//! scenarios      named hazards, driven step by step
//! runs           runs and sweeps
//! planted        proof that the sweep finds each planted bug
//! layers         the order among the files of the protocol
//! ```

mod api_keys;
mod clients;
mod coordination;
mod disk;
mod disk_faults;
mod faults;
mod forwarding;
mod hung_disks;
mod invariants;
mod knobs;
mod lasting_faults;
mod layers;
mod network;
mod node;
#[cfg(feature = "planted-bugs")]
mod planted;
mod projector;
mod random;
mod repair;
mod restored_ledgers;
mod runs;
mod scenarios;
mod service;
mod trace;
mod twins;
mod versions;
mod views;
mod workload;
mod world;
mod zookeeper;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use knobs::SECOND;
use runs::{failure, from_environment, run, sweep};

/// Runs of a sweep, unless `N` says otherwise.
const DEFAULT_RUNS: u64 = 200;

/// Failures after which a sweep ends.
const MAX_FAILURES: usize = 100;

/// A cluster must settle within this virtual time after all faults have ended.
const SETTLING_TIME: u64 = 60 * SECOND;

#[test]
fn a_sweep_of_seeds_keeps_every_invariant() {
    if let Some(seed) = from_environment("SEED") {
        let written = std::env::var_os("TRACE").is_some();
        if let Some(failure) = failure(seed, written, &AtomicU64::new(0)) {
            panic!("{}", failure.report());
        }
        return;
    }
    if let Some(file) = std::env::var_os("FINGERPRINTS") {
        return write_fingerprints(&PathBuf::from(file));
    }
    let (first, runs) = (from_environment("FIRST").unwrap_or(1), from_environment("N").unwrap_or(DEFAULT_RUNS));
    let began = Instant::now();
    let (failures, answered) = sweep(first..first + runs, MAX_FAILURES, || ());
    let spent = began.elapsed();
    eprintln!("{runs} seeds from {first} in {spent:.1?}, {answered} writes answered, {} failures", failures.len());
    assert!(answered > runs || !failures.is_empty(), "runs without progress prove nothing");
    let reports: Vec<_> = failures.iter().take(5).map(|failure| failure.report()).collect();
    let all: Vec<_> = failures.iter().map(|failure| failure.seed).collect();
    assert!(failures.is_empty(), "{} of {runs} runs failed: {all:?}\n{}", failures.len(), reports.join("\n\n"));
}

/// Writes a line for each seed with a hash over everything that happened in its run, the text of every protocol effect
/// included. Equal files before and after a change of structure show that the protocol's behaviour is the same.
fn write_fingerprints(file: &Path) {
    let (first, runs) = (from_environment("FIRST").unwrap_or(1), from_environment("N").unwrap_or(DEFAULT_RUNS));
    let line = |seed| {
        let (hash, events) = run(seed, false).trace;
        format!("{seed} {hash:016x} {events}\n")
    };
    let lines: String = (first..first + runs).map(line).collect();
    std::fs::write(file, lines).expect("the file can be written");
}

#[test]
fn the_same_seed_twice_gives_the_identical_trace() {
    for seed in [3, 14, 159, 2_653] {
        assert_eq!(run(seed, false).trace, run(seed, false).trace, "seed {seed}");
    }
}

#[test]
fn a_small_sweep_meets_every_kind_of_fault() {
    let met: BTreeSet<_> = (1..=800).flat_map(|seed| run(seed, false).met).collect();
    let kinds = [
        "ZooKeeper away",
        "ZooKeeper away for one",
        "ZooKeeper wiped",
        "all crash",
        "bit rot",
        "clock step",
        "condemned after a failed sync",
        "connections refused one way",
        "crash",
        "damage found at start",
        "damage found in replay",
        "damaged ledger kept until the others serve",
        "deposed with forwarded writes",
        "epoch restored",
        "failed sync",
        "false death",
        "forwarded batch doubled",
        "forwarded batch lost",
        "forwarded outcome lost",
        "full disk",
        "hung disk",
        "lost publication",
        "message kept back",
        "lasting closure of the leader",
        "lasting damage",
        "lasting false clock",
        "lasting death",
        "lasting death and closure of the next",
        "lasting deaths of two",
        "lasting full disk",
        "lasting hung disk",
        "lasting one-way cut",
        "lasting outage of ZooKeeper",
        "lasting outage of ZooKeeper for one",
        "lasting refusal of connections",
        "lasting refusal of connections without ZooKeeper",
        "missed watch",
        "older ledger restored",
        "one-way partition",
        "partition",
        "pause",
        "power cut",
        "program downgraded",
        "program too old to follow",
        "program too old to start",
        "program upgraded",
        "quarantine",
        "second quarantine within an hour",
        "self-repair",
        "session ended wrongly",
        "session without end",
        "torn ledger",
        "twin",
        "unsynced data made durable",
        "wiped disk",
    ];
    let kinds = BTreeSet::from(kinds);
    let (missed, unlisted): (Vec<_>, Vec<_>) = (kinds.difference(&met).collect(), met.difference(&kinds).collect());
    assert!(missed.is_empty() && unlisted.is_empty(), "not met: {missed:?}, not listed: {unlisted:?}");
}
