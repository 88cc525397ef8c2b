//! Sync copies the fleet into the table: it writes differences, marks WorkSpaces that have left,
//! and leaves those with an open rebuild alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use rebuild_workspaces::config::Limits;
use rebuild_workspaces::error::{Cause, Fault};
use rebuild_workspaces::fleet::{Fleet, HandOverError, Listed};
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Reconciler, Synced, Timing};
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{Description, OpenRebuild};
use time::Duration;

use super::machine::Machine;
use super::world::World;

/// A fleet with a fixed listing.
struct Listing {
    world: Arc<World>,
    /// The pages; `None` is a call without an answer.
    pages: Vec<Option<Vec<Listed>>>,
    /// WorkSpaces that it describes by id but does not list.
    unlisted: Vec<WorkspaceId>,
    /// A client requests rebuilds of these while sync lists the fleet.
    requested: Vec<WorkspaceId>,
    /// The token that the last page has.
    ends_with: Option<&'static str>,
    calls: Mutex<usize>,
}

impl Fleet for Listing {
    const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

    async fn describe(
        &self,
        _: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, State>, Cause> {
        panic!("sync follows nothing")
    }

    async fn find(&self, ids: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        Ok(ids.iter().filter(|id| self.unlisted.contains(id)).cloned().collect())
    }

    async fn newest_snapshot(
        &self,
        _: &OpenRebuild,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        panic!("sync rebuilds nothing")
    }

    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        panic!("sync rebuilds nothing")
    }

    async fn list(&self, token: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        for id in &self.requested {
            assert!(self.world.accept(id).await);
        }
        {
            let mut calls = self.calls.lock().expect("unpoisoned");
            *calls += 1;
            assert!(*calls < 10, "it lists for ever");
        }
        let number = token.map_or(0, |token| token.parse().unwrap_or_default());
        let page = self.pages[number].clone().ok_or("no answer")?;
        let next = (number + 1 < self.pages.len()).then(|| (number + 1).to_string());
        Ok((page, next.or(self.ends_with.map(str::to_owned))))
    }
}

impl Listing {
    fn new(world: &Arc<World>, pages: Vec<Option<Vec<Listed>>>) -> Self {
        Self {
            world: Arc::clone(world),
            pages,
            unlisted: vec![],
            requested: vec![],
            ends_with: None,
            calls: Mutex::default(),
        }
    }

    async fn sync(self) -> Result<Synced, Fault> {
        let world = Arc::clone(&self.world);
        let store = world.process(0).0.store;
        Reconciler {
            store,
            clock: || world.now(),
            fleet: self,
            timing: timing(),
            limits: Limits::default(),
        }
        .sync()
        .await
    }
}

fn timing() -> Timing {
    Timing::of_amazon()
}

fn listed(id: &WorkspaceId, state: State) -> Listed {
    let description = Description { user_name: Some("ana".into()), ..Description::default() };
    Listed { workspace_id: id.clone(), state, description }
}

fn add<const N: usize>(world: &World) -> [WorkspaceId; N] {
    std::array::from_fn(|_| world.add(Machine::new()))
}

#[tokio::test]
async fn differences_are_written() {
    let world = World::new();
    let [changed, same] = add(&world);
    let new = WorkspaceId::try_from("ws-new00001".to_owned()).expect("an id");
    let page = [(&changed, State::Stopped), (&same, State::Available), (&new, State::Pending)];
    let page: Vec<_> = page.map(|(id, state)| listed(id, state)).into();

    for (changed_now, again) in [(3, false), (0, true)] {
        let pass = Listing::new(&world, vec![Some(page.clone())]).sync().await.expect("a pass");
        let expected =
            Synced { listed: 3, changed: changed_now, is_complete: true, ..Synced::default() };
        assert_eq!(pass, expected, "again: {again}");
    }
    for (id, state) in [(&changed, "STOPPED"), (&same, "AVAILABLE"), (&new, "PENDING")] {
        let item = world.item(id);
        assert_eq!((&item["State"]["S"], &item["UserName"]["S"]), (&state.into(), &"ana".into()));
    }
}

/// Something else wrote a number where the fleet has a text.
#[tokio::test]
async fn an_attribute_of_another_type_is_replaced() {
    let world = World::new();
    let [id] = add(&world);
    world.edit(&id, |item| item["ComputerName"] = serde_json::json!({ "N": "7" }));
    let mut page = vec![listed(&id, State::Available)];
    page[0].description.computer_name = Some("pc".into());
    let pass = Listing::new(&world, vec![Some(page)]).sync().await.expect("a pass");
    assert_eq!((pass.changed, pass.failures), (1, 0));
    assert_eq!(world.item(&id)["ComputerName"]["S"], "pc");
}

/// DynamoDB rejects an empty string as the key of an index.
#[tokio::test]
async fn a_failed_write_does_not_block_the_others() {
    let world = World::new();
    let [bad, good] = add(&world);
    let mut page = vec![listed(&bad, State::Stopped), listed(&good, State::Stopped)];
    page[0].description.bundle_id = Some(String::new());

    let pass = Listing::new(&world, vec![Some(page)]).sync().await.expect("a pass");

    let expected =
        Synced { listed: 2, changed: 1, failures: 1, is_complete: true, ..Synced::default() };
    assert_eq!(pass, expected);
    assert_eq!(world.item(&bad)["State"]["S"], "AVAILABLE");
}

