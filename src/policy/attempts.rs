//! How often a call is tried, and what the client itself says about that.

use super::{
    ClaimDef,
    claim::{Aspect, Basis, Claim, Finding},
    material::{Group, Material},
    samples::SAMPLES_MIN,
};
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
        .flat_map(|group| [seen(group), declared(group)])
        .flatten()
        .collect()
}

/// Over the calls that were given up: a call that was answered might have been tried more often.
fn seen(group: &Group<'_>) -> Option<Claim> {
    let counts: Vec<u64> = group.given_up().map(|call| call.count() as u64).collect();
    let samples = counts.len() as u64;
    if let Some(claim) = group.too_few(Aspect::Attempts, counts.len(), "calls were given up") {
        return Some(claim);
    }
    let mut often: BTreeMap<u64, u64> = BTreeMap::new();
    for count in &counts {
        *often.entry(*count).or_default() += 1;
    }
    let (low, high) = (*counts.iter().min()?, *counts.iter().max()?);
    let (value, times) = often.into_iter().max_by_key(|(_, times)| *times)?;
    if (times as f64) < SHARE_MIN * samples as f64 {
        let why = format!("{samples} calls were tried {low} to {high} times, no number stands out");
        return Some(group.unknown(Aspect::Attempts, why, samples));
    }
    let finding = Finding::Count { value, low, high };
    Some(group.claim(Aspect::Attempts, finding, samples))
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
