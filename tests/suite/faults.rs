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
    self, Answered, Cut, Garbled, Held, LandedWithError, Lost, LostForGood, Through, Truncated,
    Unanswered, UnknownType, Unprocessed,
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
                "it is not known whether the rebuild was accepted; it can appear at this answer's location for up to 15 minutes; look there before you retry"
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
        let message = match self {
            // The user of an SDK cannot repeat its invocation id, and sees no location.
            Self::Unknown { .. } => {
                "it is not known whether the rebuild was accepted; check the WorkSpace before you retry"
            }
            Self::Busy | Self::Unavailable | Self::Internal => self.message(),
        };
        (status, name, json!({ "__type": name, "message": message }))
    }
}

fn with_key(ask: Ask) -> Ask {
    ask.with("idempotency-key", "4711").with("amz-sdk-invocation-id", "4711")
}

/// Checks the envelope of a failure. The location of an unknown outcome may be any rebuild's.
fn assert_envelope(mut answer: Answer, failure: Failure, context: &str) {
    let location = answer.headers.remove("location");
    assert_eq!(answer, failure.in_envelope(), "{context}");
    let prefix = format!("/workspaces/{ID}/rebuilds/");
    match failure {
        Failure::Unknown { .. } => {
            let id = location.as_deref().and_then(|location| location.strip_prefix(&prefix));
            assert_eq!(id.map(str::len), Some(36), "{context}: {location:?}");
        }
        Failure::Busy | Failure::Unavailable | Failure::Internal => assert_eq!(location, None),
    }
}

async fn assert_failure(system: &System, has_key: bool, failure: Failure) {
    let mut asks = [Ask::rebuild(ID), Ask::aws_rebuild(ID)];
    if has_key {
        asks = asks.map(with_key);
    }
    let [envelope, aws_json] = asks;
    assert_envelope(system.send(&envelope).await, failure, "");

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
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, r#"{"FailedRequests":[]}"#);
    }
}

/// The retry finds the first rebuild with its key. That settles the outcome too.
#[tokio::test]
async fn a_retry_with_a_known_key_gets_the_first_answer() {
    let system = System::start().await;
    let key = Ask::rebuild(ID).with("idempotency-key", "4711");
    let first = system.send(&key).await.id();

    system.wire.script(&[Cut, Through]);
    let replayed = system.send(&key).await;
    assert_eq!((replayed.id(), replayed.header("idempotency-replayed")), (first, Some("true")));

    system.wire.script(&[THROTTLED, Through]);
    assert_eq!(system.send(&Ask::rebuild(ID)).await.status, 409);
    system.wire.script(&[THROTTLED, Through]);
    assert_eq!(system.send(&Ask::rebuild("ws-nosuchone0001")).await.status, 404);
}

/// The retry is refused, but the first attempt is still on its way, and the state that refused the
/// retry may be gone when it lands.
#[tokio::test]
async fn a_refusal_after_an_ambiguous_attempt_leaves_the_outcome_unknown() {
    let system = System::start().await;
    let other = json!({ "WorkspaceId": ID, "State": "UPDATING" });
    for has_key in [false, true] {
        system.put("workspaces", other.clone()).await;
        system.wire.script(&[Held, Through]);
        let ask = if has_key { with_key(Ask::rebuild(ID)) } else { Ask::rebuild(ID) };
        let answer = system.send(&ask).await;
        let location = answer.header("location").expect("a location").to_owned();
        assert_envelope(answer, Failure::Unknown { has_key }, "");
        assert_eq!(system.send(&Ask::get(&location)).await.status, 404, "nothing has landed");

        system.put("workspaces", json!({ "WorkspaceId": ID, "State": "AVAILABLE" })).await;
        system.wire.land_held().await;
        assert_eq!(system.send(&Ask::get(&location)).await.data()["status"], "REQUESTED");
    }
    system.put("workspaces", other).await;
    system.wire.script(&[Held, Through]);
    let answer = system.send(&Ask::aws_rebuild(ID)).await;
    let (status, _, body) = Failure::Unknown { has_key: false }.in_aws_json();
    assert_eq!((answer.status, answer.json()), (status, body));
}

