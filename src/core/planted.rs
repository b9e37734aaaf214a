//! Planted bugs: the simulation can be trusted only if it finds them.
//!
//! Each is one `planted(Bug::…)` in a condition. Without the feature `planted-bugs` that is the constant `false` and
//! nothing of it is compiled; with it, the simulation selects one bug at a time. `make planted` sweeps them all. The
//! simulation asks for bugs too, in what it models of the runtime.

/// A plausible mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A candidate leads with its own log although another log of its majority is more complete.
    NoCatchUp,
    /// A node accepts appends of a leader whose epoch is older than its promise.
    NoFence,
    /// An append is acknowledged before it is durable.
    AckBeforeFsync,
    /// A promise is answered before it is durable.
    PromiseBeforeFsync,
    /// A leader counts its own copy of an entry before it is durable.
    LeaderCountsItselfEarly,
    /// A leader commits by counting copies of entries of older epochs.
    OldEpochCommits,
    /// A follower of a new leader truncates its log to its own commit index.
    TruncateToCommitIndex,
    /// A follower truncates its log at the end of every batch, even without a conflict.
    TruncateWithoutConflict,
    /// A truncation does not lower the index that the write in flight will make durable.
    InFlightWriteNotTruncated,
    /// Acknowledgements count by node, not by store: a wiped disk inherits what the lost one acknowledged.
    WipedStoreCounts,
    /// Promises of stores that the configuration does not bind count.
    UnboundPromisesCount,
    /// A candidate takes whatever epoch ZooKeeper gives, even one below its promise.
    EpochsFromZooKeeperAlone,
    /// A dead candidate keeps its place in the queue if nobody has heard of the epoch that it took.
    TakerNotConsidered,
    /// A new store is admitted before it holds what was committed when it was first seen.
    AdmissionWithoutCatchUp,
    /// A replaced store is removed and the new one added by the same configuration entry.
    SwapInOneEntry,
    /// A change of voters begins before the previous one has committed.
    OverlappingChanges,
    /// A follower commits up to the leader's commit index, beyond what it knows to be equal to the leader's log.
    CommitBeyondMatched,
    /// Reads are answered without a quorum round.
    ReadsWithoutRound,
    /// Reads are answered after a quorum round that was sent before they arrived.
    ReadsByAnOldRound,
    /// A leader answers reads before its first entry has committed.
    ReadsBeforeEpochStart,
    /// Idempotency keys are remembered in memory only.
    KeysInMemoryOnly,
    /// The views may be any number of keys behind.
    LagUnbounded,
    /// The key of an entry that was truncated stays remembered.
    TruncatedKeyRemembered,
    /// The key of a refused payment is not remembered.
    RefusedKeyForgotten,
    /// A repeated key is answered before its entry has committed.
    RepeatBeforeCommit,
    /// A refusal is answered at once, before its entry has committed.
    RefusalBeforeCommit,
    /// Callers wait for an index instead of their entry: whatever commits there answers them.
    AnsweredByIndex,
    /// A write with an unknown outcome is reported as not applied.
    UnknownReportedAsNotApplied,
    /// A truncation does not undo its payments in the bank.
    UndoSkipped,
    /// Timestamps are the leader's wall clock.
    WallClockTimestamps,
    /// The ledger's time is the leader's clock, prevented only from going back.
    LeadersClockAlone,
    /// A leader whose clock is false stays.
    FalseLeaderStays,
    /// What is measured of clocks counts as exact.
    ClockErrorIgnored,
    /// Held money can be spent by another payment.
    HeldMoneySpent,
    /// An expired hold can be captured until its expiry is appended.
    LateCapture,
    /// A refund is limited by the captured amount, without regard to earlier refunds.
    RefundsNotAddedUp,
    /// Holds do not count against their order until they are captured.
    HoldsNotCountedInOrders,
    /// The state of an order is remembered in memory only.
    OrdersInMemoryOnly,
    /// The state of an old payment is taken from its first entry, without its later changes.
    ChangesInMemoryOnly,
    /// An atomic batch keeps the payments before the first refusal.
    TornBatches,
    /// A fence does not use its key.
    FencesForgotten,
    /// A leader whose disk hangs goes on leading, and what it cannot write does not count against its tail.
    HungWriteIgnored,
    /// A leader goes on reading and sending batches for a follower that does not answer.
    SilentFollowerFed,
    /// A node that opens its ledger takes for durable what it can read.
    OpeningTrustsWhatItReads,
    /// A leader goes on counting what a store has acknowledged after its process reports less.
    LostCopiesCount,
    /// A leader stays though a follower has better links.
    UnreachedLeaderStays,
    /// A leader names a successor that does not stand in ZooKeeper's queue.
    SuccessorNotInQueue,
    /// A leader begins a transfer that no other node can take.
    TransferInVain,
    /// A node campaigns though a majority cannot open connections to it.
    UnreachedCandidateStands,
    /// A forwarded write whose answer was lost is reported as not applied.
    LostAnswerMeansNotApplied,
    /// A damaged node gives its ledger up before the others serve without it.
    RepairedBeforeOthersServe,
    /// A damaged node begins again at every quarantine.
    RepairedAtEveryQuarantine,
    /// Any number of callers may wait with repetitions of one write.
    RepeatsUnbounded,
    /// A leader begins its epoch by the newest rules that it knows, whatever the other nodes know.
    LeadAtNewestKnownToSelf,
    /// A node that loads its bank decides by the newest rules that it knows until the next epoch begins.
    ForgetRuleVersionOnLoad,
    /// A revoked API key can still write.
    RevokedKeyPays,
}

