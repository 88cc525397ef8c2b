//! Carries out what was planned about an open rebuild.

use std::slice;

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::gate::Gate;
use super::plan::Action;
use super::{Reconciler, Step};
use crate::error::{Cause, chain};
use crate::fleet::{Fleet, HandOverError, KeyUse};
use crate::rebuild::{End, Failure, FailureCode, UnknownCode};
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Condition, Description, OpenRebuild};

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
        let Action { open, step, description, record } = action;
        let description = description.as_ref();
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
            Step::Wait | Step::Look | Step::AskConnection => Ok(Done::Nothing),
            Step::Observe(observation) => {
                self.store.observe(open, *observation).await?;
                Ok(Done::Nothing)
            }
            Step::HandOver { .. } => self.hand_over(action, gate).await,
            Step::ObserveRebuilding => {
                let is_noted = self.store.observe_rebuilding(open, self.now()).await?;
                Ok(if is_noted { Done::Observed } else { Done::Nothing })
            }
            Step::End(end) => self.end(open, end, description).await,
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
                self.end(open, &end, None).await
            }
            // A client cancelled it, or a pass that decided how it ended died.
            Step::Close => self.close(open).await,
        }
    }

    /// Hands a rebuild over, if it does no harm that AWS does not prevent. Every slow step comes before it
    /// is counted.
    async fn hand_over(&self, action: &Action, gate: &Gate) -> Result<Done, Cause> {
        let Action { open, step, description, .. } = action;
        let Step::HandOver { state, looked_at, user_connected } = *step else {
            return Ok(Done::Nothing);
        };
        let id = open.workspace_id.as_str();
        let snapshot_at = match self.check(action, gate).await {
            Ok(Ok(snapshot_at)) => snapshot_at,
            Ok(Err(code)) => {
                let end = End::failed(Failure::Known(code), state);
                return self.end(open, &end, description.as_ref()).await;
            }
            Err(error) => {
                error!(workspace_id = id, error = %chain(&*error), "a check before the hand-over failed");
                return Ok(Done::Unanswered);
            }
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
        let condition = Condition { state, snapshot_at, user_connected };
        let done = self.call(open, condition, (wall, monotonic), gate).await;
        // After an error it is not known whether the fleet took it.
        let is_handed_over = matches!(done, Ok(Done::HandedOver) | Err(_));
        if !is_handed_over {
            self.uncount(gate, begun_at).await;
        }
        done
    }

    /// What speaks against a hand-over although the state allows it. Returns the newest snapshot of the user
    /// volume, or why the rebuild fails.
    async fn check(
        &self,
        Action { open, description, .. }: &Action,
        gate: &Gate,
    ) -> Result<Result<Timestamp, FailureCode>, Cause> {
        let key = description.as_ref().and_then(Description::key_in_use);
        if let Some(key) = key
            && self.key(key, gate).await? == KeyUse::Unusable
        {
            return Ok(Err(FailureCode::EncryptionKeyUnusable));
        }
        let snapshot_at = self.fleet.newest_snapshot(open, self.now()).await?;
        let default_hours = self.limits.maximum_snapshot_age_hours;
        Ok(open.rebuild.usable_snapshot(snapshot_at, self.now(), default_hours))
    }

    /// Whether a KMS key can be used. Asked once in a pass, even without an answer: a KMS that hangs must not
    /// use up the time of the pass.
    async fn key(&self, key: &str, gate: &Gate) -> Result<KeyUse, Cause> {
        let mut keys = gate.keys().await;
        if let Some(known) = keys.get(key) {
            return known.ok_or_else(|| "KMS did not answer earlier in this pass".into());
        }
        let answer = self.fleet.key(key).await;
        if matches!(answer, Ok(KeyUse::NotAllowedToAsk)) {
            warn!(key, "an encryption key was not checked: kms:DescribeKey is denied");
        }
        keys.insert(key.to_owned(), answer.as_ref().ok().copied());
        answer
    }

    /// Claims a rebuild in its item, then calls the fleet, at once or not at all. The claim is taken
    /// back only if the fleet certainly did not take the call; otherwise nobody ever calls again.
    async fn call(
        &self,
        open: &OpenRebuild,
        condition: Condition,
        (wall, monotonic): (OffsetDateTime, Instant),
        gate: &Gate,
    ) -> Result<Done, Cause> {
        let id = open.workspace_id.as_str();
        let claim_id = Uuid::new_v4();
        let claimed = match self.store.claim(open, claim_id, condition, wall.into()).await {
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
                let end = End::failed(Failure::Refused(code), condition.state);
                self.end(&claimed, &end, None).await
            }
            Err(error @ HandOverError::NoAnswer(_)) => {
                gate.breaker.unanswered();
                Err(error.into())
            }
        }
    }

    /// Ends a rebuild; the WorkSpace gets the description that the deciding look has shown.
    async fn end(
        &self,
        open: &OpenRebuild,
        end: &End,
        description: Option<&Description>,
    ) -> Result<Done, Cause> {
        match self.store.end(open, end, description, self.now()).await? {
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
