//! What guards a WorkSpace beside its state: keys that last, cancelling, protection, directories, and
//! the lists that show it all. Over HTTP, with the simulated fleet.

use rebuild_workspaces::ids::{DirectoryId, Target, WorkspaceId};
use rebuild_workspaces::rebuild::{IdempotencyKey, Rebuild};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::Filter;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::system::{Answer, Ask, SAMPLES, System};

const ID: &str = "ws-available0001";
const DIRECTORY: &str = "d-906700a1b2";
const OTHER_DIRECTORY: &str = "d-906700c3d4";
const CALLER: &str = "arn:aws:iam::000000000000:user/local";

fn keyed(key: &str) -> Ask {
    Ask::rebuild(ID).with("idempotency-key", key)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

fn not_found(id: &str) -> Answer {
    Answer::failure(404, "WORKSPACE_NOT_FOUND", &format!("WorkSpace {id} was not found"))
}

#[tokio::test]
async fn a_key_lasts_whatever_was_accepted_since() {
    let system = System::start().await;
    let ask = |key: &str| match key.strip_prefix("sdk-") {
        None => keyed(key),
        Some(invocation) => Ask::aws_rebuild(ID).with("amz-sdk-invocation-id", invocation),
    };
    let mut firsts = vec![];
    for number in 0..22 {
        let key = if number % 3 == 2 { format!("sdk-{number}") } else { format!("k{number}") };
        let first = system.send(&ask(&key)).await;
        assert!(!replayed(&first));
        system.end_rebuild().await;
        let rebuild = system.item(ID).await["Rebuild"]["Id"].clone();
        firsts.push((key, first, rebuild));
    }
    let item = system.item(ID).await;
    assert_eq!(item["Keys"].as_object().map(serde_json::Map::len), Some(22));
    system.wire.operations();
    for (key, first, rebuild) in &firsts {
        let again = system.send(&ask(key)).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{key}");
        if first.status == 202 {
            assert!(replayed(&again), "{key}");
            assert_eq!(again.data()["id"], *rebuild, "{key}");
        }
        assert_eq!(system.wire.operations(), ["UpdateItem"], "{key}");
    }
    assert_eq!(system.item(ID).await, item, "nothing was changed");
    // A client's key is not an SDK call's.
    assert_eq!(system.send(&keyed("2")).await.status, 202);
}

/// The SDK repeats an attempt whose answer was lost. Its rebuild may have ended meanwhile.
#[tokio::test]
async fn a_late_attempt_of_one_request_is_no_repeat() {
    let system = System::start().await;
    let target = Target::from(WorkspaceId::try_from(ID.to_owned()).expect("an id"));
    let idempotency_key = IdempotencyKey::from_client("k1").expect("a key");
    let rebuild = Rebuild { idempotency_key, ..Rebuild::new(OffsetDateTime::now_utc()) };
    let first = system.store.accept(&target, &rebuild).await.expect("it is accepted");
    system.end_rebuild().await;
    assert_eq!(system.store.accept(&target, &rebuild).await.expect("it was"), first);
    system.send(&keyed("k2")).await.id();
    assert_eq!(system.store.accept(&target, &rebuild).await.expect("it was"), first);
}

#[tokio::test]
async fn a_cancelled_rebuild_keeps_its_key() {
    let system = System::start().await;
    let first = system.send(&keyed("k1")).await;
    let location = first.header("location").expect("a location").to_owned();
    assert_eq!(system.send(&Ask::new("DELETE", &location)).await.status, 200);
    system.end_rebuild().await;
    system.send(&keyed("k2")).await.id();
    let again = system.send(&keyed("k1")).await;
    assert_eq!((again.id(), replayed(&again)), (first.id(), true));
}

#[tokio::test]
async fn a_key_is_not_used_for_other_parameters() {
    let system = System::start().await;
    let path = format!("/workspaces/{ID}/rebuilds");
    let ask = |body: Value| Ask::json("POST", &path, &body).with("idempotency-key", "k1");
    let body = json!({ "Reason": "a", "MaximumSnapshotAgeHours": 24 });
    let first = system.send(&ask(body.clone())).await.id();
    let message = "the idempotency key was used before, for a rebuild with other parameters";
    let reused = Answer::failure(422, "IDEMPOTENCY_KEY_REUSED", message);
    // While it is open, once it has ended, and once another one was accepted.
    for round in 0..3 {
        for other in [
            json!({}),
            json!({ "Reason": "a" }),
            json!({ "Reason": "b", "MaximumSnapshotAgeHours": 24 }),
            json!({ "Reason": "a", "MaximumSnapshotAgeHours": 25 }),
            json!({ "Reason": "a", "MaximumSnapshotAgeHours": 24, "WaitForDisconnect": false }),
        ] {
            system.wire.operations();
            assert_eq!(system.send(&ask(other.clone())).await, reused, "{round}: {other}");
            assert_eq!(system.wire.operations(), ["UpdateItem"]);
        }
        let again = system.send(&ask(body.clone())).await;
        assert_eq!((again.id(), replayed(&again)), (first.clone(), true), "{round}");
        system.end_rebuild().await;
        if round == 1 {
            system.send(&keyed("another")).await.id();
        }
    }
}

#[tokio::test]
async fn a_quoted_key_is_the_bare_one() {
    let system = System::start().await;
    let first = system.send(&keyed("a\"b\\c")).await.id();
    let again = system.send(&keyed(r#""a\"b\\c""#)).await;
    assert_eq!((again.id(), replayed(&again)), (first, true));
}

#[tokio::test]
async fn a_requested_rebuild_can_be_cancelled() {
    let system = System::start().await;
    let accepted = system.send(&keyed("k1")).await;
    let location = accepted.header("location").expect("a location").to_owned();
    system.wire.operations();

    let cancelled = system.send(&Ask::new("DELETE", &location)).await;
    let data = cancelled.data();
    let expected = json!({
        "id": accepted.id(),
        "workspace_id": ID,
        "status": "CANCELLED",
        "created_at": accepted.data()["created_at"],
        "ended_at": data["ended_at"],
        "previous_state": "AVAILABLE",
        "simulated": true,
        "requested_by": CALLER,
        "cancelled_by": CALLER,
    });
    assert_eq!((cancelled.status, cancelled.header("retry-after"), &data), (200, None, &expected));
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    // Its WorkSpace is released by the next pass.
    assert_eq!(system.item(ID).await["State"], "AVAILABLE");
    assert_eq!(system.send(&keyed("k2")).await.status, 409);
    assert_eq!(system.send(&Ask::get(&location)).await.data(), expected);
    assert_eq!(system.send(&Ask::new("DELETE", &location)).await.data(), expected, "again");

    system.end_rebuild().await;
    assert_eq!(system.send(&Ask::new("DELETE", &location)).await.data(), expected, "recorded");
    let next = system.send(&keyed("k2")).await.id();
    // It is no longer the latest, so only its record is left.
    assert_eq!(system.send(&Ask::new("DELETE", &location)).await.data(), expected, "older");
    assert_eq!(system.send(&Ask::get(&location)).await.data(), expected);
    assert_eq!(system.item(ID).await["Rebuild"]["Id"], next);
}

#[tokio::test]
async fn only_a_requested_rebuild_can_be_cancelled() {
    let system = System::start().await;
    let refused = |message: &str| Answer::failure(409, "REBUILD_NOT_CANCELLABLE", message);
    let ended = system.send(&keyed("k1")).await;
    let ended = ended.header("location").expect("a location").to_owned();
    let delete = Ask::new("DELETE", &ended);

    let now = json!(Timestamp::from(OffsetDateTime::now_utc()));
    let mut item = system.item(ID).await;
    item["Rebuild"]["ClaimId"] = json!("11111111-1111-4111-8111-111111111111");
    item["Rebuild"]["ClaimedAt"] = now.clone();
    item["Rebuild"]["SnapshotAt"] = now.clone();
    system.put("workspaces", item).await;
    let location = system.send(&Ask::get(&ended)).await;
    assert_eq!(location.data()["cancellable"], false);
    let claimed = "the rebuild is being handed over to the fleet, so it can no longer be cancelled";
    assert_eq!(system.send(&delete).await, refused(claimed));

    let mut item = system.item(ID).await;
    item["Rebuild"]["Status"] = json!("STARTED");
    item["Rebuild"]["StartedAt"] = now.clone();
    item["OpenRebuild"] = json!("HANDED_OVER");
    system.put("workspaces", item).await;
    let only = "only a REQUESTED one can be cancelled";
    assert_eq!(system.send(&delete).await, refused(&format!("the rebuild is STARTED; {only}")));

    system.end_rebuild().await;
    let succeeded = refused(&format!("the rebuild is SUCCEEDED; {only}"));
    assert_eq!(system.send(&delete).await, succeeded);
    system.send(&keyed("k2")).await.id();
    assert_eq!(system.send(&delete).await, succeeded, "from its record");

    let before = system.item(ID).await;
    let unknown =
        Answer::failure(404, "REBUILD_NOT_FOUND", "the WorkSpace has no rebuild of this id");
    for path in [
        format!("/workspaces/{ID}/rebuilds/01941f29-7c00-7000-8000-000000000001"),
        format!("/workspaces/{ID}/rebuilds/x"),
        ended.replace(ID, "ws-stopped0001"),
        ended.replace(ID, "ws-nosuchone0001"),
        format!("/directories/{OTHER_DIRECTORY}{ended}"),
    ] {
        assert_eq!(system.send(&Ask::new("DELETE", &path)).await, unknown, "{path}");
    }
    assert_eq!(system.item(ID).await, before);
}

#[tokio::test]
async fn a_protected_workspace_refuses_rebuilds() {
    let system = System::start().await;
    let path = format!("/workspaces/{ID}/protection");
    let before = system.item(ID).await;
    let protect = |reason: &str| Ask::json("PUT", &path, &json!({ "Reason": reason }));
    let answer = system.send(&protect("evidence")).await;
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    let (status, data) = (answer.status, answer.data());
    let protection = json!({
        "protected_by": CALLER,
        "protected_at": data["protection"]["protected_at"],
        "reason": "evidence",
    });
    assert_eq!((status, &data["rebuildable"]), (200, &json!(false)));
    assert_eq!(data["protection"], protection);
    assert_eq!(system.send(&Ask::get(&format!("/workspaces/{ID}"))).await.data(), data);

    // The first protection stays.
    let again = system.send(&protect("another")).await;
    assert_eq!((again.status, again.data()), (200, data.clone()));

    system.wire.operations();
    let message = format!("WorkSpace {ID} is protected against rebuilds; unprotect it first");
    let refused = Answer::failure(409, "WORKSPACE_PROTECTED", &message);
    assert_eq!(system.send(&Ask::rebuild(ID)).await, refused);
    assert_eq!(system.wire.operations(), ["UpdateItem"]);
    let aws = system.send(&Ask::aws_rebuild(ID)).await.json();
    assert_eq!(aws["FailedRequests"][0]["ErrorCode"], "OperationNotSupported.Workspace");
    assert_eq!(aws["FailedRequests"][0]["ErrorMessage"], message);

    for _ in 0..2 {
        let answer = system.send(&Ask::new("DELETE", &path)).await;
        let data = answer.data();
        assert_eq!((answer.status, &data["rebuildable"]), (200, &json!(true)));
        assert_eq!(data.get("protection"), None);
    }
    let item = system.item(ID).await;
    assert_eq!(item["LastProtection"]["ProtectedBy"], CALLER);
    assert_eq!(item["LastProtection"]["Reason"], "evidence");
    assert_eq!(item["Unprotection"]["UnprotectedBy"], CALLER);
    let mut rest = item;
    for name in ["LastProtection", "Unprotection", "ProtectionId"] {
        assert!(rest.as_object_mut().expect("an object").remove(name).is_some(), "{name}");
    }
    assert_eq!(rest, before, "nothing else was changed");
    system.send(&Ask::rebuild(ID)).await.id();

    // Without a body or a reason.
    for ask in [Ask::new("PUT", &path), Ask::json("PUT", &path, &json!({}))] {
        assert_eq!(system.send(&ask).await.status, 200);
    }
    assert_eq!(system.item(ID).await["Protection"].get("Reason"), None);
    assert_eq!(system.item(ID).await.get("Unprotection"), None);
}

#[tokio::test]
async fn a_protection_stops_a_rebuild_that_was_not_handed_over() {
    let system = System::start().await;
    let accepted = system.send(&Ask::rebuild(ID)).await;
    let location = accepted.header("location").expect("a location").to_owned();
    let path = format!("/workspaces/{ID}/protection");
    assert_eq!(system.send(&Ask::new("PUT", &path)).await.status, 200);
    system.end_rebuild().await;
    let rebuild = system.send(&Ask::get(&location)).await.data();
    assert_eq!(
        (&rebuild["status"], &rebuild["error"]["code"]),
        (&json!("FAILED"), &json!("WORKSPACE_PROTECTED"))
    );
    assert_eq!(rebuild.get("started_at"), None);
    assert_eq!(system.item(ID).await["State"], "AVAILABLE");
}

/// A copy of an old request that arrives late, by way of another environment.
#[tokio::test]
async fn a_late_request_does_not_undo_a_newer_one() {
    let system = System::start().await;
    let target = rebuild_workspaces::ids::WorkspaceId::try_from(ID.to_owned());
    let target = target.expect("an id").into();
    let protection = rebuild_workspaces::workspace::Protection {
        protected_by: None,
        protected_at: OffsetDateTime::now_utc().into(),
        reason: None,
    };
    let late = OffsetDateTime::now_utc() - Duration::SECOND;
    let path = format!("/workspaces/{ID}/protection");
    for (method, is_protected) in
        [("PUT", true), ("DELETE", false), ("DELETE", false), ("PUT", true), ("PUT", true)]
    {
        assert_eq!(system.send(&Ask::new(method, &path)).await.status, 200);
        let before = system.item(ID).await;
        assert!(system.store.protect(&target, &protection, late).await.is_err());
        assert!(system.store.unprotect(&target, None, late).await.is_err());
        assert_eq!(system.item(ID).await, before, "{method}");
        assert_eq!(before.get("Protection").is_some(), is_protected);
    }
}

#[tokio::test]
async fn protection_requests_are_checked() {
    let system = System::start().await;
    let path = format!("/workspaces/{ID}/protection");
    for (body, message) in [
        (json!({ "Reason": "" }), "Reason must be 1 to 256 characters"),
        (json!({ "Reason": 1 }), "Reason must be a string"),
        (
            json!({ "Reason": "a\u{202e}b" }),
            "Reason must not have control or bidirectional formatting characters",
        ),
        (json!({ "reason": "x" }), "the body has an unknown field; known is Reason"),
        (json!([]), "the body must be an object, with each field once"),
    ] {
        let message = format!("Invalid request parameters: {message}");
        let refused = Answer::failure(400, "VALIDATION_ERROR", &message);
        assert_eq!(system.send(&Ask::json("PUT", &path, &body)).await, refused, "{body}");
    }
    let text = Ask::json("PUT", &path, &json!({})).without("content-type");
    let text = text.with("content-type", "text/plain");
    assert_eq!(system.send(&text).await.status, 415);
    assert!(system.wire.seen().is_empty());
    for method in ["PUT", "DELETE"] {
        for path in [
            "/workspaces/ws-nosuchone0001/protection".to_owned(),
            format!("/directories/{OTHER_DIRECTORY}/workspaces/ws-nosuchone0001/protection"),
        ] {
            assert_eq!(system.send(&Ask::new(method, &path)).await, not_found("ws-nosuchone0001"));
        }
    }
    assert_eq!(system.scan("workspaces").await.len(), SAMPLES, "no item was made");
}

#[tokio::test]
async fn a_rebuild_can_be_requested_by_path() {
    let system = System::start().await;
    for (id, prefix) in
        [(ID, String::new()), ("ws-unhealthy0001", format!("/directories/{DIRECTORY}"))]
    {
        let rebuilds = format!("{prefix}/workspaces/{id}/rebuilds");
        let body = json!({ "Reason": "ticket 4711", "MaximumSnapshotAgeHours": 24 });
        system.wire.operations();
        let answer = system.send(&Ask::json("POST", &rebuilds, &body)).await;
        assert_eq!(system.wire.operations(), ["UpdateItem"]);
        let location = format!("{rebuilds}/{}", answer.id());
        assert_eq!(answer.header("location"), Some(&*location));
        let item = system.item(id).await;
        assert_eq!(item["Rebuild"]["Reason"], "ticket 4711");
        assert_eq!(item["Rebuild"]["MaximumSnapshotAgeHours"], 24);
        assert_eq!(system.send(&Ask::get(&location)).await.data()["id"], answer.id());
    }
    // Without a body.
    let path = "/workspaces/ws-stopped0001/rebuilds";
    system.send(&Ask::new("POST", path)).await.id();

    for (body, message) in [
        (
            json!({ "RebuildWorkspaceRequests": [] }),
            "the body has an unknown field; known are Reason, MaximumSnapshotAgeHours and WaitForDisconnect",
        ),
        (
            json!({ "MaximumSnapshotAgeHours": 0 }),
            "MaximumSnapshotAgeHours must be a number from 1 to 8760",
        ),
        (json!("x"), "the body must be an object, with each field once"),
    ] {
        let message = format!("Invalid request parameters: {message}");
        let refused = Answer::failure(400, "VALIDATION_ERROR", &message);
        assert_eq!(system.send(&Ask::json("POST", path, &body)).await, refused, "{body}");
    }
    let bad = "/directories/d-1/workspaces/ws-stopped0001/rebuilds";
    let answer = system.send(&Ask::new("POST", bad)).await;
    let message = "Invalid request parameters: DirectoryId must match ^(d-[0-9a-f]{8,63}|wsd-[0-9a-z]{8,63})$";
    assert_eq!(answer, Answer::failure(400, "VALIDATION_ERROR", message));
}

/// What a caller who is limited to one directory can see and do in another: nothing.
#[tokio::test]
async fn a_workspace_of_another_directory_is_not_there() {
    let system = System::start().await;
    let accepted = system.send(&keyed("k1")).await.id();
    let before = system.item(ID).await;
    for directory in [OTHER_DIRECTORY, "wsd-0a1b2c3d4"] {
        let workspace = format!("/directories/{directory}/workspaces/{ID}");
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/rebuilds"),
            ("POST", "/rebuilds"),
            ("PUT", "/protection"),
            ("DELETE", "/protection"),
        ] {
            let ask = Ask::new(method, &format!("{workspace}{rest}"));
            let ask = ask.with("idempotency-key", "k1");
            assert_eq!(system.send(&ask).await, not_found(ID), "{method} {rest}");
        }
        for method in ["GET", "DELETE"] {
            let ask = Ask::new(method, &format!("{workspace}/rebuilds/{accepted}"));
            let message = "the WorkSpace has no rebuild of this id";
            let expected = Answer::failure(404, "REBUILD_NOT_FOUND", message);
            assert_eq!(system.send(&ask).await, expected, "{method}");
        }
    }
    assert_eq!(system.item(ID).await, before);

    let workspace = format!("/directories/{DIRECTORY}/workspaces/{ID}");
    for (method, rest, status) in [
        ("GET", String::new(), 200),
        ("GET", "/rebuilds".to_owned(), 200),
        ("PUT", "/protection".to_owned(), 200),
        ("DELETE", "/protection".to_owned(), 200),
        ("GET", format!("/rebuilds/{accepted}"), 200),
        ("DELETE", format!("/rebuilds/{accepted}"), 200),
    ] {
        let answer = system.send(&Ask::new(method, &format!("{workspace}{rest}"))).await;
        assert_eq!(answer.status, status, "{method} {rest}");
    }
}

/// All pages of a listing: the ids in `member`, and the tokens.
async fn walk(system: &System, path: &str, member: &str) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut tokens) = (vec![], vec![]);
    let mut next = path.to_owned();
    loop {
        let data = system.send(&Ask::get(&next)).await.data();
        let page = data[member].as_array().expect("a list");
        ids.extend(page.iter().map(|one| one["workspace_id"].as_str().expect("an id").to_owned()));
        let Some(token) = data["next_token"].as_str() else { return (ids, tokens) };
        tokens.push(token.to_owned());
        let and = if path.contains('?') { '&' } else { '?' };
        next = format!("{path}{and}next_token={token}");
    }
}

