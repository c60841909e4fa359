//! Memory that all connections share for what a latency holds.
//!
//! Each direction of a connection may hold a few mebibytes by itself. A latency that never
//! throttles holds as many bytes as arrive while it lasts: 100 MB for a stream of 1 GB/s and 100 ms.
//! What that is beyond a direction's own share comes from here, and when nothing is left here
//! nothing more is read (backpressure): the memory of the whole process stays bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all connections of the process may hold beside their own shares, in bytes.
const RESERVE: usize = 256 * 1024 * 1024;

/// What is taken at once, in bytes.
const STEP: usize = 1024 * 1024;

static SHARED: Reserve = Reserve {
    left: AtomicUsize::new(RESERVE),
};

/// Bytes of which some are taken.
#[derive(Debug)]
struct Reserve {
    left: AtomicUsize,
}

/// What one direction has taken, which is given back by drop.
#[derive(Debug)]
pub(super) struct Reserved {
    of: &'static Reserve,
    bytes: usize,
}

impl Reserved {
    /// Nothing yet, of what all connections share.
    pub(super) fn none() -> Self {
        Self {
            of: &SHARED,
            bytes: 0,
        }
    }

    /// Bytes that may be held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a step more, if there is one.
    pub(super) fn grow(&mut self) {
        let left = &self.of.left;
        let less = |left: usize| left.checked_sub(STEP);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
        {
            self.bytes += STEP;
        }
    }

    /// Gives back what is not wanted for so many bytes, but for a step, which may soon be wanted
    /// again.
    pub(super) fn shrink(&mut self, wanted: usize) {
        let kept = match wanted {
            0 => 0,
            wanted => wanted.next_multiple_of(STEP).saturating_add(STEP),
        };
        if self.bytes > kept {
            let spare = self.bytes - kept;
            self.of.left.fetch_add(spare, Ordering::Relaxed);
            self.bytes = kept;
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(steps: usize) -> &'static Reserve {
        let left = AtomicUsize::new(steps * STEP);
        Box::leak(Box::new(Reserve { left }))
    }

    fn left(of: &Reserve) -> usize {
        of.left.load(Ordering::Relaxed) / STEP
    }

    #[test]
    fn no_more_is_taken_than_there_is_and_all_of_it_is_given_back() {
        let of = reserve(3);
        let mut first = Reserved { of, bytes: 0 };
        let mut second = Reserved { of, bytes: 0 };
        (0..2).for_each(|_| first.grow());
        (0..2).for_each(|_| second.grow());
        assert_eq!((first.bytes(), second.bytes()), (2 * STEP, STEP));
        assert_eq!(left(of), 0);
        drop(first);
        second.grow();
        assert_eq!((second.bytes(), left(of)), (2 * STEP, 1));
        drop(second);
        assert_eq!(left(of), 3);
    }

    #[test]
    fn what_is_not_wanted_is_given_back_but_for_a_step() {
        let of = reserve(8);
        let mut reserved = Reserved { of, bytes: 0 };
        (0..8).for_each(|_| reserved.grow());
        reserved.shrink(2 * STEP + 1);
        assert_eq!((reserved.bytes(), left(of)), (4 * STEP, 4));
        reserved.shrink(7 * STEP);
        assert_eq!(reserved.bytes(), 4 * STEP, "it does not grow by that");
        reserved.shrink(0);
        assert_eq!((reserved.bytes(), left(of)), (0, 8));
    }
}
