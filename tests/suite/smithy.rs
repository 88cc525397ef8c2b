//! Smithy's own test cases for servers, by analogy: each case has the id that it has in
//! <https://github.com/smithy-lang/smithy> (`rpcv2Cbor`, `awsJson1_1`), with members of this API.
//!
//! Left out are cases about what this API does not have (maps, unions, blobs, defaults, floats other
//! than in unknown members, recursive shapes, operations without input or output, documents, event
//! streams) and cases for clients.

use serde_json::{Value, json};

use crate::aws_cbor::{body_of, rebuild, shape_id, to_json};
use crate::lambda::event;
use crate::system::{Answer, Ask, SAMPLES, System};

const DESCRIBE_PATH: &str = "/service/WorkspacesService/operation/DescribeWorkspaces";
const CBOR: [(&str, &str); 3] = [
    ("smithy-protocol", "rpc-v2-cbor"),
    ("accept", "application/cbor"),
    ("content-type", "application/cbor"),
];

/// Requests of `DescribeWorkspaces`: the case, the body in CBOR, and the body of the same meaning in
/// JSON.
const REQUESTS: &[(&str, &[u8], &str)] = &[
    ("NoInputServerAllowsEmptyCbor", b"\xbf\xff", "{}"),
    ("NoInputServerAllowsEmptyBody", b"", "{}"),
    ("empty_input", b"\xbf\xff", "{}"),
    ("empty_input_no_body", b"", "{}"),
    ("optional_input", b"\xbf\xff", "{}"),
    (
        "RpcV2CborSimpleScalarProperties",
        b"\xbf\x6bDirectoryId\x6cd-906700a1b2\x65Limit\x02\xff",
        r#"{"DirectoryId":"d-906700a1b2","Limit":2}"#,
    ),
    (
        "RpcV2CborSimpleScalarPropertiesUsingIndefiniteLength",
        b"\xa2\x7f\x69Directory\x62Id\xff\x7f\x62d-\x6a906700a1b2\xff\x7f\x65Limit\xff\x02",
        r#"{"DirectoryId":"d-906700a1b2","Limit":2}"#,
    ),
    (
        "RpcV2CborServerDoesntDeSerializeNullStructureValues",
        b"\xbf\x68UserName\xf6\xff",
        r#"{"UserName":null}"#,
    ),
    ("RpcV2CborSupportsNaNFloatInputs", b"\xbf\x61x\xfb\x7f\xf8\0\0\0\0\0\0\x61y\xfa\x7f\xc0\0\0\xff", "{}"),
    ("RpcV2CborSupportsInfinityFloatInputs", b"\xbf\x61x\xfb\x7f\xf0\0\0\0\0\0\0\x61y\xfa\x7f\x80\0\0\xff", "{}"),
    (
        "RpcV2CborSupportsNegativeInfinityFloatInputs",
        b"\xbf\x61x\xfb\xff\xf0\0\0\0\0\0\0\x61y\xfa\xff\x80\0\0\xff",
        "{}",
    ),
    (
        "RpcV2CborIndefiniteLengthStringsCanBeDeserialized",
        b"\xbf\x6bDirectoryId\x7f\x62d-\x649067\x66\x30\x30a1b2\xff\xff",
        r#"{"DirectoryId":"d-906700a1b2"}"#,
    ),
    ("RpcV2CborIndefiniteLengthByteStringsCanBeDeserialized", b"\xbf\x61x\x5f\x42ab\x41c\xff\xff", "{}"),
    ("RpcV2CborSupportsUpcastingData", b"\xbf\x65Limit\x18\x02\x61x\xf9\x3e\x00\xff", r#"{"Limit":2}"#),
    ("RpcV2CborSupportsUpcastingData", b"\xbf\x65Limit\x19\0\x02\xff", r#"{"Limit":2}"#),
    ("RpcV2CborSupportsUpcastingData", b"\xbf\x65Limit\x1a\0\0\0\x02\xff", r#"{"Limit":2}"#),
    ("RpcV2CborSupportsUpcastingData", b"\xbf\x65Limit\x1b\0\0\0\0\0\0\0\x02\xff", r#"{"Limit":2}"#),
    (
        "RpcV2CborExtraFieldsInTheBodyShouldBeSkippedByServers",
        b"\xbf\x61x\xbf\x61a\xbf\x61b\x9f\x01\x02\xff\xff\x61c\xa1\x61d\x83\x01\x02\x03\xff\
          \x61y\x7f\x62ab\x61c\xff\x61z\xc1\x1a\x53\x5f\xf5\xce\x65Limit\x02\xff",
        r#"{"Limit":2}"#,
    ),
    (
        "RpcV2CborLists",
        b"\xbf\x6cWorkspaceIds\x9f\x70ws-available0001\x6ews-stopped0001\xff\xff",
        r#"{"WorkspaceIds":["ws-available0001","ws-stopped0001"]}"#,
    ),
    ("RpcV2CborListsEmpty", b"\xbf\x6cWorkspaceIds\x9f\xff\xff", r#"{"WorkspaceIds":[]}"#),
    ("RpcV2CborListsEmptyUsingDefiniteLength", b"\xa1\x6cWorkspaceIds\x80", r#"{"WorkspaceIds":[]}"#),
    (
        "RpcV2CborIndefiniteStringInsideIndefiniteList",
        b"\xbf\x6cWorkspaceIds\x9f\x7f\x63ws-\x6bstopped0001\xff\x7f\x70ws-available0001\xff\x6cws-error0001\xff\xff",
        r#"{"WorkspaceIds":["ws-stopped0001","ws-available0001","ws-error0001"]}"#,
    ),
    (
        "RpcV2CborIndefiniteStringInsideDefiniteList",
        b"\xa1\x6cWorkspaceIds\x83\x7f\x63ws-\x6bstopped0001\xff\x7f\x70ws-available0001\xff\x6cws-error0001",
        r#"{"WorkspaceIds":["ws-stopped0001","ws-available0001","ws-error0001"]}"#,
    ),
    // The list is not sparse.
    ("RpcV2CborSparseListsSerializeNull", b"\xbf\x6cWorkspaceIds\x9f\xf6\xff\xff", r#"{"WorkspaceIds":[null]}"#),
];

/// The status and body of a Lambda response in CBOR, as JSON.
fn decode(response: &Value) -> (u64, Value) {
    assert_eq!(response["isBase64Encoded"], true, "{response}");
    let body = response["body"].as_str().expect("a text");
    let body = aws_smithy_types::base64::decode(body).expect("base64");
    let body = ciborium::from_reader(&body[..]).expect("CBOR");
    (response["statusCode"].as_u64().expect("a status"), to_json(&body))
}

#[tokio::test]
async fn a_request_in_cbor_means_what_it_means_in_json() {
    let system = System::start().await;
    for (case, body, json) in REQUESTS {
        let response = system.invoke(&event("POST", DESCRIBE_PATH, &CBOR, body)).await;
        let wanted = system.send(&Ask::aws("DescribeWorkspaces", *json)).await;
        let mut body = wanted.json();
        if let Some(name) = body["__type"].as_str() {
            body["__type"] = shape_id(name).into();
        }
        assert_eq!(decode(&response), (wanted.status.into(), body), "{case}");
    }
}

#[tokio::test]
async fn headers_that_a_request_in_cbor_may_leave_out() {
    let system = System::start().await;
    let [protocol, accept, content_type] = CBOR;
    let rows = [
        ("no_input", vec![protocol, accept], &b""[..]),
        ("RpcV2CborServersShouldHandleNoAcceptHeader", vec![protocol, content_type], b"\xbf\xff"),
        ("empty_input_no_body_has_accept", vec![protocol, accept, content_type], b""),
    ];
    for (case, headers, body) in rows {
        let response = system.invoke(&event("POST", DESCRIBE_PATH, &headers, body)).await;
        assert_eq!(decode(&response).0, 200, "{case}");
    }
}

#[tokio::test]
async fn answers_in_cbor() {
    let system = System::start().await;
    let error = system.send(&Ask::cbor("RebuildWorkspaces", *b"\xbf\xff")).await;
    let shape = &body_of(&error)["__type"];
    let case = "RpcV2CborInvalidGreetingError";
    assert_eq!((error.status, shape), (400, &shape_id("ValidationException").into()), "{case}");
    let accepted = system.send(&rebuild("ws-available0001")).await;
    assert_eq!(body_of(&accepted), json!({ "FailedRequests": [] }), "RpcV2CborListsEmpty");
    let all = body_of(&system.send(&Ask::cbor("DescribeWorkspaces", *b"\xbf\xff")).await);
    assert!(all["Workspaces"].as_array().is_some_and(|all| all.len() == SAMPLES), "RpcV2CborLists");
    let no_null = "RpcV2CborServerDoesntSerializeNullStructureValues";
    assert!(!all.to_string().contains("null"), "{no_null}");
}

/// What a JSON case asks of the answer.
type Holds = fn(&Answer) -> bool;

#[tokio::test]
async fn cases_of_aws_json() {
    let system = System::start().await;
    let describe = |body: &str| Ask::aws("DescribeWorkspaces", body);
    let charset = "application/x-amz-json-1.1; charset=utf-8";
    let with_charset = describe("{}").without("content-type").with("content-type", charset);
    let is_list: Holds = |answer| answer.status == 200 && answer.json()["Workspaces"].is_array();
    let is_refused: Holds =
        |answer| answer.status == 400 && answer.json()["__type"] == "SerializationException";
    let two = json!({ "WorkspaceIds": ["ws-stopped0001", "ws-available0001"] }).to_string();
    let rows: [(&str, Ask, Holds); 14] = [
        ("AwsJson11MustSupportParametersInContentType", with_charset, is_list),
        ("sends_requests_to_slash", describe("{}"), is_list),
        ("sends_requests_to_slash", describe("{}").at("/x"), |answer| answer.status == 400),
        ("includes_x_amz_target_and_content_type", describe("{}").without("content-type"), is_list),
        ("json_1_1_service_supports_empty_payload_for_no_input_shape", describe(""), is_list),
        ("can_call_operation_with_optional_input", describe("{}"), is_list),
        (
            "AwsJson11ServersDontDeserializeNullStructureValues",
            describe(r#"{"UserName":null}"#),
            is_list,
        ),
        ("AwsJson11ServersDontSerializeNullStructureValues", describe("{}"), |answer| {
            !String::from_utf8_lossy(&answer.body).contains("null")
        }),
        ("AwsJson11SparseListsSerializeNull", describe(r#"{"WorkspaceIds":[null]}"#), is_refused),
        ("serializes_integer_shapes", describe(r#"{"Limit":2}"#), |answer| {
            answer.json()["Workspaces"].as_array().is_some_and(|all| all.len() == 2)
        }),
        ("serializes_list_shapes", describe(&two), |answer| {
            answer.json()["Workspaces"][1]["WorkspaceId"] == "ws-available0001"
        }),
        ("serializes_empty_list_shapes", describe(r#"{"WorkspaceIds":[]}"#), |answer| {
            answer.json()["__type"] == "ValidationException"
        }),
        ("AwsJson11InvalidGreetingError", describe(r#"{"Limit":0}"#), |answer| {
            let body = answer.json();
            body.as_object().is_some_and(|body| body.keys().eq(["__type", "message"]))
        }),
        ("parses_the_request_id_from_the_response", describe("{}"), |answer| {
            answer.header("x-amzn-requestid").is_some_and(|id| !id.is_empty())
        }),
    ];
    for (case, ask, holds) in rows {
        let answer = system.send(&ask).await;
        assert!(holds(&answer), "{case}: {answer:?}");
    }
}
