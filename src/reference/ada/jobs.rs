//! The task queue: lanes of workers, and what became of each job.

use parking_lot::Mutex;
use std::{collections::BTreeMap, future::Future, sync::Arc};
use tokio::{
    sync::{Mutex as TurnMutex, mpsc},
    task::JoinSet,
};

/// The most jobs that wait in a lane; a further one is refused.
const WAITING_MAX: usize = 1_000;

/// The most jobs whose end is remembered; the oldest are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    /// Learn a bot's model anew from the data of this version.
    Train { bot: u32, version: u64 },
    /// Write a report: work that has nothing to do with S3.
    Report { id: u64 },
}

/// A queue with its workers.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Job>,
}

impl Lane {
    /// A lane with this many workers, each doing one job at a time, spawned into `tasks`.
    pub(super) fn start<W, F>(workers: usize, tasks: &mut JoinSet<()>, work: W) -> Self
    where
        W: Fn(Job) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (queue, jobs) = mpsc::channel(WAITING_MAX);
        let jobs = Arc::new(TurnMutex::new(jobs));
        for _ in 0..workers {
            let (jobs, work) = (Arc::clone(&jobs), work.clone());
            tasks.spawn(async move {
                loop {
                    // The turn is given up before the work begins.
                    let next = jobs.lock().await.recv().await;
                    let Some(job) = next else { break };
                    work(job).await;
                }
            });
        }
        Self { queue }
    }

    /// Queues a job; false when the lane is full.
    pub(super) fn queue(&self, job: Job) -> bool {
        self.queue.try_send(job).is_ok()
    }
}

/// What became of reports.
#[derive(Debug, Default)]
pub(super) struct JobTable {
    done: Mutex<BTreeMap<u64, bool>>,
}

impl JobTable {
    /// Notes that a job is waiting or, later, done.
    pub(super) fn note(&self, id: u64, done: bool) {
        let mut table = self.done.lock();
        table.insert(id, done);
        while table.len() > REMEMBERED_MAX {
            table.pop_first();
        }
    }

    /// Whether a job is done; `None` for a job never heard of.
    pub(super) fn is_done(&self, id: u64) -> Option<bool> {
        self.done.lock().get(&id).copied()
    }
}
