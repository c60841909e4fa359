//! What `report.json` holds of repeated runs, and how it follows from the reports of the repeats.

use crate::{
    expectation::{Place, Status},
    report::{ScenarioReport, TroubleKind},
    statistics::{Decision, Interval, Sequential, Sprt, bounds},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Runs that were repeated (`--repeat`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SeriesReport {
    /// How many repeats were asked for; not known of a series that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u32>,
    /// Whether all of them were to be carried out, whatever the sequential test says.
    pub all: bool,
    /// The sequential test.
    pub test: Sprt,
    /// What became of each scenario, in the order of the command line. The report's `scenarios` are
    /// their repeats: all of the first, then all of the second.
    pub scenarios: Vec<ScenarioSeries>,
}

/// Which repeat of a series a report is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Repetition {
    /// Its number, from 1.
    pub nth: u32,
    /// The folder of its own reports and history, as path from the folder of the series.
    pub folder: String,
}

/// What became of something over all repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SeriesOutcome {
    /// It passed in every repeat.
    Pass,
    /// It never failed, and nothing can be said of some repeats, or of all.
    Inconclusive,
    /// It passed in some repeats and failed in others: no pass.
    Flake,
    /// It failed, and never passed.
    Fail,
}

impl SeriesOutcome {
    /// What a build is told: a flake is a fail.
    pub const fn status(self) -> Status {
        match self {
            Self::Pass => Status::Pass,
            Self::Inconclusive => Status::Inconclusive,
            Self::Flake | Self::Fail => Status::Fail,
        }
    }
}

impl fmt::Display for SeriesOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Flake => "flake",
            Self::Fail => "fail",
        })
    }
}

/// How many repeats ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counts {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Inconclusive: these say nothing about how often it fails.
    pub inconclusive: u64,
}

impl Counts {
    /// Counts these.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            *match status {
                Status::Pass => &mut counts.passed,
                Status::Fail => &mut counts.failed,
                Status::Inconclusive => &mut counts.inconclusive,
            } += 1;
        }
        counts
    }

    /// Those that passed or failed.
    pub const fn told(self) -> u64 {
        self.passed + self.failed
    }

    /// What they come to. Nothing at all is inconclusive.
    pub const fn outcome(self) -> SeriesOutcome {
        match (self.passed, self.failed, self.inconclusive) {
            (1.., 1.., _) => SeriesOutcome::Flake,
            (0, 1.., _) => SeriesOutcome::Fail,
            (1.., 0, 0) => SeriesOutcome::Pass,
            (_, 0, _) => SeriesOutcome::Inconclusive,
        }
    }

    /// How large a share of such runs fails, with 95 %; to four digits.
    pub fn failing(self) -> Option<Interval> {
        let rounded = |share: f64| (share * 1e4).round() / 1e4;
        bounds(self.failed, self.told()).map(|found| Interval {
            low: rounded(found.low),
            high: rounded(found.high),
            ..found
        })
    }
}

/// Why a series has no more repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SeriesEnd {
    /// All that were asked for were carried out.
    Complete,
    /// The sequential test had decided.
    Decided,
    /// A repeat could not be carried through.
    Trouble,
    /// Somebody interrupted it between two repeats, or killed it.
    CutShort,
}

/// What the sequential test decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DecisionReport {
    /// The decision.
    pub decision: Decision,
    /// After how many runs that passed or failed.
    pub after: u64,
}

/// One scenario over all its repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScenarioSeries {
    /// The scenario's title.
    pub title: String,
    /// The scenario's file, as typed.
    pub file: String,
    /// The system's file.
    pub system: String,
    /// What became of the runs as a whole.
    pub outcome: SeriesOutcome,
    /// How many runs ended in which way.
    pub counts: Counts,
    /// How large a share of such runs fails; not known where none passed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Interval>,
    /// What the sequential test decided, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<DecisionReport>,
    /// Why there are no more repeats.
    pub ended: SeriesEnd,
    /// What became of each requirement, in file order.
    pub requirements: Vec<RequirementSeries>,
    /// The repeats, in their order.
    pub repeats: Vec<RepeatReport>,
}

/// One requirement over all repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequirementSeries {
    /// Its id.
    pub id: String,
    /// What it says.
    pub that: String,
    /// What became of it.
    pub outcome: SeriesOutcome,
    /// In how many repeats it ended in which way.
    pub counts: Counts,
    /// How large a share of such runs fails it; not known where it neither passed nor failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Interval>,
    /// The numbers of the repeats in which it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_in: Vec<u32>,
    /// The numbers of the repeats in which it was inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inconclusive_in: Vec<u32>,
    /// Where the expectation stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// One repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RepeatReport {
    /// Its number, from 1.
    pub nth: u32,
    /// Its seed: `--seed` with it runs this repeat alone.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// The folder of its own reports, as path from the folder of the series.
    pub folder: String,
    /// The command that runs it alone.
    pub repeat: String,
    /// How long it took.
    pub duration_us: u64,
}

