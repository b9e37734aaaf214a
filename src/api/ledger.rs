//! Raw entries of the ledger: what each holds, for those who check the history themselves.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use quorapay_core::domain::{
    AccountId, AccountOutcome, AccountPrefix, AccountStatus, ApiKeyId, ApiKeyName, ApiKeyOutcome, BatchOutcome,
    Currency, Epoch, IdempotencyKey, LogIndex, MinorUnits, Overdraft, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, RuleVersion, SecretDigest, Timestamp,
};
use quorapay_core::replication::{NodeId, StoreId};
use serde::{Deserialize, Serialize};

use crate::payment::payment_id;
#[cfg(feature = "openapi")]
use crate::schema::{
    AccountIdText, AccountPrefixText, AccountStatusWord, Amount, ApiKeyIdText, ApiKeyLimits, ApiKeyNameText, Balance,
    CurrencyCode, Key, NodeIdText, OverdraftText, PaymentIdText, ScopeWord, SecretDigestText,
};
use crate::wire_enum::wire_enum;
use crate::{Capture, Metadata, Order, Rfc3339};

wire_enum! {
    /// What was decided.
    Decision as "DecisionWord" {
        /// A payment was made.
        Succeeded = "succeeded",
        /// A payment's money was set aside.
        Authorized = "authorized",
        /// The bank refused.
        Rejected = "rejected",
        /// A payment of a batch repeats an earlier one.
        Repeated = "repeated",
        /// A change was made.
        Applied = "applied",
        /// Each payment of a batch has its own outcome.
        Decided = "decided",
        /// No payment of a batch was made.
        Aborted = "aborted",
    }
}

impl From<PaymentOutcome> for Decision {
    fn from(outcome: PaymentOutcome) -> Self {
        match outcome {
            PaymentOutcome::Succeeded { .. } => Self::Succeeded,
            PaymentOutcome::Authorized { .. } => Self::Authorized,
            PaymentOutcome::Rejected(_) => Self::Rejected,
            PaymentOutcome::Repeated { .. } => Self::Repeated,
        }
    }
}

impl From<ApiKeyOutcome> for Decision {
    fn from(outcome: ApiKeyOutcome) -> Self {
        match outcome {
            ApiKeyOutcome::Applied => Self::Applied,
            ApiKeyOutcome::Rejected(_) => Self::Rejected,
        }
    }
}

impl From<AccountOutcome> for Decision {
    fn from(outcome: AccountOutcome) -> Self {
        match outcome {
            AccountOutcome::Applied => Self::Applied,
            AccountOutcome::Rejected(_) => Self::Rejected,
        }
    }
}

impl From<PaymentChangeOutcome> for Decision {
    fn from(outcome: PaymentChangeOutcome) -> Self {
        match outcome {
            PaymentChangeOutcome::Applied { .. } => Self::Applied,
            PaymentChangeOutcome::Rejected(_) => Self::Rejected,
        }
    }
}

impl From<BatchOutcome> for Decision {
    fn from(outcome: BatchOutcome) -> Self {
        match outcome {
            BatchOutcome::Decided => Self::Decided,
            BatchOutcome::Aborted => Self::Aborted,
        }
    }
}

wire_enum! {
    /// What was asked of an account or of a payment.
    ChangeWord as "RawChangeWord" {
        /// Open an account.
        Open = "open",
        /// Change an account.
        Change = "change",
        /// Capture a hold.
        Capture = "capture",
        /// Void a hold.
        Void = "void",
        /// Refund a payment.
        Refund = "refund",
    }
}

impl From<PaymentChangeKind> for ChangeWord {
    fn from(change: PaymentChangeKind) -> Self {
        match change {
            PaymentChangeKind::Capture(_) => Self::Capture,
            PaymentChangeKind::Void => Self::Void,
            PaymentChangeKind::Refund(_) => Self::Refund,
        }
    }
}

