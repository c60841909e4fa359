//! `report.html`: one file for people, which needs no network and no scripts.
//!
//! Tables and charts are drawn here, as HTML and inline SVG; the script only adds a cursor and a zoom
//! shared by the charts of a scenario. Whatever comes from files or from the wire is text:
//! [`maud`] escapes it, and the page's own policy lets nothing run but our script and nothing be
//! fetched.
//!
//! Alternative considered: a chart library (uPlot). It draws on a canvas, so that every chart would
//! have to be drawn twice, here for those without scripts and for print, and there for the
//! others; and a canvas can neither be read out nor printed well.

mod charts;
mod conduct;
pub(super) mod diff;
mod faults;
mod figures;
mod glossary;
mod headline;
pub(super) mod matrix;
pub(super) mod metastability;
mod plot;
mod recovery;
mod repeat;
mod requirements;
mod series;
mod text;
mod waterfall;

use super::{ReportDef, ScenarioReport, SuiteReport, series::groups, words::counted};
use base64::{Engine, engine::general_purpose::STANDARD};
use headline::{badge, why};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use text::{prose, span};

/// The registry's entry.
pub const HTML: ReportDef = ReportDef {
    name: "html",
    summary: "a page to read, print and keep: timeline, verdicts, evidence",
    file: Some("report.html"),
    render,
};

/// The colours stand apart: the live page of `brownout serve` has the same.
pub(super) const STYLE: &str = concat!(include_str!("palette.css"), include_str!("style.css"));
const SCRIPT: &str = include_str!("script.js");

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    page(report).into_string().into_bytes()
}

