//! What the history of a trial says.

use super::{
    Aftermath, Aim, Cell, Counts, Kind, Met, Reference, Tried, Tries, doubling,
    reference::unhealthy,
};
use crate::{
    fault::FaultId,
    history::{
        Attempt, AttemptEnd, Criteria, LogicalCall, Operation, Outcome, PhaseSpan, Steady, View,
        Window,
    },
    policy::{
        self, Aspect, Claim, Finding,
        samples::{Quantile, SAMPLES_MIN},
    },
    scenario::{FaultSpec, Start, Target},
    units::Micros,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The phase with the faults, between the steady one and the recovery.
const TROUBLE: usize = 1;

/// The least share of operations that were answered.
pub(super) const ANSWERED_MIN: f64 = 0.99;

/// How far the share of fallbacks may lie above that of the steady phase.
pub(super) const DEGRADED_ABOVE: f64 = 0.10;

/// A dependency is leant on that is called more than so many times as often as before, or more often
/// than chance explains …
const LEANT_ON_TIMES: f64 = 2.0;
/// … and at least so many times more. One that nobody calls otherwise is where it is called at all.
const LEANT_ON_MORE: f64 = 3.0;

/// By how much a phase may seem shorter than it was.
const ROUNDED: Duration = Duration::from_millis(100);

/// From so many failures on a load has failed; of fewer, where they are half of all.
const FAILURES_FEW: u64 = 3;

/// The share of operations held until the faults were lifted from which on a load is held.
const HELD_MAX: f64 = 0.01;
/// By how much longer than the slowest hundredth of the others one that is held has waited.
const HELD_BEYOND: Duration = Duration::from_secs(1);

/// The share of operations that our own load may offer late or not at all, as in steady phases …
const MISSED_SHARE_MAX: f64 = 0.01;
/// … where they are more than so many.
const MISSED_FEW: u64 = 2;

/// How it is said that the generator itself did not offer what it should have.
const OUR_DOING: &str = "missed its schedule";

/// What is said of clients in short.
const IN_SHORT: &[Aspect] = &[
    Aspect::Attempts,
    Aspect::FirstByteTimeout,
    Aspect::WholeCall,
    Aspect::BackOff,
    Aspect::RetryAfter,
    Aspect::RetryBudget,
    Aspect::RetriesNonIdempotent,
    Aspect::BreakerOpens,
    Aspect::Fallback,
];

/// What a trial shows. `view` is of a scenario of three phases: steady, trouble, recovery.
///
/// # Errors
/// Why it shows nothing.
pub fn tried(view: &View<'_>, aim: &Aim, reference: &Reference) -> Result<Tried, String> {
    if let Some(why) = unhealthy(view) {
        return Err(format!(
            "the system was not healthy before the fault: {why}"
        ));
    }
    let history = view.history;
    if history.dropped > 0 {
        return Err(format!("{} observations were dropped", history.dropped));
    }
    let mut spans = history.phases.iter();
    let span = spans.find(|span| span.index == TROUBLE && span.complete);
    let Some(span) = span else {
        let how = history.how_it_ended();
        return Err(format!("it ended before the fault was over: {how}"));
    };
    let reading = Reading {
        view,
        aim,
        reference,
        trouble: Window::new(span.began, span.ended),
        faults: faults(view),
    };
    if let Some(late) = reading.late_load() {
        return Err(late);
    }
    Ok(reading.tried(span))
}

/// Whether a run shows nothing because we did not drive the load as we should have, as on a machine
/// that is busy with other things. It says nothing of the system, so that it may be made again.
pub fn is_our_doing(why: &str) -> bool {
    why.contains(OUR_DOING)
}

/// The faults of the trial.
fn faults<'a>(view: &View<'a>) -> Vec<&'a FaultSpec> {
    let phase = view.scenario.phases.get(TROUBLE);
    phase.map_or_else(Vec::new, |phase| phase.faults.iter().collect())
}

/// A trial that can be read.
struct Reading<'a> {
    view: &'a View<'a>,
    aim: &'a Aim,
    reference: &'a Reference,
    trouble: Window,
    faults: Vec<&'a FaultSpec>,
}

