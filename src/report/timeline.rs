//! A run over time: what charts draw.
//!
//! The time from the run's beginning to its end is cut into at most [`BINS_MAX`] equal bins,
//! however long it was, so that a report stays small. Operations are counted in the bin of their
//! intended start and requests in that of their first byte; each list of a series has one
//! entry for each bin. Pure: counts, and judges nothing.

use crate::{
    history::{Attempt, AttemptEnd, Drained, History, Operation, Outcome, View, Window},
    scenario::{Dependency, Ledger},
    units::Micros,
};
use std::collections::BTreeMap;

/// The most bins.
pub const BINS_MAX: u64 = 240;

/// The lengths that a bin may have, in microseconds: round numbers for people.
const BIN_LENGTHS_US: &[u64] = &[
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// The role of dependencies that people are alarmed through.
const ALERTS: &str = "alerts";

/// A run over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timeline {
    /// How long a bin is, in microseconds.
    pub bin_us: u64,
    /// How many bins there are.
    pub bins: usize,
    /// The loads, and the ingress where there is one.
    pub loads: Vec<LoadSeries>,
    /// The dependencies.
    pub dependencies: Vec<DependencySeries>,
    /// The instances of the system.
    pub instances: Vec<Life>,
    /// The ledgers.
    pub ledgers: Vec<LedgerSeries>,
    /// How the outage showed first.
    pub detected: Detected,
}

/// The operations of a load, by their intended start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadSeries {
    /// The load.
    pub name: String,
    /// Answered as required.
    pub ok: Vec<u64>,
    /// Answered by a fallback.
    pub degraded: Vec<u64>,
    /// Without an answer in time.
    pub indeterminate: Vec<u64>,
    /// Failed.
    pub failed: Vec<u64>,
    /// The median latency in microseconds; `None` where nothing was asked.
    pub p50_us: Vec<Option<u64>>,
    /// The latency that 90 of 100 stayed within.
    pub p90_us: Vec<Option<u64>>,
    /// The latency that 99 of 100 stayed within: of fewer than 100 operations, all of them.
    pub p99_us: Vec<Option<u64>>,
}

/// The requests of the system to a dependency.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DependencySeries {
    /// The dependency.
    pub name: String,
    /// Calls by the beginning of their first attempt.
    pub calls: Vec<u64>,
    /// Attempts by their beginning.
    pub attempts: Vec<u64>,
    /// Those of the attempts that were not answered, or with an error that asks for a retry.
    pub errors: Vec<u64>,
    /// The most attempts that were open at one moment of the bin.
    pub in_flight: Vec<u64>,
}

/// How much accepted work of a ledger was waiting to be delivered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerSeries {
    /// The ledger.
    pub name: String,
    /// How much was waiting at the end of the bin.
    pub waiting: Vec<u64>,
    /// The most that was waiting since the first fault, and when that was so first.
    pub peak: (u64, Micros),
    /// When after the outage no more was waiting than the steady phases had at their worst, for good:
    /// as `drain` has it.
    pub drained: Option<Micros>,
    /// From when draining counts; `None` if the outage never ended.
    pub outage_ended: Option<Micros>,
    /// How much was waiting at the end.
    pub left: u64,
}

/// What an instance went through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Life {
    /// The instance.
    pub instance: String,
    /// Its states, one after the other.
    pub spans: Vec<LifeSpan>,
}

/// A state of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct LifeSpan {
    /// From when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
    /// The state.
    pub state: State,
    /// What brought it about, in words.
    pub because: String,
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Running, but not ready any more.
    NotReady,
    /// Stopped by a signal that lets it go on later.
    Paused,
    /// Asked to end.
    Stopping,
    /// Not running.
    Gone,
}

/// How the outage showed first, after the first fault was in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detected {
    /// When the first fault came into force.
    pub armed: Option<Micros>,
    /// The first answer by a fallback, of a load that had none in the steady phases: the load
    /// and the end of the operation.
    pub fallback: Option<(String, Micros)>,
    /// The first message to a dependency of the role `alerts`: its name and when.
    pub alert: Option<(String, Micros)>,
}

impl Timeline {
    /// The run that a view shows.
    pub fn of(view: &View<'_>) -> Self {
        let history = view.history;
        let axis = Axis::until(history.end);
        let system = view.system;
        let loads = system.loads.iter().map(|load| &load.name);
        let ingress = system.ingress.iter().map(|ingress| &ingress.name);
        Self {
            bin_us: axis.bin_us,
            bins: axis.bins,
            loads: loads
                .chain(ingress)
                .map(|name| load(name, history, axis))
                .collect(),
            dependencies: system
                .dependencies
                .iter()
                .map(|one| dependency(one, history, axis))
                .collect(),
            instances: lives(history),
            ledgers: system
                .ledgers
                .iter()
                .filter_map(|one| ledger(one, view, axis))
                .collect(),
            detected: detected(view),
        }
    }
}

