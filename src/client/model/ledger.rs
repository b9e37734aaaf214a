//! Raw entries of the ledger.

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{Epoch, LogIndex};

/// One entry. What it holds differs from kind to kind, so it is kept as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place.
    pub index: LogIndex,
    /// The leadership that appended it.
    pub epoch: Epoch,
    /// `payment`, `batch`, `payment_change`, `expiry`, `account`, `fence`, `epoch_start` or `configuration`.
    pub kind: String,
    /// The chain's hash there, in hexadecimal digits.
    pub hash: String,
    /// Everything else.
    #[serde(flatten)]
    pub members: serde_json::Map<String, serde_json::Value>,
}

/// A stretch of the ledger, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// The entries; none at the end of the ledger.
    pub entries: Vec<LedgerEntry>,
    /// Where the next stretch begins.
    pub next_index: LogIndex,
}
