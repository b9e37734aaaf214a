//! Plays the scripts of `runbooks/faults`, with which an operator practises: each breaks a cluster under payments, shows what
//! happens, and mends it. A script that fails, makes another fault than its name says, or costs a payment fails a test.
//!
//! ```text
//! script   one script, and what it must show
//! compose  all of them on the containers of docker-compose.yml, by `make test-compose`
//! ```

mod compose;
mod script;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::faults::Dev;
use crate::support::cluster::program;
use crate::support::reaper::folder;
use script::{Figures, SCRIPTS, Script};

fn scripts_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/faults")
}

fn named(name: &str) -> Script {
    *SCRIPTS.iter().find(|script| script.name == name).expect("the table has it")
}

/// Prints what a script has shown, as a line of a table.
fn print(name: &str, figures: &Figures) {
    let Figures { paid, errors, unknown, slowest_ms } = figures;
    eprintln!("{name:<20} slowest answer {slowest_ms:>7.0} ms   {paid:>5} paid  {errors} errors  {unknown} unknown");
}

/// One cluster at a time: other tests run beside these.
static TURN: Mutex<()> = Mutex::new(());

/// Plays these scripts on a cluster of `quorapay dev`, one after another. Its peers' ports are 100 above `port`, which no other
/// test may use.
fn play_on_dev(port: u16, options: &[&str], names: &[&str]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dev = Dev::start(port, options);
    let urls: Vec<String> = (0..3).map(|node| dev.url(node)).collect();
    let (program, urls) = (program(), urls.join(","));
    let settings = [
        ("QUORAPAY", program.to_str().unwrap()),
        ("QUORAPAY_URL", &urls),
        ("DATA_DIR", dev.folder.path().to_str().unwrap()),
        ("LASTING", "2"),
    ];
    for name in names {
        let figures = named(name).play(&scripts_folder(), &settings).unwrap_or_else(|wrong| panic!("{wrong}"));
        print(name, &figures);
        assert_eq!(dev.order("heal --list"), "no fault lasts\n", "{name}");
        dev.wait_until_whole();
    }
}

#[test]
fn the_scripts_that_kill_hang_and_cut_off_a_node_work_on_dev() {
    let names = ["kill", "pause", "partition", "partition-one-way", "partition-peer", "partition-zookeeper"];
    play_on_dev(19_400, &[], &names);
}

#[test]
fn the_scripts_for_links_disks_and_zookeeper_work_on_dev() {
    let names = ["delay", "loss", "disk-wiped", "bit-flip", "zookeeper-server", "zookeeper-all", "zookeeper-wiped"];
    play_on_dev(19_410, &[], &names);
}

#[test]
fn the_scripts_for_failing_disks_and_wrong_clocks_work_on_dev() {
    if Command::new("strace").arg("-V").output().is_err() || Command::new("faketime").arg("-v").output().is_err() {
        return eprintln!("skipped: this takes strace and faketime (tests/chaos/tools.sh install)");
    }
    play_on_dev(19_420, &["--clocks"], &["disk-full", "slow-sync", "fsync-error", "clock-step", "clock-drift"]);
}

#[test]
fn every_script_of_the_folder_is_played() {
    let files = fs::read_dir(scripts_folder()).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|extension| extension == "sh"));
    let names: BTreeSet<String> = scripts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let played = SCRIPTS.iter().map(|script| script.name).chain(["try"]).map(str::to_owned);
    assert_eq!(names, played.collect());
}

/// A `quorapay` that makes every fault `kill`, and whose clients lose no payment.
const PRETENDED: &str = r#"#!/bin/sh
case "$1 $2" in
"fault kill") echo "node1 is killed" ;;
fault*) echo "there is no such fault" >&2; exit 2 ;;
bench*) echo "latency  p50 1.000  max 250.000 ms"; echo "payments  90 ok, 0 refused, 0 errors, 0 unknown" ;;
esac
"#;

#[test]
fn a_script_that_is_broken_or_costs_a_payment_is_found() {
    let folder = folder("scripts-");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    };
    let read = |name: &str| fs::read_to_string(scripts_folder().join(name)).unwrap();
    write("try.sh", &read("try.sh").replace("sleep 2", "true"));
    let stub = folder.path().join("quorapay");
    let settings = [("QUORAPAY", stub.to_str().unwrap()), ("LASTING", "0")];
    let played = |kill: &str, quorapay: &str| {
        write("kill.sh", kill);
        write("quorapay", quorapay);
        named("kill").play(folder.path(), &settings)
    };
    let sound = Figures { paid: 90, errors: 0, unknown: 0, slowest_ms: 250.0 };
    assert_eq!(played(&read("kill.sh"), PRETENDED), Ok(sound));
    for (from, to, quorapay, how) in [
        ("try.sh\" kill", "try.sh\" kil", PRETENDED.to_owned(), "ended with"),
        ("exec", "echo", PRETENDED.to_owned(), "makes no fault"),
        ("kill", "kill", PRETENDED.replace("killed", "paused"), "makes another fault"),
        ("kill", "kill", PRETENDED.replace("0 unknown", "1 unknown"), "cost a payment"),
        ("kill", "kill", PRETENDED.replace("0 errors", "2 errors (timeout 2)"), "cost a payment"),
        ("kill", "kill", PRETENDED.replace("max 250", "p99 250"), "shows no figures"),
    ] {
        let wrong = played(&read("kill.sh").replace(from, to), &quorapay).expect_err(how);
        assert!(wrong.contains(how), "{wrong}");
    }
}
