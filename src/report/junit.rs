//! `junit.xml`, for build servers: a test suite for each scenario, a test case for each
//! expectation. A fail is a `failure`; an inconclusive verdict, trouble of the run itself, faults
//! that did not act and instances that did not come up are `error`s, because neither may count as
//! passed, as something skipped would.
//!
//! The file keeps to the structure that Jenkins' xUnit plugin checks (`junit-10.xsd`), but for two
//! attributes of a test case: `file` and `line`, by which GitLab and the viewers for GitHub find the
//! scenario. A case has no properties, which that structure does not know and no viewer shows: what
//! was required and measured stands in its `system-out`, and of what is no pass, with the evidence,
//! in the text of the `failure` or `error`, which is all that GitLab shows. Cases are grouped by the
//! path of the scenario's file, as classes are by their packages.
//!
//! Of runs that were repeated a case is a requirement over all repeats. Builds know the form from
//! Maven's Surefire, Jenkins' xUnit plugin and cargo-nextest: what both passed and failed has a
//! `flakyFailure` for each repeat in which it failed, and, because a flake is no pass, a `failure`
//! as well, which is what nextest writes with `flaky-result = "fail"`; what never passed has a
//! `failure` and a `rerunFailure` (or `rerunError`) for each further repeat.

use super::{
    ReportDef, ScenarioReport, SuiteReport, Trouble,
    series::{self, RequirementSeries, ScenarioSeries, SeriesOutcome, SeriesReport},
    words::{self, account, injected, why},
    xml::Element,
};
use crate::{
    expectation::{DoubtAbout, Status, Verdict},
    units::Micros,
};
use std::path::{Component, Path};

/// The registry's entry.
pub const JUNIT: ReportDef = ReportDef {
    name: "junit",
    summary: "verdicts as test cases, for build servers",
    file: Some("junit.xml"),
    render,
};

/// The most repeats of a case that are told of one by one.
const RERUNS_MAX: usize = 20;

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    let suites: Vec<Suite> = match (&report.series, series::groups(report)) {
        (Some(all), Some(groups)) => {
            let suites = groups.into_iter();
            suites
                .filter_map(|(one, repeats)| Suite::of_series(all, one, repeats))
                .collect()
        }
        _ => report.scenarios.iter().map(Suite::of).collect(),
    };
    let micros = report.scenarios.iter().map(|one| one.duration_us).sum();
    let all: Vec<&Case> = suites.iter().flat_map(|suite| &suite.cases).collect();
    let mut root = counted(Element::new("testsuites").with("name", "brownout"), &all)
        .with("time", seconds(micros));
    root.extend(
        suites
            .iter()
            .enumerate()
            .map(|(id, suite)| suite.element(id)),
    );
    root.document().into_bytes()
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Errored,
}

/// A test case.
struct Case {
    name: String,
    micros: u64,
    line: Option<u64>,
    end: End,
    /// What kind of failure or error.
    kind: String,
    /// In one line.
    message: String,
    /// All that is known of a failure or error.
    text: String,
    /// What was measured, whatever came of it.
    output: String,
    /// Other repeats in which it did not pass.
    reruns: Vec<Rerun>,
}

/// A repeat in which a case did not pass.
struct Rerun {
    /// `flakyFailure`, `flakyError`, `rerunFailure` or `rerunError`.
    element: &'static str,
    kind: String,
    message: String,
    text: String,
}

/// A scenario's cases.
struct Suite<'a> {
    scenario: &'a ScenarioReport,
    cases: Vec<Case>,
    micros: u64,
    /// How it ended as a whole.
    status: String,
    /// What happened as a whole.
    account: String,
}

impl<'a> Suite<'a> {
    fn of(scenario: &'a ScenarioReport) -> Self {
        let mut cases = Vec::new();
        cases.extend(scenario.trouble.as_ref().map(trouble_case));
        cases.extend(doubts_cases(&scenario.doubts));
        cases.extend(scenario.verdicts.iter().map(verdict_case));
        Self {
            scenario,
            cases,
            micros: scenario.duration_us,
            status: scenario.status.to_string(),
            account: account_of(scenario),
        }
    }

