//! Whether everything is as it was before: the steady-state criteria, second by second.
//!
//! A second is good for a load when, of the operations that should have begun in it,
//!
//! - there was at least one, or the load is so thin that none is no surprise, or none was due: those
//!   before it and after it are neighbours by their numbers;
//! - at least 99 % were answered;
//! - the share that a fallback answered is at most 10 points above the baseline's;
//! - the median latency is at most twice the baseline's p99, or 100 ms above it;
//!
//! and no instance exited in it on its own account. Everything has *held* when every second of
//! a stretch was good for every load, and each load was answered three times in it at least: where
//! one is too thin for that, the stretch must last until it was. The baseline is what began and ended
//! in the steady phases.
//!
//! What a thin load meets with is judged with what there is of it: one that was never answered has not
//! recovered, one that was asked less than three times or answered less than three times since it last
//! was not leaves it untold.
//!
//! [`Steady`] is fed observations as they happen, so that a run can end its recovery phase when
//! everything held; the `recovery` and `failover` expectations feed it a whole history. A second
//! is decided only when all of its operations are known: when later ones of the same load have
//! come without a gap in their numbers, or when the load's time-out has passed.

use super::{History, Observation, Operation, Outcome, ProcessEvent};
use crate::{
    scenario::{Scenario, System},
    units::{Micros, format_duration},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const SECOND_MICROS: u64 = 1_000_000;

/// The most latencies kept of a second for its median.
const LATENCIES_PER_SECOND_MAX: usize = 4_096;

/// The most operations kept of a load's baseline; later ones do not count towards it.
const BASELINE_MAX: usize = 1_000_000;

/// The most operations remembered behind a gap in a load's numbers.
const BEYOND_MAX: usize = 65_536;

/// The fewest answers that show of a load that it is as before, and the fewest operations that show
/// that it is not.
pub const SHOWN_BY: u64 = 3;

/// What a good second is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criteria {
    /// The least share answered, by the thing itself or by a fallback.
    pub answered: f64,
    /// How far the share of fallbacks may lie above the baseline's; `None`: any share will do.
    pub degraded_above: Option<f64>,
    /// The factor by which the median may exceed the baseline's p99; `None`: any latency will do.
    pub latency_factor: Option<f64>,
}

impl Criteria {
    /// As before the outage.
    pub const STEADY: Self = Self {
        answered: 0.99,
        degraded_above: Some(0.10),
        latency_factor: Some(2.0),
    };

    /// Answered at all, in whatever way.
    pub const ANSWERED: Self = Self {
        answered: 0.99,
        degraded_above: None,
        latency_factor: None,
    };

    /// The excess over the baseline's p99 that is noise, in microseconds.
    const LATENCY_SLACK_MICROS: f64 = 100_000.0;
}

/// Follows the steady-state criteria.
#[derive(Debug)]
pub struct Steady {
    criteria: Criteria,
    loads: BTreeMap<Arc<str>, Follower>,
    steady_phases: BTreeSet<u16>,
    /// The steady phases so far; the last one is open while `to` is `None`.
    baseline: Vec<(Micros, Option<Micros>)>,
    since: Micros,
    /// When the last phase was over: no operation was to begin later.
    over: Option<Micros>,
    /// Whether nothing more will be known: an operation without an outcome was cut off.
    ended: bool,
    exits: BTreeSet<u64>,
}

/// One load.
#[derive(Debug)]
struct Follower {
    timeout: Duration,
    /// Operations a second that are to be expected; 0 where nobody knows.
    rate: f64,
    /// Baseline operations as (intended, ended, degraded, latency); those that ended after their
    /// phase are left out when asked.
    baseline: Vec<(Micros, Micros, bool, u64)>,
    /// Whether any operation began in a steady phase.
    has_come: bool,
    limits: Option<Limits>,
    seconds: BTreeMap<u64, Second>,
    /// The greatest number of those that should have begun before seconds are counted.
    before: u64,
    /// The number up to which every operation is known, those beyond it, and the intended start
    /// of the last one before a gap.
    known: u64,
    beyond: BTreeMap<u64, Micros>,
    front: Micros,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    degraded_share: f64,
    median_micros: f64,
}

#[derive(Debug, Default)]
struct Second {
    count: u64,
    degraded: u64,
    unanswered: u64,
    /// The least and the greatest number of its operations.
    numbers: Option<(u64, u64)>,
    latencies: Vec<u64>,
    /// How many operations were cut off by the end of the run, so that nobody knows their outcome.
    cut_off: u64,
}

