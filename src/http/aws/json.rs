//! AWS JSON 1.1, which stock AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>)

use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use super::exception::Exception;
use super::input::{Input, Operation};
use super::output::Output;
use crate::http::body::json::Json;
use crate::http::call::Call;
use crate::http::event::Header;
use crate::http::response;

pub(super) const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

pub(super) fn decode(call: &Call<'_>) -> Result<Input, Exception> {
    let operation = operation(call)?;
    let body = call.body().map_err(Exception::too_large)?;
    Ok(Input::decode::<Json>(operation, body)?)
}

fn operation(call: &Call<'_>) -> Result<Operation, Exception> {
    let target = call.header(Header::XAmzTarget).and_then(Result::ok).unwrap_or_default();
    let is_root = call.method() == Method::POST && call.path().is_empty() && call.is_path_literal();
    let name = target.strip_prefix("WorkspacesService.").filter(|_| is_root);
    name.and_then(|name| name.parse().ok()).ok_or_else(Exception::unknown_operation)
}

pub(super) fn encode(result: Result<&Output, &Exception>) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        __type: &'static str,
        message: &'a str,
    }
    match result {
        Ok(output) => response::json(StatusCode::OK, MEDIA_TYPE, output),
        Err(Exception { name, status, failure }) => {
            let shape = Shape { __type: name, message: &failure.message };
            let mut response = response::json(*status, MEDIA_TYPE, &shape);
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(name));
            response
        }
    }
}
