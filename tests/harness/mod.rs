//! Runs the binary as a user does, in a folder of its own.

#![allow(dead_code, reason = "not every test file uses everything")]

#[path = "../python/mod.rs"]
pub mod python;

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

/// A folder with files, in which `brownout` is run.
pub struct Bench {
    folder: TempDir,
}

/// How often a run is made that misses its schedule.
const TRIES: usize = 3;

/// What a run left.
pub struct Left {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
    /// `report.json`, or null.
    pub report: Value,
}

impl Bench {
    /// An empty folder.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into it.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).expect("the file is written");
        self
    }

    /// `brownout` with these arguments, in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end. A run that says of itself that its load missed its schedule, or that the system
    /// had no processor, because the machine was busy with other things, is no answer and is made again; any other answer, right
    /// or wrong, stands.
    pub fn brownout(&self, arguments: &[&str]) -> Left {
        let mut left = self.finished(&mut self.command(arguments));
        for _ in 1..TRIES {
            if !left.was_starved() {
                break;
            }
            left = self.finished(&mut self.command(arguments));
        }
        left
    }

    /// Runs a command of the folder to the end.
    pub fn finished(&self, command: &mut Command) -> Left {
        let output = command.output().expect("brownout starts");
        self.left(&output)
    }

    /// Starts without waiting.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("brownout starts")
    }

    fn left(&self, output: &Output) -> Left {
        let report = std::fs::read_to_string(self.path().join("brownout-report/report.json"))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        Left {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            report,
        }
    }

    /// The history of a scenario, as JSON lines.
    pub fn history(&self, stem: &str) -> Vec<Value> {
        let path = self.history_path(stem);
        let history = brownout::history::open(&path).expect("there is a history");
        let text = std::io::read_to_string(history).expect("it is text");
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Where the history of a scenario is.
    pub fn history_path(&self, stem: &str) -> PathBuf {
        self.path()
            .join("brownout-report")
            .join(stem)
            .join("history.jsonl")
    }
}

impl Left {
    /// Whether it says of itself that its load missed its schedule, or that other programs had the
    /// processors.
    pub fn was_starved(&self) -> bool {
        let says = |words: &str| self.stdout.contains(words);
        self.status == Some(2) && (says("missed its schedule") || says("other programs"))
    }

    /// The verdict of an expectation: `pass`, `fail`, `inconclusive`.
    pub fn verdict(&self, id: &str) -> &str {
        self.verdict_of(id)["status"].as_str().unwrap_or("missing")
    }

    /// The whole verdict of an expectation.
    pub fn verdict_of(&self, id: &str) -> &Value {
        self.report["scenarios"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|scenario| scenario["verdicts"].as_array().into_iter().flatten())
            .find(|verdict| verdict["id"] == id)
            .unwrap_or_else(|| panic!("no verdict {id}\n{}\n{}", self.stdout, self.stderr))
    }

    /// Asserts the exit status, with everything printed in the message.
    pub fn assert_status(&self, expected: i32) -> &Self {
        assert_eq!(
            self.status,
            Some(expected),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// The `[system]` of a program of `tests/systems`, with these arguments, this environment and this
/// signal to stop it.
pub fn program(file: &str, arguments: &str, environment: &str, signal: &str) -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = program.join("tests/systems").join(file);
    format!(
        r#"[system]
command = [{python:?}, {program:?}, {arguments}]
env = {{ {environment} }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "{signal}", within = "5s" }}
"#
    )
}

/// A webhook, a load of jobs for it at this rate, and the ledger of those that reached it.
pub fn jobs(rate: &str, timeout: &str) -> String {
    format!(
        r#"
[dependency.webhooks]
protocol = "http"
upstream = "embedded:sink"

[load.jobs]
rate = "{rate}"
arrivals = "constant"
request = {{ method = "POST", path = "/jobs", json = {{ id = "{{uuid}}" }} }}
capture = {{ id = "var:uuid" }}
timeout = "{timeout}"

[ledger.sent]
accepted = {{ load = "jobs", id = "id" }}
delivered = {{ dependency = "webhooks", id = "json:/events/*/id" }}
settle = "2s"
"#
    )
}

/// A system file for the boto3 program, with these settings in its environment and these loads.
pub fn boto3_system(environment: &str, loads: &str) -> String {
    let endpoint = format!(r#"AWS_ENDPOINT_URL_S3 = "{{dependency.s3.url}}"{environment}"#);
    let system = program("boto3_app.py", r#""{port.app}""#, &endpoint, "TERM");
    format!(
        r#"{system}
[dependency.s3]
protocol = "s3"
role = "object-store"
upstream = "embedded"
buckets = ["models"]

{loads}
"#
    )
}

/// A load of fetches, evenly spaced.
pub fn fetches(rate: &str, timeout: &str) -> String {
    format!(
        r#"[load.fetch]
rate = "{rate}"
arrivals = "constant"
request = {{ method = "GET", path = "/objects/warm" }}
timeout = "{timeout}"
"#
    )
}
