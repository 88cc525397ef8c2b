//! What the reconciler asks of the WorkSpaces API and of KMS and the function itself does not have. A local
//! run answers it for the simulated fleet, so that it can be the fleet of another one, and so that scripts
//! that rebuild WorkSpaces can be tried against it.

use std::collections::BTreeSet;

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rebuild_workspaces::error::WorkspaceError;
use rebuild_workspaces::fleet::simulated;
use rebuild_workspaces::ids::{Target, WorkspaceId};
use rebuild_workspaces::service::Service;
use rebuild_workspaces::timestamp::{EpochSeconds, Timestamp};
use rebuild_workspaces::workspace::{Filter, Workspace};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// A protocol of AWS clients.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Json,
    Cbor,
}

#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Directories,
    Snapshots,
    ConnectionStatus,
    Key,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Directories, Self::Snapshots, Self::ConnectionStatus, Self::Key];

    /// The names of its service and of itself.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Directories => ("WorkspacesService", "DescribeWorkspaceDirectories"),
            Self::Snapshots => ("WorkspacesService", "DescribeWorkspaceSnapshots"),
            Self::ConnectionStatus => ("WorkspacesService", "DescribeWorkspacesConnectionStatus"),
            Self::Key => ("TrentService", "DescribeKey"),
        }
    }

    async fn answer(self, service: &Service, input: Input) -> Result<Output, Failure> {
        let now = OffsetDateTime::now_utc().into();
        match self {
            Self::Directories => {
                let directories = directories(service).await?;
                let directories = directories.iter().map(|id| json!({ "DirectoryId": id }));
                let directories: Vec<_> = directories.collect();
                Ok(Output::Other(json!({ "Directories": directories })))
            }
            Self::Snapshots => {
                let workspace = find(service, input.workspace_id).await?;
                let newest = simulated::snapshot(workspace.simulation.last_snapshot_at, now);
                let newest = newest.map(|at| Snapshot { snapshot_time: EpochSeconds(at) });
                let rebuild_snapshots = newest.into_iter().collect();
                Ok(Output::Snapshots { rebuild_snapshots, restore_snapshots: [] })
            }
            Self::ConnectionStatus => {
                let mut all = Vec::new();
                for id in input.workspace_ids {
                    // AWS leaves out what it does not know.
                    if let Ok(workspace) = find(service, id).await {
                        all.push(connection(&workspace, now));
                    }
                }
                Ok(Output::Other(json!({ "WorkspacesConnectionStatus": all })))
            }
            Self::Key => {
                let is_enabled = simulated::is_enabled(&input.key_id);
                let state = if is_enabled { "Enabled" } else { "Disabled" };
                let key =
                    json!({ "KeyId": input.key_id, "KeyState": state, "Enabled": is_enabled });
                Ok(Output::Other(json!({ "KeyMetadata": key })))
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    workspace_id: String,
    workspace_ids: Vec<String>,
    key_id: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    /// A time has an encoding of its own in CBOR.
    #[serde(rename_all = "PascalCase")]
    Snapshots {
        rebuild_snapshots: Vec<Snapshot>,
        restore_snapshots: [Snapshot; 0],
    },
    Other(Value),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Snapshot {
    snapshot_time: EpochSeconds,
}

#[derive(Serialize)]
struct Failure {
    __type: String,
    message: String,
    #[serde(skip)]
    status: StatusCode,
}

/// The operation that a request asks for, if it is one of these, and the protocol.
pub(crate) fn asked_in(head: &Parts) -> Option<(Operation, Protocol)> {
    Operation::ALL.into_iter().find_map(|operation| Some((operation, protocol(head, operation)?)))
}

fn protocol(head: &Parts, operation: Operation) -> Option<Protocol> {
    let is = |name: HeaderName, value: &str| head.headers.get(name).is_some_and(|is| is == value);
    let (service, name) = operation.names();
    let (protocol, path) = if head.headers.contains_key(SMITHY_PROTOCOL) {
        let path = format!("/service/{service}/operation/{name}");
        let is_cbor = is(SMITHY_PROTOCOL, "rpc-v2-cbor") && !head.headers.contains_key(TARGET);
        (is_cbor.then_some(Protocol::Cbor), path)
    } else {
        let is_json = is(TARGET, &format!("{service}.{name}"));
        (is_json.then_some(Protocol::Json), "/".to_owned())
    };
    protocol.filter(|_| head.method == Method::POST && head.uri.path() == path)
}

/// Answers a request with this body.
pub(crate) async fn answer(
    service: &Service,
    (operation, protocol): (Operation, Protocol),
    body: &[u8],
) -> Response {
    let input: Input = match protocol {
        Protocol::Json => serde_json::from_slice(body).unwrap_or_default(),
        Protocol::Cbor => ciborium::from_reader(body).unwrap_or_default(),
    };
    match operation.answer(service, input).await {
        Ok(output) => encode(StatusCode::OK, protocol, &output),
        Err(failure) => encode(failure.status, protocol, &failure),
    }
}

fn failure(status: StatusCode, name: &str, message: String) -> Failure {
    Failure { __type: format!("com.amazonaws.workspaces#{name}"), message, status }
}

fn internal(error: &impl ToString) -> Failure {
    failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", error.to_string())
}

/// The directories of all WorkSpaces.
async fn directories(service: &Service) -> Result<BTreeSet<String>, Failure> {
    let mut directories = BTreeSet::new();
    let mut token = None;
    loop {
        let page = service.list_workspaces(&Filter::All, 100, token.as_deref()).await;
        let page = page.map_err(|error| internal(&error))?;
        directories.extend(page.items.into_iter().filter_map(|it| it.description.directory_id));
        token = page.next_token;
        if token.is_none() {
            return Ok(directories);
        }
    }
}

async fn find(service: &Service, id: String) -> Result<Workspace, Failure> {
    let bad = StatusCode::BAD_REQUEST;
    let id = WorkspaceId::try_from(id)
        .map_err(|error| failure(bad, "ValidationException", format!("WorkspaceId {error}")))?;
    let workspace = service.describe_workspace(&Target::from(id)).await;
    workspace.map_err(|error| match error {
        WorkspaceError::NotFound(_) => failure(bad, "ResourceNotFoundException", error.to_string()),
        WorkspaceError::Fault(_) => internal(&error),
    })
}

fn connection(workspace: &Workspace, now: Timestamp) -> Value {
    let requested_at = workspace.rebuild().map(|rebuild| rebuild.created_at);
    let state = match simulated::is_connected(workspace.simulation, requested_at, now) {
        Some(true) => "CONNECTED",
        Some(false) => "DISCONNECTED",
        None => "UNKNOWN",
    };
    json!({ "WorkspaceId": workspace.workspace_id, "ConnectionState": state })
}

fn encode(status: StatusCode, protocol: Protocol, answer: &impl Serialize) -> Response {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
    let mut body = vec![];
    match protocol {
        Protocol::Json => {
            insert(CONTENT_TYPE, "application/x-amz-json-1.1");
            serde_json::to_writer(&mut body, answer).expect("a vector takes all bytes");
        }
        Protocol::Cbor => {
            insert(CONTENT_TYPE, "application/cbor");
            insert(SMITHY_PROTOCOL, "rpc-v2-cbor");
            ciborium::into_writer(answer, &mut body).expect("a vector takes all bytes");
        }
    }
    (status, headers, body).into_response()
}
