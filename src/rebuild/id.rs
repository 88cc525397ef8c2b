//! The id of a rebuild.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::{NoContext, Uuid};

use crate::format::InvalidFormat;
use crate::timestamp::Timestamp;

/// The id of a rebuild: a UUID version 7 (RFC 9562). It is ordered by time, and its 74 other bits
/// are random, so that nobody can guess it from another id.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct RebuildId(Uuid);

impl RebuildId {
    /// A new id for a rebuild requested at `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, now.nanosecond())))
    }

    /// When the rebuild was requested.
    #[must_use]
    pub fn created_at(self) -> Timestamp {
        let seconds = self.0.get_timestamp().map_or(0, |time| time.to_unix().0);
        let seconds = i64::try_from(seconds).unwrap_or_default();
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
    }
}

impl TryFrom<String> for RebuildId {
    type Error = InvalidFormat;

    fn try_from(text: String) -> Result<Self, InvalidFormat> {
        // Only one spelling is accepted, so that each rebuild has exactly one URL.
        let id = Uuid::try_parse(&text).ok().map(Self);
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| InvalidFormat("is not the id of a rebuild".to_owned()))
    }
}

impl From<RebuildId> for String {
    fn from(id: RebuildId) -> Self {
        id.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn rebuild_ids_are_ordered_by_time_and_differ_within_a_millisecond() {
        let early = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let late = early + Duration::milliseconds(1);
        let (first, second, third) =
            (RebuildId::new(early), RebuildId::new(late), RebuildId::new(late));
        assert!(first < second && first < third && second != third);
        // DynamoDB orders by the text.
        assert!(first.to_string() < second.to_string());
        assert_eq!(RebuildId::try_from(first.to_string()), Ok(first));
        assert_eq!(third.created_at(), late.into());
        let other_spelling = first.to_string().to_uppercase();
        for text in ["x".to_owned(), other_spelling, format!("urn:uuid:{first}")] {
            assert!(RebuildId::try_from(text.clone()).is_err(), "{text}");
        }
    }
}
