//! What would prove that the matrix finds what is wrong with a system without being told, and nothing
//! where nothing is: Ada's bots as they were need S3 before their cache, and no longer when remedied; a
//! shop that loses its leases is wedged, and its twin that gives them back is not; a shop that is sick
//! without any fault is never called well; one that charges again when an answer is lost does so twice,
//! and its twin with a key for each order does not. What is found is left as a scenario that fails again.
//!
//! What is tried is kept to few kinds, because each takes as long as a fault lasts.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, python};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// `matrix.json` of a folder that a matrix was told to write to.
fn written(bench: &Bench) -> Value {
    let path = bench.path().join("brownout-matrix/matrix.json");
    let text = std::fs::read_to_string(path).expect("matrix.json was written");
    serde_json::from_str(&text).expect("it is JSON")
}

/// What each load met with, as `load dependency kind`: what.
fn met(matrix: &Value) -> BTreeSet<String> {
    let texts = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let trials = matrix["trials"].as_array().into_iter().flatten();
    trials
        .flat_map(|trial| {
            let cells = trial["state"]["cells"].as_array().into_iter().flatten();
            cells.map(move |cell| {
                let [load, met] = ["load", "met"].map(|key| texts(&cell[key]));
                let [on, kind] = ["dependency", "kind"].map(|key| texts(&trial[key]));
                format!("{load} {on} {kind}: {met}")
            })
        })
        .collect()
}

