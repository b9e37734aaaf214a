//! `quorapay node`: runs one node.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use nix::sys::stat::{Mode, umask};
use tracing_subscriber::EnvFilter;

use super::CliError;
use super::signals::Signals;
use quorapay_node::serve::{Ended, serve};
use quorapay_node::settings::{LogFormat, Settings};

const EXAMPLES: &str = "\
Examples:
  quorapay node --config /etc/quorapay/node1.toml
  QUORAPAY_NODE_ID=node1 QUORAPAY_PEERS=node1=http://n1:7201,node2=http://n2:7201,node3=http://n3:7201 \\
    QUORAPAY_ZOOKEEPER=z1:2181,z2:2181,z3:2181 QUORAPAY_DATA_DIR=/data quorapay node

Every setting of the file can be given as QUORAPAY_<NAME> in the environment, which wins. SIGTERM hands the leadership
over, answers what is on its way and ends with exit code 0. A node that finds its ledger damaged begins again by itself, in
the same process, with an empty ledger; at most once an hour.";

/// Run one node
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NodeArguments {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl NodeArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let settings = load_settings(self.config.as_deref())?;
        // Whatever a node writes is for its own user only.
        umask(Mode::S_IRWXG | Mode::S_IRWXO);
        start_tracing(&settings)?;
        for warning in settings.warnings() {
            tracing::warn!("{warning}");
        }
        // One thread: the loop, the peers' connections and, unless there are threads for them, the handlers share it
        // without locks. SQLite has its own threads.
        super::connection::block_on(async {
            let mut signals = Signals::listen()?;
            match serve(settings, signals.received()).await.map_err(failed)? {
                Ended::Stopped => Ok(()),
                Ended::BeginAgain => Err(begin_again()),
            }
        })?
    }
}

/// The settings of a node, from a file and this program's environment.
pub(super) fn load_settings(config: Option<&Path>) -> Result<Settings, CliError> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Settings::load(config, &environment).map_err(failed)
}

/// Replaces this process's image by a new one of the same program with the same arguments, so that nothing of the old node
/// is left and no supervisor is needed. Returns only if that fails; a supervisor then starts the node again.
fn begin_again() -> CliError {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "quorapay".into());
    // The file may have been replaced while the process ran. Linux names the running one whatever became of its path.
    let program = std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into());
    let error = Command::new(program).arg0(name).args(arguments).exec();
    CliError::Failed(format!(
        "the ledger is damaged, and this node cannot begin again by itself ({error}): start it again"
    ))
}

fn start_tracing(settings: &Settings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(failed)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
