//! `brownout schema`: the JSON Schemas of the files that are read, for editors, and of the report
//! that is written, for other programs.

use super::{
    Exit, Failure,
    args::{Schema, SchemaFile},
    say,
};
use crate::{report::REPORT_SCHEMA, scenario};
use serde_json::Value;

/// Carries it out.
pub fn schema(args: &Schema) -> Result<Exit, Failure> {
    let (scenario, system) = scenario::schema();
    let report: Value =
        serde_json::from_str(REPORT_SCHEMA).expect("the schema of the report is JSON");
    let schema = match args.file {
        Some(SchemaFile::Scenario) => scenario,
        Some(SchemaFile::System) => system,
        Some(SchemaFile::Report) => report,
        None => serde_json::json!({ "scenario": scenario, "system": system, "report": report }),
    };
    say::data(format!("{schema:#}\n").as_bytes())?;
    Ok(Exit::Pass)
}
