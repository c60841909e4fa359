//! What would prove that hosts wired into libraries are reached: real clients that know nothing
//! but their environment come to the dependencies that list their hosts, over HTTP and HTTPS, meet
//! the faults there, and are told so where nobody lists a host.

#![cfg(feature = "demo")]

mod harness;

use harness::{Bench, python};
use serde_json::Value;
use std::path::Path;

/// One at a time: every call is a process of its own, and the machine is not what is tested.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// Name, client and URL of each load. The path is the name, by which attempts are told apart.
const CALLS: &[(&str, &str, &str)] = &[
    ("requests-tls", "requests", "https://api.segment.example/"),
    ("requests-plain", "requests", "http://eu.hooks.example/"),
    ("urllib-tls", "urllib", "https://API.segment.example/"),
    ("urllib-plain", "urllib", "http://a.b.hooks.example:8080/"),
    ("curl-tls", "curl", "https://api.segment.example/"),
    ("curl-plain", "curl", "http://eu.hooks.example/"),
    ("curl-upper", "curl-upper", "https://eu.hooks.example:8443/"),
    ("curl-http2", "curl-http2", "https://api.segment.example/"),
];

/// The program with these calls, each of which it gives up after so many seconds.
fn system(extra: &str, give_up: u32, calls: &[(&str, &str, &str)]) -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/forward_app.py");
    let mut text = format!(
        r#"[system]
command = [{python:?}, {program:?}, "{{port.app}}"]
env = {{ GIVE_UP = "{give_up}" }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}
{extra}

[dependency.analytics]
protocol = "http"
upstream = "embedded:sink"
hosts = ["api.segment.example", "*.hooks.example"]
answer = {{ body = '{{"success": true}}' }}
"#
    );
    for (name, client, url) in calls {
        text += &format!(
            "\n[load.{name}]\nrate = \"1/s\"\narrivals = \"constant\"\ntimeout = \"20s\"\n\
             request = {{ method = \"GET\", path = \"/{client}?{url}{name}\" }}\n"
        );
    }
    text
}

/// A scenario with these phases of faults, each some seconds.
fn scenario(phases: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "title = \"third parties\"\nsystem = \"system.toml\"\nhold = \"2s\"\n\
         [[phase]]\nname = \"steady\"\nlasts = \"6s\"\nsteady = true\n",
    );
    for (name, fault) in phases {
        text += &format!(
            "[[phase]]\nname = \"{name}\"\nlasts = \"8s\"\n[[phase.fault]]\n{fault}\non = \"analytics\"\n"
        );
    }
    text += "[[phase]]\nname = \"recovery\"\nlasts = \"until steady, at most 30s\"\n\
             [[expect]]\nid = \"BACK\"\nthat = \"it comes back\"\nkind = \"recovery\"\nwithin = \"20s\"\n";
    text
}

fn micros(value: &Value) -> u64 {
    value.as_u64().expect("a moment")
}

/// When the n-th phase began and ended.
fn phase(history: &[Value], index: u64) -> (u64, u64) {
    let began = |index: u64| {
        let entry = history
            .iter()
            .find(|entry| entry["type"] == "phase" && entry["index"] == index);
        micros(&entry.expect("the phase began")["at"])
    };
    (began(index), began(index + 1))
}

/// How long the faults of a phase may take to replace those before, in microseconds.
const CHANGE_MAX: u64 = 500_000;

/// The statuses that the operations of a load got which lay within a phase altogether, once its
/// faults were in force.
fn statuses(history: &[Value], load: &str, index: u64) -> Vec<u64> {
    let (from, to) = phase(history, index);
    let from = from + CHANGE_MAX;
    history
        .iter()
        .filter(|entry| entry["type"] == "operation" && entry["load"] == load)
        .filter(|entry| micros(&entry["began"]) > from && micros(&entry["ended"]) < to)
        .filter_map(|entry| entry["status"].as_u64())
        .collect()
}

fn assert_all(found: &[u64], expected: u64, what: &str) {
    assert!(found.len() >= 2, "{what}: {found:?}");
    assert!(
        found.iter().all(|status| *status == expected),
        "{what}: {found:?}"
    );
}

