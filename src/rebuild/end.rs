//! How a rebuild ends, and why.

use strum::Display;
use time::Duration;

use super::Status;
use crate::workspace::State;

/// How long a rebuild may take once it was handed over.
pub const TIME_LIMIT: Duration = Duration::hours(4);

/// How a rebuild ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether the WorkSpace was rebuilt.
    pub outcome: Outcome,
    /// The state that the WorkSpace gets.
    pub state: State,
}

impl End {
    /// Whether the WorkSpace is no longer there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.outcome == Outcome::Failed(Failure::Known(FailureCode::WorkspaceGone))
    }
}

/// Whether the WorkSpace was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was.
    Succeeded,
    /// It was not.
    Failed(Failure),
    /// Nobody can tell.
    Unknown(UnknownCode),
}

impl Outcome {
    /// The status in the record.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Succeeded => Status::Succeeded,
            Self::Failed(_) => Status::Failed,
            Self::Unknown(_) => Status::Unknown,
        }
    }

    /// The error's code and message in the record, unless the rebuild succeeded.
    #[must_use]
    pub fn error(&self) -> Option<(String, String)> {
        match self {
            Self::Succeeded => None,
            Self::Failed(Failure::Known(code)) => Some((code.to_string(), code.message().into())),
            Self::Failed(Failure::Refused(code)) => {
                Some((code.clone(), "the fleet refused the rebuild".to_owned()))
            }
            Self::Unknown(code) => Some((code.to_string(), code.message())),
        }
    }
}

/// Why a rebuild failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Found out by the reconciler.
    Known(FailureCode),
    /// The fleet refused, with this code of its own.
    Refused(String),
}

/// Codes of failed rebuilds that are this project's own; all others are the fleet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each has its message")]
pub enum FailureCode {
    WorkspaceGone,
    InvalidState,
    Expired,
    FleetChanged,
    WorkspaceProtected,
    NoSnapshot,
    SnapshotTooOld,
    RebuildFailed,
}

impl FailureCode {
    fn message(self) -> &'static str {
        match self {
            Self::WorkspaceGone => "the WorkSpace is no longer there",
            Self::InvalidState => {
                "the WorkSpace's state did not allow a rebuild when it was to be handed over"
            }
            Self::Expired => {
                "the rebuild was not handed over in time; the WorkSpace was not touched"
            }
            Self::FleetChanged => {
                "the rebuild was accepted for another fleet; the WorkSpace was not touched"
            }
            Self::WorkspaceProtected => {
                "the WorkSpace was protected before it was handed over; it was not touched"
            }
            Self::NoSnapshot => {
                "the user volume has no snapshot to go back to; the WorkSpace was not touched"
            }
            Self::SnapshotTooOld => {
                "the newest snapshot of the user volume is too old; the WorkSpace was not touched"
            }
            Self::RebuildFailed => "the fleet could not rebuild the WorkSpace",
        }
    }
}

/// Codes of rebuilds of which nobody can tell whether the WorkSpace was rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each has its message")]
pub enum UnknownCode {
    HandoverUnknown,
    NotObserved,
    TimedOut,
    FleetChanged,
}

impl UnknownCode {
    fn message(self) -> String {
        let reason = match self {
            Self::HandoverUnknown => {
                "it is not known whether the fleet took the rebuild, and it was not seen rebuilding the WorkSpace"
            }
            Self::NotObserved => {
                "the fleet took the rebuild, and was not seen rebuilding the WorkSpace"
            }
            Self::TimedOut => {
                return format!(
                    "the rebuild had not ended {} hours after it was handed over; \
                     check the WorkSpace before you retry",
                    TIME_LIMIT.whole_hours()
                );
            }
            Self::FleetChanged => "the rebuild was handed over to another fleet",
        };
        format!("{reason}; check the WorkSpace before you retry")
    }
}
