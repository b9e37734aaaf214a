//! Holds a leader's batches back at a node whose views are as far behind as they may be.
//!
//! The batch is answered once it is stored, so the leader sends nothing more meanwhile, and its heartbeats, which it sends
//! beside a batch that takes long, are answered at once: the node follows and counts as alive.

use super::effect::RpcId;
use super::message::Append;
use super::types::NodeId;

/// A batch that waits.
#[derive(Debug)]
pub(super) struct HeldBatch {
    pub(super) rpc: RpcId,
    pub(super) from: NodeId,
    pub(super) append: Append,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    holds: bool,
    /// One at most: a leader that sends another has given this one up.
    batch: Option<HeldBatch>,
}

impl Pacing {
    /// Whether this append has to wait: it brings entries, and there is no room for them.
    pub(super) fn holds(&self, append: &Append) -> bool {
        self.holds && append.log.as_ref().is_some_and(|batch| !batch.entries.is_empty())
    }

    /// Keeps a batch. Returns the one that it replaces.
    pub(super) fn keep(&mut self, batch: HeldBatch) -> Option<HeldBatch> {
        self.batch.replace(batch)
    }

    /// Whether batches are held back from now on. Returns the one that no longer is.
    pub(super) fn hold(&mut self, hold: bool) -> Option<HeldBatch> {
        self.holds = hold;
        self.batch.take_if(|_| !hold)
    }
}
