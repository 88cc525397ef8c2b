//! DynamoDB: keys, item layout, and every request. Nothing else knows what an item looks like.
//!
//! The whole of the concurrency control is in the conditions of the writes below; there is no
//! transaction, and no read before a write.

pub mod reconcile;

use std::cell::Cell;
use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure as OnFailure,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::never_sent;
use crate::error::{Cause, Error};
use crate::workspace::{IdempotencyKey, Rebuild, RebuildId, State, Status, Workspace, WorkspaceId};

type Item = HashMap<String, AttributeValue>;

/// Accepting a rebuild: what the one write changes …
const ACCEPT: &str = "SET PreviousState = #State, \
    #State = :rebuilding, \
    #Rebuild = :rebuild, \
    OpenRebuild = :requested, \
    OpenSince = :now";

/// … and when: from an allowed state, while no rebuild is open, and not twice for one key.
const ACCEPTABLE: &str = "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
    AND attribute_not_exists(OpenRebuild) \
    AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key)";

/// The names of [`State::REBUILDABLE`] in [`ACCEPTABLE`], in its order.
const REBUILDABLE: [&str; 5] = [":available", ":error", ":unhealthy", ":stopped", ":rebooting"];

/// The index of WorkSpaces by directory and user.
const BY_DIRECTORY: &str = "Directory";
/// The index of WorkSpaces by bundle.
const BY_BUNDLE: &str = "Bundle";

/// How an offered rebuild was taken.
#[derive(Debug)]
pub enum Acceptance {
    /// It is the WorkSpace's current rebuild now.
    Accepted,
    /// The same request was accepted before, as this rebuild.
    Repeated(Box<Rebuild>),
}

/// Which WorkSpaces to list.
#[derive(Debug, PartialEq)]
pub enum Filter {
    /// All of them.
    All,
    /// These.
    Ids(Vec<WorkspaceId>),
    /// A directory's, or those of one of its users.
    Directory {
        /// The directory.
        directory_id: String,
        /// The user.
        user_name: Option<String>,
    },
    /// A bundle's.
    Bundle(String),
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts, if there is one.
    pub next_token: Option<String>,
}

/// The two tables.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    workspaces: String,
    rebuilds: String,
}

impl Store {
    /// The store over the tables of these names.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "it has no use without the interceptor")]
    pub fn new(client: Client, workspaces: String, rebuilds: String) -> Self {
        let config = client.config().to_builder().interceptor(NoteAmbiguity).build();
        Self { client: Client::from_conf(config), workspaces, rebuilds }
    }

    /// Makes `rebuild` the current rebuild of the WorkSpace, if its state allows it: one
    /// conditional write, which brings the item back where the condition fails.
    ///
    /// # Errors
    /// `WorkspaceNotFound`, `InvalidState`, and the faults; nothing is changed by any but
    /// `OutcomeUnknown`, which may have changed it.
    pub async fn accept(&self, id: &WorkspaceId, rebuild: &Rebuild) -> Result<Acceptance, Error> {
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .key("WorkspaceId", string(id))
            .update_expression(ACCEPT)
            .condition_expression(ACCEPTABLE)
            .expression_attribute_names("#State", "State")
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_values(":rebuilding", string(State::Rebuilding))
            .expression_attribute_values(":rebuild", AttributeValue::M(to_item(rebuild)?))
            .expression_attribute_values(":requested", string(Status::Requested))
            .expression_attribute_values(":now", string(rebuild.created_at))
            .expression_attribute_values(":key", string(&rebuild.idempotency_key))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        for (name, state) in REBUILDABLE.into_iter().zip(State::REBUILDABLE) {
            request = request.expression_attribute_values(name, string(state));
        }
        let sent = async { (request.send().await, AMBIGUOUS.with(Cell::get)) };
        let (Err(error), is_ambiguous) = AMBIGUOUS.scope(Cell::new(false), sent).await else {
            return Ok(Acceptance::Accepted);
        };
        match condition_failure(&error).map(|failure| failure.item.clone()) {
            Some(Some(item)) => match workspace_of(item) {
                Ok(workspace) => refused(workspace, rebuild),
                Err(_) if is_ambiguous => Err(outcome_unknown(error, rebuild)),
                Err(unreadable) => Err(unreadable),
            },
            // There was nothing for the write to land on.
            Some(None) if !is_ambiguous => Err(Error::WorkspaceNotFound(id.clone())),
            Some(None) | None if is_ambiguous => Err(outcome_unknown(error, rebuild)),
            Some(None) | None => Err(read_fault(error)),
        }
    }

