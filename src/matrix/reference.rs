//! The run without faults: whether the system is healthy at all, and which load calls what.
//!
//! All loads together are the steady phase. Then nobody asks anything, which shows what the system
//! calls on its own account; then each load is alone for a while, with a pause behind it in which
//! what it left in queues is still its own. What is called while a load is alone, beyond what is
//! called anyway, that load uses.

use super::{
    NamedBy,
    cell::{ANSWERED_MIN, DEGRADED_ABOVE as DEGRADED_MAX},
    doubling::named,
};
use crate::{
    expectation::unsteady,
    history::{History, Operation, Outcome, View, Window},
    input::Source,
    policy::samples::SAMPLES_MIN,
    scenario::{Lasts, Phase, Scenario, System},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How a load is kept from asking: less than one operation in a year, of any rate.
const SILENT: f64 = 1e-9;

/// The shortest time that a load is alone.
const ALONE_MIN: Duration = Duration::from_secs(2);

/// The pause behind a load, in which what it left in queues is worked off.
const PAUSE: Duration = Duration::from_secs(1);

/// The steady phase, and the one in which nobody asks.
const STEADY: usize = 0;
const NOBODY: usize = 1;
/// The first phase of a load that is alone; two for each load.
const ALONE: usize = 2;

/// What the run without faults showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reference {
    /// Why the system was not healthy; then nothing else was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sick: Option<String>,
    /// Which load called which dependency: every load with every dependency.
    pub uses: Vec<Use>,
    /// Dependencies that no load calls, and the system itself does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_itself: Vec<Arc<str>>,
    /// What names the writes of a dependency, so that it can be told whether one was done twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_by: Vec<NamedBy>,
    /// How long the system took to be ready, in microseconds.
    pub starts_us: u64,
    /// Its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
}

/// How a load used a dependency while it was alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Use {
    /// The load.
    pub load: Arc<str>,
    /// The dependency.
    pub dependency: Arc<str>,
    /// How many operations of the load there were.
    pub operations: u64,
    /// How many calls there were, what is called anyway not among them.
    pub calls: u64,
    /// What was asked: `PutObject`, an HTTP method.
    pub asked: BTreeSet<Arc<str>>,
}

impl Use {
    /// Whether it called it at all.
    pub const fn is_use(&self) -> bool {
        self.calls > 0
    }

    /// Calls for each operation.
    pub fn calls_each(&self) -> f64 {
        self.calls as f64 / self.operations.max(1) as f64
    }
}

/// The scenario of the run without faults. It is made here and not read from a file, because a file
/// without a fault or a requirement is a mistake.
pub fn scenario(system: &System, steady: Duration, hold: Duration) -> Scenario {
    let mut phases = vec![phase("steady", steady, true, Vec::new())];
    let silent = |except: Option<&Arc<str>>| -> Vec<(Arc<str>, f64)> {
        let names = system.loads.iter().map(|load| &load.name);
        names
            .filter(|name| Some(*name) != except)
            .map(|name| (Arc::clone(name), SILENT))
            .collect()
    };
    let alone = steady.max(ALONE_MIN);
    phases.push(phase("nobody asks", PAUSE + ALONE_MIN, false, silent(None)));
    if system.loads.len() > 1 {
        for load in &system.loads {
            let name = &load.name;
            let only = format!("{name} alone");
            phases.push(phase(&only, alone, false, silent(Some(name))));
            phases.push(phase(&format!("after {name}"), PAUSE, false, silent(None)));
        }
    }
    Scenario {
        source: Source::new("the run without faults", ""),
        title: format!("{}: without faults", system.name),
        incident: None,
        story: None,
        tags: Vec::new(),
        phases,
        expects: Vec::new(),
        hold,
    }
}

fn phase(name: &str, lasts: Duration, steady: bool, loads: Vec<(Arc<str>, f64)>) -> Phase {
    Phase {
        name: name.into(),
        lasts: Lasts::For(lasts),
        steady,
        aftermath: false,
        happened: None,
        loads,
        faults: Vec::new(),
        span: 0..0,
    }
}

