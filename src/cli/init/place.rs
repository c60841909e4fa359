//! Puts files where they belong: all of them or none.

use crate::cli::{Failure, paths::in_words};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file to be written.
pub struct Wanted {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
}

/// Fails where one of the files is there already: with all of them in one message.
///
/// # Errors
/// At least one is there.
pub fn refuse_existing(wanted: &[Wanted]) -> Result<(), Failure> {
    let there: Vec<String> = wanted
        .iter()
        .filter(|file| file.path.symlink_metadata().is_ok())
        .map(|file| format!("`{}`", file.path.display()))
        .collect();
    let are = match there.len() {
        0 => return Ok(()),
        1 => "is",
        _ => "are",
    };
    Err(Failure::usage(
        format!(
            "{} {are} there already; nothing was written",
            there.join(" and ")
        ),
        "--force replaces what is there, --dry-run only prints",
    ))
}

/// Writes them all, or none: what was there before is there again where one of them fails.
///
/// # Errors
/// One of them cannot be written.
pub fn write(wanted: &[Wanted], force: bool) -> Result<(), Failure> {
    let mut undo = Undo::default();
    let mut staged = Vec::new();
    for file in wanted {
        let folder = file.path.parent().unwrap_or(Path::new("."));
        let stage = make_folders(folder, &mut undo)
            .and_then(|()| stage(folder, &file.text))
            .map_err(|error| refused(&file.path, &error))?;
        staged.push((stage, file));
    }
    for (stage, file) in staged {
        let before = if force {
            fs::read(&file.path).ok()
        } else {
            None
        };
        let placed = if force {
            stage.persist(&file.path).map_err(|error| error.error)
        } else {
            stage
                .persist_noclobber(&file.path)
                .map_err(|error| error.error)
        };
        placed.map_err(|error| refused(&file.path, &error))?;
        undo.files.push((file.path.clone(), before));
    }
    undo.done = true;
    Ok(())
}

fn stage(folder: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".brownout-init-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: what the user's mask takes away is taken away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn make_folders(folder: &Path, undo: &mut Undo) -> io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|one| !one.as_os_str().is_empty() && !one.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder)?;
        undo.folders.push(folder.to_owned());
    }
    Ok(())
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let path = format!("`{}`", path.display());
    Failure::usage(
        format!(
            "cannot write {path}: {}; nothing was written",
            in_words(error)
        ),
        "--dry-run prints what would be written",
    )
}

/// Takes back what was done, unless all was.
#[derive(Default)]
struct Undo {
    done: bool,
    folders: Vec<PathBuf>,
    files: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // What cannot be taken back either is beyond us; the message says what went wrong first.
        for (path, before) in self.files.drain(..).rev() {
            let _ = match before {
                Some(bytes) => fs::write(&path, bytes),
                None => fs::remove_file(&path),
            };
        }
        for folder in self.folders.drain(..).rev() {
            let _ = fs::remove_dir(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(folder: &Path, names: &[&str]) -> Vec<Wanted> {
        let names = names.iter();
        names
            .map(|name| Wanted {
                path: folder.join(name),
                text: format!("{name} is new"),
            })
            .collect()
    }

    #[test]
    fn files_and_their_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(folder.path(), &["a.toml", "x/y/b.toml"]);
        write(&wanted, false).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("x/y/b.toml")).unwrap(),
            "x/y/b.toml is new"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted(folder.path(), &["a.toml", "b.toml"]);
        for file in &wanted {
            fs::write(&file.path, "old").unwrap();
        }
        let failure = refuse_existing(&wanted).unwrap_err();
        assert!(failure.message.contains("a.toml") && failure.message.contains("b.toml"));
        assert!(write(&wanted, false).is_err());
        assert_eq!(fs::read_to_string(&wanted[0].path).unwrap(), "old");
        write(&wanted, true).unwrap();
        assert_eq!(
            fs::read_to_string(&wanted[0].path).unwrap(),
            "a.toml is new"
        );
    }

    #[test]
    fn where_one_cannot_be_written_none_is() {
        for force in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut wanted = wanted(folder.path(), &["a.toml", "b.toml", "new/c.toml"]);
            if force {
                fs::write(&wanted[0].path, "old").unwrap();
            }
            // A folder stands where the second is to be.
            fs::create_dir_all(wanted[1].path.join("full")).unwrap();
            wanted.swap(1, 2);
            assert!(write(&wanted, force).is_err());
            let first = fs::read_to_string(&wanted[0].path).ok();
            assert_eq!(first.as_deref(), force.then_some("old"));
            assert!(!folder.path().join("new").exists());
            let left = fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 1 + usize::from(force), "nothing of ours is left");
        }
    }
}
