//! The client of the real fleet, over both protocols of AWS, against the project's own faces and against
//! endpoints with fixed answers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_workspaces::Client;
use aws_sdk_workspaces::config::{Credentials, Region};
use aws_smithy_cbor::protocol::RpcV2CborProtocol;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::FleetConfig;
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::fleet::{Fleet, HandOverError, Wanted};
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::Status;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use rebuild_workspaces::state::State;
use rebuild_workspaces::transport;
use rebuild_workspaces::workspace::Workspace;
use serde_json::json;
use time::OffsetDateTime;

use crate::aws_cbor::bytes;
use crate::system::{Ask, SAMPLES, System, config, fleet_config, listen};

/// A client of the WorkSpaces API at this endpoint.
fn amazon(endpoint: &str) -> Amazon {
    amazon_with_tags(endpoint, [])
}

fn amazon_with_tags<const N: usize>(endpoint: &str, tag_keys: [&str; N]) -> Amazon {
    let config = config("http://localhost:1");
    let tag_keys = HashSet::from(tag_keys.map(str::to_owned));
    let fleet = FleetConfig { tag_keys, ..fleet_config(endpoint) };
    let calls = Rate::following(fleet.calls_per_second);
    Amazon::connect(&config, &fleet, calls, transport::http_client(&config.aws))
}

/// The same over CBOR, which the next releases of the SDK will prefer.
fn amazon_over_cbor(endpoint: &str) -> Amazon {
    let keys = aws_sdk_kms::Config::builder().behavior_version_latest().build();
    let config = aws_sdk_workspaces::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(transport::http_client(&config(endpoint).aws))
        .protocol(RpcV2CborProtocol::new())
        .endpoint_url(endpoint);
    let keys = aws_sdk_kms::Client::from_conf(keys);
    let rate = Rate::following(NonZeroU16::MAX);
    Amazon::new(Client::from_conf(config.build()), keys, rate, rate)
}

fn id(text: &str) -> WorkspaceId {
    WorkspaceId::try_from(text.to_owned()).expect("an id")
}

/// Everything that the fleet tells of a WorkSpace is kept and shown again.
#[tokio::test]
async fn sync_takes_over_every_member() {
    let (front, back) = (System::start_for_amazon().await, System::start().await);
    for item in front.scan("workspaces").await {
        front.remove("workspaces", item["WorkspaceId"].as_str().expect("an id")).await;
    }
    let (store, fleet) = (front.store.clone(), amazon(&back.api));
    let timing = Timing::of_simulated();
    let clock = OffsetDateTime::now_utc;
    let synced = Reconciler { store, fleet, clock, timing, limits: Limits::default() }.sync().await;
    assert!(synced.is_ok(), "{synced:?}");
    let shown = async |system: &System| {
        let answer = system.send(&Ask::aws("DescribeWorkspaces", "{}")).await.json();
        let mut all = answer["Workspaces"].as_array().expect("a page").clone();
        all.sort_by_key(|workspace| workspace["WorkspaceId"].to_string());
        all
    };
    let told = shown(&back).await;
    assert!(told.iter().any(|workspace| workspace.get("StandbyWorkspacesProperties").is_some()));
    assert_eq!(shown(&front).await, told);
}

#[tokio::test]
async fn one_system_can_be_the_fleet_of_another() {
    follows_over(amazon).await;
}

#[tokio::test]
async fn one_system_can_be_the_fleet_of_another_over_cbor() {
    follows_over(amazon_over_cbor).await;
}

