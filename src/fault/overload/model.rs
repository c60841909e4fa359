//! The queue of one dependency: arrivals in, ends out.
//!
//! The model is driven by events and knows no clock: whoever owns it says what time it is, asks
//! when something happens next, and takes what has happened. Time only moves forward; what is
//! told late is done at the moment at which it was due, so a slow owner bends nothing but the
//! moment at which it hears of it.
//!
//! All requests in service share the servers' speed, which depends on how many they are. So the
//! model counts the work that each of them has been given since the beginning: a request is done
//! when that count has grown by its own work, and a change of the speed moves no entry.

use super::capacity::{Bound, Capacity, Order, WAITING_MAX};
use crate::{fault::Law, units::Micros};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// The number of a request, given by whoever sends it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What became of a request, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The request.
    pub ticket: Ticket,
    /// When.
    pub at: Micros,
    /// How.
    pub how: Fate,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Served.
    Served {
        /// How long it waited for a server.
        waited: Duration,
        /// Whether the others slowed it down in service by a tenth or more.
        slowed: bool,
    },
    /// There was no room for it.
    Refused,
    /// Its turn came after the deadline.
    Expired,
    /// Its client has gone, and it was taken out.
    Cancelled,
}

/// How things stood, and what happened since the last sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// How many wait.
    pub waiting: usize,
    /// The most that waited at any moment since.
    pub waiting_max: usize,
    /// How many are in service.
    pub serving: usize,
    /// How much of the servers' time was taken since, 0 to 1.
    pub utilisation: f64,
    /// How many arrived since, those of other tenants included.
    pub arrived: u64,
    /// How many were served since, dead work included.
    pub served: u64,
    /// How many were refused since, for want of room or behind the deadline.
    pub refused: u64,
}

/// Nanoseconds of work, as whole numbers so that sums are exact.
type Work = u64;

/// Somebody who waits. Without a ticket: another tenant's request.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Option<Ticket>,
    arrived: f64,
    work: Work,
}

/// Somebody in service.
#[derive(Debug, Clone, Copy)]
struct Serving {
    /// The count of work at which it is done.
    done_at: f64,
    /// Among equals who began first is done first.
    nth: u64,
    ticket: Option<Ticket>,
    waited: f64,
    /// What one alone had been given when it began.
    began: f64,
    work: Work,
}

impl PartialEq for Serving {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Serving {}

impl PartialOrd for Serving {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Serving {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_work = self.done_at.total_cmp(&other.done_at);
        by_work.then(self.nth.cmp(&other.nth))
    }
}

/// The queue of one dependency.
#[derive(Debug)]
pub struct Model {
    capacity: Arc<Capacity>,
    /// Draws the arrivals and the work of other tenants.
    random: ChaCha8Rng,
    /// Microseconds, as are all moments here.
    now: f64,
    /// The work, in microseconds, that everybody in service has been given since the beginning.
    given: f64,
    /// The same for a request that is alone.
    given_alone: f64,
    /// What of `given` comes with each microsecond, as long as nobody begins or ends.
    speed: f64,
    serving: BinaryHeap<Reverse<Serving>>,
    waiting: VecDeque<Waiting>,
    backlog: Work,
    next_other: Option<f64>,
    begun: u64,
    ended: Vec<Ended>,
    sample: Sample,
    sampled: f64,
    busy: f64,
}

/// A request that the others made at least this many times as long was slowed by them.
const SLOWED: f64 = 1.1;

impl Model {
    /// An empty queue. `random` is what the demand of other tenants is drawn from.
    pub fn new(capacity: Arc<Capacity>, random: ChaCha8Rng, now: Micros) -> Self {
        let mut model = Self {
            speed: capacity.speed(1),
            capacity,
            random,
            now: now.0 as f64,
            given: 0.0,
            given_alone: 0.0,
            serving: BinaryHeap::new(),
            waiting: VecDeque::new(),
            backlog: 0,
            next_other: None,
            begun: 0,
            ended: Vec::new(),
            sample: Sample::default(),
            sampled: now.0 as f64,
            busy: 0.0,
        };
        model.plan_other();
        model
    }

    /// From now on the dependency has this capacity. Who is in service stays there, who waits goes
    /// on waiting, and more servers take more of them in at once.
    pub fn change(&mut self, capacity: Arc<Capacity>, now: Micros) {
        self.advance(now);
        let other_load = self.capacity.other_load;
        self.capacity = capacity;
        if self.capacity.other_load != other_load {
            self.plan_other();
        }
        self.fill();
    }

    /// A request arrives that is this much work. Says whether it has to wait: if not, it is in
    /// service, or was refused at once.
    pub fn arrive(&mut self, ticket: Ticket, work: Duration, now: Micros) -> bool {
        self.advance(now);
        self.admit(Some(ticket), nanos(work));
        let last = self.waiting.back();
        last.is_some_and(|who| who.ticket == Some(ticket))
    }

    /// The client of a request has gone: it is taken out if the dependency notices such things.
    pub fn leave(&mut self, ticket: Ticket, now: Micros) {
        self.advance(now);
        if !self.capacity.cancel {
            return;
        }
        let known = Some(ticket);
        if let Some(at) = self.waiting.iter().position(|who| who.ticket == known) {
            if let Some(who) = self.waiting.remove(at) {
                self.backlog -= who.work;
            }
        } else if self.serving.iter().any(|who| who.0.ticket == known) {
            self.serving.retain(|who| who.0.ticket != known);
            self.fill();
        } else {
            return;
        }
        self.end(known, Fate::Cancelled);
    }