impl Reference {
    /// What the history of [`scenario`] says.
    pub fn of(view: &View<'_>) -> Self {
        let sick = unhealthy(view).or_else(|| broken_off(view.history));
        let uses = uses(view);
        Self {
            sick,
            by_itself: by_itself(view, &uses),
            uses,
            named_by: named(view),
            starts_us: view.history.phases.first().map_or(0, |first| first.began.0),
            history: None,
        }
    }

    /// Where nothing was learnt.
    pub const fn unknown(why: String) -> Self {
        Self {
            sick: Some(why),
            uses: Vec::new(),
            by_itself: Vec::new(),
            named_by: Vec::new(),
            starts_us: 0,
            history: None,
        }
    }

    /// How a load used a dependency.
    pub fn use_of(&self, load: &str, dependency: &str) -> Option<&Use> {
        self.uses
            .iter()
            .find(|one| *one.load == *load && *one.dependency == *dependency)
    }

    /// What all loads together ask a dependency.
    pub fn asked(&self, dependency: &str) -> BTreeSet<&Arc<str>> {
        let of_it = self
            .uses
            .iter()
            .filter(|one| *one.dependency == *dependency);
        of_it.flat_map(|one| &one.asked).collect()
    }
}

/// Why a system is not well in its steady phase, if it is not. One that is kept up by its fallbacks
/// is not: what it can do without would be found where it does without it already.
pub(super) fn unhealthy(view: &View<'_>) -> Option<String> {
    unsteady(view).or_else(|| {
        let mut names = view.system.loads.iter().map(|load| &load.name);
        names.find_map(|name| {
            let operations = view.steady_operations(name);
            let degraded = |one: &&&Operation| one.outcome == Outcome::Degraded;
            let part = operations.iter().filter(degraded).count();
            let is_kept_up = part as f64 > DEGRADED_MAX * operations.len() as f64;
            is_kept_up.then(|| {
                let all = operations.len();
                format!("`{name}` is answered by a fallback, {part} of {all} times")
            })
        })
    })
}

fn broken_off(history: &History) -> Option<String> {
    let how = history.how_it_ended();
    (!history.completed()).then(|| format!("the run without faults broke off: {how}"))
}

/// A phase of the run, if it began.
fn window(view: &View<'_>, index: usize) -> Option<Window> {
    let mut spans = view.history.phases.iter();
    let span = spans.find(|span| span.index == index)?;
    Some(Window::new(span.began, span.ended))
}

fn uses(view: &View<'_>) -> Vec<Use> {
    let nobody = window(view, NOBODY).map(|all| Window::new(all.from + PAUSE, all.to));
    let nobody = nobody.unwrap_or_default();
    let is_only_one = view.system.loads.len() == 1;
    let mut uses = Vec::new();
    for (nth, load) in view.system.loads.iter().enumerate() {
        let alone = window(view, ALONE + 2 * nth).filter(|_| !is_only_one);
        let after = window(view, ALONE + 2 * nth + 1);
        let own = alone.map(|alone| Window::new(alone.from, after.map_or(alone.to, |one| one.to)));
        let own = own.filter(|own| works_alone(view, &load.name, *own));
        let own = own.or_else(|| window(view, STEADY)).unwrap_or_default();
        for dependency in &view.system.dependencies {
            let (calls, asked) = beyond(view, &dependency.name, own, nobody);
            uses.push(Use {
                load: Arc::clone(&load.name),
                dependency: Arc::clone(&dependency.name),
                operations: view.operations_in(&load.name, own).len() as u64,
                calls,
                asked,
            });
        }
    }
    uses
}

/// The dependencies with an attempt or a connection in the whole run, and none that is a load's.
fn by_itself(view: &View<'_>, uses: &[Use]) -> Vec<Arc<str>> {
    let history = view.history;
    let is_called = |name: &Arc<str>| {
        !history.attempts_of(name).is_empty()
            || history
                .connections
                .iter()
                .any(|one| one.dependency == *name)
    };
    let is_used = |name: &Arc<str>| {
        uses.iter()
            .any(|one| one.is_use() && one.dependency == *name)
    };
    let names = view.system.dependencies.iter().map(|one| &one.name);
    let names = names.filter(|name| is_called(name) && !is_used(name));
    names.cloned().collect()
}

