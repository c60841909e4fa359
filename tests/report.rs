//! What would prove that `report.html` can be read: a real browser opens it, at the widths of a
//! desktop and a telephone, in light and dark, with scripts and without. Charts are drawn, evidence
//! opens, the cursor and the zoom are shared, nothing is fetched, nothing is complained of, every
//! number of the verdicts is there, and axe-core finds nothing serious.
//!
//! The history is made here from the sample story, so that nothing has to be run for it; the pages of
//! the scenarios' own runs are opened where they are run, in `known_answers.rs`.

mod harness;
mod node;
mod page;

use brownout::{
    history::{
        Observation, Outcome,
        sample::{Story, attempt},
    },
    report::{REPORTS, SuiteReport},
};
use harness::Bench;
use page::Look;
use serde_json::Value;

const SYSTEM: &str = r#"[system]
url = "http://127.0.0.1:{port.api}"

[[system.instance]]
name    = "primary"
command = ["./bot-api", "--port", "{port.api}"]

[dependency.s3]
protocol = "s3"
role     = "object-store"
upstream = "127.0.0.1:9000"
capture  = { id = "key" }

[dependency.pager]
protocol = "http"
role     = "alerts"
upstream = "embedded:sink"

[load.ask]
rate     = "20/s"
request  = { method = "POST", path = "/bots/7/ask" }
timeout  = "5s"
degraded = { header = { x-answered-from = "cache" } }

[load.train]
rate    = "20/s"
request = { method = "POST", path = "/bots/7/train" }
timeout = "5s"
capture = { id = "json:/id" }

[ledger.work]
accepted  = { load = "train", id = "id" }
delivered = { dependency = "s3", operation = "PutObject", id = "id", applied = true }
"#;

const SCENARIO: &str = r#"title    = "The store <hangs> & nobody says so"
story    = """The store took requests and never answered.

What was taught meanwhile waited; `ask` was answered from a cache."""
incident = { who = "Ada", on = 2017-02-28, source = "https://example.org/account" }
system   = "system.toml"
tags     = ["s3"]

[[phase]]
name   = "steady"
lasts  = "10s"
steady = true

[[phase]]
name     = "outage"
lasts    = "20s"
happened = "12:42–14:56 EST"
  [[phase.fault]]
  kind = "hang"
  on   = "object-store"

[[phase]]
name  = "recovery"
lasts = "30s"

[[expect]]
id       = "ASK"
that     = "answers never wait for the store"
kind     = "success-rate"
load     = "ask"
during   = "outage"
at_least = "99%"

[[expect]]
id       = "TRAIN"
that     = "what is taught is answered"
kind     = "success-rate"
load     = "train"
during   = "outage"
at_least = "99%"

[[expect]]
id     = "PATIENCE"
that   = "calls to the store come to an end"
kind   = "gives-up"
on     = "object-store"
during = "outage"
within = "5s"

[[expect]]
id     = "LOST"
that   = "what was accepted is stored"
kind   = "nothing-lost"
ledger = "work"

[[expect]]
id     = "TOLD"
that   = "somebody is told that it is the store"
kind   = "alert"
on     = "alerts"
names  = ["s3"]
within = "5s"
"#;

/// Twenty seconds in which the store hangs: `ask` falls back, some `train` fail, calls are tried
/// twice and take too long, one accepted piece of work never arrives, and the pager is told.
fn story() -> Story {
    let mut story = Story::new()
        .hits(40)
        .process(5, "primary", "started", true)
        .process(400, "primary", "ready", true)
        .healthy(0..10)
        .load("ask", 10..30, 20, Outcome::Degraded, 35)
        .load("train", 10..14, 20, Outcome::Indeterminate, 5_000)
        .load("train", 14..30, 20, Outcome::Failed, 900)
        .message(12_500, "s3 does not answer")
        .healthy(30..60);
    for call in 0..20u64 {
        let (began, id) = (10_100 + call * 700, format!("call-{call}"));
        story = story.attempts([
            attempt("s3", began, began + 3_000)
                .sdk(&id, 1)
                .hit()
                .gave_up(),
            attempt("s3", began + 3_400, began + 6_400)
                .sdk(&id, 2)
                .hit()
                .gave_up(),
        ]);
    }
    for second in 0..30u64 {
        let id = format!("work-{second}");
        story = story.work(second * 1_000, &id, Outcome::Ok);
        if second != 12 {
            story = story.delivery(
                if second < 10 {
                    second * 1_000 + 300
                } else {
                    31_000
                },
                &id,
            );
        }
    }
    story.watched(59_900)
}

