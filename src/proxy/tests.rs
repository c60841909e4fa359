//! The proxy as clients meet it, over sockets on 127.0.0.1, in real time with lower bounds.

use super::*;
use crate::{
    fault::{
        Active, Acts, Behaviour, By, Closing, ConnectionEvent, Context, Decision, Direction, End,
        FaultId, FaultSet, Gate, Latency, Law, ListenerState, Ramp, StreamShape,
    },
    history::{Connection, Intervention, Observation},
    units::{Micros, Share},
};
use std::{io::ErrorKind, net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for loopback to have done whatever it does.
const MOMENT: Duration = Duration::from_millis(150);

/// A fault that always decides the same.
#[derive(Debug, Clone, Default)]
struct Always {
    listener: Option<ListenerState>,
    end: Option<End>,
    stream: Vec<(Direction, StreamShape)>,
}

impl Behaviour for Always {
    fn listener(&self, _: &Context) -> Option<ListenerState> {
        self.listener
    }

    fn connection(&self, _: &ConnectionEvent, _: &Context) -> Option<Decision> {
        self.end.clone().map(Decision::end)
    }

    fn stream(&self, _: &ConnectionEvent, _: &Context) -> Vec<(Direction, StreamShape)> {
        self.stream.clone()
    }

    fn acts(&self) -> Acts {
        Acts::ANYTHING
    }
}

fn listener(state: ListenerState) -> Always {
    Always {
        listener: Some(state),
        ..Always::default()
    }
}

fn ends(end: End) -> Always {
    Always {
        end: Some(end),
        ..Always::default()
    }
}

fn closes(closing: Closing) -> Always {
    ends(End::Close(closing))
}

fn delays(delay: Duration) -> Always {
    let law = Law::Constant(delay);
    let stream = (Seed(1), 1, 1);
    let shape = StreamShape::Latency(Latency { law, stream });
    Always {
        stream: vec![
            (Direction::Up, shape.clone()),
            (Direction::Down, shape.clone()),
        ],
        ..Always::default()
    }
}

fn no_accept(percent: f64) -> Always {
    let share = Share::new(percent / 100.0).expect("a share");
    listener(ListenerState::NoAccept(share))
}

/// A proxy in front of an upstream, with its switch and what it recorded.
struct Rig {
    proxy: Proxy,
    switch: Switch,
    recorder: Recorder,
    observations: mpsc::Receiver<Observation>,
}

impl Rig {
    fn start(upstream: SocketAddr) -> Self {
        Self::start_with(upstream, |_| {})
    }

    fn start_with(upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let (recorder, observations) = Recorder::channel(10_000);
        let mut config = config(upstream);
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

    async fn in_front_of_echo() -> Self {
        Self::start(echo_server().await)
    }

    /// Puts a fault in force, and gives it back for its hits.
    fn put(&self, behaviour: Always) -> Arc<Active> {
        self.put_behind(Gate::default(), Duration::from_secs(60), behaviour)
    }

    /// The same behind a gate, for a phase that lasts so long.
    fn put_behind(&self, gate: Gate, lasts: Duration, behaviour: Always) -> Arc<Active> {
        let active = active(gate, lasts, behaviour, self.recorder.now());
        self.switch.set(FaultSet::new(vec![Arc::clone(&active)]));
        active
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.proxy.address()))
            .await
            .expect("connected")
    }

    /// A connection that has been used, as one in a pool.
    async fn pooled(&self) -> TcpStream {
        let mut client = self.connect().await;
        exchange(&mut client, b"warm up").await;
        client
    }

    async fn connection(&mut self) -> Connection {
        loop {
            if let Some(Observation::Connection(connection)) = soon(self.observations.recv()).await
            {
                return connection;
            }
        }
    }

    /// The next intervention that says this: others may refuse connects on this machine as well.
    async fn told(&mut self, what: &str) -> Intervention {
        loop {
            let seen = self.intervention().await;
            if seen.what.contains(what) {
                return seen;
            }
        }
    }

    async fn intervention(&mut self) -> Intervention {
        loop {
            if let Some(Observation::Acted(intervention)) = soon(self.observations.recv()).await {
                return intervention;
            }
        }
    }
}

