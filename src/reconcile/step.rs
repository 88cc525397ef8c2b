//! What to do next about an open rebuild: a pure function of the rebuild, a look at the WorkSpace, and
//! the time.

use time::Duration;

use super::timing::{Timing, is_turn_of};
use crate::config::Limits;
use crate::rebuild::{
    Class, Conclusion, End, Failure, FailureCode, FleetMode, Observation, Rebuild, Stage,
    TIME_LIMIT, UnknownCode, WaitingFor,
};
use crate::state::State;
use crate::timestamp::Timestamp;
use crate::workspace::OpenRebuild;

/// How long a rebuild waits for a passing state to end before it is handed over.
const PASSING_STATE_LIMIT: Duration = Duration::hours(1);

/// The next step of an open rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Look at the WorkSpace, and ask again.
    Look,
    /// Note what the looks have shown since when (`None`: nothing that may decide).
    Observe(Option<Observation>),
    /// Ask whether the user is connected, and ask again.
    AskConnection,
    /// Hand it over to the fleet.
    HandOver {
        /// The state of the WorkSpace.
        state: State,
        /// When the fleet was asked for it.
        looked_at: Timestamp,
        /// Whether the user is connected, if the fleet knows.
        user_connected: Option<bool>,
    },
    /// Note that the look has shown the WorkSpace in REBUILDING.
    ObserveRebuilding,
    /// End it.
    End(End),
    /// End it as failed, if the fleet does not know the WorkSpace's id either.
    Gone {
        /// The time of the rebuild is up, so it ends in any case.
        is_late: bool,
    },
    /// Record its end and release the WorkSpace.
    Close,
}

/// What the fleet said about a WorkSpace.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The state; `None` means that the WorkSpace is not there.
    pub state: Option<State>,
    /// Whether a volume is being changed.
    pub is_modifying: bool,
    /// Whether the user is connected.
    pub connection: Connection,
    /// When the fleet was asked.
    pub at: Timestamp,
}

/// What the fleet said about the user's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It was not asked.
    NotAsked,
    /// It did not answer.
    NotAnswered,
    /// Whether the user is connected; `None` if it does not know.
    Answered(Option<bool>),
}

/// What to do at `now` about an open rebuild in a fleet of this mode. The first call
/// is without a look, since a rebuild may need none, and the second without a word on the connection.
#[must_use]
pub fn next_step(
    open: &OpenRebuild,
    mode: FleetMode,
    look: Option<Look>,
    now: Timestamp,
    (timing, limits): (&Timing, &Limits),
) -> Step {
    let rebuild = &open.rebuild;
    let stage = rebuild.stage();
    let is_of_this_fleet = rebuild.fleet_mode == mode;
    match (stage, look) {
        (Stage::Ended, _) => Step::Close,
        (Stage::Unrecognized, _) => Step::Wait,
        (Stage::Requested, _) if !is_of_this_fleet => untouched(rebuild, FailureCode::FleetChanged),
        (Stage::Requested, _) if now.since(rebuild.created_at) >= limits.hand_over_deadline => {
            untouched(rebuild, FailureCode::Expired)
        }
        (Stage::Requested, _) if open.is_protected => {
            untouched(rebuild, FailureCode::WorkspaceProtected)
        }
        (Stage::Claimed { .. } | Stage::Started { .. } | Stage::Observed { .. }, _)
            if !is_of_this_fleet =>
        {
            unknown(UnknownCode::FleetChanged)
        }
        (Stage::Requested, None) if !is_due(open, now, timing) => Step::Wait,
        (_, None) => Step::Look,
        (Stage::Requested, Some(look)) => {
            let waits = rebuild.wait_for_disconnect.unwrap_or(limits.wait_for_disconnect);
            next_of_requested(rebuild, look, waits, timing)
        }
        (Stage::Claimed { since }, Some(look)) => {
            let code = UnknownCode::HandoverUnknown;
            in_time(rebuild, next_of_unobserved(rebuild, look, since, code, timing), look, since)
        }
        (Stage::Started { since }, Some(look)) => {
            let code = UnknownCode::NotObserved;
            in_time(rebuild, next_of_unobserved(rebuild, look, since, code, timing), look, since)
        }
        (Stage::Observed { since }, Some(look)) => {
            in_time(rebuild, next_of_observed(rebuild, look, timing), look, since)
        }
    }
}

/// The step, unless the time of the rebuild is up. A state that decides may still settle, as after an
/// outage; anything else ends the rebuild, so that it does not stay open whatever the looks show in turn.
fn in_time(rebuild: &Rebuild, step: Step, look: Look, since: Timestamp) -> Step {
    if look.at.since(since) < TIME_LIMIT {
        return step;
    }
    let noted = rebuild.observation().map(|observation| observation.shown);
    match step {
        Step::Observe(Some(_)) if noted.is_none() => step,
        Step::Wait if noted == Some(Class::of(look.state)) => step,
        Step::End(_) => step,
        Step::Gone { .. } => Step::Gone { is_late: true },
        Step::Wait
        | Step::Look
        | Step::Observe(_)
        | Step::AskConnection
        | Step::HandOver { .. }
        | Step::ObserveRebuilding
        | Step::Close => unknown(UnknownCode::TimedOut),
    }
}