/// A node that votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RawVoter))]
pub struct LedgerVoter<'a> {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: Cow<'a, NodeId>,
    /// The ledger file that counts for it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{32}$"))]
    pub store_id: StoreId,
    /// Where its peers reach it.
    pub peer_url: Cow<'a, str>,
}

/// A payment as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EntryPayment<'a> {
    /// Names the payment.
    #[serde(with = "payment_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
    pub payment_id: PaymentId,
    /// What was decided.
    pub status: Decision,
    /// The account that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub from: Cow<'a, AccountId>,
    /// The account that receives.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub to: Cow<'a, AccountId>,
    /// How much was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// When the money is taken.
    pub capture: Capture,
    /// The order that it pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub order: Option<Order>,
    /// Free text of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub description: Option<Cow<'a, str>>,
    /// A JSON object of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Object))]
    pub metadata: Option<Metadata<'a>>,
    /// Posted balance of the paying account right after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Balance))]
    pub from_balance: Option<MinorUnits>,
    /// Posted balance of the receiving account right after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Balance))]
    pub to_balance: Option<MinorUnits>,
    /// Of a hold: all that is held of the paying account right after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Balance))]
    pub from_held: Option<MinorUnits>,
    /// When the hold ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub expires_at: Option<Rfc3339>,
    /// Where the payment stands that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub repeats_index: Option<LogIndex>,
}

/// A payment of a batch as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RawPayment))]
pub struct BatchedPayment<'a> {
    /// The payment.
    #[serde(flatten)]
    pub payment: EntryPayment<'a>,
    /// Why the bank refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rejection: Option<Cow<'a, str>>,
    /// The payment's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Key))]
    pub idempotency_key: Option<Cow<'a, IdempotencyKey>>,
}

/// What an entry holds. `kind` says which of the forms it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EntryContent<'a> {
    /// The first entry of an epoch.
    EpochStart {
        /// The leader of the epoch.
        #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
        leader: Cow<'a, NodeId>,
        /// The version of the rules by which the entries of the epoch are decided.
        #[cfg_attr(feature = "openapi", schema(value_type = u32))]
        rule_version: RuleVersion,
    },
    /// Who votes from here on.
    Configuration {
        /// The nodes that vote.
        voters: Vec<LedgerVoter<'a>>,
    },
    /// A payment, made or refused.
    Payment(EntryPayment<'a>),
    /// A capture, a void or a refund, made or refused.
    PaymentChange {
        /// The payment concerned.
        #[serde(with = "payment_id")]
        #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
        payment_id: PaymentId,
        /// What was decided.
        status: Decision,
        /// What was asked for.
        change: ChangeWord,
        /// The amount that the caller named.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = Amount))]
        named_amount: Option<MinorUnits>,
        /// How much was captured, released or given back.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = Amount))]
        amount: Option<MinorUnits>,
        /// Posted balance of the account that paid, right after it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = Balance))]
        from_balance: Option<MinorUnits>,
        /// Posted balance of the account that received, right after it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = Balance))]
        to_balance: Option<MinorUnits>,
        /// The account that pays.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = AccountIdText))]
        from: Option<Cow<'a, AccountId>>,
        /// The account that receives.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = AccountIdText))]
        to: Option<Cow<'a, AccountId>>,
        /// The currency of all amounts.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = CurrencyCode))]
        currency: Option<Currency>,
    },
    /// The end of a hold whose time was up.
    Expiry {
        /// The payment concerned.
        #[serde(with = "payment_id")]
        #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
        payment_id: PaymentId,
        /// How much was released.
        #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
        amount: MinorUnits,
        /// The account that pays.
        #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
        from: Cow<'a, AccountId>,
        /// The account that receives.
        #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
        to: Cow<'a, AccountId>,
        /// The currency of the amount.
        #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
        currency: Currency,
    },
    /// Many payments, each made or refused.
    Batch {
        /// What became of it as a whole.
        status: Decision,
        /// All or none.
        atomic: bool,
        /// The payments, in order.
        payments: Vec<BatchedPayment<'a>>,
    },
    /// A change of an account, made or refused.
    Account {
        /// What was decided.
        status: Decision,
        /// The account concerned.
        #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
        account: Cow<'a, AccountId>,
        /// What was asked for.
        change: ChangeWord,
        /// How far below zero it may go from now on.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = OverdraftText))]
        overdraft: Option<Overdraft>,
        /// Whether it may be used from now on.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = AccountStatusWord))]
        account_status: Option<AccountStatus>,
    },
    /// A key that was used up for nothing.
    Fence,
    /// A change of an API key, made or refused.
    ApiKey {
        /// What was decided.
        status: Decision,
        /// The API key concerned.
        #[cfg_attr(feature = "openapi", schema(value_type = ApiKeyIdText))]
        api_key: ApiKeyId,
        /// `create`, `rotate` or `revoke`.
        change: Cow<'a, str>,
        /// SHA-256 of the secret, if one was set.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = SecretDigestText))]
        secret_sha256: Option<SecretDigest>,
        /// Of a rotation: for how many seconds the old secret stays valid.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(nullable = false))]
        old_valid_for_s: Option<u32>,
        /// Of a new key: what people call it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = ApiKeyNameText))]
        name: Option<Cow<'a, ApiKeyName>>,
        /// Of a new key: the calls that it allows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<ScopeWord>))]
        scopes: Vec<Cow<'a, str>>,
        /// Of a new key: what the accounts that pay begin with.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>))]
        debit_prefixes: BTreeSet<AccountPrefix>,
        /// Of a new key: what the accounts that receive begin with.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<AccountPrefixText>))]
        credit_prefixes: BTreeSet<AccountPrefix>,
        /// Of a new key: the most that one movement of money may be.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[cfg_attr(feature = "openapi", schema(required = false, value_type = ApiKeyLimits))]
        limits: BTreeMap<Currency, MinorUnits>,
        /// Of a new key: when it ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(nullable = false))]
        expires_at: Option<Rfc3339>,
    },
}

