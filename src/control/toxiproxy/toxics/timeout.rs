//! `timeout`: nothing gets through, and so long after the last that was sent the connection is
//! closed; with 0 it never is, until the toxic is removed, which closes it.

use super::{Beginning, Ending, Front, HOLD_BYTES, Kind, Step, Toxic, milliseconds};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "timeout",
    fields: &[Field::integer("timeout")],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(Timeout::new(&beginning)),
};

struct Timeout {
    after: Duration,
    /// When the last chunk came.
    last: Instant,
}

impl Timeout {
    fn new(beginning: &Beginning<'_>) -> Self {
        let mut new = Self {
            after: Duration::ZERO,
            last: beginning.now,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }
}

impl Toxic for Timeout {
    fn change(&mut self, attributes: &Attributes, now: Instant) {
        self.after = milliseconds(attributes.integer("timeout"));
        self.last = now;
    }

    fn step(&mut self, front: Front, arrived: Instant, _now: Instant) -> Step {
        match front {
            Front::Bytes(_) => {
                self.last = self.last.max(arrived);
                Step::Drop
            }
            Front::End => Step::End(Ending::Close),
        }
    }

    fn ends_at(&self) -> Option<(Instant, Ending)> {
        (!self.after.is_zero()).then(|| (self.last + self.after, Ending::Close))
    }

    fn removed(&self) -> Option<Ending> {
        Some(Ending::Close)
    }
}
