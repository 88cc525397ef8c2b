//! Reads: one WorkSpace, its records, and pages of WorkSpaces.

use std::collections::HashMap;
use std::iter;
use std::time::Duration;

use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::Store;
use super::fault::fault;
use super::item::{
    BY_BUNDLE, BY_DIRECTORY, BY_NAME, Item, attribute, id_of, readable, record_key, string, text,
    to_record, to_workspace, workspace_key,
};
use crate::error::{Fault, ListError};
use crate::ids::{UserName, WorkspaceId};
use crate::rebuild::{Rebuild, RebuildId};
use crate::workspace::{Filter, Page, Workspace};

impl Store {
    /// One WorkSpace, read consistently.
    ///
    /// # Errors
    /// The table was not read, or the item is broken.
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Fault> {
        let item = self.get_item(&self.tables.workspaces, workspace_key(id)).await?;
        item.map(to_workspace).transpose()
    }

    /// The record of an ended rebuild, read consistently.
    ///
    /// # Errors
    /// The table was not read, or the record is broken.
    pub async fn record(
        &self,
        id: &WorkspaceId,
        rebuild_id: RebuildId,
    ) -> Result<Option<Rebuild>, Fault> {
        let item = self.get_item(&self.tables.rebuilds, record_key(id, rebuild_id)).await?;
        item.map(to_record).transpose()
    }

    /// One item, read consistently.
    pub(super) async fn get_item(&self, table: &str, key: Item) -> Result<Option<Item>, Fault> {
        let request = self.client.get_item().table_name(table).set_key(Some(key));
        let output = request.consistent_read(true).send().await.map_err(fault)?;
        Ok(output.item)
    }