/// What is known of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Good,
    Bad,
    NotYet,
}

/// The last stretch of good seconds that was looked at.
struct Stretch {
    /// Its first second.
    first: u64,
    /// How many seconds it lasts, as far as is known.
    length: u64,
    /// How often each load was answered in it, in the order of the loads.
    answers: Vec<u64>,
    /// Whether everything held in it.
    held: bool,
}

impl Steady {
    /// A follower of every load of the system (and its ingress). Until told otherwise it counts
    /// from the run's beginning.
    pub fn new(scenario: &Scenario, system: &System, criteria: Criteria) -> Self {
        let mut loads = BTreeMap::new();
        for load in &system.loads {
            let follower = Follower::new(load.patience(), load.rate.as_per_second());
            loads.insert(load.name.clone(), follower);
        }
        if let Some(ingress) = &system.ingress {
            let follower = Follower::new(ingress.timeout, 0.0);
            loads.insert(ingress.name.clone(), follower);
        }
        let steady_phases = (0u16..)
            .zip(&scenario.phases)
            .filter(|(_, phase)| phase.steady)
            .map(|(index, _)| index);
        Self {
            criteria,
            loads,
            steady_phases: steady_phases.collect(),
            baseline: Vec::new(),
            since: Micros::default(),
            over: None,
            ended: false,
            exits: BTreeSet::new(),
        }
    }

    /// The same for one load alone.
    #[must_use]
    pub fn only(mut self, load: &str) -> Self {
        self.loads.retain(|name, _| **name == *load);
        self
    }

