//! Carries out what was planned about an open rebuild.

use std::slice;

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use super::gate::Gate;
use super::plan::Action;
use super::step::usable_snapshot;
use super::{Reconciler, Step};
use crate::error::{Cause, chain};
use crate::fleet::{Fleet, HandOverError};
use crate::rebuild::{End, Failure, FailureCode, UnknownCode};
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::OpenRebuild;

/// How long after its look a rebuild may be handed over.
const LOOK_LASTS: Duration = Duration::MINUTE;
/// How long after a hand-over was counted its call may be sent. A caller who cancels, protects or pauses
/// meanwhile is told so, and the wipe must not come later still.
const CALL_WITHIN: Duration = Duration::seconds(10);

/// What was done about an open rebuild.
pub(super) enum Done {
    Nothing,
    HandedOver,
    Observed,
    Ended,
    /// Nothing, since the time is up.
    Late,
    /// Nothing, since the fleet or the table did not answer before the call.
    Unanswered,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    pub(super) async fn carry_out<'a>(
        &self,
        action: &'a Action,
        deadline: OffsetDateTime,
        gate: &Gate,
    ) -> (&'a Action, Result<Done, Cause>) {
        let is_late = (self.clock)() >= deadline;
        let done = if is_late { Ok(Done::Late) } else { self.take_step(action, gate).await };
        (action, done)
    }

    async fn take_step(&self, action: &Action, gate: &Gate) -> Result<Done, Cause> {
        let Action { open, step, record } = action;
        if let Some(record) = record {
            let keys = open.keys.clone().with(record, self.now());
            if !self.store.close_as_recorded(open, record, keys).await? {
                return Ok(Done::Nothing);
            }
            let id = open.workspace_id.as_str();
            info!(workspace_id = id, rebuild_id = %record.id, "rebuild closed as its record says");
            return Ok(Done::Ended);
        }
        match step {
            Step::Wait | Step::Look => Ok(Done::Nothing),
            Step::Observe(observation) => {
                self.store.observe(open, *observation).await?;
                Ok(Done::Nothing)
            }
            Step::HandOver { state, looked_at } => {
                self.hand_over(open, *state, *looked_at, gate).await
            }
            Step::ObserveRebuilding => {
                let is_noted = self.store.observe_rebuilding(open, self.now()).await?;
                Ok(if is_noted { Done::Observed } else { Done::Nothing })
            }
            Step::End(end) => self.end(open, end).await,
            Step::Gone { is_late } => {
                // Asked about one WorkSpace alone, since a longer answer may leave it out.
                let found = self.fleet.find(slice::from_ref(&open.workspace_id)).await?;
                let end = match (found.is_empty(), is_late) {
                    (true, _) => {
                        let failure = Failure::Known(FailureCode::WorkspaceGone);
                        End::failed(failure, State::Terminated)
                    }
                    (false, true) => End::unknown(UnknownCode::TimedOut, State::Rebuilding),
                    (false, false) => return Ok(Done::Nothing),
                };
                self.end(open, &end).await
            }
            // A client cancelled it, or a pass that decided how it ended died.
            Step::Close => self.close(open).await,
        }
    }

    /// Hands a rebuild over, if the user's files have a snapshot to go back to. Every slow step comes
    /// before it is counted.
    async fn hand_over(
        &self,
        open: &OpenRebuild,
        state: State,
        looked_at: Timestamp,
        gate: &Gate,
    ) -> Result<Done, Cause> {
        let id = open.workspace_id.as_str();
        let snapshot_at = match self.fleet.newest_snapshot(open, self.now()).await {
            Ok(snapshot_at) => snapshot_at,
            Err(error) => {
                error!(workspace_id = id, error = %chain(&*error), "could not read snapshots from the fleet");
                return Ok(Done::Unanswered);
            }
        };
        let default_hours = self.limits.maximum_snapshot_age_hours;
        let usable = usable_snapshot(&open.rebuild, snapshot_at, self.now(), default_hours);
        let snapshot_at = match usable {
            Ok(snapshot_at) => snapshot_at,
            Err(code) => return self.end(open, &End::failed(Failure::Known(code), state)).await,
        };
        self.fleet.wait_for_place().await;

        let mut control = gate.control().await;
        if gate.breaker.is_open() {
            return Ok(Done::Nothing);
        }
        let (wall, monotonic) = ((self.clock)(), Instant::now());
        let begun_at = Timestamp::from(wall);
        if begun_at.since(looked_at) > LOOK_LASTS {
            return Ok(Done::Late);
        }
        match self.count(gate, &mut control, begun_at).await {
            Ok(true) => drop(control),
            Ok(false) => return Ok(Done::Nothing),
            Err(error) => {
                error!(workspace_id = id, error = %chain(&error), "could not count the hand-over");
                return Ok(Done::Unanswered);
            }
        }
        let done = self.call(open, (state, snapshot_at), (wall, monotonic), gate).await;
        // After an error it is not known whether the fleet took it.
        let is_handed_over = matches!(done, Ok(Done::HandedOver) | Err(_));
        if !is_handed_over {
            self.uncount(gate, begun_at).await;
        }
        done
    }

    /// Claims a rebuild in its item, then calls the fleet, at once or not at all. The claim is taken
    /// back only if the fleet certainly did not take the call; otherwise nobody ever calls again.
    async fn call(
        &self,
        open: &OpenRebuild,
        (state, snapshot_at): (State, Timestamp),
        (wall, monotonic): (OffsetDateTime, Instant),
        gate: &Gate,
    ) -> Result<Done, Cause> {
        let id = open.workspace_id.as_str();
        let claim_id = Uuid::new_v4();
        let claimed = match self.store.claim(open, claim_id, snapshot_at, wall.into()).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Ok(Done::Nothing),
            Err(error) => {
                error!(workspace_id = id, error = %chain(&error), "could not claim the hand-over");
                // The claim may have landed, or may still land.
                self.store.take_back(open, claim_id).await?;
                return Ok(Done::Unanswered);
            }
        };
        // Either clock may have stood still.
        if ((self.clock)() - wall).max(monotonic.elapsed().try_into()?) > CALL_WITHIN {
            error!(workspace_id = id, "not handed over: the claim took too long");
            self.store.take_back(&claimed, claim_id).await?;
            return Ok(Done::Late);
        }
        match self.fleet.rebuild(&open.workspace_id).await {
            Ok(()) => {
                gate.breaker.answered();
                self.store.start(&claimed, claim_id, self.now()).await?;
                self.end_fleet_pause(gate).await?;
                Ok(Done::HandedOver)
            }
            Err(error @ HandOverError::NotTaken(_)) => {
                info!(workspace_id = id, error = %chain(&error), "not handed over");
                self.store.take_back(&claimed, claim_id).await?;
                Ok(Done::Nothing)
            }
            Err(HandOverError::Refused { code }) => {
                self.end(&claimed, &End::failed(Failure::Refused(code), state)).await
            }
            Err(error @ HandOverError::NoAnswer(_)) => {
                gate.breaker.unanswered();
                Err(error.into())
            }
        }
    }

    async fn end(&self, open: &OpenRebuild, end: &End) -> Result<Done, Cause> {
        match self.store.end(open, end, self.now()).await? {
            Some(ended) => self.close(&ended).await,
            None => Ok(Done::Nothing),
        }
    }

    async fn close(&self, ended: &OpenRebuild) -> Result<Done, Cause> {
        let OpenRebuild { workspace_id, rebuild, keys, .. } = ended;
        let expiry = self.limits.record_lifetime.map(|lifetime| self.now() + lifetime);
        self.store.record_end(ended, expiry).await?;
        let keys = keys.clone().with(rebuild, self.now());
        if !self.store.release(ended, keys).await? {
            return Ok(Done::Nothing);
        }
        let error = rebuild.ending().and_then(|ending| ending.conclusion.error());
        info!(
            workspace_id = workspace_id.as_str(), rebuild_id = %rebuild.id, status = %rebuild.status(),
            code = error.map(|error| error.code.as_str()), "rebuild ended"
        );
        Ok(Done::Ended)
    }
}
