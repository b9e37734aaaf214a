//! Private ZooKeeper servers, alone or as an ensemble.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::error::LocalError;
use super::process::{Process, Signal};
use super::reaper::Reaper;

/// The script that finds ZooKeeper and runs a private server. Embedded, so that the program needs no other file.
const SCRIPT: &str = include_str!("../../../zk/zookeeper.sh");

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a server may take to answer a four-letter command.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes the script into a folder.
///
/// # Errors
/// [`LocalError::Io`].
pub fn install_script(folder: &Path) -> Result<PathBuf, LocalError> {
    let script = folder.join("zookeeper.sh");
    std::fs::write(&script, SCRIPT).map_err(LocalError::io("zookeeper.sh"))?;
    Ok(script)
}

/// The addresses of one server of an ensemble.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its address.
    pub address: IpAddr,
    /// Port for clients.
    pub client_port: u16,
    /// Port for the other servers.
    pub peer_port: u16,
    /// Port for elections.
    pub election_port: u16,
}

/// The servers of an ensemble.
#[derive(Clone, Debug)]
pub struct Ensemble(pub Vec<Member>);

impl Ensemble {
    fn as_option(&self) -> String {
        let member = |member: &Member| {
            format!("{}:{}:{}:{}", member.address, member.peer_port, member.election_port, member.client_port)
        };
        self.0.iter().map(member).collect::<Vec<_>>().join(",")
    }
}

/// One server. Killed when dropped.
#[derive(Debug)]
pub struct ZooKeeperServer {
    member: Member,
    data: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    command_prefix: Vec<String>,
    script: PathBuf,
    process: Option<Process>,
}

impl ZooKeeperServer {
    /// A standalone server on loopback, with its data and log in `folder`.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the script cannot be written.
    pub fn alone(folder: &Path, port: u16) -> Result<Self, LocalError> {
        let member = Member { address: [127, 0, 0, 1].into(), client_port: port, peer_port: 0, election_port: 0 };
        Ok(Self::new(member, folder, "zookeeper", Vec::new(), install_script(folder)?))
    }

    /// Server `number`, counted from 1, of an ensemble. `command_prefix` is what its command line begins with, such as a
    /// command that enters a network namespace.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the script cannot be written.
    pub fn of_ensemble(
        folder: &Path,
        ensemble: &Ensemble,
        number: usize,
        command_prefix: Vec<String>,
    ) -> Result<Self, LocalError> {
        let membership = ["--id".to_owned(), number.to_string(), "--ensemble".to_owned(), ensemble.as_option()];
        let member = ensemble.0[number - 1];
        let mut arguments = membership.to_vec();
        arguments.extend(["--listen".to_owned(), member.address.to_string()]);
        let script = install_script(folder)?;
        Ok(Self { command_prefix, ..Self::new(member, folder, &format!("zookeeper{number}"), arguments, script) })
    }

    fn new(member: Member, folder: &Path, name: &str, arguments: Vec<String>, script: PathBuf) -> Self {
        let (data, log) = (folder.join(name), folder.join(format!("{name}.log")));
        Self { member, data, log, arguments, command_prefix: Vec::new(), script, process: None }
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.member.address, self.member.client_port)
    }

    /// The folder of its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts its process and does not wait for it.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn launch(&mut self, reaper: Option<&Reaper>) -> Result<(), LocalError> {
        let mut command_line = self.command_prefix.clone();
        command_line.push("bash".to_owned());
        let mut command = Command::new(&command_line[0]);
        command.args(&command_line[1..]).arg(&self.script).arg("run").arg("--data").arg(&self.data);
        command.arg("--port").arg(self.member.client_port.to_string()).args(&self.arguments);
        self.process = Some(Process::spawn(command, &self.log, reaper)?);
        Ok(())
    }

    /// Whether its process was started and not stopped by this program.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// Waits until it serves clients.
    ///
    /// # Errors
    /// [`LocalError::Ended`] if its process ends meanwhile, [`LocalError::TooSlow`] after the timeout.
    pub async fn wait_until_serving(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.mode().await.is_none() {
            if self.ended() {
                return Err(LocalError::ended("ZooKeeper", &self.log));
            }
            if Instant::now() >= deadline {
                let (what, logs) = ("the start of ZooKeeper".to_owned(), self.log.clone());
                return Err(LocalError::TooSlow { what, seconds: START_TIMEOUT.as_secs(), logs });
            }
            // A server does not announce that it is ready: it has to be polled.
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Its mode, such as `standalone` or `leader`; `None` while it does not serve.
    pub async fn mode(&self) -> Option<String> {
        let answer = async {
            let mut stream = TcpStream::connect((self.member.address, self.member.client_port)).await?;
            stream.write_all(b"srvr").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        let answer = timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Kills it, as a power failure would. Its data stay.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Stops it with SIGTERM and waits.
    pub async fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate().await;
        }
    }

    /// Deletes its data. It must not run.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn wipe(&self) -> Result<(), LocalError> {
        assert!(self.process.is_none(), "a running server has its files open");
        std::fs::remove_dir_all(&self.data).map_err(LocalError::io(self.data.display().to_string()))
    }
}
