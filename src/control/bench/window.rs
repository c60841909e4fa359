//! What was seen lately: the observations of the last two minutes, what they come to for each
//! dependency, and the counts since the beginning that metrics want.
//!
//! Pure: it is told what happened and what time it is. It never grows beyond its bounds; beyond them
//! the oldest goes first.

use super::figures::{Bin, Outcome, Totals};
use crate::{
    history::{self, Attempt, LogicalCall, Observation},
    units::Micros,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// How long observations are kept.
pub(crate) const KEPT: Duration = Duration::from_secs(120);

/// The most observations that are kept.
pub(crate) const OBSERVATIONS_MAX: usize = 100_000;

/// The most bytes that they take together, roughly.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an observation takes beside its texts.
const OBSERVATION_BYTES: usize = 512;

/// The most dependencies of which anything is kept.
const LANES_MAX: usize = 2_048;

/// The most attempts of a dependency that are put together to calls at once.
const GROUPED_MAX: usize = 2_000;

/// The most kinds of things of which unsettled calls are remembered, of each dependency.
const UNSETTLED_MAX: usize = 10_000;

/// How far back the rates of now reach.
pub(crate) const LIVE: Duration = Duration::from_secs(10);

/// How long a stretch of a series is.
const STEP: Micros = Micros::from_secs(1);

/// How many stretches of each dependency are kept, the one that goes on beside them.
const STEPS: u64 = 120;

/// An observation that is kept.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// One request.
    Attempt(Arc<Attempt>),
    /// Anything else.
    Other(Arc<Observation>),
}

impl Entry {
    fn at(&self) -> Micros {
        match self {
            Self::Attempt(attempt) => attempt.ended,
            Self::Other(observation) => observation.at(),
        }
    }

    /// The observation.
    pub(crate) fn observation(&self) -> Observation {
        match self {
            Self::Attempt(attempt) => Observation::Attempt(Attempt::clone(attempt)),
            Self::Other(observation) => Observation::clone(observation),
        }
    }
}

/// All that was seen lately.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    lanes: BTreeMap<Arc<str>, Lane>,
    /// Attempts so far, for their numbers.
    attempts: u64,
    /// Observations that were lost before they came here.
    pub(crate) dropped: u64,
    /// When the last observation was made that was dropped with all others.
    until: Micros,
}

/// What was seen of one dependency.
#[derive(Debug, Default)]
struct Lane {
    attempts: VecDeque<Numbered>,
    bins: VecDeque<Bin>,
    totals: Totals,
    unsettled: HashMap<u64, Vec<Micros>>,
    /// When it was first heard of.
    since: Option<Micros>,
    flow: Option<Flow>,
}

/// An attempt with its number in the order in which they ended.
#[derive(Debug, Clone)]
struct Numbered {
    number: u64,
    attempt: Arc<Attempt>,
}

/// What went through a proxy so far, when it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Connections open.
    pub(crate) connections: u64,
    /// Requests without an answer; `None` where requests are not seen.
    pub(crate) in_flight: Option<u64>,
    /// Bytes from clients.
    pub(crate) bytes_in: u64,
    /// Bytes to clients.
    pub(crate) bytes_out: u64,
}

/// A dependency now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Now {
    /// How much of the time that it covers there was.
    pub(crate) span: Duration,
    /// What happened in it.
    pub(crate) bin: Bin,
    /// The last whole second.
    pub(crate) second: Bin,
    /// What its proxy last said of itself.
    pub(crate) flow: Flow,
}

/// A logical call with its attempts.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Of which dependency.
    pub(crate) dependency: Arc<str>,
    /// The number of its first attempt: the same as long as that one is kept.
    pub(crate) number: u64,
    /// How its attempts were put together, and when.
    pub(crate) call: LogicalCall,
    /// Its attempts, in the order in which they began.
    pub(crate) attempts: Vec<Arc<Attempt>>,
}

impl Window {
    /// Takes in what was observed.
    pub(crate) fn take(&mut self, observation: Observation) {
        let entry = match observation {
            Observation::Attempt(attempt) => {
                let attempt = Arc::new(attempt);
                self.attempted(&attempt);
                Entry::Attempt(attempt)
            }
            other => Entry::Other(Arc::new(other)),
        };
        let bytes = cost(&entry);
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.entries.len() > OBSERVATIONS_MAX || self.bytes > BYTES_MAX {
            self.forget_first();
        }
    }

