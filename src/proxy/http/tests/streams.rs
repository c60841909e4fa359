//! HTTP/2 as the standard has it (RFC 9113): a client goes through a script once directly and once
//! through the proxy, and both it and the origin see the same of each other, frame by frame in what
//! the frames mean: heads in order, data, trailers, resets and farewells with their reasons.

use super::{
    Alpn, AsyncReadExt, AsyncWriteExt, AttemptEnd, Desk, Dial, Door, DuplexStream, Observation,
    Outcome, Outcomes, PATIENCE, Peer, Protocol, Recorder, Rig, Switch, TcpListener, TcpStream,
    http2::{Ended, whole},
    io, mpsc, soon,
};
use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, Request, Response, Version};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::{future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};
use tokio::io::{ReadHalf, WriteHalf};

/// What one side saw.
type Log = Arc<Mutex<Vec<String>>>;

fn headers(headers: &HeaderMap) -> String {
    let lines = headers.iter().map(|(name, value)| {
        let value = value.as_bytes().escape_ascii();
        format!("{name}: {value}\n")
    });
    lines.collect()
}

fn digest(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    format!("{} bytes, {sum:x}", bytes.len())
}

fn error(error: &h2::Error) -> String {
    let kind = match (error.is_reset(), error.is_go_away()) {
        (true, _) => "reset",
        (_, true) => "farewell",
        _ => "broken",
    };
    format!("{kind} {:?}", error.reason())
}

fn trailers(sum: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", sum.parse().unwrap());
    trailers.append("x-sum", "again".parse().unwrap());
    trailers
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8)) as u8).collect()
}

async fn send_all(sender: &mut h2::SendStream<Bytes>, bytes: &[u8], is_last: bool) {
    let data = Bytes::copy_from_slice(bytes);
    // Whoever resets meanwhile is seen by what it reads.
    let _ = super::super::http2::send_data(sender, data, is_last).await;
}

