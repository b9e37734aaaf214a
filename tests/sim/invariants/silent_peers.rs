//! Invariant: a leader spends next to nothing on a follower that does not answer: a few batches, then heartbeats.

use std::collections::BTreeMap;

use quorapay_core::domain::Epoch;
use quorapay_core::replication::Response;

/// Batches that may be sent to a follower, and be read for it, before it answers.
const MAX_BATCHES: u32 = 3;
const MAX_READS: u32 = 5;

/// One leadership's dealings with one follower: the leader's process, its epoch, the follower.
type Stream = (u64, Epoch, usize);

/// What was spent on each follower since it last answered.
#[derive(Default)]
pub(super) struct SilentPeers {
    batches: BTreeMap<Stream, u32>,
    reads: BTreeMap<Stream, u32>,
}

impl SilentPeers {
    /// A leader sends a batch.
    pub(super) fn batch_sent(&mut self, stream: Stream) {
        count(&mut self.batches, stream, MAX_BATCHES, "batches were sent to");
    }

    /// A leader has read a batch from its ledger.
    pub(super) fn batch_read(&mut self, stream: Stream) {
        count(&mut self.reads, stream, MAX_READS, "batches were read for");
    }

    /// A response reaches a process.
    pub(super) fn answered(&mut self, life: u64, from: usize, response: &Response) {
        if matches!(response, Response::Appended { .. } | Response::Mismatch { .. }) {
            let others = |stream: &Stream, _: &mut u32| stream.0 != life || stream.2 != from;
            self.batches.retain(others);
            self.reads.retain(others);
        }
    }
}

/// Checks the size of a batch: together with their number it bounds what is spent.
pub(super) fn check_size(entries: usize, limit: usize) {
    assert!(entries <= limit, "a batch has {entries} entries, {limit} are allowed");
}

fn count(spent: &mut BTreeMap<Stream, u32>, stream: Stream, limit: u32, what: &str) {
    let count = spent.entry(stream).or_default();
    *count += 1;
    assert!(*count <= limit, "{count} {what} node{}, which does not answer", stream.2 + 1);
}
