//! What would prove that inferred policies are the true ones: real clients, whose policies are known
//! from their settings and their source, fail under our eyes and must be recognised.
//!
//! The table below says what is true of each (INCIDENTS' tables, read in the packages' source) and
//! what must be inferred. Counts must be exact, time-outs within a twentieth, bases within a fifth or
//! not claimed; where the wire cannot tell, it must be left open.

#![cfg(feature = "demo")]

mod harness;
#[path = "node/mod.rs"]
mod node;

use harness::{Bench, Left, boto3_system, python};
use serde_json::Value;
use std::{fmt::Write, path::Path};

const OUTAGE: &str = r#"title = "KIND"
system = "system.toml"
hold = "2s"

[[phase]]
name = "steady"
lasts = "4s"
steady = true

[[phase]]
name = "outage"
lasts = "LENGTH"
  [[phase.fault]]
  on = "peer"
  FAULT

[[phase]]
name = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id = "ALIVE"
that = "the program lives"
kind = "alive"
"#;

fn outage(kind: &str, length: &str, fault: &str) -> String {
    OUTAGE
        .replace("KIND", kind)
        .replace("LENGTH", length)
        .replace("FAULT", fault)
}

const HANG: &str = "kind = \"hang\"";
const STATUS_500: &str = "kind = \"error\"\n  status = 500";
const INTERNAL_ERROR: &str = "kind = \"error\"\n  error = \"InternalError\"";

/// What was inferred of the clients of one run.
struct Inferred(Vec<Value>);

impl Inferred {
    fn of(left: &Left) -> Self {
        let policies = &left.report["scenarios"][0]["policies"];
        let claims = policies["claims"].as_array();
        let claims = claims.unwrap_or_else(|| panic!("{}\n{}", left.stdout, left.stderr));
        Self(claims.clone())
    }

    /// The findings of this aspect about a dependency.
    fn findings(&self, dependency: &str, aspect: &str) -> Vec<&Value> {
        let own = self.0.iter();
        own.filter(|claim| claim["dependency"] == dependency && claim["aspect"] == aspect)
            .map(|claim| &claim["finding"])
            .collect()
    }

    /// The only one.
    fn finding(&self, dependency: &str, aspect: &str) -> &Value {
        let found = self.findings(dependency, aspect);
        assert_eq!(found.len(), 1, "{dependency} {aspect}: {found:#?}");
        found[0]
    }

    #[track_caller]
    fn attempts(&self, dependency: &str, true_count: u64) {
        let found = self.finding(dependency, "attempts");
        assert_eq!(found["value"], true_count, "{dependency}: {found}");
    }

    #[track_caller]
    fn time(&self, dependency: &str, aspect: &str, true_seconds: f64) {
        let found = self.finding(dependency, aspect);
        let seconds = found["value_us"].as_f64().unwrap_or(0.0) / 1e6;
        let off = (seconds / true_seconds - 1.0).abs();
        assert!(off <= 0.05, "{dependency} {aspect}: {found}");
    }

    /// The law among those that fit, the jitter among those that fit, and the base to a fifth, or
    /// left open. The words of what was inferred.
    #[track_caller]
    fn back_off(&self, dependency: &str, law: &str, jitter: &str, base: Option<f64>) -> String {
        let found = self.finding(dependency, "back-off");
        let words = |key: &str| {
            let list = found[key].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let (laws, jitters) = (words("laws"), words("jitters"));
        assert!(laws.contains(&law), "{dependency}: {found}");
        assert!(jitters.contains(&jitter), "{dependency}: {found}");
        if let (Some(base), Some(found)) = (base, found["base_us"][0].as_f64()) {
            let off = found / 1e6 / base;
            assert!((1.0 / 1.2..=1.2).contains(&off), "{dependency}: {off}");
        }
        format!("{} · {}", laws.join(" or "), jitters.join(" or "))
    }
}

/// A client of plain HTTP: name, attempts, law, jitter, base in seconds, and what the wire must tell
/// of law and jitter.
type Known = (
    &'static str,
    u64,
    &'static str,
    &'static str,
    Option<f64>,
    &'static str,
);

const CLIENTS: &[Known] = &[
    ("fixed", 4, "fixed", "none", Some(0.2), "fixed · none"),
    ("linear", 4, "linear", "none", Some(0.1), "linear · none"),
    (
        "doubling",
        4,
        "exponential",
        "none",
        Some(0.1),
        "exponential · none",
    ),
    (
        "full",
        4,
        "exponential",
        "full",
        Some(0.2),
        "exponential · full",
    ),
    ("hasty", 4, "none", "none", None, "none · none"),
    (
        "stamina",
        4,
        "exponential",
        "additive",
        Some(0.2),
        "exponential · additive",
    ),
    // Two pauses that double may be either; a quarter less is an eighth either way of the middle.
    (
        "openai",
        3,
        "exponential",
        "proportional",
        Some(0.4375),
        "linear or exponential · proportional",
    ),
];

fn http_system() -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/policy_app.py");
    let mut names: Vec<&str> = CLIENTS.iter().map(|client| client.0).collect();
    names.push("patient");
    let mut environment = Vec::new();
    let mut rest = String::new();
    for name in names {
        let variable = name.to_uppercase();
        environment.push(format!("PEER_{variable} = \"{{dependency.{name}.url}}\""));
        let _ = write!(
            rest,
            r#"
[dependency.{name}]
protocol = "http"
role = "peer"
upstream = "embedded:sink"

[load.{name}]
rate = "2/s"
arrivals = "constant"
request = {{ method = "GET", path = "/{name}/k{{nth}}" }}
timeout = "20s"
"#
        );
    }
    format!(
        r#"[system]
command = [{python:?}, {program:?}, "{{port.app}}"]
env = {{ {} }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "TERM", within = "5s" }}
{rest}"#,
        environment.join(", ")
    )
}

