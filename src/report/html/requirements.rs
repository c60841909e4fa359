//! The verdicts: what was required, what was measured, and behind each row what was seen.

use super::{
    heading,
    headline::badge,
    text::{moment, prose, stretch},
    waterfall::waterfall,
};
use crate::{
    expectation::{self, Verdict},
    report::ScenarioReport,
};
use maud::{Markup, html};

/// So many pieces of evidence of one verdict are drawn; the others are said. A suite of five scenarios
/// of which everything fails is to stay below a megabyte.
const DRAWN_MAX: usize = 3;

/// The table. Its roles are said in words too, as it is laid out as cards on narrow screens.
pub fn requirements(id: &str, scenario: &ScenarioReport) -> Markup {
    html! {
        @if !scenario.verdicts.is_empty() {
            (heading(id, "requirements", "What was required, and what was measured"))
            table.requirements.cards role="table" aria-labelledby={ (id) "-requirements" } {
                thead role="rowgroup" { tr role="row" {
                    th scope="col" role="columnheader" { "Verdict" }
                    th scope="col" role="columnheader" { "Id" }
                    th scope="col" role="columnheader" { "Requirement" }
                    th scope="col" role="columnheader" { "Required" }
                    th scope="col" role="columnheader" { "Measured" }
                    th.number scope="col" role="columnheader" { "Samples" }
                    th.number scope="col" role="columnheader" { "Window" }
                } }
                @for (place, verdict) in scenario.verdicts.iter().enumerate() {
                    (row(id, place, verdict, scenario))
                }
            }
        }
    }
}

fn row(id: &str, place: usize, verdict: &Verdict, scenario: &ScenarioReport) -> Markup {
    html! {
        tbody class=(verdict.status) role="rowgroup" id={ (id) "-v" (place + 1) } {
            tr role="row" {
                td role="cell" { (badge(verdict.status)) }
                th.id scope="row" role="rowheader" { (verdict.id) }
                td role="cell" { (prose(&verdict.that)) }
                td role="cell" data-label="Required" { (prose(&verdict.required)) }
                td role="cell" data-label="Measured" { (prose(&verdict.measured)) }
                td.number role="cell" data-label="Samples" { (verdict.count) }
                td.number.window role="cell" data-label="Window" { (stretch(verdict.window)) }
            }
            tr.behind role="row" {
                td role="cell" colspan="7" {
                    details {
                        summary { (invitation(verdict)) }
                        (behind(place, verdict, scenario))
                    }
                }
            }
        }
    }
}

fn invitation(verdict: &Verdict) -> Markup {
    let shown = verdict.evidence.len();
    html! {
        @if let Some(reason) = &verdict.reason { span.reason { (prose(reason)) } " · " }
        @match shown {
            0 => "how it was judged",
            1 => "evidence",
            _ => { (shown) " pieces of evidence" },
        }
        span.visually-hidden { " of " (verdict.id) }
    }
}

fn behind(place: usize, verdict: &Verdict, scenario: &ScenarioReport) -> Markup {
    html! {
        p.muted {
            @if let Some(def) = expectation::find(&verdict.kind) {
                "Kind " code { (verdict.kind) } ": " (def.summary) ". "
            } @else {
                "Kind " code { (verdict.kind) } ". "
            }
            @if verdict.phases.is_empty() {
                "Judged over the whole run."
            } @else {
                "Judged over "
                @for (nth, phase) in verdict.phases.iter().enumerate() {
                    @if nth > 0 { ", " }
                    "“" (phase) "”"
                }
                "."
            }
        }
        @if verdict.evidence.is_empty() {
            p { "No single operation stands out: the measure above is all there is." }
        }
        @for (nth, seen) in verdict.evidence.iter().enumerate() {
            @let trace = scenario.traces.iter().find(|one| one.verdict == place && one.evidence == nth);
            div.evidence {
                p { span.at { (moment(seen.at)) } " " (prose(&seen.what)) }
                @if let Some(trace) = trace && nth < DRAWN_MAX { (waterfall(trace, &scenario.faults)) }
            }
        }
    }
}
