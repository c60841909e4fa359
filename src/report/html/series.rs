//! The page of repeated runs: what became of every requirement over all of them, and a link to each
//! repeat's own report.

use super::{
    headline::badge,
    text::{percent, prose, span},
};
use crate::{
    expectation::Status,
    report::{
        ScenarioReport,
        series::{
            Counts, Group, RequirementSeries, ScenarioSeries, SeriesOutcome, SeriesReport, bound,
            first, mark, nth, sentences, why,
        },
        words::counted,
    },
};
use maud::{Markup, html};

/// The most repeats that a requirement is shown in one by one.
const STRIP_MAX: usize = 100;

/// Every scenario's series.
pub fn series(all: &SeriesReport, groups: &[Group<'_>]) -> Markup {
    html! {
        @if groups.len() != 1 { (overview(groups)) }
        @for (place, group) in groups.iter().enumerate() {
            (scenario(place + 1, all, *group))
        }
    }
}

/// What the page is called.
pub fn title(groups: &[Group<'_>]) -> String {
    match groups {
        [(one, _)] => format!("{}, repeated: {}", one.outcome, one.title),
        many => {
            let worst = many.iter().map(|(one, _)| one.outcome).max();
            let worst = worst.unwrap_or(SeriesOutcome::Inconclusive);
            let count = counted(many.len() as u64, "scenario");
            format!("{worst}: {count}, repeated, Brownout")
        }
    }
}

/// An outcome as a mark and a word, so that its colour is not needed.
fn outcome(one: SeriesOutcome) -> Markup {
    html! {
        span class={ "badge " (one.status()) } { span aria-hidden="true" { (mark(one)) } " " (one) }
    }
}

fn overview(groups: &[Group<'_>]) -> Markup {
    html! {
        section.overview aria-labelledby="overview" {
            h2 id="overview" { (counted(groups.len() as u64, "scenario")) ", repeated" }
            @if groups.is_empty() { p { "Nothing was run, so nothing is shown." } }
            div.scroll tabindex="0" role="group" aria-label="all scenarios" {
                table.plain.cards {
                    thead { tr {
                        th scope="col" { "Outcome" }
                        th scope="col" { "Scenario" }
                        th scope="col" { "System" }
                        th.number scope="col" { "Passed" }
                        th.number scope="col" { "Failed" }
                        th.number scope="col" { "Inconclusive" }
                        th scope="col" { "Fails in (95 %)" }
                    } }
                    @for (place, (one, _)) in groups.iter().enumerate() {
                        tbody { tr {
                            td { (outcome(one.outcome)) }
                            th scope="row" { a href={ "#s" (place + 1) } { (one.title) } }
                            td data-label="System" { (one.system) }
                            (numbers(one.counts))
                            td data-label="Fails in" { (bound(one.failing)) }
                        } }
                    }
                }
            }
        }
    }
}

fn numbers(counts: Counts) -> Markup {
    html! {
        td.number data-label="Passed" { (counts.passed) }
        td.number data-label="Failed" { (counts.failed) }
        td.number data-label="Inconclusive" { (counts.inconclusive) }
    }
}

fn scenario(place: usize, all: &SeriesReport, (one, repeats): Group<'_>) -> Markup {
    let id = format!("s{place}");
    let mut said = sentences(all, one).into_iter();
    let head = said.next().unwrap_or_default();
    html! {
        section.scenario id=(id) aria-labelledby={ (id) "-title" } {
            header {
                h2 id={ (id) "-title" } { (one.title) }
                div class={ "verdict " (one.outcome.status()) } {
                    (outcome(one.outcome))
                    p.why { (prose(&head)) "." }
                }
                p.muted { code { (one.file) } " against " code { (one.system) } }
            }
            @for sentence in said { p { (prose(&sentence)) "." } }
            (requirements(&id, one, repeats))
            (each(&id, one, repeats))
        }
    }
}

fn requirements(id: &str, one: &ScenarioSeries, repeats: &[ScenarioReport]) -> Markup {
    html! {
        @if !one.requirements.is_empty() {
            (super::heading(id, "requirements", "Requirements over all repeats"))
            div.scroll tabindex="0" role="group" aria-label="requirements over all repeats" {
                table.plain.cards {
                    thead { tr {
                        th scope="col" { "Outcome" }
                        th scope="col" { "Requirement" }
                        th.number scope="col" { "Passed" }
                        th.number scope="col" { "Failed" }
                        th.number scope="col" { "Inconclusive" }
                        th scope="col" { "Fails in (95 %)" }
                        @if repeats.len() <= STRIP_MAX { th scope="col" { "Repeat by repeat" } }
                    } }
                    @for requirement in &one.requirements {
                        tbody { tr {
                            td { (outcome(requirement.outcome)) }
                            th scope="row" { (requirement.id) " " span.muted { (prose(&requirement.that)) } }
                            (numbers(requirement.counts))
                            td data-label="Fails in" { (bound(requirement.failing)) }
                            @if repeats.len() <= STRIP_MAX {
                                td data-label="Repeats" { (strip(requirement, repeats)) }
                            }
                        } }
                    }
                }
            }
            @for requirement in &one.requirements { (told(requirement, repeats)) }
        }
    }
}

/// A mark for each repeat, in their order.
fn strip(one: &RequirementSeries, repeats: &[ScenarioReport]) -> Markup {
    let status = |repeat: &ScenarioReport| {
        let nth = nth(repeat);
        if one.failed_in.contains(&nth) {
            Status::Fail
        } else if one.inconclusive_in.contains(&nth) {
            Status::Inconclusive
        } else {
            Status::Pass
        }
    };
    html! {
        span.strip role="img" aria-label=(why(one)) {
            @for repeat in repeats {
                @let status = status(repeat);
                span class=(status) title={ "repeat " (nth(repeat)) ": " (status) } {
                    (crate::report::words::mark(status))
                }
            }
        }
    }
}

/// What was seen in the first repeat in which a requirement was no pass.
fn told(one: &RequirementSeries, repeats: &[ScenarioReport]) -> Markup {
    let status = match one.outcome {
        SeriesOutcome::Pass => return html! {},
        SeriesOutcome::Flake | SeriesOutcome::Fail => Status::Fail,
        SeriesOutcome::Inconclusive => Status::Inconclusive,
    };
    let found = first(repeats, &one.id, status);
    html! {
        details {
            summary { (one.id) " " (prose(&why(one))) }
            @if let Some((repeat, verdict)) = found {
                p {
                    "In " (link(repeat, &format!("repeat {}", nth(repeat))))
                    " (seed " (repeat.seed) "): required " (prose(&verdict.required))
                    ", measured " (prose(&verdict.measured))
                    @if let Some(reason) = &verdict.reason { "; " (prose(reason)) }
                    "."
                }
                ul.tight {
                    @for seen in &verdict.evidence {
                        li { (super::text::moment(seen.at)) " " (prose(&seen.what)) }
                    }
                }
            }
        }
    }
}

/// A link to a repeat's own page, where it has one.
fn link(repeat: &ScenarioReport, text: &str) -> Markup {
    html! {
        @match &repeat.repetition {
            Some(own) => a href={ (path(&own.folder)) "/report.html" } { (text) },
            None => (text),
        }
    }
}

/// A path as part of a relative link: names may hold whatever a file's name may.
fn path(folder: &str) -> String {
    let mut link = String::from(".");
    for part in folder.split('/') {
        link.push('/');
        for byte in part.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if plain {
                link.push(char::from(byte));
            } else {
                link.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    link
}

fn each(id: &str, one: &ScenarioSeries, repeats: &[ScenarioReport]) -> Markup {
    let failed = |repeat: &ScenarioReport| {
        let verdicts = repeat.verdicts.iter();
        let names: Vec<&str> = verdicts
            .filter(|verdict| verdict.status != Status::Pass)
            .map(|verdict| verdict.id.as_str())
            .collect();
        match &repeat.trouble {
            Some(trouble) => trouble.kind.heading().to_owned(),
            None if names.is_empty() => "–".to_owned(),
            None => names.join(", "),
        }
    };
    html! {
        (super::heading(id, "repeats", "The repeats"))
        p {
            (percent(one.counts.passed, repeats.len() as u64)) " of them passed. Each has a report of "
            "its own, and its seed runs it alone."
        }
        div.scroll tabindex="0" role="group" aria-label="the repeats" {
            table.plain.cards {
                thead { tr {
                    th.number scope="col" { "Repeat" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "No pass" }
                    th.number scope="col" { "Took" }
                    th.number scope="col" { "Seed" }
                    th scope="col" { "Run it alone" }
                } }
                @for repeat in repeats {
                    tbody { tr {
                        th.number scope="row" { (link(repeat, &nth(repeat).to_string())) }
                        td { (badge(repeat.status)) }
                        td data-label="No pass" { (failed(repeat)) }
                        td.number data-label="Took" { (span(repeat.duration_us)) }
                        td.number data-label="Seed" { (repeat.seed) }
                        td data-label="Run it alone" { code { (repeat.repeat) } }
                    } }
                }
            }
        }
    }
}
