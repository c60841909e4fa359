//! When repeats are enough: Wald's sequential probability ratio test (Annals of Mathematical
//! Statistics 16, 1945). After each repeat the chance of all that was seen under "it fails often" is
//! held against that under "it hardly ever fails"; the test ends once one of them is so much the
//! likelier that the chance of a wrong answer is as small as asked.

use serde::{Deserialize, Serialize};

/// The two cases that a test tells apart, and how often it may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sprt {
    /// A system of which so large a share of runs fails is called reliable.
    pub good: f64,
    /// One of which so large a share fails is called unreliable.
    pub bad: f64,
    /// How often a system as good as `good` may be called unreliable.
    pub alpha: f64,
    /// How often a system as bad as `bad` may be called reliable.
    pub beta: f64,
}

/// What a test decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It hardly ever fails.
    Reliable,
    /// It fails often.
    Unreliable,
}

impl Sprt {
    /// The test of a series of runs: one in fifty against one in five, each called the other in at
    /// most about one of twenty. Fifteen passes in a row end it, or two failures among the first ten
    /// runs.
    pub const RUNS: Self = Self {
        good: 0.02,
        bad: 0.2,
        alpha: 0.05,
        beta: 0.05,
    };

    /// What so many passes and failures decide, if they decide anything.
    fn decided(self, passes: u64, failures: u64) -> Option<Decision> {
        let failure = (self.bad / self.good).ln();
        let pass = ((1.0 - self.bad) / (1.0 - self.good)).ln();
        let evidence = failures as f64 * failure + passes as f64 * pass;
        if evidence >= ((1.0 - self.beta) / self.alpha).ln() {
            Some(Decision::Unreliable)
        } else if evidence <= (self.beta / (1.0 - self.alpha)).ln() {
            Some(Decision::Reliable)
        } else {
            None
        }
    }
}

/// A test that goes on. Once decided it stays so, whatever comes after: its promises are those of
/// its first decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequential {
    test: Sprt,
    passes: u64,
    failures: u64,
    decided: Option<(Decision, u64)>,
}

impl Sequential {
    /// Nothing was seen yet.
    pub const fn new(test: Sprt) -> Self {
        Self {
            test,
            passes: 0,
            failures: 0,
            decided: None,
        }
    }

    /// Takes one more run into account.
    pub fn observe(&mut self, failed: bool) {
        if failed {
            self.failures += 1;
        } else {
            self.passes += 1;
        }
        if self.decided.is_none() {
            let decided = self.test.decided(self.passes, self.failures);
            self.decided = decided.map(|decision| (decision, self.passes + self.failures));
        }
    }

    /// The decision, and after how many runs it was made.
    pub const fn decided(&self) -> Option<(Decision, u64)> {
        self.decided
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interval, Sides, bounds};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn after(outcomes: &[bool]) -> Option<(Decision, u64)> {
        let mut test = Sequential::new(Sprt::RUNS);
        outcomes.iter().for_each(|failed| test.observe(*failed));
        test.decided()
    }

    #[test]
    fn fifteen_passes_or_two_early_failures_decide() {
        assert_eq!(after(&[false; 14]), None);
        assert_eq!(after(&[false; 15]), Some((Decision::Reliable, 15)));
        assert_eq!(after(&[true]), None);
        assert_eq!(after(&[true, true]), Some((Decision::Unreliable, 2)));
        let mut late = [false; 10];
        (late[0], late[9]) = (true, true);
        assert_eq!(after(&late), Some((Decision::Unreliable, 10)));
        let mut later = [false; 11];
        (later[0], later[10]) = (true, true);
        assert_eq!(after(&later), None);
    }

    #[test]
    fn what_is_decided_stays_decided() {
        let mut outcomes = vec![false; 15];
        outcomes.extend([true; 9]);
        assert_eq!(after(&outcomes), Some((Decision::Reliable, 15)));
    }

