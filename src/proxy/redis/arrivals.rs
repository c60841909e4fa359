//! When commands came that were read ahead of their turn: each may have come in a piece of its own
//! while one before it was held.

use crate::proxy::connection::Arrival;
use std::collections::VecDeque;

/// Pieces that are told apart. What comes in more counts as come with the last of them, so that
/// nothing seems to have waited longer than it has.
const PIECES_MAX: usize = 1_024;

/// When the bytes came that were read and not used, by their places among all of the connection's.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// When the first of them came.
    first: Arrival,
    /// Where later pieces begin, and when they came.
    later: VecDeque<(u64, Arrival)>,
}

impl Arrivals {
    /// All that is there came so.
    pub(super) fn new(first: Arrival) -> Self {
        Self {
            first,
            later: VecDeque::new(),
        }
    }

    /// A piece came that begins at this place, behind bytes that are `unused` as yet, or none.
    pub(super) fn note(&mut self, from: u64, unused: bool, arrival: Arrival) {
        if !unused {
            *self = Self::new(arrival);
        } else if self.later.len() < PIECES_MAX {
            self.later.push_back((from, arrival));
        } else if let Some((_, last)) = self.later.back_mut() {
            *last = last.with_later(arrival);
        }
    }

    /// When the byte at this place came; those before it are used.
    pub(super) fn of(&mut self, place: u64) -> Arrival {
        while self.later.front().is_some_and(|(from, _)| *from <= place) {
            if let Some((_, arrival)) = self.later.pop_front() {
                self.first = arrival;
            }
            if self.later.is_empty() {
                // Idle connections keep no memory for it.
                self.later = VecDeque::new();
            }
        }
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Micros;

    fn at(micros: u64) -> Arrival {
        Micros(micros).into()
    }

    #[test]
    fn each_byte_came_with_its_piece() {
        let mut arrivals = Arrivals::new(at(1));
        arrivals.note(10, true, at(2));
        arrivals.note(20, true, at(3));
        arrivals.note(21, true, at(4));
        let came: Vec<Micros> = [0, 9, 10, 19, 21, 50]
            .map(|place| arrivals.of(place).at)
            .to_vec();
        assert_eq!(came, [1, 1, 2, 2, 4, 4].map(Micros));
        arrivals.note(60, false, at(5));
        assert_eq!(arrivals.of(60).at, Micros(5));
    }

    #[test]
    fn however_many_pieces_come_no_more_are_kept_and_none_came_too_early() {
        let mut arrivals = Arrivals::new(at(0));
        for nth in 1..=5_000 {
            arrivals.note(nth, true, at(nth));
        }
        assert_eq!(arrivals.later.len(), PIECES_MAX);
        for nth in 1..=5_000 {
            assert!(arrivals.of(nth).read >= Micros(nth));
        }
        assert_eq!(arrivals.later.capacity(), 0);
    }
}
