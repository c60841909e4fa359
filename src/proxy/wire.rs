//! The client's side of a connection as a wire on which byte-stream and connection faults act.
//!
//! Two parties hold it: the engine, which reads and writes through a [`WireStream`], and one
//! driver, which [`Wire::drive`]s it. While the wire is *clear* (no effect, no hold, nothing
//! queued) the engine works straight on the socket and the driver sleeps. Otherwise the driver
//! alone touches the socket, and between it and the engine stand two [`Shaper`]s. Both change
//! hands under one lock, which is held for a system call at most and never across a wait.
//!
//! Decides nothing, and knows no switch: what acts is set from outside.

use super::{
    reserve::Reserved,
    shape::{Next, Shaper},
};
use crate::{
    fault::{Closing, Direction, FaultId, StreamPlan},
    timer::{Delay, sleep_until},
};
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use socket2::SockRef;
use std::{
    io,
    net::Shutdown,
    ops::Range,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// A cut behind the last byte towards the dependency is made when the engine asks for more, which
/// shows that it has passed on what it had; at the latest after this time.
const CUT_GRACE: Duration = Duration::from_millis(100);

/// The time in which a client that is gone answers what it was sent with RST.
const RESET_TIME_MAX: Duration = Duration::from_millis(10);

/// How often it is looked whether a client has left whose bytes nobody takes.
const LOOK: Duration = Duration::from_millis(20);

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    held_bytes: usize,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// Whether it was ever not clear: before that there is nothing to tell of its bytes.
    was_shaped: AtomicBool,
    state: Mutex<State>,
}

/// Where in the bytes of a wire something of the client's begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// When it arrived; `None`: when the engine read it.
    pub(super) arrived: Option<Instant>,
    /// When the engine read it, unless nothing was read yet.
    pub(super) read: Option<Instant>,
    /// The bytes that the engine had read before it.
    pub(super) up: u64,
    /// The bytes that the engine had written by then.
    pub(super) down: u64,
}

/// What a wire ends in.
#[derive(Debug)]
pub(super) enum Socket {
    /// A client's TCP connection.
    Tcp(TcpStream),
    /// A pipe in memory.
    #[cfg(test)]
    Memory(Mutex<tokio::io::DuplexStream>),
}

/// How a wire's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A fault, or the engine, wants it closed so.
    Close(Closing),
    /// The engine is done, and all it wrote has been sent.
    Done,
    /// The client is gone: it closed, or reset the connection.
    ClientGone,
}

#[derive(Debug)]
struct State {
    clear: bool,
    up: Shaper,
    down: Shaper,
    /// What they may hold beside `held_bytes`.
    up_reserved: Reserved,
    down_reserved: Reserved,
    /// Passed by the shaper, not yet taken by the engine.
    up_ready: Bytes,
    /// Passed by the shaper, not yet taken by the socket.
    down_ready: Bytes,
    hold: Hold,
    read: Read,
    /// Towards the client: a FIN was sent, or stands in the queue.
    end_is_queued: bool,
    /// Towards the client: a FIN was sent.
    is_shut: bool,
    /// The socket was read to the client's FIN.
    is_read_out: bool,
    /// Towards the client: what is written is thrown away.
    is_deaf: bool,
    /// Since when it is, and how many of the bytes that the engine wrote had gone out by then.
    deaf_since: Option<(Instant, u64)>,
    /// Nothing goes any more.
    is_dead: bool,
    engine_is_gone: bool,
    /// See [`Wire::take_turns`].
    takes_turns: bool,
    /// The engine asks for the driver, whose turn is next.
    is_drivers_turn: bool,
    /// To be done once everything written before is sent.
    closing: Option<Closing>,
    /// A shaper closed the connection behind bytes towards the dependency.
    cut: Option<(Closing, Instant)>,
    /// When it did.
    cut_at: Option<Instant>,
    /// When the client was seen to close its direction, or to be gone, by the driver.
    left_at: Option<Instant>,
    /// When bytes went out last.
    went_out_at: Option<Instant>,
    /// Where the bytes begin that the engine read last, when it did, and when they had arrived
    /// where a shaper held them.
    read_from: u64,
    read_at: Option<Instant>,
    arrived: Option<Instant>,
    /// When the driver next looks at the shaper towards the dependency by itself.
    up_due: Option<Instant>,
    /// Bytes that the engine wrote so far.
    written: u64,
    /// The engine wants to know when the byte after this many has gone out.
    mark: Option<u64>,
    /// When it had.
    marked: Option<Instant>,
    /// Who waits until what was written has gone out.
    sent: Vec<Waker>,
    engine_reads: Option<Waker>,
    engine_writes: Option<Waker>,
    driver: Option<Waker>,
}

/// What is held back, beside what the shapers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    Free,
    /// Nothing is sent to the client; what it sends passes.
    Down,
    /// Both ways.
    Both,
}

/// What was seen of the client's sending side while the driver read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Open,
    Ended,
    Failed(io::ErrorKind),
}

/// What an operation straight on the socket came to.
pub(super) enum Direct<T> {
    /// It was done.
    Done(T),
    /// The wire is not clear: the bytes must go through its shapers.
    NotClear,
}

impl Wire {
    /// A clear wire. At most `held_bytes` are held back per direction; then nothing more is taken.
    pub(super) fn new(socket: Socket, held_bytes: usize) -> Self {
        let state = State {
            clear: true,
            up: Shaper::new(Direction::Up),
            down: Shaper::new(Direction::Down),
            up_reserved: Reserved::none(),
            down_reserved: Reserved::none(),
            up_ready: Bytes::new(),
            down_ready: Bytes::new(),
            hold: Hold::Free,
            read: Read::Open,
            end_is_queued: false,
            is_shut: false,
            is_read_out: false,
            up_due: None,
            written: 0,
            mark: None,
            marked: None,
            sent: Vec::new(),
            is_deaf: false,
            deaf_since: None,
            is_dead: false,
            engine_is_gone: false,
            takes_turns: false,
            is_drivers_turn: false,
            closing: None,
            cut: None,
            cut_at: None,
            left_at: None,
            went_out_at: None,
            read_from: 0,
            read_at: None,
            arrived: None,
            engine_reads: None,
            engine_writes: None,
            driver: None,
        };
        Self {
            socket,
            held_bytes,
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            was_shaped: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Bytes from and to the client so far, as they went over the socket.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (
            self.bytes_up.load(Ordering::Relaxed),
            self.bytes_down.load(Ordering::Relaxed),
        )
    }

    /// Puts effects and hold in force, at once.
    pub(super) fn set(&self, plan: &StreamPlan, hold: Hold) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.up.set(&plan.effects, now);
        state.down.set(&plan.effects, now);
        state.hold = hold;
        state.settle();
        if !state.clear {
            self.was_shaped.store(true, Ordering::Relaxed);
        }
        state.wake_all();
    }

