//! Two runs compared: requirement by requirement and measure by measure, what changed, and whether
//! that is more than chance.
//!
//! Two matrices, and two searches for metastability, are compared to the same [`Diff`], in files of
//! their own: a scenario of it is then a trial, or a search.
//!
//! Pure: two reports in, a [`Diff`] out, which the renderers turn into bytes. A section compares
//! one part of a scenario's report; a new one is one file and two adjacent lines here: its `mod`
//! and its entry in `SECTIONS`. Sections say what they found; what of it is noise is decided
//! here, over all of them together.

mod dependencies;
mod finding;
mod ledgers;
mod loads;
mod markdown;
mod matrix;
mod metastability;
mod pairs;
mod policies;
mod recovery;
mod requirements;
pub mod statistics;
mod terminal;
mod within;
mod writes;

pub use matrix::compare_matrices;
pub use metastability::compare_searches;

use super::SuiteReport;
use crate::expectation::Status;
use finding::{Found, Verdict};
use pairs::{Matched, Pair};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of `diff --format json`.
pub const DIFF_VERSION: u32 = 1;

/// The chance that anything is called a change where nothing changed, over all that is tested.
pub const LEVEL: f64 = 0.05;

/// The change that is too small to matter, where nobody says otherwise: a fifth of a time or a
/// count, and a tenth of that in points of a share.
pub const NOISE: f64 = 0.2;

/// The points by which a share that is worse is much worse.
const MUCH: f64 = 0.1;

/// How unlikely a share that is much worse must be by chance, if each operation fared for itself, so that
/// all there is left to say against it is that they fared together.
const ALONE_MAX: f64 = 1e-4;

/// A part of a scenario's report that is compared.
pub(super) struct SectionDef {
    /// Its name.
    name: &'static str,
    /// Compares it.
    compare: fn(&Pair<'_>) -> Vec<Found>,
}

/// Every section, in the order shown.
const SECTIONS: &[SectionDef] = &[
    requirements::REQUIREMENTS,
    loads::LOADS,
    recovery::RECOVERY,
    ledgers::LEDGERS,
    writes::WRITES,
    policies::POLICIES,
    dependencies::DEPENDENCIES,
];

/// What became of something from the old run to the new one; in the order in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Worse: a regression.
    Worse,
    /// A client's policy is certainly another, and nobody said that it may be.
    Changed,
    /// Better.
    Better,
    /// More or less of something that is neither good nor bad in itself.
    Different,
    /// Nothing can be said.
    CannotBeTold,
    /// It is the same, or differs by too little to matter.
    NoChange,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worse => "worse",
            Self::Changed => "changed",
            Self::Better => "better",
            Self::Different => "different",
            Self::CannotBeTold => "cannot be told",
            Self::NoChange => "no change",
        })
    }
}

/// What the comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing became worse, as far as can be told.
    NoRegression,
    /// Something became worse, or a client's policy changed.
    Regression,
    /// Nothing was found to be worse, but something that was required before is not shown by the
    /// new run, or there was nothing to compare.
    CannotBeTold,
}

/// Two runs compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// [`DIFF_VERSION`].
    pub version: u32,
    /// Brownout's own version.
    pub brownout: String,
    /// The run that is compared with.
    pub old: Side,
    /// The run that is compared.
    pub new: Side,
    /// The chance that anything is called a change where nothing changed.
    pub level: f64,
    /// The change of a time or count that is too small to matter, as a share of the old.
    pub noise: f64,
    /// How many measures were tested against chance.
    pub tested: usize,
    /// What it comes to.
    pub outcome: Outcome,
    /// Why it cannot be told whether anything is worse, where it cannot, or not of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<String>,
    /// What makes the comparison unfair as a whole.
    pub unfair: Vec<String>,
    /// The scenarios that both have, in the order of the new run.
    pub scenarios: Vec<ScenarioDiff>,
    /// The files of the scenarios that only the old run has.
    pub only_old: Vec<String>,
    /// The files of the scenarios that only the new run has.
    pub only_new: Vec<String>,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its file, as typed or found.
    pub file: String,
    /// The version of Brownout that ran it.
    pub brownout: String,
    /// When it began.
    pub began: String,
    /// Its seed.
    pub seed: u64,
    /// The worst of its scenarios.
    pub status: Status,
}

