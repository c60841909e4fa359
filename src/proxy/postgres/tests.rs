//! The engine between a scripted client and a scripted server, over loopback.

mod limits;

use crate::{
    fault::{
        Active, Behaviour, By, Closing, ConnectionEvent, Context, Decision, End, FaultId, FaultSet,
        Gate, Reply, Switch, Then, sample,
    },
    history::{Attempt, AttemptEnd, Connection, Observation, Recorder},
    protocol::{
        Applied, Call, Protocol,
        postgres::{ErrorReply, find_error, message, query},
    },
    proxy::{Config, Limits, Proxy, UpstreamAddress, tally::take_writes, tls},
    seed::Seed,
};
use bytes::Bytes;
use proptest::prelude::*;
use std::{collections::BTreeMap, io::ErrorKind, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Decides the same about every request of one operation.
#[derive(Debug)]
struct On(&'static str, End);

impl Behaviour for On {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        (&*call.operation == self.0).then(|| Decision::end(self.1.clone()))
    }
}

/// Holds up every request of one operation.
#[derive(Debug)]
struct Slow(&'static str, Duration);

impl Behaviour for Slow {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        (&*call.operation == self.0).then(|| Decision::delay(self.1))
    }
}

/// Lets connections hang as a whole.
#[derive(Debug)]
struct Hanging;

impl Behaviour for Hanging {
    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        Some(Decision::end(End::Hang))
    }
}

fn error(name: &str) -> Reply {
    let def = find_error(name).expect("a known error");
    Reply::Postgres(Box::new(ErrorReply::from(def)))
}

/// A proxy between a client and a server that the test plays.
struct Rig {
    listener: TcpListener,
    proxy: Proxy,
    switch: Switch,
    recorder: Recorder,
    observations: mpsc::Receiver<Observation>,
}

impl Rig {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (recorder, observations) = Recorder::channel(10_000);
        let config = Config {
            dependency: "db".into(),
            protocol: Protocol::Postgres,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: address.ip().to_string(),
                port: address.port(),
                tls: false,
            },
            upstream_tls: tls::client_config(&[]).expect("a configuration"),
            virtual_host: None,
            key: None,
            capture: BTreeMap::new(),
            limits: Limits::default(),
            seed: Seed(1),
        };
        let switch = Switch::new();
        let proxy =
            Proxy::start(config, switch.clone(), recorder.clone()).expect("the proxy starts");
        Self {
            listener,
            proxy,
            switch,
            recorder,
            observations,
        }
    }

    fn put(&self, operation: &'static str, end: End) -> Arc<Active> {
        let active = self.active(operation, end);
        self.switch.set(FaultSet::new(vec![Arc::clone(&active)]));
        active
    }

    fn active(&self, operation: &'static str, end: End) -> Arc<Active> {
        self.active_as(Arc::new(On(operation, end)))
    }

    fn active_as(&self, behaviour: Arc<dyn Behaviour>) -> Arc<Active> {
        self.active_of(FaultId(3), behaviour)
    }

    fn active_of(&self, id: FaultId, behaviour: Arc<dyn Behaviour>) -> Arc<Active> {
        Arc::new(Active::new(
            id,
            Gate::default(),
            behaviour,
            Seed(1),
            &["test"],
            self.recorder.now(),
            PATIENCE,
            By::Request,
        ))
    }

    /// A session that was opened on both sides: client and server.
    async fn session(&self) -> (TcpStream, TcpStream) {
        let mut client = self.connect().await;
        client.write_all(&startup()).await.expect("written");
        let (mut server, _) = soon(self.listener.accept()).await.expect("accepted");
        expect(&mut server, &startup()).await;
        let ready = [
            message(b'R', &[0; 4]),
            message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]),
            message(b'Z', b"I"),
        ];
        both(&mut server, &mut client, &ready.concat()).await;
        (client, server)
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.proxy.address()))
            .await
            .expect("connected")
    }

    async fn attempt(&mut self, operation: &str) -> Attempt {
        loop {
            if let Some(Observation::Attempt(attempt)) = soon(self.observations.recv()).await
                && &*attempt.operation == operation
            {
                return attempt;
            }
        }
    }

    async fn connection(&mut self) -> Connection {
        loop {
            if let Some(Observation::Connection(connection)) = soon(self.observations.recv()).await
            {
                return connection;
            }
        }
    }
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0app\0database\0appdb\0\0";
    let length = u32::try_from(body.len() + 4).expect("short");
    [&length.to_be_bytes()[..], body].concat()
}

/// These bytes come next.
async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    soon(stream.read_exact(&mut got)).await.expect("bytes");
    assert_eq!(
        got,
        bytes,
        "{} instead of {}",
        got.escape_ascii(),
        bytes.escape_ascii()
    );
}

/// What one sends the other gets unchanged.
async fn both(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.expect("written");
    expect(to, bytes).await;
}

/// The stream ends in order, without another byte.
async fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.expect("an end");
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
}

fn done(tag: &str, status: u8) -> Vec<u8> {
    let tag = [tag.as_bytes(), b"\0"].concat();
    [message(b'C', &tag), message(b'Z', &[status])].concat()
}

fn failed(status: u8) -> Vec<u8> {
    let body = b"SERROR\0VERROR\0C42601\0Mits own\0\0";
    [message(b'E', body), message(b'Z', &[status])].concat()
}

fn said(name: &str, operation: &str, table: &str) -> Vec<u8> {
    let Reply::Postgres(reply) = error(name) else {
        panic!("an error of PostgreSQL");
    };
    let session = crate::protocol::postgres::Session {
        user: "app".to_owned(),
        database: "appdb".to_owned(),
    };
    reply.bytes(&session, 7, operation, table)
}

#[tokio::test]
async fn a_statement_passes_and_is_observed() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let connected = rig.attempt("CONNECT").await;
    assert_eq!(&*connected.key, "appdb");
    assert_eq!(connected.applied, Applied::Yes);
    both(&mut client, &mut server, &query("SELECT a FROM s.T")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(&*attempt.key, "t");
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert_eq!(attempt.applied, Applied::Yes);
    assert_eq!(attempt.code, None);
    assert_eq!(attempt.bytes_up, query("SELECT a FROM s.T").len() as u64);
    assert_eq!(attempt.bytes_down, done("SELECT 1", b'I').len() as u64);
}

#[tokio::test]
async fn with_little_room_for_observations_a_statement_is_held_up_and_counted() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    assert_eq!(rig.recorder.take_waited(), None);
    rig.recorder.fill();
    both(&mut client, &mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    let waited = rig.recorder.take_waited().expect("it was held up");
    assert_eq!(waited.count, 1);
}

#[tokio::test]
async fn a_pipeline_costs_one_write_each_way() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    take_writes();
    let one = [
        message(b'P', b"\0SELECT a FROM t\0\0\0"),
        message(b'B', &[0; 8]),
        message(b'D', b"P\0"),
        message(b'E', &[0; 5]),
    ];
    let asked = [one.concat().repeat(16), message(b'S', b"")].concat();
    both(&mut client, &mut server, &asked).await;
    assert_eq!(take_writes(), 1);
    let one = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'n', b""),
        message(b'C', b"SELECT 1\0"),
    ];
    let answers = [one.concat().repeat(16), message(b'Z', b"I")].concat();
    both(&mut server, &mut client, &answers).await;
    assert_eq!(take_writes(), 1);
    for nth in 1..=16 {
        let seen = rig.attempt("SELECT").await;
        assert_eq!(*seen.call, format!("SELECT t #{nth}"));
        assert!(seen.bytes_down > 0 && seen.first_byte.is_some());
    }
}

#[tokio::test]
async fn what_a_statement_changed_is_kept_and_of_a_transaction_that_was_undone_too() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let with = "WITH a AS (DELETE FROM b RETURNING c) INSERT INTO t SELECT c FROM a";
    for (text, tag, operation, rows) in [
        ("INSERT INTO t VALUES (1)", "INSERT 0 1", "INSERT", Some(1)),
        ("UPDATE t SET a = 1", "UPDATE 0", "UPDATE", Some(0)),
        (
            "DELETE FROM t",
            "DELETE 4294967296",
            "DELETE",
            Some(1 << 32),
        ),
        ("SELECT a FROM t", "SELECT 0", "SELECT", None),
        // What the DELETE changed is not told.
        (with, "INSERT 0 0", "INSERT", None),
    ] {
        both(&mut client, &mut server, &query(text)).await;
        both(&mut server, &mut client, &done(tag, b'I')).await;
        let attempt = rig.attempt(operation).await;
        assert_eq!((attempt.rows, attempt.applied), (rows, Applied::Yes));
    }
    let two = [
        message(b'C', b"INSERT 0 2\0"),
        message(b'C', b"UPDATE 3\0"),
        message(b'Z', b"I"),
    ];
    let text = query("INSERT INTO t VALUES (1), (2); UPDATE t SET a = 1");
    both(&mut client, &mut server, &text).await;
    both(&mut server, &mut client, &two.concat()).await;
    assert_eq!(rig.attempt("INSERT").await.rows, Some(5));
    for (text, tag, status) in [
        ("BEGIN", "BEGIN", b'T'),
        ("DELETE FROM t", "DELETE 7", b'T'),
        ("ROLLBACK", "ROLLBACK", b'I'),
    ] {
        both(&mut client, &mut server, &query(text)).await;
        both(&mut server, &mut client, &done(tag, status)).await;
    }
    let attempt = rig.attempt("DELETE").await;
    assert_eq!((attempt.rows, attempt.applied), (Some(7), Applied::No));
}

#[tokio::test]
async fn any_split_of_the_bytes_is_the_same_message() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    client.set_nodelay(true).expect("set");
    for byte in query("SELECT 1") {
        client.write_all(&[byte]).await.expect("written");
        tokio::task::yield_now().await;
    }
    expect(&mut server, &query("SELECT 1")).await;
    server.set_nodelay(true).expect("set");
    for byte in done("SELECT 1", b'I') {
        server.write_all(&[byte]).await.expect("written");
        tokio::task::yield_now().await;
    }
    expect(&mut client, &done("SELECT 1", b'I')).await;
    assert_eq!(rig.attempt("SELECT").await.applied, Applied::Yes);
}

