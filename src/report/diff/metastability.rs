//! Two searches for metastability compared: where the boundary was and is, size by size how often and
//! how soon the system came back.
//!
//! A boundary is known as far as its interval. It moved where the interval of the new search lies
//! wholly on one side of the old one's, and where the runs that say so are more than chance: from the
//! sizes between the two the system came back in one search and did not in the other. An overlap is no
//! change; where the new search is open towards the worse side, it cannot be told.

use super::{
    Change, DIFF_VERSION, Diff, LEVEL, Outcome, ScenarioDiff, Side, changes,
    finding::{Found, Test, Verdict, once},
    outcome, rows, sort,
    statistics::{Part, fisher, fisher_least},
};
use crate::{
    expectation::Status,
    metastability::{Boundary, MetastabilityReport, Point, SearchReport, Tally},
};

/// The sections of a search.
const BOUNDARY: &str = "boundary";
const SIZES: &str = "sizes";
const REQUIRED: &str = "required";

/// Sizes that differ by less than this part of them are the same size.
const SAME_SIZE: f64 = 1e-6;

/// Compares two searches; the files are what they are called.
pub fn compare_searches(
    old: (&str, &MetastabilityReport),
    new: (&str, &MetastabilityReport),
    noise: f64,
) -> Diff {
    let status = (of(old.1), of(new.1));
    let mut titles = vec![format!(
        "trigger: {} on {}",
        new.1.trigger.what, new.1.dependency
    )];
    let mut found = vec![searches(&old.1.search, &new.1.search)];
    found[0].extend(required(old.1, new.1).map(|one| (REQUIRED, one)));
    if let (Some(before), Some(after)) = (&old.1.hidden_capacity, &new.1.hidden_capacity) {
        titles.push(format!("hidden capacity after {}", after.trigger));
        found.push(searches(&before.search, &after.search));
    }
    let decided = changes(&found);
    let scenarios: Vec<ScenarioDiff> = titles
        .into_iter()
        .zip(found)
        .zip(&decided)
        .map(|((title, found), changes)| {
            let mut rows = rows(found, changes);
            sort(&mut rows);
            ScenarioDiff {
                title,
                file: new.1.system.clone(),
                status,
                unfair: Vec::new(),
                rows,
            }
        })
        .collect();
    let another = another(old.1, new.1);
    let untold = untold(old.1, new.1, &scenarios, &another);
    let tested = super::tested(&scenarios);
    let found = outcome(&scenarios, &untold);
    Diff {
        version: DIFF_VERSION,
        brownout: env!("CARGO_PKG_VERSION").to_owned(),
        old: side(old),
        new: side(new),
        level: LEVEL,
        noise,
        tested,
        // Answers to two questions are neither better nor worse than each other.
        outcome: match another.is_empty() {
            true => found,
            false => Outcome::CannotBeTold,
        },
        untold,
        unfair: unfair(old.1, new.1),
        scenarios,
        only_old: Vec::new(),
        only_new: Vec::new(),
    }
}

fn side((file, report): (&str, &MetastabilityReport)) -> Side {
    Side {
        file: file.to_owned(),
        brownout: report.brownout.clone(),
        began: report.began.clone(),
        seed: report.seed,
        status: of(report),
    }
}

/// What a search comes to: what was required of it, or that it knows its boundary.
fn of(report: &MetastabilityReport) -> Status {
    match report.require.as_ref().map(|require| require.held) {
        Some(Some(true)) => Status::Pass,
        Some(Some(false)) => Status::Fail,
        Some(None) => Status::Inconclusive,
        None if report.search.boundary == Boundary::Unknown => Status::Inconclusive,
        None => Status::Pass,
    }
}

/// Why the two do not answer the same question.
fn another(old: &MetastabilityReport, new: &MetastabilityReport) -> Vec<String> {
    let mut reasons = Vec::new();
    for (what, before, after) in [
        ("dependency", &old.dependency, &new.dependency),
        ("load", &old.load, &new.load),
        ("trigger", &old.trigger.what, &new.trigger.what),
    ] {
        if before != after {
            reasons.push(format!("the {what} was {before} and is {after}"));
        }
    }
    if old.search.varied != new.search.varied {
        reasons.push("another measure of the trigger was varied".to_owned());
    }
    reasons
}

