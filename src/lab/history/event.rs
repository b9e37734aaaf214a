//! The lines of a history.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use quorapay_core::domain::{AccountId, IdempotencyKey, Proposal};
use quorapay_core::domain::{Epoch, LogIndex};

/// The format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The first line: of what run the rest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version; also what tells a history from any other file.
    #[serde(rename = "quorapay_history")]
    pub format: u32,
    /// The cluster that was asked.
    pub cluster: String,
    /// What the load and the faults were drawn from.
    pub seed: u64,
    /// When the recording began, in milliseconds since the Unix epoch. For people; no check depends on a wall clock.
    pub started_unix_ms: u64,
    /// How many processes asked.
    pub clients: u32,
}

impl Header {
    /// A header in the format that this program writes.
    #[must_use]
    pub fn new(cluster: impl Into<String>, seed: u64, started_unix_ms: u64, clients: u32) -> Self {
        Self { format: FORMAT, cluster: cluster.into(), seed, started_unix_ms, clients }
    }
}

/// Microseconds since the recording began, on a clock that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// As a duration since the recording began.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// What lies between an earlier moment and this one; zero if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Micros {
    /// In seconds, as people read a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Names an operation within its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    /// The process that asked.
    pub process: u32,
    /// Its number there.
    pub operation: u64,
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} of process {}", self.operation, self.process)
    }
}

/// One line after the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request is about to be sent.
    Invoke(Invoke),
    /// It was answered: a write is committed, a read has its answer (also "there is no such thing").
    Ok(Answer),
    /// It was definitely not done: refused by the bank, by a node, or never sent.
    Refused(Refused),
    /// Whether it was done is not known.
    Unknown(Unknown),
    /// A request of the schedule was not sent, because too many were under way.
    Late(Late),
    /// A fault begins or ends.
    Fault(Fault),
    /// The run enters another phase.
    Phase(Phase),
}

impl Event {
    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Micros {
        match self {
            Self::Invoke(event) => event.at,
            Self::Ok(event) => event.at,
            Self::Refused(event) => event.at,
            Self::Unknown(event) => event.at,
            Self::Late(event) => event.at,
            Self::Fault(event) => event.at,
            Self::Phase(event) => event.at,
        }
    }
}

/// A request is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoke {
    /// The process that asks.
    pub process: u32,
    /// Its number there; no two operations of a process have the same.
    pub operation: u64,
    /// When it was sent: never later than the first byte of it.
    pub at: Micros,
    /// When the schedule wanted it to be sent. Latencies count from here.
    pub intended: Micros,
    /// The node that it is sent to, by name.
    pub node: String,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To do something, under a key.
    Write(Box<Proposal>),
    /// To show something.
    Read(Read),
}

/// A request to show something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What is to be shown.
    pub of: Subject,
    /// How fresh the answer must be.
    #[serde(default)]
    pub consistency: Consistency,
    /// The node must have applied at least this much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_index: Option<LogIndex>,
}

/// What a read shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A payment, by its id.
    Payment(String),
    /// What became of a key.
    Key(IdempotencyKey),
    /// An account with its balances.
    Account(AccountId),
    /// The newest payments, of one account or of all.
    Payments {
        /// Only payments from or to this account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// At most this many.
        limit: u32,
    },
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Shows every write that was answered before the read began.
    #[default]
    Linearizable,
    /// Shows what the node has.
    Local,
}

/// What a node said, literally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The node that answered, by its own word (`Quorapay-Node`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// As of where in the ledger (`Quorapay-Index`): for a write its entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
    /// In which epoch (`Quorapay-Epoch`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// How far the node was (`Quorapay-Applied-Index`), which only reads are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_index: Option<LogIndex>,
    /// How old the answer may be, in milliseconds (`Quorapay-Staleness-Ms`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_ms: Option<u64>,
    /// Whether it is the answer to an earlier request under the same key (`Idempotent-Replayed`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The body.
    pub body: Body,
}

/// A body as it was received, to the byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Box<RawValue>);

impl Body {
    /// Keeps a body. One that is no JSON on one line is kept as a JSON string, so that the history remains readable.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let raw =
            std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\n')).map(|text| text.trim().to_owned());
        let raw = raw.and_then(|text| RawValue::from_string(text).ok());
        Self(raw.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(bytes);
            serde_json::value::to_raw_value(&text).expect("a string is always JSON")
        }))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Body {}

/// A request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The process that asked.
    pub process: u32,
    /// The operation's number there.
    pub operation: u64,
    /// When the whole answer was there: never earlier than its last byte.
    pub at: Micros,
    /// What was said.
    pub answer: Told,
}

/// A request was definitely not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The process that asked.
    pub process: u32,
    /// The operation's number there.
    pub operation: u64,
    /// When this was known.
    pub at: Micros,
    /// Why: the code of the problem, or `not_sent` where no connection was made.
    pub code: String,
    /// What was said, if a node said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Told>,
}

/// Whether a request was done is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The process that asked.
    pub process: u32,
    /// The operation's number there.
    pub operation: u64,
    /// When it was given up.
    pub at: Micros,
    /// Why: the code of the problem, `timeout` or `connection_lost`.
    pub why: String,
    /// What was said, if a node said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Told>,
}

/// A request of the schedule was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// The process whose turn it was.
    pub process: u32,
    /// When it should have been sent.
    pub intended: Micros,
    /// When it was given up.
    pub at: Micros,
}

/// A fault begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The same at the beginning and at the end of one fault.
    pub number: u64,
    /// When.
    pub at: Micros,
    /// Which of the two.
    pub phase: FaultPhase,
    /// What kind, such as `kill` or `partition_leader`.
    pub kind: String,
    /// Whom it hits, such as `node1`.
    pub target: String,
}

/// Which end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPhase {
    /// It begins.
    Begin,
    /// It is healed.
    End,
}

/// The run enters another phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// When.
    pub at: Micros,
    /// Which, such as `load`, `healed` or `final_reads`.
    pub name: String,
}