    /// Takes in one observation. A lifted fault makes it count from there.
    pub fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Phase { at, index } => self.phase(*at, *index),
            Observation::Lifted { at, .. } => self.count_from((*at).max(self.since)),
            Observation::PhasesOver { at } => self.over = Some(*at),
            Observation::Ended(_) => self.ended = true,
            Observation::Operation(operation) => self.operation(operation),
            Observation::Process(event) => self.process(event),
            _ => {}
        }
    }

    /// Takes in a whole history, counting from `since`.
    pub fn observe_history(&mut self, history: &History, since: Micros) {
        self.observe_history_but(history, since, |_| false);
    }

    /// The same, where an answer to an operation of which `is_lost` says so is none.
    pub fn observe_history_but(
        &mut self,
        history: &History,
        since: Micros,
        is_lost: impl Fn(&Operation) -> bool,
    ) {
        for span in &history.phases {
            self.phase(span.began, u16::try_from(span.index).unwrap_or(u16::MAX));
        }
        self.count_from(since);
        self.over = history.phases.last().map(|last| last.ended);
        self.ended = history.ended.is_some();
        for operation in history.operations.values().flatten() {
            match is_lost(operation) {
                true => self.operation(&Operation {
                    outcome: Outcome::Indeterminate,
                    ..operation.clone()
                }),
                false => self.operation(operation),
            }
        }
        for event in &history.processes {
            self.process(event);
        }
    }

    /// Counts seconds from this moment and forgets those counted before.
    pub fn count_from(&mut self, since: Micros) {
        self.since = since;
        self.exits.clear();
        for follower in self.loads.values_mut() {
            follower.forget();
        }
    }

    /// From when seconds are counted: the last fault's lifting.
    pub fn since(&self) -> Micros {
        self.since
    }

    /// The start of the first stretch of `hold` (rounded up to whole seconds) or longer in which
    /// every criterion held in every second and that has enough answers of every load, as far as
    /// that is known at `now`.
    pub fn held(&mut self, hold: Duration, now: Micros) -> Option<Micros> {
        self.settle();
        let stretch = self.stretch(hold, now, &[]);
        stretch.held.then(|| self.start_of(stretch.first))
    }

    /// The earliest moment from which on everything may hold, where nothing is known to have held yet:
    /// the end of the last second that was not good.
    pub fn not_before(&mut self, hold: Duration, now: Micros) -> Micros {
        self.settle();
        self.start_of(self.stretch(hold, now, &[]).first)
    }

    /// Why it cannot be told whether everything held, where all that is not known to have held is
    /// what was asked too seldom.
    pub fn untold(&mut self, hold: Duration, now: Micros) -> Option<String> {
        self.settle();
        if self.stretch(hold, now, &[]).held {
            return None;
        }
        let names: Vec<Arc<str>> = self.loads.keys().cloned().collect();
        let mut sparse = Vec::new();
        let mut reasons = Vec::new();
        for name in names {
            if let Some(why) = self.sparse(&name, hold, now) {
                reasons.push(why);
                sparse.push(name);
            }
        }
        let is_all = !sparse.is_empty() && self.stretch(hold, now, &sparse).held;
        is_all.then(|| reasons.join("; "))
    }

    /// Why it cannot be told of a load whether it is as before, if it cannot.
    fn sparse(&self, name: &Arc<str>, hold: Duration, now: Micros) -> Option<String> {
        let follower = self.loads.get(name).filter(|one| one.is_awaited())?;
        let others: Vec<Arc<str>> = self
            .loads
            .keys()
            .filter(|one| *one != name)
            .cloned()
            .collect();
        let own = self.stretch(hold, now, &others);
        let place = self.loads.keys().position(|one| one == name)?;
        let answered = own.answers.get(place).copied().unwrap_or(0);
        let began = follower.began();
        let too_seldom = |what: &str, times: u64| {
            let times = match times {
                0 => "never".to_owned(),
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            format!("`{name}` was {what} {times} since, too seldom to tell")
        };
        if own.held {
            None
        } else if began < SHOWN_BY {
            Some(too_seldom("asked", began))
        } else if answered > 0 && answered < SHOWN_BY && own.length >= seconds(hold) {
            Some(too_seldom("answered only", answered))
        } else {
            None
        }
    }

    /// Follows the seconds to the first stretch that held, or else to the last that is known. Of the
    /// loads in `without` nothing is asked.
    fn stretch(&self, hold: Duration, now: Micros, without: &[Arc<str>]) -> Stretch {
        let wanted = seconds(hold);
        let nothing = vec![0; self.loads.len()];
        let mut stretch = Stretch {
            first: 0,
            length: 0,
            answers: nothing.clone(),
            held: false,
        };
        for second in 0..self.whole_seconds(now) {
            match self.second(second, now, without) {
                Known::Good => {}
                Known::Bad => {
                    stretch = Stretch {
                        first: second + 1,
                        length: 0,
                        answers: nothing.clone(),
                        held: false,
                    };
                    continue;
                }
                Known::NotYet => break,
            }
            stretch.length += 1;
            for (answers, follower) in stretch.answers.iter_mut().zip(self.loads.values()) {
                *answers += follower.answered(second);
            }
            if stretch.length >= wanted && self.is_shown(&stretch.answers, without) {
                stretch.held = true;
                break;
            }
        }
        stretch
    }

    /// Whether so many answers of each load show that all is as before. Where nobody is known to come
    /// any answer does, but a stretch without a single one shows nothing.
    fn is_shown(&self, answers: &[u64], without: &[Arc<str>]) -> bool {
        let mut loads = self.loads.iter().zip(answers);
        let is_enough = |((name, follower), answers): ((&Arc<str>, &Follower), &u64)| {
            *answers >= SHOWN_BY || !follower.is_awaited() || without.contains(name)
        };
        let is_any = answers.iter().any(|answers| *answers > 0);
        loads.all(is_enough) && (is_any || without.len() == self.loads.len())
    }

    /// Takes the limits of every load from the baseline, once that is over.
    fn settle(&mut self) {
        let baseline = &self.baseline;
        for follower in self.loads.values_mut() {
            follower.settle_baseline(baseline, &self.criteria);
        }
    }

    /// Every second that is decided at `now`, up to the first that is not: its start, and whether
    /// every criterion held in it.
    pub fn decided(&mut self, now: Micros) -> Vec<(Micros, bool)> {
        self.settle();
        (0..now.0.saturating_sub(self.since.0) / SECOND_MICROS)
            .map(|second| (second, self.second(second, now, &[])))
            .take_while(|(_, known)| *known != Known::NotYet)
            .map(|(second, known)| (self.start_of(second), known == Known::Good))
            .collect()
    }

    /// Up to when every second is decided.
    pub fn known_until(&self, now: Micros) -> Micros {
        let whole = self.whole_seconds(now);
        let open = (0..whole).find(|second| self.second(*second, now, &[]) == Known::NotYet);
        self.start_of(open.unwrap_or(whole))
    }

    /// The last `limit` seconds that were not good, in their order, and why.
    pub fn complaints(&self, now: Micros, limit: usize) -> Vec<(Micros, String)> {
        let whole = self.whole_seconds(now);
        let mut found = Vec::new();
        for second in (0..whole).rev() {
            if found.len() >= limit {
                break;
            }
            if self.exits.contains(&second) {
                found.push((self.start_of(second), "an instance exited".to_owned()));
            }
            for (name, follower) in &self.loads {
                let end = self.start_of(second + 1);
                let awaits = self.awaits(end, follower, now);
                if follower.second(second, awaits, &self.criteria) == Known::Bad
                    && let Some(why) = follower.complaint(second, &self.criteria)
                {
                    found.push((self.start_of(second), format!("{name}: {why}")));
                }
            }
        }
        found.truncate(limit);
        found.reverse();
        found
    }

    /// How many whole seconds there were in which operations were to begin.
    fn whole_seconds(&self, now: Micros) -> u64 {
        let end = self.over.map_or(now, |over| over.min(now));
        end.0.saturating_sub(self.since.0) / SECOND_MICROS
    }

    fn start_of(&self, second: u64) -> Micros {
        Micros(self.since.0 + second * SECOND_MICROS)
    }

    /// What is known of a second, of all loads but those in `without`.
    fn second(&self, second: u64, now: Micros, without: &[Arc<str>]) -> Known {
        if self.exits.contains(&second) {
            return Known::Bad;
        }
        let end = self.start_of(second + 1);
        let mut worst = Known::Good;
        let loads = self.loads.iter();
        for (_, follower) in loads.filter(|(name, _)| !without.contains(name)) {
            let awaits = self.awaits(end, follower, now);
            match follower.second(second, awaits, &self.criteria) {
                Known::Bad => return Known::Bad,
                Known::NotYet => worst = Known::NotYet,
                Known::Good => {}
            }
        }
        worst
    }

    /// Whether operations of a second that ends at `end` may still be open.
    fn awaits(&self, end: Micros, follower: &Follower, now: Micros) -> bool {
        !self.ended && follower.front < end && now < end + follower.timeout
    }

    fn phase(&mut self, at: Micros, index: u16) {
        if let Some((_, to @ None)) = self.baseline.last_mut() {
            *to = Some(at);
        }
        if self.steady_phases.contains(&index) {
            self.baseline.push((at, None));
        }
    }

    fn operation(&mut self, operation: &Operation) {
        let Some(follower) = self.loads.get_mut(&operation.load) else {
            return;
        };
        follower.number(operation);
        let steady = self.baseline.iter().any(|(from, to)| {
            *from <= operation.intended && to.is_none_or(|to| operation.intended < to)
        });
        follower.has_come |= steady;
        if steady && !operation.cut && follower.baseline.len() < BASELINE_MAX {
            follower.baseline.push((
                operation.intended,
                operation.ended,
                operation.outcome == Outcome::Degraded,
                operation.ended.0.saturating_sub(operation.intended.0),
            ));
        }
        if operation.intended >= self.since {
            let second = (operation.intended.0 - self.since.0) / SECOND_MICROS;
            let seen = follower.seconds.entry(second).or_default();
            let (least, greatest) = seen.numbers.unwrap_or((operation.nth, operation.nth));
            seen.numbers = Some((least.min(operation.nth), greatest.max(operation.nth)));
            if operation.cut {
                seen.cut_off += 1;
            } else {
                seen.add(operation);
            }
        } else {
            follower.before = follower.before.max(operation.nth);
        }
    }

    fn process(&mut self, event: &ProcessEvent) {
        if event.failure().is_some() && event.at >= self.since {
            self.exits
                .insert((event.at.0 - self.since.0) / SECOND_MICROS);
        }
    }
}