/// Whether this bug is active.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use selection::{ALL, planted, select};

#[cfg(feature = "planted-bugs")]
mod selection {
    //! The active bug of each thread, so that threads can test different ones.

    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static SELECTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Activates a bug in every core that runs in this thread, or none.
    pub fn select(bug: Option<Bug>) {
        SELECTED.set(bug);
    }

    /// Whether this bug is active in this thread.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        SELECTED.get() == Some(bug)
    }

    /// All bugs.
    pub const ALL: &[Bug] = &[
        Bug::NoCatchUp,
        Bug::NoFence,
        Bug::AckBeforeFsync,
        Bug::PromiseBeforeFsync,
        Bug::LeaderCountsItselfEarly,
        Bug::OldEpochCommits,
        Bug::TruncateToCommitIndex,
        Bug::TruncateWithoutConflict,
        Bug::InFlightWriteNotTruncated,
        Bug::WipedStoreCounts,
        Bug::UnboundPromisesCount,
        Bug::EpochsFromZooKeeperAlone,
        Bug::TakerNotConsidered,
        Bug::AdmissionWithoutCatchUp,
        Bug::SwapInOneEntry,
        Bug::OverlappingChanges,
        Bug::CommitBeyondMatched,
        Bug::ReadsWithoutRound,
        Bug::ReadsByAnOldRound,
        Bug::ReadsBeforeEpochStart,
        Bug::KeysInMemoryOnly,
        Bug::LagUnbounded,
        Bug::TruncatedKeyRemembered,
        Bug::RefusedKeyForgotten,
        Bug::RepeatBeforeCommit,
        Bug::RefusalBeforeCommit,
        Bug::AnsweredByIndex,
        Bug::UnknownReportedAsNotApplied,
        Bug::UndoSkipped,
        Bug::WallClockTimestamps,
        Bug::LeadersClockAlone,
        Bug::FalseLeaderStays,
        Bug::ClockErrorIgnored,
        Bug::HeldMoneySpent,
        Bug::LateCapture,
        Bug::RefundsNotAddedUp,
        Bug::HoldsNotCountedInOrders,
        Bug::OrdersInMemoryOnly,
        Bug::ChangesInMemoryOnly,
        Bug::TornBatches,
        Bug::FencesForgotten,
        Bug::HungWriteIgnored,
        Bug::SilentFollowerFed,
        Bug::OpeningTrustsWhatItReads,
        Bug::LostCopiesCount,
        Bug::UnreachedLeaderStays,
        Bug::SuccessorNotInQueue,
        Bug::TransferInVain,
        Bug::UnreachedCandidateStands,
        Bug::LostAnswerMeansNotApplied,
        Bug::RepairedBeforeOthersServe,
        Bug::RepairedAtEveryQuarantine,
        Bug::RepeatsUnbounded,
        Bug::LeadAtNewestKnownToSelf,
        Bug::ForgetRuleVersionOnLoad,
        Bug::RevokedKeyPays,
    ];
}
