//! `slicer`: chunks are cut into small ones, with a pause after each.

use super::{Beginning, Front, HOLD_BYTES, Kind, Step, Toxic, microseconds};
use crate::control::toxiproxy::attributes::{Attributes, Field};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KIND: Kind = Kind {
    name: "slicer",
    fields: &[
        Field::integer("average_size"),
        Field::integer("size_variation"),
        Field::integer("delay"),
    ],
    holds: HOLD_BYTES,
    begin: |beginning| Box::new(Slicer::new(beginning)),
};

struct Slicer {
    average: usize,
    variation: usize,
    delay: Duration,
    random: ChaCha8Rng,
    /// Pieces of the front that are still to be halved or to leave, the next one last.
    pieces: Vec<usize>,
    /// The pause after the last slice ends then.
    not_before: Instant,
}

impl Slicer {
    fn new(beginning: Beginning<'_>) -> Self {
        let mut new = Self {
            average: 1,
            variation: 0,
            delay: Duration::ZERO,
            random: beginning.random,
            pieces: Vec::new(),
            not_before: beginning.now,
        };
        new.change(beginning.attributes, beginning.now);
        new
    }

    /// The next slice of a front of this many bytes: it is halved, give or take the variation,
    /// until a piece is no more than the variation above the average.
    fn next(&mut self, bytes: usize) -> usize {
        // Where the attributes changed within a front, its rest is cut anew.
        if self.pieces.iter().sum::<usize>() != bytes {
            self.pieces = vec![bytes];
        }
        loop {
            let piece = self.pieces.pop().unwrap_or(bytes);
            if piece <= 1 || piece <= self.average.saturating_add(self.variation) {
                return piece;
            }
            let half = (piece / 2).saturating_add(match self.variation {
                0 => 0,
                most => self.random.random_range(0..most.saturating_mul(2)),
            });
            // Neither part may be empty, or this would never end.
            let first = half.saturating_sub(self.variation).clamp(1, piece - 1);
            self.pieces.extend([piece - first, first]);
        }
    }
}

impl Toxic for Slicer {
    fn change(&mut self, attributes: &Attributes, now: Instant) {
        let size = |name| usize::try_from(attributes.integer(name)).unwrap_or(0);
        self.average = size("average_size").max(1);
        self.variation = size("size_variation");
        self.delay = microseconds(attributes.integer("delay"));
        self.pieces.clear();
        self.not_before = now;
    }

    fn step(&mut self, front: Front, arrived: Instant, now: Instant) -> Step {
        let leaves = arrived.max(self.not_before);
        if leaves > now {
            return Step::Stay(Some(leaves));
        }
        let Front::Bytes(bytes) = front else {
            return Step::Pass(leaves);
        };
        let slice = self.next(bytes);
        self.not_before = leaves + self.delay;
        if slice == bytes {
            self.pieces.clear();
            return Step::Pass(leaves);
        }
        Step::Piece(slice, leaves)
    }
}
