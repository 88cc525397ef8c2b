//! A fault at every call of every pass, in every way that a call can go wrong, at every length of
//! the pause until the next pass. Enumerated, not sampled: the number of points is printed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::workspace::{State, WorkspaceId};
use time::Duration;

use super::world::{Answer, Fault, Machine, World};

const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::minutes(1), Duration::minutes(10), Duration::hours(5)];

/// How long after the one before it each pass comes.
const PASSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::minutes(1),
    Duration::minutes(4),
    Duration::minutes(50),
    Duration::hours(4),
];

/// The ways that a call can go wrong. (What the SDK reads twice, it reads.)
fn faults(call: &str) -> &'static [Fault] {
    match call {
        "write item" | "write record" => {
            &[Fault::NotDone, Fault::AnswerLost, Fault::AnswerLostAndRetried, Fault::Died]
        }
        _ => &[Fault::NotDone, Fault::AnswerLost, Fault::Died],
    }
}

/// A WorkSpace whose rebuild has been accepted, before the pass of this number.
async fn before(number: usize, scenario: &Scenario, world: &Arc<World>) -> WorkspaceId {
    let mut machine = scenario.machine.clone();
    machine.gone_at = scenario.is_gone_after.map(|time| world.now() + time);
    // The table thinks that it is rebuildable.
    let state = std::mem::replace(&mut machine.state, State::Available);
    let id = world.add(machine);
    world.machine(&id, |machine, _| machine.state = state);
    if scenario.is_foreign {
        world.machine(&id, Machine::rebuild_by_others);
    }
    assert!(world.accept(&id).await);
    for pause in &PASSES[..number] {
        world.pass_time(*pause);
        world.pass().await;
    }
    world.pass_time(PASSES[number]);
    id
}

struct Scenario {
    name: &'static str,
    machine: Machine,
    is_gone_after: Option<Duration>,
    is_foreign: bool,
    /// How the rebuild must end if the next pass comes within a minute.
    soon: &'static [&'static str],
    /// How else it may end if it comes later.
    late: &'static [&'static str],
}

impl Scenario {
    fn new(name: &'static str, soon: &'static [&'static str]) -> Self {
        Self {
            name,
            machine: Machine::new(),
            is_gone_after: None,
            is_foreign: false,
            soon,
            late: &["HANDOVER_UNKNOWN", "NOT_OBSERVED"],
        }
    }

    /// Runs all of its points, lets them come to rest, and checks them.
    async fn enumerate(self) {
        let world = World::new();
        let mut points = Vec::new();
        for number in 0..PASSES.len() {
            let id = before(number, &self, &world).await;
            if world.item(&id).get("OpenRebuild").is_none() {
                break;
            }
            let begin = world.snapshot(&id);
            let calls = world.faulty_pass(None).await;
            world.until_quiet().await;
            for (call, name) in (1..).zip(calls) {
                for fault in faults(name) {
                    for pause in PAUSES {
                        let id = world.restore(&begin);
                        world.faulty_pass(Some((call, *fault))).await;
                        world.pass_time(pause);
                        world.park(&id);
                        let point = format!("pass {number}, call {call} ({name}), {fault:?}");
                        points.push((id, pause, point));
                    }
                }
            }
        }
        world.settle().await;
        let mut ends = BTreeMap::new();
        for (id, pause, point) in &points {
            let end = world.check(id, 1).remove(0);
            let is_right = self.soon.contains(&&*end)
                || *pause > Duration::minutes(1) && self.late.contains(&&*end);
            assert!(is_right, "{}: {point}, {pause}: {end}", self.name);
            *ends.entry(end).or_insert(0) += 1;
        }
        println!("faults, {}: {} points, {ends:?}", self.name, points.len());
    }
}

#[tokio::test]
async fn ordinary() {
    Scenario::new("ordinary", &["SUCCEEDED"]).enumerate().await;
}

#[tokio::test]
async fn seen_late() {
    let mut scenario = Scenario::new("REBUILDING is seen late", &["SUCCEEDED"]);
    scenario.machine.lag = Duration::minutes(3);
    scenario.enumerate().await;
}

#[tokio::test]
async fn fails() {
    let mut scenario = Scenario::new("the rebuild fails", &["REBUILD_FAILED"]);
    scenario.machine.outcome = State::Error;
    scenario.enumerate().await;
}

#[tokio::test]
async fn somebody_else_is_first() {
    let mut scenario = Scenario::new("somebody else is first", &["SUCCEEDED"]);
    scenario.is_foreign = true;
    scenario.enumerate().await;
}

#[tokio::test]
async fn refused() {
    // Who finds a hand-over that another pass has died over can't know what became of it.
    let ends = &["Refused.Once", "SUCCEEDED", "HANDOVER_UNKNOWN"];
    let mut scenario = Scenario::new("the fleet refuses", ends);
    scenario.machine.answers = vec![Answer::Refuses];
    scenario.enumerate().await;
}

#[tokio::test]
async fn throttled() {
    let mut scenario = Scenario::new("the fleet throttles", &["SUCCEEDED"]);
    scenario.machine.answers = vec![Answer::Throttles];
    scenario.enumerate().await;
}

#[tokio::test]
async fn answer_lost() {
    let mut scenario = Scenario::new("the fleet's answer is lost", &["SUCCEEDED"]);
    scenario.machine.answers = vec![Answer::Loses];
    scenario.enumerate().await;
}

#[tokio::test]
async fn vanishes() {
    let mut scenario = Scenario::new("the WorkSpace vanishes", &["WORKSPACE_GONE"]);
    scenario.is_gone_after = Some(Duration::minutes(20));
    scenario.enumerate().await;
}

#[tokio::test]
async fn never_ends() {
    let mut scenario = Scenario::new("the fleet never leaves REBUILDING", &["TIMED_OUT"]);
    scenario.machine.duration = Duration::days(100);
    scenario.enumerate().await;
}

#[tokio::test]
async fn suspended() {
    let mut scenario = Scenario::new("the WorkSpace is suspended", &["INVALID_STATE"]);
    scenario.machine.state = State::Suspended;
    scenario.enumerate().await;
}

#[tokio::test]
async fn passing_state() {
    let mut scenario = Scenario::new("the WorkSpace is updated for long", &["INVALID_STATE"]);
    scenario.machine.state = State::Updating;
    scenario.enumerate().await;
}
