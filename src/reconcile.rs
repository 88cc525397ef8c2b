//! Brings accepted rebuilds to their end, and the table in step with the fleet.
//!
//! Level-triggered, like a Kubernetes controller: a pass looks at what is open and advances
//! each rebuild by one step. It keeps nothing in memory, and every write to an item is conditional on
//! what the pass read, so passes may overlap or die anywhere: the next one starts from what it finds.
//! [`next_step`] decides what to do; it is pure.

mod act;
mod breaker;
mod gate;
mod plan;
mod step;
mod sync;
mod timing;

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;
use tracing::error;

use self::act::Done;
use self::gate::Gate;
use self::plan::Plan;
pub use self::step::{Connection, Look, Step, next_step};
pub use self::sync::{SYNC_BUDGET, Synced};
pub use self::timing::Timing;
use self::timing::is_turn_of;
use crate::config::Limits;
use crate::error::{Cause, Fault, chain};
use crate::fleet::{Fleet, IDS_PER_CALL};
use crate::ids::WorkspaceId;
use crate::store::Store;
use crate::store::queue::{Open, Queue};
use crate::timestamp::Timestamp;

/// The queues in the order in which a pass goes through them, and how far into its time each may
/// last, in tenths. Looks at what was handed over come before hand-overs, because nobody can observe
/// a rebuild that has ended meanwhile, and a fleet that hangs must not use up the time of the rest.
const QUEUES: [(Queue, i32); 5] = [
    (Queue::Ended, 2),
    (Queue::HandedOver, 4),
    (Queue::Settling, 5),
    (Queue::Rebuilding, 7),
    (Queue::Requested, 10),
];

/// Each pass looks at one in so many of the rebuilds in [`Queue::Rebuilding`], in turn, before it hands
/// rebuilds over, and at the others only in the rest of its time.
const REBUILDING_IN_TURN: u64 = 2;

