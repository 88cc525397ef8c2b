//! Sync copies the fleet into the table: it writes differences, marks WorkSpaces that have left,
//! and leaves those with an open rebuild alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use rebuild_workspaces::config::Limits;
use rebuild_workspaces::error::Cause;
use rebuild_workspaces::fleet::{Fleet, HandOverError, KeyUse, Listed, Wanted};
use rebuild_workspaces::ids::{DirectoryId, WorkspaceId};
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Reconciler, Synced, Timing};
use rebuild_workspaces::state::State;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{Description, OpenRebuild, Tags};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::machine::Machine;
use super::world::World;

/// The directory of a fleet that has one.
const DIRECTORY: &str = "d-90670000";

/// The pages of a listing; `None` is a call without an answer.
type ListedPages = Vec<Option<Vec<Listed>>>;

/// A fleet with fixed listings.
pub struct Listing {
    pub world: Arc<World>,
    /// The directories that it names; `None` if it does not answer.
    pub named: Option<Vec<DirectoryId>>,
    /// The listing of each directory; that of another one is empty.
    pub pages: HashMap<DirectoryId, ListedPages>,
    /// WorkSpaces that it describes by id but does not list.
    pub unlisted: Vec<WorkspaceId>,
    /// A client requests rebuilds of these while sync lists the fleet.
    pub requested: Vec<WorkspaceId>,
    /// A client protects these while sync asks for one of them.
    pub protected: Vec<WorkspaceId>,
    /// It does not answer questions for these.
    pub silent: Vec<WorkspaceId>,
    /// The tags of WorkSpaces; `None` if none are wanted.
    pub tags: Result<Option<HashMap<WorkspaceId, Tags>>, &'static str>,
    /// Another pass saves its progress while this one lists the fleet.
    pub is_overtaken: bool,
    /// The token that the last page has.
    pub ends_with: Option<&'static str>,
    /// What was listed: the directory or the ids, and the number of the page.
    pub calls: Arc<Mutex<Vec<String>>>,
}

impl Fleet for Listing {
    const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

    async fn describe(
        &self,
        _: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        panic!("sync follows nothing")
    }

    async fn connections(
        &self,
        _: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, bool>, Cause> {
        panic!("sync follows nothing")
    }

    async fn key(&self, _: &str) -> Result<KeyUse, Cause> {
        panic!("sync rebuilds nothing")
    }

    async fn find(&self, _: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        panic!("sync keeps to the rate of listings")
    }

    async fn newest_snapshot(
        &self,
        _: &OpenRebuild,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        panic!("sync rebuilds nothing")
    }

    async fn wait_for_place(&self) {}

    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        panic!("sync rebuilds nothing")
    }

    async fn directories(
        &self,
        token: Option<String>,
    ) -> Result<(Vec<DirectoryId>, Option<String>), Cause> {
        let named = self.named.as_ref().ok_or("no answer")?;
        // One a page, and an empty page at the end.
        let place = token.map_or(0, |token| token.parse().expect("a number"));
        let page = named.iter().skip(place).take(1).cloned().collect();
        Ok((page, (place < named.len()).then(|| (place + 1).to_string())))
    }

    async fn list(
        &self,
        wanted: Wanted<'_>,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        match wanted {
            Wanted::Directory(id) => self.list_directory(id, token).await,
            Wanted::Ids(ids) => self.answer(ids).await.map(|listed| (listed, None)),
        }
    }

    async fn tags(&self) -> Result<Option<HashMap<WorkspaceId, Tags>>, Cause> {
        self.tags.clone().map_err(Cause::from)
    }
}

impl Listing {
    pub fn new(world: &Arc<World>, pages: ListedPages) -> Self {
        Self::of(world, &[(DIRECTORY, pages)])
    }

    /// A fleet with these directories.
    pub fn of(world: &Arc<World>, directories: &[(&str, ListedPages)]) -> Self {
        let pages = directories.iter().map(|(id, pages)| (directory(id), pages.clone()));
        Self {
            world: Arc::clone(world),
            named: Some(directories.iter().map(|(id, _)| directory(id)).collect()),
            pages: pages.collect(),
            unlisted: vec![],
            requested: vec![],
            protected: vec![],
            silent: vec![],
            tags: Ok(None),
            is_overtaken: false,
            ends_with: None,
            calls: Arc::default(),
        }
    }

