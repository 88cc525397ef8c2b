//! Many requests to the running program, with random faults between it and DynamoDB: every answer
//! must be true, and every history complete. A longer run:
//! `FAULTY_REQUESTS=10000 cargo test every_answer_is_true -- --nocapture`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::local_run::Local;
use crate::system::{Answer, Ask, System, send};

const CLIENTS: usize = 8;
const WORKSPACES: usize = 60;

/// A request, and its answers.
struct Posted {
    workspace_id: String,
    /// An attribute of the rebuild, and the value that only this request gives it.
    mark: (&'static str, String),
    answers: Vec<Answer>,
}

fn workspace_id(number: usize) -> String {
    match number {
        0 => "ws-suspended0001".to_owned(),
        1 => "ws-nosuchone0001".to_owned(),
        _ => format!("ws-fault{number:06}"),
    }
}

/// Sends one request, and sometimes repeats it if its outcome is unknown.
async fn post(api: &str, name: &str, random: &mut TestRng) -> Posted {
    let workspace_id = workspace_id(random.next_u32() as usize % WORKSPACES);
    let has_key = !random.next_u32().is_multiple_of(4);
    let is_aws = random.next_u32().is_multiple_of(2);
    let mut ask = if is_aws {
        Ask::aws_rebuild(&workspace_id)
    } else {
        let requests = json!([{ "WorkspaceId": workspace_id }]);
        Ask::post(json!({ "RebuildWorkspaceRequests": requests, "Reason": name }).to_string())
    };
    if has_key {
        ask = ask.with("idempotency-key", name).with("amz-sdk-invocation-id", name);
    }
    let mut answers = vec![send(api, &ask).await];
    if has_key && answers[0].status >= 500 && random.next_u32().is_multiple_of(2) {
        answers.push(send(api, &ask).await);
    }
    let mark = match (is_aws, has_key) {
        (false, _) => ("Reason", name.to_owned()),
        (true, true) => ("IdempotencyKey", format!("simulated: sdk: {name}")),
        (true, false) => {
            let request_id = answers[0].header("x-amzn-requestid").expect("an id");
            ("IdempotencyKey", format!("simulated: request: {request_id}"))
        }
    };
    Posted { workspace_id, mark, answers }
}

/// What an answer says about the rebuild of its request, and the id that it gives.
#[derive(Debug)]
enum Said {
    Accepted(Option<String>),
    NotAccepted,
    Unknown(Option<String>),
}

fn said(answer: &Answer) -> Said {
    let content_type = answer.header("content-type").expect("a content type");
    match (content_type, answer.status) {
        ("application/json", 202) => Said::Accepted(Some(answer.id())),
        ("application/json", 504) => {
            let location = answer.header("location").expect("a location");
            Said::Unknown(location.rsplit('/').next().map(str::to_owned))
        }
        ("application/x-amz-json-1.1", 200) if answer.body == r#"{"FailedRequests":[]}"# => {
            Said::Accepted(None)
        }
        ("application/json", 404 | 409 | 503) | ("application/x-amz-json-1.1", 200 | 400 | 503) => {
            Said::NotAccepted
        }
        ("application/x-amz-json-1.1", 500) => Said::Unknown(None),
        _ => panic!("not an answer of the contract: {answer:?}"),
    }
}

/// The rebuilds of each WorkSpace by id, from both tables.
async fn rebuilds(system: &System) -> HashMap<String, BTreeMap<String, Value>> {
    let mut all: HashMap<String, BTreeMap<String, Value>> = HashMap::new();
    for (table, name) in [("workspaces", "Id"), ("rebuilds", "RebuildId")] {
        for item in system.scan(table).await {
            let id = item["WorkspaceId"].as_str().expect("an id").to_owned();
            let rebuild = if name == "Id" { item["Rebuild"].clone() } else { item };
            if let Some(rebuild_id) = rebuild[name].as_str() {
                all.entry(id).or_default().insert(rebuild_id.to_owned(), rebuild);
            }
        }
    }
    all
}

async fn until_nothing_is_open(system: &System, api: &str) {
    for _ in 0..20_000 {
        let items = system.scan("workspaces").await;
        if items.iter().all(|item| item.get("OpenRebuild").is_none()) {
            return;
        }
        send(api, &Ask::aws("DescribeWorkspaces", "{}")).await;
    }
    panic!("a rebuild does not end");
}

