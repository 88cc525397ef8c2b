//! From the request to the record, over HTTP, with the simulated fleet.

use std::cell::Cell;
use std::time::Duration;

use rebuild_workspaces::config::Limits;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::system::{Ask, System};

const REBUILD_TIME: Duration = Duration::from_mins(20);

/// Runs passes until the rebuild has ended; returns its statuses and states on the way.
async fn follow(system: &System, location: &str, id: &str) -> Vec<(Value, Value)> {
    let minutes = Cell::new(0);
    let clock = || OffsetDateTime::now_utc() + time::Duration::minutes(minutes.get());
    let fleet = Simulated { rebuild_time: REBUILD_TIME };
    let timing = Timing::of_simulated();
    let reconciler =
        Reconciler { store: system.store.clone(), fleet, clock, timing, limits: Limits::default() };
    let mut stages = vec![];
    for minute in [None, Some(0), Some(1), Some(19), Some(21), Some(22)] {
        if let Some(minute) = minute {
            minutes.set(minute);
            reconciler.follow().await.expect("a pass");
        }
        let rebuild = system.send(&Ask::get(location)).await.json();
        let body = json!({ "WorkspaceIds": [id] }).to_string();
        let described = system.send(&Ask::aws("DescribeWorkspaces", body)).await.json();
        let state = described["Workspaces"][0]["State"].clone();
        stages.push((rebuild["data"]["status"].clone(), state));
    }
    stages.dedup();
    stages
}

async fn post(system: &System, ask: Ask) -> (Value, String) {
    let answer = system.send(&ask).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    (answer.json()["data"].clone(), answer.headers["location"].clone())
}

#[tokio::test]
async fn a_rebuild_succeeds_and_gets_a_record() {
    let system = System::start().await;
    let id = "ws-available0001";
    let (first, location) = post(&system, Ask::rebuild(id).with("idempotency-key", "a")).await;

    let stages = follow(&system, &location, id).await;
    let expected =
        [("REQUESTED", "REBUILDING"), ("STARTED", "REBUILDING"), ("SUCCEEDED", "AVAILABLE")];
    assert_eq!(stages, expected.map(|(status, state)| (status.into(), state.into())));

    let history = format!("/workspaces/{id}/rebuilds");
    let rebuilds = system.send(&Ask::get(&history)).await.json()["data"]["rebuilds"].take();
    let [record] = rebuilds.as_array().expect("a list").as_slice() else { panic!("{rebuilds}") };
    assert_eq!(record["id"], first["id"]);
    assert_eq!(record["status"], "SUCCEEDED");
    assert_eq!(record["previous_state"], "AVAILABLE");
    let times = ["created_at", "started_at", "ended_at"].map(|name| record[name].as_str());
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{record}");

    let (again, _) = post(&system, Ask::rebuild(id).with("idempotency-key", "a")).await;
    assert_eq!(again, first, "the same key gets the first rebuild");
    let (second, _) = post(&system, Ask::rebuild(id)).await;
    assert_ne!(second["id"], first["id"], "a request without a key is a new one");
    let rebuilds = system.send(&Ask::get(&history)).await.json()["data"]["rebuilds"].take();
    assert_eq!([&rebuilds[0]["id"], &rebuilds[1]["id"]], [&second["id"], &first["id"]]);
}

#[tokio::test]
async fn a_failed_rebuild_shows_its_error() {
    let system = System::start().await;
    let id = "ws-stopped0001";
    let (_, location) = post(&system, Ask::rebuild(id)).await;
    let stages = follow(&system, &location, id).await;
    assert_eq!(stages.last(), Some(&("FAILED".into(), "ERROR".into())));
    let rebuild = system.send(&Ask::get(&location)).await.json()["data"].take();
    assert_eq!(rebuild["error"]["code"], "REBUILD_FAILED");
    assert_eq!(rebuild["previous_state"], "STOPPED");
}

/// Time is up as soon as the open rebuilds are listed.
#[tokio::test]
async fn a_pass_out_of_time_reads_nothing_more() {
    let system = System::start().await;
    post(&system, Ask::rebuild("ws-available0001")).await;
    system.wire.seen();
    let timing = Timing::of_simulated();
    let (begin, reads) = (OffsetDateTime::now_utc(), Cell::new(0));
    let clock = || match reads.replace(reads.get() + 1) {
        0 => begin,
        _ => begin + timing.pass,
    };
    let fleet = Simulated { rebuild_time: REBUILD_TIME };
    let reconciler =
        Reconciler { store: system.store.clone(), fleet, clock, timing, limits: Limits::default() };

    let pass = reconciler.follow().await.expect("a pass");

    assert!(!pass.is_complete);
    assert_eq!((pass.open, pass.handed_over), (1, 0));
    assert_eq!(system.wire.operations(), ["Query", "Query", "Query", "Query", "Query", "GetItem"]);
}
