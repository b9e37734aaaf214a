//! Child processes with their logs in files.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::LocalError;
use super::reaper::Reaper;

pub use nix::sys::signal::Signal;

/// How long a process may take to end after SIGTERM.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(6);

/// A child process. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    reaper: Option<Reaper>,
}

/// A command that runs one node with this program, without the `QUORAPAY_*` variables of this process.
///
/// # Errors
/// [`LocalError::Io`] if the program's own path is unknown.
pub fn node_command(config: &Path) -> Result<Command, LocalError> {
    let mut command = Command::new(this_program()?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORAPAY_")) {
        command.env_remove(name);
    }
    command.arg("node").arg("--config").arg(config);
    Ok(command)
}

/// The path of this program.
fn this_program() -> Result<std::path::PathBuf, LocalError> {
    std::env::current_exe().map_err(LocalError::io("this program's own path"))
}

impl Process {
    /// Starts a command with its output appended to a log. `reaper` ends it should this program die without a word.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn spawn(mut command: Command, log: &Path, reaper: Option<&Reaper>) -> Result<Self, LocalError> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let files: Result<(File, File), _> = open().and_then(|out| Ok((out, open()?)));
        let (out, err) = files.map_err(LocalError::io(log.display().to_string()))?;
        // Separate process groups: Ctrl-C reaches this program only, which then stops the others in order.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(LocalError::io(program))?;
        if let (Some(reaper), Some(pid)) = (reaper, child.id()) {
            reaper.watch(pid);
        }
        Ok(Self { child, reaper: reaper.cloned() })
    }

    /// Its process id, until its end was noticed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let pid = self.pid();
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            self.forget(pid);
        }
        status
    }

    /// Waits until it ends.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        let pid = self.pid();
        let status = self.child.wait().await.ok();
        self.forget(pid);
        status
    }

    /// Sends a signal. It is no error if the process has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = send_signal(pid, signal);
        }
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) {
        let pid = self.pid();
        // An error means that it has ended already.
        let _ = self.child.kill().await;
        self.forget(pid);
    }

    /// Stops it with SIGTERM, and kills it if it does not end in time.
    pub async fn terminate(&mut self) {
        // A process stopped by SIGSTOP handles SIGTERM only after SIGCONT.
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        if timeout(TERMINATE_TIMEOUT, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    fn forget(&self, pid: Option<u32>) {
        if let (Some(reaper), Some(pid)) = (&self.reaper, pid) {
            reaper.forget(pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid();
        if self.child.start_kill().is_ok() {
            self.forget(pid);
        }
    }
}

/// Sends a signal to a process of this user.
///
/// # Errors
/// Any error of the system; a process that has ended is one.
pub fn send_signal(pid: u32, signal: Signal) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
    Ok(nix::sys::signal::kill(Pid::from_raw(pid), signal)?)
}

/// Runs a command and returns its output.
///
/// # Errors
/// [`LocalError::Command`] with its error output if it failed or does not exist.
pub async fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String, LocalError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let arguments = command.as_std().get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let failed = |said: String| LocalError::Command { command: format!("{program} {arguments}"), said };
    let output = command.output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
