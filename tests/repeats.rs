//! What would prove that repeated runs can be relied on: a requirement that sometimes fails is
//! called a flake and fails the build, the repeats' seeds run them alone, a decided series stops
//! early unless told otherwise, and Ctrl-C keeps what is done.

#![cfg(feature = "demo")]

mod harness;
mod signals;

use brownout::seed::Seed;
use harness::{Bench, Left, program};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

const SCENARIO: &str = r#"title = "the prices fail"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "2s"
steady = true

[[phase]]
name = "outage"
lasts = "2s"
  [[phase.fault]]
  kind = "error"
  on = "prices"
  status = 500

[[phase]]
name = "recovery"
lasts = "until steady, at most 20s"

[[expect]]
id = "ANSWERED"
that = "visitors are answered without prices"
kind = "success-rate"
load = "ask"
during = "outage"
at_least = "80%"

[[expect]]
id = "ALIVE"
that = "the program stays up"
kind = "alive"
"#;

/// A system of which the starts with these numbers cannot do without prices.
fn system(bad: &str) -> String {
    let arguments =
        format!(r#""--port", "{{port.app}}", "--starts", "starts{bad}", "--bad", "{bad}""#);
    let environment = r#"PRICES_URL = "{dependency.prices.url}""#;
    let system = program("moody_app.py", &arguments, environment, "TERM");
    format!(
        r#"{system}
[dependency.prices]
protocol = "http"
upstream = "embedded:sink"

[load.ask]
rate = "10/s"
arrivals = "constant"
request = {{ path = "/ask" }}
timeout = "5s"
"#
    )
}

fn bench(bad: &str) -> Bench {
    Bench::new()
        .file("system.toml", &system(bad))
        .file("outage.toml", SCENARIO)
}

fn text(bench: &Bench, path: &str) -> String {
    let file = bench.path().join("brownout-report").join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What xmllint says of a `junit.xml`, held against the structure that build servers read.
fn is_valid_junit(bench: &Bench, path: &str) {
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit.xsd"))
        .arg(bench.path().join("brownout-report").join(path))
        .output()
        .expect("xmllint is missing: run tests/run, which installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {said}");
}

/// How a requirement ended over all repeats of the n-th scenario.
fn requirement<'a>(left: &'a Left, scenario: usize, id: &str) -> &'a Value {
    let series = &left.report["series"]["scenarios"][scenario];
    let mut all = series["requirements"].as_array().into_iter().flatten();
    all.find(|one| one["id"] == id)
        .unwrap_or_else(|| panic!("no {id}: {series:#}\n{}\n{}", left.stdout, left.stderr))
}

/// How often a run is repeated that says of itself that the machine was too busy for its load: it is
/// no answer, and any other answer, right or wrong, stands.
const TRIES: usize = 3;

fn was_too_busy(said: &str) -> bool {
    said.contains("missed its schedule")
}

/// Runs it, again where the machine was too busy. The programs count their starts anew.
fn answered(bench: &Bench, arguments: &[&str]) -> Left {
    let mut left = bench.brownout(arguments);
    for _ in 1..TRIES {
        if !was_too_busy(&left.report.to_string()) {
            break;
        }
        forget_starts(bench);
        left = bench.brownout(arguments);
    }
    left
}

fn forget_starts(bench: &Bench) {
    let files = fs::read_dir(bench.path()).expect("the folder").flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("starts")) {
        fs::remove_file(file.path()).expect("it is removed");
    }
}

