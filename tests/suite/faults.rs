//! DynamoDB fails, or its answers are lost: what the client is told, and what the table holds.
//!
//! An answer may say "nothing was changed" only if no attempt can have landed.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use lambda_runtime::tracing::subscriber::fmt;
use serde_json::{Value, json};

use crate::system::{Answer, Ask, System};
use crate::wire::Attempt::{
    self, Answered, Cut, Garbled, LandedWithError, Lost, LostForGood, Through, Unanswered,
};
use crate::wire::SECRET;

const ID: &str = "ws-available0001";

const THROTTLED: Attempt = Answered(400, "ThrottlingException");
const BROKEN: Attempt = Answered(500, "InternalServerError");
const DENIED: Attempt = Answered(400, "AccessDeniedException");

/// A failure, as each face reports it.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Busy,
    Unavailable,
    Unknown { has_key: bool },
    Internal,
}

impl Failure {
    fn message(self) -> &'static str {
        match self {
            Self::Busy => "the service is busy; nothing was changed; try again later",
            Self::Unavailable => "the service is unavailable; nothing was changed; try again later",
            Self::Unknown { has_key: true } => {
                "it is not known whether the rebuild was accepted; repeat the request with the same idempotency key"
            }
            Self::Unknown { has_key: false } => {
                "it is not known whether the rebuild was accepted; check the WorkSpace before you retry"
            }
            Self::Internal => "an internal error occurred",
        }
    }

    fn in_envelope(self) -> Answer {
        let failure = |status, code| Answer::failure(status, code, self.message());
        match self {
            Self::Busy | Self::Unavailable => {
                failure(503, "SERVICE_UNAVAILABLE").with("retry-after", "5")
            }
            Self::Unknown { .. } => failure(504, "OUTCOME_UNKNOWN"),
            Self::Internal => failure(500, "INTERNAL_ERROR"),
        }
    }

    /// Status, error name, body.
    fn in_aws_json(self) -> (u16, &'static str, Value) {
        let (status, name) = match self {
            Self::Busy => (400, "ThrottlingException"),
            Self::Unavailable => (503, "ServiceUnavailableException"),
            Self::Unknown { .. } | Self::Internal => (500, "InternalFailure"),
        };
        // The user of an SDK cannot repeat its invocation id.
        let message = match self {
            Self::Unknown { .. } => Self::Unknown { has_key: false }.message(),
            Self::Busy | Self::Unavailable | Self::Internal => self.message(),
        };
        (status, name, json!({ "__type": name, "message": message }))
    }
}

fn with_key(ask: Ask) -> Ask {
    ask.with("idempotency-key", "4711").with("amz-sdk-invocation-id", "4711")
}

async fn assert_failure(system: &System, has_key: bool, failure: Failure) {
    let mut asks = [Ask::rebuild(ID), Ask::aws_rebuild(ID)];
    if has_key {
        asks = asks.map(with_key);
    }
    let [envelope, aws_json] = asks;
    assert_eq!(system.send(&envelope).await, failure.in_envelope());

    let answer = system.send(&aws_json).await;
    let (status, name, body) = failure.in_aws_json();
    assert_eq!((answer.status, answer.json()), (status, body));
    assert_eq!(answer.header("x-amzn-errortype"), Some(name));
    assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
}

/// The first attempt fails and the second succeeds: one rebuild, one id, an ordinary answer.
#[tokio::test]
async fn a_retried_rebuild_is_accepted_once() {
    for first in [Lost, Cut, LandedWithError(500, "InternalServerError"), BROKEN, THROTTLED] {
        for ask in [Ask::rebuild(ID), with_key(Ask::rebuild(ID))] {
            let system = System::start().await;
            system.wire.script(&[first, Through]);
            let answer = system.send(&ask).await;
            assert_eq!(answer.status, 202, "{first:?}");
            assert_eq!(answer.header("idempotency-replayed"), None, "{first:?}");
            assert_eq!(system.item(ID).await["Rebuild"]["Id"], answer.id(), "{first:?}");

            let attempts = system.wire.seen();
            assert_eq!(attempts.len(), 2, "{first:?}");
            assert_eq!(attempts[0].input, attempts[1].input, "{first:?}");
        }
        let system = System::start().await;
        system.wire.script(&[first, Through]);
        let answer = system.send(&Ask::aws_rebuild(ID)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"FailedRequests":[]}"#));
    }
}