    /// One WorkSpace, read consistently.
    ///
    /// # Errors
    /// The faults.
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(&self.workspaces)
            .key("WorkspaceId", string(id))
            .consistent_read(true)
            .send()
            .await
            .map_err(read_fault)?;
        output.item.map(workspace_of).transpose()
    }

    /// The record of a rebuild that has ended, read consistently.
    ///
    /// # Errors
    /// The faults.
    pub async fn record(
        &self,
        id: &WorkspaceId,
        rebuild_id: RebuildId,
    ) -> Result<Option<Rebuild>, Error> {
        let output = self
            .client
            .get_item()
            .table_name(&self.rebuilds)
            .key("WorkspaceId", string(id))
            .key("RebuildId", string(rebuild_id))
            .consistent_read(true)
            .send()
            .await
            .map_err(read_fault)?;
        output.item.map(from_item).transpose()
    }

    /// The records of a WorkSpace's ended rebuilds, newest first, from the one before `before`
    /// on: at most `limit`, and whether there may be more. Read consistently.
    ///
    /// # Errors
    /// The faults.
    pub async fn records(
        &self,
        id: &WorkspaceId,
        before: Option<RebuildId>,
        limit: u8,
    ) -> Result<(Vec<Rebuild>, bool), Error> {
        let mut request = self
            .client
            .query()
            .table_name(&self.rebuilds)
            .key_condition_expression("WorkspaceId = :id")
            .expression_attribute_values(":id", string(id))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit.into());
        if let Some(before) = before {
            request = request
                .key_condition_expression("WorkspaceId = :id AND RebuildId < :before")
                .expression_attribute_values(":before", string(before));
        }
        let output = request.send().await.map_err(read_fault)?;
        let records = output.items.unwrap_or_default();
        let records = records.into_iter().map(from_item).collect::<Result<_, _>>()?;
        Ok((records, output.last_evaluated_key.is_some()))
    }

    /// One page of the WorkSpaces that `filter` asks for, at most `limit` of them. Each is read
    /// consistently; which ones a directory or a bundle has is not.
    ///
    /// # Errors
    /// `InvalidCombination` for a token that did not come from this listing, and the faults.
    pub async fn workspaces(
        &self,
        filter: &Filter,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, Error> {
        match filter {
            Filter::Ids(ids) => self.page_of_ids(ids, limit, token).await,
            Filter::All => self.page_of_all(limit, token).await,
            Filter::Directory { directory_id, user_name } => {
                let index = Index {
                    name: BY_DIRECTORY,
                    hash: ("DirectoryId", directory_id),
                    range: Some(("UserName", user_name.as_deref())),
                };
                self.page_of_index(index, limit, token).await
            }
            Filter::Bundle(bundle_id) => {
                let index = Index { name: BY_BUNDLE, hash: ("BundleId", bundle_id), range: None };
                self.page_of_index(index, limit, token).await
            }
        }
    }

    async fn page_of_ids(
        &self,
        ids: &[WorkspaceId],
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, Error> {
        let start = match token {
            None => 0,
            Some(token) => {
                1 + ids.iter().position(|id| id.as_str() == token).ok_or_else(bad_token)?
            }
        };
        let page = ids[start..].iter().take(limit.into());
        let page: Vec<_> = page.cloned().collect();
        let is_last = start + page.len() == ids.len();
        let next_token = page.last().filter(|_| !is_last).map(ToString::to_string);
        Ok(Page { items: self.batch(page).await?, next_token })
    }

    async fn page_of_all(&self, limit: u8, token: Option<&str>) -> Result<Page<Workspace>, Error> {
        let after = token.map(|token| WorkspaceId::try_from(token.to_owned()));
        let after = after.transpose().map_err(|_| bad_token())?;
        let output = self
            .client
            .scan()
            .table_name(&self.workspaces)
            .consistent_read(true)
            .limit(limit.into())
            .set_exclusive_start_key(after.map(|id| Item::from([key("WorkspaceId", &id)])))
            .send()
            .await
            .map_err(read_fault)?;
        let items = output.items.unwrap_or_default();
        let items = items.into_iter().map(workspace_of).collect::<Result<_, _>>()?;
        let last = output.last_evaluated_key;
        let next_token =
            last.map(|key| text(&key, "WorkspaceId").map(ToOwned::to_owned)).transpose()?;
        Ok(Page { items, next_token })
    }

    /// A page of an index that projects keys only: the keys, then the items.
    async fn page_of_index(
        &self,
        index: Index<'_>,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, Error> {
        let (hash, value) = index.hash;
        let mut request = self
            .client
            .query()
            .table_name(&self.workspaces)
            .index_name(index.name)
            .key_condition_expression("#hash = :hash")
            .expression_attribute_names("#hash", hash)
            .expression_attribute_values(":hash", string(value))
            .limit(limit.into())
            .set_exclusive_start_key(token.map(|token| index.start_key(token)).transpose()?);
        if let Some((range, Some(value))) = index.range {
            request = request
                .key_condition_expression("#hash = :hash AND #range = :range")
                .expression_attribute_names("#range", range)
                .expression_attribute_values(":range", string(value));
        }
        let output = request.send().await.map_err(read_fault)?;
        let keys = output.items.unwrap_or_default();
        let ids = keys.iter().map(id_of).collect::<Result<_, _>>()?;
        let next_token = output.last_evaluated_key.map(|key| index.token(&key)).transpose()?;
        Ok(Page { items: self.batch(ids).await?, next_token })
    }

    /// The WorkSpaces of these ids that there are, in their order, read consistently.
    async fn batch(&self, ids: Vec<WorkspaceId>) -> Result<Vec<Workspace>, Error> {
        let mut found = HashMap::new();
        let mut keys: Vec<Item> =
            ids.iter().map(|id| Item::from([key("WorkspaceId", id)])).collect();
        // DynamoDB answers at least one key of a batch, so this ends.
        while !keys.is_empty() {
            let wanted =
                KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(internal)?;
            let request = self.client.batch_get_item().request_items(&self.workspaces, wanted);
            let mut output = request.send().await.map_err(read_fault)?;
            let items =
                output.responses.as_mut().and_then(|tables| tables.remove(&self.workspaces));
            for item in items.unwrap_or_default() {
                let workspace = workspace_of(item)?;
                found.insert(workspace.workspace_id.clone(), workspace);
            }
            let rest =
                output.unprocessed_keys.and_then(|mut tables| tables.remove(&self.workspaces));
            keys = rest.map(|rest| rest.keys).unwrap_or_default();
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

/// What to look for in an index, and its tokens: `WorkspaceId`, then the range key if the index
/// has one, with a slash between.
struct Index<'a> {
    name: &'static str,
    hash: (&'static str, &'a str),
    range: Option<(&'static str, Option<&'a str>)>,
}

impl Index<'_> {
    fn token(&self, last: &Item) -> Result<String, Error> {
        let id = text(last, "WorkspaceId")?;
        match self.range {
            None => Ok(id.to_owned()),
            Some((range, _)) => Ok(format!("{id}/{}", text(last, range)?)),
        }
    }

    fn start_key(&self, token: &str) -> Result<Item, Error> {
        let (id, range) = match token.split_once('/') {
            Some((id, range)) => (id, Some(range)),
            None => (token, None),
        };
        let id = WorkspaceId::try_from(id.to_owned()).map_err(|_| bad_token())?;
        let mut start = Item::from([key("WorkspaceId", &id), key(self.hash.0, self.hash.1)]);
        match (self.range, range) {
            (None, None) => {}
            (Some((name, wanted)), Some(range))
                if is_user_name(range) && wanted.is_none_or(|wanted| wanted == range) =>
            {
                start.extend([key(name, range)]);
            }
            (None | Some(_), None | Some(_)) => return Err(bad_token()),
        }
        Ok(start)
    }
}

/// 1 to 63 characters (API model); DynamoDB refuses a longer key with an error of its own.
fn is_user_name(text: &str) -> bool {
    (1..=63).contains(&text.chars().count())
}

fn bad_token() -> Error {
    Error::InvalidCombination("NextToken is not one of this listing's")
}

/// Why the item that came back with a failed condition refuses `rebuild`, or that it doesn't.
fn refused(item: Workspace, rebuild: &Rebuild) -> Result<Acceptance, Error> {
    match item.rebuild {
        // An attempt before this one landed, and its answer was lost.
        Some(current) if current.id == rebuild.id => Ok(Acceptance::Accepted),
        Some(current) if current.idempotency_key == rebuild.idempotency_key => {
            Ok(Acceptance::Repeated(Box::new(current)))
        }
        Some(_) | None => Err(Error::InvalidState {
            workspace_id: item.workspace_id,
            state: item.state,
            is_open: item.open_rebuild.is_some(),
        }),
    }
}

/// The failure of a write's condition, with the item that it met, if there was one.
fn condition_failure<R>(
    error: &SdkError<UpdateItemError, R>,
) -> Option<&ConditionalCheckFailedException> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failure)) => Some(failure),
        Some(_) | None => None,
    }
}

