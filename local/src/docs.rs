//! The definition of the API, and a page in the browser to read it and to try it out.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};
use tower::ServiceExt as _;

/// The published definition of the envelope face.
pub const OPENAPI: &str = include_str!("../../openapi.yaml");

static PAGE: LazyLock<Router> = LazyLock::new(|| {
    generate_routes(ApiDefinition {
        uri_prefix: "/docs",
        api_definition: OpenApiSource::Uri("/openapi.yaml"),
        title: Some("RebuildWorkspaces"),
    })
});

/// Answers a request for the definition, the page or a part of the page; `None` to any other.
pub(crate) async fn answer(head: &Parts) -> Option<Response> {
    let path = head.uri.path();
    if head.method != Method::GET {
        return None;
    }
    if path == "/openapi.yaml" {
        return Some(([(header::CONTENT_TYPE, "application/yaml")], OPENAPI).into_response());
    }
    // The page names its parts relative to this path, so it must not end with a slash.
    let path = path.trim_end_matches('/');
    if !path.starts_with("/docs") {
        return None;
    }
    let request = Request::get(path).body(Body::empty()).ok()?;
    let Ok(answer) = PAGE.clone().oneshot(request).await;
    (answer.status() != StatusCode::NOT_FOUND).then_some(answer)
}
