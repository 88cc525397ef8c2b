//! Processes that are held up, calls that are not taken, and states that alternate: none of them wipes
//! twice, wipes what was protected or cancelled before, or makes a record false.

use std::sync::Arc;

use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::Status;
use rebuild_workspaces::state::State;
use time::Duration;

use super::line::Fault;
use super::machine::{Answer, Machine};
use super::races::Pass;
use super::rules::{CLAIM, end_of, own_wipes};
use super::world::World;

/// A pass that is stopped once its claim has landed, before it sees the answer.
async fn stopped_after_its_claim(world: &Arc<World>, resume: impl AsyncFnOnce()) {
    let (process, line) = world.process(1);
    line.fail(Some((CLAIM, Fault::AnswerLate)));
    let mut pass = Pass::new(Arc::clone(&line), process.follow());
    while pass.next().expect("an answer is on its way") != "answer" {
        pass.step();
    }
    resume().await;
    while pass.next().is_some() {
        pass.step();
    }
    assert!(!line.calls().contains(&"hand over"), "{:?}", line.calls());
}

/// Meanwhile another pass ends the rebuild, the user requests another one, and it succeeds.
#[tokio::test]
async fn a_pass_that_was_stopped_after_its_claim_makes_no_call() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    stopped_after_its_claim(&world, async || {
        assert_eq!(end_of(&world, &id).await.0, "HANDOVER_UNKNOWN");
        world.pass_time(Duration::SECOND);
        assert!(world.accept(&id).await);
        world.until_quiet().await;
        assert_eq!(own_wipes(&world, &id), 1);
    })
    .await;
    assert_eq!(own_wipes(&world, &id), 1);
    assert_eq!(world.check(&id, 2), ["HANDOVER_UNKNOWN", "SUCCEEDED"]);
}

#[tokio::test]
async fn a_protection_in_the_gap_between_claim_and_call_holds_if_the_pass_is_slow() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    stopped_after_its_claim(&world, async || {
        world.protect(&id, true).await;
        world.pass_time(Duration::seconds(11));
    })
    .await;
    assert_eq!(world.rebuild(&id).claim, None, "the claim is taken back, which is true");
    world.until_quiet().await;
    assert_eq!(world.check(&id, 1), ["WORKSPACE_PROTECTED"]);
}

/// Only the monotonic clock shows it: the wall clock was set back meanwhile.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_hides_no_delay() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    stopped_after_its_claim(&world, async || {
        tokio::time::advance(std::time::Duration::from_secs(11)).await;
        world.pass_time(Duration::HOUR * -1);
    })
    .await;
    assert_eq!(world.rebuild(&id).claim, None);
}

/// A claim whose answer is lost may have landed, or may still land.
#[tokio::test]
async fn a_claim_in_doubt_is_taken_back_for_good() {
    for fault in [Fault::AnswerLost, Fault::LandsLate] {
        let world = World::new();
        let id = world.add_requested(Machine::new()).await;
        let (process, line) = world.process(1);
        line.fail(Some((CLAIM, fault)));
        let pass = process.follow().await.expect("a pass");
        assert_eq!((pass.handed_over, pass.failures), (0, 1), "{fault:?}");
        let before = world.item(&id);
        assert_eq!(world.rebuild(&id).claim, None, "{fault:?}");
        world.land(line.take_on_their_way());
        assert_eq!(world.item(&id), before, "{fault:?}: it landed after it was taken back");
        assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED", "{fault:?}");
    }
}

/// The first note is held up; later looks clear what they noted. Then it lands.
#[tokio::test]
async fn a_note_that_lands_late_brings_no_old_time_back() {
    let world = World::new();
    let says =
        [Some(State::Available), Some(State::Rebuilding), None, None, Some(State::Rebuilding)];
    let says = says.into_iter().chain([Some(State::Rebuilding); 3]).chain([None]);
    let machine = Machine { says: says.collect(), ..Machine::new() };
    let id = world.add_requested(machine).await;
    world.pass().await;
    world.minutes(3).await;
    let (process, line) = world.process(1);
    // The note is the first write of this pass.
    let calls = {
        let (process, line) = world.process(0);
        process.follow().await.expect("a pass");
        line.calls()
    };
    let note = 1 + calls.iter().position(|call| *call == "write item").expect("a note");
    world.edit(&id, |item| {
        let rebuild = item["Rebuild"]["M"].as_object_mut().expect("a map");
        rebuild.remove("Observation");
    });
    world.machine(&id, |machine, _| machine.says.push_front(None));
    line.fail(Some((note, Fault::LandsLate)));
    process.follow().await.expect("a pass");
    let on_their_way = line.take_on_their_way();
    assert_eq!(on_their_way.len(), 1, "{:?}", line.calls());
    world.minutes(5).await;
    world.land(on_their_way);
    assert_eq!(world.rebuild(&id).observation(), None);
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
}

