//! What travels over HTTP, version 1, as the client reads and writes it. Members that it does not know are ignored, so
//! that an older client can talk to a newer node.

mod account;
mod batch;
mod cluster;
mod key;
mod ledger;
mod payment;

pub use account::{
    Account, AccountBalance, AccountChanged, AccountPage, AccountSettings, Statement, StatementEntry, StatementFilter,
};
pub use batch::{BatchItem, BatchLines, BatchLinesFull, BatchResult, ItemResult};
pub use cluster::{ClusterView, FollowerProgress, NodeReport, NodeRole, NodeView, Readiness};
pub use key::{BatchSummary, KeyLookup, KeyState};
pub use ledger::{LedgerEntry, LedgerPage};
pub use payment::{
    Capture, ChangedPayment, HistoryStep, NewPayment, Order, Payment, PaymentBalances, PaymentChange, PaymentFilter,
    PaymentPage, PaymentStatus,
};

/// Which part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `next_cursor` of the page before; the first page without one.
    pub cursor: Option<String>,
    /// How many rows at most, 1 to 1,000; the node's default without one.
    pub limit: Option<u32>,
}
