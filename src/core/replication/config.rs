//! How a replica behaves: its settings, and the limits and times that are the same on every node.

use std::collections::BTreeMap;

use super::types::NodeId;
use crate::domain::RuleVersion;

/// Entries of one append, on the wire and in one transaction. A single entry may be larger and is sent alone.
pub(super) const MAX_APPEND_BYTES: usize = 8 * 1024 * 1024;

/// Entries that are not committed or not durable at the leader. It refuses proposals beyond that: a quorum is too slow
/// or away, or its own disk is.
pub(super) const MAX_TAIL_BYTES: u64 = 64 * 1024 * 1024;

/// Keys of applied entries that the views may lack: a start replays as many payments in half a second.
const UNPROJECTED_KEYS: u64 = 262_144;

/// Bytes of these entries: what as many plain payments take.
const UNPROJECTED_BYTES: u64 = 64 * 1024 * 1024;

/// Committed entries kept in memory, however few they are.
pub(super) const MAX_CACHED_BYTES: u64 = 32 * 1024 * 1024;

/// Reads that may wait for one read index.
pub(super) const MAX_WAITING_READS: usize = 65_536;

/// A pre-vote ends this long after it began, even if some nodes have not answered. The time doubles after each that no
/// majority has answered, so often at most: on a slow network, or a machine with too much to do, answers take longer.
pub(super) const PRE_VOTE_TIMEOUT_MS: u64 = 150;
pub(super) const MAX_PRE_VOTE_DOUBLINGS: u32 = 2;

/// A candidate repeats its request to nodes that have not promised after this time.
pub(super) const FENCE_RETRY_MS: u64 = 50;

/// A source may take this long for one piece of its log: the largest entry, 16 MiB, takes 2.8 s on the slowest link
/// that is supported.
pub(super) const FETCH_TIMEOUT_MS: u64 = 3_000;

/// A transfer of leadership that takes longer is cancelled: proposals are refused meanwhile.
pub(super) const TRANSFER_TIMEOUT_MS: u64 = 2_000;

/// The named successor of a leader has this long to take over before the other nodes may campaign.
pub(super) const TRANSFER_GRACE_MS: u64 = 1_000;

/// Without new entries to send, followers learn of a new commit index after this time at most.
pub(super) const COMMIT_NOTICE_MS: u64 = 5;

/// A follower that answers heartbeats but stores no batch for this long no longer counts as supporting the leader: the
/// fault may lie between the two, and another leader may not have it.
pub(super) const STALL_TIMEOUT_MS: u64 = 10_000;

/// A follower that has left so many appends in a row unanswered is sent heartbeats only, until it answers. One message
/// may be lost on a bad link; a follower that is down or refuses would cost a batch for each heartbeat.
pub(super) const MAX_UNANSWERED_APPENDS: u32 = 2;

/// A peer to which no connection can be opened for this long is reported to the leader as unreachable: a restart takes
/// less.
pub(super) const UNREACHABLE_MS: u64 = 500;

/// A leader moves the leadership when a follower has had better links for this long, by all nodes' reports. It takes a
/// node up to half a second to notice that another one is back, and nodes must not disagree for so long. With the time
/// before a report it also takes three lost attempts to connect, so that a network which loses some packets moves
/// nothing.
pub(super) const UNREACHED_MS: u64 = 600;

/// A leader that has moved the leadership to better links in vain, because no other node has led since, does not do so
/// again within this time.
pub(super) const MOVE_PAUSE_MS: u64 = 30_000;

/// A node to which a majority cannot open connections leaves its turn to others for this long: an election takes a tenth
/// of it. If nobody leads then, a leader that only its own clients reach is better than none.
pub(super) const UNREACHED_STANDS_MS: u64 = 1_000;

/// A node that is not fit to lead gives the others this long. If it has to lead all the same, it gives way again only
/// after this time.
pub(super) const UNFIT_PAUSE_MS: u64 = 30_000;

/// A node whose clock no message has told for this long is asked for it. The measured table of error against cost is in
/// docs/TIME.md.
pub(super) const CLOCK_PROBE_MS: u64 = 1_000;

/// How far a clock that counts as right may be off the true time: what NTP keeps on any network, with a margin.
pub(super) const CLOCK_TOLERANCE_MS: i64 = 50;

/// A clock is judged false, or right again, once it has been so for this long without interruption.
pub(super) const CLOCK_JUDGED_AFTER_MS: u64 = 2_000;

/// A commit index that is ahead of the stored one for this long is written without waiting for entries.
pub(super) const IDLE_COMMIT_MS: u64 = 200;

/// Who a replica is and how it behaves.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node.
    pub node_id: NodeId,
    /// All nodes of the cluster with their peer URLs, this one included. They are the voters of a new cluster; in an
    /// existing one the log's configuration lists the voters.
    pub peers: BTreeMap<NodeId, String>,
    /// The newest rules of the bank that this program knows.
    pub newest_rules: RuleVersion,
    /// Timeouts and intervals.
    pub timing: Timing,
    /// Sizes.
    pub limits: Limits,
}

/// Timeouts and intervals, in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader sends to each follower at least this often.
    pub heartbeat_ms: u64,
    /// A node that has heard no leader for this long asks the others whether they hear it.
    pub heartbeat_timeout_ms: u64,
    /// A leader that no quorum has answered for this long steps down.
    pub step_down_ms: u64,
    /// A disk whose write takes longer than this hangs: its node gives up its leadership, answers no leader and is no
    /// candidate until the write is durable.
    pub hung_write_ms: u64,
    /// A candidacy that takes longer is abandoned, once the piece of the best log that is in flight has arrived.
    pub candidacy_ms: u64,
    /// A node waits this long after a false alarm or a failed candidacy before it tries again.
    pub backoff_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            heartbeat_timeout_ms: 400,
            step_down_ms: 1_000,
            // The largest batch, 8 MiB, takes less on any disk that keeps up with payments.
            hung_write_ms: 2_000,
            candidacy_ms: 2_000,
            backoff_ms: 100,
        }
    }
}

/// Bounds of the replica's batches and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries in one batch, on the wire and in one transaction.
    pub batch_entries: usize,
    /// Entries not committed, or not durable at the leader, at which it refuses proposals.
    pub tail_entries: usize,
    /// Committed entries kept in memory, for followers that are a little behind and for repeated requests.
    pub cached_entries: usize,
    /// Keys of applied entries that the views may lack before a leader takes no more proposals, and a follower no more
    /// batches. Memory holds these keys, and a start replays their entries.
    pub unprojected_keys: u64,
    /// The size of these entries at which the same happens.
    pub unprojected_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_entries: 4_096,
            tail_entries: 16_384,
            cached_entries: 8_192,
            unprojected_keys: UNPROJECTED_KEYS,
            unprojected_bytes: UNPROJECTED_BYTES,
        }
    }
}
