//! The contents of `data` and `error`.

use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::rebuild::{Rebuild, RebuildId, Status};
use crate::timestamp::Timestamp;
use crate::workspace::{Page, Properties, Protection, State, Workspace, WorkspaceId};

#[derive(Serialize)]
pub(super) struct ErrorData<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

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
            let rebuild = workspace.rebuild.as_ref()?;
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
pub(super) struct RebuildData<'a> {
    id: RebuildId,
    workspace_id: &'a WorkspaceId,
    status: Status,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    previous_state: Option<State>,
    snapshot_at: Option<Timestamp>,
    requested_by: Option<&'a str>,
    cancelled_by: Option<&'a str>,
    reason: Option<&'a str>,
    error: Option<ErrorData<'a>>,
}

impl<'a> RebuildData<'a> {
    pub(super) fn new(workspace_id: &'a WorkspaceId, rebuild: &'a Rebuild) -> Self {
        Self {
            id: rebuild.id,
            workspace_id,
            status: rebuild.status,
            created_at: rebuild.created_at,
            started_at: rebuild.started_at,
            ended_at: rebuild.ended_at,
            previous_state: rebuild.previous_state,
            snapshot_at: rebuild.snapshot_at,
            requested_by: rebuild.requested_by.as_deref(),
            cancelled_by: rebuild.cancelled_by.as_deref(),
            reason: rebuild.reason.as_deref(),
            error: rebuild.error_code.as_deref().map(|code| ErrorData {
                code,
                message: rebuild.error_message.as_deref().unwrap_or_default(),
            }),
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
    directory_id: Option<&'a str>,
    user_name: Option<&'a str>,
    ip_address: Option<&'a str>,
    bundle_id: Option<&'a str>,
    subnet_id: Option<&'a str>,
    error_message: Option<&'a str>,
    error_code: Option<&'a str>,
    computer_name: Option<&'a str>,
    volume_encryption_key: Option<&'a str>,
    user_volume_encryption_enabled: Option<bool>,
    root_volume_encryption_enabled: Option<bool>,
    workspace_name: Option<&'a str>,
    workspace_properties: Option<PropertiesData<'a>>,
    rebuild: Option<RebuildData<'a>>,
}

impl<'a> WorkspaceData<'a> {
    pub(super) fn new(workspace: &'a Workspace) -> Self {
        let Workspace { workspace_id, state, rebuild, protection, description, .. } = workspace;
        Self {
            workspace_id,
            state: *state,
            rebuildable: workspace.is_rebuildable(),
            protection: protection.as_ref().map(ProtectionData::new),
            directory_id: description.directory_id.as_deref(),
            user_name: description.user_name.as_deref(),
            ip_address: description.ip_address.as_deref(),
            bundle_id: description.bundle_id.as_deref(),
            subnet_id: description.subnet_id.as_deref(),
            error_message: description.error_message.as_deref(),
            error_code: description.error_code.as_deref(),
            computer_name: description.computer_name.as_deref(),
            volume_encryption_key: description.volume_encryption_key.as_deref(),
            user_volume_encryption_enabled: description.user_volume_encryption_enabled,
            root_volume_encryption_enabled: description.root_volume_encryption_enabled,
            workspace_name: description.workspace_name.as_deref(),
            workspace_properties: description
                .workspace_properties
                .as_ref()
                .map(PropertiesData::new),
            rebuild: rebuild.as_ref().map(|rebuild| RebuildData::new(workspace_id, rebuild)),
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

#[skip_serializing_none]
#[derive(Serialize)]
struct PropertiesData<'a> {
    running_mode: Option<&'a str>,
    running_mode_auto_stop_timeout_in_minutes: Option<i32>,
    root_volume_size_gib: Option<i32>,
    user_volume_size_gib: Option<i32>,
    compute_type_name: Option<&'a str>,
    protocols: Option<&'a [String]>,
    operating_system_name: Option<&'a str>,
}

impl<'a> PropertiesData<'a> {
    fn new(properties: &'a Properties) -> Self {
        Self {
            running_mode: properties.running_mode.as_deref(),
            running_mode_auto_stop_timeout_in_minutes: properties
                .running_mode_auto_stop_timeout_in_minutes,
            root_volume_size_gib: properties.root_volume_size_gib,
            user_volume_size_gib: properties.user_volume_size_gib,
            compute_type_name: properties.compute_type_name.as_deref(),
            protocols: properties.protocols.as_deref(),
            operating_system_name: properties.operating_system_name.as_deref(),
        }
    }
}
