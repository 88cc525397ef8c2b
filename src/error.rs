//! What can go wrong, free of HTTP.
//!
//! Each error has two readers. The client reads the message and the code: both are fixed texts of
//! ours, with at most the id of a WorkSpace in them. Whoever runs the service reads the `source`,
//! which goes to the log only. A fault says one of three things: nothing was changed
//! ([`Error::Throttled`], [`Error::Unreachable`]), it is not known whether something was
//! ([`Error::OutcomeUnknown`]), or the service is broken ([`Error::Internal`]).

use crate::workspace::{State, WorkspaceId};

/// The cause of a fault, for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Everything that a request can fail with. The `Display` text is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON, or a field has another JSON type than it should.
    #[error("{0}")]
    Malformed(String),
    /// A value breaks a constraint.
    #[error("{0}")]
    Invalid(String),
    /// Each value is fine, but they don't go together.
    #[error("{0}")]
    InvalidCombination(&'static str),
    /// The AWS JSON face has no such operation.
    #[error("the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces")]
    UnknownOperation,
    /// The envelope face has no such path.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The path exists, the method doesn't.
    #[error("this path takes {allow} only")]
    MethodNotAllowed {
        /// The method that it takes.
        allow: &'static str,
    },
    /// The body says that it is something other than JSON.
    #[error("the body must be JSON, with content-type application/json")]
    UnsupportedMediaType,
    /// The body is too large.
    #[error("the body is larger than 16 KiB")]
    PayloadTooLarge,
    /// The table has no such WorkSpace.
    #[error("WorkSpace {0} was not found")]
    WorkspaceNotFound(WorkspaceId),
    /// Nobody knows such a rebuild of the WorkSpace.
    #[error("the WorkSpace has no rebuild of this id")]
    RebuildNotFound,
    /// The WorkSpace's state does not allow a rebuild.
    #[error("{}", invalid_state(workspace_id, *state, *is_open))]
    InvalidState {
        /// The WorkSpace.
        workspace_id: WorkspaceId,
        /// Its state.
        state: State,
        /// Whether a rebuild of it is open.
        is_open: bool,
    },
    /// DynamoDB throttled the request or reported a conflict; nothing was changed.
    #[error("the service is busy; nothing was changed; try again later")]
    Throttled(#[source] Cause),
    /// DynamoDB could not be reached; nothing was changed.
    #[error("the service is unavailable; nothing was changed; try again later")]
    Unreachable(#[source] Cause),
    /// The write may or may not have landed.
    #[error("{}", outcome_unknown(*has_key))]
    OutcomeUnknown {
        /// Whether the client gave a key, so that it can repeat the request safely.
        has_key: bool,
        /// The last attempt's failure.
        source: Cause,
    },
    /// Anything else: a permission or a table is missing, an item is broken, a bug.
    #[error("an internal error occurred")]
    Internal(#[source] Cause),
}

impl Error {
    /// The stable code: the envelope face shows it, and the log line has it for both faces.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Invalid(_) | Self::InvalidCombination(_) => {
                "VALIDATION_ERROR"
            }
            Self::UnknownOperation => "UNKNOWN_OPERATION",
            Self::UnknownPath => "NOT_FOUND",
            Self::MethodNotAllowed { .. } => "METHOD_NOT_ALLOWED",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::WorkspaceNotFound(_) => "WORKSPACE_NOT_FOUND",
            Self::RebuildNotFound => "REBUILD_NOT_FOUND",
            Self::InvalidState { .. } => "INVALID_WORKSPACE_STATE",
            Self::Throttled(_) | Self::Unreachable(_) => "SERVICE_UNAVAILABLE",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Self::Internal(_) => "INTERNAL_ERROR",
        }
    }

    /// Whether the service is at fault, and not the request.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_)
                | Self::Unreachable(_)
                | Self::OutcomeUnknown { .. }
                | Self::Internal(_)
        )
    }
}

fn invalid_state(id: &WorkspaceId, state: State, is_open: bool) -> String {
    let allowed = State::REBUILDABLE.map(|state| state.to_string()).join(", ");
    let open = if is_open { ", with a rebuild under way" } else { "" };
    format!("WorkSpace {id} is in state {state}{open}; a rebuild is allowed only from {allowed}")
}

pub(crate) fn outcome_unknown(has_key: bool) -> &'static str {
    if has_key {
        "it is not known whether the rebuild was accepted; repeat the request with the same idempotency key"
    } else {
        "it is not known whether the rebuild was accepted; look at the WorkSpace before you ask again"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> WorkspaceId {
        WorkspaceId::try_from("ws-0a1b2c3d4".to_owned()).expect("an id")
    }

    #[test]
    fn each_error_has_its_code_and_says_whose_fault_it_is() {
        let state =
            |is_open| Error::InvalidState { workspace_id: id(), state: State::Rebooting, is_open };
        let cause = || Cause::from("table/workspaces");
        for (error, code, is_fault) in [
            (Error::Malformed("x".into()), "VALIDATION_ERROR", false),
            (Error::Invalid("x".into()), "VALIDATION_ERROR", false),
            (Error::InvalidCombination("x"), "VALIDATION_ERROR", false),
            (Error::UnknownOperation, "UNKNOWN_OPERATION", false),
            (Error::UnknownPath, "NOT_FOUND", false),
            (Error::MethodNotAllowed { allow: "GET" }, "METHOD_NOT_ALLOWED", false),
            (Error::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", false),
            (Error::PayloadTooLarge, "PAYLOAD_TOO_LARGE", false),
            (Error::WorkspaceNotFound(id()), "WORKSPACE_NOT_FOUND", false),
            (Error::RebuildNotFound, "REBUILD_NOT_FOUND", false),
            (state(false), "INVALID_WORKSPACE_STATE", false),
            (Error::Throttled(cause()), "SERVICE_UNAVAILABLE", true),
            (Error::Unreachable(cause()), "SERVICE_UNAVAILABLE", true),
            (Error::OutcomeUnknown { has_key: true, source: cause() }, "OUTCOME_UNKNOWN", true),
            (Error::Internal(cause()), "INTERNAL_ERROR", true),
        ] {
            assert_eq!((error.code(), error.is_fault()), (code, is_fault), "{error:?}");
            // What a client reads never has the cause in it; the log has.
            assert!(!error.to_string().contains("table"), "{error}");
            assert_eq!(std::error::Error::source(&error).is_some(), is_fault, "{error}");
        }
        let open = "WorkSpace ws-0a1b2c3d4 is in state REBOOTING, with a rebuild under way; \
            a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING";
        assert_eq!(state(true).to_string(), open);
    }
}
