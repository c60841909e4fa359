//! How far a median of few samples may be off.

use super::claim::Finding;
use std::time::Duration;

/// How sure an interval is to be made, where the samples allow it.
const CONFIDENCE: f64 = 0.95;

/// Beyond so many samples the binomial distribution is taken for the normal one.
const EXACT_MAX: usize = 500;

/// An interval that holds the true median, whatever the distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// The median of the samples, the lower of two.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How probable it is that the true median lies between.
    pub confidence: f64,
}

/// The median of samples with the narrowest pair of order statistics around it that holds the
/// true one with 95 %: the k-th smallest and the k-th greatest hold it with probability
/// 1 − 2·P(Binomial(n, ½) < k) (David and Nagaraja, Order Statistics, 7.1). Fewer than six samples
/// cannot give 95 %; their smallest and greatest give 1 − 2^(1−n), which is then what is stated.
pub fn median(samples: &[f64]) -> Option<Median> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let value = *sorted.get(count.checked_sub(1)? / 2)?;
    if count > EXACT_MAX {
        // The binomial is as good as normal: 1.96 standard deviations of √n / 2.
        let k = ((count as f64 - 1.96 * (count as f64).sqrt()) / 2.0) as usize;
        return Some(Median {
            value,
            low: sorted[k.max(1) - 1],
            high: sorted[count - k.max(1)],
            confidence: CONFIDENCE,
        });
    }
    let (mut below, mut term) = (0.0, 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX)));
    let mut chosen = (1, 1.0 - 2.0 * term);
    for k in 1..=count.div_ceil(2) {
        below += term;
        let confidence = 1.0 - 2.0 * below;
        if k > 1 && confidence < CONFIDENCE {
            break;
        }
        chosen = (k, confidence);
        term *= (count - k + 1) as f64 / k as f64;
    }
    let (k, confidence) = chosen;
    Some(Median {
        value,
        low: sorted[k - 1],
        high: sorted[count - k],
        confidence: confidence.max(0.0),
    })
}

impl Median {
    /// As a time; the samples are seconds.
    pub fn time(self) -> Finding {
        let micros = |seconds: f64| {
            let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        };
        Finding::Time {
            value_us: micros(self.value),
            low_us: micros(self.low),
            high_us: micros(self.high),
            confidence: (self.confidence * 1e4).round() / 1e4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn few_samples_give_their_ends_and_say_how_sure_that_is() {
        let found = median(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((found.low, found.value, found.high), (1.0, 2.0, 3.0));
        assert_eq!(found.confidence, 0.75);
        assert_eq!(median(&[]), None);
        // The textbook's example: of ten, the second and the ninth hold it with 97.9 %.
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = median(&ten).unwrap();
        assert_eq!((found.low, found.high), (2.0, 9.0));
        assert!((found.confidence - 0.9785).abs() < 1e-3);
    }

    #[test]
    fn the_true_median_lies_outside_in_fewer_than_one_of_twenty() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        for count in [6, 20, 75, 600] {
            let outside = (0..1_000)
                .filter(|_| {
                    let samples: Vec<f64> = (0..count).map(|_| uniform()).collect();
                    let found = median(&samples).unwrap();
                    found.low > 0.5 || found.high < 0.5
                })
                .count();
            assert!(outside < 65, "{outside} of 1000 with {count}");
        }
    }
}
