//! Brings accepted rebuilds to their end, and the table to what the fleet says.
//!
//! Level-triggered, like a Kubernetes controller: a pass looks at what is open and moves each
//! rebuild one step on. It keeps nothing in memory, and every write is conditional on what the
//! pass has seen, so a pass may die anywhere, or overlap with another: the next one finds things
//! as they are. What to do is decided by [`next_step`], which is pure.

use std::collections::{HashMap, HashSet};

use time::{Duration, OffsetDateTime};
use tracing::{error, info};

use crate::error::Error;
use crate::fleet::{Fleet, IDS_PER_CALL, Listed, NotRebuilt, Seen};
use crate::store::Store;
use crate::store::reconcile::{End, Open};
use crate::workspace::{Rebuild, State, Status, Timestamp, Workspace, WorkspaceId};

/// How long a pass of `follow` works: it comes every minute.
pub const FOLLOW_BUDGET: Duration = Duration::seconds(50);
/// How long a pass of `sync` works: it comes every 15 minutes.
pub const SYNC_BUDGET: Duration = Duration::minutes(14);
/// How long a hand-over without an answer may be repeated: a real rebuild takes longer, and the
/// fleet refuses a second one while it runs.
const HAND_OVER_WINDOW: Duration = Duration::minutes(5);
/// How soon the fleet must be seen rebuilding after it took a rebuild.
const OBSERVATION_WINDOW: Duration = Duration::minutes(5);
/// How long a WorkSpace may be in a passing state before its rebuild is handed over.
const PASSING_STATE_LIMIT: Duration = Duration::hours(1);
/// How long a rebuild may run.
const REBUILD_LIMIT: Duration = Duration::hours(4);
/// How long the table keeps a WorkSpace that has left the fleet.
const KEPT_AFTER_LEAVING: Duration = Duration::days(1);

/// The reconciler over a fleet, with a clock.
#[derive(Debug)]
pub struct Reconciler<F, C> {
    /// The tables.
    pub store: Store,
    /// The fleet.
    pub fleet: F,
    /// What time it is.
    pub clock: C,
}

/// What a pass of `follow` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many rebuilds were open when it began.
    pub open: usize,
    /// How long the oldest of them had been.
    pub oldest_open_seconds: i64,
    /// How many it handed over.
    pub handed_over: usize,
    /// How many it found, or made, under way.
    pub started: usize,
    /// How many it ended.
    pub ended: usize,
    /// How many it could not move on: the log says why.
    pub failures: usize,
    /// Whether it came to the end of the list within its time.
    pub is_complete: bool,
}

/// What a pass of `sync` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// How many WorkSpaces the fleet listed.
    pub listed: usize,
    /// How many items it changed.
    pub changed: usize,
    /// How many WorkSpaces it found gone.
    pub gone: usize,
    /// How many it could not bring to what the fleet says: the log says why.
    pub failures: usize,
    /// Whether the listing was complete.
    pub is_complete: bool,
}

/// What to do next about an open rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Hand it over to the fleet, for the first time or again.
    HandOver,
    /// Say that it is under way: the fleet was seen at it.
    Start,
    /// Note that the fleet was seen at it.
    NoteSeen,
    /// End it.
    End(End),
}

/// What to do about an open rebuild, given what the fleet says of its WorkSpace (`None`: it is
/// not there).
#[must_use]
pub fn next_step(rebuild: &Rebuild, seen: Option<Seen>, now: Timestamp) -> Step {
    let (state, kind) = match seen {
        None => (State::Terminated, Kind::Gone),
        Some(Seen::Known(state)) => (state, kind(state)),
        // Left as it was before, the WorkSpace can be asked for again; the fleet refuses what it must.
        Some(Seen::Unknown) => (rebuild.previous_state.unwrap_or(State::Error), Kind::Passing),
    };
    if kind == Kind::Gone {
        return failed("WORKSPACE_GONE", "the WorkSpace is no longer there", state);
    }
    match (rebuild.status, rebuild.hand_over_at, rebuild.started_at) {
        (Status::Started, _, Some(started_at)) => {
            next_of_started(rebuild, state, kind, now.since(started_at))
        }
        (_, Some(hand_over_at), _) => next_of_handed_over(state, kind, now.since(hand_over_at)),
        (_, None, _) => next_of_requested(state, kind, now.since(rebuild.created_at)),
    }
}

