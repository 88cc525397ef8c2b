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
    println!("burst: 1000 rebuilds of 12 minutes, 1.5 calls/s: {passes} passes, one a minute");
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
    println!(
        "burst: 3000 rebuilds of 12 to 60 minutes, 1.5 calls/s: {passes} passes, one a minute"
    );
}

/// 5,000 wait, each rebuild takes an hour, and neither cap nor budget binds: the rate of calls does. A longer
/// run: `BURST_MINUTES=180 cargo test rate_of_calls -- --nocapture`.
#[tokio::test]
async fn hand_overs_use_the_rate_of_calls() {
    let minutes =
        std::env::var("BURST_MINUTES").map_or(75, |minutes| minutes.parse().expect("a number"));
    let world = World::new();
    world.traffic(|traffic| traffic.is_paced = true);
    let machine = Machine { duration: Duration::HOUR, ..Machine::new() };
    let ids = burst(&world, 5000, machine).await;
    let mut handed_over = 0;
    for _ in 0..minutes {
        let begin = world.now();
        handed_over += world.pass().await.handed_over;
        world.pass_time(begin + Duration::MINUTE - world.now());
    }
    let delay_of = |id: &WorkspaceId| {
        let ended = world.machine(id, |machine, _| Some(machine.wipes.first()?.ended))?;
        let record = world.records(id).into_iter().next()?;
        Some(record.ending().expect("an end").at.since(ended.into()))
    };
    let delays: Vec<_> = ids.iter().filter_map(delay_of).collect();
    let latest = delays.iter().max().expect("some have ended");
    let calls = world.traffic(|traffic| traffic.calls);
    println!(
        "5000 wait, 1.5 calls/s: {} hand-overs and {} calls an hour, {}.{:02} calls each; \
         {} ended, recorded within {latest}",
        handed_over * 60 / minutes,
        calls * 60 / minutes,
        calls / handed_over,
        calls * 100 / handed_over % 100,
        delays.len()
    );
    assert!(calls * 60 / minutes >= 5400 * 9 / 10, "nine tenths of the rate");
    // Two of its own; the others are looks, of up to 25 rebuilds at a time.
    assert!(calls <= handed_over * 4, "{calls} calls for {handed_over}");
    assert!(*latest <= Duration::minutes(6));
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
