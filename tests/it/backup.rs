//! Backups of running clusters, and new clusters from them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::{Cluster, program, run_program, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;
use crate::support::reaper::{folder, reaper};

/// How many payments show that payments continue.
const SOME: usize = 60;

/// Payments of a batch that fills a ledger.
const BATCH: usize = 2_000;

fn urls(cluster: &Cluster) -> String {
    cluster.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.port)).collect::<Vec<_>>().join(",")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Takes a backup, which must succeed. Returns what the command says.
#[track_caller]
fn backup(cluster: &Cluster, to: &Path, more: &[&str]) -> Value {
    let output = run_program(&[&["backup", "--json", "--url", &urls(cluster), "--to", text(to)], more].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn restore(cluster: &Cluster, node: usize, arguments: &[&str]) -> Output {
    let config = cluster.nodes[node].config.to_str().unwrap();
    run_program(&[&["restore", "--json", "--config", config], arguments].concat())
}

/// Checks that a command failed with one line that contains this.
#[track_caller]
fn assert_refused(output: &Output, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(why) && told.lines().count() == 1, "{told}");
}

/// Starts a command without waiting for it.
fn start(arguments: &[&str], stdout: Stdio) -> Running {
    start_with(arguments, stdout, Stdio::inherit())
}

fn start_with(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Running {
    let mut command = Command::new(program());
    let child = command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
    reaper().watch(child.id());
    Running(child)
}

/// A command that runs. Killed when dropped.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        self.0.wait().unwrap();
        reaper().forget(self.0.id());
    }
}

/// Makes a ledger of some megabytes: each batch is one entry.
fn fill(cluster: &Cluster, batches: usize) {
    for number in 0..batches {
        let payment = |item: usize| {
            json!({"from": "external:bank", "to": format!("shop:{}", item % 50), "amount": 1 + item, "currency": "EUR",
                   "description": format!("{:x}", (number * BATCH + item).wrapping_mul(0x9e37_79b9_7f4a_7c15))})
        };
        let body = Value::from((0..BATCH).map(payment).collect::<Vec<_>>()).to_string();
        cluster.nodes[0]
            .send(&Request::post("/v1/payments/batch").key(&format!("fill-{number}")).json(body))
            .expect(200);
    }
}

