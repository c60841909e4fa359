//! What a client and a server see of each other through the proxy, byte for byte, over real
//! sockets; and what is observed meanwhile. The server is played by the tests.

mod limits;

use crate::{
    fault::{Active, FaultSet, Switch, sample},
    history::{Attempt, AttemptEnd, Observation, Recorder},
    protocol::{
        Applied, Protocol,
        mysql::packet::{FULL, packet},
    },
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls},
    seed::Seed,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A greeting that offers TLS and compression beside the rest, as MariaDB's does.
const GREETING: &[u8] = b"\x0a5.5.5-10.11.6-MariaDB\0\x21\0\0\0scramble\0\
    \xfe\xff\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0scramble-two\0mysql_native_password\0";

/// The same without TLS and what hides answers.
const OFFERED: &[u8] = b"\x0a5.5.5-10.11.6-MariaDB\0\x21\0\0\0scramble\0\
    \xde\xf7\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x0c\0\0\0scramble-two\0mysql_native_password\0";

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const OK_OPEN: &[u8] = b"\0\x01\0\x03\0\0\0";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// What a client says to the greeting, of version 4.1 and with EOF packets.
fn answer() -> Vec<u8> {
    let mut payload = vec![0; 32];
    payload[1] = 0x02;
    payload.extend_from_slice(b"app\0\x14password-as-it-seems\0");
    payload
}

fn query(text: &str) -> Vec<u8> {
    packet(0, format!("\x03{text}").as_bytes())
}

struct Rig {
    proxy: Proxy,
    server: TcpListener,
    switch: Switch,
    observed: mpsc::Receiver<Observation>,
    /// The history outlives the proxy.
    recorder: Recorder,
}

impl Rig {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (recorder, observed) = Recorder::channel(10_000);
        let switch = Switch::new();
        let config = Config {
            dependency: "db".into(),
            protocol: Protocol::Mysql,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: "127.0.0.1".to_owned(),
                port: server.local_addr().unwrap().port(),
                tls: false,
            },
            upstream_tls: tls::client_config(&[]).unwrap(),
            virtual_host: None,
            capture: BTreeMap::new(),
            key: None,
            limits,
            seed: Seed(1),
        };
        let proxy = Proxy::start(config, switch.clone(), recorder.clone()).unwrap();
        Self {
            proxy,
            server,
            switch,
            observed,
            recorder,
        }
    }

    fn arm(&self, keys: &str) {
        let text = format!("on = 'x'\n{keys}");
        self.switch.set(sample::set(&text, Protocol::Mysql));
    }

    fn lift(&self) {
        self.switch.set(FaultSet::default());
    }

    async fn client(&self) -> Peer {
        Peer(TcpStream::connect(self.proxy.address()).await.unwrap())
    }

    async fn accept(&self) -> Peer {
        Peer(soon("a connect", self.server.accept()).await.unwrap().0)
    }

    /// A client and its server after authentication.
    async fn pair(&mut self) -> (Peer, Peer) {
        let mut client = self.client().await;
        let mut server = self.accept().await;
        server.send(packet(0, GREETING)).await;
        client.expect(packet(0, OFFERED)).await;
        client.send(packet(1, &answer())).await;
        server.expect(packet(1, &answer())).await;
        server.send(packet(2, OK)).await;
        client.expect(packet(2, OK)).await;
        let seen = self.attempt().await;
        assert_eq!((&*seen.operation, seen.applied), ("CONNECT", Applied::Yes));
        (client, server)
    }

    async fn attempt(&mut self) -> Attempt {
        loop {
            match soon("an observation", self.observed.recv()).await {
                Some(Observation::Attempt(attempt)) => return attempt,
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        }
    }
}

struct Peer(TcpStream);

impl Peer {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let read = soon("the bytes expected", self.0.read_exact(&mut got)).await;
        assert!(read.is_ok(), "{read:?}: {}", got.escape_ascii());
        if got != wanted {
            assert_eq!(
                got.escape_ascii().to_string(),
                wanted.escape_ascii().to_string()
            );
        }
    }

    async fn expect_fin(&mut self) {
        let mut rest = Vec::new();
        let read = soon("the end", self.0.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "{read:?}");
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    async fn expect_reset(&mut self) {
        let mut rest = Vec::new();
        let read = soon("the reset", self.0.read_to_end(&mut rest)).await;
        let kind = read.map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::ConnectionReset), "{rest:?}");
    }

    async fn expect_silence(&mut self) {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(150), self.0.read(&mut byte)).await;
        assert!(read.is_err(), "{read:?} {byte:?}");
    }
}

