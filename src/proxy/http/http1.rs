//! One connection of HTTP/1.x: requests in order, each decided about and carried out.
//!
//! Nothing of a request or an answer is changed on the way, and no request is ever sent twice but
//! where a fault says so. To
//! each connection of the client belongs at most one to the dependency; one that the dependency
//! closed while it was idle is replaced before anything of the next request was sent.
//!
//! A client that closes its direction while it waits may have given up, or may still be reading.
//! Its FIN is passed on and the answer is awaited: one that is gone answers that with RST, and then
//! gave up when it closed. Where a fault holds the request or works on its answer, it is taken to
//! have given up at once; so it is at a front door, unless it had said that it would send nothing
//! more (`Connection: close`, HTTP/1.0).

use super::{
    body::Body,
    channels::{self, Parties},
    desk::{Desk, Subject},
    exchange::{Exchange, Tally},
    forward::{
        Answered, ClientEnd, Download, Failure, KeptRequest, Repeat, repeats, send, tunnel,
        write_reply,
    },
    head::{BadHead, RequestFacts, read_beginning, read_request},
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    proxy::{
        connection::Arrival,
        decide::{Held, Verdict, decide, hold},
        inlet::{Inlet, ROOM_MAX, Waiting, gone, gone_spilling},
        upstream::Alpn,
    },
};
use futures_util::FutureExt;
use std::{
    future::{Future, pending},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    time::timeout,
};

/// Bytes of a body that are read after an answer was given without it; then the connection is
/// closed.
const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// The time in which they must come.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Connects to whatever stands behind.
pub(super) trait Dial: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send;

    /// Connects once, within a time limit of its own, offering this protocol where TLS is spoken.
    fn dial(&self, alpn: Alpn) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// How a connection is over, and what is left to do about it.
#[derive(Debug)]
pub(super) struct Over {
    /// In words, for the connection's observation.
    pub(super) how: String,
    /// How it is to be closed; `None`: the client has gone.
    pub(super) closing: Option<Closing>,
    /// Whether all was said in order, so that TLS says goodbye too.
    pub(super) is_orderly: bool,
}

impl Over {
    pub(super) fn left(how: &str) -> Self {
        Self {
            how: how.to_owned(),
            closing: None,
            is_orderly: false,
        }
    }

    pub(super) fn orderly(how: &str) -> Self {
        Self {
            how: how.to_owned(),
            closing: Some(Closing::Fin),
            is_orderly: true,
        }
    }

    pub(super) fn cut(how: impl Into<String>, closing: Closing) -> Self {
        Self {
            how: how.into(),
            closing: Some(closing),
            is_orderly: false,
        }
    }
}

struct Upstream<S> {
    inlet: Inlet<ReadHalf<S>>,
    writer: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Upstream<S> {
    fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            inlet: Inlet::new(reader),
            writer,
        }
    }

    /// Whether it can carry another request. Bytes that nobody asked for speak against it.
    fn is_fit(&mut self) -> bool {
        self.inlet.bytes().is_empty() && self.inlet.fill().now_or_never().is_none()
    }
}

/// The engine of one connection.
pub(super) struct Http1<C, D: Dial> {
    client: Inlet<ReadHalf<C>>,
    writer: WriteHalf<C>,
    dial: D,
    upstream: Option<Upstream<D::Stream>>,
    desk: Arc<Desk>,
    faults: watch::Receiver<Arc<FaultSet>>,
    held_bytes: usize,
}

enum Decided {
    Forward(Option<(Then, FaultId)>),
    Answered,
}

