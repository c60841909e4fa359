//! Memory that all connections share: for what a latency holds, for statements whose answers are due,
//! and for what peers of HTTP/2 may send ahead.
//!
//! Each direction of a connection may hold a few mebibytes by itself. A latency that never
//! throttles holds as many bytes as arrive while it lasts: 100 MB for a stream of 1 GB/s and 100 ms.
//! What that is beyond a direction's own share comes from here, and when nothing is left here
//! nothing more is read (backpressure): the memory of the whole process stays bounded.
//!
//! Of that nobody may have more than twice what is left to others. One alone has two thirds of all at
//! most, of two each has two fifths, of many each as much as any other; and whoever comes when others
//! hold a great deal finds something all the same, and the more the more of that has flown off.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What all connections of the process may hold beside their own shares, in bytes.
const RESERVE: usize = 256 * 1024 * 1024;

/// What is taken at once, in bytes.
const STEP: usize = 1024 * 1024;

/// So many times what is left to others one direction may have.
const SHARE: usize = 2;

static SHARED: Reserve = Reserve {
    left: AtomicUsize::new(RESERVE),
    share: Some(SHARE),
};

/// What the statements of all connections may take whose answers are due, beside the connections' own
/// shares, in bytes.
const STATEMENTS: usize = 64 * 1024 * 1024;

static OF_STATEMENTS: Reserve = Reserve {
    left: AtomicUsize::new(STATEMENTS),
    share: None,
};

/// What the windows of all connections of HTTP/2 in the process may be together, beyond the narrowest,
/// in bytes.
const WINDOWS: usize = 1024 * 1024 * 1024;

/// What part of what is left a window may be.
const WINDOW_PART: usize = 16;

static OF_WINDOWS: Reserve = Reserve {
    left: AtomicUsize::new(WINDOWS),
    share: None,
};

/// Bytes of which some are taken.
#[derive(Debug)]
struct Reserve {
    left: AtomicUsize,
    /// So many times what is left to others one may have, where that is bounded.
    share: Option<usize>,
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

    /// Nothing yet, of what statements share whose answers are due.
    pub(super) fn of_statements() -> Self {
        Self {
            of: &OF_STATEMENTS,
            bytes: 0,
        }
    }

    /// Whether so many bytes may be held, of which `own` are nobody else's; takes a step more for
    /// that, if there is one, and gives back what is not wanted.
    pub(super) fn holds(&mut self, bytes: usize, own: usize) -> bool {
        let shared = bytes.saturating_sub(own);
        if shared > self.bytes {
            self.grow();
        } else {
            self.shrink(shared);
        }
        shared <= self.bytes
    }

