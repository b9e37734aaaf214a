//! Start and end of a load.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::exchange::{Exchange, TargetNode};
use super::final_reads;
use super::plan::{LoadPlan, LoadProgress, LoadSummary, Target};
use super::process::ClientProcess;
use super::state::LoadState;
use crate::history::{Event, PhaseEvent, RecordError, Recorder};
use quorapay_node::transport::{HttpNetwork, Network};

/// Why a load cannot be started or its history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no target, or a URL is invalid.
    #[error("{0}")]
    Target(String),
    /// A number of the plan is too small.
    #[error("the load's {0} must be at least {1}")]
    Plan(&'static str, u32),
    /// The history is incomplete.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Starts loads.
#[derive(Debug)]
pub struct Load;

/// A running load. Dropping it ends it at once, without final reads.
pub struct RunningLoad {
    state: Arc<LoadState>,
    stopping: watch::Sender<bool>,
    processes: JoinSet<()>,
}

impl Load {
    /// Starts the plan's schedule in tasks of the current runtime. Every attempt is recorded. The final reads are recorded
    /// for one process more than the plan has.
    ///
    /// # Errors
    /// [`LoadError::Target`] and [`LoadError::Plan`]; nothing was sent then.
    pub fn start(targets: &[Target], plan: LoadPlan, recorder: Recorder) -> Result<RunningLoad, LoadError> {
        Self::start_over(Arc::new(HttpNetwork::only_sending()), targets, plan, recorder)
    }

    /// The same over another network than that of this machine.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_over(
        network: Arc<dyn Network>,
        targets: &[Target],
        plan: LoadPlan,
        recorder: Recorder,
    ) -> Result<RunningLoad, LoadError> {
        check(&plan)?;
        let nodes = targets.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(LoadError::Target("a load needs at least one node".to_owned()));
        }
        phase(&recorder, "load");
        let start = Instant::now();
        let exchange = Exchange::new(network, recorder, plan.deadline);
        let (stopping, watched) = watch::channel(false);
        let state = Arc::new(LoadState::new(nodes, plan, exchange, watched));
        let mut processes = JoinSet::new();
        for number in 0..state.plan.processes {
            processes.spawn(ClientProcess::new(Arc::clone(&state), number).run(start));
        }
        Ok(RunningLoad { state, stopping, processes })
    }
}

impl RunningLoad {
    /// The counts so far.
    #[must_use]
    pub fn progress(&self) -> LoadProgress {
        self.state.progress()
    }

    /// Ends the schedule, waits for the requests in flight, and makes the final reads. Called when every fault is healed.
    /// The final reads end after `deadline`, whatever was answered by then; requests in flight are still waited for.
    ///
    /// # Errors
    /// [`LoadError::Record`] if the history is incomplete.
    pub async fn finish(mut self, deadline: Duration) -> Result<LoadSummary, LoadError> {
        self.stopping.send_replace(true);
        while let Some(ended) = self.processes.join_next().await {
            ended.expect("a process does not panic");
        }
        let recorder = self.state.exchange.recorder();
        phase(recorder, "final_reads");
        let summary = final_reads::read(&self.state, Instant::now() + deadline).await;
        phase(recorder, "end");
        recorder.flush()?;
        Ok(summary)
    }
}

fn check(plan: &LoadPlan) -> Result<(), LoadError> {
    for (name, given, min) in [
        ("rate", plan.rate, 1),
        ("number of processes", plan.processes, 1),
        ("number of outstanding operations", plan.outstanding, 1),
        ("number of accounts", plan.accounts, 2),
    ] {
        if given < min {
            return Err(LoadError::Plan(name, min));
        }
    }
    Ok(())
}

fn node(target: &Target) -> Result<TargetNode, LoadError> {
    let Target { name, url } = target;
    let base = Url::parse(url).ok().filter(|base| base.scheme() == "http" && base.has_host());
    let base = base.ok_or_else(|| LoadError::Target(format!("{url:?} does not look like http://HOST:PORT")))?;
    Ok(TargetNode { name: name.clone(), base })
}

fn phase(recorder: &Recorder, name: &str) {
    recorder.record(&Event::Phase(PhaseEvent { at: recorder.now(), name: name.to_owned() }));
}
