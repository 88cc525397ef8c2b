//! HTTP as API Gateway delivers it: event → face → response, and one log line a request.
//!
//! Three faces answer requests: `envelope`, `aws_json` and `aws_cbor`. A face decodes a request, calls
//! one method of the [`Service`], and encodes that method's own result. A request for one face is
//! never answered in another's format.

mod aws;
mod aws_cbor;
mod aws_json;
mod call;
mod cbor;
mod envelope;
mod failure;
mod json;
mod members;

pub(crate) use self::envelope::RebuildData;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::header::HOST;
use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, LambdaEvent, Request, Service as _, service_fn};
use serde::Serialize;
use tracing::{error, info};

use self::call::{Call, Reply};
use self::failure::{Code, Failure};
use crate::error::{Cause, chain};
use crate::rebuild::Accepted;
use crate::service::Service;
use crate::workspace::WorkspaceId;

/// The client's protocol, as API Gateway saw it.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The longest query that is looked at, in bytes. API Gateway allows 10 KiB; a URL that `lambda_http`
/// builds has at most 64 KiB, and the encoding of a byte up to three.
const MAX_QUERY: usize = 16 * 1024;

/// Answers one API Gateway event, and logs one line about it. Every failure is an answer.
///
/// `lambda_http::run` parses each event twice, to find out which service sent it. This function
/// takes the parsed event of a REST API and uses `lambda_http`'s conversions only.
///
/// # Errors
/// None.
pub async fn invoke(
    service: &Service,
    event: LambdaEvent<ApiGatewayProxyRequest>,
) -> Result<impl Serialize + use<>, Infallible> {
    let LambdaEvent { payload, context } = event;
    let request = LambdaRequest::ApiGatewayV1(tolerable(payload));
    let event = LambdaEvent::new(request, context);
    let handler = service_fn(async |request| Ok(handle(service, request).await));
    Adapter::from(handler).call(event).await
}

/// The event without what `lambda_http` panics at.
fn tolerable(mut event: ApiGatewayProxyRequest) -> ApiGatewayProxyRequest {
    // It builds a URL from these. Nothing here uses them.
    for name in [&HOST, &X_FORWARDED_PROTO] {
        event.headers.remove(name);
        event.multi_value_headers.remove(name);
    }
    event.path = None;
    event.request_context.domain_name = None;
    event.request_context.stage = None;
    event.query_string_parameters = with_values(event.query_string_parameters);
    event.multi_value_query_string_parameters =
        with_values(event.multi_value_query_string_parameters);
    // A body that is not in base64, although the event says so, is text.
    let is_base64 = |body: &str| BASE64.decode(body).is_ok();
    event.is_base64_encoded &= event.body.as_deref().is_some_and(is_base64);
    event
}

/// The query, with an empty value for a parameter that has none: to leave it out could widen a listing.
fn with_values(query: QueryMap) -> QueryMap {
    if query.is_empty() {
        return query;
    }
    // Its own iterator panics at a parameter without a value.
    let values = serde_json::to_value(&query).and_then(serde_json::from_value);
    let mut values: HashMap<String, Vec<String>> = values.unwrap_or_default();
    for values in values.values_mut().filter(|values| values.is_empty()) {
        values.push(String::new());
    }
    let length_of = |(name, values): (&String, &Vec<String>)| -> usize {
        values.iter().map(|value| name.len() + value.len()).sum()
    };
    if values.iter().map(length_of).sum::<usize>() > MAX_QUERY {
        // A parameter that no listing knows, so that each refuses it.
        values = HashMap::from([("too-long".to_owned(), vec![String::new()])]);
    }
    values.into()
}

/// Takes one request through the function without logging it, so that the first real request runs
/// warm code: during init Lambda gives a full core, afterwards a share of one. The service must use
/// [`offline`](crate::aws_http::offline), so that the rehearsal stops short of the network.
pub async fn rehearse(service: &Service) {
    const EVENT: &str = include_str!("../events/accepted.json");
    let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
    if let Ok(event) = serde_json::from_str(EVENT) {
        let Ok(answer) = invoke(service, LambdaEvent::new(event, Context::default())).await;
        let _ = serde_json::to_vec(&answer);
    }
}

async fn handle(service: &Service, request: Request) -> Reply {
    let start = Instant::now();
    let mut call = Call::new(service, &request);
    let response = match Face::of(&call) {
        Face::AwsCbor => aws_cbor::answer(&mut call).await,
        Face::AwsJson => aws_json::answer(&mut call).await,
        Face::Envelope => envelope::answer(&mut call).await,
    };
    let (request_id, caller) = (call.request_id(), call.caller_arn());
    call.log_line.log(request_id, caller, response.status(), start);
    Reply(response)
}

/// Who answers a request.
enum Face {
    Envelope,
    AwsJson,
    AwsCbor,
}

impl Face {
    /// AWS clients send a header or a content type of their own.
    fn of(call: &Call<'_>) -> Self {
        let media_type = call.media_type();
        let is = |wanted| media_type.as_deref() == Some(wanted);
        if call.header("smithy-protocol").is_some() || is(aws_cbor::CONTENT_TYPE) {
            Self::AwsCbor
        } else if call.header("x-amz-target").is_some() || is(aws_json::CONTENT_TYPE) {
            Self::AwsJson
        } else {
            Self::Envelope
        }
    }
}

/// The log line of one request: what was asked for and what happened, never what was in the body.
#[derive(Default)]
struct LogLine {
    /// Set once the request is decoded.
    operation: Option<&'static str>,
    workspace_id: Option<WorkspaceId>,
    outcome: Outcome,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Answered,
    Accepted,
    Replayed,
    Refused(Code),
    Failed(Code, Cause),
}

impl LogLine {
    fn decoded(&mut self, operation: &'static str, workspace_id: Option<&WorkspaceId>) {
        self.operation = Some(operation);
        self.workspace_id = workspace_id.cloned();
    }

    fn accepted(&mut self, accepted: &Accepted) {
        self.outcome = if accepted.is_replay { Outcome::Replayed } else { Outcome::Accepted };
    }

    fn failed(&mut self, failure: Failure) {
        self.outcome = match failure.cause {
            None => Outcome::Refused(failure.code),
            Some(cause) => Outcome::Failed(failure.code, cause),
        };
    }

    fn log(
        self,
        request_id: Option<&str>,
        caller: Option<&str>,
        status: StatusCode,
        start: Instant,
    ) {
        let operation = self.operation.unwrap_or("none");
        let workspace_id = self.workspace_id.as_ref().map(WorkspaceId::as_str);
        let status = status.as_u16();
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        let (outcome, code) = match &self.outcome {
            Outcome::Answered => ("answered", None),
            Outcome::Accepted => ("accepted", None),
            Outcome::Replayed => ("replayed", None),
            Outcome::Refused(code) => ("refused", Some(code)),
            Outcome::Failed(code, _) => ("failed", Some(code)),
        };
        let code = code.map(Code::into_str);
        if let Outcome::Failed(_, cause) = self.outcome {
            let cause = chain(&*cause);
            error!(
                request_id,
                caller,
                operation,
                workspace_id,
                outcome,
                code,
                status,
                milliseconds,
                cause,
                "request"
            );
        } else {
            info!(
                request_id,
                caller, operation, workspace_id, outcome, code, status, milliseconds, "request"
            );
        }
    }
}
