//! The rules that hold for every expectation, whatever it measures.
//!
//! An expectation says pass, fail or inconclusive by its samples alone, too few samples for its
//! threshold included. Then it is asked whether the measuring itself can be relied on:
//!
//! | doubt | a pass becomes | a fail |
//! |---|---|---|
//! | a judged phase never began | inconclusive | becomes inconclusive: nothing was measured |
//! | observations were dropped | inconclusive | becomes inconclusive: what is missing may tell the contrary |
//! | steady state was not steady, and the expectation is about faults | inconclusive | becomes inconclusive: it was broken before |
//! | none of the faults acted | inconclusive | becomes inconclusive: it is not the outage that was measured |
//! | some fault acted less often than its `min_hits` | inconclusive | stays: what did act was enough |
//! | the run ended before a judged phase was over | inconclusive | stays: more of the same mends nothing |
//! | the load missed its schedule by more than 1 % of its operations | inconclusive | stays: the operations that were sent failed (latency looks at this itself) |
//! | judging panicked | – | inconclusive, with the panic's message |
//!
//! *Steady*: in the steady phases each load had at least one operation and at least 99 % of them
//! were answered, no instance exited on its own account, and no fault was in force.
//!
//! The faults looked at are those of the judged phases; where these have none (the recovery), all
//! faults of the scenario.

use super::{Expectation, Judgement, Scope, Status, Verdict, samples::part_of};
use crate::{
    history::{History, View, Window},
    scenario::{Expect, FaultSpec, Scenario, System},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// The share of a load's operations in the judged phases that may have missed their schedule.
const MISSED_SHARE_MAX: f64 = 0.01;

/// The least share of answered operations in a steady phase.
const STEADY_ANSWERED_MIN: f64 = 0.99;

/// How far a fault may reach into a steady phase: arming and the change of phase are two entries.
const BOUNDARY: Duration = Duration::from_millis(100);

/// Judges every expectation of the scenario, in file order.
pub fn judge(history: &History, scenario: &Scenario, system: &System) -> Vec<Verdict> {
    let view = View::new(history, scenario, system);
    let unsteady = unsteady(&view);
    scenario
        .expects
        .iter()
        .map(|expect| verdict(expect, &view, unsteady.as_deref()))
        .collect()
}

/// The phases an expectation is judged over, by index: its `during`, or its kind's default.
pub fn judged_phases(expect: &Expect, scenario: &Scenario) -> Vec<usize> {
    if !expect.during.is_empty() {
        return expect.during.clone();
    }
    let phases = scenario.phases.iter().enumerate();
    let first_fault = scenario
        .phases
        .iter()
        .position(|phase| !phase.faults.is_empty())
        .unwrap_or(scenario.phases.len());
    match expect.expectation.scope() {
        Scope::Faulted => phases
            .filter(|(_, phase)| !phase.faults.is_empty())
            .map(|(index, _)| index)
            .collect(),
        Scope::Recovery => scenario.phases.len().checked_sub(1).into_iter().collect(),
        Scope::WholeRun => phases.map(|(index, _)| index).collect(),
        Scope::Before => (0..first_fault).collect(),
    }
}

/// A reason to mistrust a judgement.
struct Doubt {
    reason: String,
    /// Whether it takes the ground from a failure too.
    undermines: bool,
}

impl Doubt {
    fn weak(reason: String) -> Self {
        Self {
            reason,
            undermines: false,
        }
    }

    fn grave(reason: String) -> Self {
        Self {
            reason,
            undermines: true,
        }
    }
}

fn verdict<'a>(expect: &'a Expect, view: &View<'a>, unsteady: Option<&str>) -> Verdict {
    let mut view = view.over(judged_phases(expect, view.scenario));
    view.expect = Some(&expect.id);
    let expectation = &*expect.expectation;
    let judgement = guarded(expectation, &view);
    let doubts = doubts(expectation, &view, unsteady);
    let (status, reason) = weigh(&judgement, &doubts);
    let phases = view.judged().iter();
    Verdict {
        id: expect.id.to_string(),
        that: expect.that.clone(),
        kind: expect.kind.to_owned(),
        status,
        required: expectation.required(),
        measured: judgement.measured,
        count: judgement.count,
        window: judgement.window,
        phases: phases
            .filter_map(|index| view.scenario.phases.get(*index))
            .map(|phase| phase.name.to_string())
            .collect(),
        reason,
        evidence: judgement.evidence,
    }
}

fn guarded(expectation: &dyn Expectation, view: &View<'_>) -> Judgement {
    catch_unwind(AssertUnwindSafe(|| expectation.judge(view))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Judgement::new(view.window(), 0, "nothing")
            .inconclusive(format!("judging it panicked, which is our bug: {message}"))
    })
}

/// What remains of a judgement in the face of doubts.
fn weigh(judgement: &Judgement, doubts: &[Doubt]) -> (Status, Option<String>) {
    let undermined = doubts.iter().any(|doubt| doubt.undermines);
    let status = match judgement.status {
        Status::Fail if !undermined => return (Status::Fail, judgement.reason.clone()),
        Status::Pass if doubts.is_empty() => return (Status::Pass, None),
        _ => Status::Inconclusive,
    };
    let mut reasons: Vec<&str> = doubts.iter().map(|doubt| &*doubt.reason).collect();
    if judgement.status == Status::Inconclusive {
        reasons.extend(judgement.reason.as_deref());
    }
    (status, Some(reasons.join("; ")))
}

