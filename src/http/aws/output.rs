//! Outputs, as the API model has them.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::ids::WorkspaceId;
use crate::state::State;
use crate::workspace::{Description, Page, Workspace};

/// The output of an operation.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Output {
    RebuildWorkspaces(RebuildWorkspacesOutput),
    DescribeWorkspaces(DescribeWorkspacesOutput),
}

/// Output of `RebuildWorkspaces`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RebuildWorkspacesOutput {
    pub(super) failed_requests: Vec<FailedRequest>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FailedRequest {
    pub(super) workspace_id: WorkspaceId,
    pub(super) error_code: &'static str,
    pub(super) error_message: String,
}

/// Output of `DescribeWorkspaces`.
#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeWorkspacesOutput {
    workspaces: Vec<WorkspaceShape>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WorkspaceShape {
    workspace_id: WorkspaceId,
    state: State,
    #[serde(flatten)]
    description: Description,
}

impl From<Page<Workspace>> for DescribeWorkspacesOutput {
    fn from(page: Page<Workspace>) -> Self {
        let shape = |workspace: Workspace| {
            let Workspace { workspace_id, state, description, .. } = workspace;
            WorkspaceShape { workspace_id, state, description }
        };
        Self {
            workspaces: page.items.into_iter().map(shape).collect(),
            next_token: page.next_token,
        }
    }
}
