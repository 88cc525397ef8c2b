//! HTTP as API Gateway hands it over: which face a request is for, its size, its log line.
//!
//! The two faces ([`envelope`], [`aws_json`]) are a `decode` and an `encode` each, around the same
//! [`Service`]. Neither ever answers a request of the other.

pub mod aws_json;
pub mod envelope;
mod json;

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Instant;

use aws_sdk_dynamodb::error::DisplayErrorContext;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayProxyRequestContext,
};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{
    Adapter, Body, Context, IntoResponse, LambdaEvent, Request, RequestExt, Response, Service as _,
    service_fn,
};
use serde::Serialize;
use tracing::{error, info};

use crate::error::Error;
use crate::service::{Caller, Command, Outcome, Service};
use crate::workspace::WorkspaceId;

/// The largest body that is read, in bytes; [`Error::PayloadTooLarge`] says it.
const BODY_LIMIT: usize = 16 * 1024;

/// Answers one request, and logs one line about it.
pub async fn handle(service: &Service, request: Request) -> Reply {
    let start = Instant::now();
    let call = Call::new(&request);
    let face = call.face();
    let (operation, workspace_id, result) = match face.decode(&call) {
        Ok(command) => {
            let (operation, workspace_id) = describe(&command);
            (operation, workspace_id, service.execute(command).await)
        }
        Err(error) => ("none", None, Err(error)),
    };
    let response = face.encode(&call, &result);
    log(&call, operation, workspace_id.as_ref(), &result, response.status(), start);
    Reply(response)
}

/// The function as Lambda calls it: an API Gateway event in, Lambda's answer out.
///
/// `lambda_http` by itself parses each event twice, to find out which service has sent it.
///
/// # Errors
/// None: every failure is an answer.
pub async fn invoke(
    service: &Service,
    event: LambdaEvent<ApiGatewayProxyRequest>,
) -> Result<impl Serialize + use<>, Infallible> {
    let LambdaEvent { payload, context } = event;
    let event = LambdaEvent::new(LambdaRequest::ApiGatewayV1(payload), context);
    let handler = service_fn(async |request| Ok(handle(service, request).await));
    Adapter::from(handler).call(event).await
}

/// Takes a request through the function, unlogged, so that the first real one meets code that has
/// run: during init Lambda gives a full core, afterwards a share of one. The service is to be
/// over [`offline`](crate::config::offline): it goes all the way except onto the wire.
pub async fn rehearse(service: &Service) {
    const EVENT: &str = include_str!("../events/accepted.json");
    let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    if let Ok(event) = serde_json::from_str(EVENT) {
        let Ok(answer) = invoke(service, LambdaEvent::new(event, Context::default())).await;
        let _ = serde_json::to_vec(&answer);
    }
}

/// A response that goes out as the text that it is. Of a bare `Response`, `lambda_http` makes
/// base64 unless it knows the content type as text, and it doesn't know the AWS JSON face's.
#[derive(Debug)]
pub struct Reply(pub Response<Body>);

impl IntoResponse for Reply {
    fn into_response(self) -> ResponseFuture {
        Box::pin(std::future::ready(self.0))
    }
}

type ResponseFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// The two forms of the API.
#[derive(Clone, Copy)]
enum Face {
    Envelope,
    AwsJson,
}

impl Face {
    fn decode(self, call: &Call<'_>) -> Result<Command, Error> {
        match self {
            Self::Envelope => envelope::decode(call),
            Self::AwsJson => aws_json::decode(call),
        }
    }

    fn encode(self, call: &Call<'_>, result: &Result<Outcome, Error>) -> Response<Body> {
        match self {
            Self::Envelope => envelope::encode(call, result),
            Self::AwsJson => aws_json::encode(call, result),
        }
    }
}

/// A request, as the faces see it.
pub struct Call<'a> {
    request: &'a Request,
    context: Option<&'a ApiGatewayProxyRequestContext>,
}

