//! *Remedied*: records are written behind the replies.
//!
//! A record is put into its tenant's buffer ([`super::buffer`]) and the reply goes out. A few
//! writers take records out and write them; one that cannot be written goes back to its place. A
//! database that is gone is asked for again as [`super::gate`] says. What the database refuses is
//! tried again after a pause, as long as its buffer has room.

use super::{
    buffer::{Buffer, Next, Waiting},
    gate::Gate,
    ledger::{Ledger, is_gone},
    record::Record,
};
use crate::reference::database::Trouble;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{self, Instant},
};

/// How many records are written at once: fewer than there are connections, so that readers find
/// one that is free.
pub(super) const WRITERS: usize = 6;

/// The pause of a writer whose record was refused.
const REFUSED: Duration = Duration::from_millis(200);

/// How often [`Outbox::settled`] looks.
const GLANCE: Duration = Duration::from_millis(20);

/// Records on their way to the ledger.
#[derive(Debug)]
pub(super) struct Outbox {
    ledger: Arc<Ledger>,
    buffer: Mutex<Buffer>,
    added: Notify,
    gate: Gate,
    taken_in: AtomicU64,
    writing: AtomicUsize,
    written: AtomicU64,
}

impl Outbox {
    pub(super) fn start(ledger: &Arc<Ledger>, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let outbox = Arc::new(Self {
            ledger: Arc::clone(ledger),
            buffer: Mutex::new(Buffer::new()),
            added: Notify::new(),
            gate: Gate::new(),
            taken_in: AtomicU64::new(0),
            writing: AtomicUsize::new(0),
            written: AtomicU64::new(0),
        });
        for _ in 0..WRITERS {
            tasks.spawn(Arc::clone(&outbox).work());
        }
        outbox
    }

    /// Takes a record in. Never waits.
    pub(super) fn put(&self, record: Record) {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
        self.buffer.lock().put(record, Instant::now());
        self.added.notify_one();
    }

    async fn work(self: Arc<Self>) {
        loop {
            let pass = self.gate.pass().await;
            let waiting = self.next().await;
            if !pass.holds() {
                // The database went while there was nothing to write.
                self.buffer.lock().put_back(waiting);
                continue;
            }
            self.writing.fetch_add(1, Ordering::Relaxed);
            let result = self.ledger.write(&waiting.record).await;
            if result.is_err() {
                self.buffer.lock().put_back(waiting);
                self.added.notify_one();
            }
            self.writing.fetch_sub(1, Ordering::Relaxed);
            match result {
                Ok(()) => {
                    self.written.fetch_add(1, Ordering::Relaxed);
                    pass.found();
                }
                Err(trouble) => {
                    eprintln!("a record waits: {trouble}");
                    if is_gone(&trouble) {
                        pass.lost();
                    } else {
                        pass.found();
                        time::sleep(REFUSED).await;
                    }
                }
            }
        }
    }

    /// The next record to write.
    async fn next(&self) -> Waiting {
        loop {
            // Registered before looking, so that what is added in between is not missed.
            let added = self.added.notified();
            let next = self.buffer.lock().next(Instant::now());
            match next {
                Next::Write(waiting) => return waiting,
                Next::Nothing => added.await,
                Next::Until(then) => tokio::select! {
                    () = added => {}
                    () = time::sleep_until(then) => {}
                },
            }
        }
    }

    /// Some of a tenant's records; at once a failure where the database is known to be gone.
    pub(super) async fn read(&self, tenant: usize) -> Result<Vec<String>, Trouble> {
        if !self.gate.is_open() {
            return Err(Trouble::NoConnection("the ledger is gone".to_owned()));
        }
        self.ledger.read(tenant).await
    }

    /// Waits until everything is written.
    pub(super) async fn settled(&self) {
        while self.waiting() > 0 {
            time::sleep(GLANCE).await;
        }
    }

    /// How many records wait or are being written.
    pub(super) fn waiting(&self) -> u64 {
        let settled = self.written() + self.buffer.lock().shed().count;
        self.taken_in
            .load(Ordering::Relaxed)
            .saturating_sub(settled)
    }

    /// How many writers are at work.
    pub(super) fn writing(&self) -> usize {
        self.writing.load(Ordering::Relaxed)
    }

    /// How many records were written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How long the oldest record has waited.
    pub(super) fn oldest(&self) -> Duration {
        self.buffer.lock().oldest(Instant::now())
    }

    /// How many records were given up, and the ids of the last of them.
    pub(super) fn shed(&self) -> (u64, Vec<String>) {
        let buffer = self.buffer.lock();
        let shed = buffer.shed();
        (shed.count, shed.ids.iter().cloned().collect())
    }
}
