//! How soon the outage showed, and how soon the system was as before.

use super::{
    SectionDef,
    finding::{Found, Verdict, once},
    pairs::{Pair, unless},
};
use crate::report::{DetectedReport, RecoveryReport};

/// The registry's entry.
pub const RECOVERY: SectionDef = SectionDef {
    name: "recovery",
    compare,
};

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut row = |what: &str, (old, new, verdict): (String, String, Verdict)| {
        found.push(Found {
            of: "the system".to_owned(),
            what: what.to_owned(),
            old,
            new,
            verdict: unless(pair.incomparable(), verdict),
        });
    };
    if let (Some(old), Some(new)) = (pair.old.detected, pair.new.detected) {
        for (what, at) in DETECTED {
            if at(&old).is_some() || at(&new).is_some() {
                row(what, noticed(at(&old), at(&new)));
            }
        }
    }
    if let (Some(old), Some(new)) = (&pair.old.recovery, &pair.new.recovery) {
        row("steady again after", steady(old, new));
    }
    found
}

/// A time of the detection.
type At = fn(&DetectedReport) -> Option<u64>;

const DETECTED: [(&str, At); 2] = [
    ("first fallback after", |it| it.fallback_us),
    ("first alert after", |it| it.alert_us),
];

/// A fallback or an alert that comes later is worse; that there is none may mean that there was
/// nothing to notice, which a requirement can tell and this cannot.
fn noticed(old: Option<u64>, new: Option<u64>) -> (String, String, Verdict) {
    let (before, after, verdict) = once(old, new, "never");
    let verdict = match (old, new) {
        (Some(_), Some(_)) => verdict,
        _ => Verdict::Fact(super::Change::Different, None),
    };
    (before, after, verdict)
}

fn steady(old: &RecoveryReport, new: &RecoveryReport) -> (String, String, Verdict) {
    let time = |one: &RecoveryReport| one.steady.map(|_| one.took_us);
    let never = |one: &RecoveryReport| match one.steady {
        Some(_) => crate::report::words::span(one.took_us),
        None => format!("not within {}", crate::report::words::span(one.took_us)),
    };
    let (_, _, verdict) = once(time(old), time(new), "never");
    let verdict = match (old.steady, new.steady) {
        // Watched for a shorter time than the other took: it may have been as quick.
        (Some(_), None) if new.took_us < old.took_us => Verdict::unknown(WATCHED_TOO_BRIEFLY),
        (None, Some(_)) if old.took_us < new.took_us => Verdict::unknown(WATCHED_TOO_BRIEFLY),
        _ => verdict,
    };
    (never(old), never(new), verdict)
}

const WATCHED_TOO_BRIEFLY: &str = "one run ended before the other was steady again";
