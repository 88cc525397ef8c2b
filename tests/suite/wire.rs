//! A proxy between the API's own client and a real DynamoDB API. It records each request and
//! applies the faults that a test scripts.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::once;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::system::listen;

/// What the wire does with one attempt.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// It lands and gets its answer.
    Through,
    /// It lands; the connection is lost before the answer.
    Lost,
    /// It lands; the answer never comes.
    Unanswered,
    /// It lands; the connection is lost, and the port closes.
    LostForGood,
    /// The connection is lost before it lands.
    Cut,
    /// It doesn't land; the wire answers with this status and error name.
    Answered(u16, &'static str),
    /// A `BatchGetItem` lands; its answer has one item and lists the other keys as unprocessed.
    Partial,
    /// A `BatchGetItem` doesn't land; the answer lists all of its keys as unprocessed.
    Unprocessed,
    /// It lands; the wire replaces the answer with this status and error name.
    LandedWithError(u16, &'static str),
    /// It lands; the answer cannot be parsed.
    Garbled,
    /// It lands; the texts in the answer have a type that the client does not know.
    UnknownType,
    /// It lands; the connection is lost in the middle of the answer's body.
    Truncated,
    /// The connection is lost; it lands when the test calls [`Wire::land_held`].
    Held,
    /// It lands late, but within the time of an attempt.
    Slow,
}

/// Message of every error that the wire makes up. No answer of the API may repeat it.
pub const SECRET: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/workspaces";

/// A request that the wire received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: String,
    pub input: Value,
}

/// Carries the API's requests to DynamoDB, records them, and applies a script of faults.
#[derive(Clone)]
pub struct Wire {
    /// The endpoint for the API's client.
    pub url: String,
    script: Arc<Mutex<VecDeque<Attempt>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<Notify>,
    held: Arc<Mutex<Vec<Request>>>,
    random: Arc<Mutex<Option<TestRng>>>,
    faults: Arc<AtomicUsize>,
    accepting: Arc<Mutex<Option<JoinHandle<()>>>>,
    upstream: Uri,
    client: Client<HttpConnector, Body>,
}