    /// Which faults acted on bytes since this was last asked.
    pub(super) fn take_acted(&self) -> Vec<FaultId> {
        let mut state = self.state.lock();
        let mut acted = state.up.take_acted();
        acted.extend(state.down.take_acted());
        acted
    }

    /// Where that begins which the engine has read last.
    pub(super) fn place(&self) -> Place {
        let state = self.state.lock();
        Place {
            arrived: state.arrived,
            read: state.read_at,
            up: state.read_from,
            down: state.down.pushed(),
        }
    }

    /// How many bytes the engine has read, and written.
    pub(super) fn carried(&self) -> (u64, u64) {
        if !self.was_shaped.load(Ordering::Relaxed) {
            return self.bytes();
        }
        let state = self.state.lock();
        (state.read_up(), state.down.pushed())
    }

    /// When the client was told the end of what it is sent, if that was before all of these bytes
    /// had gone out that the engine wrote: the others were thrown away.
    pub(super) fn swallowed(&self, down: &Range<u64>) -> Option<Instant> {
        let state = self.state.lock();
        let (since, out) = state.deaf_since?;
        let end = down.end.min(state.down.pushed());
        (end > down.start && end > out).then_some(since)
    }

    /// Who acted on any of these bytes: of those that the engine read, and of those that it wrote.
    pub(super) fn acted_on(&self, up: Range<u64>, down: Range<u64>) -> Vec<FaultId> {
        let mut acted = Vec::new();
        if self.was_shaped.load(Ordering::Relaxed) {
            let state = self.state.lock();
            let up_end = up.end.min(state.read_up());
            state.up.acted_on(up.start, up_end, &mut acted);
            state.down.acted_on(down.start, down.end, &mut acted);
        }
        acted
    }

    /// Whether the first so many bytes that the engine wrote have gone out.
    pub(super) fn is_out(&self, count: u64) -> bool {
        !self.was_shaped.load(Ordering::Relaxed) || self.state.lock().out() >= count
    }

