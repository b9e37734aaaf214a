//! An older copy of a node's ledger is put back: a snapshot of its machine, a backup, or a file system that lost the
//! newest writes. Nothing beside the ledger shows that its end is missing.

use super::world::World;

impl World {
    /// Puts an older copy back, if nothing is lost by that: every other node must hold what the copy lacks, on its disk and not
    /// only in pages of which a power cut or a failed sync leaves nothing. No protocol survives more, because a store that
    /// forgets can make a majority with one that never knew.
    pub(crate) fn restore_older_ledger(&mut self, node: usize) -> bool {
        let (disk, members) = (&self.nodes[node].disk, self.members());
        let last = disk.durable_last().index;
        let others_hold_it = members.len() > 1
            && (0..members.len()).filter(|other| *other != node).all(|other| {
                let other = &members[other].disk;
                let holds = other.position(last) == disk.position(last) && other.durable_last().index >= last;
                holds && !other.is_damaged()
            });
        if !others_hold_it || node >= members.len() || self.stores_lost() > 0 || self.nodes.len() > self.knobs.nodes {
            return false;
        }
        let Some(end) = self.nodes[node].disk.forget_end(&mut self.random) else { return false };
        self.trace.note(self.now, node, "older ledger", [last.0, end.0]);
        true
    }
}
