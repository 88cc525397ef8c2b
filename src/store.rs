//! DynamoDB: every request, and what an item looks like. No other module knows either.
//!
//! All concurrency control is in the conditions of the writes. There are no transactions. Accepting
//! a rebuild needs no read; the reconciler's writes are conditional on what it has read.

mod cancel;
mod fault;
mod item;
mod list;
mod protect;
pub mod queue;
mod reconcile;
mod sync;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure};

use self::fault::{NoteAmbiguity, Written, write_noting_ambiguity};
pub(crate) use self::item::streamed_record;
use self::item::{Item, string, to_item, to_workspace, workspace_key};
use crate::config::Config;
use crate::error::{Fault, RebuildError};
use crate::rebuild::{Accepted, Rebuild};
use crate::workspace::{State, Target, Workspace};

/// The changes of the accepting write.
pub const ACCEPT: &str = "SET PreviousState = #State, \
    #State = :rebuilding, \
    #Rebuild = :rebuild, \
    OpenRebuild = :requested, \
    OpenSince = :now";

/// The condition of the accepting write: the state allows a rebuild, no rebuild is open, the
/// WorkSpace is not protected, and the key is new. Ids grow with time, so the last clause refuses a
/// delayed attempt that arrives after a newer rebuild.
pub const ACCEPT_CONDITION: &str = "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
    AND attribute_not_exists(OpenRebuild) \
    AND attribute_not_exists(Protection) \
    AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key) \
    AND attribute_not_exists(#Keys.#Key) \
    AND (attribute_not_exists(#Rebuild.Id) OR #Rebuild.Id < :id)";

/// The WorkSpace belongs to the directory that the request names.
const IN_DIRECTORY: &str = "DirectoryId = :directory";

/// The placeholders of [`State::REBUILDABLE`] in [`ACCEPT_CONDITION`], in the same order.
const STATE_PLACEHOLDERS: [&str; 5] =
    [":available", ":error", ":unhealthy", ":stopped", ":rebooting"];

/// The two tables.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    workspaces: String,
    rebuilds: String,
}

impl Store {
    /// The store over the tables that `config` names.
    #[must_use]
    pub fn connect(config: &Config, http: SharedHttpClient) -> Self {
        let (workspaces, rebuilds) = (&config.workspaces_table, &config.rebuilds_table);
        Self::new(client_config(config, http), workspaces.clone(), rebuilds.clone())
    }

    /// The store over the tables of these names, with a client of its own.
    #[must_use]
    pub fn new(config: Builder, workspaces: String, rebuilds: String) -> Self {
        let client = Client::from_conf(config.interceptor(NoteAmbiguity).build());
        Self { client, workspaces, rebuilds }
    }

    /// Opens the connection to DynamoDB, TLS included, before the first request needs it: during
    /// init Lambda gives a full core, afterwards a share of one. Any answer will do, even "access
    /// denied". Without an answer the first request opens the connection itself.
    pub async fn warm_up(&self) {
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let request = self
            .client
            .get_item()
            .table_name(&self.workspaces)
            .key("WorkspaceId", string("-"))
            .customize()
            .config_override(once)
            .send();
        let _ = tokio::time::timeout(Duration::from_millis(500), request).await;
    }

    /// Makes `rebuild` the current rebuild of the WorkSpace, if its state allows that: one
    /// conditional write, which returns the item if the condition fails.
    ///
    /// # Errors
    /// See [`RebuildError`]. Only `OutcomeUnknown` may have changed something.
    pub async fn accept(
        &self,
        target: &Target,
        rebuild: &Rebuild,
    ) -> Result<Accepted, RebuildError> {
        let item = to_item(rebuild)?;
        // Cloned, since formatting them again costs more than copying.
        let [now, key, rebuild_id, requested] =
            ["CreatedAt", "IdempotencyKey", "Id", "Status"].map(|name| item[name].clone());
        let values = [
            (":rebuild", AttributeValue::M(item)),
            (":now", now),
            (":key", key),
            (":id", rebuild_id),
            (":requested", requested),
            (":rebuilding", string(State::Rebuilding)),
        ];
        let states = STATE_PLACEHOLDERS.into_iter().zip(State::REBUILDABLE.map(string));
        let values = values.into_iter().chain(states);
        let request = self
            .update_target(target, ACCEPT, ACCEPT_CONDITION, values)
            .expression_attribute_names("#State", "State")
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Keys", "Keys")
            .expression_attribute_names("#Key", rebuild.idempotency_key.hash());
        let (written, is_ambiguous) = write_noting_ambiguity(request).await;
        let accepted = match written {
            Ok(Written::Made(_)) => Ok(Accepted::first(rebuild)),
            Ok(Written::Refused(item)) => judge(target, item, rebuild),
            Err(fault) => Err(fault.into()),
        };
        // An earlier attempt may still land, whatever this one met.
        accepted.map_err(|error| {
            if is_ambiguous {
                RebuildError::OutcomeUnknown { rebuild_id: rebuild.id, source: error.into() }
            } else {
                error
            }
        })
    }

    /// A conditional write to the WorkSpace that a request names. It returns the item if
    /// the condition fails.
    fn update_target(
        &self,
        target: &Target,
        change: &str,
        condition: &str,
        values: impl Iterator<Item = (&'static str, AttributeValue)>,
    ) -> UpdateItemFluentBuilder {
        let mut condition = condition.to_owned();
        let mut values: HashMap<_, _> =
            values.map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(directory) = &target.directory_id {
            condition = format!("{condition} AND {IN_DIRECTORY}");
            values.insert(":directory".to_owned(), string(directory));
        }
        self.client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(&target.workspace_id)))
            .update_expression(change)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
    }
}

/// The configuration of the DynamoDB client: at most 3 attempts of at most a second each.
#[must_use]
pub fn client_config(config: &Config, http: SharedHttpClient) -> Builder {
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(config.aws.region.clone())
        .credentials_provider(config.aws.credentials.clone())
        // They come from memory and never expire, so a cache only costs.
        .identity_cache(IdentityCache::no_cache())
        .http_client(http)
        // Answers are small and arrive whole; the timeouts below are enough.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_initial_backoff(Duration::from_millis(50))
                .with_max_backoff(Duration::from_millis(200)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_secs(1))
                .operation_timeout(Duration::from_secs(3))
                .build(),
        );
    builder.set_endpoint_url(config.endpoint.clone());
    builder
}

