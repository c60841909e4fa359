//! A matrix for a person at a terminal: 80 columns, readable without colours, the worst first.

use super::{
    MatrixReportDef, RESTARTED, after, conduct, doubling, met, not_tried, of_the_whole, silent,
    slowest, standing, trouble, unmeasured, unused,
};
use crate::{
    expectation::Status,
    matrix::{Cell, Matrix, Met, Trial, Tried, findings, needs},
    report::{
        layout::{WIDTH, harmless, wrap},
        terminal::{coloured_rows, painted},
        words::{counted, span},
    },
};
use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets::NOTHING};

/// The list's entry.
pub const DEF: MatrixReportDef = MatrixReportDef {
    name: "terminal",
    file: None,
    render,
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// A matrix to bytes.
fn render(matrix: &Matrix) -> Vec<u8> {
    let mut out = painted(BOLD, &wrap("", &harmless(&matrix.system), WIDTH));
    let origin = format!("{} · seed {}", harmless(&matrix.file), matrix.seed);
    out.push_str(&painted(DIM, &wrap("", &origin, WIDTH)));
    out.push('\n');
    let cells = matrix.cells();
    let shown: Vec<_> = cells
        .into_iter()
        .filter(|(_, cell)| cell.met != Met::DoesNotUseIt || cell.is_wedged())
        .collect();
    if !shown.is_empty() {
        out.push_str(&table(&shown));
        out.push('\n');
    }
    out.push_str(&clients(matrix));
    out.push_str(&notes(matrix));
    for need in needs(matrix) {
        let text = need.sentence();
        out.push_str(&painted(BOLD, &wrap("✗ ", &harmless(&text), WIDTH)));
    }
    for what in of_the_whole(matrix) {
        out.push_str(&painted(BOLD, &wrap("✗ ", &harmless(&what), WIDTH)));
    }
    out.push_str(&conclusion(matrix));
    out.into_bytes()
}

fn table(cells: &[(&Trial, &Cell)]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header([
            "",
            "load",
            "on",
            "trouble",
            "met with",
            "p99 (before)",
            "tries",
            "steady",
        ]);
    for (trial, cell) in cells {
        let tries = cell
            .tries
            .map_or_else(|| "–".to_owned(), |one| one.to_string());
        let times = match cell.counts.all() {
            0 if cell.met != Met::Held => "–".to_owned(),
            _ => format!("{} ({})", slowest(cell), span(cell.steady_p99_us)),
        };
        table.add_row([
            mark(cell).to_owned(),
            harmless(&cell.load),
            harmless(&trial.aim.dependency),
            harmless(&trouble(trial)),
            met(cell),
            times,
            tries,
            after(cell.aftermath),
        ]);
    }
    let last = 7;
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
    }
    // What is short stays in one line; names may be long.
    for index in [0, 4, 5, 6, 7] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let styles = cells.iter().map(|(_, cell)| colour(cell));
    coloured_rows(&table.to_string(), styles)
}

/// The sign of a cell: what shows nothing is no good news.
fn mark(cell: &Cell) -> &'static str {
    match cell.met {
        _ if cell.is_wedged() => "✗",
        Met::Failed | Met::Held => "✗",
        Met::Degraded => "~",
        Met::Answered => "✓",
        Met::TooFew | Met::NotReached | Met::DoesNotUseIt => "?",
    }
}

fn colour(cell: &Cell) -> Style {
    match mark(cell) {
        "✗" => AnsiColor::Red,
        "~" => AnsiColor::Cyan,
        "✓" => AnsiColor::Green,
        _ => AnsiColor::Yellow,
    }
    .on_default()
}

