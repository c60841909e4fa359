//! A matrix as a page, in the manner of `report.html`: one file that needs no network and has no
//! scripts.

use super::{POLICY, footer, head, headline::badge, prose, span, text::stamp};
use crate::{
    matrix::{Cell, Kind, Matrix, Met, Trial, findings, needs},
    report::{
        matrix::{
            MatrixReportDef, RESTARTED, conduct, doubling, met, not_tried, of_the_whole, silent,
            slowest, standing, then, trouble, unmeasured, unused,
        },
        words::counted,
    },
};
use maud::{DOCTYPE, Markup, html};
use std::sync::Arc;

/// The list's entry.
pub const DEF: MatrixReportDef = MatrixReportDef {
    name: "html",
    file: Some("matrix.html"),
    render,
};

/// A matrix to bytes.
fn render(matrix: &Matrix) -> Vec<u8> {
    page(matrix).into_string().into_bytes()
}

fn page(matrix: &Matrix) -> Markup {
    let title = format!(
        "{}: matrix of {}, Brownout",
        standing(matrix),
        matrix.system
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title, &matrix.brownout, POLICY))
            body {
                a.skip href="#report" { "Skip to the report" }
                header.masthead {
                    h1.product { "Brownout" span.muted { " · resilience matrix" } }
                    p.muted {
                        time datetime=(matrix.began) { (stamp(&matrix.began)) }
                        " · seed " (matrix.seed)
                        " · version " (matrix.brownout)
                    }
                }
                main id="report" {
                    (overview(matrix))
                    (found(matrix))
                    (grid(matrix))
                    (worst_first(matrix))
                    (clients(matrix))
                    (the_rest(matrix))
                }
                (footer(&matrix.brownout))
            }
        }
    }
}

fn overview(matrix: &Matrix) -> Markup {
    let tried = matrix
        .trials
        .iter()
        .filter(|one| one.tried().is_some())
        .count();
    let sick = match &matrix.reference {
        None => Some("the run without faults did not come to its end"),
        Some(reference) => reference.sick.as_deref(),
    };
    html! {
        section.overview aria-labelledby="outcome" {
            h2 id="outcome" { @if standing(matrix) != "measured" { (badge(matrix.status())) " " } (matrix.system) }
            p.muted { code { (matrix.file) } ", " (counted(tried as u64, "trial")) " in " (span(matrix.took_us)) }
            @if let Some(why) = sick {
                p.note.inconclusive { "Nothing was tried: " (prose(why)) "." }
            }
            @if matrix.interrupted {
                p.note.inconclusive { "It was interrupted: what stands here was done so far." }
            }
            @for need in needs(matrix) {
                p.note.fail { (need.sentence()) "." }
            }
            @for what in of_the_whole(matrix) {
                p.note.fail { (prose(&what)) "." }
            }
        }
    }
}

fn found(matrix: &Matrix) -> Markup {
    let found = findings(matrix);
    html! {
        section {
            h3 { "Findings" }
            @if found.is_empty() { p { "Nothing was found." } }
            ol {
                @for one in &found { li { (prose(&one.what)) "." } }
            }
        }
    }
}

