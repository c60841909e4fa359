//! The laws a delay can be drawn from.

use rand::Rng;
use rand_distr::{Distribution, LogNormal, Normal, Pareto};
use std::{sync::Arc, time::Duration};

/// The longest delay a draw can give.
const DELAY_MAX: Duration = Duration::from_secs(3600);

/// A law of delays.
#[derive(Debug, Clone, PartialEq)]
pub enum Law {
    /// Always this long.
    Constant(Duration),
    /// Evenly from the first to the second.
    Uniform(Duration, Duration),
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
    /// Draws one delay, never negative and never above an hour.
    pub fn draw(&self, random: &mut impl Rng) -> Duration {
        let unit = |random: &mut dyn FnMut() -> u64| (random() >> 11) as f64 / (1u64 << 53) as f64;
        let seconds = match self {
            Self::Constant(delay) => return *delay,
            Self::Uniform(low, high) => {
                let at = unit(&mut || random.next_u64());
                low.as_secs_f64() + at * (high.as_secs_f64() - low.as_secs_f64())
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
                return delays.get(at as usize).copied().unwrap_or_default();
            }
        };
        Duration::try_from_secs_f64(seconds.max(0.0))
            .map_or(DELAY_MAX, |delay| delay.min(DELAY_MAX))
    }
}