/// The origin: what it does with a request stands in its path. Its windows are small.
async fn serve(tcp: TcpStream, log: Log) {
    tcp.set_nodelay(true).unwrap();
    let mut builder = server::Builder::new();
    builder.initial_window_size(1000).max_concurrent_streams(20);
    let mut connection = builder.handshake(tcp).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path() == "/farewell" {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            continue;
        }
        tokio::spawn(answer(request, respond, Arc::clone(&log)));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: server::SendResponse<Bytes>, log: Log) {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    log.lock().push(format!(
        "{} {} {}",
        parts.method,
        parts.uri,
        headers(&parts.headers)
    ));
    let ok = || Response::builder().status(200);
    match &*path {
        "/echo" => {
            let (bytes, end) = whole(&mut body).await.unwrap();
            log.lock().push(format!("{} {end:?}", digest(&bytes)));
            let head = ok()
                .header("x-b", "1")
                .header("x-a", "2")
                .header("x-b", "3");
            let mut sender = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            send_all(&mut sender, &bytes, end.is_none()).await;
            if end.is_some() {
                sender.send_trailers(trailers("down")).unwrap();
            }
        }
        "/interim" => {
            for status in [100, 103, 103] {
                let hint = Response::builder().status(status).header("link", "</a>");
                respond.send_informational(hint.body(()).unwrap()).unwrap();
            }
            respond.send_response(ok().body(()).unwrap(), true).unwrap();
        }
        "/bodiless" => {
            let status: u16 = parts.uri.query().unwrap().parse().unwrap();
            let head = Response::builder().status(status).header("etag", "\"a\"");
            let head = if parts.method == "HEAD" {
                head.header("content-length", 700)
            } else {
                head
            };
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
        "/empty-data" => {
            let mut sender = respond
                .send_response(ok().body(()).unwrap(), false)
                .unwrap();
            sender.send_data(Bytes::new(), false).unwrap();
            sender.send_trailers(trailers("alone")).unwrap();
        }
        "/reset" => respond.send_reset(reason(&parts.uri)),
        "/late-reset" => {
            let mut sender = respond
                .send_response(ok().body(()).unwrap(), false)
                .unwrap();
            sender.send_data("beginning".into(), false).unwrap();
            // The client says that it has it.
            let _ = body.data().await;
            sender.send_reset(reason(&parts.uri));
        }
        "/left" => {
            let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
            log.lock().push(format!("left with {reset:?}"));
        }
        "/left-late" => {
            let mut sender = respond
                .send_response(ok().body(()).unwrap(), false)
                .unwrap();
            sender.send_data("beginning".into(), false).unwrap();
            let reset = poll_fn(|cx| sender.poll_reset(cx)).await;
            log.lock().push(format!("left late with {reset:?}"));
        }
        "/large-head" => {
            let len: usize = parts.uri.query().unwrap().parse().unwrap();
            let head = ok().header("x-large", "l".repeat(len));
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
        "/flood" => {
            let mut sender = respond
                .send_response(ok().body(()).unwrap(), false)
                .unwrap();
            send_all(&mut sender, &pattern(300_000), true).await;
        }
        other => panic!("{other} is no script"),
    }
}

fn reason(uri: &http::Uri) -> Reason {
    Reason::from(uri.query().unwrap().parse::<u32>().unwrap())
}

/// A client's connection, with windows of this size.
async fn connect(address: SocketAddr, window: u32) -> (client::SendRequest<Bytes>, Ended) {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(u32::from(u16::MAX).max(window * 64))
        .max_header_list_size(1 << 20);
    let (requests, connection) = builder.handshake(tcp).await.unwrap();
    (requests, Ended(tokio::spawn(connection)))
}

/// Waits for an answer and tells all of it.
async fn told(mut answer: client::ResponseFuture) -> String {
    let mut interim = String::new();
    let answer = poll_fn(|cx| {
        while let std::task::Poll::Ready(Some(Ok(hint))) = answer.poll_informational(cx) {
            interim.push_str(&format!("{} {}", hint.status(), headers(hint.headers())));
        }
        std::pin::Pin::new(&mut answer).poll(cx)
    });
    let answer = soon("an answer", answer).await;
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(broken) => return format!("{interim}{}", error(&broken)),
    };
    let head = format!("{interim}{} {}", answer.status(), headers(answer.headers()));
    let is_bodiless = answer.body().is_end_stream();
    match whole(answer.body_mut()).await {
        Ok((bytes, end)) => format!("{head}{} {end:?} {is_bodiless}", digest(&bytes)),
        Err(broken) => format!("{head}{}", error(&broken)),
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://store{path}"))
        .header("x-a", "1")
        .header("cookie", "a=1")
        .header("x-a", "2")
        .header("cookie", "b=2")
}

/// What a client sees that goes through the whole script.
async fn script(address: SocketAddr) -> Vec<String> {
    let mut seen = Vec::new();
    for window in [1000, 100_000] {
        let (requests, _ended) = connect(address, window).await;
        let mut requests = requests.ready().await.unwrap();
        for (method, path) in [
            ("GET", "/interim"),
            ("HEAD", "/bodiless?200"),
            ("GET", "/bodiless?204"),
            ("GET", "/bodiless?304"),
            ("PROPFIND", "/bodiless?207"),
            ("GET", "/empty-data"),
            ("GET", "/reset?7"),
            ("GET", "/reset?8"),
            ("GET", "/reset?11"),
            ("GET", "/reset?2"),
            ("GET", "/reset?4242"),
            ("GET", "/large-head?60000"),
            ("GET", "/flood?x=%2F&&y=//../"),
        ] {
            let asked = request(method, path).body(()).unwrap();
            let (answer, _) = requests.send_request(asked, true).unwrap();
            seen.push(format!("{method} {path}: {}", told(answer).await));
        }
        // Bodies up and down at the same time, one after the other, with and without trailers.
        for (len, end) in [
            (0, false),
            (1, true),
            (999, false),
            (1000, true),
            (70_000, true),
            (1_000_000, false),
        ] {
            let asked = request("PUT", "/echo").header("content-length", len);
            let (answer, mut sender) = requests
                .send_request(asked.body(()).unwrap(), false)
                .unwrap();
            let sending = tokio::spawn(async move {
                send_all(&mut sender, &pattern(len), !end).await;
                if len == 0 && !end {
                    sender.send_data(Bytes::new(), true).unwrap();
                }
                if end {
                    sender.send_trailers(trailers("up")).unwrap();
                }
            });
            seen.push(format!("echo of {len}: {}", told(answer).await));
            sending.await.unwrap();
        }
        // A request that says whom it asks by `host` alone.
        let asked = Request::get("/bodiless?200").version(Version::HTTP_11);
        let asked = asked.header("host", "other").body(()).unwrap();
        let (answer, _) = requests.send_request(asked, true).unwrap();
        seen.push(format!("without an authority: {}", told(answer).await));
        // Resets of either side amid the bodies.
        for code in [1, 8, 5000] {
            let asked = request("PUT", &format!("/late-reset?{code}"))
                .body(())
                .unwrap();
            let (answer, mut sender) = requests.send_request(asked, false).unwrap();
            let mut answer = soon("an answer", answer).await.unwrap();
            let first = soon("its beginning", answer.body_mut().data()).await;
            let first = first.unwrap().unwrap();
            sender.send_data("it is here".into(), false).unwrap();
            let after = whole(answer.body_mut()).await.unwrap_err();
            seen.push(format!("{first:?}, then {}", error(&after)));
        }
        for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::from(4711)] {
            let asked = request("PUT", "/left").body(()).unwrap();
            let (answer, mut sender) = requests.send_request(asked, false).unwrap();
            // It has arrived when the next one is answered.
            sender.send_data("part".into(), false).unwrap();
            let after = request("GET", "/bodiless?200").body(()).unwrap();
            let (next, _) = requests.send_request(after, true).unwrap();
            told(next).await;
            sender.send_reset(reason);
            drop(answer);
            let asked = request("PUT", "/left-late").body(()).unwrap();
            let (answer, mut sender) = requests.send_request(asked, false).unwrap();
            let mut answer = soon("an answer", answer).await.unwrap();
            soon("its beginning", answer.body_mut().data())
                .await
                .unwrap()
                .unwrap();
            sender.send_reset(reason);
        }
        // More streams at a time than the origin takes: they wait, and all are answered.
        let mut many = Vec::new();
        for _ in 0..60 {
            requests = requests.ready().await.unwrap();
            let asked = request("GET", "/flood").body(()).unwrap();
            many.push(tokio::spawn(told(
                requests.send_request(asked, true).unwrap().0,
            )));
        }
        for answer in many {
            seen.push(answer.await.unwrap());
        }
    }
    let (mut requests, ended) = connect(address, 1000).await;
    let asked = request("GET", "/farewell").body(()).unwrap();
    let (answer, _) = requests.send_request(asked, true).unwrap();
    let told = told(answer).await;
    drop(requests);
    let end = ended.how().await.err().map(|broken| error(&broken));
    seen.push(format!("farewell: {told}, and the connection: {end:?}"));
    seen
}

/// An origin on a listener, for as many connections as come.
fn origin(listener: TcpListener) -> (Log, tokio_util::task::AbortOnDropHandle<()>) {
    let log = Log::default();
    let own = Arc::clone(&log);
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, Arc::clone(&own)));
        }
    });
    (log, tokio_util::task::AbortOnDropHandle::new(serving))
}

