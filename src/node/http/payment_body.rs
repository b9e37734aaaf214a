//! A payment in a request: parsed into a payment request, or refused with the field that is wrong.

use std::fmt;

use compact_str::CompactString;
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use quorapay_core::domain::{
    AccountId, BatchItem, Capture, Currency, DEFAULT_HOLD_SECONDS, IdempotencyKey, MAX_HOLD_SECONDS, MinorUnits,
    OrderCap, OrderId, PaymentRequest,
};

use super::json::{ObjectOnly, RequestBody, read_object};
use super::problem::Problem;

/// Longest description, in characters.
pub(super) const MAX_DESCRIPTION_CHARS: usize = 500;
/// Longest metadata in their compact form, in bytes.
pub(super) const MAX_METADATA_BYTES: usize = 4 << 10;

/// From here on not every whole number has a float of its own: two different numbers would be kept as one.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

/// A payment, by itself or in a batch: there it may have a key of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<Key> {
    from: AccountId,
    to: AccountId,
    amount: Amount,
    currency: Currency,
    #[serde(default)]
    capture: CaptureWord,
    expires_in: Option<HoldSeconds>,
    order: Option<ObjectOnly<Order>>,
    description: Option<CompactString>,
    metadata: Option<Metadata>,
    #[serde(default)]
    idempotency_key: Key,
}

impl<Key: Default + for<'de> Deserialize<'de>> RequestBody for Body<Key> {
    fn code_of(field: &str) -> &'static str {
        match field {
            "amount" => "invalid_amount",
            "currency" => "invalid_currency",
            "from" | "to" => "invalid_account_id",
            "capture" => "invalid_capture",
            "expires_in" => "invalid_expires_in",
            "order" => "invalid_order",
            "description" => "invalid_description",
            "metadata" => "invalid_metadata",
            "idempotency_key" => "invalid_idempotency_key",
            _ => "invalid_field",
        }
    }
}

/// The key of a payment by itself is in a header, so its body has none.
#[derive(Default)]
struct InHeader;

impl<'de> Deserialize<'de> for InHeader {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::unknown_field("idempotency_key", &[]))
    }
}

/// When the money is taken. Read through a text, because `serde_json` takes an enum of another type for broken JSON and
/// would not name the field.
#[derive(Default, Deserialize)]
#[serde(try_from = "CompactString")]
enum CaptureWord {
    #[default]
    Automatic,
    Manual,
}

impl TryFrom<CompactString> for CaptureWord {
    type Error = &'static str;

