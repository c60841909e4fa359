use super::{words::named, *};
use crate::{
    report::{REPORTS, Trouble, TroubleKind},
    statistics::{Decision, Sides},
};
use Status::{Fail, Inconclusive, Pass};

/// Repeats of a scenario with one requirement.
fn repeats(statuses: &[Status]) -> Vec<ScenarioReport> {
    (1..)
        .zip(statuses)
        .map(|(nth, status)| {
            let mut one = sample::repeat(nth, [*status; 3]);
            one.verdicts.truncate(1);
            one.status = ScenarioReport::merged(&one.verdicts, None, &[]);
            one
        })
        .collect()
}

fn of(statuses: &[Status], asked: u32) -> ScenarioSeries {
    let mut series = SeriesReport::of(Some(asked), false, &repeats(statuses));
    assert_eq!(series.scenarios.len(), 1);
    series.scenarios.remove(0)
}

#[test]
fn what_both_passed_and_failed_is_a_flake_and_a_flake_is_a_fail() {
    for (statuses, outcome, status) in [
        (&[Pass, Pass][..], SeriesOutcome::Pass, Pass),
        (&[Pass, Fail], SeriesOutcome::Flake, Fail),
        (&[Fail, Pass, Inconclusive], SeriesOutcome::Flake, Fail),
        (&[Fail, Fail], SeriesOutcome::Fail, Fail),
        (&[Fail, Inconclusive], SeriesOutcome::Fail, Fail),
        (
            &[Pass, Inconclusive],
            SeriesOutcome::Inconclusive,
            Inconclusive,
        ),
        (&[Inconclusive], SeriesOutcome::Inconclusive, Inconclusive),
    ] {
        let one = of(statuses, 3);
        assert_eq!(one.outcome, outcome, "{statuses:?}");
        assert_eq!(one.requirements[0].outcome, outcome, "{statuses:?}");
        assert_eq!(one.outcome.status(), status, "{statuses:?}");
        // The report as a whole is as bad as its worst repeat, which is the same thing.
        let suite = SuiteReport::new(String::new(), 1, repeats(statuses));
        assert_eq!(suite.repeated(Some(3), false).status, status);
    }
    assert_eq!(Counts::default().outcome(), SeriesOutcome::Inconclusive);
}

#[test]
fn bounds_are_of_the_runs_that_passed_or_failed() {
    let one = of(&[Pass, Pass, Pass, Inconclusive], 4);
    let found = one.failing.unwrap();
    assert_eq!((found.low, found.sides), (0.0, Sides::Upper));
    assert!((found.high - 0.6316).abs() < 1e-9, "{found:?}");
    assert_eq!(of(&[Inconclusive], 1).failing, None);
    let flaky = of(&[Pass, Fail], 2).failing.unwrap();
    assert_eq!(flaky.sides, Sides::Both);
    assert!(flaky.low < 0.02 && flaky.high > 0.98, "{flaky:?}");
}

#[test]
fn it_says_why_there_are_no_more_repeats() {
    assert_eq!(of(&[Pass; 3], 3).ended, SeriesEnd::Complete);
    let reliable = of(&[Pass; 15], 20);
    assert_eq!(reliable.ended, SeriesEnd::Decided);
    let found = reliable.decided.unwrap();
    assert_eq!((found.decision, found.after), (Decision::Reliable, 15));
    assert_eq!(of(&[Fail, Fail], 20).ended, SeriesEnd::Decided);
    // Inconclusive repeats decide nothing.
    assert_eq!(of(&[Inconclusive; 20], 20).decided, None);
    assert_eq!(of(&[Pass; 3], 20).ended, SeriesEnd::CutShort);
    // Where all are wanted nothing is ended by what the test decides.
    let all = |made: usize| {
        let series = SeriesReport::of(Some(20), true, &repeats(&vec![Pass; made]));
        (
            series.scenarios[0].ended,
            series.scenarios[0].decided.is_some(),
        )
    };
    assert_eq!(all(16), (SeriesEnd::CutShort, true));
    assert_eq!(all(20), (SeriesEnd::Complete, true));
    let mut broken = repeats(&[Pass, Inconclusive]);
    for (kind, ended) in [
        (TroubleKind::NotStarted, SeriesEnd::Trouble),
        (TroubleKind::Interrupted, SeriesEnd::CutShort),
    ] {
        broken[1].trouble = Some(Trouble {
            kind,
            message: "no".to_owned(),
            detail: None,
        });
        let series = SeriesReport::of(Some(2), false, &broken);
        assert_eq!(series.scenarios[0].ended, ended);
    }
}

