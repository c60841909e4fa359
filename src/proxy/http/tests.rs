//! What a client and a dependency see of each other through the proxy, byte for byte, over real
//! sockets; and what is observed meanwhile.

mod bytes;
mod channels;
mod conformance;
mod http2;
mod overload;
mod streams;

use super::{
    desk::{Desk, Door},
    http1::{Dial, Http1},
};
use crate::{
    fault::{
        Active, Behaviour, By, Closing, ConnectionEvent, Context, Decision, Direction, End,
        FaultId, FaultSet, Gate, Latency, Law, Reply, StreamShape, Switch, Then,
    },
    history::{Attempt, AttemptEnd, Observation, Outcome, Recorder},
    protocol::{Applied, Call, Protocol},
    proxy::{Config, Limits, Proxy, UpstreamAddress, tls, upstream::Alpn},
    scenario::Outcomes,
    seed::Seed,
    units::Micros,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for something that must happen, but not for ever.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

#[derive(Debug)]
struct Fixed(fn() -> Decision);

impl Behaviour for Fixed {
    fn request(&self, _call: &Call, _context: &Context) -> Option<Decision> {
        Some((self.0)())
    }
}

/// A fault on whole connections.
#[derive(Debug)]
struct OnConnection(fn() -> Decision);

impl Behaviour for OnConnection {
    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        Some((self.0)())
    }
}

/// Everything towards the client comes this much later.
#[derive(Debug)]
struct Slow(Duration);

impl Behaviour for Slow {
    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        let latency = Latency {
            law: Law::Constant(self.0),
            stream: (Seed(1), 1, 1),
        };
        vec![(Direction::Down, StreamShape::Latency(latency))]
    }
}

fn fault(id: u16, decide: fn() -> Decision) -> FaultSet {
    in_force(id, Fixed(decide))
}

fn in_force(id: u16, behaviour: impl Behaviour + 'static) -> FaultSet {
    FaultSet::new(vec![Arc::new(Active::new(
        FaultId(id),
        Gate::default(),
        Arc::new(behaviour),
        Seed(1),
        &["test"],
        Micros(0),
        Duration::from_secs(10),
        By::Request,
    ))])
}

/// A proxy between a client and a dependency that a test plays itself.
struct Rig {
    proxy: Proxy,
    upstream: TcpListener,
    switch: Switch,
    observed: mpsc::Receiver<Observation>,
    recorder: Recorder,
}

impl Rig {
    async fn new(protocol: Protocol) -> Self {
        Self::with(protocol, |_| {}).await
    }

    async fn with(protocol: Protocol, change: impl FnOnce(&mut Config)) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (recorder, observed) = Recorder::channel(1000);
        let switch = Switch::new();
        let mut config = Config {
            dependency: "store".into(),
            protocol,
            listen: None,
            tls: None,
            upstream: UpstreamAddress {
                host: "127.0.0.1".to_owned(),
                port: upstream.local_addr().unwrap().port(),
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
            upstream,
            switch,
            observed,
            recorder,
        }
    }

    async fn client(&self) -> Peer {
        Peer(TcpStream::connect(self.proxy.address()).await.unwrap())
    }

    async fn accept(&self) -> Peer {
        Peer(soon("a dial", self.upstream.accept()).await.unwrap().0)
    }

    /// The next attempt that is observed.
    async fn attempt(&mut self) -> Attempt {
        loop {
            match soon("an observation", self.observed.recv()).await {
                Some(Observation::Attempt(attempt)) => return attempt,
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        }
    }

    /// Stops the proxy; the attempts not yet asked for.
    async fn stop(mut self) -> Vec<Attempt> {
        soon("the stop", self.proxy.stop()).await;
        let mut attempts = Vec::new();
        while let Ok(observation) = self.observed.try_recv() {
            if let Observation::Attempt(attempt) = observation {
                attempts.push(attempt);
            }
        }
        attempts
    }

    /// A client and the dependency's end, after one exchange has passed between them.
    async fn met(&mut self) -> (Peer, Peer) {
        let mut client = self.client().await;
        client.send(GET).await;
        let mut upstream = self.accept().await;
        upstream.expect(GET).await;
        upstream.send(OK).await;
        client.expect(OK).await;
        self.attempt().await;
        (client, upstream)
    }
}

/// One end of a connection, played by a test.
struct Peer(TcpStream);

impl Peer {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let mut len = 0;
        while len < wanted.len() {
            let read = self.0.read(&mut got[len..]);
            match soon("the bytes expected", read).await {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) => panic!("{error} after {:?}", got[..len].escape_ascii()),
            }
        }
        assert_eq!(
            got[..len].escape_ascii().to_string(),
            wanted.escape_ascii().to_string()
        );
    }

    async fn expect_fin(&mut self) {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        let read = soon("the end", read).await;
        assert!(read.is_ok(), "{read:?}");
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    async fn expect_reset(&mut self) {
        let mut rest = Vec::new();
        let error = soon("the reset", self.0.read_to_end(&mut rest)).await;
        let kind = error.map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::ConnectionReset), "{rest:?}");
    }

    /// Whatever still comes, to the end.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        soon("the end", read).await.unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// Nothing comes for this long.
    async fn expect_silence(&mut self) {
        let mut byte = [0];
        let read = timeout(Duration::from_millis(40), self.0.read(&mut byte));
        assert!(read.await.is_err(), "nothing was to come");
    }

    async fn half_close(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const PUT: &str = "PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One exchange passes unchanged both ways, and the connection serves another one after it.
async fn check(request: &str, answer: &str) -> Attempt {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send(request).await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    upstream.send(answer).await;
    client.expect(answer).await;
    let attempt = rig.attempt().await;
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
    assert_eq!(rig.stop().await, []);
    attempt
}

#[tokio::test]
async fn heads_and_bodies_pass_byte_for_byte() {
    let chunked = "5;a=\"b\"\r\nhello\r\n00a\r\n0123456789\r\n0;x\r\nTrailer-A: b\r\n\r\n";
    let aws = "34\r\nb\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n\r\n0\r\n\r\n";
    let requests = [
        GET.to_owned(),
        PUT.to_owned(),
        "get /lower HTTP/1.1\r\n\r\n".to_owned(),
        "GET /a//../%20b?x=%2F&&y HTTP/1.1\r\nhOsT:x\r\nX-A:  1 \r\nx-a: 2\r\nX-A:\r\n\r\n"
            .to_owned(),
        "GET http://x/abs HTTP/1.1\r\nHost: y\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n{chunked}"),
        format!(
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Encoding: aws-chunked\r\n\r\n{aws}"
        ),
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        "\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
    ];
    for request in &requests {
        let attempt = check(request, OK).await;
        assert_eq!(attempt.end, AttemptEnd::Answered, "{request}");
        assert_eq!(attempt.applied, Applied::Yes);
        assert_eq!((attempt.status, attempt.bytes_down), (Some(200), 2));
        assert!(attempt.first_byte.unwrap() <= attempt.ended);
    }
    let answers = [
        format!("HTTP/1.1 200 \r\nTRANSFER-encoding: chunked\r\n\r\n{chunked}"),
        "HTTP/1.1 204 No Content\r\nX: 1\r\nX: 2\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n".to_owned(),
        "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Gone?\r\nContent-Length: 1\r\n\r\nx"
            .to_owned(),
        "HTTP/1.1 200 OK\r\nX-Old: a\r\n folded\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ];
    for answer in &answers {
        check(GET, answer).await;
    }
}

#[tokio::test]
async fn with_little_room_for_observations_a_request_is_held_up_and_counted() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    assert_eq!(rig.recorder.take_waited(), None);
    rig.recorder.fill();
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    let waited = rig.recorder.take_waited().expect("it was held up");
    assert_eq!(waited.count, 1);
}

