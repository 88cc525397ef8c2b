//! The conditions of the reconciler's writes.
//!
//! Every write to an item is conditional on the rebuild being where the pass read it, so passes may
//! overlap or die anywhere. If the condition fails, the rebuild has moved on: by another pass, or by
//! an attempt of this one whose answer was lost.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;

use super::Store;
use super::item::{string, workspace_key};
use crate::rebuild::{Rebuild, Stage};
use crate::workspace::OpenRebuild;

/// The item still has this rebuild, with this status.
const SAME_STATUS: &str = "#Rebuild.Id = :id AND #Rebuild.#Status = :status";
/// No pass has claimed the hand-over.
pub(super) const NOT_CLAIMED: &str = "attribute_not_exists(#Rebuild.ClaimId)";
/// The claim is still there.
pub(super) const SAME_CLAIM: &str = "#Rebuild.ClaimId = :claim_id";
/// No look has shown the WorkSpace in REBUILDING.
const NOT_OBSERVED: &str = "attribute_not_exists(#Rebuild.ObservedAt)";
/// No pass has noted an observation.
const NO_OBSERVATION: &str = "attribute_not_exists(#Rebuild.Observation)";
/// No pass has noted another observation.
const SAME_OBSERVATION: &str = "#Rebuild.Observation.Shown = :observation_shown \
    AND #Rebuild.Observation.Since = :observation_since";

impl Store {
    /// A write that is made only while the item has this rebuild with the same status, and while the
    /// conditions hold.
    pub(super) fn guarded_update(
        &self,
        open: &OpenRebuild,
        change: &str,
        conditions: &[&str],
    ) -> UpdateItemFluentBuilder {
        let OpenRebuild { workspace_id, rebuild, .. } = open;
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(workspace_id)))
            .update_expression(change)
            .condition_expression([&[SAME_STATUS], conditions].concat().join(" AND "))
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .expression_attribute_values(":id", string(rebuild.id))
            .expression_attribute_values(":status", string(rebuild.status()));
        // DynamoDB refuses a value that no expression uses.
        if let Some(claim) = rebuild.claim.filter(|_| conditions.contains(&SAME_CLAIM)) {
            request = request.expression_attribute_values(":claim_id", string(claim.id));
        }
        let observation = rebuild.observation();
        if let Some(observed) = observation.filter(|_| conditions.contains(&SAME_OBSERVATION)) {
            request = request
                .expression_attribute_values(":observation_shown", string(observed.shown))
                .expression_attribute_values(":observation_since", string(observed.since));
        }
        request
    }
}

/// What a decision about an open rebuild rests on, beside its status: its claim, whether a look has
/// shown the WorkSpace in REBUILDING, and the observation.
pub(super) fn unmoved(rebuild: &Rebuild) -> Vec<&'static str> {
    let claim = if rebuild.claim.is_some() { SAME_CLAIM } else { NOT_CLAIMED };
    let observation =
        if rebuild.observation().is_some() { SAME_OBSERVATION } else { NO_OBSERVATION };
    match rebuild.stage() {
        Stage::Requested | Stage::Claimed { .. } => vec![claim, observation],
        Stage::Started { .. } => vec![NOT_OBSERVED, observation],
        Stage::Observed { .. } | Stage::Ended | Stage::Unrecognized => vec![observation],
    }
}
