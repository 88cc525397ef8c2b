//! The fleet: the service that has the WorkSpaces and rebuilds them.
//!
//! [`Fleet`] has two implementations: [`amazon`], the WorkSpaces API, and [`simulated`], for the local
//! run, for staging, and as the default of a fresh deployment, where nothing real is wiped until the
//! deployer asks for it.

pub mod amazon;
pub mod simulated;

use std::collections::{HashMap, HashSet};

use crate::error::Cause;
use crate::ids::{DirectoryId, WorkspaceId};
use crate::rebuild::FleetMode;
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::{Description, OpenRebuild, Tags};

/// The most WorkSpaces that one call describes (API model, `WorkspaceIdList`).
pub const IDS_PER_CALL: usize = 25;

/// The service that has the WorkSpaces and rebuilds them.
pub trait Fleet {
    /// The kind of this fleet.
    const MODE: FleetMode;

    /// The WorkSpaces of these rebuilds at `now`: 1 to [`IDS_PER_CALL`] of them. A WorkSpace
    /// that is missing from the answer is not in the fleet. The answer is eventually consistent.
    fn describe(
        &self,
        open: &[OpenRebuild],
        now: Timestamp,
    ) -> impl Future<Output = Result<HashMap<WorkspaceId, Listed>, Cause>> + Send;

    /// Whether the users of these WorkSpaces are connected at `now`: 1 to [`IDS_PER_CALL`] of them. A
    /// WorkSpace of which the fleet does not know it is missing from the answer, which may be some minutes
    /// old.
    fn connections(
        &self,
        open: &[OpenRebuild],
        now: Timestamp,
    ) -> impl Future<Output = Result<HashMap<WorkspaceId, bool>, Cause>> + Send;

    /// Whether a KMS key can be used; it is the key of an encrypted volume.
    fn key(&self, key: &str) -> impl Future<Output = Result<KeyUse, Cause>> + Send;

    /// Which of these WorkSpaces are in the fleet: 1 to [`IDS_PER_CALL`] of them.
    fn find(
        &self,
        ids: &[WorkspaceId],
    ) -> impl Future<Output = Result<HashSet<WorkspaceId>, Cause>> + Send;

    /// The time of the newest snapshot of a WorkSpace's user volume at `now`: what a rebuild puts the
    /// user's files back to. `None` if there is none.
    fn newest_snapshot(
        &self,
        open: &OpenRebuild,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, Cause>> + Send;

    /// Waits until the fleet's rate allows one more call.
    fn wait_for_place(&self) -> impl Future<Output = ()> + Send;

    /// Hands a rebuild over, once there is a place for the call: one call, at once, never repeated.
    fn rebuild(&self, id: &WorkspaceId) -> impl Future<Output = Result<(), HandOverError>> + Send;

    /// One page of the directories that can have WorkSpaces, and the token of the next page, if there is
    /// one.
    fn directories(
        &self,
        token: Option<String>,
    ) -> impl Future<Output = Result<(Vec<DirectoryId>, Option<String>), Cause>> + Send;

    /// One page of WorkSpaces, and the token of the next page, if there is one.
    fn list(
        &self,
        wanted: Wanted<'_>,
        token: Option<String>,
    ) -> impl Future<Output = Result<(Vec<Listed>, Option<String>), Cause>> + Send;

    /// The wanted tags of all WorkSpaces that have any of them; `None` if the deployer wants none.
    fn tags(
        &self,
    ) -> impl Future<Output = Result<Option<HashMap<WorkspaceId, Tags>>, Cause>> + Send;
}

/// Which WorkSpaces to list.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Those of a directory.
    Directory(&'a DirectoryId),
    /// Those of these ids that are in the fleet: 1 to [`IDS_PER_CALL`] ids.
    Ids(&'a [WorkspaceId]),
}

/// The pages of a listing. In AWS's APIs an empty token ends a listing as an absent one does (Smithy,
/// trait `paginated`).
#[derive(Debug, Default)]
pub struct Pages {
    tokens: HashSet<String>,
}

impl Pages {
    /// The token of the next page, if any, from the one in a page.
    ///
    /// # Errors
    /// An earlier page of this listing had the same token, so the listing would never end.
    pub fn next(&mut self, token: Option<String>) -> Result<Option<String>, Cause> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        if self.tokens.insert(token.clone()) {
            Ok(Some(token))
        } else {
            Err("the fleet repeats a token: its listing does not end".into())
        }
    }
}

/// A WorkSpace in a listing of the fleet.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are the API model's")]
pub struct Listed {
    pub workspace_id: WorkspaceId,
    pub state: State,
    pub description: Description,
}

/// Whether a KMS key can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// It is enabled.
    Enabled,
    /// It is disabled, is to be deleted, or is not there.
    Unusable,
    /// This service may not ask.
    NotAllowedToAsk,
}

/// Why a hand-over failed.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The call was throttled or never sent. It certainly had no effect.
    #[error("the fleet did not take the call")]
    NotTaken(#[source] Cause),
    /// The fleet refused. The call had no effect.
    #[error("the fleet refused: {code}")]
    Refused {
        /// The fleet's code.
        code: String,
    },
    /// The answer is missing, or does not say whether the call had an effect.
    #[error("the fleet did not answer")]
    NoAnswer(#[source] Cause),
}
