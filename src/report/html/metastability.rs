//! What a search for metastability found as a page: the curve of how long the system takes to come
//! back, by the size of the trigger, and the runs behind it. One file, no network, no scripts.

use super::{
    STYLE,
    text::{prose, short, stamp},
};
use crate::{
    metastability::{Boundary, MetastabilityReport, Point, SearchReport, Side},
    report::metastability::{after, came_back, heading, mark, noun, origin, remarks, sentence},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing runs and nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The drawing's size, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;

/// The room for what stands beside the axes.
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 30.0;

/// Where runs that never came back are marked.
const NEVER: f64 = 14.0;

/// Report to bytes.
pub fn render(report: &MetastabilityReport) -> Vec<u8> {
    page(report).into_string().into_bytes()
}

fn page(report: &MetastabilityReport) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "Brownout " (report.brownout) };
                title { (heading(report)) ", Brownout" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#report" { "Skip to the report" }
                header.masthead {
                    h1.product { "Brownout" span.muted { " · does it come back?" } }
                    p.muted {
                        time datetime=(report.began) { (stamp(&report.began)) }
                        " · seed " (report.seed) " · version " (report.brownout)
                    }
                }
                main id="report" {
                    section.scenario aria-labelledby="trigger" {
                        h2 id="trigger" { (heading(report)) }
                        p.muted { (origin(report)) }
                        @if let Some(capacity) = &report.capacity {
                            p { "Its own capacity, which is in force before and after the trigger: " code { (capacity) } "." }
                        }
                        (require(report))
                        (search("trigger", &report.search))
                    }
                    @if let Some(hidden) = &report.hidden_capacity {
                        section.scenario aria-labelledby="hidden" {
                            h2 id="hidden" { "Hidden capacity" }
                            p { "The largest load from which it still comes back after " (hidden.trigger) "." }
                            (search("load", &hidden.search))
                        }
                    }
                }
                footer {
                    "Written by Brownout " (report.brownout)
                    ". This file needs no network; it can be kept, sent and printed as it is."
                }
            }
        }
    }
}

fn require(report: &MetastabilityReport) -> Markup {
    html! {
        @if let Some(require) = &report.require {
            @let class = match require.held {
                Some(true) => "pass",
                Some(false) => "fail",
                None => "inconclusive",
            };
            div class={ "verdict " (class) } {
                p.why { "Comes back from " (require.shown) ": " (class) ", " (prose(&require.why)) "." }
            }
        }
    }
}

fn search(what: &str, search: &SearchReport) -> Markup {
    html! {
        p { strong { "Boundary: " } (sentence(search)) "." }
        @for remark in remarks(search) { p.note.inconclusive { (prose(&remark)) "." } }
        (curve(search))
        div.scroll tabindex="0" role="group" aria-label="every size" {
            table.plain {
                thead { tr {
                    th scope="col" { (capital(what)) }
                    th scope="col" { "Came back" }
                    th scope="col" { "Of all such runs (95 %)" }
                    th scope="col" { "After: median, least to most" }
                    th scope="col" { "The runs" }
                } }
                tbody { @for point in &search.points { (row(point)) } }
            }
        }
    }
}

/// The same with a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn row(point: &Point) -> Markup {
    let (low, high) = point.recovering;
    html! {
        tr {
            th scope="row" {
                span class={ "badge " (colour(point.side)) } { (mark(point.side)) " " (point.shown) }
            }
            td { (came_back(point)) }
            td { (short(low * 100.0)) " % to " (short(high * 100.0)) " %" }
            td { (after(point)) }
            td.runs {
                @for (nth, probe) in point.probes.iter().enumerate() {
                    @if nth > 0 { ", " }
                    code { (probe.folder) }
                }
            }
        }
    }
}

const fn colour(side: Side) -> &'static str {
    match side {
        Side::Recovers => "pass",
        Side::Wedges => "fail",
        Side::Mixed | Side::TooFew | Side::Unmeasured => "inconclusive",
    }
}

/// How sizes and times become places. Sizes lie as far apart as their ratio says.
struct Scale {
    least: f64,
    most: f64,
    slowest: f64,
}

impl Scale {
    fn of(search: &SearchReport) -> Option<Self> {
        let least = search.points.first()?.size;
        let most = search.points.last()?.size;
        let times = search.points.iter().filter_map(|point| point.recovery_us);
        let slowest = times.map(|(_, _, most)| most).max().unwrap_or(0);
        Some(Self {
            least,
            most,
            slowest: (slowest as f64 / 1e6).max(1.0),
        })
    }

    fn x(&self, size: f64) -> f64 {
        let whole = (self.most / self.least).ln();
        let part = if whole > 0.0 {
            (size / self.least).ln() / whole
        } else {
            0.5
        };
        LEFT + part * (WIDTH - LEFT - 20.0)
    }

    fn y(&self, micros: u64) -> f64 {
        let part = micros as f64 / 1e6 / self.slowest;
        let room = HEIGHT - BOTTOM - NEVER - 20.0;
        HEIGHT - BOTTOM - part * room
    }
}

/// The curve: medians joined, with their range; crosses where runs never came back; the stretch in which
/// the boundary lies shaded.
fn curve(search: &SearchReport) -> Markup {
    let Some(scale) = Scale::of(search) else {
        return html! {};
    };
    let known: Vec<(f64, (u64, u64, u64))> = search
        .points
        .iter()
        .filter_map(|point| Some((scale.x(point.size), point.recovery_us?)))
        .collect();
    let line: Vec<String> = known
        .iter()
        .map(|(x, (_, median, _))| format!("{} {}", short(*x), short(scale.y(*median))))
        .collect();
    let says = format!(
        "Time to come back by {}; boundary: {}",
        noun(search.varied),
        search.shown
    );
    let (left, floor) = (short(LEFT), short(HEIGHT - BOTTOM));
    html! {
        svg.metastability viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(says) {
            @if let Boundary::Between { low, high, .. } = search.boundary {
                rect.between x=(short(scale.x(low))) y="0"
                    width=(short(scale.x(high) - scale.x(low))) height=(floor) {}
            }
            path.axis d={ "M" (left) " 0V" (floor) "H" (WIDTH) } {}
            text x=(short(LEFT - 6.0)) y=(floor) text-anchor="end" { "0s" }
            text x=(short(LEFT - 6.0)) y=(short(scale.y((scale.slowest * 1e6) as u64) + 4.0)) text-anchor="end" {
                (short(scale.slowest)) "s"
            }
            text x=(short(LEFT - 6.0)) y=(short(NEVER + 4.0)) text-anchor="end" { "never" }
            @if !line.is_empty() { path.line d={ "M" (line.join("L")) } {} }
            @for (x, (least, median, most)) in &known {
                path.range d={ "M" (short(*x)) " " (short(scale.y(*least))) "V" (short(scale.y(*most))) } {}
                circle cx=(short(*x)) cy=(short(scale.y(*median))) r="3.5" {}
            }
            @for (nth, point) in search.points.iter().enumerate() {
                @let x = scale.x(point.size);
                @if point.tally.wedged > 0 {
                    path.cross d={
                        "M" (short(x - 4.0)) " " (short(NEVER - 4.0)) "l8 8m0 -8l-8 8"
                    } {}
                }
                // Neighbours stand on two levels, so that their names do not meet.
                text x=(short(x)) y=(short(HEIGHT - if nth % 2 == 0 { 16.0 } else { 4.0 })) text-anchor="middle" {
                    (point.shown)
                }
            }
        }
    }
}
