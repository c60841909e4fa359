//! `brownout schema`: the JSON Schemas of the files that are read, for editors, and of those that are
//! written, for other programs.

use super::{
    Exit, Failure,
    args::{Schema, SchemaFile},
    say,
};
use crate::{
    history::HISTORY_SCHEMA,
    report::{MATRIX_SCHEMA, METASTABILITY_SCHEMA, REPORT_SCHEMA},
    scenario,
};
use serde_json::Value;

/// Carries it out.
pub fn schema(args: &Schema) -> Result<Exit, Failure> {
    let (scenario, system) = scenario::schema();
    let published =
        |text: &str| -> Value { serde_json::from_str(text).expect("a published schema is JSON") };
    let report = published(REPORT_SCHEMA);
    let matrix = published(MATRIX_SCHEMA);
    let metastability = published(METASTABILITY_SCHEMA);
    let history = published(HISTORY_SCHEMA);
    let schema = match args.file {
        Some(SchemaFile::Scenario) => scenario,
        Some(SchemaFile::System) => system,
        Some(SchemaFile::Report) => report,
        Some(SchemaFile::Matrix) => matrix,
        Some(SchemaFile::Metastability) => metastability,
        Some(SchemaFile::History) => history,
        None => serde_json::json!({
            "scenario": scenario,
            "system": system,
            "report": report,
            "matrix": matrix,
            "metastability": metastability,
            "history": history,
        }),
    };
    say::data(format!("{schema:#}\n").as_bytes())?;
    Ok(Exit::Pass)
}
