//! One script of `runbooks/faults`: what it must do, and what it has shown.

use std::path::Path;
use std::process::{Command, Stdio};

/// A script and the fault that it must make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    /// Its name, without the extension.
    pub(super) name: &'static str,
    /// What `quorapay fault` says for it, with `NODE` and `SERVER` in the place of names.
    pub(super) makes: &'static str,
    /// Whether the fault can be made on containers.
    pub(super) on_compose: bool,
}

const fn script(name: &'static str, makes: &'static str) -> Script {
    Script { name, makes, on_compose: true }
}

const fn on_dev_only(name: &'static str, makes: &'static str) -> Script {
    Script { name, makes, on_compose: false }
}

/// All scripts of the folder, besides the one that they are made of.
pub(super) const SCRIPTS: [Script; 18] = [
    script("kill", "NODE is killed"),
    script("pause", "NODE is paused"),
    script("partition", "between NODE and all other nodes and ZooKeeper nothing passes"),
    script("partition-one-way", "from all other nodes to NODE nothing passes"),
    script("partition-peer", "between NODE and NODE nothing passes"),
    script("partition-zookeeper", "between NODE and ZooKeeper nothing passes"),
    on_dev_only("delay", "between NODE and all other nodes everything takes 80 to 160 ms longer"),
    script("loss", "between NODE and all other nodes 10.0 % of the packets are lost"),
    script("disk-full", "the disk of NODE is full"),
    script("slow-sync", "every sync of NODE takes 500 ms longer"),
    script("fsync-error", "every sync of NODE fails"),
    on_dev_only("clock-step", "the clock of NODE is off by +3600 s"),
    on_dev_only("clock-drift", "the clock of NODE gains +100 ms a second"),
    script("disk-wiped", "NODE is killed and its disk is empty"),
    script("bit-flip", "a bit of the ledger of NODE is flipped"),
    script("zookeeper-server", "SERVER, a ZooKeeper server, is killed"),
    script("zookeeper-all", "all of ZooKeeper is killed"),
    script("zookeeper-wiped", "all of ZooKeeper is killed and its data are deleted"),
];

/// What the clients of a script saw: they pay on a schedule, and repeat what fails at the next node under the same key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    /// Payments that were made.
    pub(super) paid: u64,
    /// Payments that ended in an error within their deadline.
    pub(super) errors: u64,
    /// Payments whose outcome was unknown at their deadline.
    pub(super) unknown: u64,
    /// The slowest answer, in milliseconds from when the payment was meant to start.
    pub(super) slowest_ms: f64,
}

impl Script {
    /// Runs it from a folder, in an environment of its own settings.
    ///
    /// # Errors
    /// What is wrong with it, with all that it printed.
    pub(super) fn play(&self, folder: &Path, settings: &[(&str, &str)]) -> Result<Figures, String> {
        let mut command = Command::new("bash");
        command.arg(folder.join(format!("{}.sh", self.name))).envs(settings.iter().copied()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let wrong = |how: &str| {
            format!("{}.sh {how}; it printed:\n{printed}\n{}", self.name, String::from_utf8_lossy(&output.stderr))
        };
        if !output.status.success() {
            return Err(wrong(&format!("ended with {}", output.status)));
        }
        let made = section(&printed, "quorapay fault").ok_or_else(|| wrong("makes no fault"))?;
        if without_names(made) != self.makes {
            return Err(wrong(&format!("makes another fault than `{}`", self.makes)));
        }
        section(&printed, "after").ok_or_else(|| wrong("does not show the end"))?;
        let figures =
            section(&printed, "100 payments").and_then(Figures::read).ok_or_else(|| wrong("shows no figures"))?;
        if figures.paid == 0 || figures.errors + figures.unknown > 0 {
            return Err(wrong("cost a payment"));
        }
        Ok(figures)
    }
}

impl Figures {
    /// Reads the report of `quorapay bench`.
    fn read(report: &str) -> Option<Self> {
        let words: Vec<&str> = report.split_whitespace().map(|word| word.trim_matches([',', '(', ')'])).collect();
        let before = |name: &str| words.windows(2).find_map(|pair| pair[0].parse().ok().filter(|_| pair[1] == name));
        let slowest_ms = words.windows(2).find(|pair| pair[0] == "max")?[1].parse().ok()?;
        Some(Self { paid: before("ok")?, errors: before("errors")?, unknown: before("unknown")?, slowest_ms })
    }
}

/// What is printed under a title, up to the next one.
fn section<'a>(printed: &'a str, title: &str) -> Option<&'a str> {
    let (_, after) = printed.split_once(&format!("== {title}"))?;
    let (_, body) = after.split_once('\n')?;
    Some(body.split("\n== ").next().unwrap_or_default().trim())
}

/// A line without the names of nodes and servers.
fn without_names(line: &str) -> String {
    let hidden = |word: &str| {
        let name = word.trim_end_matches(',');
        let kind = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            stem if stem == name => return word.to_owned(),
            "node" => "NODE",
            "zookeeper" | "zk" => "SERVER",
            _ => return word.to_owned(),
        };
        word.replace(name, kind)
    };
    line.split(' ').map(hidden).collect::<Vec<_>>().join(" ")
}
