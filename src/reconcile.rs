//! Brings accepted rebuilds to their end, and the table in step with the fleet.
//!
//! Level-triggered, like a Kubernetes controller: a pass looks at what is open and moves each
//! rebuild one step on. It keeps nothing in memory, and every write to an item is conditional on
//! what the pass read, so passes may overlap or die anywhere: the next one starts from what it finds.
//! [`next_step`] decides what to do; it is pure.

mod step;
mod sync;
mod timing;

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;
use tracing::{error, info};

pub use self::step::{Look, Step, next_step};
pub use self::sync::{SYNC_BUDGET, Synced};
pub use self::timing::Timing;
use crate::error::{Cause, Fault, chain};
use crate::fleet::{Fleet, HandOverError, IDS_PER_CALL};
use crate::rebuild::{Class, End, Failure, Outcome, Rebuild};
use crate::store::Store;
use crate::store::queue::{Open, Queue};
use crate::timestamp::Timestamp;
use crate::workspace::{State, Workspace, WorkspaceId};

/// The queues in the order in which a pass goes through them, and how far into its time each may
/// last, in tenths. Looks at what was handed over come before hand-overs, because nobody can observe
/// a rebuild that has ended meanwhile, and a fleet that hangs must not use up the time of the rest.
const QUEUES: [(Queue, i32); 5] = [
    (Queue::Ended, 2),
    (Queue::HandedOver, 5),
    (Queue::Requested, 8),
    (Queue::Rebuilding, 10),
    (Queue::Started, 10),
];

/// How many rebuilds a pass moves on at a time.
const AT_A_TIME: usize = 8;

/// The reconciler over a fleet, with a clock.
#[derive(Debug)]
pub struct Reconciler<F, C> {
    /// The tables.
    pub store: Store,
    /// The fleet.
    pub fleet: F,
    /// Returns the current time.
    pub clock: C,
    /// How long it waits before it acts.
    pub timing: Timing,
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
    /// How many it saw in REBUILDING for the first time.
    pub seen: usize,
    /// How many it ended.
    pub ended: usize,
    /// How many it failed to move on; the log says why.
    pub failures: usize,
    /// Whether it looked at all of them within its time.
    pub is_complete: bool,
}

/// What to do about an open rebuild.
struct Plan {
    workspace: Workspace,
    step: Step,
    /// Its record, which a rebuild has only if the table was restored to an earlier time.
    record: Option<Rebuild>,
}

/// What was done about an open rebuild.
enum Moved {
    Nothing,
    HandedOver,
    Seen,
    Ended,
    /// The time of its queue is up.
    Late,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    /// One pass over the open rebuilds, queue by queue, 25 at a time.
    ///
    /// # Errors
    /// The open rebuilds were not listed. The failure of a single rebuild is logged and counted.
    pub async fn follow(&self) -> Result<Followed, Fault> {
        let begin = (self.clock)();
        let mut pass = Followed { is_complete: true, ..Followed::default() };
        let mut queues = Vec::new();
        // The index lags, so a rebuild may be in two queues.
        let mut listed = HashSet::new();
        for (queue, tenths) in QUEUES {
            let mut open = self.store.open_rebuilds(queue).await?;
            open.retain(|open| listed.insert(open.workspace_id.clone()));
            pass.count(&open, begin.into());
            let start = start_of(begin, open.len());
            open.rotate_left(start);
            queues.push((open, begin + self.timing.pass * tenths / 10));
        }
        for (open, deadline) in &queues {
            for chunk in open.chunks(IDS_PER_CALL) {
                if (self.clock)() >= *deadline {
                    pass.is_complete = false;
                    break;
                }
                self.follow_chunk(chunk, *deadline, &mut pass).await;
            }
        }
        Ok(pass)
    }

    async fn follow_chunk(&self, chunk: &[Open], deadline: OffsetDateTime, pass: &mut Followed) {
        let plans = match self.plan(chunk, pass).await {
            Ok(plans) => plans,
            Err(error) => {
                error!(error = %chain(&error), "open rebuilds were not read");
                pass.failures += 1;
                return;
            }
        };
        let moves: Vec<_> = plans.iter().map(|plan| self.carry_out(plan, deadline)).collect();
        let mut moves = stream::iter(moves).buffer_unordered(AT_A_TIME);
        while let Some((id, moved)) = moves.next().await {
            pass.add(id, moved);
        }
    }

