//! Takes observations from everywhere. Recording makes nobody wait; whoever is about to cause more
//! to be recorded asks for room first, and waits a moment where little is left.

use super::{Attempt, Observation, Waited};
use crate::{fault::FaultId, protocol::Protocol, units::Micros};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};

/// The longest that anybody waits for room.
const ROOM_WITHIN: Duration = Duration::from_millis(100);

/// There is room while more than one of so many places is free.
const ROOM_SHARE: usize = 4;

/// The most dependencies of which is remembered what they speak: a server may be asked for ever new
/// ones.
const DEPENDENCIES_MAX: usize = 10_000;

/// Whoever is shown every attempt besides.
type Listener = Box<dyn Fn(&Recorder, &Attempt) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// From now on every attempt that any recorder of this process is told is shown to `listener` as well,
/// which makes nobody wait. There is one; false where there was one before.
pub fn listen(listener: impl Fn(&Recorder, &Attempt) + Send + Sync + 'static) -> bool {
    LISTENER.set(Box::new(listener)).is_ok()
}

/// What is known besides: for those who read neither scenario nor system.
#[derive(Debug, Default)]
struct Names {
    faults: BTreeMap<FaultId, Arc<str>>,
    protocols: BTreeMap<Arc<str>, Protocol>,
}

/// A handle to the history of a run: its clock and its inlet. Cheap to clone.
///
/// The queue is bounded. An observation that finds it full is dropped and counted; a run with
/// drops is inconclusive. So that it does not come to that, the proxies wait where less than a
/// quarter of it is free ([`Recorder::room`]), which is counted too.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    sender: mpsc::Sender<Observation>,
    dropped: AtomicU64,
    has_room: Notify,
    waited: Mutex<Option<Waited>>,
    number: u64,
    names: Mutex<Names>,
}

impl Recorder {
    /// The queue's length that a run uses.
    pub const QUEUE: usize = 65_536;

    /// A recorder whose run begins now, and the end of its queue.
    pub fn channel(queue: usize) -> (Self, mpsc::Receiver<Observation>) {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let (sender, receiver) = mpsc::channel(queue);
        let inner = Inner {
            began: Instant::now(),
            sender,
            dropped: AtomicU64::new(0),
            has_room: Notify::new(),
            waited: Mutex::new(None),
            number: COUNT.fetch_add(1, Ordering::Relaxed),
            names: Mutex::default(),
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
        if let (Observation::Attempt(attempt), Some(listener)) = (&observation, LISTENER.get()) {
            listener(self, attempt);
        }
        if self.inner.sender.try_send(observation).is_err() {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which recorder of this process it is.
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Notes how a fault is called in words.
    pub fn names(&self, fault: FaultId, name: &str) {
        self.inner.names.lock().faults.insert(fault, name.into());
    }

    /// How a fault is called; by its number where nobody has said it.
    pub fn name_of(&self, fault: FaultId) -> Arc<str> {
        let names = self.inner.names.lock();
        let known = names.faults.get(&fault).cloned();
        known.unwrap_or_else(|| fault.to_string().into())
    }

    /// Notes what a dependency speaks.
    pub fn speaks(&self, dependency: &Arc<str>, protocol: Protocol) {
        let mut names = self.inner.names.lock();
        if names.protocols.len() < DEPENDENCIES_MAX {
            names.protocols.insert(Arc::clone(dependency), protocol);
        }
    }

    /// What a dependency speaks, where somebody has said it.
    pub fn protocol_of(&self, dependency: &str) -> Option<Protocol> {
        self.inner.names.lock().protocols.get(dependency).copied()
    }

    /// Comes back when there is room for what is about to be recorded: at once, unless less than a
    /// quarter of the queue is free, and then after a tenth of a second at the latest.
    pub async fn room(&self) {
        if self.is_roomy() || self.inner.sender.is_closed() {
            return;
        }
        let from = self.now();
        let waiting = async {
            loop {
                let mut room = std::pin::pin!(self.inner.has_room.notified());
                // Whoever makes room from here on is heard.
                room.as_mut().enable();
                if self.is_roomy() {
                    return;
                }
                room.await;
            }
        };
        // There may still be none: then what finds no place is dropped, and counted.
        let _ = timeout(ROOM_WITHIN, waiting).await;
        let to = self.now();
        let one = Waited {
            from,
            to,
            count: 1,
            longest: Micros(to.0 - from.0),
        };
        let mut waited = self.inner.waited.lock();
        *waited = Some(waited.map_or(one, |before| before.and(one)));
    }

    /// Takes so many places that there is little room left.
    #[cfg(test)]
    pub fn fill(&self) {
        while self.is_roomy() {
            self.record(Observation::Watched { at: self.now() });
        }
    }

    fn is_roomy(&self) -> bool {
        let sender = &self.inner.sender;
        sender.capacity() >= sender.max_capacity() / ROOM_SHARE
    }

    /// Says that observations were taken out of the queue, to those who wait for room.
    pub fn taken(&self) {
        if self.is_roomy() {
            self.inner.has_room.notify_waiters();
        }
    }

    /// Records the last observation of a run, for which it is worth waiting for room.
    pub async fn record_last(&self, observation: Observation) {
        // The other end goes only after it has seen the last observation.
        let _ = self.inner.sender.send(observation).await;
    }

    /// Who waited for room since this was last asked.
    pub fn take_waited(&self) -> Option<Waited> {
        self.inner.waited.lock().take()
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.inner.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Observation {
        Observation::Watched {
            at: Micros::default(),
        }
    }

    /// A recorder of which so many of a hundred places are taken.
    fn filled(places: usize) -> (Recorder, mpsc::Receiver<Observation>) {
        let (recorder, queue) = Recorder::channel(100);
        (0..places).for_each(|_| recorder.record(watched()));
        (recorder, queue)
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_quarter_is_free_nobody_waits() {
        let (recorder, _queue) = filled(75);
        recorder.room().await;
        assert_eq!(recorder.now(), Micros::default());
        assert_eq!(recorder.take_waited(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn with_less_one_waits_a_tenth_of_a_second_and_is_counted() {
        let (recorder, _queue) = filled(76);
        tokio::join!(recorder.room(), recorder.room());
        let waited = recorder.take_waited().expect("they waited");
        assert_eq!((waited.count, waited.from), (2, Micros::default()));
        assert_eq!(waited.longest, Micros::from(ROOM_WITHIN));
        assert!(waited.to >= waited.longest);
        assert_eq!(recorder.take_waited(), None, "they are counted once");
        assert_eq!(recorder.take_dropped(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_as_soon_as_there_is_room() {
        let (recorder, mut queue) = filled(100);
        let making_room = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            // Not enough, and then enough.
            for _ in 0..2 {
                for _ in 0..20 {
                    queue.recv().await;
                }
                recorder.taken();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(recorder.room(), making_room);
        let waited = recorder.take_waited().expect("it waited");
        assert_eq!((waited.count, waited.longest), (1, Micros::from_millis(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_recorded_any_more_nobody_waits() {
        let (recorder, queue) = filled(100);
        drop(queue);
        recorder.room().await;
        assert_eq!(recorder.take_waited(), None);
    }
}