#[tokio::test]
async fn an_error_makes_the_server_fail_so_that_both_agree_on_the_transaction() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    rig.put("UPDATE", End::Reply(error("40001")));
    let update = query("UPDATE t SET a = 1");
    client.write_all(&update).await.expect("written");
    expect(&mut server, &crate::protocol::postgres::failing::simple()).await;
    server.write_all(&failed(b'E')).await.expect("written");
    let seen = [said("40001", "UPDATE", "t"), message(b'Z', b"E")].concat();
    expect(&mut client, &seen).await;
    let attempt = rig.attempt("UPDATE").await;
    assert_eq!(attempt.code.as_deref(), Some("40001"));
    assert_eq!((attempt.applied, attempt.faults.len()), (Applied::No, 1));
    // The next is answered by the server: its transaction has failed.
    both(&mut client, &mut server, &update).await;
    both(&mut server, &mut client, &failed(b'E')).await;
    let attempt = rig.attempt("UPDATE").await;
    assert_eq!(attempt.code.as_deref(), Some("42601"));
    assert!(attempt.faults.is_empty());
}

#[tokio::test]
async fn a_commit_that_fails_ends_the_transaction() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    rig.put("COMMIT", End::Reply(error("40001")));
    client.write_all(&query("COMMIT")).await.expect("written");
    let failing = crate::protocol::postgres::failing::simple_commit();
    expect(&mut server, &failing).await;
    let rolled_back = message(b'C', b"ROLLBACK\0");
    let answer = [rolled_back, failed(b'I')].concat();
    server.write_all(&answer).await.expect("written");
    let seen = [said("40001", "COMMIT", ""), message(b'Z', b"I")].concat();
    expect(&mut client, &seen).await;
}

#[tokio::test]
async fn in_a_pipeline_what_follows_the_error_is_skipped() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("UPDATE", End::Reply(error("57014")));
    let parse = |text: &[u8]| message(b'P', &[b"\0", text, b"\0\0\0"].concat());
    let bind = message(b'B', &[0; 8]);
    let execute = message(b'E', &[0; 5]);
    let sync = message(b'S', b"");
    let before = [
        parse(b"INSERT INTO t VALUES (1)"),
        bind.clone(),
        execute.clone(),
        parse(b"UPDATE t SET a = 1"),
        bind.clone(),
    ]
    .concat();
    let after = [
        parse(b"DELETE FROM t"),
        bind.clone(),
        execute.clone(),
        sync.clone(),
    ]
    .concat();
    let whole = [&before[..], &execute, &after].concat();
    client.write_all(&whole).await.expect("written");
    let failing = crate::protocol::postgres::failing::execute();
    expect(&mut server, &[&before[..], &failing, &after].concat()).await;
    let first = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'C', b"INSERT 0 1\0"),
        message(b'1', b""),
        message(b'2', b""),
    ]
    .concat();
    let answer = [&first[..], &failed(b'I')].concat();
    server.write_all(&answer).await.expect("written");
    let rest = [said("57014", "UPDATE", "t"), message(b'Z', b"I")].concat();
    expect(&mut client, &[first, rest].concat()).await;
    let update = rig.attempt("UPDATE").await;
    assert_eq!(update.code.as_deref(), Some("57014"));
    let skipped = rig.attempt("DELETE").await;
    assert_eq!(skipped.code.as_deref(), Some("57014"));
    assert_eq!(skipped.applied, Applied::No);
    assert!(skipped.faults.is_empty());
    // It was carried out, and taken back with the rest of the pipeline.
    let insert = rig.attempt("INSERT").await;
    assert_eq!((insert.code, insert.applied), (None, Applied::No));
}

#[tokio::test]
async fn a_fatal_error_ends_the_session_and_one_while_connecting_never_reaches_the_server() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.session().await;
    rig.put("SELECT", End::Reply(error("57P01")));
    client.write_all(&query("SELECT 1")).await.expect("written");
    expect(&mut client, &said("57P01", "SELECT", "")).await;
    ends(&mut client).await;
    drop(client);
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(attempt.code.as_deref(), Some("57P01"));
    assert_eq!(attempt.applied, Applied::No);

    rig.put("CONNECT", End::Reply(error("53300")));
    let mut client = rig.connect().await;
    client.write_all(&startup()).await.expect("written");
    expect(&mut client, &said("53300", "CONNECT", "")).await;
    ends(&mut client).await;
    let attempt = rig.attempt("CONNECT").await;
    assert_eq!(attempt.code.as_deref(), Some("53300"));
}

#[tokio::test]
async fn an_error_of_a_client_that_has_proved_who_it_is_comes_after_authentication() {
    let rig = Rig::new().await;
    rig.put("CONNECT", End::Reply(error("database_limit")));
    let mut client = rig.connect().await;
    client.write_all(&startup()).await.expect("written");
    let (mut server, _) = soon(rig.listener.accept()).await.expect("accepted");
    expect(&mut server, &startup()).await;
    both(&mut server, &mut client, &message(b'R', &[0, 0, 0, 3])).await;
    both(&mut client, &mut server, &message(b'p', b"a password\0")).await;
    both(&mut server, &mut client, &message(b'R', &[0; 4])).await;
    expect(&mut client, &said("database_limit", "CONNECT", "")).await;
    ends(&mut client).await;
}

#[tokio::test]
async fn what_the_server_carried_out_may_be_told_otherwise() {
    let mut rig = Rig::new().await;
    for (then, seen, end) in [
        (
            Then::Reply(error("57014")),
            [said("57014", "INSERT", "t"), message(b'Z', b"I")].concat(),
            AttemptEnd::Answered,
        ),
        (
            Then::Reply(Reply::Garbage(b"\xff\xfe".as_slice().into())),
            b"\xff\xfe".to_vec(),
            AttemptEnd::Cut,
        ),
        (Then::Reply(Reply::Empty), Vec::new(), AttemptEnd::Cut),
        (Then::Close(Closing::Fin), Vec::new(), AttemptEnd::Cut),
    ] {
        let (mut client, mut server) = rig.session().await;
        rig.put("INSERT", End::Forward(then));
        both(&mut client, &mut server, &query("INSERT INTO t VALUES (1)")).await;
        server
            .write_all(&done("INSERT 0 1", b'I'))
            .await
            .expect("written");
        expect(&mut client, &seen).await;
        if end == AttemptEnd::Cut {
            ends(&mut client).await;
        }
        let attempt = rig.attempt("INSERT").await;
        assert_eq!((attempt.applied, attempt.end), (Applied::Yes, end));
        assert_eq!(attempt.faults, [FaultId(3)]);
        rig.switch.heal();
    }
}

#[tokio::test]
async fn a_lost_answer_hangs_until_the_fault_is_lifted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("INSERT", End::Forward(Then::Lose));
    both(&mut client, &mut server, &query("INSERT INTO t VALUES (1)")).await;
    server
        .write_all(&done("INSERT 0 1", b'I'))
        .await
        .expect("written");
    let silent = timeout(Duration::from_millis(100), client.read(&mut [0])).await;
    assert!(silent.is_err());
    rig.switch.heal();
    ends(&mut client).await;
    let attempt = rig.attempt("INSERT").await;
    assert_eq!(attempt.applied, Applied::Yes);
    assert_eq!(attempt.end, AttemptEnd::Unfinished);
}

#[tokio::test]
async fn a_held_statement_goes_on_when_the_fault_is_lifted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("SELECT", End::Hang);
    client.write_all(&query("SELECT 1")).await.expect("written");
    let silent = timeout(Duration::from_millis(100), server.read(&mut [0])).await;
    assert!(silent.is_err());
    rig.switch.heal();
    expect(&mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(attempt.faults, [FaultId(3)]);
    assert!(attempt.released.is_some());
}

#[tokio::test]
async fn a_copy_in_the_extended_protocol_has_one_ready_for_two_syncs() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let opening = [
        message(b'P', b"\0COPY t FROM STDIN\0\0\0"),
        message(b'B', &[0; 8]),
        message(b'E', &[0; 5]),
        message(b'S', b""),
    ]
    .concat();
    both(&mut client, &mut server, &opening).await;
    let asks = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'G', &[0, 0, 0]),
    ]
    .concat();
    both(&mut server, &mut client, &asks).await;
    let data = [
        message(b'd', b"1\n"),
        message(b'c', b""),
        message(b'S', b""),
    ]
    .concat();
    both(&mut client, &mut server, &data).await;
    both(&mut server, &mut client, &done("COPY 1", b'I')).await;
    assert_eq!(rig.attempt("COPY").await.applied, Applied::Yes);
    both(&mut client, &mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    assert_eq!(rig.attempt("SELECT").await.applied, Applied::Yes);
}

#[tokio::test]
async fn a_commit_of_a_failed_transaction_is_not_applied() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("COMMIT")).await;
    both(&mut server, &mut client, &done("ROLLBACK", b'I')).await;
    assert_eq!(rig.attempt("COMMIT").await.applied, Applied::No);
}

