//! The history as expectations and reports see it: through the scenario's words.

use super::{Attempt, FaultSpan, History, LogicalCall, Missed, Operation, PhaseSpan, Selection};
use crate::{
    fault::FaultId,
    scenario::{FaultSpec, Instance, Phase, Scenario, System},
    units::Micros,
};
use std::{sync::Arc, time::Duration};

/// An operation that is younger than this when its steady phase ends does not hang.
const HANGING_MIN: Duration = Duration::from_secs(1);

/// A stretch of the run, from its first moment up to but without its last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Micros,
    /// The first moment after it.
    pub to: Micros,
}

impl Window {
    /// A window; empty where `to` is not after `from`.
    pub const fn new(from: Micros, to: Micros) -> Self {
        Self { from, to }
    }

    /// Whether the moment lies in it.
    pub fn contains(self, at: Micros) -> bool {
        self.from <= at && at < self.to
    }

    /// How long it is.
    pub const fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// The whole one-second windows in it, beginning at its first moment.
    pub fn seconds(self) -> impl Iterator<Item = Self> {
        (0..self.length().as_secs()).map(move |second| {
            let from = self.from + Duration::from_secs(second);
            Self::new(from, from + Duration::from_secs(1))
        })
    }

    /// The part of a list, sorted by `key`, whose keys lie in the window.
    pub fn of<T>(self, sorted: &[T], key: impl Fn(&T) -> Micros) -> &[T] {
        let first = sorted.partition_point(|item| key(item) < self.from);
        let last = sorted.partition_point(|item| key(item) < self.to);
        &sorted[first..last.max(first)]
    }
}

/// A whole history seen through its scenario, with the phases that are being judged.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// What happened.
    pub history: &'a History,
    /// What was to happen.
    pub scenario: &'a Scenario,
    /// What it happened to.
    pub system: &'a System,
    /// The id of the expectation that is being judged, by which its probes are found.
    pub expect: Option<&'a str>,
    judged: Vec<usize>,
    /// Which operations are meant; all of them where there is none.
    selection: Option<Arc<Selection>>,
}

impl<'a> View<'a> {
    /// The history with every phase judged.
    pub fn new(history: &'a History, scenario: &'a Scenario, system: &'a System) -> Self {
        Self {
            history,
            scenario,
            system,
            expect: None,
            judged: (0..scenario.phases.len()).collect(),
            selection: None,
        }
    }

    /// The same history with these phases judged, by index into the scenario.
    #[must_use]
    pub fn over(&self, mut phases: Vec<usize>) -> Self {
        phases.sort_unstable();
        phases.dedup();
        Self {
            judged: phases,
            ..self.clone()
        }
    }

    /// The same history with these operations only, where loads' operations and their baselines
    /// are asked for; a selection that leaves nothing out changes nothing.
    #[must_use]
    pub fn only(&self, selection: &Arc<Selection>) -> Self {
        let mut view = self.clone();
        if !selection.is_all() {
            view.selection = Some(Arc::clone(selection));
        }
        view
    }

    fn means(&self, operation: &Operation) -> bool {
        let selection = self.selection.as_ref();
        selection.is_none_or(|selection| selection.has(operation))
    }

    /// The phases judged, by index into the scenario.
    pub fn judged(&self) -> &[usize] {
        &self.judged
    }

