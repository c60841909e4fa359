//! Circuit breakers: after so many failures nothing is sent for a while, then one attempt to see.
//!
//! From outside an open breaker is silence: no attempt is open and none begins, though work comes in
//! that would have made some. How much work that must be follows from the steady phases: so many
//! operations of the load that five attempts would have come of them (five at random stay away by
//! chance in one of 150 silences). What breaks the silence is a probe; if it fails, the breaker is
//! open again.
//!
//! A run mostly sees a breaker open once; that it did after so many failures is said in words, and
//! claimed where it was seen three times.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    interval::median,
    material::{Material, cause},
    samples::SAMPLES_MIN,
};
use crate::{
    history::{Attempt, Window},
    units::Micros,
};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "breaker",
    summary: "after how many failures a circuit breaker opens, and how long it then lets nothing through",
    infer,
};

/// How many attempts must be missing in a silence.
const MISSING_MIN: f64 = 5.0;

/// The fewest attempts and operations in the steady phases that a ratio is made of.
const STEADY_MIN: usize = 10;

/// A silence between attempts.
struct Silence {
    from: Micros,
    to: Micros,
    /// How many attempts failed in a row before it, since the last that did not.
    failures: u64,
    /// Whether it follows another silence with nothing but failures between.
    is_probed: bool,
}

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let Some(trouble) = material.trouble() else {
        return Vec::new();
    };
    let silences = silences(material, trouble);
    let (Some(first), Some(last)) = (silences.first(), silences.last()) else {
        return Vec::new();
    };
    let window = (first.from, last.to);
    [
        opens(material, &silences, window),
        probes(material, &silences, window),
    ]
    .into()
}

fn opens(material: &Material<'_>, silences: &[Silence], window: (Micros, Micros)) -> Claim {
    let opened = silences.iter().filter(|one| !one.is_probed);
    let failures: Vec<u64> = opened.map(|one| one.failures).collect();
    let samples = failures.len() as u64;
    let (low, high) = (
        failures.iter().min().copied().unwrap_or(0),
        failures.iter().max().copied().unwrap_or(0),
    );
    let finding = if samples < SAMPLES_MIN {
        let words: Vec<String> = failures.iter().map(ToString::to_string).collect();
        Finding::Unknown {
            why: format!(
                "opened {samples} times of at least {SAMPLES_MIN}, after {} failures",
                words.join(" and ")
            ),
        }
    } else {
        let mut sorted = failures;
        sorted.sort_unstable();
        let value = sorted[(sorted.len() - 1) / 2];
        Finding::Count { value, low, high }
    };
    material.claim(Aspect::BreakerOpens, window, finding, samples)
}

fn probes(material: &Material<'_>, silences: &[Silence], window: (Micros, Micros)) -> Claim {
    let times: Vec<f64> = silences
        .iter()
        .map(|one| one.to.since(one.from).as_secs_f64())
        .collect();
    let samples = times.len() as u64;
    let found = median(&times).filter(|_| samples >= SAMPLES_MIN);
    let finding = found.map_or_else(
        || Finding::Unknown {
            why: format!("{samples} silences of at least {SAMPLES_MIN}"),
        },
        super::interval::Median::time,
    );
    material.claim(Aspect::BreakerProbes, window, finding, samples)
}

/// The silences that begin in trouble and are broken by another attempt.
fn silences(material: &Material<'_>, trouble: Window) -> Vec<Silence> {
    let Some(per_operation) = per_operation(material) else {
        return Vec::new();
    };
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let mut silences: Vec<Silence> = Vec::new();
    let (mut open_until, mut failures, mut is_probed) = (Micros(0), 0, false);
    for (index, attempt) in attempts.iter().enumerate() {
        let silence = Window::new(open_until, attempt.began);
        let missing = per_operation * operations(material, silence) as f64;
        let in_trouble = index > 0 && failures > 0 && silence.from <= trouble.to;
        if in_trouble && missing >= MISSING_MIN {
            silences.push(Silence {
                from: silence.from,
                to: silence.to,
                failures,
                is_probed,
            });
            (failures, is_probed) = (0, true);
        }
        if has_failed(material, attempt) {
            failures += 1;
        } else {
            (failures, is_probed) = (0, false);
        }
        open_until = open_until.max(attempt.ended);
    }
    silences
}

fn has_failed(material: &Material<'_>, attempt: &Attempt) -> bool {
    cause(attempt, &material.deaths).is_some()
}

/// How many attempts an operation makes in the steady phases.
fn per_operation(material: &Material<'_>) -> Option<f64> {
    let steady = material.view.steady();
    let attempts = material.view.history.attempts_of(&material.dependency.name);
    let made = steady
        .iter()
        .map(|window| window.of(attempts, |one| one.began).len());
    let made: usize = made.sum();
    let asked: usize = steady
        .iter()
        .map(|window| operations(material, *window))
        .sum();
    (made >= STEADY_MIN && asked >= STEADY_MIN).then(|| made as f64 / asked as f64)
}

/// How many operations were to begin in a window, whatever the load.
fn operations(material: &Material<'_>, window: Window) -> usize {
    let loads = material.view.history.operations.values();
    loads
        .map(|own| window.of(own, |one| one.intended).len())
        .sum()
}