#[tokio::test]
async fn workspaces_are_listed_by_filter() {
    let system = System::start().await;
    let (all, _) = walk(&system, "/workspaces", "workspaces").await;
    assert_eq!(all.len(), SAMPLES);
    let one = system.send(&Ask::get(&format!("/workspaces/{ID}"))).await.data();
    let listed = system
        .send(&Ask::get("/workspaces?user_name=bo.lindqvist&directory_id=d-906700a1b2"))
        .await;
    assert_eq!(listed.data(), json!({ "workspaces": [one] }));
    for (path, count) in [
        ("/workspaces?directory_id=d-906700a1b2", 9),
        ("/directories/d-906700a1b2/workspaces", 9),
        ("/directories/d-906700a1b2/workspaces?user_name=bo.lindqvist", 1),
        ("/directories/d-906700a1b2/workspaces?user_name=nobody", 0),
        ("/workspaces?bundle_id=wsb-0a1b2c3d4", 12),
        ("/workspaces?bundle_id=wsb-zzzzzzzzz", 0),
    ] {
        let (whole, _) = walk(&system, path, "workspaces").await;
        assert_eq!(whole.len(), count, "{path}");
        for limit in [1, 4, 100] {
            let and = if path.contains('?') { '&' } else { '?' };
            let (paged, _) =
                walk(&system, &format!("{path}{and}limit={limit}"), "workspaces").await;
            assert_eq!(paged, whole, "{path}, {limit}");
        }
    }
    let combination = "give directory_id with or without user_name, or bundle_id, or none of them";
    for (path, message) in [
        ("/workspaces?user_name=x", combination),
        ("/workspaces?directory_id=d-906700a1b2&bundle_id=wsb-0a1b2c3d4", combination),
        (
            "/workspaces?directory_id=d-1",
            "DirectoryId must match ^(d-[0-9a-f]{8,63}|wsd-[0-9a-z]{8,63})$",
        ),
        ("/workspaces?bundle_id=x", "bundle_id must match ^wsb-[0-9a-z]{8,63}$"),
        (
            "/workspaces?directory_id=d-906700a1b2&user_name=",
            "user_name must be 1 to 63 characters",
        ),
        (
            "/workspaces?directoryid=d-906700a1b2",
            "the query has an unknown parameter; known are directory_id, user_name, bundle_id, limit, next_token",
        ),
        (
            "/directories/d-906700a1b2/workspaces?directory_id=d-906700a1b2",
            "the query has an unknown parameter; known are user_name, limit, next_token",
        ),
        ("/workspaces?limit=101", "limit must be a number from 1 to 100"),
        ("/rebuilds?limit=0", "limit must be a number from 1 to 100"),
        ("/rebuilds?status=SUCCEEDED", "status must be REQUESTED or STARTED"),
        (
            "/rebuilds?state=REQUESTED",
            "the query has an unknown parameter; known are status, ended_on, limit, next_token",
        ),
    ] {
        let message = format!("Invalid request parameters: {message}");
        let refused = Answer::failure(400, "VALIDATION_ERROR", &message);
        assert_eq!(system.send(&Ask::get(path)).await, refused, "{path}");
    }
}

