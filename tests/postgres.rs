//! What would prove that the proxy changes nothing between PostgreSQL and a real client, and that
//! its faults look to that client as the server's own failures do: a real server, started by the
//! tests themselves, and psycopg.

use brownout::{
    fault::{Active, FaultId, FaultSet, Gate, Switch, default_by, find, gate},
    history::{Attempt, AttemptEnd, Observation, Recorder},
    input::{Fields, Problems, Source},
    protocol::{Applied, Protocol},
    proxy::{
        Config, Limits, Proxy, UpstreamAddress,
        tls::{Authority, Front, client_config},
    },
    scenario::{Capture, KeyFrom},
    seed::Seed,
    units::Micros,
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Output, Stdio},
    sync::Arc,
};
use tokio::sync::mpsc;
use toml::de::DeTable;

mod postgres_server;
mod python;

use postgres_server::{PATIENCE, Server};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The proxy with its switch and what it recorded.
struct Rig {
    proxy: Proxy,
    switch: Switch,
    recorder: Recorder,
    observations: mpsc::Receiver<Observation>,
}

impl Rig {
    fn new(server: &Server, change: impl FnOnce(&mut Config)) -> Self {
        let (recorder, observations) = Recorder::channel(100_000);
        let mut config = Config {
            dependency: "db".into(),
            protocol: Protocol::Postgres,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: server.address.ip().to_string(),
                port: server.address.port(),
                tls: false,
            },
            upstream_tls: client_config(&[]).expect("roots"),
            virtual_host: None,
            key: None,
            capture: BTreeMap::new(),
            limits: Limits::default(),
            seed: Seed(1),
        };
        change(&mut config);
        let switch = Switch::new();
        let proxy =
            Proxy::start(config, switch.clone(), recorder.clone()).expect("the proxy starts");
        Self {
            proxy,
            switch,
            recorder,
            observations,
        }
    }

    fn conninfo(&self) -> String {
        conninfo(self.proxy.address())
    }

    /// Puts a fault in force, read as from a file.
    fn put(&self, fault: &str) -> Arc<Active> {
        let active = self.active(fault);
        self.switch.set(FaultSet::new(vec![Arc::clone(&active)]));
        active
    }

    fn active(&self, text: &str) -> Arc<Active> {
        fault(text, self.recorder.now())
    }

    /// Stops the proxy and gives the statements that it recorded.
    async fn attempts(self) -> Vec<Attempt> {
        let Self {
            proxy,
            recorder,
            mut observations,
            ..
        } = self;
        proxy.stop().await;
        drop(recorder);
        let mut attempts = Vec::new();
        while let Some(observation) = observations.recv().await {
            let text = serde_json::to_string(&observation).expect("it serialises");
            assert!(!text.contains("secret-word"), "{text}");
            if let Observation::Attempt(attempt) = observation {
                attempts.push(attempt);
            }
        }
        attempts
    }
}

/// A fault as from a file, in force from this moment.
fn fault(text: &str, armed: Micros) -> Arc<Active> {
    let source = Source::new("test.toml", text);
    let table = DeTable::parse(text).expect("the fault is TOML");
    let kind = table.get_ref().get("kind").expect("a kind");
    let kind = kind.get_ref().as_str().expect("a text").to_owned();
    let def = find(&kind).expect("the kind is registered");
    let mut problems = Problems::default();
    let more = [def.keys];
    let fields = Fields::new(
        table.get_ref(),
        table.span(),
        &source,
        kind,
        gate::KEYS,
        &more,
        &mut problems,
    );
    let gate = Gate::parse(&fields, &mut problems).expect("a valid gate");
    let behaviour = def.read(&fields, Protocol::Postgres, &gate, &mut problems);
    let behaviour = behaviour.unwrap_or_else(|| panic!("{:?}", problems.as_slice()));
    let by = gate.by.clone().unwrap_or(default_by(Protocol::Postgres));
    Arc::new(Active::new(
        FaultId(0),
        gate,
        behaviour,
        Seed(7),
        &["test"],
        armed,
        PATIENCE,
        by,
    ))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it ran")
}

