//! Who is at work on what, so that nobody else takes it up.
//!
//! A list of what waits is old as soon as it is read: what was under way meanwhile may be done by
//! the time the list is looked through, and must not be done again. So not only what is under way
//! is remembered, but for a while also what ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Lists are older than this never: reading one takes a second at most.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Work that is under way, and work that lately was.
#[derive(Debug, Default)]
pub(super) struct Busy {
    under_way: BTreeSet<String>,
    ended: BTreeMap<String, Instant>,
}

impl Busy {
    /// Takes up work that stands in a list which was asked for at that moment; false if somebody
    /// is at it, or was after the list was asked for.
    pub(super) fn begin(&mut self, receipt: &str, asked: Instant) -> bool {
        let is_stale = self.ended.get(receipt).is_some_and(|ended| *ended >= asked);
        !is_stale && self.under_way.insert(receipt.to_owned())
    }

    /// Nobody is at it any more.
    pub(super) fn end(&mut self, receipt: &str) {
        let now = Instant::now();
        self.under_way.remove(receipt);
        self.ended.retain(|_, ended| *ended + REMEMBERED > now);
        self.ended.insert(receipt.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_ended_after_a_list_was_asked_for_is_not_taken_from_it() {
        let mut busy = Busy::default();
        let asked = Instant::now();
        assert!(busy.begin("a", asked));
        assert!(!busy.begin("a", asked), "it is under way");
        tokio::time::advance(Duration::from_millis(1)).await;
        busy.end("a");
        assert!(!busy.begin("a", asked), "the list is older than its end");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(busy.begin("a", Instant::now()), "it waits again");
    }
}
