//! Compares a record with what the fleet really did.

use rebuild_workspaces::rebuild::{Class, Rebuild, Status};
use rebuild_workspaces::timestamp::Timestamp;
use time::{Duration, OffsetDateTime};

use super::machine::{Machine, Wipe};
use super::world::STALENESS;

/// Checks a record; returns its code, or `SUCCEEDED`.
pub fn check(record: &Rebuild, machine: &Machine) -> String {
    let context = || {
        let Machine { duration, lag, gone_at, states, wipes, .. } = machine;
        let calls: Vec<_> = machine.calls_of(record.id).collect();
        format!(
            "{record:?}\ncalls: {calls:?}\nwipes: {wipes:?}\nstates: {states:?}\n\
             duration {duration}, lag {lag}, gone {gone_at:?}"
        )
    };
    let calls: Vec<_> = machine.calls_of(record.id).filter(|call| !call.was_refused).collect();
    assert!(calls.len() <= 1, "called again: {}", context());
    assert!(machine.wipes_of(record.id).count() <= 1, "wiped twice: {}", context());
    let own = machine.wipes_of(record.id).next();
    let ended_at = record.ending().unwrap_or_else(|| panic!("no end: {}", context())).at;
    let claimed_at = record.claim.map_or(ended_at, |claim| claim.at);
    // Timestamps are cut to whole seconds.
    let had_ended = |wipe: &Wipe| Timestamp::from(wipe.ended) <= ended_at;
    let was_left_behind = |code: &str| ["TIMED_OUT", "FLEET_CHANGED"].contains(&code);
    let error = record.ending().and_then(|ending| ending.conclusion.error());
    let code = error.map_or_else(|| record.status().to_string(), |error| error.code.clone());
    let is_gone = code == "WORKSPACE_GONE";
    assert!(
        own.is_none_or(had_ended) || was_left_behind(&code) || is_gone,
        "released while it was being wiped: {}",
        context()
    );
    // A rebuild's own wipe counts. If there was no answer, others do too, since nobody can tell them
    // apart: those that began since, or so shortly before that the last look did not show them.
    let is_answered = calls.iter().any(|call| call.is_answered);
    let asked_at = calls.first().map_or(claimed_at, |call| call.at.into());
    let counts = |wipe: &&Wipe| {
        let is_late = Timestamp::from(wipe.began + STALENESS) >= asked_at;
        wipe.by == Some(record.id) || (is_late && !is_answered)
    };
    let mut ended = machine.wipes.iter().filter(counts).filter(|wipe| had_ended(wipe));
    // What the last look can have shown.
    let last_look = OffsetDateTime::from_unix_timestamp(ended_at.epoch_seconds()).expect("a time");
    let showed = |class| {
        let ages = 0..=STALENESS.whole_seconds();
        ages.map(Duration::seconds).any(|age| Class::of(machine.shows(last_look - age)) == class)
    };
    let handed_over_for = ended_at.since(claimed_at);
    let is_true = match (record.status(), code.as_str()) {
        (Status::Succeeded, _) => {
            record.observed_at().is_some() && ended.next().is_some() && showed(Class::Well)
        }
        (Status::Failed, "REBUILD_FAILED") => {
            let has_failed = showed(Class::Ill) || showed(Class::Impaired);
            record.observed_at().is_some() && ended.next().is_some() && has_failed
        }
        (Status::Failed, "WORKSPACE_GONE") => machine.is_gone_by(ended_at),
        (Status::Cancelled, _) | (Status::Failed, "WORKSPACE_PROTECTED" | "EXPIRED") => {
            own.is_none() && record.claim.is_none()
        }
        (Status::Failed, "NO_SNAPSHOT") => {
            own.is_none() && record.claim.is_none() && machine.snapshot_at.is_none()
        }
        (Status::Failed, "SNAPSHOT_TOO_OLD") => {
            let hours = record.maximum_snapshot_age_hours.map(i64::from);
            let age = machine.snapshot_at.map(|snapshot_at| ended_at.since(snapshot_at));
            let is_old = hours.zip(age).is_none_or(|(hours, age)| age > Duration::hours(hours));
            own.is_none() && record.claim.is_none() && is_old
        }
        (Status::Failed, "ENCRYPTION_KEY_UNUSABLE") => {
            own.is_none() && record.claim.is_none() && machine.key.as_deref() != Some("enabled")
        }
        // Not handed over, or refused.
        (Status::Failed, _) => own.is_none() && record.started_at().is_none(),
        (Status::Unknown, "HANDOVER_UNKNOWN") => {
            record.started_at().is_none() && handed_over_for >= Duration::minutes(30)
        }
        (Status::Unknown, "NOT_OBSERVED") => {
            own.is_some()
                && record.observed_at().is_none()
                && handed_over_for >= Duration::minutes(30)
        }
        (Status::Unknown, "TIMED_OUT") => handed_over_for >= Duration::hours(4),
        (Status::Unknown, "FLEET_CHANGED") => record.claim.is_some(),
        (Status::Unknown | Status::Requested | Status::Started | Status::Unrecognized(_), _) => {
            false
        }
    };
    for call in &calls {
        assert_ne!(machine.key.as_deref(), Some("unusable"), "the key is disabled: {}", context());
        let recent = call.at - Duration::minutes(10)..=call.at;
        let said = machine.connections_said.iter().filter(|(at, _)| recent.contains(at));
        let said: Vec<_> = said.map(|(_, said)| *said).collect();
        assert!(
            record.wait_for_disconnect != Some(true) || said.iter().any(|said| *said != Some(true)),
            "the user was connected, {said:?}: {}",
            context()
        );
    }
    let claims_ours = record.observed_at().is_some() && !record.is_inferred();
    assert!(!claims_ours || is_answered, "nobody confirmed the call: {}", context());
    let is_snapshot_true =
        own.is_none() || record.claim.map(|claim| claim.snapshot_at) == machine.snapshot_at;
    assert!(is_snapshot_true, "the user's files went back to something else: {}", context());
    assert!(is_true, "the record contradicts the fleet: {}", context());
    code
}