/// What makes comparing them unfair.
fn unfair(old: &MetastabilityReport, new: &MetastabilityReport) -> Vec<String> {
    let mut notes = Vec::new();
    let mut differ = |what: &str, before: String, after: String| {
        if before != after {
            notes.push(format!("{what} was {before} and is {after}"));
        }
    };
    let rate = |report: &MetastabilityReport| format!("{}/s", report.rate);
    let none = || "not given".to_owned();
    let capacity = |report: &MetastabilityReport| report.capacity.clone().unwrap_or_else(none);
    let watch = |report: &MetastabilityReport| super::super::words::span(report.watch_us);
    differ("the load", rate(old), rate(new));
    differ("the dependency's capacity", capacity(old), capacity(new));
    differ("the watch", watch(old), watch(new));
    differ("Brownout", old.brownout.clone(), new.brownout.clone());
    notes
}

/// What keeps the comparison from being green although nothing is worse.
fn untold(
    old: &MetastabilityReport,
    new: &MetastabilityReport,
    scenarios: &[ScenarioDiff],
    another: &[String],
) -> Vec<String> {
    let mut reasons = another.to_vec();
    if old.hidden_capacity.is_some() && new.hidden_capacity.is_none() {
        reasons.push("the new search did not look for hidden capacity".to_owned());
    }
    if old.require.is_some() && new.require.is_none() {
        reasons.push("the new search requires nothing".to_owned());
    }
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    let verdicts = rows.filter(|row| row.section != SIZES);
    for row in verdicts.filter(|row| row.change == Change::CannotBeTold) {
        let why = row.why.as_deref().unwrap_or("it cannot be told");
        reasons.push(format!("{}, {}: {why}", row.of, row.what));
    }
    reasons
}

fn searches<'a>(old: &SearchReport, new: &SearchReport) -> Vec<(&'a str, Found)> {
    let mut found = vec![(
        BOUNDARY,
        Found {
            of: "the system".to_owned(),
            what: "comes back up to".to_owned(),
            old: old.shown.clone(),
            new: new.shown.clone(),
            verdict: moved(old, new),
        },
    )];
    for point in &new.points {
        let is_same = |one: &&Point| (one.size / point.size - 1.0).abs() < SAME_SIZE;
        if let Some(known) = old.points.iter().find(is_same) {
            found.extend(sizes(known, point).map(|one| (SIZES, one)));
        }
    }
    found
}

/// From where to where a boundary may lie; `None` where nothing is known.
const fn interval(boundary: Boundary) -> Option<(f64, f64)> {
    match boundary {
        Boundary::Between { low, high, .. } => Some((low, high)),
        Boundary::Above { size, .. } => Some((size, f64::INFINITY)),
        Boundary::Below { size, .. } => Some((0.0, size)),
        Boundary::Unknown => None,
    }
}

/// Whether the boundary moved. A larger one is better, of triggers and of loads alike.
fn moved(old: &SearchReport, new: &SearchReport) -> Verdict {
    let Some(before) = interval(old.boundary) else {
        return Verdict::unknown("the old search does not know its boundary");
    };
    let Some(after) = interval(new.boundary) else {
        return Verdict::unknown("the new search does not know its boundary");
    };
    if after.1 <= before.0 {
        // From these sizes the system came back, and no longer does.
        let well = told(old, (after.1, before.0));
        let ill = told(new, (after.1, before.0));
        return tested(well, ill, Change::Worse);
    }
    if after.0 >= before.1 {
        let ill = told(old, (before.1, after.0));
        let well = told(new, (before.1, after.0));
        return tested(ill, well, Change::Better);
    }
    let is_closed = matches!(
        (old.boundary, new.boundary),
        (Boundary::Between { .. }, Boundary::Between { .. })
    );
    if after.0 >= before.0 || is_closed {
        Verdict::Fact(Change::NoChange, None)
    } else {
        Verdict::unknown("the new search leaves open how far down it moved, if it did")
    }
}

/// How the runs of the sizes from one to another ended.
fn told(search: &SearchReport, (from, to): (f64, f64)) -> Part {
    let points = search.points.iter();
    let within = points.filter(|point| {
        point.size >= from * (1.0 - SAME_SIZE) && point.size <= to * (1.0 + SAME_SIZE)
    });
    let tallies = within.map(|point| part(point.tally));
    tallies.fold(Part { hits: 0, all: 0 }, |sum, one| Part {
        hits: sum.hits + one.hits,
        all: sum.all + one.all,
    })
}

const fn part(tally: Tally) -> Part {
    Part {
        hits: tally.recovered,
        all: tally.told(),
    }
}

/// A difference between so many runs and so many. Each is a system of its own, so that none shares its
/// fate with another.
fn tested(old: Part, new: Part, change: Change) -> Verdict {
    let too_few = old.all == 0 || new.all == 0;
    Verdict::Tested(Test {
        chance: fisher(old, new),
        least: fisher_least(old, new),
        change,
        too_few: too_few.then(|| "nothing was measured at the same sizes".to_owned()),
        is_stretch: false,
        is_news: false,
    })
}

