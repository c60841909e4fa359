//! What faults decide, in the words that proxies carry out.

use super::FaultId;
use crate::{
    protocol::postgres::ErrorReply,
    units::{Bandwidth, Share},
};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A connection as faults see it.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionEvent {
    /// The proxy's number of it, from 1, in order of acceptance for this dependency.
    pub connection: u64,
    /// How many connections of this dependency are open, this one included.
    pub open: u64,
    /// Whether it was open before the fault came into force.
    pub already_open: bool,
}

/// Which of its methods a behaviour answers: what a proxy need not ask about it leaves on its
/// fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acts {
    /// It may ask for a listener state.
    pub listener: bool,
    /// It may decide about connections.
    pub connections: bool,
    /// It may decide about requests.
    pub requests: bool,
    /// It may shape bytes.
    pub streams: bool,
    /// It may decide about WebSockets that are open already.
    pub sockets: bool,
}

impl Acts {
    /// Nothing on the wire.
    pub const NOTHING: Self = Self {
        listener: false,
        connections: false,
        requests: false,
        streams: false,
        sockets: false,
    };
    /// Anything.
    pub const ANYTHING: Self = Self {
        listener: true,
        connections: true,
        requests: true,
        streams: true,
        sockets: true,
    };
    /// Connections alone.
    pub const CONNECTIONS: Self = Self {
        connections: true,
        ..Self::NOTHING
    };
    /// Requests alone.
    pub const REQUESTS: Self = Self {
        requests: true,
        ..Self::NOTHING
    };
    /// Bytes alone.
    pub const STREAMS: Self = Self {
        streams: true,
        ..Self::NOTHING
    };

    /// What either of two acts on.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            listener: self.listener || other.listener,
            connections: self.connections || other.connections,
            requests: self.requests || other.requests,
            streams: self.streams || other.streams,
            sockets: self.sockets || other.sockets,
        }
    }
}

/// What shall happen to one event, as all faults together decided it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Wait this long first; the delays of several faults add.
    pub delay: Duration,
    /// Then wait for its turn in the queue of the dependency, before whatever ends the exchange.
    /// Who queues it is not among those who `acted` until it has waited or was refused.
    pub turn: Option<Turn>,
    /// How the exchange ends, if a fault ends it. The first fault that does so ends the round.
    pub end: Option<End>,
    /// Who decided it.
    pub acted: Vec<FaultId>,
}

impl Decision {
    /// A decision that only delays.
    pub fn delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// A decision that ends the exchange.
    pub fn end(end: End) -> Self {
        Self {
            end: Some(end),
            ..Self::default()
        }
    }

    /// A decision that it waits for its turn.
    pub fn turn(turn: Turn) -> Self {
        Self {
            turn: Some(turn),
            ..Self::default()
        }
    }

    /// Whether no fault acted, or may act yet.
    pub fn is_pass(&self) -> bool {
        self.acted.is_empty() && self.turn.is_none()
    }
}

/// A request's place in the queue of an overloaded dependency: see
/// [`Model`](super::overload::Model), which says when its turn comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who queues it; set by the [`FaultSet`](super::FaultSet).
    pub fault: FaultId,
    /// How long the dependency works on it while it does nothing else.
    pub work: Duration,
    /// How it ends where there is no room for it, or where it comes too late.
    pub refusal: End,
    /// How many of those who acted come before it in the file. The others act only once it is
    /// served.
    pub after: usize,
    /// Counts that it waited, was slowed down or refused: a turn that comes at once is no hit.
    pub hit: Hit,
}

impl Turn {
    /// A place for this much work; this is the end where there is none.
    pub fn new(work: Duration, refusal: End) -> Self {
        Self {
            fault: FaultId(0),
            work,
            refusal,
            after: 0,
            hit: Hit::default(),
        }
    }
}

