//! The writes of the reconciler to an item that has changed since it was read: none takes effect.
//! One row for each condition of each write.

use rebuild_workspaces::error::Fault;
use rebuild_workspaces::rebuild::{End, Rebuild, Status};
use rebuild_workspaces::store::Store;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{State, WorkspaceId};
use serde_json::{Value, json};

use super::world::{Machine, World};

#[derive(Clone, Copy, Debug)]
enum Write {
    Claim,
    Unclaim,
    Start,
    NoteSeen,
    End,
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
        let end = End { failure: None, state: State::Available };
        match self {
            Self::Claim => Ok(store.claim(id, read, now).await?.is_some()),
            Self::Unclaim => store.unclaim(id, read).await,
            Self::Start => store.start(id, read, true, now).await,
            Self::NoteSeen => store.note_seen(id, read, now).await,
            Self::End => Ok(store.end(id, read, &end, now).await?.is_some()),
            Self::Release => store.release(id, read).await,
        }
    }
}

const CLAIM_ID: &str = "11111111-1111-4111-8111-111111111111";

const OTHER_REBUILD: Change = ("Id", "01890000-0000-7000-8000-000000000000");
const STARTED: Change = ("Status", "STARTED");
const ENDED: Change = ("Status", "FAILED");
const OTHER_CLAIM: Change = ("ClaimId", "22222222-2222-4222-8222-222222222222");
const SEEN: Change = ("SeenRebuildingAt", "2024-01-01T00:00:00Z");

/// The rebuild as it was read: its status, and whether it was claimed.
type Read = (Status, bool);
/// A change of the item since then: an attribute of the rebuild, and its new value.
type Change = (&'static str, &'static str);
/// A write, the rebuild that it is based on, and the changes that must prevent it.
type Row = (Write, Read, &'static [Change]);

const REQUESTED: Read = (Status::Requested, false);
const CLAIMED: Read = (Status::Requested, true);
const RUNNING: Read = (Status::Started, true);
const OVER: Read = (Status::Succeeded, true);

#[tokio::test]
async fn a_write_based_on_an_outdated_read_changes_nothing() {
    let rows: &[Row] = &[
        (Write::Claim, REQUESTED, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::Claim, CLAIMED, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::Unclaim, CLAIMED, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::Start, REQUESTED, &[OTHER_REBUILD, STARTED, ENDED]),
        (Write::Start, CLAIMED, &[OTHER_REBUILD, STARTED, ENDED]),
        (Write::NoteSeen, RUNNING, &[OTHER_REBUILD, ENDED, SEEN]),
        (Write::End, REQUESTED, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::End, CLAIMED, &[OTHER_REBUILD, STARTED, ENDED, OTHER_CLAIM]),
        (Write::End, RUNNING, &[OTHER_REBUILD, ENDED, SEEN]),
        (Write::Release, OVER, &[OTHER_REBUILD, ENDED]),
    ];
    let world = World::new();
    let store = world.process(0).0.store;
    for (write, (status, is_claimed), changes) in rows {
        for change in [None].into_iter().chain(changes.iter().map(Some)) {
            let id = world.add(Machine::new());
            assert!(world.accept(&id).await);
            world.edit(&id, |item| {
                item["OpenRebuild"] = text(status);
                let rebuild = &mut item["Rebuild"]["M"];
                rebuild["Status"] = text(status);
                if *is_claimed {
                    rebuild["ClaimId"] = text(CLAIM_ID);
                    rebuild["ClaimedAt"] = text("2024-01-01T00:00:00Z");
                }
            });
            let read = world.rebuild(&id);
            if let Some((name, value)) = change {
                world.edit(&id, |item| item["Rebuild"]["M"][name] = text(value));
            }
            let before = world.item(&id);
            let is_written = write.make(&store, &id, &read, world.now().into()).await;
            let is_written = is_written.expect("an answer");
            let context = format!("{write:?} of {status}, {is_claimed}, after {change:?}");
            assert_eq!(is_written, change.is_none(), "{context}");
            assert_eq!(world.item(&id) != before, is_written, "{context}");
        }
    }
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
        store.record_end(&id, ended).await.expect("recorded");
    }
    let record = store.record(&id, first.id).await.expect("an answer");
    assert_eq!(record, Some(first));
}

#[expect(clippy::needless_pass_by_value, reason = "callers have values and references")]
fn text(value: impl ToString) -> Value {
    json!({ "S": value.to_string() })
}