    /// Where series of at most so many runs end: passes, failures and what was decided, each with
    /// how likely it is, for a system of which this share of runs fails. Exact: every way is
    /// followed.
    fn endings(share: f64, most: u64) -> Vec<((u64, u64), Option<Decision>, f64)> {
        let mut endings = Vec::new();
        // How likely it is that the test still goes on after so many runs, by failures.
        let mut going_on = vec![1.0];
        for runs in 1..=most {
            let mut next = vec![0.0; going_on.len() + 1];
            for (failures, chance) in going_on.iter().enumerate() {
                next[failures] += chance * (1.0 - share);
                next[failures + 1] += chance * share;
            }
            for (failures, chance) in next.iter_mut().enumerate() {
                let failures = failures as u64;
                let seen = (runs - failures, failures);
                let decided = Sprt::RUNS.decided(seen.0, seen.1);
                if decided.is_some() || runs == most {
                    endings.push((seen, decided, std::mem::take(chance)));
                }
            }
            going_on = next;
        }
        endings
    }

    #[test]
    fn it_is_wrong_as_rarely_as_it_promises() {
        let wrong = |share: f64, decision: Decision| -> f64 {
            let endings = endings(share, 400);
            let all: f64 = endings.iter().map(|(_, _, chance)| chance).sum();
            assert!((all - 1.0).abs() < 1e-9, "every way was followed: {all}");
            let wrong = endings
                .iter()
                .filter(|(_, decided, _)| *decided == Some(decision));
            wrong.map(|(_, _, chance)| chance).sum()
        };
        let (alpha, beta) = (
            wrong(0.02, Decision::Unreliable),
            wrong(0.2, Decision::Reliable),
        );
        assert!(alpha <= 0.05 && beta <= 0.05, "{alpha} {beta}");
        // A coin is found out nearly always, and at once.
        let coin = endings(0.5, 20);
        let found: f64 = coin
            .iter()
            .filter(|(_, decided, _)| *decided == Some(Decision::Unreliable))
            .map(|(_, _, chance)| chance)
            .sum();
        let runs: f64 = coin
            .iter()
            .map(|((passes, failures), _, chance)| chance * (passes + failures) as f64)
            .sum();
        assert!(found > 0.99 && runs < 4.5, "{found} {runs}");
    }

    /// The bounds of every ending, each found once.
    #[derive(Default)]
    struct Bounds(HashMap<(u64, u64), Interval>);

    impl Bounds {
        fn of(&mut self, (passes, failures): (u64, u64)) -> Interval {
            let found = self.0.entry((passes, failures));
            *found.or_insert_with(|| bounds(failures, passes + failures).unwrap())
        }
    }

    /// The bounds are made for a number of runs that is fixed beforehand; what stopping early costs
    /// is known exactly, and is what the documentation says.
    #[test]
    fn where_a_series_stops_early_each_bound_still_errs_in_at_most_one_of_fourteen() {
        let mut bounds = Bounds::default();
        for most in [3, 10, 20, 50] {
            for percent in 1..100 {
                let share = f64::from(percent) / 100.0;
                let (mut below, mut above) = (0.0, 0.0);
                for (seen, _, chance) in endings(share, most) {
                    let found = bounds.of(seen);
                    below += if share < found.low { chance } else { 0.0 };
                    above += if share > found.high { chance } else { 0.0 };
                }
                assert!(
                    below < 1.0 / 14.0 && above < 1.0 / 14.0,
                    "{most} {share}: {below} {above}"
                );
            }
        }
    }

    #[test]
    fn a_series_without_a_failure_is_bounded_as_if_it_had_been_fixed() {
        // It can only have been stopped by its fifteenth pass, so that nothing was chosen.
        let mut bounds = Bounds::default();
        for percent in 1..100 {
            let share = f64::from(percent) / 100.0;
            let wrong: f64 = endings(share, 50)
                .into_iter()
                .filter(|((_, failures), _, _)| *failures == 0)
                .filter(|(seen, _, _)| {
                    let found = bounds.of(*seen);
                    assert_eq!(found.sides, Sides::Upper);
                    share > found.high
                })
                .map(|(_, _, chance)| chance)
                .sum();
            assert!(wrong <= 0.05 + 1e-9, "{share}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn only_the_outcomes_until_then_decide(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let whole = after(&outcomes);
            if let Some((decision, runs)) = whole {
                let until = usize::try_from(runs).unwrap();
                prop_assert_eq!(after(&outcomes[..until]), Some((decision, runs)));
                prop_assert_eq!(after(&outcomes[..until - 1]), None);
            }
        }
    }
}