impl Wire {
    /// Starts a wire in front of a DynamoDB.
    pub async fn start(upstream: &str) -> Self {
        let (listener, url) = listen().await;
        let wire = Self {
            url,
            script: Arc::default(),
            seen: Arc::default(),
            sent: Arc::default(),
            held: Arc::default(),
            random: Arc::default(),
            faults: Arc::default(),
            accepting: Arc::default(),
            upstream: upstream.parse().expect("a URL"),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let serving = wire.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let wire = serving.clone();
                connections.spawn(async move {
                    let answer = service_fn(|request| wire.answer(request));
                    // A connection that the script loses is an error here.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        *wire.accepting.lock().expect("no panic") = Some(accepting);
        wire
    }

    /// Sets what happens to the next attempts; the last entry applies to all later ones.
    pub fn script(&self, attempts: &[Attempt]) {
        *self.script.lock().expect("no panic") = attempts.iter().copied().collect();
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("no panic"))
    }

    /// The operations of the requests since the last call.
    pub fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }

    /// From now on, random faults hit one attempt in four, and held attempts land at random times.
    pub fn be_random(&self, seed: [u8; 32]) {
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        *self.random.lock().expect("no panic") = Some(random);
    }

    /// From now on, every attempt gets through.
    pub fn be_reliable(&self) {
        *self.random.lock().expect("no panic") = None;
    }

    /// How many attempts did not just get through.
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    /// Lets the held attempts land. Their answers go nowhere.
    pub async fn land_held(&self) {
        let held = std::mem::take(&mut *self.held.lock().expect("no panic"));
        for request in held {
            self.client.request(request).await.expect("an answer");
        }
    }

    /// Closes the port and all connections.
    pub async fn close(&self) {
        let accepting = self.accepting.lock().expect("no panic").take().expect("an open port");
        accepting.abort();
        let _ = accepting.await;
    }

    fn next(&self) -> Attempt {
        if let Some(random) = self.random.lock().expect("no panic").as_mut() {
            return match random.next_u32() % 48 {
                0 => Attempt::Lost,
                1 => Attempt::Cut,
                2 => Attempt::Answered(400, "ThrottlingException"),
                3 => Attempt::Answered(400, "TransactionConflictException"),
                4 => Attempt::Answered(500, "InternalServerError"),
                5 => Attempt::LandedWithError(500, "InternalServerError"),
                6 => Attempt::LandedWithError(503, "ServiceUnavailable"),
                7 => Attempt::Garbled,
                8 => Attempt::Truncated,
                9 | 10 => Attempt::Held,
                11 => Attempt::Slow,
                _ => Attempt::Through,
            };
        }
        let mut script = self.script.lock().expect("no panic");
        let next = script.front().copied().unwrap_or(Attempt::Through);
        if script.len() > 1 {
            script.pop_front();
        }
        next
    }

    /// Whether the held attempts land now: for a random wire, every few hundred attempts, so that
    /// what they were to change has moved on.
    fn lets_held_land(&self) -> bool {
        let mut random = self.random.lock().expect("no panic");
        random.as_mut().is_some_and(|random| random.next_u32().is_multiple_of(256))
    }

    /// Waits until the next request arrives; returns at once if one has arrived since the last wait.
    pub async fn next_request(&self) {
        self.sent.notified().await;
    }

    /// `Err` drops the connection.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Lost> {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|_| Lost)?;
        let target = head.headers["x-amz-target"].to_str().expect("ASCII");
        let input: Value = serde_json::from_slice(&body).expect("JSON");
        self.seen.lock().expect("no panic").push(Seen {
            operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
            input: input.clone(),
        });
        self.sent.notify_one();
        let mut request = Request::from_parts(head, Body::from(body));
        *request.uri_mut() = self.upstream.clone();
        let attempt = self.next();
        if !matches!(attempt, Attempt::Through) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if let Attempt::Held = attempt {
            self.held.lock().expect("no panic").push(request);
            return Err(Lost);
        }
        if self.lets_held_land() {
            self.land_held().await;
        }
        let land = async { self.client.request(request).await.expect("an answer").map(Body::new) };
        match attempt {
            Attempt::Through => Ok(land.await),
            Attempt::Slow => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(land.await)
            }
            Attempt::Lost => {
                land.await;
                Err(Lost)
            }
            Attempt::Unanswered => {
                land.await;
                std::future::pending().await
            }
            Attempt::LostForGood => {
                land.await;
                // Drops all connections, including this one.
                let accepting = self.accepting.lock().expect("no panic").take();
                accepting.expect("an open port").abort();
                std::future::pending().await
            }
            Attempt::Partial => {
                let body =
                    to_bytes(land.await.into_body(), usize::MAX).await.expect("a whole body");
                let answer = serde_json::from_slice(&body).expect("JSON");
                Ok(Response::new(Body::from(partial(&input, answer).to_string())))
            }
            Attempt::Unprocessed => {
                let answer = json!({ "Responses": {}, "UnprocessedKeys": input["RequestItems"] });
                Ok(Response::new(Body::from(answer.to_string())))
            }
            Attempt::Cut => Err(Lost),
            Attempt::Answered(status, name) => Ok(error(status, name)),
            Attempt::LandedWithError(status, name) => {
                land.await;
                Ok(error(status, name))
            }
            Attempt::Garbled => {
                land.await;
                Ok(Response::new(Body::from("}")))
            }
            Attempt::UnknownType => {
                let answer = land.await;
                let status = answer.status();
                let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a whole body");
                let body =
                    std::str::from_utf8(&body).expect("JSON").replace(r#""S":"#, r#""NEW":"#);
                Ok(Response::builder().status(status).body(Body::from(body)).expect("a response"))
            }
            Attempt::Truncated => {
                let answer = land.await;
                let begin = once(ready(Ok(Bytes::from_static(b"{"))));
                // The pause lets the head and the begin of the body out first.
                let end = once(async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(Lost)
                });
                let body = Body::from_stream(begin.chain(end));
                Ok(Response::builder().status(answer.status()).body(body).expect("a response"))
            }
            Attempt::Held => unreachable!("returned above"),
        }
    }
}

fn partial(input: &Value, mut answer: Value) -> Value {
    let mut rest = input["RequestItems"]["workspaces"].clone();
    let items = answer["Responses"]["workspaces"].as_array_mut().expect("items");
    items.truncate(1);
    let keys = rest["Keys"].as_array_mut().expect("keys");
    keys.retain(|key| key["WorkspaceId"] != items[0]["WorkspaceId"]);
    answer["UnprocessedKeys"] = json!({ "workspaces": rest });
    answer
}

fn error(status: u16, name: &str) -> Response {
    let body =
        json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": SECRET });
    Response::builder().status(status).body(Body::from(body.to_string())).expect("a response")
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is lost")]
struct Lost;