async fn ask(client: &mut Peer, server: &mut Peer, text: &str, answer: &[u8]) {
    client.send(query(text)).await;
    server.expect(query(text)).await;
    server.send(answer).await;
    client.expect(answer).await;
}

/// A result set of one column and one row.
fn rows() -> Vec<u8> {
    [
        packet(1, b"\x01"),
        packet(2, b"\x03def"),
        packet(3, b"\xfe\0\0\x02\0"),
        packet(4, b"\x01a"),
        packet(5, b"\xfe\0\0\x02\0"),
    ]
    .concat()
}

const DEADLOCK: &[u8] =
    b"\xff\xbd\x04#40001Deadlock found when trying to get lock; try restarting transaction";
const LOCK_WAIT: &[u8] =
    b"\xff\xb5\x04#HY000Lock wait timeout exceeded; try restarting transaction";

#[tokio::test]
async fn statements_and_answers_pass_and_are_observed() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "select a from T", &rows()).await;
    let refused = packet(1, b"\xff\x7a\x04#42S02Table 'x' doesn't exist");
    ask(&mut client, &mut server, "update x set a = 1", &refused).await;
    for (operation, key, code, applied) in [
        ("SELECT", "t", None, Applied::Yes),
        ("UPDATE", "x", Some("1146"), Applied::No),
    ] {
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
        assert_eq!((seen.code.as_deref(), seen.applied), (code, applied));
        assert_eq!(seen.end, AttemptEnd::Answered);
        assert!(seen.bytes_up > 0 && seen.bytes_down > 0);
    }
}

#[tokio::test]
async fn with_little_room_for_observations_a_statement_is_held_up_and_counted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "select a from T", &rows()).await;
    assert_eq!(rig.recorder.take_waited(), None);
    rig.recorder.fill();
    ask(&mut client, &mut server, "select a from T", &rows()).await;
    let waited = rig.recorder.take_waited().expect("it was held up");
    assert_eq!(waited.count, 1);
}

#[tokio::test]
async fn how_many_rows_a_statement_changed_is_kept() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let one = packet(1, b"\0\x01\0\x02\0\0\0");
    let none = packet(1, OK);
    for (text, answer, rows) in [
        ("insert into t values (1)", &one, Some(1)),
        ("insert ignore into t values (1)", &none, Some(0)),
        ("update t set a = 1", &none, Some(0)),
        // Of these the server says 0 whatever they did.
        ("create table t (a int)", &none, None),
        ("select a from t", &rows(), None),
    ] {
        ask(&mut client, &mut server, text, answer).await;
        let seen = rig.attempt().await;
        assert_eq!((seen.rows, seen.applied), (rows, Applied::Yes), "{text}");
        // The client did not ask for the rows that it found.
        assert_eq!(seen.perhaps_held, rows == Some(0), "{text}");
    }
    ask(&mut client, &mut server, "delete from t", &none).await;
    let seen = rig.attempt().await;
    assert_eq!((seen.rows, seen.perhaps_held), (Some(0), false));
}

#[tokio::test]
async fn prepared_statements_are_known_by_what_they_were_prepared_as() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let prepare = packet(0, b"\x16insert into Jobs values (?)");
    client.send(&prepare).await;
    server.expect(&prepare).await;
    let prepared = [
        packet(1, b"\0\x05\0\0\0\0\0\x01\0\0\0\0"),
        packet(2, b"\x03def"),
        packet(3, b"\xfe\0\0\x02\0"),
    ]
    .concat();
    server.send(&prepared).await;
    client.expect(&prepared).await;
    let (long, execute) = (
        packet(0, b"\x18\x05\0\0\0\0\0data"),
        packet(0, b"\x17\x05\0\0\0\0\x01\0\0\0"),
    );
    client.send([&long[..], &execute].concat()).await;
    server.expect([&long[..], &execute].concat()).await;
    server.send(packet(1, OK)).await;
    client.expect(packet(1, OK)).await;
    let close = packet(0, b"\x19\x05\0\0\0");
    client
        .send([&close[..], &packet(0, b"\x0e")].concat())
        .await;
    server
        .expect([&close[..], &packet(0, b"\x0e")].concat())
        .await;
    server.send(packet(1, OK)).await;
    client.expect(packet(1, OK)).await;
    for (operation, key) in [("PREPARE", "jobs"), ("INSERT", "jobs"), ("PING", "")] {
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
    }
}

