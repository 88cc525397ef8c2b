//! The writes of the reconciler to an item that has changed since it was read: none takes effect.
//! One row for each condition of each write.

use rebuild_workspaces::error::Fault;
use rebuild_workspaces::rebuild::{Class, End, Keys, Outcome, Rebuild, Sight, Status};
use rebuild_workspaces::store::Store;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{State, WorkspaceId};
use serde_json::{Value, json};

use super::machine::Machine;
use super::world::World;

#[derive(Clone, Copy, Debug)]
enum Write {
    Cancel,
    Claim,
    Unclaim,
    Start,
    See,
    Note,
    Clear,
    End,
    CloseAsRecorded,
    Release,
}

impl Write {
    async fn make(
        self,
        store: &Store,
        id: &WorkspaceId,
        read: &Rebuild,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let end = End { outcome: Outcome::Succeeded, state: State::Available };
        let sight = Sight { shown: Class::Gone, since: now };
        match self {
            Self::Cancel => Ok(store.cancel(&id.clone().into(), read.id, None, now).await.is_ok()),
            Self::Claim => Ok(store.claim(id, read, now, now).await?.is_some()),
            Self::Unclaim => store.unclaim(id, read).await,
            Self::Start => store.start(id, read, now).await,
            Self::See => store.see(id, read, now).await,
            Self::Note => store.note(id, read, Some(sight)).await,
            Self::Clear => store.note(id, read, None).await,
            Self::End => Ok(store.end(id, read, &end, now).await?.is_some()),
            Self::CloseAsRecorded => store.close_as_recorded(id, read, read, Keys::default()).await,
            Self::Release => store.release(id, read, Keys::default()).await,
        }
    }
}

const CLAIM_ID: &str = "11111111-1111-4111-8111-111111111111";
const TIME: &str = "2024-01-01T00:00:00Z";

const OTHER_REBUILD: Change = ("Id", "01890000-0000-7000-8000-000000000000");
const STARTED: Change = ("Status", "STARTED");
const ENDED: Change = ("Status", "FAILED");
const OTHER_CLAIM: Change = ("ClaimId", "22222222-2222-4222-8222-222222222222");
const SEEN: Change = ("SeenRebuildingAt", "2024-01-01T00:00:00Z");
const OTHER_CLASS: Change = ("Sight.Shown", "ILL");
const LATER_SIGHT: Change = ("Sight.Since", "2024-01-01T00:00:01Z");
const NO_SIGHT: Change = ("Sight", "");
const CLAIM_TAKEN_BACK: Change = ("ClaimId", "");

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
    RequestedWithSight,
    Claimed,
    ClaimedWithSight,
    Started,
    Seen,
    SeenWithSight,
    Over,
}

