//! Keeping the item of a WorkSpace in step with the fleet.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;

use super::Store;
use super::changes::Changes;
use super::fault::write;
use super::item::{expires_at, string, workspace_key};
use crate::error::Unconfirmed;
use crate::ids::WorkspaceId;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, Workspace};

/// The table has no such WorkSpace.
const NO_ITEM: &str = "attribute_not_exists(WorkspaceId)";
/// The table still has the WorkSpace.
const HAS_ITEM: &str = "attribute_exists(WorkspaceId)";
/// No rebuild is open.
const NOT_OPEN: &str = "attribute_not_exists(OpenRebuild)";
/// The state has not changed since it was read.
const SAME_STATE: &str = "#State = :read_state";
/// The WorkSpace has had no rebuild.
const NO_REBUILD: &str = "attribute_not_exists(#Rebuild)";
/// No other rebuild was accepted since the item was read.
const SAME_REBUILD: &str = "#Rebuild.Id = :id";
/// No pass has noted that the WorkSpace is missing.
const NOT_MISSING: &str = "attribute_not_exists(MissingSince)";
/// The WorkSpace has been missing ever since the time that was read.
const SAME_MISSING: &str = "MissingSince = :missing_since";
/// The WorkSpace is not protected: a protection must not expire with its item.
const NOT_PROTECTED: &str = "attribute_not_exists(Protection)";

/// The changes of the write that notes that a WorkSpace is missing.
const MISSING: &str = "SET MissingSince = :now";
/// The changes of the write that takes this note back.
const LISTED: &str = "REMOVE MissingSince";
/// The changes of the write that marks a WorkSpace as gone.
const GONE: &str = "SET #State = :terminated, ExpiresAt = :expires_at";

impl Store {
    /// Brings the item of a WorkSpace in step with the fleet, which lists it, if no rebuild is open
    /// and the item is still as it was read (`None`: there was no item).
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn refresh(
        &self,
        id: &WorkspaceId,
        read: Option<&Workspace>,
        state: State,
        description: &Description,
    ) -> Result<bool, Unconfirmed> {
        let before = read.map(|read| &read.description);
        let mut changes = Changes::of_description(before, description).map_err(Unconfirmed::new)?;
        changes.set("State", string(state));
        changes.remove("ExpiresAt");
        changes.remove("MissingSince");
        let change = format!("SET {} REMOVE {}", changes.sets(), changes.removals());
        let request = changes.add_to(self.update(id, &change));
        let request = match read {
            None => request.condition_expression(NO_ITEM),
            Some(read) => as_read(request, read, &[]),
        };
        Ok(write(request).await?.is_made())
    }

    /// Notes that the fleet's listing leaves a WorkSpace out, if the item is still as it was read,
    /// without such a note.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn note_missing(
        &self,
        read: &Workspace,
        now: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let request = self.update(&read.workspace_id, MISSING);
        let request = request.expression_attribute_values(":now", string(now));
        Ok(write(as_read(request, read, &[NOT_MISSING])).await?.is_made())
    }

    /// Takes back the note of a WorkSpace missing since `since`, and changes nothing else.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn note_listed(
        &self,
        id: &WorkspaceId,
        since: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let request = self
            .update(id, LISTED)
            .condition_expression(SAME_MISSING)
            .expression_attribute_values(":missing_since", string(since));
        Ok(write(request).await?.is_made())
    }

    /// Marks as gone a WorkSpace missing since `since`, if it is not protected and the
    /// item is still as it was read.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn mark_gone(
        &self,
        read: &Workspace,
        since: Timestamp,
        expiry: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let request = self
            .update(&read.workspace_id, GONE)
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":terminated", string(State::Terminated))
            .expression_attribute_values(":expires_at", expires_at(expiry).1)
            .expression_attribute_values(":missing_since", string(since));
        Ok(write(as_read(request, read, &[SAME_MISSING, NOT_PROTECTED])).await?.is_made())
    }

    fn update(&self, id: &WorkspaceId, change: &str) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.tables.workspaces);
        request.set_key(Some(workspace_key(id))).update_expression(change)
    }
}

/// A write that is made only while no rebuild is open, the item is as it was read, and `more`
/// conditions hold.
fn as_read(
    mut request: UpdateItemFluentBuilder,
    read: &Workspace,
    more: &[&str],
) -> UpdateItemFluentBuilder {
    let mut conditions = vec![HAS_ITEM, NOT_OPEN];
    // `Unknown` stands for a text that was not kept, so it cannot be compared.
    if read.state != State::Unknown {
        conditions.push(SAME_STATE);
        request = request
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":read_state", string(read.state));
    }
    request = request.expression_attribute_names("#Rebuild", "Rebuild");
    match read.rebuild() {
        None => conditions.push(NO_REBUILD),
        Some(rebuild) => {
            conditions.push(SAME_REBUILD);
            request = request.expression_attribute_values(":id", string(rebuild.id));
        }
    }
    conditions.extend(more);
    request.condition_expression(conditions.join(" AND "))
}
