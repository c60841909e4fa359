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
    /// Whether some were not seen to give up while it hung, whatever others did.
    pub unending: bool,
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

/// Later than anybody waits: who was seen to wait longer than is declared is not in time for that, and who
/// was not seen to give up waits at least as long as the load.
pub fn too_late(patience: Patience, load: Duration) -> Delay {
    let by_load = |why: &str| {
        Delay::new(
            load.mul_f64(TOO_LATE),
            format!(
                "{TOO_LATE} times the load's own time-out, {}: {why}",
                format_duration(load)
            ),
        )
    };
    match longest(patience) {
        Some((_, longest, _)) if patience.unending && longest < load => {
            by_load("some of its clients were not seen to give up")
        }
        Some((_, longest, how)) => {
            Delay::new(longest.mul_f64(TOO_LATE), format!("{TOO_LATE} times {how}"))
        }
        None => by_load(&unknown(patience)),
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// The shortest and the longest time-out, and where they are from. What is declared counts more
/// than what was seen: it is what its owner relies on.
fn known(patience: Patience) -> Option<(Duration, Duration, String)> {
    let (declared, seen) = sources(patience);
    told(declared.or(seen)?)
}

/// The same of whichever is longer.
fn longest(patience: Patience) -> Option<(Duration, Duration, String)> {
    let (declared, seen) = sources(patience);
    let known = [declared, seen].into_iter().flatten();
    told(known.rev().max_by_key(|(_, high, _)| *high)?)
}

/// A shortest and a longest time-out, and where they are from.
type Times = (Duration, Duration, &'static str);

fn sources(patience: Patience) -> (Option<Times>, Option<Times>) {
    let declared = patience.declared.map(|time| (time, time, "declared"));
    let seen = patience
        .seen
        .map(|(low, high)| (low, high, "seen while it hung"));
    (declared, seen)
}

/// The times and where they are from, in words; `None` where nobody waits for them.
fn told((low, high, from): Times) -> Option<(Duration, Duration, String)> {
    if high > PATIENCE_MAX {
        return None;
    }
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
    match patience.declared.max(patience.seen.map(|(_, high)| high)) {
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
    fn a_declared_time_out_says_what_is_in_time_and_the_longer_one_what_is_too_late() {
        let with = |declared: u64| Patience {
            declared: Some(Duration::from_secs(declared)),
            seen: Some((Duration::from_secs(1), Duration::from_secs(3))),
            unending: false,
        };
        check(
            with(2),
            (1_600, "80% of the time-out of 2s that was declared"),
            (
                4_500,
                "1.5 times the time-out of 1s to 3s that was seen while it hung",
            ),
        );
        for declared in [3, 5] {
            let late = too_late(with(declared), LOAD);
            assert_eq!(late.us, declared * 1_500_000);
            assert!(late.chosen.ends_with("that was declared"), "{late:?}");
        }
    }

    #[test]
    fn who_was_not_seen_to_give_up_waits_as_long_as_the_load_at_least() {
        let seen = |seconds: u64| Patience {
            declared: None,
            seen: Some((Duration::from_secs(1), Duration::from_secs(seconds))),
            unending: true,
        };
        let late = too_late(seen(1), LOAD);
        assert_eq!(
            (late.us, &*late.chosen),
            (
                6_000_000,
                "1.5 times the load's own time-out, 4s: some of its clients were not seen to give up"
            )
        );
        assert_eq!(too_late(seen(5), LOAD).us, 7_500_000);
        // In time for those of whom it is known is in time for them.
        assert_eq!(in_time(seen(1), LOAD).us, 800_000);
    }

    #[test]
    fn of_what_was_seen_late_is_in_time_for_all_and_too_late_for_all() {
        check(
            Patience {
                declared: None,
                seen: Some((Duration::from_secs(1), Duration::from_secs(3))),
                unending: false,
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
                ..Patience::default()
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
