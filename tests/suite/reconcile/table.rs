//! The next step for every state of the WorkSpace at every stage of a rebuild: the table of the
//! design, row by row.

use rebuild_workspaces::config::Limits;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::rebuild::{
    Claim, Class, Conclusion, Ending, FleetMode, HandOver, Observation, Phase, Rebuild, Stage,
};
use rebuild_workspaces::reconcile::{Connection, Look, Step, Timing, next_step};
use rebuild_workspaces::state::State;
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::OpenRebuild;
use strum::VariantArray;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::world::World;

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
    Noted::Same(169),
    Noted::Same(170),
    Noted::Same(3599),
    Noted::Same(3600),
];

/// Times on both sides of each limit, in seconds since the claim.
const AGES: [i64; 7] = [0, 149, 150, 1799, 1800, 14399, 14400];

fn stages(since: Timestamp) -> [Stage; 4] {
    [
        Stage::Requested,
        Stage::Claimed { since },
        Stage::Started { since },
        Stage::Observed { since },
    ]
}

/// The expected step: its name, or the code of the end. Four hours after the claim, only a state that
/// decides may still settle, and only at the first try.
fn expected(stage: Stage, seen: Option<State>, age: i64, noted: Noted) -> &'static str {
    let step = expected_in_time(stage, seen, age, noted);
    let is_late = stage != Stage::Requested && age >= 14400;
    match (step, noted) {
        ("note", Noted::Nothing) | ("wait", Noted::Same(_)) => step,
        ("note" | "clear" | "wait" | "see", _) if is_late => "TIMED_OUT",
        _ => step,
    }
}

fn expected_in_time(stage: Stage, seen: Option<State>, age: i64, noted: Noted) -> &'static str {
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
    match (stage, seen) {
        (_, None | Some(Terminating | Terminated)) => after(170, "WORKSPACE_GONE"),
        (Stage::Requested, Some(Available | Stopped | Error | Unhealthy | Rebooting)) => {
            if matches!(noted, Noted::Nothing) { "hand over" } else { "clear" }
        }
        (Stage::Requested, Some(Rebuilding)) => after(170, "INVALID_STATE"),
        (
            Stage::Requested,
            Some(
                Pending | Starting | Stopping | Updating | Maintenance | AdminMaintenance
                | Restoring | Impaired | Suspended | Unknown,
            ),
        ) => after(3600, "INVALID_STATE"),
        (Stage::Claimed { .. } | Stage::Started { .. }, Some(Rebuilding)) if age >= 150 => "see",
        (Stage::Claimed { .. }, Some(Available | Stopped | Error | Unhealthy | Impaired))
            if age >= 1800 =>
        {
            after(170, "HANDOVER_UNKNOWN")
        }
        (Stage::Started { .. }, Some(Available | Stopped | Error | Unhealthy | Impaired))
            if age >= 1800 =>
        {
            after(170, "NOT_OBSERVED")
        }
        (Stage::Observed { .. }, Some(Available | Stopped)) => after(170, "SUCCEEDED"),
        (Stage::Observed { .. }, Some(Error | Unhealthy | Impaired)) => {
            after(170, "REBUILD_FAILED")
        }
        (_, Some(_)) => wait,
    }
}

fn at(stage: Stage, begin: OffsetDateTime) -> Rebuild {
    let mut rebuild =
        Rebuild { fleet_mode: MODE, previous_state: Some(State::Unhealthy), ..Rebuild::new(begin) };
    let (at, snapshot_at) = (Timestamp::from(begin), begin.into());
    let claimed = |since, hand_over| {
        Some(Claim { id: Uuid::nil(), at: since, snapshot_at, user_connected: None, hand_over })
    };
    match stage {
        Stage::Requested => {}
        Stage::Claimed { since } => rebuild.claim = claimed(since, HandOver::Unconfirmed),
        Stage::Started { since } => {
            rebuild.claim = claimed(since, HandOver::Accepted { started_at: at });
        }
        Stage::Observed { since } => {
            rebuild.claim =
                claimed(since, HandOver::Observed { started_at: at, at, inferred: false });
        }
        Stage::Ended => {
            rebuild.phase =
                Phase::Ended(Ending { at, conclusion: Conclusion::Succeeded, ip_address: None });
        }
        Stage::Unrecognized => rebuild.phase = Phase::Unrecognized("PAUSED".to_owned()),
    }
    assert_eq!(rebuild.stage(), stage);
    rebuild
}

