//! `DescribeWorkspaceSnapshots` of the simulated fleet. The function itself does not have this
//! operation; a local run answers it, so that it can be the fleet of another one.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rebuild_workspaces::fleet::simulated;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::workspace::{Target, WorkspaceId};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// The target of the operation in AWS JSON.
pub const TARGET: &str = "WorkspacesService.DescribeWorkspaceSnapshots";

/// Answers a request with this body.
pub async fn answer(service: &Service, body: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = body["WorkspaceId"].as_str().unwrap_or_default().to_owned();
    let (status, answer) = match WorkspaceId::try_from(id).map(Target::from) {
        Err(error) => {
            let message = format!("WorkspaceId {error}");
            (StatusCode::BAD_REQUEST, failure("ValidationException", &message))
        }
        Ok(target) => match service.describe_workspace(&target).await {
            Err(error) => {
                (StatusCode::BAD_REQUEST, failure("ResourceNotFoundException", &error.to_string()))
            }
            Ok(workspace) => {
                let snapshot = simulated::snapshot(&workspace, OffsetDateTime::now_utc().into());
                let snapshot = snapshot.map(|at| json!({ "SnapshotTime": at.epoch_seconds() }));
                let snapshots: Vec<_> = snapshot.into_iter().collect();
                (StatusCode::OK, json!({ "RebuildSnapshots": snapshots, "RestoreSnapshots": [] }))
            }
        },
    };
    let headers = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    (status, headers, answer.to_string()).into_response()
}

fn failure(name: &str, message: &str) -> Value {
    json!({ "__type": name, "message": message })
}
