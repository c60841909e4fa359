//! What would prove that inferred policies are the true ones: real clients, whose policies are known
//! from their settings and their source, fail under our eyes and must be recognised.
//!
//! The table below says what is true of each (INCIDENTS' tables, read in the packages' source) and
//! what must be inferred. Counts must be exact, time-outs within a twentieth, bases within a fifth or
//! not claimed; where the wire cannot tell, it must be left open. Of OpenAI's and Stripe's clients,
//! which repeat alike, one is enough.

#![cfg(feature = "demo")]

mod harness;
#[path = "node/mod.rs"]
mod node;
mod servers;

use harness::{Bench, Left, boto3_system, python};
use serde_json::Value;
use servers::{Ended, free_port, until};
use std::{
    fmt::Write,
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
};
use tempfile::TempDir;

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
FAULTS

[[phase]]
name = "recovery"
lasts = "until steady, at most 60s"

[[expect]]
id = "ALIVE"
that = "the program lives"
kind = "alive"
"#;

fn outage(kind: &str, length: &str, faults: &[&str]) -> String {
    let faults = faults.iter();
    let faults: String = faults
        .map(|fault| format!("  [[phase.fault]]\n  {fault}\n"))
        .collect();
    OUTAGE
        .replace("KIND", kind)
        .replace("LENGTH", length)
        .replace("FAULTS", &faults)
}

const HANG: &str = "kind = \"hang\"\n  on = \"peer\"";
const STATUS_500: &str = "kind = \"error\"\n  on = \"peer\"\n  status = 500";
const INTERNAL_ERROR: &str = "kind = \"error\"\n  on = \"peer\"\n  error = \"InternalError\"";

const HANGING_CACHE: &str = "kind = \"hang\"\n  on = \"cache\"\n  when = { operation = \"GET\" }";
const LOADING: &str =
    "kind = \"error\"\n  on = \"cache\"\n  error = \"LOADING\"\n  when = { operation = \"GET\" }";
/// A server that ends sessions, and has no room for new ones.
const ENDS_SESSIONS: &str = "kind = \"error\"\n  on = \"database\"\n  error = \"57P01\"\n  when = { operation = \"SELECT\" }";
const NO_ROOM: &str = "kind = \"error\"\n  on = \"database\"\n  error = \"53300\"\n  when = { operation = \"CONNECT\" }";

/// What is true of a client, and what must be inferred of it.
struct Known {
    client: &'static str,
    /// Of what its attempts are.
    operation: &'static str,
    /// How often it tries; `None`: as long as it lasts.
    attempts: Option<u64>,
    law: &'static str,
    jitter: &'static str,
    /// The first pause before jitter, in seconds.
    base: Option<f64>,
    /// What the wire must tell of law and jitter; where it may tell less, nothing is said.
    told: Option<&'static str>,
    /// How long it waits for the first byte of an answer, in seconds.
    timeout: Option<f64>,
}

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    // tenacity's waits, four attempts of one second by requests.
    Known { client: "fixed", operation: "GET", attempts: Some(4), law: "fixed", jitter: "none", base: Some(0.2), told: Some("fixed · none"), timeout: Some(1.0) },
    Known { client: "linear", operation: "GET", attempts: Some(4), law: "linear", jitter: "none", base: Some(0.1), told: Some("linear · none"), timeout: Some(1.0) },
    Known { client: "doubling", operation: "GET", attempts: Some(4), law: "exponential", jitter: "none", base: Some(0.1), told: Some("exponential · none"), timeout: Some(1.0) },
    Known { client: "full", operation: "GET", attempts: Some(4), law: "exponential", jitter: "full", base: Some(0.2), told: Some("exponential · full"), timeout: Some(1.0) },
    Known { client: "hasty", operation: "GET", attempts: Some(4), law: "none", jitter: "none", base: None, told: None, timeout: Some(1.0) },
    Known { client: "stamina", operation: "GET", attempts: Some(4), law: "exponential", jitter: "additive", base: Some(0.2), told: Some("exponential · additive"), timeout: Some(1.5) },
    // Two pauses that double may be either; a quarter less is an eighth either way of the middle.
    Known { client: "openai", operation: "GET", attempts: Some(3), law: "exponential", jitter: "proportional", base: Some(0.4375), told: Some("linear or exponential · proportional"), timeout: Some(1.0) },
    // redis-py 8.1: ten retries, up to 20 ms and twice as much each time, cut at one second; 5 s.
    Known { client: "redis", operation: "GET", attempts: Some(11), law: "exponential", jitter: "full", base: Some(0.02), told: Some("exponential · full"), timeout: Some(5.0) },
    // psycopg_pool 3.3 connects again after a second, a tenth more or less, then twice as long each
    // time, for five minutes.
    Known { client: "pool", operation: "CONNECT", attempts: None, law: "exponential", jitter: "proportional", base: Some(1.0), told: Some("exponential · proportional"), timeout: None },
    // INCIDENTS 2.4: 50 ms doubling, full jitter; before, up to 1, 2, 4 and 8 s. Its time-outs of a
    // minute are measured in `boto3_policy`.
    Known { client: "boto3 of 2026", operation: "GetObject", attempts: Some(3), law: "exponential", jitter: "full", base: Some(0.05), told: None, timeout: None },
    Known { client: "boto3 before 2026", operation: "GetObject", attempts: Some(5), law: "exponential", jitter: "full", base: Some(1.0), told: None, timeout: None },
    Known { client: "boto3 before 2026, standard", operation: "GetObject", attempts: Some(3), law: "exponential", jitter: "full", base: Some(1.0), told: None, timeout: None },
];

