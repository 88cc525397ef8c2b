//! What AWS clients expect, whatever protocol they speak: operations, shapes, constraints, errors.
//! (API model: Amazon WorkSpaces, 2015-04-08.)

mod constraints;

use lambda_http::http::StatusCode;
use serde::Serialize;
use serde_with::skip_serializing_none;

use self::constraints::Constraints;
use super::call::Call;
use super::failure::{Code, Failure};
use crate::error::{Fault, InvalidFormat, ListError, RebuildError};
use crate::rebuild::IdempotencyKey;
use crate::service::RebuildRequest;
use crate::workspace::{
    BundleId, Description, DirectoryId, Filter, Page, State, Target, UserName, Workspace,
    WorkspaceId,
};

/// The most ids, and the longest page, of one `DescribeWorkspaces` (API model).
const PAGE: u8 = 25;
/// The header by which all attempts of one SDK call recognise each other.
const INVOCATION_ID: &str = "amz-sdk-invocation-id";
/// Input of `RebuildWorkspaces`: the `WorkspaceId` of each entry.
pub(super) struct RebuildWorkspacesInput {
    pub(super) rebuild_workspace_requests: Option<Vec<Option<String>>>,
}

/// Input of `DescribeWorkspaces`.
pub(super) struct DescribeWorkspacesInput {
    pub(super) workspace_ids: Option<Vec<String>>,
    pub(super) directory_id: Option<String>,
    pub(super) user_name: Option<String>,
    pub(super) bundle_id: Option<String>,
    pub(super) workspace_name: Option<String>,
    pub(super) limit: Option<i64>,
    pub(super) next_token: Option<String>,
}

pub(super) async fn rebuild_workspaces(
    call: &mut Call<'_>,
    input: RebuildWorkspacesInput,
) -> Result<RebuildWorkspacesOutput, Exception> {
    let (id, idempotency_key) = input.check(call.header(INVOCATION_ID))?;
    call.log_line.decoded("RebuildWorkspaces", Some(&id));
    let target = Target::from(id);
    let request = RebuildRequest {
        idempotency_key,
        reason: None,
        maximum_snapshot_age_hours: None,
        caller: call.caller(),
    };
    let (error_code, error) = match call.service.rebuild(&target, request).await {
        Ok(accepted) => {
            call.log_line.accepted(&accepted);
            return Ok(RebuildWorkspacesOutput { failed_requests: vec![] });
        }
        Err(error @ RebuildError::WorkspaceNotFound(_)) => ("ResourceNotFound.Workspace", error),
        Err(error @ (RebuildError::InvalidState { .. } | RebuildError::NotReleased(_))) => {
            ("InvalidResourceState.Workspace", error)
        }
        Err(error @ RebuildError::Protected(_)) => ("OperationNotSupported.Workspace", error),
        Err(error @ RebuildError::KeyReused) => {
            return Err(Exception::combination(error.to_string()));
        }
        Err(error @ RebuildError::OutcomeUnknown { .. }) => {
            // The user sees this after the last retry of the SDK. A new call has another key.
            let message = format!("{error}; check the WorkSpace before you retry");
            let failure = Failure { message, ..error.into() };
            return Err(Exception::internal(failure));
        }
        Err(RebuildError::Fault(fault)) => return Err(fault.into()),
    };
    let error_message = error.to_string();
    call.log_line.failed(error.into());
    let failed = FailedRequest { workspace_id: target.workspace_id, error_code, error_message };
    Ok(RebuildWorkspacesOutput { failed_requests: vec![failed] })
}

impl RebuildWorkspacesInput {
    pub(super) fn check(
        self,
        invocation_id: Option<Result<&str, InvalidFormat>>,
    ) -> Result<(WorkspaceId, Option<IdempotencyKey>), Exception> {
        let ids = self.rebuild_workspace_requests;
        let mut constraints = Constraints::default();
        let list = "rebuildWorkspaceRequests";
        constraints.not_null(list, ids.as_ref());
        constraints.length(list, ids.as_ref().map(Vec::len), 1..=1);
        let mut workspace_id = None;
        for (number, id) in (1..).zip(ids.into_iter().flatten()) {
            let place = format!("{list}.{number}.member.workspaceId");
            constraints.not_null(&place, id.as_ref());
            let id = id.map(WorkspaceId::try_from);
            constraints.pattern(&place, !matches!(id, Some(Err(_))), WorkspaceId::PATTERN);
            workspace_id = id.and_then(Result::ok);
        }
        let key = invocation_id.transpose();
        let key = key.map_err(|error| Exception::validation(format!("{INVOCATION_ID} {error}")))?;
        let key = key.map(IdempotencyKey::from_sdk_invocation).transpose();
        if key.is_err() {
            constraints.broken(INVOCATION_ID, "Member must have 1 to 255 visible characters");
        }
        let workspace_id = constraints.check(workspace_id).map_err(Exception::validation)?;
        Ok((workspace_id, key.ok().flatten()))
    }
}

pub(super) async fn describe_workspaces(
    call: &mut Call<'_>,
    input: DescribeWorkspacesInput,
) -> Result<DescribeWorkspacesOutput, Exception> {
    let (filter, limit, token) = input.check()?;
    call.log_line.decoded("DescribeWorkspaces", None);
    let page = call.service.list_workspaces(&filter, limit, token.as_deref()).await?;
    Ok(page.into())
}

