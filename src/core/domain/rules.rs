//! Rule versions: which set of the bank's rules decides an entry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a set of the bank's decision rules. A program knows every version up to its newest one, because entries are
/// decided again by the rules under which they were written. Whoever changes a rule adds a version and keeps the old
/// rule for the versions before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleVersion(pub u32);

impl RuleVersion {
    /// The first rules.
    pub const FIRST: Self = Self(1);

    /// The newest rules that this program knows.
    pub const NEWEST: Self = Self(1);

    /// Rules that no released program knows, for tests of upgrades: one rule really differs, see
    /// [`Self::refuses_amounts_ending_in_seven`].
    #[cfg(feature = "trial-rules")]
    pub const TRIAL: Self = Self(Self::NEWEST.0 + 1);

    /// Whether a payment of 7, 17, 27, … minor units is refused.
    #[cfg(feature = "trial-rules")]
    #[must_use]
    pub const fn refuses_amounts_ending_in_seven(self) -> bool {
        self.0 >= Self::TRIAL.0
    }

    /// Whether a payment of 7, 17, 27, … minor units is refused. Only trial rules do that.
    #[cfg(not(feature = "trial-rules"))]
    #[must_use]
    pub const fn refuses_amounts_ending_in_seven(self) -> bool {
        let _ = self;
        false
    }
}

impl Default for RuleVersion {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for RuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