    fn note(&self, call: String) {
        let mut calls = self.calls.lock().expect("unpoisoned");
        calls.push(call);
        assert!(calls.len() < 200, "it lists for ever");
    }

    async fn list_directory(
        &self,
        id: &DirectoryId,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        for id in &self.requested {
            assert!(self.world.accept(id).await);
        }
        if self.is_overtaken {
            let store = self.world.process(1).0.store;
            let mut progress = store.progress().await.expect("an answer");
            assert!(store.save_progress(&mut progress).await.expect("an answer"));
        }
        let number = token.map_or(0, |token| token.parse().unwrap_or_default());
        self.note(format!("{id} {number}"));
        let Some(pages) = self.pages.get(id) else { return Ok((vec![], None)) };
        let page = pages[number].clone().ok_or("no answer")?;
        let next = (number + 1 < pages.len()).then(|| (number + 1).to_string());
        Ok((page, next.or(self.ends_with.map(str::to_owned))))
    }

    async fn answer(&self, ids: &[WorkspaceId]) -> Result<Vec<Listed>, Cause> {
        self.note(format!("{} ids", ids.len()));
        if ids.iter().any(|id| self.silent.contains(id)) {
            return Err("no answer".into());
        }
        for id in ids.iter().filter(|id| self.protected.contains(id)) {
            self.world.protect(id, true).await;
        }
        let known = ids.iter().filter(|id| self.unlisted.contains(id));
        Ok(known.map(|id| listed(id, State::Available)).collect())
    }

    pub async fn sync(self) -> Synced {
        let world = Arc::clone(&self.world);
        let clock = || world.now();
        self.sync_by(clock).await
    }

    /// A pass with this clock.
    pub async fn sync_by(self, clock: impl Fn() -> OffsetDateTime) -> Synced {
        let store = self.world.process(0).0.store;
        self.pass(store, clock).await
    }

    /// A pass over this store.
    pub async fn sync_with(self, store: Store) -> Synced {
        let world = Arc::clone(&self.world);
        self.pass(store, || world.now()).await
    }

    async fn pass(self, store: Store, clock: impl Fn() -> OffsetDateTime) -> Synced {
        let (fleet, timing, limits) = (self, Timing::of_amazon(), Limits::default());
        Reconciler { store, clock, fleet, timing, limits }.sync().await.expect("a pass")
    }
}

pub fn directory(id: &str) -> DirectoryId {
    DirectoryId::try_from(id.to_owned()).expect("an id")
}

pub fn listed(id: &WorkspaceId, state: State) -> Listed {
    listed_in(DIRECTORY, id, state)
}

pub fn listed_in(directory_id: &str, id: &WorkspaceId, state: State) -> Listed {
    let description = Description {
        directory_id: Some(directory_id.to_owned()),
        user_name: Some("ana".into()),
        ..Description::default()
    };
    Listed { workspace_id: id.clone(), state, description }
}

pub fn add<const N: usize>(world: &World) -> [WorkspaceId; N] {
    std::array::from_fn(|_| add_to(world, DIRECTORY))
}

pub fn add_to(world: &World, directory_id: &str) -> WorkspaceId {
    let id = world.add(Machine::new());
    world.edit(&id, |item| item["DirectoryId"] = json!({ "S": directory_id }));
    id
}

/// What a pass did that has listed this many WorkSpaces of one directory, and found nothing to change.
fn complete(listed: usize) -> Synced {
    Synced {
        directories: 1,
        done: 1,
        listed,
        has_progressed: true,
        is_complete: true,
        ..Synced::default()
    }
}