/// An attempt of the first request is still on its way when the second request's rebuild begins and
/// ends. Landing then would wipe the WorkSpace a third time.
#[tokio::test]
async fn a_late_attempt_does_not_land_after_another_rebuild() {
    for (first, status) in [(Ask::rebuild(ID), 504), (Ask::aws_rebuild(ID), 500)] {
        let system = System::start().await;
        system.wire.script(&[Held, THROTTLED]);
        assert_eq!(system.send(&first).await.status, status);
        system.wire.script(&[Through]);
        let second = system.send(&Ask::rebuild(ID)).await.id();
        system.end_rebuild().await;
        let before = system.item(ID).await;
        assert_eq!(
            (&before["State"], &before["Rebuild"]["Id"]),
            (&json!("AVAILABLE"), &json!(second))
        );

        system.wire.land_held().await;

        assert_eq!(system.item(ID).await, before);
        let history = system.send(&Ask::get(&format!("/workspaces/{ID}/rebuilds"))).await.data();
        assert_eq!(history["rebuilds"].as_array().map(Vec::len), Some(1), "{history}");
    }
}

/// The clock of this environment is behind that of the environment that accepted the last rebuild.
#[tokio::test]
async fn a_rebuild_with_an_older_id_than_the_last_one_is_refused() {
    let system = System::start().await;
    for ask in [Ask::rebuild(ID), with_key(Ask::rebuild(ID))] {
        let rebuild = json!({
            "Id": "ffffffff-ffff-7fff-bfff-ffffffffffff",
            "CreatedAt": "2025-01-01T00:00:00Z",
            "EndedAt": "2025-01-01T00:00:00Z",
            "Status": "SUCCEEDED",
            "IdempotencyKey": "another",
            "FleetMode": "Simulated",
            "Attempt": 0,
        });
        let item = json!({ "WorkspaceId": ID, "State": "AVAILABLE", "Rebuild": rebuild });
        system.put("workspaces", item.clone()).await;
        assert_envelope(system.send(&ask).await, Failure::Busy, "");
        assert_eq!(system.item(ID).await, item);
    }
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
        &[Truncated],
        &[Truncated, THROTTLED],
    ] {
        for has_key in [false, true] {
            let system = System::start().await;
            system.wire.script(script);
            let ask = Ask::rebuild(ID);
            let ask = if has_key { with_key(ask) } else { ask };
            let answer = system.send(&ask).await;
            assert_envelope(answer, Failure::Unknown { has_key }, &format!("{script:?}"));
        }
    }
    for has_key in [false, true] {
        let system = System::start().await;
        system.wire.script(&[BROKEN]);
        assert_failure(&system, has_key, Failure::Unknown { has_key }).await;
    }
}