async fn follows_over(amazon: impl Fn(&str) -> Amazon) {
    let (front, back) = (System::start_for_amazon().await, System::start().await);
    let id = id("ws-available0001");
    let at = |minutes| move || OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
    let timing = Timing::of_simulated();
    let front_pass = async |minutes| {
        let (store, fleet) = (front.store.clone(), amazon(&back.api));
        Reconciler { store, fleet, clock: at(minutes), timing, limits: Limits::default() }
            .follow()
            .await
            .expect("a pass");
        front.store.workspace(&id).await.expect("an answer").expect("it is there")
    };
    let back_pass = async |minutes| {
        let fleet = Simulated { rebuild_time: Duration::from_mins(20) };
        let store = back.store.clone();
        Reconciler { store, fleet, clock: at(minutes), timing, limits: Limits::default() }
            .follow()
            .await
            .expect("a pass");
    };

    assert_eq!(front.send(&Ask::rebuild(id.as_str())).await.status, 202);
    let rebuild = front_pass(0).await.into_rebuild().expect("one");
    assert_eq!((rebuild.status(), rebuild.observed_at()), (Status::Started, None));
    assert_eq!(back.item(id.as_str()).await["OpenRebuild"], "REQUESTED");
    let rebuild = front_pass(1).await.into_rebuild().expect("one");
    assert!(rebuild.observed_at().is_some(), "{rebuild:?}");
    for minutes in [1, 2, 30] {
        back_pass(minutes).await;
    }
    let workspace = front_pass(31).await;
    let state = workspace.state;
    let rebuild = workspace.into_rebuild().expect("one");
    assert_eq!((state, rebuild.status()), (State::Available, Status::Succeeded));
}

#[tokio::test]
async fn sync_copies_the_fleet_into_the_table() {
    let (front, back) = (System::start().await, System::start().await);
    let before = front.store.workspace(&id("ws-available0001")).await.expect("an answer");
    front.put("workspaces", json!({ "WorkspaceId": "ws-left00001", "State": "STOPPED" })).await;
    front.put("workspaces", json!({ "WorkspaceId": "ws-available0001", "State": "ERROR" })).await;
    for (minutes, changed, gone) in [(0, 1, 0), (15, 0, 1)] {
        let (store, fleet) = (front.store.clone(), amazon(&back.api));
        let clock = || OffsetDateTime::now_utc() + time::Duration::minutes(minutes);
        let timing = Timing::of_amazon();
        let pass = Reconciler { store, fleet, clock, timing, limits: Limits::default() };
        let pass = pass.sync().await.expect("a pass");
        let expected = (SAMPLES, changed, gone, true);
        assert_eq!((pass.listed, pass.changed, pass.gone, pass.is_complete), expected);
    }
    let now = front.store.workspace(&id("ws-available0001")).await.expect("an answer");
    assert_eq!(now, before);
    assert_eq!(front.item("ws-left00001").await["State"], "TERMINATED");
}

/// Short name for the result of a hand-over.
fn word(result: Result<(), HandOverError>) -> String {
    match result {
        Ok(()) => "taken".to_owned(),
        Err(HandOverError::NotTaken(_)) => "not taken".to_owned(),
        Err(HandOverError::Refused { code }) => format!("refused: {code}"),
        Err(HandOverError::NoAnswer(_)) => "no answer".to_owned(),
    }
}

/// Serves the same answer to every call; returns the URL and the counter of calls.
async fn answering(status: u16, body: String) -> (String, Arc<AtomicUsize>) {
    let headers = [("content-type", "application/x-amz-json-1.1")];
    serving(status, &headers, body.into_bytes()).await
}

/// The same in CBOR. What is not JSON is sent as it is.
async fn answering_in_cbor(status: u16, body: &str) -> (String, Arc<AtomicUsize>) {
    let headers = [("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")];
    let body = match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) => bytes(&ciborium::Value::serialized(&value).expect("CBOR")),
        Err(_) => body.into(),
    };
    serving(status, &headers, body).await
}

async fn serving(
    status: u16,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let mut answer = axum::http::Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let answer = answer.body(Bytes::from(body)).expect("an answer");
    let app = Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone().map(Body::from);
        async move { answer }
    });
    let (listener, url) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, calls)
}

