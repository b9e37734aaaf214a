//! A node whose ledger is damaged begins again by itself, by the real node's rules (`src/node/runtime/repair.rs`): it
//! condemns the ledger at once, waits until the others serve without it, and does so at most once an hour. After that an
//! operator has to restart it. What a node asks the others for arrives without delay here.

use quorapay_core::planted::{Bug, planted};

use super::knobs::{MILLI, SECOND};
use super::world::{World, WorldEvent};

/// A node repairs itself at most this often, by its own clock.
pub(crate) const MIN_INTERVAL_MS: u64 = 60 * 60 * 1_000;
/// How often a quarantined node asks whether the others serve.
const ASKS_EVERY: u64 = SECOND;
/// The new image of the process starts at the latest this long after the old one.
const MAX_START_DELAY: u64 = 100 * MILLI;
/// When an operator restarts a node that stays in quarantine.
const OPERATOR_AFTER: (u64, u64) = (5 * SECOND, 20 * SECOND);

impl World {
    /// Handles a quarantine that has just begun.
    pub(crate) fn check_quarantine(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.quarantined || process.engine.replica().quarantine().is_none() {
            return;
        }
        process.quarantined = true;
        self.met.insert("quarantine");
        let life = process.life;
        self.trace.note(self.now, node, "quarantined", [life, 0]);
        self.oracle.quarantined(&self.nodes[node]);
        let condemned_after = self.random.below(5 * MILLI);
        self.schedule(condemned_after, WorldEvent::Condemn { node, life });
        if self.begins_repair(node) {
            // What the leader knows of the others by then is younger than the quarantine.
            let timeout = self.knobs.timing.heartbeat_timeout_ms * MILLI;
            self.schedule(condemned_after + ASKS_EVERY.max(timeout), WorldEvent::Repair { node, life });
        } else {
            self.met.insert("second quarantine within an hour");
            let (earliest, latest) = OPERATOR_AFTER;
            let restarted_after = self.random.between(earliest, latest);
            self.schedule(restarted_after, WorldEvent::Exit { node, life });
        }
    }

    /// Whether a node may repair itself; if so, it remembers that beside its ledger.
    fn begins_repair(&mut self, node: usize) -> bool {
        let host = &mut self.nodes[node];
        let now_ms = host.now(self.now).unix_ms;
        let is_recent = host.repaired_unix_ms.is_some_and(|repaired| now_ms.abs_diff(repaired) < MIN_INTERVAL_MS);
        if is_recent && !planted(Bug::RepairedAtEveryQuarantine) {
            return false;
        }
        self.oracle.repair_begins(node, now_ms);
        host.repaired_unix_ms = Some(now_ms);
        true
    }

    /// A quarantined node begins again as a new process, once the others serve without it.
    pub(crate) fn repair(&mut self, node: usize, life: u64) {
        if !self.others_serve_without(node) && !planted(Bug::RepairedBeforeOthersServe) {
            self.met.insert("damaged ledger kept until the others serve");
            return self.schedule(ASKS_EVERY, WorldEvent::Repair { node, life });
        }
        self.oracle.gives_up_ledger(node);
        self.trace.note(self.now, node, "repairs itself", [life, 0]);
        self.met.insert("self-repair");
        self.crash(node);
        let delay = self.random.below(MAX_START_DELAY);
        self.restart_after(delay, node);
    }

    /// Whether another node leads that answers this one, and with it a quorum holds everything that this node knows to
    /// be committed.
    fn others_serve_without(&self, node: usize) -> bool {
        let host = &self.nodes[node];
        let Some(process) = &host.process else { return false };
        let commit_index = process.engine.replica().commit_index();
        let answers = |other: &usize| *other != node && self.links.opens(node, *other);
        (0..self.knobs.nodes).filter(answers).any(|other| {
            let other = &self.nodes[other];
            let Some(process) = other.process.as_ref().filter(|process| !process.paused) else { return false };
            let replica = process.engine.replica();
            let followers = replica.followers(other.now(self.now));
            let holds = followers.iter().filter(|follower| {
                let counts = follower.node != host.id && follower.votes && follower.reachable;
                counts && follower.matched >= commit_index
            });
            // What followers have committed may be in the leader's memory only, while its disk is slow or hangs.
            let copies = usize::from(replica.applied_index() >= commit_index) + holds.count();
            replica.is_open() && replica.configuration().is_some_and(|configuration| copies >= configuration.quorum())
        })
    }
}
