//! The table as a pass has read it, and whether to believe what the fleet's listings lack.

use std::collections::{BTreeSet, HashMap, HashSet};

use time::Duration;

use crate::fleet::Listed;
use crate::ids::{DirectoryId, WorkspaceId};
use crate::progress::{Part, Seen};
use crate::timestamp::Timestamp;
use crate::workspace::Outline;

/// How many WorkSpaces may vanish at once, however few there are.
const BELIEVED: usize = 10;
/// Of more WorkSpaces, one in this many may vanish: 5 %.
const BELIEVED_ONE_IN: usize = 20;
/// If more vanish, it is believed once the same WorkSpaces have been missing for this long.
pub(super) const BELIEVED_AFTER: Duration = Duration::days(1);

/// The WorkSpaces of the table, and the directories that the fleet names.
pub(super) struct Table {
    /// Ordered by id.
    outlines: Vec<Outline>,
    directories: BTreeSet<DirectoryId>,
    /// Those that this pass was the first to find missing.
    newly_missing: HashSet<WorkspaceId>,
}

/// How many WorkSpaces there are, and how many of them have been missing for less than a day.
#[derive(Clone, Copy, Default)]
struct Count {
    all: usize,
    vanished: usize,
}

impl Count {
    fn is_too_much(self) -> bool {
        self.vanished > BELIEVED && self.vanished * BELIEVED_ONE_IN > self.all
    }

    fn add(&mut self, is_vanished: bool) {
        self.all += 1;
        self.vanished += usize::from(is_vanished);
    }
}

impl Table {
    pub(super) fn new(outlines: Vec<Outline>, directories: BTreeSet<DirectoryId>) -> Self {
        Self { outlines, directories, newly_missing: HashSet::new() }
    }

    /// What a round lists.
    pub(super) fn parts(&self) -> BTreeSet<Part> {
        let has_others = self.outlines.iter().any(|outline| self.directory_of(outline).is_none());
        let directories = self.directories.iter().cloned().map(Part::Directory);
        directories.chain(has_others.then_some(Part::Others)).collect()
    }

    pub(super) fn get(&self, id: &WorkspaceId) -> Option<&Outline> {
        self.place(id).map(|place| &self.outlines[place])
    }

    /// Those that have not left the fleet.
    pub(super) fn in_fleet(&self) -> impl Iterator<Item = &Outline> {
        self.outlines.iter().filter(|outline| !outline.has_left_fleet)
    }

    /// Those of [`Part::Others`], in order, after this one.
    pub(super) fn others(&self, after: Option<&WorkspaceId>) -> Vec<WorkspaceId> {
        let others = self.outlines.iter().filter(|outline| self.directory_of(outline).is_none());
        let ids = others.map(|outline| &outline.workspace_id);
        ids.filter(|id| after.is_none_or(|after| *id > after)).cloned().collect()
    }

    /// Those of a directory that its listing has not shown.
    pub(super) fn missing(&self, directory_id: &DirectoryId, seen: &Seen) -> Vec<WorkspaceId> {
        let of_directory = self
            .outlines
            .iter()
            .filter(|outline| outline.directory_id.as_ref() == Some(directory_id));
        let ids = of_directory.map(|outline| &outline.workspace_id);
        ids.filter(|id| !seen.contains(id)).cloned().collect()
    }

    /// Notes that a listing has shown a WorkSpace.
    pub(super) fn show(&mut self, listed: &Listed) {
        if let Some(place) = self.place(&listed.workspace_id) {
            let directory_id = listed.description.directory_id.clone();
            let outline = &mut self.outlines[place];
            outline.directory_id = directory_id.and_then(|id| id.try_into().ok());
            outline.missing_since = None;
            self.newly_missing.remove(&listed.workspace_id);
        }
    }

    /// Notes that a listing has not shown WorkSpaces.
    pub(super) fn miss(&mut self, ids: &[WorkspaceId]) {
        let is_new = |id: &&WorkspaceId| self.get(id).is_some_and(|it| it.missing_since.is_none());
        let new: Vec<_> = ids.iter().filter(is_new).cloned().collect();
        self.newly_missing.extend(new);
    }

    /// How many WorkSpaces are missing from listings, of a directory or of all, that lack too many to
    /// believe it.
    pub(super) fn vanished(&self, at: Timestamp) -> usize {
        let (counts, all) = self.counts(at);
        if all.is_too_much() {
            return all.vanished;
        }
        counts.values().filter(|count| count.is_too_much()).map(|count| count.vanished).sum()
    }

    /// Whether what a listing of this part lacks, which began then, is too much to believe.
    pub(super) fn is_too_much(&self, part: &Part, at: Timestamp) -> bool {
        let (counts, all) = self.counts(at);
        let directory_id = match part {
            Part::Directory(id) => Some(id),
            Part::Others => None,
        };
        all.is_too_much() || counts.get(&directory_id).is_some_and(|count| count.is_too_much())
    }

    /// The counts by directory, and of the whole table: many small directories that vanish at once are as
    /// suspicious as a large one.
    fn counts(&self, at: Timestamp) -> (HashMap<Option<&DirectoryId>, Count>, Count) {
        let (mut counts, mut all) = (HashMap::<_, Count>::new(), Count::default());
        for outline in self.in_fleet() {
            let is_recent = match outline.missing_since {
                Some(since) => at.since(since) < BELIEVED_AFTER,
                None => self.newly_missing.contains(&outline.workspace_id),
            };
            let is_vanished = is_recent && !outline.has_open_rebuild;
            counts.entry(self.directory_of(outline)).or_default().add(is_vanished);
            all.add(is_vanished);
        }
        (counts, all)
    }

    /// The directory of a WorkSpace, if the fleet names it.
    fn directory_of(&self, outline: &Outline) -> Option<&DirectoryId> {
        outline.directory_id.as_ref().and_then(|id| self.directories.get(id))
    }

    fn place(&self, id: &WorkspaceId) -> Option<usize> {
        self.outlines.binary_search_by(|outline| outline.workspace_id.cmp(id)).ok()
    }
}
