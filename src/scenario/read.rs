//! Files to a valid system and scenario.

use super::{
    Scenario, System, expects, faults, keys, outage,
    system::{self, Outline},
};
use crate::input::{Fields, Problem, Problems, Severity, Source, Span};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};
use toml::{Spanned, de::DeTable};

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a system file. There is a result only where nothing in it is an error.
pub fn load_system(path: &Path, problems: &mut Problems) -> Option<System> {
    let source = read_file(path, None, problems)?;
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
    let scenario = read_file(path, None, problems);
    let (system_path, named_at) = match (system_override, &scenario) {
        (Some(given), _) => (Some(given.to_path_buf()), None),
        (None, Some(source)) => match named_system(source, problems) {
            Some((named, place)) => (Some(beside(path, &named)), Some((source, place))),
            None => (None, None),
        },
        (None, None) => (None, None),
    };
    let system = system_path.and_then(|path| {
        let folder = folder_of(&path);
        read_file(&path, named_at, problems).map(|source| (source, folder))
    });
    match scenario {
        Some(scenario) => from_sources(scenario, system, problems),
        None => {
            let (source, folder) = system?;
            system_from_text(source, folder, problems);
            None
        }
    }
}

/// The same from texts, for a history that holds both. `system_folder` is where the system's
/// relative paths start.
pub fn from_texts(
    scenario: Source,
    system: Source,
    system_folder: PathBuf,
    problems: &mut Problems,
) -> Option<(Scenario, System)> {
    from_sources(scenario, Some((system, system_folder)), problems)
}

/// A system from its text. `folder` is where its relative paths start.
pub fn system_from_text(
    source: Source,
    folder: PathBuf,
    problems: &mut Problems,
) -> Option<System> {
    let before = problems.error_count();
    let (system, _) = read_system(&source, &folder, problems)?;
    (problems.error_count() == before).then_some(system)
}

fn from_sources(
    scenario: Source,
    system: Option<(Source, PathBuf)>,
    problems: &mut Problems,
) -> Option<(Scenario, System)> {
    let before = problems.error_count();
    let read = system.and_then(|(source, folder)| read_system(&source, &folder, problems));
    let outline = read.as_ref().map(|(_, outline)| outline);
    let scenario = parsed(&scenario, problems).and_then(|table| {
        let root = Fields::new(
            table.get_ref(),
            0..0,
            &scenario,
            "the scenario",
            keys::SCENARIO_FILE,
            &[],
            problems,
        );
        outage::read(&root, outline, problems)
    });
    let (scenario, (system, _)) = (scenario?, read?);
    if problems.error_count() > before {
        return None;
    }
    expects::forewarn(&scenario, &system, problems);
    faults::forewarn(&scenario, problems);
    Some((scenario, system))
}

fn read_system(
    source: &Source,
    folder: &Path,
    problems: &mut Problems,
) -> Option<(System, Outline)> {
    let table = parsed(source, problems)?;
    let root = Fields::new(
        table.get_ref(),
        0..0,
        source,
        "the system file",
        keys::SYSTEM_FILE,
        &[],
        problems,
    );
    system::read(&root, folder, problems)
}

/// The table that a text says, or the problem where its syntax breaks.
fn parsed<'a>(source: &'a Source, problems: &mut Problems) -> Option<Spanned<DeTable<'a>>> {
    match DeTable::parse(&source.text) {
        Ok(table) => Some(table),
        Err(error) => {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            problems.error(source, error.span(), format!("no TOML: {message}"), None);
            None
        }
    }
}

/// The `system` of a scenario and its place. A scenario that is no TOML is reported later.
fn named_system(source: &Source, problems: &mut Problems) -> Option<(String, Span)> {
    let table = DeTable::parse(&source.text).ok()?;
    match table.get_ref().get("system") {
        Some(value) => Some((value.get_ref().as_str()?.to_owned(), value.span())),
        None => {
            problems.error(
                source,
                None,
                "the scenario names no system to run against",
                "add `system = \"brownout.toml\"`, or give --system FILE".to_owned(),
            );
            None
        }
    }
}

/// A path that is relative to the folder of another file.
fn beside(file: &Path, path: &str) -> PathBuf {
    match file.parent() {
        Some(parent) => parent.join(path),
        None => PathBuf::from(path),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The text of a file, or a problem that says why there is none, at the place that names it.
fn read_file(
    path: &Path,
    named_at: Option<(&Source, Span)>,
    problems: &mut Problems,
) -> Option<Source> {
    let name = path.display().to_string();
    match text_of(path) {
        Ok(text) => Some(Source::file(name, text)),
        Err(why) => {
            problems.add(Problem {
                severity: Severity::Error,
                message: format!("cannot read `{name}`: {why}"),
                source: named_at.as_ref().map(|(source, _)| (*source).clone()),
                span: named_at.map(|(_, span)| span),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::redacted;

    #[test]
    fn files_without_their_secrets_say_the_same_scenarios() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(&root).expect("there are scenarios");
        let files = files.flatten().map(|file| file.path());
        let mut count = 0;
        for path in files.filter(|path| path.extension().is_some_and(|end| end == "toml")) {
            let mut before = Problems::default();
            let (scenario, system) =
                load_scenario(&path, None, &mut before).expect("it is a scenario");
            let text = |source: &Source| Source::new(&*source.name, redacted(&source.text));
            let mut after = Problems::default();
            let (scenario, system) = (text(&scenario.source), text(&system.source));
            let again = from_texts(scenario, system, PathBuf::from("scenarios"), &mut after);
            assert!(again.is_some(), "{}: {after:?}", path.display());
            count += 1;
        }
        assert!(count >= 5, "{count} scenarios");
    }
}