/// How many rebuilds a pass advances at a time.
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
    /// How much it may do.
    pub limits: Limits,
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
    /// How many more it might have handed over.
    pub free: usize,
    /// How many it observed in REBUILDING for the first time.
    pub observed: usize,
    /// How many it ended.
    pub ended: usize,
    /// Whether something pauses hand-overs.
    pub is_paused: bool,
    /// How many encryption keys it was not allowed to ask about.
    pub unchecked_keys: usize,
    /// How many it failed to advance; the log says why.
    pub failures: usize,
    /// Whether it looked at all of them within its time.
    pub is_complete: bool,
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    /// One pass over the open rebuilds, queue by queue, 25 at a time.
    ///
    /// # Errors
    /// No queue was listed. Any other failure is logged and counted.
    pub async fn follow(&self) -> Result<Followed, Fault> {
        let begin = (self.clock)();
        let mut pass = Followed { is_complete: true, ..Followed::default() };
        let mut queues = Vec::new();
        let mut places = self.limits.max_concurrent;
        // The index lags, so a rebuild may be in two queues.
        let mut listed = HashSet::new();
        let mut unlisted = None;
        for (queue, tenths) in QUEUES {
            let runs = matches!(queue, Queue::HandedOver | Queue::Rebuilding | Queue::Settling);
            match self.store.open_rebuilds(queue).await {
                Ok(mut open) => {
                    open.retain(|open| listed.insert(open.workspace_id.clone()));
                    pass.count(&open, begin.into());
                    places = places.saturating_sub(if runs { open.len() } else { 0 });
                    queues.push((queue, open, tenths));
                }
                Err(error) => {
                    error!(%queue, error = %chain(&error), "a queue was not listed");
                    pass.failures += 1;
                    // Nobody knows how many run.
                    places = if runs { 0 } else { places };
                    unlisted = Some(error);
                }
            }
        }
        if let Some(error) = unlisted.filter(|_| queues.is_empty()) {
            return Err(error);
        }
        let (gate, is_read) = self.gate().await;
        pass.failures += usize::from(!is_read);
        let mut turn = Turn { places: Places(places), gate };
        let mut others = Vec::new();
        for (queue, mut open, tenths) in queues {
            if queue == Queue::Rebuilding {
                let is_due =
                    |open: &Open| is_turn_of(&open.workspace_id, begin.into(), REBUILDING_IN_TURN);
                (open, others) = open.into_iter().partition(is_due);
            }
            if queue == Queue::Requested {
                if let Err(error) = self.pause_if_unanswered(&turn.gate).await {
                    error!(error = %chain(&error), "hand-overs were not paused");
                    pass.failures += 1;
                }
                // Oldest first. Stuck rebuilds at the head must not keep the rest waiting, so half
                // of the time goes to others.
                let now = (self.clock)();
                let deadline = now + (begin + self.timing.pass * tenths / 10 - now) / 2;
                let looked_at = self.follow_queue(&open, deadline, &mut turn, &mut pass).await;
                open.drain(..looked_at);
            }
            let start = start_of(begin.into(), open.len());
            open.rotate_left(start);
            let deadline = begin + self.timing.pass * tenths / 10;
            let looked_at = self.follow_queue(&open, deadline, &mut turn, &mut pass).await;
            pass.is_complete &= looked_at == open.len();
        }
        self.follow_queue(&others, begin + self.timing.pass, &mut turn, &mut pass).await;
        pass.free = turn.places.0;
        pass.unchecked_keys = turn.gate.unchecked_keys().await;
        pass.is_paused = turn.gate.control().await.pauses().next().is_some();
        Ok(pass)
    }

    /// Follows the rebuilds of a queue in this order until the deadline; returns how many.
    async fn follow_queue(
        &self,
        open: &[Open],
        deadline: OffsetDateTime,
        turn: &mut Turn,
        pass: &mut Followed,
    ) -> usize {
        let mut count = 0;
        for chunk in open.chunks(IDS_PER_CALL) {
            if (self.clock)() >= deadline {
                break;
            }
            self.follow_chunk(chunk, deadline, turn, pass).await;
            count += chunk.len();
        }
        count
    }

    async fn follow_chunk(
        &self,
        chunk: &[Open],
        deadline: OffsetDateTime,
        turn: &mut Turn,
        pass: &mut Followed,
    ) {
        let Turn { places, gate } = turn;
        let has_place = places.0 > 0 && !gate.is_closed();
        let Plan { mut actions, failures } = match self.plan(chunk, has_place).await {
            Ok(plan) => plan,
            Err(error) => {
                error!(error = %chain(&error), "open rebuilds were not read");
                pass.failures += 1;
                return;
            }
        };
        pass.failures += failures;
        for action in &actions {
            gate.breaker.read(&action.open.rebuild);
        }
        actions.retain(|action| !action.hands_over() || places.take());
        let at_a_time = if gate.breaker.is_careful() { 1 } else { AT_A_TIME };
        let futures: Vec<_> =
            actions.iter().map(|action| self.carry_out(action, deadline, gate)).collect();
        let mut carried_out = stream::iter(futures).buffer_unordered(at_a_time);
        while let Some((action, done)) = carried_out.next().await {
            // After an error it is not known whether the fleet took it.
            let is_handed_over = matches!(done, Ok(Done::HandedOver) | Err(_));
            if action.hands_over() && !is_handed_over {
                places.give_back();
            }
            pass.add(&action.open.workspace_id, done);
        }
    }
}

/// What a pass may still hand over.
struct Turn {
    places: Places,
    gate: Gate,
}

/// How many more rebuilds may be handed over.
struct Places(usize);

impl Places {
    /// Takes one, if there is one.
    fn take(&mut self) -> bool {
        let is_free = self.0 > 0;
        self.0 -= usize::from(is_free);
        is_free
    }

    fn give_back(&mut self) {
        self.0 += 1;
    }
}

/// Where a pass starts in a queue of this length. Steps of the golden ratio spread the starts of
/// successive minutes evenly, so that nothing at the head keeps the rest waiting, however much of the
/// queue a pass can do.
fn start_of(begin: Timestamp, length: usize) -> usize {
    const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
    let share = u128::from(begin.minutes().wrapping_mul(GOLDEN_RATIO));
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

    fn add(&mut self, id: &WorkspaceId, done: Result<Done, Cause>) {
        match done {
            Ok(Done::Nothing) => {}
            Ok(Done::HandedOver) => self.handed_over += 1,
            Ok(Done::Observed) => self.observed += 1,
            Ok(Done::Ended) => self.ended += 1,
            Ok(Done::Late) => self.is_complete = false,
            Ok(Done::Unanswered) => self.failures += 1,
            Err(error) => {
                error!(workspace_id = id.as_str(), error = %chain(&*error), "a rebuild did not advance");
                self.failures += 1;
            }
        }
    }
}
