//! What a rebuild would meet now: over the API with the simulated fleet, and with WorkSpaces APIs that answer
//! something of their own.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::FleetConfig;
use rebuild_workspaces::error::PreviewError;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::ids::{Target, WorkspaceId};
use rebuild_workspaces::preview::{EncryptionKey, Preview, Previewer, Refusal};
use rebuild_workspaces::rebuild::FailureCode;
use rebuild_workspaces::state::State;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::transport;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::system::{Ask, System, config, fleet_config, listen};

const ID: &str = "ws-available0001";

fn path(id: &str) -> String {
    format!("/workspaces/{id}/preview")
}

/// State, whether it would be rebuilt, and the code of the refusal, of each sample.
#[tokio::test]
async fn each_sample_has_a_preview_and_nothing_changes() {
    let system = System::start().await;
    let before = system.scan("workspaces").await;
    for (id, expected) in [
        (ID, json!(["AVAILABLE", true, null, null, null])),
        ("ws-stopped0001", json!(["STOPPED", true, null, null, null])),
        ("ws-connected0001", json!(["AVAILABLE", true, null, true, "ENABLED"])),
        (
            "ws-disabledkey0001",
            json!(["AVAILABLE", false, "ENCRYPTION_KEY_UNUSABLE", null, "DISABLED"]),
        ),
        ("ws-nosnapshot0001", json!(["AVAILABLE", false, "NO_SNAPSHOT", null, null])),
        ("ws-protected0001", json!(["AVAILABLE", false, "WORKSPACE_PROTECTED", null, null])),
        ("ws-suspended0001", json!(["SUSPENDED", false, "INVALID_WORKSPACE_STATE", null, null])),
    ] {
        let answer = system.send(&Ask::get(&path(id))).await;
        assert_eq!(answer.status, 200, "{id}");
        let data = &answer.json()["data"];
        let members = ["state", "rebuildable", "user_connected", "encryption_key"];
        let [state, rebuildable, connected, key] = members.map(|name| &data[name]);
        let code = &data["refusal"]["code"];
        assert_eq!(json!([state, rebuildable, code, connected, key]), expected, "{data}");
        assert_eq!(data["workspace_id"], id);
        assert_eq!(data["snapshot_at"].is_null(), id == "ws-nosnapshot0001", "{data}");
        assert!(data["checked_at"].is_string(), "{data}");
    }
    assert_eq!(system.scan("workspaces").await, before);
    assert_eq!(system.scan("control").await, Vec::<Value>::new());
}

/// It says what a request is then answered.
#[tokio::test]
async fn a_refusal_is_that_of_a_request() {
    let system = System::start().await;
    assert_eq!(system.send(&Ask::rebuild(ID)).await.status, 202);
    for id in [ID, "ws-protected0001", "ws-suspended0001"] {
        let preview = system.send(&Ask::get(&path(id))).await.json();
        let refused = system.send(&Ask::rebuild(id)).await.json();
        assert_eq!(preview["data"]["refusal"], refused["error"]);
    }
    let preview = system.send(&Ask::get(&path(ID))).await.json();
    assert_eq!(preview["data"]["state"], "AVAILABLE", "it is not handed over yet: {preview}");
}

#[tokio::test]
async fn its_path_is_one_of_the_envelope() {
    let system = System::start().await;
    let status = async |ask: Ask| {
        let answer = system.send(&ask).await;
        (answer.status, answer.json()["error"]["code"].as_str().unwrap_or("none").to_owned())
    };
    let within = |directory: &str| format!("/directories/{directory}/workspaces/{ID}/preview");
    for (ask, expected) in [
        (Ask::get(&within("d-906700a1b2")), (200, "none")),
        (Ask::get(&within("d-906700c3d4")), (404, "WORKSPACE_NOT_FOUND")),
        (Ask::get(&within("x")), (400, "VALIDATION_ERROR")),
        (Ask::get(&path("ws-000000000")), (404, "WORKSPACE_NOT_FOUND")),
        (Ask::get(&path("x")), (400, "VALIDATION_ERROR")),
        (Ask::get(&format!("{}?force=true", path(ID))), (400, "VALIDATION_ERROR")),
        (Ask::get(&format!("{}/", path(ID))), (404, "NOT_FOUND")),
        (Ask::get(&format!("/{}", path(ID))), (404, "NOT_FOUND")),
        (Ask::new("POST", &path(ID)), (405, "METHOD_NOT_ALLOWED")),
    ] {
        let path = ask.path().to_owned();
        let (status, code) = status(ask).await;
        assert_eq!((status, &*code), expected, "{path}");
    }
    assert_eq!(system.item(ID).await["State"], "AVAILABLE");
}

