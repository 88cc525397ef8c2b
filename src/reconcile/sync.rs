//! Brings the table in step with the fleet.

use std::collections::{HashMap, HashSet};

use time::{Duration, OffsetDateTime};
use tracing::{error, info};

use super::Reconciler;
use crate::error::{Fault, Unconfirmed, chain};
use crate::fleet::{Fleet, IDS_PER_CALL, Listed, Pages};
use crate::ids::WorkspaceId;
use crate::state::State;
use crate::workspace::Workspace;

/// How long a pass works. It runs every 15 minutes.
pub const SYNC_BUDGET: Duration = Duration::minutes(14);
/// How long the table keeps a WorkSpace that has left the fleet.
const KEPT_AFTER_LEAVING: Duration = Duration::days(1);

/// What a pass of `sync` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// How many WorkSpaces the fleet listed.
    pub listed: usize,
    /// How many items it changed.
    pub changed: usize,
    /// How many WorkSpaces it found gone.
    pub gone: usize,
    /// How many items it failed to bring in step; the log says why.
    pub failures: usize,
    /// Whether the listing was complete.
    pub is_complete: bool,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// One pass over the whole fleet, which brings the table in step with it, except for
    /// WorkSpaces with an open rebuild. The table is read first, and an item is written only if it
    /// is still as it was read, so that an outdated answer changes nothing.
    ///
    /// # Errors
    /// The table or the fleet was not read. The failure of a single WorkSpace is logged and
    /// counted.
    pub async fn sync(&self) -> Result<Synced, Fault> {
        let begin = self.now();
        let (table, unreadable) = self.store.all_workspaces().await?;
        let mut pass = Synced { failures: unreadable, ..Synced::default() };
        let table: HashMap<_, _> = table
            .into_iter()
            .map(|workspace| (workspace.workspace_id.clone(), workspace))
            .collect();
        let mut listed = HashSet::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let (page, next) = self.fleet.list(token).await.map_err(Fault::Internal)?;
            for workspace in page {
                let read = table.get(&workspace.workspace_id);
                match self.sync_one(read, &workspace).await {
                    Ok(is_changed) => pass.changed += usize::from(is_changed),
                    Err(error) => pass.fail(&workspace.workspace_id, &error),
                }
                listed.insert(workspace.workspace_id);
            }
            token = pages.next(next).map_err(Fault::Internal)?;
            pass.is_complete = token.is_none();
            if pass.is_complete || self.now().since(begin) >= SYNC_BUDGET {
                break;
            }
        }
        pass.listed = listed.len();
        if pass.is_complete && pass.listed > 0 {
            let missing = table.into_values().filter(|workspace| {
                let is_listed = listed.contains(&workspace.workspace_id);
                !is_listed && !workspace.has_open_rebuild() && !workspace.has_left_fleet
            });
            self.sync_missing(&missing.collect::<Vec<_>>(), &mut pass).await?;
        }
        Ok(pass)
    }

    async fn sync_one(
        &self,
        read: Option<&Workspace>,
        listed: &Listed,
    ) -> Result<bool, Unconfirmed> {
        let state = listed.state;
        if state == State::Unknown {
            info!(
                workspace_id = listed.workspace_id.as_str(),
                "the fleet reports an unknown state"
            );
            return Ok(false);
        }
        let is_same = read.is_some_and(|read| {
            read.state == state && read.description == listed.description && !read.has_left_fleet
        });
        if is_same || read.is_some_and(Workspace::has_open_rebuild) {
            return Ok(false);
        }
        self.store.refresh(&listed.workspace_id, read, state, &listed.description, None).await
    }

    /// A listing may miss a WorkSpace. It has left only if the fleet does not know its id either.
    async fn sync_missing(&self, missing: &[Workspace], pass: &mut Synced) -> Result<(), Fault> {
        for chunk in missing.chunks(IDS_PER_CALL) {
            let now = self.now();
            let ids: Vec<_> = chunk.iter().map(|one| one.workspace_id.clone()).collect();
            let found = self.fleet.find(&ids).await.map_err(Fault::Internal)?;
            for workspace in chunk.iter().filter(|one| !found.contains(&one.workspace_id)) {
                let Workspace { workspace_id: id, description, .. } = workspace;
                let gone = Some(now + KEPT_AFTER_LEAVING);
                let store = &self.store;
                let state = State::Terminated;
                match store.refresh(id, Some(workspace), state, description, gone).await {
                    Ok(is_written) => pass.gone += usize::from(is_written),
                    Err(error) => pass.fail(id, &error),
                }
            }
        }
        Ok(())
    }
}

impl Synced {
    fn fail(&mut self, id: &WorkspaceId, error: &Unconfirmed) {
        error!(workspace_id = id.as_str(), error = %chain(error), "a WorkSpace was not synced");
        self.failures += 1;
    }
}
