//! Bytes, counted as they go.

use std::sync::atomic::{AtomicU64, Ordering};

/// One direction of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    received: AtomicU64,
    sent: AtomicU64,
}

/// Both directions of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// From clients to the server.
    pub(crate) upstream: Counter,
    /// From the server to clients.
    pub(crate) downstream: Counter,
}

impl Counter {
    /// So many bytes arrived.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes went on.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What arrived so far, and what went on.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }
}
