//! Brings accepted rebuilds to their end, and the table in step with the fleet.
//!
//! Level-triggered, like a Kubernetes controller: a pass looks at what is open and moves each
//! rebuild one step on. It keeps nothing in memory, and every write to an item is conditional on
//! what the pass read, so passes may overlap or die anywhere: the next one starts from what it finds.
//! [`next_step`] decides what to do; it is pure.

mod step;
mod sync;

use time::{Duration, OffsetDateTime};
use tracing::{error, info};

pub use self::step::{Step, next_step};
pub use self::sync::{SYNC_BUDGET, Synced};
use crate::error::{Fault, chain};
use crate::fleet::{Fleet, HandOverError, IDS_PER_CALL};
use crate::rebuild::{End, Failure, Rebuild, Status};
use crate::store::Store;
use crate::store::reconcile::Open;
use crate::timestamp::Timestamp;
use crate::workspace::{State, Workspace, WorkspaceId};

/// How long a pass of `follow` works. It runs every minute.
pub const FOLLOW_BUDGET: Duration = Duration::seconds(50);

/// The reconciler over a fleet, with a clock.
#[derive(Debug)]
pub struct Reconciler<F, C> {
    /// The tables.
    pub store: Store,
    /// The fleet.
    pub fleet: F,
    /// Returns the current time.
    pub clock: C,
}

