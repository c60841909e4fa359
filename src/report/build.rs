//! A history, its files and its verdicts to the report of one scenario. Pure: counts, and judges
//! nothing.

use super::{
    Attempts, BACKLOG_STEPS_MAX, BacklogReport, DeclaredReport, DependencyPhase, DependencyReport,
    DetectedReport, FaultReport, IncidentReport, LedgerReport, LoadPhase, LoadReport, Outcomes,
    POLICIES_VERSION, PhaseReport, PoliciesReport, RecoveryReport, ScenarioReport, Timeline,
    Trouble, TroubleKind, UnlistedHostReport,
    digests::digests,
    side::{both, each},
    spread::{calls, lost_clumping, spread},
    traces,
    writes::writes,
};
use crate::{
    expectation::{Status, Verdict, run_doubts},
    history::{
        Account, Attempt, AttemptEnd, COMPLETED, Criteria, History, Operation, Outcome, Run,
        Steady, View, Window,
    },
    policy::{calls_of, infer_of},
    scenario::{Dependency, Scenario, System},
    units::Micros,
};
use hdrhistogram::Histogram;
use std::time::Duration;

/// What a report is built from.
#[derive(Debug)]
pub struct Material<'a> {
    /// What happened.
    pub history: &'a History,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The system.
    pub system: &'a System,
    /// One for each expectation.
    pub verdicts: Vec<Verdict>,
    /// What kept it from its end, where more is known than the history says.
    pub trouble: Option<Trouble>,
    /// The command that repeats it.
    pub repeat: String,
    /// The history's file.
    pub file: Option<String>,
}

/// The report of one scenario.
pub fn build(material: Material<'_>) -> ScenarioReport {
    let Material {
        history,
        scenario,
        system,
        verdicts,
        trouble,
        repeat,
        file,
    } = material;
    let phases = phases(scenario, history);
    let trouble = trouble.or_else(|| trouble_of(history));
    let doubts = run_doubts(history, scenario, system);
    let view = View::new(history, scenario, system);
    // The policies take about as long as all the rest.
    let (policies, (timeline, traces, writes)) = both(
        || policies(&view),
        || (Timeline::of(&view), traces(&view, &verdicts), writes(&view)),
    );
    ScenarioReport {
        status: ScenarioReport::merged(&verdicts, trouble.as_ref(), &doubts),
        trouble,
        doubts,
        traces,
        detected: detected(&timeline),
        ledgers: ledgers(&view, &timeline),
        writes,
        timeline,
        verdicts,
        faults: faults(scenario, history),
        loads: loads(system, history, &phases),
        dependencies: dependencies(system, history, &phases),
        phases,
        unlisted_hosts: unlisted_hosts(history),
        policies,
        recovery: recovery(history, scenario, system),
        history: file,
        duration_us: history.end.0,
        ..blank(&history.run, scenario, repeat)
    }
}

/// Adds to a report that was read back what only its history holds: the run over time, and what
/// is behind the evidence of its verdicts.
pub fn add_history(
    report: &mut ScenarioReport,
    history: &History,
    scenario: &Scenario,
    system: &System,
) {
    let view = View::new(history, scenario, system);
    report.traces = traces(&view, &report.verdicts);
    report.timeline = Timeline::of(&view);
}

fn unlisted_hosts(history: &History) -> Vec<UnlistedHostReport> {
    let hosts = history.unlisted.iter();
    hosts
        .map(|(host, seen)| UnlistedHostReport {
            host: host.clone(),
            count: seen.count,
            passed: seen.passed,
        })
        .collect()
}

/// What clients did, where anything can be said of it.
fn policies(view: &View<'_>) -> Option<PoliciesReport> {
    let (mut claims, mut declared) = (Vec::new(), Vec::new());
    let dependencies = &view.system.dependencies;
    let inferred = each(dependencies, |one| infer_of(view, &one.name));
    for (dependency, own) in dependencies.iter().zip(inferred) {
        let policy = dependency.policy.as_ref();
        let answers = policy.map_or_else(Vec::new, |policy| {
            policy.hold(view, &own, &calls_of(view, &dependency.name))
        });
        declared.extend(answers.into_iter().map(|answer| DeclaredReport {
            dependency: dependency.name.to_string(),
            key: answer.key.to_owned(),
            seen: answer.sentence(),
            standing: answer.standing,
            declared: answer.written,
        }));
        claims.extend(own);
    }
    let is_something = !claims.is_empty() || !declared.is_empty();
    is_something.then_some(PoliciesReport {
        version: POLICIES_VERSION,
        claims,
        declared,
    })
}

