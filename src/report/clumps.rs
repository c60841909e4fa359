//! How much what happens in a run clumps: operations of the same second share their fate, so that
//! a thousand of them may say no more than a hundred that have nothing to do with each other.
//!
//! The *clumping* of a share or a rate is its variance from second to second over the variance
//! that chance alone would give it (the design effect of a cluster sample, the index of dispersion
//! of a count). It is at least 1. Longer blocks than a second are looked at too, as long as there
//! are [`BLOCKS_MIN`] of them, and the greatest counts.

use crate::{history::Window, units::Micros};
use std::time::Duration;

/// The shortest block.
const BLOCK: Duration = Duration::from_secs(1);

/// The fewest blocks that longer ones are made of.
const BLOCKS_MIN: usize = 10;

/// The most blocks: of a longer phase they are longer than a second.
const BLOCKS_MAX: u64 = 4_096;

/// A window cut into blocks, each with its hits and its samples.
#[derive(Debug, Clone)]
pub struct Blocks {
    from: Micros,
    length_us: u64,
    counts: Vec<(u64, u64)>,
}

impl Blocks {
    /// A window without samples; its last block may be shorter.
    pub fn of(window: Window) -> Self {
        let whole = Micros::from(window.length()).0;
        let length_us = Micros::from(BLOCK).0.max(whole.div_ceil(BLOCKS_MAX));
        let count = usize::try_from(whole.div_ceil(length_us)).unwrap_or(0);
        Self {
            from: window.from,
            length_us,
            counts: vec![(0, 0); count.max(1)],
        }
    }

    /// Adds samples at a moment; those beyond the window count to its last block.
    pub fn add(&mut self, at: Micros, hits: u64, samples: u64) {
        let nth = Micros::from(at.since(self.from)).0 / self.length_us;
        let last = self.counts.len() - 1;
        let place = usize::try_from(nth).unwrap_or(last).min(last);
        let (hit, all) = &mut self.counts[place];
        *hit += hits;
        *all += samples;
    }

    /// The clumping of hits among samples.
    pub fn of_share(&self) -> f64 {
        self.greatest(|blocks| {
            let (hits, all) = sums(blocks);
            let share = hits / all;
            (variance_of_ratio(blocks), share * (1.0 - share) / all)
        })
    }

    /// The clumping of hits for each sample, where a sample may have any number of them.
    pub fn of_ratio(&self) -> f64 {
        self.greatest(|blocks| {
            let (hits, all) = sums(blocks);
            (variance_of_ratio(blocks), hits / all / all)
        })
    }

    /// The clumping of samples in time.
    pub fn of_rate(&self) -> f64 {
        self.greatest(|blocks| {
            let (_, all) = sums(blocks);
            let count = blocks.len() as f64;
            let mean = all / count;
            let squares = blocks.iter().map(|(_, all)| (*all as f64 - mean).powi(2));
            (squares.sum::<f64>() / (count - 1.0), mean)
        })
    }

    /// The greatest quotient of what is seen and what chance gives, over all lengths of blocks.
    fn greatest(&self, variances: impl Fn(&[(u64, u64)]) -> (f64, f64)) -> f64 {
        let mut blocks = self.counts.clone();
        let mut greatest = 1.0;
        loop {
            if blocks.len() > 1 {
                let (seen, by_chance) = variances(&blocks);
                if by_chance > 0.0 && seen.is_finite() {
                    greatest = f64::max(greatest, seen / by_chance);
                }
            }
            if blocks.len() < 2 * BLOCKS_MIN {
                // Digits beyond these would only make a report longer.
                return (greatest * 100.0).round() / 100.0;
            }
            let pairs = blocks.chunks(2);
            let joined = pairs.map(|pair| pair.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)));
            blocks = joined.collect();
        }
    }
}

fn sums(blocks: &[(u64, u64)]) -> (f64, f64) {
    let (hits, all) = blocks.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    (hits as f64, (all as f64).max(1.0))
}

/// The variance of the hits for each sample, judged by how the blocks differ.
fn variance_of_ratio(blocks: &[(u64, u64)]) -> f64 {
    let (hits, all) = sums(blocks);
    let ratio = hits / all;
    let residuals = blocks
        .iter()
        .map(|(hit, samples)| (*hit as f64 - ratio * *samples as f64).powi(2));
    let count = blocks.len() as f64;
    count / (count - 1.0) * residuals.sum::<f64>() / (all * all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn window(seconds: u64) -> Window {
        Window::new(Micros(0), Micros::from_secs(seconds))
    }

    fn blocks(seconds: u64, hits: impl Fn(u64) -> u64) -> Blocks {
        let mut blocks = Blocks::of(window(seconds));
        for second in 0..seconds {
            blocks.add(Micros::from_millis(second * 1_000 + 1), hits(second), 20);
        }
        blocks
    }

    #[test]
    fn what_fails_together_is_worth_about_one_sample_a_second() {
        let clumped = blocks(20, |second| if second < 3 { 20 } else { 0 }).of_share();
        // Of two seconds together twice as much.
        assert!((19.0..40.0).contains(&clumped), "{clumped}");
        assert_eq!(blocks(20, |_| 5).of_share(), 1.0, "evenly spread");
        assert_eq!(blocks(20, |_| 0).of_share(), 1.0);
        assert_eq!(blocks(20, |_| 20).of_share(), 1.0);
        assert_eq!(Blocks::of(window(0)).of_share(), 1.0);
    }

    #[test]
    fn independent_samples_hardly_clump() {
        let mut random = crate::seed::Seed(3).stream(&["clumps"]);
        let mut sum = 0.0;
        for _ in 0..200 {
            let mut blocks = Blocks::of(window(30));
            for nth in 0..600 {
                let hit = u64::from(random.random_bool(0.2));
                blocks.add(Micros::from_millis(nth * 50), hit, 1);
            }
            sum += blocks.of_share();
        }
        assert!(sum / 200.0 < 1.6, "{}", sum / 200.0);
    }

    #[test]
    fn bursts_make_a_rate_and_a_ratio_clump() {
        let mut bursts = Blocks::of(window(20));
        bursts.add(Micros::from_secs(4), 0, 400);
        assert!(bursts.of_rate() > 300.0);
        let mut even = Blocks::of(window(20));
        let mut retries = Blocks::of(window(20));
        for second in 0..20 {
            even.add(Micros::from_secs(second), 0, 20);
            retries.add(Micros::from_secs(second), 40 * u64::from(second == 7), 20);
        }
        assert_eq!(even.of_rate(), 1.0);
        assert!(retries.of_ratio() > 20.0);
    }

    #[test]
    fn a_long_phase_has_bounded_many_blocks() {
        let long = Blocks::of(window(86_400));
        assert!(long.counts.len() as u64 <= BLOCKS_MAX);
        let mut late = Blocks::of(window(2));
        late.add(Micros::from_secs(99), 1, 1);
        assert_eq!(late.counts[1], (1, 1));
    }
}
