//! One connection of HTTP/2: every stream is an exchange, and all run side by side.
//!
//! Frames are not passed as they came: heads, data and trailers are, in the order in which they
//! came, and nothing is added to them or taken away. To a client's connection belongs one to the
//! dependency, made for the first request and again when it is gone. HTTP/2 is never translated:
//! where the dependency speaks HTTP/1.1 only, each stream is reset with `HTTP_1_1_REQUIRED`, which
//! tells the client so in the protocol's own words.
//!
//! What faults do to a connection of HTTP/1.1 is done to a stream here: a reset, a truncation and
//! bytes that are no answer are a RST_STREAM. A close, whose like a stream has not, ends the
//! connection with a GOAWAY and FIN, and with it every other stream.
//!
//! Resets pass both ways with their reasons, and so does the reason of a GOAWAY that ends the
//! dependency's connection. The windows are so wide that no stream waits for another whose owner
//! does not read: as without us, that is for the two ends to arrange. Beyond some dozens of connections
//! they become narrower, so that all of them together are bounded; then streams that nobody reads may
//! hold up others of their connection.
//!
//! Bounded: streams at a time, heads, and the data in flight by both sides' windows; data is
//! taken from one side only as far as the other side has room for it.

use super::{
    desk::Desk,
    exchange::{Exchange, memory_key},
    forward::{COPY_BYTES_MAX, COPY_TIME_MAX, repeats},
    head::HEAD_BYTES_MAX,
    http1::{Dial, Over},
    memory::{ANSWER_BYTES_MAX, Remembered},
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::http::Made,
    proxy::{
        decide::{Asked, Client, Held, Verdict, decide, hold},
        reserve::Window,
        upstream::Alpn,
    },
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response, StatusCode, Version, request};
use parking_lot::Mutex as Lock;
use std::{
    future::poll_fn,
    io,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The most streams of a connection at a time; the client is told and waits.
const STREAMS_MAX: u32 = 256;

/// The window of a stream, in bytes: what the protocol begins with.
const STREAM_WINDOW: u32 = 65_535;

/// The window of a whole connection, in bytes: as much as all its streams together, so that those
/// whose data nobody takes hold up none of the others. All connections share what that is beyond the
/// window of a stream, and when little is left further ones have less.
const CONNECTION_WINDOW: u32 = STREAMS_MAX * STREAM_WINDOW;

/// The time that a connection's last frames have.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);

/// What a stream wants of its connection.
enum Order {
    /// No further streams: a fault's answer closes the connection in its protocol's way.
    GoAway,
    /// Ends it now, with this reason where it says goodbye at all.
    End(&'static str, Closing, Reason),
}

/// How a connection ended, for the streams that were open then.
#[derive(Debug, Clone)]
enum Fate {
    ClientGone,
    Cut(Vec<FaultId>),
    UpstreamFailed,
}

/// What the streams of one connection share.
struct Connection<D> {
    desk: Arc<Desk>,
    dial: D,
    /// Held while it is dialled: whoever comes meanwhile waits for the same connection.
    upstream: Mutex<Option<Arc<Upstream>>>,
    orders: mpsc::UnboundedSender<Order>,
    over: CancellationToken,
    fate: OnceLock<Fate>,
}

/// A connection to the dependency. It lasts as long as one of its streams does, also when the
/// dependency takes no further ones and another has taken its place.
struct Upstream {
    requests: client::SendRequest<Bytes>,
    farewell: watch::Receiver<Farewell>,
    _running: AbortOnDropHandle<()>,
}

/// How the dependency's connection is.
#[derive(Debug, Clone, Copy)]
enum Farewell {
    /// It goes on.
    None,
    /// It has ended; with this reason, where the dependency said one.
    Said(Option<Reason>),
}

impl Upstream {
    /// The reason that the dependency said before its connection ended. Streams learn only that it
    /// did, and that a moment earlier.
    async fn reason(&self) -> Option<Reason> {
        let mut farewell = self.farewell.clone();
        let ended = farewell.wait_for(|farewell| matches!(farewell, Farewell::Said(_)));
        match *timeout(GOODBYE_TIME_MAX, ended).await.ok()?.ok()? {
            Farewell::Said(reason) => reason,
            Farewell::None => None,
        }
    }
}

/// A request that is kept to be sent again, unless it is too long.
struct KeptStream(Lock<Kept>);

struct Kept {
    head: request::Parts,
    is_bodiless: bool,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    is_too_long: bool,
}

/// A request that is sent again.
struct Again {
    head: request::Parts,
    is_bodiless: bool,
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl KeptStream {
    fn new(head: &request::Parts, is_bodiless: bool) -> Self {
        Self(Lock::new(Kept {
            head: head.clone(),
            is_bodiless,
            data: Vec::new(),
            trailers: None,
            is_too_long: false,
        }))
    }

    fn add(&self, piece: &[u8]) {
        let mut kept = self.0.lock();
        kept.is_too_long |= kept.data.len() + piece.len() > COPY_BYTES_MAX;
        if kept.is_too_long {
            kept.data = Vec::new();
        } else {
            kept.data.extend_from_slice(piece);
        }
    }

    fn whole(&self) -> Option<Again> {
        let kept = self.0.lock();
        (!kept.is_too_long).then(|| Again {
            head: kept.head.clone(),
            is_bodiless: kept.is_bodiless,
            data: Bytes::copy_from_slice(&kept.data),
            trailers: kept.trailers.clone(),
        })
    }
}

/// Why a stream did not end with an answer.
enum Broken {
    /// The client reset it, for this reason.
    ClientGone(Reason),
    /// The dependency did, or what it sent on it was none of the protocol's.
    Upstream(Reason),
    /// The dependency ended its connection for this reason.
    UpstreamAway(Reason),
    /// The dependency's connection is gone or never came.
    UpstreamLost(io::ErrorKind),
    /// A fault did.
    Cut(Closing),
    /// The fault that kept the answer was lifted.
    Lost,
}

/// Serves a client's connection until it is over.
pub(super) async fn serve<C, D>(client: C, dial: D, desk: Arc<Desk>) -> Over
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dial<Stream: 'static>,
{
    let window = Window::new(CONNECTION_WINDOW, STREAM_WINDOW);
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window.bytes())
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let mut client = match builder.handshake::<_, Bytes>(client).await {
        Ok(client) => client,
        Err(error) => return Over::left(&format!("HTTP/2 handshake failed: {error}")),
    };
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let connection = Connection {
        desk,
        dial,
        upstream: Mutex::new(None),
        orders,
        over: CancellationToken::new(),
        fate: OnceLock::new(),
    };
    let mut streams = FuturesUnordered::new();
    let mut farewell = Reason::NO_ERROR;
    let over = loop {
        tokio::select! {
            biased;
            Some(order) = ordered.recv() => match order {
                Order::GoAway => client.graceful_shutdown(),
                Order::End(how, closing, reason) => {
                    farewell = reason;
                    break Over::cut(how, closing);
                }
            },
            Some(()) = streams.next(), if !streams.is_empty() => {}
            accepted = client.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    streams.push(connection.exchange(request, respond));
                }
                Some(Err(error)) => break Over::left(&format!("client broke off: {error}")),
                None => break Over::left("client closed"),
            },
        }
    };
    connection.end(Fate::ClientGone);
    while streams.next().await.is_some() {}
    if over
        .closing
        .is_some_and(|closing| closing != Closing::Reset)
    {
        client.abrupt_shutdown(farewell);
        // A client that takes no more is cut off.
        let _ = timeout(GOODBYE_TIME_MAX, poll_fn(|cx| client.poll_closed(cx))).await;
    }
    over
}

