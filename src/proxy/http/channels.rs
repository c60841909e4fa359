//! A WebSocket of Channels after its handshake: messages in both directions, each asked about and
//! carried on byte for byte, or not.
//!
//! Frames are never written anew. A message is held until it is whole, so that it can be asked
//! about as one; a control frame amid its parts passes before it. What cannot be looked at passes
//! unseen, as a `Send` or `Notify` without a key: messages of more than [`MESSAGE_BYTES_MAX`]
//! bytes, those of bytes, and compressed ones. A client's offer to compress is not taken out of
//! its handshake: a server may take it, and nothing would be changed that the client could see.
//!
//! Each direction has a reader, which notes when a message came, and a writer, which carries out
//! what is decided about it: so delays count from arrival, and messages stay in order. The queue
//! between them is bounded; when it is full nothing more is read. Messages take no turn in the
//! queue of an overloaded dependency: requests of HTTP and handshakes do.

use super::{
    desk::{Desk, captured_of},
    exchange::Exchange,
    http1::Over,
};
use crate::{
    fault::{Closing, Direction, End, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, Call, Recognised,
        pusher::{self, Class},
        websocket::{self, BadFrame, Head, Opcode, close_code, read_head, server_frame, unmask},
    },
    proxy::{
        connection::{Arrival, Life, Shared},
        decide::{Asked, Held, hold, lifted},
        inlet::Inlet,
        sockets::Entered,
        statement::Statement,
    },
    units::Micros,
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::{future::pending, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

/// The most bytes of a message that is looked at; Channels itself allows events of 10 KiB.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Room for such a message with what comes before it.
pub(super) const INLET_BYTES: usize = 2 * MESSAGE_BYTES_MAX;

/// The most messages of one direction that wait.
const QUEUE_MAX: usize = 64;

/// The most frames of ours that wait for the client.
const OURS_MAX: usize = 16;

/// What a reader hands to its writer.
enum Item {
    /// A whole message, with its payload where it can be looked at.
    Message {
        raw: Bytes,
        payload: Option<Bytes>,
        arrived: Instant,
        began: Arrival,
        /// Whether all of it is here; the rest of one that passes unseen follows.
        is_whole: bool,
    },
    /// A control frame; the code, where it closes.
    Control {
        raw: Bytes,
        closes: Option<Option<u16>>,
    },
    /// More of a message that passes unseen, and whether that was its end.
    More(Bytes, bool),
    /// What is no frame.
    Bad(BadFrame),
}

/// Something of ours for the client.
enum Ours {
    /// A frame; the connection goes on.
    Frame(Bytes),
    /// Frames after which the connection is closed.
    Last(Bytes),
}

/// The parties of one WebSocket.
pub(super) struct Parties<'a, R, W, S, T> {
    pub(super) client: (&'a mut Inlet<R>, &'a mut W),
    pub(super) upstream: (&'a mut Inlet<S>, &'a mut T),
}

/// What one WebSocket's messages have in common.
struct Socket {
    shared: Arc<Shared>,
    life: Arc<Life>,
    connection: u64,
    /// The app's key.
    app: Arc<str>,
    may_compress: bool,
}

/// Carries a WebSocket until it is over. `exchange` is its handshake, which is over with the
/// server's first message.
pub(super) async fn carry<R, W, S, T>(
    desk: &Desk,
    mut exchange: Exchange,
    faults: &watch::Receiver<Arc<FaultSet>>,
    parties: Parties<'_, R, W, S, T>,
) -> Over
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let (
        Desk::Dependency {
            connection,
            life,
            shared,
        },
        Some(call),
    ) = (desk, exchange.call())
    else {
        return Over::left("no dependency's connection");
    };
    let call = call.clone();
    let Some(entered) = exchange.socket.take() else {
        return Over::left("no WebSocket");
    };
    let socket = Socket {
        shared: Arc::clone(shared),
        life: Arc::clone(life),
        connection: *connection,
        app: Arc::clone(&call.key),
        may_compress: exchange.answer_header("sec-websocket-extensions").is_some(),
    };
    let handshake = Mutex::new(Some(exchange));
    let (to_up, from_client) = mpsc::channel(QUEUE_MAX);
    let (to_down, from_upstream) = mpsc::channel(QUEUE_MAX);
    let (ours, of_ours) = mpsc::channel(OURS_MAX);
    let up = Up {
        socket: &socket,
        faults: faults.clone(),
        to: parties.upstream.1,
        ours: ours.clone(),
    };
    let down = Down {
        socket: &socket,
        faults: faults.clone(),
        to: parties.client.1,
        ours: of_ours,
        handshake: &handshake,
        is_closing: false,
    };
    let reading = async {
        let linger = socket.shared.config.limits.linger;
        let leaving = async {
            read(&socket, Direction::Up, parties.client.0, to_up).await;
            // What is still on its way may settle; a WebSocket is not closed by halves.
            sleep(linger).await;
        };
        let listening = async {
            read(&socket, Direction::Down, parties.upstream.0, to_down).await;
            pending().await
        };
        tokio::select! {
            () = leaving => {}
            () = listening => {}
        }
    };
    let writing = async {
        match tokio::try_join!(up.run(from_client), down.run(from_upstream)) {
            Ok(_) => Over::orderly("both sides closed after an upgrade"),
            Err(over) => over,
        }
    };
    let over = tokio::select! {
        biased;
        over = writing => over,
        () = reading => Over::left("client closed"),
        () = watch_faults(&socket, &entered, call, faults.clone(), ours) => {
            Over::left("client closed")
        }
    };
    let unanswered = handshake.lock().take();
    if let Some(mut handshake) = unanswered {
        // Its end is the connection's.
        handshake.finish(AttemptEnd::GaveUp);
    }
    over
}

