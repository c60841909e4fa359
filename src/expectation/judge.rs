//! The rules that hold for every expectation, whatever it measures.
//!
//! An expectation says pass, fail or inconclusive by its samples alone, too few samples for its
//! threshold included. Then it is asked whether the measuring itself can be relied on:
//!
//! | doubt | a pass becomes | a fail |
//! |---|---|---|
//! | a judged phase never began | inconclusive | becomes inconclusive: nothing was measured |
//! | observations were dropped | inconclusive | becomes inconclusive: what is missing may tell the contrary |
//! | requests were held up for want of room for observations, by 20 ms or more, in a judged phase or a steady one, and the expectation hangs on time | inconclusive | becomes inconclusive: it was we who were slow |
//! | steady state was not steady, and the expectation is about faults | inconclusive | becomes inconclusive: it was broken before |
//! | none of the faults acted, whatever their `min_hits` | inconclusive | becomes inconclusive: it is not the outage that was measured |
//! | some fault acted less often than its `min_hits` | inconclusive | stays: what did act was enough |
//! | the run ended before a judged phase was over | inconclusive | stays: more of the same mends nothing |
//! | the load missed its schedule by more than 1 % of its operations, and more than two | inconclusive | stays: the operations that were sent failed (latency looks at this itself) |
//! | more than 10 % of its operations began late though there was room for them, and the expectation hangs on time | inconclusive | becomes inconclusive: the machine was too busy for us, and so it may have been for the system; stays where that brings no such failure about |
//! | other programs may have kept the system or Brownout from running for more than three quarters of what is judged, beyond what is usual in the steady phases, and the expectation hangs on time | stays | becomes inconclusive: the machine was too busy; stays where that brings no such failure about, and for `latency`, `success-rate`, `isolation` and `fresh-first`, which look at each operation themselves |
//! | a fault refused connects or did not accept them, of which no request is known, and what `amplification`, `cadence` or `at_most_rate` measured turns on how much came | inconclusive; `amplification` stays where the connects that Linux counted as refused leave its bound kept | becomes inconclusive; stays where what was seen is enough |
//! | Brownout itself stood still for a moment, and what `gives-up`, `cadence`, `at_most_rate` or `peak_rate` measured turns on when within it something happened | inconclusive | becomes inconclusive; stays where it was so in any case |
//! | an instance had exited on its own account and was not running in a judged phase, or while ledgers were watched after it, and the expectation is about what the system does not do | inconclusive: who is dead obeys | stays |
//! | no instance of concern ran for more than half of what is judged, or one did not and nothing at all was seen, whoever ended or paused it, and the expectation is about what the system does not do | inconclusive: the same | stays |
//! | judging panicked | – | inconclusive, with the panic's message |
//!
//! What an expectation says of a ledger (`nothing-lost`, `no-duplicates`, `drain`, `fresh-first`) rests
//! on the ledger's account besides, and so follows these rules before those above:
//!
//! | doubt | a pass becomes | a fail |
//! |---|---|---|
//! | fewer than three accepted operations with an id | inconclusive | becomes inconclusive: nothing was measured |
//! | nothing that was accepted was ever seen delivered | inconclusive | becomes inconclusive: it may not look where deliveries are |
//! | the run was not watched to its end, or work or a fault still stirred within `settle` of it | inconclusive for `no-duplicates`: a second delivery may have come unseen; stays for `nothing-lost`, which passes only where nothing is missing | nothing that is missing is lost, so that `nothing-lost` is inconclusive; what was seen, a second delivery or a slow drain, stays |
//! | a listing or count could not be read at the end, or a message is not kept as a whole | the same | the same, and `drain` and `fresh-first` become inconclusive where something was not delivered: it may have been |
//! | the system itself says that work is waiting | – | only what is missing beyond that number is lost |
//! | nobody knows whether a request was carried out | inconclusive where it decides: the missing one may have come, the second one may have | stays, where it cannot decide |
//! | accepted operations without an id | inconclusive for `nothing-lost`: they cannot be found again | stays |
//! | nothing had piled up when the outage ended | inconclusive for `drain` and `fresh-first`: there was nothing to work off | becomes inconclusive |
//! | of the work meant fewer than three were delivered | inconclusive for `no-duplicates`: nothing could come twice | stays |
//!
//! No busy machine brings about more attempts of one call than there may be, a connect after a code that
//! forbids it, a pause after an answer that is too short from the answer's first byte on, more retries
//! than a budget holds, a repetition of what must not be repeated, twice the requests that a phase may
//! have, twice the arrivals of ten seconds, or twice what growth by degrees allows beside what ten
//! seconds may have held up. Of operations that began late,
//! reported together over some time, only as many count against a failure as can have been due in the
//! judged phases.
//!
//! An operation of which nobody knows whose it is (`where`, `except`) makes a pass inconclusive and
//! leaves a failure.
//!
//! *Steady*: in the steady phases each load, and the ingress where anybody came through it, had at
//! least one operation, at least 99 % of them were
//! answered, at most 10 % of them (or two, or as many as the load's file allows) by a fallback, and at
//! most 1 % (or two) missed their schedule, no instance exited on its own account, and no
//! fault was in force. An operation that is open when a steady phase ends is no part of it, unless
//! it is already older than a second and than three times the median of those that ended: then it
//! was not answered.
//!
//! The faults looked at are those of the judged phases; where these have none (the recovery), all
//! faults of the scenario.
//!
//! Over and above its expectations a scenario is in doubt ([`run_doubts`]) where a fault of a phase
//! that began acted less often than its `min_hits`, or none of them acted at all, so that a
//! scenario whose expectations do not ask for faults cannot pass without its outage; and where an
//! instance that was started during the phases was not ready after its last start.