    /// The judged phases as they happened; those that never began are not among them.
    pub fn spans(&self) -> impl Iterator<Item = &'a PhaseSpan> {
        let history = self.history;
        history
            .phases
            .iter()
            .filter(|span| self.judged.contains(&span.index))
    }

    /// The judged phases as windows, phases that follow each other joined.
    pub fn windows(&self) -> Vec<Window> {
        let mut windows: Vec<Window> = Vec::new();
        for span in self.spans() {
            match windows.last_mut() {
                Some(last) if last.to == span.began => last.to = span.ended,
                _ => windows.push(Window::new(span.began, span.ended)),
            }
        }
        windows
    }

    /// From the beginning of the first judged phase to the end of the last.
    pub fn window(&self) -> Window {
        let windows = self.windows();
        Window::new(
            windows.first().map_or(Micros::default(), |one| one.from),
            windows.last().map_or(Micros::default(), |one| one.to),
        )
    }

    /// The time judged, without the gaps between the judged phases.
    pub fn length(&self) -> Duration {
        self.windows().iter().map(|window| window.length()).sum()
    }

    /// Whether the moment lies in a judged phase.
    pub fn contains(&self, at: Micros) -> bool {
        self.spans()
            .any(|span| Window::new(span.began, span.ended).contains(at))
    }

    /// The scenario's phase of a span.
    pub fn phase(&self, span: &PhaseSpan) -> Option<&'a Phase> {
        self.scenario.phases.get(span.index)
    }

    /// The window of a phase by name, if it began.
    pub fn phase_window(&self, name: &str) -> Option<Window> {
        self.history
            .phases
            .iter()
            .find(|span| self.phase(span).is_some_and(|phase| *phase.name == *name))
            .map(|span| Window::new(span.began, span.ended))
    }

    /// The baseline: the steady phases that were over (or at least began) in this run.
    pub fn steady(&self) -> Vec<Window> {
        self.history
            .phases
            .iter()
            .filter(|span| self.phase(span).is_some_and(|phase| phase.steady))
            .map(|span| Window::new(span.began, span.ended))
            .collect()
    }

    /// When the last fault was lifted for good: recovery counts from here. `None` while a fault
    /// is in force or the last phase has not begun.
    pub fn recovery_began(&self) -> Option<Micros> {
        let last = self.history.phases.last()?;
        let phase = self.phase(last)?;
        if last.index + 1 != self.scenario.phases.len() || !phase.faults.is_empty() {
            return None;
        }
        let lifted = self.history.faults.iter().map(|span| span.lifted).max();
        Some(lifted.map_or(last.began, |lifted| lifted.max(last.began)))
    }

    /// When the outage was over: with the first phase of its aftermath, or else when the last fault
    /// was lifted for good. `None` before that.
    pub fn outage_ended(&self) -> Option<Micros> {
        let first = self
            .scenario
            .phases
            .iter()
            .position(|phase| phase.aftermath);
        let Some(first) = first else {
            return self.recovery_began();
        };
        let began = self
            .history
            .phases
            .iter()
            .find(|span| span.index == first)?;
        Some(began.began)
    }

    /// A fault as the scenario declares it, with its phase.
    pub fn fault(&self, span: &FaultSpan) -> Option<(usize, &'a FaultSpec)> {
        let phases = self.scenario.phases.iter().enumerate();
        phases
            .flat_map(|(index, phase)| phase.faults.iter().map(move |fault| (index, fault)))
            .find(|(_, fault)| fault.id == span.fault)
    }

    /// Whether any of these faults is of one of these kinds.
    pub fn is_any_of(&self, faults: &[FaultId], kinds: &[&str]) -> bool {
        let phases = self.scenario.phases.iter();
        let mut known = phases.flat_map(|phase| &phase.faults);
        known.any(|one| faults.contains(&one.id) && kinds.contains(&one.kind))
    }

    /// The most that something can have been held up between two moments by other programs of the
    /// machine, beyond what is usual in the steady phases; zero where that is not known.
    pub fn held_up(&self, from: Micros, to: Micros) -> Duration {
        let steady = self.steady();
        let usual: Duration = steady
            .iter()
            .map(|one| self.history.held_up(one.from, one.to))
            .sum();
        let length: Duration = steady.iter().map(|one| one.length()).sum();
        let share = usual.as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE);
        let expected = to.since(from).mul_f64(share.min(1.0));
        self.history.held_up(from, to).saturating_sub(expected)
    }

    /// The faults of the judged phases as they were in force, by arming.
    pub fn faults(&self) -> Vec<(&'a FaultSpan, &'a FaultSpec)> {
        let history = self.history;
        let mut faults: Vec<_> = history
            .faults
            .iter()
            .filter_map(|span| self.fault(span).map(|(phase, fault)| (phase, span, fault)))
            .filter(|(phase, ..)| self.judged.contains(phase))
            .map(|(_, span, fault)| (span, fault))
            .collect();
        faults.sort_by_key(|(span, _)| span.armed);
        faults
    }

    /// The dependencies that `on` means: all of a role, or one by name.
    pub fn dependencies(&self, on: &str) -> Vec<&'a Arc<str>> {
        let system = self.system;
        system
            .dependencies
            .iter()
            .filter(|one| *one.name == *on || one.role.as_deref() == Some(on))
            .map(|one| &one.name)
            .collect()
    }

    /// When an instance was running in a window, as far as its process is known: from a `started` to
    /// the `exited` that follows. Of one that was never seen to start nothing else is known than
    /// that it runs.
    pub fn running(&self, instance: &str, window: Window) -> Vec<Window> {
        self.between(instance, window, &["started"], &["exited", "stopped"])
    }

    /// For how long at least one of these instances ran in a window and did not stand still, whoever
    /// ended or paused it. One that is not started with the run does not run until it is.
    pub fn manned(&self, window: Window, instances: &[&Instance]) -> Duration {
        let was_seen = |instance: &Instance| {
            let mut all = self.history.processes.iter();
            all.any(|event| event.instance == instance.name)
        };
        let mut active: Vec<Window> = instances
            .iter()
            .filter(|instance| instance.autostart || was_seen(instance))
            .flat_map(|instance| {
                let ends = ["exited", "stopped", "paused"];
                self.between(&instance.name, window, &["started", "resumed"], &ends)
            })
            .collect();
        active.sort_by_key(|one| one.from);
        let mut manned = Duration::ZERO;
        let mut until = window.from;
        for one in active {
            let from = one.from.max(until);
            manned += Window::new(from, one.to.max(from)).length();
            until = until.max(one.to);
        }
        manned
    }

    /// The parts of a window that lie between an event of an instance that begins something and the
    /// next that ends it. One that was never seen to start is taken to have begun before.
    fn between(
        &self,
        instance: &str,
        window: Window,
        begins: &[&str],
        ends: &[&str],
    ) -> Vec<Window> {
        let own = self.history.processes.iter();
        let mut own = own.filter(|event| *event.instance == *instance).peekable();
        let mut since = match own.peek() {
            Some(first) if first.event == "started" => None,
            _ => Some(Micros::default()),
        };
        let mut running = Vec::new();
        for event in own {
            match since {
                None if begins.contains(&&*event.event) => since = Some(event.at),
                Some(from) if ends.contains(&&*event.event) => {
                    running.push(Window::new(from, event.at));
                    since = None;
                }
                _ => {}
            }
        }
        running.extend(since.map(|from| Window::new(from, window.to)));
        running
            .into_iter()
            .map(|one| Window::new(one.from.max(window.from), one.to.min(window.to)))
            .filter(|one| one.from < one.to)
            .collect()
    }

    /// The operations of a load whose intended start lies in the judged phases.
    pub fn operations(&self, load: &str) -> Vec<&'a Operation> {
        let windows = self.windows();
        windows
            .iter()
            .flat_map(|window| self.operations_in(load, *window))
            .filter(|one| self.means(one))
            .collect()
    }

    /// All operations of a load whose intended start lies in a window, whoever is meant.
    pub fn operations_in(&self, load: &str, window: Window) -> &'a [Operation] {
        window.of(self.history.operations_of(load), |one| one.intended)
    }

    /// The operations of a load's baseline: begun and ended in a steady phase. One that was still
    /// open when the steady phase ended may have met the next phase's fault.
    pub fn steady_operations(&self, load: &str) -> Vec<&'a Operation> {
        let windows = self.steady();
        windows
            .iter()
            .flat_map(|window| {
                let operations = self.operations_in(load, *window);
                operations.iter().filter(|one| one.ended <= window.to)
            })
            .filter(|one| self.means(one))
            .collect()
    }

    /// The operations of a load that began in a steady phase, were open when it ended, and had by
    /// then taken more than a second and more than three times the median of those that ended: no
    /// later fault can have anything to do with that.
    pub fn steady_hanging(&self, load: &str) -> Vec<&'a Operation> {
        let mut times: Vec<Duration> = self
            .steady_operations(load)
            .iter()
            .map(|one| one.latency())
            .collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let patience = (median * 3).max(HANGING_MIN);
        let windows = self.steady();
        windows
            .iter()
            .flat_map(|window| {
                let operations = self.operations_in(load, *window).iter();
                operations
                    .filter(|one| one.ended > window.to && window.to.since(one.intended) > patience)
            })
            .filter(|one| self.means(one))
            .collect()
    }

    /// The attempts at a dependency or role that began in a window, by when they began.
    pub fn attempts_in(&self, on: &str, window: Window) -> Vec<&'a Attempt> {
        let mut attempts: Vec<&Attempt> = self
            .dependencies(on)
            .into_iter()
            .flat_map(|name| window.of(self.history.attempts_of(name), |one| one.began))
            .collect();
        attempts.sort_by_key(|attempt| attempt.began);
        attempts
    }

    /// The calls of a dependency or role, each with its attempts, by when they began.
    pub fn calls(&self, on: &str) -> Vec<(&'a LogicalCall, Vec<&'a Attempt>)> {
        let history = self.history;
        let mut calls: Vec<_> = self
            .dependencies(on)
            .into_iter()
            .flat_map(|name| {
                let attempts = history.attempts_of(name);
                history.calls_of(name).iter().map(move |call| {
                    let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
                    (call, own.collect())
                })
            })
            .collect();
        calls.sort_by_key(|(call, _)| call.began);
        calls
    }

    /// Where a load missed its schedule in the judged phases.
    pub fn missed<'b>(&'b self, load: &'b str) -> impl Iterator<Item = &'a Missed> + 'b {
        self.missed_in(load, self.windows())
    }

    /// Where a load missed its schedule in these windows: entries some of whose operations should
    /// have begun there.
    pub fn missed_in<'b>(
        &'b self,
        load: &'b str,
        windows: Vec<Window>,
    ) -> impl Iterator<Item = &'a Missed> + 'b {
        let history = self.history;
        history.missed.iter().filter(move |missed| {
            *missed.load == *load
                && windows
                    .iter()
                    .any(|window| missed.first < window.to && window.from <= missed.last)
        })
    }

    /// How many operations of an entry were to begin within these windows: the most it can be.
    pub fn missed_within(&self, entry: &Missed, windows: &[Window]) -> u64 {
        self.within(entry, windows, entry.unsent)
    }

    /// The same of those that began late, without those that were not sent at all.
    pub fn late_within(&self, entry: &Missed, windows: &[Window]) -> u64 {
        self.within(entry, windows, 0)
    }

    /// Of an entry that reaches beyond a window the first and the last operation are known, and of those
    /// between as many as began, beside the `unsent` ones that count.
    fn within(&self, entry: &Missed, windows: &[Window], unsent: u64) -> u64 {
        let meant = entry.count - entry.unsent.min(entry.count) + unsent;
        let mut all = windows.iter();
        if all.any(|one| one.contains(entry.first) && one.contains(entry.last)) {
            return meant;
        }
        let is_outside = |at: Micros| !windows.iter().any(|window| window.contains(at));
        let last = Some(entry.last).filter(|last| *last != entry.first);
        let ends = [Some(entry.first), last].into_iter().flatten();
        let outside = ends.filter(|at| is_outside(*at)).count() as u64;
        let inside = entry.count.saturating_sub(outside);
        let begun = windows.iter().map(|window| {
            let from = window.from.max(entry.first);
            let to = window.to.min(Micros(entry.last.0.saturating_add(1)));
            match from < to {
                true => self.operations_in(&entry.load, Window::new(from, to)).len() as u64,
                false => 0,
            }
        });
        meant.min(inside).min(begun.sum::<u64>() + unsent)
    }

    /// How many operations of a load were not sent at all in the judged phases: the most it can
    /// be.
    pub fn unsent(&self, load: &str) -> u64 {
        self.missed(load).map(|missed| missed.unsent).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{
        Outcome,
        sample::{self, OUTAGE, RECOVERY, Story},
    };
    use proptest::prelude::*;

    #[test]
    fn an_outage_ends_with_its_last_fault_or_with_its_aftermath() {
        let history = Story::new().healthy(0..60).history();
        let system = sample::system();
        let ended = |scenario: &Scenario| View::new(&history, scenario, &system).outage_ended();
        let mut scenario = sample::scenario();
        assert_eq!(ended(&scenario), Some(Micros::from_secs(RECOVERY)));
        scenario.phases[1].aftermath = true;
        assert_eq!(ended(&scenario), Some(Micros::from_secs(OUTAGE)));
    }

    proptest! {
        /// Against the plain reading of what a window is: everything is looked at.
        #[test]
        fn a_window_holds_what_looking_at_everything_finds(
            mut moments in prop::collection::vec(0u64..5_000_000, 0..60),
            from in 0u64..5_000_000,
            to in 0u64..5_000_000,
        ) {
            moments.sort_unstable();
            let moments: Vec<Micros> = moments.into_iter().map(Micros).collect();
            let window = Window::new(Micros(from), Micros(to));
            let plain: Vec<Micros> = moments.iter().copied().filter(|at| from <= at.0 && at.0 < to).collect();
            prop_assert_eq!(window.of(&moments, |at| *at), &plain[..]);
            prop_assert!(moments.iter().all(|at| window.contains(*at) == plain.contains(at)));
            let seconds: Vec<Window> = window.seconds().collect();
            prop_assert_eq!(seconds.len() as u64, to.saturating_sub(from) / 1_000_000);
            for (nth, second) in (0u64..).zip(&seconds) {
                prop_assert_eq!(second.from.0, from + nth * 1_000_000);
                prop_assert_eq!(second.length(), Duration::from_secs(1));
                prop_assert!(second.to <= window.to);
            }
        }

        /// Whichever phases are judged, in whatever order they are named, and however often.
        #[test]
        fn judged_phases_hold_the_operations_that_began_in_any_of_them(
            judged in prop::collection::vec(0usize..3, 0..5),
            until in 1u64..60,
        ) {
            let history = Story::new().load("ask", 0..until, 7, Outcome::Ok, 20).history();
            let (scenario, system) = (sample::scenario(), sample::system());
            let view = View::new(&history, &scenario, &system).over(judged.clone());
            let is_judged = |at: Micros| {
                let mut spans = history.phases.iter();
                spans.any(|span| judged.contains(&span.index) && span.began <= at && at < span.ended)
            };
            let plain = history.operations_of("ask").iter().filter(|one| is_judged(one.intended));
            let plain: Vec<u64> = plain.map(|one| one.nth).collect();
            let seen: Vec<u64> = view.operations("ask").iter().map(|one| one.nth).collect();
            prop_assert_eq!(seen, plain);
            let windows = view.windows();
            for pair in windows.windows(2) {
                prop_assert!(pair[0].to < pair[1].from, "joined where they meet");
            }
            for at in (0..60_000_000).step_by(250_000).map(Micros) {
                let within = windows.iter().filter(|window| window.contains(at)).count();
                prop_assert_eq!(within, usize::from(is_judged(at)));
                prop_assert_eq!(view.contains(at), is_judged(at));
            }
        }
    }
}