/// A scenario of both runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioDiff {
    /// Its title in the new run.
    pub title: String,
    /// Its file in the new run.
    pub file: String,
    /// Its status in the old run and in the new one.
    pub status: (Status, Status),
    /// What makes the comparison unfair.
    pub unfair: Vec<String>,
    /// Everything compared, section by section, the worst first.
    pub rows: Vec<Row>,
}

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The section.
    pub section: String,
    /// What it is a measure of: a requirement's id, a load and a phase.
    pub of: String,
    /// The measure.
    pub what: String,
    /// In the old run, with its interval.
    pub old: String,
    /// In the new run.
    pub new: String,
    /// What became of it.
    pub change: Change,
    /// Why, where the figures do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it differs by more than is too small to matter, be that chance or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub differs: bool,
    /// Whether it is much worse in a stretch or a few, of which nobody can tell whether they are chance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stretch: bool,
    /// Whether something was lost or done twice and nothing was before, of which nobody can tell whether
    /// it is chance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub news: bool,
    /// How likely so great a difference is by chance alone, where that was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
}

/// Compares two runs; the files are what they are called.
pub fn compare(old: (&str, &SuiteReport), new: (&str, &SuiteReport), noise: f64) -> Diff {
    let matched = pairs::matched(old.1, new.1, noise);
    let found: Vec<Vec<(&str, Found)>> = matched.pairs.iter().map(of_pair).collect();
    let tested = changes(&found);
    let scenarios: Vec<ScenarioDiff> = matched
        .pairs
        .iter()
        .zip(found)
        .zip(&tested)
        .map(|((pair, found), changes)| scenario(pair, found, changes))
        .collect();
    let tested = self::tested(&scenarios);
    let untold = untold(&matched, &scenarios, tested);
    Diff {
        version: DIFF_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        old: side(old),
        new: side(new),
        level: LEVEL,
        noise,
        tested,
        outcome: outcome(&scenarios, &untold),
        untold,
        unfair: matched.unfair,
        scenarios,
        only_old: matched.only_old,
        only_new: matched.only_new,
    }
}

fn side((file, report): (&str, &SuiteReport)) -> Side {
    Side {
        file: file.to_owned(),
        brownout: report.brownout.clone(),
        began: report.began.clone(),
        seed: report.seed,
        status: report.status,
    }
}

fn of_pair<'a>(pair: &Pair<'_>) -> Vec<(&'a str, Found)> {
    let sections = SECTIONS.iter();
    sections
        .flat_map(|def| (def.compare)(pair).into_iter().map(|one| (def.name, one)))
        .collect()
}

/// What became of everything found: all that is tested against chance is tested together.
fn changes(found: &[Vec<(&str, Found)>]) -> Vec<Vec<(Change, Option<String>)>> {
    let all = || found.iter().flatten().map(|(_, found)| &found.verdict);
    let tests = || all().filter_map(Verdict::test);
    let asked = tests().count().max(1) as f64;
    // Whether a test could show anything hangs on how much there is, and not on what it says, so
    // that those that cannot may be left out of the count.
    let telling = |least: f64| least <= LEVEL / asked;
    let chances: Vec<f64> = tests()
        .filter(|test| telling(test.least))
        .map(|test| test.chance)
        .collect();
    let mut real = statistics::holm(&chances, LEVEL).into_iter();
    let mut decide = |verdict: &Verdict| match verdict.test() {
        Some(test) if telling(test.least) => {
            verdict.decided(Some(real.next().is_some_and(|real| real)))
        }
        _ => verdict.decided(None),
    };
    found
        .iter()
        .map(|scenario| {
            let verdicts = scenario.iter().map(|(_, found)| &found.verdict);
            verdicts.map(&mut decide).collect()
        })
        .collect()
}

fn scenario(
    pair: &Pair<'_>,
    found: Vec<(&str, Found)>,
    changes: &[(Change, Option<String>)],
) -> ScenarioDiff {
    let mut rows = rows(found, changes);
    sort(&mut rows);
    ScenarioDiff {
        title: pair.new.title.clone(),
        file: pair.new.file.clone(),
        status: pair.status(),
        unfair: pair.unfair.clone(),
        rows,
    }
}

/// What was found, with what became of it.
fn rows(found: Vec<(&str, Found)>, changes: &[(Change, Option<String>)]) -> Vec<Row> {
    let rows = found.into_iter().zip(changes);
    rows.map(|((section, found), (change, why))| Row {
        section: section.to_owned(),
        chance: found.verdict.test().map(|test| test.chance),
        differs: found.verdict.differs(),
        stretch: *change == Change::CannotBeTold && found.verdict.is_stretch(),
        news: *change == Change::CannotBeTold && found.verdict.is_news(),
        of: found.of,
        what: found.what,
        old: found.old,
        new: found.new,
        change: *change,
        why: why.clone(),
    })
    .collect()
}

/// How many measures were tested against chance.
fn tested(scenarios: &[ScenarioDiff]) -> usize {
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    rows.filter(|row| row.chance.is_some()).count()
}