#[tokio::test]
async fn each_answer_to_a_hand_over_is_classified() {
    let failed = |request: serde_json::Value| json!({ "FailedRequests": [request] }).to_string();
    let error = |name: &str| json!({ "__type": name, "message": "no" }).to_string();
    let rows = [
        (200, json!({ "FailedRequests": [] }).to_string(), "taken"),
        (200, json!({}).to_string(), "taken"),
        (200, failed(json!({ "ErrorCode": "Some.Code" })), "refused: Some.Code"),
        (200, failed(json!({})), "refused: REFUSED"),
        (200, failed(json!({ "ErrorCode": "RequestThrottled.Workspace" })), "not taken"),
        (200, failed(json!({ "ErrorCode": "ThrottlingException" })), "not taken"),
        (200, failed(json!({ "ErrorCode": "InternalServerError.Workspace" })), "no answer"),
        (200, failed(json!({ "ErrorCode": "InternalFailure" })), "no answer"),
        (200, failed(json!({ "ErrorCode": "ServiceUnavailable.Workspace" })), "no answer"),
        (200, failed(json!({ "ErrorCode": "RequestTimeout" })), "no answer"),
        (200, "<html>".to_owned(), "no answer"),
        (400, error("ThrottlingException"), "not taken"),
        (400, error("TooManyRequestsException"), "not taken"),
        (400, error("RequestTimeout"), "no answer"),
        (400, error("RequestTimeoutException"), "no answer"),
        (408, error("SomethingElse"), "no answer"),
        (429, error("SomethingElse"), "not taken"),
        (400, error("OperationNotSupportedException"), "refused: OperationNotSupportedException"),
        (403, error("AccessDeniedException"), "refused: AccessDeniedException"),
        (500, error("InternalFailure"), "no answer"),
        (503, error("ServiceUnavailableException"), "no answer"),
        (503, error("ThrottlingException"), "not taken"),
    ];
    for (status, body, expected) in rows {
        let (url, calls) = answering(status, body.clone()).await;
        let answer = amazon(&url).rebuild(&id("ws-available0001")).await;
        assert_eq!(word(answer), expected, "{status} {body}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{status} {body}: called once");

        let (url, calls) = answering_in_cbor(status, &body).await;
        let answer = amazon_over_cbor(&url).rebuild(&id("ws-available0001")).await;
        assert_eq!(word(answer), expected, "in CBOR: {status} {body}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "in CBOR: {status} {body}: called once");
    }
}

/// DynamoDB refuses empty strings as keys of an index.
#[tokio::test]
async fn empty_strings_count_as_absent() {
    let system = System::start_for_amazon().await;
    let mut listed = json!({ "WorkspaceId": "ws-empty00001", "State": "STOPPED" });
    for name in [
        "DirectoryId",
        "UserName",
        "IpAddress",
        "Ipv6Address",
        "BundleId",
        "SubnetId",
        "ErrorMessage",
        "ErrorCode",
        "ComputerName",
        "VolumeEncryptionKey",
        "WorkspaceName",
    ] {
        listed[name] = json!("");
    }
    let (url, _) = answering(200, json!({ "Workspaces": [listed] }).to_string()).await;
    let (store, fleet) = (system.store.clone(), amazon(&url));
    let (clock, timing) = (OffsetDateTime::now_utc, Timing::of_amazon());
    let pass = Reconciler { store, fleet, clock, timing, limits: Limits::default() }.sync().await;
    assert_eq!(pass.expect("a pass").failures, 0);
    let item = json!({ "WorkspaceId": "ws-empty00001", "State": "STOPPED" });
    assert_eq!(system.item("ws-empty00001").await, item);
}

#[tokio::test]
async fn a_lost_connection_leaves_a_hand_over_unanswered() {
    let (listener, url) = listen().await;
    let connections = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.expect("a connection");
        connection.readable().await.expect("a request");
        drop(connection);
        // This also closes the port.
    });
    let fleet = amazon(&url);
    let id = id("ws-available0001");
    assert_eq!(word(fleet.rebuild(&id).await), "no answer");
    connections.await.expect("no panic");
    assert_eq!(word(fleet.rebuild(&id).await), "not taken");
}

/// A WorkSpace in a state that this version does not know still exists.
#[tokio::test]
async fn a_workspace_is_gone_only_if_a_valid_answer_omits_it() {
    let system = System::start().await;
    assert_eq!(system.send(&Ask::rebuild("ws-available0001")).await.status, 202);
    let workspace = system.store.workspace(&id("ws-available0001")).await.expect("an answer");
    let open = workspace.and_then(Workspace::into_open_rebuild);
    let open = [open.expect("an open rebuild")];
    let now = OffsetDateTime::now_utc().into();
    let with = |state: &str| {
        let workspace = json!({ "WorkspaceId": "ws-available0001", "State": state });
        json!({ "Workspaces": [workspace] }).to_string()
    };
    let rows = [
        (with("STOPPED"), Some(State::Stopped)),
        (with("FROZEN"), Some(State::Unknown)),
        (json!({ "Workspaces": [] }).to_string(), None),
    ];
    for (body, expected) in rows {
        let (url, _) = answering(200, body.clone()).await;
        let seen = amazon(&url).describe(&open, now).await.expect("an answer");
        assert_eq!(seen.get(&open[0].workspace_id).map(|listed| listed.state), expected, "{body}");
    }
    let error = json!({ "__type": "InvalidParameterValuesException", "message": "no" });
    let (url, _) = answering(400, error.to_string()).await;
    assert!(amazon(&url).describe(&open, now).await.is_err());
}

