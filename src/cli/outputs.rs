//! The files that a command writes, opened before it begins: a path that cannot be written costs
//! nothing but a message.

use super::{Failure, paths::in_words, say};
use crate::report::{REPORTS, ReportDef, SuiteReport};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

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
        fs::create_dir_all(&folder).map_err(|error| refused(&folder, &error))?;
        let history = folder.join("history.jsonl");
        File::create(&history).map_err(|error| refused(&history, &error))?;
        Ok(folder)
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

fn refused(path: &Path, error: &io::Error) -> Failure {
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
    fn a_folder_that_cannot_be_made_is_said_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Outputs::open(&file.path().join("out")).is_err());
    }
}