    /// What to do about each of these rebuilds. Asks the fleet and each table once.
    async fn plan(&self, chunk: &[Open], pass: &mut Followed) -> Result<Vec<Plan>, Fault> {
        let (workspaces, unreadable) = self.store.open_workspaces(chunk).await?;
        pass.failures += unreadable;
        let next =
            |rebuild: &Rebuild, look| next_step(rebuild, F::MODE, look, self.now(), &self.timing);
        let (mut plans, mut unseen) = (Vec::new(), Vec::new());
        for workspace in workspaces {
            // The index lags: the rebuild may have ended.
            let Some(rebuild) = workspace.open_rebuild() else { continue };
            match next(rebuild, None) {
                Step::Look => unseen.push(workspace),
                step => plans.push(Plan { workspace, step, record: None }),
            }
        }
        let at = self.now();
        let states = self.look(&unseen).await.unwrap_or_else(|error| {
            error!(error = %chain(&*error), "could not read states from the fleet");
            pass.failures += 1;
            unseen.clear();
            HashMap::new()
        });
        plans.extend(unseen.into_iter().filter_map(|workspace| {
            let state = states.get(&workspace.workspace_id).copied();
            let step = next(workspace.open_rebuild()?, Some(Look { state, at }));
            Some(Plan { workspace, step, record: None })
        }));
        self.find_records(&mut plans).await?;
        Ok(plans)
    }

    async fn look(&self, workspaces: &[Workspace]) -> Result<HashMap<WorkspaceId, State>, Cause> {
        // The API reads an empty id list as "all WorkSpaces".
        if workspaces.is_empty() {
            return Ok(HashMap::new());
        }
        self.fleet.describe(workspaces, self.now()).await
    }

    /// Finds the records of rebuilds that are to be handed over or ended. There is none, unless the
    /// table was restored to an earlier time.
    async fn find_records(&self, plans: &mut [Plan]) -> Result<(), Fault> {
        let decided = plans.iter().filter_map(|plan| match plan.step {
            Step::HandOver(_) | Step::End(_) => {
                Some((&plan.workspace.workspace_id, plan.workspace.open_rebuild()?.id))
            }
            Step::Wait | Step::Look | Step::Note(_) | Step::See | Step::Close => None,
        });
        let records = self.store.records_of(decided.collect()).await?;
        for record in records {
            let is_of = |plan: &&mut Plan| {
                plan.workspace.open_rebuild().is_some_and(|rebuild| rebuild.id == record.id)
            };
            if let Some(plan) = plans.iter_mut().find(is_of) {
                plan.record = Some(record);
            }
        }
        Ok(())
    }

