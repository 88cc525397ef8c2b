//! The next step for every state of the WorkSpace at every stage of a rebuild: the table of the
//! design, row by row.

use rebuild_workspaces::rebuild::{Class, FleetMode, Keys, Rebuild, Sight, Stage, Status};
use rebuild_workspaces::reconcile::{Look, Step, Timing, next_step};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::{Description, Protection, State, Workspace, WorkspaceId};
use strum::VariantArray;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

/// What earlier looks have shown.
#[derive(Clone, Copy, Debug)]
enum Noted {
    Nothing,
    /// States of the same class, since this many seconds.
    Same(i64),
    /// States of another class.
    Other,
}

const NOTED: [Noted; 7] = [
    Noted::Nothing,
    Noted::Other,
    Noted::Same(0),
    Noted::Same(179),
    Noted::Same(180),
    Noted::Same(3599),
    Noted::Same(3600),
];

/// Times on both sides of each limit, in seconds since the claim.
const AGES: [i64; 7] = [0, 149, 150, 1799, 1800, 14399, 14400];

fn stages(since: Timestamp) -> [Stage; 4] {
    [Stage::Requested, Stage::Claimed { since }, Stage::Started { since }, Stage::Seen { since }]
}

/// The expected step: its name, or the code of the end.
fn expected(stage: Stage, seen: Option<State>, age: i64, noted: Noted) -> &'static str {
    use State::{
        AdminMaintenance, Available, Error, Impaired, Maintenance, Pending, Rebooting, Rebuilding,
        Restoring, Starting, Stopped, Stopping, Suspended, Terminated, Terminating, Unhealthy,
        Unknown, Updating,
    };
    // A state that decides is noted, and acted on once it has lasted.
    let after = |seconds, code| match noted {
        Noted::Nothing | Noted::Other => "note",
        Noted::Same(since) if since < seconds => "wait",
        Noted::Same(_) => code,
    };
    let wait = match noted {
        Noted::Nothing => "wait",
        Noted::Same(_) | Noted::Other => "clear",
    };
    let wait_or_time_out = if age < 14400 { wait } else { "TIMED_OUT" };
    match (stage, seen) {
        (_, None | Some(Terminating | Terminated)) => after(180, "WORKSPACE_GONE"),
        (Stage::Requested, Some(Available | Stopped | Error | Unhealthy | Rebooting)) => {
            if matches!(noted, Noted::Nothing) { "hand over" } else { "clear" }
        }
        (Stage::Requested, Some(Rebuilding | Suspended)) => after(180, "INVALID_STATE"),
        (
            Stage::Requested,
            Some(
                Pending | Starting | Stopping | Updating | Maintenance | AdminMaintenance
                | Restoring | Impaired | Unknown,
            ),
        ) => after(3600, "INVALID_STATE"),
        (Stage::Claimed { .. } | Stage::Started { .. }, Some(Rebuilding)) if age >= 150 => "see",
        (Stage::Claimed { .. }, Some(Available | Stopped | Error | Unhealthy)) if age >= 1800 => {
            after(180, "HANDOVER_UNKNOWN")
        }
        (Stage::Started { .. }, Some(Available | Stopped | Error | Unhealthy)) if age >= 1800 => {
            after(180, "NOT_OBSERVED")
        }
        (
            Stage::Claimed { .. } | Stage::Started { .. },
            Some(Available | Stopped | Error | Unhealthy),
        ) => wait,
        (Stage::Seen { .. }, Some(Available | Stopped)) => after(180, "SUCCEEDED"),
        (Stage::Seen { .. }, Some(Error | Unhealthy)) => after(180, "REBUILD_FAILED"),
        (_, Some(_)) => wait_or_time_out,
    }
}

fn at(stage: Stage, begin: OffsetDateTime) -> Rebuild {
    let mut rebuild = Rebuild {
        fleet_mode: MODE,
        previous_state: Some(State::Unhealthy),
        ..Rebuild::new(begin)
    };
    match stage {
        Stage::Requested => {}
        Stage::Claimed { since } | Stage::Started { since } | Stage::Seen { since } => {
            (rebuild.claimed_at, rebuild.claim_id) = (Some(since), Some(Uuid::nil()));
        }
        Stage::Ended => rebuild.status = Status::Succeeded,
        Stage::Newer => rebuild.status = Status::Newer,
    }
    if matches!(stage, Stage::Started { .. } | Stage::Seen { .. }) {
        (rebuild.status, rebuild.started_at) = (Status::Started, Some(begin.into()));
    }
    if matches!(stage, Stage::Seen { .. }) {
        rebuild.seen_rebuilding_at = Some(begin.into());
    }
    assert_eq!(rebuild.stage(), stage);
    rebuild
}

/// Name of a step or code of an end, and the state that the end gives the WorkSpace.
fn word(step: Step) -> (String, Option<State>) {
    let name = match step {
        Step::Wait => "wait",
        Step::Look => "look",
        Step::Note(Some(_)) => "note",
        Step::Note(None) => "clear",
        Step::HandOver(_) => "hand over",
        Step::See => "see",
        Step::Close => "close",
        Step::End(end) => {
            let code = end.outcome.error().map(|(code, _)| code);
            return (code.unwrap_or_else(|| end.outcome.status().to_string()), Some(end.state));
        }
    };
    (name.to_owned(), None)
}

fn begin() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn timing() -> Timing {
    Timing::of_amazon(Duration::DAY)
}