tokio::task_local! {
    /// Whether any attempt of the write at hand may have landed without an answer that says so.
    static AMBIGUOUS: Cell<bool>;
}

/// Notes [`AMBIGUOUS`] attempts. The SDK shows only the last attempt's error; this sees each.
///
/// An attempt that failed certainly did nothing only if it was never sent, or if DynamoDB refused
/// it (a 4xx); a timeout, a lost connection, a 5xx and an unreadable answer leave it open.
#[derive(Debug)]
struct NoteAmbiguity;

impl Intercept for NoteAmbiguity {
    fn name(&self) -> &'static str {
        "NoteAmbiguity"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Err(error)) = context.output_or_error() {
            let refused =
                context.response().is_some_and(|response| response.status().is_client_error());
            let unsent = error.as_connector_error().is_some_and(|error| never_sent(error));
            if !refused && !unsent {
                // Other requests than the accepting write have no use for it.
                let _ = AMBIGUOUS.try_with(|ambiguous| ambiguous.set(true));
            }
        }
        Ok(())
    }
}

/// A write of which an attempt may have landed, and none settled that.
fn outcome_unknown(error: SdkError<UpdateItemError>, rebuild: &Rebuild) -> Error {
    let has_key = rebuild.idempotency_key != IdempotencyKey::from(rebuild.id);
    Error::OutcomeUnknown { has_key, source: error.into() }
}

