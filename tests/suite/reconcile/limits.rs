//! What keeps an accepted rebuild from being handed over: a client, the snapshots, and the cap.

use std::sync::Arc;

use rebuild_workspaces::error::CancelError;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::Status;
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use serde_json::json;
use time::Duration;

use super::chance::Chance;
use super::machine::{Answer, Machine};
use super::world::{World, until_death};

/// How often the WorkSpaces were wiped.
pub fn wipes(world: &World, ids: &[WorkspaceId]) -> usize {
    ids.iter().map(|id| world.machine(id, |machine, _| machine.wipes.len())).sum()
}

fn cap(world: &World, max_concurrent: usize) {
    world.traffic(|traffic| traffic.limits.max_concurrent = max_concurrent);
}

/// How many rebuilds run: handed over, and not ended.
fn running(world: &World, ids: &[WorkspaceId]) -> usize {
    let runs = |id: &&WorkspaceId| {
        world.machine(id, |machine, now| {
            machine.wipes.iter().any(|wipe| (wipe.began..wipe.ended).contains(&now))
        })
    };
    ids.iter().filter(runs).count()
}

pub async fn requested(world: &Arc<World>, count: usize, machine: &Machine) -> Vec<WorkspaceId> {
    let mut ids = vec![];
    for _ in 0..count {
        ids.push(world.add_requested(machine.clone()).await);
        world.pass_time(Duration::SECOND);
    }
    ids
}

#[tokio::test]
async fn a_rebuild_is_handed_over_only_with_a_recent_snapshot() {
    let world = World::new();
    // Greatest age that the request allows, default, age of the snapshot in seconds, code.
    let day = 24 * 3600;
    for (asked, default, age, expected) in [
        (None, None, Some(365 * day), "SUCCEEDED"),
        (Some(24), None, Some(day), "SUCCEEDED"),
        (Some(24), None, Some(day + 1), "SNAPSHOT_TOO_OLD"),
        (None, Some(24), Some(day), "SUCCEEDED"),
        (None, Some(24), Some(day + 1), "SNAPSHOT_TOO_OLD"),
        (Some(48), Some(24), Some(day + 1), "SUCCEEDED"),
        (Some(1), Some(24), Some(day), "SNAPSHOT_TOO_OLD"),
        (None, None, None, "NO_SNAPSHOT"),
        (Some(24), Some(24), None, "NO_SNAPSHOT"),
    ] {
        world.traffic(|traffic| traffic.limits.maximum_snapshot_age_hours = default);
        let id = world.add_requested(Machine::new()).await;
        let snapshot_at = world.machine(&id, |machine, now| {
            machine.snapshot_at = age.map(|age| (now - Duration::seconds(age)).into());
            machine.snapshot_at
        });
        if let Some(hours) = asked {
            world.edit(&id, |item| {
                let hours = json!({ "N": hours.to_string() });
                item["Rebuild"]["M"]["MaximumSnapshotAgeHours"] = hours;
            });
        }
        world.pass().await;
        let noted = world.rebuild(&id).claim.map(|claim| claim.snapshot_at);
        world.until_quiet().await;
        let context = format!("{asked:?}, {default:?}, {age:?}");
        assert_eq!(world.check(&id, 1), [expected], "{context}");
        let is_handed_over = expected == "SUCCEEDED";
        assert_eq!(noted, snapshot_at.filter(|_| is_handed_over), "{context}");
        assert_eq!(wipes(&world, std::slice::from_ref(&id)), usize::from(is_handed_over));
        assert_eq!(world.item(&id)["State"]["S"], "AVAILABLE", "{context}");
    }
}

