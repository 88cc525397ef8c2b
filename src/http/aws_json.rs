//! The AWS JSON 1.1 face: what stock AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>)

use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::json::{Members, members, parse, take_array, take_integer, take_string};
use super::{Call, respond};
use crate::error::Error;
use crate::service::{Command, Outcome, RebuildRequest};
use crate::store::Filter;
use crate::workspace::{Description, IdempotencyKey, State, Workspace, WorkspaceId};

/// The most ids, and the longest page, of one `DescribeWorkspaces` (API model).
const PAGE: u8 = 25;

/// What a request asks for.
///
/// # Errors
/// Every row of the contract's table that needs no look at a WorkSpace.
pub fn decode(call: &Call<'_>) -> Result<Command, Error> {
    if call.method() != Method::POST || !call.path().is_empty() {
        return Err(Error::UnknownOperation);
    }
    let target = call.header("x-amz-target").transpose()?.unwrap_or_default();
    match target.strip_prefix("WorkspacesService.") {
        Some("RebuildWorkspaces") => decode_rebuild(call).map(Command::Rebuild),
        Some("DescribeWorkspaces") => decode_describe(call),
        Some(_) | None => Err(Error::UnknownOperation),
    }
}

fn decode_rebuild(call: &Call<'_>) -> Result<RebuildRequest, Error> {
    let mut body = parse(call.body()?)?;
    let requests = take_array(&mut body, "RebuildWorkspaceRequests")?;
    let mut ids = Vec::new();
    for request in requests.iter().flatten() {
        let mut request = members(request.clone(), "RebuildWorkspaceRequests")?;
        ids.push(take_string(&mut request, "WorkspaceId")?);
    }
    let mut constraints = Constraints::default();
    let list = "rebuildWorkspaceRequests";
    if requests.is_none() {
        constraints.broken(list, "Member must not be null");
    }
    constraints.length(list, requests.as_deref(), 1);
    let mut workspace_ids = Vec::new();
    for (number, id) in (1..).zip(ids) {
        let place = format!("{list}.{number}.member.workspaceId");
        match id {
            Some(id) => workspace_ids.extend(constraints.workspace_id(&place, id)),
            None => constraints.broken(&place, "Member must not be null"),
        }
    }
    let key = match call.header("amz-sdk-invocation-id").transpose()? {
        None => None,
        Some(id) => {
            let key = IdempotencyKey::from_sdk_invocation(id);
            let length = "Member must have 1 to 255 visible ASCII characters";
            key.map_err(|_| constraints.broken("amz-sdk-invocation-id", length)).ok()
        }
    };
    constraints.check()?;
    let workspace_id = workspace_ids.pop();
    Ok(RebuildRequest {
        workspace_id: workspace_id.ok_or_else(|| Error::Invalid("no WorkSpace".to_owned()))?,
        idempotency_key: key,
        reason: None,
        caller: call.caller(),
    })
}