impl Reading<'_> {
    fn tried(&self, span: &PhaseSpan) -> Tried {
        let claims = policy::infer_of(self.view, &self.aim.dependency);
        let loads = self.view.system.loads.iter();
        let hits = self.faults.iter().map(|one| self.hits(one.id)).sum();
        let aftermath = self.aftermath(None);
        let is_wedged = matches!(aftermath, Aftermath::Wedged { .. });
        Tried {
            faults: self.faults.iter().map(|one| one.label.clone()).collect(),
            hits,
            lasted_us: Window::new(span.began, span.ended).length().as_micros() as u64,
            aftermath,
            waited_us: waited(&claims),
            policy: self.policy(&claims),
            claims: kept(claims),
            leant_on: self.leant_on(),
            exits: self.exits(),
            doubling: doubling::read(self.view, self.reference, self.aim),
            restarted: is_wedged && !matches!(self.view.system.start, Start::External),
            cells: loads.map(|load| self.cell(&load.name)).collect(),
        }
    }

    /// What is known of the clients of the dependencies in trouble, a sentence each.
    fn policy(&self, claims: &[Claim]) -> Vec<String> {
        let mut said = in_short(claims);
        if let Some(beside) = &self.aim.beside {
            let name = &beside.dependency;
            let others = in_short(&policy::infer_of(self.view, name));
            said.extend(others.iter().map(|one| format!("{name}: {one}")));
        }
        said
    }

    /// A load that we ourselves did not offer as we should have while the trouble was on: what was late
    /// before it or after it says nothing of it.
    fn late_load(&self) -> Option<String> {
        self.view.system.loads.iter().find_map(|load| {
            let sent = self.view.operations_in(&load.name, self.trouble).len() as u64;
            let (mut missed, mut offered) = (0, sent);
            for entry in self.view.missed_in(&load.name, vec![self.trouble]) {
                missed += self.view.missed_within(entry, &[self.trouble]);
                offered += entry.unsent;
            }
            let missed = missed.min(offered);
            (missed > MISSED_FEW && share(missed, offered) > MISSED_SHARE_MAX).then(|| {
                format!(
                    "load `{}` {OUR_DOING} while the fault was in force: {missed} of {offered} operations began late or not at all",
                    load.name
                )
            })
        })
    }

    fn hits(&self, fault: FaultId) -> u64 {
        let spans = self.view.history.faults.iter();
        spans
            .filter(|span| span.fault == fault)
            .map(|span| span.hits)
            .sum()
    }

    fn cell(&self, load: &Arc<str>) -> Cell {
        let own = self.reference.use_of(load, &self.aim.dependency);
        let uses = own.is_some_and(super::Use::is_use);
        let operations = self.view.operations_in(load, self.trouble);
        let (counts, mut times) = self.counted(operations);
        let is_failure = |one: &&&Operation| !one.answered();
        let steady = self.view.steady_operations(load);
        let mut before: Vec<u64> = steady.iter().map(|one| micros(one.latency())).collect();
        let degraded = |one: &&&Operation| one.outcome == Outcome::Degraded;
        let usual = share(
            steady.iter().filter(degraded).count() as u64,
            steady.len() as u64,
        );
        let usual_failed = share(
            steady.iter().filter(is_failure).count() as u64,
            steady.len() as u64,
        );
        let met = match (of_counts(&counts, usual, usual_failed), uses) {
            (Met::Answered, false) => Met::DoesNotUseIt,
            (Met::TooFew, false) => Met::TooFew,
            _ if !self.has_acted() => Met::NotReached,
            (met @ (Met::Failed | Met::Held), _) | (met, false) => met,
            _ if !self.is_reached(load) => Met::NotReached,
            (Met::Answered | Met::Degraded, true) if self.was_in_time(load) => Met::NotReached,
            (met, true) => met,
        };
        if met == Met::Held {
            times.extend(self.released(operations).map(|one| self.waited(one)));
        }
        let because = operations.iter().find(|one| !one.cut && !one.answered());
        Cell {
            load: Arc::clone(load),
            uses,
            met,
            counts,
            p50_us: median(&mut times),
            p99_us: slowest(&mut times),
            steady_p99_us: slowest(&mut before),
            tries: self.tries(load),
            aftermath: self.aftermath(Some(load)),
            because: because.and_then(|one| one.why.clone()),
        }
    }

    /// The operations that say anything, and how long they took. One that was answered only after
    /// the faults were lifted does not: the fault was too short for it.
    fn counted(&self, operations: &[Operation]) -> (Counts, Vec<u64>) {
        let mut counts = Counts::default();
        let mut times = Vec::new();
        counts.released = self.released(operations).count() as u64;
        let is_meant = |one: &&Operation| !one.cut && !self.is_released(one);
        for one in operations.iter().filter(is_meant) {
            times.push(micros(one.latency()));
            match one.outcome {
                Outcome::Ok => counts.ok += 1,
                Outcome::Degraded => counts.degraded += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Indeterminate => counts.unanswered += 1,
            }
        }
        let patience = slowest(&mut times) + micros(HELD_BEYOND);
        let held = |one: &&Operation| self.waited(one) > patience;
        counts.held = self.released(operations).filter(held).count() as u64;
        (counts, times)
    }

    /// Whether an operation was answered only when the faults were lifted.
    fn is_released(&self, one: &Operation) -> bool {
        !one.cut && one.answered() && one.ended > self.trouble.to
    }

    fn released<'b>(&self, operations: &'b [Operation]) -> impl Iterator<Item = &'b Operation> {
        operations.iter().filter(|one| self.is_released(one))
    }

    /// How long an operation had waited when the faults were lifted: the least that it would have
    /// taken.
    fn waited(&self, one: &Operation) -> u64 {
        micros(self.trouble.to.since(one.intended))
    }

    /// Whether any of the faults acted on anything at all. Else nothing can be their doing.
    fn has_acted(&self) -> bool {
        let history = self.view.history;
        let ids: BTreeSet<FaultId> = self.faults.iter().map(|fault| fault.id).collect();
        let hit = |faults: &[FaultId]| faults.iter().any(|fault| ids.contains(fault));
        let mut acts = history.interventions.iter();
        let mut names = self.aim.troubles().map(|(name, _)| name);
        ids.iter().any(|id| self.hits(*id) > 0)
            || history.connections.iter().any(|one| hit(&one.faults))
            || acts.any(|one| one.count > 0 && ids.contains(&one.fault))
            || names.any(|name| {
                let mut attempts = history.attempts_of(name).iter();
                attempts.any(|one| hit(&one.faults))
            })
    }

    /// Whether every dependency in trouble was in trouble for this load: the faults acted on
    /// something that it asks in the run without faults, on something that nobody asks there (a
    /// connection, a second thought), or on no request at all.
    fn is_reached(&self, load: &str) -> bool {
        let first = &self.aim.dependency;
        self.aim.troubles().all(|(dependency, _)| {
            let ids = self.ids_on(dependency);
            let by_all = self.reference.asked(dependency);
            let own = self.reference.use_of(load, dependency);
            let is_own = |attempt: &Attempt| {
                // What saves the system from the first trouble is asked of the second one only then.
                dependency != first
                    || own.is_some_and(|own| own.asked.contains(&attempt.operation))
                    || !by_all.contains(&attempt.operation)
            };
            let mut attempts = self.view.history.attempts_of(dependency).iter();
            let hit = |faults: &[FaultId]| faults.iter().any(|fault| ids.contains(fault));
            let mut connections = self.view.history.connections.iter();
            let mut acts = self.view.history.interventions.iter();
            attempts.any(|one| hit(&one.faults) && is_own(one))
                || connections.any(|one| one.dependency == *dependency && hit(&one.faults))
                || acts.any(|one| one.count > 0 && ids.contains(&one.fault))
        })
    }

    /// Whether what was to come later than this load's calls wait came in time for all of them, so that
    /// nothing was shown: somebody waits longer than anybody knew.
    fn was_in_time(&self, load: &str) -> bool {
        if self.aim.kind != Kind::TooSlow || self.aim.beside.is_some() {
            return false;
        }
        let dependency = &self.aim.dependency;
        let ids = self.ids_on(dependency);
        let own = self.reference.use_of(load, dependency);
        let is_own = |one: &&Attempt| {
            // What was cut short when it was lifted says neither.
            let is_over = one.released.is_none() && one.end != AttemptEnd::Unfinished;
            is_over
                && own.is_some_and(|own| own.asked.contains(&one.operation))
                && one.faults.iter().any(|fault| ids.contains(fault))
        };
        let attempts = self.view.history.attempts_of(dependency).iter();
        let mut own = attempts.filter(is_own).peekable();
        own.peek().is_some() && own.all(|one| !one.failed())
    }

    /// The faults on a dependency.
    fn ids_on(&self, dependency: &str) -> BTreeSet<FaultId> {
        let system = self.view.system;
        let is_on = |fault: &&&FaultSpec| match &fault.target {
            Target::Dependencies(all) => all
                .iter()
                .any(|index| *system.dependencies[*index].name == *dependency),
            Target::Instance(_) => false,
        };
        let on_it = self.faults.iter().filter(is_on);
        on_it.map(|fault| fault.id).collect()
    }

    /// How often the load's calls that met with the fault were tried, those that were still under
    /// way when it was lifted left out.
    fn tries(&self, load: &str) -> Option<Tries> {
        let dependency = &self.aim.dependency;
        let own = self.reference.use_of(load, dependency)?;
        let ids = self.ids_on(dependency);
        let over = |call: &LogicalCall| {
            self.trouble.contains(call.began)
                && call.ended <= self.trouble.to
                && call.faults.iter().any(|fault| ids.contains(fault))
        };
        let is_own = |attempts: &[&Attempt]| {
            let first = attempts.first();
            first.is_some_and(|one| own.asked.contains(&one.operation))
        };
        let calls = self.view.calls(dependency).into_iter();
        let calls = calls.filter(|(call, attempts)| over(call) && is_own(attempts));
        let calls: Vec<&LogicalCall> = calls.map(|(call, _)| call).collect();
        let tries = || calls.iter().map(|call| call.attempts.len() as u64);
        Some(Tries {
            calls: calls.len() as u64,
            low: tries().min()?,
            high: tries().max()?,
            named: calls.iter().all(|call| call.by_sdk_id),
        })
    }

    /// Whether everything was as before when the faults were lifted; or one load alone.
    fn aftermath(&self, load: Option<&str>) -> Aftermath {
        let history = self.view.history;
        let lifted = self.trouble.to;
        let steady = Steady::new(self.view.scenario, self.view.system, Criteria::STEADY);
        let mut steady = match load {
            Some(load) => steady.only(load),
            None => steady,
        };
        steady.observe_history(history, lifted);
        match steady.held(self.view.scenario.hold, history.end) {
            Some(since) => Aftermath::steady(lifted, since),
            None if steady
                .untold(self.view.scenario.hold, history.end)
                .is_some() =>
            {
                Aftermath::Unknown
            }
            None if self.was_watched_to_the_end() => Aftermath::Wedged {
                watched_us: micros(history.over().since(lifted)),
            },
            None => Aftermath::Unknown,
        }
    }

    /// Whether the recovery had all the time that it could have.
    fn was_watched_to_the_end(&self) -> bool {
        let history = self.view.history;
        let last = self.view.scenario.phases.last();
        let limit = last.map_or(Duration::ZERO, |phase| phase.lasts.at_most());
        let watched = history.over().since(self.trouble.to);
        history.completed() && watched + ROUNDED >= limit
    }

    /// The dependencies that were called more often than in the steady phase.
    fn leant_on(&self) -> Vec<Arc<str>> {
        let troubled: Vec<&Arc<str>> = self.aim.troubles().map(|(name, _)| name).collect();
        let steady = self.view.steady();
        let length: Duration = steady.iter().map(|window| window.length()).sum();
        let scale = self.trouble.length().as_secs_f64() / length.as_secs_f64().max(1e-3);
        let names = self.view.system.dependencies.iter().map(|one| &one.name);
        let untroubled = names.filter(|name| !troubled.contains(name));
        let called =
            |name: &str, window: &Window| self.view.attempts_in(name, *window).len() as f64;
        let is_leant_on = |name: &&Arc<str>| {
            let before: f64 = steady.iter().map(|window| called(name, window)).sum();
            let usual = before * scale;
            let now = called(name, &self.trouble);
            if before == 0.0 && !self.is_called_anyway(name) {
                return now > 0.0;
            }
            // The usual number is itself known from a few seconds only.
            let chance = 3.0 * (usual + usual * scale).sqrt();
            let is_more = now > LEANT_ON_TIMES * usual || now > usual + chance;
            is_more && now >= usual + LEANT_ON_MORE
        };
        untroubled.filter(is_leant_on).cloned().collect()
    }

    /// Whether anybody calls a dependency while nothing is wrong.
    fn is_called_anyway(&self, name: &Arc<str>) -> bool {
        let mut uses = self.reference.uses.iter();
        self.reference.by_itself.contains(name)
            || uses.any(|one| one.dependency == *name && one.is_use())
    }

    /// What ended on its own account while the trouble was on, or after it.
    fn exits(&self) -> Vec<String> {
        let events = self.view.history.processes.iter();
        events
            .filter(|event| event.event == "exited" && !event.ours && event.at >= self.trouble.from)
            .map(|event| format!("{} exited at {}", event.instance, seconds(event.at)))
            .collect()
    }
}

