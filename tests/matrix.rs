//! What would prove that the matrix finds what is wrong with a system without being told, and nothing
//! where nothing is: Ada's bots as they were need S3 before their cache, and no longer when remedied; a
//! shop that loses its leases is wedged, and its twin that gives them back is not; a shop that is sick
//! without any fault is never called well; one that charges again when an answer is lost does so twice,
//! and its twin with a key for each order does not. What is found is left as a scenario that fails again.
//! Of every kind of trouble there is a system that bears it and one that does not, of pairs too.
//!
//! What is tried is kept to few kinds at a time, because each takes as long as a fault lasts.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, python};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Ada's many processes, as they were and remedied, are all that a small machine can bear at a time.
static ADA: Mutex<()> = Mutex::new(());

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
    let _alone = ADA.lock();
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

/// The same on all that it depends on, for as long as this: what tells most is tried first.
fn ada_within(budget: &str, variant: &str) -> (Left, Value) {
    let bench = Bench::new();
    let system = format!("scenarios/systems/bot-platform-{variant}.toml");
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join(system);
    let arguments = [
        "matrix",
        "--system",
        system.to_str().expect("a path"),
        "--budget",
        budget,
        "--steady",
        "2s",
        "--recovery",
        "8s",
        "--jobs",
        "2",
    ];
    run(&bench, &arguments)
}

#[test]
fn that_ada_needed_s3_is_found_without_being_told_where_to_look() {
    // Where the machine is so busy that nothing can be tried within it, twice as long.
    let asked = |variant| {
        let asked = ada_within("45s", variant);
        match asked.0.status {
            Some(2) => ada_within("90s", variant),
            _ => asked,
        }
    };
    let _alone = ADA.lock();
    let (was, is) = thread::scope(|scope| {
        let was = scope.spawn(|| asked("as-it-was"));
        let is = scope.spawn(|| asked("remedied"));
        (was.join().expect("it ran"), is.join().expect("it ran"))
    });
    let needs_s3 = |matrix: &Value| -> bool {
        let needs = matrix["needs"].as_array().expect("needs");
        let mut needs = needs.iter();
        needs.any(|one| (&one["load"], &one["dependency"]) == (&"train".into(), &"s3".into()))
    };
    for ((left, matrix), train, is_found) in [
        (&was, "train s3 hang: failed", true),
        (&is, "train s3 hang: answered", false),
    ] {
        let said = format!("{}\n{}", left.stdout, left.stderr);
        left.assert_status(0);
        let met = met(matrix);
        for cell in [train, "ask s3 hang: does-not-use-it"] {
            assert!(met.contains(cell), "{cell}\n{said}");
        }
        assert_eq!(needs_s3(matrix), is_found, "{said}");
        assert_eq!(
            left.stdout.contains("train cannot do without s3"),
            is_found,
            "{said}"
        );
        // S3 was not all that was looked at, and not everything that could have been.
        assert!(
            met.iter().any(|cell| cell.contains(" primary hang: ")),
            "{said}"
        );
        let is_left_out = |trial: &Value| {
            let why = trial["state"]["why"].as_str().unwrap_or_default();
            why.starts_with("left out: the budget of ") && why.ends_with(" was used up")
        };
        let mut trials = matrix["trials"].as_array().into_iter().flatten();
        assert!(trials.any(is_left_out), "{said}");
    }
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

/// A folder with the shop that asks for prices, started with these arguments and with this besides.
/// Its file declares that it waits for a second.
fn prices(arguments: &str, backup: &str) -> Bench {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/price_app.py");
    let python = python::interpreter();
    let url = match backup {
        "" => "",
        _ => r#", BACKUP_URL = "{dependency.backup.url}""#,
    };
    let system = format!(
        r#"[system]
name = "prices"
command = [{python:?}, {program:?}, "--port", "{{port.shop}}", {arguments}]
env = {{ PRICES_URL = "{{dependency.prices.url}}"{url} }}
url = "http://127.0.0.1:{{port.shop}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "KILL", within = "5s" }}

[dependency.prices]
protocol = "http"
upstream = "embedded:sink"
policy = {{ timeout = "1s" }}
{backup}
[load.product]
rate = "10/s"
arrivals = "constant"
request = {{ path = "/products" }}
timeout = "4s"
degraded = {{ header = {{ x-answered-from = "memory" }} }}
"#
    );
    Bench::new().file("brownout.toml", &system)
}

/// A little more patience than is declared, and what it remembers; or half of it, and nothing.
const BEARS: &str = r#""--deadline", "1.2", "--remembers""#;
const BEARS_NOT: &str = r#""--deadline", "0.5""#;

/// Two matrices side by side, of what bears the trouble and of what does not.
fn twins(bears: &Bench, bears_not: &Bench, arguments: &[&str]) -> [(Left, Value); 2] {
    thread::scope(|scope| {
        let well = scope.spawn(|| run_whole(bears, arguments));
        let ill = run_whole(bears_not, arguments);
        [well.join().expect("it ran"), ill]
    })
}

/// Makes one in which every trial shows something: again where a busy machine made a system sick before
/// one, whatever was found in the others.
fn run_whole(bench: &Bench, arguments: &[&str]) -> (Left, Value) {
    let mut ran = run(bench, arguments);
    for _ in 0..REPEATS_MAX {
        let mut trials = ran.1["trials"].as_array().into_iter().flatten();
        if !trials.any(|trial| trial["state"]["state"] == "unmeasured") {
            break;
        }
        ran = run(bench, arguments);
    }
    ran
}

/// The trial of this kind.
fn trial<'a>(matrix: &'a Value, kind: &str) -> &'a Value {
    let mut trials = matrix["trials"].as_array().into_iter().flatten();
    let found = trials.find(|one| one["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {matrix:#}"))
}