#[test]
fn a_flake_is_named_and_fails_the_build_and_its_repeat_can_be_run_alone() {
    let bench = bench("2");
    let arguments = ["run", "outage.toml", "--seed", "7", "--repeat", "3"];
    let left = answered(&bench, &[&arguments[..], &["--all-repeats"]].concat());
    left.assert_status(1);
    let answered = requirement(&left, 0, "ANSWERED");
    assert_eq!(answered["outcome"], "flake", "{answered:#}");
    assert_eq!(answered["failed_in"], json!([2]));
    assert_eq!(
        answered["counts"],
        json!({"passed": 2, "failed": 1, "inconclusive": 0})
    );
    let alive = requirement(&left, 0, "ALIVE");
    assert_eq!(alive["outcome"], "pass");
    assert_eq!(alive["failing"]["high"], 0.6316);
    assert_eq!(left.report["status"], "fail");
    for said in ["ANSWERED is a flake", "first in  repeat 2", "0.8% to 91%"] {
        assert!(left.stdout.contains(said), "{said} in {}", left.stdout);
    }

    // Each repeat has a seed of its own, with which it runs alone, and reports of its own.
    let seeds: Vec<u64> = (1..=3).map(|nth| Seed(7).of_repeat(nth).0).collect();
    let repeats = &left.report["series"]["scenarios"][0]["repeats"];
    for (nth, (seed, status)) in (1..).zip(seeds.iter().zip(["pass", "fail", "pass"])) {
        let own = &repeats[nth - 1];
        assert_eq!(
            (&own["seed"], &own["status"]),
            (&json!(seed), &json!(status))
        );
        let command = format!("brownout run outage.toml --seed {seed}");
        assert_eq!(own["repeat"], json!(command));
        let folder = own["folder"].as_str().expect("a folder");
        let report: Value =
            serde_json::from_str(&text(&bench, &format!("{folder}/report.json"))).expect("JSON");
        assert_eq!(report["status"], json!(status), "{folder}");
        let page = text(&bench, "report.html");
        assert!(page.contains(&format!("./{folder}/report.html")), "{page}");
        let first: Value = text(&bench, &format!("{folder}/history.jsonl"))
            .lines()
            .next()
            .and_then(|line| serde_json::from_str(line).ok())
            .expect("a history");
        assert_eq!(first["seed"], json!(seed), "{folder}");
    }

    is_valid_junit(&bench, "junit.xml");
    is_valid_junit(&bench, "outage/repeat-2/junit.xml");
    let junit = text(&bench, "junit.xml");
    assert_eq!(junit.matches("<flakyFailure ").count(), 1, "{junit}");
    assert!(junit.contains(r#"failures="1" errors="0""#), "{junit}");
    assert!(text(&bench, "summary.md").contains("~ flake"));

    // What else reads runs understands these.
    let judged = bench.brownout(&["judge", "brownout-report/outage/repeat-2/history.jsonl"]);
    judged.assert_status(1);
    let shown = bench.brownout(&["report", "brownout-report"]);
    shown.assert_status(0);
    assert_eq!(shown.stdout, left.stdout, "it is shown as it was");
    let same = bench.brownout(&["diff", "brownout-report", "brownout-report"]);
    same.assert_status(0);
    let repeats = ["outage/repeat-1", "outage/repeat-2"];
    let [first, second] = repeats.map(|name| format!("brownout-report/{name}"));
    bench.brownout(&["diff", &first, &second]).assert_status(1);

    // A series that was killed leaves no report of its own, and its repeats speak.
    fs::write(bench.path().join("brownout-report/report.json"), "").expect("it is emptied");
    let spoken = bench.brownout(&["report", "brownout-report", "--format", "json"]);
    spoken.assert_status(0);
    let report: Value = serde_json::from_str(&spoken.stdout).expect("JSON");
    let folders = &report["series"]["scenarios"][0]["repeats"];
    assert_eq!(folders[2]["folder"], "outage/repeat-3", "{folders:#}");
}

#[test]
fn what_is_decided_stops_early_beside_another_scenario_that_goes_on() {
    let bench = Bench::new()
        .file("system.toml", &system(""))
        .file("bad.toml", &system("0"))
        .file("a.toml", SCENARIO)
        .file("b.toml", &SCENARIO.replace("system.toml", "bad.toml"));
    let left = answered(&bench, &["run", "a.toml", "b.toml", "--repeat", "3"]);
    left.assert_status(1);
    let series = &left.report["series"]["scenarios"];
    let sizes: Vec<usize> = (0..2)
        .map(|nth| series[nth]["repeats"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(sizes, [3, 2], "{}", left.stdout);
    assert_eq!(series[0]["outcome"], "pass");
    assert_eq!(series[0]["ended"], "complete");
    assert_eq!(requirement(&left, 1, "ANSWERED")["outcome"], "fail");
    assert_eq!(series[1]["ended"], "decided");
    assert_eq!(
        series[1]["decided"],
        json!({"decision": "unreliable", "after": 2})
    );
    assert!(
        left.stdout.contains("stopped after 2 of 3"),
        "{}",
        left.stdout
    );
    assert!(left.stdout.contains("--all-repeats"), "{}", left.stdout);
    assert!(
        left.stderr
            .contains("b: repeat 2 of at most 3: fail (ANSWERED); so far 2 failed"),
        "{}",
        left.stderr
    );
    is_valid_junit(&bench, "junit.xml");
    let junit = text(&bench, "junit.xml");
    assert_eq!(junit.matches("<rerunFailure ").count(), 1, "{junit}");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_keeps_the_repeats_that_are_done() {
    let bench = bench("");
    let mut text_of_report = interrupted(&bench);
    for _ in 1..TRIES {
        if !was_too_busy(&text_of_report) {
            break;
        }
        text_of_report = interrupted(&bench);
    }
    let report: Value = serde_json::from_str(&text_of_report).expect("JSON");
    let series = &report["series"]["scenarios"][0];
    assert_eq!(series["ended"], "cut-short", "{series:#}");
    assert_eq!(series["counts"]["passed"], 1, "{series:#}");
    let done: Value =
        serde_json::from_str(&text(&bench, "outage/repeat-1/report.json")).expect("JSON");
    assert_eq!(done["status"], "pass");
}

/// Interrupts a series in its second repeat; the report that is left.
#[cfg(target_os = "linux")]
fn interrupted(bench: &Bench) -> String {
    let mut child = bench
        .command(&["run", "outage.toml", "--repeat", "9"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("brownout starts");
    let lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut lines = lines.lines().map_while(Result::ok);
    let second = "repeat 2: phase 1 of 3";
    assert!(
        lines.any(|line| line.contains(second)),
        "it never came to the second repeat"
    );
    signals::interrupt(rustix::process::Pid::from_child(&child));
    lines.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    text(bench, "report.json")
}
