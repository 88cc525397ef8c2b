//! The next step for every state of the WorkSpace at every stage of a rebuild: the table of the
//! design, row by row.

use rebuild_workspaces::rebuild::{Rebuild, Stage, Status};
use rebuild_workspaces::reconcile::{Step, next_step};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::workspace::State;
use strum::VariantArray;
use time::{Duration, OffsetDateTime};

/// All stages, each begun at `since`.
fn stages(since: Timestamp) -> [Stage; 6] {
    [
        Stage::Requested,
        Stage::Claimed { since },
        Stage::Started { since },
        Stage::Seen { since },
        Stage::Ended,
        Stage::Unknown,
    ]
}

/// Times on both sides of each limit, in seconds since the stage began.
const AGES: [i64; 7] = [0, 299, 300, 3599, 3600, 14399, 14400];

/// The expected step: its name, or the code of the end.
fn expected(stage: Stage, seen: Option<State>, age: i64) -> &'static str {
    use State::{
        AdminMaintenance, Available, Error, Impaired, Maintenance, Pending, Rebooting, Rebuilding,
        Restoring, Starting, Stopped, Stopping, Suspended, Terminated, Terminating, Unhealthy,
        Unknown, Updating,
    };
    let by_limit = |limit, before, after| if age < limit { before } else { after };
    match stage {
        Stage::Ended => return "close",
        Stage::Unknown => return "wait",
        Stage::Requested | Stage::Claimed { .. } | Stage::Started { .. } | Stage::Seen { .. } => {}
    }
    let Some(seen) = seen else {
        return "WORKSPACE_GONE";
    };
    match (seen, stage) {
        (Terminating | Terminated, _) => "WORKSPACE_GONE",
        (Rebuilding, Stage::Requested | Stage::Claimed { .. }) => "start",
        (Rebuilding, Stage::Started { .. }) => "note",
        (Available | Stopped | Error | Unhealthy | Rebooting, Stage::Requested) => "hand over",
        (Available | Stopped | Error | Unhealthy | Rebooting, Stage::Claimed { .. }) => {
            by_limit(300, "hand over", "HANDOVER_UNKNOWN")
        }
        (Available | Stopped | Error | Unhealthy, Stage::Started { .. }) => {
            by_limit(300, "wait", "NOT_OBSERVED")
        }
        (Available | Stopped, Stage::Seen { .. }) => "SUCCEEDED",
        (Error | Unhealthy, Stage::Seen { .. }) => "REBUILD_FAILED",
        (Suspended, Stage::Requested) => "INVALID_STATE",
        (Suspended, Stage::Claimed { .. }) => "HANDOVER_UNKNOWN",
        (
            Pending | Starting | Stopping | Updating | Maintenance | AdminMaintenance | Restoring
            | Impaired | Unknown,
            Stage::Requested,
        ) => by_limit(3600, "wait", "INVALID_STATE"),
        (
            Pending | Starting | Stopping | Updating | Maintenance | AdminMaintenance | Restoring
            | Impaired | Unknown,
            Stage::Claimed { .. },
        ) => by_limit(3600, "wait", "HANDOVER_UNKNOWN"),
        (_, Stage::Started { .. } | Stage::Seen { .. }) => by_limit(14400, "wait", "TIMED_OUT"),
        (_, Stage::Ended | Stage::Unknown) => unreachable!("returned above"),
    }
}

fn at(stage: Stage, begin: OffsetDateTime) -> Rebuild {
    let mut rebuild = Rebuild::new(begin);
    match stage {
        Stage::Requested => {}
        Stage::Claimed { since } => rebuild.claimed_at = Some(since),
        Stage::Started { since } => {
            (rebuild.status, rebuild.started_at) = (Status::Started, Some(since));
        }
        Stage::Seen { since } => {
            (rebuild.status, rebuild.started_at) = (Status::Started, Some(since));
            rebuild.seen_rebuilding_at = Some(since);
        }
        Stage::Ended => rebuild.status = Status::Succeeded,
        Stage::Unknown => rebuild.status = Status::Unknown,
    }
    assert_eq!(rebuild.stage(), stage);
    rebuild
}

/// Name of a step or code of an end, and the state that the end gives the WorkSpace.
fn word(step: Step) -> (String, Option<State>) {
    match step {
        Step::Wait => ("wait".to_owned(), None),
        Step::HandOver => ("hand over".to_owned(), None),
        Step::Start => ("start".to_owned(), None),
        Step::NoteSeen => ("note".to_owned(), None),
        Step::Close => ("close".to_owned(), None),
        Step::End(end) => {
            let code = end.failure.map_or_else(|| "SUCCEEDED".to_owned(), |failure| failure.code());
            (code, Some(end.state))
        }
    }
}

#[test]
fn each_state_has_its_step_at_each_stage() {
    let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let known = State::VARIANTS.iter().copied().filter(|state| *state != State::Unknown);
    let states = known.map(Some).chain([None]);
    for seen in states {
        for (stage, age) in
            stages(begin.into()).into_iter().flat_map(|stage| AGES.map(|age| (stage, age)))
        {
            let now = Timestamp::from(begin + Duration::seconds(age));
            let step = next_step(&at(stage, begin), seen, now);
            let (word, state) = word(step);
            assert_eq!(word, expected(stage, seen, age), "{seen:?}, {stage:?}, {age} s");
            let state_of_end = state.unwrap_or(seen.unwrap_or(State::Terminated));
            assert_eq!(state_of_end, seen.unwrap_or(State::Terminated), "{seen:?}, {stage:?}");
        }
    }
}

#[test]
fn an_unknown_state_is_treated_as_a_passing_one() {
    let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    for (stage, age) in
        stages(begin.into()).into_iter().flat_map(|stage| AGES.map(|age| (stage, age)))
    {
        let now = Timestamp::from(begin + Duration::seconds(age));
        let rebuild = Rebuild { previous_state: Some(State::Unhealthy), ..at(stage, begin) };
        let (word, state) = word(next_step(&rebuild, Some(State::Unknown), now));
        assert_eq!(word, expected(stage, Some(State::Impaired), age), "{stage:?}, {age} s");
        assert!(state.is_none_or(|state| state == State::Unhealthy), "{state:?}");
    }
}
