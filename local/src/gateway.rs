//! API Gateway on a laptop: each HTTP request becomes an event of a REST API and goes through the
//! same decoding and encoding as in Lambda.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lambda_http::{Context, LambdaEvent};
use rebuild_workspaces::http;
use rebuild_workspaces::service::Service;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

/// The largest body that API Gateway accepts, in bytes.
const PAYLOAD_LIMIT: usize = 10 * 1024 * 1024;

/// Serves the function on a bound listener, until `shutdown`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new().fallback(answer).with_state(service);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown)
        .await
}

async fn answer(
    State(service): State<Service>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // API Gateway never sends an event with such a host, and lambda_http panics on it.
    if !head.headers.get_all(header::HOST).iter().all(is_host) {
        let message = "Invalid request parameters: API Gateway could not take the request";
        return gateway_error(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message);
    }
    let Ok(body) = to_bytes(body, PAYLOAD_LIMIT).await else {
        let message = "the body is larger than 16 KiB";
        return gateway_error(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message);
    };
    let event = event(&head, &String::from_utf8_lossy(&body), client);
    to_http(&invoke(service, event.to_string()).await)
}

/// Invokes the function with an event. Event and response are JSON, as in the Lambda runtime.
///
/// # Panics
/// The event is not a REST API event.
pub async fn invoke(service: Service, event: String) -> Value {
    let event = serde_json::from_str(&event).expect("a REST event");
    let Ok(answer) = http::invoke(&service, LambdaEvent::new(event, Context::default())).await;
    serde_json::to_value(answer).expect("a Lambda response is JSON")
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
fn event(head: &axum::http::request::Parts, body: &str, client: SocketAddr) -> Value {
    let path = head.uri.path();
    let proxy = path.trim_matches('/');
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
        "resource": if proxy.is_empty() { "/" } else { "/{proxy+}" },
        "path": path,
        "httpMethod": head.method.as_str(),
        "headers": headers,
        "multiValueHeaders": header_values,
        "queryStringParameters": last_values(&query_values),
        "multiValueQueryStringParameters": query_values,
        "pathParameters": if proxy.is_empty() { Value::Null } else { json!({ "proxy": proxy }) },
        "stageVariables": null,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "stage": "local",
            "path": path,
            "httpMethod": head.method.as_str(),
            "requestId": uuid::Uuid::now_v7().to_string(),
            "identity": {
                "sourceIp": client.ip(),
                "userArn": "arn:aws:iam::000000000000:user/local",
            },
        },
        "body": if body.is_empty() { Value::Null } else { body.into() },
        "isBase64Encoded": false,
    })
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

/// Converts a Lambda response to HTTP, as API Gateway does. Without binary media types it sends the
/// body unchanged, even if it is base64.
fn to_http(response: &Value) -> Response {
    let status = response["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let mut builder = Response::builder().status(status.unwrap_or(502));
    for (name, values) in response["multiValueHeaders"].as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            builder = builder.header(name, value);
        }
    }
    let body = response["body"].as_str().unwrap_or_default().to_owned();
    builder.body(Body::from(body)).expect("the function sends valid headers")
}

/// An answer of the gateway itself: always an envelope, with the fixed text of the template.
fn gateway_error(status: StatusCode, code: &str, message: &str) -> Response {
    let error = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
    let body = format!(r#"{{"success":false,"error":{error}}}"#);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