#[tokio::test]
async fn a_record_lives_as_long_as_the_deployment_says() {
    let world = World::new();
    for (lifetime, days) in [(None, None), (Some(Duration::days(90)), Some(90))] {
        world.traffic(|traffic| traffic.limits.record_lifetime = lifetime);
        let id = world.add_requested(Machine::new()).await;
        world.until_quiet().await;
        assert_eq!(world.check(&id, 1), ["SUCCEEDED"], "readable until it expires");
        let [record] = &world.record_items(&id)[..] else { panic!("one record") };
        let ended =
            Timestamp::try_from(record["EndedAt"]["S"].as_str().expect("a time").to_owned());
        let ended = ended.expect("a time").epoch_seconds();
        let expiry = record.get("ExpiresAt").map(|time| {
            time["N"].as_str().and_then(|time| time.parse::<i64>().ok()).expect("a number")
        });
        assert_eq!(expiry.map(|expiry| (expiry - ended) / 86_400), days);
    }
}

/// The table was restored to a time when the rebuild was requested, and a client cancels it.
#[tokio::test]
async fn the_record_of_a_cancelled_rebuild_says_how_it_ended() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    let requested = world.item(&id);
    world.until_quiet().await;
    world.put_item(&requested);
    world.cancel(&id).await.expect("it is cancelled");
    world.until_quiet().await;
    assert_eq!(world.check(&id, 1), ["SUCCEEDED"]);
}

/// A record that cannot be read keeps its own rebuild from being handed over, and no other.
#[tokio::test]
async fn a_broken_record_stops_its_rebuild_only() {
    let world = World::new();
    let broken = world.add_requested(Machine::new()).await;
    let good = world.add_requested(Machine::new()).await;
    world.put_record(&json!({
        "WorkspaceId": { "S": broken.as_str() },
        "RebuildId": { "S": world.rebuild(&broken).id.to_string() },
    }));
    let pass = world.pass().await;
    assert_eq!((pass.failures, pass.handed_over), (1, 1), "{pass:?}");
    assert_eq!((wipes(&world, &[broken]), wipes(&world, &[good])), (0, 1));
}

#[tokio::test]
async fn a_protected_workspace_is_not_handed_over() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    world.protect(&id, true).await;
    let calls = world.faulty_pass(None).await;
    assert!(!calls.contains(&"ask fleet") && !calls.contains(&"hand over"), "{calls:?}");
    assert_eq!(world.check(&id, 1), ["WORKSPACE_PROTECTED"]);
    assert_eq!(world.item(&id)["State"]["S"], "AVAILABLE");
    assert!(!world.accept(&id).await);
    world.protect(&id, false).await;
    assert!(world.accept(&id).await);
}

/// Protection that comes too late does not disturb what runs.
#[tokio::test]
async fn a_running_rebuild_of_a_protected_workspace_is_followed() {
    let world = World::new();
    let id = world.add_requested(Machine::new()).await;
    world.pass().await;
    world.protect(&id, true).await;
    world.until_quiet().await;
    assert_eq!(world.check(&id, 1), ["SUCCEEDED"]);
}

#[tokio::test]
async fn no_more_rebuilds_run_than_the_cap() {
    const CAP: usize = 10;
    let world = World::new();
    cap(&world, CAP);
    let ids = requested(&world, 60, &Machine::new()).await;
    // Every other minute the oldest go first.
    world.pass_time(Duration::MINUTE);
    world.pass().await;
    assert_eq!((running(&world, &ids[..CAP]), running(&world, &ids)), (CAP, CAP));
    let mut most = 0;
    for _ in 0..300 {
        world.minutes(1).await;
        let now_running = running(&world, &ids);
        assert!(now_running <= CAP, "{now_running}");
        most = most.max(now_running);
    }
    assert_eq!(most, CAP);
    for id in &ids {
        assert_eq!(world.check(id, 1), ["SUCCEEDED"]);
    }
}

