//! Builds the engine from the disk: the bank is loaded from the views and brought up to date by replaying the entries
//! above them.

use std::path::Path;

use crate::ledger::{self, LedgerError, LedgerReader};
use crate::views::{self, OpenViews, ViewsError};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Bank, KeyDigest};
use quorapay_core::engine::{Engine, EngineStart};
use quorapay_core::replication::{EpochSpan, ReplicaConfig, ReplicaStart};

use super::error::NodeError;

/// Entries replayed at a time.
const REPLAY_ENTRIES: usize = 8_192;

/// An engine with its views.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) views: OpenViews,
}

/// Opens the views, resets them if they do not belong to this ledger, and builds the engine. A ledger that turns out to
/// be damaged is condemned, so that the next start moves it aside instead of failing like this one.
pub(super) async fn load(
    data_dir: &Path,
    cluster_id: &str,
    config: ReplicaConfig,
    start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    let loaded = build(data_dir, cluster_id, config, start, ledger).await;
    if let Err(NodeError::Ledger(LedgerError::Damaged(reason))) = &loaded {
        tracing::error!(%reason, "the ledger is damaged; the next start begins a new one, as a learner");
        ledger::condemn(data_dir, reason)?;
    }
    loaded
}

async fn build(
    data_dir: &Path,
    cluster_id: &str,
    config: ReplicaConfig,
    mut start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    let mut views = views::open(data_dir, cluster_id, start.store_id).await?;
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
    bank.restore_rules(EpochSpan::rules_after(&start.spans, projected.index));
    // Only committed entries are ever projected, so the views may know a higher commit index than the ledger.
    start.commit_index = start.commit_index.max(projected.index);
    let recent_keys = replay(ledger, &mut bank, projected.index, start.commit_index).await?;
    if let Some((currency, sum)) = bank.unbalanced() {
        return Err(NodeError::Halted(format!("all accounts together hold {sum} {currency}")));
    }
    let (projected_index, filters) = (projected.index, views.writer.filters());
    let engine = Engine::new(config, EngineStart { replica: start, bank, projected_index, recent_keys, filters });
    Ok(Loaded { engine, views })
}

/// Applies the entries after `from` up to `to` to the bank. Returns the keys that they hold.
async fn replay(
    ledger: &LedgerReader,
    bank: &mut Bank,
    from: LogIndex,
    to: LogIndex,
) -> Result<Vec<(KeyDigest, LogIndex)>, NodeError> {
    let mut keys = Vec::new();
    let mut done = from;
    while done < to {
        let (_, entries) = ledger.chain(done, to, REPLAY_ENTRIES).await?;
        let Some(last) = entries.last() else {
            return Err(LedgerError::Damaged(format!("entry {} is missing", done.next())).into());
        };
        done = last.index;
        for entry in &entries {
            entry.apply_to(bank).map_err(|divergence| NodeError::Diverged { index: entry.index, divergence })?;
            let Some(operation) = entry.operation() else { continue };
            keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
        }
    }
    Ok(keys)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