impl Follower {
    fn new(timeout: Duration, rate: f64) -> Self {
        Self {
            timeout,
            rate,
            baseline: Vec::new(),
            has_come: false,
            limits: None,
            seconds: BTreeMap::new(),
            before: 0,
            known: 0,
            beyond: BTreeMap::new(),
            front: Micros::default(),
        }
    }

    /// Whether answers of it are needed: it has a rate of its own, or somebody came in the baseline.
    const fn is_awaited(&self) -> bool {
        self.rate > 0.0 || self.has_come
    }

    /// Forgets the seconds that were counted.
    fn forget(&mut self) {
        let numbers = self.seconds.values().filter_map(|one| one.numbers);
        let greatest = numbers.map(|(_, greatest)| greatest).max();
        self.before = self.before.max(greatest.unwrap_or(0));
        self.seconds.clear();
    }

    /// Whether no operation was due in a second without any: numbers follow the schedule, and those
    /// around it are neighbours. Of the last ones nobody knows.
    fn was_idle(&self, second: u64) -> bool {
        let before = self.seconds.range(..second).next_back();
        let before = before.and_then(|(_, one)| one.numbers);
        let before = before.map_or(self.before, |(_, greatest)| greatest);
        let after = self.seconds.range(second + 1..).next();
        let after = after.and_then(|(_, one)| one.numbers);
        after.is_some_and(|(least, _)| least == before + 1)
    }

