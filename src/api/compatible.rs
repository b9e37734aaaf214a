//! The surfaces of two earlier systems: `SyncPay` and a fault-tolerant payment ledger. `docs/COMPATIBILITY.md` maps
//! their words to this system's. Amounts and times are decimal numbers there, written from digits and read as digits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use quorapay_core::domain::{AccountId, Currency, Epoch, IdempotencyKey, LogIndex, Timestamp};
use quorapay_core::replication::NodeId;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::NodeRole;
#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, CurrencyCode, Key, NodeIdText};

/// A JSON number by its digits: no float in between.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecimalNumber(Box<RawValue>);

impl DecimalNumber {
    /// A number from what its `Display` writes, which must be JSON.
    ///
    /// # Panics
    /// If it is no JSON.
    #[must_use]
    pub fn of(number: impl fmt::Display) -> Self {
        Self(RawValue::from_string(number.to_string()).expect("a decimal number is JSON"))
    }

    /// The JSON value as it was written: a number, if the caller kept to the contract.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }
}

/// Milliseconds as a number of seconds with three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecimalSeconds(pub i64);

impl From<Timestamp> for DecimalSeconds {
    fn from(moment: Timestamp) -> Self {
        Self(i64::try_from(moment.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for DecimalSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let milliseconds = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
    }
}

impl Serialize for DecimalSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(feature = "openapi")]
mod described {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::{DecimalNumber, DecimalSeconds};

    impl PartialSchema for DecimalNumber {
        fn schema() -> RefOr<Schema> {
            let description = "An amount in the currency's own decimals: 150.75 is 15075 cents. Never more decimals than \
                               the currency has.";
            let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0));
            number.description(Some(description)).examples([150.75]).into()
        }
    }

    impl ToSchema for DecimalNumber {}

    impl PartialSchema for DecimalSeconds {
        fn schema() -> RefOr<Schema> {
            let number = ObjectBuilder::new().schema_type(Type::Number);
            number.description(Some("Seconds with three decimals.")).examples([1_769_860_800.25]).into()
        }
    }

    impl ToSchema for DecimalSeconds {}
}

/// A payment of SyncPay. Other fields are ignored.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayPayment {
    /// How much, in the currency's own decimals.
    pub amount: DecimalNumber,
    /// The account that pays. It is opened if need be.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub sender: AccountId,
    /// The account that receives, another one than `sender`. It is opened if need be.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub receiver: AccountId,
    /// The idempotency key; a new UUID if neither this nor the header is given.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Key>))]
    pub transaction_id: Option<IdempotencyKey>,
    /// USD if absent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CurrencyCode>))]
    pub currency: Option<Currency>,
}

/// A payment of SyncPay that was made.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayReceipt<'a> {
    /// Always `success`.
    #[cfg_attr(feature = "openapi", schema(example = "success"))]
    pub status: &'static str,
    /// The payment's idempotency key.
    #[cfg_attr(feature = "openapi", schema(value_type = Key))]
    pub transaction_id: Cow<'a, IdempotencyKey>,
    /// When the ledger took it.
    pub timestamp: DecimalSeconds,
    /// How much.
    pub amount: DecimalNumber,
    /// The account that paid.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub sender: Cow<'a, AccountId>,
    /// The account that received.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub receiver: Cow<'a, AccountId>,
    /// The node that led when it was decided.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub processed_by: Cow<'a, NodeId>,
}

/// A payment in a list of SyncPay.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayTransaction<'a> {
    /// The payment's idempotency key; of a payment of a batch without one, its payment id.
    pub id: Cow<'a, str>,
    /// How much.
    pub amount: DecimalNumber,
    /// The account that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub sender: Cow<'a, AccountId>,
    /// The account that receives.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub receiver: Cow<'a, AccountId>,
    /// When the ledger took it.
    pub timestamp: DecimalSeconds,
    /// `success`, or else the status of version 1.
    #[cfg_attr(feature = "openapi", schema(example = "success"))]
    pub status: &'static str,
    /// The node that led when it was decided; `null` if that is not known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeIdText>))]
    pub processed_by: Option<Cow<'a, NodeId>>,
}

/// Payments, newest first.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayTransactions<'a> {
    /// The payments.
    pub transactions: Vec<SyncPayTransaction<'a>>,
    /// How many payments were ever decided.
    pub total_count: u64,
    /// The node that answers.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
    /// Where the list goes on, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next_cursor: Option<String>,
}

