//! The JSON in a row's `detail`: the parts that only some kinds of entries have.
//!
//! Each type is written from borrowed parts and read into owned ones, hence the `Cow`s: a batch holds ten thousand
//! payments, and copying their texts in order to write them would cost more than writing them.

use std::borrow::Cow;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::LedgerError;
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountStatus, ApiKeyChange, ApiKeyChangeKind,
    ApiKeyGrant, ApiKeyId, ApiKeyOutcome, Batch, Capture, Currency, DecidedItem, Fingerprint, HoldEnd, IdempotencyKey,
    LogIndex, MinorUnits, OrderCap, OrderId, OrderState, Overdraft, PaymentId, PaymentOutcome, PaymentRequest,
    PaymentState, Rejection, RuleVersion, SecretDigest,
};
use quorapay_core::replication::NodeId;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochStartDetail {
    pub(super) leader: NodeId,
    /// The rules by which the entries of the epoch are decided.
    pub(super) rules: RuleVersion,
}

/// The parts of a payment that have no column.
///
/// The metadata is a JSON text inside the JSON, because its very bytes are hashed.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentDetail<'a> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rejection: Option<Rejection>,
    /// Of an authorization: the held amount of the paying account right after it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from_held: Option<MinorUnits>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at_ms: Option<u64>,
    /// In a batch: the index of the entry that holds the payment's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    repeats: Option<LogIndex>,
    /// Of a payment that is not captured at once: the requested lifetime of its hold.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_in_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    order: Option<Cow<'a, OrderCap>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    order_before: Option<OrderState>,
    #[serde(skip_serializing_if = "is_false", default)]
    opens_accounts: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    description: Option<Cow<'a, CompactString>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    metadata: Option<Cow<'a, CompactString>>,
}

/// The parts of a payment that have columns, or members of the same names in a batch's item.
pub(super) struct PaymentColumns {
    pub(super) from: AccountId,
    pub(super) to: AccountId,
    pub(super) amount: MinorUnits,
    pub(super) currency: Currency,
    /// Both or none.
    pub(super) balances: (Option<MinorUnits>, Option<MinorUnits>),
}

/// The posted balances of an outcome.
pub(super) const fn balances(outcome: PaymentOutcome) -> (Option<MinorUnits>, Option<MinorUnits>) {
    match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => (Some(from_balance), Some(to_balance)),
        PaymentOutcome::Rejected(_) | PaymentOutcome::Authorized { .. } | PaymentOutcome::Repeated { .. } => {
            (None, None)
        }
    }
}

impl<'a> PaymentDetail<'a> {
    /// `None` for a plain payment, as nearly all are.
    pub(super) fn of(
        request: &'a PaymentRequest,
        order_before: Option<OrderState>,
        outcome: PaymentOutcome,
    ) -> Option<Self> {
        let plain = matches!(outcome, PaymentOutcome::Succeeded { .. })
            && matches!(request.capture, Capture::Automatic)
            && request.order.is_none()
            && order_before.is_none()
            && !request.opens_accounts
            && request.description.is_none()
            && request.metadata.is_none();
        if plain {
            return None;
        }
        let mut detail = Self {
            expires_in_s: match request.capture {
                Capture::Automatic => None,
                Capture::Manual { expires_in_s } => Some(expires_in_s),
            },
            order: request.order.as_deref().map(Cow::Borrowed),
            order_before,
            opens_accounts: request.opens_accounts,
            description: request.description.as_ref().map(Cow::Borrowed),
            metadata: request.metadata.as_ref().map(Cow::Borrowed),
            ..Self::default()
        };
        match outcome {
            PaymentOutcome::Succeeded { .. } => {}
            PaymentOutcome::Rejected(rejection) => detail.rejection = Some(rejection),
            PaymentOutcome::Authorized { from_held, expires_at_ms } => {
                (detail.from_held, detail.expires_at_ms) = (Some(from_held), Some(expires_at_ms));
            }
            PaymentOutcome::Repeated { index } => detail.repeats = Some(index),
        }
        Some(detail)
    }

    /// The payment with these columns and this detail.
    pub(super) fn join(
        self,
        columns: PaymentColumns,
    ) -> Result<(PaymentRequest, Option<OrderState>, PaymentOutcome), LedgerError> {
        let PaymentColumns { from, to, amount, currency, balances } = columns;
        let outcome = match (self.rejection, self.from_held.zip(self.expires_at_ms), self.repeats, balances) {
            (None, None, None, (Some(from_balance), Some(to_balance))) => {
                PaymentOutcome::Succeeded { from_balance, to_balance }
            }
            (Some(rejection), None, None, (None, None)) => PaymentOutcome::Rejected(rejection),
            (None, Some((from_held, expires_at_ms)), None, (None, None)) => {
                PaymentOutcome::Authorized { from_held, expires_at_ms }
            }
            (None, None, Some(index), (None, None)) => PaymentOutcome::Repeated { index },
            _ => return Err(LedgerError::Damaged("its outcome contradicts itself".to_owned())),
        };
        let capture = self.expires_in_s.map_or(Capture::Automatic, |expires_in_s| Capture::Manual { expires_in_s });
        let request = PaymentRequest {
            from,
            to,
            amount,
            currency,
            capture,
            order: self.order.map(|order| Box::new(order.into_owned())),
            opens_accounts: self.opens_accounts,
            description: self.description.map(Cow::into_owned),
            metadata: self.metadata.map(Cow::into_owned),
        };
        Ok((request, self.order_before, outcome))
    }
}

