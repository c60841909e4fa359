//! One accepted connection, from its acceptance to its observation.

use super::{
    Config, Counts,
    conduct::{Conductor, Farewell},
    door::Turned,
    http, mysql, postgres, redis, relay,
    replayed::Replayed,
    sockets::Sockets,
    station::Station,
    tls::{Front, FrontAlpn, Plain},
    upstream::{Connector, UpstreamStream},
    wire::{Socket, Wire, WireStream},
};
use crate::{
    fault::{Closing, FaultId, Reply, Switch},
    history::{self, Observation, Recorder},
    protocol::{Call, CallTracker, Protocol},
    units::Micros,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, watch},
    time::Instant,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub(crate) use super::upstream::Alpn;

/// What all connections of one proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What the proxy is for.
    pub(crate) config: Config,
    /// The faults in force.
    pub(crate) switch: Switch,
    /// The history.
    pub(crate) recorder: Recorder,
    /// Which call and attempt a request is. Never held across a wait.
    pub(crate) calls: Mutex<CallTracker>,
    /// Which connections are WebSockets.
    pub(crate) sockets: Arc<Sockets>,
    /// Pipes for splicing.
    #[cfg(target_os = "linux")]
    pub(super) pipes: super::splice::Pipes,
    /// Answers given before, for the fault that gives them again.
    pub(crate) answers: http::Memory,
    /// Where requests wait while the dependency is overloaded.
    pub(super) station: Arc<Station>,
    pub(super) upstream: Connector,
    pub(super) counters: Counters,
    /// What the door does.
    pub(super) turned: watch::Sender<Turned>,
}

impl Shared {
    pub(super) fn new(config: Config, switch: Switch, recorder: Recorder) -> Self {
        let upstream = Connector::new(
            config.upstream.clone(),
            &config.upstream_tls,
            config.protocol,
            config.limits.connect,
        );
        let dependency = Arc::clone(&config.dependency);
        recorder.speaks(&dependency, config.protocol);
        let station = Station::new(dependency, switch.clone(), recorder.clone());
        Self {
            station: Arc::new(station),
            switch,
            recorder,
            calls: Mutex::default(),
            sockets: Arc::default(),
            #[cfg(target_os = "linux")]
            pipes: super::splice::Pipes::default(),
            answers: http::Memory::new(config.limits.answers_bytes),
            upstream,
            counters: Counters::default(),
            turned: watch::Sender::default(),
            config,
        }
    }

