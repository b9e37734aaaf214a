//! `quorapay restore`: a new cluster from backups.

use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use super::connection::{block_on, print_line, to_json};
use super::exit;
use super::node::load_settings;
use super::progress::counting_bar;
use super::verify::show;
use quorapay_api::Rfc3339;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::StoreId;
use quorapay_lab::backup::Series;
use quorapay_node::backup::{BackupChain, Limit, Restored, restore};
use quorapay_node::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  quorapay restore --config new/node1.toml monday.qpb tuesday.qpb
  quorapay restore --config new/node1.toml /backups                  # the newest of `quorapay backup --keep`
  quorapay restore --config new/node1.toml /backups --to-time 2026-11-30T12:00:00Z

The settings are those of the new cluster's first node: a new cluster_id, an empty data_dir. They are read as by
`quorapay node`. Start this node, then the others with the new cluster_id and empty data directories; it admits them.";

/// Restore backups into the empty data directory of a new cluster's first node
///
/// Every entry is kept, and with it every idempotency key, hold and balance; what came after the backup is lost. The
/// chain is verified, the bank replayed and double entry checked before the ledger gets its name.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Restore {
    /// A full backup and the incremental ones after it, or the directory of a series
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// TOML file with the settings of the new cluster's first node
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Restore entries up to this one
    #[arg(long, value_name = "INDEX", conflicts_with = "to_time")]
    to_index: Option<u64>,
    /// Restore entries that are older, as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to_time: Option<Rfc3339>,
    /// Allow the id of the cluster that was backed up, when all its nodes are gone for good
    #[arg(long)]
    keep_cluster_id: bool,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

fn parse_time(text: &str) -> Result<Rfc3339, String> {
    Rfc3339::parse(text).ok_or_else(|| format!("{text:?} is no moment; write it like 2026-11-30T12:00:00Z"))
}

/// The files that arguments name: a directory stands for the newest backup in it with all that it needs.
pub(super) fn backup_files(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let files = arguments.iter().map(|path| match path.is_dir() {
        true => newest_in(path),
        false => Ok(vec![path.clone()]),
    });
    Ok(files.collect::<Result<Vec<_>, CliError>>()?.concat())
}

fn newest_in(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let files = Series::newest_files(directory).map_err(|error| CliError::Failed(error.to_string()))?;
    if files.is_empty() {
        return Err(CliError::Failed(format!("there is no backup in {}", directory.display())));
    }
    Ok(files)
}

impl Restore {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let settings = load_settings(self.config.as_deref())?;
        let mut chain = BackupChain::open(&backup_files(&self.files)?).map_err(failed)?;
        let limit = match (self.to_index, self.to_time) {
            (Some(index), _) => Limit::Index(LogIndex(index)),
            (None, Some(moment)) => Limit::Before(moment.0),
            (None, None) => Limit::End,
        };
        let store_id = StoreId(uuid::Uuid::new_v4().as_u128());
        let mut bar = counting_bar("entries written");
        let mut shown = "entries written";
        let mut progress = |what, done, total| {
            if what != shown {
                bar.finish_and_clear();
                (bar, shown) = (counting_bar(what), what);
            }
            show(&bar, done, total);
        };
        let restored = block_on(restore(&mut chain, limit, &settings, store_id, self.keep_cluster_id, &mut progress))?;
        bar.finish_and_clear();
        let restored = restored.map_err(failed)?;
        print_line(&if self.json { to_json(&restored) } else { describe(&restored, &settings) })
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

fn describe(result: &Restored, settings: &Settings) -> String {
    let Restored { data_dir, from_cluster_id, restored, restored_time, written, accounts, payments } = result;
    [
        format!(
            "restored entries 1 to {} of cluster {from_cluster_id:?}, until {restored_time}: {accounts} accounts, \
             {payments} payments; the hash is {}",
            restored.index, restored.hash
        ),
        "verified: the chain is whole, the bank replayed, every currency sums to zero; every key, hold and balance is there"
            .to_owned(),
        format!("LOST, if there was anything: what was paid after entry {}. To repeat it under its keys is safe", restored.index),
        format!(
            "wrote the ledger of node {:?} in cluster {:?} to {}, up to entry {}; start this node, then the others with \
             cluster_id = {:?} and empty data directories",
            settings.node_id.as_str(),
            settings.cluster_id,
            data_dir.display(),
            written.index,
            settings.cluster_id
        ),
    ]
    .join("\n")
}
