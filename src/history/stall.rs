//! When Brownout itself stood still, or the whole machine with it, and what can be said all the same
//! of what was noted then.
//!
//! Whatever comes in while nobody looks is noted at the end of it: it may have happened at any moment
//! from the beginning of the stall on. So a time has a least and a most, and what keeps a bound by the
//! one and breaks it by the other decides nothing.

use super::{History, Window};
use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So long after a stall what came in meanwhile may still stand in line.
const AFTER: Duration = Duration::from_millis(100);

/// A stretch in which Brownout stood still: a task that wakes every few milliseconds was not woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stalled {
    /// When it was last seen to go on.
    pub from: Micros,
    /// When it went on again.
    pub to: Micros,
}

/// All stalls of a run, in order.
#[derive(Debug, Clone, Default)]
pub struct Stalls(Vec<Window>);

impl Stalls {
    /// Those of a history.
    pub fn of(history: &History) -> Self {
        let mut all: Vec<Window> = Vec::new();
        for one in &history.stalled {
            match all.last_mut() {
                Some(last) if one.from <= last.to => last.to = last.to.max(one.to),
                _ => all.push(Window::new(one.from, one.to)),
            }
        }
        Self(all)
    }

    /// The first moment at which that may have happened which was noted at `at`.
    pub fn since(&self, at: Micros) -> Micros {
        let before = self.0.partition_point(|one| one.from <= at);
        // Of several close to each other the earlier one may have held up what the later one did.
        let stalls = self.0[..before].iter().rev();
        let mut since = at;
        for one in stalls {
            if one.to + AFTER <= since {
                break;
            }
            since = one.from;
        }
        since
    }

    /// How long of a stretch Brownout stood still.
    pub fn within(&self, window: Window) -> Duration {
        let parts = self.0.iter().map(|one| {
            let part = Window::new(one.from.max(window.from), one.to.min(window.to));
            part.length()
        });
        parts.sum()
    }

    /// The fewest and the most of these moments, which are in order, that may lie within one stretch of
    /// this length.
    pub fn peak(&self, moments: &[Micros], length: Duration) -> (usize, usize) {
        let soonest: Vec<Micros> = moments.iter().map(|at| self.since(*at)).collect();
        let most_of = |from: &[Micros], until: &[Micros]| {
            let counts = from.iter().enumerate().map(|(index, from)| {
                until
                    .partition_point(|until| *until < *from + length)
                    .saturating_sub(index)
            });
            counts.max().unwrap_or(0)
        };
        // As late as may be they are one more only where they are sure to be inside.
        (most_of(&soonest, moments), most_of(moments, &soonest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::Story;
    use proptest::prelude::*;

    fn at(millis: u64) -> Micros {
        Micros::from_millis(millis)
    }

    fn stalls(all: &[(u64, u64)]) -> Stalls {
        let mut story = Story::new();
        for (from, to) in all {
            story = story.stalled(*from, *to);
        }
        Stalls::of(&story.history())
    }

    #[test]
    fn what_is_noted_at_the_end_of_a_stall_may_have_happened_from_its_beginning_on() {
        let stalls = stalls(&[(2_000, 2_500), (1_000, 1_200), (2_550, 2_700)]);
        for (noted, soonest) in [
            (999, 999),
            (1_000, 1_000),
            (1_100, 1_000),
            (1_299, 1_000),
            (1_300, 1_300),
            (2_500, 2_000),
            (2_520, 2_000),
            (2_700, 2_000),
            (2_800, 2_800),
        ] {
            assert_eq!(stalls.since(at(noted)), at(soonest), "{noted}");
        }
        let within = |from, to| stalls.within(Window::new(at(from), at(to)));
        assert_eq!(within(0, 5_000), Duration::from_millis(850));
        assert_eq!(within(2_400, 2_600), Duration::from_millis(150));
        assert_eq!(within(1_200, 2_000), Duration::ZERO);
    }

    #[test]
    fn of_what_a_stall_piled_up_only_what_is_sure_to_be_together_is_so() {
        let stalls = stalls(&[(1_000, 1_600)]);
        let second = Duration::from_secs(1);
        let peaks = |millis: &[u64]| {
            let moments: Vec<Micros> = millis.iter().copied().map(at).collect();
            [&stalls, &Stalls::default()].map(|stalls| stalls.peak(&moments, second))
        };
        // With those before it, or with those behind it.
        assert_eq!(peaks(&[600, 900, 1_650, 1_650, 1_660]), [(4, 5), (4, 4)]);
        assert_eq!(peaks(&[1_600, 2_100, 2_200, 2_300]), [(3, 4), (4, 4)]);
        assert_eq!(peaks(&[]), [(0, 0); 2]);
    }

    proptest! {
        #[test]
        fn without_a_stall_the_fewest_and_the_most_are_the_peak(
            mut millis in prop::collection::vec(0u64..5_000, 0..60),
        ) {
            millis.sort_unstable();
            let moments: Vec<Micros> = millis.into_iter().map(at).collect();
            let second = Duration::from_secs(1);
            let of = |from: Micros| {
                let within = Window::new(from, from + second);
                moments.iter().filter(|at| within.contains(**at)).count()
            };
            let most = moments.iter().map(|from| of(*from)).max().unwrap_or(0);
            prop_assert_eq!(Stalls::default().peak(&moments, second), (most, most));
            let (fewest, most_of_all) = stalls(&[(1_000, 1_400), (3_000, 3_600)]).peak(&moments, second);
            prop_assert!(fewest <= most && most <= most_of_all);
        }
    }
}
