//! The verdicts of a series for a person at a terminal.

use super::{Group, bound, first, groups, mark, nth, sentences, why};
use crate::{
    expectation::Status,
    report::{
        ScenarioReport, SuiteReport,
        layout::{WIDTH, harmless, wrap},
        series::{Counts, RequirementSeries, ScenarioSeries, SeriesOutcome, SeriesReport},
        terminal::{coloured_rows, explanation, painted, trouble},
        words::{counted, span},
    },
};
use anstyle::{AnsiColor, Style};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING,
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The most repeats whose commands are named.
const COMMANDS_MAX: usize = 3;

/// Every scenario's series, then where everything is.
pub fn render(report: &SuiteReport, series: &SeriesReport) -> String {
    let groups = groups(report).unwrap_or_default();
    let mut out = String::new();
    for group in &groups {
        out.push_str(&one_scenario(series, *group));
        out.push('\n');
    }
    if groups.len() > 1 {
        out.push_str(&overview(&groups));
        out.push('\n');
    }
    for file in &report.files {
        out.push_str(&format!("written      {file}\n"));
    }
    for (one, repeats) in groups {
        out.push_str(&what_next(one, repeats));
    }
    out
}

fn one_scenario(series: &SeriesReport, (one, repeats): Group<'_>) -> String {
    let mut out = painted(BOLD, &wrap("", &harmless(&one.title), WIDTH));
    out.push_str(&painted(DIM, &wrap("", &origin(one), WIDTH)));
    out.push('\n');
    if !one.requirements.is_empty() {
        out.push_str(&table(&one.requirements));
        out.push('\n');
    }
    for repeat in repeats.iter().filter(|repeat| repeat.trouble.is_some()) {
        out.push_str(&wrap("! ", &format!("repeat {}:", nth(repeat)), WIDTH));
        out.push_str(&trouble(repeat));
    }
    for requirement in &one.requirements {
        out.push_str(&told(requirement, repeats));
    }
    out.push_str(&doubted(repeats));
    let mut sentences = sentences(series, one).into_iter();
    let style = colour(one.outcome).bold();
    let head = sentences.next().unwrap_or_default();
    out.push_str(&painted(
        style,
        &wrap(&format!("{} ", mark(one.outcome)), &head, WIDTH),
    ));
    for sentence in sentences {
        out.push_str(&wrap("  ", &sentence, WIDTH));
    }
    out
}

fn origin(one: &ScenarioSeries) -> String {
    let took: u64 = one.repeats.iter().map(|repeat| repeat.duration_us).sum();
    let mut parts = vec![
        one.file.clone(),
        format!("system {}", one.system),
        counted(one.repeats.len() as u64, "repeat"),
    ];
    if let Some(first) = one.repeats.first() {
        parts.push(format!("seed {}", first.seed));
    }
    parts.push(span(took));
    parts.join(" · ")
}

/// Mark, id, what it says, counts, and how often it fails.
fn table(requirements: &[RequirementSeries]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header([
            "",
            "id",
            "requirement",
            "passed",
            "failed",
            "unclear",
            "fails in",
        ]);
    for one in requirements {
        let Counts {
            passed,
            failed,
            inconclusive,
        } = one.counts;
        table.add_row([
            mark(one.outcome).to_owned(),
            one.id.clone(),
            harmless(&one.that),
            passed.to_string(),
            failed.to_string(),
            inconclusive.to_string(),
            bound(one.failing),
        ]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == 6 { 0 } else { 2 }));
        if (3..6).contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if index != 2 && index != 1 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if let Some(id) = table.column_mut(1) {
        id.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(18)));
    }
    let styles = requirements.iter().map(|one| colour(one.outcome));
    coloured_rows(&table.to_string(), styles)
}

