//! The operations: request a rebuild, follow it, look at WorkSpaces. No HTTP, no AWS SDK.
//!
//! Each has an output and an error of its own.

use std::cmp::Reverse;

use time::OffsetDateTime;

use crate::error::{
    DescribeRebuildError, Fault, ListWorkspacesError, RebuildError, WorkspaceError,
};
use crate::rebuild::{Accepted, FleetMode, IdempotencyKey, Reason, Rebuild, RebuildId};
use crate::store::Store;
use crate::workspace::{Filter, Page, Workspace, WorkspaceId};

/// A request to rebuild one WorkSpace.
#[derive(Debug)]
pub struct RebuildRequest {
    /// Makes a repeated request recognisable.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Why.
    pub reason: Option<Reason>,
    /// Who.
    pub caller: Caller,
}

/// Who makes a request, as far as the API's event tells.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// IAM ARN.
    pub arn: Option<String>,
    /// IP address.
    pub source_ip: Option<String>,
    /// The API's id of the request.
    pub request_id: Option<String>,
}

/// The operations, over a store.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    fleet_mode: FleetMode,
}

impl Service {
    /// The service over a store. It accepts rebuilds for a fleet of this mode.
    #[must_use]
    pub fn new(store: Store, fleet_mode: FleetMode) -> Self {
        Self { store, fleet_mode }
    }

    /// Accepts a rebuild, in one DynamoDB request.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn rebuild(
        &self,
        workspace_id: &WorkspaceId,
        request: RebuildRequest,
    ) -> Result<Accepted, RebuildError> {
        // The id is made once, so the SDK's own retries of the write carry the same id and
        // recognise each other.
        let new = Rebuild::new(OffsetDateTime::now_utc());
        let api_request = request.caller.request_id.as_deref();
        let api_key = || api_request.map(IdempotencyKey::from_api_request);
        let rebuild = Rebuild {
            idempotency_key: request
                .idempotency_key
                .or_else(api_key)
                .unwrap_or_else(|| new.id.into()),
            requested_by: request.caller.arn,
            source_ip: request.caller.source_ip,
            request_id: request.caller.request_id,
            reason: request.reason.map(String::from),
            fleet_mode: Some(self.fleet_mode),
            ..new
        };
        self.store.accept(workspace_id, &rebuild).await
    }

    /// One WorkSpace.
    ///
    /// # Errors
    /// See [`WorkspaceError`].
    pub async fn describe_workspace(&self, id: &WorkspaceId) -> Result<Workspace, WorkspaceError> {
        let workspace = self.store.workspace(id).await?;
        workspace.ok_or_else(|| WorkspaceError::NotFound(id.clone()))
    }

    /// One page of WorkSpaces, at most `limit` of them (1 to 25).
    ///
    /// # Errors
    /// See [`ListWorkspacesError`].
    pub async fn list_workspaces(
        &self,
        filter: &Filter,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, ListWorkspacesError> {
        self.store.workspaces(filter, limit, token).await
    }

    /// One rebuild: one DynamoDB request while it is the WorkSpace's latest, two afterwards.
    ///
    /// # Errors
    /// See [`DescribeRebuildError`].
    pub async fn describe_rebuild(
        &self,
        workspace_id: &WorkspaceId,
        rebuild_id: RebuildId,
    ) -> Result<Rebuild, DescribeRebuildError> {
        let workspace = self.store.workspace(workspace_id).await?;
        match workspace.and_then(|workspace| workspace.rebuild) {
            Some(latest) if latest.id == rebuild_id => Ok(latest),
            Some(_) | None => {
                let record = self.store.record(workspace_id, rebuild_id).await?;
                record.ok_or(DescribeRebuildError::NotFound)
            }
        }
    }

    /// Rebuilds of a WorkSpace, newest first: at most `limit` of them (1 to 100), and only those
    /// older than `before`.
    ///
    /// # Errors
    /// See [`WorkspaceError`].
    pub async fn list_rebuilds(
        &self,
        workspace_id: &WorkspaceId,
        limit: u8,
        before: Option<RebuildId>,
    ) -> Result<Page<Rebuild>, WorkspaceError> {
        // The WorkSpace is read first: a rebuild that ends in between is then read twice, never
        // missed.
        let workspace = self.store.workspace(workspace_id).await?;
        let (mut items, mut has_more) = self.store.records(workspace_id, before, limit).await?;
        if workspace.is_none()
            && items.is_empty()
            && !self.has_history(workspace_id, before).await?
        {
            return Err(WorkspaceError::NotFound(workspace_id.clone()));
        }
        // Merged by id, since clocks may differ: the latest rebuild need not have the highest id.
        let latest = workspace.and_then(|workspace| workspace.rebuild);
        items.extend(latest.filter(|latest| before.is_none_or(|before| latest.id < before)));
        items.sort_by_key(|rebuild| Reverse(rebuild.id));
        items.dedup_by_key(|rebuild| rebuild.id);
        has_more |= items.len() > limit.into();
        items.truncate(limit.into());
        let next_token = items.last().filter(|_| has_more).map(|last| last.id.to_string());
        Ok(Page { items, next_token })
    }

    /// Whether an empty page after `before` is the end of a list, rather than of no WorkSpace.
    async fn has_history(
        &self,
        workspace_id: &WorkspaceId,
        before: Option<RebuildId>,
    ) -> Result<bool, Fault> {
        if before.is_none() {
            return Ok(false);
        }
        let (records, _) = self.store.records(workspace_id, None, 1).await?;
        Ok(!records.is_empty())
    }
}
