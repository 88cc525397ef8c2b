//! What to do next about an open rebuild: a pure function of the rebuild, the fleet's answer and the
//! time.

use time::Duration;

use crate::rebuild::{End, Failure, FailureCode, Rebuild, Stage, TIME_LIMIT};
use crate::timestamp::Timestamp;
use crate::workspace::State;

/// How long a hand-over without an answer may be repeated. A real rebuild takes longer, and the
/// fleet refuses a second one while it runs.
const HAND_OVER_WINDOW: Duration = Duration::minutes(5);
/// How soon a pass must see REBUILDING after the fleet accepted a rebuild.
const OBSERVATION_WINDOW: Duration = Duration::minutes(5);
/// How long after its acceptance, or its first claim, a rebuild waits for a passing state to end.
const PASSING_STATE_LIMIT: Duration = Duration::hours(1);

/// The next step of an open rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Hand it over to the fleet, for the first time or again.
    HandOver,
    /// Note that it is under way: the WorkSpace was seen in REBUILDING.
    Start,
    /// Note that the WorkSpace was seen in REBUILDING.
    NoteSeen,
    /// End it.
    End(End),
    /// Record its end and release the WorkSpace.
    Close,
}

/// What to do about an open rebuild when the fleet reports this state of its WorkSpace (`None`: the
/// WorkSpace is not there).
#[must_use]
pub fn next_step(rebuild: &Rebuild, reported: Option<State>, now: Timestamp) -> Step {
    let (state, class) = match reported {
        None => (State::Terminated, Class::Gone),
        // An unknown state cannot be stored, so an end restores the previous one. If that does not
        // allow a rebuild, the fleet refuses it.
        Some(State::Unknown) => (rebuild.previous_state.unwrap_or(State::Error), Class::Passing),
        Some(state) => (state, class(state)),
    };
    match rebuild.stage() {
        Stage::Ended => Step::Close,
        Stage::Unknown => Step::Wait,
        _ if class == Class::Gone => failed(FailureCode::WorkspaceGone, state),
        Stage::Requested => next_of_requested(state, class, now.since(rebuild.created_at)),
        Stage::Claimed { since } => next_of_claimed(state, class, now.since(since)),
        Stage::Started { since } => next_of_started(state, class, now.since(since)),
        Stage::Seen { since } => next_of_seen(state, class, now.since(since)),
    }
}

fn next_of_requested(state: State, class: Class, age: Duration) -> Step {
    match class {
        Class::Well | Class::Ill | Class::Rebooting => Step::HandOver,
        Class::Rebuilding => Step::Start,
        Class::Passing if age < PASSING_STATE_LIMIT => Step::Wait,
        Class::Passing | Class::Stuck | Class::Gone => failed(FailureCode::InvalidState, state),
    }
}

/// A pass claimed the hand-over, and then died or got no answer.
fn next_of_claimed(state: State, class: Class, age: Duration) -> Step {
    match class {
        Class::Rebuilding => Step::Start,
        Class::Well | Class::Ill | Class::Rebooting if age < HAND_OVER_WINDOW => Step::HandOver,
        Class::Passing if age < PASSING_STATE_LIMIT => Step::Wait,
        Class::Well
        | Class::Ill
        | Class::Rebooting
        | Class::Passing
        | Class::Stuck
        | Class::Gone => failed(FailureCode::HandoverUnknown, state),
    }
}

fn next_of_started(state: State, class: Class, age: Duration) -> Step {
    match class {
        Class::Rebuilding => Step::NoteSeen,
        Class::Well | Class::Ill if age >= OBSERVATION_WINDOW => {
            failed(FailureCode::NotObserved, state)
        }
        Class::Well
        | Class::Ill
        | Class::Rebooting
        | Class::Passing
        | Class::Stuck
        | Class::Gone => wait_or_time_out(state, age),
    }
}

fn next_of_seen(state: State, class: Class, age: Duration) -> Step {
    match class {
        Class::Well => Step::End(End { failure: None, state }),
        Class::Ill => failed(FailureCode::RebuildFailed, state),
        Class::Rebuilding | Class::Rebooting | Class::Passing | Class::Stuck | Class::Gone => {
            wait_or_time_out(state, age)
        }
    }
}

fn wait_or_time_out(state: State, age: Duration) -> Step {
    if age < TIME_LIMIT { Step::Wait } else { failed(FailureCode::TimedOut, state) }
}

fn failed(code: FailureCode, state: State) -> Step {
    Step::End(End { failure: Some(Failure::Known(code)), state })
}

/// What a state means for a rebuild.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A rebuild may start, or has succeeded.
    Well,
    /// A rebuild may start, or has failed.
    Ill,
    /// A rebuild may start; the WorkSpace will soon be in another state.
    Rebooting,
    Rebuilding,
    /// The WorkSpace will leave this state by itself.
    Passing,
    /// Somebody has to bring the WorkSpace out of this state.
    Stuck,
    Gone,
}

fn class(state: State) -> Class {
    match state {
        State::Available | State::Stopped => Class::Well,
        State::Error | State::Unhealthy => Class::Ill,
        State::Rebooting => Class::Rebooting,
        State::Rebuilding => Class::Rebuilding,
        State::Pending
        | State::Starting
        | State::Stopping
        | State::Updating
        | State::Maintenance
        | State::AdminMaintenance
        | State::Restoring
        | State::Impaired
        | State::Unknown => Class::Passing,
        State::Suspended => Class::Stuck,
        State::Terminating | State::Terminated => Class::Gone,
    }
}
