//! Time as the system exchanges it: milliseconds since the Unix epoch, shown as RFC 3339 in UTC.
//!
//! A time that came from somebody else is for display only; nothing is ordered or rejected by it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z, ignoring leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock. A clock before 1970 reads as 0.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let shift = crate::fault::clock_shift().saturating_mul(1_000);
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(shift).max(0))
    }

    /// Whole seconds since the epoch.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a peer claims may lie outside of the calendar; it is clamped, because it is only shown.
        let limit = jiff::Timestamp::MAX.as_millisecond();
        match jiff::Timestamp::from_millisecond(self.0.clamp(0, limit)) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("1970-01-01T00:00:00.000Z"),
        }
    }
}

/// Text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-01-31T12:00:00.000Z")]
pub struct ParseTimeError(String);

impl FromStr for Timestamp {
    type Err = ParseTimeError;
    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(time.as_millisecond()))
            .map_err(|_| ParseTimeError(text.chars().take(80).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
            text.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(d).map(Self)
        }
    }
}

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Not of this form.
    #[error("{0:?} is not a duration: write a whole number and a unit, such as 30s, 10m, 2h or 7d")]
    Form(String),
    /// Nothing, or more than 100 years.
    #[error("{0:?} is out of range: 1s is the least, and 36500d, a hundred years, is the most")]
    Range(String),
}

/// Reads `30s`, `10m`, `2h`, `7d`. Nothing longer than 100 years.
///
/// # Errors
/// Anything else, zero included.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let shown = || text.chars().take(40).collect();
    let bad = || ParseDurationError::Form(shown());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(bad());
    }
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    const MAX_SECONDS: u64 = 100 * 365 * 86_400;
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)) {
        Some(total) if (1..=MAX_SECONDS).contains(&total) => Ok(Duration::from_secs(total)),
        _ => Err(ParseDurationError::Range(shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_with_milliseconds() {
        assert_eq!(Timestamp(1_760_000_000_123).to_string(), "2025-10-09T08:53:20.123Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!("2025-10-09T08:53:20.123Z".parse(), Ok(Timestamp(1_760_000_000_123)));
    }

    #[test]
    fn hostile_times_do_not_panic() {
        for time in [i64::MIN, -1, i64::MAX] {
            assert!(!Timestamp(time).to_string().is_empty());
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "s", "10", "-1s", "1w", "1.5h", "١s"] {
            assert_eq!(parse_duration(bad), Err(ParseDurationError::Form(bad.into())), "{bad}");
        }
        // Of the right form: to be told to write it so would be no help.
        for bad in ["0s", "0d", "36501d", "99999999999999999999s", "9999999999999d"] {
            assert_eq!(parse_duration(bad), Err(ParseDurationError::Range(bad.into())), "{bad}");
        }
        assert!(parse_duration("36500d").is_ok());
    }
}
