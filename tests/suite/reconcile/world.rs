//! A world for the reconciler under the control of a test: an embedded DynamoDB, a fleet and a
//! clock. Every call to DynamoDB or the fleet goes through a [`Line`], where it can fail, lose its
//! answer, end the process, or wait for its turn. Nothing here waits for real time.

use std::collections::{BTreeMap, HashMap};
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use local::dynamodb;
use rebuild_workspaces::error::Cause;
use rebuild_workspaces::fleet::{Fleet, HandOverError, IDS_PER_CALL, Listed};
use rebuild_workspaces::rebuild::{Rebuild, RebuildId, Status};
use rebuild_workspaces::reconcile::{Followed, Reconciler};
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{State, Workspace, WorkspaceId};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::system;

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
    /// The process dies before it makes the call.
    Died,
}

/// Carries the calls of a pass: counts and names them, makes one fail, and lets passes take turns.
#[derive(Debug, Default)]
pub struct Line {
    state: Mutex<LineState>,
}

#[derive(Debug, Default)]
struct LineState {
    calls: Vec<&'static str>,
    fault: Option<(usize, Fault)>,
    turn: Option<Turn>,
    has_died: bool,
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

    /// The calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.with(|line| line.calls.clone())
    }

    /// Makes each later call wait for its turn.
    pub fn take_turns(&self) {
        self.with(|line| line.turn = Some(Turn::Running));
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
        self.with(|line| line.turn = Some(Turn::MayGo));
    }

    async fn turn(&self, name: &'static str) {
        poll_fn(|_| {
            self.with(|line| match line.turn {
                None => Poll::Ready(()),
                Some(Turn::MayGo) => {
                    line.turn = Some(Turn::Running);
                    Poll::Ready(())
                }
                Some(Turn::Running | Turn::Waits(_)) => {
                    line.turn = Some(Turn::Waits(name));
                    Poll::Pending
                }
            })
        })
        .await;
    }

    /// Makes a call with the effect `act`, unless a fault prevents it. `None` means no answer.
    async fn carry<T>(&self, name: &'static str, act: impl Fn() -> T) -> Option<T> {
        self.turn(name).await;
        let fault = self.with(|line| {
            line.calls.push(name);
            line.fault.filter(|(number, _)| *number == line.calls.len())
        });
        match fault.map(|(_, fault)| fault) {
            None => Some(act()),
            Some(Fault::NotDone) => None,
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

/// The embedded DynamoDB as the SDK's HTTP client: the same requests, without a socket.
#[derive(Clone)]
struct Wire {
    database: Database,
    line: Arc<Line>,
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
            let is_index = body.windows(9).any(|bytes| bytes == b"IndexName");
            let name = match operation.as_str() {
                "Query" if is_index => "read index",
                "GetItem" => "read item",
                "UpdateItem" => "write item",
                "PutItem" => "write record",
                "Scan" => "read table",
                other => panic!("unexpected call: {other}"),
            };
            match line.carry(name, || answer(&database, &operation, &body)).await {
                Some(answer) => Ok(answer),
                None => Err(ConnectorError::io("injected fault".into())),
            }
        })
    }
}

fn answer(database: &Database, operation: &str, body: &[u8]) -> HttpResponse {
    macro_rules! call {
        ($method:ident) => {{
            let request = serde_json::from_slice(body).expect("a request of the SDK");
            database.$method(request).map(|output| serde_json::to_string(&output).expect("JSON"))
        }};
    }
    let (status, body) = match operation {
        "Query" => call!(query),
        "GetItem" => call!(get_item),
        "UpdateItem" => call!(update_item),
        "PutItem" => call!(put_item),
        "Scan" => call!(scan),
        other => panic!("unexpected call: {other}"),
    }
    .map_or_else(|error| (error.status_code(), error.to_json()), |body| (200, body));
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}

/// A WorkSpace of the fleet.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its state while no rebuild is running.
    pub state: State,
    /// When the running rebuild began.
    pub rebuilt_since: Option<OffsetDateTime>,
    /// Its state after a rebuild.
    pub outcome: State,
    /// How long a rebuild takes.
    pub duration: Duration,
    /// How long a rebuild runs before the fleet shows REBUILDING.
    pub lag: Duration,
    /// When it leaves the fleet.
    pub gone_at: Option<OffsetDateTime>,
    /// The answers to the next hand-overs, in order; later ones get [`Answer::Takes`].
    pub answers: Vec<Answer>,
    /// The hand-overs that had an effect: for which rebuild, and when.
    pub effects: Vec<(RebuildId, OffsetDateTime)>,
    /// Whether somebody else started a rebuild too.
    pub is_foreign: bool,
}

