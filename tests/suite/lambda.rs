//! The function as Lambda calls it: the fields of the event, and the serialised response.

use aws_smithy_types::base64;
use local::gateway;
use rebuild_workspaces::http::Event;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::service::Service;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::system::{Ask, System};

/// An API Gateway event with a request id of its own. The body is base64, so that it can be any
/// bytes.
pub fn event(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let proxy = path.trim_matches('/');
    let mut values = serde_json::Map::new();
    for (name, value) in headers {
        values.insert((*name).to_owned(), json!([value]));
    }
    json!({
        "resource": if proxy.is_empty() { "/" } else { "/{proxy+}" },
        "path": path,
        "httpMethod": method,
        "headers": {},
        "multiValueHeaders": values,
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": if proxy.is_empty() { Value::Null } else { json!({ "proxy": proxy }) },
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "stage": "v1",
            "path": format!("/v1{path}"),
            "httpMethod": method,
            "requestId": uuid::Uuid::now_v7(),
            "identity": {
                "sourceIp": "198.51.100.7",
                "userArn": "arn:aws:sts::123456789012:assumed-role/desk/ana.silva",
            },
        },
        "body": base64::encode(body),
        "isBase64Encoded": true,
    })
}

const ENVELOPE: (&str, &str) = ("content-type", "application/json");
const AWS_JSON: (&str, &str) = ("x-amz-target", "WorkspacesService.RebuildWorkspaces");

fn rebuild(id: &str, face: (&str, &str)) -> Value {
    let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }] });
    event("POST", "/", &[face], body.to_string().as_bytes())
}

