//! What a check found, in words that a person understands at three in the morning, and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Hash;

/// Violations of one kind that are told in full; all are counted.
const TOLD_IN_FULL: u64 = 20;

/// A kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// A stored entry is not the one that was written.
    LedgerDamaged,
    /// Two ledgers hold different committed entries.
    LedgersDiffer,
    /// Acknowledged entries are missing from ledgers that should have them.
    LedgerIncomplete,
    /// One key was applied twice.
    DoubleApply,
    /// An entry was decided otherwise than the accounts before it demand.
    WrongDecision,
    /// Money came from nowhere or went there.
    Unbalanced,
    /// An account is below what its policy allows.
    BelowPolicy,
    /// Timestamps go back along the ledger.
    TimeWentBack,
    /// An acknowledged write is not in the ledger where the answer said.
    LostAck,
    /// An answer says something else than the entry that it names.
    WrongAnswer,
    /// Two answers under one key differ.
    WrongReplay,
    /// The ledger holds another request under a key than any that was asked.
    WrongRequest,
    /// A write that was refused for good is in the ledger.
    RefusedButApplied,
    /// A refusal without its reason.
    WrongRefusal,
    /// An entry stands before one that was answered before it was asked for.
    Reordered,
    /// A linearizable read missed something that was answered before it began.
    StaleRead,
    /// A read is of an index that the ledger never reached, or older than it was asked to be.
    WrongIndex,
    /// A read shows something else than the ledger holds as of the index that it names.
    WrongRead,
    /// A key was said to be unknown as of an index at which it was there.
    WronglyUnknown,
}

impl Breach {
    /// What was promised.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::LedgerDamaged => "a stored entry never changes",
            Self::LedgersDiffer => "all ledgers hold the same committed entries",
            Self::LedgerIncomplete => "what was acknowledged is on a majority of disks",
            Self::DoubleApply => "one key is applied at most once",
            Self::WrongDecision => "every entry is decided as the accounts before it demand",
            Self::Unbalanced => "every currency sums to zero over all accounts",
            Self::BelowPolicy => "no payment brings an account below its overdraft policy",
            Self::TimeWentBack => "timestamps never decrease along the ledger",
            Self::LostAck => "an acknowledged write is in the ledger for good",
            Self::WrongAnswer => "an answer says what the entry that it names says",
            Self::WrongReplay => "the same request under the same key gets the identical answer",
            Self::WrongRequest => "under a key stands the request that was asked under it",
            Self::RefusedButApplied => "a write that was refused never happens",
            Self::WrongRefusal => "a refusal has the reason that it names",
            Self::Reordered => "what is asked after an answer stands after it in the ledger",
            Self::StaleRead => "a linearizable read shows everything that was answered before it began",
            Self::WrongIndex => "a read is as of an index that the ledger reached, and as fresh as it was asked to be",
            Self::WrongRead => "a read shows what the ledger holds as of the index that it names",
            Self::WronglyUnknown => "a key that is said to be unknown as of an index is not there at that index",
        }
    }

    /// The name for programs.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).expect("a unit variant is a string");
        name.as_str().expect("a unit variant is a string").to_owned()
    }
}

/// The operation that shows a breach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The history.
    pub history: String,
    /// The line on which the operation began.
    pub line: u64,
    /// The process that asked.
    pub process: u32,
    /// The operation's number there.
    pub operation: u64,
    /// The key that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { history, line, process, operation, key } = self;
        write!(f, "{history}:{line}, operation {operation} of process {process}")?;
        key.as_ref().map_or(Ok(()), |key| write!(f, ", key {key:?}"))
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Its kind.
    pub breach: Breach,
    /// The operation that shows it; `None` if the ledgers alone do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The ledger entry concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
    /// What happened, in a sentence or two.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BROKEN {}: {}", self.breach.name(), self.breach.promise())?;
        if let Some(place) = &self.place {
            write!(f, "\n  {place}")?;
        }
        write!(f, "\n  {}", self.what)
    }
}