    /// Bytes that may be held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a step more, if there is one and others are left enough.
    pub(super) fn grow(&mut self) {
        let Reserve { left, share } = self.of;
        let wanted = self.bytes + STEP;
        let less = |left: usize| {
            let rest = left.checked_sub(STEP)?;
            let is_fair = share.is_none_or(|share| wanted <= rest.saturating_mul(share));
            is_fair.then_some(rest)
        };
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

/// The window of a connection of HTTP/2: what its peer may send beyond what was taken from it. What is
/// more than the narrowest is given back by drop.
#[derive(Debug)]
pub(super) struct Window {
    of: &'static Reserve,
    bytes: u32,
    reserved: usize,
}

impl Window {
    /// As wide as is wanted, or as there is room for, and never less than the narrowest.
    pub(super) fn new(wanted: u32, narrowest: u32) -> Self {
        Self::of(&OF_WINDOWS, wanted, narrowest)
    }

    fn of(of: &'static Reserve, wanted: u32, narrowest: u32) -> Self {
        let mut reserved = 0;
        let less = |left: usize| {
            let more = wanted.saturating_sub(narrowest) as usize;
            reserved = more.min(left / WINDOW_PART);
            Some(left - reserved)
        };
        // It always takes something, if only nothing.
        let _ = of
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Self {
            of,
            bytes: narrowest.saturating_add(u32::try_from(reserved).unwrap_or(0)),
            reserved,
        }
    }

    /// How wide it is, in bytes.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.reserved, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(steps: usize) -> &'static Reserve {
        let left = AtomicUsize::new(steps * STEP);
        let share = None;
        Box::leak(Box::new(Reserve { left, share }))
    }

    fn shared_out(steps: usize) -> &'static Reserve {
        let left = AtomicUsize::new(steps * STEP);
        let share = Some(SHARE);
        Box::leak(Box::new(Reserve { left, share }))
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
    fn everybody_has_a_share_of_its_own_and_what_is_there_besides_is_for_all() {
        let of = reserve(2);
        let own = STEP / 2;
        let mut first = Reserved { of, bytes: 0 };
        let mut second = Reserved { of, bytes: 0 };
        assert!(first.holds(own, own) && second.holds(own, own));
        assert_eq!(left(of), 2);
        assert!(first.holds(own + STEP, own) && first.holds(own + STEP + 1, own));
        assert!(!first.holds(own + 2 * STEP + 1, own));
        assert!(!second.holds(own + 1, own), "the other one has it all");
        assert!(second.holds(own, own), "its own share stays");
        assert!(first.holds(own, own));
        assert!(second.holds(own + 1, own));
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

    /// Each wants as much as it gets.
    fn greedy(of: &'static Reserve, count: usize) -> Vec<Reserved> {
        let mut all: Vec<Reserved> = (0..count).map(|_| Reserved { of, bytes: 0 }).collect();
        for _ in 0..of.left.load(Ordering::Relaxed) / STEP {
            all.iter_mut().for_each(Reserved::grow);
        }
        all
    }

    #[test]
    fn however_many_share_it_most_of_it_is_used_and_all_given_back() {
        for count in [1, 2, 3, 10, 300] {
            let of = shared_out(100);
            let all = greedy(of, count);
            let taken: usize = all.iter().map(Reserved::bytes).sum();
            assert_eq!(taken / STEP + left(of), 100, "{count}");
            assert!(taken / STEP >= 60, "{count}: {taken}");
            drop(all);
            assert_eq!(left(of), 100);
        }
    }

    #[test]
    fn who_wants_all_leaves_something_to_others() {
        let of = shared_out(100);
        let mut first = greedy(of, 1);
        assert_eq!((first[0].bytes() / STEP, left(of)), (66, 34));
        // One that comes later has a share at once, though nothing was given back.
        let second = greedy(of, 1);
        let bytes = second[0].bytes() / STEP;
        assert!((20..=24).contains(&bytes), "{bytes}");
        // What the first held flows off, and it gets no more of it back than is its share.
        first[0].shrink(0);
        let mut both: Vec<Reserved> = first.into_iter().chain(second).collect();
        for _ in 0..100 {
            both.iter_mut().for_each(Reserved::grow);
        }
        let each: Vec<usize> = both.iter().map(|one| one.bytes() / STEP).collect();
        assert!(
            each.iter().all(|bytes| (30..=50).contains(bytes)),
            "{each:?}"
        );
        let many = greedy(shared_out(1_000), 10);
        let each: Vec<usize> = many.iter().map(|one| one.bytes() / STEP).collect();
        assert!(
            each.iter().all(|bytes| (93..=97).contains(bytes)),
            "{each:?}"
        );
    }

    #[test]
    fn windows_are_wide_for_some_and_bounded_for_ten_thousand() {
        const WIDE: u32 = 256 * 65_535;
        let of = reserve(1_024);
        let windows: Vec<Window> = (0..10_000).map(|_| Window::of(of, WIDE, 65_535)).collect();
        let wide = windows.iter().take_while(|one| one.bytes() == WIDE);
        assert!(wide.count() >= 40);
        assert!(windows.iter().all(|one| one.bytes() >= 65_535));
        let all: usize = windows.iter().map(|one| one.bytes() as usize).sum();
        assert!(all <= 1_024 * STEP + 10_000 * 65_535, "{all}");
        drop(windows);
        assert_eq!(left(of), 1_024);
        assert_eq!(Window::of(of, WIDE, 65_535).bytes(), WIDE);
    }
}