impl<D: Dial<Stream: 'static>> Connection<D> {
    /// Ends the streams that are open; the first reason counts.
    fn end(&self, fate: Fate) {
        let _ = self.fate.set(fate);
        self.over.cancel();
    }

    fn order(&self, order: Order) {
        // Nobody takes orders once the connection is over.
        let _ = self.orders.send(order);
    }

    async fn exchange(
        &self,
        request: Request<RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) {
        let began = self.desk.arrival();
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let authority = authority.map(|text| (":authority", text.as_bytes()));
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let target = request.uri().path_and_query();
        let mut exchange = self.desk.begin(
            request.method().as_str(),
            target.map_or("*", |target| target.as_str()),
            authority.into_iter().chain(headers),
            began,
        );
        tokio::select! {
            biased;
            () = self.stream(request, &mut respond, &mut exchange) => {}
            () = self.over.cancelled() => match self.fate.get() {
                Some(Fate::Cut(faults)) => {
                    exchange.acted(faults);
                    exchange.finish(AttemptEnd::Cut);
                }
                Some(Fate::UpstreamFailed) => exchange.finish(AttemptEnd::UpstreamFailed),
                // Also where a fault cut the wire below: then the exchange knows it.
                Some(Fate::ClientGone) | None => exchange.finish(AttemptEnd::GaveUp),
            },
        }
    }

    async fn stream(
        &self,
        request: Request<RecvStream>,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &mut Exchange,
    ) {
        self.desk.room().await;
        let mut faults = self.desk.faults();
        let verdict = decide(exchange, &mut faults, &mut Waiting(respond)).await;
        let done = match verdict {
            Verdict::Forward(then) => {
                self.forward(request, respond, exchange, &mut faults, then)
                    .await
            }
            Verdict::Reply(reply) => self.reply(&reply, respond, exchange).await,
            Verdict::Close(closing) => Err(Broken::Cut(closing)),
            Verdict::GaveUp => Err(Broken::ClientGone(Reason::CANCEL)),
            Verdict::Spilled => Err(Broken::Lost),
        };
        if let Err(broken) = done {
            self.break_off(broken, respond, exchange, &mut faults).await;
        }
    }

    async fn break_off(
        &self,
        broken: Broken,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &mut Exchange,
        faults: &mut watch::Receiver<Arc<FaultSet>>,
    ) {
        // A reset throws away what was queued before it. The connection is driven by this same
        // task: once everybody had a turn, it has written what the socket takes.
        tokio::task::yield_now().await;
        match broken {
            Broken::ClientGone(_) => exchange.finish(AttemptEnd::GaveUp),
            Broken::Upstream(reason) => {
                exchange.finish(AttemptEnd::UpstreamFailed);
                respond.send_reset(reason);
            }
            Broken::UpstreamLost(io::ErrorKind::Unsupported) => {
                exchange.finish(AttemptEnd::UpstreamFailed);
                respond.send_reset(Reason::HTTP_1_1_REQUIRED);
            }
            Broken::UpstreamAway(reason) => {
                exchange.finish(AttemptEnd::UpstreamFailed);
                let _ = self.fate.set(Fate::UpstreamFailed);
                self.order(Order::End("upstream went away", Closing::Fin, reason));
            }
            Broken::UpstreamLost(_) => {
                exchange.finish(AttemptEnd::UpstreamFailed);
                self.end_connection("upstream broke off", Closing::Reset, Fate::UpstreamFailed);
            }
            Broken::Lost => {
                exchange.finish(AttemptEnd::Unfinished);
                respond.send_reset(Reason::INTERNAL_ERROR);
            }
            Broken::Cut(closing) => self.cut(closing, respond, exchange, faults).await,
        }
    }

    /// Cuts as a fault wants it, after its time where it has one.
    async fn cut(
        &self,
        closing: Closing,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &mut Exchange,
        faults: &mut watch::Receiver<Arc<FaultSet>>,
    ) {
        let (delay, is_reset) = match closing {
            Closing::Reset => (None, true),
            Closing::ResetAfter(delay) => (Some(delay), true),
            Closing::SlowClose(delay) => (Some(delay), false),
            Closing::Fin | Closing::HalfClose => (None, false),
        };
        if delay.is_some() && hold(faults, gone(respond), &[], delay).await == Held::ClientGone {
            return exchange.finish(AttemptEnd::GaveUp);
        }
        exchange.finish(AttemptEnd::Cut);
        if is_reset {
            respond.send_reset(Reason::INTERNAL_ERROR);
        } else {
            let fate = Fate::Cut(exchange.faults.clone());
            self.end_connection("closed by fault", Closing::Fin, fate);
        }
    }

    fn end_connection(&self, how: &'static str, closing: Closing, fate: Fate) {
        let _ = self.fate.set(fate);
        self.order(Order::End(how, closing, Reason::NO_ERROR));
    }

    /// Answers in the dependency's stead.
    async fn reply(
        &self,
        reply: &Reply,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &mut Exchange,
    ) -> Result<(), Broken> {
        let Some(call) = exchange.call() else {
            return Err(Broken::Cut(Closing::Reset));
        };
        let answer = match self.desk.make(reply, call) {
            Made::Answer(answer) => answer,
            Made::Garbage(_) | Made::Empty | Made::Socket(_) => {
                return Err(Broken::Cut(Closing::Reset));
            }
        };
        let headers = answer.headers.iter();
        exchange.tells(headers.map(|(name, value)| (&**name, &**value)));
        let body = answer.body_sent();
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.http2_headers() {
            response = response.header(name, value);
        }
        // A head that HTTP/2 cannot carry is none.
        let response = response.body(()).map_err(|_| Broken::Cut(Closing::Reset))?;
        let bytes_max = exchange.desk.sample_bytes(answer.status, false);
        exchange.sample.begin(bytes_max);
        exchange.is_sample_its_own = false;
        exchange.sample.add(&body);
        self.send_whole(response, body, respond, exchange).await?;
        settle(exchange).await;
        if answer.close {
            self.order(Order::GoAway);
        }
        exchange.finish(AttemptEnd::Answered);
        Ok(())
    }

    async fn send_whole(
        &self,
        response: Response<()>,
        body: Bytes,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &Exchange,
    ) -> Result<(), Broken> {
        let status = response.status().as_u16();
        let sent = respond.send_response(response, body.is_empty());
        let mut sender = sent.map_err(|error| client_left(&error))?;
        exchange.tally.answered(status, self.desk.now());
        let len = body.len() as u64;
        if len > 0 {
            if send_data(&mut sender, body, true).await.is_err() {
                return Err(receiver_left(&mut sender));
            }
            exchange.tally.add_down(len);
        }
        Ok(())
    }

    async fn forward(
        &self,
        request: Request<RecvStream>,
        respond: &mut server::SendResponse<Bytes>,
        exchange: &mut Exchange,
        faults: &mut watch::Receiver<Arc<FaultSet>>,
        then: Option<(Then, FaultId)>,
    ) -> Result<(), Broken> {
        let (mut parts, body) = request.into_parts();
        if parts.uri.authority().is_none() {
            // Its `Host` says whom it asks (RFC 9113, 8.3.1). The crate sends it on as it came only
            // where it takes it for one of HTTP/1.1.
            parts.version = Version::HTTP_11;
        }
        let is_bodiless = body.is_end_stream();
        let (mut requests, upstream) = tokio::select! {
            biased;
            requests = self.requests() => requests.map_err(|error| {
                exchange.tally.refused();
                Broken::UpstreamLost(error.kind())
            })?,
            reason = client_gone(respond) => return Err(Broken::ClientGone(reason)),
        };
        let (then, times) = repeats(then);
        let kept = (times > 0).then(|| KeptStream::new(&parts, is_bodiless));
        let sent = requests.send_request(Request::from_parts(parts, ()), is_bodiless);
        let (answer, mut sender) = sent.map_err(|error| broken_upstream(&error))?;
        let tally = Arc::clone(&exchange.tally);
        let answered = {
            let mut up = std::pin::pin!(async {
                if is_bodiless {
                    tally.sent_whole();
                    return;
                }
                let look = |data: &[u8]| {
                    tally.look_up(data);
                    if let Some(kept) = &kept {
                        kept.add(data);
                    }
                };
                let count = |len| tally.add_up(len);
                // Whoever broke off is found out where the answer is awaited.
                if let Ok(trailers) = pass_body(body, &mut sender, look, count).await {
                    if let Some(kept) = &kept {
                        kept.0.lock().trailers = trailers;
                    }
                    tally.sent_whole();
                }
            });
            let mut is_sent = false;
            let mut down = Down {
                connection: self,
                respond,
                exchange,
                faults,
            };
            let answered = {
                let kept = kept.as_ref().map(|kept| (kept, times));
                let mut answering = std::pin::pin!(down.run(answer, then, kept));
                loop {
                    tokio::select! {
                        biased;
                        answered = &mut answering => break answered,
                        () = &mut up, if !is_sent => is_sent = true,
                    }
                }
            };
            if answered.is_ok() {
                settle(exchange).await;
                exchange.finish(AttemptEnd::Answered);
                if !is_sent {
                    up.await;
                }
            }
            answered
        };
        match answered {
            Err(Broken::ClientGone(reason)) => sender.send_reset(reason),
            Err(Broken::UpstreamLost(_)) => {
                // Its connection may take a while to say why.
                exchange.finish(AttemptEnd::UpstreamFailed);
                if let Some(reason) = upstream.reason().await {
                    return Err(Broken::UpstreamAway(reason));
                }
            }
            _ => {}
        }
        answered
    }

    /// Sends a copy of a request, and says so when the last of it is on its way: the status of the
    /// final answer, if one comes.
    async fn once(&self, copy: &Again, sent: impl FnOnce()) -> Option<u16> {
        let (mut requests, _upstream) = self.requests().await.ok()?;
        let head = Request::from_parts(copy.head.clone(), ());
        let (answer, mut sender) = requests.send_request(head, copy.is_bodiless).ok()?;
        if !copy.is_bodiless {
            let data = Bytes::clone(&copy.data);
            send_data(&mut sender, data, false).await.ok()?;
            end_stream(&mut sender, copy.trailers.clone()).ok()?;
        }
        sent();
        Some(answer.await.ok()?.status().as_u16())
    }

    /// A handle to the dependency's connection that can take a request now, and what keeps that
    /// connection.
    async fn requests(&self) -> io::Result<(client::SendRequest<Bytes>, Arc<Upstream>)> {
        for _ in 0..2 {
            let (upstream, is_new) = self.connected().await?;
            match upstream.requests.clone().ready().await {
                Ok(requests) => return Ok((requests, upstream)),
                Err(error) if is_new => return Err(refusal(&error)),
                // It closed, or takes no more: nothing of the request was sent yet.
                Err(_) => self.replace(&upstream).await,
            }
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// The next request gets another connection than this one.
    async fn replace(&self, old: &Arc<Upstream>) {
        let mut upstream = self.upstream.lock().await;
        upstream.take_if(|known| Arc::ptr_eq(known, old));
    }

    async fn connected(&self) -> io::Result<(Arc<Upstream>, bool)> {
        let mut upstream = self.upstream.lock().await;
        if let Some(upstream) = &*upstream {
            return Ok((Arc::clone(upstream), false));
        }
        let stream = self.dial.dial(Alpn::Http2).await?;
        let window = Window::new(CONNECTION_WINDOW, STREAM_WINDOW);
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window.bytes())
            .max_header_list_size(HEAD_BYTES_MAX as u32);
        let shaken = builder.handshake::<_, Bytes>(stream).await;
        let (requests, running) = shaken.map_err(|error| refusal(&error))?;
        let (said, farewell) = watch::channel(Farewell::None);
        let running = tokio::spawn(async move {
            let reason = match running.await {
                Err(error) if error.is_go_away() && error.is_remote() => error.reason(),
                // Else its streams are told why it ended.
                _ => None,
            };
            let reason = reason.filter(|reason| *reason != Reason::NO_ERROR);
            drop(window);
            said.send_replace(Farewell::Said(reason));
        });
        let made = Arc::new(Upstream {
            requests,
            farewell,
            _running: AbortOnDropHandle::new(running),
        });
        *upstream = Some(Arc::clone(&made));
        Ok((made, true))
    }
}