/// One ledger as the check saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerSummary {
    /// Where it is.
    pub ledger: String,
    /// The end of its log.
    pub last_index: LogIndex,
    /// What it knows to be committed.
    pub commit_index: LogIndex,
    /// Up to where it is equal to the history that everything was judged by.
    pub agrees_up_to: LogIndex,
    /// The hash there.
    pub hash: Hash,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Histories read.
    pub histories: u64,
    /// Committed entries.
    pub entries: u64,
    /// Operations.
    pub operations: u64,
    /// Writes that were answered as done.
    pub writes: u64,
    /// Those of them that were answers to an earlier request under the same key.
    pub replays: u64,
    /// Writes that the bank decided against.
    pub rejected: u64,
    /// Operations that were definitely not done.
    pub refused: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Operations whose outcome was unknown when they ended, or that never ended.
    pub unknown: u64,
    /// Keys with an unknown outcome that turned out to be in the ledger.
    pub unknown_applied: u64,
    /// Keys with an unknown outcome that turned out not to be.
    pub unknown_not_applied: u64,
    /// Requests of a schedule that were not sent.
    pub late: u64,
    /// Faults that began.
    pub faults: u64,
}

/// Whether every promise was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    #[default]
    Kept,
    /// At least one was broken.
    Broken,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In one word.
    pub verdict: Verdict,
    /// How many promises were broken, by kind.
    pub broken: BTreeMap<Breach, u64>,
    /// The violations; of each kind the first twenty.
    pub violations: Vec<Violation>,
    /// What is no breach but should be known.
    pub notes: Vec<String>,
    /// The ledgers.
    pub ledgers: Vec<LedgerSummary>,
    /// What was counted.
    pub counts: Counts,
}

impl Report {
    /// Notes a breach.
    pub(super) fn add(&mut self, breach: Breach, place: Option<Place>, index: Option<LogIndex>, what: String) {
        let count = self.broken.entry(breach).or_default();
        *count += 1;
        if *count <= TOLD_IN_FULL {
            self.violations.push(Violation { breach, place, index, what });
        }
    }

    /// Takes over what another report found.
    pub(super) fn absorb(&mut self, other: Self) {
        for (breach, count) in other.broken {
            *self.broken.entry(breach).or_default() += count;
        }
        self.violations.extend(other.violations);
    }

    pub(super) fn conclude(&mut self) {
        self.verdict = if self.broken.is_empty() { Verdict::Kept } else { Verdict::Broken };
        self.violations.sort_by_key(|violation| violation.breach);
    }

    /// How many promises were broken in all.
    #[must_use]
    pub fn total_broken(&self) -> u64 {
        self.broken.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}\n")?;
        }
        for (breach, count) in self.broken.iter().filter(|(_, count)| **count > TOLD_IN_FULL) {
            writeln!(f, "… and {} more of {}\n", count - TOLD_IN_FULL, breach.name())?;
        }
        for ledger in &self.ledgers {
            let LedgerSummary { ledger, last_index, commit_index, agrees_up_to, hash } = ledger;
            writeln!(
                f,
                "{ledger}: ends at {last_index}, committed {commit_index}, agrees up to {agrees_up_to} {hash}"
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Counts { histories, entries, operations, writes, replays, rejected, refused, .. } = &self.counts;
        let Counts { reads, unknown, unknown_applied, unknown_not_applied, late, faults, .. } = &self.counts;
        writeln!(f, "{entries} entries; {operations} operations in {histories} histories, {faults} faults")?;
        writeln!(
            f,
            "{writes} writes done ({replays} repeated), {rejected} refused by the bank, {refused} not done, {reads} reads"
        )?;
        writeln!(
            f,
            "{unknown} unknown: of their keys {unknown_applied} are in the ledger and {unknown_not_applied} are not; \
             {late} not sent in time"
        )?;
        match self.verdict {
            Verdict::Kept => write!(f, "KEPT: every promise"),
            Verdict::Broken => {
                let kinds = self.broken.iter().map(|(breach, count)| format!("{count} {}", breach.name()));
                write!(f, "BROKEN: {}", kinds.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