/// The history of the story as a run would have written it.
fn history() -> String {
    let mut observations = story().observations();
    let Some(Observation::Run(run)) = observations.first_mut() else {
        panic!("the first entry is the header");
    };
    run.scenario = ("scenario.toml".to_owned(), SCENARIO.to_owned());
    run.system = ("system.toml".to_owned(), SYSTEM.to_owned());
    let lines = observations.iter().map(|one| {
        let line = serde_json::to_string(one).expect("an observation is JSON");
        line + "\n"
    });
    lines.collect()
}

/// A folder in which the history was judged.
fn judged() -> (Bench, Value) {
    let bench = Bench::new().file("history.jsonl", &history());
    let output = bench
        .command(&["judge", "history.jsonl", "--out", "out"])
        .output()
        .expect("brownout starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report = std::fs::read(bench.path().join("out/report.json")).expect("a report");
    (bench, serde_json::from_slice(&report).expect("JSON"))
}

#[test]
fn a_browser_shows_everything_and_fetches_nothing() {
    let (bench, report) = judged();
    let verdicts = report["scenarios"][0]["verdicts"]
        .as_array()
        .expect("verdicts");
    let statuses: Vec<&str> = verdicts
        .iter()
        .filter_map(|one| one["status"].as_str())
        .collect();
    assert_eq!(
        statuses,
        ["pass", "fail", "fail", "inconclusive", "pass"],
        "{verdicts:#?}"
    );
    let file = bench.path().join("out/report.html");
    let shown = page::opened(&file, bench.path(), Look::Whole);
    page::reads_well(&shown, &report);
    for visit in shown["visits"].as_array().expect("visits") {
        // Two charts of each load, two of the store, one of the ledger, lanes of the fault and the
        // process; the pager was never asked.
        let drawings = visit["drawings"].as_array().expect("drawings");
        assert_eq!(drawings.len(), 4 + 2 + 1 + 2, "{drawings:?}");
    }
    assert!(shown["pdf"].as_u64() > Some(20_000), "{}", shown["pdf"]);
    for sight in shown["sights"].as_array().expect("sights") {
        told_apart(sight);
    }
}

/// The outcomes in a legend look different to people who cannot tell all colours apart, by colour or
/// by hatching; what each is called stands beside it.
fn told_apart(sight: &Value) {
    let scheme = &sight["colorScheme"];
    let swatches = |kind: &str| sight["seen"][kind].as_array().expect("swatches").clone();
    let clear = swatches("none");
    assert_eq!(clear.len(), 4, "ok, degraded, indeterminate, failed");
    assert_ne!(
        clear,
        swatches("protanopia"),
        "{scheme}: nothing is simulated"
    );
    for kind in ["deuteranopia", "protanopia", "tritanopia"] {
        let seen = swatches(kind);
        for (nth, one) in seen.iter().enumerate() {
            for other in &seen[nth + 1..] {
                let apart = distance(&one["colour"], &other["colour"]);
                let hatched = one["hatch"] != other["hatch"];
                assert!(
                    apart > 40.0 || hatched,
                    "{scheme} {kind}: {one} and {other} are {apart} apart"
                );
            }
        }
    }
}

/// How far apart two colours are: black and white are 442.
fn distance(one: &Value, other: &Value) -> f64 {
    let part = |colour: &Value, part: usize| colour[part].as_f64().expect("a number");
    let squares = (0..3).map(|nth| (part(one, nth) - part(other, nth)).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn a_page_of_many_scenarios_has_them_all() {
    let (_bench, report) = judged();
    let html = REPORTS
        .iter()
        .find(|def| def.name == "html")
        .expect("it is listed");
    let one: SuiteReport = serde_json::from_value(report).expect("the same report");
    let many = vec![one.scenarios[0].clone(); 5];
    let suite = SuiteReport::new("2026-11-22T02:20:00Z".to_owned(), 1, many);
    let page = String::from_utf8((html.render)(&suite)).expect("text");
    for nth in 1..=5 {
        assert!(
            page.contains(&format!("href=\"#s{nth}\"")) && page.contains(&format!("id=\"s{nth}\""))
        );
    }
    assert_eq!(page.matches("<style>").count(), 1);
}
