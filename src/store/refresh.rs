//! Keeping the item of a WorkSpace in step with the fleet.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Store;
use super::fault::write;
use super::item::{Item, expires_at, string, to_item, workspace_key};
use crate::error::Unconfirmed;
use crate::ids::WorkspaceId;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, Workspace};

/// The table has no such WorkSpace.
const NO_ITEM: &str = "attribute_not_exists(WorkspaceId)";
/// No rebuild is open.
const NOT_OPEN: &str = "attribute_not_exists(OpenRebuild)";
/// The state has not changed since it was read.
const SAME_STATE: &str = "#State = :read_state";
/// The WorkSpace has had no rebuild.
const NO_REBUILD: &str = "attribute_not_exists(#Rebuild)";
/// No other rebuild was accepted since the item was read.
const SAME_REBUILD: &str = "#Rebuild.Id = :id";

impl Store {
    /// Brings the item of a WorkSpace in step with the fleet, if no rebuild is open and the item
    /// is still as it was read (`None`: there was no item).
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn refresh(
        &self,
        id: &WorkspaceId,
        read: Option<&Workspace>,
        state: State,
        description: &Description,
        expiry: Option<Timestamp>,
    ) -> Result<bool, Unconfirmed> {
        let mut after = to_item(description).map_err(Unconfirmed::new)?;
        after.extend(expiry.map(expires_at));
        let mut changes = Changes::default();
        changes.set("State", string(state));
        let before = read.map_or(Ok(Item::new()), |read| to_item(&read.description));
        let before = before.map_err(Unconfirmed::new)?;
        for name in before.keys().map(String::as_str).chain(["ExpiresAt"]) {
            if !after.contains_key(name) {
                changes.remove(name);
            }
        }
        for (name, value) in after {
            changes.set(&name, value);
        }
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(id)))
            .update_expression(changes.expression())
            .set_expression_attribute_names(Some(changes.names))
            .set_expression_attribute_values(Some(changes.values));
        let mut conditions = vec![];
        match read {
            None => conditions.push(NO_ITEM),
            Some(read) => {
                conditions.push(NOT_OPEN);
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
            }
        }
        let request = request.condition_expression(conditions.join(" AND "));
        Ok(write(request).await?.is_made())
    }
}

/// An update expression over attributes whose names are known at run time only.
#[derive(Default)]
struct Changes {
    set: Vec<String>,
    remove: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Changes {
    fn set(&mut self, name: &str, value: AttributeValue) {
        let number = self.names.len();
        self.set.push(format!("#n{number} = :v{number}"));
        self.names.insert(format!("#n{number}"), name.to_owned());
        self.values.insert(format!(":v{number}"), value);
    }

    fn remove(&mut self, name: &str) {
        let number = self.names.len();
        self.remove.push(format!("#n{number}"));
        self.names.insert(format!("#n{number}"), name.to_owned());
    }

    fn expression(&self) -> String {
        let set = format!("SET {}", self.set.join(", "));
        if self.remove.is_empty() {
            set
        } else {
            format!("{set} REMOVE {}", self.remove.join(", "))
        }
    }
}
