//! Short texts and settings.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::settings::Settings;
use quorapay_core::domain::{
    AccountId, AccountStatus, ApiKey, ApiKeyId, Currency, IdempotencyKey, MinorUnits, OrderId, Overdraft, PaymentId,
    Scope, SecretDigest,
};
use quorapay_core::replication::NodeId;

/// Gives the text to every reader of a short text.
pub(super) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    round_trips(text, |text| AccountId::parse(text).ok());
    round_trips(text, |text| IdempotencyKey::parse(text).ok());
    round_trips(text, |text| OrderId::parse(text).ok());
    round_trips(text, |text| PaymentId::parse(text).ok());
    round_trips(text, |text| Overdraft::parse(text).ok());
    round_trips(text, AccountStatus::parse);
    round_trips(text, |text| NodeId::parse(text).ok());
    if let Ok(currency) = Currency::parse(text) {
        assert_eq!(currency.code(), text);
    }
    amount(text);
    api_key(text);
}

/// A key that was read is written in the same form, and prints without its secret. So do its parts.
fn api_key(text: &str) {
    if let Ok(key) = ApiKey::parse(text) {
        assert_eq!(key.expose(), text);
        let (shown, secret) = (format!("{key:?}"), text.rsplit('_').next().unwrap_or_default());
        assert!(!shown.contains(secret), "{shown}");
        assert_eq!(ApiKeyId::parse(&key.id().to_string()), Ok(key.id()));
    }
    round_trips(text, |text| ApiKeyId::parse(text).ok());
    round_trips(text, |text| SecretDigest::parse(text).ok());
    round_trips(text, Scope::parse);
}

/// A value that was read is written in a form that reads back the same.
fn round_trips<T: PartialEq + Debug + Display>(text: &str, parse: impl Fn(&str) -> Option<T>) {
    if let Some(value) = parse(text) {
        let written = value.to_string();
        assert_eq!(parse(&written).as_ref(), Some(&value), "{text:?} is written as {written:?}");
        assert!(written.eq_ignore_ascii_case(text), "{text:?} became {written:?}");
    }
}

/// The decimal form of every amount shows all of its digits.
fn amount(text: &str) {
    let Ok(units) = i64::from_str(text) else { return };
    for code in ["JPY", "USD", "KWD"] {
        let currency = Currency::parse(code).expect("a known currency");
        let shown = currency.format(MinorUnits::new(units));
        let digits: String = shown.chars().filter(|character| character.is_ascii_digit()).collect();
        assert_eq!(digits.trim_start_matches('0'), units.unsigned_abs().to_string().trim_start_matches('0'), "{shown}");
    }
}

/// Lines of `NAME=value` as an environment; the same parsers read the values of a file.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let line = |line: &str| line.split_once('=').map(|(name, value)| (format!("QUORAPAY_{name}"), value.to_owned()));
    let environment: BTreeMap<String, String> = text.lines().filter_map(line).collect();
    match Settings::load(None, &environment) {
        Ok(settings) => drop(settings.warnings()),
        Err(error) => assert!(!error.to_string().contains('\n'), "an error is one line: {error}"),
    }
}
