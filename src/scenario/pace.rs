//! How a load's rate changes over a run. Pure.

/// Factors of a load's rate, each from a moment on. Before the first of them the rate is the load's
/// own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pace {
    /// Seconds from the start, rising, and the factor from then on, above zero.
    steps: Vec<(f64, f64)>,
}

impl Pace {
    /// From so many seconds after the start on, this factor of the load's own rate. Moments must
    /// rise; a factor that is not above zero changes nothing.
    #[must_use]
    pub fn from(mut self, seconds: f64, factor: f64) -> Self {
        if factor > 0.0 {
            self.steps.push((seconds, factor));
        }
        self
    }

    /// Seconds from the start to the moment by which as much was offered as the load's own rate
    /// offers in `even` seconds.
    pub fn moment(&self, even: f64) -> f64 {
        let (mut at, mut factor, mut left) = (0.0, 1.0, even);
        for (from, next) in &self.steps {
            let offered = (from - at) * factor;
            if left <= offered {
                break;
            }
            left -= offered;
            (at, factor) = (*from, *next);
        }
        at + left / factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_at_its_own_rate_is_as_it_is_spaced() {
        assert_eq!(Pace::default().moment(12.5), 12.5);
        assert_eq!(Pace::default().from(10.0, 0.0).moment(12.5), 12.5);
    }

    #[test]
    fn between_two_moments_the_rate_is_the_factor() {
        let pace = Pace::default().from(10.0, 10.0).from(12.0, 1.0);
        let moments = [9.0, 10.0, 11.0, 20.0, 30.0, 31.0].map(|even| pace.moment(even));
        assert_eq!(moments, [9.0, 10.0, 10.1, 11.0, 12.0, 13.0]);
    }

    #[test]
    fn a_load_may_be_less_than_its_own() {
        let pace = Pace::default().from(1.0, 0.5);
        assert_eq!(
            [1.0, 2.0, 3.0].map(|even| pace.moment(even)),
            [1.0, 3.0, 5.0]
        );
    }
}
