//! One run: start the cluster, load it, inject and heal faults, check the result.

use std::iter;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;

use super::clients::{Load, LoadPlan, LoadSummary, RunningLoad, Target};
use super::cluster::{RECOVERY_TIMEOUT, TestCluster};
use super::compose::ComposeCluster;
use super::error::ChaosError;
use super::fault_record::FaultRecord;
use super::kind::FaultKind;
use super::nemesis::{DrawnFault, Nemesis, Round};
use super::notice::Notice;
use super::plan::{ChaosPlan, Extent, Ground};
use super::report::{Report, RunResult};
use super::skipped::SkippedKind;
use super::subject::Subject;
use super::tools::Tools;
use crate::check::{Subjects, check};
use crate::fault::{ActiveFault, ComposeStack, FaultAction, HealRequest, Tolerated, Topology, UPKEEP_INTERVAL};
use crate::history::{Event, FaultEvent, FaultPhase, Header, Micros, PhaseEvent, Recorder};
use crate::local::LocalError;

/// How long clients make payments before the first fault and after the last.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// Maximum duration of a fault that should make a node exit: after its disk is full, a node may run on for a while.
const MAX_EXTENDED_DURATION: Duration = Duration::from_secs(10);

/// How long the final reads may take.
const FINAL_READS_TIMEOUT: Duration = Duration::from_secs(30);

/// What a node logs that finds its ledger damaged while it runs.
const LEDGER_DAMAGED: &str = "this node's ledger is damaged";

/// Makes a run and writes its report.
///
/// # Errors
/// [`ChaosError`] if the run could not be made or checked. A broken promise is no error: see the report's verdict.
pub fn run<'a>(
    plan: &'a ChaosPlan,
    notify: &'a mut dyn FnMut(Notice<'_>),
) -> LocalBoxFuture<'a, Result<Report, ChaosError>> {
    // Boxed, so that it is compiled here and not again in the program that awaits it.
    Box::pin(run_plan(plan, notify))
}

