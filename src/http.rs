//! HTTP as API Gateway delivers it: event → face → response, and one log line a request.
//!
//! Three faces answer requests: `envelope`, and `aws` in two protocols. A face decodes a request, calls
//! one method of the [`Service`], and encodes that method's own result. A request for one face is
//! never answered in another's format.

mod aws;
mod body;
mod call;
mod envelope;
mod event;
mod failure;
mod log;
mod response;

pub use self::event::Event;
use std::convert::Infallible;
use std::time::Instant;

use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, LambdaEvent, Request, Response, Service as _, service_fn};
use serde::Serialize;
use time::OffsetDateTime;

use self::aws::Protocol;
use self::call::Call;
use self::event::Header;
use self::response::Verbatim;
use crate::fleet::Fleet;
use crate::preview::Previewer;
use crate::service::Service;

/// Answers one API Gateway event, and logs one line about it. Every failure is an answer.
///
/// `lambda_http::run` parses each event twice, to find out which service sent it. This function
/// takes the event of a REST API and uses `lambda_http`'s conversions only.
///
/// # Errors
/// None.
pub async fn invoke(
    service: &Service,
    event: LambdaEvent<Event>,
) -> Result<impl Serialize + use<>, Infallible> {
    let handler = service_fn(async |request| Ok(handle(service, request).await));
    Adapter::from(handler).call(to_request(event)).await
}

/// Answers one event of the route of previews, in the same way.
///
/// # Errors
/// None.
pub async fn invoke_preview<F: Fleet + Sync, C: Fn() -> OffsetDateTime + Sync>(
    previewer: &Previewer<F, C>,
    event: LambdaEvent<Event>,
) -> Result<impl Serialize + use<F, C>, Infallible> {
    let handler = service_fn(async |request| Ok(handle_preview(previewer, request).await));
    Adapter::from(handler).call(to_request(event)).await
}

fn to_request(LambdaEvent { payload, context }: LambdaEvent<Event>) -> LambdaEvent<LambdaRequest> {
    LambdaEvent::new(LambdaRequest::ApiGatewayV1(payload.into()), context)
}

async fn handle(service: &Service, request: Request) -> Verbatim {
    let start = Instant::now();
    let mut call = Call::new(&request);
    let response = match Face::of(&call) {
        Face::Envelope => envelope::answer(service, &mut call).await,
        Face::Aws(protocol) => aws::answer(service, &mut call, protocol).await,
    };
    logged(call, response, start)
}

async fn handle_preview<F: Fleet, C: Fn() -> OffsetDateTime>(
    previewer: &Previewer<F, C>,
    request: Request,
) -> Verbatim {
    let start = Instant::now();
    let mut call = Call::new(&request);
    let response = match Face::of(&call) {
        Face::Envelope => envelope::answer_preview(previewer, &mut call).await,
        Face::Aws(protocol) => aws::refuse(&mut call, protocol),
    };
    logged(call, response, start)
}

fn logged(call: Call<'_>, response: Response<Body>, start: Instant) -> Verbatim {
    let (request_id, caller) = (call.request_id(), call.caller_arn());
    call.log_line.log(request_id, caller, response.status(), start);
    Verbatim(response)
}

/// Who answers a request.
enum Face {
    Envelope,
    Aws(Protocol),
}

impl Face {
    /// AWS clients send a header or a content type of their own.
    fn of(call: &Call<'_>) -> Self {
        let media_type = call.media_type();
        let is = |wanted| media_type.as_deref() == Some(wanted);
        if call.header(Header::SmithyProtocol).is_some() || is(Protocol::Cbor.media_type()) {
            Self::Aws(Protocol::Cbor)
        } else if call.header(Header::XAmzTarget).is_some() || is(Protocol::Json.media_type()) {
            Self::Aws(Protocol::Json)
        } else {
            Self::Envelope
        }
    }
}