/// How an exchange (or a connection) ends.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Read and never answer. When the fault set changes, whoever is held is asked again under
    /// the new set; a request that no fault holds any more is then forwarded.
    Hang,
    /// Close as [`Closing`] says, before anything is forwarded.
    Close(Closing),
    /// Answer this; the dependency never sees the request (`applied = no`).
    Reply(Reply),
    /// Forward the request; the dependency applies it; then do this to its answer.
    Forward(Then),
    /// Never forward it, not even when the fault is lifted: wait, and then end so.
    Never {
        /// How long; `None`: until the fault is lifted.
        wait: Option<Duration>,
        /// How it ends: by [`End::Close`] or [`End::Reply`].
        last: Box<End>,
    },
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// RST now.
    Reset,
    /// RST after this time.
    ResetAfter(Duration),
    /// FIN now: both directions.
    Fin,
    /// FIN in the answer's direction only; the other stays open until the client closes it.
    HalfClose,
    /// FIN after this time, in which nothing is sent.
    SlowClose(Duration),
}

impl Closing {
    /// The time that goes by before it, where it has one, and how it is closed then.
    pub fn apart(self) -> (Option<Duration>, Self) {
        match self {
            Self::ResetAfter(delay) => (Some(delay), Self::Reset),
            Self::SlowClose(delay) => (Some(delay), Self::Fin),
            Self::Reset | Self::Fin | Self::HalfClose => (None, self),
        }
    }
}

/// What happens to the answer of a request that was forwarded.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// Answer this in its stead.
    Reply(Reply),
    /// The answer never comes: as [`End::Hang`], but the request was applied, and it is not sent
    /// again when the fault is lifted: the connection is then closed.
    Lose,
    /// Close in its stead.
    Close(Closing),
    /// The same request is sent so many times more, as by an intermediary that sends again what it
    /// holds for lost; then this happens to the one answer that is left. No file asks it
    /// of PostgreSQL; over HTTP/2 it is not carried, and the fault did not act.
    Repeat {
        /// How often more, at least once.
        times: u32,
        /// What happens to the answer.
        then: Box<Then>,
    },
    /// The answer comes this much later.
    Late(Duration),
    /// The head and this many bytes of the body come; then nothing for `pause` (`None`: until
    /// the fault is lifted), then the rest.
    StallBody {
        /// Bytes of the body that pass first.
        after: u64,
        /// How long it stalls.
        pause: Option<Duration>,
    },
    /// The head (with its true Content-Length) and this many bytes of the body come; then the
    /// connection is closed.
    TruncateBody {
        /// Bytes of the body that pass first.
        after: u64,
        /// How it is closed.
        closing: Closing,
    },
    /// The answer's head with status 200, `Content-Length: 0` and no body.
    EmptyBody,
    /// The answer that this (method, target) got before, from the proxy's bounded memory of
    /// answers; where none is remembered the fresh answer passes and the fault did not act.
    Stale,
}

impl Then {
    /// Whether the client waits for something that the dependency has said.
    pub fn holds(&self) -> bool {
        match self {
            Self::Late(_) | Self::Lose | Self::StallBody { .. } => true,
            Self::Repeat { then, .. } => then.holds(),
            Self::Reply(_)
            | Self::Close(_)
            | Self::TruncateBody { .. }
            | Self::EmptyBody
            | Self::Stale => false,
        }
    }
}

/// An answer that a fault makes, before the protocol puts it on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An HTTP answer. The proxy adds what the protocol demands (HEAD carries no body, S3's
    /// request ids and `Date`).
    Http {
        /// Status code.
        status: u16,
        /// Reason phrase of HTTP/1.1.
        reason: String,
        /// Header names, as cased on the wire, and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
        /// Whether the connection is closed after it.
        close: bool,
        /// The body's framing: chunked as S3 does it, or Content-Length.
        chunked: bool,
    },
    /// One of S3's errors by its code: status, headers, reason phrase and XML as on the wire.
    S3 {
        /// `InternalError`, `SlowDown` …
        code: String,
        /// Replaces the code's own status.
        status: Option<u16>,
        /// Added headers, `x-amz-retry-after` for one.
        headers: Vec<(String, String)>,
        /// Sent with status 200, as CopyObject and CompleteMultipartUpload may.
        in_200: bool,
        /// Whether the connection is closed after it; `None`: as S3 does for this code.
        close: Option<bool>,
    },
    /// One of Redis's errors by its name.
    Redis {
        /// `LOADING`, `OOM` …
        name: String,
        /// What follows the first word, in place of the error's own text.
        rest: Option<String>,
        /// Whether the connection is closed after it.
        close: bool,
    },
    /// One of MySQL's errors by its number.
    Mysql {
        /// 1040, 1213 …
        errno: u16,
        /// The message, in place of the error's own.
        text: Option<String>,
    },
    /// One of PostgreSQL's errors. A session that it ends is closed after it. Put on a connection as
    /// a whole it is said unasked.
    Postgres(Box<ErrorReply>),
    /// Bytes that are no answer at all; then the connection is closed.
    Garbage(Bytes),
    /// No byte, then FIN: an empty reply.
    Empty,
    /// Nothing, and the connection goes on: a message of a WebSocket is dropped.
    Nothing,
    /// A code of Pusher Channels: the WebSocket is accepted, told and closed. Codes from 4300 on
    /// leave a WebSocket open on which something else was refused.
    Pusher {
        /// 4004, 4100 …
        code: u16,
        /// The text that goes with it.
        reason: String,
        /// Whether the close frame alone tells it; otherwise an error message comes first.
        in_close: bool,
    },
}