fn config(upstream: SocketAddr) -> Config {
    Config {
        dependency: "db".into(),
        protocol: Protocol::Tcp,
        listen: None,
        tls: None,
        upstream: UpstreamAddress {
            host: upstream.ip().to_string(),
            port: upstream.port(),
            tls: false,
        },
        upstream_tls: tls::client_config(&[]).expect("a configuration"),
        virtual_host: None,
        capture: BTreeMap::new(),
        key: None,
        limits: Limits::default(),
        seed: Seed(1),
    }
}

fn active(gate: Gate, lasts: Duration, behaviour: Always, armed: Micros) -> Arc<Active> {
    Arc::new(Active::new(
        FaultId(3),
        gate,
        Arc::new(behaviour),
        Seed(1),
        &["test"],
        armed,
        lasts,
        By::Connection,
    ))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Answers each byte with itself; closes its side when the client has closed its own.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    address
}

async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut read, mut write) = tokio::io::split(stream);
    if tokio::io::copy(&mut read, &mut write).await.is_ok() {
        let _ = write.shutdown().await;
    }
}

async fn exchange(client: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) {
    soon(client.write_all(bytes)).await.expect("written");
    let mut answer = vec![0; bytes.len()];
    soon(client.read_exact(&mut answer))
        .await
        .expect("answered");
    assert_eq!(answer, bytes);
}

/// Sends all and reads all back, at the same time, with `meanwhile` going on.
async fn exchange_all(client: TcpStream, bytes: Vec<u8>, meanwhile: impl Future<Output = ()>) {
    let (mut read, mut write) = client.into_split();
    let expected = bytes.clone();
    let writing = async move {
        write.write_all(&bytes).await.expect("written");
        write.shutdown().await.expect("half-closed");
        write
    };
    let reading = async {
        let mut answer = Vec::new();
        read.read_to_end(&mut answer).await.expect("answered");
        answer
    };
    let (_write, answer, ()) = soon(async { tokio::join!(writing, reading, meanwhile) }).await;
    assert_eq!(answer.len(), expected.len());
    assert!(answer == expected, "the same bytes in the same order");
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8)
        .collect()
}