/// An entry of the ledger. `kind` says which of the other fields it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RawEntry))]
pub struct LedgerEntry<'a> {
    /// Its place.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// Leadership that appended it.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// Milliseconds since the Unix epoch; never smaller than the entry before.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub timestamp: Timestamp,
    /// What it holds.
    // `None` if a reader does not know its kind; nodes always write one.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = EntryContent))]
    pub content: Option<EntryContent<'a>>,
    /// Why the bank refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rejection: Option<Cow<'a, str>>,
    /// The API key with which it was asked for, if it was with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = ApiKeyIdText))]
    pub principal: Option<ApiKeyId>,
    /// The key under which it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Key))]
    pub idempotency_key: Option<Cow<'a, IdempotencyKey>>,
    /// Tells a repeated request from another one under the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, pattern = "^[0-9a-f]{32}$"))]
    pub fingerprint: Option<String>,
    /// SHA-256 over the hash of the entry before and the canonical bytes of this one.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{64}$"))]
    pub hash: String,
}

/// Entries in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerPage<'a> {
    /// The entries; none at the end of the ledger.
    pub entries: Vec<LedgerEntry<'a>>,
    /// Where the ledger goes on.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub next_index: LogIndex,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_an_unknown_kind_is_still_read() {
        let text = r#"{"index":7,"epoch":2,"timestamp":5,"kind":"dispute","reason":"x","hash":"00"}"#;
        let entry: LedgerEntry<'_> = serde_json::from_str(text).expect("an entry");
        assert_eq!((entry.index, entry.content, entry.hash.as_str()), (LogIndex(7), None, "00"));
        let fence = text.replace("dispute", "fence");
        let entry: LedgerEntry<'_> = serde_json::from_str(&fence).expect("an entry");
        assert_eq!(entry.content, Some(EntryContent::Fence));
    }
}