fn known(client: &str) -> &'static Known {
    let mut own = KNOWN.iter().filter(|one| one.client == client);
    own.next().expect("a client of the table")
}

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

    /// That no law and no number of attempts is claimed of a client that never tries again.
    #[track_caller]
    fn invents_nothing_of(&self, dependency: &str) {
        for aspect in ["attempts", "back-off", "whole-call", "retry-budget"] {
            for found in self.findings(dependency, aspect) {
                assert_eq!(found["type"], "unknown", "{dependency} {aspect}: {found}");
            }
        }
        assert!(
            !self.findings(dependency, "back-off").is_empty(),
            "it shows nothing"
        );
    }

    #[track_caller]
    fn time(&self, dependency: &str, aspect: &str, true_seconds: f64) {
        let found = self.finding(dependency, aspect);
        let seconds = found["value_us"].as_f64().unwrap_or(0.0) / 1e6;
        let off = (seconds / true_seconds - 1.0).abs();
        assert!(off <= 0.05, "{dependency} {aspect}: {found}");
    }

    /// The only one about this operation.
    #[track_caller]
    fn finding_of(&self, operation: &str, dependency: &str, aspect: &str) -> &Value {
        let own = self
            .0
            .iter()
            .filter(|claim| claim["operation"] == operation);
        let own = own.filter(|claim| claim["dependency"] == dependency);
        let found: Vec<&Value> = own.filter(|claim| claim["aspect"] == aspect).collect();
        assert_eq!(
            found.len(),
            1,
            "{operation} {dependency} {aspect}: {found:#?}"
        );
        &found[0]["finding"]
    }

    /// That the attempts and the pauses of the clients of a dependency are what is true: the law among
    /// those that fit, the jitter among those that fit, and the base to a fifth, or left open.
    #[track_caller]
    fn is(&self, dependency: &str, known: &Known) {
        let client = known.client;
        if let Some(attempts) = known.attempts {
            let found = self.finding_of(known.operation, dependency, "attempts");
            assert_eq!(found["value"], attempts, "{client}: {found}");
        }
        let found = self.finding_of(known.operation, dependency, "back-off");
        // A machine that takes long for nearly every attempt leaves no more to say of those at once.
        let is_short = || {
            let why = found["why"].as_str().unwrap_or_default();
            why.ends_with("nearly none of them long enough to tell")
        };
        if known.law == "none" && is_short() {
            return;
        }
        let words = |key: &str| {
            let list = found[key].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let (laws, jitters) = (words("laws"), words("jitters"));
        assert!(laws.contains(&known.law), "{client}: {found}");
        // Who does not pause at all has no jitter, whatever else may be it.
        let jitter = known.law == "none" || jitters.contains(&known.jitter);
        assert!(jitter, "{client}: {found}");
        if let (Some(base), Some(found)) = (known.base, found["base_us"][0].as_f64()) {
            let off = found / 1e6 / base;
            assert!((1.0 / 1.2..=1.2).contains(&off), "{client}: {off}");
        }
        let told = format!("{} · {}", laws.join(" or "), jitters.join(" or "));
        assert_eq!(told, known.told.unwrap_or(&told), "{client}: {found}");
    }
}

/// A real server with nothing in it.
struct Redis {
    _process: Ended,
    _folder: TempDir,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "no", "--daemonize", "no", "--save", ""])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is missing: run tests/run, which installs it");
        let process = Ended(child);
        until("redis-server", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            _process: process,
            _folder: folder,
            port,
        }
    }
}

/// The clients of the program that asks them all.
fn clients() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(|known| !known.client.contains(' '))
}

