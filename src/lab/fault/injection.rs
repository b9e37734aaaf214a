//! Tampers with system calls of a running process, by strace.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::local::{LocalError, run};

/// How long strace may take to attach to a process.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Tampers with system calls of a running process. Ends with the process or when dropped.
#[derive(Debug)]
pub(crate) struct Injection {
    _strace: Child,
    _listener: JoinHandle<()>,
}

impl Injection {
    /// Tampers with these calls of the process from now on, as `strace` describes it, such as `error=EIO`.
    pub(crate) async fn begin(pid: u32, calls: &str, how: &str) -> Result<Self, LocalError> {
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

/// Whether strace is there and may attach to a process.
pub(crate) async fn detect_strace() -> Result<(), String> {
    run("strace", ["-V"]).await.map_err(|_| "strace is not there".to_owned())?;
    let mut trial = Command::new("sleep").arg("60").kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let attached = match trial.id() {
        Some(pid) => Injection::begin(pid, "fsync", "error=EIO").await.map(drop).map_err(|error| error.to_string()),
        None => Err("no process to try it on".to_owned()),
    };
    let _ = trial.kill().await;
    attached.map_err(|error| format!("strace may not attach to processes here: {error}"))
}
