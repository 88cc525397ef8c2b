//! The envelope face, row by row: given a state and a request, the answer, the item, and how many
//! requests DynamoDB saw.

use serde_json::{Value, json};

use crate::system::{Answer, Ask, System};

const REBUILDABLE: [&str; 5] = ["AVAILABLE", "ERROR", "UNHEALTHY", "STOPPED", "REBOOTING"];
const OTHERS: [&str; 12] = [
    "PENDING",
    "IMPAIRED",
    "STARTING",
    "REBUILDING",
    "RESTORING",
    "MAINTENANCE",
    "ADMIN_MAINTENANCE",
    "TERMINATING",
    "TERMINATED",
    "SUSPENDED",
    "UPDATING",
    "STOPPING",
];
const ALLOWED: &str =
    "a rebuild is allowed only from AVAILABLE, ERROR, UNHEALTHY, STOPPED, REBOOTING";

/// Id of the seeded WorkSpace in this state.
fn seeded(state: &str) -> String {
    format!("ws-{}0001", state.to_lowercase().replace('_', ""))
}

/// Id of an ended rebuild; a greater `number` is a later rebuild.
fn rebuild_id(number: u8) -> String {
    format!("01941f29-7c00-7000-8000-0000000000{number:02x}")
}

/// An ended rebuild, as in the item of a WorkSpace. (The history has its id as `RebuildId`.)
fn ended_rebuild(number: u8, key: &str) -> Value {
    json!({
        "Id": rebuild_id(number),
        "CreatedAt": "2025-01-01T00:00:00Z",
        "ClaimId": "11111111-1111-4111-8111-111111111111",
        "ClaimedAt": "2025-01-01T00:01:00Z",
        "SnapshotAt": "2024-12-31T12:00:00Z",
        "StartedAt": "2025-01-01T00:01:00Z",
        "EndedAt": "2025-01-01T00:21:00Z",
        "Status": "SUCCEEDED",
        "IdempotencyKey": format!("simulated: {key}"),
        "FleetMode": "Simulated",
        "Attempt": 1,
    })
}

fn in_state(message: &str) -> Answer {
    Answer::failure(409, "INVALID_WORKSPACE_STATE", &format!("{message}; {ALLOWED}"))
}

