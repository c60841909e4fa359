//! One accepted connection, from its acceptance to its observation.

use super::{
    Config, Counts, UnderWay,
    conduct::{Conductor, Farewell},
    door::Turned,
    http, mysql, postgres, redis, relay,
    replayed::Replayed,
    sockets::Sockets,
    station::Station,
    tls::{Front, FrontAlpn, Plain},
    upstream::{Connector, UpstreamStream},
    wire::{Place, Socket, Wire, WireStream},
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
    ops::Range,
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
            counts.under_way += life.under_way.lock().count;
        }
        counts
    }

    /// The requests under way, the oldest first, at most so many.
    pub(super) fn under_way(&self, most: usize) -> Vec<UnderWay> {
        let flow = self.flow.lock();
        let mut all: Vec<UnderWay> = Vec::new();
        let oldest = |all: &mut Vec<UnderWay>| {
            all.sort_by_key(|one| (one.began, one.connection, one.number));
            all.truncate(most);
        };
        for (connection, life) in &flow.open {
            all.extend(life.under_way.lock().listed(*connection));
            if all.len() > 2 * most + UNDER_WAY_LISTED {
                oldest(&mut all);
            }
        }
        oldest(&mut all);
        all
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
    /// Which faults acted on it as a whole, and which on its bytes.
    whole: Mutex<BTreeSet<FaultId>>,
    on_bytes: Mutex<BTreeSet<FaultId>>,
    blamed: Mutex<Blamed>,
    farewell: Mutex<Option<Farewell>>,
    held_by: watch::Sender<Vec<FaultId>>,
    refusal: Mutex<Option<Refusal>>,
    dismissal: Mutex<Option<Reply>>,
    last_code: Mutex<Option<Arc<str>>>,
    dismissed: Notify,
    under_way: Mutex<Requests>,
    /// Whether the client was found to be gone after so many bytes to it.
    reset_after: Mutex<Option<(u64, bool)>>,
}

/// Who is to blame for what becomes of a connection as a whole.
#[derive(Debug, Default)]
struct Blamed {
    /// Those of the set in force that decided about it.
    in_force: Vec<FaultId>,
    /// Those that ended it, or its answers, whatever came into force since.
    for_good: Vec<FaultId>,
}

/// The most requests under way that are listed of a connection; those beyond are counted alone.
const UNDER_WAY_LISTED: usize = 64;

/// The requests of a connection that have no answer yet.
#[derive(Debug, Default)]
struct Requests {
    /// How many there are.
    count: u64,
    /// How many have begun so far.
    begun: u64,
    /// At most [`UNDER_WAY_LISTED`] of them, in the order in which they began.
    listed: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    number: u64,
    began: Micros,
    operation: Arc<str>,
    key: Arc<str>,
}

impl Requests {
    fn began(&mut self, at: Micros, operation: &Arc<str>, key: &Arc<str>) -> u64 {
        self.count += 1;
        self.begun += 1;
        if self.listed.len() < UNDER_WAY_LISTED {
            self.listed.push(Request {
                number: self.begun,
                began: at,
                operation: Arc::clone(operation),
                key: Arc::clone(key),
            });
        }
        self.begun
    }

    fn over(&mut self, number: u64) {
        self.count = self.count.saturating_sub(1);
        if let Some(place) = self.listed.iter().position(|one| one.number == number) {
            self.listed.remove(place);
        }
    }

    fn listed(&self, connection: u64) -> impl Iterator<Item = UnderWay> {
        self.listed.iter().map(move |one| UnderWay {
            connection,
            number: one.number,
            began: one.began,
            operation: Arc::clone(&one.operation),
            key: Arc::clone(&one.key),
        })
    }
}

/// A connection for which the dependency has no room: every request on it is answered so.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The answer.
    pub(crate) reply: Reply,
    /// Who refuses.
    pub(crate) faults: Vec<FaultId>,
}

/// When something of the client's came, and where among the bytes of its connection it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When its first byte reached us: faults on bytes may have held it back since.
    pub(crate) at: Micros,
    /// When it was read from the connection: delays of requests count from here.
    pub(crate) read: Micros,
    /// `None` where no bytes of the client's began it.
    place: Option<Place>,
}

impl Arrival {
    /// The same bytes with more behind them, which all count as come when the last did.
    pub(crate) fn with_later(self, later: Self) -> Self {
        Self {
            place: self.place,
            ..later
        }
    }
}

impl From<Micros> for Arrival {
    fn from(at: Micros) -> Self {
        Self {
            at,
            read: at,
            place: None,
        }
    }
}

/// The bytes of a request and of its answer, as far as faults may act on them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch {
    /// Those from the client.
    up: Option<Range<u64>>,
    /// Those to the client.
    down: Option<Range<u64>>,
}

