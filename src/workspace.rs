//! WorkSpaces and their states. Pure: no I/O, no clock.

mod description;
mod ids;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumString, VariantArray};

pub use self::description::{
    DataReplicationSettings, Description, GlobalAccelerator, ModificationState, Properties,
    RelatedWorkspace, SnakeCase, StandbyProperties,
};
pub use self::ids::{BundleId, DirectoryId, Target, UserName, WorkspaceId, WorkspaceName};
use crate::rebuild::{Keys, Rebuild};
use crate::timestamp::Timestamp;

/// The state of a WorkSpace (API model, shape `WorkspaceState`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray, Serialize, Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub enum State {
    Pending,
    Available,
    Impaired,
    Unhealthy,
    Rebooting,
    Starting,
    Rebuilding,
    Restoring,
    Maintenance,
    AdminMaintenance,
    Terminating,
    Terminated,
    Suspended,
    Updating,
    Stopping,
    Stopped,
    Error,
    /// A state that this version does not know. It allows no rebuild.
    #[serde(other)]
    Unknown,
}

impl State {
    /// The states from which AWS allows a rebuild (API reference of `RebuildWorkspaces`).
    pub const REBUILDABLE: [Self; 5] =
        [Self::Available, Self::Error, Self::Unhealthy, Self::Stopped, Self::Rebooting];

    /// Whether a rebuild may start from this state.
    #[must_use]
    pub fn is_rebuildable(self) -> bool {
        Self::REBUILDABLE.contains(&self)
    }
}

/// A WorkSpace and its latest rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Its state.
    pub state: State,
    /// The current or last rebuild.
    pub rebuild: Option<Rebuild>,
    /// Whether that rebuild keeps others out: from its acceptance until its release, after its record.
    pub has_open_rebuild: bool,
    /// The idempotency keys of its ended rebuilds.
    pub keys: Keys,
    /// Present while it is protected: it then refuses rebuilds.
    pub protection: Option<Protection>,
    /// The fleet no longer has it; its item will expire.
    pub has_left_fleet: bool,
    /// The simulated fleet took its last snapshot of it then, if it takes no more.
    pub last_simulated_snapshot_at: Option<Timestamp>,
    /// The other fields of `DescribeWorkspaces`.
    pub description: Description,
}

impl Workspace {
    /// Whether a request to rebuild it would be accepted now.
    #[must_use]
    pub fn is_rebuildable(&self) -> bool {
        self.state.is_rebuildable() && !self.has_open_rebuild && self.protection.is_none()
    }

    /// Its rebuild, if it is open.
    #[must_use]
    pub fn open_rebuild(&self) -> Option<&Rebuild> {
        self.rebuild.as_ref().filter(|_| self.has_open_rebuild)
    }
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
    /// Those with these ids, each given once.
    Ids(Vec<WorkspaceId>),
    /// Those of a directory.
    Directory {
        /// The directory.
        directory_id: DirectoryId,
        /// Only the WorkSpaces of this user.
        user_name: Option<UserName>,
    },
    /// Those made from a bundle.
    Bundle(BundleId),
    /// Those with a name.
    Name(WorkspaceName),
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn five_of_the_models_states_allow_a_rebuild() {
        assert_eq!(State::VARIANTS.len(), 17 + 1, "and Unknown");
        let rebuildable = State::VARIANTS.iter().filter(|state| state.is_rebuildable());
        let names: Vec<_> = rebuildable.map(ToString::to_string).collect();
        assert_eq!(names, ["AVAILABLE", "UNHEALTHY", "REBOOTING", "STOPPED", "ERROR"]);
        assert_eq!(State::AdminMaintenance.to_string(), "ADMIN_MAINTENANCE");
    }
}