#[tokio::test]
async fn too_many_connections_come_in_place_of_the_greeting() {
    let mut rig = Rig::new().await;
    rig.arm("kind = 'error'\nerror = '1040'");
    let mut client = rig.client().await;
    client
        .expect(b"\x17\0\0\0\xff\x10\x04Too many connections")
        .await;
    client.expect_fin().await;
    let seen = rig.attempt().await;
    assert_eq!(
        (&*seen.operation, seen.code.as_deref()),
        ("CONNECT", Some("1040"))
    );
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
}

#[tokio::test]
async fn a_users_limit_is_told_once_it_is_known_who_it_is() {
    let mut rig = Rig::new().await;
    rig.arm("kind = 'error'\nerror = '1203'\nmessage = 'User app has enough'");
    let mut client = rig.client().await;
    let mut server = rig.accept().await;
    server.send(packet(0, GREETING)).await;
    client.expect(packet(0, OFFERED)).await;
    client.send(packet(1, &answer())).await;
    client
        .expect(packet(2, b"\xff\xb3\x04#42000User app has enough"))
        .await;
    client.expect_fin().await;
    server.expect_fin().await;
    assert_eq!(rig.attempt().await.code.as_deref(), Some("1203"));
}

#[tokio::test]
async fn what_a_server_says_to_a_connection_passes() {
    let mut rig = Rig::new().await;
    let mut client = rig.client().await;
    let mut server = rig.accept().await;
    let full = b"\x17\0\0\0\xff\x10\x04Too many connections";
    server.send(full).await;
    client.expect(full).await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.code.as_deref(), seen.applied),
        (Some("1040"), Applied::No)
    );
    // Another plugin, a wrong password.
    let mut client = rig.client().await;
    let mut server = rig.accept().await;
    server.send(packet(0, GREETING)).await;
    client.expect(packet(0, OFFERED)).await;
    client.send(packet(1, &answer())).await;
    server.expect(packet(1, &answer())).await;
    for (theirs, ours) in [(packet(2, b"\xfeplugin\0salt"), packet(3, b"scrambled"))] {
        server.send(&theirs).await;
        client.expect(&theirs).await;
        client.send(&ours).await;
        server.expect(&ours).await;
    }
    let denied = packet(4, b"\xff\x15\x04#28000Access denied");
    server.send(&denied).await;
    client.expect(&denied).await;
    client.expect_fin().await;
    assert_eq!(rig.attempt().await.code.as_deref(), Some("1045"));
}

#[tokio::test]
async fn a_deadlock_is_rolled_back_at_the_server_and_a_lock_wait_is_not() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "begin", &packet(1, OK_OPEN)).await;
    rig.arm("kind = 'error'\nerror = '1205'");
    client.send(query("update t set a = 1")).await;
    client.expect(packet(1, LOCK_WAIT)).await;
    ask(&mut client, &mut server, "select 1", &packet(1, OK_OPEN)).await;
    rig.arm("kind = 'error'\nerror = '1213'");
    client.send(query("update t set a = 1")).await;
    server.expect(query("ROLLBACK")).await;
    server.send(packet(1, OK)).await;
    client.expect(packet(1, DEADLOCK)).await;
    // There is no transaction any more: nothing to roll back.
    client.send(query("update t set a = 1")).await;
    client.expect(packet(1, DEADLOCK)).await;
    ask(&mut client, &mut server, "select 1", &rows()).await;
    let codes: Vec<Option<String>> = {
        let mut codes = Vec::new();
        for _ in 0..6 {
            codes.push(rig.attempt().await.code.map(|code| code.to_string()));
        }
        codes
    };
    let wanted = [None, Some("1205"), None, Some("1213"), Some("1213"), None];
    assert_eq!(codes, wanted.map(|code| code.map(str::to_owned)));
}