fn page(report: &SuiteReport) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title(report), &report.brownout, &policy()))
            body {
                a.skip href="#report" { "Skip to the report" }
                (masthead(report))
                main id="report" {
                    @if let (Some(all), Some(groups)) = (&report.series, groups(report)) {
                        (series::series(all, &groups))
                    } @else {
                        @if report.scenarios.len() != 1 { (overview(report)) }
                        @for (nth, one) in report.scenarios.iter().enumerate() {
                            (scenario(nth + 1, one, &report.brownout))
                        }
                    }
                    (glossary::glossary())
                }
                (footer(&report.brownout))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The head of a page, which may do what the policy says.
fn head(title: &str, brownout: &str, policy: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="color-scheme" content="light dark";
            meta name="generator" content={ "Brownout " (brownout) };
            title { (title) }
            link rel="icon" href="data:,";
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// Who wrote a page.
fn footer(brownout: &str) -> Markup {
    html! {
        footer {
            "Written by Brownout " (brownout)
            ". This file needs no network; it can be kept, sent and printed as it is."
        }
    }
}

/// What every page may do: look as it is meant to, and fetch nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The same, and run the one script that we wrote.
fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    format!("{POLICY}; script-src 'sha256-{}'", STANDARD.encode(digest))
}

fn title(report: &SuiteReport) -> String {
    if let Some(groups) = groups(report) {
        return series::title(&groups);
    }
    match report.scenarios.as_slice() {
        [one] => format!("{}: {}", report.status, one.title),
        many => format!(
            "{}: {}, Brownout",
            report.status,
            counted(many.len() as u64, "scenario")
        ),
    }
}

fn masthead(report: &SuiteReport) -> Markup {
    html! {
        header.masthead {
            h1.product { "Brownout" span.muted { " · outage rehearsal" } }
            p.muted {
                time datetime=(report.began) { (text::stamp(&report.began)) }
                " · seed " (report.seed)
                " · version " (report.brownout)
            }
        }
    }
}

/// All scenarios at a glance.
fn overview(report: &SuiteReport) -> Markup {
    html! {
        section.overview aria-labelledby="overview" {
            h2 id="overview" {
                (badge(report.status))
                " " (counted(report.scenarios.len() as u64, "scenario"))
            }
            @if report.scenarios.is_empty() {
                p { "Nothing was run, so nothing is shown." }
            }
            div.scroll tabindex="0" role="group" aria-label="all scenarios" {
                table.plain.cards {
                    thead { tr {
                        th scope="col" { "Verdict" }
                        th scope="col" { "Scenario" }
                        th scope="col" { "System" }
                        th.number scope="col" { "Requirements met" }
                        th.number scope="col" { "Steady again after" }
                        th.number scope="col" { "Took" }
                    } }
                    // Each scenario has a body of its own: on a narrow screen it is a card.
                    @for (nth, one) in report.scenarios.iter().enumerate() {
                        tbody { tr {
                            td { (badge(one.status)) }
                            th scope="row" { a href={ "#s" (nth + 1) } { (one.title) } }
                            td data-label="System" { (one.system) }
                            td.number data-label="Met" { (met(one)) }
                            td.number data-label="Steady again" { (steady_again(one)) }
                            td.number data-label="Took" { (span(one.duration_us)) }
                        } }
                    }
                }
            }
        }
    }
}

fn met(scenario: &ScenarioReport) -> String {
    let passed = scenario.count(crate::expectation::Status::Pass);
    format!("{passed} of {}", scenario.verdicts.len())
}

fn steady_again(scenario: &ScenarioReport) -> String {
    match &scenario.recovery {
        None => "–".to_owned(),
        Some(recovery) if recovery.untold.is_some() => "cannot be told".to_owned(),
        Some(recovery) if recovery.steady.is_none() => {
            format!("not in {}", span(recovery.took_us))
        }
        Some(recovery) => span(recovery.took_us),
    }
}

/// One scenario, from its verdict to the command that repeats it.
fn scenario(nth: usize, one: &ScenarioReport, brownout: &str) -> Markup {
    let id = format!("s{nth}");
    html! {
        section.scenario id=(id) aria-labelledby={ (id) "-title" } {
            header {
                h2 id={ (id) "-title" } { (one.title) }
                div class={ "verdict " (one.status) } {
                    (badge(one.status))
                    p.why { (why(&id, one)) }
                }
                (headline::origin(one))
            }
            (headline::trouble(one))
            (headline::doubts(one))
            (headline::story(one))
            (headline::contents(&id, one))
            (headline::phases(&id, one))
            (requirements::requirements(&id, one))
            (charts::charts(&id, one))
            (recovery::recovery(&id, one))
            (faults::injected(&id, one))
            (conduct::conduct(&id, one))
            (figures::figures(&id, one))
            (repeat::repeat(&id, one, brownout))
        }
    }
}

/// A heading of a part of a scenario, to be linked to.
fn heading(id: &str, part: &str, title: &str) -> Markup {
    html! { h3 id={ (id) "-" (part) } { (prose(title)) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn rendered(report: &SuiteReport) -> String {
        String::from_utf8(render(report)).unwrap()
    }

    #[test]
    fn the_page_keeps_its_shape() {
        let page = rendered(&sample::suite());
        let page = page.replace(STYLE, "(style)").replace(SCRIPT, "(script)");
        let page = page.replace(&policy(), "(policy)");
        let page = page.replace(env!("CARGO_PKG_VERSION"), "(version)");
        // A line for each element, so that a difference can be read.
        insta::assert_snapshot!(page.replace("><", ">\n<"));
    }

    #[test]
    fn the_page_of_repeated_runs_keeps_its_shape_and_has_nothing_foreign() {
        let mut suite = crate::report::series::sample::suite();
        let page = |suite: &SuiteReport| {
            let page = rendered(suite);
            let page = page.replace(STYLE, "(style)").replace(SCRIPT, "(script)");
            page.replace(&policy(), "(policy)")
                .replace(env!("CARGO_PKG_VERSION"), "(version)")
        };
        let good = page(&suite);
        insta::assert_snapshot!("series", good.replace("><", ">\n<"));
        assert!(
            good.contains("href=\"./ada-2017-s3/repeat-2/report.html\""),
            "{good}"
        );
        let evil = "</td><script>alert(1)</script>\"'><img src=x>";
        for one in &mut suite.scenarios {
            one.title = evil.to_owned();
            one.repeat = evil.to_owned();
            one.system = evil.to_owned();
            one.repetition.as_mut().unwrap().folder = format!("javascript:{evil}");
            for verdict in &mut one.verdicts {
                verdict.id = evil.to_owned();
                verdict.that = evil.to_owned();
                verdict.measured = evil.to_owned();
            }
        }
        let bad = page(&suite.repeated(Some(4), false));
        assert!(
            !bad.contains("<script>alert") && !bad.contains("<img"),
            "{bad}"
        );
        assert!(!bad.contains("href=\"javascript:"), "{bad}");
    }

    #[test]
    fn what_comes_from_files_and_the_wire_is_text_and_never_markup() {
        let mut report = sample::suite();
        let evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&";
        let one = &mut report.scenarios[0];
        one.title = evil.to_owned();
        one.story = Some(evil.to_owned());
        one.system = evil.to_owned();
        one.repeat = evil.to_owned();
        one.incident.as_mut().unwrap().source = Some(format!("javascript:{evil}"));
        one.phases[0].name = evil.to_owned();
        one.phases[0].happened = Some(evil.to_owned());
        one.faults[0].label = evil.to_owned();
        one.loads[0].name = evil.to_owned();
        one.dependencies[0].name = evil.to_owned();
        one.timeline.loads[0].name = evil.to_owned();
        one.timeline.dependencies[0].name = evil.to_owned();
        one.timeline.instances[0].spans[0].because = evil.to_owned();
        one.timeline.ledgers[0].name = evil.to_owned();
        one.traces[0].spans[0].what = evil.to_owned();
        for verdict in &mut one.verdicts {
            verdict.id = evil.to_owned();
            verdict.that = evil.to_owned();
            verdict.required = evil.to_owned();
            verdict.measured = evil.to_owned();
            verdict.reason = Some(evil.to_owned());
            for seen in &mut verdict.evidence {
                seen.what = evil.to_owned();
            }
        }
        let page = rendered(&report);
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
        assert!(!page.contains("href=\"javascript:"));
        assert_eq!(page.matches("<script>").count(), 1);
    }

    #[test]
    fn nothing_in_the_page_points_to_the_network() {
        let page = rendered(&sample::suite());
        for text in [
            "src=",
            "url(http",
            "@import",
            "<link rel=\"stylesheet",
            "fetch(",
        ] {
            assert!(!page.contains(text), "{text}");
        }
    }

    #[test]
    fn a_suite_without_a_scenario_says_so() {
        let report = SuiteReport::new(String::new(), 1, Vec::new());
        assert!(rendered(&report).contains("Nothing was run"));
    }
}
