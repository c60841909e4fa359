//! How long a client waits, by stage.
//!
//! A time-out is seen where the client closes the connection. A wait that was still going on when
//! its fault was lifted is *censored*: it lasted at least that long, so that no time-out can be
//! claimed that is longer, and where no wait ended, "never within what could be seen" is all there
//! is. So is a wait that ended with a late answer: by as much as that came later under a fault than ever
//! in the steady phases, where the request itself may take long to arrive, it was waited for. What the
//! proxy sees begins with the request's first byte: a client that waits for a `100
//! Continue` before it sends its body shows a time-out that is longer by that wait.
//!
//! A connect time-out proper leaves nothing at a proxy that accepts. It is claimed of connections
//! that were accepted and held, and whose client left without a request and without having been sent a
//! byte, as in a TLS handshake that never ends, and where the protocol begins with a greeting. Where
//! clients are sent nothing without a fault either, they waited for nothing.

use super::{
    ClaimDef,
    claim::{Aspect, Basis, Cause, Claim, Finding, time},
    interval::median,
    material::{Group, GroupName, Material, has_died},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, AttemptEnd, Connection},
    protocol::CONNECT,
    units::Micros,
};
use std::{collections::HashSet, sync::Arc};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "give-up",
    summary: "how long the client waits: for a connection, a first byte, the rest, and a whole call",
    infer,
};

/// How far waits may lie apart, as a part of their median, before they are no one time-out.
pub(super) const SPREAD_MAX: f64 = 0.15;

/// Waits that end within this time of each other end together, however short they are, in seconds:
/// what timers and a busy machine add.
pub(super) const TOGETHER: f64 = 0.05;

/// An answer that came later than usual by less than this shows no patience worth a word, in seconds.
const LATE_MIN: f64 = 0.25;

/// Faults by which a request itself is long in coming: until it has come nobody waits for its answer.
const SLOW_REQUESTS: &[&str] = &["bandwidth", "slice"];

/// Faults that hold a connection as a whole. Others leave it to go on in its own time.
const HOLDING: &[&str] = &["hang", "no-accept", "stall"];

/// Waits of one kind.
#[derive(Default)]
struct Waits {
    /// Those that the client ended, in seconds.
    ended: Vec<f64>,
    /// How long the others could be seen.
    censored: Vec<f64>,
    /// By how much answers were late that came, the latest first.
    late: Vec<f64>,
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for group in &material.groups {
        claims.extend(patience(material, group));
        claims.extend(whole_call(material, group));
    }
    claims.extend(never(material));
    claims.extend(answered(material, &claims));
    claims.extend(connect(material));
    claims
}

/// What the wait for the first byte of an operation's answer is called.
fn first_stage(operation: &str) -> Aspect {
    if operation == CONNECT {
        Aspect::ConnectTimeout
    } else {
        Aspect::FirstByteTimeout
    }
}

/// How long single attempts were waited for, those that were held until their fault was lifted among
/// them.
fn patience(material: &Material<'_>, group: &Group<'_>) -> Vec<Claim> {
    if group.name.cause != Cause::NoAnswer {
        return Vec::new();
    }
    let (mut first, mut rest) = (Waits::default(), Waits::default());
    let calls = group.calls.iter();
    let attempts = calls.flat_map(|call| &call.hit.attempts);
    let held = held_besides(material, group);
    for attempt in attempts.filter(|one| !one.settled()).copied().chain(held) {
        // What came when the fault was lifted was no answer to a client that waits.
        let until = attempt.released.unwrap_or(Micros(u64::MAX));
        match attempt.first_byte.filter(|at| *at < until) {
            None => first.add(attempt, attempt.began),
            Some(at) => rest.add(attempt, at),
        }
    }
    let first = Waits {
        late: late(material, &group.name.operation),
        ..first
    };
    let stages = [
        (first, first_stage(&group.name.operation)),
        (rest, Aspect::BetweenBytesTimeout),
    ];
    let seen = stages.into_iter().filter(|(waits, _)| !waits.is_empty());
    seen.map(|(waits, aspect)| {
        let claim = group.claim(aspect, waits.finding(), waits.samples());
        Claim {
            basis: Basis::Seen,
            ..claim
        }
    })
    .collect()
}

/// The attempts for the operation of a group that were held until their fault was lifted, in calls
/// that are not of the group.
fn held_besides<'a>(material: &Material<'a>, group: &Group<'_>) -> Vec<&'a Attempt> {
    let own = group.calls.iter().flat_map(|call| &call.hit.attempts);
    let own: HashSet<(u64, Micros)> = own.map(|one| (one.connection, one.began)).collect();
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    attempts
        .iter()
        .filter(|one| one.operation == group.name.operation && was_held(one))
        .filter(|one| material.view.contains(one.began))
        .filter(|one| !own.contains(&(one.connection, one.began)))
        .collect()
}

