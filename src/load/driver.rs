//! Keeps the schedules of several loads: every operation begins at its intended time, whatever the
//! answers do.
//!
//! What it cannot keep it says: an operation that began later than [`late_max`] after its intended
//! start, or not at all because too many were in flight or our own sockets ran out, is missed.
//! Only the generator's own lateness counts: the time until an operation's task runs. However long
//! the system then takes, to accept a connection or to answer, is the system's latency.

use super::{
    Base, Planned, Schedule,
    operation::Lane,
    pool::{Dial, Pool, Stream},
};
use crate::{
    dial,
    history::{Observation, Recorder},
    scenario::Load,
    timer,
    units::{Micros, Rate},
};
use futures_util::{FutureExt, future::join_all};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, yield_now},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// The time that operations in flight get when the run ends; what is then left is recorded as
/// indeterminate, "run ended".
pub const GRACE: Duration = Duration::from_secs(5);

/// The least lateness that counts as missed.
const LATE_MAX_LEAST: Duration = Duration::from_millis(50);

/// The time between two reports of missed operations.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Operations begun without a pause, after which others get their turn.
const BURST: u64 = 64;

/// Operations that are due within this time of each other begin together: a wake costs more than they do.
const TOGETHER: Duration = Duration::from_micros(100);

/// How late an operation of a load at this rate may begin before it is missed: a tenth of the mean
/// time between two, at least 50 ms. That is well above what a timer and a busy machine cost, and
/// well below what would change the load's shape.
pub fn late_max(rate: Rate) -> Duration {
    LATE_MAX_LEAST.max(rate.interval() / 10)
}

/// Loads being driven. Dropping it cuts what is in flight at once.
#[derive(Debug)]
pub struct Driver {
    task: JoinHandle<()>,
    cut: DropGuard,
}

impl Driver {
    /// Waits until every operation has been recorded: after `stop`, for [`GRACE`] at most.
    pub async fn join(self) {
        let _ = self.task.await;
        drop(self.cut);
    }
}

/// Drives every load at `base` by its schedule, until `stop`. Must be called within a runtime.
pub fn drive(
    loads: Vec<(Load, Schedule)>,
    base: Base,
    recorder: Recorder,
    stop: CancellationToken,
) -> Driver {
    let dial = over_tcp(&base);
    drive_over(dial, loads, base, recorder, stop)
}

fn over_tcp(base: &Base) -> Dial {
    let address = (base.host.clone(), base.port);
    Arc::new(move || {
        let address = address.clone();
        async move {
            let stream = dial::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    })
}

pub(super) fn drive_over(
    dial: Dial,
    loads: Vec<(Load, Schedule)>,
    base: Base,
    recorder: Recorder,
    stop: CancellationToken,
) -> Driver {
    let pool = Arc::new(Pool::new(dial));
    let base = Arc::new(base);
    let cut = CancellationToken::new();
    let flights = TaskTracker::new();
    let tasks: Vec<_> = loads
        .into_iter()
        .map(|(load, schedule)| {
            let lane = Lane {
                load,
                base: Arc::clone(&base),
                pool: Arc::clone(&pool),
                recorder: recorder.clone(),
                cut: cut.clone(),
            };
            let pacer = Pacer::new(lane, stop.clone(), flights.clone());
            tokio::spawn(pacer.keep(schedule))
        })
        .collect();
    let task = tokio::spawn({
        let cut = cut.clone();
        async move {
            let pacers = join_all(tasks).await;
            flights.close();
            if timeout(GRACE, flights.wait()).await.is_err() {
                cut.cancel();
                flights.wait().await;
            }
            // Operations in the grace may still have found that they could not be sent.
            for pacer in pacers.into_iter().flatten() {
                pacer.report_missed();
            }
        }
    });
    Driver {
        task,
        cut: cut.drop_guard(),
    }
}

/// Keeps the schedule of one load.
struct Pacer {
    lane: Arc<Lane>,
    stop: CancellationToken,
    flights: TaskTracker,
    room: Arc<Semaphore>,
    missed: Arc<Missed>,
    late_max: Duration,
}

/// What was missed since the last report.
#[derive(Debug, Default)]
struct Missed {
    since: Mutex<Option<Misses>>,
}

/// Operations that began late or not at all.
#[derive(Debug, Clone, Copy)]
struct Misses {
    count: u64,
    unsent: u64,
    late: Duration,
    first: Micros,
    last: Micros,
}

impl Missed {
    fn note(&self, intended: Micros, late: Duration, sent: bool) {
        let mut since = self.since.lock();
        let misses = since.get_or_insert(Misses {
            count: 0,
            unsent: 0,
            late,
            first: intended,
            last: intended,
        });
        misses.count += 1;
        misses.unsent += u64::from(!sent);
        misses.late = misses.late.max(late);
        misses.first = misses.first.min(intended);
        misses.last = misses.last.max(intended);
    }
}

impl Pacer {
    fn new(lane: Lane, stop: CancellationToken, flights: TaskTracker) -> Self {
        Self {
            stop,
            flights,
            room: Arc::new(Semaphore::new(
                lane.load.in_flight_max.min(Semaphore::MAX_PERMITS),
            )),
            missed: Arc::default(),
            late_max: late_max(lane.load.rate),
            lane: Arc::new(lane),
        }
    }

    /// Begins operations until told to stop; hands itself back for the last report.
    async fn keep(self, schedule: Schedule) -> Self {
        let mut report = interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut woken = Instant::now();
        for planned in schedule {
            let due = self.lane.recorder.instant(planned.intended);
            let pause = due > Instant::now();
            if !pause && planned.nth.is_multiple_of(BURST) {
                yield_now().await;
            }
            loop {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return self,
                    () = self.lane.cut.cancelled() => return self,
                    _ = report.tick() => self.report_missed(),
                    () = timer::sleep_until(due.max(woken + TOGETHER)), if pause => {
                        woken = Instant::now();
                        break;
                    }
                    () = std::future::ready(()), if !pause => break,
                }
            }
            self.begin(planned);
        }
        self
    }

    fn begin(&self, planned: Planned) {
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => {
                let missed = Arc::clone(&self.missed);
                let lane = Arc::clone(&self.lane);
                self.flights
                    .spawn(fly(lane, planned, room, missed, self.late_max));
            }
            Err(_) => {
                let late = self.lane.recorder.now().since(planned.intended);
                self.missed.note(planned.intended, late, false);
            }
        }
    }

    fn report_missed(&self) {
        let misses = self.missed.since.lock().take();
        if let Some(misses) = misses {
            self.lane.recorder.record(Observation::Missed {
                at: self.lane.recorder.now(),
                load: Arc::clone(&self.lane.load.name),
                count: misses.count,
                unsent: misses.unsent,
                late: Micros::from(misses.late).0,
                first: misses.first,
                last: misses.last,
            });
        }
    }
}

async fn fly(
    lane: Arc<Lane>,
    planned: Planned,
    _room: OwnedSemaphorePermit,
    missed: Arc<Missed>,
    late_max: Duration,
) {
    let began = lane.recorder.now();
    let late = began.since(planned.intended);
    match lane.operate(&planned, began).await {
        Some(operation) => {
            if late > late_max {
                missed.note(planned.intended, late, true);
            }
            lane.recorder.record(Observation::Operation(operation));
        }
        None => missed.note(planned.intended, late, false),
    }
}
