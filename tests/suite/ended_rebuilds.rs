//! The rebuilds of all WorkSpaces that ended on a day.

use rebuild_workspaces::token::Listing;
use serde_json::{Value, json};

use crate::system::{Answer, Ask, System};

const DAY: &str = "2026-11-30";

/// The record of a rebuild, as the reconciler writes it.
fn record(number: usize, ended_at: &str) -> Value {
    json!({
        "WorkspaceId": format!("ws-ended{:04}", number % 50),
        "RebuildId": format!("01941f29-7c00-7000-8000-{number:012x}"),
        "CreatedAt": "2026-11-29T12:00:00Z",
        "EndedAt": ended_at,
        "EndedOn": &ended_at[..10],
        "Status": "FAILED",
        "ErrorCode": "EXPIRED",
        "ErrorMessage": "why",
        "IdempotencyKey": "k",
        "FleetMode": "Simulated",
        "Attempt": 0,
    })
}

fn refused(message: &str) -> Answer {
    Answer::failure(400, "VALIDATION_ERROR", &format!("Invalid request parameters: {message}"))
}

/// The rebuilds on all pages, and their tokens.
async fn walk(system: &System, day: &str, limit: usize) -> (Vec<Value>, Vec<String>) {
    let (mut all, mut tokens, mut next) = (vec![], vec![], String::new());
    loop {
        let path = format!("/rebuilds?ended_on={day}&limit={limit}{next}");
        let page = system.send(&Ask::get(&path)).await.data();
        let rebuilds = page["rebuilds"].as_array().expect("an array");
        assert!(rebuilds.len() <= limit);
        all.extend(rebuilds.iter().cloned());
        let Some(token) = page["next_token"].as_str() else { return (all, tokens) };
        assert_eq!(rebuilds.len(), limit, "only the last page is short");
        next = format!("&next_token={token}");
        tokens.push(token.to_owned());
    }
}

#[tokio::test]
async fn an_ended_rebuild_is_listed_on_its_day() {
    let system = System::start().await;
    let ids = ["ws-available0001", "ws-nosnapshot0001"];
    let mut expected = vec![];
    for id in ids {
        system.send(&Ask::rebuild(id)).await.id();
        system.end_rebuild().await;
        let item = system.item(id).await;
        let ended_at = item["Rebuild"]["EndedAt"].as_str().expect("a time").to_owned();
        let records = system.scan("rebuilds").await;
        let record = records.into_iter().find(|record| record["WorkspaceId"] == id);
        assert_eq!(record.expect("a record")["EndedOn"], ended_at[..10], "{id}");
        let history = system.send(&Ask::get(&format!("/workspaces/{id}/rebuilds"))).await.data();
        expected.push((ended_at[..10].to_owned(), history["rebuilds"][0].clone()));
    }
    // One that is open.
    system.send(&Ask::rebuild("ws-error0001")).await.id();
    for (day, rebuild) in &expected {
        let listed = walk(&system, day, 100).await.0;
        assert!(listed.contains(rebuild), "{listed:?}");
        assert!(listed.iter().all(|listed| expected.iter().any(|(_, it)| it == listed)));
    }
    assert_eq!(walk(&system, "2025-01-01", 100).await.0, [] as [Value; 0]);
}

/// Many ended in the same second, so a page may end between any two.
#[tokio::test]
async fn the_rebuilds_of_a_day_are_paged_newest_first() {
    let system = System::start().await;
    let time_of = |number: usize| match number {
        0 => format!("{DAY}T00:00:00Z"),
        109 => format!("{DAY}T23:59:59Z"),
        10..=69 => format!("{DAY}T01:00:00Z"),
        _ => format!("{DAY}T01:{:02}:{:02}Z", number / 60, number % 60),
    };
    for number in 0..110 {
        system.put("rebuilds", record(number, &time_of(number))).await;
    }
    for (number, time) in [(200, "2026-11-29T23:59:59Z"), (201, "2026-12-01T00:00:00Z")] {
        system.put("rebuilds", record(number, time)).await;
    }
    for limit in [1, 2, 7, 11, 25, 100] {
        let (listed, _) = walk(&system, DAY, limit).await;
        let times: Vec<_> =
            listed.iter().map(|it| it["ended_at"].as_str().expect("a time")).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        let mut ids: Vec<_> = listed.iter().map(|it| it["id"].as_str().expect("an id")).collect();
        ids.sort_unstable();
        let all = (0..110).map(|number| format!("01941f29-7c00-7000-8000-{number:012x}"));
        assert_eq!(ids, all.collect::<Vec<_>>(), "{limit}");
    }
    system.wire.operations();
    let page = system.send(&Ask::get(&format!("/rebuilds?ended_on={DAY}"))).await.data();
    assert_eq!(page["rebuilds"].as_array().expect("an array").len(), 25);
    assert_eq!(system.wire.operations(), ["Query"]);
    assert_eq!(
        page["rebuilds"][0],
        json!({
            "id": "01941f29-7c00-7000-8000-00000000006d",
            "workspace_id": "ws-ended0009",
            "status": "FAILED",
            "created_at": "2026-11-29T12:00:00Z",
            "ended_at": "2026-11-30T23:59:59Z",
            "simulated": true,
            "error": { "code": "EXPIRED", "message": "why" },
        })
    );
}

