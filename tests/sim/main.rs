//! The simulation: whole clusters of real cores in one thread, from one seed, under every kind of trouble; and the
//! invariants that must hold whatever happens. `SEED=x` replays one run, `N=` says how many the sweep makes.

mod clients;
mod coordination;
mod disk;
mod disk_faults;
mod faults;
mod invariants;
mod knobs;
mod network;
mod node;
#[cfg(feature = "planted-bugs")]
mod planted;
mod random;
mod runs;
mod scenarios;
mod trace;
mod twins;
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

/// Runs of a sweep where `N` does not say otherwise.
const USUAL_SWEEP: u64 = 200;

/// Failures after which a sweep ends.
const MOST_FAILURES: usize = 100;

/// Virtual time in which a healed cluster must have settled.
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
    let (first, runs) = (from_environment("FIRST").unwrap_or(1), from_environment("N").unwrap_or(USUAL_SWEEP));
    let began = Instant::now();
    let (failures, answered) = sweep(first..first + runs, MOST_FAILURES, || ());
    let spent = began.elapsed();
    eprintln!("{runs} seeds from {first} in {spent:.1?}, {answered} writes answered, {} failures", failures.len());
    assert!(answered > runs || !failures.is_empty(), "the runs make progress, or they prove nothing");
    let reports: Vec<_> = failures.iter().take(5).map(|failure| failure.report()).collect();
    let all: Vec<_> = failures.iter().map(|failure| failure.seed).collect();
    assert!(failures.is_empty(), "{} of {runs} runs failed: {all:?}\n{}", failures.len(), reports.join("\n\n"));
}

/// Writes a line for each seed with a hash over everything that happened in its run, the text of every protocol effect
/// included. Equal files before and after a change of structure show that the protocol's behaviour is the same.
fn write_fingerprints(file: &Path) {
    let (first, runs) = (from_environment("FIRST").unwrap_or(1), from_environment("N").unwrap_or(USUAL_SWEEP));
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
fn a_small_sweep_meets_every_kind_of_trouble() {
    let met: BTreeSet<_> = (1..=300).flat_map(|seed| run(seed, false).met).collect();
    let kinds = [
        "ZooKeeper away",
        "ZooKeeper away for one",
        "ZooKeeper wiped",
        "all crash",
        "bit rot",
        "clock step",
        "crash",
        "damage found at start",
        "damage found in replay",
        "epoch restored",
        "failed sync",
        "false death",
        "full disk",
        "message kept back",
        "one-way partition",
        "partition",
        "pause",
        "quarantine",
        "session ended wrongly",
        "session without end",
        "torn ledger",
        "twin",
        "wiped disk",
    ];
    assert_eq!(met, BTreeSet::from(kinds));
}
