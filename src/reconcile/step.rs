//! What to do next about an open rebuild: a pure function of the rebuild, a look at the WorkSpace, and
//! the time.

use time::Duration;

use super::Timing;
use crate::rebuild::{
    Class, End, Failure, FailureCode, FleetMode, Outcome, Rebuild, Sight, Stage, TIME_LIMIT,
    UnknownCode,
};
use crate::timestamp::Timestamp;
use crate::workspace::{State, Workspace};

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
    Note(Option<Sight>),
    /// Hand it over to the fleet; the WorkSpace is in this state.
    HandOver(State),
    /// Note that the WorkSpace was seen in REBUILDING.
    See,
    /// End it.
    End(End),
    /// Record its end and release the WorkSpace.
    Close,
}

/// What the fleet said about a WorkSpace.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The state; `None` means that the WorkSpace is not there.
    pub state: Option<State>,
    /// When the fleet was asked.
    pub at: Timestamp,
}

/// What to do at `now` about the open rebuild of a WorkSpace in a fleet of this mode. The first call
/// is without a look, since a rebuild may need none.
#[must_use]
pub fn next_step(
    workspace: &Workspace,
    mode: FleetMode,
    look: Option<Look>,
    now: Timestamp,
    timing: &Timing,
) -> Step {
    let Some(rebuild) = workspace.open_rebuild() else {
        return Step::Wait;
    };
    let stage = rebuild.stage();
    let is_of_this_fleet = rebuild.fleet_mode == mode;
    match (stage, look) {
        (Stage::Ended, _) => Step::Close,
        (Stage::Newer, _) => Step::Wait,
        (Stage::Requested, _) if !is_of_this_fleet => untouched(rebuild, FailureCode::FleetChanged),
        (Stage::Requested, _) if now.since(rebuild.created_at) >= timing.deadline => {
            untouched(rebuild, FailureCode::Expired)
        }
        (Stage::Requested, _) if workspace.protection.is_some() => {
            untouched(rebuild, FailureCode::WorkspaceProtected)
        }
        (Stage::Claimed { .. } | Stage::Started { .. } | Stage::Seen { .. }, _)
            if !is_of_this_fleet =>
        {
            unknown(UnknownCode::FleetChanged)
        }
        (_, None) => Step::Look,
        (Stage::Requested, Some(look)) => next_of_requested(rebuild, look, timing),
        (Stage::Claimed { since }, Some(look)) => {
            next_of_unseen(rebuild, look, since, UnknownCode::HandoverUnknown, timing)
        }
        (Stage::Started { since }, Some(look)) => {
            next_of_unseen(rebuild, look, since, UnknownCode::NotObserved, timing)
        }
        (Stage::Seen { since }, Some(look)) => next_of_seen(rebuild, look, since, timing),
    }
}

/// The newest snapshot of the user volume, to which its files go back, if a rebuild may be handed over
/// with it at `now`. Without a limit of the rebuild's own, `default_hours` is the greatest age in
/// hours, if there is one.
///
/// # Errors
/// There is no snapshot, or it is too old.
pub(super) fn usable_snapshot(
    rebuild: &Rebuild,
    snapshot_at: Option<Timestamp>,
    now: Timestamp,
    default_hours: Option<u16>,
) -> Result<Timestamp, FailureCode> {
    let snapshot_at = snapshot_at.ok_or(FailureCode::NoSnapshot)?;
    match rebuild.maximum_snapshot_age_hours.or(default_hours) {
        Some(hours) if now.since(snapshot_at) > Duration::hours(hours.into()) => {
            Err(FailureCode::SnapshotTooOld)
        }
        Some(_) | None => Ok(snapshot_at),
    }
}

fn next_of_requested(rebuild: &Rebuild, look: Look, timing: &Timing) -> Step {
    let class = Class::of(look.state);
    let state = known_state(rebuild, look);
    let (time, end) = match class {
        // The hand-over may have to wait, so what was noted goes first.
        Class::Well | Class::Ill | Class::Rebooting if rebuild.sight.is_some() => {
            return Step::Note(None);
        }
        Class::Well | Class::Ill | Class::Rebooting => return Step::HandOver(state),
        Class::Passing => (PASSING_STATE_LIMIT, failed(FailureCode::InvalidState, state)),
        // Somebody else rebuilds it, or suspended it.
        Class::Rebuilding | Class::Stuck => {
            (timing.settles_after, failed(FailureCode::InvalidState, state))
        }
        Class::Gone => (timing.settles_after, gone()),
    };
    settled(rebuild, class, look, time, end)
}

/// Handed over, or perhaps handed over, and not yet seen in REBUILDING.
fn next_of_unseen(
    rebuild: &Rebuild,
    look: Look,
    since: Timestamp,
    code: UnknownCode,
    timing: &Timing,
) -> Step {
    let class = Class::of(look.state);
    let state = known_state(rebuild, look);
    let age = look.at.since(since);
    let end = match class {
        Class::Rebuilding if age >= timing.seen_after => return Step::See,
        Class::Well | Class::Ill if age < timing.seen_within => return wait(rebuild),
        Class::Well | Class::Ill => End { outcome: Outcome::Unknown(code), state },
        Class::Gone => gone(),
        Class::Rebuilding | Class::Rebooting | Class::Passing | Class::Stuck => {
            return wait_or_time_out(rebuild, age);
        }
    };
    settled(rebuild, class, look, timing.settles_after, end)
}

fn next_of_seen(rebuild: &Rebuild, look: Look, since: Timestamp, timing: &Timing) -> Step {
    let class = Class::of(look.state);
    let state = known_state(rebuild, look);
    let end = match class {
        Class::Well => End { outcome: Outcome::Succeeded, state },
        Class::Ill => failed(FailureCode::RebuildFailed, state),
        Class::Gone => gone(),
        Class::Rebuilding | Class::Rebooting | Class::Passing | Class::Stuck => {
            return wait_or_time_out(rebuild, look.at.since(since));
        }
    };
    settled(rebuild, class, look, timing.settles_after, end)
}

/// Ends the rebuild if every look for `time` has shown this class.
fn settled(rebuild: &Rebuild, class: Class, look: Look, time: Duration, end: End) -> Step {
    let noted = rebuild.sight.filter(|sight| sight.shown == class);
    let since = noted.map_or(look.at, |sight| sight.since);
    if look.at.since(since) >= time {
        Step::End(end)
    } else if noted.is_some() {
        Step::Wait
    } else {
        Step::Note(Some(Sight { shown: class, since }))
    }
}

/// Waits; what was noted no longer holds.
fn wait(rebuild: &Rebuild) -> Step {
    if rebuild.sight.is_some() { Step::Note(None) } else { Step::Wait }
}

fn wait_or_time_out(rebuild: &Rebuild, age: Duration) -> Step {
    if age < TIME_LIMIT { wait(rebuild) } else { unknown(UnknownCode::TimedOut) }
}

/// Fails a rebuild that was not handed over, without a look.
fn untouched(rebuild: &Rebuild, code: FailureCode) -> Step {
    Step::End(failed(code, previous_state(rebuild)))
}

/// Ends a rebuild that may still be running, so its WorkSpace stays in REBUILDING.
fn unknown(code: UnknownCode) -> Step {
    Step::End(End { outcome: Outcome::Unknown(code), state: State::Rebuilding })
}

fn gone() -> End {
    failed(FailureCode::WorkspaceGone, State::Terminated)
}

fn failed(code: FailureCode, state: State) -> End {
    End { outcome: Outcome::Failed(Failure::Known(code)), state }
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
