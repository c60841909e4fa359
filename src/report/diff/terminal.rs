//! A comparison for a person at a terminal, or for the log of a build: 80 columns, readable without
//! colours.

use super::{
    Change, Diff, Row, ScenarioDiff, Side, folded, in_short, legend, mark, own_reason, shared,
};
use crate::report::{
    layout::{WIDTH, harmless, wrap},
    terminal::{coloured_rows, painted},
    words::counted,
};
use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Comparison to bytes.
pub fn render(diff: &Diff) -> Vec<u8> {
    let mut out = side("old  ", &diff.old) + &side("new  ", &diff.new);
    out.push_str(&warnings(&diff.unfair));
    out.push('\n');
    for scenario in &diff.scenarios {
        out.push_str(&one_scenario(scenario));
        out.push('\n');
    }
    for (files, which) in [(&diff.only_old, "old"), (&diff.only_new, "new")] {
        for file in files {
            let text = format!("only the {which} run has {}", harmless(file));
            out.push_str(&painted(
                AnsiColor::Yellow.on_default(),
                &wrap("? ", &text, WIDTH),
            ));
        }
    }
    if !(diff.only_old.is_empty() && diff.only_new.is_empty()) {
        out.push('\n');
    }
    let style = match diff.outcome {
        super::Outcome::Regression => colour(Change::Worse),
        super::Outcome::NoRegression => colour(Change::Better),
        super::Outcome::CannotBeTold => colour(Change::CannotBeTold),
    };
    out.push_str(&painted(style.bold(), &wrap("", &in_short(diff), WIDTH)));
    out.push_str(&painted(DIM, &wrap("", &legend(diff), WIDTH)));
    out.into_bytes()
}

fn side(name: &str, side: &Side) -> String {
    let text = format!(
        "{}: {}, began {}, seed {}",
        harmless(&side.file),
        side.status,
        side.began,
        side.seed
    );
    wrap(name, &text, WIDTH)
}

fn warnings(unfair: &[String]) -> String {
    let style = AnsiColor::Yellow.on_default();
    let line = |note: &String| painted(style, &wrap("! ", &harmless(note), WIDTH));
    unfair.iter().map(line).collect()
}

fn one_scenario(scenario: &ScenarioDiff) -> String {
    let mut out = painted(BOLD, &wrap("", &harmless(&scenario.title), WIDTH));
    let (old, new) = scenario.status;
    let origin = format!("{} · {old} before, {new} now", harmless(&scenario.file));
    out.push_str(&painted(DIM, &wrap("", &origin, WIDTH)));
    out.push_str(&warnings(&scenario.unfair));
    out.push('\n');
    let (shown, reasons, same) = folded(scenario);
    if !shown.is_empty() {
        out.push_str(&table(&shown));
        out.push('\n');
    }
    for (why, count) in reasons {
        let text = format!(
            "{} cannot be told: {}",
            counted(count as u64, "measure"),
            harmless(&why)
        );
        out.push_str(&painted(DIM, &wrap("? ", &text, WIDTH)));
    }
    if same > 0 {
        let text = format!("{same} without change");
        out.push_str(&painted(DIM, &wrap("= ", &text, WIDTH)));
    }
    out
}

/// Mark, what changed, before, now.
fn table(rows: &[&Row]) -> String {
    let shared = shared(rows);
    let said = shared.iter().map(|(why, count)| {
        let text = format!("{count} of these: {}", harmless(why));
        painted(DIM, &wrap("? ", &text, WIDTH))
    });
    let said: String = said.collect();
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(["", "what", "old", "new"]);
    for row in rows {
        let mut what = format!("{}: {}", row.of, row.what);
        if let Some(why) = own_reason(row, &shared) {
            what.push_str(&format!(" ({why})"));
        }
        table.add_row([
            mark(row.change).to_owned(),
            harmless(&what),
            harmless(&row.old),
            harmless(&row.new),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for (index, most) in [(2, 24), (3, 24)] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(most)));
        }
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_padding((0, 0));
    }
    said + &coloured_rows(
        &table.to_string(),
        rows.iter().map(|row| colour(row.change)),
    )
}

fn colour(change: Change) -> Style {
    match change {
        Change::Worse | Change::Changed => AnsiColor::Red,
        Change::Better => AnsiColor::Green,
        Change::Different => AnsiColor::Cyan,
        Change::CannotBeTold => AnsiColor::Yellow,
        Change::NoChange => AnsiColor::White,
    }
    .on_default()
}