#[tokio::test]
async fn differences_are_written() {
    let world = World::new();
    let [changed, same] = add(&world);
    let new = WorkspaceId::try_from("ws-new00001".to_owned()).expect("an id");
    let page = [(&changed, State::Stopped), (&same, State::Available), (&new, State::Pending)];
    let page: Vec<_> = page.map(|(id, state)| listed(id, state)).into();

    for (changed_now, again) in [(3, false), (0, true)] {
        let pass = Listing::new(&world, vec![Some(page.clone())]).sync().await;
        let expected = Synced { changed: changed_now, ..complete(3) };
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
    let pass = Listing::new(&world, vec![Some(page)]).sync().await;
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

    let pass = Listing::new(&world, vec![Some(page)]).sync().await;

    let expected = Synced { changed: 1, failures: 1, ..complete(2) };
    assert_eq!(pass, expected);
    assert_eq!(world.item(&bad)["State"]["S"], "AVAILABLE");
}

/// A pass over a fleet that lists these, all AVAILABLE.
async fn pass_over(world: &Arc<World>, listed_ids: &[&WorkspaceId]) -> Synced {
    let page = listed_ids.iter().map(|id| listed(id, State::Available)).collect();
    Listing::new(world, vec![Some(page)]).sync().await
}

#[tokio::test]
async fn a_workspace_that_left_expires_unless_it_comes_back() {
    let world = World::new();
    let [there, left, unlisted] = add(&world);
    let page = vec![Some(vec![listed(&there, State::Available)])];
    for gone in [0, 1, 0] {
        let mut fleet = Listing::new(&world, page.clone());
        fleet.unlisted = vec![unlisted.clone()];
        assert_eq!(fleet.sync().await.gone, gone, "it leaves once");
        world.pass_time(Duration::minutes(15));
    }
    let item = world.item(&left);
    let in_a_day = world.now() - Duration::minutes(30) + Duration::days(1);
    assert_eq!(item["State"]["S"], "TERMINATED");
    assert_eq!(item["ExpiresAt"]["N"], in_a_day.unix_timestamp().to_string());
    assert_eq!(world.item(&unlisted)["State"]["S"], "AVAILABLE");

    pass_over(&world, &[&there, &left, &unlisted]).await;
    for id in [&left, &unlisted] {
        let item = world.item(id);
        assert_eq!(item["State"]["S"], "AVAILABLE");
        assert_eq!((item.get("ExpiresAt"), item.get("MissingSince")), (None, None), "{item}");
    }
}

/// A listing may leave a WorkSpace out by mistake, and so may an answer about it.
#[tokio::test]
async fn only_two_listings_ten_minutes_apart_make_a_workspace_gone() {
    let world = World::new();
    let [there, missing] = add(&world);
    let since = world.now();
    // Each pass: how long after the one before, whether it lists the WorkSpace, and how long the
    // WorkSpace has been missing afterwards.
    for (minutes, is_listed, missing_for) in [
        (0, false, Some(0)),
        (5, false, Some(5)),
        (4, false, Some(9)),
        (1, true, None),
        (15, false, Some(0)),
        (9, false, Some(9)),
    ] {
        world.pass_time(Duration::minutes(minutes));
        let all = [&there, &missing];
        let pass = pass_over(&world, if is_listed { &all } else { &all[..1] }).await;
        assert_eq!((pass.gone, pass.failures), (0, 0));
        let item = world.item(&missing);
        assert_eq!((&item["State"]["S"], item.get("ExpiresAt")), (&"AVAILABLE".into(), None));
        let expected = missing_for
            .map(|minutes| Timestamp::from(world.now() - Duration::minutes(minutes)).to_string());
        assert_eq!(item["MissingSince"]["S"].as_str(), expected.as_deref(), "{since}");
    }
    world.pass_time(Duration::MINUTE);
    assert_eq!(pass_over(&world, &[&there]).await.gone, 1);
}

#[tokio::test]
async fn a_question_without_an_answer_does_not_block_the_others() {
    let world = World::new();
    let [there, silent, left] = add(&world);
    pass_over(&world, &[&there]).await;
    world.pass_time(Duration::minutes(15));
    let mut fleet = Listing::new(&world, vec![Some(vec![listed(&there, State::Available)])]);
    fleet.silent = vec![silent.clone()];
    let pass = fleet.sync().await;
    assert_eq!((pass.gone, pass.failures), (1, 1));
    assert_eq!(world.item(&silent)["State"]["S"], "AVAILABLE");
    assert_eq!(world.item(&left)["State"]["S"], "TERMINATED");
}

/// Lambda ends a pass after 15 minutes; the next one asks.
#[tokio::test]
async fn nothing_is_asked_when_the_time_is_up() {
    let world = World::new();
    let [there, left] = add(&world);
    pass_over(&world, &[&there]).await;
    world.pass_time(Duration::minutes(15));
    let fleet = Listing::new(&world, vec![Some(vec![listed(&there, State::Available)])]);
    let clock = || {
        world.pass_time(Duration::minutes(8));
        world.now()
    };
    assert_eq!(fleet.sync_by(clock).await, complete(1));
    assert_eq!(world.item(&left)["State"]["S"], "AVAILABLE");
}

/// A listing that has a WorkSpace counts also where sync leaves its state alone.
#[tokio::test]
async fn a_workspace_is_not_missing_while_it_is_rebuilt_or_in_an_unknown_state() {
    let world = World::new();
    let [there, open, unknown] = add(&world);
    pass_over(&world, &[&there]).await;
    assert!(world.accept(&open).await);
    let mut page = [&there, &open, &unknown].map(|id| listed(id, State::Available));
    page[2].state = State::Unknown;
    let before = [&open, &unknown].map(|id| world.item(id));
    Listing::new(&world, vec![Some(page.into())]).sync().await;
    for (id, mut before) in [&open, &unknown].into_iter().zip(before) {
        assert!(before.as_object_mut().expect("an item").remove("MissingSince").is_some());
        assert_eq!(world.item(id), before);
    }
}

/// Its item has the protection, which a new item would lack.
#[tokio::test]
async fn a_protected_workspace_never_expires() {
    let world = World::new();
    let [there, before, between, after] = add(&world);
    world.protect(&before, true).await;
    for _ in 0..2 {
        let mut fleet = Listing::new(&world, vec![Some(vec![listed(&there, State::Available)])]);
        fleet.protected = vec![between.clone()];
        fleet.sync().await;
        world.pass_time(Duration::minutes(15));
    }
    assert!(world.item(&after).get("ExpiresAt").is_some());
    world.protect(&after, true).await;
    for _ in 0..200 {
        assert_eq!(pass_over(&world, &[&there]).await.failures, 0);
        world.pass_time(Duration::minutes(15));
    }
    for (id, state) in [(&before, "AVAILABLE"), (&between, "AVAILABLE"), (&after, "TERMINATED")] {
        let item = world.item(id);
        assert_eq!((&item["State"]["S"], item.get("ExpiresAt")), (&state.into(), None), "{item}");
    }
    pass_over(&world, &[&there, &before, &between, &after]).await;
    for id in [&before, &between, &after] {
        let item = world.item(id);
        assert_eq!(item["State"]["S"], "AVAILABLE");
        assert!(item["Protection"]["M"].is_object(), "{item}");
        assert!(!world.accept(id).await, "it is still protected");
    }
}

/// Eleven of 40 are too many to believe, ten are not, and neither are eleven of 220.
#[tokio::test]
async fn a_listing_that_shrinks_is_believed_after_a_day() {
    for (count, vanishing, is_believed) in [(40, 11, false), (40, 10, true), (220, 11, true)] {
        let world = World::new();
        let ids: Vec<_> = (0..count).map(|_| add_to(&world, DIRECTORY)).collect();
        let rest: Vec<_> = ids[vanishing..].iter().collect();
        let is_gone = |id: &WorkspaceId| world.item(id).get("ExpiresAt").is_some();
        for minutes in [0, 15, 24 * 60 - 16] {
            world.pass_time(Duration::minutes(minutes));
            let pass = pass_over(&world, &rest).await;
            let is_held_back = pass.vanished == vanishing;
            assert_eq!(is_held_back, !is_believed, "{count}, {pass:?}");
            assert!(is_held_back || pass.vanished == 0, "{pass:?}");
        }
        assert_eq!(
            ids.iter().filter(|id| is_gone(id)).count(),
            if is_believed { vanishing } else { 0 }
        );
        world.pass_time(Duration::MINUTE);
        let pass = pass_over(&world, &rest).await;
        assert_eq!((pass.vanished, pass.gone), (0, if is_believed { 0 } else { vanishing }));
        assert!(ids.iter().take(vanishing).all(is_gone));
    }
}

/// An empty listing changes nothing, however long it lasts. A fleet without WorkSpaces and a missing
/// permission look the same.
#[tokio::test]
async fn an_empty_listing_of_a_large_fleet_fails() {
    let world = World::new();
    let ids: [_; 11] = add(&world);
    for _ in 0..2 {
        assert_eq!(pass_over(&world, &[]).await.vanished, 11);
        world.pass_time(Duration::days(2));
    }
    for id in &ids {
        let item = world.item(id);
        assert_eq!((&item["State"]["S"], item.get("MissingSince")), (&"AVAILABLE".into(), None));
    }
}

#[tokio::test]
async fn an_empty_token_ends_a_listing_and_a_repeated_one_fails_it() {
    let world = World::new();
    let [first, second] = add(&world);
    let pages = [&first, &second].map(|id| Some(vec![listed(id, State::Stopped)]));
    for (token, is_listed) in [("", true), ("1", false), ("0", false)] {
        let mut fleet = Listing::new(&world, pages.clone().into());
        fleet.ends_with = Some(token);
        let pass = fleet.sync().await;
        assert_eq!((pass.failing == 0, pass.is_complete), (is_listed, is_listed), "{token}");
    }
}

#[tokio::test]
async fn an_incomplete_or_empty_listing_removes_nothing() {
    let world = World::new();
    let [there, elsewhere] = add(&world);
    let page = || Some(vec![listed(&there, State::Available)]);
    let pass = Listing::new(&world, vec![page(), None]).sync().await;
    assert_eq!((pass.failing, pass.done, pass.is_complete), (1, 0, false));
    let pass = Listing::new(&world, vec![Some(vec![])]).sync().await;
    assert_eq!(pass, complete(0));
    // The time is up after the first page.
    let fleet = Listing::new(&world, vec![page(), Some(vec![])]);
    let clock = || {
        world.pass_time(Duration::minutes(14));
        world.now()
    };
    let pass = fleet.sync_by(clock).await;
    assert!(!pass.is_complete, "{pass:?}");
    let item = world.item(&elsewhere);
    assert_eq!((&item["State"]["S"], item.get("MissingSince")), (&"AVAILABLE".into(), None));
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
    let pass = fleet.sync().await;
    let expected = Synced { changed: 1, ..complete(3) };
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
        read.push(Some(world.outline(id).await));
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
        if let Some(read) = &read {
            let noted = store.note_missing(read, world.now().into()).await;
            assert!(!noted.expect("an answer"), "{before}");
        }
        assert_eq!(world.item(id), before);
    }
}