/// Asks the faults about the open socket whenever their set changes, and tells the client what
/// they say.
async fn watch_faults(
    socket: &Socket,
    entered: &Entered,
    mut call: Call,
    mut faults: watch::Receiver<Arc<FaultSet>>,
    ours: mpsc::Sender<Ours>,
) {
    // The set in force now has decided about its `Connect`.
    while faults.changed().await.is_ok() {
        let set = Arc::clone(&faults.borrow_and_update());
        if set.acts_on_sockets() {
            call.place = Some(entered.place(true));
            let decision = set.request(&call, socket.shared.now());
            if let Some(End::Reply(Reply::Pusher {
                code,
                reason,
                in_close,
            })) = decision.end
            {
                socket.note_close(code, &decision.acted);
                socket.life.ended_by(&decision.acted);
                let last = Ours::Last(pusher::goodbye(code, &reason, in_close));
                // The writer is there as long as this is.
                let _ = ours.send(last).await;
                return pending().await;
            }
        }
    }
    pending().await
}

impl Socket {
    /// An observation of a message.
    fn statement(&self, recognised: Recognised, began: impl Into<Arrival>) -> Statement {
        Statement::new(&self.shared, &self.life, self.connection, recognised, began)
    }

    /// Keeps of a message what the dependency's `capture` asks for.
    fn capture(&self, message: &[u8], statement: &mut Statement) {
        statement.capture(captured_of(message, &self.shared.config.capture));
    }

    /// Notes that the connection is closed with a code, for which these faults are to blame.
    fn note_close(&self, code: u16, faults: &[FaultId]) {
        let recognised = Recognised {
            operation: "Close".into(),
            key: Arc::clone(&self.app),
            ..Recognised::default()
        };
        let mut statement = self.statement(recognised, self.shared.now());
        statement.acted(faults);
        statement.code(code.to_string());
        statement.upstream_answered(Applied::No);
        statement.finish(AttemptEnd::Answered);
    }
}