/// The report of a scenario whose system never ran, so that there is no history worth reading.
pub fn build_without_history(
    run: &Run,
    scenario: &Scenario,
    trouble: Trouble,
    repeat: String,
) -> ScenarioReport {
    ScenarioReport {
        status: ScenarioReport::merged(&[], Some(&trouble), &[]),
        trouble: Some(trouble),
        ..blank(run, scenario, repeat)
    }
}

/// What is known of a scenario before it ran.
fn blank(run: &Run, scenario: &Scenario, repeat: String) -> ScenarioReport {
    ScenarioReport {
        title: scenario.title.clone(),
        file: run.scenario.0.clone(),
        system: run.system.0.clone(),
        seed: run.seed,
        speed: run.speed,
        status: Status::Inconclusive,
        trouble: None,
        doubts: Vec::new(),
        unlisted_hosts: Vec::new(),
        verdicts: Vec::new(),
        phases: Vec::new(),
        faults: Vec::new(),
        loads: Vec::new(),
        dependencies: Vec::new(),
        ledgers: Vec::new(),
        writes: Vec::new(),
        policies: None,
        recovery: None,
        incident: scenario.incident.as_ref().map(|incident| IncidentReport {
            who: incident.who.clone(),
            on: incident.on.clone(),
            source: incident.source.clone(),
        }),
        story: scenario.story.clone(),
        tags: scenario.tags.clone(),
        repeat,
        history: None,
        began: run.began.clone(),
        duration_us: 0,
        machine: run.machine.clone(),
        detected: None,
        repetition: None,
        digests: digests(run, scenario.hold),
        timeline: Timeline::default(),
        traces: Vec::new(),
    }
}

/// How long after the first fault it showed.
fn detected(timeline: &Timeline) -> Option<DetectedReport> {
    let seen = &timeline.detected;
    let armed = seen.armed?;
    let after = |at: Micros| Micros::from(at.since(armed)).0;
    Some(DetectedReport {
        fallback_us: seen.fallback.as_ref().map(|(_, at)| after(*at)),
        alert_us: seen.alert.as_ref().map(|(_, at)| after(*at)),
    })
}

/// How long the system took from the last fault's lifting until all was as before, or took at
/// least: until the end, or where it cannot be told until the last second that was not good.
fn recovery(history: &History, scenario: &Scenario, system: &System) -> Option<RecoveryReport> {
    let view = View::new(history, scenario, system);
    let (lifted, end) = (view.recovery_began()?, history.over());
    let mut follower = Steady::new(scenario, system, Criteria::STEADY);
    follower.observe_history(history, lifted);
    let steady = follower.held(scenario.hold, end);
    let untold = match steady {
        Some(_) => None,
        None => follower.untold(scenario.hold, end),
    };
    let until = match (steady, &untold) {
        (Some(steady), _) => steady,
        (None, Some(_)) => follower.not_before(scenario.hold, end),
        (None, None) => end,
    };
    Some(RecoveryReport {
        lifted,
        steady,
        took_us: Micros::from(until.since(lifted)).0,
        untold,
    })
}

/// What the history itself says about its end.
fn trouble_of(history: &History) -> Option<Trouble> {
    let (kind, message) = match history.ended.as_ref().map(|moment| moment.how.as_str()) {
        Some(COMPLETED) => return None,
        Some("interrupted") => (TroubleKind::Interrupted, "the run was interrupted"),
        Some(how) => (TroubleKind::BrokeOff, how),
        None => (
            TroubleKind::BrokeOff,
            "the history has no end: the runner was killed, or its disk was full",
        ),
    };
    Some(Trouble {
        kind,
        message: message.to_owned(),
        detail: None,
    })
}

fn phases(scenario: &Scenario, history: &History) -> Vec<PhaseReport> {
    scenario
        .phases
        .iter()
        .enumerate()
        .map(|(index, phase)| {
            let span = history.phases.iter().find(|span| span.index == index);
            PhaseReport {
                name: phase.name.to_string(),
                steady: phase.steady,
                began: span.map(|span| span.began),
                ended: span.map(|span| span.ended),
                happened: phase.happened.clone(),
            }
        })
        .collect()
}

