//! When operations begin, and with which values. Pure: no clock, no sockets, no waiting.

use crate::{
    scenario::{Arrivals, Load, Pace, Var},
    seed::Seed,
    units::Micros,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use std::{fmt::Write as _, sync::Arc};

/// One operation as it is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its number within the load, from 1.
    pub nth: u64,
    /// When it should begin.
    pub intended: Micros,
    /// The values of the load's variables, ordered by name.
    pub vars: Vec<(Arc<str>, String)>,
    /// The value of `{uuid}`: a version 4 UUID.
    pub uuid: String,
}

impl Planned {
    /// The value of a placeholder: a variable, `uuid` or `nth`.
    pub fn value(&self, name: &str) -> Option<String> {
        match self.vars.iter().find(|(known, _)| **known == *name) {
            Some((_, value)) => Some(value.clone()),
            None if name == "uuid" => Some(self.uuid.clone()),
            None if name == "nth" => Some(self.nth.to_string()),
            None => None,
        }
    }
}

/// The operations of a load, in order and without end.
///
/// Arrivals, each variable and the UUIDs have streams of their own, named by the load: adding a
/// variable moves neither the times nor another variable's values, and an operation that was not
/// sent moves nothing at all.
#[derive(Debug)]
pub struct Schedule {
    from: Micros,
    per_second: f64,
    pace: Pace,
    arrivals: Option<ChaCha8Rng>,
    /// Seconds from the start to the next operation of a Poisson process, at the load's own rate.
    next_after: f64,
    nth: u64,
    vars: Vec<(Arc<str>, Draw)>,
    uuids: ChaCha8Rng,
}

impl Schedule {
    /// The schedule of a load that begins at `from`. Constant arrivals begin there, those of a
    /// Poisson process one drawn gap later.
    pub fn new(load: &Load, seed: Seed, from: Micros) -> Self {
        let name: &str = &load.name;
        let poisson = load.arrivals == Arrivals::Poisson;
        let vars = load.vars.iter().map(|(var, kind)| {
            let stream = seed.stream(&["load", name, "var", var]);
            (var.as_str().into(), Draw::new(kind, stream))
        });
        Self {
            from,
            per_second: load.rate.as_per_second(),
            pace: Pace::default(),
            arrivals: poisson.then(|| seed.stream(&["load", name, "arrivals"])),
            next_after: 0.0,
            nth: 0,
            vars: vars.collect(),
            uuids: seed.stream(&["load", name, "uuid"]),
        }
    }

    /// The same operations, nearer to each other or further apart as the pace says.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    fn next_intended(&mut self) -> Micros {
        let even = match &mut self.arrivals {
            // From the count and not from the last, so that rounding never adds up.
            None => (self.nth - 1) as f64 / self.per_second,
            Some(stream) => {
                self.next_after += -(1.0 - fraction(stream)).ln() / self.per_second;
                self.next_after
            }
        };
        let seconds = self.pace.moment(even);
        Micros(self.from.0.saturating_add((seconds * 1e6).round() as u64))
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        self.nth += 1;
        let nth = self.nth;
        let intended = self.next_intended();
        let draws = self.vars.iter_mut();
        Some(Planned {
            nth,
            intended,
            vars: draws
                .map(|(name, draw)| (Arc::clone(name), draw.value(nth)))
                .collect(),
            uuid: uuid(&mut self.uuids),
        })
    }
}

/// Where the values of one variable come from.
#[derive(Debug)]
enum Draw {
    Zipf(Zipf<f64>, ChaCha8Rng),
    OneOf(Vec<String>, ChaCha8Rng),
    Sequence(u64),
}

impl Draw {
    fn new(var: &Var, stream: ChaCha8Rng) -> Self {
        match var {
            Var::Zipf { exponent, of } => {
                let law = Zipf::new((*of).max(1) as f64, exponent.max(0.0));
                match law {
                    Ok(law) => Self::Zipf(law, stream),
                    // Only an exponent that is no number is left, and no file can hold one.
                    Err(_) => Self::Sequence(*of),
                }
            }
            Var::OneOf(texts) => Self::OneOf(texts.clone(), stream),
            Var::Sequence { of } => Self::Sequence(*of),
        }
    }

