//! Lets hand-overs begin: each is counted in the table first, while nothing pauses them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::lock::{Mutex, MutexGuard};
use time::OffsetDateTime;
use tracing::{error, info};

use super::Reconciler;
use super::breaker::Breaker;
use crate::control::{Control, Pause, Stop};
use crate::error::{Unconfirmed, chain};
use crate::fleet::{Fleet, KeyUse};
use crate::timestamp::Timestamp;

/// How often a change is tried that meets the changes of other passes.
const TRIES: usize = 5;

/// What a pass knows of the table's word on hand-overs.
#[derive(Debug)]
pub(super) struct Gate {
    /// As it was last read or written. The lock makes the hand-overs of a pass count one after another.
    control: Mutex<Control>,
    is_closed: AtomicBool,
    /// What KMS has said of each key; `None` if it did not answer. The lock makes a pass ask once for each.
    keys: Mutex<HashMap<String, Option<KeyUse>>>,
    pub(super) breaker: Breaker,
}

impl Gate {
    /// The gate as the table has it; closed, if the table was not read (`None`).
    fn new(control: Option<Control>, now: Timestamp) -> Self {
        let is_closed = control.as_ref().is_none_or(|control| control.is_stopped(now));
        let control = Mutex::new(control.unwrap_or_default());
        Self {
            control,
            is_closed: is_closed.into(),
            keys: Mutex::default(),
            breaker: Breaker::default(),
        }
    }

    /// Whether this pass begins no further hand-over.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed) || self.breaker.is_open()
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) async fn keys(&self) -> MutexGuard<'_, HashMap<String, Option<KeyUse>>> {
        self.keys.lock().await
    }

    /// How many keys this pass was not allowed to ask about.
    pub(super) async fn unchecked_keys(&self) -> usize {
        let keys = self.keys().await;
        keys.values().filter(|key| **key == Some(KeyUse::NotAllowedToAsk)).count()
    }

    pub(super) async fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().await
    }
}

impl<F: Fleet, C: Fn() -> OffsetDateTime> Reconciler<F, C> {
    /// Reads what hand-overs depend on. Returns the gate, and whether it was read.
    pub(super) async fn gate(&self) -> (Gate, bool) {
        let read = self.store.control().await;
        let read = read.inspect_err(|error| {
            error!(error = %chain(error), "no hand-overs: what pauses them was not read");
        });
        let is_read = read.is_ok();
        (Gate::new(read.ok(), self.now()), is_read)
    }

    /// Pauses hand-overs if the fleet has not answered the last ones.
    pub(super) async fn pause_if_unanswered(&self, gate: &Gate) -> Result<(), Unconfirmed> {
        let now = self.now();
        let paused = |control: &Control| {
            let resumed_at = control.resumption.as_ref().map(|resumption| resumption.resumed_at);
            let is_new = control.fleet_pause.is_none() && gate.breaker.trips(now, resumed_at);
            let pause = by_itself("fleet", "the fleet did not answer the last hand-overs", now);
            is_new.then(|| Control { fleet_pause: Some(pause), ..control.clone() })
        };
        if self.change(&mut *gate.control().await, paused).await? {
            error!("hand-overs are paused: the fleet did not answer the last ones");
            gate.close();
        }
        Ok(())
    }

    /// Counts a hand-over that begins at `now`; `false` if it may not begin.
    pub(super) async fn count(
        &self,
        gate: &Gate,
        control: &mut Control,
        now: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let limit = self.limits.rebuilds_per_day;
        if self.change(control, |control| control.count(now, limit).ok()).await? {
            return Ok(true);
        }
        if control.count(now, limit) == Err(Stop::BudgetUsedUp) {
            let paused = |control: &Control| {
                let is_used_up = control.count(now, limit) == Err(Stop::BudgetUsedUp);
                let pause = by_itself("budget", "the budget of a day is used up", now);
                is_used_up.then(|| Control { budget_pause: Some(pause), ..control.clone() })
            };
            if self.change(control, paused).await? {
                error!("hand-overs are paused: the budget of a day is used up");
            }
        }
        if control.is_stopped(now) {
            gate.close();
        }
        Ok(false)
    }

    /// Takes a hand-over that began at `since` out of the count. If that fails, it counts for nothing,
    /// which wipes no disk.
    pub(super) async fn uncount(&self, gate: &Gate, since: Timestamp) {
        let mut control = gate.control().await;
        let without = |control: &Control| Some(control.uncount(since));
        if let Err(error) = self.change(&mut control, without).await {
            error!(error = %chain(&error), "a hand-over that was not made stays counted");
        }
    }

    /// Ends the pause of a fleet that has answered a hand-over.
    pub(super) async fn end_fleet_pause(&self, gate: &Gate) -> Result<(), Unconfirmed> {
        let ended = |control: &Control| {
            let ended = || Control { fleet_pause: None, last_trial_at: None, ..control.clone() };
            control.fleet_pause.is_some().then(ended)
        };
        if self.change(&mut *gate.control().await, ended).await? {
            info!("hand-overs go on: the fleet has answered one");
        }
        Ok(())
    }

    /// Makes a change, unless it is `None` for what the table has by then. Returns whether it did.
    async fn change(
        &self,
        control: &mut Control,
        change: impl Fn(&Control) -> Option<Control>,
    ) -> Result<bool, Unconfirmed> {
        for _ in 0..TRIES {
            let Some(changed) = change(control) else { return Ok(false) };
            match self.store.change_control(control, changed).await? {
                Ok(changed) => {
                    *control = changed;
                    return Ok(true);
                }
                Err(current) => *control = current,
            }
        }
        Ok(false)
    }
}

/// A pause that the reconciler makes.
fn by_itself(paused_by: &str, reason: &str, now: Timestamp) -> Pause {
    Pause { paused_by: Some(paused_by.into()), paused_at: now, reason: Some(reason.into()) }
}