impl<C, D> Http1<C, D>
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dial,
{
    /// An engine over a client's connection, of which `first` was read already. Of a request that a fault holds, at most
    /// `held_bytes` are kept.
    pub(super) fn new(
        client: C,
        first: Vec<u8>,
        dial: D,
        desk: Arc<Desk>,
        held_bytes: usize,
    ) -> Self {
        let (reader, writer) = tokio::io::split(client);
        Self {
            client: Inlet::after(first, reader),
            writer,
            dial,
            upstream: None,
            faults: desk.faults(),
            desk,
            held_bytes,
        }
    }

    /// Serves requests until the connection is over.
    pub(super) async fn run(&mut self) -> Over {
        loop {
            if let Err(over) = self.serve_one().await {
                if over.is_orderly {
                    // Who is already gone needs no goodbye.
                    let _ = self.writer.shutdown().await;
                }
                return over;
            }
        }
    }

    /// Reads what the client still sends, and throws it away, until it closes.
    pub(super) async fn drain(&mut self) {
        loop {
            self.client.consume(self.client.bytes().len());
            if !matches!(self.client.fill().await, Ok(1..)) {
                return;
            }
        }
    }

    async fn serve_one(&mut self) -> Result<(), Over> {
        let (facts, mut exchange) = self.next_request().await?;
        self.desk.room().await;
        match self.decide(&facts, &mut exchange).await? {
            Decided::Answered => Ok(()),
            Decided::Forward(then) => self.forward(&facts, exchange, then).await,
        }
    }

    async fn next_request(&mut self) -> Result<(RequestFacts, Exchange), Over> {
        let mut began = self.desk.arrival();
        loop {
            let is_idle = self.client.bytes().is_empty();
            let desk = &self.desk;
            let head = read_request(self.client.bytes(), |request, facts| {
                let headers = request.headers.iter();
                let exchange = desk.begin(
                    request.method.unwrap_or_default(),
                    request.path.unwrap_or_default(),
                    headers.map(|header| (header.name, header.value)),
                    began,
                );
                (facts, exchange)
            });
            match head {
                Ok(Some(request)) => return Ok(request),
                Err(bad) => return Err(self.refuse(bad, began).await),
                Ok(None) => {}
            }
            match self.read_client(is_idle).await {
                Ok(0) if is_idle => return Err(Over::left("client closed")),
                Ok(0) => {
                    self.cut_off(began);
                    return Err(Over::left("client closed within a request's head"));
                }
                Ok(_) if is_idle => began = self.desk.arrival(),
                Ok(_) => {}
                Err(error) => {
                    self.cut_off(began);
                    return Err(Over::left(&format!("client broke off: {error}")));
                }
            }
        }
    }

    /// Records the request of which only the beginning came, as a fault cut the connection behind
    /// it.
    fn cut_off(&self, began: Arrival) {
        let is_cut = self.desk.life().is_some_and(|life| life.is_cut());
        if !is_cut || self.client.bytes().is_empty() {
            return;
        }
        let desk = &self.desk;
        let exchange = read_beginning(self.client.bytes(), |request| {
            let headers = request.headers.iter();
            desk.begin(
                request.method.unwrap_or_default(),
                request.path.unwrap_or_default(),
                headers.map(|header| (header.name, header.value)),
                began,
            )
        });
        let mut exchange = exchange.unwrap_or_else(|bad| {
            let subject = Subject::Refused(bad);
            Exchange::new(Arc::clone(desk), subject, began)
        });
        exchange.finish(AttemptEnd::GaveUp);
    }

    /// Reads from the client; a dependency's connection that fails while all are idle is dropped.
    async fn read_client(&mut self, is_idle: bool) -> io::Result<usize> {
        if is_idle && let Some(upstream) = &mut self.upstream {
            tokio::select! {
                biased;
                read = self.client.fill() => return read,
                _ = upstream.inlet.fill() => self.upstream = None,
            }
        }
        self.client.fill().await
    }

    async fn refuse(&mut self, bad: BadHead, began: Arrival) -> Over {
        let (status, reason) = bad.status();
        let subject = Subject::Refused(bad);
        let mut exchange = Exchange::new(Arc::clone(&self.desk), subject, began);
        self.write_refusal(status, reason, &exchange).await;
        exchange.finish(AttemptEnd::Answered);
        Over::orderly(&format!("refused: {bad}"))
    }

    /// The head of an answer is larger than we take: says so in the dependency's place, that it be
    /// not taken for an answer of the dependency's that broke off.
    async fn refuse_answer(&mut self, exchange: &mut Exchange) -> Over {
        self.write_refusal(502, "Bad Gateway", exchange).await;
        exchange.finish(AttemptEnd::UpstreamFailed);
        Over::orderly(&format!("refused the answer: {}", BadHead::TooLarge))
    }

    async fn write_refusal(&mut self, status: u16, reason: &str, exchange: &Exchange) {
        let answer =
            format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        // A client that is gone needs no answer; the connection is closed either way.
        if self.writer.write_all(answer.as_bytes()).await.is_ok()
            && self.writer.flush().await.is_ok()
        {
            exchange.tally.answered(status, self.desk.now());
        }
    }

    /// Asks the faults, and does what they say until the request may be forwarded.
    async fn decide(
        &mut self,
        facts: &RequestFacts,
        exchange: &mut Exchange,
    ) -> Result<Decided, Over> {
        self.client.set_room_max(self.held_bytes);
        let mut waiting = Waiting {
            inlet: &mut self.client,
            keep: facts.len,
        };
        let verdict = decide(exchange, &mut self.faults, &mut waiting).await;
        self.client.set_room_max(ROOM_MAX);
        match verdict {
            Verdict::Forward(then) => Ok(Decided::Forward(then)),
            Verdict::Reply(reply) => {
                self.reply(&reply, facts, exchange).await?;
                Ok(Decided::Answered)
            }
            Verdict::Close(closing) => Err(self.cut(closing, exchange).await),
            Verdict::GaveUp => Err(gave_up(exchange)),
            Verdict::Spilled => {
                exchange.finish(AttemptEnd::Unfinished);
                let how = "released after more than was kept";
                Err(Over::cut(how, Closing::Fin))
            }
        }
    }

    /// Cuts the connection as a fault wants it, after its time where it has one.
    async fn cut(&mut self, closing: Closing, exchange: &mut Exchange) -> Over {
        let (delay, closing) = closing.apart();
        if delay.is_some() {
            // Nothing it sent goes anywhere any more.
            let gone = gone_spilling(&mut self.client, 0);
            let held = hold(&mut self.faults, gone, &[], delay).await;
            if held == Held::ClientGone {
                return gave_up(exchange);
            }
        }
        exchange.finish(AttemptEnd::Cut);
        let how = match closing {
            Closing::Reset | Closing::ResetAfter(_) => "reset by fault",
            Closing::HalfClose => "half-closed by fault",
            Closing::Fin | Closing::SlowClose(_) => "closed by fault",
        };
        Over::cut(how, closing)
    }

    /// Answers in the dependency's stead, which sees nothing of the request.
    async fn reply(
        &mut self,
        reply: &Reply,
        facts: &RequestFacts,
        exchange: &mut Exchange,
    ) -> Result<(), Over> {
        match write_reply(&mut self.writer, exchange, facts, reply).await {
            Err(_) => Err(gave_up(exchange)),
            Ok(None) => {
                self.settle(facts, exchange).await?;
                self.still_there(exchange).await?;
                Err(self.cut(Closing::Fin, exchange).await)
            }
            Ok(Some(close)) => {
                self.settle(facts, exchange).await?;
                let ended = self.desk.now();
                self.still_there(exchange).await?;
                self.client.consume(facts.len);
                let body = Body::new(facts.framing);
                let is_drained = self.drain_body(body, facts, exchange, close).await;
                exchange.finish_at(AttemptEnd::Answered, ended);
                if is_drained && !close && facts.keeps_alive {
                    Ok(())
                } else {
                    Err(Over::orderly("closed after a fault's answer"))
                }
            }
        }
    }

    /// Reads the rest of a body that nobody gets; whether it came to its end. A client that waits
    /// for `100 Continue` and got a final answer may send the body or leave it, so that what
    /// comes next could be either: then nothing more is read.
    async fn drain_body(
        &mut self,
        mut body: Body,
        facts: &RequestFacts,
        exchange: &Exchange,
        is_last: bool,
    ) -> bool {
        let mut rest = DRAIN_BYTES_MAX;
        let draining = async {
            let mut is_first = true;
            loop {
                let mut data = 0;
                let mut count = |piece: &[u8]| {
                    data += piece.len() as u64;
                    exchange.tally.look_up(piece);
                };
                let Ok(seen) = body.advance(self.client.bytes(), rest, &mut count) else {
                    return false;
                };
                self.client.consume(seen);
                rest -= data;
                exchange.tally.add_up(data);
                let awaits_permission = is_first && seen == 0 && facts.expects_continue;
                if body.is_complete() || rest == 0 || is_last || awaits_permission {
                    return body.is_complete();
                }
                is_first = false;
                if !matches!(self.client.fill().await, Ok(1..)) {
                    return false;
                }
            }
        };
        timeout(DRAIN_TIME_MAX, draining).await.unwrap_or(false)
    }

    async fn forward(
        &mut self,
        facts: &RequestFacts,
        mut exchange: Exchange,
        then: Option<(Then, FaultId)>,
    ) -> Result<(), Over> {
        let may_half_close = then.is_none() && (!facts.keeps_alive || self.desk.tells_who_reads());
        self.connect(facts, &mut exchange, may_half_close).await?;
        let Some(mut upstream) = self.upstream.take() else {
            unreachable!("a connection was just made");
        };
        let mut body = Body::new(facts.framing);
        let answered = self
            .both_ways(&mut upstream, facts, &mut exchange, &mut body, then)
            .await;
        let (keeps_alive, is_upstream_free) = match answered {
            Err(BothEnd::Client(ClientEnd::Gone)) => return Err(gave_up(&mut exchange)),
            Err(BothEnd::Client(ClientEnd::Broken(bad))) => {
                return Err(self.broken_body(&bad.to_string(), &mut exchange).await);
            }
            Err(BothEnd::Answer(Failure::AnswerTooLarge)) => {
                return Err(self.refuse_answer(&mut exchange).await);
            }
            Err(BothEnd::Answer(failure)) => return Err(failed(&mut exchange, &failure)),
            Ok(Answered::Cut(closing)) => {
                self.settle(facts, &mut exchange).await?;
                self.still_there(&mut exchange).await?;
                return Err(self.cut(closing, &mut exchange).await);
            }
            Ok(Answered::Lost) => {
                exchange.finish(AttemptEnd::Unfinished);
                return Err(Over::cut("lost answer, fault lifted", Closing::Fin));
            }
            Ok(Answered::Upgraded) if exchange.socket.is_some() => {
                return Err(self.carry(upstream, exchange).await);
            }
            Ok(Answered::Upgraded) => {
                self.settle(facts, &mut exchange).await?;
                exchange.finish(AttemptEnd::Answered);
                return Err(self.tunnel(upstream).await);
            }
            Ok(Answered::Whole { keeps_alive }) => (keeps_alive, true),
            Ok(Answered::Ours {
                close,
                is_upstream_free,
            }) => (!close, is_upstream_free),
        };
        self.settle(facts, &mut exchange).await?;
        self.answered(&mut exchange).await?;
        if !keeps_alive || !facts.keeps_alive {
            return Err(Over::orderly("closed after an answer"));
        }
        if body.is_complete() {
            self.upstream = Some(upstream).filter(|_| is_upstream_free);
            return Ok(());
        }
        let upstream = Some(upstream).filter(|_| is_upstream_free);
        self.finish_body(upstream, body, facts, &exchange).await
    }

    /// Sees to it that there is a connection to the dependency that can carry a request.
    async fn connect(
        &mut self,
        facts: &RequestFacts,
        exchange: &mut Exchange,
        may_half_close: bool,
    ) -> Result<(), Over> {
        if let Some(upstream) = &mut self.upstream
            && upstream.is_fit()
        {
            return Ok(());
        }
        self.upstream = None;
        let dialed = tokio::select! {
            biased;
            dialed = self.dial.dial(Alpn::Http1) => dialed,
            () = gave_up_early(&mut self.client, facts, exchange, may_half_close) => return Err(gave_up(exchange)),
        };
        match dialed {
            Ok(stream) => {
                self.upstream = Some(Upstream::new(stream));
                Ok(())
            }
            Err(error) => {
                exchange.tally.refused();
                match exchange.tally.half_closed_at() {
                    Some(at) => exchange.finish_at(AttemptEnd::GaveUp, at),
                    None => exchange.finish(AttemptEnd::UpstreamFailed),
                }
                Err(Over::cut(
                    format!("upstream {}", error.kind()),
                    Closing::Reset,
                ))
            }
        }
    }

    async fn both_ways(
        &mut self,
        upstream: &mut Upstream<D::Stream>,
        facts: &RequestFacts,
        exchange: &mut Exchange,
        body: &mut Body,
        then: Option<(Then, FaultId)>,
    ) -> Result<Answered, BothEnd> {
        let tally = Arc::clone(&exchange.tally);
        let desk = Arc::clone(&self.desk);
        let copy = KeptRequest::default();
        let (then, times) = repeats(then);
        let repeat = (times > 0).then_some(Repeat {
            times,
            copy: &copy,
            dial: &self.dial,
        });
        let kept = (times > 0).then_some(&copy);
        let may_half_close = then.is_none() && (!facts.keeps_alive || desk.tells_who_reads());
        let client = &mut self.client;
        let writer = &mut upstream.writer;
        let up = async {
            let left = left(&desk, &tally);
            tokio::select! {
                biased;
                sent = send(client, writer, facts.len, body, &tally, kept) => if let Err(end) = sent {
                    return end;
                },
                () = left => return ClientEnd::Gone,
            }
            loop {
                match client.fill().await {
                    Ok(1..) => {}
                    Ok(0) if !client.bytes().is_empty() => pending().await,
                    Ok(0) if may_half_close => {
                        tally.half_closed(desk.left_at());
                        // The answer, or its absence, tells more than a failure here.
                        let _ = writer.shutdown().await;
                        pending().await
                    }
                    Ok(0) | Err(_) => return ClientEnd::Gone,
                }
            }
        };
        let mut down = Download {
            upstream: &mut upstream.inlet,
            client: &mut self.writer,
            exchange,
            request: facts,
            faults: &mut self.faults,
        };
        tokio::select! {
            biased;
            answered = down.run(then, repeat) => answered.map_err(BothEnd::Answer),
            end = up => Err(BothEnd::Client(end)),
        }
    }

    /// Waits until the client was sent all that was written, or went away. One that closes its
    /// direction meanwhile and may still read is sent it all the same; the moment is noted, as it
    /// may turn out to have given up then.
    async fn settle(&mut self, facts: &RequestFacts, exchange: &mut Exchange) -> Result<(), Over> {
        let client = &mut self.client;
        let may_read = !facts.keeps_alive || exchange.tally.half_closed_at().is_some();
        let (desk, tally) = (Arc::clone(&self.desk), Arc::clone(&exchange.tally));
        let leaving = async {
            let end = loop {
                match client.fill().await {
                    Ok(1..) => {}
                    end => break end,
                }
            };
            if end.is_ok() && (may_read || !client.bytes().is_empty()) {
                tally.half_closed(desk.left_at());
                pending().await
            }
        };
        let is_there = tokio::select! {
            biased;
            () = exchange.settle() => true,
            () = leaving => false,
        };
        if is_there {
            Ok(())
        } else {
            Err(gave_up(exchange))
        }
    }

    /// The client was sent the whole answer: was it still there?
    async fn answered(&mut self, exchange: &mut Exchange) -> Result<(), Over> {
        let ended = self.desk.now();
        self.still_there(exchange).await?;
        exchange.finish_at(AttemptEnd::Answered, ended);
        Ok(())
    }

    /// Whether the client, who was sent something, was there to read it: one that had closed its
    /// direction and is gone gave up when it closed.
    async fn still_there(&mut self, exchange: &mut Exchange) -> Result<(), Over> {
        if exchange.tally.half_closed_at().is_some()
            && (matches!(self.client.fill().now_or_never(), Some(Err(_)))
                || self.desk.is_client_reset().await)
        {
            return Err(gave_up(exchange));
        }
        Ok(())
    }

    async fn broken_body(&mut self, why: &str, exchange: &mut Exchange) -> Over {
        if exchange.tally.status().is_some() {
            exchange.finish(AttemptEnd::Cut);
            return Over::cut(why, Closing::Fin);
        }
        self.write_refusal(400, "Bad Request", exchange).await;
        exchange.finish(AttemptEnd::Answered);
        Over::orderly(why)
    }

    /// An answer came before the request's body had ended: the rest of the body still goes where
    /// it was meant to go.
    async fn finish_body(
        &mut self,
        upstream: Option<Upstream<D::Stream>>,
        mut body: Body,
        facts: &RequestFacts,
        exchange: &Exchange,
    ) -> Result<(), Over> {
        let Some(mut upstream) = upstream else {
            return if self.drain_body(body, facts, exchange, false).await {
                Ok(())
            } else {
                Err(Over::orderly("closed after an early answer"))
            };
        };
        let sending = send(
            &mut self.client,
            &mut upstream.writer,
            0,
            &mut body,
            &exchange.tally,
            None,
        );
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(()) => {}
                Err(ClientEnd::Gone) => return Err(Over::left("client closed")),
                Err(ClientEnd::Broken(bad)) => return Err(Over::orderly(&bad.to_string())),
            },
            _ = upstream.inlet.fill() => {
                return Err(Over::orderly("upstream closed after an early answer"));
            }
        }
        self.upstream = Some(upstream);
        Ok(())
    }

    /// Carries the messages of a WebSocket whose handshake is done.
    async fn carry(&mut self, mut upstream: Upstream<D::Stream>, exchange: Exchange) -> Over {
        let room = channels::INLET_BYTES;
        self.client.set_room_max(room);
        upstream.inlet.set_room_max(room);
        let parties = Parties {
            client: (&mut self.client, &mut self.writer),
            upstream: (&mut upstream.inlet, &mut upstream.writer),
        };
        Box::pin(channels::carry(&self.desk, exchange, &self.faults, parties)).await
    }

    async fn tunnel(&mut self, mut upstream: Upstream<D::Stream>) -> Over {
        let client = (&mut self.client, &mut self.writer);
        match tunnel(client, (&mut upstream.inlet, &mut upstream.writer)).await {
            Ok(()) => Over::orderly("both sides closed after an upgrade"),
            Err(error) => Over::cut(format!("broke off: {error}"), Closing::Reset),
        }
    }
}