/// Section by section, the worst first.
fn sort(rows: &mut [Row]) {
    let place = |row: &Row| SECTIONS.iter().position(|def| def.name == row.section);
    rows.sort_by_key(|row| (place(row), row.change));
}

/// What keeps a comparison from being green although nothing is worse: a run without its outage or with
/// another one, a scenario that is missing and a requirement of which nothing is known all look well, and one
/// long stretch of failures is one event, of which no test can tell how often it comes. What is lost or
/// done twice for the first time may be chance, and is not well all the same.
fn untold(matched: &Matched<'_>, scenarios: &[ScenarioDiff], tested: usize) -> Vec<String> {
    if scenarios.is_empty() {
        return vec!["the two runs have nothing in common".to_owned()];
    }
    let mut reasons: Vec<String> = Vec::new();
    for pair in &matched.pairs {
        let (old, new) = (pair.old, pair.new);
        let had_none = match &old.trouble {
            Some(trouble) => Some(format!(
                "did not come to its end ({})",
                trouble.kind.heading()
            )),
            None => (!old.doubts.is_empty()).then(|| "is in doubt".to_owned()),
        };
        reasons.extend(had_none.map(|why| format!("the old run of {} {why}", old.file)));
        let other = pair.other_outage();
        reasons.extend(other.map(|why| format!("of {} {why}", new.file)));
        let why = match &new.trouble {
            Some(trouble) => format!("did not come to its end ({})", trouble.kind.heading()),
            None if !new.doubts.is_empty() => "is in doubt".to_owned(),
            None if pair.status().1 == Status::Inconclusive => "is inconclusive".to_owned(),
            None => continue,
        };
        reasons.push(format!("the new run of {} {why}", new.file));
    }
    let lacking = matched.only_old.iter();
    reasons.extend(lacking.map(|file| format!("the new run lacks {file}")));
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    let required = rows.filter(|row| row.section == requirements::REQUIREMENTS.name);
    match required
        .filter(|row| row.change == Change::CannotBeTold)
        .count()
    {
        0 => {}
        count => reasons.push(format!(
            "{} cannot be told",
            super::words::counted(count as u64, "requirement")
        )),
    }
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    match rows.filter(|row| row.stretch).count() {
        0 => {}
        count => reasons.push(format!(
            "{} much worse in a stretch, which may be chance",
            match count {
                1 => "1 measure is".to_owned(),
                many => format!("{many} measures are"),
            }
        )),
    }
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    match rows.filter(|row| row.news).count() {
        0 => {}
        count => reasons.push(format!(
            "by {} something was lost or done twice and nothing was before, which may be chance",
            super::words::counted(count as u64, "measure")
        )),
    }
    if tested == 0 {
        reasons.push("no measure could be told from chance".to_owned());
    }
    reasons
}

/// What is worse is worse whatever else cannot be told.
fn outcome(scenarios: &[ScenarioDiff], untold: &[String]) -> Outcome {
    let mut rows = scenarios.iter().flat_map(|one| &one.rows);
    if rows.any(|row| matches!(row.change, Change::Worse | Change::Changed)) {
        Outcome::Regression
    } else if untold.is_empty() {
        Outcome::NoRegression
    } else {
        Outcome::CannotBeTold
    }
}

impl Diff {
    /// The same comparison where clients may behave otherwise than before: a policy that changed
    /// is different, and no regression.
    pub fn allowing_policy_changes(mut self) -> Self {
        for scenario in &mut self.scenarios {
            let rows = scenario.rows.iter_mut();
            for row in rows.filter(|row| row.change == Change::Changed) {
                row.change = Change::Different;
            }
            sort(&mut scenario.rows);
        }
        self.outcome = outcome(&self.scenarios, &self.untold);
        self
    }

    /// How many rows came out so.
    pub fn count(&self, change: Change) -> usize {
        let rows = self.scenarios.iter().flat_map(|one| &one.rows);
        rows.filter(|row| row.change == change).count()
    }

    /// Whether nothing at all was found to have changed.
    pub fn is_unchanged(&self) -> bool {
        [
            Change::Worse,
            Change::Changed,
            Change::Better,
            Change::Different,
        ]
        .into_iter()
        .all(|change| self.count(change) == 0)
    }
}

/// A way to write a comparison.
pub struct FormatDef {
    /// Its name.
    pub name: &'static str,
    /// The file names that ask for it end so.
    pub ends: &'static [&'static str],
    /// Comparison to bytes.
    pub render: fn(&Diff) -> Vec<u8>,
}

