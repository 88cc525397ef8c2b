//! What is open, in queues: the reads of the reconciler.

use std::collections::HashMap;

use strum::Display;

use super::Store;
use super::fault::fault;
use super::item::{
    Item, OPEN_REBUILDS, id_of, readable, record_key, string, text, to_record, to_workspace,
    workspace_key,
};
use crate::error::Fault;
use crate::ids::WorkspaceId;
use crate::rebuild::{Rebuild, RebuildId};
use crate::timestamp::Timestamp;
use crate::workspace::{OpenRebuild, Workspace};

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
    /// Seen in REBUILDING before, and now in a state that ends it if it lasts.
    Settling,
    /// Decided; to be recorded and released.
    Ended,
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

/// An entry of the index.
pub(super) fn open_of(item: &Item) -> Result<Open, Fault> {
    let since = text(item, "OpenSince")?.to_owned();
    let since = Timestamp::try_from(since).map_err(Fault::internal)?;
    Ok(Open { workspace_id: id_of(item)?, since })
}
