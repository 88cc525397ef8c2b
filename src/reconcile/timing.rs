//! How long the reconciler waits before it acts, and how much it may do.

use time::Duration;

/// What the deployer allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many rebuilds may run at the same time. With 0 none is handed over, and those that run
    /// are still followed.
    pub max_concurrent: usize,
    /// The greatest age of the user volume's newest snapshot, in hours, for a rebuild whose request
    /// does not say; `None` for any age.
    pub maximum_snapshot_age_hours: Option<u16>,
    /// How long the record of a rebuild is kept after its end; `None` for ever.
    pub record_lifetime: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrent: 100, maximum_snapshot_age_hours: None, record_lifetime: None }
    }
}

/// How long the reconciler waits before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// REBUILDING counts as this rebuild's own only in a look that began this long after the claim.
    /// An older answer may show somebody else's rebuild.
    pub seen_after: Duration,
    /// A rebuild that was handed over shows REBUILDING within this time, or not at all.
    pub seen_within: Duration,
    /// A state decides a rebuild once every look for this long has shown it.
    pub settles_after: Duration,
    /// How long an accepted rebuild may wait to be handed over.
    pub deadline: Duration,
    /// How long a pass of `follow` works.
    pub pass: Duration,
}

impl Timing {
    /// For the WorkSpaces API. Its answers are eventually consistent: we assume that they are at most
    /// two minutes old, and that a call has had its effect half a minute after its claim. AWS's own
    /// runbook waits 10 minutes for REBUILDING to show.
    #[must_use]
    pub fn of_amazon(deadline: Duration) -> Self {
        Self {
            seen_after: Duration::seconds(150),
            seen_within: Duration::minutes(30),
            settles_after: Duration::minutes(3),
            deadline,
            // It runs every minute.
            pass: Duration::seconds(50),
        }
    }

    /// For the simulated fleet, whose answers are always up to date.
    #[must_use]
    pub fn of_simulated(deadline: Duration) -> Self {
        Self {
            seen_after: Duration::ZERO,
            settles_after: Duration::ZERO,
            ..Self::of_amazon(deadline)
        }
    }
}
