//! Scenario and system files, read with all their problems shown in one go.

use super::{Failure, paths, say};
use crate::{
    input::Problems,
    scenario::{Scenario, System, load_scenario},
};
use std::path::{Path, PathBuf};

/// A scenario that is fit to run.
#[derive(Debug)]
pub struct Ready {
    /// Its file, as typed.
    pub file: PathBuf,
    /// The scenario.
    pub scenario: Scenario,
    /// The system that it is run against.
    pub system: System,
}

/// Every scenario that the paths mean. Warnings of all files are shown, also where all is well.
///
/// # Errors
/// Any error in any file: then all problems of all files have been shown.
pub fn read(paths: &[PathBuf], system: Option<&Path>) -> Result<Vec<Ready>, Failure> {
    let mut problems = Problems::default();
    let mut ready = Vec::new();
    for file in paths::scenarios(paths)? {
        if let Some((scenario, system)) = load_scenario(&file, system, &mut problems) {
            ready.push(Ready {
                file,
                scenario,
                system,
            });
        }
    }
    show(problems)?;
    Ok(ready)
}

/// Shows all problems, each once though several files may lead to it.
///
/// # Errors
/// One of them is an error.
pub fn show(problems: Problems) -> Result<(), Failure> {
    let any_error = problems.any_error();
    let mut shown = problems.into_sorted();
    shown.dedup_by(|one, other| {
        one.message == other.message
            && one.span == other.span
            && one.source.as_ref().map(|source| &source.name)
                == other.source.as_ref().map(|source| &source.name)
    });
    say::problems(&shown);
    if any_error {
        Err(Failure::shown())
    } else {
        Ok(())
    }
}
