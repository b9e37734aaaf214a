//! Runs a plan: starts threads and their callers, follows the schedule, merges the tallies.

use std::cell::RefCell;
use std::io;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use super::caller::Caller;
use super::connection::Target;
use super::error::BenchError;
use super::nodes::{Observation, Observer};
use super::pace::Pace;
use super::plan::{Plan, Workload};
use super::plot;
use super::prepare;
use super::requests::Requests;
use super::same_key::{KeyCheck, SameKey};
use super::stalls::StallCounts;
use super::tally::{Bucket, Tally};
use super::windows::{self, WindowFigures};

/// The measurements of a run.
#[derive(Debug)]
pub struct Run {
    pub(super) tally: Tally,
    /// From the scheduled start of the measurement until the last measured payment ended.
    pub(super) elapsed: Duration,
    /// Start in milliseconds since the Unix epoch, to align the run with the logs of other processes.
    pub(super) started_unix_ms: u64,
    pub(super) stalls: StallCounts,
    /// Nothing if the plan does not watch the nodes.
    pub(super) observation: Option<Observation>,
    /// Of the workload in which all callers send the same keys.
    pub(super) key_check: Option<KeyCheck>,
    /// From the start to the beginning of the measurement.
    warm_up: Duration,
    operations: &'static str,
}

/// One line of the timeline.
#[derive(Debug, Serialize)]
struct TimelineLine {
    /// Milliseconds since the run started, warm-up included, at the beginning of the bucket.
    at_ms: u64,
    /// The same moment since the Unix epoch.
    unix_ms: u64,
    #[serde(flatten)]
    bucket: Bucket,
}

impl Run {
    /// How many measured payments were made, or reads answered.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.tally.ok
    }

    /// Whether every key that all callers sent was applied once and answered equally; true of the other workloads.
    #[must_use]
    pub fn keys_are_kept(&self) -> bool {
        self.key_check.is_none_or(|check| check.is_kept())
    }

    /// The measurement in windows of ten seconds.
    pub(super) fn windows(&self) -> Vec<WindowFigures> {
        windows::figures(&self.tally.windows, self.elapsed)
    }

    /// Throughput and latencies over time, as SVG.
    #[must_use]
    pub fn plot(&self) -> String {
        plot::draw(&self.tally.timeline, &self.windows(), self.warm_up, self.operations)
    }

    /// Writes one JSON line for every 100 ms of the run, warm-up included; in a run of more than an hour for longer
    /// intervals.
    ///
    /// # Errors
    /// What writing brings.
    pub fn write_timeline(&self, out: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        for line in self.timeline() {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Every bucket from the start to the last payment, empty ones included.
    fn timeline(&self) -> impl Iterator<Item = TimelineLine> + '_ {
        let step_ms = u64::try_from(self.tally.timeline.width().as_millis()).expect("a bucket is short");
        (0_u64..)
            .step_by(usize::try_from(step_ms).expect("a bucket is short"))
            .zip(self.tally.timeline.intervals())
            .map(|(at_ms, bucket)| TimelineLine { at_ms, unix_ms: self.started_unix_ms + at_ms, bucket: *bucket })
    }
}

/// What the callers of all threads share.
#[derive(Clone)]
struct Shared {
    plan: Arc<Plan>,
    targets: Vec<Target>,
    requests: Requests,
    same_key: Arc<SameKey>,
}

/// A thread of the generator, which waits for the pace.
struct Worker {
    begin: mpsc::Sender<Arc<Pace>>,
    thread: JoinHandle<Tally>,
}

