//! The AWS JSON 1.1 face, which stock AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>)

use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use super::aws::{self, Exception, Input, Operation, Output};
use super::call::{Call, respond};
use super::event::Header;
use super::json::parse;
use super::members::Members;

pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

pub(super) async fn answer(call: &mut Call<'_>) -> Response<Body> {
    let input = decode(call);
    aws::answer(call, input, encode).await
}

fn decode(call: &Call<'_>) -> Result<Input, Exception> {
    let operation = operation(call)?;
    let body = call.body().map_err(Exception::too_large)?;
    let members = if body.is_empty() { Members::none() } else { parse(body)? };
    Ok(Input::decode(operation, members)?)
}

fn operation(call: &Call<'_>) -> Result<Operation, Exception> {
    let target = call.header(Header::XAmzTarget).and_then(Result::ok).unwrap_or_default();
    let is_root = call.method() == Method::POST && call.path().is_empty();
    let name = target.strip_prefix("WorkspacesService.").filter(|_| is_root);
    name.and_then(|name| name.parse().ok()).ok_or_else(Exception::unknown_operation)
}

fn encode(result: Result<&Output, &Exception>) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        __type: &'static str,
        message: &'a str,
    }
    match result {
        Ok(output) => respond(StatusCode::OK, CONTENT_TYPE, output),
        Err(Exception { name, status, failure }) => {
            let shape = Shape { __type: name, message: &failure.message };
            let mut response = respond(*status, CONTENT_TYPE, &shape);
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
            response
        }
    }
}