/// The place of the phase that a moment lies in; the last phase also has what came after it.
fn phase_at(phases: &[PhaseReport], at: Micros) -> Option<usize> {
    phases
        .iter()
        .rposition(|phase| phase.began.is_some_and(|began| began <= at))
}

/// From when to when a phase was; `None` if it never began.
fn window_of(phase: &PhaseReport) -> Option<Window> {
    Some(Window::new(phase.began?, phase.ended?))
}

fn faults(scenario: &Scenario, history: &History) -> Vec<FaultReport> {
    let mut reports = Vec::new();
    for phase in &scenario.phases {
        for fault in &phase.faults {
            let mut spans = history.faults.iter().filter(|span| span.fault == fault.id);
            let first = spans.clone().next();
            reports.push(FaultReport {
                id: fault.id.0,
                label: fault.label.clone(),
                kind: fault.kind.to_owned(),
                on: fault.on.clone(),
                phase: phase.name.to_string(),
                hits: spans.clone().map(|span| span.hits).sum(),
                armed: first.map(|span| span.armed),
                lifted: spans.next_back().map(|span| span.lifted),
            });
        }
    }
    reports
}

/// The longest latency told apart: an hour. Longer ones count as this long.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Outcomes and latencies, of a load or of one of its phases.
struct Sums {
    outcomes: Outcomes,
    latencies_us: Histogram<u64>,
}

impl Sums {
    fn new() -> Self {
        Self {
            outcomes: Outcomes::default(),
            latencies_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
                .expect("the bounds are in order and three digits a valid precision"),
        }
    }

    fn add(&mut self, operation: &Operation) {
        let count = match operation.outcome {
            Outcome::Ok => &mut self.outcomes.ok,
            Outcome::Degraded => &mut self.outcomes.degraded,
            Outcome::Failed => &mut self.outcomes.failed,
            Outcome::Indeterminate => &mut self.outcomes.indeterminate,
        };
        *count += 1;
        let latency = operation.ended.since(operation.intended);
        self.latencies_us
            .saturating_record(Micros::from(latency).0.clamp(1, LATENCY_US_MAX));
    }

    fn quantile_us(&self, quantile: f64) -> Option<u64> {
        (!self.latencies_us.is_empty()).then(|| self.latencies_us.value_at_quantile(quantile))
    }
}

fn loads(system: &System, history: &History, phases: &[PhaseReport]) -> Vec<LoadReport> {
    let loads = system.loads.iter().map(|load| &load.name);
    let ingress = system.ingress.iter().map(|ingress| &ingress.name);
    loads
        .chain(ingress)
        .map(|name| load(name, history, phases))
        .collect()
}

fn load(name: &str, history: &History, phases: &[PhaseReport]) -> LoadReport {
    let mut whole = Sums::new();
    let mut parts: Vec<Sums> = phases.iter().map(|_| Sums::new()).collect();
    let mut members: Vec<Vec<&Operation>> = vec![Vec::new(); phases.len()];
    for operation in history.operations_of(name) {
        whole.add(operation);
        if let Some(index) = phase_at(phases, operation.intended) {
            parts[index].add(operation);
            members[index].push(operation);
        }
    }
    let missed = history.missed.iter().filter(|missed| *missed.load == *name);
    LoadReport {
        name: name.to_owned(),
        outcomes: whole.outcomes,
        missed: missed.map(|missed| missed.count).sum(),
        p50_us: whole.quantile_us(0.5),
        p99_us: whole.quantile_us(0.99),
        phases: phases
            .iter()
            .zip(&parts)
            .zip(&members)
            .map(|((phase, part), members)| LoadPhase {
                phase: phase.name.clone(),
                outcomes: part.outcomes,
                p50_us: part.quantile_us(0.5),
                p99_us: part.quantile_us(0.99),
                spread: window_of(phase).map(|window| spread(window, members)),
            })
            .collect(),
    }
}

fn dependencies(
    system: &System,
    history: &History,
    phases: &[PhaseReport],
) -> Vec<DependencyReport> {
    system
        .dependencies
        .iter()
        .map(|one| dependency(one, history, phases))
        .collect()
}

