//! Statements of an overloaded server, and beyond a quota; over real sockets in real time, so that times
//! have lower bounds only.

use super::*;
use crate::{history::QueueSample, protocol::postgres::failing};

/// Nobody is served before the test is over.
const STUCK: &str = "kind = 'overload'\nservers = 1\nservice = '1000s'";

impl Rig {
    fn arm(&self, keys: &str) {
        let text = format!("on = 'x'\n{keys}");
        self.switch.set(sample::set(&text, Protocol::Postgres));
    }

    /// Waits until so many wait, and so many are served.
    async fn queue(&mut self, waiting: u64, serving: u64) -> QueueSample {
        loop {
            match soon(self.observations.recv()).await {
                Some(Observation::Queue(one))
                    if (one.waiting, one.serving) == (waiting, serving) =>
                {
                    return one;
                }
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        }
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("written");
}

/// An update that is refused with the error of this name. The server is made to fail in its place, so that
/// both agree on the session, which goes on.
async fn is_refused(client: &mut TcpStream, server: &mut TcpStream, name: &str) {
    send(client, &query("UPDATE t SET a = 1")).await;
    expect(server, &failing::simple()).await;
    send(server, &failed(b'I')).await;
    let told = [said(name, "UPDATE", "t"), message(b'Z', b"I")].concat();
    expect(client, &told).await;
}

async fn passes(client: &mut TcpStream, server: &mut TcpStream) {
    both(client, server, &query("SELECT a FROM t")).await;
    both(server, client, &done("SELECT 1", b'I')).await;
}

#[tokio::test]
async fn statements_wait_for_an_overloaded_server_one_after_the_other() {
    let mut rig = Rig::new().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(rig.session().await);
    }
    rig.arm("kind = 'overload'\nservers = 1\nservice = '60ms'");
    let mut clients = Vec::new();
    for (mut client, mut server) in sessions {
        send(&mut client, &query("SELECT a FROM t")).await;
        clients.push(client);
        tokio::spawn(async move {
            expect(&mut server, &query("SELECT a FROM t")).await;
            send(&mut server, &done("SELECT 1", b'I')).await;
            ends(&mut server).await;
        });
    }
    for client in &mut clients {
        expect(client, &done("SELECT 1", b'I')).await;
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(rig.attempt("SELECT").await);
    }
    let began = seen.iter().map(|one| one.began).min().expect("three");
    for (nth, one) in seen.iter().enumerate() {
        let since = one.ended.since(began);
        let least = Duration::from_millis(60) * (nth as u32 + 1);
        assert!(since >= least, "{nth}: {since:?}");
        assert_eq!(one.end, AttemptEnd::Answered);
    }
    assert_eq!((seen[0].faults.len(), seen[2].faults.len()), (0, 1));
}

#[tokio::test]
async fn without_room_a_statement_is_cancelled_and_its_session_goes_on() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.session().await;
    let (mut late, mut unasked) = rig.session().await;
    rig.arm(&format!("{STUCK}\nqueue = 0"));
    send(&mut client, &query("SELECT a FROM t")).await;
    rig.queue(0, 1).await;
    is_refused(&mut late, &mut unasked, "57014").await;
    let seen = rig.attempt("UPDATE").await;
    assert_eq!(seen.code.as_deref(), Some("57014"));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    rig.switch.set(FaultSet::default());
    passes(&mut late, &mut unasked).await;
}

#[tokio::test]
async fn who_leaves_while_waiting_was_never_asked() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.session().await;
    let (mut late, mut unasked) = rig.session().await;
    rig.arm(STUCK);
    send(&mut client, &query("SELECT a FROM t")).await;
    rig.queue(0, 1).await;
    send(&mut late, &query("UPDATE t SET a = 1")).await;
    rig.queue(1, 1).await;
    drop(late);
    let seen = rig.attempt("UPDATE").await;
    assert_eq!((seen.end, seen.applied), (AttemptEnd::GaveUp, Applied::No));
    assert_eq!(seen.faults.len(), 1);
    ends(&mut unasked).await;
}

#[tokio::test]
async fn statements_beyond_a_quota_are_refused_until_it_is_lifted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.arm("kind = 'quota'\ncounts = 'requests'\nlimit = 2\ntotal = true\nrefusal = '53400'");
    for _ in 0..2 {
        passes(&mut client, &mut server).await;
        assert_eq!(rig.attempt("SELECT").await.faults, []);
    }
    for _ in 0..2 {
        is_refused(&mut client, &mut server, "53400").await;
        let seen = rig.attempt("UPDATE").await;
        assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    }
    rig.switch.set(FaultSet::default());
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn connections_beyond_a_quota_are_refused_and_those_before_are_kept() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.session().await;
    rig.arm("kind = 'quota'\ncounts = 'connections'\nlimit = 1\nrefusal = '53300'");
    let mut late = rig.connect().await;
    send(&mut late, &startup()).await;
    expect(&mut late, &said("53300", "CONNECT", "")).await;
    ends(&mut late).await;
    passes(&mut client, &mut server).await;
}
