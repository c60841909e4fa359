//! What a client and a server see of each other through the proxy, byte for byte, over real
//! sockets; and what is observed meanwhile. The server is played by the tests.

mod limits;

use crate::{
    fault::{Active, FaultSet, Switch, sample},
    history::{Attempt, AttemptEnd, Connection, Observation, Recorder},
    protocol::{Applied, Protocol},
    proxy::{Config, Limits, Proxy, UpstreamAddress, tally::take_writes, tls},
    scenario::KeyFrom,
    seed::Seed,
    units::Micros,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// A command as clients send it.
fn command(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

/// A proxy between a client and a server that a test plays itself.
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
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (recorder, observed) = Recorder::channel(10_000);
        let switch = Switch::new();
        let mut config = Config {
            dependency: "cache".into(),
            protocol: Protocol::Redis,
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
            limits: Limits::default(),
            seed: Seed(1),
        };
        change(&mut config);
        let proxy = Proxy::start(config, switch.clone(), recorder.clone()).unwrap();
        Self {
            proxy,
            server,
            switch,
            observed,
            recorder,
        }
    }

    /// A rig with this fault in force.
    async fn under(keys: &str) -> Self {
        let rig = Self::new().await;
        rig.arm(keys);
        rig
    }

    fn arm(&self, keys: &str) {
        let text = format!("on = 'x'\n{keys}");
        self.switch.set(sample::set(&text, Protocol::Redis));
    }

    fn lift(&self) {
        self.switch.set(FaultSet::default());
    }

    async fn client(&self) -> Peer {
        Peer(TcpStream::connect(self.proxy.address()).await.unwrap())
    }

    async fn pair(&self) -> (Peer, Peer) {
        let client = self.client().await;
        let server = soon("a connect", self.server.accept()).await.unwrap().0;
        (client, Peer(server))
    }

    /// The next command that is observed; acceptances are passed over.
    async fn attempt(&mut self) -> Attempt {
        loop {
            match soon("an observation", self.observed.recv()).await {
                Some(Observation::Attempt(attempt)) if &*attempt.operation != "CONNECT" => {
                    return attempt;
                }
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        }
    }

    /// How the next connection that ends was.
    async fn connection(&mut self) -> Connection {
        loop {
            match soon("an observation", self.observed.recv()).await {
                Some(Observation::Connection(connection)) => return connection,
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
        let shown = got.escape_ascii().to_string();
        assert!(read.is_ok(), "{read:?}: {shown}");
        assert_eq!(shown, wanted.escape_ascii().to_string());
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

/// A client that sends commands one by one, and a server that answers them.
async fn ask(client: &mut Peer, server: &mut Peer, line: &str, answer: &str) {
    client.send(command(line)).await;
    server.expect(command(line)).await;
    server.send(answer).await;
    client.expect(answer).await;
}

#[tokio::test]
async fn commands_and_answers_pass_in_order_and_are_observed() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let asked = [command("SET k v"), command("get k"), b"PING\r\n".to_vec()].concat();
    client.send(&asked).await;
    server.expect(&asked).await;
    server.send("+OK\r\n$1\r\nv\r\n-ERR no\r\n").await;
    client.expect("+OK\r\n$1\r\nv\r\n-ERR no\r\n").await;
    for (operation, key, code, applied) in [
        ("SET", "k", None, Applied::Yes),
        ("GET", "k", None, Applied::Yes),
        ("PING", "", Some("ERR"), Applied::No),
    ] {
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
        assert_eq!(seen.code.as_deref(), code);
        assert_eq!((seen.applied, seen.end), (applied, AttemptEnd::Answered));
        assert!(seen.bytes_up > 0 && seen.bytes_down > 0 && seen.first_byte.is_some());
    }
}

#[tokio::test]
async fn a_pipeline_costs_one_write_each_way() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    take_writes();
    let (asked, answers) = (command("GET k").repeat(16), "$1\r\nv\r\n".repeat(16));
    client.send(&asked).await;
    server.expect(&asked).await;
    assert_eq!(take_writes(), 1);
    server.send(&answers).await;
    client.expect(&answers).await;
    assert_eq!(take_writes(), 1);
    assert_eq!(&*rig.attempt().await.operation, "PING");
    for nth in 1..=16 {
        let seen = rig.attempt().await;
        assert_eq!(*seen.call, format!("GET k #{nth}"));
        assert_eq!((seen.bytes_down, seen.first_byte.is_some()), (7, true));
    }
}

#[tokio::test]
async fn with_little_room_for_observations_a_command_is_held_up_and_counted() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    assert_eq!(rig.recorder.take_waited(), None);
    rig.recorder.fill();
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    let waited = rig.recorder.take_waited().expect("it was held up");
    assert_eq!(waited.count, 1);
    assert!(waited.longest >= Micros::from_millis(90), "{waited:?}");
}

#[tokio::test]
async fn the_acceptance_of_a_connection_is_observed_and_can_be_refused() {
    let mut rig = Rig::new().await;
    let _pair = rig.pair().await;
    let Some(Observation::Attempt(seen)) = soon("it", rig.observed.recv()).await else {
        panic!("no attempt");
    };
    assert_eq!((&*seen.operation, seen.applied), ("CONNECT", Applied::Yes));
    rig.arm("kind = 'error'\nerror = 'max-clients'\nwhen = { operation = 'CONNECT' }");
    let mut client = rig.client().await;
    client
        .expect("-ERR max number of clients reached\r\n")
        .await;
    client.expect_fin().await;
    let Some(Observation::Attempt(seen)) = soon("it", rig.observed.recv()).await else {
        panic!("no attempt");
    };
    assert_eq!(seen.code.as_deref(), Some("ERR"));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
}

#[tokio::test]
async fn an_error_takes_its_turn_among_pipelined_commands() {
    let mut rig = Rig::under("kind = 'error'\nerror = 'OOM'").await;
    let (mut client, mut server) = rig.pair().await;
    let lines = ["GET a", "SET b 1", "GET c"].map(command).concat();
    client.send(&lines).await;
    server
        .expect([command("GET a"), command("GET c")].concat())
        .await;
    server.send("$1\r\nA\r\n").await;
    client.expect("$1\r\nA\r\n").await;
    client
        .expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        .await;
    server.send("$1\r\nC\r\n").await;
    client.expect("$1\r\nC\r\n").await;
    assert_eq!(rig.attempt().await.applied, Applied::Yes);
    let refused = rig.attempt().await;
    assert_eq!(refused.code.as_deref(), Some("OOM"));
    assert_eq!((refused.applied, refused.faults.len()), (Applied::No, 1));
}

#[tokio::test]
async fn an_error_after_the_command_was_applied_takes_the_place_of_its_answer() {
    let mut rig = Rig::under("kind = 'error'\nerror = 'READONLY'\napplied = 'yes'").await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("SET k v")).await;
    server.expect(command("SET k v")).await;
    client.expect_silence().await;
    server.send("+OK\r\n").await;
    client
        .expect("-READONLY You can't write against a read only replica.\r\n")
        .await;
    let seen = rig.attempt().await;
    assert_eq!(seen.code.as_deref(), Some("READONLY"));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::Yes, 1));
    ask(&mut client, &mut server, "GET k", "$1\r\nv\r\n").await;
}

