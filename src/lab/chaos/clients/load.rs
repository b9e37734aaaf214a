//! A load from its start to its last read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use super::exchange::{Exchange, Node};
use super::final_reads;
use super::plan::{LoadPlan, LoadProgress, LoadSummary, Target};
use super::process::Process;
use super::shared::Shared;
use crate::history::{Event, Phase, RecordError, Recorder};

/// Why a load cannot be started or its history not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is nobody to ask, or a URL is none.
    #[error("{0}")]
    Target(String),
    /// A number of the plan is too small to mean anything.
    #[error("the load's {0} must be at least {1}")]
    Plan(&'static str, u32),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(#[from] reqwest::Error),
    /// The history is not complete.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Starts loads.
#[derive(Debug)]
pub struct Load;

/// A load that is going on. Dropping it ends it at once, without final reads.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    over: watch::Sender<bool>,
    processes: JoinSet<()>,
}

impl Load {
    /// Starts to ask the nodes on the plan's schedule, from now on, in tasks of the runtime that this is called in. Every
    /// attempt is written to the recorder. The final reads are those of one process more than the plan has.
    ///
    /// # Errors
    /// [`LoadError::Target`], [`LoadError::Plan`] and [`LoadError::Setup`]; nothing was sent then.
    pub fn start(targets: &[Target], plan: LoadPlan, recorder: Recorder) -> Result<Running, LoadError> {
        check(&plan)?;
        let nodes = targets.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(LoadError::Target("a load needs at least one node".to_owned()));
        }
        phase(&recorder, "load");
        let start = Instant::now();
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let exchange = Exchange::new(recorder, plan.deadline)?;
        let (over, watched) = watch::channel(false);
        let shared = Arc::new(Shared::new(nodes, plan, run, exchange, watched));
        let mut processes = JoinSet::new();
        for number in 0..shared.plan.processes {
            processes.spawn(Process::new(Arc::clone(&shared), number).run(start));
        }
        Ok(Running { shared, over, processes })
    }
}

impl Running {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> LoadProgress {
        self.shared.progress()
    }

    /// Ends the schedule, waits for what is under way, and makes the final reads: call it when every fault is healed.
    /// The final reads end `deadline` after they begin, whatever was answered by then; a request that is under way
    /// then is still waited for.
    ///
    /// # Errors
    /// [`LoadError::Record`] if the history is not complete.
    pub async fn finish(mut self, deadline: Duration) -> Result<LoadSummary, LoadError> {
        self.over.send_replace(true);
        while let Some(ended) = self.processes.join_next().await {
            ended.expect("a process does not panic");
        }
        let recorder = self.shared.exchange.recorder();
        phase(recorder, "final_reads");
        let summary = final_reads::read(&self.shared, Instant::now() + deadline).await;
        phase(recorder, "end");
        recorder.flush()?;
        Ok(summary)
    }
}

fn check(plan: &LoadPlan) -> Result<(), LoadError> {
    for (name, given, least) in [
        ("rate", plan.rate, 1),
        ("number of processes", plan.processes, 1),
        ("number of outstanding operations", plan.outstanding, 1),
        ("number of accounts", plan.accounts, 2),
    ] {
        if given < least {
            return Err(LoadError::Plan(name, least));
        }
    }
    Ok(())
}

fn node(target: &Target) -> Result<Node, LoadError> {
    let Target { name, url } = target;
    let base = Url::parse(url).ok().filter(|base| base.scheme() == "http" && base.has_host());
    let base = base.ok_or_else(|| LoadError::Target(format!("{url:?} does not look like http://HOST:PORT")))?;
    Ok(Node { name: name.clone(), base })
}

fn phase(recorder: &Recorder, name: &str) {
    recorder.record(&Event::Phase(Phase { at: recorder.now(), name: name.to_owned() }));
}
