//! The verdicts for a person at a terminal, or for the log of a build.
//!
//! Fits 80 columns and can be read without colours: colours only repeat what the words say. The
//! bytes carry ANSI codes; whoever prints them to something that is not a terminal strips them.

use super::{
    ReportDef, ScenarioReport, SuiteReport, UnlistedHostReport,
    layout::{WIDTH, harmless, indented, wrap},
    words::{account, conduct, counted, injected, mark, span, tally},
    writes,
};
use crate::{
    expectation::{Status, Verdict},
    policy::Standing,
    units::Micros,
};
use anstyle::{AnsiColor, Style};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING,
};

/// The registry's entry.
pub const TERMINAL: ReportDef = ReportDef {
    name: "terminal",
    summary: "a table of verdicts with their evidence, for people",
    file: None,
    render,
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    if let Some(series) = &report.series {
        return super::series::terminal(report, series).into_bytes();
    }
    let mut out = String::new();
    for scenario in &report.scenarios {
        out.push_str(&one_scenario(scenario));
        out.push('\n');
    }
    if report.scenarios.len() > 1 {
        out.push_str(&overview(report));
        out.push('\n');
    }
    out.push_str(&what_next(report));
    out.into_bytes()
}

fn one_scenario(scenario: &ScenarioReport) -> String {
    let mut out = painted(BOLD, &wrap("", &scenario.title, WIDTH));
    out.push_str(&painted(DIM, &wrap("", &origin(scenario), WIDTH)));
    out.push('\n');
    if !scenario.verdicts.is_empty() {
        out.push_str(&table(&scenario.verdicts));
        out.push('\n');
    }
    out.push_str(&trouble(scenario));
    out.push_str(&doubts(scenario));
    out.push_str(&unlisted(scenario));
    for verdict in &scenario.verdicts {
        if verdict.status != Status::Pass {
            out.push_str(&explanation(verdict));
            out.push('\n');
        }
    }
    if scenario.phases.iter().any(|phase| phase.began.is_some()) {
        out.push_str(&wrap("injected  ", &injected(scenario), WIDTH));
        out.push_str(&wrap("measured  ", &measured(scenario), WIDTH));
        for ledger in &scenario.ledgers {
            out.push_str(&wrap("ledger    ", &account(ledger), WIDTH));
        }
        for line in writes::lines(&scenario.writes) {
            out.push_str(&wrap("writes    ", &harmless(&line), WIDTH));
        }
    }
    out.push_str(&policies(scenario));
    out.push_str(&painted(
        colour(scenario.status).bold(),
        &wrap(
            &format!("{} ", mark(scenario.status)),
            &format!("{}: {}", scenario.status, tally(scenario)),
            WIDTH,
        ),
    ));
    out
}

fn origin(scenario: &ScenarioReport) -> String {
    let mut parts = vec![
        scenario.file.clone(),
        format!("system {}", scenario.system),
        format!("seed {}", scenario.seed),
    ];
    if scenario.speed != 1.0 {
        parts.push(format!("speed {}x", scenario.speed));
    }
    parts.push(span(scenario.duration_us));
    parts.join(" · ")
}

