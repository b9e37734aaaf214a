//! `quorapay recover`: a new cluster from one surviving ledger.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::CliError;
use super::connection::{block_on, print_line, to_json};
use super::exit;
use super::node::load_settings;
use super::progress::counting_bar;
use super::verify::show;
use quorapay_core::replication::{Position, StoreId};
use quorapay_node::recover::{RecoverError, Survivor, examine};
use quorapay_node::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  quorapay recover --config new/node1.toml --from old/node1                        # says what would be kept and lost
  quorapay recover --config new/node1.toml --from old/node1 --accept-data-loss

The settings are those of the new cluster's first node: a new cluster_id, an empty data_dir. They are read as by
`quorapay node`. Start this node, then the others with the new cluster_id and empty data directories; it admits them.";

/// Found a new cluster from one surviving ledger, when the disks of a majority are lost
///
/// The last resort. Every entry of the surviving ledger is kept; what only the lost disks had is lost. The surviving
/// ledger is verified and not changed, and its node must be stopped.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Recover {
    /// The data directory with the surviving ledger
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// TOML file with the settings of the new cluster's first node
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the new ledger, although acknowledged payments may be missing from it
    #[arg(long)]
    accept_data_loss: bool,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

/// What was found and, if it was accepted, written.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    survivor: &'a Survivor,
    cluster_id: &'a str,
    node_id: &'a str,
    /// The last entry of the new ledger; `None` if nothing was written.
    written: Option<Position>,
}

impl Recover {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let settings = load_settings(self.config.as_deref())?;
        let bar = counting_bar("entries checked");
        let survivor = block_on(examine(&self.from, &mut |done, total| show(&bar, done, total)))?;
        bar.finish_and_clear();
        let survivor = survivor.map_err(|error| failed(&error))?;
        let written = if self.accept_data_loss {
            let store_id = StoreId(uuid::Uuid::new_v4().as_u128());
            Some(block_on(survivor.found_cluster(&settings, store_id))?.map_err(|error| failed(&error))?)
        } else {
            None
        };
        let (cluster_id, node_id) = (settings.cluster_id.as_str(), settings.node_id.as_str());
        let result = Outcome { survivor: &survivor, cluster_id, node_id, written };
        print_line(&if self.json { to_json(&result) } else { describe(&result, &settings) })?;
        match written {
            Some(_) => Ok(()),
            None => {
                Err(CliError::Shown("nothing was written: add --accept-data-loss to found the new cluster".to_owned()))
            }
        }
    }
}

fn failed(error: &RecoverError) -> CliError {
    CliError::Failed(error.to_string())
}

fn describe(result: &Outcome<'_>, settings: &Settings) -> String {
    let Survivor { data_dir, cluster_id, last, last_time, commit_index, accounts, payments, condemned } =
        result.survivor;
    let mut lines = vec![
        format!(
            "{}: the ledger of cluster {cluster_id:?}, {} entries until {last_time}; {accounts} accounts, {payments} payments",
            data_dir.display(),
            last.index
        ),
        "verified: the chain is whole and every currency sums to zero; all of it is kept, with every key and balance"
            .to_owned(),
        format!("known to be committed: entries 1 to {commit_index}"),
    ];
    if last.index > *commit_index {
        let first = commit_index.next();
        lines.push(format!(
            "not known: whether entries {first} to {} were acknowledged; in the new cluster they are committed",
            last.index
        ));
    }
    lines.push(format!(
        "LOST, if there was anything: what the other nodes acknowledged after entry {}. Compare the clients' records from \
         {last_time} on; to repeat a payment under its idempotency key is safe",
        last.index
    ));
    if let Some(reason) = condemned {
        lines.push(format!("WARNING: its node had given this ledger up: {reason}"));
    }
    if let Some(written) = result.written {
        lines.push(format!(
            "wrote the ledger of node {:?} in cluster {:?} to {}, up to entry {}; start this node, then the others with \
             cluster_id = {:?} and empty data directories",
            result.node_id,
            result.cluster_id,
            settings.data_dir.display(),
            written.index,
            result.cluster_id
        ));
    }
    lines.join("\n")
}
