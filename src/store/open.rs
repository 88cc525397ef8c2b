//! The listing of open rebuilds, from its queues.

use std::collections::HashSet;

use super::Store;
use super::fault::fault;
use super::item::{Item, OPEN_REBUILDS, readable, string, text};
use super::queue::{Open, Queue, open_of};
use crate::error::{Fault, ListError};
use crate::ids::WorkspaceId;
use crate::rebuild::Status;
use crate::timestamp::Timestamp;
use crate::token::Listing;
use crate::workspace::{Latest, Page, Workspace};

/// A batch has at most this many items.
const BATCH: usize = 100;
/// A page that has found so many entries without a wanted rebuild ends short, and the next one goes on.
/// Few statuses are mixed in a queue, so this is rare.
const IN_VAIN: usize = 100;
/// How many more entries than wanted a query asks for. Half a read unit pays for about 40 entries, and
/// the last second of a query does not count.
const SPARE: usize = 25;
/// Before every time.
const FIRST: &str = "0";

impl Queue {
    /// The queues with open rebuilds of this status (`None`: of any), in the order in which a rebuild
    /// goes through them. A rebuild is REQUESTED until it is known to be under way, so a claimed one may
    /// have either status.
    fn with_status(status: Option<&Status>) -> &'static [Self] {
        match status {
            None => &[Self::Requested, Self::HandedOver, Self::Rebuilding, Self::Settling],
            Some(Status::Requested) => &[Self::Requested, Self::HandedOver],
            Some(Status::Started) => &[Self::HandedOver, Self::Rebuilding, Self::Settling],
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

impl Store {
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
        let mut place = listing.place(token, |last| Open::from_place(&last))?;
        let limit = usize::from(limit);
        let (mut items, mut count, mut in_vain) = (vec![], limit, 0);
        loop {
            let queues = Queue::with_status(status);
            let (mut open, is_cut) = self.next_open(queues, place.as_ref(), count).await?;
            let mut has_more = is_cut || open.len() > count;
            open.truncate(count);
            let found = self.with_open_rebuild(&open, status).await?;
            in_vain += open.len() - found.len();
            let is_empty = found.is_empty();
            items.extend(found);
            place = open.pop().or(place);
            if items.len() > limit {
                items.truncate(limit);
                place = items.last().and_then(open_rebuild_of);
                has_more = true;
            }
            if !has_more || items.len() == limit || in_vain >= IN_VAIN {
                let place = place.filter(|_| has_more);
                let next_token = place.map(|place| listing.token(&place.place()));
                return Ok(Page { items, next_token });
            }
            count = if is_empty { BATCH.min(count * 2) } else { limit - items.len() };
        }
    }

    /// The WorkSpaces of these entries whose rebuild is still open, with this status. The index lags: the
    /// rebuild may have ended, and another one may be open, which has a place of its own.
    async fn with_open_rebuild(
        &self,
        open: &[Open],
        status: Option<&Status>,
    ) -> Result<Vec<Workspace>, Fault> {
        let ids: Vec<_> = open.iter().map(|open| open.workspace_id.clone()).collect();
        let mut workspaces = self.workspaces_of(&ids).await?;
        workspaces.retain(|workspace| {
            let Latest::Open(rebuild) = &workspace.latest else { return false };
            rebuild.is_running()
                && status.is_none_or(|status| rebuild.status() == *status)
                && open_rebuild_of(workspace).is_some_and(|place| open.contains(&place))
        });
        Ok(workspaces)
    }

    /// The next entries of these queues after a place, in the order of the listing: at least one if
    /// there is one, without a gap. And whether there are more.
    ///
    /// Each part of the queues is read in the order in which rebuilds go through them, so a rebuild
    /// that moves on in between is found in one of them, or in both.
    async fn next_open(
        &self,
        queues: &[Queue],
        place: Option<&Open>,
        count: usize,
    ) -> Result<(Vec<Open>, bool), Fault> {
        let mut from = place.map(|place| place.since);
        loop {
            let mut open = vec![];
            let mut until = None;
            for queue in queues {
                let (entries, end) = self.entries_from(*queue, from, count + SPARE).await?;
                open.extend(entries);
                until = until.into_iter().chain(end).min();
            }
            open.retain(|open| {
                until.is_none_or(|until| open.since < until) && place.is_none_or(|last| open > last)
            });
            if !open.is_empty() || until.is_none() {
                return Ok((latest_of_each_workspace(open), until.is_some()));
            }
            from = until;
        }
    }

    /// The first entries of a queue from this second on; and, if there are more, the second from which
    /// on some are missing, which is a later one. The index has no order within a second, so no query
    /// can start in the middle of one: a second with many entries is read to its end.
    async fn entries_from(
        &self,
        queue: Queue,
        from: Option<Timestamp>,
        mut limit: usize,
    ) -> Result<(Vec<Open>, Option<Timestamp>), Fault> {
        let from = from.map_or(FIRST.to_owned(), String::from);
        let mut entries: Vec<Open> = vec![];
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.tables.workspaces)
                .index_name(OPEN_REBUILDS)
                .key_condition_expression("OpenRebuild = :queue AND OpenSince >= :from")
                .expression_attribute_values(":queue", string(queue))
                .expression_attribute_values(":from", string(&from))
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(fault)?;
            entries.extend(readable(output.items.unwrap_or_default(), |item| in_order(&item)).0);
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok((entries, None));
            }
            let end = entries.last().map(|last| last.since);
            if end > entries.first().map(|first| first.since) {
                return Ok((entries, end));
            }
            limit *= 2;
        }
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

/// The entry that the index has of a WorkSpace with an open rebuild.
fn open_rebuild_of(workspace: &Workspace) -> Option<Open> {
    let workspace_id = workspace.workspace_id.clone();
    workspace.rebuild().map(|rebuild| Open { since: rebuild.created_at, workspace_id })
}

/// An entry, if the index has it where its time belongs: the index orders texts, so a time in another
/// spelling would pretend that everything up to it was read.
fn in_order(item: &Item) -> Result<Open, Fault> {
    let open = open_of(item)?;
    if text(item, "OpenSince")? == open.since.to_string() {
        Ok(open)
    } else {
        Err(Fault::internal("OpenSince is not in UTC and whole seconds"))
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
