//! What stops the hand-overs of all WorkSpaces: a pause, and the budget of a day.

use std::sync::Arc;

use rebuild_workspaces::control::{Pause, Resumption};
use rebuild_workspaces::ids::WorkspaceId;
use time::Duration;

use super::chance::Chance;
use super::limits::{requested, wipes};
use super::line::Fault;
use super::machine::{Answer, Machine};
use super::races::Pass;
use super::world::{Process, World};

/// The first read of what pauses hand-overs, among the calls of a pass.
const READ: usize = 6;
/// The count of a hand-over, among the calls of a pass that hands one rebuild over.
const COUNT: usize = 12;

fn budget(world: &World, rebuilds_per_day: u32) {
    world.traffic(|traffic| traffic.limits.rebuilds_per_day = Some(rebuilds_per_day));
}

/// Two passes take up a rebuild. A pause comes at any point of them, and time passes at any other point,
/// except between the last look at the clocks and the call, which nobody can exclude.
#[tokio::test]
async fn no_call_begins_long_after_a_pause_was_answered() {
    const ROUNDS: usize = 1000;
    let world = World::new();
    let mut chance = Chance::unseen();
    let mut calls_on_their_way = 0;
    for round in 0..ROUNDS {
        let id = world.add_requested(Machine::new()).await;
        let calls = || world.machine(&id, |machine, _| machine.calls.clone());
        let processes = [world.process(0), world.process(1)];
        let mut passes = processes
            .each_ref()
            .map(|(process, line)| Pass::new(Arc::clone(line), process.follow()));
        let mut steps_before = chance.below(30);
        let mut paused = None;
        loop {
            if steps_before == 0 && paused.is_none() {
                world.pause().await;
                paused = Some((world.now(), calls().len()));
            }
            steps_before = steps_before.saturating_sub(1);
            let waiting: Vec<_> =
                (0..2).filter(|number| passes[*number].next().is_some()).collect();
            if waiting.is_empty() && paused.is_some() {
                break;
            }
            let is_at_call = passes.iter().any(|pass| pass.next() == Some("hand over"));
            if !is_at_call && chance.one_in(4) {
                world.pass_time(chance.up_to(Duration::seconds(12)));
            }
            if !waiting.is_empty() {
                passes[*chance.pick(&waiting)].step();
            }
        }
        drop(passes);
        drop(processes);
        world.minutes(1).await;
        let (paused_at, before) = paused.expect("it was paused");
        for call in calls().iter().skip(before) {
            let delay = call.at - paused_at;
            assert!(delay <= Duration::seconds(15), "round {round}: called {delay} later");
            calls_on_their_way += 1;
        }
        world.resume().await;
        world.pass().await;
        assert_eq!(wipes(&world, std::slice::from_ref(&id)), 1, "round {round}: it did not go on");
        world.remove(&id);
    }
    assert!(calls_on_their_way > ROUNDS / 50, "{calls_on_their_way} calls were on their way");
}

#[tokio::test]
async fn what_runs_is_followed_during_a_pause_and_what_waits_may_be_cancelled() {
    let world = World::new();
    let [runs] = requested(&world, 1, &Machine::new()).await.try_into().expect("one");
    world.pass().await;
    world.pause().await;
    let [waits] = requested(&world, 1, &Machine::new()).await.try_into().expect("one");
    let pass = world.pass().await;
    assert!(pass.is_paused && pass.is_complete);
    assert_eq!((pass.handed_over, pass.failures), (0, 0));
    world.minutes(60).await;
    assert_eq!(world.check(&runs, 1), ["SUCCEEDED"]);
    world.cancel(&waits).await.expect("cancelled");
    world.until_quiet().await;
    assert_eq!(world.check(&waits, 1), ["CANCELLED"]);
}

#[tokio::test]
async fn the_budget_of_a_day_pauses_hand_overs_until_an_operator_resumes_them() {
    let world = World::new();
    budget(&world, 20);
    let ids = requested(&world, 21, &Machine::new()).await;
    let pass = world.pass().await;
    assert_eq!((pass.handed_over, pass.failures, pass.is_paused), (20, 0, true));
    let pause = world.control().budget_pause.expect("a pause");
    assert_eq!(pause.paused_by.as_deref(), Some("budget"));
    // Another day by itself does not end the pause.
    world.traffic(|traffic| traffic.limits.hand_over_deadline = Duration::days(9));
    world.pass_time(Duration::days(2));
    assert!(world.pass().await.is_paused);
    assert_eq!(wipes(&world, &ids), 20);
    world.resume().await;
    let pass = world.pass().await;
    assert_eq!((pass.handed_over, pass.is_paused), (1, false));
    assert_eq!(world.control().hand_overs.of_a_day(world.now().into()), 1, "a new budget");
}

