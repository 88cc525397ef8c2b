//! DynamoDB and an event bus in this process, which answer at once. DynamoDB has the seed, and
//! WorkSpaces whose requests fail. It refuses what the real one would refuse, and keeps no changes, so
//! that every input meets the same items.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use rebuild_workspaces::store::ACCEPT;
use serde_json::{Value, json};

/// Stands in every name and in every message of DynamoDB. No answer may show it.
pub const SECRET: &str = "T0p-Secret";
pub const WORKSPACES: &str = "workspaces.T0p-Secret";
pub const REBUILDS: &str = "rebuilds.T0p-Secret";
/// Name of the table of what all hand-overs depend on; a secret too.
pub const CONTROL: &str = "control.T0p-Secret";

/// The rebuild of `ws-requested0001` and of `ws-cancelled0001`, and the only record.
pub const REBUILD_ID: &str = "01941f29-7c00-7000-8000-000000000002";

const REBUILDABLE: [&str; 5] = ["AVAILABLE", "ERROR", "UNHEALTHY", "STOPPED", "REBOOTING"];

/// Whether an input has the secret itself: an answer may repeat that.
#[must_use]
pub fn has_secret(input: &[u8]) -> bool {
    input.windows(SECRET.len()).any(|part| part.eq_ignore_ascii_case(SECRET.as_bytes()))
}

/// A request that was received.
#[derive(Debug)]
pub struct Seen {
    pub operation: String,
    pub body: Value,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A read, or a write that was made.
    Done,
    /// A write whose condition failed.
    Refused,
    /// Anything else than DynamoDB's usual answer.
    Faulty,
}

#[derive(Clone)]
pub struct Aws(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    items: BTreeMap<String, Value>,
    record: Value,
    seen: Vec<Seen>,
    script: Option<Script>,
}

/// The answer to a read, or to every attempt of a write.
struct Script {
    operation: &'static str,
    status: u16,
    body: Vec<u8>,
}

impl Aws {
    /// # Panics
    /// The seed or the sample event is broken.
    #[must_use]
    pub fn start() -> Self {
        let seed: Value = serde_json::from_str(include_str!("../../seed/workspaces.json")).unwrap();
        let event: Value = serde_json::from_str(include_str!("../../events/ended.json")).unwrap();
        let record = event["Records"][0]["dynamodb"]["NewImage"].clone();
        let seeded = seed["workspaces"].as_array().unwrap().iter();
        let seeded = seeded.map(|put| put["PutRequest"]["Item"].clone());
        let with_rebuild = |id: &str, status: &str| {
            let mut rebuild = record.clone();
            let members = rebuild.as_object_mut().unwrap();
            let rebuild_id = members.remove("RebuildId").unwrap();
            members.insert("Id".to_owned(), rebuild_id);
            members.insert("Status".to_owned(), json!({ "S": status }));
            json!({
                "WorkspaceId": { "S": id },
                "State": { "S": "REBUILDING" },
                "PreviousState": { "S": "AVAILABLE" },
                "DirectoryId": { "S": "d-906700a1b2" },
                "Rebuild": { "M": rebuild },
                "OpenRebuild": { "S": "REQUESTED" },
                "OpenSince": { "S": "2025-01-01T12:00:00Z" },
            })
        };
        let rebuilt = [
            with_rebuild("ws-requested0001", "REQUESTED"),
            with_rebuild("ws-cancelled0001", "CANCELLED"),
        ];
        let items = seeded.chain(rebuilt);
        let items = items.map(|item| (item["WorkspaceId"]["S"].as_str().unwrap().to_owned(), item));
        let state = State { items: items.collect(), record, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    #[must_use]
    pub fn client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        http_client_fn(move |_, _| connector.clone())
    }

    /// The requests since the last call.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let mut state = self.state();
        state.script = None;
        std::mem::take(&mut state.seen)
    }

