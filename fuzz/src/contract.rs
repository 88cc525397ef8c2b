//! What `docs/contract.md` says of every answer.

use std::collections::BTreeSet;

use rebuild_workspaces::store::{ACCEPT, ACCEPT_CONDITION};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::aws::{Outcome, SECRET, Seen, is_workspace_id};
use crate::cbor;
use crate::system::Answer;

/// Stands in inputs only. No message repeats input.
const RAW: &str = "RAW";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Success {
    success: bool,
    data: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    success: bool,
    error: ErrorData,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorData {
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    __type: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct FailedRequest {
    workspace_id: String,
    error_code: String,
    error_message: String,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A rebuild was accepted.
    Accepted,
    /// Any other success.
    Done,
    /// The request is refused for what it says.
    Invalid,
    /// The request is refused for what is in the tables.
    Refused,
    /// Nothing was changed.
    Unavailable,
    /// A bug, a broken item, or an unknown outcome.
    Fault,
}

/// Checks an answer, and what DynamoDB saw of its request.
///
/// # Panics
/// They break the contract.
pub fn check(answer: &Answer, seen: &[Seen]) {
    let verdict = verdict(answer);
    let writes: Vec<_> = seen.iter().filter(|seen| seen.operation == "UpdateItem").collect();
    let is_faulty = seen.iter().any(|seen| seen.outcome == Outcome::Faulty);
    let was_made = writes.iter().any(|write| write.outcome == Outcome::Done);
    let is_acceptance = |write: &&Seen| write.body["UpdateExpression"] == ACCEPT;
    let is_kept = match verdict {
        Verdict::Accepted => !writes.is_empty() && writes.iter().all(is_acceptance),
        Verdict::Done => !writes.iter().any(is_acceptance),
        Verdict::Invalid => seen.is_empty(),
        Verdict::Refused => !was_made,
        Verdict::Unavailable => is_faulty && !was_made,
        Verdict::Fault => is_faulty,
    };
    // The AWS client makes up to three attempts.
    let most_writes = if is_faulty { 3 } else { 1 };
    assert!(is_kept && writes.len() <= most_writes, "{verdict:?}: {answer:?} {seen:?}");
    for write in writes.into_iter().filter(is_acceptance) {
        let values = &write.body["ExpressionAttributeValues"];
        let within =
            if values.get(":directory").is_some() { " AND DirectoryId = :directory" } else { "" };
        assert_eq!(write.body["ConditionExpression"], format!("{ACCEPT_CONDITION}{within}"));
    }
}

fn verdict(answer: &Answer) -> Verdict {
    let Answer { status, headers, body } = answer;
    // A location repeats the path of the request.
    let shown = headers.iter().filter(|(name, _)| *name != "location").map(|(_, value)| value);
    let body = String::from_utf8_lossy(body);
    assert!(!body.contains(SECRET) && !shown.into_iter().any(|value| value.contains(SECRET)));
    match headers["content-type"].as_str() {
        "application/json" => envelope(answer),
        "application/x-amz-json-1.1" => {
            let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
            let header = headers.get("x-amzn-errortype").map(String::as_str);
            assert_eq!(header, body["__type"].as_str(), "{answer:?}");
            assert_eq!(header.is_none(), *status == 200, "{answer:?}");
            check_headers(answer, &["content-type"], &["x-amzn-errortype", "x-amzn-requestid"]);
            aws(*status, body, "")
        }
        "application/cbor" => {
            let body = cbor::to_json(&answer.body).expect("CBOR");
            assert_eq!(headers["smithy-protocol"], "rpc-v2-cbor");
            check_headers(answer, &["content-type", "smithy-protocol"], &["x-amzn-requestid"]);
            aws(*status, body, "com.amazonaws.workspaces#")
        }
        _ => panic!("{answer:?} is of no face"),
    }
}

fn envelope(answer: &Answer) -> Verdict {
    let Answer { status, headers, body } = answer;
    assert_eq!(headers["cache-control"], "no-store");
    let check_headers = |required: &[&str], optional: &[&str]| {
        let required = [&["content-type", "cache-control"], required].concat();
        check_headers(answer, &required, optional);
    };
    if *status < 400 {
        assert!(body.starts_with(br#"{"success":true,"data":{"#), "{answer:?}");
        let Success { success, data } = serde_json::from_slice(body).expect("a success");
        assert!(success);
        return match status {
            202 => {
                assert!(data.keys().eq(["created_at", "id"]), "{answer:?}");
                let end = format!("/{}", data["id"].as_str().expect("a text"));
                let location = headers.get("location");
                assert!(location.is_none_or(|location| location.ends_with(&end)), "{answer:?}");
                assert_eq!(headers["retry-after"], "60");
                check_headers(&["retry-after"], &["location", "idempotency-replayed"]);
                Verdict::Accepted
            }
            200 => {
                check_headers(&[], &["retry-after"]);
                Verdict::Done
            }
            _ => panic!("{answer:?}"),
        };
    }
    assert!(body.starts_with(br#"{"success":false,"error":{"code":"#), "{answer:?}");
    let Failure { success, error } = serde_json::from_slice(body).expect("a failure");
    assert!(!success);
    check_message(&error.message);
    let prefix = "Invalid request parameters: ";
    assert_eq!(error.message.starts_with(prefix), *status == 400, "{answer:?}");
    match &*error.code {
        "METHOD_NOT_ALLOWED" => check_headers(&["allow"], &[]),
        "SERVICE_UNAVAILABLE" => check_headers(&["retry-after"], &[]),
        "INVALID_WORKSPACE_STATE" => check_headers(&[], &["retry-after"]),
        "OUTCOME_UNKNOWN" => check_headers(&[], &["location"]),
        _ => check_headers(&[], &[]),
    }
    match (status, &*error.code) {
        (400, "VALIDATION_ERROR")
        | (404, "NOT_FOUND")
        | (405, "METHOD_NOT_ALLOWED")
        | (413, "PAYLOAD_TOO_LARGE")
        | (415, "UNSUPPORTED_MEDIA_TYPE") => Verdict::Invalid,
        (404, "WORKSPACE_NOT_FOUND" | "REBUILD_NOT_FOUND")
        | (409, "INVALID_WORKSPACE_STATE" | "WORKSPACE_PROTECTED" | "REBUILD_NOT_CANCELLABLE")
        | (422, "IDEMPOTENCY_KEY_REUSED") => Verdict::Refused,
        (503, "SERVICE_UNAVAILABLE") => unavailable(&error.message),
        (500, "INTERNAL_ERROR") | (504, "OUTCOME_UNKNOWN") => Verdict::Fault,
        _ => panic!("{answer:?}"),
    }
}

/// An answer of an AWS face; its error types start with `namespace`.
fn aws(status: u16, body: Value, namespace: &str) -> Verdict {
    if status == 200 {
        let names: Vec<_> = body.as_object().expect("an object").keys().collect();
        return match names[..] {
            [name] if name == "FailedRequests" => {
                let failed =
                    Vec::<FailedRequest>::deserialize(&body[name]).expect("failed requests");
                let Some(request) = failed.first() else { return Verdict::Accepted };
                assert!(failed.len() == 1 && is_workspace_id(&request.workspace_id), "{body}");
                assert!(request.error_code.ends_with(".Workspace"), "{body}");
                check_message(&request.error_message);
                Verdict::Refused
            }
            [.., name] if name == "Workspaces" => Verdict::Done,
            _ => panic!("{body}"),
        };
    }
    let Shape { __type, message } = serde_json::from_value(body).expect("an error");
    check_message(&message);
    match (status, __type.strip_prefix(namespace).expect("the namespace")) {
        (400, "SerializationException" | "ValidationException" | "UnknownOperationException")
        | (413, "RequestEntityTooLargeException") => Verdict::Invalid,
        // Also for a key that was used before with other parameters.
        (400, "InvalidParameterValuesException") => Verdict::Refused,
        (400, "ThrottlingException") => Verdict::Unavailable,
        (503, "ServiceUnavailableException") => unavailable(&message),
        (500, "InternalFailure") => Verdict::Fault,
        _ => panic!("{status} {__type}"),
    }
}

/// An event may have a time of long ago, and is then refused before anything is read.
fn unavailable(message: &str) -> Verdict {
    if message.starts_with("the request was held up") {
        Verdict::Invalid
    } else {
        Verdict::Unavailable
    }
}

/// All messages are fixed texts with at most an id and a state in them.
fn check_message(message: &str) {
    assert!(!message.is_empty() && message.is_ascii() && !message.contains(RAW), "{message}");
}

fn check_headers(answer: &Answer, required: &[&str], optional: &[&str]) {
    let names: BTreeSet<_> = answer.headers.keys().map(String::as_str).collect();
    let is_known = |name: &&str| required.contains(name) || optional.contains(name);
    assert!(names.iter().all(is_known), "{answer:?}");
    assert!(required.iter().all(|name| names.contains(name)), "{answer:?}");
}