#[tokio::test]
async fn what_an_attempt_observes_is_complete() {
    let attempt = check(PUT, "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nerr").await;
    assert_eq!(&*attempt.dependency, "store");
    assert_eq!(&*attempt.operation, "PUT");
    assert_eq!(&*attempt.key, "/b/k");
    assert_eq!((attempt.connection, attempt.attempt), (1, 1));
    assert_eq!((attempt.bytes_up, attempt.bytes_down), (5, 3));
    assert_eq!(attempt.applied, Applied::Unknown);
    assert!(attempt.began <= attempt.first_byte.unwrap());
    let attempt = check(PUT, "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(attempt.applied, Applied::No);
    assert_eq!(attempt.faults, []);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_its_length_says() {
    let head = "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n";
    check(head, "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n").await;
    check(
        head,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn a_body_until_close_ends_with_the_connection() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\nall that comes").await;
    drop(upstream);
    client.expect("HTTP/1.1 200 OK\r\n\r\nall that comes").await;
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert_eq!(attempt.bytes_down, 14);
}

#[tokio::test]
async fn permission_to_send_the_body_comes_from_upstream() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head).await;
    let mut upstream = rig.accept().await;
    upstream.expect(head).await;
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    upstream.expect("hello").await;
    upstream.send(OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, attempt.bytes_up), (Some(200), 5));
}

#[tokio::test]
async fn a_client_may_send_its_body_without_permission() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head).await;
    let mut upstream = rig.accept().await;
    upstream.expect(head).await;
    client.send("hello").await;
    upstream.expect("hello").await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.bytes_up, 5);
}

#[tokio::test]
async fn a_final_answer_in_place_of_permission_passes_and_the_connection_stays_right() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head).await;
    let mut upstream = rig.accept().await;
    upstream.expect(head).await;
    upstream
        .send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(rig.attempt().await.status, Some(417));
    // By the standard the body still belongs to the request.
    client.send("hello").await;
    client.send(GET).await;
    upstream.expect("hello").await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    // An upstream that closes instead takes the client's connection with it.
    client.send(head).await;
    upstream.expect(head).await;
    upstream
        .send("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    drop(upstream);
    client
        .expect("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        .await;
    client.expect_fin().await;
}

#[tokio::test]
async fn an_early_answer_passes_while_the_body_is_still_coming() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client
        .send("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut upstream = rig.accept().await;
    upstream
        .expect("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
    client.send("world").await;
    upstream.expect("world").await;
    client.send(GET).await;
    upstream.expect(GET).await;
}

#[tokio::test]
async fn pipelined_requests_are_served_in_order() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send([PUT, GET, GET].concat()).await;
    let mut upstream = rig.accept().await;
    upstream.expect(PUT).await;
    upstream.send("HTTP/1.1 204 1\r\n\r\n").await;
    upstream.expect(GET).await;
    upstream.send("HTTP/1.1 204 2\r\n\r\n").await;
    client.half_close().await;
    upstream.expect(GET).await;
    upstream
        .send("HTTP/1.1 204 3\r\nConnection: close\r\n\r\n")
        .await;
    client
        .expect("HTTP/1.1 204 1\r\n\r\nHTTP/1.1 204 2\r\n\r\n")
        .await;
    let first = rig.attempt().await;
    assert_eq!(
        (&*first.operation, first.end),
        ("PUT", AttemptEnd::Answered)
    );
}

#[tokio::test]
async fn an_upgraded_connection_carries_anything_and_closes_each_way_on_its_own() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let request = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    client.send(request).await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    upstream.send(format!("{answer}\x01first")).await;
    client.expect(format!("{answer}\x01first")).await;
    assert_eq!(rig.attempt().await.status, Some(101));
    client.send("GET not a request").await;
    upstream.expect("GET not a request").await;
    client.half_close().await;
    upstream.expect_fin().await;
    upstream.send("last words").await;
    drop(upstream);
    client.expect("last words").await;
    client.expect_fin().await;
}

#[tokio::test]
async fn connect_is_relayed_like_an_upgrade() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let request = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    client.send(request).await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    upstream.send("HTTP/1.1 200 Yes\r\n\r\n").await;
    client.expect("HTTP/1.1 200 Yes\r\n\r\n").await;
    client.send("\x16\x03").await;
    upstream.expect("\x16\x03").await;
    assert_eq!(rig.attempt().await.status, Some(200));
}

