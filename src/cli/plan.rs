//! `brownout plan`: what would happen and when, without starting anything.

use super::{Exit, Failure, args::Plan, files, say};
use crate::scenario;

/// Carries it out.
pub fn plan(args: &Plan) -> Result<Exit, Failure> {
    let ready = files::read(&args.paths, args.system.as_deref())?;
    let plans: Vec<String> = ready
        .iter()
        .map(|one| {
            let timeline = scenario::plan(&one.scenario, &one.system, args.speed);
            format!("{}\n{timeline}", one.file.display())
        })
        .collect();
    say::data(plans.join("\n").as_bytes())?;
    Ok(Exit::Pass)
}
