//! The reconciler's reads and writes.
//!
//! Every write to an item is conditional on the rebuild being where the pass read it, so passes may
//! overlap or die anywhere. If the condition fails, the rebuild has moved on: by another pass, or by
//! an attempt of this one whose answer was lost.
//!
//! A rebuild ends in three writes: [`Store::end`] decides in the item, [`Store::record_end`] puts
//! the record into the table of rebuilds, [`Store::release`] makes the WorkSpace rebuildable
//! again. A pass that finds the rebuild between them repeats the rest with what the item says, so
//! no record can contradict its item.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use uuid::Uuid;

use super::Store;
use super::fault::{condition_failure, fault};
use super::item::{
    Item, OPEN_REBUILDS, from_record, id_of, readable, string, text, to_workspace, workspace_key,
};
use crate::error::Fault;
use crate::rebuild::{End, Rebuild, Stage, Status};
use crate::timestamp::Timestamp;
use crate::workspace::WorkspaceId;

/// The item still has this rebuild, with this status.
const SAME_STATUS: &str = "#Rebuild.Id = :id AND #Rebuild.#Status = :status";
/// No pass has claimed the hand-over.
const NOT_CLAIMED: &str = "attribute_not_exists(#Rebuild.ClaimId)";
/// No other pass has claimed the hand-over since.
const SAME_CLAIM: &str = "#Rebuild.ClaimId = :claim_id";
/// No pass has seen the WorkSpace in REBUILDING.
const NOT_SEEN: &str = "attribute_not_exists(#Rebuild.SeenRebuildingAt)";

/// The rebuild has no record yet.
const NO_RECORD: &str = "attribute_not_exists(WorkspaceId)";

/// An open rebuild, as the index lists it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its WorkSpace.
    pub workspace_id: WorkspaceId,
    /// When it was accepted.
    pub since: Timestamp,
}

impl Store {
    /// The open rebuilds with this status, oldest first. The index is eventually consistent.
    ///
    /// # Errors
    /// The index was not read.
    pub async fn open_rebuilds(&self, status: Status) -> Result<Vec<Open>, Fault> {
        let mut open = Vec::new();
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.workspaces)
                .index_name(OPEN_REBUILDS)
                .key_condition_expression("OpenRebuild = :status")
                .expression_attribute_values(":status", string(status))
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