#[test]
fn clients_of_http_are_recognised_by_their_errors_and_their_silence() {
    let errors = Bench::new()
        .file("system.toml", &http_system())
        .file("errors.toml", &outage("errors", "24s", STATUS_500));
    let left = errors.brownout(&["run", "errors.toml", "--seed", "1"]);
    let inferred = Inferred::of(&left);
    for (name, attempts, law, jitter, base, told) in CLIENTS {
        inferred.attempts(name, *attempts);
        let words = inferred.back_off(name, law, jitter, *base);
        assert_eq!(
            words,
            *told,
            "{name}: {:#?}",
            inferred.findings(name, "back-off")
        );
    }
    inferred.attempts("patient", 1);

    let hang = Bench::new()
        .file("system.toml", &http_system())
        .file("hang.toml", &outage("hang", "16s", HANG));
    let left = hang.brownout(&["run", "hang.toml", "--seed", "1"]);
    let inferred = Inferred::of(&left);
    for (name, seconds) in [("fixed", 1.0), ("stamina", 1.5), ("openai", 1.0)] {
        inferred.time(name, "first-byte-timeout", seconds);
    }
    let never = inferred.finding("patient", "first-byte-timeout");
    assert_eq!(never["type"], "at-least", "{never}");
}

/// A system on boto3 of today or of before 2026, in this retry mode.
fn boto3(before_2026: bool, mode: Option<&str>, rate: &str) -> String {
    let mut environment = String::new();
    if let Some(mode) = mode {
        let _ = write!(environment, ", AWS_RETRY_MODE = {mode:?}");
    }
    if before_2026 {
        let folder = python::interpreter()
            .parent()
            .and_then(Path::parent)
            .expect("a virtual environment")
            .join("before-2026");
        assert!(
            folder.exists(),
            "the tests' old boto3 is missing: run tests/run"
        );
        let _ = write!(environment, ", PYTHONPATH = {folder:?}");
    }
    let load = format!(
        r#"[load.fetch]
rate = "{rate}"
arrivals = "constant"
request = {{ method = "GET", path = "/objects/k{{nth}}" }}
timeout = "40s"
ok = {{ status = "200-599" }}
"#
    );
    boto3_system(&environment, &load).replace("object-store", "peer")
}

fn boto3_errors(before_2026: bool, mode: Option<&str>, rate: &str, length: &str) -> Inferred {
    let bench = Bench::new()
        .file("system.toml", &boto3(before_2026, mode, rate))
        .file("errors.toml", &outage("errors", length, INTERNAL_ERROR));
    Inferred::of(&bench.brownout(&["run", "errors.toml", "--seed", "1"]))
}

#[test]
fn the_boto3_of_2026_makes_three_attempts_and_has_35_retries() {
    // INCIDENTS 2.4: 50 ms doubling, full jitter, 500 tokens of which a retry takes 14.
    let inferred = boto3_errors(false, None, "2/s", "26s");
    inferred.attempts("s3", 3);
    inferred.back_off("s3", "exponential", "full", Some(0.05));
    let declared = inferred.finding("s3", "declared-attempts");
    assert_eq!(declared["value"], 3);
    let budget = inferred.finding("s3", "retry-budget");
    assert_eq!(
        (&budget["retries"], &budget["tokens_each"]),
        (&35.into(), &14.into())
    );
    assert_eq!(budget["or_changed"], false);
}

#[test]
fn the_boto3_before_2026_makes_five_attempts_over_seconds() {
    // Legacy mode: up to 1, 2, 4 and 8 s, full jitter, no quota.
    let inferred = boto3_errors(true, None, "3/s", "45s");
    inferred.attempts("s3", 5);
    let words = inferred.back_off("s3", "exponential", "full", Some(1.0));
    assert_eq!(words, "exponential · full");
    assert!(inferred.findings("s3", "retry-budget").is_empty());
}

#[test]
fn the_standard_mode_before_2026_makes_three_attempts_and_has_100_retries() {
    let inferred = boto3_errors(true, Some("standard"), "2/s", "45s");
    inferred.attempts("s3", 3);
    inferred.back_off("s3", "exponential", "full", Some(1.0));
    let budget = inferred.finding("s3", "retry-budget");
    let (retries, slack) = (budget["retries"].as_u64(), budget["slack"].as_u64());
    let off = retries.expect("a number").abs_diff(100);
    assert!(off <= slack.expect("a number"), "{budget}");
}

#[test]
fn opossum_probes_every_second() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/opossum_app.js");
    let modules = node::modules();
    let system = format!(
        r#"[system]
command = ["node", {program:?}, "{{port.app}}"]
env = {{ PEER = "{{dependency.peer.url}}", NODE_PATH = {modules:?} }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "TERM", within = "5s" }}

[dependency.peer]
protocol = "http"
upstream = "embedded:sink"

[load.ask]
rate = "20/s"
arrivals = "constant"
request = {{ method = "GET", path = "/ask" }}
timeout = "5s"
"#
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("errors.toml", &outage("errors", "14s", STATUS_500));
    let inferred = Inferred::of(&bench.brownout(&["run", "errors.toml", "--seed", "1"]));
    // Half-open is tried with the next request, which comes 50 ms later at the most.
    inferred.time("peer", "breaker-probes", 1.025);
}
