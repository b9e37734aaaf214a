//! What a run costs every node, read from the nodes' metrics before, during and after it.
//!
//! It runs on a thread of its own and keeps only the first and the last reading and the highest values, however long the run
//! is. A node that cannot be asked is listed with the reason.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::time::{ClockId, clock_gettime};
use quorapay_api::Numbers;
use quorapay_client::{Access, Client};
use tokio::sync::oneshot;

/// Interval between two readings during the run. One reading costs a node about a millisecond.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a node may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Names of metrics in the JSON form.
const CPU: &str = "process_cpu_seconds";
const WRITTEN: &str = "process_io_storage_written_bytes";
const RESIDENT: &str = "process_resident_memory_bytes";
const STARTED: &str = "process_start_time_seconds";
const LAG: &str = "views_lag_entries";
const THREAD_CPU: &str = "thread_cpu_seconds.";

/// What one node's metrics say at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) cpu: Duration,
    /// By the names of threads.
    pub(super) threads: BTreeMap<String, Duration>,
    pub(super) written_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) views_lag: u64,
    /// Changes when the process is restarted.
    started: f64,
}

impl Reading {
    /// Of the metrics, or what is missing among them.
    fn of(numbers: &Numbers<'_>) -> Result<Self, String> {
        let missing = |name: &str| format!("its metrics lack {name}");
        let counter = |name: &str| numbers.counters.get(name).ok_or_else(|| missing(name));
        let gauge = |name: &str| numbers.gauges.get(name).ok_or_else(|| missing(name));
        let time = |number: &serde_json::Number| {
            Duration::try_from_secs_f64(number.as_f64().unwrap_or_default()).unwrap_or_default()
        };
        let threads = numbers.counters.iter().filter_map(|(name, cpu)| {
            let thread = name.strip_prefix(THREAD_CPU)?;
            Some((thread.to_owned(), time(cpu)))
        });
        Ok(Self {
            cpu: time(counter(CPU)?),
            threads: threads.collect(),
            written_bytes: counter(WRITTEN)?.as_u64().ok_or_else(|| missing(WRITTEN))?,
            resident_bytes: gauge(RESIDENT)?.as_u64().ok_or_else(|| missing(RESIDENT))?,
            views_lag: gauge(LAG)?.as_u64().ok_or_else(|| missing(LAG))?,
            started: gauge(STARTED)?.as_f64().ok_or_else(|| missing(STARTED))?,
        })
    }
}

/// The readings of one node.
#[derive(Clone, Debug)]
pub(super) struct NodeReadings {
    pub(super) node_id: String,
    /// Where clients reach it; `None` if the node that was asked could not reach it.
    pub(super) url: Option<String>,
    pub(super) leads: bool,
    /// At the beginning of the measurement and at its end.
    pub(super) span: Option<(Reading, Reading)>,
    pub(super) peak_resident_bytes: u64,
    pub(super) peak_views_lag: u64,
    /// Why there is nothing to show, or not everything.
    pub(super) problem: Option<String>,
}

impl NodeReadings {
    /// Takes a reading: the first one begins the span.
    fn take(&mut self, reading: Result<Reading, String>) {
        match reading {
            Ok(reading) => {
                self.peak_resident_bytes = self.peak_resident_bytes.max(reading.resident_bytes);
                self.peak_views_lag = self.peak_views_lag.max(reading.views_lag);
                match &mut self.span {
                    Some((first, last)) => {
                        if first.started.total_cmp(&reading.started).is_ne() {
                            self.problem = Some("it was restarted during the run".to_owned());
                        }
                        *last = reading;
                    }
                    None => self.span = Some((reading.clone(), reading)),
                }
            }
            Err(problem) => self.problem = Some(problem),
        }
    }
}

/// What was observed.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    pub(super) nodes: Vec<NodeReadings>,
    /// Why no node is known.
    pub(super) problem: Option<String>,
    /// Processor time of this process during the measurement.
    pub(super) own_cpu: Duration,
}

/// Observes the nodes until it is told to stop.
pub(super) struct Observer {
    begin: mpsc::Sender<Instant>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Observation>,
}