#[tokio::test]
async fn open_rebuilds_are_listed_oldest_first() {
    let system = System::start().await;
    let mut expected = vec![];
    // Three at a time were accepted within the same second.
    for (number, queue) in
        ["REQUESTED", "HANDED_OVER", "REBUILDING", "ENDED", "HANDED_OVER", "REBUILDING"]
            .iter()
            .cycle()
            .take(36)
            .enumerate()
    {
        let id = format!("ws-open{number:04}");
        let second = number / 3;
        let since = format!("2025-01-01T00:00:{second:02}Z");
        let status = match *queue {
            "REQUESTED" => "REQUESTED",
            "ENDED" => "SUCCEEDED",
            "HANDED_OVER" if number % 2 == 0 => "REQUESTED",
            _ => "STARTED",
        };
        let mut rebuild = json!({
            "Id": format!("01941f29-7c00-7000-8000-0000000000{number:02x}"),
            "CreatedAt": since, "Status": status, "IdempotencyKey": "k", "FleetMode": "Simulated", "Attempt": 0,
        });
        if *queue != "REQUESTED" {
            rebuild["ClaimId"] = json!("11111111-1111-4111-8111-111111111111");
            rebuild["ClaimedAt"] = json!(since);
            rebuild["SnapshotAt"] = json!(since);
        }
        match status {
            "STARTED" => rebuild["StartedAt"] = json!(since),
            "SUCCEEDED" => rebuild["EndedAt"] = json!(since),
            _ => {}
        }
        system.put("workspaces", json!({ "WorkspaceId": id, "State": "REBUILDING", "OpenRebuild": queue, "OpenSince": since, "Rebuild": rebuild })).await;
        if status != "SUCCEEDED" {
            expected.push((id, status));
        }
    }
    for status in [None, Some("REQUESTED"), Some("STARTED")] {
        let wanted: Vec<_> = expected
            .iter()
            .filter(|(_, is)| status.is_none_or(|status| status == *is))
            .map(|(id, _)| id.clone())
            .collect();
        for limit in [1, 2, 5, 25, 100] {
            let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
            let (listed, _) =
                walk(&system, &format!("/rebuilds?limit={limit}{status}"), "rebuilds").await;
            assert_eq!(listed, wanted, "{status}, {limit}");
        }
    }
    let (listed, _) = walk(&system, "/rebuilds", "rebuilds").await;
    assert_eq!(listed.len(), expected.len());
    let data = system.send(&Ask::get("/rebuilds?limit=1")).await.data();
    let shown = &data["rebuilds"][0];
    assert_eq!(
        (&shown["status"], &shown["created_at"]),
        (&json!("REQUESTED"), &json!("2025-01-01T00:00:00Z"))
    );
}