    /// A connection to the dependency, within the connect limit. `name` is the server name that
    /// the client asked for, where it named one; `alpn` what the client speaks to us.
    pub(crate) async fn connect_upstream(
        &self,
        name: Option<&str>,
        alpn: Alpn,
    ) -> io::Result<UpstreamStream> {
        let result = self.upstream.connect(name, alpn).await;
        if result.is_err() {
            self.counters
                .upstream_failures
                .fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Tells the faults that a request is over on which these acted.
    pub(crate) fn request_ended(&self, call: &Call, acted: &[FaultId], bytes: u64) {
        if self.switch.counts() {
            let set = self.switch.current();
            set.ended(call, acted, bytes, self.now());
        }
    }

    /// Begins TLS on a connection to the dependency that was plain until now.
    pub(crate) async fn secure_upstream(
        &self,
        stream: UpstreamStream,
    ) -> io::Result<UpstreamStream> {
        self.upstream.secure(stream).await
    }

    /// Comes back when there is room to record more, or soon after; until then a request is held up.
    pub(crate) async fn room(&self) {
        self.recorder.room().await;
    }

    /// Now, on the run's clock.
    pub(crate) fn now(&self) -> Micros {
        self.recorder.now()
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    fn front_alpn(&self) -> FrontAlpn {
        match self.config.protocol {
            protocol if !protocol.is_http() => FrontAlpn::None,
            _ if self.upstream.speaks_http2() => FrontAlpn::Http2,
            _ => FrontAlpn::Http1,
        }
    }
}

/// The proxy's running counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    upstream_failures: AtomicU64,
    flow: Mutex<Flow>,
}

/// The bytes of closed connections, and the open ones, which count for themselves: a count that all
/// connections change at once is slow.
#[derive(Debug, Default)]
struct Flow {
    up: u64,
    down: u64,
    open: BTreeMap<u64, Arc<Life>>,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        let flow = self.flow.lock();
        let mut counts = Counts {
            accepted: self.accepted.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            under_way: 0,
            bytes_up: flow.up,
            bytes_down: flow.down,
            upstream_failures: self.upstream_failures.load(Ordering::Relaxed),
        };
        for life in flow.open.values() {
            let (up, down) = life.wire.bytes();
            counts.bytes_up += up;
            counts.bytes_down += down;
            counts.under_way += life.under_way.load(Ordering::Relaxed);
        }
        counts
    }

    /// The connection is over; what its wire has counted by now stays.
    fn closed(&self, connection: u64) {
        let mut flow = self.flow.lock();
        if let Some(life) = flow.open.remove(&connection) {
            let (up, down) = life.wire.bytes();
            flow.up += up;
            flow.down += down;
        }
    }
}

/// A connection handed to an engine, TLS already spoken.
///
/// The engine's future is dropped, at whatever it waits for, when a fault cuts the connection or
/// the proxy stops: what must be recorded then is recorded by drop. Byte-stream and connection
/// faults act below `stream`, the engine need not know of them; a read or write on a cut
/// connection fails.
pub(crate) struct Accepted {
    /// The client's side.
    pub(crate) stream: ClientStream,
    /// The proxy's number of the connection, from 1.
    pub(crate) connection: u64,
    /// What ALPN chose, behind a TLS front.
    pub(crate) alpn: Option<Vec<u8>>,
    /// The server name that the client asked for, behind a TLS front.
    pub(crate) server_name: Option<String>,
    /// Its life: how it ends, which faults acted.
    pub(crate) life: Arc<Life>,
    /// What all connections share.
    pub(crate) shared: Arc<Shared>,
}

/// What becomes of a connection; shared by its engine and the task that watches the faults.
#[derive(Debug)]
pub(crate) struct Life {
    wire: Arc<Wire>,
    shared: Arc<Shared>,
    dependency: Arc<str>,
    how: Mutex<Option<String>>,
    faults: Mutex<BTreeSet<FaultId>>,
    farewell: Mutex<Option<Farewell>>,
    held_by: watch::Sender<Vec<FaultId>>,
    refusal: Mutex<Option<Refusal>>,
    dismissal: Mutex<Option<Reply>>,
    last_code: Mutex<Option<Arc<str>>>,
    dismissed: Notify,
    under_way: AtomicU64,
}

/// A connection for which the dependency has no room: every request on it is answered so.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The answer.
    pub(crate) reply: Reply,
    /// Who refuses.
    pub(crate) faults: Vec<FaultId>,
}

/// While it lives, a connection is refused.
pub(super) struct Refused<'a>(&'a Life);

impl Drop for Refused<'_> {
    fn drop(&mut self) {
        *self.0.refusal.lock() = None;
    }
}

/// While it lives, faults hold the requests of a connection.
pub(super) struct HeldRequests<'a>(&'a Life);

impl Drop for HeldRequests<'_> {
    fn drop(&mut self) {
        self.0.held_by.send_replace(Vec::new());
    }
}

impl Life {
    fn new(wire: Arc<Wire>, shared: &Arc<Shared>) -> Self {
        Self {
            wire,
            shared: Arc::clone(shared),
            dependency: Arc::from(&*shared.config.dependency),
            how: Mutex::default(),
            faults: Mutex::default(),
            farewell: Mutex::default(),
            held_by: watch::Sender::default(),
            refusal: Mutex::default(),
            dismissal: Mutex::default(),
            last_code: Mutex::default(),
            dismissed: Notify::new(),
            under_way: AtomicU64::new(0),
        }
    }

