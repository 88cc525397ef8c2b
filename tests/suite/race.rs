//! Many requests at once, for one WorkSpace.

use std::collections::HashSet;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use tokio::task::JoinSet;

use crate::system::{Answer, Ask, System};

const MANY: usize = 200;

/// A system whose DynamoDB may take its time: how long so many requests take on a slow machine
/// says nothing about who wins.
async fn patient_system() -> System {
    System::start_with(|dynamodb| dynamodb.timeout_config(TimeoutConfig::disabled())).await
}

/// Sends the same request that many times at once.
async fn all_at_once(system: &System, ask: &Ask) -> Vec<Answer> {
    let requests = (0..MANY).map(|_| {
        let (system, ask) = (system.clone(), ask.clone());
        async move { system.send(&ask).await }
    });
    requests.collect::<JoinSet<_>>().join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_requests_is_accepted() {
    let system = patient_system().await;
    let answers = all_at_once(&system, &Ask::rebuild("ws-available0001")).await;

    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 202);
    assert_eq!(accepted.len(), 1);
    assert_eq!(refused.len(), MANY - 1);
    for answer in refused {
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (409, Some("INVALID_WORKSPACE_STATE"))
        );
    }
    assert_eq!(system.item("ws-available0001").await["Rebuild"]["Id"], accepted[0].id());
    assert_eq!(system.wire.operations().len(), MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_with_one_key_are_one_request() {
    let system = patient_system().await;
    let ask = Ask::rebuild("ws-available0001").with("idempotency-key", "4711");
    let answers = all_at_once(&system, &ask).await;

    let bodies: HashSet<_> = answers.iter().map(|answer| (answer.status, &answer.body)).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let replays =
        answers.iter().filter(|answer| answer.header("idempotency-replayed") == Some("true"));
    assert_eq!(replays.count(), MANY - 1);
    assert_eq!(system.item("ws-available0001").await["Rebuild"]["Id"], answers[0].id());
    assert_eq!(system.wire.operations().len(), MANY);
}
