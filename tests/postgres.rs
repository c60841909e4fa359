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
    time::Duration,
};
use tokio::sync::mpsc;
use toml::de::DeTable;

mod pooler;
mod postgres_server;
mod python;
mod servers;

use pooler::Pooler;
use postgres_server::{PATIENCE, Server};
use servers::assert_same;

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

/// What a script prints that takes a server alone.
async fn client(script: &'static str, conninfo: String) -> String {
    blocking(move || {
        let mut command = python::command(script);
        succeeded(command.arg(conninfo).output().expect("python runs"))
    })
    .await
}

async fn round_trip(conninfo: String) -> String {
    client("tests/clients/postgres_round_trip.py", conninfo).await
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
async fn every_step_through_the_api_of_psycopg_gives_the_same_through_the_proxy() {
    let server = started().await;
    let api = |conninfo| client("tests/clients/postgres_api.py", conninfo);
    let direct = api(conninfo(server.address)).await;
    for part in ["sessions", "pipelines", "asynchronous", "replication"] {
        assert!(
            direct.contains(&format!("\"{part}\": [")),
            "{part}: {direct}"
        );
    }
    let rig = Rig::new(&server, |_| {});
    assert_same(&direct, &api(rig.conninfo()).await);
    let attempts = rig.attempts().await;
    assert!(attempts.len() > 1000, "{}", attempts.len());
    assert!(attempts.iter().all(|attempt| attempt.faults.is_empty()));
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
    (
        "user_request",
        "error = 'user_request'\nwhen = { operation = 'UPDATE' }",
    ),
    (
        "relation_locked",
        "error = 'relation_locked'\nwhen = { text = '*nowait*' }",
    ),
    (
        "temp_file_limit",
        "error = '53400'\nwhen = { text = '*generate_series*' }",
    ),
    (
        "piped_commit",
        "error = '23503'\nmessage = 'insert or update on table \"checked\" violates foreign key constraint \"checked_a_fkey\"'\ndetail = 'Key (a)=(9) is not present in table \"t\".'\nwhen = { operation = 'COMMIT' }",
    ),
    // In an open transaction an error undoes what was done, also where it was done.
    (
        "piped_insert",
        "error = '23505'\nmessage = 'duplicate key value violates unique constraint \"piped_pkey\"'\ndetail = 'Key (a)=(1) already exists.'\napplied = 'yes'\nwhen = { text = '*(3)*' }",
    ),
    (
        "disk_full",
        "error = '53100'\nwhen = { operation = 'INSERT' }",
    ),
    (
        "out_of_memory",
        "error = '53200'\nwhen = { operation = 'UPDATE' }",
    ),
    ("slots", "error = '53300'"),
    ("reserved", "error = 'reserved_slots'"),
    ("role_limit", "error = 'role_limit'"),
    ("database_limit", "error = 'database_limit'"),
    ("database_not_accepting", "error = '55000'"),
    ("no_database", "error = '3D000'"),
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
async fn an_answer_that_is_asked_for_within_a_pipeline_is_replaced_at_once() {
    let server = started().await;
    let rig = Rig::new(&server, |_| {});
    let active = rig.put(
        "kind = 'error'\non = 'db'\nerror = '57014'\napplied = 'yes'\nwhen = { text = '*RETURNING*' }",
    );
    let seen = case("fault", "flushed", rig.conninfo(), || {}).await;
    let seen: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen[0][0][0], "QueryCanceled", "{seen}");
    assert_eq!(seen[1], serde_json::json!([7]), "the session goes on");
    // The client is told of neither, and the server has carried out both.
    assert_eq!(seen[2], serde_json::json!([2]), "{seen}");
    assert_eq!(active.hits(), 1);
    let attempts = rig.attempts().await;
    let inserts = attempts
        .iter()
        .filter(|attempt| &*attempt.operation == "INSERT");
    let inserts: Vec<_> = inserts
        .map(|attempt| (attempt.code.as_deref(), attempt.applied))
        .collect();
    assert_eq!(inserts, [(Some("57014"), Applied::Yes); 2]);
}

/// What ends sessions that are idle, with the client's case and what it gets first.
const SESSIONS: &[(&str, &str, &str)] = &[
    ("terminated", "57P01", "AdminShutdown"),
    ("idle_session", "57P05", "IdleSessionTimeout"),
    (
        "idle_in_transaction",
        "25P03",
        "IdleInTransactionSessionTimeout",
    ),
    ("crashed", "57P02", "OperationalError"),
];

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_as_the_server_itself_ends_them() {
    let server = started().await;
    for (name, code, class) in SESSIONS {
        let real = case("real", name, conninfo(server.address), || {}).await;
        assert!(real.contains(class), "{name}: {real}");
        let (seen, hits) = when_idle(&server, name, code).await;
        assert_eq!(real, seen, "{name}");
        let sessions = if *name == "idle_in_transaction" { 1 } else { 2 };
        assert_eq!(hits, sessions, "{name}: all that were open");
    }
}

/// What a client gets whose session a fault ends while it is idle, and how often the fault acted.
async fn when_idle(server: &Server, name: &str, code: &str) -> (String, u64) {
    let rig = Rig::new(server, |_| {});
    let text = format!("kind = 'error'\non = 'db'\nerror = '{code}'\nby = 'connection'");
    let active = rig.active(&text);
    let (switch, armed) = (rig.switch.clone(), Arc::clone(&active));
    let put = move || switch.set(FaultSet::new(vec![armed]));
    let seen = case("fault", name, rig.conninfo(), put).await;
    (seen, active.hits())
}

/// What a client of a pooler meets, as the case, the fault, and whether it meets idle sessions.
const POOLER: &[(&str, &str, bool)] = &[
    ("slots", "pgbouncer_no_more_connections", false),
    ("no_database", "pgbouncer_config_error", false),
    ("pooler_waits", "pgbouncer_query_wait_timeout", false),
    ("pooler_server_shutdown", "pgbouncer_server_shutdown", true),
    // The last: the server recovers from it.
    ("pooler_server_crashed", "pgbouncer_server_crashed", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_poolers_own_errors_look_to_the_client_as_a_real_poolers_do() {
    let server = started().await;
    let (server, pooler) = blocking(|| {
        let pooler = Pooler::start(&server);
        (server, pooler)
    })
    .await;
    for (name, error, is_idle) in POOLER {
        let real = case("real", name, conninfo(pooler.address), || {}).await;
        assert!(!real.contains("no failure"), "{name}: {real}");
        if *is_idle {
            server.wait();
            assert_eq!(real, when_idle(&server, name, error).await.0, "{name}");
            continue;
        }
        let rig = Rig::new(&server, |_| {});
        let active = rig.put(&format!("kind = 'error'\non = 'db'\nerror = '{error}'"));
        let seen = case("fault", name, rig.conninfo(), || {}).await;
        assert_eq!(real, seen, "{name}");
        assert_eq!(active.hits(), 1, "{name}");
    }
}

/// When a measured error is said.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Connecting,
    Statement,
    /// To a statement, and the session ends.
    Ending,
    Idle,
}

/// Every error that was measured on PostgreSQL 15 and PgBouncer 1.18, by its name, SQLSTATE and
/// moment, with what psycopg makes of it: class and text. Their bytes are in the snapshot
/// `postgres_errors` of `src/protocol/postgres`.
const MEASURED: &[(&str, &str, Said, &str, &str)] = {
    use Said::{Connecting, Ending, Idle, Statement};
    &[
        (
            "too_many_clients",
            "53300",
            Connecting,
            "OperationalError",
            "sorry, too many clients already",
        ),
        (
            "reserved_slots",
            "53300",
            Connecting,
            "OperationalError",
            "remaining connection slots are reserved for non-replication superuser connections",
        ),
        (
            "role_limit",
            "53300",
            Connecting,
            "OperationalError",
            "too many connections for role \"app\"",
        ),
        (
            "database_limit",
            "53300",
            Connecting,
            "OperationalError",
            "too many connections for database \"postgres\"",
        ),
        (
            "55000",
            "55000",
            Connecting,
            "OperationalError",
            "database \"postgres\" is not currently accepting connections",
        ),
        (
            "28000",
            "28000",
            Connecting,
            "OperationalError",
            "role \"app\" does not exist",
        ),
        (
            "3D000",
            "3D000",
            Connecting,
            "OperationalError",
            "database \"postgres\" does not exist",
        ),
        (
            "starting_up",
            "57P03",
            Connecting,
            "OperationalError",
            "the database system is starting up",
        ),
        (
            "shutting_down",
            "57P03",
            Connecting,
            "OperationalError",
            "the database system is shutting down",
        ),
        (
            "in_recovery",
            "57P03",
            Connecting,
            "OperationalError",
            "the database system is in recovery mode",
        ),
        (
            "not_yet_accepting",
            "57P03",
            Connecting,
            "OperationalError",
            "the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has not been yet reached.",
        ),
        (
            "administrator_command",
            "57P01",
            Idle,
            "AdminShutdown",
            "terminating connection due to administrator command",
        ),
        (
            "immediate_shutdown",
            "57P01",
            Idle,
            "OperationalError",
            "server closed the connection unexpectedly",
        ),
        (
            "57P02",
            "57P02",
            Idle,
            "OperationalError",
            "server closed the connection unexpectedly",
        ),
        (
            "57P05",
            "57P05",
            Idle,
            "IdleSessionTimeout",
            "terminating connection due to idle-session timeout",
        ),
        (
            "25P03",
            "25P03",
            Idle,
            "IdleInTransactionSessionTimeout",
            "terminating connection due to idle-in-transaction timeout",
        ),
        (
            "statement_timeout",
            "57014",
            Statement,
            "QueryCanceled",
            "canceling statement due to statement timeout",
        ),
        (
            "user_request",
            "57014",
            Statement,
            "QueryCanceled",
            "canceling statement due to user request",
        ),
        (
            "lock_timeout",
            "55P03",
            Statement,
            "LockNotAvailable",
            "canceling statement due to lock timeout",
        ),
        (
            "row_locked",
            "55P03",
            Statement,
            "LockNotAvailable",
            "could not obtain lock on row in relation \"t\"",
        ),
        (
            "40P01",
            "40P01",
            Statement,
            "DeadlockDetected",
            "deadlock detected",
        ),
        (
            "concurrent_update",
            "40001",
            Statement,
            "SerializationFailure",
            "could not serialize access due to concurrent update",
        ),
        (
            "read_write_dependencies",
            "40001",
            Statement,
            "SerializationFailure",
            "could not serialize access due to read/write dependencies among transactions",
        ),
        (
            "25P02",
            "25P02",
            Statement,
            "InFailedSqlTransaction",
            "current transaction is aborted, commands ignored until end of transaction block",
        ),
        (
            "25006",
            "25006",
            Statement,
            "ReadOnlySqlTransaction",
            "cannot execute UPDATE in a read-only transaction",
        ),
        (
            "53400",
            "53400",
            Statement,
            "ConfigurationLimitExceeded",
            "temporary file size exceeds temp_file_limit (64kB)",
        ),
        (
            "relation_locked",
            "55P03",
            Statement,
            "LockNotAvailable",
            "could not obtain lock on relation \"t\"",
        ),
        (
            "53100",
            "53100",
            Statement,
            "DiskFull",
            // The case leaves out the file's numbers, which differ.
            "could not extend file \"base/N/N\": No space left on device\nHINT:  Check free disk space.",
        ),
        (
            "53200",
            "53200",
            Statement,
            "OutOfMemory",
            "out of memory\nDETAIL:  Failed on request of size 200000004 in memory context \"ExprContext\".",
        ),
        (
            "pgbouncer_query_wait_timeout",
            "08P01",
            Ending,
            "ProtocolViolation",
            "query_wait_timeout",
        ),
        (
            "pgbouncer_no_more_connections",
            "08P01",
            Connecting,
            "OperationalError",
            "no more connections allowed (max_client_conn)",
        ),
        (
            "pgbouncer_config_error",
            "08P01",
            Connecting,
            "OperationalError",
            "bouncer config error",
        ),
        (
            "pgbouncer_server_crashed",
            "08P01",
            Idle,
            "ProtocolViolation",
            "server conn crashed?",
        ),
        (
            "pgbouncer_server_shutdown",
            "57P01",
            Idle,
            "AdminShutdown",
            "terminating connection due to administrator command",
        ),
    ]
};

/// Errors that are known and were not measured.
const NOT_MEASURED: &[&str] = &["io_error"];

#[test]
fn no_measured_error_is_missing() {
    use brownout::protocol::postgres::{ERRORS, ErrorReply, Session, find_error};
    let snapshot = include_str!(
        "../src/protocol/postgres/snapshots/brownout__protocol__postgres__error__tests__postgres_errors.snap"
    );
    let find = |name: &str| find_error(name).unwrap_or_else(|| panic!("{name} is unknown"));
    let measured: Vec<&str> = MEASURED.iter().map(|row| find(row.0).name).collect();
    let mut listed: Vec<&str> = [&measured[..], NOT_MEASURED].concat();
    let mut known: Vec<&str> = ERRORS.iter().map(|def| def.name).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
    let session = Session {
        user: "app".to_owned(),
        database: "appdb".to_owned(),
    };
    for name in known {
        let reply = ErrorReply::from(find(name));
        let bytes = reply.bytes(&session, 20443, "UPDATE", "t");
        let title = format!(
            "{} {name} ({} bytes, {:?})",
            reply.code,
            bytes.len(),
            reply.moment
        );
        let entry = format!("\n{title}\n    {}", bytes.escape_ascii());
        assert!(snapshot.contains(&entry), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_measured_error_is_understood_by_psycopg() {
    let server = started().await;
    for (name, code, said, class, text) in MEASURED {
        let def = brownout::protocol::postgres::find_error(name).expect("a known error");
        assert_eq!(def.code, *code, "{name}");
        let seen = if *said == Said::Idle {
            when_idle(&server, "idling", name).await.0
        } else {
            let rig = Rig::new(&server, |_| {});
            let (client, when) = match said {
                Said::Connecting => ("connecting", ""),
                Said::Ending => ("ending", "when = { operation = 'UPDATE' }"),
                _ => ("stating", "when = { operation = 'UPDATE' }"),
            };
            rig.put(&format!(
                "kind = 'error'\non = 'db'\nerror = '{name}'\n{when}"
            ));
            case("fault", client, rig.conninfo(), || {}).await
        };
        let seen: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
        let first = if *said == Said::Connecting {
            &seen
        } else {
            &seen[0]
        };
        // Where connecting fails, and after a notice, psycopg knows no SQLSTATE.
        let state = (*class != "OperationalError").then_some(*code);
        assert_eq!(
            (first[0].as_str(), first[1].as_str()),
            (Some(*class), state),
            "{name}: {seen}"
        );
        let got = first[2].as_str().expect("a text");
        assert!(got.contains(text), "{name}: {got}");
        if *said == Said::Statement {
            assert_eq!(
                seen[1],
                serde_json::json!([7]),
                "{name}: the session goes on"
            );
        }
        if *said == Said::Ending {
            assert_eq!(seen[1][0], "OperationalError", "{name}: {seen}");
        }
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_did_whose_answer_is_lost_is_there_and_its_client_cannot_know() {
    let server = started().await;
    let rig = Rig::new(&server, |_| {});
    let fault = "kind = 'lost-reply'\non = 'db'\nthen = 'reset'\nwhen = { operation = 'COMMIT' }";
    let active = rig.put(fault);
    let code = "import sys, psycopg\n\
        conn = psycopg.connect(sys.argv[1])\n\
        conn.execute('INSERT INTO t VALUES (31, %s)', [0])\n\
        try:\n\
        \x20   conn.commit()\n\
        except psycopg.OperationalError:\n\
        \x20   print('lost')\n\
        conn = psycopg.connect(sys.argv[1])\n\
        conn.execute('INSERT INTO t VALUES (32, %s)', [0])\n\
        conn.rollback()\n\
        print(conn.execute('SELECT a FROM t WHERE a > 30').fetchall())\n";
    let url = rig.conninfo();
    let out =
        blocking(move || succeeded(python::inline(code).arg(url).output().expect("python"))).await;
    assert_eq!(out.trim(), "lost\n[(31,)]");
    assert_eq!(active.hits(), 1);
    let attempts = rig.attempts().await;
    let inserts = attempts.iter().filter(|one| &*one.operation == "INSERT");
    let seen: Vec<_> = inserts
        .map(|one| (one.applied, one.end, one.acknowledged()))
        .collect();
    let answered = AttemptEnd::Answered;
    let expected = [
        (Applied::Yes, answered, false),
        (Applied::No, answered, true),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_repeated_is_carried_out_so_often() {
    let server = started().await;
    let rig = Rig::new(&server, |_| {});
    rig.put("kind = 'ambiguous-write'\non = 'db'\napplied = 'repeated'\ntimes = 3\nseen = 'late'\ndelay = '1ms'");
    // Without parameters as text, with them parsed and bound; a row that is there already; and in
    // a transaction, where nothing is repeated.
    let code = "import sys, psycopg\n\
        with psycopg.connect(sys.argv[1], autocommit=True) as conn:\n\
        \x20   conn.execute('CREATE TABLE charges (a int)')\n\
        \x20   conn.execute('INSERT INTO charges VALUES (1)')\n\
        \x20   conn.execute('INSERT INTO charges VALUES (%s)', [2])\n\
        \x20   conn.execute('INSERT INTO charges VALUES (%s)', [3], prepare=True)\n\
        \x20   conn.execute('INSERT INTO t VALUES (41, %s) ON CONFLICT DO NOTHING', [0])\n\
        \x20   try:\n\
        \x20       conn.execute('INSERT INTO t VALUES (42, %s)', [0])\n\
        \x20   except psycopg.errors.UniqueViolation:\n\
        \x20       print('there already')\n\
        \x20   try:\n\
        \x20       conn.execute('INSERT INTO nowhere VALUES (%s)', [0])\n\
        \x20   except psycopg.errors.UndefinedTable:\n\
        \x20       print('nowhere')\n\
        \x20   with conn.transaction():\n\
        \x20       conn.execute('INSERT INTO charges VALUES (%s)', [4])\n\
        \x20   print(*[row[0] for row in conn.execute('SELECT a FROM charges ORDER BY a')])\n";
    let url = rig.conninfo();
    let out =
        blocking(move || succeeded(python::inline(code).arg(url).output().expect("python"))).await;
    let expected = "there already\nnowhere\n1 1 1 2 2 2 3 3 3 4";
    assert_eq!(out.trim(), expected);
    let attempts = rig.attempts().await;
    let inserts = attempts.iter().filter(|one| &*one.operation == "INSERT");
    let seen: Vec<_> = inserts
        .map(|one| (one.applied, one.repeated, one.repeated_unknown))
        .collect();
    use Applied::{No, Yes};
    let expected = [
        (Yes, 2, 0),
        (Yes, 2, 0),
        (Yes, 2, 0),
        (Yes, 0, 0),
        (Yes, 0, 0),
        (No, 0, 0),
        (Yes, 0, 0),
    ];
    assert_eq!(seen, expected);
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

/// How long a real server stays down.
const DOWN: Duration = Duration::from_millis(1500);

/// Stops a real server, and starts it again while a client's case goes on, and gives it back.
async fn restarted(
    server: Server,
    name: &'static str,
    stop: fn(&mut Server),
    down: Duration,
) -> (String, Server) {
    let address = server.address;
    let (send, receive) = std::sync::mpsc::channel();
    let restart = move || {
        let mut server = server;
        // Whoever is idle has been told when the client goes on; it lives through the rest.
        stop(&mut server);
        std::thread::spawn(move || {
            std::thread::sleep(down);
            server.run();
            server.wait();
            send.send(server).expect("the test waits");
        });
    };
    let said = case("real", name, conninfo(address), restart).await;
    (said, receive.recv().expect("the server is back"))
}

/// The same case against a healthy server and the fault.
async fn restarted_by_fault(server: &Server, name: &str, keys: &str) -> (String, Vec<Attempt>) {
    let rig = Rig::new(server, |_| {});
    let text = format!("kind = 'restart'\non = 'db'\n{keys}");
    let (switch, recorder) = (rig.switch.clone(), rig.recorder.clone());
    let put = move || switch.set(FaultSet::new(vec![fault(&text, recorder.now())]));
    let said = case("fault", name, rig.conninfo(), put).await;
    (said, rig.attempts().await)
}

/// The fault's keys, how a real server is stopped so, and what who connects meets.
type Mode<'a> = (&'a str, fn(&mut Server), &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_lived_through_as_a_real_one() {
    let mut server = started().await;
    let lengths = "stopping = '800ms'\ndown = '1s'\nstarting = '1s'\ncold = '1s'\nslow = '10ms'";
    let immediate = format!("mode = 'immediate'\nrecovering = '1s'\n{lengths}");
    let modes: [Mode<'_>; 2] = [
        (
            lengths,
            Server::stop,
            &["shutting down", "refused", "starting up"],
        ),
        (
            &immediate,
            Server::stop_immediately,
            &[
                "shutting down",
                "refused",
                "starting up",
                "not yet accepting",
            ],
        ),
    ];
    for (keys, stop, sequence) in modes {
        let real;
        (real, server) = restarted(server, "restart", stop, DOWN).await;
        let (idle, failures) = restart_seen(&real);
        let (seen, attempts) = restarted_by_fault(&server, "restart", keys).await;
        let (seen_idle, seen) = restart_seen(&seen);
        assert_eq!(seen_idle, idle, "the idle session ended alike");
        assert_eq!(seen, sequence);
        // A real one on a tiny database is too quick for every state to be met.
        assert!(failures.contains(&"refused".to_owned()), "{failures:?}");
        let mut rest = seen.iter();
        for met in &failures {
            assert!(rest.any(|state| state == met), "{failures:?}");
        }
        let refused = attempts
            .iter()
            .filter(|attempt| attempt.code.as_deref() == Some("57P03"));
        assert!(refused.count() >= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_lived_through_as_a_real_one() {
    let server = started().await;
    let real = case("real", "crash", conninfo(server.address), || {}).await;
    let (idle, failures) = restart_seen(&real);
    assert_eq!(idle[0], "OperationalError", "{real}");
    let keys = "mode = 'crash'\nstarting = '1s'\nrecovering = '1s'";
    let (seen, attempts) = restarted_by_fault(&server, "crash", keys).await;
    let (seen_idle, seen) = restart_seen(&seen);
    assert_eq!(seen_idle, idle, "the idle session ended alike");
    assert_eq!(seen, ["recovery mode", "not yet accepting"]);
    // A real one on a tiny database is too quick for every state to be met.
    let mut rest = seen.iter();
    for met in &failures {
        assert!(rest.any(|state| state == met), "{failures:?}");
    }
    let refused = attempts
        .iter()
        .filter(|attempt| attempt.code.as_deref() == Some("57P03"));
    assert!(refused.count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_lives_through_a_restart_as_through_a_real_one() {
    let server = started().await;
    let (real, server) = restarted(server, "pool", Server::stop, DOWN).await;
    let keys = "stopping = '200ms'\ndown = '1s'\nstarting = '300ms'";
    let (seen, attempts) = restarted_by_fault(&server, "pool", keys).await;
    assert_eq!(real, seen);
    let met: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    let expected = serde_json::json!([
        ["served", null],
        ["AdminShutdown", "57P01"],
        ["PoolTimeout", null],
        ["served", null]
    ]);
    assert_eq!(met, expected);
    // The pool was filled twice.
    let opened = attempts
        .iter()
        .filter(|attempt| &*attempt.operation == "CONNECT" && attempt.applied == Applied::Yes);
    assert!(opened.count() >= 3);
}