/// The last page of a listing may have an empty token instead of none.
#[tokio::test]
async fn an_empty_token_ends_an_answer_and_a_repeated_one_fails_it() {
    let ids = [id("ws-available0001")];
    for (token, is_whole) in [("", true), ("a", false)] {
        let listed = json!({ "WorkspaceId": "ws-available0001", "State": "STOPPED" });
        let page = json!({ "Workspaces": [listed], "NextToken": token }).to_string();
        let (url, calls) = answering(200, page).await;
        let fleet = amazon(&url);
        let found = tokio::time::timeout(Duration::from_secs(10), fleet.find(&ids)).await;
        let found = found.expect("an end");
        assert_eq!(found.is_ok(), is_whole, "{token}");
        assert_eq!(calls.load(Ordering::Relaxed), if is_whole { 1 } else { 2 });
        let wanted = Wanted::Ids(&ids);
        let (_, next) = fleet.list(wanted, None).await.expect("a page");
        assert_eq!(next.is_none(), is_whole, "{token}");
        assert_eq!(fleet.list(wanted, Some("a".to_owned())).await.is_ok(), is_whole, "{token}");
    }
}

/// Two tags are wanted; the API has a page for each, and a second one for the first WorkSpaces.
#[tokio::test]
async fn the_wanted_tags_of_all_pages_are_read() {
    let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
    let tagged = |id: &str, tags: serde_json::Value| {
        let arn = format!("arn:aws:workspaces:eu-west-1:123456789012:workspace/{id}");
        json!({ "ResourceARN": arn, "Tags": tags })
    };
    let first =
        tagged("ws-000000001", json!([tag("team", "blue"), tag("cost", "7"), tag("x", "y")]));
    let pages = [
        (
            ("team", ""),
            json!({ "ResourceTagMappingList": [first.clone()], "PaginationToken": "2" }),
        ),
        (
            ("team", "2"),
            json!({ "ResourceTagMappingList": [tagged("ws-000000002", json!([tag("team", "")]))],
                "PaginationToken": "" }),
        ),
        (("cost", ""), json!({ "ResourceTagMappingList": [first, tagged("no-id", json!([]))] })),
    ];
    let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["x-amz-target"], "ResourceGroupsTaggingAPI_20170126.GetResources");
        let asked: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(asked["ResourceTypeFilters"], json!(["workspaces:workspace"]));
        assert_eq!(asked["ResourcesPerPage"], 100);
        let filters = asked["TagFilters"].as_array().expect("filters");
        assert_eq!(filters.len(), 1, "with two of them, a WorkSpace needs both tags");
        let key = filters[0]["Key"].as_str().expect("a key");
        let token = asked["PaginationToken"].as_str().unwrap_or_default();
        let page = pages.iter().find(|(wanted, _)| *wanted == (key, token));
        page.expect("a known page").1.to_string()
    });
    let (listener, url) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    let tags = amazon_with_tags(&url, ["team", "cost"]).tags().await.expect("an answer");
    let of = |tags: &[(&str, &str)]| {
        tags.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let expected = HashMap::from([
        (id("ws-000000001"), of(&[("team", "blue"), ("cost", "7")])),
        (id("ws-000000002"), of(&[("team", "")])),
    ]);
    assert_eq!(tags, Some(expected));

    let (url, calls) = answering(400, json!({ "__type": "ThrottledException" }).to_string()).await;
    assert!(amazon_with_tags(&url, ["team"]).tags().await.is_err());
    assert!(calls.load(Ordering::Relaxed) > 0);
    let calls_before = calls.load(Ordering::Relaxed);
    assert_eq!(amazon(&url).tags().await.expect("no call"), None);
    assert_eq!(calls.load(Ordering::Relaxed), calls_before, "no tags are wanted");
}
