//! Brings the table in step with the fleet.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::slice;

use time::{Duration, OffsetDateTime};
use tracing::{error, info};

use super::Reconciler;
use crate::error::{Cause, Fault, Unconfirmed, chain};
use crate::fleet::{Fleet, Listed, Pages};
use crate::ids::WorkspaceId;
use crate::rebuild::FleetMode;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::Workspace;

/// How long a pass lists. It runs every 15 minutes.
pub const SYNC_BUDGET: Duration = Duration::minutes(14);
/// How long after its start a pass asks about single WorkSpaces. Lambda ends it after 15 minutes.
const ASKING_BUDGET: Duration = Duration::seconds(14 * 60 + 30);
/// A WorkSpace is gone only if two listings at least this far apart leave it out.
const LISTINGS_APART: Duration = Duration::minutes(10);
/// How many WorkSpaces a listing may lose at once, whatever the size of the table.
const BELIEVED: usize = 10;
/// A larger table may lose one in this many: 5 %.
const BELIEVED_ONE_IN: usize = 20;
/// A listing that loses more is believed once the same WorkSpaces have been missing for this long.
const BELIEVED_AFTER: Duration = Duration::days(1);
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
    /// How many WorkSpaces the listing lacks that it had within the last day, if they are too many to
    /// believe.
    /// None of them was changed.
    pub vanished: usize,
    /// How many items it failed to bring in step; the log says why.
    pub failures: usize,
    /// Whether the listing was complete.
    pub is_complete: bool,
}

/// A complete listing.
struct Listing {
    began: Timestamp,
    ids: HashSet<WorkspaceId>,
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
        let began = self.now();
        let (table, unreadable) = self.store.all_workspaces().await?;
        let mut pass = Synced { failures: unreadable, ..Synced::default() };
        let table: HashMap<_, _> = table
            .into_iter()
            .map(|workspace| (workspace.workspace_id.clone(), workspace))
            .collect();
        let mut ids = HashSet::new();
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
                ids.insert(workspace.workspace_id);
            }
            token = pages.next(next).map_err(Fault::Internal)?;
            pass.is_complete = token.is_none();
            if pass.is_complete || self.now().since(began) >= SYNC_BUDGET {
                break;
            }
        }
        pass.listed = ids.len();
        if pass.is_complete {
            self.sync_missing(&table, &Listing { began, ids }, &mut pass).await;
        }
        Ok(pass)
    }

    async fn sync_one(
        &self,
        read: Option<&Workspace>,
        listed: &Listed,
    ) -> Result<bool, Unconfirmed> {
        let (id, state) = (&listed.workspace_id, listed.state);
        if state == State::Unknown {
            info!(workspace_id = id.as_str(), "the fleet reports an unknown state");
        }
        if state == State::Unknown || read.is_some_and(Workspace::has_open_rebuild) {
            let Some(since) = read.and_then(|read| read.missing_since) else { return Ok(false) };
            return self.store.note_listed(id, since).await;
        }
        let is_same = read.is_some_and(|read| {
            let is_there = !read.has_left_fleet && read.missing_since.is_none();
            is_there && read.state == state && read.description == listed.description
        });
        if is_same {
            return Ok(false);
        }
        self.store.refresh(id, read, state, &listed.description).await
    }

    /// A listing may leave a WorkSpace out by mistake, and so may an answer about it. So a WorkSpace
    /// is gone only if an earlier listing, this one, and a question for it alone leave it out. A
    /// listing that lacks many at once is believed a day later.
    async fn sync_missing(
        &self,
        table: &HashMap<WorkspaceId, Workspace>,
        listing: &Listing,
        pass: &mut Synced,
    ) {
        let now = self.now();
        let in_fleet = || table.values().filter(|workspace| !workspace.has_left_fleet);
        let missing: Vec<_> = in_fleet()
            .filter(|workspace| !listing.ids.contains(&workspace.workspace_id))
            .filter(|workspace| !workspace.has_open_rebuild())
            .collect();
        let recent =
            missing.iter().filter(|read| !listing.leaves_out(read, BELIEVED_AFTER)).count();
        // The simulated fleet lists nothing.
        let is_real = F::MODE != FleetMode::Simulated;
        if is_real && recent > BELIEVED && recent * BELIEVED_ONE_IN > in_fleet().count() {
            pass.vanished = recent;
            error!(vanished = recent, listed = pass.listed, "the fleet's listing shrank");
        }
        // An empty fleet looks the same as one that this account may not see.
        if listing.ids.is_empty() {
            return;
        }
        let believed_after = if pass.vanished > 0 { BELIEVED_AFTER } else { LISTINGS_APART };
        for read in missing {
            let id = &read.workspace_id;
            let Some(since) = read.missing_since else {
                if let Err(error) = self.store.note_missing(read, now).await {
                    pass.fail(id, &error);
                }
                continue;
            };
            // The condition of the write guards protections. Asking about them would cost a call
            // in each pass.
            let may_be_gone = listing.leaves_out(read, believed_after) && read.protection.is_none();
            if may_be_gone && self.now().since(listing.began) < ASKING_BUDGET {
                match self.sync_gone(read, since).await {
                    Ok(is_gone) => pass.gone += usize::from(is_gone),
                    Err(error) => pass.fail(id, &*error),
                }
            }
        }
    }

    /// Asks for a single WorkSpace, missing since `since`.
    async fn sync_gone(&self, read: &Workspace, since: Timestamp) -> Result<bool, Cause> {
        let id = &read.workspace_id;
        if self.fleet.find(slice::from_ref(id)).await?.contains(id) {
            return Ok(false);
        }
        let expiry = self.now() + KEPT_AFTER_LEAVING;
        Ok(self.store.mark_gone(read, since, expiry).await?)
    }
}

impl Listing {
    /// Whether this listing lacks a WorkSpace that another one lacked at least this much earlier.
    fn leaves_out(&self, read: &Workspace, before: Duration) -> bool {
        read.missing_since.is_some_and(|since| self.began.since(since) >= before)
    }
}

impl Synced {
    fn fail(&mut self, id: &WorkspaceId, error: &(dyn Error + 'static)) {
        error!(workspace_id = id.as_str(), error = %chain(error), "a WorkSpace was not synced");
        self.failures += 1;
    }
}
