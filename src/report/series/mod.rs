//! Repeated runs: what became of every requirement over all of them.
//!
//! A run that is repeated tells more than one, if nobody chooses among its repeats: every repeat
//! counts, a requirement that both passed and failed is called a *flake* and never a pass, and how
//! often such a system fails is stated with its bounds. All of it follows from the reports of the
//! repeats; this module counts and judges nothing anew.

mod markdown;
mod model;
#[cfg(test)]
pub(super) mod sample;
mod terminal;
mod words;

pub(super) use markdown::summary;
pub use model::{
    Counts, DecisionReport, RepeatReport, Repetition, RequirementSeries, ScenarioSeries, SeriesEnd,
    SeriesOutcome, SeriesReport,
};
pub(super) use terminal::render as terminal;
pub use words::tally;
pub(super) use words::{bound, mark, sentences, why};

use super::{ScenarioReport, SuiteReport};
use crate::expectation::{Status, Verdict};

/// A scenario's series with its repeats, in their order.
pub(super) type Group<'a> = (&'a ScenarioSeries, &'a [ScenarioReport]);

/// The scenarios of a report of repeated runs; `None` if it is of single ones.
pub(super) fn groups(report: &SuiteReport) -> Option<Vec<Group<'_>>> {
    let series = report.series.as_ref()?;
    let mut rest = report.scenarios.as_slice();
    let mut groups = Vec::new();
    for one in &series.scenarios {
        let (own, others) = rest.split_at(one.repeats.len().min(rest.len()));
        groups.push((one, own));
        rest = others;
    }
    Some(groups)
}

/// The first verdict of this status on a requirement, with the repeat that it is of.
pub(super) fn first<'a>(
    repeats: &'a [ScenarioReport],
    id: &str,
    status: Status,
) -> Option<(&'a ScenarioReport, &'a Verdict)> {
    all(repeats, id, status).next()
}

/// Every verdict of this status on a requirement, with its repeat.
pub(super) fn all<'a>(
    repeats: &'a [ScenarioReport],
    id: &str,
    status: Status,
) -> impl Iterator<Item = (&'a ScenarioReport, &'a Verdict)> {
    repeats.iter().filter_map(move |repeat| {
        let verdict = repeat.verdicts.iter().find(|verdict| verdict.id == id)?;
        (verdict.status == status).then_some((repeat, verdict))
    })
}

/// Which repeat a report is of; 1 where it is of a single run.
pub(super) fn nth(report: &ScenarioReport) -> u32 {
    report.repetition.as_ref().map_or(1, |own| own.nth)
}

#[cfg(test)]
mod tests;
