//! The use cases: ask for a rebuild, follow it, look at WorkSpaces. No HTTP, no DynamoDB.

use time::OffsetDateTime;

use crate::error::Error;
use crate::store::{Acceptance, Filter, Page, Store};
use crate::workspace::{
    IdempotencyKey, Reason, Rebuild, RebuildId, Timestamp, Workspace, WorkspaceId,
};

/// What a client can ask for.
#[derive(Debug)]
pub enum Command {
    /// Rebuild a WorkSpace.
    Rebuild(RebuildRequest),
    /// One rebuild.
    DescribeRebuild {
        /// The WorkSpace.
        workspace_id: WorkspaceId,
        /// Its rebuild.
        rebuild_id: RebuildId,
    },
    /// The rebuilds of a WorkSpace, newest first.
    ListRebuilds {
        /// The WorkSpace.
        workspace_id: WorkspaceId,
        /// At most how many, 1 to 100.
        limit: u8,
        /// From the one before this on.
        before: Option<RebuildId>,
    },
    /// One WorkSpace.
    DescribeWorkspace(WorkspaceId),
    /// A page of WorkSpaces.
    DescribeWorkspaces {
        /// Which.
        filter: Filter,
        /// At most how many, 1 to 25.
        limit: u8,
        /// Where the page starts.
        token: Option<String>,
    },
}

/// A request to rebuild one WorkSpace.
#[derive(Debug)]
pub struct RebuildRequest {
    /// The WorkSpace.
    pub workspace_id: WorkspaceId,
    /// What makes a repetition of this request recognisable.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Why.
    pub reason: Option<Reason>,
    /// Who asks.
    pub caller: Caller,
}

/// Who asks, as the API's event says.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The IAM ARN.
    pub arn: Option<String>,
    /// The IP address.
    pub source_ip: Option<String>,
    /// The API's id of the request.
    pub request_id: Option<String>,
}

/// What came of a [`Command`].
#[derive(Debug)]
pub enum Outcome {
    /// A rebuild was accepted, now or before.
    Accepted {
        /// The WorkSpace.
        workspace_id: WorkspaceId,
        /// The rebuild.
        rebuild_id: RebuildId,
        /// When it was accepted.
        created_at: Timestamp,
        /// Whether this request repeats an earlier one.
        is_replay: bool,
    },
    /// One rebuild.
    Rebuild(WorkspaceId, Box<Rebuild>),
    /// Rebuilds of a WorkSpace.
    Rebuilds(WorkspaceId, Page<Rebuild>),
    /// One WorkSpace.
    Workspace(Box<Workspace>),
    /// WorkSpaces.
    Workspaces(Page<Workspace>),
}

/// The service that both faces speak to.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
}

impl Service {
    /// The service over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Does what a command says.
    ///
    /// # Errors
    /// As each use case says; see [`Error`].
    pub async fn execute(&self, command: Command) -> Result<Outcome, Error> {
        match command {
            Command::Rebuild(request) => self.rebuild(request).await,
            Command::DescribeRebuild { workspace_id, rebuild_id } => {
                self.describe_rebuild(workspace_id, rebuild_id).await
            }
            Command::ListRebuilds { workspace_id, limit, before } => {
                self.list_rebuilds(workspace_id, limit, before).await
            }
            Command::DescribeWorkspace(id) => match self.store.workspace(&id).await? {
                Some(workspace) => Ok(Outcome::Workspace(Box::new(workspace))),
                None => Err(Error::WorkspaceNotFound(id)),
            },
            Command::DescribeWorkspaces { filter, limit, token } => {
                let page = self.store.workspaces(&filter, limit, token.as_deref()).await?;
                Ok(Outcome::Workspaces(page))
            }
        }
    }

    /// Accepts or refuses a rebuild, in one DynamoDB request. The id is made here, once: the
    /// SDK's own retries of the write carry the same, and so recognise each other.
    async fn rebuild(&self, request: RebuildRequest) -> Result<Outcome, Error> {
        let new = Rebuild::new(OffsetDateTime::now_utc());
        let rebuild = Rebuild {
            idempotency_key: request.idempotency_key.unwrap_or_else(|| new.id.into()),
            requested_by: request.caller.arn,
            source_ip: request.caller.source_ip,
            request_id: request.caller.request_id,
            reason: request.reason.map(String::from),
            ..new
        };
        let workspace_id = request.workspace_id;
        match self.store.accept(&workspace_id, &rebuild).await {
            Ok(Acceptance::Accepted) => Ok(Outcome::Accepted {
                workspace_id,
                rebuild_id: rebuild.id,
                created_at: rebuild.created_at,
                is_replay: false,
            }),
            Ok(Acceptance::Repeated(first)) => Ok(Outcome::Accepted {
                workspace_id,
                rebuild_id: first.id,
                created_at: first.created_at,
                is_replay: true,
            }),
            Err(error) => Err(error),
        }
    }

    /// One request while the rebuild is the WorkSpace's latest, two after that.
    async fn describe_rebuild(
        &self,
        workspace_id: WorkspaceId,
        rebuild_id: RebuildId,
    ) -> Result<Outcome, Error> {
        let workspace = self.store.workspace(&workspace_id).await?;
        let latest = workspace.and_then(|workspace| workspace.rebuild);
        let rebuild = match latest.filter(|latest| latest.id == rebuild_id) {
            Some(latest) => latest,
            None => (self.store.record(&workspace_id, rebuild_id).await?)
                .ok_or(Error::RebuildNotFound)?,
        };
        Ok(Outcome::Rebuild(workspace_id, Box::new(rebuild)))
    }

    /// The open rebuild, if the page starts at the newest, then the records of ended ones. The
    /// WorkSpace is read first: a rebuild that ends in between is then seen twice, never missed.
    async fn list_rebuilds(
        &self,
        workspace_id: WorkspaceId,
        limit: u8,
        before: Option<RebuildId>,
    ) -> Result<Outcome, Error> {
        let workspace = self.store.workspace(&workspace_id).await?;
        let (records, mut has_more) = self.store.records(&workspace_id, before, limit).await?;
        if workspace.is_none() && before.is_none() && records.is_empty() {
            return Err(Error::WorkspaceNotFound(workspace_id));
        }
        let latest = workspace.and_then(|workspace| workspace.rebuild);
        let newest = latest.filter(|latest| before.is_none_or(|before| latest.id < before));
        let mut items: Vec<Rebuild> = newest.into_iter().collect();
        for record in records {
            if items.iter().all(|item| item.id != record.id) {
                items.push(record);
            }
        }
        has_more |= items.len() > limit.into();
        items.truncate(limit.into());
        let next_token = items.last().filter(|_| has_more).map(|last| last.id.to_string());
        Ok(Outcome::Rebuilds(workspace_id, Page { items, next_token }))
    }
}