/// A WorkSpaces API and KMS with these answers, by operation.
struct Api {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Api {
    async fn start(answer: impl Fn(&str) -> (u16, Value) + Clone + Send + Sync + 'static) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let app = Router::new().fallback(move |headers: HeaderMap| {
            let target = headers["x-amz-target"].to_str().expect("text");
            let (service, operation) = target.split_once('.').expect("two names");
            counter.fetch_add(usize::from(service == "WorkspacesService"), Ordering::Relaxed);
            let (status, body) = answer(operation);
            async move { (StatusCode::from_u16(status).expect("a status"), body.to_string()) }
        });
        let (listener, url) = listen().await;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// A function environment in front of it, in an account with the default quota.
    fn environment<'a>(
        &self,
        store: &Store,
        clock: &'a Clock,
    ) -> Previewer<Amazon, impl Fn() -> OffsetDateTime + use<'a>> {
        let two = NonZeroU16::new(2).expect("not zero");
        let fleet = FleetConfig { calls_per_second: two, ..fleet_config(&self.url) };
        let config = config("http://localhost:1");
        let http = transport::http_client(&config.aws);
        // The limit within a process knows only the real clock.
        let amazon = Amazon::connect(&config, &fleet, Rate::previews(NonZeroU16::MAX), http);
        Previewer::with_clock(store.clone(), amazon, &fleet, || clock.now())
    }
}

struct Clock(AtomicI64);