#[tokio::test]
async fn moved_names_the_slot_of_the_key() {
    let rig = Rig::under("kind = 'error'\nerror = 'MOVED'\nmessage = '127.0.0.1:6381'").await;
    let (mut client, _server) = rig.pair().await;
    client.send(command("GET foo")).await;
    client.expect("-MOVED 12182 127.0.0.1:6381\r\n").await;
}

#[tokio::test]
async fn a_transaction_that_an_error_spoilt_is_given_up_at_the_server_too() {
    let mut rig = Rig::under("kind = 'error'\nerror = 'OOM'").await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
    ask(&mut client, &mut server, "DEL a", "+QUEUED\r\n").await;
    client.send(command("SET b 1")).await;
    client
        .expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        .await;
    client.send(command("EXEC")).await;
    server.expect(command("DISCARD")).await;
    server.send("+OK\r\n").await;
    client
        .expect("-EXECABORT Transaction discarded because of previous errors.\r\n")
        .await;
    ask(&mut client, &mut server, "GET a", "$-1\r\n").await;
    let mut seen = BTreeMap::new();
    for _ in 0..5 {
        let attempt = rig.attempt().await;
        let code = attempt
            .code
            .map(|code| code.to_string())
            .unwrap_or_default();
        seen.insert(attempt.operation.to_string(), (code, attempt.applied));
    }
    for (operation, code, applied) in [
        ("MULTI", "", Applied::Yes),
        ("DEL", "", Applied::No),
        ("SET", "OOM", Applied::No),
        ("EXEC", "EXECABORT", Applied::No),
        ("GET", "", Applied::Yes),
    ] {
        assert_eq!(seen[operation], (code.to_owned(), applied), "{operation}");
    }
}

#[tokio::test]
async fn what_became_of_a_transactions_commands_exec_says() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    for (exec, expected) in [
        ("*2\r\n+OK\r\n-WRONGTYPE x\r\n", [Applied::Yes, Applied::No]),
        ("*-1\r\n", [Applied::No; 2]),
        ("-EXECABORT no\r\n", [Applied::No; 2]),
    ] {
        ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
        ask(&mut client, &mut server, "SET a 1", "+QUEUED\r\n").await;
        ask(&mut client, &mut server, "LPUSH a 1", "+QUEUED\r\n").await;
        ask(&mut client, &mut server, "EXEC", exec).await;
        assert_eq!(&*rig.attempt().await.operation, "MULTI");
        for applied in expected {
            assert_eq!(rig.attempt().await.applied, applied, "{exec}");
        }
        assert_eq!(&*rig.attempt().await.operation, "EXEC");
    }
}

/// What is observed of the transaction's two commands and of its end, whichever comes first.
async fn transaction(rig: &mut Rig) -> BTreeMap<String, Applied> {
    let mut seen = BTreeMap::new();
    for _ in 0..4 {
        let attempt = rig.attempt().await;
        seen.insert(attempt.operation.to_string(), attempt.applied);
    }
    seen
}

/// A transaction of two commands, of which only the end is still to be asked for.
async fn open_transaction(client: &mut Peer, server: &mut Peer) {
    ask(client, server, "MULTI", "+OK\r\n").await;
    ask(client, server, "INCR a", "+QUEUED\r\n").await;
    ask(client, server, "LPUSH b 1", "+QUEUED\r\n").await;
}

#[tokio::test]
async fn what_exec_has_done_stands_though_the_client_gave_up_before_it_heard() {
    use Applied::{No, Yes};
    let keys = "kind = 'late-reply'\ndelay = '10m'\nwhen = { operation = 'EXEC' }";
    for (answer, exec, applied) in [
        ("*2\r\n:1\r\n:1\r\n", Yes, [Yes, Yes]),
        ("*2\r\n:1\r\n-WRONGTYPE x\r\n", Yes, [Yes, No]),
        ("*-1\r\n", No, [No, No]),
        ("-EXECABORT no\r\n", No, [No, No]),
    ] {
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        open_transaction(&mut client, &mut server).await;
        client.send(command("EXEC")).await;
        server.expect(command("EXEC")).await;
        server.send(answer).await;
        client.expect_silence().await;
        drop(client);
        let seen = transaction(&mut rig).await;
        assert_eq!(seen["EXEC"], exec, "{answer}");
        assert_eq!([seen["INCR"], seen["LPUSH"]], applied, "{answer}");
    }
}

#[tokio::test]
async fn what_exec_does_is_unknown_until_its_answer_has_said_so() {
    use Applied::{No, Unknown, Yes};
    // The beginning of a value, after which it is clear what the answer is.
    let part = format!("$1000\r\n{}", "v".repeat(500));
    for (answer, exec, applied) in [
        ("", Unknown, [Unknown, Unknown]),
        ("*2\r\n", Unknown, [Unknown, Unknown]),
        (&format!("*2\r\n:1\r\n{part}"), Yes, [Yes, Unknown]),
        (&format!("*2\r\n-ERR x\r\n{part}"), Yes, [No, Unknown]),
        (&format!("*2\r\n{part}"), Yes, [Unknown, Unknown]),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        open_transaction(&mut client, &mut server).await;
        client.send(command("EXEC")).await;
        server.expect(command("EXEC")).await;
        server.send(answer).await;
        drop(server);
        let seen = transaction(&mut rig).await;
        assert_eq!(seen["EXEC"], exec, "{answer}");
        assert_eq!([seen["INCR"], seen["LPUSH"]], applied, "{answer}");
    }
    // Who was never told to carry them out has not.
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    open_transaction(&mut client, &mut server).await;
    drop(server);
    for (operation, applied) in [("MULTI", Yes), ("INCR", No), ("LPUSH", No)] {
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, seen.applied), (operation, applied));
    }
}