/// The answer's direction of one stream.
struct Down<'a, D> {
    connection: &'a Connection<D>,
    respond: &'a mut server::SendResponse<Bytes>,
    exchange: &'a mut Exchange,
    faults: &'a mut watch::Receiver<Arc<FaultSet>>,
}

/// Whether an answer is a success without a body, and says so: one to HEAD may name the length of a
/// body that it has not.
fn is_empty(answer: &Response<RecvStream>) -> bool {
    let length = answer.headers().get(::http::header::CONTENT_LENGTH);
    answer.status() == StatusCode::OK
        && answer.body().is_end_stream()
        && length.is_none_or(|length| length.as_bytes() == b"0")
}

/// An answer on its way through.
struct Passing {
    sender: SendStream<Bytes>,
    body: RecvStream,
    /// Data that came and has not passed.
    rest: Bytes,
    /// Whether the head was all there is.
    is_bodiless: bool,
    /// What passes, while it may be remembered.
    copy: Option<(Box<::http::response::Parts>, Vec<u8>)>,
}

impl<D: Dial<Stream: 'static>> Down<'_, D> {
    /// Waits for the answer and passes it, or does to it what the fault says.
    async fn run(
        &mut self,
        answer: client::ResponseFuture,
        then: Option<(Then, FaultId)>,
        repeat: Option<(&KeptStream, u32)>,
    ) -> Result<(), Broken> {
        let answer = self.final_answer(answer).await?;
        self.exchange
            .tally
            .upstream_answered(answer.status().as_u16());
        let Some((then, fault)) = then else {
            return self.pass_all(answer).await;
        };
        if let Some((kept, times)) = repeat
            && !self.repeat(kept, times).await?
        {
            self.exchange.did_not_act(fault);
            return self.pass_all(answer).await;
        }
        match then {
            Then::Reply(reply) => {
                drop(answer);
                let (respond, exchange) = (&mut *self.respond, &mut *self.exchange);
                self.connection.reply(&reply, respond, exchange).await
            }
            Then::Lose => {
                self.pause(None, fault).await?;
                Err(Broken::Lost)
            }
            Then::Close(closing) => Err(Broken::Cut(closing)),
            Then::Late(delay) => {
                self.pause(Some(delay), fault).await?;
                self.pass_all(answer).await
            }
            Then::StallBody { after, pause } => self.stall(answer, after, pause, fault).await,
            Then::TruncateBody { after, closing } => {
                self.truncate(answer, after, closing, fault).await
            }
            Then::EmptyBody if is_empty(&answer) => {
                // It was so already.
                self.exchange.did_not_act(fault);
                self.pass_all(answer).await
            }
            Then::EmptyBody => self.empty_body(answer).await,
            Then::Stale => self.stale(answer, fault).await,
            Then::Repeat { .. } => {
                // Once is said by `repeat`; nobody repeats what is repeated.
                self.exchange.did_not_act(fault);
                self.pass_all(answer).await
            }
        }
    }

