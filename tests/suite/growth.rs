//! Each operation makes the same requests to DynamoDB at the same cost, however large the fleet is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use aws_smithy_types::body::SdkBody;
use rebuild_workspaces::timestamp::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::open_rebuilds::open_item;
use crate::system::{Ask, System};

/// The directory and the bundle of the whole fleet.
const DIRECTORY: &str = "d-0123456789";
const BUNDLE: &str = "wsb-growth001";
const NAME: &str = "shared";

#[tokio::test]
async fn costs_do_not_grow_with_the_fleet() {
    let small = costs(10).await;
    let large = costs(10_000).await;
    assert_eq!(small, large);
    // Accepting is one request: one unit for the table and one for the index of open rebuilds.
    assert_eq!(small[0], ("accepted", vec![("UpdateItem".to_owned(), json!(2.0))]));
}

/// A page of open rebuilds is read from its place on, and not whole queues: the first page and a later
/// one, of any status.
#[tokio::test]
async fn costs_do_not_grow_with_the_open_rebuilds() {
    let few = costs_of_open(100).await;
    let many = costs_of_open(10_000).await;
    assert_eq!(few, many);
    // Half a unit for each of the four queues, one for the WorkSpace, and one for what pauses hand-overs.
    let query = ("Query".to_owned(), json!(0.5));
    let one = |operation: &str| (operation.to_owned(), json!(1.0));
    let reads = [vec![query; 4], vec![one("BatchGetItem"), one("GetItem")]].concat();
    assert_eq!(few[0], ("any", reads));
}

/// A page of the rebuilds that ended on a day is one query, however many did.
#[tokio::test]
async fn costs_do_not_grow_with_the_ended_rebuilds() {
    for ended in [10, 10_000] {
        let units = Units::default();
        let system = System::start_with(|client| client.interceptor(units.clone())).await;
        fill(&system, "rebuilds", ended, |number| {
            json!({
                "WorkspaceId": workspace_id(number),
                "RebuildId": format!("01941f29-7c00-7000-8000-{number:012x}"),
                "CreatedAt": "2026-11-30T01:00:00Z",
                "EndedAt": format!("2026-11-30T01:{:02}:{:02}Z", number / 60 % 60, number % 60),
                "EndedOn": "2026-11-30",
                "Status": "SUCCEEDED",
                "IdempotencyKey": "k",
                "FleetMode": "Simulated",
                "Attempt": 0,
            })
        })
        .await;
        let mut next = String::new();
        for _ in 0..2 {
            let path = format!("/rebuilds?ended_on=2026-11-30&limit=5{next}");
            let page = system.send(&Ask::get(&path)).await.data();
            assert_eq!(page["rebuilds"].as_array().expect("an array").len(), 5);
            assert_eq!(units.take(), [("Query".to_owned(), json!(0.5))], "{ended}");
            next = format!("&next_token={}", page["next_token"].as_str().unwrap_or_default());
        }
    }
}

/// The requests to DynamoDB for pages of open rebuilds, three of which were accepted in each second.
async fn costs_of_open(open: usize) -> Vec<(&'static str, Vec<Cost>)> {
    let units = Units::default();
    let system = System::start_with(|client| client.interceptor(units.clone())).await;
    fill(&system, "workspaces", open, |number| {
        let since =
            OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600 + number as u64 / 3);
        open_rebuild(number, &Timestamp::from(since).to_string())
    })
    .await;
    let mut costs = vec![];
    for (name, query) in [
        ("any", "limit=1"),
        ("requested", "limit=1&status=REQUESTED"),
        ("started", "limit=1&status=STARTED"),
        ("default", "limit=25"),
    ] {
        let path = format!("/rebuilds?{query}");
        let first = system.send(&Ask::get(&path)).await.data();
        costs.push((name, units.take()));
        let token = first["next_token"].as_str().expect("more");
        let second = system.send(&Ask::get(&format!("{path}&next_token={token}"))).await.data();
        costs.push((name, units.take()));
        for page in [first, second] {
            let listed = page["rebuilds"].as_array().expect("an array");
            assert_eq!(listed.len(), if name == "default" { 25 } else { 1 }, "{name}");
        }
    }
    costs
}