    /// Sets the answer to the next read of this operation, or to every write.
    pub fn script(&self, operation: &'static str, status: u16, body: Vec<u8>) {
        self.state().script = Some(Script { operation, status, body });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

struct Connector(Aws);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().expect("a body in memory");
        let body = serde_json::from_slice(body).expect("JSON");
        let mut state = self.0.state();
        // Keys of a scripted answer may come back, so requests after it are not checked.
        if !state.seen.iter().any(|seen| seen.outcome == Outcome::Faulty) {
            check(&operation, &body);
        }
        let script = state.script.as_ref().filter(|script| script.operation == operation);
        let (outcome, answer) = match script {
            Some(Script { status, body, .. }) => (Outcome::Faulty, Some((*status, body.clone()))),
            None => state.answer(&operation, &body),
        };
        // A read may be continued from what the answer says, for ever. A write is only repeated.
        if operation != "UpdateItem" {
            state.script.take_if(|script| script.operation == operation);
        }
        state.seen.push(Seen { operation, body, outcome });
        drop(state);
        HttpConnectorFuture::ready(match answer {
            Some((status, answer)) => {
                let status = status.try_into().expect("a status");
                Ok(HttpResponse::new(status, SdkBody::from(answer)))
            }
            None => Err(ConnectorError::io(SECRET.into())),
        })
    }
}

/// The answer to a request; `None` is a lost connection.
type Answer = (Outcome, Option<(u16, Vec<u8>)>);

fn done(body: &Value) -> Answer {
    (Outcome::Done, Some((200, body.to_string().into_bytes())))
}

fn error(outcome: Outcome, status: u16, name: &str, item: Option<&Value>) -> Answer {
    let message = format!("User: {SECRET} is not authorized for table/{WORKSPACES}");
    let name = format!("com.amazonaws.dynamodb.v20120810#{name}");
    let mut body = json!({ "__type": name, "message": message });
    if let Some(item) = item {
        body["Item"] = item.clone();
    }
    (outcome, Some((status, body.to_string().into_bytes())))
}

impl State {
    fn answer(&self, operation: &str, body: &Value) -> Answer {
        let id = body["Key"]["WorkspaceId"]["S"].as_str().unwrap_or_default();
        match id {
            "ws-throttled0001" => {
                return error(Outcome::Faulty, 400, "ThrottlingException", None);
            }
            "ws-denied0001" => return error(Outcome::Faulty, 400, "AccessDeniedException", None),
            "ws-failing0001" => return error(Outcome::Faulty, 500, "InternalServerError", None),
            "ws-garbled0001" => return (Outcome::Faulty, Some((200, SECRET.into()))),
            "ws-lost0001" => return (Outcome::Faulty, None),
            _ => {}
        }
        match operation {
            "UpdateItem" => self.update(id, body),
            "GetItem" if body["TableName"] == REBUILDS => {
                let is_record = body["Key"]["RebuildId"]["S"] == REBUILD_ID;
                done(&if is_record { json!({ "Item": self.record }) } else { json!({}) })
            }
            "GetItem" => {
                done(&self.items.get(id).map_or_else(|| json!({}), |item| json!({ "Item": item })))
            }
            "BatchGetItem" => {
                let keys = body["RequestItems"][WORKSPACES]["Keys"].as_array().expect("keys");
                let ids = keys.iter().filter_map(|key| key["WorkspaceId"]["S"].as_str());
                let items: Vec<_> = ids.filter_map(|id| self.items.get(id)).collect();
                done(&json!({ "Responses": { WORKSPACES: items } }))
            }
            "Query" | "Scan" => done(&self.list(body)),
            "PutEvents" => {
                let entries = body["Entries"].as_array().expect("entries").iter();
                let taken: Vec<_> = entries.map(|_| json!({ "EventId": "1" })).collect();
                done(&json!({ "FailedEntryCount": 0, "Entries": taken }))
            }
            _ => panic!("{operation} is not expected"),
        }
    }

    /// The condition is not read: it says what the constants of the store say.
    fn update(&self, id: &str, body: &Value) -> Answer {
        let item = self.items.get(id);
        let values = &body["ExpressionAttributeValues"];
        let is_within = |item: &&Value| {
            values.get(":directory").is_none_or(|directory| *directory == item["DirectoryId"])
        };
        let is_allowed = |item: &&Value| {
            if body["UpdateExpression"] == ACCEPT {
                let state = item["State"]["S"].as_str().unwrap_or_default();
                let is_free = item.get("OpenRebuild").is_none() && item.get("Protection").is_none();
                REBUILDABLE.contains(&state) && is_free
            } else if values.get(":cancelled").is_some() {
                let rebuild = &item["Rebuild"]["M"];
                rebuild["Id"] == values[":id"] && rebuild["Status"] == values[":requested"]
            } else {
                true
            }
        };
        match item.filter(is_within).filter(is_allowed) {
            Some(_) if body.get("ReturnValues").is_none() => done(&json!({})),
            Some(item) => done(&json!({ "Attributes": item })),
            None => error(Outcome::Refused, 400, "ConditionalCheckFailedException", item),
        }
    }