#[tokio::test]
async fn a_transaction_that_begins_within_a_text_commits_the_one_before() {
    const MORE_OPEN: &[u8] = b"\0\x01\0\x0b\0\0\0";
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "begin", &packet(1, OK_OPEN)).await;
    let first = "insert into t values (1)";
    ask(&mut client, &mut server, first, &packet(1, OK_OPEN)).await;
    let answer = [packet(1, MORE_OPEN), packet(2, OK_OPEN)].concat();
    let second = "begin; insert into u values (2)";
    ask(&mut client, &mut server, second, &answer).await;
    ask(&mut client, &mut server, "rollback", &packet(1, OK)).await;
    let mut inserts = Vec::new();
    for _ in 0..4 {
        let seen = rig.attempt().await;
        if *seen.operation == *"INSERT" {
            inserts.push((seen.key.to_string(), seen.applied));
        }
    }
    let wanted = [("t", Applied::Yes), ("u", Applied::No)];
    assert_eq!(
        inserts,
        wanted.map(|(key, applied)| (key.to_owned(), applied))
    );
}

/// A session whose server was asked to roll back, for a client that is to be told of a deadlock.
async fn rolling_back(rig: &mut Rig) -> (Peer, Peer) {
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "begin", &packet(1, OK_OPEN)).await;
    assert_eq!(&*rig.attempt().await.operation, "BEGIN");
    rig.arm("kind = 'error'\nerror = '1213'");
    client.send(query("update t set a = 1")).await;
    server.expect(query("ROLLBACK")).await;
    (client, server)
}

#[tokio::test]
async fn a_server_that_does_not_roll_back_in_time_is_not_waited_for() {
    let limits = Limits {
        undo: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut rig = Rig::with(limits).await;
    let (mut client, _server) = rolling_back(&mut rig).await;
    client.expect_reset().await;
    let seen = rig.attempt().await;
    assert_eq!(
        (&*seen.operation, seen.end, seen.applied),
        ("UPDATE", AttemptEnd::UpstreamFailed, Applied::No)
    );
    let how = loop {
        if let Some(Observation::Connection(connection)) =
            soon("an observation", rig.observed.recv()).await
        {
            break connection.how;
        }
    };
    assert_eq!(how, "upstream did not roll back in time");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_transaction_is_rolled_back_is_noticed() {
    let mut rig = Rig::new().await;
    let (client, mut server) = rolling_back(&mut rig).await;
    let left = std::time::Instant::now();
    drop(client);
    server.expect_fin().await;
    let seen = rig.attempt().await;
    assert_eq!((seen.end, seen.applied), (AttemptEnd::GaveUp, Applied::No));
    assert!(left.elapsed() < Limits::default().undo, "not by the bound");
}

#[tokio::test]
async fn an_error_after_the_statement_was_applied_takes_the_place_of_its_answer() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'error'\nerror = '1317'\napplied = 'yes'");
    client.send(query("select a from t")).await;
    server.expect(query("select a from t")).await;
    server.send(rows()).await;
    client
        .expect(packet(
            1,
            b"\xff\x25\x05#70100Query execution was interrupted",
        ))
        .await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.code.as_deref(), seen.applied),
        (Some("1317"), Applied::Yes)
    );
    rig.lift();
    ask(&mut client, &mut server, "select 1", &rows()).await;
}

#[tokio::test]
async fn what_failed_halfway_may_have_done_its_first_half() {
    const OK_MORE: &[u8] = b"\0\x01\0\x0a\0\0\0";
    const NO_PROCEDURE: &[u8] = b"\xff\x19\x05#42000PROCEDURE d.p does not exist";
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let failed = packet(1, LOCK_WAIT);
    let halfway = [packet(1, OK_MORE), packet(2, LOCK_WAIT)].concat();
    for (text, answer, applied) in [
        ("insert into t values (1)", failed.clone(), Applied::No),
        (
            "insert into t values (1); insert into u values (1)",
            failed.clone(),
            Applied::No,
        ),
        (
            "insert into t values (1); insert into u values (1)",
            halfway,
            Applied::Unknown,
        ),
        // A procedure says nothing of what it did before its error.
        ("call p()", failed, Applied::Unknown),
        ("call p()", packet(1, NO_PROCEDURE), Applied::No),
    ] {
        ask(&mut client, &mut server, text, &answer).await;
        assert_eq!(rig.attempt().await.applied, applied, "{text}");
    }
}

