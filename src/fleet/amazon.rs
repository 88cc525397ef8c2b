//! The real fleet: the Amazon WorkSpaces API.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_workspaces::Client;
use aws_sdk_workspaces::config::retry::RetryConfig;
use aws_sdk_workspaces::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_workspaces::operation::rebuild_workspaces::RebuildWorkspacesError;
use aws_sdk_workspaces::types::{RebuildRequest, WorkspaceProperties, WorkspaceState};
use aws_smithy_runtime_api::http::{Response, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::{Fleet, Listed, NotRebuilt, Seen};
use crate::config::never_sent;
use crate::error::Cause;
use crate::workspace::{Description, Properties, Timestamp, Workspace, WorkspaceId};

/// The WorkSpaces of this account and region.
#[derive(Debug)]
pub struct Amazon {
    client: Client,
    calls: Pace,
    listing: Pace,
}

impl Amazon {
    /// The fleet behind a client, at the pace that AWS allows (2 calls/s, burst 5), of which a
    /// listing takes at most half.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let calls = Pace::new(Duration::from_millis(500), 5);
        let listing = Pace::new(Duration::from_secs(1), 1);
        Self { client, calls, listing }
    }
}

impl Fleet for Amazon {
    async fn describe(
        &self,
        workspaces: &[Workspace],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Seen>, Cause> {
        let ids = workspaces.iter().map(|workspace| workspace.workspace_id.to_string());
        let ids: Vec<_> = ids.collect();
        let mut seen = HashMap::new();
        let mut token = None;
        // Only the whole answer says that a WorkSpace is not there.
        loop {
            self.calls.wait().await;
            let request = self.client.describe_workspaces().set_workspace_ids(Some(ids.clone()));
            let page = request.set_next_token(token).send().await?;
            for workspace in page.workspaces.unwrap_or_default() {
                seen.extend(listed(workspace).map(|listed| (listed.workspace_id, listed.state)));
            }
            token = page.next_token;
            if token.is_none() {
                return Ok(seen);
            }
        }
    }

    async fn rebuild(&self, id: &WorkspaceId) -> Result<(), NotRebuilt> {
        let request = RebuildRequest::builder().workspace_id(id.as_str()).build();
        let request = request.map_err(|error| NotRebuilt::NotTaken(error.into()))?;
        let once = aws_sdk_workspaces::Config::builder().retry_config(RetryConfig::disabled());
        self.calls.wait().await;
        let answer = self
            .client
            .rebuild_workspaces()
            .rebuild_workspace_requests(request)
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(not_rebuilt)?;
        match answer.failed_requests.unwrap_or_default().into_iter().next() {
            None => Ok(()),
            Some(failed) => Err(refused(failed.error_code.unwrap_or_default())),
        }
    }

    async fn list(&self, token: Option<String>) -> Result<(Vec<Listed>, Option<String>), Cause> {
        self.listing.wait().await;
        let request = self.client.describe_workspaces().set_next_token(token);
        let page = request.send().await?;
        let workspaces = page.workspaces.unwrap_or_default();
        let listed = workspaces.into_iter().filter_map(listed).collect();
        Ok((listed, page.next_token))
    }
}

/// A 4xx is a refusal, but for throttling; anything else than a call that was never sent may
/// have had its effect.
fn not_rebuilt(error: SdkError<RebuildWorkspacesError>) -> NotRebuilt {
    const THROTTLED: [&str; 8] = [
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ];
    let code = error.code().unwrap_or_default().to_owned();
    let status = error.raw_response().map(Response::status);
    match &error {
        SdkError::ConstructionFailure(_) => NotRebuilt::NotTaken(error.into()),
        SdkError::DispatchFailure(_) if never_sent(&error) => NotRebuilt::NotTaken(error.into()),
        SdkError::ServiceError(_)
            if THROTTLED.contains(&code.as_str())
                || status.is_some_and(|status| status.as_u16() == 429) =>
        {
            NotRebuilt::NotTaken(error.into())
        }
        SdkError::ServiceError(_) if status.is_some_and(StatusCode::is_client_error) => {
            refused(code)
        }
        _ => NotRebuilt::NoAnswer(error.into()),
    }
}

/// The record of a failed rebuild has a code, whatever the fleet said.
fn refused(code: String) -> NotRebuilt {
    let code = if code.is_empty() { "REFUSED".to_owned() } else { code };
    NotRebuilt::Refused { code }
}

/// A WorkSpace of an answer; `None` without an id that is one. An empty string is as good as no
/// member, and DynamoDB takes none in the key of an index.
fn listed(workspace: aws_sdk_workspaces::types::Workspace) -> Option<Listed> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let workspace_id = WorkspaceId::try_from(workspace.workspace_id.unwrap_or_default()).ok()?;
    let state = workspace.state.as_ref().map(WorkspaceState::as_str).unwrap_or_default();
    Some(Listed {
        workspace_id,
        state: state.parse().map_or(Seen::Unknown, Seen::Known),
        description: Description {
            directory_id: some(workspace.directory_id),
            user_name: some(workspace.user_name),
            ip_address: some(workspace.ip_address),
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
        },
    })
}

fn properties(properties: WorkspaceProperties) -> Properties {
    let protocols = properties
        .protocols
        .map(|protocols| protocols.iter().map(|protocol| protocol.as_str().to_owned()).collect());
    Properties {
        running_mode: properties.running_mode.map(|mode| mode.as_str().to_owned()),
        running_mode_auto_stop_timeout_in_minutes: properties
            .running_mode_auto_stop_timeout_in_minutes,
        root_volume_size_gib: properties.root_volume_size_gib,
        user_volume_size_gib: properties.user_volume_size_gib,
        compute_type_name: properties.compute_type_name.map(|name| name.as_str().to_owned()),
        protocols,
        operating_system_name: properties
            .operating_system_name
            .map(|name| name.as_str().to_owned()),
    }
}

/// Calls at a pace: one each `interval`, and a `burst` of them at once after a rest. (The generic
/// cell rate algorithm: `free_at` is when the calls so far would be through, one by one.)
#[derive(Debug)]
struct Pace {
    interval: Duration,
    burst: u32,
    free_at: Mutex<Instant>,
}

impl Pace {
    fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, free_at: Mutex::new(Instant::now()) }
    }

    async fn wait(&self) {
        let start = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + self.interval;
            *free_at - self.interval * self.burst
        };
        sleep_until(start).await;
    }
}
