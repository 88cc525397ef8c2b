//! A run that keeps its tables in a file is killed under load, again and again: it loses nothing that
//! it accepted. A longer run: `CRASHES=50 cargo test crash -- --nocapture`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::local_run::Local;
use crate::system::{Answer, Ask, send, try_send};

const CLIENTS: usize = 8;
const WORKSPACES: [&str; 5] = [
    "ws-available0001",
    "ws-error0001",
    "ws-unhealthy0001",
    "ws-stalesnapshot0001",
    "ws-rebooting0001",
];

/// A request, and its answer if the run lived to give it.
struct Posted {
    ask: Ask,
    key: String,
    workspace_id: &'static str,
    answer: Option<Answer>,
}

/// Sends requests until the run is dead. Counts the accepted ones.
async fn load(
    api: String,
    client: String,
    mut random: TestRng,
    accepted: Arc<AtomicUsize>,
    one_more: Arc<Notify>,
) -> Vec<Posted> {
    let mut all = vec![];
    loop {
        let workspace_id = WORKSPACES[random.next_u32() as usize % WORKSPACES.len()];
        let key = format!("{client}-{}", all.len());
        let path = format!("/workspaces/{workspace_id}/rebuilds");
        let ask = Ask::new("POST", &path).with("idempotency-key", &key);
        let answer = try_send(&api, &ask).await;
        let is_dead = answer.is_none();
        if answer.as_ref().is_some_and(|answer| answer.status == 202) {
            accepted.fetch_add(1, Ordering::Relaxed);
            one_more.notify_one();
        }
        all.push(Posted { ask, key, workspace_id, answer });
        if is_dead {
            return all;
        }
    }
}

/// The rebuilds of a WorkSpace, newest first.
async fn rebuilds(api: &str, workspace_id: &str) -> Vec<Value> {
    let path = format!("/workspaces/{workspace_id}/rebuilds?limit=100");
    let (mut all, mut next) = (vec![], path.clone());
    loop {
        let mut page = send(api, &Ask::get(&next)).await.data();
        all.append(page["rebuilds"].as_array_mut().expect("a list"));
        let Some(token) = page["next_token"].as_str() else { return all };
        next = format!("{path}&next_token={token}");
    }
}

/// The rebuilds of a WorkSpace, after all have ended and one more was accepted.
async fn ended(api: &str, workspace_id: &str) -> Vec<Value> {
    let ask = Ask::new("POST", &format!("/workspaces/{workspace_id}/rebuilds"));
    while send(api, &ask).await.status == 409 {}
    loop {
        let rebuilds = rebuilds(api, workspace_id).await;
        if rebuilds.iter().all(|rebuild| rebuild["ended_at"].is_string()) {
            return rebuilds;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_loses_no_accepted_rebuild() {
    let crashes = std::env::var("CRASHES").map_or(3, |crashes| crashes.parse().expect("a number"));
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}c", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("tables.db");
    let options = ["--data", file.to_str().expect("UTF-8"), "--rebuild-seconds", "0"];
    let seed = uuid::Uuid::new_v4().into_bytes().repeat(2);
    let seed: [u8; 32] = seed.try_into().expect("32 bytes");
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);

    let mut posted = vec![];
    for crash in 0..crashes {
        let local = Local::start(&options).await;
        let (accepted, one_more) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let clients: JoinSet<_> = (0..CLIENTS)
            .map(|client| {
                let mut seed = [0; 32];
                random.fill_bytes(&mut seed);
                let name = format!("crash-{crash}-{client}");
                let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
                load(local.api.clone(), name, random, accepted.clone(), one_more.clone())
            })
            .collect();
        // Meanwhile, passes end the rebuilds of the run before.
        let last = 1 + random.next_u32() as usize % WORKSPACES.len();
        while accepted.load(Ordering::Relaxed) < last {
            one_more.notified().await;
        }
        local.kill().await;
        posted.extend(clients.join_all().await.into_iter().flatten());
    }

    let local = Local::start(&options).await;
    let api = &local.api;
    let all = WORKSPACES.map(|id| async move { (id, ended(api, id).await) });
    let all: BTreeMap<_, _> = join_all(all).await.into_iter().collect();
    let (mut accepted, mut unanswered) = (0, 0);
    for Posted { ask, key, workspace_id, answer } in &posted {
        let has = |id: &str| all[workspace_id].iter().any(|rebuild| rebuild["id"] == id);
        match answer {
            Some(answer) if answer.status == 202 => {
                accepted += 1;
                assert!(has(&answer.id()), "{key}: {answer:?} is lost");
            }
            Some(answer) => assert_eq!(answer.status, 409, "{key}: {answer:?}"),
            None => {
                unanswered += 1;
                // The key says what became of it.
                let again = send(api, ask).await;
                if again.header("idempotency-replayed").is_some() {
                    assert!(has(&again.id()), "{key}: {again:?}");
                }
            }
        }
    }
    let kept: usize = all.values().map(Vec::len).sum();
    println!(
        "{crashes} crashes: {accepted} accepted, {unanswered} unanswered, {kept} rebuilds ended"
    );
    // Every rebuild in the tables was requested by a client.
    assert!(
        accepted + WORKSPACES.len() <= kept && kept <= accepted + unanswered + WORKSPACES.len()
    );
    local.kill().await;
    std::fs::remove_dir_all(folder).expect("the tables");
}
