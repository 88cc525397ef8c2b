//! A rebuild as clients see it, in JSON: the answers of the API and the events share it.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::ids::WorkspaceId;
use crate::rebuild::{FleetMode, Rebuild, RebuildId, Stage, Status};
use crate::state::State;
use crate::timestamp::Timestamp;

/// A rebuild.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
pub struct RebuildData<'a> {
    id: RebuildId,
    workspace_id: &'a WorkspaceId,
    status: Status,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    previous_state: Option<State>,
    snapshot_at: Option<Timestamp>,
    /// Present while it is open: whether a cancellation or a protection would still come in time.
    cancellable: Option<bool>,
    inferred: Option<bool>,
    simulated: Option<bool>,
    requested_by: Option<&'a str>,
    cancelled_by: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<ErrorData<'a>>,
}

impl<'a> RebuildData<'a> {
    /// A rebuild of this WorkSpace.
    #[must_use]
    pub fn new(workspace_id: &'a WorkspaceId, rebuild: &'a Rebuild) -> Self {
        let ending = rebuild.ending();
        Self {
            id: rebuild.id,
            workspace_id,
            status: rebuild.status(),
            created_at: rebuild.created_at,
            started_at: rebuild.started_at(),
            ended_at: ending.map(|ending| ending.at),
            previous_state: rebuild.previous_state,
            snapshot_at: rebuild.claim.map(|claim| claim.snapshot_at),
            cancellable: ending.is_none().then(|| rebuild.stage() == Stage::Requested),
            inferred: rebuild.is_inferred().then_some(true),
            simulated: (rebuild.fleet_mode == FleetMode::Simulated).then_some(true),
            requested_by: rebuild.requested_by.as_deref(),
            cancelled_by: ending.and_then(|ending| ending.conclusion.cancelled_by()),
            reason: rebuild.reason.as_deref(),
            error: ending
                .and_then(|ending| ending.conclusion.error())
                .map(|error| ErrorData { code: &error.code, message: &error.message }),
        }
    }
}

/// Why something failed: a stable code, and a message for people.
#[derive(Debug, Serialize)]
pub struct ErrorData<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}
