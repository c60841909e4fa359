//! `matrix.json`: the matrix as it is, with what was found, for other programs.

use super::MatrixReportDef;
use crate::matrix::{Finding, Matrix, Need, findings, needs};
use serde::Serialize;

/// The list's entry.
pub const DEF: MatrixReportDef = MatrixReportDef {
    name: "json",
    file: Some("matrix.json"),
    render,
};

/// What the file holds.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::report) struct Document<'a> {
    #[serde(flatten)]
    matrix: &'a Matrix,
    /// What it comes to: `pass`, `fail`, `inconclusive`.
    status: String,
    /// What was found, the worst first.
    findings: Vec<Finding>,
    /// What loads cannot do without, or not without being hurt.
    needs: Vec<Need>,
}

/// A matrix to bytes.
fn render(matrix: &Matrix) -> Vec<u8> {
    let document = Document {
        matrix,
        status: matrix.status().to_string(),
        findings: findings(matrix),
        needs: needs(matrix),
    };
    let mut bytes = serde_json::to_vec_pretty(&document)
        .expect("a matrix has text keys and finite numbers only");
    bytes.push(b'\n');
    bytes
}
