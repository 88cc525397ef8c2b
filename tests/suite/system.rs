//! Starts the whole system for a test: an embedded DynamoDB and the API, each on a free port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use ciborium::Value as Cbor;
use dynoxide::Database;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use rebuild_workspaces::config::{Config, FleetConfig, Limits, Tables};
use rebuild_workspaces::error::Fault;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::preview::Previewer;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Followed, Reconciler, Timing};
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::transport;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use crate::openapi;
use crate::wire::Wire;
use local::gateway::Functions;
use local::{dynamodb, gateway};

/// How many WorkSpaces the seed has.
pub const SAMPLES: usize = 23;

const CREDENTIAL: &str = "AWS4-HMAC-SHA256 \
    Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

/// A running system, seeded with one WorkSpace in each state. It stops with the test's runtime.
#[derive(Clone)]
pub struct System {
    /// URL of the API, `http://127.0.0.1:<port>`.
    pub api: String,
    /// URL of DynamoDB, without the wire.
    pub dynamodb: String,
    /// Carries the API's requests to DynamoDB.
    pub wire: Wire,
    /// The store that the API uses.
    pub store: Store,
    /// Reads and writes items directly, without the wire.
    pub client: Client,
    /// The embedded DynamoDB, if it is that.
    pub database: Option<Database>,
}

impl System {
    /// Starts a system with the timeouts and retries of production.
    pub async fn start() -> Self {
        Self::start_with(|dynamodb| dynamodb).await
    }

    /// Starts a system that accepts rebuilds for the real fleet.
    pub async fn start_for_amazon() -> Self {
        Self::start_for(FleetMode::AmazonWorkSpaces, |dynamodb| dynamodb).await
    }

    /// Starts a system; `change` adjusts the configuration of the API's DynamoDB client.
    pub async fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::start_for(FleetMode::Simulated, change).await
    }

    /// Starts a system over another DynamoDB, with new, empty tables.
    pub async fn start_over(dynamodb: &str) -> Self {
        for (name, resource) in dynamodb::TABLES {
            let table = dynamodb::definition(name, resource).expect("a table of the template");
            // Usually there is none.
            let delete = json!({ "TableName": name });
            for (operation, input) in [("DeleteTable", delete), ("CreateTable", table)] {
                let ask = Ask { body: input.to_string().into(), ..Ask::new("POST", "/") }
                    .with("content-type", "application/x-amz-json-1.0")
                    .with("x-amz-target", &format!("DynamoDB_20120810.{operation}"))
                    // Emulators want to see one, and don't check it.
                    .with("authorization", CREDENTIAL);
                try_send(dynamodb, &ask).await.expect("an answer");
            }
        }
        Self::over(dynamodb.to_owned(), None, FleetMode::Simulated, |dynamodb| dynamodb).await
    }

    async fn start_for(mode: FleetMode, change: impl FnOnce(Builder) -> Builder) -> Self {
        let database = dynamodb::in_memory().expect("the tables of the template");
        dynamodb::seed_if_empty(&database).expect("the seed");
        let (listener, dynamodb) = listen().await;
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self::over(dynamodb, Some(database), mode, change).await
    }

    async fn over(
        dynamodb: String,
        database: Option<Database>,
        mode: FleetMode,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let wire = Wire::start(&dynamodb).await;
        let to_wire = config(&wire.url);
        let to_wire = client_config(&to_wire, transport::http_client(&to_wire.aws));
        let store = Store::new(change(to_wire), tables());
        let (listener, api) = listen().await;
        let service = Service::new(store.clone(), mode, Limits::default().rebuilds_per_day);
        let functions = Functions { api: service, ..functions(&store) };
        tokio::spawn(gateway::serve(listener, functions, gateway::READ_TIMEOUT));
        let config = config(&dynamodb);
        let client = client_config(&config, transport::http_client(&config.aws))
            .timeout_config(TimeoutConfig::disabled());
        let client = Client::from_conf(client.build());
        Self { api, dynamodb, wire, store, client, database }
    }

    /// Sends a request to the API.
    pub async fn send(&self, ask: &Ask) -> Answer {
        send(&self.api, ask).await
    }

    /// Ends the open rebuilds: passes of the reconciler that hand over, see, and end.
    pub async fn end_rebuild(&self) {
        for _ in 0..3 {
            self.pass().await.expect("a pass");
        }
    }

    /// A pass of the reconciler over a fleet that rebuilds in no time.
    pub async fn pass(&self) -> Result<Followed, Fault> {
        let fleet = Simulated { rebuild_time: Duration::ZERO };
        let clock = OffsetDateTime::now_utc;
        let timing = Timing::of_simulated();
        let reconciler = Reconciler {
            store: self.store.clone(),
            fleet,
            clock,
            timing,
            limits: Limits { rebuilds_per_day: None, ..Limits::default() },
        };
        reconciler.follow().await
    }

    /// Sends an API Gateway event to its function; returns the Lambda response.
    pub async fn invoke(&self, event: &Value) -> Value {
        functions(&self.store).invoke(event).await
    }

    /// The item of a WorkSpace, as plain JSON.
    pub async fn item(&self, id: &str) -> Value {
        let request = self.client.get_item().table_name("workspaces");
        let request = request.key("WorkspaceId", AttributeValue::S(id.into()));
        let output = request.consistent_read(true).send().await.expect("an answer");
        serde_dynamo::from_item(output.item.expect("the WorkSpace")).expect("JSON")
    }

    /// All items of a table, as plain JSON.
    pub async fn scan(&self, table: &str) -> Vec<Value> {
        let items = self.client.scan().table_name(table).into_paginator().items().send();
        let items = items.try_collect().await.expect("an answer").into_iter();
        items.map(|item| serde_dynamo::from_item(item).expect("JSON")).collect()
    }

    /// Removes the item of a WorkSpace from a table.
    pub async fn remove(&self, table: &str, id: &str) {
        let request = self.client.delete_item().table_name(table);
        let request = request.key("WorkspaceId", AttributeValue::S(id.into()));
        request.send().await.expect("an answer");
    }

    /// Writes an item, given as plain JSON, to a table.
    pub async fn put(&self, table: &str, item: Value) {
        let item = serde_dynamo::to_item(item).expect("an object");
        let request = self.client.put_item().table_name(table).set_item(Some(item));
        request.send().await.expect("an answer");
    }
}

