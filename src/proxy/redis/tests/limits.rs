//! Commands of an overloaded server, and beyond a quota; over real sockets in real time, so that times
//! have lower bounds only.

use super::*;
use crate::history::QueueSample;

/// Nobody is served before the test is over.
const STUCK: &str = "kind = 'overload'\nservers = 1\nservice = '1000s'";

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
async fn commands_wait_for_an_overloaded_server_one_after_the_other() {
    let mut rig = Rig::new().await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(rig.pair().await);
    }
    rig.arm("kind = 'overload'\nservers = 1\nservice = '60ms'");
    let mut clients = Vec::new();
    for (mut client, mut server) in pairs {
        client.send(command("GET a")).await;
        clients.push(client);
        tokio::spawn(async move {
            server.expect(command("GET a")).await;
            server.send("$1\r\nA\r\n").await;
            server.expect_fin().await;
        });
    }
    for client in &mut clients {
        client.expect("$1\r\nA\r\n").await;
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
async fn without_room_a_command_is_refused_in_the_words_that_the_file_has() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (mut late, mut unasked) = rig.pair().await;
    rig.arm(&format!("{STUCK}\nqueue = 0\nrefusal = 'OOM'"));
    client.send(command("GET a")).await;
    rig.queue(0, 1).await;
    late.send(command("SET b 1")).await;
    late.expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
        .await;
    let seen = rig.attempt().await;
    assert_eq!(seen.code.as_deref(), Some("OOM"));
    assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    unasked.expect_silence().await;
}

#[tokio::test]
async fn of_itself_it_closes_connections_it_cannot_keep_up_with() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (mut late, mut unasked) = rig.pair().await;
    rig.arm(&format!("{STUCK}\nqueue = 0"));
    client.send(command("GET a")).await;
    rig.queue(0, 1).await;
    late.send(command("SET b 1")).await;
    late.expect_fin().await;
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.applied), ("SET", Applied::No));
    assert_eq!(seen.faults.len(), 1);
    unasked.expect_fin().await;
}

#[tokio::test]
async fn who_leaves_while_waiting_was_never_asked() {
    let mut rig = Rig::new().await;
    let (mut client, _server) = rig.pair().await;
    let (mut late, mut unasked) = rig.pair().await;
    rig.arm(STUCK);
    client.send(command("GET a")).await;
    rig.queue(0, 1).await;
    late.send(command("SET b 1")).await;
    rig.queue(1, 1).await;
    drop(late);
    let seen = rig.attempt().await;
    assert_eq!((&*seen.operation, seen.applied), ("SET", Applied::No));
    assert_eq!((seen.end, seen.faults.len()), (AttemptEnd::GaveUp, 1));
    unasked.expect_fin().await;
}

#[tokio::test]
async fn commands_beyond_a_quota_are_refused_until_it_is_lifted() {
    let mut rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'quota'\ncounts = 'requests'\nlimit = 2\ntotal = true\nrefusal = 'OOM'");
    for _ in 0..2 {
        ask(&mut client, &mut server, "SET a 1", "+OK\r\n").await;
        assert_eq!(rig.attempt().await.faults, []);
    }
    for _ in 0..2 {
        client.send(command("SET a 1")).await;
        client
            .expect("-OOM command not allowed when used memory > 'maxmemory'.\r\n")
            .await;
        let seen = rig.attempt().await;
        assert_eq!((seen.applied, seen.faults.len()), (Applied::No, 1));
    }
    rig.lift();
    ask(&mut client, &mut server, "SET a 1", "+OK\r\n").await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn connections_beyond_a_quota_are_refused_and_those_before_are_kept() {
    let rig = Rig::new().await;
    let (mut client, mut server) = rig.pair().await;
    rig.arm("kind = 'quota'\ncounts = 'connections'\nlimit = 1\nrefusal = 'max-clients'");
    let mut late = rig.client().await;
    late.expect("-ERR max number of clients reached\r\n").await;
    late.expect_fin().await;
    ask(&mut client, &mut server, "PING", "+PONG\r\n").await;
    drop((client, server));
}
