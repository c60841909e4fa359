//! `summary.md`: the verdicts in GitHub's Markdown, for the comment on a change and for the summary
//! of a build (`cat brownout-report/summary.md >> "$GITHUB_STEP_SUMMARY"`).
//!
//! What does not pass stands open, with its evidence folded below; what passes is folded. Whatever
//! comes from files or from the wire stays text, whatever is in it.

use super::{
    ReportDef, ScenarioReport, SuiteReport,
    layout::harmless,
    words::{account, conduct, counted, injected, mark, span, tally},
    writes,
};
use crate::{
    expectation::{Status, Verdict},
    policy::Standing,
};

/// The most clients that are told of; `report.json` has all.
const CLIENTS_MAX: usize = 20;

/// The registry's entry.
pub const SUMMARY: ReportDef = ReportDef {
    name: "summary",
    summary: "verdicts in Markdown, for pull requests and the summaries of builds",
    file: Some("summary.md"),
    render,
};

/// Results to bytes.
fn render(report: &SuiteReport) -> Vec<u8> {
    if let Some(series) = &report.series {
        return super::series::summary(report, series).into_bytes();
    }
    let mut out = format!(
        "# {} Outage rehearsal: {}\n\n",
        mark(report.status),
        report.status
    );
    out.push_str(&overview(report));
    for scenario in &report.scenarios {
        out.push_str(&one_scenario(scenario));
    }
    out.push_str(&format!(
        "\n<sub>Brownout {} · seed {} · began {}</sub>\n",
        report.brownout, report.seed, report.began
    ));
    out.into_bytes()
}

fn overview(report: &SuiteReport) -> String {
    if report.scenarios.is_empty() {
        return "No scenario was run.\n".to_owned();
    }
    let rows: Vec<String> = report
        .scenarios
        .iter()
        .map(|scenario| {
            format!(
                "| {} | {} | {} | {} |\n",
                verdict_word(scenario.status),
                prose(&scenario.title),
                prose(&tally(scenario)),
                span(scenario.duration_us)
            )
        })
        .collect();
    format!(
        "| Verdict | Scenario | Requirements | Took |\n|---|---|---|--:|\n{}",
        rows.concat()
    )
}

fn one_scenario(scenario: &ScenarioReport) -> String {
    let mut out = format!(
        "\n## {} {}\n\n{} against {}\n",
        mark(scenario.status),
        prose(&scenario.title),
        code(&scenario.file),
        code(&scenario.system)
    );
    if let Some(trouble) = &scenario.trouble {
        let said = format!("{}: {}", trouble.kind.heading(), trouble.message);
        out.push_str(&format!("\n> **{}**\n", prose(&said)));
        if let Some(detail) = &trouble.detail {
            out.push_str(&format!("\n{}", block(detail)));
        }
    }
    for doubt in &scenario.doubts {
        out.push_str(&format!("\n> {}\n", prose(doubt)));
    }
    let (met, unmet): (Vec<&Verdict>, Vec<&Verdict>) = scenario
        .verdicts
        .iter()
        .partition(|verdict| verdict.status == Status::Pass);
    if !unmet.is_empty() {
        out.push_str(&format!("\n{}", table(&unmet)));
        for verdict in &unmet {
            out.push_str(&evidence("", verdict));
        }
    }
    if !met.is_empty() {
        let title = format!("{} met", counted(met.len() as u64, "requirement"));
        out.push_str(&folded(&title, &table(&met)));
    }
    if scenario.phases.iter().any(|phase| phase.began.is_some()) {
        out.push_str(&format!("\nInjected: {}.\n", prose(&injected(scenario))));
    }
    for ledger in &scenario.ledgers {
        let line = format!("Ledger {}.", account(ledger));
        out.push_str(&format!("\n{}\n", prose(&line)));
    }
    for line in writes::lines(&scenario.writes) {
        out.push_str(&format!("\n{}\n", prose(&format!("Writes {line}."))));
    }
    out.push_str(&clients(scenario));
    out.push_str(&format!("\nRun again: {}\n", code(&scenario.repeat)));
    out
}

/// What clients did, folded, and in the open where that is not what the system's file declares.
fn clients(scenario: &ScenarioReport) -> String {
    let Some(policies) = &scenario.policies else {
        return String::new();
    };
    let mut out = String::new();
    for line in &policies.declared {
        if line.standing == Standing::Contradicts {
            let said = format!("{} is declared with {}", line.dependency, line.seen);
            out.push_str(&format!("\n> {}\n", prose(&said)));
        }
    }
    let lines: Vec<String> = conduct(&policies.claims)
        .iter()
        .take(CLIENTS_MAX)
        .map(|line| format!("- {}\n", prose(line)))
        .collect();
    if !lines.is_empty() {
        out.push_str(&folded("What the clients did", &lines.concat()));
    }
    out
}