/// How a node is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayHealth<'a> {
    /// The node that answers.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
    /// `healthy`, or `unhealthy` if its ledger is damaged.
    #[cfg_attr(feature = "openapi", schema(example = "healthy"))]
    pub status: &'static str,
    /// Whether it leads.
    pub is_leader: bool,
    /// Its wall clock.
    pub timestamp: DecimalSeconds,
    /// How many payments it has applied, refused ones included.
    pub transaction_count: u64,
}

/// Another node as this one sees it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayPeer<'a> {
    /// Whether it answered and its ledger is sound.
    pub healthy: bool,
    /// When it last answered this node; `null` before that.
    pub last_seen: Option<DecimalSeconds>,
    /// Where clients reach it; `null` if it did not answer.
    pub url: Option<Cow<'a, str>>,
    /// What it is doing; `null` if it did not answer.
    pub role: Option<NodeRole>,
    /// Highest index that reads there show; `null` if it did not answer.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub applied_index: Option<LogIndex>,
}

/// How far a node is.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayReplication<'a> {
    /// What it is doing.
    pub role: NodeRole,
    /// The leader, as far as it knows.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeIdText>))]
    pub leader: Option<Cow<'a, NodeId>>,
    /// The epoch that it leads or follows.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// End of its log.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub last_index: LogIndex,
    /// Highest index known to be on a quorum.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub commit_index: LogIndex,
    /// Highest index that reads here show.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub applied_index: LogIndex,
    /// Committed entries that reads here do not show yet.
    pub lag_entries: u64,
    /// How old a local read may be.
    pub staleness_ms: u64,
}

/// A node and what it sees of the others.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayStatus<'a> {
    /// The node that answers.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Every other node, by its id.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, SyncPayPeer>))]
    pub peer_health: BTreeMap<&'a NodeId, SyncPayPeer<'a>>,
    /// How far it is.
    pub replication_status: SyncPayReplication<'a>,
    /// By how many seconds its clock is ahead of the leader's; `null` while no leader answers.
    pub time_offset: Option<DecimalSeconds>,
}

/// The process answers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncPayPing<'a> {
    /// Always `ok`.
    #[cfg_attr(feature = "openapi", schema(example = "ok"))]
    pub status: &'static str,
    /// The node that answers.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
}

/// A transfer of the fault-tolerant ledger. Other fields are ignored.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transfer {
    /// The number of the account that pays: it is the account named by these digits, and must exist.
    #[cfg_attr(feature = "openapi", schema(maximum = 18_446_744_073_709_551_615_u64))]
    pub from_id: u64,
    /// The number of the account that receives, another one than `from_id`. It must exist.
    #[cfg_attr(feature = "openapi", schema(maximum = 18_446_744_073_709_551_615_u64))]
    pub to_id: u64,
    /// How much, in the currency's own decimals.
    pub amount: DecimalNumber,
    /// USD if absent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<CurrencyCode>))]
    pub currency: Option<Currency>,
}

/// A transfer that was made.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransferReceipt {
    /// Always `success`.
    #[cfg_attr(feature = "openapi", schema(example = "success"))]
    pub status: &'static str,
    /// Whether it was made now or by an earlier call with the same key.
    #[cfg_attr(feature = "openapi", schema(example = "Transfer Complete"))]
    pub message: &'static str,
    /// How much.
    pub amount: DecimalNumber,
}

/// An error in the shape of the earlier systems, with what helps a caller to go on.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlainError<'a> {
    /// What happened, for people.
    pub error: Cow<'a, str>,
    /// Where an open outcome can be looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub by_key_url: Option<Cow<'a, str>>,
    /// The index that a read waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub wanted_index: Option<LogIndex>,
    /// The index that the node had applied by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub applied_index: Option<LogIndex>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_number_of_seconds_with_three_decimals() {
        for (milliseconds, text) in
            [(1_700_000_000_005, "1700000000.005"), (0, "0.000"), (-1_020, "-1.020"), (-7, "-0.007")]
        {
            assert_eq!(DecimalSeconds(milliseconds).to_string(), text);
            assert_eq!(serde_json::to_string(&DecimalSeconds(milliseconds)).expect("JSON"), text);
        }
        assert_eq!(DecimalSeconds::from(Timestamp(u64::MAX)).to_string(), "9223372036854775.807");
    }
}
