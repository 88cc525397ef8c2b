//! The fleet: whoever has the WorkSpaces and rebuilds them.
//!
//! The one trait of this crate, because it has two real implementations: [`amazon`], the
//! WorkSpaces API, and [`simulated`], for the local run, for staging, and as the default of a
//! fresh deployment, where nothing real is wiped until the deployer says so.

#[cfg(feature = "amazon")]
pub mod amazon;
pub mod simulated;

use std::collections::HashMap;

use crate::error::Cause;
use crate::workspace::{Description, State, Timestamp, Workspace, WorkspaceId};

/// The most WorkSpaces to ask for in one call (API model, `WorkspaceIdList`).
pub const IDS_PER_CALL: usize = 25;

/// Whoever has the WorkSpaces and rebuilds them.
pub trait Fleet {
    /// What the fleet says at `now` of these WorkSpaces, at most [`IDS_PER_CALL`]; one that is not
    /// in the answer is not in the fleet. The answer is eventually consistent.
    fn describe(
        &self,
        workspaces: &[Workspace],
        now: Timestamp,
    ) -> impl Future<Output = Result<HashMap<WorkspaceId, Seen>, Cause>> + Send;

    /// Has a WorkSpace rebuilt: one call, never repeated.
    fn rebuild(&self, id: &WorkspaceId) -> impl Future<Output = Result<(), NotRebuilt>> + Send;

    /// One page of all WorkSpaces, and where the next one starts, if there is one.
    fn list(
        &self,
        token: Option<String>,
    ) -> impl Future<Output = Result<(Vec<Listed>, Option<String>), Cause>> + Send;
}

/// The state that the fleet gives a WorkSpace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// One of the API model's.
    Known(State),
    /// One that this version doesn't know: it is there, and that is all that can be said.
    Unknown,
}

/// A WorkSpace in a listing of the fleet.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Its state.
    pub state: Seen,
    /// What describes it.
    pub description: Description,
}

/// Why a hand-over did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum NotRebuilt {
    /// The fleet throttled the call, or it was never sent: it certainly had no effect.
    #[error("the fleet did not take the call")]
    NotTaken(#[source] Cause),
    /// The fleet refused: this call had no effect.
    #[error("the fleet refused: {code}")]
    Refused {
        /// The fleet's code for it.
        code: String,
    },
    /// No answer, or none that says whether it had an effect.
    #[error("the fleet did not answer")]
    NoAnswer(#[source] Cause),
}
