//! Whether two samples differ by more than chance.
//!
//! The tests are exact and conditional: Fisher's for shares, the binomial one for rates. Samples
//! that share their second also share their fate, so that a thousand of them may be worth a
//! hundred; the counts are divided by how much they clump before they are tested. Many comparisons
//! find something by chance alone, so that the least likely one must be the less likely the more
//! there are (Holm): the chance that *any* of them is called a change where there is none stays
//! below the level.

use std::ops::RangeInclusive;

/// Hits among samples, as many as they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Those meant.
    pub hits: u64,
    /// All.
    pub all: u64,
}

impl Part {
    /// What a part is worth whose samples clump by this factor, at least 1.
    pub fn worth(hits: u64, all: u64, clumping: f64) -> Self {
        let clumping = clumping.max(1.0);
        let scaled = |count: u64| (count as f64 / clumping).round() as u64;
        let all = if all == 0 { 0 } else { scaled(all).max(1) };
        Self {
            hits: scaled(hits).min(all),
            all,
        }
    }

    /// The hits' share; 0 of nothing.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.all.max(1) as f64
    }
}

/// How likely a table as unlikely as this one is, if both parts are drawn from the same (Fisher's
/// exact test, two-sided).
pub fn fisher(one: Part, other: Part) -> f64 {
    let hits = one.hits + other.hits;
    let least = hits.saturating_sub(other.all);
    let most = hits.min(one.all);
    two_sided(least..=most, one.hits, |next| {
        // From `next − 1` to `next` hits in the first part.
        let before = next - 1;
        let up = (one.all - before) as f64 * (hits - before) as f64;
        let down = next as f64 * (other.all + next - hits) as f64;
        up.ln() - down.ln()
    })
}

/// The least that [`fisher`] could give with these sums: every hit in the smaller part, as far
/// as it goes.
pub fn fisher_least(one: Part, other: Part) -> f64 {
    let hits = one.hits + other.hits;
    let extreme = |first: u64| {
        let second = hits - first;
        fisher(
            Part { hits: first, ..one },
            Part {
                hits: second,
                ..other
            },
        )
    };
    extreme(hits.min(one.all)).min(extreme(hits.saturating_sub(other.all)))
}

/// How likely it is that this many of all events fall on the first side, or a number as unlikely,
/// if events fall on it with probability `share` (binomial test, two-sided).
pub fn binomial(events: u64, all: u64, share: f64) -> f64 {
    if all == 0 || share <= 0.0 || share >= 1.0 {
        return 1.0;
    }
    let odds = (share / (1.0 - share)).ln();
    two_sided(0..=all, events, |next| {
        ((all - next + 1) as f64 / next as f64).ln() + odds
    })
}

/// The probability of everything that is no more likely than `seen`. `step` is the logarithm of
/// how much more likely a number is than the one before it.
fn two_sided(range: RangeInclusive<u64>, seen: u64, step: impl Fn(u64) -> f64) -> f64 {
    let first = *range.start();
    let mut logarithm = 0.0;
    let weights: Vec<f64> = range
        .map(|number| {
            if number > first {
                logarithm += step(number);
            }
            logarithm
        })
        .collect();
    let greatest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let index = usize::try_from(seen - first).unwrap_or(usize::MAX);
    // Equally likely numbers must not fall on either side by rounding.
    let bound = weights.get(index).map_or(0.0, |seen| seen + 1e-7);
    let (mut tail, mut all) = (0.0, 0.0);
    for weight in weights {
        let likely = (weight - greatest).exp();
        all += likely;
        if weight <= bound {
            tail += likely;
        }
    }
    (tail / all).min(1.0)
}

/// Which of these chances are too small to be chance, at this level for all of them together
/// (Holm's step-down procedure).
pub fn holm(chances: &[f64], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|one, other| chances[*one].total_cmp(&chances[*other]));
    let mut rejected = vec![false; chances.len()];
    for (rank, index) in order.into_iter().enumerate() {
        if chances[index] > level / (chances.len() - rank) as f64 {
            break;
        }
        rejected[index] = true;
    }
    rejected
}