    /// Records of a WorkSpace's ended rebuilds, newest first, and whether there may be more: at
    /// most `limit`, and only rebuilds older than `before`. Read consistently. Unreadable records
    /// are skipped and logged.
    ///
    /// # Errors
    /// The table was not read.
    pub async fn records(
        &self,
        id: &WorkspaceId,
        before: Option<RebuildId>,
        limit: u8,
    ) -> Result<(Vec<Rebuild>, bool), Fault> {
        let mut records = vec![];
        let mut start = None;
        loop {
            let missing = usize::from(limit) - records.len();
            let mut request = self
                .client
                .query()
                .table_name(&self.tables.rebuilds)
                .key_condition_expression("WorkspaceId = :id")
                .expression_attribute_values(":id", string(id))
                .scan_index_forward(false)
                .consistent_read(true)
                .limit(i32::try_from(missing).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            if let Some(before) = before {
                request = request
                    .key_condition_expression("WorkspaceId = :id AND RebuildId < :before")
                    .expression_attribute_values(":before", string(before));
            }
            let output = request.send().await.map_err(fault)?;
            records.extend(readable(output.items.unwrap_or_default(), to_record).0);
            start = output.last_evaluated_key;
            if start.is_none() || records.len() >= limit.into() {
                return Ok((records, start.is_some()));
            }
        }
    }

    /// One page of WorkSpaces, at most `limit` of them. Each WorkSpace is read consistently; which
    /// ones a directory, a bundle or a name has may lag behind. Unreadable items are skipped and logged.
    ///
    /// # Errors
    /// [`ListError::InvalidToken`] for a token of another listing; else the table was not read.
    pub async fn workspaces(
        &self,
        filter: &Filter,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        let listing = filter.listing();
        let last = listing.place(token, Some)?;
        let last = last.as_deref();
        let mut page = match filter {
            Filter::Ids(ids) => self.page_of_ids(ids, limit, last).await,
            Filter::All => self.page_of_all(limit, last).await,
            Filter::Directory { directory_id, user_name } => {
                let index = Index {
                    name: BY_DIRECTORY,
                    hash: ("DirectoryId", directory_id.as_str()),
                    range: Some(("UserName", user_name.as_ref())),
                };
                self.page_of_index(&index, limit, last).await
            }
            Filter::Bundle(bundle_id) => {
                let hash = ("BundleId", bundle_id.as_str());
                let index = Index { name: BY_BUNDLE, hash, range: None };
                self.page_of_index(&index, limit, last).await
            }
            Filter::Name(name) => {
                let hash = ("WorkspaceName", name.as_str());
                let index = Index { name: BY_NAME, hash, range: None };
                self.page_of_index(&index, limit, last).await
            }
        }?;
        page.next_token = page.next_token.map(|last| listing.token(&last));
        Ok(page)
    }

    async fn page_of_ids(
        &self,
        ids: &[WorkspaceId],
        limit: u8,
        last: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        let start = match last {
            None => 0,
            Some(last) => match ids.iter().position(|id| id.as_str() == last) {
                Some(last) => last + 1,
                None => return Err(ListError::InvalidToken),
            },
        };
        let page: Vec<_> = ids[start..].iter().take(limit.into()).cloned().collect();
        let is_last = start + page.len() == ids.len();
        let next_token = page.last().filter(|_| !is_last).map(ToString::to_string);
        Ok(Page { items: self.workspaces_of(&page).await?, next_token })
    }

    async fn page_of_all(
        &self,
        limit: u8,
        last: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        let mut start = last.map(start_key).transpose()?;
        let mut items = vec![];
        let mut limit = limit.into();
        loop {
            let output = self
                .client
                .scan()
                .table_name(&self.tables.workspaces)
                .consistent_read(true)
                .limit(limit)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(fault)?;
            items.extend(readable(output.items.unwrap_or_default(), to_workspace).0);
            start = output.last_evaluated_key;
            let last = start.as_ref().map(id_of);
            match last {
                None => return Ok(Page { items, next_token: None }),
                Some(Ok(id)) => return Ok(Page { items, next_token: Some(id.to_string()) }),
                // A token needs a valid id: read on, one item at a time, until there is one.
                Some(Err(_)) => limit = 1,
            }
        }
    }

    /// A page of an index, which has keys only: first the keys, then the items.
    async fn page_of_index(
        &self,
        index: &Index<'_>,
        limit: u8,
        last: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        let (hash, value) = index.hash;
        let (condition, user_name) = match index.range {
            Some((name, Some(value))) => ("#hash = :hash AND #range = :range", Some((name, value))),
            Some((_, None)) | None => ("#hash = :hash", None),
        };
        let mut start = last.map(|last| index.start_key(last)).transpose()?;
        let mut ids = vec![];
        let mut limit = limit.into();
        let next_token = loop {
            let mut request = self
                .client
                .query()
                .table_name(&self.tables.workspaces)
                .index_name(index.name)
                .key_condition_expression(condition)
                .expression_attribute_names("#hash", hash)
                .expression_attribute_values(":hash", string(value))
                .limit(limit)
                .set_exclusive_start_key(start);
            if let Some((name, value)) = user_name {
                request = request
                    .expression_attribute_names("#range", name)
                    .expression_attribute_values(":range", string(value));
            }
            let output = request.send().await.map_err(fault)?;
            ids.extend(readable(output.items.unwrap_or_default(), |key| id_of(&key)).0);
            start = output.last_evaluated_key;
            match start.as_ref().map(|key| index.place(key)) {
                None => break None,
                Some(Ok(place)) => break Some(place),
                // As in a scan: the token needs a valid id.
                Some(Err(_)) => limit = 1,
            }
        };
        Ok(Page { items: self.workspaces_of(&ids).await?, next_token })
    }

    /// Those of these WorkSpaces that exist, in the order of the ids, read consistently.
    pub(super) async fn workspaces_of(&self, ids: &[WorkspaceId]) -> Result<Vec<Workspace>, Fault> {
        let keys = ids.iter().map(workspace_key).collect();
        let items = self.batch(&self.tables.workspaces, keys).await?;
        let workspaces = readable(items, to_workspace).0.into_iter();
        let mut found: HashMap<_, _> =
            workspaces.map(|workspace| (workspace.workspace_id.clone(), workspace)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// The items of these keys, at most 100, read consistently. DynamoDB may return only some,
    /// or none, while it is busy.
    pub(super) async fn batch(&self, table: &str, mut keys: Vec<Item>) -> Result<Vec<Item>, Fault> {
        let mut items = vec![];
        let mut pauses = pauses();
        while !keys.is_empty() {
            let wanted =
                KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(Fault::internal)?;
            let request = self.client.batch_get_item().request_items(table, wanted);
            let mut output = request.send().await.map_err(fault)?;
            let found = output.responses.as_mut().and_then(|tables| tables.remove(table));
            items.extend(found.unwrap_or_default());
            let rest = output.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            keys = rest.map(|rest| rest.keys).unwrap_or_default();
            if !keys.is_empty() {
                let count = keys.len();
                let busy = || Fault::Throttled(format!("{count} keys were not processed").into());
                tokio::time::sleep(pauses.next().ok_or_else(busy)?).await;
            }
        }
        Ok(items)
    }
}

/// The pauses before a batch asks again for what DynamoDB has not processed: each is twice as long as
/// the one before, up to 400 ms, and all of them are 3 seconds at most.
fn pauses() -> impl Iterator<Item = Duration> {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(400);
    const PATIENCE: Duration = Duration::from_secs(3);
    let pauses = iter::successors(Some(FIRST), |pause| Some(LONGEST.min(*pause * 2)));
    pauses.scan(Duration::ZERO, |total, pause| {
        *total += pause;
        (*total <= PATIENCE).then_some(pause)
    })
}

/// What to look for in an index. A place in it is written as the `WorkspaceId` and, if the index has
/// a range key, a slash and the value of that key.
struct Index<'a> {
    name: &'static str,
    hash: (&'static str, &'a str),
    range: Option<(&'static str, Option<&'a UserName>)>,
}

impl Index<'_> {
    fn place(&self, last: &Item) -> Result<String, Fault> {
        let id = id_of(last)?;
        match self.range {
            None => Ok(id.to_string()),
            Some((range, _)) => Ok(format!("{id}/{}", text(last, range)?)),
        }
    }

    fn start_key(&self, place: &str) -> Result<Item, ListError> {
        let (id, range) = match self.range {
            None => (place, None),
            Some((name, wanted)) => {
                let (id, value) = place.split_once('/').ok_or(ListError::InvalidToken)?;
                // DynamoDB refuses a place outside of what is asked for, and a value that cannot be
                // a range key.
                let is_within = wanted.is_none_or(|wanted| wanted.to_string() == value);
                let is_range_key = (1..=1024).contains(&value.len());
                if !is_within || !is_range_key {
                    return Err(ListError::InvalidToken);
                }
                (id, Some((name, value)))
            }
        };
        let mut start = start_key(id)?;
        start.extend([attribute(self.hash.0, self.hash.1)]);
        start.extend(range.map(|(name, value)| attribute(name, value)));
        Ok(start)
    }
}

/// The key of the item after which a page starts.
fn start_key(id: &str) -> Result<Item, ListError> {
    let id = WorkspaceId::try_from(id.to_owned()).map_err(|_| ListError::InvalidToken)?;
    Ok(workspace_key(&id))
}