/// The same for a WorkSpace that was already missing when sync read it.
#[tokio::test]
async fn an_outdated_answer_takes_nobody_away() {
    let world = World::new();
    let [there, new_state, open, noted, listed, protected] = add(&world);
    let ids = [&new_state, &open, &noted, &listed, &protected];
    let since = Timestamp::from(world.now());
    pass_over(&world, &[&there]).await;
    let store = world.process(0).0.store;
    let mut read = Vec::new();
    for id in ids {
        read.push(world.outline(id).await);
    }
    world.pass_time(Duration::minutes(15));
    let now = Timestamp::from(world.now());
    world.edit(&new_state, |item| item["State"]["S"] = "ERROR".into());
    assert!(world.accept(&open).await);
    world.edit(&noted, |item| item["MissingSince"]["S"] = now.to_string().into());
    assert!(store.note_listed(&listed, since).await.expect("an answer"));
    world.protect(&protected, true).await;
    for (id, read) in ids.into_iter().zip(&read) {
        let before = world.item(id);
        let noted = store.note_missing(read, now).await;
        let gone = store.mark_gone(read, since, now).await;
        let expected = (id == &listed, false);
        assert_eq!((noted.expect("an answer"), gone.expect("an answer")), expected, "{before}");
        assert!(id == &listed || world.item(id) == before, "{before}");
    }
    assert!(!store.note_listed(&noted, since).await.expect("an answer"));
    assert_eq!(world.item(&noted)["MissingSince"]["S"], now.to_string());
}

/// Its item has expired since it was read. In an unknown state, nothing else tells.
#[tokio::test]
async fn an_expired_item_is_not_made_again() {
    let world = World::new();
    let [id] = add(&world);
    world.edit(&id, |item| item["State"]["S"] = "FROZEN".into());
    let store = world.process(0).0.store;
    let read = world.outline(&id).await;
    world.remove(&id);
    let description = Description::default();
    let written = store.refresh(&id, Some(&read), State::Stopped, &description, None).await;
    let noted = store.note_missing(&read, world.now().into()).await;
    assert_eq!((written.expect("an answer"), noted.expect("an answer")), (false, false));
    assert!(world.item(&id).is_null());
}