    /// How many operations are known to have begun.
    fn began(&self) -> u64 {
        let seconds = self.seconds.values();
        seconds.map(|second| second.count + second.cut_off).sum()
    }

    /// How many operations of a second were answered.
    fn answered(&self, second: u64) -> u64 {
        let seen = self.seconds.get(&second);
        seen.map_or(0, |seen| seen.count - seen.unanswered)
    }

    /// Follows the numbers: operations end in any order, but begin in that of their numbers.
    fn number(&mut self, operation: &Operation) {
        if operation.nth == self.known + 1 {
            self.known += 1;
            self.front = self.front.max(operation.intended);
        } else if operation.nth > self.known {
            self.beyond.insert(operation.nth, operation.intended);
        }
        if self.beyond.len() > BEYOND_MAX
            && let Some((first, _)) = self.beyond.first_key_value()
        {
            // Whatever is missing was never sent.
            self.known = first - 1;
        }
        while let Some(intended) = self.beyond.remove(&(self.known + 1)) {
            self.known += 1;
            self.front = self.front.max(intended);
        }
    }

    /// Takes the limits from the baseline once it is over; its operations are then forgotten.
    fn settle_baseline(&mut self, phases: &[(Micros, Option<Micros>)], criteria: &Criteria) {
        if self.baseline.is_empty() || phases.last().is_none_or(|(_, to)| to.is_none()) {
            return;
        }
        let inside = |intended: Micros, ended: Micros| {
            phases.iter().any(|(from, to)| {
                *from <= intended && to.is_none_or(|to| intended < to && ended <= to)
            })
        };
        let kept = self
            .baseline
            .drain(..)
            .filter(|(intended, ended, ..)| inside(*intended, *ended));
        let (degraded, mut latencies): (Vec<bool>, Vec<u64>) = kept
            .map(|(.., degraded, latency)| (degraded, latency))
            .unzip();
        if latencies.is_empty() {
            return;
        }
        latencies.sort_unstable();
        let p99 = latencies[(latencies.len() * 99).div_ceil(100) - 1] as f64;
        let fallbacks = degraded.iter().filter(|degraded| **degraded).count() as f64;
        self.limits = Some(Limits {
            degraded_share: criteria
                .degraded_above
                .map_or(1.0, |above| fallbacks / degraded.len() as f64 + above),
            median_micros: criteria.latency_factor.map_or(f64::INFINITY, |factor| {
                (p99 * factor).max(p99 + Criteria::LATENCY_SLACK_MICROS)
            }),
        });
    }

    fn second(&self, second: u64, awaits: bool, criteria: &Criteria) -> Known {
        let seen = self.seconds.get(&second);
        if seen.is_some_and(|seen| seen.share_answered() < criteria.answered) {
            return Known::Bad;
        }
        if awaits || seen.is_some_and(|seen| seen.cut_off > 0) {
            return Known::NotYet;
        }
        match self.complaint(second, criteria) {
            Some(_) => Known::Bad,
            None => Known::Good,
        }
    }

    /// What is wrong with a second of which everything is known.
    fn complaint(&self, second: u64, criteria: &Criteria) -> Option<String> {
        let Some(seen) = self.seconds.get(&second) else {
            // A Poisson process and a phase that asks less have seconds in which nothing is due. Where
            // nothing came any more, fewer than one in twenty seconds of such a load are empty by
            // chance. Of a thinner one an empty second says nothing: its answers are counted instead.
            let is_missing = self.rate >= 3.0 && !self.was_idle(second);
            return is_missing.then(|| "no operation at all".to_owned());
        };
        if seen.share_answered() < criteria.answered {
            let (bad, count) = (seen.unanswered, seen.count);
            return Some(format!("{bad} of {count} operations not answered"));
        }
        let limits = self.limits?;
        if seen.share_degraded() > limits.degraded_share {
            let (degraded, count) = (seen.degraded, seen.count);
            return Some(format!("{degraded} of {count} answered by a fallback"));
        }
        let median = seen.median();
        (median > limits.median_micros).then(|| {
            format!(
                "median latency {}, above {}",
                format_duration(Duration::from_micros(median as u64)),
                format_duration(Duration::from_micros(limits.median_micros as u64)),
            )
        })
    }
}