/// What was seen, with what of it has no order taken out of the order in which it came.
fn sorted(log: &Log) -> Vec<String> {
    let mut seen = log.lock().clone();
    seen.sort();
    seen
}

async fn all(log: &Log, count: usize) {
    let coming = async {
        while log.lock().len() < count {
            tokio::task::yield_now().await;
        }
    };
    soon("all that the origin sees", coming).await;
}

#[tokio::test]
async fn both_sides_see_the_same_directly_and_through_the_proxy() {
    let mut rig = Rig::new(Protocol::Http).await;
    let listener = std::mem::replace(
        &mut rig.upstream,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let address = listener.local_addr().unwrap();
    let (log, _serving) = origin(listener);
    let direct = script(address).await;
    let logged = 2 * (13 + 2 * 6 + 1 + 3 + 3 * (3 + 2) + 60);
    all(&log, logged).await;
    let directly = sorted(&log);
    assert_eq!(directly.len(), logged, "{directly:#?}");
    log.lock().clear();
    let through = script(rig.proxy.address()).await;
    all(&log, logged).await;
    for (one, other) in direct.iter().zip(&through) {
        assert_eq!(one, other);
    }
    assert_eq!(direct.len(), through.len());
    for (one, other) in directly.iter().zip(&sorted(&log)) {
        assert_eq!(one, other);
    }
    let attempts = rig.stop().await;
    let of = |end| attempts.iter().filter(|attempt| attempt.end == end).count();
    assert_eq!(of(AttemptEnd::GaveUp), 12);
    assert!(of(AttemptEnd::UpstreamFailed) > 2 * (5 + 3));
}

#[tokio::test]
async fn streams_that_nobody_reads_hold_up_none_of_the_others() {
    let mut rig = Rig::new(Protocol::Http).await;
    let listener = std::mem::replace(
        &mut rig.upstream,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let _serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut builder = server::Builder::new();
        builder.initial_connection_window_size(1 << 24);
        let mut connection = builder.handshake::<_, Bytes>(tcp).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let (parts, body) = request.into_parts();
                let mut sender = respond.send_response(Response::new(()), false).unwrap();
                if parts.method == "PUT" {
                    // It never reads what is sent to it.
                    sender.send_data("taken".into(), false).unwrap();
                    let _ = poll_fn(|cx| sender.poll_reset(cx)).await;
                }
                send_all(&mut sender, &pattern(200_000), true).await;
                drop(body);
            });
        }
    });
    let tcp = TcpStream::connect(rig.proxy.address()).await.unwrap();
    let mut builder = client::Builder::new();
    builder.initial_connection_window_size(1 << 24);
    let (mut requests, connection) = builder.handshake(tcp).await.unwrap();
    let _running = tokio::spawn(connection);
    let mut unread = Vec::new();
    for method in ["GET", "PUT"] {
        for _ in 0..30 {
            let asked = request(method, "/").body(()).unwrap();
            let (answer, mut sender) = requests.send_request(asked, method == "GET").unwrap();
            let mut answer = soon("an answer", answer).await.unwrap();
            let first = soon("its beginning", answer.body_mut().data()).await;
            first.unwrap().unwrap();
            let sending = (method == "PUT").then(|| {
                tokio::spawn(async move { send_all(&mut sender, &pattern(200_000), true).await })
            });
            unread.push((answer, sending));
        }
        // Those before hold all that they may; this one passes.
        let asked = request("GET", "/").body(()).unwrap();
        let (answer, _) = requests.send_request(asked, true).unwrap();
        assert!(told(answer).await.contains(&digest(&pattern(200_000))));
    }
    assert_eq!(unread.len(), 60);
}