/// Name of a step or code of an end, and the state that the end gives the WorkSpace.
fn word(step: Step) -> (String, Option<State>) {
    let name = match step {
        Step::Wait => "wait",
        Step::Look => "look",
        Step::AskConnection => "ask",
        Step::Observe(Some(_)) => "note",
        Step::Observe(None) => "clear",
        Step::HandOver { .. } => "hand over",
        Step::ObserveRebuilding => "see",
        Step::Close => "close",
        Step::Gone { .. } => return ("WORKSPACE_GONE".to_owned(), Some(State::Terminated)),
        Step::End(end) => {
            let code = end.conclusion.error().map(|error| error.code.clone());
            return (code.unwrap_or_else(|| end.conclusion.status().to_string()), Some(end.state));
        }
    };
    (name.to_owned(), None)
}

/// A look at a WorkSpace without a change of a volume, whose user is not connected.
fn seen(state: Option<State>, at: Timestamp) -> Look {
    Look { state, is_modifying: false, connection: Connection::Answered(Some(false)), at }
}

fn begin() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn timing() -> Timing {
    Timing::of_amazon()
}

/// The next step of a WorkSpace's open rebuild.
fn step(
    rebuild: Rebuild,
    mode: FleetMode,
    look: Option<Look>,
    now: Timestamp,
    timing: &Timing,
) -> Step {
    next_step(&open(rebuild), mode, look, now, (timing, &Limits::default()))
}

fn open(rebuild: Rebuild) -> OpenRebuild {
    World::open(&WorkspaceId::try_from("ws-available0001".to_owned()).expect("an id"), rebuild)
}