    /// What all connections share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The dependency's name, in this connection's own copy: each of its observations counts who
    /// holds it, and a count that all connections change at once is slow.
    pub(super) fn dependency(&self) -> &Arc<str> {
        &self.dependency
    }

    /// A request has begun. Each is over once: see [`Life::request_over`].
    pub(crate) fn request_began(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has its answer, or will have none.
    pub(crate) fn request_over(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes how the connection is left, before the engine's future is dropped.
    pub(super) fn left(&self, farewell: Farewell) {
        *self.farewell.lock() = Some(farewell);
    }

    /// How an engine that is dropped half-way finds its connection left; `None`: the proxy stops.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        *self.farewell.lock()
    }

    /// These faults hold every request of the connection until what is returned is dropped.
    pub(super) fn hold_requests(&self, faults: Vec<FaultId>) -> HeldRequests<'_> {
        self.held_by.send_replace(faults);
        HeldRequests(self)
    }

    /// The engine answers every request of the connection so, until what is returned is dropped.
    pub(super) fn refuse_requests(&self, reply: Reply, faults: Vec<FaultId>) -> Refused<'_> {
        *self.refusal.lock() = Some(Refusal { reply, faults });
        Refused(self)
    }

    /// What the connection as a whole is answered, if it is refused: an engine gives this answer
    /// as soon as its protocol allows, and forwards nothing.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().clone()
    }

    /// Whether every request is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.lock().is_some()
    }

    /// Which faults hold the requests of the connection, now and as that changes: an engine that
    /// sees requests forwards none of them meanwhile.
    pub(crate) fn held_by(&self) -> watch::Receiver<Vec<FaultId>> {
        self.held_by.subscribe()
    }

    /// A fault ends the connection with this, which the engine must say: see [`Life::dismissed`].
    pub(super) fn dismiss(&self, reply: Reply) {
        self.dismissal.lock().get_or_insert(reply);
        self.dismissed.notify_one();
    }

    /// Comes back when a fault ends the connection with an answer that nobody asked for. One
    /// engine waits for it.
    pub(crate) async fn dismissed(&self) -> Reply {
        loop {
            if let Some(reply) = self.dismissal.lock().take() {
                return reply;
            }
            self.dismissed.notified().await;
        }
    }

    /// Notes the code of the error that ended the connection: the answer to whatever was due.
    pub(super) fn said(&self, code: &str) {
        *self.last_code.lock() = Some(code.into());
    }

    /// See [`Life::said`].
    pub(super) fn last_code(&self) -> Option<Arc<str>> {
        self.last_code.lock().clone()
    }

    /// Whether what an engine writes goes straight to the client.
    pub(crate) fn is_clear(&self) -> bool {
        self.wire.is_clear()
    }

    /// Comes back when all that the engine has written until now, and flushed under TLS, has left
    /// for the client; faults on the wire may hold it back.
    pub(crate) async fn sent(&self) {
        self.wire.sent().await;
    }

    /// From now on [`Life::marked`] tells when the next byte written has left for the client. On
    /// a clear wire, where that is at once, nothing is marked.
    pub(crate) fn mark(&self) {
        self.wire.mark();
    }

    /// Whether the client, who closed its direction and was then sent something, is gone.
    pub(crate) async fn is_client_reset(&self) -> bool {
        self.wire.is_client_reset().await
    }

    /// Comes back when the client closes its direction, or with true when it resets.
    pub(crate) async fn client_left(&self) -> bool {
        self.wire.client_left().await
    }

    /// When the byte after the mark left.
    pub(crate) fn marked(&self) -> Option<Instant> {
        self.wire.marked()
    }

    /// Which faults acted on the connection's bytes since this was last asked.
    pub(crate) fn acted_on_bytes(&self) -> Vec<FaultId> {
        let acted = self.wire.take_acted();
        self.acted(acted.iter().copied());
        acted
    }

    /// Says how the connection ended; the first to say so is believed.
    pub(crate) fn ended(&self, how: impl Into<String>) {
        self.how.lock().get_or_insert_with(|| how.into());
    }

    /// Notes that faults acted on the connection as a whole.
    pub(crate) fn acted(&self, faults: impl IntoIterator<Item = FaultId>) {
        self.faults.lock().extend(faults);
    }

    /// Which faults acted so far on the connection as a whole or on its bytes.
    pub(crate) fn faults(&self) -> Vec<FaultId> {
        self.acted(self.wire.take_acted());
        self.faults.lock().iter().copied().collect()
    }

    /// Closes the connection as a fault wants it, in order behind what was written (and flushed,
    /// under TLS). The engine's future is then dropped, except for [`Closing::HalfClose`], after
    /// which what it writes is thrown away and the client may go on sending.
    pub(crate) fn close(&self, closing: Closing) {
        self.wire.close(closing);
    }
}

