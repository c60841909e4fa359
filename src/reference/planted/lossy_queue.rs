//! A queue that acknowledges jobs and delivers them in batches: all of them, or all but one in ten
//! thousand.

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
    bad: "loses 1 in 10,000",
    fails: &["NOTHING-LOST"],
    unmeasured: Unmeasured {
        what: "load too thin",
        says: "accepted operations with an id show nothing",
        of: Twin::Bad,
        change: Change::System("\"600/s\"", "\"0.1/s\""),
    },
    system: include_str!("files/queue.system.toml"),
    scenario: include_str!("files/queue.scenario.toml"),
    start,
};

/// Of so many jobs the flawed queue loses one: always this one of them, which a run of a few
/// thousand has among its own.
const LOSES_ONE_OF: u64 = 10_000;
const THE_LOST: u64 = 3_000;

/// The most jobs that wait; one more is refused.
const WAITING_MAX: usize = 50_000;

/// The most jobs in a batch.
const BATCH_MAX: usize = 500;

/// The pause between two batches, and after one that was not taken.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<String>,
    /// How many were ever acknowledged.
    acknowledged: u64,
}

impl Queue {
    /// Whether the job is acknowledged. Exactly one of so many is forgotten at this very place.
    fn take(&mut self, job: String, flawed: bool) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            return false;
        }
        self.acknowledged += 1;
        if flawed && self.acknowledged % LOSES_ONE_OF == THE_LOST {
            return true;
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
    let delivering = deliver(Arc::clone(&queue), sender);
    let program = Program::serve(listen, move |request| {
        let path = request.uri().path();
        let job = path.rsplit('/').next().unwrap_or_default().to_owned();
        let taken = queue.lock().take(job, flawed);
        async move {
            match taken {
                true => said(StatusCode::ACCEPTED, "it will be done"),
                false => said(StatusCode::SERVICE_UNAVAILABLE, "too much to do"),
            }
        }
    })?;
    Ok(program.beside(delivering))
}

/// Hands batches over, each until it is taken.
async fn deliver(queue: Arc<Mutex<Queue>>, sender: Endpoint) {
    loop {
        time::sleep(PAUSE).await;
        let batch = queue.lock().batch();
        if batch.is_empty() {
            continue;
        }
        let body = serde_json::json!({ "jobs": batch });
        loop {
            let answer = ask(&sender, post("/jobs", &body), PATIENT).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flawed_queue_loses_one_of_ten_thousand_and_the_other_none() {
        for (flawed, kept) in [(false, 20_000), (true, 19_998)] {
            let mut queue = Queue::default();
            assert!((0..20_000).all(|job| queue.take(job.to_string(), flawed)));
            assert_eq!(queue.waiting.len(), kept);
            assert_eq!(queue.batch().len(), BATCH_MAX);
            assert_eq!(queue.waiting.len(), kept - BATCH_MAX);
        }
    }

    #[test]
    fn a_full_queue_refuses_and_says_so() {
        let mut queue = Queue::default();
        assert!((0..WAITING_MAX).all(|job| queue.take(job.to_string(), false)));
        assert!(!queue.take("one more".to_owned(), false));
        assert_eq!(queue.acknowledged, WAITING_MAX as u64);
    }
}