/// The bins.
#[derive(Debug, Clone, Copy)]
struct Axis {
    bin_us: u64,
    bins: usize,
}

impl Axis {
    /// The shortest round bins that reach to `end`; of a run of more than ten days, bins that
    /// are not round.
    fn until(end: Micros) -> Self {
        let fits = |length: &u64| end.0.div_ceil(*length) <= BINS_MAX;
        let round = BIN_LENGTHS_US.iter().copied().find(fits);
        let bin_us = round.unwrap_or_else(|| end.0.div_ceil(BINS_MAX));
        let bins = usize::try_from(end.0.div_ceil(bin_us)).unwrap_or(1).max(1);
        Self { bin_us, bins }
    }

    /// The bin of a moment; one beyond the end is in the last.
    fn bin(self, at: Micros) -> usize {
        usize::try_from(at.0 / self.bin_us)
            .unwrap_or(usize::MAX)
            .min(self.bins - 1)
    }

    /// The first moment after a bin.
    fn end_of(self, bin: usize) -> Micros {
        Micros((bin as u64 + 1) * self.bin_us)
    }

    fn zeros(self) -> Vec<u64> {
        vec![0; self.bins]
    }
}

fn load(name: &str, history: &History, axis: Axis) -> LoadSeries {
    let operations = history.operations_of(name);
    let count = |outcome: Outcome| {
        let meant = operations.iter().filter(|one| one.outcome == outcome);
        counted(meant.map(|one| one.intended), axis)
    };
    let mut latencies: Vec<Vec<u64>> = vec![Vec::new(); axis.bins];
    for operation in operations {
        latencies[axis.bin(operation.intended)].push(Micros::from(operation.latency()).0);
    }
    for bin in &mut latencies {
        bin.sort_unstable();
    }
    let quantile = |percent: usize| {
        let one = |sorted: &Vec<u64>| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        latencies.iter().map(one).collect()
    };
    LoadSeries {
        name: name.to_owned(),
        ok: count(Outcome::Ok),
        degraded: count(Outcome::Degraded),
        indeterminate: count(Outcome::Indeterminate),
        failed: count(Outcome::Failed),
        p50_us: quantile(50),
        p90_us: quantile(90),
        p99_us: quantile(99),
    }
}

/// How many of these moments lie in each bin.
fn counted(moments: impl Iterator<Item = Micros>, axis: Axis) -> Vec<u64> {
    let mut bins = axis.zeros();
    for at in moments {
        bins[axis.bin(at)] += 1;
    }
    bins
}

fn dependency(dependency: &Dependency, history: &History, axis: Axis) -> DependencySeries {
    let attempts = history.attempts_of(&dependency.name);
    let calls = history.calls_of(&dependency.name);
    let errors = attempts.iter().filter(|one| is_error(one));
    DependencySeries {
        name: dependency.name.to_string(),
        calls: counted(calls.iter().map(|one| one.began), axis),
        attempts: counted(attempts.iter().map(|one| one.began), axis),
        errors: counted(errors.map(|one| one.began), axis),
        in_flight: in_flight(attempts, axis),
    }
}

/// Whether a request came to no good end. One that was open when the run ended and that no fault
/// had touched says nothing.
pub(super) fn is_error(attempt: &Attempt) -> bool {
    let only_open = attempt.end == AttemptEnd::Unfinished && attempt.faults.is_empty();
    !attempt.settled() && !only_open
}

/// The most attempts open at one moment of each bin; one that ends as another begins is gone
/// before.
fn in_flight(attempts: &[Attempt], axis: Axis) -> Vec<u64> {
    let mut changes: Vec<(Micros, i64)> = Vec::with_capacity(attempts.len() * 2);
    for attempt in attempts {
        changes.push((attempt.began, 1));
        changes.push((attempt.ended.max(Micros(attempt.began.0 + 1)), -1));
    }
    changes.sort_unstable();
    let mut most = axis.zeros();
    let (mut open, mut bin) = (0i64, 0);
    for (at, change) in changes {
        let now = axis.bin(at);
        while bin < now {
            bin += 1;
            most[bin] = open.unsigned_abs();
        }
        open += change;
        most[bin] = most[bin].max(open.unsigned_abs());
    }
    most
}

