//! The tools of this machine that faults need, and the faults that are impossible without them.

use std::process::Stdio;

use super::kind::FaultKind;
use super::skipped::SkippedKind;
use crate::fault::{Clocks, Disks, NetworkKind, PRIVATE_VARIABLE, detect_strace};
use crate::local::LocalError;

/// What this machine allows.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) clocks: Clocks,
    pub(crate) disks: Disks,
    pub(crate) strace: Result<(), String>,
}

impl Tools {
    /// Checks which tools are available, as far as these kinds need them.
    pub(crate) async fn detect(kinds: &[FaultKind]) -> Self {
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
    pub(crate) fn possible(&self, kinds: &[FaultKind], network: NetworkKind) -> (Vec<FaultKind>, Vec<SkippedKind>) {
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