#[tokio::test]
async fn whoever_came_just_before_a_restart_closed_the_listener_is_reset() {
    let rig = Rig::new().await;
    let text = "kind = 'restart'\non = 'x'\nstopping = '3s'\ndown = '60s'";
    rig.switch.set(sample::set(text, Protocol::Postgres));
    let mut early = rig.connect().await;
    early.write_all(&startup()).await.expect("written");
    expect(&mut early, &said("shutting_down", "CONNECT", "")).await;
    ends(&mut early).await;
    // Let in, and not served before the listener is gone.
    let mut late = rig.connect().await;
    let refused = async {
        while !matches!(TcpStream::connect(rig.proxy.address()).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
        {
            tokio::task::yield_now().await;
        }
    };
    soon(refused).await;
    // It may have been reset already.
    let _ = late.write_all(&startup()).await;
    let read = soon(late.read(&mut [0])).await;
    let kind = read.map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_request_to_cancel_reaches_the_server_as_it_is() {
    let mut rig = Rig::new().await;
    let cancel = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 7, 0, 0, 0, 9];
    let mut client = rig.connect().await;
    client.write_all(&cancel).await.expect("written");
    let (mut server, _) = soon(rig.listener.accept()).await.expect("accepted");
    expect(&mut server, &cancel).await;
    drop(server);
    ends(&mut client).await;
    assert_eq!(rig.attempt("CANCEL").await.applied, Applied::Yes);
}

#[tokio::test]
async fn requests_for_encryption_are_refused_once_each() {
    let mut rig = Rig::new().await;
    let mut client = rig.connect().await;
    let (tls, gss) = (
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f],
        [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30],
    );
    client.write_all(&gss).await.expect("written");
    expect(&mut client, b"N").await;
    client.write_all(&tls).await.expect("written");
    expect(&mut client, b"N").await;
    client.write_all(&tls).await.expect("written");
    ends(&mut client).await;
    assert!(
        rig.connection()
            .await
            .how
            .starts_with("malformed from client")
    );
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_that_connection_alone() {
    let mut rig = Rig::new().await;
    let (mut other, mut other_server) = rig.session().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x04",
        b"\0\0\0\x08\0\x02\0\0",
        b"\xff\xff\xff\xff",
    ] {
        let mut client = rig.connect().await;
        client.write_all(bytes).await.expect("written");
        ends(&mut client).await;
        drop(client);
        let how = rig.connection().await.how;
        assert!(how.starts_with("malformed from client"), "{how}");
    }
    for bytes in [
        &b"\xff\xff\xff\xff\xff"[..],
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\x01",
    ] {
        let (mut client, _server) = rig.session().await;
        client.write_all(bytes).await.expect("written");
        ends(&mut client).await;
        drop(client);
        let how = rig.connection().await.how;
        assert!(how.starts_with("malformed from client"), "{how}");
    }
    for bytes in [&b"HTTP/1.1 200 OK"[..], b"D\xff\xff\xff\xff", b"Z\0\0\0\0"] {
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("SELECT 1")).await;
        server.write_all(bytes).await.expect("written");
        ends(&mut client).await;
        drop(client);
        let attempt = rig.attempt("SELECT").await;
        assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
        let how = rig.connection().await.how;
        assert!(how.starts_with("malformed from upstream"), "{how}");
    }
    both(&mut other, &mut other_server, &query("SELECT 1")).await;
    both(&mut other_server, &mut other, &done("SELECT 1", b'I')).await;
}

#[tokio::test]
async fn a_message_that_ends_half_way_is_no_answer() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("SELECT 1")).await;
    server.write_all(b"D\0\0\0\x40half").await.expect("written");
    drop(server);
    expect(&mut client, b"D\0\0\0\x40half").await;
    ends(&mut client).await;
    drop(client);
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.applied, Applied::Unknown);
}

#[tokio::test]
async fn a_message_longer_than_any_buffer_passes() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let long = query(&format!("SELECT '{}' FROM t", "x".repeat(3_000_000)));
    let sent = long.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&sent).await.expect("written");
        client
    });
    expect(&mut server, &long).await;
    let mut client = writing.await.expect("written");
    let row = message(b'D', &vec![7; 3_000_000]);
    let sent = [row.clone(), done("SELECT 1", b'I')].concat();
    let writing = tokio::spawn(async move {
        server.write_all(&sent).await.expect("written");
        server
    });
    expect(&mut client, &row).await;
    expect(&mut client, &done("SELECT 1", b'I')).await;
    writing.await.expect("written");
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(attempt.bytes_up, long.len() as u64);
    assert!(attempt.bytes_down > 3_000_000);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_has_given_up() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("SELECT 1")).await;
    drop(client);
    let attempt = rig.attempt("SELECT").await;
    assert_eq!(attempt.end, AttemptEnd::GaveUp);
    assert_eq!(attempt.applied, Applied::Unknown);
    ends(&mut server).await;
}

