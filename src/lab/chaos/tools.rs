//! The tools of this machine that faults need, and the faults that are impossible without them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::disks::Disks;
use super::kind::FaultKind;
use super::network_kind::NetworkKind;
use super::skipped::SkippedKind;
use crate::local::{LocalError, run};

/// Environment variable that tells this program that it runs in private namespaces already.
pub(super) const PRIVATE_VARIABLE: &str = "QUORAPAY_CHAOS_PRIVATE";

/// How long strace may take to attach to a process.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// What this machine allows.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) clocks: Clocks,
    pub(super) disks: Disks,
    pub(super) strace: Result<(), String>,
}

impl Tools {
    /// Checks which tools are available, as far as these kinds need them.
    pub(super) async fn detect(kinds: &[FaultKind]) -> Self {
        let any = |wanted: &[FaultKind]| wanted.iter().any(|kind| kinds.contains(kind));
        let unused = || "not wanted".to_owned();
        let clocks = if any(&[FaultKind::ClockStep, FaultKind::ClockDrift]) {
            Clocks::detect().await
        } else {
            Clocks { preload: Err(unused()) }
        };
        let disks = if any(&[FaultKind::DiskFull, FaultKind::PowerLoss]) {
            Disks::detect(any(&[FaultKind::PowerLoss])).await
        } else {
            Disks::unavailable(unused())
        };
        let needs_strace = any(&[FaultKind::FsyncError, FaultKind::KillAtSync])
            || (any(&[FaultKind::DiskFull]) && disks.mountable.is_err());
        let strace = if needs_strace { detect_strace().await } else { Err(unused()) };
        Self { clocks, disks, strace }
    }

    /// The kinds that can be injected, and those that cannot.
    pub(super) fn possible(&self, kinds: &[FaultKind], network: NetworkKind) -> (Vec<FaultKind>, Vec<SkippedKind>) {
        let (mut possible, mut skipped) = (Vec::new(), Vec::new());
        for &kind in kinds {
            match self.obstacle(kind, network) {
                None => possible.push(kind),
                Some((reason, remedy)) => skipped.push(SkippedKind { kind, reason, remedy: remedy.to_owned() }),
            }
        }
        (possible, skipped)
    }

    fn obstacle(&self, kind: FaultKind, network: NetworkKind) -> Option<(String, &'static str)> {
        match kind {
            FaultKind::FsyncError | FaultKind::KillAtSync => {
                Some((self.strace.as_ref().err()?.clone(), "apt-get install strace, or run as root"))
            }
            FaultKind::DiskFull => {
                let reason = format!("{}; {}", self.disks.mountable.as_ref().err()?, self.strace.as_ref().err()?);
                Some((reason, "run as root, or apt-get install strace"))
            }
            FaultKind::PowerLoss => {
                let reason = self.disks.mountable.as_ref().and(self.disks.stoppable.as_ref()).err()?.clone();
                Some((reason, "run as root, and apt-get install xfsprogs"))
            }
            FaultKind::ClockStep | FaultKind::ClockDrift => {
                Some((self.clocks.preload.as_ref().err()?.clone(), "apt-get install faketime"))
            }
            FaultKind::Delay if network == NetworkKind::Namespaces => {
                Some(("packet filters lose packets, they do not delay them".to_owned(), "use --network loopback"))
            }
            FaultKind::PartitionLink if network == NetworkKind::Loopback => {
                Some(("it takes packet filters".to_owned(), "use --network namespaces"))
            }
            _ => None,
        }
    }
}

/// Restarts this program in private namespaces, for mounts and, if `network` needs it, for the network: the kernel removes
/// them with the last process in them, however this program ends. Returns if this is done already, or if it is impossible
/// and not required.
///
/// # Errors
/// If the network needs namespaces and they are not available.
pub fn enter_private_namespaces(network: NetworkKind) -> Result<(), LocalError> {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(PRIVATE_VARIABLE).is_some() {
        return Ok(());
    }
    let mut options = vec!["--mount", "--propagation", "private"];
    if network == NetworkKind::Namespaces {
        options.push("--net");
    }
    let trial = std::process::Command::new("unshare").args(&options).arg("true").stderr(Stdio::null()).status();
    if !nix::unistd::geteuid().is_root() || !trial.is_ok_and(|status| status.success()) {
        return match network {
            NetworkKind::Loopback => Ok(()),
            NetworkKind::Namespaces => Err(LocalError::Command {
                command: format!("unshare {}", options.join(" ")),
                said: "network namespaces take root; use --network loopback".to_owned(),
            }),
        };
    }
    let program = std::env::current_exe().map_err(LocalError::io("this program's own path"))?;
    let mut command = std::process::Command::new("unshare");
    command.args(options).arg(program).args(std::env::args_os().skip(1)).env(PRIVATE_VARIABLE, "1");
    // On success `exec` does not return: the process continues as the new program.
    Err(LocalError::io("unshare")(command.exec()))
}

