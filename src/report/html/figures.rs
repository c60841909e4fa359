//! The numbers behind the charts, phase by phase, and the ledgers' sums.

use super::{
    heading,
    text::{percent, prose, span_or_dash},
};
use crate::report::{
    Attempts, LedgerReport, Outcomes, ScenarioReport, WriteWindowReport, WritesReport,
};
use maud::{Markup, html};

/// The columns of a table: those of words, then those of numbers.
type Columns = (&'static [&'static str], &'static [&'static str]);

const OPERATIONS: Columns = (
    &["Load", "Phase"],
    &[
        "Operations",
        "Ok",
        "Degraded",
        "Indeterminate",
        "Failed",
        "Answered",
        "p50",
        "p99",
    ],
);
const REQUESTS: Columns = (
    &["Dependency", "Phase"],
    &[
        "Attempts",
        "A fault acted",
        "Answered",
        "Gave up",
        "Cut by a fault",
        "Dependency failed",
        "Unfinished",
    ],
);
const WORK: Columns = (
    &["Ledger"],
    &[
        "Accepted",
        "Delivered",
        "Lost",
        "Still waiting",
        "Reported as dropped",
        "Without an id",
        "Delivered too often",
        "Never told",
        "Never asked for",
        "Most waiting",
    ],
);
const WRITES: Columns = (
    &["Writes", "In flight"],
    &[
        "Acknowledged, present",
        "Acknowledged, lost",
        "Unacknowledged, present",
        "Unacknowledged, absent",
        "Doubled",
        "Indeterminate",
    ],
);

/// All tables of figures.
pub fn figures(id: &str, scenario: &ScenarioReport) -> Markup {
    html! {
        @if scenario.timeline.bins > 0 {
            (heading(id, "figures", "The figures, phase by phase"))
            @if !scenario.loads.is_empty() { (loads(scenario)) }
            @if !scenario.dependencies.is_empty() { (dependencies(scenario)) }
            @if !scenario.ledgers.is_empty() { (ledgers(&scenario.ledgers)) }
            @if !scenario.writes.is_empty() { (writes(&scenario.writes)) }
        }
    }
}

fn loads(scenario: &ScenarioReport) -> Markup {
    html! {
        h4 { "Operations of the loads, by when they should have begun" }
        div.scroll tabindex="0" role="group" aria-label="operations" {
            table.plain {
                (headings(OPERATIONS))
                @for load in &scenario.loads {
                    tbody {
                        (load_row(&load.name, "whole run", load.outcomes, load.p50_us, load.p99_us, true))
                        @for phase in &load.phases {
                            (load_row(&load.name, &phase.phase, phase.outcomes, phase.p50_us, phase.p99_us, false))
                        }
                        @if load.missed > 0 {
                            tr { td colspan="10" {
                                strong { (load.missed) } " operations of " code { (load.name) }
                                " began too late or not at all: the load generator missed its schedule."
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn load_row(
    load: &str,
    phase: &str,
    outcomes: Outcomes,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    whole: bool,
) -> Markup {
    html! {
        tr class=[whole.then_some("whole")] {
            th scope="row" { (load) }
            td { (phase) }
            td.number { (outcomes.total()) }
            td.number { (outcomes.ok) }
            td.number { (outcomes.degraded) }
            td.number { (outcomes.indeterminate) }
            td.number { (outcomes.failed) }
            td.number { (percent(outcomes.ok + outcomes.degraded, outcomes.total())) }
            td.number { (span_or_dash(p50_us)) }
            td.number { (span_or_dash(p99_us)) }
        }
    }
}

fn dependencies(scenario: &ScenarioReport) -> Markup {
    html! {
        h4 { "Requests of the system to its dependencies, by when they began" }
        div.scroll tabindex="0" role="group" aria-label="requests to dependencies" {
            table.plain {
                (headings(REQUESTS))
                @for one in &scenario.dependencies {
                    tbody {
                        (attempts_row(&named(one), "whole run", one.attempts, true))
                        @for phase in &one.phases {
                            (attempts_row(&one.name, &phase.phase, phase.attempts, false))
                        }
                    }
                }
            }
        }
    }
}

fn named(one: &crate::report::DependencyReport) -> String {
    match &one.role {
        Some(role) if *role != one.name => {
            format!(
                "{} ({role}, {}, {} connections)",
                one.name, one.protocol, one.connections
            )
        }
        _ => format!(
            "{} ({}, {} connections)",
            one.name, one.protocol, one.connections
        ),
    }
}

fn attempts_row(name: &str, phase: &str, attempts: Attempts, whole: bool) -> Markup {
    html! {
        tr class=[whole.then_some("whole")] {
            th scope="row" { (name) }
            td { (phase) }
            td.number { (attempts.total) }
            td.number { (attempts.faulty) }
            td.number { (attempts.answered) }
            td.number { (attempts.gave_up) }
            td.number { (attempts.cut) }
            td.number { (attempts.upstream_failed) }
            td.number { (attempts.unfinished) }
        }
    }
}

/// The head of a table.
fn headings((words, numbers): Columns) -> Markup {
    html! {
        thead { tr {
            @for name in words { th scope="col" { (name) } }
            @for name in numbers { th.number scope="col" { (name) } }
        } }
    }
}

fn ledgers(ledgers: &[LedgerReport]) -> Markup {
    html! {
        h4 { "Accepted work, and what became of it" }
        div.scroll tabindex="0" role="group" aria-label="ledgers" {
            table.plain {
                (headings(WORK))
                tbody {
                    @for one in ledgers {
                        tr {
                            th scope="row" { (one.name) }
                            td.number { (one.accepted) }
                            td.number { (one.delivered) }
                            td.number { (one.lost) }
                            td.number { (one.waiting) }
                            td.number { (one.dropped) }
                            td.number { (one.without_id) }
                            td.number { (one.duplicated) }
                            td.number { (one.indeterminate) }
                            td.number { (one.unexpected) }
                            td.number { (one.backlog.deepest.iter().max().unwrap_or(&0)) }
                        }
                        @for why in &one.unsettled {
                            tr { td colspan="11" {
                                span.muted { "What is missing cannot be called lost: " (prose(why)) }
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn writes(writes: &[WritesReport]) -> Markup {
    html! {
        h4 { "Writes by what their callers were told and what was done" }
        div.scroll tabindex="0" role="group" aria-label="writes" {
            table.plain {
                (headings(WRITES))
                @for one in writes {
                    tbody {
                        @for window in &one.windows { (writes_row(one, window)) }
                    }
                }
            }
        }
    }
}

fn writes_row(writes: &WritesReport, window: &WriteWindowReport) -> Markup {
    html! {
        tr {
            th scope="row" { (writes.subject()) }
            td { (prose(&window.place())) }
            td.number { (window.kept) }
            td.number { (window.lost) }
            td.number { (window.recovered) }
            td.number { (window.absent) }
            td.number { (window.doubled) }
            td.number { (window.indeterminate) }
        }
        @if !window.examples.is_empty() {
            tr { td colspan="8" {
                @for (nth, example) in window.examples.iter().enumerate() {
                    @if nth > 0 { "; " }
                    code { (example.what) }
                    span.muted { " " (example.fate) ", at " (format!("{:.3}", example.at.as_secs_f64())) " s" }
                }
            } }
        }
    }
}