    /// The cases of all repeats; nothing without a repeat.
    fn of_series(
        series: &SeriesReport,
        one: &ScenarioSeries,
        repeats: &'a [ScenarioReport],
    ) -> Option<Self> {
        let of_repeat = |repeat: &ScenarioReport, mut case: Case| {
            case.name = format!("{} (repeat {})", case.name, series::nth(repeat));
            case
        };
        let mut cases = Vec::new();
        for repeat in repeats {
            if let Some(trouble) = &repeat.trouble {
                cases.push(of_repeat(repeat, trouble_case(trouble)));
            }
            cases.extend(doubts_cases(&repeat.doubts).map(|case| of_repeat(repeat, case)));
        }
        let requirements = one.requirements.iter();
        cases.extend(requirements.map(|requirement| requirement_case(requirement, repeats)));
        let mut account = series::sentences(series, one);
        account.extend(repeats.iter().map(|repeat| {
            let (nth, status) = (series::nth(repeat), repeat.status);
            format!("repeat {nth} {status}: {}", repeat.repeat)
        }));
        Some(Self {
            scenario: repeats.first()?,
            cases,
            micros: repeats.iter().map(|repeat| repeat.duration_us).sum(),
            status: one.outcome.to_string(),
            account: account.join("\n"),
        })
    }

    fn element(&self, id: usize) -> Element {
        let scenario = self.scenario;
        let all: Vec<&Case> = self.cases.iter().collect();
        // Those who wrote the structure allow neither fractions nor a zone; it is UTC.
        let began = scenario.began.get(..19).unwrap_or(&scenario.began);
        let mut suite = counted(
            Element::new("testsuite").with("name", &scenario.title),
            &all,
        )
        .with("skipped", 0)
        .with("time", seconds(self.micros))
        .with("timestamp", began)
        .with("id", id)
        .with("file", &scenario.file);
        suite.extend([properties(scenario, &self.status)]);
        let class = class_name(&scenario.file);
        suite.extend(self.cases.iter().map(|case| case.element(scenario, &class)));
        suite.extend([Element::of_text("system-out", &self.account)]);
        suite
    }
}

impl Case {
    fn element(&self, scenario: &ScenarioReport, class: &str) -> Element {
        let mut case = Element::new("testcase")
            .with("name", &self.name)
            .with("classname", class)
            .with("time", seconds(self.micros))
            .with("file", &scenario.file);
        if let Some(line) = self.line {
            case = case.with("line", line);
        }
        let name = match self.end {
            End::Passed => None,
            End::Failed => Some("failure"),
            End::Errored => Some("error"),
        };
        case.extend(name.map(|name| {
            Element::of_text(name, &self.text)
                .with("type", &self.kind)
                .with("message", &self.message)
        }));
        case.extend(self.reruns.iter().map(Rerun::element));
        if !self.output.is_empty() {
            case.extend([Element::of_text("system-out", &self.output)]);
        }
        case
    }
}

impl Rerun {
    fn of(element: &'static str, repeat: &ScenarioReport, verdict: &Verdict) -> Self {
        let which = format!("repeat {} (seed {})", series::nth(repeat), repeat.seed);
        Self {
            element,
            kind: verdict.status.to_string(),
            message: format!("{which}: {}", why(verdict)),
            text: format!("{which}\n{}", explanation(verdict)),
        }
    }

    fn element(&self) -> Element {
        let mut element = Element::new(self.element)
            .with("type", &self.kind)
            .with("message", &self.message);
        element.extend([Element::of_text("stackTrace", &self.text)]);
        element
    }
}

/// How many cases there are and how many ended badly.
fn counted(element: Element, cases: &[&Case]) -> Element {
    let ended = |end| cases.iter().filter(|case| case.end == end).count();
    element
        .with("tests", cases.len())
        .with("failures", ended(End::Failed))
        .with("errors", ended(End::Errored))
}

fn properties(scenario: &ScenarioReport, status: &str) -> Element {
    let mut properties = Element::new("properties");
    let mut known = vec![
        ("brownout.status", status.to_owned()),
        ("brownout.system", scenario.system.clone()),
        ("brownout.seed", scenario.seed.to_string()),
        ("brownout.speed", scenario.speed.to_string()),
        ("brownout.began", scenario.began.clone()),
        ("brownout.repeat", scenario.repeat.clone()),
    ];
    if let Some(history) = &scenario.history {
        known.push(("brownout.history", history.clone()));
    }
    if !scenario.tags.is_empty() {
        known.push(("brownout.tags", scenario.tags.join(" ")));
    }
    properties.extend(known.into_iter().map(|(name, value)| {
        let property = Element::new("property");
        property.with("name", name).with("value", value)
    }));
    properties
}

