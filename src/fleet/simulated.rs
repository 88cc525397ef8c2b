//! A fleet without WorkSpaces. It keeps no memory: what it says is a function of the item and the
//! clock, so it survives Lambda's environments coming and going.

use std::collections::HashMap;
use std::time::Duration;

use super::{Fleet, Listed, NotRebuilt, Seen};
use crate::error::Cause;
use crate::workspace::{Rebuild, State, Timestamp, Workspace, WorkspaceId};

/// A simulated fleet, in which a rebuild takes `rebuild_time`.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    /// How long a rebuild takes.
    pub rebuild_time: Duration,
}

impl Simulated {
    /// A WorkSpace is as its item says until its rebuild is handed over; then it is REBUILDING,
    /// for the time that a rebuild takes, and until it was seen so, however seldom anybody looks.
    fn state(&self, workspace: &Workspace, now: Timestamp) -> State {
        let open = workspace.rebuild.as_ref().filter(|rebuild| rebuild.status.is_open());
        let Some(rebuild) = open else {
            return workspace.state;
        };
        match rebuild.hand_over_at {
            None => rebuild.previous_state.unwrap_or(State::Available),
            Some(at) if self.is_running(rebuild, at, now) => State::Rebuilding,
            Some(_) if fails(&workspace.workspace_id) => State::Error,
            Some(_) => State::Available,
        }
    }

    fn is_running(&self, rebuild: &Rebuild, since: Timestamp, now: Timestamp) -> bool {
        rebuild.seen_rebuilding_at.is_none() || now.since(since) < self.rebuild_time
    }
}

/// Whether rebuilds of this WorkSpace fail: those of one in eight do, by the sum of the id's bytes.
fn fails(id: &WorkspaceId) -> bool {
    id.as_str().bytes().fold(0_u8, u8::wrapping_add) % 8 == 7
}

impl Fleet for Simulated {
    async fn describe(
        &self,
        workspaces: &[Workspace],
        now: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Seen>, Cause> {
        let states = workspaces.iter().map(|workspace| {
            (workspace.workspace_id.clone(), Seen::Known(self.state(workspace, now)))
        });
        Ok(states.collect())
    }

    /// Always taken: the hand-over's mark on the item is all that there is to it.
    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), NotRebuilt> {
        Ok(())
    }

    /// Empty: the table is all that there is. An empty listing changes nothing.
    async fn list(&self, _: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }
}
