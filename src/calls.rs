//! The calls to the WorkSpaces API, of which AWS allows an account 2 a second and 5 at once (admin guide,
//! "ThrottlingException"). Each function has a fixed part of them, because they run side by side and know
//! nothing of each other.

use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How fast calls may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two calls.
    pub interval: Duration,
    /// How many calls may be made at once after a pause.
    pub burst: u32,
}

impl Rate {
    /// Three quarters of the account's calls in a second: for following.
    #[must_use]
    pub fn following(account: NonZeroU16) -> Self {
        Self::new(Duration::from_secs(4) / 3, account, 1)
    }

    /// A sixth: for the listings of sync.
    #[must_use]
    pub fn sync(account: NonZeroU16) -> Self {
        Self::new(Duration::from_secs(6), account, 1)
    }

    /// A twelfth: for previews, which take three calls each.
    #[must_use]
    pub fn previews(account: NonZeroU16) -> Self {
        Self::new(Duration::from_secs(12), account, 3)
    }

    /// `interval` is for an account with one call a second.
    fn new(interval: Duration, account: NonZeroU16, burst: u32) -> Self {
        Self { interval: interval / u32::from(account.get()), burst }
    }
}

/// The calls that previews have taken, counted in the table: previews run in many function environments at
/// once. (The generic cell rate algorithm: one time stands for all calls so far.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Calls {
    /// Raised by every change.
    pub version: u64,
    /// When the calls so far would be done at their rate, in milliseconds since the Unix epoch.
    free_at: u64,
}

impl Calls {
    /// With one more burst of calls at `now`.
    ///
    /// # Errors
    /// The rate does not allow them for so long.
    pub fn with_burst(self, rate: Rate, now: OffsetDateTime) -> Result<Self, Duration> {
        let now = Duration::try_from(now - OffsetDateTime::UNIX_EPOCH).unwrap_or_default();
        let wait = Duration::from_millis(self.free_at).saturating_sub(now);
        let burst = rate.interval * rate.burst;
        // Nobody waits longer than a burst takes, unless it was taken by a clock that is ahead.
        if !wait.is_zero() && wait <= burst {
            return Err(wait);
        }
        let free_at = u64::try_from((now + burst).as_millis()).unwrap_or(u64::MAX);
        Ok(Self { version: self.version.saturating_add(1), free_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_as_far_from_the_next_as_the_rate_wants() {
        let rate = Rate::previews(NonZeroU16::new(2).expect("not zero"));
        let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let after = |seconds| begin + time::Duration::seconds(seconds);
        let first = Calls::default().with_burst(rate, begin).expect("the first one");
        assert_eq!(first.with_burst(rate, after(1)), Err(Duration::from_secs(17)));
        let second = first.with_burst(rate, after(18)).expect("three calls took 18 s");
        assert_eq!(second.version, 2);
        let third = second.with_burst(rate, after(1000)).expect("a long pause");
        assert!(third.with_burst(rate, after(1001)).is_err(), "a pause saves no calls up");
        let ahead = third.with_burst(rate, after(9000)).expect("a clock that is ahead");
        assert!(ahead.with_burst(rate, after(1020)).is_ok(), "it does not stop the others");
    }
}