async fn read_error(client: &mut TcpStream) -> ErrorKind {
    soon(client.read(&mut [0; 16]))
        .await
        .expect_err("an error")
        .kind()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_a_half_close_is_kept() {
    let mut rig = Rig::in_front_of_echo().await;
    let client = rig.connect().await;
    exchange_all(client, pattern(20_000_000), async {}).await;
    let connection = rig.connection().await;
    assert_eq!(connection.bytes_up, 20_000_000);
    assert_eq!(connection.bytes_down, 20_000_000);
    assert_eq!(connection.how, "client closed");
    assert!(connection.faults.is_empty());
    assert!(connection.closed > connection.opened);
}

#[tokio::test]
async fn faults_that_come_and_go_in_a_transfer_lose_no_byte_and_keep_the_order() {
    let mut rig = Rig::in_front_of_echo().await;
    let client = rig.connect().await;
    let meanwhile = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            rig.put(delays(Duration::from_millis(3)));
            tokio::time::sleep(Duration::from_millis(5)).await;
            rig.put(ends(End::Hang));
            tokio::time::sleep(Duration::from_millis(5)).await;
            rig.switch.heal();
        }
    };
    exchange_all(client, pattern(100_000_000), meanwhile).await;
    let connection = rig.connection().await;
    assert_eq!(connection.bytes_down, 100_000_000);
    assert_eq!(connection.faults, [FaultId(3)]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bytes_are_spliced_while_no_fault_acts_and_an_idle_connection_keeps_no_pipe() {
    let rig = Rig::in_front_of_echo().await;
    let pipes = || rig.proxy.shared.pipes.spare();
    rig.put(delays(Duration::ZERO));
    let mut client = rig.pooled().await;
    assert_eq!(pipes(), 0, "through memory");
    rig.switch.heal();
    // What is small costs less through memory.
    exchange(&mut client, b"small").await;
    assert_eq!(pipes(), 0, "one read and one write");
    let sent = pattern(2_000_000);
    soon(async {
        while pipes() == 0 {
            exchange_much(&mut client, &sent).await;
        }
    })
    .await;
}

/// Sends all of it, and reads as much back meanwhile.
async fn exchange_much(client: &mut TcpStream, sent: &[u8]) {
    let (mut read, mut write) = client.split();
    let mut answer = vec![0; sent.len()];
    let both = async { tokio::join!(write.write_all(sent), read.read_exact(&mut answer)) };
    let (written, answered) = soon(both).await;
    written.expect("written");
    answered.expect("answered");
    assert!(answer == sent, "the same bytes in the same order");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn little_and_much_in_turns_take_their_ways_and_every_byte_counts() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut client = rig.connect().await;
    let (mut sum, mut spliced) = (0, false);
    for _ in 0..10 {
        for size in [1, 3_000_000, 10, 32_767, 32_768, 1_000_000, 65_536, 65_537] {
            exchange_much(&mut client, &pattern(size)).await;
            sum += size as u64;
        }
        spliced |= rig.proxy.shared.pipes.spare() > 0;
    }
    assert!(spliced, "some of it went through the kernel");
    // In the midst of much the stream ends.
    exchange_all(client, pattern(5_000_000), async {}).await;
    let connection = rig.connection().await;
    let sums = (connection.bytes_up, connection.bytes_down);
    assert_eq!(sums, (sum + 5_000_000, sum + 5_000_000));
}

#[tokio::test]
async fn an_effect_on_bytes_that_never_come_is_no_hit() {
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.connect().await;
    let far = StreamShape::Truncate {
        after: 1 << 30,
        closing: Closing::Fin,
    };
    let truncation = rig.put(Always {
        stream: vec![(Direction::Down, far)],
        ..Always::default()
    });
    exchange(&mut client, b"a few bytes").await;
    assert_eq!(truncation.hits(), 0, "it is still far away");

    let latency = rig.put(delays(Duration::from_millis(20)));
    assert_eq!(latency.hits(), 0, "nothing was sent yet");
    exchange(&mut client, b"some more").await;
    assert_eq!(latency.hits(), 1, "one connection, both directions");
}

#[tokio::test]
async fn latency_reaches_a_pooled_connection_and_leaves_it_when_lifted() {
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let delay = Duration::from_millis(100);
    rig.put(delays(delay));
    let began = Instant::now();
    exchange(&mut client, b"slow").await;
    assert!(began.elapsed() >= 2 * delay);
    rig.switch.heal();
    exchange(&mut client, b"fast").await;
}

#[tokio::test]
async fn a_refused_connect_is_refused_and_open_connections_go_on() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut open = rig.pooled().await;
    let fault = rig.put(listener(ListenerState::Refuse));
    let check = rig.intervention().await;
    assert_eq!(
        check.what,
        "listener closed; a connect of our own was refused"
    );
    assert_eq!((check.fault, check.count), (FaultId(3), 0));
    for _ in 0..3 {
        let error = TcpStream::connect(rig.proxy.address()).await;
        assert_eq!(
            error.expect_err("refused").kind(),
            ErrorKind::ConnectionRefused
        );
    }
    assert!(rig.intervention().await.count >= 1);
    assert!(fault.hits() >= 1);
    exchange(&mut open, b"still open").await;
    let thief =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let stolen = thief.bind(&rig.proxy.address().into());
    assert!(stolen.is_err(), "the port stays ours");
    rig.switch.heal();
    let address = rig.proxy.address();
    let connected = soon(async {
        loop {
            match TcpStream::connect(address).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    exchange(&mut connected.await, b"back").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn of_two_closed_listeners_nobody_knows_which_one_was_asked() {
    let mut rig = Rig::in_front_of_echo().await;
    let switch = Switch::new();
    let other = config(echo_server().await);
    let other = Proxy::start(other, switch.clone(), rig.recorder.clone()).expect("it starts");
    let fault = rig.put(listener(ListenerState::Refuse));
    rig.told("a connect of our own was refused").await;
    let idle = active(
        Gate::default(),
        PATIENCE,
        listener(ListenerState::Refuse),
        rig.recorder.now(),
    );
    switch.set(FaultSet::new(vec![Arc::clone(&idle)]));
    rig.told("a connect of our own was refused").await;
    let refused = |address| async move {
        let error = TcpStream::connect(address).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    };
    let hits = (fault.hits(), idle.hits());
    refused(rig.proxy.address()).await;
    let seen = rig.told("of 2 closed listeners").await;
    assert_eq!((seen.count, fault.hits(), idle.hits()), (0, hits.0, hits.1));
    // Once the other one listens again it can only have been this.
    switch.heal();
    let address = other.address();
    soon(async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let hits = fault.hits();
    soon(async {
        while fault.hits() == hits {
            refused(rig.proxy.address()).await;
            tokio::time::sleep(MOMENT).await;
        }
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unanswered_connect_times_out_and_gets_through_when_lifted() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut open = rig.pooled().await;
    let fault = rig.put(no_accept(100.0));
    tokio::time::sleep(MOMENT).await;
    let address = rig.proxy.address();
    let second = Duration::from_secs(1);
    assert!(
        timeout(second, TcpStream::connect(address)).await.is_err(),
        "a connect time-out"
    );
    let waiting = tokio::spawn(TcpStream::connect(address));
    let seen = rig.intervention().await;
    assert!(seen.what.ends_with("connects unanswered"), "{}", seen.what);
    assert!(fault.hits() >= 1);
    exchange(&mut open, b"untouched").await;
    rig.switch.heal();
    let client = soon(waiting).await.expect("no panic");
    exchange(&mut client.expect("connected"), b"at last").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn of_a_share_some_connect_at_once_and_the_others_hang() {
    let rig = Rig::in_front_of_echo().await;
    rig.put(no_accept(50.0));
    tokio::time::sleep(MOMENT).await;
    let address = rig.proxy.address();
    let tries = (0..60).map(|_| {
        tokio::spawn(async move {
            let connecting = TcpStream::connect(address);
            let mut client = timeout(Duration::from_millis(500), connecting)
                .await
                .ok()?
                .ok()?;
            exchange(&mut client, b"served").await;
            Some(client)
        })
    });
    let mut connected = 0;
    for one in tries.collect::<Vec<_>>() {
        connected += u32::from(soon(one).await.expect("no panic").is_some());
    }
    assert!((12..=48).contains(&connected), "{connected} of 60");
}

#[tokio::test]
async fn a_reset_reaches_an_idle_pooled_connection() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    rig.put(closes(Closing::Reset));
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    let connection = rig.connection().await;
    assert_eq!(connection.how, "reset by fault");
    assert_eq!(connection.faults, [FaultId(3)]);
}

#[tokio::test]
async fn a_reset_meets_a_new_connection_and_never_the_dependency() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let rig = Rig::start(silent.local_addr().expect("an address"));
    rig.put(closes(Closing::Reset));
    let mut client = rig.connect().await;
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    assert!(timeout(MOMENT, silent.accept()).await.is_err());
}

#[tokio::test]
async fn a_reset_after_a_time_comes_after_it() {
    let rig = Rig::in_front_of_echo().await;
    let after = Duration::from_millis(200);
    rig.put(closes(Closing::ResetAfter(after)));
    let began = Instant::now();
    let mut client = rig.pooled().await;
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= after);
}

#[tokio::test]
async fn a_fin_ends_the_stream_without_a_reset() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    rig.put(closes(Closing::Fin));
    assert_eq!(soon(client.read(&mut [0; 16])).await.expect("FIN"), 0);
    assert_eq!(rig.connection().await.how, "closed by fault");
}

#[tokio::test]
async fn a_slow_close_sends_nothing_and_then_fin() {
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let after = Duration::from_millis(200);
    let began = Instant::now();
    rig.put(closes(Closing::SlowClose(after)));
    tokio::time::sleep(MOMENT).await;
    client.write_all(b"asked").await.expect("written");
    assert_eq!(soon(client.read(&mut [0; 16])).await.expect("FIN"), 0);
    assert!(began.elapsed() >= after);
}

#[tokio::test]
async fn after_a_half_close_what_the_client_sends_still_arrives() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let rig = Rig::start(upstream.local_addr().expect("an address"));
    let mut client = rig.connect().await;
    let (mut server, _) = soon(upstream.accept()).await.expect("accepted");
    rig.put(closes(Closing::HalfClose));
    assert_eq!(soon(client.read(&mut [0; 16])).await.expect("FIN"), 0);
    client.write_all(b"still sent").await.expect("written");
    let mut arrived = [0; 10];
    soon(server.read_exact(&mut arrived))
        .await
        .expect("arrived");
    assert_eq!(&arrived, b"still sent");
}

#[tokio::test]
async fn a_hanging_connection_is_read_and_goes_on_when_released() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let rig = Rig::start(upstream.local_addr().expect("an address"));
    rig.put(ends(End::Hang));
    let mut client = rig.connect().await;
    client.write_all(b"held").await.expect("written");
    assert!(timeout(MOMENT, upstream.accept()).await.is_err());
    rig.switch.heal();
    let (server, _) = soon(upstream.accept()).await.expect("accepted");
    tokio::spawn(echo(server));
    let mut answer = [0; 4];
    soon(client.read_exact(&mut answer))
        .await
        .expect("answered");
    assert_eq!(&answer, b"held");
}

#[tokio::test]
async fn a_client_that_gives_up_a_hanging_connection_is_seen_to() {
    let mut rig = Rig::in_front_of_echo().await;
    rig.put(ends(End::Hang));
    let mut client = rig.connect().await;
    client.write_all(b"asked").await.expect("written");
    drop(client);
    let connection = rig.connection().await;
    assert_eq!(connection.how, "client closed");
    assert_eq!(connection.bytes_up, 5);
}

#[tokio::test]
async fn a_dependency_that_refuses_resets_the_client_and_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let mut rig = Rig::start(address);
    let refused = rig.proxy.check_upstream().await.expect_err("nobody there");
    assert!(refused.starts_with(&format!("cannot connect to {address}: ")));
    let mut client = rig.connect().await;
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    assert_eq!(rig.connection().await.how, "upstream refused");
    assert_eq!(rig.proxy.counters().upstream_failures, 1);
}

#[tokio::test]
async fn a_reset_by_the_dependency_is_a_reset_for_the_client() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut rig = Rig::start(upstream.local_addr().expect("an address"));
    let mut client = rig.connect().await;
    let (mut server, _) = soon(upstream.accept()).await.expect("accepted");
    client.write_all(b"x").await.expect("written");
    soon(server.read_exact(&mut [0])).await.expect("arrived");
    socket2::SockRef::from(&server)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(server);
    assert_eq!(read_error(&mut client).await, ErrorKind::ConnectionReset);
    assert_eq!(rig.connection().await.how, "upstream reset");
}