/// Whether a load shows while it is alone what it uses: it asked often enough, and was answered. One
/// that is thin, or that lives on what another one does, is taken to use whatever is called while all
/// ask: rather a trial too many than one too few.
fn works_alone(view: &View<'_>, load: &str, own: Window) -> bool {
    let operations = view.operations_in(load, own);
    let answered = operations.iter().filter(|one| one.answered()).count();
    operations.len() as u64 >= SAMPLES_MIN
        && answered as f64 >= ANSWERED_MIN * operations.len() as f64
}

/// What was asked of a dependency in a window beyond what is asked anyway: how often, and what. What
/// is asked anyway must be asked more often than chance explains to count.
fn beyond(
    view: &View<'_>,
    dependency: &str,
    own: Window,
    nobody: Window,
) -> (u64, BTreeSet<Arc<str>>) {
    let usual = asked(view, dependency, nobody);
    let scale = match nobody.length() {
        Duration::ZERO => 0.0,
        length => own.length().as_secs_f64() / length.as_secs_f64(),
    };
    let mut calls = 0;
    let mut names = BTreeSet::new();
    for (name, count) in asked(view, dependency, own) {
        let anyway = usual.get(&name).map_or(0.0, |count| *count as f64 * scale);
        let count = count as f64;
        if anyway == 0.0 || count > anyway + 3.0 * anyway.sqrt() + 3.0 {
            calls += (count - anyway).round() as u64;
            names.insert(name);
        }
    }
    if shows_no_requests(view, dependency) {
        calls = connections(view, dependency, own);
    }
    (calls, names)
}

fn shows_no_requests(view: &View<'_>, dependency: &str) -> bool {
    let mut dependencies = view.system.dependencies.iter();
    dependencies.any(|one| *one.name == *dependency && !one.protocol.has_messages())
}

/// How many connections were open in a window over which anything was ever sent. One that stays open
/// counts for every load: rather a trial too many than one too few.
fn connections(view: &View<'_>, dependency: &str, window: Window) -> u64 {
    let connections = view.history.connections.iter();
    connections
        .filter(|one| *one.dependency == *dependency && one.bytes_up > 0)
        .filter(|one| one.opened < window.to && window.from <= one.closed)
        .count() as u64
}