/// The service over a store, for the simulated fleet.
pub fn service(store: &Store) -> Service {
    Service::new(store.clone(), FleetMode::Simulated, Limits::default().rebuilds_per_day)
}

/// The functions behind the API over a store, for the simulated fleet.
pub fn functions(store: &Store) -> Functions<Simulated> {
    let fleet = Simulated { rebuild_time: Duration::ZERO };
    let preview = Previewer::new(store.clone(), fleet, &fleet_config("http://localhost:1"));
    Functions { api: service(store), preview }
}

/// The configuration of a fleet whose WorkSpaces API and KMS are at this URL.
pub fn fleet_config(endpoint: &str) -> FleetConfig {
    FleetConfig {
        endpoint: Some(endpoint.to_owned()),
        kms_endpoint: Some(endpoint.to_owned()),
        calls_per_second: NonZeroU16::MAX,
        ..FleetConfig::from_lookup(|_| None).expect("the defaults")
    }
}

/// The names of the tables.
pub fn tables() -> Tables {
    Tables {
        workspaces: "workspaces".into(),
        rebuilds: "rebuilds".into(),
        control: "control".into(),
    }
}

/// Sends a request over HTTP, and holds the answer to the published definition.
pub async fn send(api: &str, ask: &Ask) -> Answer {
    let answer = try_send(api, ask).await.expect("an answer");
    openapi::check(ask.method, &ask.path, &answer);
    answer
}