    /// Sends the request so many times more, each time on a stream of its own, and counts how often
    /// it was carried out. Whether it was sent at all: not if it was too long to be kept, or if the
    /// dependency answered before it had the whole of it.
    async fn repeat(&mut self, kept: &KeptStream, times: u32) -> Result<bool, Broken> {
        let tally = Arc::clone(&self.exchange.tally);
        let whole = kept.whole().filter(|_| tally.is_sent_whole());
        let Some(copy) = whole else {
            return Ok(false);
        };
        let connection = self.connection;
        let sending = async {
            let mut is_sent = false;
            for _ in 0..times {
                let once = connection.once(&copy, || {
                    is_sent = true;
                    tally.copy_sent();
                });
                if let Ok(Some(status)) = timeout(COPY_TIME_MAX, once).await {
                    tally.copy_answered(status);
                }
            }
            is_sent
        };
        tokio::select! {
            biased;
            is_sent = sending => Ok(is_sent),
            reason = client_gone(self.respond) => Err(Broken::ClientGone(reason)),
        }
    }

    /// The final answer; those before it have passed.
    async fn final_answer(
        &mut self,
        mut answer: client::ResponseFuture,
    ) -> Result<Response<RecvStream>, Broken> {
        let respond = &mut *self.respond;
        let answer = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
                if let Err(error) = respond.send_informational(interim) {
                    return Poll::Ready(Err(client_left(&error)));
                }
            }
            if let Poll::Ready(answer) = std::pin::Pin::new(&mut answer).poll(cx) {
                return Poll::Ready(answer.map_err(|error| broken_upstream(&error)));
            }
            respond.poll_reset(cx).map(|reset| Err(left_by(reset)))
        });
        let answer = answer.await?;
        for (name, value) in answer.headers() {
            if self.exchange.desk.wants(name.as_str()) {
                let kept = (name.as_str().into(), value.as_bytes().into());
                self.exchange.answer_headers.push(kept);
            }
        }
        Ok(answer)
    }

    async fn pass_all(&mut self, answer: Response<RecvStream>) -> Result<(), Broken> {
        let mut passing = self.begin(answer)?;
        self.pass(&mut passing, u64::MAX).await.map(|_| ())
    }

    fn begin(&mut self, answer: Response<RecvStream>) -> Result<Passing, Broken> {
        let (parts, body) = answer.into_parts();
        let status = parts.status.as_u16();
        let call = self.exchange.call();
        let is_get = call.is_some_and(|call| *call.method == *"GET");
        let desk = Arc::clone(&self.exchange.desk);
        self.exchange
            .sample
            .begin(desk.sample_bytes(status, is_get));
        self.exchange.is_sample_its_own = true;
        let may_remember = is_get && status == 200 && desk.memory().is_some();
        let copy = may_remember.then(|| (Box::new(parts.clone()), Vec::new()));
        let head = Response::from_parts(parts, ());
        let is_bodiless = body.is_end_stream();
        let sent = self.respond.send_response(head, is_bodiless);
        let sender = sent.map_err(|error| client_left(&error))?;
        self.exchange.tally.answered(status, desk.now());
        Ok(Passing {
            sender,
            body,
            rest: Bytes::new(),
            is_bodiless,
            copy,
        })
    }

    /// Passes the body up to its `data_max`th byte, and says whether that was the end.
    async fn pass(&mut self, passing: &mut Passing, data_max: u64) -> Result<bool, Broken> {
        if passing.is_bodiless {
            return Ok(true);
        }
        let mut room = data_max;
        loop {
            if passing.rest.is_empty() {
                if !passing.more().await? {
                    self.passed(passing).await?;
                    return Ok(true);
                }
                continue;
            }
            if room == 0 {
                return Ok(false);
            }
            let len = usize::try_from(room)
                .map_or(passing.rest.len(), |room| room.min(passing.rest.len()));
            let data = passing.rest.split_to(len);
            room -= len as u64;
            self.exchange.sample.add(&data);
            passing.copy(&data);
            if send_data(&mut passing.sender, data, false).await.is_err() {
                return Err(receiver_left(&mut passing.sender));
            }
            self.exchange.tally.add_down(len as u64);
            // Fails only on a stream that is gone, which the next read tells.
            let _ = passing.body.flow_control().release_capacity(len);
        }
    }

    /// The body has ended: trailers, and the memory.
    async fn passed(&mut self, passing: &mut Passing) -> Result<(), Broken> {
        let trailers = passing.body.trailers().await;
        let trailers = trailers.map_err(|error| broken_upstream(&error))?;
        let is_plain = trailers.is_none();
        if end_stream(&mut passing.sender, trailers).is_err() {
            return Err(receiver_left(&mut passing.sender));
        }
        if let Some((parts, data)) = passing.copy.take().filter(|_| is_plain)
            && let (Some(memory), Some(key)) = (self.exchange.desk.memory(), self.memory_key())
        {
            memory.remember(&key, Remembered::Http2(parts, data.into()));
        }
        Ok(())
    }

    fn memory_key(&self) -> Option<String> {
        let key = memory_key(self.exchange.call()?)?;
        Some(format!("HTTP/2 {key}"))
    }

    /// Waits for the time or until the fault is lifted, before the answer began.
    async fn pause(&mut self, pause: Option<Duration>, fault: FaultId) -> Result<(), Broken> {
        let gone = gone(self.respond);
        let held = hold(self.faults, gone, &[fault], pause).await;
        self.held(held)
    }

    fn held(&mut self, held: Held) -> Result<(), Broken> {
        match held {
            Held::ClientGone => return Err(Broken::ClientGone(Reason::CANCEL)),
            Held::Lifted => self.exchange.released(),
            Held::Elapsed => {}
        }
        Ok(())
    }

    async fn stall(
        &mut self,
        answer: Response<RecvStream>,
        after: u64,
        pause: Option<Duration>,
        fault: FaultId,
    ) -> Result<(), Broken> {
        let mut passing = self.begin(answer)?;
        if self.pass(&mut passing, after).await? {
            self.exchange.did_not_act(fault);
            return Ok(());
        }
        let gone = receiver_gone(&mut passing.sender);
        let held = hold(self.faults, gone, &[fault], pause).await;
        self.held(held)?;
        self.pass(&mut passing, u64::MAX).await.map(|_| ())
    }

    async fn truncate(
        &mut self,
        answer: Response<RecvStream>,
        after: u64,
        closing: Closing,
        fault: FaultId,
    ) -> Result<(), Broken> {
        let mut passing = self.begin(answer)?;
        if self.pass(&mut passing, after).await? {
            self.exchange.did_not_act(fault);
            return Ok(());
        }
        if let Closing::ResetAfter(delay) | Closing::SlowClose(delay) = closing {
            let gone = receiver_gone(&mut passing.sender);
            let held = hold(self.faults, gone, &[], Some(delay)).await;
            self.held(held)?;
        }
        Err(Broken::Cut(Closing::Reset))
    }

    async fn empty_body(&mut self, answer: Response<RecvStream>) -> Result<(), Broken> {
        let (mut parts, _) = answer.into_parts();
        parts.status = StatusCode::OK;
        parts
            .headers
            .insert(::http::header::CONTENT_LENGTH, 0.into());
        let head = Response::from_parts(parts, ());
        let (respond, exchange) = (&mut *self.respond, &*self.exchange);
        let sending = self
            .connection
            .send_whole(head, Bytes::new(), respond, exchange);
        sending.await
    }

    async fn stale(&mut self, answer: Response<RecvStream>, fault: FaultId) -> Result<(), Broken> {
        let memory = self.exchange.desk.memory();
        let known = memory
            .zip(self.memory_key())
            .and_then(|(memory, key)| memory.recall(&key));
        let Some(Remembered::Http2(parts, body)) = known else {
            self.exchange.did_not_act(fault);
            return self.pass_all(answer).await;
        };
        drop(answer);
        let head = Response::from_parts(*parts, ());
        let (respond, exchange) = (&mut *self.respond, &*self.exchange);
        let sending = self.connection.send_whole(head, body, respond, exchange);
        sending.await
    }
}

