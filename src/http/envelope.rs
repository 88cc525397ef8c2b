//! The JSON envelope face: `{"success":true,"data":…}` and `{"success":false,"error":…}`.

use lambda_http::http::header::{ALLOW, CACHE_CONTROL, LOCATION, RETRY_AFTER};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::{Value, json};
use serde_with::skip_serializing_none;

use super::json::{Raw, members, parse};
use super::{Call, respond};
use crate::error::Error;
use crate::service::{Command, Outcome, RebuildRequest};
use crate::workspace::{
    Description, IdempotencyKey, Malformed, Reason, Rebuild, RebuildId, State, Status, Timestamp,
    Workspace, WorkspaceId,
};

/// How many rebuilds a page of the history has, unless the client says.
const DEFAULT_LIMIT: u8 = 25;
/// Seconds after which it is worth looking at an open rebuild again: the reconciler's rhythm.
const FOLLOW_AFTER: &str = "60";
/// Seconds after which it is worth trying again.
const TRY_AFTER: &str = "5";

/// What a request asks for.
///
/// # Errors
/// Every row of the contract's table that needs no look at the WorkSpace.
pub fn decode(call: &Call<'_>) -> Result<Command, Error> {
    let segments: Vec<_> = call.path().split('/').collect();
    match segments[..] {
        [""] => {
            expect(call, &Method::POST, "POST")?;
            decode_rebuild(call).map(Command::Rebuild)
        }
        ["workspaces", id] => {
            expect(call, &Method::GET, "GET")?;
            workspace_id(id.to_owned()).map(Command::DescribeWorkspace)
        }
        ["workspaces", id, "rebuilds"] => {
            expect(call, &Method::GET, "GET")?;
            Ok(Command::ListRebuilds {
                workspace_id: workspace_id(id.to_owned())?,
                limit: limit(call)?,
                before: next_token(call)?,
            })
        }
        ["workspaces", id, "rebuilds", rebuild_id] => {
            expect(call, &Method::GET, "GET")?;
            Ok(Command::DescribeRebuild {
                workspace_id: workspace_id(id.to_owned())?,
                // The id is opaque to clients: one of another form is just one that nobody has.
                rebuild_id: RebuildId::try_from(rebuild_id.to_owned())
                    .map_err(|_| Error::RebuildNotFound)?,
            })
        }
        _ => Err(Error::UnknownPath),
    }
}

fn expect(call: &Call<'_>, method: &Method, allow: &'static str) -> Result<(), Error> {
    if call.method() == method { Ok(()) } else { Err(Error::MethodNotAllowed { allow }) }
}

/// Unknown members are refused: a misspelt destructive request must not go through.
fn decode_rebuild(call: &Call<'_>) -> Result<RebuildRequest, Error> {
    let body = call.body()?;
    if call.media_type().is_some_and(|media_type| media_type != "application/json") {
        return Err(Error::UnsupportedMediaType);
    }
    let idempotency_key = match call.header("idempotency-key").transpose()? {
        None => None,
        Some(key) => {
            let key = IdempotencyKey::from_client(key);
            Some(key.map_err(|error| invalid("idempotency-key", &error))?)
        }
    };
    let mut body = parse(body)?;
    let requests = body.take_array("RebuildWorkspaceRequests")?;
    let reason = body.take_string("Reason")?;
    if !body.is_empty() {
        let known = "the body has an unknown field; known are RebuildWorkspaceRequests and Reason";
        return Err(Error::Invalid(known.to_owned()));
    }
    let [request] = <[Raw; 1]>::try_from(requests.unwrap_or_default()).map_err(|_| {
        Error::Invalid("RebuildWorkspaceRequests must have exactly one entry".to_owned())
    })?;
    let place = "RebuildWorkspaceRequests[0]";
    let mut request = members(&request, place)?;
    let id = request.take_string("WorkspaceId")?;
    if !request.is_empty() {
        return Err(Error::Invalid(format!("{place} has an unknown field; known is WorkspaceId")));
    }
    let id = id.ok_or_else(|| Error::Invalid("WorkspaceId must be a string".to_owned()))?;
    let reason = reason.map(Reason::try_from).transpose();
    Ok(RebuildRequest {
        workspace_id: workspace_id(id)?,
        idempotency_key,
        reason: reason.map_err(|error| invalid("Reason", &error))?,
        caller: call.caller(),
    })
}

fn workspace_id(text: String) -> Result<WorkspaceId, Error> {
    WorkspaceId::try_from(text).map_err(|error| invalid("WorkspaceId", &error))
}

fn invalid(field: &str, error: &Malformed) -> Error {
    Error::Invalid(format!("{field} {error}"))
}

fn limit(call: &Call<'_>) -> Result<u8, Error> {
    match call.query("limit").map(str::parse) {
        None => Ok(DEFAULT_LIMIT),
        Some(Ok(limit @ 1..=100)) => Ok(limit),
        Some(_) => Err(Error::Invalid("limit must be a number from 1 to 100".to_owned())),
    }
}

fn next_token(call: &Call<'_>) -> Result<Option<RebuildId>, Error> {
    let token = call.query("next_token").map(|token| RebuildId::try_from(token.to_owned()));
    let not_ours = "next_token is not one of this listing's";
    token.transpose().map_err(|_| Error::Invalid(not_ours.to_owned()))
}

