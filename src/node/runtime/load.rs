//! Builds the engine from the disk: the bank is loaded from the views and brought up to date by replaying the entries
//! above them. If these are too many, because the views were lost or made by an older program, the views are brought
//! nearer on the way: however long the ledger is, memory holds a bounded part of it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::{self, LedgerError, LedgerReader};
use crate::views::{self, OpenViews, ViewsError};
use quorapay_core::domain::{Bank, KeyDigest, LogIndex, Operation};
use quorapay_core::engine::{Engine, EngineStart, EntryWeight};
use quorapay_core::replication::{Entry, EpochSpan, Limits, ReplicaConfig, ReplicaStart};

use super::backlog::Backlog;
use super::error::NodeError;

/// Entries replayed at a time.
const REPLAY_ENTRIES: usize = 8_192;
/// Bytes of these entries.
const REPLAY_BYTES: usize = 8 << 20;
/// How often a long replay says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// An engine with its views.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) views: OpenViews,
    /// What was replayed and is not in the views.
    pub(super) backlog: Backlog,
    pub(super) took: LoadTimes,
}

/// What loading took, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoadTimes {
    /// Opening the views and loading the bank from them.
    pub(super) bank: Duration,
    /// Replaying the entries above the views.
    pub(super) replay: Duration,
    /// How many these were.
    pub(super) replayed: u64,
    /// Building the engine, and what it remembers of keys and orders.
    pub(super) engine: Duration,
}

/// Opens the views, makes them anew if they are damaged or do not belong to this ledger, and builds the engine. A ledger
/// that turns out to be damaged is condemned, so that the next start moves it aside instead of failing like this one.
pub(super) async fn load(
    data_dir: &Path,
    cluster_id: &str,
    config: ReplicaConfig,
    start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    let loaded = load_or_rebuild(data_dir, cluster_id, config, start, ledger).await;
    if let Err(NodeError::Ledger(LedgerError::Damaged(reason))) = &loaded {
        tracing::error!(%reason, "the ledger is damaged; the next start begins a new one, as a learner");
        ledger::condemn(data_dir, reason)?;
    }
    loaded
}

async fn load_or_rebuild(
    data_dir: &Path,
    cluster_id: &str,
    config: ReplicaConfig,
    start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    let began = Instant::now();
    let opened = views::open(data_dir, cluster_id, start.store_id).await?;
    let loaded = build(opened, began, config.clone(), start.clone(), ledger).await;
    let Err(NodeError::Views(ViewsError::Damaged(reason))) = &loaded else { return loaded };
    tracing::error!(%reason, "the views are damaged; they are made anew from the ledger");
    let opened = views::recreate(data_dir, cluster_id, start.store_id).await?;
    build(opened, began, config, start, ledger).await
}

/// Closes the views on every error, so that they can be made anew.
async fn build(
    mut views: OpenViews,
    began: Instant,
    config: ReplicaConfig,
    start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    match fill(&mut views, began, config, start, ledger).await {
        Ok((engine, backlog, took)) => Ok(Loaded { engine, views, backlog, took }),
        Err(error) => {
            views.reader.close().await;
            if let Err(close_error) = views.writer.close().await {
                tracing::debug!(%close_error, "views that could not be loaded could not be closed");
            }
            Err(error)
        }
    }
}