#[tokio::test]
async fn answers_in_json_are_never_base64() {
    let system = System::start().await;
    for (face, content_type) in
        [(ENVELOPE, "application/json"), (AWS_JSON, "application/x-amz-json-1.1")]
    {
        for id in ["ws-available0001", "ws-suspended0001", "ws-nosuchone0001", "not an id"] {
            let response = system.invoke(&rebuild(id, face)).await;
            assert_eq!(response["isBase64Encoded"], false, "{response}");
            assert_eq!(response["multiValueHeaders"]["content-type"], json!([content_type]));
            let body = response["body"].as_str().expect("a text");
            assert!(
                serde_json::from_str::<Value>(body).is_ok_and(|body| body.is_object()),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn the_caller_is_stored() {
    let system = System::start().await;
    let stored = |item: Value| {
        let rebuild = item["Rebuild"].clone();
        ["RequestedBy", "SourceIp", "RequestId"].map(|name| rebuild[name].clone())
    };
    for (id, face) in [("ws-available0001", ENVELOPE), ("ws-stopped0001", AWS_JSON)] {
        let event = rebuild(id, face);
        system.invoke(&event).await;
        let caller = "arn:aws:sts::123456789012:assumed-role/desk/ana.silva";
        let request_id = event["requestContext"]["requestId"].as_str().expect("an id");
        assert_eq!(stored(system.item(id).await), [caller, "198.51.100.7", request_id]);
    }
    let mut unsigned = rebuild("ws-error0001", ENVELOPE);
    unsigned["requestContext"]["identity"]["userArn"] = Value::Null;
    system.invoke(&unsigned).await;
    assert_eq!(stored(system.item("ws-error0001").await)[0], Value::Null);
}

/// Default domain with a stage, custom domain, custom domain with a base path.
#[tokio::test]
async fn the_location_includes_the_stage_or_the_base_path() {
    let system = System::start().await;
    for (id, seen, root) in [
        ("ws-available0001", "/v1/", "/v1"),
        ("ws-error0001", "/v1", "/v1"),
        ("ws-unhealthy0001", "/", ""),
        ("ws-stopped0001", "/desk/", "/desk"),
        ("ws-rebooting0001", "/desk/it", "/desk/it"),
    ] {
        let mut event = rebuild(id, ENVELOPE);
        event["requestContext"]["path"] = json!(seen);
        let response = system.invoke(&event).await;
        let body: Value =
            serde_json::from_str(response["body"].as_str().expect("a text")).expect("JSON");
        let rebuild = body["data"]["id"].as_str().expect("an id");
        let location = format!("{root}/workspaces/{id}/rebuilds/{rebuild}");
        assert_eq!(response["multiValueHeaders"]["location"], json!([location]), "{seen}");
    }
}

/// The event's `path` starts with the base path, so the function reads the parameter `proxy`.
#[tokio::test]
async fn a_base_path_is_not_part_of_the_route() {
    let system = System::start().await;
    let mut event = event("GET", "/workspaces/ws-available0001", &[], b"");
    event["path"] = json!("/desk/workspaces/ws-available0001");
    event["requestContext"]["path"] = json!("/desk/workspaces/ws-available0001");
    assert_eq!(system.invoke(&event).await["statusCode"], 200);
}

const CBOR: [(&str, &str); 2] =
    [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];

/// A valid request for each face and path that changes something, or names a WorkSpace.
fn each_request() -> Vec<Value> {
    let one = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": "ws-available0001" }] });
    let cbor = crate::aws_cbor::bytes(&ciborium::Value::serialized(&one).expect("CBOR"));
    let workspace = "/workspaces/ws-available0001";
    let [rebuilds, protection] = ["rebuilds", "protection"].map(|it| format!("{workspace}/{it}"));
    let operation = "/service/WorkspacesService/operation/RebuildWorkspaces";
    vec![
        event("GET", "/rebuilds", &[], b""),
        event("GET", workspace, &[], b""),
        event("GET", &format!("/directories/d-906700a1b2{workspace}"), &[], b""),
        event("PUT", &protection, &[], b""),
        event("DELETE", &protection, &[], b""),
        event("POST", &rebuilds, &[], b""),
        event("POST", operation, &CBOR, &cbor),
        rebuild("ws-available0001", ENVELOPE),
        rebuild("ws-available0001", AWS_JSON),
    ]
}

/// The text of a response, whatever its face.
fn text_of(response: &Value) -> String {
    let body = response["body"].as_str().expect("a text");
    if response["isBase64Encoded"] == true {
        let bytes = base64::decode(body).expect("base64");
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    body.to_owned()
}

fn is_refused_path(response: &Value) -> bool {
    let text = text_of(response);
    match response["statusCode"].as_u64() {
        Some(404) => text.contains(r#""code":"NOT_FOUND""#),
        Some(400) => text.contains("UnknownOperationException"),
        _ => false,
    }
}

/// An IAM policy sees the client's spelling. API Gateway drops the slash at its end in `proxy` only.
#[tokio::test]
async fn a_path_is_spelt_as_the_route_has_it_or_not_found() {
    let system = System::start().await;
    for root in ["", "/v1", "/desk/it"] {
        for request in each_request() {
            let path = request["path"].as_str().expect("a path").to_owned();
            let mut spellings = vec![
                format!("{root}{path}//"),
                format!("{root}/{path}"),
                format!("/{root}{path}"),
                format!("{root}/.{path}"),
                format!("{root}/x/..{path}"),
                format!("{root}/%2e{path}"),
            ];
            if path == "/" {
                spellings.extend([format!("{root}/%2f"), format!("//{root}")]);
            } else {
                spellings.extend([
                    format!("{root}{path}/"),
                    format!("{root}{}", path.replacen('s', "%73", 1)),
                    format!("{root}{}", path.replacen('/', "//", 2)),
                    format!("{root}{path}x"),
                    root.to_owned(),
                    format!("{root}/"),
                ]);
            }
            for spelling in spellings {
                let mut event = request.clone();
                event["requestContext"]["path"] = json!(spelling);
                let response = system.invoke(&event).await;
                assert!(is_refused_path(&response), "{spelling} for {path}: {response}");
            }
        }
    }
    assert!(system.wire.seen().is_empty());
    for root in ["", "/v1", "/desk/it"] {
        for mut event in each_request() {
            let path = event["path"].as_str().expect("a path").to_owned();
            event["requestContext"]["path"] = json!(format!("{root}{path}"));
            let response = system.invoke(&event).await;
            assert!(!is_refused_path(&response), "{root} and {path}: {response}");
        }
    }
}

/// A local server may keep the slash in `proxy`.
#[tokio::test]
async fn a_slash_at_the_end_of_the_parameter_is_not_found() {
    let system = System::start().await;
    for method in ["GET", "POST", "DELETE"] {
        let mut event = event(method, "/workspaces/ws-available0001/rebuilds/", &[], b"");
        event["pathParameters"]["proxy"] = json!("workspaces/ws-available0001/rebuilds/");
        let response = system.invoke(&event).await;
        assert!(is_refused_path(&response), "{response}");
    }
}

/// `sam local start-api` gives the pattern of the route in place of the client's path.
#[tokio::test]
async fn where_the_context_has_the_pattern_of_the_route_the_path_is_the_events() {
    let system = System::start().await;
    let by_sam = |mut event: Value| {
        event["requestContext"]["path"] = event["resource"].clone();
        event["requestContext"]["resourcePath"] = event["resource"].clone();
        event
    };
    for request in each_request() {
        let response = system.invoke(&by_sam(request.clone())).await;
        assert!(!is_refused_path(&response), "{response}");
        if request["resource"] == "/{proxy+}" {
            let mut other = by_sam(request);
            other["path"] = json!(format!("{}/", other["path"].as_str().expect("a path")));
            let response = system.invoke(&other).await;
            assert!(is_refused_path(&response), "{response}");
        }
    }
    let path = "/workspaces/ws-stopped0001/rebuilds";
    let response = system.invoke(&by_sam(event("POST", path, &[], b""))).await;
    let body: Value = serde_json::from_str(&text_of(&response)).expect("JSON");
    let location = format!("{path}/{}", body["data"]["id"].as_str().expect("an id"));
    assert_eq!(response["multiValueHeaders"]["location"], json!([location]));
}

/// An IAM policy may see another spelling of it than the function.
#[tokio::test]
async fn a_path_that_is_encoded_in_either_field_is_not_found() {
    let system = System::start().await;
    let [plain, encoded] = ["/workspaces/ws-available0001", "/workspaces/ws%2davailable0001"];
    for (path, client_path) in [(plain, encoded), (encoded, plain)] {
        let mut event = event("GET", path, &[], b"");
        event["requestContext"]["path"] = json!(format!("/v1{client_path}"));
        assert_eq!(system.invoke(&event).await["statusCode"], 404, "{path}, {client_path}");
    }
}

/// Milliseconds since 1970, as API Gateway gives them, this many seconds from now.
pub fn epoch(seconds: i64) -> Value {
    let time = OffsetDateTime::now_utc() + Duration::seconds(seconds);
    json!(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).expect("a time of this age"))
}

#[tokio::test]
async fn a_request_that_was_held_up_changes_nothing() {
    let system = System::start().await;
    let message = "the request was held up for more than 15 s after it reached the API; nothing was \
        changed; try again (an event made by hand must not have a requestTimeEpoch)";
    for mut event in each_request() {
        for time in [epoch(-16), epoch(-3600), json!(1_428_582_896_000_i64), json!(1)] {
            event["requestContext"]["requestTimeEpoch"] = time.clone();
            let response = system.invoke(&event).await;
            let (text, headers) = (text_of(&response), &response["multiValueHeaders"]);
            assert_eq!(response["statusCode"], 503, "{time}: {response}");
            assert!(text.contains(message), "{text}");
            if headers["content-type"] == json!(["application/json"]) {
                assert!(text.contains("SERVICE_UNAVAILABLE"), "{text}");
                assert_eq!(headers["retry-after"], json!(["5"]));
            } else {
                assert!(text.contains("ServiceUnavailableException"), "{text}");
            }
        }
    }
    assert!(system.wire.seen().is_empty());
}

/// The clocks of API Gateway and Lambda may differ. An event made by hand may have no time, and those
/// of the SAM CLI have another one than the request's.
#[tokio::test]
async fn a_recent_request_a_future_one_and_one_without_a_time_are_answered() {
    let system = System::start().await;
    // Each later than the one before it, since an older change of a protection is refused.
    for time in [Some(-10), Some(0), Some(600), None] {
        for (number, mut event) in (0..).zip(each_request()) {
            if let Some(seconds) = time {
                let epoch = epoch(seconds).as_i64().expect("a number") + number;
                event["requestContext"]["requestTimeEpoch"] = json!(epoch);
            } else if number % 2 == 0 {
                event["requestContext"]["requestTimeEpoch"] = Value::Null;
            }
            let response = system.invoke(&event).await;
            assert!(response["statusCode"].as_u64() < Some(500), "{time:?}: {response}");
        }
    }
    for mut event in each_request() {
        event["requestContext"]["apiId"] = json!("1234567890");
        event["requestContext"]["requestTimeEpoch"] = json!(1_428_582_896_000_i64);
        let response = system.invoke(&event).await;
        assert!(response["statusCode"].as_u64() < Some(500), "{response}");
    }
}

/// Invalid UTF-8 is invalid JSON, even within a string.
#[tokio::test]
async fn invalid_utf8_is_refused() {
    let system = System::start().await;
    let body = b"{\"RebuildWorkspaceRequests\":[{\"WorkspaceId\":\"ws-available0001\"}],\"Reason\":\"\xff\"}";
    let response = system.invoke(&event("POST", "/", &[ENVELOPE], body)).await;
    assert_eq!(response["statusCode"], 400, "{response}");
    assert_eq!(system.item("ws-available0001").await["State"], "AVAILABLE");
}

/// API Gateway or Lambda may deliver an event twice.
#[tokio::test]
async fn a_duplicated_event_gets_the_first_answer() {
    let system = System::start().await;
    let event = rebuild("ws-available0001", ENVELOPE);
    let first = system.invoke(&event).await;
    let second = system.invoke(&event).await;
    assert_eq!((&first["statusCode"], &second["statusCode"]), (&json!(202), &json!(202)));
    assert_eq!(first["body"], second["body"]);
    assert_eq!(second["multiValueHeaders"]["idempotency-replayed"], json!(["true"]));

    let event = rebuild("ws-stopped0001", AWS_JSON);
    for _ in 0..2 {
        assert_eq!(system.invoke(&event).await["body"], r#"{"FailedRequests":[]}"#);
    }
    let other = rebuild("ws-stopped0001", AWS_JSON);
    let body = system.invoke(&other).await["body"].clone();
    assert!(body.as_str().is_some_and(|body| body.contains("InvalidResourceState")), "{body}");
}

/// API Gateway passes names on as the client spells them. `headers` has the last value of each.
#[tokio::test]
async fn headers_are_read_whatever_their_case_and_field() {
    let system = System::start().await;
    let key = |name: &str| json!({ name: "ticket-4711" });
    let keys =
        |name: &str, values: Value| json!({ "X-Amz-Date": ["20250101T000000Z"], name: values });
    let rows = [
        (key("idempotency-key"), Value::Null),
        (key("Idempotency-Key"), json!({})),
        (key("IDEMPOTENCY-KEY"), keys("IDEMPOTENCY-KEY", json!(["another", "ticket-4711"]))),
        (Value::Null, keys("idempotency-key", json!(["ticket-4711"]))),
        (json!({}), keys("idempotency-key", json!("ticket-4711"))),
        (json!({}), keys("Idempotency-Key", json!(["another", "ticket-4711"]))),
    ];
    let mut ids = vec![];
    for (headers, multi_value_headers) in rows {
        let mut event = rebuild("ws-available0001", ENVELOPE);
        event["headers"] = headers;
        event["multiValueHeaders"] = multi_value_headers;
        let response = system.invoke(&event).await;
        assert_eq!(response["statusCode"], 202, "{event}: {response}");
        ids.push(response["multiValueHeaders"]["location"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one key, one rebuild: {ids:?}");

    for name in ["X-Amz-Target", "x-amz-target"] {
        let mut event = rebuild("ws-stopped0001", ENVELOPE);
        event["headers"] = json!({ name: AWS_JSON.1 });
        let content_type = &system.invoke(&event).await["multiValueHeaders"]["content-type"];
        assert_eq!(content_type, &json!(["application/x-amz-json-1.1"]), "{name}");
    }
}

/// `lambda_http` panics on each of these before it calls any handler.
#[tokio::test]
async fn headers_that_are_no_part_of_a_url_are_ignored() {
    let system = System::start().await;
    for (name, value) in [
        ("X-Forwarded-Proto", "a b"),
        ("X-Forwarded-Proto", ""),
        ("x-forwarded-proto", "a b"),
        ("Host", "1.2.3.4.5"),
        ("Host", "xn--"),
        ("Host", "a b"),
        ("host", "localhost:999999"),
    ] {
        for multi_value in [false, true] {
            let mut event = event("GET", "/workspaces/ws-available0001", &[], b"");
            if multi_value {
                event["multiValueHeaders"][name] = json!([value]);
            } else {
                event["headers"][name] = json!(value);
            }
            assert_eq!(system.invoke(&event).await["statusCode"], 200, "{name}: {value}");
        }
    }
}

/// `lambda_http` panics on each of these as well.
#[tokio::test]
async fn fields_that_no_url_can_have_are_ignored() {
    let system = System::start().await;
    for (field, value) in [
        ("/requestContext/domainName", json!("localhost:999999")),
        ("/requestContext/domainName", json!("a b")),
        ("/path", json!(":999999")),
    ] {
        let mut event = event("GET", "/workspaces", &[], b"");
        event["requestContext"]["domainName"] = Value::Null;
        event["requestContext"]["stage"] = Value::Null;
        *event.pointer_mut(field).expect("a field") = value.clone();
        assert_eq!(system.invoke(&event).await["statusCode"], 200, "{field}: {value}");
    }
}

/// `lambda_http` panics on it.
#[tokio::test]
async fn a_query_parameter_without_a_value_has_an_empty_one() {
    let system = System::start().await;
    for field in ["queryStringParameters", "multiValueQueryStringParameters"] {
        for name in ["directory_id", "limit"] {
            let mut event = event("GET", "/workspaces", &[], b"");
            event[field] = json!({ name: [] });
            let response = system.invoke(&event).await;
            assert_eq!(response["statusCode"], 400, "{field} {name}: {response}");
        }
    }
}

/// `lambda_http` panics on it.
#[tokio::test]
async fn a_query_that_no_url_can_have_is_refused() {
    let system = System::start().await;
    for query in [
        json!({ "limit": ["1".repeat(70_000)] }),
        json!({ "limit": ["ü".repeat(11_000)] }),
        json!({ "limit": vec!["1"; 10_000] }),
        json!({ "~": vec![""; 13_107] }),
        json!({ "": vec![""; 32_767] }),
    ] {
        let mut event = event("GET", "/workspaces", &[], b"");
        event["multiValueQueryStringParameters"] = query;
        assert_eq!(system.invoke(&event).await["statusCode"], 400);
        // Also by a request that has no parameters.
        event["pathParameters"]["proxy"] = json!("workspaces/ws-available0001");
        event["requestContext"]["path"] = json!("/v1/workspaces/ws-available0001");
        assert_eq!(system.invoke(&event).await["statusCode"], 400);
    }
    // The longest one that is looked at.
    let mut event = event("GET", "/workspaces", &[], b"");
    let token = "A".repeat(20_440);
    event["queryStringParameters"] =
        json!({ "bundle_id": "wsb-0a1b2c3d4", "limit": "1", "next_token": token });
    let response = system.invoke(&event).await;
    assert!(response["body"].to_string().contains("next_token is not one"), "{response}");
}

#[test]
fn an_event_without_a_map_of_headers_is_refused() {
    let mut event = event("GET", "/workspaces", &[], b"");
    event["headers"] = json!("none");
    let error = serde_json::from_value::<Event>(event).expect_err("no map").to_string();
    assert!(error.contains("expected a map of headers"), "{error}");
}

/// They come from callers that IAM has not authenticated, so the function must not answer them.
#[test]
fn events_of_other_services_are_refused() {
    let api = event("POST", "/", &[ENVELOPE], b"{}");
    assert!(serde_json::from_value::<Event>(api.clone()).is_ok());
    for context in [
        json!({ "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:…" } }),
        json!({ "http": { "method": "POST", "path": "/", "sourceIp": "198.51.100.7" } }),
        json!({}),
        Value::Null,
    ] {
        let mut other = api.clone();
        other["requestContext"] = context;
        assert!(serde_json::from_value::<Event>(other.clone()).is_err(), "{other}");
    }
}

/// `lambda_http` panics on it.
#[tokio::test]
async fn a_body_that_is_not_in_base64_is_text() {
    let system = System::start().await;
    let mut event = event("POST", "/", &[ENVELOPE], b"");
    event["body"] = json!("{");
    let response = system.invoke(&event).await;
    assert_eq!(response["statusCode"], 400, "{response}");
}

/// It was held up inside the function. Meanwhile another rebuild was accepted and ended, and another
/// request confirmed the protection.
#[tokio::test]
async fn a_request_that_was_overtaken_changes_nothing() {
    let system = System::start().await;
    let late = |method: &str, path: &str| {
        let mut event = event(method, path, &[], b"");
        event["requestContext"]["requestTimeEpoch"] = epoch(-10);
        event
    };
    system.send(&Ask::rebuild("ws-available0001")).await.id();
    system.end_rebuild().await;
    let protection = "/workspaces/ws-protected0001/protection";
    assert_eq!(system.send(&Ask::new("PUT", protection)).await.status, 200);
    for (event, id) in [
        (late("POST", "/workspaces/ws-available0001/rebuilds"), "ws-available0001"),
        (late("DELETE", protection), "ws-protected0001"),
    ] {
        let before = system.item(id).await;
        let response = system.invoke(&event).await;
        assert_eq!(response["statusCode"], 503, "{response}");
        assert!(text_of(&response).contains("nothing was changed"), "{response}");
        assert_eq!(system.item(id).await, before);
    }
}

/// The fleet was switched from the simulated to the real one.
#[tokio::test]
async fn a_simulated_rebuild_is_no_earlier_request_for_a_real_one() {
    let system = System::start().await;
    let key = ("idempotency-key", "change-4711");
    let event = || event("POST", "/workspaces/ws-available0001/rebuilds", &[key], b"");
    let simulated = system.invoke(&event()).await;
    assert_eq!(simulated["statusCode"], 202, "{simulated}");
    system.end_rebuild().await;
    let again = system.invoke(&event()).await;
    assert_eq!(again["multiValueHeaders"]["idempotency-replayed"], json!(["true"]), "{again}");
    let real = Service::new(system.store.clone(), FleetMode::AmazonWorkSpaces, None);
    let real = gateway::invoke(&real, event().to_string()).await;
    assert_eq!(real["statusCode"], 202, "{real}");
    assert_eq!(real["multiValueHeaders"].get("idempotency-replayed"), None, "{real}");
}
