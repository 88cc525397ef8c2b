//! A fleet without WorkSpaces. It keeps no memory: its answers depend only on the item and the
//! clock, so that they are the same from any Lambda environment.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::{Fleet, HandOverError, Listed};
use crate::error::Cause;
use crate::rebuild::{FleetMode, Rebuild};
use crate::timestamp::Timestamp;
use crate::workspace::{State, Workspace, WorkspaceId};

/// A simulated fleet, in which a rebuild takes `rebuild_time`.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    /// How long a rebuild takes.
    pub rebuild_time: Duration,
}

impl Simulated {
    /// The state in the item until the rebuild is handed over; then REBUILDING for the rebuild time,
    /// and at least until a pass has seen it.
    fn state(&self, workspace: &Workspace, now: Timestamp) -> State {
        let open = workspace.rebuild.as_ref().filter(|rebuild| rebuild.is_open());
        let Some(rebuild) = open else {
            return workspace.state;
        };
        match rebuild.claimed_at {
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

/// Whether rebuilds of this WorkSpace fail. One WorkSpace in eight fails, by the sum of the bytes
/// of its id.
fn fails(id: &WorkspaceId) -> bool {
    id.as_str().bytes().fold(0_u8, u8::wrapping_add) % 8 == 7
}

/// Snapshots are taken every 12 hours, as in AWS. A sample can say when its last one was taken; one
/// at the Unix epoch stands for none.
#[must_use]
pub fn snapshot(workspace: &Workspace, now: Timestamp) -> Option<Timestamp> {
    const INTERVAL: i64 = 12 * 60 * 60;
    let latest = workspace.last_simulated_snapshot_at.map_or(now, |last| last.min(now));
    let seconds = latest.epoch_seconds() / INTERVAL * INTERVAL;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    (time > OffsetDateTime::UNIX_EPOCH).then(|| time.into())
}

impl Fleet for Simulated {
    const MODE: FleetMode = FleetMode::Simulated;

    async fn describe(
        &self,
        workspaces: &[Workspace],
        now: Timestamp,
    ) -> Result<HashMap<WorkspaceId, State>, Cause> {
        let states = workspaces
            .iter()
            .map(|workspace| (workspace.workspace_id.clone(), self.state(workspace, now)));
        Ok(states.collect())
    }

    async fn newest_snapshot(
        &self,
        workspace: &Workspace,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        Ok(snapshot(workspace, now))
    }

    /// Always succeeds: the claim in the item is all that the simulation needs.
    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        Ok(())
    }

    /// Empty, since all WorkSpaces are in the table already. Sync ignores an empty listing.
    async fn list(&self, _: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }
}