#[tokio::test]
async fn who_leaves_because_it_was_told_the_end_of_its_answers_was_cut_off() {
    let half = || Decision::end(End::Close(Closing::HalfClose));
    for (told_first, end) in [(true, AttemptEnd::Cut), (false, AttemptEnd::GaveUp)] {
        let mut rig = Rig::new(Protocol::Http).await;
        let mut client = rig.client().await;
        client.send(GET).await;
        let mut upstream = rig.accept().await;
        upstream.expect(GET).await;
        if told_first {
            rig.switch.set(in_force(7, OnConnection(half)));
            client.expect_fin().await;
        }
        client.0.set_zero_linger().unwrap();
        drop(client);
        let seen = rig.attempt().await;
        assert_eq!(
            (seen.end, seen.faults.len()),
            (end, usize::from(told_first))
        );
    }
}

#[tokio::test]
async fn a_client_that_said_it_would_close_may_half_close_and_wait() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let request = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    client.send(request).await;
    client.half_close().await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    upstream.expect_fin().await;
    upstream
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbye")
        .await;
    drop(upstream);
    client
        .expect("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbye")
        .await;
    client.expect_fin().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
}

#[tokio::test]
async fn a_client_that_would_have_kept_its_connection_may_half_close_and_wait() {
    let mut rig = Rig::new(Protocol::Http).await;
    for request in [GET, PUT] {
        let mut client = rig.client().await;
        client.send(request).await;
        client.half_close().await;
        let mut upstream = rig.accept().await;
        upstream.expect(request).await;
        upstream.expect_fin().await;
        upstream.send(OK).await;
        client.expect(OK).await;
        client.expect_fin().await;
        assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_gave_up_at_that_moment() {
    let mut rig = Rig::new(Protocol::Http).await;
    for answers in [false, true] {
        let mut client = rig.client().await;
        client.send(PUT).await;
        let mut upstream = rig.accept().await;
        upstream.expect(PUT).await;
        let left = rig.recorder.now();
        drop(client);
        upstream.expect_fin().await;
        let until = rig.recorder.now();
        // The dependency says more, or nothing, and much later.
        tokio::time::sleep(Duration::from_millis(40)).await;
        if answers {
            upstream.send(OK).await;
        }
        drop(upstream);
        let attempt = rig.attempt().await;
        assert_eq!(attempt.end, AttemptEnd::GaveUp);
        assert!(left <= attempt.ended && attempt.ended <= until);
        if !answers {
            assert_eq!(attempt.applied, Applied::Unknown);
            assert_eq!((attempt.status, attempt.first_byte), (None, None));
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_from_a_silent_dependency_gave_up_when_it_did() {
    let rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    drop(client);
    upstream.expect_fin().await;
    let until = rig.recorder.now();
    let attempts = rig.stop().await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].end, AttemptEnd::GaveUp);
    assert!(attempts[0].ended <= until);
}

#[tokio::test]
async fn a_client_that_goes_away_from_an_upload_that_nobody_takes_is_noticed() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client
        .send("PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        .await;
    let _upstream = rig.accept().await;
    let chunk = vec![0; 100_000];
    let blocked = Duration::from_millis(200);
    while timeout(blocked, client.send(&chunk)).await.is_ok() {}
    client.0.set_zero_linger().unwrap();
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::GaveUp, Applied::No)
    );
}

#[tokio::test]
async fn a_closing_client_that_goes_away_gave_up_when_it_did() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    let request = "GET / HTTP/1.0\r\n\r\n";
    client.send(request).await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    drop(client);
    upstream.expect_fin().await;
    drop(upstream);
    assert_eq!(rig.attempt().await.end, AttemptEnd::GaveUp);
}

#[tokio::test]
async fn upstream_that_fails_is_passed_on_as_it_failed() {
    let mut rig = Rig::new(Protocol::Http).await;
    // Closed without an answer.
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    drop(upstream);
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.applied, Applied::Unknown);
    // Reset within the answer's body.
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
    upstream.send(part).await;
    client.expect(part).await;
    upstream.0.set_zero_linger().unwrap();
    drop(upstream);
    client.expect_reset().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
    // Not HTTP at all.
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    upstream.send("-ERR unknown command\r\n").await;
    client.expect("-ERR unknown command\r\n").await;
    client.expect_fin().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
}

#[tokio::test]
async fn upstream_that_refuses_shows_as_a_reset() {
    let mut rig = Rig::new(Protocol::Http).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.upstream = nobody;
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.applied, Applied::No);
}

#[tokio::test]
async fn an_idle_connection_that_upstream_closed_is_replaced() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, upstream) = rig.met().await;
    drop(upstream);
    client.send(PUT).await;
    let mut upstream = rig.accept().await;
    upstream.expect(PUT).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
}

#[tokio::test]
async fn ambiguous_or_malformed_requests_are_refused_and_observed() {
    for (request, status) in [
        (
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (
            &format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(70_000)),
            431,
        ),
        (
            &format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(129)),
            431,
        ),
    ] {
        let mut rig = Rig::new(Protocol::Http).await;
        let mut client = rig.client().await;
        client.send(request).await;
        let answer = client.rest().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        let attempt = rig.attempt().await;
        assert_eq!(&*attempt.operation, "malformed");
        assert_eq!(attempt.status, Some(status));
        assert_eq!(attempt.applied, Applied::No);
    }
}

#[tokio::test]
async fn a_body_with_broken_chunks_is_refused() {
    let mut rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client
        .send("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello")
        .await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, attempt.applied), (Some(400), Applied::No));
}

#[tokio::test]
async fn requests_that_are_open_at_the_stop_are_unfinished() {
    let rig = Rig::new(Protocol::Http).await;
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    let attempts = rig.stop().await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].end, AttemptEnd::Unfinished);
}

fn slow_down() -> Reply {
    Reply::S3 {
        code: "SlowDown".to_owned(),
        status: None,
        headers: Vec::new(),
        in_200: false,
        close: None,
    }
}

fn teapot(close: bool) -> Reply {
    Reply::Http {
        status: 418,
        reason: "Teapot".to_owned(),
        headers: Vec::new(),
        body: "short".into(),
        close,
        chunked: false,
    }
}

