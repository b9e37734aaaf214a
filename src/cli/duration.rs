//! Durations on the command line.

use std::time::Duration;

/// Reads `90s`, `2m`, `24h` or `30d`, up to 90 days.
pub(super) fn parse_long_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration up to 90d; write it like 90s, 24h or 30d");
    let days = match text.strip_suffix('d') {
        None => return parse_duration(text).map_err(|_| refuse()),
        Some(digits) => digits.parse::<u64>().ok().filter(|days| *days <= 90).ok_or_else(refuse)?,
    };
    Ok(Duration::from_secs(days * 24 * 3_600))
}

/// Reads `500ms`, `10s`, `2m` or `1h`, up to 24 hours.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration up to 24h; write it like 500ms, 10s or 2m");
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(refuse)?;
    let (digits, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    let total_ms = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms));
    match total_ms {
        Some(total_ms) if total_ms <= 24 * 3_600_000 => Ok(Duration::from_millis(total_ms)),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_duration_may_be_in_days() {
        assert_eq!(parse_long_duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(parse_long_duration("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["91d", "d", "-1d", "25h", "1"] {
            assert!(parse_long_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_is_read_with_its_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "-1s", "1.5s", "25h", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
