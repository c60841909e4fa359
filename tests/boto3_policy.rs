//! What would prove that the measured policy is the true one: programs on the real boto3, whose
//! settings are known, are measured at exactly those settings.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, Left, boto3_system, fetches, python};
use serde_json::Value;
use std::thread;

const HANG: &str = r#"title = "S3 accepts and never answers"
system = "system.toml"
hold = "2s"

[[phase]]
name = "steady"
lasts = "4s"
steady = true

[[phase]]
name = "hang"
lasts = "LENGTH"
  [[phase.fault]]
  kind = "hang"
  on = "object-store"

[[phase]]
name = "recovery"
lasts = "until steady, at most 90s"

[[expect]]
id = "BOUND"
that = "a call gives up in time"
kind = "gives-up"
on = "object-store"
operation = "OPERATION"
during = ["hang"]
within = "WITHIN"

[[expect]]
id = "ATTEMPTS"
that = "a call makes few attempts"
kind = "attempts"
on = "object-store"
operation = "OPERATION"
during = ["hang"]
at_most = 2
"#;

fn hang(length: &str, operation: &str, within: &str) -> String {
    HANG.replace("LENGTH", length)
        .replace("OPERATION", operation)
        .replace("WITHIN", within)
}

/// What its owner says of the client, and that it is held to it.
const DECLARED: &str = r#"
[[expect]]
id = "DECLARED"
that = "the client does what its owner declares"
kind = "policy"
on = "object-store"
during = ["hang"]
declared = true
"#;

fn declared(system: &str, attempts: u32) -> String {
    format!("{system}\n[dependency.s3.policy]\nattempts = {attempts}\n")
}

const TWICE_TWO_SECONDS: &str =
    r#", CONNECT_TIMEOUT = "1", READ_TIMEOUT = "2", TOTAL_MAX_ATTEMPTS = "2""#;

/// The attempts that a fault acted on, as (call, attempt number, began, ended) in seconds.
fn struck(history: &[Value]) -> Vec<(String, u64, f64, f64)> {
    let seconds = |value: &Value| value.as_u64().expect("a moment") as f64 / 1e6;
    history
        .iter()
        .filter(|entry| entry["type"] == "attempt" && entry["faults"].is_array())
        .map(|entry| {
            (
                entry["call"].as_str().expect("a call").to_owned(),
                entry["attempt"].as_u64().expect("a number"),
                seconds(&entry["began"]),
                seconds(&entry["ended"]),
            )
        })
        .collect()
}

/// The seconds from a call's first attempt to the end of its `attempts`-th, for the calls that
/// got that far and were not still open when the fault was lifted.
fn ride_through(history: &[Value], attempts: u64) -> Vec<f64> {
    let struck = struck(history);
    let released: Vec<&str> = history
        .iter()
        .filter(|entry| !entry["released"].is_null())
        .filter_map(|entry| entry["call"].as_str())
        .collect();
    let last = struck
        .iter()
        .filter(|(call, number, ..)| *number == attempts && !released.contains(&call.as_str()));
    last.map(|(call, _, _, ended)| {
        let first = struck
            .iter()
            .find(|(other, number, ..)| other == call && *number == 1);
        ended - first.expect("a first attempt").2
    })
    .collect()
}

/// What was inferred of the store's client, before and after a change of its behaviour.
fn findings<'a>(left: &'a Left, aspect: &str) -> Vec<&'a Value> {
    let claims = left.report["scenarios"][0]["policies"]["claims"].as_array();
    let claims = claims.into_iter().flatten();
    claims
        .filter(|claim| claim["dependency"] == "s3" && claim["aspect"] == aspect)
        .map(|claim| &claim["finding"])
        .collect()
}

/// That a call makes so many attempts.
#[track_caller]
fn attempts(left: &Left, count: u64) {
    let found = findings(left, "attempts");
    assert!(
        matches!(&*found, [one] if one["value"] == count),
        "{found:?}"
    );
}

/// That its time to the first byte is told to a twentieth.
#[track_caller]
fn waits(left: &Left, seconds: f64) {
    let found = findings(left, "first-byte-timeout");
    let off = |found: &&Value| found["value_us"].as_f64().unwrap_or(0.0) / 1e6 / seconds;
    let is_right = |found: &&Value| (0.95..=1.05).contains(&off(found));
    assert!(!found.is_empty(), "{}", left.stdout);
    assert!(found.iter().all(is_right), "{seconds} s: {found:?}");
}