#[tokio::test]
async fn what_a_transaction_did_is_applied_when_it_is_committed() {
    let mut rig = Rig::new().await;
    let insert = query("INSERT INTO t VALUES (1)");
    for (last, tag, applied) in [
        ("COMMIT", "COMMIT", Applied::Yes),
        ("ROLLBACK", "ROLLBACK", Applied::No),
        // The transaction had failed meanwhile.
        ("COMMIT", "ROLLBACK", Applied::No),
    ] {
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        both(&mut client, &mut server, &insert).await;
        both(&mut server, &mut client, &done("INSERT 0 1", b'T')).await;
        both(&mut client, &mut server, &query(last)).await;
        both(&mut server, &mut client, &done(tag, b'I')).await;
        let attempt = rig.attempt("INSERT").await;
        assert_eq!(attempt.applied, applied, "{last} {tag}");
        assert_eq!(attempt.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn what_a_commit_did_whose_answer_is_lost_its_client_cannot_know() {
    let refused = [said("40001", "COMMIT", ""), message(b'Z', b"I")].concat();
    let cut = Then::Close(Closing::Fin);
    for (then, seen) in [
        (None, done("COMMIT", b'I')),
        (Some(cut), Vec::new()),
        (Some(Then::Reply(error("40001"))), refused),
    ] {
        let is_told = then.is_none();
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        both(&mut client, &mut server, &query("INSERT INTO t VALUES (1)")).await;
        both(&mut server, &mut client, &done("INSERT 0 1", b'T')).await;
        if let Some(then) = then {
            rig.put("COMMIT", End::Forward(then));
        }
        both(&mut client, &mut server, &query("COMMIT")).await;
        let committed = done("COMMIT", b'I');
        server.write_all(&committed).await.expect("written");
        expect(&mut client, &seen).await;
        if seen.is_empty() {
            ends(&mut client).await;
        }
        let insert = rig.attempt("INSERT").await;
        assert_eq!(insert.applied, Applied::Yes);
        assert_eq!(insert.end, AttemptEnd::Answered);
        assert_eq!(insert.acknowledged(), is_told, "{insert:?}");
        assert!(insert.waited_for_until() >= insert.ended);
    }
}

#[tokio::test]
async fn what_a_late_commit_did_is_known_though_its_client_left_before_it_heard() {
    let hour = Duration::from_secs(3600);
    for (answer, applied) in [
        (done("COMMIT", b'I'), Applied::Yes),
        (done("ROLLBACK", b'I'), Applied::No),
        (failed(b'I'), Applied::No),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        both(&mut client, &mut server, &query("INSERT INTO t VALUES (1)")).await;
        both(&mut server, &mut client, &done("INSERT 0 1", b'T')).await;
        rig.put("COMMIT", End::Forward(Then::Late(hour)));
        both(&mut client, &mut server, &query("COMMIT")).await;
        server.write_all(&answer).await.expect("written");
        let silence = timeout(Duration::from_millis(150), client.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
        drop(client);
        let insert = rig.attempt("INSERT").await;
        assert_eq!(insert.end, AttemptEnd::Answered);
        assert_eq!(insert.applied, applied, "{insert:?}");
        assert_eq!(insert.untold.is_some(), applied == Applied::Yes);
        let commit = rig.attempt("COMMIT").await;
        assert_eq!((commit.end, commit.applied), (AttemptEnd::GaveUp, applied));
        assert_eq!((commit.first_byte, commit.code), (None, None));
    }
    // Of one that is still open all is taken back with its session.
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    rig.put("INSERT", End::Forward(Then::Late(hour)));
    both(&mut client, &mut server, &query("INSERT INTO t VALUES (1)")).await;
    let inserted = done("INSERT 0 1", b'T');
    server.write_all(&inserted).await.expect("written");
    let silence = timeout(Duration::from_millis(150), client.read_u8()).await;
    assert!(silence.is_err(), "{silence:?}");
    drop(client);
    let insert = rig.attempt("INSERT").await;
    assert_eq!(
        (insert.end, insert.applied),
        (AttemptEnd::GaveUp, Applied::No)
    );
}

#[tokio::test]
async fn what_a_pipeline_did_whose_end_is_lost_its_client_cannot_know() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("UPDATE", End::Forward(Then::Close(Closing::Fin)));
    let execute = |text: &[u8]| {
        [
            message(b'P', &[b"\0", text, b"\0\0\0"].concat()),
            message(b'B', &[0; 8]),
            message(b'E', &[0; 5]),
        ]
        .concat()
    };
    let executed = |tag: &[u8]| {
        [
            message(b'1', b""),
            message(b'2', b""),
            message(b'C', &[tag, b"\0"].concat()),
        ]
        .concat()
    };
    let sent = [
        execute(b"INSERT INTO t VALUES (1)"),
        execute(b"UPDATE t SET a = 2"),
        message(b'S', b""),
    ]
    .concat();
    both(&mut client, &mut server, &sent).await;
    both(&mut server, &mut client, &executed(b"INSERT 0 1")).await;
    let rest = [executed(b"UPDATE 1"), message(b'Z', b"I")].concat();
    server.write_all(&rest).await.expect("written");
    ends(&mut client).await;
    let insert = rig.attempt("INSERT").await;
    assert_eq!(insert.applied, Applied::Yes);
    assert!(!insert.acknowledged(), "{insert:?}");
}

/// What is asked with a text parsed, bound and executed, up to its `Sync`.
const PARSED: &[u8] = b"\0INSERT INTO t VALUES ($1)\0\0\0";

fn repeated(times: u32) -> End {
    let then = Box::new(Then::Late(Duration::from_millis(1)));
    End::Forward(Then::Repeat { times, then })
}

#[tokio::test]
async fn a_statement_can_be_carried_out_several_times() {
    let insert = query("INSERT INTO t VALUES (1)");
    let ok = || done("INSERT 0 1", b'I');
    for (answers, applied, times) in [
        ([ok(), ok(), ok()], Applied::Yes, 2),
        ([ok(), failed(b'I'), failed(b'I')], Applied::Yes, 0),
        ([failed(b'I'), failed(b'I'), failed(b'I')], Applied::No, 0),
        ([failed(b'I'), failed(b'I'), ok()], Applied::Yes, 0),
        ([done("INSERT 0 0", b'I'), ok(), ok()], Applied::Yes, 1),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        let active = rig.put("INSERT", repeated(2));
        client.write_all(&insert).await.expect("written");
        for _ in 0..3 {
            expect(&mut server, &insert).await;
        }
        server.write_all(&answers.concat()).await.expect("written");
        expect(&mut client, &answers[2]).await;
        let seen = rig.attempt("INSERT").await;
        assert_eq!((seen.applied, seen.repeated), (applied, times));
        assert_eq!((seen.repeated_unknown, active.hits()), (0, 1));
        both(&mut client, &mut server, &query("SELECT 1")).await;
        both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    }
}

#[tokio::test]
async fn a_copy_that_nobody_answered_may_have_been_carried_out() {
    let insert = query("INSERT INTO t VALUES (1)");
    for (answered, applied, unknown) in [(0, Applied::Unknown, 2), (1, Applied::Yes, 2)] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("INSERT", repeated(2));
        client.write_all(&insert).await.expect("written");
        for _ in 0..3 {
            expect(&mut server, &insert).await;
        }
        for _ in 0..answered {
            let answer = done("INSERT 0 1", b'I');
            server.write_all(&answer).await.expect("written");
        }
        drop(server);
        ends(&mut client).await;
        let seen = rig.attempt("INSERT").await;
        assert_eq!((seen.applied, seen.repeated), (applied, 0));
        assert_eq!(seen.repeated_unknown, unknown);
    }
}

#[tokio::test]
async fn an_execute_is_repeated_with_its_bind_each_time_in_a_transaction_of_its_own() {
    let (parse, bind, execute, sync) = (
        message(b'P', PARSED),
        message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0"),
        message(b'E', &[0; 5]),
        message(b'S', b""),
    );
    let sent = [&parse[..], &bind, &execute, &sync].concat();
    let copy = [&bind[..], &execute, &sync].concat();
    let (parsed, bound, ready) = (message(b'1', b""), message(b'2', b""), message(b'Z', b"I"));
    let inserted = message(b'C', b"INSERT 0 1\0");
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("INSERT", repeated(2));
    client.write_all(&sent).await.expect("written");
    let reached = [
        &parse[..],
        &bind,
        &sync,
        &copy,
        &copy,
        &bind,
        &execute,
        &sync,
    ]
    .concat();
    expect(&mut server, &reached).await;
    let one = [&bound[..], &inserted, &ready].concat();
    let answers = [&parsed[..], &bound, &ready, &one, &one, &one].concat();
    server.write_all(&answers).await.expect("written");
    let seen = [&parsed[..], &bound, &inserted, &ready].concat();
    expect(&mut client, &seen).await;
    let attempt = rig.attempt("INSERT").await;
    assert_eq!((attempt.applied, attempt.repeated), (Applied::Yes, 2));
    assert_eq!(attempt.untold, None);

    // What cannot be parsed fails once for the client, whatever follows.
    client.write_all(&sent).await.expect("written");
    expect(&mut server, &reached).await;
    let refused = failed(b'I');
    let error = &refused[..refused.len() - ready.len()];
    let other = message(b'E', b"SERROR\0VERROR\0C26000\0Mno statement\0\0");
    let one = [&other[..], &ready].concat();
    let answers = [error, &ready, &one, &one, &one].concat();
    server.write_all(&answers).await.expect("written");
    expect(&mut client, &refused).await;
    let attempt = rig.attempt("INSERT").await;
    assert_eq!(
        (attempt.applied, attempt.code.as_deref()),
        (Applied::No, Some("42601"))
    );
    both(&mut client, &mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
}

#[tokio::test]
async fn what_is_part_of_a_transaction_a_pipeline_or_a_longer_text_is_not_repeated() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let active = rig.put("INSERT", repeated(2));
    for (text, status) in [
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", b'I'),
        ("BEGIN", b'T'),
        ("INSERT INTO t VALUES (1)", b'T'),
        ("ROLLBACK", b'I'),
    ] {
        both(&mut client, &mut server, &query(text)).await;
        let tag = text.split(' ').next().expect("a word");
        both(&mut server, &mut client, &done(tag, status)).await;
    }
    let one = [
        message(b'P', PARSED),
        message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0"),
        message(b'E', &[0; 5]),
    ]
    .concat();
    // The second of a pipeline; the first would be repeated, and is another statement.
    let select = [
        message(b'P', b"\0SELECT 1\0\0\0"),
        message(b'B', &[0; 8]),
        message(b'E', &[0; 5]),
    ]
    .concat();
    let sent = [select, one, message(b'S', b"")].concat();
    both(&mut client, &mut server, &sent).await;
    let (parsed, bound) = (message(b'1', b""), message(b'2', b""));
    let answers = [
        [&parsed[..], &bound, &message(b'C', b"SELECT 1\0")].concat(),
        [&parsed[..], &bound, &message(b'C', b"INSERT 0 1\0")].concat(),
        message(b'Z', b"I"),
    ]
    .concat();
    both(&mut server, &mut client, &answers).await;
    for _ in 0..3 {
        let seen = rig.attempt("INSERT").await;
        assert_eq!((seen.repeated, seen.faults.len()), (0, 0), "{seen:?}");
    }
    assert_eq!(active.hits(), 0);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_transaction_back_unless_it_may_have_been_committed() {
    let mut rig = Rig::new().await;
    for (commits, applied) in [(false, Applied::No), (true, Applied::Unknown)] {
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        both(&mut client, &mut server, &query("DELETE FROM t")).await;
        both(&mut server, &mut client, &done("DELETE 1", b'T')).await;
        if commits {
            both(&mut client, &mut server, &query("COMMIT")).await;
        }
        drop(server);
        ends(&mut client).await;
        let delete = rig.attempt("DELETE").await;
        assert_eq!(delete.applied, applied);
        assert_eq!(delete.untold.is_some(), commits, "{delete:?}");
    }
}

#[tokio::test]
async fn what_a_savepoint_took_back_is_not_said_to_be_applied() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    for (text, tag) in [
        ("BEGIN", "BEGIN"),
        ("INSERT INTO t VALUES (1)", "INSERT 0 1"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("DELETE FROM t", "DELETE 1"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("UPDATE t SET a = 1", "UPDATE 1"),
    ] {
        both(&mut client, &mut server, &query(text)).await;
        both(&mut server, &mut client, &done(tag, b'T')).await;
    }
    both(&mut client, &mut server, &query("COMMIT")).await;
    both(&mut server, &mut client, &done("COMMIT", b'I')).await;
    assert_eq!(rig.attempt("DELETE").await.applied, Applied::Unknown);
    assert_eq!(rig.attempt("INSERT").await.applied, Applied::Yes);
    assert_eq!(rig.attempt("UPDATE").await.applied, Applied::Yes);
}

#[tokio::test]
async fn a_transaction_that_never_ends_is_still_told_of() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    both(&mut client, &mut server, &query("DELETE FROM t")).await;
    both(&mut server, &mut client, &done("DELETE 1", b'T')).await;
    rig.proxy.stop().await;
    let attempt = loop {
        match soon(rig.observations.recv()).await {
            Some(Observation::Attempt(attempt)) if &*attempt.operation == "DELETE" => {
                break attempt;
            }
            Some(_) => {}
            None => panic!("nothing was told of it"),
        }
    };
    assert_eq!(attempt.applied, Applied::Unknown);
    assert_eq!(attempt.end, AttemptEnd::Answered);
}

#[tokio::test]
async fn what_holds_back_an_answer_in_a_transaction_counts_for_that_statement_alone() {
    let slow = Duration::from_millis(200);
    for is_first_slow in [true, false] {
        let mut rig = Rig::new().await;
        let slows = || {
            let text = "kind = 'latency'\non = 'x'\ndelay = '200ms'\nby = 'connection'";
            rig.switch.set(sample::set(text, Protocol::Postgres));
        };
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        if is_first_slow {
            slows();
        }
        both(&mut client, &mut server, &query("DELETE FROM t")).await;
        both(&mut server, &mut client, &done("DELETE 1", b'T')).await;
        if is_first_slow {
            rig.switch.set(FaultSet::default());
        } else {
            slows();
        }
        both(&mut client, &mut server, &query("COMMIT")).await;
        both(&mut server, &mut client, &done("COMMIT", b'I')).await;
        let delete = rig.attempt("DELETE").await;
        let commit = rig.attempt("COMMIT").await;
        assert_eq!(delete.applied, Applied::Yes);
        let (slowed, spared) = if is_first_slow {
            (delete, commit)
        } else {
            (commit, delete)
        };
        assert!(slowed.ended.since(slowed.began) >= slow, "{slowed:?}");
        assert_eq!(slowed.faults.len(), 1, "{slowed:?}");
        assert!(spared.faults.is_empty(), "{spared:?}");
        assert_eq!(spared.released, None, "{spared:?}");
    }
}

#[tokio::test]
async fn a_text_of_several_statements_may_have_ended_the_transaction() {
    let mut rig = Rig::new().await;
    for (text, applied) in [
        ("UPDATE t SET a = 2", Applied::No),
        ("UPDATE t SET a = 2;", Applied::No),
        ("UPDATE t SET a = 2; COMMIT", Applied::Unknown),
        ("PREPARE TRANSACTION 'x'", Applied::Unknown),
    ] {
        let (mut client, mut server) = rig.session().await;
        both(&mut client, &mut server, &query("BEGIN")).await;
        both(&mut server, &mut client, &done("BEGIN", b'T')).await;
        both(&mut client, &mut server, &query("DELETE FROM t")).await;
        both(&mut server, &mut client, &done("DELETE 1", b'T')).await;
        both(&mut client, &mut server, &query(text)).await;
        drop(server);
        ends(&mut client).await;
        assert_eq!(rig.attempt("DELETE").await.applied, applied, "{text}");
    }
    let (mut client, mut server) = rig.session().await;
    let text = query("INSERT INTO t VALUES (1); ROLLBACK");
    both(&mut client, &mut server, &text).await;
    let answer = [message(b'C', b"INSERT 0 1\0"), done("ROLLBACK", b'I')].concat();
    both(&mut server, &mut client, &answer).await;
    assert_eq!(rig.attempt("INSERT").await.applied, Applied::No);
}

#[tokio::test]
async fn what_was_carried_out_within_a_transaction_is_taken_back_when_its_session_ends() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    both(&mut client, &mut server, &query("DELETE FROM t")).await;
    // Carried out, and the server dies before it is ready.
    both(&mut server, &mut client, &message(b'C', b"DELETE 1\0")).await;
    drop(server);
    ends(&mut client).await;
    assert_eq!(rig.attempt("DELETE").await.applied, Applied::No);
}

#[tokio::test]
async fn no_more_is_passed_on_than_can_be_remembered_until_answers_come() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let sync = message(b'S', &[]);
    let most = super::queue::LENGTH_MAX;
    let sent = sync.repeat(most + 2);
    let sending = tokio::spawn(async move {
        client.write_all(&sent).await.expect("written");
        client
    });
    expect(&mut server, &sync.repeat(most)).await;
    let more = timeout(Duration::from_millis(300), server.read_u8()).await;
    assert!(more.is_err(), "{more:?}");
    let ready = message(b'Z', b"I");
    let mut client = soon(sending).await.expect("all was sent");
    for _ in 0..2 {
        both(&mut server, &mut client, &ready).await;
        expect(&mut server, &sync).await;
    }
}

fn parse(text: &str) -> Vec<u8> {
    message(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

/// What executes a statement in the extended protocol.
fn execute(text: &str) -> Vec<u8> {
    [parse(text), message(b'B', &[0; 8]), message(b'E', &[0; 5])].concat()
}

/// What the server answers to it.
fn executed(tag: &str) -> Vec<u8> {
    let tag = [tag.as_bytes(), b"\0"].concat();
    [message(b'1', b""), message(b'2', b""), message(b'C', &tag)].concat()
}

/// What is sent for it when it is made to fail so.
fn made_to_fail(text: &str, failing: Vec<u8>) -> Vec<u8> {
    [parse(text), message(b'B', &[0; 8]), failing].concat()
}

#[tokio::test]
async fn a_commit_that_fails_ends_the_transaction_also_within_one_pipeline() {
    use crate::protocol::postgres::failing;
    let sync = message(b'S', b"");
    // Whether the BEGIN was answered before the COMMIT came.
    for is_answered in [true, false] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("COMMIT", End::Reply(error("40001")));
        let before = [execute("BEGIN"), execute("INSERT INTO t VALUES (1)")].concat();
        let answers = [executed("BEGIN"), executed("INSERT 0 1")].concat();
        both(&mut client, &mut server, &before).await;
        if is_answered {
            both(&mut server, &mut client, &answers).await;
        }
        let commit = [execute("COMMIT"), sync.clone()].concat();
        client.write_all(&commit).await.expect("written");
        let sent = made_to_fail("COMMIT", failing::execute_commit());
        expect(&mut server, &[sent, sync.clone()].concat()).await;
        if !is_answered {
            both(&mut server, &mut client, &answers).await;
        }
        let own = [executed("ROLLBACK"), message(b'3', b"")].concat();
        let answer = [own, failed(b'I')].concat();
        let begins = [message(b'1', b""), message(b'2', b"")].concat();
        server
            .write_all(&[&begins[..], &answer].concat())
            .await
            .expect("written");
        let seen = [said("40001", "COMMIT", ""), message(b'Z', b"I")].concat();
        expect(&mut client, &seen).await;
        let insert = rig.attempt("INSERT").await;
        assert_eq!((insert.code, insert.applied), (None, Applied::No));
    }
}

#[tokio::test]
async fn an_error_within_a_pipelined_transaction_undoes_the_statement_also_afterwards() {
    use crate::protocol::postgres::failing;
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("INSERT", End::Forward(Then::Reply(error("57014"))));
    let insert = "INSERT INTO t VALUES (1)";
    let rest = [execute("COMMIT"), message(b'S', b"")].concat();
    let whole = [execute("BEGIN"), execute(insert), rest.clone()].concat();
    client.write_all(&whole).await.expect("written");
    let sent = [
        execute("BEGIN"),
        made_to_fail(insert, failing::execute()),
        rest,
    ]
    .concat();
    expect(&mut server, &sent).await;
    both(&mut server, &mut client, &executed("BEGIN")).await;
    server.write_all(&failed(b'E')).await.expect("written");
    let seen = [said("57014", "INSERT", "t"), message(b'Z', b"E")].concat();
    expect(&mut client, &seen).await;
    let insert = rig.attempt("INSERT").await;
    assert_eq!(
        (insert.applied, &insert.faults[..]),
        (Applied::No, &[FaultId(3)][..])
    );
    let commit = rig.attempt("COMMIT").await;
    assert_eq!(commit.applied, Applied::No);
}

#[tokio::test]
async fn what_a_pipeline_skips_no_fault_acts_on() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let active = rig.put("UPDATE", End::Reply(error("57014")));
    let update = "UPDATE t SET a = 1";
    let whole = [execute(update), execute(update), message(b'S', b"")].concat();
    client.write_all(&whole).await.expect("written");
    let failing = crate::protocol::postgres::failing::execute();
    let sent = [
        made_to_fail(update, failing),
        execute(update),
        message(b'S', b""),
    ]
    .concat();
    expect(&mut server, &sent).await;
    server.write_all(&failed(b'I')).await.expect("written");
    let seen = [said("57014", "UPDATE", "t"), message(b'Z', b"I")].concat();
    expect(&mut client, &seen).await;
    assert_eq!(rig.attempt("UPDATE").await.faults, [FaultId(3)]);
    let skipped = rig.attempt("UPDATE").await;
    assert_eq!(skipped.code.as_deref(), Some("57014"));
    assert!(skipped.faults.is_empty());
    assert_eq!(active.hits(), 1);
}

#[tokio::test]
async fn a_client_that_flushes_waits_for_no_sync() {
    let flush = message(b'H', b"");
    let insert = execute("INSERT INTO t VALUES (1)");
    let delete = execute("DELETE FROM t");
    // Whether it asks before the server has answered, or after.
    for asks_first in [true, false] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("INSERT", End::Forward(Then::Reply(error("57014"))));
        both(&mut client, &mut server, &insert).await;
        if asks_first {
            both(&mut client, &mut server, &flush).await;
        }
        let answer = executed("INSERT 0 1");
        server.write_all(&answer).await.expect("written");
        if !asks_first {
            let silent = timeout(Duration::from_millis(100), client.read(&mut [0])).await;
            assert!(silent.is_err(), "it has not asked");
            both(&mut client, &mut server, &flush).await;
        }
        expect(&mut client, &said("57014", "INSERT", "t")).await;
        // The server carries out what follows; the client must not hear of it before its Sync.
        let rest = [delete.clone(), message(b'S', b"")].concat();
        both(&mut client, &mut server, &rest).await;
        let answer = [executed("DELETE 1"), message(b'Z', b"I")].concat();
        server.write_all(&answer).await.expect("written");
        expect(&mut client, &message(b'Z', b"I")).await;
        for operation in ["INSERT", "DELETE"] {
            let attempt = rig.attempt(operation).await;
            assert_eq!(attempt.code.as_deref(), Some("57014"), "{operation}");
            assert_eq!(
                (attempt.applied, attempt.end),
                (Applied::Yes, AttemptEnd::Answered)
            );
            assert_eq!(attempt.faults, [FaultId(3)], "{operation}");
        }
        rig.switch.heal();
        both(&mut client, &mut server, &query("SELECT 1")).await;
        both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
    }
}