impl Observer {
    /// Finds the nodes and reads their metrics for the first time.
    pub(super) fn start(urls: &[String], access: &Access) -> Self {
        let (begin, begun) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (ready, wait_until_ready) = mpsc::channel::<()>();
        let (urls, access) = (urls.to_vec(), access.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a process that has just started can open an epoll instance");
            runtime.block_on(observe((&urls, &access), &begun, &ready, stopped))
        });
        // An error means that the thread has ended, which `end` finds out.
        let _ = wait_until_ready.recv();
        Self { begin, stop, thread }
    }

    /// Says when the measurement begins.
    pub(super) fn begin(&self, measured_from: Instant) {
        // The thread ends early only if it panics, which `end` finds out.
        let _ = self.begin.send(measured_from);
    }

    /// Reads for the last time.
    pub(super) fn end(self) -> Observation {
        // As in `begin`.
        let _ = self.stop.send(());
        let panicked = |_| Observation { problem: Some("their observer broke down".to_owned()), ..Default::default() };
        self.thread.join().unwrap_or_else(panicked)
    }
}

async fn observe(
    (urls, access): (&[String], &Access),
    begun: &mpsc::Receiver<Instant>,
    ready: &mpsc::Sender<()>,
    mut stopped: oneshot::Receiver<()>,
) -> Observation {
    let http = access.http().timeout(TIMEOUT).build().expect("its certificates are read already");
    let mut observation = match nodes(urls, access).await {
        Ok(nodes) => Observation { nodes, ..Observation::default() },
        Err(problem) => Observation { problem: Some(problem), ..Observation::default() },
    };
    read_all(&http, &mut observation.nodes).await;
    let mut own_cpu = own_cpu_time();
    let _ = ready.send(());
    // The sender is gone if the run does not begin.
    let Ok(measured_from) = begun.recv() else { return observation };
    if measured_from > Instant::now() {
        tokio::select! {
            () = tokio::time::sleep_until(measured_from.into()) => {}
            _ = &mut stopped => return observation,
        }
        observation.nodes.iter_mut().for_each(|node| node.span = None);
        read_all(&http, &mut observation.nodes).await;
        own_cpu = own_cpu_time();
    }
    while tokio::time::timeout(INTERVAL, &mut stopped).await.is_err() {
        read_all(&http, &mut observation.nodes).await;
    }
    observation.own_cpu = own_cpu_time().saturating_sub(own_cpu);
    read_all(&http, &mut observation.nodes).await;
    mark_leader(urls, access, &mut observation.nodes).await;
    observation
}

/// The nodes, as one of them names them.
async fn nodes(urls: &[String], access: &Access) -> Result<Vec<NodeReadings>, String> {
    let client = Client::with_access(urls, TIMEOUT, access).map_err(|error| error.to_string())?;
    let cluster = client.cluster().await.map_err(|error| error.to_string())?;
    let node = |node: quorapay_client::NodeView| {
        let url = node.status.map(|status| status.client_url);
        let problem = url.is_none().then(|| format!("{} does not reach it", cluster.node_id));
        NodeReadings {
            node_id: node.node_id.to_string(),
            url,
            leads: false,
            span: None,
            peak_resident_bytes: 0,
            peak_views_lag: 0,
            problem,
        }
    };
    Ok(cluster.nodes.into_iter().map(node).collect())
}

async fn mark_leader(urls: &[String], access: &Access, nodes: &mut [NodeReadings]) {
    let Ok(client) = Client::with_access(urls, TIMEOUT, access) else { return };
    let leader = client.cluster().await.ok().and_then(|cluster| cluster.leader).map(|leader| leader.to_string());
    nodes.iter_mut().for_each(|node| node.leads = leader.as_ref() == Some(&node.node_id));
}

async fn read_all(http: &reqwest::Client, nodes: &mut [NodeReadings]) {
    let read = nodes.iter_mut().filter(|node| node.url.is_some()).map(async |node| {
        let reading = read(http, node.url.as_deref().unwrap_or_default()).await;
        node.take(reading);
    });
    join_all(read).await;
}

async fn read(http: &reqwest::Client, url: &str) -> Result<Reading, String> {
    let describe = |error: reqwest::Error| format!("its metrics could not be read: {error}");
    let answer = http.get(format!("{url}/metrics?format=json")).send().await.map_err(describe)?;
    let numbers: Numbers<'static> = answer.error_for_status().map_err(describe)?.json().await.map_err(describe)?;
    Reading::of(&numbers)
}

fn own_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
