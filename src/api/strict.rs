//! How nodes read the fields of requests. Each value has one form; any other is refused by the field, with the same
//! message in every call. These are `deserialize_with` functions: the types of the fields stay plain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use compact_str::CompactString;
use quorapay_core::domain::{AccountStatus, Currency, MAX_HOLD_SECONDS, MinorUnits, OrderId, Scope};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::{Capture, Order};

/// From here on not every whole number has a float of its own: two different numbers would be kept as one.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

/// A positive amount, read from the digits of a JSON integer. A float, an exponent or a string is refused even if it
/// stands for a whole number: whoever sends one may send one that does not, the next time.
pub(crate) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MinorUnits, D::Error> {
    struct Integers;
    impl Visitor<'_> for Integers {
        type Value = MinorUnits;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of minor units from 1 to 9223372036854775807")
        }

        fn visit_i64<E: Error>(self, units: i64) -> Result<MinorUnits, E> {
            MinorUnits::positive(units).map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, units: u64) -> Result<MinorUnits, E> {
            match i64::try_from(units) {
                Ok(units) => self.visit_i64(units),
                Err(_) => Err(E::invalid_value(Unexpected::Unsigned(units), &self)),
            }
        }
    }
    deserializer.deserialize_any(Integers)
}

/// An amount that may be left out.
pub(crate) fn optional_amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MinorUnits>, D::Error> {
    #[derive(Deserialize)]
    struct Amount(#[serde(deserialize_with = "amount")] MinorUnits);
    Ok(Option::<Amount>::deserialize(deserializer)?.map(|Amount(amount)| amount))
}

/// How long a hold lives, in seconds.
pub(crate) fn hold_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    struct Seconds(u32);
    struct Integers;
    impl Visitor<'_> for Integers {
        type Value = Seconds;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an integer of seconds from 1 to {MAX_HOLD_SECONDS}")
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
            match u32::try_from(seconds) {
                Ok(fits @ 1..=MAX_HOLD_SECONDS) => Ok(Seconds(fits)),
                _ => Err(E::invalid_value(Unexpected::Unsigned(seconds), &self)),
            }
        }
    }
    impl<'de> Deserialize<'de> for Seconds {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Integers)
        }
    }
    Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(seconds)| seconds))
}

/// When the money is taken. Read through a text, because `serde_json` takes an enum of another type for broken JSON and
/// would not name the field.
pub(crate) fn capture<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Capture, D::Error> {
    match CompactString::deserialize(deserializer)?.as_str() {
        "automatic" => Ok(Capture::Automatic),
        "manual" => Ok(Capture::Manual),
        _ => Err(D::Error::custom("capture is \"automatic\" or \"manual\"")),
    }
}

/// An account's status. Read through a text for the same reason as [`capture`].
pub(crate) fn account_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AccountStatus>, D::Error> {
    let Some(text) = Option::<CompactString>::deserialize(deserializer)? else { return Ok(None) };
    let unknown = || D::Error::custom("status is \"active\", \"frozen\" or \"closed\"");
    AccountStatus::parse(&text).map(Some).ok_or_else(unknown)
}

/// The scopes of an API key, each once. Read through texts for the same reason as [`capture`].
pub(crate) fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Scope>, D::Error> {
    let mut scopes = BTreeSet::new();
    for text in Vec::<CompactString>::deserialize(deserializer)? {
        let names = || Scope::ALL.map(Scope::as_str).join(", ");
        let scope = Scope::parse(&text).ok_or_else(|| D::Error::custom(format!("a scope is one of {}", names())))?;
        scopes.insert(scope);
    }
    if scopes.is_empty() { Err(D::Error::custom("an API key has at least one scope")) } else { Ok(scopes) }
}

/// The limits of an API key: positive amounts by currency.
pub(crate) fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Currency, MinorUnits>, D::Error> {
    #[derive(Deserialize)]
    struct Limit(#[serde(deserialize_with = "amount")] MinorUnits);
    let limits = BTreeMap::<Currency, Limit>::deserialize(deserializer)?;
    Ok(limits.into_iter().map(|(currency, Limit(limit))| (currency, limit)).collect())
}

/// An order: an object with an id and a total, and nothing else.
pub(crate) fn order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Order>, D::Error> {
    /// The same fields, which the compiler checks; answers are read more leniently.
    #[derive(Deserialize)]
    #[serde(remote = "Order", deny_unknown_fields)]
    struct StrictOrder {
        id: OrderId,
        #[serde(deserialize_with = "amount")]
        total: MinorUnits,
    }

    /// A derived reader would take an array for the object's fields in order.
    struct ObjectOnly(Order);
    impl<'de> Deserialize<'de> for ObjectOnly {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Objects)
        }
    }
    struct Objects;
    impl<'de> Visitor<'de> for Objects {
        type Value = ObjectOnly;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<ObjectOnly, A::Error> {
            StrictOrder::deserialize(MapAccessDeserializer::new(fields)).map(ObjectOnly)
        }
    }
    Ok(Option::<ObjectOnly>::deserialize(deserializer)?.map(|ObjectOnly(order)| order))
}

/// Metadata: a JSON object without repeated fields. The map is sorted, so equal metadata are equal texts.
pub(crate) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    match Option::<StrictValue>::deserialize(deserializer)? {
        None => Ok(None),
        Some(StrictValue(Value::Object(fields))) => Ok(Some(fields)),
        Some(_) => Err(D::Error::custom("metadata are a JSON object")),
    }
}

/// Any JSON value whose objects repeat no field. `serde_json` itself would keep the last one, and the caller could not
/// tell which one counted.
struct StrictValue(Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = StrictValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<StrictValue, E> {
        if value.abs() >= EXACT_FLOATS {
            return Err(E::custom("a number in metadata that cannot be kept exactly; send it as a string"));
        }
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(StrictValue(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<StrictValue, E> {
        Ok(StrictValue(Value::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StrictValue, A::Error> {
        let mut values = Vec::new();
        while let Some(StrictValue(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(StrictValue(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<StrictValue, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            let StrictValue(value) = fields.next_value()?;
            map.insert(name, value);
        }
        Ok(StrictValue(Value::Object(map)))
    }
}