/// What was found.
fn found(matrix: &Value) -> BTreeSet<String> {
    let findings = matrix["findings"].as_array().into_iter().flatten();
    findings
        .filter_map(|one| one["found"].as_str().map(str::to_owned))
        .collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// How often a matrix is made again that says of itself that it is no answer, because the machine was
/// busy and the system sick of it before any fault. Any other answer, right or wrong, stands.
const REPEATS_MAX: usize = 2;

/// Makes one; what it left.
fn run(bench: &Bench, arguments: &[&str]) -> (Left, Value) {
    let mut left = bench.brownout(arguments);
    for _ in 0..REPEATS_MAX {
        if left.status == Some(2) {
            left = bench.brownout(arguments);
        }
    }
    let matrix = written(bench);
    (left, matrix)
}

/// The matrix of Ada's bots in one of their variants, on S3 alone.
fn ada(variant: &str) -> (Left, Value) {
    let bench = Bench::new();
    let system = format!("scenarios/systems/bot-platform-{variant}.toml");
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join(system);
    let arguments = [
        "matrix",
        "--system",
        system.to_str().expect("a path"),
        "--on",
        "object-store",
        "--fault",
        "hang",
        "--fault",
        "error",
        "--steady",
        "2s",
        "--recovery",
        "20s",
        "--jobs",
        "2",
        "--fail-on",
        "failed",
    ];
    run(&bench, &arguments)
}

#[test]
fn that_ada_needed_s3_before_the_cache_is_found_and_that_it_no_longer_does() {
    let (was, is) = thread::scope(|scope| {
        let was = scope.spawn(|| ada("as-it-was"));
        let is = scope.spawn(|| ada("remedied"));
        (was.join().expect("it ran"), is.join().expect("it ran"))
    });
    let (left, matrix) = &was;
    left.assert_status(1);
    let of_both = met(matrix);
    for cell in [
        "train s3 hang: failed",
        "train s3 error: failed",
        // Its task queue is shared, so that those suffer who have nothing to do with S3 …
        "report s3 hang: failed",
        // … but not those who answer from the cache.
        "ask s3 hang: does-not-use-it",
        "ask s3 error: does-not-use-it",
    ] {
        assert!(
            of_both.contains(cell),
            "{cell}\n{}\n{}",
            left.stdout,
            left.stderr
        );
    }
    assert_eq!(found(matrix), set(&["failed", "harmed"]), "{}", left.stdout);
    let need = &matrix["needs"][0];
    assert_eq!(
        (&need["load"], &need["dependency"]),
        (&"train".into(), &"s3".into())
    );
    assert!(
        left.stdout.contains("train cannot do without s3"),
        "{}",
        left.stdout
    );

    let (left, matrix) = is;
    left.assert_status(0);
    let of_both = met(&matrix);
    for cell in ["train s3 hang: answered", "train s3 error: answered"] {
        assert!(
            of_both.contains(cell),
            "{cell}\n{}\n{}",
            left.stdout,
            left.stderr
        );
    }
    assert_eq!(found(&matrix), set(&[]), "{}", left.stdout);
    compared(&was.1, &matrix);
}

/// The two of them: what became better one way became worse the other.
fn compared(was: &Value, is: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/matrix.schema.json");
    let schema = std::fs::read_to_string(path).expect("the schema is published");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for matrix in [was, is] {
        let wrong: Vec<String> = validator
            .iter_errors(matrix)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(wrong, Vec::<String>::new());
    }
    // One is known by its name in a folder, and one by what it holds.
    let bench = Bench::new();
    std::fs::create_dir(bench.path().join("was")).expect("a folder");
    let bench = bench
        .file("was/matrix.json", &was.to_string())
        .file("is.json", &is.to_string());
    let allow = "--allow-policy-changes";
    let better = bench.brownout(&["diff", "was", "is.json", allow]);
    better.assert_status(0);
    assert!(better.stdout.contains("s3 hang"), "{}", better.stdout);
    let worse = bench.brownout(&["diff", "is.json", "was", allow, "--out", "worse.md"]);
    worse.assert_status(1);
    let page = std::fs::read_to_string(bench.path().join("worse.md")).expect("a page");
    assert!(page.contains("✗ worse | train: met with"), "{page}");
    let mixed = bench.brownout(&["diff", "is.json", "report.json"]);
    mixed.assert_status(64);
}

/// A folder with the shop, started with this flag.
fn shop(flag: &str) -> Bench {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/lease_app.py");
    let python = python::interpreter();
    let flag = match flag {
        "" => String::new(),
        flag => format!(", {flag:?}"),
    };
    let system = format!(
        r#"[system]
name = "shop"
command = [{python:?}, {program:?}, "--port", "{{port.shop}}"{flag}]
env = {{ PRICES_URL = "{{dependency.prices.url}}" }}
url = "http://127.0.0.1:{{port.shop}}"
ready = {{ path = "/healthz" }}
stop = {{ signal = "KILL", within = "5s" }}

[dependency.prices]
protocol = "http"
upstream = "embedded:sink"

[dependency.pager]
protocol = "http"
upstream = "embedded:sink"

[load.product]
rate = "10/s"
arrivals = "constant"
request = {{ path = "/products" }}
timeout = "2s"
degraded = {{ header = {{ x-answered-from = "memory" }} }}
"#
    );
    Bench::new().file("brownout.toml", &system)
}

/// How often it is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A limit that only a defect reaches.
const LIMIT: Duration = Duration::from_secs(60);

/// Short phases, and errors alone.
const SHORT: &[&str] = &[
    "matrix",
    "--fault",
    "error",
    "--steady",
    "2s",
    "--lasts",
    "4s",
    "--recovery",
    "6s",
    "--hold",
    "1s",
    "--seed",
    "7",
];

#[test]
fn what_wedges_a_shop_is_found_and_its_correct_twin_has_no_finding() {
    thread::scope(|scope| {
        scope.spawn(a_shop_that_loses_its_leases_is_wedged_and_fails_again);
        // One after the other: a machine with too much to do makes a shop sick.
        scope.spawn(|| {
            a_shop_that_gives_its_leases_back_has_no_finding();
            a_shop_that_is_sick_without_faults_is_never_called_well();
            what_there_is_no_time_for_is_listed();
            whoever_interrupts_a_matrix_keeps_what_was_done();
        });
    });
}

fn a_shop_that_loses_its_leases_is_wedged_and_fails_again() {
    let bench = shop("--leaks");
    let arguments = [
        SHORT,
        &["--fail-on", "wedged", "--write-scenarios", "found"],
    ]
    .concat();
    let (left, matrix) = run(&bench, &arguments);
    left.assert_status(1);
    let both = set(&["failed", "wedged"]);
    assert_eq!(found(&matrix), both, "{}", left.stdout);
    assert!(left.stdout.contains("wedged"), "{}", left.stdout);
    // The pager is called by nobody, and that is said.
    let unused = "product does not use pager";
    assert!(left.stdout.contains(unused), "{}", left.stdout);
    for file in ["matrix.html", "junit.xml", "reference/history.jsonl"] {
        assert!(
            bench.path().join("brownout-matrix").join(file).exists(),
            "{file}"
        );
    }

    bench.brownout(&["check", "found"]).assert_status(0);
    let again = bench.brownout(&["run", "found/prices-error.toml", "--seed", "7"]);
    again.assert_status(1);
    assert_eq!(again.verdict("RECOVERS"), "fail");
    assert_eq!(again.verdict("ANSWERED-product"), "fail");
}

fn a_shop_that_gives_its_leases_back_has_no_finding() {
    let bench = shop("");
    let arguments = [SHORT, &["--fail-on", "wedged", "--fail-on", "failed"]].concat();
    let (left, matrix) = run(&bench, &arguments);
    left.assert_status(0);
    assert_eq!(found(&matrix), set(&[]), "{}", left.stdout);
    assert_eq!(met(&matrix), set(&["product prices error: degraded"]));
}

fn a_shop_that_is_sick_without_faults_is_never_called_well() {
    let bench = shop("--sick");
    let left = bench.brownout(SHORT);
    left.assert_status(2);
    assert_eq!(written(&bench)["trials"], Value::Array(Vec::new()));
    assert!(left.stdout.contains("nothing was tried"), "{}", left.stdout);
}

fn what_there_is_no_time_for_is_listed() {
    let bench = shop("");
    let left = bench.brownout(&[SHORT, &["--budget", "1s"]].concat());
    left.assert_status(2);
    let words: Vec<&str> = left.stdout.split_whitespace().collect();
    let said = words.join(" ");
    let why = "not tried: prices error (left out: the budget of 1s was used up)";
    assert!(said.contains(why), "{}", left.stdout);
}

fn whoever_interrupts_a_matrix_keeps_what_was_done() {
    let bench = shop("");
    let arguments = [SHORT, &["--fault", "reset", "--fault", "hang"]].concat();
    let mut running = bench.spawn(&arguments);
    // What is left of the reference is a first trial's folder.
    let first = bench
        .path()
        .join("brownout-matrix/01-prices-hang/history.jsonl");
    let began = Instant::now();
    while !first.exists() {
        assert!(
            running.try_wait().expect("a child").is_none(),
            "it ended early"
        );
        assert!(began.elapsed() < LIMIT, "no trial began");
        thread::sleep(LOOK_EVERY);
    }
    let interrupt = Command::new("kill")
        .args(["-TERM", &running.id().to_string()])
        .status();
    assert!(interrupt.expect("kill runs").success());
    let status = running.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    let matrix = written(&bench);
    assert_eq!(matrix["interrupted"], true);
    let trials = matrix["trials"].as_array().expect("trials");
    let not_tried = |trial: &&Value| trial["state"]["state"] == "not-tried";
    assert!(trials.iter().filter(not_tried).count() >= 2, "{matrix:#}");
}

/// A folder with the shop that tries a charge again in this way.
fn charges(retry: &str) -> Bench {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/charge_app.py");
    let python = python::interpreter();
    let system = format!(
        r#"[system]
name = "charges"
command = [{python:?}, {program:?}, "{{port.shop}}"]
env = {{ PROVIDER = "{{dependency.payments.address}}", RETRY = "{retry}" }}
url = "http://127.0.0.1:{{port.shop}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "KILL", within = "5s" }}

[dependency.payments]
protocol = "http"
upstream = "embedded:sink"
capture = {{ order = "header:x-order", key = "header:idempotency-key" }}

[load.orders]
rate = "10/s"
arrivals = "constant"
request = {{ method = "POST", path = "/orders", json = {{ id = "{{uuid}}" }} }}
timeout = "15s"
"#
    );
    Bench::new().file("brownout.toml", &system)
}

/// Lost answers alone.
const LOST: &[&str] = &[
    "matrix",
    "--fault",
    "lost-reply",
    "--steady",
    "2s",
    "--lasts",
    "4s",
    "--recovery",
    "12s",
    "--hold",
    "3s",
    "--seed",
    "7",
    "--fail-on",
    "doubled",
    "--write-scenarios",
    "found",
];

/// What is known of what was done twice in the only trial.
fn doubling(matrix: &Value) -> &str {
    let known = &matrix["trials"][0]["state"]["doubling"];
    known["is"].as_str().unwrap_or_default()
}

#[test]
fn what_is_charged_again_when_an_answer_is_lost_is_found_and_its_twin_with_a_key_is_not() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let bench = charges("keyed");
            let (left, matrix) = run(&bench, LOST);
            assert_eq!(
                doubling(&matrix),
                "once",
                "{}\n{}",
                left.stdout,
                left.stderr
            );
            assert!(!found(&matrix).contains("doubled"), "{}", left.stdout);
            left.assert_status(0);
        });
        let bench = charges("blind");
        let (left, matrix) = run(&bench, LOST);
        left.assert_status(1);
        assert_eq!(doubling(&matrix), "doubled", "{}", left.stdout);
        assert!(found(&matrix).contains("doubled"), "{}", left.stdout);
        assert!(
            left.stdout.contains("something is done twice"),
            "{}",
            left.stdout
        );
        let written = bench.path().join("found/payments-lost-reply.toml");
        let written = std::fs::read_to_string(written).expect("a scenario was written");
        assert!(written.contains("deduplicated_by = \"key\""), "{written}");
        bench.brownout(&["check", "found"]).assert_status(0);
    });
}

#[test]
fn what_is_typed_wrong_is_answered_before_anything_starts() {
    let bench = shop("");
    for (arguments, said) in [
        (&["--on", "prizes"][..], "did you mean `prices`?"),
        (&["--fault", "hnag"], "did you mean hang?"),
        (&["--lasts", "5"], "with its unit"),
        (&["--recovery", "2s"], "let `--recovery` be longer"),
        (&["--system", "missing.toml"], "cannot read `missing.toml`"),
    ] {
        let left = bench.brownout(&[&["matrix"][..], arguments].concat());
        left.assert_status(64);
        assert!(left.stderr.contains(said), "{said}\n{}", left.stderr);
    }
    assert!(!bench.path().join("brownout-matrix").exists());
}