#[tokio::test]
async fn errors_that_end_a_session_end_it() {
    for errno in ["1053", "1927"] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        rig.arm(&format!("kind = 'error'\nerror = '{errno}'"));
        client.send(query("select 1")).await;
        let mut bytes = Vec::new();
        soon("the error", client.0.read_to_end(&mut bytes))
            .await
            .unwrap();
        assert_eq!(bytes[4], 0xff);
        server.expect_fin().await;
        assert_eq!(rig.attempt().await.code.as_deref(), Some(errno));
    }
}

#[tokio::test]
async fn answers_are_held_lost_or_cut() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'hang'\nwhen = { table = 't' }");
    client.send(query("select a from t")).await;
    server.expect_silence().await;
    rig.lift();
    server.expect(query("select a from t")).await;
    server.send(rows()).await;
    client.expect(rows()).await;
    assert!(rig.attempt().await.released.is_some());
    for (keys, applied) in [
        ("kind = 'lost-reply'\nthen = 'reset'", Applied::Yes),
        ("kind = 'reset'", Applied::No),
        ("kind = 'close'", Applied::No),
        ("kind = 'empty-reply'", Applied::No),
    ] {
        rig.lift();
        let (mut client, mut server) = rig.pair().await;
        rig.arm(keys);
        client.send(query("insert into t values (1)")).await;
        if applied == Applied::Yes {
            server.expect(query("insert into t values (1)")).await;
            server.send(packet(1, OK)).await;
        }
        if keys.contains("reset") {
            client.expect_reset().await;
        } else {
            client.expect_fin().await;
        }
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.end, seen.applied),
            (AttemptEnd::Cut, applied),
            "{keys}"
        );
    }
}

#[tokio::test]
async fn a_statement_can_be_carried_out_several_times() {
    const INSERT: &str = "insert into t values (1)";
    const REPEATED: &str =
        "kind = 'ambiguous-write'\napplied = 'repeated'\nseen = 'late'\ndelay = '1ms'";
    let done = packet(1, b"\0\x01\0\x02\0\0\0");
    let known = packet(1, b"\xff\x26\x04#23000Duplicate entry");
    for (first, second, applied, repeated) in [
        (&done, &done, Applied::Yes, 1),
        (&done, &known, Applied::Yes, 0),
        (&known, &known, Applied::No, 0),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        rig.arm(REPEATED);
        client.send(query(INSERT)).await;
        server.expect(query(INSERT)).await;
        server.send(first).await;
        server.expect(query(INSERT)).await;
        server.send(second).await;
        client.expect(second).await;
        let seen = rig.attempt().await;
        assert_eq!((seen.applied, seen.repeated), (applied, repeated));
        assert_eq!(seen.faults.len(), 1);
        // Reads and what ends a transaction pass once.
        ask(&mut client, &mut server, "select a from t", &rows()).await;
        ask(&mut client, &mut server, "commit", &packet(1, OK)).await;
        for _ in 0..2 {
            assert_eq!(rig.attempt().await.faults, []);
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_statement_that_nobody_answered_may_have_been_carried_out() {
    const INSERT: &str = "insert into t values (1)";
    let done = packet(1, b"\0\x01\0\x02\0\0\0");
    for (answered, applied, unknown) in [(0, Applied::Unknown, 0), (1, Applied::Yes, 1)] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        rig.arm("kind = 'ambiguous-write'\napplied = 'repeated'\ntimes = 4\nseen = 'time-out'");
        client.send(query(INSERT)).await;
        server.expect(query(INSERT)).await;
        for _ in 0..answered {
            server.send(&done).await;
            server.expect(query(INSERT)).await;
        }
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.applied, seen.repeated, seen.repeated_unknown),
            (applied, 0, unknown)
        );
    }
}

#[tokio::test]
async fn what_was_repeated_in_a_transaction_counts_once_that_is_committed() {
    const INSERT: &str = "insert into t values (1)";
    let begun = packet(1, b"\0\0\0\x03\0\0\0");
    let open = packet(1, b"\0\x01\0\x03\0\0\0");
    for (end, applied, repeated) in [("commit", Applied::Yes, 1), ("rollback", Applied::No, 0)] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        rig.arm("kind = 'ambiguous-write'\napplied = 'repeated'\nseen = 'late'\ndelay = '1ms'");
        ask(&mut client, &mut server, "begin", &begun).await;
        client.send(query(INSERT)).await;
        for _ in 0..2 {
            server.expect(query(INSERT)).await;
            server.send(&open).await;
        }
        client.expect(&open).await;
        ask(&mut client, &mut server, end, &packet(1, OK)).await;
        let mut insert = rig.attempt().await;
        while &*insert.operation != "INSERT" {
            insert = rig.attempt().await;
        }
        assert_eq!(
            (insert.applied, insert.repeated),
            (applied, repeated),
            "{end}"
        );
    }
}