    fn attempted(&mut self, attempt: &Arc<Attempt>) {
        let number = self.attempts;
        self.attempts += 1;
        if let Some(lane) = self.lane(&attempt.dependency) {
            lane.attempted(number, attempt);
        }
    }

    fn lane(&mut self, name: &Arc<str>) -> Option<&mut Lane> {
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(name) {
            return None;
        }
        Some(self.lanes.entry(Arc::clone(name)).or_default())
    }

    fn forget_first(&mut self) {
        if let Some((entry, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
            if let Entry::Attempt(attempt) = entry
                && let Some(lane) = self.lanes.get_mut(&attempt.dependency)
            {
                lane.forget(&attempt);
            }
        }
    }

    /// Forgets what is older than it is kept. Asked now and then.
    pub(crate) fn age(&mut self, now: Micros) {
        let oldest = Micros(now.0.saturating_sub(Micros::from(KEPT).0));
        while self
            .entries
            .front()
            .is_some_and(|(entry, _)| entry.at() < oldest)
        {
            self.forget_first();
        }
        for lane in self.lanes.values_mut() {
            lane.advance(now);
        }
    }

    /// Forgets all dependencies but these.
    pub(crate) fn keep(&mut self, names: &BTreeSet<Arc<str>>) {
        self.lanes.retain(|name, _| names.contains(name));
    }

    /// A proxy says what went through it so far.
    pub(crate) fn flowed(&mut self, name: &Arc<str>, flow: Flow, now: Micros) {
        if let Some(lane) = self.lane(name) {
            lane.flowed(flow, now);
        }
    }

    /// How a dependency is doing.
    pub(crate) fn now(&self, name: &str, now: Micros) -> Option<Now> {
        self.lanes.get(name).map(|lane| lane.now(now))
    }

    /// The whole seconds of a dependency that are kept, the oldest first; the number of the first
    /// is when it began.
    pub(crate) fn series(&self, name: &str, now: Micros) -> (Micros, Vec<&Bin>) {
        let Some(lane) = self.lanes.get(name) else {
            return (Micros::default(), Vec::new());
        };
        let current = now.0 / STEP.0;
        let bins: Vec<&Bin> = lane.bins.iter().filter(|bin| bin.step < current).collect();
        let from = bins.first().map_or(current, |bin| bin.step);
        (Micros(from * STEP.0), bins)
    }

    /// What metrics count of each dependency.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (&Arc<str>, &Totals, Option<Flow>)> {
        let lanes = self.lanes.iter();
        lanes.map(|(name, lane)| (name, &lane.totals, lane.flow))
    }

    /// When the last observation that is kept was made.
    pub(crate) fn latest(&self) -> Micros {
        let last = self.entries.back();
        last.map_or(self.until, |(entry, _)| entry.at())
    }

    /// Forgets every observation; what was counted of them stays.
    pub(crate) fn drop_entries(&mut self) {
        self.until = self.latest();
        self.entries = VecDeque::new();
        self.bytes = 0;
        for lane in self.lanes.values_mut() {
            lane.attempts = VecDeque::new();
            lane.unsettled = HashMap::new();
        }
    }

    /// The number that the next attempt will have.
    pub(crate) fn next(&self) -> u64 {
        self.attempts
    }

    /// The calls of one dependency, or of all, the newest first, of which an attempt ended that has
    /// this number or a later one. At most `limit`.
    pub(crate) fn calls(&self, dependency: Option<&str>, since: u64, limit: usize) -> Vec<Call> {
        let lanes = self.lanes.iter();
        let wanted = lanes.filter(|(name, _)| dependency.is_none_or(|wanted| wanted == &***name));
        let mut calls: Vec<Call> = wanted
            .flat_map(|(name, lane)| lane.calls(name, since))
            .collect();
        calls.sort_by_key(|call| std::cmp::Reverse((call.call.began, call.number)));
        calls.truncate(limit);
        calls
    }