/// The normal quantile of a two-sided interval of 95 %.
const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's interval of 95 % for a share; everything is possible of nothing.
pub fn wilson(part: Part) -> (f64, f64) {
    if part.all == 0 {
        return (0.0, 1.0);
    }
    let (all, share, square) = (part.all as f64, part.share(), Z95 * Z95);
    let middle = share + square / (2.0 * all);
    let half = Z95 * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    let scale = 1.0 + square / all;
    let low = if part.hits == 0 {
        0.0
    } else {
        (middle - half) / scale
    };
    let high = if part.hits == part.all {
        1.0
    } else {
        (middle + half) / scale
    };
    (low.max(0.0), high.min(1.0))
}

/// The ranks, from 1, of the samples between which a quantile lies with at least 95 %: the number
/// of samples below it is binomial, whatever their distribution. `None` where there are too few
/// samples for an end.
pub fn quantile_ranks(all: u64, share: f64) -> (Option<u64>, Option<u64>) {
    const TAIL: f64 = 0.025;
    let mut logarithm = all as f64 * (1.0 - share).ln();
    let odds = (share / (1.0 - share)).ln();
    let mut below = 0.0;
    let (mut low, mut high) = (None, None);
    for number in 0..=all {
        if number > 0 {
            logarithm += ((all - number + 1) as f64 / number as f64).ln() + odds;
        }
        // The sample of rank `number + 1` lies above the quantile only if at most `number` lie
        // below.
        below += logarithm.exp();
        if below <= TAIL && number < all {
            low = Some(number + 1);
        }
        if below >= 1.0 - TAIL && high.is_none() && number < all {
            high = Some(number + 1);
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;

    fn part(hits: u64, all: u64) -> Part {
        Part { hits, all }
    }

    fn near(one: f64, other: f64) {
        assert!(
            (one - other).abs() <= 1e-6 * other.abs().max(1e-3),
            "{one} {other}"
        );
    }

    #[test]
    fn fishers_test_gives_the_values_of_the_textbooks() {
        // The lady tasting tea: all four, and three of four.
        near(fisher(part(4, 4), part(0, 4)), 2.0 / 70.0);
        near(fisher(part(3, 4), part(1, 4)), 34.0 / 70.0);
        // C(20, 10) tables, of which two are as extreme.
        near(fisher(part(0, 10), part(10, 10)), 2.0 / 184_756.0);
        near(fisher(part(0, 400), part(0, 400)), 1.0);
        near(fisher(part(0, 0), part(3, 9)), 1.0);
    }

    #[test]
    fn the_binomial_test_gives_the_values_of_the_textbooks() {
        near(binomial(0, 5, 0.5), 2.0 / 32.0);
        near(binomial(8, 10, 0.5), 112.0 / 1_024.0);
        // 235 sixes of 1000 throws or more, and as unlikely few.
        let many = binomial(235, 1_000, 1.0 / 6.0);
        assert!(many < 1e-7, "{many}");
        near(binomial(0, 0, 0.5), 1.0);
    }

    #[test]
    fn wilsons_interval_gives_the_values_of_the_textbooks() {
        // Newcombe 1998: 81 of 263 and 0 of 20.
        let (low, high) = wilson(part(81, 263));
        assert!(
            (low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4,
            "{low} {high}"
        );
        let (low, high) = wilson(part(0, 20));
        assert!(low == 0.0 && (high - 0.1611).abs() < 1e-4, "{high}");
        assert_eq!(wilson(part(0, 0)), (0.0, 1.0));
    }

    #[test]
    fn ranks_of_a_median_are_those_of_the_tables() {
        assert_eq!(quantile_ranks(20, 0.5), (Some(6), Some(15)));
        assert_eq!(quantile_ranks(100, 0.5), (Some(40), Some(61)));
        // Of five samples even all of them do not hold the median with 95 %.
        assert_eq!(quantile_ranks(5, 0.5), (None, None));
        // Above the greatest of 300 may lie p99.
        assert_eq!(quantile_ranks(300, 0.99).1, None);
        assert_eq!(quantile_ranks(0, 0.5), (None, None));
    }

    #[test]
    fn holm_asks_more_of_the_first_than_of_the_last() {
        let rejected = holm(&[0.04, 0.001, 0.02, 0.9], 0.05);
        assert_eq!(rejected, [false, true, false, false]);
        let rejected = holm(&[0.012, 0.016, 0.02, 0.05], 0.05);
        assert_eq!(rejected, [true, true, true, true]);
        assert!(holm(&[], 0.05).is_empty());
    }

    #[test]
    fn clumped_samples_are_worth_less() {
        assert_eq!(Part::worth(40, 400, 20.0), part(2, 20));
        assert_eq!(Part::worth(400, 400, 3.0), part(133, 133));
        assert_eq!(Part::worth(0, 3, 100.0), part(0, 1));
        assert_eq!(Part::worth(0, 0, 2.0), part(0, 0));
        assert_eq!(Part::worth(5, 10, 0.1), part(5, 10));
    }

    proptest! {
        #[test]
        fn fishers_test_is_a_probability_and_knows_no_order(
            one in (0u64..60).prop_flat_map(|all| (0..=all, Just(all))),
            other in (0u64..60).prop_flat_map(|all| (0..=all, Just(all))),
        ) {
            let (one, other) = (part(one.0, one.1), part(other.0, other.1));
            let chance = fisher(one, other);
            prop_assert!(chance > 0.0 && chance <= 1.0);
            prop_assert!((chance - fisher(other, one)).abs() < 1e-9);
            prop_assert!(fisher_least(one, other) <= chance + 1e-9);
        }
    }

    /// A generator whose numbers are the same on every machine.
    fn generator(seed: u64) -> impl rand::Rng {
        crate::seed::Seed(seed).stream(&["statistics"])
    }

    #[test]
    fn intervals_hold_what_they_say_as_often_as_they_say() {
        let mut random = generator(1);
        let (mut shares, mut quantiles) = (0, 0);
        const TIMES: usize = 2_000;
        for _ in 0..TIMES {
            let hits = (0..200).filter(|_| random.random_bool(0.07)).count() as u64;
            let (low, high) = wilson(part(hits, 200));
            shares += usize::from(low <= 0.07 && 0.07 <= high);
            let mut times: Vec<f64> = (0..200).map(|_| random.random::<f64>()).collect();
            times.sort_by(f64::total_cmp);
            let (low, high) = quantile_ranks(200, 0.9);
            let at = |rank: Option<u64>| times[rank.expect("enough samples") as usize - 1];
            quantiles += usize::from(at(low) <= 0.9 && 0.9 <= at(high));
        }
        // 95 %, with three standard errors of 2000 trials to spare.
        for held in [shares, quantiles] {
            assert!(
                (0.935..=0.985).contains(&(held as f64 / TIMES as f64)),
                "{held}"
            );
        }
    }

    #[test]
    fn what_is_alike_is_rarely_called_different() {
        let mut random = generator(2);
        const TIMES: usize = 400;
        let mut alarms = 0;
        for _ in 0..TIMES {
            let chances: Vec<f64> = (0..40)
                .map(|nth| {
                    let share = f64::from(nth) / 40.0;
                    let mut draw = || {
                        let hits = (0..120).filter(|_| random.random_bool(share)).count();
                        part(hits as u64, 120)
                    };
                    fisher(draw(), draw())
                })
                .collect();
            alarms += usize::from(holm(&chances, 0.05).contains(&true));
        }
        assert!(alarms * 20 <= TIMES, "{alarms} of {TIMES}");
    }
}