/// What clients did in each trial; trials in which clients of one dependency did the same share a line.
fn clients(matrix: &Matrix) -> String {
    let mut told: Vec<(&Trial, &[String], Vec<String>)> = Vec::new();
    for trial in &matrix.trials {
        let Some(tried) = trial.tried() else { continue };
        let same = told.iter_mut().find(|(first, policy, _)| {
            first.aim.dependency == trial.aim.dependency && *policy == tried.policy
        });
        match same {
            Some((.., troubles)) => troubles.push(trouble(trial)),
            None => told.push((trial, &tried.policy, vec![trouble(trial)])),
        }
    }
    let mut out = String::new();
    for (trial, policy, troubles) in told {
        let text = format!(
            "clients of {}, {}: {}",
            trial.aim.dependency,
            troubles.join(", "),
            conduct(policy)
        );
        out.push_str(&wrap("  ", &harmless(&text), WIDTH));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// What else a reader must know: what was chosen, what is not there, and why.
fn notes(matrix: &Matrix) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for trial in &matrix.trials {
        if let Some(tried) = trial.tried() {
            lines.extend(aside(trial, tried));
        }
        if let (Some(delay), Some(_)) = (&trial.delay, trial.tried()) {
            let text = format!("{}: {}, {}", trial.aim, span(delay.us), delay.chosen);
            lines.push(("  ", text));
        }
    }
    for (load, operations, dependencies) in unused(matrix) {
        let text = format!(
            "{load} does not use {}: no call in {} without faults",
            dependencies.join(", "),
            counted(operations, "operation")
        );
        lines.push(("  ", text));
    }
    for name in matrix.reference.iter().flat_map(|one| &one.by_itself) {
        lines.push(("  ", format!("{name} is called by the system itself")));
    }
    for (why, trials) in silent(matrix, not_tried) {
        lines.push(("  ", format!("not tried: {} ({why})", trials.join(", "))));
    }
    for (why, trials) in silent(matrix, unmeasured) {
        lines.push((
            "? ",
            format!("shows nothing: {} ({why})", trials.join(", ")),
        ));
    }
    let style = |lead: &str| match lead {
        "  " => DIM,
        _ => AnsiColor::Yellow.on_default(),
    };
    let painted =
        |(lead, text): &(&str, String)| painted(style(lead), &wrap(lead, &harmless(text), WIDTH));
    let mut out: String = lines.iter().map(painted).collect();
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// What else is to be known of a trial: that it left the system wedged, and what is not known of what
/// was done twice.
fn aside(trial: &Trial, tried: &Tried) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if tried.restarted {
        lines.push(("! ", format!("{}: {RESTARTED}", trial.aim)));
    }
    if let Some((is_known, text)) = tried.doubling.as_ref().and_then(doubling) {
        let lead = if is_known { "  " } else { "? " };
        lines.push((lead, format!("{}: {text}", trial.aim)));
    }
    lines
}

fn conclusion(matrix: &Matrix) -> String {
    let tried = matrix
        .trials
        .iter()
        .filter(|one| one.tried().is_some())
        .count();
    let mut text = format!(
        "{} in {}",
        counted(tried as u64, "trial"),
        span(matrix.took_us)
    );
    let sick = match &matrix.reference {
        None => Some("the run without faults did not come to its end"),
        Some(reference) => reference.sick.as_deref(),
    };
    match sick {
        Some(why) => text = format!("nothing was tried: {}", harmless(why)),
        None => {
            let found = findings(matrix);
            text.push_str(&match found.first() {
                None => ": nothing was found".to_owned(),
                Some(first) => format!(
                    ": {}, first of all that {}",
                    counted(found.len() as u64, "finding"),
                    harmless(&first.what)
                ),
            });
        }
    }
    if matrix.interrupted {
        text.push_str("; interrupted");
    }
    let colour = match matrix.status() {
        Status::Pass => AnsiColor::Green,
        Status::Fail => AnsiColor::Red,
        Status::Inconclusive => AnsiColor::Yellow,
    };
    let text = format!("{}: {text}", standing(matrix));
    painted(colour.on_default().bold(), &wrap("", &text, WIDTH))
}
