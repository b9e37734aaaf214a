//! One node: a host with a disk and a clock, and the process that runs on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorapay_core::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use quorapay_core::engine::{Engine, Input};
use quorapay_core::replication::{NodeId, Now, Persist, ReadId, RequestId, RpcId};
use quorapay_core::time::Reading;

use super::coordination;
use super::disk::Disk;
use super::forwarding::Forwarding;
use super::network::Requester;
use super::projector::Projector;

/// The true time, if clocks are off by at most `max_skew_ms`.
pub(crate) const fn true_time(now_us: u64, max_skew_ms: u64) -> Timestamp {
    Timestamp(UNIX_START_MS + max_skew_ms + now_us / 1_000)
}

/// The wall clocks' start, in 2026.
const UNIX_START_MS: u64 = 1_780_000_000_000;

/// A running process. A crash loses everything in it.
pub(crate) struct Process {
    /// Numbers the processes of a run, so that events for a dead process do not reach its successor.
    pub(crate) life: u64,
    pub(crate) engine: Engine,
    pub(crate) started: u64,
    pub(crate) paused: bool,
    /// What arrived while the process was paused.
    pub(crate) inbox: VecDeque<Input>,
    /// Proposals that wait because the views are too far behind.
    pub(crate) held: VecDeque<Input>,
    pub(crate) poll_due: bool,
    /// Writes that are not durable yet, oldest first.
    pub(crate) writes: VecDeque<Persist>,
    pub(crate) last_write_done: u64,
    /// A write failed: its outcome is unknown, nothing more is written, and the process is about to end.
    pub(crate) writer_failed: bool,
    /// How far the scrubber has read in its current round.
    pub(crate) scrubbed: LogIndex,
    /// The end of that round.
    pub(crate) scrub_end: LogIndex,
    /// Whether the world has handled this process's quarantine.
    pub(crate) quarantined: bool,
    /// Who waits for which response, and the epoch of the request.
    pub(crate) requesters: BTreeMap<RpcId, (Requester, Epoch)>,
    pub(crate) last_rpc: u64,
    /// Peers to which it cannot open connections.
    pub(crate) unreachable: BTreeSet<usize>,
    pub(crate) open_requests: BTreeSet<RequestId>,
    /// Reads that wait until an index is applied.
    pub(crate) reads: Vec<(ReadId, LogIndex)>,
    pub(crate) applied: LogIndex,
    pub(crate) forwarding: Forwarding,
    pub(crate) projector: Projector,
    pub(crate) coordination: coordination::Client,
}

impl Process {
    pub(crate) fn new(life: u64, engine: Engine, started: u64) -> Self {
        let applied = engine.applied_index();
        Self {
            life,
            engine,
            started,
            paused: false,
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            poll_due: false,
            writes: VecDeque::new(),
            last_write_done: 0,
            writer_failed: false,
            scrubbed: LogIndex(0),
            scrub_end: LogIndex(0),
            quarantined: false,
            requesters: BTreeMap::new(),
            last_rpc: 0,
            unreachable: BTreeSet::new(),
            open_requests: BTreeSet::new(),
            reads: Vec::new(),
            applied,
            forwarding: Forwarding::default(),
            projector: Projector::default(),
            coordination: coordination::Client::default(),
        }
    }
}

/// One node of the cluster.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    /// How often a process was started.
    pub(crate) starts: u64,
    /// The newest rules that the installed program knows.
    pub(crate) newest_rules: RuleVersion,
    /// Whether the whole machine is down, so that connections time out instead of being refused.
    pub(crate) host_down: bool,
    /// Whether the disk hangs: no write ends.
    pub(crate) disk_hangs: bool,
    /// Whether its views can neither be written nor read.
    pub(crate) views_stuck: bool,
    /// When it last began again by itself, by its own clock: a file beside the ledger.
    pub(crate) repaired_unix_ms: Option<u64>,
    /// How far the wall clock is ahead of `UNIX_START_MS`. The true time is one maximum skew ahead of it.
    clock_ahead_ms: u64,
    /// Whether it was set while the run went on.
    clock_was_set: bool,
    /// The maximum of that so far.
    max_clock_ahead_ms: u64,
}

impl Node {
    pub(crate) const fn new(id: NodeId, disk: Disk, clock_ahead_ms: u64) -> Self {
        Self {
            id,
            disk,
            process: None,
            starts: 0,
            newest_rules: RuleVersion::FIRST,
            host_down: false,
            disk_hangs: false,
            views_stuck: false,
            repaired_unix_ms: None,
            clock_ahead_ms,
            clock_was_set: false,
            max_clock_ahead_ms: clock_ahead_ms,
        }
    }

    pub(crate) fn set_clock(&mut self, ahead_ms: u64) {
        self.clock_ahead_ms = ahead_ms;
        self.clock_was_set = true;
        self.max_clock_ahead_ms = self.max_clock_ahead_ms.max(ahead_ms);
    }

    /// The latest time that any node may still believe this node's clock shows: it may have been set back since it was
    /// read.
    pub(crate) const fn latest_clock(&self, now_us: u64) -> Timestamp {
        Timestamp(UNIX_START_MS + now_us / 1_000 + self.max_clock_ahead_ms)
    }

    /// How far the wall clock is off, if the true time is one maximum skew ahead of `UNIX_START_MS`; `None` if it was set.
    pub(crate) fn clock_off_ms(&self, max_skew_ms: u64) -> Option<u64> {
        (!self.clock_was_set).then(|| self.clock_ahead_ms.abs_diff(max_skew_ms))
    }

    /// The current time as this node's process sees it.
    pub(crate) fn now(&self, now_us: u64) -> Now {
        let started = self.process.as_ref().map_or(0, |process| process.started);
        let wall_us = (UNIX_START_MS + self.clock_ahead_ms) * 1_000 + now_us;
        Now::of(Reading { monotonic_us: now_us - started, wall_us })
    }
}
