//! What a search for metastability found, for a person at a terminal and for other programs; the page
//! is in `html/metastability.rs`.

use super::{
    layout::{WIDTH, harmless, wrap},
    terminal::{coloured_rows, painted},
    words::span,
};
use crate::metastability::{
    Ended, MetastabilityReport, Point, ProbeEnd, SearchReport, Side, TOLD_MIN, Varied,
};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets::NOTHING};

pub use super::html::metastability::render as html;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The width of the longest bar.
const BAR: u64 = 16;

/// The report as JSON.
pub fn json(report: &MetastabilityReport) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec_pretty(report).expect("a report has text keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// The report for the terminal.
pub fn terminal(report: &MetastabilityReport) -> Vec<u8> {
    let mut out = painted(BOLD, &wrap("", &harmless(&heading(report)), WIDTH));
    out.push_str(&painted(DIM, &wrap("", &origin(report), WIDTH)));
    out.push('\n');
    out.push_str(&searched("trigger", &report.search));
    out.push('\n');
    out.push_str(&wrap("boundary  ", &sentence(&report.search), WIDTH));
    out.push_str(&notes(&report.search));
    if let Some(hidden) = &report.hidden_capacity {
        out.push('\n');
        out.push_str(&searched("load", &hidden.search));
        out.push('\n');
        let text = format!("{} (after {})", sentence(&hidden.search), hidden.trigger);
        out.push_str(&wrap("hidden capacity  ", &text, WIDTH));
        out.push_str(&notes(&hidden.search));
    }
    if let Some(require) = &report.require {
        let (sign, style) = match require.held {
            Some(true) => ("✓", AnsiColor::Green),
            Some(false) => ("✗", AnsiColor::Red),
            None => ("?", AnsiColor::Yellow),
        };
        let text = format!("comes back from {}: {}", require.shown, require.why);
        let line = wrap(&format!("{sign} "), &text, WIDTH);
        out.push_str(&painted(style.on_default().bold(), &line));
    }
    out.into_bytes()
}

/// What was asked, in one line.
pub(super) fn heading(report: &MetastabilityReport) -> String {
    format!(
        "Does it come back? {} on {}, load {} at {}/s",
        report.trigger.what,
        report.dependency,
        report.load,
        (report.rate * 100.0).round() / 100.0
    )
}

/// How it was asked.
pub(super) fn origin(report: &MetastabilityReport) -> String {
    format!(
        "{} · {} runs of each size, each of a fresh system · watched {} after the trigger ({}) · \
         seed {}",
        report.system,
        report.repeats,
        span(report.watch_us),
        report.watch_because,
        report.seed
    )
}

/// Where the boundary lies, and why no more is known.
pub(super) fn sentence(search: &SearchReport) -> String {
    let ended = match search.ended {
        Ended::Complete => "",
        Ended::Budget => "; the budget was spent before it was known more closely",
        Ended::Interrupted => "; interrupted before it was known more closely",
    };
    format!("{}{ended}", search.shown)
}

/// What else is to be known of a search, a sentence each.
pub(super) fn remarks(search: &SearchReport) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    said.extend(search.steep.clone());
    if !search.monotone {
        said.push(
            "it came back from a larger one than one from which it did not: the boundary is not \
             sharp, or something else decides"
                .to_owned(),
        );
    }
    let few = search
        .points
        .iter()
        .filter(|point| point.side == Side::TooFew);
    said.extend(few.map(|point| {
        let told = super::words::counted(point.tally.told(), "run");
        format!(
            "{}: {told} that could be measured are too few to tell, {TOLD_MIN} are needed",
            point.shown
        )
    }));
    let probes = || search.points.iter().flat_map(|point| &point.probes);
    let mut seen: Vec<&str> = probes().filter_map(|probe| probe.note.as_deref()).collect();
    seen.sort_unstable();
    seen.dedup();
    said.extend(seen.into_iter().map(|note| {
        let count = probes().filter(|probe| probe.note.as_deref() == Some(note));
        let count = super::words::counted(count.count() as u64, "run");
        format!("{count}: {note}")
    }));
    said
}