#[tokio::test]
async fn an_answer_with_too_large_a_head_ends_its_stream_alone() {
    let mut rig = Rig::new(Protocol::Http).await;
    let listener = std::mem::replace(
        &mut rig.upstream,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (_log, _serving) = origin(listener);
    let (mut requests, _ended) = connect(rig.proxy.address(), 1000).await;
    let slow = request("PUT", "/echo").body(()).unwrap();
    let (slow, mut sender) = requests.send_request(slow, false).unwrap();
    let asked = request("GET", "/large-head?70000").body(()).unwrap();
    let (answer, _) = requests.send_request(asked, true).unwrap();
    let refused = told(answer).await;
    assert!(refused.starts_with("reset "), "{refused}");
    assert_eq!(rig.attempt().await.end, AttemptEnd::UpstreamFailed);
    send_all(&mut sender, b"hello", true).await;
    assert!(told(slow).await.contains(&digest(b"hello")));
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
}

#[tokio::test]
async fn a_request_with_too_large_a_head_is_answered_and_its_connection_goes_on() {
    let mut rig = Rig::new(Protocol::Http).await;
    let (mut requests, _ended) = connect(rig.proxy.address(), 1000).await;
    let asked = request("GET", "/").header("x-large", "l".repeat(70_000));
    let (answer, _) = requests
        .send_request(asked.body(()).unwrap(), true)
        .unwrap();
    assert!(told(answer).await.starts_with("431 "));
    let asked = request("GET", "/bodiless?200").body(()).unwrap();
    let (answer, _) = requests.send_request(asked, true).unwrap();
    let Peer(tcp) = rig.accept().await;
    tokio::spawn(serve(tcp, Log::default()));
    assert!(told(answer).await.starts_with("200 "));
    assert_eq!(rig.attempt().await.end, AttemptEnd::Answered);
}

/// Two ends of a connection on which everything comes in pieces of this size. Between them is room: an
/// end of HTTP/2 writes what it owes before it reads on, and over pipes that hold less than that two
/// of them wait for each other.
fn in_pieces(size: usize) -> (DuplexStream, DuplexStream) {
    let (near, one) = tokio::io::duplex(1 << 20);
    let (other, far) = tokio::io::duplex(1 << 20);
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
        (tokio::io::split(one), tokio::io::split(other));
    tokio::spawn(async move { pass_in_pieces(&mut from_near, &mut to_far, size).await });
    tokio::spawn(async move { pass_in_pieces(&mut from_far, &mut to_near, size).await });
    (near, far)
}

async fn pass_in_pieces(
    from: &mut ReadHalf<DuplexStream>,
    to: &mut WriteHalf<DuplexStream>,
    size: usize,
) {
    let mut piece = vec![0; size];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        if to.write_all(&piece[..len]).await.is_err() {
            return;
        }
        // The other end reads what there is before more comes.
        tokio::task::yield_now().await;
    }
}

