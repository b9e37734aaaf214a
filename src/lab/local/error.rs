//! What can go wrong with processes, files and ports.

use std::io;
use std::path::{Path, PathBuf};

/// Why something on this machine did not start, stop or answer. Its text is one line for people.
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
    /// A process ended while it was waited for.
    #[error("{who} ended: {last_words} (log: {})", .log.display())]
    Ended {
        /// Which process.
        who: String,
        /// The last line of its log.
        last_words: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something did not come about in time.
    #[error("{what} took longer than {seconds} s; the logs are in {}", .logs.display())]
    TooSlow {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where to look.
        logs: PathBuf,
    },
    /// A command of the system failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        said: String,
    },
    /// A port is in use.
    #[error("port {port} cannot be used ({source}); choose another with --port, or stop what uses it")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
}

impl LocalError {
    /// An error of the system, and what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A process ended; the last line of its log says why.
    #[must_use]
    pub fn ended(who: impl Into<String>, log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its log is empty");
        Self::Ended { who: who.into(), last_words: last.to_owned(), log: log.to_owned() }
    }
}