impl Read {
    /// Attributes of the rebuild.
    fn attributes(self) -> Value {
        let claim = json!({ "ClaimId": text(CLAIM_ID), "ClaimedAt": text(TIME) });
        let sight = json!({ "Sight": { "M": { "Shown": text("WELL"), "Since": text(TIME) } } });
        let seen = json!({ "SeenRebuildingAt": text(TIME) });
        let status = |status: Status| json!({ "Status": text(status) });
        let parts = match self {
            Self::Requested => vec![],
            Self::RequestedWithSight => vec![sight],
            Self::Claimed => vec![claim],
            Self::ClaimedWithSight => vec![claim, sight],
            Self::Started => vec![claim, status(Status::Started)],
            Self::Seen => vec![claim, status(Status::Started), seen],
            Self::SeenWithSight => vec![claim, status(Status::Started), seen, sight],
            Self::Over => vec![claim, status(Status::Succeeded)],
        };
        let parts = parts.iter().flat_map(|part| part.as_object().expect("a map"));
        parts.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// A sight that was noted since, where there was none.
const ANY_SIGHT: Change = LATER_SIGHT;

#[tokio::test]
async fn a_write_based_on_an_outdated_read_changes_nothing() {
    use Read::{
        Claimed, ClaimedWithSight, Over, Requested, RequestedWithSight, Seen, SeenWithSight,
        Started,
    };
    let requested = &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM, ANY_SIGHT];
    let requested_with_sight =
        &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM, OTHER_CLASS, LATER_SIGHT, NO_SIGHT];
    let claimed = &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM, CLAIM_TAKEN_BACK, ANY_SIGHT];
    let claimed_with_sight = &[OTHER_CLAIM, CLAIM_TAKEN_BACK, OTHER_CLASS, LATER_SIGHT, NO_SIGHT];
    let started = &[OTHER_REBUILD, ENDED, SEEN, ANY_SIGHT];
    let seen = &[OTHER_REBUILD, ENDED, ANY_SIGHT];
    let seen_with_sight = &[OTHER_REBUILD, ENDED, OTHER_CLASS, LATER_SIGHT, NO_SIGHT];
    let call = &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM, CLAIM_TAKEN_BACK];
    let rows: &[Row] = &[
        (Write::Cancel, Requested, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::Claim, Requested, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::Unclaim, Claimed, call),
        (Write::Start, Claimed, call),
        (Write::See, Claimed, claimed),
        (Write::See, ClaimedWithSight, claimed_with_sight),
        (Write::See, Started, started),
        (Write::Note, Requested, requested),
        (Write::Note, Claimed, claimed),
        (Write::Note, Started, started),
        (Write::Note, Seen, seen),
        (Write::Clear, RequestedWithSight, requested_with_sight),
        (Write::Clear, SeenWithSight, seen_with_sight),
        (Write::End, Requested, requested),
        (Write::End, RequestedWithSight, requested_with_sight),
        (Write::End, Claimed, claimed),
        (Write::End, ClaimedWithSight, claimed_with_sight),
        (Write::End, Started, started),
        (Write::End, Seen, seen),
        (Write::End, SeenWithSight, seen_with_sight),
        (Write::CloseAsRecorded, Requested, requested),
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
            let read_rebuild = world.rebuild(&id);
            if let Some(change) = change {
                world.edit(&id, |item| apply(*change, &mut item["Rebuild"]["M"]));
            }
            let before = world.item(&id);
            let is_written = write.make(&store, &id, &read_rebuild, world.now().into()).await;
            let is_written = is_written.expect("an answer");
            let context = format!("{write:?} of {read:?}, after {change:?}");
            assert_eq!(is_written, change.is_none(), "{context}");
            assert_eq!(world.item(&id) != before, is_written, "{context}");
        }
    }
}

fn apply((name, value): Change, rebuild: &mut Value) {
    let rebuild = rebuild.as_object_mut().expect("a map");
    match name.split_once('.') {
        _ if value.is_empty() => {
            rebuild.remove(name);
        }
        None => {
            rebuild.insert(name.to_owned(), text(value));
        }
        Some((map, name)) => {
            let sight = json!({ "M": { "Shown": text("WELL"), "Since": text(TIME) } });
            rebuild.entry(map).or_insert(sight)["M"][name] = text(value);
        }
    }
}

#[tokio::test]
async fn a_protected_workspace_is_not_claimed() {
    let world = World::new();
    let store = world.process(0).0.store;
    let id = world.add_requested(Machine::new()).await;
    let read = world.rebuild(&id);
    world.protect(&id, true).await;
    let before = world.item(&id);
    let is_claimed = Write::Claim.make(&store, &id, &read, world.now().into()).await;
    assert!(!is_claimed.expect("an answer"));
    assert_eq!(world.item(&id), before);

    world.protect(&id, false).await;
    let is_claimed = Write::Claim.make(&store, &id, &read, world.now().into()).await;
    assert!(is_claimed.expect("an answer"));
}

/// A pass that stood still must not write an outdated end over the record.
#[tokio::test]
async fn a_record_is_written_once() {
    let world = World::new();
    let store = world.process(0).0.store;
    let id = world.add(Machine::new());
    let first = Rebuild { status: Status::Succeeded, ..Rebuild::new(world.now()) };
    let second = Rebuild { status: Status::Failed, ..first.clone() };
    for ended in [&first, &second] {
        store.record_end(&id, ended, None).await.expect("recorded");
    }
    let record = store.record(&id, first.id).await.expect("an answer");
    assert_eq!(record, Some(first));
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values and references")]
fn text(value: impl ToString) -> Value {
    json!({ "S": value.to_string() })
}
