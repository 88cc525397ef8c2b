//! The AWS CBOR face with handwritten requests. (`smithy.rs` has the protocol's own test cases.)

use ciborium::{Value as Cbor, cbor};
use serde_json::{Value as Json, json};

use crate::lambda::event;
use crate::system::{Answer, Ask, System};

const REBUILD_PATH: &str = "/service/WorkspacesService/operation/RebuildWorkspaces";

/// The bytes of a value.
pub fn bytes(value: &Cbor) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).expect("a vector takes all bytes");
    bytes
}

/// The request to rebuild a WorkSpace.
pub fn rebuild(id: &str) -> Ask {
    let body = cbor!({ "RebuildWorkspaceRequests" => [{ "WorkspaceId" => id }] });
    Ask::cbor("RebuildWorkspaces", bytes(&body.expect("CBOR")))
}

/// The absolute id of an error's shape.
pub fn shape_id(name: &str) -> String {
    format!("com.amazonaws.workspaces#{name}")
}

/// Checks that an answer is of this face; returns its body as JSON.
pub fn body_of(answer: &Answer) -> Json {
    let headers: Vec<_> = answer.headers.keys().map(String::as_str).collect();
    assert_eq!(headers, ["content-type", "smithy-protocol", "x-amzn-requestid"], "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/cbor"));
    assert_eq!(answer.header("smithy-protocol"), Some("rpc-v2-cbor"));
    to_json(&answer.cbor())
}

/// The value as AWS JSON has it: a timestamp is a number.
pub fn to_json(value: &Cbor) -> Json {
    match value {
        Cbor::Array(values) => values.iter().map(to_json).collect(),
        Cbor::Map(members) => {
            let member = |(name, value): &(Cbor, Cbor)| {
                (name.as_text().expect("a name").to_owned(), to_json(value))
            };
            Json::Object(members.iter().map(member).collect())
        }
        Cbor::Tag(1, seconds) => to_json(seconds),
        scalar => scalar.deserialized().expect("a JSON value"),
    }
}

/// Sends requests that must be refused, each with the status, the name of the error and its message.
async fn each_is_refused(rows: Vec<(Ask, (u16, &str), &str)>) {
    let system = System::start().await;
    for (ask, (status, name), message) in rows {
        let answer = system.send(&ask).await;
        assert_eq!(answer.status, status, "{ask:?}");
        let expected = json!({ "__type": shape_id(name), "message": message });
        assert_eq!(body_of(&answer), expected, "{ask:?}");
    }
    assert!(system.wire.seen().is_empty());
}

const SERIALIZATION: (u16, &str) = (400, "SerializationException");