/// A pause that a caller makes and ends does not begin a new budget.
#[tokio::test]
async fn only_a_budget_that_was_used_up_begins_anew() {
    let world = World::new();
    budget(&world, 3);
    requested(&world, 2, &Machine::new()).await;
    world.pass().await;
    world.pause().await;
    world.resume().await;
    assert_eq!(world.control().hand_overs.of_a_day(world.now().into()), 2);
    requested(&world, 2, &Machine::new()).await;
    assert_eq!(world.pass().await.handed_over, 1);
}

/// The fleet takes none of them, twice the claim is lost, and once its answer.
#[tokio::test]
async fn a_hand_over_that_was_not_made_does_not_count() {
    let world = World::new();
    budget(&world, 1);
    let answers = [Answer::Throttles; 3].into();
    let id = world.add_requested(Machine { answers, ..Machine::new() }).await;
    for _ in 0..3 {
        world.pass().await;
        world.pass_time(Duration::MINUTE);
    }
    for fault in [Fault::NotDone, Fault::LandsLate, Fault::AnswerLost] {
        world.faulty_pass(Some((COUNT + 1, fault))).await;
        world.pass_time(Duration::MINUTE);
    }
    assert_eq!(world.control().hand_overs.of_a_day(world.now().into()), 0);
    assert_eq!(world.pass().await.handed_over, 1);
    world.until_quiet().await;
    assert_eq!(world.check(&id, 1), ["SUCCEEDED"]);
}

/// Passes that overlap count together. (One that takes up what the other has claimed counts it for a
/// moment, so the budget may seem to be used up a little earlier.)
#[tokio::test]
async fn overlapping_passes_do_not_exceed_the_budget() {
    let mut chance = Chance::unseen();
    let world = World::new();
    budget(&world, 3);
    let mut used_up = 0;
    for round in 0..100 {
        let ids = requested(&world, 6, &Machine::new()).await;
        let [(one, first), (other, second)] = [world.process(0), world.process(1)];
        first.be_slow(chance.fork());
        second.be_slow(chance.fork());
        let (one, other) = tokio::join!(one.follow(), other.follow());
        let handed_over = [one, other].map(|pass| pass.expect("a pass").handed_over);
        let wiped = wipes(&world, &ids);
        assert_eq!(wiped, handed_over.iter().sum::<usize>(), "round {round}");
        assert!(wiped <= 3, "round {round}: {wiped} were wiped");
        used_up += usize::from(wiped == 3);
        for id in &ids {
            world.remove(id);
        }
        world.resume().await;
    }
    assert!(used_up > 50, "the budget was used up in {used_up} rounds");
}

/// Whatever the count of a hand-over meets, no more is handed over than was counted.
#[tokio::test]
async fn a_count_in_doubt_hands_nothing_over() {
    for fault in [Fault::NotDone, Fault::AnswerLost, Fault::LandsLate] {
        let world = World::new();
        let id = world.add_requested(Machine::new()).await;
        let (process, line) = world.process(1);
        line.fail(Some((COUNT, fault)));
        let pass = process.follow().await.expect("a pass");
        assert_eq!((pass.handed_over, pass.failures), (0, 1), "{fault:?}");
        assert_eq!(wipes(&world, std::slice::from_ref(&id)), 0, "{fault:?}");
        let counted = world.control().hand_overs;
        world.land(line.take_on_their_way());
        world.pass().await;
        let more = world.control().hand_overs.of_a_day(world.now().into())
            - counted.of_a_day(world.now().into());
        assert!(more >= 1, "{fault:?}");
    }
}

#[tokio::test]
async fn without_a_word_from_the_table_nothing_is_handed_over() {
    let world = World::new();
    let ids = requested(&world, 1, &Machine::new()).await;
    let (process, line) = world.process(1);
    line.fail(Some((READ, Fault::NotDone)));
    let pass = process.follow().await.expect("a pass");
    assert_eq!((pass.handed_over, pass.failures), (0, 1), "{:?}", line.calls());
    assert_eq!(wipes(&world, &ids), 0);
}

