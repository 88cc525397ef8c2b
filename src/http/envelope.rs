//! The JSON envelope face: `{"success":true,"data":…}` and `{"success":false,"error":…}`.

mod data;

use lambda_http::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use self::data::{AcceptedData, ErrorData, RebuildData, RebuildsData, WorkspaceData};
use super::call::{Call, respond};
use super::failure::{Code, Failure, RETRY_SECONDS};
use super::json::{Members, Raw};
use crate::error::{DescribeRebuildError, InvalidFormat, RebuildError};
use crate::rebuild::{IdempotencyKey, Reason, RebuildId};
use crate::service::RebuildRequest;
use crate::workspace::WorkspaceId;

const CONTENT_TYPE: &str = "application/json";
/// Rebuilds on a page of the history.
const DEFAULT_LIMIT: u8 = 25;
const MAX_LIMIT: u8 = 100;
/// Seconds until an open rebuild may have moved on: the reconciler runs once a minute.
const FOLLOW_SECONDS: &str = "60";

type Answer = Result<Response<Body>, Failure>;

pub(super) async fn answer(call: &mut Call<'_>) -> Response<Body> {
    let mut response = match route(call).await {
        Ok(response) => response,
        Err(failure) => {
            let response = encode_failure(&failure);
            call.log_line.failed(failure);
            response
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn route(call: &mut Call<'_>) -> Answer {
    let segments: Vec<_> = call.path().split('/').collect();
    match segments[..] {
        [""] => {
            allow(call, &Method::POST)?;
            rebuild(call).await
        }
        ["workspaces", id] => {
            allow(call, &Method::GET)?;
            describe_workspace(call, id).await
        }
        ["workspaces", id, "rebuilds"] => {
            allow(call, &Method::GET)?;
            list_rebuilds(call, id).await
        }
        ["workspaces", id, "rebuilds", rebuild_id] => {
            allow(call, &Method::GET)?;
            describe_rebuild(call, id, rebuild_id).await
        }
        _ => Err(Failure::refusal(Code::NotFound, "there is nothing at this path")),
    }
}

fn allow(call: &Call<'_>, method: &Method) -> Result<(), Failure> {
    if call.method() == method {
        return Ok(());
    }
    let message = format!("only {method} is allowed here");
    let header = Some(("allow", method.to_string()));
    Err(Failure { header, ..Failure::refusal(Code::MethodNotAllowed, message) })
}

async fn rebuild(call: &mut Call<'_>) -> Answer {
    let (id, request) = decode_rebuild(call)?;
    call.log_line.decoded("RebuildWorkspaces", Some(&id));
    // A rebuild is requested at the API's root; everything else is below it.
    let root = call.client_path();
    let location = |rebuild_id| format!("{root}/workspaces/{id}/rebuilds/{rebuild_id}");
    let has_key = request.idempotency_key.is_some();
    let accepted = match call.service.rebuild(&id, request).await {
        Ok(accepted) => accepted,
        Err(error @ RebuildError::OutcomeUnknown { rebuild_id, .. }) => {
            let advice = if has_key {
                "repeat the request with the same idempotency key"
            } else {
                // An attempt is refused once its signature is older than 15 minutes.
                "it can appear at this answer's location for up to 15 minutes; look there before you retry"
            };
            let message = format!("{error}; {advice}");
            let header = Some(("location", location(rebuild_id)));
            return Err(Failure { message, header, ..error.into() });
        }
        Err(error) => return Err(error.into()),
    };
    call.log_line.accepted(&accepted);

    let data = AcceptedData { id: accepted.rebuild_id, created_at: accepted.created_at };
    let mut response = success(StatusCode::ACCEPTED, data);
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location(accepted.rebuild_id)) {
        headers.insert(LOCATION, location);
    }
    headers.insert(RETRY_AFTER, HeaderValue::from_static(FOLLOW_SECONDS));
    if accepted.is_replay {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Unknown fields are refused: a misspelt destructive request must not go through.
fn decode_rebuild(call: &Call<'_>) -> Result<(WorkspaceId, RebuildRequest), Failure> {
    let body = call.body()?;
    if call.media_type().is_some_and(|media_type| media_type != CONTENT_TYPE) {
        let message = format!("the body must be JSON, with content-type {CONTENT_TYPE}");
        return Err(Failure::refusal(Code::UnsupportedMediaType, message));
    }
    let key = call.header("idempotency-key").transpose();
    let key = key.and_then(|key| key.map(IdempotencyKey::from_client).transpose());
    let idempotency_key = key.map_err(|error| invalid("idempotency-key", &error))?;
    let mut body = Members::parse(body)?;
    let requests = body.take_array("RebuildWorkspaceRequests")?;
    let reason = body.take_string("Reason")?;
    if !body.is_empty() {
        return Err(Failure::invalid(
            "the body has an unknown field; known are RebuildWorkspaceRequests and Reason",
        ));
    }
    let [request] = <[Raw; 1]>::try_from(requests.unwrap_or_default())
        .map_err(|_| Failure::invalid("RebuildWorkspaceRequests must have exactly one entry"))?;
    let place = "RebuildWorkspaceRequests[0]";
    let mut request = Members::read(&request, place)?;
    let id = request.take_string("WorkspaceId")?;
    if !request.is_empty() {
        return Err(Failure::invalid(format!(
            "{place} has an unknown field; known is WorkspaceId"
        )));
    }
    let id = id.ok_or_else(|| Failure::invalid("WorkspaceId must be a string"))?;
    let reason = reason.map(Reason::try_from).transpose();
    let id = workspace_id(&id)?;
    let reason = reason.map_err(|error| invalid("Reason", &error))?;
    Ok((id, RebuildRequest { idempotency_key, reason, caller: call.caller() }))
}

async fn describe_workspace(call: &mut Call<'_>, id: &str) -> Answer {
    let id = workspace_id(id)?;
    call.log_line.decoded("DescribeWorkspace", Some(&id));
    let workspace = call.service.describe_workspace(&id).await?;
    Ok(success(StatusCode::OK, WorkspaceData::new(&workspace)))
}

async fn list_rebuilds(call: &mut Call<'_>, id: &str) -> Answer {
    let id = workspace_id(id)?;
    let limit = limit(call)?;
    let before = next_token(call)?;
    call.log_line.decoded("ListRebuilds", Some(&id));
    let page = call.service.list_rebuilds(&id, limit, before).await?;
    Ok(success(StatusCode::OK, RebuildsData::new(&id, &page)))
}

async fn describe_rebuild(call: &mut Call<'_>, id: &str, rebuild_id: &str) -> Answer {
    let id = workspace_id(id)?;
    // Ids are opaque to clients: a text with another format is the id of no rebuild.
    let rebuild_id =
        RebuildId::try_from(rebuild_id.to_owned()).map_err(|_| DescribeRebuildError::NotFound)?;
    call.log_line.decoded("DescribeRebuild", Some(&id));
    let rebuild = call.service.describe_rebuild(&id, rebuild_id).await?;
    let mut response = success(StatusCode::OK, RebuildData::new(&id, &rebuild));
    if rebuild.is_open() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(FOLLOW_SECONDS));
    }
    Ok(response)
}

fn workspace_id(text: &str) -> Result<WorkspaceId, Failure> {
    WorkspaceId::try_from(text.to_owned()).map_err(|error| invalid("WorkspaceId", &error))
}

fn limit(call: &Call<'_>) -> Result<u8, Failure> {
    let Some(text) = call.query("limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    // `parse` would also accept a sign and leading zeros.
    match text.parse() {
        Ok(limit @ 1..=MAX_LIMIT) if text.starts_with(|first| matches!(first, '1'..='9')) => {
            Ok(limit)
        }
        _ => Err(Failure::invalid(format!("limit must be a number from 1 to {MAX_LIMIT}"))),
    }
}

fn next_token(call: &Call<'_>) -> Result<Option<RebuildId>, Failure> {
    let token = call.query("next_token").map(|token| RebuildId::try_from(token.to_owned()));
    token.transpose().map_err(|_| Failure::invalid("next_token is not one of this listing's"))
}

fn invalid(field: &str, error: &InvalidFormat) -> Failure {
    Failure::invalid(format!("{field} {error}"))
}

fn success(status: StatusCode, data: impl Serialize) -> Response<Body> {
    #[derive(Serialize)]
    struct Success<T> {
        success: bool,
        data: T,
    }
    respond(status, CONTENT_TYPE, &Success { success: true, data })
}

fn encode_failure(failure: &Failure) -> Response<Body> {
    #[derive(Serialize)]
    struct Body<'a> {
        success: bool,
        error: ErrorData<'a>,
    }
    let status = status(failure.code);
    let message = if status == StatusCode::BAD_REQUEST {
        format!("Invalid request parameters: {}", failure.message)
    } else {
        failure.message.clone()
    };
    let error = ErrorData { code: failure.code.into_str(), message: &message };
    let mut response = respond(status, CONTENT_TYPE, &Body { success: false, error });
    let headers = response.headers_mut();
    if let Some((name, value)) = &failure.header
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(*name, value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    }
    response
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::ValidationError => StatusCode::BAD_REQUEST,
        Code::NotFound
        | Code::UnknownOperation
        | Code::WorkspaceNotFound
        | Code::RebuildNotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::InvalidWorkspaceState => StatusCode::CONFLICT,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
