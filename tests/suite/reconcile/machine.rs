//! A WorkSpace of the tests' fleet. It knows what really happened: how often it was wiped, for which
//! rebuild, and when.

use std::collections::VecDeque;

use rebuild_workspaces::fleet::HandOverError;
use rebuild_workspaces::rebuild::RebuildId;
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{Description, ModificationState};
use time::{Duration, OffsetDateTime};

/// A WorkSpace of the fleet.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How long a rebuild takes.
    pub duration: Duration,
    /// How long a rebuild of ours runs before the fleet shows REBUILDING.
    pub lag: Duration,
    /// Its state after a rebuild.
    pub outcome: State,
    /// A state that it shows for a minute before that.
    pub on_the_way: Option<State>,
    /// The answers to the next hand-overs, in order; later ones get [`Answer::Takes`].
    pub answers: VecDeque<Answer>,
    /// The answers to the next looks, in order, whatever is true; `None` leaves it out.
    pub says: VecDeque<Option<State>>,
    /// The states that it shows outside rebuilds, each since when.
    pub states: Vec<(OffsetDateTime, State)>,
    /// The newest snapshot of its user volume.
    pub snapshot_at: Option<Timestamp>,
    /// Since when its user is connected or not; without an entry, the fleet does not know.
    pub connections: Vec<(OffsetDateTime, bool)>,
    /// What the fleet has said of that, and when.
    pub connections_said: Vec<(OffsetDateTime, Option<bool>)>,
    /// Until when its user volume is being extended.
    pub extended_until: Option<OffsetDateTime>,
    /// The key of its encrypted volumes.
    pub key: Option<String>,
    /// When it leaves the fleet.
    pub gone_at: Option<OffsetDateTime>,
    /// The rebuilds that really happened.
    pub wipes: Vec<Wipe>,
    /// The hand-overs that reached the fleet.
    pub calls: Vec<Call>,
}

/// A rebuild that really happened.
#[derive(Clone, Copy, Debug)]
pub struct Wipe {
    /// For which of our rebuilds; `None` if somebody else started it.
    pub by: Option<RebuildId>,
    pub began: OffsetDateTime,
    /// When the fleet begins to show REBUILDING.
    pub shown_from: OffsetDateTime,
    pub ended: OffsetDateTime,
}

/// A hand-over that reached the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub by: RebuildId,
    pub at: OffsetDateTime,
    /// The fleet certainly did not take it.
    pub was_refused: bool,
    /// The caller got the answer.
    pub is_answered: bool,
}

/// How the fleet answers a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The fleet takes it, if it can.
    Takes,
    Throttles,
    Refuses,
    /// The fleet takes it, if it can, and the answer is lost.
    Loses,
    /// The fleet does not take it, and there is no answer.
    Drops,
    /// The fleet takes it, and fails within a second.
    FailsAtOnce,
}

impl Machine {
    /// A WorkSpace that is AVAILABLE before and after a rebuild of 40 minutes.
    pub fn new() -> Self {
        Self::in_state(State::Available)
    }