/// What the item that failed the condition says about `rebuild`.
fn judge(target: &Target, item: Option<Item>, rebuild: &Rebuild) -> Result<Accepted, RebuildError> {
    let id = &target.workspace_id;
    let Some(workspace) = within(target, item)? else {
        return Err(RebuildError::WorkspaceNotFound(id.clone()));
    };
    let parameters = rebuild.parameters();
    let replay = |rebuild_id, created_at, has_parameters| {
        if has_parameters {
            // An earlier attempt of the same request, whose answer was lost, is no earlier request.
            Ok(Accepted { rebuild_id, created_at, is_replay: rebuild_id != rebuild.id })
        } else {
            Err(RebuildError::KeyReused)
        }
    };
    let current = workspace.rebuild.as_ref();
    if let Some(current) = current.filter(|it| it.idempotency_key == rebuild.idempotency_key) {
        return replay(current.id, current.created_at, current.parameters() == parameters);
    }
    if let Some(ended) = workspace.keys.find(&rebuild.idempotency_key) {
        return replay(ended.id, ended.id.created_at(), ended.has(parameters));
    }
    if workspace.protection.is_some() {
        return Err(RebuildError::Protected(id.clone()));
    }
    Err(match (workspace.state.is_rebuildable(), workspace.has_open_rebuild) {
        (true, false) => match workspace.rebuild {
            Some(current) if current.id > rebuild.id => clock_is_ahead("the last rebuild").into(),
            Some(_) | None => Fault::internal("no clause explains the failed condition").into(),
        },
        (true, true) => RebuildError::NotReleased(id.clone()),
        (false, is_open) => {
            RebuildError::InvalidState { workspace_id: id.clone(), state: workspace.state, is_open }
        }
    })
}

/// The WorkSpace of an item that failed a condition, if it is within the directory that the request
/// names.
fn within(target: &Target, item: Option<Item>) -> Result<Option<Workspace>, Fault> {
    let workspace = item.map(to_workspace).transpose()?;
    Ok(workspace.filter(|workspace| target.allows(workspace)))
}

/// A write that carries an id ordered by time met a later one.
fn clock_is_ahead(what: &str) -> Fault {
    Fault::Throttled(format!("{what} has a later id: a clock is ahead").into())
}
