//! Statements of an overloaded server, and beyond a quota; over real sockets in real time, so that times
//! have lower bounds only.

use super::*;
use crate::history::QueueSample;

/// Nobody is served before the test is over.
const STUCK: &str = "kind = 'overload'\nservers = 1\nservice = '1000s'\nrefusal = '1205'";

impl Rig {
    /// Waits until so many wait, and so many are served.
    async fn queue(&mut self, waiting: u64, serving: u64) -> QueueSample {
        loop {
            match soon("a sample of the queue", self.observed.recv()).await {
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

#[tokio::test]
async fn statements_wait_for_an_overloaded_server_one_after_the_other() {
    let mut rig = Rig::new().await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(rig.pair().await);
    }
    rig.arm("kind = 'overload'\nservers = 1\nservice = '60ms'\nrefusal = '1205'");
    let mut clients = Vec::new();
    for (mut client, mut server) in pairs {
        client.send(query("select a from t")).await;
        clients.push(client);
        tokio::spawn(async move {
            server.expect(query("select a from t")).await;
            server.send(rows()).await;
            server.expect_fin().await;
        });
    }
    for client in &mut clients {
        client.expect(rows()).await;
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(rig.attempt().await);
    }
    let began = seen.iter().map(|one| one.began).min().unwrap();
    for (nth, one) in seen.iter().enumerate() {
        let since = one.ended.since(began);
        let least = Duration::from_millis(60) * (nth as u32 + 1);
        assert!(since >= least, "{nth}: {since:?}");
        assert_eq!(one.end, AttemptEnd::Answered);
    }
    assert_eq!((seen[0].faults.len(), seen[2].faults.len()), (0, 1));
}

#[tokio::test]
async fn without_room_a_statement_is_refused_and_its_session_goes_on() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (mut late, mut unasked) = rig.pair().await;
    rig.arm(&format!("{STUCK}\nqueue = 0"));
    client.send(query("select a from t")).await;
    rig.queue(0, 1).await;
    late.send(query("update t set a = 1")).await;
    late.expect(packet(1, LOCK_WAIT)).await;
    let seen = rig.attempt().await;
    assert_eq!(seen.code.as_deref(), Some("1205"));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    unasked.expect_silence().await;
    rig.lift();
    ask(&mut late, &mut unasked, "select a from t", &rows()).await;
}

#[tokio::test]
async fn who_leaves_while_waiting_was_never_asked() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (mut late, mut unasked) = rig.pair().await;
    rig.arm(STUCK);
    client.send(query("select a from t")).await;
    rig.queue(0, 1).await;
    late.send(query("update t set a = 1")).await;
    rig.queue(1, 1).await;
    drop(late);
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.applied), ("UPDATE", Applied::No));
    assert_eq!((seen.end, seen.faults.len()), (AttemptEnd::GaveUp, 1));
    unasked.expect_fin().await;
}

#[tokio::test]
async fn statements_beyond_a_quota_are_refused_until_it_is_lifted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'quota'\ncounts = 'requests'\nlimit = 2\ntotal = true\nrefusal = '1205'");
    for _ in 0..2 {
        ask(&mut client, &mut server, "select a from t", &rows()).await;
        assert_eq!(rig.attempt().await.faults, []);
    }
    for _ in 0..2 {
        client.send(query("update t set a = 1")).await;
        client.expect(packet(1, LOCK_WAIT)).await;
        let seen = rig.attempt().await;
        assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    }
    rig.lift();
    ask(&mut client, &mut server, "select a from t", &rows()).await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn connections_beyond_a_quota_are_refused_and_those_before_are_kept() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'quota'\ncounts = 'connections'\nlimit = 1\nrefusal = '1040'");
    let mut late = rig.client().await;
    late.expect(b"\x17\0\0\0\xff\x10\x04Too many connections")
        .await;
    late.expect_fin().await;
    ask(&mut client, &mut server, "select a from t", &rows()).await;
}
