//! *As it was*: the reply waits for its record.
//!
//! Every tenant's records go through one queue without a bound, in the order in which they came,
//! and a worker stays with its record until it is written: a statement that failed is repeated at
//! once, and where there is no connection the worker asks for one again and again, always after
//! the same pause. All workers lose their connections in the same moment, and so they come back in
//! the same moments. A message whose end user has gone is still in the queue, before those whose
//! end users wait.

use super::{
    ledger::{Ledger, is_gone},
    record::Record,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as TurnMutex, mpsc, oneshot},
    task::JoinSet,
    time,
};

/// How many records are being written at once.
const WORKERS: usize = 32;

/// The pause before a connection is asked for again.
const RECONNECT: Duration = Duration::from_millis(250);

/// The one queue of all tenants.
#[derive(Debug)]
pub(super) struct Direct {
    queue: mpsc::UnboundedSender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
}

#[derive(Debug)]
struct Job {
    record: Record,
    /// Told when the record is written.
    written: oneshot::Sender<()>,
}

impl Direct {
    pub(super) fn start(ledger: &Arc<Ledger>, tasks: &mut JoinSet<()>) -> Self {
        let (queue, jobs) = mpsc::unbounded_channel::<Job>();
        let jobs = Arc::new(TurnMutex::new(jobs));
        let counts = Arc::new(Counts::default());
        for _ in 0..WORKERS {
            let (jobs, ledger, counts) =
                (Arc::clone(&jobs), Arc::clone(ledger), Arc::clone(&counts));
            tasks.spawn(async move {
                loop {
                    // The turn is given up before the work begins.
                    let next = jobs.lock().await.recv().await;
                    let Some(job) = next else { break };
                    insist(&ledger, &job.record).await;
                    counts.written.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens where the end user has gone.
                    let _ = job.written.send(());
                }
            });
        }
        Self { queue, counts }
    }

    /// Returns once the record is written, however long that takes.
    pub(super) async fn write(&self, record: Record) {
        let (written, told) = oneshot::channel();
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Job { record, written }).is_ok() {
            // The workers have ended only where the program has.
            let _ = told.await;
        }
    }

    /// How many records wait or are being written.
    pub(super) fn waiting(&self) -> u64 {
        let written = self.counts.written.load(Ordering::Relaxed);
        self.counts.queued.load(Ordering::Relaxed) - written
    }

    /// How many records were written.
    pub(super) fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }
}

/// Writes a record, whatever it takes.
async fn insist(ledger: &Ledger, record: &Record) {
    loop {
        match ledger.write(record).await {
            Ok(()) => return,
            Err(trouble) if is_gone(&trouble) => time::sleep(RECONNECT).await,
            Err(_) => {}
        }
    }
}
