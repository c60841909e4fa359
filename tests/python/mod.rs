//! The Python that `tests/run` installed, with the real clients that tests use.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The interpreter. A missing one is a failure and not a skip.
pub fn interpreter() -> PathBuf {
    std::env::var_os("BROWNOUT_TEST_PYTHON")
        .map(PathBuf::from)
        .or_else(|| {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
                || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
                PathBuf::from,
            );
            Some(target.join("tests-venv/bin/python"))
        })
        .filter(|path| path.exists())
        .expect("the tests' Python is missing: run tests/run, which installs it")
}

/// A program that came with a package.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn tool(name: &str) -> PathBuf {
    interpreter().with_file_name(name)
}

/// A script of this repository.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn command(script: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script));
    command
}

/// A line of Python.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn inline(code: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.args(["-c", code]);
    command
}

/// The packages of boto3 before 2026.
#[allow(dead_code, reason = "not every test file uses it")]
pub fn before_2026() -> PathBuf {
    let folder = interpreter()
        .parent()
        .and_then(Path::parent)
        .expect("a virtual environment")
        .join("before-2026");
    assert!(
        folder.exists(),
        "the tests' old boto3 is missing: run tests/run"
    );
    folder
}