    async fn carry_out<'a>(
        &self,
        plan: &'a Plan,
        deadline: OffsetDateTime,
    ) -> (&'a WorkspaceId, Result<Moved, Fault>) {
        let is_late = (self.clock)() >= deadline;
        let moved = if is_late { Ok(Moved::Late) } else { self.take_step(plan).await };
        (&plan.workspace.workspace_id, moved)
    }

    async fn take_step(&self, plan: &Plan) -> Result<Moved, Fault> {
        let Plan { workspace, step, record } = plan;
        let id = &workspace.workspace_id;
        let Some(rebuild) = workspace.open_rebuild() else { return Ok(Moved::Nothing) };
        if let Some(record) = record {
            if !self.store.close_as_recorded(id, rebuild, record).await? {
                return Ok(Moved::Nothing);
            }
            info!(workspace_id = id.as_str(), rebuild_id = %record.id, "rebuild closed as its record says");
            return Ok(Moved::Ended);
        }
        match step {
            Step::Wait | Step::Look => Ok(Moved::Nothing),
            Step::Note(sight) => {
                self.store.note(id, rebuild, *sight).await?;
                Ok(Moved::Nothing)
            }
            Step::HandOver(state) => self.hand_over(id, rebuild, *state).await,
            Step::See => {
                let is_noted = self.store.see(id, rebuild, self.now()).await?;
                Ok(if is_noted { Moved::Seen } else { Moved::Nothing })
            }
            Step::End(end) => {
                if end.is_gone() && self.is_there(workspace).await? {
                    return Ok(Moved::Nothing);
                }
                self.end(id, rebuild, end).await
            }
            // A pass decided how it ended, and died before it closed the rebuild.
            Step::Close => self.close(id, rebuild).await,
        }
    }

    /// Hands a rebuild over: claims it in the item, then calls the fleet. The claim is taken back
    /// only if the fleet certainly did not take the call; otherwise nobody ever calls again.
    async fn hand_over(
        &self,
        id: &WorkspaceId,
        rebuild: &Rebuild,
        state: State,
    ) -> Result<Moved, Fault> {
        let Some(claimed) = self.store.claim(id, rebuild, self.now()).await? else {
            return Ok(Moved::Nothing);
        };
        match self.fleet.rebuild(id).await {
            Ok(()) => {
                self.store.start(id, &claimed, self.now()).await?;
                Ok(Moved::HandedOver)
            }
            Err(error @ HandOverError::NotTaken(_)) => {
                info!(workspace_id = id.as_str(), error = %chain(&error), "not handed over");
                self.store.unclaim(id, &claimed).await?;
                Ok(Moved::Nothing)
            }
            Err(HandOverError::Refused { code }) => {
                let outcome = Outcome::Failed(Failure::Refused(code));
                self.end(id, &claimed, &End { outcome, state }).await
            }
            Err(error @ HandOverError::NoAnswer(_)) => Err(Fault::Internal(error.into())),
        }
    }

    /// Asks about one WorkSpace alone, since a longer answer may leave it out.
    async fn is_there(&self, workspace: &Workspace) -> Result<bool, Fault> {
        let states = self.look(std::slice::from_ref(workspace)).await.map_err(Fault::Internal)?;
        Ok(Class::of(states.get(&workspace.workspace_id).copied()) != Class::Gone)
    }

    async fn end(&self, id: &WorkspaceId, rebuild: &Rebuild, end: &End) -> Result<Moved, Fault> {
        match self.store.end(id, rebuild, end, self.now()).await? {
            Some(ended) => self.close(id, &ended).await,
            None => Ok(Moved::Nothing),
        }
    }

    async fn close(&self, id: &WorkspaceId, ended: &Rebuild) -> Result<Moved, Fault> {
        self.store.record_end(id, ended).await?;
        if !self.store.release(id, ended).await? {
            return Ok(Moved::Nothing);
        }
        info!(
            workspace_id = id.as_str(), rebuild_id = %ended.id, status = %ended.status,
            code = ended.error_code, "rebuild ended"
        );
        Ok(Moved::Ended)
    }
}

/// Where a pass starts in a queue of this length. Steps of the golden ratio spread the starts of
/// successive minutes evenly, so that nothing at the head keeps the rest waiting, however much of the
/// queue a pass can do.
fn start_of(begin: OffsetDateTime, length: usize) -> usize {
    const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
    let minute = begin.unix_timestamp().unsigned_abs() / 60;
    let share = u128::from(minute.wrapping_mul(GOLDEN_RATIO));
    let start = (share * length as u128) >> u64::BITS;
    usize::try_from(start).unwrap_or_default()
}

impl Followed {
    /// Counts the rebuilds of a queue.
    fn count(&mut self, open: &[Open], begin: Timestamp) {
        self.open += open.len();
        let oldest = open.first().map_or(0, |open| begin.since(open.since).whole_seconds());
        self.oldest_open_seconds = self.oldest_open_seconds.max(oldest);
    }

    fn add(&mut self, id: &WorkspaceId, moved: Result<Moved, Fault>) {
        match moved {
            Ok(Moved::Nothing) => {}
            Ok(Moved::HandedOver) => self.handed_over += 1,
            Ok(Moved::Seen) => self.seen += 1,
            Ok(Moved::Ended) => self.ended += 1,
            Ok(Moved::Late) => self.is_complete = false,
            Err(error) => {
                error!(workspace_id = id.as_str(), error = %chain(&error), "a rebuild was not moved on");
                self.failures += 1;
            }
        }
    }
}
