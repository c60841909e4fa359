//! Work done side by side: what a report is made of is counted from the same history, part by part, and
//! no part needs another.
//!
//! Every part is a pure function, so nobody can tell how many threads there were. Where the machine has no
//! further thread for us the work is done without.

use parking_lot::Mutex;
use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Both, at the same time.
pub(super) fn both<A: Send, B>(one: impl Fn() -> A + Sync, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let aside = thread::Builder::new().spawn_scoped(scope, &one);
        let other = other();
        match aside {
            Ok(aside) => (aside.join().unwrap_or_else(|why| resume_unwind(why)), other),
            Err(_) => (one(), other),
        }
    })
}

/// What `work` makes of each, in their order, by as many threads as there are cores.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    by(cores.min(items.len()), items, work)
}

fn by<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let go_on = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else {
                return;
            };
            let made = work(item);
            done.lock().push((place, made));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // One less is no harm: this one does what is left.
            let _ = thread::Builder::new().spawn_scoped(scope, go_on);
        }
        go_on();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_comes_in_order_whoever_made_it() {
        let items: Vec<u64> = (0..100).collect();
        let doubled: Vec<u64> = items.iter().map(|one| one * 2).collect();
        for threads in [0, 1, 2, 7] {
            assert_eq!(by(threads, &items, |one| one * 2), doubled, "{threads}");
        }
        assert_eq!(each(&items, |one| one * 2), doubled);
        assert_eq!(each(&[0; 0], |one: &u64| *one), [0; 0]);
        assert_eq!(both(|| 1, || 2), (1, 2));
    }

    #[test]
    fn a_panic_is_no_result() {
        let panics = || both(|| -> u8 { panic!("of this test") }, || 2);
        assert!(std::panic::catch_unwind(panics).is_err());
        let panics = || by(3, &[1, 2, 3], |one| assert!(*one < 3, "of this test"));
        assert!(std::panic::catch_unwind(panics).is_err());
    }
}
