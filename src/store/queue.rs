//! What is open, in queues: the reads of the reconciler, and the listing of open rebuilds.

use std::collections::{HashMap, HashSet};

use strum::Display;

use super::Store;
use super::fault::fault;
use super::item::{
    Item, OPEN_REBUILDS, id_of, readable, record_key, string, text, to_record, to_workspace,
    workspace_key,
};
use crate::error::{Fault, ListError};
use crate::ids::WorkspaceId;
use crate::rebuild::{Rebuild, RebuildId, Status};
use crate::timestamp::Timestamp;
use crate::token::Listing;
use crate::workspace::{Latest, OpenRebuild, Page, Workspace};

/// The reconciler's queues: the hash key of the index of open rebuilds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Queue {
    /// Accepted; no pass has claimed the hand-over.
    Requested,
    /// Claimed, and not yet seen in REBUILDING.
    HandedOver,
    /// Seen in REBUILDING.
    Rebuilding,
    /// Decided; to be recorded and released.
    Ended,
}

impl Queue {
    /// The queues with open rebuilds of this status (`None`: of any). A rebuild is REQUESTED until it
    /// is known to be under way, so a claimed one may have either status.
    fn with_status(status: Option<&Status>) -> &'static [Self] {
        match status {
            None => &[Self::Requested, Self::HandedOver, Self::Rebuilding],
            Some(Status::Requested) => &[Self::Requested, Self::HandedOver],
            Some(Status::Started) => &[Self::HandedOver, Self::Rebuilding],
            Some(
                Status::Succeeded
                | Status::Failed
                | Status::Cancelled
                | Status::Unknown
                | Status::Unrecognized(_),
            ) => &[],
        }
    }
}

/// An open rebuild, as the index lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    /// When it was accepted.
    pub since: Timestamp,
    /// Its WorkSpace.
    pub workspace_id: WorkspaceId,
}

