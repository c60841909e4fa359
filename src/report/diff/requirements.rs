//! Requirements: what passed and what does not.

use super::{
    Change, SectionDef,
    finding::{Found, Verdict as Told},
    pairs::Pair,
};
use crate::{
    expectation::{Status, Verdict},
    report::ScenarioReport,
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
            Some(old) => both(&old, new),
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

fn measured(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.status, verdict.measured)
}

fn both(old: &Verdict, new: &Verdict) -> Found {
    let fact = |change: Change, why: Option<String>| Told::Fact(change, why);
    let told = match (old.status, new.status) {
        _ if old.required != new.required => Told::unknown(format!(
            "it requires something else now: {}, and before: {}",
            new.required, old.required
        )),
        (Status::Pass, Status::Pass) | (Status::Fail, Status::Fail) => fact(Change::NoChange, None),
        (Status::Pass, Status::Fail | Status::Inconclusive) => {
            fact(Change::Worse, new.reason.clone())
        }
        (Status::Fail | Status::Inconclusive, Status::Pass) => fact(Change::Better, None),
        (Status::Inconclusive, Status::Fail) => {
            Told::unknown("it fails, and before it was inconclusive")
        }
        (_, Status::Inconclusive) => Told::unknown("it is inconclusive"),
    };
    row(new, measured(old), measured(new), told)
}

fn appeared(pair: &Pair<'_>, new: &Verdict) -> Found {
    let why = match &pair.old.trouble {
        Some(trouble) => format!("the old run was not judged ({})", trouble.kind.heading()),
        None => "only the new run requires it".to_owned(),
    };
    row(new, "–".to_owned(), measured(new), Told::unknown(why))
}

/// A requirement that was met and that a run which broke off says nothing of is met no more; one
/// that was taken out of the scenario is gone.
fn vanished(pair: &Pair<'_>, old: &Verdict) -> Found {
    let told = match &pair.new.trouble {
        Some(trouble) if judged_nothing(pair.new) && old.status == Status::Pass => Told::Fact(
            Change::Worse,
            Some(format!(
                "the new run was not judged ({})",
                trouble.kind.heading()
            )),
        ),
        Some(trouble) => Told::unknown(format!(
            "the new run was not judged ({})",
            trouble.kind.heading()
        )),
        None => Told::unknown("only the old run requires it"),
    };
    row(old, measured(old), "–".to_owned(), told)
}

fn judged_nothing(scenario: &ScenarioReport) -> bool {
    scenario.verdicts.is_empty()
}