#[tokio::test]
async fn a_reply_stands_in_for_a_dependency_that_never_sees_the_request() {
    let mut rig = Rig::new(Protocol::S3).await;
    rig.switch
        .set(fault(3, || Decision::end(End::Reply(slow_down()))));
    let mut client = rig.client().await;
    client.send(PUT).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 Slow Down\r\n"), "{answer}");
    assert!(answer.contains("<Code>SlowDown</Code>"), "{answer}");
    let attempt = rig.attempt().await;
    assert_eq!(attempt.code.as_deref(), Some("SlowDown"));
    assert_eq!(&*attempt.operation, "PutObject");
    assert_eq!(attempt.applied, Applied::No);
    assert_eq!(attempt.faults, [FaultId(3)]);
    assert_eq!(attempt.bytes_up, 5);
}

#[tokio::test]
async fn after_a_reply_the_connection_goes_on_unless_the_reply_closes_it() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(fault(0, || Decision::end(End::Reply(teapot(false)))));
    let mut client = rig.client().await;
    client.send(&PUT[..PUT.len() - 2]).await;
    client.expect("HTTP/1.1 418 Teapot\r\n").await;
    client.send("lo").await;
    assert_eq!(rig.attempt().await.bytes_up, 5);
    rig.switch.heal();
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    rig.switch
        .set(fault(0, || Decision::end(End::Reply(teapot(true)))));
    let mut client = rig.client().await;
    client.send(PUT).await;
    assert!(client.rest().await.ends_with("\r\n\r\nshort"));
}

#[tokio::test]
async fn a_reply_in_place_of_permission_closes_the_connection() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(fault(0, || Decision::end(End::Reply(teapot(false)))));
    let mut client = rig.client().await;
    client
        .send("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert!(client.rest().await.ends_with("\r\n\r\nshort"));
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, attempt.bytes_up), (Some(418), 0));
}

#[tokio::test]
async fn garbage_and_nothing_are_no_answers() {
    let mut rig = Rig::new(Protocol::Http).await;
    let garbage = || Decision::end(End::Reply(Reply::Garbage("\0\x01garbage".into())));
    rig.switch.set(fault(0, garbage));
    let mut client = rig.client().await;
    client.send(GET).await;
    assert_eq!(client.rest().await, "\0\x01garbage");
    let attempt = rig.attempt().await;
    assert_eq!((attempt.end, attempt.status), (AttemptEnd::Cut, None));
    rig.switch
        .set(fault(0, || Decision::end(End::Reply(Reply::Empty))));
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect_fin().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Cut);
}

#[tokio::test]
async fn connections_close_as_the_fault_says() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut pooled, _upstream) = rig.met().await;
    rig.switch
        .set(fault(0, || Decision::end(End::Close(Closing::Reset))));
    pooled.send(GET).await;
    pooled.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::Cut, Applied::No)
    );
    rig.switch
        .set(fault(0, || Decision::end(End::Close(Closing::Fin))));
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect_fin().await;
    assert_eq!(rig.attempt().await.end, AttemptEnd::Cut);
    let slow = || {
        let closing = Closing::SlowClose(Duration::from_millis(50));
        Decision::end(End::Close(closing))
    };
    rig.switch.set(fault(0, slow));
    let mut client = rig.client().await;
    client.send(GET).await;
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert!(attempt.ended.since(attempt.began) >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_delay_comes_before_anything_is_forwarded() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch
        .set(fault(0, || Decision::delay(Duration::from_millis(60))));
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert!(attempt.ended.since(attempt.began) >= Duration::from_millis(60));
    assert_eq!((attempt.faults, attempt.released), (vec![FaultId(0)], None));
}

#[tokio::test]
async fn a_hanging_request_is_forwarded_when_the_fault_is_lifted() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, || Decision::end(End::Hang)));
    let mut client = rig.client().await;
    let body = "x".repeat(300_000);
    let request = format!("PUT / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n{body}");
    client.send(&request).await;
    let asked = timeout(Duration::from_millis(50), rig.upstream.accept());
    assert!(asked.await.is_err(), "nothing is forwarded while it hangs");
    rig.switch.heal();
    let mut upstream = rig.accept().await;
    upstream.expect(&request).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert!(attempt.released.unwrap() <= attempt.first_byte.unwrap());
    assert_eq!(
        (attempt.bytes_up, attempt.faults),
        (300_000, vec![FaultId(0)])
    );
}

#[tokio::test]
async fn a_held_client_that_gives_up_is_noticed_however_much_it_sent() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, || Decision::end(End::Hang)));
    for len in [5, 20_000_000] {
        let mut client = rig.client().await;
        let head = format!("PUT / HTTP/1.1\r\nContent-Length: {len}\r\n\r\n");
        client.send(head).await;
        client.send("x".repeat(len)).await;
        drop(client);
        let attempt = rig.attempt().await;
        assert_eq!(attempt.end, AttemptEnd::GaveUp);
        assert_eq!((attempt.applied, attempt.released), (Applied::No, None));
    }
}

/// A request with a head and a body that are larger than what is kept of it while it is held.
async fn more_than_is_kept(decide: fn() -> Decision, blocks: usize) -> (Rig, Peer, String) {
    let rig = Rig::with(Protocol::Http, |config| {
        config.limits.held_bytes = 128 * 1024;
    })
    .await;
    rig.switch.set(fault(0, decide));
    let client = rig.client().await;
    let head = format!(
        "PUT / HTTP/1.1\r\nA: {}\r\nContent-Length: {}\r\n\r\n",
        "a".repeat(30_000),
        blocks * 600_000
    );
    let block: String = (0..100_000).map(|n| format!("{n:06}")).collect();
    (rig, client, head + &block.repeat(blocks))
}

