//! What a path names, and what a method asks of it.

use lambda_http::http::Method;

use crate::http::failure::{Code, Failure};
use crate::ids::{DirectoryId, Target, WorkspaceId};

/// What a path names. Every path of a WorkSpace also exists within a directory, so that an IAM policy
/// can limit a caller to a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Root,
    Pause,
    AllRebuilds,
    Workspaces(Within<'a>),
    Workspace(Named<'a>),
    Preview(Named<'a>),
    Protection(Named<'a>),
    Rebuilds(Named<'a>),
    Rebuild(Named<'a>, &'a str),
}

/// What a request asks for.
#[derive(Debug)]
pub(super) enum Operation<'a> {
    RebuildInBody,
    DescribePause,
    Pause,
    Resume,
    ListAllRebuilds,
    ListWorkspaces(Within<'a>),
    DescribeWorkspace(Named<'a>),
    Preview(Named<'a>),
    Protect(Named<'a>),
    Unprotect(Named<'a>),
    Rebuild(Named<'a>),
    ListRebuilds(Named<'a>),
    DescribeRebuild(Named<'a>, &'a str),
    CancelRebuild(Named<'a>, &'a str),
}

/// The text of the directory's id, if the path names one.
type Within<'a> = Option<&'a str>;

/// The texts of a WorkSpace's id, and perhaps its directory's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    directory_id: Within<'a>,
    workspace_id: &'a str,
}

impl<'a> Resource<'a> {
    /// What this path names: a path below the API's root, without slashes at its ends.
    pub(super) fn at(path: &'a str) -> Option<Self> {
        let segments: Vec<_> = path.split('/').collect();
        let (directory_id, segments) = match &segments[..] {
            ["directories", id, rest @ ..] => (Some(*id), rest),
            all => (None, all),
        };
        let named = |workspace_id| Named { directory_id, workspace_id };
        Some(match (directory_id, segments) {
            (None, [""]) => Self::Root,
            (None, ["pause"]) => Self::Pause,
            (None, ["rebuilds"]) => Self::AllRebuilds,
            (_, ["workspaces"]) => Self::Workspaces(directory_id),
            (_, ["workspaces", id]) => Self::Workspace(named(id)),
            (_, ["workspaces", id, "preview"]) => Self::Preview(named(id)),
            (_, ["workspaces", id, "protection"]) => Self::Protection(named(id)),
            (_, ["workspaces", id, "rebuilds"]) => Self::Rebuilds(named(id)),
            (_, ["workspaces", id, "rebuilds", rebuild]) => Self::Rebuild(named(id), rebuild),
            _ => return None,
        })
    }

    /// The methods that it has.
    fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Root => &["POST"],
            Self::Pause => &["GET", "PUT", "DELETE"],
            Self::AllRebuilds | Self::Workspaces(_) | Self::Workspace(_) | Self::Preview(_) => {
                &["GET"]
            }
            Self::Protection(_) => &["PUT", "DELETE"],
            Self::Rebuilds(_) => &["GET", "POST"],
            Self::Rebuild(..) => &["GET", "DELETE"],
        }
    }

    /// What this method asks of it.
    pub(super) fn operation(self, method: &Method) -> Result<Operation<'a>, Failure> {
        Ok(match (self, method.as_str()) {
            (Self::Root, "POST") => Operation::RebuildInBody,
            (Self::Pause, "GET") => Operation::DescribePause,
            (Self::Pause, "PUT") => Operation::Pause,
            (Self::Pause, "DELETE") => Operation::Resume,
            (Self::AllRebuilds, "GET") => Operation::ListAllRebuilds,
            (Self::Workspaces(within), "GET") => Operation::ListWorkspaces(within),
            (Self::Workspace(named), "GET") => Operation::DescribeWorkspace(named),
            (Self::Preview(named), "GET") => Operation::Preview(named),
            (Self::Protection(named), "PUT") => Operation::Protect(named),
            (Self::Protection(named), "DELETE") => Operation::Unprotect(named),
            (Self::Rebuilds(named), "POST") => Operation::Rebuild(named),
            (Self::Rebuilds(named), "GET") => Operation::ListRebuilds(named),
            (Self::Rebuild(named, id), "GET") => Operation::DescribeRebuild(named, id),
            (Self::Rebuild(named, id), "DELETE") => Operation::CancelRebuild(named, id),
            (resource, _) => return Err(resource.method_not_allowed()),
        })
    }

    /// The answer to any other method.
    fn method_not_allowed(&self) -> Failure {
        let methods = self.methods();
        let message = match methods {
            [only] => format!("only {only} is allowed here"),
            [first @ .., last] => format!("only {} and {last} are allowed here", first.join(", ")),
            [] => unreachable!(),
        };
        let header = Some(("allow", methods.join(", ")));
        Failure { header, ..Failure::refusal(Code::MethodNotAllowed, message) }
    }
}

impl Operation<'_> {
    /// The parameters that its query may have.
    pub(super) fn parameters(&self) -> &'static [&'static str] {
        match self {
            Self::ListAllRebuilds => &["status", "ended_on", "limit", "next_token"],
            Self::ListWorkspaces(None) => {
                &["directory_id", "user_name", "bundle_id", "limit", "next_token"]
            }
            Self::ListWorkspaces(Some(_)) => &["user_name", "limit", "next_token"],
            Self::ListRebuilds(_) => &["limit", "next_token"],
            Self::RebuildInBody
            | Self::DescribePause
            | Self::Pause
            | Self::Resume
            | Self::DescribeWorkspace(_)
            | Self::Preview(_)
            | Self::Protect(_)
            | Self::Unprotect(_)
            | Self::Rebuild(_)
            | Self::DescribeRebuild(..)
            | Self::CancelRebuild(..) => &[],
        }
    }
}

impl Named<'_> {
    pub(super) fn target(&self) -> Result<Target, Failure> {
        let workspace_id = WorkspaceId::try_from(self.workspace_id.to_owned());
        let workspace_id = workspace_id.map_err(|error| Failure::field("WorkspaceId", &error))?;
        Ok(Target { workspace_id, directory_id: self.directory_id.map(directory_id).transpose()? })
    }
}

/// The id of a directory in a path.
pub(super) fn directory_id(text: &str) -> Result<DirectoryId, Failure> {
    let id = DirectoryId::try_from(text.to_owned());
    id.map_err(|error| Failure::field("DirectoryId", &error))
}
