//! Is the API linearizable? Clients send random requests about one WorkSpace at the same time, with
//! passes of the reconciler and faults of DynamoDB in between. Every history must have an order in
//! which the requests, one after the other, get their answers from the contract. Meanwhile others pause
//! hand-overs and resume them; their history must have such an order, too.
//!
//! A longer run: `HISTORIES=1000 cargo test --locked histories -- --nocapture`. With
//! `HISTORIES_DYNAMODB=http://127.0.0.1:<port>` it runs against the DynamoDB there, whose tables of the
//! service it deletes and makes again.
//! `HISTORIES_SEED` repeats what the clients of a failed run did, though not how they interleaved.

mod check;
mod client;
mod model;
mod pause;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::client::Clients;
use self::model::{History, Operation, Request, Said};
use self::pause::PauseClients;
use crate::system::System;

const AT_ONCE: usize = 4;
const CLIENTS: usize = 5;
const PAUSE_CLIENTS: usize = 3;
const ACTIONS: usize = 10;

/// The seed of one of the random generators of a run.
fn random(seed: u128, number: usize) -> [u8; 32] {
    let bytes = [seed.to_le_bytes(), (number as u128).to_le_bytes()].concat();
    bytes.try_into().expect("32")
}

/// Runs passes until no rebuild is open.
async fn end_all(system: &System) {
    for _ in 0..20 {
        // The next pass repeats one that DynamoDB failed.
        let _ = system.pass().await;
        let items = system.scan("workspaces").await;
        if items.iter().all(|item| item.get("OpenRebuild").is_none()) {
            return;
        }
    }
    panic!("a rebuild does not end");
}

/// The rebuilds that the tables have: the id of the request that made each, and its own.
async fn made(system: &System) -> Vec<(Value, String)> {
    let latest = system.scan("workspaces").await.into_iter().map(|mut item| item["Rebuild"].take());
    let rebuilds = latest.chain(system.scan("rebuilds").await);
    let made = rebuilds.filter_map(|mut rebuild| {
        let id = rebuild["RebuildId"].as_str().or(rebuild["Id"].as_str())?.to_owned();
        Some((rebuild["RequestId"].take(), id))
    });
    made.collect()
}

/// Runs some histories at the same time, with one wire.
async fn run(system: System, first: usize, seed: u128) -> Vec<(History, Vec<String>)> {
    let mut all = vec![];
    for number in 0..AT_ONCE {
        let workspace_id = format!("ws-history{:06}", first + number);
        let state = if (first + number).is_multiple_of(8) { "SUSPENDED" } else { "AVAILABLE" };
        let item = json!({ "WorkspaceId": workspace_id, "State": state });
        system.put("workspaces", item).await;
        all.push((Arc::new(Clients::new(&system, workspace_id)), state));
    }
    system.wire.be_random(random(seed, usize::MAX));
    let mut tasks = JoinSet::new();
    for (number, (clients, _)) in all.iter().enumerate() {
        for client in 0..CLIENTS {
            let clients = clients.clone();
            let random = random(seed, number * CLIENTS + client);
            let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &random);
            tasks.spawn(async move {
                for _ in 0..ACTIONS {
                    clients.act(client, &mut random).await;
                }
            });
        }
    }
    let pauses = Arc::new(PauseClients::new(&system));
    for client in 0..PAUSE_CLIENTS {
        let pauses = Arc::clone(&pauses);
        let random = random(seed, AT_ONCE * CLIENTS + client);
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &random);
        tasks.spawn(async move {
            for _ in 0..ACTIONS {
                pauses.act(&mut random).await;
            }
        });
    }
    tasks.join_all().await;
    system.wire.be_reliable();
    system.wire.land_held().await;
    pauses.end().await;
    if let Err(history) = pauses.check() {
        panic!("the pauses have no order; HISTORIES_SEED={seed}\n{history}");
    }
    end_all(&system).await;
    for (clients, _) in &all {
        clients.repeat_and_read(CLIENTS).await;
    }
    end_all(&system).await;
    for (clients, _) in &all {
        clients.read(CLIENTS).await;
    }
    let made = made(&system).await;
    let mut histories = vec![];
    for (clients, state) in all {
        let workspace_id = clients.workspace_id.clone();
        let mut operations = clients.take();
        for Operation { id, .. } in &mut operations {
            // An AWS client is told no id, but the rebuild has the id of its request.
            if let Some(request) = id.as_ref().and_then(|id| id.strip_prefix("request ")) {
                let its = made.iter().find(|(by, _)| by == request);
                *id = its.map(|(_, id)| id.clone());
            }
        }
        operations.sort_by_key(|operation| operation.sent);
        system.remove("workspaces", &workspace_id).await;
        let made = made.iter().map(|(_, id)| id.clone()).collect();
        histories.push((History { workspace_id, state, operations }, made));
    }
    histories
}

/// What an operation counts as.
fn kind(operation: &Operation) -> &'static str {
    match (&operation.request, &operation.said) {
        (_, Said::Unknown) => "unknown outcomes",
        (_, Said::Refused(_)) => "refused",
        (Request::Rebuild { .. }, Said::Accepted { is_replay: Some(true), .. }) => "replayed",
        (Request::Rebuild { .. }, _) => "accepted",
        (Request::Cancel(_), _) => "cancelled",
        (Request::Protect(_) | Request::Unprotect, _) => "protections changed",
        (Request::ReadWorkspace | Request::ReadRebuild(_) | Request::ReadHistory, _) => "read",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_has_an_order_that_the_contract_allows() {
    let number = |name| env::var(name).ok().map(|number| number.parse::<u128>().expect("a number"));
    let wanted = number("HISTORIES").unwrap_or(24);
    let systems = match env::var("HISTORIES_DYNAMODB") {
        Ok(url) => vec![System::start_over(&url).await],
        Err(_) => join_all([(); 6].map(|()| System::start())).await,
    };
    let begin = Instant::now();
    let (mut first, mut histories, mut longest) = (0, 0, Duration::ZERO);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    while histories < wanted {
        let mut runs = JoinSet::new();
        for system in systems.iter().cloned() {
            let seed = number("HISTORIES_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u128());
            runs.spawn(async move { (seed, run(system, first, seed).await) });
            first += AT_ONCE;
        }
        for (seed, run) in runs.join_all().await {
            for (history, made) in run {
                histories += 1;
                let check = Instant::now();
                if let Err(history) = history.check(&made) {
                    panic!("history {histories} has no order; HISTORIES_SEED={seed}\n{history}");
                }
                longest = longest.max(check.elapsed());
                for operation in &history.operations {
                    *counts.entry(kind(operation)).or_default() += 1;
                }
            }
        }
    }
    let operations: usize = counts.values().sum();
    let faults: usize = systems.iter().map(|system| system.wire.faults()).sum();
    let time = begin.elapsed();
    println!(
        "histories: {histories}, {operations} operations {counts:?}, {faults} faults, \
         longest check {longest:.1?}, {time:.1?}"
    );
}