fn next_of_requested(state: State, kind: Kind, age: Duration) -> Step {
    match kind {
        Kind::Well | Kind::Ill | Kind::Rebooting => Step::HandOver,
        Kind::Rebuilding => Step::Start,
        Kind::Passing if age < PASSING_STATE_LIMIT => Step::Wait,
        Kind::Passing | Kind::Stuck | Kind::Gone => {
            let message =
                "the WorkSpace's state did not allow a rebuild when it was to be handed over";
            failed("INVALID_STATE", message, state)
        }
    }
}

/// An earlier pass was about to hand it over, and died or got no answer.
fn next_of_handed_over(state: State, kind: Kind, age: Duration) -> Step {
    match kind {
        Kind::Rebuilding => Step::Start,
        Kind::Well | Kind::Ill | Kind::Rebooting if age < HAND_OVER_WINDOW => Step::HandOver,
        Kind::Passing if age < PASSING_STATE_LIMIT => Step::Wait,
        Kind::Well | Kind::Ill | Kind::Rebooting | Kind::Passing | Kind::Stuck | Kind::Gone => {
            let message =
                "the rebuild was handed over, and it is not known whether that had an effect";
            failed("HANDOVER_UNKNOWN", message, state)
        }
    }
}

fn next_of_started(rebuild: &Rebuild, state: State, kind: Kind, age: Duration) -> Step {
    let was_seen = rebuild.seen_rebuilding_at.is_some();
    match kind {
        Kind::Rebuilding if !was_seen => Step::NoteSeen,
        Kind::Well if was_seen => Step::End(End { failure: None, state }),
        Kind::Ill if was_seen => {
            failed("REBUILD_FAILED", "the fleet could not rebuild the WorkSpace", state)
        }
        Kind::Well | Kind::Ill if age >= OBSERVATION_WINDOW => {
            let message = "the fleet took the rebuild, and was not seen rebuilding the WorkSpace";
            failed("NOT_OBSERVED", message, state)
        }
        _ if age >= REBUILD_LIMIT => {
            failed("TIMED_OUT", "the rebuild was still running after 4 hours", state)
        }
        Kind::Well
        | Kind::Ill
        | Kind::Rebooting
        | Kind::Rebuilding
        | Kind::Passing
        | Kind::Stuck
        | Kind::Gone => Step::Wait,
    }
}

/// What a state means for a rebuild.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It may be rebuilt, or has been.
    Well,
    /// It may be rebuilt, or a rebuild of it has failed.
    Ill,
    /// It may be rebuilt, and is about to be in another state.
    Rebooting,
    Rebuilding,
    /// It becomes another state by itself.
    Passing,
    /// It does not.
    Stuck,
    Gone,
}

fn kind(state: State) -> Kind {
    match state {
        State::Available | State::Stopped => Kind::Well,
        State::Error | State::Unhealthy => Kind::Ill,
        State::Rebooting => Kind::Rebooting,
        State::Rebuilding => Kind::Rebuilding,
        State::Pending
        | State::Starting
        | State::Stopping
        | State::Updating
        | State::Maintenance
        | State::AdminMaintenance
        | State::Restoring
        | State::Impaired => Kind::Passing,
        State::Suspended => Kind::Stuck,
        State::Terminating | State::Terminated => Kind::Gone,
    }
}

