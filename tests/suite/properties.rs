//! Arbitrary requests for WorkSpaces that don't exist: the function refuses each in the format of
//! its face, without a panic or a 5xx, and writes nothing.

use std::fmt::Debug;

use aws_smithy_types::base64;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::aws_cbor::{self, to_json};
use crate::lambda::event;
use crate::system::{SAMPLES, System};

const ID: &str = "ws-nosuchone0001";
const TARGET: (&str, &str) = ("x-amz-target", "WorkspacesService.RebuildWorkspaces");

const CBOR: [(&str, &str); 2] =
    [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
const CBOR_PATH: &str = "/service/WorkspacesService/operation/RebuildWorkspaces";

/// Sends an event for each generated case, and checks that its face refuses it.
fn assert_all_refused<S: Strategy>(cases: S, request: impl Fn(&S::Value) -> Value)
where
    S::Value: Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let system = runtime.block_on(System::start());
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&cases, |case| {
        let event = request(&case);
        let response = runtime.block_on(system.invoke(&event));
        let headers = event["multiValueHeaders"].as_object().expect("headers");
        match face_of(headers) {
            Face::AwsCbor => refused_in_cbor(&response),
            Face::AwsJson => refused_in_aws_json(&response),
            Face::Envelope => refused_in_envelope(&response),
        }
    });
    runtime.block_on(async {
        let items = system.client.scan().table_name("workspaces").send().await.expect("an answer");
        assert!(items.items().iter().all(|item| !item.contains_key("Rebuild")));
        assert_eq!(items.items().len(), SAMPLES);
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

enum Face {
    Envelope,
    AwsJson,
    AwsCbor,
}

fn face_of(headers: &serde_json::Map<String, Value>) -> Face {
    let media_type =
        headers.get("content-type").and_then(|values| values[0].as_str()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is = |name| media_type.eq_ignore_ascii_case(name);
    if headers.contains_key("smithy-protocol") || is("application/cbor") {
        Face::AwsCbor
    } else if headers.contains_key("x-amz-target") || is("application/x-amz-json-1.1") {
        Face::AwsJson
    } else {
        Face::Envelope
    }
}

fn body(response: &Value) -> Value {
    assert_eq!(response["isBase64Encoded"], false);
    serde_json::from_str(response["body"].as_str().expect("a text")).expect("JSON")
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn refused_in_envelope(response: &Value) -> Result<(), TestCaseError> {
    let (status, body) = (response["statusCode"].as_u64(), body(response));
    prop_assert!(status.is_some_and(|status| (400..500).contains(&status)), "{response}");
    prop_assert_eq!(&response["multiValueHeaders"]["content-type"], &json!(["application/json"]));
    prop_assert_eq!(names(&body), ["error", "success"]);
    prop_assert_eq!(&body["success"], &json!(false));
    prop_assert_eq!(names(&body["error"]), ["code", "message"]);
    prop_assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
    Ok(())
}

fn refused_in_aws_json(response: &Value) -> Result<(), TestCaseError> {
    let body = body(response);
    let headers = &response["multiValueHeaders"];
    prop_assert_eq!(&headers["content-type"], &json!(["application/x-amz-json-1.1"]));
    if response["statusCode"] != 200 {
        prop_assert_eq!(&headers["x-amzn-errortype"], &json!([body["__type"]]));
    }
    refused_by_aws(response, &body)
}

fn refused_in_cbor(response: &Value) -> Result<(), TestCaseError> {
    let headers = &response["multiValueHeaders"];
    prop_assert_eq!(&headers["content-type"], &json!(["application/cbor"]));
    prop_assert_eq!(&headers["smithy-protocol"], &json!(["rpc-v2-cbor"]));
    prop_assert_eq!(&response["isBase64Encoded"], &json!(true));
    let body = base64::decode(response["body"].as_str().expect("a text")).expect("base64");
    refused_by_aws(response, &to_json(&ciborium::from_reader(&body[..]).expect("CBOR")))
}

/// On the AWS faces, an unknown WorkSpace is a failed request in a 200.
fn refused_by_aws(response: &Value, body: &Value) -> Result<(), TestCaseError> {
    let status = response["statusCode"].as_u64();
    if status == Some(200) {
        let failed = body["FailedRequests"].as_array().expect("an array");
        prop_assert_eq!(failed.len(), 1, "{}", response);
        prop_assert_eq!(&failed[0]["ErrorCode"], &json!("ResourceNotFound.Workspace"));
    } else {
        prop_assert!(status.is_some_and(|status| (400..500).contains(&status)), "{response}");
        prop_assert_eq!(names(body), ["__type", "message"]);
        prop_assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    Ok(())
}

/// Headers that select a face, or none.
fn face() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![("content-type", "application/json")]),
        Just(vec![("content-type", "application/x-amz-json-1.1")]),
        Just(vec![TARGET]),
        Just(CBOR.to_vec()),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!(ID)),
    ];
    let name = prop_oneof!["RebuildWorkspaceRequests", "WorkspaceId", "Reason", ".{0,8}"];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A valid request with a few bytes replaced.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let valid =
        json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": ID }], "Reason": "ticket 4711" });
    let by = prop_oneof![
        vec(any::<u8>(), 0..4),
        "[\\[\\]{}\",:0-9a-zn-]{0,4}".prop_map(String::into_bytes)
    ];
    damaged(valid.to_string().into_bytes(), by)
}

/// A request with a few bytes replaced by others.
fn damaged(request: Vec<u8>, by: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let length = request.len();
    (0..length, 0..8_usize, by).prop_map(move |(start, count, by)| {
        let mut bytes = request.clone();
        bytes.splice(start..length.min(start + count), by);
        bytes
    })
}

#[test]
fn arbitrary_bytes_are_refused() {
    assert_all_refused((face(), bytes()), |(face, body)| event("POST", "/", face, body));
}

#[test]
fn arbitrary_bytes_are_refused_as_cbor() {
    assert_all_refused(bytes(), |body| event("POST", CBOR_PATH, &CBOR, body));
}

#[test]
fn arbitrary_values_are_refused_as_cbor() {
    assert_all_refused(json_value(), |value| {
        let value = ciborium::Value::serialized(value).expect("CBOR");
        event("POST", CBOR_PATH, &CBOR, &aws_cbor::bytes(&value))
    });
}

#[test]
fn nearly_valid_cbor_is_refused() {
    let valid = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": ID }], "Limit": 5 });
    let valid = aws_cbor::bytes(&ciborium::Value::serialized(&valid).expect("CBOR"));
    assert_all_refused(damaged(valid, vec(any::<u8>(), 0..4)), |body| {
        event("POST", CBOR_PATH, &CBOR, body)
    });
}

#[test]
fn arbitrary_json_is_refused() {
    assert_all_refused((face(), json_value()), |(face, body)| {
        event("POST", "/", face, body.to_string().as_bytes())
    });
}

#[test]
fn a_nearly_valid_body_is_refused() {
    assert_all_refused((face(), nearly_valid()), |(face, body)| event("POST", "/", face, body));
}

#[test]
fn an_arbitrary_id_is_refused() {
    let id = prop_oneof!["ws-[0-9a-z]{6,66}", ".{0,80}", "ws-.{8,20}"];
    assert_all_refused((face(), id), |(face, id)| {
        let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }] });
        event("POST", "/", face, body.to_string().as_bytes())
    });
}

