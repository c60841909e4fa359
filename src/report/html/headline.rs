//! The head of a scenario: its verdict and why, what went wrong with the run itself, the incident's
//! story, and what each phase stood for.

use super::{
    heading,
    text::{fault_name, moment, prose, span},
};
use crate::{
    expectation::{DoubtAbout, Status, Verdict},
    report::{
        PhaseReport, ScenarioReport,
        words::{self, counted, mark},
    },
    units::Micros,
};
use maud::{Markup, html};

/// The most requirements named in the sentence that says why.
const NAMED_MAX: usize = 3;

/// A verdict as a mark and a word, so that its colour is not needed.
pub fn badge(status: Status) -> Markup {
    html! { span class={ "badge " (status) } { span aria-hidden="true" { (mark(status)) } " " (status) } }
}

/// One sentence.
pub fn why(id: &str, scenario: &ScenarioReport) -> Markup {
    let all = scenario.verdicts.len();
    let of = |status| of_status(scenario, status);
    let (failed, open) = (of(Status::Fail), of(Status::Inconclusive));
    html! {
        @if let Some(trouble) = &scenario.trouble {
            "The run did not come to its end (" (trouble.kind.heading()) "): " (prose(&trouble.message)) ". "
        }
        @if !failed.is_empty() {
            (failed.len()) " of " (counted(all as u64, "requirement")) " not met: "
            (named(id, &failed)) "."
        } @else if !open.is_empty() {
            "Nothing failed, but " (open.len()) " of " (counted(all as u64, "requirement"))
            " could not be judged: " (named(id, &open)) "."
        } @else if all == 0 {
            "Nothing was judged."
        } @else if scenario.trouble.is_some() {
            "What could be judged held, which proves little of a run that was cut short."
        } @else if !scenario.doubts.is_empty() {
            "Every requirement was met, but " (in_doubt(scenario)) ", so that less was shown than it seems."
        } @else if all == 1 {
            "The one requirement was met, and every fault acted as often as it had to."
        } @else {
            "All " (all) " requirements were met, and every fault acted as often as it had to."
        }
    }
}

/// Why the run is in doubt, in a few words.
fn in_doubt(scenario: &ScenarioReport) -> String {
    let about = words::doubts(&scenario.doubts).map(|(about, _)| match about {
        DoubtAbout::Other => "the run is in doubt",
        about => words::in_doubt(about),
    });
    about.collect::<Vec<_>>().join(" and ")
}

fn of_status(scenario: &ScenarioReport, status: Status) -> Vec<(usize, &Verdict)> {
    let verdicts = scenario.verdicts.iter().enumerate();
    verdicts.filter(|(_, one)| one.status == status).collect()
}

/// The first few requirements, each linked to its row.
fn named(id: &str, verdicts: &[(usize, &Verdict)]) -> Markup {
    html! {
        @for (nth, (place, one)) in verdicts.iter().take(NAMED_MAX).enumerate() {
            @if nth > 0 { "; " }
            a href={ "#" (id) "-v" (place + 1) } { (one.id) }
            " (" (prose(&one.that)) ")"
        }
        @if verdicts.len() > NAMED_MAX {
            "; and " (verdicts.len() - NAMED_MAX) " more"
        }
    }
}

/// The incident, where it is described, and what was run.
pub fn origin(scenario: &ScenarioReport) -> Markup {
    html! {
        p.muted {
            @if let Some(incident) = &scenario.incident {
                "Replays " (incident.who) ", "
                time datetime=(incident.on) { (incident.on) }
                @if let Some(source) = &incident.source {
                    " ("
                    @if is_web(source) {
                        a href=(source) rel="noreferrer noopener" { "account of the incident" }
                    } @else { (source) }
                    ")"
                }
                " · "
            }
            "system " code { (scenario.system) }
            " · ran for " (span(scenario.duration_us))
            @if !scenario.tags.is_empty() {
                " · " (scenario.tags.join(", "))
            }
        }
    }
}

/// Links lead to pages of the web alone: anything else would be a script or a local file.
fn is_web(source: &str) -> bool {
    source.starts_with("https://") || source.starts_with("http://")
}

/// What kept the run from its end.
pub fn trouble(scenario: &ScenarioReport) -> Markup {
    html! {
        @if let Some(trouble) = &scenario.trouble {
            div.note.fail {
                p { strong { (trouble.kind.heading()) ": " } (prose(&trouble.message)) }
                @if let Some(detail) = &trouble.detail {
                    pre tabindex="0" { (detail) }
                }
            }
        }
    }
}

