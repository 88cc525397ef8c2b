//! Inputs: their members, and the constraints of the API model.

use strum::EnumString;

use super::constraints::Constraints;
use super::exception::Exception;
use crate::format::InvalidFormat;
use crate::http::body::{Encoded, InvalidBody, Members, string};
use crate::ids::{BundleId, DirectoryId, UserName, WorkspaceId, WorkspaceName};
use crate::rebuild::IdempotencyKey;
use crate::workspace::Filter;

/// The most ids, and the longest page, of one `DescribeWorkspaces` (API model).
const PAGE: u8 = 25;

/// An operation, by its name in the API model.
#[derive(Clone, Copy, Debug, EnumString)]
pub(super) enum Operation {
    RebuildWorkspaces,
    DescribeWorkspaces,
}

// AWS's own words, as far as they are known. The service has no `Filters`.
const ONE_OF: &str = "An invalid number of parameters provided with DescribeWorkspaces. Only one of the \
    following are allowed to be specified: BundleId, DirectoryId, WorkSpaceIds, Filters.";
const DIRECTORY_REQUIRED: &str = "The DirectoryId parameter is required when UserName is used.";

/// The input of an operation, not checked yet.
pub(super) enum Input {
    RebuildWorkspaces(RebuildWorkspacesInput),
    DescribeWorkspaces(DescribeWorkspacesInput),
}

/// Input of `RebuildWorkspaces`: the `WorkspaceId` of each entry.
pub(super) struct RebuildWorkspacesInput {
    rebuild_workspace_requests: Option<Vec<Option<String>>>,
}

/// Input of `DescribeWorkspaces`.
pub(super) struct DescribeWorkspacesInput {
    workspace_ids: Option<Vec<String>>,
    directory_id: Option<String>,
    user_name: Option<String>,
    bundle_id: Option<String>,
    workspace_name: Option<String>,
    limit: Option<i64>,
    next_token: Option<String>,
}

impl Input {
    /// The input in a body; an empty one has no members.
    pub(super) fn decode<V: Encoded>(
        operation: Operation,
        body: &[u8],
    ) -> Result<Self, InvalidBody> {
        Self::of(operation, Members::<V>::parse_optional(body)?)
    }

    /// Unknown members are ignored: an AWS client may be newer than this service.
    pub(super) fn of(
        operation: Operation,
        mut members: Members<impl Encoded>,
    ) -> Result<Self, InvalidBody> {
        match operation {
            Operation::RebuildWorkspaces => {
                let name = "RebuildWorkspaceRequests";
                let requests = take_list(&mut members, name, |request| {
                    Members::of(request.into_object(), "RebuildWorkspaceRequests[]")?
                        .take_string("WorkspaceId")
                });
                let rebuild_workspace_requests = requests?;
                Ok(Self::RebuildWorkspaces(RebuildWorkspacesInput { rebuild_workspace_requests }))
            }
            Operation::DescribeWorkspaces => {
                let id = |id| string(id, "WorkspaceIds[]");
                Ok(Self::DescribeWorkspaces(DescribeWorkspacesInput {
                    workspace_ids: take_list(&mut members, "WorkspaceIds", id)?,
                    directory_id: members.take_string("DirectoryId")?,
                    user_name: members.take_string("UserName")?,
                    bundle_id: members.take_string("BundleId")?,
                    limit: members.take_integer("Limit")?,
                    next_token: members.take_string("NextToken")?,
                    workspace_name: members.take_string("WorkspaceName")?,
                }))
            }
        }
    }
}

/// Removes an array, and decodes each entry with `decode`.
fn take_list<V: Encoded, T>(
    members: &mut Members<V>,
    name: &str,
    decode: impl Fn(V) -> Result<T, InvalidBody>,
) -> Result<Option<Vec<T>>, InvalidBody> {
    let values = members.take_array(name)?;
    values.map(|values| values.into_iter().map(decode).collect()).transpose()
}