#[tokio::test]
async fn a_session_that_ends_before_its_sync_has_done_nothing() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("INSERT", End::Forward(Then::Close(Closing::Fin)));
    let insert = execute("INSERT INTO t VALUES (1)");
    let flush = message(b'H', b"");
    both(&mut client, &mut server, &[insert, flush].concat()).await;
    server
        .write_all(&executed("INSERT 0 1"))
        .await
        .expect("written");
    ends(&mut client).await;
    let attempt = rig.attempt("INSERT").await;
    assert_eq!(
        (attempt.applied, attempt.end),
        (Applied::No, AttemptEnd::Cut)
    );
}

#[tokio::test]
async fn later_statements_of_a_pipeline_whose_answer_is_replaced_are_told_of_as_they_were() {
    for (then, code, end, seen) in [
        (
            Then::Reply(error("57014")),
            Some("57014"),
            AttemptEnd::Answered,
            [said("57014", "INSERT", "t"), message(b'Z', b"I")].concat(),
        ),
        (Then::Reply(Reply::Empty), None, AttemptEnd::Cut, Vec::new()),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("INSERT", End::Forward(then));
        let whole = [
            execute("INSERT INTO t VALUES (1)"),
            execute("DELETE FROM t"),
            message(b'S', b""),
        ];
        both(&mut client, &mut server, &whole.concat()).await;
        let answers = [
            executed("INSERT 0 1"),
            executed("DELETE 1"),
            message(b'Z', b"I"),
        ];
        server.write_all(&answers.concat()).await.expect("written");
        expect(&mut client, &seen).await;
        let mut seen = 0;
        while seen < 2 {
            let Some(Observation::Attempt(attempt)) = soon(rig.observations.recv()).await else {
                continue;
            };
            if matches!(&*attempt.operation, "INSERT" | "DELETE") {
                assert_eq!(attempt.code.as_deref(), code, "{attempt:?}");
                assert_eq!((attempt.applied, attempt.end), (Applied::Yes, end));
                assert_eq!(attempt.faults, [FaultId(3)]);
                seen += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_fault_acts_on_one_answer_of_a_pipeline() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let active = rig.put("INSERT", End::Forward(Then::Reply(error("57014"))));
    let insert = execute("INSERT INTO t VALUES (1)");
    let whole = [insert.clone(), insert, message(b'S', b"")].concat();
    both(&mut client, &mut server, &whole).await;
    let answers = [
        executed("INSERT 0 1"),
        executed("INSERT 0 1"),
        message(b'Z', b"I"),
    ];
    server.write_all(&answers.concat()).await.expect("written");
    let seen = [said("57014", "INSERT", "t"), message(b'Z', b"I")].concat();
    expect(&mut client, &seen).await;
    assert_eq!(active.hits(), 1);
}

/// What the client gets until its session ends.
async fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    soon(client.read_to_end(&mut rest)).await.expect("an end");
    rest
}

#[tokio::test]
async fn a_session_that_ends_behind_a_flush_is_told_of_as_the_sync_behind_it_ended() {
    for (then, last) in [
        (Then::Close(Closing::Fin), Vec::new()),
        (Then::Lose, Vec::new()),
        (Then::Reply(error("57P01")), said("57P01", "INSERT", "t")),
    ] {
        for (ready, applied) in [
            (message(b'Z', b"I"), Applied::Yes),
            (failed(b'I'), Applied::No),
        ] {
            let mut rig = Rig::new().await;
            let (mut client, mut server) = rig.session().await;
            rig.put("INSERT", End::Forward(then.clone()));
            let whole = [
                execute("INSERT INTO t VALUES (1)"),
                message(b'H', b""),
                message(b'S', b""),
            ];
            both(&mut client, &mut server, &whole.concat()).await;
            let answer = executed("INSERT 0 1");
            server.write_all(&answer).await.expect("written");
            // Told now, it would have been told before anybody knew.
            let told = timeout(Duration::from_millis(50), client.read(&mut [0])).await;
            assert!(told.is_err(), "{told:?}");
            server.write_all(&ready).await.expect("written");
            if matches!(then, Then::Lose) {
                let told = timeout(Duration::from_millis(50), client.read(&mut [0])).await;
                assert!(told.is_err(), "{told:?}");
                rig.switch.heal();
            }
            assert_eq!(rest(&mut client).await, last);
            let insert = rig.attempt("INSERT").await;
            assert_eq!(insert.applied, applied, "{insert:?}");
            assert_eq!(insert.faults, [FaultId(3)]);
        }
    }
}

#[tokio::test]
async fn while_a_lost_answer_holds_a_session_the_server_is_sent_nothing_more() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.put("INSERT", End::Forward(Then::Lose));
    let whole = [execute("INSERT INTO t VALUES (1)"), message(b'H', b"")].concat();
    both(&mut client, &mut server, &whole).await;
    // What the client gets before its answer is lost shows that the answer is there.
    let parameter = message(b'S', b"TimeZone\0UTC\0");
    let answer = [parameter.clone(), executed("INSERT 0 1")].concat();
    server.write_all(&answer).await.expect("written");
    expect(&mut client, &parameter).await;
    client
        .write_all(&message(b'S', b""))
        .await
        .expect("written");
    let sent = timeout(Duration::from_millis(100), server.read(&mut [0])).await;
    assert!(sent.is_err(), "its Sync would commit it: {sent:?}");
    rig.switch.heal();
    ends(&mut client).await;
    let insert = rig.attempt("INSERT").await;
    assert_eq!(insert.applied, Applied::No);
}

#[tokio::test]
async fn what_was_committed_within_a_pipeline_stays_so_whatever_ends_its_session() {
    for (end, applied) in [("COMMIT", Applied::Yes), ("ROLLBACK", Applied::No)] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("INSERT", End::Forward(Then::Close(Closing::Fin)));
        let insert = execute("INSERT INTO t VALUES (1)");
        let whole = [execute("BEGIN"), insert, execute(end)].concat();
        both(&mut client, &mut server, &whole).await;
        both(&mut server, &mut client, &executed("BEGIN")).await;
        let parameter = message(b'S', b"TimeZone\0UTC\0");
        let answers = [executed("INSERT 0 1"), executed(end), parameter.clone()];
        server.write_all(&answers.concat()).await.expect("written");
        expect(&mut client, &parameter).await;
        client
            .write_all(&message(b'H', b""))
            .await
            .expect("written");
        ends(&mut client).await;
        assert_eq!(rig.attempt("INSERT").await.applied, applied, "{end}");
    }
}

