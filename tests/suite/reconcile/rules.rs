//! The rules that keep a rebuild from being done twice and its end from being guessed, one test each.

use std::sync::Arc;

use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::Status;
use rebuild_workspaces::state::State;
use serde_json::json;
use time::Duration;

use super::line::Fault;
use super::machine::{Answer, Machine};
use super::world::{PASS, World};

/// The position of the claim among the calls of a pass that hands one rebuild over.
pub const CLAIM: usize = 13;

fn text(value: &str) -> serde_json::Value {
    json!({ "S": value })
}

/// How often the WorkSpace was wiped for one of our rebuilds.
pub fn own_wipes(world: &World, id: &WorkspaceId) -> usize {
    world.machine(id, |machine, _| machine.wipes.iter().filter(|wipe| wipe.by.is_some()).count())
}

/// Runs a pass a minute until the rebuild has ended; returns its code, checked against the truth, and
/// the minutes that it took.
pub async fn end_of(world: &Arc<World>, id: &WorkspaceId) -> (String, usize) {
    for minutes in 0..400 {
        world.pass().await;
        if world.item(id).get("OpenRebuild").is_none() {
            return (world.check(id, 1).remove(0), minutes);
        }
        world.pass_time(Duration::MINUTE);
    }
    panic!("the rebuild never ended: {}", world.item(id));
}

#[tokio::test]
async fn a_hand_over_without_an_answer_is_never_repeated() {
    for answer in [Answer::Loses, Answer::Drops] {
        let world = World::new();
        // It fails so soon that no pass sees it in REBUILDING, and ERROR allows a rebuild.
        let machine = Machine {
            answers: [answer].into(),
            duration: Duration::seconds(30),
            outcome: State::Error,
            ..Machine::new()
        };
        let id = world.add_requested(machine).await;
        let (code, minutes) = end_of(&world, &id).await;
        assert_eq!(code, "HANDOVER_UNKNOWN");
        assert!((30..40).contains(&minutes), "{minutes}");
        assert_eq!(own_wipes(&world, &id), usize::from(answer == Answer::Loses));
        assert_eq!(world.rebuild(&id).status(), Status::Unknown);
    }
}

#[tokio::test]
async fn a_hand_over_without_an_answer_that_shows_later_succeeds() {
    let world = World::new();
    let machine =
        Machine { answers: [Answer::Loses].into(), lag: Duration::minutes(10), ..Machine::new() };
    let id = world.add_requested(machine).await;
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
    assert_eq!(own_wipes(&world, &id), 1);
}

#[tokio::test]
async fn a_hand_over_that_was_not_taken_is_repeated() {
    let world = World::new();
    let answers = [Answer::Throttles, Answer::Throttles].into();
    let id = world.add_requested(Machine { answers, ..Machine::new() }).await;
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
}

/// A pass dies between its claim and its call.
#[tokio::test]
async fn a_claim_whose_pass_died_is_only_watched() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    world.faulty_pass(Some((CLAIM + 1, Fault::Died))).await;
    assert!(world.rebuild(&id).claim.is_some());
    assert_eq!(end_of(&world, &id).await.0, "HANDOVER_UNKNOWN");
    assert_eq!(own_wipes(&world, &id), 0);
    assert_eq!(world.item(&id)["State"]["S"], "AVAILABLE");
}

/// The SDK retries the claim after a lost answer, and its condition fails because it has landed.
#[tokio::test]
async fn a_pass_recognises_its_own_claim() {
    let world = World::new();
    let id =
        world.add_requested(Machine { answers: [Answer::Refuses].into(), ..Machine::new() }).await;
    world.faulty_pass(Some((CLAIM, Fault::AnswerLostAndRetried))).await;
    assert_eq!(end_of(&world, &id).await.0, "Refused.Once");
}

#[tokio::test]
async fn a_rebuild_that_nobody_observed_is_unknown() {
    let world = World::new();
    let id =
        world.add_requested(Machine { duration: Duration::minutes(12), ..Machine::new() }).await;
    world.pass().await;
    world.pass_time(Duration::minutes(50));
    let (code, minutes) = end_of(&world, &id).await;
    assert_eq!((code.as_str(), minutes), ("NOT_OBSERVED", 3));
    assert_eq!(world.rebuild(&id).status(), Status::Unknown);
}