/// How the fleet answers a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The fleet takes it, if it can.
    Takes,
    Throttles,
    Refuses,
    /// The fleet takes it, and the answer is lost.
    Loses,
}

impl Machine {
    /// A WorkSpace that is AVAILABLE before and after a rebuild of 40 minutes.
    pub fn new() -> Self {
        Self {
            state: State::Available,
            rebuilt_since: None,
            outcome: State::Available,
            duration: Duration::minutes(40),
            lag: Duration::ZERO,
            gone_at: None,
            answers: Vec::new(),
            effects: Vec::new(),
            is_foreign: false,
        }
    }

    /// Whether a rebuild is running at `now`. Ends a rebuild whose time is over.
    fn is_rebuilt(&mut self, now: OffsetDateTime) -> bool {
        if self.rebuilt_since.is_some_and(|since| now >= since + self.duration) {
            self.rebuilt_since = None;
            self.state = self.outcome;
        }
        self.rebuilt_since.is_some()
    }

    /// The state that the fleet shows; `None` once the WorkSpace is gone.
    pub fn seen(&mut self, now: OffsetDateTime) -> Option<State> {
        if self.gone_at.is_some_and(|at| now >= at) {
            return None;
        }
        let is_visible =
            self.is_rebuilt(now) && self.rebuilt_since.is_some_and(|since| now >= since + self.lag);
        Some(if is_visible { State::Rebuilding } else { self.state })
    }

    /// Somebody else starts a rebuild.
    pub fn rebuild_by_others(&mut self, now: OffsetDateTime) {
        self.is_foreign = true;
        self.rebuilt_since = Some(now);
    }

    /// Answers the hand-over of the rebuild `id`.
    fn rebuild(&mut self, id: RebuildId, now: OffsetDateTime) -> Result<(), HandOverError> {
        let answer = if self.answers.is_empty() { Answer::Takes } else { self.answers.remove(0) };
        let refusal = |code: &str| Err(HandOverError::Refused { code: code.to_owned() });
        match answer {
            Answer::Throttles => return Err(HandOverError::NotTaken("throttled".into())),
            Answer::Refuses => return refusal("Refused.Once"),
            Answer::Takes | Answer::Loses => {}
        }
        if self.gone_at.is_some_and(|at| now >= at) {
            return refusal("ResourceNotFound.Workspace");
        }
        if self.is_rebuilt(now) || !self.state.is_rebuildable() {
            return refusal("InvalidResourceState.Workspace");
        }
        self.rebuilt_since = Some(now);
        self.effects.push((id, now));
        match answer {
            Answer::Loses => Err(HandOverError::NoAnswer("lost".into())),
            Answer::Takes | Answer::Throttles | Answer::Refuses => Ok(()),
        }
    }
}

/// The tables, the fleet and the clock that all processes share.
pub struct World {
    database: Database,
    now: Mutex<OffsetDateTime>,
    machines: Mutex<HashMap<WorkspaceId, Machine>>,
    accepting: Store,
    parked: Mutex<BTreeMap<OffsetDateTime, Vec<Value>>>,
    traffic: Mutex<Traffic>,
    processes: [(Store, Arc<Line>); 2],
    count: Mutex<u32>,
}

/// How the fleet limits calls.
#[derive(Debug, Default)]
pub struct Traffic {
    /// It accepts 2 calls a second, with bursts of 5; a call that has to wait moves the clock.
    pub is_paced: bool,
    /// It throttles half of all calls.
    pub is_throttled: bool,
    calls: usize,
    free_at: Option<OffsetDateTime>,
}

/// A WorkSpace at a point in time.
pub struct Snapshot {
    item: Value,
    machine: Machine,
    now: OffsetDateTime,
}

/// The fleet, as one process reaches it.
pub struct FakeFleet {
    world: Arc<World>,
    line: Arc<Line>,
}

