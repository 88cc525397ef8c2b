//! What the reconciler reads and writes.
//!
//! Every write is conditional on the rebuild being where the pass saw it, so that passes may
//! overlap or die anywhere. A write says whether it was made; where it was not, another pass has
//! moved the rebuild on, and there is nothing left to do.
//!
//! A rebuild ends in three writes, in this order: the item says how it ended ([`Store::end`]), the
//! history gets the record ([`Store::record_end`]), the item lets go of it ([`Store::release`]).
//! The first one decides; the others repeat it, so that whoever finds the rebuild between them
//! writes the same again. Two passes that saw different ends can't leave a record that contradicts
//! the item.

use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tracing::error;
use uuid::Uuid;

use super::{
    Item, Store, condition_failure, id_of, internal, key, read_fault, string, text, to_item,
    workspace_of,
};
use crate::error::Error;
use crate::workspace::{Description, Rebuild, State, Status, Timestamp, Workspace, WorkspaceId};

/// The sparse index of WorkSpaces with an open rebuild, oldest first.
const OPEN_REBUILDS: &str = "OpenRebuilds";

/// The rebuild is still the one, and where it was.
const UNMOVED: &str = "#Rebuild.Id = :id AND #Rebuild.#Status = :status";
/// Nobody was about to hand it over.
const NOT_HANDED_OVER: &str = "attribute_not_exists(#Rebuild.HandOverId)";
/// Nobody was about to hand it over after the one who said so last.
const SAME_HAND_OVER: &str = "#Rebuild.HandOverId = :hand_over_id";
/// Nobody has seen the fleet at it.
const NOT_SEEN: &str = "attribute_not_exists(#Rebuild.SeenRebuildingAt)";

/// An open rebuild, as the index has it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its WorkSpace.
    pub workspace_id: WorkspaceId,
    /// When it was accepted.
    pub since: Timestamp,
}

/// How a rebuild ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// `None`: it succeeded. Otherwise why it failed: a code, and a text for people.
    pub failure: Option<(String, &'static str)>,
    /// The state that the fleet gives the WorkSpace.
    pub state: State,
}

impl Store {
    /// The open rebuilds of this status, oldest first. The index is eventually consistent.
    ///
    /// # Errors
    /// The faults.
    pub async fn open_rebuilds(&self, status: Status) -> Result<Vec<Open>, Error> {
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
                .map_err(read_fault)?;
            for item in output.items.unwrap_or_default() {
                // One that can't be read keeps none of the others waiting.
                match open_of(&item) {
                    Ok(rebuild) => open.push(rebuild),
                    Err(error) => error!(%error, "an open rebuild that can't be read"),
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(open);
            }
        }
    }

