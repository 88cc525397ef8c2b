//! Cancelling a rebuild, in a race with the reconciler's claim.

use aws_sdk_dynamodb::types::ReturnValue;

use super::Store;
use super::fault::{Written, write_for_caller};
use super::item::{Item, string, to_workspace};
use super::queue::Queue;
use super::within;
use crate::error::{CancelError, Fault};
use crate::ids::Target;
use crate::rebuild::{Rebuild, RebuildId, Status};
use crate::timestamp::Timestamp;
use crate::workspace::Workspace;

/// The changes of the cancelling write, without the caller.
const CANCEL: &str = "#Rebuild.#Status = :cancelled, \
    #Rebuild.EndedAt = :now, \
    #State = PreviousState, \
    OpenRebuild = :ended";

/// The condition of the cancelling write: no pass has claimed the hand-over. The claim
/// requires the same, and each of the two breaks the condition of the other, so exactly one lands.
const CANCEL_CONDITION: &str = "#Rebuild.Id = :id \
    AND #Rebuild.#Status = :requested \
    AND attribute_not_exists(#Rebuild.ClaimId)";

impl Store {
    /// Cancels a rebuild that no pass has claimed: one conditional write. Returns the cancelled
    /// rebuild, also if it was cancelled before.
    ///
    /// # Errors
    /// See [`CancelError`]. After `OutcomeUnknown`, something may have changed.
    pub async fn cancel(
        &self,
        target: &Target,
        rebuild_id: RebuildId,
        caller: Option<String>,
        now: Timestamp,
    ) -> Result<Rebuild, CancelError> {
        let mut change = format!("SET {CANCEL}");
        let mut values = vec![
            (":id", string(rebuild_id)),
            (":requested", string(Status::Requested)),
            (":cancelled", string(Status::Cancelled)),
            (":ended", string(Queue::Ended)),
            (":now", string(now)),
        ];
        if let Some(caller) = caller {
            change += ", #Rebuild.CancelledBy = :caller";
            values.push((":caller", string(caller)));
        }
        change += " REMOVE #Rebuild.Observation";
        let request = self
            .update_target(target, &change, CANCEL_CONDITION, values.into_iter())
            .expression_attribute_names("#State", "State")
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .return_values(ReturnValue::AllNew);
        let unknown = |error: CancelError| CancelError::OutcomeUnknown(error.into());
        let explain = async |written| match written {
            // An internal error would say that nothing was changed.
            Written::Made(item) => cancelled_rebuild(item.unwrap_or_default()).map_err(unknown),
            Written::Refused(item) => self.explain_refusal(target, rebuild_id, item).await,
        };
        write_for_caller(request, explain, unknown).await
    }

    /// What the item that failed the condition says about the rebuild. An older rebuild than the
    /// latest one has a record.
    async fn explain_refusal(
        &self,
        target: &Target,
        rebuild_id: RebuildId,
        item: Option<Item>,
    ) -> Result<Rebuild, CancelError> {
        let workspace = within(target, item)?;
        if workspace.is_none() && target.directory_id.is_some() {
            return Err(CancelError::NotFound);
        }
        let latest = workspace.and_then(Workspace::into_rebuild);
        let rebuild = match latest.filter(|latest| latest.id == rebuild_id) {
            Some(latest) => Some(latest),
            None => self.record(&target.workspace_id, rebuild_id).await?,
        };
        let rebuild = rebuild.ok_or(CancelError::NotFound)?;
        match rebuild.status() {
            Status::Cancelled => Ok(rebuild),
            status => Err(CancelError::NotCancellable { status }),
        }
    }
}

fn cancelled_rebuild(item: Item) -> Result<Rebuild, CancelError> {
    let rebuild = to_workspace(item)?.into_rebuild();
    rebuild.ok_or_else(|| Fault::internal("a write lost its rebuild").into())
}
