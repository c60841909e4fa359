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
use std::{collections::BTreeMap, io, sync::Arc, thread, time::Duration};
use tokio::sync::{mpsc, oneshot};

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

/// Writes a run's history on a thread of its own, so that a disk that stalls delays no fault and no
/// request; and answers for it while it is being written.
#[derive(Debug)]
pub struct Scribe {
    live: Arc<Mutex<Live>>,
    written: oneshot::Receiver<Result<Written, HistoryError>>,
}

impl Scribe {
    /// Starts writing what comes out of `queue` to `writer`.
    ///
    /// # Errors
    /// The machine gives us no further thread.
    pub fn start<W: io::Write + Send + 'static>(
        queue: mpsc::Receiver<Observation>,
        mut writer: Writer<W>,
        recorder: Recorder,
        steady: Steady,
        progress: Progress,
        loads: impl Iterator<Item = Arc<str>>,
    ) -> io::Result<Self> {
        let live = Arc::new(Mutex::new(Live {
            counts: loads.map(|load| (load, [0; 4])).collect(),
            steady,
            progress,
            broken: None,
        }));
        let shared = Arc::clone(&live);
        let (sender, written) = oneshot::channel();
        let record = move || {
            let written = writer.record(queue, &recorder, |observation| {
                notice(observation, &mut shared.lock());
            });
            if let Err(error) = &written {
                shared.lock().broken = Some(error.to_string());
            }
            // Nobody waits for it where the run could not be finished.
            let _ = sender.send(written);
        };
        let thread = thread::Builder::new().name("history".to_owned());
        thread.spawn(record)?;
        Ok(Self { live, written })
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
        match self.written.await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the history's writer panicked".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Criteria, Moment, sample},
        units::Micros,
    };
    use std::{path::Path, sync::mpsc as threads, time::Instant};

    /// How long the disk stands still unless somebody lets it go on.
    const STALL: Duration = Duration::from_secs(20);

    /// A disk that says when it is written to, and takes it only when it is let.
    struct Stalled {
        begun: mpsc::UnboundedSender<()>,
        release: threads::Receiver<()>,
    }

    impl io::Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            let _ = self.release.recv_timeout(STALL);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_disk_that_stalls_delays_nobody_else() {
        let (recorder, queue) = Recorder::channel(10);
        let (begun, mut has_begun) = mpsc::unbounded_channel();
        let (let_go, release) = threads::channel();
        let (scenario, system) = (sample::scenario(), sample::system());
        let scribe = Scribe::start(
            queue,
            Writer::over(Stalled { begun, release }, Path::new("h"), u64::MAX),
            recorder.clone(),
            Steady::new(&scenario, &system, Criteria::STEADY),
            Progress::new(&system),
            ["ask".into()].into_iter(),
        )
        .unwrap();
        let began = Instant::now();
        let phase = Observation::Phase {
            at: Micros(0),
            index: 0,
        };
        recorder.record(phase);
        has_begun.recv().await.unwrap();
        // While the disk stands still timers fire and the scribe answers.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(scribe.broken(), None);
        assert!(began.elapsed() < STALL / 2, "{:?}", began.elapsed());
        drop(let_go);
        let ended = Moment {
            at: Micros(1),
            how: "completed".into(),
        };
        recorder.record_last(Observation::Ended(ended)).await;
        let written = scribe.finish().await.unwrap();
        assert_eq!((written.observations, written.dropped), (2, 0));
    }
}
