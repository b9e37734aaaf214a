//! Moments as RFC 3339.

use std::fmt;

use quorapay_core::domain::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of the ledger, written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub Timestamp);

impl Rfc3339 {
    /// Reads a moment in any time zone. What is finer than a millisecond is rounded up, so that an interval
    /// `[from, to)` keeps its meaning; what is before 1970 becomes its beginning.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        let milliseconds = moment.as_nanosecond().max(0).div_euclid(1_000_000);
        let finer = i128::from(moment.as_nanosecond() > milliseconds * 1_000_000);
        u64::try_from(milliseconds + finer).ok().map(Timestamp).map(Self)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The calendar ends in the year 9999. A ledger whose clock was further off still has to be shown.
        let milliseconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{moment:.3}")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rfc3339 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a moment is written as in RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_beyond_the_calendar_is_still_shown() {
        assert!(Rfc3339(Timestamp(u64::MAX)).to_string().starts_with("9999-12-"));
    }

    #[test]
    fn a_moment_reads_back_as_it_was_written() {
        for milliseconds in [0, 1, 1_700_000_000_050, 253_402_207_200_999] {
            let moment = Rfc3339(Timestamp(milliseconds));
            let json = serde_json::to_string(&moment).expect("a text");
            assert_eq!(serde_json::from_str::<Rfc3339>(&json).expect("its own text"), moment);
        }
        assert!(serde_json::from_str::<Rfc3339>("\"yesterday\"").is_err());
    }

    #[test]
    fn a_moment_between_two_milliseconds_counts_as_the_later_one() {
        let parsed = |text| Rfc3339::parse(text).map(|moment| moment.0);
        assert_eq!(parsed("1970-01-01T00:00:00.0010Z"), Some(Timestamp(1)));
        assert_eq!(parsed("1970-01-01T00:00:00.0011Z"), Some(Timestamp(2)));
        assert_eq!(parsed("1969-12-31T23:59:59Z"), Some(Timestamp(0)));
    }
}
