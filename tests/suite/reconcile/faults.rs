//! Every fault at every call of every pass, with every pause until the next pass. The tests
//! enumerate these points, without sampling, and print their number.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::state::State;
use time::Duration;

use super::line::Fault;
use super::machine::{Answer, Machine};
use super::world::World;

const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::minutes(1), Duration::minutes(10), Duration::hours(5)];

/// The pause before each pass: one hands over, one sees REBUILDING, and two see the end. One sees it
/// too early, and one after everything.
const PASSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::minutes(1),
    Duration::minutes(4),
    Duration::minutes(50),
    Duration::minutes(4),
    Duration::hours(4),
];

/// A WorkSpace with an accepted rebuild, just before the pass with this number.
async fn before(number: usize, scenario: &Scenario, world: &Arc<World>) -> WorkspaceId {
    let id = world.add_requested(scenario.machine.clone()).await;
    world.machine(&id, |machine, now| {
        machine.gone_at = scenario.is_gone_after.map(|time| now + time);
        if scenario.is_foreign {
            machine.rebuild_by_others(now);
        }
    });
    if scenario.is_cancelled {
        world.cancel(&id).await.expect("it is cancelled");
    }
    if scenario.is_protected {
        world.protect(&id, true).await;
    }
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
    is_cancelled: bool,
    is_protected: bool,
    /// The codes that it may end with.
    ends: &'static [&'static str],
}

/// More codes that are allowed if a claim or a hand-over fails, or if nobody looks in time.
const UNKNOWN: [&str; 2] = ["HANDOVER_UNKNOWN", "NOT_OBSERVED"];

impl Scenario {
    fn new(name: &'static str, ends: &'static [&'static str]) -> Self {
        let machine = Machine::new();
        Self {
            name,
            machine,
            is_gone_after: None,
            is_foreign: false,
            is_cancelled: false,
            is_protected: false,
            ends,
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
            let hands_over = calls.contains(&"hand over");
            world.until_quiet().await;
            for (call, name) in (1..).zip(calls) {
                for fault in Fault::of(name) {
                    for pause in PAUSES {
                        let id = world.restore(&begin);
                        world.faulty_pass(Some((call, *fault))).await;
                        world.pass_time(pause);
                        world.park(&id);
                        let may_be_unknown = pause > Duration::minutes(1)
                            || hands_over && ["write item", "hand over"].contains(&name);
                        let point =
                            format!("pass {number}, call {call} ({name}), {fault:?}, {pause}");
                        points.push((id, may_be_unknown, point));
                    }
                }
            }
        }
        world.settle(1).await;
        let mut ends = BTreeMap::new();
        for (id, may_be_unknown, point) in &points {
            let end = world.check(id, 1).remove(0);
            let is_right =
                self.ends.contains(&&*end) || *may_be_unknown && UNKNOWN.contains(&&*end);
            assert!(is_right, "{}: {point}: {end}", self.name);
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
async fn a_rebuild_by_somebody_else_is_not_followed() {
    // The other rebuild may be over before somebody looks again.
    let mut scenario = Scenario::new("somebody else is first", &["INVALID_STATE", "SUCCEEDED"]);
    scenario.is_foreign = true;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_refused_hand_over_is_recorded() {
    let mut scenario = Scenario::new("the fleet refuses", &["Refused.Once", "SUCCEEDED"]);
    scenario.machine.answers = [Answer::Refuses].into();
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_throttled_hand_over_is_repeated() {
    let mut scenario = Scenario::new("the fleet throttles", &["SUCCEEDED"]);
    scenario.machine.answers = [Answer::Throttles].into();
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_hand_over_with_a_lost_answer_succeeds() {
    let mut scenario = Scenario::new("the fleet's answer is lost", &["SUCCEEDED"]);
    scenario.machine.answers = [Answer::Loses].into();
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_hand_over_that_is_lost_ends_as_unknown() {
    let mut scenario = Scenario::new("the call is lost", &["HANDOVER_UNKNOWN", "SUCCEEDED"]);
    scenario.machine.answers = [Answer::Drops].into();
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
    scenario.machine = Machine::in_state(State::Suspended);
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_workspace_that_stays_in_updating_ends_in_invalid_state() {
    let mut scenario = Scenario::new("the WorkSpace stays in UPDATING", &["INVALID_STATE"]);
    scenario.machine = Machine::in_state(State::Updating);
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_cancelled_rebuild_is_recorded_as_cancelled() {
    let mut scenario = Scenario::new("a client cancels it", &["CANCELLED"]);
    scenario.is_cancelled = true;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_rebuild_of_a_protected_workspace_ends_untouched() {
    let mut scenario = Scenario::new("a client protects it", &["WORKSPACE_PROTECTED"]);
    scenario.is_protected = true;
    scenario.enumerate().await;
}

#[tokio::test]
async fn a_rebuild_without_a_snapshot_ends_untouched() {
    let mut scenario = Scenario::new("there is no snapshot", &["NO_SNAPSHOT"]);
    scenario.machine.snapshot_at = None;
    scenario.enumerate().await;
}
