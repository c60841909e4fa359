//! Where requests wait for an overloaded dependency: drives the model of its queue with the clock,
//! tells each request when its turn has come, and notes how long the queue is.
//!
//! There is one station for each dependency. It is empty, and asks for nothing, while no fault says
//! what the dependency can carry. When such a fault comes into force while another one was, those
//! who wait go on waiting under the new capacity; when none is left, all of them are released.
//!
//! A request hears of its turn a little late, as every [timer](crate::timer) is. The queue itself
//! does not wait for anybody to hear: its times are the model's.

use crate::{
    fault::{
        FaultId, Switch, Turn,
        overload::{Fate, Model, Sample, Ticket},
    },
    history::{Observation, QueueSample, Recorder},
    seed::name_hash,
    timer::sleep_until,
    units::Micros,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How often the length of the queue is noted, at most.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// The queue of one dependency.
#[derive(Debug)]
pub(crate) struct Station {
    dependency: Arc<str>,
    switch: Switch,
    recorder: Recorder,
    /// Never held across a wait.
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Option<Queue>,
    tickets: u64,
}

#[derive(Debug)]
struct Queue {
    fault: FaultId,
    model: Model,
    listening: HashMap<Ticket, oneshot::Sender<Fate>>,
    sampled: Micros,
    last: Sample,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Its turn came, and it was served.
    Served,
    /// There was no room for it, or it came too late.
    Refused,
    /// Nothing limits the dependency any more.
    Lifted,
}

/// A request's place in the queue. Dropping it says that its client has gone.
pub(super) struct Place {
    station: Arc<Station>,
    ticket: Ticket,
    told: oneshot::Receiver<Fate>,
    turn: Turn,
    /// Whether it had to wait as soon as it came.
    waits: bool,
    is_over: bool,
}

impl Place {
    /// Whether it had to wait as soon as it came. That is a hit of its fault.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Waits for its turn, and says whether the fault acted on it.
    pub(super) async fn turned(&mut self) -> (Turned, bool) {
        let fate = (&mut self.told).await;
        self.is_over = true;
        let (turned, acted) = match fate {
            Ok(Fate::Served { waited, slowed }) => (Turned::Served, slowed || !waited.is_zero()),
            Ok(Fate::Refused | Fate::Expired | Fate::Cancelled) => (Turned::Refused, true),
            Err(_) => (Turned::Lifted, false),
        };
        if acted {
            self.turn.hit.count();
        }
        (turned, acted || self.waits)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_over {
            self.station.leave(self.ticket);
        }
    }
}

impl Station {
    /// An empty station of this dependency.
    pub(super) fn new(dependency: Arc<str>, switch: Switch, recorder: Recorder) -> Self {
        Self {
            dependency,
            switch,
            recorder,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// A request takes its place; `None` where nothing limits the dependency by now.
    pub(super) fn enter(self: &Arc<Self>, turn: Turn) -> Option<Place> {
        let now = self.recorder.now();
        let mut inner = self.inner.lock();
        self.follow(&mut inner, now);
        inner.tickets += 1;
        let ticket = Ticket(inner.tickets);
        let queue = inner.queue.as_mut()?;
        let (tell, told) = oneshot::channel();
        queue.listening.insert(ticket, tell);
        let waits = queue.model.arrive(ticket, turn.work, now);
        if waits {
            turn.hit.count();
        }
        queue.tell(now);
        drop(inner);
        self.changed.notify_one();
        Some(Place {
            station: Arc::clone(self),
            ticket,
            told,
            turn,
            waits,
            is_over: false,
        })
    }

    fn leave(&self, ticket: Ticket) {
        let now = self.recorder.now();
        if let Some(queue) = &mut self.inner.lock().queue {
            queue.listening.remove(&ticket);
            queue.model.leave(ticket, now);
            queue.tell(now);
        }
    }

    /// Tells everybody's turn as it comes, until the proxy stops.
    pub(super) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut faults = self.switch.subscribe();
        loop {
            faults.borrow_and_update();
            let next = self.step();
            let timer = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                Ok(()) = faults.changed() => {}
                () = self.changed.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Does what is due, and says when something is next.
    fn step(&self) -> Option<Instant> {
        let now = self.recorder.now();
        let mut inner = self.inner.lock();
        self.follow(&mut inner, now);
        let queue = inner.queue.as_mut()?;
        queue.tell(now);
        let sample_at = queue.sampled + SAMPLE_EVERY;
        if sample_at <= now {
            self.note(queue, now);
        }
        let sample_at = queue.sampled + SAMPLE_EVERY;
        let turn = queue.model.next().filter(|_| !queue.listening.is_empty());
        let next = turn.map_or(sample_at, |turn| turn.min(sample_at));
        Some(self.recorder.instant(next))
    }

    /// Puts the capacity in force that the faults say now.
    fn follow(&self, inner: &mut Inner, now: Micros) {
        let set = self.switch.current();
        let Some((fault, capacity)) = set.capacity() else {
            if let Some(mut queue) = inner.queue.take() {
                queue.tell(now);
                self.note(&mut queue, now);
            }
            return;
        };
        match &mut inner.queue {
            Some(queue) if queue.fault == fault.id => {}
            Some(queue) => {
                queue.tell(now);
                self.note(queue, now);
                queue.fault = fault.id;
                // How it stands is noted anew, for whoever looks at this fault.
                queue.last = Sample::default();
                queue.model.change(Arc::clone(capacity), now);
            }
            None => {
                let name = fault.stream ^ name_hash(&["other load"]);
                let random = fault.seed.generator(name, 0);
                inner.queue = Some(Queue {
                    fault: fault.id,
                    model: Model::new(Arc::clone(capacity), random, now),
                    listening: HashMap::new(),
                    sampled: now,
                    last: Sample::default(),
                });
            }
        }
    }

    /// Notes how long the queue is, unless nothing has changed since.
    fn note(&self, queue: &mut Queue, now: Micros) {
        let sample = queue.model.sample(now);
        let since = queue.sampled;
        queue.sampled = now;
        if sample == queue.last {
            return;
        }
        queue.last = sample;
        self.recorder.record(Observation::Queue(QueueSample {
            at: now,
            since,
            dependency: Arc::clone(&self.dependency),
            fault: queue.fault,
            waiting: sample.waiting as u64,
            waiting_max: sample.waiting_max as u64,
            serving: sample.serving as u64,
            utilisation: sample.utilisation,
            arrived: sample.arrived,
            served: sample.served,
            refused: sample.refused,
        }));
    }
}

impl Queue {
    /// Tells those whose turn has ended.
    fn tell(&mut self, now: Micros) {
        for ended in self.model.take(now) {
            if let Some(tell) = self.listening.remove(&ended.ticket) {
                // Nobody listens where the client has gone meanwhile.
                let _ = tell.send(ended.how);
            }
        }
    }
}
