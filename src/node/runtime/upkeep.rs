//! What a node does on the side for the health of its ledger: the watermark that tells a torn file, and the scrubber
//! that reads everything again and again and checks the chain.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::ledger::{LedgerError, LedgerReader, Watermark};
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;
use quorapay_core::replication::Event;

use super::message::{Message, send_input};
use super::progress::NodeProgress;

const WATERMARK_EVERY: Duration = Duration::from_secs(1);
const SCRUB_EVERY: Duration = Duration::from_millis(250);
/// Entries that the scrubber reads at a time: about 2,000 a second, a few thousandths of a core.
const SCRUB_ENTRIES: usize = 512;
/// What they weigh together, at most: a ledger of batches is read as gently as one of single payments.
const SCRUB_BYTES: usize = 256 << 10;

/// Moves the watermark on to what is committed and durable here, once a second and when the node stops.
pub(super) async fn keep_watermark(
    watermark: Watermark,
    ledger: LedgerReader,
    mut progress: watch::Receiver<NodeProgress>,
) {
    let mut marked = LogIndex(0);
    loop {
        let applied = match progress.wait_for(|progress| progress.applied_index > marked).await {
            Ok(progress) => progress.applied_index,
            Err(_) => return,
        };
        if mark(&watermark, &ledger, applied).await {
            marked = applied;
        }
        tokio::time::sleep(WATERMARK_EVERY).await;
    }
}

/// Writes one mark. A failure is logged and tried again later: the mark before it stays true.
pub(super) async fn mark(watermark: &Watermark, ledger: &LedgerReader, applied: LogIndex) -> bool {
    match ledger.position(applied).await {
        Ok(Some(position)) => {
            // A sync of a slow disk must not hold up the loop.
            let watermark = watermark.clone();
            match tokio::task::spawn_blocking(move || watermark.write(&position)).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the watermark could not be moved on");
                    false
                }
                Err(_) => false,
            }
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%error, "the watermark could not be moved on");
            false
        }
    }
}

/// Reads the ledger from the beginning to its end, over and over, and quarantines the node if its chain is broken.
pub(super) async fn scrub(
    ledger: LedgerReader,
    progress: watch::Receiver<NodeProgress>,
    events: mpsc::Sender<Message>,
) {
    // A round ends where the ledger ended when it began: chasing the end, it would never begin again while payments come.
    let (mut checked, mut end) = (LogIndex(0), LogIndex(0));
    let mut tick = tokio::time::interval(SCRUB_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = events.closed() => return,
        }
        if checked >= end {
            (checked, end) = (LogIndex(0), progress.borrow().applied_index);
        }
        match ledger.chain_within(checked, end, SCRUB_ENTRIES, SCRUB_BYTES).await {
            Ok((_, entries)) => checked = entries.last().map_or(end, |entry| entry.index),
            Err(LedgerError::Damaged(reason)) => {
                tracing::error!(%reason, "the scrubber found the ledger damaged; this node is quarantined");
                send_input(&events, Input::Replication(Event::Quarantine(reason))).await;
                return;
            }
            Err(error) => tracing::warn!(%error, "the scrubber could not read the ledger"),
        }
    }
}
