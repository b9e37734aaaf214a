//! One node's process and files.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::clocks::{Clocks, remove_shared_memory};
use crate::local::{LocalError, Process, Reaper, Signal, node_command};

/// A node that runs as a process of this machine.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) config: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) log: PathBuf,
    /// What its command line begins with, such as a command that enters a network namespace.
    pub(crate) command_prefix: Vec<String>,
    /// The file that sets its wall clock, if this machine allows it.
    pub(crate) clock: Option<PathBuf>,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Node {
    pub(crate) fn new(id: String, folder: &Path, url: String, clocks: &Clocks) -> Self {
        let clock = clocks.file_of(&id, folder);
        Self {
            url,
            config: folder.join(format!("{id}.toml")),
            data_dir: folder.join(&id),
            log: folder.join(format!("{id}.log")),
            command_prefix: Vec::new(),
            environment: clock.as_deref().map(|file| clocks.environment(file)).unwrap_or_default(),
            clock,
            process: None,
            id,
        }
    }

    /// Starts its process unless it runs.
    pub(crate) fn start(&mut self, reaper: Option<&Reaper>) -> Result<(), LocalError> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut command = node_command(&self.config)?;
        if let Some((program, arguments)) = self.command_prefix.split_first() {
            let inner = command;
            command = tokio::process::Command::new(program);
            command.args(arguments).arg(inner.as_std().get_program()).args(inner.as_std().get_args());
            for (name, _) in inner.as_std().get_envs() {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::spawn(command, &self.log, reaper)?);
        Ok(())
    }

    /// Kills its process, as a power failure would.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = process.pid();
            process.kill().await;
            pid.into_iter().for_each(remove_shared_memory);
        }
    }

    /// Stops its process with SIGTERM and waits.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = process.pid();
            process.terminate().await;
            pid.into_iter().for_each(remove_shared_memory);
        }
    }

    /// The exit status if its process has ended by itself since the last call.
    pub(crate) fn take_exit(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        let pid = process.pid();
        let status = process.ended()?;
        pid.into_iter().for_each(remove_shared_memory);
        self.process = None;
        Some(status)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref()?.pid()
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Deletes its files. It must not run.
    pub(crate) fn wipe(&self) -> Result<(), LocalError> {
        assert!(self.process.is_none(), "a running node has its files open");
        let wiped = LocalError::io(format!("wiping the disk of {}", self.id));
        // The folder itself may be a mount point.
        let remove_all = || {
            for entry in std::fs::read_dir(&self.data_dir)? {
                let path = entry?.path();
                if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
            }
            Ok(())
        };
        remove_all().map_err(wiped)
    }

    /// The last line of its log, after its id.
    pub(crate) fn last_log_line(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("{}: {}", self.id, text.lines().last().unwrap_or("no log"))
    }
}