#[tokio::test]
async fn what_a_commit_did_whose_answer_is_lost_its_client_cannot_know() {
    let lose = "kind = 'lost-reply'\nthen = 'reset'\nwhen = { operation = 'COMMIT' }";
    let never = "kind = 'hang'\nwhen = { operation = 'COMMIT' }";
    let open = packet(1, b"\0\x01\0\x03\0\0\0");
    for (fault, applied, is_told) in [
        ("", Applied::Yes, true),
        (lose, Applied::Yes, false),
        // Nobody answers, so nobody knows.
        ("silent", Applied::Unknown, false),
        // It never arrives, and the server takes back what it belongs to.
        (never, Applied::No, true),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        ask(&mut client, &mut server, "insert into t values (1)", &open).await;
        if fault.starts_with("kind") {
            rig.arm(fault);
        }
        client.send(query("commit")).await;
        if fault != never {
            server.expect(query("commit")).await;
        }
        if applied == Applied::Yes {
            server.send(packet(1, OK)).await;
        }
        if fault.is_empty() {
            client.expect(packet(1, OK)).await;
        } else if fault == lose {
            client.expect_reset().await;
        }
        drop(client);
        let mut insert = rig.attempt().await;
        while &*insert.operation != "INSERT" {
            insert = rig.attempt().await;
        }
        assert_eq!(
            (insert.applied, insert.end, insert.acknowledged()),
            (applied, AttemptEnd::Answered, is_told),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn what_a_late_commit_did_is_known_though_its_client_left_before_it_heard() {
    let late = |operation| {
        format!("kind = 'late-reply'\ndelay = '1h'\nwhen = {{ operation = '{operation}' }}")
    };
    let open = packet(1, b"\0\x01\0\x03\0\0\0");
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "insert into t values (1)", &open).await;
    rig.arm(&late("COMMIT"));
    client.send(query("commit")).await;
    server.expect(query("commit")).await;
    server.send(packet(1, OK)).await;
    client.expect_silence().await;
    drop(client);
    for (operation, end) in [
        ("INSERT", AttemptEnd::Answered),
        ("COMMIT", AttemptEnd::GaveUp),
    ] {
        let mut seen = rig.attempt().await;
        while &*seen.operation != operation {
            seen = rig.attempt().await;
        }
        assert_eq!((seen.end, seen.applied), (end, Applied::Yes), "{operation}");
        assert!(!seen.acknowledged(), "{seen:?}");
    }
    // Of one that is still open all is taken back with its session.
    rig.arm(&late("INSERT"));
    let (mut client, mut server) = rig.pair().await;
    client.send(query("insert into t values (1)")).await;
    server.expect(query("insert into t values (1)")).await;
    server.send(&open).await;
    client.expect_silence().await;
    drop(client);
    let seen = rig.attempt().await;
    assert_eq!((seen.end, seen.applied), (AttemptEnd::GaveUp, Applied::No));
}

#[tokio::test]
async fn a_client_that_gives_up_is_seen() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    client.send(query("select sleep(1000)")).await;
    server.expect(query("select sleep(1000)")).await;
    drop(client);
    server.expect_fin().await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.end, seen.applied),
        (AttemptEnd::GaveUp, Applied::Unknown)
    );
}

#[tokio::test]
async fn a_file_goes_to_the_server_that_asked_for_it() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let text = "load data local infile 'x' into table t";
    client.send(query(text)).await;
    server.expect(query(text)).await;
    server.send(packet(1, b"\xfbx")).await;
    client.expect(packet(1, b"\xfbx")).await;
    let file = [packet(2, &[b'r'; 100_000]), packet(3, b"")].concat();
    client.send(&file).await;
    server.expect(&file).await;
    server.send(packet(4, OK)).await;
    client.expect(packet(4, OK)).await;
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.applied), ("LOAD", Applied::Yes));
    assert!(seen.bytes_up > 100_000);
}

