//! How a rebuild ends, and why it failed.

use strum::Display;
use time::Duration;

use crate::workspace::State;

/// How long a rebuild may run.
pub const TIME_LIMIT: Duration = Duration::hours(4);

/// How a rebuild ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Why it failed; `None` if it succeeded.
    pub failure: Option<Failure>,
    /// The state that the WorkSpace gets.
    pub state: State,
}

/// Why a rebuild failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Found out by the reconciler.
    Known(FailureCode),
    /// The fleet refused, with this code of its own.
    Refused(String),
}

impl Failure {
    /// The code in the record.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::Known(code) => code.to_string(),
            Self::Refused(code) => code.clone(),
        }
    }

    /// The message in the record.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Known(code) => code.message(),
            Self::Refused(_) => "the fleet refused the rebuild".to_owned(),
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
    RebuildFailed,
    HandoverUnknown,
    NotObserved,
    TimedOut,
}

impl FailureCode {
    fn message(self) -> String {
        match self {
            Self::WorkspaceGone => "the WorkSpace is no longer there".to_owned(),
            Self::InvalidState => {
                "the WorkSpace's state did not allow a rebuild when it was to be handed over"
                    .to_owned()
            }
            Self::RebuildFailed => "the fleet could not rebuild the WorkSpace".to_owned(),
            Self::HandoverUnknown => {
                "the rebuild was handed over, and it is not known whether that had an effect"
                    .to_owned()
            }
            Self::NotObserved => {
                "the fleet took the rebuild, and was not seen rebuilding the WorkSpace".to_owned()
            }
            Self::TimedOut => {
                format!("the rebuild was still running after {} hours", TIME_LIMIT.whole_hours())
            }
        }
    }
}
