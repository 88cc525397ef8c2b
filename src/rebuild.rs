//! Rebuilds: their ids, how far they have come, how they end. Pure: no I/O, no clock.

mod end;
mod id;
mod keys;
mod members;
mod observation;

use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use strum::{Display, EnumString, VariantNames};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

pub use self::end::{
    Conclusion, End, Ending, ErrorDetail, Failure, FailureCode, TIME_LIMIT, UnknownCode,
};
pub use self::id::RebuildId;
pub use self::keys::{IdempotencyKey, Keys, Parameters, Remembered};
pub use self::observation::{Class, Observation};
use crate::state::State;
use crate::timestamp::Timestamp;

/// The status of a rebuild, as clients see it.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, Display, EnumString, SerializeDisplay, DeserializeFromStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
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
    /// A status that only a newer version knows, as it is stored.
    #[strum(default)]
    Unrecognized(String),
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

/// What a rebuild waits for before it is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WaitingFor {
    /// The WorkSpace has to leave its state.
    State,
    /// The user has to disconnect.
    Disconnect,
    /// A volume of the WorkSpace is being changed.
    Modification,
    /// Hand-overs are paused.
    Pause,
    /// Its turn: others run or wait before it.
    Place,
}

/// A rebuild of one WorkSpace: who requested it, when and why, and what happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "members::Members", into = "members::Members")]
#[expect(missing_docs, reason = "the other names speak for themselves")]
pub struct Rebuild {
    pub id: RebuildId,
    pub created_at: Timestamp,
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
    /// Whether it waits while the user is connected, if the request says so.
    pub wait_for_disconnect: Option<bool>,
    /// The fleet that it was accepted for.
    pub fleet_mode: FleetMode,
    /// State of the WorkSpace when the rebuild was accepted.
    pub previous_state: Option<State>,
    /// Raised by each reconciler write that no other may overtake. A pass writes only while this
    /// is still the value that it read, so a delayed write changes nothing.
    pub attempt: u32,
    /// Present once a pass has claimed the hand-over to the fleet.
    pub claim: Option<Claim>,
    pub phase: Phase,
}

/// Whether a rebuild has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It has not. If every look has shown the same class of states for some time, and that may decide
    /// the rebuild, it is observed.
    Running(Option<Observation>),
    /// It has.
    Ended(Ending),
    /// It has a status that this version does not know. The reconciler leaves it alone.
    Unrecognized(String),
}

/// A pass calls the fleet only after writing its claim, and only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: Uuid,
    /// When the pass claimed the hand-over.
    pub at: Timestamp,
    /// The newest snapshot of the user volume at that time: what the user's files go back to, unless
    /// the fleet takes a newer one first.
    pub snapshot_at: Timestamp,
    /// Whether the user was connected then, if the fleet knew.
    pub user_connected: Option<bool>,
    /// What is known of the call.
    pub hand_over: HandOver,
}

/// What is known of the call that hands a rebuild over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// Nothing: neither whether it was made, nor its effect.
    Unconfirmed,
    /// The fleet accepted it.
    Accepted {
        /// When the rebuild was first known to be under way.
        started_at: Timestamp,
    },
    /// A look has shown the WorkSpace in REBUILDING for this rebuild.
    Observed {
        /// When the rebuild was first known to be under way.
        started_at: Timestamp,
        /// When the look began.
        at: Timestamp,
        /// No confirmation of the call was recorded before: the WorkSpace was rebuilt after the hand-over,
        /// perhaps by somebody else.
        inferred: bool,
    },
}

