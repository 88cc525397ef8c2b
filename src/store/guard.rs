//! The conditions of the reconciler's writes.
//!
//! Every write to an item is conditional on the rebuild being where the pass read it, so passes may
//! overlap or die anywhere. If the condition fails, the rebuild has moved on: by another pass, or by
//! an attempt of this one whose answer was lost.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;

use super::Store;
use super::item::{number, string, workspace_key};
use crate::workspace::OpenRebuild;

/// The item still has this rebuild, with this status.
const SAME_STATUS: &str = "#Rebuild.Id = :id AND #Rebuild.#Status = :status";
/// No other write of the reconciler has changed it since it was read.
pub(super) const SAME_ATTEMPT: &str = "#Rebuild.Attempt = :attempt";
/// The claim is still there.
pub(super) const SAME_CLAIM: &str = "#Rebuild.ClaimId = :claim_id";
/// No other pass has claimed the hand-over.
pub(super) const OWN_OR_NO_CLAIM: &str =
    "(attribute_not_exists(#Rebuild.ClaimId) OR #Rebuild.ClaimId = :claim_id)";
/// Keeps writes out that rest on what was read before.
pub(super) const NEXT_ATTEMPT: &str = "#Rebuild.Attempt = #Rebuild.Attempt + :one";

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
            .table_name(&self.tables.workspaces)
            .set_key(Some(workspace_key(workspace_id)))
            .update_expression(change)
            .condition_expression([&[SAME_STATUS], conditions].concat().join(" AND "))
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .expression_attribute_values(":id", string(rebuild.id))
            .expression_attribute_values(":status", string(rebuild.status()));
        // DynamoDB refuses a value that no expression uses.
        if conditions.contains(&SAME_ATTEMPT) {
            request =
                request.expression_attribute_values(":attempt", number(rebuild.attempt.into()));
        }
        if change.contains(NEXT_ATTEMPT) {
            request = request.expression_attribute_values(":one", number(1));
        }
        request
    }
}