    /// Comes back when they have, or never will.
    pub(super) async fn out(&self, count: u64) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            let is_over = state.clear || state.is_deaf || state.is_dead;
            if is_over || state.out() >= count || state.down.pushed() < count {
                return Poll::Ready(());
            }
            state.awaits_sent(cx);
            Poll::Pending
        })
        .await;
    }

    /// When the client was seen to leave while the wire was not clear.
    pub(super) fn left_at(&self) -> Option<Instant> {
        self.state.lock().left_at
    }

    /// The same, if it left before what was written had gone out.
    pub(super) fn left_early(&self) -> Option<Instant> {
        let state = self.state.lock();
        let left = state.left_at?;
        state.went_out_at.is_none_or(|at| left < at).then_some(left)
    }

    /// When a fault cut the connection behind bytes of the client's, if one did.
    pub(super) fn cut_at(&self) -> Option<Instant> {
        self.state.lock().cut_at
    }

    /// When a fault told the client the end of what it is sent, if one did.
    pub(super) fn deaf_since(&self) -> Option<Instant> {
        self.state.lock().deaf_since.map(|(since, _)| since)
    }

    /// Which faults have cut the connection at a byte.
    pub(super) fn cut_by(&self) -> Vec<FaultId> {
        let state = self.state.lock();
        let cut_by = [state.up.cut_by(), state.down.cut_by()];
        cut_by.into_iter().flatten().collect()
    }

    /// Which faults keep the client waiting until they are lifted.
    pub(super) fn stalled_by(&self) -> Vec<FaultId> {
        let state = self.state.lock();
        let stalled_by = [state.up.stalled_by(), state.down.stalled_by()];
        stalled_by.into_iter().flatten().collect()
    }

    /// Comes back when all that the engine has written until now went over the socket, or never
    /// will.
    pub(super) async fn sent(&self) {
        let mut wanted = None;
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            let wanted = *wanted.get_or_insert(state.written);
            let is_over = state.clear || state.is_deaf || state.is_dead;
            if is_over || self.bytes_down.load(Ordering::Relaxed) >= wanted {
                return Poll::Ready(());
            }
            state.awaits_sent(cx);
            Poll::Pending
        })
        .await;
    }

    /// From now on [`Wire::marked`] tells when the next byte that the engine writes has gone out.
    /// On a clear wire nothing is held back, and nothing is marked.
    pub(super) fn mark(&self) {
        let mut state = self.state.lock();
        state.mark = (!state.clear).then_some(state.written);
        state.marked = None;
    }

    /// When the byte after the mark went out.
    pub(super) fn marked(&self) -> Option<Instant> {
        self.state.lock().marked
    }

    /// Closes it once everything written so far is sent.
    pub(super) fn close(&self, closing: Closing) {
        let mut state = self.state.lock();
        state.closing.get_or_insert(closing);
        state.settle();
        state.wake_all();
    }

    /// Sends these bytes to the client, then FIN; nothing the engine writes follows them.
    pub(super) fn send_and_close(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        state.down.discard();
        state.down.push(bytes, Instant::now());
        state.closing.get_or_insert(Closing::Fin);
        state.settle();
        state.wake_all();
    }

    /// FIN towards the client now; what was queued and what is written from now on is thrown away.
    pub(super) fn half_close(&self) {
        let mut state = self.state.lock();
        state.deafen(&self.socket);
        self.was_shaped.store(true, Ordering::Relaxed);
        state.settle();
        state.wake_all();
    }

    /// From now on one task polls first the driver, then the engine, and both again when
    /// [`Wire::is_drivers_turn`]: they need not wake each other where they would wake that task.
    pub(super) fn take_turns(&self) {
        self.state.lock().takes_turns = true;
    }

    /// Whether the engine asked for the driver since this was last asked.
    pub(super) fn is_drivers_turn(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_drivers_turn)
    }

    /// The engine is done: what it wrote is still sent, then the wire ends.
    pub(super) fn engine_is_gone(&self) {
        let mut state = self.state.lock();
        state.engine_is_gone = true;
        state.settle();
        state.wake_all();
    }

    /// The next close of the socket sends RST.
    pub(super) fn arm_reset(&self) {
        self.state.lock().is_dead = true;
        self.socket.arm_reset();
    }

    /// FIN, then reads and discards until the client closes too, at most for `linger`: closing a
    /// socket with unread bytes would send RST. Where the client has closed, nothing is left to do.
    pub(super) async fn finish(&self, linger: Duration) {
        {
            let mut state = self.state.lock();
            state.is_dead = true;
            state.shut(&self.socket);
            if state.is_read_out {
                return;
            }
        }
        let draining = std::future::poll_fn(|cx| {
            let mut scratch = [0; 4096];
            loop {
                let mut buf = ReadBuf::new(&mut scratch);
                match ready!(self.socket.poll_read(cx, &mut buf)) {
                    Ok(()) if !buf.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        // The limit is what ends a client that never closes.
        let _ = tokio::time::timeout(linger, draining).await;
    }

    /// Whether the client, who closed its direction and was then sent something, is gone: it
    /// answers with RST, for which this waits a moment.
    pub(super) async fn is_client_reset(&self) -> bool {
        match &self.socket {
            Socket::Tcp(tcp) => {
                let reset = tcp.ready(Interest::ERROR);
                matches!(timeout(RESET_TIME_MAX, reset).await, Ok(Ok(_)))
            }
            #[cfg(test)]
            Socket::Memory(_) => false,
        }
    }

    /// Comes back when the client closes its direction or resets the connection, also while
    /// nobody takes what it sent before, and says whether it was a reset. A FIN behind more than
    /// the kernel takes is not seen.
    pub(super) async fn client_left(&self) -> bool {
        match &self.socket {
            Socket::Tcp(tcp) => loop {
                match tcp.ready(Interest::READABLE | Interest::ERROR).await {
                    Ok(ready) if ready.is_error() => return true,
                    Ok(ready) if ready.is_read_closed() => return false,
                    Ok(_) => sleep(LOOK).await,
                    Err(_) => return true,
                }
            },
            #[cfg(test)]
            Socket::Memory(_) => std::future::pending().await,
        }
    }

    /// Whether the engine works straight on the socket.
    pub(super) fn is_clear(&self) -> bool {
        self.state.lock().clear
    }

    /// Tries `work`, which reads from the socket, when it is readable; only while the wire is
    /// clear. Its result counts as bytes from the client.
    #[cfg(target_os = "linux")]
    pub(super) fn poll_direct_read(
        &self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<Direct<usize>>> {
        let mut state = self.state.lock();
        let Some(tcp) = self.socket.tcp().filter(|_| state.clear) else {
            return Poll::Ready(Ok(Direct::NotClear));
        };
        loop {
            if tcp.poll_read_ready(cx)?.is_pending() {
                keep(&mut state.engine_reads, cx);
                return Poll::Pending;
            }
            match tcp.try_io(tokio::io::Interest::READABLE, || work(tcp)) {
                Ok(count) => {
                    state.is_read_out |= count == 0;
                    self.bytes_up.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(Direct::Done(count)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// As [`Wire::poll_direct_read`], for writing.
    #[cfg(target_os = "linux")]
    pub(super) fn poll_direct_write(
        &self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<Direct<usize>>> {
        let mut state = self.state.lock();
        let Some(tcp) = self.socket.tcp().filter(|_| state.clear) else {
            return Poll::Ready(Ok(Direct::NotClear));
        };
        loop {
            if tcp.poll_write_ready(cx)?.is_pending() {
                keep(&mut state.engine_writes, cx);
                return Poll::Pending;
            }
            match tcp.try_io(tokio::io::Interest::WRITABLE, || work(tcp)) {
                Ok(count) => {
                    self.bytes_down.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(Direct::Done(count)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Carries bytes as the effects want it, until the wire ends. One party calls this.
    pub(super) async fn drive(&self) -> Ending {
        let mut timer = None::<Delay>;
        std::future::poll_fn(|cx| {
            loop {
                let due = match self.poll_drive(cx) {
                    Driven::Ended(ending) => return Poll::Ready(ending),
                    Driven::Waits(due) => due,
                };
                let Some(due) = due else {
                    timer = None;
                    return Poll::Pending;
                };
                let waiting = timer.take().filter(|delay| delay.until() == due);
                let delay = timer.insert(waiting.unwrap_or_else(|| sleep_until(due)));
                ready!(Pin::new(delay).poll(cx));
            }
        })
        .await
    }

    fn poll_drive(&self, cx: &mut Context<'_>) -> Driven {
        let mut state = self.state.lock();
        keep(&mut state.driver, cx);
        let due = if state.clear {
            None
        } else {
            match self.carry(&mut state, cx) {
                Ok(due) => due,
                Err(ending) => return Driven::Ended(ending),
            }
        };
        let ending = state.ending(&self.socket);
        if state.is_deaf {
            self.was_shaped.store(true, Ordering::Relaxed);
        }
        if let Some(ending) = ending {
            return Driven::Ended(ending);
        }
        if !state.clear {
            state.settle();
            if state.clear {
                // What the engine waits for is from now on between it and the socket alone.
                state.wake_engine();
                return Driven::Waits(None);
            }
        }
        Driven::Waits(due)
    }

    /// Carries what may be carried both ways. The moment when more may.
    fn carry(&self, state: &mut State, cx: &mut Context<'_>) -> Result<Option<Instant>, Ending> {
        let now = Instant::now();
        let down = self.carry_down(state, cx, now)?;
        let up = self.carry_up(state, cx, now)?;
        state.give_back(self.held_bytes);
        state.up_due = up;
        Ok(match (up, down) {
            (Some(up), Some(down)) => Some(up.min(down)),
            (up, down) => up.or(down),
        })
    }

    fn carry_down(
        &self,
        state: &mut State,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<Option<Instant>, Ending> {
        if state.is_deaf {
            state.down.discard();
            state.down_ready.clear();
        }
        let due = loop {
            if state.hold != Hold::Free || state.is_deaf {
                break None;
            }
            if !state.down_ready.is_empty() {
                match self.socket.poll_write(cx, &state.down_ready) {
                    Poll::Pending => break None,
                    Poll::Ready(Err(_)) => return Err(Ending::ClientGone),
                    Poll::Ready(Ok(count)) => {
                        let before = self.bytes_down.fetch_add(count as u64, Ordering::Relaxed);
                        state.down_ready.advance(count);
                        state.went_out(before + count as u64, now);
                    }
                }
                continue;
            }
            match state.down.next(now) {
                Next::Pass(bytes) => state.down_ready = bytes,
                Next::End => state.shut(&self.socket),
                Next::Wait(due) => break due,
                Next::Close(Closing::HalfClose) => state.deafen(&self.socket),
                Next::Close(closing) => return Err(Ending::Close(closing)),
            }
        };
        if state.is_deaf || state.room_down(self.held_bytes, now) > 0 {
            let follows = state.takes_turns;
            call(&mut state.engine_writes, cx, follows);
        }
        Ok(due)
    }

    fn carry_up(
        &self,
        state: &mut State,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<Option<Instant>, Ending> {
        self.take_in(state, cx, now);
        if let Some((closing, at)) = state.cut {
            return if at <= now {
                Err(Ending::Close(closing))
            } else {
                Ok(Some(at))
            };
        }
        // A client that closes while it is kept waiting has given up. One that merely closed its
        // sending side looks the same from here, and is given up too.
        if state.read != Read::Open && state.is_frozen() {
            return Err(Ending::ClientGone);
        }
        if state.engine_is_gone {
            state.up.discard();
            state.up_ready.clear();
            return Ok(None);
        }
        if state.hold == Hold::Both {
            return Ok(None);
        }
        if let Some(closing) = state.up.closes(now) {
            let at = now + CUT_GRACE;
            state.cut = Some((closing, at));
            state.cut_at = Some(now);
            wake(&mut state.engine_reads);
            return Ok(Some(at));
        }
        let due = state.up.due(now);
        if !state.up_ready.is_empty()
            || due.is_some_and(|due| due <= now)
            || matches!(state.read, Read::Failed(_))
        {
            let follows = state.takes_turns;
            call(&mut state.engine_reads, cx, follows);
        }
        Ok(due.filter(|due| *due > now))
    }

    /// Reads what the client sent, as far as there is room.
    fn take_in(&self, state: &mut State, cx: &mut Context<'_>, now: Instant) {
        while state.read == Read::Open {
            let room = state.room_up(self.held_bytes, now).min(CHUNK);
            if room == 0 {
                return;
            }
            match self.socket.poll_take(cx, room) {
                Poll::Pending => return,
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                    state.is_read_out = true;
                    state.read = Read::Ended;
                    state.left_at = Some(now);
                    state.up.push_end(now);
                }
                Poll::Ready(Ok(bytes)) => {
                    self.bytes_up
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    state.up.push(bytes, now);
                }
                Poll::Ready(Err(error)) => {
                    state.read = Read::Failed(error.kind());
                    state.left_at = Some(now);
                }
            }
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if state.is_dead {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.clear {
            let (before, room) = (buf.filled().len(), buf.remaining());
            let result = self.socket.poll_read(cx, buf);
            let count = buf.filled().len() - before;
            match &result {
                Poll::Pending => keep(&mut state.engine_reads, cx),
                Poll::Ready(Ok(())) => {
                    state.is_read_out |= count == 0 && room > 0;
                    state.is_being_read(None);
                    state.up.went_by(count);
                }
                Poll::Ready(Err(_)) => {}
            }
            self.bytes_up.fetch_add(count as u64, Ordering::Relaxed);
            return result;
        }
        if state.hold == Hold::Both {
            keep(&mut state.engine_reads, cx);
            return Poll::Pending;
        }
        if state.up_ready.is_empty() {
            ready!(self.poll_pass_up(&mut state, cx))?;
        }
        let arrived = state.up.arrived_last();
        state.is_being_read(arrived);
        let count = state.up_ready.len().min(buf.remaining());
        buf.put_slice(&state.up_ready.split_to(count));
        Poll::Ready(Ok(()))
    }

    /// As `poll_read`, in memory of its own: what was held is handed over as it is.
    #[cfg(target_os = "linux")]
    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut state = self.state.lock();
        if state.is_dead {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.clear {
            let result = self.socket.poll_take(cx, CHUNK);
            match &result {
                Poll::Pending => keep(&mut state.engine_reads, cx),
                Poll::Ready(Ok(bytes)) => {
                    state.is_read_out |= bytes.is_empty();
                    self.bytes_up
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                Poll::Ready(Err(_)) => {}
            }
            return result;
        }
        if state.hold == Hold::Both {
            keep(&mut state.engine_reads, cx);
            return Poll::Pending;
        }
        if state.up_ready.is_empty() {
            ready!(self.poll_pass_up(&mut state, cx))?;
        }
        Poll::Ready(Ok(std::mem::take(&mut state.up_ready)))
    }

    /// Makes `up_ready` hold bytes, or leaves it empty at the end of the stream.
    fn poll_pass_up(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let limit = self.held_bytes + state.up_reserved.bytes();
        let was_full = state.up.room(limit) < CHUNK;
        match state.up.next(now) {
            Next::Pass(bytes) => {
                state.up_ready = bytes;
                state.give_back(self.held_bytes);
                if was_full {
                    state.call_driver(cx);
                }
                Poll::Ready(Ok(()))
            }
            Next::End => Poll::Ready(Ok(())),
            Next::Close(closing) => {
                state.cut = Some((closing, now));
                state.cut_at.get_or_insert(now);
                wake(&mut state.driver);
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Next::Wait(due) => {
                if let Read::Failed(kind) = state.read
                    && state.up.is_empty()
                {
                    return Poll::Ready(Err(kind.into()));
                }
                keep(&mut state.engine_reads, cx);
                if state.up_due != due {
                    state.up_due = due;
                    state.call_driver(cx);
                }
                Poll::Pending
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        if let Some(result) = self.poll_write_straight(&mut state, cx, buf) {
            return result;
        }
        let now = Instant::now();
        let count = state.room_down(self.held_bytes, now).min(buf.len());
        if count == 0 && !buf.is_empty() {
            keep(&mut state.engine_writes, cx);
            return Poll::Pending;
        }
        state.hold_down(Bytes::copy_from_slice(&buf[..count]), cx, now);
        Poll::Ready(Ok(count))
    }

    /// As `poll_write`, for bytes that may be held as they are, if there is any room at all. They
    /// are at most a chunk, and empty in the end.
    #[cfg(target_os = "linux")]
    fn poll_give(&self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        debug_assert!(
            bytes.len() <= CHUNK,
            "the room is passed by a chunk at most"
        );
        let mut state = self.state.lock();
        while !bytes.is_empty() {
            if let Some(result) = self.poll_write_straight(&mut state, cx, bytes) {
                bytes.advance(ready!(result)?);
                continue;
            }
            let now = Instant::now();
            if state.room_down(self.held_bytes, now) == 0 {
                keep(&mut state.engine_writes, cx);
                return Poll::Pending;
            }
            state.hold_down(std::mem::take(bytes), cx, now);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what goes to the socket, or nowhere; `None`: it must be held.
    fn poll_write_straight(
        &self,
        state: &mut State,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if state.is_dead {
            let reset = io::ErrorKind::ConnectionReset;
            return Some(Poll::Ready(Err(reset.into())));
        }
        if state.is_deaf {
            state.down.went_by(buf.len());
            return Some(Poll::Ready(Ok(buf.len())));
        }
        if state.closing.is_some() {
            return Some(Poll::Ready(Ok(buf.len())));
        }
        if !state.clear {
            return None;
        }
        let result = self.socket.poll_write(cx, buf);
        match &result {
            Poll::Pending => keep(&mut state.engine_writes, cx),
            Poll::Ready(Ok(count)) => {
                self.bytes_down.fetch_add(*count as u64, Ordering::Relaxed);
                state.written += *count as u64;
                state.down.went_by(*count);
            }
            Poll::Ready(Err(_)) => {}
        }
        Some(result)
    }

    fn shutdown(&self) {
        let mut state = self.state.lock();
        if state.is_dead || state.is_deaf || std::mem::replace(&mut state.end_is_queued, true) {
            return;
        }
        if state.clear {
            state.shut(&self.socket);
        } else {
            state.down.push_end(Instant::now());
            wake(&mut state.driver);
        }
    }
}

enum Driven {
    Ended(Ending),
    Waits(Option<Instant>),
}

/// Keeps who is to be woken; mostly it is known already.
fn keep(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(known) => known.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// Wakes somebody, unless that `follows` in the task that is polled now: then true.
fn call(waker: &mut Option<Waker>, cx: &Context<'_>, follows: bool) -> bool {
    let is_next = follows
        && waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()));
    if !is_next {
        wake(waker);
    }
    is_next
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// How many more bytes a shaper takes. What a latency holds beyond `held_bytes` is reserved.
fn room(shaper: &Shaper, reserved: &mut Reserved, held_bytes: usize, now: Instant) -> usize {
    let room = shaper.room(held_bytes + reserved.bytes());
    if room >= CHUNK || !shaper.is_delayed(now) {
        return room;
    }
    reserved.grow();
    shaper.room(held_bytes + reserved.bytes())
}

impl State {
    fn room_up(&mut self, held_bytes: usize, now: Instant) -> usize {
        room(&self.up, &mut self.up_reserved, held_bytes, now)
    }

    fn room_down(&mut self, held_bytes: usize, now: Instant) -> usize {
        room(&self.down, &mut self.down_reserved, held_bytes, now)
    }

    /// Gives back what is reserved and no longer wanted.
    fn give_back(&mut self, held_bytes: usize) {
        let beyond = |shaper: &Shaper| shaper.cost().saturating_sub(held_bytes);
        self.up_reserved.shrink(beyond(&self.up));
        self.down_reserved.shrink(beyond(&self.down));
    }

    /// How many bytes the engine has read.
    fn read_up(&self) -> u64 {
        self.up.passed() - self.up_ready.len() as u64
    }

    /// The engine reads bytes now which came at this moment, or have come just now.
    fn is_being_read(&mut self, arrived: Option<Instant>) {
        self.read_from = self.read_up();
        self.read_at = Some(Instant::now());
        self.arrived = arrived;
    }

    /// How many of the bytes that the engine wrote have gone out.
    fn out(&self) -> u64 {
        match self.deaf_since {
            Some((_, out)) => out,
            None => self.down.passed() - self.down_ready.len() as u64,
        }
    }

    /// Wakes this task when more bytes have gone out.
    fn awaits_sent(&mut self, cx: &Context<'_>) {
        if !self.sent.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.sent.push(cx.waker().clone());
        }
    }

    /// Takes in what the engine wrote.
    fn hold_down(&mut self, bytes: Bytes, cx: &Context<'_>, now: Instant) {
        self.written += bytes.len() as u64;
        self.down.push(bytes, now);
        self.call_driver(cx);
    }

    /// The engine, which is polled now, needs the driver.
    fn call_driver(&mut self, cx: &Context<'_>) {
        self.is_drivers_turn |= call(&mut self.driver, cx, self.takes_turns);
    }

    /// Finds out whether the wire is clear.
    fn settle(&mut self) {
        self.clear = self.hold == Hold::Free
            && !self.is_deaf
            && self.up.is_idle()
            && self.down.is_idle()
            && self.up_ready.is_empty()
            && self.down_ready.is_empty()
            && self.cut.is_none()
            && !matches!(self.read, Read::Failed(_));
    }

    /// Whether it is over, as far as engine and closings go.
    fn ending(&mut self, socket: &Socket) -> Option<Ending> {
        let is_sent = self.hold == Hold::Free
            && (self.is_deaf || (self.down.is_empty() && self.down_ready.is_empty()));
        if !is_sent {
            return None;
        }
        if let Some(closing) = self.closing.take() {
            if closing != Closing::HalfClose {
                return Some(Ending::Close(closing));
            }
            self.deafen(socket);
            self.settle();
        }
        self.engine_is_gone.then_some(Ending::Done)
    }

    /// Whether the client is kept waiting without an end in sight.
    fn is_frozen(&self) -> bool {
        self.hold != Hold::Free || self.up.is_stalled_for_good() || self.down.is_stalled_for_good()
    }

    /// FIN towards the client, once.
    fn shut(&mut self, socket: &Socket) {
        if !std::mem::replace(&mut self.is_shut, true) {
            socket.shut();
        }
    }

    fn deafen(&mut self, socket: &Socket) {
        self.deaf_since = self.deaf_since.or(Some((Instant::now(), self.out())));
        self.is_deaf = true;
        self.shut(socket);
        let written = self.down.pushed();
        self.down.discard();
        self.down_ready.clear();
        // They were written, and later ones have their places behind them.
        let thrown_away = written - self.down.pushed();
        self.down
            .went_by(usize::try_from(thrown_away).unwrap_or(usize::MAX));
    }

    fn wake_engine(&mut self) {
        wake(&mut self.engine_reads);
        wake(&mut self.engine_writes);
        self.sent.drain(..).for_each(Waker::wake);
    }

    /// So many bytes have gone out by now.
    fn went_out(&mut self, bytes: u64, now: Instant) {
        self.sent.drain(..).for_each(Waker::wake);
        self.went_out_at = Some(now);
        if self.mark.is_some_and(|mark| bytes > mark) {
            self.mark = None;
            self.marked = Some(now);
        }
    }

    fn wake_all(&mut self) {
        self.wake_engine();
        wake(&mut self.driver);
    }
}

/// Reads once. Where less came than there is `room` for, the socket is empty, and is not asked again
/// until it says that it is readable: a system call for each message less.
fn read_once(
    tcp: &TcpStream,
    room: usize,
    read: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut drained = None;
    let read = tcp.try_io(Interest::READABLE, || {
        let count = read()?;
        if cfg!(target_os = "linux") && (1..room).contains(&count) {
            drained = Some(count);
            // Not an error: this is how its readiness is cleared.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    match drained {
        Some(count) => Ok(count),
        None => read,
    }
}

/// Reads at most `limit` bytes into memory of their own, which is taken when there is something to
/// read; none at the end of the stream.
pub(super) fn poll_take(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    limit: usize,
) -> Poll<io::Result<Bytes>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let mut bytes = Vec::with_capacity(limit);
        let room = bytes.capacity();
        let read = read_once(tcp, room, || {
            Ok(rustix::io::read(tcp, spare_capacity(&mut bytes))?)
        });
        match read {
            Ok(_) => return Poll::Ready(Ok(trimmed(bytes))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

impl Socket {
    #[cfg(target_os = "linux")]
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_read_ready(cx))?;
                let bytes = buf.initialize_unfilled();
                let read = read_once(tcp, bytes.len(), || Ok(rustix::io::read(tcp, bytes)?));
                match read {
                    Ok(count) => {
                        buf.advance(count);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            },
            #[cfg(test)]
            Self::Memory(pipe) => Pin::new(&mut *pipe.lock()).poll_read(cx, buf),
        }
    }

    /// See [`poll_take`].
    fn poll_take(&self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<Bytes>> {
        match self {
            Self::Tcp(tcp) => poll_take(tcp, cx, limit),
            #[cfg(test)]
            Self::Memory(_) => {
                let mut scratch = vec![0; limit];
                let mut buf = ReadBuf::new(&mut scratch);
                ready!(self.poll_read(cx, &mut buf))?;
                Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        #[cfg(test)]
        super::tally::wrote();
        match self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_write_ready(cx))?;
                match tcp.try_write(buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
            #[cfg(test)]
            Self::Memory(pipe) => Pin::new(&mut *pipe.lock()).poll_write(cx, buf),
        }
    }

    /// FIN towards the client.
    fn shut(&self) {
        match self {
            // Fails only on a connection that is already gone.
            Self::Tcp(tcp) => drop(SockRef::from(tcp).shutdown(Shutdown::Write)),
            #[cfg(test)]
            Self::Memory(pipe) => {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(&mut *pipe.lock()).poll_shutdown(&mut cx);
            }
        }
    }

    fn arm_reset(&self) {
        match self {
            // Fails only on a connection that is already gone.
            Self::Tcp(tcp) => drop(SockRef::from(tcp).set_linger(Some(Duration::ZERO))),
            #[cfg(test)]
            Self::Memory(_) => {}
        }
    }
}

/// A large buffer with little in it is not worth keeping while bytes are held back: they never take
/// more than twice their memory.
fn trimmed(bytes: Vec<u8>) -> Bytes {
    if bytes.len() < bytes.capacity() / 2 {
        Bytes::copy_from_slice(&bytes)
    } else {
        Bytes::from(bytes)
    }
}

/// An engine's handle to a wire: its client's bytes, in and out. A write never waits for a delay
/// that a fault adds, only for room.
#[derive(Debug)]
pub(crate) struct WireStream(Arc<Wire>);

impl WireStream {
    pub(super) fn new(wire: &Arc<Wire>) -> Self {
        Self(Arc::clone(wire))
    }

    /// Another handle, for the other direction: of two handles one reads and one writes.
    pub(super) fn again(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// What the client sent, at most a chunk, in memory of its own; none at the end of the stream.
    #[cfg(target_os = "linux")]
    pub(super) async fn take(&mut self) -> io::Result<Bytes> {
        std::future::poll_fn(|cx| self.0.poll_take(cx)).await
    }

    /// Writes all of at most a chunk, which is not copied where it is held back.
    #[cfg(target_os = "linux")]
    pub(super) async fn give(&mut self, mut bytes: Bytes) -> io::Result<()> {
        std::future::poll_fn(|cx| self.0.poll_give(cx, &mut bytes)).await
    }

    /// The wire itself.
    #[cfg(target_os = "linux")]
    pub(super) fn wire(&self) -> &Wire {
        &self.0
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::{
            Active, By, FAULTS, FaultSet, Hit, Latency, Law, StreamEffect, StreamShape, sample,
        },
        protocol::Protocol,
        seed::Seed,
        units::{Bandwidth, Micros, Share},
    };
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const MS: Duration = Duration::from_millis(1);

    /// An engine that answers each byte with itself, on a wire whose client is in memory.
    struct Echo {
        wire: Arc<Wire>,
        client: DuplexStream,
        driving: tokio::task::JoinHandle<Ending>,
    }

    impl Echo {
        fn start(held_bytes: usize) -> Self {
            let (client, server) = duplex(1 << 20);
            let wire = Arc::new(Wire::new(Socket::Memory(Mutex::new(server)), held_bytes));
            let stream = WireStream::new(&wire);
            let driver = Arc::clone(&wire);
            let driving = tokio::spawn(async move {
                let mut driving = std::pin::pin!(driver.drive());
                tokio::select! {
                    ending = &mut driving => return ending,
                    () = echo(stream) => driver.engine_is_gone(),
                }
                driving.await
            });
            Self {
                wire,
                client,
                driving,
            }
        }

        fn set(&self, effects: Vec<StreamEffect>, hold: Hold) {
            self.wire.set(&StreamPlan { effects }, hold);
        }

        async fn exchange(&mut self, bytes: &[u8]) -> (Vec<u8>, Duration) {
            let began = Instant::now();
            self.client
                .write_all(bytes)
                .await
                .expect("the client writes");
            let mut answer = vec![0; bytes.len()];
            self.client.read_exact(&mut answer).await.expect("an echo");
            (answer, began.elapsed())
        }
    }

    async fn echo(mut stream: WireStream) {
        let mut buf = [0; 1500];
        loop {
            match stream.read(&mut buf).await {
                Ok(count) if count > 0 => {
                    if stream.write_all(&buf[..count]).await.is_err() {
                        return;
                    }
                }
                _ => {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    }

    fn effect(direction: Direction, shape: StreamShape) -> StreamEffect {
        StreamEffect {
            fault: FaultId(0),
            direction,
            shape,
            hit: Hit::default(),
        }
    }

    fn latency(direction: Direction, delay: Duration) -> StreamEffect {
        let law = Law::Constant(delay);
        let stream = (Seed(1), 1, 1);
        effect(direction, StreamShape::Latency(Latency { law, stream }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_wire_passes_bytes_at_once() {
        let mut echo = Echo::start(1 << 20);
        let (answer, took) = echo.exchange(b"hello").await;
        assert_eq!((&answer[..], took), (&b"hello"[..], Duration::ZERO));
        assert_eq!(echo.wire.bytes(), (5, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn latency_both_ways_adds_and_is_gone_when_lifted() {
        let mut echo = Echo::start(1 << 20);
        let both = vec![
            latency(Direction::Up, MS * 30),
            latency(Direction::Down, MS * 70),
        ];
        echo.set(both, Hold::Free);
        let (_, took) = echo.exchange(b"hello").await;
        // tokio's timers have a grain of 1 ms.
        assert!((MS * 100..=MS * 102).contains(&took), "{took:?}");
        echo.set(Vec::new(), Hold::Free);
        let (_, took) = echo.exchange(b"again").await;
        assert_eq!(took, Duration::ZERO);
        assert!(echo.wire.is_clear());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_on_its_way_up_came_when_it_came_and_is_put_down_to_its_fault() {
        let mut echo = Echo::start(1 << 20);
        echo.exchange(b"before").await;
        assert_eq!(echo.wire.place().arrived, None, "when it was read");
        echo.set(vec![latency(Direction::Up, MS * 5000)], Hold::Free);
        for nth in 1..3 {
            let came = Instant::now();
            echo.exchange(b"123456").await;
            let place = echo.wire.place();
            assert_eq!(place.arrived, Some(came));
            assert_eq!((place.up, place.down), (nth * 6, nth * 6 + 6));
            let acted = echo.wire.acted_on(place.up..u64::MAX, 0..0);
            assert_eq!(acted, [FaultId(0)]);
            assert_eq!(echo.wire.acted_on(0..6, 0..u64::MAX), []);
        }
        assert_eq!(echo.wire.carried(), (18, 18));
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_that_is_held_is_put_down_to_its_fault() {
        let mut echo = Echo::start(1 << 20);
        echo.exchange(b"before").await;
        echo.set(vec![latency(Direction::Down, MS * 50)], Hold::Free);
        for _ in 0..2 {
            let (_, written) = echo.wire.carried();
            echo.client.write_all(b"123456").await.expect("written");
            tokio::time::sleep(MS).await;
            assert!(!echo.wire.is_out(written + 1));
            echo.wire.out(written + 6).await;
            let acted = echo.wire.acted_on(0..0, written..u64::MAX);
            assert_eq!(acted, [FaultId(0)]);
            let mut answer = [0; 6];
            echo.client.read_exact(&mut answer).await.expect("an echo");
        }
        echo.set(Vec::new(), Hold::Free);
        let (_, written) = echo.wire.carried();
        echo.exchange(b"after!").await;
        assert!(echo.wire.is_out(written + 6));
        assert_eq!(echo.wire.acted_on(0..0, written..u64::MAX), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_seen_to_leave_when_it_does_though_its_bytes_are_held() {
        let mut echo = Echo::start(1 << 20);
        echo.set(vec![latency(Direction::Up, MS * 3000)], Hold::Free);
        echo.client.write_all(b"asked").await.expect("written");
        tokio::time::sleep(MS * 500).await;
        assert_eq!(echo.wire.left_at(), None);
        let left = Instant::now();
        echo.client.shutdown().await.expect("closed");
        assert_eq!(echo.driving.await.expect("it ends"), Ending::Done);
        assert_eq!(echo.wire.left_at(), Some(left));
        assert_eq!(echo.wire.left_early(), Some(left));
    }

    #[tokio::test(start_paused = true)]
    async fn latency_does_not_throttle_a_stream() {
        let mut echo = Echo::start(8 << 20);
        echo.set(vec![latency(Direction::Down, MS * 500)], Hold::Free);
        let (answer, took) = echo.exchange(&vec![7; 900_000]).await;
        assert_eq!(answer, vec![7; 900_000]);
        assert!((MS * 500..=MS * 502).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_client_gets_no_answer_until_it_is_let_go() {
        let mut echo = Echo::start(1 << 20);
        echo.exchange(b"pooled").await;
        echo.set(Vec::new(), Hold::Both);
        echo.client.write_all(b"asked").await.expect("it is read");
        let mut answer = [0; 5];
        let hour = Duration::from_secs(3600);
        let waiting = tokio::time::timeout(hour, echo.client.read_exact(&mut answer));
        assert!(waiting.await.is_err());
        assert_eq!(echo.wire.bytes().0, 11, "what it sent was read");
        echo.set(Vec::new(), Hold::Free);
        echo.client
            .read_exact(&mut answer)
            .await
            .expect("the answer");
        assert_eq!(&answer, b"asked");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_bounded_and_nothing_of_it_lost() {
        let limit = 100_000;
        let mut echo = Echo::start(limit);
        echo.set(Vec::new(), Hold::Both);
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        echo.client
            .write_all(&sent)
            .await
            .expect("the pipe takes it");
        tokio::time::sleep(MS).await;
        assert!(echo.wire.bytes().0 <= limit as u64);
        echo.set(Vec::new(), Hold::Free);
        let mut answer = vec![0; sent.len()];
        echo.client
            .read_exact(&mut answer)
            .await
            .expect("all of it");
        assert_eq!(answer, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_closes_while_held_is_gone() {
        let echo = Echo::start(1 << 20);
        echo.set(Vec::new(), Hold::Both);
        drop(echo.client);
        assert_eq!(echo.driving.await.expect("it ends"), Ending::ClientGone);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_stream_comes_in_order_behind_delayed_bytes() {
        let mut echo = Echo::start(1 << 20);
        echo.set(vec![latency(Direction::Down, MS * 200)], Hold::Free);
        echo.client.write_all(b"last").await.expect("written");
        echo.client.shutdown().await.expect("half-closed");
        let began = Instant::now();
        let mut answer = Vec::new();
        echo.client.read_to_end(&mut answer).await.expect("the end");
        assert_eq!(answer, b"last");
        assert!(began.elapsed() >= MS * 200);
        assert_eq!(echo.driving.await.expect("it ends"), Ending::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_truncated_answer_ends_after_exactly_its_bytes() {
        let mut echo = Echo::start(1 << 20);
        let closing = Closing::Fin;
        let truncate = StreamShape::Truncate { after: 4, closing };
        echo.set(vec![effect(Direction::Down, truncate)], Hold::Free);
        echo.client.write_all(b"abcdef").await.expect("written");
        let ending = echo.driving.await.expect("it ends");
        assert_eq!(ending, Ending::Close(Closing::Fin));
        assert_eq!(echo.wire.bytes().1, 4);
        assert_eq!(echo.wire.take_acted(), [FaultId(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_truncated_request_reaches_the_engine_up_to_the_cut() {
        let mut echo = Echo::start(1 << 20);
        let closing = Closing::Reset;
        let truncate = StreamShape::Truncate { after: 4, closing };
        echo.set(vec![effect(Direction::Up, truncate)], Hold::Free);
        echo.client.write_all(b"abcdef").await.expect("written");
        let mut answer = [0; 4];
        echo.client.read_exact(&mut answer).await.expect("4 bytes");
        assert_eq!(&answer, b"abcd");
        let cut = Instant::now();
        let ending = echo.driving.await.expect("it ends");
        assert_eq!(ending, Ending::Close(Closing::Reset));
        assert_eq!(echo.wire.cut_by(), [FaultId(0)]);
        assert_eq!(echo.wire.cut_at(), Some(cut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_comes_behind_what_was_written_before() {
        let mut echo = Echo::start(1 << 20);
        echo.set(vec![latency(Direction::Down, MS * 50)], Hold::Free);
        echo.client.write_all(b"answer").await.expect("written");
        tokio::time::sleep(MS).await;
        echo.wire.close(Closing::Reset);
        let mut answer = [0; 6];
        echo.client
            .read_exact(&mut answer)
            .await
            .expect("the answer");
        let ending = echo.driving.await.expect("it ends");
        assert_eq!(ending, Ending::Close(Closing::Reset));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_half_close_the_client_may_go_on_sending() {
        let mut echo = Echo::start(1 << 20);
        echo.wire.half_close();
        let mut answer = Vec::new();
        echo.client.read_to_end(&mut answer).await.expect("FIN");
        assert!(answer.is_empty());
        echo.client
            .write_all(&[1; 5000])
            .await
            .expect("still taken");
        echo.client.shutdown().await.expect("closed");
        assert_eq!(echo.driving.await.expect("it ends"), Ending::Done);
        assert_eq!(echo.wire.bytes(), (5000, 0));
    }

    /// What each kind of fault that acts on a connection's bytes does to them, with this share.
    fn stream_plans(share: f64) -> Vec<(&'static str, StreamPlan)> {
        let of_streams = FAULTS.iter().filter_map(|def| {
            let (mut gate, behaviour) = sample::read(def.example, Protocol::Tcp).ok()?;
            behaviour.acts().streams.then(|| {
                gate.share = Some(Share::new(share).expect("a share"));
                let active = Active::new(
                    FaultId(0),
                    gate,
                    behaviour,
                    Seed(1),
                    &["wire"],
                    Micros(0),
                    sample::LASTS,
                    By::Connection,
                );
                let set = FaultSet::new(vec![Arc::new(active)]);
                (def.name, set.streams(&sample::open(1), Micros(0)))
            })
        });
        of_streams.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn no_fault_of_share_zero_and_none_that_was_lifted_touches_a_byte() {
        let sent: Vec<u8> = (0..50_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        let kinds = stream_plans(1.0);
        assert!(kinds.len() >= 6, "latency, bandwidth, slice, and more");
        for ((kind, plan), (_, none)) in kinds.iter().zip(stream_plans(0.0)) {
            assert!(!plan.effects.is_empty(), "{kind} acts");
            let mut echo = Echo::start(1 << 20);
            echo.wire.set(&none, Hold::Free);
            let (answer, took) = echo.exchange(&sent).await;
            assert!(answer == sent && took.is_zero(), "{kind} of share 0");
            echo.wire.set(plan, Hold::Free);
            echo.set(Vec::new(), Hold::Free);
            let (answer, took) = echo.exchange(&sent).await;
            assert!(answer == sent && took.is_zero(), "{kind} was lifted");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_latency_alone_may_hold_more_than_a_direction_may_by_itself() {
        let limit = 100_000;
        let mut echo = Echo::start(limit);
        echo.set(vec![latency(Direction::Up, MS * 200)], Hold::Free);
        let sent = vec![7; 900_000];
        echo.client.write_all(&sent).await.expect("it is taken");
        tokio::time::sleep(MS).await;
        assert_eq!(echo.wire.bytes().0, sent.len() as u64, "all is held");
        assert!(echo.wire.state.lock().up_reserved.bytes() > 0);
        let mut answer = vec![0; sent.len()];
        let reading = echo.client.read_exact(&mut answer);
        reading.await.expect("all of it");
        assert_eq!(answer, sent);
        assert_eq!(echo.wire.state.lock().up_reserved.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_more_than_a_latency_is_bounded_as_ever() {
        let limit = 100_000;
        let mut echo = Echo::start(limit);
        let slow = StreamShape::Bandwidth(Bandwidth::per_second(10).expect("not zero"));
        let late = latency(Direction::Up, MS);
        echo.set(vec![late, effect(Direction::Up, slow)], Hold::Free);
        let sent = vec![7; 900_000];
        echo.client.write_all(&sent).await.expect("it is taken");
        tokio::time::sleep(MS * 5).await;
        assert_eq!(echo.wire.bytes().0, 900_000, "it came within the latency");
        echo.client
            .write_all(&sent)
            .await
            .expect("the pipe has room");
        tokio::time::sleep(MS * 5000).await;
        let most = (limit + (1 << 20)) as u64;
        assert!(echo.wire.bytes().0 <= most, "what was reserved is used up");
    }

    fn any_effects() -> impl Strategy<Value = Vec<StreamEffect>> {
        let way = prop_oneof![Just(Direction::Up), Just(Direction::Down)];
        let shape = prop_oneof![
            (1..300u32).prop_map(|ms| {
                let law = Law::Uniform(Duration::ZERO, MS * ms);
                let stream = (Seed(1), 1, 1);
                StreamShape::Latency(Latency { law, stream })
            }),
            (1_000..1_000_000u64).prop_map(|rate| {
                StreamShape::Bandwidth(Bandwidth::per_second(rate).expect("not zero"))
            }),
            (1..400u64, 0..10u32).prop_map(|(size, gap)| StreamShape::Slice {
                size,
                gap: MS * gap
            }),
            (0..4000u64).prop_map(|after| StreamShape::Stall { after, pause: None }),
            // These act on no byte that comes here.
            Just(StreamShape::Corrupt {
                share: Share::new(0.0).expect("a share"),
                stream: (Seed(1), 1, 1),
            }),
            Just(StreamShape::Truncate {
                after: 1 << 40,
                closing: Closing::Fin,
            }),
        ];
        prop::collection::vec(
            (way, shape).prop_map(|(way, shape)| effect(way, shape)),
            0..4,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_acts_and_whenever_it_changes_each_byte_comes_back_once_and_in_order(
            changes in prop::collection::vec((any_effects(), 0..200u32, any::<bool>()), 0..5),
            length in 1..20_000usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let sent: Vec<u8> = (0..length).map(|n| (n ^ (n >> 8)) as u8).collect();
            let expected = sent.clone();
            let answer = runtime.block_on(async move {
                let Echo { wire, client, driving } = Echo::start(4096);
                let (mut read, mut write) = tokio::io::split(client);
                let writing = tokio::spawn(async move {
                    for piece in sent.chunks(977) {
                        write.write_all(piece).await.expect("written");
                        tokio::time::sleep(MS * 3).await;
                    }
                    write
                });
                for (effects, pause, hang) in changes {
                    let hold = if hang { Hold::Both } else { Hold::Free };
                    wire.set(&StreamPlan { effects }, hold);
                    tokio::time::sleep(MS * pause).await;
                }
                wire.set(&StreamPlan::default(), Hold::Free);
                let mut answer = vec![0; length];
                read.read_exact(&mut answer).await.expect("the echo");
                let mut write = writing.await.expect("all written");
                write.shutdown().await.expect("closed");
                assert_eq!(read.read(&mut [0; 1]).await.expect("the end"), 0);
                assert_eq!(driving.await.expect("it ends"), Ending::Done);
                answer
            });
            prop_assert_eq!(answer, expected);
        }
    }
}
