//! The two directions of one exchange over HTTP/1.1, which run side by side: an answer may come
//! before the request's body has ended.
//!
//! Bytes pass as they came, at most an inlet full at a time. What a fault does to an answer is
//! done here; what it does to a request was done before.

use super::{
    body::{BadChunk, Body},
    exchange::{Exchange, Tally, memory_key},
    head::{BadHead, Framing, RequestFacts, ResponseFacts, read_response},
    http1::Dial,
    memory::{ANSWER_BYTES_MAX, Remembered},
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    protocol::http::Made,
    proxy::{
        decide::{Asked, lifted},
        inlet::{Inlet, gone},
        upstream::Alpn,
    },
    timer::sleep,
};
use parking_lot::Mutex;
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::timeout,
};

/// How the client's direction ended before the answer did.
pub(super) enum ClientEnd {
    /// The client went away.
    Gone,
    /// Its body is broken.
    Broken(BadChunk),
}

/// Sends the whole request on. Where the dependency takes no more of it, it waits for the answer
/// that may already be on its way.
pub(super) async fn send<R, W>(
    client: &mut Inlet<R>,
    upstream: &mut W,
    mut head: usize,
    body: &mut Body,
    tally: &Tally,
    copy: Option<&KeptRequest>,
) -> Result<(), ClientEnd>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let bytes = client.bytes();
        let mut data = 0;
        let seen = body
            .advance(&bytes[head..], u64::MAX, |piece| {
                data += piece.len() as u64;
                tally.look_up(piece);
            })
            .map_err(ClientEnd::Broken)?;
        if let Some(copy) = copy {
            copy.add(&bytes[..head + seen]);
        }
        let sending = upstream.write_all(&bytes[..head + seen]);
        if sending.await.is_err() || upstream.flush().await.is_err() {
            gone(client).await;
            return Err(ClientEnd::Gone);
        }
        tally.add_up(data);
        client.consume(head + seen);
        head = 0;
        if body.is_complete() {
            tally.sent_whole();
            return Ok(());
        }
        if !matches!(client.fill().await, Ok(1..)) {
            return Err(ClientEnd::Gone);
        }
    }
}

/// The most bytes of a request, head and body, that are kept to be sent again.
pub(super) const COPY_BYTES_MAX: usize = 1024 * 1024;

/// The time in which the dependency must answer a request that is sent again.
pub(super) const COPY_TIME_MAX: Duration = Duration::from_secs(10);

/// A request that is kept to be sent again, unless it is too long.
#[derive(Default)]
pub(super) struct KeptRequest(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl KeptRequest {
    fn add(&self, piece: &[u8]) {
        let mut kept = self.0.lock();
        kept.is_too_long |= kept.bytes.len() + piece.len() > COPY_BYTES_MAX;
        if kept.is_too_long {
            kept.bytes = Vec::new();
        } else {
            kept.bytes.extend_from_slice(piece);
        }
    }

    fn whole(&self) -> Option<Vec<u8>> {
        let kept = self.0.lock();
        (!kept.is_too_long).then(|| kept.bytes.clone())
    }
}

/// What is to be done to the answer, and how often the request is sent again before that.
pub(super) fn repeats(then: Option<(Then, FaultId)>) -> (Option<(Then, FaultId)>, u32) {
    match then {
        Some((Then::Repeat { times, then }, fault)) => (Some((*then, fault)), times),
        other => (other, 0),
    }
}

/// How often a request is sent again, each time on a connection of its own.
pub(super) struct Repeat<'a, D> {
    pub(super) times: u32,
    pub(super) copy: &'a KeptRequest,
    pub(super) dial: &'a D,
}