#[tokio::test]
async fn what_is_due_before_a_session_ends_within_a_pipeline_is_asked_for() {
    let garbage = Bytes::from_static(b"garbage");
    for (end, last) in [
        (End::Close(Closing::Fin), Vec::new()),
        (End::Reply(Reply::Garbage(garbage)), b"garbage".to_vec()),
        (End::Reply(error("57P01")), said("57P01", "DELETE", "t")),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        rig.put("DELETE", end);
        let insert = execute("INSERT INTO t VALUES (1)");
        let delete = execute("DELETE FROM t");
        let whole = [insert.clone(), delete, message(b'S', b"")].concat();
        client.write_all(&whole).await.expect("written");
        // Without it a server keeps its answers until its buffer is full.
        let flush = message(b'H', b"");
        let begun = [parse("DELETE FROM t"), message(b'B', &[0; 8])].concat();
        expect(&mut server, &[insert, begun, flush].concat()).await;
        let begun = [message(b'1', b""), message(b'2', b"")].concat();
        let answer = [executed("INSERT 0 1"), begun].concat();
        both(&mut server, &mut client, &answer).await;
        assert_eq!(rest(&mut client).await, last);
        let insert = rig.attempt("INSERT").await;
        assert_eq!(
            (insert.applied, insert.end),
            (Applied::No, AttemptEnd::Answered)
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_before_a_session_ends_is_lost_all_the_same() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let faults = [
        rig.active("INSERT", End::Forward(Then::Close(Closing::Fin))),
        rig.active("DELETE", End::Close(Closing::Fin)),
    ];
    rig.switch.set(FaultSet::new(faults.to_vec()));
    let insert = execute("INSERT INTO t VALUES (1)");
    let whole = [insert.clone(), execute("DELETE FROM t")].concat();
    client.write_all(&whole).await.expect("written");
    let begun = [parse("DELETE FROM t"), message(b'B', &[0; 8])].concat();
    expect(&mut server, &[insert, begun, message(b'H', b"")].concat()).await;
    let answer = executed("INSERT 0 1");
    server.write_all(&answer).await.expect("written");
    ends(&mut client).await;
    let insert = rig.attempt("INSERT").await;
    assert_eq!((insert.applied, insert.end), (Applied::No, AttemptEnd::Cut));
}

#[tokio::test]
async fn what_was_prepared_long_before_is_no_part_of_a_statement() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    for asks in [b'S', b'H'] {
        let prepared = [parse("SELECT 1"), message(b'D', b"S\0"), message(asks, b"")].concat();
        let described = [message(b'1', b""), message(b'n', b"")].concat();
        let ready = match asks {
            b'S' => message(b'Z', b"I"),
            _ => Vec::new(),
        };
        both(&mut client, &mut server, &prepared).await;
        both(&mut server, &mut client, &[described, ready].concat()).await;
        let asked_at = rig.recorder.now();
        let executes = [
            message(b'B', &[0; 8]),
            message(b'E', &[0; 5]),
            message(b'S', b""),
        ];
        both(&mut client, &mut server, &executes.concat()).await;
        let answers = [
            message(b'2', b""),
            message(b'C', b"SELECT 1\0"),
            message(b'Z', b"I"),
        ];
        both(&mut server, &mut client, &answers.concat()).await;
        let select = rig.attempt("SELECT").await;
        assert!(select.began >= asked_at, "{asked_at:?} {select:?}");
        if asks == b'S' {
            let own = executes[0].len() + executes[1].len();
            assert_eq!(select.bytes_up, own as u64);
        }
    }
}

/// Waits until a fault has acted.
async fn acted(active: &Active) {
    let waiting = async {
        while active.hits() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(waiting).await;
}

#[tokio::test]
async fn a_statement_behind_a_held_one_began_when_it_came() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let active = rig.put("INSERT", End::Hang);
    let whole = [
        query("INSERT INTO t VALUES (1)"),
        query("DELETE FROM t"),
        [execute("UPDATE t SET a = 1"), message(b'S', b"")].concat(),
    ]
    .concat();
    client.write_all(&whole).await.expect("written");
    acted(&active).await;
    let held_at = rig.recorder.now();
    rig.switch.heal();
    expect(&mut server, &whole).await;
    let answers = [
        done("INSERT 0 1", b'I'),
        done("DELETE 1", b'I'),
        [executed("UPDATE 1"), message(b'Z', b"I")].concat(),
    ];
    both(&mut server, &mut client, &answers.concat()).await;
    for operation in ["INSERT", "DELETE", "UPDATE"] {
        let attempt = rig.attempt(operation).await;
        assert!(attempt.began <= held_at, "{held_at:?} {attempt:?}");
    }
}

#[tokio::test]
async fn the_statements_behind_one_that_hangs_leave_with_their_client() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let active = rig.put("INSERT", End::Hang);
    let whole = [
        query("INSERT INTO t VALUES (1)"),
        query("DELETE FROM t"),
        [execute("UPDATE t SET a = 1"), message(b'S', b"")].concat(),
    ];
    client.write_all(&whole.concat()).await.expect("written");
    acted(&active).await;
    drop(client);
    ends(&mut server).await;
    for operation in ["INSERT", "DELETE", "UPDATE"] {
        let attempt = rig.attempt(operation).await;
        assert_eq!(
            (attempt.applied, attempt.end),
            (Applied::No, AttemptEnd::GaveUp)
        );
        assert_eq!(attempt.faults, [FaultId(3)], "{operation}");
    }
}