fn decode_describe(call: &Call<'_>) -> Result<Command, Error> {
    let mut body = parse(call.body()?)?;
    let ids = take_strings(&mut body, "WorkspaceIds")?;
    let directory_id = take_string(&mut body, "DirectoryId")?;
    let user_name = take_string(&mut body, "UserName")?;
    let bundle_id = take_string(&mut body, "BundleId")?;
    let limit = take_integer(&mut body, "Limit")?;
    let token = take_string(&mut body, "NextToken")?;
    let workspace_name = take_string(&mut body, "WorkspaceName")?;

    let mut constraints = Constraints::default();
    constraints.length("workspaceIds", ids.as_deref(), PAGE.into());
    let mut workspace_ids = Vec::new();
    for (number, id) in (1..).zip(ids.iter().flatten()) {
        let place = format!("workspaceIds.{number}.member");
        workspace_ids.extend(constraints.workspace_id(&place, id.clone()));
    }
    if directory_id.as_deref().is_some_and(|id| !is_directory_id(id)) {
        constraints.pattern("directoryId", r"^(d-[0-9a-f]{8,63}$)|(wsd-[0-9a-z]{8,63}$)");
    }
    constraints.text_length("userName", user_name.as_deref(), 63);
    if bundle_id.as_deref().is_some_and(|id| !is_id(id, "wsb-", u8::is_ascii_lowercase)) {
        constraints.pattern("bundleId", "^wsb-[0-9a-z]{8,63}$");
    }
    if limit.is_some_and(|limit| limit < 1) {
        constraints.broken("limit", "Member must have value greater than or equal to 1");
    }
    if limit.is_some_and(|limit| limit > PAGE.into()) {
        constraints.broken("limit", "Member must have value less than or equal to 25");
    }
    constraints.text_length("nextToken", token.as_deref(), 2048);
    constraints.check()?;

    if workspace_name.is_some() {
        return Err(Error::InvalidCombination("WorkspaceName is not supported here"));
    }
    let filter = match (ids, directory_id, user_name, bundle_id) {
        (None, None, None, None) => Filter::All,
        (Some(_), None, None, None) => {
            let mut seen = std::collections::HashSet::new();
            workspace_ids.retain(|id| seen.insert(id.clone()));
            Filter::Ids(workspace_ids)
        }
        (None, Some(directory_id), user_name, None) => {
            Filter::Directory { directory_id, user_name }
        }
        (None, None, None, Some(bundle_id)) => Filter::Bundle(bundle_id),
        _ => {
            return Err(Error::InvalidCombination(
                "give WorkspaceIds, or DirectoryId with or without UserName, or BundleId, or none of them",
            ));
        }
    };
    let limit = limit.and_then(|limit| u8::try_from(limit).ok()).unwrap_or(PAGE);
    Ok(Command::DescribeWorkspaces { filter, limit, token })
}

fn take_strings(body: &mut Members, name: &str) -> Result<Option<Vec<String>>, Error> {
    let Some(values) = take_array(body, name)? else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        Value::String(text) => Ok(text),
        _ => Err(super::json::wrong_type(name, "an array of strings")),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

/// A prefix and 8 to 63 digits or letters, as the API model's ids are.
fn is_id(text: &str, prefix: &str, is_letter: fn(&u8) -> bool) -> bool {
    text.strip_prefix(prefix).is_some_and(|tail| {
        (8..=63).contains(&tail.len())
            && tail.bytes().all(|byte| byte.is_ascii_digit() || is_letter(&byte))
    })
}

fn is_directory_id(text: &str) -> bool {
    is_id(text, "d-", |byte| matches!(byte, b'a'..=b'f'))
        || is_id(text, "wsd-", u8::is_ascii_lowercase)
}

/// The constraints of the API model that a request breaks, worded as AWS words them. The values
/// are left out, as AWS leaves them out of sensitive members: no answer repeats raw input.
#[derive(Default)]
struct Constraints(Vec<String>);

impl Constraints {
    fn broken(&mut self, place: &str, constraint: &str) {
        self.0.push(format!("Value at '{place}' failed to satisfy constraint: {constraint}"));
    }

    fn pattern(&mut self, place: &str, pattern: &str) {
        self.broken(place, &format!("Member must satisfy regular expression pattern: {pattern}"));
    }

    fn length<T>(&mut self, place: &str, list: Option<&[T]>, most: usize) {
        self.bounds(place, list.map(<[T]>::len), most);
    }

    fn text_length(&mut self, place: &str, text: Option<&str>, most: usize) {
        self.bounds(place, text.map(|text| text.chars().count()), most);
    }

    fn bounds(&mut self, place: &str, length: Option<usize>, most: usize) {
        match length {
            Some(0) => self.broken(place, "Member must have length greater than or equal to 1"),
            Some(length) if length > most => {
                let constraint = format!("Member must have length less than or equal to {most}");
                self.broken(place, &constraint);
            }
            Some(_) | None => {}
        }
    }

    fn workspace_id(&mut self, place: &str, text: String) -> Option<WorkspaceId> {
        let id = WorkspaceId::try_from(text);
        id.map_err(|_| self.pattern(place, WorkspaceId::PATTERN)).ok()
    }

    fn check(self) -> Result<(), Error> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(Error::Invalid(format!("1 validation error detected: {}", self.0[0]))),
            count => {
                let all = self.0.join("; ");
                Err(Error::Invalid(format!("{count} validation errors detected: {all}")))
            }
        }
    }
}