/// Reads frames until the peer has closed.
async fn read<R: AsyncRead + Unpin>(
    socket: &Socket,
    direction: Direction,
    from: &mut Inlet<R>,
    to: mpsc::Sender<Item>,
) {
    let mut reader = Reader {
        is_client: direction == Direction::Up,
        may_compress: socket.may_compress,
        unseen: 0,
        is_unseen: false,
        message: None,
    };
    loop {
        match reader.next(from.bytes()) {
            Ok(Some((len, item))) => {
                from.consume(len);
                let Some(mut item) = item else { continue };
                if let Item::Message { arrived, began, .. } = &mut item {
                    *arrived = Instant::now();
                    *began = match direction {
                        Direction::Up => socket.life.arrival(),
                        Direction::Down => socket.shared.now().into(),
                    };
                }
                if to.send(item).await.is_err() {
                    return;
                }
            }
            Ok(None) => match from.fill().await {
                // A frame that breaks off never was one; what came of it is of no use.
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            Err(bad) => {
                // Where nobody takes it any more the connection is over anyway.
                let _ = to.send(Item::Bad(bad)).await;
                return;
            }
        }
    }
}

/// Finds frames and puts messages together. Knows no socket.
struct Reader {
    is_client: bool,
    may_compress: bool,
    /// Bytes of a frame that passes unseen and are still to come.
    unseen: u64,
    /// Whether the message under way passes unseen.
    is_unseen: bool,
    message: Option<Parts>,
}

/// A message as far as it has come.
struct Parts {
    raw: BytesMut,
    payload: BytesMut,
    is_text: bool,
}

type Found = Option<(usize, Option<Item>)>;

impl Reader {
    /// What the first bytes are, and how many of them are so used. `None`: more are needed.
    fn next(&mut self, bytes: &[u8]) -> Result<Found, BadFrame> {
        if self.unseen > 0 {
            if bytes.is_empty() {
                return Ok(None);
            }
            let len =
                usize::try_from(self.unseen).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.unseen -= len as u64;
            let more = Item::More(Bytes::copy_from_slice(&bytes[..len]), self.is_between());
            return Ok(Some((len, Some(more))));
        }
        let Some(head) = read_head(bytes, self.is_client, self.may_compress)? else {
            return Ok(None);
        };
        if head.opcode.is_control() {
            return Ok(control(bytes, &head));
        }
        let begins = head.opcode != Opcode::Continuation;
        let is_under_way = self.message.is_some() || self.is_unseen;
        if begins == is_under_way {
            // A message within a message, or the rest of none.
            return Err(BadFrame::Opcode);
        }
        let so_far = self.message.as_ref().map_or(0, |parts| parts.raw.len());
        let room = MESSAGE_BYTES_MAX.saturating_sub(so_far + websocket::HEAD_BYTES_MAX);
        if self.is_unseen || head.is_compressed || head.payload > room as u64 {
            return Ok(Some(self.pass_unseen(bytes, &head)));
        }
        self.gather(bytes, &head)
    }

    /// Whether no message that passes unseen is under way.
    fn is_between(&self) -> bool {
        self.unseen == 0 && !self.is_unseen
    }

    /// The head of a frame that passes unseen, behind what was kept of its message.
    fn pass_unseen(&mut self, bytes: &[u8], head: &Head) -> (usize, Option<Item>) {
        let is_first = !self.is_unseen;
        self.unseen = head.payload;
        self.is_unseen = !head.is_last;
        let mut raw = self
            .message
            .take()
            .map_or_else(BytesMut::new, |parts| parts.raw);
        raw.extend_from_slice(&bytes[..head.len]);
        let raw = raw.freeze();
        let item = if is_first {
            Item::Message {
                raw,
                payload: None,
                arrived: Instant::now(),
                began: Micros(0).into(),
                is_whole: self.is_between(),
            }
        } else {
            Item::More(raw, self.is_between())
        };
        (head.len, Some(item))
    }

    fn gather(&mut self, bytes: &[u8], head: &Head) -> Result<Found, BadFrame> {
        let Some(payload) = usize::try_from(head.payload)
            .ok()
            .and_then(|payload| bytes.get(head.len..head.len + payload))
        else {
            return Ok(None);
        };
        let len = head.len + payload.len();
        let parts = self.message.get_or_insert_with(|| Parts {
            raw: BytesMut::new(),
            payload: BytesMut::new(),
            is_text: head.opcode == Opcode::Text,
        });
        let start = parts.payload.len();
        parts.raw.extend_from_slice(&bytes[..len]);
        parts.payload.extend_from_slice(payload);
        if let Some(mask) = head.mask {
            unmask(&mut parts.payload[start..], mask, 0);
        }
        if !head.is_last {
            return Ok(Some((len, None)));
        }
        let item = self.message.take().map(|parts| Item::Message {
            raw: parts.raw.freeze(),
            payload: parts.is_text.then(|| parts.payload.freeze()),
            arrived: Instant::now(),
            began: Micros(0).into(),
            is_whole: true,
        });
        Ok(Some((len, item)))
    }
}

fn control(bytes: &[u8], head: &Head) -> Found {
    let len = head.len + usize::try_from(head.payload).ok()?;
    let raw = bytes.get(..len)?;
    let mut payload = raw[head.len..].to_vec();
    if let Some(mask) = head.mask {
        unmask(&mut payload, mask, 0);
    }
    let closes = (head.opcode == Opcode::Close).then(|| close_code(&payload));
    let raw = Bytes::copy_from_slice(raw);
    Some((len, Some(Item::Control { raw, closes })))
}

/// What becomes of a message.
enum Fate {
    Pass(Option<(Then, FaultId)>),
    Reply(Reply),
    Close(Closing),
}

/// Asks the faults about a message until it may pass, or is not to. Its delays count from its
/// arrival; whatever holds its connection as a whole holds it too.
async fn decide(
    direction: Direction,
    statement: &mut Statement,
    arrived: Instant,
    faults: &mut watch::Receiver<Arc<FaultSet>>,
) -> Fate {
    statement.room().await;
    let mut holding = statement.held_by();
    loop {
        let set = Arc::clone(&faults.borrow_and_update());
        let decision = match statement.call() {
            Some(call) if set.acts_on_requests() => set.request(call, statement.now()),
            _ => Default::default(),
        };
        if !decision.is_pass() {
            statement.acted(&decision.acted);
            statement.decided_by(set);
        }
        if !decision.delay.is_zero() {
            let delay = (arrived + decision.delay).saturating_duration_since(Instant::now());
            statement.held();
            if hold(faults, pending(), &decision.acted, Some(delay)).await == Held::Lifted {
                statement.released();
                continue;
            }
            statement.goes_on();
        }
        match (decision.end, decision.acted.last().copied()) {
            (Some(End::Hang), Some(who)) => {
                statement.held();
                lifted(faults, &[who]).await;
                statement.released();
                continue;
            }
            (Some(End::Close(closing)), _) => return Fate::Close(closing),
            (Some(End::Reply(reply)), _) => return Fate::Reply(reply),
            (Some(End::Forward(Then::Late(late))), Some(who)) if direction == Direction::Down => {
                let delay = (arrived + late).saturating_duration_since(Instant::now());
                statement.held();
                hold(faults, pending(), &[who], Some(delay)).await;
                statement.goes_on();
            }
            (Some(End::Forward(then)), Some(who)) => return Fate::Pass(Some((then, who))),
            _ => {}
        }
        let Some(holding) = &mut holding else {
            return Fate::Pass(None);
        };
        let held_by = holding.borrow_and_update().clone();
        if held_by.is_empty() {
            return Fate::Pass(None);
        }
        statement.held();
        let mut held_by = held_by;
        while !held_by.is_empty() {
            statement.acted(&held_by);
            // Its sender lives as long as the connection.
            if holding.changed().await.is_err() {
                break;
            }
            held_by.clone_from(&holding.borrow_and_update());
        }
        statement.released();
    }
}

/// What a writer does next.
enum Next {
    /// The next item.
    Go,
    /// Nothing more of the message under way.
    Skip,
}

fn cut(statement: &mut Statement, closing: Closing) -> Over {
    statement.finish(AttemptEnd::Cut);
    let how = match closing {
        Closing::Reset | Closing::ResetAfter(_) => "reset by fault",
        _ => "closed by fault",
    };
    Over::cut(how, closing)
}

/// The writer towards the dependency.
struct Up<'a, W> {
    socket: &'a Socket,
    faults: watch::Receiver<Arc<FaultSet>>,
    to: &'a mut W,
    ours: mpsc::Sender<Ours>,
}