fn notes(search: &SearchReport) -> String {
    let lines = remarks(search);
    lines
        .iter()
        .map(|line| wrap("! ", &harmless(line), WIDTH))
        .collect()
}

/// A row for each size, with the curve as bars.
fn searched(what: &str, search: &SearchReport) -> String {
    let slowest = search.points.iter().filter_map(median).max().unwrap_or(0);
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(["", what, "came back", "of all such (95%)", "after", ""]);
    for point in &search.points {
        let (low, high) = point.recovering;
        table.add_row([
            mark(point.side).to_owned(),
            point.shown.clone(),
            came_back(point),
            format!("{:.0}% to {:.0}%", low * 100.0, high * 100.0),
            after(point),
            bar(point, slowest),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(size) = table.column_mut(1) {
        size.set_cell_alignment(CellAlignment::Right);
    }
    let styles = search.points.iter().map(|point| colour(point.side));
    coloured_rows(&table.to_string(), styles)
}

/// How many runs came back.
pub(super) fn came_back(point: &Point) -> String {
    let unmeasured = match point.tally.unmeasured {
        0 => String::new(),
        count => format!(", {count} unclear"),
    };
    format!(
        "{} of {}{unmeasured}",
        point.tally.recovered,
        point.tally.told()
    )
}

fn median(point: &Point) -> Option<u64> {
    point.recovery_us.map(|(_, median, _)| median)
}

/// How long it took to come back: the median, and from the least to the most; else what kept it.
pub(super) fn after(point: &Point) -> String {
    match point.recovery_us {
        Some((low, middle, high)) if low == high => span(middle),
        Some((low, middle, high)) => {
            format!("{} ({} to {})", span(middle), span(low), span(high))
        }
        None => kept(point),
    }
}

/// What kept a system that never came back.
fn kept(point: &Point) -> String {
    let probes = point.probes.iter();
    let own: Vec<f64> = probes
        .filter(|probe| probe.end == ProbeEnd::Metastable)
        .filter_map(|probe| probe.amplification)
        .collect();
    let greatest = own.iter().copied().fold(0.0, f64::max);
    match (own.len(), point.side) {
        (0, Side::Unmeasured) => "not known".to_owned(),
        (0, _) => "never".to_owned(),
        _ => format!("never: asks {greatest:.1}x"),
    }
}

fn bar(point: &Point, slowest: u64) -> String {
    let Some(median) = median(point) else {
        return match point.side {
            Side::Wedges => "×".repeat(BAR as usize),
            _ => String::new(),
        };
    };
    let eighths = (median * BAR * 8).checked_div(slowest).unwrap_or(0);
    let whole = "█".repeat((eighths / 8) as usize);
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][(eighths % 8) as usize];
    let text = format!("{whole}{part}");
    if text.is_empty() {
        "▏".to_owned()
    } else {
        text
    }
}

/// The sign of a side.
pub(super) const fn mark(side: Side) -> &'static str {
    match side {
        Side::Recovers => "✓",
        Side::Wedges => "✗",
        Side::Mixed => "~",
        Side::TooFew | Side::Unmeasured => "?",
    }
}

/// What sizes are, as a heading.
pub(super) const fn noun(varied: Varied) -> &'static str {
    match varied {
        Varied::Duration => "how long the trigger lasts",
        Varied::Share | Varied::Factor => "how deep the trigger is",
        Varied::Rate => "the load",
    }
}

fn colour(side: Side) -> Style {
    match side {
        Side::Recovers => AnsiColor::Green,
        Side::Wedges => AnsiColor::Red,
        Side::Mixed => AnsiColor::Magenta,
        Side::TooFew | Side::Unmeasured => AnsiColor::Yellow,
    }
    .on_default()
}

