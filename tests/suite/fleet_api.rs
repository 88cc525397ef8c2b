//! The running program with another WorkSpaces API as its fleet: one that lags, loses answers, and
//! counts what it wipes; and a second local run. The program is killed in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response};
use futures_util::stream;
use rebuild_workspaces::fleet::HandOverError;
use rebuild_workspaces::rebuild::RebuildId;
use rebuild_workspaces::state::State;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::local_run::Local;
use crate::reconcile::chance::Chance;
use crate::reconcile::machine::{Answer, Machine};
use crate::system::{Ask, System, listen, send};

const WORKSPACES: usize = 16;

/// The directory of all of them.
const DIRECTORY: &str = "d-906700a1b2";

/// A WorkSpaces API. Its times are those of AWS, with a second for a minute.
struct Api {
    machines: Mutex<HashMap<String, Machine>>,
    chance: Mutex<Chance>,
    called: Notify,
    /// Calls of operations that it does not know.
    unknown: Mutex<Vec<String>>,
    url: String,
}

impl Api {
    async fn start(chance: Chance) -> Arc<Self> {
        let (listener, url) = listen().await;
        let api = Self {
            machines: Mutex::default(),
            chance: Mutex::new(chance),
            called: Notify::new(),
            unknown: Mutex::default(),
            url,
        };
        let api = Arc::new(api);
        let state = Arc::clone(&api);
        let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let answer = state.answer(&headers, &serde_json::from_slice(&body).expect("JSON"));
            state.called.notify_one();
            async move { answer }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        api
    }

    fn chance<T>(&self, act: impl FnOnce(&mut Chance) -> T) -> T {
        act(&mut self.chance.lock().expect("unpoisoned"))
    }

    fn answer(&self, headers: &HeaderMap, input: &Value) -> Response<Body> {
        let target = headers["x-amz-target"].to_str().expect("text");
        match target.rsplit('.').next() {
            Some("DescribeWorkspaceDirectories") => {
                respond(200, json!({ "Directories": [{ "DirectoryId": DIRECTORY }] }))
            }
            Some("DescribeWorkspaces") => self.describe(input),
            Some("DescribeWorkspaceSnapshots") => self.describe_snapshots(input),
            Some("DescribeWorkspacesConnectionStatus") => self.describe_connections(input),
            Some("RebuildWorkspaces") => self.rebuild(input),
            _ => {
                self.unknown.lock().expect("unpoisoned").push(target.to_owned());
                respond(400, json!({ "__type": "UnknownOperationException" }))
            }
        }
    }

    fn describe(&self, input: &Value) -> Response<Body> {
        let now = OffsetDateTime::now_utc();
        let machines = self.machines.lock().expect("unpoisoned");
        let wanted = |id: &String| match input["WorkspaceIds"].as_array() {
            Some(ids) => ids.iter().any(|wanted| wanted == id),
            None => true,
        };
        let shown = machines.iter().filter(|(id, _)| wanted(id)).filter_map(|(id, machine)| {
            let (is_left_out, is_old, age) =
                self.chance(|chance| (chance.one_in(100), chance.one_in(2), chance.below(2000)));
            let age = if is_old { Duration::milliseconds(age.into()) } else { Duration::ZERO };
            let state = machine.shows(now - age).filter(|_| !is_left_out)?;
            Some(json!({ "WorkspaceId": id, "DirectoryId": DIRECTORY, "State": state }))
        });
        respond(200, json!({ "Workspaces": shown.collect::<Vec<_>>() }))
    }

    fn describe_snapshots(&self, input: &Value) -> Response<Body> {
        if self.chance(|chance| chance.one_in(8)) {
            return respond(400, json!({ "__type": "ThrottlingException", "message": "no" }));
        }
        let machines = self.machines.lock().expect("unpoisoned");
        let machine = &machines[input["WorkspaceId"].as_str().expect("an id")];
        let newest = machine.snapshot_at.map(|snapshot_at| {
            [-86_400, 0].map(|age| json!({ "SnapshotTime": snapshot_at.epoch_seconds() + age }))
        });
        let snapshots: Vec<_> = newest.into_iter().flatten().collect();
        respond(200, json!({ "RebuildSnapshots": snapshots, "RestoreSnapshots": [] }))
    }

    /// It does not know of every user, and does not always say what it knows.
    fn describe_connections(&self, input: &Value) -> Response<Body> {
        if self.chance(|chance| chance.one_in(8)) {
            return respond(400, json!({ "__type": "AccessDeniedException", "message": "no" }));
        }
        let ids = input["WorkspaceIds"].as_array().into_iter().flatten();
        let shown = ids.filter_map(|id| {
            let states = ["CONNECTED", "DISCONNECTED", "UNKNOWN"];
            let (is_left_out, state) =
                self.chance(|chance| (chance.one_in(4), *chance.pick(&states)));
            let shown = json!({ "WorkspaceId": id, "ConnectionState": state });
            (!is_left_out).then_some(shown)
        });
        respond(200, json!({ "WorkspacesConnectionStatus": shown.collect::<Vec<_>>() }))
    }

