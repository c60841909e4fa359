//! The words that the reports of a series have in common.

use super::{Counts, RequirementSeries, ScenarioSeries, SeriesEnd, SeriesOutcome, SeriesReport};
use crate::{
    report::words::counted,
    statistics::{Decision, Interval, Sides, Sprt},
};

/// The most repeats that are named one by one.
const NAMED_MAX: usize = 8;

/// The sign of an outcome.
pub const fn mark(outcome: SeriesOutcome) -> &'static str {
    match outcome {
        SeriesOutcome::Pass => "✓",
        SeriesOutcome::Fail => "✗",
        SeriesOutcome::Flake => "~",
        SeriesOutcome::Inconclusive => "?",
    }
}

/// How many ended in which way: those that there are.
pub fn tally(counts: Counts) -> String {
    let parts = [
        (counts.failed, "failed"),
        (counts.inconclusive, "inconclusive"),
        (counts.passed, "passed"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() {
        "nothing was judged".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A share in percent, to a tenth below ten.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent < 10.0 { 10.0 } else { 1.0 };
    format!("{}%", (percent * digits).round() / digits)
}

/// How large a share fails, in few words.
pub fn bound(failing: Option<Interval>) -> String {
    match failing {
        None => "not known".to_owned(),
        Some(found) => match found.sides {
            Sides::Upper => format!("at most {}", percent(found.high)),
            Sides::Lower => format!("at least {}", percent(found.low)),
            Sides::Both => format!("{} to {}", percent(found.low), percent(found.high)),
        },
    }
}

/// The first few repeats by their numbers: `repeats 3 and 7`.
pub fn named(repeats: &[u32]) -> String {
    let shown: Vec<String> = repeats
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    let more = repeats.len().saturating_sub(NAMED_MAX);
    match (shown.as_slice(), more) {
        ([one], _) => format!("repeat {one}"),
        ([most @ .., last], 0) => format!("repeats {} and {last}", most.join(", ")),
        (_, more) => format!("repeats {} and {more} more", shown.join(", ")),
    }
}

/// Why a requirement is no pass, in one sentence.
pub fn why(one: &RequirementSeries) -> String {
    let counts = one.counts;
    let all = counts.told() + counts.inconclusive;
    let failed = || {
        format!(
            "failed in {} of {} ({})",
            counts.failed,
            counted(all, "repeat"),
            named(&one.failed_in)
        )
    };
    match one.outcome {
        SeriesOutcome::Pass => format!("passed in all {}", counted(all, "repeat")),
        SeriesOutcome::Fail => failed(),
        SeriesOutcome::Flake => format!("{}, and passed in {}", failed(), counts.passed),
        SeriesOutcome::Inconclusive => format!(
            "inconclusive in {} of {} ({})",
            counts.inconclusive,
            counted(all, "repeat"),
            named(&one.inconclusive_in)
        ),
    }
}

/// What a scenario's series shows: how it ended, what its bounds are, and what the sequential test
/// says.
pub fn sentences(series: &SeriesReport, one: &ScenarioSeries) -> Vec<String> {
    let mut said = vec![whole(one)];
    said.extend(flakes(one));
    said.extend(bounded(one));
    said.extend(tested(series, one));
    said
}

fn whole(one: &ScenarioSeries) -> String {
    let all = counted(one.repeats.len() as u64, "repeat");
    format!("{}: of {all} {}", one.outcome, tally(one.counts))
}

fn flakes(one: &ScenarioSeries) -> Option<String> {
    let names: Vec<&str> = one.flakes().map(|flake| flake.id.as_str()).collect();
    (!names.is_empty()).then(|| {
        let (are, they) = match names.len() {
            1 => ("is a flake", "it"),
            _ => ("are flakes", "each of them"),
        };
        format!(
            "{} {are}: {they} passed in some repeats and failed in others, which is a fail",
            names.join(", ")
        )
    })
}

fn bounded(one: &ScenarioSeries) -> Option<String> {
    let found = one.failing?;
    let told = one.counts.told();
    let sided = match found.sides {
        Sides::Both => "two-sided",
        Sides::Upper | Sides::Lower => "one-sided",
    };
    Some(format!(
        "{} of {} that can be told failed: of all such runs {} fail ({sided}, 95%)",
        one.counts.failed,
        counted(told, "run"),
        bound(Some(found)),
    ))
}

fn tested(series: &SeriesReport, one: &ScenarioSeries) -> Option<String> {
    let Sprt { good, bad, .. } = series.test;
    let made = one.repeats.len();
    let of = series
        .asked
        .map_or_else(String::new, |asked| format!(" of {asked}"));
    let ended = match one.ended {
        SeriesEnd::Decided => {
            format!("; it was stopped after {made}{of}, and --all-repeats carries out every one")
        }
        SeriesEnd::Trouble => format!("; it ended after {made}{of}, for the last met trouble"),
        SeriesEnd::CutShort => format!("; it was cut short after {made}{of}"),
        SeriesEnd::Complete => String::new(),
    };
    let said = match one.decided.map(|found| (found.decision, found.after)) {
        Some((Decision::Reliable, after)) => format!(
            "reliable after {}: rather {} fail than {}",
            counted(after, "run"),
            percent(good),
            percent(bad)
        ),
        Some((Decision::Unreliable, after)) => format!(
            "unreliable after {}: rather {} fail than {}",
            counted(after, "run"),
            percent(bad),
            percent(good)
        ),
        None if one.counts.told() == 0 => return None,
        None => format!(
            "undecided between {} and {} that fail",
            percent(good),
            percent(bad)
        ),
    };
    Some(format!("sequential test: {said}{ended}"))
}
