//! What travels over HTTP, version 1, as the client reads and writes it. Members that it does not know are ignored, so
//! that an older client can talk to a newer node.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{AccountId, Currency, MinorUnits, Overdraft};
use crate::replication::{Epoch, LogIndex, NodeId};

/// The body of `POST /v1/payments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPayment {
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// Positive.
    pub amount: MinorUnits,
    /// The currency of `amount`.
    pub currency: Currency,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON object of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The money moved.
    Succeeded,
    /// The bank refused it; nothing moved.
    Rejected,
    /// A status that this client does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Other => "other",
        })
    }
}

/// Posted balances right after a payment, in its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentBalances {
    /// Of the paying account.
    pub from: MinorUnits,
    /// Of the receiving account.
    pub to: MinorUnits,
}

/// A payment as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why the bank refused it, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// How much.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON object of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The leadership that appended it.
    #[serde(default)]
    pub epoch: Epoch,
    /// Posted balances right after it; absent where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balances: Option<PaymentBalances>,
}

/// Which payments to list. Empty means every payment, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Paid or received by this account.
    pub account: Option<AccountId>,
    /// In this status.
    pub status: Option<PaymentStatus>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// Not before, RFC 3339.
    pub from_time: Option<String>,
    /// Before, RFC 3339.
    pub to_time: Option<String>,
}

/// Which part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// `next_cursor` of the page before; the first page without one.
    pub cursor: Option<String>,
    /// How many rows at most, 1 to 1,000; the node's default without one.
    pub limit: Option<u32>,
}

/// One page of payments, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentPage {
    /// The payments.
    pub payments: Vec<Payment>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// What is known of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Decided by a committed entry.
    Committed,
    /// Appended, not yet committed.
    InFlight,
    /// Not in the ledger as of the index; a request on its way may still come.
    Unknown,
}

/// The answer of `GET /v1/payments/by-key/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLookup {
    /// Where the key stands.
    pub state: KeyState,
    /// The payment, if it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// As of this place in the ledger.
    pub as_of_index: LogIndex,
}

/// What an account holds of one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountBalance {
    /// The currency.
    pub currency: Currency,
    /// What was moved.
    pub posted: MinorUnits,
    /// What is set aside.
    pub held: MinorUnits,
    /// What may be paid; absent where nothing limits it.
    #[serde(default)]
    pub available: Option<MinorUnits>,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// How far below zero it may go.
    pub overdraft: Overdraft,
    /// What it holds, by currency.
    pub balances: Vec<AccountBalance>,
    /// As of this place in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
}

/// An account's policy after it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The account.
    pub id: AccountId,
    /// How far below zero it may go from now on.
    pub overdraft: Overdraft,
    /// The ledger entry that changed it.
    pub index: LogIndex,
}

/// One page of accounts, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPage {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementEntry {
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The payment.
    pub payment_id: String,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Signed: negative where the account paid.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// The account's balance right after.
    pub balance: MinorUnits,
    /// The other account.
    pub counterparty: AccountId,
}

/// One page of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The account.
    pub account: AccountId,
    /// Its lines.
    pub entries: Vec<StatementEntry>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Leads and takes payments.
    Leader,
    /// Won an epoch and is recovering the log.
    Recovering,
    /// Follows a leader, or waits for one.
    Follower,
    /// Receives entries but does not vote.
    Learner,
    /// Its ledger is damaged.
    Quarantined,
    /// A role that this client does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Recovering => "recovering",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Quarantined => "quarantined",
            Self::Other => "other",
        })
    }
}

/// What the leader knows of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerProgress {
    /// Highest index known to be durable there and equal to the leader's.
    pub matched_index: LogIndex,
    /// How many entries it is behind.
    pub lag: u64,
}

/// A node's account of itself, as far as clients show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// What it is doing.
    pub role: NodeRole,
    /// The epoch that it leads or follows.
    pub epoch: Epoch,
    /// End of its log.
    pub last_index: LogIndex,
    /// Highest index known to be on a quorum.
    pub commit_index: LogIndex,
    /// Highest index that reads there show.
    pub applied_index: LogIndex,
    /// Whether its ZooKeeper session is connected.
    pub zookeeper_connected: bool,
    /// Why it quarantined itself, if it did.
    #[serde(default)]
    pub quarantine: Option<String>,
    /// At the leader: each peer's progress.
    #[serde(default)]
    pub followers: BTreeMap<NodeId, FollowerProgress>,
    /// Where clients reach it.
    pub client_url: String,
    /// Version of its program.
    pub version: String,
}

/// One node of `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node_id: NodeId,
    /// Where its peers reach it.
    pub peer_url: String,
    /// Whether it answered the node that was asked.
    pub reachable: bool,
    /// Its own account, if it answered.
    pub status: Option<NodeReport>,
}

/// The answer of `GET /readyz` from a node that can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Always `ready`; a node that is not answers with a problem.
    pub status: String,
    /// The node that answered.
    pub node_id: NodeId,
    /// What it is doing.
    pub role: NodeRole,
    /// The leader that it follows, or itself.
    pub leader: NodeId,
    /// `connected` or `disconnected`.
    pub zookeeper: String,
}

/// The answer of `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The node that answered.
    pub node_id: NodeId,
    /// The leader, as far as it knows.
    pub leader: Option<NodeId>,
    /// The epoch that it follows.
    pub epoch: Epoch,
    /// Every node.
    pub nodes: Vec<NodeView>,
}