    /// Everything that is kept, in the order in which it came.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries
            .iter()
            .map(|(entry, _)| entry.clone())
            .collect()
    }
}

impl Lane {
    fn attempted(&mut self, number: u64, attempt: &Arc<Attempt>) {
        let begins_call = self.begins_call(attempt);
        let outcome = Outcome::of(attempt);
        let took = Micros::from(attempt.duration());
        let acted = !attempt.faults.is_empty();
        self.totals
            .add(&attempt.operation, outcome, took, begins_call);
        if let Some(bin) = self.bin(attempt.ended) {
            bin.add(outcome, took, begins_call, acted);
        }
        self.attempts.push_back(Numbered {
            number,
            attempt: Arc::clone(attempt),
        });
    }

    /// Whether an attempt begins a call, as [`history::calls`] would say of those so far.
    fn begins_call(&mut self, attempt: &Attempt) -> bool {
        if attempt.by_sdk_id {
            return attempt.attempt == 1;
        }
        let mut hasher = DefaultHasher::new();
        (&attempt.operation, &attempt.key, &attempt.captured).hash(&mut hasher);
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.unsettled.clear();
        }
        let open = self.unsettled.entry(hasher.finish()).or_default();
        open.retain(|ended| *ended + history::GAP_MAX >= attempt.began);
        let before = open
            .iter()
            .enumerate()
            .filter(|(_, ended)| **ended <= attempt.began);
        let continued = before.max_by_key(|(_, ended)| **ended).map(|(at, _)| at);
        if let Some(at) = continued {
            open.swap_remove(at);
        }
        if !attempt.settled() {
            open.push(attempt.ended);
        }
        if open.is_empty() {
            self.unsettled.remove(&hasher.finish());
        }
        continued.is_none()
    }

    fn forget(&mut self, attempt: &Arc<Attempt>) {
        // Both forget in the order in which they came.
        if self
            .attempts
            .front()
            .is_some_and(|first| Arc::ptr_eq(&first.attempt, attempt))
        {
            self.attempts.pop_front();
        }
    }

    /// The stretch that a moment is in; `None` where it is forgotten.
    fn bin(&mut self, at: Micros) -> Option<&mut Bin> {
        let step = at.0 / STEP.0;
        self.since.get_or_insert(at);
        match self.bins.back() {
            None => self.bins.push_back(Bin::new(step)),
            Some(last) => {
                let first_new = last.step + 1;
                if step >= first_new + STEPS {
                    self.bins.clear();
                    self.bins.push_back(Bin::new(step));
                } else {
                    self.bins.extend((first_new..=step).map(Bin::new));
                }
            }
        }
        while self.bins.len() as u64 > STEPS + 1 {
            self.bins.pop_front();
        }
        let first = self.bins.front()?.step;
        self.bins
            .get_mut(usize::try_from(step.checked_sub(first)?).ok()?)
    }

    fn advance(&mut self, now: Micros) {
        if self.since.is_some() {
            self.bin(now);
        }
    }

    fn flowed(&mut self, flow: Flow, now: Micros) {
        let before = self.flow.replace(flow).unwrap_or_default();
        // A proxy that was made anew counts from nothing.
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let (up, down) = (
            more(flow.bytes_in, before.bytes_in),
            more(flow.bytes_out, before.bytes_out),
        );
        self.totals.bytes_in += up;
        self.totals.bytes_out += down;
        if let Some(bin) = self.bin(now) {
            bin.bytes_in += up;
            bin.bytes_out += down;
        }
    }

    fn now(&self, now: Micros) -> Now {
        let current = now.0 / STEP.0;
        let reach = Micros::from(LIVE).0 / STEP.0;
        let first = current.saturating_sub(reach);
        let recent = self.bins.iter().filter(|bin| bin.step >= first);
        let from = Micros(first * STEP.0).max(self.since.unwrap_or_default());
        let mut sum = Bin::new(first);
        recent.for_each(|bin| sum.merge(bin));
        let last_whole = current.checked_sub(1);
        let second = self.bins.iter().find(|bin| Some(bin.step) == last_whole);
        Now {
            span: now.since(from),
            bin: sum,
            second: second
                .cloned()
                .unwrap_or_else(|| Bin::new(current.saturating_sub(1))),
            flow: self.flow.unwrap_or_default(),
        }
    }

    fn calls(&self, dependency: &Arc<str>, since: u64) -> Vec<Call> {
        if self.attempts.back().is_none_or(|last| last.number < since) {
            return Vec::new();
        }
        let skipped = self.attempts.len().saturating_sub(GROUPED_MAX);
        let mut recent: Vec<Numbered> = self.attempts.iter().skip(skipped).cloned().collect();
        recent.sort_by_key(|one| (one.attempt.began, one.number));
        let attempts: Vec<&Attempt> = recent.iter().map(|one| &*one.attempt).collect();
        let calls = history::calls(&attempts).into_iter();
        calls
            .filter_map(|call| {
                let members = call.attempts.iter().map(|at| &recent[*at as usize]);
                let changed = members.clone().map(|one| one.number).max()?;
                let number = members.clone().next()?.number;
                let attempts = members.map(|one| Arc::clone(&one.attempt)).collect();
                (changed >= since).then(|| Call {
                    dependency: Arc::clone(dependency),
                    number,
                    attempts,
                    call,
                })
            })
            .collect()
    }
}

