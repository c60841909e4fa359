//! What would prove that lost and doubled work is found: a service that accepts jobs and sends them
//! to a webhook passes, fails with the ids named when it forgets one in so many or sends one
//! twice, and where its listing cannot be read nothing is said.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, jobs, program};

const OUTAGE: &str = r#"title = "the webhook fails for a while"
system = "system.toml"
hold = "1s"

[[phase]]
name = "steady"
lasts = "3s"
steady = true

[[phase]]
name = "webhook fails"
lasts = "3s"
  [[phase.fault]]
  kind = "error"
  on = "webhooks"
  status = 503
  applied = "no"

[[phase]]
name = "recovery"
lasts = "4s"

[[expect]]
id = "SENT"
that = "every accepted job reaches the webhook"
kind = "nothing-lost"
ledger = "sent"

[[expect]]
id = "ONCE"
that = "and reaches it once"
kind = "no-duplicates"
ledger = "sent"

[[expect]]
id = "LISTED"
that = "the service's own listing has every accepted job"
kind = "nothing-lost"
ledger = "listed"
"#;

/// The service with this in its environment.
fn bench(environment: &str) -> Bench {
    let environment = format!(r#"WEBHOOK = "{{dependency.webhooks.address}}"{environment}"#);
    let system = program("ledger_app.py", r#""{port.app}""#, &environment, "KILL");
    let jobs = jobs("20/s", "5s");
    let system = format!(
        r#"{system}{jobs}
[ledger.listed]
accepted = {{ load = "jobs", id = "id" }}
delivered = {{ read = {{ path = "/ledger" }}, id = "json:/ids/*" }}
backlog = {{ path = "/queue", value = "json:/depth" }}
settle = "2s"
"#
    );
    Bench::new()
        .file("system.toml", &system)
        .file("outage.toml", OUTAGE)
}

fn run(environment: &str, status: i32) -> (Bench, Left) {
    let bench = bench(environment);
    let left = bench.brownout(&["run", "outage.toml"]);
    left.assert_status(status);
    (bench, left)
}

/// The ids that the load had acknowledged, in the order of their answers.
fn accepted(bench: &Bench) -> Vec<String> {
    bench
        .history("outage")
        .iter()
        .filter(|entry| entry["type"] == "operation" && entry["outcome"] == "ok")
        .map(|entry| entry["captured"]["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn seen(left: &Left, id: &str) -> Vec<String> {
    left.verdict_of(id)["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|evidence| evidence["what"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_service_that_sends_every_job_once_passes() {
    let (bench, left) = run("", 0);
    for id in ["SENT", "ONCE", "LISTED"] {
        assert_eq!(left.verdict(id), "pass", "{:#}", left.verdict_of(id));
    }
    // The outage made a backlog, which the service's own gauge showed.
    let deepest = bench
        .history("outage")
        .iter()
        .filter(|entry| entry["type"] == "gauge" && entry["measure"] == "backlog")
        .filter_map(|entry| entry["value"].as_f64())
        .fold(0.0, f64::max);
    assert!(deepest >= 10.0, "the deepest backlog was {deepest}");
}

#[test]
fn forgotten_jobs_fail_and_are_named() {
    let (bench, left) = run(r#", LOSE_EVERY = "40""#, 1);
    assert_eq!(left.verdict("SENT"), "fail");
    assert_eq!(left.verdict("LISTED"), "fail");
    assert_eq!(left.verdict("ONCE"), "pass");
    // The service counts the jobs as it takes them from its queue, in the order of their arrival,
    // which neighbours may swap.
    let accepted = accepted(&bench);
    let named = seen(&left, "SENT");
    assert!(named.len() >= 4, "{named:?}");
    for (count, line) in (1..).zip(&named) {
        let around = &accepted[count * 40 - 3..(count * 40 + 2).min(accepted.len())];
        assert!(
            around.iter().any(|id| line.starts_with(id.as_str())),
            "{line} is none of {around:?}"
        );
    }
    assert!(
        named
            .iter()
            .any(|line| line.contains("in `webhook fails` under `error")),
        "{named:?}"
    );
}

#[test]
fn jobs_that_are_sent_twice_fail_and_are_named() {
    let (_, left) = run(r#", DOUBLE_EVERY = "50""#, 1);
    assert_eq!(left.verdict("SENT"), "pass");
    assert_eq!(left.verdict("ONCE"), "fail");
    let named = seen(&left, "ONCE");
    assert!(named[0].contains("delivered 2 times"), "{named:?}");
}

#[test]
fn a_listing_that_cannot_be_read_says_nothing() {
    let (_, left) = run(r#", LEDGER_STATUS = "500""#, 2);
    assert_eq!(left.verdict("SENT"), "pass");
    assert_eq!(left.verdict("LISTED"), "inconclusive");
    let reason = left.verdict_of("LISTED")["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(
        reason.contains("/ledger could not be read: status 500"),
        "{reason}"
    );
}