/// The client's side of a connection.
#[derive(Debug)]
pub(crate) enum ClientStream {
    /// Plain.
    Plain(WireStream),
    /// Plain, after its first byte has been looked at.
    Told(Replayed<WireStream>),
    /// Behind a TLS front.
    Tls(Box<TlsStream<Replayed<WireStream>>>),
}

impl ClientStream {
    /// Another handle to a plain stream.
    pub(super) fn another(&self) -> Option<WireStream> {
        match self {
            Self::Plain(stream) => Some(stream.again()),
            Self::Told(_) | Self::Tls(_) => None,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Told(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Told(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Told(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Told(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Told(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// An accepted connection counts as open from its acceptance until this is dropped.
struct Open {
    connection: u64,
    shared: Arc<Shared>,
}

impl Open {
    fn new(connection: u64, life: &Arc<Life>, shared: Arc<Shared>) -> Self {
        let counters = &shared.counters;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        let mut flow = counters.flow.lock();
        flow.open.insert(connection, Arc::clone(life));
        drop(flow);
        Self { connection, shared }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.counters.closed(self.connection);
    }
}

/// A connection's whole life.
pub(super) async fn live(
    tcp: TcpStream,
    connection: u64,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    let opened = shared.now();
    let limits = &shared.config.limits;
    let wire = Arc::new(Wire::new(Socket::Tcp(tcp), limits.held_bytes));
    let life = Arc::new(Life::new(Arc::clone(&wire), &shared));
    let open = Open::new(connection, &life, Arc::clone(&shared));
    let farewell = tokio::select! {
        biased;
        () = stopping.cancelled() => Farewell::Drop,
        farewell = serve(&wire, connection, &life, &shared) => farewell,
    };
    life.ended(farewell.how());
    let set = shared.switch.current();
    if set.counts() {
        set.closed(connection);
    }
    record(connection, opened, &life, &shared);
    drop(open);
    match farewell {
        Farewell::Reset => wire.arm_reset(),
        Farewell::Fin | Farewell::Done => tokio::select! {
            () = stopping.cancelled() => {}
            () = wire.finish(limits.linger) => {}
        },
        Farewell::ClientGone | Farewell::Drop => {}
    }
}

/// Runs the engine and carries out on its connection what the faults decide, until the connection
/// is to be closed.
async fn serve(
    wire: &Arc<Wire>,
    connection: u64,
    life: &Arc<Life>,
    shared: &Arc<Shared>,
) -> Farewell {
    let conductor = Conductor::new(wire, connection, life, shared);
    let mut conducting = std::pin::pin!(conductor.conduct());
    let engine = async {
        conductor.started().await;
        Box::pin(engine(wire, connection, life, shared)).await;
    };
    match take_turns(wire, conducting.as_mut(), engine).await {
        Some(farewell) => farewell,
        None => {
            wire.engine_is_gone();
            conducting.await
        }
    }
}

/// Polls the two who hold a wire in turns, until one is done: `None` if that is the engine. What
/// they ask of each other is so done at once, where waking their task would run it once more, and
/// rouse another thread for it.
async fn take_turns(
    wire: &Wire,
    mut conducting: Pin<&mut impl Future<Output = Farewell>>,
    engine: impl Future<Output = ()>,
) -> Option<Farewell> {
    let mut engine = std::pin::pin!(engine);
    wire.take_turns();
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(farewell) = conducting.as_mut().poll(cx) {
                return Poll::Ready(Some(farewell));
            }
            if engine.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if !wire.is_drivers_turn() {
                return Poll::Pending;
            }
        }
    })
    .await
}

async fn engine(wire: &Arc<Wire>, connection: u64, life: &Arc<Life>, shared: &Arc<Shared>) {
    let spoken = match shared.config.protocol {
        // TLS begins within the protocol.
        Protocol::Mysql | Protocol::Postgres => {
            Ok((ClientStream::Plain(WireStream::new(wire)), None, None))
        }
        _ => handshake(wire, shared).await,
    };
    let (stream, alpn, server_name) = match spoken {
        Ok(parts) => parts,
        Err(error) => return life.ended(format!("TLS handshake failed: {error}")),
    };
    let accepted = Accepted {
        stream,
        connection,
        alpn,
        server_name,
        life: Arc::clone(life),
        shared: Arc::clone(shared),
    };
    match shared.config.protocol {
        Protocol::Tcp => relay::serve(accepted).await,
        Protocol::Http | Protocol::S3 | Protocol::Pusher => http::serve(accepted).await,
        Protocol::Redis => redis::serve(accepted).await,
        Protocol::Mysql => mysql::serve(accepted).await,
        Protocol::Postgres => postgres::serve(accepted).await,
    }
}

/// How a TLS client begins.
const TLS_HANDSHAKE: u8 = 0x16;

/// The first byte of a connection; none if it ends before.
async fn first_byte(stream: &mut WireStream) -> io::Result<Vec<u8>> {
    let mut first = [0];
    let read = stream.read(&mut first).await?;
    Ok(first[..read].to_vec())
}

pub(super) type Spoken = (ClientStream, Option<Vec<u8>>, Option<String>);

async fn handshake(wire: &Arc<Wire>, shared: &Shared) -> io::Result<Spoken> {
    let stream = WireStream::new(wire);
    match &shared.config.tls {
        None => Ok((ClientStream::Plain(stream), None, None)),
        Some(front) => shake(stream, front, || wire.is_clear(), shared).await,
    }
}

/// Speaks TLS with a client. The time of the client does not run while the wire is not clear.
pub(super) async fn shake(
    stream: WireStream,
    front: &Front,
    is_clear: impl Fn() -> bool,
    shared: &Shared,
) -> io::Result<Spoken> {
    let shaking = async {
        let mut stream = stream;
        let first = match front.plain() {
            Plain::Refused => Vec::new(),
            Plain::Accepted | Plain::Preferred => first_byte(&mut stream).await?,
        };
        let speaks_plain = first.first().is_some_and(|byte| *byte != TLS_HANDSHAKE);
        let stream = Replayed::new(first, stream);
        if speaks_plain {
            return Ok((ClientStream::Told(stream), None, None));
        }
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().map(str::to_owned);
        let config = front.config(name.as_deref(), shared.front_alpn())?;
        let stream = start.into_stream(config).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok((ClientStream::Tls(Box::new(stream)), alpn, name))
    };
    let mut shaking = std::pin::pin!(shaking);
    loop {
        match tokio::time::timeout(shared.config.limits.handshake, &mut shaking).await {
            Ok(result) => return result,
            Err(_) if is_clear() => return Err(io::ErrorKind::TimedOut.into()),
            // A fault holds it up: that is not the client's time.
            Err(_) => {}
        }
    }
}

fn record(connection: u64, opened: Micros, life: &Life, shared: &Shared) {
    let (bytes_up, bytes_down) = life.wire.bytes();
    shared
        .recorder
        .record(Observation::Connection(history::Connection {
            dependency: Arc::clone(&shared.config.dependency),
            connection,
            opened,
            closed: shared.now(),
            how: life.how.lock().take().unwrap_or_default(),
            faults: life.faults(),
            bytes_up,
            bytes_down,
        }));
}