#[tokio::test]
async fn a_queued_command_whose_answer_was_lost_was_not_carried_out_for_certain() {
    let keys = "kind = 'late-reply'\ndelay = '10m'\nwhen = { operation = 'INCR' }";
    let mut rig = Rig::under(keys).await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
    client.send(command("INCR a")).await;
    server.expect(command("INCR a")).await;
    server.send("+QUEUED\r\n").await;
    client.expect_silence().await;
    drop(client);
    assert_eq!(&*rig.attempt().await.operation, "MULTI");
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.applied), ("INCR", Applied::Unknown));
    assert_eq!(seen.end, AttemptEnd::GaveUp);
}

#[tokio::test]
async fn a_queued_command_is_over_when_its_answer_has_left() {
    // Answered one by one, or all at once.
    for at_once in [false, true] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        ask(&mut client, &mut server, "GET k", "$-1\r\n").await;
        rig.arm("kind = 'latency'\ndelay = '200ms'\nby = 'connection'");
        let lines = [
            ("MULTI", "+OK\r\n"),
            ("DEL a", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n:1\r\n"),
        ];
        if at_once {
            let sent: Vec<u8> = lines.iter().flat_map(|(line, _)| command(line)).collect();
            client.send(&sent).await;
            server.expect(&sent).await;
            let answers: String = lines.iter().map(|(_, answer)| *answer).collect();
            server.send(&answers).await;
            client.expect(&answers).await;
        } else {
            for (line, answer) in lines {
                ask(&mut client, &mut server, line, answer).await;
            }
        }
        for operation in ["GET", "MULTI", "DEL", "EXEC"] {
            let seen = rig.attempt().await;
            assert_eq!(&*seen.operation, operation);
            assert_eq!(
                (seen.applied, seen.end),
                (Applied::Yes, AttemptEnd::Answered)
            );
            let held = seen.ended.since(seen.began) >= Duration::from_millis(200);
            assert_eq!(held, operation != "GET", "{seen:?}");
        }
    }
}

#[tokio::test]
async fn exec_that_is_turned_away_gives_up_its_transaction() {
    let keys = "kind = 'error'\nerror = 'READONLY'\nwhen = { operation = 'EXEC' }";
    let rig = Rig::under(keys).await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
    client.send(command("EXEC")).await;
    server.expect(command("DISCARD")).await;
    server.send("+OK\r\n").await;
    client
        .expect("-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.\r\n")
        .await;
}

#[tokio::test]
async fn an_error_in_place_of_the_answer_of_exec_leaves_what_it_did() {
    for keys in [
        "kind = 'error'\nerror = 'READONLY'\napplied = 'yes'\nwhen = { operation = 'EXEC' }",
        "kind = 'ambiguous-write'\napplied = 'once'\nseen = 'error'\nerror = 'READONLY'",
        "kind = 'ambiguous-write'\napplied = 'each'\nseen = 'error'\nerror = 'READONLY'",
    ] {
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
        // What is queued cannot be carried out and told an error: it is left alone.
        ask(&mut client, &mut server, "INCR k", "+QUEUED\r\n").await;
        client.send(command("EXEC")).await;
        server.expect(command("EXEC")).await;
        server.send("*1\r\n:1\r\n").await;
        client
            .expect("-READONLY You can't write against a read only replica.\r\n")
            .await;
        let mut seen = BTreeMap::new();
        for _ in 0..3 {
            let attempt = rig.attempt().await;
            seen.insert(attempt.operation.to_string(), attempt);
        }
        let (incr, exec) = (&seen["INCR"], &seen["EXEC"]);
        assert_eq!((incr.applied, incr.faults.len()), (Applied::Yes, 0));
        assert!(incr.code.is_none() && !incr.acknowledged(), "{incr:?}");
        assert_eq!((exec.applied, exec.faults.len()), (Applied::Yes, 1));
        assert_eq!(exec.code.as_deref(), Some("READONLY"));
        ask(&mut client, &mut server, "GET k", "$1\r\n1\r\n").await;
    }
}

#[tokio::test]
async fn a_hang_holds_what_it_matches_until_it_is_lifted() {
    let mut rig = Rig::under("kind = 'hang'\nwhen = { operation = 'SET' }").await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "GET k", "$-1\r\n").await;
    client.send(command("SET k v")).await;
    server.expect_silence().await;
    rig.lift();
    server.expect(command("SET k v")).await;
    server.send("+OK\r\n").await;
    client.expect("+OK\r\n").await;
    rig.attempt().await;
    let held = rig.attempt().await;
    assert!(
        held.released.is_some() && held.faults.len() == 1,
        "{held:?}"
    );
}

#[tokio::test]
async fn a_connection_that_hangs_reads_commands_and_answers_none() {
    let mut rig = Rig::under("kind = 'hang'\nby = 'connection'").await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("GET k")).await;
    server.expect_silence().await;
    drop(client);
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.end), ("GET", AttemptEnd::GaveUp));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
}

#[tokio::test]
async fn what_an_exec_did_whose_answer_is_lost_its_client_cannot_know() {
    let lose = "kind = 'lost-reply'\nthen = 'reset'\nwhen = { operation = 'EXEC' }";
    for is_told in [true, false] {
        let mut rig = Rig::new().await;
        if !is_told {
            rig.arm(lose);
        }
        let (mut client, mut server) = rig.pair().await;
        ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
        ask(&mut client, &mut server, "INCR k", "+QUEUED\r\n").await;
        client.send(command("EXEC")).await;
        server.expect(command("EXEC")).await;
        server.send("*1\r\n:1\r\n").await;
        match is_told {
            true => client.expect("*1\r\n:1\r\n").await,
            false => client.expect_reset().await,
        }
        let mut incr = rig.attempt().await;
        while &*incr.operation != "INCR" {
            incr = rig.attempt().await;
        }
        assert_eq!(
            (incr.applied, incr.end, incr.acknowledged()),
            (Applied::Yes, AttemptEnd::Answered, is_told)
        );
    }
}

