//! Brings the table in step with the fleet.

mod missing;
mod table;
mod tags;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::error::Error;

use time::{Duration, OffsetDateTime};
use tracing::{error, info};

use self::table::Table;
use super::Reconciler;
use crate::error::{Cause, Fault, Unconfirmed, chain};
use crate::fleet::{Fleet, IDS_PER_CALL, Listed, Pages, Wanted};
use crate::ids::{DirectoryId, WorkspaceId};
use crate::progress::{Part, Progress, Seen, Unfinished};
use crate::rebuild::FleetMode;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Outline, Tags, fingerprint};

/// How long a pass lists. It runs every 15 minutes.
pub const SYNC_BUDGET: Duration = Duration::minutes(14);

/// What a pass of `sync` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// How many directories a round lists. WorkSpaces in none of them count as one more.
    pub directories: usize,
    /// How many of them this pass has finished.
    pub done: usize,
    /// How many of them were not listed when they were last tried.
    pub failing: usize,
    /// How many WorkSpaces this round has listed so far.
    pub listed: usize,
    /// How many items this pass changed.
    pub changed: usize,
    /// How many WorkSpaces it found gone.
    pub gone: usize,
    /// How many WorkSpaces the listings lack that they had within the last day, where they are too many
    /// to believe.
    /// None of them was changed.
    pub vanished: usize,
    /// What else failed: items that it did not bring in step, and the list of directories; the log says
    /// why.
    pub failures: usize,
    /// Whether it has finished a directory, or left a part of one to the next pass.
    pub has_progressed: bool,
    /// Whether this round has listed all directories.
    pub is_complete: bool,
}

/// A pass under way.
struct Pass {
    began_at: Timestamp,
    table: Table,
    /// The tags of the fleet's WorkSpaces, if they were read.
    tags: HashMap<WorkspaceId, Tags>,
    progress: Progress,
    synced: Synced,
}

/// What a listing has found out.
struct Listing {
    began_at: Timestamp,
    /// Whether it has shown any WorkSpace.
    has_shown: bool,
    /// The WorkSpaces of the table that it has not shown; none while it may still show them.
    missing: Vec<WorkspaceId>,
    /// What is left to the next pass because the time was up.
    unfinished: Option<Unfinished>,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// One pass, which brings the table in step with the fleet, directory by directory, except for
    /// WorkSpaces with an open rebuild. The table is read first, and an item is written only if it
    /// is still as it was read, so that an outdated answer changes nothing.
    ///
    /// # Errors
    /// The table was not read. Any other failure is logged and counted.
    pub async fn sync(&self) -> Result<Synced, Fault> {
        // Its WorkSpaces are those of the table.
        if F::MODE == FleetMode::Simulated {
            return Ok(Synced { is_complete: true, ..Synced::default() });
        }
        let began_at = self.now();
        let progress = self.store.progress().await?;
        let (outlines, unreadable) = self.store.outlines().await?;
        let mut synced = Synced { failures: unreadable, ..Synced::default() };
        // Without their list, the WorkSpaces of the table are asked for by id.
        let directories = self.directories().await.unwrap_or_else(|error| {
            error!(error = %chain(&*error), "the fleet's directories were not listed");
            synced.failures += 1;
            BTreeSet::new()
        });
        let has_directories = synced.failures == unreadable;
        let table = Table::new(outlines, directories);
        let mut pass = Pass { began_at, table, tags: HashMap::new(), progress, synced };
        self.sync_tags(&mut pass).await;
        let parts = pass.table.parts();
        pass.progress.begin(&parts, began_at);
        let is_saved = self.sync_parts(&parts, &mut pass).await;
        let Pass { table, progress, mut synced, .. } = pass;
        synced.directories = parts.len();
        synced.failing = progress.failing.len();
        synced.listed = progress.listed;
        synced.vanished = table.vanished(began_at);
        let is_over = progress.left(&parts).is_empty() && progress.failing.is_empty();
        synced.is_complete = has_directories && is_saved && is_over;
        synced.has_progressed |= synced.is_complete;
        Ok(synced)
    }