impl From<Arrival> for Stretch {
    fn from(arrival: Arrival) -> Self {
        Self {
            up: arrival.place.map(|place| place.up..u64::MAX),
            down: None,
        }
    }
}

impl Stretch {
    /// The answer has what was written since the request came.
    pub(crate) fn answered_since(&mut self, arrival: Arrival) {
        self.down = arrival.place.map(|place| place.down..u64::MAX);
    }

    /// The request has no more bytes than were read by now.
    pub(crate) fn has_all_up(&mut self, life: &Life) {
        if let Some(up) = &mut self.up {
            up.end = life.wire.carried().0;
        }
    }

    /// The answer begins here, unless it has begun.
    pub(crate) fn begins_down(&mut self, life: &Life) {
        if self.down.is_none() {
            self.down = Some(life.wire.carried().1..u64::MAX);
        }
    }

    /// The answer has no more bytes than were written by now.
    pub(crate) fn has_all_down(&mut self, life: &Life) {
        if let Some(down) = self.down.as_mut().filter(|down| down.end == u64::MAX) {
            down.end = life.wire.carried().1;
        }
    }

    /// Whether anything of the answer has left for the client.
    pub(crate) fn has_begun_to_leave(&self, life: &Life) -> bool {
        let down = self.down.as_ref();
        down.is_none_or(|down| life.wire.is_out(down.start + 1))
    }

    /// Comes back when something of the answer has left for the client, or never will.
    pub(crate) async fn begins_to_leave(&self, life: &Life) {
        if let Some(down) = &self.down {
            life.wire.out(down.start + 1).await;
        }
    }
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
            whole: Mutex::default(),
            on_bytes: Mutex::default(),
            blamed: Mutex::default(),
            farewell: Mutex::default(),
            held_by: watch::Sender::default(),
            refusal: Mutex::default(),
            dismissal: Mutex::default(),
            last_code: Mutex::default(),
            dismissed: Notify::new(),
            under_way: Mutex::default(),
            reset_after: Mutex::default(),
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

    /// A request has begun; gives its number on the connection. Each is over once: see
    /// [`Life::request_over`].
    pub(crate) fn request_began(&self, at: Micros, operation: &Arc<str>, key: &Arc<str>) -> u64 {
        self.under_way.lock().began(at, operation, key)
    }

