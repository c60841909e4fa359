//! What becomes of a client's connections when their dependency goes and comes back.
//!
//! A pool that uses a connection from before the outage writes to a peer that is gone. Where the
//! proxy closed the connection itself, nothing of that is seen; it is where the connection was kept
//! and the dependency behind it was not. That it uses none is said only where the dependency is known to
//! have gone: who uses again what is whole does right.
//!
//! All of it is seen after the outage: what is claimed of phases with a fault is so of what came after
//! them, up to the next fault.

use super::{
    ClaimDef,
    beat::{peak, waves},
    claim::{Aspect, Claim, Finding},
    connections::{Back, any_closed, back, fewest_open, seldom_fewer, usual},
    interval::median,
    material::Material,
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd, Connection, View, Window},
    scenario::Upstream,
    units::Micros,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "pool",
    summary: "how soon connections come back after an outage, how many at a time, and whether dead ones are used",
    infer,
};

/// The stretch over which a peak is counted.
const PEAK_OVER: Duration = Duration::from_secs(1);

/// The fewest connections of which it is said that they do not come in lock-step: two waves of three are
/// the fewest that show.
const WAVES_MIN: usize = 6;

/// Faults that take the dependency away.
const GOING: &[&str] = &["restart"];

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let view = material.view;
    let Some(outage) = Outage::of(view) else {
        return Vec::new();
    };
    let own = view.history.connections.iter();
    let own: Vec<&Connection> = own
        .filter(|one| one.dependency == material.dependency.name)
        .collect();
    let mut claims: Vec<Claim> = stale(material, &own, outage).into_iter().collect();
    let wanted = usual(&own, &view.steady());
    let at_times = seldom_fewer(&own, &view.steady());
    let whole = Window::new(outage.armed, outage.after.to);
    if wanted > 0 && any_closed(&own, whole) {
        claims.extend(coming_back(material, &own, outage.after, wanted));
        if fewest_open(&own, whole) < at_times.max(1) {
            claims.push(restored(material, &own, outage.after, (wanted, at_times)));
        }
    }
    claims
}

/// An outage and what came after it.
#[derive(Debug, Clone, Copy)]
struct Outage {
    armed: Micros,
    /// From its end to the next fault, or the end of the run.
    after: Window,
}

impl Outage {
    /// The outage of the judged phases; where none of them has a fault but what came after all of
    /// them is judged, the whole one.
    fn of(view: &View<'_>) -> Option<Self> {
        let all = &view.history.faults;
        let judged = view.faults();
        let judged = || judged.iter().map(|(span, _)| *span);
        let count = judged().count();
        if count == 0 || count == all.len() {
            let back = view.outage_ended()?;
            let after = Window::new(back, view.history.over());
            let is_meant = count > 0 || view.contains(back);
            let armed = all.iter().map(|span| span.armed).min()?;
            return is_meant.then_some(Self { armed, after });
        }
        let back = judged().map(|span| span.lifted).max()?;
        let next = all.iter().map(|span| span.armed).filter(|at| *at >= back);
        let to = next.min().unwrap_or(view.history.over());
        Some(Self {
            armed: judged().map(|span| span.armed).min()?,
            after: Window::new(back, to),
        })
    }
}

/// How the connections came that make as many as there were.
fn coming_back(
    material: &Material<'_>,
    own: &[&Connection],
    after: Window,
    wanted: usize,
) -> Vec<Claim> {
    let opened = own.iter().map(|one| one.opened);
    let mut moments: Vec<Micros> = opened.filter(|at| after.contains(*at)).collect();
    moments.sort_unstable();
    let Some((_, most)) = peak(&moments, PEAK_OVER) else {
        return Vec::new();
    };
    let window = (after.from, after.to);
    let claim =
        |aspect, finding, samples: usize| material.claim(aspect, window, finding, samples as u64);
    let few = || Finding::Unknown {
        why: format!("{} new connections", moments.len()),
    };
    let first: Vec<f64> = moments
        .iter()
        .take(wanted)
        .map(|at| at.since(after.from).as_secs_f64())
        .collect();
    let is_enough = first.len() as u64 >= SAMPLES_MIN;
    let times = median(&first).filter(|_| is_enough);
    let times = times.map_or_else(few, super::interval::Median::time);
    let fullest = if is_enough {
        let most = most as u64;
        Finding::Count {
            value: most,
            low: most,
            high: most,
        }
    } else {
        few()
    };
    // What is opened one at a time later on makes those that came back together no fewer.
    let (back, _) = moments.split_at(wanted.min(moments.len()));
    let in_waves = [back, &moments].into_iter().find_map(|moments| {
        let (_, most) = peak(moments, PEAK_OVER)?;
        Some((waves(moments, most, PEAK_OVER)?, moments.len()))
    });
    let lock_step = match in_waves {
        Some((waves, whole)) => Finding::Does {
            does: true,
            part: waves.close as u64,
            whole: whole as u64,
        },
        None if back.len() >= WAVES_MIN => Finding::Does {
            does: false,
            part: 0,
            whole: moments.len() as u64,
        },
        None => Finding::Unknown {
            why: format!("{} connections that come back show no waves", back.len()),
        },
    };
    vec![
        claim(Aspect::Reconnects, times, first.len()),
        claim(Aspect::ReconnectPeak, fullest, moments.len()),
        claim(Aspect::LockStep, lock_step, moments.len()),
    ]
}

