//! What AWS does not check before it rebuilds: the key of an encrypted volume, the user's connection, and
//! changes of a volume.

use std::sync::Arc;

use rebuild_workspaces::fleet::KeyUse;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::{Rebuild, WaitingFor};
use rebuild_workspaces::state::State;
use time::Duration;

use super::line::Fault;
use super::machine::Machine;
use super::world::World;

const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/1";

fn encrypted() -> Machine {
    Machine { key: Some(KEY.to_owned()), ..Machine::new() }
}

/// A WorkSpace with a rebuild that waits, or not, while its user is connected.
async fn requested(world: &Arc<World>, machine: Machine, waits: Option<bool>) -> WorkspaceId {
    let id = world.add(machine);
    let rebuild = Rebuild { wait_for_disconnect: waits, ..world.new_rebuild() };
    world.request(&id, rebuild).await.expect("accepted");
    id
}

fn wipes(world: &World, id: &WorkspaceId) -> usize {
    world.machine(id, |machine, _| machine.wipes.len())
}

/// The calls of a pass with this name.
fn named(calls: &[&str], name: &str) -> usize {
    calls.iter().filter(|call| **call == name).count()
}

#[tokio::test]
async fn a_key_that_is_not_enabled_fails_the_rebuild() {
    for (key, code) in [
        (KeyUse::Enabled, "SUCCEEDED"),
        (KeyUse::Unusable, "ENCRYPTION_KEY_UNUSABLE"),
        (KeyUse::NotAllowedToAsk, "SUCCEEDED"),
    ] {
        let world = World::new();
        world.traffic(|traffic| traffic.keys.insert(KEY.to_owned(), key));
        let id = world.add_requested(encrypted()).await;
        let pass = world.pass().await;
        assert_eq!(pass.failures, 0, "{key:?}");
        assert_eq!(pass.unchecked_keys, usize::from(key == KeyUse::NotAllowedToAsk), "{key:?}");
        world.until_quiet().await;
        assert_eq!(world.check(&id, 1), [code]);
        assert_eq!(wipes(&world, &id), usize::from(key != KeyUse::Unusable), "{key:?}");
    }
}

#[tokio::test]
async fn a_key_is_asked_about_once_in_a_pass() {
    let world = World::new();
    for _ in 0..60 {
        world.add_requested(encrypted()).await;
    }
    world.add_requested(Machine::new()).await;
    let calls = world.faulty_pass(None).await;
    assert_eq!((named(&calls, "ask key"), named(&calls, "hand over")), (1, 61));
}

/// A KMS that hangs takes seconds to fail a question, so a question for each rebuild would use up the time of
/// the pass.
#[tokio::test]
async fn a_key_without_an_answer_is_asked_about_again_only_in_the_next_pass() {
    const WITH_KEY: usize = 30;
    let requested = async || {
        let world = World::new();
        for _ in 0..WITH_KEY {
            world.add_requested(encrypted()).await;
        }
        world.pass_time(Duration::SECOND);
        world.add_requested(Machine { key: Some("another".to_owned()), ..Machine::new() }).await;
        world.add_requested(Machine::new()).await;
        world
    };
    let calls = requested().await.faulty_pass(None).await;
    let question = calls.iter().position(|call| *call == "ask key").expect("it is asked");
    let world = requested().await;
    let (process, line) = world.process(0);
    line.fail(Some((question + 1, Fault::NotDone)));
    let pass = process.follow().await.expect("a pass");
    let asked = named(&line.calls(), "ask key");
    assert_eq!((asked, pass.handed_over, pass.failures), (2, 2, WITH_KEY), "{pass:?}");

    let calls = world.faulty_pass(None).await;
    assert_eq!((named(&calls, "ask key"), named(&calls, "hand over")), (1, WITH_KEY));
}

/// A question without an answer is asked again in the next pass.
#[tokio::test]
async fn nothing_is_wiped_before_kms_has_answered() {
    let world = World::new();
    let id = world.add_requested(encrypted()).await;
    let calls = world.faulty_pass(None).await;
    let question = calls.iter().position(|call| *call == "ask key").expect("it is asked");
    let world = World::new();
    let again = world.add_requested(encrypted()).await;
    assert_eq!(again, id);
    let calls = world.faulty_pass(Some((question + 1, Fault::AnswerLost))).await;
    assert_eq!(named(&calls, "hand over"), 0);
    world.until_quiet().await;
    assert_eq!(world.check(&again, 1), ["SUCCEEDED"]);
}

