//! The processes of a development cluster: started with their logs in files, ended so that none is left behind.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::layout::io_error;
use crate::cli::CliError;

/// The script that finds ZooKeeper and runs a private server; carried along so that the program works anywhere.
const ZOOKEEPER_SCRIPT: &str = include_str!("../../../zk/zookeeper.sh");

/// How long a process may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(6);

/// A child process with a name.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a node of this very program.
    pub(super) fn node(config: &Path, log: &Path) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(io_error("this program's own path"))?;
        let mut command = Command::new(program);
        command.arg("node").arg("--config").arg(config);
        Self::spawn(command, log)
    }

    /// Starts a private ZooKeeper server.
    pub(super) fn zookeeper(data_dir: &Path, port: u16) -> Result<Self, CliError> {
        let script = data_dir.join("zookeeper.sh");
        std::fs::write(&script, ZOOKEEPER_SCRIPT).map_err(io_error("zookeeper.sh"))?;
        let mut command = Command::new("bash");
        command.arg(&script).arg("run").arg("--data").arg(data_dir.join("zookeeper"));
        command.arg("--port").arg(port.to_string());
        Self::spawn(command, &data_dir.join("zookeeper.log"))
    }

    fn spawn(mut command: Command, log: &Path) -> Result<Self, CliError> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let (out, err): (File, File) =
            (open().map_err(io_error("a log file"))?, open().map_err(io_error("a log file"))?);
        // Own process groups: Ctrl-C reaches this program alone, which then ends the others in order.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true);
        Ok(Self { child: command.spawn().map_err(io_error("a child process"))? })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it at once and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        // An error says that it is gone already.
        let _ = self.child.kill().await;
    }

    /// Asks it to end, waits, and kills it if it does not.
    pub(super) async fn terminate(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
        }
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }
}
