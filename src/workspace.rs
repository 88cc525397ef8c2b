//! WorkSpaces and their states. Pure: no I/O, no clock.
//!
//! Ids are checked once, where they are made; code that holds one need not check it again.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumString, VariantArray};

use crate::error::InvalidFormat;
use crate::rebuild::Rebuild;

/// The id of a WorkSpace: `^ws-[0-9a-z]{8,63}$` (API model, shape `WorkspaceId`).
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
)]
#[serde(try_from = "String")]
pub struct WorkspaceId(String);

impl WorkspaceId {
    /// The pattern in the API model.
    pub const PATTERN: &str = "^ws-[0-9a-z]{8,63}$";

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = InvalidFormat;

    fn try_from(text: String) -> Result<Self, InvalidFormat> {
        let tail = text.strip_prefix("ws-").unwrap_or_default().as_bytes();
        let is_valid = (8..=63).contains(&tail.len())
            && tail.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
        if is_valid {
            Ok(Self(text))
        } else {
            Err(InvalidFormat(format!("must match {}", Self::PATTERN)))
        }
    }
}

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
    /// From the acceptance of that rebuild until its end is recorded.
    pub has_open_rebuild: bool,
    /// The fleet no longer has it; its item will expire.
    pub has_left_fleet: bool,
    /// The other fields of `DescribeWorkspaces`.
    pub description: Description,
}

impl Workspace {
    /// Whether a request to rebuild it would be accepted now.
    #[must_use]
    pub fn is_rebuildable(&self) -> bool {
        self.state.is_rebuildable() && !self.has_open_rebuild
    }

    /// Its rebuild, if it is open.
    #[must_use]
    pub fn open_rebuild(&self) -> Option<&Rebuild> {
        self.rebuild.as_ref().filter(|_| self.has_open_rebuild)
    }
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
        directory_id: String,
        /// Only the WorkSpaces of this user.
        user_name: Option<String>,
    },
    /// Those made from a bundle.
    Bundle(String),
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last one.
    pub next_token: Option<String>,
}

/// Descriptive fields of a WorkSpace (API model, shape `Workspace`).
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub struct Description {
    pub directory_id: Option<String>,
    pub user_name: Option<String>,
    pub ip_address: Option<String>,
    pub bundle_id: Option<String>,
    pub subnet_id: Option<String>,
    pub error_message: Option<String>,
    pub error_code: Option<String>,
    pub computer_name: Option<String>,
    pub volume_encryption_key: Option<String>,
    pub user_volume_encryption_enabled: Option<bool>,
    pub root_volume_encryption_enabled: Option<bool>,
    pub workspace_name: Option<String>,
    pub workspace_properties: Option<Properties>,
}

/// Properties of a WorkSpace (API model, shape `WorkspaceProperties`).
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub struct Properties {
    pub running_mode: Option<String>,
    pub running_mode_auto_stop_timeout_in_minutes: Option<i32>,
    pub root_volume_size_gib: Option<i32>,
    pub user_volume_size_gib: Option<i32>,
    pub compute_type_name: Option<String>,
    pub protocols: Option<Vec<String>>,
    pub operating_system_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn a_workspace_id_matches_the_models_pattern() {
        let (shortest, longest) =
            (format!("ws-{}", "0".repeat(8)), format!("ws-{}", "z".repeat(63)));
        for id in [&*shortest, &longest, "ws-0a1b2c3d4"] {
            assert_eq!(
                WorkspaceId::try_from(id.to_owned()).map(|id| id.to_string()),
                Ok(id.into())
            );
        }
        let (short, long) = (&shortest[..10], longest.clone() + "z");
        for id in [
            short,
            &long,
            "",
            "ws-",
            "wsb-0a1b2c3d4",
            "ws-0A1B2C3D4",
            "ws-0a1b2c3d\n",
            " ws-0a1b2c3d4",
        ] {
            assert!(WorkspaceId::try_from(id.to_owned()).is_err(), "{id:?}");
        }
    }

    #[test]
    fn five_of_the_models_states_allow_a_rebuild() {
        assert_eq!(State::VARIANTS.len(), 17 + 1, "and Unknown");
        let rebuildable = State::VARIANTS.iter().filter(|state| state.is_rebuildable());
        let names: Vec<_> = rebuildable.map(ToString::to_string).collect();
        assert_eq!(names, ["AVAILABLE", "UNHEALTHY", "REBOOTING", "STOPPED", "ERROR"]);
        assert_eq!(State::AdminMaintenance.to_string(), "ADMIN_MAINTENANCE");
    }
}