/// The retry finds an earlier rebuild, or no WorkSpace. That settles the outcome too.
#[tokio::test]
async fn a_retry_gets_the_answer_of_a_first_attempt() {
    let system = System::start().await;
    let key = Ask::rebuild(ID).with("idempotency-key", "4711");
    let first = system.send(&key).await.id();

    system.wire.script(&[Cut, Through]);
    let replayed = system.send(&key).await;
    assert_eq!((replayed.id(), replayed.header("idempotency-replayed")), (first, Some("true")));

    system.wire.script(&[Cut, Through]);
    assert_eq!(system.send(&Ask::rebuild(ID)).await.status, 409);
    system.wire.script(&[THROTTLED, Through]);
    assert_eq!(system.send(&Ask::rebuild("ws-nosuchone0001")).await.status, 404);
}

/// No later attempt shows whether the ambiguous one landed.
#[tokio::test]
async fn an_attempt_that_may_have_landed_leaves_the_outcome_unknown() {
    let not_found = Answered(400, "ConditionalCheckFailedException");
    for script in [
        &[Lost, THROTTLED][..],
        &[Lost, BROKEN],
        &[Lost, DENIED],
        &[Lost, Answered(400, "TransactionConflictException")],
        // A failed condition without an item: the WorkSpace is unknown, or another table answered.
        &[Lost, not_found],
        &[LostForGood],
        &[THROTTLED, LostForGood],
        &[LandedWithError(503, "ServiceUnavailable")],
        &[BROKEN],
        &[BROKEN, THROTTLED],
        &[Cut],
        &[Garbled],
    ] {
        for has_key in [false, true] {
            let system = System::start().await;
            system.wire.script(script);
            let ask = Ask::rebuild(ID);
            let ask = if has_key { with_key(ask) } else { ask };
            let answer = system.send(&ask).await;
            assert_eq!(answer, Failure::Unknown { has_key }.in_envelope(), "{script:?}");
        }
    }
    for has_key in [false, true] {
        let system = System::start().await;
        system.wire.script(&[BROKEN]);
        assert_failure(&system, has_key, Failure::Unknown { has_key }).await;
    }
}

/// The client follows the advice in the answer, whether the write landed or not.
#[tokio::test]
async fn repeating_the_key_settles_an_unknown_outcome() {
    for (script, is_replay) in [(&[Lost, THROTTLED], Some("true")), (&[Cut, THROTTLED], None)] {
        let system = System::start().await;
        system.wire.script(script);
        let ask = with_key(Ask::rebuild(ID));
        assert_eq!(system.send(&ask).await.status, 504);
        system.wire.script(&[Through]);
        let answer = system.send(&ask).await;
        assert_eq!(answer.header("idempotency-replayed"), is_replay);
        assert_eq!(system.item(ID).await["Rebuild"]["Id"], answer.id());
    }
}

