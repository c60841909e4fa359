//! One history to one probe: was the system back after the trigger, and if not, did it keep itself
//! broken?
//!
//! The load is open, so that what is offered does not fall when the system slows down, and the share
//! of operations that were answered stands for goodput. The baseline is the share before the trigger.
//! The system is back at the first moment from which on, for [`hold`] and for the rest of the watch as
//! a whole, at least 90 % of the baseline are answered, and not by its fallback more than before. It is metastable if in no such stretch of the
//! whole watch that much was answered, while nothing but the dependency's own capacity was in force,
//! and it asked its dependency more often for each operation than before.

use super::{Probe, ProbeEnd};
use crate::{
    fault::FaultId,
    history::{History, Operation, Outcome, Window},
    units::Micros,
};
use std::time::Duration;

/// How long goodput must be as before to count, at least.
pub const HOLD: Duration = Duration::from_secs(2);

/// And for how many operations at the load's rate: a share of fewer is chance.
const HOLD_OPERATIONS: f64 = 8.0;

/// How many more of a hundred operations than before may be answered by a fallback.
const FALLBACK_MORE: f64 = 0.1;

/// The part of the baseline that must be answered.
const PART: f64 = 0.9;

/// The least share answered before the trigger: less is no system to begin with.
const BASELINE_MIN: f64 = 0.95;

/// The fewest operations that a share is made of.
const OPERATIONS_MIN: usize = 5;

/// How much more a client must ask than before to be said to amplify.
const EPSILON: f64 = 0.1;

/// How finely the moment of recovery is found.
const STEP: Duration = Duration::from_millis(250);

/// Before the trigger operations may be in flight that it hits.
const MARGIN: Duration = Duration::from_millis(500);

/// How long after its phase a fault may be lifted.
const LIFTED_WITHIN: Duration = Duration::from_millis(250);

/// The part of the operations that the generator may begin late, and the part that it may not send at
/// all: the load must be open for what it shows.
const MISSED_MAX: (f64, f64) = (0.05, 0.01);

/// What a history is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The load.
    pub load: &'a str,
    /// The dependency.
    pub dependency: &'a str,
    /// Its rate in the baseline and the watch, in operations a second.
    pub rate: f64,
    /// The places of the phases before, during and after the trigger.
    pub phases: [usize; 3],
    /// How long an operation may take until its outcome is known: so much of the watch's end is left
    /// out.
    pub patience: Duration,
    /// The faults that are the dependency's own capacity, which is no fault.
    pub capacity: &'a [FaultId],
    /// The fault that is the trigger; `None` where the load itself is.
    pub trigger: Option<FaultId>,
}

/// How long goodput must be as before to count, at this rate.
pub fn hold(rate: f64) -> Duration {
    let own = Duration::try_from_secs_f64(HOLD_OPERATIONS / rate);
    own.unwrap_or(Duration::MAX).max(HOLD)
}

/// The least rate that so long a baseline and watch can tell something of.
pub fn least_rate(baseline: Duration, watch: Duration) -> f64 {
    let baseline = baseline.saturating_sub(MARGIN);
    let watch = watch.saturating_sub(LIFTED_WITHIN);
    HOLD_OPERATIONS / baseline.min(watch).as_secs_f64()
}

/// What the probe shows. `folder` and `seed` are noted with it.
pub fn measure(history: &History, asked: &Asked<'_>, folder: String, seed: u64) -> Probe {
    let mut probe = Probe {
        folder,
        seed,
        end: ProbeEnd::Unmeasured,
        baseline: None,
        recovery_us: None,
        goodput: None,
        amplification: None,
        note: None,
    };
    // What was measured until it failed is kept: an ill baseline says something itself.
    if let Err(why) = found(history, asked, &mut probe) {
        probe.end = ProbeEnd::Unmeasured;
        probe.note = Some(why);
    }
    probe
}

fn found(history: &History, asked: &Asked<'_>, probe: &mut Probe) -> Result<(), String> {
    let [before, during, after] = asked.phases.map(|place| phase(history, place));
    let (before, during, after) = (before?, during?, after?);
    undisturbed(history, asked, during, after)?;
    let operations = history.operations.get(asked.load);
    let operations = operations.map_or(&[][..], Vec::as_slice);
    let calm = Window::new(before.from, earlier(before.to, MARGIN, before.from));
    // The trigger may be lifted a moment after its phase.
    let own = history.faults.iter();
    let lifted = own
        .filter(|span| Some(span.fault) == asked.trigger)
        .map(|span| span.lifted)
        .fold(after.from, Micros::max);
    let watch = Window::new(lifted, earlier(after.to, asked.patience, lifted));
    let baseline =
        share(operations, calm).ok_or("too few operations before the trigger to be a baseline")?;
    let baseline = rounded(baseline);
    probe.baseline = Some(baseline);
    if baseline < BASELINE_MIN {
        return Err(format!(
            "only {:.0}% were answered before the trigger",
            baseline * 100.0
        ));
    }
    let goodput = share(operations, watch).ok_or("too few operations after the trigger")?;
    probe.goodput = Some(rounded(goodput / baseline));
    let amplification = amplification(history, asked, operations, (calm, watch));
    probe.amplification = amplification.map(rounded);
    let hold = hold(asked.rate);
    if watch.to.since(watch.from) < hold {
        return Err(format!(
            "the watch is too short for so small a load: {HOLD_OPERATIONS} operations take {:.1}s",
            hold.as_secs_f64()
        ));
    }
    let answered =
        |window: Window| share(operations, window).is_some_and(|share| share >= PART * baseline);
    let fallback = fallback(operations, calm).unwrap_or(0.0) + FALLBACK_MORE;
    let enough = |window: Window| {
        let by_fallback = || self::fallback(operations, window);
        answered(window) && by_fallback().is_some_and(|share| share <= fallback)
    };
    let starts = (0..)
        .map(|step| watch.from + STEP * step)
        .take_while(|from| *from + hold <= watch.to);
    let held = |from: &Micros| Window::new(*from, *from + hold);
    let rest = |from: &Micros| Window::new(*from, watch.to);
    let mut good = starts.clone().filter(|from| enough(held(from)));
    let first = good.clone().next();
    let back = good.find(|from| enough(rest(from)));
    let mut starts = starts;
    probe.end = match (back, first) {
        (Some(from), _) => {
            let took = from.since(watch.from);
            probe.recovery_us = Some(Micros::from(took).0);
            ProbeEnd::Recovered
        }
        _ if starts.any(|from| answered(held(&from)) && answered(rest(&from))) => {
            probe.note = Some("it answers from its fallback, and more than before".to_owned());
            ProbeEnd::Wedged
        }
        (None, Some(_)) => {
            probe.note = Some("it came back for a moment and broke again".to_owned());
            ProbeEnd::Wedged
        }
        (None, None) if amplification.is_some_and(|times| times > 1.0 + EPSILON) => {
            ProbeEnd::Metastable
        }
        (None, None) => {
            probe.note = Some(
                "it did not come back, and did not ask its dependency more than before: what keeps \
                 it there is not seen, or the watch is too short for its queue"
                    .to_owned(),
            );
            ProbeEnd::Wedged
        }
    };
    Ok(())
}

fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// A moment so much earlier, but not before the first.
fn earlier(at: Micros, by: Duration, first: Micros) -> Micros {
    let by = Micros::from(by).0;
    Micros(at.0.saturating_sub(by).max(first.0))
}

fn phase(history: &History, place: usize) -> Result<Window, String> {
    let span = history.phases.iter().find(|span| span.index == place);
    match span {
        Some(span) if span.complete => Ok(Window::new(span.began, span.ended)),
        _ => Err("the run did not come to the end of its watch".to_owned()),
    }
}

/// Whether what was measured was what was to be measured.
fn undisturbed(
    history: &History,
    asked: &Asked<'_>,
    during: Window,
    after: Window,
) -> Result<(), String> {
    if history.dropped > 0 {
        return Err(format!("{} observations were dropped", history.dropped));
    }
    let operations = history.operations.get(asked.load).map_or(0, Vec::len);
    let missed = history
        .missed
        .iter()
        .filter(|missed| *missed.load == *asked.load);
    let (late, unsent) = missed.fold((0, 0), |(late, unsent), missed| {
        (late + missed.count, unsent + missed.unsent)
    });
    let many = |count: u64, part: f64| count as f64 > operations as f64 * part;
    if many(late, MISSED_MAX.0) || many(unsent, MISSED_MAX.1) {
        return Err("the load missed its schedule: the machine is too busy".to_owned());
    }
    // What is in force after the trigger must be nothing but the dependency's own capacity.
    let lingering = history.faults.iter().find(|span| {
        let lifted = span.lifted > after.from + LIFTED_WITHIN;
        !asked.capacity.contains(&span.fault) && span.armed < after.to && lifted
    });
    if lingering.is_some() {
        return Err("a fault was still in force after the trigger".to_owned());
    }
    if let Some(trigger) = asked.trigger {
        let own = history.faults.iter().filter(|span| span.fault == trigger);
        if own.map(|span| span.hits).sum::<u64>() == 0 {
            return Err("the trigger hit no request: it is too short for this load".to_owned());
        }
    }
    let attempts = history.attempts.get(asked.dependency);
    let attempts = attempts.map_or(&[][..], Vec::as_slice);
    let met = attempts
        .iter()
        .any(|attempt| attempt.began < during.to && attempt.ended > during.from);
    if !met {
        return Err("the system asked the dependency nothing during the trigger".to_owned());
    }
    Ok(())
}

/// The share of the operations that should have begun in a window that was answered; `None` of too
/// few.
fn share(operations: &[Operation], window: Window) -> Option<f64> {
    share_of(operations, window, &[Outcome::Ok, Outcome::Degraded])
}

/// The share that a fallback answered.
fn fallback(operations: &[Operation], window: Window) -> Option<f64> {
    share_of(operations, window, &[Outcome::Degraded])
}

fn share_of(operations: &[Operation], window: Window, outcomes: &[Outcome]) -> Option<f64> {
    let own = window.of(operations, |operation| operation.intended);
    let such = own
        .iter()
        .filter(|operation| outcomes.contains(&operation.outcome));
    (own.len() >= OPERATIONS_MIN).then(|| such.count() as f64 / own.len() as f64)
}

/// Requests to the dependency for each operation in the watch, as a multiple of the baseline's; `None`
/// where the baseline has none.
fn amplification(
    history: &History,
    asked: &Asked<'_>,
    operations: &[Operation],
    (calm, watch): (Window, Window),
) -> Option<f64> {
    let attempts = history.attempts.get(asked.dependency)?;
    let each = |window: Window| {
        let asked = window.of(attempts, |attempt| attempt.began).len() as f64;
        let own = window.of(operations, |operation| operation.intended).len();
        (own > 0).then(|| asked / own as f64)
    };
    let before = each(calm).filter(|before| *before > 0.0)?;
    each(watch).map(|after| after / before)
}

#[cfg(test)]
mod tests;