    /// A WorkSpace in this state.
    pub fn in_state(state: State) -> Self {
        Self {
            duration: Duration::minutes(40),
            lag: Duration::ZERO,
            outcome: State::Available,
            on_the_way: None,
            answers: VecDeque::new(),
            says: VecDeque::new(),
            states: vec![(OffsetDateTime::UNIX_EPOCH, state)],
            snapshot_at: Some((OffsetDateTime::UNIX_EPOCH + Duration::days(19_999)).into()),
            connections: Vec::new(),
            connections_said: Vec::new(),
            extended_until: None,
            key: None,
            gone_at: None,
            wipes: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// The state that the fleet shows at this time, if its answer is up to date; `None` if it is gone.
    pub fn shows(&self, at: OffsetDateTime) -> Option<State> {
        let states = self.states.iter().filter(|(since, _)| *since <= at);
        let (_, state) = states.max_by_key(|(since, _)| *since)?;
        let is_wiped = |wipe: &Wipe| (wipe.shown_from..wipe.ended).contains(&at);
        if self.gone_at.is_some_and(|gone_at| gone_at <= at) {
            None
        } else if self.wipes.iter().any(is_wiped) {
            Some(State::Rebuilding)
        } else {
            Some(*state)
        }
    }

    /// What the fleet tells of it beside its state. Each rebuild changes its IP address.
    pub fn description(&self, at: OffsetDateTime) -> Description {
        let wipes = self.wipes.iter().filter(|wipe| wipe.ended <= at).count();
        let change = self.extended_until.filter(|until| at < *until).map(|_| ModificationState {
            resource: Some("USER_VOLUME".to_owned()),
            state: Some("UPDATE_IN_PROGRESS".to_owned()),
        });
        Description {
            ip_address: Some(format!("10.0.0.{wipes}")),
            volume_encryption_key: self.key.clone(),
            user_volume_encryption_enabled: self.key.as_ref().map(|_| true),
            modification_states: change.map(|change| vec![change]),
            ..Description::default()
        }
    }

    /// Whether the user is connected, if the fleet knows.
    pub fn is_connected(&self, at: OffsetDateTime) -> Option<bool> {
        let known = self.connections.iter().filter(|(since, _)| *since <= at);
        known.max_by_key(|(since, _)| *since).map(|(_, is_connected)| *is_connected)
    }

    /// Changes its state.
    pub fn becomes(&mut self, at: OffsetDateTime, state: State) {
        self.states.push((at, state));
    }

    /// Whether it had left the fleet at this time.
    pub fn is_gone_by(&self, at: Timestamp) -> bool {
        self.gone_at.is_some_and(|gone_at| Timestamp::from(gone_at) <= at)
    }

    /// Somebody else starts a rebuild.
    pub fn rebuild_by_others(&mut self, at: OffsetDateTime) {
        self.wipe(None, at, self.duration, self.outcome);
    }

    fn wipe(&mut self, by: Option<RebuildId>, began: OffsetDateTime, time: Duration, end: State) {
        let ended = began + time;
        let shown_from = if by.is_some() { began + self.lag } else { began };
        self.wipes.push(Wipe { by, began, shown_from, ended });
        let settled = match self.on_the_way {
            Some(state) => {
                self.becomes(ended, state);
                ended + Duration::minutes(1)
            }
            None => ended,
        };
        self.becomes(settled, end);
    }

    /// Answers the hand-over of the rebuild `by`.
    pub fn rebuild(&mut self, by: RebuildId, now: OffsetDateTime) -> Result<(), HandOverError> {
        let answer = self.answers.pop_front().unwrap_or(Answer::Takes);
        let result = self.try_rebuild(answer, by, now);
        let was_refused =
            matches!(result, Err(HandOverError::NotTaken(_) | HandOverError::Refused { .. }));
        self.calls.push(Call { by, at: now, was_refused, is_answered: false });
        match answer {
            Answer::Loses | Answer::Drops => Err(HandOverError::NoAnswer("lost".into())),
            Answer::Takes | Answer::Throttles | Answer::Refuses | Answer::FailsAtOnce => result,
        }
    }

    fn try_rebuild(
        &mut self,
        answer: Answer,
        by: RebuildId,
        now: OffsetDateTime,
    ) -> Result<(), HandOverError> {
        let refusal = |code: &str| Err(HandOverError::Refused { code: code.to_owned() });
        let (time, end) = match answer {
            Answer::Throttles => return Err(HandOverError::NotTaken("throttled".into())),
            Answer::Drops => return Err(HandOverError::NotTaken("dropped".into())),
            Answer::Refuses => return refusal("Refused.Once"),
            Answer::Takes | Answer::Loses => (self.duration, self.outcome),
            Answer::FailsAtOnce => (Duration::SECOND, State::Error),
        };
        match self.shows(now) {
            None => refusal("ResourceNotFound.Workspace"),
            Some(state) if !state.is_rebuildable() => refusal("InvalidResourceState.Workspace"),
            Some(_) => {
                self.wipe(Some(by), now, time, end);
                Ok(())
            }
        }
    }

    /// The caller got the answer to the last call.
    pub fn note_answer(&mut self) {
        self.calls.last_mut().expect("a call").is_answered = true;
    }

    /// The hand-overs of a rebuild that reached the fleet.
    pub fn calls_of(&self, by: RebuildId) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.by == by)
    }

    /// How often it was really wiped for this rebuild.
    pub fn wipes_of(&self, by: RebuildId) -> impl Iterator<Item = &Wipe> {
        self.wipes.iter().filter(move |wipe| wipe.by == Some(by))
    }
}
