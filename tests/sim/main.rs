//! The simulation: whole clusters of real cores in one thread, from one seed, under every kind of trouble; and the
//! invariants that must hold whatever happens. `SEED=x` replays one run, `N=` says how many the sweep makes.

mod clients;
mod coordination;
mod disk;
mod faults;
mod invariants;
mod knobs;
mod network;
mod node;
mod random;
mod scenarios;
mod trace;
mod views;
mod workload;
mod world;
mod zookeeper;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use knobs::{Knobs, SECOND};
use world::World;

/// Runs of a sweep where `N` does not say otherwise.
const USUAL_SWEEP: u64 = 200;

/// Virtual time in which a healed cluster must have settled.
const SETTLING_TIME: u64 = 60 * SECOND;

/// What a run came to.
struct Outcome {
    trace: (u64, u64),
    answered: usize,
}

fn run(seed: u64, written_trace: bool) -> Outcome {
    let knobs = Knobs::from_seed(seed);
    let end = knobs.safety_phase;
    let mut world = World::new(knobs, written_trace);
    world.run_until(end);
    world.heal();
    world.settle(SETTLING_TIME);
    Outcome { trace: world.trace.summary(), answered: world.clients.settled() }
}

/// Why a run failed, if it did.
fn failure(seed: u64, written_trace: bool, answered: &AtomicU64) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, written_trace))) {
        Ok(outcome) => {
            answered.fetch_add(u64::try_from(outcome.answered).expect("few writes"), Ordering::Relaxed);
            None
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Some(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn revision() -> String {
    let answer = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    answer.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn report(seed: u64, reason: &str) -> String {
    let (knobs, revision) = (Knobs::from_seed(seed), revision());
    format!("seed {seed} at revision {revision}: {reason}\n{knobs:?}\nreplay: SEED={seed} make sim (TRACE=1 tells all)")
}

/// Makes the runs on all processors; the failures come in the order of their seeds.
fn sweep(seeds: std::ops::Range<u64>, answered: &AtomicU64) -> Vec<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return failures;
            }
            failures.extend(failure(seed, false, answered).map(|reason| (seed, reason)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failures: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught in each run")).collect()
    });
    failures.sort_by_key(|(seed, _)| *seed);
    failures
}

#[test]
fn a_sweep_of_seeds_keeps_every_invariant() {
    let answered = AtomicU64::new(0);
    if let Some(seed) = from_environment("SEED") {
        let written = std::env::var_os("TRACE").is_some();
        if let Some(reason) = failure(seed, written, &answered) {
            panic!("{}", report(seed, &reason));
        }
        return;
    }
    let (first, runs) = (from_environment("FIRST").unwrap_or(1), from_environment("N").unwrap_or(USUAL_SWEEP));
    let began = Instant::now();
    let failures = sweep(first..first + runs, &answered);
    let (spent, answered) = (began.elapsed(), answered.into_inner());
    eprintln!("{runs} seeds from {first} in {spent:.1?}, {answered} writes answered, {} failures", failures.len());
    assert!(answered > runs, "the runs make progress, or they prove nothing");
    let reports: Vec<_> = failures.iter().take(5).map(|(seed, reason)| report(*seed, reason)).collect();
    let all: Vec<_> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failures.is_empty(), "{} of {runs} runs failed: {all:?}\n{}", failures.len(), reports.join("\n\n"));
}

#[test]
fn the_same_seed_twice_gives_the_identical_trace() {
    for seed in [3, 14, 159, 2_653] {
        assert_eq!(run(seed, false).trace, run(seed, false).trace, "seed {seed}");
    }
}