async fn run_plan(plan: &ChaosPlan, notify: &mut dyn FnMut(Notice<'_>)) -> Result<Report, ChaosError> {
    match &plan.ground {
        Ground::Own(network) => {
            let tools = Tools::detect(&plan.faults).await;
            let possible = require_some(tools.possible(&plan.faults, *network), notify)?;
            notify(Notice::Starting);
            let cluster = TestCluster::start(*network, plan.nodes, plan.zookeepers, &tools).await?;
            play(plan, cluster, possible, notify).await.map(|(report, _)| report)
        }
        Ground::Compose { project } => {
            let cluster = ComposeCluster::find(project.as_deref(), unix_ms()).await?;
            let possible = require_some(ComposeCluster::possible(&plan.faults), notify)?;
            let plan = ChaosPlan { nodes: cluster.nodes().len(), zookeepers: cluster.zookeepers(), ..plan.clone() };
            match play(&plan, cluster, possible, notify).await {
                Ok((report, mut cluster)) => cluster.heal_all().await.map(|()| report),
                Err(error) => {
                    ComposeStack::find(project.as_deref()).await?.heal(&HealRequest::default()).await?;
                    Err(error)
                }
            }
        }
    }
}

/// Says what is skipped.
fn require_some(
    (kinds, skipped): (Vec<FaultKind>, Vec<SkippedKind>),
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<(Vec<FaultKind>, Vec<SkippedKind>), ChaosError> {
    skipped.iter().for_each(|skipped| notify(Notice::Skipping(skipped)));
    if kinds.is_empty() {
        return Err(ChaosError::Impossible("none of these faults can be made here".to_owned()));
    }
    Ok((kinds, skipped))
}

/// Loads a cluster that is whole, breaks and heals it, and judges what the clients were told.
async fn play<C: Subject>(
    plan: &ChaosPlan,
    mut cluster: C,
    (kinds, skipped): (Vec<FaultKind>, Vec<SkippedKind>),
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<(Report, C), ChaosError> {
    std::fs::create_dir_all(&plan.report).map_err(LocalError::io(plan.report.display().to_string()))?;
    let history = plan.report.join("history.jsonl");
    let load_plan = LoadPlan { rate: plan.rate, ..LoadPlan::standard(plan.seed) };
    let header = Header::new("chaos", plan.seed, unix_ms(), load_plan.processes);
    let recorder = Recorder::create(&history, &header)?;
    notify(Notice::Loading);
    let load = Load::start(&cluster.nodes(), load_plan, recorder.clone())?;
    let mut state = RunState {
        plan,
        recorder,
        faults: Vec::new(),
        last_number: 0,
        findings: Vec::new(),
        notes: Vec::new(),
        notify: &mut *notify,
    };
    state.inject_faults(&mut cluster, Nemesis::new(plan.seed, kinds)).await?;
    let summary = state.end(&mut cluster, load).await?;
    let elapsed = state.recorder.now();
    let ledgers = cluster.end(&plan.report).await?;
    state.read_logs(&cluster.nodes());
    let RunState { faults, findings, notes, .. } = state;
    notify(Notice::Checking);
    let checked = check(&Subjects { histories: vec![history.clone()], ledgers, all_complete: true }).await?;
    let report =
        Report::new(plan, RunResult { faults, skipped, findings, notes, summary, checked, elapsed }, &history)?;
    report.write(&plan.report)?;
    if !report.is_kept() {
        cluster.keep_evidence(&plan.report)?;
    }
    Ok((report, cluster))
}

/// What the nodes may do while these faults last.
fn tolerated(faults: &[ActiveFault]) -> Tolerated {
    let all = || faults.iter().map(ActiveFault::tolerated);
    Tolerated { exit: all().any(|tolerated| tolerated.exit), damage: all().any(|tolerated| tolerated.damage) }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The state of a run while the clients load the cluster.
struct RunState<'a> {
    plan: &'a ChaosPlan,
    recorder: Recorder,
    faults: Vec<FaultRecord>,
    /// Number of the last fault.
    last_number: u64,
    findings: Vec<String>,
    notes: Vec<String>,
    notify: &'a mut dyn FnMut(Notice<'_>),
}

impl RunState<'_> {
    /// Injects faults for the plan's duration or number of rounds.
    async fn inject_faults(&mut self, cluster: &mut impl Subject, mut nemesis: Nemesis) -> Result<(), ChaosError> {
        let began = Instant::now();
        self.wait(cluster, QUIET_TIME, &[]).await?;
        let mut rounds = 0;
        while match self.plan.extent {
            Extent::Duration(duration) => began.elapsed() < duration,
            Extent::Rounds(wanted) => rounds < wanted,
        } {
            rounds += 1;
            let round = nemesis.next();
            if !self.round(cluster, &round).await? {
                return Ok(());
            }
            self.wait(cluster, round.pause, &[]).await?;
        }
        self.wait(cluster, QUIET_TIME, &[]).await
    }

    /// Injects one fault or two at once, heals them, and waits until the cluster has recovered. False if it does not in
    /// time.
    async fn round(&mut self, cluster: &mut impl Subject, round: &Round) -> Result<bool, ChaosError> {
        let Some(leader) = cluster.leader().await else {
            self.add_finding(format!("nobody leads for {} s, though everything is healed", RECOVERY_TIMEOUT.as_secs()));
            return Ok(false);
        };
        let topology = Topology { nodes: self.plan.nodes, zookeepers: self.plan.zookeepers, leader };
        let session = cluster.session_timeout();
        let (first, duration) = FaultAction::choose(&round.first, topology, session);
        let second = round.second.as_ref().map(|drawn| (drawn, FaultAction::choose(drawn, topology, session)));
        let second = second.filter(|(_, (action, _))| first.is_compatible_with(action, topology));
        let duration = second.as_ref().map_or(duration, |(_, (_, other))| duration.max(*other));

        let mut faults = Vec::new();
        for (drawn, action) in
            iter::once((&round.first, first)).chain(second.map(|(drawn, (action, _))| (drawn, action)))
        {
            faults.extend(self.begin(cluster, drawn, action).await?);
        }
        self.wait(cluster, duration, &faults).await?;
        self.end_round(cluster, faults).await
    }

    async fn end_round(&mut self, cluster: &mut impl Subject, faults: Vec<ActiveFault>) -> Result<bool, ChaosError> {
        let count = faults.len();
        let tolerated = tolerated(&faults);
        let damaged: Vec<(usize, usize)> = faults.iter().filter_map(ActiveFault::damaged).collect();
        for fault in faults {
            fault.heal(cluster.target()).await?;
        }
        self.check_processes(cluster, tolerated)?;
        cluster.start_nodes().await?;
        let healed = self.recorder.now();
        let mut unexpected = Vec::new();
        let recovered = cluster.wait_until_recovered(tolerated, &mut unexpected).await;
        self.conclude(count, healed);
        unexpected.into_iter().for_each(|finding| self.add_finding(finding));
        if let Err(missing) = recovered {
            self.add_finding(format!("{} s after everything was healed: {missing}", RECOVERY_TIMEOUT.as_secs()));
            return Ok(false);
        }
        let now = self.recorder.now();
        (self.notify)(Notice::Recovered { at: now.since_start(), took: now.since(healed) });
        for (node, before) in damaged {
            if cluster.damaged_ledgers(node) == before {
                let id = cluster.nodes().swap_remove(node).name;
                self.add_finding(format!("{id} serves with a flipped bit in its ledger"));
            }
        }
        Ok(true)
    }

    /// Injects a fault. `None` if a tool failed, which is no failure of the cluster: the run continues.
    async fn begin(
        &mut self,
        cluster: &mut impl Subject,
        drawn: &DrawnFault,
        action: FaultAction,
    ) -> Result<Option<ActiveFault>, ChaosError> {
        let (kind, target, form, cut_off) = (drawn.kind, action.target(), action.form(), action.cut_off());
        self.last_number += 1;
        let began = self.recorder.now();
        (self.notify)(Notice::FaultBegins { at: began.since_start(), kind, target: &target });
        let record = FaultRecord {
            number: self.last_number,
            kind,
            target,
            form,
            cut_off,
            began,
            healed: began,
            recovered: began,
        };
        self.record(&record, FaultPhase::Begin);
        match ActiveFault::inject(action, cluster.target()).await.map_err(ChaosError::from) {
            Ok(fault) => {
                self.faults.push(record);
                Ok(Some(fault))
            }
            Err(ChaosError::Local(LocalError::Command { command, said })) => {
                self.record(&record, FaultPhase::End);
                let note = format!("{kind} at {} could not be made: `{command}`: {said}", record.target);
                (self.notify)(Notice::Note(&note));
                self.notes.push(note);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Records the end of the last `count` faults.
    fn conclude(&mut self, count: usize, healed: Micros) {
        let recovered = self.recorder.now();
        let from = self.faults.len() - count;
        for at in from..self.faults.len() {
            (self.faults[at].healed, self.faults[at].recovered) = (healed, recovered);
            self.record(&self.faults[at], FaultPhase::End);
        }
    }

    fn record(&self, fault: &FaultRecord, phase: FaultPhase) {
        self.recorder.record(&Event::Fault(FaultEvent {
            number: fault.number,
            at: self.recorder.now(),
            phase,
            kind: fault.kind.name().to_owned(),
            target: fault.target.clone(),
        }));
    }

    /// Waits, and meanwhile maintains the active faults and checks the processes.
    async fn wait(
        &mut self,
        cluster: &mut impl Subject,
        time: Duration,
        faults: &[ActiveFault],
    ) -> Result<(), ChaosError> {
        let began = Instant::now();
        let tolerated = tolerated(faults);
        loop {
            let extended = faults.iter().any(|fault| fault.waits_for_node_to_end(cluster.target()));
            let left = if extended { time.max(MAX_EXTENDED_DURATION) } else { time }.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            for fault in faults {
                fault.maintain(cluster.target()).await?;
            }
            tokio::time::sleep(left.min(UPKEEP_INTERVAL)).await;
            self.check_processes(cluster, tolerated)?;
        }
    }

    /// A node that exits without a fault that explains it is a finding and is restarted. Otherwise it stays down until
    /// all faults are healed.
    fn check_processes(&mut self, cluster: &mut impl Subject, tolerated: Tolerated) -> Result<(), ChaosError> {
        for finding in cluster.take_ended(tolerated)? {
            self.add_finding(format!("at {}: {finding}", self.recorder.now()));
        }
        Ok(())
    }

    fn add_finding(&mut self, finding: String) {
        (self.notify)(Notice::Finding(&finding));
        self.findings.push(finding);
    }

    /// The liveness phase: without faults every client must get its answer.
    async fn end(&mut self, cluster: &mut impl Subject, load: RunningLoad) -> Result<LoadSummary, ChaosError> {
        self.recorder.record(&Event::Phase(PhaseEvent { at: self.recorder.now(), name: "healed".to_owned() }));
        let summary = load.finish(FINAL_READS_TIMEOUT).await?;
        for key in &summary.unsettled {
            self.add_finding(format!("nobody says what became of key {key}"));
        }
        for read in &summary.unread {
            self.add_finding(format!("a final read was not answered: {read}"));
        }
        let mut unexpected = Vec::new();
        let recovered = cluster.wait_until_recovered(Tolerated::default(), &mut unexpected).await;
        unexpected.extend(recovered.err());
        unexpected.into_iter().for_each(|finding| self.add_finding(format!("at the end: {finding}")));
        Ok(summary)
    }

    fn read_logs(&mut self, nodes: &[Target]) {
        for node in nodes {
            let path = self.plan.report.join("logs").join(format!("{}.log", node.name));
            let log = std::fs::read_to_string(path).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                self.add_finding(format!("{} panicked: {line}", node.name));
            }
            // A damaged node repairs itself within seconds, so its log is the witness.
            let explained =
                self.faults.iter().any(|fault| fault.kind == FaultKind::BitFlip && fault.target == node.name);
            if let Some(line) = log.lines().find(|line| line.contains(LEDGER_DAMAGED)).filter(|_| !explained) {
                self.add_finding(format!(
                    "{} found its ledger damaged without a fault that explains it: {line}",
                    node.name
                ));
            }
        }
    }
}