#[test]
fn real_clients_reach_listed_hosts_and_meet_their_faults() {
    let _alone = ALONE.lock();
    let mut calls = CALLS.to_vec();
    calls.push(("unlisted", "curl", "https://telemetry.example/"));
    let system = system("", 6, &calls).replace(
        "[load.unlisted]",
        "[load.unlisted]\nok = { status = \"403\" }",
    );
    let bench = Bench::new().file("system.toml", &system).file(
        "errors.toml",
        &scenario(&[("errors", "kind = \"error\"\nstatus = 503")]),
    );
    let left = bench.brownout(&["run", "errors.toml", "--seed", "1"]);
    left.assert_status(0);

    let history = bench.history("errors");
    for (name, ..) in CALLS {
        assert_all(&statuses(&history, name, 0), 200, name);
        assert_all(&statuses(&history, name, 1), 503, name);
        let attempts: Vec<&Value> = history
            .iter()
            .filter(|entry| entry["type"] == "attempt" && entry["key"] == format!("/{name}"))
            .collect();
        assert!(attempts.len() >= 6, "{name}: {} attempts", attempts.len());
        assert!(
            attempts
                .iter()
                .all(|attempt| attempt["dependency"] == "analytics")
        );
        let struck = attempts
            .iter()
            .filter(|attempt| attempt["faults"].is_array());
        assert!(struck.count() >= 2, "{name}");
    }
    let message = history
        .iter()
        .find(|entry| entry["type"] == "message" && entry["request"] == "POST /requests-plain");
    assert_eq!(
        message.expect("it arrived")["body"],
        r#"{"event": "asked"}"#
    );

    let unlisted = &left.report["scenarios"][0]["unlisted_hosts"];
    assert_eq!(unlisted[0]["host"], "telemetry.example:443");
    assert_eq!(unlisted[0]["passed"], false);
    assert!(unlisted[0]["count"].as_u64() > Some(6), "{unlisted}");
    assert!(
        left.stdout
            .contains("no dependency lists telemetry.example:443"),
        "{}",
        left.stdout
    );
}

#[test]
fn connection_faults_are_what_a_proxy_would_show() {
    let _alone = ALONE.lock();
    let phases = [
        ("refused", "kind = \"refuse\""),
        ("unanswered", "kind = \"no-accept\""),
        ("hanging", "kind = \"hang\""),
    ];
    let calls = [CALLS[0], CALLS[4], CALLS[5]];
    let bench = Bench::new()
        .file("system.toml", &system("", 2, &calls))
        .file("connections.toml", &scenario(&phases));
    let left = bench.brownout(&["run", "connections.toml", "--seed", "1"]);
    left.assert_status(0);
    let history = bench.history("connections");
    for (name, ..) in calls {
        for (index, status) in [(0, 200), (1, 502), (2, 504), (3, 504)] {
            assert_all(
                &statuses(&history, name, index),
                status,
                &format!("{name} in {index}"),
            );
        }
    }
}

#[test]
fn what_is_passed_on_stays_on_the_machine() {
    let _alone = ALONE.lock();
    // Whoever takes its proxy for loopback too is let through; nobody else is, not by name either.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            use std::io::{Read, Write};
            let mut stream = stream;
            let mut head = [0; 2048];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(
                b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        }
    });
    let local = format!("http://127.0.0.1:{port}/");
    let calls = [
        CALLS[0],
        ("local", "curl-all", local.as_str()),
        ("remote", "curl", "https://192.0.2.1/"),
    ];
    let system = system("unlisted = \"pass\"", 6, &calls)
        .replace("[load.remote]", "[load.remote]\nok = { status = \"403\" }");
    let bench = Bench::new().file("system.toml", &system).file(
        "pass.toml",
        &scenario(&[("errors", "kind = \"error\"\nstatus = 503")]),
    );
    let left = bench.brownout(&["run", "pass.toml", "--seed", "1"]);
    left.assert_status(0);
    let history = bench.history("pass");
    assert_all(&statuses(&history, "local", 0), 202, "local");
    let unlisted = left.report["scenarios"][0]["unlisted_hosts"]
        .as_array()
        .expect("some");
    let passed = |host: &str| {
        let found = unlisted.iter().find(|entry| entry["host"] == host);
        found.map(|entry| entry["passed"] == true)
    };
    assert_eq!(passed(&format!("127.0.0.1:{port}")), Some(true));
    assert_eq!(passed("192.0.2.1:443"), Some(false));
}
