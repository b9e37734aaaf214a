//! One run: the cluster starts, clients load it, faults come and go, everything heals, and what was promised is checked.

use std::iter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::arena::{Allowed, Arena, PATIENCE, SESSION};
use super::bit_flip::put_aside;
use super::clients::{Load, LoadPlan, LoadSummary, Running, Target};
use super::error::ChaosError;
use super::fault::{Fault, KEEP_UP};
use super::kind::FaultKind;
use super::nemesis::{Aim, Draw, Nemesis, Situation, Turn};
use super::network::NetworkKind;
use super::report::{FaultRecord, Report, Run};
use super::tools::{Skipped, Tools};
use crate::check::{Subjects, check};
use crate::history::{Event, Fault as FaultEvent, FaultPhase, Header, Micros, Phase, Recorder};
use crate::local::{LocalError, ZooKeeperServer};

/// How long clients pay before the first fault, and after the last.
const CALM: Duration = Duration::from_secs(1);

/// How long a fault lasts that has not done what it is for: a node may have room left on a full disk for a while.
const LONGEST: Duration = Duration::from_secs(10);

/// How long the final reads may take.
const FINAL_READS: Duration = Duration::from_secs(30);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct ChaosPlan {
    /// How many nodes.
    pub nodes: usize,
    /// How many ZooKeeper servers.
    pub zookeepers: usize,
    /// How long faults are made.
    pub duration: Duration,
    /// What faults and load are drawn from.
    pub seed: u64,
    /// Operations per second of the clients.
    pub rate: u32,
    /// How the processes are connected.
    pub network: NetworkKind,
    /// What may be drawn, at least one.
    pub faults: Vec<FaultKind>,
    /// Where the report goes.
    pub report: PathBuf,
    /// The command line that repeats this run.
    pub command: String,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum News<'a> {
    /// The cluster is being started.
    Starting,
    /// A kind of fault cannot be made here.
    Skips(&'a Skipped),
    /// The clients begin.
    Loading,
    /// A fault begins.
    Begins {
        /// When, since the clients began.
        at: Duration,
        /// Which kind.
        kind: FaultKind,
        /// Whom it hits.
        target: &'a str,
    },
    /// The cluster is whole again.
    Whole {
        /// When, since the clients began.
        at: Duration,
        /// How long it took after the faults were healed.
        took: Duration,
    },
    /// Something should be known.
    Note(&'a str),
    /// Something is wrong.
    Finding(&'a str),
    /// The histories and ledgers are being judged.
    Judging,
}

/// Makes a run and writes its report.
///
/// # Errors
/// [`ChaosError`] if the run could not be made or judged. A promise that was broken is no error: see the report's verdict.
pub async fn run(plan: &ChaosPlan, mut news: impl FnMut(News<'_>)) -> Result<Report, ChaosError> {
    let tools = Tools::look(&plan.faults).await;
    let (kinds, skipped) = tools.possible(&plan.faults, plan.network);
    skipped.iter().for_each(|skipped| news(News::Skips(skipped)));
    if kinds.is_empty() {
        return Err(ChaosError::Impossible("none of these faults can be made on this machine".to_owned()));
    }
    std::fs::create_dir_all(&plan.report).map_err(LocalError::io(plan.report.display().to_string()))?;
    news(News::Starting);
    let mut arena = Arena::start(plan.network, plan.nodes, plan.zookeepers, &tools).await?;
    let history = plan.report.join("history.jsonl");
    let load_plan = LoadPlan { rate: plan.rate, ..LoadPlan::usual(plan.seed) };
    let header = Header::new("chaos", plan.seed, unix_ms(), load_plan.processes);
    let recorder = Recorder::create(&history, &header)?;
    news(News::Loading);
    let load = Load::start(&targets(&arena), load_plan, recorder.clone())?;
    let mut stage = Stage {
        plan,
        own_disks: tools.disks.are_there(),
        recorder,
        faults: Vec::new(),
        numbered: 0,
        findings: Vec::new(),
        notes: Vec::new(),
        news: &mut news,
    };
    stage.play(&mut arena, Nemesis::new(plan.seed, kinds)).await?;
    let summary = stage.end(&mut arena, load).await?;
    let elapsed = stage.recorder.now();
    arena.stop().await;
    stage.read_logs(&arena);
    keep_logs(&arena, &plan.report)?;
    let Stage { faults, findings, notes, .. } = stage;
    news(News::Judging);
    let ledgers: Vec<PathBuf> = arena.nodes.iter().map(|node| node.data_dir.clone()).collect();
    let checked = check(&Subjects { histories: vec![history.clone()], ledgers, all_complete: true }).await?;
    let report = Report::new(plan, Run { faults, skipped, findings, notes, summary, checked, elapsed }, &history)?;
    report.write(&plan.report)?;
    if !report.is_kept() {
        keep_evidence(&arena, &plan.report)?;
    }
    Ok(report)
}

/// What the nodes may do while these faults last.
fn allowed(faults: &[Fault]) -> Allowed {
    let all = || faults.iter().map(Fault::allows);
    Allowed { end: all().any(|allowed| allowed.end), damage: all().any(|allowed| allowed.damage) }
}

fn targets(arena: &Arena) -> Vec<Target> {
    arena.nodes.iter().map(|node| Target { name: node.id.clone(), url: node.url.clone() }).collect()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the processes said stays with the report.
fn keep_logs(arena: &Arena, report: &Path) -> Result<(), LocalError> {
    let copy = || {
        let logs = report.join("logs");
        std::fs::create_dir_all(&logs)?;
        let all =
            arena.nodes.iter().map(|node| node.log.as_path()).chain(arena.zookeepers.iter().map(ZooKeeperServer::log));
        for log in all {
            std::fs::copy(log, logs.join(log.file_name().unwrap_or_default()))?;
        }
        Ok(())
    };
    copy().map_err(LocalError::io("keeping the logs"))
}

/// The ledgers go with the run unless they are needed to understand what was broken.
fn keep_evidence(arena: &Arena, report: &Path) -> Result<(), LocalError> {
    let copy = || {
        for node in &arena.nodes {
            let kept = report.join("evidence").join(&node.id);
            std::fs::create_dir_all(&kept)?;
            for entry in std::fs::read_dir(&node.data_dir)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
                }
            }
        }
        Ok(())
    };
    copy().map_err(LocalError::io("keeping the ledgers as evidence"))
}

/// What goes on while the load is on.
struct Stage<'a, N: FnMut(News<'_>)> {
    plan: &'a ChaosPlan,
    own_disks: bool,
    recorder: Recorder,
    faults: Vec<FaultRecord>,
    /// How many were begun.
    numbered: u64,
    findings: Vec<String>,
    notes: Vec<String>,
    news: &'a mut N,
}

impl<N: FnMut(News<'_>)> Stage<'_, N> {
    /// Makes faults until the time is over.
    async fn play(&mut self, arena: &mut Arena, mut nemesis: Nemesis) -> Result<(), ChaosError> {
        let end = Instant::now() + self.plan.duration;
        self.watch(arena, CALM, &[]).await?;
        while Instant::now() < end {
            let turn = nemesis.next();
            if !self.turn(arena, &turn).await? {
                return Ok(());
            }
            self.watch(arena, turn.calm, &[]).await?;
        }
        self.watch(arena, CALM, &[]).await
    }

    /// One fault, or two at once, from the beginning until the cluster is whole again. False if it is not in time.
    async fn turn(&mut self, arena: &mut Arena, turn: &Turn) -> Result<bool, ChaosError> {
        let Some(leader) = arena.leader().await else {
            self.find(format!("nobody leads for {} s, though everything is healed", PATIENCE.as_secs()));
            return Ok(false);
        };
        let now = Situation { nodes: self.plan.nodes, zookeepers: self.plan.zookeepers, leader };
        let (first, hold) = Aim::take(&turn.first, now, SESSION);
        let second = turn.second.as_ref().map(|draw| (draw, Aim::take(draw, now, SESSION)));
        let second = second.filter(|(_, (aim, _))| first.goes_with(aim, now));
        let hold = second.as_ref().map_or(hold, |(_, (_, other))| hold.max(*other));

        let mut under_way = Vec::new();
        for (draw, aim) in iter::once((&turn.first, first)).chain(second.map(|(draw, (aim, _))| (draw, aim))) {
            under_way.extend(self.begin(arena, draw, aim).await?);
        }
        self.watch(arena, hold, &under_way).await?;
        self.end_turn(arena, under_way).await
    }

    async fn end_turn(&mut self, arena: &mut Arena, under_way: Vec<Fault>) -> Result<bool, ChaosError> {
        let count = under_way.len();
        let allowed = allowed(&under_way);
        let damaged: Vec<(usize, usize)> = under_way.iter().filter_map(Fault::damaged).collect();
        for fault in under_way {
            fault.heal(arena).await?;
        }
        self.look_at_processes(arena, allowed)?;
        arena.start_nodes()?;
        let healed = self.recorder.now();
        let mut surprises = Vec::new();
        let whole = arena.wait_until_whole(PATIENCE, allowed, &mut surprises).await;
        self.conclude(count, healed);
        surprises.into_iter().for_each(|surprise| self.find(surprise));
        if let Err(missing) = whole {
            self.find(format!("{} s after everything was healed: {missing}", PATIENCE.as_secs()));
            return Ok(false);
        }
        let now = self.recorder.now();
        (self.news)(News::Whole { at: now.since_start(), took: now.since(healed) });
        for (node, before) in damaged {
            let node = &arena.nodes[node];
            if put_aside(&node.data_dir) == before {
                self.find(format!("{} serves with a flipped bit in its ledger", node.id));
            }
        }
        Ok(true)
    }

    /// Makes a fault. `None` if a tool refused to: that says nothing about the cluster, and the run goes on.
    async fn begin(&mut self, arena: &mut Arena, draw: &Draw, aim: Aim) -> Result<Option<Fault>, ChaosError> {
        let (kind, target) = (draw.kind, aim.target());
        self.numbered += 1;
        let began = self.recorder.now();
        (self.news)(News::Begins { at: began.since_start(), kind, target: &target });
        let record = FaultRecord { number: self.numbered, kind, target, began, healed: began, whole: began };
        self.record(&record, FaultPhase::Begin);
        match Fault::inject(aim, arena, self.own_disks).await {
            Ok(fault) => {
                self.faults.push(record);
                Ok(Some(fault))
            }
            Err(ChaosError::Local(LocalError::Command { command, said })) => {
                self.record(&record, FaultPhase::End);
                let note = format!("{kind} at {} could not be made: `{command}`: {said}", record.target);
                (self.news)(News::Note(&note));
                self.notes.push(note);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Notes the end of the last faults.
    fn conclude(&mut self, count: usize, healed: Micros) {
        let whole = self.recorder.now();
        let from = self.faults.len() - count;
        for at in from..self.faults.len() {
            (self.faults[at].healed, self.faults[at].whole) = (healed, whole);
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

    /// Lets time pass, keeps up what lasts, and looks after the processes.
    async fn watch(&mut self, arena: &mut Arena, time: Duration, faults: &[Fault]) -> Result<(), ChaosError> {
        let began = Instant::now();
        let allowed = allowed(faults);
        loop {
            let to_come = faults.iter().any(|fault| fault.is_to_end_a_node(arena));
            let left = if to_come { time.max(LONGEST) } else { time }.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            faults.iter().try_for_each(|fault| fault.keep_up(arena))?;
            tokio::time::sleep(left.min(KEEP_UP)).await;
            self.look_at_processes(arena, allowed)?;
        }
    }

    /// A node that ends without a reason is a finding, and is started again; one with a reason stays down until all is
    /// healed.
    fn look_at_processes(&mut self, arena: &mut Arena, allowed: Allowed) -> Result<(), ChaosError> {
        for number in 0..arena.nodes.len() {
            let Some(status) = arena.nodes[number].take_end() else { continue };
            if !allowed.end {
                let (id, last) = (&arena.nodes[number].id, arena.nodes[number].last_words());
                self.find(format!("{id} ended by itself at {} ({status}): {last}", self.recorder.now()));
                arena.nodes[number].start(&arena.reaper)?;
            }
        }
        Ok(())
    }

    fn find(&mut self, finding: String) {
        (self.news)(News::Finding(&finding));
        self.findings.push(finding);
    }

    /// The liveness phase: nothing is broken any more, so every client gets its answer.
    async fn end(&mut self, arena: &mut Arena, load: Running) -> Result<LoadSummary, ChaosError> {
        self.recorder.record(&Event::Phase(Phase { at: self.recorder.now(), name: "healed".to_owned() }));
        let summary = load.finish(FINAL_READS).await?;
        for key in &summary.unsettled {
            self.find(format!("nobody says what became of key {key}"));
        }
        for read in &summary.unread {
            self.find(format!("a final read was not answered: {read}"));
        }
        let mut surprises = Vec::new();
        let whole = arena.wait_until_whole(PATIENCE, Allowed::default(), &mut surprises).await;
        surprises.extend(whole.err());
        surprises.into_iter().for_each(|surprise| self.find(format!("at the end: {surprise}")));
        Ok(summary)
    }

    fn read_logs(&mut self, arena: &Arena) {
        for node in &arena.nodes {
            let log = std::fs::read_to_string(&node.log).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                self.find(format!("{} panicked: {line}", node.id));
            }
        }
    }
}