#[tokio::test]
async fn a_delayed_request_arrives_whole_however_large_it_is() {
    let delays: [fn() -> Decision; 2] = [
        || Decision::delay(Duration::from_millis(80)),
        || {
            let mut decision = Decision::delay(Duration::from_millis(80));
            decision.end = Some(End::Forward(Then::Late(Duration::from_millis(1))));
            decision
        },
    ];
    for delay in delays {
        let (mut rig, client, request) = more_than_is_kept(delay, 5).await;
        let (mut reader, mut writer) = client.0.into_split();
        let sent = request.clone();
        let sending = tokio::spawn(async move {
            writer.write_all(sent.as_bytes()).await.unwrap();
            writer
        });
        let mut upstream = rig.accept().await;
        let mut got = vec![0; request.len()];
        let arriving = upstream.0.read_exact(&mut got);
        soon("the whole request", arriving).await.unwrap();
        assert!(got == request.as_bytes(), "every byte, in order");
        upstream.send(OK).await;
        let mut answer = vec![0; OK.len()];
        let answering = reader.read_exact(&mut answer);
        soon("the answer", answering).await.unwrap();
        drop(sending.await.unwrap());
        assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
    }
}

#[tokio::test]
async fn a_request_of_which_something_was_thrown_away_is_never_forwarded_or_answered() {
    // More than the kernel takes off the client's hands.
    let hang = || Decision::end(End::Hang);
    let (mut rig, mut client, request) = more_than_is_kept(hang, 40).await;
    client.send(&request).await;
    rig.switch.set(fault(1, || {
        let mut decision = Decision::delay(Duration::from_millis(1));
        decision.end = Some(End::Forward(Then::Late(Duration::from_millis(1))));
        decision
    }));
    let asked = timeout(Duration::from_millis(40), rig.upstream.accept());
    assert!(asked.await.is_err(), "nothing is forwarded");
    assert_eq!(client.rest().await, "");
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Unfinished);
    assert_eq!(attempt.applied, Applied::No);
}

#[tokio::test]
async fn another_fault_may_take_over_who_is_held() {
    let mut rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, || Decision::end(End::Hang)));
    let mut client = rig.client().await;
    client.send(GET).await;
    let asked = timeout(Duration::from_millis(20), rig.upstream.accept());
    assert!(asked.await.is_err());
    rig.switch
        .set(fault(1, || Decision::end(End::Reply(teapot(true)))));
    assert!(client.rest().await.starts_with("HTTP/1.1 418 "));
    let attempt = rig.attempt().await;
    assert_eq!(attempt.faults, [FaultId(0), FaultId(1)]);
    assert!(attempt.released.is_some());
}

/// A dependency that answered, and what the client then saw and the history holds.
async fn after_forward(decide: fn() -> Decision, answer: &str) -> (Rig, Peer, Peer) {
    let rig = Rig::new(Protocol::Http).await;
    rig.switch.set(fault(0, decide));
    let mut client = rig.client().await;
    client.send(PUT).await;
    let mut upstream = rig.accept().await;
    upstream.expect(PUT).await;
    upstream.send(answer).await;
    (rig, client, upstream)
}

#[tokio::test]
async fn an_applied_request_can_be_answered_with_an_error() {
    let decide = || Decision::end(End::Forward(Then::Reply(teapot(false))));
    let (mut rig, mut client, mut upstream) = after_forward(decide, OK).await;
    client.expect("HTTP/1.1 418 Teapot\r\n").await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, attempt.applied), (Some(418), Applied::Yes));
    rig.switch.heal();
    client.send(GET).await;
    upstream.expect(GET).await;
}

#[tokio::test]
async fn a_lost_answer_never_comes_and_lifting_the_fault_closes_the_connection() {
    let decide = || Decision::end(End::Forward(Then::Lose));
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect_silence().await;
    rig.switch.heal();
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Unfinished);
    assert_eq!(attempt.applied, Applied::Yes);
    assert!(attempt.released.is_some());
}

#[tokio::test]
async fn a_client_gives_up_on_a_lost_answer() {
    let decide = || Decision::end(End::Forward(Then::Lose));
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect_silence().await;
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::GaveUp);
    assert_eq!((attempt.applied, attempt.released), (Applied::Yes, None));
}

#[tokio::test]
async fn a_fault_on_an_answer_that_never_came_did_not_act() {
    let mut rig = Rig::new(Protocol::Http).await;
    let decide = || Decision::end(End::Forward(Then::Reply(teapot(false))));
    rig.switch.set(fault(0, decide));
    let hits = |rig: &Rig| rig.switch.subscribe().borrow().faults()[0].hits();
    // The client leaves first.
    let mut client = rig.client().await;
    client.send(PUT).await;
    let mut upstream = rig.accept().await;
    upstream.expect(PUT).await;
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!((attempt.end, attempt.faults), (AttemptEnd::GaveUp, vec![]));
    // The dependency closes without an answer.
    let mut client = rig.client().await;
    client.send(PUT).await;
    let mut upstream = rig.accept().await;
    upstream.expect(PUT).await;
    drop(upstream);
    client.expect_fin().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.faults, []);
    // It refuses.
    rig.upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = rig.client().await;
    client.send(PUT).await;
    client.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::UpstreamFailed);
    assert_eq!(attempt.faults, []);
    assert_eq!(hits(&rig), 0);
}

#[tokio::test]
async fn a_connection_can_close_in_place_of_the_answer() {
    let decide = || Decision::end(End::Forward(Then::Close(Closing::Reset)));
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::Cut, Applied::Yes)
    );
}

/// An ambiguous write as a file says it.
fn ambiguous(keys: &str) -> FaultSet {
    let text = format!("kind = 'ambiguous-write'\non = 'x'\n{keys}");
    crate::fault::sample::set(&text, Protocol::Http)
}

#[tokio::test]
async fn a_write_that_never_arrives_does_not_arrive_when_the_fault_is_lifted_either() {
    for (keys, answer) in [
        ("applied = 'no'", ""),
        (
            "applied = 'no'\nseen = 'late'\ndelay = '1h'\nstatus = 503\nclose = true",
            "HTTP/1.1 503 ",
        ),
    ] {
        let mut rig = Rig::new(Protocol::Http).await;
        let (mut client, mut upstream) = rig.met().await;
        rig.switch.set(ambiguous(keys));
        client.send(PUT).await;
        client.expect_silence().await;
        rig.switch.set(FaultSet::default());
        let rest = client.rest().await;
        assert!(
            rest.starts_with(answer) && rest.is_empty() == answer.is_empty(),
            "{rest}"
        );
        let attempt = rig.attempt().await;
        assert_eq!(attempt.applied, Applied::No, "{keys}");
        assert!(attempt.released.is_some() && attempt.faults.len() == 1);
        drop(client);
        upstream.expect_fin().await;
    }
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, _upstream) = rig.met().await;
    let late = "applied = 'no'\nseen = 'late'\ndelay = '100ms'\nstatus = 503";
    rig.switch.set(ambiguous(late));
    client.send(PUT).await;
    client.expect("HTTP/1.1 503 ").await;
    let attempt = rig.attempt().await;
    assert!(attempt.ended.since(attempt.began) >= Duration::from_millis(100));
    assert_eq!((attempt.applied, attempt.released), (Applied::No, None));
}