    async fn directories(&self) -> Result<BTreeSet<DirectoryId>, Cause> {
        let mut directories = BTreeSet::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            let (page, next) = self.fleet.directories(token).await?;
            directories.extend(page);
            token = pages.next(next)?;
            if token.is_none() {
                return Ok(directories);
            }
        }
    }

    /// Lists what the round has yet to list, as far as the time allows. Returns whether the progress
    /// was saved.
    async fn sync_parts(&self, parts: &BTreeSet<Part>, pass: &mut Pass) -> bool {
        let mut empty = Vec::new();
        for part in pass.progress.left(parts) {
            let listed = self.list(&part, pass).await;
            let is_listed = listed.is_ok();
            match listed {
                Err(error) => {
                    error!(directory = %part, error = %chain(&*error), "a directory was not listed");
                    pass.progress.fail(&part);
                }
                Ok(mut listing) => {
                    pass.progress.unfinished = listing.unfinished.take();
                    if pass.progress.unfinished.is_none() {
                        pass.progress.finish(&part);
                        pass.synced.done += 1;
                    }
                    pass.table.miss(&listing.missing);
                    // An empty directory looks the same as one that this account may not see.
                    if listing.has_shown {
                        self.sync_missing(&part, &listing, pass).await;
                    } else {
                        empty.push((part, listing));
                    }
                }
            }
            if !self.save(pass).await {
                return false;
            }
            pass.synced.has_progressed |= is_listed;
            if self.is_over(pass.began_at, SYNC_BUDGET) {
                break;
            }
        }
        // The account may see the fleet, since this round has shown others.
        if pass.progress.listed > 0 {
            for (part, listing) in empty {
                self.sync_missing(&part, &listing, pass).await;
            }
        }
        true
    }

    async fn list(&self, part: &Part, pass: &mut Pass) -> Result<Listing, Cause> {
        match (part, pass.progress.resume(part)) {
            (Part::Directory(id), Some(Unfinished::Directory { began_at, token, seen, .. })) => {
                self.list_directory(id, began_at, Some(token), seen, pass).await
            }
            (Part::Directory(id), Some(Unfinished::Others { .. }) | None) => {
                let now = self.now();
                self.list_directory(id, now, None, Seen::new(now), pass).await
            }
            (Part::Others, Some(Unfinished::Others { after })) => {
                self.list_others(Some(&after), pass).await
            }
            (Part::Others, Some(Unfinished::Directory { .. }) | None) => {
                self.list_others(None, pass).await
            }
        }
    }

    /// Lists a directory from the page with this token on. What is missing is known once there is no
    /// further page, however many passes it took.
    async fn list_directory(
        &self,
        directory_id: &DirectoryId,
        began_at: Timestamp,
        token: Option<String>,
        mut seen: Seen,
        pass: &mut Pass,
    ) -> Result<Listing, Cause> {
        let mut pages = Pages::default();
        let mut token = pages.next(token)?;
        loop {
            let (page, next) = self.fleet.list(Wanted::Directory(directory_id), token).await?;
            self.sync_page(&page, pass).await;
            for listed in &page {
                seen.insert(&listed.workspace_id);
            }
            let has_shown = !seen.is_empty();
            let Some(next) = pages.next(next)? else {
                let missing = pass.table.missing(directory_id, &seen);
                return Ok(Listing { began_at, has_shown, missing, unfinished: None });
            };
            if self.is_over(pass.began_at, SYNC_BUDGET) {
                let directory_id = directory_id.clone();
                let unfinished =
                    Some(Unfinished::Directory { directory_id, began_at, token: next, seen });
                return Ok(Listing { began_at, has_shown, missing: Vec::new(), unfinished });
            }
            token = Some(next);
        }
    }

    /// Asks for the WorkSpaces of the table that are in no directory of the fleet, from this one on.
    async fn list_others(
        &self,
        after: Option<&WorkspaceId>,
        pass: &mut Pass,
    ) -> Result<Listing, Cause> {
        let began_at = self.now();
        let ids = pass.table.others(after);
        let mut shown = HashSet::new();
        let mut asked = 0;
        for chunk in ids.chunks(IDS_PER_CALL) {
            let page = self.ask(chunk).await?;
            self.sync_page(&page, pass).await;
            shown.extend(page.into_iter().map(|listed| listed.workspace_id));
            asked += chunk.len();
            if self.is_over(pass.began_at, SYNC_BUDGET) {
                break;
            }
        }
        let (asked, left) = ids.split_at(asked);
        let last = asked.last().filter(|_| !left.is_empty()).cloned();
        Ok(Listing {
            began_at,
            has_shown: !shown.is_empty(),
            missing: asked.iter().filter(|id| !shown.contains(*id)).cloned().collect(),
            unfinished: last.map(|after| Unfinished::Others { after }),
        })
    }

    /// What the fleet shows of the WorkSpaces with these ids.
    async fn ask(&self, ids: &[WorkspaceId]) -> Result<Vec<Listed>, Cause> {
        let mut all = Vec::new();
        let mut pages = Pages::default();
        let mut token = None;
        // A WorkSpace is missing only if no page has it.
        loop {
            let (page, next) = self.fleet.list(Wanted::Ids(ids), token).await?;
            all.extend(page);
            token = pages.next(next)?;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn sync_page(&self, page: &[Listed], pass: &mut Pass) {
        for listed in page {
            let id = &listed.workspace_id;
            match self.sync_one(pass.table.get(id), listed, pass.tags.get(id)).await {
                Ok(is_changed) => pass.synced.changed += usize::from(is_changed),
                Err(error) => pass.synced.fail(id, &error),
            }
            pass.table.show(listed);
        }
        pass.progress.listed += page.len();
    }

    async fn sync_one(
        &self,
        read: Option<&Outline>,
        listed: &Listed,
        tags: Option<&Tags>,
    ) -> Result<bool, Unconfirmed> {
        let (id, state) = (&listed.workspace_id, listed.state);
        if state == State::Unknown {
            info!(workspace_id = id.as_str(), "the fleet reports an unknown state");
        }
        if state == State::Unknown || read.is_some_and(|read| read.has_open_rebuild) {
            let Some(since) = read.and_then(|read| read.missing_since) else { return Ok(false) };
            return self.store.note_listed(id, since).await;
        }
        let is_same = read.is_some_and(|read| {
            let is_there = !read.has_left_fleet && read.missing_since.is_none();
            let is_described = read.fingerprint == fingerprint(&listed.description);
            is_there && read.state == state && is_described
        });
        if is_same {
            return Ok(false);
        }
        self.store.refresh(id, read, state, &listed.description, tags).await
    }

    /// Saves the progress for the next pass; returns whether that succeeded.
    async fn save(&self, pass: &mut Pass) -> bool {
        match self.store.save_progress(&mut pass.progress).await {
            Ok(true) => true,
            Ok(false) => {
                info!("another pass is under way, and goes on instead of this one");
                false
            }
            Err(error) => {
                error!(error = %chain(&error), "the progress was not saved");
                pass.synced.failures += 1;
                false
            }
        }
    }

    fn is_over(&self, began_at: Timestamp, budget: Duration) -> bool {
        self.now().since(began_at) >= budget
    }
}

impl Synced {
    fn fail(&mut self, id: &WorkspaceId, error: &(dyn Error + 'static)) {
        error!(workspace_id = id.as_str(), error = %chain(error), "a WorkSpace was not synced");
        self.failures += 1;
    }
}
