//! Pages of open rebuilds over an index that does what DynamoDB's may do: within a second it has an
//! order of its own, and rebuilds move on to other queues between any two queries.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use rebuild_workspaces::transport;
use serde_json::{Value, json};

use crate::system::{Ask, System, config};

const QUEUES: [&str; 3] = ["REQUESTED", "HANDED_OVER", "REBUILDING"];

fn id_of(number: usize) -> String {
    format!("ws-open{number:05}")
}

/// Second `number` of 2025.
fn second(number: usize) -> String {
    format!("2025-01-01T00:{:02}:{:02}Z", number / 60, number % 60)
}

/// A WorkSpace with an open rebuild.
fn item(number: usize, since: &str, queue: &str, status: &str) -> Value {
    open_item(&id_of(number), number, since, (queue, status))
}

/// The item of a WorkSpace with an open rebuild, whose id has this number.
pub fn open_item(
    workspace_id: &str,
    number: usize,
    since: &str,
    (queue, status): (&str, &str),
) -> Value {
    let mut rebuild = json!({
        "Id": format!("01941f29-7c00-7000-8000-{number:012x}"),
        "CreatedAt": since,
        "Status": status,
        "IdempotencyKey": "k",
        "FleetMode": "Simulated",
        "Attempt": 0,
    });
    if status == "STARTED" {
        for name in ["ClaimedAt", "SnapshotAt", "StartedAt"] {
            rebuild[name] = json!(since);
        }
        rebuild["ClaimId"] = json!("11111111-1111-4111-8111-111111111111");
    }
    json!({
        "WorkspaceId": workspace_id,
        "State": "REBUILDING",
        "OpenRebuild": queue,
        "OpenSince": since,
        "Rebuild": rebuild,
    })
}

/// A system over such an index, with these WorkSpaces.
async fn start(items: impl IntoIterator<Item = Value>) -> (System, Index) {
    let index = Index::default();
    let system = System::start_with(|client| client.http_client(index.clone())).await;
    index.client.set(system.client.clone()).expect("it is new");
    for item in items {
        system.put("workspaces", item).await;
    }
    (system, index)
}

/// The ids on all pages, and how many pages there are.
async fn walk(system: &System, query: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut next) = (vec![], 0, String::new());
    loop {
        let page = system.send(&Ask::get(&format!("/rebuilds?{query}{next}"))).await.data();
        let rebuilds = page["rebuilds"].as_array().expect("an array").iter();
        ids.extend(rebuilds.map(|it| it["workspace_id"].as_str().expect("an id").to_owned()));
        pages += 1;
        let Some(token) = page["next_token"].as_str() else { return (ids, pages) };
        next = format!("&next_token={token}");
    }
}

/// The index does not order them, and a page may end between any two. They are in all queues, or in one
/// whose query ends earlier than those of the others.
#[tokio::test]
async fn rebuilds_of_the_same_second_are_all_listed() {
    let is_tied = |number: usize| (5..205).contains(&number);
    let since = |number: usize| second(if is_tied(number) { 5 } else { number });
    for is_mixed in [true, false] {
        let queue = |number: usize| match number {
            number if is_mixed => QUEUES[number % 3],
            number if number < 4 || is_tied(number) => QUEUES[0],
            number => QUEUES[1 + number % 2],
        };
        let items = (0..290).map(|number| item(number, &since(number), queue(number), "REQUESTED"));
        let (system, _) = start(items).await;
        let all: Vec<_> = (0..290).map(id_of).collect();
        for limit in [2, 7, 25, 100] {
            let (ids, pages) = walk(&system, &format!("limit={limit}")).await;
            assert_eq!(ids, all, "{is_mixed}, {limit}");
            assert_eq!(pages, 290_usize.div_ceil(limit), "{is_mixed}, {limit}");
        }
    }
}