#[tokio::test]
async fn a_write_can_be_carried_out_several_times_whatever_its_client_sees() {
    const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
    const REFUSED: &str = "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
    let own = || async {
        let mut rig = Rig::new(Protocol::Http).await;
        let (client, upstream) = rig.met().await;
        (rig, client, upstream)
    };
    const FAILED: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    for (first, second, third, applied, repeated, unknown) in [
        (CREATED, CREATED, CREATED, Applied::Yes, 2, 0),
        (CREATED, REFUSED, REFUSED, Applied::Yes, 0, 0),
        (REFUSED, CREATED, CREATED, Applied::Yes, 1, 0),
        (REFUSED, REFUSED, REFUSED, Applied::No, 0, 0),
        // An error of the server's does not tell, nor does no answer.
        (CREATED, FAILED, CREATED, Applied::Yes, 1, 1),
        (CREATED, CREATED, "", Applied::Yes, 1, 1),
        (FAILED, CREATED, "", Applied::Yes, 0, 2),
        (REFUSED, FAILED, "", Applied::Unknown, 0, 1),
    ] {
        let (mut rig, mut client, mut upstream) = own().await;
        rig.switch.set(ambiguous(
            "applied = 'repeated'\ntimes = 3\nseen = 'late'\ndelay = '1ms'",
        ));
        client.send(PUT).await;
        upstream.expect(PUT).await;
        upstream.send(first).await;
        for answer in [second, third] {
            let mut copy = rig.accept().await;
            copy.expect(PUT).await;
            copy.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            copy.send(answer).await;
        }
        client.expect(first).await;
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.applied, attempt.repeated, attempt.repeated_unknown),
            (applied, repeated, unknown),
            "{first} {second} {third}"
        );
        // The connection goes on.
        client.send(GET).await;
        upstream.expect(GET).await;
    }
    let (mut rig, mut client, mut upstream) = own().await;
    rig.switch
        .set(ambiguous("applied = 'repeated'\nseen = 'reset'"));
    client.send(PUT).await;
    upstream.expect(PUT).await;
    upstream.send(CREATED).await;
    let mut copy = rig.accept().await;
    copy.expect(PUT).await;
    copy.send(CREATED).await;
    client.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.end, attempt.repeated), (AttemptEnd::Cut, 1));
}

#[tokio::test]
async fn a_copy_that_is_under_way_when_the_client_gives_up_may_have_been_carried_out() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    rig.switch.set(ambiguous(
        "applied = 'repeated'\ntimes = 3\nseen = 'time-out'",
    ));
    client.send(PUT).await;
    upstream.expect(PUT).await;
    upstream.send(OK).await;
    let mut copy = rig.accept().await;
    copy.expect(PUT).await;
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.applied),
        (AttemptEnd::GaveUp, Applied::Yes)
    );
    // The third was never sent.
    assert_eq!((attempt.repeated, attempt.repeated_unknown), (0, 1));
}

#[tokio::test]
async fn a_request_that_is_too_long_to_be_repeated_passes_and_is_no_hit() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    rig.switch
        .set(ambiguous("applied = 'repeated'\nseen = 'reset'"));
    let body = "x".repeat(1024 * 1024);
    let put = format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::join!(client.send(&put), upstream.expect(&put));
    upstream.send(OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.repeated, attempt.faults.len()), (0, 0));
}

#[tokio::test]
async fn a_late_answer_comes_later_and_at_once_when_lifted() {
    let decide = || Decision::end(End::Forward(Then::Late(Duration::from_millis(60))));
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert!(attempt.ended.since(attempt.began) >= Duration::from_millis(60));
    let decide = || Decision::end(End::Forward(Then::Late(Duration::from_secs(3600))));
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect_silence().await;
    rig.switch.heal();
    client.expect(OK).await;
    assert!(rig.attempt().await.released.is_some());
}

const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
const LONG_CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n";

#[tokio::test]
async fn a_body_stalls_after_its_first_bytes_until_the_fault_is_lifted() {
    let decide = || {
        let stall = Then::StallBody {
            after: 4,
            pause: None,
        };
        Decision::end(End::Forward(stall))
    };
    for (answer, first) in [
        (LONG, LONG.len() - 6),
        (LONG_CHUNKED, LONG_CHUNKED.len() - 13),
    ] {
        let (mut rig, mut client, _upstream) = after_forward(decide, answer).await;
        client.expect(&answer[..first]).await;
        client.expect_silence().await;
        rig.switch.heal();
        client.expect(&answer[first..]).await;
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.end, attempt.bytes_down),
            (AttemptEnd::Answered, 10)
        );
        assert!(attempt.released.unwrap() > attempt.first_byte.unwrap());
    }
}

#[tokio::test]
async fn a_body_is_cut_after_its_first_bytes() {
    let decide = || {
        let cut = Then::TruncateBody {
            after: 4,
            closing: Closing::Fin,
        };
        Decision::end(End::Forward(cut))
    };
    for (answer, first) in [
        (LONG, LONG.len() - 6),
        (LONG_CHUNKED, LONG_CHUNKED.len() - 13),
    ] {
        let (mut rig, mut client, _upstream) = after_forward(decide, answer).await;
        client.expect(&answer[..first]).await;
        client.expect_fin().await;
        let attempt = rig.attempt().await;
        assert_eq!((attempt.end, attempt.bytes_down), (AttemptEnd::Cut, 4));
        assert_eq!((attempt.status, attempt.applied), (Some(200), Applied::Yes));
    }
    // A body that is no longer than that is not cut.
    let (mut rig, mut client, _upstream) = after_forward(decide, OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.faults),
        (AttemptEnd::Answered, vec![])
    );
}

