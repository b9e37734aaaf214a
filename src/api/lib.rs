//! The HTTP contract of version 1 as types. A field, a code, a header, a parameter or a limit of the API has its name
//! here and nowhere else: nodes write these types, clients read them, and the OpenAPI description is derived from them.
//!
//! ```text
//! payment          payments in answers: status, history, pages, captures and refunds
//! payment_request  payments in requests, by themselves or in a batch
//! strict           how nodes read the fields of requests: one form for each value, and a clear error for any other
//! batch            batches and their results
//! account          accounts, changes of them, statements
//! api_key          API keys
//! key              what an idempotency key was used for
//! ledger           raw entries
//! export           whole lists as rows
//! backup           the ledger's entries as bytes
//! cluster          the nodes, their state, and the hand-over of leadership
//! metrics          the metrics as JSON
//! compatible       the surfaces of two earlier systems
//! problem          errors: RFC 9457 problem details
//! code             the stable codes of problems
//! query            parameters of lists and reads
//! headers          names of headers
//! limits           how long and how many
//! time             RFC 3339
//! wire_enum        enums that read unknown values
//! parameters       OpenAPI descriptions of headers and parameters (feature `openapi`)
//! schema           OpenAPI schemas of the core's types (feature `openapi`)
//! ```
//!
//! Types that are written on hot paths borrow: `Payment<'entry>` is made from an entry of the ledger without copying
//! it, and `Payment<'static>` is what a client reads. Readers ignore fields that they do not know and keep an unknown
//! value of an enum as `Other`, so that an older client can talk to a newer node.
//!
//! It knows no server, no client and no runtime.

pub mod compatible;
pub mod headers;
pub mod limits;
pub mod query;

mod account;
mod api_key;
mod backup;
mod batch;
mod cluster;
mod code;
mod export;
mod key;
mod ledger;
mod metrics;
#[cfg(feature = "openapi")]
mod parameters;
mod payment;
mod payment_request;
mod problem;
#[cfg(feature = "openapi")]
pub mod schema;
mod strict;
mod time;
mod wire_enum;

pub use account::{
    Account, AccountAtIndex, AccountBalance, AccountPage, AccountSettings, ChangedAccount, NewAccount, Statement,
    StatementEntry, StatementEntryKind,
};
pub use api_key::{ApiKeyList, ApiKeyRotation, ApiKeyView, ChangedApiKey, NewApiKey};
pub use backup::{BACKUP_HASH_BYTES, BACKUP_LENGTH_BYTES, MAX_BACKUP_PIECE_BYTES};
#[cfg(feature = "openapi")]
pub use batch::{BatchBody, BatchLinesBody};
pub use batch::{BatchObject, BatchStatus, BatchSummary, DecidedBatch, ItemResult};
pub use cluster::{
    Alive, ClockReport, ClusterView, ConfigurationView, FollowerProgress, LeadershipTransfer, NewLeader, NodeReport,
    NodeRole, NodeView, Readiness, VoterView,
};
pub use code::{Code, reason};
pub use export::{ExportFormat, ExportTrailer};
pub use key::{ChangeByKey, ChangeOfNoPayment, KeyLookup, KeyState};
pub use ledger::{
    BatchedPayment, ChangeWord, Decision, EntryContent, EntryPayment, LedgerEntry, LedgerPage, LedgerVoter,
};
pub use metrics::{MetricsFormat, Numbers, Timer};
pub use payment::{
    Capture, ChangeKind, ChangedPayment, HistoryStep, Metadata, Order, Payment, PaymentBalances, PaymentChange,
    PaymentPage, PaymentStatus, PaymentWithHistory,
};
pub use payment_request::{BatchItem, ChangeAmount, KeyInHeader, NewPayment, Nothing};
pub use problem::{Problem, ProblemPayment, ReportedOutcome};
pub use time::Rfc3339;
