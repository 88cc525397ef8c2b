//! The contents of `data`.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::ids::WorkspaceId;
use crate::rebuild::{Rebuild, RebuildId};
use crate::representation::RebuildData;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, Page, Protection, SnakeCase, Workspace};

#[derive(Serialize)]
pub(super) struct AcceptedData {
    pub(super) id: RebuildId,
    pub(super) created_at: Timestamp,
}

#[skip_serializing_none]
#[derive(Serialize)]
pub(super) struct RebuildsData<'a> {
    rebuilds: Vec<RebuildData<'a>>,
    next_token: Option<&'a str>,
}

impl<'a> RebuildsData<'a> {
    pub(super) fn new(id: &'a WorkspaceId, page: &'a Page<Rebuild>) -> Self {
        Self {
            rebuilds: page.items.iter().map(|rebuild| RebuildData::new(id, rebuild)).collect(),
            next_token: page.next_token.as_deref(),
        }
    }

    /// The latest rebuild of each WorkSpace.
    pub(super) fn of_workspaces(page: &'a Page<Workspace>) -> Self {
        let latest = |workspace: &'a Workspace| {
            let rebuild = workspace.rebuild()?;
            Some(RebuildData::new(&workspace.workspace_id, rebuild))
        };
        Self {
            rebuilds: page.items.iter().filter_map(latest).collect(),
            next_token: page.next_token.as_deref(),
        }
    }
}

#[skip_serializing_none]
#[derive(Serialize)]
pub(super) struct WorkspacesData<'a> {
    workspaces: Vec<WorkspaceData<'a>>,
    next_token: Option<&'a str>,
}

impl<'a> WorkspacesData<'a> {
    pub(super) fn new(page: &'a Page<Workspace>) -> Self {
        Self {
            workspaces: page.items.iter().map(WorkspaceData::new).collect(),
            next_token: page.next_token.as_deref(),
        }
    }
}

#[skip_serializing_none]
#[derive(Serialize)]
pub(super) struct WorkspaceData<'a> {
    workspace_id: &'a WorkspaceId,
    state: State,
    rebuildable: bool,
    protection: Option<ProtectionData<'a>>,
    #[serde(flatten)]
    description: SnakeCase<'a, Description>,
    rebuild: Option<RebuildData<'a>>,
}

impl<'a> WorkspaceData<'a> {
    pub(super) fn new(workspace: &'a Workspace) -> Self {
        let Workspace { workspace_id, state, protection, description, .. } = workspace;
        Self {
            workspace_id,
            state: *state,
            rebuildable: workspace.is_rebuildable(),
            protection: protection.as_ref().map(ProtectionData::new),
            description: SnakeCase(description),
            rebuild: workspace.rebuild().map(|rebuild| RebuildData::new(workspace_id, rebuild)),
        }
    }
}

#[skip_serializing_none]
#[derive(Serialize)]
struct ProtectionData<'a> {
    protected_by: Option<&'a str>,
    protected_at: Timestamp,
    reason: Option<&'a str>,
}

impl<'a> ProtectionData<'a> {
    fn new(protection: &'a Protection) -> Self {
        Self {
            protected_by: protection.protected_by.as_deref(),
            protected_at: protection.protected_at,
            reason: protection.reason.as_deref(),
        }
    }
}