#[tokio::test]
async fn statements_and_rows_above_16_mib_pass_in_pieces() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let mut command = vec![0xff, 0xff, 0xff, 0, 3];
    command.extend(vec![b'x'; FULL - 1]);
    command.extend(packet(1, b"the rest"));
    let sent = command.clone();
    let sending = tokio::spawn(async move {
        client.send(&sent).await;
        client
    });
    server.expect(&command).await;
    let mut client = soon("the command", sending).await.unwrap();
    let mut answer = [
        packet(2, b"\x01"),
        packet(3, b"\x03def"),
        packet(4, b"\xfe\0\0\x02\0"),
    ]
    .concat();
    answer.extend([0xff, 0xff, 0xff, 5, 0xfe]);
    answer.extend(vec![b'y'; FULL - 1]);
    answer.extend(packet(6, b"\xff the rest"));
    answer.extend(packet(7, b"\xfe\0\0\x02\0"));
    let given = answer.clone();
    let giving = tokio::spawn(async move {
        server.send(&given).await;
        server
    });
    client.expect(&answer).await;
    let mut server = soon("the answer", giving).await.unwrap();
    assert_eq!(rig.attempt().await.bytes_down, answer.len() as u64);
    ask(&mut client, &mut server, "select 1", &rows()).await;
}

#[tokio::test]
async fn peers_that_speak_something_else_end_their_connection_alone() {
    let mut rig = Rig::new().await;
    let (mut good, mut good_server) = rig.pair().await;
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\xff\xff\xff\0\x0a",
        b"\x02\0\0\0\x0a5",
    ] {
        let mut client = rig.client().await;
        let mut server = rig.accept().await;
        server.send(bytes).await;
        drop(server);
        let mut rest = Vec::new();
        // By FIN or by RST: the connection ends.
        let _ = soon("the end", client.0.read_to_end(&mut rest)).await;
        assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
    }
    let (mut client, _server) = rig.pair().await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: db\r\nAccept: anything\r\n\r\n")
        .await;
    client
        .expect(packet(1, b"\xff\x84\x04#08S01Got packets out of order"))
        .await;
    assert_eq!(&*rig.attempt().await.operation, "malformed");
    let (mut client, mut server) = rig.pair().await;
    client.send(query("select 1")).await;
    server.expect(query("select 1")).await;
    server.send(packet(1, b"\xfc")).await;
    client.expect_reset().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
    let (mut client, _server) = rig.pair().await;
    client.send(packet(7, b"\x03select 1")).await;
    client
        .expect(packet(1, b"\xff\x84\x04#08S01Got packets out of order"))
        .await;
    client.expect_fin().await;
    assert_eq!(&*rig.attempt().await.operation, "malformed");
    ask(&mut good, &mut good_server, "select 1", &rows()).await;
}

/// What is asked, and what is answered: text and prepared statements, an error, and values much larger
/// than any buffer.
fn conversation() -> Vec<(Vec<u8>, Vec<u8>)> {
    let large = [
        packet(1, b"\x01"),
        packet(2, b"\x03def"),
        packet(3, b"\xfe\0\0\x02\0"),
        packet(4, &[b"\xfd\xf0\x49\x02", &vec![b'v'; 150_000][..]].concat()),
        packet(5, b"\xfe\0\0\x02\0"),
    ];
    let prepared = [
        packet(1, b"\0\x05\0\0\0\0\0\x01\0\0\0\0"),
        packet(2, b"\x03def"),
        packet(3, b"\xfe\0\0\x02\0"),
    ];
    let execute = [
        packet(
            0,
            &[b"\x18\x05\0\0\0\0\0", &vec![b'd'; 90_000][..]].concat(),
        ),
        packet(0, b"\x17\x05\0\0\0\0\x01\0\0\0"),
    ];
    let refused = packet(1, b"\xff\x7a\x04#42S02Table 'x' doesn't exist");
    vec![
        (query("select a from T"), rows()),
        (query("select a from T where b = 1"), large.concat()),
        (
            query(&format!("insert into t values ('{}')", "w".repeat(120_000))),
            packet(1, b"\0\x01\0\x02\0\0\0"),
        ),
        (query("update x set a = 1"), refused),
        (
            packet(0, b"\x16insert into Jobs values (?)"),
            prepared.concat(),
        ),
        (execute.concat(), packet(1, OK)),
        (packet(0, b"\x0e"), packet(1, OK)),
    ]
}