#[tokio::test]
async fn one_outdated_answer_decides_nothing() {
    use State::{Available, Error, Rebuilding, Suspended, Terminated};
    // What the fleet says at minutes 0, 1, 2 and so on; later, it tells the truth. The rebuild is
    // handed over at the first minute with an allowed state, or one later if another state was noted.
    let rows: [(&str, &[Option<State>]); 7] = [
        ("REBUILDING before the hand-over", &[Some(Rebuilding)]),
        ("SUSPENDED before the hand-over", &[Some(Suspended), Some(Suspended)]),
        ("left out before the hand-over", &[None, None]),
        ("REBUILDING just after the call", &[Some(Available), Some(Rebuilding), Some(Available)]),
        (
            "AVAILABLE while it is wiped",
            &[
                Some(Available),
                Some(Rebuilding),
                Some(Rebuilding),
                Some(Rebuilding),
                Some(Available),
            ],
        ),
        (
            "ERROR while it is wiped",
            &[
                Some(Available),
                Some(Rebuilding),
                Some(Rebuilding),
                Some(Rebuilding),
                Some(Error),
                Some(Error),
            ],
        ),
        ("gone while it is wiped", &[Some(Available), None, Some(Terminated), None]),
    ];
    for (name, says) in rows {
        let world = World::new();
        let machine = Machine { says: says.iter().copied().collect(), ..Machine::new() };
        let id = world.add_requested(machine).await;
        let (code, minutes) = end_of(&world, &id).await;
        assert_eq!(code, "SUCCEEDED", "{name}");
        assert!((43..50).contains(&minutes), "{name}: {minutes}");
    }
}

/// The lag hides the rebuild at first, and an outdated answer shows somebody else's.
#[tokio::test]
async fn an_older_rebuild_of_somebody_else_is_not_taken_for_ours() {
    let world = World::new();
    let says = [Some(State::Available), Some(State::Rebuilding)];
    let says = says.into_iter().chain([Some(State::Available); 6]).collect();
    let lag = Duration::minutes(10);
    let id = world.add_requested(Machine { lag, says, ..Machine::new() }).await;
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
}

#[tokio::test]
async fn a_state_on_the_way_decides_nothing() {
    let world = World::new();
    let on_the_way = Some(State::Unhealthy);
    let id = world.add_requested(Machine { on_the_way, ..Machine::new() }).await;
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
}

/// Every answer that leaves it out for three minutes, and then one more about it alone.
#[tokio::test]
async fn a_workspace_is_gone_only_if_the_fleet_does_not_know_its_id_either() {
    let world = World::new();
    let says = [Some(State::Available)].into_iter().chain([None; 4]);
    let says = says.chain([Some(State::Rebuilding)]).collect();
    let id = world.add_requested(Machine { says, ..Machine::new() }).await;
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");
}

#[tokio::test]
async fn a_rebuild_of_somebody_else_is_not_adopted() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    world.machine(&id, Machine::rebuild_by_others);
    let (code, minutes) = end_of(&world, &id).await;
    assert_eq!((code.as_str(), minutes), ("INVALID_STATE", 3));
    assert_eq!(world.item(&id)["State"]["S"], "REBUILDING");
}

#[tokio::test]
async fn a_restored_rebuild_is_closed_from_its_record() {
    let world = World::new();
    let id = world.add_requested(Machine { outcome: State::Error, ..Machine::new() }).await;
    let requested = world.item(&id);
    world.pass().await;
    let claimed = world.item(&id);
    assert_eq!(end_of(&world, &id).await.0, "REBUILD_FAILED");
    let ended = world.rebuild(&id);

    for restored in [requested, claimed] {
        world.put_item(&restored);
        world.minutes(5).await;
        assert_eq!(world.check(&id, 1), ["REBUILD_FAILED"]);
        assert_eq!(world.rebuild(&id), ended);
        assert_eq!(own_wipes(&world, &id), 1);
        assert_eq!(world.item(&id)["State"]["S"], "AVAILABLE", "its state before the rebuild");
    }
}

/// Each hand-over fails, in each pass anew. It takes two seconds; the clock here adds up what calls take
/// at the same time.
#[tokio::test]
async fn a_fleet_that_hangs_does_not_hold_up_the_looks() {
    let world = World::new();
    let running =
        world.add_requested(Machine { duration: Duration::minutes(10), ..Machine::new() }).await;
    world.pass().await;
    world.minutes(4).await;
    assert!(world.rebuild(&running).observed_at().is_some());
    for _ in 0..29 {
        world
            .add_requested(Machine { answers: [Answer::Throttles; 20].into(), ..Machine::new() })
            .await;
    }
    world.traffic(|traffic| traffic.hand_over_time = Duration::seconds(2));
    for _ in 0..11 {
        let begin = world.now();
        let pass = world.pass().await;
        assert!(!pass.is_complete, "{pass:?}");
        let took = world.now() - begin;
        // Eight may begin before the time is up.
        assert!(took <= PASS + Duration::seconds(16), "a pass took {took}");
        world.pass_time(Duration::MINUTE - took);
    }
    assert_eq!(world.check(&running, 1), ["SUCCEEDED"]);
}