fn all_clients(redis: &Redis) -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/policy_app.py");
    let mut environment = Vec::new();
    let mut rest = String::new();
    let names = clients().map(|known| known.client);
    for name in names.chain(["patient", "once"]) {
        let variable = name.to_uppercase();
        let (place, rate, dependency) = match name {
            "redis" => (
                "address",
                "2/s",
                format!(
                    "protocol = \"redis\"\nrole = \"cache\"\nupstream = \"127.0.0.1:{}\"",
                    redis.port
                ),
            ),
            "pool" => (
                "address",
                "6/s",
                "protocol = \"postgres\"\nrole = \"database\"\nupstream = \"embedded\"".to_owned(),
            ),
            _ => (
                "url",
                "2/s",
                "protocol = \"http\"\nrole = \"peer\"\nupstream = \"embedded:sink\"".to_owned(),
            ),
        };
        environment.push(format!(
            "PEER_{variable} = \"{{dependency.{name}.{place}}}\""
        ));
        let _ = write!(
            rest,
            r#"
[dependency.{name}]
{dependency}

[load.{name}]
rate = "{rate}"
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
fn clients_are_recognised_by_their_errors_and_their_silence() {
    let redis = Redis::start();
    let faults = [STATUS_500, LOADING, ENDS_SESSIONS, NO_ROOM];
    let errors = Bench::new()
        .file("system.toml", &all_clients(&redis))
        .file("errors.toml", &outage("errors", "24s", &faults));
    let left = errors.brownout(&["run", "errors.toml", "--seed", "1"]);
    let inferred = Inferred::of(&left);
    for known in clients() {
        inferred.is(known.client, known);
    }
    inferred.invents_nothing_of("once");
    let patient = inferred.finding("patient", "attempts");
    assert_eq!(patient["value"], 1, "{patient}");
    // Its sixth attempt comes 31 seconds after the first, a tenth more or less, and 24 were outage.
    let restored = inferred.finding("pool", "restored");
    let seconds = restored["value_us"].as_f64().unwrap_or(0.0) / 1e6;
    assert!((3.5..13.0).contains(&seconds), "{restored}");

    let hang = Bench::new()
        .file("system.toml", &all_clients(&redis))
        .file("hang.toml", &outage("hang", "16s", &[HANG, HANGING_CACHE]));
    let left = hang.brownout(&["run", "hang.toml", "--seed", "1"]);
    let inferred = Inferred::of(&left);
    for known in clients() {
        if let Some(seconds) = known.timeout {
            inferred.time(known.client, "first-byte-timeout", seconds);
        }
    }
    inferred.invents_nothing_of("once");
    inferred.time("once", "first-byte-timeout", 1.0);
    let never = inferred.finding("patient", "first-byte-timeout");
    assert_eq!(never["type"], "at-least", "{never}");
}

/// A program on boto3 in this retry mode, two calls a second, and an outage of instant errors.
fn boto3(mode: Option<&str>, length: &str) -> Bench {
    let mut environment = String::new();
    if let Some(mode) = mode {
        let _ = write!(environment, ", AWS_RETRY_MODE = {mode:?}");
    }
    let load = r#"[load.fetch]
rate = "2/s"
arrivals = "constant"
request = { method = "GET", path = "/objects/k{nth}" }
timeout = "40s"
ok = { status = "200-599" }
"#;
    let system = boto3_system(&environment, load).replace("object-store", "peer");
    Bench::new()
        .file("system.toml", &system)
        .file("errors.toml", &outage("errors", length, &[INTERNAL_ERROR]))
}

/// Runs it on the boto3 of today or of before 2026: its files are the same, as are those of a program
/// of which nothing but a package was brought up to date.
fn runs(bench: &Bench, is_old: bool) -> Inferred {
    let mut command = bench.command(&["run", "errors.toml", "--seed", "1"]);
    if is_old {
        command.env("PYTHONPATH", python::before_2026());
    }
    command.output().expect("brownout runs");
    let report = bench.path().join("brownout-report/report.json");
    let report = fs::read_to_string(report).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let claims = report["scenarios"][0]["policies"]["claims"].as_array();
    Inferred(claims.expect("claims").clone())
}

#[test]
fn a_new_boto3_under_an_unchanged_program_is_noticed() {
    let (old, new) = (boto3(None, "32s"), boto3(None, "32s"));
    let (before, after) = thread::scope(|scope| {
        let before = scope.spawn(|| runs(&old, true));
        let after = runs(&new, false);
        (before.join().expect("the old one ran"), after)
    });
    before.is("s3", known("boto3 before 2026"));
    assert!(before.findings("s3", "retry-budget").is_empty());
    after.is("s3", known("boto3 of 2026"));
    for (inferred, attempts) in [(&before, 5), (&after, 3)] {
        let declared = inferred.finding("s3", "declared-attempts");
        assert_eq!(declared["value"], attempts);
        assert_eq!(inferred.finding("s3", "as-declared")["does"], true);
    }
    // 500 tokens, of which a retry takes 14.
    let budget = after.finding("s3", "retry-budget");
    assert_eq!(
        (&budget["retries"], &budget["tokens_each"]),
        (&35.into(), &14.into())
    );
    assert_eq!(budget["or_changed"], false);

    // INCIDENTS 2.4: five attempts over 4 to 10 seconds became three within 0.2.
    let old = old.path().join("brownout-report");
    let old = old.to_str().expect("a path");
    let said = new.brownout(&["diff", old, "brownout-report", "--format", "json"]);
    said.assert_status(1);
    let diff: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let rows = diff["scenarios"][0]["rows"].as_array().expect("rows");
    let changed = |what: &str| {
        let mut rows = rows.iter().filter(|row| row["what"] == what);
        let row = rows.next().unwrap_or_else(|| panic!("no {what}: {rows:?}"));
        assert_eq!(row["change"], "changed", "{row}");
        let side = |which: &str| row[which].as_str().unwrap_or_default().to_owned();
        (side("old"), side("new"))
    };
    let attempts = changed("attempts a call");
    assert!(
        attempts.0.starts_with('5') && attempts.1.starts_with('3'),
        "{attempts:?}"
    );
    let rides_out = changed("gives a call up after");
    let shown = new.brownout(&["diff", old, "brownout-report", "--format", "markdown"]);
    for said in [attempts.0, attempts.1, rides_out.0, rides_out.1] {
        assert!(shown.stdout.contains(&said), "{said} in {}", shown.stdout);
    }
    let seconds = |inferred: &Inferred| {
        let found = inferred.finding("s3", "whole-call");
        found["value_us"].as_f64().unwrap_or(0.0) / 1e6
    };
    let (long, short) = (seconds(&before), seconds(&after));
    assert!((3.0..12.0).contains(&long), "{long} s");
    assert!((0.01..0.5).contains(&short), "{short} s");
}

#[test]
fn the_standard_mode_before_2026_makes_three_attempts_and_has_100_retries() {
    let bench = boto3(Some("standard"), "45s");
    let inferred = runs(&bench, true);
    inferred.is("s3", known("boto3 before 2026, standard"));
    let budget = inferred.finding("s3", "retry-budget");
    let (retries, slack) = (budget["retries"].as_u64(), budget["slack"].as_u64());
    let off = retries.expect("a number").abs_diff(100);
    assert!(off <= slack.expect("a number"), "{budget}");
}

/// A system on this program with these dependencies, each with its load: name, rate, and the rest of its
/// table. Each is at PEER_<NAME>, asked for at `/NAME`, with `-` for `/`.
fn of_peers(command: &str, more: &str, peers: &[(&str, &str, &str)]) -> String {
    let mut environment = vec![more.to_owned()];
    let mut rest = String::new();
    for (name, rate, dependency) in peers {
        let variable = name.to_uppercase().replace('-', "_");
        environment.push(format!("PEER_{variable} = \"{{dependency.{name}.url}}\""));
        let path = name.replace('-', "/");
        let _ = write!(
            rest,
            r#"
[dependency.{name}]
{dependency}

[load.{name}]
rate = "{rate}"
arrivals = "constant"
request = {{ method = "GET", path = "/{path}" }}
timeout = "20s"
"#
        );
    }
    environment.retain(|one| !one.is_empty());
    format!(
        r#"[system]
command = [{command}, "{{port.app}}"]
env = {{ {} }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "TERM", within = "5s" }}
{rest}"#,
        environment.join(", ")
    )
}

/// Three outages, and before each a while in which hardly anybody asks for `twelve`.
fn three_outages() -> String {
    let once = r#"
[[phase]]
name = "lull N"
lasts = "1500ms"
load = { twelve = "0.01x" }

[[phase]]
name = "outage N"
lasts = "3500ms"
  [[phase.fault]]
  kind = "error"
  on = "peer"
  status = 500

[[phase]]
name = "calm N"
lasts = "2500ms"
"#;
    let phases: String = ["1", "2", "3"]
        .iter()
        .map(|nth| once.replace('N', nth))
        .collect();
    let text = OUTAGE.replace("KIND", "three outages");
    let (before, rest) = text
        .split_once("[[phase]]\nname = \"outage\"")
        .expect("one");
    let (_, after) = rest.split_once("FAULTS\n").expect("one");
    format!("{before}{}{after}", phases.trim_start())
}

/// opossum 9.0: `fail` opens when more than `errorThresholdPercentage` of the calls of its rolling
/// window have failed, and they are at least `volumeThreshold`. The window is a second in ten pieces,
/// nine to ten of which it spans at a time: 18 to 21 calls at 20 a second.
#[test]
fn opossum_opens_at_its_thresholds_and_probes_every_second() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/opossum_app.js");
    let modules = node::modules();
    let sink = "protocol = \"http\"\nrole = \"peer\"\nupstream = \"embedded:sink\"";
    let system = of_peers(
        &format!("\"node\", {program:?}"),
        &format!("NODE_PATH = {modules:?}"),
        &["half", "most", "twelve", "crowd"].map(|name| (name, "20/s", sink)),
    );
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("errors.toml", &three_outages());
    let inferred = Inferred::of(&bench.brownout(&["run", "errors.toml", "--seed", "1"]));
    // Half of 18 are 9, and of 21 are 10.5: the next failure opens it; of four fifths as well. What is in flight
    // when it opens, on a busy machine one or two, fails as well.
    for (breaker, least, most) in [("half", 10, 11), ("most", 15, 17), ("twelve", 12, 12)] {
        let found = inferred.finding(breaker, "breaker-opens");
        let (low, high) = (found["low"].as_u64(), found["high"].as_u64());
        let is_told = low.is_some_and(|low| (least - 1..=most).contains(&low))
            && high.is_some_and(|high| (least..=most + 2).contains(&high));
        assert!(is_told, "{breaker}: {found}");
        // Half-open is tried with the next request, which comes 50 ms later at the most.
        inferred.time(breaker, "breaker-probes", 1.025);
        // It closes with the first good probe; that it is no more than one cannot be seen.
        let found = inferred.finding(breaker, "breaker-closes");
        let why = found["why"].as_str().unwrap_or_default();
        assert!(why.contains("at least 1"), "{breaker}: {found}");
    }
    // Fewer come in a second than it wants to see: it never opens.
    for aspect in ["breaker-opens", "breaker-probes", "breaker-closes"] {
        let found = inferred.findings("crowd", aspect);
        assert!(found.is_empty(), "{aspect}: {found:?}");
    }
}

