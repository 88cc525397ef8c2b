//! WorkSpaces. Pure: no I/O, no clock.

mod description;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use time::OffsetDateTime;

pub(crate) use self::description::if_readable;
pub use self::description::{
    DataReplicationSettings, Description, GlobalAccelerator, ModificationState, Properties,
    RelatedWorkspace, SnakeCase, StandbyProperties,
};
use crate::error::AcceptError;
use crate::ids::{BundleId, DirectoryId, Target, UserName, WorkspaceId, WorkspaceName};
use crate::rebuild::{Keys, Rebuild, RebuildId};
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::token::Listing;

/// Tags of a WorkSpace, by key.
pub type Tags = BTreeMap<String, String>;

/// A WorkSpace and its latest rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Its state.
    pub state: State,
    /// The current or last rebuild.
    pub latest: Latest,
    /// The idempotency keys of its ended rebuilds.
    pub keys: Keys,
    /// Present while it is protected: it then refuses rebuilds.
    pub protection: Option<Protection>,
    /// The fleet no longer has it; its item will expire.
    pub has_left_fleet: bool,
    /// The fleet's listings have left it out since then.
    pub missing_since: Option<Timestamp>,
    /// What the simulated fleet does with it.
    pub simulation: Simulation,
    /// Those of its tags that the deployer wants.
    pub tags: Tags,
    /// The other fields of `DescribeWorkspaces`.
    pub description: Description,
}

/// The latest rebuild of a WorkSpace, and whether it keeps others out.
#[derive(Clone, Debug, PartialEq)]
pub enum Latest {
    /// It was never rebuilt.
    None,
    /// From its acceptance until its release, after its record: no other is accepted.
    Open(Rebuild),
    /// It has ended, and another one may be accepted.
    Released(Rebuild),
}

impl Workspace {
    /// Whether a request to rebuild it would be accepted now.
    #[must_use]
    pub fn is_rebuildable(&self) -> bool {
        self.refusal().is_none()
    }

    /// Why a request to rebuild it would be refused now.
    #[must_use]
    pub fn refusal(&self) -> Option<AcceptError> {
        let workspace_id = || self.workspace_id.clone();
        if self.protection.is_some() {
            return Some(AcceptError::Protected(workspace_id()));
        }
        if !self.state.is_rebuildable() {
            return Some(AcceptError::InvalidState {
                workspace_id: workspace_id(),
                state: self.state,
                is_open: self.has_open_rebuild(),
            });
        }
        self.has_open_rebuild().then(|| AcceptError::NotReleased(workspace_id()))
    }

    /// Whether a rebuild keeps others out.
    #[must_use]
    pub fn has_open_rebuild(&self) -> bool {
        matches!(self.latest, Latest::Open(_))
    }

    /// Whether it is within the directory that a request names.
    #[must_use]
    pub fn is_within(&self, target: &Target) -> bool {
        let wanted = target.directory_id.as_ref().map(DirectoryId::as_str);
        wanted.is_none() || wanted == self.description.directory_id.as_deref()
    }

    /// Its latest rebuild.
    #[must_use]
    pub fn rebuild(&self) -> Option<&Rebuild> {
        match &self.latest {
            Latest::None => None,
            Latest::Open(rebuild) | Latest::Released(rebuild) => Some(rebuild),
        }
    }

    /// The same, without the WorkSpace.
    #[must_use]
    pub fn into_rebuild(self) -> Option<Rebuild> {
        match self.latest {
            Latest::None => None,
            Latest::Open(rebuild) | Latest::Released(rebuild) => Some(rebuild),
        }
    }

    /// Its open rebuild, if it has one, and what the reconciler needs beside it.
    #[must_use]
    pub fn into_open_rebuild(self) -> Option<OpenRebuild> {
        let Latest::Open(rebuild) = &self.latest else { return None };
        let rebuild = rebuild.clone();
        Some(self.with(rebuild))
    }

    /// Its open rebuild or, without one, that of a request at `now`.
    #[must_use]
    pub fn into_next_rebuild(self, now: OffsetDateTime) -> OpenRebuild {
        let rebuild = match &self.latest {
            Latest::Open(rebuild) => rebuild.clone(),
            Latest::None | Latest::Released(_) => {
                Rebuild { previous_state: Some(self.state), ..Rebuild::new(now) }
            }
        };
        self.with(rebuild)
    }

    fn with(self, rebuild: Rebuild) -> OpenRebuild {
        OpenRebuild {
            workspace_id: self.workspace_id,
            rebuild,
            keys: self.keys,
            is_protected: self.protection.is_some(),
            simulation: self.simulation,
            description: self.description,
        }
    }
}

