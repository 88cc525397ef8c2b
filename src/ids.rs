//! What names a WorkSpace or a set of them. Each is checked once, where it is made.

use serde::{Deserialize, Serialize};

use crate::format::InvalidFormat;

/// Declares an id or a name: a text of one form, which the API model gives as a pattern.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $is_valid:path) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
        )]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The pattern in the API model.
            pub const PATTERN: &str = $pattern;

            /// It as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidFormat;

            fn try_from(text: String) -> Result<Self, InvalidFormat> {
                if $is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidFormat(format!("must match {}", Self::PATTERN)))
                }
            }
        }
    };
}

id!(
    /// The id of a WorkSpace.
    WorkspaceId,
    "^ws-[0-9a-z]{8,63}$",
    is_workspace_id
);
id!(
    /// The id of a directory.
    DirectoryId,
    "^(d-[0-9a-f]{8,63}|wsd-[0-9a-z]{8,63})$",
    is_directory_id
);
id!(
    /// The id of a bundle, from which WorkSpaces are made.
    BundleId,
    "^wsb-[0-9a-z]{8,63}$",
    is_bundle_id
);

id!(
    /// The name of a WorkSpace that belongs to no single user.
    WorkspaceName,
    "^[a-zA-Z0-9_()][a-zA-Z0-9_.()-]{1,63}$",
    is_workspace_name
);

fn is_workspace_id(text: &str) -> bool {
    is_id(text, "ws-", b'z')
}

fn is_directory_id(text: &str) -> bool {
    is_id(text, "d-", b'f') || is_id(text, "wsd-", b'z')
}

fn is_bundle_id(text: &str) -> bool {
    is_id(text, "wsb-", b'z')
}

fn is_workspace_name(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || b"_()".contains(&byte);
    let is_other = |byte: u8| is_first(byte) || b".-".contains(&byte);
    (2..=64).contains(&text.len())
        && text.starts_with(|first: char| u8::try_from(first).is_ok_and(is_first))
        && text.bytes().all(is_other)
}

/// A prefix and 8 to 63 digits or letters, up to `last`.
fn is_id(text: &str, prefix: &str, last: u8) -> bool {
    text.strip_prefix(prefix).is_some_and(|tail| {
        (8..=63).contains(&tail.len())
            && tail.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=last).contains(&byte))
    })
}

/// The name of a directory's user: 1 to 63 characters (API model).
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display)]
pub struct UserName(String);

impl UserName {
    /// The most characters.
    pub const MAX_CHARACTERS: usize = 63;

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = InvalidFormat;

    fn try_from(text: String) -> Result<Self, InvalidFormat> {
        let max = Self::MAX_CHARACTERS;
        if (1..=max).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err(InvalidFormat(format!("must be 1 to {max} characters")))
        }
    }
}

/// The WorkSpace that a request names: by its id, and perhaps within a directory. A WorkSpace of
/// another directory then counts as not there, so that a caller who is limited to a directory learns
/// nothing about the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The WorkSpace.
    pub workspace_id: WorkspaceId,
    /// The directory that it has to belong to.
    pub directory_id: Option<DirectoryId>,
}

impl From<WorkspaceId> for Target {
    fn from(workspace_id: WorkspaceId) -> Self {
        Self { workspace_id, directory_id: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

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

    proptest! {
        #[test]
        fn an_id_matches_its_pattern_or_is_refused(
            id in prop_oneof![
                "(d|ws|wsd|wsb)-[0-9a-gA-Z]{6,70}", "[a-z0-9_.()-]{1,66}", "[ -~]{0,70}", "\\PC{0,70}",
            ],
        ) {
            let matches = |pattern| Regex::new(pattern).expect("a pattern").is_match(&id);
            prop_assert_eq!(is_workspace_id(&id), matches(WorkspaceId::PATTERN));
            prop_assert_eq!(is_directory_id(&id), matches(DirectoryId::PATTERN));
            prop_assert_eq!(is_bundle_id(&id), matches(BundleId::PATTERN));
            prop_assert_eq!(is_workspace_name(&id), matches(WorkspaceName::PATTERN));
        }
    }
}
