//! Runs the runbooks: every command block of a document is executed, in order and in one shell, on a cluster that is brought
//! into the trouble first, and what it prints is compared with what the document shows below it. Numbers, ids, times and
//! the names of roles may differ.
//!
//! In a document, commands are in a block that begins with three backticks and `sh`; a block without a language right after
//! it is their output. A line `...` there stands for any lines.
//!
//! ```text
//! document  its blocks, and what their output may differ in
//! play      runs them in a shell
//! stage     the cluster that they run on, and the commands of a deployment
//! ```

mod document;
mod play;
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::hung_disk::HungDisk;
use crate::recovery::damage;
use crate::startup::edit;
use crate::support::cluster::{Cluster, Node, Options, Sealed, wait_until};
use crate::support::http::Request;
use crate::support::ports::listening_port;
use crate::support::small_disk::SmallDisk;
use crate::support::zookeeper::{ZooKeeperEnsemble, ZooKeeperServer};
use crate::tls::sealed;
use stage::{Stage, runbook};

/// How many payments show that payments continue.
const SOME: usize = 60;

/// The node in trouble. It is always the same one, so that the documents can show it.
const TROUBLED: usize = 1;
const FIRST: usize = 0;
const LAST: usize = 2;

/// The section with which most runbooks begin.
const ABLE_TO_PAY: &str = "Is anybody unable to pay?";

/// Writes the tests: one for each runbook, with its name.
macro_rules! runbooks {
    ($($test:ident: $name:literal, $play:expr;)*) => {
        const PLAYED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                let play: fn(&str) = $play;
                play($name);
            }
        )*
    };
}

runbooks! {
    the_index_is_a_runbook_itself: "README.md", |name| {
        Stage::ready().play(name, &[(ABLE_TO_PAY, leader_killed)]);
    };
    the_smoke_test_shows_what_its_commands_print: "smoke.md", |name| Stage::ready().play(name, &[]);
    a_failover_is_looked_at_and_ended: "failover.md", |name| {
        Stage::ready().play(name, &[
            (ABLE_TO_PAY, leader_killed),
            ("A node hangs", leader_hangs),
            ("Nobody leads", majority_killed),
        ]);
    };
    a_node_is_replaced: "node-replacement.md", |name| {
        Stage::ready().play(name, &[
            ("May it be replaced?", leader_killed),
            ("It has a new address", new_address),
        ]);
    };
    zookeeper_is_lost_in_every_way: "zookeeper.md", |name| {
        let credential = "zookeeper_user = \"quorapay\"\nzookeeper_password = \"not-to-be-guessed\"\n";
        let stage = Stage::with_zookeepers(ZooKeeperEnsemble::start(3).servers, credential);
        stage.play(name, &[
            (ABLE_TO_PAY, |stage| { stage.zookeepers[0].stop(); String::new() }),
            ("The quorum is lost", quorum_lost),
            ("All servers are lost, and the leader too", all_lost_and_the_leader),
            ("The credentials are wrong", wrong_password),
        ]);
    };
    a_node_is_cut_off: "partition.md", |name| {
        let cluster = Cluster::start_with(3, &Options { with_links: true, ..Options::default() });
        Stage::of(cluster, Vec::new()).play(name, &[(ABLE_TO_PAY, cut_off)]);
    };
    a_disk_is_full: "full-disk.md", |name| {
        let mut cluster = Cluster::prepare(3, &Options::default());
        let Some(disk) = SmallDisk::at(&cluster.nodes[TROUBLED].data_dir) else { return };
        (0..3).for_each(|node| cluster.restart(node));
        cluster.wait_ready();
        let mut stage = Stage::of(cluster, Vec::new());
        stage.props.push(Box::new(disk));
        stage.play(name, &[(ABLE_TO_PAY, disk_filled)]);
    };
    a_ledger_is_damaged: "damaged-ledger.md", |name| {
        Stage::ready().play(name, &[
            (ABLE_TO_PAY, damaged_once),
            ("It stays quarantined", damaged_again),
            ("The views are damaged", |stage| { stage.payers = None; String::new() }),
        ]);
    };
    a_clock_is_wrong: "clocks.md", |name| {
        let cluster = Cluster::start_with(3, &Options { with_clocks: true, ..Options::default() });
        if cluster.nodes[TROUBLED].clock.is_some() {
            Stage::of(cluster, Vec::new()).play(name, &[
                ("Which clock is wrong?", clock_behind),
                ("Does the ledger's time advance?", last_node_killed),
            ]);
        }
    };
    a_follower_is_slow: "slow-follower.md", |name| {
        let stage = Stage::ready();
        if HungDisk::with_delay(stage.cluster.nodes[TROUBLED].pid(), Duration::from_micros(1)).is_none() {
            return eprintln!("skipped: strace is not there, or may not attach to processes");
        }
        stage.play(name, &[
            (ABLE_TO_PAY, slow_disk),
            ("The disk hangs", hung_disk),
            ("A program reads an old state", held_reader),
            ("Is it over?", |stage| { stage.props.clear(); String::new() }),
        ]);
    };
    nodes_are_restarted_one_after_the_other: "rolling-restart.md", |name| Stage::ready().play(name, &[]);
    a_backup_is_taken_checked_and_restored: "backup.md", |name| Stage::ready().play(name, &[]);
    the_data_are_shown_to_be_right: "is-my-data-right.md", |name| {
        Stage::ready().play(name, &[("Do all nodes have the same history?", paid)]);
    };
    a_cluster_is_founded_from_the_last_disk: "last-resort.md", |name| {
        Stage::ready().play(name, &[("Is it really so?", two_disks_lost)]);
    };
    certificates_are_renewed_and_an_authority_replaced: "certificates.md", |name| {
        let (mut cluster, authority) = sealed(3, Sealed::Peers);
        (0..3).for_each(|node| cluster.restart(node));
        cluster.wait_ready();
        let mut stage = Stage::of(cluster, Vec::new());
        stage.props.push(Box::new(authority));
        stage.play(name, &[("What is in use, and until when?", with_certificates)]);
    };
    api_keys_are_created_rotated_and_revoked: "api-keys.md", |name| {
        let stage = Stage::of(crate::api_keys::cluster(3), Vec::new());
        stage.play(name, &[("Which keys are there?", with_the_first_key)]);
    };
    the_demo_shows_what_it_says: "demo.md", |name| Stage::ready().play(name, &[]);
}