    /// Claims the hand-over of a rebuild, for the first time or again. Returns the rebuild with
    /// its new claim; `None` if it has moved on.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn claim(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Fault> {
        let change = "SET #Rebuild.ClaimId = :claim, \
            #Rebuild.ClaimedAt = if_not_exists(#Rebuild.ClaimedAt, :now)";
        let request = self
            .guarded_update(id, rebuild, change, Some(same_claim(rebuild)))
            .expression_attribute_values(":claim", string(Uuid::new_v4()))
            .expression_attribute_values(":now", string(now));
        write_and_read(request).await
    }

    /// Takes a first claim back, after a call that certainly had no effect.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn unclaim(&self, id: &WorkspaceId, claimed: &Rebuild) -> Result<bool, Fault> {
        let change = "REMOVE #Rebuild.ClaimId, #Rebuild.ClaimedAt";
        write(self.guarded_update(id, claimed, change, Some(same_claim(claimed)))).await
    }

    /// Notes that a rebuild is under way, and whether the WorkSpace was seen in REBUILDING.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn start(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        is_seen: bool,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let change = if is_seen {
            "SET #Rebuild.#Status = :started, OpenRebuild = :started, \
             #Rebuild.StartedAt = :now, #Rebuild.SeenRebuildingAt = :now"
        } else {
            "SET #Rebuild.#Status = :started, OpenRebuild = :started, #Rebuild.StartedAt = :now"
        };
        let request = self
            .guarded_update(id, rebuild, change, None)
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Notes when a WorkSpace was first seen in REBUILDING.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn note_seen(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let change = "SET #Rebuild.SeenRebuildingAt = :now";
        let request = self
            .guarded_update(id, rebuild, change, Some(NOT_SEEN))
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Decides how a rebuild ended, provided that what the decision rests on still holds. Returns
    /// the ended rebuild; `None` if it has moved on.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn end(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        end: &End,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Fault> {
        let mut change =
            "SET #Rebuild.#Status = :ended, #Rebuild.EndedAt = :now, #State = :state".to_owned();
        if end.failure.is_some() {
            change += ", #Rebuild.ErrorCode = :code, #Rebuild.ErrorMessage = :message";
        }
        let condition = match rebuild.stage() {
            Stage::Requested | Stage::Claimed { .. } => Some(same_claim(rebuild)),
            Stage::Started { .. } => Some(NOT_SEEN),
            Stage::Seen { .. } | Stage::Ended | Stage::Unknown => None,
        };
        let ended = if end.failure.is_some() { Status::Failed } else { Status::Succeeded };
        let mut request = self
            .guarded_update(id, rebuild, &change, condition)
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":state", string(end.state))
            .expression_attribute_values(":ended", string(ended))
            .expression_attribute_values(":now", string(now));
        if let Some(failure) = &end.failure {
            request = request
                .expression_attribute_values(":code", string(failure.code()))
                .expression_attribute_values(":message", string(failure.message()));
        }
        write_and_read(request).await
    }

    /// Puts the record of an ended rebuild into the table of rebuilds, unless it is there.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn record_end(&self, id: &WorkspaceId, ended: &Rebuild) -> Result<(), Fault> {
        let item = from_record(id, ended)?;
        let request = self
            .client
            .put_item()
            .table_name(&self.rebuilds)
            .set_item(Some(item))
            .condition_expression(NO_RECORD);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_recorded(&error) => Ok(()),
            Err(error) => Err(Fault::internal(error)),
        }
    }

    /// Releases an ended rebuild: its WorkSpace may be rebuilt again.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn release(&self, id: &WorkspaceId, ended: &Rebuild) -> Result<bool, Fault> {
        write(self.guarded_update(id, ended, "REMOVE OpenRebuild, OpenSince", None)).await
    }

    /// A write that is made only while the item has `rebuild` with the same status, and while
    /// `condition` holds.
    fn guarded_update(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        change: &str,
        condition: Option<&str>,
    ) -> UpdateItemFluentBuilder {
        let conditions: Vec<_> = [SAME_STATUS].into_iter().chain(condition).collect();
        // DynamoDB refuses a value that no expression uses.
        let claim_id = rebuild.claim_id.filter(|_| condition == Some(SAME_CLAIM));
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(id)))
            .update_expression(change)
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .expression_attribute_values(":id", string(rebuild.id))
            .expression_attribute_values(":status", string(rebuild.status));
        if let Some(claim_id) = claim_id {
            request = request.expression_attribute_values(":claim_id", string(claim_id));
        }
        request
    }
}

fn open_of(item: &Item) -> Result<Open, Fault> {
    let since = text(item, "OpenSince")?.to_owned();
    let since = Timestamp::try_from(since).map_err(Fault::internal)?;
    Ok(Open { workspace_id: id_of(item)?, since })
}

fn is_recorded(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}

/// The condition that no pass has claimed the rebuild since it was read.
fn same_claim(rebuild: &Rebuild) -> &'static str {
    if rebuild.claim_id.is_some() { SAME_CLAIM } else { NOT_CLAIMED }
}

/// Sends a conditional write. Returns whether it was made.
pub(super) async fn write(request: UpdateItemFluentBuilder) -> Result<bool, Fault> {
    Ok(send(request).await?.is_some())
}

/// Sends a conditional write. Returns the rebuild as the item has it afterwards, if it was made.
async fn write_and_read(request: UpdateItemFluentBuilder) -> Result<Option<Rebuild>, Fault> {
    let Some(output) = send(request.return_values(ReturnValue::AllNew)).await? else {
        return Ok(None);
    };
    Ok(to_workspace(output.attributes.unwrap_or_default())?.rebuild)
}

async fn send(request: UpdateItemFluentBuilder) -> Result<Option<UpdateItemOutput>, Fault> {
    match request.send().await {
        Ok(output) => Ok(Some(output)),
        Err(error) if condition_failure(&error).is_some() => Ok(None),
        // Whether or not it was made, the next pass reads the item anew.
        Err(error) => Err(Fault::internal(error)),
    }
}
