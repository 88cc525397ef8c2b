//! API Gateway on a laptop: each HTTP request becomes an event of a REST API and goes through the
//! same decoding and encoding as in Lambda.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header,
};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::LengthLimitError;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lambda_http::{Context, LambdaEvent};
use rebuild_workspaces::fleet::Fleet;
use rebuild_workspaces::http::{self, Event};
use rebuild_workspaces::preview::Previewer;
use rebuild_workspaces::service::Service;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::{docs, fleet};

/// The media type that the template tells API Gateway to be binary.
pub const BINARY_MEDIA_TYPE: &str = "application/cbor";
/// The routes of the preview function.
const PREVIEWS: [&str; 2] = [
    "/workspaces/{WorkspaceId}/preview",
    "/directories/{DirectoryId}/workspaces/{WorkspaceId}/preview",
];
/// The largest body that API Gateway accepts, in bytes.
const PAYLOAD_LIMIT: usize = 10 * 1024 * 1024;
/// How long a client may take to send the head of a request, and how long to send its body.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The functions behind the API.
pub struct Functions<F> {
    /// The API function.
    pub api: Service,
    /// The preview function.
    pub preview: Previewer<F>,
}

/// Serves the functions on a bound listener, for ever.
pub async fn serve<F: Fleet + Send + Sync + 'static>(
    mut listener: TcpListener,
    functions: Functions<F>,
    read_timeout: Duration,
) {
    let functions = Arc::new(functions);
    loop {
        let (stream, client) = Listener::accept(&mut listener).await;
        let functions = Arc::clone(&functions);
        let answer = service_fn(move |request| {
            let functions = Arc::clone(&functions);
            async move { Ok::<_, Infallible>(answer(&functions, client, request, read_timeout).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .serve_connection(TokioIo::new(stream), answer);
        // A connection that a client breaks off is no event worth reporting.
        tokio::spawn(async { drop(connection.await) });
    }
}

async fn answer<F: Fleet + Sync>(
    functions: &Functions<F>,
    client: SocketAddr,
    request: Request<Incoming>,
    read_timeout: Duration,
) -> Response {
    let refused = |status| {
        let message = "Invalid request parameters: API Gateway could not take the request";
        gateway_error(status, "VALIDATION_ERROR", message)
    };
    let received_at = OffsetDateTime::now_utc();
    let (head, body) = request.into_parts();
    if !has_host(&head) {
        return refused(StatusCode::BAD_REQUEST);
    }
    let body = match timeout(read_timeout, to_bytes(Body::new(body), PAYLOAD_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => {
            let message = "the body is larger than 16 KiB";
            return gateway_error(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message);
        }
        Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT),
    };
    if let Some(answer) = docs::answer(&head).await {
        return answer;
    }
    if let Some(asked) = fleet::asked_in(&head) {
        return fleet::answer(&functions.api, asked, &body).await;
    }
    let event = event(&head, &body, client, received_at);
    let response = functions.invoke(&event).await;
    to_http(&response, is_binary(&head.headers, header::ACCEPT))
}

impl<F: Fleet + Sync> Functions<F> {
    /// Invokes the function behind the route of an event.
    ///
    /// # Panics
    /// The event is not a REST API event.
    pub async fn invoke(&self, event: &Value) -> Value {
        let is_preview = event["resource"].as_str().is_some_and(|route| PREVIEWS.contains(&route));
        if !is_preview {
            return invoke(&self.api, event.to_string()).await;
        }
        let Ok(answer) = http::invoke_preview(&self.preview, decode(&event.to_string())).await;
        serde_json::to_value(answer).expect("a Lambda response is JSON")
    }
}

/// Invokes the API function with an event. Event and response are JSON, as in the Lambda runtime.
///
/// # Panics
/// The event is not a REST API event.
pub async fn invoke(service: &Service, event: String) -> Value {
    let Ok(answer) = http::invoke(service, decode(&event)).await;
    serde_json::to_value(answer).expect("a Lambda response is JSON")
}

fn decode(event: &str) -> LambdaEvent<Event> {
    LambdaEvent::new(serde_json::from_str(event).expect("a REST event"), Context::default())
}

/// HTTP/1.1 wants exactly one host, and API Gateway a valid one.
fn has_host(head: &Parts) -> bool {
    let hosts: Vec<_> = head.headers.get_all(header::HOST).iter().collect();
    match hosts[..] {
        [] => head.version < Version::HTTP_11,
        [host] => is_host(host),
        _ => false,
    }
}

fn is_host(value: &HeaderValue) -> bool {
    // Parsing accepts a port that is too large; only `port_u16` checks it.
    let authority = value.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let text = authority.as_str();
        let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        !authority.host().is_empty()
            && !text.contains('@')
            && authority.port_u16().is_some() == has_port
    })
}

/// The event of a request to a regional REST API behind a custom domain, without a base path.
fn event(head: &Parts, body: &[u8], client: SocketAddr, received_at: OffsetDateTime) -> Value {
    let path = head.uri.path();
    let (route, parameters) = route(&head.method, path);
    let text = std::str::from_utf8(body).ok();
    let text = text.filter(|_| !is_binary(&head.headers, header::CONTENT_TYPE));
    // A JSON text cannot hold other bytes.
    let (text, is_base64) = match text {
        Some(text) => (text.to_owned(), false),
        None => (BASE64.encode(body), true),
    };
    let query: Vec<(String, String)> = axum::extract::Query::try_from_uri(&head.uri)
        .map(|axum::extract::Query(query)| query)
        .unwrap_or_default();
    let mut query_values = Map::new();
    for (name, value) in query {
        let values = query_values.entry(name).or_insert_with(|| json!([]));
        values.as_array_mut().expect("an array").push(value.into());
    }
    let (headers, header_values) = headers(&head.headers);
    json!({
        "resource": route,
        "path": path,
        "httpMethod": head.method.as_str(),
        "headers": headers,
        "multiValueHeaders": header_values,
        "queryStringParameters": last_values(&query_values),
        "multiValueQueryStringParameters": query_values,
        "pathParameters": parameters,
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "stage": "local",
            "path": path,
            "httpMethod": head.method.as_str(),
            "requestId": uuid::Uuid::now_v7().to_string(),
            "requestTimeEpoch": i64::try_from(received_at.unix_timestamp_nanos() / 1_000_000).ok(),
            "identity": {
                "sourceIp": client.ip(),
                "userArn": "arn:aws:iam::000000000000:user/local",
            },
        },
        "body": if text.is_empty() { Value::Null } else { text.into() },
        "isBase64Encoded": is_base64,
    })
}

/// The most specific of the template's routes that has this method and path, and its parameters.
fn route(method: &Method, path: &str) -> (&'static str, Value) {
    // API Gateway routes `//x` and `/x/` like `/x`. Only the context keeps the client's spelling.
    let path = path.trim_matches('/');
    let segments: Vec<_> = path.split('/').collect();
    match (method, &segments[..]) {
        (_, [""]) => ("/", Value::Null),
        (&Method::GET, ["workspaces", id, "preview"]) => {
            (PREVIEWS[0], json!({ "WorkspaceId": id }))
        }
        (&Method::GET, ["directories", directory, "workspaces", id, "preview"]) => {
            (PREVIEWS[1], json!({ "DirectoryId": directory, "WorkspaceId": id }))
        }
        _ => ("/{proxy+}", json!({ "proxy": path })),
    }
}

fn headers(headers: &HeaderMap) -> (Map<String, Value>, Map<String, Value>) {
    let mut all = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        all.insert(name.to_string(), values.collect::<Vec<_>>().into());
    }
    (last_values(&all), all)
}