use super::{
    Expectation, Judgement, Place, Scope, Status, Verdict,
    comeback::{self, MISSING_STARTS, Missing},
    samples::{part_of, percent},
};
use crate::{
    history::{History, Operation, Outcome, View, Waited, Window},
    scenario::{Expect, FaultSpec, Instance, Phase, Scenario, Start, System},
    units::{Micros, Share, format_duration},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// The share of a load's operations in the judged phases that may have missed their schedule.
const MISSED_SHARE_MAX: f64 = 0.01;

/// So few missed operations are no other load, however thin it is: one in sixty is more than 1 %.
const MISSED_FEW: u64 = 2;

/// With a greater share of a load's operations begun late by a machine that was too busy for us, the
/// system may have been too slow for the same reason.
const BUSY_SHARE_MAX: f64 = 0.1;

/// Where other programs kept the system from running for a greater part of what is judged, it may have
/// been too slow for that reason.
const HELD_UP_SHARE_MAX: f64 = 0.75;

/// Requests that we held up for less might as well have met a busy machine.
const WAITED_MIN: Micros = Micros::from_millis(20);

/// The least share of answered operations in a steady phase.
const STEADY_ANSWERED_MIN: f64 = 0.99;

/// The greatest share that fallbacks may answer in a steady phase, where the load's file does not say
/// another.
const STEADY_DEGRADED_MAX: f64 = 0.1;

/// So few answers of fallbacks are no sign of trouble, however thin a load is, if there are others.
const DEGRADED_FEW: u64 = 2;

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

/// The verdicts so far of a run that goes on, of which this many phases are over: on the expectations
/// that are judged over these phases alone and need not wait for the end of the run. What was still
/// open when the history was read is not among what they rest on, so a verdict may yet change.
pub fn judge_so_far(
    history: &History,
    scenario: &Scenario,
    system: &System,
    over: usize,
) -> Vec<Verdict> {
    let view = View::new(history, scenario, system);
    let unsteady = unsteady(&view);
    scenario
        .expects
        .iter()
        .filter(|expect| can_be_judged(expect, scenario, over))
        .map(|expect| verdict(expect, &view, unsteady.as_deref()))
        .collect()
}

/// Whether an expectation can be judged when this many phases are over, whatever follows.
pub fn can_be_judged(expect: &Expect, scenario: &Scenario, over: usize) -> bool {
    let judged = judged_phases(expect, scenario);
    let has_fault = |index: &usize| !scenario.phases[*index].faults.is_empty();
    let mut rests_on = judged.clone();
    if expect.expectation.needs_faults() && !judged.iter().any(has_fault) {
        // Whether any fault acted is known when the last of them is lifted.
        rests_on.extend((0..scenario.phases.len()).filter(has_fault));
    }
    !judged.is_empty()
        && rests_on.iter().all(|phase| *phase < over)
        && !expect.expectation.needs_the_end()
}

/// Why the run as a whole shows less than it seems to, whatever is expected of it: one sentence for
/// each fault of a phase that began which did not act as often as it had to, and for each instance
/// that was started while the run went on and did not come up.
pub fn run_doubts(history: &History, scenario: &Scenario, system: &System) -> Vec<String> {
    let view = View::new(history, scenario, system);
    let faults: Vec<&FaultSpec> = view
        .spans()
        .filter_map(|span| view.phase(span))
        .flat_map(|phase| &phase.faults)
        .collect();
    let all_idle = faults.iter().all(|fault| hits(history, fault) == 0);
    faults
        .into_iter()
        .filter(|fault| all_idle || hits(history, fault) < fault.gate.min_hits)
        .map(|fault| too_idle(history, fault))
        .chain(comeback::missing(history).iter().map(Missing::describe))
        .collect()
}

/// What a doubt about a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DoubtAbout {
    /// A fault that did not act as often as it had to.
    Fault,
    /// An instance that was started and did not come up.
    Instance,
    /// Anything else: of a report that another version wrote.
    Other,
}

