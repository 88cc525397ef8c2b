//! Points in time.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// A point in time in UTC, in whole seconds. As text: RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The time that has passed since `earlier`; negative if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0 - earlier.0
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
        Self::from(self.0 + duration)
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
    type Error = time::error::Parse;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        OffsetDateTime::parse(&text, &Rfc3339).map(Self::from)
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
        assert!(Timestamp::try_from("yesterday".to_owned()).is_err());
        assert_eq!((time + Duration::hours(1)).since(time), Duration::hours(1));
    }
}
