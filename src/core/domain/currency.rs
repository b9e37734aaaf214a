//! ISO 4217 currencies and their exponents.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MinorUnits;

/// An active ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The text is not an active ISO 4217 code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ISO 4217 currency code that has minor units, such as USD, EUR or JPY")]
pub struct CurrencyError(String);

/// Codes whose minor unit is not a hundredth, with their exponents (ISO 4217 list one), sorted.
const OTHER_EXPONENTS: &[(&str, u8)] = &[
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// Codes with two decimals (ISO 4217 list one), sorted. Metals, bond units and test codes are missing: they have no
/// minor unit.
const HUNDREDTHS: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB", "BOV",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU", "CRC", "CUP",
    "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD",
    "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR",
    "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP",
    "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "USN", "UYU",
    "UZS", "VED", "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
];

impl Currency {
    /// All codes, sorted.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        let others = OTHER_EXPONENTS.iter().map(|(code, _)| *code);
        HUNDREDTHS.iter().copied().chain(others).collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// Reads a three-letter upper-case code.
    ///
    /// # Errors
    /// [`CurrencyError`] with the text, if it is not an active code.
    pub fn parse(text: &str) -> Result<Self, CurrencyError> {
        let known = HUNDREDTHS.binary_search(&text).is_ok() || other_exponent(text).is_some();
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if known => Ok(Self(code)),
            _ => Err(CurrencyError(text.chars().take(16).collect())),
        }
    }

    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is made of three ASCII letters")
    }

    /// The number of decimals of its minor unit: 0 for JPY, 2 for USD, 3 for KWD.
    #[must_use]
    pub fn exponent(self) -> u8 {
        other_exponent(self.code()).unwrap_or(2)
    }

    /// An amount with the currency's decimals: `150.75` for 15075 USD.
    #[must_use]
    pub fn format(self, amount: MinorUnits) -> String {
        let exponent = usize::from(self.exponent());
        let sign = if amount.get() < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", amount.get().unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

fn other_exponent(code: &str) -> Option<u8> {
    let at = OTHER_EXPONENTS.binary_search_by_key(&code, |(code, _)| code).ok()?;
    Some(OTHER_EXPONENTS[at].1)
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_so_that_a_search_finds_every_code() {
        assert!(HUNDREDTHS.is_sorted());
        assert!(OTHER_EXPONENTS.is_sorted());
        for code in HUNDREDTHS.iter().chain(OTHER_EXPONENTS.iter().map(|(code, _)| code)) {
            assert_eq!(Currency::parse(code).expect("listed").code(), *code);
        }
    }

    #[test]
    fn a_currency_knows_its_exponent() {
        for (code, exponent) in [("JPY", 0), ("USD", 2), ("KWD", 3), ("CLF", 4), ("EUR", 2)] {
            assert_eq!(Currency::parse(code).expect("known").exponent(), exponent, "{code}");
        }
    }

    #[test]
    fn text_that_is_no_currency_is_refused_by_name() {
        for text in ["", "usd", "USDX", "XXX", "XAU", "US", "€€€"] {
            assert!(Currency::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_written_with_the_decimals_of_their_currency() {
        let cases = [
            ("USD", 15_075, "150.75"),
            ("USD", -5, "-0.05"),
            ("JPY", 42, "42"),
            ("KWD", 1, "0.001"),
            ("USD", 0, "0.00"),
        ];
        for (code, amount, text) in cases {
            assert_eq!(Currency::parse(code).expect("known").format(MinorUnits::new(amount)), text);
        }
    }
}
