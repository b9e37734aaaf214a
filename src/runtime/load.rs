//! From what is on the disk to an engine: the bank comes from the views, brought up to date by replaying what the ledger
//! holds above them.

use std::path::Path;

use crate::domain::{Bank, KeyDigest, OrderDigest};
use crate::engine::{Engine, EngineStart};
use crate::ledger::{self, LedgerReader};
use crate::replication::{LogIndex, ReplicaConfig, ReplicaStart};
use crate::views::{self, OpenViews};

use super::executor::read_chain;
use super::node::NodeError;

/// Entries replayed at a time.
const REPLAY_ENTRIES: usize = 8_192;

/// An engine with the views that it goes with.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) views: OpenViews,
}

/// Opens the views, throws them away if they do not belong to this ledger, and builds the engine.
pub(super) async fn load(
    data_dir: &Path,
    cluster_id: &str,
    config: ReplicaConfig,
    mut start: ReplicaStart,
    ledger: &LedgerReader,
) -> Result<Loaded, NodeError> {
    let mut views = views::open(data_dir, cluster_id, start.store_id).await?;
    let place = ledger_place(ledger, views.projected.index).await?;
    if place != Some(views.projected) {
        tracing::warn!(projected = %views.projected.index, "the views do not match the ledger; they are rebuilt");
        views.writer.reset().await?;
    }
    let (projected, mut bank) = views.reader.load_bank().await?;
    // Only committed entries are ever projected, so the views may know a higher commit index than the ledger.
    start.commit_index = start.commit_index.max(projected.index);
    let replayed = replay(ledger, &mut bank, projected.index, start.commit_index).await?;
    let (recent_keys, projected_index) = (replayed.keys, projected.index);
    let mut engine = Engine::new(config, EngineStart { replica: start, bank, projected_index, recent_keys });
    views.reader.each_digest(|digest| engine.remember_projected_key(digest)).await?;
    views.reader.each_order(|digest| engine.remember_order(digest)).await?;
    replayed.orders.into_iter().for_each(|digest| engine.remember_order(digest));
    Ok(Loaded { engine, views })
}

/// What the entries between the views and the commit index add to what the views know.
#[derive(Default)]
struct Replayed {
    keys: Vec<(KeyDigest, LogIndex)>,
    orders: Vec<OrderDigest>,
}

async fn ledger_place(
    ledger: &LedgerReader,
    index: LogIndex,
) -> Result<Option<crate::replication::Position>, ledger::LedgerError> {
    if index == LogIndex(0) { Ok(Some(crate::replication::Position::default())) } else { ledger.position(index).await }
}

/// Applies the entries after `from` up to `to` to the bank; says which keys they hold and which orders they pay.
async fn replay(ledger: &LedgerReader, bank: &mut Bank, from: LogIndex, to: LogIndex) -> Result<Replayed, NodeError> {
    let mut replayed = Replayed::default();
    let mut done = from;
    while done < to {
        let (_, entries) = read_chain(ledger, done, to, REPLAY_ENTRIES).await?;
        let Some(last) = entries.last() else {
            return Err(ledger::LedgerError::Damaged(format!("entry {} is missing", done.next())).into());
        };
        done = last.index;
        for entry in &entries {
            let Some(operation) = entry.operation() else { continue };
            bank.apply(entry.stamp(), operation)
                .map_err(|divergence| NodeError::Diverged { index: entry.index, divergence })?;
            replayed.keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
            let orders = operation.payments().filter_map(|payment| payment.request.order.as_ref());
            replayed.orders.extend(orders.map(|order| order.id.digest()));
        }
    }
    Ok(replayed)
}
