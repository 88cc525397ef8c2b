//! The clients of one WorkSpace: what they send, and what they are told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use serde_json::{Value, json};

use super::model::{Operation, Refusal, Request, Said};
use crate::aws_cbor;
use crate::lambda::{epoch, event};
use crate::system::{Answer, Ask, System};

/// The formats in which a rebuild can be requested. An event is sent late and again, as Lambda may
/// deliver it.
#[derive(Clone, Copy, PartialEq)]
enum Face {
    Envelope,
    AwsJson,
    AwsCbor,
    Event,
}

const REASONS: [Option<&str>; 3] = [None, Some("first"), Some("second")];

/// A WorkSpace, and what its clients have learnt.
pub struct Clients {
    pub system: System,
    pub workspace_id: String,
    clock: AtomicU64,
    ids: Mutex<Vec<String>>,
    operations: Mutex<Vec<Operation>>,
    /// Events that are delivered several times.
    events: [Value; 2],
}

fn one_of<T: Copy>(random: &mut TestRng, choices: &[T]) -> T {
    choices[random.next_u32() as usize % choices.len()]
}

impl Clients {
    pub fn new(system: &System, workspace_id: String) -> Self {
        let path = format!("/workspaces/{workspace_id}/rebuilds");
        Self {
            system: system.clone(),
            workspace_id,
            clock: AtomicU64::new(1),
            ids: Mutex::default(),
            operations: Mutex::default(),
            // The API has got them now, and they arrive in the function at any time later.
            events: [(); 2].map(|()| {
                let mut event = event("POST", &path, &[], b"");
                event["requestContext"]["requestTimeEpoch"] = epoch(0);
                event
            }),
        }
    }

    /// The operations until now.
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.operations.lock().expect("no panic"))
    }

    /// Sends a random request, or runs a pass of the reconciler.
    pub async fn act(&self, client: usize, random: &mut TestRng) {
        let id = {
            let ids = self.ids.lock().expect("no panic");
            // Mostly a late one.
            let back = random.next_u32().trailing_zeros() as usize;
            ids.len().checked_sub(1 + back).map(|place| ids[place].clone())
        };
        match (random.next_u32() % 25, id) {
            (0..3, _) => {
                // A pass that DynamoDB fails is part of it.
                let _ = self.system.pass().await;
            }
            (3..5, Some(id)) => self.ask(client, Request::Cancel(id)).await,
            (5, _) => self.ask(client, Request::Protect(random.next_u32().to_string())).await,
            (6..8, _) => self.ask(client, Request::Unprotect).await,
            (8..11, _) => self.ask(client, Request::ReadWorkspace).await,
            (11..14, Some(id)) => self.ask(client, Request::ReadRebuild(id)).await,
            _ => {
                let face = one_of(random, &[Face::Envelope, Face::AwsJson, Face::AwsCbor]);
                let own = format!("own-{}", random.next_u64());
                match random.next_u32() % 8 {
                    0..2 => self.rebuild(client, face, None, one_of(random, &REASONS)).await,
                    2..4 => self.rebuild(client, face, Some(&own), REASONS[0]).await,
                    4 => self.rebuild(client, Face::Event, Some("0"), None).await,
                    5 => self.rebuild(client, Face::Event, Some("1"), None).await,
                    _ => {
                        let key = one_of(random, &["a", "b"]);
                        self.rebuild(client, face, Some(key), one_of(random, &REASONS)).await;
                    }
                }
            }
        }
    }

    /// Repeats the requests with shared keys, and reads everything.
    pub async fn repeat_and_read(&self, client: usize) {
        self.ask(client, Request::Unprotect).await;
        for (face, key) in [
            (Face::Envelope, "a"),
            (Face::Envelope, "b"),
            (Face::AwsJson, "a"),
            (Face::AwsCbor, "b"),
            (Face::Event, "0"),
            (Face::Event, "1"),
        ] {
            self.rebuild(client, face, Some(key), None).await;
        }
        self.read(client).await;
    }

    pub async fn read(&self, client: usize) {
        self.ask(client, Request::ReadWorkspace).await;
        self.ask(client, Request::ReadHistory).await;
    }

    async fn ask(&self, client: usize, request: Request) {
        let workspace = format!("/workspaces/{}", self.workspace_id);
        let protection = format!("{workspace}/protection");
        let ask = match &request {
            Request::Cancel(id) => Ask::new("DELETE", &format!("{workspace}/rebuilds/{id}")),
            Request::Protect(reason) => Ask::json("PUT", &protection, &json!({ "Reason": reason })),
            Request::Unprotect => Ask::new("DELETE", &protection),
            Request::ReadWorkspace => Ask::get(&workspace),
            Request::ReadRebuild(id) => Ask::get(&format!("{workspace}/rebuilds/{id}")),
            Request::ReadHistory => Ask::get(&format!("{workspace}/rebuilds?limit=100")),
            Request::Rebuild { .. } => unreachable!("it has faces"),
        };
        let sent = self.now();
        let answer = self.system.send(&ask).await;
        self.note(client, sent, request, &answer);
    }

    async fn rebuild(
        &self,
        client: usize,
        face: Face,
        key: Option<&str>,
        reason: Option<&'static str>,
    ) {
        // An AWS client gives no reason.
        let reason = reason.filter(|_| face == Face::Envelope);
        let id = &self.workspace_id;
        let ask = match face {
            Face::AwsJson => Ask::aws_rebuild(id),
            Face::AwsCbor => aws_cbor::rebuild(id),
            Face::Envelope | Face::Event => {
                let path = format!("/workspaces/{id}/rebuilds");
                Ask::json("POST", &path, &json!({ "Reason": reason }))
            }
        };
        let sent = self.now();
        let prefix = match face {
            Face::Envelope => "",
            Face::AwsJson | Face::AwsCbor => "sdk: ",
            Face::Event => "request: ",
        };
        let name = match key {
            Some(key) => format!("{prefix}{key}"),
            None => format!("request: of {client} at {sent}"),
        };
        let ask = match key {
            Some(key) if face == Face::Envelope => ask.with("idempotency-key", key),
            Some(key) => ask.with("amz-sdk-invocation-id", key),
            None => ask,
        };
        let answer = match (face, key) {
            (Face::Event, Some(key)) => {
                let number: usize = key.parse().expect("a number");
                to_answer(&self.system.invoke(&self.events[number]).await)
            }
            _ => self.system.send(&ask).await,
        };
        self.note(client, sent, Request::Rebuild { key: name, reason }, &answer);
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes an answer, unless it says that nothing was changed.
    fn note(&self, client: usize, sent: u64, request: Request, answer: &Answer) {
        let answered = self.now();
        let said = match (said(answer), &request) {
            (Some(Said::Wrong(_)), Request::ReadWorkspace | Request::ReadRebuild(_))
                if answer.status == 500 =>
            {
                return;
            }
            // The record of the rebuild was not read.
            (Some(Said::Wrong(_)), Request::Cancel(_)) if answer.status == 500 => Said::Unknown,
            (Some(said), _) => said,
            (None, _) => return,
        };
        let (learnt, id) = match (&request, &said) {
            (Request::Rebuild { .. }, Said::Accepted { id: Some(id), is_replay }) => {
                (Some(id.clone()), Some(id.clone()).filter(|_| *is_replay == Some(false)))
            }
            (Request::ReadWorkspace, Said::Shown(shown)) => {
                (shown["rebuild"]["id"].as_str().map(str::to_owned), None)
            }
            (Request::Rebuild { .. }, Said::Unknown | Said::Accepted { .. }) => {
                let location = answer.header("location").and_then(|path| path.rsplit('/').next());
                let request_id = || Some(format!("request {}", answer.header("x-amzn-requestid")?));
                (location.map(str::to_owned), location.map(str::to_owned).or_else(request_id))
            }
            _ => (None, None),
        };
        self.ids.lock().expect("no panic").extend(learnt);
        let operation = Operation { client, sent, answered, request, said, id };
        self.operations.lock().expect("no panic").push(operation);
    }
}

