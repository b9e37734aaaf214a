//! Private ZooKeeper servers, alone or as an ensemble.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::{LocalError, Process, Reaper};

/// The script that finds ZooKeeper and runs a private server; carried along so that the program works anywhere.
const SCRIPT: &str = include_str!("../../../zk/zookeeper.sh");

/// How long a server may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a server may take to answer one of its four-letter words.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes the script into a folder, from where servers are started.
///
/// # Errors
/// [`LocalError::Io`].
pub fn install_script(folder: &Path) -> Result<PathBuf, LocalError> {
    let script = folder.join("zookeeper.sh");
    std::fs::write(&script, SCRIPT).map_err(LocalError::io("zookeeper.sh"))?;
    Ok(script)
}

/// Where one server of an ensemble is.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its address.
    pub address: IpAddr,
    /// Where clients reach it.
    pub client_port: u16,
    /// Where the others reach it.
    pub peer_port: u16,
    /// Where the others vote.
    pub election_port: u16,
}

/// The servers that stand together.
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
    place: Member,
    data: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    script: PathBuf,
    process: Option<Process>,
}

impl ZooKeeperServer {
    /// A server of its own on loopback, with its data and its log in `folder`.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the script cannot be written.
    pub fn alone(folder: &Path, port: u16) -> Result<Self, LocalError> {
        let place = Member { address: [127, 0, 0, 1].into(), client_port: port, peer_port: 0, election_port: 0 };
        Ok(Self::new(place, folder, "zookeeper", Vec::new(), install_script(folder)?))
    }

    /// Server `number`, from 1, of an ensemble. `wrapper` is the beginning of the command line that starts it, such as one
    /// that enters a network namespace.
    ///
    /// # Errors
    /// [`LocalError::Io`] if the script cannot be written.
    pub fn of_ensemble(
        folder: &Path,
        ensemble: &Ensemble,
        number: usize,
        wrapper: Vec<String>,
    ) -> Result<Self, LocalError> {
        let membership = ["--id".to_owned(), number.to_string(), "--ensemble".to_owned(), ensemble.as_option()];
        let place = ensemble.0[number - 1];
        let mut arguments = membership.to_vec();
        arguments.extend(["--listen".to_owned(), place.address.to_string()]);
        let script = install_script(folder)?;
        Ok(Self { wrapper, ..Self::new(place, folder, &format!("zookeeper{number}"), arguments, script) })
    }

    fn new(place: Member, folder: &Path, name: &str, arguments: Vec<String>, script: PathBuf) -> Self {
        let (data, log) = (folder.join(name), folder.join(format!("{name}.log")));
        Self { place, data, log, arguments, wrapper: Vec::new(), script, process: None }
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.place.address, self.place.client_port)
    }

    /// Where its data are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where what it says goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts its process and does not wait for it.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn launch(&mut self, reaper: Option<&Reaper>) -> Result<(), LocalError> {
        let mut words = self.wrapper.clone();
        words.push("bash".to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(&self.script).arg("run").arg("--data").arg(&self.data);
        command.arg("--port").arg(self.place.client_port.to_string()).args(&self.arguments);
        self.process = Some(Process::spawn(command, &self.log, reaper)?);
        Ok(())
    }

    /// Whether its process was started and not ended by this program.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether its process has ended without being asked to.
    pub fn ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// Waits until it serves clients.
    ///
    /// # Errors
    /// [`LocalError::Ended`] if its process ends meanwhile, [`LocalError::TooSlow`].
    pub async fn wait_until_serving(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.serves().await {
            if self.ended() {
                return Err(LocalError::ended("ZooKeeper", &self.log));
            }
            if Instant::now() >= deadline {
                let (what, logs) = ("the start of ZooKeeper".to_owned(), self.log.clone());
                return Err(LocalError::TooSlow { what, seconds: START_TIMEOUT.as_secs(), logs });
            }
            // Nothing announces that a server has begun to serve: it has to be asked.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn serves(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect((self.place.address, self.place.client_port)).await?;
            stream.write_all(b"srvr").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        matches!(timeout(ANSWER_TIMEOUT, ask).await, Ok(Ok(answer)) if answer.contains("Mode: "))
    }

    /// Kills it, as a power cut would. Its data stay.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Asks it to end and waits.
    pub async fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate().await;
        }
    }

    /// Takes away what it remembers. It must not run.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn wipe(&self) -> Result<(), LocalError> {
        assert!(self.process.is_none(), "a server that runs holds its files");
        std::fs::remove_dir_all(&self.data).map_err(LocalError::io(self.data.display().to_string()))
    }
}
