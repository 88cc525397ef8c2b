//! What the fleet's listings lack. A listing may leave a WorkSpace out by mistake, and so may an answer
//! about it. So a WorkSpace is gone only if an earlier listing, this one, and a question for it alone leave
//! it out. Where too many are missing at once, they are believed to be gone a day later.

use std::slice;

use time::{Duration, OffsetDateTime};
use tracing::error;

use super::table::BELIEVED_AFTER;
use super::{Listing, Pass, Reconciler};
use crate::error::Cause;
use crate::fleet::Fleet;
use crate::progress::Part;
use crate::rebuild::Class;
use crate::timestamp::Timestamp;
use crate::workspace::Outline;

/// How long after its start a pass asks about single WorkSpaces. Lambda ends it after 15 minutes.
const ASKING_BUDGET: Duration = Duration::seconds(14 * 60 + 30);
/// A WorkSpace is gone only if two listings at least this far apart leave it out.
const LISTINGS_APART: Duration = Duration::minutes(10);
/// How long the table keeps a WorkSpace that has left the fleet.
const KEPT_AFTER_LEAVING: Duration = Duration::days(1);

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// Looks after what a listing lacks, as far as the time allows. What is left is missing from the next
    /// listing, too.
    pub(super) async fn sync_missing(&self, part: &Part, listing: &Listing, pass: &mut Pass) {
        let outlines = listing.missing.iter().filter_map(|id| pass.table.get(id));
        let missing: Vec<_> = outlines
            .filter(|read| !read.has_left_fleet && !read.has_open_rebuild)
            .cloned()
            .collect();
        let mut believed_after = LISTINGS_APART;
        if pass.table.is_too_much(part, listing.began_at) {
            error!(directory = %part, missing = missing.len(), "the fleet's listing shrank");
            believed_after = BELIEVED_AFTER;
        }
        for read in &missing {
            if self.is_over(pass.began_at, ASKING_BUDGET) {
                break;
            }
            match self.sync_one_missing(read, listing.began_at, believed_after).await {
                Ok(is_gone) => pass.synced.gone += usize::from(is_gone),
                Err(error) => pass.synced.fail(&read.workspace_id, &*error),
            }
        }
    }

    /// Notes that a WorkSpace is missing, or marks it as gone. Returns whether it is gone.
    async fn sync_one_missing(
        &self,
        read: &Outline,
        began_at: Timestamp,
        believed_after: Duration,
    ) -> Result<bool, Cause> {
        let Some(since) = read.missing_since else {
            self.store.note_missing(read, self.now()).await?;
            return Ok(false);
        };
        // The condition of the write guards protections. Asking about them would cost a call in each
        // round.
        if began_at.since(since) < believed_after || read.is_protected {
            return Ok(false);
        }
        let id = &read.workspace_id;
        let shown = self.ask(slice::from_ref(id)).await?;
        if shown
            .iter()
            .any(|one| one.workspace_id == *id && Class::of(Some(one.state)) != Class::Gone)
        {
            return Ok(false);
        }
        let expiry = self.now() + KEPT_AFTER_LEAVING;
        Ok(self.store.mark_gone(read, since, expiry).await?)
    }
}
