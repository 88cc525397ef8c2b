//! Carries out what was planned about an open rebuild.

use std::slice;

use time::OffsetDateTime;
use tracing::{error, info};

use super::plan::Action;
use super::step::usable_snapshot;
use super::{Reconciler, Step};
use crate::error::{Cause, chain};
use crate::fleet::{Fleet, HandOverError};
use crate::rebuild::{End, Failure, FailureCode};
use crate::state::State;
use crate::workspace::OpenRebuild;

/// What was done about an open rebuild.
pub(super) enum Done {
    Nothing,
    HandedOver,
    Observed,
    Ended,
    /// Nothing, since the time of its queue is up.
    Late,
    /// Nothing, since the fleet did not say what the user's files would go back to.
    Unread,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    pub(super) async fn carry_out<'a>(
        &self,
        action: &'a Action,
        deadline: OffsetDateTime,
    ) -> (&'a Action, Result<Done, Cause>) {
        let is_late = (self.clock)() >= deadline;
        let done = if is_late { Ok(Done::Late) } else { self.take_step(action).await };
        (action, done)
    }

    async fn take_step(&self, Action { open, step, record }: &Action) -> Result<Done, Cause> {
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
            Step::HandOver(state) => self.hand_over(open, *state).await,
            Step::ObserveRebuilding => {
                let is_noted = self.store.observe_rebuilding(open, self.now()).await?;
                Ok(if is_noted { Done::Observed } else { Done::Nothing })
            }
            Step::End(end) => self.end(open, end).await,
            Step::Gone => {
                // Asked about one WorkSpace alone, since a longer answer may leave it out.
                let found = self.fleet.find(slice::from_ref(&open.workspace_id)).await?;
                if !found.is_empty() {
                    return Ok(Done::Nothing);
                }
                let failure = Failure::Known(FailureCode::WorkspaceGone);
                self.end(open, &End::failed(failure, State::Terminated)).await
            }
            // A client cancelled it, or a pass that decided how it ended died.
            Step::Close => self.close(open).await,
        }
    }

    /// Hands a rebuild over, if the user's files have a snapshot to go back to: claims it in the item,
    /// then calls the fleet. The claim is taken back only if the fleet certainly did not take the
    /// call; otherwise nobody ever calls again.
    async fn hand_over(&self, open: &OpenRebuild, state: State) -> Result<Done, Cause> {
        let id = open.workspace_id.as_str();
        let snapshot_at = match self.fleet.newest_snapshot(open, self.now()).await {
            Ok(snapshot_at) => snapshot_at,
            Err(error) => {
                error!(workspace_id = id, error = %chain(&*error), "could not read snapshots from the fleet");
                return Ok(Done::Unread);
            }
        };
        let default_hours = self.limits.maximum_snapshot_age_hours;
        let usable = usable_snapshot(&open.rebuild, snapshot_at, self.now(), default_hours);
        let snapshot_at = match usable {
            Ok(snapshot_at) => snapshot_at,
            Err(code) => return self.end(open, &End::failed(Failure::Known(code), state)).await,
        };
        let Some(claimed) = self.store.claim(open, snapshot_at, self.now()).await? else {
            return Ok(Done::Nothing);
        };
        match self.fleet.rebuild(&open.workspace_id).await {
            Ok(()) => {
                self.store.start(&claimed, self.now()).await?;
                Ok(Done::HandedOver)
            }
            Err(error @ HandOverError::NotTaken(_)) => {
                info!(workspace_id = id, error = %chain(&error), "not handed over");
                self.store.unclaim(&claimed).await?;
                Ok(Done::Nothing)
            }
            Err(HandOverError::Refused { code }) => {
                self.end(&claimed, &End::failed(Failure::Refused(code), state)).await
            }
            Err(error @ HandOverError::NoAnswer(_)) => Err(error.into()),
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
