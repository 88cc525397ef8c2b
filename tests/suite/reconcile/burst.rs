//! Many open rebuilds at once, with a fleet that limits the rate of calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::ids::WorkspaceId;
use time::Duration;

use super::chance::Chance;
use super::machine::Machine;
use super::world::{PASS, World};

/// Adds `count` WorkSpaces, each with an accepted rebuild.
async fn burst(world: &Arc<World>, count: usize, machine: Machine) -> Vec<WorkspaceId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.add_requested(machine.clone()).await);
    }
    ids
}

/// Runs a pass a minute until nothing is open; returns the number of passes.
async fn drain(world: &Arc<World>) -> usize {
    for passes in 1..1000 {
        let begin = world.now();
        let pass = world.pass().await;
        let took = world.now() - begin;
        // The last hand-over may still wait for the rate limit when the time is up.
        assert!(took < PASS + Duration::seconds(1), "a pass took {took}");
        if pass.open == 0 {
            return passes;
        }
        world.pass_time(Duration::minutes(1) - took);
    }
    panic!("a rebuild never ended");
}

/// Checks that all rebuilds succeeded and were handed over once.
fn check(world: &Arc<World>, ids: &[WorkspaceId]) {
    let ends: BTreeMap<_, usize> =
        ids.iter().flat_map(|id| world.check(id, 1)).fold(BTreeMap::new(), |mut ends, end| {
            *ends.entry(end).or_default() += 1;
            ends
        });
    assert_eq!(ends, BTreeMap::from([("SUCCEEDED".to_owned(), ids.len())]));
}

#[tokio::test]
async fn a_thousand_rebuilds_end_within_the_rate_limit() {
    let world = World::new();
    world.traffic(|traffic| traffic.is_paced = true);
    let machine = Machine { duration: Duration::minutes(12), ..Machine::new() };
    let ids = burst(&world, 1000, machine).await;
    let passes = drain(&world).await;
    check(&world, &ids);
    println!("burst: 1000 rebuilds of 12 minutes, 2 calls/s: {passes} passes, one a minute");
}

/// A quarter of them are over before a pass has had the time to look at everything.
#[tokio::test]
async fn three_thousand_rebuilds_of_mixed_length_end_truly() {
    let world = World::new();
    world.traffic(|traffic| traffic.is_paced = true);
    let mut ids = Vec::new();
    for minutes in [12, 25, 40, 60].into_iter().cycle().take(3000) {
        let machine = Machine { duration: Duration::minutes(minutes), ..Machine::new() };
        ids.push(world.add_requested(machine).await);
    }
    let passes = drain(&world).await;
    check(&world, &ids);
    println!("burst: 3000 rebuilds of 12 to 60 minutes, 2 calls/s: {passes} passes, one a minute");
}

#[tokio::test]
async fn rebuilds_succeed_if_half_of_all_calls_are_throttled() {
    let world = World::new();
    world.traffic(|traffic| traffic.throttling = Some(Chance::unseen()));
    let ids = burst(&world, 60, Machine::new()).await;
    let passes = drain(&world).await;
    check(&world, &ids);
    println!("throttled: 60 rebuilds, half of all calls refused: {passes} passes");
}

/// Neither of the two steps uses up the time of the other.
#[tokio::test]
async fn a_pass_both_hands_over_and_follows() {
    let world = World::new();
    let running = burst(&world, 100, Machine::new()).await;
    world.pass().await;
    world.pass_time(Duration::minutes(2));
    world.traffic(|traffic| traffic.is_paced = true);
    let waiting = burst(&world, 200, Machine::new()).await;
    world.pass_time(Duration::minutes(1));
    let pass = world.pass().await;

    assert!(!pass.is_complete, "{pass:?}");
    assert!(pass.handed_over >= 35, "{pass:?}");
    let is_seen = |id| world.rebuild(id).observed_at().is_some();
    assert!(running.iter().all(is_seen), "the pass followed all running rebuilds");
    assert!(waiting.iter().filter(|id| world.rebuild(id).started_at().is_some()).count() >= 35);
}
