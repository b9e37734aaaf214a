//! Invariant: in one epoch, at most one node speaks as the leader, ever.

use std::collections::BTreeMap;

use quorapay_core::domain::Epoch;

/// How long ago a leader may have spoken and still count as one, in virtual microseconds.
const STILL_LEADING: u64 = 200_000;

/// Who spoke as the leader of which epoch.
pub(super) struct OneLeaderPerEpoch {
    leaders: BTreeMap<Epoch, usize>,
    last_spoke: Vec<Option<u64>>,
}

impl OneLeaderPerEpoch {
    pub(super) fn new(nodes: usize) -> Self {
        Self { leaders: BTreeMap::new(), last_spoke: vec![None; nodes] }
    }

    /// True if these are the epoch's first words, and no later epoch has had any: a leader that was deposed before it
    /// said anything has missed what its successors committed.
    pub(super) fn append_sent(&mut self, now: u64, node: usize, epoch: Epoch) -> bool {
        let first = self.leaders.last_key_value().is_none_or(|(newest, _)| *newest < epoch);
        let leader = *self.leaders.entry(epoch).or_insert(node);
        assert_eq!(leader, node, "epoch {epoch} has two leaders: node{} and node{}", leader + 1, node + 1);
        self.last_spoke[node] = Some(now);
        first
    }

    /// The leader of the newest epoch, if it still speaks.
    pub(super) fn newest(&self, now: u64) -> Option<usize> {
        let (_, leader) = self.leaders.last_key_value()?;
        self.last_spoke[*leader].is_some_and(|spoke| spoke + STILL_LEADING >= now).then_some(*leader)
    }

    /// Why there is not exactly one node that leads now.
    pub(super) fn contested(&self, now: u64) -> Option<String> {
        let speaking = |spoke: &&Option<u64>| spoke.is_some_and(|spoke| spoke + STILL_LEADING >= now);
        let leaders = self.last_spoke.iter().filter(speaking).count();
        (leaders != 1).then(|| format!("{leaders} nodes speak as leaders"))
    }
}