#[tokio::test]
async fn a_command_can_be_carried_out_several_times() {
    const REPEATED: &str = "kind = 'ambiguous-write'\napplied = 'repeated'\ntimes = 3\n";
    let late = format!("{REPEATED}seen = 'late'\ndelay = '1ms'");
    for (answers, seen, applied, repeated) in [
        (":1\r\n:2\r\n:3\r\n", ":3\r\n", Applied::Yes, 2),
        (
            ":1\r\n-ERR no\r\n-ERR no\r\n",
            "-ERR no\r\n",
            Applied::Yes,
            0,
        ),
        (
            "-ERR no\r\n-ERR no\r\n-ERR no\r\n",
            "-ERR no\r\n",
            Applied::No,
            0,
        ),
    ] {
        let mut rig = Rig::under(&late).await;
        let (mut client, mut server) = rig.pair().await;
        // Reads pass, before and behind it.
        ask(&mut client, &mut server, "GET k", "$-1\r\n").await;
        client.send(command("INCR k")).await;
        for _ in 0..3 {
            server.expect(command("INCR k")).await;
        }
        server.send(answers).await;
        client.expect(seen).await;
        ask(&mut client, &mut server, "GET k", "$1\r\n3\r\n").await;
        assert_eq!(&*rig.attempt().await.operation, "GET");
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.applied, attempt.repeated),
            (applied, repeated),
            "{answers}"
        );
        assert_eq!(attempt.faults.len(), 1);
    }
    let mut rig = Rig::under(&format!("{REPEATED}seen = 'error'\nerror = 'OOM'")).await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("INCR k")).await;
    for _ in 0..3 {
        server.expect(command("INCR k")).await;
    }
    server.send(":1\r\n:2\r\n:3\r\n").await;
    client.expect("-OOM").await;
    assert_eq!(rig.attempt().await.repeated, 2);
}

#[tokio::test]
async fn a_copy_of_a_command_that_nobody_answered_may_have_been_carried_out() {
    for (answers, applied, repeated, unknown) in [
        ("", Applied::Unknown, 0, 2),
        (":1\r\n", Applied::Yes, 0, 2),
        (":1\r\n:2\r\n", Applied::Yes, 1, 1),
        ("-ERR no\r\n", Applied::Unknown, 0, 1),
    ] {
        let keys = "kind = 'ambiguous-write'\napplied = 'repeated'\ntimes = 3\nseen = 'time-out'";
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("INCR k")).await;
        for _ in 0..3 {
            server.expect(command("INCR k")).await;
        }
        server.send(answers).await;
        drop(server);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.applied, seen.repeated, seen.repeated_unknown),
            (applied, repeated, unknown),
            "{answers}"
        );
    }
}

#[tokio::test]
async fn what_is_part_of_a_transaction_is_not_repeated() {
    let keys = "kind = 'ambiguous-write'\napplied = 'repeated'\nseen = 'reset'";
    let mut rig = Rig::under(keys).await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
    ask(&mut client, &mut server, "INCR k", "+QUEUED\r\n").await;
    ask(&mut client, &mut server, "EXEC", "*1\r\n:1\r\n").await;
    for _ in 0..3 {
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.repeated, attempt.faults.len()),
            (0, 0),
            "{attempt:?}"
        );
    }
}

#[tokio::test]
async fn a_command_that_never_arrives_does_not_arrive_when_the_fault_is_lifted_either() {
    let mut rig = Rig::under("kind = 'ambiguous-write'\napplied = 'no'").await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("SET k v")).await;
    client.expect_silence().await;
    rig.lift();
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.applied, attempt.faults.len()), (Applied::No, 1));
    drop(client);
    server.expect_fin().await;
}

#[tokio::test]
async fn a_client_that_gives_up_is_seen_wherever_its_command_is() {
    for keys in [
        "kind = 'hang'",
        "kind = 'lost-reply'",
        "kind = 'late-reply'\ndelay = '1h'",
    ] {
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("GET k")).await;
        if !keys.contains("hang") {
            server.expect(command("GET k")).await;
            server.send("$1\r\nv\r\n").await;
            client.expect_silence().await;
        }
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.end, seen.faults.len()),
            (AttemptEnd::GaveUp, 1),
            "{keys}"
        );
    }
    // With no fault in force: the server alone keeps it waiting.
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("BLPOP q 0")).await;
    server.expect(command("BLPOP q 0")).await;
    drop(client);
    server.expect_fin().await;
    drop(server);
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.end, seen.applied),
        (AttemptEnd::GaveUp, Applied::Unknown)
    );
}

#[tokio::test]
async fn answers_are_lost_late_empty_garbage_or_a_cut() {
    let rig = Rig::under("kind = 'late-reply'\ndelay = '200ms'").await;
    let (mut client, mut server) = rig.pair().await;
    let began = Instant::now();
    ask(&mut client, &mut server, "GET k", "$1\r\nv\r\n").await;
    assert!(began.elapsed() >= Duration::from_millis(200));

    let mut rig = Rig::under("kind = 'lost-reply'").await;
    let (mut client, mut server) = rig.pair().await;
    client.send(command("SET k v")).await;
    server.expect(command("SET k v")).await;
    server.send("+OK\r\n").await;
    client.expect_silence().await;
    rig.lift();
    client.expect_fin().await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.end, seen.applied),
        (AttemptEnd::Unfinished, Applied::Yes)
    );

    for (keys, is_reset) in [
        ("kind = 'lost-reply'\nthen = 'reset'", true),
        ("kind = 'lost-reply'\nthen = 'close'", false),
        ("kind = 'empty-reply'\napplied = 'yes'", false),
    ] {
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("SET k v")).await;
        server.expect(command("SET k v")).await;
        server.send("+OK\r\n").await;
        if is_reset {
            client.expect_reset().await;
        } else {
            client.expect_fin().await;
        }
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.end, seen.applied),
            (AttemptEnd::Cut, Applied::Yes),
            "{keys}"
        );
    }

    for keys in [
        "kind = 'reset'",
        "kind = 'close'",
        "kind = 'empty-reply'",
        "kind = 'garbage'",
    ] {
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("SET k v")).await;
        match keys {
            "kind = 'reset'" => client.expect_reset().await,
            "kind = 'garbage'" => {
                let mut bytes = Vec::new();
                soon("garbage", client.0.read_to_end(&mut bytes))
                    .await
                    .unwrap();
                assert!(bytes.len() == 64 && bytes[0] >= 0x80, "{bytes:?}");
            }
            _ => client.expect_fin().await,
        }
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.end, seen.applied),
            (AttemptEnd::Cut, Applied::No),
            "{keys}"
        );
        server.expect_fin().await;
    }
}

