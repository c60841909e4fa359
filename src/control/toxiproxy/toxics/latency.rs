//! `latency`: everything arrives later. Counted from a chunk's arrival, so it does not throttle.

use super::{Beginning, Front, Kind, Step, TIME_MAX, Toxic, milliseconds};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "latency",
    fields: &[Field::integer("latency"), Field::integer("jitter")],
    // What is on its way at 160 MB/s in 100 ms.
    holds: 16 * 1024 * 1024,
    begin: |beginning| Box::new(Latency::new(beginning)),
};

struct Latency {
    delay: i64,
    jitter: i64,
    random: ChaCha8Rng,
    /// When the front may leave, once that is drawn.
    release: Option<Instant>,
}

impl Latency {
    fn new(beginning: Beginning<'_>) -> Self {
        let mut new = Self {
            delay: 0,
            jitter: 0,
            random: beginning.random,
            release: None,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }

    fn draw(&mut self) -> Duration {
        let bound = self
            .jitter
            .clamp(0, i64::try_from(TIME_MAX.as_millis()).unwrap_or(i64::MAX));
        // In microseconds, so that small jitters are not coarse.
        let jitter = match bound.saturating_mul(1_000) {
            0 => 0,
            bound => self.random.random_range(-bound..bound),
        };
        let delay = milliseconds(self.delay);
        if jitter < 0 {
            delay.saturating_sub(Duration::from_micros(jitter.unsigned_abs()))
        } else {
            delay + Duration::from_micros(jitter.unsigned_abs())
        }
    }
}

impl Toxic for Latency {
    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        self.delay = attributes.integer("latency");
        self.jitter = attributes.integer("jitter");
        self.release = None;
    }

    fn step(&mut self, front: Front, arrived: Instant, now: Instant) -> Step {
        if front == Front::End {
            return Step::Pass(arrived);
        }
        let release = match self.release {
            Some(release) => release,
            None => arrived + self.draw(),
        };
        self.release = Some(release);
        if release > now {
            return Step::Stay(Some(release));
        }
        self.release = None;
        Step::Pass(release)
    }
}