#[test]
fn several_scenarios_are_told_apart_and_a_repeat_without_verdicts_is_inconclusive() {
    let mut all = repeats(&[Pass, Fail]);
    let mut other = repeats(&[Pass, Pass]);
    for one in &mut other {
        one.file = "other.toml".to_owned();
    }
    other[1].verdicts.clear();
    other[1].status = Inconclusive;
    all.extend(other);
    let report = SuiteReport::new(String::new(), 1, all).repeated(Some(2), false);
    let groups = groups(&report).unwrap();
    let sizes: Vec<usize> = groups.iter().map(|(_, own)| own.len()).collect();
    assert_eq!(sizes, [2, 2]);
    let second = &groups[1].0.requirements[0];
    assert_eq!(second.outcome, SeriesOutcome::Inconclusive);
    assert_eq!(second.inconclusive_in, [2]);
}

#[test]
fn the_same_scenario_twice_is_two_series() {
    let mut all = repeats(&[Pass, Fail]);
    all.extend(repeats(&[Pass]));
    let series = SeriesReport::of(Some(2), false, &all);
    let sizes: Vec<usize> = series
        .scenarios
        .iter()
        .map(|one| one.repeats.len())
        .collect();
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn a_person_sees_the_flake_named_with_its_bounds_and_the_seed_of_its_first_failure() {
    let report = sample::suite();
    let text = String::from_utf8((REPORTS[0].render)(&report)).unwrap();
    let text = anstream::adapter::strip_str(&text).to_string();
    insta::assert_snapshot!("terminal", text);
    for line in text.lines() {
        let copied = ["written", "history", "run again"]
            .iter()
            .any(|word| line.starts_with(word));
        assert!(copied || line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_summary_of_a_series_keeps_its_shape() {
    let summary = REPORTS.iter().find(|def| def.name == "summary").unwrap();
    let text = String::from_utf8((summary.render)(&sample::suite())).unwrap();
    insta::assert_snapshot!("summary", text);
}

#[test]
fn a_report_of_a_series_reads_back() {
    let mut report = sample::suite();
    let json = REPORTS.iter().find(|def| def.name == "json").unwrap();
    let back: SuiteReport = serde_json::from_slice(&(json.render)(&report)).unwrap();
    for scenario in &mut report.scenarios {
        scenario.timeline = Default::default();
        scenario.traces.clear();
    }
    assert_eq!(back, report);
}

#[test]
fn bounds_and_repeats_are_said_in_few_words() {
    assert_eq!(
        bound(
            Counts {
                passed: 10,
                ..Counts::default()
            }
            .failing()
        ),
        "at most 26%"
    );
    assert_eq!(
        bound(
            Counts {
                failed: 3,
                ..Counts::default()
            }
            .failing()
        ),
        "at least 37%"
    );
    assert_eq!(
        bound(
            Counts {
                passed: 8,
                failed: 2,
                inconclusive: 1
            }
            .failing()
        ),
        "2.5% to 56%"
    );
    assert_eq!(bound(None), "not known");
    assert_eq!(named(&[3]), "repeat 3");
    assert_eq!(named(&[3, 7]), "repeats 3 and 7");
    assert_eq!(named(&[1, 2, 3]), "repeats 1, 2 and 3");
    let many: Vec<u32> = (1..=10).collect();
    assert_eq!(named(&many), "repeats 1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
}