/// What happened in a scenario as a whole.
fn account_of(scenario: &ScenarioReport) -> String {
    let mut lines = Vec::new();
    if scenario.phases.iter().any(|phase| phase.began.is_some()) {
        lines.push(format!("injected: {}", injected(scenario)));
    }
    let ledgers = scenario.ledgers.iter();
    lines.extend(ledgers.map(|ledger| format!("ledger {}", account(ledger))));
    lines.push(format!("run again: {}", scenario.repeat));
    lines.join("\n")
}

/// The scenario's path as the name of a class in its package: `tests.outages.s3`.
fn class_name(file: &str) -> String {
    let path = Path::new(file).with_extension("");
    let parts: Vec<String> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().replace('.', "_")),
            _ => None,
        })
        .collect();
    parts.join(".")
}

fn trouble_case(trouble: &Trouble) -> Case {
    let detail = trouble.detail.as_deref().unwrap_or_default();
    Case {
        name: "the scenario runs to its end".to_owned(),
        micros: 0,
        line: None,
        end: End::Errored,
        kind: trouble.kind.heading().to_owned(),
        message: trouble.message.clone(),
        text: format!("{}\n{detail}", trouble.message)
            .trim_end()
            .to_owned(),
        output: String::new(),
        reruns: Vec::new(),
    }
}

/// One for all doubts that are about the same.
fn doubts_cases(doubts: &[String]) -> impl Iterator<Item = Case> {
    words::doubts(doubts).map(|(about, doubts)| Case {
        name: match about {
            DoubtAbout::Fault => "faults acted",
            DoubtAbout::Instance => "instances came up",
            DoubtAbout::Other => "nothing is in doubt",
        }
        .to_owned(),
        micros: 0,
        line: None,
        end: End::Errored,
        kind: Status::Inconclusive.to_string(),
        message: doubts.join("; "),
        text: doubts.join("\n"),
        output: String::new(),
        reruns: Vec::new(),
    })
}

fn verdict_case(verdict: &Verdict) -> Case {
    let (from, to) = verdict.window;
    Case {
        name: format!("{}: {}", verdict.id, verdict.that),
        micros: Micros::from(to.since(from)).0,
        line: verdict.place.as_ref().map(|place| place.line),
        end: match verdict.status {
            Status::Pass => End::Passed,
            Status::Fail => End::Failed,
            Status::Inconclusive => End::Errored,
        },
        kind: verdict.status.to_string(),
        message: why(verdict),
        text: explanation(verdict),
        output: figures(verdict),
        reruns: Vec::new(),
    }
}

/// A requirement over all repeats. What is told first is the first repeat in which it ended as it
/// did as a whole.
fn requirement_case(one: &RequirementSeries, repeats: &[ScenarioReport]) -> Case {
    let (end, status) = match one.outcome {
        SeriesOutcome::Pass => (End::Passed, Status::Pass),
        SeriesOutcome::Flake | SeriesOutcome::Fail => (End::Failed, Status::Fail),
        SeriesOutcome::Inconclusive => (End::Errored, Status::Inconclusive),
    };
    let is_flake = one.outcome == SeriesOutcome::Flake;
    let failures = series::all(repeats, &one.id, Status::Fail);
    let errors = series::all(repeats, &one.id, Status::Inconclusive);
    let mut others: Vec<Rerun> = failures
        .map(|(repeat, verdict)| {
            let name = if is_flake {
                "flakyFailure"
            } else {
                "rerunFailure"
            };
            Rerun::of(name, repeat, verdict)
        })
        .chain(errors.map(|(repeat, verdict)| {
            let name = if is_flake { "flakyError" } else { "rerunError" };
            Rerun::of(name, repeat, verdict)
        }))
        .collect();
    // The first repeat of a flake is told beside the others: the case's own failure is that it is
    // a flake.
    if !is_flake && !others.is_empty() {
        others.remove(0);
    }
    others.truncate(RERUNS_MAX);
    let summary = series::why(one);
    let first = series::first(repeats, &one.id, status).map(|(_, verdict)| verdict);
    let told = first.map_or_else(String::new, explanation);
    Case {
        name: format!("{}: {}", one.id, one.that),
        micros: first.map_or(0, |verdict| {
            Micros::from(verdict.window.1.since(verdict.window.0)).0
        }),
        line: one.place.as_ref().map(|place| place.line),
        end,
        kind: one.outcome.to_string(),
        message: match first {
            Some(verdict) if !is_flake => format!("{summary}: {}", why(verdict)),
            _ => summary.clone(),
        },
        text: format!("{summary}\n{told}").trim_end().to_owned(),
        output: format!(
            "repeats   {}\nfails in  {}",
            series::tally(one.counts),
            series::bound(one.failing)
        ),
        reruns: others,
    }
}