impl<'a> Call<'a> {
    fn new(request: &'a Request) -> Self {
        let context = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(context)) => Some(context),
            Some(_) | None => None,
        };
        Self { request, context }
    }

    /// The face that it is for: an AWS client says so by a target or by its content type.
    fn face(&self) -> Face {
        let is_aws = self.header("x-amz-target").is_some()
            || self.media_type().as_deref() == Some("application/x-amz-json-1.1");
        if is_aws { Face::AwsJson } else { Face::Envelope }
    }

    /// The last value of a header; `Some(Err)` if it is not visible ASCII.
    fn header(&self, name: &str) -> Option<Result<&'a str, Error>> {
        let value = self.request.headers().get_all(name).iter().next_back()?;
        Some(value.to_str().map_err(|_| Error::Invalid(format!("{name} must be visible ASCII"))))
    }

    /// The content type without its parameters, in lower case.
    fn media_type(&self) -> Option<String> {
        let value = self.header(CONTENT_TYPE.as_str())?.unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        Some(essence.trim().to_ascii_lowercase())
    }

    fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path below the API's root, without slashes at its ends: what the route `/{proxy+}`
    /// caught. (The event's own path has a custom domain's base path in front.)
    fn path(&self) -> &str {
        let parameters = self.request.path_parameters_ref();
        parameters.and_then(|parameters| parameters.first("proxy")).unwrap_or_default()
    }

    /// The request's path as the client sees it, stage or base path included, without a slash at
    /// its end.
    fn client_path(&self) -> &str {
        let seen = self.context.and_then(|context| context.path.as_deref());
        seen.unwrap_or_default().trim_end_matches('/')
    }

    /// The last value of a query parameter.
    fn query(&self, name: &str) -> Option<&str> {
        self.request.query_string_parameters_ref()?.all(name)?.pop()
    }

    fn body(&self) -> Result<&'a [u8], Error> {
        let body = self.request.body().as_ref();
        if body.len() > BODY_LIMIT { Err(Error::PayloadTooLarge) } else { Ok(body) }
    }

    fn request_id(&self) -> Option<&str> {
        self.context?.request_id.as_deref()
    }

    fn caller(&self) -> Caller {
        let Some(context) = self.context else {
            return Caller::default();
        };
        Caller {
            arn: context.identity.user_arn.clone(),
            source_ip: context.identity.source_ip.clone(),
            request_id: context.request_id.clone(),
        }
    }
}

/// A response of JSON text.
fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<Body> {
    // Shapes of strings and numbers always serialise.
    let body = serde_json::to_string(body).unwrap_or_default();
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What a command is called in the log, and the WorkSpace that it is about.
fn describe(command: &Command) -> (&'static str, Option<WorkspaceId>) {
    match command {
        Command::Rebuild(request) => ("RebuildWorkspaces", Some(request.workspace_id.clone())),
        Command::DescribeRebuild { workspace_id, .. } => {
            ("DescribeRebuild", Some(workspace_id.clone()))
        }
        Command::ListRebuilds { workspace_id, .. } => ("ListRebuilds", Some(workspace_id.clone())),
        Command::DescribeWorkspace(id) => ("DescribeWorkspace", Some(id.clone())),
        Command::DescribeWorkspaces { .. } => ("DescribeWorkspaces", None),
    }
}

/// One line a request: what it was and what came of it, never what was in it.
fn log(
    call: &Call<'_>,
    operation: &str,
    workspace_id: Option<&WorkspaceId>,
    result: &Result<Outcome, Error>,
    status: StatusCode,
    start: Instant,
) {
    let request_id = call.request_id();
    let workspace_id = workspace_id.map(WorkspaceId::as_str);
    let status = status.as_u16();
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    let (outcome, error) = match result {
        Ok(Outcome::Accepted { is_replay: false, .. }) => ("accepted", None),
        Ok(Outcome::Accepted { is_replay: true, .. }) => ("replayed", None),
        Ok(
            Outcome::Rebuild(..)
            | Outcome::Rebuilds(..)
            | Outcome::Workspace(_)
            | Outcome::Workspaces(_),
        ) => ("answered", None),
        Err(error) if error.is_fault() => ("failed", Some(error)),
        Err(error) => ("refused", Some(error)),
    };
    let code = error.map(Error::code);
    if let Some(error) = error.filter(|error| error.is_fault()) {
        let cause = DisplayErrorContext(error).to_string();
        error!(
            request_id,
            operation, workspace_id, outcome, code, status, milliseconds, cause, "request"
        );
    } else {
        info!(request_id, operation, workspace_id, outcome, code, status, milliseconds, "request");
    }
}
