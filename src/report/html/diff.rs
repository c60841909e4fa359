//! A comparison of two runs as a page, in the manner of `report.html`: one file that needs no
//! network and has no scripts.

use super::{POLICY, footer, head, prose, text::stamp};
use crate::report::{
    diff::{Change, Diff, Outcome, Row, ScenarioDiff, Side, own_reason, shared},
    words::counted,
};
use maud::{DOCTYPE, Markup, html};

/// Comparison to bytes.
pub fn render(diff: &Diff) -> Vec<u8> {
    page(diff).into_string().into_bytes()
}

fn page(diff: &Diff) -> Markup {
    let title = format!("{}, Brownout", crate::report::diff::in_short(diff));
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title, &diff.brownout, POLICY))
            body {
                a.skip href="#report" { "Skip to the comparison" }
                header.masthead {
                    h1.product { "Brownout" span.muted { " · two runs compared" } }
                    p.muted { "version " (diff.brownout) }
                }
                main id="report" {
                    section.overview aria-labelledby="outcome" {
                        h2 id="outcome" { (heading(diff)) }
                        div class={ "verdict " (colour_of(diff.outcome)) } {
                            p.why { (crate::report::diff::in_short(diff)) "." }
                        }
                        (sides(diff))
                        (warnings(&diff.unfair))
                        @for (files, which) in [(&diff.only_old, "old"), (&diff.only_new, "new")] {
                            @for file in files {
                                p.note.inconclusive { "Only the " (which) " run has " code { (file) } "." }
                            }
                        }
                        p.small.muted { (crate::report::diff::legend(diff)) }
                    }
                    @for (nth, one) in diff.scenarios.iter().enumerate() { (scenario(nth + 1, one)) }
                }
                (footer(&diff.brownout))
            }
        }
    }
}

fn heading(diff: &Diff) -> &'static str {
    match diff.outcome {
        Outcome::Regression if diff.count(Change::Worse) == 0 => "A client's policy changed",
        Outcome::Regression => "Something became worse",
        Outcome::NoRegression => "Nothing became worse",
        Outcome::CannotBeTold => "It cannot be told whether anything became worse",
    }
}

const fn colour_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Regression => "fail",
        Outcome::NoRegression => "pass",
        Outcome::CannotBeTold => "inconclusive",
    }
}

fn sides(diff: &Diff) -> Markup {
    let row = |which: &str, side: &Side| {
        html! {
            tr {
                th scope="row" { (which) }
                td { code { (side.file) } }
                td { (side.status) }
                td { (stamp(&side.began)) }
                td.number { (side.seed) }
                td { (side.brownout) }
            }
        }
    };
    html! {
        div.scroll tabindex="0" role="group" aria-label="the two runs" {
            table.plain {
                thead { tr {
                    th scope="col" { "Run" }
                    th scope="col" { "File" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "Began" }
                    th.number scope="col" { "Seed" }
                    th scope="col" { "Brownout" }
                } }
                tbody { (row("old", &diff.old)) (row("new", &diff.new)) }
            }
        }
    }
}

fn warnings(unfair: &[String]) -> Markup {
    html! {
        @for note in unfair {
            p.note.inconclusive { strong { "Not quite fair: " } (prose(note)) }
        }
    }
}

fn scenario(nth: usize, one: &ScenarioDiff) -> Markup {
    let id = format!("s{nth}");
    let (old, new) = one.status;
    let of = |wanted: &[Change]| {
        let mut rows: Vec<&Row> = one.rows.iter().collect();
        rows.retain(|row| wanted.contains(&row.change));
        rows.sort_by_key(|row| row.change);
        rows
    };
    let changed = of(&[
        Change::Worse,
        Change::Changed,
        Change::Better,
        Change::Different,
    ]);
    let untold = of(&[Change::CannotBeTold]);
    let same = of(&[Change::NoChange]);
    html! {
        section.scenario id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (one.title) }
            p.muted { code { (one.file) } " · " (old) " before, " (new) " now" }
            (warnings(&one.unfair))
            @if changed.is_empty() {
                p { "Nothing changed, as far as can be told." }
            } @else { (table("what changed", &changed)) }
            (folded("cannot be told", "measure", &untold))
            (folded("without change", "measure", &same))
        }
    }
}

fn folded(title: &str, noun: &str, rows: &[&Row]) -> Markup {
    html! {
        @if !rows.is_empty() {
            details {
                summary { (counted(rows.len() as u64, noun)) " " (title) }
                (table(title, rows))
            }
        }
    }
}

fn table(title: &str, rows: &[&Row]) -> Markup {
    let shared = shared(rows);
    html! {
        @for (why, count) in &shared {
            p.small.muted { (count) " of these: " (prose(why)) }
        }
        div.scroll tabindex="0" role="group" aria-label=(title) {
            table.plain {
                thead { tr {
                    th scope="col" { "Change" }
                    th scope="col" { "Of" }
                    th scope="col" { "What" }
                    th scope="col" { "Old" }
                    th scope="col" { "New" }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            td { (badge(row.change)) }
                            th scope="row" { (row.of) }
                            td {
                                (prose(&row.what))
                                @if let Some(why) = own_reason(row, &shared) {
                                    br;
                                    span.muted.small { (prose(why)) }
                                }
                            }
                            td { (prose(&row.old)) }
                            td { (prose(&row.new)) }
                        }
                    }
                }
            }
        }
    }
}

/// A change as a mark and a word, so that its colour is not needed.
fn badge(change: Change) -> Markup {
    let colour = match change {
        Change::Worse | Change::Changed => "fail",
        Change::Better => "pass",
        Change::CannotBeTold => "inconclusive",
        Change::Different | Change::NoChange => "plain-badge",
    };
    html! {
        span class={ "badge " (colour) } {
            span aria-hidden="true" { (crate::report::diff::mark(change)) } " " (change)
        }
    }
}
