//! What would prove that a test can rely on it: what was seen is complete whenever it is asked for,
//! faults end with their guards, and what shows nothing does not pass.

use super::{Applied, Dependency, Ending, Error, Fault, Seen};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

/// An HTTP server that answers 200 to everything, on connections that stay open.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    while !head(&mut stream)?.is_empty() {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
    Ok(())
}

/// Reads a head without a body behind it; nothing at the end.
fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(Vec::new());
        }
        head.push(byte[0]);
    }
    Ok(head)
}

/// A client with one connection.
struct Client(TcpStream);

impl Client {
    fn of(dependency: &Dependency) -> Self {
        Self(TcpStream::connect(dependency.address()).expect("it listens"))
    }

    fn ask(&mut self, path: &str) {
        // In one write: what comes in pieces waits for the acknowledgement of the first.
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.0.write_all(head.as_bytes()).expect("it reads");
    }

    /// Asks, and reads the whole answer; its status.
    fn get(&mut self, path: &str) -> u16 {
        self.ask(path);
        let head = String::from_utf8(head(&mut self.0).expect("an answer")).expect("text");
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).expect("its body");
        head[9..12].parse().expect("a status")
    }
}

fn statuses(seen: &Seen) -> Vec<u16> {
    seen.attempts().filter_map(|one| one.status()).collect()
}

fn stock() -> Dependency {
    Dependency::http("stock", server())
        .start()
        .wait()
        .expect("it starts")
}

#[test]
fn whoever_has_its_answer_finds_its_request() {
    let stock = stock();
    let mut client = Client::of(&stock);
    for count in 1..=300 {
        assert_eq!(client.get("/a"), 200);
        let seen = stock.seen().wait().unwrap();
        assert_eq!(seen.attempts().len(), count);
        assert_eq!(seen.in_flight(), 0, "{seen}");
    }
    let before = Instant::now();
    client.get("/b");
    let seen = stock.seen().wait().unwrap();
    assert_eq!(seen.since(before).attempts().len(), 1);
    assert_eq!(seen.only(|one| one.key() == "/b").attempts().len(), 1);
    let last = seen.attempts().next_back().expect("one");
    assert_eq!((last.operation(), last.key()), ("GET", "/b"));
    assert_eq!(
        (last.ending(), last.applied()),
        (Ending::Answered, Applied::Yes)
    );
    assert!(last.began() >= before && last.ended() <= Instant::now());
    assert_eq!(last.bytes(), (0, 2));
    assert_eq!(seen.connections().len(), 0, "it is open");
}

#[test]
fn it_is_so_with_many_clients_at_once() {
    let stock = stock();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::of(&stock);
                for _ in 0..50 {
                    let began = Instant::now();
                    client.get("/a");
                    let seen = stock.seen().wait().unwrap().since(began);
                    let mine = client.0.local_addr().is_ok() && seen.attempts().len() > 0;
                    assert!(mine, "{seen}");
                }
            });
        }
    });
    let seen = stock.seen().wait().unwrap();
    assert_eq!((seen.attempts().len(), seen.in_flight()), (400, 0));
}

#[test]
fn the_faults_of_the_documentation_are_some() {
    let stock = Dependency::s3("stock", "127.0.0.1:9")
        .start()
        .wait()
        .unwrap();
    for fault in [
        Fault::error(503).method("GET").path("/items*").every(2),
        Fault::code("SlowDown").share(0.33).by("key"),
        Fault::of("lost-reply").operation("PutObject"),
        Fault::of("lost-reply").set("share", "30%"),
        Fault::toml(
            "kind = 'quota'\ncounts = 'requests'\nlimit = 100\nwindow = '1m'\nrefusal = '429'",
        ),
    ] {
        drop(stock.inject(fault.min_hits(0)).wait().unwrap());
    }
}

#[test]
fn a_fault_of_another_dependency_hit_nothing_here() {
    let (stock, other) = (stock(), stock());
    let here = stock.inject(Fault::error(503)).wait().unwrap();
    let there = other.inject(Fault::error(503)).wait().unwrap();
    assert_eq!(Client::of(&stock).get("/a"), 503);
    let seen = stock.seen().wait().unwrap();
    let one = seen.attempts().next().unwrap();
    assert!(one.was_hit() && one.was_hit_by(&here) && !one.was_hit_by(&there));
    assert_eq!(Client::of(&other).get("/a"), 503);
    let seen = other.seen().wait().unwrap();
    let one = seen.attempts().next().unwrap();
    assert!(one.was_hit_by(&there) && !one.was_hit_by(&here));
}

