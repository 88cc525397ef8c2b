//! The reconciler's writes.
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
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use super::Store;
use super::fault::{Written, send, write};
use super::item::{expires_at, from_record, string, to_item, to_workspace, workspace_key};
use super::queue::Queue;
use crate::error::Fault;
use crate::rebuild::{End, Keys, Rebuild, Sight, Stage, Status};
use crate::timestamp::Timestamp;
use crate::workspace::{Workspace, WorkspaceId};

/// The item still has this rebuild, with this status.
const SAME_STATUS: &str = "#Rebuild.Id = :id AND #Rebuild.#Status = :status";
/// No pass has claimed the hand-over.
const NOT_CLAIMED: &str = "attribute_not_exists(#Rebuild.ClaimId)";
/// The claim is still there.
const SAME_CLAIM: &str = "#Rebuild.ClaimId = :claim_id";
/// The WorkSpace is not protected.
const NOT_PROTECTED: &str = "attribute_not_exists(Protection)";
/// No pass has seen the WorkSpace in REBUILDING.
const NOT_SEEN: &str = "attribute_not_exists(#Rebuild.SeenRebuildingAt)";
/// No pass has noted a sight.
const NO_SIGHT: &str = "attribute_not_exists(#Rebuild.Sight)";
/// No pass has noted another sight.
const SAME_SIGHT: &str =
    "#Rebuild.Sight.Shown = :sight_shown AND #Rebuild.Sight.Since = :sight_since";

/// The rebuild has no record yet.
const NO_RECORD: &str = "attribute_not_exists(WorkspaceId)";

impl Store {
    /// Claims the hand-over of a rebuild, and notes the newest snapshot of the user volume. Returns
    /// the rebuild with its claim; `None` if it has moved on, or its WorkSpace is protected.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn claim(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        snapshot_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Fault> {
        let claim = Uuid::new_v4();
        let change = "SET #Rebuild.ClaimId = :claim, #Rebuild.ClaimedAt = :now, \
            #Rebuild.SnapshotAt = :snapshot_at, OpenRebuild = :queue REMOVE #Rebuild.Sight";
        let request = self
            .guarded_update(id, rebuild, change, &[NOT_CLAIMED, NOT_PROTECTED])
            .expression_attribute_values(":snapshot_at", string(snapshot_at))
            .expression_attribute_values(":claim", string(claim))
            .expression_attribute_values(":queue", string(Queue::HandedOver))
            .expression_attribute_values(":now", string(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (item, is_written) = match send(request, Fault::internal).await? {
            Written::Made(item) => (item, true),
            Written::Refused(item) => (item, false),
        };
        let Some(item) = item else {
            return Ok(None);
        };
        let claimed = to_workspace(item)?.rebuild;
        // An earlier attempt of this write may have landed, and its answer was lost.
        Ok(claimed.filter(|claimed| is_written || claimed.claim_id == Some(claim)))
    }

    /// Takes a claim back, after a call that certainly had no effect.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn unclaim(&self, id: &WorkspaceId, claimed: &Rebuild) -> Result<bool, Fault> {
        let change = "SET OpenRebuild = :queue \
            REMOVE #Rebuild.ClaimId, #Rebuild.ClaimedAt, #Rebuild.SnapshotAt, #Rebuild.Sight";
        let request = self
            .guarded_update(id, claimed, change, &[SAME_CLAIM])
            .expression_attribute_values(":queue", string(Queue::Requested));
        write(request).await
    }

    /// Notes that the fleet accepted a rebuild.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn start(
        &self,
        id: &WorkspaceId,
        claimed: &Rebuild,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let change = "SET #Rebuild.#Status = :started, #Rebuild.StartedAt = :now";
        let request = self
            .guarded_update(id, claimed, change, &[SAME_CLAIM])
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Notes that a WorkSpace was seen in REBUILDING, which also means that its rebuild has started.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn see(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let change = "SET #Rebuild.#Status = :started, \
            #Rebuild.StartedAt = if_not_exists(#Rebuild.StartedAt, :now), \
            #Rebuild.SeenRebuildingAt = :now, \
            OpenRebuild = :queue \
            REMOVE #Rebuild.Sight";
        let request = self
            .guarded_update(id, rebuild, change, &unmoved(rebuild))
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":queue", string(Queue::Rebuilding))
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Notes what the looks have shown; `None` clears the note.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn note(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        sight: Option<Sight>,
    ) -> Result<bool, Fault> {
        let change = match sight {
            Some(_) => "SET #Rebuild.Sight = :new_sight",
            None => "REMOVE #Rebuild.Sight",
        };
        let mut request = self.guarded_update(id, rebuild, change, &unmoved(rebuild));
        if let Some(sight) = sight {
            let sight = AttributeValue::M(to_item(sight)?);
            request = request.expression_attribute_values(":new_sight", sight);
        }
        write(request).await
    }