impl RebuildWorkspacesInput {
    pub(super) fn check(
        self,
        invocation_id: Option<(&str, Result<&str, InvalidFormat>)>,
    ) -> Result<(WorkspaceId, Option<IdempotencyKey>), Exception> {
        let ids = self.rebuild_workspace_requests;
        let mut constraints = Constraints::default();
        let list = "rebuildWorkspaceRequests";
        constraints.not_null(list, ids.as_ref());
        constraints.length(list, ids.as_ref().map(Vec::len), 1..=1);
        let mut workspace_id = None;
        for (number, id) in (1..).zip(ids.into_iter().flatten()) {
            let place = format!("{list}.{number}.member.workspaceId");
            constraints.not_null(&place, id.as_ref());
            let id = id.map(WorkspaceId::try_from);
            constraints.pattern(&place, !matches!(id, Some(Err(_))), WorkspaceId::PATTERN);
            workspace_id = id.and_then(Result::ok);
        }
        let mut key = None;
        if let Some((header, id)) = invocation_id {
            let id = id.map_err(|error| Exception::validation(format!("{header} {error}")))?;
            key = IdempotencyKey::from_sdk_invocation(id).ok();
            if key.is_none() {
                constraints.broken(header, "Member must have 1 to 255 visible characters");
            }
        }
        let workspace_id = constraints.check(workspace_id).map_err(Exception::validation)?;
        Ok((workspace_id, key))
    }
}

impl DescribeWorkspacesInput {
    pub(super) fn check(self) -> Result<(Filter, u8, Option<String>), Exception> {
        let ids = self.workspace_ids;
        let mut constraints = Constraints::default();
        constraints.length("workspaceIds", ids.as_ref().map(Vec::len), 1..=PAGE.into());
        let ids = ids.map(distinct_ids).transpose();
        if ids.is_err() {
            let pattern = WorkspaceId::PATTERN;
            let member = format!("[Member must satisfy regular expression pattern: {pattern}]");
            let constraint = format!("Member must satisfy constraint: {member}");
            constraints.broken("workspaceIds", &constraint);
        }
        let characters = |text: &Option<String>| Some(text.as_ref()?.chars().count());
        constraints.length("directoryId", characters(&self.directory_id), 10..=65);
        let directory_id = self.directory_id.map(DirectoryId::try_from).transpose();
        constraints.pattern("directoryId", directory_id.is_ok(), DirectoryId::PATTERN);
        constraints.length("userName", characters(&self.user_name), 1..=UserName::MAX_CHARACTERS);
        let user_name = self.user_name.map(UserName::try_from).transpose();
        let bundle_id = self.bundle_id.map(BundleId::try_from).transpose();
        constraints.pattern("bundleId", bundle_id.is_ok(), BundleId::PATTERN);
        let name = self.workspace_name.map(WorkspaceName::try_from).transpose();
        constraints.pattern("workspaceName", name.is_ok(), WorkspaceName::PATTERN);
        constraints.bounds("limit", "value", self.limit, 1..=PAGE.into());
        constraints.length("nextToken", characters(&self.next_token), 1..=2048);
        let limit = u8::try_from(self.limit.unwrap_or(PAGE.into())).ok();
        let limit = constraints.check(limit).map_err(Exception::validation)?;

        let (ids, directory_id) = (ids.ok().flatten(), directory_id.ok().flatten());
        let (user_name, bundle_id) = (user_name.ok().flatten(), bundle_id.ok().flatten());
        let lacks_directory = user_name.is_some() && directory_id.is_none();
        let in_directory = |directory_id| Filter::Directory { directory_id, user_name };
        let filters = [
            ids.map(Filter::Ids),
            directory_id.map(in_directory),
            bundle_id.map(Filter::Bundle),
            name.ok().flatten().map(Filter::Name),
        ];
        let mut filters = filters.into_iter().flatten();
        let filter = match (filters.next(), filters.next()) {
            (_, Some(_)) => return Err(Exception::combination(ONE_OF)),
            (_, None) if lacks_directory => {
                return Err(Exception::combination(DIRECTORY_REQUIRED));
            }
            (filter, None) => filter.unwrap_or(Filter::All),
        };
        Ok((filter, limit, self.next_token))
    }
}

