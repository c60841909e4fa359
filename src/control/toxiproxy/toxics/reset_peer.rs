//! `reset_peer`: so long after the first that is sent, both sides get a reset.

use super::{Beginning, Ending, Front, HOLD_BYTES, Kind, Step, Toxic, milliseconds};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "reset_peer",
    fields: &[Field::integer("timeout")],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(ResetPeer::new(&beginning)),
};

struct ResetPeer {
    after: Duration,
}

impl ResetPeer {
    fn new(beginning: &Beginning<'_>) -> Self {
        let mut new = Self {
            after: Duration::ZERO,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }
}

impl Toxic for ResetPeer {
    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        self.after = milliseconds(attributes.integer("timeout"));
    }

    fn step(&mut self, _front: Front, arrived: Instant, now: Instant) -> Step {
        // The first stays at the front until then, so its arrival is the beginning.
        match arrived + self.after {
            fires if fires > now => Step::Stay(Some(fires)),
            _ => Step::End(Ending::Reset),
        }
    }
}
