//! The paths of a command line to the files they mean.

use super::Failure;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The scenario files that these paths mean, in their order and each once. A folder means all
/// `*.toml` directly in it, by name, but for folders that are called so.
///
/// # Errors
/// A path that does not exist, a `*.toml` of a folder that is a link to nothing or no file, or a folder
/// without scenarios: a run of nothing is never green.
pub fn scenarios(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        for file in meant_by(path)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn meant_by(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = path.display();
    let about = fs::metadata(path).map_err(|error| {
        Failure::usage(
            format!("cannot read `{shown}`: {}", in_words(&error)),
            "name a scenario file, or a folder with scenario files directly in it",
        )
    })?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = scenarios_in(path).map_err(|error| {
        Failure::usage(
            format!("cannot read the folder `{shown}`: {}", in_words(&error)),
            "name the scenario files one by one",
        )
    })?;
    if let Some((file, why)) = files.iter().find_map(|file| Some((file, no_file(file)?))) {
        return Err(Failure::usage(
            format!("cannot read `{}`: {why}", file.display()),
            "every `*.toml` directly in a folder of scenarios is run: mend it, or remove it",
        ));
    }
    if files.is_empty() {
        return Err(Failure::usage(
            format!("the folder `{shown}` has no scenario: no `*.toml` directly in it"),
            "folders below it are not searched: name one of them, or a file",
        ));
    }
    Ok(files)
}

/// Why what should be a scenario is no file, if it is none: a link to nothing, or something that is read
/// without an end.
fn no_file(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() => None,
        Ok(_) => Some("it is no file".to_owned()),
        Err(error) => Some(in_words(&error)),
    }
}

fn scenarios_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|end| end == "toml") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// An error of the operating system as a fragment, without its number.
pub fn in_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_means_the_toml_files_directly_in_it_by_name() {
        let folder = folder(&["b.toml", "a.toml", "systems/s.toml", "notes.md", ".x.toml"]);
        let files = scenarios(&[folder.path().to_owned(), folder.path().join("a.toml")]).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["a.toml", "b.toml"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_not_passed_over() {
        let folder = folder(&["a.toml", "folder.toml/notes.md"]);
        let found = scenarios(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found, [folder.path().join("a.toml")]);
        let link = folder.path().join("b.toml");
        std::os::unix::fs::symlink(folder.path().join("moved.toml"), &link).unwrap();
        let refused = scenarios(&[folder.path().to_owned()]).unwrap_err();
        assert!(
            refused.message().contains("b.toml"),
            "{}",
            refused.message()
        );
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.toml"), &link).unwrap();
        assert_eq!(scenarios(&[folder.path().to_owned()]).unwrap().len(), 2);
    }

    #[test]
    fn a_folder_without_scenarios_and_a_path_to_nothing_are_refused() {
        let folder = folder(&["systems/s.toml"]);
        assert!(scenarios(&[folder.path().to_owned()]).is_err());
        assert!(scenarios(&[folder.path().join("missing.toml")]).is_err());
    }
}