#[test]
fn each_state_has_its_step_at_each_stage() {
    for state in State::VARIANTS.iter().copied().map(Some).chain([None]) {
        for (stage, age) in
            stages(begin().into()).into_iter().flat_map(|stage| AGES.map(|age| (stage, age)))
        {
            for noted in NOTED {
                let now = Timestamp::from(begin() + Duration::seconds(age));
                let observation = |class, seconds: i64| {
                    Some(Observation { shown: class, since: now + Duration::seconds(-seconds) })
                };
                let class = Class::of(state);
                let other = if class == Class::Well { Class::Ill } else { Class::Well };
                let observation = match noted {
                    Noted::Nothing => None,
                    Noted::Same(since) => observation(class, since),
                    Noted::Other => observation(other, 3600),
                };
                let rebuild = Rebuild { phase: Phase::Running(observation), ..at(stage, begin()) };
                let look = Some(seen(state, now));
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
    let look = |state, at| Some(seen(Some(state), at));
    let next =
        |rebuild: &Rebuild, state, at| step(rebuild.clone(), MODE, look(state, at), at, &timing());
    let impaired = Observation { shown: Class::Impaired, since: begin };
    assert_eq!(next(&rebuild, State::Impaired, begin), Step::Observe(Some(impaired)));
    let rebuild = Rebuild { phase: Phase::Running(Some(impaired)), ..rebuild };
    let passing = Observation { shown: Class::Passing, since: later };
    assert_eq!(next(&rebuild, State::Starting, later), Step::Observe(Some(passing)));
}

/// A rebuild waits for its user only if that was asked for, and then also while nobody knows: never
/// because of an answer that says nothing of the user.
#[test]
fn each_word_on_the_connection_has_its_step() {
    let now = Timestamp::from(begin());
    let noted = |shown| Phase::Running(Some(Observation { shown, since: now }));
    let nothing = Phase::Running(None);
    let connected = Connection::Answered(Some(true));
    let disconnected = Connection::Answered(Some(false));
    let unknown = Connection::Answered(None);
    for (waits, default, phase, connection, is_modifying, expected) in [
        (None, false, &nothing, Connection::NotAsked, false, "ask"),
        (Some(true), false, &nothing, Connection::NotAsked, true, "note"),
        (None, false, &nothing, connected, true, "note"),
        (None, false, &nothing, connected, false, "hand over"),
        (None, false, &nothing, Connection::NotAnswered, false, "hand over"),
        (Some(false), true, &nothing, connected, false, "hand over"),
        (Some(false), true, &nothing, Connection::NotAnswered, false, "hand over"),
        (None, true, &nothing, connected, false, "note"),
        (Some(true), false, &nothing, connected, false, "note"),
        (Some(true), false, &nothing, Connection::NotAnswered, false, "wait"),
        (Some(true), false, &nothing, disconnected, false, "hand over"),
        (Some(true), false, &nothing, unknown, false, "hand over"),
        (Some(true), false, &noted(Class::Connected), connected, false, "wait"),
        (Some(true), false, &noted(Class::Connected), Connection::NotAnswered, false, "wait"),
        (Some(true), false, &noted(Class::Connected), disconnected, false, "clear"),
        (Some(true), false, &noted(Class::Modifying), connected, false, "note"),
        (None, false, &noted(Class::Modifying), connected, true, "wait"),
        (None, false, &noted(Class::Modifying), connected, false, "clear"),
    ] {
        let requested = at(Stage::Requested, begin());
        let rebuild = Rebuild { wait_for_disconnect: waits, phase: phase.clone(), ..requested };
        let limits = Limits { wait_for_disconnect: default, ..Limits::default() };
        let look = Look { connection, is_modifying, ..seen(Some(State::Available), now) };
        let next = next_step(&open(rebuild), MODE, Some(look), now, (&timing(), &limits));
        let context = format!("{waits:?}, {default}, {phase:?}, {connection:?}, {is_modifying}");
        assert_eq!(word(next).0, expected, "{context}");
    }
}

/// Who waits for a user is looked at every ten minutes, and expires in any case.
#[test]
fn a_connected_user_is_asked_about_every_ten_minutes() {
    let connected = Observation { shown: Class::Connected, since: begin().into() };
    let phase = Phase::Running(Some(connected));
    let open = open(Rebuild { phase, ..at(Stage::Requested, begin()) });
    let step = |minute| {
        let now = Timestamp::from(begin() + Duration::minutes(minute));
        word(next_step(&open, MODE, None, now, (&timing(), &Limits::default()))).0
    };
    let looks: Vec<_> = (0..60).filter(|minute| step(*minute) == "look").collect();
    assert_eq!(looks.len(), 6);
    assert!(looks.windows(2).all(|pair| pair[1] - pair[0] == 10), "{looks:?}");
    assert_eq!(step(24 * 60), "EXPIRED");
}

/// The simulated fleet's answers are always up to date.
#[test]
fn a_consistent_fleet_decides_at_the_first_look() {
    let now = begin().into();
    let timing = Timing::of_simulated();
    let look = |state| Some(seen(Some(state), now));
    for (stage, state, expected) in [
        (Stage::Claimed { since: now }, State::Rebuilding, "see"),
        (Stage::Observed { since: now }, State::Available, "SUCCEEDED"),
        (Stage::Observed { since: now }, State::Error, "REBUILD_FAILED"),
    ] {
        let next = step(at(stage, begin()), MODE, look(state), now, &timing);
        assert_eq!(word(next).0, expected, "{state}");
    }
}

#[test]
fn some_steps_need_no_look() {
    let all = stages(begin().into()).into_iter().chain([Stage::Ended, Stage::Unrecognized]);
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
                Stage::Unrecognized => ("wait", None),
                Stage::Requested if !is_ours => ("FLEET_CHANGED", Some(State::Unhealthy)),
                Stage::Requested if is_old => ("EXPIRED", Some(State::Unhealthy)),
                Stage::Requested if is_protected => ("WORKSPACE_PROTECTED", Some(State::Unhealthy)),
                _ if !is_ours => ("FLEET_CHANGED", Some(State::Rebuilding)),
                _ => ("look", None),
            };
            let open = OpenRebuild { is_protected, ..open(rebuild) };
            let limits = Limits::default();
            let (word, state) = word(next_step(&open, MODE, None, now, (&timing(), &limits)));
            let context = format!("{stage:?}, {mode:?}, {age} s, protected: {is_protected}");
            assert_eq!((word.as_str(), state), expected, "{context}");
        }
    }
}
