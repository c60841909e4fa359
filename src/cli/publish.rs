//! What a command says when it is done: the verdicts on standard output and, where it is asked for,
//! annotations for a build server and a summary appended to a file of somebody else's.

use super::{
    Failure,
    args::{Annotations, Publish},
    paths::in_words,
    say,
};
use crate::{
    report::{self, SuiteReport},
    seed::Seed,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

/// Where results go, opened before anything begins.
#[derive(Debug)]
pub struct Publication {
    annotations: Option<Annotations>,
    summary: Option<(PathBuf, File)>,
}

impl Publication {
    /// Opens the file that the summary is appended to.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(args: &Publish) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map(|file| (path.clone(), file)).map_err(|error| {
                Failure::usage(
                    format!("cannot write `{}`: {}", path.display(), in_words(&error)),
                    "name another file with `--append-summary FILE`; nothing was started",
                )
            })
        };
        Ok(Self {
            annotations: args.annotations,
            summary: args.append_summary.as_ref().map(open).transpose()?,
        })
    }

    /// Says everything. A summary that cannot be appended does not keep the verdicts from being
    /// said.
    ///
    /// # Errors
    /// Standard output or the summary's file cannot be written.
    pub fn publish(self, report: &SuiteReport) -> io::Result<()> {
        let said = self.say(report);
        let Some((path, mut file)) = self.summary else {
            return said;
        };
        let appended = file.write_all(&report::summary(report));
        if let Err(error) = &appended {
            let message = format!("cannot write `{}`: {}", path.display(), in_words(error));
            say::error(&message, None);
        }
        said.and(appended)
    }

    fn say(&self, report: &SuiteReport) -> io::Result<()> {
        let text = report::terminal(report);
        let Some(Annotations::Github) = self.annotations else {
            return say::data(&text);
        };
        // What the system under test said may look like a command.
        let token = format!("brownout-{:016x}{:016x}", Seed::fresh().0, Seed::fresh().0);
        say::data(&report::without_commands(&text, &token))?;
        let here = std::env::current_dir().ok();
        let root = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
        let path = |file: &str| from_root(file, here.as_deref(), root.as_deref());
        say::data(report::github_annotations(report, path).as_bytes())
    }
}

/// The path of a file from the root of the repository, with slashes, as a change names it. Where the
/// root is not known or the file lies elsewhere, it stays as it was typed, but for `.` and `..`.
fn from_root(file: &str, here: Option<&Path>, root: Option<&Path>) -> String {
    let typed = Path::new(file);
    let whole = here.map_or_else(|| typed.to_owned(), |here| plain(&here.join(typed)));
    let inside = root.and_then(|root| whole.strip_prefix(plain(root)).ok());
    let path = inside.map_or_else(|| plain(typed), Path::to_owned);
    path.display().to_string().replace('\\', "/")
}

/// A path without `.`, and without `..` where there is something to go up from.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_of_the_repository() {
        let named = |file: &str, here: &str, root: Option<&str>| {
            from_root(file, Some(Path::new(here)), root.map(Path::new))
        };
        let root = Some("/home/me/shop");
        for (file, here, expected) in [
            ("s3.toml", "/home/me/shop/tests", "tests/s3.toml"),
            ("./a/./s3.toml", "/home/me/shop", "a/s3.toml"),
            ("../s3.toml", "/home/me/shop/tests", "s3.toml"),
            ("/home/me/shop/x/s3.toml", "/tmp", "x/s3.toml"),
            ("/elsewhere/s3.toml", "/home/me/shop", "/elsewhere/s3.toml"),
            ("../../s3.toml", "/home/me/shop", "../../s3.toml"),
        ] {
            assert_eq!(named(file, here, root), expected, "{file} in {here}");
        }
        assert_eq!(named("./s3.toml", "/home/me/shop", None), "s3.toml");
        assert_eq!(from_root("s3.toml", None, Some(Path::new("/x"))), "s3.toml");
    }
}
