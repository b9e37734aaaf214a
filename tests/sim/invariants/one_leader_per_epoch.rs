//! Invariant: an epoch has at most one leader.

use std::collections::BTreeMap;

use quorapay_core::domain::Epoch;

/// A leader that has sent nothing for this long no longer counts as one, in virtual microseconds.
const LEADER_TIMEOUT: u64 = 200_000;

/// Which node led which epoch.
pub(super) struct OneLeaderPerEpoch {
    leaders: BTreeMap<Epoch, usize>,
    last_sent: Vec<Option<u64>>,
}

impl OneLeaderPerEpoch {
    pub(super) fn new(nodes: usize) -> Self {
        Self { leaders: BTreeMap::new(), last_sent: vec![None; nodes] }
    }

    /// True if this is the first append of its epoch, and of no earlier one than any before: a leader that was deposed
    /// before its first append may lack what its successors committed.
    pub(super) fn append_sent(&mut self, now: u64, node: usize, epoch: Epoch) -> bool {
        let first = self.leaders.last_key_value().is_none_or(|(newest, _)| *newest < epoch);
        let leader = *self.leaders.entry(epoch).or_insert(node);
        assert_eq!(leader, node, "epoch {epoch} has two leaders: node{} and node{}", leader + 1, node + 1);
        self.last_sent[node] = Some(now);
        first
    }

    /// The leader of the newest epoch, if it still sends.
    pub(super) fn newest(&self, now: u64) -> Option<usize> {
        let (_, leader) = self.leaders.last_key_value()?;
        self.last_sent[*leader].is_some_and(|sent| sent + LEADER_TIMEOUT >= now).then_some(*leader)
    }

    /// Why there is not exactly one node that leads now.
    pub(super) fn contested(&self, now: u64) -> Option<String> {
        let leading = |sent: &&Option<u64>| sent.is_some_and(|sent| sent + LEADER_TIMEOUT >= now);
        let leaders = self.last_sent.iter().filter(leading).count();
        (leaders != 1).then(|| format!("{leaders} nodes lead"))
    }
}
