//! How a response is made.

use std::pin::Pin;

use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, IntoResponse, Response};
use serde::Serialize;

/// A response of JSON text.
pub(super) fn json(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<Body> {
    // Structs of strings and numbers always serialise.
    let body = serde_json::to_string(body).unwrap_or_default();
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response whose body goes out as it was made: text as text, bytes as base64. `lambda_http`
/// encodes a bare `Response` as base64 unless it knows the content type to be text, and it does not
/// know the AWS JSON face's.
#[derive(Debug)]
pub struct Verbatim(pub(super) Response<Body>);

impl IntoResponse for Verbatim {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(std::future::ready(self.0))
    }
}