#[tokio::test]
async fn a_share_by_key_meets_the_same_keys_every_time() {
    let keys = "kind = 'error'\nerror = 'CLUSTERDOWN'\nshare = '50%'\nby = 'key'";
    let mut rig = Rig::under(keys).await;
    let (mut client, mut server) = rig.pair().await;
    let answering = tokio::spawn(async move {
        let mut scanner = crate::protocol::redis::frame::Scanner::default();
        let mut bytes = vec![0; 4096];
        while let Ok(read @ 1..) = server.0.read(&mut bytes).await {
            let mut rest = &bytes[..read];
            while !rest.is_empty() {
                let (used, is_whole) = scanner.advance(rest).unwrap();
                rest = &rest[used..];
                if is_whole {
                    server.send(":1\r\n").await;
                }
            }
        }
    });
    let mut failed = BTreeMap::new();
    for _ in 0..3 {
        for key in 0..40 {
            client.send(command(&format!("GET {key}"))).await;
            let seen = rig.attempt().await;
            let was_hit = !seen.faults.is_empty();
            assert_eq!(*failed.entry(key).or_insert(was_hit), was_hit, "{key}");
        }
    }
    let count = failed.values().filter(|failed| **failed).count();
    assert!((8..32).contains(&count), "{count}");
    drop(client);
    soon("the server's end", answering).await.unwrap();
}

#[tokio::test]
async fn another_argument_may_be_the_key() {
    let mut rig = Rig::with(|config| config.key = Some(KeyFrom::Argument(2))).await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "HSET h field v", ":1\r\n").await;
    assert_eq!(&*rig.attempt().await.key, "field");
    ask(&mut client, &mut server, "AUTH user secret", "+OK\r\n").await;
    let seen = format!("{:?}", rig.attempt().await);
    assert!(!seen.contains("secret") && !seen.contains("user"), "{seen}");
}

#[tokio::test]
async fn commands_without_answers_have_none() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let lines = [
        "CLIENT REPLY SKIP",
        "SET a 1",
        "GET a",
        "CLIENT REPLY OFF",
        "SET b 1",
        "CLIENT REPLY ON",
        "GET b",
    ];
    client.send(lines.map(command).concat()).await;
    server.expect(lines.map(command).concat()).await;
    server.send("$1\r\n1\r\n+OK\r\n$1\r\n2\r\n").await;
    client.expect("$1\r\n1\r\n+OK\r\n$1\r\n2\r\n").await;
    let mut seen = BTreeMap::new();
    for _ in lines {
        let attempt = rig.attempt().await;
        let name = format!("{} {}", attempt.operation, attempt.key);
        seen.insert(name, (attempt.applied, attempt.bytes_down));
    }
    assert_eq!(seen["SET a"], (Applied::Unknown, 0));
    assert_eq!(seen["SET b"], (Applied::Unknown, 0));
    assert_eq!(seen["GET a"], (Applied::Yes, 7));
    assert_eq!(seen["GET b"], (Applied::Yes, 7));

    rig.arm("kind = 'error'\nerror = 'OOM'");
    let lines = ["CLIENT REPLY SKIP", "SET a 1", "GET a"].map(command);
    client.send(lines.concat()).await;
    server
        .expect([command("CLIENT REPLY SKIP"), command("GET a")].concat())
        .await;
    server.send("$1\r\n3\r\n").await;
    client.expect("$1\r\n3\r\n").await;
}

#[tokio::test]
async fn messages_that_nobody_asked_for_are_no_answers() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    // RESP2: a subscribed connection.
    let confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    ask(&mut client, &mut server, "SUBSCRIBE c", confirmation).await;
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
    server.send(message).await;
    client.expect(message).await;
    client.send(command("PING")).await;
    server.expect(command("PING")).await;
    let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    server.send([message, pong].concat()).await;
    client.expect([message, pong].concat()).await;
    let gone = "*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n";
    ask(&mut client, &mut server, "UNSUBSCRIBE c", gone).await;
    // Once it has no subscriptions, an answer may look like a message.
    ask(&mut client, &mut server, "LRANGE l 0 -1", message).await;
    // RESP3: pushes between answers.
    let hello = "%1\r\n+proto\r\n:3\r\n";
    ask(&mut client, &mut server, "HELLO 3", hello).await;
    let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    server.send(push).await;
    client.expect(push).await;
    ask(&mut client, &mut server, "GET k", "_\r\n").await;
    let confirmation = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    ask(&mut client, &mut server, "SUBSCRIBE c", confirmation).await;
    ask(&mut client, &mut server, "GET k", "$1\r\nv\r\n").await;
    let operations = [
        "SUBSCRIBE",
        "PING",
        "UNSUBSCRIBE",
        "LRANGE",
        "HELLO",
        "GET",
        "SUBSCRIBE",
        "GET",
    ];
    for operation in operations {
        let seen = rig.attempt().await;
        assert_eq!(&*seen.operation, operation);
        assert_eq!(seen.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn after_monitor_bytes_pass_unread() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    client
        .send([command("MONITOR"), b"anything".to_vec()].concat())
        .await;
    server.expect(command("MONITOR")).await;
    server.send("+OK\r\n+1 [0 lua] \"GET\"\r\nno RESP").await;
    client.expect("+OK\r\n+1 [0 lua] \"GET\"\r\nno RESP").await;
    server.expect("anything").await;
    client.send("more").await;
    server.expect("more").await;
    assert_eq!(&*rig.attempt().await.operation, "MONITOR");
    drop(server);
    client.expect_fin().await;
}

#[tokio::test]
async fn large_arguments_and_answers_pass_in_pieces() {
    let mut rig = Rig::with(|config| config.limits.held_bytes = 128 * 1024).await;
    let (mut client, mut server) = rig.pair().await;
    let value = "v".repeat(3_000_000);
    let set = command(&format!("SET key {value}"));
    let answer = format!("${}\r\n{value}\r\n", value.len());
    let asked = set.clone();
    let asking = tokio::spawn(async move {
        client.send(&asked).await;
        client
    });
    server.expect(&set).await;
    let mut client = soon("the command", asking).await.unwrap();
    let given = answer.clone();
    let giving = tokio::spawn(async move {
        server.send(&given).await;
        server
    });
    client.expect(&answer).await;
    let _server = soon("the answer", giving).await.unwrap();
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, &*seen.key), ("SET", "key"));
    assert_eq!(seen.bytes_up, set.len() as u64);
    assert_eq!(seen.bytes_down, answer.len() as u64);
    // A large command that a fault answers is read to its end.
    rig.arm("kind = 'error'\nerror = 'OOM'");
    let sending = async { client.0.write_all(&set).await.unwrap() };
    soon("the command", sending).await;
    client
        .expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        .await;
    client.send(command("SET small v")).await;
    client
        .expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        .await;
}