#[tokio::test]
async fn a_reset_by_the_client_is_a_reset_for_the_dependency() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut rig = Rig::start(upstream.local_addr().expect("an address"));
    let client = rig.connect().await;
    let (mut server, _) = soon(upstream.accept()).await.expect("accepted");
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(client);
    assert_eq!(read_error(&mut server).await, ErrorKind::ConnectionReset);
    assert_eq!(rig.connection().await.how, "client reset");
}

#[tokio::test]
async fn stopping_closes_open_connections_records_them_and_frees_the_port() {
    let mut rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let address = rig.proxy.address();
    assert_eq!(rig.proxy.counters().open, 1);
    soon(rig.proxy.stop()).await;
    let Ok(Observation::Connection(connection)) = rig.observations.try_recv() else {
        panic!("recorded before stop returns");
    };
    assert_eq!(connection.how, "proxy stopped");
    let closed = soon(client.read(&mut [0; 16])).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
    let again =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    again.set_reuse_address(true).expect("as servers do");
    again.bind(&address.into()).expect("the port is free");
    again.listen(1).expect("nobody listens there");
}

#[tokio::test]
async fn at_the_limit_a_connection_waits_until_another_closes() {
    let rig = Rig::start_with(echo_server().await, |config| config.limits.connections = 1);
    let first = rig.pooled().await;
    let mut second = rig.connect().await;
    second.write_all(b"served").await.expect("written");
    let mut answer = [0; 6];
    assert!(
        timeout(MOMENT, second.read_exact(&mut answer))
            .await
            .is_err()
    );
    assert_eq!(rig.proxy.counters().accepted, 1);
    drop(first);
    soon(second.read_exact(&mut answer))
        .await
        .expect("answered");
    assert_eq!(&answer, b"served");
}