impl<D: Dial> Repeat<'_, D> {
    /// Sends it, and counts how often it was carried out. Whether it was sent at all: not if it
    /// was too long to be kept, or if the dependency answered before it had the whole of it.
    async fn carry_out(&self, request: &RequestFacts, tally: &Tally) -> bool {
        let Some(bytes) = self.copy.whole().filter(|_| tally.is_sent_whole()) else {
            return false;
        };
        let mut is_sent = false;
        for _ in 0..self.times {
            let once = self.once(&bytes, request, || {
                is_sent = true;
                tally.copy_sent();
            });
            if let Ok(Some(status)) = timeout(COPY_TIME_MAX, once).await {
                tally.copy_answered(status);
            }
        }
        is_sent
    }

    /// Sends it once, and says so when the last byte has gone: the status of the final answer, if
    /// one comes.
    async fn once(&self, bytes: &[u8], request: &RequestFacts, sent: impl FnOnce()) -> Option<u16> {
        let stream = self.dial.dial(Alpn::Http1).await.ok()?;
        let (reader, mut writer) = tokio::io::split(stream);
        writer.write_all(bytes).await.ok()?;
        sent();
        writer.flush().await.ok()?;
        let mut inlet = Inlet::new(reader);
        loop {
            match read_response(inlet.bytes(), request, |_, facts| facts) {
                Ok(Some(facts)) if facts.is_interim() => inlet.consume(facts.len),
                Ok(Some(facts)) => return Some(facts.status),
                Ok(None) => {
                    if !matches!(inlet.fill().await, Ok(1..)) {
                        return None;
                    }
                }
                Err(_) => return None,
            }
        }
    }
}

/// How an exchange's answer came out.
pub(super) enum Answered {
    /// The dependency's answer passed whole.
    Whole {
        /// Whether the dependency keeps its connection.
        keeps_alive: bool,
    },
    /// The connection is no longer HTTP.
    Upgraded,
    /// A fault's answer went out in place of the dependency's.
    Ours {
        /// Whether the connection is closed after it.
        close: bool,
        /// Whether the dependency's connection is free for the next request.
        is_upstream_free: bool,
    },
    /// A fault cuts the connection.
    Cut(Closing),
    /// The fault that kept the answer was lifted; there is nothing left to answer.
    Lost,
}

/// Why no answer came out.
pub(super) enum Failure {
    /// The client took no more.
    ClientGone,
    /// The dependency closed its connection.
    UpstreamClosed,
    /// The dependency reset its connection, or broke the protocol.
    UpstreamBroke,
    /// The head of its answer is larger than we take.
    AnswerTooLarge,
}

/// The answer's direction of one exchange.
pub(super) struct Download<'a, R, W> {
    pub(super) upstream: &'a mut Inlet<R>,
    pub(super) client: &'a mut W,
    pub(super) exchange: &'a mut Exchange,
    pub(super) request: &'a RequestFacts,
    pub(super) faults: &'a mut watch::Receiver<Arc<FaultSet>>,
}

/// An answer on its way through.
struct Passing {
    facts: ResponseFacts,
    head: usize,
    body: Body,
    /// A copy of what passes, while it may be remembered.
    copy: Option<Vec<u8>>,
}