fn failed(code: &str, message: &'static str, state: State) -> Step {
    Step::End(End { failure: Some((code.to_owned(), message)), state })
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    /// One pass over the open rebuilds, oldest first, 25 at a time. A call for 25 that run takes
    /// a fraction of the time that 25 hand-overs take, so whichever kind has had less of the time
    /// goes next: neither takes all of it while the other waits.
    ///
    /// # Errors
    /// If the open rebuilds can't be listed. What goes wrong with one of them is logged and
    /// counted, and keeps none of the others waiting.
    pub async fn follow(&self) -> Result<Followed, Error> {
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
            let next = waiting.min_by_key(|(time_had, _)| *time_had);
            let Some((time_had, chunk)) =
                next.and_then(|(time_had, chunks)| Some((time_had, chunks.next()?)))
            else {
                break;
            };
            let chunk_begin = (self.clock)();
            self.follow_chunk(chunk, deadline, &mut pass).await;
            *time_had += (self.clock)() - chunk_begin;
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
                // The index lags: by now the rebuild may be over.
                Ok(workspace) => workspaces
                    .extend(workspace.filter(|workspace| workspace.open_rebuild.is_some())),
                Err(error) => pass.fail(&open.workspace_id, &error),
            }
        }
        // To ask for no WorkSpace in particular would be to ask for all of them.
        if workspaces.is_empty() {
            return;
        }
        let seen = match self.fleet.describe(&workspaces, self.now()).await {
            Ok(seen) => seen,
            Err(error) => {
                error!(error = %causes(&*error), "the fleet could not be asked");
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
            if let Err(error) = self.follow_one(workspace, seen.get(&id).copied(), pass).await {
                pass.fail(&id, &error);
            }
        }
    }

    async fn follow_one(
        &self,
        workspace: Workspace,
        seen: Option<Seen>,
        pass: &mut Followed,
    ) -> Result<(), Error> {
        let Some(rebuild) = &workspace.rebuild else {
            return Err(Error::Internal("an open rebuild without a record".into()));
        };
        let id = &workspace.workspace_id;
        if !rebuild.status.is_open() {
            // A pass decided how it ended, and died before it had said so everywhere.
            return self.close(id, rebuild, pass).await;
        }
        match next_step(rebuild, seen, self.now()) {
            Step::Wait => Ok(()),
            Step::HandOver => self.hand_over(&workspace, rebuild, pass).await,
            Step::Start => self.start(id, rebuild, true, pass).await,
            Step::NoteSeen => self.store.note_seen(id, rebuild, self.now()).await.map(drop),
            Step::End(end) => self.end(id, rebuild, &end, pass).await,
        }
    }

    /// Hands a rebuild over: says so first, then calls the fleet, once.
    async fn hand_over(
        &self,
        workspace: &Workspace,
        rebuild: &Rebuild,
        pass: &mut Followed,
    ) -> Result<(), Error> {
        let id = &workspace.workspace_id;
        let Some(claimed) = self.store.claim(id, rebuild, self.now()).await? else {
            return Ok(());
        };
        let is_first = rebuild.hand_over_id.is_none();
        match self.fleet.rebuild(id).await {
            Ok(()) => {
                pass.handed_over += 1;
                self.start(id, &claimed, false, pass).await
            }
            // Only the first call's refusal says that no call had an effect.
            Err(NotRebuilt::NotTaken(_)) if is_first => {
                self.store.take_back(id, &claimed).await.map(drop)
            }
            Err(NotRebuilt::Refused { code }) if is_first => {
                self.refused(workspace, &claimed, code, pass).await
            }
            Err(error @ (NotRebuilt::NotTaken(_) | NotRebuilt::Refused { .. })) => {
                info!(workspace_id = id.as_str(), error = %causes(&error), "not handed over again");
                Ok(())
            }
            Err(error @ NotRebuilt::NoAnswer(_)) => Err(Error::Internal(error.into())),
        }
    }

    /// The fleet refused. It may be at it already, for somebody else: look again.
    async fn refused(
        &self,
        workspace: &Workspace,
        rebuild: &Rebuild,
        code: String,
        pass: &mut Followed,
    ) -> Result<(), Error> {
        let id = &workspace.workspace_id;
        let seen = self.fleet.describe(std::slice::from_ref(workspace), self.now()).await;
        match seen.map_err(Error::Internal)?.get(id) {
            Some(Seen::Known(State::Rebuilding)) => self.start(id, rebuild, true, pass).await,
            Some(Seen::Known(state)) => {
                let failure = Some((code, "the fleet refused the rebuild"));
                self.end(id, rebuild, &End { failure, state: *state }, pass).await
            }
            // The next pass looks again.
            Some(Seen::Unknown) | None => Ok(()),
        }
    }

    async fn start(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        is_seen: bool,
        pass: &mut Followed,
    ) -> Result<(), Error> {
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
    ) -> Result<(), Error> {
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
    ) -> Result<(), Error> {
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

    /// One pass over the whole fleet: the table learns what the fleet says, but for WorkSpaces
    /// with an open rebuild. The table is read first, and only what is still as it was read is
    /// written, so that an answer that was overtaken changes nothing.
    ///
    /// # Errors
    /// If the table or the fleet can't be read. What goes wrong with one WorkSpace is logged and
    /// counted, and keeps none of the others waiting.
    pub async fn sync(&self) -> Result<Synced, Error> {
        let begin = self.now();
        let (table, unreadable) = self.store.all_workspaces().await?;
        if unreadable > 0 {
            error!(unreadable, "items that are no WorkSpace");
        }
        let mut pass = Synced { failures: unreadable, ..Synced::default() };
        let table: HashMap<_, _> = table
            .into_iter()
            .map(|workspace| (workspace.workspace_id.clone(), workspace))
            .collect();
        let mut listed = HashSet::new();
        let mut token = None;
        loop {
            let (page, next) = self.fleet.list(token).await.map_err(Error::Internal)?;
            for workspace in page {
                let read = table.get(&workspace.workspace_id);
                match self.sync_one(read, &workspace).await {
                    Ok(is_changed) => pass.changed += usize::from(is_changed),
                    Err(error) => pass.fail(&workspace.workspace_id, &error),
                }
                listed.insert(workspace.workspace_id);
            }
            token = next;
            pass.is_complete = token.is_none();
            if pass.is_complete || self.now().since(begin) >= SYNC_BUDGET {
                break;
            }
        }
        pass.listed = listed.len();
        if pass.is_complete && pass.listed > 0 {
            let missing = table.into_values().filter(|workspace| {
                let is_listed = listed.contains(&workspace.workspace_id);
                !is_listed && workspace.open_rebuild.is_none() && workspace.expires_at.is_none()
            });
            self.sync_missing(&missing.collect::<Vec<_>>(), &mut pass).await?;
        }
        Ok(pass)
    }

    async fn sync_one(&self, read: Option<&Workspace>, listed: &Listed) -> Result<bool, Error> {
        let Seen::Known(state) = listed.state else {
            info!(workspace_id = listed.workspace_id.as_str(), "in a state not known here");
            return Ok(false);
        };
        let is_same = read.is_some_and(|read| {
            read.state == state
                && read.description == listed.description
                && read.expires_at.is_none()
        });
        if is_same || read.is_some_and(|read| read.open_rebuild.is_some()) {
            return Ok(false);
        }
        self.store.sync(&listed.workspace_id, read, state, &listed.description, None).await
    }

    /// A listing may miss one that is there: only one that the fleet doesn't know by its id
    /// either has left.
    async fn sync_missing(&self, missing: &[Workspace], pass: &mut Synced) -> Result<(), Error> {
        for chunk in missing.chunks(IDS_PER_CALL) {
            let now = self.now();
            let there = self.fleet.describe(chunk, now).await.map_err(Error::Internal)?;
            for workspace in chunk.iter().filter(|one| !there.contains_key(&one.workspace_id)) {
                let Workspace { workspace_id: id, description, .. } = workspace;
                let gone = Some(now + KEPT_AFTER_LEAVING);
                let store = &self.store;
                match store.sync(id, Some(workspace), State::Terminated, description, gone).await {
                    Ok(is_written) => pass.gone += usize::from(is_written),
                    Err(error) => pass.fail(id, &error),
                }
            }
        }
        Ok(())
    }
}

impl Synced {
    fn fail(&mut self, id: &WorkspaceId, error: &Error) {
        error!(workspace_id = id.as_str(), error = %causes(error), "a WorkSpace was not synced");
        self.failures += 1;
    }
}

impl Followed {
    fn fail(&mut self, id: &WorkspaceId, error: &Error) {
        error!(workspace_id = id.as_str(), error = %causes(error), "a rebuild could not be moved on");
        self.failures += 1;
    }
}

/// An error with all that caused it, for the log.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