/// Before each query, one rebuild in three moves on to the next queue.
#[tokio::test]
async fn a_rebuild_that_moves_on_is_listed_once() {
    for seed in 0..12 {
        let since = |number: usize| second(number * (seed % 3 + 1) / 2);
        let items = (0..40).map(|number| item(number, &since(number), QUEUES[0], "REQUESTED"));
        let (system, index) = start(items).await;
        let moves = (0..60).map(|turn| {
            let moving = (0..40).filter(move |number| (number * 7 + turn * 5 + seed) % 3 == 0);
            moving.map(id_of).collect()
        });
        *index.moves.lock().expect("no panic") = moves.collect();
        let (ids, _) = walk(&system, &format!("limit={}", seed * 2 + 1)).await;
        assert_eq!(ids, (0..40).map(id_of).collect::<Vec<_>>(), "{seed}");
    }
}

/// The index still has entries of rebuilds that have moved on, or ended since.
#[tokio::test]
async fn an_entry_that_lags_lists_nothing_twice() {
    let items =
        (0..30).map(|number| item(number, &second(number), QUEUES[number % 3], "REQUESTED"));
    let (system, index) = start(items).await;
    let ghosts = (0..30).flat_map(|number| {
        let moved = (QUEUES[(number + 1) % 3], second(number), id_of(number));
        let earlier = (QUEUES[(number + 2) % 3], second(number / 2), id_of(number));
        let ended = (QUEUES[0], second(number), format!("ws-available{number:04}"));
        [moved, earlier, ended]
    });
    *index.ghosts.lock().expect("no panic") = ghosts.collect();
    for limit in [1, 2, 7, 25, 100] {
        let (ids, _) = walk(&system, &format!("limit={limit}")).await;
        assert_eq!(ids, (0..30).map(id_of).collect::<Vec<_>>(), "{limit}");
    }
}

/// A page ends short where many entries have another status, so its cost has a limit.
#[tokio::test]
async fn a_page_does_not_read_on_for_ever() {
    let items = (0..400).map(|number| {
        let status = if number % 200 == 199 { "REQUESTED" } else { "STARTED" };
        item(number, &second(number), "HANDED_OVER", status)
    });
    let (system, _) = start(items).await;
    system.wire.operations();
    let page = system.send(&Ask::get("/rebuilds?status=REQUESTED&limit=1")).await.data();
    assert_eq!(page["rebuilds"], json!([]));
    assert!(page["next_token"].is_string(), "{page}");
    let keys = |seen: crate::wire::Seen| {
        seen.input["RequestItems"]["workspaces"]["Keys"].as_array().map_or(0, Vec::len)
    };
    let read: usize = system.wire.seen().into_iter().map(keys).sum();
    assert!((100..200).contains(&read), "{read}");
    for limit in [1, 2, 25, 100] {
        let (ids, pages) = walk(&system, &format!("status=REQUESTED&limit={limit}")).await;
        assert_eq!(ids, [id_of(199), id_of(399)], "{limit}");
        assert!(pages <= 7, "{limit}: {pages}");
    }
    assert_eq!(walk(&system, "status=STARTED&limit=100").await.0.len(), 398);
}

/// The index orders texts: this time is early and stands late, or the other way round.
#[tokio::test]
async fn an_entry_out_of_order_hides_no_other() {
    for spelling in ["2025-01-01T00:00:10-09:00", "2025-01-01T00:00:10+09:00", "x", "0"] {
        let items =
            (0..80).map(|number| item(number, &second(number), QUEUES[number % 2], "STARTED"));
        let (system, _) = start(items).await;
        system.put("workspaces", item(10, spelling, QUEUES[0], "STARTED")).await;
        let all: Vec<_> = (0..80).filter(|number| *number != 10).map(id_of).collect();
        for limit in [1, 5, 25] {
            assert_eq!(walk(&system, &format!("limit={limit}")).await.0, all, "{spelling}");
        }
    }
}

/// Stands in for the index `OpenRebuilds`; all other requests go to DynamoDB.
#[derive(Clone, Debug, Default)]
struct Index {
    client: Arc<OnceLock<Client>>,
    /// The WorkSpaces whose rebuilds move on to the next queue before each query.
    moves: Arc<Mutex<VecDeque<Vec<String>>>>,
    /// More entries: queue, time and WorkSpace.
    ghosts: Arc<Mutex<Vec<Entry>>>,
}