    fn rebuild(&self, input: &Value) -> Response<Body> {
        let id = input["RebuildWorkspaceRequests"][0]["WorkspaceId"].as_str().expect("an id");
        let failed = |code: &str| {
            let failed = json!([{ "WorkspaceId": id, "ErrorCode": code, "ErrorMessage": "no" }]);
            respond(200, json!({ "FailedRequests": failed }))
        };
        let error =
            |status, name: &str| respond(status, json!({ "__type": name, "message": "no" }));
        let kind = self.chance(|chance| chance.below(12));
        match kind {
            0 => return error(400, "ThrottlingException"),
            1 => return failed("RequestThrottled.Workspace"),
            2 => return error(500, "InternalFailure"),
            _ => {}
        }
        let now = OffsetDateTime::now_utc();
        let mut machines = self.machines.lock().expect("unpoisoned");
        let machine = machines.get_mut(id).expect("a WorkSpace");
        if kind == 3 {
            machine.answers = [Answer::FailsAtOnce].into();
        }
        let result = machine.rebuild(RebuildId::new(now), now);
        match (kind, result) {
            // It has its effect, if it can, and the answer does not say so.
            (4, _) => lost(),
            (5, _) => error(503, "ServiceUnavailableException"),
            (6, _) => failed("InternalServerError.Workspace"),
            (_, Ok(())) => respond(200, json!({ "FailedRequests": [] })),
            (_, Err(HandOverError::Refused { code })) => failed(&code),
            (_, Err(error)) => panic!("{error}"),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values")]
fn respond(status: u16, body: Value) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/x-amz-json-1.1");
    response.body(body.to_string().into()).expect("a response")
}

/// The connection breaks off in the body.
fn lost() -> Response<Body> {
    let broken = stream::once(async { Err::<Bytes, _>(io::Error::other("broken off")) });
    Response::new(Body::from_stream(broken))
}

/// WorkSpaces with rebuilds that take some seconds, in the fleet and in the table.
async fn fill(system: &System, api: &Api) -> Vec<String> {
    let mut ids = vec![];
    for number in 0..WORKSPACES {
        let id = format!("ws-fleet{number:06}");
        system.put("workspaces", json!({ "WorkspaceId": id, "State": "AVAILABLE" })).await;
        let lag = api.chance(|chance| Duration::seconds(chance.below(5).into()));
        let outcomes = [State::Available, State::Available, State::Stopped, State::Error];
        let machine = Machine {
            lag,
            duration: lag + Duration::seconds(9),
            outcome: api.chance(|chance| *chance.pick(&outcomes)),
            snapshot_at: Machine::new().snapshot_at.filter(|_| number > 0),
            ..Machine::new()
        };
        api.machines.lock().expect("unpoisoned").insert(id.clone(), machine);
        ids.push(id);
    }
    ids
}

/// The WorkSpaces with an open rebuild.
async fn open(system: &System) -> HashSet<String> {
    let items = system.scan("workspaces").await;
    let open = items.iter().filter(|item| item.get("OpenRebuild").is_some());
    open.map(|item| item["WorkspaceId"].as_str().expect("an id").to_owned()).collect()
}

fn time(record: &Value, name: &str) -> Option<OffsetDateTime> {
    let text = record[name].as_str()?;
    let format = &time::format_description::well_known::Rfc3339;
    Some(OffsetDateTime::parse(text, format).expect("a time"))
}

/// Compares a record with what the fleet did in its time; returns its code.
fn check(record: &Value, machine: &Machine) -> String {
    let context = format!("{record}, {:?}", machine.wipes);
    let ended = time(record, "EndedAt").expect("it has ended");
    // Without a claim, nobody called. Times are cut to whole seconds.
    let claimed = time(record, "ClaimedAt").unwrap_or(ended + Duration::SECOND);
    let own = machine.wipes.iter().filter(|wipe| (claimed..=ended).contains(&wipe.began));
    let own: Vec<_> = own.collect();
    assert!(own.len() <= 1, "wiped twice: {context}");
    let is_over = own.iter().all(|wipe| wipe.ended <= ended + Duration::SECOND);
    assert!(is_over, "released while it was being wiped: {context}");
    let code = record["ErrorCode"].as_str().unwrap_or("SUCCEEDED").to_owned();
    let is_true = match code.as_str() {
        "SUCCEEDED" | "REBUILD_FAILED" | "NOT_OBSERVED" => own.len() == 1,
        "HANDOVER_UNKNOWN" => true,
        "WORKSPACE_GONE" => false,
        "NO_SNAPSHOT" => own.is_empty() && machine.snapshot_at.is_none(),
        _ => own.is_empty(),
    };
    assert!(is_true, "the record contradicts the fleet: {context}");
    let snapshot_at = machine.snapshot_at.map(|snapshot_at| snapshot_at.to_string());
    let noted = record["SnapshotAt"].as_str().map(str::to_owned);
    assert!(own.is_empty() || noted == snapshot_at, "another snapshot: {context}");
    code
}

/// The program is killed after every few calls, in the middle of whatever it does.
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_the_fleet_makes_a_record_false() {
    let mut chance = Chance::unseen();
    let api = Api::start(chance.fork()).await;
    let system = System::start().await;
    let ids = fill(&system, &api).await;
    let options = ["--dynamodb-endpoint", &system.dynamodb, "--fleet-endpoint", &api.url];

    let mut local = Local::start_with(&options).await;
    let (mut accepted, mut kills, mut resumptions) = (0, 0, 0);
    let mut requests = [ids.clone(), ids].concat();
    loop {
        let mut open = open(&system).await;
        if open.is_empty() && requests.is_empty() {
            break;
        }
        // Each one's second request follows the end of its first.
        for id in requests.extract_if(.., |id| open.insert(id.clone())) {
            accepted += usize::from(send(&local.api, &Ask::rebuild(&id)).await.status == 202);
        }
        api.called.notified().await;
        assert_eq!(*api.unknown.lock().expect("unpoisoned"), [""; 0]);
        // The operator knows that the fleet answers some calls.
        if !system.scan("control").await.iter().all(|it| it["FleetPause"].is_null()) {
            let resumed = send(&local.api, &Ask::new("DELETE", "/pause")).await;
            assert_eq!(resumed.status, 200);
            resumptions += 1;
        }
        if chance.one_in(8) {
            local.kill().await;
            local = Local::start_with(&options).await;
            kills += 1;
        }
    }
    local.kill().await;

    let records = system.scan("rebuilds").await;
    assert_eq!(records.len(), accepted);
    let machines = api.machines.lock().expect("unpoisoned");
    let mut ends = BTreeMap::new();
    for record in &records {
        let id = record["WorkspaceId"].as_str().expect("an id");
        *ends.entry(check(record, &machines[id])).or_insert(0) += 1;
    }
    println!(
        "fleet over HTTP: {accepted} rebuilds, {kills} kills, {resumptions} resumptions, ends: {ends:?}"
    );
}

/// As the README suggests; its rebuilds take 10 seconds. The first one is killed after every few
/// requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_local_run_can_be_the_fleet() {
    let mut chance = Chance::new([7; 32]);
    let (front, back) = (System::start().await, System::start().await);
    let fleet = Local::start_with(&["--dynamodb-endpoint", &back.dynamodb]).await;
    let options = ["--dynamodb-endpoint", &front.wire.url, "--fleet-endpoint", &fleet.api];
    let mut local = Local::start_with(&options).await;
    let ids = ["ws-available0001", "ws-stopped0001", "ws-unhealthy0001", "ws-error0001"];
    for id in ids {
        assert_eq!(send(&local.api, &Ask::rebuild(id)).await.status, 202, "{id}");
    }
    while !open(&front).await.is_empty() {
        front.wire.next_request().await;
        if chance.one_in(60) {
            local.kill().await;
            local = Local::start_with(&options).await;
        }
    }
    local.kill().await;
    while !open(&back).await.is_empty() {
        send(&fleet.api, &Ask::aws("DescribeWorkspaces", "{}")).await;
    }
    fleet.kill().await;

    let done = back.scan("rebuilds").await;
    for record in front.scan("rebuilds").await {
        let done: Vec<_> =
            done.iter().filter(|done| done["WorkspaceId"] == record["WorkspaceId"]).collect();
        assert!(done.len() <= 1, "wiped twice: {record}, {done:?}");
        let status = record["Status"].as_str().expect("a status");
        println!("{}: {status} {}", record["WorkspaceId"], record["ErrorCode"]);
        match status {
            // It was killed at the call, or did not look within its ten seconds.
            "UNKNOWN" => {
                let code = record["ErrorCode"].as_str().expect("a code");
                assert!(["HANDOVER_UNKNOWN", "NOT_OBSERVED"].contains(&code), "{record}");
            }
            _ => assert_eq!(status, done[0]["Status"], "{record}"),
        }
    }
}