#[tokio::test]
async fn a_workspace_that_left_expires_unless_it_comes_back() {
    let world = World::new();
    let [there, left, unlisted] = add(&world);
    let page = vec![Some(vec![listed(&there, State::Available)])];
    for gone in [1, 0] {
        let mut fleet = Listing::new(&world, page.clone());
        fleet.unlisted = vec![unlisted.clone()];
        assert_eq!(fleet.sync().await.expect("a pass").gone, gone, "it leaves once");
        world.pass_time(Duration::minutes(15));
    }
    let item = world.item(&left);
    let in_a_day = world.now() - Duration::minutes(30) + Duration::days(1);
    assert_eq!(item["State"]["S"], "TERMINATED");
    assert_eq!(item["ExpiresAt"]["N"], in_a_day.unix_timestamp().to_string());
    assert_eq!(world.item(&unlisted)["State"]["S"], "AVAILABLE");

    let all = [&there, &left, &unlisted].map(|id| listed(id, State::Available));
    Listing::new(&world, vec![Some(all.into())]).sync().await.expect("a pass");
    let item = world.item(&left);
    assert_eq!((&item["State"]["S"], item.get("ExpiresAt")), (&"AVAILABLE".into(), None));
}

#[tokio::test]
async fn an_empty_token_ends_a_listing_and_a_repeated_one_fails_it() {
    let world = World::new();
    let [first, second] = add(&world);
    let pages = [&first, &second].map(|id| Some(vec![listed(id, State::Stopped)]));
    for (token, is_listed) in [("", true), ("1", false), ("0", false)] {
        let mut fleet = Listing::new(&world, pages.clone().into());
        fleet.ends_with = Some(token);
        assert_eq!(fleet.sync().await.is_ok(), is_listed, "{token}");
    }
}

#[tokio::test]
async fn an_incomplete_or_empty_listing_removes_nothing() {
    let world = World::new();
    let [there, elsewhere] = add(&world);
    let page = || Some(vec![listed(&there, State::Available)]);
    assert!(Listing::new(&world, vec![page(), None]).sync().await.is_err());
    let pass = Listing::new(&world, vec![Some(vec![])]).sync().await.expect("a pass");
    assert_eq!(pass, Synced { is_complete: true, ..Synced::default() });
    // The time is up after the first page.
    let fleet = Listing::new(&world, vec![page(), Some(vec![])]);
    let store = world.process(0).0.store;
    let clock = || {
        world.pass_time(Duration::minutes(14));
        world.now()
    };
    let pass = Reconciler { store, clock, fleet, timing: timing(), limits: Limits::default() }
        .sync()
        .await
        .expect("a pass");
    assert!(!pass.is_complete, "{pass:?}");
    assert_eq!(world.item(&elsewhere)["State"]["S"], "AVAILABLE");
}

#[tokio::test]
async fn a_workspace_with_an_open_rebuild_is_left_alone() {
    let world = World::new();
    // Requested before or during the pass; listed or missing.
    let [before, before_missing, during, during_missing, there] = add(&world);
    assert!(world.accept(&before).await && world.accept(&before_missing).await);
    let page = [&before, &during, &there].map(|id| listed(id, State::Stopped));
    let mut fleet = Listing::new(&world, vec![Some(page.into())]);
    fleet.requested = vec![during.clone(), during_missing.clone()];
    let pass = fleet.sync().await.expect("a pass");
    let expected = Synced { listed: 3, changed: 1, is_complete: true, ..Synced::default() };
    assert_eq!(pass, expected);
    for id in [&before, &before_missing, &during, &during_missing] {
        let item = world.item(id);
        assert_eq!(item["State"]["S"], "REBUILDING");
        assert!(item.get("UserName").is_none() && item.get("ExpiresAt").is_none(), "{item}");
    }
}

/// The item has changed since it was read, so the fleet's answer may be outdated.
#[tokio::test]
async fn an_outdated_answer_changes_nothing() {
    let world = World::new();
    let [new_state, open, first_rebuild, other_rebuild, new] = add(&world);
    assert!(world.accept(&other_rebuild).await);
    world.edit(&other_rebuild, |item| {
        item["State"]["S"] = "AVAILABLE".into();
        let item = item.as_object_mut().expect("an item");
        item.retain(|name, _| name != "OpenRebuild" && name != "OpenSince");
    });
    let store = world.process(0).0.store;
    let ids = [&new_state, &open, &first_rebuild, &other_rebuild];
    let mut read = Vec::new();
    for id in ids {
        read.push(Some(store.workspace(id).await.expect("an answer").expect("an item")));
    }
    read.push(None);
    let template = world.item(&other_rebuild);
    world.edit(&new_state, |item| item["State"]["S"] = "ERROR".into());
    world.edit(&open, |item| item["OpenRebuild"] = serde_json::json!({ "S": "REQUESTED" }));
    world.edit(&first_rebuild, |item| item["Rebuild"] = template["Rebuild"].clone());
    world.edit(&other_rebuild, |item| {
        item["Rebuild"]["M"]["Id"]["S"] = "01890000-0000-7000-8000-000000000000".into();
    });
    for (id, read) in ids.into_iter().chain([&new]).zip(read) {
        let before = world.item(id);
        let state = State::Stopped;
        let written = store.refresh(id, read.as_ref(), state, &Description::default(), None).await;
        assert!(!written.expect("an answer"), "{before}");
        assert_eq!(world.item(id), before);
    }
}