/// Restores files as the first node of a new cluster, starts its nodes and waits until all vote.
#[track_caller]
fn found_from(cluster: &mut Cluster, arguments: &[&str]) -> Value {
    (0..cluster.nodes.len()).for_each(|node| cluster.kill(node));
    cluster.become_new_cluster();
    let output = restore(cluster, 0, arguments);
    assert!(output.status.success(), "{output:?}");
    start_restored(cluster);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn start_restored(cluster: &mut Cluster) {
    cluster.restart(0);
    wait_until("the restored node leads alone", || {
        cluster.nodes[0].try_get("/readyz").is_some_and(|answer| answer.status == 200)
    });
    (1..cluster.nodes.len()).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    wait_until("all vote", || {
        let voters = cluster.nodes[0].status()["configuration"]["voters"].clone();
        voters.as_object().is_some_and(|voters| voters.len() == cluster.nodes.len())
    });
}

fn hold(cluster: &Cluster, key: &str) -> String {
    let body = r#"{"from":"external:card","to":"held","amount":500,"currency":"EUR","capture":"manual"}"#;
    let held = cluster.nodes[0].send(&Request::post("/v1/payments").key(key).json(body)).expect(201);
    held["id"].as_str().unwrap().to_owned()
}

fn capture(cluster: &Cluster, payment: &str, key: &str) -> Value {
    let target = format!("/v1/payments/{payment}/capture");
    cluster.nodes[0].send(&Request::post(target).key(key)).expect(200)
}

#[test]
fn a_cluster_restored_from_a_backup_under_load_has_every_key_hold_and_balance() {
    let mut cluster = Cluster::start(3);
    let directory = folder("backup");
    cluster.nodes[0].pay("before", "external:bank", "before", 700).expect(201);
    let held = hold(&cluster, "held");
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    payers.wait_for_more(SOME);
    let file = directory.path().join("full.qpb");
    let taken = backup(&cluster, &file, &[]);
    payers.wait_for_more(SOME);
    payers.stop().assert_no_error();
    let end = taken["backup"]["end"]["position"]["index"].as_u64().unwrap();
    assert!(end > SOME as u64);
    assert_eq!(taken["backup"]["end"]["position"]["hash"], cluster.nodes[2].entry(end)["hash"]);
    let ledger = cluster.nodes[1].ledger();
    let statement = cluster.nodes[1].get("/v1/accounts/before/statement").expect(200)["entries"].clone();

    let restored = found_from(&mut cluster, &[text(&file)]);
    assert_eq!(restored["restored"]["index"], end);
    assert_eq!(restored["written"]["index"], end + 2, "an epoch and its configuration");
    let after = cluster.nodes[2].ledger();
    let end = usize::try_from(end).unwrap();
    assert_eq!(after[..end], ledger[..end], "entry by entry, with their hashes");
    assert_eq!(cluster.nodes[1].balance("before"), 700);
    assert_eq!(cluster.nodes[1].get("/v1/accounts/before/statement").expect(200)["entries"], statement);
    let repeated = cluster.nodes[2].pay("before", "external:bank", "before", 700);
    repeated.expect(201);
    assert_eq!(repeated.header("Idempotent-Replayed"), Some("true"));
    capture(&cluster, &held, "captured");
    assert_eq!(cluster.nodes[0].balance("held"), 500);
    let totals = crate::support::cluster::totals(&cluster.nodes[1].accounts());
    assert!(totals.values().all(|total| *total == 0), "{totals:?}");
}

#[test]
fn incremental_backups_restore_as_one_and_none_may_be_missing() {
    let mut cluster = Cluster::start(1);
    let directory = folder("backup");
    let [full, second, third] = ["full.qpb", "second.qpb", "third.qpb"].map(|name| directory.path().join(name));
    cluster.nodes[0].pay("one", "external:bank", "shop", 1).expect(201);
    let first = backup(&cluster, &full, &[]);
    let held = hold(&cluster, "held");
    cluster.nodes[0].pay("two", "external:bank", "shop", 10).expect(201);
    let next = backup(&cluster, &second, &["--from", text(&full)]);
    assert_eq!(next["backup"]["after"], first["backup"]["end"]);
    capture(&cluster, &held, "captured");
    cluster.nodes[0].pay("three", "external:bank", "shop", 100).expect(201);
    backup(&cluster, &third, &["--from", text(&second)]);

    let verified = run_program(&["verify", text(&third), text(&full), text(&second), "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(report["payments"], 4);
    assert_refused(&run_program(&["verify", text(&full), text(&third)]), "does not go on where");
    assert_refused(&run_program(&["verify", text(&third)]), "name the backups before it too");

    found_from(&mut cluster, &[text(&full), text(&second), text(&third)]);
    assert_eq!((cluster.nodes[0].balance("shop"), cluster.nodes[0].balance("held")), (111, 500));
}

#[test]
fn a_restore_ends_at_an_index_or_a_moment_and_what_came_later_can_be_paid_again() {
    let mut cluster = Cluster::start(1);
    let directory = folder("backup");
    let file = directory.path().join("full.qpb");
    let pay = |cluster: &Cluster, key: &str, amount| cluster.nodes[0].pay(key, "external:bank", "shop", amount);
    let first = pay(&cluster, "one", 1).expect(201);
    let mut ticks = 0;
    wait_until("the ledger's time goes on", || {
        ticks += 1;
        let tick = cluster.nodes[0].pay(&format!("tick-{ticks}"), "external:bank", "clock", 1).expect(201);
        tick["created_at"].as_str() > first["created_at"].as_str()
    });
    let second = pay(&cluster, "two", 10).expect(201);
    backup(&cluster, &file, &[]);
    cluster.kill(0);

    cluster.become_new_cluster();
    let index = first["index"].to_string();
    let output = restore(&cluster, 0, &[text(&file), "--to-index", &index]);
    assert!(output.status.success(), "{output:?}");
    start_restored(&mut cluster);
    assert_eq!(cluster.nodes[0].balance("shop"), 1);
    let again = pay(&cluster, "two", 10);
    again.expect(201);
    assert_eq!(again.header("Idempotent-Replayed"), None);
    cluster.kill(0);
    cluster.wipe(0);

    cluster.become_new_cluster();
    let output = restore(&cluster, 0, &[text(&file), "--to-time", second["created_at"].as_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let restored: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(restored["restored"]["index"].as_u64() < second["index"].as_u64(), "{restored}");
    assert!(restored["restored_time"].as_str() < second["created_at"].as_str(), "{restored}");
    start_restored(&mut cluster);
    assert_eq!(cluster.nodes[0].balance("shop"), 1);

    let beyond = second["index"].as_u64().unwrap() + 1_000;
    cluster.kill(0);
    cluster.wipe(0);
    cluster.become_new_cluster();
    assert_refused(&restore(&cluster, 0, &[text(&file), "--to-index", &beyond.to_string()]), "and none with index");
    assert_refused(&restore(&cluster, 0, &[text(&file), "--to-time", "2001-01-01T00:00:00Z"]), "and none before");
    assert!(!cluster.nodes[0].data_dir.exists(), "the new data directory is not even created");
}

#[test]
fn a_restore_never_overwrites_anything_and_founds_the_same_cluster_only_if_told() {
    let mut cluster = Cluster::start(1);
    let directory = folder("backup");
    let file = directory.path().join("full.qpb");
    cluster.nodes[0].pay("one", "external:bank", "shop", 1).expect(201);
    backup(&cluster, &file, &[]);
    let again = run_program(&["backup", "--url", &urls(&cluster), "--to", text(&file)]);
    assert_refused(&again, "exists already");
    cluster.kill(0);
    assert_refused(&restore(&cluster, 0, &[text(&file)]), "is the id of the cluster that was backed up");
    assert_refused(&restore(&cluster, 0, &[text(&file), "--keep-cluster-id"]), "is not empty: it holds");
    cluster.wipe(0);
    let restored = restore(&cluster, 0, &[text(&file), "--keep-cluster-id"]);
    assert!(restored.status.success(), "{restored:?}");
    let left: Vec<_> =
        fs::read_dir(&cluster.nodes[0].data_dir).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("unfinished")), "{left:?}");
    start_restored(&mut cluster);
    assert_eq!(cluster.nodes[0].balance("shop"), 1);
    cluster.nodes[0].pay("two", "external:bank", "shop", 1).expect(201);
}

#[test]
fn a_backup_that_is_cut_or_changed_is_refused_in_one_line_and_nothing_is_written() {
    let mut cluster = Cluster::start(1);
    let directory = folder("backup");
    let file = directory.path().join("full.qpb");
    cluster.nodes[0].pay("one", "external:bank", "shop", 1).expect(201);
    backup(&cluster, &file, &[]);
    cluster.kill(0);
    cluster.become_new_cluster();
    let whole = fs::read(&file).unwrap();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let bad = directory.path().join("bad.qpb");
    for (bytes, why) in [
        (whole[..whole.len() / 2].to_vec(), "is cut short: it ends at byte"),
        (whole[..whole.len() - 1].to_vec(), "is cut short"),
        (changed(0), "is no backup of Quorapay"),
        (changed(8), "is a backup in format 3, and this program reads format 2"),
        (changed(20), "is damaged at byte 12, after entry 0"),
        (changed(whole.len() / 2), "its checksum does not match"),
        (Vec::new(), "is cut short"),
        (b"{}".to_vec(), "is no backup of Quorapay"),
    ] {
        fs::write(&bad, bytes).unwrap();
        assert_refused(&run_program(&["verify", text(&bad)]), why);
        let output = restore(&cluster, 0, &[text(&bad)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
        assert!(!cluster.nodes[0].data_dir.exists(), "nothing half done is left");
    }
    let none = run_program(&["verify", text(&directory.path().join("none.qpb"))]);
    assert_refused(&none, "No such file");
}

/// Starts a backup to a file and waits until its first entries are on the disk.
fn start_backup(cluster: &Cluster, file: &Path) -> Running {
    let running = start(&["backup", "--json", "--url", &urls(cluster), "--to", text(file)], Stdio::null());
    let part = part_of(file);
    wait_until("a frame is written", || fs::metadata(&part).is_ok_and(|part| part.len() > 10_000));
    running
}

fn part_of(file: &Path) -> PathBuf {
    file.with_extension("qpb.part")
}

#[test]
fn a_backup_that_was_killed_goes_on_where_it_stopped() {
    let cluster = Cluster::start(1);
    let directory = folder("backup");
    fill(&cluster, 60);
    let file = directory.path().join("full.qpb");
    let mut running = start_backup(&cluster, &file);
    running.kill();
    let reached = fs::metadata(part_of(&file)).unwrap().len();
    assert!(!file.exists(), "it was killed before its end");
    let taken = backup(&cluster, &file, &[]);
    assert_eq!(taken["backup"]["continued"], true);
    assert!(taken["backup"]["bytes"].as_u64().unwrap() > reached);
    assert!(!part_of(&file).exists());
    let verified = run_program(&["verify", text(&file), "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(serde_json::from_slice::<Value>(&verified.stdout).unwrap()["payments"], 60 * BATCH);
}

#[test]
fn a_backup_goes_on_at_another_node_when_its_node_dies() {
    let mut cluster = Cluster::start(3);
    let directory = folder("backup");
    fill(&cluster, 60);
    let leader = cluster.leader();
    (0..3).for_each(|node| cluster.wait_caught_up(node, leader));
    let file = directory.path().join("full.qpb");
    let mut running = start_backup(&cluster, &file);
    cluster.kill(0);
    assert!(!file.exists(), "the node was killed before the end of the backup");
    assert!(running.0.wait().unwrap().success());
    let verified = run_program(&["verify", text(&file), "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(serde_json::from_slice::<Value>(&verified.stdout).unwrap()["payments"], 60 * BATCH);
}

#[test]
fn a_backup_goes_through_a_pipe() {
    let cluster = Cluster::start(1);
    let directory = folder("backup");
    cluster.nodes[0].pay("one", "external:bank", "shop", 1).expect(201);
    let file = directory.path().join("piped.qpb");
    let url = urls(&cluster);
    let mut running = start(&["backup", "--url", &url, "--to", "-"], File::create(&file).unwrap().into());
    assert!(running.0.wait().unwrap().success());
    assert!(run_program(&["verify", text(&file)]).status.success());
    let mut closed = start(&["backup", "--url", &url, "--to", "-"], Stdio::piped());
    drop(closed.0.stdout.take());
    assert!(!closed.0.wait().unwrap().success(), "nobody took it");
}

/// A small disk. Unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, and a line that says so, if this process may not mount one.
    fn mount(bytes: &str) -> Option<Self> {
        let directory = folder("disk");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(directory.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        eprintln!("skipped: a disk cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status().unwrap();
        assert!(unmounted.success());
    }
}

#[test]
fn a_full_disk_is_one_line_and_leaves_nothing_that_looks_whole() {
    let mut cluster = Cluster::start(1);
    let Some(disk) = SmallDisk::mount("256k") else { return };
    let directory = folder("backup");
    fill(&cluster, 20);
    let file = disk.0.path().join("full.qpb");
    let full = run_program(&["backup", "--url", &urls(&cluster), "--to", text(&file)]);
    assert_refused(&full, "No space left on device");
    assert!(!file.exists());
    fs::remove_file(part_of(&file)).unwrap();

    let good = directory.path().join("full.qpb");
    backup(&cluster, &good, &[]);
    cluster.kill(0);
    cluster.become_new_cluster();
    let config = fs::read_to_string(&cluster.nodes[0].config).unwrap();
    let small = disk.0.path().join("data");
    let moved = config.replace(text(&cluster.nodes[0].data_dir), text(&small));
    fs::write(&cluster.nodes[0].config, moved).unwrap();
    let output = restore(&cluster, 0, &[text(&good)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("full"), "{output:?}");
    let left: Vec<_> = fs::read_dir(&small).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["ledger.lock"], "nothing half done is left");
}

/// The name of the newest backup of a series.
fn newest_of(series: &Path) -> Option<String> {
    let names = fs::read_dir(series).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".qpb")).max()
}

#[test]
fn scheduled_backups_are_kept_with_all_that_they_need() {
    let mut cluster = Cluster::start(1);
    let directory = folder("backup");
    let series = directory.path().join("series");
    let arguments = [
        "backup",
        "--url",
        &urls(&cluster),
        "--to",
        text(&series),
        "--keep",
        "2",
        "--every",
        "1s",
        "--deadline-ms",
        "500",
    ];
    let log = directory.path().join("log");
    let mut running = start_with(&arguments, Stdio::null(), File::create(&log).unwrap().into());
    let is_there = |name: &str| series.join(name).exists();
    for (amount, name) in [(1, "backup-0001-0000.qpb"), (10, "backup-0001-0001.qpb"), (100, "backup-0002-0000.qpb")] {
        cluster.nodes[0].pay(name, "external:bank", "shop", amount).expect(201);
        wait_until(name, || is_there(name));
    }
    // The second of the newest two needs the first of the series.
    assert!(is_there("backup-0001-0000.qpb") && is_there("backup-0001-0001.qpb") || is_there("backup-0002-0001.qpb"));
    cluster.kill(0);
    wait_until("a backup has failed", || fs::read_to_string(&log).unwrap().contains("no backup was taken"));
    cluster.restart(0);
    cluster.wait_ready();
    cluster.nodes[0].pay("last", "external:bank", "shop", 1_000).expect(201);
    // The first of them may have begun before the payment.
    for _ in 0..2 {
        let newest = newest_of(&series);
        wait_until("another backup is there", || newest_of(&series) > newest);
    }
    wait_until("a whole series has replaced the first one", || is_there("backup-0003-0000.qpb"));
    wait_until("what nothing needs is removed", || !is_there("backup-0001-0000.qpb"));
    running.kill();
    let verified = run_program(&["verify", text(&series), "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    found_from(&mut cluster, &[text(&series)]);
    assert_eq!(cluster.nodes[0].balance("shop"), 1_111);
}
