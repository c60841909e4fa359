//! What would prove that the search for metastability finds what is there: a client that asks four
//! times as often when its dependency is slow keeps a queue full that its retries filled, long after
//! the trigger is gone; its twin that asks once comes back from the same trigger. And that it finds where:
//! a shop that has so many leases, and loses one with each error, is wedged by errors that last so long and
//! not by shorter ones; its twin that gives them back by none.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, python};
use serde_json::Value;
use std::{fs, path::Path, sync::Mutex};

/// What is measured by how soon a system comes back has the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

/// A system whose client tries so often. Its dependency, as it is given below, serves 40 requests a
/// second and is asked 20 times: with four attempts a second round of work is more than it can do.
fn bench(attempts: u32) -> Bench {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/retrying_app.py");
    let system = format!(
        r#"[system]
command = [{python:?}, {program:?}, "--port", "{{port.app}}", "--attempts", "{attempts}"]
env = {{ PRICES_URL = "{{dependency.prices.url}}" }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "TERM", within = "5s" }}

[dependency.prices]
protocol = "http"
role = "price-list"
upstream = "embedded:sink"

[load.ask]
rate = "20/s"
arrivals = "constant"
request = {{ path = "/ask" }}
timeout = "1500ms"
"#
    );
    Bench::new().file("brownout.toml", &system)
}

/// How often a search is repeated that says of itself that the machine was too busy for its load.
const TRIES: usize = 3;

/// Searches between a trigger that is shorter than the client's patience and one that fills the queue
/// for longer than the client waits; the ends only, so many runs of each side by side. A side needs three of
/// them, and what is required holds by five.
fn search(bench: &Bench, repeats: &str, more: &[&str]) -> Left {
    let arguments = [
        "metastability",
        "brownout.toml",
        "--on",
        "price-list",
        "--trigger",
        "capacity",
        "--between",
        "100ms..1s",
        "--precision",
        "1000%",
        "--capacity",
        "servers = 1, service = \"25ms\"",
        "--repeats",
        repeats,
        "--jobs",
        repeats,
        "--baseline",
        "2s",
        "--watch",
        "4s",
        "--seed",
        "7",
    ];
    let arguments = [&arguments[..], more].concat();
    let mut left = bench.brownout(&arguments);
    for _ in 1..TRIES {
        if !left.stdout.contains("missed its schedule") {
            break;
        }
        left = bench.brownout(&arguments);
    }
    left
}

/// What came back from the largest trigger and no longer does is worse, and better the other way.
fn compared(well: &Bench, wedged: &Bench) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metastability.schema.json");
    let schema = fs::read_to_string(path).expect("the schema is published");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let folder = |bench: &Bench| {
        let found = report(bench);
        assert!(validator.is_valid(&found), "{found:#}");
        let folder = bench.path().join("brownout-metastability");
        folder.to_str().expect("a path").to_owned()
    };
    let (well, wedged) = (folder(well), folder(wedged));
    let worse = Bench::new().brownout(&["diff", &well, &wedged]);
    worse.assert_status(1);
    assert!(worse.stdout.contains("comes back"), "{}", worse.stdout);
    Bench::new()
        .brownout(&["diff", &wedged, &well])
        .assert_status(0);
}

