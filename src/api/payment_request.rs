//! Payments in requests: by themselves, in a batch, and what is done to one after it was made.

use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, Amount, CurrencyCode, Key, RequestMetadata};
use crate::{Capture, Order, strict};

/// A payment to make.
// `Key` is what the body has in place of an idempotency key: nothing if the payment comes by itself, because its key is
// in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NewPayment, bound = ""))]
pub struct NewPayment<Key = KeyInHeader> {
    /// The account that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub from: AccountId,
    /// Another account than `from`.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub to: AccountId,
    /// How much, in minor units of the currency.
    #[serde(deserialize_with = "strict::amount")]
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// When the money is taken.
    #[serde(default, deserialize_with = "strict::capture", skip_serializing_if = "Capture::is_automatic")]
    #[cfg_attr(feature = "openapi", schema(default = "automatic"))]
    pub capture: Capture,
    /// Lifetime of the hold in seconds of the ledger's time. Only with `capture: "manual"`; seven days if absent.
    #[serde(default, deserialize_with = "strict::hold_seconds", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 7_776_000))]
    pub expires_in: Option<u32>,
    /// The order that it pays for.
    #[serde(default, deserialize_with = "strict::order", skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Free text of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub description: Option<String>,
    /// At most 4 KiB as compact JSON.
    #[serde(default, deserialize_with = "strict::metadata", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<RequestMetadata>))]
    pub metadata: Option<serde_json::Map<String, Value>>,
    /// The payment's own key, in a batch.
    #[serde(default, skip_serializing)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub idempotency_key: Key,
}

/// Stands for the idempotency key of a payment by itself: it is in a header, so its body has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyInHeader;

impl<'de> Deserialize<'de> for KeyInHeader {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::unknown_field("idempotency_key", &[]))
    }
}

impl NewPayment {
    /// A payment that is taken at once and says nothing more.
    #[must_use]
    pub const fn new(from: AccountId, to: AccountId, amount: MinorUnits, currency: Currency) -> Self {
        Self {
            from,
            to,
            amount,
            currency,
            capture: Capture::Automatic,
            expires_in: None,
            order: None,
            description: None,
            metadata: None,
            idempotency_key: KeyInHeader,
        }
    }
}

impl<Key> NewPayment<Key> {
    /// Takes the key of its own out.
    pub fn split(self) -> (Key, NewPayment) {
        let Self { from, to, amount, currency, capture, expires_in, order, description, metadata, idempotency_key } =
            self;
        let payment = NewPayment {
            capture,
            expires_in,
            order,
            description,
            metadata,
            ..NewPayment::new(from, to, amount, currency)
        };
        (idempotency_key, payment)
    }
}

/// A payment of a batch: a payment to make, with a key of its own if it likes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchItem {
    /// Its own key: whoever repeats the payment, in another batch or by itself, is answered with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The payment.
    #[serde(flatten)]
    pub payment: NewPayment,
}

impl<'de> Deserialize<'de> for BatchItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (idempotency_key, payment) = NewPayment::<Option<IdempotencyKey>>::deserialize(deserializer)?.split();
        Ok(Self { idempotency_key, payment })
    }
}

#[cfg(feature = "openapi")]
mod described {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, RefBuilder, Type};
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::{BatchItem, Key, NewPayment};

    /// A payment to make has no fields but its own, so the one of a batch is not that one and more.
    impl PartialSchema for BatchItem {
        fn schema() -> RefOr<Schema> {
            let RefOr::T(Schema::Object(mut payment)) = <NewPayment>::schema() else {
                unreachable!("a payment to make is an object");
            };
            payment.description =
                Some("A payment of a batch: a payment to make, with a key of its own if it likes.".to_owned());
            let description =
                "A name for this payment alone: a later batch or call with the same key repeats this payment's answer.";
            let key = RefBuilder::new().ref_location_from_schema_name(Key::name()).description(Some(description));
            let key = OneOfBuilder::new().item(key).item(ObjectBuilder::new().schema_type(Type::Null));
            payment.properties.insert("idempotency_key".to_owned(), key.into());
            Schema::Object(payment).into()
        }
    }

    impl ToSchema for BatchItem {
        fn name() -> std::borrow::Cow<'static, str> {
            std::borrow::Cow::Borrowed("NewBatchPayment")
        }

        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push((Key::name().into(), Key::schema()));
            <NewPayment>::schemas(schemas);
        }
    }
}

/// How much of a payment is captured or given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Part))]
pub struct ChangeAmount {
    /// All that is left if absent.
    #[serde(default, deserialize_with = "strict::optional_amount", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Amount>))]
    pub amount: Option<MinorUnits>,
}

/// There is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::domain::OrderId;

    fn payment() -> NewPayment {
        let account = |id| AccountId::parse(id).expect("valid");
        let currency = Currency::parse("USD").expect("valid");
        NewPayment::new(account("external:card"), account("shop"), MinorUnits::new(5), currency)
    }

    /// The key of an import's batch is a digest of these bytes: whoever repeats an import relies on them.
    #[test]
    fn a_payment_is_written_with_its_fields_in_this_order() {
        let payment = NewPayment {
            capture: Capture::Manual,
            expires_in: Some(60),
            order: Some(Order { id: OrderId::parse("1001").expect("valid"), total: MinorUnits::new(20_000) }),
            description: Some("tea\n\"green\"".to_owned()),
            metadata: serde_json::from_str(r#"{"n":1,"a":[2.5]}"#).expect("an object"),
            ..payment()
        };
        let item = BatchItem { idempotency_key: Some(IdempotencyKey::parse("row-1").expect("valid")), payment };
        let expected = concat!(
            r#"{"idempotency_key":"row-1","from":"external:card","to":"shop","amount":5,"currency":"USD","#,
            r#""capture":"manual","expires_in":60,"order":{"id":"1001","total":20000},"#,
            r#""description":"tea\n\"green\"","metadata":{"a":[2.5],"n":1}}"#
        );
        assert_eq!(serde_json::to_string(&item).expect("JSON"), expected);
        assert_eq!(serde_json::from_str::<BatchItem>(expected).expect("its own text"), item);
        let expected = r#"{"from":"external:card","to":"shop","amount":5,"currency":"USD"}"#;
        assert_eq!(serde_json::to_string(&self::payment()).expect("JSON"), expected);
    }

    #[test]
    fn a_payment_by_itself_has_no_key_in_its_body() {
        let body = r#"{"from":"a","to":"b","amount":5,"currency":"EUR","idempotency_key":"k"}"#;
        assert!(serde_json::from_str::<NewPayment>(body).is_err());
        assert!(serde_json::from_str::<BatchItem>(body).expect("valid").idempotency_key.is_some());
    }
}
