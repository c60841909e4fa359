//! `brownout schema`: the JSON Schema of both files, for editors.

use super::{
    Exit, Failure,
    args::{Schema, SchemaFile},
    say,
};
use crate::scenario;

/// Carries it out.
pub fn schema(args: &Schema) -> Result<Exit, Failure> {
    let (scenario, system) = scenario::schema();
    let schema = match args.file {
        Some(SchemaFile::Scenario) => scenario,
        Some(SchemaFile::System) => system,
        None => serde_json::json!({ "scenario": scenario, "system": system }),
    };
    say::data(format!("{schema:#}\n").as_bytes())?;
    Ok(Exit::Pass)
}
