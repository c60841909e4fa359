//! Exact intervals of a share of which a few samples are known (Clopper and Pearson, Biometrika 26,
//! 1934): the shares under which what was seen would not be too unlikely.

use serde::{Deserialize, Serialize};

/// How often an interval may miss the share that it is about.
pub const LEVEL: f64 = 0.05;

/// How often a bound is halved in on: more than a double has digits.
const STEPS: usize = 60;

/// A share and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interval {
    /// The least that it may be, from 0 to 1.
    pub low: f64,
    /// The most that it may be, from 0 to 1.
    pub high: f64,
    /// Which of the two were found at 95 %.
    pub sides: Sides,
}

/// Which ends of an interval say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Sides {
    /// The upper alone, at 95 %: nothing was hit.
    Upper,
    /// The lower alone, at 95 %: everything was.
    Lower,
    /// Both together at 95 %.
    Both,
}

/// The bounds of a share of which so many of all samples were hits: one-sided where it was none or
/// all, because nothing lies beyond, else two-sided; both at 95 %. `None` without samples.
pub fn bounds(hits: u64, all: u64) -> Option<Interval> {
    if all == 0 {
        return None;
    }
    let (tail, sides) = match hits {
        0 => (LEVEL, Sides::Upper),
        hits if hits >= all => (LEVEL, Sides::Lower),
        _ => (LEVEL / 2.0, Sides::Both),
    };
    let (low, high) = clopper_pearson(hits.min(all), all, tail);
    Some(Interval { low, high, sides })
}

/// The least and the greatest share under which so many hits or more, and so many or fewer, are at
/// least as likely as `tail`. Everything is possible of no samples.
pub fn clopper_pearson(hits: u64, all: u64, tail: f64) -> (f64, f64) {
    let low = if hits == 0 {
        0.0
    } else {
        // So many hits or more become likelier with the share.
        halved(|share| 1.0 - at_most(hits - 1, all, share) < tail)
    };
    let high = if hits >= all {
        1.0
    } else {
        halved(|share| at_most(hits, all, share) > tail)
    };
    (low, high)
}

/// Where a condition that holds below it ceases to hold.
fn halved(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// How likely so many hits or fewer are, of so many samples with this share.
fn at_most(hits: u64, all: u64, share: f64) -> f64 {
    if hits >= all || share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return 0.0;
    }
    // In logarithms: 0.9^1000 still is a number, 0.5^2000 is none.
    let odds = share.ln() - (-share).ln_1p();
    let mut logarithm = all as f64 * (-share).ln_1p();
    let mut sum = logarithm.exp();
    for number in 1..=hits {
        logarithm += ((all - number + 1) as f64 / number as f64).ln() + odds;
        sum += logarithm.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The binomial distribution as it is written in a textbook.
    fn chance(hits: u64, all: u64, share: f64) -> f64 {
        let ways = (1..=hits).fold(1.0, |ways, nth| {
            ways * (all - hits + nth) as f64 / nth as f64
        });
        let power = |base: f64, times: u64| base.powi(i32::try_from(times).unwrap());
        ways * power(share, hits) * power(1.0 - share, all - hits)
    }

    #[test]
    fn no_failure_in_so_many_runs_bounds_the_share_as_the_tables_say() {
        for (runs, percent) in [
            (1, 95.0),
            (3, 63.2),
            (5, 45.1),
            (10, 25.9),
            (15, 18.1),
            (20, 13.9),
            (30, 9.5),
            (59, 5.0),
            (100, 3.0),
        ] {
            let found = bounds(0, runs).unwrap();
            assert_eq!((found.low, found.sides), (0.0, Sides::Upper));
            let high = found.high * 100.0;
            assert!((high - percent).abs() < 0.06, "{runs}: {high}");
            // What is always hit is the mirror image.
            let mirror = bounds(runs, runs).unwrap();
            assert!((mirror.low + found.high - 1.0).abs() < 1e-9);
            assert_eq!((mirror.high, mirror.sides), (1.0, Sides::Lower));
        }
        assert_eq!(bounds(0, 0), None);
    }

    #[test]
    fn two_sided_bounds_are_those_of_the_textbooks() {
        // Newcombe 1998, method 5: 81 of 263 and 15 of 148.
        for ((hits, all), (low, high)) in [
            ((81, 263), (0.2527, 0.3676)),
            ((15, 148), (0.0578, 0.1617)),
            ((1, 29), (0.0009, 0.1776)),
        ] {
            let found = bounds(hits, all).unwrap();
            assert_eq!(found.sides, Sides::Both);
            assert!(
                (found.low - low).abs() < 1e-4 && (found.high - high).abs() < 1e-4,
                "{hits} of {all}: {found:?}"
            );
        }
    }

    #[test]
    fn whatever_the_share_the_interval_misses_it_in_at_most_one_of_twenty() {
        for all in [1, 2, 5, 12, 40] {
            for percent in 1..100 {
                let share = f64::from(percent) / 100.0;
                let missed: f64 = (0..=all)
                    .filter(|hits| {
                        let (low, high) = clopper_pearson(*hits, all, LEVEL / 2.0);
                        share < low || share > high
                    })
                    .map(|hits| chance(hits, all, share))
                    .sum();
                assert!(missed <= LEVEL + 1e-9, "{all} {share}: {missed}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_bound_is_where_what_was_seen_becomes_too_unlikely(
            all in 1u64..80, part in 0.0f64..1.0, tail in 0.005f64..0.2,
        ) {
            let hits = (part * (all + 1) as f64) as u64;
            let (low, high) = clopper_pearson(hits, all, tail);
            prop_assert!((0.0..=1.0).contains(&low) && low < high && high <= 1.0);
            let share = hits as f64 / all as f64;
            prop_assert!(low <= share && share <= high);
            if hits > 0 {
                let more: f64 = (hits..=all).map(|hits| chance(hits, all, low)).sum();
                prop_assert!((more - tail).abs() < 1e-6, "{more} {tail}");
            }
            if hits < all {
                let fewer: f64 = (0..=hits).map(|hits| chance(hits, all, high)).sum();
                prop_assert!((fewer - tail).abs() < 1e-6, "{fewer} {tail}");
            }
        }

        #[test]
        fn more_samples_narrow_it(all in 1u64..200) {
            let (_, few) = clopper_pearson(0, all, LEVEL);
            let (_, more) = clopper_pearson(0, all + 1, LEVEL);
            prop_assert!(more < few);
        }
    }

    #[test]
    fn many_samples_do_not_run_out_of_numbers() {
        let (low, high) = clopper_pearson(2_500, 5_000, LEVEL / 2.0);
        assert!((0.486..0.4865).contains(&low), "{low}");
        assert!((0.5135..0.514).contains(&high), "{high}");
    }
}