fn asked(view: &View<'_>, dependency: &str, window: Window) -> BTreeMap<Arc<str>, u64> {
    let mut counts = BTreeMap::new();
    for attempt in window.of(view.history.attempts_of(dependency), |one| one.began) {
        *counts.entry(Arc::clone(&attempt.operation)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{
        Observation, Outcome,
        sample::{self, Story, attempt},
    };

    /// A run without faults of the sample system: steady to 4 s, nobody to 7 s, `ask` alone to 11 s
    /// and its pause to 12 s, `train` alone to 16 s and its pause to 17 s.
    fn reference(story: Story) -> Reference {
        let system = sample::system();
        let scenario = scenario(&system, Duration::from_secs(4), Duration::from_secs(2));
        let starts = [0, 4, 7, 11, 12, 16];
        assert_eq!(scenario.phases.len(), starts.len());
        let mut observations: Vec<Observation> = story.observations();
        observations.retain(|one| {
            !matches!(
                one,
                Observation::Phase { .. } | Observation::Armed { .. } | Observation::Lifted { .. }
            )
        });
        let phases = (0..).zip(starts).map(|(index, second)| Observation::Phase {
            at: crate::units::Micros::from_secs(second),
            index,
        });
        observations.splice(1..1, phases);
        let history = History::from_observations(observations).expect("a run");
        Reference::of(&View::new(&history, &scenario, &system))
    }

    /// Both loads healthy in the steady phase, and each alone.
    fn healthy() -> Story {
        Story::new()
            .healthy(0..4)
            .load("ask", 7..11, 20, Outcome::Ok, 20)
            .load("train", 12..16, 20, Outcome::Ok, 20)
            .ends(17, Some(crate::history::COMPLETED))
    }

    #[test]
    fn a_load_uses_what_is_called_while_it_is_alone_and_while_its_queue_is_worked_off() {
        let at = |millis| attempt("s3", millis, millis + 5);
        let found = reference(healthy().attempts([at(12_500), at(13_000), at(16_900)]));
        assert_eq!(found.sick, None);
        let (ask, train) = (found.use_of("ask", "s3"), found.use_of("train", "s3"));
        assert_eq!(ask.map(|one| (one.calls, one.operations)), Some((0, 80)));
        assert_eq!(train.map(|one| (one.calls, one.operations)), Some((3, 80)));
        assert_eq!(train.map(|one| one.asked.len()), Some(1));
        assert!(found.asked("s3").iter().any(|name| ***name == *"PutObject"));
        assert!(!found.use_of("train", "pager").expect("a use").is_use());
    }

    #[test]
    fn what_the_system_calls_anyway_is_no_loads_use() {
        // Twice a second from beginning to end, as a health check does.
        let checks = (0..34).map(|nth| attempt("s3", nth * 500, nth * 500 + 5).operation("GET"));
        let found = reference(healthy().attempts(checks));
        assert!(
            found.uses.iter().all(|one| !one.is_use()),
            "{:?}",
            found.uses
        );
        assert_eq!(found.by_itself, ["s3".into()]);
        // Often anyway, and more often than chance explains.
        let checks = (0..340).map(|nth| attempt("s3", nth * 50, nth * 50 + 5));
        let busy = (0..40).map(|nth| attempt("s3", 7_000 + nth * 100, 7_001 + nth * 100));
        let found = reference(healthy().attempts(checks).attempts(busy));
        assert!(found.use_of("ask", "s3").expect("a use").is_use());
        assert!(!found.use_of("train", "s3").expect("a use").is_use());
        assert!(found.by_itself.is_empty());
        // The same name, far more often.
        let busy = (0..40).map(|nth| attempt("s3", 7_000 + nth * 100, 7_001 + nth * 100));
        let checks = (0..34).map(|nth| attempt("s3", nth * 500, nth * 500 + 5));
        let found = reference(healthy().attempts(checks).attempts(busy));
        assert!(found.use_of("ask", "s3").expect("a use").is_use());
        assert!(!found.use_of("train", "s3").expect("a use").is_use());
    }

    #[test]
    fn a_load_that_shows_nothing_alone_is_taken_to_use_what_all_use() {
        let at = |millis| attempt("s3", millis, millis + 5);
        let thin = Story::new()
            .healthy(0..4)
            .load("ask", 7..11, 20, Outcome::Ok, 20)
            .ends(17, Some(crate::history::COMPLETED));
        let lost = thin.clone().load("train", 12..16, 20, Outcome::Failed, 20);
        for story in [thin, lost] {
            let found = reference(story.attempts([at(1_000), at(2_000)]));
            assert!(found.use_of("train", "s3").expect("a use").is_use());
            assert!(!found.use_of("ask", "s3").expect("a use").is_use());
        }
    }

    #[test]
    fn a_system_that_is_kept_up_by_its_fallbacks_is_sick() {
        let story = healthy().load("ask", 0..4, 5, Outcome::Degraded, 20);
        let sick = reference(story).sick.expect("it is sick");
        let why = "20% (20 of 100) of load `ask` were answered by a fallback";
        assert!(sick.contains(why), "{sick}");
    }

    #[test]
    fn a_system_that_is_sick_without_faults_is_told_apart() {
        let story = healthy().load("ask", 0..4, 5, Outcome::Failed, 20);
        let sick = reference(story).sick.expect("it is sick");
        assert!(sick.contains("load `ask` were answered"), "{sick}");
        let cut = reference(healthy().ends(13, Some("interrupted")));
        assert!(cut.sick.is_some_and(|why| why.contains("interrupted")));
    }
}