impl<R, W> Download<'_, R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    /// Waits for the answer and passes it, or does to it what the fault says.
    pub(super) async fn run<D: Dial>(
        &mut self,
        then: Option<(Then, FaultId)>,
        repeat: Option<Repeat<'_, D>>,
    ) -> Result<Answered, Failure> {
        let facts = self.final_head(then.is_none()).await?;
        let Some((then, fault)) = then else {
            return self.pass_all(facts).await;
        };
        if let Some(repeat) = repeat
            && !repeat.carry_out(self.request, &self.exchange.tally).await
        {
            self.exchange.did_not_act(fault);
            return self.pass_all(facts).await;
        }
        match then {
            Then::Reply(reply) => self.reply(&reply, &facts).await,
            Then::Lose => {
                lifted(self.faults, &[fault]).await;
                self.exchange.released();
                Ok(Answered::Lost)
            }
            Then::Close(closing) => Ok(Answered::Cut(closing)),
            Then::Late(delay) => {
                self.pause(Some(delay), fault).await;
                self.pass_all(facts).await
            }
            Then::StallBody { after, pause } => self.stall(facts, after, pause, fault).await,
            Then::TruncateBody { after, closing } => {
                self.truncate(facts, after, closing, fault).await
            }
            Then::EmptyBody if facts.status == 200 && facts.framing == Framing::Length(0) => {
                // It was so already.
                self.exchange.did_not_act(fault);
                self.pass_all(facts).await
            }
            Then::EmptyBody => self.empty_body(&facts).await,
            Then::Stale => self.stale(facts, fault).await,
            Then::Repeat { .. } => {
                // Once is said by `repeat`; nobody repeats what is repeated.
                self.exchange.did_not_act(fault);
                self.pass_all(facts).await
            }
        }
    }

    /// The head of the final answer; those before it have passed.
    async fn final_head(&mut self, is_untouched: bool) -> Result<ResponseFacts, Failure> {
        loop {
            let (desk, kept) = (&self.exchange.desk, &mut self.exchange.answer_headers);
            kept.clear();
            let head = read_response(self.upstream.bytes(), self.request, |response, facts| {
                for header in &*response.headers {
                    if desk.wants(header.name) {
                        kept.push((header.name.into(), header.value.into()));
                    }
                }
                facts
            });
            match head {
                Ok(Some(facts)) if facts.is_interim() => self.write_upstream(facts.len).await?,
                Ok(Some(facts)) => {
                    self.exchange.tally.upstream_answered(facts.status);
                    return Ok(facts);
                }
                Ok(None) => match self.upstream.fill().await {
                    Ok(0) => return self.break_off(is_untouched, Failure::UpstreamClosed).await,
                    Ok(_) => {}
                    Err(_) => return Err(Failure::UpstreamBroke),
                },
                Err(BadHead::TooLarge) => return Err(Failure::AnswerTooLarge),
                // What is no HTTP is for the client to judge, as without us.
                Err(_) => return self.break_off(is_untouched, Failure::UpstreamClosed).await,
            }
        }
    }

    /// Passes what came of an answer that will never be whole.
    async fn break_off<T>(&mut self, is_untouched: bool, failure: Failure) -> Result<T, Failure> {
        if is_untouched {
            self.write_upstream(self.upstream.bytes().len()).await?;
        }
        Err(failure)
    }

    async fn pass_all(&mut self, facts: ResponseFacts) -> Result<Answered, Failure> {
        let mut passing = self.passing(facts);
        self.pass(&mut passing, u64::MAX).await?;
        Ok(self.passed(passing))
    }

    fn passing(&mut self, facts: ResponseFacts) -> Passing {
        let (desk, is_get) = (&self.exchange.desk, self.request.is_get);
        let bytes_max = desk.sample_bytes(facts.status, is_get);
        self.exchange.sample.begin(bytes_max);
        self.exchange.is_sample_its_own = true;
        let may_remember = is_get && facts.status == 200 && desk.memory().is_some();
        Passing {
            facts,
            head: facts.len,
            body: Body::new(facts.framing),
            copy: may_remember.then(Vec::new),
        }
    }

    /// Passes the answer up to its `data_max`th byte of data, and says whether that was the end.
    async fn pass(&mut self, passing: &mut Passing, data_max: u64) -> Result<bool, Failure> {
        let mut rest = data_max;
        loop {
            let mut data = 0;
            let (body, sample) = (&mut passing.body, &mut self.exchange.sample);
            let seen = body
                .advance(&self.upstream.bytes()[passing.head..], rest, |piece| {
                    data += piece.len() as u64;
                    sample.add(piece);
                })
                .map_err(|_| Failure::UpstreamBroke)?;
            passing.copy(&self.upstream.bytes()[..passing.head + seen]);
            if passing.head > 0 {
                self.exchange.desk.mark();
            }
            self.write_upstream(passing.head + seen).await?;
            self.exchange.tally.add_down(data);
            rest -= data;
            if passing.head > 0 {
                passing.head = 0;
                let now = self.exchange.desk.now();
                self.exchange.tally.answered(passing.facts.status, now);
            }
            if passing.body.is_complete() || rest == 0 {
                return Ok(passing.body.is_complete());
            }
            match self.upstream.fill().await {
                Ok(0) if passing.body.may_end_here() => return Ok(true),
                Ok(0) => return Err(Failure::UpstreamClosed),
                Ok(_) => {}
                Err(_) => return Err(Failure::UpstreamBroke),
            }
        }
    }

    fn passed(&mut self, passing: Passing) -> Answered {
        if let (Some(copy), Some(memory)) = (passing.copy, self.exchange.desk.memory())
            && let Some(key) = self.memory_key()
        {
            memory.remember(&key, Remembered::Http1(copy.into()));
        }
        let facts = passing.facts;
        if facts.status == 101 || (self.request.is_connect && (200..300).contains(&facts.status)) {
            return Answered::Upgraded;
        }
        Answered::Whole {
            keeps_alive: facts.keeps_alive && passing.body.is_complete(),
        }
    }

    async fn stall(
        &mut self,
        facts: ResponseFacts,
        after: u64,
        pause: Option<Duration>,
        fault: FaultId,
    ) -> Result<Answered, Failure> {
        let mut passing = self.passing(facts);
        let is_whole = self.pass(&mut passing, after).await?;
        if is_whole {
            self.exchange.did_not_act(fault);
        } else {
            self.pause(pause, fault).await;
            self.pass(&mut passing, u64::MAX).await?;
        }
        Ok(self.passed(passing))
    }

    async fn truncate(
        &mut self,
        facts: ResponseFacts,
        after: u64,
        closing: Closing,
        fault: FaultId,
    ) -> Result<Answered, Failure> {
        let mut passing = self.passing(facts);
        if self.pass(&mut passing, after).await? {
            self.exchange.did_not_act(fault);
            return Ok(self.passed(passing));
        }
        Ok(Answered::Cut(closing))
    }

    /// Waits for the time or until the fault is lifted, whichever is first.
    async fn pause(&mut self, pause: Option<Duration>, fault: FaultId) {
        let sleeping = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        };
        let fault = [fault];
        tokio::select! {
            biased;
            () = sleeping => {}
            () = lifted(self.faults, &fault) => {
                self.exchange.released();
            }
        }
    }

    /// The same head with status 200 and no body.
    async fn empty_body(&mut self, facts: &ResponseFacts) -> Result<Answered, Failure> {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        let read = read_response(self.upstream.bytes(), self.request, |response, _| {
            for header in &*response.headers {
                let is_framing = ["content-length", "transfer-encoding"]
                    .iter()
                    .any(|name| header.name.eq_ignore_ascii_case(name));
                if !is_framing {
                    head.extend_from_slice(header.name.as_bytes());
                    head.extend_from_slice(b": ");
                    head.extend_from_slice(header.value);
                    head.extend_from_slice(b"\r\n");
                }
            }
        });
        debug_assert!(matches!(read, Ok(Some(()))), "the head was read before");
        head.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.write(&head).await?;
        self.sent_ours(200);
        Ok(self.ours(facts, !facts.keeps_alive))
    }

    async fn stale(&mut self, facts: ResponseFacts, fault: FaultId) -> Result<Answered, Failure> {
        let memory = self.exchange.desk.memory();
        let known = memory
            .zip(self.memory_key())
            .and_then(|(memory, key)| memory.recall(&key));
        let Some(Remembered::Http1(answer)) = known else {
            self.exchange.did_not_act(fault);
            return self.pass_all(facts).await;
        };
        self.write(&answer).await?;
        self.sent_ours(200);
        if let Ok(Some(old)) = read_response(&answer, self.request, |_, old| old) {
            let mut data = 0;
            let body = &answer[old.len..];
            let mut count = |piece: &[u8]| data += piece.len() as u64;
            // It passed whole before; its framing is sound.
            let _ = Body::new(old.framing).advance(body, u64::MAX, &mut count);
            self.exchange.tally.add_down(data);
            return Ok(self.ours(&facts, !old.keeps_alive));
        }
        Ok(self.ours(&facts, true))
    }

    async fn reply(&mut self, reply: &Reply, facts: &ResponseFacts) -> Result<Answered, Failure> {
        let close = write_reply(self.client, self.exchange, self.request, reply)
            .await
            .map_err(|_| Failure::ClientGone)?;
        match close {
            Some(close) => Ok(self.ours(facts, close)),
            None => Ok(Answered::Cut(Closing::Fin)),
        }
    }

    fn sent_ours(&self, status: u16) {
        let now = self.exchange.desk.now();
        self.exchange.tally.answered(status, now);
    }

    /// Throws the dependency's answer away. Its connection is free only if the answer is already
    /// here to the end: nobody shall wait for what nobody gets.
    fn ours(&mut self, facts: &ResponseFacts, close: bool) -> Answered {
        self.upstream.consume(facts.len);
        let mut body = Body::new(facts.framing);
        let seen = body.advance(self.upstream.bytes(), u64::MAX, |_| {});
        if let Ok(seen) = seen {
            self.upstream.consume(seen);
        }
        Answered::Ours {
            close,
            is_upstream_free: seen.is_ok() && body.is_complete() && facts.keeps_alive,
        }
    }

    fn memory_key(&self) -> Option<String> {
        memory_key(self.exchange.call()?)
    }

    /// Passes the first `len` bytes of what the dependency sent.
    async fn write_upstream(&mut self, len: usize) -> Result<(), Failure> {
        let bytes = &self.upstream.bytes()[..len];
        let written = self.client.write_all(bytes).await;
        written.map_err(|_| Failure::ClientGone)?;
        self.upstream.consume(len);
        let flushed = self.client.flush().await;
        flushed.map_err(|_| Failure::ClientGone)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.exchange.desk.mark();
        let written = self.client.write_all(bytes).await;
        written.map_err(|_| Failure::ClientGone)?;
        let flushed = self.client.flush().await;
        flushed.map_err(|_| Failure::ClientGone)
    }
}

