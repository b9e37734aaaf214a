//! What an audit can find, as text and as JSON.

use serde::Serialize;

use quorapay_core::domain::LogIndex;

/// Damage or a contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A row is not what this program writes. The rest of the ledger was not checked.
    #[error("the ledger cannot be read after entry {after}: {reason}")]
    Unreadable {
        /// The last entry that could be read.
        after: LogIndex,
        /// What is wrong.
        reason: String,
    },
    /// There is a hole in the log. The rest of the ledger was not checked.
    #[error("entry {index} is missing")]
    Missing {
        /// The first entry that is missing.
        index: LogIndex,
    },
    /// An entry does not match its hash. The rest of the ledger was not checked.
    #[error("the chain of hashes breaks at entry {index}")]
    ChainBroken {
        /// The entry.
        index: LogIndex,
    },
    /// Timestamps go back.
    #[error("entry {index} is older than the one before it")]
    TimeWentBack {
        /// The younger entry.
        index: LogIndex,
    },
    /// The replayed bank has another result than the entry. The rest of the ledger was not replayed.
    #[error("entry {index}: {reason}")]
    Diverged {
        /// The entry.
        index: LogIndex,
        /// What differs.
        reason: String,
    },
    /// The balances in a currency do not add up to zero.
    #[error("all accounts together hold {total} minor units of {currency}, and not zero")]
    Unbalanced {
        /// The currency.
        currency: String,
        /// Their sum.
        total: i128,
    },
    /// The log is shorter than it has been.
    #[error("the ledger ends at {last}, below {mark}, up to where it was committed and durable")]
    EndsTooEarly {
        /// The end of the log.
        last: LogIndex,
        /// Commit index or watermark.
        mark: LogIndex,
    },
    /// The views cannot be read.
    #[error("the views cannot be read: {reason}")]
    ViewsUnreadable {
        /// The cause.
        reason: String,
    },
    /// The views do not belong to this ledger's history.
    #[error("the views are of another history than this ledger at entry {index}")]
    ViewsOfAnotherHistory {
        /// Their projected index.
        index: LogIndex,
    },
    /// The views' accounts and balances are not those of the replayed bank.
    #[error("the balances in the views are not those of the ledger at entry {index}, first at account {account}")]
    ViewsBalances {
        /// Their projected index.
        index: LogIndex,
        /// The first account that differs.
        account: String,
    },
    /// The views and the ledger differ in a payment's hold.
    #[error("the hold of payment {payment} in the views is not that of the ledger at entry {index}")]
    ViewsHold {
        /// Their projected index.
        index: LogIndex,
        /// The first payment that differs.
        payment: String,
    },
    /// The views and the ledger differ in a payment's latest change.
    #[error(
        "payment {item} of entry {payment} has another latest change in the views than in the ledger at entry {index}"
    )]
    ViewsChange {
        /// Their projected index.
        index: LogIndex,
        /// The entry that decided the first payment that differs.
        payment: LogIndex,
        /// Its number there.
        item: u16,
    },
    /// The views and the ledger differ in an order.
    #[error("the orders in the views are not those of the ledger at entry {index}: {order}")]
    ViewsOrder {
        /// Their projected index.
        index: LogIndex,
        /// The first order that differs, or how many there are.
        order: String,
    },
    /// A key, a posting or an order's payment of this entry is not in the views.
    #[error("the views lack a key, a posting or an order's payment of entry {index}")]
    ViewsLack {
        /// The entry.
        index: LogIndex,
    },
    /// The views hold keys, postings or payments of orders that the ledger does not.
    #[error("the views hold {found} keys, postings and payments of orders at entry {index}, the ledger {expected}")]
    ViewsCount {
        /// Their projected index.
        index: LogIndex,
        /// How many the views hold.
        found: u64,
        /// How many the ledger holds.
        expected: u64,
    },
}
