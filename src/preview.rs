//! What a rebuild would meet now, for whoever is about to request one. It changes nothing.

use std::collections::HashMap;
use std::slice;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use time::{Duration, OffsetDateTime};
use tracing::error;

use crate::calls::Rate;
use crate::config::FleetConfig;
use crate::error::{AcceptError, Fault, PreviewError, chain};
use crate::fleet::{Fleet, KeyUse};
use crate::ids::{Target, WorkspaceId};
use crate::rebuild::{FailureCode, FleetMode};
use crate::state::State;
use crate::store::Store;
use crate::timestamp::Timestamp;
use crate::workspace::OpenRebuild;

/// How long an answer of the fleet is given again.
const KEPT_FOR: Duration = Duration::seconds(30);
/// How often the calls are counted if other previews count theirs meanwhile.
const TRIES: usize = 5;

/// What a rebuild of a WorkSpace would meet now.
#[derive(Debug)]
pub struct Preview {
    /// What the fleet shows of it.
    pub found: Found,
    /// Why a request would be refused, or the rebuild would fail before anything is wiped.
    pub refusal: Option<Refusal>,
}

/// What the fleet shows of a WorkSpace.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its state; TERMINATED if it is not there.
    pub state: State,
    /// The newest snapshot of the user volume: what the user's files would go back to.
    pub snapshot_at: Option<Timestamp>,
    /// Whether its user is connected, if the fleet knows.
    pub user_connected: Option<bool>,
    /// The key of its encrypted volumes; `None` if none is encrypted.
    pub encryption_key: Option<EncryptionKey>,
    /// When the fleet was asked.
    pub checked_at: Timestamp,
}

/// What is known of a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EncryptionKey {
    /// It can be used.
    Enabled,
    /// It cannot: a rebuild would make the WorkSpace unusable.
    Disabled,
    /// Nothing: KMS did not answer, or this service may not ask.
    Unknown,
}

/// Why there would be no rebuild.
#[derive(Debug)]
pub enum Refusal {
    /// The request would not be accepted.
    NotAccepted(AcceptError),
    /// The rebuild would be accepted, and fail.
    Fails(FailureCode),
}

/// Previews rebuilds in a fleet.
#[derive(Debug)]
pub struct Previewer<F, C = fn() -> OffsetDateTime> {
    store: Store,
    fleet: F,
    clock: C,
    /// See [`Limits::maximum_snapshot_age_hours`](crate::config::Limits::maximum_snapshot_age_hours).
    maximum_snapshot_age_hours: Option<u16>,
    rate: Rate,
    kept: Kept,
}

/// The latest answers of the fleet, as far as this process has them.
#[derive(Debug, Default)]
struct Kept(Mutex<HashMap<WorkspaceId, Found>>);

impl Kept {
    fn get(&self, id: &WorkspaceId, now: Timestamp) -> Option<Found> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, found| (Duration::ZERO..KEPT_FOR).contains(&now.since(found.checked_at)));
        all.get(id).cloned()
    }

    fn keep(&self, id: WorkspaceId, found: Found) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, found);
    }
}

impl Found {
    fn gone(checked_at: Timestamp) -> Self {
        Self {
            state: State::Terminated,
            snapshot_at: None,
            user_connected: None,
            encryption_key: None,
            checked_at,
        }
    }
}

