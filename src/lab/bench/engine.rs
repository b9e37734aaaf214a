//! Runs a plan: starts threads and their callers, follows the schedule, merges the tallies.

use std::cell::RefCell;
use std::io;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use super::caller::Caller;
use super::connection::{Target, Template};
use super::error::BenchError;
use super::pace::Pace;
use super::plan::Plan;
use super::plot;
use super::tally::{BUCKET, Bucket, Tally};

/// The measurements of a run.
#[derive(Debug)]
pub struct Run {
    pub(super) tally: Tally,
    /// From the scheduled start of the measurement until the last measured payment ended.
    pub(super) elapsed: Duration,
    /// Start in milliseconds since the Unix epoch, to align the run with the logs of other processes.
    pub(super) started_unix_ms: u64,
    warm_up: Duration,
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
    /// How many measured payments were made.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        self.tally.ok
    }

    /// Throughput and longest latency over time, as SVG.
    #[must_use]
    pub fn plot(&self) -> String {
        plot::draw(&self.tally.timeline, self.warm_up)
    }

    /// Writes one JSON line for every 100 ms of the run, warm-up included.
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
        let step_ms = u64::try_from(BUCKET.as_millis()).expect("a bucket is short");
        (0_u64..)
            .step_by(usize::try_from(step_ms).expect("a bucket is short"))
            .zip(&self.tally.timeline)
            .map(|(at_ms, bucket)| TimelineLine { at_ms, unix_ms: self.started_unix_ms + at_ms, bucket: *bucket })
    }
}

/// Runs a plan. Blocks until it is done.
///
/// # Errors
/// [`BenchError::Url`] for a URL that cannot be used, [`BenchError::Unreachable`] if no node accepts a connection.
pub fn run(plan: &Plan) -> Result<Run, BenchError> {
    let targets = plan.urls.iter().map(|url| Target::resolve(url, plan)).collect::<Result<Vec<_>, _>>();
    let targets = targets.map_err(BenchError::Url)?;
    let plan = Arc::new(plan.clone());
    let (connected, connections) = mpsc::channel();
    let threads = usize::try_from(plan.threads).expect("a usize holds 32 bits here");
    let mut workers = Vec::new();
    for thread in 0..threads {
        let (pace, wait_for_pace) = mpsc::channel();
        let (plan, targets, connected) = (Arc::clone(&plan), targets.clone(), connected.clone());
        let body = move || worker(thread, &plan, &targets, &connected, &wait_for_pace);
        workers.push((pace, std::thread::spawn(body)));
    }
    // Now only the workers hold a sender, so that one that panics is not waited for.
    drop(connected);
    let open: usize = connections.iter().take(threads).sum();
    if open == 0 {
        return Err(BenchError::Unreachable { urls: plan.urls.clone() });
    }
    let pace = Arc::new(Pace::new(&plan));
    let started_unix_ms = unix_ms();
    for (begin, _) in &workers {
        begin.send(Arc::clone(&pace)).expect("a worker waits for the pace before it does anything else");
    }
    pace.release_when_due();
    let mut tally = Tally::new(plan.per_request());
    for (_, worker) in workers {
        tally.add(&worker.join().map_err(|_| BenchError::Panicked)?);
    }
    let end = tally.last_end.unwrap_or_else(Instant::now);
    let elapsed = end.saturating_duration_since(pace.measured_from);
    Ok(Run { elapsed, tally, started_unix_ms, warm_up: plan.warm_up })
}

/// Runs one thread's share of the callers. The tally it returns is empty if the run did not start.
fn worker(
    thread: usize,
    plan: &Arc<Plan>,
    targets: &[Target],
    connected: &mpsc::Sender<usize>,
    wait_for_pace: &mpsc::Receiver<Arc<Pace>>,
) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::new(plan.per_request())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a process that has just started can open an epoll instance");
    let local = LocalSet::new();
    let targets: Rc<[Target]> = targets.into();
    let template = Template::new(plan);
    local.block_on(&runtime, async {
        let mut callers = Vec::new();
        let mut open = 0;
        let (connections, threads) = (plan.connections, plan.threads);
        for number in (0..connections).map(|n| usize::try_from(n).expect("a usize holds 32 bits here")) {
            if number % usize::try_from(threads).expect("a usize holds 32 bits here") != thread {
                continue;
            }
            let (plan, targets, tally) = (Arc::clone(plan), Rc::clone(&targets), Rc::clone(&tally));
            let mut caller = Caller::new(plan, targets, number, template.clone(), tally);
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
