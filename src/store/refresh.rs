//! Keeping the item of a WorkSpace in step with the fleet.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Store;
use super::changes::Changes;
use super::fault::{fault, write};
use super::item::{attribute, expires_at, readable, string, to_workspace, workspace_key};
use crate::error::{Fault, Unconfirmed};
use crate::ids::WorkspaceId;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, Outline, Tags};

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
/// Its tags are those that were read.
const SAME_TAGS: &str = "Tags = :read_tags";
/// It still has no tags.
const NO_TAGS: &str = "attribute_not_exists(Tags)";
/// The WorkSpace is not protected: a protection must not expire with its item.
const NOT_PROTECTED: &str = "attribute_not_exists(Protection)";

/// The changes of the write that notes that a WorkSpace is missing.
const MISSING: &str = "SET MissingSince = :now";
/// The changes of the write that takes this note back.
const LISTED: &str = "REMOVE MissingSince";
/// The changes of the write of its tags, if it has any.
const TAGGED: &str = "SET Tags = :tags";
/// The changes of that write, if it has none.
const UNTAGGED: &str = "REMOVE Tags";
/// The changes of the write that marks a WorkSpace as gone.
const GONE: &str = "SET #State = :terminated, ExpiresAt = :expires_at";

impl Store {
    /// Outlines of all readable WorkSpaces of the table, ordered by id, and the number of unreadable
    /// items.
    ///
    /// # Errors
    /// The table was not read.
    pub async fn outlines(&self) -> Result<(Vec<Outline>, usize), Fault> {
        let mut outlines = Vec::new();
        let mut unreadable = 0;
        let mut start = None;
        loop {
            let request = self.client.scan().table_name(&self.tables.workspaces);
            let output = request.set_exclusive_start_key(start).send().await.map_err(fault)?;
            let (page, skipped) = readable(output.items.unwrap_or_default(), to_workspace);
            unreadable += skipped;
            outlines.extend(page.into_iter().map(Outline::from));
            start = output.last_evaluated_key;
            if start.is_none() {
                outlines.sort_by(|one, other| one.workspace_id.cmp(&other.workspace_id));
                return Ok((outlines, unreadable));
            }
        }
    }

    /// Brings the item of a WorkSpace in step with the fleet, which lists it, if no rebuild is open
    /// and the item is still as it was read (`None`: there was no item). A new item gets these tags.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn refresh(
        &self,
        id: &WorkspaceId,
        read: Option<&Outline>,
        state: State,
        description: &Description,
        tags: Option<&Tags>,
    ) -> Result<bool, Unconfirmed> {
        let mut changes = Changes::of_description(description).map_err(Unconfirmed::new)?;
        if let Some(tags) = tags.filter(|tags| read.is_none() && !tags.is_empty()) {
            changes.set("Tags", map(tags));
        }
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
    pub async fn note_missing(&self, read: &Outline, now: Timestamp) -> Result<bool, Unconfirmed> {
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
        read: &Outline,
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

    /// Replaces the tags of a WorkSpace, if they are still as they were read.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn tag(&self, read: &Outline, tags: &Tags) -> Result<bool, Unconfirmed> {
        let id = &read.workspace_id;
        let request = if tags.is_empty() {
            self.update(id, UNTAGGED)
        } else {
            self.update(id, TAGGED).expression_attribute_values(":tags", map(tags))
        };
        let request = if read.tags.is_empty() {
            request.condition_expression(format!("{HAS_ITEM} AND {NO_TAGS}"))
        } else {
            let read_tags = map(&read.tags);
            request
                .condition_expression(SAME_TAGS)
                .expression_attribute_values(":read_tags", read_tags)
        };
        Ok(write(request).await?.is_made())
    }

    fn update(&self, id: &WorkspaceId, change: &str) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.tables.workspaces);
        request.set_key(Some(workspace_key(id))).update_expression(change)
    }
}

fn map(tags: &Tags) -> AttributeValue {
    AttributeValue::M(tags.iter().map(|(key, value)| attribute(key, value)).collect())
}

/// A write that is made only while no rebuild is open, the item is as it was read, and `more`
/// conditions hold.
fn as_read(
    mut request: UpdateItemFluentBuilder,
    read: &Outline,
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
    match read.rebuild_id {
        None => conditions.push(NO_REBUILD),
        Some(id) => {
            conditions.push(SAME_REBUILD);
            request = request.expression_attribute_values(":id", string(id));
        }
    }
    conditions.extend(more);
    request.condition_expression(conditions.join(" AND "))
}
