//! Item layout: attribute names, keys, and what an item means.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use tracing::error;

use crate::error::{Fault, chain};
use crate::ids::WorkspaceId;
use crate::rebuild::{Keys, Rebuild, RebuildId};
use crate::state::State;
use crate::timestamp::{Day, Timestamp};
use crate::workspace::{Description, Latest, Protection, Simulation, Tags, Workspace, if_readable};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The sparse index of WorkSpaces with an open rebuild, oldest first.
pub(super) const OPEN_REBUILDS: &str = "OpenRebuilds";
/// The index of WorkSpaces by directory and user.
pub(super) const BY_DIRECTORY: &str = "Directory";
/// The index of WorkSpaces by bundle.
pub(super) const BY_BUNDLE: &str = "Bundle";
/// The index of WorkSpaces by name. A filtered scan would read the whole table for a page; the index
/// costs a write unit where a name is new or changes.
pub(super) const BY_NAME: &str = "Name";

/// The index of records by the day and the time of their end. A filtered scan would read all records for
/// a day; the index costs as many write units as the record, and it keeps whole records, so that a page
/// needs no second read.
pub(super) const ENDED: &str = "Ended";

/// An item of the table of WorkSpaces. Whatever writes into the table, one attribute of another type
/// should not stop a WorkSpace: only its id and its rebuild have to be readable.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WorkspaceItem {
    workspace_id: WorkspaceId,
    #[serde(default = "unknown", deserialize_with = "state")]
    state: State,
    /// The accepting write copies `State` here. A write can copy within an item, but not into the
    /// map that it sets as `Rebuild`.
    #[serde(default, deserialize_with = "if_readable")]
    previous_state: Option<State>,
    rebuild: Option<Rebuild>,
    /// Present while a rebuild is open; the key of the index [`OPEN_REBUILDS`].
    open_rebuild: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    keys: Option<Keys>,
    #[serde(default, deserialize_with = "protection")]
    protection: Option<Protection>,
    /// Only samples for the simulated fleet have it.
    #[serde(default, deserialize_with = "if_readable")]
    last_simulated_snapshot_at: Option<Timestamp>,
    /// Only samples for the simulated fleet have it.
    #[serde(default, deserialize_with = "if_readable")]
    simulated_connection_seconds: Option<u32>,
    /// When a listing of the fleet first left the WorkSpace out.
    #[serde(default, deserialize_with = "if_readable")]
    missing_since: Option<Timestamp>,
    /// When DynamoDB may delete the item, in epoch seconds: set once the WorkSpace left the fleet.
    #[serde(default, deserialize_with = "if_readable")]
    expires_at: Option<i64>,
    #[serde(default, deserialize_with = "if_readable")]
    tags: Option<Tags>,
    #[serde(flatten)]
    description: Description,
}

/// The state of an item without one.
fn unknown() -> State {
    State::Unknown
}

/// A state of another type allows no rebuild, like a text that is no state.
fn state<'de, D: Deserializer<'de>>(value: D) -> Result<State, D::Error> {
    Ok(if_readable(value)?.unwrap_or(State::Unknown))
}

/// The write conditions treat any `Protection` as protecting, whatever its type. One that cannot be
/// read is shown as made in 1970, by nobody.
fn protection<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Protection>, D::Error> {
    let since = Timestamp::from(OffsetDateTime::UNIX_EPOCH);
    let unknown = Protection { protected_by: None, protected_at: since, reason: None };
    Ok(Some(if_readable(value)?.unwrap_or(unknown)))
}

pub(super) fn to_workspace(item: Item) -> Result<Workspace, Fault> {
    let item: WorkspaceItem = from_item(item)?;
    let previous_state = item.previous_state;
    let rebuild = item.rebuild.map(|rebuild| Rebuild { previous_state, ..rebuild });
    let latest = match (rebuild, item.open_rebuild) {
        (None, None) => Latest::None,
        (None, Some(_)) => return Err(Fault::internal("an item has OpenRebuild and no Rebuild")),
        (Some(rebuild), Some(_)) => Latest::Open(rebuild),
        (Some(rebuild), None) => Latest::Released(rebuild),
    };
    Ok(Workspace {
        workspace_id: item.workspace_id,
        state: item.state,
        latest,
        keys: item.keys.unwrap_or_default(),
        protection: item.protection,
        has_left_fleet: item.expires_at.is_some(),
        missing_since: item.missing_since,
        simulation: Simulation {
            last_snapshot_at: item.last_simulated_snapshot_at,
            connection_seconds: item.simulated_connection_seconds,
        },
        tags: item.tags.unwrap_or_default(),
        description: item.description,
    })
}

