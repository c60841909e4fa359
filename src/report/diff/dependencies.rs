//! Dependencies: what the system asked of them.

use super::{
    SectionDef,
    finding::{Counted, Found, Good, POINTS, Verdict, rate, share},
    pairs::{Pair, unless},
};
use crate::report::{Calls, DependencyReport};

/// The registry's entry.
pub const DEPENDENCIES: SectionDef = SectionDef {
    name: "dependencies",
    compare,
};

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for new in &pair.new.dependencies {
        let Some(old) = pair
            .old
            .dependencies
            .iter()
            .find(|one| one.name == new.name)
        else {
            continue;
        };
        for (phase, faulty) in pair.phases() {
            if let (Some(before), Some(after)) = (in_phase(old, phase), in_phase(new, phase)) {
                found.extend(one_phase(pair, &new.name, (phase, faulty), before, after));
            }
        }
    }
    found
}

fn in_phase<'a>(dependency: &'a DependencyReport, phase: &str) -> Option<&'a Calls> {
    let mut phases = dependency.phases.iter();
    phases.find(|one| one.phase == phase)?.calls.as_ref()
}

/// How much a system asks of a dependency is neither good nor bad in itself. Errors while a fault
/// is in force are the fault's, and how often the system then tries again is its policy, of which
/// a requirement says how much is too much. Errors and retries without a fault are a fault of the
/// system's own.
fn one_phase(
    pair: &Pair<'_>,
    name: &str,
    (phase, faulty): (&str, bool),
    old: &Calls,
    new: &Calls,
) -> Vec<Found> {
    if old.attempts == 0 && new.attempts == 0 {
        return Vec::new();
    }
    let why = pair.incomparable_phase(phase);
    let row = |what: &str, (old, new, verdict): (String, String, Verdict)| Found {
        of: format!("{name}, {phase}"),
        what: what.to_owned(),
        old,
        new,
        verdict: unless(why.clone(), verdict),
    };
    let counted = |one: &Calls, hits: u64, all: u64, key: &str| Counted {
        hits,
        all,
        clumping: one.clumping.get(key).copied().unwrap_or(1.0),
    };
    let calls = |one: &Calls| counted(one, one.total, one.during_us, "calls");
    let attempts = |one: &Calls| counted(one, one.attempts, one.during_us, "attempts");
    let errors = |one: &Calls| counted(one, one.errors, one.attempts, "errors");
    let retries = |one: &Calls| counted(one, one.retries, one.total, "retries");
    let second = (1e6, "/s");
    let without_faults = if faulty { Good::Neither } else { Good::Less };
    let mut found = vec![
        row(
            "calls",
            rate(calls(old), calls(new), Good::Neither, pair.noise, second),
        ),
        row(
            "errors",
            share(
                errors(old),
                errors(new),
                without_faults,
                pair.noise * POINTS,
            ),
        ),
        row(
            "retries for each call",
            rate(
                retries(old),
                retries(new),
                without_faults,
                pair.noise,
                (1.0, ""),
            ),
        ),
    ];
    // Where every call was one attempt they are the same.
    if [old, new].into_iter().any(|one| one.attempts != one.total) {
        let told = rate(
            attempts(old),
            attempts(new),
            Good::Neither,
            pair.noise,
            second,
        );
        found.insert(1, row("attempts", told));
    }
    found
}