fn last_values(all: &Map<String, Value>) -> Map<String, Value> {
    let last = all
        .iter()
        .filter_map(|(name, values)| Some((name.clone(), values.as_array()?.last()?.clone())));
    last.collect()
}

/// Whether the first media type in a header is the binary one.
fn is_binary(headers: &HeaderMap, name: HeaderName) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = value.split([',', ';']).next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case(BINARY_MEDIA_TYPE)
}

/// Converts a Lambda response to HTTP, as API Gateway does. It sends a body in base64 as that text,
/// unless the client accepts a binary media type.
fn to_http(response: &Value, accepts_binary: bool) -> Response {
    let status = response["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let mut builder = Response::builder().status(status.unwrap_or(502));
    for (name, values) in response["multiValueHeaders"].as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            builder = builder.header(name, value);
        }
    }
    let text = response["body"].as_str().unwrap_or_default();
    let body = match response["isBase64Encoded"].as_bool() {
        Some(true) if accepts_binary => BASE64.decode(text).expect("the function sends base64"),
        _ => text.as_bytes().to_vec(),
    };
    builder.body(Body::from(body)).expect("the function sends valid headers")
}

/// An answer of the gateway itself: always an envelope, with the fixed text of the template.
fn gateway_error(status: StatusCode, code: &str, message: &str) -> Response {
    let error = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
    let body = format!(r#"{{"success":false,"error":{error}}}"#);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