/// What an observation takes, roughly.
fn cost(entry: &Entry) -> usize {
    let texts = match entry {
        Entry::Attempt(attempt) => {
            let captured = attempt.captured.iter();
            let captured: usize = captured.map(|(name, value)| name.len() + value.len()).sum();
            attempt.call.len() + attempt.key.len() + captured
        }
        Entry::Other(observation) => match &**observation {
            Observation::Message(message) => message.body.len() + message.request.len(),
            Observation::Acted(acted) => acted.what.len(),
            Observation::Connection(connection) => connection.how.len(),
            Observation::Unlisted(unlisted) => unlisted.host.len(),
            _ => 0,
        },
    };
    OBSERVATION_BYTES + texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::attempt;

    fn window(attempts: impl IntoIterator<Item = Attempt>) -> Window {
        let mut window = Window::default();
        for attempt in attempts {
            window.take(Observation::Attempt(attempt));
        }
        window
    }

    #[test]
    fn what_happened_in_the_last_ten_seconds_is_now() {
        let window = window([
            attempt("s3", 1_000, 1_500).status(500).done(),
            attempt("s3", 20_100, 20_200).status(200).done(),
            attempt("s3", 21_000, 21_300).status(503).done(),
            attempt("s3", 22_000, 22_400).gave_up().done(),
            attempt("db", 22_000, 22_400).status(200).done(),
        ]);
        let now = window
            .now("s3", Micros::from_millis(23_500))
            .expect("it is known");
        let counts = |bin: &Bin| (bin.ok, bin.failed, bin.refused, bin.unfinished);
        assert_eq!(counts(&now.bin), (1, 0, 1, 1));
        // What failed for the same thing shortly before is the same call.
        assert_eq!(now.bin.calls, 1);
        assert_eq!(now.span, Duration::from_millis(10_500));
        assert_eq!(counts(&now.second), (0, 0, 0, 1));
        let p99 = now.bin.quantile(0.99).expect("there are samples");
        assert!((380_000.0..420_000.0).contains(&p99), "{p99}");
        assert_eq!(window.now("nobody", Micros(0)), None);
    }

    #[test]
    fn a_series_has_every_second_also_those_without_anything() {
        let window = window([
            attempt("s3", 1_000, 1_500).status(200).done(),
            attempt("s3", 4_000, 4_500).status(200).done(),
        ]);
        let (from, bins) = window.series("s3", Micros::from_millis(5_100));
        assert_eq!(from, Micros::from_secs(1));
        assert_eq!(
            bins.iter().map(|bin| bin.ok).collect::<Vec<_>>(),
            [1, 0, 0, 1]
        );
    }

    #[test]
    fn bytes_are_what_came_since_the_proxy_was_last_asked() {
        let mut window = Window::default();
        let name = Arc::from("s3");
        let mut said = |bytes_in, at| {
            let flow = Flow {
                bytes_in,
                ..Flow::default()
            };
            window.flowed(&name, flow, Micros::from_millis(at));
        };
        said(100, 500);
        said(250, 1_500);
        // It was made anew.
        said(30, 2_500);
        let (_, bins) = window.series("s3", Micros::from_millis(3_500));
        assert_eq!(
            bins.iter().map(|bin| bin.bytes_in).collect::<Vec<_>>(),
            [100, 150, 30]
        );
    }

    #[test]
    fn attempts_are_put_together_as_in_reports_and_the_newest_call_comes_first() {
        let window = window([
            attempt("s3", 0, 100).sdk("a", 1).status(500).done(),
            attempt("s3", 50, 150).sdk("b", 1).status(200).done(),
            attempt("s3", 200, 300).sdk("a", 2).status(200).done(),
            attempt("db", 400, 500).status(200).done(),
        ]);
        let of = |calls: Vec<Call>| -> Vec<(String, usize)> {
            let one = |call: &Call| (call.dependency.to_string(), call.attempts.len());
            calls.iter().map(one).collect()
        };
        let three = [("db", 1), ("s3", 1), ("s3", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(of(window.calls(None, 0, 10)), three);
        assert_eq!(of(window.calls(None, 0, 1)), three[..1]);
        assert_eq!(of(window.calls(Some("s3"), 2, 10)), three[2..]);
        assert_eq!(window.calls(None, 4, 10).len(), 0);
    }

    #[test]
    fn retries_without_an_id_do_not_count_as_calls() {
        let window = window([
            attempt("s3", 0, 100).status(503).done(),
            attempt("s3", 200, 300).status(503).done(),
            attempt("s3", 400, 500).status(200).done(),
            attempt("s3", 600, 700).status(200).done(),
        ]);
        let now = window
            .now("s3", Micros::from_millis(900))
            .expect("it is known");
        assert_eq!(now.bin.calls, 2);
        assert_eq!(window.lanes["s3"].totals.attempts(), 4);
    }

    #[test]
    fn old_observations_go_and_the_counts_stay() {
        let mut window = window([
            attempt("s3", 0, 100).status(200).done(),
            attempt("s3", 100_000, 100_100).status(200).done(),
        ]);
        window.age(Micros::from_secs(130));
        assert_eq!(window.entries().len(), 1);
        assert_eq!(window.calls(None, 0, 10).len(), 1);
        let (_, totals, _) = window.totals().next().expect("it is counted");
        assert_eq!(totals.attempts(), 2);
        window.keep(&BTreeSet::new());
        assert_eq!(window.totals().count(), 0);
    }

    #[test]
    fn what_is_over_keeps_its_counts_alone() {
        let attempts = (0..5).map(|n| attempt("s3", n, n + 1).status(200).done());
        let mut window = window(attempts);
        let latest = window.latest();
        let (from, bins) = window.series("s3", latest);
        let before: Vec<_> = bins.into_iter().cloned().collect();
        window.drop_entries();
        assert_eq!((window.entries().len(), window.bytes), (0, 0));
        assert!(window.calls(None, 0, 10).is_empty());
        assert_eq!(window.latest(), latest);
        let (since, bins) = window.series("s3", latest);
        let after: Vec<_> = bins.into_iter().cloned().collect();
        assert_eq!((since, after), (from, before));
        assert_eq!(window.totals().count(), 1);
        // It goes on as one that is new does.
        window.take(Observation::Attempt(attempt("s3", 7, 8).status(200).done()));
        assert_eq!((window.entries().len(), window.next()), (1, 6));
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let mut window = Window::default();
        let long: Arc<str> = "x".repeat(1024 * 1024).into();
        for n in 0..200 {
            let mut one = attempt("s3", n, n + 1).status(200).done();
            one.key = Arc::clone(&long);
            window.take(Observation::Attempt(one));
        }
        assert!(window.entries().len() < 64, "{}", window.entries().len());
        assert_eq!(window.lanes["s3"].attempts.len(), window.entries().len());
        for n in 0..LANES_MAX + 10 {
            window.flowed(&Arc::from(n.to_string()), Flow::default(), Micros(0));
        }
        assert_eq!(window.lanes.len(), LANES_MAX);
    }
}
