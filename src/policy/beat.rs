//! How evenly things come: peaks and the spread of the times between them.

use crate::{history::Window, units::Micros};
use std::time::Duration;

/// The greatest number of moments in any stretch of this length that begins at one of them, and
/// when it began. The moments must be sorted.
pub fn peak(moments: &[Micros], length: Duration) -> Option<(Micros, usize)> {
    let mut from = 0;
    let mut best: Option<(Micros, usize)> = None;
    for (index, at) in moments.iter().enumerate() {
        while moments[from] + length <= *at {
            from += 1;
        }
        let count = index + 1 - from;
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((moments[from], count));
        }
    }
    best
}

/// How many times more than there may be is more than a busy machine brings about: clients that wait in
/// vain ask again, and what waited comes all at once.
pub const BUSY_FACTOR: f64 = 2.0;

/// The stretch over which a busy machine piles up nothing that counts.
pub const STORM_OVER: Duration = Duration::from_secs(10);

/// Whether so many arrived for some seconds that no busy machine brings it about, where so many may in
/// one second. The moments are in order.
pub fn is_storm(moments: &[Micros], per_second: f64) -> bool {
    let most = peak(moments, STORM_OVER).map_or(0, |(_, most)| most);
    most as f64 > per_second * STORM_OVER.as_secs_f64() * BUSY_FACTOR
}

/// The times between neighbours.
pub fn gaps(moments: &[Micros]) -> Vec<Duration> {
    let pairs = moments.windows(2);
    pairs.map(|pair| pair[1].since(pair[0])).collect()
}

/// The coefficient of variation: the standard deviation of the times over their mean. 0 where they
/// are all alike, about 1 where they come at random; `None` of fewer than two, or where all are
/// zero.
pub fn variation(times: &[Duration]) -> Option<f64> {
    let count = times.len() as f64;
    let mean = times.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
    if times.len() < 2 || mean <= 0.0 {
        return None;
    }
    let squares = times.iter().map(|time| (time.as_secs_f64() - mean).powi(2));
    Some((squares.sum::<f64>() / (count - 1.0)).sqrt() / mean)
}

/// How uncertain the coefficient of variation of so many times is: its standard error by Sokal and
/// Rohlf's formula (Biometry), V / √(2n) · √(1 + 2V²).
pub fn variation_error(variation: f64, count: usize) -> f64 {
    variation / (2.0 * count as f64).sqrt() * (1.0 + 2.0 * variation * variation).sqrt()
}

/// The part of the mean time between neighbours within which one comes with the other.
const TOGETHER_PART: f64 = 0.25;

/// How probable it may be, at the most, that moments which are called waves came so by chance.
const CHANCE_MAX: f64 = 0.01;

/// Moments that come in waves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waves {
    /// How many of them come close behind another.
    pub close: usize,
    /// What is close.
    pub within: Duration,
    /// How probable so many are where each comes by itself.
    pub chance: f64,
}

/// Whether moments come in waves of three and more, as of clients that wait equally long for the
/// same thing. The moments must be sorted, and `densest` is the most of them in any stretch of
/// length `stretch`.
///
/// Where each comes by itself, at random and as often as in the densest stretch, the time to the
/// next is exponential (a Poisson process): with probability 1 − e^(−¼) = 22 % it is less than a
/// quarter of the mean. How many of the n − 1 times are so is then binomial. They are waves if more
/// than half of all moments come so close behind another – waves of two on average are no more
/// than half – and if as many would come by chance in one of a hundred runs at the most. Elsewhere
/// they come more rarely than in the densest stretch, and are close by chance the less.
pub fn waves(moments: &[Micros], densest: usize, stretch: Duration) -> Option<Waves> {
    let within = stretch.mul_f64(TOGETHER_PART / densest.max(1) as f64);
    let between = gaps(moments);
    let close = between.iter().filter(|gap| **gap < within).count();
    let chance = at_least(close, between.len(), 1.0 - (-TOGETHER_PART).exp());
    (close * 2 > moments.len() && chance <= CHANCE_MAX).then_some(Waves {
        close,
        within,
        chance,
    })
}

/// The probability of at least `least` successes in `tries`, each of which succeeds with this
/// probability, which is neither 0 nor 1.
pub fn at_least(least: usize, tries: usize, probability: f64) -> f64 {
    let (win, lose) = (probability.ln(), (1.0 - probability).ln());
    // The logarithm of the binomial coefficient, from one number to the next.
    let mut ways = 0.0;
    let mut sum = 0.0;
    for wins in 0..=tries {
        if wins > 0 {
            ways += ((tries - wins + 1) as f64 / wins as f64).ln();
        }
        if wins >= least {
            sum += (ways + wins as f64 * win + (tries - wins) as f64 * lose).exp();
        }
    }
    sum.min(1.0)
}

