//! DynamoDB: every request, and what an item looks like. No other module knows either.
//!
//! All concurrency control is in the conditions of the writes. There are no transactions. Accepting
//! a rebuild needs no read; the reconciler's writes are conditional on what it has read.

mod fault;
mod item;
mod list;
pub mod queue;
mod reconcile;
mod sync;

use std::cell::Cell;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure};

use self::fault::{IS_AMBIGUOUS, NoteAmbiguity, condition_failure, fault};
use self::item::{Item, string, to_item, to_workspace, workspace_key};
use crate::config::Config;
use crate::error::{Fault, RebuildError};
use crate::rebuild::{Accepted, Rebuild};
use crate::workspace::{State, WorkspaceId};

/// The changes of the accepting write.
pub const ACCEPT: &str = "SET PreviousState = #State, \
    #State = :rebuilding, \
    #Rebuild = :rebuild, \
    OpenRebuild = :requested, \
    OpenSince = :now";

/// The condition of the accepting write: the state allows a rebuild, no rebuild is open, and the key
/// is new. Ids grow with time, so the last clause refuses a delayed attempt that arrives after a
/// newer rebuild.
pub const ACCEPT_CONDITION: &str = "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
    AND attribute_not_exists(OpenRebuild) \
    AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key) \
    AND (attribute_not_exists(#Rebuild.Id) OR #Rebuild.Id < :id)";

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
        id: &WorkspaceId,
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
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(id)))
            .update_expression(ACCEPT)
            .condition_expression(ACCEPT_CONDITION)
            .expression_attribute_names("#State", "State")
            .expression_attribute_names("#Rebuild", "Rebuild")
            .set_expression_attribute_values(Some(
                values.map(|(name, value)| (name.to_owned(), value)).collect(),
            ))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        let noted = async { (request.send().await, IS_AMBIGUOUS.with(Cell::get)) };
        let sent = IS_AMBIGUOUS.scope(Cell::new(false), noted).await;
        let (Err(error), is_ambiguous) = sent else {
            return Ok(Accepted::first(rebuild));
        };
        let refused = match condition_failure(&error) {
            Some(failure) => judge(id, failure.item.clone(), rebuild),
            None => Err(fault(error).into()),
        };
        // An earlier attempt may still land, whatever this one met.
        refused.map_err(|refusal| {
            if is_ambiguous {
                RebuildError::OutcomeUnknown { rebuild_id: rebuild.id, source: refusal.into() }
            } else {
                refusal
            }
        })
    }
}

/// The configuration of the DynamoDB client: at most 3 attempts of at most a second each.
#[must_use]
pub fn client_config(config: &Config, http: SharedHttpClient) -> Builder {
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(config.region.clone())
        .credentials_provider(config.credentials.clone())
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
fn judge(
    id: &WorkspaceId,
    item: Option<Item>,
    rebuild: &Rebuild,
) -> Result<Accepted, RebuildError> {
    let Some(item) = item else {
        return Err(RebuildError::WorkspaceNotFound(id.clone()));
    };
    let workspace = to_workspace(item)?;
    match &workspace.rebuild {
        // An earlier attempt landed, and its answer was lost.
        Some(current) if current.id == rebuild.id => return Ok(Accepted::first(rebuild)),
        Some(current) if current.idempotency_key == rebuild.idempotency_key => {
            return Ok(Accepted::replay(current));
        }
        Some(_) | None => {}
    }
    Err(match (workspace.state.is_rebuildable(), workspace.has_open_rebuild) {
        (true, false) => match workspace.rebuild {
            Some(current) if current.id > rebuild.id => {
                Fault::Throttled("the last rebuild has a later id: a clock is ahead".into()).into()
            }
            Some(_) | None => Fault::internal("no clause explains the failed condition").into(),
        },
        (true, true) => RebuildError::NotReleased(workspace.workspace_id),
        (false, is_open) => RebuildError::InvalidState {
            workspace_id: workspace.workspace_id,
            state: workspace.state,
            is_open,
        },
    })
}
