//! How a rebuild is stored. Reading it refuses combinations that no write makes.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Claim, Conclusion, Ending, ErrorDetail, FleetMode, HandOver, IdempotencyKey, Observation,
    Phase, Rebuild, RebuildId, Status,
};
use crate::format::InvalidFormat;
use crate::state::State;
use crate::timestamp::Timestamp;

/// The members of a rebuild as they are stored: flat, and absent while they have no value.
#[skip_serializing_none]
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Members {
    #[serde(alias = "RebuildId")]
    id: RebuildId,
    created_at: Timestamp,
    status: Status,
    idempotency_key: IdempotencyKey,
    requested_by: Option<String>,
    source_ip: Option<String>,
    request_id: Option<String>,
    reason: Option<String>,
    maximum_snapshot_age_hours: Option<u16>,
    wait_for_disconnect: Option<bool>,
    fleet_mode: FleetMode,
    previous_state: Option<State>,
    attempt: u32,
    claim_id: Option<Uuid>,
    claimed_at: Option<Timestamp>,
    snapshot_at: Option<Timestamp>,
    user_connected: Option<bool>,
    started_at: Option<Timestamp>,
    observed_at: Option<Timestamp>,
    /// Absent, or true.
    inferred: Option<bool>,
    observation: Option<Observation>,
    ended_at: Option<Timestamp>,
    ip_address: Option<String>,
    cancelled_by: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

impl From<Rebuild> for Members {
    fn from(rebuild: Rebuild) -> Self {
        let (claim, ending) = (rebuild.claim, rebuild.ending());
        let error = ending.and_then(|ending| ending.conclusion.error()).cloned();
        let cancelled_by = ending.and_then(|ending| ending.conclusion.cancelled_by());
        let cancelled_by = cancelled_by.map(ToOwned::to_owned);
        let ip_address = ending.and_then(|ending| ending.ip_address.clone());
        let (error_code, error_message) = error.map(|error| (error.code, error.message)).unzip();
        Self {
            id: rebuild.id,
            created_at: rebuild.created_at,
            status: rebuild.status(),
            started_at: rebuild.started_at(),
            observed_at: rebuild.observed_at(),
            inferred: rebuild.is_inferred().then_some(true),
            observation: rebuild.observation(),
            ended_at: ending.map(|ending| ending.at),
            idempotency_key: rebuild.idempotency_key,
            requested_by: rebuild.requested_by,
            source_ip: rebuild.source_ip,
            request_id: rebuild.request_id,
            reason: rebuild.reason,
            maximum_snapshot_age_hours: rebuild.maximum_snapshot_age_hours,
            wait_for_disconnect: rebuild.wait_for_disconnect,
            fleet_mode: rebuild.fleet_mode,
            previous_state: rebuild.previous_state,
            attempt: rebuild.attempt,
            claim_id: claim.map(|claim| claim.id),
            claimed_at: claim.map(|claim| claim.at),
            snapshot_at: claim.map(|claim| claim.snapshot_at),
            user_connected: claim.and_then(|claim| claim.user_connected),
            ip_address,
            cancelled_by,
            error_code,
            error_message,
        }
    }
}

impl TryFrom<Members> for Rebuild {
    type Error = InvalidFormat;

    fn try_from(members: Members) -> Result<Self, InvalidFormat> {
        let lacks =
            |name: &str| InvalidFormat(format!("a {} rebuild lacks {name}", members.status));
        let claim = match members.claim_id {
            None => None,
            Some(id) => Some(Claim {
                id,
                at: members.claimed_at.ok_or_else(|| lacks("ClaimedAt"))?,
                snapshot_at: members.snapshot_at.ok_or_else(|| lacks("SnapshotAt"))?,
                user_connected: members.user_connected,
                hand_over: match (members.started_at, members.observed_at) {
                    (None, _) => HandOver::Unconfirmed,
                    (Some(started_at), None) => HandOver::Accepted { started_at },
                    (Some(started_at), Some(at)) => HandOver::Observed {
                        started_at,
                        at,
                        inferred: members.inferred == Some(true),
                    },
                },
            }),
        };
        let error = || {
            let code = members.error_code.clone().ok_or_else(|| lacks("ErrorCode"))?;
            let message = members.error_message.clone().unwrap_or_default();
            Ok::<_, InvalidFormat>(ErrorDetail { code, message })
        };
        let ended = |conclusion| {
            let at = members.ended_at.ok_or_else(|| lacks("EndedAt"))?;
            let ip_address = members.ip_address.clone();
            Ok::<_, InvalidFormat>(Phase::Ended(Ending { at, conclusion, ip_address }))
        };
        let phase = match &members.status {
            Status::Requested | Status::Started => Phase::Running(members.observation),
            Status::Succeeded => ended(Conclusion::Succeeded)?,
            Status::Failed => ended(Conclusion::Failed(error()?))?,
            Status::Unknown => ended(Conclusion::Unknown(error()?))?,
            Status::Cancelled => ended(Conclusion::Cancelled { by: members.cancelled_by.clone() })?,
            Status::Unrecognized(status) => Phase::Unrecognized(status.clone()),
        };
        let rebuild = Self {
            id: members.id,
            created_at: members.created_at,
            idempotency_key: members.idempotency_key,
            requested_by: members.requested_by,
            source_ip: members.source_ip,
            request_id: members.request_id,
            reason: members.reason,
            maximum_snapshot_age_hours: members.maximum_snapshot_age_hours,
            wait_for_disconnect: members.wait_for_disconnect,
            fleet_mode: members.fleet_mode,
            previous_state: members.previous_state,
            attempt: members.attempt,
            claim,
            phase,
        };
        if rebuild.status() == members.status {
            Ok(rebuild)
        } else {
            Err(InvalidFormat("the status of a rebuild contradicts its claim".to_owned()))
        }
    }
}
