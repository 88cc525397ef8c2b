//! What stops hand-overs in the whole deployment: pauses, and the budget of a day.
//!
//! While they are stopped, rebuilds are still accepted, and those that run are still followed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use time::Duration;

use crate::timestamp::Timestamp;

/// How long a pause of the fleet lasts until one hand-over is tried.
const TRIAL_AFTER: Duration = Duration::minutes(15);

/// A pause of hand-overs.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pause {
    /// The caller, `budget` or `fleet`.
    pub paused_by: Option<String>,
    /// Since when.
    pub paused_at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// The end of the last pauses.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Resumption {
    /// The caller.
    pub resumed_by: Option<String>,
    /// When.
    pub resumed_at: Timestamp,
}

/// What every hand-over depends on. The pauses are separate, so that the end of one does not end
/// another.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Control {
    /// Raised by every change.
    #[serde(default)]
    pub version: u64,
    /// The id of the last request that changed a pause, ordered by time.
    pub pause_change_id: Option<String>,
    /// A caller has paused hand-overs.
    pub caller_pause: Option<Pause>,
    /// The budget of a day is used up.
    pub budget_pause: Option<Pause>,
    /// The fleet does not answer.
    pub fleet_pause: Option<Pause>,
    /// When the last hand-over was tried while the fleet does not answer.
    pub last_trial_at: Option<Timestamp>,
    /// Who ended the last pauses.
    pub resumption: Option<Resumption>,
    /// How many hand-overs began.
    #[serde(default)]
    pub hand_overs: HandOvers,
}

/// Why a hand-over may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something pauses hand-overs.
    Paused,
    /// The budget of a day is used up.
    BudgetUsedUp,
}

impl Control {
    /// All that pauses hand-overs.
    pub fn pauses(&self) -> impl Iterator<Item = &Pause> {
        [&self.caller_pause, &self.budget_pause, &self.fleet_pause].into_iter().flatten()
    }

    /// Whether no hand-over may begin at `now`.
    #[must_use]
    pub fn is_stopped(&self, now: Timestamp) -> bool {
        let is_fleet_left_alone = self.fleet_pause.as_ref().is_some_and(|pause| {
            now.since(self.last_trial_at.unwrap_or(pause.paused_at)) < TRIAL_AFTER
        });
        self.caller_pause.is_some() || self.budget_pause.is_some() || is_fleet_left_alone
    }

    /// This with one more hand-over, which begins at `now`; at most `limit` in any 24 hours.
    ///
    /// # Errors
    /// It may not begin.
    pub fn count(&self, now: Timestamp, limit: Option<u32>) -> Result<Self, Stop> {
        if self.is_stopped(now) {
            return Err(Stop::Paused);
        }
        if limit.is_some_and(|limit| self.hand_overs.of_a_day(now) >= limit.into()) {
            return Err(Stop::BudgetUsedUp);
        }
        let last_trial_at = self.fleet_pause.as_ref().map(|_| now);
        Ok(Self { hand_overs: self.hand_overs.with(now), last_trial_at, ..self.clone() })
    }

    /// This without a hand-over that began at `since`, and that certainly had no effect on the fleet.
    #[must_use]
    pub fn uncount(&self, since: Timestamp) -> Self {
        Self { hand_overs: self.hand_overs.without(since), ..self.clone() }
    }
}

/// How many hand-overs began in each hour, such as `2026-11-30T14`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HandOvers(BTreeMap<String, u32>);

impl HandOvers {
    /// How many began in the 24 hours before `now`, and perhaps some more: the first of these hours
    /// counts as a whole.
    #[must_use]
    pub fn of_a_day(&self, now: Timestamp) -> u64 {
        self.0.range(first_hour(now)..).map(|(_, count)| u64::from(*count)).sum()
    }

    /// These and one that begins at `now`, without those that no longer matter then.
    fn with(&self, now: Timestamp) -> Self {
        let mut hours = self.0.clone().split_off(&first_hour(now));
        let count = hours.entry(hour(now)).or_default();
        *count = count.saturating_add(1);
        Self(hours)
    }

    fn without(&self, since: Timestamp) -> Self {
        let mut hours = self.0.clone();
        if let Some(count) = hours.get_mut(&hour(since)) {
            *count = count.saturating_sub(1);
        }
        Self(hours)
    }
}

/// The first hour that has a part in the 24 hours before `now`.
fn first_hour(now: Timestamp) -> String {
    hour(now + -Duration::DAY)
}

fn hour(time: Timestamp) -> String {
    const LENGTH: usize = "2026-11-30T14".len();
    let mut text = time.to_string();
    text.truncate(LENGTH);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.to_owned().try_into().expect("a time")
    }

    fn pause(at: Timestamp) -> Pause {
        Pause { paused_by: None, paused_at: at, reason: None }
    }

    #[test]
    fn no_24_hours_have_more_than_the_budget() {
        let mut control = Control::default();
        for _ in 0..3 {
            control = control.count(at("2026-11-30T14:59:59Z"), Some(3)).expect("counted");
        }
        // The last second of the 24 hours is in the hour in which they began.
        for time in ["2026-11-30T15:00:00Z", "2026-12-01T14:00:00Z", "2026-12-01T14:59:59Z"] {
            assert_eq!(control.count(at(time), Some(3)), Err(Stop::BudgetUsedUp), "{time}");
        }
        let later = at("2026-12-01T15:00:00Z");
        let counted = control.count(later, Some(3)).expect("counted");
        assert_eq!((counted.hand_overs.of_a_day(later), counted.hand_overs.0.len()), (1, 1));
        assert_eq!(control.count(later + -Duration::HOUR, None).map(|_| ()), Ok(()));
        let uncounted = counted.uncount(later).uncount(later).uncount(at("2026-12-01T16:00:00Z"));
        assert_eq!(uncounted.hand_overs.of_a_day(later), 0);
    }

    #[test]
    fn each_pause_stops_hand_overs_and_only_the_fleets_lets_one_be_tried() {
        let begin = at("2026-11-30T14:00:00Z");
        let later = begin + Duration::DAY;
        let by_caller = Control { caller_pause: Some(pause(begin)), ..Control::default() };
        let by_budget = Control { budget_pause: Some(pause(begin)), ..Control::default() };
        for control in [&by_caller, &by_budget] {
            assert_eq!(control.count(later, None), Err(Stop::Paused));
        }
        let by_fleet = Control { fleet_pause: Some(pause(begin)), ..Control::default() };
        let soon = begin + TRIAL_AFTER + -Duration::SECOND;
        assert_eq!(by_fleet.count(soon, None), Err(Stop::Paused));
        let trial = by_fleet.count(begin + TRIAL_AFTER, None).expect("a trial");
        assert_eq!(trial.count(begin + TRIAL_AFTER, None), Err(Stop::Paused));
        assert!(trial.count(begin + TRIAL_AFTER * 2, None).is_ok());
    }
}