    fn try_from(text: CompactString) -> Result<Self, Self::Error> {
        match text.as_str() {
            "automatic" => Ok(Self::Automatic),
            "manual" => Ok(Self::Manual),
            _ => Err("capture is \"automatic\" or \"manual\""),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    id: OrderId,
    total: Amount,
}

/// Reads the body of `POST /v1/payments`.
pub(super) fn parse(body: &[u8]) -> Result<PaymentRequest, Problem> {
    let (InHeader, request) = read_object::<Body<InHeader>>(body)?.into_request()?;
    Ok(request)
}

/// Reads one payment of a batch.
pub(super) fn parse_item(body: &[u8]) -> Result<BatchItem, Problem> {
    let (key, request) = read_object::<Body<Option<IdempotencyKey>>>(body)?.into_request()?;
    Ok(BatchItem { key, request })
}

impl<Key> Body<Key> {
    /// Checks what concerns several fields, and what no field's type says.
    fn into_request(self) -> Result<(Key, PaymentRequest), Problem> {
        if self.from == self.to {
            let detail = "a payment goes from one account to another, not to the same one";
            return Err(Problem::bad_request("same_account", detail).field("to"));
        }
        // A text of that many bytes has no more characters.
        let long =
            |text: &CompactString| text.len() > MAX_DESCRIPTION_CHARS && text.chars().count() > MAX_DESCRIPTION_CHARS;
        if self.description.as_ref().is_some_and(long) {
            let detail = format!("a description has at most {MAX_DESCRIPTION_CHARS} characters");
            return Err(Problem::bad_request("description_too_long", detail).field("description"));
        }
        let request = PaymentRequest {
            from: self.from,
            to: self.to,
            amount: self.amount.0,
            currency: self.currency,
            capture: capture(&self.capture, self.expires_in)?,
            order: self.order.map(|ObjectOnly(Order { id, total })| Box::new(OrderCap { id, total: total.0 })),
            opens_accounts: false,
            description: self.description,
            metadata: self.metadata.map(Metadata::compact).transpose()?,
        };
        Ok((self.idempotency_key, request))
    }
}

fn capture(word: &CaptureWord, expires_in: Option<HoldSeconds>) -> Result<Capture, Problem> {
    match (word, expires_in) {
        (CaptureWord::Automatic, None) => Ok(Capture::Automatic),
        (CaptureWord::Automatic, Some(_)) => {
            let detail = "only a payment with capture \"manual\" sets money aside that can expire";
            Err(Problem::bad_request("invalid_expires_in", detail).field("expires_in"))
        }
        (CaptureWord::Manual, seconds) => {
            Ok(Capture::Manual { expires_in_s: seconds.map_or(DEFAULT_HOLD_SECONDS, |seconds| seconds.0) })
        }
    }
}

/// A positive amount, read from the digits of a JSON integer. A float, an exponent or a string is refused even if it
/// stands for a whole number: whoever sends one may send one that does not, the next time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount(pub(super) MinorUnits);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Integers;
        impl Visitor<'_> for Integers {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer of minor units from 1 to 9223372036854775807")
            }

            fn visit_i64<E: Error>(self, units: i64) -> Result<Amount, E> {
                MinorUnits::positive(units).map(Amount).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, units: u64) -> Result<Amount, E> {
                match i64::try_from(units) {
                    Ok(units) => self.visit_i64(units),
                    Err(_) => Err(E::invalid_value(Unexpected::Unsigned(units), &self)),
                }
            }
        }
        deserializer.deserialize_any(Integers)
    }
}

/// How long a hold lives, in seconds.
struct HoldSeconds(u32);

impl<'de> Deserialize<'de> for HoldSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Integers;
        impl Visitor<'_> for Integers {
            type Value = HoldSeconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer of seconds from 1 to {MAX_HOLD_SECONDS}")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<HoldSeconds, E> {
                match u32::try_from(seconds) {
                    Ok(fits @ 1..=MAX_HOLD_SECONDS) => Ok(HoldSeconds(fits)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(seconds), &self)),
                }
            }
        }
        deserializer.deserialize_any(Integers)
    }
}

/// A JSON object without repeated fields. Its map is sorted, so equal metadata are equal texts.
struct Metadata(Map<String, Value>);

impl Metadata {
    fn compact(self) -> Result<CompactString, Problem> {
        let text = Value::Object(self.0).to_string();
        if text.len() <= MAX_METADATA_BYTES {
            return Ok(text.into());
        }
        let detail = format!("metadata have at most {MAX_METADATA_BYTES} bytes as compact JSON");
        Err(Problem::bad_request("metadata_too_large", detail).field("metadata"))
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Strict::deserialize(deserializer)?.0 {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(D::Error::custom("metadata are a JSON object")),
        }
    }
}