    fn value(&mut self, nth: u64) -> String {
        match self {
            Self::Zipf(law, stream) => (law.sample(stream) as u64).to_string(),
            Self::OneOf(texts, stream) => {
                let at = (fraction(stream) * texts.len() as f64) as usize;
                texts.get(at).cloned().unwrap_or_default()
            }
            Self::Sequence(of) => ((nth - 1) % (*of).max(1) + 1).to_string(),
        }
    }
}

/// A number in [0, 1).
fn fraction(stream: &mut ChaCha8Rng) -> f64 {
    (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A random UUID, version 4 of RFC 9562, section 5.4.
fn uuid(stream: &mut ChaCha8Rng) -> String {
    let mut bytes = [0; 16];
    stream.fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::request::tests::load;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn times(schedule: Schedule, count: usize) -> Vec<u64> {
        schedule.take(count).map(|op| op.intended.0).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_never_drift() {
        let schedule = Schedule::new(&load("3/s"), Seed(1), Micros::from_secs(10));
        assert_eq!(
            times(schedule, 4),
            [10_000_000, 10_333_333, 10_666_667, 11_000_000]
        );
        let schedule = Schedule::new(&load("3/s"), Seed(1), Micros(0));
        assert_eq!(times(schedule, 300_001)[300_000], 100_000_000_000);
    }

    #[test]
    fn a_seed_gives_the_same_poisson_times_in_every_version() {
        let mut load = load("40/s");
        load.arrivals = Arrivals::Poisson;
        let schedule = Schedule::new(&load, Seed(7), Micros(0));
        assert_eq!(times(schedule, 5), POISSON_OF_SEED_7);
    }

    #[test]
    fn a_pace_moves_operations_and_changes_nothing_else_about_them() {
        let even = || Schedule::new(&load("1/s"), Seed(1), Micros(0));
        let pace = Pace::default().from(2.0, 10.0).from(3.0, 1.0);
        let paced: Vec<Planned> = even().paced(pace).take(15).collect();
        let moments: Vec<u64> = paced.iter().map(|op| op.intended.0 / 100_000).collect();
        let expected = [0, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 40, 50];
        assert_eq!(moments, expected);
        assert!(even().zip(paced).all(|(one, other)| one.uuid == other.uuid));
    }

    /// Computed by another program from the definitions of ChaCha8, FNV-1a and the exponential law.
    const POISSON_OF_SEED_7: [u64; 5] = [19_943, 64_067, 76_250, 77_596, 100_253];

    #[test]
    fn a_poisson_process_keeps_its_rate_and_its_spread() {
        let mut load = load("200/s");
        load.arrivals = Arrivals::Poisson;
        let times = times(Schedule::new(&load, Seed(3), Micros(0)), 20_001);
        let gaps: Vec<f64> = times
            .windows(2)
            .map(|two| (two[1] - two[0]) as f64)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((4_850.0..5_150.0).contains(&mean), "{mean} us between two");
        // An exponential law's deviation is its mean.
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        let deviation = (square / gaps.len() as f64).sqrt();
        assert!((0.95..1.05).contains(&(deviation / mean)), "{deviation}");
    }

    #[test]
    fn operations_carry_their_number_and_the_values_of_their_variables() {
        let mut load = load("10/s");
        load.vars = BTreeMap::from([
            ("bot".to_owned(), Var::Sequence { of: 2 }),
            ("word".to_owned(), Var::OneOf(vec!["a".to_owned()])),
        ]);
        let planned: Vec<Planned> = Schedule::new(&load, Seed(1), Micros(0)).take(3).collect();
        let seen: Vec<_> = planned
            .iter()
            .map(|op| ["nth", "bot", "word", "x"].map(|name| op.value(name)))
            .collect();
        let row =
            |nth: &str, bot: &str| [Some(nth.into()), Some(bot.into()), Some("a".into()), None];
        assert_eq!(seen, [row("1", "1"), row("2", "2"), row("3", "1")]);
    }

    #[test]
    fn the_same_seed_plans_the_same_and_another_does_not() {
        let mut load = load("10/s");
        load.arrivals = Arrivals::Poisson;
        load.vars = BTreeMap::from([(
            "bot".to_owned(),
            Var::Zipf {
                exponent: 1.1,
                of: 200,
            },
        )]);
        let plan = |seed| -> Vec<Planned> {
            Schedule::new(&load, Seed(seed), Micros(5))
                .take(100)
                .collect()
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn another_variable_moves_neither_times_nor_values() {
        let mut load = load("10/s");
        load.arrivals = Arrivals::Poisson;
        let zipf = Var::Zipf {
            exponent: 1.0,
            of: 50,
        };
        load.vars = BTreeMap::from([("bot".to_owned(), zipf.clone())]);
        let before: Vec<Planned> = Schedule::new(&load, Seed(1), Micros(0)).take(50).collect();
        load.vars.insert("a".to_owned(), zipf);
        let after: Vec<Planned> = Schedule::new(&load, Seed(1), Micros(0)).take(50).collect();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.intended, after.intended);
            assert_eq!(before.uuid, after.uuid);
            assert_eq!(before.value("bot"), after.value("bot"));
        }
        assert!(after.iter().any(|op| op.value("a") != op.value("bot")));
    }

    /// How often each of the numbers up to `of` was drawn.
    fn frequencies(exponent: f64, of: usize, draws: usize) -> Vec<f64> {
        let mut load = load("10/s");
        let var = Var::Zipf {
            exponent,
            of: of as u64,
        };
        load.vars = BTreeMap::from([("k".to_owned(), var)]);
        let mut counts = vec![0.0; of];
        for op in Schedule::new(&load, Seed(11), Micros(0)).take(draws) {
            let number: usize = op.value("k").unwrap().parse().unwrap();
            counts[number - 1] += 1.0;
        }
        counts
    }

    #[test]
    fn zipf_numbers_are_as_frequent_as_the_law_says() {
        let draws = 40_000;
        for exponent in [0.0, 0.8, 1.0, 1.1, 2.0] {
            let of = 20;
            let weights: Vec<f64> = (1..=of).map(|k| (k as f64).powf(-exponent)).collect();
            let sum: f64 = weights.iter().sum();
            for (count, weight) in frequencies(exponent, of, draws).iter().zip(&weights) {
                let wanted = draws as f64 * weight / sum;
                // Five standard deviations of a binomial count.
                let slack = 5.0 * wanted.sqrt();
                assert!(
                    (count - wanted).abs() < slack,
                    "{exponent}: {count} of {wanted}"
                );
            }
        }
    }

    #[test]
    fn one_of_several_is_drawn_evenly() {
        let mut load = load("10/s");
        let texts = ["x", "y", "z"].map(str::to_owned).to_vec();
        load.vars = BTreeMap::from([("k".to_owned(), Var::OneOf(texts.clone()))]);
        let planned: Vec<Planned> = Schedule::new(&load, Seed(1), Micros(0))
            .take(9_000)
            .collect();
        for text in texts {
            let count = planned
                .iter()
                .filter(|op| op.value("k") == Some(text.clone()))
                .count();
            assert!((2_700..3_300).contains(&count), "{text}: {count}");
        }
    }

    #[test]
    fn a_uuid_is_of_version_four_and_never_the_same_twice() {
        let planned: Vec<Planned> = Schedule::new(&load("1/s"), Seed(1), Micros(0))
            .take(1_000)
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for op in planned {
            let groups: Vec<usize> = op.uuid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{}", op.uuid);
            assert_eq!(&op.uuid[14..15], "4");
            assert!("89ab".contains(&op.uuid[19..20]), "{}", op.uuid);
            assert!(seen.insert(op.uuid));
        }
    }

    proptest! {
        #[test]
        fn no_schedule_ever_goes_back(
            seed: u64, per_second in 0.001f64..1e6, from in 0u64..1 << 40, poisson: bool
        ) {
            let mut load = load("1/s");
            load.rate = crate::units::Rate::per_second(per_second).unwrap();
            load.arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let times = times(Schedule::new(&load, Seed(seed), Micros(from)), 200);
            prop_assert!(times[0] >= from);
            prop_assert!(times.is_sorted());
        }
    }
}