fn ledger(ledger: &Ledger, view: &View<'_>, axis: Axis) -> Option<LedgerSeries> {
    let account = view.account(&ledger.name)?;
    let curve = account.curve(|_| true);
    let ends = (0..axis.bins).map(|bin| axis.end_of(bin).min(account.end));
    let waiting = ends.map(|at| curve.at(at)).collect();
    let armed = view.history.faults.iter().map(|span| span.armed).min();
    let since = armed.unwrap_or_default();
    let outage_ended = view.outage_ended();
    let all = curve.depths(Window::new(since, account.end));
    let deeper = |peak: (u64, Micros), (at, depth)| if depth > peak.0 { (depth, at) } else { peak };
    let drained = outage_ended.and_then(|ended| {
        let after = curve.depths(view.draining(ended, account.end));
        Drained::of(&after, curve.usual(view)).at
    });
    Some(LedgerSeries {
        name: ledger.name.to_string(),
        peak: all.into_iter().fold((0, since), deeper),
        drained,
        outage_ended,
        left: curve.at(account.end),
        waiting,
    })
}

fn lives(history: &History) -> Vec<Life> {
    let mut lives: BTreeMap<&str, Vec<LifeSpan>> = BTreeMap::new();
    for event in &history.processes {
        let spans = lives.entry(&event.instance).or_default();
        let Some(state) = state_after(&event.event) else {
            continue;
        };
        if let Some(last) = spans.last_mut() {
            last.to = event.at;
        }
        let mut because = event.event.replace('-', " ");
        if !event.ours && event.event == "exited" {
            because.push_str(" on its own account");
        }
        if let Some(detail) = event.detail.as_ref().and_then(|text| text.lines().next()) {
            let detail = detail.split("; last output").next().unwrap_or(detail);
            because.push_str(&format!(": {detail}"));
        }
        spans.push(LifeSpan {
            from: event.at,
            to: history.end,
            state,
            because,
        });
    }
    lives
        .into_iter()
        .map(|(instance, spans)| Life {
            instance: instance.to_owned(),
            spans,
        })
        .collect()
}

/// The state that an event of a process leads to.
fn state_after(event: &str) -> Option<State> {
    Some(match event {
        "started" => State::Starting,
        "ready" | "resumed" => State::Ready,
        "not-ready" => State::NotReady,
        "paused" => State::Paused,
        "stopping" => State::Stopping,
        "killed" | "stopped" | "exited" | "not-started" => State::Gone,
        _ => return None,
    })
}