#[tokio::test]
async fn a_fixed_address_is_listened_on() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = free.local_addr().expect("an address");
    drop(free);
    let rig = Rig::start_with(echo_server().await, |config| config.listen = Some(address));
    assert_eq!(rig.proxy.address(), address);
    assert_eq!(rig.proxy.url(), format!("tcp://{address}"));
    exchange(&mut rig.connect().await, b"there").await;
}

/// An echo server behind TLS with a certificate of this authority.
async fn tls_echo_server(authority: &tls::Authority, alpn: &[&[u8]]) -> SocketAddr {
    let config = authority
        .server_config(&["db.example".to_owned()], alpn)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    echo(stream).await;
                }
            });
        }
    });
    address
}

type TlsClient = tokio_rustls::client::TlsStream<TcpStream>;

async fn tls_connect(rig: &Rig, authority: &tls::Authority, name: &str) -> TlsClient {
    let config = tls::client_config(&[authority.certificate_pem()]).expect("a configuration");
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let connector = tokio_rustls::TlsConnector::from(config);
    let tcp = rig.connect().await;
    soon(connector.connect(name, tcp)).await.expect("trusted")
}

#[tokio::test]
async fn tls_is_spoken_on_both_sides_with_the_name_that_the_client_asked_for() {
    let ours = tls::Authority::new().expect("an authority");
    let theirs = tls::Authority::new().expect("an authority");
    let upstream = tls_echo_server(&theirs, &[]).await;
    let rig = Rig::start_with(upstream, |config| {
        config.upstream.tls = true;
        config.upstream_tls = tls::client_config(&[theirs.certificate_pem()]).expect("roots");
        config.tls = Some(Arc::new(tls::Front::new(Arc::clone(&ours), Vec::new())));
    });
    rig.proxy.check_upstream().await.expect("reachable");
    // The upstream's certificate carries this name, and the client's asking for it decides.
    let mut client = tls_connect(&rig, &ours, "db.example").await;
    exchange(&mut client, b"over two tunnels").await;
    let mut by_address = tls_connect(&rig, &ours, "127.0.0.1").await;
    exchange(&mut by_address, b"by address").await;
    exchange(&mut client, &pattern(300_000)).await;
}