#[test]
fn every_kind_of_trouble_is_borne_by_one_shop_and_not_by_another() {
    let (bears, bears_not) = (prices(BEARS, ""), prices(BEARS_NOT, ""));
    let mut arguments = vec!["matrix"];
    for kind in [
        "too-slow",
        "lost-reply",
        "reset",
        "restart",
        "quota",
        "slow",
    ] {
        arguments.extend(["--fault", kind]);
    }
    arguments.extend(["--steady", "2s", "--lasts", "4s", "--recovery", "6s"]);
    arguments.extend(["--hold", "1s", "--seed", "7", "--jobs", "3"]);
    arguments.extend(["--fail-on", "failed", "--fail-on", "wedged"]);
    let [(left, matrix), (left_ill, ill)] = twins(&bears, &bears_not, &arguments);

    left.assert_status(0);
    assert_eq!(found(&matrix), set(&[]), "{}", left.stdout);
    let borne = set(&[
        "product prices lost-reply: degraded",
        "product prices quota: degraded",
        "product prices reset: degraded",
        "product prices restart: degraded",
        // What comes in time needs no memory.
        "product prices slow: answered",
        "product prices too-slow: degraded",
    ]);
    assert_eq!(met(&matrix), borne, "{}", left.stdout);
    for (kind, late, chosen) in [
        (
            "slow",
            800_000,
            "80% of the time-out of 1s that was declared",
        ),
        (
            "too-slow",
            1_500_000,
            "1.5 times the time-out of 1s that was declared",
        ),
    ] {
        let delay = &trial(&matrix, kind)["delay"];
        assert_eq!(
            (&delay["us"], &delay["chosen"]),
            (&late.into(), &chosen.into())
        );
    }
    // It did wait for what came late.
    let slow = &trial(&matrix, "slow")["state"]["cells"][0];
    assert!(slow["p50_us"].as_u64() >= Some(800_000), "{slow:#}");
    assert_eq!(matrix["needs"], Value::Array(Vec::new()));

    left_ill.assert_status(1);
    assert_eq!(found(&ill), set(&["failed"]), "{}", left_ill.stdout);
    let failed: BTreeSet<String> = borne
        .iter()
        .filter_map(|cell| Some(format!("{}: failed", cell.split_once(':')?.0)))
        .collect();
    assert_eq!(met(&ill), failed, "{}", left_ill.stdout);
    let need = &ill["needs"][0];
    assert_eq!(need["tried"], 6, "{need:#}");
    assert_eq!(need["fails"].as_array().map(Vec::len), Some(6), "{need:#}");
    // What answers in time is too late for whoever waits for less than was said.
    let slow = &trial(&ill, "slow")["state"]["cells"][0];
    assert!(slow["p50_us"].as_u64() < Some(800_000), "{slow:#}");
}

