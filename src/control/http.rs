//! Listens for those who drive an API: HTTP/1.1, bounded in connections, bodies and time.

use super::{
    guard::{Guard, Refusal},
    native::{self, Body, Part},
    toxiproxy::{Api, Asked, Reply},
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most connections open at once. A further one takes the place of that which has been silent for
/// the longest; where none is, it waits, and those behind it do in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;

/// So long nothing comes from or goes to who is silent. Whoever sends its request piece by piece, or
/// reads a long answer slowly, is not.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// The largest body that is read, in bytes; more is answered with 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may say nothing, and a request's head may take; then it is closed. Clients
/// keep connections for their next request.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// How long a request's body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(15);

/// How long an answer may take to be made; then it is 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long an answer may take to be sent, from its first byte; then the connection is closed, as
/// nobody reads it.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// How long the body of a request that is refused is awaited, so that the answer is not lost.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// How long requests under way may take to finish once the server is stopped.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How long accepting rests after it failed, for instance because no file descriptor was left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-toxiproxy-request-id");

/// What an answer is that took too long.
const TOO_LONG: &str =
    "<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>";

/// A running API with its proxies. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    api: Arc<Api>,
    native: Arc<native::Api>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds the addresses and begins to answer.
    pub(super) fn start(
        listen: &[SocketAddr],
        (api, native): (Arc<Api>, Arc<native::Api>),
        guard: Guard,
    ) -> io::Result<Self> {
        let (first, others) = match listen {
            [first, others @ ..] => (*first, others),
            [] => return Err(io::Error::other("no address to listen on")),
        };
        let listener = bound(first)?;
        let address = listener.local_addr()?;
        // A port that was chosen for the first is wanted for the others too.
        let others = others
            .iter()
            .map(|other| SocketAddr::new(other.ip(), address.port()));
        let others = others.filter_map(|other| bound(other).ok());
        let listeners: Vec<TcpListener> = std::iter::once(listener).chain(others).collect();
        let server = Self {
            address,
            api,
            native,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let apis = (Arc::clone(&server.api), Arc::clone(&server.native));
        let desk = Arc::new(Desk::new(apis, guard, server.stopping.clone()));
        for listener in listeners {
            let (desk, tasks) = (Arc::clone(&desk), server.tasks.clone());
            server.tasks.spawn(desk.accept(listener, tasks));
        }
        server.tasks.close();
        Ok(server)
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes the requests under way, closes every proxy with its connections, and frees the
    /// ports.
    pub async fn stop(self) {
        self.stopping.cancel();
        // Who looks on has seen all there is.
        self.native.hush();
        // Who does not read its answer by then does not get it.
        let _ = timeout(DRAIN_WITHIN, self.tasks.wait()).await;
        // Nor does a request go on that waits for the address of a name.
        let _ = timeout(DRAIN_WITHIN, self.api.proxies().shut()).await;
        // Each of its parts has a bound.
        self.native.stop().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.native.abandon();
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Where requests come in.
struct Desk {
    api: Arc<Api>,
    native: Arc<native::Api>,
    guard: Guard,
    permits: Arc<Semaphore>,
    silent: Arc<Silent>,
    stopping: CancellationToken,
}

/// Connections on which nothing is answered just now, by when something last came or went: whoever
/// opens many and says nothing on them keeps nobody else out.
#[derive(Debug, Default)]
struct Silent {
    state: Mutex<SilentState>,
    /// One more may fall silent.
    more: Notify,
}

#[derive(Debug, Default)]
struct SilentState {
    /// How many times a connection stirred.
    count: u64,
    /// Since when each is still, and what ends it; that which has been so for the longest is first.
    all: BTreeMap<u64, (Instant, CancellationToken)>,
}

impl SilentState {
    fn take(&mut self, end: &CancellationToken) -> u64 {
        self.count += 1;
        self.all.insert(self.count, (Instant::now(), end.clone()));
        self.count
    }
}

/// Whether there is a connection to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Longest {
    /// It was silent, and is ended.
    Ended,
    /// It will be silent then, if nothing comes or goes until then.
    SilentAt(Instant),
    /// All are answered.
    None,
}

impl Silent {
    /// Ends the connection that has been silent for the longest, if one is silent.
    fn end_longest(&self) -> Longest {
        let mut state = self.state.lock();
        let Some(longest) = state.all.first_entry() else {
            return Longest::None;
        };
        let at = longest.get().0 + SILENT_AFTER;
        if at > Instant::now() {
            return Longest::SilentAt(at);
        }
        longest.remove().1.cancel();
        Longest::Ended
    }

    /// Until it may be otherwise.
    async fn otherwise(&self, longest: Longest) {
        match longest {
            Longest::Ended => {}
            Longest::SilentAt(at) => sleep_until(at).await,
            Longest::None => self.more.notified().await,
        }
    }
}

/// One connection among others that may be silent.
#[derive(Debug)]
struct Voice {
    silent: Arc<Silent>,
    end: CancellationToken,
    /// Its place among those on which nothing is answered.
    place: Mutex<Option<u64>>,
}

impl Voice {
    /// A connection that has said nothing yet.
    fn new(silent: Arc<Silent>) -> Arc<Self> {
        let voice = Arc::new(Self {
            silent,
            end: CancellationToken::new(),
            place: Mutex::new(None),
        });
        voice.is_answered();
        voice
    }

    /// What it asked for is answered, though perhaps not sent.
    fn is_answered(&self) {
        let mut place = self.place.lock();
        if place.is_none() {
            *place = Some(self.silent.state.lock().take(&self.end));
            self.silent.more.notify_one();
        }
    }

    /// Something came from it or went to it.
    fn stirs(&self) {
        let mut place = self.place.lock();
        if let Some(place) = &mut *place {
            let mut state = self.silent.state.lock();
            // One that is being ended stays so.
            if state.all.remove(place).is_some() {
                *place = state.take(&self.end);
            }
        }
    }

    /// It is answered from now on; whether it is not being ended already.
    fn is_heard(&self) -> bool {
        let Some(place) = self.place.lock().take() else {
            return true;
        };
        self.silent.state.lock().all.remove(&place).is_some()
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.is_heard();
    }
}

/// A connection that is answered, until this is dropped.
#[derive(Debug)]
struct Answering(Arc<Voice>);

impl Answering {
    /// `None` for one that is being ended: what it asks for is not carried out.
    fn new(voice: &Arc<Voice>) -> Option<Self> {
        voice.is_heard().then(|| Self(Arc::clone(voice)))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.is_answered();
    }
}

impl Desk {
    fn new(
        (api, native): (Arc<Api>, Arc<native::Api>),
        guard: Guard,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            api,
            native,
            guard,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            silent: Arc::default(),
            stopping,
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_REST).await;
                continue;
            };
            let permit = tokio::select! {
                () = self.stopping.cancelled() => return,
                permit = self.room() => permit,
            };
            // Fails only on a connection that is already gone.
            let _ = stream.set_nodelay(true);
            tasks.spawn(Arc::clone(&self).serve(stream, permit));
        }
    }

    /// Room for one more connection.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let mut room = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
        loop {
            let longest = self.silent.end_longest();
            if longest == Longest::Ended {
                // Its place is free in a moment; nobody else need go.
                return room.await.ok();
            }
            tokio::select! {
                biased;
                permit = &mut room => return permit.ok(),
                () = self.silent.otherwise(longest) => {}
            }
        }
    }

    /// Answers what is asked on a connection, whose place is free once it is over.
    async fn serve<S>(self: Arc<Self>, stream: S, _permit: Option<OwnedSemaphorePermit>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let desk = Arc::clone(&self);
        let voice = Voice::new(Arc::clone(&self.silent));
        let end = voice.end.clone();
        let bounded = Bounded::new(stream, Arc::clone(&voice));
        let service = service_fn(move |request| {
            let (desk, voice) = (Arc::clone(&desk), Arc::clone(&voice));
            async move { Ok::<_, Infallible>(desk.answer(request, &voice).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(bounded), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            // Somebody else needs its place; what it says from now on is not read.
            () = end.cancelled() => {}
            // A client that breaks off is its own business.
            _ = &mut connection => {}
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>, voice: &Arc<Voice>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let part = Part::of(head.uri.path());
        let checked = match part {
            Some(Part::Page) => self.guard.check_host(&head.headers),
            _ => self.guard.check(&head.headers),
        };
        if let Err(refusal) = checked {
            let mut body = Limited::new(body, BODY_BYTES_MAX);
            let passing_over = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(REFUSED_WITHIN, passing_over).await;
            return refused(refusal, part);
        }
        let reading = timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect());
        let body = match reading.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return said(part, 413, "request body too large");
            }
            Ok(Err(_)) => return said(part, 400, "the request body broke off"),
            Err(_) => return said(part, 408, "the request body took too long"),
        };
        let Some(busy) = Answering::new(voice) else {
            return said(part, 503, "the connection was silent for too long");
        };
        let answering = async {
            match part {
                Some(part) => self.answer_native(part, &head, body).await,
                None => self.answer_toxiproxy(&head, body).await,
            }
        };
        let answered = timeout(ANSWER_WITHIN, answering).await;
        let answered = answered.unwrap_or_else(|_| match part {
            Some(_) => native::problem(503, "the answer took too long", ""),
            None => {
                let kind = "text/html; charset=utf-8";
                written(Reply::with(503, kind, TOO_LONG.to_owned(), false))
            }
        });
        // Until all of it is made, which for a stream of events may be never. Then it is sent, and
        // whoever reads that is not silent.
        answered.map(|body| native::until_sent(body, busy))
    }

    async fn answer_native(
        &self,
        part: Part,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Response<Body> {
        let asked = native::Asked {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            body,
        };
        match part {
            Part::Page => self.native.page(&asked),
            Part::Metrics => self.native.metrics().await,
            Part::Api => self.native.answer(&asked).await,
        }
    }

    async fn answer_toxiproxy(&self, head: &http::request::Parts, body: Bytes) -> Response<Body> {
        let asked = Asked {
            method: &head.method,
            path: head.uri.path(),
            user_agent: head.headers.get(USER_AGENT).map(HeaderValue::as_bytes),
            body,
        };
        written(self.api.answer(&asked).await)
    }
}

/// Words for people, in the manner of the API that they asked.
fn said(part: Option<Part>, status: u16, what: &str) -> Response<Body> {
    match part {
        Some(_) => native::problem(status, what, ""),
        None => written(Reply::plain(status, &format!("{what}\n"))),
    }
}

/// A connection whose peer has to read what it is sent.
struct Bounded<S> {
    stream: S,
    voice: Arc<Voice>,
    /// Since when something is to be sent.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    fn new(stream: S, voice: Arc<Voice>) -> Self {
        Self {
            stream,
            voice,
            until: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.voice.stirs();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(sleep(SENT_WITHIN)));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.voice.stirs();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for once everything is written.
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.until = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn refused(refusal: Refusal, part: Option<Part>) -> Response<Body> {
    let mut response = match refusal {
        Refusal::Origin => said(part, 403, "Origin not allowed"),
        Refusal::Host => said(part, 403, "Host not allowed"),
        Refusal::Token => said(part, 401, "token missing or wrong"),
    };
    let headers = response.headers_mut();
    if refusal == Refusal::Token {
        // A page asks for the token itself, where a browser would ask for a name and a password.
        let scheme = match part {
            Some(_) => "Bearer realm=\"brownout\"",
            None => "Basic realm=\"brownout\"",
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    // Who may not ask keeps no connection from those who may.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn written(reply: Reply) -> Response<Body> {
    let mut response = Response::new(native::whole(Bytes::new()));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    };
    put(REQUEST_ID, reply.request_id);
    put(LOCATION, reply.location);
    // Who may not ask keeps no connection from those who may.
    let is_refusal = matches!(reply.status, 401 | 403);
    put(CONNECTION, is_refusal.then(|| "close".to_owned()));
    if let Some(content) = reply.content {
        put(CONTENT_TYPE, Some(content.kind.to_owned()));
        if content.is_plain {
            put(X_CONTENT_TYPE_OPTIONS, Some("nosniff".to_owned()));
        }
        *response.body_mut() = native::whole(content.text);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{Metrics, Tell, bench, runs, toxiproxy},
        history::Recorder,
        seed::Seed,
    };
    use std::{net::Ipv4Addr, path::PathBuf};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
        task::JoinHandle,
    };

    /// An API over nothing, for this machine.
    fn desk() -> Arc<Desk> {
        let tell = Tell::new(|_, _| {});
        let (recorder, observations) = Recorder::channel(100);
        let by_hand = (Ipv4Addr::LOCALHOST.into(), false);
        let common = toxiproxy::Common::new(Seed(1), by_hand, tell.clone(), recorder.clone());
        let proxies = toxiproxy::Proxies::new(common);
        let api = Arc::new(Api::new(proxies, Metrics::default()));
        let setup = bench::Setup {
            system: None,
            seed: Seed(1),
            is_open: false,
            recorder,
            observations,
            authority: None,
        };
        let bench = bench::Bench::start(setup, &tell).expect("it stands");
        let places = runs::Places {
            scenarios: None,
            system: None,
            runs: PathBuf::from("none"),
            seed: None,
        };
        let runs = runs::Runs::new(places, Arc::clone(&bench), tell);
        let native = native::Api::start(bench, runs, Arc::clone(&api));
        let guard = Guard::new(&[SocketAddr::from(([127, 0, 0, 1], 0))], None);
        Arc::new(Desk::new((api, native), guard, CancellationToken::new()))
    }

    /// A client's connection, which holds this place among all that there may be.
    fn client(desk: &Arc<Desk>, permit: Option<OwnedSemaphorePermit>) -> DuplexStream {
        let (client, stream) = tokio::io::duplex(16 * 1024);
        tokio::spawn(Arc::clone(desk).serve(stream, permit));
        client
    }

    async fn ask(client: &mut DuplexStream, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("it is sent");
    }

    /// The next answer's status, with its head and body.
    async fn answer(client: &mut (impl AsyncRead + Unpin)) -> (u16, String) {
        let mut text = String::new();
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let lines = head.lines().map(str::to_ascii_lowercase);
                let length = lines
                    .filter_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                    .next();
                if body.len() >= length.unwrap_or(0) {
                    let status = head
                        .split(' ')
                        .nth(1)
                        .and_then(|status| status.parse().ok());
                    return (status.expect("a status"), text);
                }
            }
            let mut piece = [0; 4096];
            let count = client.read(&mut piece).await.expect("it is open");
            assert!(count > 0, "it ended behind {text:?}");
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    /// Sends so many bytes of a body, one each second, and gives what comes back and when.
    async fn dribbled(path: &str, head: &str, body: &[u8]) -> (u16, String, Duration) {
        let (mut reads, mut writes) = tokio::io::split(client(&desk(), None));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let (began, body) = (Instant::now(), body.to_vec());
        let writing: JoinHandle<()> = tokio::spawn(async move {
            writes.write_all(head.as_bytes()).await.expect("it is sent");
            for byte in body {
                sleep(Duration::from_secs(1)).await;
                // Nobody takes what comes too late.
                if writes.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        let (status, text) = answer(&mut reads).await;
        let took = began.elapsed();
        writing.abort();
        (status, text, took)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dribbles_in_is_awaited_for_so_long_and_no_longer() {
        let meant = "X-Brownout: 1\r\nContent-Type: application/json\r\n";
        let soon = Duration::from_secs(1);
        for (path, head, words) in [
            ("/populate", "", "the request body took too long\n"),
            (
                "/api/v1/faults",
                meant,
                r#""what":"the request body took too long""#,
            ),
        ] {
            let (status, text, took) = dribbled(path, head, &[b' '; 40]).await;
            assert_eq!(status, 408, "{path}: {text}");
            assert!(text.contains(words), "{path}: {text}");
            assert!(took >= BODY_WITHIN && took < BODY_WITHIN + soon, "{took:?}");
        }
        // One that is there in time is read, however slowly it came.
        let slow = b"[           ]";
        let (status, text, took) = dribbled("/populate", "", slow).await;
        assert_eq!(status, 201, "{text}");
        assert!(took >= Duration::from_secs(slow.len() as u64) && took < BODY_WITHIN);
        let (status, text, _) = dribbled("/api/v1/faults", meant, b"{         }").await;
        assert_eq!(status, 400, "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_is_given_up_and_said_to_be() {
        let desk = desk();
        for (path, words) in [
            ("/proxies", TOO_LONG),
            (
                "/api/v1/dependencies",
                r#""what":"the answer took too long""#,
            ),
            ("/metrics", r#""what":"the answer took too long""#),
        ] {
            // Nobody can look at the proxies until whoever changes them has done.
            let held = desk.api.proxies().held().await;
            let mut client = client(&desk, None);
            let began = Instant::now();
            ask(&mut client, path).await;
            let (status, text) = answer(&mut client).await;
            let took = began.elapsed();
            assert_eq!(status, 503, "{path}: {text}");
            assert!(text.contains(words), "{path}: {text}");
            let soon = Duration::from_secs(1);
            assert!(
                took >= ANSWER_WITHIN && took < ANSWER_WITHIN + soon,
                "{took:?}"
            );
            // The connection goes on, and what is made just in time is given.
            ask(&mut client, path).await;
            sleep(ANSWER_WITHIN - soon).await;
            drop(held);
            assert_eq!(answer(&mut client).await.0, 200, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_connections_and_who_is_answered_makes_no_room() {
        let desk = desk();
        let held = desk.api.proxies().held().await;
        let mut clients = Vec::new();
        for nth in 0..CONNECTIONS_MAX {
            let permit = timeout(SILENT_AFTER / 2, desk.room()).await;
            let permit = permit.unwrap_or_else(|_| panic!("there is no room for {nth}"));
            let mut client = client(&desk, permit);
            ask(&mut client, "/proxies").await;
            clients.push(client);
        }
        // All of them are being answered, and nobody is ended for one more.
        let further = timeout(ANSWER_WITHIN / 2, desk.room()).await;
        assert!(further.is_err(), "there is room for one more");
        drop(held);
        for client in &mut clients {
            let (status, text) = answer(client).await;
            assert_eq!((status, text.ends_with("{}")), (200, true), "{text}");
        }
        // Now they are silent, and the first of them goes for one more.
        let permit = timeout(SILENT_AFTER * 2, desk.room()).await;
        let mut further = client(&desk, permit.expect("there is room for one more"));
        ask(&mut further, "/version").await;
        assert_eq!(answer(&mut further).await.0, 200);
        let mut ended = 0;
        for client in &mut clients {
            let reading = timeout(Duration::from_millis(1), client.read(&mut [0; 8])).await;
            ended += usize::from(matches!(reading, Ok(Ok(0))));
        }
        assert_eq!(ended, 1);
    }

    fn voices() -> (Arc<Silent>, [Arc<Voice>; 3]) {
        let silent = Arc::<Silent>::default();
        let voices = [(); 3].map(|()| Voice::new(Arc::clone(&silent)));
        (silent, voices)
    }

    fn ended(voices: &[Arc<Voice>; 3]) -> [bool; 3] {
        [0, 1, 2].map(|nth: usize| voices[nth].end.is_cancelled())
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_answer_is_not_waited_for() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut bounded = Bounded::new(stream, Voice::new(Arc::default()));
        for _ in 0..3 {
            bounded.write_all(&[0; 32]).await.expect("there is room");
            bounded.flush().await.expect("it is written");
            sleep(SENT_WITHIN * 2).await;
            peer.read_exact(&mut [0; 32]).await.expect("it is read");
        }
        let began = Instant::now();
        let error = bounded
            .write_all(&[0; 128])
            .await
            .expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < SENT_WITHIN * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_silent_for_the_longest_makes_room_and_who_is_answered_does_not() {
        let (silent, voices) = voices();
        let answering = Answering::new(&voices[0]).expect("it is not ended");
        sleep(SILENT_AFTER).await;
        assert_eq!(silent.end_longest(), Longest::Ended);
        assert_eq!(ended(&voices), [false, true, false]);
        // It is the one of which something was heard last now.
        drop(answering);
        assert_eq!(silent.end_longest(), Longest::Ended);
        assert_eq!(ended(&voices), [false, true, true]);
        let longest = silent.end_longest();
        assert_eq!(longest, Longest::SilentAt(Instant::now() + SILENT_AFTER));
        silent.otherwise(longest).await;
        assert_eq!(silent.end_longest(), Longest::Ended);
        assert_eq!(ended(&voices), [true, true, true]);
        assert_eq!(silent.end_longest(), Longest::None);
        // What it still asks for is not carried out.
        assert!(Answering::new(&voices[0]).is_none());
        drop(voices);
        assert!(silent.state.lock().all.is_empty());
    }

    /// The first reads its answer slowly, the second sends its request slowly, the third is silent.
    #[tokio::test(start_paused = true)]
    async fn who_reads_or_writes_is_not_silent() {
        let (silent, voices) = voices();
        let (mut reader, stream) = tokio::io::duplex(16);
        let mut to_reader = Bounded::new(stream, Arc::clone(&voices[0]));
        let (mut writer, stream) = tokio::io::duplex(16);
        let mut from_writer = Bounded::new(stream, Arc::clone(&voices[1]));
        // It is answered whole long before it has read all of it.
        drop(Answering::new(&voices[0]));
        let sent = tokio::spawn(async move { to_reader.write_all(&[0; 96]).await });
        for _ in 0..4 {
            sleep(SILENT_AFTER / 2).await;
            reader.read_exact(&mut [0; 16]).await.expect("it is sent");
            writer.write_all(&[0; 16]).await.expect("there is room");
            from_writer.read_exact(&mut [0; 16]).await.expect("it came");
            // What was read makes room for more, which is sent now.
            tokio::task::yield_now().await;
        }
        assert_eq!(silent.end_longest(), Longest::Ended);
        assert_eq!(ended(&voices), [false, false, true]);
        assert!(matches!(silent.end_longest(), Longest::SilentAt(_)));
        reader.read_exact(&mut [0; 32]).await.expect("it is sent");
        sent.await.expect("it ends").expect("all is sent");
        // Who stops in the middle is silent like any other.
        sleep(SILENT_AFTER).await;
        assert_eq!(silent.end_longest(), Longest::Ended);
        assert_eq!(ended(&voices), [false, true, true]);
    }
}
