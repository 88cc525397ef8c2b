//! What a pass is to do about some open rebuilds.

use time::OffsetDateTime;
use tracing::error;

use super::{Connection, Look, Reconciler, Step, next_step};
use crate::error::{Fault, chain};
use crate::fleet::Fleet;
use crate::rebuild::{Rebuild, Stage, Status};
use crate::store::queue::Open;
use crate::workspace::{Description, OpenRebuild};

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
    /// What the look has shown of the WorkSpace beside its state.
    pub(super) description: Option<Description>,
    /// Its record, which a rebuild has only if the table was restored to an earlier time.
    pub(super) record: Option<Rebuild>,
}

/// An open rebuild, and what a look has shown of its WorkSpace.
type Seen = (OpenRebuild, Look, Option<Description>);

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
        let mut unseen = Vec::new();
        for open in rebuilds {
            match self.next(&open, None) {
                Step::Look if open.rebuild.stage() == Stage::Requested && !has_place => {}
                Step::Look => unseen.push(open),
                step => plan.actions.push(Action { open, step, description: None, record: None }),
            }
        }
        let mut ready = Vec::new();
        for (open, look, description) in self.look(unseen, &mut plan).await {
            match self.next(&open, Some(look)) {
                Step::AskConnection => ready.push((open, look, description)),
                step => plan.actions.push(Action { open, step, description, record: None }),
            }
        }
        self.ask_connections(ready, &mut plan).await;
        self.find_records(&mut plan).await?;
        Ok(plan)
    }

    fn next(&self, open: &OpenRebuild, look: Option<Look>) -> Step {
        next_step(open, F::MODE, look, self.now(), (&self.timing, &self.limits))
    }

    /// Looks at the WorkSpaces of these rebuilds; at none, if the fleet does not answer.
    async fn look(&self, open: Vec<OpenRebuild>, plan: &mut Plan) -> Vec<Seen> {
        // The API reads an empty id list as "all WorkSpaces".
        if open.is_empty() {
            return vec![];
        }
        let at = self.now();
        let mut listed = match self.fleet.describe(&open, at).await {
            Ok(listed) => listed,
            Err(error) => {
                error!(error = %chain(&*error), "could not read states from the fleet");
                plan.failures += 1;
                return vec![];
            }
        };
        let look = |open: OpenRebuild| {
            let listed = listed.remove(&open.workspace_id);
            let state = listed.as_ref().map(|listed| listed.state);
            let description = listed.map(|listed| listed.description);
            let is_modifying = description.as_ref().is_some_and(Description::is_modifying);
            let connection = Connection::NotAsked;
            (open, Look { state, is_modifying, connection, at }, description)
        };
        open.into_iter().map(look).collect()
    }

    /// Asks whether the users of WorkSpaces that are ready for a hand-over are connected, and plans what
    /// to do about each.
    async fn ask_connections(&self, ready: Vec<Seen>, plan: &mut Plan) {
        if ready.is_empty() {
            return;
        }
        let open: Vec<_> = ready.iter().map(|(open, ..)| open.clone()).collect();
        let connections = self.fleet.connections(&open, self.now()).await;
        let connections = connections.inspect_err(|error| {
            error!(error = %chain(&**error), "could not read connections from the fleet");
            plan.failures += 1;
        });
        plan.actions.extend(ready.into_iter().map(|(open, look, description)| {
            let connection = match &connections {
                Ok(known) => Connection::Answered(known.get(&open.workspace_id).copied()),
                Err(_) => Connection::NotAnswered,
            };
            let step = self.next(&open, Some(Look { connection, ..look }));
            Action { open, step, description, record: None }
        }));
    }

    /// Finds the records of rebuilds that are to be handed over or ended, or that a client cancelled.
    /// There is none, unless the table was restored to an earlier time.
    async fn find_records(&self, plan: &mut Plan) -> Result<(), Fault> {
        let decided = plan.actions.iter().filter_map(|action| {
            let OpenRebuild { workspace_id, rebuild, .. } = &action.open;
            let is_decided = match action.step {
                Step::HandOver { .. } | Step::End(_) | Step::Gone { .. } => true,
                Step::Close => rebuild.status() == Status::Cancelled,
                Step::Wait
                | Step::Look
                | Step::AskConnection
                | Step::Observe(_)
                | Step::ObserveRebuilding => false,
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
