//! Amounts as people write them, with the currency's decimals. They are parsed digit by digit; no floats are involved.

use super::currency::Currency;
use super::money::{MinorUnits, MoneyError};

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Other characters than digits with at most one point between them.
    #[error("{0:?} is no amount; write it like 150 or 150.75")]
    NotDecimal(String),
    /// More decimals than the currency has.
    #[error("{currency} has {exponent} decimals; {text:?} has more")]
    TooManyDecimals {
        /// The amount.
        text: String,
        /// Its currency.
        currency: Currency,
        /// How many decimals the currency has.
        exponent: u8,
    },
    /// More than 64 bits of minor units.
    #[error("{0:?} is more than a ledger can hold")]
    TooLarge(String),
    /// Zero.
    #[error(transparent)]
    NotPositive(#[from] MoneyError),
}

impl Currency {
    /// Parses `150.75` in a currency of two decimals as 15075 minor units.
    ///
    /// # Errors
    /// [`AmountError`] for anything but a positive amount that this currency can represent.
    pub fn parse_amount(self, text: &str) -> Result<MinorUnits, AmountError> {
        let not_decimal = || AmountError::NotDecimal(text.to_owned());
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(not_decimal()),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) {
            return Err(not_decimal());
        }
        let exponent = self.exponent();
        // Trailing zeros are allowed beyond the currency's decimals: 1.500 USD is 1.50 USD.
        let significant = fraction.trim_end_matches('0');
        if significant.len() > usize::from(exponent) {
            return Err(AmountError::TooManyDecimals { text: text.to_owned(), currency: self, exponent });
        }
        let digits = format!("{whole}{significant:0<width$}", width = usize::from(exponent));
        let units = digits.parse::<i64>().map_err(|_| AmountError::TooLarge(text.to_owned()))?;
        Ok(MinorUnits::positive(units)?)
    }

    /// Formats an amount that may exceed what a payment can have.
    #[must_use]
    pub fn format_wide(self, units: i128) -> String {
        if let Ok(units) = i64::try_from(units) {
            return self.format(MinorUnits::new(units));
        }
        // What does not fit into 64 bits has more digits than any currency has decimals.
        let mut digits = units.to_string();
        if self.exponent() > 0 {
            digits.insert(digits.len() - usize::from(self.exponent()), '.');
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, currency: &str) -> Result<i64, AmountError> {
        Currency::parse(currency).expect("listed").parse_amount(text).map(MinorUnits::get)
    }

    #[test]
    fn an_amount_is_parsed_with_the_decimals_of_its_currency() {
        assert_eq!(read("150.75", "USD"), Ok(15_075));
        assert_eq!(read("150.7", "USD"), Ok(15_070));
        assert_eq!(read("150", "USD"), Ok(15_000));
        assert_eq!(read("0.01", "USD"), Ok(1));
        assert_eq!(read("007.10", "USD"), Ok(710));
        assert_eq!(read("150", "JPY"), Ok(150));
        assert_eq!(read("1.234", "KWD"), Ok(1_234));
        assert_eq!(read("92233720368547758.07", "USD"), Ok(i64::MAX));
    }

    #[test]
    fn decimals_beyond_those_of_the_currency_are_refused_unless_they_are_zero() {
        assert_eq!(read("1.500", "USD"), Ok(150));
        assert_eq!(read("1.0", "JPY"), Ok(1));
        assert!(matches!(read("1.001", "USD"), Err(AmountError::TooManyDecimals { exponent: 2, .. })));
        assert!(matches!(read("1.5", "JPY"), Err(AmountError::TooManyDecimals { exponent: 0, .. })));
    }

    #[test]
    fn anything_but_a_positive_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1,5", "1e3", "1.2.3", " 1", "NaN", "١"] {
            assert!(matches!(read(text, "USD"), Err(AmountError::NotDecimal(_))), "{text:?}");
        }
        assert!(matches!(read("0.00", "USD"), Err(AmountError::NotPositive(_))));
        assert!(matches!(read("92233720368547758.08", "USD"), Err(AmountError::TooLarge(_))));
    }

    #[test]
    fn an_amount_beyond_64_bits_is_formatted_with_its_decimals_too() {
        let written = |currency, units| Currency::parse(currency).expect("listed").format_wide(units);
        assert_eq!(written("USD", 18_446_744_073_709_551_614), "184467440737095516.14");
        assert_eq!(written("JPY", 18_446_744_073_709_551_614), "18446744073709551614");
        assert_eq!(written("USD", -5), "-0.05");
    }
}
