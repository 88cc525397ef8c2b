//! RPC v2 CBOR, which the newer AWS clients speak.
//! (Protocol: <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>)

use ciborium::Value;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;

use super::exception::Exception;
use super::input::{Input, Operation};
use super::output::Output;
use crate::http::call::Call;
use crate::http::event::Header;

pub(super) const MEDIA_TYPE: &str = "application/cbor";
/// The value of the header `smithy-protocol` in every request and every answer.
const RPC_V2_CBOR: &str = "rpc-v2-cbor";

pub(super) fn decode(call: &Call<'_>) -> Result<Input, Exception> {
    let operation = operation(call)?;
    let body = call.body().map_err(Exception::too_large)?;
    match call.media_type().as_deref() {
        Some(MEDIA_TYPE) => {}
        None if body.is_empty() => {}
        _ => return Err(Exception::serialization("the content-type must be application/cbor")),
    }
    Ok(Input::decode::<Value>(operation, body)?)
}

/// The path is compared as a whole. The protocol would allow a prefix, which an IAM policy for the path
/// would not match.
fn operation(call: &Call<'_>) -> Result<Operation, Exception> {
    // The protocol demands it: a proxy on the way may have judged the request by these headers.
    if [Header::XAmzTarget, Header::XAmznTarget].iter().any(|header| call.header(*header).is_some())
    {
        return Err(Exception::serialization("a request in CBOR must not have x-amz-target"));
    }
    if call.header(Header::SmithyProtocol) != Some(Ok(RPC_V2_CBOR)) {
        return Err(Exception::serialization("the header smithy-protocol must be rpc-v2-cbor"));
    }
    let name = call.path().strip_prefix("service/WorkspacesService/operation/");
    let is_exact = call.method() == Method::POST && call.is_path_literal();
    let name = name.filter(|_| is_exact);
    name.and_then(|name| name.parse().ok()).ok_or_else(Exception::unknown_operation)
}

pub(super) fn encode(result: Result<&Output, &Exception>) -> Response<Body> {
    #[derive(Serialize)]
    struct Shape<'a> {
        /// The absolute id of the shape.
        __type: String,
        message: &'a str,
    }
    match result {
        Ok(output) => response(StatusCode::OK, output),
        Err(Exception { name, status, failure }) => {
            let __type = format!("com.amazonaws.workspaces#{name}");
            response(*status, &Shape { __type, message: &failure.message })
        }
    }
}

fn response(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut bytes = vec![];
    // Structs of strings and numbers always serialise, and a vector takes all bytes.
    let _ = ciborium::into_writer(body, &mut bytes);
    let mut response = Response::new(Body::Binary(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(Header::SmithyProtocol.name(), HeaderValue::from_static(RPC_V2_CBOR));
    headers.insert("content-type", HeaderValue::from_static(MEDIA_TYPE));
    response
}