    /// The request of this number has its answer, or will have none.
    pub(crate) fn request_over(&self, number: u64) {
        self.under_way.lock().over(number);
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

    /// These faults end the connection with this, which the engine must say: see
    /// [`Life::dismissed`].
    pub(super) fn dismiss(&self, reply: Reply, faults: &[FaultId]) {
        self.ended_by(faults);
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

    /// When that came which was read last, and where it begins.
    pub(crate) fn arrival(&self) -> Arrival {
        let place = self.wire.place();
        let read = place.read.map(|at| self.moment(at));
        let read = read.unwrap_or_else(|| self.shared.now());
        Arrival {
            at: place.arrived.map_or(read, |at| self.moment(at)),
            read,
            place: Some(place),
        }
    }

    /// A moment on the run's clock.
    fn moment(&self, at: Instant) -> Micros {
        let began = self.shared.recorder.instant(Micros(0));
        at.saturating_duration_since(began).into()
    }

    /// Which faults acted on any of these bytes.
    pub(crate) fn acted_on(&self, stretch: &Stretch) -> Vec<FaultId> {
        let range = |range: &Option<Range<u64>>| range.clone().unwrap_or(0..0);
        self.wire.acted_on(range(&stretch.up), range(&stretch.down))
    }

    /// When the client was seen to close its direction, or to be gone: now, unless faults on bytes
    /// held that back.
    pub(crate) fn left_at(&self) -> Micros {
        self.seen_leaving().unwrap_or_else(|| self.shared.now())
    }

    /// The same, where faults on bytes held it back.
    pub(crate) fn seen_leaving(&self) -> Option<Micros> {
        self.wire.left_at().map(|at| self.moment(at))
    }

    /// When the client left, if that was before all had left for it that was written, and it is
    /// gone.
    pub(crate) async fn gone_early(&self) -> Option<Micros> {
        let at = self.wire.left_early()?;
        // Of many answers that left together it is found out once.
        let sent = self.wire.bytes().1;
        let known = self.reset_after.lock().filter(|(after, _)| *after == sent);
        let is_reset = match known {
            Some((_, is_reset)) => is_reset,
            None => self.is_client_reset().await,
        };
        *self.reset_after.lock() = Some((sent, is_reset));
        is_reset.then(|| self.moment(at))
    }

    /// When a fault cut the connection behind bytes of the client's, or told the client the end of
    /// its answers, if it did, and was not too late to matter to a client that had `left`.
    pub(crate) fn cut_at(&self, left: Option<Micros>) -> Option<Micros> {
        let cuts = [self.wire.cut_at(), self.wire.deaf_since()];
        let at = self.moment(cuts.into_iter().flatten().min()?);
        left.is_none_or(|left| left >= at).then_some(at)
    }

    /// Whether a fault cut the connection behind bytes of the client's.
    pub(crate) fn is_cut(&self) -> bool {
        self.wire.cut_at().is_some()
    }

    /// When the client was told the end of its answers, if part of the answer with these bytes was
    /// thrown away for it.
    pub(crate) fn swallowed(&self, stretch: &Stretch) -> Option<Micros> {
        let at = self.wire.swallowed(stretch.down.as_ref()?)?;
        Some(self.moment(at))
    }

    fn blamed(&self) -> Vec<FaultId> {
        let blamed = self.blamed.lock();
        let all = blamed.for_good.iter().chain(&blamed.in_force);
        all.copied().collect()
    }

    /// Who cut the connection, or acts on it as a whole.
    pub(crate) fn cut_by(&self) -> Vec<FaultId> {
        let mut cut_by = self.blamed();
        cut_by.extend(self.wire.cut_by());
        cut_by
    }

    /// Who keeps the client waiting, or acts on the connection as a whole.
    pub(crate) fn stalled_by(&self) -> Vec<FaultId> {
        let mut stalled_by = self.blamed();
        stalled_by.extend(self.wire.stalled_by());
        stalled_by
    }

    /// When the byte after the mark left.
    pub(crate) fn marked(&self) -> Option<Instant> {
        self.wire.marked()
    }

    /// Says how the connection ended; the first to say so is believed.
    pub(crate) fn ended(&self, how: impl Into<String>) {
        self.how.lock().get_or_insert_with(|| how.into());
    }

    /// Notes which faults of the set that is in force from now on act on the connection as a whole.
    pub(super) fn acted(&self, faults: &[FaultId]) {
        self.whole.lock().extend(faults);
        self.blamed.lock().in_force = faults.to_vec();
    }

    /// Notes that faults have ended the connection, or its answers, for good.
    pub(crate) fn ended_by(&self, faults: &[FaultId]) {
        self.whole.lock().extend(faults);
        self.blamed.lock().for_good.extend(faults);
    }

    /// Which faults acted so far on the connection as a whole or on its bytes.
    pub(crate) fn faults(&self) -> Vec<FaultId> {
        let mut on_bytes = self.on_bytes.lock();
        on_bytes.extend(self.wire.take_acted());
        on_bytes.union(&self.whole.lock()).copied().collect()
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
        engine(wire, connection, life, shared).await;
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
    let stream = WireStream::new(wire);
    let spoken = match (shared.config.protocol, &shared.config.tls) {
        // TLS begins within the protocol.
        (Protocol::Mysql | Protocol::Postgres, _) | (_, None) => {
            Ok((ClientStream::Plain(stream), None, None))
        }
        (_, Some(front)) => Box::pin(shake(stream, front, || wire.is_clear(), shared)).await,
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
    // Each of its own size, so that a connection takes no more memory than its protocol needs.
    match shared.config.protocol {
        Protocol::Tcp => Box::pin(relay::serve(accepted)).await,
        Protocol::Http | Protocol::S3 | Protocol::Pusher => Box::pin(http::serve(accepted)).await,
        Protocol::Redis => Box::pin(redis::serve(accepted)).await,
        Protocol::Mysql => Box::pin(mysql::serve(accepted)).await,
        Protocol::Postgres => Box::pin(postgres::serve(accepted)).await,
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
            dependency: Arc::clone(life.dependency()),
            connection,
            opened,
            closed: shared.now(),
            how: life.how.lock().take().unwrap_or_default(),
            faults: life.faults(),
            bytes_up,
            bytes_down,
        }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_are_counted_and_some_of_them_listed() {
        let mut requests = Requests::default();
        let (get, key): (Arc<str>, Arc<str>) = ("GET".into(), "/a".into());
        let most = UNDER_WAY_LISTED as u64;
        for nth in 1..=most + 10 {
            assert_eq!(requests.began(Micros(nth), &get, &key), nth);
        }
        let numbers = |requests: &Requests| -> Vec<u64> {
            requests.listed(3).map(|one| one.number).collect()
        };
        assert_eq!(
            (requests.count, numbers(&requests)),
            (most + 10, (1..=most).collect())
        );
        // One that is listed makes room for the next that begins; one that is not is counted alone.
        requests.over(2);
        requests.over(most + 1);
        let next = requests.began(Micros(7), &get, &key);
        assert_eq!(requests.count, most + 9);
        let first = requests.listed(3).next().expect("it is listed");
        assert_eq!(
            (first.connection, first.number, first.began),
            (3, 1, Micros(1))
        );
        assert_eq!(numbers(&requests).last(), Some(&next));
        for number in 1..=next {
            requests.over(number);
        }
        assert!(requests.listed.is_empty());
    }
}
