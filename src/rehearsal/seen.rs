//! What was seen on the wire.

use super::Injected;
use crate::{
    history::{self, AttemptEnd, LogicalCall, calls},
    protocol,
    units::{Micros, format_duration},
};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many attempts the text of [`Seen`] shows.
const SHOWN: usize = 20;

/// What was asked of a dependency, as its proxy saw it: everything that was over at one moment.
///
/// Its text (`{}`) is a line for each of the first attempts, for the messages of assertions.
#[derive(Debug, Clone)]
pub struct Seen {
    dependency: Arc<str>,
    zero: Instant,
    /// By when they began.
    attempts: Vec<history::Attempt>,
    /// By when they were opened.
    connections: Vec<history::Connection>,
    in_flight: u64,
}

impl Seen {
    pub(super) fn new(
        dependency: Arc<str>,
        zero: Instant,
        mut attempts: Vec<history::Attempt>,
        mut connections: Vec<history::Connection>,
        in_flight: u64,
    ) -> Self {
        attempts.sort_by_key(|attempt| attempt.began);
        connections.sort_by_key(|connection| connection.opened);
        Self {
            dependency,
            zero,
            attempts,
            connections,
            in_flight,
        }
    }

    /// The dependency's name.
    pub fn dependency(&self) -> &str {
        &self.dependency
    }

    /// The attempts that are over, by when they began: each request on the wire, a retry too. Of a
    /// stream of bytes (`tcp`) there are none.
    pub fn attempts(&self) -> impl ExactSizeIterator<Item = Attempt<'_>> + DoubleEndedIterator {
        self.attempts.iter().map(|inner| self.attempt(inner))
    }

    /// The attempts put together to calls, by when they began. Where the client sends an id of its
    /// own for all attempts of a call (AWS's, Google's, Stripe's …) that is a fact; elsewhere a
    /// request is taken for another attempt where it asks for the same thing as one that failed
    /// before: see [`Call::is_guess`].
    pub fn calls(&self) -> Vec<Call<'_>> {
        let calls = calls(&self.attempts).into_iter();
        calls.map(|inner| Call { seen: self, inner }).collect()
    }

    /// The connections that are closed, by when they were opened.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = Connection<'_>> {
        let of = &self.dependency;
        self.connections
            .iter()
            .map(move |inner| Connection { inner, of })
    }

    fn attempt<'a>(&'a self, inner: &'a history::Attempt) -> Attempt<'a> {
        Attempt {
            inner,
            zero: self.zero,
            of: &self.dependency,
        }
    }

    /// How many requests had come and were not over: they wait for their answer, or for somebody to
    /// read it.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The attempts of which this is true, with all connections.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Attempt<'_>) -> bool) -> Self {
        let mut kept = self.clone();
        kept.attempts.retain(|inner| keep(&self.attempt(inner)));
        kept
    }

    /// The attempts that began at this moment or later, and the connections that were opened then.
    #[must_use]
    pub fn since(&self, moment: Instant) -> Self {
        self.since_micros(moment.saturating_duration_since(self.zero).into())
    }

    pub(super) fn since_micros(&self, moment: Micros) -> Self {
        let mut kept = self.clone();
        kept.attempts.retain(|attempt| attempt.began >= moment);
        kept.connections.retain(|one| one.opened >= moment);
        kept
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.attempts.len();
        write!(f, "`{}` saw {}", self.dependency, many(count, "request"))?;
        if self.in_flight > 0 {
            write!(f, ", {} not over", self.in_flight)?;
        }
        if count == 0 {
            write!(
                f,
                " and {}",
                many(self.connections.len(), "closed connection")
            )?;
        }
        for attempt in self.attempts().take(SHOWN) {
            write!(f, "\n  {attempt}")?;
        }
        if count > SHOWN {
            write!(f, "\n  … and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

fn many(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("one {what}"),
        count => format!("{count} {what}s"),
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The client got a whole answer, the dependency's or a fault's.
    Answered,
    /// The client closed the connection before: it gave up.
    GaveUp,
    /// A fault cut it off.
    Cut,
    /// The dependency itself refused, reset or broke off.
    UpstreamFailed,
    /// It was open when its connection had to be closed.
    Unfinished,
}

/// Whether the dependency did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Applied {
    /// It never saw the whole request, or said that it did not.
    No,
    /// It answered that it had, whatever the client was told.
    Yes,
    /// It saw the request, and no answer says what became of it.
    Unknown,
}

/// One request on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    inner: &'a history::Attempt,
    zero: Instant,
    /// Its dependency's name, the very one.
    of: &'a Arc<str>,
}

impl<'a> Attempt<'a> {
    /// `PutObject`, the method of plain HTTP, the kind of a statement, the name of a command.
    pub fn operation(&self) -> &'a str {
        &self.inner.operation
    }

    /// What was asked for: `bucket/key`, a path without its query, a table, a key of Redis.
    pub fn key(&self) -> &'a str {
        &self.inner.key
    }

    /// When its first byte came.
    pub fn began(&self) -> Instant {
        self.zero + Duration::from_micros(self.inner.began.0)
    }

    /// When it was over.
    pub fn ended(&self) -> Instant {
        self.zero + Duration::from_micros(self.inner.ended.0)
    }

    /// How long it was open.
    pub fn took(&self) -> Duration {
        self.inner.duration()
    }

    /// How long it was until the first byte of its answer left; none where there was none.
    pub fn first_byte(&self) -> Option<Duration> {
        Some(self.inner.first_byte?.since(self.inner.began))
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        match self.inner.end {
            AttemptEnd::Answered => Ending::Answered,
            AttemptEnd::GaveUp => Ending::GaveUp,
            AttemptEnd::Cut => Ending::Cut,
            AttemptEnd::UpstreamFailed => Ending::UpstreamFailed,
            AttemptEnd::Unfinished => Ending::Unfinished,
        }
    }

    /// The status of HTTP that the client was sent.
    pub fn status(&self) -> Option<u16> {
        self.inner.status
    }

    /// The protocol's own error code in what the client was sent: `SlowDown`, a SQLSTATE, `LOADING`.
    pub fn code(&self) -> Option<&'a str> {
        self.inner.code.as_deref()
    }

    /// Whether the dependency did what it was asked.
    pub fn applied(&self) -> Applied {
        match self.inner.applied {
            protocol::Applied::No => Applied::No,
            protocol::Applied::Yes => Applied::Yes,
            protocol::Applied::Unknown => Applied::Unknown,
        }
    }

    /// Whether the dependency failed it: no whole answer, or one that says that it could not be
    /// served.
    pub fn failed(&self) -> bool {
        self.inner.failed()
    }

    /// Whether any fault acted on it.
    pub fn was_hit(&self) -> bool {
        !self.inner.faults.is_empty()
    }

    /// Whether this fault acted on it.
    pub fn was_hit_by(&self, fault: &Injected) -> bool {
        fault.is_among(&self.inner.faults, self.of)
    }

    /// The proxy's number of its connection, from 1.
    pub fn connection(&self) -> u64 {
        self.inner.connection
    }

    /// Bytes of bodies from the client and to it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.inner.bytes_up, self.inner.bytes_down)
    }
}

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.operation(), self.key())?;
        match (self.ending(), self.status(), self.code()) {
            (Ending::Answered, Some(status), Some(code)) => write!(f, "{status} {code}")?,
            (Ending::Answered, Some(status), None) => write!(f, "{status}")?,
            (Ending::Answered, None, Some(code)) => write!(f, "{code}")?,
            (Ending::Answered, None, None) => f.write_str("answered")?,
            (Ending::GaveUp, ..) => f.write_str("the client gave up")?,
            (Ending::Cut, ..) => f.write_str("cut off")?,
            (Ending::UpstreamFailed, ..) => f.write_str("the dependency failed")?,
            (Ending::Unfinished, ..) => f.write_str("not over")?,
        }
        write!(f, " after {}", format_duration(self.took()))?;
        if self.was_hit() {
            f.write_str(", by a fault")?;
        }
        Ok(())
    }
}