#[cfg(test)]
pub use tests::sample;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastability::{
        Boundary, HiddenCapacity, METASTABILITY_VERSION, Probe, Requirement, TriggerReport,
    };

    fn point(size: f64, shown: &str, times: [Option<f64>; 5]) -> Point {
        let probes = (1..).zip(times).map(|(nth, time)| Probe {
            folder: format!("probes/{shown}/run-{nth}"),
            seed: nth,
            end: match time {
                Some(_) => ProbeEnd::Recovered,
                None => ProbeEnd::Metastable,
            },
            baseline: Some(1.0),
            recovery_us: time.map(|seconds| (seconds * 1e6) as u64),
            goodput: Some(0.02),
            amplification: Some(3.96),
            note: None,
        });
        Point::of(size, shown.to_owned(), probes.collect())
    }

    /// A search with something of everything, for reports.
    pub fn sample() -> MetastabilityReport {
        let points = vec![
            point(0.1, "100ms", [Some(0.0); 5]),
            point(
                1.0,
                "1s",
                [Some(1.0), Some(1.25), Some(1.5), Some(1.0), Some(1.0)],
            ),
            point(
                1.4,
                "1.4s",
                [Some(6.5), Some(9.0), None, Some(7.0), Some(7.25)],
            ),
            point(2.0, "2s", [None; 5]),
        ];
        let boundary = Boundary::Between {
            low: 1.0,
            high: 2.0,
            confidence: 0.96875,
        };
        let search = SearchReport {
            varied: Varied::Duration,
            steep: SearchReport::steepest(&points),
            shown: boundary.in_words(|size| format!("{size}s")),
            points,
            boundary,
            ended: Ended::Complete,
            monotone: true,
        };
        let mut rates = search.clone();
        rates.varied = Varied::Rate;
        rates.ended = Ended::Budget;
        rates.steep = None;
        MetastabilityReport {
            version: METASTABILITY_VERSION,
            brownout: "0.1.0".to_owned(),
            began: "2026-11-22T02:20:00Z".to_owned(),
            seed: 42,
            system: "brownout.toml".to_owned(),
            dependency: "db".to_owned(),
            load: "ask".to_owned(),
            rate: 20.0,
            trigger: TriggerReport {
                kind: "hang".to_owned(),
                what: "hang".to_owned(),
            },
            capacity: None,
            watch_us: 10_000_000,
            watch_because: "--watch".to_owned(),
            repeats: 5,
            search,
            hidden_capacity: Some(HiddenCapacity {
                trigger: "hang for 2s".to_owned(),
                search: rates,
            }),
            require: Some(Requirement {
                size: 2.0,
                shown: "2s".to_owned(),
                held: Some(false),
                why: "6 of 10 runs of 2s or less did not".to_owned(),
            }),
        }
    }

    #[test]
    fn a_person_sees_the_curve_the_boundary_and_the_warning() {
        let text = String::from_utf8(terminal(&sample())).unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        insta::assert_snapshot!("terminal", text);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn the_page_keeps_its_shape_and_has_nothing_foreign() {
        let page = |report: &MetastabilityReport| String::from_utf8(html(report)).unwrap();
        let text = page(&sample());
        let (head, rest) = text.split_once("<style>").unwrap();
        let (_, body) = rest.split_once("</style>").unwrap();
        let shape = format!("{head}<style>…</style>{body}").replace("><", ">\n<");
        insta::assert_snapshot!("page", shape);
        for foreign in ["<script", "src=", "url(http", "@import"] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        let mut evil = sample();
        evil.dependency = "<img src=x>".to_owned();
        evil.search.points[0].shown = "<img src=x>".to_owned();
        evil.search.points[0].probes[0].note = Some("<img src=x>".to_owned());
        assert!(!page(&evil).contains("<img"));
    }

    #[test]
    fn a_size_with_too_few_runs_is_said_to_have_too_few() {
        let mut search = sample().search;
        assert!(!remarks(&search).iter().any(|said| said.contains("too few")));
        let last = search.points.last_mut().unwrap();
        last.probes.truncate(2);
        *last = Point::of(last.size, last.shown.clone(), last.probes.clone());
        let said = remarks(&search);
        let few = "2s: 2 runs that could be measured are too few to tell, 3 are needed";
        assert!(said.iter().any(|said| said == few), "{said:?}");
    }

    #[test]
    fn other_programs_read_it_back() {
        let report = sample();
        let back: MetastabilityReport = serde_json::from_slice(&json(&report)).unwrap();
        assert_eq!(back, report);
    }
}