fn dependency(
    dependency: &Dependency,
    history: &History,
    phases: &[PhaseReport],
) -> DependencyReport {
    let mut whole = Attempts::default();
    let mut parts = vec![Attempts::default(); phases.len()];
    for attempt in history.attempts_of(&dependency.name) {
        count(&mut whole, attempt);
        if let Some(index) = phase_at(phases, attempt.began) {
            count(&mut parts[index], attempt);
        }
    }
    let connections = history
        .connections
        .iter()
        .filter(|connection| connection.dependency == dependency.name);
    DependencyReport {
        name: dependency.name.to_string(),
        role: dependency.role.as_ref().map(ToString::to_string),
        protocol: dependency.protocol.to_string(),
        attempts: whole,
        connections: connections.count() as u64,
        phases: phases
            .iter()
            .zip(parts)
            .map(|(phase, attempts)| DependencyPhase {
                phase: phase.name.clone(),
                attempts,
                calls: window_of(phase).map(|window| calls(window, history, &dependency.name)),
            })
            .collect(),
    }
}

fn ledgers(view: &View<'_>, timeline: &Timeline) -> Vec<LedgerReport> {
    let ledgers = view.system.ledgers.iter();
    ledgers
        .map(|ledger| Account::of(view, ledger))
        .map(|account| LedgerReport {
            drained_us: drained_us(timeline, &account.ledger.name),
            ..ledger(&account)
        })
        .collect()
}

/// How long after the outage's end its backlog was drained.
fn drained_us(timeline: &Timeline, ledger: &str) -> Option<u64> {
    let series = timeline.ledgers.iter().find(|one| one.name == ledger)?;
    let (drained, ended) = (series.drained?, series.outage_ended?);
    Some(Micros::from(drained.since(ended)).0)
}

fn ledger(account: &Account<'_>) -> LedgerReport {
    let counts = account.counts;
    LedgerReport {
        name: account.ledger.name.to_string(),
        load: account.ledger.load.to_string(),
        accepted: counts.accepted,
        delivered: counts.delivered,
        lost: counts.lost,
        waiting: counts.undelivered,
        dropped: counts.dropped,
        without_id: counts.accepted_nameless,
        duplicated: counts.duplicated,
        indeterminate: counts.indeterminate,
        recovered: counts.recovered,
        refused: counts.refused,
        contradicted: counts.contradicted,
        unexpected: counts.unexpected,
        reported_waiting: account.waiting,
        unsettled: account.unsettled.clone(),
        drained_us: None,
        clumping: lost_clumping(account),
        backlog: backlog(account),
    }
}

/// The unit of a backlog's steps.
const STEP: Duration = Duration::from_millis(100);

fn backlog(account: &Account<'_>) -> BacklogReport {
    let curve = account.curve(|_| true);
    let unit = Micros::from(STEP).0;
    let units = account.end.0.div_ceil(unit).max(1);
    let every_us = unit * units.div_ceil(BACKLOG_STEPS_MAX as u64);
    let steps = account.end.0.div_ceil(every_us).max(1);
    let step = |nth| Window::new(Micros(nth * every_us), Micros((nth + 1) * every_us));
    BacklogReport {
        every_us,
        deepest: (0..steps).map(|nth| curve.deepest(step(nth))).collect(),
        left: curve.at(account.end),
    }
}