/// Dials an origin from which, and to which, everything comes in pieces of this size.
struct Pieces {
    size: usize,
    dialed: mpsc::UnboundedSender<DuplexStream>,
}

impl Dial for Pieces {
    type Stream = DuplexStream;

    async fn dial(&self, _: Alpn) -> io::Result<DuplexStream> {
        let (near, far) = in_pieces(self.size);
        self.dialed.send(far).map_err(io::Error::other)?;
        Ok(near)
    }
}

/// What a client is told of echoes, when everything comes in pieces of this size.
async fn echoed(size: usize, bodies: &[usize]) -> Vec<String> {
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
    let (near, client) = in_pieces(size);
    let desk = Arc::new(Desk::Door(Arc::new(door)));
    let engine = super::super::http2::serve(near, Pieces { size, dialed }, desk);
    let _engine = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        engine.await;
    }));
    let _origin = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let pipe = dials.recv().await.unwrap();
        let mut connection = server::handshake(pipe).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(answer(request, respond, Log::default()));
        }
    }));
    let (mut requests, connection) = client::handshake(client).await.unwrap();
    let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let mut answers = Vec::new();
    for len in bodies {
        let asked = request("PUT", "/echo").body(()).unwrap();
        let (answer, mut sender) = requests.send_request(asked, false).unwrap();
        let body = pattern(*len);
        tokio::spawn(async move {
            send_all(&mut sender, &body, false).await;
            sender.send_trailers(trailers("up")).unwrap();
        });
        answers.push(tokio::spawn(told(answer)));
    }
    let mut seen = Vec::new();
    for answer in answers {
        seen.push(answer.await.unwrap());
    }
    for _ in bodies {
        let Some(Observation::Operation(one)) = soon("it", observed.recv()).await else {
            panic!("an operation is observed");
        };
        assert_eq!(one.outcome, Outcome::Ok);
    }
    seen
}

