//! The stack of containers that `tests/compose/run.sh` has started: every script of `runbooks/faults`, then faults as
//! `quorapay chaos` draws them, while clients pay and record what they are told.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quorapay_lab::chaos::clients::{Load, LoadPlan, RunningLoad, Target};
use quorapay_lab::check::{Subjects, Verdict, check};
use quorapay_lab::history::{Header, Recorder};
use tokio::runtime::Runtime;

use super::script::SCRIPTS;
use super::{print, scripts_folder};
use crate::faults::FINAL_READS_TIMEOUT;
use crate::support::cluster::program;

/// Where docker-compose.yml publishes the nodes.
const URLS: [&str; 3] = ["http://127.0.0.1:7101", "http://127.0.0.1:7102", "http://127.0.0.1:7103"];

/// How many rounds of drawn faults, so that every kind that containers allow comes up.
const ROUNDS: &str = "20";

/// A folder that `tests/compose/run.sh` removes, unless the test fails: it holds the evidence.
fn report_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compose/report");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a command that must succeed. Returns what it says.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn quorapay(line: &str) -> String {
    run(Command::new(program()).args(line.split(' ')).env("QUORAPAY_URL", URLS.join(",")))
}

fn load(history: &Path) -> RunningLoad {
    let plan = LoadPlan { rate: 60, ..LoadPlan::standard(7) };
    let recorder = Recorder::create(history, &Header::new("compose", 7, 0, plan.processes)).unwrap();
    let target = |(number, url): (usize, &str)| Target { name: format!("node{}", number + 1), url: url.to_owned() };
    Load::start(&(0..).zip(URLS).map(target).collect::<Vec<_>>(), plan, recorder).unwrap()
}

/// Plays the scripts of the faults that containers allow; the others must be refused before anything is changed.
fn play_scripts() {
    let program = program();
    let settings = [("QUORAPAY", program.to_str().unwrap()), ("TARGET", "compose")];
    for script in SCRIPTS {
        if script.on_compose {
            let figures = script.play(&scripts_folder(), &settings).unwrap_or_else(|wrong| panic!("{wrong}"));
            print(script.name, &figures);
        } else {
            let refused = script.play(&scripts_folder(), &settings).expect_err("containers do not allow it");
            assert!(refused.contains("ended with") && refused.contains("--target dev"), "{refused}");
            eprintln!("{:<20} not possible on containers", script.name);
        }
        assert_eq!(quorapay("heal --list --target compose"), "no fault lasts\n", "{}", script.name);
    }
}

/// Stops the nodes in order and copies their ledgers out of the containers.
fn ledgers(to: &Path) -> Vec<PathBuf> {
    let copy = |number: usize| {
        let container = format!("quorapay-node{number}");
        run(Command::new("docker").args(["stop", &container]));
        let copy = to.join(format!("node{number}"));
        run(Command::new("docker").args(["cp", &format!("{container}:/data")]).arg(&copy));
        copy
    };
    (1..=3).map(copy).collect()
}

#[test]
#[ignore = "takes docker and some minutes: make test-compose"]
fn every_fault_on_containers_costs_no_payment_and_all_ledgers_are_equal() {
    for url in URLS {
        quorapay(&format!("ready --deadline-ms 120000 --url {url}"));
    }
    eprintln!("{}", quorapay("pay external:card shop:1 150.75 USD"));
    let work = report_folder();
    let history = work.join("history.jsonl");
    let runtime = Runtime::new().unwrap();
    let running = runtime.block_on(async { load(&history) });
    play_scripts();
    let summary = runtime.block_on(running.finish(FINAL_READS_TIMEOUT)).unwrap();
    assert!(summary.unsettled.is_empty() && summary.unread.is_empty(), "{summary:?}");

    let mut chaos = Command::new(program());
    chaos
        .args(["chaos", "--target", "compose", "--rounds", ROUNDS, "--rate", "100", "--report"])
        .arg(work.join("chaos"));
    eprintln!("{}", run(&mut chaos));

    let subjects = Subjects { histories: vec![history], ledgers: ledgers(&work), all_complete: true };
    let report = runtime.block_on(check(&subjects)).unwrap();
    assert_eq!(report.verdict, Verdict::Kept, "{report}");
    eprintln!("{report}");
}