#[tokio::test]
async fn a_client_that_speaks_no_resp_is_refused_and_nobody_else_harmed() {
    let mut rig = Rig::new().await;
    let (mut other, mut other_server) = rig.pair().await;
    for (bytes, said) in [
        (b"*1\r\n:1\r\n".to_vec(), "expected '$', got ':'"),
        (b"*99999999999\r\n".to_vec(), "invalid multibulk length"),
        (vec![0x80; 70_000], "too big inline request"),
        (b"*1\r\n$999999999999\r\n".to_vec(), "invalid bulk length"),
    ] {
        let (mut client, mut server) = rig.pair().await;
        // The proxy may close before it has read all of it.
        let _ = client.0.write_all(&bytes).await;
        client
            .expect(format!("-ERR Protocol error: {said}\r\n"))
            .await;
        server.expect_fin().await;
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, seen.applied), ("malformed", Applied::No));
        assert_eq!(rig.connection().await.how, format!("refused: {said}"));
    }
    ask(&mut other, &mut other_server, "PING", "+PONG\r\n").await;
}

#[tokio::test]
async fn a_server_that_speaks_no_resp_or_breaks_off_ends_its_connection_alone() {
    let deep = "*1\r\n".repeat(200);
    for (bytes, said, is_reset) in [
        ("HTTP/1.1 400 Bad Request\r\n", "broke the protocol", true),
        ("$999999999999\r\n", "broke the protocol", true),
        (deep.as_str(), "nested deeper", true),
        ("$10\r\nabc", "closed within an answer", false),
        ("", "upstream closed", false),
    ] {
        let mut rig = Rig::new().await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("GET k")).await;
        server.expect(command("GET k")).await;
        server.send(bytes).await;
        drop(server);
        let mut rest = Vec::new();
        let read = soon("the end", client.0.read_to_end(&mut rest)).await;
        assert_eq!(read.is_err(), is_reset, "{bytes:?}: {read:?}");
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!(seen.end, AttemptEnd::UpstreamFailed, "{bytes:?}");
        let how = rig.connection().await.how;
        assert!(how.contains(said), "{how}");
        let (mut client, mut server) = rig.pair().await;
        ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_by_a_reset() {
    let mut rig = Rig::new().await;
    let address = rig.proxy.address();
    drop(std::mem::replace(
        &mut rig.server,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ));
    let mut client = Peer(TcpStream::connect(address).await.unwrap());
    client.expect_reset().await;
    let Some(Observation::Attempt(seen)) = soon("it", rig.observed.recv()).await else {
        panic!("no attempt");
    };
    assert_eq!(
        (&*seen.operation, seen.end),
        ("CONNECT", AttemptEnd::UpstreamFailed)
    );
}

#[tokio::test]
async fn latency_comes_before_or_behind_a_command_and_pipelines_keep_their_order() {
    // What comes together waits together; answers come one after the other.
    for (direction, least) in [("up", 50), ("down", 150)] {
        let keys =
            format!("kind = 'latency'\nby = 'request'\ndelay = '50ms'\ndirection = '{direction}'");
        let rig = Rig::under(&keys).await;
        let (mut client, mut server) = rig.pair().await;
        let lines = ["GET a", "GET b", "GET c"].map(command).concat();
        let began = Instant::now();
        client.send(&lines).await;
        server.expect(&lines).await;
        server.send(":1\r\n:2\r\n:3\r\n").await;
        client.expect(":1\r\n:2\r\n:3\r\n").await;
        assert!(
            began.elapsed() >= Duration::from_millis(least),
            "{direction}"
        );
    }
}

/// Pieces of a client's bytes.
fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..400usize, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn in_whatever_pieces_they_come_all_bytes_pass_unchanged(
        values in prop::collection::vec(0..3000usize, 1..12),
        up in pieces(),
        down in pieces(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut rig = Rig::new().await;
            let (mut client, mut server) = rig.pair().await;
            let asked: Vec<u8> = values
                .iter()
                .flat_map(|len| command(&format!("SET k{len} {}", "x".repeat(*len))))
                .collect();
            let answer: String = values
                .iter()
                .map(|len| format!("*2\r\n${len}\r\n{}\r\n:1\r\n", "y".repeat(*len)))
                .collect();
            let (from_client, from_server) = (asked.clone(), answer.clone());
            let asking = tokio::spawn(async move {
                send_in_pieces(&mut client, &from_client, &up).await;
                client
            });
            server.expect(&asked).await;
            let mut client = soon("it", asking).await.unwrap();
            let giving = tokio::spawn(async move {
                send_in_pieces(&mut server, from_server.as_bytes(), &down).await;
                server
            });
            client.expect(&answer).await;
            let _server = soon("it", giving).await.unwrap();
            for len in &values {
                let seen = rig.attempt().await;
                assert_eq!(*seen.key, *format!("k{len}"));
                assert_eq!(seen.end, AttemptEnd::Answered);
            }
        });
    }
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
async fn each_command_takes_the_delay_of_its_bytes_and_is_put_down_to_it() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    rig.attempt().await;
    for direction in ["up", "down"] {
        let keys = format!("kind = 'latency'\ndelay = '60ms'\ndirection = '{direction}'");
        rig.arm(&keys);
        for _ in 0..2 {
            ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
            let seen = rig.attempt().await;
            assert_eq!(seen.faults.len(), 1, "{direction}");
            assert!(seen.duration() >= Duration::from_millis(59), "{seen:?}");
        }
        let (asked, answers) = (command("GET k").repeat(3), "$1\r\nv\r\n".repeat(3));
        client.send(&asked).await;
        server.expect(&asked).await;
        server.send(&answers).await;
        client.expect(&answers).await;
        for _ in 0..3 {
            let seen = rig.attempt().await;
            assert_eq!(seen.faults.len(), 1, "{direction}");
            assert!(seen.duration() >= Duration::from_millis(59), "{seen:?}");
        }
    }
    rig.lift();
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn who_leaves_while_the_answer_is_held_gave_up_then() {
    let mut rig = Rig::with(|config| config.limits.linger = Duration::from_millis(300)).await;
    for is_error in [false, true] {
        let (mut client, mut server) = rig.pair().await;
        let set = sample::set("on = 'x'\nkind = 'latency'\ndelay = '15s'", Protocol::Redis);
        let fault = Arc::clone(&set.faults()[0]);
        rig.switch.set(set);
        client.send(command("GET k")).await;
        server.expect(command("GET k")).await;
        let answer = if is_error {
            "-ERR no\r\n"
        } else {
            "$1\r\nv\r\n"
        };
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
async fn a_command_that_is_cut_on_its_way_up_is_cut_by_its_fault() {
    let asked = command("SET key value");
    for (kept, operation, key) in [(asked.len() - 3, "SET", "key"), (6, "malformed", "")] {
        let mut rig = Rig::new().await;
        let (mut client, _server) = rig.pair().await;
        rig.arm(&format!(
            "kind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'"
        ));
        client.send(&asked).await;
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, &*seen.key), (operation, key));
        assert_eq!((seen.end, seen.applied), (AttemptEnd::Cut, Applied::No));
        assert_eq!(seen.faults.len(), 1);
    }
    // Behind a whole command that waits for its answer.
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    let kept = asked.len();
    rig.arm(&format!(
        "kind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'"
    ));
    client.send(&asked).await;
    server.expect(&asked).await;
    let seen = rig.attempt().await;
    assert_eq!(
        (seen.end, seen.applied),
        (AttemptEnd::Cut, Applied::Unknown)
    );
    assert_eq!(seen.faults.len(), 1);
}