/// The ids of a history, page by page.
async fn walk(api: &str, workspace_id: &str, limit: usize) -> Vec<String> {
    let first = format!("/workspaces/{workspace_id}/rebuilds?limit={limit}");
    let (mut ids, mut path) = (vec![], first.clone());
    loop {
        let page = send(api, &Ask::get(&path)).await.data();
        let rebuilds = page["rebuilds"].as_array().expect("a list").iter();
        ids.extend(rebuilds.map(|rebuild| rebuild["id"].as_str().expect("an id").to_owned()));
        let Some(token) = page["next_token"].as_str() else { return ids };
        path = format!("{first}&next_token={token}");
    }
}

/// Checks the answers to one request against the rebuilds that the tables have of it. Counts them.
fn check(posted: &Posted, made: &BTreeSet<String>, counts: &mut BTreeMap<&str, usize>) {
    let said: Vec<_> = posted.answers.iter().map(said).collect();
    let context = format!("{} {:?}: {said:?}, {made:?}", posted.workspace_id, posted.mark);
    let mut explained = 0;
    for said in &said {
        let word = match said {
            Said::Accepted(Some(id)) => {
                assert!(made.contains(id), "accepted, but there is no such rebuild: {context}");
                "accepted"
            }
            Said::Accepted(None) => {
                assert!(!made.is_empty(), "accepted, but there is no rebuild: {context}");
                "accepted"
            }
            Said::NotAccepted => "not accepted",
            Said::Unknown(_) if made.is_empty() => "unknown, not made",
            Said::Unknown(_) => "unknown, made",
        };
        explained += usize::from(!matches!(said, Said::NotAccepted));
        *counts.entry(word).or_default() += 1;
    }
    assert!(made.len() <= explained, "more rebuilds than the client knows of: {context}");
    for id in made {
        let is_told = said.iter().any(|said| match said {
            Said::Accepted(told) | Said::Unknown(told) => {
                told.as_ref().is_none_or(|told| told == id)
            }
            Said::NotAccepted => false,
        });
        assert!(is_told, "a rebuild under an id that the client was not told: {context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_true_under_random_faults() {
    let requests = std::env::var("FAULTY_REQUESTS")
        .map_or(600, |requests| requests.parse().expect("a number"));
    let system = System::start().await;
    for number in 2..WORKSPACES {
        let item = json!({ "WorkspaceId": workspace_id(number), "State": "AVAILABLE" });
        system.put("workspaces", item).await;
    }
    let options = ["--dynamodb-endpoint", &system.wire.url, "--rebuild-seconds", "0"];
    let local = Local::start_with(&options).await;
    let seed = uuid::Uuid::new_v4();
    system.wire.be_random([*seed.as_bytes(), *seed.as_bytes()].concat().try_into().expect("32"));

    let clients: JoinSet<_> = (0..CLIENTS)
        .map(|client| {
            let api = local.api.clone();
            async move {
                let seed = [u8::try_from(client).expect("few"); 32];
                let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
                let mut posted = vec![];
                for number in 0..requests / CLIENTS {
                    let name = format!("ticket-{client}-{number}");
                    posted.push(post(&api, &name, &mut random).await);
                }
                posted
            }
        })
        .collect();
    let posted: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    system.wire.be_reliable();
    system.wire.land_held().await;
    until_nothing_is_open(&system, &local.api).await;

    let all = rebuilds(&system).await;
    let mut counts = BTreeMap::new();
    for posted in &posted {
        let (name, value) = &posted.mark;
        let rebuilds = all.get(&posted.workspace_id).into_iter().flatten();
        let made = rebuilds.filter(|(_, rebuild)| rebuild[*name] == **value);
        check(posted, &made.map(|(id, _)| id.clone()).collect(), &mut counts);
    }
    let count: usize = all.values().map(BTreeMap::len).sum();
    println!("{} requests, {count} rebuilds, answers: {counts:?}", posted.len());
    for (workspace_id, rebuilds) in &all {
        assert!(rebuilds.values().all(|rebuild| rebuild["EndedAt"].is_string()), "{rebuilds:?}");
        let newest_first: Vec<_> = rebuilds.keys().rev().cloned().collect();
        for limit in [1, 2, 3, 25, 100] {
            assert_eq!(walk(&local.api, workspace_id, limit).await, newest_first, "{limit}");
        }
    }
    local.kill().await;
}
