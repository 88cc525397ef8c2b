//! A fleet without WorkSpaces. It keeps no memory: its answers depend only on the item and the
//! clock, so that they are the same from any Lambda environment.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Fleet, HandOverError, Listed};
use crate::error::Cause;
use crate::ids::WorkspaceId;
use crate::rebuild::FleetMode;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::OpenRebuild;

/// A simulated fleet, in which a rebuild takes `rebuild_time`.
#[derive(Clone, Copy, Debug)]
pub struct Simulated {
    /// How long a rebuild takes.
    pub rebuild_time: Duration,
}

impl Simulated {
    /// The state in the item until the rebuild is handed over; then REBUILDING for the rebuild time,
    /// and at least until a look has shown it.
    fn state(&self, open: &OpenRebuild, now: Timestamp) -> State {
        let Some(claim) = &open.rebuild.claim else {
            return open.rebuild.previous_state.unwrap_or(State::Available);
        };
        if open.rebuild.observed_at().is_none() || now.since(claim.at) < self.rebuild_time {
            State::Rebuilding
        } else if fails(&open.workspace_id) {
            State::Error
        } else {
            State::Available
        }
    }
}

/// Whether rebuilds of this WorkSpace fail. One WorkSpace in eight fails, by the sum of the bytes
/// of its id.
fn fails(id: &WorkspaceId) -> bool {
    id.as_str().bytes().fold(0_u8, u8::wrapping_add) % 8 == 7
}

/// The newest snapshot at `now`: they are taken every 12 hours, as in AWS. A sample can say when its `last`
/// one was taken; one at the Unix epoch stands for none.
#[must_use]
pub fn snapshot(last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    const INTERVAL: i64 = 12 * 60 * 60;
    let latest = last.map_or(now, |last| last.min(now));
    let seconds = latest.epoch_seconds() / INTERVAL * INTERVAL;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    (time > OffsetDateTime::UNIX_EPOCH).then(|| time.into())
}

impl Fleet for Simulated {
    const MODE: FleetMode = FleetMode::Simulated;

    async fn describe(
        &self,
        open: &[OpenRebuild],
        now: Timestamp,
    ) -> Result<HashMap<WorkspaceId, State>, Cause> {
        let states = open.iter().map(|open| (open.workspace_id.clone(), self.state(open, now)));
        Ok(states.collect())
    }

    /// All of them, since none ever leaves.
    async fn find(&self, ids: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        Ok(ids.iter().cloned().collect())
    }

    async fn newest_snapshot(
        &self,
        open: &OpenRebuild,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        Ok(snapshot(open.last_simulated_snapshot_at, now))
    }

    async fn wait_for_place(&self) {}

    /// Always succeeds: the claim in the item is all that the simulation needs.
    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        Ok(())
    }

    /// Empty, since all WorkSpaces are in the table already. Sync ignores an empty listing.
    async fn list(&self, _: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }
}
