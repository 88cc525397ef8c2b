//! What a face makes of a request.

use lambda_http::http::Method;
use rebuild_workspaces::store::ACCEPT;
use serde::Deserialize;

use crate::aws::Seen;
use crate::cbor;
use crate::request::{Face, REQUEST_ID, Request};
use crate::system::{Answer, System, with_system};

/// An accepted body of the envelope face: each field once, no others.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct StrictBody {
    #[serde(default)]
    rebuild_workspace_requests: Vec<StrictEntry>,
    reason: Option<String>,
    maximum_snapshot_age_hours: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct StrictEntry {
    workspace_id: String,
}

/// An accepted body of an AWS face.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    rebuild_workspace_requests: [Entry; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    workspace_id: String,
}

/// Sends a request of this face, given as text, and checks the answer. Returns whether the input is
/// such a request.
///
/// # Panics
/// The function breaks its contract.
#[must_use]
pub fn check(bytes: &[u8], face: &Face) -> bool {
    let Some(request) = Request::parse(bytes).filter(|request| request.face() == *face) else {
        return false;
    };
    with_system(|system| send(system, &request, face));
    true
}

fn send(system: &System, request: &Request<'_>, face: &Face) {
    let (answer, seen) = system.invoke(request.event());
    let (content_type, request_id) = match face {
        Face::Envelope => ("application/json", None),
        Face::AwsJson => ("application/x-amz-json-1.1", Some(REQUEST_ID)),
        Face::AwsCbor => ("application/cbor", Some(REQUEST_ID)),
    };
    assert_eq!(answer.headers["content-type"], content_type);
    assert_eq!(answer.headers.get("x-amzn-requestid").map(String::as_str), request_id);
    for write in seen.iter().filter(|seen| seen.operation == "UpdateItem") {
        assert!(![Method::GET, Method::HEAD].contains(&request.method), "{request:?} {write:?}");
        assert!(request.body.len() <= 16 * 1024);
        // An IAM policy sees the client's spelling.
        assert_eq!(request.path, format!("/{}", request.resource()));
        assert!(!request.path.contains("//") && !request.path.contains('%'), "{request:?}");
        if write.body["UpdateExpression"] == ACCEPT {
            check_acceptance(request, face, write);
        }
    }
    if let Some(allow) = answer.headers.get("allow") {
        assert!(!allow.split(", ").any(|method| method == request.method), "{request:?} {allow}");
    }
    if *face == Face::Envelope {
        check_location(request, &answer, &seen);
    }
}

/// The write is for the WorkSpace that the request names, with the parameters of the request.
fn check_acceptance(request: &Request<'_>, face: &Face, write: &Seen) {
    let written = write.body["Key"]["WorkspaceId"]["S"].as_str().expect("an id");
    let rebuild = &write.body["ExpressionAttributeValues"][":rebuild"]["M"];
    assert_eq!(rebuild["RequestId"]["S"], REQUEST_ID);
    let key = rebuild["IdempotencyKey"]["S"].as_str().expect("a key");
    let key = key.strip_prefix("simulated: ").expect("the fleet's prefix");
    let body = match face {
        Face::Envelope => {
            assert!(request.query.is_empty(), "{request:?}");
            check_key(key, request.header("idempotency-key"), "");
            let mut body = if request.body.is_empty() {
                StrictBody::default()
            } else {
                serde_json::from_slice(request.body).expect("a strict body")
            };
            let hours = body.maximum_snapshot_age_hours.map(|hours| hours.to_string());
            assert_eq!(rebuild["Reason"]["S"].as_str(), body.reason.as_deref());
            assert_eq!(rebuild["MaximumSnapshotAgeHours"]["N"].as_str(), hours.as_deref());
            let mut path = request.resource().split('/');
            let in_path = path.find(|segment| *segment == "workspaces").and_then(|_| path.next());
            let in_body = body.rebuild_workspace_requests.pop().map(|entry| entry.workspace_id);
            assert!(body.rebuild_workspace_requests.is_empty());
            assert_eq!((in_path.or(in_body.as_deref())), Some(written), "{request:?}");
            assert!(in_path.is_none() || in_body.is_none(), "{request:?}");
            return;
        }
        Face::AwsJson => serde_json::from_slice(request.body),
        Face::AwsCbor => serde_json::from_value(cbor::to_json(request.body).expect("CBOR")),
    };
    let header = request.header("amz-sdk-invocation-id");
    check_key(key, header.or(request.header("aws-sdk-invocation-id")), "sdk: ");
    let Body { rebuild_workspace_requests: [entry] } = body.expect("a body");
    assert_eq!(entry.workspace_id, written, "{request:?}");
}

fn check_key(key: &str, header: Option<&str>, prefix: &str) {
    match header {
        None => assert_eq!(key, format!("request: {REQUEST_ID}")),
        Some(header) if header.starts_with('"') => assert!(key.starts_with(prefix)),
        Some(header) => assert_eq!(key, format!("{prefix}{header}")),
    }
}

/// The path of an accepted rebuild is below the path of the request.
fn check_location(request: &Request<'_>, answer: &Answer, seen: &[Seen]) {
    let location = answer.headers.get("location");
    assert!(location.is_some() || answer.status != 202, "{answer:?}");
    let Some(location) = location else { return };
    let id = seen[0].body["Key"]["WorkspaceId"]["S"].as_str().expect("an id");
    let (rebuilds, _) = location.rsplit_once('/').expect("a path");
    assert!(rebuilds.ends_with(&format!("/workspaces/{id}/rebuilds")), "{request:?} {answer:?}");
    assert!(rebuilds.starts_with(&format!("/v1{}", request.path.trim_end_matches('/'))));
}
