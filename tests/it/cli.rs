//! The command line against real nodes.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::cluster::{Cluster, program, run_program, wait_until};
use crate::support::http::{Connection as Http, Request};
use crate::support::payers::Payers;
use crate::support::reaper::reaper;

fn quorapay(arguments: &[&str], url: &str) -> Output {
    Command::new(program()).args(arguments).args(["--url", url]).output().unwrap()
}

/// Runs a command that must succeed. Returns its result.
#[track_caller]
fn done(arguments: &[&str], url: &str) -> Value {
    let output = quorapay(&[arguments, &["--json"]].concat(), url);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_client_command_does_what_its_help_says() {
    let cluster = Cluster::start(3);
    let url = format!("http://127.0.0.1:{}", cluster.nodes[1].port);
    let paid = done(&["pay", "external:card", "shop:1", "150.75", "USD", "--key", "order-1"], &url);
    assert_eq!((&paid["amount"], &paid["status"]), (&Value::from(15_075), &Value::from("succeeded")));
    let id = paid["id"].as_str().unwrap();
    assert_eq!(done(&["payment", "get", id], &url)["index"], paid["index"]);
    assert_eq!(done(&["payment", "by-key", "order-1"], &url)["payment"]["id"], paid["id"]);
    assert_eq!(done(&["payment", "list", "--account", "shop:1"], &url)["payments"][0]["id"], paid["id"]);
    assert_eq!(done(&["account", "open", "supplier", "--overdraft", "limit:5"], &url)["overdraft"], "limit:5");
    assert_eq!(done(&["account", "set", "supplier", "--overdraft", "unlimited"], &url)["overdraft"], "unlimited");
    assert_eq!(done(&["account", "get", "supplier"], &url)["overdraft"], "unlimited");
    assert_eq!(done(&["account", "statement", "shop:1"], &url)["entries"][0]["balance"], 15_075);
    assert_eq!(done(&["account", "list"], &url)["accounts"].as_array().unwrap().len(), 3);
    assert_eq!(done(&["status"], &url)["nodes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_refusal_is_exit_code_1_and_its_problem_is_json_for_programs() {
    let cluster = Cluster::start(1);
    let url = format!("http://127.0.0.1:{}", cluster.nodes[0].port);
    let refused = quorapay(&["pay", "nobody", "shop:1", "5", "USD", "--json"], &url);
    assert_eq!(refused.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(problem["code"], "account_not_found");
}

#[test]
fn a_watched_status_is_shown_again_until_it_is_told_to_end() {
    let cluster = Cluster::start(1);
    let url = format!("http://127.0.0.1:{}", cluster.nodes[0].port);
    let mut command = Command::new(program());
    command.args(["status", "--watch", "1", "--json", "--url", &url]).stdout(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let output = watching.stdout.take().unwrap();
    let shown = serde_json::Deserializer::from_reader(output).into_iter::<Value>().take(2);
    for status in shown.map(Result::unwrap) {
        assert_eq!(status["leader"], cluster.nodes[0].id.as_str());
    }
    kill(Pid::from_raw(i32::try_from(watching.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(watching.wait().unwrap().success());
}

#[test]
fn a_development_cluster_drops_a_connection_after_a_commit_if_its_chaos_mode_is_on() {
    let directory = tempfile::tempdir().unwrap();
    let _dev = Dev::start_with(directory.path(), 17_451, &["--chaos-mode"]);
    let node = std::fs::read_to_string(directory.path().join("node1.toml")).unwrap();
    assert!(node.contains("chaos_mode = true"), "{node}");
    let url = "http://127.0.0.1:17451";
    done(&["pay", "external:card", "1", "100", "USD"], url);
    let transfer = Request::post("/transfer").key("dropped").header("X-Simulate-Chaos", "true");
    let transfer = transfer.json(r#"{"from_id": 1, "to_id": 2, "amount": 5}"#);
    assert!(Http::to(17_451).send(&transfer).is_err(), "committed, and not answered");
    assert_eq!(done(&["payment", "by-key", "dropped"], url)["state"], "committed");
}

#[test]
fn no_node_there_is_exit_code_4() {
    let nobody = quorapay(&["status"], "http://127.0.0.1:9");
    assert_eq!(nobody.status.code(), Some(4));
}

/// A development cluster in a directory. Stopped when dropped.
struct Dev(Child);

impl Dev {
    fn start(directory: &Path, port: u16) -> Self {
        Self::start_with(directory, port, &[])
    }

    fn start_with(directory: &Path, port: u16, more: &[&str]) -> Self {
        let mut command = dev_command(directory, port);
        command.args(more);
        let dev = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the development cluster is ready", || ready(port));
        dev
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Killed, it would leave its nodes and its ZooKeeper behind.
        let _ = kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn dev_command(directory: &Path, port: u16) -> Command {
    let mut command = Command::new(program());
    command.args(["dev", "--nodes", "1", "--no-input", "--port", &port.to_string(), "--data-dir"]).arg(directory);
    // The variables of client commands must not affect the nodes.
    command.env("QUORAPAY_URL", "http://127.0.0.1:9").stdin(Stdio::null());
    command
}

fn ready(port: u16) -> bool {
    let url = format!("http://127.0.0.1:{port}");
    quorapay(&["ready", "--deadline-ms", "200"], &url).status.success()
}

fn pids(directory: &Path) -> Vec<i32> {
    let file: Value = serde_json::from_slice(&std::fs::read(directory.join("dev.json")).unwrap()).unwrap();
    let nodes = file["nodes"].as_array().unwrap();
    nodes.iter().map(|node| i32::try_from(node["pid"].as_i64().unwrap()).unwrap()).collect()
}

#[test]
fn a_development_cluster_keeps_its_directory_to_itself_and_leaves_no_process_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(directory.path(), 17_411);
    let running = pids(directory.path());
    let second = dev_command(directory.path(), 17_431).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another quorapay dev runs in"));
    assert_eq!(pids(directory.path()), running, "the second one changed nothing");

    kill(Pid::from_raw(i32::try_from(dev.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    let asked = Instant::now();
    assert!(dev.0.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    wait_until("no process is left", || running.iter().all(|pid| kill(Pid::from_raw(*pid), None).is_err()));
}

#[test]
fn what_happens_in_a_cluster_is_told_as_it_happens() {
    let mut cluster = Cluster::start(3);
    let (leader, other) = (cluster.leader(), cluster.followers()[0]);
    let url = format!("http://127.0.0.1:{}", cluster.nodes[other].port);
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(program());
    let command = command.args(["events", "--json", "--url", &url]).stdout(told.reopen().unwrap());
    let mut events = command.spawn().unwrap();
    reaper().watch(events.id());
    let is_told = |kind: &str, node: &str| {
        let text = std::fs::read_to_string(told.path()).unwrap();
        // The last line may be half written.
        let mut complete = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        complete.any(|event| event["kind"] == kind && (node.is_empty() || event["node"] == node))
    };
    wait_until("it looks at the cluster", || is_told("watching", ""));
    let dead = cluster.nodes[leader].id.clone();
    cluster.kill(leader);
    let elected = cluster.nodes[cluster.leader()].id.clone();
    wait_until("the election is told", || is_told("elected", &elected));
    wait_until("the death is told", || is_told("unreachable", &dead));
    cluster.restart(leader);
    wait_until("the return is told", || is_told("reachable", &dead));
    kill(Pid::from_raw(events.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(events.wait().unwrap().code(), Some(0));
    reaper().forget(events.id());
}

#[test]
fn a_ledger_is_verified_beside_a_node_that_takes_payments() {
    let cluster = Cluster::start(3);
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    for _ in 0..10 {
        payers.wait_for_more(20);
        for node in &cluster.nodes {
            let output = run_program(&["verify", node.data_dir.to_str().unwrap()]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    payers.stop().assert_no_error();
}
