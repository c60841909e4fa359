//! `bandwidth`: so many kilobytes (of 1,000 bytes) a second and no more. A rate of zero or less
//! lets nothing through until it is changed.

use super::{Beginning, Front, HOLD_BYTES, Kind, Step, Toxic};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "bandwidth",
    fields: &[Field::integer("rate")],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(Bandwidth::new(beginning)),
};

/// How much goes at once, as time in milliseconds.
const PIECE_MS: u64 = 100;

struct Bandwidth {
    /// Bytes a millisecond.
    rate: u64,
    /// When the last piece was through.
    free_at: Instant,
}

impl Bandwidth {
    fn new(beginning: Beginning<'_>) -> Self {
        let mut new = Self {
            rate: 0,
            free_at: beginning.now,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }

    /// How long this many bytes take.
    fn takes(&self, bytes: usize) -> Duration {
        Duration::from_nanos((bytes as u64).saturating_mul(1_000_000) / self.rate)
    }
}

impl Toxic for Bandwidth {
    fn change(&mut self, attributes: &Attributes, now: Instant) {
        self.rate = u64::try_from(attributes.integer("rate")).unwrap_or(0);
        self.free_at = now;
    }

    fn step(&mut self, front: Front, arrived: Instant, now: Instant) -> Step {
        let begins = arrived.max(self.free_at);
        let Front::Bytes(bytes) = front else {
            return Step::Pass(begins);
        };
        if self.rate == 0 {
            return Step::Stay(None);
        }
        let most = usize::try_from(self.rate.saturating_mul(PIECE_MS)).unwrap_or(usize::MAX);
        let piece = bytes.min(most);
        let through = begins + self.takes(piece);
        if through > now {
            return Step::Stay(Some(through));
        }
        self.free_at = through;
        if piece == bytes {
            Step::Pass(through)
        } else {
            Step::Piece(piece, through)
        }
    }
}
