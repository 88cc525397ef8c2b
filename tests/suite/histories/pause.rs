//! Clients that pause hand-overs, resume them, and read what pauses them: a value that the first pause
//! sets, and that a resumption clears.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::Rng as _;
use proptest::test_runner::TestRng;
use serde_json::{Value, json};

use super::check::{Span, linearize};
use crate::system::{Ask, System};

#[derive(Debug)]
enum Request {
    Pause(String),
    Resume,
    Read,
}

#[derive(Debug)]
struct Operation {
    sent: u64,
    answered: u64,
    request: Request,
    /// The reason that the answer shows; `None` if the outcome is unknown.
    said: Option<Value>,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct State {
    /// The operation that paused.
    pause: Option<usize>,
    /// When the last change was sent.
    sent: u64,
}

/// What the clients of a system have learnt about its pause.
pub struct PauseClients {
    system: System,
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl PauseClients {
    pub fn new(system: &System) -> Self {
        Self { system: system.clone(), clock: AtomicU64::new(1), operations: Mutex::default() }
    }

    /// Sends a random request.
    pub async fn act(&self, random: &mut TestRng) {
        let request = match random.next_u32() % 4 {
            0 => Request::Pause(random.next_u32().to_string()),
            1 => Request::Resume,
            _ => Request::Read,
        };
        self.ask(request).await;
    }

    /// Ends the pause, and reads that it is over.
    pub async fn end(&self) {
        self.ask(Request::Resume).await;
        self.ask(Request::Read).await;
    }

    async fn ask(&self, request: Request) {
        let ask = match &request {
            Request::Pause(reason) => Ask::json("PUT", "/pause", &json!({ "Reason": reason })),
            Request::Resume => Ask::new("DELETE", "/pause"),
            Request::Read => Ask::get("/pause"),
        };
        let sent = self.clock.fetch_add(1, Ordering::SeqCst);
        let answer = self.system.send(&ask).await;
        let answered = self.clock.fetch_add(1, Ordering::SeqCst);
        let said = match answer.status {
            200 => Some(answer.data()["reason"].clone()),
            504 => None,
            // Nothing was changed.
            500 | 503 => return,
            other => panic!("{other} is no answer of the contract to {request:?}"),
        };
        let operation = Operation { sent, answered, request, said };
        self.operations.lock().expect("no panic").push(operation);
    }

    /// Checks that the operations have an order that the contract allows.
    ///
    /// # Errors
    /// There is no such order; the error shows them.
    pub fn check(&self) -> Result<(), String> {
        let mut operations = std::mem::take(&mut *self.operations.lock().expect("no panic"));
        operations.sort_by_key(|operation| operation.sent);
        let spans = operations.iter().map(|Operation { sent, answered, said, .. }| Span {
            sent: *sent,
            answered: said.is_some().then_some(*answered),
            is_optional: said.is_none(),
        });
        let spans: Vec<_> = spans.collect();
        let apply = |now: &State, index: usize| apply(&operations, now, index);
        linearize(&spans, State::default(), apply, |_| vec![])
            .map_err(|longest| format!("{longest:b} of {operations:#?}"))
    }
}

/// The state after an operation took effect, if its answer is true `now`.
fn apply(operations: &[Operation], now: &State, index: usize) -> Option<State> {
    let operation = &operations[index];
    let after = match operation.request {
        Request::Read => now.clone(),
        // A later change stops an earlier one that is still on its way.
        _ if now.sent > operation.answered => return None,
        Request::Pause(_) => {
            State { pause: now.pause.or(Some(index)), sent: now.sent.max(operation.sent) }
        }
        Request::Resume => State { pause: None, sent: now.sent.max(operation.sent) },
    };
    let reason = match after.pause.map(|index| &operations[index].request) {
        Some(Request::Pause(reason)) => json!(reason),
        _ => Value::Null,
    };
    operation.said.as_ref().is_none_or(|said| *said == reason).then_some(after)
}