/// What counts say, with the shares that are answered by a fallback and that fail anyway.
fn of_counts(counts: &Counts, usual_degraded: f64, usual_failed: f64) -> Met {
    let all = counts.all();
    let failures = counts.failed + counts.unanswered;
    let are_too_many = share(failures, all) > 1.0 - ANSWERED_MIN + 1e-9;
    let explained = usual_failed * all as f64;
    let are_several = failures >= FAILURES_FEW || 2 * failures >= all;
    let are_shown = are_several && failures as f64 > explained + 3.0 * explained.sqrt();
    let is_held = share(counts.held, all + counts.released) > HELD_MAX;
    if all >= SAMPLES_MIN && are_too_many && are_shown {
        Met::Failed
    } else if is_held {
        Met::Held
    } else if all < SAMPLES_MIN || are_too_many {
        Met::TooFew
    } else if share(counts.degraded, all) > usual_degraded + DEGRADED_ABOVE {
        Met::Degraded
    } else {
        Met::Answered
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// The median of values, 0 of none.
fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0)
}

/// The slowest hundredth of values, 0 of none.
fn slowest(values: &mut [u64]) -> u64 {
    Quantile::P99.of(values).unwrap_or(0)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(at: Micros) -> String {
    format!("{:.1}s", at.as_secs_f64())
}

/// How long clients waited for a first byte: the shortest and the longest of what is known.
fn waited(claims: &[Claim]) -> Option<(u64, u64)> {
    let times = claims.iter().filter_map(|claim| match claim.finding {
        Finding::Time { value_us, .. } if claim.aspect == Aspect::FirstByteTimeout => {
            Some(value_us)
        }
        _ => None,
    });
    let times: Vec<u64> = times.collect();
    Some((times.iter().min().copied()?, times.iter().max().copied()?))
}

/// What of the claims a comparison needs.
fn kept(claims: Vec<Claim>) -> Vec<Claim> {
    const BESIDE: [Aspect; 2] = [Aspect::ConnectTimeout, Aspect::BetweenBytesTimeout];
    let is_kept = |one: &Claim| {
        let is_meant = IN_SHORT.contains(&one.aspect) || BESIDE.contains(&one.aspect);
        is_meant && one.is_remarkable()
    };
    claims.into_iter().filter(is_kept).collect()
}

/// What is known of a dependency's clients, a sentence each.
fn in_short(claims: &[Claim]) -> Vec<String> {
    let mut said = Vec::new();
    for claim in claims {
        if !IN_SHORT.contains(&claim.aspect) || !claim.is_remarkable() {
            continue;
        }
        let of = claim.operation.as_ref();
        let of = of.map_or_else(String::new, |name| format!("{name}: "));
        said.push(format!("{of}{}", claim.said()));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::sample::{self, Story, attempt},
        matrix::{Beside, Use},
    };

    /// `train` puts objects into s3; `ask` uses nothing.
    fn reference() -> Reference {
        let uses = [("train", "s3", 80), ("ask", "s3", 0)].map(|(load, dependency, calls)| Use {
            load: load.into(),
            dependency: dependency.into(),
            operations: 80,
            calls,
            asked: (calls > 0)
                .then(|| "PutObject".into())
                .into_iter()
                .collect(),
        });
        Reference {
            sick: None,
            uses: uses.to_vec(),
            by_itself: Vec::new(),
            named_by: Vec::new(),
            starts_us: 0,
            history: None,
        }
    }

    fn read(story: &Story) -> Result<Tried, String> {
        let (history, system) = (story.history(), sample::system());
        let scenario = sample::scenario();
        let view = View::new(&history, &scenario, &system);
        tried(&view, &Aim::single(&"s3".into(), Kind::Hang), &reference())
    }

    fn cell(story: &Story, load: &str) -> Cell {
        let tried = read(story).expect("it is measured");
        let cell = tried.cells.into_iter().find(|cell| *cell.load == *load);
        cell.expect("the load has a cell")
    }

    /// Five objects that are put while s3 hangs: each is tried three times, and given up.
    fn given_up() -> Vec<sample::AttemptBuilder> {
        let tries = (0..15u64).map(|nth| {
            let (call, number) = (nth / 3, nth % 3);
            let began = 11_000 + call * 100 + number * 2_000;
            let one = attempt("s3", began, began + 1_000);
            let one = one.sdk(&format!("call-{call}"), number as u32 + 1);
            one.hit().gave_up()
        });
        tries.collect()
    }

    /// `train` ends so while s3 hangs; `ask` is well all the time.
    fn trains(outcome: Outcome) -> Story {
        Story::new()
            .healthy(0..10)
            .load("train", 10..30, 5, outcome, 100)
            .load("ask", 10..30, 20, Outcome::Ok, 20)
            .healthy(30..60)
    }

    #[test]
    fn who_needs_the_dependency_fails_and_who_does_not_use_it_is_told_apart() {
        let story = trains(Outcome::Failed).attempts(given_up());
        let train = cell(&story, "train");
        assert_eq!((train.met, train.uses), (Met::Failed, true));
        assert_eq!((train.counts.failed, train.failed_share()), (100, 1.0));
        assert_eq!((train.p50_us, train.steady_p99_us), (100_000, 20_000));
        assert_eq!(train.because.as_deref(), Some("status 503"));
        let tries = train.tries.expect("calls were hit");
        assert_eq!(
            (tries.calls, tries.low, tries.high, tries.named),
            (5, 3, 3, true)
        );
        assert!(matches!(train.aftermath, Aftermath::Steady { .. }));
        assert_eq!(cell(&story, "ask").met, Met::DoesNotUseIt);
    }

    #[test]
    fn an_answer_as_before_and_one_of_a_fallback_are_two_things() {
        let answered = trains(Outcome::Ok).attempts(given_up());
        assert_eq!(cell(&answered, "train").met, Met::Answered);
        let degraded = trains(Outcome::Degraded).attempts(given_up());
        assert_eq!(cell(&degraded, "train").met, Met::Degraded);
    }

    #[test]
    fn a_fault_that_never_acted_on_the_load_is_not_good_news() {
        // Nothing at all was hit; and something was, but not what this load asks for.
        let idle = trains(Outcome::Ok);
        assert_eq!(cell(&idle, "train").met, Met::NotReached);
        let mut others = reference();
        others.uses.push(Use {
            load: "ask".into(),
            dependency: "s3".into(),
            operations: 80,
            calls: 80,
            asked: std::iter::once("GetObject".into()).collect(),
        });
        others.uses.retain(|one| one.calls > 0);
        let gets = trains(Outcome::Ok).attempts((0..3).map(|nth| {
            attempt("s3", 12_000 + nth, 13_000)
                .operation("GetObject")
                .hit()
        }));
        let (history, system) = (gets.history(), sample::system());
        let scenario = sample::scenario();
        let view = View::new(&history, &scenario, &system);
        let aim = Aim::single(&"s3".into(), Kind::Hang);
        let read = tried(&view, &aim, &others).expect("it is measured");
        let met: Vec<Met> = read.cells.iter().map(|cell| cell.met).collect();
        assert_eq!(
            met,
            [Met::Answered, Met::NotReached],
            "ask was reached, train was not"
        );
    }

    #[test]
    fn what_was_to_be_too_slow_and_came_in_time_for_all_shows_nothing() {
        let met = |attempts: Vec<sample::AttemptBuilder>, outcome, kind| {
            let story = trains(outcome).attempts(attempts);
            let (history, system) = (story.history(), sample::system());
            let scenario = sample::scenario();
            let view = View::new(&history, &scenario, &system);
            let aim = Aim::single(&"s3".into(), kind);
            let read = tried(&view, &aim, &reference()).expect("it is measured");
            let train = read.cells.into_iter().find(|cell| *cell.load == *"train");
            train.expect("a cell").met
        };
        let waited = |nth: u64| attempt("s3", 11_000 + nth * 100, 14_000 + nth * 100).hit();
        let waited = |count: u64| (0..count).map(waited).collect::<Vec<_>>();
        let too_slow = |attempts| met(attempts, Outcome::Ok, Kind::TooSlow);
        assert_eq!(too_slow(waited(8)), Met::NotReached);
        assert_eq!(
            met(waited(8), Outcome::Degraded, Kind::TooSlow),
            Met::NotReached
        );
        let mut one_given_up = waited(7);
        one_given_up.extend(given_up().into_iter().take(1));
        assert_eq!(too_slow(one_given_up), Met::Answered);
        // What failed failed, and of other kinds nobody need give up.
        assert_eq!(met(waited(8), Outcome::Failed, Kind::TooSlow), Met::Failed);
        assert_eq!(met(waited(8), Outcome::Ok, Kind::Slow), Met::Answered);
    }

    #[test]
    fn a_load_that_fails_though_it_does_not_use_the_dependency_has_failed() {
        let story = Story::new()
            .healthy(0..10)
            .load("train", 10..30, 5, Outcome::Ok, 20)
            .load("ask", 10..30, 5, Outcome::Indeterminate, 5_000)
            .healthy(30..60)
            .attempts(given_up());
        let ask = cell(&story, "ask");
        assert_eq!((ask.met, ask.uses), (Met::Failed, false));
        assert_eq!(ask.counts.unanswered, 100);
    }

    #[test]
    fn what_is_answered_only_when_the_fault_is_lifted_is_no_answer_to_it() {
        let story = Story::new()
            .healthy(0..10)
            .load("train", 10..12, 5, Outcome::Indeterminate, 5_000)
            .load("train", 29..30, 5, Outcome::Ok, 2_000)
            .load("ask", 10..30, 20, Outcome::Ok, 20)
            .healthy(30..60)
            .attempts(given_up());
        let train = cell(&story, "train");
        assert_eq!((train.counts.released, train.counts.unanswered), (5, 10));
        assert_eq!((train.met, train.failed_share()), (Met::Failed, 1.0));
        let waits = Story::new()
            .healthy(0..10)
            .load("train", 25..30, 5, Outcome::Ok, 5_500)
            .load("ask", 10..30, 20, Outcome::Ok, 20)
            .healthy(30..60)
            .attempts(given_up());
        assert_eq!(cell(&waits, "train").met, Met::Held);
    }

    #[test]
    fn who_hangs_until_the_fault_is_lifted_is_held_however_fast_the_others_are() {
        let story = trains(Outcome::Ok)
            .load("train", 10..30, 5, Outcome::Ok, 25_000)
            .attempts(given_up());
        let train = cell(&story, "train");
        assert_eq!(train.met, Met::Held);
        assert_eq!((train.counts.ok, train.counts.released), (100, 100));
        assert!(train.counts.held > 90, "{:?}", train.counts);
        assert!(train.p99_us > 19_000_000, "at least {}", train.p99_us);
        // Late and in time: what was under way when it was lifted took no longer than the others.
        let late = Story::new()
            .healthy(0..10)
            .load("train", 10..30, 5, Outcome::Ok, 4_000)
            .load("ask", 10..30, 20, Outcome::Ok, 20)
            .healthy(30..60)
            .attempts(given_up());
        let train = cell(&late, "train");
        assert_eq!((train.met, train.counts.held), (Met::Answered, 0));
        assert!(train.counts.released >= 19);
    }

    #[test]
    fn what_fails_is_no_fault_s_doing_that_acted_on_nothing_nor_is_one_failure_of_few() {
        let idle = trains(Outcome::Failed).hits(0);
        assert_eq!(cell(&idle, "train").met, Met::NotReached);
        let failing = |seconds: u64| {
            Story::new()
                .healthy(0..10)
                .load("train", 10..30 - seconds, 1, Outcome::Ok, 20)
                .load("train", 30 - seconds..30, 1, Outcome::Failed, 20)
                .load("ask", 10..30, 20, Outcome::Ok, 20)
                .healthy(30..60)
                .attempts(given_up())
        };
        assert_eq!(cell(&failing(1), "train").met, Met::TooFew);
        assert_eq!(cell(&failing(3), "train").met, Met::Failed);
    }

    #[test]
    fn a_fallback_of_who_does_not_use_it_is_seen_and_so_is_that_there_is_too_little() {
        let asks = |seconds: u64, outcome| {
            Story::new()
                .healthy(0..10)
                .load("train", 10..30, 5, Outcome::Ok, 20)
                .load("ask", 10..10 + seconds, 1, outcome, 20)
                .healthy(30..60)
                .attempts(given_up())
        };
        for (seconds, outcome, met) in [
            (20, Outcome::Degraded, Met::Degraded),
            (20, Outcome::Ok, Met::DoesNotUseIt),
            (2, Outcome::Ok, Met::TooFew),
        ] {
            let ask = cell(&asks(seconds, outcome), "ask");
            assert_eq!((ask.met, ask.uses), (met, false));
        }
    }

    #[test]
    fn a_load_that_we_do_not_offer_while_the_trouble_is_on_shows_nothing() {
        let story = trains(Outcome::Ok).attempts(given_up());
        let late = read(&story.clone().unsent(15, "train", 20)).unwrap_err();
        assert!(is_our_doing(&late), "{late}");
        assert!(late.contains("20 of 120"), "{late}");
        assert!(read(&story.clone().missed(15, "train", 2)).is_ok());
        assert!(read(&story.clone().missed(40, "train", 20)).is_ok());
        // The trouble can have seen one of them, or nineteen.
        let straddling = |range| story.clone().missed_between(range, "train", 20);
        let after = read(&straddling(29_700..40_000));
        assert!(after.is_ok(), "{after:?}");
        let within = read(&straddling(25_000..32_000)).unwrap_err();
        assert!(within.contains("19 of 100"), "{within}");
    }

    #[test]
    fn a_system_that_is_never_as_before_is_wedged_and_so_is_the_load_that_is_not() {
        let story = Story::new()
            .healthy(0..10)
            .load("train", 10..60, 5, Outcome::Failed, 100)
            .load("ask", 10..60, 20, Outcome::Ok, 20)
            .attempts(given_up());
        let tried = read(&story).expect("it is measured");
        let watched = Aftermath::Wedged {
            watched_us: 30_000_000,
        };
        assert_eq!(tried.aftermath, watched);
        assert_eq!(cell(&story, "train").aftermath, watched);
        assert!(!cell(&story, "ask").is_wedged());
        let cut = read(&story.clone().ends(40, Some("interrupted"))).expect("it is measured");
        assert_eq!(cut.aftermath, Aftermath::Unknown);
    }

    #[test]
    fn a_thin_load_that_stays_broken_is_wedged_and_one_asked_too_seldom_is_not_known() {
        use Outcome::{Failed, Ok};
        let mut system = sample::system();
        for load in &mut system.loads {
            if *load.name == *"train" {
                load.rate = "0.15/s".parse().unwrap();
            }
        }
        let of = |outcomes: &[Outcome]| {
            let story = Story::new()
                .healthy(0..10)
                .load("ask", 10..60, 20, Ok, 20)
                .seldom("train", 11_000, 2_500, &[Failed; 8])
                .seldom("train", 31_500, 6_500, outcomes)
                .attempts(given_up());
            let (history, scenario) = (story.history(), sample::scenario());
            let view = View::new(&history, &scenario, &system);
            let aim = Aim::single(&"s3".into(), Kind::Hang);
            tried(&view, &aim, &reference()).expect("it is measured")
        };
        let broken = of(&[Failed; 5]);
        assert!(matches!(broken.aftermath, Aftermath::Wedged { .. }));
        assert!(broken.cells.iter().any(Cell::is_wedged));
        let well = of(&[Ok; 5]);
        assert!(matches!(well.aftermath, Aftermath::Steady { .. }));
        for few in [&[Failed][..], &[Ok, Ok], &[]] {
            assert_eq!(of(few).aftermath, Aftermath::Unknown, "{few:?}");
        }
    }

    #[test]
    fn a_system_that_was_sick_before_shows_nothing() {
        let story = Story::new()
            .load("train", 0..10, 5, Outcome::Failed, 20)
            .load("ask", 0..60, 20, Outcome::Ok, 20)
            .load("train", 10..60, 5, Outcome::Failed, 20)
            .attempts(given_up());
        assert!(
            read(&story)
                .unwrap_err()
                .contains("not healthy before the fault")
        );
        let late = read(&trains(Outcome::Failed).missed(5, "ask", 20)).unwrap_err();
        assert!(is_our_doing(&late), "{late}");
        assert!(!is_our_doing(&read(&story).unwrap_err()));
        let cut = trains(Outcome::Failed).ends(20, Some("interrupted"));
        assert!(
            read(&cut)
                .unwrap_err()
                .contains("before the fault was over")
        );
    }

    #[test]
    fn what_is_called_instead_is_leant_on_and_must_be_hit_in_a_pair() {
        let instead = |hit: bool| {
            let calls =
                (0..20u64).map(|nth| attempt("backup", 11_000 + nth * 500, 11_010 + nth * 500));
            let calls = calls.map(|one| if hit { one.hit() } else { one });
            trains(Outcome::Ok)
                .attempts(given_up())
                .attempts(calls.collect::<Vec<_>>())
        };
        let tried_single = read(&instead(false)).expect("it is measured");
        assert_eq!(tried_single.leant_on, ["backup".into()]);
        let usual = trains(Outcome::Ok)
            .attempts((0..120).map(|nth| attempt("backup", nth * 500, nth * 500 + 5)));
        assert!(read(&usual).expect("it is measured").leant_on.is_empty());

        let aim = Aim {
            beside: Some(Beside {
                dependency: "backup".into(),
                kind: Kind::Error,
            }),
            ..Aim::single(&"s3".into(), Kind::Hang)
        };
        let mut scenario = sample::scenario();
        scenario.phases[TROUBLE].faults[0].target = Target::Dependencies(vec![0, 1]);
        for (hit, met) in [(true, Met::Answered), (false, Met::NotReached)] {
            let (history, system) = (instead(hit).history(), sample::system());
            let view = View::new(&history, &scenario, &system);
            let pair = tried(&view, &aim, &reference()).expect("it is measured");
            let train = pair.cells.iter().find(|cell| *cell.load == *"train");
            assert_eq!(train.expect("a cell").met, met);
        }
    }
}
