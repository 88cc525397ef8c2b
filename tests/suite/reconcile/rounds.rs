//! Sync goes directory by directory, in rounds. What a pass has no time for, or dies before, the next one
//! does.

use std::sync::Arc;

use rebuild_workspaces::fleet::Listed;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::progress::Part;
use rebuild_workspaces::reconcile::{SYNC_BUDGET, Synced};
use rebuild_workspaces::state::State;
use time::Duration;

use super::line::Fault;
use super::sync::{Listing, add_to, directory, listed_in};
use super::world::{World, until_death};

const DIRECTORIES: [&str; 3] = ["d-90670001", "d-90670002", "d-90670003"];

/// A page that shows these as STOPPED.
fn page(directory_id: &str, ids: &[&WorkspaceId]) -> Vec<Listed> {
    ids.iter().map(|id| listed_in(directory_id, id, State::Stopped)).collect()
}

/// A WorkSpace in each directory, and the fleet that shows them.
fn one_each(world: &Arc<World>) -> ([WorkspaceId; 3], Listing) {
    let ids = DIRECTORIES.map(|directory_id| add_to(world, directory_id));
    let fleet = showing(world, [0, 1, 2].map(|number| (number, &ids[number])));
    (ids, fleet)
}

/// A fleet with a WorkSpace in each of these directories.
fn showing<const N: usize>(world: &Arc<World>, shown: [(usize, &WorkspaceId); N]) -> Listing {
    let pages = shown
        .map(|(number, id)| (DIRECTORIES[number], vec![Some(page(DIRECTORIES[number], &[id]))]));
    Listing::of(world, &pages)
}

fn is_unchanged(world: &World, id: &WorkspaceId) -> bool {
    let item = world.item(id);
    item["State"]["S"] == "AVAILABLE"
        && item.get("MissingSince").is_none()
        && item.get("ExpiresAt").is_none()
}

/// Passes that die at each of their calls in turn. A later pass lists only what was not finished.
#[tokio::test]
async fn the_next_pass_continues_where_one_has_died() {
    for call in 1.. {
        let world = World::new();
        let (ids, first) = one_each(&world);
        let second = one_each(&world).1;
        let second = Listing { pages: first.pages.clone(), ..second };
        world.pass_time(Duration::SECOND);
        let (process, line) = world.process(0);
        line.fail(Some((call, Fault::Died)));
        until_death(&line, first.sync_with(process.store)).await;
        let has_died = line.has_died();
        let finished = world.process(1).0.store.progress().await.expect("an answer").tried;

        let calls = Arc::clone(&second.calls);
        let pass = second.sync().await;
        if !has_died {
            assert!(call > 7, "3 items and 3 times the progress were written");
            break;
        }
        assert!(pass.is_complete && pass.failures == 0, "{call}: {pass:?}");
        for (directory_id, id) in DIRECTORIES.iter().zip(&ids) {
            assert_eq!(world.item(id)["State"]["S"], "STOPPED", "{call}");
            let is_listed =
                calls.lock().expect("unpoisoned").contains(&format!("{directory_id} 0"));
            let is_finished = finished.contains(&Part::Directory(directory(directory_id)));
            assert_ne!(is_listed, is_finished, "{call}: {directory_id}");
        }
    }
}

/// A directory may be too large for one pass.
#[tokio::test]
async fn a_listing_continues_at_its_page() {
    let world = World::new();
    let directory_id = DIRECTORIES[0];
    let ids = [0, 1, 2, 3].map(|_| add_to(&world, directory_id));
    let [first, second, third, missing] = &ids;
    let pages = [[first], [second], [third]].map(|ids| Some(page(directory_id, &ids))).to_vec();
    for round in 0..2 {
        for number in 0..3 {
            let fleet = Listing::of(&world, &[(directory_id, pages.clone())]);
            let calls = Arc::clone(&fleet.calls);
            // The time is up after a page.
            let clock = || {
                world.pass_time(SYNC_BUDGET);
                world.now()
            };
            let pass = fleet.sync_by(clock).await;
            let is_last = number == 2;
            let expected = Synced {
                directories: 1,
                done: usize::from(is_last),
                listed: number + 1,
                changed: usize::from(round == 0),
                gone: usize::from(round == 1 && is_last),
                has_progressed: true,
                is_complete: is_last,
                ..Synced::default()
            };
            assert_eq!(pass, expected, "{round}");
            assert_eq!(calls.lock().expect("unpoisoned")[0], format!("{directory_id} {number}"));
            let since = world.item(missing)["MissingSince"]["S"].as_str().map(str::to_owned);
            assert_eq!(since.is_some(), round == 1 || is_last, "{round}, {number}");
        }
        for id in [first, second, third] {
            assert_eq!(world.item(id).get("MissingSince"), None, "it was on an earlier page");
        }
    }
    assert_eq!(world.item(missing)["State"]["S"], "TERMINATED");
}