/// A stretch in whole seconds.
fn seconds(hold: Duration) -> u64 {
    hold.as_millis().div_ceil(1000).max(1) as u64
}

impl Second {
    fn add(&mut self, operation: &Operation) {
        self.count += 1;
        match operation.outcome {
            Outcome::Ok => {}
            Outcome::Degraded => self.degraded += 1,
            Outcome::Failed | Outcome::Indeterminate => self.unanswered += 1,
        }
        if self.latencies.len() < LATENCIES_PER_SECOND_MAX {
            self.latencies
                .push(operation.ended.0.saturating_sub(operation.intended.0));
        }
    }

    /// The share answered, at the most: what was cut off may have been.
    fn share_answered(&self) -> f64 {
        1.0 - self.unanswered as f64 / (self.count + self.cut_off).max(1) as f64
    }

    fn share_degraded(&self) -> f64 {
        self.degraded as f64 / self.count as f64
    }

    fn median(&self) -> f64 {
        let mut latencies = self.latencies.clone();
        let middle = (latencies.len() - 1) / 2;
        *latencies.select_nth_unstable(middle).1 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{self, Story};

    const HOLD: Duration = Duration::from_secs(5);

    fn at(second: u64) -> Micros {
        Micros::from_secs(second)
    }

    fn follower() -> Steady {
        Steady::new(&sample::scenario(), &sample::system(), Criteria::STEADY)
    }

    /// What a run sees that is told of everything known at each second, and asks each second.
    fn live(story: &Story) -> Option<(u64, Micros)> {
        let mut steady = follower();
        let observations = story.observations();
        let mut rest = &observations[..];
        for second in 0..=60 {
            let known = rest.partition_point(|one| one.at() <= at(second));
            for observation in &rest[..known] {
                steady.observe(observation);
            }
            rest = &rest[known..];
            if second >= sample::RECOVERY
                && let Some(start) = steady.held(HOLD, at(second))
            {
                return Some((second, start));
            }
        }
        None
    }

    fn afterwards(story: &Story) -> Option<Micros> {
        let mut steady = follower();
        steady.observe_history(&story.history(), at(sample::RECOVERY));
        steady.held(HOLD, at(sample::END))
    }

    fn failing_until(second: u64) -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..second, 20, Outcome::Failed, 20)
            .load("ask", second..60, 20, Outcome::Ok, 20)
            .load("train", 10..60, 20, Outcome::Ok, 20)
    }

    #[test]
    fn a_run_learns_of_steadiness_as_soon_as_it_has_held() {
        for (good_from, known_at) in [(30, 36), (34, 40), (41, 47)] {
            let story = failing_until(good_from);
            assert_eq!(live(&story), Some((known_at, at(good_from))));
            assert_eq!(afterwards(&story), Some(at(good_from)));
        }
    }

    #[test]
    fn never_steady_is_never() {
        assert_eq!(live(&failing_until(57)), None);
        assert_eq!(afterwards(&failing_until(57)), None);
    }

    #[test]
    fn an_operation_still_open_keeps_its_second_undecided() {
        // Number 401 of `ask` began at 30 s and is answered, in time, only at 34.9 s.
        let mut story = Story::new().healthy(0..30);
        story = story
            .load("ask", 30..31, 1, Outcome::Indeterminate, 4_900)
            .load("ask", 31..60, 20, Outcome::Ok, 20)
            .load("train", 30..60, 20, Outcome::Ok, 20);
        let mut steady = follower();
        let observations = story.observations();
        for observation in observations.iter().filter(|one| one.at() <= at(34)) {
            steady.observe(observation);
        }
        assert_eq!(steady.held(Duration::from_secs(2), at(34)), None);
        assert_eq!(steady.known_until(at(34)), at(30));
        for observation in observations.iter().filter(|one| one.at() > at(34)) {
            steady.observe(observation);
        }
        let held = steady.held(Duration::from_secs(2), at(60));
        assert_eq!(held, Some(at(31)));
    }

    #[test]
    fn numbers_that_never_come_are_waited_for_until_the_time_out() {
        let mut story = Story::new().healthy(0..60);
        story.observations.retain(
            |one| !matches!(one, Observation::Operation(one) if *one.load == *"ask" && one.nth == 605),
        );
        // The gap lies at 30.2 s; the load's time-out is 5 s.
        let (known_at, start) = live(&story).unwrap();
        assert_eq!(start, at(30));
        assert_eq!(known_at, 40);
    }

    /// A history of `ask` at its 20 a second, in whose recovery so few should have begun: at these
    /// milliseconds after the lifting, and then nothing for as long as is left.
    fn asked_at(millis: &[u64]) -> Story {
        let story = Story::new()
            .healthy(0..30)
            .load("train", 30..60, 20, Outcome::Ok, 20);
        millis.iter().fold(story, |story, at| {
            story.seldom("ask", 30_000 + at, 1, &[Outcome::Ok])
        })
    }

    #[test]
    fn a_second_in_which_nothing_was_due_is_nobodys_failure() {
        // Nothing is due in the second and the fourth second.
        let due = [100, 900, 2_100, 2_900, 4_500, 5_500, 6_500, 7_500];
        let held = |story: &Story, until: u64| {
            let mut steady = follower();
            let mut history = story.history();
            history.phases[2].ended = at(until);
            steady.observe_history(&history, at(30));
            let complaints = steady.complaints(at(60), 9);
            (steady.held(HOLD, at(60)), complaints)
        };
        assert_eq!(held(&asked_at(&due), 38), (Some(at(30)), Vec::new()));
        // So it is with the first, whose neighbour came before the lifting.
        assert_eq!(held(&asked_at(&due[2..]), 38), (Some(at(30)), Vec::new()));
        // One of them is missing: it was due and never sent.
        let mut missing = asked_at(&due);
        missing.observations.retain(
            |one| !matches!(one, Observation::Operation(one) if *one.load == *"ask" && one.nth == 603),
        );
        let (held_from, complaints) = held(&missing, 38);
        assert_eq!(held_from, Some(at(32)));
        let nothing = "ask: no operation at all".to_owned();
        assert_eq!(complaints, [(at(31), nothing)]);
        // Nothing came any more.
        let (held_from, complaints) = held(&asked_at(&due[..5]), 38);
        assert_eq!(held_from, Some(at(30)));
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert_eq!(held(&asked_at(&due[..2]), 38).0, None);
    }

    #[test]
    fn a_second_of_which_most_was_cut_off_is_not_known_to_be_bad() {
        let mut story = Story::new().healthy(0..60);
        let mut others = 0;
        for observation in &mut story.observations {
            if let Observation::Operation(one) = observation
                && *one.load == *"ask"
                && one.intended >= at(40)
                && one.intended < at(41)
            {
                others += 1;
                one.outcome = Outcome::Indeterminate;
                one.cut = others > 1;
            }
        }
        let known = |cut: u64| {
            let mut steady = follower();
            steady.observe_history(&story.history(), at(30));
            // As of a load of two hundred a second.
            let own = steady.loads.get_mut("ask").expect("a load");
            own.seconds.get_mut(&10).expect("a second").cut_off = cut;
            steady.second(10, at(60), &[])
        };
        assert_eq!(known(19), Known::Bad);
        assert_eq!(known(199), Known::NotYet);
    }

    #[test]
    fn what_was_cut_off_or_after_the_last_phase_says_nothing_against_it() {
        let mut story = failing_until(54).ends(62, Some("completed"));
        story
            .observations
            .push(Observation::PhasesOver { at: at(60) });
        let mut steady = follower();
        steady.observe_history(&story.history(), at(30));
        assert_eq!(steady.held(HOLD, at(62)), Some(at(54)));
        assert_eq!(steady.known_until(at(62)), at(60));
        for observation in &mut story.observations {
            if let Observation::Operation(one) = observation
                && one.intended >= at(58)
            {
                one.outcome = Outcome::Indeterminate;
                one.cut = true;
            }
        }
        let mut steady = follower();
        steady.observe_history(&story.history(), at(30));
        assert_eq!(steady.held(HOLD, at(62)), None);
        assert_eq!(steady.known_until(at(62)), at(58));
    }

    #[test]
    fn silence_is_not_steadiness() {
        let story = Story::new()
            .healthy(0..30)
            .load("train", 30..60, 20, Outcome::Ok, 20);
        assert_eq!(afterwards(&story), None);
        let mut steady = follower().only("train");
        steady.observe_history(&story.history(), at(30));
        assert_eq!(steady.held(HOLD, at(60)), Some(at(30)));
    }

    /// `ask` at its 20 a second, and `train` made a load of one in two and a half seconds, whose
    /// operations from 30 s on end so, one after the other.
    fn thin(outcomes: &[Outcome]) -> (Steady, Story) {
        let mut system = sample::system();
        let mut loads = system.loads.iter_mut();
        let train = loads.find(|load| *load.name == *"train").unwrap();
        train.rate = "0.4/s".parse().unwrap();
        let story = Story::new()
            .load("ask", 0..60, 20, Outcome::Ok, 20)
            .load("train", 0..10, 1, Outcome::Ok, 20)
            .seldom("train", 31_500, 2_500, outcomes);
        let steady = Steady::new(&sample::scenario(), &system, Criteria::STEADY);
        (steady, story)
    }

    /// Whether it held, from when on, and what cannot be told.
    fn of_thin(outcomes: &[Outcome]) -> (Option<u64>, Option<String>) {
        let (mut steady, story) = thin(outcomes);
        steady.observe_history(&story.history(), at(sample::RECOVERY));
        let hold = Duration::from_secs(2);
        let held = steady.held(hold, at(60));
        let untold = steady.untold(hold, at(60));
        (held.map(|at| at.0 / SECOND_MICROS), untold)
    }

    #[test]
    fn a_thin_load_that_is_never_answered_has_not_recovered() {
        use Outcome::{Failed, Indeterminate, Ok};
        assert_eq!(of_thin(&[Failed; 11]), (None, None));
        assert_eq!(of_thin(&[Indeterminate; 11]), (None, None));
        // Its twin is answered, and has from the first second or the one after the last failure on.
        assert_eq!(of_thin(&[Ok; 11]), (Some(30), None));
        let later = [[Failed; 3].as_slice(), &[Ok; 8]].concat();
        assert_eq!(of_thin(&later), (Some(37), None));
        // Now and then is not as before either.
        let now_and_then = [Ok, Ok, Failed].repeat(4);
        assert_eq!(of_thin(&now_and_then), (None, None));
    }

    #[test]
    fn of_a_load_that_was_asked_too_seldom_it_cannot_be_told() {
        use Outcome::{Failed, Ok};
        let said = |(held, untold): (Option<u64>, Option<String>)| {
            assert_eq!(held, None);
            untold.expect("it cannot be told")
        };
        let once = "`train` was asked once since, too seldom to tell";
        assert_eq!(said(of_thin(&[Failed])), once);
        assert_eq!(said(of_thin(&[Ok])), once);
        assert!(said(of_thin(&[])).contains("asked never since"));
        let at_last = [[Failed; 9].as_slice(), &[Ok; 2]].concat();
        let twice = "`train` was answered only 2 times since, too seldom to tell";
        assert_eq!(said(of_thin(&at_last)), twice);
        // Where another load shows that all is not as before, nothing is left to tell.
        let (mut steady, story) = thin(&[Ok]);
        let mut history = story.history();
        for one in history.operations.get_mut("ask").unwrap() {
            if one.intended >= at(30) {
                one.outcome = Failed;
            }
        }
        steady.observe_history(&history, at(30));
        assert_eq!(steady.untold(HOLD, at(60)), None);
        assert_eq!(steady.not_before(HOLD, at(60)), at(60));
    }

    #[test]
    fn who_never_comes_is_not_waited_for_and_who_came_is() {
        let held = |story: &Story| {
            let mut steady = follower();
            // As of an ingress: nobody knows how often somebody comes.
            steady.loads.get_mut("train").unwrap().rate = 0.0;
            steady.observe_history(&story.history(), at(30));
            steady.held(HOLD, at(60))
        };
        let alone = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        assert_eq!(held(&alone), Some(at(30)));
        let left = alone.load("train", 0..10, 20, Outcome::Ok, 20);
        assert_eq!(held(&left), None);
    }

    #[test]
    fn a_later_fault_makes_it_count_anew() {
        let mut steady = follower();
        for observation in Story::new().healthy(0..60).observations() {
            steady.observe(&observation);
        }
        assert_eq!(steady.since(), at(30));
        steady.observe(&Observation::Lifted {
            at: at(50),
            fault: crate::fault::FaultId(0),
            hits: 1,
        });
        assert_eq!(steady.since(), at(50));
        assert_eq!(steady.held(HOLD, at(60)), None);
    }
}