/// The next step of a WorkSpace's open rebuild.
fn step(
    rebuild: Rebuild,
    mode: FleetMode,
    look: Option<Look>,
    now: Timestamp,
    timing: &Timing,
) -> Step {
    next_step(&workspace(rebuild), mode, look, now, timing)
}

fn workspace(rebuild: Rebuild) -> Workspace {
    Workspace {
        workspace_id: WorkspaceId::try_from("ws-available0001".to_owned()).expect("an id"),
        state: State::Rebuilding,
        rebuild: Some(rebuild),
        has_open_rebuild: true,
        keys: Keys::default(),
        protection: None,
        has_left_fleet: false,
        last_simulated_snapshot_at: None,
        description: Description::default(),
    }
}

#[test]
fn each_state_has_its_step_at_each_stage() {
    for state in State::VARIANTS.iter().copied().map(Some).chain([None]) {
        for (stage, age) in
            stages(begin().into()).into_iter().flat_map(|stage| AGES.map(|age| (stage, age)))
        {
            for noted in NOTED {
                let now = Timestamp::from(begin() + Duration::seconds(age));
                let sight = |class, seconds: i64| {
                    Some(Sight { shown: class, since: now + Duration::seconds(-seconds) })
                };
                let class = Class::of(state);
                let other = if class == Class::Well { Class::Ill } else { Class::Well };
                let sight = match noted {
                    Noted::Nothing => None,
                    Noted::Same(since) => sight(class, since),
                    Noted::Other => sight(other, 3600),
                };
                let rebuild = Rebuild { sight, ..at(stage, begin()) };
                let look = Some(Look { state, at: now });
                let (word, end) = word(step(rebuild.clone(), MODE, look, now, &timing()));
                let context = format!("{state:?}, {stage:?}, {age} s, {noted:?}");
                assert_eq!(word, expected(stage, state, age, noted), "{context}");
                let stored = match (word.as_str(), state) {
                    ("TIMED_OUT", _) => State::Rebuilding,
                    ("WORKSPACE_GONE", _) | (_, None) => State::Terminated,
                    (_, Some(State::Unknown)) => State::Unhealthy,
                    (_, Some(state)) => state,
                };
                assert!(end.is_none_or(|end| end == stored), "{context}: {end:?}");
            }
        }
    }
}

#[test]
fn a_note_says_since_when() {
    let rebuild = at(Stage::Requested, begin());
    let (begin, later) = (Timestamp::from(begin()), Timestamp::from(begin() + Duration::MINUTE));
    let look = |state, at| Some(Look { state: Some(state), at });
    let next =
        |rebuild: &Rebuild, state, at| step(rebuild.clone(), MODE, look(state, at), at, &timing());
    let stuck = Sight { shown: Class::Stuck, since: begin };
    assert_eq!(next(&rebuild, State::Suspended, begin), Step::Note(Some(stuck)));
    let rebuild = Rebuild { sight: Some(stuck), ..rebuild };
    let passing = Sight { shown: Class::Passing, since: later };
    assert_eq!(next(&rebuild, State::Starting, later), Step::Note(Some(passing)));
}

/// The simulated fleet's answers are always up to date.
#[test]
fn a_consistent_fleet_decides_at_the_first_look() {
    let now = begin().into();
    let timing = Timing::of_simulated(Duration::DAY);
    let look = |state| Some(Look { state: Some(state), at: now });
    for (stage, state, expected) in [
        (Stage::Claimed { since: now }, State::Rebuilding, "see"),
        (Stage::Seen { since: now }, State::Available, "SUCCEEDED"),
        (Stage::Seen { since: now }, State::Error, "REBUILD_FAILED"),
    ] {
        let next = step(at(stage, begin()), MODE, look(state), now, &timing);
        assert_eq!(word(next).0, expected, "{state}");
    }
}

#[test]
fn some_steps_need_no_look() {
    let all = stages(begin().into()).into_iter().chain([Stage::Ended, Stage::Newer]);
    let modes = [MODE, FleetMode::Simulated];
    for (stage, mode) in all.flat_map(|stage| modes.map(|mode| (stage, mode))) {
        for (age, is_old, is_protected) in [
            (-60, false, false),
            (86_399, false, false),
            (86_399, false, true),
            (86_400, true, false),
            (86_400, true, true),
        ] {
            let now = Timestamp::from(begin() + Duration::seconds(age));
            let rebuild = Rebuild { fleet_mode: mode, ..at(stage, begin()) };
            let is_ours = mode == MODE;
            let expected = match stage {
                Stage::Ended => ("close", None),
                Stage::Newer => ("wait", None),
                Stage::Requested if !is_ours => ("FLEET_CHANGED", Some(State::Unhealthy)),
                Stage::Requested if is_old => ("EXPIRED", Some(State::Unhealthy)),
                Stage::Requested if is_protected => ("WORKSPACE_PROTECTED", Some(State::Unhealthy)),
                _ if !is_ours => ("FLEET_CHANGED", Some(State::Rebuilding)),
                _ => ("look", None),
            };
            let mut workspace = workspace(rebuild);
            workspace.protection = is_protected.then_some(Protection {
                protected_by: None,
                protected_at: now,
                reason: None,
            });
            let (word, state) = word(next_step(&workspace, MODE, None, now, &timing()));
            let context = format!("{stage:?}, {mode:?}, {age} s, protected: {is_protected}");
            assert_eq!((word.as_str(), state), expected, "{context}");
        }
    }
}
