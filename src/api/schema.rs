//! OpenAPI schemas of values that are not structs of this crate: the core's ids and amounts, and free JSON.
//!
//! The types here are only named in `value_type` attributes. What a value may be is decided where it is parsed, in
//! `quorapay-core` and in `strict`.

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat,
    SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::Rfc3339;
use quorapay_core::domain::{AccountStatus, Currency, Scope};

/// Declares the schema of a text or a number: its name, what it is made of, an example.
macro_rules! scalars {
    ($($(#[doc = $doc:literal])+ $name:ident: $schema:expr, $example:expr;)*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug)]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let description = concat!($($doc),+).trim();
                    $schema.description(Some(description)).examples([json!($example)]).into()
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

scalars! {
    /// Names an account. Ids under `external:` are the outside world: they need not exist to pay and may always go
    /// negative.
    AccountIdText: pattern("^[A-Za-z0-9_.:-]{1,64}$"), "shop:42";
    /// Minor units: 15075 is 150.75 USD.
    Amount: integer().minimum(Some(1)).maximum(Some(i64::MAX)), 1250;
    /// Minor units, negative where more was paid than received.
    Balance: integer(), 1250;
    /// A caller's name for one intent, permanent once used: 1 to 255 printable ASCII characters.
    Key: pattern("^[ -~]{1,255}$"), "order-1001-payment";
    /// An order of the caller's: 1 to 64 printable ASCII characters.
    OrderIdText: pattern("^[ -~]{1,64}$"), "1001";
    /// A payment's id: a UUID of version 7, so that ids sort by the time of the payment.
    PaymentIdText: pattern(
        "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
    ), "019a9c1e-7a1c-7001-8000-00000000002a";
    /// How far below zero an account may go, in each of its currencies: `none`, `limit:N` minor units, or `unlimited`.
    OverdraftText: pattern("^(none|unlimited|limit:[1-9][0-9]{0,17})$"), "limit:10000";
    /// Names an API key. It is no secret.
    ApiKeyIdText: pattern("^[0-9a-f]{16}$"), "5f0c2b9a7d31e864";
    /// SHA-256 over the 32 bytes of an API key's secret.
    SecretDigestText: pattern("^[0-9a-f]{64}$"), "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
    /// What people call an API key: 1 to 100 bytes of text without control characters.
    ApiKeyNameText: text().min_length(Some(1)).max_length(Some(100)), "shop 42, cash desk";
    /// What the ids of accounts begin with.
    AccountPrefixText: pattern("^[A-Za-z0-9_.:-]{1,64}$"), "shop:42:";
    /// Names a node.
    NodeIdText: pattern("^[A-Za-z0-9_-]{1,64}$"), "node1";
}

impl PartialSchema for Rfc3339 {
    fn schema() -> RefOr<Schema> {
        text()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A moment in RFC 3339; answers give it in UTC with milliseconds."))
            .examples(["2026-01-31T12:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Rfc3339 {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Moment")
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn pattern(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

fn integer() -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(format))
}

/// One of some texts.
pub(crate) fn text_enum(description: &str, texts: &[&str]) -> RefOr<Schema> {
    text().enum_values(Some(texts.iter().copied())).description(Some(description.trim())).into()
}

/// As wide as two amounts together, which is more than any integer format says.
pub(crate) fn any_integer_or_null() -> Object {
    let description = "What may still be paid, overdraft included; `null` where nothing limits it.";
    let types = SchemaType::Array(vec![Type::Integer, Type::Null]);
    ObjectBuilder::new().schema_type(types).description(Some(description)).build()
}

/// An active ISO 4217 code.
#[derive(Debug)]
pub struct CurrencyCode;

impl PartialSchema for CurrencyCode {
    fn schema() -> RefOr<Schema> {
        let description = "An active ISO 4217 code. Amounts are in its minor unit: JPY has no decimals, KWD has three.";
        text().enum_values(Some(Currency::codes())).description(Some(description)).examples(["EUR"]).into()
    }
}

impl ToSchema for CurrencyCode {}

/// Whether an account may be used.
#[derive(Debug)]
pub struct AccountStatusWord;

impl PartialSchema for AccountStatusWord {
    fn schema() -> RefOr<Schema> {
        let texts = [AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed].map(AccountStatus::as_str);
        text_enum("Whether an account may be used.", &texts)
    }
}

impl ToSchema for AccountStatusWord {}

/// A group of calls.
#[derive(Debug)]
pub struct ScopeWord;

impl PartialSchema for ScopeWord {
    fn schema() -> RefOr<Schema> {
        text_enum("A group of calls that an API key allows.", &Scope::ALL.map(Scope::as_str))
    }
}

impl ToSchema for ScopeWord {}

/// The limits of an API key.
#[derive(Debug)]
pub struct ApiKeyLimits;

impl PartialSchema for ApiKeyLimits {
    fn schema() -> RefOr<Schema> {
        let amount = AdditionalProperties::RefOr(RefOr::Ref(Ref::from_schema_name("Amount")));
        ObjectBuilder::new()
            .description(Some("By currency, the most that one payment, capture or refund may move, in minor units."))
            .property_names(Some(pattern("^[A-Z]{3}$")))
            .additional_properties(Some(amount))
            .examples([json!({ "EUR": 100_000 })])
            .into()
    }
}

impl ToSchema for ApiKeyLimits {}

/// The metadata of a request: a JSON object.
#[derive(Debug)]
pub struct RequestMetadata;

impl PartialSchema for RequestMetadata {
    fn schema() -> RefOr<Schema> {
        let values = AdditionalProperties::RefOr(RefOr::Ref(Ref::from_schema_name("MetadataValue")));
        ObjectBuilder::new()
            .description(Some("What a caller keeps with a payment: a JSON object without repeated fields."))
            .additional_properties(Some(values))
            .examples([json!({ "cart": 7, "gift": true })])
            .into()
    }
}

impl ToSchema for RequestMetadata {
    fn name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Metadata")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("MetadataValue".to_owned(), metadata_value()));
    }
}

/// Any JSON but numbers that could not be kept exactly.
fn metadata_value() -> RefOr<Schema> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    let plain = |kind: Type| ObjectBuilder::new().schema_type(kind);
    let itself = || RefOr::Ref(Ref::from_schema_name("MetadataValue"));
    let integer = plain(Type::Integer).minimum(Some(i64::MIN)).maximum(Some(u64::MAX));
    let items: Array = ArrayBuilder::new().items(itself()).build();
    AnyOfBuilder::new()
        .item(plain(Type::Null))
        .item(plain(Type::Boolean))
        .item(plain(Type::String))
        .item(integer)
        .item(plain(Type::Number).minimum(Some(-EXACT)).maximum(Some(EXACT)))
        .item(items)
        .item(ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(itself()))))
        .description(Some(
            "Any JSON; a number beyond 2^53 must be a 64-bit integer, because others could not be kept exactly.",
        ))
        .into()
}