/// That its pauses are told for what they are, or left open: exponential, with full jitter, from
/// this base on, told to a fifth. Whether they are told.
#[track_caller]
fn backs_off(left: &Left, base: f64) -> bool {
    let found = findings(left, "back-off");
    assert!(!found.is_empty(), "{}", left.stdout);
    let told: Vec<&Value> = found
        .into_iter()
        .filter(|one| one["type"] != "unknown")
        .collect();
    for found in &told {
        let has = |key: &str, word: &str| {
            let words = found[key].as_array();
            words.is_some_and(|words| words.iter().any(|one| one == word))
        };
        let is_right = has("laws", "exponential") && has("jitters", "full");
        assert!(is_right, "{found}");
        if let Some(told) = found["base_us"][0].as_f64() {
            let off = told / 1e6 / base;
            assert!((1.0 / 1.2..=1.2).contains(&off), "{base} s: {found}");
        }
    }
    !told.is_empty()
}

#[test]
fn two_attempts_of_two_seconds_are_measured_as_such_and_judged_both_ways() {
    let bench = Bench::new()
        .file(
            "system.toml",
            &declared(&boto3_system(TWICE_TWO_SECONDS, &fetches("2/s", "20s")), 2),
        )
        .file("hang.toml", &(hang("14s", "GetObject", "5s") + DECLARED))
        .file("strict.toml", &hang("14s", "GetObject", "3s"));

    let left = bench.brownout(&["run", "hang.toml", "--seed", "1"]);
    left.assert_status(0);
    assert_eq!(left.verdict("BOUND"), "pass");
    assert_eq!(left.verdict("ATTEMPTS"), "pass");
    assert_eq!(left.verdict("DECLARED"), "pass");
    waits(&left, 2.0);
    attempts(&left, 2);
    backs_off(&left, 0.05);

    let calls = ride_through(&bench.history("hang"), 2);
    assert!(
        calls.len() >= 10,
        "{} calls were seen to the end",
        calls.len()
    );
    for seconds in &calls {
        assert!((3.9..5.0).contains(seconds), "gave up after {seconds} s");
    }
    let most = struck(&bench.history("hang"))
        .iter()
        .map(|(_, number, ..)| *number)
        .max();
    assert_eq!(most, Some(2));

    // The same history under a stricter bound: no second run is needed to fail it.
    let history = bench.history_path("hang");
    let strict = bench.brownout(&[
        "judge",
        history.to_str().expect("a path"),
        "--scenario",
        "strict.toml",
    ]);
    strict.assert_status(1);
}

#[test]
fn a_put_waits_one_second_more_for_the_continue_that_never_comes() {
    // INCIDENTS 2.3: botocore asks `Expect: 100-continue` and waits 1.00 s before each body.
    let stores = r#"[load.store]
rate = "2/s"
arrivals = "constant"
request = { method = "PUT", path = "/objects/k{nth}", body = "a model" }
timeout = "20s"
"#;
    let bench = Bench::new()
        .file(
            "system.toml",
            &declared(&boto3_system(TWICE_TWO_SECONDS, stores), 5),
        )
        .file("hang.toml", &(hang("16s", "PutObject", "7s") + DECLARED));
    let left = bench.brownout(&["run", "hang.toml", "--seed", "1"]);
    // It makes two attempts, whatever its owner believes.
    left.assert_status(1);
    assert_eq!(left.verdict("BOUND"), "pass", "{}", left.stdout);
    assert_eq!(left.verdict("DECLARED"), "fail", "{}", left.stdout);
    let calls = ride_through(&bench.history("hang"), 2);
    assert!(
        calls.len() >= 10,
        "{} calls were seen to the end",
        calls.len()
    );
    for seconds in &calls {
        assert!((5.8..7.0).contains(seconds), "gave up after {seconds} s");
    }
}

