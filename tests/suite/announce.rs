//! Ended rebuilds become events: the stream of a real DynamoDB API, the announcer, and a bus on a port.

use std::sync::{Arc, Mutex};

use local::eventbridge;
use local::stream::Stream;
use rebuild_workspaces::announce::{Announcer, Batch, DETAIL_TYPE, SOURCE};
use rebuild_workspaces::config::AnnounceConfig;
use rebuild_workspaces::transport;
use serde_json::{Value, json};

use crate::system::{Ask, System, listen};
use crate::wire::{Attempt, Wire};

/// An event bus that keeps what it takes.
pub struct Bus {
    /// Puts events on the bus, through the wire.
    pub announcer: Announcer,
    wire: Wire,
    offers: Arc<Mutex<Offers>>,
}

#[derive(Default)]
struct Offers {
    count: usize,
    /// The bus refuses each offer whose number is a multiple of this.
    refused: Option<usize>,
    taken: Vec<Value>,
}

impl Bus {
    pub async fn start() -> Self {
        let (listener, url) = listen().await;
        let offers = Arc::<Mutex<Offers>>::default();
        let bus = offers.clone();
        tokio::spawn(eventbridge::serve(listener, move |event| {
            let mut offers = bus.lock().expect("no panic");
            offers.count += 1;
            let is_refused = offers.refused.is_some_and(|each| offers.count.is_multiple_of(each));
            if !is_refused {
                offers.taken.push(event);
            }
            async move { if is_refused { Err("refused".to_owned()) } else { Ok(()) } }
        }));
        let wire = Wire::start(&url).await;
        let lookup = |name: &str| {
            let value = match name {
                "EVENT_BUS_NAME" => "default",
                "AWS_REGION" => "us-east-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
                "AWS_ENDPOINT_URL_EVENTBRIDGE" => &wire.url,
                _ => return None,
            };
            Some(value.to_owned())
        };
        let config = AnnounceConfig::from_lookup(lookup).expect("a complete configuration");
        let announcer = Announcer::connect(&config, transport::http_client(&config.aws));
        Self { announcer, wire, offers }
    }

    /// The events that it has taken since the last call.
    pub fn taken(&self) -> Vec<Value> {
        std::mem::take(&mut self.offers.lock().expect("no panic").taken)
    }

    fn refuse_each(&self, refused: usize) {
        self.offers.lock().expect("no panic").refused = Some(refused);
    }
}

fn stream(system: &System) -> Stream {
    let database = system.database.clone().expect("the embedded one");
    Stream::at_end(database).expect("a database").expect("the table has a stream")
}

/// Reads the stream to its end.
async fn announce(stream: &mut Stream, bus: &Bus) {
    stream.announce(&bus.announcer).await.expect("the stream");
}

async fn end_one_of_each_kind(system: &System) {
    let ask = Ask::rebuild("ws-available0001").with("idempotency-key", "4711");
    let cancelled = system.send(&ask).await.id();
    let path = format!("/workspaces/ws-available0001/rebuilds/{cancelled}");
    assert_eq!(system.send(&Ask::new("DELETE", &path)).await.status, 200);
    // The first will succeed, the other ones fail: after the wiping, and before it.
    for id in ["ws-error0001", "ws-stopped0001", "ws-nosnapshot0001"] {
        assert_eq!(system.send(&Ask::rebuild(id)).await.status, 202);
    }
    system.end_rebuild().await;
}

/// How many rebuilds have ended, and what the API says about each.
async fn records(system: &System) -> Vec<Value> {
    let mut records = vec![];
    for item in system.scan("rebuilds").await {
        let text = |name: &str| item[name].as_str().expect("a text").to_owned();
        let path = format!("/workspaces/{}/rebuilds/{}", text("WorkspaceId"), text("RebuildId"));
        records.push(system.send(&Ask::get(&path)).await.data());
    }
    records.sort_by_key(id);
    records
}

fn details(events: &[Value]) -> Vec<Value> {
    let mut details: Vec<_> = events.iter().map(|event| event["detail"].clone()).collect();
    details.sort_by_key(id);
    details
}

