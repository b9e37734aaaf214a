//! The writer task. It owns the ledger's writing connection, and nothing cancels it during a write.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::ledger::{LedgerError, LedgerWriter};
use crate::traces::Step;
use quorapay_core::engine::Input;
use quorapay_core::replication::{Event, Persist};

use super::message::{Message, send_input};
use super::metrics::Metrics;
use super::traces::{Tracing, range_of};

/// Persists writes in their order and reports each, until all senders are dropped.
///
/// # Errors
/// The error of the first write that fails: its outcome is unknown and the node must stop. If the disk failed, the
/// ledger is condemned by then.
pub(super) async fn write_ledger(
    mut writer: LedgerWriter,
    mut writes: mpsc::Receiver<Persist>,
    events: mpsc::Sender<Message>,
    (metrics, tracing): (Arc<Metrics>, Option<Arc<Tracing>>),
    blocking: Blocking,
) -> Result<(), LedgerError> {
    metrics.ledger_wal(writer.wal_bytes());
    while let Some(write) = writes.recv().await {
        let began = Instant::now();
        blocking.write(writer.persist(std::slice::from_ref(&write))).await?;
        metrics.ledger_written(began.elapsed());
        if let Some(tracing) = &tracing {
            tracing.note(Step::Persist, range_of(&write.entries), began);
        }
        send_input(&events, Input::Replication(Event::Persisted(write.id))).await;
        // After the report, so that no caller waits for the checkpoint.
        if blocking.settle(writer.checkpoint_if_due()).await? {
            metrics.ledger_wal(writer.wal_bytes());
        }
    }
    blocking.settle(writer.close()).await
}
