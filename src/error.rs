//! What can go wrong, free of HTTP.
//!
//! Each operation has its own error: what it can refuse, and a [`Fault`]. The `Display` text of an
//! error is for the client. It is a fixed text with at most a WorkSpace's id in it. The cause of a
//! fault is for whoever runs the service; it goes to the log only (see [`chain`]).

use crate::workspace::{State, WorkspaceId};

/// What caused a fault.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A text that does not have the format of its type. The message continues a sentence that starts
/// with the name of the field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFormat(pub String);

/// A failure of the service that any operation can meet. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// DynamoDB throttled the request, or reported a conflict with another one.
    #[error("the service is busy; nothing was changed; try again later")]
    Throttled(#[source] Cause),
    /// DynamoDB could not be reached.
    #[error("the service is unavailable; nothing was changed; try again later")]
    Unreachable(#[source] Cause),
    /// A missing permission or table, a broken item, a bug.
    #[error("an internal error occurred")]
    Internal(#[source] Cause),
}

impl Fault {
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}

/// Why a rebuild was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The table has no such WorkSpace.
    #[error("WorkSpace {0} was not found")]
    WorkspaceNotFound(WorkspaceId),
    /// The WorkSpace's state does not allow a rebuild, or a rebuild is open.
    #[error("{}", invalid_state(workspace_id, *state, *is_open))]
    InvalidState {
        /// The WorkSpace.
        workspace_id: WorkspaceId,
        /// Its state.
        state: State,
        /// Whether one of its rebuilds is open.
        is_open: bool,
    },
    /// The write may or may not have landed.
    #[error("{}", outcome_unknown(*has_key))]
    OutcomeUnknown {
        /// Whether the client sent a key, so that it can repeat the request safely.
        has_key: bool,
        /// The failure of the last attempt.
        source: Cause,
    },
    /// Nothing was changed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a WorkSpace, or the list of its rebuilds, was not found.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The table has no such WorkSpace.
    #[error("WorkSpace {0} was not found")]
    NotFound(WorkspaceId),
    /// The table was not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a rebuild was not found.
#[derive(Debug, thiserror::Error)]
pub enum DescribeRebuildError {
    /// The WorkSpace has no such rebuild, or there is no such WorkSpace.
    #[error("the WorkSpace has no rebuild of this id")]
    NotFound,
    /// The tables were not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why WorkSpaces were not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListWorkspacesError {
    /// The token is not one that this listing gave out.
    #[error("NextToken is not one of this listing's")]
    InvalidToken,
    /// The table was not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// An error and everything that caused it, for the log.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn invalid_state(id: &WorkspaceId, state: State, is_open: bool) -> String {
    let allowed = State::REBUILDABLE.map(|state| state.to_string()).join(", ");
    let open = if is_open { ", with a rebuild under way" } else { "" };
    format!("WorkSpace {id} is in state {state}{open}; a rebuild is allowed only from {allowed}")
}

/// Advice for a client whose rebuild may or may not have been accepted.
pub(crate) fn outcome_unknown(has_key: bool) -> &'static str {
    if has_key {
        "it is not known whether the rebuild was accepted; repeat the request with the same idempotency key"
    } else {
        "it is not known whether the rebuild was accepted; check the WorkSpace before you retry"
    }
}
