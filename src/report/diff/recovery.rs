//! How soon the outage showed, and how soon the system was as before.

use super::{
    Change, SectionDef,
    finding::{Found, Verdict, once},
    pairs::{Pair, unless},
};
use crate::report::{DetectedReport, RecoveryReport, ScenarioReport};

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
        for (what, at, later) in DETECTED {
            if at(&old).is_some() || at(&new).is_some() {
                row(what, noticed(at(&old), at(&new), later));
            }
        }
    }
    if let (Some(old), Some(new)) = (&pair.old.recovery, &pair.new.recovery) {
        let hold = |one: &ScenarioReport| one.digests.as_ref().and_then(|all| all.hold_us);
        let holds = (hold(pair.old), hold(pair.new));
        let (before, after, verdict) = steady(old, new, holds.0.max(holds.1).unwrap_or(0));
        let otherwise = matches!(holds, (Some(old), Some(new)) if old != new)
            .then(|| "the scenario's `hold` changed".to_owned());
        row(
            "steady again after",
            (before, after, unless(otherwise, verdict)),
        );
    }
    found
}

/// A time of the detection.
type At = fn(&DetectedReport) -> Option<u64>;

/// What is compared, and whether it is worse when it is later. An alert is; a fallback first comes when
/// one is first needed, which is chance where few need one.
const DETECTED: [(&str, At, Later); 2] = [
    (
        "first fallback after",
        |it| it.fallback_us,
        Later::Different,
    ),
    ("first alert after", |it| it.alert_us, Later::Worse),
];

/// What it means that something came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Worse,
    Different,
}

/// That there is none may mean that there was nothing to notice, which a requirement can tell and this
/// cannot.
fn noticed(old: Option<u64>, new: Option<u64>, later: Later) -> (String, String, Verdict) {
    let (before, after, verdict) = once(old, new, "never", 0);
    let is_told = old.is_some() && new.is_some() && later == Later::Worse;
    let verdict = match verdict.decided(None).0 {
        Change::NoChange => verdict,
        _ if is_told => verdict,
        _ => Verdict::Fact(Change::Different, None),
    };
    (before, after, verdict)
}

/// A single bad second puts the moment off by as long as everything must hold. Where one run cannot tell
/// whether it was steady again, it took at least as long as all was not well.
fn steady(old: &RecoveryReport, new: &RecoveryReport, hold_us: u64) -> (String, String, Verdict) {
    let time = |one: &RecoveryReport| one.steady.map(|_| one.took_us);
    let never = |one: &RecoveryReport| {
        let took = crate::report::words::span(one.took_us);
        match (one.steady, &one.untold) {
            (Some(_), _) => took,
            (None, Some(_)) if one.took_us == 0 => "not told".to_owned(),
            (None, Some(_)) => format!("at least {took}"),
            (None, None) => format!("not within {took}"),
        }
    };
    if let Some(why) = new.untold.as_ref().or(old.untold.as_ref()) {
        let (.., least) = once(Some(old.took_us), Some(new.took_us), "never", hold_us);
        let is_certain = match least.decided(None).0 {
            Change::Worse => old.steady.is_some(),
            Change::Better => new.steady.is_some(),
            _ => false,
        };
        let verdict = match is_certain {
            true => least,
            false => Verdict::unknown(why.clone()),
        };
        return (never(old), never(new), verdict);
    }
    let (_, _, verdict) = once(time(old), time(new), "never", hold_us);
    let verdict = match (old.steady, new.steady) {
        // Watched for a shorter time than the other took: it may have been as quick.
        (Some(_), None) if new.took_us < old.took_us => Verdict::unknown(WATCHED_TOO_BRIEFLY),
        (None, Some(_)) if old.took_us < new.took_us => Verdict::unknown(WATCHED_TOO_BRIEFLY),
        _ => verdict,
    };
    (never(old), never(new), verdict)
}

const WATCHED_TOO_BRIEFLY: &str = "one run ended before the other was steady again";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Micros;

    #[test]
    fn what_cannot_be_told_of_one_run_is_no_recovery_that_never_came() {
        let at = |seconds: u64| seconds * 1_000_000;
        let came = |after: u64| RecoveryReport {
            lifted: Micros::from_secs(30),
            steady: Some(Micros::from_secs(30 + after)),
            took_us: at(after),
            untold: None,
        };
        let never = |watched: u64| RecoveryReport {
            steady: None,
            ..came(watched)
        };
        let untold = |least: u64| RecoveryReport {
            untold: Some("`ask` was asked 2 times since, too seldom to tell".to_owned()),
            ..never(least)
        };
        for (old, new, change) in [
            (came(0), never(30), Change::Worse),
            (came(0), untold(0), Change::CannotBeTold),
            (untold(0), came(0), Change::CannotBeTold),
            (untold(0), untold(0), Change::CannotBeTold),
            (never(30), untold(0), Change::CannotBeTold),
            (untold(0), never(30), Change::CannotBeTold),
            // So long it was not well, whatever followed.
            (came(2), untold(20), Change::Worse),
            (untold(20), came(2), Change::Better),
            (came(20), untold(2), Change::CannotBeTold),
        ] {
            let (_, said, verdict) = steady(&old, &new, 0);
            let (found, why) = verdict.decided(None);
            assert_eq!(found, change, "{old:?} {new:?}");
            let is_untold = old.untold.is_some() || new.untold.is_some();
            let is_said = why.is_some_and(|why| why.contains("too seldom"));
            assert_eq!(is_said, is_untold && change == Change::CannotBeTold);
            assert_eq!(
                said.starts_with("at least"),
                new.untold.is_some() && new.took_us > 0
            );
        }
    }
}
