//! Requirements: what passed and what does not.
//!
//! Only a fail after a pass is worse. A verdict that is inconclusive is no evidence of anything, in
//! either direction. Where runs were repeated, how often each run failed a requirement is compared, and
//! told from chance like any other share: a flake that was there before is no regression. What passed
//! always and now never does is worse, as it is of single runs.

use super::{
    Change, SectionDef,
    finding::{Found, Test, Verdict as Told},
    pairs::Pair,
    statistics::{Part, fisher, fisher_least},
    within::is_within_noise,
};
use crate::{
    expectation::{Status, Verdict},
    report::series::{Counts, ScenarioSeries, SeriesOutcome, bound, tally},
};

/// The registry's entry.
pub const REQUIREMENTS: SectionDef = SectionDef {
    name: "requirements",
    compare,
};

fn compare(pair: &Pair<'_>) -> Vec<Found> {
    let find = |list: &[Verdict], id: &str| list.iter().find(|one| one.id == id).cloned();
    let mut found: Vec<Found> = pair
        .new
        .verdicts
        .iter()
        .map(|new| match find(&pair.old.verdicts, &new.id) {
            Some(old) if pair.series != (None, None) => repeated(pair, &old, new),
            Some(old) => both(pair, &old, new),
            None => appeared(pair, new),
        })
        .collect();
    let gone = pair.old.verdicts.iter();
    let gone = gone.filter(|old| find(&pair.new.verdicts, &old.id).is_none());
    found.extend(gone.map(|old| vanished(pair, old)));
    found
}

fn row(verdict: &Verdict, old: String, new: String, told: Told) -> Found {
    Found {
        of: verdict.id.clone(),
        what: verdict.that.clone(),
        old,
        new,
        verdict: told,
    }
}

/// A requirement of which at least one run knows more than one verdict.
fn repeated(pair: &Pair<'_>, old: &Verdict, new: &Verdict) -> Found {
    let counts = |series: Option<&ScenarioSeries>, verdict: &Verdict| {
        let own = series.and_then(|series| {
            let requirements = series.requirements.iter();
            requirements.clone().find(|one| one.id == verdict.id)
        });
        own.map_or_else(|| Counts::of([verdict.status]), |own| own.counts)
    };
    let (before, after) = (counts(pair.series.0, old), counts(pair.series.1, new));
    let text = |counts: Counts| {
        format!(
            "{}: {}, fails in {}",
            counts.outcome(),
            tally(counts),
            bound(counts.failing())
        )
    };
    let told = if before.told() == 0 || after.told() == 0 {
        Told::unknown("one of the runs has no repeat that passed or failed")
    } else if old.required != new.required {
        Told::unknown(format!(
            "it requires something else now: {}, and before: {}",
            new.required, old.required
        ))
    } else {
        let fact = |change| Told::Fact(change, None);
        let told = match (before.outcome(), after.outcome()) {
            (SeriesOutcome::Pass, SeriesOutcome::Fail) => fact(Change::Worse),
            (SeriesOutcome::Fail, SeriesOutcome::Pass) => fact(Change::Better),
            _ => tested(before, after),
        };
        let is_change = !matches!(told.decided(Some(true)).0, Change::NoChange);
        match pair.asked_otherwise(&new.phases).filter(|_| is_change) {
            Some(why) => Told::unknown(format!("how often it fails cannot be compared: {why}")),
            None => told,
        }
    };
    row(new, text(before), text(after), told)
}

/// Whether it fails more or less often by more than chance, where it does not always end alike.
fn tested(before: Counts, after: Counts) -> Told {
    let part = |counts: Counts| Part {
        hits: counts.failed,
        all: counts.told(),
    };
    let (before, after) = (part(before), part(after));
    let change = match after.share().total_cmp(&before.share()) {
        std::cmp::Ordering::Less => Change::Better,
        std::cmp::Ordering::Equal => Change::NoChange,
        std::cmp::Ordering::Greater => Change::Worse,
    };
    Told::Tested(Test {
        chance: fisher(before, after),
        least: fisher_least(before, after),
        change,
        too_few: None,
        is_stretch: false,
        is_news: false,
    })
}

