//! Many rebuilds with a hostile fleet and random faults, against what really happened. A longer run:
//! `HOSTILE_REBUILDS=20000 cargo test hostile -- --nocapture`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rebuild_workspaces::error::CancelError;
use rebuild_workspaces::fleet::KeyUse;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::{IdempotencyKey, Rebuild, RebuildId, Status};
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use serde_json::Value;
use time::Duration;

use super::chance::Chance;
use super::machine::{Answer, Machine};
use super::world::{World, until_death};

const WORKSPACES: usize = 100;
/// How many rebuilds may run at the same time.
const CAP: usize = 30;
/// How many hand-overs of a pass may be on their way when the first one stays unanswered.
const AT_A_TIME: usize = 8;

/// Each is what it is called.
const KEYS: [Option<&str>; 6] =
    [None, None, None, Some("enabled"), Some("unusable"), Some("denied")];

/// A WorkSpace, and what its clients know.
struct Subject {
    id: WorkspaceId,
    /// The number of its accepted rebuilds.
    accepted: usize,
    /// Its item while a rebuild was requested.
    requested: Option<Value>,
    /// Each key, and the rebuild that it was last used for.
    keys: BTreeMap<String, RebuildId>,
    /// The last answer to a cancellation of each rebuild. (A claim that refused one may be taken back.)
    cancelled: BTreeMap<RebuildId, bool>,
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
        snapshot_at: Machine::new().snapshot_at.filter(|_| !chance.one_in(20)),
        key: (*chance.pick(&KEYS)).map(str::to_owned),
        ..Machine::new()
    }
}

/// A client requests a rebuild, with a new key or an old one. Returns whether a new one was accepted.
async fn request(world: &Arc<World>, subject: &mut Subject, chance: &mut Chance) -> bool {
    let id = &subject.id;
    let new_key = format!("k{}", subject.keys.len());
    let old_keys: Vec<_> = subject.keys.keys().cloned().collect();
    let is_repeat = !old_keys.is_empty() && chance.one_in(3);
    let key = if is_repeat { chance.pick(&old_keys).clone() } else { new_key };
    let new = world.new_rebuild();
    // Parameters that depend on the key, so that a repeat has the same.
    let hours = [None, None, None, Some(1), Some(24), Some(240)];
    let rebuild = Rebuild {
        idempotency_key: IdempotencyKey::from_client(&key).expect("a key"),
        maximum_snapshot_age_hours: hours[key.bytes().map(usize::from).sum::<usize>() % 6],
        wait_for_disconnect: key.ends_with(['1', '4', '7']).then_some(true),
        ..new
    };
    let Ok(accepted) = world.request(id, rebuild).await else { return false };
    let earlier = subject.keys.insert(key, accepted.rebuild_id);
    if accepted.is_replay {
        assert_eq!(earlier, Some(accepted.rebuild_id), "the answer to another key");
    } else if let Some(earlier) = earlier {
        let record = world.records(id).into_iter().find(|record| record.id == earlier);
        let ended_at = record.and_then(|record| Some(record.ending()?.at)).expect("it has ended");
        let since = Timestamp::from(world.now()).since(ended_at);
        assert!(since >= Duration::DAY, "a key was forgotten after {since}");
    }
    !accepted.is_replay
}