impl Fleet for FakeFleet {
    async fn describe(
        &self,
        workspaces: &[Workspace],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, State>, Cause> {
        assert!((1..=IDS_PER_CALL).contains(&workspaces.len()), "1 to 25 ids a call");
        let say = || {
            if self.world.is_throttled() {
                return Err("throttled".into());
            }
            let now = self.world.now();
            let mut machines = self.world.machines.lock().expect("unpoisoned");
            let seen = workspaces.iter().filter_map(|workspace| {
                let id = &workspace.workspace_id;
                let state = machines.get_mut(id)?.seen(now)?;
                Some((id.clone(), state))
            });
            Ok(seen.collect())
        };
        let answer = self.line.carry("ask fleet", say).await;
        answer.unwrap_or_else(|| Err("no answer".into()))
    }

    async fn rebuild(&self, id: &WorkspaceId) -> Result<(), HandOverError> {
        let take = || {
            let rebuild = self.world.rebuild(id);
            assert!(rebuild.claim_id.is_some(), "handed over without a claim");
            if self.world.is_throttled() {
                return Err(HandOverError::NotTaken("throttled".into()));
            }
            self.world.machine(id, |machine, now| machine.rebuild(rebuild.id, now))
        };
        let answer = self.line.carry("hand over", take).await;
        answer.unwrap_or_else(|| Err(HandOverError::NoAnswer("no answer".into())))
    }

    async fn list(&self, _: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        panic!("follow lists nothing")
    }
}

/// The reconciler of one process.
pub type Process = Reconciler<FakeFleet, Box<dyn Fn() -> OffsetDateTime + Send + Sync>>;

impl World {
    /// A world without WorkSpaces.
    pub fn new() -> Arc<Self> {
        let database = dynamodb::in_memory().expect("the tables of the template");
        let process = |line: Arc<Line>| (store(database.clone(), Arc::clone(&line)), line);
        Arc::new(Self {
            accepting: process(Arc::default()).0,
            parked: Mutex::default(),
            traffic: Mutex::default(),
            processes: [process(Arc::default()), process(Arc::default())],
            database,
            now: Mutex::new(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)),
            machines: Mutex::default(),
            count: Mutex::default(),
        })
    }

    pub fn now(&self) -> OffsetDateTime {
        *self.now.lock().expect("unpoisoned")
    }

