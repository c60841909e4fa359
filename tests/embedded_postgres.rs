//! What would prove that the embedded PostgreSQL server can stand in for the real one: the field's
//! Python client does its common work against it and sees the values and exceptions that it would
//! see from PostgreSQL.

#![cfg(feature = "demo")]

use brownout::{embedded, history::Recorder};
use harness::{Bench, python};
use std::path::Path;

mod harness;

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_does_its_common_work() {
    let (recorder, _history) = Recorder::channel(16);
    let server =
        embedded::start("postgres", embedded::Options::default(), recorder).expect("a server");
    let mut command = python::command("tests/clients/postgres_session.py");
    command.arg(server.address().port().to_string());
    let output = tokio::task::spawn_blocking(move || command.output().expect("python starts"))
        .await
        .expect("the client ran");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    assert_eq!(said.lines().count(), 21, "{said}");
    server.stop().await;
}

/// A service on psycopg whose database is embedded, with this schema.
fn notes(schema: &str) -> String {
    let python = python::interpreter();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systems/postgres_app.py");
    format!(
        r#"[system]
command = [{python:?}, {program:?}, "{{port.app}}"]
env = {{ DATABASE_URL = "postgres://app@{{dependency.db.address}}/app" }}
url = "http://127.0.0.1:{{port.app}}"
ready = {{ path = "/healthz", within = "60s" }}

[dependency.db]
protocol = "postgres"
upstream = "embedded"
schema = "{schema}"

[load.write]
rate = "2/s"
arrivals = "constant"
timeout = "10s"
request = {{ method = "POST", path = "/hello" }}

[load.read]
rate = "2/s"
arrivals = "constant"
timeout = "10s"
request = {{ method = "GET", path = "/count" }}
"#
    )
}

const CANCELLED: &str = r#"title = "inserts are cancelled"
system = "system.toml"
hold = "2s"

[[phase]]
name = "steady"
lasts = "5s"
steady = true

[[phase]]
name = "cancelled"
lasts = "5s"
  [[phase.fault]]
  kind = "error"
  on = "db"
  error = "57014"
  when = { operation = "INSERT" }

[[phase]]
name = "recovery"
lasts = "until steady, at most 30s"

[[expect]]
id = "BACK"
that = "it comes back"
kind = "recovery"
within = "20s"
"#;

#[test]
fn a_system_on_psycopg_is_rehearsed_without_a_database_installed() {
    let bench = Bench::new()
        .file(
            "system.toml",
            &notes("CREATE TABLE notes (id bigserial PRIMARY KEY, body text NOT NULL)"),
        )
        .file("cancelled.toml", CANCELLED);
    bench
        .brownout(&["run", "cancelled.toml", "--seed", "1"])
        .assert_status(0);
    let history = bench.history("cancelled");
    let failed = |load: &str| {
        let of = |entry: &&serde_json::Value| {
            entry["type"] == "operation" && entry["load"] == load && entry["status"] == 503
        };
        history.iter().filter(of).count()
    };
    assert!(failed("write") >= 4, "{} writes failed", failed("write"));
    assert_eq!(failed("read"), 0);
    let inserts = history.iter().filter(|entry| {
        entry["type"] == "attempt" && entry["operation"] == "INSERT" && entry["key"] == "notes"
    });
    assert!(inserts.count() >= 10);
}

#[test]
fn a_schema_with_a_mistake_keeps_the_run_from_starting() {
    let bench = Bench::new()
        .file("system.toml", &notes("CREATE TABEL notes (id bigserial)"))
        .file("cancelled.toml", CANCELLED);
    let left = bench.brownout(&["run", "cancelled.toml", "--seed", "1"]);
    left.assert_status(69);
    let said = format!("{}{}", left.stdout, left.stderr);
    assert!(said.contains("42601") && said.contains("TABEL"), "{said}");
}
