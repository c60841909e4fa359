//! Two matrices compared: trial by trial what each load met with, and what became of the system.
//!
//! What a load met with is a verdict: where it came through and no longer does, that is no more chance
//! than a requirement that failed. Of two shares of failures the difference is tested; a trial is one
//! stretch, in which the operations of a second share their fate. Of the slowest hundredth each matrix
//! has one value alone, which must differ by far to be called another. What the clients do is compared
//! as between two runs. What was shown before and is not shown now cannot be told, and then nothing is
//! called well.

use super::{
    Change, DIFF_VERSION, Diff, LEVEL, ScenarioDiff, Side, changes,
    finding::{Counted, Found, Good, POINTS, TIME_LEAST_US, Verdict, once, share},
    outcome,
    pairs::unless,
    policies::of_claims,
    rows, sort,
};
use crate::{
    matrix::{Aftermath, Cell, Doubling, Matrix, Met, Trial, Tried},
    report::words::{counted, span},
};

/// The sections of a trial.
const CELLS: &str = "cells";
const MEASURES: &str = "measures";
const SYSTEM: &str = "system";
const CLIENTS: &str = "clients";

/// The part by which the length or the delay of a trouble may differ between two that are alike.
const ALIKE: f64 = 0.2;

/// The times that the slowest hundredth of a cell must be longer or shorter by to be another.
const P99_TIMES: u64 = 2;

/// By how much, in microseconds, the slowest hundredth must be longer or shorter besides.
const P99_LEAST_US: u64 = 100_000;

/// With fewer operations the slowest hundredth is the slowest one alone, which one pause of the
/// machine makes late.
const P99_OPERATIONS: u64 = 100;

/// By so much, in microseconds, no pause of the machine makes the slowest one late.
const PAUSE_MAX_US: u64 = 1_000_000;

/// Compares two matrices; the files are what they are called.
pub fn compare_matrices(old: (&str, &Matrix), new: (&str, &Matrix), noise: f64) -> Diff {
    let both = trials(old.1, new.1);
    let found: Vec<Vec<(&str, Found)>> = both
        .iter()
        .map(|(before, after)| of_trial(before, after, noise))
        .collect();
    let decided = changes(&found);
    let status = (old.1.status(), new.1.status());
    let scenarios: Vec<ScenarioDiff> = both
        .iter()
        .zip(found)
        .zip(&decided)
        .map(|(((before, after), found), changes)| {
            let mut rows = rows(found, changes);
            sort(&mut rows);
            ScenarioDiff {
                title: after.aim.to_string(),
                file: new.1.file.clone(),
                status,
                unfair: otherwise(before, after),
                rows,
            }
        })
        .collect();
    let untold = untold(old.1, new.1, &scenarios);
    let tested = super::tested(&scenarios);
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
        unfair: unfair(old.1, new.1),
        only_old: lacking(old.1, new.1),
        only_new: lacking(new.1, old.1),
        scenarios,
    }
}

fn side((file, matrix): (&str, &Matrix)) -> Side {
    Side {
        file: file.to_owned(),
        brownout: matrix.brownout.clone(),
        began: matrix.began.clone(),
        seed: matrix.seed,
        status: matrix.status(),
    }
}

/// The trials that both measured, in the order of the new matrix.
fn trials<'a>(old: &'a Matrix, new: &'a Matrix) -> Vec<(&'a Trial, &'a Trial)> {
    let measured = |one: &&Trial| one.tried().is_some();
    let of = |trial: &Trial| {
        let mut all = old.trials.iter().filter(measured);
        all.find(|one| one.aim == trial.aim)
    };
    let all = new.trials.iter().filter(measured);
    all.filter_map(|trial| Some((of(trial)?, trial))).collect()
}

/// The trials that one matrix measured and the other did not, whatever the reason.
fn lacking(one: &Matrix, other: &Matrix) -> Vec<String> {
    let is_measured = |trial: &&Trial| {
        let mut all = other.trials.iter().filter(|one| one.tried().is_some());
        all.any(|one| one.aim == trial.aim)
    };
    let own = one.trials.iter().filter(|one| one.tried().is_some());
    own.filter(|trial| !is_measured(trial))
        .map(|trial| trial.aim.to_string())
        .collect()
}

