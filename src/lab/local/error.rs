//! Errors of processes, files and ports.

use std::io;
use std::path::{Path, PathBuf};

/// Why a process, file or port of this machine failed. Its text is one line for people.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file, a process or a socket failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A process ended unexpectedly.
    #[error("{who} ended: {last_line} (log: {})", .log.display())]
    Ended {
        /// The process.
        who: String,
        /// The last line of its log.
        last_line: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something took longer than its timeout.
    #[error("{what} took longer than {seconds} s; the logs are in {}", .logs.display())]
    TooSlow {
        /// What was waited for.
        what: String,
        /// The timeout in seconds.
        seconds: u64,
        /// Where the logs are.
        logs: PathBuf,
    },
    /// A command of the system failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// Its error output.
        said: String,
    },
    /// A port is in use.
    #[error("port {port} cannot be used ({source}); choose another with --port, or stop what uses it")]
    Port {
        /// The port.
        port: u16,
        /// Why it cannot be used.
        source: io::Error,
    },
}

impl LocalError {
    /// Wraps an error of the system with what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An error for a process that ended, with the last line of its log.
    #[must_use]
    pub fn ended(who: impl Into<String>, log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its log is empty");
        Self::Ended { who: who.into(), last_line: last.to_owned(), log: log.to_owned() }
    }
}
