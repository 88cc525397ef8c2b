//! The states of a WorkSpace.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};

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