/// A handshake of TLS that never ends, and answers that stall behind their first byte: each client
/// gives up after the time that it has for that, and not after another.
#[test]
fn time_outs_are_told_by_their_stage() {
    let (python, program) = (
        python::interpreter(),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/stages_app.py"),
    );
    let http = "protocol = \"http\"\nupstream = \"embedded:sink\"\nanswer = { body = '{\"id\": \"thing\"}' }\n";
    let s3 = "protocol = \"s3\"\nupstream = \"embedded\"\nbuckets = [\"models\"]\n";
    let shake = |kind: &str| format!("{kind}role = \"shake\"\ntls = true");
    let body = |kind: &str| format!("{kind}role = \"body\"");
    let (http_shake, http_body) = (shake(http), body(http));
    let (s3_shake, s3_body) = (shake(s3), body(s3));
    let system = of_peers(
        &format!("{python:?}, {program:?}"),
        "",
        &[
            ("urllib3-shake", "2/s", &http_shake),
            ("urllib3-body", "2/s", &http_body),
            ("openai-shake", "2/s", &http_shake),
            ("openai-body", "2/s", &http_body),
            ("boto3-shake", "2/s", &s3_shake),
            ("boto3-body", "2/s", &s3_body),
        ],
    );
    let faults = [
        "kind = \"hang\"\n  on = \"shake\"\n  by = \"connection\"",
        "kind = \"stalled-body\"\n  on = \"body\"\n  after_bytes = \"1B\"",
    ];
    let bench = Bench::new()
        .file("system.toml", &system)
        .file("stages.toml", &outage("stages", "10s", &faults));
    let left = bench.brownout(&["run", "stages.toml", "--seed", "1"]);
    let inferred = Inferred::of(&left);
    for (client, connect, between) in [
        ("urllib3", 1.5, 1.0),
        ("openai", 2.0, 1.25),
        ("boto3", 1.0, 1.5),
    ] {
        inferred.time(&format!("{client}-shake"), "connect-timeout", connect);
        let body = format!("{client}-body");
        inferred.time(&body, "between-bytes-timeout", between);
        let first = inferred.findings(&body, "first-byte-timeout");
        assert!(first.is_empty(), "{client}: {first:?}");
    }
}
