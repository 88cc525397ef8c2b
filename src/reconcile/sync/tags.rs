//! The tags of the fleet's WorkSpaces.

use std::time::Duration as StdDuration;

use time::{Duration, OffsetDateTime};
use tokio::time::timeout;
use tracing::{error, info};

use super::{Pass, Reconciler};
use crate::error::{Cause, chain};
use crate::fleet::Fleet;
use crate::workspace::Tags;

/// How long the reading of tags may take.
const READING: StdDuration = StdDuration::from_mins(5);
/// How long after its start a pass writes tags. The rest of its time is for the directories.
const TAGS_BUDGET: Duration = Duration::minutes(7);

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// Brings the tags in the table in step with the fleet's, if the deployer wants any. Only a complete
    /// reading changes anything.
    pub(super) async fn sync_tags(&self, pass: &mut Pass) {
        let read = timeout(READING, self.fleet.tags()).await;
        match read.map_err(Cause::from).flatten() {
            Ok(None) => return,
            Ok(Some(tags)) => pass.tags = tags,
            Err(error) => {
                error!(error = %chain(&*error), "the tags were not read");
                pass.synced.failures += 1;
                return;
            }
        }
        let none = Tags::new();
        let mut failures = 0;
        for read in pass.table.in_fleet() {
            let tags = pass.tags.get(&read.workspace_id).unwrap_or(&none);
            if *tags == read.tags {
                continue;
            }
            if self.is_over(pass.began_at, TAGS_BUDGET) {
                info!("the next pass goes on writing tags");
                return;
            }
            match self.store.tag(read, tags).await {
                Ok(is_changed) => pass.synced.changed += usize::from(is_changed),
                Err(error) => {
                    pass.synced.fail(&read.workspace_id, &error);
                    failures += 1;
                }
            }
        }
        if failures == 0 {
            pass.progress.tags_read_at = Some(pass.began_at);
        }
    }
}