/// The payments of a batch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchDetail<'a> {
    pub(super) atomic: bool,
    items: Vec<ItemDetail<'a>>,
}

/// A payment of a batch, with the members that a row has as columns.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemDetail<'a> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    idempotency_key: Option<Cow<'a, IdempotencyKey>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    fingerprint: Option<HexFingerprint>,
    from_account: Cow<'a, AccountId>,
    to_account: Cow<'a, AccountId>,
    amount: MinorUnits,
    currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    from_balance: Option<MinorUnits>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    to_balance: Option<MinorUnits>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    detail: Option<PaymentDetail<'a>>,
}

impl<'a> BatchDetail<'a> {
    pub(super) fn of(batch: &'a Batch) -> Self {
        Self { atomic: batch.atomic, items: batch.items.iter().map(ItemDetail::of).collect() }
    }

    pub(super) fn into_items(self) -> Result<Vec<DecidedItem>, LedgerError> {
        self.items.into_iter().map(ItemDetail::into_item).collect()
    }
}

impl<'a> ItemDetail<'a> {
    fn of(item: &'a DecidedItem) -> Self {
        let DecidedItem { key, request, order_before, outcome } = item;
        let (from_balance, to_balance) = balances(*outcome);
        Self {
            idempotency_key: key.as_ref().map(|(key, _)| Cow::Borrowed(key)),
            fingerprint: key.as_ref().map(|(_, fingerprint)| HexFingerprint(*fingerprint)),
            from_account: Cow::Borrowed(&request.from),
            to_account: Cow::Borrowed(&request.to),
            amount: request.amount,
            currency: request.currency,
            from_balance,
            to_balance,
            detail: PaymentDetail::of(request, *order_before, *outcome),
        }
    }

    fn into_item(self) -> Result<DecidedItem, LedgerError> {
        let key = match (self.idempotency_key, self.fingerprint) {
            (Some(key), Some(HexFingerprint(fingerprint))) => Some((key.into_owned(), fingerprint)),
            (None, None) => None,
            _ => return Err(LedgerError::Damaged("an item has half a key".to_owned())),
        };
        let columns = PaymentColumns {
            from: self.from_account.into_owned(),
            to: self.to_account.into_owned(),
            amount: self.amount,
            currency: self.currency,
            balances: (self.from_balance, self.to_balance),
        };
        let (request, order_before, outcome) = self.detail.unwrap_or_default().join(columns)?;
        Ok(DecidedItem { key, request, order_before, outcome })
    }
}

/// A fingerprint as 32 hexadecimal digits: JSON has no bytes.
struct HexFingerprint(Fingerprint);

impl Serialize for HexFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 32];
        hex::encode_to_slice(self.0.0, &mut text).expect("32 digits for 16 bytes");
        serializer.serialize_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl<'de> Deserialize<'de> for HexFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Compact strings hold 24 bytes in place; these 32 digits would be copied to the heap.
        let text = <&str>::deserialize(deserializer)?;
        let mut fingerprint = [0; 16];
        let is_hex = hex::decode_to_slice(text, &mut fingerprint).is_ok();
        // Only one spelling is ever written; another one is damage.
        if !is_hex || text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(serde::de::Error::custom("a fingerprint has 32 hexadecimal digits"));
        }
        Ok(Self(Fingerprint(fingerprint)))
    }
}

/// The parts of a payment's state that its change has no columns for: there are columns for the parties and the
/// currency.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateDetail<'a> {
    amount: MinorUnits,
    pub(super) held: MinorUnits,
    captured: MinorUnits,
    refunded: MinorUnits,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_open", default)]
    end: HoldEnd,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    order: Option<Cow<'a, OrderId>>,
    changes: u32,
    last_change: LogIndex,
}

impl<'a> StateDetail<'a> {
    pub(super) fn of(state: &'a PaymentState) -> Self {
        Self {
            amount: state.amount,
            held: state.held,
            captured: state.captured,
            refunded: state.refunded,
            expires_at_ms: state.expires_at_ms,
            end: state.end,
            order: state.order.as_ref().map(Cow::Borrowed),
            changes: state.changes,
            last_change: state.last_change,
        }
    }

