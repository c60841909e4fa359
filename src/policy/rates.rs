//! What trouble at a dependency does to the requests: more to itself (amplification), and to others in
//! its stead (fallback).
//!
//! Rates are compared as of Poisson processes: the logarithm of the ratio of two counts has a
//! standard error of √(1/a + 1/b) (K. Rothman, Epidemiology, 14), from which the interval of 95 %
//! follows. A count of nothing in steady state is taken for a half.

use super::{
    ClaimDef,
    claim::{Aspect, Claim, Finding},
    material::Material,
};
use crate::history::{Attempt, View, Window};

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "rates",
    summary: "how much more often a failing dependency is called, and who is called instead",
    infer,
};

/// The fewest requests in the steady phases that a rate is made of.
const BASELINE_MIN: usize = 10;

/// The fewest calls to another dependency that show a fallback.
const CALLS_MIN: usize = 3;

/// How much more often a fallback is called than in steady state, at the least and for certain.
const FALLBACK_MIN: f64 = 2.0;

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let Some(trouble) = material.trouble() else {
        return Vec::new();
    };
    let others = material.view.system.dependencies.iter();
    let others = others.filter(|other| other.name != material.dependency.name);
    amplification(material, trouble)
        .into_iter()
        .chain(others.filter_map(|other| fallback(material, &other.name, trouble)))
        .collect()
}

fn amplification(material: &Material<'_>, trouble: Window) -> Option<Claim> {
    let name = &material.dependency.name;
    let all = |_: &Attempt| true;
    let steady = count(material.view, name, &material.view.steady(), &all);
    let during = count(material.view, name, &[trouble], &all);
    let finding = if steady.0 < BASELINE_MIN || during.0 < CALLS_MIN {
        Finding::Unknown {
            why: format!(
                "{} requests in the steady phases and {} in trouble make no rates",
                steady.0, during.0
            ),
        }
    } else {
        factor(steady, during)
    };
    let window = (trouble.from, trouble.to);
    let samples = during.0 as u64;
    Some(material.claim(Aspect::Amplification, window, finding, samples))
}

/// Whether another dependency is called instead; nothing is said of those that are not.
fn fallback(material: &Material<'_>, other: &str, trouble: Window) -> Option<Claim> {
    // Who fails as well is called more often for that.
    let view = material.view;
    let answered = |one: &Attempt| one.settled() && one.faults.is_empty();
    let steady = count(view, other, &view.steady(), &answered);
    let during = count(view, other, &[trouble], &answered);
    let finding = factor(steady, during);
    let is_called = matches!(finding, Finding::Factor { low, .. } if low >= FALLBACK_MIN);
    let is_told = during.0 >= CALLS_MIN && steady.1 > 0.0 && is_called;
    is_told.then(|| Claim {
        detail: Some(other.to_owned()),
        ..material.claim(
            Aspect::Fallback,
            (trouble.from, trouble.to),
            finding,
            during.0 as u64,
        )
    })
}

/// How many attempts began in windows, and how long these are in seconds.
fn count(
    view: &View<'_>,
    name: &str,
    windows: &[Window],
    meant: &dyn Fn(&Attempt) -> bool,
) -> (usize, f64) {
    let attempts = view.history.attempts_of(name);
    let own = windows
        .iter()
        .flat_map(|window| window.of(attempts, |one| one.began));
    let seconds = windows.iter().map(|window| window.length().as_secs_f64());
    (own.filter(|one| meant(one)).count(), seconds.sum())
}

/// The second rate as a factor of the first.
fn factor(steady: (usize, f64), during: (usize, f64)) -> Finding {
    let before = (steady.0 as f64).max(0.5);
    let after = (during.0 as f64).max(0.5);
    let value = after / during.1.max(1e-6) / (before / steady.1.max(1e-6));
    let error = (1.96 * (1.0 / before + 1.0 / after).sqrt()).exp();
    Finding::Factor {
        value,
        low: value / error,
        high: value * error,
    }
}
