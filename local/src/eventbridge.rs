//! EventBridge on a laptop: `PutEvents`, with one target for every event.

use std::future::Future;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::join_all;
use rebuild_workspaces::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many entries a call takes (API reference of `PutEvents`).
const MAX_ENTRIES: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: String,
    detail_type: String,
    detail: String,
    time: i64,
}

/// Serves `PutEvents` on a bound listener, for ever. `deliver` gets each event in the form in which
/// EventBridge sends it to a target; its error becomes the entry's.
pub async fn serve<D, F>(listener: TcpListener, deliver: D)
where
    D: Fn(Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let router = Router::new().route("/", post(put_events::<D, F>)).with_state(deliver);
    // It ends only if the listener breaks.
    let _ = axum::serve(listener, router).await;
}

async fn put_events<D, F>(State(deliver): State<D>, headers: HeaderMap, body: Bytes) -> Response
where
    D: Fn(Value) -> F,
    F: Future<Output = Result<(), String>>,
{
    let is_asked = headers.get("x-amz-target").is_some_and(|is| is == "AWSEvents.PutEvents");
    let request = serde_json::from_slice::<PutEvents>(&body).ok().filter(|_| is_asked);
    let request = request.filter(|request| request.entries.len() <= MAX_ENTRIES);
    let Some(request) = request else {
        let message = "only PutEvents is here, with at most ten entries";
        let error = json!({ "__type": "ValidationException", "message": message });
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    };
    let results = request.entries.iter().map(async |entry| {
        let id = uuid::Uuid::new_v4().to_string();
        match event(&id, entry) {
            None => json!({ "ErrorCode": "MalformedDetail", "ErrorMessage": "not JSON" }),
            Some(event) => match deliver(event).await {
                Ok(()) => json!({ "EventId": id }),
                Err(message) => json!({ "ErrorCode": "InternalFailure", "ErrorMessage": message }),
            },
        }
    });
    // All at once: the caller does not wait for long.
    let results = join_all(results).await;
    let failed = results.iter().filter(|result| result["EventId"].is_null()).count();
    let answer = json!({ "FailedEntryCount": failed, "Entries": results });
    ([("content-type", "application/x-amz-json-1.1")], answer.to_string()).into_response()
}

fn event(id: &str, entry: &Entry) -> Option<Value> {
    Some(json!({
        "version": "0",
        "id": id,
        "detail-type": entry.detail_type,
        "source": entry.source,
        "account": "000000000000",
        "time": Timestamp::from_epoch_seconds(entry.time).ok()?,
        "region": "us-east-1",
        "resources": [],
        "detail": serde_json::from_str::<Value>(&entry.detail).ok()?,
    }))
}