    pub(super) fn into_state(self, from: AccountId, to: AccountId, currency: Currency) -> PaymentState {
        PaymentState {
            from,
            to,
            currency,
            amount: self.amount,
            held: self.held,
            captured: self.captured,
            refunded: self.refunded,
            expires_at_ms: self.expires_at_ms,
            end: self.end,
            order: self.order.map(Cow::into_owned),
            changes: self.changes,
            last_change: self.last_change,
        }
    }
}

/// A capture, void, refund or expiry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeDetail<'a> {
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub(super) payment: PaymentId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rejection: Option<Rejection>,
    /// The requested amount, if the column holds a different, executed one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) requested: Option<MinorUnits>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) before: Option<StateDetail<'a>>,
}

fn write_id<S: Serializer>(id: &PaymentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PaymentId, D::Error> {
    PaymentId::parse(<&str>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChangeName {
    Open,
    Change,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountDetail {
    account: AccountId,
    change: ChangeName,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    overdraft: Option<Overdraft>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    status: Option<AccountStatus>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rejection: Option<Rejection>,
}

impl AccountDetail {
    pub(super) fn of(change: &AccountChange) -> Self {
        let (name, overdraft, status) = match change.change {
            AccountChangeKind::Open(overdraft) => (ChangeName::Open, Some(overdraft), None),
            AccountChangeKind::Change { overdraft, status } => (ChangeName::Change, overdraft, status),
        };
        let rejection = match change.outcome {
            AccountOutcome::Applied => None,
            AccountOutcome::Rejected(rejection) => Some(rejection),
        };
        Self { account: change.account.clone(), change: name, overdraft, status, rejection }
    }

    pub(super) fn into_parts(self) -> Result<(AccountId, AccountChangeKind, AccountOutcome), LedgerError> {
        let change = match (self.change, self.overdraft, self.status) {
            (ChangeName::Open, Some(overdraft), None) => AccountChangeKind::Open(overdraft),
            (ChangeName::Change, overdraft, status) => AccountChangeKind::Change { overdraft, status },
            (ChangeName::Open, _, _) => return Err(LedgerError::Damaged("it opens an account oddly".to_owned())),
        };
        Ok((self.account, change, self.rejection.map_or(AccountOutcome::Applied, AccountOutcome::Rejected)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ApiKeyChangeName {
    Create,
    Rotate,
    Revoke,
}

/// A change of an API key: digests, never a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiKeyDetail<'a> {
    id: ApiKeyId,
    change: ApiKeyChangeName,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    secret: Option<SecretDigest>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    grant: Option<Cow<'a, ApiKeyGrant>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    old_valid_for_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rejection: Option<Rejection>,
}

impl<'a> ApiKeyDetail<'a> {
    pub(super) fn of(change: &'a ApiKeyChange) -> Self {
        let rejection = match change.outcome {
            ApiKeyOutcome::Applied => None,
            ApiKeyOutcome::Rejected(rejection) => Some(rejection),
        };
        let named =
            |name| Self { id: change.id, change: name, secret: None, grant: None, old_valid_for_s: None, rejection };
        match &change.change {
            ApiKeyChangeKind::Create { grant, secret } => {
                Self { secret: Some(*secret), grant: Some(Cow::Borrowed(grant)), ..named(ApiKeyChangeName::Create) }
            }
            ApiKeyChangeKind::Rotate { secret, old_valid_for_s } => Self {
                secret: Some(*secret),
                old_valid_for_s: Some(*old_valid_for_s),
                ..named(ApiKeyChangeName::Rotate)
            },
            ApiKeyChangeKind::Revoke => named(ApiKeyChangeName::Revoke),
        }
    }

    pub(super) fn into_parts(self) -> Result<(ApiKeyId, ApiKeyChangeKind, ApiKeyOutcome), LedgerError> {
        let change = match (self.change, self.secret, self.grant, self.old_valid_for_s) {
            (ApiKeyChangeName::Create, Some(secret), Some(grant), None) => {
                ApiKeyChangeKind::Create { grant: Box::new(grant.into_owned()), secret }
            }
            (ApiKeyChangeName::Rotate, Some(secret), None, Some(old_valid_for_s)) => {
                ApiKeyChangeKind::Rotate { secret, old_valid_for_s }
            }
            (ApiKeyChangeName::Revoke, None, None, None) => ApiKeyChangeKind::Revoke,
            _ => return Err(LedgerError::Damaged("it changes an API key oddly".to_owned())),
        };
        Ok((self.id, change, self.rejection.map_or(ApiKeyOutcome::Applied, ApiKeyOutcome::Rejected)))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_open(end: &HoldEnd) -> bool {
    matches!(end, HoldEnd::None)
}

/// Writes a detail.
pub(super) fn to_json(detail: &impl Serialize) -> String {
    serde_json::to_string(detail).expect("details hold only texts and numbers, which JSON can always express")
}

/// Reads a detail.
pub(super) fn from_json<'json, T: Deserialize<'json>>(text: &'json str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Damaged(format!("its detail: {error}")))
}