/// Each id once, in the order given: DynamoDB refuses a batch that names a key twice.
fn distinct_ids(texts: Vec<String>) -> Result<Vec<WorkspaceId>, InvalidFormat> {
    let mut ids = Vec::new();
    for text in texts {
        let id = WorkspaceId::try_from(text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[cfg(test)]
impl Input {
    /// What is asked for once the constraints are checked, as a debug text.
    pub(super) fn check(self) -> Result<String, Exception> {
        match self {
            Self::RebuildWorkspaces(input) => {
                input.check(None).map(|(id, key)| format!("{id} {key:?}"))
            }
            Self::DescribeWorkspaces(input) => input.check().map(|asked| format!("{asked:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::body::json::Json;

    fn decode(operation: Operation, body: &str) -> Input {
        Input::decode::<Json>(operation, body.as_bytes()).expect("an input")
    }

    fn message(operation: Operation, body: &Value) -> String {
        let input = decode(operation, &body.to_string());
        let exception = input.check().expect_err("a refusal");
        assert_eq!(exception.name, "ValidationException");
        exception.failure.message
    }

    #[test]
    fn constraints_are_worded_as_aws_words_them() {
        let rebuild = |requests: Value| {
            message(Operation::RebuildWorkspaces, &json!({ "RebuildWorkspaceRequests": requests }))
        };
        let describe = |body: Value| message(Operation::DescribeWorkspaces, &body);
        let id = json!({ "WorkspaceId": "ws-0a1b2c3d4" });
        let one = |place: &str, constraint: &str| {
            format!(
                "1 validation error detected: Value at '{place}' failed to satisfy constraint: {constraint}"
            )
        };
        let list = "rebuildWorkspaceRequests";
        let member = "rebuildWorkspaceRequests.1.member.workspaceId";
        let pattern = "Member must satisfy regular expression pattern: ^ws-[0-9a-z]{8,63}$";
        assert_eq!(rebuild(Value::Null), one(list, "Member must not be null"));
        let least = "Member must have length greater than or equal to 1";
        assert_eq!(rebuild(json!([])), one(list, least));
        let most = "Member must have length less than or equal to 1";
        assert_eq!(rebuild(json!([id, id])), one(list, most));
        assert_eq!(rebuild(json!([{}])), one(member, "Member must not be null"));
        assert_eq!(rebuild(json!([{ "WorkspaceId": "ws-UPPER0001" }])), one(member, pattern));
        assert_eq!(
            rebuild(json!([id, {}])),
            "2 validation errors detected: \
             Value at 'rebuildWorkspaceRequests' failed to satisfy constraint: \
             Member must have length less than or equal to 1; \
             Value at 'rebuildWorkspaceRequests.2.member.workspaceId' failed to satisfy constraint: \
             Member must not be null",
        );
        let each = format!("Member must satisfy constraint: [{pattern}]");
        assert_eq!(
            describe(json!({ "WorkspaceIds": ["ws-1", "ws-2"] })),
            one("workspaceIds", &each)
        );
        let most = "Member must have value less than or equal to 25";
        assert_eq!(describe(json!({ "Limit": 26 })), one("limit", most));
        let least = "Member must have value greater than or equal to 1";
        assert_eq!(describe(json!({ "Limit": i64::MIN })), one("limit", least));
    }

    #[test]
    fn a_listing_names_each_id_once_in_the_order_given() {
        let body = r#"{"WorkspaceIds":["ws-bbbbbbbb","ws-aaaaaaaa","ws-bbbbbbbb"]}"#;
        let input = decode(Operation::DescribeWorkspaces, body);
        let Input::DescribeWorkspaces(input) = input else { panic!("another operation") };
        let (Filter::Ids(ids), 25, None) = input.check().expect("valid") else {
            panic!("another filter, limit or token");
        };
        assert_eq!(
            ids.iter().map(WorkspaceId::as_str).collect::<Vec<_>>(),
            ["ws-bbbbbbbb", "ws-aaaaaaaa"]
        );
    }
}
