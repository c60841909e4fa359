//! Records that wait, bounded for each tenant: who is written next, and what is given up.
//!
//! The newest record of a tenant is written first as long as it is *live*; what has waited longer
//! than [`LIVE`] is backlog, of which the oldest goes first, only where nothing live waits, and no
//! faster than [`BACKLOG_PER_SECOND`]. Tenants take turns, so that one tenant's records are never
//! in another's way. Where a tenant's buffer is full its oldest record is given up, and counted.

use super::record::{Record, TENANTS};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// How long a record is live.
const LIVE: Duration = Duration::from_secs(1);

/// The most records of a tenant that wait.
pub(super) const WAITING_MAX: usize = 120;

/// How fast backlog is written beside what is live: a database that has just come back has enough
/// to do.
const BACKLOG_PER_SECOND: u32 = 35;

/// The most ids of records given up that are remembered; the count goes on.
const SHED_IDS_MAX: usize = 10_000;

/// A record and when it was put here first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub record: Record,
    pub since: Instant,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write this record.
    Write(Waiting),
    /// There is backlog only, and its turn comes then.
    Until(Instant),
    /// Nothing waits.
    Nothing,
}

/// Records given up.
#[derive(Debug, Default)]
pub(super) struct Shed {
    /// How many there were.
    pub count: u64,
    /// The ids of the last of them.
    pub ids: VecDeque<String>,
}

/// The buffers of all tenants: at most `TENANTS × WAITING_MAX` records.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Of each tenant, oldest first.
    waiting: Vec<VecDeque<Waiting>>,
    /// The tenant whose turn it is.
    turn: usize,
    /// From when on backlog may be written again.
    backlog_from: Option<Instant>,
    shed: Shed,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self {
            waiting: vec![VecDeque::new(); TENANTS.len()],
            turn: 0,
            backlog_from: None,
            shed: Shed::default(),
        }
    }

    /// Puts a new record where it waits.
    pub(super) fn put(&mut self, record: Record, now: Instant) {
        let since = now;
        self.put_back(Waiting { record, since });
    }

    /// Puts a record back that could not be written, to its place by age.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        let queue = &mut self.waiting[waiting.record.tenant];
        let place = queue.partition_point(|other| other.since <= waiting.since);
        queue.insert(place, waiting);
        if queue.len() > WAITING_MAX
            && let Some(oldest) = queue.pop_front()
        {
            self.shed.add(oldest.record.id);
        }
    }

    /// Takes out what is to be written next.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let is_live = |waiting: &Waiting| now.duration_since(waiting.since) < LIVE;
        if let Some(tenant) = self.in_turn(|queue| queue.back().is_some_and(is_live)) {
            return self.take(tenant, VecDeque::pop_back);
        }
        let Some(tenant) = self.in_turn(|queue| !queue.is_empty()) else {
            return Next::Nothing;
        };
        match self.backlog_from {
            Some(from) if now < from => Next::Until(from),
            _ => {
                self.backlog_from = Some(now + Duration::from_secs(1) / BACKLOG_PER_SECOND);
                self.take(tenant, VecDeque::pop_front)
            }
        }
    }

    /// The first tenant from whose turn it is on for whom this holds.
    fn in_turn(&self, holds: impl Fn(&VecDeque<Waiting>) -> bool) -> Option<usize> {
        let count = self.waiting.len();
        (self.turn..self.turn + count)
            .map(|place| place % count)
            .find(|tenant| holds(&self.waiting[*tenant]))
    }

    fn take(
        &mut self,
        tenant: usize,
        end: impl FnOnce(&mut VecDeque<Waiting>) -> Option<Waiting>,
    ) -> Next {
        self.turn = (tenant + 1) % self.waiting.len();
        end(&mut self.waiting[tenant]).map_or(Next::Nothing, Next::Write)
    }

    /// How long the oldest record has waited.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let fronts = self.waiting.iter().filter_map(VecDeque::front);
        fronts
            .map(|waiting| now.duration_since(waiting.since))
            .max()
            .unwrap_or_default()
    }

    /// What was given up.
    pub(super) fn shed(&self) -> &Shed {
        &self.shed
    }
}

impl Shed {
    fn add(&mut self, id: String) {
        self.count += 1;
        self.ids.push_back(id);
        if self.ids.len() > SHED_IDS_MAX {
            self.ids.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer with records `(id, tenant, put after so many milliseconds)`.
    fn filled(start: Instant, records: &[(&str, usize, u64)]) -> Buffer {
        let mut buffer = Buffer::new();
        for (id, tenant, millis) in records {
            buffer.put(record(id, *tenant), start + Duration::from_millis(*millis));
        }
        buffer
    }

    fn record(id: &str, tenant: usize) -> Record {
        Record::new(id.to_owned(), tenant, "", 0)
    }

    /// The ids that are written at this moment, until nothing may be written any more.
    fn written(buffer: &mut Buffer, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| match buffer.next(now) {
            Next::Write(waiting) => Some(waiting.record.id),
            _ => None,
        })
        .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn live_records_go_first_the_newest_before_all_others() {
        let start = Instant::now();
        let mut buffer = filled(
            start,
            &[("old", 0, 0), ("new", 0, 1_500), ("newer", 0, 1_600)],
        );
        let now = start + Duration::from_millis(1_700);
        assert_eq!(written(&mut buffer, now), ["newer", "new", "old"]);
        assert_eq!(buffer.next(now), Next::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn backlog_goes_oldest_first_and_no_faster_than_it_may() {
        let start = Instant::now();
        let mut buffer = filled(start, &[("a", 0, 0), ("b", 0, 1), ("c", 0, 2)]);
        let mut now = start + LIVE * 2;
        let mut order = Vec::new();
        while order.len() < 3 {
            match buffer.next(now) {
                Next::Write(waiting) => order.push(waiting.record.id),
                Next::Until(then) => {
                    assert_eq!(then - now, Duration::from_secs(1) / BACKLOG_PER_SECOND);
                    now = then;
                }
                Next::Nothing => panic!("records are missing"),
            }
        }
        assert_eq!(order, ["a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_take_turns() {
        let start = Instant::now();
        let records = [
            ("a1", 0, 0),
            ("a2", 0, 1),
            ("a3", 0, 2),
            ("b1", 1, 3),
            ("c1", 2, 4),
        ];
        let mut buffer = filled(start, &records);
        let now = start + Duration::from_millis(5);
        assert_eq!(written(&mut buffer, now), ["a3", "b1", "c1", "a2", "a1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_buffer_gives_up_its_tenants_oldest_record_and_counts_it() {
        let now = Instant::now();
        let mut buffer = filled(now, &[("other", 1, 0)]);
        for number in 0..WAITING_MAX + 2 {
            let put = now + Duration::from_millis(number as u64);
            buffer.put(record(&number.to_string(), 0), put);
        }
        assert_eq!(buffer.waiting[0].len(), WAITING_MAX);
        assert_eq!(buffer.waiting[1].len(), 1, "others give up nothing");
        assert_eq!(buffer.shed().count, 2);
        assert_eq!(buffer.shed().ids, ["0", "1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_put_back_keeps_its_age() {
        let start = Instant::now();
        let mut buffer = filled(start, &[("first", 0, 0)]);
        let Next::Write(first) = buffer.next(start) else {
            panic!("a record is missing");
        };
        buffer.put(record("second", 0), start + Duration::from_millis(500));
        buffer.put_back(first);
        let now = start + Duration::from_millis(700);
        assert_eq!(buffer.oldest(now), Duration::from_millis(700));
        assert_eq!(written(&mut buffer, now), ["second", "first"]);
    }
}
