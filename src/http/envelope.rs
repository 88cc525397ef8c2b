//! The JSON envelope face: `{"success":true,"data":…}` and `{"success":false,"error":…}`.

mod data;
mod decode;
mod resource;

use lambda_http::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use time::OffsetDateTime;

use self::data::{
    AcceptedData, PauseData, PreviewData, RebuildsData, WorkspaceData, WorkspacesData,
};
use self::decode::{Paging, Wanted};
use self::resource::{Operation, Resource};
use super::body::json::MEDIA_TYPE;
use super::call::Call;
use super::failure::{Code, Failure};
use super::response;
use crate::error::{AcceptError, CancelError, DescribeRebuildError};
use crate::fleet::Fleet;
use crate::ids::Target;
use crate::preview::Previewer;
use crate::rebuild::RebuildId;
use crate::representation::{ErrorData, RebuildData};
use crate::service::{RebuildRequest, Service};
use crate::workspace::Workspace;

/// Seconds until an open rebuild may have moved on: the reconciler runs once a minute.
const FOLLOW_SECONDS: &str = "60";

type Answer = Result<Response<Body>, Failure>;

/// Answers for the API function.
pub(super) async fn answer(service: &Service, call: &mut Call<'_>) -> Response<Body> {
    let answer = route(service, call).await;
    finish(call, answer)
}

/// Answers for the preview function, which has one operation.
pub(super) async fn answer_preview<F: Fleet, C: Fn() -> OffsetDateTime>(
    previewer: &Previewer<F, C>,
    call: &mut Call<'_>,
) -> Response<Body> {
    let answer = preview(previewer, call).await;
    finish(call, answer)
}

fn finish(call: &mut Call<'_>, answer: Answer) -> Response<Body> {
    let mut response = answer.unwrap_or_else(|failure| {
        let response = encode_failure(&failure);
        call.log_line.failed(failure);
        response
    });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a request asks for.
fn operation<'a>(call: &Call<'a>) -> Result<Operation<'a>, Failure> {
    call.check_age()?;
    let resource = Resource::at(call.path()).filter(|_| call.is_path_literal());
    let operation = resource.ok_or_else(not_here)?.operation(call.method())?;
    decode::check_query(call, operation.parameters())?;
    Ok(operation)
}

fn not_here() -> Failure {
    Failure::refusal(Code::NotFound, "there is nothing at this path")
}

async fn preview<F: Fleet, C: Fn() -> OffsetDateTime>(
    previewer: &Previewer<F, C>,
    call: &mut Call<'_>,
) -> Answer {
    let Operation::Preview(named) = operation(call)? else { return Err(not_here()) };
    let target = named.target()?;
    call.log_line.decoded("PreviewRebuild", Some(&target.workspace_id));
    let preview = previewer.preview(&target).await?;
    Ok(success(StatusCode::OK, PreviewData::new(&target.workspace_id, preview)))
}

async fn route(service: &Service, call: &mut Call<'_>) -> Answer {
    match operation(call)? {
        Operation::RebuildInBody => {
            let (target, request) = decode::rebuild_by_body(call)?;
            let rebuilds =
                format!("{}/workspaces/{}/rebuilds", call.client_path(), target.workspace_id);
            rebuild(service, call, &target, request, &rebuilds).await
        }
        Operation::Rebuild(named) => {
            let (target, request) = (named.target()?, decode::rebuild_by_path(call)?);
            rebuild(service, call, &target, request, call.client_path()).await
        }
        Operation::ListRebuilds(named) => list_rebuilds(service, call, &named.target()?).await,
        Operation::DescribeRebuild(named, id) => {
            describe_rebuild(service, call, &named.target()?, id).await
        }
        Operation::CancelRebuild(named, id) => {
            cancel_rebuild(service, call, &named.target()?, id).await
        }
        Operation::DescribePause => describe_pause(service, call).await,
        Operation::Pause => pause(service, call).await,
        Operation::Resume => resume(service, call).await,
        Operation::ListAllRebuilds => list_all_rebuilds(service, call).await,
        Operation::ListWorkspaces(directory) => list_workspaces(service, call, directory).await,
        Operation::DescribeWorkspace(named) => {
            describe_workspace(service, call, &named.target()?).await
        }
        // API Gateway has a route of its own for it, to the preview function.
        Operation::Preview(_) => Err(not_here()),
        Operation::Protect(named) => protect(service, call, &named.target()?).await,
        Operation::Unprotect(named) => unprotect(service, call, &named.target()?).await,
    }
}

