//! What a pass is to do about some open rebuilds.

use std::collections::HashMap;

use time::OffsetDateTime;
use tracing::error;

use super::{Followed, Look, Reconciler, Step, next_step};
use crate::error::{Cause, Fault, chain};
use crate::fleet::Fleet;
use crate::rebuild::{Rebuild, Stage, Status};
use crate::store::queue::Open;
use crate::workspace::{State, Workspace, WorkspaceId};

/// What to do about an open rebuild.
pub(super) struct Plan {
    pub(super) workspace: Workspace,
    pub(super) step: Step,
    /// Its record, which a rebuild has only if the table was restored to an earlier time.
    pub(super) record: Option<Rebuild>,
}

impl Plan {
    /// Whether it takes a place under the cap.
    pub(super) fn hands_over(&self) -> bool {
        matches!(self.step, Step::HandOver(_)) && self.record.is_none()
    }
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// What to do about each of these rebuilds. Asks the fleet and each table once.
    pub(super) async fn plan(
        &self,
        chunk: &[Open],
        pass: &mut Followed,
    ) -> Result<Vec<Plan>, Fault> {
        let (workspaces, unreadable) = self.store.open_workspaces(chunk).await?;
        pass.failures += unreadable;
        let next = |workspace: &Workspace, look| {
            next_step(workspace, F::MODE, look, self.now(), &self.timing)
        };
        let (mut plans, mut unseen) = (Vec::new(), Vec::new());
        for workspace in workspaces {
            // The index lags: the rebuild may have ended.
            let Some(rebuild) = workspace.open_rebuild() else { continue };
            match next(&workspace, None) {
                Step::Look if rebuild.stage() == Stage::Requested && pass.free == 0 => {}
                Step::Look => unseen.push(workspace),
                step => plans.push(Plan { workspace, step, record: None }),
            }
        }
        let at = self.now();
        let states = self.look(&unseen).await.unwrap_or_else(|error| {
            error!(error = %chain(&*error), "could not read states from the fleet");
            pass.failures += 1;
            unseen.clear();
            HashMap::new()
        });
        plans.extend(unseen.into_iter().map(|workspace| {
            let state = states.get(&workspace.workspace_id).copied();
            let step = next(&workspace, Some(Look { state, at }));
            Plan { workspace, step, record: None }
        }));
        self.find_records(&mut plans, pass).await?;
        Ok(plans)
    }

    pub(super) async fn look(
        &self,
        workspaces: &[Workspace],
    ) -> Result<HashMap<WorkspaceId, State>, Cause> {
        // The API reads an empty id list as "all WorkSpaces".
        if workspaces.is_empty() {
            return Ok(HashMap::new());
        }
        self.fleet.describe(workspaces, self.now()).await
    }

    /// Finds the records of rebuilds that are to be handed over or ended, or that a client cancelled.
    /// There is none, unless the table was restored to an earlier time.
    async fn find_records(&self, plans: &mut Vec<Plan>, pass: &mut Followed) -> Result<(), Fault> {
        let decided = plans.iter().filter_map(|plan| {
            let rebuild = plan.workspace.open_rebuild()?;
            let is_decided = match plan.step {
                Step::HandOver(_) | Step::End(_) => true,
                Step::Close => rebuild.status == Status::Cancelled,
                Step::Wait | Step::Look | Step::Note(_) | Step::See => false,
            };
            is_decided.then_some((&plan.workspace.workspace_id, rebuild.id))
        });
        let mut records = self.store.records_of(decided.collect()).await?;
        plans.retain_mut(|plan| match records.remove(&plan.workspace.workspace_id) {
            None => true,
            Some(Ok(record)) => {
                plan.record = Some(record);
                true
            }
            Some(Err(error)) => {
                pass.fail(&plan.workspace.workspace_id, &error);
                false
            }
        });
        Ok(())
    }
}