fn unfair(old: &Matrix, new: &Matrix) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, before, after) in [
        ("system", &old.system, &new.system),
        ("Brownout", &old.brownout, &new.brownout),
    ] {
        if before != after {
            notes.push(format!("{what} was {before} and is {after}"));
        }
    }
    notes
}

/// Whether the length or the delay of a trouble is another.
fn differ(one: u64, other: u64) -> bool {
    one.abs_diff(other) as f64 > ALIKE * one.min(other).max(1) as f64
}

/// Why two trials of the same trouble are not alike.
fn otherwise(before: &Trial, after: &Trial) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(one), Some(other)) = (before.tried(), after.tried())
        && differ(one.lasted_us, other.lasted_us)
    {
        let (one, other) = (span(one.lasted_us), span(other.lasted_us));
        notes.push(format!("it lasted {one} before, and {other} now"));
    }
    if let (Some(one), Some(other)) = (&before.delay, &after.delay)
        && differ(one.us, other.us)
    {
        let (one, other) = (span(one.us), span(other.us));
        notes.push(format!("it was {one} late before, and {other} now"));
    }
    notes
}

/// Whether the trouble of the one trial was greater than that of the other, in whatever they differ in;
/// `None`: greater in one thing and less in another, or not at all.
fn greater(before: &Trial, after: &Trial) -> Option<bool> {
    let lasted = |trial: &Trial| trial.tried().map(|tried| tried.lasted_us);
    let late = |trial: &Trial| trial.delay.as_ref().map(|delay| delay.us);
    let pairs = [(lasted(before), lasted(after)), (late(before), late(after))];
    let pairs = pairs.into_iter().filter_map(|(one, other)| one.zip(other));
    let pairs = pairs.filter(|(one, other)| differ(*one, *other));
    let mut grew = pairs.map(|(one, other)| other > one);
    let first = grew.next()?;
    grew.all(|one| one == first).then_some(first)
}

/// How two trials of the same trouble are not alike.
struct Unlike {
    why: String,
    /// See [`greater`].
    is_greater: Option<bool>,
}

/// What is said of a verdict on two trials that were not alike: worse under less trouble is worse, and as
/// good or better under more of it is that.
fn in_spite_of(unlike: Option<&Unlike>, verdict: Verdict) -> Verdict {
    let Some(unlike) = unlike else {
        return verdict;
    };
    let stands = match verdict.decided(None).0 {
        Change::Worse => unlike.is_greater == Some(false),
        Change::Better | Change::NoChange => unlike.is_greater == Some(true),
        Change::Changed | Change::Different | Change::CannotBeTold => true,
    };
    match stands {
        true => verdict,
        false => Verdict::unknown(unlike.why.clone()),
    }
}

/// What keeps the comparison from being green although nothing is worse.
fn untold(old: &Matrix, new: &Matrix, scenarios: &[ScenarioDiff]) -> Vec<String> {
    let mut reasons = Vec::new();
    let sick = |matrix: &Matrix| match &matrix.reference {
        None => Some("its run without faults did not come to its end".to_owned()),
        Some(reference) => reference.sick.clone(),
    };
    for (which, matrix) in [("old", old), ("new", new)] {
        if let Some(why) = sick(matrix) {
            reasons.push(format!("nothing was tried in the {which} matrix: {why}"));
        }
    }
    if !reasons.is_empty() {
        return reasons;
    }
    if scenarios.is_empty() {
        return vec!["the two matrices have no trial in common".to_owned()];
    }
    if new.interrupted {
        reasons.push("the new matrix was interrupted".to_owned());
    }
    let gone = lacking(old, new);
    if !gone.is_empty() {
        reasons.push(format!("the new matrix lacks {}", gone.join(", ")));
    }
    let rows = scenarios.iter().flat_map(|one| &one.rows);
    let open = rows.filter(|row| {
        let is_verdict = [CELLS, SYSTEM].contains(&&*row.section);
        is_verdict && row.change == Change::CannotBeTold
    });
    match open.count() {
        0 => {}
        count => reasons.push(format!(
            "of {} it cannot be told",
            counted(count as u64, "cell")
        )),
    }
    reasons
}