/// The most intervals that are open at one time within a window, and when that was first so. An
/// interval that ends in the moment in which another begins is not open beside it.
pub fn most_open(intervals: &[(Micros, Micros)], window: Window) -> Option<(Micros, usize)> {
    let mut changes: Vec<(Micros, i64)> = Vec::with_capacity(intervals.len() * 2);
    for (from, to) in intervals {
        if *from < window.to && *to > window.from {
            changes.push((*from.max(&window.from), 1));
            changes.push((*to, -1));
        }
    }
    changes.sort_unstable();
    let (mut open, mut best) = (0, None);
    for (at, change) in changes {
        open += change;
        let count = usize::try_from(open).unwrap_or(0);
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((at, count));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn moments(millis: &[u64]) -> Vec<Micros> {
        millis.iter().copied().map(Micros::from_millis).collect()
    }

    #[test]
    fn the_peak_is_the_fullest_stretch_wherever_it_begins() {
        let moments = moments(&[0, 900, 1_000, 1_100, 1_899, 2_500]);
        let found = peak(&moments, Duration::from_secs(1));
        assert_eq!(found, Some((Micros::from_millis(900), 4)));
        assert_eq!(peak(&[], Duration::from_secs(1)), None);
    }

    #[test]
    fn even_times_do_not_vary_and_bursts_do() {
        let even = gaps(&moments(&[0, 10, 20, 30]));
        assert_eq!(variation(&even), Some(0.0));
        let bursts = gaps(&moments(&[0, 0, 0, 100, 100, 100]));
        assert!(variation(&bursts).unwrap() > 1.5);
        assert_eq!(variation(&gaps(&moments(&[0, 0, 0]))), None);
    }

    #[test]
    fn of_many_times_the_variation_is_more_certain() {
        assert!((variation_error(0.5, 5) - 0.194).abs() < 0.001);
        assert!((variation_error(0.5, 500) - 0.0194).abs() < 0.0001);
    }

    #[test]
    fn the_chance_of_successes_is_binomial() {
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-9, "{one} {other}");
        near(at_least(0, 7, 0.3), 1.0);
        near(at_least(3, 3, 0.5), 0.125);
        near(at_least(2, 3, 0.5), 0.5);
        near(at_least(1, 2, 0.2), 0.36);
        near(at_least(4, 3, 0.5), 0.0);
        // Far beyond what a number can hold by itself.
        let half = at_least(50_000, 100_000, 0.5);
        assert!((half - 0.5).abs() < 0.01, "{half}");
    }

    /// The waves of moments in milliseconds.
    fn waves_of(millis: &[u64]) -> Option<Waves> {
        let moments = moments(millis);
        let second = Duration::from_secs(1);
        let (_, densest) = peak(&moments, second)?;
        waves(&moments, densest, second)
    }

    #[test]
    fn waves_are_told_from_beats_and_from_chance() {
        // Five waves of eight, each within 14 ms.
        let herd: Vec<u64> = (0..40).map(|nth| nth / 8 * 1_200 + nth % 8 * 2).collect();
        let found = waves_of(&herd).expect("waves");
        assert_eq!(found.close, 35);
        assert_eq!(found.within, Duration::from_micros(31_250));
        assert!(found.chance < 1e-15);
        // All at once.
        assert!(waves_of(&[5; 8]).is_some());
        assert!(waves_of(&[5; 5]).is_some());
        // Four may be so by chance in more than one of a hundred runs.
        assert_eq!(waves_of(&[5; 4]), None);
        let beat: Vec<u64> = (0..40).map(|nth| nth * 50).collect();
        assert_eq!(waves_of(&beat), None);
        // Two at a time.
        let pairs: Vec<u64> = (0..40).map(|nth| nth / 2 * 300 + nth % 2).collect();
        assert_eq!(waves_of(&pairs), None);
        assert_eq!(waves_of(&[]), None);
    }

    #[test]
    fn moments_at_random_are_waves_in_fewer_than_one_of_a_hundred_runs() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut next = |below: u64| random.next_u64() % below;
        for (count, over) in [(5, 2_000), (8, 3_000), (40, 5_000), (200, 5_000)] {
            let found = (0..1_000).filter(|_| {
                let mut millis: Vec<u64> = (0..count).map(|_| next(over)).collect();
                millis.sort_unstable();
                waves_of(&millis).is_some()
            });
            let found = found.count();
            assert!(found <= 10, "{found} of 1000 with {count}");
        }
    }

    #[test]
    fn intervals_that_meet_are_not_open_beside_each_other() {
        let at = Micros::from_millis;
        let open = [(at(0), at(10)), (at(10), at(20)), (at(15), at(30))];
        let all = Window::new(at(0), at(100));
        assert_eq!(most_open(&open, all), Some((at(15), 2)));
        assert_eq!(
            most_open(&open, Window::new(at(20), at(25))),
            Some((at(20), 1))
        );
    }
}