#[tokio::test]
async fn each_allowed_state_accepts_a_rebuild() {
    let system = System::start().await;
    for state in REBUILDABLE {
        let id = seeded(state);
        let before = system.item(&id).await;
        let answer = system.send(&Ask::rebuild(&id)).await;

        let (rebuild, now) = (answer.id(), answer.data()["created_at"].clone());
        let body = format!(r#"{{"success":true,"data":{{"id":"{rebuild}","created_at":{now}}}}}"#);
        let expected = Answer { body: body.into(), ..Answer::envelope(202, &Value::Null) }
            .with("location", &format!("/workspaces/{id}/rebuilds/{rebuild}"))
            .with("retry-after", "60");
        assert_eq!(answer, expected);
        assert_eq!(system.wire.operations(), ["UpdateItem"]);

        let mut expected = before;
        expected["State"] = json!("REBUILDING");
        expected["PreviousState"] = json!(state);
        expected["OpenRebuild"] = json!("REQUESTED");
        expected["OpenSince"] = now.clone();
        let mut item = system.item(&id).await;
        let request = item["Rebuild"]["RequestId"].take();
        expected["Rebuild"] = json!({
            "Id": rebuild,
            "CreatedAt": now,
            "Status": "REQUESTED",
            "IdempotencyKey": format!("simulated: request: {}", request.as_str().expect("an id")),
            "RequestedBy": "arn:aws:iam::000000000000:user/local",
            "SourceIp": "127.0.0.1",
            "RequestId": null,
            "FleetMode": "Simulated",
            "Attempt": 0,
        });
        assert_eq!(item, expected);

        let again = system.send(&Ask::rebuild(&id)).await;
        assert_eq!(
            again,
            in_state(&format!("WorkSpace {id} is in state REBUILDING, with a rebuild under way"))
        );
        assert_eq!(system.wire.operations(), ["UpdateItem"]);
    }
}

#[tokio::test]
async fn every_other_state_refuses_a_rebuild_and_changes_nothing() {
    let system = System::start().await;
    for state in OTHERS {
        let id = seeded(state);
        let before = system.item(&id).await;
        let answer = system.send(&Ask::rebuild(&id)).await;
        assert_eq!(answer, in_state(&format!("WorkSpace {id} is in state {state}")));
        assert_eq!(system.wire.operations(), ["UpdateItem"]);
        assert_eq!(system.item(&id).await, before);
    }
}

/// The state alone would allow it: the rebuild has ended, and the reconciler has yet to record that.
#[tokio::test]
async fn an_open_rebuild_blocks_another_in_any_state() {
    let system = System::start().await;
    for (number, state) in (0..).zip(REBUILDABLE) {
        for open in ["REQUESTED", "STARTED"] {
            let id = format!("ws-open{number:04}");
            let item = json!({
                "WorkspaceId": id,
                "State": state,
                "OpenRebuild": open,
                "OpenSince": "2025-01-01T00:00:00Z",
                "Rebuild": ended_rebuild(1, "another"),
            });
            system.put("workspaces", item.clone()).await;
            let answer = system.send(&Ask::rebuild(&id)).await;
            let message = format!(
                "WorkSpace {id} cannot be rebuilt yet: its last rebuild is being recorded; try again"
            );
            let refused = Answer::failure(409, "INVALID_WORKSPACE_STATE", &message);
            assert_eq!(answer, refused.with("retry-after", "5"));
            let answer = system.send(&Ask::aws_rebuild(&id)).await;
            let failed = &answer.json()["FailedRequests"][0];
            assert_eq!(failed["ErrorCode"], "InvalidResourceState.Workspace");
            assert_eq!(failed["ErrorMessage"], message);
            assert_eq!(system.item(&id).await, item);
        }
    }
}

/// Compares the text, because some clauses matter only with other writers of the table or with
/// another DynamoDB. (In this one, a missing key differs from every key even without its clause.)
#[tokio::test]
async fn the_condition_is_as_documented() {
    let system = System::start().await;
    system.send(&Ask::rebuild("ws-available0001")).await;
    let input = system.wire.seen().remove(0).input;
    assert_eq!(
        input["ConditionExpression"],
        "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
         AND attribute_not_exists(OpenRebuild) \
         AND attribute_not_exists(Protection) \
         AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key) \
         AND attribute_not_exists(#Keys.#Key) \
         AND (attribute_not_exists(#Rebuild.Id) OR #Rebuild.Id < :id)"
    );
    for state in REBUILDABLE {
        let name = format!(":{}", state.to_lowercase());
        assert_eq!(input["ExpressionAttributeValues"][name]["S"], state);
    }
    assert_eq!(input["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
}

#[tokio::test]
async fn an_unknown_workspace_is_refused() {
    let system = System::start().await;
    let message = "WorkSpace ws-nosuchone0001 was not found";
    let expected = Answer::failure(404, "WORKSPACE_NOT_FOUND", message);
    assert_eq!(system.send(&Ask::rebuild("ws-nosuchone0001")).await, expected);
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    assert_eq!(system.send(&Ask::get("/workspaces/ws-nosuchone0001")).await, expected);
    assert_eq!(system.send(&Ask::get("/workspaces/ws-nosuchone0001/rebuilds")).await, expected);
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer() {
    let system = System::start().await;
    let id = "ws-available0001";
    let ask = Ask::rebuild(id).with("idempotency-key", "4711");
    let first = system.send(&ask).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let item = system.item(id).await;
    assert_eq!(item["Rebuild"]["IdempotencyKey"], "simulated: 4711");
    system.wire.operations();

    let status = first.status;
    let expected = Answer { status, headers: first.headers.clone(), body: first.body.clone() }
        .with("idempotency-replayed", "true");
    assert_eq!(system.send(&ask).await, expected);
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    assert_eq!(system.item(id).await, item);

    // Another key, the rebuild's id (its stored key if the client gave none), and no key.
    for other in ["4712", &first.id()] {
        let ask = Ask::rebuild(id).with("idempotency-key", other);
        assert_eq!(system.send(&ask).await.status, 409);
    }
    assert_eq!(system.send(&Ask::rebuild(id)).await.status, 409);
    // A key belongs to its WorkSpace.
    let elsewhere = Ask::rebuild("ws-stopped0001").with("idempotency-key", "4711");
    assert_ne!(system.send(&elsewhere).await.id(), first.id());
}

/// The key holds after the rebuild has ended, in any state.
#[tokio::test]
async fn a_key_holds_in_any_state() {
    let system = System::start().await;
    let id = "ws-ended0001";
    let first = Ask::rebuild(id).with("idempotency-key", "4711");
    for state in REBUILDABLE.iter().chain(&OTHERS) {
        let item =
            json!({ "WorkspaceId": id, "State": state, "Rebuild": ended_rebuild(1, "4711") });
        system.put("workspaces", item.clone()).await;
        let answer = system.send(&first).await;
        assert_eq!(
            (answer.id(), answer.header("idempotency-replayed")),
            (rebuild_id(1), Some("true"))
        );
        assert_eq!(answer.data()["created_at"], "2025-01-01T00:00:00Z");
        assert_eq!(system.item(id).await, item);
    }
}

#[tokio::test]
async fn the_last_value_of_a_repeated_header_counts() {
    let system = System::start().await;
    let twice = Ask::rebuild("ws-available0001")
        .with("idempotency-key", "not a key")
        .with("idempotency-key", "4711");
    system.send(&twice).await.id();
    assert_eq!(
        system.item("ws-available0001").await["Rebuild"]["IdempotencyKey"],
        "simulated: 4711"
    );

    let text_last = Ask::rebuild("ws-stopped0001").with("content-type", "text/plain");
    assert_eq!(system.send(&text_last).await.status, 415);
}

#[tokio::test]
async fn a_json_or_missing_content_type_is_accepted() {
    let system = System::start().await;
    let types = [
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "APPLICATION/JSON",
    ];
    let asks =
        types.map(|value| Ask::rebuild("ws-x").without("content-type").with("content-type", value));
    for ask in asks.into_iter().chain([Ask::rebuild("ws-x").without("content-type")]) {
        let answer = system.send(&ask).await;
        assert_eq!(answer.json()["error"]["code"], "VALIDATION_ERROR", "{ask:?}");
    }
}

#[tokio::test]
async fn the_reason_is_stored() {
    let system = System::start().await;
    let longest = "ü".repeat(256);
    for (id, reason) in
        [("ws-available0001", "ticket 4711"), ("ws-stopped0001", "x"), ("ws-error0001", &longest)]
    {
        let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }], "Reason": reason });
        system.send(&Ask::post(body.to_string())).await.id();
        assert_eq!(system.item(id).await["Rebuild"]["Reason"], reason);
    }
}

/// Refusals that don't depend on a WorkSpace: the request and the message.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn an_invalid_request_is_refused_without_a_request_to_dynamodb() {
    let system = System::start().await;
    let valid = Ask::rebuild("ws-available0001");
    let request = |rest: &str| {
        Ask::post(format!(
            r#"{{"RebuildWorkspaceRequests":[{{"WorkspaceId":"ws-available0001"}}]{rest}}}"#
        ))
    };
    let requests =
        |requests: &str| Ask::post(format!(r#"{{"RebuildWorkspaceRequests":{requests}}}"#));
    let long_id = format!(r#"[{{"WorkspaceId":"ws-{}"}}]"#, "a".repeat(64));
    let long_reason = format!(r#","Reason":"{}""#, "ü".repeat(257));

    let empty = "the body is empty";
    let not_json = "the body is not valid JSON";
    let not_object = "the body must be an object, with each field once";
    let unknown = "the body has an unknown field; known are RebuildWorkspaceRequests, Reason, MaximumSnapshotAgeHours and WaitForDisconnect";
    let one = "RebuildWorkspaceRequests must have exactly one entry";
    let array = "RebuildWorkspaceRequests must be an array";
    let entry = "RebuildWorkspaceRequests[0] must be an object, with each field once";
    let unknown_in_entry = "RebuildWorkspaceRequests[0] has an unknown field; known is WorkspaceId";
    let string = "WorkspaceId must be a string";
    let pattern = "WorkspaceId must match ^ws-[0-9a-z]{8,63}$";
    let reason = "Reason must be 1 to 256 characters";
    let reason_string = "Reason must be a string";
    let key =
        "idempotency-key must be 1 to 255 visible ASCII characters, bare or as one quoted string";
    let shown = "Reason must not have control or bidirectional formatting characters";
    let hours = "MaximumSnapshotAgeHours must be a number from 1 to 8760";
    let integer = "MaximumSnapshotAgeHours must be an integer";
    let truth = "WaitForDisconnect must be true or false";

    for (ask, message) in [
        (Ask::post(""), empty),
        (Ask::post(" "), not_json),
        (Ask::post("{"), not_json),
        (Ask::post("not json"), not_json),
        (Ask::post("\u{feff}{}"), not_json),
        (Ask::post("{} {}"), not_json),
        (Ask::post("[".repeat(10_000)), not_object),
        (Ask::post(r#"{"a":"#.repeat(2_000)), not_json),
        (Ask::post(format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000))), not_object),
        (Ask::post(r#"{"Reason":1e999}"#), "Reason must be a string"),
        (Ask::post(r#"{"Reason":"\ud800"}"#), "Reason must be a string"),
        (Ask::post(b"\xff\xfe{}".as_slice()), not_json),
        (Ask::post("null"), not_object),
        (Ask::post("4711"), not_object),
        (Ask::post("\"ws-available0001\""), not_object),
        (
            Ask::post(r#"[[{"WorkspaceId":"ws-available0001"}],"an array for an object"]"#),
            not_object,
        ),
        (Ask::post("{}"), one),
        (requests("null"), one),
        (requests("[]"), one),
        (requests(r#"[{"WorkspaceId":"ws-available0001"},{"WorkspaceId":"ws-stopped0001"}]"#), one),
        (
            requests(r#"[{"WorkspaceId":"ws-available0001"},{"WorkspaceId":"ws-available0001"}]"#),
            one,
        ),
        (requests(r#"{"WorkspaceId":"ws-available0001"}"#), array),
        (requests(r#"{"0":{"WorkspaceId":"ws-available0001"}}"#), array),
        (requests(r#""ws-available0001""#), array),
        (requests(r#"["ws-available0001"]"#), entry),
        (requests(r#"[["ws-available0001"]]"#), entry),
        (requests("[null]"), entry),
        (request(r#","RebuildWorkspaceRequests":[{"WorkspaceId":"ws-stopped0001"}]"#), not_object),
        (request(r#","Reason":"a","Reason":"b""#), not_object),
        (requests(r#"[{"WorkspaceId":"ws-stopped0001","WorkspaceId":"ws-available0001"}]"#), entry),
        (request(r#","Reasons":null"#), unknown),
        (requests("[{}]"), string),
        (requests(r#"[{"WorkspaceId":null}]"#), string),
        (requests(r#"[{"WorkspaceId":4711}]"#), string),
        (requests(r#"[{"WorkspaceId":123456789012345678901234567890}]"#), string),
        (requests(r#"[{"WorkspaceId":["ws-available0001"]}]"#), string),
        (requests(r#"[{"workspaceId":"ws-available0001"}]"#), unknown_in_entry),
        (requests(r#"[{"WorkspaceId":"ws-available0001","Force":true}]"#), unknown_in_entry),
        (requests(r#"[{"WorkspaceId":""}]"#), pattern),
        (requests(r#"[{"WorkspaceId":"ws-1234567"}]"#), pattern),
        (requests(r#"[{"WorkspaceId":"ws-AVAILABLE0001"}]"#), pattern),
        (requests(r#"[{"WorkspaceId":"ws-available0001 "}]"#), pattern),
        (requests(r#"[{"WorkspaceId":"ws-available0001\n"}]"#), pattern),
        (requests(r#"[{"WorkspaceId":"ws-verfügbar0001"}]"#), pattern),
        (requests(&long_id), pattern),
        (request(r#","Reasons":"misspelt""#), unknown),
        (request(r#","reason":"misspelt""#), unknown),
        (request(r#","Reason":"""#), reason),
        (request(&long_reason), reason),
        (request(r#","Reason":4711"#), reason_string),
        (request(r#","Reason":["x"]"#), reason_string),
        (request(r#","Reason":"a\u0000b""#), shown),
        (request(r#","Reason":"a\nb""#), shown),
        (request(r#","Reason":"a\u202eb""#), shown),
        (request(",\"Reason\":\"a\u{202e}b\""), shown),
        (request(",\"Reason\":\"a\u{2069}b\""), shown),
        (request(",\"Reason\":\"a\nb\""), not_json),
        (request(r#","WaitForDisconnect":"true""#), truth),
        (request(r#","WaitForDisconnect":1"#), truth),
        (request(r#","MaximumSnapshotAgeHours":0"#), hours),
        (request(r#","MaximumSnapshotAgeHours":-1"#), hours),
        (request(r#","MaximumSnapshotAgeHours":8761"#), hours),
        (request(r#","MaximumSnapshotAgeHours":65537"#), hours),
        (request(r#","MaximumSnapshotAgeHours":1.5"#), integer),
        (request(r#","MaximumSnapshotAgeHours":"24""#), integer),
        (valid.clone().with("idempotency-key", ""), key),
        (valid.clone().with("idempotency-key", "\"4711"), key),
        (valid.clone().with("idempotency-key", "\"\""), key),
        (valid.clone().with("idempotency-key", "\"4711\";a=1"), key),
        (valid.clone().with("idempotency-key", "\"47\\11\""), key),
        (valid.clone().with("idempotency-key", "a b"), key),
        (
            valid.clone().with("idempotency-key", "schlüssel"),
            "idempotency-key must be visible ASCII",
        ),
        (valid.clone().with("idempotency-key", &"k".repeat(256)), key),
    ] {
        let message = format!("Invalid request parameters: {message}");
        assert_eq!(
            system.send(&ask).await,
            Answer::failure(400, "VALIDATION_ERROR", &message),
            "{ask:?}"
        );
    }

    let media_type = "the body must be JSON, with content-type application/json";
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
        "",
        "é",
    ] {
        let ask = valid.clone().without("content-type").with("content-type", content_type);
        assert_eq!(
            system.send(&ask).await,
            Answer::failure(415, "UNSUPPORTED_MEDIA_TYPE", media_type),
            "{content_type}"
        );
    }

    let too_large = Answer::failure(413, "PAYLOAD_TOO_LARGE", "the body is larger than 16 KiB");
    assert_eq!(system.send(&Ask::post(" ".repeat(16_385))).await, too_large);
    assert_eq!(system.send(&Ask::post("ü".repeat(8_193))).await, too_large);
    assert_eq!(system.send(&Ask::post(" ".repeat(16_384))).await.status, 400, "exactly the limit");

    assert!(system.wire.seen().is_empty());
    assert_eq!(system.item("ws-available0001").await["State"], "AVAILABLE");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let system = System::start().await;
    let nothing = Answer::failure(404, "NOT_FOUND", "there is nothing at this path");
    for path in [
        "/x",
        "/Workspaces/ws-available0001",
        "/workspaces/ws-available0001/x",
        "/workspaces/ws-available0001/rebuilds/x/y",
        "/workspaces/ws-available0001/protection/x",
        "/rebuilds/x",
        "/directories",
        "/directories/d-906700a1b2",
        "/directories/d-906700a1b2/rebuilds",
        "/directories/d-906700a1b2/directories/d-906700a1b2/workspaces",
        "/%2e%2e",
        // An IAM policy may see these as another path.
        "/workspaces/ws%2davailable0001/rebuilds",
        "/workspaces/ws-available0001%2Frebuilds",
        "/%64irectories/d-906700a1b2/workspaces",
        "/workspaces/",
        "/rebuilds/",
        "//rebuilds",
        "/workspaces/ws-available0001/",
        "/workspaces//ws-available0001",
        "//workspaces/ws-available0001",
        "/workspaces/ws-available0001/rebuilds/",
        "/workspaces/ws-available0001/protection/",
        "/directories/d-906700a1b2/workspaces/",
        "//",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            assert_eq!(system.send(&Ask::new(method, path)).await, nothing, "{method} {path}");
        }
    }
    let directory = "/directories/d-906700a1b2";
    for (path, allow) in [
        ("/", "POST"),
        ("/pause", "GET, PUT, DELETE"),
        ("/rebuilds", "GET"),
        ("/workspaces", "GET"),
        ("/workspaces/ws-available0001", "GET"),
        ("/workspaces/ws-available0001/protection", "PUT, DELETE"),
        ("/workspaces/ws-available0001/rebuilds", "GET, POST"),
        ("/workspaces/ws-available0001/rebuilds/x", "GET, DELETE"),
    ] {
        let allowed: Vec<_> = allow.split(", ").collect();
        let message = match allowed[..] {
            [only] => format!("only {only} is allowed here"),
            [one, other] => format!("only {one} and {other} are allowed here"),
            _ => "only GET, PUT and DELETE are allowed here".to_owned(),
        };
        let expected = Answer::failure(405, "METHOD_NOT_ALLOWED", &message).with("allow", allow);
        let forms = [path.to_owned(), format!("{directory}{path}")];
        for path in forms.iter().take(if path.starts_with("/workspaces") { 2 } else { 1 }) {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                if !allowed.contains(&method) {
                    let answer = system.send(&Ask::new(method, path)).await;
                    assert_eq!(answer, expected, "{method} {path}");
                }
            }
        }
    }
    assert!(system.wire.seen().is_empty());
}

#[tokio::test]
async fn a_workspace_is_shown_with_its_rebuild() {
    let system = System::start().await;
    let id = "ws-available0001";
    let path = format!("/workspaces/{id}");
    let known = json!({
        "workspace_id": id,
        "directory_id": "d-906700a1b2",
        "user_name": "bo.lindqvist",
        "bundle_id": "wsb-5e6f7g8h9",
        "subnet_id": "subnet-0a1b2c3d4e5f60718",
        "ip_address": "10.20.4.21",
        "computer_name": "WSAMZN-2A4EA3C",
        "workspace_properties": {
            "running_mode": "ALWAYS_ON",
            "root_volume_size_gib": 80,
            "user_volume_size_gib": 100,
            "compute_type_name": "PERFORMANCE",
            "operating_system_name": "WINDOWS_SERVER_2022",
            "protocols": ["WSP"],
        },
        "state": "AVAILABLE",
        "rebuildable": true,
    });
    let answer = system.send(&Ask::get(&path)).await;
    assert_eq!(answer.json(), json!({ "success": true, "data": known }));
    assert_eq!(answer.headers, Answer::envelope(200, &Value::Null).headers);
    assert_eq!(system.wire.operations(), ["GetItem"]);

    let accepted = system.send(&Ask::rebuild(id)).await;
    system.wire.operations();
    let mut shown = known;
    shown["state"] = json!("REBUILDING");
    shown["rebuildable"] = json!(false);
    shown["rebuild"] = json!({
        "id": accepted.id(),
        "workspace_id": id,
        "status": "REQUESTED",
        "created_at": accepted.data()["created_at"],
        "previous_state": "AVAILABLE",
        "cancellable": true,
        "waiting_for": "PLACE",
        "simulated": true,
        "requested_by": "arn:aws:iam::000000000000:user/local",
    });
    assert_eq!(system.send(&Ask::get(&path)).await.data(), shown);
    assert_eq!(system.wire.seen()[0].input["ConsistentRead"], true);

    // `rebuildable` is true in exactly the states that accept a rebuild.
    for state in REBUILDABLE.iter().chain(&OTHERS).filter(|state| **state != "AVAILABLE") {
        let data = system.send(&Ask::get(&format!("/workspaces/{}", seeded(state)))).await.data();
        assert_eq!(
            (&data["state"], &data["rebuildable"]),
            (&json!(state), &json!(REBUILDABLE.contains(state)))
        );
    }
}

#[tokio::test]
async fn everything_that_is_known_of_a_workspace_is_shown() {
    let system = System::start().await;
    let replication = json!({
        "data_replication": "PRIMARY_AS_SOURCE",
        "recovery_snapshot_time": "2025-01-01T00:00:00Z",
    });
    let mut standby = replication.clone();
    standby["standby_workspace_id"] = json!("ws-standby0001");
    let known = json!({
        "workspace_id": "ws-error0001",
        "state": "ERROR",
        "rebuildable": true,
        "directory_id": "d-906700c3d4",
        "user_name": "quinn.murphy",
        "ip_address": "10.20.20.36",
        "ipv6_address": "2001:db8:14::36",
        "bundle_id": "wsb-5e6f7g8h9",
        "subnet_id": "subnet-1b2c3d4e5f6071829",
        "error_message": "The computer could not join the domain.",
        "error_code": "DomainJoin.Failed",
        "computer_name": "WSAMZN-2B70C35",
        "volume_encryption_key": "arn:aws:kms:us-east-1:000000000000:alias/aws/workspaces",
        "user_volume_encryption_enabled": true,
        "root_volume_encryption_enabled": false,
        "workspace_name": "build-desk-1",
        "workspace_properties": {
            "running_mode": "AUTO_STOP",
            "running_mode_auto_stop_timeout_in_minutes": 60,
            "root_volume_size_gib": 80,
            "user_volume_size_gib": 100,
            "compute_type_name": "PERFORMANCE",
            "protocols": ["WSP"],
            "operating_system_name": "WINDOWS_SERVER_2022",
            "global_accelerator": { "mode": "ENABLED_AUTO", "preferred_protocol": "TCP" },
            "nested_virtualization_enabled": false,
        },
        "modification_states": [{ "resource": "USER_VOLUME", "state": "UPDATE_FAILED" }],
        "related_workspaces": [{
            "workspace_id": "ws-standby0001",
            "region": "us-west-2",
            "state": "AVAILABLE",
            "type": "STANDBY",
        }],
        "data_replication_settings": replication,
        "standby_workspaces_properties": [standby],
    });
    assert_eq!(system.send(&Ask::get("/workspaces/ws-error0001")).await.data(), known);
}

#[tokio::test]
async fn a_rebuild_can_be_polled_until_it_ends() {
    let system = System::start().await;
    let id = "ws-error0001";
    let body =
        json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }], "Reason": "ticket 4711" });
    let accepted = system.send(&Ask::post(body.to_string())).await;
    system.wire.operations();
    let path = accepted.header("location").expect("a location").to_owned();

    let open = system.send(&Ask::get(&path)).await;
    let data = json!({
        "id": accepted.id(),
        "workspace_id": id,
        "status": "REQUESTED",
        "created_at": accepted.data()["created_at"],
        "previous_state": "ERROR",
        "cancellable": true,
        "waiting_for": "PLACE",
        "simulated": true,
        "requested_by": "arn:aws:iam::000000000000:user/local",
        "reason": "ticket 4711",
    });
    assert_eq!((open.status, open.header("retry-after"), open.data()), (200, Some("60"), data));
    // The second one says whether it waits for the end of a pause.
    assert_eq!(system.wire.operations(), ["GetItem", "GetItem"]);

    let mut failed = ended_rebuild(1, "4711");
    failed["Status"] = json!("FAILED");
    failed["ErrorCode"] = json!("REBUILD_FAILED");
    failed["ErrorMessage"] = json!("the fleet says ERROR");
    system.put("workspaces", json!({ "WorkspaceId": id, "State": "ERROR", "PreviousState": "STOPPED", "Rebuild": failed })).await;
    let path = format!("/workspaces/{id}/rebuilds/{}", rebuild_id(1));
    let ended = system.send(&Ask::get(&path)).await;
    let data = json!({
        "id": rebuild_id(1),
        "workspace_id": id,
        "status": "FAILED",
        "created_at": "2025-01-01T00:00:00Z",
        "started_at": "2025-01-01T00:01:00Z",
        "ended_at": "2025-01-01T00:21:00Z",
        "previous_state": "STOPPED",
        "snapshot_at": "2024-12-31T12:00:00Z",
        "simulated": true,
        "error": { "code": "REBUILD_FAILED", "message": "the fleet says ERROR" },
    });
    assert_eq!((ended.status, ended.header("retry-after"), ended.data()), (200, None, data));
    assert_eq!(system.wire.operations(), ["GetItem"]);
}

/// Puts ended rebuilds `1..=count` into the history of a WorkSpace.
async fn put_history(system: &System, id: &str, count: u8) {
    for number in 1..=count {
        let mut record = ended_rebuild(number, "k");
        let members = record.as_object_mut().expect("an object");
        let rebuild = members.remove("Id").expect("an id");
        members.insert("RebuildId".into(), rebuild);
        members.insert("WorkspaceId".into(), json!(id));
        system.put("rebuilds", record).await;
    }
}

/// The numbers of the rebuilds on a page, and the token of the next page.
fn page(answer: &Answer) -> (Vec<u8>, Option<String>) {
    let data = answer.data();
    let rebuilds = data["rebuilds"].as_array().expect("an array").iter();
    let number = |rebuild: &Value| {
        let id = rebuild["id"].as_str().expect("an id");
        let tail = id.strip_prefix("01941f29-7c00-7000-8000-0000000000");
        tail.map_or(0, |tail| u8::from_str_radix(tail, 16).expect("hexadecimal"))
    };
    (rebuilds.map(number).collect(), data["next_token"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn the_history_is_paged_newest_first() {
    let system = System::start().await;
    let id = "ws-available0001";
    let path = format!("/workspaces/{id}/rebuilds");
    let empty = system.send(&Ask::get(&path)).await;
    assert_eq!(empty.data(), json!({ "rebuilds": [] }));

    let open = system.send(&Ask::rebuild(id)).await.id();
    let only = system.send(&Ask::get(&format!("{path}?limit=1"))).await;
    assert_eq!(page(&only), (vec![0], None), "no token, although the page is full");
    put_history(&system, id, 30).await;
    put_history(&system, "ws-stopped0001", 3).await;
    system.wire.operations();

    // The open rebuild (number 0 here) comes first, although it has no record yet.
    let (numbers, token) = page(&system.send(&Ask::get(&path)).await);
    assert_eq!(numbers, [&[0][..], &(7..=30).rev().collect::<Vec<_>>()].concat(), "25 by default");
    // It waits, perhaps for the end of a pause.
    assert_eq!(system.wire.operations(), ["GetItem", "Query", "GetItem"]);
    let rest = system.send(&Ask::get(&format!("{path}?next_token={}", token.expect("more")))).await;
    assert_eq!(page(&rest), ((1..=6).rev().collect(), None));

    for limit in [1, 7, 10, 31, 100] {
        let (mut all, mut pages) = (vec![], 0);
        let mut next = format!("{path}?limit={limit}");
        loop {
            let (numbers, token) = page(&system.send(&Ask::get(&next)).await);
            assert!(numbers.len() <= limit);
            all.extend(numbers);
            pages += 1;
            let Some(token) = token else { break };
            next = format!("{path}?limit={limit}&next_token={token}");
        }
        assert_eq!(all, (0..=30).map(|number| (31 - number) % 31).collect::<Vec<u8>>(), "{limit}");
        assert!((31_usize.div_ceil(limit)..=31 / limit + 1).contains(&pages), "{limit}: {pages}");
    }

    // The latest rebuild has ended and has a record, but is listed only once.
    let item =
        json!({ "WorkspaceId": id, "State": "AVAILABLE", "Rebuild": ended_rebuild(30, "k") });
    system.put("workspaces", item).await;
    let (numbers, _) = page(&system.send(&Ask::get(&format!("{path}?limit=2"))).await);
    assert_eq!(numbers, [30, 29]);

    system.wire.operations();
    let older = system.send(&Ask::get(&format!("{path}/{}", rebuild_id(3)))).await;
    assert_eq!((older.status, older.data()["id"].as_str()), (200, Some(rebuild_id(3).as_str())));
    assert_eq!(system.wire.operations(), ["GetItem", "GetItem"]);

    let unknown =
        Answer::failure(404, "REBUILD_NOT_FOUND", "the WorkSpace has no rebuild of this id");
    for other in [rebuild_id(99), open, "x".into()] {
        assert_eq!(system.send(&Ask::get(&format!("{path}/{other}"))).await, unknown, "{other}");
    }
    // A WorkSpace that has left the fleet keeps its history.
    put_history(&system, "ws-gone00001", 2).await;
    assert_eq!(page(&system.send(&Ask::get("/workspaces/ws-gone00001/rebuilds")).await).0, [2, 1]);
}

#[tokio::test]
async fn an_invalid_query_is_refused() {
    let system = System::start().await;
    let path = "/workspaces/ws-available0001/rebuilds";
    let limit = "limit must be a number from 1 to 100";
    let token = "next_token is not one of this listing's";
    for (query, message) in [
        ("limit=0", limit),
        ("limit=101", limit),
        ("limit=256", limit),
        ("limit=-1", limit),
        ("limit=", limit),
        ("limit=1.5", limit),
        ("limit=ten", limit),
        ("limit=%2B1", limit),
        ("limit=0000001", limit),
        ("limit=01", limit),
        ("limit=5&limit=0", limit),
        ("next_token=", token),
        ("next_token=x", token),
        ("next_token=ws-available0001", token),
        ("limti=5", "the query has an unknown parameter; known are limit, next_token"),
    ] {
        let answer = system.send(&Ask::get(&format!("{path}?{query}"))).await;
        let message = format!("Invalid request parameters: {message}");
        assert_eq!(answer, Answer::failure(400, "VALIDATION_ERROR", &message), "{query}");
    }
    assert_eq!(system.send(&Ask::get(&format!("{path}?limit=0&limit=5"))).await.status, 200);
    let pattern = "Invalid request parameters: WorkspaceId must match ^ws-[0-9a-z]{8,63}$";
    for path in [
        "/workspaces/x",
        "/workspaces/x/rebuilds",
        "/workspaces/x/rebuilds/x",
        "/workspaces/WS-AVAILABLE0001",
    ] {
        let expected = Answer::failure(400, "VALIDATION_ERROR", pattern);
        assert_eq!(system.send(&Ask::get(path)).await, expected, "{path}");
    }
}

/// A parameter in the query instead of the body must not wipe anything.
#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_every_request() {
    let system = System::start().await;
    let id = "ws-available0001";
    let before = system.item(id).await;
    let workspace = format!("/workspaces/{id}");
    let rebuild = format!("{workspace}/rebuilds/{}", rebuild_id(1));
    let (none, page) = ("this request takes none", "known are limit, next_token");
    let of_workspaces = "known are directory_id, user_name, bundle_id, limit, next_token";
    let asks = [
        (Ask::rebuild(id), none),
        (Ask::get("/rebuilds"), "known are status, ended_on, limit, next_token"),
        (Ask::get("/workspaces"), of_workspaces),
        (Ask::get(&workspace), none),
        (Ask::new("PUT", &format!("{workspace}/protection")), none),
        (Ask::new("DELETE", &format!("{workspace}/protection")), none),
        (Ask::new("POST", &format!("{workspace}/rebuilds")), none),
        (Ask::get(&format!("{workspace}/rebuilds")), page),
        (Ask::get(&rebuild), none),
        (Ask::new("DELETE", &rebuild), none),
    ];
    let within = "/directories/d-906700a1b2";
    let in_directory = asks.clone().into_iter().filter(|(ask, _)| ask.path().starts_with("/work"));
    let in_directory = in_directory.map(|(ask, known)| {
        let path = format!("{within}{}", ask.path());
        let known =
            if known == of_workspaces { "known are user_name, limit, next_token" } else { known };
        (ask.at(&path), known)
    });
    for (ask, known) in asks.into_iter().chain(in_directory) {
        for query in ["MaximumSnapshotAgeHours=1", "dry_run=true", "Reason=x", "Limit=5", "=", "x"]
        {
            let path = format!("{}?{query}", ask.path());
            let message =
                format!("Invalid request parameters: the query has an unknown parameter; {known}");
            let refused = Answer::failure(400, "VALIDATION_ERROR", &message);
            assert_eq!(system.send(&ask.clone().at(&path)).await, refused, "{ask:?} {path}");
        }
    }
    // One that other requests know.
    let known = Ask::new("POST", &format!("{workspace}/rebuilds?limit=5"));
    assert_eq!(system.send(&known).await.status, 400);
    assert!(system.wire.seen().is_empty());
    assert_eq!(system.item(id).await, before);
}

/// The path is checked first, then the method, then the query, then everything else.
#[tokio::test]
async fn the_query_is_checked_after_path_and_method() {
    let system = System::start().await;
    let query =
        "Invalid request parameters: the query has an unknown parameter; this request takes none";
    let large = "x".repeat(16_385);
    for (ask, (status, code, message)) in [
        (Ask::get("/x?y=1"), (404, "NOT_FOUND", "there is nothing at this path")),
        (
            Ask::post(large.clone()).at("/workspaces/x?y=1"),
            (405, "METHOD_NOT_ALLOWED", "only GET is allowed here"),
        ),
        (Ask::post(large).at("/?y=1"), (400, "VALIDATION_ERROR", query)),
        (
            Ask::post("x").at("/?y=1").without("content-type").with("content-type", "text/plain"),
            (400, "VALIDATION_ERROR", query),
        ),
        (Ask::get("/workspaces/x?y=1"), (400, "VALIDATION_ERROR", query)),
        (
            Ask::rebuild("x").at("/?y=1").with("idempotency-key", ""),
            (400, "VALIDATION_ERROR", query),
        ),
    ] {
        let expected = Answer::failure(status, code, message);
        let expected = if status == 405 { expected.with("allow", "GET") } else { expected };
        assert_eq!(system.send(&ask).await, expected, "{ask:?}");
    }
}

/// The numbers of all rebuilds, page by page.
async fn walk(system: &System, id: &str, limit: usize) -> Vec<u8> {
    let first = format!("/workspaces/{id}/rebuilds?limit={limit}");
    let (mut all, mut path) = (vec![], first.clone());
    loop {
        let (numbers, token) = page(&system.send(&Ask::get(&path)).await);
        assert!(numbers.len() <= limit);
        all.extend(numbers);
        let Some(token) = token else { return all };
        path = format!("{first}&next_token={token}");
    }
}

/// The clocks of two environments differ, so the latest rebuild does not have the highest id.
#[tokio::test]
async fn the_history_lists_each_rebuild_once_whatever_the_clocks_did() {
    let system = System::start().await;
    let id = "ws-available0001";
    put_history(&system, id, 5).await;
    for (latest, has_record) in [(0, false), (3, true), (5, true), (6, false)] {
        let mut rebuild = ended_rebuild(latest, "k");
        if !has_record {
            rebuild["Status"] = json!("STARTED");
        }
        let item = json!({ "WorkspaceId": id, "State": "AVAILABLE", "Rebuild": rebuild });
        system.put("workspaces", item).await;
        let mut expected: Vec<u8> = (1..=5).chain((!has_record).then_some(latest)).collect();
        expected.sort_unstable();
        expected.reverse();
        for limit in [1, 2, 3, 4, 5, 6, 7, 100] {
            assert_eq!(walk(&system, id, limit).await, expected, "{latest}, {limit}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_record_is_left_out_of_the_history() {
    let system = System::start().await;
    let id = "ws-available0001";
    put_history(&system, id, 3).await;
    for number in [0, 2, 9] {
        let unreadable =
            json!({ "WorkspaceId": id, "RebuildId": rebuild_id(number), "CreatedAt": 1 });
        system.put("rebuilds", unreadable).await;
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(walk(&system, id, limit).await, [3, 1], "{limit}");
    }
}

/// A WorkSpace that has left the fleet keeps its history, to the end of the last page.
#[tokio::test]
async fn the_history_outlives_its_workspace() {
    let system = System::start().await;
    put_history(&system, "ws-gone00001", 2).await;
    assert_eq!(walk(&system, "ws-gone00001", 1).await, [2, 1]);
}

#[tokio::test]
async fn an_end_that_nobody_knows_has_its_code() {
    let system = System::start().await;
    let id = "ws-unknownend1";
    let mut rebuild = ended_rebuild(1, "k");
    rebuild["Status"] = json!("UNKNOWN");
    rebuild["ErrorCode"] = json!("NOT_OBSERVED");
    rebuild["ErrorMessage"] = json!("why");
    let item = json!({ "WorkspaceId": id, "State": "AVAILABLE", "Rebuild": rebuild });
    system.put("workspaces", item).await;
    let path = format!("/workspaces/{id}/rebuilds/{}", rebuild_id(1));
    let answer = system.send(&Ask::get(&path)).await;
    let data = answer.data();
    assert_eq!((answer.status, answer.header("retry-after")), (200, None));
    assert_eq!(data["status"], "UNKNOWN");
    assert_eq!(data["error"], json!({ "code": "NOT_OBSERVED", "message": "why" }));
    assert_eq!(system.send(&Ask::rebuild(id)).await.status, 202);
}

/// After a rollback, items of the newer version are still there.
#[tokio::test]
async fn states_and_statuses_of_a_newer_version_allow_no_rebuild() {
    let system = System::start().await;
    let id = "ws-newer00001";
    let newer_status = || {
        let mut rebuild = ended_rebuild(1, "k");
        rebuild["Status"] = json!("PAUSED");
        rebuild
    };
    let open = ("OpenRebuild", json!("PAUSED"));
    for (state, rebuild, open, shown) in [
        ("FROZEN", None, None, "UNKNOWN"),
        ("FROZEN", Some(newer_status()), Some(open.clone()), "UNKNOWN"),
        ("AVAILABLE", Some(newer_status()), Some(open), "AVAILABLE"),
    ] {
        let mut item = json!({ "WorkspaceId": id, "State": state });
        if let Some(rebuild) = &rebuild {
            item["Rebuild"] = rebuild.clone();
        }
        if let Some((name, value)) = &open {
            item[name] = value.clone();
        }
        system.put("workspaces", item.clone()).await;
        let data = system.send(&Ask::get(&format!("/workspaces/{id}"))).await.data();
        assert_eq!((&data["state"], &data["rebuildable"]), (&json!(shown), &json!(false)));
        if rebuild.is_some() {
            assert_eq!(data["rebuild"]["status"], "PAUSED");
            let path = format!("/workspaces/{id}/rebuilds/{}", rebuild_id(1));
            let answer = system.send(&Ask::get(&path)).await;
            assert_eq!(answer.data()["status"], "PAUSED");
            assert_eq!(answer.header("retry-after"), Some("60"), "it is open");
            assert_eq!(walk(&system, id, 1).await, [1]);
        }
        assert_eq!(system.send(&Ask::rebuild(id)).await.status, 409);
        let describe = Ask::aws("DescribeWorkspaces", json!({ "WorkspaceIds": [id] }).to_string());
        assert_eq!(system.send(&describe).await.json()["Workspaces"][0]["State"], shown);
        system.end_rebuild().await;
        assert_eq!(system.item(id).await, item, "the reconciler leaves it alone");
    }
}

/// The model of the WorkSpaces API has no tags in a WorkSpace.
#[tokio::test]
async fn tags_are_shown_as_they_are_and_to_no_aws_client() {
    let system = System::start().await;
    let path = "/workspaces/ws-stopped0001";
    let tags = json!({ "team": "finance", "environment": "production" });
    assert_eq!(system.send(&Ask::get(path)).await.data()["tags"], tags);
    let listed = system.send(&Ask::get("/workspaces?limit=100")).await.data();
    let listed = listed["workspaces"].as_array().expect("a page");
    let tagged: Vec<_> = listed.iter().filter(|it| it.get("tags").is_some()).collect();
    assert_eq!(tagged.len(), 2, "WorkSpaces without tags have no such member");
    assert!(tagged.iter().any(|it| it["workspace_id"] == "ws-stopped0001" && it["tags"] == tags));
    let ids = json!({ "WorkspaceIds": ["ws-stopped0001"] }).to_string();
    let described = system.send(&Ask::aws("DescribeWorkspaces", ids)).await.json();
    assert_eq!(described["Workspaces"][0].get("Tags"), None);
    assert_eq!(system.send(&Ask::rebuild("ws-stopped0001")).await.status, 202);
    assert_eq!(system.send(&Ask::get(path)).await.data()["tags"], tags);
}
