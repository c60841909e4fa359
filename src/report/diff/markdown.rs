//! A comparison in GitHub's Markdown, for pull requests and the summaries of builds. What changed
//! stands open, the worst first; all else is folded.

use super::{
    Diff, Outcome, Row, ScenarioDiff, Side, folded, in_short, legend, mark, own_reason, shared,
};
use crate::report::{
    summary::{code, prose},
    words::counted,
};

/// Comparison to bytes.
pub fn render(diff: &Diff) -> Vec<u8> {
    let sign = match diff.outcome {
        Outcome::NoRegression => "✓",
        Outcome::Regression => "✗",
        Outcome::CannotBeTold => "?",
    };
    let mut out = format!(
        "# {sign} Outage rehearsals compared\n\n{}.\n\n",
        in_short(diff)
    );
    out.push_str("| | Run | Verdict | Began | Seed |\n|---|---|---|---|--:|\n");
    out.push_str(&side("old", &diff.old));
    out.push_str(&side("new", &diff.new));
    out.push('\n');
    out.push_str(&warnings(&diff.unfair));
    for scenario in &diff.scenarios {
        out.push_str(&one_scenario(scenario));
    }
    for (files, which) in [(&diff.only_old, "old"), (&diff.only_new, "new")] {
        for file in files {
            out.push_str(&format!("\n- Only the {which} run has {}.\n", code(file)));
        }
    }
    out.push_str(&format!(
        "\n<sub>{} Compared by Brownout {}.</sub>\n",
        legend(diff),
        diff.brownout
    ));
    out.into_bytes()
}

fn side(which: &str, side: &Side) -> String {
    format!(
        "| {which} | {} | {} | {} | {} |\n",
        prose(&side.file),
        side.status,
        prose(&side.began),
        side.seed
    )
}

fn warnings(unfair: &[String]) -> String {
    if unfair.is_empty() {
        return String::new();
    }
    let lines = unfair.iter().map(|note| format!("> {}\n", prose(note)));
    let lines: Vec<String> = lines.collect();
    // Lines of a quotation run together unless each ends its paragraph.
    format!("> [!WARNING]\n{}\n", lines.join(">\n"))
}

fn one_scenario(scenario: &ScenarioDiff) -> String {
    let (old, new) = scenario.status;
    let mut out = format!(
        "\n## {}\n\n{old} before, {new} now\n\n{}",
        prose(&scenario.title),
        warnings(&scenario.unfair)
    );
    let (shown, reasons, same) = folded(scenario);
    if shown.is_empty() {
        out.push_str("Nothing changed, as far as can be told.\n");
    } else {
        out.push_str(&table(&shown));
    }
    let untold: usize = reasons.iter().map(|(_, count)| count).sum();
    if untold > 0 {
        out.push_str(&format!(
            "\n<details><summary>{} cannot be told</summary>\n\n",
            counted(untold as u64, "measure")
        ));
        for (why, count) in reasons {
            out.push_str(&format!("- {count}: {}\n", prose(&why)));
        }
        out.push_str("\n</details>\n");
    }
    if same > 0 {
        let rows: Vec<&Row> = scenario
            .rows
            .iter()
            .filter(|row| row.change == super::Change::NoChange)
            .collect();
        out.push_str(&format!(
            "\n<details><summary>{same} without change</summary>\n\n{}\n</details>\n",
            table(&rows)
        ));
    }
    out
}

fn table(rows: &[&Row]) -> String {
    let shared = shared(rows);
    let said = shared.iter();
    let said = said.map(|(why, count)| format!("{count} of these: {}.\n\n", prose(why)));
    let mut out: String = said.collect();
    out.push_str("| | What | Old | New |\n|---|---|---|---|\n");
    for row in rows {
        let why = own_reason(row, &shared);
        let why = why.map_or_else(String::new, |why| format!(" ({})", prose(why)));
        out.push_str(&format!(
            "| {} {} | {}: {}{why} | {} | {} |\n",
            mark(row.change),
            row.change,
            prose(&row.of),
            prose(&row.what),
            prose(&row.old),
            prose(&row.new)
        ));
    }
    out
}