    /// Changes how the fleet limits calls.
    pub fn traffic(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.lock().expect("unpoisoned"));
    }

    /// Counts a call to the fleet; returns whether the fleet throttles it.
    fn is_throttled(&self) -> bool {
        let mut traffic = self.traffic.lock().expect("unpoisoned");
        traffic.calls += 1;
        if traffic.is_paced {
            const INTERVAL: Duration = Duration::milliseconds(500);
            let mut now = self.now.lock().expect("unpoisoned");
            let free_at = traffic.free_at.map_or(*now, |free_at| free_at.max(*now)) + INTERVAL;
            traffic.free_at = Some(free_at);
            *now = (*now).max(free_at - 5 * INTERVAL);
        }
        // Half of them, in an order without a period (Thue-Morse), so that no pass falls into step.
        traffic.is_throttled && traffic.calls.count_ones().is_multiple_of(2)
    }

    /// Moves the clock.
    pub fn pass_time(&self, time: Duration) {
        *self.now.lock().expect("unpoisoned") += time;
    }

    /// Adds a WorkSpace to the fleet and to the table.
    pub fn add(&self, machine: Machine) -> WorkspaceId {
        let state = json!({ "State": { "S": machine.state } });
        self.put(state, machine)
    }

    /// Saves a WorkSpace, its rebuild and the time, but not its history.
    pub fn snapshot(&self, id: &WorkspaceId) -> Snapshot {
        let machine = self.machine(id, |machine, _| machine.clone());
        Snapshot { item: self.item(id), machine, now: self.now() }
    }

    /// Turns the clock back to the snapshot and adds a copy of its WorkSpace.
    pub fn restore(&self, snapshot: &Snapshot) -> WorkspaceId {
        *self.now.lock().expect("unpoisoned") = snapshot.now;
        self.put(snapshot.item.clone(), snapshot.machine.clone())
    }

    fn put(&self, mut item: Value, machine: Machine) -> WorkspaceId {
        let id = format!("ws-{:08}", self.next_number());
        item["WorkspaceId"] = json!({ "S": id });
        self.put_item(&item);
        let id = WorkspaceId::try_from(id).expect("an id");
        self.machines.lock().expect("unpoisoned").insert(id.clone(), machine);
        id
    }

    fn put_item(&self, item: &Value) {
        let put = json!({ "TableName": "workspaces", "Item": item });
        self.database.put_item(serde_json::from_value(put).expect("a put")).expect("it is put");
    }

    /// Takes a WorkSpace out of the table, out of reach of every pass, until [`World::settle`].
    pub fn park(&self, id: &WorkspaceId) {
        self.parked.lock().expect("unpoisoned").entry(self.now()).or_default().push(self.item(id));
        self.remove(id);
    }

    /// Puts the parked WorkSpaces back into the table, each at the time when it was parked, and
    /// runs passes until nothing is open.
    pub async fn settle(self: &Arc<Self>) {
        let parked = std::mem::take(&mut *self.parked.lock().expect("unpoisoned"));
        for (time, items) in parked {
            *self.now.lock().expect("unpoisoned") = time;
            for item in &items {
                self.put_item(item);
            }
            self.until_quiet().await;
        }
    }

    /// Changes the item of a WorkSpace directly.
    pub fn edit(&self, id: &WorkspaceId, change: impl FnOnce(&mut Value)) {
        let mut item = self.item(id);
        change(&mut item);
        self.put_item(&item);
    }

    /// Removes a WorkSpace from the table.
    pub fn remove(&self, id: &WorkspaceId) {
        let key = json!({ "WorkspaceId": { "S": id.as_str() } });
        let delete = json!({ "TableName": "workspaces", "Key": key });
        let delete = serde_json::from_value(delete).expect("a delete");
        self.database.delete_item(delete).expect("it is deleted");
    }

    fn next_number(&self) -> u32 {
        let mut count = self.count.lock().expect("unpoisoned");
        *count += 1;
        *count
    }

    /// Reads or changes a WorkSpace of the fleet.
    pub fn machine<T>(
        &self,
        id: &WorkspaceId,
        act: impl FnOnce(&mut Machine, OffsetDateTime) -> T,
    ) -> T {
        let now = self.now();
        act(
            self.machines
                .lock()
                .expect("unpoisoned")
                .get_mut(id)
                .expect("a WorkSpace of the fleet"),
            now,
        )
    }

    /// Requests a rebuild, as a client would; returns whether it was accepted.
    pub async fn accept(&self, id: &WorkspaceId) -> bool {
        self.accepting.accept(id, &self.request()).await.is_ok()
    }

    fn request(&self) -> Rebuild {
        // Ids are ordered by milliseconds.
        let number = self.next_number() % 1000;
        Rebuild::new(self.now() + Duration::milliseconds(number.into()))
    }

    /// One of two processes, with a reset line for its calls.
    pub fn process(self: &Arc<Self>, number: usize) -> (Process, Arc<Line>) {
        let (store, line) = self.processes[number].clone();
        line.with(|line| *line = LineState::default());
        let world = Arc::clone(self);
        let process = Reconciler {
            store,
            fleet: FakeFleet { world: Arc::clone(self), line: Arc::clone(&line) },
            clock: Box::new(move || world.now()) as Box<_>,
        };
        (process, line)
    }

    /// Runs a pass with this fault at this call; returns the calls.
    pub async fn faulty_pass(self: &Arc<Self>, fault: Option<(usize, Fault)>) -> Vec<&'static str> {
        let (process, line) = self.process(0);
        line.with(|line| line.fault = fault);
        let mut pass = Box::pin(process.follow());
        // A pass that has died is dropped here.
        poll_fn(|context| match pass.as_mut().poll(context) {
            Poll::Pending if line.with(|line| line.has_died) => Poll::Ready(()),
            poll => poll.map(drop),
        })
        .await;
        line.calls()
    }

    /// Runs a pass without a fault.
    pub async fn pass(self: &Arc<Self>) -> Followed {
        self.process(0).0.follow().await.expect("a pass without a fault")
    }

    /// Runs passes, first at short intervals and then at long ones, until nothing is open.
    pub async fn until_quiet(self: &Arc<Self>) {
        for minutes in [0, 1, 5, 45, 240, 1, 1] {
            self.pass_time(Duration::minutes(minutes));
            if self.pass().await.open == 0 {
                return;
            }
        }
        panic!("a rebuild never ended");
    }

    /// The item of a WorkSpace.
    pub fn item(&self, id: &WorkspaceId) -> Value {
        let get =
            json!({ "TableName": "workspaces", "Key": { "WorkspaceId": { "S": id.as_str() } } });
        let output = self.database.get_item(serde_json::from_value(get).expect("a get"));
        serde_json::to_value(output.expect("an answer")).expect("JSON")["Item"].take()
    }

    /// The current or last rebuild of a WorkSpace.
    pub fn rebuild(&self, id: &WorkspaceId) -> Rebuild {
        let item = self.item(id);
        from_attributes(&item["Rebuild"]["M"], item.get("PreviousState"))
    }

    /// The history of a WorkSpace.
    pub fn records(&self, id: &WorkspaceId) -> Vec<Rebuild> {
        let query = json!({
            "TableName": "rebuilds",
            "KeyConditionExpression": "WorkspaceId = :id",
            "ExpressionAttributeValues": { ":id": { "S": id.as_str() } },
        });
        let output = self.database.query(serde_json::from_value(query).expect("a query"));
        let output = serde_json::to_value(output.expect("an answer")).expect("JSON");
        let items = output["Items"].as_array().into_iter().flatten();
        items.map(|item| from_attributes(item, None)).collect()
    }

    /// Checks all invariants of a WorkSpace without an open rebuild; `accepted` is the number of its
    /// accepted rebuilds. Returns the code of each record, or `SUCCEEDED` if it has none.
    pub fn check(&self, id: &WorkspaceId, accepted: usize) -> Vec<String> {
        let item = self.item(id);
        let records = self.records(id);
        let (machine, seen) = self.machine(id, |machine, now| (machine.clone(), machine.seen(now)));
        assert!(item.get("OpenRebuild").is_none() && item.get("OpenSince").is_none(), "{item}");
        assert_eq!(records.len(), accepted, "each rebuild has exactly one record: {records:?}");
        let last = records.last().expect("at least one was accepted");
        assert_eq!(*last, self.rebuild(id), "the last record equals the rebuild in the item");
        if item["State"]["S"] == "REBUILDING" {
            assert_eq!(
                seen,
                Some(State::Rebuilding),
                "REBUILDING, but the fleet is not rebuilding it"
            );
        }
        let codes = records.iter().map(|record| check_record(record, &machine));
        codes.collect()
    }
}