#[tokio::test]
async fn a_cap_of_0_pauses_hand_overs_while_what_runs_is_followed() {
    let world = World::new();
    let running_one = world.add_requested(Machine::new()).await;
    world.pass().await;
    cap(&world, 0);
    let waiting = requested(&world, 30, &Machine::new()).await;
    for _ in 0..60 {
        let pass = world.pass().await;
        assert_eq!((pass.handed_over, pass.free, pass.failures), (0, 0, 0));
        world.pass_time(Duration::MINUTE);
    }
    assert_eq!(world.check(&running_one, 1), ["SUCCEEDED"]);
    assert_eq!(wipes(&world, &waiting), 0);
    // Paused rebuilds can be cancelled, and expire.
    world.cancel(&waiting[0]).await.expect("it is cancelled");
    world.pass_time(Duration::DAY);
    world.pass().await;
    assert_eq!(world.check(&waiting[0], 1), ["CANCELLED"]);
    assert_eq!(world.check(&waiting[1], 1), ["EXPIRED"]);
}

/// The fleet throttles the first 25 of 30, so the next one may be handed over in the same pass.
#[tokio::test]
async fn a_hand_over_that_was_not_taken_does_not_count() {
    let world = World::new();
    cap(&world, 1);
    let throttled = Machine { answers: [Answer::Throttles].into(), ..Machine::new() };
    let mut ids = requested(&world, 25, &throttled).await;
    ids.extend(requested(&world, 5, &Machine::new()).await);
    world.pass_time(Duration::minutes(2) - Duration::seconds(30));
    let pass = world.pass().await;
    assert_eq!((pass.handed_over, pass.free), (1, 0), "{pass:?}");
    assert_eq!((running(&world, &ids[25..]), running(&world, &ids)), (1, 1));
}

/// A thousand races: a pass hands over while clients cancel.
#[tokio::test]
async fn either_the_cancellation_or_the_claim_wins() {
    const AT_ONCE: usize = 25;
    let world = World::new();
    let mut chance = Chance::unseen();
    let (mut cancelled, mut handed_over) = (vec![], vec![]);
    for _ in 0..40 {
        let ids = requested(&world, AT_ONCE, &Machine::new()).await;
        let (process, line) = world.process(0);
        line.be_slow(chance.fork());
        let mut order = ids.clone();
        for place in (1..order.len()).rev() {
            let other = chance.below(u32::try_from(place + 1).expect("few"));
            order.swap(place, other as usize);
        }
        // The claims come some calls after the begin of the pass.
        let mut wait = chance.below(20);
        tokio::join!(until_death(&line, process.follow()), async {
            for id in order {
                for _ in 0..wait {
                    tokio::task::yield_now().await;
                }
                wait = chance.below(3);
                match world.cancel(&id).await {
                    Ok(rebuild) => {
                        assert_eq!(rebuild.status(), Status::Cancelled);
                        cancelled.push(id);
                    }
                    Err(CancelError::NotCancellable { .. }) => handed_over.push(id),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        world.until_quiet().await;
    }
    println!("cancelled in time: {}, too late: {}", cancelled.len(), handed_over.len());
    assert!(cancelled.len() > 100 && handed_over.len() > 100, "a race that both sides can win");
    assert_eq!(wipes(&world, &cancelled), 0);
    assert_eq!(wipes(&world, &handed_over), handed_over.len());
    for (ids, code) in [(cancelled, "CANCELLED"), (handed_over, "SUCCEEDED")] {
        for id in ids {
            assert_eq!(world.check(&id, 1), [code]);
        }
    }
}

/// It starts twice, an hour apart. In between it could have been handed over, had there been a place.
#[tokio::test]
async fn a_passing_state_has_an_hour_without_any_other() {
    let world = World::new();
    cap(&world, 1);
    // Takes the only place in even minutes, which begin with the oldest.
    world.add_requested(Machine { answers: [Answer::Throttles; 3].into(), ..Machine::new() }).await;
    let says = [State::Starting, State::Available, State::Starting].map(Some).into();
    let id = world.add_requested(Machine { says, ..Machine::new() }).await;
    for minutes in [0, 2, 60] {
        world.pass_time(Duration::minutes(minutes));
        world.pass().await;
        assert_eq!(world.rebuild(&id).status(), Status::Requested, "{minutes}");
    }
    cap(&world, 2);
    world.minutes(50).await;
    assert_eq!(world.check(&id, 1), ["SUCCEEDED"]);
}
