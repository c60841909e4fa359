//! The end of the recorder's queue: every observation goes to the file, to the live counts, and to
//! the judge of steadiness, in that order.
//!
//! What was observed is saved before anything is made of it. When the file cannot be written any
//! more (a full disk) recording ends, the run is told, and the history so far stays judgeable.

use super::{Events, FaultTick, LoadTick};
use crate::{
    history::{HistoryError, Observation, Outcome, Progress, Recorder, Steady, Writer, Written},
    units::Micros,
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fs::File, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};

/// What the run may ask about its history while it goes on.
#[derive(Debug)]
pub struct Live {
    counts: BTreeMap<Arc<str>, [u64; 4]>,
    steady: Steady,
    progress: Progress,
    broken: Option<String>,
}

impl Live {
    /// The outcome counts of each load since this was last asked, as rates over `span`.
    fn take_rates(&mut self, span: Duration) -> Vec<LoadTick> {
        let seconds = span.as_secs_f64().max(1e-3);
        self.counts
            .iter_mut()
            .map(|(load, counts)| {
                let [ok, degraded, failed, indeterminate] =
                    std::mem::take(counts).map(|count| count as f64 / seconds);
                LoadTick {
                    load: Arc::clone(load),
                    ok,
                    degraded,
                    failed,
                    indeterminate,
                }
            })
            .collect()
    }
}

/// Writes a run's history, and answers for it while it is being written.
#[derive(Debug)]
pub struct Scribe {
    live: Arc<Mutex<Live>>,
    task: JoinHandle<Result<Written, HistoryError>>,
}

impl Scribe {
    /// Starts writing what comes out of `queue` to `writer`.
    pub fn start(
        queue: mpsc::Receiver<Observation>,
        mut writer: Writer<File>,
        recorder: Recorder,
        steady: Steady,
        progress: Progress,
        loads: impl Iterator<Item = Arc<str>>,
    ) -> Self {
        let live = Arc::new(Mutex::new(Live {
            counts: loads.map(|load| (load, [0; 4])).collect(),
            steady,
            progress,
            broken: None,
        }));
        let shared = Arc::clone(&live);
        let task = tokio::spawn(async move {
            let written = writer
                .record(queue, &recorder, |observation| {
                    notice(observation, &mut shared.lock());
                })
                .await;
            if let Err(error) = &written {
                shared.lock().broken = Some(error.to_string());
            }
            written
        });
        Self { live, task }
    }

    /// Why recording ended early, if it did.
    pub fn broken(&self) -> Option<String> {
        self.live.lock().broken.clone()
    }

    /// Whether every steady-state criterion has held for `hold` since the last fault was lifted.
    pub fn steady_for(&self, hold: Duration, now: Micros) -> bool {
        self.live.lock().steady.held(hold, now).is_some()
    }

    /// Whether every ledger has settled since the last fault was lifted.
    pub fn settled(&self, lifted: Micros, now: Micros) -> bool {
        self.live.lock().progress.is_settled(lifted, now)
    }

    /// Tells the watchers how things stand, `span` after the last time.
    pub fn tick(&self, events: &Events, at: Micros, span: Duration, faults: Vec<FaultTick>) {
        let loads = self.live.lock().take_rates(span);
        events.emit(super::Event::Tick { at, loads, faults });
    }

    /// Waits until everything recorded so far is in the file. Every [`Recorder`] must be gone or
    /// silent; the last observation is `Ended`.
    ///
    /// # Errors
    /// The file could not be written.
    pub async fn finish(self) -> Result<Written, String> {
        match self.task.await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }
}

fn notice(observation: &Observation, live: &mut Live) {
    live.steady.observe(observation);
    live.progress.observe(observation);
    if let Observation::Operation(operation) = observation {
        let place = match operation.outcome {
            Outcome::Ok => 0,
            Outcome::Degraded => 1,
            Outcome::Failed => 2,
            Outcome::Indeterminate => 3,
        };
        if let Some(counts) = live.counts.get_mut(&operation.load) {
            counts[place] += 1;
        }
    }
}
