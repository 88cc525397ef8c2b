//! Handing a rebuild over: the claim before the call, and what the answer means for it.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use super::Store;
use super::fault::{Written, write};
use super::guard::{NEXT_ATTEMPT, OWN_OR_NO_CLAIM, SAME_ATTEMPT, SAME_CLAIM};
use super::item::{Item, string, to_workspace};
use super::queue::Queue;
use crate::error::Unconfirmed;
use crate::rebuild::Status;
use crate::timestamp::Timestamp;
use crate::workspace::{Condition, OpenRebuild, Workspace};

/// The WorkSpace is not protected.
const NOT_PROTECTED: &str = "attribute_not_exists(Protection)";

impl Store {
    /// Claims the hand-over of a rebuild, and notes how the WorkSpace was found. Returns the rebuild with its claim; `None` if it has moved on, or its WorkSpace is protected.
    ///
    /// # Errors
    /// It is not known whether the write was made: take the claim back.
    pub async fn claim(
        &self,
        open: &OpenRebuild,
        claim_id: Uuid,
        condition: Condition,
        now: Timestamp,
    ) -> Result<Option<OpenRebuild>, Unconfirmed> {
        let mut change = format!(
            "SET #Rebuild.ClaimId = :claim, #Rebuild.ClaimedAt = :now, \
            #Rebuild.SnapshotAt = :snapshot_at, OpenRebuild = :queue, {NEXT_ATTEMPT}"
        );
        if condition.user_connected.is_some() {
            change += ", #Rebuild.UserConnected = :user_connected";
        }
        change += " REMOVE #Rebuild.Observation";
        let mut request = self.guarded_update(open, &change, &[SAME_ATTEMPT, NOT_PROTECTED]);
        if let Some(user_connected) = condition.user_connected {
            let user_connected = AttributeValue::Bool(user_connected);
            request = request.expression_attribute_values(":user_connected", user_connected);
        }
        let request = request
            .expression_attribute_values(":snapshot_at", string(condition.snapshot_at))
            .expression_attribute_values(":claim", string(claim_id))
            .expression_attribute_values(":queue", string(Queue::HandedOver))
            .expression_attribute_values(":now", string(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let item = match write(request).await? {
            Written::Made(item) => item,
            // An earlier attempt of this write may have landed, and its answer was lost.
            Written::Refused(item) => item.filter(|item| has_claim(item, claim_id)),
        };
        let claimed = item.map(to_workspace).transpose().map_err(Unconfirmed::new)?;
        Ok(claimed.and_then(Workspace::into_open_rebuild))
    }

    /// Takes back a claim that certainly had no effect on the fleet, even if the item does not show
    /// it: it may still be on its way, and can then no longer land.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn take_back(&self, open: &OpenRebuild, claim_id: Uuid) -> Result<bool, Unconfirmed> {
        let change = format!(
            "SET OpenRebuild = :queue, {NEXT_ATTEMPT} REMOVE #Rebuild.ClaimId, \
            #Rebuild.ClaimedAt, #Rebuild.SnapshotAt, #Rebuild.UserConnected, #Rebuild.Observation"
        );
        let request = self
            .guarded_update(open, &change, &[OWN_OR_NO_CLAIM])
            .expression_attribute_values(":claim_id", string(claim_id))
            .expression_attribute_values(":queue", string(Queue::Requested));
        Ok(write(request).await?.is_made())
    }

    /// Notes that the fleet accepted a rebuild.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn start(
        &self,
        claimed: &OpenRebuild,
        claim_id: Uuid,
        now: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let change = "SET #Rebuild.#Status = :started, #Rebuild.StartedAt = :now";
        let request = self
            .guarded_update(claimed, change, &[SAME_CLAIM])
            .expression_attribute_values(":claim_id", string(claim_id))
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":now", string(now));
        Ok(write(request).await?.is_made())
    }
}

fn has_claim(item: &Item, claim_id: Uuid) -> bool {
    let rebuild = item.get("Rebuild").and_then(|rebuild| rebuild.as_m().ok());
    rebuild.and_then(|rebuild| rebuild.get("ClaimId")) == Some(&string(claim_id))
}
