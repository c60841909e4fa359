//! History and verdicts to bytes. Reports open no file and print nothing: a renderer turns a
//! [`SuiteReport`] into bytes, and the command line decides where they go.
//!
//! A new report is one file and two adjacent lines here: its `mod` and its entry in [`REPORTS`].

mod model;

pub use model::{
    Attempts, DependencyPhase, DependencyReport, FaultReport, IncidentReport, LoadPhase,
    LoadReport, Outcomes, PhaseReport, REPORT_VERSION, RecoveryReport, ScenarioReport, SuiteReport,
    Trouble, TroubleKind,
};

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
pub const REPORTS: &[ReportDef] = &[];
