//! A world for the reconciler under the control of a test: an embedded DynamoDB, a fleet and a
//! clock. Every call to DynamoDB or the fleet goes through a [`Line`]. Nothing here waits for real
//! time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use dynoxide::Database;
use local::dynamodb;
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::control::{Control, Pause, Resumption};
use rebuild_workspaces::error::{AcceptError, CancelError, Cause};
use rebuild_workspaces::fleet::{Fleet, HandOverError, IDS_PER_CALL, KeyUse, Listed, Wanted};
use rebuild_workspaces::ids::{DirectoryId, WorkspaceId};
use rebuild_workspaces::rebuild::{Accepted, Class, FleetMode, Keys, Rebuild};
use rebuild_workspaces::reconcile::{Followed, Reconciler, Timing};
use rebuild_workspaces::state::State;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{
    Description, OpenRebuild, Outline, Protection, Simulation, Tags,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::chance::Chance;
use super::line::{self, Fault, Line, Wire};
use super::machine::Machine;
use super::truth;
use crate::system;

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

/// How the fleet treats calls.
#[derive(Debug, Default)]
pub struct Traffic {
    /// It accepts 1.5 calls a second, one after another; a call that has to wait moves the clock.
    pub is_paced: bool,
    /// If set, it throttles half of all calls.
    pub throttling: Option<Chance>,
    /// How long a hand-over takes; it moves the clock.
    pub hand_over_time: Duration,
    /// If set, answers to looks are up to two minutes old, and leave one id in 100 out.
    pub hostility: Option<Chance>,
    /// What each pass may do.
    pub limits: Limits,
    /// What the keys of encrypted volumes are, if not enabled.
    pub keys: HashMap<String, KeyUse>,
    /// How many answers about a WorkSpace were wrong.
    pub wrong_answers: usize,
    /// How many hand-overs had no answer.
    pub unanswered: usize,
    /// How many calls it got, if it is paced.
    pub calls: usize,
    free_at: Option<OffsetDateTime>,
}

/// How long a pass works.
pub const PASS: Duration = Duration::seconds(54);

/// How old an answer of a hostile fleet may be.
pub const STALENESS: Duration = Duration::minutes(2);

/// A WorkSpace at a point in time.
pub struct Snapshot {
    item: Value,
    machine: Machine,
    now: OffsetDateTime,
}

impl Snapshot {
    /// Whether the fleet has other answers to hand-overs than to take them.
    pub fn has_answers(&self) -> bool {
        !self.machine.answers.is_empty()
    }
}

/// The fleet, as one process reaches it.
pub struct FakeFleet {
    world: Arc<World>,
    line: Arc<Line>,
}

impl Fleet for FakeFleet {
    const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

    async fn describe(
        &self,
        open: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        assert!((1..=IDS_PER_CALL).contains(&open.len()), "1 to 25 ids a call");
        let say = || {
            if self.world.is_throttled() {
                return Err("throttled".into());
            }
            let ids = open.iter().map(|open| &open.workspace_id);
            let listed = ids.filter_map(|id| {
                let (workspace_id, state) = (id.clone(), self.world.look(id)?);
                let description = self.world.machine(id, |machine, now| machine.description(now));
                Some((id.clone(), Listed { workspace_id, state, description }))
            });
            Ok(listed.collect())
        };
        let answer = self.line.carry("ask fleet", say).await;
        answer.unwrap_or_else(|| Err("no answer".into()))
    }

    async fn connections(
        &self,
        open: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, bool>, Cause> {
        assert!((1..=IDS_PER_CALL).contains(&open.len()), "1 to 25 ids a call");
        let say = || {
            if self.world.is_throttled() {
                return Err("throttled".into());
            }
            let ids = open.iter().map(|open| &open.workspace_id);
            Ok(ids.filter_map(|id| Some((id.clone(), self.world.connection(id)?))).collect())
        };
        let answer = self.line.carry("ask connections", say).await;
        answer.unwrap_or_else(|| Err("no answer".into()))
    }

    async fn key(&self, key: &str) -> Result<KeyUse, Cause> {
        let say = || self.world.traffic(|traffic| traffic.keys.get(key).copied());
        let answer = self.line.carry("ask key", say).await;
        Ok(answer.ok_or("no answer")?.unwrap_or(KeyUse::Enabled))
    }

    async fn find(&self, ids: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        assert!((1..=IDS_PER_CALL).contains(&ids.len()), "1 to 25 ids a call");
        let say = || {
            if self.world.is_throttled() {
                return Err("throttled".into());
            }
            let is_there = |id: &&WorkspaceId| Class::of(self.world.look(id)) != Class::Gone;
            Ok(ids.iter().filter(is_there).cloned().collect())
        };
        let answer = self.line.carry("ask fleet", say).await;
        answer.unwrap_or_else(|| Err("no answer".into()))
    }

    async fn newest_snapshot(
        &self,
        open: &OpenRebuild,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        let say = || {
            if self.world.is_throttled() {
                return Err("throttled".into());
            }
            Ok(self.world.machine(&open.workspace_id, |machine, _| machine.snapshot_at))
        };
        let answer = self.line.carry("ask snapshots", say).await;
        answer.unwrap_or_else(|| Err("no answer".into()))
    }

    async fn wait_for_place(&self) {}

    async fn rebuild(&self, id: &WorkspaceId) -> Result<(), HandOverError> {
        let take = || {
            let rebuild = self.world.rebuild(id);
            let claimed_at = rebuild.claim.expect("handed over without a claim").at;
            let delay = Timestamp::from(self.world.now()).since(claimed_at);
            assert!(
                delay <= Duration::seconds(15) || self.line.takes_turns(),
                "called {delay} later"
            );
            if self.world.is_throttled() {
                return Err(HandOverError::NotTaken("throttled".into()));
            }
            self.world.pass_time(self.world.traffic(|traffic| traffic.hand_over_time));
            self.world.machine(id, |machine, now| machine.rebuild(rebuild.id, now))
        };
        let answer = self.line.carry("hand over", take).await;
        match answer.unwrap_or_else(|| Err(HandOverError::NoAnswer("no answer".into()))) {
            Err(error @ HandOverError::NoAnswer(_)) => {
                self.world.traffic(|traffic| traffic.unanswered += 1);
                Err(error)
            }
            Err(error @ HandOverError::NotTaken(_)) => Err(error),
            answer => {
                self.world.machine(id, |machine, _| machine.note_answer());
                answer
            }
        }
    }

    /// None, so sync asks for all WorkSpaces of the table.
    async fn directories(
        &self,
        _: Option<String>,
    ) -> Result<(Vec<DirectoryId>, Option<String>), Cause> {
        Ok((Vec::new(), None))
    }

    async fn list(
        &self,
        wanted: Wanted<'_>,
        _: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        let Wanted::Ids(ids) = wanted else { panic!("no directory was named") };
        let now = self.world.now();
        let machines = self.world.machines.lock().expect("unpoisoned");
        let listed = ids.iter().filter_map(|id| {
            let (workspace_id, state) = (id.clone(), machines.get(id)?.shows(now)?);
            Some(Listed { workspace_id, state, description: Description::default() })
        });
        Ok((listed.collect(), None))
    }
    async fn tags(&self) -> Result<Option<HashMap<WorkspaceId, Tags>>, Cause> {
        Ok(None)
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
            traffic: Mutex::new(Traffic {
                limits: Limits {
                    max_concurrent: usize::MAX,
                    rebuilds_per_day: None,
                    ..Limits::default()
                },
                ..Traffic::default()
            }),
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

    /// Reads or changes how the fleet treats calls.
    pub fn traffic<T>(&self, act: impl FnOnce(&mut Traffic) -> T) -> T {
        act(&mut self.traffic.lock().expect("unpoisoned"))
    }

    /// What the fleet says about a WorkSpace; `None` if it leaves it out.
    fn look(&self, id: &WorkspaceId) -> Option<State> {
        let now = self.now();
        let mut traffic = self.traffic.lock().expect("unpoisoned");
        let mut machines = self.machines.lock().expect("unpoisoned");
        let machine = machines.get_mut(id)?;
        if let Some(said) = machine.says.pop_front() {
            return said;
        }
        let Some(chance) = traffic.hostility.as_mut() else {
            return machine.shows(now);
        };
        let said = if chance.one_in(100) {
            None
        } else {
            let age = if chance.one_in(2) { Duration::ZERO } else { chance.up_to(STALENESS) };
            machine.shows(now - age)
        };
        traffic.wrong_answers += usize::from(said != machine.shows(now));
        said
    }

    /// What the fleet says about the connection of a user. A hostile one says what was true some minutes
    /// ago, or nothing.
    fn connection(&self, id: &WorkspaceId) -> Option<bool> {
        let now = self.now();
        let mut traffic = self.traffic.lock().expect("unpoisoned");
        let mut machines = self.machines.lock().expect("unpoisoned");
        let machine = machines.get_mut(id)?;
        let said = match traffic.hostility.as_mut() {
            Some(chance) => {
                let age = chance.up_to(STALENESS);
                if chance.one_in(20) { None } else { machine.is_connected(now - age) }
            }
            None => machine.is_connected(now),
        };
        machine.connections_said.push((now, said));
        said
    }

    /// Counts a call to the fleet; returns whether the fleet throttles it.
    fn is_throttled(&self) -> bool {
        let mut traffic = self.traffic.lock().expect("unpoisoned");
        if traffic.is_paced {
            const INTERVAL: Duration = Duration::microseconds(666_667);
            let mut now = self.now.lock().expect("unpoisoned");
            let free_at = traffic.free_at.map_or(*now, |free_at| free_at.max(*now)) + INTERVAL;
            traffic.free_at = Some(free_at);
            traffic.calls += 1;
            *now = (*now).max(free_at - INTERVAL);
        }
        traffic.throttling.as_mut().is_some_and(|chance| chance.one_in(2))
    }

    /// Moves the clock.
    pub fn pass_time(&self, time: Duration) {
        *self.now.lock().expect("unpoisoned") += time;
    }

    /// Adds a WorkSpace to the fleet and to the table.
    pub fn add(&self, machine: Machine) -> WorkspaceId {
        let state = machine.shows(self.now()).expect("it is there");
        self.put(json!({ "State": { "S": state } }), machine)
    }

    /// Adds a WorkSpace with an accepted rebuild.
    pub async fn add_requested(&self, machine: Machine) -> WorkspaceId {
        let id = self.put(json!({ "State": { "S": "AVAILABLE" } }), machine);
        assert!(self.accept(&id).await);
        id
    }

    /// Saves a WorkSpace, its rebuild and the time, but not its history.
    pub fn snapshot(&self, id: &WorkspaceId) -> Snapshot {
        let machine = self.machine(id, |machine, _| machine.clone());
        Snapshot { item: self.item(id), machine, now: self.now() }
    }

    /// Turns the clock back to the snapshot and adds a copy of its WorkSpace.
    pub fn restore(&self, snapshot: &Snapshot) -> WorkspaceId {
        self.forget_hand_overs();
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

    pub fn put_item(&self, item: &Value) {
        self.put_into("workspaces", item);
    }

    pub fn put_record(&self, record: &Value) {
        self.put_into("rebuilds", record);
    }

    fn put_into(&self, table: &str, item: &Value) {
        let put = json!({ "TableName": table, "Item": item });
        self.database.put_item(serde_json::from_value(put).expect("a put")).expect("it is put");
    }

    /// Takes a WorkSpace out of the table, out of reach of every pass, until [`World::settle`].
    pub fn park(&self, id: &WorkspaceId) {
        self.parked.lock().expect("unpoisoned").entry(self.now()).or_default().push(self.item(id));
        self.remove(id);
    }

    /// Puts the parked WorkSpaces back into the table, each at the time when it was parked, and
    /// runs passes until nothing is open.
    pub async fn settle(self: &Arc<Self>, at_a_time: usize) {
        let parked = std::mem::take(&mut *self.parked.lock().expect("unpoisoned"));
        for (time, items) in parked {
            // While hand-overs of one of them have no answer, the others would have to wait.
            for items in items.chunks(at_a_time) {
                self.forget_hand_overs();
                *self.now.lock().expect("unpoisoned") = time;
                for item in items {
                    self.put_item(item);
                }
                self.until_quiet().await;
            }
        }
    }

    /// Changes the item of a WorkSpace directly.
    pub fn edit(&self, id: &WorkspaceId, change: impl FnOnce(&mut Value)) {
        let mut item = self.item(id);
        change(&mut item);
        self.put_item(&item);
    }

    /// Lets requests land that were held up.
    pub fn land(&self, on_their_way: Vec<(String, Vec<u8>)>) {
        for (operation, body) in on_their_way {
            line::answer(&self.database, &operation, &body);
        }
    }

    /// Removes a WorkSpace from the table.
    pub fn remove(&self, id: &WorkspaceId) {
        self.delete("workspaces", "WorkspaceId", id.as_str());
    }

    /// What all hand-overs depend on.
    pub fn control(&self) -> Control {
        let get = json!({ "TableName": "control", "Key": { "Id": { "S": "hand-overs" } } });
        let output = self.database.get_item(serde_json::from_value(get).expect("a get"));
        let item = serde_json::to_value(output.expect("an answer")).expect("JSON")["Item"].take();
        if item.is_null() {
            return Control::default();
        }
        serde_json::from_value(plain(&json!({ "M": item }))).expect("what hand-overs depend on")
    }

    /// Removes what pauses hand-overs, and their count: those of another world.
    fn forget_hand_overs(&self) {
        self.delete("control", "Id", "hand-overs");
    }

    fn delete(&self, table: &str, key: &str, id: &str) {
        let delete = json!({ "TableName": table, "Key": { key: { "S": id } } });
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
        self.request(id, self.new_rebuild()).await.is_ok()
    }

    /// Requests this rebuild, as a client would.
    pub async fn request(
        &self,
        id: &WorkspaceId,
        rebuild: Rebuild,
    ) -> Result<Accepted, AcceptError> {
        self.accepting.accept(&id.clone().into(), &rebuild).await
    }

    /// Cancels the current rebuild of a WorkSpace, as a client would.
    pub async fn cancel(&self, id: &WorkspaceId) -> Result<Rebuild, CancelError> {
        let (target, rebuild_id) = (id.clone().into(), self.rebuild(id).id);
        self.accepting.cancel(&target, rebuild_id, None, self.now().into()).await
    }

    /// Protects a WorkSpace against rebuilds, or ends its protection, as a client would.
    pub async fn protect(&self, id: &WorkspaceId, is_protected: bool) {
        // A request lands only after older ones.
        self.pass_time(Duration::MICROSECOND);
        let (target, now) = (id.clone().into(), self.now());
        let protection = Protection { protected_by: None, protected_at: now.into(), reason: None };
        let result = if is_protected {
            self.accepting.protect(&target, &protection, now).await
        } else {
            self.accepting.unprotect(&target, None, now).await
        };
        result.expect("an answer");
    }

    /// Pauses hand-overs, as a client would.
    pub async fn pause(&self) {
        self.pass_time(Duration::MICROSECOND);
        let now = self.now();
        let pause = Pause { paused_by: None, paused_at: now.into(), reason: None };
        self.accepting.pause(&pause, now).await.expect("an answer");
    }

    /// Ends all pauses, as an operator would.
    pub async fn resume(&self) {
        self.pass_time(Duration::MICROSECOND);
        let now = self.now();
        let resumption = Resumption { resumed_by: None, resumed_at: now.into() };
        self.accepting.resume(&resumption, now).await.expect("an answer");
    }

    /// A rebuild to request.
    pub fn new_rebuild(&self) -> Rebuild {
        // Ids are ordered by milliseconds.
        let number = self.next_number() % 1000;
        let new = Rebuild::new(self.now() + Duration::milliseconds(number.into()));
        Rebuild { fleet_mode: FleetMode::AmazonWorkSpaces, ..new }
    }

    /// One of two processes, with a reset line for its calls.
    pub fn process(self: &Arc<Self>, number: usize) -> (Process, Arc<Line>) {
        let (store, line) = self.processes[number].clone();
        line.reset();
        let world = Arc::clone(self);
        let process = Reconciler {
            store,
            fleet: FakeFleet { world: Arc::clone(self), line: Arc::clone(&line) },
            clock: Box::new(move || world.now()) as Box<_>,
            timing: Timing::of_amazon(),
            limits: self.traffic(|traffic| traffic.limits),
        };
        (process, line)
    }

    /// Runs a pass with this fault at this call; returns the calls.
    pub async fn faulty_pass(self: &Arc<Self>, fault: Option<(usize, Fault)>) -> Vec<&'static str> {
        let (process, line) = self.process(0);
        line.fail(fault);
        until_death(&line, process.follow()).await;
        line.calls()
    }

    /// Runs a pass without a fault.
    pub async fn pass(self: &Arc<Self>) -> Followed {
        self.process(0).0.follow().await.expect("a pass without a fault")
    }

    /// Runs a pass each minute, this many times.
    pub async fn minutes(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            self.pass_time(Duration::MINUTE);
            self.pass().await;
        }
    }

    /// Runs passes, first at short intervals and then at long ones, until nothing is open.
    pub async fn until_quiet(self: &Arc<Self>) {
        for minutes in [0, 1, 2, 4, 35, 4, 45, 4, 240, 4, 4] {
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

    /// A WorkSpace as sync reads it.
    pub async fn outline(&self, id: &WorkspaceId) -> Outline {
        self.accepting.workspace(id).await.expect("an answer").expect("an item").into()
    }

    /// The queues of the open rebuilds.
    pub fn queues(&self) -> HashMap<String, String> {
        let scan = json!({ "TableName": "workspaces", "IndexName": "OpenRebuilds" });
        let output = self.database.scan(serde_json::from_value(scan).expect("a scan"));
        let output = serde_json::to_value(output.expect("an answer")).expect("JSON");
        assert_eq!(output.get("LastEvaluatedKey"), None, "one page");
        let items = output["Items"].as_array().into_iter().flatten();
        let text = |item: &Value, name| item[name]["S"].as_str().expect("a text").to_owned();
        items.map(|item| (text(item, "WorkspaceId"), text(item, "OpenRebuild"))).collect()
    }

    /// The current or last rebuild of a WorkSpace.
    pub fn rebuild(&self, id: &WorkspaceId) -> Rebuild {
        let item = self.item(id);
        from_attributes(&item["Rebuild"]["M"], item.get("PreviousState"))
    }

    /// The same, as the reconciler reads it.
    pub fn open_rebuild(&self, id: &WorkspaceId) -> OpenRebuild {
        Self::open(id, self.rebuild(id))
    }

    /// An open rebuild of a WorkSpace that has had no other.
    pub fn open(id: &WorkspaceId, rebuild: Rebuild) -> OpenRebuild {
        OpenRebuild {
            workspace_id: id.clone(),
            rebuild,
            keys: Keys::default(),
            is_protected: false,
            simulation: Simulation::default(),
            description: Description::default(),
        }
    }

    /// The history of a WorkSpace.
    pub fn records(&self, id: &WorkspaceId) -> Vec<Rebuild> {
        self.record_items(id).iter().map(|item| from_attributes(item, None)).collect()
    }

    /// The history of a WorkSpace, as items of DynamoDB.
    pub fn record_items(&self, id: &WorkspaceId) -> Vec<Value> {
        let query = json!({
            "TableName": "rebuilds",
            "KeyConditionExpression": "WorkspaceId = :id",
            "ExpressionAttributeValues": { ":id": { "S": id.as_str() } },
        });
        let output = self.database.query(serde_json::from_value(query).expect("a query"));
        let mut output = serde_json::to_value(output.expect("an answer")).expect("JSON");
        serde_json::from_value(output["Items"].take()).expect("items")
    }

    /// Checks a WorkSpace without an open rebuild against what really happened; `accepted` is the
    /// number of its accepted rebuilds. Returns the code of each record, or `SUCCEEDED`.
    pub fn check(&self, id: &WorkspaceId, accepted: usize) -> Vec<String> {
        let item = self.item(id);
        let records = self.records(id);
        let machine = self.machine(id, |machine, _| machine.clone());
        assert!(item.get("OpenRebuild").is_none() && item.get("OpenSince").is_none(), "{item}");
        assert_eq!(records.len(), accepted, "each rebuild has exactly one record: {records:?}");
        let last = records.last().expect("at least one was accepted");
        assert_eq!(*last, self.rebuild(id), "the last record equals the rebuild in the item");
        records.iter().map(|record| truth::check(record, &machine)).collect()
    }
}

/// Runs a pass until it is over, or its process has died.
pub async fn until_death(line: &Line, pass: impl Future) {
    let mut pass = Box::pin(pass);
    poll_fn(|context| match pass.as_mut().poll(context) {
        Poll::Pending if line.has_died() => Poll::Ready(()),
        poll => poll.map(drop),
    })
    .await;
}

fn store(database: Database, line: Arc<Line>) -> Store {
    let wire = SharedHttpConnector::new(Wire { database, line });
    let http = http_client_fn(move |_, _| wire.clone());
    let config = client_config(&system::config("http://localhost:1"), http);
    // Without retries, one fault fails the whole call at once.
    let config =
        config.retry_config(RetryConfig::disabled()).timeout_config(TimeoutConfig::disabled());
    // Nobody would check the signatures.
    let config = config.allow_no_auth().auth_scheme_preference([AuthSchemeId::from("noAuth")]);
    Store::new(config, system::tables())
}

/// A rebuild from DynamoDB's JSON.
fn from_attributes(attributes: &Value, previous_state: Option<&Value>) -> Rebuild {
    let attributes = attributes.as_object().expect("a map").iter();
    let mut plain: serde_json::Map<_, _> = attributes
        .filter(|(name, _)| *name != "WorkspaceId")
        .map(|(name, value)| {
            let name = if name == "RebuildId" { "Id" } else { name };
            (name.to_owned(), plain(value))
        })
        .collect();
    plain.extend(previous_state.map(|state| ("PreviousState".to_owned(), state["S"].clone())));
    serde_json::from_value(plain.into()).expect("a rebuild")
}

/// A string, a whole number, a truth value, or a map of them.
fn plain(value: &Value) -> Value {
    if let Some(map) = value["M"].as_object() {
        return map.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    }
    match (value["N"].as_str(), value["BOOL"].as_bool()) {
        (Some(number), _) => number.parse::<u64>().expect("a whole number").into(),
        (None, Some(is_true)) => is_true.into(),
        (None, None) => value["S"].clone(),
    }
}