impl<F: Fleet> Previewer<F> {
    /// The previews of a fleet.
    #[must_use]
    pub fn new(store: Store, fleet: F, config: &FleetConfig) -> Self {
        Self::with_clock(store, fleet, config, OffsetDateTime::now_utc)
    }
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Previewer<F, C> {
    /// The same by another clock.
    #[must_use]
    pub fn with_clock(store: Store, fleet: F, config: &FleetConfig, clock: C) -> Self {
        let rate = Rate::previews(config.calls_per_second);
        let maximum_snapshot_age_hours = config.limits.maximum_snapshot_age_hours;
        Self { store, fleet, clock, maximum_snapshot_age_hours, rate, kept: Kept::default() }
    }

    /// What a rebuild of a WorkSpace would meet now. The table is always read; what the fleet has
    /// answered within half a minute is taken as it was.
    ///
    /// # Errors
    /// See [`PreviewError`].
    pub async fn preview(&self, target: &Target) -> Result<Preview, PreviewError> {
        let id = &target.workspace_id;
        let workspace = self.store.workspace(id).await?;
        let workspace = workspace.filter(|workspace| workspace.is_within(target));
        let workspace = workspace.ok_or_else(|| PreviewError::NotFound(id.clone()))?;
        let not_accepted = workspace.refusal().map(Refusal::NotAccepted);
        let now = (self.clock)();
        let open = workspace.into_next_rebuild(now);
        let found = match self.kept.get(id, now.into()) {
            Some(found) => found,
            // Boxed, since three calls at once make it large.
            None => Box::pin(self.ask(&open)).await?,
        };
        let refusal = not_accepted.or_else(|| self.refusal(&open, &found));
        Ok(Preview { found, refusal })
    }

    /// Why the fleet's answers keep this rebuild from being handed over.
    fn refusal(&self, open: &OpenRebuild, found: &Found) -> Option<Refusal> {
        let Found { state, snapshot_at, encryption_key, checked_at, .. } = *found;
        if state == State::Terminated {
            return Some(Refusal::Fails(FailureCode::WorkspaceGone));
        }
        if !state.is_rebuildable() {
            let workspace_id = open.workspace_id.clone();
            let error = AcceptError::InvalidState { workspace_id, state, is_open: false };
            return Some(Refusal::NotAccepted(error));
        }
        if encryption_key == Some(EncryptionKey::Disabled) {
            return Some(Refusal::Fails(FailureCode::EncryptionKeyUnusable));
        }
        let hours = self.maximum_snapshot_age_hours;
        let usable = open.rebuild.usable_snapshot(snapshot_at, checked_at, hours);
        usable.err().map(Refusal::Fails)
    }

    /// Asks the fleet.
    async fn ask(&self, open: &OpenRebuild) -> Result<Found, PreviewError> {
        self.take_calls().await?;
        let id = &open.workspace_id;
        let now = Timestamp::from((self.clock)());
        let one = slice::from_ref(open);
        let (listed, connections, snapshot_at) = tokio::join!(
            self.fleet.describe(one, now),
            self.fleet.connections(one, now),
            self.fleet.newest_snapshot(open, now),
        );
        let found = match listed.map_err(PreviewError::FleetSilent)?.remove(id) {
            // The fleet cannot say more about it.
            None => Found::gone(now),
            Some(listed) => Found {
                state: listed.state,
                snapshot_at: snapshot_at.map_err(PreviewError::FleetSilent)?,
                user_connected: connections.map_err(PreviewError::FleetSilent)?.get(id).copied(),
                encryption_key: match listed.description.key_in_use() {
                    Some(key) => Some(self.key(key).await),
                    None => None,
                },
                checked_at: now,
            },
        };
        self.kept.keep(id.clone(), found.clone());
        Ok(found)
    }

    async fn key(&self, key: &str) -> EncryptionKey {
        match self.fleet.key(key).await {
            Ok(KeyUse::Enabled) => EncryptionKey::Enabled,
            Ok(KeyUse::Unusable) => EncryptionKey::Disabled,
            Ok(KeyUse::NotAllowedToAsk) => EncryptionKey::Unknown,
            Err(error) => {
                error!(key, error = %chain(&*error), "an encryption key was not checked");
                EncryptionKey::Unknown
            }
        }
    }

    /// Takes the calls of a preview from those of all previews.
    async fn take_calls(&self) -> Result<(), PreviewError> {
        // A simulated fleet takes any number.
        if F::MODE == FleetMode::Simulated {
            return Ok(());
        }
        let mut calls = self.store.preview_calls().await?;
        for _ in 0..TRIES {
            let taken = calls.with_burst(self.rate, (self.clock)());
            let taken = taken.map_err(|retry_after| PreviewError::TooMany { retry_after })?;
            match self.store.take_preview_calls(calls, taken).await? {
                None => return Ok(()),
                Some(current) => calls = current,
            }
        }
        Err(Fault::Throttled("other previews took their calls first".into()).into())
    }
}