/// Mark, id, what it says, required, measured, samples.
fn table(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(["", "id", "requirement", "required", "measured", "samples"]);
    for verdict in verdicts {
        table.add_row([
            mark(verdict.status).to_owned(),
            verdict.id.clone(),
            harmless(&verdict.that),
            harmless(&verdict.required),
            harmless(&verdict.measured),
            verdict.count.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for (index, constraint) in [
        (0, ColumnConstraint::ContentWidth),
        (1, ColumnConstraint::UpperBoundary(Width::Fixed(18))),
        (5, ColumnConstraint::ContentWidth),
    ] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(constraint);
        }
    }
    if let Some(samples) = table.column_mut(5) {
        samples.set_cell_alignment(CellAlignment::Right);
        samples.set_padding((0, 0));
    }
    let styles = verdicts.iter().map(|verdict| colour(verdict.status));
    coloured_rows(&table.to_string(), styles)
}

/// Colours the mark that each row begins with; the lines that continue a row begin with a space.
pub(super) fn coloured_rows(table: &str, mut styles: impl Iterator<Item = Style>) -> String {
    let mut out = String::new();
    for (nth, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if nth == 0 {
            out.push_str(&painted(DIM, line));
        } else if line.starts_with(' ') {
            out.push_str(line);
        } else {
            let style = styles.next().unwrap_or(DIM);
            let end = line.chars().next().map_or(0, char::len_utf8);
            out.push_str(&painted(style, &line[..end]));
            out.push_str(&line[end..]);
        }
        out.push('\n');
    }
    out
}

/// What kept a run from its end.
pub(super) fn trouble(scenario: &ScenarioReport) -> String {
    let Some(trouble) = &scenario.trouble else {
        return String::new();
    };
    let red = AnsiColor::Red.on_default().bold();
    let mut out = painted(
        red,
        &wrap(
            "! ",
            &format!("{}: {}", trouble.kind.heading(), harmless(&trouble.message)),
            WIDTH,
        ),
    );
    if let Some(detail) = &trouble.detail {
        out.push_str(&indented("    ", &harmless(detail)));
    }
    out.push('\n');
    out
}

/// Why the run as a whole shows less than it seems to.
fn doubts(scenario: &ScenarioReport) -> String {
    let style = colour(Status::Inconclusive);
    let line = |doubt: &String| {
        let text = format!("in doubt: {}", harmless(doubt));
        painted(style, &wrap("? ", &text, WIDTH))
    };
    let mut out: String = scenario.doubts.iter().map(line).collect();
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Hosts that the system asked for and nobody listed, the first few.
fn unlisted(scenario: &ScenarioReport) -> String {
    const SHOWN_MAX: usize = 5;
    let hosts = &scenario.unlisted_hosts;
    let line = |host: &UnlistedHostReport| {
        let done = if host.passed { "passed on" } else { "refused" };
        let text = format!(
            "no dependency lists {}, which the system asked for {} times: {done}",
            harmless(&host.host),
            host.count
        );
        wrap("! ", &text, WIDTH)
    };
    let mut out: String = hosts.iter().take(SHOWN_MAX).map(line).collect();
    if hosts.len() > SHOWN_MAX {
        let more = format!("and {} more hosts, in report.json", hosts.len() - SHOWN_MAX);
        out.push_str(&wrap("! ", &more, WIDTH));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// Why a verdict is not a pass, with what was seen.
pub(super) fn explanation(verdict: &Verdict) -> String {
    let says = match verdict.status {
        Status::Pass => "passes",
        Status::Fail => "fails",
        Status::Inconclusive => "is inconclusive",
    };
    let head = format!("{} {}: {}", verdict.id, says, harmless(&verdict.that));
    let mut out = painted(
        colour(verdict.status),
        &wrap(&format!("{} ", mark(verdict.status)), &head, WIDTH),
    );
    let mut line = |name: &str, text: &str| {
        out.push_str(&wrap(&format!("    {name:<9} "), &harmless(text), WIDTH));
    };
    line("required", &verdict.required);
    line("measured", &verdict.measured);
    line("during", &during(verdict));
    if let Some(reason) = &verdict.reason {
        line("because", reason);
    }
    for (nth, evidence) in verdict.evidence.iter().enumerate() {
        let name = if nth == 0 { "seen" } else { "" };
        line(name, &format!("{} {}", moment(evidence.at), evidence.what));
    }
    out
}

fn during(verdict: &Verdict) -> String {
    let (from, to) = verdict.window;
    let window = format!("{} – {}", moment(from), moment(to));
    if verdict.phases.is_empty() {
        window
    } else {
        format!("{} ({window})", verdict.phases.join(", "))
    }
}

fn measured(scenario: &ScenarioReport) -> String {
    let operations: u64 = scenario
        .loads
        .iter()
        .map(|load| load.outcomes.total())
        .sum();
    let calls: u64 = scenario
        .dependencies
        .iter()
        .map(|dependency| dependency.attempts.total)
        .sum();
    let mut parts = vec![
        counted(operations, "operation"),
        format!("{} to dependencies", counted(calls, "request")),
    ];
    if let Some(recovery) = &scenario.recovery {
        let took = span(recovery.took_us);
        parts.push(match recovery.steady {
            Some(_) => format!("steady {took} after the last fault"),
            None if recovery.untold.is_some() => {
                "too little asked to tell whether it was steady again".to_owned()
            }
            None => format!("not steady again within {took} after the last fault"),
        });
    }
    parts.join(", ")
}

/// What clients did, the operations of which most is known first, and where that is not what the
/// system's file declares.
fn policies(scenario: &ScenarioReport) -> String {
    const SHOWN_MAX: usize = 6;
    let Some(policies) = &scenario.policies else {
        return String::new();
    };
    let lines = conduct(&policies.claims);
    let shown = lines.iter().take(SHOWN_MAX);
    let mut out: String = shown
        .map(|line| wrap("policy    ", &harmless(line), WIDTH))
        .collect();
    if lines.len() > SHOWN_MAX {
        let more = format!("and {} more, in report.json", lines.len() - SHOWN_MAX);
        out.push_str(&wrap("policy    ", &more, WIDTH));
    }
    let wrong = policies
        .declared
        .iter()
        .filter(|line| line.standing == Standing::Contradicts);
    for line in wrong {
        let text = format!("{} is declared with {}", line.dependency, line.seen);
        let style = colour(Status::Inconclusive);
        out.push_str(&painted(style, &wrap("! ", &harmless(&text), WIDTH)));
    }
    out
}

fn overview(report: &SuiteReport) -> String {
    let mut out = painted(
        BOLD,
        &format!("{}\n", counted(report.scenarios.len() as u64, "scenario")),
    );
    for scenario in &report.scenarios {
        let line = format!(
            "{} — {}: {}",
            scenario.file,
            scenario.status,
            tally(scenario)
        );
        out.push_str(&painted(
            colour(scenario.status),
            &wrap(&format!("{} ", mark(scenario.status)), &line, WIDTH),
        ));
    }
    out
}

/// Where everything is and what to type next; commands stay on one line, to be copied. Of several
/// scenarios only those that did not pass are named.
fn what_next(report: &SuiteReport) -> String {
    let mut out = String::new();
    for file in &report.files {
        out.push_str(&format!("written      {file}\n"));
    }
    let alone = report.scenarios.len() == 1;
    for scenario in &report.scenarios {
        if !alone && scenario.status == Status::Pass {
            continue;
        }
        if let Some(history) = &scenario.history {
            out.push_str(&format!("history      {history}\n"));
        }
        out.push_str(&format!("run again    {}\n", scenario.repeat));
        if let (Some(history), false) = (&scenario.history, scenario.verdicts.is_empty()) {
            let history = super::quoted(history);
            out.push_str(&format!("judge again  brownout judge {history}\n"));
        }
    }
    out
}

fn colour(status: Status) -> Style {
    match status {
        Status::Pass => AnsiColor::Green,
        Status::Fail => AnsiColor::Red,
        Status::Inconclusive => AnsiColor::Yellow,
    }
    .on_default()
}

/// The text in a style; its line end stays outside, so that lines can be stripped one by one.
pub(super) fn painted(style: Style, text: &str) -> String {
    let body = text.trim_end_matches('\n');
    format!("{style}{body}{style:#}{}", &text[body.len()..])
}

/// A moment, to the millisecond.
fn moment(at: Micros) -> String {
    format!("{:.3}s", at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn plain(report: &SuiteReport) -> String {
        let text = String::from_utf8(render(report)).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn every_verdict_stands_in_the_table_and_what_is_no_pass_is_explained() {
        insta::assert_snapshot!(plain(&sample::suite()));
    }

    #[test]
    fn all_but_file_names_and_commands_fits_eighty_columns() {
        for line in plain(&sample::suite()).lines() {
            let copied = ["written", "history", "run again", "judge again"]
                .iter()
                .any(|word| line.starts_with(word));
            assert!(copied || line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn hostile_evidence_is_shown_and_not_obeyed() {
        let mut report = sample::suite();
        report.scenarios[0].verdicts[1].evidence[0].what = "\u{1b}]0;title\u{7}\u{8}x".to_owned();
        let text = String::from_utf8(render(&report)).unwrap();
        assert!(!text.contains('\u{7}') && !text.contains('\u{8}'), "{text}");
    }
}
