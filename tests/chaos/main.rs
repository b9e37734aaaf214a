//! Runs `quorapay chaos` as a user does: a minute with every kind of fault that this machine allows, drawn from `CHAOS_SEED`,
//! and three rounds of power losses and failed syncs.
//! The program checks the cluster; these tests check its report and that it leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Rounds run one after another: each has six processes and a load, which is enough for a machine with two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The folders of a round. All processes that it starts have the first one in their command lines.
struct Round {
    work: TempDir,
    report: TempDir,
}

impl Round {
    fn new() -> Self {
        let folder = |name| tempfile::Builder::new().prefix(name).tempdir().unwrap();
        Self { work: folder("chaos-work-"), report: folder("chaos-report-") }
    }

    fn start(&self, arguments: &[&str], stdout: Stdio) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorapay"));
        let seed = std::env::var("CHAOS_SEED").unwrap_or_else(|_| "1".to_owned());
        command.args(["chaos", "--json", "--seed", &seed, "--rate", "100"]);
        command.args(arguments).arg("--report").arg(self.report.path());
        command.env("TMPDIR", self.work.path()).stdin(Stdio::null()).stdout(stdout).spawn().unwrap()
    }

    /// Runs a round that must keep every promise. Returns its report.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.start(arguments, Stdio::piped()).wait_with_output().unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{:#}", printed["findings"]);
        self.assert_nothing_is_left();
        let report: Value = serde_json::from_slice(&self.read("report.json")).unwrap();
        assert_eq!(report, printed, "what is printed is what is kept");
        report
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.report.path().join(name)).unwrap()
    }

    fn assert_nothing_is_left(&self) {
        let left: Vec<_> = fs::read_dir(self.work.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
        let processes = processes_naming(self.work.path());
        assert!(processes.is_empty(), "{processes:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        assert!(!mounts.contains(self.work.path().to_str().unwrap()), "{mounts}");
    }
}

/// The command lines of the processes that name a folder.
fn processes_naming(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let command_line = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(command_line);
    lines.filter(|line| line.contains(folder)).map(|line| line.replace('\0', " ")).collect()
}

/// The kinds of faults that were injected.
fn kinds(report: &Value) -> Vec<String> {
    let rows = report["faults"].as_array().unwrap();
    rows.iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_minute_of_faults_of_every_kind_keeps_every_promise_and_reports() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let round = Round::new();
    let report = round.run(&["--duration", "60s"]);
    assert_eq!(report["verdict"], "kept");
    assert!(kinds(&report).len() >= 8, "{:#}", report["faults"]);
    for skipped in report["skipped"].as_array().unwrap() {
        assert!(!skipped["reason"].as_str().unwrap().is_empty(), "nothing is skipped in silence");
    }
    assert!(report["check"]["counts"]["writes"].as_u64().unwrap() > 1_000, "{:#}", report["check"]);
    assert_eq!(report["check"]["ledgers"].as_array().unwrap().len(), 3);
    let calm = &report["availability"][0];
    assert_eq!(calm["during"], "nothing");
    assert!(calm["paid"].as_u64().unwrap() > 0);
    let history = String::from_utf8(round.read("history.jsonl")).unwrap();
    assert!(history.contains(r#""phase":"begin""#) && history.contains(r#""phase":"end""#));
    let picture = String::from_utf8(round.read("timeline.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>") && !picture.contains("NaN"));
    for kind in kinds(&report) {
        assert!(picture.contains(&kind), "{kind} is in the picture");
    }
}

#[test]
fn what_is_acknowledged_survives_power_losses_failed_syncs_and_kills_between_write_and_sync() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root can give every node a disk of its own that loses its power");
    }
    let faults = "power-loss,fsync-error,kill-at-sync";
    let report = Round::new().run(&["--faults", faults, "--rounds", "3", "--zookeepers", "1"]);
    assert_eq!(report["verdict"], "kept");
    assert!(!kinds(&report).is_empty());
    for skipped in report["skipped"].as_array().unwrap() {
        eprintln!("skipped: {}: {} ({})", skipped["kind"], skipped["reason"], skipped["remedy"]);
    }
}

#[test]
fn a_round_that_is_ended_by_a_signal_leaves_nothing_behind() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let round = Round::new();
        let mut chaos = round.start(&["--duration", "60s"], Stdio::null());
        let deadline = Instant::now() + Duration::from_secs(60);
        while processes_naming(round.work.path()).iter().filter(|line| line.contains(" node ")).count() < 3 {
            assert!(Instant::now() < deadline, "the nodes do not come up");
            thread::sleep(Duration::from_millis(50));
        }
        kill(Pid::from_raw(i32::try_from(chaos.id()).unwrap()), signal).unwrap();
        let status = chaos.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::SIGTERM).then_some(1));
        // The shell that cleans up after a killed program is no child of this process.
        while !processes_naming(round.work.path()).is_empty() {
            assert!(Instant::now() < deadline, "{:?}", processes_naming(round.work.path()));
            thread::sleep(Duration::from_millis(50));
        }
        round.assert_nothing_is_left();
    }
}
