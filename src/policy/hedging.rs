//! Whether a client sends a second attempt while the first is still open, and after what time.
//!
//! Only where attempts name their call: two requests for one thing at one time are otherwise as
//! likely two users. A client that closes a connection and tries again shows both in either order: an
//! attempt that is seen to be given up in the moment in which the next begins was given up before.
//! A client that hedges does so with every call that lasts so long; and that it does not shows only
//! where first attempts were waited for until they were given up, or longer than anybody waits
//! before a hedge: one that is answered sooner may have been answered before its time.

use super::{
    ClaimDef,
    claim::{Aspect, Basis, Cause, Claim, Finding},
    give_up::TOGETHER,
    interval::median,
    material::{Material, cause},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd},
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "hedging",
    summary: "whether a second attempt is sent beside one that is still open, and when",
    infer,
};

/// How much later than the next attempt the close of the one before may be seen.
const SEEN_LATE: Duration = Duration::from_millis(50);

/// How long a first attempt must be open, in seconds, for anything to show.
const LASTED: f64 = 0.1;

/// How long it must be, in seconds, for a client that hedges to have done so, where it was not given
/// up.
const LONG: f64 = 2.0;

/// What the calls of one operation show.
struct Beside {
    /// How long after the first attempt the second began, in seconds, where it was beside it.
    delays: Vec<f64>,
    /// How long the first attempts of the other calls were open, in seconds.
    alone: Vec<f64>,
    /// How many of these were given up, or open for longer than anybody waits before a hedge.
    to_the_end: u64,
    /// How many may be either.
    unclear: u64,
    window: (Micros, Micros),
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let history = material.view.history;
    let name = &material.dependency.name;
    let attempts = history.attempts_of(name);
    let mut operations: BTreeMap<Arc<str>, Beside> = BTreeMap::new();
    let calls = history.calls_of(name).iter();
    let meant = calls.filter(|call| call.by_sdk_id && material.view.contains(call.began));
    for call in meant {
        let own = call.attempts.iter().map(|index| &attempts[*index as usize]);
        let own: Vec<&Attempt> = own.collect();
        let entry = operations.entry(Arc::clone(&own[0].operation));
        let beside = entry.or_insert_with(|| Beside {
            delays: Vec::new(),
            alone: Vec::new(),
            to_the_end: 0,
            unclear: 0,
            window: (call.began, call.ended),
        });
        beside.window.1 = beside.window.1.max(call.ended);
        beside.add(&own, &material.deaths);
    }
    let told = operations.into_iter();
    told.filter_map(|(operation, beside)| {
        let (finding, samples) = beside.finding()?;
        Some(Claim {
            operation: Some(operation),
            basis: Basis::Headers,
            ..material.claim(Aspect::Hedges, beside.window, finding, samples)
        })
    })
    .collect()
}

impl Beside {
    /// Adds the attempts of a call.
    fn add(&mut self, attempts: &[&Attempt], deaths: &[Micros]) {
        let first = attempts[0];
        // An answer that goes on is open, though its first byte came.
        let over = first.waited_from().0;
        let Some(second) = attempts.get(1).filter(|one| one.began < over) else {
            self.add_alone(first, deaths);
            return;
        };
        let is_close = first.end == AttemptEnd::GaveUp && first.ended <= second.began + SEEN_LATE;
        if !is_close {
            let delay = second.began.since(first.began);
            self.delays.push(delay.as_secs_f64());
        } else if second.settled() && second.ended <= first.ended {
            // The first may have been dropped for the answer to the second.
            self.unclear += 1;
        } else {
            self.add_alone(first, deaths);
        }
    }

    /// Adds a first attempt that had none beside it.
    fn add_alone(&mut self, first: &Attempt, deaths: &[Micros]) {
        let lasted = first.duration().as_secs_f64();
        let is_given_up = cause(first, deaths) == Some(Cause::NoAnswer);
        self.to_the_end += u64::from(lasted >= LONG || (is_given_up && lasted >= LASTED));
        self.alone.push(lasted);
    }

    /// What they show, and how many calls say so; nothing where all of them were over at once.
    fn finding(&self) -> Option<(Finding, u64)> {
        let unknown = |why: String| Finding::Unknown { why };
        let part = self.delays.len() as u64;
        if part < SAMPLES_MIN {
            let lasted = self.alone.iter().filter(|time| **time >= LASTED).count() as u64;
            let either = part + self.unclear;
            if lasted + either == 0 {
                return None;
            }
            let whole = self.to_the_end;
            let finding = if either > 0 {
                unknown(format!(
                    "{either} calls may have had two attempts at a time, of at least {SAMPLES_MIN} that surely had"
                ))
            } else if lasted < SAMPLES_MIN {
                unknown(format!(
                    "{lasted} first attempts were open for {LASTED}s, of at least {SAMPLES_MIN}: nobody hedges what is answered at once"
                ))
            } else if whole < SAMPLES_MIN {
                unknown(format!(
                    "{whole} of {lasted} first attempts were open until they were given up or for {LONG}s, of at least {SAMPLES_MIN}: a hedge may come later than the answers"
                ))
            } else {
                let told = Finding::Does {
                    does: false,
                    part: 0,
                    whole,
                };
                return Some((told, whole));
            };
            return Some((finding, lasted.max(either)));
        }
        let delay = median(&self.delays)?;
        let longer = self
            .alone
            .iter()
            .filter(|time| **time > delay.value + TOGETHER)
            .count() as u64;
        if longer > part {
            let why = format!(
                "{part} calls had two attempts at a time, and {longer} that lasted as long had not"
            );
            return Some((unknown(why), part + longer));
        }
        Some((delay.time(), part))
    }
}