/// Why the run shows less than it seems to, and hosts that nobody listed.
pub fn doubts(scenario: &ScenarioReport) -> Markup {
    html! {
        @for doubt in &scenario.doubts {
            p.note.inconclusive { strong { "In doubt: " } (prose(doubt)) }
        }
        @for host in &scenario.unlisted_hosts {
            p.note.inconclusive {
                strong { "Unlisted host: " }
                "the system asked for " code { (host.host) } " "
                (counted(host.count, "time")) ", which no dependency lists; it was "
                @if host.passed { "passed on" } @else { "refused" } "."
            }
        }
    }
}

/// The incident's story.
pub fn story(scenario: &ScenarioReport) -> Markup {
    html! {
        @if let Some(story) = &scenario.story {
            div.story {
                @for paragraph in story.split("\n\n").filter(|text| !text.trim().is_empty()) {
                    p { (prose(paragraph.trim())) }
                }
            }
        }
    }
}

/// Where the parts of the scenario are.
pub fn contents(id: &str, scenario: &ScenarioReport) -> Markup {
    let ran = scenario.timeline.bins > 0;
    let parts = [
        ("phases", "Phases", !scenario.phases.is_empty()),
        (
            "requirements",
            "Requirements",
            !scenario.verdicts.is_empty(),
        ),
        ("timeline", "Timeline", ran),
        ("recovery", "Recovery", ran),
        ("injected", "Injected", !scenario.faults.is_empty()),
        ("conduct", "Clients", super::conduct::is_known(scenario)),
        ("figures", "Figures", ran),
        ("repeat", "Repeat it", true),
    ];
    html! {
        nav.contents aria-label={ "parts of " (scenario.title) } {
            ul {
                @for (part, name, there) in parts {
                    @if there { li { a href={ "#" (id) "-" (part) } { (name) } } }
                }
            }
        }
    }
}

/// The phases: what each stood for, when it was, and what was done in it.
pub fn phases(id: &str, scenario: &ScenarioReport) -> Markup {
    html! {
        @if !scenario.phases.is_empty() {
            (heading(id, "phases", "What happened, and what stands for it here"))
            table.plain.phases.cards role="table" aria-labelledby={ (id) "-phases" } {
                thead role="rowgroup" { tr role="row" {
                    th.number scope="col" role="columnheader" { "#" }
                    th scope="col" role="columnheader" { "Phase" }
                    th scope="col" role="columnheader" { "Stands for" }
                    th.number scope="col" role="columnheader" { "From" }
                    th.number scope="col" role="columnheader" { "Lasted" }
                    th scope="col" role="columnheader" { "What was wrong in it" }
                } }
                @for (nth, phase) in scenario.phases.iter().enumerate() {
                    tbody role="rowgroup" {
                        tr role="row" {
                            td.number role="cell" { (nth + 1) }
                            th scope="row" role="rowheader" { (phase.name) }
                            td role="cell" data-label="Stands for" { (phase.happened.as_deref().unwrap_or("–")) }
                            td.number role="cell" data-label="From" { (began(phase)) }
                            td.number role="cell" data-label="Lasted" { (lasted(phase)) }
                            td role="cell" data-label="Wrong in it" { (wrong(scenario, phase)) }
                        }
                    }
                }
            }
        }
    }
}

fn began(phase: &PhaseReport) -> String {
    phase.began.map_or_else(|| "never".to_owned(), moment)
}

fn lasted(phase: &PhaseReport) -> String {
    match (phase.began, phase.ended) {
        (Some(began), Some(ended)) => span(Micros::from(ended.since(began)).0),
        _ => "–".to_owned(),
    }
}

fn wrong(scenario: &ScenarioReport, phase: &PhaseReport) -> Markup {
    let faults = scenario.faults.iter();
    let of_phase: Vec<_> = faults.filter(|fault| fault.phase == phase.name).collect();
    html! {
        @if of_phase.is_empty() {
            @if phase.steady { "nothing: the baseline" } @else { "nothing" }
        } @else {
            ul.tight {
                @for fault in of_phase { li { b { (fault_name(fault.id)) } " " (prose(&fault.label)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_is_in_doubt_is_said_where_all_was_met() {
        let mut scenario = sample::all(Status::Pass).scenarios.remove(0);
        let mut said = |doubts: &[String]| {
            scenario.doubts = doubts.to_vec();
            why("s1", &scenario).into_string()
        };
        let doubts = sample::doubts();
        let one = "The one requirement was met, and every fault acted as often as it had to.";
        assert_eq!(said(&[]), one);
        for (doubts, words) in [
            (&doubts[..1], "not every fault acted"),
            (&doubts[1..2], "not every instance came up"),
            (
                &doubts[1..],
                "not every instance came up and the run is in doubt",
            ),
        ] {
            let wanted = format!(
                "Every requirement was met, but {words}, so that less was shown than it seems."
            );
            assert_eq!(said(doubts), wanted);
        }
    }
}
