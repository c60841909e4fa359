//! `noop`: nothing happens.

use super::{Front, HOLD_BYTES, Kind, Step, Toxic};
use crate::control::toxiproxy::attributes::Attributes;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "noop",
    fields: &[],
    holds: HOLD_BYTES,
    begin: |_| Box::new(Noop),
};

struct Noop;

impl Toxic for Noop {
    fn change(&mut self, _attributes: &Attributes, _now: Instant) {}

    fn step(&mut self, _front: Front, arrived: Instant, _now: Instant) -> Step {
        Step::Pass(arrived)
    }
}
