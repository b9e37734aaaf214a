//! Account ids, statuses and overdraft policies.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MinorUnits;

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It can pay and receive.
    #[default]
    Active,
    /// It can neither pay nor receive until it is active again. Its holds may be voided and expire.
    Frozen,
    /// Like frozen, permanently, with no money in it.
    Closed,
}

impl AccountStatus {
    /// The status in the API and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Closed => "closed",
        }
    }

    /// Parses what [`Self::as_str`] returns.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Frozen, Self::Closed].into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for AccountStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Accounts with this prefix stand for the outside world (cards, banks): they may always go negative.
pub const EXTERNAL_PREFIX: &str = "external:";

const MAX_ACCOUNT_ID_CHARS: usize = 64;

/// Identifies an account: 1 to 64 characters of `A-Z a-z 0-9 _ . : -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountId(CompactString);

/// The text is not an account id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account id has 1 to 64 characters, each one of A-Z a-z 0-9 _ . : -")]
pub struct AccountIdError;

impl AccountId {
    /// Checks and wraps an account id.
    ///
    /// # Errors
    /// [`AccountIdError`] for an empty or long text and for any other character.
    pub fn parse(text: &str) -> Result<Self, AccountIdError> {
        Self::checked(text)?;
        Ok(Self(CompactString::new(text)))
    }

    fn checked(text: &str) -> Result<(), AccountIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
        let fits = (1..=MAX_ACCOUNT_ID_CHARS).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(()) } else { Err(AccountIdError) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the account stands for the outside world.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.0.starts_with(EXTERNAL_PREFIX)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::checked(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(text))
    }
}

/// How far below zero an account may go, in each of its currencies. The text is `none`, `limit:N` (N in minor units) or
/// `unlimited`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overdraft {
    /// Never below zero.
    #[default]
    None,
    /// Down to minus this many minor units.
    Limit(MinorUnits),
    /// Down to the lowest amount that can be represented.
    Unlimited,
}

/// The text is not an overdraft policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an overdraft policy is \"none\", \"unlimited\" or \"limit:N\" with N from 1 to 9223372036854775807 minor units"
)]
pub struct OverdraftError;

impl Overdraft {
    /// Parses a policy.
    ///
    /// # Errors
    /// [`OverdraftError`] for any other text, and for a limit that is not positive.
    pub fn parse(text: &str) -> Result<Self, OverdraftError> {
        match text {
            "none" => Ok(Self::None),
            "unlimited" => Ok(Self::Unlimited),
            _ => {
                let digits = text.strip_prefix("limit:").ok_or(OverdraftError)?;
                // Each limit has one spelling, as every other text that is parsed here.
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.starts_with('0') {
                    return Err(OverdraftError);
                }
                let units = digits.parse::<i64>().map_err(|_| OverdraftError)?;
                Ok(Self::Limit(MinorUnits::positive(units).map_err(|_| OverdraftError)?))
            }
        }
    }

    /// The lowest balance that the policy allows.
    #[must_use]
    pub fn floor(self) -> MinorUnits {
        match self {
            Self::None => MinorUnits::ZERO,
            Self::Limit(limit) => MinorUnits::new(-limit.get()),
            Self::Unlimited => MinorUnits::new(i64::MIN),
        }
    }
}

impl fmt::Display for Overdraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Limit(limit) => write!(f, "limit:{limit}"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Serialize for Overdraft {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Overdraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_holds_1_to_64_of_the_allowed_characters() {
        for good in ["a", "shop:42", "external:card_1", "A.b-c", &"x".repeat(64)] {
            assert!(AccountId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "käse", "a/b", &"x".repeat(65)] {
            assert_eq!(AccountId::parse(bad), Err(AccountIdError), "{bad}");
        }
    }

    #[test]
    fn an_overdraft_policy_reads_back_as_it_was_written() {
        for text in ["none", "unlimited", "limit:1", "limit:9223372036854775807"] {
            assert_eq!(Overdraft::parse(text).expect("valid").to_string(), text);
        }
        for bad in ["", "limit:", "limit:0", "limit:07", "limit:-5", "limit:+5", "limit:9223372036854775808", "None"] {
            assert_eq!(Overdraft::parse(bad), Err(OverdraftError), "{bad}");
        }
    }
}
