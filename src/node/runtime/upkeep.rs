//! Background checks of the ledger: the watermark, which reveals a ledger that lost its end, and the scrubber, which
//! reads all entries again and again and checks their chain.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::blocking::Blocking;
use crate::ledger::{LedgerError, LedgerReader, Watermark};
use crate::published::Watched;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;
use quorapay_core::replication::Event;

use super::message::{Message, send_input};
use super::metrics::{Metrics, Verified};
use super::progress::NodeProgress;

/// How often the watermark advances.
const WATERMARK_EVERY: Duration = Duration::from_secs(1);
/// How often the scrubber reads a stretch.
const SCRUB_EVERY: Duration = Duration::from_millis(250);
/// Entries that the scrubber reads at a time: about 2,000 a second, a few thousandths of a core.
const SCRUB_ENTRIES: usize = 512;
/// Bytes of these entries: a ledger of large batches is scrubbed as slowly as one of single payments.
const SCRUB_BYTES: usize = 256 << 10;

/// Advances the watermark to what is committed and durable here, once a second.
pub(super) async fn keep_watermark(
    watermark: Watermark,
    ledger: LedgerReader,
    progress: Watched<NodeProgress>,
    blocking: Blocking,
) {
    let mut marked = LogIndex(0);
    loop {
        let applied = match progress.wait_for(|progress| progress.applied_index > marked).await {
            Ok(progress) => progress.applied_index,
            Err(_) => return,
        };
        if advance_watermark(&watermark, &ledger, applied, &blocking).await {
            marked = applied;
        }
        tokio::time::sleep(WATERMARK_EVERY).await;
    }
}

/// Advances the watermark once. A failure is logged and retried later: the earlier watermark stays true.
pub(super) async fn advance_watermark(
    watermark: &Watermark,
    ledger: &LedgerReader,
    applied: LogIndex,
    blocking: &Blocking,
) -> bool {
    match ledger.position(applied).await {
        Ok(Some(position)) => {
            // The sync of a slow disk must not delay the event loop.
            let watermark = watermark.clone();
            match blocking.run(move || watermark.write(&position)).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, "the watermark could not be advanced");
                    false
                }
            }
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%error, "the watermark could not be advanced");
            false
        }
    }
}

/// Reads the ledger from its beginning to its end, repeatedly, and quarantines the node if the chain is broken.
pub(super) async fn scrub(
    ledger: LedgerReader,
    progress: Watched<NodeProgress>,
    events: mpsc::Sender<Message>,
    metrics: Arc<Metrics>,
) {
    // A round ends where the ledger ended when the round began; otherwise it would never end while payments arrive.
    let (mut checked, mut end) = (LogIndex(0), LogIndex(0));
    let mut tick = tokio::time::interval(SCRUB_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = events.closed() => return,
            _ = tick.tick() => {}
        }
        if checked >= end {
            (checked, end) = (LogIndex(0), progress.borrow().applied_index);
        }
        match ledger.chain_within(checked, end, SCRUB_ENTRIES, SCRUB_BYTES).await {
            Ok((_, entries)) => checked = entries.last().map_or(end, |entry| entry.index),
            Err(LedgerError::Damaged(reason)) => {
                metrics.verification_failed(Verified::Ledger);
                tracing::error!(%reason, "the scrubber found the ledger damaged; this node is quarantined");
                send_input(&events, Input::Replication(Event::Quarantine(reason))).await;
                return;
            }
            Err(error) => tracing::warn!(%error, "the scrubber could not read the ledger"),
        }
    }
}