impl Passing {
    /// Waits for more of the body; false at its end.
    async fn more(&mut self) -> Result<bool, Broken> {
        let (body, sender) = (&mut self.body, &mut self.sender);
        let data = poll_fn(|cx| {
            if let Poll::Ready(data) = body.poll_data(cx) {
                let data = data.transpose();
                return Poll::Ready(data.map_err(|error| broken_upstream(&error)));
            }
            sender.poll_reset(cx).map(|reset| Err(left_by(reset)))
        });
        let Some(data) = data.await? else {
            return Ok(false);
        };
        self.rest = data;
        Ok(true)
    }

    fn copy(&mut self, data: &[u8]) {
        if let Some((_, copy)) = &mut self.copy {
            if copy.len() + data.len() > ANSWER_BYTES_MAX {
                self.copy = None;
            } else {
                copy.extend_from_slice(data);
            }
        }
    }
}

/// Waits until what was written before has left for the client. When the first byte of a stream
/// left is not known: its connection carries others between.
async fn settle(exchange: &mut Exchange) {
    // The connection, which this same task drives, first writes what is queued.
    tokio::task::yield_now().await;
    exchange.settle().await;
}

/// A client that waits for its answer to begin.
struct Waiting<'a>(&'a mut server::SendResponse<Bytes>);