#[tokio::test]
async fn the_delays_of_commands_that_come_together_run_side_by_side() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'latency'\nby = 'request'\ndelay = '300ms'");
    let began = Instant::now();
    let asked = command("GET k").repeat(10);
    client.send(&asked).await;
    server.expect(&asked).await;
    assert!(began.elapsed() >= Duration::from_millis(299));
    assert!(began.elapsed() < Duration::from_millis(1500));
    let answers = "$1\r\nv\r\n".repeat(10);
    server.send(&answers).await;
    client.expect(&answers).await;
    for _ in 0..10 {
        let seen = rig.attempt().await;
        assert!(seen.duration() >= Duration::from_millis(299), "{seen:?}");
    }
}

/// What was observed of the connection until it was over, its acceptance aside.
async fn until_closed(rig: &mut Rig) -> Vec<Attempt> {
    let mut seen = Vec::new();
    loop {
        match soon("an observation", rig.observed.recv()).await {
            Some(Observation::Attempt(attempt)) if &*attempt.operation != "CONNECT" => {
                seen.push(attempt);
            }
            Some(Observation::Connection(_)) => return seen,
            Some(_) => {}
            None => panic!("the recorder is gone"),
        }
    }
}

#[tokio::test]
async fn a_command_that_is_held_while_its_connection_is_cut_is_observed_once() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (held, cut) = (command("SET key value"), command("GET key"));
    for kept in [held.len(), held.len() + 5] {
        let truncate =
            format!("on = 'x'\nkind = 'truncate'\ndirection = 'up'\nafter_bytes = '{kept}B'");
        let hang = "on = 'x'\nkind = 'hang'\nwhen = { operation = 'SET' }";
        rig.switch
            .set(sample::together(&[&truncate, hang], Protocol::Redis));
        client.send([&held[..], &cut[..]].concat()).await;
        let seen = until_closed(&mut rig).await;
        let operations: Vec<&str> = seen.iter().map(|one| &*one.operation).collect();
        assert_eq!(operations, ["SET"], "{kept} bytes are let through");
        assert_eq!(
            (seen[0].end, seen[0].applied),
            (AttemptEnd::Cut, Applied::No)
        );
        rig.lift();
        client = rig.client().await;
    }
}

#[tokio::test]
async fn a_client_that_closes_its_direction_behind_more_than_fits_gets_all_answers() {
    const COMMANDS: usize = 70_000;
    let mut rig = Rig::with(|config| config.limits.linger = PATIENCE).await;
    let (client, server) = rig.pair().await;
    let observing = tokio::spawn(async move { while rig.observed.recv().await.is_some() {} });
    let (mut answers, mut asking) = client.0.into_split();
    let asks = tokio::spawn(async move {
        asking
            .write_all(&b"PING\r\n".repeat(COMMANDS))
            .await
            .unwrap();
        asking.shutdown().await.unwrap();
    });
    let serves = tokio::spawn(async move {
        let (mut reader, mut writer) = server.0.into_split();
        let mut bytes = vec![0; 64 * 1024];
        let (mut asked, mut answered) = (0, 0);
        loop {
            // No more come as long as nobody is answered.
            let pause = Duration::from_millis(200);
            match timeout(pause, reader.read(&mut bytes)).await {
                Ok(read) => match read.unwrap() {
                    0 => break,
                    count => asked += count,
                },
                Err(_) => {
                    let due = asked / 6 - answered;
                    writer.write_all(&b"+PONG\r\n".repeat(due)).await.unwrap();
                    answered += due;
                }
            }
        }
        let due = asked / 6 - answered;
        writer.write_all(&b"+PONG\r\n".repeat(due)).await.unwrap();
        (asked, reader, writer)
    });
    let mut got = vec![0; COMMANDS * 7];
    let read = soon("all answers", answers.read_exact(&mut got)).await;
    assert!(read.is_ok(), "{read:?}");
    asks.await.unwrap();
    assert_eq!(serves.await.unwrap().0, COMMANDS * 6);
    observing.abort();
}

#[tokio::test]
async fn an_answer_behind_a_half_close_is_cut_by_its_fault() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    ask(&mut client, &mut server, "GET a", "$1\r\nA\r\n").await;
    let heard = rig.attempt().await;
    assert_eq!((heard.end, heard.faults.len()), (AttemptEnd::Answered, 0));
    client.send(command("GET b")).await;
    server.expect(command("GET b")).await;
    rig.arm("kind = 'close'\nhow = 'half'\nby = 'connection'");
    client.expect_fin().await;
    server.send("$1\r\nB\r\n").await;
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.end), ("GET", AttemptEnd::Cut));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::Yes, 1));
    assert_eq!((seen.first_byte, seen.code), (None, None));
}