fn of_trial<'a>(before: &Trial, after: &Trial, noise: f64) -> Vec<(&'a str, Found)> {
    let (Some(old), Some(new)) = (before.tried(), after.tried()) else {
        return Vec::new();
    };
    let notes = otherwise(before, after);
    let unlike = (!notes.is_empty()).then(|| Unlike {
        why: notes.join("; "),
        is_greater: greater(before, after),
    });
    let unlike = unlike.as_ref();
    let mut found = Vec::new();
    for cell in &new.cells {
        match old.cells.iter().find(|one| one.load == cell.load) {
            Some(known) => found.extend(of_cell((known, old), (cell, new), unlike, noise)),
            None => continue,
        }
    }
    for cell in &old.cells {
        if cell.met.is_telling() && new.cells.iter().all(|one| one.load != cell.load) {
            found.push((CELLS, gone(cell)));
        }
    }
    found.push((
        SYSTEM,
        aftermath("the system", old.aftermath, new.aftermath, unlike),
    ));
    found.extend(exits(old, new).map(|one| (SYSTEM, one)));
    found.extend(doubled(old, new).map(|one| (SYSTEM, one)));
    let of = &after.aim.dependency;
    let why = unlike.map(|unlike| &unlike.why);
    let clients = clients(of, old, new, why, noise);
    found.extend(clients.into_iter().map(|one| (CLIENTS, one)));
    found
}

/// What the clients of the dependency in trouble do: what only one of two matrices shows is said. Where
/// one keeps nothing of it but how long they wait they are compared by that.
fn clients(of: &str, old: &Tried, new: &Tried, unlike: Option<&String>, noise: f64) -> Vec<Found> {
    let mut found = of_claims((&old.claims, &new.claims), noise, unlike);
    let (before, after) = (old.waited_us, new.waited_us);
    let is_either = (before.is_some() && after.is_some()) || found.is_empty();
    if is_either && (old.claims.is_empty() || new.claims.is_empty()) {
        found.extend(waits(of, before, after, unlike, noise));
    }
    found
}

/// How long clients wait for a first byte, the shortest and the longest of each matrix.
fn waits(
    of: &str,
    old: Option<(u64, u64)>,
    new: Option<(u64, u64)>,
    unlike: Option<&String>,
    noise: f64,
) -> Option<Found> {
    let is_beyond =
        |more: u64, less: u64| more as f64 > less as f64 * (1.0 + noise) + TIME_LEAST_US as f64;
    let verdict = match (old, new) {
        (None, None) => return None,
        (Some(_), None) => Verdict::unknown("the new matrix does not show it"),
        (None, Some(_)) => Verdict::unknown("the old matrix does not show it"),
        (Some(before), Some(after)) => {
            let are_apart = is_beyond(after.0, before.1) || is_beyond(before.0, after.1);
            let change = match are_apart {
                true => Change::Changed,
                false => Change::NoChange,
            };
            Verdict::Fact(change, None)
        }
    };
    let said = |one: Option<(u64, u64)>| match one {
        None => "–".to_owned(),
        Some((low, high)) if low == high => span(low),
        Some((low, high)) => format!("{} to {}", span(low), span(high)),
    };
    let verdict = unless(unlike.cloned(), verdict);
    let values = (said(old), said(new), verdict);
    Some(row(of, "wait for a first byte", values))
}

fn row(of: &str, what: &str, (old, new, verdict): (String, String, Verdict)) -> Found {
    Found {
        of: of.to_owned(),
        what: what.to_owned(),
        old,
        new,
        verdict,
    }
}

fn gone(cell: &Cell) -> Found {
    let why = "the new matrix has no such load";
    let (old, new) = (super::super::matrix::met(cell), "nothing".to_owned());
    row(&cell.load, "met with", (old, new, Verdict::unknown(why)))
}

/// How bad it is what a load met with; `None` where it says nothing.
const fn rank(met: Met) -> Option<u8> {
    match met {
        Met::Answered | Met::DoesNotUseIt => Some(0),
        Met::Degraded => Some(1),
        Met::Held => Some(2),
        Met::Failed => Some(3),
        Met::TooFew | Met::NotReached => None,
    }
}

