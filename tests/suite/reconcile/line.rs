//! The way of a pass's calls to DynamoDB and the fleet: each can fail, lose its answer, end the
//! process, or wait for its turn.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;

use super::chance::Chance;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails without an effect, and so do the retries of the SDK.
    NotDone,
    /// It has its effect; the answer is lost.
    AnswerLost,
    /// It has its effect, the answer is lost, and the SDK's second attempt is answered. The SDK
    /// does not retry a hand-over.
    AnswerLostAndRetried,
    /// It has its effect, and the process waits for its turn, or for time to pass, before it sees the answer.
    AnswerLate,
    /// It fails, and has its effect once the test lets it land.
    LandsLate,
    /// The process dies before it makes the call.
    Died,
}

impl Fault {
    /// The faults that a call can meet. (A retry matters only to a write: a second read changes
    /// nothing.)
    pub fn of(call: &str) -> &'static [Self] {
        match call {
            "write item" | "write record" | "write control" => &[
                Self::NotDone,
                Self::AnswerLost,
                Self::AnswerLostAndRetried,
                Self::AnswerLate,
                Self::LandsLate,
                Self::Died,
            ],
            _ => &[Self::NotDone, Self::AnswerLost, Self::Died],
        }
    }
}

/// Carries the calls of a pass: counts and names them, makes some fail, and lets passes take turns.
#[derive(Debug, Default)]
pub struct Line {
    state: Mutex<LineState>,
}

#[derive(Debug, Default)]
struct LineState {
    calls: Vec<&'static str>,
    fault: Option<(usize, Fault)>,
    /// Makes calls fail.
    chance: Option<Chance>,
    /// Lets others go first.
    pace: Option<Chance>,
    faults: usize,
    turn: Option<Turn>,
    waker: Option<Waker>,
    has_died: bool,
    /// Makes time pass before a late answer.
    delay: Option<Delay>,
    /// Requests that have yet to land: operations and bodies.
    on_their_way: Vec<(String, Vec<u8>)>,
    /// The last call fails, and lands later.
    lands_late: bool,
}

struct Delay(Box<dyn FnMut() + Send>);

impl std::fmt::Debug for Delay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Delay")
    }
}

/// Whether a call that waits may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Waits(&'static str),
    MayGo,
    Running,
}

impl Line {
    fn with<T>(&self, act: impl FnOnce(&mut LineState) -> T) -> T {
        act(&mut self.state.lock().expect("unpoisoned"))
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.with(|line| *line = LineState::default());
    }

    /// Makes the call with this number fail.
    pub fn fail(&self, fault: Option<(usize, Fault)>) {
        self.with(|line| line.fault = fault);
    }

    /// Makes calls fail, and lets others go first, by chance.
    pub fn be_random(&self, mut chance: Chance) {
        self.be_slow(chance.fork());
        self.with(|line| line.chance = Some(chance));
    }

    /// Lets others go first, by chance.
    pub fn be_slow(&self, pace: Chance) {
        self.with(|line| line.pace = Some(pace));
    }

    /// Makes time pass before each late answer.
    pub fn delay(&self, pass_time: impl FnMut() + Send + 'static) {
        self.with(|line| line.delay = Some(Delay(Box::new(pass_time))));
    }