#[tokio::test]
async fn a_statement_with_more_text_than_is_looked_at_is_not_the_one_before_it() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let long = format!("INSERT INTO t VALUES ('{}')", "w".repeat(100_000));
    for (text, tag) in [("SELECT 1", "SELECT 1"), (&*long, "INSERT 0 1")] {
        let whole = [execute(text), message(b'S', b"")].concat();
        both(&mut client, &mut server, &whole).await;
        let answer = [executed(tag), message(b'Z', b"I")].concat();
        both(&mut server, &mut client, &answer).await;
    }
    let insert = rig.attempt("INSERT").await;
    assert_eq!((&*insert.key, insert.rows), ("t", Some(1)));
}

/// Decides the same about every statement with these words in its text.
#[derive(Debug)]
struct OnText(&'static str, End);

impl Behaviour for OnText {
    fn request(&self, call: &Call, _: &Context) -> Option<Decision> {
        call.target
            .contains(self.0)
            .then(|| Decision::end(self.1.clone()))
    }
}

#[tokio::test]
async fn what_a_statement_says_is_known_however_many_were_prepared_before_it() {
    // Whether those are closed again.
    for closes in [true, false] {
        let rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        let named = |name: &str, text: &str| {
            let body = [name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat();
            message(b'P', &body)
        };
        let long = format!("SELECT '{}'", "w".repeat(8_000));
        for nth in 0..600 {
            let name = format!("s{nth}");
            let close = match closes {
                true => message(b'C', format!("S{name}\0").as_bytes()),
                false => Vec::new(),
            };
            let whole = [named(&name, &long), close, message(b'S', b"")].concat();
            both(&mut client, &mut server, &whole).await;
            both(&mut server, &mut client, &message(b'Z', b"I")).await;
        }
        let active = rig.active_as(Arc::new(OnText("marked", End::Close(Closing::Fin))));
        rig.switch.set(FaultSet::new(vec![Arc::clone(&active)]));
        let bind = message(b'B', b"\0m\0\0\0\0\0\0\0");
        let whole = [
            named("m", "SELECT 1 AS marked"),
            bind,
            message(b'E', &[0; 5]),
        ];
        client.write_all(&whole.concat()).await.expect("written");
        ends(&mut client).await;
        assert_eq!(active.hits(), 1, "closed: {closes}");
    }
}

#[tokio::test]
async fn a_text_that_fails_behind_its_commit_may_have_done_what_it_says() {
    let mut rig = Rig::new().await;
    for (tags, applied) in [
        (&["INSERT 0 1"][..], Applied::No),
        (&["INSERT 0 1", "ROLLBACK"], Applied::No),
        (&["INSERT 0 1", "COMMIT"], Applied::Unknown),
        // The COMMIT of one text says nothing of the next.
        (&["INSERT 0 1"], Applied::No),
    ] {
        let (mut client, mut server) = rig.session().await;
        let text = format!("INSERT INTO t VALUES (1); {}; SELECT 1 / 0", tags.join(";"));
        both(&mut client, &mut server, &query(&text)).await;
        let tags = tags
            .iter()
            .map(|tag| message(b'C', &[tag.as_bytes(), b"\0"].concat()));
        let answer = [tags.collect::<Vec<_>>().concat(), failed(b'I')].concat();
        both(&mut server, &mut client, &answer).await;
        let insert = rig.attempt("INSERT").await;
        assert_eq!(insert.applied, applied, "{text}");
        assert_eq!(insert.code.as_deref(), Some("42601"));
    }
    // Nor does a ROLLBACK take back what its text committed.
    for (tags, applied) in [
        (&["INSERT 0 1", "ROLLBACK"][..], Applied::No),
        (
            &["INSERT 0 1", "COMMIT", "INSERT 0 1", "ROLLBACK"],
            Applied::Unknown,
        ),
    ] {
        let (mut client, mut server) = rig.session().await;
        let text = format!("INSERT INTO t VALUES (1); {}", tags[1..].join(";"));
        both(&mut client, &mut server, &query(&text)).await;
        let tags = tags
            .iter()
            .map(|tag| message(b'C', &[tag.as_bytes(), b"\0"].concat()));
        let answer = [tags.collect::<Vec<_>>().concat(), message(b'Z', b"I")].concat();
        both(&mut server, &mut client, &answer).await;
        assert_eq!(rig.attempt("INSERT").await.applied, applied, "{text}");
    }
}

/// What is asked, and what is answered: simple and extended queries, a pipeline, a COPY each way, an
/// error, and values much larger than any buffer.
fn conversation() -> Vec<(Vec<u8>, Vec<u8>)> {
    let large = vec![b'v'; 150_000];
    let extended = [
        message(b'P', b"\0SELECT a FROM t\0\0\0"),
        message(b'B', &[0; 8]),
        message(b'D', b"P\0"),
        message(b'E', &[0; 5]),
    ];
    let answered = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'n', b""),
        message(b'N', b"SNOTICE\0Msaid by the way\0\0"),
        message(b'D', &large),
        message(b'C', b"SELECT 1\0"),
    ];
    let text = format!("INSERT INTO t VALUES ('{}')", "w".repeat(100_000));
    vec![
        (
            query("SELECT a FROM t"),
            [message(b'D', &large), done("SELECT 1", b'I')].concat(),
        ),
        (
            [extended.concat().repeat(7), message(b'S', b"")].concat(),
            [answered.concat().repeat(7), message(b'Z', b"I")].concat(),
        ),
        (query(&text), done("INSERT 0 1", b'I')),
        (query("DELETE FROM t"), failed(b'I')),
        (query("COPY t FROM STDIN"), message(b'G', &[0; 3])),
        (
            [
                message(b'd', &large),
                message(b'd', b"1\n"),
                message(b'c', b""),
            ]
            .concat(),
            done("COPY 2", b'I'),
        ),
        (
            query("COPY t TO STDOUT"),
            [
                message(b'H', &[0; 3]),
                message(b'd', &large),
                message(b'c', b""),
                done("COPY 1", b'I'),
            ]
            .concat(),
        ),
    ]
}

async fn send_in_pieces(stream: &mut TcpStream, mut bytes: &[u8], pieces: &[usize]) {
    for piece in pieces.iter().cycle() {
        if bytes.is_empty() {
            return;
        }
        let (now, later) = bytes.split_at((*piece).min(bytes.len()));
        stream.write_all(now).await.expect("written");
        tokio::task::yield_now().await;
        bytes = later;
    }
}