#[tokio::test]
async fn faults_act_below_tls() {
    let ours = tls::Authority::new().expect("an authority");
    let front = Arc::new(tls::Front::new(Arc::clone(&ours), Vec::new()));
    let rig = Rig::start_with(echo_server().await, |config| config.tls = Some(front));
    let mut client = tls_connect(&rig, &ours, "localhost").await;
    let delay = Duration::from_millis(60);
    rig.put(delays(delay));
    let began = Instant::now();
    exchange(&mut client, b"slow").await;
    assert!(began.elapsed() >= 2 * delay);
    rig.put(ends(End::Hang));
    let tcp = rig.connect().await;
    let connector = tokio_rustls::TlsConnector::from(
        tls::client_config(&[ours.certificate_pem()]).expect("a configuration"),
    );
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut shaking = Box::pin(connector.connect(name, tcp));
    assert!(
        timeout(MOMENT, &mut shaking).await.is_err(),
        "a handshake that hangs"
    );
    rig.switch.heal();
    let mut late = soon(shaking).await.expect("goes on when lifted");
    exchange(&mut late, b"late").await;
}

#[tokio::test]
async fn a_handshake_has_a_time_limit_that_faults_do_not_use_up() {
    let ours = tls::Authority::new().expect("an authority");
    let front = Arc::new(tls::Front::new(Arc::clone(&ours), Vec::new()));
    let mut rig = Rig::start_with(echo_server().await, |config| {
        config.tls = Some(front);
        config.limits.handshake = Duration::from_millis(400);
    });
    let silent = rig.connect().await;
    assert!(
        rig.connection()
            .await
            .how
            .starts_with("TLS handshake failed")
    );
    drop(silent);
    rig.put(delays(Duration::from_millis(500)));
    let mut client = tls_connect(&rig, &ours, "localhost").await;
    rig.switch.heal();
    exchange(&mut client, b"late, and served").await;
}