async fn send_in_pieces(peer: &mut Peer, mut bytes: &[u8], pieces: &[usize]) {
    for piece in pieces.iter().cycle() {
        if bytes.is_empty() {
            return;
        }
        let (now, later) = bytes.split_at((*piece).min(bytes.len()));
        peer.send(now).await;
        tokio::task::yield_now().await;
        bytes = later;
    }
}

/// Holds the conversation in pieces of these sizes; what was observed of its statements.
async fn observed_in(up: &[usize], down: &[usize]) -> Vec<(String, String, Applied, u64, u64)> {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    client.0.set_nodelay(true).unwrap();
    server.0.set_nodelay(true).unwrap();
    let mut seen = Vec::new();
    for (asked, answer) in conversation() {
        tokio::join!(
            send_in_pieces(&mut client, &asked, up),
            server.expect(&asked)
        );
        tokio::join!(
            send_in_pieces(&mut server, &answer, down),
            client.expect(&answer)
        );
        let one = rig.attempt().await;
        assert_eq!(one.end, AttemptEnd::Answered);
        let (operation, key) = (one.operation.to_string(), one.key.to_string());
        seen.push((operation, key, one.applied, one.bytes_up, one.bytes_down));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn in_whatever_pieces_they_come_the_packets_are_the_same(
        up in prop::collection::vec(1..2000_usize, 1..30),
        down in prop::collection::vec(1..2000_usize, 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let whole = observed_in(&[usize::MAX], &[usize::MAX]).await;
            assert_eq!(whole.len(), conversation().len());
            assert_eq!(observed_in(&up, &down).await, whole);
        });
    }
}

/// Waits until the fault has acted on bytes.
async fn acts(fault: &Active) {
    let acting = async {
        while fault.hits() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("an act", acting).await;
}

#[tokio::test]
async fn each_statement_takes_the_delay_of_its_bytes_and_is_put_down_to_it() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    for direction in ["up", "down"] {
        let keys = format!("kind = 'latency'\ndelay = '60ms'\ndirection = '{direction}'");
        rig.arm(&keys);
        for _ in 0..3 {
            ask(&mut client, &mut server, "select a from t", &rows()).await;
            let seen = rig.attempt().await;
            assert_eq!(seen.faults.len(), 1, "{direction}");
            assert!(seen.duration() >= Duration::from_millis(59), "{seen:?}");
        }
    }
    rig.lift();
    ask(&mut client, &mut server, "select a from t", &rows()).await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn who_leaves_while_the_answer_is_held_gave_up_then() {
    let limits = Limits {
        linger: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut rig = Rig::with(limits).await;
    for answer in [rows(), packet(1, DEADLOCK)] {
        let (mut client, mut server) = rig.pair().await;
        let set = sample::set("on = 'x'\nkind = 'latency'\ndelay = '15s'", Protocol::Mysql);
        let fault = Arc::clone(&set.faults()[0]);
        rig.switch.set(set);
        client.send(query("select a from t")).await;
        server.expect(query("select a from t")).await;
        server.send(answer).await;
        acts(&fault).await;
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!((seen.end, seen.faults.len()), (AttemptEnd::GaveUp, 1));
        assert_eq!((seen.first_byte, seen.code.clone()), (None, None));
        assert!(seen.duration() < Duration::from_secs(8), "{seen:?}");
        rig.lift();
    }
}

#[tokio::test]
async fn a_statement_that_is_cut_on_its_way_up_is_cut_by_its_fault() {
    let asked = query("insert into t values (1)");
    for (kept, operation) in [(asked.len() - 3, "INSERT"), (4, "COMMAND")] {
        let mut rig = Rig::new().await;
        let (mut client, _server) = rig.pair().await;
        rig.arm(&format!(
            "kind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'"
        ));
        client.send(&asked).await;
        let seen = rig.attempt().await;
        assert_eq!(&*seen.operation, operation);
        assert_eq!((seen.end, seen.applied), (AttemptEnd::Cut, Applied::No));
        assert_eq!(seen.faults.len(), 1);
    }
}
