//! Sync reads the tags that the deployer wants into the items.

use std::collections::HashMap;
use std::sync::Arc;

use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::reconcile::Synced;
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::Tags;
use serde_json::{Value, json};
use time::Duration;

use super::line::Fault;
use super::sync::{Listing, add, listed};
use super::world::World;

/// What the tagging API tells: the tags of each WorkSpace, or why it does not answer.
type Told<'a> = Result<&'a [(&'a WorkspaceId, &'a [(&'a str, &'a str)])], &'static str>;

/// A pass over a fleet that lists these WorkSpaces as they are, and tells these tags of them.
async fn pass(world: &Arc<World>, ids: &[&WorkspaceId], told: Told<'_>) -> Synced {
    let page = ids.iter().map(|id| listed(id, State::Available)).collect();
    let mut fleet = Listing::new(world, vec![Some(page)]);
    let all = |told: &[(&WorkspaceId, &[(&str, &str)])]| {
        told.iter().map(|(id, tags)| ((*id).clone(), of(tags))).collect::<HashMap<_, _>>()
    };
    fleet.tags = told.map(|told| Some(all(told)));
    fleet.sync().await
}

fn of(tags: &[(&str, &str)]) -> Tags {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tags_of(world: &World, id: &WorkspaceId) -> Value {
    world.item(id).get("Tags").map_or(Value::Null, |tags| tags["M"].clone())
}

async fn read_at(world: &Arc<World>) -> Option<Timestamp> {
    world.process(1).0.store.progress().await.expect("an answer").tags_read_at
}

#[tokio::test]
async fn tags_are_written_where_they_have_changed() {
    let world = World::new();
    let [first, second, open] = add(&world);
    assert!(world.accept(&open).await);
    let new = WorkspaceId::try_from("ws-new00001".to_owned()).expect("an id");
    let all = [&first, &second, &open, &new];
    pass(&world, &all[..3], Ok(&[])).await;
    let blue: &[_] = &[("team", "blue"), ("cost", "7")];
    let told: &[(&WorkspaceId, &[_])] = &[(&first, blue), (&open, blue), (&new, blue)];
    for changed in [3, 0] {
        world.pass_time(Duration::minutes(15));
        let now = Timestamp::from(world.now());
        let pass = pass(&world, &all, Ok(told)).await;
        assert_eq!((pass.changed, pass.failures), (changed, 0));
        assert_eq!(read_at(&world).await, Some(now));
        let blue = json!({ "team": { "S": "blue" }, "cost": { "S": "7" } });
        for (id, expected) in all.into_iter().zip([&blue, &Value::Null, &blue, &blue]) {
            assert_eq!(tags_of(&world, id), *expected, "{id}");
        }
    }
    // One tag and all tags of a WorkSpace were removed, and one was added.
    let told: &[(&WorkspaceId, &[_])] =
        &[(&first, &blue[..1]), (&second, &blue[1..]), (&open, blue)];
    assert_eq!(pass(&world, &all, Ok(told)).await.changed, 3);
    assert_eq!(tags_of(&world, &first), json!({ "team": { "S": "blue" } }));
    assert_eq!(tags_of(&world, &second), json!({ "cost": { "S": "7" } }));
    assert_eq!(tags_of(&world, &new), Value::Null);
}

#[tokio::test]
async fn a_failed_reading_changes_nothing() {
    let world = World::new();
    let [id] = add(&world);
    pass(&world, &[&id], Ok(&[(&id, &[("team", "blue")])])).await;
    let (before, read_before) = (world.item(&id), read_at(&world).await);
    assert!(read_before.is_some());
    world.pass_time(Duration::minutes(15));
    let pass = pass(&world, &[&id], Err("throttled")).await;
    assert_eq!((pass.changed, pass.failures, pass.is_complete), (0, 1, true));
    assert_eq!((world.item(&id), read_at(&world).await), (before, read_before));
}

/// Not all tags are in the table, so it does not say that they are.
#[tokio::test]
async fn a_failed_write_leaves_the_time_of_the_last_reading() {
    let world = World::new();
    let [first, second] = add(&world);
    let page = [&first, &second].map(|id| listed(id, State::Available)).to_vec();
    let tags =
        || HashMap::from([(first.clone(), of(&[("a", "1")])), (second.clone(), of(&[("a", "2")]))]);
    // The differences of the listing are written before.
    Listing::new(&world, vec![Some(page.clone())]).sync().await;
    let (process, line) = world.process(0);
    // The progress and the table are read before.
    line.fail(Some((3, Fault::NotDone)));
    let mut fleet = Listing::new(&world, vec![Some(page.clone())]);
    fleet.tags = Ok(Some(tags()));
    let pass = fleet.sync_with(process.store).await;
    assert_eq!((pass.changed, pass.failures), (1, 1));
    assert_eq!(read_at(&world).await, None);
    let mut fleet = Listing::new(&world, vec![Some(page)]);
    fleet.tags = Ok(Some(tags()));
    assert_eq!(fleet.sync().await.changed, 1);
    assert!(read_at(&world).await.is_some());
}

#[tokio::test]
async fn an_outdated_reading_changes_nothing() {
    let world = World::new();
    let [tagged, untagged, gone] = add(&world);
    let store = world.process(0).0.store;
    assert!(store.tag(&world.outline(&tagged).await, &of(&[("a", "1")])).await.expect("an answer"));
    let mut read = vec![];
    for id in [&tagged, &untagged, &gone] {
        read.push(world.outline(id).await);
    }
    for read in &read[..2] {
        assert!(store.tag(read, &of(&[("a", "2")])).await.expect("an answer"));
    }
    world.remove(&gone);
    for (read, tags) in read.iter().zip([Tags::new(), of(&[("a", "3")]), of(&[("a", "3")])]) {
        let before = world.item(&read.workspace_id);
        assert!(!store.tag(read, &tags).await.expect("an answer"), "{before}");
        assert_eq!(world.item(&read.workspace_id), before);
    }
}
