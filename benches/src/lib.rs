//! What the benchmarks share: how they build programs, the event and the DynamoDB request of the
//! compared programs, WorkSpaces for the table, and counts of requests.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, PutRequest, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use rebuild_workspaces::config::{Config, ConfigError};
use rebuild_workspaces::store::{ACCEPT, ACCEPT_CONDITION};

/// Builds with `cargo build --release` and these arguments.
///
/// # Errors
/// It does not build.
pub fn build(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release"]).args(arguments);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for (name, _) in std::env::vars() {
        // A build script that watches these, as ring's does, would see them change, and be run again.
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    if !cargo.status()?.success() {
        return Err(format!("cargo build {} failed", arguments.join(" ")).into());
    }
    Ok(())
}

/// The path of a program that [`build`] has built: beside this one.
///
/// # Errors
/// The path of this one is not known.
pub fn built(program: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}

/// The UpdateItem that the function sends for `events/accepted.json`.
pub fn update_item(client: &Client) -> UpdateItemFluentBuilder {
    let text = |value: &str| AttributeValue::S(value.into());
    let rebuild = HashMap::from(
        [
            ("Id", "019ab0c1-7d1e-7c3a-9a57-0d8b5f1c2e3f"),
            ("CreatedAt", "2025-01-01T00:00:00Z"),
            ("Status", "REQUESTED"),
            ("IdempotencyKey", "4711"),
            ("RequestedBy", "arn:aws:sts::123456789012:assumed-role/desk/ana.silva"),
            ("SourceIp", "198.51.100.7"),
            ("RequestId", "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"),
            ("Reason", "ticket 4711"),
            ("FleetMode", "Simulated"),
        ]
        .map(|(name, value)| (name.to_owned(), text(value))),
    );
    let mut request = client
        .update_item()
        .table_name("workspaces")
        .key("WorkspaceId", text("ws-available0001"))
        .update_expression(ACCEPT)
        .condition_expression(ACCEPT_CONDITION)
        .expression_attribute_names("#State", "State")
        .expression_attribute_names("#Rebuild", "Rebuild")
        .expression_attribute_values(":rebuild", AttributeValue::M(rebuild))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    for (name, value) in [
        (":rebuilding", "REBUILDING"),
        (":requested", "REQUESTED"),
        (":now", "2025-01-01T00:00:00Z"),
        (":key", "4711"),
        (":id", "019ab0c1-7d1e-7c3a-9a57-0d8b5f1c2e3f"),
        (":available", "AVAILABLE"),
        (":error", "ERROR"),
        (":unhealthy", "UNHEALTHY"),
        (":stopped", "STOPPED"),
        (":rebooting", "REBOOTING"),
    ] {
        request = request.expression_attribute_values(name, text(value));
    }
    request
}

/// The functions' configuration with the tables of a DynamoDB at this URL.
///
/// # Errors
/// None, unless a variable is missing here.
pub fn config(dynamodb: &str) -> Result<Config, ConfigError> {
    Config::from_lookup(|name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(dynamodb.to_owned()),
        "AWS_CA_BUNDLE" | "SSL_CERT_FILE" | "FLEET_MODE" | "MAX_REBUILDS_PER_DAY" => None,
        "WORKSPACES_TABLE" => Some("workspaces".to_owned()),
        "REBUILDS_TABLE" => Some("rebuilds".to_owned()),
        "CONTROL_TABLE" => Some("control".to_owned()),
        _ => Some("local".to_owned()),
    })
}

/// Puts WorkSpaces in AVAILABLE into the table, 25 at a time.
///
/// # Errors
/// DynamoDB did not take a batch.
pub async fn add_workspaces(client: &Client, ids: &[String]) -> Result<(), Box<dyn Error>> {
    for batch in ids.chunks(25) {
        let put = |id: &String| {
            let put = PutRequest::builder()
                .item("WorkspaceId", AttributeValue::S(id.clone()))
                .item("State", AttributeValue::S("AVAILABLE".into()))
                .build();
            Ok(WriteRequest::builder().put_request(put?).build())
        };
        let items = batch.iter().map(put).collect::<Result<_, Box<dyn Error>>>()?;
        client.batch_write_item().request_items("workspaces", items).send().await?;
    }
    Ok(())
}

/// `events/accepted.json` as API Gateway sends it: without white space.
///
/// # Errors
/// If it is not JSON.
pub fn event() -> serde_json::Result<String> {
    compact(include_str!("../../events/accepted.json"))
}

/// `events/ended.json`, in the same way.
///
/// # Errors
/// If it is not JSON.
pub fn ended() -> serde_json::Result<String> {
    compact(include_str!("../../events/ended.json"))
}

/// `events/preview.json`, in the same way.
///
/// # Errors
/// If it is not JSON.
pub fn preview() -> serde_json::Result<String> {
    compact(include_str!("../../events/preview.json"))
}

fn compact(json: &str) -> serde_json::Result<String> {
    Ok(serde_json::from_str::<serde_json::Value>(json)?.to_string())
}

/// Counts requests by operation.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<String, usize>>>);

impl Requests {
    /// What was counted since the last time.
    ///
    /// # Panics
    /// Another thread panicked while it counted.
    #[must_use]
    pub fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "Requests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        *self.0.lock().expect("no panic").entry(operation).or_default() += 1;
        Ok(())
    }
}
