//! Files to a valid system and scenario.

use super::{Scenario, System};
use crate::input::{Problem, Problems, Severity, Source};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a system file.
pub fn load_system(path: &Path, problems: &mut Problems) -> Option<System> {
    let source = read_file(path, problems)?;
    system_from_text(source, folder_of(path), problems)
}

/// Reads a scenario file and its system: `system_override` (`--system FILE`), else the file that
/// the scenario names, relative to the scenario's own folder. Every problem of both files is
/// appended; there is a result only where none of them is an error.
pub fn load_scenario(
    path: &Path,
    system_override: Option<&Path>,
    problems: &mut Problems,
) -> Option<(Scenario, System)> {
    let scenario = read_file(path, problems)?;
    let system = system_override?;
    let folder = folder_of(system);
    let system = read_file(system, problems)?;
    from_texts(scenario, system, folder, problems)
}

/// The same from texts, for a history that holds both.
pub fn from_texts(
    scenario: Source,
    system: Source,
    system_folder: PathBuf,
    problems: &mut Problems,
) -> Option<(Scenario, System)> {
    system_from_text(system, system_folder, problems)?;
    problems.error(&scenario, None, "scenarios cannot be read yet", None);
    None
}

/// A system from its text. `folder` is where its relative paths start.
pub fn system_from_text(
    source: Source,
    _folder: PathBuf,
    problems: &mut Problems,
) -> Option<System> {
    problems.error(&source, None, "system files cannot be read yet", None);
    None
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The text of a file, or a problem that says why there is none.
fn read_file(path: &Path, problems: &mut Problems) -> Option<Source> {
    let name = path.display().to_string();
    match text_of(path) {
        Ok(text) => Some(Source::new(name, text)),
        Err(why) => {
            problems.add(Problem {
                severity: Severity::Error,
                message: format!("cannot read `{name}`: {why}"),
                source: None,
                span: None,
                hint: None,
            });
            None
        }
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