impl SeriesReport {
    /// The series that these reports are the repeats of. A scenario's repeats follow each other.
    pub fn of(asked: Option<u32>, all: bool, reports: &[ScenarioReport]) -> Self {
        let begins = |one: &ScenarioReport| super::nth(one) == 1;
        let same = |one: &ScenarioReport, next: &ScenarioReport| {
            one.file == next.file && one.system == next.system && !begins(next)
        };
        let groups = reports.chunk_by(same);
        Self {
            asked,
            all,
            test: Sprt::RUNS,
            scenarios: groups
                .map(|own| ScenarioSeries::of(own, asked, all))
                .collect(),
        }
    }
}

impl ScenarioSeries {
    /// What these repeats come to; there is at least one.
    fn of(repeats: &[ScenarioReport], asked: Option<u32>, all: bool) -> Self {
        let first = &repeats[0];
        let counts = Counts::of(repeats.iter().map(|repeat| repeat.status));
        let decided = decided(repeats);
        Self {
            title: first.title.clone(),
            file: first.file.clone(),
            system: first.system.clone(),
            outcome: counts.outcome(),
            counts,
            failing: counts.failing(),
            decided,
            // What the test decides ends no series of which all repeats are wanted.
            ended: ended(repeats, asked, decided.is_some() && !all),
            requirements: requirements(repeats),
            repeats: repeats.iter().map(RepeatReport::of).collect(),
        }
    }

    /// The requirements that both passed and failed.
    pub fn flakes(&self) -> impl Iterator<Item = &RequirementSeries> {
        let requirements = self.requirements.iter();
        requirements.filter(|one| one.outcome == SeriesOutcome::Flake)
    }
}

/// What the sequential test decides by the runs that passed or failed, in their order.
fn decided(repeats: &[ScenarioReport]) -> Option<DecisionReport> {
    let mut test = Sequential::new(Sprt::RUNS);
    for repeat in repeats {
        match repeat.status {
            Status::Pass => test.observe(false),
            Status::Fail => test.observe(true),
            Status::Inconclusive => {}
        }
    }
    let decided = test.decided();
    decided.map(|(decision, after)| DecisionReport { decision, after })
}

fn ended(repeats: &[ScenarioReport], asked: Option<u32>, by_decision: bool) -> SeriesEnd {
    let trouble = repeats.last().and_then(|last| last.trouble.as_ref());
    match trouble.map(|trouble| trouble.kind) {
        Some(TroubleKind::Interrupted) => SeriesEnd::CutShort,
        Some(_) => SeriesEnd::Trouble,
        None if asked.is_some_and(|asked| repeats.len() >= asked as usize) => SeriesEnd::Complete,
        None if by_decision => SeriesEnd::Decided,
        None => SeriesEnd::CutShort,
    }
}

/// Every requirement that was judged in any repeat: a run that broke off early has none.
fn requirements(repeats: &[ScenarioReport]) -> Vec<RequirementSeries> {
    let mut found: Vec<RequirementSeries> = Vec::new();
    let longest = repeats.iter().max_by_key(|repeat| repeat.verdicts.len());
    for verdict in longest.into_iter().flat_map(|repeat| &repeat.verdicts) {
        let of = |status| -> Vec<u32> {
            let own = super::all(repeats, &verdict.id, status);
            own.map(|(repeat, _)| super::nth(repeat)).collect()
        };
        let (passed_in, failed_in) = (of(Status::Pass), of(Status::Fail));
        // A repeat without a verdict on it says as little as one that is inconclusive.
        let told = |repeat: &&ScenarioReport| {
            let nth = super::nth(repeat);
            passed_in.contains(&nth) || failed_in.contains(&nth)
        };
        let untold = repeats.iter().filter(|repeat| !told(repeat));
        let inconclusive_in: Vec<u32> = untold.map(super::nth).collect();
        let counts = Counts {
            passed: passed_in.len() as u64,
            failed: failed_in.len() as u64,
            inconclusive: inconclusive_in.len() as u64,
        };
        found.push(RequirementSeries {
            id: verdict.id.clone(),
            that: verdict.that.clone(),
            outcome: counts.outcome(),
            counts,
            failing: counts.failing(),
            failed_in,
            inconclusive_in,
            place: verdict.place.clone(),
        });
    }
    found
}

impl RepeatReport {
    fn of(report: &ScenarioReport) -> Self {
        let own = report.repetition.as_ref();
        Self {
            nth: super::nth(report),
            seed: report.seed,
            status: report.status,
            folder: own.map_or_else(String::new, |own| own.folder.clone()),
            repeat: report.repeat.clone(),
            duration_us: report.duration_us,
        }
    }
}