impl<W: AsyncWrite + Unpin> Up<'_, W> {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) -> Result<(), Over> {
        let mut is_skipping = false;
        while let Some(item) = items.recv().await {
            match item {
                Item::Control { raw, .. } => self.write(&raw).await?,
                Item::More(..) if is_skipping => {}
                Item::More(raw, _) => self.write(&raw).await?,
                Item::Bad(bad) => return Err(self.bad(bad)),
                Item::Message {
                    raw,
                    payload,
                    arrived,
                    began,
                    ..
                } => {
                    let next = self
                        .message(&raw, payload.as_deref(), arrived, began)
                        .await?;
                    is_skipping = matches!(next, Next::Skip);
                }
            }
        }
        // What the dependency still says, or its going, tells more than a failure here.
        let _ = self.to.shutdown().await;
        Ok(())
    }

    async fn write(&mut self, raw: &[u8]) -> Result<(), Over> {
        let broke = |_| Over::cut("upstream broke off", Closing::Reset);
        self.to.write_all(raw).await.map_err(broke)?;
        self.to.flush().await.map_err(broke)
    }

    /// Garbage of the client's: the dependency's own view of it is not waited for.
    fn bad(&self, bad: BadFrame) -> Over {
        note_bad(self.socket, bad);
        Over::cut(format!("client sent {bad}"), Closing::Fin)
    }

    async fn message(
        &mut self,
        raw: &[u8],
        payload: Option<&[u8]>,
        arrived: Instant,
        began: Arrival,
    ) -> Result<Next, Over> {
        let text = payload.unwrap_or_default();
        let recognised = pusher::recognise_message(Direction::Up, text);
        let mut statement = self.socket.statement(recognised, began);
        self.socket.capture(text, &mut statement);
        statement.add_up(raw.len());
        match decide(Direction::Up, &mut statement, arrived, &mut self.faults).await {
            Fate::Close(closing) => Err(cut(&mut statement, closing)),
            Fate::Reply(reply) => self.reply(&mut statement, reply).await.map(|()| Next::Skip),
            Fate::Pass(then) => {
                self.write(raw).await?;
                statement.sent_whole();
                match then {
                    Some((Then::Reply(reply), _)) => self.reply(&mut statement, reply).await?,
                    Some((Then::Close(closing), _)) => return Err(cut(&mut statement, closing)),
                    Some((_, who)) => statement.did_not_act(who),
                    None => {}
                }
                statement.finish(AttemptEnd::Answered);
                Ok(Next::Go)
            }
        }
    }

    /// Answers in the dependency's stead, or drops the message.
    async fn reply(&mut self, statement: &mut Statement, reply: Reply) -> Result<(), Over> {
        let ours = match reply {
            Reply::Nothing => {
                statement.finish(AttemptEnd::Cut);
                return Ok(());
            }
            Reply::Pusher {
                code,
                reason,
                in_close,
            } => {
                statement.code(code.to_string());
                answer(code, &reason, in_close)
            }
            Reply::Garbage(bytes) => Ours::Last(bytes),
            _ => Ours::Last(Bytes::new()),
        };
        statement.finish(AttemptEnd::Answered);
        // The writer to the client is there as long as this is.
        let _ = self.ours.send(ours).await;
        Ok(())
    }
}