#[tokio::test]
async fn an_invalid_day_is_refused() {
    let system = System::start().await;
    let form = "ended_on must be a day as YYYY-MM-DD, in UTC, such as 2026-11-30";
    for day in ["", "2026-02-30", "2026-11-30T00:00:00Z", "2026-1-1", "today", "2026-11-30%20"] {
        let answer = system.send(&Ask::get(&format!("/rebuilds?ended_on={day}"))).await;
        assert_eq!(answer, refused(form), "{day}");
    }
    let both = "give status to list open rebuilds, or ended_on to list ended ones, not both";
    for query in ["status=STARTED&ended_on=2026-11-30", "ended_on=x&status=x", "status=&ended_on="]
    {
        let answer = system.send(&Ask::get(&format!("/rebuilds?{query}"))).await;
        assert_eq!(answer, refused(both), "{query}");
    }
    let limit = system.send(&Ask::get(&format!("/rebuilds?ended_on={DAY}&limit=0"))).await;
    assert_eq!(limit, refused("limit must be a number from 1 to 100"));
    assert!(system.wire.seen().is_empty());
}

#[tokio::test]
async fn an_unreadable_record_is_left_out_of_its_day() {
    let system = System::start().await;
    for number in 0..9 {
        let mut record = record(number, &format!("{DAY}T01:00:0{number}Z"));
        match number {
            0 => record["CreatedAt"] = json!(7),
            3 => record["WorkspaceId"] = json!("x"),
            5 => record["RebuildId"] = json!("x"),
            8 => record["Status"] = json!("SUCCEEDING"),
            _ => {}
        }
        if [4, 6].contains(&number) {
            record.as_object_mut().expect("an object").remove("ErrorCode");
        }
        system.put("rebuilds", record).await;
    }
    for limit in [1, 2, 3, 100] {
        let mut path = format!("/rebuilds?ended_on={DAY}&limit={limit}");
        let mut seconds = vec![];
        loop {
            let page = system.send(&Ask::get(&path)).await.data();
            let rebuilds = page["rebuilds"].as_array().expect("an array");
            assert!(rebuilds.len() <= limit, "{limit}");
            for rebuild in rebuilds {
                let id = rebuild["id"].as_str().expect("an id");
                seconds.push(id[id.len() - 1..].to_owned());
            }
            let Some(token) = page["next_token"].as_str() else { break };
            path = format!("/rebuilds?ended_on={DAY}&limit={limit}&next_token={token}");
        }
        // A status that a newer version wrote is shown as it is stored.
        assert_eq!(seconds, ["8", "7", "2", "1"], "{limit}");
    }
}

#[tokio::test]
async fn a_token_belongs_to_its_day() {
    let system = System::start().await;
    for number in 0..3 {
        system.put("rebuilds", record(number, &format!("{DAY}T01:00:00Z"))).await;
        system.put("rebuilds", record(10 + number, "2026-11-29T01:00:00Z")).await;
    }
    let (_, tokens) = walk(&system, DAY, 1).await;
    assert!(tokens.iter().all(|token| !token.contains("ws-")));
    let no_token = refused("next_token is not one of this listing's");
    let ask = |query: &str, token: &str| Ask::get(&format!("/rebuilds?{query}next_token={token}"));
    for query in ["ended_on=2026-11-29&", "", "status=STARTED&"] {
        assert_eq!(system.send(&ask(query, &tokens[0])).await, no_token, "{query}");
    }
    let day = format!("ended_on={DAY}&");
    // Whoever forges a place, too.
    let listing = Listing::new("ended rebuilds", &[DAY]);
    let id = "01941f29-7c00-7000-8000-000000000001";
    let long = format!("ws-ended0001/{id}/{}", "x".repeat(1025));
    for place in [
        "",
        "x",
        "ws-ended0001",
        &format!("ws-ended0001/{id}"),
        &format!("ws-ended0001/{id}/"),
        &format!("x/{id}/{DAY}"),
        "ws-ended0001/x/x",
        &long,
    ] {
        assert_eq!(system.send(&ask(&day, &listing.token(place))).await, no_token, "{place}");
    }
    let anywhere = listing.token(&format!("ws-ended0001/{id}/x/y"));
    assert_eq!(system.send(&ask(&day, &anywhere)).await.status, 200);
}