/// When as many connections were open as before, and stayed so, counted from when the outage was over.
/// Where they come and go this is uncertain by as much as it takes from the number that there was for most
/// of the time, `at_times`, to the one that there was for half of it.
fn restored(
    material: &Material<'_>,
    own: &[&Connection],
    after: Window,
    (wanted, at_times): (usize, usize),
) -> Claim {
    let lifted = after.from;
    let mut changes: Vec<(Micros, i64)> = Vec::with_capacity(own.len() * 2);
    for one in own.iter().filter(|one| one.closed > lifted) {
        changes.push((one.opened.max(lifted), 1));
        changes.push((one.closed, -1));
    }
    changes.retain(|(at, _)| *at < after.to);
    changes.sort_unstable();
    let (mut open, mut most) = (0, 0);
    for (_, change) in changes {
        open += change;
        most = most.max(usize::try_from(open).unwrap_or(0));
    }
    let window = (lifted, after.to);
    let returned = |wanted| back(own, wanted, after, material.view.scenario.hold);
    let (at_last, at_first) = (returned(wanted), returned(at_times));
    let finding = match at_last {
        _ if (wanted as u64) < SAMPLES_MIN => Finding::Unknown {
            why: format!("{wanted} connections were open before, of at least {SAMPLES_MIN}"),
        },
        Back::Since(at) => {
            let took = Micros::from(at.since(lifted)).0;
            let low_us = match at_first {
                Back::Since(first) => Micros::from(first.min(at).since(lifted)).0,
                Back::Unseen(_) | Back::Never => took,
            };
            Finding::Time {
                value_us: took,
                low_us,
                high_us: took,
                confidence: 1.0,
            }
        }
        Back::Unseen(_) => Finding::Unknown {
            why: format!(
                "{wanted} were open again just before the end, whether to stay was not seen"
            ),
        },
        Back::Never if at_times < wanted && matches!(at_first, Back::Since(_)) => {
            Finding::Unknown {
                why: format!(
                    "they come and go: {at_times} were open again as most of the time before, {wanted} never for long"
                ),
            }
        }
        // None, or for moments only.
        Back::Never if most == 0 || most >= wanted => match last_asked(material, own, after) {
            Some(at) => Finding::AtLeast {
                value_us: Micros::from(at.since(lifted)).0,
            },
            None => Finding::Unknown {
                why: format!("none of {wanted} was open again, and nobody asked for one"),
            },
        },
        Back::Never => Finding::Unknown {
            why: format!("{most} of {wanted} were open again, and perhaps no more were needed"),
        },
    };
    material.claim(Aspect::Restored, window, finding, wanted as u64)
}

/// When a connection was last seen to be asked for: made, or used.
fn last_asked(material: &Material<'_>, own: &[&Connection], after: Window) -> Option<Micros> {
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let used = attempts.iter().map(|one| one.began);
    let made = own.iter().map(|one| one.opened);
    used.chain(made).filter(|at| after.contains(*at)).max()
}

/// The first use after the outage of connections from before it.
fn stale(material: &Material<'_>, own: &[&Connection], outage: Outage) -> Option<Claim> {
    let opened: HashMap<u64, Micros> = own.iter().map(|one| (one.connection, one.opened)).collect();
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let mut first: BTreeMap<u64, &Attempt> = BTreeMap::new();
    let is_old = |at: &Micros| *at < outage.armed;
    let old = |one: &&Attempt| opened.get(&one.connection).is_some_and(is_old);
    let later = |one: &&Attempt| outage.after.contains(one.began);
    for attempt in attempts.iter().filter(later).filter(old) {
        first.entry(attempt.connection).or_insert(attempt);
    }
    let broke = |one: &&&Attempt| matches!(one.end, AttemptEnd::Cut | AttemptEnd::UpstreamFailed);
    let part = first.values().filter(broke).count() as u64;
    let whole = first.len() as u64;
    let window = (
        first.values().map(|one| one.began).min()?,
        first.values().map(|one| one.ended).max()?,
    );
    let finding = if whole < SAMPLES_MIN {
        Finding::Unknown {
            why: format!(
                "{whole} connections from before the outage were used after it, of at least {SAMPLES_MIN}"
            ),
        }
    } else if part == 0 && !has_gone(material, outage) {
        Finding::Unknown {
            why: format!(
                "none of {whole} connections from before the outage broke, and none is known to have been dead"
            ),
        }
    } else {
        Finding::Does {
            does: part > 0,
            part,
            whole,
        }
    };
    Some(material.claim(Aspect::StaleConnections, window, finding, whole))
}

/// Whether the dependency went away while it was out: by a fault, or with the instance that it is.
fn has_gone(material: &Material<'_>, outage: Outage) -> bool {
    let view = material.view;
    let is_in = |at: Micros| (outage.armed..=outage.after.from).contains(&at);
    let mut spans = view.history.faults.iter().filter(|span| is_in(span.armed));
    let is_taken = spans.any(|span| {
        let known = view.fault(span);
        known.is_some_and(|(_, fault)| GOING.contains(&fault.kind) && material.is_on(fault))
    });
    let is_it = |name: &str| match &material.dependency.upstream {
        Upstream::Instance(own) => **own == *name,
        Upstream::Embedded(_) | Upstream::Address { .. } => false,
    };
    let mut events = view.history.processes.iter();
    is_taken
        || events.any(|event| {
            let has_ended = matches!(&*event.event, "exited" | "killed" | "stopped");
            has_ended && is_in(event.at) && is_it(&event.instance)
        })
}
