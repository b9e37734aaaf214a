//! Exit codes, and the errors that lead to them.

use std::io;

use quorapay_client::{ClientError, Problem};
use quorapay_lab::dev::DevError;
use quorapay_lab::fault::FaultError;
use quorapay_lab::local::LocalError;

/// The end of every client command's help.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  refused, or failed
  2  the command line is wrong
  3  the outcome of a write is unknown; the same command with the same --key tells
  4  no node could be reached; nothing moved
  5  the check found a broken promise";

/// The exit codes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// Success.
    Ok = 0,
    /// Refused, or failed.
    Failed = 1,
    /// The command line is wrong; also what clap exits with.
    Usage = 2,
    /// A write may or may not have happened.
    OutcomeUnknown = 3,
    /// No node could be reached.
    Unreachable = 4,
    /// A check found that the cluster broke a promise.
    PromiseBroken = 5,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(match code {
            ExitCode::Ok => 0_u8,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::OutcomeUnknown => 3,
            ExitCode::Unreachable => 4,
            ExitCode::PromiseBroken => 5,
        })
    }
}

/// Why a command failed. Its text is the one line that the user sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Arguments that are valid separately and not together.
    #[error("{0}")]
    Usage(String),
    /// The cluster refused.
    #[error("refused: {0}")]
    Refused(Box<Problem>),
    /// A write may or may not have happened.
    #[error("the outcome is unknown: repeat the command with --key {key}{}", look_up(.by_key_url.as_deref()))]
    OutcomeUnknown {
        /// The key under which the write can be repeated.
        key: String,
        /// Where the outcome can be looked up.
        by_key_url: Option<String>,
    },
    /// The cluster gave no usable answer.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// A file, a terminal or a socket failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The command wrote its result, which names the failures. This is a one-line summary.
    #[error("{0}")]
    Shown(String),
    /// A long command stopped before its end; the same command continues it.
    #[error("{detail}")]
    Stopped {
        /// One line that says why.
        detail: String,
        /// What stopped it.
        code: ExitCode,
    },
    /// A process or a file on this machine failed.
    #[error("{0}")]
    Local(#[from] LocalError),
    /// Something else failed; one line that says what.
    #[error("{0}")]
    Failed(String),
    /// No node could be reached.
    #[error("{0}")]
    Unreachable(String),
    /// A check found this many broken promises; its report names them.
    #[error("{0} broken promise(s)")]
    PromiseBroken(u64),
}

impl CliError {
    /// The error as JSON: the node's problem, or the same members for an error of this command. `None` if the result that
    /// was written has it already.
    #[must_use]
    pub(crate) fn for_programs(&self) -> Option<serde_json::Value> {
        let detail = self.to_string();
        Some(match self {
            Self::Shown(_) | Self::PromiseBroken(_) => return None,
            Self::Stopped { code, .. } => serde_json::json!({
                "code": "stopped", "detail": detail, "outcome": match code {
                    ExitCode::OutcomeUnknown => "unknown",
                    _ => "not_applied",
                },
            }),
            Self::Refused(problem) => serde_json::to_value(problem).expect("a problem is made of plain values"),
            Self::OutcomeUnknown { key, by_key_url } => serde_json::json!({
                "code": "outcome_unknown", "outcome": "unknown", "detail": detail, "key": key, "by_key_url": by_key_url,
            }),
            Self::Usage(_) => serde_json::json!({ "code": "usage", "detail": detail }),
            Self::Unreachable(_) | Self::Client(ClientError::Unreachable { .. }) => {
                serde_json::json!({ "code": "unreachable", "outcome": "not_applied", "detail": detail })
            }
            Self::Client(_) | Self::Io { .. } | Self::Local(_) | Self::Failed(_) => {
                serde_json::json!({ "code": "failed", "detail": detail })
            }
        })
    }

    /// The exit code for this error.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Client(ClientError::Url { .. }) => ExitCode::Usage,
            Self::OutcomeUnknown { .. } => ExitCode::OutcomeUnknown,
            Self::Stopped { code, .. } => *code,
            Self::Unreachable(_) | Self::Client(ClientError::Unreachable { .. }) => ExitCode::Unreachable,
            Self::PromiseBroken(_) => ExitCode::PromiseBroken,
            Self::Refused(_)
            | Self::Client(_)
            | Self::Io { .. }
            | Self::Local(_)
            | Self::Failed(_)
            | Self::Shown(_) => ExitCode::Failed,
        }
    }
}

impl From<FaultError> for CliError {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::Local(error) => Self::Local(error),
            FaultError::Impossible(why) => Self::Failed(why),
        }
    }
}

impl From<DevError> for CliError {
    fn from(error: DevError) -> Self {
        match error {
            DevError::Local(error) => Self::Local(error),
            DevError::Client(error) => Self::Client(error),
            DevError::Refused(problem) => Self::Refused(problem),
            other => Self::Failed(other.to_string()),
        }
    }
}

fn look_up(by_key_url: Option<&str>) -> String {
    by_key_url.map(|url| format!(", or look at {url}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_and_an_unreachable_cluster_are_told_apart_by_the_exit_code() {
        let unknown = CliError::OutcomeUnknown { key: "k".to_owned(), by_key_url: None };
        let (tried, last) = (String::new(), String::new());
        let unreachable = CliError::Client(ClientError::Unreachable { deadline_ms: 1, tried, last });
        let url = CliError::Client(ClientError::Url { url: String::new(), reason: String::new() });
        assert_eq!(unknown.exit_code(), ExitCode::OutcomeUnknown);
        assert_eq!(unreachable.exit_code(), ExitCode::Unreachable);
        assert_eq!(url.exit_code(), ExitCode::Usage);
        assert_eq!(CliError::Failed(String::new()).exit_code(), ExitCode::Failed);
        assert_eq!(CliError::PromiseBroken(1).exit_code(), ExitCode::PromiseBroken);
        assert!(unknown.to_string().contains("--key k"));
    }
}
