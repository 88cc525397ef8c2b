//! The real fleet: the Amazon WorkSpaces API.

mod listed;
mod tags;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kms::types::KeyState;
use aws_sdk_workspaces::Client;
use aws_sdk_workspaces::config::SharedHttpClient;
use aws_sdk_workspaces::config::retry::RetryConfig;
use aws_sdk_workspaces::config::timeout::TimeoutConfig;
use aws_sdk_workspaces::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_workspaces::operation::rebuild_workspaces::RebuildWorkspacesError;
use aws_sdk_workspaces::types::{ConnectionState, RebuildRequest, WorkspaceType};
use tokio::time::{Instant, sleep_until};

use self::listed::listed;
use self::tags::Tagging;
use super::{Fleet, HandOverError, KeyUse, Listed, Pages, Wanted};
use crate::calls::Rate;
use crate::config::{Config, FleetConfig};
use crate::error::Cause;
use crate::ids::{DirectoryId, WorkspaceId};
use crate::rebuild::{Class, FleetMode};
use crate::timestamp::Timestamp;
use crate::transport::{never_sent, sdk_config};
use crate::workspace::{OpenRebuild, Tags};

/// How long the answer to a hand-over may take. Giving up on it leaves the outcome unknown.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(15);

/// The WorkSpaces of this account and region.
#[derive(Debug)]
pub struct Amazon {
    client: Client,
    keys: aws_sdk_kms::Client,
    calls: RateLimit,
    listing: RateLimit,
    /// `None` if no tags are wanted.
    tagging: Option<Tagging>,
}

impl Amazon {
    /// The fleet behind the WorkSpaces API, for a function that makes its `calls` at this rate.
    #[must_use]
    pub fn connect(
        config: &Config,
        fleet: &FleetConfig,
        calls: Rate,
        http: SharedHttpClient,
    ) -> Self {
        // For describing. A hand-over turns retries off.
        let retries = RetryConfig::standard().with_max_attempts(2);
        let timeouts = (Duration::from_secs(5), Duration::from_secs(12));
        let sdk_config =
            |http, endpoint| sdk_config(&config.aws, http, endpoint, retries.clone(), timeouts);
        let kms = sdk_config(http.clone(), fleet.kms_endpoint.as_ref());
        let workspaces = sdk_config(http, fleet.endpoint.as_ref());
        let tagging = (!fleet.tag_keys.is_empty()).then(|| {
            let client = aws_sdk_resourcegroupstagging::Client::new(&workspaces);
            Tagging::new(client, fleet.tag_keys.clone())
        });
        let listing = Rate::sync(fleet.calls_per_second);
        let keys = aws_sdk_kms::Client::new(&kms);
        Self { tagging, ..Self::new(Client::new(&workspaces), keys, calls, listing) }
    }

    /// The fleet behind a client of WorkSpaces and one of KMS.
    #[must_use]
    pub fn new(client: Client, keys: aws_sdk_kms::Client, calls: Rate, listing: Rate) -> Self {
        let (calls, listing) = (RateLimit::new(calls), RateLimit::new(listing));
        Self { client, keys, calls, listing, tagging: None }
    }

