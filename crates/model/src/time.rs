//! Instants and lifetimes. Time is always an argument here: only `runtime::Clock` reads the clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// An instant in microseconds since the Unix epoch. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last instant that can be written: 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799 * MICROS_PER_SECOND);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// Clamped to what RFC 3339 can write.
    pub const fn from_micros(micros: i64) -> Self {
        if micros > Self::MAX.0 {
            Self::MAX
        } else if micros < 0 {
            Self::EPOCH
        } else {
            Self(micros)
        }
    }

    /// From `NumericDate` seconds (RFC 7519 §2).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// Saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Saturating.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }

    /// Zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .map_err(|_| fmt::Error)?;
        f.write_str(&date.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an instant as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant; write it like `2026-11-24T10:00:00Z`")]
pub struct InvalidTimestamp(String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp(text.to_owned()))?;
        let micros = i64::try_from(date.unix_timestamp_nanos() / 1000)
            .map_err(|_| InvalidTimestamp(text.to_owned()))?;
        Ok(Self::from_micros(micros))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A length of time in whole seconds. Written like `90s`, `30m`, `8h`, `1h30m`, `35d`, or as ISO 8601 (`PT2H`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", extend("examples" = ["30m", "8h", "PT2H"]))]
pub struct Lifetime(u64);

impl Lifetime {
    /// Whole seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Whole seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// The same as a standard duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, letter) in UNITS {
            let whole = rest / unit;
            rest %= unit;
            if whole > 0 {
                write!(f, "{whole}{letter}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];

/// The text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time; write it like `90s`, `30m`, `8h`, `1h30m` or `PT2H`")]
pub struct InvalidLifetime(String);

impl FromStr for Lifetime {
    type Err = InvalidLifetime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_lifetime(text).map(Self).ok_or_else(|| InvalidLifetime(text.to_owned()))
    }
}

fn parse_lifetime(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let compact: String = match lower.strip_prefix('p') {
        Some(iso) => iso.chars().filter(|c| *c != 't').collect(),
        None => lower,
    };
    let (mut total, mut number, mut units) = (0_u64, None::<u64>, UNITS.iter());
    for c in compact.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        // Units appear once each, longest first: `units` only moves forward.
        let (seconds, _) = units.find(|(_, letter)| *letter == c)?;
        total = total.checked_add(number.take()?.checked_mul(*seconds)?)?;
    }
    (number.is_none() && !compact.is_empty()).then_some(total)
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_in_both_notations_and_written_in_the_short_one() {
        for (text, seconds, written) in [
            ("90s", 90, "1m30s"),
            ("30m", 1_800, "30m"),
            ("PT2H", 7_200, "2h"),
            ("P1DT1H", 90_000, "1d1h"),
            ("35d", 3_024_000, "35d"),
            ("0s", 0, "0s"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!(
                (lifetime.seconds(), lifetime.to_string().as_str()),
                (seconds, written),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_lifetime_is_refused_with_an_example() {
        for text in ["", "30", "m", "1m1h", "1h1h", "-5m", "1.5h", "99999999999999999999d", "PT"] {
            assert!(text.parse::<Lifetime>().is_err(), "{text}");
        }
        assert_eq!(
            "30".parse::<Lifetime>().unwrap_err().to_string(),
            "`30` is not a length of time; write it like `90s`, `30m`, `8h`, `1h30m` or `PT2H`"
        );
    }

    #[test]
    fn instants_round_trip_through_rfc_3339() {
        let instant = Timestamp::from_micros(1_795_516_271_732_852);
        assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        assert_eq!("2026-11-24T10:00:00Z".parse::<Timestamp>().unwrap().seconds(), 1_795_514_400);
    }

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.minus(Duration::from_secs(1)), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }
}