fn succeeded(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// How a client of libpq connects to it, or to whatever stands before it.
fn conninfo(address: SocketAddr) -> String {
    format!(
        "host=127.0.0.1 port={} user=app password=secret-word dbname=postgres connect_timeout=20",
        address.port()
    )
}

async fn round_trip(conninfo: String) -> String {
    blocking(move || {
        let mut command = python::command("tests/clients/postgres_round_trip.py");
        succeeded(command.arg(conninfo).output().expect("python runs"))
    })
    .await
}

/// Runs a case of the failures; `when_ready` acts when the client says that it may.
async fn case(
    mode: &str,
    name: &str,
    conninfo: String,
    when_ready: impl FnOnce() + Send + 'static,
) -> String {
    let mut command = python::command("tests/clients/postgres_failures.py");
    command.args([mode, name, &conninfo]);
    blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut said = BufReader::new(child.stderr.take().expect("its stderr"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        if line.trim() == "ready" {
            when_ready();
            let mut input = child.stdin.take().expect("its stdin");
            // A client that needs no word has gone on already.
            let _ = input.write_all(b"go\n");
        }
        let mut rest = line;
        std::io::Read::read_to_string(&mut said, &mut rest).expect("its stderr");
        let mut output = child.wait_with_output().expect("it ends");
        output.stderr = rest.into_bytes();
        succeeded(output)
    })
    .await
}

async fn started() -> Server {
    blocking(|| {
        let server = Server::start();
        server.wait();
        let setup = "import sys, psycopg\n\
            with psycopg.connect(sys.argv[1], autocommit=True) as conn:\n\
            \x20   conn.execute('CREATE TABLE t (a int PRIMARY KEY, b int)')\n\
            \x20   conn.execute('INSERT INTO t VALUES (1, 1), (2, 2)')\n\
            \x20   conn.execute(\"CREATE ROLE plain LOGIN PASSWORD 'secret-word'\")\n";
        let mut command = python::inline(setup);
        succeeded(
            command
                .arg(conninfo(server.address))
                .output()
                .expect("python runs"),
        );
        server
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_same_directly_and_through_the_proxy() {
    let server = started().await;
    let direct = round_trip(conninfo(server.address)).await;
    assert!(direct.contains("\"connecting\""), "{direct}");

    let plain = Rig::new(&server, |_| {});
    assert_eq!(direct, round_trip(plain.conninfo()).await);
    let attempts = plain.attempts().await;
    let operations: std::collections::BTreeSet<&str> =
        attempts.iter().map(|attempt| &*attempt.operation).collect();
    for expected in [
        "CONNECT",
        "SELECT",
        "INSERT",
        "COPY",
        "BEGIN",
        "COMMIT",
        "ROLLBACK TO",
        "LISTEN",
        "NOTIFY",
        "CANCEL",
        "SET",
        "FETCH",
        "DO",
    ] {
        assert!(operations.contains(expected), "{expected}: {operations:?}");
    }
    let copied = attempts
        .iter()
        .find(|attempt| &*attempt.operation == "COPY" && attempt.bytes_up > 100_000);
    let copied = copied.expect("the data of COPY is counted");
    assert_eq!((&*copied.key, copied.applied), ("copied", Applied::Yes));
    let failed = attempts
        .iter()
        .find(|attempt| attempt.code.as_deref() == Some("23505"));
    assert_eq!(failed.expect("a failure").applied, Applied::No);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.faults.is_empty() && attempt.end == AttemptEnd::Answered),
        "{:?}",
        attempts
            .iter()
            .find(|attempt| attempt.end != AttemptEnd::Answered)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_the_same_over_tls() {
    let server = started().await;
    let direct = round_trip(conninfo(server.address)).await;
    let authority = Authority::new().expect("a CA");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.bundle_pem()).expect("written");
    let front = Arc::new(Front::new(authority, Vec::new()));
    let rig = Rig::new(&server, |config| config.tls = Some(front));
    let secure = format!(
        "{} sslmode=verify-full sslrootcert={}",
        rig.conninfo().replace("host=127.0.0.1", "host=localhost"),
        ca.display()
    );
    assert_eq!(direct, round_trip(secure).await);
    let attempts = rig.attempts().await;
    assert!(
        attempts
            .iter()
            .any(|attempt| &*attempt.operation == "CANCEL")
    );
}

/// The faults that stand for what the real server is made to do, each with the client's case.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "statement_timeout",
        "error = '57014'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "statement_timeout_in_transaction",
        "error = 'query_canceled'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "lock_timeout",
        "error = '55P03'\nwhen = { table = 't', operation = 'UPDATE' }",
    ),
    (
        "nowait",
        "error = 'row_locked'\nwhen = { text = '*nowait*' }",
    ),
    (
        "deadlock",
        "error = '40P01'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "serialization",
        "error = '40001'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "serialization_at_commit",
        "error = 'read_write_dependencies'\nwhen = { operation = 'COMMIT' }",
    ),
    (
        "read_only",
        "error = '25006'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "pipeline",
        "error = 'row_locked'\nwhen = { text = '*nowait*' }",
    ),
    ("slots", "error = '53300'"),
    ("reserved", "error = 'reserved_slots'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn faults_look_to_the_client_as_the_servers_own_failures_do() {
    let server = started().await;
    for (name, fault) in STATEMENTS {
        let real = case("real", name, conninfo(server.address), || {}).await;
        assert!(!real.contains("no failure"), "{name}: {real}");
        let rig = Rig::new(&server, |_| {});
        let active = rig.put(&format!("kind = 'error'\non = 'db'\n{fault}"));
        let seen = case("fault", name, rig.conninfo(), || {}).await;
        assert_eq!(real, seen, "{name}");
        assert_eq!(active.hits(), 1, "{name}");
        let attempts = rig.attempts().await;
        let hit: Vec<_> = attempts
            .iter()
            .filter(|attempt| !attempt.faults.is_empty())
            .collect();
        assert_eq!(hit.len(), 1, "{name}: {hit:?}");
        assert_eq!(
            (hit[0].applied, hit[0].end),
            (Applied::No, AttemptEnd::Answered)
        );
        assert!(hit[0].code.is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_ended_as_by_an_administrator() {
    let server = started().await;
    let real = case("real", "terminated", conninfo(server.address), || {}).await;
    let rig = Rig::new(&server, |_| {});
    let active = rig.active("kind = 'error'\non = 'db'\nerror = '57P01'\nby = 'connection'");
    let (switch, armed) = (rig.switch.clone(), Arc::clone(&active));
    let put = move || switch.set(FaultSet::new(vec![armed]));
    let seen = case("fault", "terminated", rig.conninfo(), put).await;
    assert_eq!(real, seen);
    assert!(real.contains("AdminShutdown"), "{real}");
    assert_eq!(active.hits(), 2, "both sessions were open");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_keys_and_captures() {
    let server = started().await;
    let rig = Rig::new(&server, |config| {
        config.key = Some(KeyFrom::Parameter(1));
        config.capture = [("id".to_owned(), Capture::Parameter(1))].into();
    });
    let fault = "kind = 'error'\non = 'db'\nerror = '57014'\nshare = '40%'\nby = 'key'\nwhen = { operation = 'SELECT' }";
    let active = rig.put(fault);
    let code = "import sys, psycopg\n\
        with psycopg.connect(sys.argv[1], autocommit=True) as conn:\n\
        \x20   for _ in range(2):\n\
        \x20       seen = ''\n\
        \x20       for n in range(40):\n\
        \x20           try:\n\
        \x20               conn.execute('SELECT %s::int', [n]); seen += '.'\n\
        \x20           except psycopg.errors.QueryCanceled:\n\
        \x20               seen += 'x'\n\
        \x20       print(seen)\n";
    let url = rig.conninfo();
    let out =
        blocking(move || succeeded(python::inline(code).arg(url).output().expect("python"))).await;
    let (first, second) = out.trim().split_once('\n').expect("two lines");
    assert_eq!(first, second, "the same keys fail every time");
    let failed = first.matches('x').count();
    assert!((6..28).contains(&failed), "{first}");
    assert_eq!(active.hits(), 2 * failed as u64);
    let attempts = rig.attempts().await;
    let selects = attempts
        .iter()
        .filter(|attempt| &*attempt.operation == "SELECT");
    let ids: Vec<_> = selects
        .map(|attempt| attempt.captured.get("id").cloned())
        .collect();
    assert_eq!(ids.len(), 80);
    assert_eq!(ids[7].as_deref(), Some("7"));
}

/// What a client met that reconnected all the time: how its idle session ended, and each failure
/// to connect that differed from the one before.
fn restart_seen(out: &str) -> (serde_json::Value, Vec<String>) {
    let seen: serde_json::Value = serde_json::from_str(out).expect("JSON");
    let failures = seen[1].as_array().expect("a list");
    let texts = failures.iter().map(|failure| {
        assert_eq!(failure[0], "OperationalError", "{out}");
        assert!(failure[1].is_null(), "{out}");
        failure[2].as_str().expect("a text").to_owned()
    });
    (seen[0].clone(), texts.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_lived_through_as_a_real_one() {
    let server = started().await;
    let address = server.address;
    let (send, receive) = std::sync::mpsc::channel();
    let restart = move || {
        let mut server = server;
        server.stop();
        server.run();
        server.wait();
        send.send(server).expect("the test waits");
    };
    let (idle, failures) = restart_seen(&case("real", "restart", conninfo(address), restart).await);
    let server = receive.recv().expect("the server is back");
    assert_eq!(idle[0], "AdminShutdown");

    let rig = Rig::new(&server, |_| {});
    let keys = "stopping = '400ms'\ndown = '800ms'\nstarting = '800ms'\ncold = '1s'\nslow = '10ms'";
    let text = format!("kind = 'restart'\non = 'db'\n{keys}");
    let (switch, recorder) = (rig.switch.clone(), rig.recorder.clone());
    let put = move || {
        let active = fault(&text, recorder.now());
        switch.set(FaultSet::new(vec![active]));
    };
    let (seen_idle, seen) = restart_seen(&case("fault", "restart", rig.conninfo(), put).await);
    assert_eq!(seen_idle, idle, "the idle session ended alike");
    assert_eq!(seen, ["shutting down", "refused", "starting up"]);
    // A real one on a tiny database is too quick for every state to be met.
    let mut rest = seen.iter();
    for met in &failures {
        assert!(rest.any(|state| state == met), "{failures:?}");
    }
    let attempts = rig.attempts().await;
    let refused = attempts
        .iter()
        .filter(|attempt| attempt.code.as_deref() == Some("57P03"));
    assert!(refused.count() >= 2);
}