impl DescribeWorkspacesInput {
    pub(super) fn check(self) -> Result<(Filter, u8, Option<String>), Exception> {
        let ids = self.workspace_ids;
        let mut constraints = Constraints::default();
        constraints.length("workspaceIds", ids.as_ref().map(Vec::len), 1..=PAGE.into());
        let ids = ids.map(distinct_ids).transpose();
        if ids.is_err() {
            let pattern = WorkspaceId::PATTERN;
            let member = format!("[Member must satisfy regular expression pattern: {pattern}]");
            let constraint = format!("Member must satisfy constraint: {member}");
            constraints.broken("workspaceIds", &constraint);
        }
        let characters = |text: &Option<String>| Some(text.as_ref()?.chars().count());
        constraints.length("directoryId", characters(&self.directory_id), 10..=65);
        let directory_id = self.directory_id.map(DirectoryId::try_from).transpose();
        constraints.pattern("directoryId", directory_id.is_ok(), DirectoryId::PATTERN);
        constraints.length("userName", characters(&self.user_name), 1..=UserName::MAX_CHARACTERS);
        let user_name = self.user_name.map(UserName::try_from).transpose();
        let bundle_id = self.bundle_id.map(BundleId::try_from).transpose();
        constraints.pattern("bundleId", bundle_id.is_ok(), BundleId::PATTERN);
        constraints.bounds("limit", "value", self.limit, 1..=PAGE.into());
        constraints.length("nextToken", characters(&self.next_token), 1..=2048);
        let limit = u8::try_from(self.limit.unwrap_or(PAGE.into())).ok();
        let limit = constraints.check(limit).map_err(Exception::validation)?;

        if self.workspace_name.is_some() {
            return Err(Exception::combination("WorkspaceName is not supported here"));
        }
        let (ids, directory_id) = (ids.ok().flatten(), directory_id.ok().flatten());
        let (user_name, bundle_id) = (user_name.ok().flatten(), bundle_id.ok().flatten());
        let filter = match (ids, directory_id, user_name, bundle_id) {
            (None, None, None, None) => Filter::All,
            (Some(ids), None, None, None) => Filter::Ids(ids),
            (None, Some(directory_id), user_name, None) => {
                Filter::Directory { directory_id, user_name }
            }
            (None, None, None, Some(bundle_id)) => Filter::Bundle(bundle_id),
            _ => {
                return Err(Exception::combination(
                    "give WorkspaceIds, or DirectoryId with or without UserName, or BundleId, or none of them",
                ));
            }
        };
        Ok((filter, limit, self.next_token))
    }
}

/// Each id once, in the order given: DynamoDB refuses a batch that names a key twice.
fn distinct_ids(texts: Vec<String>) -> Result<Vec<WorkspaceId>, InvalidFormat> {
    let mut ids = Vec::new();
    for text in texts {
        let id = WorkspaceId::try_from(text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Output of `RebuildWorkspaces`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RebuildWorkspacesOutput {
    failed_requests: Vec<FailedRequest>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedRequest {
    workspace_id: WorkspaceId,
    error_code: &'static str,
    error_message: String,
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

/// A failure as an AWS client sees it.
#[derive(Debug)]
pub(super) struct Exception {
    /// The error shape, as in `__type`.
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    pub(super) failure: Failure,
}

impl Exception {
    pub(super) fn new(name: &'static str, status: StatusCode, failure: Failure) -> Self {
        Self { name, status, failure }
    }

    fn validation(message: String) -> Self {
        Self::new("ValidationException", StatusCode::BAD_REQUEST, Failure::invalid(message))
    }

    fn combination(message: impl Into<String>) -> Self {
        let failure = Failure::invalid(message);
        Self::new("InvalidParameterValuesException", StatusCode::BAD_REQUEST, failure)
    }

    pub(super) fn unknown_operation() -> Self {
        let message =
            "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces";
        let failure = Failure::refusal(Code::UnknownOperation, message);
        Self::new("UnknownOperationException", StatusCode::BAD_REQUEST, failure)
    }

    pub(super) fn too_large(failure: Failure) -> Self {
        Self::new("RequestEntityTooLargeException", StatusCode::PAYLOAD_TOO_LARGE, failure)
    }

    fn internal(failure: Failure) -> Self {
        Self::new("InternalFailure", StatusCode::INTERNAL_SERVER_ERROR, failure)
    }
}

impl From<Fault> for Exception {
    fn from(fault: Fault) -> Self {
        let (name, status) = match fault {
            Fault::Throttled(_) => ("ThrottlingException", StatusCode::BAD_REQUEST),
            Fault::Unreachable(_) => {
                ("ServiceUnavailableException", StatusCode::SERVICE_UNAVAILABLE)
            }
            Fault::Internal(_) => return Self::internal(fault.into()),
        };
        Self::new(name, status, fault.into())
    }
}

impl From<ListError> for Exception {
    fn from(error: ListError) -> Self {
        match error {
            ListError::InvalidToken => Self::combination("NextToken is not one of this listing's"),
            ListError::Fault(fault) => fault.into(),
        }
    }
}