/// Waits until the client goes away before anything of its request was sent on. One that has said
/// all it will say, or sent further requests already, may still be reading.
async fn gave_up_early<R: AsyncRead + Unpin>(
    client: &mut Inlet<R>,
    facts: &RequestFacts,
    exchange: &Exchange,
    may_half_close: bool,
) {
    gone(client).await;
    let mut body = Body::new(facts.framing);
    let rest = &client.bytes()[facts.len..];
    if let Ok(seen) = body.advance(rest, u64::MAX, |_| {})
        && body.is_complete()
        && (seen < rest.len() || may_half_close)
    {
        if seen == rest.len() {
            exchange.tally.half_closed(exchange.desk.left_at());
        }
        pending().await
    }
}

/// Comes back when the client breaks off while it is still being read. Where it closed its
/// direction, what it sent before still counts, and only the moment is noted.
async fn left(desk: &Desk, tally: &Tally) {
    let is_reset = desk.client_left().await;
    if !is_reset {
        tally.half_closed(desk.left_at());
        pending().await
    }
}

/// A client that waits with a request whose head has this many bytes.
enum BothEnd {
    Client(ClientEnd),
    Answer(Failure),
}

fn gave_up(exchange: &mut Exchange) -> Over {
    let at = exchange.tally.half_closed_at();
    exchange.finish_at(
        AttemptEnd::GaveUp,
        at.unwrap_or_else(|| exchange.desk.now()),
    );
    Over::left("client gave up")
}

fn failed(exchange: &mut Exchange, failure: &Failure) -> Over {
    let half_closed_at = exchange.tally.half_closed_at();
    match (failure, half_closed_at) {
        (_, Some(at)) => {
            exchange.finish_at(AttemptEnd::GaveUp, at);
            Over::cut("client gave up", Closing::Fin)
        }
        (Failure::ClientGone, None) => gave_up(exchange),
        (Failure::UpstreamClosed, None) => {
            exchange.finish(AttemptEnd::UpstreamFailed);
            Over::cut("upstream closed", Closing::Fin)
        }
        (Failure::UpstreamBroke | Failure::AnswerTooLarge, None) => {
            exchange.finish(AttemptEnd::UpstreamFailed);
            Over::cut("upstream broke off", Closing::Reset)
        }
    }
}