/// The nodes' wall clocks, set by the library of faketime, which is preloaded.
#[derive(Debug)]
pub(super) struct Clocks {
    preload: Result<String, String>,
}

impl Clocks {
    async fn detect() -> Self {
        let shown = run("faketime", ["-m", "-f", "+0s", "env"]).await;
        let preload = shown.map_err(|_| "faketime is not there".to_owned()).and_then(|environment| {
            let line = environment.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
            line.map(str::to_owned).ok_or_else(|| "faketime does not say what it loads".to_owned())
        });
        Self { preload }
    }

    /// Creates the file that sets a node's wall clock; `None` without faketime.
    pub(super) fn file_of(&self, node: &str, folder: &Path) -> Option<PathBuf> {
        let file = folder.join(format!("{node}.clock"));
        (self.preload.is_ok() && set_clock(&file, 0).is_ok()).then_some(file)
    }

    /// The environment that makes a process read its wall clock from a file. Its monotonic clock and timers are not changed.
    pub(super) fn environment(&self, file: &Path) -> Vec<(String, String)> {
        let Ok(preload) = &self.preload else { return Vec::new() };
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            set("LD_PRELOAD", preload),
            set("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
            set("FAKETIME_CACHE_DURATION", "1"),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

/// Removes what the library leaves in shared memory when its process is killed.
pub(super) fn remove_shared_memory(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // Usually the file does not exist.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Sets a node's wall clock off by milliseconds. The file is replaced atomically, because half a line is another time.
pub(super) fn set_clock(file: &Path, off_ms: i64) -> Result<(), LocalError> {
    let (sign, size) = (if off_ms < 0 { '-' } else { '+' }, off_ms.unsigned_abs());
    let fresh = file.with_extension("clock.new");
    let write = || {
        std::fs::write(&fresh, format!("{sign}{}.{:03}", size / 1_000, size % 1_000))?;
        std::fs::rename(&fresh, file)
    };
    write().map_err(LocalError::io("a node's clock"))
}

/// Tampers with system calls of a running process. Ends with the process or when dropped.
#[derive(Debug)]
pub(super) struct Injection {
    _strace: Child,
    _listener: JoinHandle<()>,
}

impl Injection {
    /// Tampers with these calls of the process from now on, as `strace` describes it, such as `error=EIO`.
    pub(super) async fn begin(pid: u32, calls: &str, how: &str) -> Result<Self, LocalError> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{how}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut strace = command.spawn().map_err(LocalError::io("strace"))?;
        let mut said = BufReader::new(strace.stderr.take().expect("it was piped")).lines();
        let failed = |said: String| LocalError::Command { command: format!("strace -p {pid}"), said };
        // strace prints a line once it is attached to all threads.
        match timeout(ATTACH_TIMEOUT, said.next_line()).await {
            Ok(Ok(Some(line))) if line.contains("attached") => {
                // The output is drained: a full or closed pipe would block or end strace.
                let listener = tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
                Ok(Self { _strace: strace, _listener: listener })
            }
            Ok(Ok(line)) => Err(failed(line.unwrap_or_default())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it does not attach".to_owned())),
        }
    }
}

async fn detect_strace() -> Result<(), String> {
    run("strace", ["-V"]).await.map_err(|_| "strace is not there".to_owned())?;
    let mut trial = Command::new("sleep").arg("60").kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let attached = match trial.id() {
        Some(pid) => Injection::begin(pid, "fsync", "error=EIO").await.map(drop).map_err(|error| error.to_string()),
        None => Err("no process to try it on".to_owned()),
    };
    let _ = trial.kill().await;
    attached.map_err(|error| format!("strace may not attach to processes here: {error}"))
}