impl Client for Waiting<'_> {
    async fn gone(&mut self) {
        gone(self.0).await;
    }

    async fn gone_spilling(&mut self) {
        gone(self.0).await;
    }

    fn has_spilled(&self) -> bool {
        // What is not taken is held back by the stream's window.
        false
    }
}

/// Waits until the client leaves a stream, and says why it did.
async fn client_gone(respond: &mut server::SendResponse<Bytes>) -> Reason {
    // A reset or the end of the connection: either way nobody waits any more.
    let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
    reset.unwrap_or(Reason::CANCEL)
}

async fn gone(respond: &mut server::SendResponse<Bytes>) {
    client_gone(respond).await;
}

/// How a client left that reset its stream, or whose connection ended.
fn left_by(reset: Result<Reason, h2::Error>) -> Broken {
    Broken::ClientGone(reset.unwrap_or(Reason::CANCEL))
}

/// How a client left that could not be sent anything any more.
fn client_left(error: &h2::Error) -> Broken {
    Broken::ClientGone(error.reason().unwrap_or(Reason::CANCEL))
}

/// As [`client_left`], of one that was receiving its answer.
fn receiver_left(sender: &mut SendStream<Bytes>) -> Broken {
    let reset = poll_fn(|cx| sender.poll_reset(cx)).now_or_never();
    reset.map_or(Broken::ClientGone(Reason::CANCEL), left_by)
}

