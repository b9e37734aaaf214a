//! A payment in a request: what no field's type says is checked here, and it becomes the domain's request.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use quorapay_api::limits::{MAX_DESCRIPTION_CHARS, MAX_METADATA_BYTES};
use quorapay_api::{Capture, Code, NewPayment};
use quorapay_core::domain::{self, BatchItem, DEFAULT_HOLD_SECONDS, IdempotencyKey, OrderCap, PaymentRequest};

use super::problem::Problem;
use super::read_json::{RequestBody, read_object};

impl<Key: Default + DeserializeOwned> RequestBody for NewPayment<Key> {
    fn code_of(field: &str) -> Code {
        match field {
            "amount" => Code::InvalidAmount,
            "currency" => Code::InvalidCurrency,
            "from" | "to" => Code::InvalidAccountId,
            "capture" => Code::InvalidCapture,
            "expires_in" => Code::InvalidExpiresIn,
            "order" => Code::InvalidOrder,
            "description" => Code::InvalidDescription,
            "metadata" => Code::InvalidMetadata,
            "idempotency_key" => Code::InvalidIdempotencyKey,
            _ => Code::InvalidField,
        }
    }
}

/// Reads the body of `POST /v1/payments`.
pub(super) fn parse(body: &[u8]) -> Result<PaymentRequest, Problem> {
    into_request(read_object::<NewPayment>(body)?)
}

/// Reads one payment of a batch.
pub(super) fn parse_item(body: &[u8]) -> Result<BatchItem, Problem> {
    let (key, payment) = read_object::<NewPayment<Option<IdempotencyKey>>>(body)?.split();
    Ok(BatchItem { key, request: into_request(payment)? })
}

/// Checks what concerns several fields, and what no field's type says.
fn into_request(payment: NewPayment) -> Result<PaymentRequest, Problem> {
    let NewPayment { from, to, amount, currency, capture, expires_in, order, description, metadata, .. } = payment;
    if from == to {
        let detail = "a payment goes from one account to another, not to the same one";
        return Err(Problem::bad_request(Code::SameAccount, detail).field("to"));
    }
    // A text of that many bytes has no more characters.
    let is_long = |text: &String| text.len() > MAX_DESCRIPTION_CHARS && text.chars().count() > MAX_DESCRIPTION_CHARS;
    if description.as_ref().is_some_and(is_long) {
        let detail = format!("a description has at most {MAX_DESCRIPTION_CHARS} characters");
        return Err(Problem::bad_request(Code::DescriptionTooLong, detail).field("description"));
    }
    Ok(PaymentRequest {
        from,
        to,
        amount,
        currency,
        capture: hold(capture, expires_in)?,
        order: order.map(|order| Box::new(OrderCap { id: order.id, total: order.total })),
        opens_accounts: false,
        description: description.map(Into::into),
        metadata: metadata.map(compact).transpose()?.map(Into::into),
    })
}

fn hold(capture: Capture, expires_in: Option<u32>) -> Result<domain::Capture, Problem> {
    match (capture, expires_in) {
        (Capture::Automatic, None) => Ok(domain::Capture::Automatic),
        (Capture::Automatic, Some(_)) => {
            let detail = "only a payment with capture \"manual\" sets money aside that can expire";
            Err(Problem::bad_request(Code::InvalidExpiresIn, detail).field("expires_in"))
        }
        (Capture::Manual, seconds) => {
            Ok(domain::Capture::Manual { expires_in_s: seconds.unwrap_or(DEFAULT_HOLD_SECONDS) })
        }
    }
}

fn compact(metadata: Map<String, Value>) -> Result<String, Problem> {
    let text = Value::Object(metadata).to_string();
    if text.len() <= MAX_METADATA_BYTES {
        return Ok(text);
    }
    let detail = format!("metadata have at most {MAX_METADATA_BYTES} bytes as compact JSON");
    Err(Problem::bad_request(Code::MetadataTooLarge, detail).field("metadata"))
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
        let held = |expires_in_s| Ok(domain::Capture::Manual { expires_in_s });
        assert_eq!(capture("\"automatic\"", "}"), Ok(domain::Capture::Automatic));
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