fn doubts(expectation: &dyn Expectation, view: &View<'_>, unsteady: Option<&str>) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    doubts.extend(never_began(view));
    doubts.extend(dropped(view));
    if expectation.needs_faults() {
        doubts.extend(unsteady.map(|why| Doubt::grave(why.to_owned())));
        doubts.extend(vacuous(view));
    } else {
        doubts.extend(unsteady.map(|why| Doubt::weak(why.to_owned())));
    }
    doubts.extend(cut_short(view));
    doubts.extend(missed_schedule(expectation, view));
    doubts
}

fn never_began(view: &View<'_>) -> Option<Doubt> {
    let began = |index: &usize| view.spans().any(|span| span.index == *index);
    let missing = view.judged().iter().find(|index| !began(index))?;
    let name = &view.scenario.phases.get(*missing)?.name;
    let how = view.history.how_it_ended();
    Some(Doubt::grave(format!("phase `{name}` never began ({how})")))
}

fn dropped(view: &View<'_>) -> Option<Doubt> {
    let count = view.history.dropped;
    (count > 0).then(|| Doubt::grave(format!("{count} observations were dropped")))
}

fn cut_short(view: &View<'_>) -> Option<Doubt> {
    let span = view.spans().find(|span| !span.complete)?;
    let name = &view.phase(span)?.name;
    let how = view.history.how_it_ended();
    Some(Doubt::weak(format!(
        "the run ended before phase `{name}` was over ({how})"
    )))
}

fn missed_schedule(expectation: &dyn Expectation, view: &View<'_>) -> Option<Doubt> {
    let mut loads = expectation.loads();
    if loads.is_empty() {
        loads = view
            .system
            .loads
            .iter()
            .map(|load| load.name.clone())
            .collect();
    }
    loads.iter().find_map(|load| {
        let missed: u64 = view.missed(load).map(|missed| missed.count).sum();
        let sent = view.operations(load).len() as u64;
        let share = missed as f64 / (sent + missed).max(1) as f64;
        (share > MISSED_SHARE_MAX).then(|| {
            Doubt::weak(format!(
                "load `{load}` missed its schedule: {} operations began late or not at all",
                part_of(missed, sent + missed)
            ))
        })
    })
}

/// Faults that did not act as often as they should have.
fn vacuous(view: &View<'_>) -> Option<Doubt> {
    let faults = faults_of_concern(view);
    let hits = |fault: &FaultSpec| -> u64 {
        let spans = view.history.faults.iter();
        spans
            .filter(|span| span.fault == fault.id)
            .map(|span| span.hits)
            .sum()
    };
    let idle: Vec<&&FaultSpec> = faults
        .iter()
        .filter(|fault| hits(fault) < fault.gate.min_hits)
        .collect();
    let first = idle.first()?;
    let mut reason = format!(
        "`{}` ({}) acted on {} events, at least {} are needed",
        first.label,
        first.id,
        hits(first),
        first.gate.min_hits
    );
    if idle.len() > 1 {
        reason.push_str(&format!("; so it is with {} more", idle.len() - 1));
    }
    Some(Doubt {
        reason,
        undermines: faults.iter().all(|fault| hits(fault) == 0),
    })
}

fn faults_of_concern<'a>(view: &View<'a>) -> Vec<&'a FaultSpec> {
    let phases = &view.scenario.phases;
    let judged: Vec<&FaultSpec> = view
        .judged()
        .iter()
        .filter_map(|index| phases.get(*index))
        .flat_map(|phase| &phase.faults)
        .collect();
    if judged.is_empty() {
        phases.iter().flat_map(|phase| &phase.faults).collect()
    } else {
        judged
    }
}

/// Why the steady state was not steady, if it was not.
fn unsteady(view: &View<'_>) -> Option<String> {
    let windows = view.steady();
    if windows.is_empty() {
        return Some("no steady phase was seen, so there is nothing to compare with".to_owned());
    }
    unanswered_load(view)
        .or_else(|| exited_instance(view, &windows))
        .or_else(|| fault_in_force(view, &windows))
        .map(|why| format!("steady state was not steady: {why}"))
}

fn unanswered_load(view: &View<'_>) -> Option<String> {
    let mut names: Vec<&str> = view.system.loads.iter().map(|load| &*load.name).collect();
    if names.is_empty() {
        names.extend(view.system.ingress.iter().map(|ingress| &*ingress.name));
    }
    names.into_iter().find_map(|name| {
        let operations = view.steady_operations(name);
        let count = operations.len() as u64;
        if count == 0 {
            return Some(format!("load `{name}` had no operation in it"));
        }
        let answered = operations.iter().filter(|one| one.answered()).count() as u64;
        if answered as f64 / count as f64 >= STEADY_ANSWERED_MIN {
            return None;
        }
        let first = operations.iter().find(|one| !one.answered())?;
        Some(format!(
            "only {} of load `{name}` were answered, the first failure {}",
            part_of(answered, count),
            first.describe()
        ))
    })
}

fn exited_instance(view: &View<'_>, windows: &[Window]) -> Option<String> {
    let event = view.history.processes.iter().find(|event| {
        let steady = windows.iter().any(|window| window.contains(event.at));
        steady && event.event == "exited" && !event.ours
    })?;
    Some(format!("instance `{}` exited", event.instance))
}

fn fault_in_force(view: &View<'_>, windows: &[Window]) -> Option<String> {
    let span = view.history.faults.iter().find(|span| {
        windows
            .iter()
            .any(|window| span.armed + BOUNDARY < window.to && window.from < span.lifted)
    })?;
    let (_, fault) = view.fault(span)?;
    Some(format!("`{}` was in force", fault.label))
}