/// As [`client_gone`], of one that is receiving its answer.
async fn receiver_gone(sender: &mut SendStream<Bytes>) {
    let _ = poll_fn(|cx| sender.poll_reset(cx)).await;
}

/// Passes a request's body with its trailers, which it gives back, as far as the dependency has room
/// for it. What comes is looked at, and counted once it has passed.
async fn pass_body(
    mut body: RecvStream,
    sender: &mut SendStream<Bytes>,
    look: impl Fn(&[u8]),
    count: impl Fn(u64),
) -> Result<Option<HeaderMap>, h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        let len = data.len();
        look(&data);
        send_data(sender, data, false).await?;
        count(len as u64);
        body.flow_control().release_capacity(len)?;
    }
    let trailers = body.trailers().await?;
    end_stream(sender, trailers.clone())?;
    Ok(trailers)
}

fn end_stream(
    sender: &mut SendStream<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<(), h2::Error> {
    match trailers {
        Some(trailers) => sender.send_trailers(trailers),
        None => sender.send_data(Bytes::new(), true),
    }
}

pub(super) async fn send_data(
    sender: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        sender.reserve_capacity(data.len());
        while sender.capacity() == 0 {
            match poll_fn(|cx| sender.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
        let part = data.split_to(sender.capacity().min(data.len()));
        sender.send_data(part, is_last && data.is_empty())?;
    }
    Ok(())
}

/// What a failure of the dependency's stream or connection is.
fn broken_upstream(error: &h2::Error) -> Broken {
    match error.reason() {
        // Also where we reset it, as a head was too large or the protocol broken on this stream
        // alone: the others go on.
        Some(reason) if error.is_reset() => Broken::Upstream(reason),
        // It takes no more streams and did nothing about this one (RFC 9113, 6.8), which may be
        // asked again elsewhere.
        Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
            Broken::Upstream(Reason::REFUSED_STREAM)
        }
        Some(reason) if error.is_go_away() && error.is_remote() => Broken::UpstreamAway(reason),
        _ => Broken::UpstreamLost(refusal(error).kind()),
    }
}

/// A dependency that answers HTTP/2 with something else does not speak it.
fn refusal(error: &h2::Error) -> io::Error {
    let is_other = [Reason::FRAME_SIZE_ERROR, Reason::PROTOCOL_ERROR]
        .iter()
        .any(|reason| error.reason() == Some(*reason));
    if is_other && !error.is_remote() {
        io::ErrorKind::Unsupported.into()
    } else {
        error
            .get_io()
            .map_or(io::ErrorKind::ConnectionReset, io::Error::kind)
            .into()
    }
}