/// Tokens are opaque, and each listing knows only its own.
#[tokio::test]
async fn a_token_belongs_to_its_listing() {
    let system = System::start().await;
    for id in [ID, "ws-stopped0001"] {
        for number in 1..4 {
            let id_of_rebuild = format!("01941f29-7c00-7000-8000-0000000000{number:02x}");
            let record = json!({ "WorkspaceId": id, "RebuildId": id_of_rebuild, "CreatedAt": "2025-01-01T00:00:00Z", "EndedAt": "2025-01-01T00:00:00Z", "Status": "SUCCEEDED", "IdempotencyKey": "k", "FleetMode": "Simulated", "Attempt": 0 });
            system.put("rebuilds", record).await;
        }
        system.send(&Ask::rebuild(id)).await.id();
    }
    let listings = [
        ("/workspaces?limit=1".to_owned(), "workspaces"),
        (format!("/workspaces?limit=1&directory_id={DIRECTORY}"), "workspaces"),
        (format!("/directories/{OTHER_DIRECTORY}/workspaces?limit=1"), "workspaces"),
        ("/workspaces?limit=1&bundle_id=wsb-0a1b2c3d4".to_owned(), "workspaces"),
        ("/workspaces?limit=1&bundle_id=wsb-5e6f7g8h9".to_owned(), "workspaces"),
        ("/rebuilds?limit=1".to_owned(), "rebuilds"),
        ("/rebuilds?limit=1&status=REQUESTED".to_owned(), "rebuilds"),
        (format!("/workspaces/{ID}/rebuilds?limit=1"), "rebuilds"),
        ("/workspaces/ws-stopped0001/rebuilds?limit=1".to_owned(), "rebuilds"),
    ];
    let mut tokens = vec![];
    for (listing, member) in &listings {
        let (ids, its_tokens) = walk(&system, listing, member).await;
        for token in &its_tokens {
            assert!(!token.contains("ws-") && !ids.iter().any(|id| token.contains(id)), "{token}");
        }
        tokens.push(its_tokens.first().expect("several pages").clone());
    }
    let message = "Invalid request parameters: next_token is not one of this listing's";
    let refused = Answer::failure(400, "VALIDATION_ERROR", message);
    for (listing, _) in &listings {
        let own = listings.iter().position(|(other, _)| other == listing);
        let foreign = tokens.iter().enumerate().filter(|(number, _)| Some(*number) != own);
        let foreign = foreign.map(|(_, token)| token.clone());
        let forged =
            ["", "x", "ws-available0001", "AAAAAAAAAAAAAAAA", "%00", "%C3%BC", "%FF", "A=="];
        let long = "A".repeat(8000);
        for token in foreign.chain(forged.map(str::to_owned)).chain([long]) {
            let answer = system.send(&Ask::get(&format!("{listing}&next_token={token}"))).await;
            assert_eq!(answer, refused, "{listing}: {token:.60}");
        }
    }
    // Whoever forges the place of an index too.
    let directory_id = DirectoryId::try_from(DIRECTORY.to_owned()).expect("an id");
    for user_name in [None, Some("bo.lindqvist")] {
        let directory_id = directory_id.clone();
        let query = user_name.map(|name| format!("user_name={name}&")).unwrap_or_default();
        let user_name = user_name.map(|name| name.to_owned().try_into().expect("a name"));
        let listing = Filter::Directory { directory_id, user_name }.listing();
        let path = format!("/directories/{DIRECTORY}/workspaces?{query}next_token=");
        // Longer than a range key can be.
        let long = format!("ws-available0001/{}", "x".repeat(1025));
        for place in ["ws-available0001", "ws-available0001/", "x/bo.lindqvist", &long] {
            let token = listing.token(place);
            assert_eq!(system.send(&Ask::get(&format!("{path}{token}"))).await, refused, "{place}");
        }
        let other_user = listing.token("ws-available0001/nobody");
        let answer = system.send(&Ask::get(&format!("{path}{other_user}"))).await;
        assert_eq!(answer.status, if query.is_empty() { 200 } else { 400 });
    }
    let aws = |body: Value| Ask::aws("DescribeWorkspaces", body.to_string());
    let page = system.send(&aws(json!({ "Limit": 1, "DirectoryId": DIRECTORY }))).await.json();
    let token = page["NextToken"].as_str().expect("more").to_owned();
    assert!(!token.contains("ws-") && !token.contains('.'), "{token}");
    let foreign = system.send(&aws(json!({ "Limit": 1, "NextToken": token }))).await;
    assert_eq!(foreign.json()["__type"], "InvalidParameterValuesException");
    let next = system
        .send(&aws(json!({ "Limit": 1, "DirectoryId": DIRECTORY, "NextToken": token })))
        .await;
    assert_eq!(next.status, 200);
}