#[tokio::test]
async fn an_answer_can_lose_its_body() {
    let decide = || Decision::end(End::Forward(Then::EmptyBody));
    let answer = "HTTP/1.1 404 No\r\nETag: \"a\"\r\nContent-Length: 10\r\nX: y\r\n\r\n0123456789";
    let (mut rig, mut client, mut upstream) = after_forward(decide, answer).await;
    client
        .expect("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nX: y\r\nContent-Length: 0\r\n\r\n")
        .await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, attempt.applied), (Some(200), Applied::No));
    rig.switch.heal();
    client.send(GET).await;
    upstream.expect(GET).await;
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_to_lose() {
    let decide = || Decision::end(End::Forward(Then::EmptyBody));
    let answer = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 0\r\n\r\n";
    let (mut rig, mut client, _upstream) = after_forward(decide, answer).await;
    client.expect(answer).await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.status, &*attempt.faults), (Some(200), &[][..]));
    let set = rig.switch.subscribe().borrow().clone();
    assert_eq!(set.faults()[0].hits(), 0);
}

#[tokio::test]
async fn a_stale_answer_is_the_one_given_before() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    rig.switch
        .set(fault(0, || Decision::end(End::Forward(Then::Stale))));
    let set = rig.switch.current();
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
        .await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!((attempt.faults, attempt.bytes_down), (vec![FaultId(0)], 2));
    // Nothing is known of another path.
    let other = GET.replace("/a", "/other");
    client.send(&other).await;
    upstream.expect(&other).await;
    upstream.send(LONG).await;
    client.expect(LONG).await;
    assert_eq!(rig.attempt().await.faults, []);
    assert_eq!(set.faults()[0].hits(), 1);
}

#[tokio::test]
async fn an_answer_counts_when_it_left_for_the_client_and_not_when_it_was_written() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    rig.switch.set(in_force(2, Slow(Duration::from_millis(60))));
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    let first_byte = attempt.first_byte.unwrap();
    assert!(first_byte.since(attempt.began) >= Duration::from_millis(60));
    assert!(attempt.ended >= first_byte);
    assert_eq!(attempt.faults, [FaultId(2)]);
    // The same connection without the fault.
    rig.switch.heal();
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect(OK).await;
    assert_eq!(rig.attempt().await.faults, []);
}

#[tokio::test]
async fn a_client_that_leaves_before_a_slow_answer_arrives_gave_up() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut client, mut upstream) = rig.met().await;
    rig.switch.set(in_force(2, Slow(Duration::from_secs(3600))));
    client.send(GET).await;
    upstream.expect(GET).await;
    upstream.send(OK).await;
    client.expect_silence().await;
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::GaveUp);
    assert_eq!(attempt.applied, Applied::Yes);
}

/// What one exchange observes of whether it was carried out.
async fn applied(rig: &mut Rig, request: &str, answer: &str, seen: Option<&str>) -> Applied {
    let mut client = rig.client().await;
    client.send(request).await;
    let mut upstream = rig.accept().await;
    upstream.expect(request).await;
    upstream.send(answer).await;
    match seen {
        Some(seen) => client.expect(seen).await,
        None => client.expect(answer).await,
    }
    rig.attempt().await.applied
}

#[tokio::test]
async fn an_error_of_the_stores_own_within_a_200_says_that_nothing_was_done() {
    let mut rig = Rig::new(Protocol::S3).await;
    let copy =
        "PUT /b/k HTTP/1.1\r\nHost: x\r\nx-amz-copy-source: /b/o\r\nContent-Length: 0\r\n\r\n";
    let answer = |body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let done = answer("<CopyObjectResult/>");
    let error = |code: &str| answer(&format!("<Error><Code>{code}</Code></Error>"));
    for (answer, expected) in [
        (done.clone(), Applied::Yes),
        (error("InternalError"), Applied::Unknown),
        (error("AccessDenied"), Applied::No),
    ] {
        let seen = applied(&mut rig, copy, &answer, None).await;
        assert_eq!(seen, expected, "{answer}");
    }
    // A fault's is no word of the store's.
    rig.switch.set(fault(3, || {
        let reply = Reply::S3 {
            code: "InternalError".to_owned(),
            status: None,
            headers: Vec::new(),
            in_200: true,
            close: None,
        };
        Decision::end(End::Forward(Then::Reply(reply)))
    }));
    let seen = applied(&mut rig, copy, &done, Some("HTTP/1.1 200 OK")).await;
    assert_eq!(seen, Applied::Yes);
}

