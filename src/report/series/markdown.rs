//! The summary of a series in GitHub's Markdown.

use super::{
    Group, RequirementSeries, SeriesOutcome, SeriesReport, bound, first, groups, mark, nth,
    sentences, why,
};
use crate::{
    expectation::Status,
    report::{
        SuiteReport,
        summary::{code, evidence, folded, prose},
        words::{counted, span},
    },
};

/// The most repeats that are listed.
const REPEATS_MAX: usize = 50;

/// Results to Markdown.
pub fn summary(report: &SuiteReport, series: &SeriesReport) -> String {
    let groups = groups(report).unwrap_or_default();
    let worst = groups.iter().map(|(one, _)| one.outcome).max();
    let worst = worst.unwrap_or(SeriesOutcome::Inconclusive);
    let mut out = format!(
        "# {} Outage rehearsal, repeated: {worst}\n\n{}",
        mark(worst),
        overview(&groups)
    );
    for group in &groups {
        out.push_str(&one_scenario(series, *group));
    }
    out.push_str(&format!(
        "\n<sub>Brownout {} · seed {} · began {}</sub>\n",
        report.brownout, report.seed, report.began
    ));
    out
}

fn overview(groups: &[Group<'_>]) -> String {
    let rows: Vec<String> = groups
        .iter()
        .map(|(one, _)| {
            format!(
                "| {} {} | {} | {} | {} | {} | {} |\n",
                mark(one.outcome),
                one.outcome,
                prose(&one.title),
                one.counts.passed,
                one.counts.failed,
                one.counts.inconclusive,
                bound(one.failing)
            )
        })
        .collect();
    format!(
        "| Outcome | Scenario | Passed | Failed | Inconclusive | Fails in (95 %) |\n\
         |---|---|--:|--:|--:|---|\n{}",
        rows.concat()
    )
}

fn one_scenario(series: &SeriesReport, (one, repeats): Group<'_>) -> String {
    let mut out = format!(
        "\n## {} {}\n\n{} against {}\n\n",
        mark(one.outcome),
        prose(&one.title),
        code(&one.file),
        code(&one.system)
    );
    for sentence in sentences(series, one) {
        out.push_str(&format!("- {}\n", prose(&sentence)));
    }
    for repeat in repeats {
        if let Some(trouble) = &repeat.trouble {
            let said = format!(
                "repeat {}, {}: {}",
                nth(repeat),
                trouble.kind.heading(),
                trouble.message
            );
            out.push_str(&format!("\n> **{}**\n", prose(&said)));
        }
    }
    let (met, unmet): (Vec<_>, Vec<_>) = one
        .requirements
        .iter()
        .partition(|requirement| requirement.outcome == SeriesOutcome::Pass);
    if !unmet.is_empty() {
        out.push_str(&format!("\n{}", table(&unmet)));
    }
    for requirement in &unmet {
        let status = match requirement.outcome {
            SeriesOutcome::Inconclusive => Status::Inconclusive,
            _ => Status::Fail,
        };
        if let Some((repeat, verdict)) = first(repeats, &requirement.id, status) {
            let which = format!("repeat {} (seed {}), ", nth(repeat), repeat.seed);
            out.push_str(&evidence(&which, verdict));
        }
    }
    if !met.is_empty() {
        let title = format!(
            "{} met in every repeat",
            counted(met.len() as u64, "requirement")
        );
        out.push_str(&folded(&title, &table(&met)));
    }
    out.push_str(&folded("The repeats", &each((one, repeats))));
    out
}

fn table(requirements: &[&RequirementSeries]) -> String {
    let rows: Vec<String> = requirements
        .iter()
        .map(|one| {
            format!(
                "| {} {} | **{}** | {} | {} | {} |\n",
                mark(one.outcome),
                one.outcome,
                prose(&one.id),
                prose(&one.that),
                prose(&why(one)),
                bound(one.failing)
            )
        })
        .collect();
    format!(
        "| Outcome | Id | Requirement | In the repeats | Fails in (95 %) |\n|---|---|---|---|---|\n{}",
        rows.concat()
    )
}

fn each((one, repeats): Group<'_>) -> String {
    let rows: Vec<String> = repeats
        .iter()
        .take(REPEATS_MAX)
        .map(|repeat| {
            format!(
                "| {} | {} {} | {} | {} | {} |\n",
                nth(repeat),
                crate::report::words::mark(repeat.status),
                repeat.status,
                repeat.seed,
                span(repeat.duration_us),
                code(&repeat.repeat)
            )
        })
        .collect();
    let more = one.repeats.len().saturating_sub(REPEATS_MAX);
    let more = if more > 0 {
        format!("\nAnd {more} more, in report.json.\n")
    } else {
        String::new()
    };
    format!(
        "| Repeat | Verdict | Seed | Took | Run it alone |\n|--:|---|--:|--:|---|\n{}{more}",
        rows.concat()
    )
}