/// Requests a rebuild; `rebuilds` is the path of the WorkSpace's rebuilds, as the client sees it.
async fn rebuild(
    service: &Service,
    call: &mut Call<'_>,
    target: &Target,
    request: RebuildRequest,
    rebuilds: &str,
) -> Answer {
    call.log_line.decoded("RebuildWorkspaces", Some(&target.workspace_id));
    let location = |id| format!("{rebuilds}/{id}");
    let has_key = request.idempotency_key.is_some();
    let accepted = match service.accept(target, request).await {
        Ok(accepted) => accepted,
        Err(error @ AcceptError::OutcomeUnknown { rebuild_id, .. }) => {
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

async fn cancel_rebuild(
    service: &Service,
    call: &mut Call<'_>,
    target: &Target,
    rebuild_id: &str,
) -> Answer {
    let id = &target.workspace_id;
    let rebuild_id = to_rebuild_id(rebuild_id).ok_or(CancelError::NotFound)?;
    call.log_line.decoded("CancelRebuild", Some(id));
    let rebuild = service.cancel_rebuild(target, rebuild_id, call.caller()).await?;
    Ok(success(StatusCode::OK, RebuildData::new(id, &rebuild, None)))
}

async fn protect(service: &Service, call: &mut Call<'_>, target: &Target) -> Answer {
    let reason = decode::only_reason(call)?;
    call.log_line.decoded("ProtectWorkspace", Some(&target.workspace_id));
    let workspace = service.protect(target, reason, call.caller()).await?;
    let is_paused = service.is_paused(workspace.rebuild()).await;
    Ok(success(StatusCode::OK, WorkspaceData::new(&workspace, is_paused)))
}

async fn unprotect(service: &Service, call: &mut Call<'_>, target: &Target) -> Answer {
    call.log_line.decoded("UnprotectWorkspace", Some(&target.workspace_id));
    let workspace = service.unprotect(target, call.caller()).await?;
    let is_paused = service.is_paused(workspace.rebuild()).await;
    Ok(success(StatusCode::OK, WorkspaceData::new(&workspace, is_paused)))
}

async fn describe_pause(service: &Service, call: &mut Call<'_>) -> Answer {
    call.log_line.decoded("DescribePause", None);
    let output = service.describe_pause().await?;
    Ok(success(StatusCode::OK, PauseData::new(&output)))
}

async fn pause(service: &Service, call: &mut Call<'_>) -> Answer {
    let reason = decode::only_reason(call)?;
    call.log_line.decoded("PauseHandOvers", None);
    let output = service.pause(reason, call.caller()).await?;
    Ok(success(StatusCode::OK, PauseData::new(&output)))
}

async fn resume(service: &Service, call: &mut Call<'_>) -> Answer {
    call.log_line.decoded("ResumeHandOvers", None);
    let output = service.resume(call.caller()).await?;
    Ok(success(StatusCode::OK, PauseData::new(&output)))
}

async fn describe_workspace(service: &Service, call: &mut Call<'_>, target: &Target) -> Answer {
    call.log_line.decoded("DescribeWorkspace", Some(&target.workspace_id));
    let workspace = service.describe_workspace(target).await?;
    let is_paused = service.is_paused(workspace.rebuild()).await;
    Ok(success(StatusCode::OK, WorkspaceData::new(&workspace, is_paused)))
}

async fn list_workspaces(
    service: &Service,
    call: &mut Call<'_>,
    directory: Option<&str>,
) -> Answer {
    let filter = decode::filter(call, directory)?;
    let Paging { limit, token } = decode::paging(call)?;
    call.log_line.decoded("ListWorkspaces", None);
    let page = service.list_workspaces(&filter, limit, token).await?;
    let rebuilds = page.items.iter().filter_map(Workspace::rebuild);
    let is_paused = service.is_paused(rebuilds).await;
    Ok(success(StatusCode::OK, WorkspacesData::new(&page, is_paused)))
}

async fn list_all_rebuilds(service: &Service, call: &mut Call<'_>) -> Answer {
    let wanted = decode::wanted_rebuilds(call)?;
    let Paging { limit, token } = decode::paging(call)?;
    match wanted {
        Wanted::Open(status) => {
            call.log_line.decoded("ListOpenRebuilds", None);
            let page = service.list_open_rebuilds(status.as_ref(), limit, token).await?;
            let rebuilds = page.items.iter().filter_map(Workspace::rebuild);
            let is_paused = service.is_paused(rebuilds).await;
            Ok(success(StatusCode::OK, RebuildsData::of_workspaces(&page, is_paused)))
        }
        Wanted::EndedOn(day) => {
            call.log_line.decoded("ListEndedRebuilds", None);
            let page = service.list_ended_rebuilds(day, limit, token).await?;
            Ok(success(StatusCode::OK, RebuildsData::of_all(&page)))
        }
    }
}

async fn list_rebuilds(service: &Service, call: &mut Call<'_>, target: &Target) -> Answer {
    let Paging { limit, token } = decode::paging(call)?;
    call.log_line.decoded("ListRebuilds", Some(&target.workspace_id));
    let page = service.list_rebuilds(target, limit, token).await?;
    let is_paused = service.is_paused(&page.items).await;
    Ok(success(StatusCode::OK, RebuildsData::new(&target.workspace_id, &page, is_paused)))
}

async fn describe_rebuild(
    service: &Service,
    call: &mut Call<'_>,
    target: &Target,
    rebuild_id: &str,
) -> Answer {
    let rebuild_id = to_rebuild_id(rebuild_id).ok_or(DescribeRebuildError::NotFound)?;
    call.log_line.decoded("DescribeRebuild", Some(&target.workspace_id));
    let rebuild = service.describe_rebuild(target, rebuild_id).await?;
    let is_paused = service.is_paused([&rebuild]).await;
    let data = RebuildData::new(&target.workspace_id, &rebuild, is_paused);
    let mut response = success(StatusCode::OK, data);
    if rebuild.ending().is_none() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(FOLLOW_SECONDS));
    }
    Ok(response)
}

/// Ids are opaque to clients: a text with another format is the id of no rebuild.
fn to_rebuild_id(text: &str) -> Option<RebuildId> {
    RebuildId::try_from(text.to_owned()).ok()
}

fn success(status: StatusCode, data: impl Serialize) -> Response<Body> {
    #[derive(Serialize)]
    struct Success<T> {
        success: bool,
        data: T,
    }
    response::json(status, MEDIA_TYPE, &Success { success: true, data })
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
    let mut response = response::json(status, MEDIA_TYPE, &Body { success: false, error });
    if let Some((name, value)) = &failure.header
        && let Ok(value) = HeaderValue::from_str(value)
    {
        response.headers_mut().insert(*name, value);
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
        Code::InvalidWorkspaceState | Code::WorkspaceProtected | Code::RebuildNotCancellable => {
            StatusCode::CONFLICT
        }
        Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Code::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
