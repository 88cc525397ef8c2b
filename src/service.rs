//! The operations: request a rebuild, follow it, look at WorkSpaces. No HTTP, no AWS SDK.
//!
//! Each has an output and an error of its own.

use std::cmp::Reverse;

use time::OffsetDateTime;
use tracing::error;

use crate::control::{Control, Pause, Resumption};
use crate::error::{
    AcceptError, CancelError, DescribeRebuildError, Fault, ListError, ListRebuildsError,
    PauseError, ProtectionError, WorkspaceError, chain,
};
use crate::ids::{Target, WorkspaceId};
use crate::reason::Reason;
use crate::rebuild::{Accepted, FleetMode, IdempotencyKey, Rebuild, RebuildId, Stage, Status};
use crate::store::Store;
use crate::timestamp::Day;
use crate::token::Listing;
use crate::workspace::{Filter, Page, Protection, Workspace};

/// A request to rebuild one WorkSpace.
#[derive(Debug)]
pub struct RebuildRequest {
    /// Makes a repeated request recognisable.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Why.
    pub reason: Option<Reason>,
    /// See [`Rebuild::maximum_snapshot_age_hours`].
    pub maximum_snapshot_age_hours: Option<u16>,
    /// See [`Rebuild::wait_for_disconnect`].
    pub wait_for_disconnect: Option<bool>,
    /// Who.
    pub caller: Caller,
}

/// Who makes a request, as far as the API's event tells, and when.
#[derive(Clone, Debug)]
pub struct Caller {
    /// IAM ARN.
    pub arn: Option<String>,
    /// IP address.
    pub source_ip: Option<String>,
    /// The API's id of the request.
    pub request_id: Option<String>,
    /// When the request reached the API. A request that is delayed on its way to the table is older
    /// than the one accepted in the meantime, and is refused.
    pub requested_at: OffsetDateTime,
}

impl Caller {
    /// The ARN; without one, the IP address.
    fn name(self) -> Option<String> {
        self.arn.or(self.source_ip)
    }
}

/// What pauses hand-overs.
#[derive(Debug)]
pub struct PauseOutput {
    /// What all hand-overs depend on.
    pub control: Control,
    /// The pauses that the request has ended.
    pub ended: Vec<Pause>,
    /// See [`Limits::rebuilds_per_day`](crate::config::Limits::rebuilds_per_day).
    pub limit: Option<u32>,
    /// How many of them were handed over.
    pub used: u64,
}

/// The operations, over a store.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    fleet_mode: FleetMode,
    rebuilds_per_day: Option<u32>,
}

impl Service {
    /// The service over a store. It accepts rebuilds for a fleet of this mode, of which the reconciler
    /// hands over so many a day.
    #[must_use]
    pub fn new(store: Store, fleet_mode: FleetMode, rebuilds_per_day: Option<u32>) -> Self {
        Self { store, fleet_mode, rebuilds_per_day }
    }