#[tokio::test]
async fn rebuilds_that_wait_do_not_hold_up_those_that_are_ready() {
    let world = World::new();
    world.traffic(|traffic| traffic.is_paced = true);
    for _ in 0..2600 {
        world.add_requested(Machine::in_state(State::Maintenance)).await;
    }
    world.pass_time(Duration::SECOND);
    let mut ready = vec![];
    for _ in 0..25 {
        ready.push(world.add_requested(Machine::new()).await);
    }
    for minute in 1..=10 {
        let begin = world.now();
        world.pass().await;
        world.pass_time(Duration::MINUTE - (world.now() - begin));
        if ready.iter().all(|id| world.rebuild(id).claim.is_some()) {
            println!("2600 wait, 25 are ready: handed over within {minute} passes");
            return;
        }
    }
    panic!("still waiting after ten minutes");
}

#[tokio::test]
async fn a_rebuild_expires() {
    let world = World::new();
    let id = world.add_requested(Machine::in_state(State::Stopped)).await;
    world.pass_time(Duration::days(35));
    let calls = world.faulty_pass(None).await;
    assert!(!calls.contains(&"ask fleet") && !calls.contains(&"hand over"), "{calls:?}");
    assert_eq!(world.check(&id, 1), ["EXPIRED"]);
    assert_eq!(world.item(&id)["State"]["S"], "AVAILABLE", "its state before the rebuild");
}

#[tokio::test]
async fn a_passing_state_has_an_hour_from_its_first_look() {
    let world = World::new();
    let id = world.add_requested(Machine::in_state(State::Starting)).await;
    // A long backlog: nobody looks for five hours.
    world.pass_time(Duration::hours(5));
    world.minutes(50).await;
    world.machine(&id, |machine, now| machine.becomes(now, State::Pending));
    world.minutes(9).await;
    assert!(world.item(&id).get("OpenRebuild").is_some());
    world.machine(&id, |machine, now| machine.becomes(now, State::Available));
    assert_eq!(end_of(&world, &id).await.0, "SUCCEEDED");

    let id = world.add_requested(Machine::in_state(State::Starting)).await;
    let (code, minutes) = end_of(&world, &id).await;
    assert_eq!((code.as_str(), minutes), ("INVALID_STATE", 60));
}

/// The world's fleet is the real one.
#[tokio::test]
async fn a_rebuild_for_another_fleet_is_not_handed_over() {
    let world = World::new();
    let change = |id: &WorkspaceId, claimed: bool| {
        world.edit(id, |item| {
            let rebuild = &mut item["Rebuild"]["M"];
            rebuild["FleetMode"] = text("Simulated");
            if claimed {
                item["OpenRebuild"] = text("HANDED_OVER");
                let rebuild = &mut item["Rebuild"]["M"];
                rebuild["ClaimId"] = text("11111111-1111-4111-8111-111111111111");
                rebuild["ClaimedAt"] = text("2024-01-01T00:00:00Z");
                rebuild["SnapshotAt"] = text("2024-01-01T00:00:00Z");
            }
        });
    };
    let requested = world.add_requested(Machine::new()).await;
    let claimed = world.add_requested(Machine::new()).await;
    change(&requested, false);
    change(&claimed, true);
    let calls = world.faulty_pass(None).await;
    assert!(!calls.contains(&"ask fleet") && !calls.contains(&"hand over"), "{calls:?}");
    for (id, status, state) in
        [(requested, Status::Failed, "AVAILABLE"), (claimed, Status::Unknown, "REBUILDING")]
    {
        assert_eq!(world.check(&id, 1), ["FLEET_CHANGED"]);
        assert_eq!(world.rebuild(&id).status(), status);
        assert_eq!(world.item(&id)["State"]["S"], state);
    }
}

/// RFC 3339 can write a time that is outside its own years in UTC.
#[tokio::test]
async fn an_item_with_an_impossible_time_does_not_stop_a_pass() {
    let world = World::new();
    let broken = world.add_requested(Machine::new()).await;
    let good = world.add_requested(Machine::new()).await;
    world.edit(&broken, |item| {
        item["Rebuild"]["M"]["CreatedAt"] = text("9999-12-31T23:59:59-23:59");
    });
    let pass = world.pass().await;
    assert_eq!((pass.failures, pass.handed_over), (1, 1), "{pass:?}");
    assert!(world.rebuild(&good).claim.is_some());
}