/// What a pass of `follow` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many rebuilds were open when it began.
    pub open: usize,
    /// Age of the oldest of them.
    pub oldest_open_seconds: i64,
    /// How many it handed over.
    pub handed_over: usize,
    /// How many it noted as under way.
    pub started: usize,
    /// How many it ended.
    pub ended: usize,
    /// How many it failed to move on; the log says why.
    pub failures: usize,
    /// Whether it looked at all of them within its time.
    pub is_complete: bool,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    /// One pass over the open rebuilds, oldest first, 25 at a time. To look at 25 running rebuilds
    /// takes a fraction of the time of 25 hand-overs, so the queue that has had less time goes
    /// next, and neither starves the other.
    ///
    /// # Errors
    /// The open rebuilds were not listed. The failure of a single rebuild is logged and counted.
    pub async fn follow(&self) -> Result<Followed, Fault> {
        let begin = (self.clock)();
        let requested = self.store.open_rebuilds(Status::Requested).await?;
        let started = self.store.open_rebuilds(Status::Started).await?;
        let oldest = requested.iter().chain(&started).map(|open| open.since).min();
        let age = oldest.map_or(Duration::ZERO, |since| Timestamp::from(begin).since(since));
        let mut pass = Followed {
            open: requested.len() + started.len(),
            oldest_open_seconds: age.whole_seconds(),
            is_complete: true,
            ..Followed::default()
        };
        let deadline = begin + FOLLOW_BUDGET;
        let mut queues =
            [&requested, &started].map(|open| (Duration::ZERO, open.chunks(IDS_PER_CALL)));
        while pass.is_complete {
            let waiting = queues.iter_mut().filter(|(_, chunks)| chunks.len() > 0);
            let next = waiting.min_by_key(|(time_used, _)| *time_used);
            let Some((time_used, chunk)) =
                next.and_then(|(time_used, chunks)| Some((time_used, chunks.next()?)))
            else {
                break;
            };
            let chunk_begin = (self.clock)();
            self.follow_chunk(chunk, deadline, &mut pass).await;
            *time_used += (self.clock)() - chunk_begin;
        }
        Ok(pass)
    }

    async fn follow_chunk(&self, chunk: &[Open], deadline: OffsetDateTime, pass: &mut Followed) {
        let mut workspaces = Vec::new();
        for open in chunk {
            if (self.clock)() >= deadline {
                pass.is_complete = false;
                return;
            }
            match self.store.workspace(&open.workspace_id).await {
                // The index lags: the rebuild may have ended.
                Ok(workspace) => {
                    workspaces.extend(workspace.filter(|workspace| workspace.has_open_rebuild));
                }
                Err(error) => pass.fail(&open.workspace_id, &error),
            }
        }
        // The API reads an empty id list as "all WorkSpaces".
        if workspaces.is_empty() {
            return;
        }
        let states = match self.fleet.describe(&workspaces, self.now()).await {
            Ok(states) => states,
            Err(error) => {
                error!(error = %chain(&*error), "could not read states from the fleet");
                pass.failures += 1;
                return;
            }
        };
        for workspace in workspaces {
            if (self.clock)() >= deadline {
                pass.is_complete = false;
                return;
            }
            let id = workspace.workspace_id.clone();
            if let Err(error) = self.follow_one(workspace, states.get(&id).copied(), pass).await {
                pass.fail(&id, &error);
            }
        }
    }

    async fn follow_one(
        &self,
        workspace: Workspace,
        reported: Option<State>,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        let Some(rebuild) = &workspace.rebuild else {
            return Err(Fault::internal("an item has OpenRebuild and no Rebuild"));
        };
        let id = &workspace.workspace_id;
        match next_step(rebuild, reported, self.now()) {
            Step::Wait => Ok(()),
            Step::HandOver => self.hand_over(&workspace, rebuild, pass).await,
            Step::Start => self.start(id, rebuild, true, pass).await,
            Step::NoteSeen => self.store.note_seen(id, rebuild, self.now()).await.map(drop),
            Step::End(end) => self.end(id, rebuild, &end, pass).await,
            // A pass decided how it ended, and died before it closed the rebuild.
            Step::Close => self.close(id, rebuild, pass).await,
        }
    }

    /// Hands a rebuild over: claims it in the item, then calls the fleet once.
    async fn hand_over(
        &self,
        workspace: &Workspace,
        rebuild: &Rebuild,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        let id = &workspace.workspace_id;
        let Some(claimed) = self.store.claim(id, rebuild, self.now()).await? else {
            return Ok(());
        };
        let is_first = rebuild.claim_id.is_none();
        match self.fleet.rebuild(id).await {
            Ok(()) => {
                pass.handed_over += 1;
                self.start(id, &claimed, false, pass).await
            }
            // The failure of a repeated call proves nothing about the first one.
            Err(HandOverError::NotTaken(_)) if is_first => {
                self.store.unclaim(id, &claimed).await.map(drop)
            }
            Err(HandOverError::Refused { code }) if is_first => {
                self.handle_refusal(workspace, &claimed, code, pass).await
            }
            Err(error @ (HandOverError::NotTaken(_) | HandOverError::Refused { .. })) => {
                info!(workspace_id = id.as_str(), error = %chain(&error), "the repeated hand-over failed; the outcome of the first one stays unknown");
                Ok(())
            }
            Err(error @ HandOverError::NoAnswer(_)) => Err(Fault::Internal(error.into())),
        }
    }

    /// The fleet refused, perhaps because it is already rebuilding the WorkSpace: look again.
    async fn handle_refusal(
        &self,
        workspace: &Workspace,
        rebuild: &Rebuild,
        code: String,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        let id = &workspace.workspace_id;
        let states = self.fleet.describe(std::slice::from_ref(workspace), self.now()).await;
        match states.map_err(Fault::Internal)?.get(id) {
            Some(State::Rebuilding) => self.start(id, rebuild, true, pass).await,
            // The next pass looks again.
            Some(State::Unknown) | None => Ok(()),
            Some(state) => {
                let failure = Some(Failure::Refused(code));
                self.end(id, rebuild, &End { failure, state: *state }, pass).await
            }
        }
    }

    async fn start(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        is_seen: bool,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        if self.store.start(id, rebuild, is_seen, self.now()).await? {
            pass.started += 1;
        }
        Ok(())
    }

    async fn end(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        end: &End,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        match self.store.end(id, rebuild, end, self.now()).await? {
            Some(ended) => self.close(id, &ended, pass).await,
            None => Ok(()),
        }
    }

    async fn close(
        &self,
        id: &WorkspaceId,
        ended: &Rebuild,
        pass: &mut Followed,
    ) -> Result<(), Fault> {
        self.store.record_end(id, ended).await?;
        if self.store.release(id, ended).await? {
            pass.ended += 1;
            info!(
                workspace_id = id.as_str(), rebuild_id = %ended.id, status = %ended.status,
                code = ended.error_code, "rebuild ended"
            );
        }
        Ok(())
    }
}

impl Followed {
    fn fail(&mut self, id: &WorkspaceId, error: &Fault) {
        error!(workspace_id = id.as_str(), error = %chain(error), "a rebuild was not moved on");
        self.failures += 1;
    }
}
