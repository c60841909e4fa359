//! Counts writes, so that tests can hold what a batch costs. A test's own thread runs all of its
//! proxy, and so has a count of its own.

use std::cell::Cell;

thread_local! {
    static WRITES: Cell<u64> = const { Cell::new(0) };
}

/// A proxy writes to a socket.
pub(super) fn wrote() {
    WRITES.set(WRITES.get() + 1);
}

/// How often the proxies of this thread have written since this was last asked.
pub(super) fn take_writes() -> u64 {
    WRITES.take()
}
