//! A fleet without WorkSpaces. It keeps no memory: its answers depend only on the item and the
//! clock, so that they are the same from any Lambda environment.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Fleet, HandOverError, KeyUse, Listed, Wanted};
use crate::error::Cause;
use crate::ids::{DirectoryId, WorkspaceId};
use crate::rebuild::FleetMode;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, OpenRebuild, Simulation, Tags};

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

/// Whether the user of a sample is connected at `now`; its last rebuild was requested at `requested_at`.
/// `None` if the sample does not say.
#[must_use]
pub fn is_connected(
    simulation: Simulation,
    requested_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<bool> {
    let connected_for = Duration::from_secs(simulation.connection_seconds?.into());
    Some(requested_at.is_none_or(|requested_at| now.since(requested_at) < connected_for))
}

/// Whether a key is enabled: all but those that are called so.
#[must_use]
pub fn is_enabled(key: &str) -> bool {
    !key.ends_with("disabled")
}

/// What the item says; a rebuilt WorkSpace has another IP address, as in AWS.
fn description(open: &OpenRebuild, state: State) -> Description {
    let mut description = open.description.clone();
    let is_rebuilt = open.rebuild.observed_at().is_some() && state != State::Rebuilding;
    if let Some(address) = description.ip_address.take_if(|_| is_rebuilt) {
        description.ip_address = Some(next_address(&address));
    }
    description
}

/// The address with another last number.
fn next_address(address: &str) -> String {
    let Some((network, last)) = address.rsplit_once('.') else { return address.to_owned() };
    let next = last.parse::<u8>().map_or(1, |last| last % 254 + 1);
    format!("{network}.{next}")
}

impl Fleet for Simulated {
    const MODE: FleetMode = FleetMode::Simulated;

    async fn describe(
        &self,
        open: &[OpenRebuild],
        now: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        let listed = open.iter().map(|open| {
            let workspace_id = open.workspace_id.clone();
            let state = self.state(open, now);
            let description = description(open, state);
            (workspace_id.clone(), Listed { workspace_id, state, description })
        });
        Ok(listed.collect())
    }

    async fn connections(
        &self,
        open: &[OpenRebuild],
        now: Timestamp,
    ) -> Result<HashMap<WorkspaceId, bool>, Cause> {
        let connections = open.iter().filter_map(|open| {
            let is_connected = is_connected(open.simulation, Some(open.rebuild.created_at), now)?;
            Some((open.workspace_id.clone(), is_connected))
        });
        Ok(connections.collect())
    }

    async fn key(&self, key: &str) -> Result<KeyUse, Cause> {
        Ok(if is_enabled(key) { KeyUse::Enabled } else { KeyUse::Unusable })
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
        Ok(snapshot(open.simulation.last_snapshot_at, now))
    }

    async fn wait_for_place(&self) {}

    /// Always succeeds: the claim in the item is all that the simulation needs.
    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        Ok(())
    }

    /// None: all WorkSpaces are in the table already, so there is nothing to sync.
    async fn directories(
        &self,
        _: Option<String>,
    ) -> Result<(Vec<DirectoryId>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }

    /// None, for the same reason.
    async fn list(
        &self,
        _: Wanted<'_>,
        _: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }

    /// None: samples have their tags in the table.
    async fn tags(&self) -> Result<Option<HashMap<WorkspaceId, Tags>>, Cause> {
        Ok(None)
    }
}
