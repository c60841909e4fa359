//! What would prove that the embedded PostgreSQL server can stand in for the real one: the field's
//! Python client does its common work against it and sees the values and exceptions that it would
//! see from PostgreSQL.

#![cfg(feature = "demo")]

use brownout::{embedded, history::Recorder};

mod python;

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
    assert_eq!(said.lines().count(), 20, "{said}");
    server.stop().await;
}
