//! Faults of disks, and how a process reacts: it ends when a write fails, quarantines itself when it finds its ledger
//! damaged, and becomes a learner with a new store when it starts on a damaged ledger.

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;
use quorapay_core::planted::{Bug, planted};
use quorapay_core::replication::{Event, Persist};

use super::disk::{Damaged, Opened, Start};
use super::knobs::{MILLI, SECOND};
use super::node::Node;
use super::world::{World, WorldEvent};

/// Interval of the scrubber.
pub(crate) const SCRUB_EVERY: u64 = 250 * MILLI;
/// Interval of the watermark.
pub(crate) const MARK_EVERY: u64 = SECOND;
/// Entries that the scrubber reads at a time.
const SCRUB_ENTRIES: usize = 512;
/// A process ends at the latest this long after a failed write.
const MAX_EXIT_DELAY: u64 = 5 * MILLI;

impl World {
    /// Opens the ledger for a starting process; `None` if the process must end at once.
    pub(crate) fn open_ledger(&mut self, node: usize) -> Option<Start> {
        self.make_readable_durable(node);
        loop {
            let (verified, unprojected_keys) = (self.knobs.verified_at_start, self.knobs.limits.unprojected_keys);
            match self.nodes[node].disk.start(verified, unprojected_keys, &mut self.random) {
                Opened::Intact(start) => return Some(*start),
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

    /// An opening makes durable what it reads, before anything is said of it.
    fn make_readable_durable(&mut self, node: usize) {
        if self.nodes[node].disk.condemned || planted(Bug::OpeningTrustsWhatItReads) {
            return;
        }
        if let Some(before) = self.nodes[node].disk.make_durable() {
            self.met.insert("unsynced data made durable");
            self.oracle.durable(node, before, &self.nodes);
        }
    }

    /// Replaces the ledger by a new and empty one.
    pub(crate) fn replace_disk(&mut self, node: usize) {
        self.trace.note(self.now, node, "new store", [0, 0]);
        self.nodes[node].disk = self.new_disk(node);
    }

    /// The number of nodes whose store does not vote, or will not once its damage is found.
    pub(crate) fn stores_lost(&self) -> usize {
        let is_lost = |node: &&Node| node.disk.is_damaged() || !self.oracle.votes(&node.id, node.disk.store_id);
        self.members().iter().filter(is_lost).count()
    }

    /// Whether one more disk may be lost: a majority must keep everything that it acknowledged. No protocol survives
    /// more.
    fn may_lose_a_disk(&self) -> bool {
        // A second process may vote in a node's place, and its store is lost when it leaves.
        self.nodes.len() == self.knobs.nodes && self.stores_lost() < (self.knobs.nodes - 1) / 2
    }

    /// Loses a dead node's disk, if the cluster can tolerate it.
    pub(crate) fn wipe_disk(&mut self, node: usize) -> bool {
        let wiped = self.may_lose_a_disk();
        if wiped {
            self.replace_disk(node);
            self.forget_repair(node);
        }
        wiped
    }

    /// Nothing remembers that a node has repaired itself: its data directory is new, or an hour has passed.
    pub(crate) fn forget_repair(&mut self, node: usize) {
        self.nodes[node].repaired_unix_ms = None;
        self.oracle.repair_forgotten(node);
    }

    /// Loses the end of a dead node's ledger, if the cluster can tolerate it.
    pub(crate) fn tear_ledger(&mut self, node: usize) -> bool {
        self.may_lose_a_disk() && self.nodes[node].disk.tear(&mut self.random)
    }

    /// Flips a bit in some row of a node's ledger, if the cluster can tolerate it.
    pub(crate) fn rot_ledger(&mut self, node: usize) -> bool {
        self.may_lose_a_disk() && self.nodes[node].disk.rot(&mut self.random)
    }

    /// Whether a write fails now. Its process ends a moment later, and nothing becomes durable until then.
    pub(crate) fn write_fails(&mut self, node: usize, write: &Persist) -> bool {
        let unsynced = self.random.chance(self.knobs.fsync_errors);
        if !unsynced && !self.nodes[node].disk.full {
            return false;
        }
        self.trace.note(self.now, node, "write failed", [write.id.0, u64::from(unsynced)]);
        self.met.insert(if unsynced { "failed sync" } else { "full disk" });
        // A full disk usually refuses the write; after a failed sync the write may still be read.
        let survives = if unsynced { 500 } else { 50 };
        if self.random.chance(survives) {
            self.nodes[node].disk.write_unsynced(write, unsynced);
        }
        if unsynced {
            self.condemn_after_failed_sync(node);
        }
        let exit_delay = self.random.below(MAX_EXIT_DELAY);
        if let Some(process) = &mut self.nodes[node].process {
            process.writer_failed = true;
            process.writes.clear();
            let life = process.life;
            self.schedule(exit_delay, WorldEvent::Exit { node, life });
        }
        true
    }

    /// A process whose disk failed condemns its ledger. Sometimes the disk fails for that mark too, and always where the
    /// cluster could not tolerate the loss.
    fn condemn_after_failed_sync(&mut self, node: usize) {
        if self.may_lose_a_disk() && self.random.chance(700) {
            self.met.insert("condemned after a failed sync");
            self.nodes[node].disk.condemned = true;
        }
    }

    /// A process exits; its supervisor starts it again.
    pub(crate) fn exit(&mut self, node: usize) {
        self.crash(node);
        self.restart_later(node);
    }

    /// The scrubber reads a part of the ledger, and starts over at its end.
    pub(crate) fn scrub(&mut self, node: usize, life: u64) {
        self.schedule(SCRUB_EVERY, WorldEvent::Scrub { node, life });
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
        self.schedule(MARK_EVERY, WorldEvent::Mark { node, life });
    }

    /// A process has found its ledger damaged.
    pub(crate) fn find_damage(&mut self, node: usize, damaged: Damaged) {
        self.trace.show("found damage", &damaged);
        self.feed(node, Input::Replication(Event::Quarantine(damaged.0.to_owned())));
    }
}