/// Why a requirement is no pass, with what was seen when it first was none.
fn told(one: &RequirementSeries, repeats: &[ScenarioReport]) -> String {
    let status = match one.outcome {
        SeriesOutcome::Pass => return String::new(),
        SeriesOutcome::Flake | SeriesOutcome::Fail => Status::Fail,
        SeriesOutcome::Inconclusive => Status::Inconclusive,
    };
    let head = format!("{} {}: {}", one.id, said_of(one.outcome), why(one));
    let mut out = painted(
        colour(one.outcome),
        &wrap(&format!("{} ", mark(one.outcome)), &harmless(&head), WIDTH),
    );
    if let Some((repeat, verdict)) = first(repeats, &one.id, status) {
        let which = format!("repeat {} (seed {})", nth(repeat), repeat.seed);
        out.push_str(&wrap("    first in  ", &which, WIDTH));
        out.push_str(&explanation(verdict));
    }
    out.push('\n');
    out
}

fn said_of(outcome: SeriesOutcome) -> &'static str {
    match outcome {
        SeriesOutcome::Pass => "passes",
        SeriesOutcome::Fail => "fails",
        SeriesOutcome::Flake => "is a flake",
        SeriesOutcome::Inconclusive => "is inconclusive",
    }
}

/// Why repeats as a whole show less than they seem to: each doubt once.
fn doubted(repeats: &[ScenarioReport]) -> String {
    const SHOWN_MAX: usize = 5;
    let mut seen: Vec<&str> = Vec::new();
    let mut out = String::new();
    for repeat in repeats {
        for doubt in &repeat.doubts {
            if seen.contains(&doubt.as_str()) || seen.len() == SHOWN_MAX {
                continue;
            }
            seen.push(doubt);
            let text = format!("in doubt, repeat {}: {}", nth(repeat), harmless(doubt));
            let style = colour(SeriesOutcome::Inconclusive);
            out.push_str(&painted(style, &wrap("? ", &text, WIDTH)));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn overview(groups: &[Group<'_>]) -> String {
    let heading = counted(groups.len() as u64, "scenario");
    let mut out = painted(BOLD, &format!("{heading}\n"));
    for (one, _) in groups {
        let flakes: Vec<&str> = one.flakes().map(|flake| flake.id.as_str()).collect();
        let flakes = if flakes.is_empty() {
            String::new()
        } else {
            format!("; flaky: {}", flakes.join(", "))
        };
        let line = format!(
            "{} — {}: of {} {}{flakes}",
            one.file,
            one.outcome,
            counted(one.repeats.len() as u64, "repeat"),
            super::tally(one.counts)
        );
        out.push_str(&painted(
            colour(one.outcome),
            &wrap(&format!("{} ", mark(one.outcome)), &line, WIDTH),
        ));
    }
    out
}

/// The repeats that did not pass, to be run alone or judged again; of a series that passed, the
/// first.
fn what_next(one: &ScenarioSeries, repeats: &[ScenarioReport]) -> String {
    let mut shown: Vec<&ScenarioReport> = repeats
        .iter()
        .filter(|repeat| repeat.status != Status::Pass)
        .collect();
    shown.sort_by_key(|repeat| std::cmp::Reverse(repeat.status));
    if one.outcome == SeriesOutcome::Pass {
        shown.extend(repeats.first());
    }
    let mut out = String::new();
    for repeat in shown.into_iter().take(COMMANDS_MAX) {
        out.push_str(&format!("repeat {}\n", nth(repeat)));
        if let Some(history) = &repeat.history {
            out.push_str(&format!("history      {history}\n"));
        }
        out.push_str(&format!("run again    {}\n", repeat.repeat));
    }
    out
}

fn colour(outcome: SeriesOutcome) -> Style {
    match outcome {
        SeriesOutcome::Pass => AnsiColor::Green,
        SeriesOutcome::Fail => AnsiColor::Red,
        SeriesOutcome::Flake => AnsiColor::Magenta,
        SeriesOutcome::Inconclusive => AnsiColor::Yellow,
    }
    .on_default()
}