/// How long calls that were given up took.
fn whole_call(material: &Material<'_>, group: &Group<'_>) -> Option<Claim> {
    let given_up = group.given_up();
    let times: Vec<f64> = given_up
        .map(|call| call.hit.spell().time.as_secs_f64())
        .collect();
    if let Some(claim) = group.too_few(Aspect::WholeCall, times.len(), "calls were given up") {
        return Some(claim);
    }
    if let Some(claim) = group.doubtful(Aspect::WholeCall, times.len()) {
        return Some(claim);
    }
    if let Some(why) = material.outlasted(group) {
        return Some(group.unknown(Aspect::WholeCall, why, times.len() as u64));
    }
    let finding = median(&times)?.time();
    Some(group.claim(Aspect::WholeCall, finding, times.len() as u64))
}

/// The least and the greatest of times, of which one in ten may stray either way; there must be one.
pub(super) fn apart(times: &[f64]) -> (f64, f64) {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let stray = sorted.len() / 10;
    (sorted[stray], sorted[sorted.len() - 1 - stray])
}

/// Operations whose attempts were held until their fault was lifted, and none of which was given up.
fn never(material: &Material<'_>) -> Vec<Claim> {
    let known: HashSet<&str> = material
        .groups
        .iter()
        .filter(|group| group.name.cause == Cause::NoAnswer)
        .map(|group| &*group.name.operation)
        .collect();
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let silent = operations(material)
        .into_iter()
        .filter(|name| !known.contains(&***name));
    silent
        .filter_map(|operation| {
            let own = attempts.iter().filter(|one| one.operation == *operation);
            let held: Vec<&Attempt> = own
                .filter(|one| was_held(one) && material.view.contains(one.began))
                .collect();
            never_of(material, operation, &held)
        })
        .collect()
}

/// What was asked of the dependency, by name.
fn operations<'a>(material: &Material<'a>) -> Vec<&'a Arc<str>> {
    let history = material.view.history;
    let attempts = history.attempts_of(&material.dependency.name);
    let mut operations: Vec<&Arc<str>> = attempts.iter().map(|one| &one.operation).collect();
    operations.sort_unstable();
    operations.dedup();
    operations
}

/// Operations of which nothing is claimed otherwise and whose answers came late: they were waited for.
fn answered(material: &Material<'_>, claims: &[Claim]) -> Vec<Claim> {
    let is_known = |operation: &Arc<str>| {
        let aspect = first_stage(operation);
        let mut own = claims.iter().filter(|claim| claim.aspect == aspect);
        own.any(|claim| claim.operation.as_ref() == Some(operation))
    };
    let spans = material.under_fault();
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return Vec::new();
    };
    let unknown = operations(material).into_iter();
    let unknown = unknown.filter(|operation| !is_known(operation));
    let claims = unknown.filter_map(|operation| {
        let waits = Waits {
            late: late(material, operation),
            ..Waits::default()
        };
        waits.patient()?;
        let aspect = first_stage(operation);
        let window = (first.from, last.to);
        let claim = material.claim(aspect, window, waits.finding(), waits.samples());
        Some(Claim {
            operation: Some(Arc::clone(operation)),
            ..claim
        })
    });
    claims.collect()
}

/// By how much the first bytes of an operation's answers came later under a fault than ever in the steady
/// phases, in seconds, the latest first: so long at least they were waited for.
fn late(material: &Material<'_>, operation: &str) -> Vec<f64> {
    let view = material.view;
    let attempts = view.history.attempts_of(&material.dependency.name);
    let own = attempts.iter().filter(|one| *one.operation == *operation);
    let wait = |one: &Attempt| {
        let until = one.released.unwrap_or(Micros(u64::MAX));
        let at = one.first_byte.filter(|at| *at < until)?;
        Some(at.since(one.began).as_secs_f64())
    };
    let (hit, untouched): (Vec<&Attempt>, Vec<&Attempt>) =
        own.partition(|one| !one.faults.is_empty());
    let steady = view.steady();
    let is_usual = |one: &&Attempt| steady.iter().any(|window| window.contains(one.began));
    let usual = untouched.into_iter().filter(is_usual).filter_map(wait);
    let usual = usual.fold(0.0, f64::max);
    let is_meant =
        |one: &&Attempt| view.contains(one.began) && !view.is_any_of(&one.faults, SLOW_REQUESTS);
    let waits = hit.into_iter().filter(is_meant).filter_map(wait);
    let mut late: Vec<f64> = waits.map(|time| time - usual).collect();
    late.retain(|time| *time >= LATE_MIN);
    late.sort_by(|one, other| other.total_cmp(one));
    late
}

fn never_of(material: &Material<'_>, operation: &Arc<str>, held: &[&Attempt]) -> Option<Claim> {
    let mut waits = Waits {
        late: late(material, operation),
        ..Waits::default()
    };
    for attempt in held {
        waits.add(attempt, attempt.began);
    }
    let window = (held.first()?.began, held.iter().map(|one| one.ended).max()?);
    let name = GroupName {
        dependency: Arc::clone(&material.dependency.name),
        operation: Arc::clone(operation),
        cause: Cause::NoAnswer,
        window,
        basis: Basis::Seen,
    };
    let samples = waits.samples().max(held.len() as u64);
    Some(name.claim(first_stage(operation), waits.finding(), samples))
}

