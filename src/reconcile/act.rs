//! Carries out what was planned about an open rebuild.

use time::OffsetDateTime;
use tracing::{error, info};

use super::plan::Plan;
use super::step::usable_snapshot;
use super::{Reconciler, Step};
use crate::error::{Fault, chain};
use crate::fleet::{Fleet, HandOverError};
use crate::rebuild::{Class, End, Failure, Outcome, Rebuild};
use crate::workspace::{State, Workspace, WorkspaceId};

/// What was done about an open rebuild.
pub(super) enum Moved {
    Nothing,
    HandedOver,
    Seen,
    Ended,
    /// The time of its queue is up.
    Late,
    /// The fleet did not say what the user's files would go back to.
    Unread,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    pub(super) async fn carry_out<'a>(
        &self,
        plan: &'a Plan,
        deadline: OffsetDateTime,
    ) -> (&'a Plan, Result<Moved, Fault>) {
        let is_late = (self.clock)() >= deadline;
        let moved = if is_late { Ok(Moved::Late) } else { self.take_step(plan).await };
        (plan, moved)
    }

    async fn take_step(&self, plan: &Plan) -> Result<Moved, Fault> {
        let Plan { workspace, step, record } = plan;
        let id = &workspace.workspace_id;
        let Some(rebuild) = workspace.open_rebuild() else { return Ok(Moved::Nothing) };
        if let Some(record) = record {
            let keys = workspace.keys.clone().with(record, self.now());
            if !self.store.close_as_recorded(id, rebuild, record, keys).await? {
                return Ok(Moved::Nothing);
            }
            info!(workspace_id = id.as_str(), rebuild_id = %record.id, "rebuild closed as its record says");
            return Ok(Moved::Ended);
        }
        match step {
            Step::Wait | Step::Look => Ok(Moved::Nothing),
            Step::Note(sight) => {
                self.store.note(id, rebuild, *sight).await?;
                Ok(Moved::Nothing)
            }
            Step::HandOver(state) => self.hand_over(workspace, rebuild, *state).await,
            Step::See => {
                let is_noted = self.store.see(id, rebuild, self.now()).await?;
                Ok(if is_noted { Moved::Seen } else { Moved::Nothing })
            }
            Step::End(end) => {
                if end.is_gone() && self.is_there(workspace).await? {
                    return Ok(Moved::Nothing);
                }
                self.end(id, rebuild, end).await
            }
            // A client cancelled it, or a pass that decided how it ended died.
            Step::Close => self.close(workspace).await,
        }
    }

    /// Hands a rebuild over, if the user's files have a snapshot to go back to: claims it in the item,
    /// then calls the fleet. The claim is taken back only if the fleet certainly did not take the
    /// call; otherwise nobody ever calls again.
    async fn hand_over(
        &self,
        workspace: &Workspace,
        rebuild: &Rebuild,
        state: State,
    ) -> Result<Moved, Fault> {
        let id = &workspace.workspace_id;
        let snapshot_at = match self.fleet.newest_snapshot(workspace, self.now()).await {
            Ok(snapshot_at) => snapshot_at,
            Err(error) => {
                error!(workspace_id = id.as_str(), error = %chain(&*error), "could not read snapshots from the fleet");
                return Ok(Moved::Unread);
            }
        };
        let default_hours = self.limits.maximum_snapshot_age_hours;
        let snapshot_at = match usable_snapshot(rebuild, snapshot_at, self.now(), default_hours) {
            Ok(snapshot_at) => snapshot_at,
            Err(code) => {
                let outcome = Outcome::Failed(Failure::Known(code));
                return self.end(id, rebuild, &End { outcome, state }).await;
            }
        };
        let Some(claimed) = self.store.claim(id, rebuild, snapshot_at, self.now()).await? else {
            return Ok(Moved::Nothing);
        };
        match self.fleet.rebuild(id).await {
            Ok(()) => {
                self.store.start(id, &claimed, self.now()).await?;
                Ok(Moved::HandedOver)
            }
            Err(error @ HandOverError::NotTaken(_)) => {
                info!(workspace_id = id.as_str(), error = %chain(&error), "not handed over");
                self.store.unclaim(id, &claimed).await?;
                Ok(Moved::Nothing)
            }
            Err(HandOverError::Refused { code }) => {
                let outcome = Outcome::Failed(Failure::Refused(code));
                self.end(id, &claimed, &End { outcome, state }).await
            }
            Err(error @ HandOverError::NoAnswer(_)) => Err(Fault::Internal(error.into())),
        }
    }

    /// Asks about one WorkSpace alone, since a longer answer may leave it out.
    async fn is_there(&self, workspace: &Workspace) -> Result<bool, Fault> {
        let states = self.look(std::slice::from_ref(workspace)).await.map_err(Fault::Internal)?;
        Ok(Class::of(states.get(&workspace.workspace_id).copied()) != Class::Gone)
    }

    async fn end(&self, id: &WorkspaceId, rebuild: &Rebuild, end: &End) -> Result<Moved, Fault> {
        match self.store.end(id, rebuild, end, self.now()).await? {
            Some(ended) => self.close(&ended).await,
            None => Ok(Moved::Nothing),
        }
    }

    async fn close(&self, workspace: &Workspace) -> Result<Moved, Fault> {
        let id = &workspace.workspace_id;
        let Some(ended) = workspace.open_rebuild() else { return Ok(Moved::Nothing) };
        let expiry = self.limits.record_lifetime.map(|lifetime| self.now() + lifetime);
        self.store.record_end(id, ended, expiry).await?;
        let keys = workspace.keys.clone().with(ended, self.now());
        if !self.store.release(id, ended, keys).await? {
            return Ok(Moved::Nothing);
        }
        info!(
            workspace_id = id.as_str(), rebuild_id = %ended.id, status = %ended.status,
            code = ended.error_code, "rebuild ended"
        );
        Ok(Moved::Ended)
    }
}