/// The attribute `Rebuild` of a WorkSpace. `PreviousState` is an attribute of its own there.
pub(super) fn from_rebuild(rebuild: &Rebuild) -> Result<Item, Fault> {
    let mut item = to_item(rebuild)?;
    item.remove("PreviousState");
    Ok(item)
}

/// The record of an ended rebuild, as an item of the table of rebuilds.
pub(super) fn from_record(id: &WorkspaceId, ended: &Rebuild) -> Result<Item, Fault> {
    let mut item = to_item(ended)?;
    item.remove("Id");
    item.extend(record_key(id, ended.id));
    item.extend(ended.ending().map(|ending| attribute("EndedOn", Day::from(ending.at))));
    Ok(item)
}

/// The reverse of [`from_record`].
pub(super) fn to_record(item: Item) -> Result<Rebuild, Fault> {
    record(known_types(item)?)
}

/// A record and the id of its WorkSpace.
pub(super) fn to_ended(item: Item) -> Result<(WorkspaceId, Rebuild), Fault> {
    Ok((id_of(&item)?, to_record(item)?))
}

fn record(item: serde_dynamo::Item) -> Result<Rebuild, Fault> {
    serde_dynamo::from_item(item).map_err(Fault::internal)
}

/// A record from the stream of the table of rebuilds, and the id of its WorkSpace.
pub(crate) fn streamed_record(item: serde_dynamo::Item) -> Result<(WorkspaceId, Rebuild), Fault> {
    let id = item.get("WorkspaceId").cloned();
    let id = id.ok_or_else(|| Fault::internal("a record lacks WorkspaceId"))?;
    let id = serde_dynamo::from_attribute_value(id).map_err(Fault::internal)?;
    Ok((id, record(item)?))
}

/// The key of a WorkSpace in its table.
pub(super) fn workspace_key(id: &WorkspaceId) -> Item {
    Item::from([attribute("WorkspaceId", id)])
}

/// The key of a record in the table of rebuilds.
pub(super) fn record_key(id: &WorkspaceId, rebuild_id: RebuildId) -> Item {
    Item::from([attribute("WorkspaceId", id), attribute("RebuildId", rebuild_id)])
}

/// The attribute that makes DynamoDB delete an item.
pub(super) fn expires_at(time: Timestamp) -> (String, AttributeValue) {
    ("ExpiresAt".to_owned(), AttributeValue::N(time.epoch_seconds().to_string()))
}

pub(super) fn attribute(name: &str, value: impl ToString) -> (String, AttributeValue) {
    (name.to_owned(), string(value))
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values and references")]
pub(super) fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn text<'a>(item: &'a Item, name: &str) -> Result<&'a str, Fault> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| Fault::internal(format!("an item lacks {name}")))
}

pub(super) fn id_of(item: &Item) -> Result<WorkspaceId, Fault> {
    WorkspaceId::try_from(text(item, "WorkspaceId")?.to_owned()).map_err(Fault::internal)
}

/// The readable items, and the number of unreadable ones, which are logged and skipped so as not to
/// block the rest.
pub(super) fn readable<T>(
    items: Vec<Item>,
    read: impl Fn(Item) -> Result<T, Fault>,
) -> (Vec<T>, usize) {
    let count = items.len();
    let readable = items.into_iter().filter_map(|item| {
        let id = text(&item, "WorkspaceId").map(ToOwned::to_owned).unwrap_or_default();
        let unreadable = |fault: &Fault| error!(workspace_id = id, error = %chain(fault), "an item is unreadable");
        read(item).inspect_err(unreadable).ok()
    });
    let readable: Vec<_> = readable.collect();
    let unreadable = count - readable.len();
    (readable, unreadable)
}

pub(super) fn to_item(value: impl Serialize) -> Result<Item, Fault> {
    serde_dynamo::to_item(value).map_err(Fault::internal)
}

pub(super) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Fault> {
    serde_dynamo::from_item(known_types(item)?).map_err(Fault::internal)
}

/// The item for serde_dynamo, which panics at a value of a type that the SDK does not know.
fn known_types(item: Item) -> Result<serde_dynamo::Item, Fault> {
    fn is_known(value: &AttributeValue) -> bool {
        match value {
            AttributeValue::L(values) => values.iter().all(is_known),
            AttributeValue::M(members) => members.values().all(is_known),
            other => !other.is_unknown(),
        }
    }
    if item.values().all(is_known) {
        Ok(item.into())
    } else {
        Err(Fault::internal("an item has a value of an unknown type"))
    }
}
