//! The time of day, as it stands in the databases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub i64);

impl Moment {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(0, millis))
    }

    pub(super) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }

    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// How long ago it was; zero for what is still to come.
    pub(super) fn age(self) -> Duration {
        let passed = Self::now().0.saturating_sub(self.0);
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