    /// The requests that have yet to land.
    pub fn take_on_their_way(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|line| std::mem::take(&mut line.on_their_way))
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.with(|line| line.calls.clone())
    }

    /// How many calls failed by chance.
    pub fn faults(&self) -> usize {
        self.with(|line| line.faults)
    }

    /// Whether the process has died.
    pub fn has_died(&self) -> bool {
        self.with(|line| line.has_died)
    }

    /// Makes each later call wait for its turn.
    pub fn take_turns(&self) {
        self.with(|line| line.turn = Some(Turn::Running));
    }

    /// Whether calls wait for their turn, even just after the clocks were read.
    pub fn takes_turns(&self) -> bool {
        self.with(|line| line.turn.is_some())
    }

    /// The call that waits for its turn.
    pub fn waiting(&self) -> Option<&'static str> {
        self.with(|line| match line.turn {
            Some(Turn::Waits(name)) => Some(name),
            Some(Turn::MayGo | Turn::Running) | None => None,
        })
    }

    /// Lets the waiting call go on.
    pub fn go(&self) {
        let waker = self.with(|line| {
            line.turn = Some(Turn::MayGo);
            line.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    async fn turn(&self, name: &'static str) {
        poll_fn(|context| {
            self.with(|line| match line.turn {
                None => Poll::Ready(()),
                Some(Turn::MayGo) => {
                    line.turn = Some(Turn::Running);
                    Poll::Ready(())
                }
                Some(Turn::Running | Turn::Waits(_)) => {
                    line.turn = Some(Turn::Waits(name));
                    line.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await;
    }

    /// The fault of the next call, if it meets one.
    fn next_fault(&self, name: &'static str) -> Option<Fault> {
        self.with(|line| {
            line.calls.push(name);
            let chosen = line.fault.filter(|(number, _)| *number == line.calls.len());
            let fault = chosen.map(|(_, fault)| fault).or_else(|| {
                let chance = line.chance.as_mut()?;
                // A pass that cannot list what is open, or has died, does nothing more.
                let rarity = if name.starts_with("read index") { 40 } else { 4 };
                let fault = chance.one_in(rarity).then(|| *chance.pick(Fault::of(name)));
                fault.filter(|fault| *fault != Fault::Died || chance.one_in(4))
            });
            line.faults += usize::from(fault.is_some());
            fault
        })
    }

    /// Makes a call with the effect `act`, unless a fault prevents it. `None` means no answer.
    pub async fn carry<T>(&self, name: &'static str, act: impl Fn() -> T) -> Option<T> {
        self.turn(name).await;
        // A hand-over is sent at once. (A process that is stopped just then is what no client can exclude.)
        let lets_others_go = name != "hand over";
        while lets_others_go && self.with(|line| line.pace.as_mut().is_some_and(|it| it.one_in(2)))
        {
            tokio::task::yield_now().await;
        }
        match self.next_fault(name) {
            None => Some(act()),
            Some(Fault::NotDone) => None,
            Some(Fault::AnswerLate) => {
                let answer = act();
                self.turn("answer").await;
                if let Some(Delay(mut pass_time)) = self.with(|line| line.delay.take()) {
                    pass_time();
                    self.with(|line| line.delay = Some(Delay(pass_time)));
                }
                Some(answer)
            }
            Some(Fault::LandsLate) => {
                self.with(|line| line.lands_late = true);
                None
            }
            Some(Fault::AnswerLost) => {
                act();
                None
            }
            Some(Fault::AnswerLostAndRetried) => {
                act();
                Some(act())
            }
            Some(Fault::Died) => {
                self.with(|line| line.has_died = true);
                pending().await
            }
        }
    }
}

/// The reads of the index of open rebuilds: one of each queue.
const INDEX_READS: [&str; 5] = [
    "read index: ENDED",
    "read index: HANDED_OVER",
    "read index: SETTLING",
    "read index: REQUESTED",
    "read index: REBUILDING",
];

/// The queue that a call reads.
pub fn queue_of(call: &str) -> Option<&str> {
    call.strip_prefix("read index: ")
}

/// The embedded DynamoDB as the SDK's HTTP client: the same requests, without a socket.
#[derive(Clone)]
pub struct Wire {
    pub database: Database,
    pub line: Arc<Line>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { database, line } = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").expect("an operation");
            let operation = target.split_once('.').expect("a version").1.to_owned();
            let body = request.body().bytes().expect("a body in memory").to_owned();
            let has = |text: &str| body.windows(text.len()).any(|bytes| bytes == text.as_bytes());
            let name = match operation.as_str() {
                "Query" if has("IndexName") => INDEX_READS
                    .into_iter()
                    .find(|name| queue_of(name).is_some_and(|queue| has(&format!("\"{queue}\""))))
                    .expect("a queue"),
                "BatchGetItem" if has("RebuildId") => "read records",
                "BatchGetItem" => "read items",
                "GetItem" => "read control",
                "UpdateItem" => "write item",
                "PutItem" if has("\"control\"") => "write control",
                "PutItem" => "write record",
                "Scan" => "read table",
                other => panic!("unexpected call: {other}"),
            };
            let carried = line.carry(name, || answer(&database, &operation, &body)).await;
            if line.with(|line| std::mem::take(&mut line.lands_late)) {
                line.with(|line| line.on_their_way.push((operation, body)));
            }
            carried.ok_or_else(|| ConnectorError::io("injected fault".into()))
        })
    }
}

/// The answer of the database to a request.
pub fn answer(database: &Database, operation: &str, body: &[u8]) -> HttpResponse {
    macro_rules! call {
        ($method:ident) => {{
            let request = serde_json::from_slice(body).expect("a request of the SDK");
            database.$method(request).map(|output| serde_json::to_string(&output).expect("JSON"))
        }};
    }
    let (status, body) = match operation {
        "Query" => call!(query),
        "BatchGetItem" => call!(batch_get_item),
        "GetItem" => call!(get_item),
        "UpdateItem" => call!(update_item),
        "PutItem" => call!(put_item),
        "Scan" => call!(scan),
        other => panic!("unexpected call: {other}"),
    }
    .map_or_else(|error| (error.status_code(), error.to_json()), |body| (200, body));
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}
