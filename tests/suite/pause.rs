//! The pause of all hand-overs, over HTTP, with the simulated fleet.

use rebuild_workspaces::control::{Pause, Resumption};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::system::{Answer, Ask, System};

const ID: &str = "ws-available0001";
const CALLER: &str = "arn:aws:iam::000000000000:user/local";

fn pause(reason: &str) -> Ask {
    Ask::json("PUT", "/pause", &json!({ "Reason": reason }))
}

async fn ask(system: &System, method: &'static str) -> Value {
    let answer = system.send(&Ask::new(method, "/pause")).await;
    assert_eq!(answer.status, 200, "{method}");
    answer.data()
}

/// The time of a member, checked to be one.
fn take_time(value: &mut Value, name: &str) -> OffsetDateTime {
    let time = value.as_object_mut().expect("an object").remove(name).expect("a time");
    let format = &time::format_description::well_known::Rfc3339;
    OffsetDateTime::parse(time.as_str().expect("a text"), format).expect("a time")
}

#[tokio::test]
async fn a_pause_stops_hand_overs_until_it_is_ended() {
    let system = System::start().await;
    let none = json!({ "paused": false, "budget": { "limit": 500, "used": 0 } });
    assert_eq!(ask(&system, "GET").await, none);

    let paused = system.send(&pause("image 2026-11 is broken")).await.data();
    let mut shown = paused.clone();
    take_time(&mut shown, "paused_at");
    take_time(&mut shown["pauses"][0], "paused_at");
    let pause_of_caller = json!({ "paused_by": CALLER, "reason": "image 2026-11 is broken" });
    let expected = json!({
        "paused": true, "paused_by": CALLER, "reason": "image 2026-11 is broken",
        "pauses": [pause_of_caller], "budget": { "limit": 500, "used": 0 },
    });
    assert_eq!(shown, expected);
    // A repeat keeps the first pause.
    assert_eq!(system.send(&pause("another reason")).await.data(), paused);
    assert_eq!(ask(&system, "PUT").await, paused);
    assert_eq!(ask(&system, "GET").await, paused);

    // Rebuilds are accepted, and wait.
    let location = system.send(&Ask::rebuild(ID)).await;
    let location = location.header("location").expect("a location").to_owned();
    system.end_rebuild().await;
    assert_eq!(system.send(&Ask::get(&location)).await.data()["status"], "REQUESTED");

    let mut resumed = ask(&system, "DELETE").await;
    take_time(&mut resumed, "resumed_at");
    let ended = json!({ "paused": false, "ended": paused["pauses"], "resumed_by": CALLER,
        "budget": { "limit": 500, "used": 0 } });
    assert_eq!(resumed, ended);
    system.end_rebuild().await;
    assert_eq!(system.send(&Ask::get(&location)).await.data()["status"], "SUCCEEDED");

    let mut again = ask(&system, "DELETE").await;
    take_time(&mut again, "resumed_at");
    let expected = json!({ "paused": false, "resumed_by": CALLER,
        "budget": { "limit": 500, "used": 1 } });
    assert_eq!(again, expected);
}

#[tokio::test]
async fn requests_about_the_pause_are_checked() {
    let system = System::start().await;
    for (body, message) in [
        (json!({ "Reason": "" }), "Reason must be 1 to 256 characters"),
        (json!({ "reason": "x" }), "the body has an unknown field; known is Reason"),
    ] {
        let message = format!("Invalid request parameters: {message}");
        let refused = Answer::failure(400, "VALIDATION_ERROR", &message);
        assert_eq!(system.send(&Ask::json("PUT", "/pause", &body)).await, refused, "{body}");
    }
    let unknown = system.send(&Ask::new("PUT", "/pause?Reason=x")).await;
    assert_eq!(unknown.status, 400);
    let message = "only GET, PUT and DELETE are allowed here";
    let refused = Answer::failure(405, "METHOD_NOT_ALLOWED", message);
    let refused = refused.with("allow", "GET, PUT, DELETE");
    assert_eq!(system.send(&Ask::new("POST", "/pause")).await, refused);
    let below_a_directory = system.send(&Ask::get("/directories/d-906700a1b2/pause")).await;
    assert_eq!(below_a_directory.status, 404);
    assert_eq!(ask(&system, "GET").await["paused"], false);
}

/// A copy of an old request that arrives late, by way of another environment.
#[tokio::test]
async fn a_late_request_does_not_undo_a_newer_one() {
    let system = System::start().await;
    let late = OffsetDateTime::now_utc() - Duration::SECOND;
    let pause = Pause { paused_by: None, paused_at: late.into(), reason: None };
    let resumption = Resumption { resumed_by: None, resumed_at: late.into() };
    for method in ["PUT", "DELETE", "PUT"] {
        ask(&system, method).await;
        let before = system.scan("control").await;
        assert!(system.store.pause(&pause, late).await.is_err(), "{method}");
        assert!(system.store.resume(&resumption, late).await.is_err(), "{method}");
        assert_eq!(system.scan("control").await, before, "{method}");
    }
}

/// The budget is used up after the request was made, so its operator has not seen that.
#[tokio::test]
async fn a_late_end_of_a_pause_does_not_begin_a_new_budget() {
    let system = System::start().await;
    let now = OffsetDateTime::now_utc();
    let later = Pause { paused_by: None, paused_at: (now + Duration::SECOND).into(), reason: None };
    let read = system.store.control().await.expect("read");
    let paused = rebuild_workspaces::control::Control { budget_pause: Some(later), ..read.clone() };
    system.store.change_control(&read, paused).await.expect("written").expect("unchanged");
    let resumption = Resumption { resumed_by: None, resumed_at: now.into() };
    assert!(system.store.resume(&resumption, now).await.is_err());
    assert!(system.store.control().await.expect("read").budget_pause.is_some());
}

/// Each kind is a member of its own: a caller's pause does not hide that of the budget, and the end of
/// both begins a new budget.
#[tokio::test]
async fn each_kind_of_pause_is_listed() {
    let system = System::start().await;
    let early = OffsetDateTime::now_utc() - Duration::HOUR;
    let by = |name: &str, minutes: i64| Pause {
        paused_by: Some(name.to_owned()),
        paused_at: (early + Duration::minutes(minutes)).into(),
        reason: None,
    };
    let read = system.store.control().await.expect("read");
    let counted = read.count(early.into(), None).expect("counted");
    let paused = rebuild_workspaces::control::Control {
        budget_pause: Some(by("budget", 1)),
        fleet_pause: Some(by("fleet", 2)),
        ..counted
    };
    system.store.change_control(&read, paused).await.expect("written").expect("unchanged");
    ask(&system, "PUT").await;
    let shown = ask(&system, "GET").await;
    assert_eq!((&shown["paused_by"], &shown["budget"]["used"]), (&json!("budget"), &json!(1)));
    let names = |list: &Value| -> Vec<Value> {
        let list = list.as_array().expect("a list");
        list.iter().map(|pause| pause["paused_by"].clone()).collect()
    };
    assert_eq!(names(&shown["pauses"]), ["budget", "fleet", CALLER]);
    let ended = ask(&system, "DELETE").await;
    assert_eq!(names(&ended["ended"]), ["budget", "fleet", CALLER]);
    assert_eq!((&ended["paused"], &ended["budget"]["used"]), (&json!(false), &json!(0)));
}
