//! Takes observations from everywhere, without ever making the caller wait.

use super::Observation;
use crate::units::Micros;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{sync::mpsc, time::Instant};

/// A handle to the history of a run: its clock and its inlet. Cheap to clone.
///
/// The queue is bounded. An observation that finds it full is dropped and counted; a run with
/// drops is inconclusive.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    sender: mpsc::Sender<Observation>,
    dropped: AtomicU64,
}

impl Recorder {
    /// The queue's length that a run uses.
    pub const QUEUE: usize = 65_536;

    /// A recorder whose run begins now, and the end of its queue.
    pub fn channel(queue: usize) -> (Self, mpsc::Receiver<Observation>) {
        let (sender, receiver) = mpsc::channel(queue);
        let inner = Inner {
            began: Instant::now(),
            sender,
            dropped: AtomicU64::new(0),
        };
        (
            Self {
                inner: Arc::new(inner),
            },
            receiver,
        )
    }

    /// Microseconds since the run began.
    pub fn now(&self) -> Micros {
        self.inner.began.elapsed().into()
    }

    /// The moment on tokio's clock that is `at` in the run.
    pub fn instant(&self, at: Micros) -> Instant {
        self.inner.began + std::time::Duration::from_micros(at.0)
    }

    /// Records one observation, or counts it as dropped.
    pub fn record(&self, observation: Observation) {
        if self.inner.sender.try_send(observation).is_err() {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records the last observation of a run, for which it is worth waiting for room.
    pub async fn record_last(&self, observation: Observation) {
        // The other end goes only after it has seen the last observation.
        let _ = self.inner.sender.send(observation).await;
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.inner.dropped.swap(0, Ordering::Relaxed)
    }
}