fn measured(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.status, verdict.measured)
}

/// A requirement that is met by a hair is met today and not tomorrow, by the same system. Where what was
/// measured differs by no more than chance, nobody can tell whether the system changed; nor where it was
/// the scenario that did.
fn both(pair: &Pair<'_>, old: &Verdict, new: &Verdict) -> Found {
    let noise = pair.noise;
    let fact = |change: Change, why: Option<String>| Told::Fact(change, why);
    let required_otherwise = |before: &str| {
        Told::unknown(format!(
            "{before}it requires something else now: {}, and before: {}",
            new.required, old.required
        ))
    };
    let reworded = old.required != new.required;
    let otherwise = pair.asked_otherwise(&new.phases);
    let told = match (old.status, new.status) {
        (_, Status::Inconclusive) => Told::unknown(match &new.reason {
            Some(reason) => format!("it is inconclusive: {reason}"),
            None => "it is inconclusive".to_owned(),
        }),
        (Status::Pass, Status::Fail) if reworded => {
            required_otherwise("it passed and fails now, but ")
        }
        (Status::Inconclusive, Status::Fail) => {
            Told::unknown("it fails, and before it was inconclusive")
        }
        _ if reworded => required_otherwise(""),
        (Status::Pass, Status::Pass) | (Status::Fail, Status::Fail) => fact(Change::NoChange, None),
        (Status::Pass, Status::Fail) | (Status::Fail, Status::Pass) if otherwise.is_some() => {
            told_otherwise(new, otherwise.as_deref().unwrap_or_default())
        }
        (Status::Pass, Status::Fail) if is_within_noise(old, new, noise) => {
            Told::unknown(match &new.reason {
                Some(reason) => format!("it fails now, {WITHIN}: {reason}"),
                None => format!("it fails now, {WITHIN}"),
            })
        }
        (Status::Pass, Status::Fail) => fact(Change::Worse, new.reason.clone()),
        (Status::Fail, Status::Pass) if is_within_noise(old, new, noise) => {
            fact(Change::Different, Some(format!("it passes now, {WITHIN}")))
        }
        (Status::Fail, Status::Pass) => fact(Change::Better, None),
        (Status::Inconclusive, Status::Pass) => fact(
            Change::Different,
            Some("it was inconclusive before".to_owned()),
        ),
    };
    row(new, measured(old), measured(new), told)
}

/// What is said of a requirement that came out otherwise where something else was asked for.
fn told_otherwise(new: &Verdict, why: &str) -> Told {
    let now = match new.status {
        Status::Fail => "fails",
        Status::Pass | Status::Inconclusive => "passes",
    };
    Told::unknown(match &new.reason {
        Some(reason) => format!("it {now} now, but {why}: {reason}"),
        None => format!("it {now} now, but {why}"),
    })
}

/// What is said of a requirement that came out otherwise though next to nothing changed.
const WITHIN: &str = "but what was measured differs by no more than chance";

/// A requirement that is new cannot have become worse, but one that fails is no good news either.
fn appeared(pair: &Pair<'_>, new: &Verdict) -> Found {
    const NEW: &str = "only the new run requires it";
    let told = match (&pair.old.trouble, new.status) {
        (Some(trouble), _) => Told::unknown(format!(
            "the old run was not judged ({})",
            trouble.kind.heading()
        )),
        (None, Status::Pass) => Told::Fact(Change::Different, Some(NEW.to_owned())),
        (None, Status::Fail) => Told::unknown(format!("{NEW}, and it fails")),
        (None, Status::Inconclusive) => Told::unknown(format!("{NEW}, and it is inconclusive")),
    };
    row(new, "–".to_owned(), measured(new), told)
}

/// A run that broke off says nothing of what it would have been judged by.
fn vanished(pair: &Pair<'_>, old: &Verdict) -> Found {
    let told = Told::unknown(match &pair.new.trouble {
        Some(trouble) => format!("the new run was not judged ({})", trouble.kind.heading()),
        None => "only the old run requires it".to_owned(),
    });
    row(old, measured(old), "–".to_owned(), told)
}