/// serde_dynamo panics at such a value.
#[tokio::test]
async fn an_item_with_a_value_of_an_unknown_type_cannot_be_read() {
    let system = System::start().await;
    system.wire.script(&[UnknownType]);
    let answer = system.send(&Ask::get(&format!("/workspaces/{ID}"))).await;
    assert_envelope(answer, Failure::Internal, "read");
    let page = system.send(&Ask::get("/workspaces")).await;
    assert_eq!(page.data(), json!({ "workspaces": [] }));
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

/// The requests that change something beside a rebuild: cancel it, protect its WorkSpace, end the
/// protection, and pause hand-overs. Each with its message if the outcome is unknown.
async fn changes(system: &System) -> [(Ask, &'static str); 4] {
    let location = system.send(&Ask::rebuild(ID)).await;
    let location = location.header("location").expect("a location").to_owned();
    let protection = format!("/workspaces/{ID}/protection");
    let protection_message =
        "it is not known whether the protection was changed; repeat the request";
    [
        (
            Ask::new("DELETE", &location),
            "it is not known whether the rebuild was cancelled; repeat the request",
        ),
        (Ask::new("PUT", &protection), protection_message),
        (Ask::new("DELETE", &protection), protection_message),
        (
            Ask::new("PUT", "/pause"),
            "it is not known whether the pause was changed; repeat the request",
        ),
    ]
}

#[tokio::test]
async fn repeating_a_change_settles_its_unknown_outcome() {
    let scripts =
        [&[Lost, THROTTLED][..], &[Lost, UnknownType], &[Cut, THROTTLED], &[BROKEN], &[Garbled]];
    for script in scripts {
        let system = System::start().await;
        for (ask, message) in changes(&system).await {
            system.wire.script(script);
            let unknown = Answer::failure(504, "OUTCOME_UNKNOWN", message);
            assert_eq!(system.send(&ask).await, unknown, "{script:?}, {message}");
            system.wire.script(&[Through]);
            assert_eq!(system.send(&ask).await.status, 200, "{script:?}, {message}");
        }
    }
}

#[tokio::test]
async fn a_retried_change_is_made_once() {
    for first in [Lost, Cut, BROKEN, THROTTLED] {
        let system = System::start().await;
        for (ask, message) in changes(&system).await {
            system.wire.seen();
            system.wire.script(&[first, Through]);
            assert_eq!(system.send(&ask).await.status, 200, "{first:?}, {message}");
            let attempts = system.wire.seen();
            assert_eq!(attempts.len(), 2, "{first:?}");
            assert_eq!(attempts[0].input, attempts[1].input, "{first:?}");
        }
    }
}

#[tokio::test]
async fn a_change_that_failed_changed_nothing() {
    let system = System::start().await;
    let changes = changes(&system).await;
    let before = system.item(ID).await;
    for (attempt, failure) in [(THROTTLED, Failure::Busy), (DENIED, Failure::Internal)] {
        for (ask, message) in &changes {
            system.wire.script(&[attempt]);
            assert_eq!(system.send(ask).await, failure.in_envelope(), "{attempt:?}, {message}");
        }
    }
    system.wire.script(&[Through]);
    assert_eq!(system.item(ID).await, before);
}

/// The first attempt to cancel is still on its way when the second one finds the rebuild claimed. It
/// would land if the claim were taken back.
#[tokio::test]
async fn a_late_cancellation_is_an_unknown_outcome() {
    let system = System::start().await;
    let [(cancel, message), ..] = changes(&system).await;
    let requested = system.item(ID).await;
    let mut claimed = requested.clone();
    claimed["Rebuild"]["ClaimId"] = json!("11111111-1111-4111-8111-111111111111");
    claimed["Rebuild"]["ClaimedAt"] = json!("2025-01-01T00:00:00Z");
    system.put("workspaces", claimed).await;
    system.wire.script(&[Held, Through]);
    let unknown = Answer::failure(504, "OUTCOME_UNKNOWN", message);
    assert_eq!(system.send(&cancel).await, unknown);

    system.put("workspaces", requested).await;
    system.wire.land_held().await;
    assert_eq!(system.item(ID).await["Rebuild"]["Status"], "CANCELLED");
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
    assert_eq!(system.item(ID).await["Rebuild"]["IdempotencyKey"], "simulated: sdk: 4711");
}

#[tokio::test]
async fn attempts_that_time_out_may_have_landed() {
    let system = System::start().await;
    system.wire.script(&[Unanswered]);
    let answer = system.send(&Ask::rebuild(ID)).await;
    assert_envelope(answer, Failure::Unknown { has_key: false }, "");
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
        assert_envelope(answer, Failure::Unknown { has_key: false }, &format!("{script:?}"));
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
        (Truncated, Failure::Unavailable),
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

/// DynamoDB answers, but reads none of the keys. It is asked again, less and less often.
#[tokio::test]
async fn a_listing_waits_for_unprocessed_keys_and_gives_up() {
    let system = System::start().await;
    let ask = Ask::aws("DescribeWorkspaces", format!(r#"{{"WorkspaceIds":["{ID}"]}}"#));
    system.wire.script(&[Unprocessed, Unprocessed, Through]);
    let page = system.send(&ask).await.json();
    assert_eq!(page["Workspaces"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(system.wire.operations(), ["BatchGetItem"; 3]);

    system.wire.script(&[Unprocessed]);
    let answer = tokio::time::timeout(Duration::from_secs(10), system.send(&ask)).await;
    let (status, _, body) = Failure::Busy.in_aws_json();
    let answer = answer.expect("an end");
    assert_eq!((answer.status, answer.json()), (status, body));
    assert_eq!(system.wire.operations(), ["BatchGetItem"; 10]);
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
