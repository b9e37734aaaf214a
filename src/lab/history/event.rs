//! The lines of a history.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use quorapay_core::domain::{AccountId, IdempotencyKey, Proposal};
use quorapay_core::domain::{Epoch, LogIndex};

/// The format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The first line: the run that the history belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format. The field's name identifies a history.
    #[serde(rename = "quorapay_history")]
    pub format: u32,
    /// The cluster under test.
    pub cluster: String,
    /// Seed of the load and of the faults.
    pub seed: u64,
    /// Start of the recording in milliseconds since the Unix epoch. For people; no check depends on a wall clock.
    pub started_unix_ms: u64,
    /// How many client processes there were.
    pub clients: u32,
}

impl Header {
    /// A header in the format that this program writes.
    #[must_use]
    pub fn new(cluster: impl Into<String>, seed: u64, started_unix_ms: u64, clients: u32) -> Self {
        Self { format: FORMAT, cluster: cluster.into(), seed, started_unix_ms, clients }
    }
}

/// Microseconds since the start of the recording, on a monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// As a duration since the start of the recording.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// The time since an earlier moment; zero if that moment is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Micros {
    /// In seconds, as in a timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Identifies an operation within its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    /// The client process.
    pub process: u32,
    /// The operation's number within the process.
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
    /// It was answered: a write is committed, a read has its answer, which may be "not found".
    Ok(Answered),
    /// It was definitely not applied: refused by the bank or a node, or not sent.
    Refused(Refused),
    /// It may or may not have been applied.
    Unknown(Unknown),
    /// A request of the schedule was not sent, because too many were in flight.
    #[serde(rename = "late")]
    NotSent(NotSent),
    /// A fault begins or ends.
    Fault(FaultEvent),
    /// The run enters another phase.
    Phase(PhaseEvent),
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
            Self::NotSent(event) => event.at,
            Self::Fault(event) => event.at,
            Self::Phase(event) => event.at,
        }
    }
}

/// A request is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoke {
    /// The client process.
    pub process: u32,
    /// The operation's number, unique within the process.
    pub operation: u64,
    /// When it was sent: not later than its first byte.
    pub at: Micros,
    /// Its scheduled start. Latencies count from here.
    pub intended: Micros,
    /// The name of the node that it is sent to.
    pub node: String,
    /// The request.
    #[serde(rename = "ask")]
    pub request: Request,
}

/// A request to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A write under an idempotency key.
    Write(Box<Proposal>),
    /// A read.
    Read(Read),
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What is read.
    #[serde(rename = "of")]
    pub subject: Subject,
    /// How fresh the answer must be.
    #[serde(default)]
    pub consistency: Consistency,
    /// The node must have applied the ledger up to this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_index: Option<LogIndex>,
}

/// What a read returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A payment, by its id.
    Payment(String),
    /// The state of an idempotency key.
    Key(IdempotencyKey),
    /// An account with its balances.
    Account(AccountId),
    /// The newest payments, of one account or of all.
    Payments {
        /// Only payments from or to this account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountId>,
        /// Maximum number of payments.
        limit: u32,
    },
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Includes every write that was answered before the read began.
    #[default]
    Linearizable,
    /// The node's current state.
    Local,
}

/// A node's HTTP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The node that answered (`Quorapay-Node`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The ledger index of the answer (`Quorapay-Index`): for a write that of its entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
    /// The epoch of that entry (`Quorapay-Epoch`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The node's applied index (`Quorapay-Applied-Index`), in answers to reads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_index: Option<LogIndex>,
    /// How old the answer may be, in milliseconds (`Quorapay-Staleness-Ms`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_ms: Option<u64>,
    /// Whether it is the answer to an earlier request under the same key (`Idempotent-Replayed`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The body.
    pub body: ResponseBody,
}

/// A body, byte for byte as it was received.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResponseBody(Box<RawValue>);

impl ResponseBody {
    /// Stores a body. One that is not JSON on a single line is stored as a JSON string, so that the history remains
    /// readable.
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

impl PartialEq for ResponseBody {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ResponseBody {}

/// A request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The client process.
    pub process: u32,
    /// The operation's number.
    pub operation: u64,
    /// When the answer was complete: not earlier than its last byte.
    pub at: Micros,
    /// The response.
    #[serde(rename = "answer")]
    pub response: Response,
}

/// A request was definitely not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The client process.
    pub process: u32,
    /// The operation's number.
    pub operation: u64,
    /// When this was known.
    pub at: Micros,
    /// The code of the problem, or `not_sent` if no connection was made.
    pub code: String,
    /// The response, if there was one.
    #[serde(rename = "answer", default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// A request may or may not have been applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The client process.
    pub process: u32,
    /// The operation's number.
    pub operation: u64,
    /// When it was given up.
    pub at: Micros,
    /// The code of the problem, `timeout` or `connection_lost`.
    #[serde(rename = "why")]
    pub reason: String,
    /// The response, if there was one.
    #[serde(rename = "answer", default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// A request of the schedule was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSent {
    /// The process whose request it was.
    pub process: u32,
    /// Its scheduled start.
    pub intended: Micros,
    /// When it was given up.
    pub at: Micros,
}

/// A fault begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEvent {
    /// Identifies the fault at its beginning and its end.
    pub number: u64,
    /// Time of the event.
    pub at: Micros,
    /// Beginning or end.
    pub phase: FaultPhase,
    /// Its kind, such as `kill-leader`.
    pub kind: String,
    /// The affected processes, such as `node1`.
    pub target: String,
}

/// Beginning or end of a fault.
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
pub struct PhaseEvent {
    /// Time of the event.
    pub at: Micros,
    /// The name of the phase: `load`, `healed`, `final_reads` or `end`.
    pub name: String,
}