async fn fill(
    views: &mut OpenViews,
    began: Instant,
    config: ReplicaConfig,
    mut start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<(Engine, Backlog, LoadTimes), NodeError> {
    let bank = load_bank(views, &start, ledger).await?;
    let projected = views.writer.projected().index;
    // Only committed entries are ever projected, so the views may know a higher commit index than the ledger.
    start.commit_index = start.commit_index.max(projected);
    let loaded = Instant::now();
    let mut replay = Replay { bank, limits: config.limits, window: VecDeque::new(), keys: 0, bytes: 0 };
    replay.run(views, ledger, start.commit_index).await?;
    let replayed = Instant::now();
    if let Some((currency, sum)) = replay.bank.unbalanced() {
        return Err(NodeError::Halted(format!("all accounts together hold {sum} {currency}")));
    }
    let backlog = Backlog::default();
    let (entries, bank) = (replay.window.into_iter().flat_map(|chunk| chunk.entries), replay.bank);
    let (mut recent_keys, mut unprojected) = (Vec::new(), Vec::new());
    for entry in entries {
        unprojected.push(EntryWeight::of(&entry));
        recent_keys.extend(keys_of(&entry));
        backlog.push([entry]);
    }
    let projected_index = views.writer.projected().index;
    let replayed_entries = start.commit_index.0 - projected.0;
    let filters = views.writer.filters();
    let start = EngineStart { replica: start, bank, projected_index, recent_keys, unprojected, filters };
    let engine = Engine::new(config, start);
    let took = LoadTimes {
        bank: loaded.duration_since(began),
        replay: replayed.duration_since(loaded),
        replayed: replayed_entries,
        engine: replayed.elapsed(),
    };
    Ok((engine, backlog, took))
}

/// The bank as of the views, which are emptied if they do not fit the ledger or contradict themselves.
async fn load_bank(views: &mut OpenViews, start: &ReplicaStart, ledger: &LedgerReader) -> Result<Bank, NodeError> {
    let position = ledger.position(views.projected.index).await?;
    if position.is_none() {
        // Nothing is projected before it is committed and durable in this very ledger.
        let index = views.projected.index;
        return Err(LedgerError::Damaged(format!("it ends below entry {index}, which its views have from it")).into());
    }
    if position != Some(views.projected) {
        tracing::warn!(projected = %views.projected.index, "the views do not match the ledger; they are rebuilt");
        views.writer.reset().await?;
    }
    let (mut projected, mut bank) = match views.reader.load_bank().await {
        Err(ViewsError::Damaged(reason)) => {
            tracing::error!(%reason, "the views are damaged; they are rebuilt from the ledger");
            views.writer.reset().await?;
            views.reader.load_bank().await?
        }
        loaded => loaded?,
    };
    if let Some((currency, sum)) = bank.unbalanced() {
        tracing::error!(%currency, %sum, "the balances in the views do not add up to zero; the views are rebuilt");
        views.writer.reset().await?;
        (projected, bank) = views.reader.load_bank().await?;
    }
    for entry in ledger.api_key_changes(projected.index).await? {
        entry.apply_to(&mut bank).map_err(|divergence| NodeError::Diverged { index: entry.index, divergence })?;
    }
    bank.restore_rules(EpochSpan::rules_after(&start.spans, projected.index));
    Ok(bank)
}

/// The keys that memory keeps of an entry that the views lack.
fn keys_of(entry: &Entry) -> impl Iterator<Item = (KeyDigest, LogIndex)> + '_ {
    let keys = entry.operation().into_iter().flat_map(Operation::keys);
    keys.map(|key| (key.digest(), entry.index))
}

/// Consecutive entries with their weights together.
struct ReplayedChunk {
    entries: Vec<Arc<Entry>>,
    keys: u64,
    bytes: u64,
}

/// The replay of the entries above the views.
struct Replay {
    bank: Bank,
    limits: Limits,
    /// What was applied to the bank and is not in the views.
    window: VecDeque<ReplayedChunk>,
    keys: u64,
    bytes: u64,
}

impl Replay {
    /// Applies the entries above the views up to `to` to the bank, and projects those for which memory has no room.
    async fn run(&mut self, views: &mut OpenViews, ledger: &LedgerReader, to: LogIndex) -> Result<(), NodeError> {
        let first = views.writer.projected().index;
        let (mut done, mut reported) = (first, Instant::now());
        while done < to {
            let (_, entries) = ledger.chain_within(done, to, REPLAY_ENTRIES, REPLAY_BYTES).await?;
            let Some(last) = entries.last() else {
                return Err(LedgerError::Damaged(format!("entry {} is missing", done.next())).into());
            };
            done = last.index;
            self.apply(entries)?;
            while self.is_full()
                && let Some(chunk) = self.window.pop_front()
            {
                views.writer.project(&chunk.entries).await?;
                self.keys -= chunk.keys;
                self.bytes -= chunk.bytes;
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let projected = views.writer.projected().index;
                tracing::info!(from = %first, at = %done, %to, %projected, "replaying the ledger above the views");
            }
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Arc<Entry>>) -> Result<(), NodeError> {
        let (mut keys, mut bytes) = (0, 0);
        for entry in &entries {
            entry
                .apply_to(&mut self.bank)
                .map_err(|divergence| NodeError::Diverged { index: entry.index, divergence })?;
            let weight = EntryWeight::of(entry);
            keys += weight.keys();
            bytes += weight.bytes();
        }
        self.keys += keys;
        self.bytes += bytes;
        self.window.push_back(ReplayedChunk { entries, keys, bytes });
        Ok(())
    }

    /// Whether the views lack as much as they may.
    const fn is_full(&self) -> bool {
        self.keys >= self.limits.unprojected_keys || self.bytes >= self.limits.unprojected_bytes
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
