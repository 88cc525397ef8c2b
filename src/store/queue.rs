//! The reconciler's reads: what is open, in queues.

use strum::Display;

use super::Store;
use super::fault::fault;
use super::item::{
    Item, OPEN_REBUILDS, id_of, readable, record_key, string, text, to_record, to_workspace,
    workspace_key,
};
use crate::error::Fault;
use crate::rebuild::{Rebuild, RebuildId};
use crate::timestamp::Timestamp;
use crate::workspace::{Workspace, WorkspaceId};

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
    /// What the first version handed over.
    Started,
}

/// An open rebuild, as the index lists it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its WorkSpace.
    pub workspace_id: WorkspaceId,
    /// When it was accepted.
    pub since: Timestamp,
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
                .table_name(&self.workspaces)
                .index_name(OPEN_REBUILDS)
                .key_condition_expression("OpenRebuild = :queue")
                .expression_attribute_values(":queue", string(queue))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(fault)?;
            open.extend(readable(output.items.unwrap_or_default(), |item| open_of(&item)));
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(open);
            }
        }
    }

    /// Those of at most 100 WorkSpaces that exist and can be read, and how many cannot be read. One
    /// consistent read.
    ///
    /// # Errors
    /// The table was not read.
    pub async fn open_workspaces(&self, open: &[Open]) -> Result<(Vec<Workspace>, usize), Fault> {
        let keys = open.iter().map(|open| workspace_key(&open.workspace_id)).collect();
        let items = self.batch(&self.workspaces, keys).await?;
        let count = items.len();
        let workspaces = readable(items, to_workspace);
        let unreadable = count - workspaces.len();
        Ok((workspaces, unreadable))
    }

    /// The records of those of at most 100 rebuilds that have one. One consistent read.
    ///
    /// # Errors
    /// The table was not read, or a record is broken.
    pub async fn records_of(
        &self,
        rebuilds: Vec<(&WorkspaceId, RebuildId)>,
    ) -> Result<Vec<Rebuild>, Fault> {
        let keys =
            rebuilds.into_iter().map(|(id, rebuild_id)| record_key(id, rebuild_id)).collect();
        let records = self.batch(&self.rebuilds, keys).await?;
        records.into_iter().map(to_record).collect()
    }
}

fn open_of(item: &Item) -> Result<Open, Fault> {
    let since = text(item, "OpenSince")?.to_owned();
    let since = Timestamp::try_from(since).map_err(Fault::internal)?;
    Ok(Open { workspace_id: id_of(item)?, since })
}