#[tokio::test]
async fn a_post_that_is_led_on_to_its_result_was_carried_out() {
    let mut rig = Rig::new(Protocol::Http).await;
    for (method, status, expected) in [
        ("POST", 303, Applied::Yes),
        ("POST", 302, Applied::Unknown),
        ("POST", 307, Applied::No),
        ("PUT", 303, Applied::No),
    ] {
        let request = format!("{method} /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let answer =
            format!("HTTP/1.1 {status} There\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
        let seen = applied(&mut rig, &request, &answer, None).await;
        assert_eq!(seen, expected, "{method} {status}");
    }
}

/// Whether it reads on is only seen when it is sent something.
#[tokio::test]
async fn a_closing_client_that_leaves_before_a_slow_answer_arrives_gave_up_when_it_left() {
    let mut rig = Rig::new(Protocol::Http).await;
    let delay = Duration::from_secs(1);
    let request = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    rig.switch.set(in_force(2, Slow(delay)));
    let answer = || Decision::end(End::Reply(teapot(true)));
    for is_ours in [false, true] {
        for reads_on in [false, true] {
            if is_ours {
                let mut both = in_force(2, Slow(delay)).faults().to_vec();
                both.extend(fault(3, answer).faults().to_vec());
                rig.switch.set(FaultSet::new(both));
            }
            let mut client = rig.client().await;
            client.send(request).await;
            if !is_ours {
                let mut upstream = rig.accept().await;
                upstream.expect(request).await;
                upstream.send(OK).await;
            }
            client.expect_silence().await;
            let left = rig.recorder.now();
            if reads_on {
                client.half_close().await;
                assert!(client.rest().await.starts_with("HTTP/1.1"));
            } else {
                drop(client);
            }
            let attempt = rig.attempt().await;
            let took = attempt.ended.since(attempt.began);
            if reads_on {
                assert_eq!(attempt.end, AttemptEnd::Answered);
                assert!(took >= delay, "{took:?}");
            } else {
                assert_eq!(attempt.end, AttemptEnd::GaveUp);
                assert!(attempt.ended >= left && took < delay / 2, "{took:?}");
                assert_eq!((attempt.status, attempt.first_byte), (None, None));
            }
        }
    }
}

#[tokio::test]
async fn requests_on_a_connection_that_hangs_are_observed_and_go_on_when_it_is_lifted() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut pooled, mut upstream) = rig.met().await;
    let hang = || OnConnection(|| Decision::end(End::Hang));
    rig.switch.set(in_force(4, hang()));
    // Given up, on a new connection.
    let mut client = rig.client().await;
    client.send(PUT).await;
    client.expect_silence().await;
    drop(client);
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::GaveUp);
    assert_eq!(
        (attempt.applied, attempt.faults),
        (Applied::No, vec![FaultId(4)])
    );
    // Released, on one that was open before.
    pooled.send(GET).await;
    pooled.expect_silence().await;
    rig.switch.heal();
    upstream.expect(GET).await;
    // Caught while the dependency works on it.
    rig.switch.set(in_force(5, hang()));
    upstream.send(OK).await;
    pooled.expect_silence().await;
    rig.switch.heal();
    pooled.expect(OK).await;
    let attempt = rig.attempt().await;
    assert_eq!(attempt.end, AttemptEnd::Answered);
    assert_eq!(attempt.faults, [FaultId(4), FaultId(5)]);
    assert!(attempt.released.unwrap() <= attempt.ended);
    assert!(attempt.first_byte.unwrap().since(attempt.began) >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_request_whose_connection_is_cut_by_a_fault_was_cut() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut idle, _upstream) = rig.met().await;
    let mut client = rig.client().await;
    client.send(GET).await;
    let mut upstream = rig.accept().await;
    upstream.expect(GET).await;
    let reset = OnConnection(|| Decision::end(End::Close(Closing::Reset)));
    rig.switch.set(in_force(6, reset));
    client.expect_reset().await;
    idle.expect_reset().await;
    let attempt = rig.attempt().await;
    assert_eq!(
        (attempt.end, attempt.faults),
        (AttemptEnd::Cut, vec![FaultId(6)])
    );
    assert_eq!(attempt.applied, Applied::Unknown);
    assert_eq!(rig.stop().await, []);
}

/// Dials a dependency that answers every request with the same bytes, over pipes so narrow that
/// everything comes in pieces.
struct Narrow {
    width: usize,
    dialed: mpsc::UnboundedSender<DuplexStream>,
}

impl Dial for Narrow {
    type Stream = DuplexStream;

    async fn dial(&self, _: Alpn) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(self.width);
        self.dialed.send(far).map_err(io::Error::other)?;
        Ok(near)
    }
}

/// What upstream and client receive when these requests and answers pass, one after the other,
/// through pipes of this width.
async fn through(width: usize, pairs: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let (recorder, mut observed) = Recorder::channel(100);
    let door = Door {
        name: "door".into(),
        outcomes: Outcomes::default(),
        timeout: PATIENCE,
        recorder,
        count: 0.into(),
        switch: Switch::new(),
    };
    let (dialed, mut dials) = mpsc::unbounded_channel();
    let (near, client) = tokio::io::duplex(width);
    let desk = Arc::new(Desk::Door(Arc::new(door)));
    let engine = tokio::spawn(async move {
        let mut engine = Http1::new(near, Vec::new(), Narrow { width, dialed }, desk, 1 << 20);
        engine.run().await
    });
    let script = pairs.to_vec();
    let upstream = tokio::spawn(async move {
        let mut upstream = dials.recv().await.unwrap();
        let mut got = Vec::new();
        for (request, answer) in script {
            let mut part = vec![0; request.len()];
            upstream.read_exact(&mut part).await.unwrap();
            got.extend(part);
            upstream.write_all(&answer).await.unwrap();
        }
        upstream.read_to_end(&mut got).await.unwrap();
        got
    });
    let (mut reader, mut writer) = tokio::io::split(client);
    let (requests, answers): (Vec<_>, Vec<_>) = pairs.iter().cloned().unzip();
    let sending = tokio::spawn(async move {
        writer.write_all(&requests.concat()).await.unwrap();
        writer
    });
    let mut answered = vec![0; answers.concat().len()];
    let reading = reader.read_exact(&mut answered);
    soon("the answers", reading).await.unwrap();
    sending.await.unwrap().shutdown().await.unwrap();
    soon("the end", engine).await.unwrap();
    let mut count = 0;
    while let Ok(Observation::Operation(operation)) = observed.try_recv() {
        assert_eq!(operation.outcome, Outcome::Ok);
        count += 1;
    }
    assert_eq!(count, pairs.len());
    (soon("the end", upstream).await.unwrap(), answered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_split_of_the_same_bytes_passes_the_same(width in 1usize..200) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let chunked = "5;a=\"b\"\r\nhello\r\n00a\r\n0123456789\r\n0;x\r\nA: b\r\n\r\n";
        let pairs = [
            (
                format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
                format!("HTTP/1.1 100 Continue\r\n\r\n\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            ),
            (PUT.to_owned(), "HTTP/1.1 204 No\r\nX: y\r\n\r\n".to_owned()),
            (GET.to_owned(), LONG.to_owned()),
        ];
        let pairs = pairs.map(|(request, answer)| (request.into_bytes(), answer.into_bytes()));
        let (up, down) = runtime.block_on(through(width, &pairs));
        let (requests, answers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        prop_assert_eq!(up, requests.concat());
        prop_assert_eq!(down, answers.concat());
    }
}
