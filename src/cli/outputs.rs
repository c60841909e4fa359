//! The files that a command writes, opened before it begins: a path that cannot be written costs
//! nothing but a message.

use super::{Failure, paths::in_words, say};
use crate::{
    history,
    report::{REPORTS, ReportDef, SuiteReport},
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The file that a run's history is in.
pub const HISTORY: &str = "history.jsonl";

/// The open files of all reports.
#[derive(Debug)]
pub struct Outputs {
    folder: PathBuf,
    files: Vec<Output>,
}

struct Output {
    def: &'static ReportDef,
    path: PathBuf,
    file: File,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("path", &self.path).finish()
    }
}

impl Outputs {
    /// Makes the folder and opens the reports' files in it. What they held before is gone.
    ///
    /// # Errors
    /// The folder or a file cannot be made.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
        let mut files = Vec::new();
        for def in REPORTS {
            let Some(name) = def.file else { continue };
            let path = folder.join(name);
            let file = File::create(&path).map_err(|error| refused(&path, &error))?;
            files.push(Output { def, path, file });
        }
        Ok(Self {
            folder: folder.to_owned(),
            files,
        })
    }

    /// Makes an empty folder for what one scenario writes, and makes sure that it can be written.
    /// `taken` has the names of those made before; a name that is taken gets a number.
    ///
    /// # Errors
    /// The folder cannot be made, or files in it cannot.
    pub fn scenario_folder(
        &self,
        file: &Path,
        taken: &mut Vec<String>,
    ) -> Result<PathBuf, Failure> {
        let folder = self.named(file, taken);
        empty(&folder)?;
        forget_repeats(&folder);
        Ok(folder)
    }

    /// Makes a folder for the repeats of one scenario, with that of the first in it.
    ///
    /// # Errors
    /// As [`Outputs::scenario_folder`].
    pub fn series_folder(&self, file: &Path, taken: &mut Vec<String>) -> Result<PathBuf, Failure> {
        let folder = self.named(file, taken);
        forget(&folder);
        forget_repeats(&folder);
        repeat_folder(&folder, 1)?;
        Ok(folder)
    }

    fn named(&self, file: &Path, taken: &mut Vec<String>) -> PathBuf {
        let stem = file
            .file_stem()
            .unwrap_or(file.as_os_str())
            .to_string_lossy();
        let name = (1..)
            .map(|nth| match nth {
                1 => stem.to_string(),
                nth => format!("{stem}-{nth}"),
            })
            .find(|name| !taken.contains(name))
            .expect("numbers do not end");
        let folder = self.folder.join(&name);
        taken.push(name);
        folder
    }

    /// Renders the report into every file. A file that cannot be written does not keep the others
    /// from it.
    ///
    /// # Errors
    /// A file could not be written; all of them were tried, and what went wrong was said.
    pub fn write(&mut self, report: &mut SuiteReport) -> io::Result<()> {
        report.files = self
            .files
            .iter()
            .map(|output| output.path.display().to_string())
            .collect();
        let mut result = Ok(());
        for output in &mut self.files {
            let bytes = (output.def.render)(report);
            if let Err(error) = output.file.write_all(&bytes) {
                let path = output.path.display();
                say::error(
                    &format!("cannot write `{path}`: {}", in_words(&error)),
                    None,
                );
                result = Err(error);
            }
        }
        result
    }
}

/// What the folder of a repeat begins with; its number follows.
pub const REPEAT: &str = "repeat-";

/// Makes an empty folder for what one repeat writes.
///
/// # Errors
/// The folder cannot be made, or files in it cannot.
pub fn repeat_folder(scenario: &Path, nth: u32) -> Result<PathBuf, Failure> {
    let folder = scenario.join(format!("{REPEAT}{nth}"));
    empty(&folder)?;
    Ok(folder)
}

/// The number of the repeat that a folder is of, by its name.
pub fn repeat_of(folder: &Path) -> Option<u32> {
    let name = folder.file_name()?.to_str()?;
    name.strip_prefix(REPEAT)?.parse().ok()
}

/// Makes a folder with an empty history.
fn empty(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| refused(folder, &error))?;
    let history = folder.join(HISTORY);
    File::create(&history).map_err(|error| refused(&history, &error))?;
    forget_packed(&history);
    Ok(())
}

/// Empties what the repeats of an earlier series left, so that nobody takes it for what this run
/// left.
fn forget_repeats(scenario: &Path) {
    let entries = fs::read_dir(scenario).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    for folder in folders.filter(|folder| repeat_of(folder).is_some()) {
        forget(&folder);
    }
}

/// Empties the history and the reports that are in a folder.
fn forget(folder: &Path) {
    let names = REPORTS.iter().filter_map(|def| def.file);
    for file in names.chain([HISTORY]).map(|name| folder.join(name)) {
        if file.is_file() {
            // What cannot be emptied is told apart by when it began.
            let _ = File::create(&file);
        }
    }
    forget_packed(&folder.join(HISTORY));
}

/// Removes what an earlier run packed: what is there of this one is taken, even if that is nothing.
fn forget_packed(history: &Path) {
    let packed = history::packed(history);
    if packed.is_file() {
        // What cannot be removed is told apart by when it began.
        let _ = fs::remove_file(packed);
    }
}

/// The failure of a path that cannot be written.
pub(super) fn refused(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(
        format!("cannot write `{}`: {}", path.display(), in_words(error)),
        "name another folder with `--out DIR`; nothing was started",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_of_the_same_name_get_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::open(&folder.path().join("a/b")).unwrap();
        let mut taken = Vec::new();
        let one = outputs
            .scenario_folder(Path::new("x/s.toml"), &mut taken)
            .unwrap();
        let two = outputs
            .scenario_folder(Path::new("y/s.toml"), &mut taken)
            .unwrap();
        assert!(one.ends_with("a/b/s") && two.ends_with("a/b/s-2"));
    }

    #[test]
    fn what_an_earlier_series_left_is_emptied_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::open(folder.path()).unwrap();
        let file = Path::new("x/s.toml");
        let series = outputs.series_folder(file, &mut Vec::new()).unwrap();
        assert!(series.join("repeat-1/history.jsonl").is_file());
        assert!(!series.join(HISTORY).exists());
        let third = repeat_folder(&series, 3).unwrap();
        let others = ["notes.txt", "report.json", "history.jsonl"].map(|name| third.join(name));
        for file in &others {
            fs::write(file, "something").unwrap();
        }
        let alone = outputs.scenario_folder(file, &mut Vec::new()).unwrap();
        assert_eq!(alone, series);
        let lengths = others.map(|file| fs::metadata(file).unwrap().len());
        assert_eq!(lengths, [9, 0, 0]);
        assert_eq!(repeat_of(&third), Some(3));
        assert_eq!(repeat_of(Path::new("repeat-x")), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Outputs::open(&file.path().join("out")).is_err());
    }
}