/// One logical request with its attempts.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    seen: &'a Seen,
    inner: LogicalCall,
}

impl<'a> Call<'a> {
    /// Its attempts, in the order in which they began; at least one.
    pub fn attempts(&self) -> Vec<Attempt<'a>> {
        let seen = self.seen;
        let places = self.inner.attempts.iter();
        places
            .filter_map(|place| seen.attempts.get(*place as usize))
            .map(|inner| seen.attempt(inner))
            .collect()
    }

    /// How long it was from the beginning of its first attempt to the end of its last.
    pub fn took(&self) -> Duration {
        self.inner.ended.since(self.inner.began)
    }

    /// Whether its last attempt settled it. Else the client has given up, or may come again.
    pub fn is_settled(&self) -> bool {
        self.inner.settled
    }

    /// Whether its attempts were put together by time and likeness, without an id of the client's.
    pub fn is_guess(&self) -> bool {
        !self.inner.by_sdk_id
    }

    /// The pauses between its attempts: how long after each of them the next one began. Of an answer
    /// that was over at once they are counted from its first byte, else from the end, as nobody knows
    /// when the client had all of it: they are at least so long.
    pub fn pauses(&self) -> Vec<Duration> {
        let attempts = self.attempts();
        let pairs = attempts.windows(2);
        let pause = |before: &history::Attempt, after: &history::Attempt| {
            let known = before.known_pause_before(after);
            known.unwrap_or(before.pause_before(after).0)
        };
        pairs
            .map(|pair| pause(pair[0].inner, pair[1].inner))
            .collect()
    }
}

/// One connection that is closed.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    inner: &'a history::Connection,
    /// Its dependency's name, the very one.
    of: &'a Arc<str>,
}

impl<'a> Connection<'a> {
    /// The proxy's number of it, from 1.
    pub fn number(&self) -> u64 {
        self.inner.connection
    }

    /// How it ended, in words: `client closed`, `reset by fault`.
    pub fn how(&self) -> &'a str {
        &self.inner.how
    }

    /// How long it was open.
    pub fn took(&self) -> Duration {
        self.inner.closed.since(self.inner.opened)
    }

    /// Whether any fault acted on it as a whole or on its bytes.
    pub fn was_hit(&self) -> bool {
        !self.inner.faults.is_empty()
    }

    /// Whether this fault acted on it as a whole or on its bytes.
    pub fn was_hit_by(&self, fault: &Injected) -> bool {
        fault.is_among(&self.inner.faults, self.of)
    }

    /// Bytes from the client and to it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.inner.bytes_up, self.inner.bytes_down)
    }
}