fn of_cell<'a>(
    (old, before): (&Cell, &Tried),
    (new, after): (&Cell, &Tried),
    unlike: Option<&Unlike>,
    noise: f64,
) -> Vec<(&'a str, Found)> {
    let load = &new.load;
    let why = || unlike.map(|unlike| unlike.why.clone());
    let (was, is, verdict) = met(old, new);
    let values = (was, is, in_spite_of(unlike, verdict));
    let mut found = vec![(CELLS, row(load, "met with", values))];
    if matches!((old.met, new.met), (Met::Failed, Met::Failed)) {
        let part = |cell: &Cell, tried: &Tried| Counted {
            hits: cell.counts.failed + cell.counts.unanswered,
            all: cell.counts.all(),
            clumping: a_second(cell, tried),
        };
        let parts = (part(old, before), part(new, after));
        let (was, is, verdict) = share(parts.0, parts.1, Good::Less, noise * POINTS);
        let verdict = unless(why(), verdict);
        found.push((MEASURES, row(load, "not answered", (was, is, verdict))));
    }
    let is_timed = |cell: &Cell| matches!(cell.met, Met::Answered | Met::Degraded);
    if is_timed(old) && is_timed(new) && (old.uses || new.uses) {
        let verdict = unless(why(), slowest(old, new));
        let values = (span(old.p99_us), span(new.p99_us), verdict);
        found.push((MEASURES, row(load, "p99", values)));
    }
    if old.met.is_telling() || new.met.is_telling() {
        let then = aftermath(load, old.aftermath, new.aftermath, unlike);
        found.push((SYSTEM, then));
    }
    found.extend(tries(old, new).map(|one| (CLIENTS, one)));
    found
}

/// Whether the slowest hundredth of what was answered takes another time.
fn slowest(old: &Cell, new: &Cell) -> Verdict {
    let (before, after) = (old.p99_us, new.p99_us);
    let apart = before.abs_diff(after);
    let is_far = before.max(after) >= before.min(after).saturating_mul(P99_TIMES);
    if apart < P99_LEAST_US || !is_far {
        return Verdict::Fact(Change::NoChange, None);
    }
    let operations = old.counts.all().min(new.counts.all());
    if operations < P99_OPERATIONS && apart < PAUSE_MAX_US {
        return Verdict::unknown(format!(
            "fewer than {P99_OPERATIONS} operations: it may be one pause"
        ));
    }
    let change = match after > before {
        true => Change::Worse,
        false => Change::Better,
    };
    Verdict::Fact(change, None)
}

/// How many operations of a cell there are in a second: so many share their fate.
fn a_second(cell: &Cell, tried: &Tried) -> f64 {
    let seconds = (tried.lasted_us as f64 / 1e6).max(1.0);
    (cell.counts.all() as f64 / seconds).max(1.0)
}

/// What a load met with is what the matrix says of it, and no sample.
fn met(old: &Cell, new: &Cell) -> (String, String, Verdict) {
    let verdict = match (rank(old.met), rank(new.met)) {
        (Some(before), Some(after)) if after > before => Verdict::Fact(Change::Worse, None),
        (Some(before), Some(after)) if after < before => Verdict::Fact(Change::Better, None),
        (Some(_), Some(_)) => Verdict::Fact(Change::NoChange, None),
        (None, None) => Verdict::Fact(Change::NoChange, None),
        (Some(_), None) => Verdict::unknown("the new matrix does not show it"),
        (None, Some(2 | 3)) => Verdict::unknown("it was not shown before, and fails now"),
        (None, Some(_)) => Verdict::Fact(Change::NoChange, None),
    };
    let said = super::super::matrix::met;
    (said(old), said(new), verdict)
}

/// What became of a load or the system when the trouble was over.
fn aftermath(of: &str, old: Aftermath, new: Aftermath, unlike: Option<&Unlike>) -> Found {
    let time = |one: Aftermath| match one {
        Aftermath::Steady { after_us } => Some(after_us),
        Aftermath::Wedged { .. } | Aftermath::Unknown => None,
    };
    let (.., in_time) = once(time(old), time(new), "never", 0);
    let verdict = match (old, new) {
        (Aftermath::Unknown, Aftermath::Unknown) => Verdict::Fact(Change::NoChange, None),
        (Aftermath::Unknown, Aftermath::Steady { .. }) => Verdict::Fact(Change::NoChange, None),
        (Aftermath::Unknown, Aftermath::Wedged { .. }) => {
            Verdict::unknown("it was not seen before, and is wedged now")
        }
        (_, Aftermath::Unknown) => Verdict::unknown("the new matrix does not show it"),
        _ => in_time,
    };
    let said = super::super::matrix::then;
    let verdict = in_spite_of(unlike, verdict);
    row(of, "afterwards", (said(old), said(new), verdict))
}

