//! The writer task: the one that owns the ledger's writing connection. Nobody can cancel it in the middle of a write.

use tokio::sync::mpsc;

use crate::ledger::{LedgerError, LedgerWriter};
use quorapay_core::engine::Input;
use quorapay_core::replication::{Event, Persist};

use super::message::{Message, send_input};

/// Makes writes durable in their order and says so, until no more can come.
///
/// # Errors
/// The error of the first write that fails: its outcome is unknown and the node must stop.
pub(super) async fn write_ledger(
    mut writer: LedgerWriter,
    mut writes: mpsc::Receiver<Persist>,
    events: mpsc::Sender<Message>,
) -> Result<(), LedgerError> {
    while let Some(write) = writes.recv().await {
        writer.persist(std::slice::from_ref(&write)).await?;
        send_input(&events, Input::Replication(Event::Persisted(write.id))).await;
        // Only now, with the acknowledgement on its way, is there time to tidy up.
        writer.checkpoint_if_due().await?;
    }
    writer.close().await
}
