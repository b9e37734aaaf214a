//! Bugs planted on purpose: the simulation is only worth trusting if it finds them.
//!
//! Each stands in the code as one `if planted(Bug::…)`. Without the feature `planted-bugs` that is the constant `false`
//! and nothing is left of it; with it, the simulation selects one bug at a time. `make planted` sweeps them all.

/// A mistake that somebody could make in good faith.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A candidate leads with the log that it has, though another of its majority is more complete.
    NoCatchUp,
    /// A node takes the word of a leader whose epoch is older than its promise.
    NoFence,
    /// An append is acknowledged before it is durable.
    AckBeforeFsync,
    /// A promise is answered before it is durable.
    PromiseBeforeFsync,
    /// A leader counts its own copy of an entry before it is durable.
    LeaderCountsItselfEarly,
    /// A leader commits by counting copies of entries of older epochs.
    OldEpochCommits,
    /// A follower of a new leader cuts its log at its own commit index.
    TruncateToCommitIndex,
    /// A follower cuts its log at the end of every batch, whether or not anything contradicts it.
    TruncateWithoutConflict,
    /// A truncation does not shorten what the write on its way will make durable.
    WriteOnItsWayNotCut,
    /// Acknowledgements count by node, not by store: a wiped disk inherits what the lost one had acknowledged.
    WipedStoreCounts,
    /// Promises of stores that the configuration does not bind count.
    UnboundPromisesCount,
    /// Epochs are whatever ZooKeeper says, lower than a promise or not.
    EpochsFromZooKeeperAlone,
    /// A new store is admitted before it holds what was committed when it came back.
    AdmissionWithoutCatchUp,
    /// A replaced store is swapped in by one configuration entry.
    SwapInOneEntry,
    /// A change of voters begins before the last one is committed.
    OverlappingChanges,
    /// A follower commits up to the leader's commit index, beyond what it knows to be equal.
    CommitBeyondMatched,
    /// Reads are answered without a quorum round.
    ReadsWithoutRound,
    /// Reads are answered by a round that was sent before they arrived.
    ReadsByAnOldRound,
    /// A leader answers reads before its first entry is committed.
    ReadsBeforeEpochStart,
    /// Idempotency keys are remembered in memory only.
    KeysInMemoryOnly,
    /// The key of an entry that was truncated stays remembered.
    TruncatedKeyRemembered,
    /// The key of a refused payment is not remembered.
    RefusedKeyForgotten,
    /// A repeated key is answered before its original is committed.
    RepeatBeforeCommit,
    /// A refusal is answered at once, before its entry is committed.
    RefusalBeforeCommit,
    /// Callers wait for an index, not for their entry: whatever is committed there answers them.
    AnsweredByIndex,
    /// A write whose outcome is unknown is said not to have happened.
    LostSaidNotTaken,
    /// A truncation does not take its payments back from the bank.
    UndoSkipped,
    /// Timestamps are the leader's wall clock.
    WallClockTimestamps,
    /// The ledger's time is the leader's clock, which only must not go back.
    LeadersClockAlone,
    /// What is set aside can be spent by another payment.
    HeldMoneySpent,
    /// A hold whose time is up can be captured until its expiry is written.
    LateCapture,
    /// A refund is capped by what was captured, whatever was given back before.
    RefundsNotAddedUp,
    /// Holds do not count against their order until they are captured.
    HoldsOutsideOrders,
    /// How far an order is paid is remembered in memory only.
    OrdersInMemoryOnly,
    /// Where an old payment stands is taken from the entry that made it.
    ChangesInMemoryOnly,
    /// A batch that is to be all or none keeps what was done before the first refusal.
    TornBatches,
    /// A fence does not use its key up.
    FencesForgotten,
}

/// Whether this bug is in.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub(crate) use selection::planted;
#[cfg(feature = "planted-bugs")]
pub use selection::{ALL, select};

#[cfg(feature = "planted-bugs")]
mod selection {
    //! Which bug is in: one for each thread, so that threads can try different ones.

    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static SELECTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Puts a bug into every core that runs in this thread, or takes it out.
    pub fn select(bug: Option<Bug>) {
        SELECTED.set(bug);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        SELECTED.get() == Some(bug)
    }

    /// Every bug.
    pub const ALL: &[Bug] = &[
        Bug::NoCatchUp,
        Bug::NoFence,
        Bug::AckBeforeFsync,
        Bug::PromiseBeforeFsync,
        Bug::LeaderCountsItselfEarly,
        Bug::OldEpochCommits,
        Bug::TruncateToCommitIndex,
        Bug::TruncateWithoutConflict,
        Bug::WriteOnItsWayNotCut,
        Bug::WipedStoreCounts,
        Bug::UnboundPromisesCount,
        Bug::EpochsFromZooKeeperAlone,
        Bug::AdmissionWithoutCatchUp,
        Bug::SwapInOneEntry,
        Bug::OverlappingChanges,
        Bug::CommitBeyondMatched,
        Bug::ReadsWithoutRound,
        Bug::ReadsByAnOldRound,
        Bug::ReadsBeforeEpochStart,
        Bug::KeysInMemoryOnly,
        Bug::TruncatedKeyRemembered,
        Bug::RefusedKeyForgotten,
        Bug::RepeatBeforeCommit,
        Bug::RefusalBeforeCommit,
        Bug::AnsweredByIndex,
        Bug::LostSaidNotTaken,
        Bug::UndoSkipped,
        Bug::WallClockTimestamps,
        Bug::LeadersClockAlone,
        Bug::HeldMoneySpent,
        Bug::LateCapture,
        Bug::RefundsNotAddedUp,
        Bug::HoldsOutsideOrders,
        Bug::OrdersInMemoryOnly,
        Bug::ChangesInMemoryOnly,
        Bug::TornBatches,
        Bug::FencesForgotten,
    ];
}