/// The origin breaks the protocol and reads no further: its connection cannot say goodbye and stays for
/// the whole time that it has for that.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_connection_is_lost_is_over_then_and_not_when_that_has_said_goodbye() {
    let (recorder, mut observed) = Recorder::channel(100);
    let door = Door {
        name: "door".into(),
        outcomes: Outcomes::default(),
        timeout: PATIENCE,
        recorder: recorder.clone(),
        count: 0.into(),
        switch: Switch::new(),
    };
    let (dialed, mut dials) = mpsc::unbounded_channel();
    let (near, client) = tokio::io::duplex(1 << 20);
    let desk = Arc::new(Desk::Door(Arc::new(door)));
    let engine = super::super::http2::serve(near, Pipes { size: 1024, dialed }, desk);
    let _engine = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        engine.await;
    }));
    let (mut requests, connection) = client::handshake(client).await.unwrap();
    let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let asked = request("PUT", "/lost").body(()).unwrap();
    let (answer, mut sender) = requests.send_request(asked, false).unwrap();
    let _sending = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        send_all(&mut sender, &pattern(60_000), true).await;
    }));
    let mut origin = soon("a dial", dials.recv()).await.unwrap();
    // Its settings, which are taken note of; behind that comes more than the pipe takes.
    origin
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let noted = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let mut begun = Vec::new();
    while !begun.windows(noted.len()).any(|frame| frame == noted) {
        let reading = origin.read_buf(&mut begun);
        assert!(soon("the request", reading).await.unwrap() > 0);
    }
    let mut data = [0; 4 * 1024];
    let reading = origin.read_exact(&mut data);
    soon("its data", reading).await.unwrap();
    // Data of no stream (RFC 9113, 6.1).
    origin.write_all(&[0; 9]).await.unwrap();
    let lost = recorder.now();
    soon("the reset", answer).await.unwrap_err();
    let told = recorder.now();
    let Some(Observation::Operation(one)) = soon("it", observed.recv()).await else {
        panic!("an operation is observed");
    };
    // It was carried out or it was not.
    assert_eq!(one.outcome, Outcome::Indeterminate);
    let late = one.ended.since(lost);
    assert!(late < Duration::from_millis(500), "{late:?}");
    // Else this would show nothing.
    let goodbye = told.since(lost);
    assert!(goodbye >= Duration::from_secs(1), "{goodbye:?}");
}

/// Dials an origin through a pipe of this size.
struct Pipes {
    size: usize,
    dialed: mpsc::UnboundedSender<DuplexStream>,
}

impl Dial for Pipes {
    type Stream = DuplexStream;

    async fn dial(&self, _: Alpn) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(self.size);
        self.dialed.send(far).map_err(io::Error::other)?;
        Ok(near)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_split_of_the_same_frames_passes_the_same(
        size in 1usize..300,
        bodies in prop::collection::vec(1usize..4000, 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(echoed(size, &bodies));
        for (len, told) in bodies.iter().zip(&seen) {
            prop_assert!(told.starts_with("200 OK x-b: 1"), "{}", told);
            prop_assert!(told.contains(&digest(&pattern(*len))), "{}", told);
            prop_assert!(told.contains("x-sum"), "{}", told);
        }
        prop_assert_eq!(runtime.block_on(echoed(1 << 20, &bodies)), seen);
    }
}