fn detected(view: &View<'_>) -> Detected {
    let history = view.history;
    let armed = history.faults.iter().map(|span| span.armed).min();
    let Some(since) = armed else {
        return Detected::default();
    };
    let degraded = |one: &&Operation| one.outcome == Outcome::Degraded;
    let first = |name: &String| {
        let usual = view.steady_operations(name);
        if usual.iter().any(|one| one.outcome == Outcome::Degraded) {
            return None;
        }
        let operations = history.operations_of(name).iter().filter(degraded);
        let after = operations.filter(|one| one.ended >= since);
        let earliest = after.map(|one| one.ended).min()?;
        Some((name.clone(), earliest))
    };
    let loads: Vec<String> = history.operations.keys().map(ToString::to_string).collect();
    let alarms = view.dependencies(ALERTS);
    let alert = history
        .messages
        .iter()
        .find(|message| message.at >= since && alarms.contains(&&message.dependency));
    Detected {
        armed,
        fallback: loads.iter().filter_map(first).min_by_key(|(_, at)| *at),
        alert: alert.map(|message| (message.dependency.to_string(), message.at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{self, Story, attempt};

    fn timeline(story: &Story) -> Timeline {
        let (scenario, system) = (sample::scenario(), sample::system());
        Timeline::of(&View::new(&story.history(), &scenario, &system))
    }

    #[test]
    fn the_bins_are_few_and_round_however_long_the_run() {
        for (seconds, bin_us, bins) in [
            (0, 500_000, 1),
            (10, 500_000, 20),
            (120, 500_000, 240),
            (121, 1_000_000, 121),
            (86_400, 600_000_000, 144),
        ] {
            let axis = Axis::until(Micros::from_secs(seconds));
            assert_eq!((axis.bin_us, axis.bins), (bin_us, bins), "{seconds}");
        }
        let month = Axis::until(Micros::from_secs(30 * 86_400));
        assert!(month.bins <= BINS_MAX as usize);
    }

    #[test]
    fn every_operation_is_in_the_bin_of_its_intended_start() {
        let story = Story::new()
            .load("ask", 0..10, 20, Outcome::Ok, 20)
            .load("ask", 10..30, 20, Outcome::Failed, 3_000)
            .load("ask", 30..60, 20, Outcome::Degraded, 40);
        let timeline = timeline(&story);
        let ask = &timeline.loads[0];
        assert_eq!((timeline.bin_us, timeline.bins), (500_000, 120));
        assert_eq!((ask.ok[19], ask.failed[19], ask.failed[20]), (10, 0, 10));
        assert_eq!(ask.degraded[119], 10);
        assert_eq!(ask.p99_us[25], Some(3_000_000));
        assert_eq!(ask.ok.iter().sum::<u64>(), 200);
        let train = &timeline.loads[1];
        assert_eq!(train.p50_us[0], None);
    }

    #[test]
    fn quantiles_take_the_sample_at_their_rank() {
        let story = Story::new().load("ask", 0..1, 18, Outcome::Ok, 10).load(
            "ask",
            0..1,
            2,
            Outcome::Ok,
            90,
        );
        let ask = &timeline(&story).loads[0];
        // In the first half second: nine of 10 ms, one of 90 ms.
        assert_eq!(ask.p50_us[0], Some(10_000));
        assert_eq!(ask.p90_us[0], Some(10_000));
        assert_eq!(ask.p99_us[0], Some(90_000));
    }

    #[test]
    fn attempts_are_counted_when_they_begin_and_open_until_they_end() {
        let story = Story::new().attempts([
            attempt("s3", 1_000, 1_100).sdk("a", 1).status(503).hit(),
            attempt("s3", 1_200, 4_000).sdk("a", 2),
            attempt("s3", 1_300, 4_000).sdk("b", 1),
            attempt("s3", 4_000, 4_100).sdk("c", 1),
        ]);
        let s3 = &timeline(&story).dependencies[0];
        assert_eq!((s3.calls[2], s3.attempts[2], s3.errors[2]), (2, 3, 1));
        assert_eq!(s3.in_flight[1], 0);
        assert_eq!(s3.in_flight[2..9], [2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(s3.in_flight[9], 0);
    }

    #[test]
    fn the_backlog_of_a_ledger_rises_and_drains() {
        let mut story = Story::new().healthy(0..10);
        for nth in 0..5u64 {
            let id = nth.to_string();
            story = story
                .work(12_000 + nth * 100, &id, Outcome::Ok)
                .delivery(40_000, &id);
        }
        let timeline = timeline(&story.watched(59_000));
        let work = timeline.ledgers.iter().find(|one| one.name == "work");
        let work = work.unwrap();
        assert_eq!(work.peak, (5, Micros::from_millis(12_500)));
        assert_eq!(
            (work.waiting[20], work.waiting[30], work.waiting[80]),
            (0, 5, 0)
        );
        assert_eq!(work.drained, Some(Micros::from_millis(40_000)));
        assert_eq!(work.left, 0);
    }

    #[test]
    fn the_life_of_an_instance_has_no_gaps() {
        let story = Story::new()
            .process(0, "primary", "started", true)
            .process(500, "primary", "ready", true)
            .process(12_000, "primary", "exited", false);
        let timeline = timeline(&story);
        let life = &timeline.instances[0];
        let states: Vec<_> = life.spans.iter().map(|span| span.state).collect();
        assert_eq!(states, [State::Starting, State::Ready, State::Gone]);
        assert_eq!(life.spans[1].to, life.spans[2].from);
        assert_eq!(life.spans[2].because, "exited on its own account");
        assert_eq!(life.spans[2].to, Micros::from_secs(60));
    }

    #[test]
    fn an_outage_is_noticed_by_a_fallback_that_was_not_usual_or_by_an_alert() {
        let outage = Story::new()
            .healthy(0..10)
            .load("ask", 11..12, 20, Outcome::Degraded, 20)
            .message(13_000, "S3 is down");
        let seen = timeline(&outage).detected;
        assert_eq!(seen.armed, Some(Micros::from_secs(10)));
        assert_eq!(
            seen.fallback,
            Some(("ask".to_owned(), Micros::from_millis(11_020)))
        );
        assert_eq!(
            seen.alert,
            Some(("pager".to_owned(), Micros::from_secs(13)))
        );
        let usual = outage.load("ask", 2..3, 20, Outcome::Degraded, 20);
        assert_eq!(timeline(&usual).detected.fallback, None);
    }
}