/// Any JSON value whose objects repeat no field. `serde_json` itself would keep the last one, and the caller could not
/// tell which one counted.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Strict, E> {
        if value.abs() >= EXACT_FLOATS {
            return Err(E::custom("a number in metadata that cannot be kept exactly; send it as a string"));
        }
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(Strict(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Strict(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Strict, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            let Strict(value) = fields.next_value()?;
            map.insert(name, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: &str, value: &str) -> String {
        let mut fields = vec![("from", "\"a\""), ("to", "\"b\""), ("amount", "5"), ("currency", "\"EUR\"")];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn refusal(field: &str, value: &str) -> (&'static str, Option<String>) {
        let problem = parse(with(field, value).as_bytes()).expect_err(value);
        assert_eq!(problem.status().as_u16(), 400);
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    fn named(code: &'static str, field: &str) -> (&'static str, Option<String>) {
        (code, Some(field.to_owned()))
    }

    #[test]
    fn a_payment_is_read_with_all_that_it_may_have() {
        let body = br#"{"from":"external:card","to":"shop","amount":9223372036854775807,"currency":"JPY",
            "capture":"automatic","description":"tea \u2615","metadata":{"b":[1,2.5,null],"a":{"z":true,"y":"x"}}}"#;
        let request = parse(body).expect("valid");
        assert_eq!(request.amount.get(), i64::MAX);
        assert_eq!(request.currency.code(), "JPY");
        assert_eq!(request.description.as_deref(), Some("tea \u{2615}"));
        assert_eq!(request.metadata.as_deref(), Some(r#"{"a":{"y":"x","z":true},"b":[1,2.5,null]}"#));
    }

    #[test]
    fn only_a_positive_json_integer_within_64_bits_is_an_amount() {
        for bad in [
            "0",
            "-1",
            "1.0",
            "150.75",
            "1e3",
            "1E3",
            "\"5\"",
            "null",
            "true",
            "[5]",
            "9223372036854775808",
            "18446744073709551616",
            "1e400",
        ] {
            assert_eq!(refusal("amount", bad), named("invalid_amount", "amount"), "{bad}");
        }
        assert_eq!(refusal("amount", "05"), ("invalid_json", None));
    }

    #[test]
    fn accounts_and_currency_are_checked_and_named() {
        assert_eq!(refusal("from", "\"\""), named("invalid_account_id", "from"));
        assert_eq!(refusal("to", "\"a b\""), named("invalid_account_id", "to"));
        assert_eq!(refusal("to", "7"), named("invalid_account_id", "to"));
        assert_eq!(refusal("to", "\"a\""), named("same_account", "to"));
        assert_eq!(refusal("currency", "\"eur\""), named("invalid_currency", "currency"));
        assert_eq!(refusal("currency", "\"XXX\""), named("invalid_currency", "currency"));
    }

    #[test]
    fn the_money_is_taken_at_once_or_held_for_seven_days_or_as_long_as_is_said() {
        let capture = |capture: &str, more: &str| {
            let body = with("capture", capture).replace('}', more);
            parse(body.as_bytes()).map(|request| request.capture).map_err(|problem| problem.code())
        };
        let held = |expires_in_s| Ok(Capture::Manual { expires_in_s });
        assert_eq!(capture("\"automatic\"", "}"), Ok(Capture::Automatic));
        assert_eq!(capture("\"manual\"", "}"), held(604_800));
        assert_eq!(capture("\"manual\"", ",\"expires_in\":1}"), held(1));
        assert_eq!(capture("\"manual\"", ",\"expires_in\":7776000}"), held(7_776_000));
        assert_eq!(capture("\"automatic\"", ",\"expires_in\":60}"), Err("invalid_expires_in"));
        for bad in ["0", "7776001", "-1", "1.5", "\"60\"", "1e2", "4294967297", "true"] {
            let more = format!(",\"expires_in\":{bad}}}");
            assert_eq!(capture("\"manual\"", &more), Err("invalid_expires_in"), "{bad}");
        }
        for other in ["\"later\"", "true", "null", "{}", "1"] {
            assert_eq!(refusal("capture", other), named("invalid_capture", "capture"));
        }
    }

    #[test]
    fn an_order_has_an_id_and_a_total() {
        let request = parse(with("order", r#"{"id":"2026/11 #42","total":900}"#).as_bytes()).expect("valid");
        let order = request.order.expect("given");
        assert_eq!((order.id.as_str(), order.total.get()), ("2026/11 #42", 900));
        let cases = [
            (r#"{"id":"","total":1}"#, "invalid_order", "order.id"),
            (r#"{"id":5,"total":1}"#, "invalid_order", "order.id"),
            (r#"{"id":"o","total":0}"#, "invalid_order", "order.total"),
            (r#"{"id":"o","total":1.5}"#, "invalid_order", "order.total"),
            (r#"{"id":"o","total":1e400}"#, "invalid_order", "order.total"),
            (r#"{"id":"o"}"#, "missing_field", "order.total"),
            (r#"{"total":1}"#, "missing_field", "order.id"),
            (r#"{"id":"o","total":1,"sum":1}"#, "unknown_field", "order.sum"),
            (r#"{"id":"o","total":1,"total":1}"#, "duplicate_field", "order.total"),
            (r#"["o",1]"#, "invalid_order", "order"),
            ("\"o\"", "invalid_order", "order"),
        ];
        for (order, code, field) in cases {
            assert_eq!(refusal("order", order), named(code, field), "{order}");
        }
    }

    #[test]
    fn a_payment_has_a_key_of_its_own_in_a_batch_only() {
        let keyed = with("idempotency_key", "\"k 1\"");
        let item = parse_item(keyed.as_bytes()).expect("valid");
        assert_eq!(item.key.expect("given").as_str(), "k 1");
        assert_eq!(parse_item(with("amount", "5").as_bytes()).expect("valid").key, None);
        for key in ["\"k 1\"", "null", "5"] {
            assert_eq!(refusal("idempotency_key", key), named("unknown_field", "idempotency_key"), "{key}");
        }
        for bad in ["\"\"", "5", "\"é\""] {
            let problem = parse_item(with("idempotency_key", bad).as_bytes()).expect_err(bad);
            assert_eq!((problem.code(), problem.field_name()), ("invalid_idempotency_key", Some("idempotency_key")));
        }
    }

    #[test]
    fn a_description_has_at_most_500_characters_however_long_they_are() {
        let text = |chars: usize| format!("\"{}\"", "é".repeat(chars));
        assert!(parse(with("description", &text(500)).as_bytes()).is_ok());
        assert_eq!(refusal("description", &text(501)), named("description_too_long", "description"));
        assert_eq!(refusal("description", "7"), named("invalid_description", "description"));
    }

    #[test]
    fn metadata_are_an_object_of_at_most_4_kib_in_compact_form() {
        let object = |bytes: usize| format!("{{ \"k\" : \"{}\" }}", "x".repeat(bytes - r#"{"k":""}"#.len()));
        assert!(parse(with("metadata", &object(MAX_METADATA_BYTES)).as_bytes()).is_ok());
        let long = object(MAX_METADATA_BYTES + 1);
        assert_eq!(refusal("metadata", &long), named("metadata_too_large", "metadata"));
        for bad in ["[]", "\"x\"", "5"] {
            assert_eq!(refusal("metadata", bad), named("invalid_metadata", "metadata"), "{bad}");
        }
    }

    #[test]
    fn metadata_repeat_no_field_at_any_level() {
        assert_eq!(refusal("metadata", r#"{"a":1,"a":2}"#), named("duplicate_field", "metadata.a"));
        assert_eq!(refusal("metadata", r#"{"b":[{"a":1,"a":2}]}"#), named("duplicate_field", "metadata.b[0].a"));
    }

    #[test]
    fn the_same_request_in_another_order_has_the_same_fingerprint() {
        use quorapay_core::domain::OperationRequest;
        let one = br#"{"from":"a","to":"b","amount":5,"currency":"EUR","metadata":{"x":1,"y":2}}"#;
        let other = br#"{ "metadata": {"y":2, "x":1}, "currency":"EUR", "amount":5, "to":"b", "from":"a" }"#;
        let fingerprint = |body: &[u8]| OperationRequest::Payment(parse(body).expect("valid")).fingerprint();
        assert_eq!(fingerprint(one), fingerprint(other));
    }

    #[test]
    fn an_array_in_place_of_the_object_is_refused() {
        let problem = parse(br#"["a","b",5,"EUR"]"#).expect_err("an array");
        assert_eq!(problem.code(), "invalid_json");
    }
}