#[test]
fn who_gives_up_waiting_for_a_fault_leaves_none_and_is_not_blamed() {
    let stock = stock();
    drop(stock.inject(Fault::error(503)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let was_left = (0..100).any(|_| {
        let mut waiting = std::pin::pin!(stock.inject(Fault::error(503)));
        match waiting.as_mut().poll(&mut context) {
            std::task::Poll::Pending => true,
            // It was in force before anybody could give up.
            std::task::Poll::Ready(fault) => {
                assert_eq!(Client::of(&stock).get("/a"), 503);
                drop(fault.unwrap());
                false
            }
        }
    });
    assert!(was_left);
    assert_eq!(Client::of(&stock).get("/a"), 200);
}

#[test]
fn a_fault_acts_from_its_injection_to_the_end_of_its_guard() {
    let stock = stock();
    let mut client = Client::of(&stock);
    for round in 0..20 {
        let fault = stock.inject(Fault::error(503)).wait().unwrap();
        assert_eq!(client.get("/a"), 503, "round {round}");
        let seen = stock.seen().wait().unwrap();
        assert!(seen.attempts().next_back().unwrap().was_hit_by(&fault));
        drop(fault);
        assert_eq!(client.get("/a"), 200, "round {round}");
    }
    let seen = stock.seen().wait().unwrap();
    assert_eq!(statuses(&seen), [503, 200].repeat(20));
    // Each that failed and the next that did not are taken for one call.
    let calls = seen.calls();
    assert_eq!(calls.len(), 20);
    assert!(
        calls
            .iter()
            .all(|call| call.is_settled() && call.is_guess())
    );
    assert!(calls.iter().all(|call| call.pauses().len() == 1));
}

#[test]
fn of_several_faults_each_goes_with_its_own_guard() {
    let stock = stock();
    let mut client = Client::of(&stock);
    let a = stock.inject(Fault::error(500).path("/a")).wait().unwrap();
    let b = stock.inject(Fault::error(501).path("/b")).wait().unwrap();
    assert_eq!((client.get("/a"), client.get("/b")), (500, 501));
    assert_eq!(a.lift().wait().unwrap(), 1);
    assert_eq!((client.get("/a"), client.get("/b")), (200, 501));
    assert_eq!(b.acted().wait().unwrap(), 2);
    assert_eq!(b.label(), "error on stock, status 501, /b");
    let name = stock.name().to_owned();
    drop(stock);
    assert_eq!(
        client.get("/b"),
        501,
        "{name} stays as long as a fault on it"
    );
    drop(b);
    assert!(TcpStream::connect(client.0.peer_addr().unwrap()).is_err());
}

#[test]
fn a_guard_whose_fault_never_acted_panics() {
    let stock = stock();
    let fault = || Fault::error(500).path("/never");
    let idle = stock.inject(fault()).wait().unwrap();
    Client::of(&stock).get("/a");
    let said = idle.must_have_acted().wait().unwrap_err().to_string();
    let expected = "error on stock, status 500, /never acted on nothing, and has to once at least: \
                    what it is to show was not shown\n`stock` saw one request\n  GET /a: 200 after ";
    assert!(said.starts_with(expected), "{said}");
    let panic = catch_unwind(AssertUnwindSafe(|| drop(idle))).expect_err("it never acted");
    let panic = panic.downcast_ref::<String>().expect("a text");
    assert!(
        panic.starts_with("error on stock, status 500, /never acted on nothing"),
        "{panic}"
    );

    let idle = stock.inject(fault()).wait().unwrap();
    assert!(matches!(idle.lift().wait(), Err(Error::Idle { .. })));
    drop(stock.inject(fault().min_hits(0)).wait().unwrap());
    let often = stock.inject(Fault::error(500).min_hits(2)).wait().unwrap();
    Client::of(&stock).get("/a");
    let said = often.lift().wait().unwrap_err().to_string();
    assert!(
        said.contains("acted once, and has to 2 times at least"),
        "{said}"
    );
}

#[test]
fn a_test_that_fails_for_a_reason_of_its_own_keeps_it() {
    let stock = stock();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _fault = stock.inject(Fault::error(500)).wait().unwrap();
        panic!("the test's own");
    }));
    let panic = panic.expect_err("it panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the test's own"));
    assert_eq!(Client::of(&stock).get("/a"), 200, "and it is healed");
}

#[test]
fn a_listener_is_closed_and_open_when_the_calls_come_back() {
    let stock = stock();
    for round in 0..5 {
        let fault = stock.inject(Fault::refuse()).wait().unwrap();
        let refused = TcpStream::connect(stock.address()).expect_err("it is closed");
        assert_eq!(
            refused.kind(),
            io::ErrorKind::ConnectionRefused,
            "round {round}"
        );
        if cfg!(target_os = "linux") {
            assert!(fault.must_have_acted().wait().unwrap() >= 1);
        }
        match round % 2 {
            0 => drop(fault.lift().wait()),
            _ => drop(fault),
        }
        assert_eq!(Client::of(&stock).get("/a"), 200, "round {round}");
    }
}