/// The state of a dependency's listener, the strongest of all faults in force.
///
/// No decision is asked for a connect that is not accepted, so whoever carries the state out counts
/// ([`super::FaultSet::count`]): the connects that stayed unanswered; for a closed listener, where
/// nobody who connects is seen, its closing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ListenerState {
    /// Accepts.
    #[default]
    Open,
    /// SYNs of this share of the connections stay unanswered.
    NoAccept(Share),
    /// Really closed.
    Refuse,
}

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the system to the dependency.
    Up,
    /// From the dependency to the system.
    Down,
}

/// What a fault does to the bytes of one connection in one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEffect {
    /// Whose effect it is.
    pub fault: FaultId,
    /// The direction.
    pub direction: Direction,
    /// What it does.
    pub shape: StreamShape,
    /// Counts that it acted: a plan alone is no hit.
    pub hit: Hit,
}

/// Counts a fault as acting on a connection's bytes once, when the first of its effects in either
/// direction touches one. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Hit {
    hits: Arc<AtomicU64>,
    counted: Arc<AtomicBool>,
}

impl Hit {
    /// A hit that is counted there.
    pub(super) fn on(hits: &Arc<AtomicU64>) -> Self {
        Self {
            hits: Arc::clone(hits),
            counted: Arc::default(),
        }
    }

    /// The effect touched a byte, or cut the connection.
    pub fn count(&self) {
        if !self.counted.swap(true, Ordering::Relaxed) {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl PartialEq for Hit {
    /// What is counted does not tell two effects apart.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The shapes of DESIGN 5's byte-stream group.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamShape {
    /// Each chunk leaves this long after it arrived; order is kept, throughput untouched.
    Latency(Latency),
    /// At most this many bytes a second, as a token bucket of 50 ms depth.
    Bandwidth(Bandwidth),
    /// Chunks of at most `size` bytes, `gap` apart.
    Slice {
        /// Bytes a slice.
        size: u64,
        /// Time between two slices.
        gap: Duration,
    },
    /// Closed after this many bytes since the effect began.
    Truncate {
        /// Bytes that pass.
        after: u64,
        /// How it is closed.
        closing: Closing,
    },
    /// About this share of the bytes gets one bit flipped.
    Corrupt {
        /// Share of the bytes.
        share: Share,
        /// Material for the positions: `Seed::generator(name, key)`.
        stream: (crate::seed::Seed, u64, u64),
    },
    /// Frozen after this many bytes, for `pause` (`None`: until lifted), then it goes on.
    Stall {
        /// Bytes that pass first.
        after: u64,
        /// How long it freezes.
        pause: Option<Duration>,
    },
    /// Closed this long after the effect began.
    CloseAfter {
        /// The time.
        after: Duration,
        /// How it is closed.
        closing: Closing,
    },
}

/// Latency that is drawn anew for each chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// The distribution, in microseconds: draws the n-th chunk's delay.
    pub law: super::Law,
    /// Material for the draws: `Seed::generator(name, key)`.
    pub stream: (crate::seed::Seed, u64, u64),
}

/// All effects on one connection. Where [`super::FaultSet::moves`], ask for them anew every now and
/// then ([`super::FaultSet::renew_streams`]).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamPlan {
    /// In file order.
    pub effects: Vec<StreamEffect>,
}
