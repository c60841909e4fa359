//! History and verdicts to bytes. Reports open no file and print nothing: a renderer turns a
//! [`SuiteReport`] into bytes, and the command line decides where they go.
//!
//! A new report is one file and two adjacent lines here: its `mod` and its entry in [`REPORTS`].

mod annotations;
mod build;
mod clumps;
pub mod diff;
mod digests;
mod html;
mod json;
mod junit;
pub(crate) mod layout;
pub mod matrix;
pub mod metastability;
mod model;
#[cfg(test)]
pub(crate) mod sample;
mod schema;
pub mod selftest;
pub mod series;
mod side;
mod spread;
mod summary;
mod template;
mod terminal;
mod timeline;
mod trace;
mod words;
mod writes;
mod xml;

pub use annotations::{github_annotations, without_commands};
pub use build::{Material, add_history, build, build_without_history};
pub use model::{
    Attempts, BACKLOG_STEPS_MAX, BacklogReport, Calls, DeclaredReport, DependencyPhase,
    DependencyReport, DetectedReport, Digests, FaultReport, IncidentReport, LedgerReport,
    LoadPhase, LoadReport, Outcomes, POLICIES_VERSION, PhaseReport, PoliciesReport, REPORT_VERSION,
    RecoveryReport, ScenarioReport, Spread, SuiteReport, Trouble, TroubleKind, UnlistedHostReport,
};

pub use schema::{MATRIX_SCHEMA, METASTABILITY_SCHEMA, REPORT_SCHEMA};
pub use series::{Repetition, SeriesReport};
pub use template::{TEMPLATE_BYTES_MAX, TemplateError, fill, is_markup};
pub use timeline::{
    BINS_MAX, DependencySeries, Detected, LedgerSeries, Life, LifeSpan, LoadSeries, State, Timeline,
};
pub use trace::{End, Part, SPANS_MAX, Span, Trace, traces};
pub use words::why;
pub use writes::{WriteExampleReport, WriteWindowReport, WritesReport};

/// A kind of report.
pub struct ReportDef {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The file it is written to in `--out`; `None` for the terminal's.
    pub file: Option<&'static str>,
    /// Results to bytes.
    pub render: fn(&SuiteReport) -> Vec<u8>,
}

/// Every report, in the order written.
pub const REPORTS: &[ReportDef] = &[
    terminal::TERMINAL,
    json::JSON,
    junit::JUNIT,
    summary::SUMMARY,
    html::HTML,
];

/// The report for the terminal.
pub fn terminal(report: &SuiteReport) -> Vec<u8> {
    (terminal::TERMINAL.render)(report)
}

/// The summary in Markdown.
pub fn summary(report: &SuiteReport) -> Vec<u8> {
    (summary::SUMMARY.render)(report)
}

/// A word as a shell reads it back: plain where it can be, else in single quotes.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("a/b-1.toml"), "a/b-1.toml");
        assert_eq!(quoted("my file's.toml"), r"'my file'\''s.toml'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_suite_without_a_scenario_is_no_pass() {
        let report = SuiteReport::new(String::new(), 1, Vec::new());
        assert_eq!(report.status, crate::expectation::Status::Inconclusive);
    }
}