impl Rebuild {
    /// A rebuild requested at `now`, with a new id. Its idempotency key is that id.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        let id = RebuildId::new(now);
        Self {
            id,
            created_at: now.into(),
            idempotency_key: id.into(),
            requested_by: None,
            source_ip: None,
            request_id: None,
            reason: None,
            maximum_snapshot_age_hours: None,
            wait_for_disconnect: None,
            fleet_mode: FleetMode::default(),
            previous_state: None,
            attempt: 0,
            claim: None,
            phase: Phase::Running(None),
        }
    }

    /// What its request asked for.
    #[must_use]
    pub fn parameters(&self) -> Parameters<'_> {
        Parameters {
            reason: self.reason.as_deref(),
            maximum_snapshot_age_hours: self.maximum_snapshot_age_hours,
            wait_for_disconnect: self.wait_for_disconnect,
        }
    }

    /// The newest snapshot of the user volume, to which its files go back, if the rebuild may be handed
    /// over with it at `now`. Without a limit of its own, `default_hours` is the greatest age in hours, if
    /// there is one.
    ///
    /// # Errors
    /// There is no snapshot, or it is too old.
    pub fn usable_snapshot(
        &self,
        snapshot_at: Option<Timestamp>,
        now: Timestamp,
        default_hours: Option<u16>,
    ) -> Result<Timestamp, FailureCode> {
        let snapshot_at = snapshot_at.ok_or(FailureCode::NoSnapshot)?;
        match self.maximum_snapshot_age_hours.or(default_hours) {
            Some(hours) if now.since(snapshot_at) > Duration::hours(hours.into()) => {
                Err(FailureCode::SnapshotTooOld)
            }
            Some(_) | None => Ok(snapshot_at),
        }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Running(_) if self.started_at().is_some() => Status::Started,
            Phase::Running(_) => Status::Requested,
            Phase::Ended(ending) => ending.conclusion.status(),
            Phase::Unrecognized(status) => Status::Unrecognized(status.clone()),
        }
    }

    /// How far the rebuild has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Running(_) => match self.claim {
                None => Stage::Requested,
                Some(Claim { at: since, hand_over, .. }) => match hand_over {
                    HandOver::Unconfirmed => Stage::Claimed { since },
                    HandOver::Accepted { .. } => Stage::Started { since },
                    HandOver::Observed { .. } => Stage::Observed { since },
                },
            },
            Phase::Ended(_) => Stage::Ended,
            Phase::Unrecognized(_) => Stage::Unrecognized,
        }
    }

    /// Whether it is open, with a status that this version knows.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    /// When it was first known to be under way.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        match self.claim?.hand_over {
            HandOver::Unconfirmed => None,
            HandOver::Accepted { started_at } | HandOver::Observed { started_at, .. } => {
                Some(started_at)
            }
        }
    }

    /// When a look has first shown the WorkSpace in REBUILDING for this rebuild.
    #[must_use]
    pub fn observed_at(&self) -> Option<Timestamp> {
        match self.claim?.hand_over {
            HandOver::Unconfirmed | HandOver::Accepted { .. } => None,
            HandOver::Observed { at, .. } => Some(at),
        }
    }

    /// Whether that look came without a recorded confirmation of the call.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        let hand_over = self.claim.map(|claim| claim.hand_over);
        matches!(hand_over, Some(HandOver::Observed { inferred: true, .. }))
    }

    /// What every look has shown for some time, if that may decide the rebuild.
    #[must_use]
    pub fn observation(&self) -> Option<Observation> {
        match &self.phase {
            Phase::Running(observation) => *observation,
            Phase::Ended(_) | Phase::Unrecognized(_) => None,
        }
    }

    /// What it waits for, if the looks have shown that.
    #[must_use]
    pub fn waits_for(&self) -> Option<WaitingFor> {
        if self.stage() != Stage::Requested {
            return None;
        }
        match self.observation()?.shown {
            Class::Connected => Some(WaitingFor::Disconnect),
            Class::Modifying => Some(WaitingFor::Modification),
            Class::Well
            | Class::Ill
            | Class::Rebooting
            | Class::Rebuilding
            | Class::Passing
            | Class::Impaired
            | Class::Gone => Some(WaitingFor::State),
        }
    }

    /// How it ended.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Running(_) | Phase::Unrecognized(_) => None,
            Phase::Ended(ending) => Some(ending),
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
    /// The fleet accepted the rebuild; no look has shown the WorkSpace in REBUILDING.
    Started {
        /// Time of the claim.
        since: Timestamp,
    },
    /// Under way: a look has shown the WorkSpace in REBUILDING.
    Observed {
        /// Time of the claim.
        since: Timestamp,
    },
    /// Decided. The record may still have to be written, and the WorkSpace released.
    Ended,
    /// Written by a newer version.
    Unrecognized,
}