#[test]
fn a_second_trouble_is_tried_where_another_dependency_saved_the_first() {
    const BACKUP: &str =
        "\n[dependency.backup]\nprotocol = \"http\"\nupstream = \"embedded:sink\"\n";
    let (bears, bears_not) = (prices(BEARS, BACKUP), prices(BEARS_NOT, BACKUP));
    let arguments = [SHORT, &["--jobs", "2", "--fail-on", "failed"]].concat();
    let [(left, matrix), (left_ill, ill)] = twins(&bears, &bears_not, &arguments);

    let pairs = |matrix: &Value| -> BTreeSet<String> {
        let trials = matrix["trials"].as_array().into_iter().flatten();
        let pairs = trials.filter(|trial| trial["beside"].is_object());
        pairs
            .map(|trial| {
                let [on, kind] = ["dependency", "kind"].map(|key| trial["beside"][key].clone());
                let met = trial["state"]["cells"][0]["met"].as_str();
                format!("{on} {kind}: {}", met.unwrap_or_default()).replace('"', "")
            })
            .collect()
    };
    // Alone it is borne by both, as the backup answers.
    for (left, matrix) in [(&left, &matrix), (&left_ill, &ill)] {
        let alone = &trial(matrix, "error")["state"];
        assert_eq!(alone["cells"][0]["met"], "answered", "{}", left.stdout);
        assert_eq!(alone["leant_on"][0], "backup", "{}", left.stdout);
    }
    left.assert_status(0);
    let both = set(&["backup error: degraded", "backup hang: degraded"]);
    assert_eq!(pairs(&matrix), both, "{}", left.stdout);
    left_ill.assert_status(1);
    let both = set(&["backup error: failed", "backup hang: failed"]);
    assert_eq!(pairs(&ill), both, "{}", left_ill.stdout);
    let words: Vec<&str> = left_ill.stdout.split_whitespace().collect();
    let said = "while prices answers with an error and backup never answers";
    assert!(words.join(" ").contains(said), "{}", left_ill.stdout);
}

/// A folder with the planted service behind a pool, in one of its twins.
fn pool(twin: &str) -> Bench {
    let system = include_str!("../src/reference/planted/files/pool.system.toml");
    let bad = system.replace("\"good\"", &format!("{twin:?}"));
    Bench::new().file("brownout.toml", &bad)
}

#[test]
fn a_pool_that_leaks_is_wedged_by_a_database_that_restarts_refuses_or_resets_and_another_is_not() {
    let mut arguments = vec!["matrix"];
    for kind in ["reset", "restart", "quota"] {
        arguments.extend(["--fault", kind]);
    }
    arguments.extend(["--steady", "2s", "--lasts", "4s", "--recovery", "6s"]);
    arguments.extend(["--hold", "1s", "--seed", "7", "--jobs", "3"]);
    arguments.extend(["--fail-on", "wedged"]);
    let (bears, bears_not) = (pool("good"), pool("bad"));
    let [(left, matrix), (left_ill, ill)] = twins(&bears, &bears_not, &arguments);
    let failed = set(&[
        "look database quota: failed",
        "look database reset: failed",
        "look database restart: failed",
    ]);
    let aftermath = |matrix: &Value| -> Vec<String> {
        let trials = matrix["trials"].as_array().into_iter().flatten();
        trials
            .map(|trial| format!("{} {}", trial["kind"], trial["state"]["aftermath"]["is"]))
            .map(|text| text.replace('"', ""))
            .collect()
    };
    // Neither has another source; what tells them apart is what is left afterwards.
    left.assert_status(0);
    assert_eq!(met(&matrix), failed, "{}", left.stdout);
    assert_eq!(found(&matrix), set(&["failed"]), "{}", left.stdout);
    let well = ["reset steady", "restart steady", "quota steady"];
    assert_eq!(aftermath(&matrix), well, "{}", left.stdout);
    left_ill.assert_status(1);
    assert_eq!(met(&ill), failed, "{}", left_ill.stdout);
    assert_eq!(
        found(&ill),
        set(&["failed", "wedged"]),
        "{}",
        left_ill.stdout
    );
    let wedged = ["reset wedged", "restart wedged", "quota wedged"];
    assert_eq!(aftermath(&ill), wedged, "{}", left_ill.stdout);
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