    /// When something happens next, if nobody arrives; `None`: never.
    pub fn next(&self) -> Option<Micros> {
        self.next_event().map(|at| Micros(at.ceil() as u64))
    }

    /// What has become of whom until now, in order.
    pub fn take(&mut self, now: Micros) -> Vec<Ended> {
        self.advance(now);
        std::mem::take(&mut self.ended)
    }

    /// How many wait now, those whose clients have gone included.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many are in service now.
    pub fn serving(&self) -> usize {
        self.serving.len()
    }

    /// The capacity in force.
    pub fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    /// How things stand, and what happened since this was last asked.
    pub fn sample(&mut self, now: Micros) -> Sample {
        self.advance(now);
        let server_time = (self.now - self.sampled) * f64::from(self.capacity.servers);
        let sample = Sample {
            waiting: self.waiting.len(),
            serving: self.serving.len(),
            utilisation: if server_time > 0.0 {
                (self.busy / server_time).min(1.0)
            } else {
                0.0
            },
            ..self.sample
        };
        self.sample = Sample {
            waiting_max: self.waiting.len(),
            ..Sample::default()
        };
        self.busy = 0.0;
        self.sampled = self.now;
        sample
    }

    /// Does what was due until now, in order.
    fn advance(&mut self, now: Micros) {
        let now = now.0 as f64;
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            self.pass(at);
            if self.next_other.is_some_and(|other| other <= at) {
                let work = nanos(self.capacity.service.draw(&mut self.random));
                self.plan_other();
                self.admit(None, work);
            } else if let Some(Reverse(who)) = self.serving.pop() {
                // The clock of work is set by who is done, so that no rounding is carried on.
                self.given = who.done_at;
                self.done(&who);
                self.fill();
            }
        }
        self.pass(now);
    }

    fn next_event(&self) -> Option<f64> {
        let done = self.serving.peek().filter(|_| self.speed > 0.0).map(|who| {
            let left = (who.0.done_at - self.given).max(0.0);
            self.now + left / self.speed
        });
        match (done, self.next_other) {
            (Some(done), Some(other)) => Some(done.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Lets time go on in which nothing happens.
    fn pass(&mut self, at: f64) {
        let time = at - self.now;
        if time > 0.0 {
            self.given += time * self.speed;
            self.given_alone += time * self.capacity.scale;
            let servers = f64::from(self.capacity.servers);
            self.busy += time * (self.serving.len() as f64).min(servers);
            self.now = at;
        }
    }

    /// Lets an arrival in, or refuses it.
    fn admit(&mut self, ticket: Option<Ticket>, work: Work) {
        self.sample.arrived += 1;
        let is_free = self.serving.len() < self.capacity.servers as usize;
        if !is_free && !self.has_room() {
            return self.end(ticket, Fate::Refused);
        }
        self.waiting.push_back(Waiting {
            ticket,
            arrived: self.now,
            work,
        });
        self.backlog += work;
        self.fill();
        self.sample.waiting_max = self.sample.waiting_max.max(self.waiting.len());
    }

    fn has_room(&self) -> bool {
        let count = self.waiting.len();
        count < WAITING_MAX
            && match self.capacity.bound {
                Bound::Unbounded => true,
                Bound::Requests(limit) => count < limit,
                Bound::Work(limit) => {
                    let limit = limit.as_secs_f64() * self.capacity.work_per_second();
                    self.backlog as f64 / 1e9 < limit
                }
            }
    }

    /// Takes in who waits, as long as a server is free.
    fn fill(&mut self) {
        while self.serving.len() < self.capacity.servers as usize {
            let next = match self.capacity.order {
                Order::Fifo => self.waiting.pop_front(),
                Order::Lifo => self.waiting.pop_back(),
            };
            let Some(who) = next else { break };
            self.backlog -= who.work;
            let waited = self.now - who.arrived;
            let deadline = self.capacity.deadline;
            if deadline.is_some_and(|deadline| waited > micros(deadline)) {
                self.end(who.ticket, Fate::Expired);
                continue;
            }
            self.begun += 1;
            self.serving.push(Reverse(Serving {
                done_at: self.given + who.work as f64 / 1e3,
                nth: self.begun,
                ticket: who.ticket,
                waited,
                began: self.given_alone,
                work: who.work,
            }));
        }
        self.speed = self.capacity.speed(self.serving.len());
    }

    fn done(&mut self, who: &Serving) {
        let alone = who.work as f64 / 1e3;
        let fate = Fate::Served {
            waited: Duration::from_nanos((who.waited * 1e3) as u64),
            slowed: self.given_alone - who.began >= alone * SLOWED,
        };
        self.end(who.ticket, fate);
    }

    fn end(&mut self, ticket: Option<Ticket>, how: Fate) {
        match how {
            Fate::Served { .. } => self.sample.served += 1,
            Fate::Refused | Fate::Expired => self.sample.refused += 1,
            Fate::Cancelled => {}
        }
        let at = Micros(self.now.ceil() as u64);
        let ended = ticket.map(|ticket| Ended { ticket, at, how });
        self.ended.extend(ended);
    }

    /// Draws when the next request of other tenants comes.
    fn plan_other(&mut self) {
        self.next_other = self.capacity.other_load.map(|rate| {
            let apart = Law::Exponential(rate.interval()).draw(&mut self.random);
            self.now + micros(apart)
        });
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn nanos(work: Duration) -> Work {
    u64::try_from(work.as_nanos()).unwrap_or(u64::MAX)
}