impl Store {
    /// The open rebuilds in this queue, oldest first. The index is eventually consistent.
    ///
    /// # Errors
    /// The index was not read.
    pub async fn open_rebuilds(&self, queue: Queue) -> Result<Vec<Open>, Fault> {
        let mut open = Vec::new();
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.tables.workspaces)
                .index_name(OPEN_REBUILDS)
                .key_condition_expression("OpenRebuild = :queue")
                .expression_attribute_values(":queue", string(queue))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(fault)?;
            open.extend(readable(output.items.unwrap_or_default(), |item| open_of(&item)).0);
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(open);
            }
        }
    }

    /// One page of WorkSpaces with an open rebuild of this status (`None`: of any), oldest rebuild
    /// first: at most `limit` of them. The index is eventually consistent, the WorkSpaces are read
    /// consistently.
    ///
    /// # Errors
    /// [`ListError::InvalidToken`] for a token of another listing; else the table was not read.
    pub async fn workspaces_with_open_rebuild(
        &self,
        status: Option<&Status>,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        let filter = status.map(ToString::to_string);
        let listing = Listing::new("open rebuilds", filter.as_deref().as_slice());
        let last = listing.place(token, |last| Open::from_place(&last))?;
        let mut open = vec![];
        for queue in Queue::with_status(status) {
            open.extend(self.open_rebuilds(*queue).await?);
        }
        let mut open = latest_of_each_workspace(open);
        open.retain(|open| last.as_ref().is_none_or(|last| open > last));
        let mut rest = &open[..];
        let mut last_read = None;
        let mut items = vec![];
        while items.len() < limit.into() && !rest.is_empty() {
            let missing = usize::from(limit) - items.len();
            let (next, later) = rest.split_at(missing.min(rest.len()));
            let ids: Vec<_> = next.iter().map(|open| open.workspace_id.clone()).collect();
            // The index lags: the rebuild may have ended, and another one may be open.
            let is_wanted = |workspace: &Workspace| {
                let Latest::Open(rebuild) = &workspace.latest else { return false };
                let workspace_id = workspace.workspace_id.clone();
                rebuild.is_running()
                    && status.is_none_or(|status| rebuild.status() == *status)
                    && next.contains(&Open { since: rebuild.created_at, workspace_id })
            };
            items.extend(self.workspaces_of(&ids).await?.into_iter().filter(is_wanted));
            last_read = next.last();
            rest = later;
        }
        let last_read = last_read.filter(|_| !rest.is_empty());
        let next_token = last_read.map(|last| listing.token(&last.place()));
        Ok(Page { items, next_token })
    }

    /// The open rebuilds of at most 100 WorkSpaces, and how many items cannot be read. One consistent
    /// read. (The index lags, so some WorkSpaces may have no open rebuild.)
    ///
    /// # Errors
    /// The table was not read.
    pub async fn read_open_rebuilds(
        &self,
        open: &[Open],
    ) -> Result<(Vec<OpenRebuild>, usize), Fault> {
        let keys = open.iter().map(|open| workspace_key(&open.workspace_id)).collect();
        let items = self.batch(&self.tables.workspaces, keys).await?;
        let (workspaces, unreadable) = readable(items, to_workspace);
        let rebuilds = workspaces.into_iter().filter_map(Workspace::into_open_rebuild);
        Ok((rebuilds.collect(), unreadable))
    }

    /// The records of those of at most 100 rebuilds of different WorkSpaces that have one, by
    /// WorkSpace. One consistent read.
    ///
    /// # Errors
    /// The table was not read. A broken record is an error of its own.
    pub async fn records_of(
        &self,
        rebuilds: Vec<(&WorkspaceId, RebuildId)>,
    ) -> Result<HashMap<WorkspaceId, Result<Rebuild, Fault>>, Fault> {
        let keys =
            rebuilds.into_iter().map(|(id, rebuild_id)| record_key(id, rebuild_id)).collect();
        let records = self.batch(&self.tables.rebuilds, keys).await?;
        records.into_iter().map(|item| Ok((id_of(&item)?, to_record(item)))).collect()
    }
}

impl Open {
    /// Its place in the listing of open rebuilds.
    fn place(&self) -> String {
        format!("{}/{}", self.since, self.workspace_id)
    }

    /// The reverse of [`Open::place`].
    fn from_place(place: &str) -> Option<Self> {
        let (since, id) = place.split_once('/')?;
        let since = Timestamp::try_from(since.to_owned()).ok()?;
        Some(Self { since, workspace_id: WorkspaceId::try_from(id.to_owned()).ok()? })
    }
}

/// Oldest first. Between the reads of two queues a rebuild may move on to the second one, or end, and
/// another one of its WorkSpace begin.
fn latest_of_each_workspace(mut open: Vec<Open>) -> Vec<Open> {
    open.sort_by(|one, other| other.cmp(one));
    let mut listed = HashSet::new();
    open.retain(|open| listed.insert(open.workspace_id.clone()));
    open.reverse();
    open
}

fn open_of(item: &Item) -> Result<Open, Fault> {
    let since = text(item, "OpenSince")?.to_owned();
    let since = Timestamp::try_from(since).map_err(Fault::internal)?;
    Ok(Open { workspace_id: id_of(item)?, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DynamoDB refuses a batch that asks for a WorkSpace twice.
    #[test]
    fn each_workspace_is_listed_once() {
        let open = |hour: u8, id: &str| Open {
            since: format!("2025-01-01T0{hour}:00:00Z").try_into().expect("a time"),
            workspace_id: id.to_owned().try_into().expect("an id"),
        };
        let [first, second] = ["ws-0a1b2c3d4", "ws-1b2c3d4e5"];
        let queues = [open(3, first), open(2, second), open(1, first), open(3, first)];
        let expected = [open(2, second), open(3, first)];
        assert_eq!(latest_of_each_workspace(queues.into()), expected);
    }
}
