//! `packet_loss`: chunks are lost, each by chance; after a lost one the next is lost with a chance
//! that is greater by `correlation`. Nothing sends them again: it is not the network that is
//! played, but a stream with holes.

use super::{Beginning, Front, HOLD_BYTES, Kind, Step, Toxic};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "packet_loss",
    fields: &[
        Field::number("loss_rate", 0.1),
        Field::number("correlation", 0.0),
    ],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(PacketLoss::new(beginning)),
};

struct PacketLoss {
    rate: f64,
    correlation: f64,
    random: ChaCha8Rng,
    lost_last: bool,
}

impl PacketLoss {
    fn new(beginning: Beginning<'_>) -> Self {
        let mut new = Self {
            rate: 0.0,
            correlation: 0.0,
            random: beginning.random,
            lost_last: false,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }
}

impl Toxic for PacketLoss {
    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        self.rate = attributes.number("loss_rate").clamp(0.0, 1.0);
        self.correlation = attributes.number("correlation").clamp(0.0, 1.0);
    }

    fn step(&mut self, front: Front, arrived: Instant, _now: Instant) -> Step {
        if front == Front::End {
            return Step::Pass(arrived);
        }
        let more = if self.lost_last {
            self.correlation
        } else {
            0.0
        };
        self.lost_last = self.random.random::<f64>() < self.rate + more;
        if self.lost_last {
            Step::Drop
        } else {
            Step::Pass(arrived)
        }
    }
}