/// A code as an error on the connection, which then ends unless the code leaves it open.
fn answer(code: u16, reason: &str, in_close: bool) -> Ours {
    if pusher::class_of(code) == Some(Class::Other) {
        let event = pusher::error_event(code, reason);
        return Ours::Frame(server_frame(Opcode::Text, event.as_bytes()));
    }
    Ours::Last(pusher::goodbye(code, reason, in_close))
}

fn note_bad(socket: &Socket, bad: BadFrame) {
    let recognised = Recognised {
        operation: "malformed".into(),
        key: bad.to_string().into(),
        ..Recognised::default()
    };
    let mut statement = socket.statement(recognised, socket.shared.now());
    statement.finish(AttemptEnd::UpstreamFailed);
}

/// The writer towards the client.
struct Down<'a, W> {
    socket: &'a Socket,
    faults: watch::Receiver<Arc<FaultSet>>,
    to: &'a mut W,
    ours: mpsc::Receiver<Ours>,
    /// The handshake, until the server's first message.
    handshake: &'a Mutex<Option<Exchange>>,
    is_closing: bool,
}

impl<W: AsyncWrite + Unpin> Down<'_, W> {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) -> Result<(), Over> {
        let mut is_skipping = false;
        // Nothing of ours may stand within a message.
        let mut is_amid = false;
        loop {
            let item = tokio::select! {
                biased;
                Some(ours) = self.ours.recv(), if !is_amid => {
                    write_ours(self.to, ours).await?;
                    continue;
                }
                item = items.recv() => item,
            };
            match item {
                None => break,
                Some(Item::Control { raw, closes }) => self.control(&raw, closes).await?,
                Some(Item::More(..)) if is_skipping => {}
                Some(Item::More(raw, is_end)) => {
                    self.write(&raw).await?;
                    is_amid = !is_end;
                }
                Some(Item::Bad(bad)) => return Err(self.bad(bad)),
                Some(Item::Message {
                    raw,
                    payload,
                    arrived,
                    began,
                    is_whole,
                }) => {
                    let next = self
                        .message(&raw, payload.as_deref(), arrived, began)
                        .await?;
                    is_skipping = matches!(next, Next::Skip);
                    is_amid = !is_whole && !is_skipping;
                }
            }
        }
        self.upstream_failed();
        // A client that is gone needs no goodbye.
        let _ = self.to.shutdown().await;
        Ok(())
    }

    async fn write(&mut self, raw: &[u8]) -> Result<(), Over> {
        write_client(self.to, raw).await
    }

    /// The dependency said nothing before it left.
    fn upstream_failed(&self) {
        let handshake = self.handshake.lock().take();
        if let Some(mut handshake) = handshake {
            handshake.finish(AttemptEnd::UpstreamFailed);
        }
    }

    async fn control(&mut self, raw: &[u8], closes: Option<Option<u16>>) -> Result<(), Over> {
        self.write(raw).await?;
        let Some(code) = closes else { return Ok(()) };
        let handshake = self.handshake.lock().take();
        match handshake {
            Some(handshake) => refused(handshake, code),
            None if !self.is_closing => {
                if let Some(code) = code {
                    self.socket.note_close(code, &[]);
                }
            }
            None => {}
        }
        self.is_closing = true;
        Ok(())
    }

    fn bad(&mut self, bad: BadFrame) -> Over {
        note_bad(self.socket, bad);
        self.upstream_failed();
        Over::cut(format!("upstream sent {bad}"), Closing::Fin)
    }

    async fn message(
        &mut self,
        raw: &[u8],
        payload: Option<&[u8]>,
        arrived: Instant,
        began: Arrival,
    ) -> Result<Next, Over> {
        let text = payload.unwrap_or_default();
        let recognised = pusher::recognise_message(Direction::Down, text);
        let mut statement = self.socket.statement(recognised, began);
        self.socket.capture(text, &mut statement);
        let code = pusher::error_code(text);
        if let Some(code) = code {
            statement.code(code.to_string());
        }
        let mut faults = self.faults.clone();
        let fate = {
            let deciding = decide(Direction::Down, &mut statement, arrived, &mut faults);
            tokio::pin!(deciding);
            loop {
                tokio::select! {
                    biased;
                    Some(ours) = self.ours.recv() => {
                        write_ours(self.to, ours).await?;
                    }
                    fate = &mut deciding => break fate,
                }
            }
        };
        match fate {
            Fate::Close(closing) => Err(cut(&mut statement, closing)),
            Fate::Reply(reply) => self.reply(&mut statement, reply).await,
            Fate::Pass(then) => {
                statement.add_down(raw.len());
                self.write(raw).await?;
                statement.upstream_answered(if code.is_some() {
                    Applied::No
                } else {
                    Applied::Yes
                });
                statement.settle().await;
                let handshake = self.handshake.lock().take();
                match handshake {
                    Some(handshake) if code.is_some() => refused(handshake, code),
                    Some(mut handshake) => handshake.finish(AttemptEnd::Answered),
                    None => {}
                }
                match then {
                    Some((Then::Close(closing), _)) => return Err(cut(&mut statement, closing)),
                    Some((_, who)) => statement.did_not_act(who),
                    None => {}
                }
                statement.finish(AttemptEnd::Answered);
                Ok(Next::Go)
            }
        }
    }

    /// Says this in the message's stead, or nothing.
    async fn reply(&mut self, statement: &mut Statement, reply: Reply) -> Result<Next, Over> {
        statement.upstream_answered(Applied::No);
        let ours = match reply {
            Reply::Nothing => {
                statement.finish(AttemptEnd::Cut);
                return Ok(Next::Skip);
            }
            Reply::Pusher {
                code,
                reason,
                in_close,
            } => {
                statement.code(code.to_string());
                answer(code, &reason, in_close)
            }
            Reply::Garbage(bytes) => Ours::Last(bytes),
            _ => Ours::Last(Bytes::new()),
        };
        statement.finish(AttemptEnd::Cut);
        write_ours(self.to, ours).await?;
        Ok(Next::Skip)
    }
}

