//! How long the reconciler waits before it acts.

use time::Duration;

use crate::ids::WorkspaceId;
use crate::timestamp::Timestamp;

/// How long the reconciler waits before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// REBUILDING counts as this rebuild's own only in a look that began this long after the claim.
    /// An older answer may show somebody else's rebuild.
    pub observed_after: Duration,
    /// A rebuild that was handed over shows REBUILDING within this time, or not at all.
    pub observed_within: Duration,
    /// A state decides a rebuild once every look for this long has shown it.
    pub settles_after: Duration,
    /// A rebuild that waits until its user disconnects is looked at once in so many minutes.
    pub connected_look_minutes: u64,
    /// How long a pass of `follow` works.
    pub pass: Duration,
}

/// Whether it is the turn of a WorkSpace, of which each minute takes one in `period`.
pub(super) fn is_turn_of(id: &WorkspaceId, now: Timestamp, period: u64) -> bool {
    let bytes = id.as_str().bytes();
    let share = bytes.fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    now.minutes().wrapping_add(share).is_multiple_of(period)
}

impl Timing {
    /// For the WorkSpaces API. Its answers are eventually consistent: we assume that they are at most
    /// two minutes old, and that a call has had its effect half a minute after its claim. AWS's own
    /// runbook waits 10 minutes for REBUILDING to show.
    #[must_use]
    pub fn of_amazon() -> Self {
        Self {
            observed_after: Duration::seconds(150),
            observed_within: Duration::minutes(30),
            // Passes begin a minute apart, but not to the second.
            settles_after: Duration::seconds(170),
            connected_look_minutes: 10,
            pass: Duration::seconds(54),
        }
    }

    /// For the simulated fleet, whose answers are always up to date.
    #[must_use]
    pub fn of_simulated() -> Self {
        Self {
            observed_after: Duration::ZERO,
            settles_after: Duration::ZERO,
            connected_look_minutes: 1,
            ..Self::of_amazon()
        }
    }
}