/// The answer to a request, in the envelope.
#[must_use]
pub fn encode(call: &Call<'_>, result: &Result<Outcome, Error>) -> Response<Body> {
    let mut response = match result {
        Ok(outcome) => encode_outcome(call, outcome),
        Err(error) => encode_error(error),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn encode_outcome(call: &Call<'_>, outcome: &Outcome) -> Response<Body> {
    match outcome {
        Outcome::Accepted { workspace_id, rebuild_id, created_at, is_replay } => {
            let data = AcceptedData { id: *rebuild_id, created_at: *created_at };
            let mut response = success(StatusCode::ACCEPTED, data);
            let headers = response.headers_mut();
            // A rebuild is asked for at the API's root, below which everything else is.
            let root = call.client_path();
            let location = format!("{root}/workspaces/{workspace_id}/rebuilds/{rebuild_id}");
            if let Ok(location) = HeaderValue::try_from(location) {
                headers.insert(LOCATION, location);
            }
            headers.insert(RETRY_AFTER, HeaderValue::from_static(FOLLOW_AFTER));
            if *is_replay {
                headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
            }
            response
        }
        Outcome::Rebuild(workspace_id, rebuild) => {
            let mut response = success(StatusCode::OK, RebuildData::new(workspace_id, rebuild));
            if rebuild.status.is_open() {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(FOLLOW_AFTER));
            }
            response
        }
        Outcome::Rebuilds(workspace_id, page) => {
            let rebuilds = page.items.iter().map(|rebuild| RebuildData::new(workspace_id, rebuild));
            let rebuilds = rebuilds.collect();
            let next_token = page.next_token.as_deref();
            success(StatusCode::OK, RebuildsData { rebuilds, next_token })
        }
        Outcome::Workspace(workspace) => success(StatusCode::OK, WorkspaceData::new(workspace)),
        // No request of this face asks for it.
        Outcome::Workspaces(_) => encode_error(&Error::UnknownPath),
    }
}

fn encode_error(error: &Error) -> Response<Body> {
    let status = match error {
        Error::Malformed(_) | Error::Invalid(_) | Error::InvalidCombination(_) => {
            StatusCode::BAD_REQUEST
        }
        // The other face's unknown operation is here what it comes down to.
        Error::WorkspaceNotFound(_)
        | Error::RebuildNotFound
        | Error::UnknownPath
        | Error::UnknownOperation => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        Error::InvalidState { .. } => StatusCode::CONFLICT,
        Error::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::Throttled(_) | Error::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::OutcomeUnknown { .. } => StatusCode::GATEWAY_TIMEOUT,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = if status == StatusCode::BAD_REQUEST {
        format!("Invalid request parameters: {error}")
    } else {
        error.to_string()
    };
    let data = ErrorData { code: error.code(), message: &message };
    let mut response = json_response(status, &Failure { success: false, error: data });
    let headers = response.headers_mut();
    if let Error::MethodNotAllowed { allow } = error {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(TRY_AFTER));
    }
    response
}

fn success(status: StatusCode, data: impl Serialize) -> Response<Body> {
    json_response(status, &Success { success: true, data })
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", body)
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    data: T,
}

#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    error: ErrorData<'a>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct AcceptedData {
    id: RebuildId,
    created_at: Timestamp,
}

#[skip_serializing_none]
#[derive(Serialize)]
struct RebuildsData<'a> {
    rebuilds: Vec<RebuildData<'a>>,
    next_token: Option<&'a str>,
}

#[skip_serializing_none]
#[derive(Serialize)]
struct RebuildData<'a> {
    id: RebuildId,
    workspace_id: &'a WorkspaceId,
    status: Status,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    previous_state: Option<State>,
    requested_by: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<ErrorData<'a>>,
}

impl<'a> RebuildData<'a> {
    fn new(workspace_id: &'a WorkspaceId, rebuild: &'a Rebuild) -> Self {
        Self {
            id: rebuild.id,
            workspace_id,
            status: rebuild.status,
            created_at: rebuild.created_at,
            started_at: rebuild.started_at,
            ended_at: rebuild.ended_at,
            previous_state: rebuild.previous_state,
            requested_by: rebuild.requested_by.as_deref(),
            reason: rebuild.reason.as_deref(),
            error: rebuild.error_code.as_deref().map(|code| ErrorData {
                code,
                message: rebuild.error_message.as_deref().unwrap_or_default(),
            }),
        }
    }
}

#[skip_serializing_none]
#[derive(Serialize)]
struct WorkspaceData<'a> {
    workspace_id: &'a WorkspaceId,
    state: State,
    rebuildable: bool,
    #[serde(flatten)]
    description: Value,
    rebuild: Option<RebuildData<'a>>,
}

impl<'a> WorkspaceData<'a> {
    fn new(workspace: &'a Workspace) -> Self {
        let Workspace { workspace_id, state, rebuild, description, .. } = workspace;
        Self {
            workspace_id,
            state: *state,
            rebuildable: workspace.is_rebuildable(),
            description: described(description),
            rebuild: rebuild.as_ref().map(|rebuild| RebuildData::new(workspace_id, rebuild)),
        }
    }
}

/// What is known of a WorkSpace, by the names of this face: `IpAddress` is `ip_address`.
fn described(description: &Description) -> Value {
    snake_case(json!(description))
}

fn snake_case(value: Value) -> Value {
    let Value::Object(members) = value else {
        return value;
    };
    let renamed = members.into_iter().map(|(name, value)| {
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        (snake, snake_case(value))
    });
    Value::Object(renamed.collect())
}