    /// Accepts a rebuild, in one DynamoDB request.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub async fn accept(
        &self,
        target: &Target,
        request: RebuildRequest,
    ) -> Result<Accepted, AcceptError> {
        // The id is made once, so the SDK's own retries of the write carry the same id and
        // recognise each other.
        let new = Rebuild::new(request.caller.requested_at);
        let api_request = request.caller.request_id.as_deref();
        let api_key = || api_request.map(IdempotencyKey::from_api_request);
        let key = request.idempotency_key.or_else(api_key).unwrap_or_else(|| new.id.into());
        let rebuild = Rebuild {
            idempotency_key: key.of_fleet(self.fleet_mode),
            requested_by: request.caller.arn,
            source_ip: request.caller.source_ip,
            request_id: request.caller.request_id,
            reason: request.reason.map(String::from),
            maximum_snapshot_age_hours: request.maximum_snapshot_age_hours,
            wait_for_disconnect: request.wait_for_disconnect,
            fleet_mode: self.fleet_mode,
            ..new
        };
        self.store.accept(target, &rebuild).await
    }

    /// Cancels a rebuild that no pass has begun to hand over: one DynamoDB request. Returns the
    /// cancelled rebuild, also if it was cancelled before.
    ///
    /// # Errors
    /// See [`CancelError`].
    pub async fn cancel_rebuild(
        &self,
        target: &Target,
        rebuild_id: RebuildId,
        caller: Caller,
    ) -> Result<Rebuild, CancelError> {
        let now = OffsetDateTime::now_utc().into();
        self.store.cancel(target, rebuild_id, caller.name(), now).await
    }

    /// Protects a WorkSpace against rebuilds: one DynamoDB request. A protected WorkSpace keeps its
    /// first protection.
    ///
    /// # Errors
    /// See [`ProtectionError`].
    pub async fn protect(
        &self,
        target: &Target,
        reason: Option<Reason>,
        caller: Caller,
    ) -> Result<Workspace, ProtectionError> {
        let now = caller.requested_at;
        let protection = Protection {
            protected_by: caller.name(),
            protected_at: now.into(),
            reason: reason.map(String::from),
        };
        self.store.protect(target, &protection, now).await
    }

    /// Ends the protection of a WorkSpace: one DynamoDB request.
    ///
    /// # Errors
    /// See [`ProtectionError`].
    pub async fn unprotect(
        &self,
        target: &Target,
        caller: Caller,
    ) -> Result<Workspace, ProtectionError> {
        let now = caller.requested_at;
        self.store.unprotect(target, caller.name(), now).await
    }

    /// What pauses hand-overs now: one DynamoDB request.
    ///
    /// # Errors
    /// The table was not read.
    pub async fn describe_pause(&self) -> Result<PauseOutput, Fault> {
        Ok(self.pause_output(self.store.control().await?, vec![]))
    }

    /// Whether hand-overs are paused, if one of these rebuilds may wait for that, and if that can be read:
    /// no or one DynamoDB request.
    pub async fn is_paused<'a>(
        &self,
        rebuilds: impl IntoIterator<Item = &'a Rebuild>,
    ) -> Option<bool> {
        if !rebuilds.into_iter().any(|rebuild| rebuild.stage() == Stage::Requested) {
            return None;
        }
        let control = self.store.control().await.inspect_err(|error| {
            error!(error = %chain(error), "it was not read whether hand-overs are paused");
        });
        Some(control.ok()?.pauses().next().is_some())
    }

    /// Pauses hand-overs: one DynamoDB request. A caller's first pause stays.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub async fn pause(
        &self,
        reason: Option<Reason>,
        caller: Caller,
    ) -> Result<PauseOutput, PauseError> {
        let now = caller.requested_at;
        let pause = Pause {
            paused_by: caller.name(),
            paused_at: now.into(),
            reason: reason.map(String::from),
        };
        Ok(self.pause_output(self.store.pause(&pause, now).await?, vec![]))
    }

    /// Ends all pauses: two DynamoDB requests.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub async fn resume(&self, caller: Caller) -> Result<PauseOutput, PauseError> {
        let now = caller.requested_at;
        let resumption = Resumption { resumed_by: caller.name(), resumed_at: now.into() };
        let (control, ended) = self.store.resume(&resumption, now).await?;
        Ok(self.pause_output(control, ended))
    }

    fn pause_output(&self, control: Control, ended: Vec<Pause>) -> PauseOutput {
        let used = control.hand_overs.of_a_day(OffsetDateTime::now_utc().into());
        PauseOutput { control, ended, limit: self.rebuilds_per_day, used }
    }

    /// One WorkSpace.
    ///
    /// # Errors
    /// See [`WorkspaceError`].
    pub async fn describe_workspace(&self, target: &Target) -> Result<Workspace, WorkspaceError> {
        let workspace = self.find(target).await?;
        workspace.ok_or_else(|| WorkspaceError::NotFound(target.workspace_id.clone()))
    }

    /// One page of WorkSpaces, at most `limit` of them (1 to 100).
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn list_workspaces(
        &self,
        filter: &Filter,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        self.store.workspaces(filter, limit, token).await
    }

    /// One page of WorkSpaces with an open rebuild of this status (`None`: of any), oldest rebuild
    /// first: at most `limit` of them (1 to 100).
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn list_open_rebuilds(
        &self,
        status: Option<&Status>,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Workspace>, ListError> {
        self.store.workspaces_with_open_rebuild(status, limit, token).await
    }

    /// One page of the rebuilds of all WorkSpaces that ended on a day, newest end first: at most `limit`
    /// of them (1 to 100), each with its WorkSpace.
    ///
    /// # Errors
    /// See [`ListError`].
    pub async fn list_ended_rebuilds(
        &self,
        day: Day,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<(WorkspaceId, Rebuild)>, ListError> {
        self.store.rebuilds_ended_on(day, limit, token).await
    }

    /// One rebuild: one DynamoDB request while it is the WorkSpace's latest, two afterwards.
    ///
    /// # Errors
    /// See [`DescribeRebuildError`].
    pub async fn describe_rebuild(
        &self,
        target: &Target,
        rebuild_id: RebuildId,
    ) -> Result<Rebuild, DescribeRebuildError> {
        let workspace = self.find(target).await?;
        if workspace.is_none() && target.directory_id.is_some() {
            return Err(DescribeRebuildError::NotFound);
        }
        match workspace.and_then(Workspace::into_rebuild) {
            Some(latest) if latest.id == rebuild_id => Ok(latest),
            Some(_) | None => {
                let record = self.store.record(&target.workspace_id, rebuild_id).await?;
                record.ok_or(DescribeRebuildError::NotFound)
            }
        }
    }

    /// Rebuilds of a WorkSpace, newest first: at most `limit` of them (1 to 100).
    ///
    /// # Errors
    /// See [`ListRebuildsError`].
    pub async fn list_rebuilds(
        &self,
        target: &Target,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<Rebuild>, ListRebuildsError> {
        let id = &target.workspace_id;
        let listing = Listing::new("rebuilds", &[id.as_str()]);
        let before = listing.place(token, |last| RebuildId::try_from(last).ok())?;
        // The WorkSpace is read first: a rebuild that ends in between is then read twice, never
        // missed.
        let workspace = self.find(target).await?;
        if workspace.is_none() && target.directory_id.is_some() {
            return Err(ListRebuildsError::WorkspaceNotFound(id.clone()));
        }
        let (mut items, mut has_more) = self.store.records(id, before, limit).await?;
        // A token shows that the WorkSpace was there. It may have left the fleet; its records stay.
        if workspace.is_none() && items.is_empty() && before.is_none() {
            return Err(ListRebuildsError::WorkspaceNotFound(id.clone()));
        }
        // Merged by id, since clocks may differ: the latest rebuild need not have the highest id.
        let latest = workspace.and_then(Workspace::into_rebuild);
        items.extend(latest.filter(|latest| before.is_none_or(|before| latest.id < before)));
        items.sort_by_key(|rebuild| Reverse(rebuild.id));
        items.dedup_by_key(|rebuild| rebuild.id);
        has_more |= items.len() > limit.into();
        items.truncate(limit.into());
        let last = items.last().filter(|_| has_more);
        let next_token = last.map(|last| listing.token(&last.id.to_string()));
        Ok(Page { items, next_token })
    }

    /// The WorkSpace, if it is there and within the directory that the request names.
    async fn find(&self, target: &Target) -> Result<Option<Workspace>, Fault> {
        let workspace = self.store.workspace(&target.workspace_id).await?;
        Ok(workspace.filter(|workspace| workspace.is_within(target)))
    }
}