/// A Lambda response as an answer.
fn to_answer(response: &Value) -> Answer {
    let status = response["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    let headers = response["multiValueHeaders"].as_object().expect("headers").iter();
    let headers = headers
        .map(|(name, values)| (name.clone(), values[0].as_str().expect("a text").to_owned()));
    let body = response["body"].as_str().expect("a text").to_owned();
    Answer { status: status.expect("a status"), headers: headers.collect(), body: body.into() }
}

/// What an answer says; `None` if nothing was changed.
fn said(answer: &Answer) -> Option<Said> {
    let is_envelope = answer.header("content-type") == Some("application/json");
    let body = match answer.header("content-type") {
        Some("application/cbor") => aws_cbor::body_of(answer),
        _ => answer.json(),
    };
    let (code, message) = if is_envelope {
        (&body["error"]["code"], &body["error"]["message"])
    } else if answer.status == 200 {
        let refused = &body["FailedRequests"][0];
        (&refused["ErrorCode"], &refused["ErrorMessage"])
    } else {
        (&body["__type"], &body["message"])
    };
    let message = message.as_str().unwrap_or_default();
    let state = if message.contains("is being recorded") {
        Refusal::NotReleased
    } else {
        Refusal::InvalidState
    };
    Some(match (answer.status, code.as_str().unwrap_or_default()) {
        (503, _)
        | (400, "ThrottlingException" | "com.amazonaws.workspaces#ThrottlingException") => {
            return None;
        }
        (202, "") => Said::Accepted {
            id: Some(answer.id()),
            is_replay: Some(answer.header("idempotency-replayed") == Some("true")),
        },
        (200, "") if is_envelope => Said::Shown(essential(answer.data())),
        (200, "") => Said::Accepted { id: None, is_replay: None },
        (504, "OUTCOME_UNKNOWN") => Said::Unknown,
        (500, _) if message.contains("not known whether the rebuild was accepted") => Said::Unknown,
        (409, "WORKSPACE_PROTECTED") | (200, "OperationNotSupported.Workspace") => {
            Said::Refused(Refusal::Protected)
        }
        (409, "INVALID_WORKSPACE_STATE") | (200, "InvalidResourceState.Workspace") => {
            Said::Refused(state)
        }
        (409, "REBUILD_NOT_CANCELLABLE") => Said::Refused(Refusal::NotCancellable),
        (404, "REBUILD_NOT_FOUND") => Said::Refused(Refusal::NotFound),
        (422, "IDEMPOTENCY_KEY_REUSED") => Said::Refused(Refusal::KeyReused),
        (status, code) => Said::Wrong(format!("{status} {code} {message}")),
    })
}

/// The members that the model knows.
fn essential(shown: Value) -> Value {
    const KNOWN: [&str; 8] =
        ["id", "status", "state", "rebuildable", "protection", "reason", "rebuild", "rebuilds"];
    match shown {
        Value::Object(members) => {
            let known = members.into_iter().filter(|(name, _)| KNOWN.contains(&name.as_str()));
            known.map(|(name, value)| (name, essential(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(essential).collect(),
        other => other,
    }
}