/// A WorkSpace with an open rebuild, in one queue after the other.
fn open_rebuild(number: usize, since: &str) -> Value {
    let (queue, status) =
        [("REQUESTED", "REQUESTED"), ("HANDED_OVER", "STARTED"), ("REBUILDING", "STARTED")]
            [number % 3];
    open_item(&workspace_id(number), number, since, (queue, status))
}

/// Write units of an accepted rebuild, by the number of keys that its WorkSpace remembers: each key
/// adds 113 bytes to the item. One unit is the index's.
#[tokio::test]
async fn remembered_keys_cost_little() {
    let path = "/workspaces/ws-available0001/rebuilds";
    let ask = |key: &str| {
        Ask::json("POST", path, &json!({ "Reason": "ticket 4711" })).with("idempotency-key", key)
    };
    for (count, cost) in [(0, 2.0), (1, 2.0), (20, 5.0), (100, 13.0)] {
        let units = Units::default();
        let system = System::start_with(|client| client.interceptor(units.clone())).await;
        for number in 0..count {
            system.send(&ask(&format!("ticket-{number}"))).await.id();
            system.end_rebuild().await;
        }
        let keys = system.item("ws-available0001").await["Keys"].clone();
        assert_eq!(keys.as_object().map_or(0, serde_json::Map::len), count);
        units.0.lock().expect("no panic").clear();
        system.send(&ask("another")).await.id();
        let requests = units.take();
        assert_eq!(requests, [("UpdateItem".to_owned(), json!(cost))], "{count} keys");
    }
}

/// Write units of the whole life of a rebuild, of a WorkSpace with all that the fleet usually tells. An item
/// of up to 2 KB takes 2, its entry in the index of open rebuilds 1, and 2 if it moves to another queue. A
/// record takes 1, and 1 in the index of ended rebuilds.
#[tokio::test]
async fn a_whole_life_has_a_known_cost() {
    let units = Units::default();
    let system = System::start_with(|client| client.interceptor(units.clone())).await;
    let workspace = json!({
        "WorkspaceId": "ws-available0001",
        "State": "AVAILABLE",
        "DirectoryId": DIRECTORY,
        "UserName": "ana.silva",
        "IpAddress": "10.20.30.40",
        "BundleId": BUNDLE,
        "SubnetId": "subnet-0123456789abcdef0",
        "ComputerName": "WSAMZN-0123456",
        "VolumeEncryptionKey": "arn:aws:kms:eu-central-1:123456789012:key/0b5f8b0e-5f0c-4c55-8d0c-6f3d7c3a9f21",
        "UserVolumeEncryptionEnabled": true,
        "RootVolumeEncryptionEnabled": true,
        "WorkspaceProperties": {
            "RunningMode": "AUTO_STOP",
            "RunningModeAutoStopTimeoutInMinutes": 60,
            "RootVolumeSizeGib": 80,
            "UserVolumeSizeGib": 50,
            "ComputeTypeName": "STANDARD",
            "Protocols": ["WSP"],
            "OperatingSystemName": "WINDOWS_SERVER_2022",
        },
    });
    system.put("workspaces", workspace).await;
    let path = "/workspaces/ws-available0001/rebuilds";
    let ask = Ask::json("POST", path, &json!({ "Reason": "r".repeat(200) }))
        .with("idempotency-key", "0b5f8b0e-5f0c-4c55-8d0c-6f3d7c3a9f21");
    system.send(&ask).await.id();
    system.end_rebuild().await;
    let mut writes = units.take();
    writes.retain(|(operation, _)| matches!(operation.as_str(), "UpdateItem" | "PutItem"));
    let accept = ("UpdateItem", 3.0);
    let [claim, start, see, end] = [4.0, 2.0, 4.0, 4.0].map(|units| ("UpdateItem", units));
    let (count, record, release) = (("PutItem", 1.0), ("PutItem", 2.0), ("UpdateItem", 3.0));
    let costs = [accept, count, claim, start, see, end, record, release];
    assert_eq!(writes, costs.map(|(operation, units)| (operation.to_owned(), json!(units))));
    let sum: f64 = costs.iter().map(|(_, units)| units).sum();
    assert!((sum - 23.0).abs() < 0.1, "docs/operations.md says 23, not {sum}");
}