    /// The WorkSpaces with these ids.
    async fn with_ids(&self, ids: Vec<String>) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        let mut found = HashMap::new();
        let mut pages = Pages::default();
        let mut token = None;
        // A WorkSpace is missing only if no page has it.
        loop {
            self.calls.wait().await;
            let request = self.client.describe_workspaces().set_workspace_ids(Some(ids.clone()));
            let page = request.set_next_token(token).send().await?;
            for workspace in page.workspaces.unwrap_or_default() {
                found.extend(listed(workspace).map(|listed| (listed.workspace_id.clone(), listed)));
            }
            token = pages.next(page.next_token)?;
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

impl Fleet for Amazon {
    const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

    async fn describe(
        &self,
        open: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        self.with_ids(open.iter().map(|open| open.workspace_id.to_string()).collect()).await
    }

    async fn connections(
        &self,
        open: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, bool>, Cause> {
        let ids: Vec<_> = open.iter().map(|open| open.workspace_id.to_string()).collect();
        let mut connections = HashMap::new();
        let mut pages = Pages::default();
        let mut token = None;
        loop {
            self.calls.wait().await;
            let request = self.client.describe_workspaces_connection_status();
            let request = request.set_workspace_ids(Some(ids.clone())).set_next_token(token);
            let page = request.send().await?;
            for status in page.workspaces_connection_status.unwrap_or_default() {
                let is_connected = match status.connection_state {
                    Some(ConnectionState::Connected) => true,
                    Some(ConnectionState::Disconnected) => false,
                    _ => continue,
                };
                let id = WorkspaceId::try_from(status.workspace_id.unwrap_or_default());
                connections.extend(id.map(|id| (id, is_connected)));
            }
            token = pages.next(page.next_token)?;
            if token.is_none() {
                return Ok(connections);
            }
        }
    }

    async fn key(&self, key: &str) -> Result<KeyUse, Cause> {
        match self.keys.describe_key().key_id(key).send().await {
            Ok(answer) => {
                let state = answer.key_metadata.and_then(|metadata| metadata.key_state);
                let is_enabled = state == Some(KeyState::Enabled);
                Ok(if is_enabled { KeyUse::Enabled } else { KeyUse::Unusable })
            }
            Err(error) => match error.code() {
                Some("AccessDeniedException") => Ok(KeyUse::NotAllowedToAsk),
                Some("NotFoundException") => Ok(KeyUse::Unusable),
                Some(_) | None => Err(error.into()),
            },
        }
    }

    async fn find(&self, ids: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        let found = self.with_ids(ids.iter().map(ToString::to_string).collect()).await?;
        let is_there = |listed: &Listed| Class::of(Some(listed.state)) != Class::Gone;
        Ok(found.into_values().filter(is_there).map(|listed| listed.workspace_id).collect())
    }

    async fn newest_snapshot(
        &self,
        open: &OpenRebuild,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        self.calls.wait().await;
        let id = open.workspace_id.as_str();
        let answer = self.client.describe_workspace_snapshots().workspace_id(id).send().await?;
        // Snapshots for rebuilding include the user volume (API reference).
        let snapshots = answer.rebuild_snapshots.unwrap_or_default().into_iter();
        let newest = snapshots.filter_map(|snapshot| Some(snapshot.snapshot_time?.secs())).max();
        Ok(newest.map(Timestamp::from_epoch_seconds).transpose()?)
    }

    async fn wait_for_place(&self) {
        self.calls.wait().await;
    }

    async fn rebuild(&self, id: &WorkspaceId) -> Result<(), HandOverError> {
        let request = RebuildRequest::builder().workspace_id(id.as_str()).build();
        let request = request.map_err(|error| HandOverError::NotTaken(error.into()))?;
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(HAND_OVER_TIMEOUT)
            .operation_timeout(HAND_OVER_TIMEOUT);
        let once = aws_sdk_workspaces::Config::builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build());
        let answer = self
            .client
            .rebuild_workspaces()
            .rebuild_workspace_requests(request)
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(hand_over_error)?;
        match answer.failed_requests.unwrap_or_default().into_iter().next() {
            None => Ok(()),
            Some(failed) => {
                let code = failed.error_code.unwrap_or_default();
                let cause = format!("FailedRequests: {code}");
                Err(by_code(&code, cause.into()))
            }
        }
    }

    /// Directories of pools are left out, because nobody's WorkSpace is in a pool.
    async fn directories(
        &self,
        token: Option<String>,
    ) -> Result<(Vec<DirectoryId>, Option<String>), Cause> {
        self.listing.wait().await;
        let mut pages = Pages::default();
        let token = pages.next(token)?;
        let page =
            self.client.describe_workspace_directories().set_next_token(token).send().await?;
        let next = pages.next(page.next_token)?;
        let directories = page.directories.unwrap_or_default().into_iter();
        let ids = directories
            .filter(|directory| directory.workspace_type != Some(WorkspaceType::Pools))
            .filter_map(|directory| directory.directory_id?.try_into().ok());
        Ok((ids.collect(), next))
    }

    async fn list(
        &self,
        wanted: Wanted<'_>,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        self.listing.wait().await;
        let mut pages = Pages::default();
        let token = pages.next(token)?;
        let request = self.client.describe_workspaces().set_next_token(token);
        let request = match wanted {
            Wanted::Directory(id) => request.directory_id(id.as_str()),
            Wanted::Ids(ids) => {
                request.set_workspace_ids(Some(ids.iter().map(ToString::to_string).collect()))
            }
        };
        let page = request.send().await?;
        let next = pages.next(page.next_token)?;
        let workspaces = page.workspaces.unwrap_or_default();
        let listed = workspaces.into_iter().filter_map(listed).collect();
        Ok((listed, next))
    }

    async fn tags(&self) -> Result<Option<HashMap<WorkspaceId, Tags>>, Cause> {
        match &self.tagging {
            Some(tagging) => tagging.tags().await.map(Some),
            None => Ok(None),
        }
    }
}

fn hand_over_error(error: SdkError<RebuildWorkspacesError>) -> HandOverError {
    let code = error.code().unwrap_or_default().to_owned();
    let status = error.raw_response().map(|response| response.status().as_u16());
    match &error {
        SdkError::ConstructionFailure(_) => HandOverError::NotTaken(error.into()),
        SdkError::DispatchFailure(_) if never_sent(&error) => HandOverError::NotTaken(error.into()),
        SdkError::ServiceError(_) if status == Some(429) || is_throttling(&code) => {
            HandOverError::NotTaken(error.into())
        }
        SdkError::ServiceError(_) if matches!(status, Some(400..=407 | 409..=499)) => {
            by_code(&code, error.into())
        }
        _ => HandOverError::NoAnswer(error.into()),
    }
}

/// What the code of a 4xx, or of an entry in `FailedRequests`, says about the call. Entries add
/// `.Workspace` to a code.
fn by_code(code: &str, cause: Cause) -> HandOverError {
    // The call may have had its effect before it failed.
    const BROKEN_OFF: [&str; 3] = ["Internal", "RequestTimeout", "ServiceUnavailable"];
    let kind = code.strip_suffix(".Workspace").unwrap_or(code);
    if is_throttling(kind) {
        HandOverError::NotTaken(cause)
    } else if BROKEN_OFF.iter().any(|start| kind.starts_with(start)) {
        HandOverError::NoAnswer(cause)
    } else {
        // A failed rebuild always has a code, also where the fleet gave none.
        let code = if code.is_empty() { "REFUSED" } else { code };
        HandOverError::Refused { code: code.to_owned() }
    }
}

fn is_throttling(code: &str) -> bool {
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
    THROTTLED.contains(&code)
}

/// Keeps calls to a rate. (The generic cell rate algorithm: `free_at` is when the calls so far would be
/// done at that rate.)
#[derive(Debug)]
struct RateLimit {
    rate: Rate,
    free_at: Mutex<Instant>,
}

impl RateLimit {
    fn new(rate: Rate) -> Self {
        Self { rate, free_at: Mutex::new(Instant::now()) }
    }

    async fn wait(&self) {
        let start = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + self.rate.interval;
            *free_at - self.rate.interval * self.rate.burst
        };
        sleep_until(start).await;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    /// AWS takes bursts of 5 calls from an account, and 2 calls a second.
    #[tokio::test(start_paused = true)]
    async fn all_calls_together_keep_to_the_rate_of_the_account() {
        let two = NonZeroU16::new(2).expect("not zero");
        let begin = Instant::now();
        let times = async |rate, count| {
            let limit = RateLimit::new(rate);
            let mut times = Vec::new();
            for _ in 0..count {
                limit.wait().await;
                times.push(begin.elapsed());
            }
            times
        };
        let (following, sync, previews) = tokio::join!(
            times(Rate::following(two), 900),
            times(Rate::sync(two), 200),
            times(Rate::previews(two), 100),
        );
        let ten_minutes = Duration::from_mins(10);
        assert!(following[899] <= ten_minutes, "three quarters of 2 a second");
        assert!(sync[199] <= ten_minutes && previews[99] <= ten_minutes, "a quarter");
        let mut all = [following, sync, previews].concat();
        all.sort();
        let (mut tokens, mut last) = (5.0, Duration::ZERO);
        for time in all {
            tokens += time.saturating_sub(last).as_secs_f64() * 2.0;
            tokens = tokens.min(5.0) - 1.0;
            last = time;
            assert!(tokens > -1e-3, "throttled after {time:?}");
        }
    }
}