/// Every way, in the order listed; the first is for the terminal.
pub const FORMATS: &[FormatDef] = &[
    FormatDef {
        name: "terminal",
        ends: &["txt"],
        render: terminal::render,
    },
    FormatDef {
        name: "markdown",
        ends: &["md", "markdown"],
        render: markdown::render,
    },
    FormatDef {
        name: "html",
        ends: &["html", "htm"],
        render: super::html::diff::render,
    },
    FormatDef {
        name: "json",
        ends: &["json"],
        render: json,
    },
];

fn json(diff: &Diff) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(diff).expect("a comparison has text keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// What a comparison comes to, in one sentence.
pub(super) fn in_short(diff: &Diff) -> String {
    let counted = |change: Change, one: &str, many: &str| {
        let count = diff.count(change);
        let noun = if count == 1 { one } else { many };
        (count > 0).then(|| format!("{count} {noun}"))
    };
    let parts: Vec<String> = [
        counted(Change::Worse, "worse", "worse"),
        counted(Change::Changed, "policy changed", "policies changed"),
        counted(Change::Better, "better", "better"),
        counted(Change::Different, "different", "different"),
        counted(Change::NoChange, "without change", "without change"),
        counted(Change::CannotBeTold, "cannot be told", "cannot be told"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let head = match diff.outcome {
        Outcome::Regression => "regression",
        Outcome::CannotBeTold if diff.tested == 0 && diff.is_unchanged() => "nothing can be told",
        Outcome::CannotBeTold => "cannot be told",
        Outcome::NoRegression if diff.is_unchanged() => "no change found",
        Outcome::NoRegression => "no regression",
    };
    let mut text = vec![parts.join(", "), diff.untold.join("; ")];
    text.retain(|part| !part.is_empty());
    format!("{head}: {}", text.join(" – "))
}

/// How to read a comparison.
pub(super) fn legend(diff: &Diff) -> String {
    let time = super::words::span(finding::TIME_LEAST_US);
    let margin = if diff.noise > 0.0 {
        format!(
            "a time or count must also differ by {} %, a time by {time}, a share by {} points",
            finding::number(diff.noise * 100.0),
            finding::number(diff.noise * finding::POINTS * 100.0),
        )
    } else {
        format!("a time must also differ by {time}, a count or share by anything at all")
    };
    format!(
        "Brackets hold 95 % intervals. Of {} tested, the chance that any is called a change where \
         nothing changed is at most {} %; {margin}.",
        super::words::counted(diff.tested as u64, "measure"),
        finding::number(diff.level * 100.0),
    )
}

/// The sign of a change.
pub(super) const fn mark(change: Change) -> &'static str {
    match change {
        Change::Worse => "✗",
        Change::Changed => "!",
        Change::Better => "✓",
        Change::Different => "≠",
        Change::CannotBeTold => "?",
        Change::NoChange => "=",
    }
}

/// The rows of a scenario that are shown one by one, the worst first: what changed, and of what
/// cannot be told the requirements and what differs by more than is too small to matter. Of the
/// others, why nothing can be told and of how many; and how many did not change.
fn folded(scenario: &ScenarioDiff) -> (Vec<&Row>, Vec<(String, usize)>, usize) {
    let is = |change: Change| move |row: &&Row| row.change == change;
    let listed = |row: &Row| row.section == requirements::REQUIREMENTS.name || row.differs;
    let shown = scenario.rows.iter().filter(|row| match row.change {
        Change::Worse | Change::Changed | Change::Better | Change::Different => true,
        Change::CannotBeTold => listed(row),
        Change::NoChange => false,
    });
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let untold = scenario.rows.iter().filter(is(Change::CannotBeTold));
    for row in untold.filter(|row| !listed(row)) {
        let why = row.why.clone().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => reasons.push((why, 1)),
        }
    }
    let mut shown: Vec<&Row> = shown.collect();
    shown.sort_by_key(|row| row.change);
    let same = scenario.rows.iter().filter(is(Change::NoChange)).count();
    (shown, reasons, same)
}

/// The fewest rows that share a reason which is then said once, above all of them.
const SHARED_MIN: usize = 3;

/// The reasons that many of these rows share, and how many do.
pub(super) fn shared<'a>(rows: &[&'a Row]) -> Vec<(&'a str, usize)> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for why in rows.iter().filter_map(|row| row.why.as_deref()) {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => reasons.push((why, 1)),
        }
    }
    reasons.retain(|(_, count)| *count >= SHARED_MIN);
    reasons
}

/// Why a row is as it is, unless that is said above.
pub(super) fn own_reason<'a>(row: &'a Row, shared: &[(&str, usize)]) -> Option<&'a str> {
    let why = row.why.as_deref();
    why.filter(|why| shared.iter().all(|(known, _)| known != why))
}

#[cfg(test)]
mod tests;
