//! `junit.xml`, for build servers: a test suite for each scenario, a test case for each
//! expectation. A fail is a `failure`; an inconclusive verdict, trouble of the run itself and faults
//! that did not act are `error`s, because neither may count as passed.

use super::{ReportDef, ScenarioReport, SuiteReport, Trouble, words::why};
use crate::expectation::{Status, Verdict};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::{path::Path, time::Duration};

/// The registry's entry.
pub const JUNIT: ReportDef = ReportDef {
    name: "junit",
    summary: "verdicts as test cases, for build servers",
    file: Some("junit.xml"),
    render,
};

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    let mut junit = Report::new("brownout");
    let micros: u64 = report
        .scenarios
        .iter()
        .map(|scenario| scenario.duration_us)
        .sum();
    junit.set_time(Duration::from_micros(micros));
    junit.add_test_suites(report.scenarios.iter().map(test_suite));
    let mut bytes = Vec::new();
    junit
        .serialize(&mut bytes)
        .expect("XML is written to memory");
    bytes
}

fn test_suite(scenario: &ScenarioReport) -> TestSuite {
    let mut suite = TestSuite::new(&scenario.title);
    suite.set_time(Duration::from_micros(scenario.duration_us));
    for (name, value) in [
        ("file", scenario.file.clone()),
        ("system", scenario.system.clone()),
        ("seed", scenario.seed.to_string()),
        ("speed", scenario.speed.to_string()),
        ("began", scenario.began.clone()),
        ("status", scenario.status.to_string()),
        ("repeat", scenario.repeat.clone()),
    ] {
        suite.add_property(Property::new(name, value));
    }
    if let Some(history) = &scenario.history {
        suite.add_property(Property::new("history", history));
    }
    for ledger in &scenario.ledgers {
        let name = format!("ledger {}", ledger.name);
        suite.add_property(Property::new(name, ledger.summary()));
    }
    let class = class_name(&scenario.file);
    if let Some(trouble) = &scenario.trouble {
        suite.add_test_case(trouble_case(trouble, &class));
    }
    if !scenario.doubts.is_empty() {
        suite.add_test_case(doubts_case(&scenario.doubts, &class));
    }
    suite.add_test_cases(
        scenario
            .verdicts
            .iter()
            .map(|verdict| verdict_case(verdict, &class)),
    );
    suite
}

fn class_name(file: &str) -> String {
    Path::new(file).file_stem().map_or_else(
        || file.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

fn trouble_case(trouble: &Trouble, class: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status
        .set_type(trouble.kind.heading())
        .set_message(&trouble.message);
    let mut case = TestCase::new("the scenario runs to its end", status);
    case.set_classname(class);
    if let Some(detail) = &trouble.detail {
        case.set_system_out(detail);
    }
    case
}

fn doubts_case(doubts: &[String], class: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status
        .set_type(Status::Inconclusive.to_string())
        .set_message(doubts.join("; "));
    let mut case = TestCase::new("faults acted", status);
    case.set_classname(class);
    case
}

fn verdict_case(verdict: &Verdict, class: &str) -> TestCase {
    let mut status = match verdict.status {
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if verdict.status != Status::Pass {
        status
            .set_type(verdict.status.to_string())
            .set_message(why(verdict));
    }
    let name = format!("{}: {}", verdict.id, verdict.that);
    let mut case = TestCase::new(name, status);
    let (from, to) = verdict.window;
    case.set_classname(class).set_time(to.since(from));
    for (name, value) in [
        ("kind", verdict.kind.clone()),
        ("required", verdict.required.clone()),
        ("measured", verdict.measured.clone()),
        ("samples", verdict.count.to_string()),
        ("phases", verdict.phases.join(", ")),
    ] {
        case.add_property(Property::new(name, value));
    }
    if !verdict.evidence.is_empty() {
        case.set_system_out(evidence(verdict));
    }
    case
}

fn evidence(verdict: &Verdict) -> String {
    let lines: Vec<String> = verdict
        .evidence
        .iter()
        .map(|seen| format!("{:.3}s {}", seen.at.as_secs_f64(), seen.what))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn xml(report: &SuiteReport) -> String {
        String::from_utf8(render(report)).unwrap()
    }

    #[test]
    fn fails_are_failures_and_all_that_proves_nothing_is_an_error() {
        insta::assert_snapshot!(xml(&sample::suite()));
    }

    #[test]
    fn markup_and_control_characters_in_evidence_stay_text() {
        let mut report = sample::suite();
        report.scenarios[0].verdicts[1].evidence[0].what = "<b>&\u{0}\u{1b}[31mred".to_owned();
        let text = xml(&report);
        assert!(text.contains("&lt;b&gt;&amp;red"), "{text}");
    }
}