    /// Says that a rebuild is about to be handed over, for the first time or again; gives it as
    /// it is then.
    ///
    /// # Errors
    /// The faults.
    pub async fn claim(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Error> {
        let change = match rebuild.hand_over_id {
            None => "SET #Rebuild.HandOverId = :claim, #Rebuild.HandOverAt = :now",
            Some(_) => "SET #Rebuild.HandOverId = :claim",
        };
        let mut request = self
            .move_on(id, rebuild, change, &[same_hand_over(rebuild)])
            .expression_attribute_values(":claim", string(Uuid::new_v4()));
        if rebuild.hand_over_id.is_none() {
            request = request.expression_attribute_values(":now", string(now));
        }
        write_and_read(request).await
    }

    /// Takes a first claim back: its call certainly had no effect, and no other was made.
    ///
    /// # Errors
    /// The faults.
    pub async fn take_back(&self, id: &WorkspaceId, claimed: &Rebuild) -> Result<bool, Error> {
        let change = "REMOVE #Rebuild.HandOverId, #Rebuild.HandOverAt";
        write(self.move_on(id, claimed, change, &[same_hand_over(claimed)])).await
    }

    /// Says that a rebuild is under way, and whether the fleet was seen at it.
    ///
    /// # Errors
    /// The faults.
    pub async fn start(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        is_seen: bool,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let change = if is_seen {
            "SET #Rebuild.#Status = :started, OpenRebuild = :started, \
             #Rebuild.StartedAt = :now, #Rebuild.SeenRebuildingAt = :now"
        } else {
            "SET #Rebuild.#Status = :started, OpenRebuild = :started, #Rebuild.StartedAt = :now"
        };
        let request = self
            .move_on(id, rebuild, change, &[])
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Notes when the fleet was first seen rebuilding.
    ///
    /// # Errors
    /// The faults.
    pub async fn note_seen(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let request = self
            .move_on(id, rebuild, "SET #Rebuild.SeenRebuildingAt = :now", &[NOT_SEEN])
            .expression_attribute_values(":now", string(now));
        write(request).await
    }

    /// Decides how a rebuild ended; gives it as it is then. What the decision rests on must still
    /// hold: that nobody has handed it over since, or that nobody has seen the fleet at it.
    ///
    /// # Errors
    /// The faults.
    pub async fn end(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        end: &End,
        now: Timestamp,
    ) -> Result<Option<Rebuild>, Error> {
        let mut change =
            "SET #Rebuild.#Status = :ended, #Rebuild.EndedAt = :now, #State = :state".to_owned();
        if end.failure.is_some() {
            change += ", #Rebuild.ErrorCode = :code, #Rebuild.ErrorMessage = :message";
        }
        let condition = match (rebuild.status, rebuild.seen_rebuilding_at) {
            (Status::Requested, _) => &[same_hand_over(rebuild)][..],
            (Status::Started, None) => &[NOT_SEEN],
            (Status::Started, Some(_)) | (Status::Succeeded | Status::Failed, _) => &[],
        };
        let ended = if end.failure.is_some() { Status::Failed } else { Status::Succeeded };
        let mut request = self
            .move_on(id, rebuild, &change, condition)
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":state", string(end.state))
            .expression_attribute_values(":ended", string(ended))
            .expression_attribute_values(":now", string(now));
        if let Some((code, message)) = &end.failure {
            request = request
                .expression_attribute_values(":code", string(code))
                .expression_attribute_values(":message", string(message));
        }
        write_and_read(request).await
    }

    /// Puts the record of an ended rebuild into the history; putting it there again does no harm.
    ///
    /// # Errors
    /// The faults.
    pub async fn record_end(&self, id: &WorkspaceId, ended: &Rebuild) -> Result<(), Error> {
        let mut item = to_item(ended)?;
        item.remove("Id");
        item.extend([key("WorkspaceId", id), key("RebuildId", ended.id)]);
        let request = self.client.put_item().table_name(&self.rebuilds).set_item(Some(item));
        request.send().await.map_err(internal)?;
        Ok(())
    }

    /// Lets go of an ended rebuild: the WorkSpace may be rebuilt again.
    ///
    /// # Errors
    /// The faults.
    pub async fn release(&self, id: &WorkspaceId, ended: &Rebuild) -> Result<bool, Error> {
        write(self.move_on(id, ended, "REMOVE OpenRebuild, OpenSince", &[])).await
    }

    /// A write that holds only while the rebuild is where `rebuild` says, and under `conditions`.
    fn move_on(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        change: &str,
        conditions: &[&str],
    ) -> UpdateItemFluentBuilder {
        let conditions = [&[UNMOVED], conditions].concat();
        let last_hand_over = rebuild.hand_over_id.filter(|_| conditions.contains(&SAME_HAND_OVER));
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .key("WorkspaceId", string(id))
            .update_expression(change)
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Status", "Status")
            .expression_attribute_values(":id", string(rebuild.id))
            .expression_attribute_values(":status", string(rebuild.status));
        // DynamoDB refuses a value that no expression uses.
        if let Some(last) = last_hand_over {
            request = request.expression_attribute_values(":hand_over_id", string(last));
        }
        request
    }

    /// All WorkSpaces of the table, and how many items could not be read as one.
    ///
    /// # Errors
    /// The faults.
    pub async fn all_workspaces(&self) -> Result<(Vec<Workspace>, usize), Error> {
        let mut workspaces = Vec::new();
        let mut unreadable = 0;
        let mut start = None;
        loop {
            let request = self.client.scan().table_name(&self.workspaces);
            let output = request.set_exclusive_start_key(start).send().await.map_err(read_fault)?;
            for item in output.items.unwrap_or_default() {
                match workspace_of(item) {
                    Ok(workspace) => workspaces.push(workspace),
                    Err(_) => unreadable += 1,
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok((workspaces, unreadable));
            }
        }
    }

    /// Makes the item of a WorkSpace say what the fleet says, if it has no open rebuild and is
    /// still what the pass read (`None`: there was none).
    ///
    /// # Errors
    /// The faults.
    pub async fn sync(
        &self,
        id: &WorkspaceId,
        read: Option<&Workspace>,
        state: State,
        description: &Description,
        expires_at: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let before = match read {
            Some(workspace) => to_item(&workspace.description)?,
            None => Item::new(),
        };
        let mut after = to_item(description)?;
        after.extend(
            expires_at.map(|at| {
                ("ExpiresAt".to_owned(), AttributeValue::N(at.epoch_seconds().to_string()))
            }),
        );
        after.extend([key("State", state)]);
        let gone = before.keys().map(String::as_str).chain(["ExpiresAt"]);
        let gone = gone.filter(|name| !after.contains_key(*name));
        let mut request = self.client.update_item().table_name(&self.workspaces);
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for (number, name) in gone.enumerate() {
            remove.push(format!("#gone{number}"));
            request = request.expression_attribute_names(format!("#gone{number}"), name);
        }
        for (number, (name, value)) in after.iter().enumerate() {
            set.push(format!("#set{number} = :set{number}"));
            request = request
                .expression_attribute_names(format!("#set{number}"), name)
                .expression_attribute_values(format!(":set{number}"), value.clone());
        }
        let mut change = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            change = format!("{change} REMOVE {}", remove.join(", "));
        }
        let rebuild = read.and_then(|workspace| workspace.rebuild.as_ref());
        let condition = match (read, rebuild) {
            (None, _) => "attribute_not_exists(WorkspaceId)".to_owned(),
            (Some(_), None) => format!("{UNCHANGED} AND attribute_not_exists(#Rebuild)"),
            (Some(_), Some(_)) => format!("{UNCHANGED} AND #Rebuild.Id = :id"),
        };
        if let Some(workspace) = read {
            request = request
                .expression_attribute_names("#State", "State")
                .expression_attribute_names("#Rebuild", "Rebuild")
                .expression_attribute_values(":state", string(workspace.state));
        }
        if let Some(rebuild) = rebuild {
            request = request.expression_attribute_values(":id", string(rebuild.id));
        }
        write(
            request
                .key("WorkspaceId", string(id))
                .update_expression(change)
                .condition_expression(condition),
        )
        .await
    }
}

/// No rebuild is open, and the state is the one that was read.
const UNCHANGED: &str = "attribute_not_exists(OpenRebuild) AND #State = :state";

fn open_of(item: &Item) -> Result<Open, Error> {
    let since = text(item, "OpenSince")?.to_owned();
    let since = Timestamp::try_from(since).map_err(internal)?;
    Ok(Open { workspace_id: id_of(item)?, since })
}

/// That nobody has been about to hand a rebuild over since it was read.
fn same_hand_over(rebuild: &Rebuild) -> &'static str {
    match rebuild.hand_over_id {
        None => NOT_HANDED_OVER,
        Some(_) => SAME_HAND_OVER,
    }
}

/// Sends a conditional write; says whether its condition held.
async fn write(request: UpdateItemFluentBuilder) -> Result<bool, Error> {
    Ok(send(request).await?.is_some())
}

/// Sends a conditional write; gives the rebuild as the item has it then, if the condition held.
async fn write_and_read(request: UpdateItemFluentBuilder) -> Result<Option<Rebuild>, Error> {
    let Some(output) = send(request.return_values(ReturnValue::AllNew)).await? else {
        return Ok(None);
    };
    Ok(workspace_of(output.attributes.unwrap_or_default())?.rebuild)
}

async fn send(request: UpdateItemFluentBuilder) -> Result<Option<UpdateItemOutput>, Error> {
    match request.send().await {
        Ok(output) => Ok(Some(output)),
        Err(error) if condition_failure(&error).is_some() => Ok(None),
        // Made or not: the next pass finds things as they are.
        Err(error) => Err(internal(error)),
    }
}