#[tokio::test]
async fn who_leaves_because_it_was_told_the_end_of_its_answers_was_cut_off() {
    let half = "kind = 'close'\nhow = 'half'\nby = 'connection'";
    for (told_first, end) in [(true, AttemptEnd::Cut), (false, AttemptEnd::GaveUp)] {
        let linger = Duration::from_millis(100);
        let mut rig = Rig::with(|config| config.limits.linger = linger).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command("GET a")).await;
        server.expect(command("GET a")).await;
        if told_first {
            rig.arm(half);
            client.expect_fin().await;
        }
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!((&*seen.operation, seen.end), ("GET", end));
        assert_eq!(seen.faults.len(), usize::from(told_first));
    }
}

#[tokio::test]
async fn a_command_that_comes_behind_a_delayed_one_takes_its_delay_from_then() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'latency'\nby = 'request'\ndelay = '400ms'");
    let began = Instant::now();
    client.send(command("GET a")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send(command("GET b")).await;
    server.expect(command("GET a")).await;
    server.expect(command("GET b")).await;
    assert!(began.elapsed() >= Duration::from_millis(599));
    server.send("$1\r\nA\r\n$1\r\nB\r\n").await;
    client.expect("$1\r\nA\r\n$1\r\nB\r\n").await;
    let (first, second) = (rig.attempt().await, rig.attempt().await);
    assert!(second.began.since(first.began) >= Duration::from_millis(199));
    assert!(
        second.duration() >= Duration::from_millis(399),
        "{second:?}"
    );
}

#[tokio::test]
async fn a_command_that_came_before_a_delay_was_in_force_takes_it_whole() {
    let rig = Rig::new().await;
    let latency = "on = 'x'\nkind = 'latency'\nwhen = { operation = 'GET' }\ndelay = '140ms'";
    let other = "on = 'x'\nkind = 'latency'\nwhen = { operation = 'PING' }\ndelay = '1ms'";
    let hang = "on = 'x'\nkind = 'hang'\nwhen = { operation = 'SET' }";
    // The second of them holds: it is gone when there is but one.
    rig.switch
        .set(sample::together(&[other, hang], Protocol::Redis));
    let (mut client, mut server) = rig.pair().await;
    let lines = ["SET a 1", "GET b"].map(command).concat();
    client.send(&lines).await;
    server.expect_silence().await;
    let armed = Instant::now();
    rig.switch
        .set(sample::together(&[latency], Protocol::Redis));
    server.expect(&lines).await;
    assert!(armed.elapsed() >= Duration::from_millis(139));
}

#[tokio::test]
async fn a_client_that_leaves_before_a_delayed_close_comes_has_given_up() {
    for keys in [
        "kind = 'reset'\ndelay = '1h'",
        "kind = 'close'\nhow = 'slow'\ndelay = '1h'",
    ] {
        for is_behind in [false, true] {
            let linger = Duration::from_millis(50);
            let mut rig = Rig::with(|config| config.limits.linger = linger).await;
            rig.arm(&format!("{keys}\nwhen = {{ operation = 'SET' }}"));
            let (mut client, mut server) = rig.pair().await;
            if is_behind {
                client
                    .send([command("GET k"), command("SET k v")].concat())
                    .await;
                server.expect(command("GET k")).await;
            } else {
                client.send(command("SET k v")).await;
            }
            client.expect_silence().await;
            drop(client);
            let operations: &[&str] = if is_behind { &["GET", "SET"] } else { &["SET"] };
            for operation in operations {
                let seen = rig.attempt().await;
                assert_eq!(
                    (&*seen.operation, seen.end),
                    (*operation, AttemptEnd::GaveUp),
                    "{keys}"
                );
                assert_eq!(seen.faults.len(), usize::from(*operation == "SET"));
            }
        }
    }
    // Who stays is cut after the time.
    let mut rig = Rig::under("kind = 'reset'\ndelay = '100ms'").await;
    let (mut client, _server) = rig.pair().await;
    client.send(command("SET k v")).await;
    client.expect_reset().await;
    let seen = rig.attempt().await;
    assert_eq!(seen.end, AttemptEnd::Cut);
    assert!(seen.duration() >= Duration::from_millis(100), "{seen:?}");
}

#[tokio::test]
async fn what_a_script_did_before_its_error_stays() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    for (line, answer, applied) in [
        (
            "EVAL x 0",
            "-ERR Error running script\r\n",
            Applied::Unknown,
        ),
        ("EVALSHA a 0", "-WRONGTYPE of a key\r\n", Applied::Unknown),
        ("FCALL f 0", "-MINE whatever it likes\r\n", Applied::Unknown),
        ("EVAL x 0", ":1\r\n", Applied::Yes),
        (
            "EVALSHA a 0",
            "-NOSCRIPT No matching script\r\n",
            Applied::No,
        ),
        ("EVAL_RO x 0", "-ERR Error running script\r\n", Applied::No),
        ("INCR k", "-WRONGTYPE of a key\r\n", Applied::No),
    ] {
        ask(&mut client, &mut server, line, answer).await;
        assert_eq!(rig.attempt().await.applied, applied, "{line} {answer}");
    }
    ask(&mut client, &mut server, "MULTI", "+OK\r\n").await;
    ask(&mut client, &mut server, "EVAL x 0", "+QUEUED\r\n").await;
    ask(&mut client, &mut server, "INCR k", "+QUEUED\r\n").await;
    let failed = "*2\r\n-ERR of a script\r\n-WRONGTYPE of a key\r\n";
    ask(&mut client, &mut server, "EXEC", failed).await;
    assert_eq!(&*rig.attempt().await.operation, "MULTI");
    for applied in [Applied::Unknown, Applied::No] {
        assert_eq!(rig.attempt().await.applied, applied);
    }
}

#[tokio::test]
async fn a_copy_of_a_script_that_fails_may_have_been_carried_out() {
    for (line, unknown) in [("EVAL x 0", 2), ("INCR k", 0)] {
        let keys = "kind = 'ambiguous-write'\napplied = 'repeated'\ntimes = 3\nseen = 'time-out'\n\
                    when = { operation = ['EVAL', 'INCR'] }";
        let mut rig = Rig::under(keys).await;
        let (mut client, mut server) = rig.pair().await;
        client.send(command(line)).await;
        for _ in 0..3 {
            server.expect(command(line)).await;
        }
        server.send("-ERR no\r\n-ERR no\r\n").await;
        drop(server);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.repeated, seen.repeated_unknown),
            (0, unknown),
            "{line}"
        );
    }
}
