//! DynamoDB: every request, and what an item looks like. No other module knows either.
//!
//! All concurrency control is in the conditions of the writes. There is no transaction, and no
//! read before a write.

mod fault;
mod item;
mod list;
pub mod reconcile;
mod sync;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure};

use self::fault::{NoteAmbiguity, condition_failure, fault, note_ambiguity};
use self::item::{string, to_item, to_workspace, workspace_key};
use crate::config::Config;
use crate::error::RebuildError;
use crate::rebuild::{Accepted, IdempotencyKey, Rebuild, Status};
use crate::workspace::{State, Workspace, WorkspaceId};

/// What the accepting write changes …
pub const ACCEPT: &str = "SET PreviousState = #State, \
    #State = :rebuilding, \
    #Rebuild = :rebuild, \
    OpenRebuild = :requested, \
    OpenSince = :now";

/// … and when: the state allows a rebuild, no rebuild is open, and the key is new.
pub const ACCEPT_CONDITION: &str = "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
    AND attribute_not_exists(OpenRebuild) \
    AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key)";

/// The placeholders of [`State::REBUILDABLE`] in [`ACCEPT_CONDITION`], in the same order.
const REBUILDABLE: [&str; 5] = [":available", ":error", ":unhealthy", ":stopped", ":rebooting"];

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
        let mut request = self
            .client
            .update_item()
            .table_name(&self.workspaces)
            .set_key(Some(workspace_key(id)))
            .update_expression(ACCEPT)
            .condition_expression(ACCEPT_CONDITION)
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
        let (Err(error), is_ambiguous) = note_ambiguity(async || request.send().await).await else {
            return Ok(Accepted::first(rebuild));
        };
        match condition_failure(&error).map(|failure| failure.item.clone()) {
            Some(Some(item)) => match to_workspace(item) {
                Ok(workspace) => judge(workspace, rebuild),
                Err(_) if is_ambiguous => Err(outcome_unknown(error, rebuild)),
                Err(unreadable) => Err(unreadable.into()),
            },
            _ if is_ambiguous => Err(outcome_unknown(error, rebuild)),
            // There was no item.
            Some(None) => Err(RebuildError::WorkspaceNotFound(id.clone())),
            None => Err(fault(error).into()),
        }
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
fn judge(item: Workspace, rebuild: &Rebuild) -> Result<Accepted, RebuildError> {
    match item.rebuild {
        // An earlier attempt landed, and its answer was lost.
        Some(current) if current.id == rebuild.id => Ok(Accepted::first(rebuild)),
        Some(current) if current.idempotency_key == rebuild.idempotency_key => {
            Ok(Accepted::replay(&current))
        }
        Some(_) | None => Err(RebuildError::InvalidState {
            workspace_id: item.workspace_id,
            state: item.state,
            is_open: item.has_open_rebuild,
        }),
    }
}

fn outcome_unknown(error: SdkError<UpdateItemError>, rebuild: &Rebuild) -> RebuildError {
    let has_key = rebuild.idempotency_key != IdempotencyKey::from(rebuild.id);
    RebuildError::OutcomeUnknown { has_key, source: error.into() }
}
