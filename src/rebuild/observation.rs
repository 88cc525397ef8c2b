//! What a state of the WorkSpace means for its rebuild, and for how long looks have shown it.

use serde::{Deserialize, Serialize};
use strum::Display;

use crate::state::State;
use crate::timestamp::Timestamp;

/// Every look since a point in time has shown states of the same class.
///
/// The fleet's answers may be outdated, leave a WorkSpace out, or show a state that soon passes. So
/// a state decides a rebuild only after looks have shown it for some time, and the item says since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Observation {
    /// The class of those states. (`Class` is a reserved word of DynamoDB.)
    pub shown: Class,
    /// When the first of these looks began.
    pub since: Timestamp,
}

/// What a state means for a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Class {
    /// A rebuild may start, or has succeeded.
    Well,
    /// A rebuild may start, or has failed.
    Ill,
    /// A rebuild may start; the WorkSpace will soon be in another state.
    Rebooting,
    /// Somebody's rebuild is running.
    Rebuilding,
    /// The WorkSpace will leave this state by itself.
    Passing,
    /// A rebuild has failed; AWS starts none from this state. (Its API model refers to UNHEALTHY.)
    Impaired,
    /// A rebuild may start, but a volume is being changed.
    Modifying,
    /// A rebuild may start, but the user is connected, and the request asks to wait until they are not.
    Connected,
    /// The WorkSpace is no longer there, or soon will not be.
    Gone,
}

impl Class {
    /// The class of the state that a look shows; `None` means that the WorkSpace is not there.
    #[must_use]
    pub fn of(state: Option<State>) -> Self {
        let Some(state) = state else {
            return Self::Gone;
        };
        match state {
            State::Available | State::Stopped => Self::Well,
            State::Error | State::Unhealthy => Self::Ill,
            State::Rebooting => Self::Rebooting,
            State::Rebuilding => Self::Rebuilding,
            State::Pending
            | State::Starting
            | State::Stopping
            | State::Updating
            | State::Maintenance
            | State::AdminMaintenance
            | State::Restoring
            // While an image is made of it (API model).
            | State::Suspended
            | State::Unknown => Self::Passing,
            State::Impaired => Self::Impaired,
            State::Terminating | State::Terminated => Self::Gone,
        }
    }
}
