//! A rebuild as clients see it, in JSON: the answers of the API and the events share it.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::ids::WorkspaceId;
use crate::rebuild::{FleetMode, Rebuild, RebuildId, Stage, Status, WaitingFor};
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
    user_connected: Option<bool>,
    ip_address: Option<&'a str>,
    /// Present while it is open: whether a cancellation or a protection would still come in time.
    cancellable: Option<bool>,
    waiting_for: Option<WaitingFor>,
    inferred: Option<bool>,
    simulated: Option<bool>,
    requested_by: Option<&'a str>,
    cancelled_by: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<ErrorData<'a>>,
}

impl<'a> RebuildData<'a> {
    /// A rebuild of this WorkSpace. Whether hand-overs are paused matters, and need be known, only while it
    /// waits for one.
    #[must_use]
    pub fn new(
        workspace_id: &'a WorkspaceId,
        rebuild: &'a Rebuild,
        is_paused: Option<bool>,
    ) -> Self {
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
            user_connected: rebuild.claim.and_then(|claim| claim.user_connected),
            ip_address: ending.and_then(|ending| ending.ip_address.as_deref()),
            cancellable: ending.is_none().then(|| rebuild.stage() == Stage::Requested),
            waiting_for: waiting_for(rebuild, is_paused),
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

fn waiting_for(rebuild: &Rebuild, is_paused: Option<bool>) -> Option<WaitingFor> {
    match (rebuild.stage(), is_paused) {
        (Stage::Requested, Some(true)) => Some(WaitingFor::Pause),
        (Stage::Requested, Some(false)) => rebuild.waits_for().or(Some(WaitingFor::Place)),
        (Stage::Requested, None) => rebuild.waits_for(),
        (
            Stage::Claimed { .. }
            | Stage::Started { .. }
            | Stage::Observed { .. }
            | Stage::Ended
            | Stage::Unrecognized,
            _,
        ) => None,
    }
}

/// Why something failed: a stable code, and a message for people.
#[derive(Debug, Serialize)]
pub struct ErrorData<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}