/// Where the first API key is.
fn with_the_first_key(stage: &mut Stage) -> String {
    let file = stage.cluster.nodes[0].config.with_file_name("first.key");
    fs::write(&file, crate::api_keys::first().expose()).unwrap();
    format!("export QUORAPAY_API_KEY_FILE={}", file.display())
}

/// Where the certificates are.
fn with_certificates(stage: &mut Stage) -> String {
    let folder = stage.cluster.nodes[0].config.parent().unwrap().display();
    format!("tls() {{ echo {folder}/$1.certificates; }}\nAUTHORITY={folder}/authority\nCLUSTER={}", stage.cluster.id)
}

fn leader_killed(stage: &mut Stage) -> String {
    lead(&stage.cluster, TROUBLED);
    stage.cluster.kill(TROUBLED);
    stage.cluster.wait_ready();
    lead(&stage.cluster, LAST);
    stage.named(TROUBLED)
}

/// Lets a node lead. It may not be able to for a moment, for want of ZooKeeper's word or because it is behind.
fn lead(cluster: &Cluster, node: usize) {
    let node = &cluster.nodes[node];
    let transfer = Request::post("/v1/cluster/leader/transfer").json(format!(r#"{{"to":"{}"}}"#, node.id));
    wait_until("the node leads", || {
        let ready = node.get("/readyz");
        let leads = ready.status == 200 && ready.json()["role"] == "leader";
        leads || {
            node.send(&transfer);
            false
        }
    });
}

fn leader_hangs(stage: &mut Stage) -> String {
    stage.cluster.wait_ready();
    lead(&stage.cluster, TROUBLED);
    stage.cluster.pause(TROUBLED);
    stage.cluster.wait_ready();
    String::new()
}

fn majority_killed(stage: &mut Stage) -> String {
    stage.cluster.wait_ready();
    stage.cluster.wait_caught_up(LAST, TROUBLED);
    [FIRST, TROUBLED].iter().for_each(|node| stage.cluster.kill(*node));
    wait_for_no_leader(&stage.cluster, LAST);
    String::new()
}

/// A payment that is sent before that goes to the lost leader, and its outcome is unknown.
fn wait_for_no_leader(cluster: &Cluster, node: usize) {
    wait_until("the node knows no leader", || cluster.nodes[node].get("/readyz").status == 503);
}

/// The node's machine is replaced by one at another address, as the others know it.
fn new_address(stage: &mut Stage) -> String {
    stage.cluster.kill(TROUBLED);
    let node = &stage.cluster.nodes[TROUBLED];
    let port = listening_port();
    let listen = |port: u16| format!("peer_listen = \"127.0.0.1:{port}\"");
    edit(&node.config, &listen(node.peer_port), &listen(port));
    format!("NEW_URL=http://127.0.0.1:{port}")
}

fn quorum_lost(stage: &mut Stage) -> String {
    stage.zookeepers[..2].iter_mut().for_each(ZooKeeperServer::stop);
    wait_for_lost_zookeeper(&stage.cluster);
    String::new()
}

fn wait_for_lost_zookeeper(cluster: &Cluster) {
    let lost = |node: &Node| node.get("/readyz").json()["zookeeper"] == "disconnected";
    wait_until("every node has lost ZooKeeper", || cluster.nodes.iter().all(lost));
}

fn all_lost_and_the_leader(stage: &mut Stage) -> String {
    lead(&stage.cluster, TROUBLED);
    stage.zookeepers.iter_mut().for_each(ZooKeeperServer::stop);
    wait_for_lost_zookeeper(&stage.cluster);
    stage.cluster.kill(TROUBLED);
    [FIRST, LAST].iter().for_each(|node| wait_for_no_leader(&stage.cluster, *node));
    stage.named(TROUBLED)
}

fn wrong_password(stage: &mut Stage) -> String {
    stage.cluster.wait_ready();
    stage.cluster.terminate(TROUBLED);
    edit(&stage.cluster.nodes[TROUBLED].config, "not-to-be-guessed", "guessed-wrongly");
    stage.cluster.restart(TROUBLED);
    let ended = stage.cluster.nodes[TROUBLED].wait_for_end();
    assert_eq!(ended.code(), Some(1));
    stage.named(TROUBLED)
}

fn cut_off(stage: &mut Stage) -> String {
    lead(&stage.cluster, TROUBLED);
    stage.cluster.set_cut(TROUBLED, true);
    let unready = || stage.cluster.nodes[TROUBLED].get("/readyz").status == 503;
    wait_until("the cut-off node steps down", unready);
    let lost = || stage.cluster.nodes[TROUBLED].get("/readyz").json()["zookeeper"] == "disconnected";
    wait_until("the cut-off node has lost ZooKeeper", lost);
    let leads = || stage.cluster.nodes[FIRST].try_get("/readyz").is_some_and(|answer| answer.status == 200);
    wait_until("the others have a leader", leads);
    lead(&stage.cluster, LAST);
    stage.named(TROUBLED)
}

fn disk_filled(stage: &mut Stage) -> String {
    lead(&stage.cluster, TROUBLED);
    let disk = stage.props[0].downcast_ref::<SmallDisk>().expect("the disk is the only prop");
    disk.fill("dump.sql");
    stage.pay_at(&[FIRST, LAST]);
    let ended = stage.cluster.nodes[TROUBLED].wait_for_end();
    assert_eq!(ended.code(), Some(1));
    stage.wait_for_payments(SOME);
    stage.payers = None;
    stage.named(TROUBLED)
}

fn damaged_once(stage: &mut Stage) -> String {
    lead(&stage.cluster, LAST);
    stage.pay_at(&[LAST]);
    damage_and_wait(stage, "damaged-once", 1);
    let node = &stage.cluster.nodes[TROUBLED];
    wait_until("it votes again", || node.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    stage.named(TROUBLED)
}

fn damage_and_wait(stage: &Stage, key: &str, quarantines: u64) {
    let payers = stage.payers.as_ref().expect("clients pay");
    damage(&stage.cluster, payers, TROUBLED, key);
    let found = || {
        let text = stage.cluster.nodes[TROUBLED]
            .try_get("/metrics?format=prometheus")
            .map(|answer| answer.text())
            .unwrap_or_default();
        text.lines().any(|line| line == format!("quorapay_quarantines_total {quarantines}"))
    };
    wait_until("the node finds its ledger damaged", found);
}

fn damaged_again(stage: &mut Stage) -> String {
    damage_and_wait(stage, "damaged-twice", 2);
    String::new()
}

fn clock_behind(stage: &mut Stage) -> String {
    let node = &stage.cluster.nodes[TROUBLED];
    let wall_clock = || node.status()["wall_clock"].as_u64().unwrap();
    let before = wall_clock();
    node.clock.as_ref().expect("there are clocks").set_off(-3_600);
    wait_until("the clock is wrong", || wall_clock() < before);
    stage.named(TROUBLED)
}

fn last_node_killed(stage: &mut Stage) -> String {
    // A leader extrapolates the clock of a node that it has heard, so its leadership must begin after the loss.
    stage.cluster.kill(LAST);
    let leader = stage.cluster.wait_ready();
    let successor = FIRST + TROUBLED - leader;
    lead(&stage.cluster, successor);
    String::new()
}

fn slow_disk(stage: &mut Stage) -> String {
    lead(&stage.cluster, LAST);
    slow_down(stage, Duration::from_secs(1));
    stage.named(TROUBLED)
}

fn slow_down(stage: &mut Stage, delay: Duration) {
    stage.props.clear();
    let slow = HungDisk::with_delay(stage.cluster.nodes[TROUBLED].pid(), delay).expect("it attached before");
    stage.props.push(Box::new(slow));
}

fn hung_disk(stage: &mut Stage) -> String {
    slow_down(stage, Duration::from_secs(60));
    stage.pay_at(&[FIRST]);
    let node = &stage.cluster.nodes[TROUBLED];
    wait_until("the node notices", || node.get("/readyz").text().contains("the disk hangs"));
    stage.payers = None;
    String::new()
}

/// A program that reads a ledger and does not end its transaction. Killed when dropped.
struct HeldReader(Child);

impl Drop for HeldReader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn held_reader(stage: &mut Stage) -> String {
    stage.props.clear();
    let ledger = stage.cluster.nodes[TROUBLED].data_dir.join("ledger.db");
    let program = "import sqlite3, sys\nledger = sqlite3.connect(sys.argv[1])\nledger.execute('BEGIN')\n\
                   ledger.execute('SELECT count(*) FROM entries').fetchone()\nprint('reads', flush=True)\nsys.stdin.read()";
    let mut reader = Command::new("python3");
    reader.args(["-c", program]).arg(ledger).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(reader.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "reads\n");
    stage.props.push(Box::new(HeldReader(reader)));
    String::new()
}

fn paid(stage: &mut Stage) -> String {
    stage.cluster.nodes[FIRST].pay("runbook-key", "external:card", "runbook:probe", 1).expect(201);
    stage.pay_at(&[FIRST]);
    stage.wait_for_payments(SOME);
    stage.payers.take().expect("clients pay").stop().assert_no_error();
    (1..3).for_each(|node| stage.cluster.wait_caught_up(node, FIRST));
    stage.named(TROUBLED)
}

fn two_disks_lost(stage: &mut Stage) -> String {
    stage.cluster.nodes[FIRST].pay("before", "external:card", "runbook:probe", 1).expect(201);
    stage.cluster.wait_caught_up(LAST, FIRST);
    [FIRST, TROUBLED].iter().for_each(|node| stage.cluster.kill(*node));
    [FIRST, TROUBLED].iter().for_each(|node| stage.cluster.wipe(*node));
    wait_for_no_leader(&stage.cluster, LAST);
    stage.named(LAST)
}

#[test]
fn every_runbook_is_played_and_every_block_of_commands_in_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(".md")).collect();
    assert_eq!(names, PLAYED.iter().map(|name| (*name).to_owned()).collect());
    for name in names {
        let document = runbook(&name);
        let languages = document.lines().filter_map(|line| line.strip_prefix("```"));
        let other: Vec<&str> = languages.filter(|language| !["sh", ""].contains(language)).collect();
        assert!(other.is_empty(), "{name} has blocks that nobody plays: {other:?}");
    }
}

/// The commands that a runbook takes from its deployment are defined for each, and by the test.
#[test]
fn every_deployment_defines_the_same_commands() {
    let functions = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with([' ', '#']));
        lines.filter_map(|line| line.split_once("() {")).map(|(name, _)| name.to_owned()).collect()
    };
    let of_file = |name: &str| functions(&runbook(&format!("shell/{name}.sh")));
    let own: BTreeSet<String> = functions(stage::DEFINITIONS);
    let expected: BTreeSet<String> = own.into_iter().chain(["url".to_owned()]).collect();
    for deployment in ["compose", "systemd", "dev"] {
        let missing: Vec<String> = expected.difference(&of_file(deployment)).cloned().collect();
        assert!(missing.is_empty(), "{deployment}.sh lacks {missing:?}");
    }
    for file in ["common", "compose", "systemd", "dev"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("runbooks/shell/{file}.sh"));
        let parsed = Command::new("bash").arg("-n").arg(path).status().unwrap();
        assert!(parsed.success(), "{file}.sh is no shell script");
    }
    let index = runbook("README.md");
    for name in expected.iter().chain(&of_file("common")) {
        assert!(index.contains(name.as_str()), "the index does not explain {name}");
    }
}

#[test]
fn every_alert_leads_to_its_runbook_in_the_index_too() {
    let rules = runbook("observability/alerts.yml");
    let index = runbook("README.md");
    let mut alerts = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let target = rule.lines().find_map(|line| line.trim().strip_prefix("runbook: runbooks/"));
        let target = target.unwrap_or_else(|| panic!("{name} names no runbook"));
        let listed = index.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        let listed = listed.unwrap_or_else(|| panic!("the index does not list {name}"));
        assert!(listed.contains(&format!("({target})")), "{listed} does not lead to {target}");
        alerts += 1;
    }
    assert!(alerts >= 14, "{alerts} alerts");
}