fn exits(old: &Tried, new: &Tried) -> Option<Found> {
    let change = match (old.exits.is_empty(), new.exits.is_empty()) {
        (true, true) => return None,
        (true, false) => Change::Worse,
        (false, true) => Change::Better,
        (false, false) => Change::NoChange,
    };
    let said = |exits: &[String]| match exits {
        [] => "none".to_owned(),
        exits => exits.join("; "),
    };
    let verdict = Verdict::Fact(change, None);
    let values = (said(&old.exits), said(&new.exits), verdict);
    Some(row("the system", "instances that ended", values))
}

fn doubled(old: &Tried, new: &Tried) -> Option<Found> {
    let (before, after) = (old.doubling.as_ref()?, new.doubling.as_ref()?);
    let is = |one: &Doubling| match one {
        Doubling::Doubled { .. } => Some(true),
        Doubling::Once { .. } | Doubling::Nothing { .. } => Some(false),
        Doubling::Unknown { .. } => None,
    };
    let verdict = match (is(before), is(after)) {
        (Some(false), Some(true)) => Verdict::Fact(Change::Worse, None),
        (Some(true), Some(false)) => Verdict::Fact(Change::Better, None),
        (None, Some(true)) => Verdict::unknown("it was not seen before, and is so now"),
        (Some(_), None) => Verdict::unknown("the new matrix does not show it"),
        _ => Verdict::Fact(Change::NoChange, None),
    };
    let said = |one: &Doubling| {
        let text = match one {
            Doubling::Doubled { what, .. } | Doubling::Once { what } => what,
            Doubling::Nothing { why } | Doubling::Unknown { why } => why,
        };
        text.clone()
    };
    let values = (said(before), said(after), verdict);
    Some(row("the system", "done twice", values))
}

/// How often calls are tried, where both clients name their calls: no more certain than the policy of
/// a run, but what is said of all calls is no chance.
fn tries(old: &Cell, new: &Cell) -> Option<Found> {
    let (before, after) = (old.tries?, new.tries?);
    if !before.named || !after.named {
        return None;
    }
    let are_apart = before.high < after.low || after.high < before.low;
    let verdict = if !are_apart {
        Verdict::Fact(Change::NoChange, None)
    } else if before.calls.min(after.calls) < CALLS_MIN {
        Verdict::unknown(format!("fewer than {CALLS_MIN} calls"))
    } else {
        Verdict::Fact(Change::Changed, None)
    };
    let values = (before.to_string(), after.to_string(), verdict);
    Some(row(&new.load, "tries a call", values))
}