/// Compares a record with what the fleet did; returns its code.
fn check_record(record: &Rebuild, machine: &Machine) -> String {
    let effects: Vec<_> = machine.effects.iter().filter(|(id, _)| *id == record.id).collect();
    let context = format!("{record:?}, {machine:?}");
    assert!(effects.len() <= 1, "handed over twice with effect: {context}");
    let had_effect = !effects.is_empty();
    let was_rebuilt = had_effect || machine.is_foreign;
    assert!(record.ended_at.is_some() && record.previous_state.is_some(), "{context}");
    assert!(was_rebuilt || record.started_at.is_none(), "started, but never rebuilt: {context}");
    let code = record.error_code.clone().unwrap_or_else(|| record.status.to_string());
    let is_true = match (record.status, code.as_str()) {
        (Status::Succeeded, _) => {
            let is_over = effects
                .iter()
                .all(|(_, at)| record.ended_at >= Some(Timestamp::from(*at + machine.duration)));
            let is_well = matches!(machine.outcome, State::Available | State::Stopped);
            was_rebuilt && is_over && is_well && record.seen_rebuilding_at.is_some()
        }
        (Status::Failed, "REBUILD_FAILED") => {
            was_rebuilt && matches!(machine.outcome, State::Error | State::Unhealthy)
        }
        (Status::Failed, "WORKSPACE_GONE") => machine.gone_at.is_some(),
        (Status::Failed, "TIMED_OUT") => was_rebuilt && machine.duration > Duration::hours(4),
        // These two codes say that the outcome is unknown.
        (Status::Failed, "HANDOVER_UNKNOWN") => record.claimed_at.is_some(),
        (Status::Failed, "NOT_OBSERVED") => was_rebuilt && record.seen_rebuilding_at.is_none(),
        // INVALID_STATE, and the fleet's own codes.
        (Status::Failed, _) => !had_effect,
        (Status::Requested | Status::Started | Status::Unknown, _) => false,
    };
    assert!(is_true, "the record contradicts the fleet: {context}");
    code
}

fn store(database: Database, line: Arc<Line>) -> Store {
    let wire = SharedHttpConnector::new(Wire { database, line });
    let http = http_client_fn(move |_, _| wire.clone());
    let config = client_config(&system::config("http://localhost:1"), http);
    // Without retries, one fault fails the whole call at once.
    let config =
        config.retry_config(RetryConfig::disabled()).timeout_config(TimeoutConfig::disabled());
    Store::new(config, "workspaces".into(), "rebuilds".into())
}

/// A rebuild from DynamoDB's JSON; all its attributes are strings.
fn from_attributes(attributes: &Value, previous_state: Option<&Value>) -> Rebuild {
    let attributes = attributes.as_object().expect("a map").iter();
    let mut plain: serde_json::Map<_, _> = attributes
        .filter(|(name, _)| *name != "WorkspaceId")
        .map(|(name, value)| {
            let name = if name == "RebuildId" { "Id" } else { name };
            (name.to_owned(), value["S"].clone())
        })
        .collect();
    plain.extend(previous_state.map(|state| ("PreviousState".to_owned(), state["S"].clone())));
    serde_json::from_value(plain.into()).expect("a rebuild")
}