type Entry = (&'static str, String, String);

impl Index {
    async fn query(&self, input: &Value) -> Value {
        let moves = self.moves.lock().expect("no panic").pop_front();
        for id in moves.unwrap_or_default() {
            self.move_on(&id).await;
        }
        let values = &input["ExpressionAttributeValues"];
        let text = |value: &Value| value["S"].as_str().expect("a text").to_owned();
        let queue = text(&values[":queue"]);
        let from = values.get(":from").map(text).unwrap_or_default();
        let mut entries = self.entries(&queue).await;
        entries.retain(|(since, _)| *since >= from);
        // Within a second, the order is another one than that of the ids.
        let order = |(since, id): &(String, String)| (since.clone(), id.chars().rev().collect());
        entries.sort_by_key(order);
        if let Some(start) = input.get("ExclusiveStartKey") {
            let start: (String, String) =
                order(&(text(&start["OpenSince"]), text(&start["WorkspaceId"])));
            entries.retain(|entry| order(entry) > start);
        }
        let limit = input["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(usize::MAX);
        entries.truncate(limit);
        let key = |(since, id): &(String, String)| json!({ "OpenRebuild": { "S": queue }, "OpenSince": { "S": since }, "WorkspaceId": { "S": id } });
        let mut output = json!({ "Items": entries.iter().map(key).collect::<Vec<_>>() });
        if entries.len() == limit {
            output["LastEvaluatedKey"] = key(entries.last().expect("a limit is positive"));
        }
        output
    }

    /// Time and WorkSpace of each entry of a queue.
    async fn entries(&self, queue: &str) -> Vec<(String, String)> {
        let query = self.client().query().table_name("workspaces").index_name("OpenRebuilds");
        let query = query
            .key_condition_expression("OpenRebuild = :queue")
            .expression_attribute_values(":queue", AttributeValue::S(queue.to_owned()));
        let items = query.into_paginator().items().send().try_collect().await.expect("an answer");
        let text = |value: &AttributeValue| value.as_s().expect("a text").clone();
        let found = items.iter().map(|item| (text(&item["OpenSince"]), text(&item["WorkspaceId"])));
        let ghosts = self.ghosts.lock().expect("no panic").clone();
        let ghosts = ghosts.into_iter().filter(|(of, ..)| *of == queue);
        found.chain(ghosts.map(|(_, since, id)| (since, id))).collect()
    }

    async fn move_on(&self, id: &str) {
        let key = AttributeValue::S(id.to_owned());
        let read = self.client().get_item().table_name("workspaces");
        let item = read.key("WorkspaceId", key.clone()).send().await.expect("an answer").item;
        let queue = item.expect("the WorkSpace")["OpenRebuild"].as_s().expect("a text").clone();
        let number = QUEUES.iter().position(|other| **other == queue).expect("a queue");
        let Some(next) = QUEUES.get(number + 1) else { return };
        let write = self.client().update_item().table_name("workspaces").key("WorkspaceId", key);
        let write = write
            .update_expression("SET OpenRebuild = :next")
            .expression_attribute_values(":next", AttributeValue::S((*next).to_owned()));
        write.send().await.expect("an answer");
    }

    fn client(&self) -> &Client {
        self.client.get().expect("the system has started")
    }
}

impl HttpClient for Index {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let http: SharedHttpClient = transport::http_client(&config("http://unused").aws);
        let inner = http.http_connector(settings, components);
        SharedHttpConnector::new(Connector { index: self.clone(), inner })
    }
}

#[derive(Debug)]
struct Connector {
    index: Index,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().expect("a body in memory");
        let input: Value = serde_json::from_slice(body).expect("AWS JSON");
        if input["IndexName"] != "OpenRebuilds" {
            return self.inner.call(request);
        }
        let index = self.index.clone();
        HttpConnectorFuture::new(async move {
            let output = index.query(&input).await.to_string();
            Ok(HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(output)))
        })
    }
}