impl Clock {
    fn new() -> Self {
        Self(AtomicI64::new(OffsetDateTime::now_utc().unix_timestamp()))
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.0.load(Ordering::Relaxed))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn target(id: &str) -> Target {
    WorkspaceId::try_from(id.to_owned()).expect("an id").into()
}

fn healthy(operation: &str) -> (u16, Value) {
    let snapshots = json!([{ "SnapshotTime": OffsetDateTime::now_utc().unix_timestamp() }]);
    let answer = match operation {
        "DescribeWorkspaces" => json!({ "Workspaces": [
            { "WorkspaceId": ID, "State": "AVAILABLE", "VolumeEncryptionKey": "key",
              "RootVolumeEncryptionEnabled": true },
            { "WorkspaceId": "ws-error0001", "State": "ERROR" }] }),
        "DescribeWorkspacesConnectionStatus" => json!({ "WorkspacesConnectionStatus": [
            { "WorkspaceId": ID, "ConnectionState": "CONNECTED" },
            { "WorkspaceId": "ws-error0001", "ConnectionState": "UNKNOWN" }] }),
        "DescribeWorkspaceSnapshots" => json!({ "RebuildSnapshots": snapshots }),
        "DescribeKey" => json!({ "KeyMetadata": { "KeyId": "key", "KeyState": "Enabled" } }),
        other => panic!("{other} is no question of a preview"),
    };
    (200, answer)
}

fn refused(status: u16, name: &str) -> (u16, Value) {
    (status, json!({ "__type": name, "message": "no" }))
}

#[tokio::test]
async fn previews_take_no_more_calls_than_their_share_whoever_asks_how_often() {
    let system = System::start().await;
    let api = Api::start(healthy).await;
    let clock = Clock::new();
    let environments = [(); 3].map(|()| api.environment(&system.store, &clock));
    // An hour, in which everybody asks for another WorkSpace all the time.
    let mut answered = 0;
    for second in 0..3600 {
        let id = if second % 2 == 0 { ID } else { "ws-error0001" };
        let before = api.calls();
        match environments[second % 3].preview(&target(id)).await {
            Ok(_) => answered += api.calls() - before,
            Err(PreviewError::TooMany { retry_after }) => {
                assert_eq!(api.calls(), before);
                assert!(retry_after.as_secs() < 18, "{retry_after:?}");
            }
            Err(error) => panic!("{error}"),
        }
        clock.pass(1);
    }
    // A twelfth of 2 a second, and the burst at its beginning.
    assert!((540..=603).contains(&api.calls()), "{}", api.calls());
    assert_eq!(api.calls(), answered);
}

#[tokio::test]
async fn an_answer_of_the_fleet_is_kept_for_half_a_minute_and_the_table_is_not() {
    let system = System::start().await;
    let api = Api::start(healthy).await;
    let clock = Clock::new();
    let environment = api.environment(&system.store, &clock);
    let preview = async || environment.preview(&target(ID)).await.expect("a preview");
    let first = preview().await;
    assert!(first.refusal.is_none());
    clock.pass(29);
    assert_eq!(
        system.send(&Ask::new("PUT", "/workspaces/ws-available0001/protection")).await.status,
        200
    );
    let second = preview().await;
    assert_eq!(second.found.checked_at, first.found.checked_at);
    assert!(matches!(second.refusal, Some(Refusal::NotAccepted(_))), "{second:?}");
    assert_eq!(api.calls(), 3);
    clock.pass(1);
    assert!(preview().await.found.checked_at > first.found.checked_at);
    assert_eq!(api.calls(), 6);
}

/// What a preview makes of an API that is healthy but for one operation.
async fn preview_with(
    operation: &'static str,
    (status, body): (u16, Value),
) -> Result<Preview, PreviewError> {
    let system = System::start().await;
    let clock = Clock::new();
    let answer = move |asked: &str| match asked {
        _ if asked == operation => (status, body.clone()),
        // As AWS does.
        "DescribeWorkspaceSnapshots" if body["Workspaces"] == json!([]) => {
            refused(400, "ResourceNotFoundException")
        }
        other => healthy(other),
    };
    let environment = Api::start(answer).await.environment(&system.store, &clock);
    environment.preview(&target(ID)).await
}

#[tokio::test]
async fn a_preview_shows_the_fleet_and_not_the_table() {
    let shown = |workspaces: Value| (200, json!({ "Workspaces": workspaces }));
    let gone = preview_with("DescribeWorkspaces", shown(json!([]))).await.expect("a preview");
    assert_eq!(gone.found.state, State::Terminated);
    assert!(matches!(gone.refusal, Some(Refusal::Fails(FailureCode::WorkspaceGone))), "{gone:?}");
    for state in ["SUSPENDED", "FROZEN"] {
        let answer = shown(json!([{ "WorkspaceId": ID, "State": state }]));
        let preview = preview_with("DescribeWorkspaces", answer).await.expect("a preview");
        assert!(matches!(preview.refusal, Some(Refusal::NotAccepted(_))), "{preview:?}");
    }
    let old = json!({ "RebuildSnapshots": [{ "SnapshotTime": 0 }] });
    let preview = preview_with("DescribeWorkspaceSnapshots", (200, old)).await;
    let preview = preview.expect("a preview");
    assert!(preview.found.snapshot_at.is_some());
    assert!(preview.refusal.is_none(), "without a limit, any snapshot will do: {preview:?}");
}

#[tokio::test]
async fn a_key_is_unknown_unless_kms_says_something() {
    let key = |state: &str| (200, json!({ "KeyMetadata": { "KeyId": "key", "KeyState": state } }));
    for (answer, expected) in [
        (key("Enabled"), EncryptionKey::Enabled),
        (key("Disabled"), EncryptionKey::Disabled),
        (key("PendingDeletion"), EncryptionKey::Disabled),
        (refused(400, "AccessDeniedException"), EncryptionKey::Unknown),
        (refused(400, "InvalidArnException"), EncryptionKey::Unknown),
    ] {
        let preview = preview_with("DescribeKey", answer.clone()).await.expect("a preview");
        assert_eq!(preview.found.encryption_key, Some(expected), "{answer:?}");
        assert_eq!(preview.refusal.is_some(), expected == EncryptionKey::Disabled, "{answer:?}");
    }
}

#[tokio::test]
async fn a_fleet_that_does_not_answer_has_no_preview() {
    for operation in
        ["DescribeWorkspaces", "DescribeWorkspacesConnectionStatus", "DescribeWorkspaceSnapshots"]
    {
        let preview = preview_with(operation, refused(403, "AccessDeniedException")).await;
        assert!(matches!(preview, Err(PreviewError::FleetSilent(_))), "{operation}: {preview:?}");
    }
}