fn count(sums: &mut Attempts, attempt: &Attempt) {
    sums.total += 1;
    sums.faulty += u64::from(!attempt.faults.is_empty());
    let end = match attempt.end {
        AttemptEnd::Answered => &mut sums.answered,
        AttemptEnd::GaveUp => &mut sums.gave_up,
        AttemptEnd::Cut => &mut sums.cut,
        AttemptEnd::UpstreamFailed => &mut sums.upstream_failed,
        AttemptEnd::Unfinished => &mut sums.unfinished,
    };
    *end += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::{Story, attempt, scenario, system};

    fn report(story: &Story, trouble: Option<Trouble>) -> ScenarioReport {
        build(Material {
            history: &story.history(),
            scenario: &scenario(),
            system: &system(),
            verdicts: Vec::new(),
            trouble,
            repeat: "brownout run sample.toml".to_owned(),
            file: None,
        })
    }

    #[test]
    fn operations_are_counted_in_the_phase_of_their_intended_start() {
        let story = Story::new()
            .load("ask", 0..10, 20, Outcome::Ok, 20)
            .load("ask", 10..30, 20, Outcome::Failed, 3_000)
            .load("ask", 30..60, 20, Outcome::Ok, 40);
        let report = report(&story, None);
        let ask = &report.loads[0];
        assert_eq!((ask.outcomes.ok, ask.outcomes.failed), (800, 400));
        let counts: Vec<_> = ask.phases.iter().map(|phase| phase.outcomes).collect();
        assert_eq!((counts[0].ok, counts[0].failed), (200, 0));
        // The last ones of the outage ended in the recovery, and still belong to the outage.
        assert_eq!((counts[1].ok, counts[1].failed), (0, 400));
        assert_eq!(counts[2].ok, 600);
    }

    #[test]
    fn latencies_are_exact_to_the_thousandth() {
        let story = Story::new().load("ask", 0..10, 98, Outcome::Ok, 20).load(
            "ask",
            0..10,
            2,
            Outcome::Indeterminate,
            5_000,
        );
        let ask = &report(&story, None).loads[0];
        let near = |measured: Option<u64>, expected: f64| {
            let measured = measured.unwrap() as f64;
            assert!((measured / expected - 1.0).abs() <= 0.001, "{measured}");
        };
        near(ask.p50_us, 20_000.0);
        near(ask.p99_us, 5_000_000.0);
        assert_eq!(report(&Story::new(), None).loads[0].p50_us, None);
    }

    #[test]
    fn attempts_are_counted_by_how_they_ended() {
        let story = Story::new()
            .attempt(attempt("s3", 5_000, 5_010))
            .attempt(attempt("s3", 11_000, 21_000).gave_up().hit())
            .attempt(attempt("s3", 31_000, 60_000).unfinished());
        let report = report(&story, None);
        let s3 = &report.dependencies[0];
        assert_eq!((s3.name.as_str(), s3.attempts.total), ("s3", 3));
        assert_eq!(s3.attempts.faulty, 1);
        let ends: Vec<_> = s3.phases.iter().map(|phase| phase.attempts).collect();
        assert_eq!((ends[0].answered, ends[0].total), (1, 1));
        assert_eq!((ends[1].gave_up, ends[1].total), (1, 1));
        assert_eq!((ends[2].unfinished, ends[2].total), (1, 1));
        assert_eq!(report.dependencies[1].attempts, Attempts::default());
    }

    #[test]
    fn a_fault_is_shown_with_its_times_and_hits() {
        let report = report(&Story::new().hits(0), None);
        let fault = &report.faults[0];
        assert_eq!((fault.hits, fault.phase.as_str()), (0, "outage"));
        assert_eq!(fault.armed, Some(Micros::from_secs(10)));
        assert_eq!(fault.lifted, Some(Micros::from_secs(30)));
    }

    #[test]
    fn a_ledger_is_shown_with_its_sums_and_its_backlog_over_time() {
        let story = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20);
        // Two a second, those of the outage delivered at once when it is over.
        let story = (0..80).fold(story, |story, id: u64| {
            let (asked, name) = (id * 500, id.to_string());
            let story = story.work(asked, &name, Outcome::Ok);
            match asked {
                5_000 => story,
                10_000..30_000 => story.delivery(30_000, &name),
                _ => story.delivery(asked + 120, &name),
            }
        });
        let story = story
            .delivery(31_000, "70")
            .work(20_000, "unclear", Outcome::Indeterminate)
            .work(20_100, "refused", Outcome::Failed)
            .watched(60_000);
        let report = report(&story, None);
        let work = &report.ledgers[0];
        assert_eq!((work.name.as_str(), work.load.as_str()), ("work", "train"));
        assert_eq!((work.accepted, work.delivered, work.lost), (80, 79, 1));
        assert_eq!((work.waiting, work.dropped, work.without_id), (0, 0, 0));
        assert_eq!((work.duplicated, work.unexpected), (1, 0));
        assert_eq!((work.indeterminate, work.refused), (1, 1));
        assert!(work.unsettled.is_empty(), "{work:?}");
        let BacklogReport {
            every_us,
            deepest,
            left,
        } = &work.backlog;
        // 60 s in steps of 300 ms.
        assert_eq!((*every_us, deepest.len(), *left), (300_000, 200, 1));
        // The lost one waits from 5 s on, and 40 more at the end of the outage.
        let at = |second: usize| deepest[second * 10 / 3];
        assert_eq!((at(3), at(9), at(21), at(51)), (1, 2, 24, 1));
        assert_eq!(deepest.iter().max(), Some(&41));
        assert_eq!(
            work.summary(),
            "80 accepted, 79 delivered, 1 lost, 1 duplicated, 1 indeterminate, 1 refused; at most 41 waited at a time"
        );
    }

    #[test]
    fn a_ledger_that_has_not_settled_says_why_and_calls_nothing_lost() {
        let story = Story::new().work(5_000, "1", Outcome::Ok).ends(59, None);
        let report = report(&story, None);
        let work = &report.ledgers[0];
        assert_eq!((work.accepted, work.lost, work.waiting), (1, 0, 1));
        assert!(work.unsettled[0].contains("not watched to its end"));
    }

    #[test]
    fn a_backlog_is_shown_in_bounded_many_steps_however_long_the_run_is() {
        let story = Story::new().work(5_000, "1", Outcome::Ok);
        for seconds in [60, 61, 71, 3_600, 86_399] {
            let report = report(&story.clone().ends(seconds, None), None);
            let backlog = &report.ledgers[0].backlog;
            let steps = backlog.deepest.len() as u64;
            assert!(steps <= BACKLOG_STEPS_MAX as u64, "{seconds}: {steps}");
            assert_eq!(backlog.every_us % 100_000, 0);
            assert_eq!(backlog.deepest.last(), Some(&1), "{seconds}");
        }
    }

    #[test]
    fn recovery_is_measured_from_the_lifting_of_the_last_fault() {
        let recovering = Story::new()
            .healthy(0..10)
            .load("ask", 30..33, 20, Outcome::Failed, 20)
            .load("train", 30..33, 20, Outcome::Ok, 20)
            .healthy(33..60);
        let recovery = report(&recovering, None).recovery.unwrap();
        assert_eq!(recovery.steady, Some(Micros::from_secs(33)));
        assert_eq!(recovery.took_us, 3_000_000);

        let wedged = Story::new()
            .healthy(0..10)
            .load("ask", 30..60, 20, Outcome::Failed, 20);
        let recovery = report(&wedged, None).recovery.unwrap();
        assert_eq!((recovery.steady, recovery.took_us), (None, 30_000_000));
        assert_eq!(recovery.untold, None);
    }

    #[test]
    fn a_recovery_of_which_too_little_was_asked_is_neither_one_nor_none() {
        let asked = |outcomes: &[Outcome]| {
            let mut system = crate::history::sample::system();
            for load in &mut system.loads {
                load.rate = "0.1/s".parse().expect("a rate");
            }
            let story = Story::new()
                .load("train", 0..60, 1, Outcome::Ok, 20)
                .load("ask", 0..10, 1, Outcome::Ok, 20)
                .seldom("ask", 35_000, 10_000, outcomes);
            let history = story.history();
            let scenario = crate::history::sample::scenario();
            super::recovery(&history, &scenario, &system).expect("it began")
        };
        let told = asked(&[Outcome::Ok; 3]);
        assert_eq!((told.took_us, told.untold), (0, None));
        assert_eq!(told.steady, Some(Micros::from_secs(30)));
        let open = asked(&[Outcome::Ok; 2]);
        assert_eq!((open.steady, open.took_us), (None, 0));
        let why = open.untold.expect("a reason");
        assert!(why.contains("`ask` was asked 2 times"), "{why}");
        // So long it took at least.
        let late = asked(&[Outcome::Failed, Outcome::Ok]);
        assert_eq!((late.steady, late.took_us), (None, 6_000_000));
        assert!(late.untold.is_some());
    }

    #[test]
    fn a_run_that_was_cut_short_says_so_and_is_never_green() {
        let killed = report(&Story::new().ends(20, None), None);
        assert_eq!(killed.trouble.unwrap().kind, TroubleKind::BrokeOff);
        assert_eq!(killed.status, Status::Inconclusive);
        assert_eq!(killed.phases[2].began, None);
        let stopped = report(&Story::new().ends(20, Some("interrupted")), None);
        assert_eq!(stopped.trouble.unwrap().kind, TroubleKind::Interrupted);
        let full = report(&Story::new().ends(20, Some("disk full")), None);
        assert_eq!(full.trouble.unwrap().message, "disk full");
        assert_eq!(report(&Story::new(), None).trouble, None);
    }
}
