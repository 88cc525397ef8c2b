//! Many concurrent requests for one WorkSpace, each in its own Lambda environment.

use std::collections::HashSet;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::transport;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lambda::event;
use crate::system::{System, config, service};
use local::gateway::invoke;

const MANY: usize = 200;
const ID: &str = "ws-available0001";

/// A Lambda environment after its init, with an open connection. It has no timeouts, because so
/// many requests may take long on a slow machine.
async fn environment(system: &System) -> Service {
    let config = config(&system.wire.url);
    let dynamodb = client_config(&config, transport::http_client(&config.aws));
    let dynamodb = dynamodb.timeout_config(TimeoutConfig::disabled());
    let store = Store::new(dynamodb, config.tables);
    store.warm_up().await;
    service(&store)
}

/// Sends `MANY` requests with the same body at once; returns the answers.
async fn all_at_once(system: &System, headers: &[(&str, &str)]) -> Vec<Value> {
    let body = json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": ID }] });
    let mut environments = vec![];
    for _ in 0..MANY {
        environments.push(environment(system).await);
    }
    system.wire.seen();
    let event = || event("POST", "/", headers, body.to_string().as_bytes()).to_string();
    let requests: JoinSet<_> = environments
        .into_iter()
        .map(|service| {
            let event = event();
            async move { invoke(&service, event).await }
        })
        .collect();
    let answers = requests.join_all().await;
    assert_eq!(system.wire.operations(), vec!["UpdateItem"; MANY]);
    answers
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().expect("a text")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_requests_is_accepted() {
    let system = System::start().await;
    let answers = all_at_once(&system, &[]).await;

    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer["statusCode"] == 202);
    assert_eq!((accepted.len(), refused.len()), (1, MANY - 1));
    for answer in refused {
        assert_eq!(answer["statusCode"], 409, "{answer}");
        assert_eq!(body(answer)["error"]["code"], "INVALID_WORKSPACE_STATE");
    }
    assert_eq!(system.item(ID).await["Rebuild"]["Id"], body(accepted[0])["data"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_get_one_answer() {
    let system = System::start().await;
    let answers = all_at_once(&system, &[("idempotency-key", "4711")]).await;

    let bodies: HashSet<_> =
        answers.iter().map(|answer| format!("{} {}", answer["statusCode"], body(answer))).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let replays = answers
        .iter()
        .filter(|answer| !answer["multiValueHeaders"]["idempotency-replayed"].is_null());
    assert_eq!(replays.count(), MANY - 1);
    let rebuild = system.item(ID).await["Rebuild"].clone();
    assert_eq!(
        (&rebuild["Id"], &answers[0]["statusCode"]),
        (&body(&answers[0])["data"]["id"], &json!(202))
    );
}
