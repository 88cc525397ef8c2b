//! `DescribeWorkspaceSnapshots` of the simulated fleet, in both protocols of AWS. The function itself
//! does not have this operation; a local run answers it, so that it can be the fleet of another one.

use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rebuild_workspaces::error::WorkspaceError;
use rebuild_workspaces::fleet::simulated;
use rebuild_workspaces::ids::{Target, WorkspaceId};
use rebuild_workspaces::service::Service;
use rebuild_workspaces::timestamp::EpochSeconds;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const OPERATION: &str = "DescribeWorkspaceSnapshots";
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

/// A protocol of AWS clients.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Json,
    Cbor,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    workspace_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    rebuild_snapshots: Vec<Snapshot>,
    restore_snapshots: [Snapshot; 0],
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

/// The protocol in which a request asks for this operation, if it does.
pub(crate) fn asked_in(head: &Parts) -> Option<Protocol> {
    let is = |name: HeaderName, value: &str| head.headers.get(name).is_some_and(|is| is == value);
    let target = HeaderName::from_static("x-amz-target");
    let (protocol, path) = if head.headers.contains_key(SMITHY_PROTOCOL) {
        let path = format!("/service/WorkspacesService/operation/{OPERATION}");
        let is_cbor = is(SMITHY_PROTOCOL, "rpc-v2-cbor") && !head.headers.contains_key(target);
        (is_cbor.then_some(Protocol::Cbor), path)
    } else {
        let is_json = is(target, &format!("WorkspacesService.{OPERATION}"));
        (is_json.then_some(Protocol::Json), "/".to_owned())
    };
    protocol.filter(|_| head.method == Method::POST && head.uri.path() == path)
}

/// Answers a request with this body.
pub(crate) async fn answer(service: &Service, protocol: Protocol, body: &[u8]) -> Response {
    let input: Input = match protocol {
        Protocol::Json => serde_json::from_slice(body).unwrap_or_default(),
        Protocol::Cbor => ciborium::from_reader(body).unwrap_or_default(),
    };
    match newest(service, input.workspace_id).await {
        Ok(rebuild_snapshots) => {
            let output = Output { rebuild_snapshots, restore_snapshots: [] };
            encode(StatusCode::OK, protocol, &output)
        }
        Err(failure) => encode(failure.status, protocol, &failure),
    }
}

async fn newest(service: &Service, id: String) -> Result<Vec<Snapshot>, Failure> {
    let failure = |status, name, message| {
        let __type = format!("com.amazonaws.workspaces#{name}");
        Failure { __type, message, status }
    };
    let bad = StatusCode::BAD_REQUEST;
    let id = WorkspaceId::try_from(id)
        .map_err(|error| failure(bad, "ValidationException", format!("WorkspaceId {error}")))?;
    let workspace = service.describe_workspace(&Target::from(id)).await;
    let workspace = workspace.map_err(|error| match error {
        WorkspaceError::NotFound(_) => failure(bad, "ResourceNotFoundException", error.to_string()),
        WorkspaceError::Fault(_) => {
            failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", error.to_string())
        }
    })?;
    let newest =
        simulated::snapshot(workspace.last_simulated_snapshot_at, OffsetDateTime::now_utc().into());
    Ok(newest.map(|at| Snapshot { snapshot_time: EpochSeconds(at) }).into_iter().collect())
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
