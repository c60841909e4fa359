//! How late is late: the delays of the slow kinds, and why these.

use crate::units::format_duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A client that waits longer than this is not waited for: a fault would have to last longer still.
pub const PATIENCE_MAX: Duration = Duration::from_secs(20);

/// The part of a time-out that is late and in time.
const IN_TIME: f64 = 0.8;

/// How many time-outs are too late.
const TOO_LATE: f64 = 1.5;

/// The part of the load's own time-out that is late where no client's is known: a request may make
/// several calls, one after the other.
const UNKNOWN_IN_TIME: f64 = 0.25;

/// What is known of how long the clients of a dependency wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// The time-out that the system's file declares.
    pub declared: Option<Duration>,
    /// The shortest and the longest that were seen while the dependency hung.
    pub seen: Option<(Duration, Duration)>,
}

impl Patience {
    /// The longest that anybody is known to wait, as far as it is waited for.
    pub fn longest(self) -> Option<Duration> {
        let seen = self.seen.map(|(_, high)| high);
        let longest = self.declared.max(seen)?;
        Some(longest.min(PATIENCE_MAX))
    }
}

/// A delay, and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Delay {
    /// How long, in microseconds.
    pub us: u64,
    /// How it was chosen, for people.
    pub chosen: String,
}

impl Delay {
    fn new(time: Duration, chosen: String) -> Self {
        // Files are easier to read without microseconds.
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            us: millis.saturating_mul(1_000),
            chosen,
        }
    }

    /// How long.
    pub const fn time(&self) -> Duration {
        Duration::from_micros(self.us)
    }
}

/// Late and in time. `load` is the shortest time-out of the load's own requests.
pub fn in_time(patience: Patience, load: Duration) -> Delay {
    match known(patience) {
        Some((shortest, _, how)) => Delay::new(
            shortest.mul_f64(IN_TIME),
            format!("{} of {how}", percent(IN_TIME)),
        ),
        None => Delay::new(
            load.mul_f64(UNKNOWN_IN_TIME),
            format!(
                "{} of the load's own time-out, {}: {}",
                percent(UNKNOWN_IN_TIME),
                format_duration(load),
                unknown(patience)
            ),
        ),
    }
}

/// Later than anybody waits.
pub fn too_late(patience: Patience, load: Duration) -> Delay {
    match known(patience) {
        Some((_, longest, how)) => {
            Delay::new(longest.mul_f64(TOO_LATE), format!("{TOO_LATE} times {how}"))
        }
        None => Delay::new(
            load.mul_f64(TOO_LATE),
            format!(
                "{TOO_LATE} times the load's own time-out, {}: {}",
                format_duration(load),
                unknown(patience)
            ),
        ),
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// The shortest and the longest time-out, and where they are from. What is declared counts more
/// than what was seen: it is what its owner relies on.
fn known(patience: Patience) -> Option<(Duration, Duration, String)> {
    let declared = patience.declared.map(|time| (time, time, "declared"));
    let seen = patience
        .seen
        .map(|(low, high)| (low, high, "seen while it hung"));
    let (low, high, from) = declared
        .or(seen)
        .filter(|(_, high, _)| *high <= PATIENCE_MAX)?;
    let times = if low == high {
        format_duration(low)
    } else {
        format!("{} to {}", format_duration(low), format_duration(high))
    };
    Some((
        low,
        high,
        format!("the time-out of {times} that was {from}"),
    ))
}

fn unknown(patience: Patience) -> String {
    match patience.declared.or(patience.seen.map(|(_, high)| high)) {
        Some(long) => format!(
            "its clients wait {}, longer than faults last here",
            format_duration(long)
        ),
        None => "no time-out of its clients is declared, and none was seen".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Duration = Duration::from_secs(4);

    fn check(patience: Patience, late: (u64, &str), too: (u64, &str)) {
        let (one, other) = (in_time(patience, LOAD), too_late(patience, LOAD));
        assert_eq!((one.us / 1_000, &*one.chosen), late);
        assert_eq!((other.us / 1_000, &*other.chosen), too);
    }

    #[test]
    fn a_declared_time_out_counts_more_than_what_was_seen() {
        let seen = Some((Duration::from_secs(1), Duration::from_secs(3)));
        check(
            Patience {
                declared: Some(Duration::from_secs(2)),
                seen,
            },
            (1_600, "80% of the time-out of 2s that was declared"),
            (3_000, "1.5 times the time-out of 2s that was declared"),
        );
    }

    #[test]
    fn of_what_was_seen_late_is_in_time_for_all_and_too_late_for_all() {
        check(
            Patience {
                declared: None,
                seen: Some((Duration::from_secs(1), Duration::from_secs(3))),
            },
            (
                800,
                "80% of the time-out of 1s to 3s that was seen while it hung",
            ),
            (
                4_500,
                "1.5 times the time-out of 1s to 3s that was seen while it hung",
            ),
        );
    }

    #[test]
    fn without_either_the_load_decides_and_that_is_said() {
        let nothing = "no time-out of its clients is declared, and none was seen";
        check(
            Patience::default(),
            (
                1_000,
                &format!("25% of the load's own time-out, 4s: {nothing}"),
            ),
            (
                6_000,
                &format!("1.5 times the load's own time-out, 4s: {nothing}"),
            ),
        );
        let patient = in_time(
            Patience {
                declared: Some(Duration::from_secs(60)),
                seen: None,
            },
            LOAD,
        );
        assert_eq!(patient.us, 1_000_000);
        assert!(
            patient
                .chosen
                .ends_with("its clients wait 1m, longer than faults last here")
        );
    }
}