/// The answer to a request, as an AWS client reads it.
#[must_use]
pub fn encode(call: &Call<'_>, result: &Result<Outcome, Error>) -> Response<Body> {
    let mut response = match result {
        Ok(Outcome::Accepted { .. }) => success(&RebuildResult { failed_requests: vec![] }),
        Ok(Outcome::Workspaces(page)) => success(&DescribeResult {
            workspaces: page.items.iter().map(WorkspaceShape::from).collect(),
            next_token: page.next_token.as_deref(),
        }),
        // No request of this face asks for these.
        Ok(Outcome::Rebuild(..) | Outcome::Rebuilds(..) | Outcome::Workspace(_)) => {
            encode_error(&Error::UnknownOperation)
        }
        Err(error) => encode_error(error),
    };
    if let Some(id) = call.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn encode_error(error: &Error) -> Response<Body> {
    let (status, name) = match error {
        Error::Malformed(_) => (StatusCode::BAD_REQUEST, "SerializationException"),
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, "ValidationException"),
        Error::InvalidCombination(_) => {
            (StatusCode::BAD_REQUEST, "InvalidParameterValuesException")
        }
        // The errors of the other face's paths come down to this one here.
        Error::UnknownOperation
        | Error::UnknownPath
        | Error::MethodNotAllowed { .. }
        | Error::UnsupportedMediaType
        | Error::RebuildNotFound => (StatusCode::BAD_REQUEST, "UnknownOperationException"),
        Error::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"),
        Error::WorkspaceNotFound(id) => {
            return failed_request(id, "ResourceNotFound.Workspace", error);
        }
        Error::InvalidState { workspace_id, .. } => {
            return failed_request(workspace_id, "InvalidResourceState.Workspace", error);
        }
        Error::Throttled(_) => (StatusCode::BAD_REQUEST, "ThrottlingException"),
        Error::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
        Error::OutcomeUnknown { .. } | Error::Internal(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure")
        }
    };
    let body = ErrorShape { __type: name, message: &error.to_string() };
    let mut response = respond(status, "application/x-amz-json-1.1", &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
    response
}

fn failed_request(id: &WorkspaceId, code: &str, error: &Error) -> Response<Body> {
    let failed =
        FailedRequest { workspace_id: id, error_code: code, error_message: error.to_string() };
    success(&RebuildResult { failed_requests: vec![failed] })
}

fn success(body: &impl Serialize) -> Response<Body> {
    respond(StatusCode::OK, "application/x-amz-json-1.1", body)
}

#[derive(Serialize)]
struct ErrorShape<'a> {
    __type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RebuildResult<'a> {
    failed_requests: Vec<FailedRequest<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailedRequest<'a> {
    workspace_id: &'a WorkspaceId,
    error_code: &'a str,
    error_message: String,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeResult<'a> {
    workspaces: Vec<WorkspaceShape<'a>>,
    next_token: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WorkspaceShape<'a> {
    workspace_id: &'a WorkspaceId,
    state: State,
    #[serde(flatten)]
    description: &'a Description,
}

impl<'a> From<&'a Workspace> for WorkspaceShape<'a> {
    fn from(workspace: &'a Workspace) -> Self {
        Self {
            workspace_id: &workspace.workspace_id,
            state: workspace.state,
            description: &workspace.description,
        }
    }
}
