//! Every fault at every call of every pass, with every pause until the next pass. The tests
//! enumerate these points, without sampling, and print their number.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::workspace::{State, WorkspaceId};
use time::Duration;

use super::world::{Answer, Fault, Machine, World};

const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::minutes(1), Duration::minutes(10), Duration::hours(5)];

/// The pause before each pass.
const PASSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::minutes(1),
    Duration::minutes(4),
    Duration::minutes(50),
    Duration::hours(4),
];

/// The faults of a call. (A retry matters only to a write: a second read changes nothing.)
fn faults(call: &str) -> &'static [Fault] {
    match call {
        "write item" | "write record" => {
            &[Fault::NotDone, Fault::AnswerLost, Fault::AnswerLostAndRetried, Fault::Died]
        }
        _ => &[Fault::NotDone, Fault::AnswerLost, Fault::Died],
    }
}

/// A WorkSpace with an accepted rebuild, just before the pass with this number.
async fn before(number: usize, scenario: &Scenario, world: &Arc<World>) -> WorkspaceId {
    let mut machine = scenario.machine.clone();
    machine.gone_at = scenario.is_gone_after.map(|time| world.now() + time);
    // The table has a rebuildable state, so that the rebuild is accepted.
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
    /// The allowed codes if the next pass comes within a minute.
    soon: &'static [&'static str],
    /// More codes that are allowed if it comes later.
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

    /// Runs all points of the scenario until nothing is open, and checks the results.
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
async fn an_ordinary_rebuild_succeeds() {
    Scenario::new("ordinary", &["SUCCEEDED"]).enumerate().await;
}

#[tokio::test]
async fn a_rebuild_that_shows_late_succeeds() {
    let mut scenario = Scenario::new("REBUILDING is seen late", &["SUCCEEDED"]);
    scenario.machine.lag = Duration::minutes(3);
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_failed_rebuild_is_recorded_as_failed() {
    let mut scenario = Scenario::new("the rebuild fails", &["REBUILD_FAILED"]);
    scenario.machine.outcome = State::Error;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_rebuild_started_by_somebody_else_is_followed() {
    let mut scenario = Scenario::new("somebody else is first", &["SUCCEEDED"]);
    scenario.is_foreign = true;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_refused_hand_over_is_recorded() {
    // If a pass dies during a hand-over, the next pass cannot know whether the fleet refused it.
    let ends = &["Refused.Once", "SUCCEEDED", "HANDOVER_UNKNOWN"];
    let mut scenario = Scenario::new("the fleet refuses", ends);
    scenario.machine.answers = vec![Answer::Refuses];
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_throttled_hand_over_is_repeated() {
    let mut scenario = Scenario::new("the fleet throttles", &["SUCCEEDED"]);
    scenario.machine.answers = vec![Answer::Throttles];
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_hand_over_with_a_lost_answer_succeeds() {
    let mut scenario = Scenario::new("the fleet's answer is lost", &["SUCCEEDED"]);
    scenario.machine.answers = vec![Answer::Loses];
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_workspace_that_leaves_the_fleet_is_recorded_as_gone() {
    let mut scenario = Scenario::new("the WorkSpace vanishes", &["WORKSPACE_GONE"]);
    scenario.is_gone_after = Some(Duration::minutes(20));
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_rebuild_that_never_ends_times_out() {
    let mut scenario = Scenario::new("the fleet never leaves REBUILDING", &["TIMED_OUT"]);
    scenario.machine.duration = Duration::days(100);
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_suspended_workspace_ends_in_invalid_state() {
    let mut scenario = Scenario::new("the WorkSpace is suspended", &["INVALID_STATE"]);
    scenario.machine.state = State::Suspended;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_workspace_that_stays_in_updating_ends_in_invalid_state() {
    let mut scenario = Scenario::new("the WorkSpace stays in UPDATING", &["INVALID_STATE"]);
    scenario.machine.state = State::Updating;
    scenario.enumerate().await;
}