/// The fleet may refuse the token of an old page.
#[tokio::test]
async fn a_listing_that_cannot_continue_begins_anew() {
    let world = World::new();
    let directory_id = DIRECTORIES[0];
    let ids = [0, 1].map(|_| add_to(&world, directory_id));
    let pages = ids.each_ref().map(|id| Some(page(directory_id, &[id]))).to_vec();
    let clock = || {
        world.pass_time(SYNC_BUDGET);
        world.now()
    };
    let pass = Listing::of(&world, &[(directory_id, pages.clone())]).sync_by(clock).await;
    assert!(pass.has_progressed && !pass.is_complete, "{pass:?}");
    let refuses = Listing::of(&world, &[(directory_id, vec![pages[0].clone(), None])]);
    let pass = refuses.sync().await;
    assert_eq!((pass.failing, pass.has_progressed), (1, false));
    let fleet = Listing::of(&world, &[(directory_id, pages)]);
    let calls = Arc::clone(&fleet.calls);
    let pass = fleet.sync().await;
    assert_eq!((pass.failing, pass.is_complete), (0, true));
    assert_eq!(*calls.lock().expect("unpoisoned"), ["d-90670001 0", "d-90670001 1"]);
    assert!(ids.iter().all(|id| world.item(id).get("MissingSince").is_none()));
}

#[tokio::test]
async fn a_directory_that_fails_does_not_block_the_others() {
    let world = World::new();
    let ([first, failing, last], mut fleet) = one_each(&world);
    fleet.pages.insert(directory(DIRECTORIES[1]), vec![None]);
    let pass = fleet.sync().await;
    assert_eq!((pass.directories, pass.done, pass.failing, pass.failures), (3, 2, 1, 0));
    assert!(pass.has_progressed && !pass.is_complete, "{pass:?}");
    for (id, state) in [(&first, "STOPPED"), (&failing, "AVAILABLE"), (&last, "STOPPED")] {
        assert_eq!(world.item(id)["State"]["S"], state);
    }
    // A round that has no time for it still counts it.
    let time_is_up = || {
        world.pass_time(SYNC_BUDGET);
        world.now()
    };
    let shown = [(0, &first), (1, &failing), (2, &last)];
    let pass = showing(&world, shown).sync_by(time_is_up).await;
    assert_eq!((pass.done, pass.failing, pass.is_complete), (1, 1, false));
    let pass = showing(&world, shown).sync().await;
    assert_eq!((pass.done, pass.failing, pass.is_complete), (2, 0, true));
    assert_eq!(world.item(&failing)["State"]["S"], "STOPPED");
}

/// A WorkSpace is followed by its id while the fleet does not name its directory.
#[tokio::test]
async fn a_directory_that_the_fleet_leaves_out_changes_nothing() {
    let world = World::new();
    let [first, second, third] = DIRECTORIES.map(|directory_id| add_to(&world, directory_id));
    let without_directory = world.add(super::machine::Machine::new());
    for _ in 0..100 {
        let mut left_out = showing(&world, [(0, &first), (2, &third)]);
        left_out.unlisted = vec![second.clone(), without_directory.clone()];
        let pass = left_out.sync().await;
        assert_eq!((pass.directories, pass.done, pass.listed, pass.vanished), (3, 3, 4, 0));
        assert!(is_unchanged(&world, &second) && is_unchanged(&world, &without_directory));
        world.pass_time(Duration::minutes(15));
    }
    let shown = [(0, &first), (1, &second), (2, &third)];
    let mut fleet = showing(&world, shown);
    fleet.unlisted = vec![without_directory.clone()];
    assert_eq!(fleet.sync().await.changed, 1);
    assert_eq!(world.item(&second)["State"]["S"], "STOPPED");
}

/// Its WorkSpaces were deleted before.
#[tokio::test]
async fn the_workspaces_of_a_directory_that_is_gone_expire() {
    let world = World::new();
    let ([first, second, third], _) = one_each(&world);
    let without_directory = world.add(super::machine::Machine::new());
    let empty: Vec<_> = (0..2).map(|_| add_to(&world, "d-90670009")).collect();
    for gone in [0, 5] {
        let shown = [(0, &first)];
        let mut fleet = showing(&world, shown);
        // This one exists, and has no WorkSpaces any more.
        fleet.named.as_mut().expect("directories").push(directory("d-90670009"));
        assert_eq!(fleet.sync().await.gone, gone);
        world.pass_time(Duration::minutes(15));
    }
    for id in [&second, &third, &without_directory].into_iter().chain(&empty) {
        assert_eq!(world.item(id)["State"]["S"], "TERMINATED");
    }
}

