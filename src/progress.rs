//! How far sync has come. It works in rounds, directory by directory, and a pass continues where the one
//! before it stopped.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_with::{Bytes, serde_as, skip_serializing_none};
use sha2::{Digest as _, Sha256};

use crate::ids::{DirectoryId, WorkspaceId};
use crate::timestamp::Timestamp;
use crate::workspace::if_readable;

/// A part of the fleet that sync lists on its own.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
)]
pub enum Part {
    /// A directory that the fleet names.
    Directory(DirectoryId),
    /// All WorkSpaces of the table that are in no such directory. The fleet is asked for them by id.
    #[display("others")]
    Others,
}

/// How far sync has come.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Progress {
    /// Raised by every change.
    pub version: u64,
    /// When the current round began. A round tries each part once.
    pub began_at: Option<Timestamp>,
    /// The parts that this round has tried.
    pub tried: BTreeSet<Part>,
    /// The parts whose last listing failed.
    pub failing: BTreeSet<Part>,
    /// How many WorkSpaces this round has listed.
    pub listed: usize,
    /// When the tags of all WorkSpaces were last read into the table.
    pub tags_read_at: Option<Timestamp>,
    /// The listing that the last pass had no time to finish. One that cannot be read begins anew.
    #[serde(deserialize_with = "if_readable")]
    pub unfinished: Option<Unfinished>,
}

/// A listing that a later pass continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase")]
pub enum Unfinished {
    /// Of a directory.
    Directory {
        /// The directory.
        directory_id: DirectoryId,
        /// When its first page was requested.
        began_at: Timestamp,
        /// The token of the next page.
        token: String,
        /// What its pages have shown.
        seen: Seen,
    },
    /// Of [`Part::Others`].
    Others {
        /// The last one that was asked for. They are asked for in the order of their ids.
        after: WorkspaceId,
    },
}

impl Unfinished {
    fn is_of(&self, part: &Part) -> bool {
        match (self, part) {
            (Self::Directory { directory_id, .. }, Part::Directory(id)) => directory_id == id,
            (Self::Others { .. }, Part::Others) => true,
            (Self::Directory { .. }, Part::Others) | (Self::Others { .. }, Part::Directory(_)) => {
                false
            }
        }
    }
}

impl Progress {
    /// Begins the next round if the current one has tried all `parts`, and forgets those that are no
    /// longer there.
    pub fn begin(&mut self, parts: &BTreeSet<Part>, now: Timestamp) {
        self.failing.retain(|part| parts.contains(part));
        self.unfinished.take_if(|unfinished| !parts.iter().any(|part| unfinished.is_of(part)));
        if self.began_at.is_none() || parts.is_subset(&self.tried) {
            self.began_at = Some(now);
            self.tried.clear();
            self.listed = 0;
        }
    }

    /// The parts that this round has yet to try, an unfinished one first.
    #[must_use]
    pub fn left(&self, parts: &BTreeSet<Part>) -> Vec<Part> {
        let mut left: Vec<_> = parts.difference(&self.tried).cloned().collect();
        let is_unfinished =
            |part: &Part| self.unfinished.as_ref().is_some_and(|unfinished| unfinished.is_of(part));
        left.sort_by_key(|part| !is_unfinished(part));
        left
    }

    /// Takes out the unfinished listing of a part, if there is one.
    pub fn resume(&mut self, part: &Part) -> Option<Unfinished> {
        self.unfinished.take_if(|unfinished| unfinished.is_of(part))
    }

    /// Notes a complete listing.
    pub fn finish(&mut self, part: &Part) {
        self.failing.remove(part);
        self.tried.insert(part.clone());
    }

    /// Notes a failed listing. The next round tries it again, from its first page: a fleet may have
    /// refused the token.
    pub fn fail(&mut self, part: &Part) {
        self.failing.insert(part.clone());
        self.tried.insert(part.clone());
    }
}

/// The WorkSpaces that a listing has shown: a Bloom filter, because all their ids would not fit into
/// an item of DynamoDB. It contains every WorkSpace that was shown. It may also contain one that was
/// not, of 100,000 shown ones by a chance of 1 %; such a WorkSpace is found missing by a later listing,
/// whose filter has another salt.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Seen {
    salt: i64,
    #[serde_as(as = "Bytes")]
    bits: Box<[u8; SEEN_BYTES]>,
}

/// The size of a filter in bytes: a third of what an item may have.
const SEEN_BYTES: usize = 128 * 1024;
/// The bits of an empty filter.
static NOTHING: [u8; SEEN_BYTES] = [0; SEEN_BYTES];

impl Seen {
    /// An empty filter for a listing that begins now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { salt: now.epoch_seconds(), bits: Box::new(NOTHING) }
    }

    /// Notes that a WorkSpace was shown.
    pub fn insert(&mut self, id: &WorkspaceId) {
        for (byte, mask) in self.places(id) {
            self.bits[byte] |= mask;
        }
    }

    /// Whether a WorkSpace was shown, or looks as if it were.
    #[must_use]
    pub fn contains(&self, id: &WorkspaceId) -> bool {
        self.places(id).iter().all(|(byte, mask)| self.bits[*byte] & mask != 0)
    }

    /// Whether nothing was shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self.bits == NOTHING
    }

    /// The bytes and bits that stand for a WorkSpace. A later version of this program has to find the same
    /// ones, so they come from a hash that never changes.
    fn places(&self, id: &WorkspaceId) -> [(usize, u8); 4] {
        let hash = Sha256::new().chain_update(self.salt.to_be_bytes()).chain_update(id.as_str());
        let hash = hash.finalize();
        std::array::from_fn(|number| {
            let part = &hash[number * 4..][..4];
            let place = part.iter().fold(0, |place, byte| place << 8 | usize::from(*byte));
            (place / 8 % SEEN_BYTES, 1 << (place % 8))
        })
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn id(number: usize) -> WorkspaceId {
        format!("ws-{number:09}").try_into().expect("an id")
    }

    #[test]
    fn a_filter_contains_what_was_shown_and_hardly_anything_else() {
        let now = Timestamp::from(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000));
        let overlooked = [now, now + Duration::SECOND].map(|now| {
            let mut seen = Seen::new(now);
            assert!(seen.is_empty());
            (0..100_000).for_each(|number| seen.insert(&id(number)));
            assert!(!seen.is_empty());
            assert!((0..100_000).all(|number| seen.contains(&id(number))));
            let others = (100_000..110_000).filter(|number| seen.contains(&id(*number)));
            others.collect::<BTreeSet<_>>()
        });
        for overlooked in &overlooked {
            assert!((1..150).contains(&overlooked.len()), "{}", overlooked.len());
        }
        let twice = overlooked[0].intersection(&overlooked[1]).count();
        assert!(twice < 10, "{twice} are overlooked with either salt");
    }
}
