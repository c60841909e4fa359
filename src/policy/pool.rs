//! What becomes of a client's connections when their dependency goes and comes back.
//!
//! A pool that uses a connection from before the outage writes to a peer that is gone. Where the
//! proxy closed the connection itself, nothing of that is seen; it is where the connection was kept
//! and the dependency behind it was not.

use super::{
    ClaimDef,
    beat::{peak, waves},
    claim::{Aspect, Claim, Finding},
    connections::{any_closed, usual},
    interval::median,
    material::Material,
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd, Connection, Window},
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

/// The fewest connections of which lock-step is seen or not.
const WAVES_MIN: usize = 5;

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let view = material.view;
    let history = view.history;
    let armed = history.faults.iter().map(|span| span.armed).min();
    let (Some(armed), Some(back)) = (armed, view.outage_ended()) else {
        return Vec::new();
    };
    let own = history.connections.iter();
    let own: Vec<&Connection> = own
        .filter(|one| one.dependency == material.dependency.name)
        .collect();
    let mut claims: Vec<Claim> = stale(material, &own, armed, back).into_iter().collect();
    let after = Window::new(back, history.over());
    let wanted = usual(&own, &view.steady());
    if wanted > 0 && any_closed(&own, Window::new(armed, after.to)) {
        claims.extend(coming_back(material, &own, after, wanted));
    }
    claims
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
    let few = |what: &str| Finding::Unknown {
        why: format!("{} new connections{what}", moments.len()),
    };
    let first: Vec<f64> = moments
        .iter()
        .take(wanted)
        .map(|at| at.since(after.from).as_secs_f64())
        .collect();
    let is_enough = first.len() as u64 >= SAMPLES_MIN;
    let times = median(&first).filter(|_| is_enough);
    let times = times.map_or_else(|| few(""), super::interval::Median::time);
    let fullest = if is_enough {
        let most = most as u64;
        Finding::Count {
            value: most,
            low: most,
            high: most,
        }
    } else {
        few("")
    };
    let lock_step = match waves(&moments, most, PEAK_OVER) {
        Some(waves) => Finding::Does {
            does: true,
            part: waves.close as u64,
            whole: moments.len() as u64,
        },
        None if moments.len() >= WAVES_MIN => Finding::Does {
            does: false,
            part: 0,
            whole: moments.len() as u64,
        },
        None => few(" show no waves"),
    };
    vec![
        claim(Aspect::Reconnects, times, first.len()),
        claim(Aspect::ReconnectPeak, fullest, moments.len()),
        claim(Aspect::LockStep, lock_step, moments.len()),
    ]
}

/// The first use after the outage of connections from before it.
fn stale(
    material: &Material<'_>,
    own: &[&Connection],
    armed: Micros,
    back: Micros,
) -> Option<Claim> {
    let opened: HashMap<u64, Micros> = own.iter().map(|one| (one.connection, one.opened)).collect();
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let mut first: BTreeMap<u64, &Attempt> = BTreeMap::new();
    let old = |one: &&Attempt| opened.get(&one.connection).is_some_and(|at| *at < armed);
    for attempt in attempts.iter().filter(|one| one.began >= back).filter(old) {
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
    } else {
        Finding::Does {
            does: part > 0,
            part,
            whole,
        }
    };
    Some(material.claim(Aspect::StaleConnections, window, finding, whole))
}