/// Holds the conversation in pieces of these sizes; what was observed of its statements.
async fn observed_in(up: &[usize], down: &[usize]) -> Vec<(String, String, Applied, u64, u64)> {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    client.set_nodelay(true).expect("set");
    server.set_nodelay(true).expect("set");
    rig.attempt("CONNECT").await;
    for (asked, answer) in conversation() {
        let ((), ()) = tokio::join!(
            send_in_pieces(&mut client, &asked, up),
            expect(&mut server, &asked)
        );
        let ((), ()) = tokio::join!(
            send_in_pieces(&mut server, &answer, down),
            expect(&mut client, &answer)
        );
    }
    let mut seen = Vec::new();
    while seen.len() < 12 {
        if let Some(Observation::Attempt(one)) = soon(rig.observations.recv()).await {
            assert_eq!(one.end, AttemptEnd::Answered);
            let (operation, key) = (one.operation.to_string(), one.key.to_string());
            seen.push((operation, key, one.applied, one.bytes_up, one.bytes_down));
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn in_whatever_pieces_they_come_the_messages_are_the_same(
        up in prop::collection::vec(1..2000_usize, 1..30),
        down in prop::collection::vec(1..2000_usize, 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let whole = observed_in(&[usize::MAX], &[usize::MAX]).await;
            assert_eq!(whole.len(), 12);
            assert_eq!(observed_in(&up, &down).await, whole);
        });
    }
}

/// Waits until the fault has acted on bytes.
async fn acts(fault: &Active) {
    soon(async {
        while fault.hits() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn on_bytes(keys: &str) -> FaultSet {
    sample::set(&format!("on = 'x'\n{keys}"), Protocol::Postgres)
}

#[tokio::test]
async fn each_statement_takes_the_delay_of_its_bytes_and_is_put_down_to_it() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let one = [query("SELECT 1"), done("SELECT 1", b'I')];
    for direction in ["up", "down"] {
        let keys = format!("kind = 'latency'\ndelay = '60ms'\ndirection = '{direction}'");
        rig.switch.set(on_bytes(&keys));
        for _ in 0..3 {
            both(&mut client, &mut server, &one[0]).await;
            both(&mut server, &mut client, &one[1]).await;
            let seen = rig.attempt("SELECT").await;
            assert_eq!(seen.faults.len(), 1, "{direction}");
            assert!(seen.duration() >= Duration::from_millis(59), "{seen:?}");
        }
    }
    rig.switch.set(FaultSet::default());
    both(&mut client, &mut server, &one[0]).await;
    both(&mut server, &mut client, &one[1]).await;
    assert_eq!(rig.attempt("SELECT").await.faults, []);
}

#[tokio::test]
async fn who_leaves_while_the_answer_is_held_gave_up_then() {
    for answer in [done("SELECT 1", b'I'), failed(b'I')] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.session().await;
        let set = on_bytes("kind = 'latency'\ndelay = '9s'");
        let fault = Arc::clone(&set.faults()[0]);
        rig.switch.set(set);
        both(&mut client, &mut server, &query("SELECT 1")).await;
        server.write_all(&answer).await.expect("written");
        acts(&fault).await;
        drop(client);
        let seen = rig.attempt("SELECT").await;
        assert_eq!((seen.end, seen.faults.len()), (AttemptEnd::GaveUp, 1));
        assert_eq!((seen.first_byte, seen.code.clone()), (None, None));
        assert!(seen.duration() < Duration::from_secs(6), "{seen:?}");
    }
}

#[tokio::test]
async fn a_statement_that_is_cut_on_its_way_up_is_cut_by_its_fault() {
    let text = "INSERT INTO t VALUES (1)";
    let parse = message(b'P', format!("\0{text}\0\0\0").as_bytes());
    let bind = message(b'B', &[b'x'; 60]);
    for (asked, kept) in [
        (query(text), query(text).len() - 3),
        (parse.clone(), parse.len() - 1),
        ([parse.clone(), bind].concat(), parse.len() + 12),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, _server) = rig.session().await;
        let keys = format!("kind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'");
        rig.switch.set(on_bytes(&keys));
        client.write_all(&asked).await.expect("written");
        let seen = rig.attempt("INSERT").await;
        assert_eq!((seen.end, seen.applied), (AttemptEnd::Cut, Applied::No));
        assert_eq!(seen.faults.len(), 1);
    }
    let mut rig = Rig::new().await;
    let keys = "kind = 'truncate'\ndirection = 'up'\nafter_bytes = '10B'";
    rig.switch.set(on_bytes(keys));
    let mut client = rig.connect().await;
    client.write_all(&startup()).await.expect("written");
    let seen = rig.attempt("CONNECT").await;
    assert_eq!((seen.end, seen.faults.len()), (AttemptEnd::Cut, 1));
}

const HOUR: Duration = Duration::from_secs(3600);

async fn silent(stream: &mut TcpStream) {
    let silence = timeout(Duration::from_millis(150), stream.read_u8()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_delayed_close_comes_after_its_time_and_who_leaves_before_has_given_up() {
    let delay = Duration::from_millis(200);
    let closings: [fn(Duration) -> Closing; 2] = [Closing::ResetAfter, Closing::SlowClose];
    for closing in closings {
        for is_after in [false, true] {
            for (delay, leaves) in [(delay, false), (HOUR, true)] {
                let mut rig = Rig::new().await;
                let (mut client, mut server) = rig.session().await;
                let closing = closing(delay);
                rig.put(
                    "SELECT",
                    if is_after {
                        End::Forward(Then::Close(closing))
                    } else {
                        End::Close(closing)
                    },
                );
                client.write_all(&query("SELECT 1")).await.expect("written");
                if is_after {
                    expect(&mut server, &query("SELECT 1")).await;
                    let answer = done("SELECT 1", b'I');
                    server.write_all(&answer).await.expect("written");
                }
                if leaves {
                    silent(&mut client).await;
                    // Nobody reads it any more.
                    client.write_all(&query("SELECT 2")).await.expect("written");
                    drop(client);
                } else {
                    let read = soon(client.read(&mut [0])).await;
                    let is_reset = matches!(closing, Closing::ResetAfter(_));
                    assert_eq!(read.is_err(), is_reset, "{closing:?}: {read:?}");
                }
                let seen = rig.attempt("SELECT").await;
                let end = [AttemptEnd::Cut, AttemptEnd::GaveUp][usize::from(leaves)];
                assert_eq!((seen.end, &*seen.faults), (end, &[FaultId(3)][..]));
                assert!(leaves || seen.duration() >= delay, "{seen:?}");
                let applied = [Applied::No, Applied::Yes][usize::from(is_after)];
                assert_eq!(seen.applied, applied);
            }
        }
        // Who connects is no better off.
        for (delay, leaves) in [(delay, false), (HOUR, true)] {
            let mut rig = Rig::new().await;
            rig.put("CONNECT", End::Close(closing(delay)));
            let mut client = rig.connect().await;
            client.write_all(&startup()).await.expect("written");
            if leaves {
                silent(&mut client).await;
                drop(client);
            }
            let seen = rig.attempt("CONNECT").await;
            let end = [AttemptEnd::Cut, AttemptEnd::GaveUp][usize::from(leaves)];
            assert_eq!((seen.end, &*seen.faults), (end, &[FaultId(3)][..]));
            assert!(leaves || seen.duration() >= delay, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_which_only_the_beginning_came_was_acted_on_and_not_heard() {
    let rows = [message(b'T', &[0, 0]), message(b'D', &[0; 20])].concat();
    for then in [Then::Late(HOUR), Then::Lose] {
        for (answer, hits) in [(&rows[..], 1), (b"", 0)] {
            let mut rig = Rig::new().await;
            let (mut client, mut server) = rig.session().await;
            let active = rig.put("SELECT", End::Forward(then.clone()));
            both(&mut client, &mut server, &query("SELECT 1")).await;
            server.write_all(answer).await.expect("written");
            silent(&mut client).await;
            drop(client);
            let seen = rig.attempt("SELECT").await;
            assert_eq!(seen.end, AttemptEnd::GaveUp);
            assert_eq!(seen.faults.len() as u64, hits, "{then:?}");
            assert_eq!(active.hits(), hits, "{then:?}");
            assert_eq!((seen.first_byte, seen.bytes_down), (None, 0), "{then:?}");
            assert_eq!(seen.applied, Applied::Unknown);
        }
    }
}

#[tokio::test]
async fn what_one_hang_hands_to_the_next_was_not_let_go_and_its_client_gave_up() {
    let on_request: fn() -> Arc<dyn Behaviour> = || Arc::new(On("SELECT", End::Hang));
    let on_connection: fn() -> Arc<dyn Behaviour> = || Arc::new(Hanging);
    for (first, second) in [
        (on_request, on_request),
        (on_connection, on_connection),
        (on_request, on_connection),
        (on_connection, on_request),
    ] {
        for gives_up in [true, false] {
            let mut rig = Rig::new().await;
            let (mut client, mut server) = rig.session().await;
            let active = rig.active_as(first());
            rig.switch.set(FaultSet::new(vec![Arc::clone(&active)]));
            client.write_all(&query("SELECT 1")).await.expect("written");
            acts(&active).await;
            silent(&mut server).await;
            let next = rig.active_of(FaultId(4), second());
            rig.switch.set(FaultSet::new(vec![Arc::clone(&next)]));
            acts(&next).await;
            silent(&mut server).await;
            if gives_up {
                drop(client);
            } else {
                rig.switch.heal();
                expect(&mut server, &query("SELECT 1")).await;
                both(&mut server, &mut client, &done("SELECT 1", b'I')).await;
            }
            let seen = rig.attempt("SELECT").await;
            assert_eq!(seen.faults, [FaultId(3), FaultId(4)]);
            assert_eq!(seen.released.is_some(), !gives_up, "{seen:?}");
            let end = [AttemptEnd::Answered, AttemptEnd::GaveUp][usize::from(gives_up)];
            assert_eq!(seen.end, end);
        }
    }
}

#[tokio::test]
async fn an_error_that_cannot_be_told_leaves_the_delay_before_it_as_it_was() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    both(&mut client, &mut server, &query("BEGIN")).await;
    both(&mut server, &mut client, &done("BEGIN", b'T')).await;
    both(&mut client, &mut server, &query("UPDATE t SET a = 1")).await;
    both(&mut server, &mut client, &failed(b'E')).await;
    let delay = Duration::from_millis(100);
    let slow = rig.active_as(Arc::new(Slow("SELECT", delay)));
    let reply = End::Reply(error("40001"));
    let fails = rig.active_of(FaultId(4), Arc::new(On("SELECT", reply)));
    let both_of_them = vec![Arc::clone(&slow), Arc::clone(&fails)];
    rig.switch.set(FaultSet::new(both_of_them));
    both(&mut client, &mut server, &query("SELECT 1")).await;
    both(&mut server, &mut client, &failed(b'E')).await;
    let seen = rig.attempt("SELECT").await;
    assert!(seen.duration() >= delay, "{seen:?}");
    assert_eq!(seen.faults, [FaultId(3)]);
    assert_eq!((slow.hits(), fails.hits()), (1, 0));
}

#[tokio::test]
async fn what_a_procedure_committed_before_its_error_may_stay() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    for (text, operation, is_in_transaction, applied) in [
        ("CALL move()", "CALL", false, Applied::Unknown),
        ("DO $$ BEGIN COMMIT; END $$", "DO", false, Applied::Unknown),
        ("INSERT INTO t VALUES (1)", "INSERT", false, Applied::No),
        // There it can commit nothing.
        ("CALL move()", "CALL", true, Applied::No),
    ] {
        let status = if is_in_transaction {
            both(&mut client, &mut server, &query("BEGIN")).await;
            both(&mut server, &mut client, &done("BEGIN", b'T')).await;
            b'E'
        } else {
            b'I'
        };
        both(&mut client, &mut server, &query(text)).await;
        both(&mut server, &mut client, &failed(status)).await;
        let seen = rig.attempt(operation).await;
        assert_eq!(
            (seen.applied, seen.end),
            (applied, AttemptEnd::Answered),
            "{text}"
        );
    }
}

#[tokio::test]
async fn who_acted_on_a_connection_before_is_not_blamed_for_its_cut() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    let before = rig.active_as(Arc::new(Hanging));
    rig.switch.set(FaultSet::new(vec![Arc::clone(&before)]));
    acts(&before).await;
    rig.switch.set(on_bytes(
        "kind = 'truncate'\ndirection = 'down'\nafter_bytes = '3B'",
    ));
    both(&mut client, &mut server, &query("SELECT 1")).await;
    let answer = done("SELECT 1", b'I');
    server.write_all(&answer).await.expect("written");
    expect(&mut client, &answer[..3]).await;
    let seen = rig.attempt("SELECT").await;
    assert_eq!(
        (seen.end, &*seen.faults),
        (AttemptEnd::Cut, &[FaultId(0)][..])
    );
    // The connection itself met both.
    assert_eq!(rig.connection().await.faults, [FaultId(0), FaultId(3)]);
}