/// Every load with every dependency, and the kinds across.
fn grid(matrix: &Matrix) -> Markup {
    let singles = || matrix.trials.iter().filter(|one| one.aim.beside.is_none());
    let mut rows: Vec<(&Arc<str>, &Arc<str>)> = Vec::new();
    for trial in singles() {
        for cell in trial.tried().iter().flat_map(|tried| &tried.cells) {
            let row = (&cell.load, &trial.aim.dependency);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    rows.sort_unstable();
    let cell = |load: &str, dependency: &str, kind: Kind| {
        let mut trials = singles();
        let trial =
            trials.find(|one| *one.aim.dependency == *dependency && one.aim.kind == kind)?;
        let mut cells = trial.tried()?.cells.iter();
        cells.find(|cell| *cell.load == *load)
    };
    html! {
        @if !rows.is_empty() {
            section {
                h3 { "At a glance" }
                div.scroll tabindex="0" role="group" aria-label="every load with every dependency" {
                    table.plain.grid {
                        thead { tr {
                            th scope="col" { "Load" }
                            th scope="col" { "Dependency" }
                            @for kind in Kind::ALL { th scope="col" { (kind) } }
                        } }
                        tbody {
                            @for (load, dependency) in rows {
                                tr {
                                    th scope="row" { (load) }
                                    td { (dependency) }
                                    @for kind in Kind::ALL { (square(cell(load, dependency, *kind))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn square(cell: Option<&Cell>) -> Markup {
    html! {
        @match cell {
            None => td.muted { "–" },
            Some(cell) => td class=(class(cell)) {
                (met(cell)) @if cell.is_wedged() { ", wedged" }
            },
        }
    }
}

/// How a cell looks: what shows nothing is never green.
fn class(cell: &Cell) -> &'static str {
    match cell.met {
        _ if cell.is_wedged() => "fail",
        Met::Failed | Met::Held => "fail",
        Met::Answered => "pass",
        Met::DoesNotUseIt => "muted",
        Met::Degraded | Met::TooFew | Met::NotReached => "inconclusive",
    }
}

fn worst_first(matrix: &Matrix) -> Markup {
    let cells = matrix.cells();
    let meant = |(_, cell): &&(&Trial, &Cell)| cell.met != Met::DoesNotUseIt || cell.is_wedged();
    html! {
        section {
            h3 { "The worst first" }
            div.scroll tabindex="0" role="group" aria-label="what each load met with" {
                table.plain.grid {
                    thead { tr {
                        th scope="col" { "Load" }
                        th scope="col" { "Dependency" }
                        th scope="col" { "Trouble" }
                        th scope="col" { "Met with" }
                        th.number scope="col" { "Operations" }
                        th.number scope="col" { "p50" }
                        th.number scope="col" { "p99" }
                        th.number scope="col" { "p99 before" }
                        th.number scope="col" { "Tries a call" }
                        th scope="col" { "Then" }
                        th scope="col" { "Its first failure" }
                    } }
                    tbody {
                        @for (trial, cell) in cells.iter().filter(meant) {
                            tr {
                                th scope="row" { (cell.load) }
                                td { (trial.aim.dependency) }
                                td { (trouble(trial)) }
                                td class=(class(cell)) { (met(cell)) }
                                td.number { (cell.counts.all()) }
                                td.number { (span(cell.p50_us)) }
                                td.number { (slowest(cell)) }
                                td.number { (span(cell.steady_p99_us)) }
                                td.number {
                                    @match cell.tries { Some(tries) => (tries), None => "–" }
                                }
                                td class=[cell.is_wedged().then_some("fail")] { (then(cell.aftermath)) }
                                td { @if let Some(why) = &cell.because { (why) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the clients did in each trial, and how to look further.
fn clients(matrix: &Matrix) -> Markup {
    html! {
        section {
            h3 { "What the clients did" }
            @for trial in &matrix.trials {
                @if let Some(tried) = trial.tried() {
                    h4 { (trial.aim) }
                    p.small {
                        (tried.faults.join("; ")) ": acted on " (counted(tried.hits, "event")) " in "
                        (span(tried.lasted_us)) "."
                        @if let Some(delay) = &trial.delay { " It is " (span(delay.us)) ", " (delay.chosen) "." }
                        @for exit in &tried.exits { " Instance " (exit) "." }
                        @if !tried.leant_on.is_empty() { " Called more than before: " (tried.leant_on.join(", ")) "." }
                    }
                    @if tried.restarted { p.note.fail { "It was " (RESTARTED) "." } }
                    @if let Some((is_known, text)) = tried.doubling.as_ref().and_then(doubling) {
                        p.small class=[(!is_known).then_some("inconclusive")] { (prose(&text)) "." }
                    }
                    @if tried.policy.is_empty() {
                        p.small.muted { (conduct(&tried.policy)) "." }
                    } @else {
                        ul.small { @for said in &tried.policy { li { (said) } } }
                    }
                    @if let Some(history) = &trial.history {
                        p.small.muted { code { "brownout judge " (crate::report::quoted(history)) } }
                    }
                }
            }
        }
    }
}

/// What is not there, and why.
fn the_rest(matrix: &Matrix) -> Markup {
    let (left_out, open) = (silent(matrix, not_tried), silent(matrix, unmeasured));
    html! {
        section {
            h3 { "What was not tried, and what shows nothing" }
            ul {
                @for (load, operations, dependencies) in unused(matrix) {
                    li {
                        code { (load) } " does not use " (dependencies.join(", ")) ": no call in "
                        (counted(operations, "operation")) " without faults."
                    }
                }
                @for name in matrix.reference.iter().flat_map(|one| &one.by_itself) {
                    li { (name) " is called by the system itself." }
                }
                @for (why, trials) in left_out { li { "Not tried: " (trials.join(", ")) " (" (why) ")." } }
                @for (why, trials) in open { li { "Shows nothing: " (trials.join(", ")) " (" (why) ")." } }
            }
        }
    }
}