/// The fleet answers 500 without taking the call, and somebody rebuilds the WorkSpace in the console.
#[tokio::test]
async fn a_rebuild_without_a_confirmed_call_says_that_it_is_inferred() {
    let world = World::new();
    let drops = Machine { answers: [Answer::Drops].into(), ..Machine::new() };
    let id = world.add_requested(drops).await;
    world.pass().await;
    world.minutes(3).await;
    world.machine(&id, Machine::rebuild_by_others);
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
    assert!(world.rebuild(&id).is_inferred());
    assert_eq!(own_wipes(&world, &id), 0);

    let confirmed = world.add_requested(Machine::new()).await;
    assert_eq!(end_of(&world, &confirmed).await.0, "SUCCEEDED");
    assert!(!world.rebuild(&confirmed).is_inferred());
}

/// Looks work, and the fleet answers 500 to every call, without taking it. An hour later it recovers.
#[tokio::test]
async fn a_fleet_that_does_not_answer_is_left_alone() {
    let world = World::new();
    let mut waiting = Vec::new();
    for _ in 0..29 {
        let answers = [Answer::Drops; 9].into();
        waiting.push(world.add_requested(Machine { answers, ..Machine::new() }).await);
    }
    let calls = |world: &World| -> usize {
        waiting.iter().map(|id| world.machine(id, |machine, _| machine.calls.len())).sum()
    };
    world.pass().await;
    assert!((1..=8).contains(&calls(&world)), "{} calls in the first pass", calls(&world));
    for _ in 0..9 {
        world.pass_time(Duration::MINUTE);
        world.pass().await;
        assert!(calls(&world) <= 8, "{} calls", calls(&world));
    }
    let paused = world.control().fleet_pause.expect("it pauses, and says so");
    assert_eq!(paused.paused_by.as_deref(), Some("fleet"));
    assert!(world.pass().await.is_paused);
    world.minutes(50).await;
    assert!(calls(&world) <= 8 + 4, "{} calls in an hour", calls(&world));
    for id in &waiting {
        world.machine(id, |machine, _| machine.answers.clear());
    }
    let called = |id: &WorkspaceId| world.machine(id, |machine, _| !machine.calls.is_empty());
    let expected: Vec<_> = waiting.iter().map(|id| (id, called(id))).collect();
    world.minutes(60).await;
    assert_eq!(world.control().fleet_pause, None, "the fleet has answered");
    world.until_quiet().await;
    for (id, was_called) in expected {
        let expected = if was_called { "HANDOVER_UNKNOWN" } else { "SUCCEEDED" };
        assert_eq!(world.check(id, 1), [expected]);
    }
}

#[tokio::test]
async fn states_that_alternate_keep_no_rebuild_open() {
    for other in [Some(State::Unhealthy), None] {
        let world = World::new();
        let before = [Some(State::Available), Some(State::Rebuilding), Some(State::Rebuilding)];
        let alternating = [Some(State::Available), other].into_iter().cycle().take(600);
        let says = before.into_iter().chain([Some(State::Rebuilding); 2]).chain(alternating);
        let machine = Machine { says: says.collect(), ..Machine::new() };
        let id = world.add_requested(machine).await;
        let (code, minutes) = end_of(&world, &id).await;
        assert_eq!((code.as_str(), minutes), ("TIMED_OUT", 240), "{other:?}");
        assert_eq!(world.rebuild(&id).status(), Status::Unknown);
    }
}

/// Five run at a time, two hundred wait.
#[tokio::test]
async fn the_oldest_are_handed_over_first_while_the_cap_makes_them_wait() {
    let world = World::new();
    world.traffic(|traffic| traffic.limits.max_concurrent = 5);
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let duration = Duration::minutes(4);
        waiting.push(world.add_requested(Machine { duration, ..Machine::new() }).await);
        world.pass_time(Duration::SECOND);
    }
    let claimed_at = |id: &WorkspaceId| {
        let record = world.records(id).pop().expect("a record");
        record.claim.expect("it was handed over").at
    };
    while !world.queues().is_empty() {
        world.minutes(1).await;
    }
    assert!(waiting.is_sorted_by_key(claimed_at), "a younger one was handed over first");
}