#[test]
fn arbitrary_headers_are_refused() {
    let name = prop_oneof![
        Just("content-type"),
        Just("idempotency-key"),
        Just("amz-sdk-invocation-id"),
        Just("x-amz-target"),
        Just("smithy-protocol"),
        Just("accept"),
        Just("content-length"),
        Just("x-forwarded-proto"),
    ];
    let value = prop_oneof![
        "[ -~]{0,40}",
        "[!-~]{250,260}",
        "(application/)?(x-amz-)?json(-1\\.1)?(; ?charset=.{0,4})?",
        "(application/|rpc-v2-)?cbor",
    ];
    let value = value.prop_filter("a header", |value| {
        value.chars().all(|letter| letter == '\t' || (' '..='~').contains(&letter))
    });
    assert_all_refused(vec((name, value), 0..4), |headers| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": ID }] });
        event("POST", "/", &headers, body.to_string().as_bytes())
    });
}

#[test]
fn arbitrary_paths_and_methods_are_refused() {
    let method = prop_oneof!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let path = prop_oneof![
        "/[!-~&&[^?#]]{0,40}",
        "/workspaces/ws-[0-9a-z]{6,12}(/rebuilds(/[!-~&&[^?#]]{0,40})?)?",
        // Not empty, and no slash first: that would be the list of WorkSpaces.
        "/workspaces/[!-~&&[^?#/]][!-~&&[^?#]]{0,40}(/rebuilds)?",
    ];
    assert_all_refused((face(), method, path), |(face, method, path)| {
        event(method, path, face, b"")
    });
}
