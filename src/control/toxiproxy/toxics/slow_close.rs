//! `slow_close`: the end of the stream arrives later; its bytes do not.

use super::{Beginning, Front, HOLD_BYTES, Kind, Step, Toxic, milliseconds};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "slow_close",
    fields: &[Field::integer("delay")],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(SlowClose::new(&beginning)),
};

struct SlowClose {
    delay: Duration,
}

impl SlowClose {
    fn new(beginning: &Beginning<'_>) -> Self {
        let mut new = Self {
            delay: Duration::ZERO,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }
}

impl Toxic for SlowClose {
    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        self.delay = milliseconds(attributes.integer("delay"));
    }

    fn step(&mut self, front: Front, arrived: Instant, now: Instant) -> Step {
        let release = match front {
            Front::Bytes(_) => arrived,
            Front::End => arrived + self.delay,
        };
        if release > now {
            return Step::Stay(Some(release));
        }
        Step::Pass(release)
    }
}