    /// Two pages of a listing.
    fn list(&self, body: &Value) -> Value {
        let is_first = body.get("ExclusiveStartKey").is_none();
        let of = |id: &str| {
            let item = &self.items[id];
            let names = ["WorkspaceId", "DirectoryId", "UserName", "OpenSince", "OpenRebuild"];
            let keys = names.into_iter().filter_map(|name| Some((name, item.get(name)?)));
            keys.collect::<BTreeMap<_, _>>()
        };
        if body["TableName"] == REBUILDS {
            return json!({ "Items": [self.record] });
        }
        if body["IndexName"] == "OpenRebuilds" {
            return json!({ "Items": [of("ws-requested0001"), of("ws-cancelled0001")] });
        }
        if body.get("IndexName").is_some() {
            let keys = [of("ws-available0001"), of("ws-protected0001")];
            return if is_first {
                json!({ "Items": keys, "LastEvaluatedKey": keys[1] })
            } else {
                json!({ "Items": [keys[0]] })
            };
        }
        let items = [&self.items["ws-available0001"], &self.items["ws-requested0001"]];
        if is_first {
            json!({ "Items": items, "LastEvaluatedKey": { "WorkspaceId": { "S": "ws-available0001" } } })
        } else {
            json!({ "Items": items })
        }
    }
}

/// DynamoDB refuses what fails here.
fn check(operation: &str, body: &Value) {
    let keys: Vec<_> = if operation == "BatchGetItem" {
        let keys = body["RequestItems"][WORKSPACES]["Keys"].as_array().expect("keys");
        assert!((1..=100).contains(&keys.len()));
        keys.iter().collect()
    } else {
        body.get("Key").into_iter().chain(body.get("ExclusiveStartKey")).collect()
    };
    let ids: BTreeSet<_> = keys.iter().map(|key| key["WorkspaceId"]["S"].as_str()).collect();
    assert_eq!(ids.len(), keys.len(), "{body}");
    for id in ids {
        assert!(id.is_some_and(is_workspace_id), "{body}");
    }
    for value in keys.iter().flat_map(|key| key.as_object().expect("a key").values()) {
        assert!(value["S"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    }
    if let Some(limit) = body.get("Limit") {
        assert!(limit.as_u64().is_some_and(|limit| limit > 0), "{body}");
    }
    // A start key has the key of the index, and is within what is asked for.
    if let Some(start) = body.get("ExclusiveStartKey")
        && let Some(hash) = body["ExpressionAttributeNames"]["#hash"].as_str()
    {
        let values = &body["ExpressionAttributeValues"];
        assert_eq!(start[hash], values[":hash"]);
        if let Some(range) = values.get(":range") {
            assert_eq!(start["UserName"], *range);
        }
    }
    // Every placeholder is declared, and every declared one is used.
    let expressions = ["UpdateExpression", "ConditionExpression", "KeyConditionExpression"];
    let text = expressions.map(|name| body[name].as_str().unwrap_or_default()).join(" ");
    let words = text.split(|letter: char| !letter.is_alphanumeric() && !"#:_".contains(letter));
    let used: BTreeSet<_> = words.filter(|word| word.starts_with(['#', ':'])).collect();
    let declared = ["ExpressionAttributeNames", "ExpressionAttributeValues"];
    let declared = declared.iter().filter_map(|name| body[name].as_object());
    let declared: BTreeSet<_> =
        declared.flat_map(|names| names.keys()).map(String::as_str).collect();
    assert_eq!(used, declared);
}

#[must_use]
pub fn is_workspace_id(id: &str) -> bool {
    id.strip_prefix("ws-").is_some_and(|tail| {
        let is_allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        (8..=63).contains(&tail.len()) && tail.bytes().all(is_allowed)
    })
}
