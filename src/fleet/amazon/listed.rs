//! A WorkSpace in an answer of the API.

use aws_sdk_workspaces::primitives::DateTime;
use aws_sdk_workspaces::types;

use crate::fleet::Listed;
use crate::ids::WorkspaceId;
use crate::state::State;
use crate::timestamp::EpochSeconds;
use crate::workspace::{
    DataReplicationSettings, Description, GlobalAccelerator, ModificationState, Properties,
    RelatedWorkspace, StandbyProperties,
};

/// `None` if its id is not valid. Empty strings count as absent, since DynamoDB refuses them in the
/// keys of an index.
pub(super) fn listed(workspace: types::Workspace) -> Option<Listed> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let workspace_id = WorkspaceId::try_from(workspace.workspace_id.unwrap_or_default()).ok()?;
    let state = text(workspace.state).unwrap_or_default();
    Some(Listed {
        workspace_id,
        state: state.parse().unwrap_or(State::Unknown),
        description: Description {
            directory_id: some(workspace.directory_id),
            user_name: some(workspace.user_name),
            ip_address: some(workspace.ip_address),
            ipv6_address: some(workspace.ipv6_address),
            bundle_id: some(workspace.bundle_id),
            subnet_id: some(workspace.subnet_id),
            error_message: some(workspace.error_message),
            error_code: some(workspace.error_code),
            computer_name: some(workspace.computer_name),
            volume_encryption_key: some(workspace.volume_encryption_key),
            user_volume_encryption_enabled: workspace.user_volume_encryption_enabled,
            root_volume_encryption_enabled: workspace.root_volume_encryption_enabled,
            workspace_name: some(workspace.workspace_name),
            workspace_properties: workspace.workspace_properties.map(properties),
            modification_states: all(workspace.modification_states, |change| ModificationState {
                resource: text(change.resource),
                state: text(change.state),
            }),
            related_workspaces: all(workspace.related_workspaces, |related| RelatedWorkspace {
                workspace_id: related.workspace_id,
                region: related.region,
                state: text(related.state),
                r#type: text(related.r#type),
            }),
            data_replication_settings: workspace.data_replication_settings.map(|settings| {
                DataReplicationSettings {
                    data_replication: text(settings.data_replication),
                    recovery_snapshot_time: time(settings.recovery_snapshot_time),
                }
            }),
            standby_workspaces_properties: all(
                workspace.standby_workspaces_properties,
                |standby| StandbyProperties {
                    standby_workspace_id: standby.standby_workspace_id,
                    data_replication: text(standby.data_replication),
                    recovery_snapshot_time: time(standby.recovery_snapshot_time),
                },
            ),
        },
    })
}

fn properties(properties: types::WorkspaceProperties) -> Properties {
    Properties {
        running_mode: text(properties.running_mode),
        running_mode_auto_stop_timeout_in_minutes: properties
            .running_mode_auto_stop_timeout_in_minutes,
        root_volume_size_gib: properties.root_volume_size_gib,
        user_volume_size_gib: properties.user_volume_size_gib,
        compute_type_name: text(properties.compute_type_name),
        protocols: all(properties.protocols, |protocol| protocol.as_ref().to_owned()),
        operating_system_name: text(properties.operating_system_name),
        global_accelerator: properties.global_accelerator.map(|accelerator| GlobalAccelerator {
            mode: text(Some(accelerator.mode)),
            preferred_protocol: text(accelerator.preferred_protocol),
        }),
        nested_virtualization_enabled: properties.nested_virtualization_enabled,
    }
}

/// The name of an enum's value, also of one that the SDK does not know.
fn text(value: Option<impl AsRef<str>>) -> Option<String> {
    value.map(|value| value.as_ref().to_owned())
}

fn all<T, U>(values: Option<Vec<T>>, convert: impl Fn(T) -> U) -> Option<Vec<U>> {
    values.map(|values| values.into_iter().map(convert).collect())
}

fn time(time: Option<DateTime>) -> Option<EpochSeconds> {
    EpochSeconds::try_from(time?.secs()).ok()
}