/// Their WorkSpaces are asked for by id, so that their states stay up to date.
#[tokio::test]
async fn a_failed_list_of_directories_does_not_block_the_known_workspaces() {
    let world = World::new();
    let (ids, mut fleet) = one_each(&world);
    fleet.named = None;
    fleet.unlisted = ids.to_vec();
    world.edit(&ids[1], |item| item["State"]["S"] = "ERROR".into());
    let pass = fleet.sync().await;
    assert_eq!((pass.listed, pass.changed, pass.failures, pass.is_complete), (3, 3, 1, false));
    assert_eq!(world.item(&ids[1])["State"]["S"], "AVAILABLE");
}

/// Ten of a directory of eleven are few enough to believe, but not in twelve directories at once.
#[tokio::test]
async fn many_small_directories_that_shrink_are_not_believed() {
    let world = World::new();
    let directories: Vec<_> = (0..12).map(|number| format!("d-906700{number:02}")).collect();
    let ids: Vec<Vec<_>> =
        directories.iter().map(|id| (0..11).map(|_| add_to(&world, id)).collect()).collect();
    let pages: Vec<_> = directories
        .iter()
        .zip(&ids)
        .map(|(directory_id, ids)| (&**directory_id, vec![Some(page(directory_id, &[&ids[0]]))]))
        .collect();
    for minutes in [15, 24 * 60 - 16, 1] {
        let pass = Listing::of(&world, &pages).sync().await;
        assert_eq!((pass.gone, pass.vanished), (0, 120));
        world.pass_time(Duration::minutes(minutes));
    }
    assert_eq!(Listing::of(&world, &pages).sync().await.gone, 120);
}

/// They are hardly 3 % of the table.
#[tokio::test]
async fn half_a_directory_that_vanishes_is_not_believed() {
    let world = World::new();
    let [large, small] = [(0, 400), (1, 22)].map(|(number, count)| {
        (0..count).map(|_| add_to(&world, DIRECTORIES[number])).collect::<Vec<_>>()
    });
    let page_of = |number: usize, ids: &[WorkspaceId]| {
        let ids: Vec<_> = ids.iter().collect();
        (DIRECTORIES[number], vec![Some(page(DIRECTORIES[number], &ids))])
    };
    let pages = [page_of(0, &large[1..]), page_of(1, &small[11..])];
    for gone in [0, 1, 0] {
        let pass = Listing::of(&world, &pages).sync().await;
        assert_eq!((pass.gone, pass.vanished), (gone, 11), "the large one is believed");
        world.pass_time(Duration::minutes(15));
    }
    world.pass_time(Duration::days(1));
    assert_eq!(Listing::of(&world, &pages).sync().await.gone, 11);
}

/// Each of these directories may have become empty. Together they look like a fleet that this account
/// may not see.
#[tokio::test]
async fn empty_directories_count_only_beside_others() {
    let world = World::new();
    let ids = DIRECTORIES.map(|directory_id| add_to(&world, directory_id));
    for _ in 0..3 {
        let empty = DIRECTORIES.map(|directory_id| (directory_id, vec![Some(vec![])]));
        assert_eq!(Listing::of(&world, &empty).sync().await.gone, 0);
        world.pass_time(Duration::days(1));
    }
    assert!(ids.iter().all(|id| is_unchanged(&world, id)));
}

/// Two passes at once do no harm: one of them stops.
#[tokio::test]
async fn a_pass_stops_when_another_one_has_gone_on() {
    let world = World::new();
    let (_, mut fleet) = one_each(&world);
    fleet.is_overtaken = true;
    let calls = Arc::clone(&fleet.calls);
    let pass = fleet.sync().await;
    assert_eq!((pass.failures, pass.has_progressed, pass.is_complete), (0, false, false));
    assert_eq!(calls.lock().expect("unpoisoned").len(), 1);
}

/// The answer to a write of the progress is lost, and the SDK's second attempt meets its own first one.
#[tokio::test]
async fn a_lost_answer_to_the_progress_stops_nothing() {
    let world = World::new();
    let (_, fleet) = one_each(&world);
    let (process, line) = world.process(0);
    // Reads of the progress and the table, and the write of an item come before.
    line.fail(Some((4, Fault::AnswerLostAndRetried)));
    let pass = fleet.sync_with(process.store).await;
    assert_eq!(line.calls()[3], "write control");
    assert!(pass.is_complete && pass.failures == 0, "{pass:?}");
}