impl DoubtAbout {
    /// What one of [`run_doubts`] is about. Reports keep their sentences alone.
    pub fn of(doubt: &str) -> Self {
        if doubt.starts_with(MISSING_STARTS) {
            Self::Instance
        } else if doubt.contains(") acted on ") && doubt.ends_with(" are needed") {
            Self::Fault
        } else {
            Self::Other
        }
    }
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
        Scope::Aftermath => {
            let last = scenario.phases.len().saturating_sub(1);
            let aftermath = |(index, phase): &(usize, &Phase)| phase.aftermath || *index == last;
            phases.filter(aftermath).map(|(index, _)| index).collect()
        }
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
    let doubts = doubts(expectation, &judgement, &view, unsteady);
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
        place: Some(Place::of(&view.scenario.source, &expect.extent)),
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

fn doubts(
    expectation: &dyn Expectation,
    judgement: &Judgement,
    view: &View<'_>,
    unsteady: Option<&str>,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    doubts.extend(never_began(view));
    doubts.extend(dropped(view));
    if expectation.hangs_on_time() {
        doubts.extend(waited(view));
    }
    if expectation.needs_faults() {
        doubts.extend(unsteady.map(|why| Doubt::grave(why.to_owned())));
        doubts.extend(vacuous(view));
    } else {
        doubts.extend(unsteady.map(|why| Doubt::weak(why.to_owned())));
    }
    doubts.extend(cut_short(view));
    let hangs_on_time = expectation.hangs_on_time() && !judgement.on_any_machine;
    doubts.extend(missed_schedule(expectation, hangs_on_time, view));
    let is_weighed = expectation.weighs_held_up();
    if hangs_on_time && !is_weighed && judgement.status == Status::Fail {
        doubts.extend(held_up(view));
    }
    let absent = || absent(expectation, judgement, view);
    doubts.extend(dead(expectation, view).or_else(absent));
    doubts
}

/// Instances of concern that did not run, or stood still, whoever did that to them: nobody else was
/// there for most of what is judged, or nothing at all was seen. What a ledger shows is not bound to
/// the phases in which it is asked for.
fn absent(expectation: &dyn Expectation, judgement: &Judgement, view: &View<'_>) -> Option<Doubt> {
    let Start::Instances(instances) = &view.system.start else {
        return None;
    };
    let concern = |one: &&Instance| expectation.needs_running(&one.name);
    let instances: Vec<&Instance> = instances.iter().filter(concern).collect();
    let windows = view.windows();
    let judged: Duration = windows.iter().map(|window| window.length()).sum();
    let away = |meant: &[&Instance]| {
        let manned = windows.iter().map(|window| view.manned(*window, meant));
        judged.saturating_sub(manned.sum())
    };
    if instances.is_empty() {
        return None;
    }
    let all_away = away(&instances);
    let (who, away) = if !expectation.needs_the_end() && all_away * 2 > judged {
        ("no instance ran".to_owned(), all_away)
    } else if judgement.count == 0 {
        let mut each = instances.iter().map(|one| (one, away(&[*one])));
        let (one, away) = each.find(|(_, away)| *away > BOUNDARY)?;
        let who = format!("nothing was seen, and instance `{}` did not run", one.name);
        (who, away)
    } else {
        return None;
    };
    let (away, judged) = (format_duration(away), format_duration(judged));
    Some(Doubt::weak(format!(
        "{who} for {away} of the {judged} judged, and who is dead keeps this"
    )))
}

/// An instance of concern that ended on its own account, or did not come up, and was not running for a
/// part of what is judged.
fn dead(expectation: &dyn Expectation, view: &View<'_>) -> Option<Doubt> {
    let mut windows = view.windows();
    // What ledgers show is looked at for as long as they are watched.
    if let (Some(last), Some(watched)) = (windows.last_mut(), view.history.watched)
        && last.to >= view.history.over()
    {
        last.to = last.to.max(watched);
    }
    let exits = view.history.processes.iter().enumerate();
    let mut exits = exits.filter_map(|(index, event)| Some((index, event, event.failure()?)));
    let (exit, how) = exits.find_map(|(index, exit, how)| {
        let mut later = view.history.processes[index..].iter();
        let again = later.find(|one| one.instance == exit.instance && one.event == "started");
        let was_missed =
            |window: &Window| exit.at < window.to && again.is_none_or(|one| window.from < one.at);
        let matters = expectation.needs_running(&exit.instance) && windows.iter().any(was_missed);
        matters.then_some((exit, how))
    })?;
    Some(Doubt::weak(format!(
        "instance `{}` {how} at {:.1}s, and who is dead keeps this",
        exit.instance,
        exit.at.as_secs_f64()
    )))
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

/// Requests that we held up for longer than a busy machine does, while something was measured.
fn waited(view: &View<'_>) -> Option<Doubt> {
    let mut windows = view.windows();
    windows.extend(view.steady());
    let waits = view.history.waited.iter().filter(|waited| {
        let meets = |window: &Window| waited.from < window.to && window.from <= waited.to;
        waited.longest >= WAITED_MIN && windows.iter().any(meets)
    });
    let waited = waits.copied().reduce(Waited::and)?;
    Some(Doubt::grave(format!(
        "{} requests waited for us at {:.1}s, {} at the longest, as there was little room for \
         observations",
        waited.count,
        waited.from.as_secs_f64(),
        format_duration(Duration::from_micros(waited.longest.0))
    )))
}

fn cut_short(view: &View<'_>) -> Option<Doubt> {
    let span = view.spans().find(|span| !span.complete)?;
    let name = &view.phase(span)?.name;
    let how = view.history.how_it_ended();
    Some(Doubt::weak(format!(
        "the run ended before phase `{name}` was over ({how})"
    )))
}

/// A load that missed its schedule: `hangs_on_time` says whether what was found may be the doing of a
/// machine that was too busy.
fn missed_schedule(
    expectation: &dyn Expectation,
    hangs_on_time: bool,
    view: &View<'_>,
) -> Option<Doubt> {
    let mut loads = expectation.loads();
    if loads.is_empty() {
        loads = view
            .system
            .loads
            .iter()
            .map(|load| load.name.clone())
            .collect();
    }
    let windows = view.windows();
    let late = loads
        .iter()
        .filter_map(|load| Some((load, lateness(view, load, &windows)?)));
    let is_busy = |late: &Lateness| hangs_on_time && late.is_busy;
    // The gravest of them: where the machine was too busy, nothing else is to be said.
    let (load, late) = late.max_by_key(|(_, late)| is_busy(late))?;
    let reason = format!("load `{load}` missed its schedule: {}", late.words);
    Some(match is_busy(&late) {
        true => Doubt::grave(format!(
            "{reason}; where so many begin late, the machine was too busy for the system as well"
        )),
        false => Doubt::weak(reason),
    })
}

/// A system that had no processor for much of what is judged, because others had it.
fn held_up(view: &View<'_>) -> Option<Doubt> {
    let windows = view.windows();
    let judged: Duration = windows.iter().map(|window| window.length()).sum();
    let each = windows.iter().map(|one| view.held_up(one.from, one.to));
    let held_up: Duration = each.sum();
    let is_much = held_up.as_secs_f64() > HELD_UP_SHARE_MAX * judged.as_secs_f64();
    is_much.then(|| {
        Doubt::grave(format!(
            "other programs may have kept the system from running for {} of the {} judged: its threads \
             and ours waited for a processor",
            format_duration(held_up),
            format_duration(judged)
        ))
    })
}

/// Faults that did not act as often as they should have.
fn vacuous(view: &View<'_>) -> Option<Doubt> {
    let faults = faults_of_concern(view);
    let history = view.history;
    let all_idle = faults.iter().all(|fault| hits(history, fault) == 0);
    let idle: Vec<&&FaultSpec> = faults
        .iter()
        .filter(|fault| all_idle || hits(history, fault) < fault.gate.min_hits)
        .collect();
    let mut reason = too_idle(history, idle.first()?);
    if idle.len() > 1 {
        reason.push_str(&format!("; so it is with {} more", idle.len() - 1));
    }
    Some(Doubt {
        reason,
        undermines: all_idle,
    })
}

fn hits(history: &History, fault: &FaultSpec) -> u64 {
    let spans = history.faults.iter();
    spans
        .filter(|span| span.fault == fault.id)
        .map(|span| span.hits)
        .sum()
}

fn too_idle(history: &History, fault: &FaultSpec) -> String {
    format!(
        "`{}` ({}) acted on {} events, at least {} are needed",
        fault.label,
        fault.id,
        hits(history, fault),
        fault.gate.min_hits.max(1)
    )
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
pub fn unsteady(view: &View<'_>) -> Option<String> {
    let windows = view.steady();
    if windows.is_empty() {
        return Some("no steady phase was seen, so there is nothing to compare with".to_owned());
    }
    unanswered_load(view)
        .or_else(|| late_load(view, &windows))
        .or_else(|| exited_instance(view, &windows))
        .or_else(|| fault_in_force(view, &windows))
        .map(|why| format!("steady state was not steady: {why}"))
}

fn unanswered_load(view: &View<'_>) -> Option<String> {
    let mut names: Vec<&str> = view.system.loads.iter().map(|load| &*load.name).collect();
    // Beside loads of our own an ingress that nobody came through at all is none.
    let is_alone = names.is_empty();
    let came = |name: &str| !view.history.operations_of(name).is_empty();
    let ingress = view.system.ingress.iter().map(|ingress| &*ingress.name);
    names.extend(ingress.filter(|name| is_alone || came(name)));
    names.into_iter().find_map(|name| {
        let operations = view.steady_operations(name);
        let hanging = view.steady_hanging(name);
        let count = (operations.len() + hanging.len()) as u64;
        if count == 0 {
            return Some(format!("load `{name}` had no operation in it"));
        }
        let answered = operations.iter().filter(|one| one.answered()).count() as u64;
        if answered as f64 / count as f64 >= STEADY_ANSWERED_MIN {
            return fallen_back(view, name, &operations);
        }
        let share = part_of(answered, count);
        let what = match operations.iter().find(|one| !one.answered()) {
            Some(first) => format!("the first failure {}", first.describe()),
            None => format!("{} were open when it ended", hanging.len()),
        };
        Some(format!(
            "only {share} of load `{name}` were answered, {what}"
        ))
    })
}

/// A load of which fallbacks answered more than they may: what depends on nothing cannot be rehearsed.
fn fallen_back(view: &View<'_>, name: &str, operations: &[&Operation]) -> Option<String> {
    let loads = view.system.loads.iter();
    let mut outcomes = loads.map(|load| (&load.name, &load.outcomes)).chain(
        view.system
            .ingress
            .iter()
            .map(|ingress| (&ingress.name, &ingress.outcomes)),
    );
    let own = outcomes.find(|(own, _)| ***own == *name);
    let allowed = own.and_then(|(_, outcomes)| outcomes.usually_degraded);
    let most = allowed.map_or(STEADY_DEGRADED_MAX, Share::fraction);
    let count = operations.len() as u64;
    let is_degraded = |one: &&&Operation| one.outcome == Outcome::Degraded;
    let degraded = operations.iter().filter(is_degraded).count() as u64;
    let others = operations
        .iter()
        .filter(|one| one.outcome == Outcome::Ok)
        .count();
    let is_few = degraded <= DEGRADED_FEW && others > 0;
    if is_few || degraded as f64 <= most * count as f64 + 1e-9 {
        return None;
    }
    let first = operations.iter().find(is_degraded)?;
    Some(format!(
        "{} of load `{name}` were answered by a fallback, at most {} may be (`usually_degraded`), the first {}",
        part_of(degraded, count),
        percent(most),
        first.describe()
    ))
}

/// A load that the generator itself did not offer as it should have.
fn late_load(view: &View<'_>, windows: &[Window]) -> Option<String> {
    view.system.loads.iter().find_map(|load| {
        let late = lateness(view, &load.name, windows).filter(|late| late.is_within)?;
        let (load, late) = (&load.name, late.words);
        Some(format!("load `{load}` missed its schedule: {late}"))
    })
}

/// A load that missed its schedule.
struct Lateness {
    /// By how many operations.
    words: String,
    /// Whether so many of them can have been due in the windows.
    is_within: bool,
    /// Whether so many began late for want of a processor that the system may have lacked it too.
    is_busy: bool,
}

/// How a load missed its schedule in these windows, if it did by more than [`MISSED_SHARE_MAX`] of
/// the operations offered there and by more than [`MISSED_FEW`]. An entry that reaches beyond the
/// windows counts as a whole, up to what was offered; the machine was busy only with as much of it as
/// can lie within.
fn lateness(view: &View<'_>, load: &str, windows: &[Window]) -> Option<Lateness> {
    let (mut missed, mut unsent, mut late, mut inside) = (0, 0, 0, 0);
    for entry in view.missed_in(load, windows.to_vec()) {
        missed += entry.count;
        unsent += entry.unsent;
        inside += view.missed_within(entry, windows);
        late += view.late_within(entry, windows);
    }
    let begun = windows
        .iter()
        .map(|one| view.operations_in(load, *one).len());
    let begun = begun.sum::<usize>() as u64;
    let offered = begun + unsent;
    let share = |part: u64| part as f64 / offered.max(1) as f64;
    // What was not sent found no room, which may be the system's doing.
    let late = late.min(begun);
    let missed = missed.min(offered);
    let is_many = |part: u64| part > MISSED_FEW && share(part) > MISSED_SHARE_MAX;
    let at_most = match inside < missed {
        true => "at most ",
        false => "",
    };
    is_many(missed).then(|| Lateness {
        words: format!(
            "{at_most}{} operations began late or not at all",
            part_of(missed, offered)
        ),
        is_within: is_many(inside.min(offered)),
        is_busy: late > MISSED_FEW && share(late) > BUSY_SHARE_MAX,
    })
}

fn exited_instance(view: &View<'_>, windows: &[Window]) -> Option<String> {
    let event = view.history.processes.iter().find(|event| {
        let steady = windows.iter().any(|window| window.contains(event.at));
        steady && event.failure().is_some()
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

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_during, check_of, judge_by};
    use super::*;
    use crate::{
        expectation::Name,
        history::{
            COMPLETED, Measure, Observation,
            sample::{self, Story, attempt},
        },
    };

    const EXPECT: &str = "kind = \"success-rate\"\nload = \"ask\"\nat_least = \"99%\"";

    #[test]
    fn what_lives_on_fallbacks_while_all_is_well_shows_nothing() {
        let with = |degraded: u64, allowed: Option<f64>| {
            let story = Story::new()
                .load("ask", 0..10, 20 - degraded, Outcome::Ok, 20)
                .load("ask", 0..10, degraded, Outcome::Degraded, 20)
                .load("ask", 10..60, 20, Outcome::Ok, 20)
                .load("train", 0..60, 20, Outcome::Ok, 20);
            let (history, scenario) = (story.history(), sample::scenario());
            let mut system = sample::system();
            for load in &mut system.loads {
                load.outcomes.usually_degraded = allowed.and_then(Share::new);
            }
            unsteady(&View::new(&history, &scenario, &system))
        };
        assert_eq!(with(0, None), None);
        assert_eq!(with(2, None), None);
        let why = with(3, None).expect("too many");
        assert!(
            why.contains("15% (30 of 200) of load `ask` were answered by a fallback, at most 10%"),
            "{why}"
        );
        assert!(with(20, None).is_some());
        assert_eq!(with(3, Some(0.15)), None);
        assert!(with(4, Some(0.15)).is_some());
        assert_eq!(with(20, Some(1.0)), None);
        // Two of a load that is asked seldom are no sign, unless there is nothing else.
        let seldom = |outcomes: &[Outcome]| {
            let story = Story::new()
                .load("train", 0..60, 20, Outcome::Ok, 20)
                .seldom("ask", 500, 2_000, outcomes);
            check(EXPECT, &story).reason.unwrap_or_default()
        };
        let (ok, fallback) = (Outcome::Ok, Outcome::Degraded);
        assert!(!seldom(&[ok, fallback, fallback]).contains("by a fallback"));
        assert!(seldom(&[fallback, fallback]).contains("by a fallback"));
    }

    #[test]
    fn a_pass_on_nothing_but_fallbacks_is_none() {
        let story = Story::new()
            .load("ask", 0..60, 20, Outcome::Degraded, 20)
            .load("train", 0..60, 20, Outcome::Ok, 20);
        let verdict = check(EXPECT, &story);
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
    }

    /// A run in which every operation was answered, so that [`EXPECT`] passes.
    fn passing() -> Story {
        Story::new().healthy(0..60)
    }

    /// The same with an outage in which `ask` failed, so that [`EXPECT`] fails.
    fn failing() -> Story {
        Story::new()
            .healthy(0..10)
            .load("ask", 10..30, 20, Outcome::Failed, 20)
            .load("train", 10..30, 20, Outcome::Ok, 20)
            .healthy(30..60)
    }

    #[track_caller]
    fn weighed(story: &Story, status: Status, reason: &str) {
        let verdict = check(EXPECT, story);
        assert_eq!(verdict.status, status, "{verdict:?}");
        let said = verdict.reason.unwrap_or_default();
        assert!(said.contains(reason), "{said}");
    }

    #[test]
    fn without_a_doubt_a_judgement_stands() {
        weighed(&passing(), Status::Pass, "");
        weighed(&failing(), Status::Fail, "400 of 400 were not answered");
    }

    #[test]
    fn a_phase_that_never_began_shows_nothing() {
        let reason = "phase `outage` never began (interrupted)";
        for story in [passing(), failing()] {
            weighed(
                &story.ends(9, Some("interrupted")),
                Status::Inconclusive,
                reason,
            );
        }
    }

    fn expect(text: &str) -> Expect {
        let mut problems = crate::input::Problems::default();
        let (kind, expectation) =
            super::super::testing::parse(text, &mut problems).expect("it parses");
        Expect {
            id: "X".into(),
            that: String::new(),
            kind,
            expectation,
            during: Vec::new(),
            span: 0..0,
            extent: 0..0,
        }
    }

    #[test]
    fn what_is_judged_so_far_rests_on_phases_that_are_over() {
        let mut scenario = crate::history::sample::scenario();
        let during = |text: &str, during: Vec<usize>| Expect {
            during,
            ..expect(text)
        };
        let ledger = "kind = \"nothing-lost\"\nledger = \"work\"";
        // Each with how many of the three phases must be over.
        for (expect, over) in [
            (expect(EXPECT), Some(2)),
            (during(EXPECT, vec![0]), Some(2)),
            (during("kind = \"alive\"", vec![0]), Some(1)),
            (during(EXPECT, vec![1, 2]), None),
            (expect("kind = \"alive\""), None),
            (expect("kind = \"recovery\"\nwithin = \"25s\""), None),
            (during(ledger, vec![1]), None),
        ] {
            let first = (0..3).find(|over| can_be_judged(&expect, &scenario, *over));
            assert_eq!(first, over, "{expect:?}");
            scenario.expects.push(expect);
        }
        let system = crate::history::sample::system();
        for story in [passing(), failing()] {
            let whole = judge(&story.history(), &scenario, &system);
            // The run goes on: its last phase has begun five seconds ago.
            let history = story.ends(35, None).history();
            for (over, count) in [(0, 0), (1, 1), (2, 3)] {
                let so_far = judge_so_far(&history, &scenario, &system, over);
                assert_eq!(so_far.len(), count);
            }
            let so_far = judge_so_far(&history, &scenario, &system, 2);
            let statuses = |verdicts: &[Verdict]| -> Vec<Status> {
                verdicts.iter().take(2).map(|one| one.status).collect()
            };
            assert_eq!(statuses(&so_far), statuses(&whole));
        }
    }

    #[test]
    fn drops_take_the_ground_from_passes_and_failures() {
        for story in [passing(), failing()] {
            weighed(
                &story.dropped(3),
                Status::Inconclusive,
                "3 observations were dropped",
            );
        }
    }

    #[test]
    fn an_unsteady_steady_state_takes_the_ground_from_passes_and_failures() {
        for story in [passing(), failing()] {
            let failing_before = story.clone().load("train", 2..3, 4, Outcome::Failed, 20);
            weighed(
                &failing_before,
                Status::Inconclusive,
                "steady state was not steady: only 98.039% (200 of 204) of load `train` were answered, the first failure train #",
            );
            let exited = story.process(5_000, "standby", "exited", false);
            weighed(&exited, Status::Inconclusive, "instance `standby` exited");
        }
        let idle = Story::new().load("ask", 0..60, 20, Outcome::Ok, 20).load(
            "train",
            10..60,
            20,
            Outcome::Ok,
            20,
        );
        weighed(
            &idle,
            Status::Inconclusive,
            "load `train` had no operation in it",
        );
    }

    #[test]
    fn what_comes_through_an_ingress_is_steady_beside_a_load_of_ours_too() {
        let mut system = sample::system();
        system.ingress = Some(crate::scenario::Ingress {
            name: "visitors".into(),
            listen: None,
            timeout: Duration::from_secs(5),
            outcomes: Default::default(),
        });
        let judged = |story: Story| check_of(EXPECT, &story, &system).reason;
        let visitors = |from: u64, outcome| passing().load("visitors", from..60, 20, outcome, 20);
        assert_eq!(judged(visitors(0, Outcome::Ok)), None);
        // Nobody ever comes: the load is all there is.
        assert_eq!(judged(passing()), None);
        let why = judged(visitors(0, Outcome::Failed)).expect("it was broken before");
        assert!(why.contains("0% (0 of 200) of load `visitors`"), "{why}");
        let why = judged(visitors(10, Outcome::Ok)).expect("nothing to compare with");
        assert!(why.contains("load `visitors` had no operation"), "{why}");
        system.loads.clear();
        let why = check_of(EXPECT, &passing(), &system).reason;
        assert!(why.is_some_and(|why| why.contains("load `visitors` had no operation")));
    }

    #[test]
    fn what_was_open_when_the_steady_phase_ended_is_no_part_of_it() {
        let story = passing().load("train", 9..10, 10, Outcome::Indeterminate, 5_000);
        weighed(&story, Status::Pass, "");
    }

    #[test]
    fn a_steady_phase_in_which_operations_hang_is_not_steady() {
        let hanging = Story::new()
            .load("ask", 0..10, 19, Outcome::Ok, 20)
            .load("ask", 0..10, 1, Outcome::Indeterminate, 30_000)
            .load("ask", 10..60, 20, Outcome::Ok, 20)
            .load("train", 0..60, 20, Outcome::Ok, 20);
        weighed(
            &hanging,
            Status::Inconclusive,
            "only 95.477% (190 of 199) of load `ask` were answered, 9 were open when it ended",
        );
    }

    #[test]
    fn a_steady_phase_in_which_the_load_was_late_is_not_steady() {
        for story in [passing(), failing()] {
            weighed(
                &story.missed(5, "train", 20),
                Status::Inconclusive,
                "steady state was not steady: load `train` missed its schedule: 10% (20 of 200)",
            );
        }
        weighed(&passing().missed(5, "train", 2), Status::Pass, "");
    }

    #[test]
    fn an_expectation_that_is_not_about_faults_may_fail_on_unsteady_ground() {
        let crashed = passing()
            .process(0, "primary", "started", true)
            .process(5_000, "primary", "exited", false);
        let verdict = check("kind = \"alive\"", &crashed);
        assert_eq!(verdict.status, Status::Fail);
        let unsteady = Story::new()
            .load("ask", 0..60, 20, Outcome::Failed, 20)
            .load("train", 0..60, 20, Outcome::Ok, 20)
            .process(0, "primary", "started", true);
        let verdict = check("kind = \"alive\"", &unsteady);
        assert_eq!(verdict.status, Status::Inconclusive);
    }

    #[test]
    fn a_fault_that_never_acted_is_named_and_nothing_is_said() {
        for story in [passing(), failing()] {
            weighed(
                &story.hits(0),
                Status::Inconclusive,
                "`hang on object-store` (fault 1) acted on 0 events, at least 1 are needed",
            );
        }
    }

    #[test]
    fn a_fault_that_acted_too_rarely_leaves_failures_and_takes_passes() {
        let rare = |story: Story| {
            let mut scenario = crate::history::sample::scenario();
            scenario.phases[1].faults[0].gate.min_hits = 5;
            scenario.expects.push(expect(EXPECT));
            judge(
                &story.hits(4).history(),
                &scenario,
                &crate::history::sample::system(),
            )
            .remove(0)
            .status
        };
        assert_eq!(rare(passing()), Status::Inconclusive);
        assert_eq!(rare(failing()), Status::Fail);
    }

    #[test]
    fn faults_that_may_be_idle_must_not_all_be() {
        let mut scenario = crate::history::sample::scenario();
        scenario.phases[1].faults[0].gate.min_hits = 0;
        scenario.expects.push(expect(EXPECT));
        let system = crate::history::sample::system();
        let status = |story: Story| judge(&story.history(), &scenario, &system)[0].status;
        for story in [passing(), failing()] {
            assert_eq!(status(story.hits(0)), Status::Inconclusive);
        }
        assert_eq!(status(passing().hits(1)), Status::Pass);
    }

    #[test]
    fn a_run_is_in_doubt_where_a_fault_of_a_phase_that_began_was_idle() {
        let mut scenario = crate::history::sample::scenario();
        scenario.phases[1].faults[0].gate.min_hits = 3;
        let system = crate::history::sample::system();
        let doubts = |story: Story| run_doubts(&story.history(), &scenario, &system);
        let idle = doubts(passing().hits(2));
        assert_eq!(
            idle,
            ["`hang on object-store` (fault 1) acted on 2 events, at least 3 are needed"]
        );
        assert_eq!(DoubtAbout::of(&idle[0]), DoubtAbout::Fault);
        assert!(doubts(passing().hits(3)).is_empty());
        let early = passing().hits(0).ends(9, Some("interrupted"));
        assert!(doubts(early).is_empty());
    }

    #[test]
    fn a_run_is_in_doubt_where_an_instance_was_started_again_and_did_not_come_up() {
        let (scenario, system) = (
            crate::history::sample::scenario(),
            crate::history::sample::system(),
        );
        let doubts = |story: &Story| run_doubts(&story.history(), &scenario, &system);
        let started = passing().process(30_000, "standby", "started", true);
        let ready = started.clone().process(31_000, "standby", "ready", true);
        assert!(doubts(&ready).is_empty());
        let began = "instance `standby`, which was started at 30.0s, was not ready";
        assert_eq!(
            doubts(&started),
            [format!("{began} yet when the run ended")]
        );
        let late = started.process(35_000, "standby", "not-ready", false);
        assert_eq!(doubts(&late), [format!("{began} in time")]);
        assert_eq!(DoubtAbout::of(&doubts(&late)[0]), DoubtAbout::Instance);
    }

    #[test]
    fn what_a_fault_left_in_the_record_counts_where_the_run_was_killed() {
        let acted = passing().hits(0).acted(15, "3 connects unanswered");
        let killed = check_during(EXPECT, &acted.clone().ends(25, None), Vec::new());
        let reason = killed.reason.expect("it was cut short");
        assert!(!reason.contains("acted on"), "{reason}");
        weighed(&acted, Status::Inconclusive, "acted on 0 events");
    }

    #[test]
    fn a_run_that_ended_early_leaves_failures_and_takes_passes() {
        let cut = |story: Story| {
            let acted = story.acted(15, "3 connects unanswered");
            acted.ends(25, Some("interrupted"))
        };
        weighed(
            &cut(passing()),
            Status::Inconclusive,
            "the run ended before phase `outage` was over (interrupted)",
        );
        weighed(&cut(failing()), Status::Fail, "300 of 300");
    }

    #[test]
    fn a_killed_run_is_judged_over_the_phases_that_were_over() {
        let killed = failing().ends(45, None);
        assert!(!killed.history().completed());
        weighed(&killed, Status::Fail, "400 of 400");
        weighed(&passing().ends(45, None), Status::Pass, "");
    }

    #[test]
    fn requests_that_waited_for_us_take_the_ground_from_whatever_hangs_on_time() {
        let reason = "10 requests waited for us at 15.0s, 90ms at the longest";
        weighed(&passing().waited(15, 90), Status::Inconclusive, reason);
        weighed(&failing().waited(15, 90), Status::Inconclusive, reason);
        // Steady state is what is compared with.
        weighed(&passing().waited(3, 90), Status::Inconclusive, "at 3.0s");
        // After the phases judged, and no longer than a busy machine takes.
        weighed(&passing().waited(35, 90), Status::Pass, "");
        weighed(&passing().waited(15, 19), Status::Pass, "");
        weighed(&failing().waited(15, 19), Status::Fail, "");
        let alive = passing().process(0, "primary", "started", true);
        let verdict = check("kind = \"alive\"", &alive.waited(15, 90));
        assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    }

    #[test]
    fn a_system_that_had_no_processor_fails_nothing_that_hangs_on_time() {
        let busy = |story: Story, millis| {
            let tenths = (100..300).map(|tenth| tenth * 100);
            tenths.fold(story, |story, from| story.held_up(from, from + 100, millis))
        };
        let reason =
            "other programs may have kept the system from running for 15.2s of the 20s judged";
        let expect = "kind = \"fallback\"\nload = \"ask\"\nat_least = \"99%\"";
        let judged = |story: &Story| {
            let verdict = check(expect, story);
            (verdict.status, verdict.reason.unwrap_or_default())
        };
        let (status, why) = judged(&busy(failing(), 76));
        assert_eq!(status, Status::Inconclusive);
        assert!(why.contains(reason), "{why}");
        assert_eq!(judged(&busy(failing(), 75)).0, Status::Fail);
        // As in the steady phases, and after what is judged.
        let usual = (0..100).map(|tenth| tenth * 100);
        let usual = usual.fold(busy(failing(), 76), |story, from| {
            story.held_up(from, from + 100, 20)
        });
        assert_eq!(judged(&usual).0, Status::Fail);
        let after = failing().held_up(31_000, 39_000, 8_000);
        assert_eq!(judged(&after).0, Status::Fail);
        // Who was answered at once was not held up.
        weighed(&busy(failing(), 76), Status::Fail, "");
        weighed(&busy(passing(), 76), Status::Pass, "");
        let exits = failing().process(15_000, "primary", "exited", false);
        let verdict = check("kind = \"alive\"", &busy(exits, 76));
        assert_eq!(verdict.status, Status::Fail, "{verdict:?}");
    }

    #[test]
    fn a_missed_schedule_takes_passes_and_leaves_failures() {
        let reason = "load `ask` missed its schedule: 5% (20 of 400)";
        weighed(
            &passing().missed(15, "ask", 20),
            Status::Inconclusive,
            reason,
        );
        weighed(&failing().missed(15, "ask", 20), Status::Fail, "");
        weighed(&passing().missed(15, "train", 20), Status::Pass, "");
        weighed(&passing().missed(35, "ask", 20), Status::Pass, "");
    }

    #[test]
    fn a_machine_too_busy_for_us_may_have_been_so_for_the_system() {
        let reason = "10.25% (41 of 400) operations began late or not at all; where so many";
        weighed(
            &failing().missed(15, "ask", 41),
            Status::Inconclusive,
            reason,
        );
        weighed(
            &passing().missed(15, "ask", 41),
            Status::Inconclusive,
            reason,
        );
        weighed(&failing().missed(15, "ask", 40), Status::Fail, "");
        // Another load than the one that is judged, and another time.
        weighed(&failing().missed(15, "train", 400), Status::Fail, "");
        weighed(&failing().missed(35, "ask", 400), Status::Fail, "");
        // What was not sent found no room: a system that hangs takes it all.
        weighed(&failing().unsent(15, "ask", 400), Status::Fail, "");
    }

    #[test]
    fn what_was_late_before_a_judged_phase_excuses_nothing_in_it() {
        // The phase can have seen none of them, 39 or 42 of its 400.
        for (range, status) in [
            (30_500..40_000, Status::Fail),
            (28_050..40_000, Status::Fail),
            (27_900..40_000, Status::Inconclusive),
            (4_000..12_000, Status::Inconclusive),
        ] {
            let story = failing().missed_between(range.clone(), "ask", 190);
            let verdict = check(EXPECT, &story);
            assert_eq!(verdict.status, status, "{range:?}: {verdict:?}");
        }
        // A pass is as doubtful as ever, and it is said how many it may be.
        let reason = "missed its schedule: at most 47.5% (190 of 400)";
        let straddling = |story: Story| story.missed_between(28_050..40_000, "ask", 190);
        weighed(&straddling(passing()), Status::Inconclusive, reason);
        // So it is with the steady state before.
        let first = |from: u64| failing().missed_between(from..11_000, "ask", 20);
        weighed(&first(9_900), Status::Fail, "");
        weighed(
            &first(9_800),
            Status::Inconclusive,
            "steady state was not steady",
        );
    }

    #[test]
    fn what_does_not_hang_on_time_fails_on_a_busy_machine_too() {
        let alive = "kind = \"alive\"";
        let story = failing().process(15_000, "main", "exited", false);
        let busy = story.missed(15, "ask", 400).missed(15, "train", 400);
        assert_eq!(check(alive, &busy).status, Status::Fail);
    }

    #[test]
    fn no_more_are_said_to_be_late_than_there_were() {
        let verdict = check(EXPECT, &passing().missed(15, "ask", 1_000));
        let reason = verdict.reason.unwrap();
        assert!(
            reason.contains("100% (400 of 400) operations began late"),
            "{reason}"
        );
    }

    #[test]
    fn two_missed_operations_are_no_other_load_however_thin_it_is() {
        for (missed, status) in [(2, Status::Pass), (3, Status::Inconclusive)] {
            let thin = Story::new()
                .load("ask", 0..60, 20, Outcome::Ok, 20)
                .load("train", 0..60, 1, Outcome::Ok, 20)
                .process(0, "primary", "started", true)
                .missed(15, "train", missed);
            let verdict = check("kind = \"alive\"", &thin);
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
    }

    #[test]
    fn an_instance_that_ended_by_itself_takes_passes_of_those_who_look_at_what_is_not_done() {
        const BOUND: &str = "kind = \"in-flight\"\non = \"s3\"\nat_most = 3";
        let requests = |most: u64| {
            let one = |nth| attempt("s3", 12_000 + nth, 14_000).hit();
            passing().attempts((0..most).map(one))
        };
        let reason = "instance `primary` exited on its own account at 14.0s";
        let exited = |story: Story, ours| story.process(14_000, "primary", "exited", ours);
        assert_eq!(check(BOUND, &requests(3)).status, Status::Pass);
        let verdict = check(BOUND, &exited(requests(3), false));
        assert_eq!(verdict.status, Status::Inconclusive);
        assert!(verdict.reason.unwrap().contains(reason));
        // What was too much before that remains too much.
        let verdict = check(BOUND, &exited(requests(4), false));
        assert_eq!(verdict.status, Status::Fail);
        // A fault that kills is what the scenario asks for.
        assert_eq!(
            check(BOUND, &exited(requests(3), true)).status,
            Status::Pass
        );
        // What is seen from outside is seen, whoever did it.
        weighed(&exited(passing(), false), Status::Pass, "");
    }

    #[test]
    fn who_does_not_run_keeps_every_bound_whoever_ended_it() {
        const BOUND: &str = "kind = \"in-flight\"\non = \"s3\"\nat_most = 3";
        const AMPLIFIED: &str = "kind = \"amplification\"\non = \"s3\"\nat_most = \"3x\"";
        let one = |nth: u64| attempt("s3", 12_000 + nth, 12_500).hit();
        let asks = || passing().attempts((0..3).map(one));
        let ends = |story: Story, at, event| {
            let story = story.process(at, "primary", event, true);
            story.process(at, "standby", event, true)
        };
        // Both for most of the outage, from 10 s to 30 s: however they were ended.
        for event in ["exited", "paused"] {
            let verdict = check(BOUND, &ends(asks(), 15_000, event));
            assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
            let reason = verdict.reason.unwrap();
            assert!(
                reason.contains("no instance ran for 15s of the 20s"),
                "{reason}"
            );
            let late = check(BOUND, &ends(asks(), 25_000, event));
            assert_eq!(late.status, Status::Pass, "{late:?}");
        }
        let again = |event| ends(ends(asks(), 15_000, "paused"), 18_000, event);
        assert_eq!(check(BOUND, &again("resumed")).status, Status::Pass);
        // One of them: the other one was there, unless nobody asked anything.
        let killed = |story: Story| story.process(10_500, "primary", "exited", true);
        assert_eq!(check(BOUND, &killed(asks())).status, Status::Pass);
        let before = (0..20).map(|n| attempt("s3", n * 500, n * 500 + 5));
        let quiet = passing().attempts(before);
        assert_eq!(check(AMPLIFIED, &quiet).status, Status::Pass);
        let verdict = check(AMPLIFIED, &killed(quiet));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:?}");
        let reason = verdict.reason.unwrap();
        assert!(
            reason.contains("instance `primary` did not run for 19.5s of the 20s"),
            "{reason}"
        );
        // What was too much before that remains too much, and what is seen from outside is seen.
        let many = passing().attempts((0..4).map(one));
        let verdict = check(BOUND, &ends(many, 15_000, "exited"));
        assert_eq!(verdict.status, Status::Fail);
        weighed(&ends(passing(), 15_000, "exited"), Status::Pass, "");
    }

    #[test]
    fn an_instance_that_ended_before_a_judged_phase_counts_unless_it_was_started_again() {
        const STORM: &str = "kind = \"reconnect\"\non = \"queue\"\npeak_rate = \"6/s\"";
        let back = (0..5).fold(passing(), |story, nth| {
            let lost = story.connection("queue", 100 + nth, 15_000);
            lost.connection("queue", 31_000 + nth * 900, 60_000)
        });
        let exited = back.clone().process(14_000, "standby", "exited", false);
        assert_eq!(check(STORM, &back).status, Status::Pass);
        assert_eq!(check(STORM, &exited).status, Status::Inconclusive);
        let again = |at| exited.clone().process(at, "standby", "started", true);
        assert_eq!(check(STORM, &again(29_000)).status, Status::Pass);
        assert_eq!(check(STORM, &again(31_000)).status, Status::Inconclusive);
        // After the last phase only who watches a ledger looks at anything.
        let later = |story: Story| {
            let story = story.process(62_000, "standby", "exited", false);
            let mut all = story.ends(70, Some(COMPLETED)).observations();
            let at = crate::units::Micros::from_secs(60);
            let next = all.iter().position(|one| one.at() > at).expect("the exit");
            all.insert(next, Observation::PhasesOver { at });
            let mut scenario = crate::history::sample::scenario();
            scenario.expects.push(expect(STORM));
            let history = History::from_observations(all).expect("a header");
            judge(&history, &scenario, &crate::history::sample::system())[0].status
        };
        assert_eq!(later(back.clone()), Status::Pass);
        assert_eq!(later(back.watched(65_000)), Status::Inconclusive);
        let other = "kind = \"memory\"\nat_most = \"1MiB\"\ninstance = \"primary\"";
        let measured = (10..30).fold(exited, |story, second| {
            story.gauge(second * 1_000, Measure::Memory, "primary", Some(1_000.0))
        });
        assert_eq!(check(other, &measured).status, Status::Pass);
        let every = "kind = \"memory\"\nat_most = \"1MiB\"";
        assert_eq!(check(every, &measured).status, Status::Inconclusive);
    }

    #[derive(Debug)]
    struct Panics;

    impl Expectation for Panics {
        fn judge(&self, _view: &View<'_>) -> Judgement {
            panic!("no such thing")
        }
        fn required(&self) -> String {
            "anything".to_owned()
        }
        fn loads(&self) -> Vec<Name> {
            vec!["ask".into()]
        }
    }

    #[test]
    fn judging_that_panics_is_inconclusive_and_says_so() {
        let verdict = judge_by("panics", Box::new(Panics), &passing(), Vec::new());
        assert_eq!(verdict.status, Status::Inconclusive);
        assert!(verdict.reason.unwrap().contains("no such thing"));
    }

    #[test]
    fn the_phases_judged_are_those_named_or_the_kinds_own() {
        let phases = |text, during| check_during(text, &passing(), during).phases;
        assert_eq!(phases(EXPECT, vec![]), ["outage"]);
        assert_eq!(phases(EXPECT, vec![0, 2]), ["steady", "recovery"]);
        let recovery = "kind = \"recovery\"\nwithin = \"5s\"";
        assert_eq!(phases(recovery, vec![]), ["recovery"]);
        assert_eq!(
            phases("kind = \"alive\"", vec![]),
            ["steady", "outage", "recovery"]
        );
        let before = "kind = \"probe\"\ncommand = [\"x\"]\nwhen = \"before\"";
        assert_eq!(phases(before, vec![]), ["steady"]);
    }

    #[test]
    fn a_verdict_says_over_which_time_it_was_judged() {
        let verdict = check(EXPECT, &passing().ends(60, Some(COMPLETED)));
        let seconds = crate::units::Micros::from_secs;
        assert_eq!(verdict.window, (seconds(10), seconds(30)));
        assert_eq!(verdict.required, "at least 99% of `ask` answered");
    }
}