/// One size that both tried: how often the system came back, and how soon.
fn sizes(old: &Point, new: &Point) -> impl Iterator<Item = Found> {
    let share = |tally: Tally| format!("{} of {} runs", tally.recovered, tally.told());
    // Whether that is more than chance is asked of the boundary, and once.
    let change = match part(old.tally).share() == part(new.tally).share() {
        true => Change::NoChange,
        false => Change::Different,
    };
    let came_back = Found {
        of: new.shown.clone(),
        what: "came back in".to_owned(),
        old: share(old.tally),
        new: share(new.tally),
        verdict: Verdict::Fact(change, None),
    };
    let median = |point: &Point| point.recovery_us.map(|(_, median, _)| median);
    let times = median(old).zip(median(new)).map(|(before, after)| {
        let (was, is, verdict) = once(Some(before), Some(after), "never", 0);
        Found {
            of: new.shown.clone(),
            what: "came back after (median)".to_owned(),
            old: was,
            new: is,
            verdict,
        }
    });
    std::iter::once(came_back).chain(times)
}

/// What was required of both.
fn required(old: &MetastabilityReport, new: &MetastabilityReport) -> Option<Found> {
    let (before, after) = (old.require.as_ref()?, new.require.as_ref()?);
    let verdict = match (before.held, after.held) {
        _ if before.size != after.size => Verdict::unknown("another size was required"),
        (Some(true), Some(false)) => Verdict::Fact(Change::Worse, None),
        (Some(false), Some(true)) => Verdict::Fact(Change::Better, None),
        (_, None) => Verdict::unknown("the new search cannot tell"),
        (None, Some(false)) => Verdict::unknown("the old search could not tell"),
        _ => Verdict::Fact(Change::NoChange, None),
    };
    let said = |held: Option<bool>| match held {
        Some(true) => "yes",
        Some(false) => "no",
        None => "cannot be told",
    };
    Some(Found {
        of: "the system".to_owned(),
        what: format!("comes back from {}", after.shown),
        old: said(before.held).to_owned(),
        new: said(after.held).to_owned(),
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metastability::{HiddenCapacity, Requirement},
        report::{diff::FORMATS, metastability::sample},
    };

    /// A search in which so many runs of each size came back, of so many.
    fn search(points: &[(f64, u64, u64)], boundary: Boundary) -> SearchReport {
        let mut search = sample().search;
        let model = search.points[0].clone();
        search.points = points
            .iter()
            .map(|(size, recovered, all)| Point {
                size: *size,
                shown: format!("{size}s"),
                tally: Tally {
                    recovered: *recovered,
                    wedged: all - recovered,
                    unmeasured: 0,
                },
                recovery_us: (*recovered > 0).then_some((1_000_000, 2_000_000, 3_000_000)),
                ..model.clone()
            })
            .collect();
        search.shown = boundary.in_words(|size| format!("{size}s"));
        search.boundary = boundary;
        search
    }

    fn between(low: f64, high: f64, repeats: u64) -> SearchReport {
        let boundary = Boundary::Between {
            low,
            high,
            confidence: 0.97,
        };
        search(&[(low, repeats, repeats), (high, 0, repeats)], boundary)
    }

    fn above(size: f64) -> SearchReport {
        let confidence = 0.97;
        search(&[(size, 5, 5)], Boundary::Above { size, confidence })
    }

    fn below(size: f64) -> SearchReport {
        let confidence = 0.97;
        search(&[(size, 0, 5)], Boundary::Below { size, confidence })
    }

    fn report(search: SearchReport) -> MetastabilityReport {
        MetastabilityReport {
            search,
            hidden_capacity: None,
            require: None,
            ..sample()
        }
    }

    fn compared(old: SearchReport, new: SearchReport) -> (Change, Outcome) {
        let (old, new) = (report(old), report(new));
        let diff = compare_searches(("old.json", &old), ("new.json", &new), 0.2);
        let mut rows = diff.scenarios[0].rows.iter();
        let row = rows.find(|row| row.section == BOUNDARY).expect("a row");
        (row.change, diff.outcome)
    }

    #[test]
    fn a_boundary_that_moved_outside_its_interval_is_worse_or_better() {
        let (worse, better) = (
            (Change::Worse, Outcome::Regression),
            (Change::Better, Outcome::NoRegression),
        );
        assert_eq!(compared(between(2.0, 3.0, 5), between(1.0, 2.0, 5)), worse);
        assert_eq!(compared(between(1.0, 2.0, 5), between(2.0, 3.0, 5)), better);
        assert_eq!(
            compared(
                above(3.0),
                search(
                    &[(1.0, 5, 5), (3.0, 0, 5)],
                    Boundary::Between {
                        low: 1.0,
                        high: 3.0,
                        confidence: 0.97
                    },
                )
            ),
            worse
        );
        assert_eq!(compared(below(2.0), between(2.0, 3.0, 5)), better);
    }

    #[test]
    fn within_its_interval_it_did_not_move_and_few_runs_or_an_open_end_cannot_tell() {
        let same = (Change::NoChange, Outcome::NoRegression);
        let untold = (Change::CannotBeTold, Outcome::CannotBeTold);
        assert_eq!(compared(between(1.0, 3.0, 5), between(1.5, 2.0, 5)), same);
        assert_eq!(compared(between(1.5, 2.5, 5), between(1.0, 2.0, 5)), same);
        assert_eq!(compared(between(1.0, 3.0, 5), above(2.0)), same);
        assert_eq!(compared(above(3.0), above(3.0)), same);
        // Three of three and none of three are one in ten.
        assert_eq!(compared(between(2.0, 3.0, 3), between(1.0, 2.0, 3)), untold);
        assert_eq!(compared(above(3.0), above(1.0)), untold);
        assert_eq!(compared(between(2.0, 4.0, 5), below(3.0)), untold);
        let unknown = || search(&[(1.0, 2, 5)], Boundary::Unknown);
        assert_eq!(compared(between(1.0, 2.0, 5), unknown()), untold);
        assert_eq!(compared(unknown(), between(1.0, 2.0, 5)), untold);
    }

    #[test]
    fn another_question_is_never_answered_by_comparing() {
        let (old, mut new) = (report(between(2.0, 3.0, 5)), report(between(1.0, 2.0, 5)));
        new.load = "other".to_owned();
        let diff = compare_searches(("old", &old), ("new", &new), 0.2);
        assert_eq!(diff.outcome, Outcome::CannotBeTold);
        assert!(
            diff.untold[0].starts_with("the load was"),
            "{:?}",
            diff.untold
        );
        let mut slower = report(between(2.0, 3.0, 5));
        slower.rate *= 2.0;
        let diff = compare_searches(("old", &old), ("new", &slower), 0.2);
        assert_eq!(
            (diff.outcome, diff.unfair.len()),
            (Outcome::NoRegression, 1)
        );
    }

    #[test]
    fn what_is_required_and_hidden_capacity_are_compared_like_the_trigger() {
        let with = |held, low, high| {
            let mut report = report(between(1.0, 2.0, 5));
            report.require = Some(Requirement {
                size: 1.0,
                shown: "1s".to_owned(),
                held,
                why: String::new(),
            });
            report.hidden_capacity = Some(HiddenCapacity {
                trigger: "hang for 1s".to_owned(),
                search: between(low, high, 5),
            });
            report
        };
        let outcome = |old: &MetastabilityReport, new: &MetastabilityReport| {
            compare_searches(("old", old), ("new", new), 0.2).outcome
        };
        let old = with(Some(true), 20.0, 30.0);
        assert_eq!(outcome(&old, &old), Outcome::NoRegression);
        let broken = with(Some(false), 20.0, 30.0);
        assert_eq!(outcome(&old, &broken), Outcome::Regression);
        assert_eq!(outcome(&broken, &old), Outcome::NoRegression);
        assert_eq!(
            outcome(&old, &with(None, 20.0, 30.0)),
            Outcome::CannotBeTold
        );
        assert_eq!(
            outcome(&old, &with(Some(true), 10.0, 20.0)),
            Outcome::Regression
        );
        let mut less = old.clone();
        less.hidden_capacity = None;
        assert_eq!(outcome(&old, &less), Outcome::CannotBeTold);
        assert_eq!(outcome(&less, &old), Outcome::NoRegression);
    }

    #[test]
    fn every_format_shows_it_and_the_terminal_fits() {
        let (old, new) = (report(between(2.0, 3.0, 5)), report(between(1.0, 2.0, 5)));
        let diff = compare_searches(("old", &old), ("new", &new), 0.2);
        for def in FORMATS {
            let bytes = anstream::adapter::strip_bytes(&(def.render)(&diff)).into_vec();
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.contains("comes back"), "{}\n{text}", def.name);
            if def.name == "terminal" {
                let width = crate::report::layout::WIDTH;
                assert!(
                    text.lines().all(|line| line.chars().count() <= width),
                    "{text}"
                );
            }
        }
    }
}