#[test]
fn the_default_boto3_makes_three_attempts_of_sixty_seconds_at_a_silent_store() {
    // INCIDENTS 2.4: botocore 1.44.5 `standard`: 3 attempts, read time-out 60 s, base 50 ms.
    let bench = Bench::new()
        .file("system.toml", &boto3_system("", &fetches("30/min", "4s")))
        .file(
            "hang.toml",
            &hang("186s", "GetObject", "181s").replace("at_most = 2", "at_most = 3"),
        );
    let left = bench.brownout(&["run", "hang.toml", "--seed", "1"]);
    assert_eq!(left.verdict("ATTEMPTS"), "pass", "{}", left.stdout);
    waits(&left, 60.0);
    backs_off(&left, 0.05);
    let calls = ride_through(&bench.history("hang"), 3);
    assert!(!calls.is_empty(), "a call was seen to the end");
    for seconds in &calls {
        assert!(
            (179.5..182.0).contains(seconds),
            "gave up after {seconds} s"
        );
    }
}

/// INCIDENTS 2.4, for a store that is silent: as many attempts, and pauses after the same law, as after errors.
#[test]
fn before_2026_and_since_a_silent_store_is_tried_as_often_and_after_the_same_pauses() {
    const A_SECOND: &str = r#", CONNECT_TIMEOUT = "1", READ_TIMEOUT = "1""#;
    let run = |mode: Option<&str>, is_old: bool, length: &str| {
        let mode = mode.map(|mode| format!(r#", AWS_RETRY_MODE = "{mode}""#));
        let environment = A_SECOND.to_owned() + &mode.unwrap_or_default();
        let bench = Bench::new()
            .file(
                "system.toml",
                &boto3_system(&environment, &fetches("2/s", "40s")),
            )
            .file("hang.toml", &hang(length, "GetObject", "40s"));
        let mut command = bench.command(&["run", "hang.toml", "--seed", "1"]);
        if is_old {
            command.env("PYTHONPATH", python::before_2026());
        }
        bench.finished(&mut command)
    };
    let (legacy, standard, of_2026) = thread::scope(|scope| {
        let legacy = scope.spawn(|| run(None, true, "34s"));
        let standard = scope.spawn(|| run(Some("standard"), true, "20s"));
        let of_2026 = run(None, false, "20s");
        let joined = |run: thread::ScopedJoinHandle<'_, Left>| run.join().expect("it ran");
        (joined(legacy), joined(standard), of_2026)
    });
    for (left, count, base) in [(&legacy, 5, 1.0), (&standard, 3, 1.0), (&of_2026, 3, 0.05)] {
        waits(left, 1.0);
        attempts(left, count);
        let is_told = backs_off(left, base);
        // Four pauses a call, of up to 1, 2, 4 and 8 s, are many enough to tell.
        assert!(is_told || count < 5, "{}", left.stdout);
    }
    // 500 tokens, of which a retry after a time-out takes 10, and 14 since.
    for (left, retries) in [(&standard, 50), (&of_2026, 35)] {
        let found = findings(left, "retry-budget");
        let budget = found.first().expect("a budget");
        let (told, slack) = (budget["retries"].as_u64(), budget["slack"].as_u64());
        let off = told.expect("a number").abs_diff(retries);
        assert!(off <= slack.expect("a number"), "{budget}");
    }
    assert!(findings(&legacy, "retry-budget").is_empty());
}

#[test]
fn the_default_boto3_rides_out_a_fifth_of_a_second_of_instant_errors() {
    // INCIDENTS 2.4, 2.5: three attempts within 0.04–0.19 s on the instant 500.
    let scenario = hang("5s", "GetObject", "1s")
        .replace(
            "kind = \"hang\"",
            "kind = \"error\"\n  error = \"InternalError\"",
        )
        .replace("at_most = 2", "at_most = 3");
    let bench = Bench::new()
        // Eight failing calls: far from the 17 that exhaust the client's retry quota.
        .file("system.toml", &boto3_system("", &fetches("90/min", "10s")))
        .file("instant.toml", &scenario);
    let left = bench.brownout(&["run", "instant.toml", "--seed", "1"]);
    left.assert_status(0);
    let calls = ride_through(&bench.history("instant"), 3);
    assert!(
        calls.len() >= 5,
        "{} calls were seen to the end",
        calls.len()
    );
    for seconds in &calls {
        // Before 2026 it was four seconds and more.
        assert!(*seconds < 2.0, "gave up after {seconds} s");
    }
}
