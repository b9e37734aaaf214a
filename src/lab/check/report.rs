//! The result of a check, for people (`Display`) and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Hash;

/// How many violations of one kind are reported in detail; all are counted.
const MAX_VIOLATIONS_PER_KIND: u64 = 20;

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
    /// The decision of an entry does not follow from the accounts before it.
    WrongDecision,
    /// The balances of a currency do not sum to zero.
    Unbalanced,
    /// An account is below what its policy allows.
    BelowPolicy,
    /// Timestamps decrease along the ledger.
    TimeWentBack,
    /// An acknowledged write is not at the index that the answer named.
    LostAck,
    /// An answer differs from the entry that it names.
    WrongAnswer,
    /// Two answers under one key differ.
    WrongReplay,
    /// The ledger has a request under a key that no client sent under it.
    WrongRequest,
    /// A write that was definitely refused is in the ledger.
    RefusedButApplied,
    /// The reason of a refusal does not hold.
    WrongRefusal,
    /// An entry is before one that was acknowledged before its request was sent.
    Reordered,
    /// A linearizable read missed a write that was acknowledged before it began.
    StaleRead,
    /// A read is as of an index that the ledger never reached, or older than requested.
    WrongIndex,
    /// A read differs from the ledger as of the index that it names.
    WrongRead,
    /// A key was reported as unknown as of an index at which the ledger has it.
    WronglyUnknown,
}

impl Breach {
    /// The broken promise, as a sentence.
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

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).expect("a unit variant is a string");
        name.as_str().expect("a unit variant is a string").to_owned()
    }
}

/// The operation that shows a breach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The history.
    pub history: String,
    /// The line on which the operation began.
    pub line: u64,
    /// The client process.
    pub process: u32,
    /// The operation's number.
    pub operation: u64,
    /// The key of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl fmt::Display for Location {
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
    #[serde(rename = "place", skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The ledger entry concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
    /// What happened, in a sentence or two.
    #[serde(rename = "what")]
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BROKEN {}: {}", self.breach.name(), self.breach.promise())?;
        if let Some(location) = &self.location {
            write!(f, "\n  {location}")?;
        }
        write!(f, "\n  {}", self.detail)
    }
}

/// One ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerSummary {
    /// Where it is.
    pub ledger: String,
    /// Index of its last entry.
    pub last_index: LogIndex,
    /// Its own commit index.
    pub commit_index: LogIndex,
    /// Up to where it equals the committed history that the check is based on.
    pub agrees_up_to: LogIndex,
    /// The hash there.
    pub hash: Hash,
}

/// The counts of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Histories read.
    pub histories: u64,
    /// Committed entries.
    pub entries: u64,
    /// Operations.
    pub operations: u64,
    /// Writes that were answered as applied.
    pub writes: u64,
    /// Those of them that were answers to an earlier request under the same key.
    pub replays: u64,
    /// Writes that the bank decided against.
    pub rejected: u64,
    /// Operations that were definitely not applied.
    pub refused: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Operations whose outcome was unknown when they ended, or that never ended.
    pub unknown: u64,
    /// Keys with an unknown outcome that are in the ledger.
    pub unknown_applied: u64,
    /// Keys with an unknown outcome that are not in the ledger.
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
    /// No violation was found.
    #[default]
    Kept,
    /// At least one promise was broken.
    Broken,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every promise was kept.
    pub verdict: Verdict,
    /// How many promises were broken, by kind.
    pub broken: BTreeMap<Breach, u64>,
    /// The violations; of each kind the first twenty.
    pub violations: Vec<Violation>,
    /// What is worth knowing and not a breach.
    pub notes: Vec<String>,
    /// The ledgers.
    pub ledgers: Vec<LedgerSummary>,
    /// The counts of a check.
    pub counts: Counts,
}

impl Report {
    /// Adds a breach.
    pub(super) fn add(&mut self, breach: Breach, location: Option<Location>, index: Option<LogIndex>, detail: String) {
        let count = self.broken.entry(breach).or_default();
        *count += 1;
        if *count <= MAX_VIOLATIONS_PER_KIND {
            self.violations.push(Violation { breach, location, index, detail });
        }
    }

    /// Adds the violations of another report.
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
        for (breach, count) in self.broken.iter().filter(|(_, count)| **count > MAX_VIOLATIONS_PER_KIND) {
            writeln!(f, "… and {} more of {}\n", count - MAX_VIOLATIONS_PER_KIND, breach.name())?;
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