/// Runs a plan. Blocks until it is done.
///
/// # Errors
/// [`BenchError::Url`] for a URL that cannot be used, [`BenchError::Unreachable`] if no node accepts a connection,
/// [`BenchError::NotPrepared`] if what is to be read could not be made.
pub fn run(plan: &Plan) -> Result<Run, BenchError> {
    let targets = plan.urls.iter().map(|url| Target::resolve(url, plan)).collect::<Result<Vec<_>, _>>();
    let targets = targets.map_err(BenchError::Url)?;
    let same_key = Arc::new(SameKey::new(plan));
    let requests = Requests::new(plan, block_on(prepare::prepare(plan))?, Arc::clone(&same_key));
    let shared = Shared { plan: Arc::new(plan.clone()), targets, requests, same_key };
    let workers = start_workers(&shared)?;
    let observer = plan.watch_nodes.then(|| Observer::start(&plan.urls, &plan.access));
    let pace = Arc::new(Pace::new(plan));
    let started_unix_ms = unix_ms();
    if let Some(observer) = &observer {
        observer.begin(pace.measured_from);
    }
    for worker in &workers {
        worker.begin.send(Arc::clone(&pace)).expect("a worker waits for the pace before it does anything else");
    }
    pace.release_when_due();
    let mut tally = Tally::new(plan.per_request());
    for worker in workers {
        tally.add(&worker.thread.join().map_err(|_| BenchError::Panicked)?);
    }
    let observation = observer.map(Observer::end);
    let end = tally.last_end.unwrap_or_else(Instant::now);
    let key_check = (plan.workload == Workload::SameKey)
        .then(|| KeyCheck::new(shared.same_key.counts(), block_on(prepare::received(plan)), plan.amount));
    Ok(Run {
        elapsed: end.saturating_duration_since(pace.measured_from),
        stalls: pace.stalls.counts(end),
        tally,
        started_unix_ms,
        observation,
        key_check,
        warm_up: pace.measured_from.saturating_duration_since(pace.start),
        operations: plan.workload.operations(),
    })
}

/// Starts the threads and waits until their callers have connected.
fn start_workers(shared: &Shared) -> Result<Vec<Worker>, BenchError> {
    let (connected, connections) = mpsc::channel();
    let threads = usize::try_from(shared.plan.threads).expect("a usize holds 32 bits here");
    let start = |number: usize| {
        let (begin, wait_for_pace) = mpsc::channel();
        let (shared, connected) = (shared.clone(), connected.clone());
        let body = move || worker(number, &shared, &connected, &wait_for_pace);
        Worker { begin, thread: std::thread::spawn(body) }
    };
    let workers: Vec<Worker> = (0..threads).map(start).collect();
    // Now only the workers hold a sender, so that one that panics is not waited for.
    drop(connected);
    let open: usize = connections.iter().take(threads).sum();
    if open == 0 { Err(BenchError::Unreachable { urls: shared.plan.urls.clone() }) } else { Ok(workers) }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a process that has just started can open an epoll instance").block_on(future)
}

/// Runs one thread's share of the callers. The tally it returns is empty if the run did not start.
fn worker(
    thread: usize,
    shared: &Shared,
    connected: &mpsc::Sender<usize>,
    wait_for_pace: &mpsc::Receiver<Arc<Pace>>,
) -> Tally {
    let plan = &shared.plan;
    let tally = Rc::new(RefCell::new(Tally::new(plan.per_request())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a process that has just started can open an epoll instance");
    let local = LocalSet::new();
    let targets: Rc<[Target]> = shared.targets.clone().into();
    local.block_on(&runtime, async {
        let mut callers = Vec::new();
        let mut open = 0;
        let (connections, threads) = (plan.connections, plan.threads);
        for number in (0..connections).map(|n| usize::try_from(n).expect("a usize holds 32 bits here")) {
            if number % usize::try_from(threads).expect("a usize holds 32 bits here") != thread {
                continue;
            }
            let (plan, targets, tally) = (Arc::clone(plan), Rc::clone(&targets), Rc::clone(&tally));
            let (requests, same_key) = (shared.requests.clone(), Arc::clone(&shared.same_key));
            let mut caller = Caller::new(plan, targets, number, requests, same_key, tally);
            open += usize::from(caller.connect().await);
            callers.push(caller);
        }
        connected.send(open).expect("the run waits for every thread");
        // There is no pace if no node could be reached.
        let Ok(pace) = wait_for_pace.recv() else { return };
        let mut running = JoinSet::new();
        for caller in callers {
            running.spawn_local(caller.run(Arc::clone(&pace)));
        }
        running.join_all().await;
    });
    tally.replace(Tally::new(plan.per_request()))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
