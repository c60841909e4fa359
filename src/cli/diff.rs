//! `brownout diff`: two runs compared, or two matrices, or two searches for metastability.

use super::{Exit, Failure, args::Diff as Args, report::deliver, runs, say};
use crate::{
    matrix::{MATRIX_VERSION, Matrix},
    metastability::{METASTABILITY_VERSION, MetastabilityReport},
    report::diff::{
        Diff, FORMATS, FormatDef, Outcome, compare, compare_matrices, compare_searches,
    },
};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Carries it out.
pub fn diff(args: &Args) -> Result<Exit, Failure> {
    let format = format(args)?;
    let compared = compared(args)?;
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

/// What can be compared with its like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Run,
    Matrix(PathBuf),
    Search(PathBuf),
}

/// The files of matrices and searches.
const MATRIX: &str = "matrix.json";
const SEARCH: &str = "metastability.json";

impl Kept {
    /// What stands at a path: by the name of the file, and in a folder what is there where no run is.
    fn at(path: &Path) -> Self {
        let in_folder = |name: &str| {
            let file = path.join(name);
            (path.is_dir() && !path.join("report.json").exists() && file.exists()).then_some(file)
        };
        let named = |name: &str| path.file_name().is_some_and(|own| own == name);
        if let Some(file) = in_folder(MATRIX) {
            return Self::Matrix(file);
        }
        if let Some(file) = in_folder(SEARCH) {
            return Self::Search(file);
        }
        match path {
            path if path.is_dir() => Self::Run,
            path if named(MATRIX) => Self::Matrix(path.to_owned()),
            path if named(SEARCH) => Self::Search(path.to_owned()),
            path => Self::by_content(path),
        }
    }

    /// A file may be called otherwise: it is known by its version's companions.
    fn by_content(path: &Path) -> Self {
        match runs::keys(path) {
            Some(keys) if keys.contains("trials") => Self::Matrix(path.to_owned()),
            Some(keys) if keys.contains("watch_us") => Self::Search(path.to_owned()),
            _ => Self::Run,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Matrix(_) => "a matrix",
            Self::Search(_) => "a search for metastability",
        }
    }
}

fn compared(args: &Args) -> Result<Diff, Failure> {
    let name = |path: &Path| path.display().to_string();
    match (Kept::at(&args.old), Kept::at(&args.new)) {
        (Kept::Run, Kept::Run) => {
            let (old, new) = (runs::read(&args.old)?, runs::read(&args.new)?);
            Ok(compare(
                (&name(&old.file), &old.report),
                (&name(&new.file), &new.report),
                args.noise,
            ))
        }
        (Kept::Matrix(old), Kept::Matrix(new)) => {
            let read = |file: &Path| read::<Matrix>(file, "matrix", MATRIX_VERSION);
            let (before, after) = (read(&old)?, read(&new)?);
            let (old, new) = (name(&old), name(&new));
            Ok(compare_matrices(
                (&old, &before),
                (&new, &after),
                args.noise,
            ))
        }
        (Kept::Search(old), Kept::Search(new)) => {
            let read =
                |file: &Path| read::<MetastabilityReport>(file, "search", METASTABILITY_VERSION);
            let (before, after) = (read(&old)?, read(&new)?);
            let (old, new) = (name(&old), name(&new));
            Ok(compare_searches(
                (&old, &before),
                (&new, &after),
                args.noise,
            ))
        }
        (old, new) => Err(Failure::usage(
            format!(
                "`{}` is {}, and `{}` is {}",
                args.old.display(),
                old.name(),
                args.new.display(),
                new.name()
            ),
            "compare two of the same sort",
        )),
    }
}

/// Reads what a matrix or a search left.
fn read<T: DeserializeOwned>(file: &Path, what: &str, version: u32) -> Result<T, Failure> {
    let command = if what == "matrix" {
        "matrix"
    } else {
        "metastability"
    };
    let hint = format!("name what `brownout {command}` wrote, or the folder it is in");
    runs::document(file, what, version, &hint)
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