/// An open rebuild, and what the reconciler needs of its WorkSpace.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenRebuild {
    /// The WorkSpace.
    pub workspace_id: WorkspaceId,
    /// The rebuild.
    pub rebuild: Rebuild,
    /// See [`Workspace::keys`].
    pub keys: Keys,
    /// Whether the WorkSpace is protected.
    pub is_protected: bool,
    /// See [`Workspace::simulation`].
    pub simulation: Simulation,
    /// The other fields of `DescribeWorkspaces`, as the item has them.
    pub description: Description,
}

/// How a WorkSpace was found right before a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its state.
    pub state: State,
    /// The newest snapshot of the user volume.
    pub snapshot_at: Timestamp,
    /// Whether the user was connected, if the fleet knew.
    pub user_connected: Option<bool>,
}

/// What the simulated fleet does with a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// It took its last snapshot then, if it takes no more.
    pub last_snapshot_at: Option<Timestamp>,
    /// Its user is connected until so many seconds after a rebuild was requested.
    pub connection_seconds: Option<u32>,
}

/// What sync keeps in memory of each WorkSpace of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// The WorkSpace.
    pub workspace_id: WorkspaceId,
    /// See [`Description::directory_id`]; `None` also for a text that is no such id.
    pub directory_id: Option<DirectoryId>,
    /// See [`Workspace::state`].
    pub state: State,
    /// The id of its current or last rebuild.
    pub rebuild_id: Option<RebuildId>,
    /// See [`Workspace::has_open_rebuild`].
    pub has_open_rebuild: bool,
    /// Whether it is protected.
    pub is_protected: bool,
    /// See [`Workspace::has_left_fleet`].
    pub has_left_fleet: bool,
    /// See [`Workspace::missing_since`].
    pub missing_since: Option<Timestamp>,
    /// See [`Workspace::tags`].
    pub tags: Tags,
    /// See [`fingerprint`].
    pub fingerprint: u64,
}

impl From<Workspace> for Outline {
    fn from(workspace: Workspace) -> Self {
        Self {
            rebuild_id: workspace.rebuild().map(|rebuild| rebuild.id),
            has_open_rebuild: workspace.has_open_rebuild(),
            fingerprint: fingerprint(&workspace.description),
            workspace_id: workspace.workspace_id,
            directory_id: workspace.description.directory_id.and_then(|id| id.try_into().ok()),
            state: workspace.state,
            is_protected: workspace.protection.is_some(),
            has_left_fleet: workspace.has_left_fleet,
            missing_since: workspace.missing_since,
            tags: workspace.tags,
        }
    }
}

/// A number that differs, but for a chance of 1 in 2^64, between different descriptions. It is the same
/// only within a process.
#[must_use]
pub fn fingerprint(description: &Description) -> u64 {
    let mut hasher = DefaultHasher::new();
    description.hash(&mut hasher);
    hasher.finish()
}

/// Who protected a WorkSpace, when and why.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Protection {
    /// IAM ARN of the caller, or the IP address if the API knows no ARN.
    pub protected_by: Option<String>,
    /// When.
    pub protected_at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// Which WorkSpaces to list.
#[derive(Debug, PartialEq)]
pub enum Filter {
    /// All of them.
    All,
    /// The WorkSpaces with these ids, each given once.
    Ids(Vec<WorkspaceId>),
    /// The WorkSpaces of a directory.
    Directory {
        /// The directory.
        directory_id: DirectoryId,
        /// Only the WorkSpaces of this user.
        user_name: Option<UserName>,
    },
    /// The WorkSpaces made from a bundle.
    Bundle(BundleId),
    /// The WorkSpaces with a name.
    Name(WorkspaceName),
}

impl Filter {
    /// The listing of the WorkSpaces that it selects.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let name = "workspaces";
        match self {
            Self::All => Listing::new(name, &[]),
            Self::Ids(ids) => {
                let ids: Vec<_> = ids.iter().map(WorkspaceId::as_str).collect();
                Listing::new(name, &["ids", &ids.join(",")])
            }
            Self::Directory { directory_id, user_name: None } => {
                Listing::new(name, &["directory", directory_id.as_str()])
            }
            Self::Directory { directory_id, user_name: Some(user_name) } => {
                Listing::new(name, &["directory", directory_id.as_str(), user_name.as_str()])
            }
            Self::Bundle(bundle_id) => Listing::new(name, &["bundle", bundle_id.as_str()]),
            Self::Name(wanted) => Listing::new(name, &["name", wanted.as_str()]),
        }
    }
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next_token: Option<String>,
}