/// One queue cannot be listed: the others go on, and nothing is handed over beyond the cap.
#[tokio::test]
async fn an_error_of_one_queue_does_not_end_the_pass() {
    for number in 1..=4 {
        let world = World::new();
        let [runs] = requested(&world, 1, &Machine::new()).await.try_into().expect("one");
        world.pass().await;
        world.minutes(4).await;
        world.traffic(|traffic| traffic.limits.max_concurrent = 2);
        let waits: [WorkspaceId; 2] =
            requested(&world, 2, &Machine::new()).await.try_into().expect("two");
        let (process, line) = world.process(1);
        line.fail(Some((number, Fault::NotDone)));
        let pass = process.follow().await.expect("a pass");
        assert_eq!(pass.failures, 1, "{:?}", line.calls());
        // The queues are those of ended, handed over, requested and rebuilding ones.
        let expected = [1, 0, 0, 0][number - 1];
        assert_eq!(pass.handed_over, expected, "{:?}", line.calls());
        assert_eq!(wipes(&world, &waits), expected);
        world.until_quiet().await;
        assert_eq!(world.check(&runs, 1), ["SUCCEEDED"]);
    }
}

/// The operator knows that the fleet is well again.
#[tokio::test]
async fn hand_overs_that_were_resumed_are_not_paused_for_what_was_before() {
    let world = World::new();
    let answers = [Answer::Drops].into();
    requested(&world, 3, &Machine { answers, ..Machine::new() }).await;
    world.minutes(4).await;
    let [waits] = requested(&world, 1, &Machine::new()).await.try_into().expect("one");
    assert!(world.pass().await.is_paused);
    world.resume().await;
    let pass = world.pass().await;
    assert_eq!((pass.handed_over, pass.is_paused), (1, false));
    assert_eq!(wipes(&world, &[waits]), 1);
}

/// A pass uses up the budget while an operator ends all pauses: the answer of the operator says what then
/// holds, and none of the pauses that it has ended.
#[tokio::test]
async fn the_end_of_all_pauses_leaves_none() {
    let mut chance = Chance::unseen();
    for round in 0..100 {
        let world = World::new();
        budget(&world, 1);
        requested(&world, 2, &Machine::new()).await;
        let [(one, first), (other, second)] = [world.process(0), world.process(1)];
        first.be_slow(chance.fork());
        second.be_slow(chance.fork());
        let now = world.now() + Duration::HOUR;
        let resumption = Resumption { resumed_by: None, resumed_at: now.into() };
        let resume = other.store.resume(&resumption, now);
        let (pass, resumed) = tokio::join!(one.follow(), resume);
        pass.expect("a pass");
        let (control, _) = resumed.expect("resumed");
        assert_eq!(control.pauses().next(), None, "round {round}");
    }
}

/// Two operators end the pause of the budget. The write of one is held up, and lands after a pass has
/// counted a hand-over: it does not begin the new budget again.
#[tokio::test]
async fn a_new_budget_begins_once() {
    let world = World::new();
    budget(&world, 1);
    requested(&world, 2, &Machine::new()).await;
    assert_eq!(world.pass().await.handed_over, 1);
    let [(first, _), (second, line)] = [world.process(0), world.process(1)];
    let resume = async |process: &Process, minutes| {
        let now = world.now() + Duration::minutes(minutes);
        let resumption = Resumption { resumed_by: None, resumed_at: now.into() };
        process.store.resume(&resumption, now).await.is_ok()
    };
    line.fail(Some((2, Fault::LandsLate)));
    assert!(!resume(&second, 2).await, "its write is on its way");
    assert!(resume(&first, 1).await);
    assert_eq!(first.follow().await.expect("a pass").handed_over, 1);
    let on_their_way = line.take_on_their_way();
    assert_eq!(on_their_way.len(), 1);
    world.land(on_their_way);
    assert_eq!(world.control().hand_overs.of_a_day(world.now().into()), 1);
}

/// The first count makes the item, unless a caller's pause has made it meanwhile.
#[tokio::test]
async fn the_first_count_does_not_undo_a_pause() {
    let mut chance = Chance::unseen();
    for round in 0..100 {
        let world = World::new();
        requested(&world, 1, &Machine::new()).await;
        let [(one, first), (other, second)] = [world.process(0), world.process(1)];
        first.be_slow(chance.fork());
        second.be_slow(chance.fork());
        let now = world.now();
        let pause = Pause { paused_by: None, paused_at: now.into(), reason: None };
        let (pass, paused) = tokio::join!(one.follow(), other.store.pause(&pause, now));
        pass.expect("a pass");
        paused.expect("paused");
        assert!(world.control().caller_pause.is_some(), "round {round}");
    }
}