/// A failed request that has changed nothing.
fn read_fault<E>(error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    const THROTTLED: [&str; 3] =
        ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"];
    const CONFLICT: [&str; 3] = [
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    ];
    let code = error.code().unwrap_or_default();
    if THROTTLED.contains(&code) || CONFLICT.contains(&code) {
        return Error::Throttled(error.into());
    }
    let is_server_error =
        error.raw_response().is_some_and(|response| response.status().is_server_error());
    match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
            Error::Unreachable(error.into())
        }
        SdkError::ServiceError(_) | SdkError::ResponseError(_) if is_server_error => {
            Error::Unreachable(error.into())
        }
        _ => Error::Internal(error.into()),
    }
}

fn internal(error: impl Into<Cause>) -> Error {
    Error::Internal(error.into())
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values and references")]
fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn key(name: &str, value: impl ToString) -> (String, AttributeValue) {
    (name.to_owned(), string(value))
}

fn text<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, Error> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        .ok_or_else(|| internal(format!("an item lacks {name}")))
}

fn id_of(item: &Item) -> Result<WorkspaceId, Error> {
    WorkspaceId::try_from(text(item, "WorkspaceId")?.to_owned()).map_err(internal)
}

fn to_item(value: impl Serialize) -> Result<Item, Error> {
    serde_dynamo::to_item(value).map_err(internal)
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(internal)
}

/// The WorkSpace of an item. The state before a rebuild stands beside the rebuild in the item,
/// because the accepting write can only copy it there.
fn workspace_of(mut item: Item) -> Result<Workspace, Error> {
    let previous_state = item.remove("PreviousState");
    if let (Some(state), Some(AttributeValue::M(rebuild))) =
        (previous_state, item.get_mut("Rebuild"))
    {
        rebuild.insert("PreviousState".to_owned(), state);
    }
    from_item(item)
}
