//! How much all connections together may hold.
//!
//! Each direction of each connection may always hold a little, so that none waits for another;
//! beyond that they share one amount. What finds no room stays with its sender.

use super::chain::Chain;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What all directions of all connections hold together at most, apart from what each may always
/// hold.
const SHARED_BYTES: usize = 32 * 1024 * 1024;

/// What each direction may always hold.
const OWN_BYTES: usize = 64 * 1024;

/// Less room than this is none, while anything is held: else bytes would come in crumbs, of which
/// each costs as much as a chunk.
const ROOM_MIN: usize = 4 * 1024;

/// The amount that is shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    taken: Arc<AtomicUsize>,
}

/// One direction's part.
#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    taken: usize,
}

impl Memory {
    /// The part of one more direction, of which nothing is taken.
    pub(super) fn share(&self) -> Held {
        Held {
            memory: self.clone(),
            taken: 0,
        }
    }
}

impl Held {
    /// How many more bytes a chain may take in.
    pub(super) fn room(&mut self, chain: &Chain) -> usize {
        let held = chain.cost();
        self.note(held.saturating_sub(OWN_BYTES));
        let shared = SHARED_BYTES.saturating_sub(self.memory.taken.load(Ordering::Relaxed));
        let most = OWN_BYTES.saturating_sub(held).max(shared);
        let room = chain.room().min(most);
        if held > 0 && room < ROOM_MIN { 0 } else { room }
    }

    fn note(&mut self, taken: usize) {
        let all = &self.memory.taken;
        if taken > self.taken {
            all.fetch_add(taken - self.taken, Ordering::Relaxed);
        } else {
            all.fetch_sub(self.taken - taken, Ordering::Relaxed);
        }
        self.taken = taken;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.note(0);
    }
}
