//! Many rebuilds with a hostile fleet and random faults, against what really happened. A longer run:
//! `SOAK_REBUILDS=20000 cargo test hostile -- --nocapture`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::workspace::{State, WorkspaceId};
use serde_json::Value;
use time::Duration;

use super::chance::Chance;
use super::machine::{Answer, Machine};
use super::world::{World, until_death};

const WORKSPACES: usize = 100;

/// A WorkSpace, the number of its accepted rebuilds, and its item while a rebuild was requested.
struct Subject {
    id: WorkspaceId,
    accepted: usize,
    requested: Option<Value>,
}

fn machine(chance: &mut Chance) -> Machine {
    let lag = *chance.pick(&[Duration::ZERO, Duration::MINUTE, Duration::minutes(10)]);
    let times = [Duration::minutes(4), Duration::minutes(25), Duration::minutes(60)];
    let time = *chance.pick(&times);
    let outcomes =
        [State::Available, State::Available, State::Stopped, State::Error, State::Unhealthy];
    Machine {
        // While another rebuild hides one of ours, nobody can tell them apart.
        duration: lag * 2 + chance.up_to(time) + Duration::minutes(2),
        lag,
        outcome: *chance.pick(&outcomes),
        on_the_way: chance.one_in(4).then_some(State::Unhealthy),
        ..Machine::new()
    }
}

/// Something happens to a WorkSpace, or not.
async fn happen(world: &Arc<World>, subject: &mut Subject, chance: &mut Chance) {
    use State::{Available, Maintenance, Rebooting, Starting, Suspended, Unhealthy};
    let id = &subject.id;
    let is_open = world.item(id).get("OpenRebuild").is_some();
    if !is_open && chance.one_in(8) && world.accept(id).await {
        subject.accepted += 1;
        subject.requested = Some(world.item(id));
        let answers = [
            Answer::Takes,
            Answer::Takes,
            Answer::Throttles,
            Answer::Refuses,
            Answer::Loses,
            Answer::Drops,
            Answer::FailsAtOnce,
        ];
        let answer = *chance.pick(&answers);
        world.machine(id, |machine, _| machine.answers = [answer].into());
    }
    if chance.one_in(300) {
        world.machine(id, Machine::rebuild_by_others);
    }
    if chance.one_in(60) {
        let states = [Available, Available, Starting, Maintenance, Rebooting, Unhealthy, Suspended];
        let state = *chance.pick(&states);
        world.machine(id, |machine, now| {
            machine.becomes(now, state);
            // Somebody resumes it, sooner or later.
            machine.becomes(now + chance.up_to(Duration::hours(2)), Available);
        });
    }
    if chance.one_in(3000) {
        world.machine(id, |machine, now| machine.gone_at = Some(now));
    }
    // Somebody restores the item from a backup; the records survive.
    if let Some(item) = subject.requested.take_if(|_| chance.one_in(400))
        && let Some(last) = world.records(id).last()
        && last.id == world.rebuild(id).id
        && last.id.to_string() == item["Rebuild"]["M"]["Id"]["S"]
    {
        world.put_item(&item);
    }
}

#[tokio::test]
async fn a_hostile_fleet_makes_no_record_false() {
    let rebuilds =
        std::env::var("SOAK_REBUILDS").map_or(2000, |rebuilds| rebuilds.parse().expect("a number"));
    let mut chance = Chance::unseen();
    let world = World::new();
    world.traffic(|traffic| traffic.hostility = Some(chance.fork()));
    let mut subjects = Vec::new();
    let (mut accepted, mut faults, mut passes, mut ended) = (0, 0, 0, Vec::new());
    // Each rebuild meets five faults on average.
    while accepted < rebuilds || faults < 5 * rebuilds {
        subjects.resize_with(WORKSPACES, || Subject {
            id: world.add(machine(&mut chance)),
            accepted: 0,
            requested: None,
        });
        for subject in &mut subjects {
            let before = subject.accepted;
            happen(&world, subject, &mut chance).await;
            accepted += subject.accepted - before;
        }
        // WorkSpaces that have left the fleet make room for others.
        ended.extend(subjects.extract_if(.., |subject| {
            world.machine(&subject.id, |machine, now| machine.is_gone_by(now.into()))
        }));
        world.pass_time(*chance.pick(&[
            Duration::MINUTE,
            Duration::MINUTE,
            Duration::MINUTE,
            Duration::MINUTE,
            Duration::minutes(7),
        ]));
        if chance.one_in(200) {
            world.pass_time(Duration::hours(5));
        }
        let ((first, first_line), (second, second_line)) = (world.process(0), world.process(1));
        first_line.be_random(chance.fork());
        second_line.be_random(chance.fork());
        tokio::join!(until_death(&first_line, first.follow()), async {
            if chance.one_in(2) {
                until_death(&second_line, second.follow()).await;
            }
        });
        faults += first_line.faults() + second_line.faults();
        passes += 1;
        if passes % 15 == 0 {
            world.process(0).0.sync().await.expect("a pass");
        }
    }
    let wrong_answers = world.traffic(|traffic| {
        traffic.hostility = None;
        traffic.wrong_answers
    });
    world.until_quiet().await;
    let mut ends = BTreeMap::new();
    for subject in subjects.iter().chain(&ended).filter(|subject| subject.accepted > 0) {
        for end in world.check(&subject.id, subject.accepted) {
            *ends.entry(end).or_insert(0) += 1;
        }
    }
    println!(
        "soak: {accepted} rebuilds, {passes} passes, {faults} calls that failed, \
         {wrong_answers} wrong answers about a WorkSpace, ends: {ends:?}"
    );
}
