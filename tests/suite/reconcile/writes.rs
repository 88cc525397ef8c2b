//! The writes of the reconciler to an item that has changed since it was read: none takes effect.
//! One row for each condition of each write.

use rebuild_workspaces::error::Unconfirmed;
use rebuild_workspaces::rebuild::{
    Class, Conclusion, End, Ending, Keys, Observation, Phase, Rebuild, Status,
};
use rebuild_workspaces::state::State;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{Condition, OpenRebuild};
use serde_json::{Value, json};
use uuid::Uuid;

use super::machine::Machine;
use super::world::World;

#[derive(Clone, Copy, Debug)]
enum Write {
    Cancel,
    Claim,
    TakeBack,
    Start,
    ObserveRebuilding,
    Observe,
    Clear,
    End,
    CloseAsRecorded,
    Release,
}

impl Write {
    async fn make(
        self,
        store: &Store,
        read: &OpenRebuild,
        now: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let OpenRebuild { workspace_id, rebuild, .. } = read;
        let end = End { conclusion: Conclusion::Succeeded, state: State::Available };
        let condition =
            Condition { state: State::Available, snapshot_at: now, user_connected: Some(true) };
        let observation = Observation { shown: Class::Gone, since: now };
        match self {
            Self::Cancel => {
                let target = workspace_id.clone().into();
                Ok(store.cancel(&target, rebuild.id, None, now).await.is_ok())
            }
            Self::Claim => Ok(store.claim(read, Uuid::new_v4(), condition, now).await?.is_some()),
            Self::TakeBack => store.take_back(read, claim_id()).await,
            Self::Start => store.start(read, claim_id(), now).await,
            Self::ObserveRebuilding => store.observe_rebuilding(read, now).await,
            Self::Observe => store.observe(read, Some(observation)).await,
            Self::Clear => store.observe(read, None).await,
            Self::End => Ok(store.end(read, &end, None, now).await?.is_some()),
            Self::CloseAsRecorded => store.close_as_recorded(read, rebuild, Keys::default()).await,
            Self::Release => store.release(read, Keys::default()).await,
        }
    }
}

const CLAIM_ID: &str = "11111111-1111-4111-8111-111111111111";
const TIME: &str = "2024-01-01T00:00:00Z";

const OTHER_REBUILD: Change = ("Id", "01890000-0000-7000-8000-000000000000");
const STARTED: Change = ("Status", "STARTED");
const ENDED: Change = ("Status", "FAILED");
const OTHER_CLAIM: Change = ("ClaimId", "22222222-2222-4222-8222-222222222222");
const CLAIM_TAKEN_BACK: Change = ("ClaimId", "");
/// Another write of the reconciler.
const ADVANCED: Change = ("Attempt", "8");

