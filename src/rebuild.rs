//! Rebuilds: their ids, how far they have come, how they end. Pure: no I/O, no clock.

mod end;
mod keys;
mod sight;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumString, VariantNames};
use time::OffsetDateTime;
use uuid::{NoContext, Uuid};

pub use self::end::{End, Failure, FailureCode, Outcome, TIME_LIMIT, UnknownCode};
pub use self::keys::{IdempotencyKey, Keys, Parameters, Remembered};
pub use self::sight::{Class, Sight};
use crate::error::InvalidFormat;
use crate::timestamp::Timestamp;
use crate::workspace::State;

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

/// The status of a rebuild, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted; not known to be under way.
    Requested,
    /// The fleet is rebuilding the WorkSpace.
    Started,
    /// Ended: the WorkSpace was rebuilt.
    Succeeded,
    /// Ended: the WorkSpace was not rebuilt; the error code says why.
    Failed,
    /// Ended: a caller cancelled it before it was handed over.
    Cancelled,
    /// Ended, and it is not known whether the WorkSpace was rebuilt; the error code says why.
    Unknown,
    /// A status that this version does not know. The reconciler leaves such a rebuild alone, and
    /// clients see `UNKNOWN`.
    #[strum(serialize = "UNKNOWN")]
    #[serde(rename(serialize = "UNKNOWN"), other)]
    Newer,
}

/// The kinds of fleet. A fresh deployment is simulated: nothing real is wiped until the deployer
/// says so.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Display,
    EnumString,
    VariantNames,
    Serialize,
    Deserialize,
)]
pub enum FleetMode {
    /// No WorkSpaces behind it: its answers depend on the item and the clock only.
    #[default]
    Simulated,
    /// The Amazon WorkSpaces API.
    AmazonWorkSpaces,
}

/// A rebuild of one WorkSpace: who requested it, when and why, and what happened to it.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the other names speak for themselves")]
pub struct Rebuild {
    pub id: RebuildId,
    pub created_at: Timestamp,
    pub status: Status,
    /// The client's key; without one, the key of the API's request.
    pub idempotency_key: IdempotencyKey,
    /// IAM ARN of the caller, if the API knows it.
    pub requested_by: Option<String>,
    /// IP address of the caller.
    pub source_ip: Option<String>,
    /// The API's id of the accepted request.
    pub request_id: Option<String>,
    pub reason: Option<String>,
    /// The rebuild fails if the newest snapshot of the user volume is older.
    pub maximum_snapshot_age_hours: Option<u16>,
    /// The fleet that it was accepted for.
    pub fleet_mode: FleetMode,
    /// State of the WorkSpace when the rebuild was accepted.
    pub previous_state: Option<State>,
    /// When a pass claimed the hand-over to the fleet.
    pub claimed_at: Option<Timestamp>,
    /// Id of that claim. A pass calls the fleet only after it wrote its claim, and only once.
    pub claim_id: Option<Uuid>,
    /// The newest snapshot of the user volume when the hand-over was claimed: what the user's files
    /// go back to, unless the fleet takes a newer one first.
    pub snapshot_at: Option<Timestamp>,
    /// When the rebuild was first known to be under way.
    pub started_at: Option<Timestamp>,
    /// When a pass first saw the WorkSpace in REBUILDING for this rebuild.
    pub seen_rebuilding_at: Option<Timestamp>,
    /// What every look has shown for some time, if that may decide the rebuild.
    pub sight: Option<Sight>,
    pub ended_at: Option<Timestamp>,
    /// Who cancelled it: IAM ARN, or the IP address if the API knows no ARN.
    pub cancelled_by: Option<String>,
    /// A [`FailureCode`], an [`UnknownCode`], or the fleet's own code.
    pub error_code: Option<String>,
    /// The error in words.
    pub error_message: Option<String>,
}

impl Rebuild {
    /// A rebuild requested at `now`, with a new id. Its idempotency key is that id.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        let id = RebuildId::new(now);
        Self {
            id,
            created_at: now.into(),
            status: Status::Requested,
            idempotency_key: id.into(),
            requested_by: None,
            source_ip: None,
            request_id: None,
            reason: None,
            maximum_snapshot_age_hours: None,
            fleet_mode: FleetMode::default(),
            previous_state: None,
            claimed_at: None,
            claim_id: None,
            snapshot_at: None,
            started_at: None,
            seen_rebuilding_at: None,
            sight: None,
            ended_at: None,
            cancelled_by: None,
            error_code: None,
            error_message: None,
        }
    }

    /// What its request asked for.
    #[must_use]
    pub fn parameters(&self) -> Parameters<'_> {
        Parameters {
            reason: self.reason.as_deref(),
            maximum_snapshot_age_hours: self.maximum_snapshot_age_hours,
        }
    }

    /// How far the rebuild has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.status {
            Status::Requested => match self.claimed_at {
                None => Stage::Requested,
                Some(since) => Stage::Claimed { since },
            },
            Status::Started => {
                let since = self.claimed_at.or(self.started_at).unwrap_or(self.created_at);
                if self.seen_rebuilding_at.is_some() {
                    Stage::Seen { since }
                } else {
                    Stage::Started { since }
                }
            }
            Status::Succeeded | Status::Failed | Status::Cancelled | Status::Unknown => {
                Stage::Ended
            }
            Status::Newer => Stage::Newer,
        }
    }

    /// Whether the rebuild has yet to end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.stage() {
            Stage::Requested
            | Stage::Claimed { .. }
            | Stage::Started { .. }
            | Stage::Seen { .. } => true,
            Stage::Ended | Stage::Newer => false,
        }
    }
}

/// An accepted rebuild.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub rebuild_id: RebuildId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Whether an earlier request was accepted, and this one repeats it.
    pub is_replay: bool,
}

impl Accepted {
    pub(crate) fn first(rebuild: &Rebuild) -> Self {
        Self { rebuild_id: rebuild.id, created_at: rebuild.created_at, is_replay: false }
    }
}

/// How far a rebuild has come, as the reconciler needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No pass has claimed the hand-over.
    Requested,
    /// A pass claimed the hand-over; whether it called the fleet, and with what effect, is not known.
    Claimed {
        /// Time of the claim.
        since: Timestamp,
    },
    /// The fleet accepted the rebuild; no pass has seen the WorkSpace in REBUILDING.
    Started {
        /// Time of the claim.
        since: Timestamp,
    },
    /// Under way: a pass has seen the WorkSpace in REBUILDING.
    Seen {
        /// Time of the claim.
        since: Timestamp,
    },
    /// Decided. The record may still have to be written, and the WorkSpace released.
    Ended,
    /// Written by a newer version.
    Newer,
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
