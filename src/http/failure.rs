//! Failures, as the log and the faces name them.

use strum::IntoStaticStr;

use super::body::InvalidBody;
use crate::error::{
    AcceptError, CancelError, Cause, DescribeRebuildError, Fault, ListError, ListRebuildsError,
    PauseError, PreviewError, ProtectionError, WorkspaceError,
};
use crate::format::InvalidFormat;

/// The stable code of a failure: part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE", const_into_str)]
pub(super) enum Code {
    ValidationError,
    /// Only the AWS face has operations to name.
    UnknownOperation,
    /// No such path.
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    PayloadTooLarge,
    WorkspaceNotFound,
    RebuildNotFound,
    InvalidWorkspaceState,
    WorkspaceProtected,
    RebuildNotCancellable,
    IdempotencyKeyReused,
    Throttled,
    ServiceUnavailable,
    OutcomeUnknown,
    InternalError,
}

/// Seconds until a failed request is worth repeating.
const RETRY_SECONDS: &str = "5";

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    /// For the client.
    pub(super) message: String,
    /// For the log. Present if the service is at fault, not the request.
    pub(super) cause: Option<Cause>,
    /// A header that this failure adds to the response.
    pub(super) header: Option<(&'static str, String)>,
}

impl Failure {
    /// The request is at fault.
    pub(super) fn refusal(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None, header: None }
    }

    /// The request has a value that is not valid.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::refusal(Code::ValidationError, message)
    }

    /// A field of the request has a text of another format.
    pub(super) fn field(name: &str, error: &InvalidFormat) -> Self {
        Self::invalid(format!("{name} {error}"))
    }

    fn invalid_token() -> Self {
        Self::invalid("next_token is not one of this listing's")
    }

    /// The service is at fault.
    fn fault(code: Code, message: String, cause: Cause) -> Self {
        Self { cause: Some(cause), ..Self::refusal(code, message) }
    }

    /// The same request may succeed in a few seconds.
    pub(super) fn with_retry_after(self) -> Self {
        Self { header: Some(("retry-after", RETRY_SECONDS.to_owned())), ..self }
    }
}

impl From<InvalidBody> for Failure {
    fn from(error: InvalidBody) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        match fault {
            Fault::Throttled(cause) | Fault::Unreachable(cause) => {
                Self::fault(Code::ServiceUnavailable, message, cause).with_retry_after()
            }
            Fault::Internal(cause) => Self::fault(Code::InternalError, message, cause),
        }
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        let message = error.to_string();
        match error {
            AcceptError::WorkspaceNotFound(_) => Self::refusal(Code::WorkspaceNotFound, message),
            AcceptError::InvalidState { .. } => Self::refusal(Code::InvalidWorkspaceState, message),
            AcceptError::NotReleased(_) => {
                Self::refusal(Code::InvalidWorkspaceState, message).with_retry_after()
            }
            AcceptError::Protected(_) => Self::refusal(Code::WorkspaceProtected, message),
            AcceptError::KeyReused => Self::refusal(Code::IdempotencyKeyReused, message),
            AcceptError::OutcomeUnknown { source, .. } => {
                Self::fault(Code::OutcomeUnknown, message, source)
            }
            AcceptError::Fault(fault) => fault.into(),
        }
    }
}

impl From<CancelError> for Failure {
    fn from(error: CancelError) -> Self {
        let message = error.to_string();
        match error {
            CancelError::NotFound => Self::refusal(Code::RebuildNotFound, message),
            CancelError::NotCancellable { .. } => {
                Self::refusal(Code::RebuildNotCancellable, message)
            }
            CancelError::OutcomeUnknown(cause) => Self::fault(Code::OutcomeUnknown, message, cause),
            CancelError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ProtectionError> for Failure {
    fn from(error: ProtectionError) -> Self {
        let message = error.to_string();
        match error {
            ProtectionError::NotFound(_) => Self::refusal(Code::WorkspaceNotFound, message),
            ProtectionError::OutcomeUnknown(cause) => {
                Self::fault(Code::OutcomeUnknown, message, cause)
            }
            ProtectionError::Fault(fault) => fault.into(),
        }
    }
}

impl From<PauseError> for Failure {
    fn from(error: PauseError) -> Self {
        let message = error.to_string();
        match error {
            PauseError::OutcomeUnknown(cause) => Self::fault(Code::OutcomeUnknown, message, cause),
            PauseError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ListError> for Failure {
    fn from(error: ListError) -> Self {
        match error {
            ListError::InvalidToken => Self::invalid_token(),
            ListError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ListRebuildsError> for Failure {
    fn from(error: ListRebuildsError) -> Self {
        match error {
            ListRebuildsError::WorkspaceNotFound(_) => {
                Self::refusal(Code::WorkspaceNotFound, error.to_string())
            }
            ListRebuildsError::InvalidToken => Self::invalid_token(),
            ListRebuildsError::Fault(fault) => fault.into(),
        }
    }
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        match error {
            WorkspaceError::NotFound(_) => {
                Self::refusal(Code::WorkspaceNotFound, error.to_string())
            }
            WorkspaceError::Fault(fault) => fault.into(),
        }
    }
}

impl From<PreviewError> for Failure {
    fn from(error: PreviewError) -> Self {
        let message = error.to_string();
        match error {
            PreviewError::NotFound(_) => Self::refusal(Code::WorkspaceNotFound, message),
            PreviewError::TooMany { retry_after } => {
                // Rounded up: a second too early is too early.
                let seconds = retry_after.as_secs() + 1;
                let header = Some(("retry-after", seconds.to_string()));
                Self { header, ..Self::refusal(Code::Throttled, message) }
            }
            PreviewError::FleetSilent(cause) => {
                Self::fault(Code::ServiceUnavailable, message, cause).with_retry_after()
            }
            PreviewError::Fault(fault) => fault.into(),
        }
    }
}

impl From<DescribeRebuildError> for Failure {
    fn from(error: DescribeRebuildError) -> Self {
        match error {
            DescribeRebuildError::NotFound => {
                Self::refusal(Code::RebuildNotFound, error.to_string())
            }
            DescribeRebuildError::Fault(fault) => fault.into(),
        }
    }
}
