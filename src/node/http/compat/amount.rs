//! Amounts as decimal numbers: read from the digits of a JSON number, never through a float.

use quorapay_core::domain::{Currency, MinorUnits};

/// Why a JSON value is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    /// A text, a list, null and the like.
    #[error("amount must be a JSON number such as 150.75")]
    NotANumber,
    /// Zero or less.
    #[error("amount must be more than zero")]
    NotPositive,
    /// Finer than the currency's minor unit.
    #[error("amount has more decimals than {currency} has, which is {}", currency.exponent())]
    TooFine {
        /// The payment's currency.
        currency: Currency,
    },
    /// Beyond what the ledger holds.
    #[error("amount is too large: the most is {} {currency}", currency.format(MinorUnits::new(i64::MAX)))]
    TooLarge {
        /// The payment's currency.
        currency: Currency,
    },
}

/// Reads an amount from a JSON value as it was written. Zeros after the last decimal of the currency change nothing,
/// and exponents are evaluated: `150.750` and `1.5075e2` are both 150.75.
pub(super) fn read(json: &str, currency: Currency) -> Result<MinorUnits, AmountError> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or(("", mantissa), |unsigned| ("-", unsigned));
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // The JSON parser has checked everything else about a number's form.
    if whole.is_empty() || !is_digits(whole) || !is_digits(decimals) {
        return Err(AmountError::NotANumber);
    }
    let digits = format!("{whole}{decimals}");
    let significant = digits.trim_matches('0');
    if significant.is_empty() || sign == "-" {
        return Err(AmountError::NotPositive);
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    // An exponent outside of 64 bits has the same result as the largest or smallest one.
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let shift = exponent
        .saturating_add(i64::from(currency.exponent()))
        .saturating_sub(length(decimals))
        .saturating_add(i64::try_from(trailing_zeros).unwrap_or(i64::MAX));
    let power = match u32::try_from(shift) {
        Ok(power) => power,
        Err(_) if shift < 0 => return Err(AmountError::TooFine { currency }),
        Err(_) => return Err(AmountError::TooLarge { currency }),
    };
    let units = 10_i64.checked_pow(power).and_then(|factor| significant.parse::<i64>().ok()?.checked_mul(factor));
    units.map(MinorUnits::new).ok_or(AmountError::TooLarge { currency })
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).expect("known")
    }

    #[test]
    fn an_amount_is_read_from_its_digits() {
        let cases = [
            ("150.75", "USD", 15_075),
            ("100", "USD", 10_000),
            ("100.0", "USD", 10_000),
            ("0.01", "USD", 1),
            ("0.1", "USD", 10),
            ("1e2", "USD", 10_000),
            ("1E+2", "USD", 10_000),
            ("1.5075e2", "USD", 15_075),
            ("15075e-2", "USD", 15_075),
            ("1500e-3", "USD", 150),
            ("150.750000", "USD", 15_075),
            ("90071992547409.93", "USD", 9_007_199_254_740_993),
            ("92233720368547758.07", "USD", i64::MAX),
            ("150", "JPY", 150),
            ("150.0", "JPY", 150),
            ("1.234", "KWD", 1_234),
            ("0.0001", "CLF", 1),
        ];
        for (text, code, units) in cases {
            assert_eq!(read(text, currency(code)), Ok(MinorUnits::new(units)), "{text} {code}");
        }
    }

    #[test]
    fn what_is_finer_than_the_currency_is_refused_and_not_rounded() {
        for (text, code) in [
            ("150.755", "USD"),
            ("0.30000000000000004", "USD"),
            ("0.001", "USD"),
            ("150.5", "JPY"),
            ("1e-1", "JPY"),
            ("1.2345", "KWD"),
            ("1e-99999999999999999999", "USD"),
        ] {
            let currency = currency(code);
            assert_eq!(read(text, currency), Err(AmountError::TooFine { currency }), "{text} {code}");
        }
    }

    #[test]
    fn what_the_ledger_cannot_hold_is_refused() {
        let dollars = currency("USD");
        for text in ["92233720368547758.08", "1e17", "1e400", "1e99999999999999999999", "99999999999999999999999999"] {
            assert_eq!(read(text, dollars), Err(AmountError::TooLarge { currency: dollars }), "{text}");
        }
    }

    #[test]
    fn nothing_and_less_than_nothing_is_no_amount() {
        for text in ["0", "0.00", "-0", "-0.0", "0e400", "-1", "-150.75", "-1e400"] {
            assert_eq!(read(text, currency("USD")), Err(AmountError::NotPositive), "{text}");
        }
    }

    #[test]
    fn only_a_number_is_an_amount() {
        for text in [r#""150.75""#, "null", "true", "[1]", r#"{"units":1}"#, r#""1e2""#, r#""""#, ""] {
            assert_eq!(read(text, currency("USD")), Err(AmountError::NotANumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_as_it_is_written_reads_back(units in 1..=i64::MAX, code in prop::sample::select(vec!["USD", "JPY", "KWD", "CLF"])) {
            let currency = currency(code);
            let amount = MinorUnits::new(units);
            prop_assert_eq!(read(&currency.format(amount), currency), Ok(amount));
        }
    }
}