impl Passing {
    fn copy(&mut self, bytes: &[u8]) {
        if let Some(copy) = &mut self.copy {
            if copy.len() + bytes.len() > ANSWER_BYTES_MAX {
                self.copy = None;
            } else {
                copy.extend_from_slice(bytes);
            }
        }
    }
}

/// Writes what a fault answers. `Some(close)` after an answer, `None` after something that is
/// none and that the connection's end must follow.
pub(super) async fn write_reply<W: AsyncWrite + Unpin>(
    client: &mut W,
    exchange: &mut Exchange,
    request: &RequestFacts,
    reply: &Reply,
) -> std::io::Result<Option<bool>> {
    let Some(call) = exchange.call() else {
        return Ok(None);
    };
    match exchange.desk.make(reply, call) {
        Made::Empty => Ok(None),
        Made::Socket(refused) => {
            exchange.code = Some(refused.code);
            exchange.desk.mark();
            client.write_all(&refused.bytes).await?;
            client.flush().await?;
            exchange.tally.answered(101, exchange.desk.now());
            Ok(Some(true))
        }
        Made::Garbage(bytes) => {
            client.write_all(&bytes).await?;
            client.flush().await?;
            Ok(None)
        }
        Made::Answer(answer) => {
            let answer = if request.is_http10 {
                answer.without_chunks()
            } else {
                answer
            };
            let headers = answer.headers.iter();
            exchange.tells(headers.map(|(name, value)| (&**name, &**value)));
            exchange.desk.mark();
            client.write_all(&answer.http1()).await?;
            client.flush().await?;
            exchange.tally.answered(answer.status, exchange.desk.now());
            let body = answer.body_sent();
            exchange.tally.add_down(body.len() as u64);
            let bytes_max = exchange.desk.sample_bytes(answer.status, request.is_get);
            exchange
                .sample
                .begin(bytes_max.max(answer.code.iter().len() * 2048));
            exchange.is_sample_its_own = false;
            exchange.sample.add(&body);
            Ok(Some(answer.close))
        }
    }
}

/// Passes bytes both ways, whatever they mean, until both sides have closed.
///
/// # Errors
/// Either side broke off.
pub(super) async fn tunnel<R, W, S, T>(
    client: (&mut Inlet<R>, &mut W),
    upstream: (&mut Inlet<S>, &mut T),
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let up = pump(client.0, upstream.1);
    let down = pump(upstream.0, client.1);
    tokio::try_join!(up, down).map(|_| ())
}

async fn pump<R, W>(from: &mut Inlet<R>, to: &mut W) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let len = from.bytes().len();
        to.write_all(from.bytes()).await?;
        from.consume(len);
        to.flush().await?;
        if from.fill().await? == 0 {
            return to.shutdown().await;
        }
    }
}