fn id(rebuild: &Value) -> String {
    rebuild["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn each_end_is_told_as_the_api_tells_it() {
    let (system, bus) = (System::start().await, Bus::start().await);
    let mut stream = stream(&system);
    end_one_of_each_kind(&system).await;
    let mut unknown = system.scan("rebuilds").await.swap_remove(0);
    unknown["RebuildId"] = uuid::Uuid::now_v7().to_string().into();
    unknown["Status"] = "UNKNOWN".into();
    unknown["ErrorCode"] = "TIMED_OUT".into();
    unknown["ErrorMessage"] = "it had not ended after 4 hours".into();
    system.put("rebuilds", unknown).await;
    announce(&mut stream, &bus).await;
    let events = bus.taken();
    let records = records(&system).await;
    assert_eq!(details(&events), records);
    let mut statuses: Vec<_> = records.iter().map(|rebuild| rebuild["status"].clone()).collect();
    statuses.sort_by_key(ToString::to_string);
    assert_eq!(statuses, ["CANCELLED", "FAILED", "FAILED", "SUCCEEDED", "UNKNOWN"]);
    for event in events {
        assert_eq!(
            (&event["source"], &event["detail-type"]),
            (&json!(SOURCE), &json!(DETAIL_TYPE))
        );
        assert_eq!(event["time"], event["detail"]["ended_at"]);
    }
    announce(&mut stream, &bus).await;
    assert_eq!(bus.taken(), [] as [Value; 0]);
}

/// DynamoDB deletes records whose lifetime is over, and somebody may mend one by hand.
#[tokio::test]
async fn a_changed_or_deleted_record_tells_nothing() {
    let (system, bus) = (System::start().await, Bus::start().await);
    end_one_of_each_kind(&system).await;
    let mut stream = stream(&system);
    for mut item in system.scan("rebuilds").await {
        item["Reason"] = "mended".into();
        system.put("rebuilds", item.clone()).await;
        let key =
            ["WorkspaceId", "RebuildId"].map(|name| (name, item[name].as_str().expect("a text")));
        let mut request = system.client.delete_item().table_name("rebuilds");
        for (name, value) in key {
            let value = aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
            request = request.key(name, value);
        }
        request.send().await.expect("deleted");
    }
    announce(&mut stream, &bus).await;
    assert_eq!(bus.taken(), [] as [Value; 0]);
}

/// 250 records: the bus refuses a third of the events, and loses calls and answers.
#[tokio::test]
async fn what_fails_is_announced_again() {
    let (system, bus) = (System::start().await, Bus::start().await);
    end_one_of_each_kind(&system).await;
    let template = system.scan("rebuilds").await.swap_remove(0);
    let mut stream = stream(&system);
    let mut wanted = vec![];
    for _ in 0..250 {
        let mut record = template.clone();
        let id = uuid::Uuid::now_v7().to_string();
        record["RebuildId"] = id.clone().into();
        system.put("rebuilds", record).await;
        wanted.push(id);
    }
    bus.refuse_each(3);
    let faults = [
        Attempt::Cut,
        Attempt::Lost,
        Attempt::Answered(500, "InternalException"),
        Attempt::LandedWithError(503, "ServiceUnavailable"),
        Attempt::Answered(400, "ThrottlingException"),
        Attempt::Garbled,
        Attempt::Truncated,
    ];
    let script = faults.iter().flat_map(|fault| [*fault, Attempt::Through, Attempt::Through]);
    let script: Vec<_> = script.cycle().take(150).collect();
    bus.wire.script(&script);
    let mut seen = std::collections::HashMap::new();
    // Each round announces at least the next rebuild, or uses up some of the script.
    for _ in 0..400 {
        announce(&mut stream, &bus).await;
        seen.extend(bus.taken().into_iter().map(|event| (id(&event["detail"]), event)));
    }
    for wanted in &wanted {
        let detail = &seen[wanted]["detail"];
        assert_eq!((&detail["id"], &detail["reason"]), (&json!(wanted), &template["Reason"]));
    }
}

/// An unreadable record is left out. What follows a refused event waits, so that it is not announced
/// again and again.
#[tokio::test]
async fn a_batch_goes_on_at_the_first_refused_event() {
    let bus = Bus::start().await;
    let batch = |changes: &[Value]| -> Batch {
        serde_json::from_value(json!({ "Records": changes })).expect("a batch")
    };
    let change = |number: usize, status: &str| {
        json!({ "eventName": "INSERT", "dynamodb": { "SequenceNumber": number.to_string(), "NewImage": {
            "WorkspaceId": { "S": "ws-available0001" },
            "RebuildId": { "S": format!("01941f29-7c00-7000-8000-{number:012}") },
            "Status": { "S": status },
            "IdempotencyKey": { "S": "4711" },
            "CreatedAt": { "S": "2025-01-01T12:00:00Z" },
            "EndedAt": { "S": "2025-01-01T12:20:00Z" },
            "FleetMode": { "S": "Simulated" },
            "Attempt": { "N": "1" },
        } } })
    };
    let mut changes: Vec<_> = (0..30).map(|number| change(number, "SUCCEEDED")).collect();
    let announced = |bus: &Bus| -> Vec<String> {
        bus.taken().iter().map(|event| id(&event["detail"])[33..].to_owned()).collect()
    };
    // A status of a newer version may say that the rebuild has not ended.
    changes[4] = change(4, "MUMBLED");
    let answer = bus.announcer.announce(batch(&changes[..5])).await;
    assert!(answer.batch_item_failures.is_empty());
    assert_eq!(announced(&bus).len(), 4);

    changes[12]["dynamodb"]["NewImage"]["EndedAt"] = json!({ "S": "soon" });
    changes[13]["dynamodb"]["NewImage"] = Value::Null;
    let answer = bus.announcer.announce(batch(&changes)).await;
    assert!(answer.batch_item_failures.is_empty());
    let expected: Vec<_> = (0..30).filter(|number| ![4, 12, 13].contains(number)).collect();
    let mut all = announced(&bus);
    all.sort();
    assert_eq!(all, expected.iter().map(|number| format!("{number:03}")).collect::<Vec<_>>());

    // Within a call, the bus takes what follows the refused event.
    bus.refuse_each(5);
    let answer = bus.announcer.announce(batch(&changes[14..])).await;
    let failed: usize = answer.batch_item_failures[0].item_identifier.parse().expect("a number");
    let announced = announced(&bus);
    assert!((14..24).contains(&failed) && announced.len() == 8, "{failed} {announced:?}");
    assert!(!announced.contains(&format!("{failed:03}")), "{failed} {announced:?}");
}
