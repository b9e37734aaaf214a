//! Invariants: what a core holds in memory is bounded by its own limits. The undo list covers only entries that are not
//! applied, and there are few of those; the keys that are held exactly are those of entries that the views lack, and these
//! are bounded too; callers
//! wait for entries of the tail, and repetitions of one write do not collect without end.

use std::collections::BTreeMap;

use quorapay_core::engine::{MAX_PENDING_BYTES, MAX_PENDING_LOOKUPS, MIN_FORGOTTEN_PER_POLL, REPEATS_PER_TAIL_ENTRY};

use crate::knobs::Knobs;
use crate::node::Node;

/// Keys of one entry: its own and those of a batch's items, of which the clients send at most five.
const KEYS_PER_ENTRY: u64 = 6;
/// The encoded length that no proposal of the clients reaches.
const LARGEST_PROPOSAL: usize = 64 << 10;
/// Entries that a leader appends whatever its tail holds: its epoch's first one, and the changes of voters.
const UNBOUNDED_APPENDS: u64 = 16;

/// Proposals of the clients that may wait for the disk when the views are found to be too far behind: they go on.
const MAX_PARKED: u64 = 64;

/// What is known about the nodes' memory.
#[derive(Default)]
pub(super) struct BoundedMemory {
    /// The longest end of a log that was not applied at a candidate: it may have copied a long one, and pass it on.
    copied: u64,
    /// For each process the projected index at its last check, and the keys up to there that it may still hold.
    projected: BTreeMap<u64, (u64, u64)>,
}

impl BoundedMemory {
    /// Checks a node after its core's effects were taken.
    pub(super) fn check(&mut self, node: &Node, knobs: &Knobs) {
        let Some(process) = &node.process else { return };
        let (engine, replica, id) = (&process.engine, process.engine.replica(), &node.id);
        let held = engine.held_in_memory();
        let [tail, batch] =
            [knobs.limits.tail_entries, knobs.limits.batch_entries].map(|limit| u64::try_from(limit).expect("few"));

        let unapplied = replica.last().index.0 - engine.applied_index().0;
        if replica.is_candidate() || (replica.is_leader() && !replica.is_open()) {
            self.copied = self.copied.max(unapplied);
        }
        let limit_of_unapplied = tail + 2 * batch + UNBOUNDED_APPENDS + self.copied;
        let limit = limit_of_unapplied;
        assert!(unapplied <= limit, "{id} has {unapplied} entries that are not applied, {limit} are allowed");
        assert!(held.undo <= unapplied, "{id} could undo {} entries, and {unapplied} are not applied", held.undo);

        let uncommitted = replica.last().index.0 - replica.commit_index().0;
        let limit = uncommitted + REPEATS_PER_TAIL_ENTRY * tail;
        assert!(held.waiting <= limit, "{} callers wait at {id}, {limit} are allowed", held.waiting);
        assert!(held.parked <= MAX_PENDING_LOOKUPS, "{} proposals wait for the disk at {id}", held.parked);
        let bytes = held.parked_bytes;
        assert!(bytes < MAX_PENDING_BYTES + LARGEST_PROPOSAL, "{bytes} bytes of proposals wait for the disk at {id}");

        let in_log = limit_of_unapplied + MAX_PARKED;
        let limit = knobs.limits.unprojected_keys + KEYS_PER_ENTRY * in_log;
        let lag = engine.views_lag().keys;
        assert!(lag <= limit, "the views of {id} are {lag} keys behind, {limit} are allowed");

        let limit = self.keys_allowed(process.life, engine.projected_index().0, replica.last().index.0);
        assert!(held.recent_keys <= limit, "{id} holds {} keys exactly, {limit} are allowed", held.recent_keys);
    }

    /// The keys of the entries above the projected index, and those below it that no poll has forgotten yet.
    fn keys_allowed(&mut self, life: u64, projected: u64, last: u64) -> u64 {
        let forgotten = u64::try_from(MIN_FORGOTTEN_PER_POLL).expect("few");
        let (before, backlog) = self.projected.get(&life).copied().unwrap_or((projected, 0));
        let backlog = (backlog + KEYS_PER_ENTRY * (projected - before)).saturating_sub(forgotten);
        self.projected.insert(life, (projected, backlog));
        KEYS_PER_ENTRY * last.saturating_sub(projected) + backlog
    }
}
