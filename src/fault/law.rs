//! The laws a delay can be drawn from.

use rand::Rng;
use rand_distr::{Distribution, LogNormal, Normal, Pareto};
use std::{sync::Arc, time::Duration};

/// The longest delay a draw can give.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(3600);

/// A law of delays.
#[derive(Debug, Clone, PartialEq)]
pub enum Law {
    /// Always this long.
    Constant(Duration),
    /// Evenly from the first to the second.
    Uniform(Duration, Duration),
    /// Exponential with this mean: what a memoryless service takes.
    Exponential(Duration),
    /// Mean and standard deviation, cut at zero.
    Normal(Duration, Duration),
    /// Median and σ of the logarithm.
    LogNormal(Duration, f64),
    /// Scale (the least delay) and shape α.
    Pareto(Duration, f64),
    /// One of these at random, as measured.
    Recorded(Arc<[Duration]>),
}

impl Law {
    /// The longest delay that its parameters name.
    pub(super) fn longest(&self) -> Duration {
        match self {
            Self::Constant(longest)
            | Self::Exponential(longest)
            | Self::Uniform(_, longest)
            | Self::Normal(longest, _)
            | Self::LogNormal(longest, _)
            | Self::Pareto(longest, _) => *longest,
            Self::Recorded(delays) => delays.iter().max().copied().unwrap_or_default(),
        }
    }

    /// Draws one delay, never negative and never above an hour.
    pub fn draw(&self, random: &mut impl Rng) -> Duration {
        let unit = |random: &mut dyn FnMut() -> u64| (random() >> 11) as f64 / (1u64 << 53) as f64;
        let seconds = match self {
            Self::Constant(delay) => return (*delay).min(DELAY_MAX),
            Self::Uniform(low, high) => {
                let at = unit(&mut || random.next_u64());
                low.as_secs_f64() + at * (high.as_secs_f64() - low.as_secs_f64())
            }
            Self::Exponential(mean) => {
                -mean.as_secs_f64() * (1.0 - unit(&mut || random.next_u64())).ln()
            }
            Self::Normal(mean, deviation) => {
                Normal::new(mean.as_secs_f64(), deviation.as_secs_f64())
                    .map_or(mean.as_secs_f64(), |law| law.sample(random))
            }
            Self::LogNormal(median, sigma) => LogNormal::new(median.as_secs_f64().ln(), *sigma)
                .map_or(median.as_secs_f64(), |law| law.sample(random)),
            Self::Pareto(scale, shape) => Pareto::new(scale.as_secs_f64(), *shape)
                .map_or(scale.as_secs_f64(), |law| law.sample(random)),
            Self::Recorded(delays) => {
                let at = unit(&mut || random.next_u64()) * delays.len() as f64;
                let delay = delays.get(at as usize).copied().unwrap_or_default();
                return delay.min(DELAY_MAX);
            }
        };
        Duration::try_from_secs_f64(seconds.max(0.0))
            .map_or(DELAY_MAX, |delay| delay.min(DELAY_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// The quantile of 20,000 draws, in milliseconds.
    fn quantile(law: &Law, at: f64) -> f64 {
        let mut random = Seed(1).stream(&["law"]);
        let mut draws: Vec<Duration> = (0..20_000).map(|_| law.draw(&mut random)).collect();
        draws.sort();
        draws[(at * (draws.len() - 1) as f64) as usize].as_secs_f64() * 1e3
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn each_law_has_its_known_quantiles() {
        for (law, at, expected) in [
            (Law::Constant(ms(80)), 0.99, 80.0),
            (Law::Uniform(ms(10), ms(50)), 0.0, 10.0),
            (Law::Uniform(ms(10), ms(50)), 0.75, 40.0),
            (Law::Exponential(ms(80)), 0.5, 80.0 * 2.0_f64.ln()),
            (Law::Exponential(ms(80)), 0.98, 80.0 * 50.0_f64.ln()),
            (Law::Normal(ms(80), ms(5)), 0.5, 80.0),
            (Law::Normal(ms(80), ms(5)), 0.8413, 85.0),
            (Law::LogNormal(ms(80), 0.6), 0.5, 80.0),
            (Law::LogNormal(ms(80), 0.6), 0.8413, 80.0 * 0.6_f64.exp()),
            (Law::Pareto(ms(20), 2.0), 0.0, 20.0),
            (Law::Pareto(ms(20), 2.0), 0.96, 100.0),
            (Law::Recorded([ms(1), ms(9)].into()), 0.25, 1.0),
            (Law::Recorded([ms(1), ms(9)].into()), 0.75, 9.0),
        ] {
            let seen = quantile(&law, at);
            assert!(
                (seen / expected - 1.0).abs() < 0.03,
                "{law:?} at {at}: {seen}"
            );
        }
    }

    #[test]
    fn no_draw_is_negative_or_longer_than_an_hour() {
        assert!(quantile(&Law::Normal(ms(1), ms(1000)), 0.0) >= 0.0);
        let hour = DELAY_MAX.as_secs_f64() * 1e3;
        assert!(quantile(&Law::Pareto(ms(1000), 0.05), 1.0) <= hour);
        assert!(quantile(&Law::Uniform(DELAY_MAX * 3, DELAY_MAX * 4), 0.0) <= hour);
        let mut random = Seed(1).stream(&["law"]);
        assert_eq!(Law::Constant(DELAY_MAX * 2).draw(&mut random), DELAY_MAX);
        assert_eq!(Law::Recorded([].into()).draw(&mut random), Duration::ZERO);
    }
}
