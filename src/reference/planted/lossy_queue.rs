//! A queue that acknowledges jobs and delivers them in batches, each until it is taken: all of the
//! jobs, or all but one, which is forgotten when a batch is refused for the first time.

use super::{Change, PATIENT, Planted, Program, Twin, Unmeasured, dependency, post, said};
use crate::reference::{
    Options, Refusal,
    web::{Endpoint, ask},
};
use hyper::StatusCode;
use parking_lot::Mutex;
use std::{collections::VecDeque, mem, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time;

pub(super) const PLANTED: Planted = Planted {
    name: "queue",
    good: "delivers all jobs",
    bad: "loses 1 of 6,000",
    fails: &["NOTHING-LOST"],
    unmeasured: Unmeasured {
        what: "load too thin",
        says: &["accepted operations with an id show nothing"],
        of: Twin::Bad,
        change: Change::System("\"600/s\"", "\"0.1/s\""),
    },
    system: include_str!("files/queue.system.toml"),
    scenario: include_str!("files/queue.scenario.toml"),
    start,
};

/// The most jobs that wait; one more is refused.
const WAITING_MAX: usize = 50_000;

/// The most jobs in a batch.
const BATCH_MAX: usize = 500;

/// The pause between two batches, and after one that was not taken.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<String>,
}

impl Queue {
    /// Whether the job is acknowledged.
    fn take(&mut self, job: String) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.waiting.push_back(job);
        true
    }

    fn batch(&mut self) -> VecDeque<String> {
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH_MAX));
        mem::replace(&mut self.waiting, rest)
    }
}

fn start(listen: SocketAddr, options: &Options, flawed: bool) -> Result<Program, Refusal> {
    let sender = dependency(options)?;
    let queue = Arc::new(Mutex::new(Queue::default()));
    let delivering = deliver(Arc::clone(&queue), sender, flawed);
    let program = Program::serve(listen, move |request| {
        let path = request.uri().path();
        let job = path.rsplit('/').next().unwrap_or_default().to_owned();
        let taken = queue.lock().take(job);
        async move {
            match taken {
                true => said(StatusCode::ACCEPTED, "it will be done"),
                false => said(StatusCode::SERVICE_UNAVAILABLE, "too much to do"),
            }
        }
    })?;
    Ok(program.beside(delivering))
}

/// What is left of a batch that was refused, for the next try: all of it, but for the one job that
/// the flawed queue has yet to forget.
fn left(mut batch: VecDeque<String>, forgets: &mut bool) -> VecDeque<String> {
    if mem::take(forgets) {
        batch.pop_front();
    }
    batch
}

/// Hands batches over, each until it is taken.
async fn deliver(queue: Arc<Mutex<Queue>>, sender: Endpoint, flawed: bool) {
    let mut forgets = flawed;
    loop {
        time::sleep(PAUSE).await;
        let mut batch = queue.lock().batch();
        while !batch.is_empty() {
            let body = serde_json::json!({ "jobs": &batch });
            let answer = ask(&sender, post("/jobs", &body), PATIENT).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            batch = left(batch, &mut forgets);
            time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flawed_queue_forgets_one_job_however_often_it_is_refused_and_the_other_none() {
        for (mut forgets, kept) in [(false, BATCH_MAX), (true, BATCH_MAX - 1)] {
            let mut queue = Queue::default();
            assert!((0..6_000).all(|job| queue.take(job.to_string())));
            let mut batch = queue.batch();
            assert_eq!(queue.waiting.len(), 6_000 - BATCH_MAX);
            for _ in 0..3 {
                batch = left(batch, &mut forgets);
                assert_eq!(batch.len(), kept);
            }
            assert_eq!(left(queue.batch(), &mut forgets).len(), BATCH_MAX);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_says_so() {
        let mut queue = Queue::default();
        assert!((0..WAITING_MAX).all(|job| queue.take(job.to_string())));
        assert!(!queue.take("one more".to_owned()));
        assert_eq!(queue.waiting.len(), WAITING_MAX);
    }
}
