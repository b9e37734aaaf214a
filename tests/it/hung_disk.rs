//! A disk that hangs: `strace` holds back every sync of a real process. Without `strace` the test proves nothing and
//! says so.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::cluster::{Cluster, wait_until};
use crate::support::payers::Payers;

/// How many payments show that payments continue.
const SOME: usize = 60;

/// Holds back every sync of a process, until it is dropped.
pub(crate) struct HungDisk(Child);

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(60);

impl HungDisk {
    /// `None` if this machine cannot.
    fn of(pid: u32) -> Option<Self> {
        Self::with_delay(pid, FOR_EVER)
    }

    /// A disk whose every sync takes so much longer. `None` if this machine cannot.
    pub(crate) fn with_delay(pid: u32, delay: Duration) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
        let inject = format!("inject=fsync,fdatasync:delay_enter={}", delay.as_micros());
        command.args(["-e", &inject, "-p", &pid.to_string()]);
        let mut strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut said = BufReader::new(strace.stderr.take().expect("it was piped")).lines();
        let hung = Self(strace);
        // It prints a line once it is attached to all threads.
        if !said.next()?.ok()?.contains("attached") {
            return None;
        }
        // The output is drained: a full pipe would block it.
        thread::spawn(move || said.for_each(drop));
        Some(hung)
    }
}

impl Drop for HungDisk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced_and_says_that_it_is_not_ready() {
    let cluster = Cluster::start(3);
    let (leader, others) = (cluster.leader(), cluster.followers());
    let payers = Payers::start(&cluster, &others);
    payers.wait_for_more(SOME);
    let Some(hung) = HungDisk::of(cluster.nodes[leader].pid()) else {
        return eprintln!("skipped: strace is not there, or may not attach to processes");
    };
    let id = cluster.nodes[leader].id.clone();
    wait_until("another node leads", || {
        let known = cluster.nodes[others[0]].get("/readyz");
        known.status == 200 && known.json()["leader"] != *id
    });
    payers.wait_for_more(SOME);
    let ready = cluster.nodes[leader].get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(ready.text().contains("the disk hangs"), "{}", ready.text());
    drop(hung);
    cluster.wait_ready();
    payers.wait_for_more(SOME);
    let history = payers.stop();
    cluster.wait_caught_up(leader, others[0]);
    history.assert_consistent_with(&cluster);
}
