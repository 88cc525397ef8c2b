//! Points in time.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use crate::format::InvalidFormat;

/// A point in time in UTC, in whole seconds. As text: RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The time that has passed since `earlier`; negative if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }

    /// The time so many seconds after the Unix epoch.
    ///
    /// # Errors
    /// RFC 3339 cannot write its year: it can write 0 to 9999.
    pub fn from_epoch_seconds(seconds: i64) -> Result<Self, InvalidFormat> {
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
        let time = time.filter(|time| time.year() >= 0).map(Self::from);
        time.ok_or_else(|| InvalidFormat("must be in the years 0 to 9999".to_owned()))
    }

    /// Whole minutes since the Unix epoch.
    #[must_use]
    pub fn minutes(self) -> u64 {
        self.0.unix_timestamp().unsigned_abs() / 60
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn epoch_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.to_offset(UtcOffset::UTC).truncate_to_second())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).truncate_to_second())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidFormat;

    fn try_from(text: String) -> Result<Self, InvalidFormat> {
        let time = OffsetDateTime::parse(&text, &Rfc3339).ok();
        // In UTC, the year may be another one, which RFC 3339 cannot write.
        let time = time.and_then(|time| time.checked_to_offset(UtcOffset::UTC));
        let time = time.filter(|time| time.year() >= 0).map(Self::from);
        time.ok_or_else(|| InvalidFormat("must be a time as in RFC 3339".to_owned()))
    }
}

/// A day in UTC. As text: `2026-11-30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
pub struct Day(Date);

impl From<Timestamp> for Day {
    fn from(time: Timestamp) -> Self {
        Self(time.0.date())
    }
}

impl TryFrom<&str> for Day {
    type Error = InvalidFormat;

    fn try_from(text: &str) -> Result<Self, InvalidFormat> {
        let midnight = Timestamp::try_from(format!("{text}T00:00:00Z"));
        midnight.map(Self::from).map_err(|_| {
            InvalidFormat("must be a day as YYYY-MM-DD, in UTC, such as 2026-11-30".to_owned())
        })
    }
}

/// A point in time as AWS's protocols write it, in seconds since the Unix epoch: a number in JSON, and
/// a number with CBOR's tag for that meaning (RFC 8949, 3.4.2) in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "i64")]
pub struct EpochSeconds(pub Timestamp);

impl TryFrom<i64> for EpochSeconds {
    type Error = InvalidFormat;

    fn try_from(seconds: i64) -> Result<Self, InvalidFormat> {
        Timestamp::from_epoch_seconds(seconds).map(Self)
    }
}

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.epoch_seconds();
        if serializer.is_human_readable() {
            seconds.serialize(serializer)
        } else {
            ciborium::tag::Required::<_, 1>(seconds).serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_in_utc_and_whole_seconds() {
        let text = "2025-01-01T01:59:59.999+02:00";
        let time = Timestamp::from(OffsetDateTime::parse(text, &Rfc3339).expect("a time"));
        assert_eq!(time.to_string(), "2024-12-31T23:59:59Z");
        assert_eq!(time.epoch_seconds(), 1_735_689_599);
        assert_eq!(Timestamp::try_from(text.to_owned()), Ok(time));
        assert_eq!((time + Duration::hours(1)).since(time), Duration::hours(1));
    }

    #[test]
    fn a_day_has_one_spelling() {
        for text in ["0000-01-01", "2024-02-29", "2026-11-30", "9999-12-31"] {
            let day = Day::try_from(text).map(|day| day.to_string());
            assert_eq!(day, Ok(text.to_owned()));
        }
        for text in [
            "",
            "today",
            "2026-02-30",
            "2025-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-11-00",
            "2026-1-1",
            "20261130",
            "26-11-30",
            "2026-W48-1",
            "2026-334",
            "+2026-11-30",
            "-0001-11-30",
            "10000-01-01",
            " 2026-11-30",
            "2026-11-30 ",
            "2026/11/30",
            "2026-11-30T00:00:00Z",
            "2026-11-30T00:00:00Z#",
            "2026-11-30T23:59:60",
        ] {
            assert!(Day::try_from(text).is_err(), "{text}");
        }
        let last = Timestamp::try_from("2026-12-01T00:59:59+01:00".to_owned()).expect("a time");
        assert_eq!(Day::from(last).to_string(), "2026-11-30");
    }

    #[test]
    fn a_time_outside_the_years_of_rfc_3339_is_refused() {
        for text in ["yesterday", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59"] {
            assert!(Timestamp::try_from(text.to_owned()).is_err(), "{text}");
        }
        for text in ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"] {
            let time = Timestamp::try_from(text.to_owned()).map(|time| time.to_string());
            assert_eq!(time, Ok(text.to_owned()));
        }
        for seconds in [i64::MIN, -62_167_219_201, 253_402_300_800, i64::MAX] {
            assert!(Timestamp::from_epoch_seconds(seconds).is_err(), "{seconds}");
        }
        let first = Timestamp::from_epoch_seconds(-62_167_219_200).map(|time| time.to_string());
        assert_eq!(first, Ok("0000-01-01T00:00:00Z".to_owned()));
        let last = Timestamp::try_from("9999-12-31T23:59:59Z".to_owned()).expect("a time");
        assert_eq!(last + Duration::days(1), last);
    }
}