#[tokio::test]
async fn an_untrusted_dependency_is_not_connected_to() {
    let theirs = tls::Authority::new().expect("an authority");
    let upstream = tls_echo_server(&theirs, &[]).await;
    let rig = Rig::start_with(upstream, |config| config.upstream.tls = true);
    let error = rig.proxy.check_upstream().await.expect_err("untrusted");
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn http2_is_offered_only_where_the_dependency_speaks_it() {
    for (speaks, chosen) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], b"h2".as_slice()),
        (&[b"http/1.1".as_slice()][..], b"http/1.1"),
    ] {
        let ours = tls::Authority::new().expect("an authority");
        let theirs = tls::Authority::new().expect("an authority");
        let upstream = tls_echo_server(&theirs, speaks).await;
        let rig = Rig::start_with(upstream, |config| {
            config.protocol = Protocol::Http;
            config.upstream.tls = true;
            config.upstream_tls = tls::client_config(&[theirs.certificate_pem()]).expect("roots");
            config.tls = Some(Arc::new(tls::Front::new(Arc::clone(&ours), Vec::new())));
        });
        assert!(rig.proxy.url().starts_with("https://127.0.0.1:"));
        rig.proxy.check_upstream().await.expect("reachable");
        let roots = tls::client_config(&[ours.certificate_pem()]).expect("roots");
        let mut config = rustls::ClientConfig::clone(&roots);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let client = soon(connector.connect(name, rig.connect().await)).await;
        let client = client.expect("trusted");
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(chosen));
    }
}

#[tokio::test]
async fn a_connection_names_when_it_was_open() {
    let mut rig = Rig::in_front_of_echo().await;
    let before = rig.recorder.now();
    drop(rig.pooled().await);
    let connection = rig.connection().await;
    assert_eq!(connection.connection, 1);
    assert_eq!(&*connection.dependency, "db");
    assert!(Micros(0) < before && before <= connection.opened);
    assert!(connection.opened <= connection.closed);
}

#[tokio::test]
async fn a_ramped_share_of_what_decides_about_connections_reaches_open_ones_and_leaves_them() {
    let share = |share| Share::new(share).expect("a share");
    let ramp = |from, to| Gate {
        ramp: Ramp {
            share: Some((share(from), share(to))),
            ..Ramp::default()
        },
        ..Gate::default()
    };
    let lasts = Duration::from_millis(500);
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let fault = rig.put_behind(ramp(0.0, 1.0), lasts, ends(End::Hang));
    let hangs = async {
        loop {
            client.write_all(b"x").await.expect("written");
            if timeout(MOMENT, client.read_exact(&mut [0])).await.is_err() {
                break;
            }
        }
    };
    soon(hangs).await;
    tokio::time::sleep(2 * lasts).await;
    assert_eq!(fault.hits(), 1, "it is decided about once");

    // It is held from the beginning, and let go before the phase is over.
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let fault = rig.put_behind(ramp(1.0, 0.0), lasts, ends(End::Hang));
    exchange(&mut client, b"held").await;
    assert_eq!(fault.hits(), 1);
    exchange(&mut client, b"free").await;

    // A share that stays where it is decides once.
    let rig = Rig::in_front_of_echo().await;
    let mut client = rig.pooled().await;
    let none = Gate {
        share: Some(share(0.0)),
        ..Gate::default()
    };
    let fault = rig.put_behind(none, lasts, ends(End::Hang));
    tokio::time::sleep(2 * lasts).await;
    exchange(&mut client, b"free").await;
    assert_eq!(fault.hits(), 0);
}