/// Why it is no pass, and what was seen.
fn explanation(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    if let Some(reason) = &verdict.reason {
        lines.push(format!("because   {reason}"));
    }
    lines.push(format!("required  {}", verdict.required));
    lines.push(format!("measured  {}", verdict.measured));
    for (nth, seen) in verdict.evidence.iter().enumerate() {
        let name = if nth == 0 { "seen" } else { "" };
        lines.push(format!("{name:<9} {} {}", moment(seen.at), seen.what));
    }
    if let Some(place) = &verdict.place {
        lines.push(format!("at        {}:{}", place.file, place.line));
    }
    lines.join("\n")
}

/// What was required and measured, and when.
fn figures(verdict: &Verdict) -> String {
    let (from, to) = verdict.window;
    let phases = verdict.phases.join(", ");
    let during = format!("{phases} ({} to {})", moment(from), moment(to));
    [
        ("kind", verdict.kind.as_str()),
        ("required", &verdict.required),
        ("measured", &verdict.measured),
        ("samples", &verdict.count.to_string()),
        ("during", during.trim_start()),
    ]
    .map(|(name, value)| format!("{name:<9} {value}"))
    .join("\n")
}

fn moment(at: Micros) -> String {
    format!("{:.3}s", at.as_secs_f64())
}

fn seconds(micros: u64) -> String {
    format!("{:.3}", Micros(micros).as_secs_f64())
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
    fn a_pass_a_fail_and_what_is_inconclusive_are_told_apart() {
        insta::assert_snapshot!("passing", xml(&sample::all(Status::Pass)));
        insta::assert_snapshot!("failing", xml(&sample::all(Status::Fail)));
        insta::assert_snapshot!("inconclusive", xml(&sample::all(Status::Inconclusive)));
    }

    #[test]
    fn only_a_pass_is_a_case_without_a_failure_or_error_and_nothing_is_skipped() {
        for (status, failures, errors) in [
            (Status::Pass, 0, 0),
            (Status::Fail, 1, 0),
            (Status::Inconclusive, 0, 1),
        ] {
            let text = xml(&sample::all(status));
            let counts = format!("tests=\"1\" failures=\"{failures}\" errors=\"{errors}\"");
            assert_eq!(text.matches(&counts).count(), 2, "{text}");
            assert_eq!(text.matches("<failure ").count(), failures);
            assert_eq!(text.matches("<error ").count(), errors);
            assert!(!text.contains("<skipped"), "{text}");
        }
    }

    #[test]
    fn a_flake_is_a_failure_with_every_repeat_in_which_it_failed() {
        insta::assert_snapshot!("series", xml(&crate::report::series::sample::suite()));
    }

    #[test]
    fn markup_and_control_characters_in_evidence_stay_text() {
        let mut report = sample::suite();
        report.scenarios[0].verdicts[1].evidence[0].what = "<b>&\u{0}\u{1b}[31mred".to_owned();
        let text = xml(&report);
        assert!(text.contains("&lt;b&gt;&amp;red"), "{text}");
    }

    #[test]
    fn scenarios_are_grouped_by_their_folders() {
        assert_eq!(
            class_name("./tests/outages/s3.v1.2.toml"),
            "tests.outages.s3_v1_2"
        );
        assert_eq!(class_name("../s3.toml"), "s3");
    }
}