fn table(verdicts: &[&Verdict]) -> String {
    let rows: Vec<String> = verdicts
        .iter()
        .map(|verdict| {
            format!(
                "| {} | **{}** | {} | {} | {} | {} |\n",
                verdict_word(verdict.status),
                prose(&verdict.id),
                prose(&verdict.that),
                prose(&verdict.required),
                prose(&verdict.measured),
                verdict.count
            )
        })
        .collect();
    format!(
        "| Verdict | Id | Requirement | Required | Measured | Samples |\n|---|---|---|---|---|--:|\n{}",
        rows.concat()
    )
}

/// Why a verdict is no pass, and what was seen; `which` says of which run that is.
pub(super) fn evidence(which: &str, verdict: &Verdict) -> String {
    let reason = verdict.reason.as_deref().unwrap_or("no reason was given");
    let title = format!("{which}{}: {reason}", verdict.id);
    let (from, to) = verdict.window;
    let mut lines = format!("from {}s to {}s", seconds(from), seconds(to));
    if !verdict.phases.is_empty() {
        lines.push_str(&format!(", {}", verdict.phases.join(", ")));
    }
    for seen in &verdict.evidence {
        lines.push_str(&format!("\n{}s  {}", seconds(seen.at), seen.what));
    }
    folded(&title, &block(&lines))
}

fn seconds(at: crate::units::Micros) -> String {
    format!("{:.3}", at.as_secs_f64())
}

fn verdict_word(status: Status) -> String {
    format!("{} {status}", mark(status))
}

/// What opens when it is asked for.
pub(super) fn folded(title: &str, content: &str) -> String {
    let title = one_line(title)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("\n<details><summary>{title}</summary>\n\n{content}\n</details>\n")
}

/// Text as it is, in a fence that is longer than any within it.
fn block(text: &str) -> String {
    let text: Vec<String> = text.lines().map(harmless).collect();
    let text = text.join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n")
}

/// A word of a command or file as it is.
pub(super) fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    if fence.len() == 1 {
        format!("`{text}`")
    } else {
        format!("{fence} {text} {fence}")
    }
}

fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`')
        .map(str::len)
        .max()
        .unwrap_or(0)
}

fn one_line(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A line of text in which names stand in backticks: those stay code, all else is plain.
pub(super) fn prose(text: &str) -> String {
    let text = one_line(text);
    let is_paired = text.matches('`').count().is_multiple_of(2);
    let mut out = String::with_capacity(text.len());
    let mut in_code = false;
    for letter in text.chars() {
        match letter {
            '`' if is_paired => {
                in_code = !in_code;
                out.push(letter);
            }
            // A table ends its cell there, also within code.
            '|' => out.push_str("\\|"),
            _ if in_code => out.push(letter),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '#' | '@' => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn markdown(report: &SuiteReport) -> String {
        String::from_utf8(render(report)).unwrap()
    }

    #[test]
    fn what_does_not_pass_stands_open_with_its_evidence_below() {
        insta::assert_snapshot!(markdown(&sample::suite()));
    }

    #[test]
    fn a_pass_a_fail_and_what_is_inconclusive_are_told_apart_at_once() {
        insta::assert_snapshot!("passing", markdown(&sample::all(Status::Pass)));
        insta::assert_snapshot!("failing", markdown(&sample::all(Status::Fail)));
        insta::assert_snapshot!("inconclusive", markdown(&sample::all(Status::Inconclusive)));
    }

    #[test]
    fn markup_from_the_wire_stays_text() {
        let mut report = sample::all(Status::Fail);
        let verdict = &mut report.scenarios[0].verdicts[0];
        verdict.that = "a | b <img src=x> `c|d` *e*\nf".to_owned();
        verdict.reason = Some("</summary><script>".to_owned());
        verdict.evidence[0].what = "````\n</details>\u{1b}[31m".to_owned();
        let text = markdown(&report);
        assert!(
            text.contains("| a \\| b &lt;img src=x&gt; `c\\|d` \\*e\\* f |"),
            "{text}"
        );
        assert!(text.contains("&lt;/summary&gt;&lt;script&gt;"), "{text}");
        assert!(
            text.contains("`````text\n"),
            "a longer fence holds it: {text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_odd_backtick_opens_no_code() {
        assert_eq!(prose("a ` b_c"), "a \\` b\\_c");
        assert_eq!(code("a`b"), "`` a`b ``");
    }

    #[test]
    fn nothing_run_is_said_so() {
        let report = SuiteReport::new(String::new(), 1, Vec::new());
        assert!(markdown(&report).starts_with("# ? Outage rehearsal: inconclusive\n\nNo scenario"));
    }
}
