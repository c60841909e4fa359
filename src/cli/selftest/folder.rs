//! Where the runs write: only what was made here is ever removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder that is made here, or else left alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_ours: bool,
}

impl Folder {
    /// The folder that is to be made there.
    pub const fn at(path: PathBuf) -> Self {
        Self {
            path,
            is_ours: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, without anything in it.
    ///
    /// # Errors
    /// It cannot be made, or somebody else has.
    pub fn make(&mut self) -> io::Result<()> {
        self.remove();
        fs::create_dir(&self.path)?;
        self.is_ours = true;
        Ok(())
    }

    /// Removes it with all in it, if it was made here.
    pub fn remove(&mut self) {
        if self.is_ours {
            // What cannot be removed is in the way of the next one, which says so.
            let _ = fs::remove_dir_all(&self.path);
            self.is_ours = false;
        }
    }
}

/// The folder of all runs, and those above it, as far as they were made here.
#[derive(Debug)]
pub struct Out {
    /// The innermost first.
    made: Vec<PathBuf>,
}

impl Out {
    /// Makes it, where it is not there already.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(path: &Path) -> io::Result<Self> {
        let above = path.ancestors();
        let made = above
            .take_while(|one| !one.as_os_str().is_empty() && !is_there(one))
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(path)?;
        Ok(Self { made })
    }

    /// Removes what was made here, unless something is left in it.
    pub fn remove_if_empty(self) {
        for path in self.made {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Whether something is there, if only a link that leads nowhere.
pub fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_here_is_removed_with_all_in_it_and_can_be_made_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let mut folder = Folder::at(scratch.path().join("pool-bad-1"));
        folder.make().unwrap();
        fs::write(folder.path().join("history.jsonl"), "{}").unwrap();
        folder.make().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        folder.remove();
        assert!(!is_there(folder.path()));
    }

    #[test]
    fn what_somebody_else_made_is_neither_used_nor_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("pool-bad-1/thesis.txt");
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, "ten years").unwrap();
        let mut folder = Folder::at(file.parent().unwrap().to_owned());
        let error = folder.make().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        folder.remove();
        assert_eq!(fs::read_to_string(&file).unwrap(), "ten years");
    }

    #[test]
    fn the_place_of_all_runs_goes_as_far_as_it_was_made_here_and_is_empty() {
        let scratch = tempfile::tempdir().unwrap();
        let own = scratch.path().join("own");
        fs::create_dir(&own).unwrap();
        Out::make(&own).unwrap().remove_if_empty();
        assert!(own.is_dir(), "it was there before");
        Out::make(&own.join("a/b")).unwrap().remove_if_empty();
        assert!(!is_there(&own.join("a")) && own.is_dir());
        let out = Out::make(&own.join("a/b")).unwrap();
        fs::write(own.join("a/kept"), "").unwrap();
        out.remove_if_empty();
        assert!(own.join("a/kept").is_file() && !is_there(&own.join("a/b")));
    }
}