/// Whether nothing was sent to the client until the fault was lifted or the run ended.
pub(super) fn was_held(attempt: &Attempt) -> bool {
    let silent_until = attempt.released.unwrap_or(attempt.ended);
    let is_silent = attempt.first_byte.is_none_or(|at| at >= silent_until);
    !attempt.faults.is_empty()
        && is_silent
        && (attempt.released.is_some() || attempt.end == AttemptEnd::Unfinished)
}

/// How long connections that nothing was said on were waited for.
fn connect(material: &Material<'_>) -> Option<Claim> {
    let history = material.view.history;
    let name = &material.dependency.name;
    let used: HashSet<u64> = history
        .attempts_of(name)
        .iter()
        .map(|one| one.connection)
        .collect();
    let silent = |one: &&Connection| {
        one.dependency == *name && one.bytes_down == 0 && !used.contains(&one.connection)
    };
    let silent = || history.connections.iter().filter(silent);
    let is_one_way = |one: &Connection| one.faults.is_empty() && one.bytes_up > 0;
    if silent().any(is_one_way) {
        return None;
    }
    let left = |one: &&Connection| {
        one.how == "client closed"
            && material.view.contains(one.opened)
            && material.view.is_any_of(&one.faults, HOLDING)
    };
    let left: Vec<&Connection> = silent().filter(left).collect();
    let window = (
        left.first()?.opened,
        left.iter().map(|one| one.closed).max()?,
    );
    let mut waits = Waits::default();
    for one in &left {
        let lifted = one.faults.iter().filter_map(|fault| history.lifted(*fault));
        match lifted.max().filter(|lifted| *lifted < one.closed) {
            Some(lifted) => waits.censored.push(lifted.since(one.opened).as_secs_f64()),
            // It was closed with who had opened it.
            None if has_died(&material.deaths, one.closed) => {
                waits
                    .censored
                    .push(one.closed.since(one.opened).as_secs_f64());
            }
            None => waits.ended.push(one.closed.since(one.opened).as_secs_f64()),
        }
    }
    let claim = material.claim(
        Aspect::ConnectTimeout,
        window,
        waits.finding(),
        left.len() as u64,
    );
    Some(Claim {
        cause: Some(Cause::NoAnswer),
        ..claim
    })
}

impl Waits {
    /// Adds the wait of an attempt since a moment.
    fn add(&mut self, attempt: &Attempt, since: Micros) {
        let until = attempt.released.unwrap_or(attempt.ended);
        let time = until.since(since).as_secs_f64();
        if attempt.released.is_some() || attempt.end != AttemptEnd::GaveUp {
            // What was cut short at once says nothing of how long a client would wait.
            if time > TOGETHER {
                self.censored.push(time);
            }
        } else {
            self.ended.push(time);
        }
    }

    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.censored.is_empty()
    }

    /// How long at least [`SAMPLES_MIN`] late answers were waited for.
    fn patient(&self) -> Option<f64> {
        self.late.get(SAMPLES_MIN as usize - 1).copied()
    }

    /// The same where that is longer than all waits that the client ended.
    fn outlasting(&self) -> Option<f64> {
        let longest = self.ended.iter().copied().fold(0.0, f64::max);
        let bound = longest * (1.0 + SPREAD_MAX) + TOGETHER;
        self.patient().filter(|long| *long > bound)
    }

    /// How many there are of the kind that tells.
    fn samples(&self) -> u64 {
        let late = self.outlasting().map_or(0, |_| self.late.len());
        self.ended.len().max(self.censored.len()).max(late) as u64
    }

    fn finding(&self) -> Finding {
        let unknown = |why: String| Finding::Unknown { why };
        let seen = self.censored.iter().copied().chain(self.patient());
        let longest = seen.fold(0.0, f64::max);
        let count = self.ended.len() as u64;
        let is_patient = self.censored.len() as u64 >= SAMPLES_MIN || self.patient().is_some();
        if self.ended.is_empty() && is_patient {
            return Finding::AtLeast {
                value_us: (longest * 1e6) as u64,
            };
        }
        let words = |seconds: f64| time((seconds * 1e6) as u64);
        let Some(found) = median(&self.ended).filter(|_| count >= SAMPLES_MIN) else {
            let cut = self.censored.len();
            let others = self.outlasting().map_or_else(String::new, |long| {
                format!(", and others were seen to last {}", words(long))
            });
            return unknown(format!(
                "{count} waits ended of at least {SAMPLES_MIN}, {cut} more were cut short{others}"
            ));
        };
        let (low, high) = apart(&self.ended);
        if high - low > (SPREAD_MAX * found.value).max(TOGETHER) {
            return unknown(format!(
                "{count} waits ended after {} to {}, at no one time",
                words(low),
                words(high)
            ));
        }
        if longest > found.value * (1.0 + SPREAD_MAX) + TOGETHER {
            return unknown(format!(
                "{count} waits ended after {}, and others were seen to last {}",
                words(found.value),
                words(longest)
            ));
        }
        found.time()
    }
}