#[tokio::test]
async fn a_rebuild_waits_until_its_user_disconnects() {
    let world = World::new();
    let now = world.now();
    let connections = vec![(now, true), (now + Duration::minutes(30), false)];
    let machine = Machine { connections, ..Machine::new() };
    let id = requested(&world, machine.clone(), Some(true)).await;
    let does_not_wait = requested(&world, machine, None).await;
    world.minutes(25).await;
    assert_eq!(world.rebuild(&id).waits_for(), Some(WaitingFor::Disconnect));
    assert_eq!((wipes(&world, &id), wipes(&world, &does_not_wait)), (0, 1));
    // It is asked again every ten minutes, and handed over a minute later.
    world.minutes(17).await;
    assert_eq!(wipes(&world, &id), 1);
    world.until_quiet().await;
    for (id, was_connected) in [(id, false), (does_not_wait, true)] {
        assert_eq!(world.check(&id, 1), ["SUCCEEDED"]);
        let claim = world.rebuild(&id).claim.expect("claimed");
        assert_eq!(claim.user_connected, Some(was_connected));
    }
}

#[tokio::test]
async fn a_rebuild_expires_if_its_user_stays_connected() {
    let world = World::new();
    world.traffic(|traffic| traffic.limits.wait_for_disconnect = true);
    let machine = Machine { connections: vec![(world.now(), true)], ..Machine::new() };
    let id = requested(&world, machine, None).await;
    world.minutes(60).await;
    world.pass_time(Duration::days(1));
    world.until_quiet().await;
    assert_eq!(world.check(&id, 1), ["EXPIRED"]);
    assert_eq!(wipes(&world, &id), 0);
}

/// An error says nothing, so it lets no rebuild through that waits for its user. Others go on.
#[tokio::test]
async fn an_error_never_counts_as_disconnected() {
    for (waits, wiped) in [(Some(true), 0), (None, 1)] {
        let world = World::new();
        let id = requested(&world, Machine::new(), waits).await;
        let calls = world.faulty_pass(None).await;
        let question = calls.iter().position(|call| *call == "ask connections");
        let question = question.expect("it is asked");
        let world = World::new();
        let again = requested(&world, Machine::new(), waits).await;
        assert_eq!(again, id);
        world.faulty_pass(Some((question + 1, Fault::AnswerLost))).await;
        assert_eq!(wipes(&world, &id), wiped, "{waits:?}");
        // The fleet knows nothing of this user, which blocks nothing.
        world.until_quiet().await;
        assert_eq!(world.check(&id, 1), ["SUCCEEDED"], "{waits:?}");
    }
}

/// Rebuilds that wait for their users take no place, and few calls.
#[tokio::test]
async fn who_waits_for_a_user_holds_nobody_up() {
    let world = World::new();
    world.traffic(|traffic| traffic.limits.max_concurrent = 1);
    let connected = Machine { connections: vec![(world.now(), true)], ..Machine::new() };
    for _ in 0..50 {
        requested(&world, connected.clone(), Some(true)).await;
    }
    world.pass_time(Duration::SECOND);
    let ready = requested(&world, Machine::new(), Some(true)).await;
    assert_eq!(world.pass().await.handed_over, 1);
    world.minutes(1).await;
    assert_eq!(wipes(&world, &ready), 1);
    world.traffic(|traffic| traffic.limits.max_concurrent = 2);
    let mut looks = 0;
    for _ in 0..10 {
        world.pass_time(Duration::MINUTE);
        looks += named(&world.faulty_pass(None).await, "ask connections");
    }
    // At most one for each chunk of the queue and minute.
    assert!(looks <= 20, "{looks}");
}

#[tokio::test]
async fn a_rebuild_waits_while_a_volume_is_extended() {
    for (minutes, code) in [(40, "SUCCEEDED"), (600, "INVALID_STATE")] {
        let world = World::new();
        let extended_until = Some(world.now() + Duration::minutes(minutes));
        let id = world.add_requested(Machine { extended_until, ..Machine::new() }).await;
        world.minutes(30).await;
        assert_eq!(world.rebuild(&id).waits_for(), Some(WaitingFor::Modification));
        assert_eq!(wipes(&world, &id), 0);
        world.minutes(35).await;
        world.until_quiet().await;
        assert_eq!(world.check(&id, 1), [code]);
    }
}

#[tokio::test]
async fn the_end_shows_the_new_address() {
    for (outcome, code) in [
        (State::Available, "SUCCEEDED"),
        (State::Error, "REBUILD_FAILED"),
        (State::Impaired, "REBUILD_FAILED"),
    ] {
        let world = World::new();
        let id = world.add_requested(Machine { outcome, ..Machine::new() }).await;
        world.until_quiet().await;
        assert_eq!(world.check(&id, 1), [code]);
        let rebuild = world.rebuild(&id);
        let ending = rebuild.ending().expect("an end");
        assert_eq!(ending.ip_address.as_deref(), Some("10.0.0.1"));
        assert_eq!(world.item(&id)["IpAddress"]["S"], "10.0.0.1");
        assert_eq!(world.item(&id)["State"]["S"], outcome.to_string());
    }
}