fn report(bench: &Bench) -> Value {
    let file = bench
        .path()
        .join("brownout-metastability/metastability.json");
    let text = fs::read_to_string(file).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_client_that_retries_is_metastable_and_its_twin_comes_back() {
    let _alone = ALONE.lock();
    let (storm, twin) = (bench(4), bench(1));
    let (wedged, well) = std::thread::scope(|scope| {
        let wedged = scope.spawn(|| search(&storm, "3", &["--require", "1s"]));
        let well = search(&twin, "5", &["--require", "1s"]);
        (wedged.join().expect("it ends"), well)
    });

    wedged.assert_status(1);
    let found = report(&storm);
    let search = &found["search"];
    assert_eq!(search["boundary"]["kind"], "between", "{found:#}");
    let points = search["points"].as_array().expect("points");
    let sides: Vec<&str> = points
        .iter()
        .filter_map(|point| point["side"].as_str())
        .collect();
    assert_eq!(sides, ["recovers", "wedges"], "{found:#}");
    for probe in points[1]["probes"].as_array().expect("runs") {
        assert_eq!(probe["end"], "metastable", "{probe:#}");
        let asks = probe["amplification"].as_f64().expect("a factor");
        assert!((2.0..=4.5).contains(&asks), "{asks}");
        assert!(probe["goodput"].as_f64() < Some(0.5), "{probe:#}");
    }
    assert_eq!(found["require"]["held"], false);
    assert!(
        wedged.stdout.contains("between 100ms and 1s"),
        "{}",
        wedged.stdout
    );

    well.assert_status(0);
    let found = report(&twin);
    assert_eq!(found["search"]["boundary"]["kind"], "above", "{found:#}");
    assert_eq!(found["require"]["held"], true);
    let largest = &found["search"]["points"][1];
    assert!(largest["recovery_us"][1].is_u64(), "{largest:#}");
    assert!(
        well.stdout.contains("not bracketed: above 1s"),
        "{}",
        well.stdout
    );

    compared(&twin, &storm);

    // Every run is a scenario that can be judged like any other.
    let probe = points[1]["probes"][0]["folder"].as_str().expect("a folder");
    let history = format!("brownout-metastability/{probe}/history.jsonl");
    let judged = storm.brownout(&["judge", &history]);
    assert!(judged.stdout.contains("BACK fails"), "{}", judged.stdout);
    let scenario = format!("brownout-metastability/{probe}/scenario.toml");
    storm.brownout(&["check", &scenario]).assert_status(0);
    let page = storm
        .path()
        .join("brownout-metastability/metastability.html");
    let page = fs::read_to_string(page).expect("the page");
    assert!(page.contains("<svg class=\"metastability\""), "{page}");
}

/// A shop with sixteen leases that is asked twenty times a second, started with this flag.
fn leases(flag: &str) -> Bench {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/lease_app.py");
    let system = format!(
        r#"[system]
command = [{python:?}, {program:?}, "--port", "{{port.shop}}"{flag}]
env = {{ PRICES_URL = "{{dependency.prices.url}}" }}
url = "http://127.0.0.1:{{port.shop}}"
ready = {{ path = "/healthz", within = "60s" }}
stop = {{ signal = "KILL", within = "5s" }}

[dependency.prices]
protocol = "http"
upstream = "embedded:sink"

[load.product]
rate = "20/s"
arrivals = "constant"
request = {{ path = "/products" }}
timeout = "500ms"
"#
    );
    Bench::new().file("brownout.toml", &system)
}

/// Searches between errors that cost few leases and errors that would cost all of them several times.
fn halved(bench: &Bench) -> Left {
    let arguments = [
        "metastability",
        "brownout.toml",
        "--on",
        "prices",
        "--trigger",
        "error",
        "--between",
        "300ms..4s",
        "--precision",
        "100%",
        "--repeats",
        "3",
        "--jobs",
        "3",
        "--baseline",
        "2s",
        "--watch",
        "4s",
        "--seed",
        "7",
    ];
    let mut left = bench.brownout(&arguments);
    for _ in 1..TRIES {
        if !left.stdout.contains("missed its schedule") {
            break;
        }
        left = bench.brownout(&arguments);
    }
    left
}

/// After so many seconds of errors the last lease is lost.
const LEASES_LAST: f64 = 16.0 / 20.0;

#[test]
fn the_trigger_that_takes_the_last_lease_is_bracketed_and_none_does_where_they_are_given_back() {
    let _alone = ALONE.lock();
    let (leaks, twin) = (leases(r#", "--leaks""#), leases(""));
    let (wedged, well) = std::thread::scope(|scope| {
        let wedged = scope.spawn(|| halved(&leaks));
        let well = halved(&twin);
        (wedged.join().expect("it ends"), well)
    });

    wedged.assert_status(0);
    let found = report(&leaks);
    let search = &found["search"];
    let boundary = &search["boundary"];
    assert_eq!(boundary["kind"], "between", "{found:#}");
    let [low, high] = ["low", "high"].map(|key| boundary[key].as_f64().expect("a size"));
    assert!(low < LEASES_LAST && LEASES_LAST < high, "{boundary}");
    // As closely as was asked for, from ends that were far apart.
    assert!(high <= 2.0 * low, "{boundary}");
    let points = search["points"].as_array().expect("points");
    let of = |key: &str| -> Vec<&Value> { points.iter().map(|point| &point[key]).collect() };
    let sides = ["recovers", "recovers", "wedges", "wedges"];
    assert_eq!(of("side"), sides, "{found:#}");
    let sizes: Vec<f64> = of("size").iter().filter_map(|size| size.as_f64()).collect();
    assert_eq!((sizes[0], sizes[3]), (0.3, 4.0));
    assert_eq!((sizes[1], sizes[2]), (low, high));
    assert_eq!(search["monotone"], true, "{found:#}");
    assert!(
        !wedged.stdout.contains("not bracketed"),
        "{}",
        wedged.stdout
    );

    well.assert_status(0);
    let found = report(&twin);
    let boundary = &found["search"]["boundary"];
    assert_eq!(boundary["kind"], "above", "{found:#}");
    assert_eq!(boundary["size"], 4.0, "{found:#}");
    assert!(
        well.stdout.contains("not bracketed: above 4s"),
        "{}",
        well.stdout
    );
}
