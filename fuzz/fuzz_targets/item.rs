//! Any answer of DynamoDB, and any record of its stream. An item that cannot be read is left out, or
//! an internal error.

#![no_main]

use fuzz::aws::has_secret;
use fuzz::request::Request;
use fuzz::system::{Answer, System, with_system};
use libfuzzer_sys::{Corpus, fuzz_target};
use rebuild_workspaces::rebuild::{FleetMode, IdempotencyKey};
use serde_json::Value;

const KEY: &str = "ticket-4711";
/// What stands before the items of a batch.
const BATCH: &str = r#"{"Responses":{"workspaces.T0p-Secret":"#;

/// Requests; and which operation of DynamoDB gets the input as its answer, with which status.
const CASES: [(&str, &str, u16); 15] = [
    ("GET /workspaces/ws-available0001\n\n", "GetItem", 200),
    ("GET /workspaces/ws-available0001/rebuilds\n\n", "GetItem", 200),
    ("GET /workspaces/ws-available0001/rebuilds\n\n", "Query", 200),
    (
        "GET /workspaces/ws-available0001/rebuilds/01941f29-7c00-7000-8000-000000000002\n\n",
        "GetItem",
        200,
    ),
    ("GET /workspaces\n\n", "Scan", 200),
    ("GET /directories/d-906700a1b2/workspaces\n\n", "Query", 200),
    ("GET /directories/d-906700a1b2/workspaces\n\n", "BatchGetItem", 200),
    ("GET /rebuilds\n\n", "Query", 200),
    (
        "POST /\nx-amz-target: WorkspacesService.DescribeWorkspaces\n\n{\"WorkspaceIds\":[\"ws-available0001\"]}",
        "BatchGetItem",
        200,
    ),
    (
        "POST /service/WorkspacesService/operation/DescribeWorkspaces\nsmithy-protocol: rpc-v2-cbor\n\n",
        "Scan",
        200,
    ),
    (
        "POST /workspaces/ws-available0001/rebuilds\nidempotency-key: ticket-4711\n\n{\"Reason\":\"ticket 4711\"}",
        "UpdateItem",
        400,
    ),
    (
        "DELETE /workspaces/ws-available0001/rebuilds/01941f29-7c00-7000-8000-000000000002\n\n",
        "UpdateItem",
        400,
    ),
    ("PUT /workspaces/ws-available0001/protection\n\n", "UpdateItem", 400),
    ("DELETE /workspaces/ws-available0001/protection\n\n", "UpdateItem", 200),
    ("GET /rebuilds?ended_on=2025-01-01\n\n", "Query", 200),
];

// The first byte is a letter: a case, or `z` for the stream. The rest is the answer or the record.
fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((letter, body)) = bytes.split_first() else { return Corpus::Reject };
    if has_secret(body) {
        return Corpus::Reject;
    }
    let case = letter.checked_sub(b'a').and_then(|case| CASES.get(usize::from(case)));
    match case {
        Some((request, operation, status)) => with_system(|system| {
            let request = Request::parse(request.as_bytes()).expect("a request");
            let answer = match *operation {
                "BatchGetItem" => [BATCH.as_bytes(), body, b"}}"].concat(),
                _ => body.to_owned(),
            };
            system.aws.script(operation, *status, answer);
            let (answer, _) = system.invoke(request.event());
            if *operation == "UpdateItem" && *status == 400 {
                check_repeat(&answer, body);
            }
            Corpus::Keep
        }),
        None if *letter == b'z' => with_system(|system| announce(system, body)),
        None => Corpus::Reject,
    }
});

/// A rebuild that was not accepted now was accepted earlier, with the same key.
fn check_repeat(answer: &Answer, body: &[u8]) {
    if answer.status != 202 {
        return;
    }
    assert_eq!(answer.headers["idempotency-replayed"], "true");
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let item = &body["Item"];
    let key = IdempotencyKey::from_client(KEY).expect("a key").of_fleet(FleetMode::Simulated);
    let is_latest = item["Rebuild"]["M"]["IdempotencyKey"]["S"] == *key.to_string();
    assert!(is_latest || item["Keys"]["M"].get(key.hash()).is_some(), "{item}");
}

/// A record becomes one event, unless it is unreadable.
fn announce(system: &System, record: &[u8]) -> Corpus {
    let Ok(record) = std::str::from_utf8(record) else { return Corpus::Reject };
    let images = format!(r#"{{"SequenceNumber":"1","NewImage":{record}}}"#);
    let batch = format!(r#"{{"Records":[{{"eventName":"INSERT","dynamodb":{images}}}]}}"#);
    let Ok(batch) = serde_json::from_str(&batch) else { return Corpus::Reject };
    let answer = system.runtime.block_on(system.announcer.announce(batch));
    assert!(answer.batch_item_failures.is_empty());
    let seen = system.aws.seen();
    assert!(seen.len() <= 1);
    for seen in seen {
        let entries = seen.body["Entries"].as_array().expect("entries");
        assert_eq!(entries.len(), 1);
        let detail = entries[0]["Detail"].as_str().expect("a text");
        let detail: Value = serde_json::from_str(detail).expect("JSON");
        for name in ["id", "workspace_id", "status", "created_at", "ended_at"] {
            assert!(detail[name].is_string(), "{detail}");
        }
    }
    Corpus::Keep
}
