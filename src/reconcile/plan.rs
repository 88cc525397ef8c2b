//! What a pass is to do about some open rebuilds.

use std::collections::HashMap;

use time::OffsetDateTime;
use tracing::error;

use super::{Look, Reconciler, Step, next_step};
use crate::error::{Fault, chain};
use crate::fleet::Fleet;
use crate::rebuild::{Rebuild, Stage, Status};
use crate::store::queue::Open;
use crate::workspace::OpenRebuild;

/// What to do about some open rebuilds.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// How many rebuilds cannot be read or looked at; the log says why.
    pub(super) failures: usize,
}

/// What to do about an open rebuild.
pub(super) struct Action {
    pub(super) open: OpenRebuild,
    pub(super) step: Step,
    /// Its record, which a rebuild has only if the table was restored to an earlier time.
    pub(super) record: Option<Rebuild>,
}

impl Action {
    /// Whether it takes a place under the cap.
    pub(super) fn hands_over(&self) -> bool {
        matches!(self.step, Step::HandOver { .. }) && self.record.is_none()
    }
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// What to do about each of these rebuilds. Asks the fleet and each table once. While there is no
    /// place for a hand-over, it does not look at waiting rebuilds.
    pub(super) async fn plan(&self, chunk: &[Open], has_place: bool) -> Result<Plan, Fault> {
        let (rebuilds, failures) = self.store.read_open_rebuilds(chunk).await?;
        let mut plan = Plan { failures, ..Plan::default() };
        let next = |open: &OpenRebuild, look| {
            next_step(open, F::MODE, look, self.now(), (&self.timing, &self.limits))
        };
        let mut unseen = Vec::new();
        for open in rebuilds {
            match next(&open, None) {
                Step::Look if open.rebuild.stage() == Stage::Requested && !has_place => {}
                Step::Look => unseen.push(open),
                step => plan.actions.push(Action { open, step, record: None }),
            }
        }
        // The API reads an empty id list as "all WorkSpaces".
        if !unseen.is_empty() {
            let at = self.now();
            let states = self.fleet.describe(&unseen, at).await.unwrap_or_else(|error| {
                error!(error = %chain(&*error), "could not read states from the fleet");
                plan.failures += 1;
                unseen.clear();
                HashMap::new()
            });
            plan.actions.extend(unseen.into_iter().map(|open| {
                let state = states.get(&open.workspace_id).copied();
                let step = next(&open, Some(Look { state, at }));
                Action { open, step, record: None }
            }));
        }
        self.find_records(&mut plan).await?;
        Ok(plan)
    }

    /// Finds the records of rebuilds that are to be handed over or ended, or that a client cancelled.
    /// There is none, unless the table was restored to an earlier time.
    async fn find_records(&self, plan: &mut Plan) -> Result<(), Fault> {
        let decided = plan.actions.iter().filter_map(|action| {
            let OpenRebuild { workspace_id, rebuild, .. } = &action.open;
            let is_decided = match action.step {
                Step::HandOver { .. } | Step::End(_) | Step::Gone { .. } => true,
                Step::Close => rebuild.status() == Status::Cancelled,
                Step::Wait | Step::Look | Step::Observe(_) | Step::ObserveRebuilding => false,
            };
            is_decided.then_some((workspace_id, rebuild.id))
        });
        let mut records = self.store.records_of(decided.collect()).await?;
        plan.actions.retain_mut(|action| {
            let id = &action.open.workspace_id;
            match records.remove(id) {
                None => true,
                Some(Ok(record)) => {
                    action.record = Some(record);
                    true
                }
                Some(Err(error)) => {
                    error!(workspace_id = id.as_str(), error = %chain(&error), "a record is unreadable");
                    plan.failures += 1;
                    false
                }
            }
        });
        Ok(())
    }
}
