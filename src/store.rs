//! DynamoDB: every request, and what an item looks like. No other module knows either.
//!
//! All concurrency control is in the conditions of the writes. There are no transactions. Accepting
//! a rebuild needs no read; the reconciler's writes are conditional on what it has read.

mod accept;
mod cancel;
mod changes;
mod control;
mod end;
mod ended;
mod fault;
mod follow;
mod guard;
mod hand_over;
mod item;
mod list;
mod open;
mod protect;
pub mod queue;
mod refresh;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{Builder, SharedHttpClient};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure};
use time::OffsetDateTime;
use uuid::{ContextV7, Uuid};

pub use self::accept::{ACCEPT, ACCEPT_CONDITION};
use self::fault::NoteAmbiguity;
pub(crate) use self::item::streamed_record;
use self::item::{Item, string, to_workspace, workspace_key};
use crate::config::{Config, Tables};
use crate::error::Fault;
use crate::ids::Target;
use crate::transport::{sdk_config, soon};
use crate::workspace::Workspace;

/// The WorkSpace belongs to the directory that the request names.
const IN_DIRECTORY: &str = "DirectoryId = :directory";

/// The tables.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    tables: Tables,
}

impl Store {
    /// The store over the tables that `config` names.
    #[must_use]
    pub fn connect(config: &Config, http: SharedHttpClient) -> Self {
        Self::new(client_config(config, http), config.tables.clone())
    }

    /// The store over the tables of these names, with a client of its own.
    #[must_use]
    pub fn new(config: Builder, tables: Tables) -> Self {
        Self { client: Client::from_conf(config.interceptor(NoteAmbiguity).build()), tables }
    }

    /// Opens the connection to DynamoDB, TLS included, before the first request needs it: during
    /// init Lambda gives a full core, afterwards a share of one. Any answer will do, even "access
    /// denied". Without an answer the first request opens the connection itself.
    pub async fn warm_up(&self) {
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let request = self
            .client
            .get_item()
            .table_name(&self.tables.workspaces)
            .key("WorkspaceId", string("-"))
            .customize()
            .config_override(once)
            .send();
        let _ = tokio::time::timeout(Duration::from_millis(500), request).await;
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
            .table_name(&self.tables.workspaces)
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
    let timeouts = (Duration::from_secs(1), Duration::from_secs(3));
    Builder::from(&sdk_config(&config.aws, http, config.endpoint.as_ref(), soon(), timeouts))
}

/// The WorkSpace of an item that failed a condition, if it is within the directory that the request
/// names.
fn within(target: &Target, item: Option<Item>) -> Result<Option<Workspace>, Fault> {
    let workspace = item.map(to_workspace).transpose()?;
    Ok(workspace.filter(|workspace| workspace.is_within(target)))
}

/// An id that is ordered by time, to a quarter of a microsecond: the next request of the same caller
/// has a later one.
fn ordered_id(now: OffsetDateTime) -> String {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let precise = ContextV7::new().with_additional_precision();
    Uuid::new_v7(uuid::Timestamp::from_unix(precise, seconds, now.nanosecond())).to_string()
}

/// A write that carries an id ordered by time met a later one.
fn overtaken(what: &str) -> Fault {
    let cause = format!("{what} is later: a later request came first, or a clock is ahead");
    Fault::Throttled(cause.into())
}