#[tokio::test]
async fn a_body_is_valid_or_refused_by_name() {
    let raw = |body: &[u8]| Ask::cbor("RebuildWorkspaces", body);
    let describe = |body: &[u8]| Ask::cbor("DescribeWorkspaces", body);
    let validation = (400, "ValidationException");
    let values = (400, "InvalidParameterValuesException");
    let invalid = "the body is not valid CBOR";
    let object = "the body must be an object, with each field once";
    let integer = "Limit must be an integer";
    let null = "1 validation error detected: Value at 'rebuildWorkspaceRequests' \
        failed to satisfy constraint: Member must not be null";
    let limit = "1 validation error detected: Value at 'limit' failed to satisfy constraint: \
        Member must have value less than or equal to 25";
    each_is_refused(vec![
        // Not CBOR: cut off, a reserved length, a break outside, more after the end, bad UTF-8, deep.
        (raw(b"\xa1"), SERIALIZATION, invalid),
        (raw(b"\xbc"), SERIALIZATION, invalid),
        (raw(b"\xff"), SERIALIZATION, invalid),
        (raw(b"\xa0\xa0"), SERIALIZATION, invalid),
        (raw(b"\xa1\x61\xff\x01"), SERIALIZATION, invalid),
        (raw(b"{}"), SERIALIZATION, invalid),
        // Also not CBOR, though some decoders read it: a string within a string, `null` in two bytes.
        (describe(b"\xa1\x7f\x7f\x65Limit\xff\xff\x02"), SERIALIZATION, invalid),
        (describe(b"\xa1\x69NextToken\xf8\x16"), SERIALIZATION, invalid),
        // Values that the protocol does not have.
        (describe(b"\xa1\x61x\xf0"), SERIALIZATION, invalid),
        (describe(&[&b"\xa1\x61x\xc3\x50"[..], &[0xff; 16]].concat()), SERIALIZATION, invalid),
        // A length that no body has.
        (raw(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), SERIALIZATION, invalid),
        (raw(b"\xa1\x61x\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"), SERIALIZATION, invalid),
        // Not a map with text as names, each once.
        (raw(b"\x80"), SERIALIZATION, object),
        (raw(b"\xf6"), SERIALIZATION, object),
        (raw(b"\xa1\x01\x02"), SERIALIZATION, object),
        (raw(b"\xa2\x61x\x01\x61x\x02"), SERIALIZATION, object),
        (raw(b"\xd9\xd9\xf7\xa0"), SERIALIZATION, object),
        // Other types than the member's: text, a tag, floats, integers that are too large.
        (describe(b"\xa1\x65Limit\x615"), SERIALIZATION, integer),
        (describe(b"\xa1\x65Limit\xc1\x05"), SERIALIZATION, integer),
        (describe(b"\xa1\x65Limit\xf9\x45\x00"), SERIALIZATION, integer),
        (describe(b"\xa1\x65Limit\xf9\x7e\x00"), SERIALIZATION, integer),
        (describe(b"\xa1\x65Limit\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), SERIALIZATION, integer),
        (describe(b"\xa1\x65Limit\x3b\xff\xff\xff\xff\xff\xff\xff\xff"), SERIALIZATION, integer),
        (describe(b"\xa1\x68UserName\x42bo"), SERIALIZATION, "UserName must be a string"),
        (describe(b"\xa1\x6cWorkspaceIds\xa0"), SERIALIZATION, "WorkspaceIds must be an array"),
        (describe(b"\xa1\x65Limit\x1b\x7f\xff\xff\xff\xff\xff\xff\xff"), validation, limit),
        (raw(b"\xa0"), validation, null),
        (raw(b""), validation, null),
        // `null` and `undefined` count as absent.
        (raw(b"\xa1\x78\x18RebuildWorkspaceRequests\xf6"), validation, null),
        (raw(b"\xa1\x78\x18RebuildWorkspaceRequests\xf7"), validation, null),
        (describe(b"\xa1\x69NextToken\x61x"), values, "NextToken is not one of this listing's"),
    ])
    .await;
}

#[tokio::test]
async fn another_path_protocol_or_content_type_is_refused() {
    let operation = |operation: &str| rebuild("ws-available0001").at(&format!("/{operation}"));
    let of_type = |name: Option<&str>| {
        let ask = rebuild("ws-available0001").without("content-type");
        name.map_or(ask.clone(), |name| ask.with("content-type", name))
    };
    let protocol = |name: &str| {
        rebuild("ws-available0001").without("smithy-protocol").with("smithy-protocol", name)
    };
    let unknown = (400, "UnknownOperationException");
    let too_large = (413, "RequestEntityTooLargeException");
    let known =
        "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces";
    let content_type = "the content-type must be application/cbor";
    let wanted = "the header smithy-protocol must be rpc-v2-cbor";
    let target = "a request in CBOR must not have x-amz-target";
    each_is_refused(vec![
        (operation("service/WorkspacesService/operation/Nothing"), unknown, known),
        (operation("service/WorkspacesService/operation/"), unknown, known),
        (operation("service/WorkspacesService/operation/RebuildWorkspaces/"), unknown, known),
        (operation("service/Workspaces/operation/RebuildWorkspaces"), unknown, known),
        (operation("v1/service/WorkspacesService/operation/RebuildWorkspaces"), unknown, known),
        (operation("service/WorkspacesService/operation/Rebuild%57orkspaces"), unknown, known),
        (
            operation(
                "service/com.amazonaws.workspaces.WorkspacesService/operation/RebuildWorkspaces",
            ),
            unknown,
            known,
        ),
        (operation(""), unknown, known),
        (operation("workspaces/ws-available0001/rebuilds"), unknown, known),
        (rebuild("ws-available0001").by("GET"), unknown, known),
        (protocol("rpc-v2-json"), SERIALIZATION, wanted),
        (protocol(""), SERIALIZATION, wanted),
        (rebuild("ws-available0001").without("smithy-protocol"), SERIALIZATION, wanted),
        (of_type(None), SERIALIZATION, content_type),
        (of_type(Some("application/json")), SERIALIZATION, content_type),
        (
            rebuild("ws-available0001").with("x-amz-target", "WorkspacesService.RebuildWorkspaces"),
            SERIALIZATION,
            target,
        ),
        (rebuild("ws-available0001").with("x-amzn-target", ""), SERIALIZATION, target),
        (
            Ask::cbor("RebuildWorkspaces", vec![0; 16_385]),
            too_large,
            "the body is larger than 16 KiB",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_rebuild_has_the_outcomes_of_the_json_face() {
    let system = System::start().await;
    for id in ["ws-available0001", "ws-suspended0001", "ws-protected0001", "ws-nosuchone0001"] {
        let ask = rebuild(id).with("amz-sdk-invocation-id", "4711");
        let answer = system.send(&ask).await;
        assert_eq!(answer.status, 200);
        assert_eq!(system.wire.operations(), ["UpdateItem"], "{id}");
        // The face is not part of the key, so the same call over JSON is a repeat.
        let json = system.send(&Ask::aws_rebuild(id).with("amz-sdk-invocation-id", "4711")).await;
        assert_eq!(body_of(&answer), json.json(), "{id}");
        system.wire.operations();
    }
    assert_eq!(system.item("ws-available0001").await["State"], "REBUILDING");
}

#[tokio::test]
async fn a_listing_is_paged_as_over_json() {
    let system = System::start().await;
    let mut token = None;
    for _ in 0..3 {
        let over_json = json!({ "Limit": 8, "NextToken": token });
        let over_cbor = bytes(&Cbor::serialized(&over_json).expect("CBOR"));
        let json = system.send(&Ask::aws("DescribeWorkspaces", over_json.to_string())).await.json();
        let cbor = system.send(&Ask::cbor("DescribeWorkspaces", over_cbor)).await;
        assert_eq!(cbor.status, 200);
        assert_eq!(body_of(&cbor), json);
        token = json["NextToken"].as_str().map(str::to_owned);
    }
    assert_eq!(token, None, "all samples are on three pages");
}

#[tokio::test]
async fn a_time_is_a_number_in_json_and_has_its_tag_in_cbor() {
    let system = System::start().await;
    let ids = json!({ "WorkspaceIds": ["ws-error0001"] });
    let json = system.send(&Ask::aws("DescribeWorkspaces", ids.to_string())).await.json();
    let settings =
        json!({ "DataReplication": "PRIMARY_AS_SOURCE", "RecoverySnapshotTime": 1_735_689_600 });
    assert_eq!(json["Workspaces"][0]["DataReplicationSettings"], settings);
    let ask = Ask::cbor("DescribeWorkspaces", bytes(&Cbor::serialized(&ids).expect("CBOR")));
    let answer = system.send(&ask).await.body;
    let time = [&b"\x74RecoverySnapshotTime"[..], b"\xc1\x1a\x67\x74\x85\x80"].concat();
    assert_eq!(answer.windows(time.len()).filter(|part| *part == time).count(), 2);
}

/// API Gateway gives bytes to clients whose first `Accept` is `application/cbor`.
#[tokio::test]
async fn the_gateway_sends_bytes_to_whom_accepts_them() {
    let system = System::start().await;
    let accept = |value: &str| rebuild("ws-suspended0001").without("accept").with("accept", value);
    let answer = system.send(&accept("application/cbor")).await;
    for value in ["application/cbor;q=1, */*", "Application/CBOR"] {
        assert_eq!(system.send(&accept(value)).await.body, answer.body);
    }
    let text = aws_smithy_types::base64::encode(&answer.body);
    for value in ["*/*", "text/html, application/cbor", ""] {
        assert_eq!(system.send(&accept(value)).await.body, text);
    }
    assert_eq!(system.send(&rebuild("ws-suspended0001").without("accept")).await.body, text);
}

/// A policy of IAM is about the client's path.
#[tokio::test]
async fn only_the_clients_own_spelling_of_the_path_counts() {
    let system = System::start().await;
    let ask = cbor!({ "RebuildWorkspaceRequests" => [{ "WorkspaceId" => "ws-available0001" }] });
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    let mut event = event("POST", REBUILD_PATH, &headers, &bytes(&ask.expect("CBOR")));
    for path in ["/v1/service/WorkspacesService/operation/Rebuild%57orkspaces", "/v1", ""] {
        event["requestContext"]["path"] = json!(path);
        assert_eq!(system.invoke(&event).await["statusCode"], 400, "{path}");
    }
    event["requestContext"]["path"] = json!(format!("/desk{REBUILD_PATH}"));
    assert_eq!(system.invoke(&event).await["statusCode"], 200, "behind a custom domain");
}