    /// Decides how a rebuild ended, provided that what the decision rests on still holds. Returns
    /// the WorkSpace with the ended rebuild; `None` if it has moved on.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn end(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        end: &End,
        now: Timestamp,
    ) -> Result<Option<Workspace>, Fault> {
        let error = end.outcome.error();
        let mut change = "SET #Rebuild.#Status = :ended, #Rebuild.EndedAt = :now, \
            #State = :state, OpenRebuild = :queue"
            .to_owned();
        if error.is_some() {
            change += ", #Rebuild.ErrorCode = :code, #Rebuild.ErrorMessage = :message";
        }
        change += " REMOVE #Rebuild.Sight";
        let mut request = self
            .guarded_update(id, rebuild, &change, &unmoved(rebuild))
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":state", string(end.state))
            .expression_attribute_values(":ended", string(end.outcome.status()))
            .expression_attribute_values(":queue", string(Queue::Ended))
            .expression_attribute_values(":now", string(now))
            .return_values(ReturnValue::AllNew);
        if let Some((code, message)) = error {
            request = request
                .expression_attribute_values(":code", string(code))
                .expression_attribute_values(":message", string(message));
        }
        match send(request, Fault::internal).await? {
            Written::Made(item) => to_workspace(item.unwrap_or_default()).map(Some),
            Written::Refused(_) => Ok(None),
        }
    }

    /// Puts the record of an ended rebuild into the table of rebuilds, unless it is there.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn record_end(
        &self,
        id: &WorkspaceId,
        ended: &Rebuild,
        expiry: Option<Timestamp>,
    ) -> Result<(), Fault> {
        let mut item = from_record(id, ended)?;
        item.extend(expiry.map(expires_at));
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

    /// Releases an ended rebuild: its WorkSpace may be rebuilt again. Its key stays, among `keys`,
    /// which only the release of this rebuild changes.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn release(
        &self,
        id: &WorkspaceId,
        ended: &Rebuild,
        keys: Keys,
    ) -> Result<bool, Fault> {
        let change = "SET #Keys = :keys REMOVE OpenRebuild, OpenSince";
        let request = self.guarded_update(id, ended, change, &[]);
        write(with_keys(request, keys)?).await
    }

    /// Closes a rebuild that has a record, although its item does not say how it ended: the table
    /// was restored to an earlier time. The WorkSpace gets the state from before the rebuild.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn close_as_recorded(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        record: &Rebuild,
        keys: Keys,
    ) -> Result<bool, Fault> {
        let change = "SET #Rebuild = :record, #State = PreviousState, #Keys = :keys \
            REMOVE OpenRebuild, OpenSince";
        let mut item = to_item(record)?;
        item.remove("PreviousState");
        let request = self
            .guarded_update(id, rebuild, change, &unmoved(rebuild))
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":record", AttributeValue::M(item));
        write(with_keys(request, keys)?).await
    }

    /// A write that is made only while the item has `rebuild` with the same status, and while the
    /// conditions hold.
    fn guarded_update(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        change: &str,
        conditions: &[&str],
    ) -> UpdateItemFluentBuilder {
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(id)))
            .update_expression(change)
            .condition_expression([&[SAME_STATUS], conditions].concat().join(" AND "))
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .expression_attribute_values(":id", string(rebuild.id))
            .expression_attribute_values(":status", string(rebuild.status));
        // DynamoDB refuses a value that no expression uses.
        if let Some(claim_id) = rebuild.claim_id.filter(|_| conditions.contains(&SAME_CLAIM)) {
            request = request.expression_attribute_values(":claim_id", string(claim_id));
        }
        if let Some(sight) = rebuild.sight.filter(|_| conditions.contains(&SAME_SIGHT)) {
            request = request
                .expression_attribute_values(":sight_shown", string(sight.shown))
                .expression_attribute_values(":sight_since", string(sight.since));
        }
        request
    }
}

/// What a decision about an open rebuild rests on, beside its status: its claim, whether it was seen
/// in REBUILDING, and its sight.
fn unmoved(rebuild: &Rebuild) -> Vec<&'static str> {
    let claim = if rebuild.claim_id.is_some() { SAME_CLAIM } else { NOT_CLAIMED };
    let sight = if rebuild.sight.is_some() { SAME_SIGHT } else { NO_SIGHT };
    match rebuild.stage() {
        Stage::Requested | Stage::Claimed { .. } => vec![claim, sight],
        Stage::Started { .. } => vec![NOT_SEEN, sight],
        Stage::Seen { .. } | Stage::Ended | Stage::Newer => vec![sight],
    }
}

fn with_keys(
    request: UpdateItemFluentBuilder,
    keys: Keys,
) -> Result<UpdateItemFluentBuilder, Fault> {
    let request = request.expression_attribute_names("#Keys", "Keys");
    Ok(request.expression_attribute_values(":keys", AttributeValue::M(to_item(keys)?)))
}

fn is_recorded(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}