/// The fewest calls of both matrices that show how often calls are tried.
const CALLS_MIN: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        matrix::{Kind, State, sample},
        policy::{Aspect, Basis, Claim, Finding},
        report::diff::{FORMATS, Outcome},
    };

    impl Matrix {
        /// The matrix with its trials changed so.
        fn with(mut self, change: impl Fn(&mut Trial)) -> Self {
            self.trials.iter_mut().for_each(change);
            self
        }
    }

    fn compared(old: &Matrix, new: &Matrix) -> Diff {
        compare_matrices(("old/matrix.json", old), ("new/matrix.json", new), 0.2)
    }

    /// The change of a cell, by its load and what is measured.
    fn change(diff: &Diff, trial: &str, of: &str, what: &str) -> Option<Change> {
        let one = diff.scenarios.iter().find(|one| one.title == trial)?;
        let mut rows = one.rows.iter();
        let row = rows.find(|row| row.of == of && row.what == what)?;
        Some(row.change)
    }

    fn changed(kind: Kind, change: impl Fn(&mut Tried)) -> Matrix {
        sample().with(|trial| {
            if trial.aim.kind == kind
                && let State::Tried(tried) = &mut trial.state
            {
                change(tried);
            }
        })
    }

    #[test]
    fn the_same_matrix_twice_is_no_change_and_green() {
        let diff = compared(&sample(), &sample());
        assert!(diff.is_unchanged(), "{diff:#?}");
        assert_eq!(diff.outcome, Outcome::NoRegression, "{:?}", diff.untold);
    }

    #[test]
    fn a_cell_that_fails_now_is_worse_and_one_that_no_longer_does_is_better() {
        let fails = changed(Kind::Slow, |tried| {
            tried.cells[0].met = Met::Failed;
            tried.cells[0].counts.failed = 28;
            tried.cells[0].counts.ok = 0;
        });
        let diff = compared(&sample(), &fails);
        assert_eq!(
            change(&diff, "s3 slow", "train", "met with"),
            Some(Change::Worse)
        );
        assert_eq!(diff.outcome, Outcome::Regression);
        let diff = compared(&fails, &sample());
        assert_eq!(
            change(&diff, "s3 slow", "train", "met with"),
            Some(Change::Better)
        );
        assert_eq!(diff.outcome, Outcome::NoRegression);
        // From all to half of them, second by second, is certain; from 14 to 15 of 28 is not.
        let more = |failed: u64| {
            changed(Kind::Error, |tried| {
                tried.cells[0].counts.failed = failed;
                tried.cells[0].counts.ok = 280 - failed;
                tried.lasted_us = 70_000_000;
            })
        };
        let diff = compared(&more(140), &more(280));
        assert_eq!(
            change(&diff, "s3 error", "train", "not answered"),
            Some(Change::Worse)
        );
        let diff = compared(&more(140), &more(142));
        assert_eq!(
            change(&diff, "s3 error", "train", "not answered"),
            Some(Change::NoChange)
        );
    }

    #[test]
    fn wedged_ended_and_doubled_are_worse_and_their_twins_better() {
        let well = changed(Kind::Quota, |tried| {
            tried.aftermath = Aftermath::Steady {
                after_us: 1_200_000,
            };
            tried.cells[0].aftermath = tried.aftermath;
            tried.exits.clear();
        });
        let once = Some(Doubling::Once {
            what: "sent: 0 of 28".to_owned(),
        });
        let well = well.with(|trial| {
            if let State::Tried(tried) = &mut trial.state
                && tried.doubling.is_some()
            {
                tried.doubling.clone_from(&once);
            }
        });
        for (old, new, expected, outcome) in [
            (&well, &sample(), Change::Worse, Outcome::Regression),
            (&sample(), &well, Change::Better, Outcome::NoRegression),
        ] {
            let diff = compared(old, new);
            assert_eq!(diff.outcome, outcome);
            let quota = |of, what| change(&diff, "s3 quota", of, what);
            assert_eq!(quota("the system", "afterwards"), Some(expected));
            assert_eq!(quota("the system", "instances that ended"), Some(expected));
            let twice = change(&diff, "s3 lost-reply", "the system", "done twice");
            assert_eq!(twice, Some(expected));
        }
    }

    #[test]
    fn what_was_shown_and_is_not_shown_now_cannot_be_told() {
        let hidden = changed(Kind::Slow, |tried| tried.cells[0].met = Met::NotReached);
        // What was not shown before, and is well now, is no worse; but what is not well may be.
        for (met, outcome) in [
            (Met::Answered, Outcome::NoRegression),
            (Met::Degraded, Outcome::NoRegression),
            (Met::Held, Outcome::CannotBeTold),
            (Met::Failed, Outcome::CannotBeTold),
        ] {
            let shown = changed(Kind::Slow, |tried| tried.cells[0].met = met);
            let diff = compared(&hidden, &shown);
            assert_eq!(diff.outcome, outcome, "{met:?} {:?}", diff.untold);
        }
        let diff = compared(&sample(), &hidden);
        assert_eq!(diff.outcome, Outcome::CannotBeTold, "{diff:#?}");
        assert_eq!(diff.untold, ["of 1 cell it cannot be told"]);
        let mut fewer = sample();
        fewer.trials.retain(|one| one.aim.kind != Kind::Hang);
        let diff = compared(&sample(), &fewer);
        assert_eq!(diff.outcome, Outcome::CannotBeTold);
        assert_eq!(diff.only_old, ["s3 hang"]);
        assert_eq!(compared(&fewer, &sample()).outcome, Outcome::NoRegression);
        let unseen = changed(Kind::Slow, |tried| tried.aftermath = Aftermath::Unknown);
        assert_eq!(compared(&sample(), &unseen).outcome, Outcome::CannotBeTold);
        let mut sick = sample();
        sick.trials.clear();
        sick.reference.as_mut().unwrap().sick = Some("it is sick".to_owned());
        assert_eq!(compared(&sample(), &sick).outcome, Outcome::CannotBeTold);
        // What is worse is worse, whatever else cannot be told.
        let both = fewer.with(|trial| {
            if let (Kind::Slow, State::Tried(tried)) = (trial.aim.kind, &mut trial.state) {
                tried.aftermath = Aftermath::Wedged { watched_us: 1 };
            }
        });
        assert_eq!(compared(&sample(), &both).outcome, Outcome::Regression);
    }

    #[test]
    fn another_number_of_tries_is_a_changed_policy_and_another_delay_is_no_fair_comparison() {
        let tries = |low, high| {
            changed(Kind::Error, |tried| {
                let own = tried.cells[0].tries.as_mut().expect("it was tried");
                (own.low, own.high) = (low, high);
            })
        };
        let diff = compared(&tries(5, 5), &tries(3, 3));
        let clients = change(&diff, "s3 error", "train", "tries a call");
        assert_eq!(
            (clients, diff.outcome),
            (Some(Change::Changed), Outcome::Regression)
        );
        let allowed = diff.allowing_policy_changes();
        assert_eq!(allowed.outcome, Outcome::NoRegression);
        let diff = compared(&tries(1, 3), &tries(3, 3));
        assert_eq!(diff.outcome, Outcome::NoRegression);
        let later = sample().with(|trial| {
            if let Some(delay) = &mut trial.delay {
                delay.us *= 2;
            }
        });
        let diff = compared(&sample(), &later);
        let slow = diff.scenarios.iter().find(|one| one.title == "s3 slow");
        assert_eq!(
            slow.unwrap().unfair,
            ["it was 800ms late before, and 1.6s now"]
        );
        let p99 = change(&diff, "s3 slow", "train", "p99");
        assert_eq!(p99, Some(Change::CannotBeTold));
    }

    #[test]
    fn what_a_load_met_with_is_held_against_as_much_trouble_alone() {
        // The delay of the new matrix, in milliseconds; that of the sample is 800.
        let with = |millis: u64, met: Met| {
            changed(Kind::Slow, |tried| tried.cells[0].met = met).with(|trial| {
                if let Some(delay) = &mut trial.delay {
                    delay.us = millis * 1_000;
                }
            })
        };
        let (good, bad) = (Met::Answered, Met::Failed);
        for (old, new, late, expected) in [
            (good, bad, 800, Change::Worse),
            (good, bad, 1_600, Change::CannotBeTold),
            (good, bad, 400, Change::Worse),
            (bad, good, 800, Change::Better),
            (bad, good, 1_600, Change::Better),
            (bad, good, 400, Change::CannotBeTold),
            (good, good, 800, Change::NoChange),
            (good, good, 1_600, Change::NoChange),
            (good, good, 400, Change::CannotBeTold),
        ] {
            let diff = compared(&with(800, old), &with(late, new));
            let found = change(&diff, "s3 slow", "train", "met with");
            assert_eq!(found, Some(expected), "{old:?} {new:?} {late}");
            let outcome = match expected {
                Change::Worse => Outcome::Regression,
                Change::CannotBeTold => Outcome::CannotBeTold,
                _ => Outcome::NoRegression,
            };
            assert_eq!(diff.outcome, outcome, "{old:?} {new:?} {late}");
        }
        let wedged = with(1_600, good).with(|trial| {
            if let (Kind::Slow, State::Tried(tried)) = (trial.aim.kind, &mut trial.state) {
                tried.aftermath = Aftermath::Wedged {
                    watched_us: 30_000_000,
                };
            }
        });
        let diff = compared(&with(800, good), &wedged);
        let after = change(&diff, "s3 slow", "the system", "afterwards");
        assert_eq!(after, Some(Change::CannotBeTold));
    }

    #[test]
    fn the_slowest_hundredth_is_another_where_it_is_twice_as_long_and_no_pause() {
        let p99 = |before: u64, after: u64, operations: u64| {
            let of = |millis: u64| {
                changed(Kind::Slow, |tried| {
                    tried.cells[0].met = Met::Answered;
                    tried.cells[0].counts.ok = operations;
                    tried.cells[0].counts.failed = 0;
                    tried.cells[0].p99_us = millis * 1_000;
                })
            };
            let diff = compared(&of(before), &of(after));
            let change = change(&diff, "s3 slow", "train", "p99").expect("a row");
            (change, diff.outcome)
        };
        let green = Outcome::NoRegression;
        for (before, after, operations, expected) in [
            (20, 4_900, 300, (Change::Worse, Outcome::Regression)),
            (20, 4_900, 30, (Change::Worse, Outcome::Regression)),
            (4_900, 20, 300, (Change::Better, green)),
            (20, 110, 300, (Change::NoChange, green)),
            (1_000, 1_900, 300, (Change::NoChange, green)),
            (20, 400, 300, (Change::Worse, Outcome::Regression)),
            (20, 400, 30, (Change::CannotBeTold, green)),
        ] {
            let found = p99(before, after, operations);
            assert_eq!(found, expected, "{before} {after} {operations}");
        }
    }

    #[test]
    fn what_clients_do_is_compared_as_between_runs_or_by_how_long_they_waited() {
        let claim = |aspect, finding| Claim {
            dependency: "s3".into(),
            operation: Some("PutObject".into()),
            cause: None,
            window: Default::default(),
            aspect,
            detail: None,
            finding,
            samples: 40,
            basis: Basis::Headers,
        };
        let claims = |attempts: u64, millis: u64| {
            let (value_us, value) = (millis * 1_000, attempts);
            let time = Finding::Time {
                value_us,
                low_us: value_us - value_us / 50,
                high_us: value_us + value_us / 50,
                confidence: 0.95,
            };
            let count = Finding::Count {
                value,
                low: value,
                high: value,
            };
            let both = [
                claim(Aspect::Attempts, count),
                claim(Aspect::WholeCall, time),
            ];
            changed(Kind::Hang, |tried| tried.claims = both.to_vec())
        };
        let rows = |old: &Matrix, new: &Matrix| {
            let diff = compared(old, new);
            let hang = diff.scenarios.iter().find(|one| one.title == "s3 hang");
            let rows = hang.expect("a trial").rows.clone().into_iter();
            let own = rows.filter(|row| row.section == CLIENTS && row.what != "tries a call");
            let own: Vec<_> = own.map(|row| row.change).collect();
            (own, diff.outcome)
        };
        let (same, green) = (Change::NoChange, Outcome::NoRegression);
        let (was, is) = (claims(5, 6_100), claims(3, 170));
        assert_eq!(rows(&was, &was), (vec![same, same], green));
        let (found, outcome) = rows(&was, &is);
        assert_eq!(found, [Change::Changed, Change::Changed]);
        assert_eq!(outcome, Outcome::Regression);
        // What only one of them shows is no change, and is not left unsaid.
        let open = Change::CannotBeTold;
        assert_eq!(rows(&was, &sample()).0, [open, open]);
        assert_eq!(rows(&sample(), &was).0, [open, open]);
        // Of matrices that keep no claims, by the times alone.
        let waits = |low: u64, high: u64| {
            changed(Kind::Hang, |tried| {
                tried.waited_us = Some((low * 1_000, high * 1_000));
            })
        };
        let long = waits(5_800, 6_100);
        assert_eq!(rows(&long, &waits(6_000, 6_300)), (vec![same], green));
        let short = rows(&long, &waits(170, 170));
        assert_eq!(short, (vec![Change::Changed], Outcome::Regression));
        let unseen = rows(&long, &sample());
        assert_eq!(unseen, (vec![Change::CannotBeTold], green));
    }

    #[test]
    fn every_format_shows_it_and_the_terminal_fits() {
        let worse = changed(Kind::Slow, |tried| {
            tried.cells[0].met = Met::Failed;
            tried.cells[0].counts.failed = 28;
            tried.cells[0].counts.ok = 0;
        });
        let diff = compared(&sample(), &worse);
        for def in FORMATS {
            let bytes = anstream::adapter::strip_bytes(&(def.render)(&diff)).into_vec();
            let text = String::from_utf8(bytes).expect("text");
            assert!(
                text.contains("met with") && text.contains("100%"),
                "{}\n{text}",
                def.name
            );
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