/// Sends a request over HTTP; `None` if the connection breaks.
pub async fn try_send(api: &str, ask: &Ask) -> Option<Answer> {
    let url = format!("{api}{}", ask.path);
    let mut request = Request::builder().method(ask.method).uri(url);
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let http = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
    let request = request.body(Body::from(ask.body.clone())).expect("a request");
    let (head, body) = http.request(request).await.ok()?.into_parts();
    let headers = head.headers.iter();
    let headers = headers.filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").into()));
    let body = to_bytes(Body::new(body), usize::MAX).await.ok()?;
    Some(Answer { status: head.status.as_u16(), headers: headers.collect(), body })
}

/// A request to the API.
#[derive(Clone)]
pub struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {} {:?} {body:.200}", self.method, self.path, self.headers)
    }
}

impl Ask {
    /// A request without headers or body.
    pub fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.into(), headers: vec![], body: vec![] }
    }

    /// `GET` of a path.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST /` to the envelope face.
    pub fn post(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", "/") }
            .with("content-type", "application/json")
    }

    /// A request with a JSON body to a path of the envelope face.
    pub fn json(method: &'static str, path: &str, body: &Value) -> Self {
        let body = body.to_string().into();
        Self { body, ..Self::new(method, path) }.with("content-type", "application/json")
    }

    /// The envelope face's request to rebuild a WorkSpace.
    pub fn rebuild(id: &str) -> Self {
        Self::post(json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }] }).to_string())
    }

    /// A request of the AWS JSON face.
    pub fn aws(operation: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", "/") }
            .with("content-type", "application/x-amz-json-1.1")
            .with("x-amz-target", &format!("WorkspacesService.{operation}"))
    }

    /// The AWS JSON face's request to rebuild a WorkSpace.
    pub fn aws_rebuild(id: &str) -> Self {
        let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }] });
        Self::aws("RebuildWorkspaces", body.to_string())
    }

    /// A request of the AWS CBOR face.
    pub fn cbor(operation: &str, body: impl Into<Vec<u8>>) -> Self {
        let path = format!("/service/WorkspacesService/operation/{operation}");
        Self { body: body.into(), ..Self::new("POST", &path) }
            .with("smithy-protocol", "rpc-v2-cbor")
            .with("content-type", "application/cbor")
            .with("accept", "application/cbor")
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Changes the method.
    pub fn by(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Changes the path.
    pub fn at(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Removes a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }
}

/// The API's answer, as received over HTTP.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The headers, without those of the HTTP server (`date`, `content-length`).
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Answer {
    /// An answer of the envelope face.
    pub fn envelope(status: u16, body: &Value) -> Self {
        let answer = Self { status, headers: BTreeMap::new(), body: body.to_string().into() };
        answer.with("content-type", "application/json").with("cache-control", "no-store")
    }

    /// A failure of the envelope face. Formatted by hand because the order of members matters.
    pub fn failure(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            r#"{{"success":false,"error":{{"code":{},"message":{}}}}}"#,
            json!(code),
            json!(message)
        );
        Self { body: body.into(), ..Self::envelope(status, &Value::Null) }
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The body as CBOR.
    pub fn cbor(&self) -> Cbor {
        let mut rest = &self.body[..];
        let value = ciborium::from_reader(&mut rest).expect("CBOR");
        assert!(rest.is_empty(), "{self:?}");
        value
    }

    /// The `data` of a success.
    pub fn data(&self) -> Value {
        let body = self.json();
        assert_eq!(body["success"], true, "{body}");
        body["data"].clone()
    }

    /// The id of the accepted rebuild.
    pub fn id(&self) -> String {
        assert_eq!(self.status, 202, "{self:?}");
        self.data()["id"].as_str().expect("an id").into()
    }
}

/// A listener on a free port, and its URL.
pub async fn listen() -> (TcpListener, String) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    (listener, url)
}

/// The functions' configuration with a DynamoDB at this URL.
pub fn config(dynamodb: &str) -> Config {
    let lookup = |name: &str| {
        let value = match name {
            "WORKSPACES_TABLE" => "workspaces",
            "REBUILDS_TABLE" => "rebuilds",
            "CONTROL_TABLE" => "control",
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
            "AWS_ENDPOINT_URL_DYNAMODB" => dynamodb,
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::from_lookup(lookup).expect("a complete configuration")
}
