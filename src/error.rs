//! What can go wrong, free of HTTP.
//!
//! Each operation has its own error: what it can refuse, and a [`Fault`]. The `Display` text of an
//! error is for the client: a fixed text with at most the id and the state of a WorkSpace or the
//! status of a rebuild in it. The cause of a fault is for whoever runs the service; it goes to the log
//! only (see [`chain`]).

use std::time::Duration;

use crate::ids::WorkspaceId;
use crate::rebuild::{RebuildId, Status};
use crate::state::State;
use crate::token::InvalidToken;

/// What caused a fault.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the service that any operation can meet. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// DynamoDB throttled the request or reported a conflict with another one, or a later request
    /// came first.
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

/// A write of the reconciler whose outcome is not known. The next pass reads the item anew.
#[derive(Debug, thiserror::Error)]
#[error("it is not known whether the write was made")]
pub struct Unconfirmed(#[source] pub Cause);

impl Unconfirmed {
    pub(crate) fn new(cause: impl Into<Cause>) -> Self {
        Self(cause.into())
    }
}

/// Why a rebuild was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The table has no such WorkSpace, or not in that directory.
    #[error("WorkSpace {0} was not found")]
    WorkspaceNotFound(WorkspaceId),
    /// The key belongs to a rebuild that was requested with other parameters.
    #[error("the idempotency key was used before, for a rebuild with other parameters")]
    KeyReused,
    /// The WorkSpace is protected.
    #[error("WorkSpace {0} is protected against rebuilds; unprotect it first")]
    Protected(WorkspaceId),
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
    /// The last rebuild has ended, and the reconciler is about to release the WorkSpace.
    #[error("WorkSpace {0} cannot be rebuilt yet: its last rebuild is being recorded; try again")]
    NotReleased(WorkspaceId),
    /// An attempt may have landed, or may still land, as this rebuild.
    #[error("it is not known whether the rebuild was accepted")]
    OutcomeUnknown {
        /// The id that the rebuild has if it was accepted.
        rebuild_id: RebuildId,
        /// What the last attempt showed.
        source: Cause,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a rebuild was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The WorkSpace has no such rebuild, or there is no such WorkSpace.
    #[error("the WorkSpace has no rebuild of this id")]
    NotFound,
    /// It has ended, or a pass has begun to hand it over.
    #[error("{}", not_cancellable(status))]
    NotCancellable {
        /// Its status.
        status: Status,
    },
    /// An attempt may have cancelled it, or may still do so.
    #[error("it is not known whether the rebuild was cancelled; repeat the request")]
    OutcomeUnknown(#[source] Cause),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a WorkSpace was not protected, or not unprotected.
#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    /// The table has no such WorkSpace, or not in that directory.
    #[error("WorkSpace {0} was not found")]
    NotFound(WorkspaceId),
    /// An attempt may have had its effect, or may still have it.
    #[error("it is not known whether the protection was changed; repeat the request")]
    OutcomeUnknown(#[source] Cause),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why hand-overs were not paused, or not resumed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// An attempt may have had its effect, or may still have it.
    #[error("it is not known whether the pause was changed; repeat the request")]
    OutcomeUnknown(#[source] Cause),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a WorkSpace was not found.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The table has no such WorkSpace, or not in that directory.
    #[error("WorkSpace {0} was not found")]
    NotFound(WorkspaceId),
    /// The table was not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why there is no preview of a rebuild. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The table has no such WorkSpace, or not in that directory.
    #[error("WorkSpace {0} was not found")]
    NotFound(WorkspaceId),
    /// Other previews have used up the calls to the fleet.
    #[error("too many requests; nothing was changed; try again later")]
    TooMany {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The fleet did not answer.
    #[error("the fleet did not answer; nothing was changed; try again later")]
    FleetSilent(#[source] Cause),
    /// See [`Fault`].
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

/// Why WorkSpaces, or open rebuilds, were not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The token is not one that this listing gave out.
    #[error("the token is not one of this listing's")]
    InvalidToken,
    /// The table was not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<InvalidToken> for ListError {
    fn from(_: InvalidToken) -> Self {
        Self::InvalidToken
    }
}

/// Why the rebuilds of a WorkSpace were not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListRebuildsError {
    /// The tables have no such WorkSpace, or not in that directory.
    #[error("WorkSpace {0} was not found")]
    WorkspaceNotFound(WorkspaceId),
    /// The token is not one that this listing gave out.
    #[error("the token is not one of this listing's")]
    InvalidToken,
    /// The tables were not read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<InvalidToken> for ListRebuildsError {
    fn from(_: InvalidToken) -> Self {
        Self::InvalidToken
    }
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

fn not_cancellable(status: &Status) -> String {
    match status {
        Status::Requested => {
            "the rebuild is being handed over to the fleet, so it can no longer be cancelled".into()
        }
        status => format!("the rebuild is {status}; only a REQUESTED one can be cancelled"),
    }
}
