//! The contents of `data`.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::control::Pause;
use crate::http::failure::Failure;
use crate::ids::WorkspaceId;
use crate::preview::{EncryptionKey, Found, Preview, Refusal};
use crate::rebuild::{ErrorDetail, Failure as RebuildFailure, Rebuild, RebuildId};
use crate::representation::RebuildData;
use crate::service::PauseOutput;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, Page, Protection, SnakeCase, Tags, Workspace};

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
    pub(super) fn new(
        id: &'a WorkspaceId,
        page: &'a Page<Rebuild>,
        is_paused: Option<bool>,
    ) -> Self {
        let rebuilds = page.items.iter().map(|rebuild| RebuildData::new(id, rebuild, is_paused));
        Self { rebuilds: rebuilds.collect(), next_token: page.next_token.as_deref() }
    }

    /// Ended rebuilds of different WorkSpaces.
    pub(super) fn of_all(page: &'a Page<(WorkspaceId, Rebuild)>) -> Self {
        let rebuilds = page.items.iter().map(|(id, rebuild)| RebuildData::new(id, rebuild, None));
        Self { rebuilds: rebuilds.collect(), next_token: page.next_token.as_deref() }
    }

    /// The latest rebuild of each WorkSpace.
    pub(super) fn of_workspaces(page: &'a Page<Workspace>, is_paused: Option<bool>) -> Self {
        let latest = |workspace: &'a Workspace| {
            let rebuild = workspace.rebuild()?;
            Some(RebuildData::new(&workspace.workspace_id, rebuild, is_paused))
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
    pub(super) fn new(page: &'a Page<Workspace>, is_paused: Option<bool>) -> Self {
        let workspace = |workspace| WorkspaceData::new(workspace, is_paused);
        Self {
            workspaces: page.items.iter().map(workspace).collect(),
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
    tags: Option<&'a Tags>,
    #[serde(flatten)]
    description: SnakeCase<'a, Description>,
    rebuild: Option<RebuildData<'a>>,
}

impl<'a> WorkspaceData<'a> {
    pub(super) fn new(workspace: &'a Workspace, is_paused: Option<bool>) -> Self {
        let rebuild = workspace.rebuild();
        let Workspace { workspace_id, state, protection, tags, description, .. } = workspace;
        Self {
            workspace_id,
            state: *state,
            rebuildable: workspace.is_rebuildable(),
            protection: protection.as_ref().map(ProtectionData::new),
            tags: Some(tags).filter(|tags| !tags.is_empty()),
            description: SnakeCase(description),
            rebuild: rebuild.map(|rebuild| RebuildData::new(workspace_id, rebuild, is_paused)),
        }
    }
}

/// What a rebuild would meet now.
#[skip_serializing_none]
#[derive(Serialize)]
pub(super) struct PreviewData<'a> {
    workspace_id: &'a WorkspaceId,
    state: State,
    rebuildable: bool,
    snapshot_at: Option<Timestamp>,
    user_connected: Option<bool>,
    encryption_key: Option<EncryptionKey>,
    refusal: Option<RefusalData>,
    checked_at: Timestamp,
}

#[derive(Serialize)]
struct RefusalData {
    code: String,
    message: String,
}

impl<'a> PreviewData<'a> {
    pub(super) fn new(workspace_id: &'a WorkspaceId, preview: Preview) -> Self {
        let Preview { found, refusal } = preview;
        let Found { state, snapshot_at, user_connected, encryption_key, checked_at } = found;
        let refusal = refusal.map(|refusal| match refusal {
            Refusal::NotAccepted(error) => {
                let Failure { code, message, .. } = error.into();
                RefusalData { code: code.into_str().to_owned(), message }
            }
            Refusal::Fails(code) => {
                let ErrorDetail { code, message } = RebuildFailure::Known(code).into();
                RefusalData { code, message }
            }
        });
        Self {
            workspace_id,
            state,
            rebuildable: refusal.is_none(),
            snapshot_at,
            user_connected,
            encryption_key,
            refusal,
            checked_at,
        }
    }
}

/// What pauses hand-overs. Its first members are the oldest pause's.
#[skip_serializing_none]
#[derive(Serialize)]
pub(super) struct PauseData<'a> {
    paused: bool,
    #[serde(flatten)]
    oldest: Option<PauseMembers<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pauses: Vec<PauseMembers<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ended: Vec<PauseMembers<'a>>,
    resumed_by: Option<&'a str>,
    resumed_at: Option<Timestamp>,
    budget: BudgetData,
}

#[skip_serializing_none]
#[derive(Clone, Copy, Serialize)]
struct PauseMembers<'a> {
    paused_by: Option<&'a str>,
    paused_at: Timestamp,
    reason: Option<&'a str>,
}

#[skip_serializing_none]
#[derive(Serialize)]
struct BudgetData {
    limit: Option<u32>,
    used: u64,
}

impl<'a> PauseData<'a> {
    pub(super) fn new(output: &'a PauseOutput) -> Self {
        let PauseOutput { control, ended, limit, used } = output;
        let pauses = oldest_first(control.pauses());
        // Since then hand-overs are paused again.
        let resumption = control.resumption.as_ref().filter(|_| pauses.is_empty());
        Self {
            paused: !pauses.is_empty(),
            oldest: pauses.first().copied(),
            pauses,
            ended: oldest_first(ended.iter()),
            resumed_by: resumption.and_then(|resumption| resumption.resumed_by.as_deref()),
            resumed_at: resumption.map(|resumption| resumption.resumed_at),
            budget: BudgetData { limit: *limit, used: *used },
        }
    }
}

fn oldest_first<'a>(pauses: impl Iterator<Item = &'a Pause>) -> Vec<PauseMembers<'a>> {
    let mut pauses: Vec<_> = pauses.map(PauseMembers::new).collect();
    pauses.sort_by_key(|pause| pause.paused_at);
    pauses
}

impl<'a> PauseMembers<'a> {
    fn new(pause: &'a Pause) -> Self {
        Self {
            paused_by: pause.paused_by.as_deref(),
            paused_at: pause.paused_at,
            reason: pause.reason.as_deref(),
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