/// The server refused the connection with this code, in its first message or its close.
fn refused(mut handshake: Exchange, code: Option<u16>) {
    handshake.code = code.map(|code| code.to_string().into());
    handshake.finish(AttemptEnd::Answered);
}

async fn write_client<W: AsyncWrite + Unpin>(client: &mut W, raw: &[u8]) -> Result<(), Over> {
    let gone = |_| Over::left("client closed");
    client.write_all(raw).await.map_err(gone)?;
    client.flush().await.map_err(gone)
}

async fn write_ours<W: AsyncWrite + Unpin>(client: &mut W, ours: Ours) -> Result<(), Over> {
    match ours {
        Ours::Frame(frame) => write_client(client, &frame).await,
        Ours::Last(frames) => {
            write_client(client, &frames).await?;
            Err(Over::orderly("closed by a fault's answer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a reader makes of bytes that come in pieces of these sizes: the bytes that pass, and
    /// the messages that can be looked at.
    fn read_in(pieces: &[usize], bytes: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), BadFrame> {
        let mut reader = Reader {
            is_client: false,
            may_compress: false,
            unseen: 0,
            is_unseen: false,
            message: None,
        };
        let (mut passed, mut seen) = (Vec::new(), Vec::new());
        let (mut start, mut end) = (0, 0);
        let mut sizes = pieces.iter().cycle();
        loop {
            while let Some((len, item)) = reader.next(&bytes[start..end])? {
                start += len;
                match item {
                    Some(Item::Message { raw, payload, .. }) => {
                        passed.extend_from_slice(&raw);
                        seen.extend(payload.map(|payload| payload.to_vec()));
                    }
                    Some(Item::More(raw, _) | Item::Control { raw, .. }) => {
                        passed.extend_from_slice(&raw);
                    }
                    Some(Item::Bad(bad)) => return Err(bad),
                    None => {}
                }
            }
            if end == bytes.len() {
                return Ok((passed, seen));
            }
            end = bytes
                .len()
                .min(end + sizes.next().copied().unwrap_or(1).max(1));
        }
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = server_frame(Opcode::Text, payload).to_vec();
        bytes[0] = first;
        bytes
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages_and_loses_no_byte(
            pieces in proptest::collection::vec(1usize..5_000, 1..8),
            texts in proptest::collection::vec(".{0,40}", 1..6),
            large in 60_000usize..80_000,
        ) {
            let mut bytes = Vec::new();
            for text in &texts {
                let (one, other) = text.as_bytes().split_at(text.len() / 2);
                bytes.extend(frame(0x01, one));
                bytes.extend(frame(0x80, other));
            }
            bytes.extend(frame(0x81, &vec![b'x'; large]));
            bytes.extend(frame(0x89, b"ping"));
            let (passed, seen) = read_in(&pieces, &bytes).unwrap();
            prop_assert_eq!(&passed, &bytes);
            prop_assert_eq!(read_in(&[bytes.len()], &bytes).unwrap(), (passed, seen.clone()));
            for (text, seen) in texts.iter().zip(&seen) {
                prop_assert_eq!(text.as_bytes(), &seen[..]);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            pieces in proptest::collection::vec(1usize..20, 1..4),
        ) {
            let whole = read_in(&[bytes.len()], &bytes);
            prop_assert_eq!(read_in(&pieces, &bytes).is_ok(), whole.is_ok());
        }
    }

    #[test]
    fn a_message_within_a_message_and_the_rest_of_none_are_refused() {
        let within = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
        assert_eq!(read_in(&[9], &within), Err(BadFrame::Opcode));
        assert_eq!(read_in(&[9], &frame(0x80, b"b")), Err(BadFrame::Opcode));
    }
}
