//! Clients record their histories on real nodes that fail meanwhile, and the checker checks them.

use std::time::Duration;

use quorapay_lab::chaos::clients::{Load, LoadPlan, LoadSummary, RunningLoad, Target};
use quorapay_lab::check::{Report, Subjects, Verdict, check};
use quorapay_lab::history::{Event, FaultEvent, FaultPhase, Header, Recorder};

use crate::support::cluster::{Cluster, TIMEOUT, wait_until};

/// Timeout of the final reads after the faults.
const FINAL_READS: Duration = Duration::from_secs(20);

struct Run {
    runtime: tokio::runtime::Runtime,
    load: RunningLoad,
    recorder: Recorder,
    folder: tempfile::TempDir,
}

impl Run {
    fn start(cluster: &Cluster, plan: LoadPlan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let header = Header::new(cluster.id.clone(), plan.seed, 0, plan.processes + 1);
        let recorder = Recorder::create(&folder.path().join("history.jsonl"), &header).unwrap();
        let targets = cluster.nodes.iter();
        let targets =
            targets.map(|node| Target { name: node.id.clone(), url: format!("http://127.0.0.1:{}", node.port) });
        let targets: Vec<Target> = targets.collect();
        let entered = runtime.enter();
        let load = Load::start(&targets, plan, recorder.clone()).unwrap();
        drop(entered);
        Self { runtime, load, recorder, folder }
    }

    /// Waits until this many more writes were committed.
    fn wait_for_more(&self, committed: u64) {
        let wanted = self.load.progress().committed + committed;
        wait_until("more writes are committed", || self.load.progress().committed >= wanted);
    }

    fn mark(&self, number: u64, phase: FaultPhase, kind: &str, target: &str) {
        let (at, kind, target) = (self.recorder.now(), kind.to_owned(), target.to_owned());
        self.recorder.record(&Event::Fault(FaultEvent { number, at, phase, kind, target }));
    }

    /// Ends the load, stops the nodes and checks.
    fn judged(self, mut cluster: Cluster) -> (LoadSummary, Report) {
        let summary = self.runtime.block_on(self.load.finish(FINAL_READS)).unwrap();
        (0..cluster.nodes.len()).for_each(|node| cluster.terminate(node));
        let subjects = Subjects {
            histories: vec![self.folder.path().join("history.jsonl")],
            ledgers: cluster.nodes.iter().map(|node| node.data_dir.clone()).collect(),
            all_complete: true,
        };
        (summary, self.runtime.block_on(check(&subjects)).unwrap())
    }
}

#[test]
fn a_cluster_whose_leaders_are_killed_and_paused_keeps_every_promise_in_the_recorded_history() {
    let mut cluster = Cluster::start(3);
    let run = Run::start(&cluster, LoadPlan { rate: 150, deadline: Duration::from_secs(3), ..LoadPlan::standard(1) });
    run.wait_for_more(100);
    let leader = cluster.leader();
    run.mark(1, FaultPhase::Begin, "kill", &cluster.nodes[leader].id);
    cluster.kill(leader);
    run.wait_for_more(50);
    cluster.restart(leader);
    cluster.wait_ready();
    run.mark(1, FaultPhase::End, "kill", &cluster.nodes[leader].id);
    run.wait_for_more(50);
    let leader = cluster.leader();
    run.mark(2, FaultPhase::Begin, "pause", &cluster.nodes[leader].id);
    cluster.pause(leader);
    run.wait_for_more(50);
    cluster.resume(leader);
    run.mark(2, FaultPhase::End, "pause", &cluster.nodes[leader].id);
    cluster.wait_ready();
    run.wait_for_more(50);
    (0..3).for_each(|node| cluster.kill(node));
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    let (summary, report) = run.judged(cluster);

    eprintln!("{report}");
    assert_eq!(report.verdict, Verdict::Kept, "{report}");
    assert_eq!((summary.unsettled, summary.unread), (vec![], vec![]), "after the faults everything is answered");
    assert!(TIMEOUT > FINAL_READS);
    assert_eq!(report.counts.operations, summary.progress.sent);
    assert_eq!(report.counts.faults, 2);
    for (what, count) in [
        ("replays", report.counts.replays),
        ("decisions against a write", report.counts.rejected),
        ("refusals of a reused key", report.counts.refused),
        ("reads", report.counts.reads),
    ] {
        assert!(count > 0, "the load has no {what}: {report}");
    }
}
