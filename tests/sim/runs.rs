//! Runs from seeds: one run, a sweep over many on all processors, and the report of a failed run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};

use super::SETTLING_TIME;
use super::invariants::bounded_failover;
use super::knobs::{Knobs, SECOND};
use super::world::World;

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) trace: (u64, u64),
    pub(crate) answered: usize,
    /// Kinds of faults that it met.
    pub(crate) met: BTreeSet<&'static str>,
}

/// Executes one run: a phase with faults, then everything heals and must settle, twice if messages were held back; then
/// the leader and its successor die. A run with upgrades completes them. Some runs end with a fault that lasts.
pub(crate) fn run(seed: u64, written_trace: bool) -> Outcome {
    let knobs = Knobs::from_seed(seed);
    let end = knobs.safety_phase;
    let last_straggler = if knobs.stragglers > 0 { end + knobs.straggler_delay } else { end };
    let mut world = World::new(knobs, written_trace);
    world.run_until(end);
    world.heal();
    world.settle(SETTLING_TIME);
    if !world.held_back.is_empty() {
        world.release_held_back();
        world.run_until(world.now + SECOND);
        world.settle(SETTLING_TIME);
    }
    bounded_failover::check(&mut world, last_straggler);
    world.settle(SETTLING_TIME);
    world.complete_the_upgrade();
    if let Some(fault) = world.knobs.lasting {
        world.endure(fault);
    }
    Outcome { trace: world.trace.summary(), answered: world.clients.settled(), met: world.met }
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) reason: String,
    /// The file of the check that failed.
    pub(crate) file: String,
}

impl Failure {
    /// What a reader needs to investigate it.
    pub(crate) fn report(&self) -> String {
        let Self { seed, reason, file } = self;
        let (knobs, revision) = (Knobs::from_seed(*seed), revision());
        format!(
            "seed {seed} at revision {revision}: {reason}\n({file})\n{knobs:?}\nreplay: make sim SEED={seed} (TRACE=1 prints every event)"
        )
    }

    /// The name of the file of the check that failed.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn check(&self) -> &str {
        self.file.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or(&self.file)
    }
}

thread_local! {
    static IN_A_RUN: Cell<bool> = const { Cell::new(false) };
    static PANICKED_IN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Hides the panics of runs and stores where they occurred. Other panics are printed as usual.
fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if IN_A_RUN.get() {
                let file = info.location().map_or_else(String::new, |location| location.file().to_owned());
                PANICKED_IN.set(file);
            } else {
                default_hook(info);
            }
        }));
    });
}

/// Executes one run. Returns why it failed, if it did.
pub(crate) fn failure(seed: u64, written_trace: bool, answered: &AtomicU64) -> Option<Failure> {
    install_panic_hook();
    IN_A_RUN.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, written_trace)));
    IN_A_RUN.set(false);
    match result {
        Ok(outcome) => {
            answered.fetch_add(u64::try_from(outcome.answered).expect("few writes"), Ordering::Relaxed);
            None
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let reason = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned();
            Some(Failure { seed, reason, file: PANICKED_IN.take() })
        }
    }
}

/// Executes runs on all processors until all are done or `max_failures` have failed. The failures are sorted by seed.
/// `prepare` is called once in each thread.
pub(crate) fn sweep(seeds: Range<u64>, max_failures: usize, prepare: impl Fn() + Sync) -> (Vec<Failure>, u64) {
    let (next, failed, answered) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicU64::new(0));
    let max_failures = u64::try_from(max_failures).expect("few failures");
    let work = || {
        prepare();
        let mut failures = Vec::new();
        while failed.load(Ordering::Relaxed) < max_failures {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if let Some(failure) = failure(seed, false, &answered) {
                failed.fetch_add(1, Ordering::Relaxed);
                failures.push(failure);
            }
        }
        failures
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut failures: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught in each run")).collect()
    });
    failures.sort_by_key(|failure| failure.seed);
    (failures, answered.into_inner())
}

/// A number from the environment; an empty text counts as unset.
pub(crate) fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn revision() -> &'static str {
    static REVISION: OnceLock<String> = OnceLock::new();
    REVISION.get_or_init(|| {
        let answer = Command::new("git").args(["describe", "--always", "--dirty"]).output();
        answer.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    })
}