/// Something happens to a WorkSpace, or not.
async fn happen(world: &Arc<World>, subject: &mut Subject, is_open: bool, chance: &mut Chance) {
    use State::{Available, Maintenance, Rebooting, Starting, Suspended, Unhealthy};
    let id = &subject.id.clone();
    if chance.one_in(if is_open { 80 } else { 8 }) && request(world, subject, chance).await {
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
    if is_open && chance.one_in(30) {
        let rebuild_id = world.rebuild(id).id;
        let is_cancelled = match world.cancel(id).await {
            Ok(rebuild) => rebuild.status() == Status::Cancelled,
            Err(CancelError::NotCancellable { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        // In a table that was just restored, the item contradicts the record.
        if world.records(id).iter().all(|record| record.id != rebuild_id) {
            subject.cancelled.insert(rebuild_id, is_cancelled);
        }
    }
    if chance.one_in(150) {
        world.protect(id, world.item(id).get("Protection").is_none()).await;
    }
    if chance.one_in(300) {
        world.machine(id, Machine::rebuild_by_others);
    }
    if chance.one_in(60) {
        let is_connected = chance.one_in(2);
        world.machine(id, |machine, now| machine.connections.push((now, is_connected)));
    }
    if chance.one_in(300) {
        let time = chance.up_to(Duration::hours(2));
        world.machine(id, |machine, now| machine.extended_until = Some(now + time));
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
    // Its state alternates for half a day, as fast as passes look.
    if chance.one_in(1000) {
        world.machine(id, |machine, now| {
            for minutes in 0..720 {
                let state = if minutes % 2 == 0 { Unhealthy } else { Available };
                machine.becomes(now + Duration::minutes(minutes), state);
            }
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

/// How many rebuilds count as running.
fn running(world: &World) -> usize {
    let queues = world.queues();
    queues.values().filter(|queue| ["HANDED_OVER", "REBUILDING"].contains(&&***queue)).count()
}

/// Runs passes until nothing is open, with a fleet that is hostile no longer.
async fn calm_down(world: &Arc<World>, subjects: &[Subject]) {
    world.traffic(|traffic| {
        traffic.hostility = None;
        traffic.limits.max_concurrent = usize::MAX;
    });
    // Otherwise each trial of a pause of the fleet might meet another call that gets no answer.
    for subject in subjects {
        world.machine(&subject.id, |machine, now| {
            machine.answers.clear();
            machine.connections.push((now, false));
            machine.extended_until = None;
        });
    }
    // Each rebuild that waits for its user is looked at once in ten minutes.
    world.minutes(12).await;
    world.until_quiet().await;
}

#[tokio::test]
async fn a_hostile_fleet_makes_no_record_false() {
    let rebuilds = std::env::var("HOSTILE_REBUILDS")
        .map_or(1000, |rebuilds| rebuilds.parse().expect("a number"));
    let mut chance = Chance::unseen();
    let world = World::new();
    world.traffic(|traffic| {
        traffic.hostility = Some(chance.fork());
        traffic.limits.max_concurrent = CAP;
        traffic.keys.insert("unusable".to_owned(), KeyUse::Unusable);
        traffic.keys.insert("denied".to_owned(), KeyUse::NotAllowedToAsk);
    });
    let mut subjects = Vec::new();
    let (mut accepted, mut faults, mut passes, mut ended) = (0, 0, 0, Vec::new());
    let mut most_running = 0;
    let (mut on_their_way, mut landed_late) = (Vec::new(), 0);
    while accepted < rebuilds || faults < 5 * rebuilds {
        subjects.resize_with(WORKSPACES, || Subject {
            id: world.add(machine(&mut chance)),
            accepted: 0,
            requested: None,
            keys: BTreeMap::new(),
            cancelled: BTreeMap::new(),
        });
        let open = world.queues();
        for subject in &mut subjects {
            let before = subject.accepted;
            let is_open = open.contains_key(subject.id.as_str());
            happen(&world, subject, is_open, &mut chance).await;
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
        for line in [&first_line, &second_line] {
            line.be_random(chance.fork());
            // A process may be stopped for so long.
            let (world, mut chance) = (Arc::clone(&world), chance.fork());
            line.delay(move || {
                let times = [Duration::seconds(2), Duration::seconds(20), Duration::minutes(50)];
                world.pass_time(chance.up_to(*chance.clone().pick(&times)));
            });
        }
        let ran_before = running(&world);
        let unanswered_before = world.traffic(|traffic| traffic.unanswered);
        let is_alone = chance.one_in(2);
        tokio::join!(until_death(&first_line, first.follow()), async {
            if !is_alone {
                until_death(&second_line, second.follow()).await;
            }
        });
        // Each of two passes may hand over as many as were free when they began.
        let passes_now = if is_alone { 1 } else { 2 };
        let free = CAP.saturating_sub(ran_before) * passes_now;
        let unanswered = world.traffic(|traffic| traffic.unanswered) - unanswered_before;
        assert!(unanswered <= AT_A_TIME * passes_now, "{unanswered} had no answer");
        let run = running(&world);
        assert!(run <= ran_before + free, "{run} run, {ran_before} before, alone: {is_alone}");
        most_running = most_running.max(run);
        faults += first_line.faults() + second_line.faults();
        on_their_way.extend(first_line.take_on_their_way());
        on_their_way.extend(second_line.take_on_their_way());
        if chance.one_in(4) {
            landed_late += on_their_way.len();
            world.land(std::mem::take(&mut on_their_way));
        }
        passes += 1;
        if passes % 15 == 0 {
            world.process(0).0.sync().await.expect("a pass");
        }
    }
    let wrong_answers = world.traffic(|traffic| traffic.wrong_answers);
    calm_down(&world, &subjects).await;
    let mut ends = BTreeMap::new();
    for subject in subjects.iter().chain(&ended).filter(|subject| subject.accepted > 0) {
        let records = world.records(&subject.id);
        for (rebuild_id, is_cancelled) in &subject.cancelled {
            let record = records.iter().find(|record| record.id == *rebuild_id);
            let status = record.expect("a record").status();
            assert_eq!(status == Status::Cancelled, *is_cancelled, "{record:?}");
        }
        for end in world.check(&subject.id, subject.accepted) {
            *ends.entry(end).or_insert(0) += 1;
        }
    }
    println!(
        "{accepted} rebuilds, {passes} passes, {faults} calls that failed, {landed_late} landed late, \
         {wrong_answers} wrong answers about a WorkSpace, at most {most_running} at once, \
         ends: {ends:?}"
    );
}
