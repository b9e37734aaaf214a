//! Invariants: a leader whose disk hangs gives up its leadership in time, and what a leader cannot write does not
//! collect in its memory.

use std::collections::BTreeMap;

use crate::knobs::Knobs;
use crate::node::Node;

/// Entries that a leader appends whatever its tail holds: its epoch's first one, and the changes of voters.
const UNBOUNDED_APPENDS: u64 = 16;

/// Checks a node right after its process has handled a tick.
pub(super) fn check_leadership(node: &Node, now: u64, knobs: &Knobs) {
    let Some(process) = &node.process else { return };
    let replica = process.engine.replica();
    let limit_ms = knobs.timing.hung_write_ms + knobs.timing.step_down_ms;
    if let Some(hung_ms) = replica.hung_write_ms(node.now(now)).filter(|_| replica.is_leader()) {
        assert!(hung_ms <= limit_ms, "{} still leads {hung_ms} ms after it began a write that hangs", node.id);
    }
}

/// How many entries each node has in memory only.
#[derive(Default)]
pub(super) struct Unpersisted {
    /// What processes had in memory only as candidates: a candidate may copy a log faster than its disk stores it, for
    /// as long as a candidacy lasts.
    copied: BTreeMap<u64, u64>,
}

impl Unpersisted {
    /// Checks a node after its core's effects were taken.
    pub(super) fn check(&mut self, node: &Node, knobs: &Knobs) {
        let Some(process) = &node.process else { return };
        let (replica, limits) = (process.engine.replica(), knobs.limits);
        let unpersisted = replica.unpersisted();
        if replica.is_candidate() || (replica.is_leader() && !replica.is_open()) {
            let copied = self.copied.entry(process.life).or_default();
            *copied = unpersisted.max(*copied);
            return;
        }
        let [tail, batch] =
            [limits.tail_entries, limits.batch_entries].map(|entries| u64::try_from(entries).expect("few"));
        let copied = self.copied.get(&process.life).copied().unwrap_or_default();
        let limit = tail + 2 * batch + UNBOUNDED_APPENDS + copied;
        assert!(unpersisted <= limit, "{} has {unpersisted} entries in memory only, {limit} are allowed", node.id);
    }
}