/// An SDK repeats its call after an `InternalFailure`, with the same invocation id.
#[tokio::test]
async fn a_retry_by_the_sdk_settles_an_unknown_outcome() {
    let system = System::start().await;
    system.wire.script(&[Lost, THROTTLED]);
    let ask = with_key(Ask::aws_rebuild(ID));
    assert_eq!(system.send(&ask).await.status, 500);
    system.wire.script(&[Through]);
    assert_eq!(system.send(&ask).await.body, r#"{"FailedRequests":[]}"#);
    assert_eq!(system.item(ID).await["Rebuild"]["IdempotencyKey"], "sdk: 4711");
}

#[tokio::test]
async fn attempts_that_time_out_may_have_landed() {
    let system = System::start().await;
    system.wire.script(&[Unanswered]);
    assert_eq!(
        system.send(&Ask::rebuild(ID)).await,
        Failure::Unknown { has_key: false }.in_envelope()
    );
    assert_eq!(system.item(ID).await["State"], "REBUILDING");
}

/// The time for all attempts runs out during an attempt that is still within its own limit.
#[tokio::test]
async fn an_attempt_that_is_cut_short_may_have_landed() {
    for script in [&[Unanswered][..], &[THROTTLED, Unanswered]] {
        let limit = TimeoutConfig::builder().operation_timeout(Duration::from_secs(1)).build();
        let system = System::start_with(|dynamodb| dynamodb.timeout_config(limit)).await;
        system.wire.script(script);
        let answer = system.send(&Ask::rebuild(ID)).await;
        assert_eq!(answer, Failure::Unknown { has_key: false }.in_envelope(), "{script:?}");
        assert_eq!(system.item(ID).await["State"], "REBUILDING", "{script:?}");
    }
}

#[tokio::test]
async fn attempts_that_cannot_have_landed_changed_nothing() {
    let system = System::start().await;
    for error in [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    ] {
        system.wire.script(&[Answered(400, error)]);
        for has_key in [false, true] {
            assert_failure(&system, has_key, Failure::Busy).await;
        }
    }
    // The first request loses the connection that was open; later connections are refused.
    system.wire.close().await;
    system.send(&Ask::rebuild(ID)).await;
    for has_key in [false, true] {
        assert_failure(&system, has_key, Failure::Unavailable).await;
    }
    assert_eq!(system.item(ID).await["State"], "AVAILABLE");
}

#[tokio::test]
async fn errors_that_a_retry_cannot_fix_are_internal_errors() {
    let system = System::start().await;
    for error in
        ["AccessDeniedException", "ResourceNotFoundException", "ValidationException", "Surprise"]
    {
        system.wire.script(&[Answered(400, error)]);
        assert_failure(&system, false, Failure::Internal).await;
        assert_eq!(system.wire.operations(), ["UpdateItem"; 2], "one attempt for each face");
    }
}

/// A read changes nothing, so the client can simply repeat it.
#[tokio::test]
async fn a_failed_read_is_never_an_unknown_outcome() {
    let system =
        System::start_with(|dynamodb| dynamodb.retry_config(RetryConfig::disabled())).await;
    for (attempt, failure) in [
        (THROTTLED, Failure::Busy),
        (BROKEN, Failure::Unavailable),
        (Cut, Failure::Unavailable),
        (DENIED, Failure::Internal),
    ] {
        system.wire.script(&[attempt]);
        for path in ["", "/rebuilds", "/rebuilds/01941f29-7c00-7000-8000-000000000001"] {
            let answer = system.send(&Ask::get(&format!("/workspaces/{ID}{path}"))).await;
            assert_eq!(answer, failure.in_envelope(), "{attempt:?} {path}");
        }
        let answer = system.send(&Ask::aws("DescribeWorkspaces", "{}")).await;
        let (status, _, body) = failure.in_aws_json();
        assert_eq!((answer.status, answer.json()), (status, body), "{attempt:?}");
    }
}

/// Collects the log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_the_cause_and_no_secrets() {
    let system = System::start().await;
    let log = Log::default();
    let written = log.clone();
    let lines = fmt().json().flatten_event(true).with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(lines);

    system.wire.script(&[DENIED]);
    let body = r#"{"RebuildWorkspaceRequests":[{"WorkspaceId":"ws-available0001"}],"Reason":"the-reason"}"#;
    let answer = system.send(&Ask::post(body).with("idempotency-key", "the-key")).await;
    assert_eq!(answer, Failure::Internal.in_envelope());

    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    let line: Value = serde_json::from_str(&text).expect("one line");
    for (name, value) in [
        ("level", json!("ERROR")),
        ("message", json!("request")),
        ("operation", json!("RebuildWorkspaces")),
        ("workspace_id", json!(ID)),
        ("outcome", json!("failed")),
        ("code", json!("INTERNAL_ERROR")),
        ("status", json!(500)),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    let cause = line["cause"].as_str().expect("a cause");
    assert!(cause.contains("AccessDeniedException") && cause.contains(SECRET), "{cause}");
    for secret in ["the-key", "the-reason", "AWS4-HMAC"] {
        assert!(!text.contains(secret), "{text}");
    }
}
