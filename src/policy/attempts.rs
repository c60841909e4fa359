//! How often a call is tried, and what the client itself says about that.

use super::{
    ClaimDef,
    claim::{Aspect, Basis, Claim, Finding},
    material::{Group, Material},
    samples::SAMPLES_MIN,
};
use crate::units::Micros;
use std::collections::BTreeMap;

pub(super) const DEF: ClaimDef = ClaimDef {
    name: "attempts",
    summary: "how often a failing call is tried, seen and as declared by the client's headers",
    infer,
};

/// The least share of calls that were tried equally often: with fewer there is no such number.
const SHARE_MIN: f64 = 0.9;

fn infer(material: &Material<'_>) -> Vec<Claim> {
    let groups = material.groups.iter();
    groups
        .flat_map(|group| [seen(material, group), declared(group), as_declared(group)])
        .flatten()
        .collect()
}

/// Over the calls that were given up: a call that was answered might have been tried more often. One
/// that was tried more often, by its own id, shows that all the same.
fn seen(material: &Material<'_>, group: &Group<'_>) -> Option<Claim> {
    let counts: Vec<u64> = group.given_up().map(|call| call.count() as u64).collect();
    let samples = counts.len() as u64;
    if let Some(claim) = group.too_few(Aspect::Attempts, counts.len(), "calls were given up") {
        return Some(claim);
    }
    if let Some(claim) = group.doubtful(Aspect::Attempts, counts.len()) {
        return Some(claim);
    }
    if let Some(why) = material.outlasted(group) {
        return Some(group.unknown(Aspect::Attempts, why, samples));
    }
    let mut often: BTreeMap<u64, u64> = BTreeMap::new();
    for count in &counts {
        *often.entry(*count).or_default() += 1;
    }
    let (low, high) = (*counts.iter().min()?, *counts.iter().max()?);
    let high = high.max(most_certain(group));
    let (value, times) = often.into_iter().max_by_key(|(_, times)| *times)?;
    if (times as f64) < SHARE_MIN * samples as f64 {
        return Some(group.claim(Aspect::Attempts, Finding::Range { low, high }, samples));
    }
    let finding = Finding::Count { value, low, high };
    Some(group.claim(Aspect::Attempts, finding, samples))
}

/// The most attempts of any call whose attempts are known to be its own, given up or not.
fn most_certain(group: &Group<'_>) -> u64 {
    let spent = group.spent.map_or(Micros(u64::MAX), |spent| spent.at);
    let calls = group.calls.iter();
    calls
        .filter(|call| call.hit.call.by_sdk_id && call.hit.call.began < spent)
        .map(|call| call.count() as u64)
        .max()
        .unwrap_or(0)
}

/// What attempts say themselves. AWS SDKs before 2026 leave it out of the first attempt.
fn declared(group: &Group<'_>) -> Option<Claim> {
    let attempts = group.calls.iter().flat_map(|call| &call.hit.attempts);
    let said: Vec<u64> = attempts
        .filter_map(|one| one.declared_max)
        .map(u64::from)
        .collect();
    let (low, high) = (*said.iter().min()?, *said.iter().max()?);
    let samples = said.len() as u64;
    let finding = match samples {
        _ if low != high => Finding::Unknown {
            why: format!("attempts say {low} to {high}"),
        },
        SAMPLES_MIN.. => Finding::Count {
            value: low,
            low,
            high,
        },
        _ => Finding::Unknown {
            why: format!("{samples} attempts said so, of at least {SAMPLES_MIN}"),
        },
    };
    let claim = group.claim(Aspect::DeclaredAttempts, finding, samples);
    Some(Claim {
        basis: Basis::Headers,
        ..claim
    })
}

/// Whether calls that were given up were tried as often as their own attempts say. Those that a spent
/// budget ended are left out.
fn as_declared(group: &Group<'_>) -> Option<Claim> {
    let (mut part, mut whole, mut most) = (0, 0, 0);
    for call in group.given_up().filter(|call| call.hit.call.by_sdk_id) {
        let said = call.hit.attempts.iter().filter_map(|one| one.declared_max);
        if let Some(said) = said.max() {
            whole += 1;
            part += u64::from(call.count() as u64 == u64::from(said));
            most += u64::from(call.count() as u64 > u64::from(said));
        }
    }
    if whole == 0 {
        return None;
    }
    let finding = if whole < SAMPLES_MIN {
        Finding::Unknown {
            why: format!("{whole} calls that say so were given up, of at least {SAMPLES_MIN}"),
        }
    } else {
        Finding::Does {
            does: most == 0 && part as f64 >= SHARE_MIN * whole as f64,
            part,
            whole,
        }
    };
    let claim = group.claim(Aspect::AsDeclared, finding, whole);
    Some(Claim {
        basis: Basis::Headers,
        ..claim
    })
}
