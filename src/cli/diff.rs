//! `brownout diff`: two runs compared.

use super::{Exit, Failure, args::Diff as Args, report::deliver, runs, say};
use crate::report::diff::{FORMATS, FormatDef, Outcome, compare};
use std::path::Path;

/// Carries it out.
pub fn diff(args: &Args) -> Result<Exit, Failure> {
    let format = format(args)?;
    let (old, new) = (runs::read(&args.old)?, runs::read(&args.new)?);
    let name = |run: &runs::Saved| run.file.display().to_string();
    let compared = compare(
        (&name(&old), &old.report),
        (&name(&new), &new.report),
        args.noise,
    );
    let compared = if args.allow_policy_changes {
        compared.allowing_policy_changes()
    } else {
        compared
    };
    let bytes = (format.render)(&compared);
    let for_terminals = format.name == FORMATS[0].name;
    match &args.out {
        None if for_terminals => say::data(&bytes)?,
        // Colours are for terminals.
        Some(_) if for_terminals => deliver(
            args.out.as_deref(),
            &anstream::adapter::strip_bytes(&bytes).into_vec(),
        )?,
        out => deliver(out.as_deref(), &bytes)?,
    }
    Ok(match compared.outcome {
        Outcome::NoRegression => Exit::Pass,
        Outcome::Regression => Exit::Fail,
        Outcome::CannotBeTold => Exit::Inconclusive,
    })
}

/// The format that was asked for, else the one that the file's name asks for, else the terminal's.
fn format(args: &Args) -> Result<&'static FormatDef, Failure> {
    let end = args.out.as_deref().and_then(Path::extension);
    let asked = |def: &&FormatDef| match &args.format {
        Some(name) => def.name == name,
        None => end.is_some_and(|end| def.ends.iter().any(|one| end.eq_ignore_ascii_case(one))),
    };
    if let Some(def) = FORMATS.iter().find(asked) {
        return Ok(def);
    }
    match &args.out {
        None => Ok(&FORMATS[0]),
        Some(file) => Err(Failure::usage(
            format!("`{}` does not say which format is meant", file.display()),
            "add `--format terminal`, `markdown`, `html` or `json`",
        )),
    }
}