#[test]
fn what_hangs_is_in_flight_and_who_gives_up_is_seen_to() {
    let stock = stock();
    let fault = stock.inject(Fault::hang()).wait().unwrap();
    let mut client = Client::of(&stock);
    client.ask("/a");
    // The request is on its way to the proxy's socket as soon as it is written.
    assert_eq!(fault.must_have_acted().wait().unwrap(), 1);
    assert_eq!(stock.seen().wait().unwrap().in_flight(), 1);
    drop(client);
    let seen = stock.seen().wait().unwrap();
    let endings: Vec<Ending> = seen.attempts().map(|one| one.ending()).collect();
    assert_eq!((endings, seen.in_flight()), (vec![Ending::GaveUp], 0));
    let connection = seen.connections().next().expect("it is closed");
    assert!(connection.took() >= seen.attempts().next().unwrap().took());
}

#[test]
fn beyond_what_is_kept_nothing_is_said() {
    let stock = Dependency::http("stock", server()).keep(2).start().wait();
    let stock = stock.expect("it starts");
    let mut client = Client::of(&stock);
    client.get("/a");
    client.get("/a");
    assert_eq!(stock.seen().wait().unwrap().attempts().len(), 2);
    client.get("/a");
    let said = stock.seen().wait().expect_err("one too many").to_string();
    assert!(
        said.starts_with("1 of what `stock` was asked is not on record"),
        "{said}"
    );
    stock.forget().wait().unwrap();
    client.get("/b");
    let seen = stock.seen().wait().unwrap();
    assert_eq!((seen.attempts().len(), seen.in_flight()), (1, 0));
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let server = server();
    let run = |seed| {
        let stock = Dependency::http("stock", server)
            .seed(seed)
            .start()
            .wait()
            .unwrap();
        let fault = stock.inject(Fault::error(500).share(0.5)).wait().unwrap();
        let mut client = Client::of(&stock);
        let statuses: Vec<u16> = (0..60).map(|_| client.get("/a")).collect();
        let hit = statuses.iter().filter(|status| **status == 500).count();
        assert_eq!(fault.lift().wait().unwrap(), hit as u64);
        statuses
    };
    let one = run(7);
    assert_eq!(one, run(7));
    assert_ne!(one, run(8));
}

#[test]
fn the_port_is_free_as_soon_as_it_is_dropped() {
    let server = server();
    let first = Dependency::http("stock", server).start().wait().unwrap();
    let address = first.address();
    let mut client = Client::of(&first);
    client.get("/a");
    for _ in 0..3 {
        let again = Dependency::http("stock", server)
            .listen(address)
            .start()
            .wait();
        let said = again.expect_err("the port is taken").to_string();
        assert!(
            said.starts_with("the proxy of `stock` cannot be started: "),
            "{said}"
        );
    }
    drop(first);
    let again = Dependency::http("stock", server)
        .listen(address)
        .start()
        .wait()
        .unwrap();
    assert_eq!(Client::of(&again).get("/a"), 200);
}

#[test]
fn streams_of_bytes_are_seen_as_connections() {
    let queue = Dependency::tcp("queue", server()).start().wait().unwrap();
    let fault = queue.inject(Fault::reset()).wait().unwrap();
    let mut client = Client::of(&queue);
    // Whichever comes first after the reset hears of it, and only that.
    let written = client.0.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let mut rest = Vec::new();
    let read = client.0.read_to_end(&mut rest);
    assert!(written.is_err() || read.is_err(), "it is reset");
    let seen = queue.seen().wait().unwrap();
    assert_eq!(seen.attempts().len(), 0);
    assert!(
        seen.connections().all(|one| one.was_hit_by(&fault)),
        "{seen}"
    );
    assert_eq!(
        seen.to_string(),
        "`queue` saw no request and one closed connection"
    );
}

#[test]
fn upstreams_and_second_queues_that_cannot_be_are_refused_with_a_hint() {
    for (upstream, part) in [
        ("embedded:sink", "started by scenarios alone"),
        ("stock", "`stock` is no upstream"),
        ("http://127.0.0.1:1/path", "more than an address"),
    ] {
        let said = Dependency::http("stock", upstream).start().wait();
        let said = said.expect_err("it is none").to_string();
        assert!(said.contains(part), "{said}");
    }
    let stock = stock();
    let overload = || {
        Fault::of("overload")
            .set("servers", 1)
            .set("service", "1ms")
            .min_hits(0)
    };
    let _first = stock.inject(overload()).wait().unwrap();
    let said = stock
        .inject(overload())
        .wait()
        .expect_err("a second")
        .to_string();
    assert!(said.contains("`stock` has an overload already"), "{said}");
}

#[tokio::test]
async fn it_is_awaited_where_the_code_under_test_has_this_runtime() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stock = Dependency::http("stock", server()).start().await.unwrap();
    let fault = stock
        .inject(Fault::latency(Duration::from_millis(30)))
        .await
        .unwrap();
    let mut client = tokio::net::TcpStream::connect(stock.address())
        .await
        .unwrap();
    let request = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(fault.must_have_acted().await.unwrap() >= 1);
    // Dropped in async code, which waits for the proxy's own thread alone.
    drop(fault);
    let seen = stock.seen().await.unwrap();
    let took = seen
        .attempts()
        .next()
        .expect("one")
        .first_byte()
        .expect("an answer");
    assert!(took >= Duration::from_millis(30), "{took:?}");
}
