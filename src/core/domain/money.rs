//! Amounts as integers in minor units. Money is never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of money in the minor units of a currency (cents for USD, yen for JPY). Signed: balances may be
/// negative; the amount of a payment is always positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MinorUnits(i64);

/// Why an amount was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// A payment moves a positive amount.
    #[error("amount must be at least 1 minor unit, got {0}")]
    NotPositive(i64),
}

impl MinorUnits {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Wraps a count of minor units, of either sign.
    #[must_use]
    pub const fn new(units: i64) -> Self {
        Self(units)
    }

    /// The amount of a payment: at least one minor unit.
    ///
    /// # Errors
    /// [`MoneyError::NotPositive`] for zero and below.
    pub const fn positive(units: i64) -> Result<Self, MoneyError> {
        if units > 0 { Ok(Self(units)) } else { Err(MoneyError::NotPositive(units)) }
    }

    /// The count of minor units.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Sum, or `None` where it leaves the range of `i64`.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Sum of amounts whose sum is known to be in range.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Difference of amounts whose difference is known to be in range.
    pub(super) const fn less(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    /// Difference, or `None` where it leaves the range of `i64`.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }
}

impl fmt::Display for MinorUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
