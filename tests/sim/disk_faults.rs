//! What goes wrong with disks, and what a process does about it: it ends when a write fails, quarantines itself when it
//! finds its ledger damaged, and begins anew as a learner when it starts on one.

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;
use quorapay_core::replication::{Event, Persist};

use super::disk::{Damaged, Opened, Start};
use super::knobs::{MILLI, SECOND};
use super::node::Node;
use super::world::{Happening, World};

/// How often the scrubber reads on.
pub(crate) const SCRUB_EVERY: u64 = 250 * MILLI;
/// How often the watermark is moved on.
pub(crate) const MARK_EVERY: u64 = SECOND;
/// Entries that the scrubber reads at a time.
const SCRUB_ENTRIES: usize = 512;
/// Longest that a process lives on after a failed write.
const LAST_BREATH: u64 = 5 * MILLI;

impl World {
    /// What a starting process gets out of its ledger; `None` if it has to end at once.
    pub(crate) fn open_ledger(&mut self, node: usize) -> Option<Start> {
        loop {
            match self.nodes[node].disk.start(self.knobs.verified_at_start, &mut self.random) {
                Opened::Whole(start) => return Some(*start),
                Opened::Damaged(damaged) => {
                    self.trace.show("damaged", &damaged);
                    self.met.insert("damage found at start");
                    self.replace_disk(node);
                }
                Opened::DamagedInReplay(damaged) => {
                    self.trace.show("damaged in replay", &damaged);
                    self.met.insert("damage found in replay");
                    self.nodes[node].disk.condemned = true;
                    self.restart_later(node);
                    return None;
                }
            }
        }
    }

    /// The old ledger is gone or moved aside; a new and empty one takes its place.
    fn replace_disk(&mut self, node: usize) {
        self.trace.note(self.now, node, "new store", [0, 0]);
        self.nodes[node].disk = self.new_disk(node);
    }

    /// How many nodes have a ledger that does not vote, or will not once somebody looks at it.
    pub(crate) fn disks_owed(&self) -> usize {
        let owed = |node: &&Node| node.disk.is_damaged() || !self.oracle.votes(&node.id, node.disk.store_id);
        self.members().iter().filter(owed).count()
    }

    /// Whether one more disk may be lost: a majority keeps everything that it ever acknowledged. More than that no
    /// protocol survives.
    fn may_lose_a_disk(&self) -> bool {
        // A second process may have taken a member's vote, and takes it away when it leaves.
        self.nodes.len() == self.knobs.nodes && self.disks_owed() < (self.knobs.nodes - 1) / 2
    }

    /// Loses a dead node's disk, if the cluster can bear it.
    pub(crate) fn wipe_disk(&mut self, node: usize) -> bool {
        let wiped = self.may_lose_a_disk();
        if wiped {
            self.replace_disk(node);
        }
        wiped
    }

    /// Loses the end of a dead node's ledger, if the cluster can bear it.
    pub(crate) fn tear_ledger(&mut self, node: usize) -> bool {
        self.may_lose_a_disk() && self.nodes[node].disk.tear(&mut self.random)
    }

    /// Flips a bit in some row of a node's ledger, if the cluster can bear it.
    pub(crate) fn rot_ledger(&mut self, node: usize) -> bool {
        self.may_lose_a_disk() && self.nodes[node].disk.rot(&mut self.random)
    }

    /// Whether a write fails now. Its process learns of it and lives on for a moment, in which nothing becomes durable.
    pub(crate) fn write_fails(&mut self, node: usize, write: &Persist) -> bool {
        let unsynced = self.random.chance(self.knobs.fsync_errors);
        if !unsynced && !self.nodes[node].disk.full {
            return false;
        }
        self.trace.note(self.now, node, "write failed", [write.id.0, u64::from(unsynced)]);
        self.met.insert(if unsynced { "failed sync" } else { "full disk" });
        // A full disk refuses; after a failed sync the write may be found there all the same.
        let there = if unsynced { 500 } else { 50 };
        if self.random.chance(there) {
            self.make_durable(node, write);
        }
        let last_breath = self.random.below(LAST_BREATH);
        if let Some(process) = &mut self.nodes[node].process {
            process.writer_failed = true;
            process.writes.clear();
            let life = process.life;
            self.schedule(last_breath, Happening::Exit { node, life });
        }
        true
    }

    /// A process ends by its own will; its supervisor starts it again.
    pub(crate) fn exit(&mut self, node: usize) {
        self.crash(node);
        self.restart_later(node);
    }

    /// The scrubber reads a piece of the ledger and begins again at its end.
    pub(crate) fn scrub(&mut self, node: usize, life: u64) {
        self.schedule(SCRUB_EVERY, Happening::Scrub { node, life });
        let host = &mut self.nodes[node];
        let Some(process) = host.process.as_mut().filter(|process| !process.paused) else { return };
        if process.scrubbed >= process.scrub_end {
            (process.scrubbed, process.scrub_end) = (LogIndex(0), process.applied);
        }
        match host.disk.read_chain(process.scrubbed, process.scrub_end, SCRUB_ENTRIES) {
            Ok((_, entries)) => process.scrubbed = entries.last().map_or(process.scrub_end, |entry| entry.index),
            Err(damaged) => self.find_damage(node, damaged),
        }
    }

    pub(crate) fn mark(&mut self, node: usize, life: u64) {
        let host = &mut self.nodes[node];
        if let Some(process) = host.process.as_ref().filter(|process| !process.paused) {
            host.disk.mark(process.applied);
        }
        self.schedule(MARK_EVERY, Happening::Mark { node, life });
    }

    /// A process has read what cannot be true.
    pub(crate) fn find_damage(&mut self, node: usize, damaged: Damaged) {
        self.trace.show("found damage", &damaged);
        self.feed(node, Input::Replication(Event::Quarantine(damaged.0.to_owned())));
    }

    /// A quarantined process condemns its ledger and goes on to say so until somebody restarts it.
    pub(crate) fn look_at_quarantine(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.quarantined || process.engine.replica().quarantine().is_none() {
            return;
        }
        process.quarantined = true;
        self.met.insert("quarantine");
        let life = process.life;
        self.trace.note(self.now, node, "quarantined", [life, 0]);
        self.oracle.quarantined(&self.nodes[node]);
        let noted = self.random.below(5 * MILLI);
        self.schedule(noted, Happening::Condemn { node, life });
        let somebody_looks = self.random.between(100 * MILLI, 3 * SECOND);
        self.schedule(somebody_looks, Happening::Exit { node, life });
    }
}
