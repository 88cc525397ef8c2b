//! Stops hand-overs while the fleet does not answer them: each may have wiped a WorkSpace, and none tells.

use std::sync::atomic::{AtomicBool, Ordering};

use time::Duration;

use crate::rebuild::{Rebuild, Stage};
use crate::timestamp::Timestamp;

/// How many hand-overs in a row may stay unanswered.
const UNANSWERED: usize = 3;
/// How long they count.
const COUNTS_FOR: Duration = Duration::minutes(10);

/// What a pass knows of the answers to hand-overs: of earlier passes, from the claims that it reads, and
/// its own.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// When the unanswered hand-overs were claimed.
    unanswered: Vec<Timestamp>,
    /// When the last answered one was claimed.
    answered: Option<Timestamp>,
    /// The fleet has answered a hand-over of this pass.
    has_answered: AtomicBool,
    /// The fleet has not answered a hand-over of this pass.
    has_failed: AtomicBool,
}

impl Breaker {
    /// Takes account of a rebuild that an earlier pass has claimed.
    pub(super) fn read(&mut self, rebuild: &Rebuild) {
        match rebuild.stage() {
            Stage::Claimed { since } => self.unanswered.push(since),
            Stage::Started { since } => self.answered = self.answered.max(Some(since)),
            Stage::Requested | Stage::Observed { .. } | Stage::Ended | Stage::Unrecognized => {}
        }
    }

    /// The hand-overs without an answer since the last one with an answer.
    fn in_a_row(&self) -> impl Iterator<Item = Timestamp> {
        self.unanswered.iter().copied().filter(|since| Some(*since) > self.answered)
    }

    /// Whether a pass at `now` pauses hand-overs, because too many in a row went unanswered since they
    /// were last resumed.
    pub(super) fn trips(&self, now: Timestamp, resumed_at: Option<Timestamp>) -> bool {
        let counts =
            |since: &Timestamp| now.since(*since) < COUNTS_FOR && Some(*since) > resumed_at;
        self.in_a_row().filter(counts).count() >= UNANSWERED
    }

    /// Whether hand-overs begin one at a time, until one has an answer.
    pub(super) fn is_careful(&self) -> bool {
        self.in_a_row().next().is_some() && !self.has_answered.load(Ordering::Relaxed)
    }

    /// Whether this pass begins no further hand-over.
    pub(super) fn is_open(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn unanswered(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}
