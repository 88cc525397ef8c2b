//! How a rebuild ends, and why.

use strum::Display;
use time::Duration;

use super::Status;
use crate::state::State;
use crate::timestamp::Timestamp;

/// How long a rebuild may take once it was handed over.
pub const TIME_LIMIT: Duration = Duration::hours(4);

/// What a pass decides about the end of a rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How the rebuild ends.
    pub conclusion: Conclusion,
    /// The state that the WorkSpace gets.
    pub state: State,
}

impl End {
    /// A rebuild that failed.
    #[must_use]
    pub fn failed(failure: Failure, state: State) -> Self {
        Self { conclusion: Conclusion::Failed(failure.into()), state }
    }

    /// A rebuild that may or may not have rebuilt the WorkSpace.
    #[must_use]
    pub fn unknown(code: UnknownCode, state: State) -> Self {
        let detail = ErrorDetail { code: code.to_string(), message: code.message() };
        Self { conclusion: Conclusion::Unknown(detail), state }
    }
}

/// How and when a rebuild ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// How.
    pub conclusion: Conclusion,
    /// IP address of the WorkSpace then, if a look has shown it: a rebuild changes it.
    pub ip_address: Option<String>,
}

/// How a rebuild ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The WorkSpace was rebuilt.
    Succeeded,
    /// It was not.
    Failed(ErrorDetail),
    /// Nobody can tell.
    Unknown(ErrorDetail),
    /// A caller cancelled the rebuild before it was handed over.
    Cancelled {
        /// IAM ARN of the caller, or the IP address if the API knows no ARN.
        by: Option<String>,
    },
}

/// Why a rebuild did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDetail {
    /// A [`FailureCode`], an [`UnknownCode`], or the fleet's own code.
    pub code: String,
    /// The error in words.
    pub message: String,
}

impl Conclusion {
    /// The status of a rebuild that ended this way.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Succeeded => Status::Succeeded,
            Self::Failed(_) => Status::Failed,
            Self::Unknown(_) => Status::Unknown,
            Self::Cancelled { .. } => Status::Cancelled,
        }
    }

    /// Who cancelled it.
    #[must_use]
    pub fn cancelled_by(&self) -> Option<&str> {
        match self {
            Self::Succeeded | Self::Failed(_) | Self::Unknown(_) => None,
            Self::Cancelled { by } => by.as_deref(),
        }
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn error(&self) -> Option<&ErrorDetail> {
        match self {
            Self::Succeeded | Self::Cancelled { .. } => None,
            Self::Failed(detail) | Self::Unknown(detail) => Some(detail),
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

impl From<Failure> for ErrorDetail {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Known(code) => {
                Self { code: code.to_string(), message: code.message().to_owned() }
            }
            Failure::Refused(code) => {
                Self { code, message: "the fleet refused the rebuild".to_owned() }
            }
        }
    }
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
    EncryptionKeyUnusable,
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
            Self::EncryptionKeyUnusable => {
                "an encryption key of the WorkSpace is not enabled, and a rebuild would make the WorkSpace \
                 unusable; it was not touched"
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