/// The operation of a request to DynamoDB, and the units that it consumed.
type Cost = (String, Value);

/// The requests to DynamoDB of each operation, with their cost.
async fn costs(fleet: usize) -> Vec<(&'static str, Vec<Cost>)> {
    let units = Units::default();
    let system = System::start_with(|client| client.interceptor(units.clone())).await;
    fill(&system, "workspaces", fleet, available).await;
    let id = workspace_id(0);
    let describe = |query: Value| Ask::aws("DescribeWorkspaces", query.to_string());
    let ids: Vec<_> = (0..10).map(workspace_id).collect();
    let asks = [
        ("accepted", Ask::rebuild(&id)),
        ("refused", Ask::rebuild(&id)),
        ("unknown", Ask::rebuild("ws-nobodyhasthis")),
        ("state", Ask::get(&format!("/workspaces/{id}"))),
        ("history", Ask::get(&format!("/workspaces/{id}/rebuilds"))),
        ("by id", describe(json!({ "WorkspaceIds": ids }))),
        ("by user", describe(json!({ "DirectoryId": DIRECTORY, "UserName": "user-3" }))),
        ("by directory", describe(json!({ "DirectoryId": DIRECTORY, "Limit": 5 }))),
        ("by bundle", describe(json!({ "BundleId": BUNDLE, "Limit": 5 }))),
        ("by name", describe(json!({ "WorkspaceName": NAME, "Limit": 5 }))),
        ("all", describe(json!({ "Limit": 5 }))),
    ];
    let mut costs = vec![];
    for (name, ask) in asks {
        let answer = system.send(&ask).await;
        assert!(answer.status < 500, "{name}: {answer:?}");
        costs.push((name, units.take()));
    }
    costs
}

fn workspace_id(number: usize) -> String {
    format!("ws-growth{number:06}")
}

/// A WorkSpace of a fleet in one directory and one bundle.
fn available(number: usize) -> Value {
    json!({
        "WorkspaceId": workspace_id(number),
        "State": "AVAILABLE",
        "DirectoryId": DIRECTORY,
        "UserName": format!("user-{number}"),
        "BundleId": BUNDLE,
        "WorkspaceName": NAME,
    })
}

/// Fills a table with so many items.
async fn fill(system: &System, table: &str, count: usize, item: impl Fn(usize) -> Value) {
    let put = |number| {
        let item = serde_dynamo::to_item(item(number)).expect("an item");
        let put = PutRequest::builder().set_item(Some(item));
        WriteRequest::builder().put_request(put.build().expect("an item")).build()
    };
    let numbers: Vec<_> = (0..count).collect();
    for batch in numbers.chunks(25) {
        let items = batch.iter().copied().map(put).collect();
        let request = system.client.batch_write_item().request_items(table, items);
        let output = request.send().await.expect("an answer");
        assert!(output.unprocessed_items.unwrap_or_default().is_empty());
    }
}

/// Asks DynamoDB for the cost of each request, and records it.
#[derive(Clone, Debug, Default)]
struct Units(Arc<Mutex<Vec<Cost>>>);

impl Units {
    /// The costs since the last call.
    fn take(&self) -> Vec<Cost> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

impl Intercept for Units {
    fn name(&self) -> &'static str {
        "Units"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let mut input: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())?;
        input["ReturnConsumedCapacity"] = "TOTAL".into();
        let input = input.to_string();
        request.headers_mut().insert("content-length", input.len().to_string());
        *request.body_mut() = SdkBody::from(input);
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        self.0.lock().expect("no panic").push((operation.to_owned(), Value::Null));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let output: Value =
            serde_json::from_slice(context.response().body().bytes().unwrap_or_default())?;
        // DynamoDB reports no units for a failed condition; the test still counts the request.
        let consumed = &output["ConsumedCapacity"];
        let consumed = consumed.as_array().map_or(consumed, |tables| &tables[0]);
        if let Some((_, units)) = self.0.lock().expect("no panic").last_mut() {
            *units = consumed["CapacityUnits"].clone();
        }
        Ok(())
    }
}