/// Whether it is time for a look. A user who is connected seldom disconnects within minutes, and many
/// such rebuilds must not use up the calls.
fn is_due(open: &OpenRebuild, now: Timestamp, timing: &Timing) -> bool {
    let waits_for_user = open.rebuild.waits_for() == Some(WaitingFor::Disconnect);
    !waits_for_user || is_turn_of(&open.workspace_id, now, timing.connected_look_minutes)
}

/// What to do about a rebuild that no pass has claimed. If it `waits`, it is not handed over while the
/// user is connected.
fn next_of_requested(rebuild: &Rebuild, look: Look, waits: bool, timing: &Timing) -> Step {
    let state = known_state(rebuild, look);
    let class = match Class::of(look.state) {
        Class::Well | Class::Ill | Class::Rebooting if look.is_modifying => Class::Modifying,
        ready @ (Class::Well | Class::Ill | Class::Rebooting) => match look.connection {
            Connection::NotAsked => return Step::AskConnection,
            Connection::NotAnswered if waits => return Step::Wait,
            Connection::Answered(Some(true)) if waits => Class::Connected,
            Connection::NotAnswered | Connection::Answered(_) => ready,
        },
        other @ (Class::Rebuilding
        | Class::Passing
        | Class::Impaired
        | Class::Modifying
        | Class::Connected
        | Class::Gone) => other,
    };
    let user_connected = match look.connection {
        Connection::Answered(connected) => connected,
        Connection::NotAsked | Connection::NotAnswered => None,
    };
    let (time, step) = match class {
        // The hand-over may have to wait, so what was noted goes first.
        Class::Well | Class::Ill | Class::Rebooting if rebuild.observation().is_some() => {
            return Step::Observe(None);
        }
        Class::Well | Class::Ill | Class::Rebooting => {
            return Step::HandOver { state, looked_at: look.at, user_connected };
        }
        // At most until the rebuild expires.
        Class::Connected => (Duration::MAX, Step::Wait),
        Class::Passing | Class::Impaired | Class::Modifying => {
            (PASSING_STATE_LIMIT, failed(FailureCode::InvalidState, state))
        }
        // Somebody else rebuilds it.
        Class::Rebuilding => (timing.settles_after, failed(FailureCode::InvalidState, state)),
        Class::Gone => (timing.settles_after, Step::Gone { is_late: false }),
    };
    settled(rebuild, class, look, time, step)
}

/// Handed over, or perhaps handed over, and not yet observed in REBUILDING.
fn next_of_unobserved(
    rebuild: &Rebuild,
    look: Look,
    since: Timestamp,
    code: UnknownCode,
    timing: &Timing,
) -> Step {
    let class = Class::of(look.state);
    let state = known_state(rebuild, look);
    let age = look.at.since(since);
    let step = match class {
        Class::Rebuilding if age >= timing.observed_after => return Step::ObserveRebuilding,
        Class::Well | Class::Ill | Class::Impaired if age < timing.observed_within => {
            return wait(rebuild);
        }
        Class::Well | Class::Ill | Class::Impaired => Step::End(End::unknown(code, state)),
        Class::Gone => Step::Gone { is_late: false },
        Class::Rebuilding
        | Class::Rebooting
        | Class::Passing
        | Class::Modifying
        | Class::Connected => return wait(rebuild),
    };
    settled(rebuild, class, look, timing.settles_after, step)
}

fn next_of_observed(rebuild: &Rebuild, look: Look, timing: &Timing) -> Step {
    let class = Class::of(look.state);
    let state = known_state(rebuild, look);
    let step = match class {
        Class::Well => Step::End(End { conclusion: Conclusion::Succeeded, state }),
        Class::Ill | Class::Impaired => failed(FailureCode::RebuildFailed, state),
        Class::Gone => Step::Gone { is_late: false },
        Class::Rebuilding
        | Class::Rebooting
        | Class::Passing
        | Class::Modifying
        | Class::Connected => return wait(rebuild),
    };
    settled(rebuild, class, look, timing.settles_after, step)
}

/// Takes the step if every look for `time` has shown this class.
fn settled(rebuild: &Rebuild, class: Class, look: Look, time: Duration, step: Step) -> Step {
    let noted = rebuild.observation().filter(|observation| observation.shown == class);
    let since = noted.map_or(look.at, |observation| observation.since);
    if look.at.since(since) >= time {
        step
    } else if noted.is_some() {
        Step::Wait
    } else {
        Step::Observe(Some(Observation { shown: class, since }))
    }
}

/// Waits; what was noted no longer holds.
fn wait(rebuild: &Rebuild) -> Step {
    if rebuild.observation().is_some() { Step::Observe(None) } else { Step::Wait }
}

/// Fails a rebuild that was not handed over, without a look.
fn untouched(rebuild: &Rebuild, code: FailureCode) -> Step {
    failed(code, previous_state(rebuild))
}

/// Ends a rebuild that may still be running, so its WorkSpace stays in REBUILDING.
fn unknown(code: UnknownCode) -> Step {
    Step::End(End::unknown(code, State::Rebuilding))
}

fn failed(code: FailureCode, state: State) -> Step {
    Step::End(End::failed(Failure::Known(code), state))
}

/// The state that an end gives the WorkSpace. A state that this version does not know cannot be
/// stored.
fn known_state(rebuild: &Rebuild, look: Look) -> State {
    match look.state {
        None => State::Terminated,
        Some(State::Unknown) => previous_state(rebuild),
        Some(state) => state,
    }
}

fn previous_state(rebuild: &Rebuild) -> State {
    rebuild.previous_state.unwrap_or(State::Error)
}