/// A change of the item since it was read: an attribute of the rebuild, and its new value. An empty
/// value removes it.
type Change = (&'static str, &'static str);
/// A write, the rebuild that it is based on, and the changes that must prevent it.
type Row = (Write, Read, &'static [Change]);

/// The rebuild as it was read.
#[derive(Clone, Copy, Debug)]
enum Read {
    Requested,
    /// A state that may decide was noted.
    RequestedWithObservation,
    Claimed,
    ClaimedWithObservation,
    Started,
    Observed,
    ObservedWithObservation,
    Over,
}

impl Read {
    /// Attributes of the rebuild.
    fn attributes(self) -> Value {
        let claim = json!({
            "ClaimId": text(CLAIM_ID), "ClaimedAt": text(TIME), "SnapshotAt": text(TIME),
        });
        let observation =
            json!({ "Observation": { "M": { "Shown": text("WELL"), "Since": text(TIME) } } });
        let observed = json!({ "ObservedAt": text(TIME) });
        let started = json!({ "Status": text(Status::Started), "StartedAt": text(TIME) });
        let succeeded = json!({ "Status": text(Status::Succeeded), "EndedAt": text(TIME) });
        let parts = match self {
            Self::Requested => vec![],
            Self::RequestedWithObservation => vec![observation],
            Self::Claimed => vec![claim],
            Self::ClaimedWithObservation => vec![claim, observation],
            Self::Started => vec![claim, started],
            Self::Observed => vec![claim, started, observed],
            Self::ObservedWithObservation => vec![claim, started, observed, observation],
            Self::Over => vec![claim, succeeded],
        };
        let attempt = json!({ "Attempt": { "N": "7" } });
        let parts =
            parts.iter().chain([&attempt]).flat_map(|part| part.as_object().expect("a map"));
        parts.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

#[tokio::test]
async fn a_write_based_on_an_outdated_read_changes_nothing() {
    use Read::{
        Claimed, ClaimedWithObservation, Observed, ObservedWithObservation, Over, Requested,
        RequestedWithObservation, Started,
    };
    let waiting: &[_] = &[OTHER_REBUILD, STARTED, ENDED, ADVANCED];
    let started: &[_] = &[OTHER_REBUILD, ENDED, ADVANCED];
    let call: &[_] = &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM, CLAIM_TAKEN_BACK];
    let own_or_no_claim: &[_] = &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM];
    let rows: &[Row] = &[
        (Write::Cancel, Requested, own_or_no_claim),
        (Write::Claim, Requested, waiting),
        (Write::Claim, RequestedWithObservation, waiting),
        (Write::TakeBack, Claimed, own_or_no_claim),
        (Write::TakeBack, Requested, own_or_no_claim),
        (Write::Start, Claimed, call),
        (Write::ObserveRebuilding, Claimed, waiting),
        (Write::ObserveRebuilding, ClaimedWithObservation, waiting),
        (Write::ObserveRebuilding, Started, started),
        (Write::Observe, Requested, waiting),
        (Write::Observe, Claimed, waiting),
        (Write::Observe, Started, started),
        (Write::Observe, Observed, started),
        (Write::Clear, RequestedWithObservation, waiting),
        (Write::Clear, ObservedWithObservation, started),
        (Write::End, Requested, waiting),
        (Write::End, RequestedWithObservation, waiting),
        (Write::End, Claimed, waiting),
        (Write::End, ClaimedWithObservation, waiting),
        (Write::End, Started, started),
        (Write::End, Observed, started),
        (Write::End, ObservedWithObservation, started),
        (Write::CloseAsRecorded, Requested, waiting),
        (Write::Release, Over, &[OTHER_REBUILD, ENDED]),
    ];
    let world = World::new();
    let store = world.process(0).0.store;
    for (write, read, changes) in rows {
        for change in [None].into_iter().chain(changes.iter().map(Some)) {
            let id = world.add_requested(Machine::new()).await;
            world.edit(&id, |item| {
                let rebuild = item["Rebuild"]["M"].as_object_mut().expect("a map");
                rebuild.extend(read.attributes().as_object().expect("a map").clone());
            });
            let read_rebuild = world.open_rebuild(&id);
            if let Some(change) = change {
                world.edit(&id, |item| apply(*change, &mut item["Rebuild"]["M"]));
            }
            let before = world.item(&id);
            let is_written = write.make(&store, &read_rebuild, world.now().into()).await;
            let is_written = is_written.expect("an answer");
            let context = format!("{write:?} of {read:?}, after {change:?}");
            assert_eq!(is_written, change.is_none(), "{context}");
            let after = world.item(&id);
            assert_eq!(after != before, is_written, "{context}");
            let rests_on_attempt = changes.contains(&ADVANCED) || matches!(write, Write::TakeBack);
            let ends = matches!(write, Write::End | Write::CloseAsRecorded);
            if is_written && rests_on_attempt && !ends {
                let attempt = &after["Rebuild"]["M"]["Attempt"]["N"];
                assert_eq!(attempt, "8", "{context}: a write that was held up may follow");
            }
        }
    }
}

fn apply((name, value): Change, rebuild: &mut Value) {
    let rebuild = rebuild.as_object_mut().expect("a map");
    match name {
        _ if value.is_empty() => rebuild.remove(name),
        "Attempt" => rebuild.insert(name.to_owned(), json!({ "N": value })),
        _ => rebuild.insert(name.to_owned(), text(value)),
    };
}

fn claim_id() -> Uuid {
    Uuid::try_parse(CLAIM_ID).expect("an id")
}

#[tokio::test]
async fn a_protected_workspace_is_not_claimed() {
    let world = World::new();
    let store = world.process(0).0.store;
    let id = world.add_requested(Machine::new()).await;
    let read = world.open_rebuild(&id);
    world.protect(&id, true).await;
    let before = world.item(&id);
    let is_claimed = Write::Claim.make(&store, &read, world.now().into()).await;
    assert!(!is_claimed.expect("an answer"));
    assert_eq!(world.item(&id), before);

    world.protect(&id, false).await;
    let is_claimed = Write::Claim.make(&store, &read, world.now().into()).await;
    assert!(is_claimed.expect("an answer"));
}

/// A pass that stood still must not write an outdated end over the record.
#[tokio::test]
async fn a_record_is_written_once() {
    let world = World::new();
    let store = world.process(0).0.store;
    let id = world.add(Machine::new());
    let new = Rebuild::new(world.now());
    let ended = |conclusion| {
        let phase = Phase::Ended(Ending { at: world.now().into(), conclusion, ip_address: None });
        Rebuild { phase, ..new.clone() }
    };
    let first = ended(Conclusion::Succeeded);
    let second = ended(Conclusion::Cancelled { by: None });
    for rebuild in [&first, &second] {
        let ended = World::open(&id, rebuild.clone());
        store.record_end(&ended, None).await.expect("recorded");
    }
    let record = store.record(&id, first.id).await.expect("an answer");
    assert_eq!(record, Some(first));
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values and references")]
fn text(value: impl ToString) -> Value {
    json!({ "S": value.to_string() })
}
