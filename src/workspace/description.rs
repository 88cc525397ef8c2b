//! What the fleet tells of a WorkSpace beside its id and its state (API model, shape `Workspace`).
//! This service shows it and knows nothing of its meaning, so it is text where the model has an enum.
//! It decides nothing, so a stored member of another type reads as absent instead of keeping the whole
//! item from being read.

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::timestamp::EpochSeconds;

/// The same with names in snake_case, and times as text.
pub struct SnakeCase<'a, T>(pub &'a T);

/// Declares structures of the API model: all members are optional, and those that are absent are not
/// written.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[skip_serializing_none]
        #[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(missing_docs, reason = "the names are the API model's")]
        pub struct $name {
            $(
                #[serde(default, deserialize_with = "if_readable")]
                pub $member: Option<$type>,
            )*
        }

        impl $name {
            /// The names of its members, as they are stored.
            pub fn names() -> impl Iterator<Item = String> {
                [$(stringify!($member)),*].into_iter().map(pascal_case)
            }
        }

        impl Serialize for SnakeCase<'_, $name> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(if let Some(value) = &self.0.$member {
                    let name = stringify!($member).trim_start_matches("r#");
                    map.serialize_entry(name, &SnakeCase(value))?;
                })*
                map.end()
            }
        }
    )*};
}

shapes! {
    /// Descriptive fields of a WorkSpace.
    Description {
        directory_id: String,
        user_name: String,
        ip_address: String,
        ipv6_address: String,
        bundle_id: String,
        subnet_id: String,
        error_message: String,
        error_code: String,
        computer_name: String,
        volume_encryption_key: String,
        user_volume_encryption_enabled: bool,
        root_volume_encryption_enabled: bool,
        workspace_name: String,
        workspace_properties: Properties,
        modification_states: Vec<ModificationState>,
        related_workspaces: Vec<RelatedWorkspace>,
        data_replication_settings: DataReplicationSettings,
        standby_workspaces_properties: Vec<StandbyProperties>,
    }

    /// Properties of a WorkSpace (shape `WorkspaceProperties`).
    Properties {
        running_mode: String,
        running_mode_auto_stop_timeout_in_minutes: i32,
        root_volume_size_gib: i32,
        user_volume_size_gib: i32,
        compute_type_name: String,
        protocols: Vec<String>,
        operating_system_name: String,
        global_accelerator: GlobalAccelerator,
        nested_virtualization_enabled: bool,
    }

    /// How the network traffic of a WorkSpace travels (shape `GlobalAcceleratorForWorkSpace`).
    GlobalAccelerator {
        mode: String,
        preferred_protocol: String,
    }

    /// A change of a WorkSpace that is under way (shape `ModificationState`).
    ModificationState {
        resource: String,
        state: String,
    }

    /// A standby or primary WorkSpace in another region (shape `RelatedWorkspaceProperties`).
    RelatedWorkspace {
        workspace_id: String,
        region: String,
        state: String,
        r#type: String,
    }

    /// Whether and until when a primary WorkSpace is copied (shape `DataReplicationSettings`).
    DataReplicationSettings {
        data_replication: String,
        recovery_snapshot_time: EpochSeconds,
    }

    /// A standby WorkSpace and until when it has the data (shape `StandbyWorkspacesProperties`).
    StandbyProperties {
        standby_workspace_id: String,
        data_replication: String,
        recovery_snapshot_time: EpochSeconds,
    }
}

impl Description {
    /// Whether a volume is being changed.
    #[must_use]
    pub fn is_modifying(&self) -> bool {
        let mut changes = self.modification_states.iter().flatten();
        changes.any(|change| {
            let is_of_volume =
                matches!(change.resource.as_deref(), Some("ROOT_VOLUME" | "USER_VOLUME"));
            is_of_volume && change.state.as_deref() != Some("UPDATE_FAILED")
        })
    }

    /// The KMS key of the volumes, if one of them is encrypted.
    #[must_use]
    pub fn key_in_use(&self) -> Option<&str> {
        let encrypted = [self.user_volume_encryption_enabled, self.root_volume_encryption_enabled];
        let key = self.volume_encryption_key.as_deref();
        key.filter(|_| encrypted.contains(&Some(true)))
    }
}

/// A member's name as serde writes it in PascalCase.
fn pascal_case(name: &str) -> String {
    let words = name.trim_start_matches("r#").split('_').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}

/// `None` for a value of another type. Only for values that are in memory as a whole, as those of an
/// item are: a stream would be left in the middle of the value.
#[expect(clippy::unnecessary_wraps, reason = "serde expects a result")]
pub(crate) fn if_readable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(value).ok())
}

/// Values without names are written as they are.
macro_rules! unchanged {
    ($($type:ty),*) => {$(
        impl Serialize for SnakeCase<'_, $type> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
    )*};
}

unchanged!(String, bool, i32);

impl Serialize for SnakeCase<'_, EpochSeconds> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.0.serialize(serializer)
    }
}

impl<T> Serialize for SnakeCase<'_, Vec<T>>
where
    for<'a> SnakeCase<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(SnakeCase))
    }
}
