//! One request with its answer, from the first byte to the observation.
//!
//! The engines fill it in as they go. However an exchange ends, also when its engine is dropped
//! half-way, exactly one observation is recorded. What it holds of bodies is bounded: a beginning
//! long enough for an error code, for the rules of an ingress, or for what is captured of a message.

use super::desk::{Desk, Subject};
use crate::{
    fault::{FaultId, FaultSet},
    history::AttemptEnd,
    protocol::{Applied, Call, RetryAfter, retry_after},
    proxy::{
        connection::{Arrival, Refusal, Stretch},
        decide::Asked,
        sockets::Entered,
        station::Station,
    },
    units::Micros,
};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
};
use tokio::sync::watch;

/// What both directions of an exchange count while they run side by side.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Body bytes from the client.
    pub(super) up: AtomicU64,
    /// Body bytes to the client.
    pub(super) down: AtomicU64,
    /// When the first byte of an answer was sent, plus one; zero: not yet.
    first_byte: AtomicU64,
    /// The status the client was sent; zero: none yet.
    status: AtomicU16,
    /// The status the dependency answered; zero: none yet.
    upstream_status: AtomicU16,
    /// Whether the whole request was sent on.
    is_sent_whole: AtomicBool,
    /// How many copies of the request were sent besides.
    copies_sent: AtomicU32,
    /// Of how many of them an answer said what became.
    copies_told: AtomicU32,
    /// How many of those the dependency carried out.
    copies_applied: AtomicU32,
    /// Whether no connection to the dependency came about.
    is_refused: AtomicBool,
    /// When the client closed its direction while it waited for the answer, plus one.
    half_closed: AtomicU64,
    /// The beginning of the request's body, where something is captured from it.
    request: Option<Mutex<Sample>>,
    /// Whether the request was a POST.
    is_post: bool,
}

impl Tally {
    /// Counts that keep this many bytes of the request's body.
    fn keeping(bytes_max: usize, is_post: bool) -> Self {
        let request = (bytes_max > 0).then(|| {
            let mut sample = Sample::default();
            sample.begin(bytes_max);
            Mutex::new(sample)
        });
        Self {
            request,
            is_post,
            ..Self::default()
        }
    }

    /// Looks at a piece of the request's body.
    pub(super) fn look_up(&self, piece: &[u8]) {
        if let Some(request) = &self.request {
            request.lock().add(piece);
        }
    }

    /// What was kept of the request's body.
    pub(super) fn request_body(&self) -> Vec<u8> {
        let request = self.request.as_ref();
        request.map_or_else(Vec::new, |request| request.lock().bytes.clone())
    }

    /// Counts body bytes from the client.
    pub(super) fn add_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts body bytes to the client.
    pub(super) fn add_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The client was sent the first bytes of an answer with this status.
    pub(super) fn answered(&self, status: u16, at: Micros) {
        self.first_byte.store(at.0 + 1, Ordering::Relaxed);
        self.status.store(status, Ordering::Relaxed);
    }

    /// The answer's first byte left for the client at this moment, later than it was written.
    pub(super) fn left(&self, at: Micros) {
        if self.status().is_some() {
            self.first_byte.store(at.0 + 1, Ordering::Relaxed);
        }
    }

    /// Nothing of what was written has left for the client.
    fn unheard(&self) {
        self.first_byte.store(0, Ordering::Relaxed);
        self.status.store(0, Ordering::Relaxed);
        self.down.store(0, Ordering::Relaxed);
    }

    /// The dependency gave its final answer.
    pub(super) fn upstream_answered(&self, status: u16) {
        self.upstream_status.store(status, Ordering::Relaxed);
    }

    /// Whether the dependency gave its final answer.
    fn is_upstream_answered(&self) -> bool {
        self.upstream_status.load(Ordering::Relaxed) > 0
    }

    /// The dependency was sent the whole request.
    pub(super) fn sent_whole(&self) {
        self.is_sent_whole.store(true, Ordering::Relaxed);
    }

    /// Whether the dependency was sent the whole request.
    pub(super) fn is_sent_whole(&self) -> bool {
        self.is_sent_whole.load(Ordering::Relaxed)
    }

    /// The dependency was sent the whole of a copy of the request.
    pub(super) fn copy_sent(&self) {
        self.copies_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The dependency answered a copy of the request with this status.
    pub(super) fn copy_answered(&self, status: u16) {
        let applied = applied_by(status, self.is_post);
        if applied != Applied::Unknown {
            self.copies_told.fetch_add(1, Ordering::Relaxed);
        }
        if applied == Applied::Yes {
            self.copies_applied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// No connection to the dependency came about.
    pub(super) fn refused(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether no connection to the dependency came about.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// The client closed its direction, and may still wait for the answer or be gone.
    /// The first moment counts.
    pub(super) fn half_closed(&self, at: Micros) {
        let at = at.0 + 1;
        // Refused where it is known already.
        let _ = self
            .half_closed
            .compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// When the client closed its direction.
    pub(super) fn half_closed_at(&self) -> Option<Micros> {
        let at = self.half_closed.load(Ordering::Relaxed);
        at.checked_sub(1).map(Micros)
    }

    /// When the first byte of an answer was sent.
    pub(super) fn first_byte(&self) -> Option<Micros> {
        self.first_byte
            .load(Ordering::Relaxed)
            .checked_sub(1)
            .map(Micros)
    }

    /// The status the client was sent.
    pub(super) fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }

    /// Whether the dependency carried the request out, itself or a copy of it, how often beyond
    /// once, and how often more it may have.
    pub(super) fn applied(&self) -> (Applied, u32, u32) {
        let itself = match self.upstream_status.load(Ordering::Relaxed) {
            0 if !self.is_sent_whole() => Applied::No,
            status => applied_by(status, self.is_post),
        };
        let sent = self.copies_sent.load(Ordering::Relaxed);
        let told = self.copies_told.load(Ordering::Relaxed);
        let done = self.copies_applied.load(Ordering::Relaxed);
        itself.with_copies(done, sent.saturating_sub(told))
    }
}

/// What a status says of a request. A 3xx or 4xx says that it was not carried out, but for a POST that
/// was carried out and is answered by leading on to its result (303, and of many servers 301 and 302,
/// RFC 9110, 15.4); a 5xx leaves it open, as a real InternalError does; so does no answer (0) to one
/// that was wholly sent.
fn applied_by(status: u16, is_post: bool) -> Applied {
    match status {
        101 | 200..300 => Applied::Yes,
        303 if is_post => Applied::Yes,
        301 | 302 if is_post => Applied::Unknown,
        300..500 => Applied::No,
        _ => Applied::Unknown,
    }
}

/// The beginning of a body.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// How many are kept.
    bytes_max: usize,
}

impl Sample {
    /// Begins anew, for at most this many bytes.
    pub(super) fn begin(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes_max = bytes_max;
    }

    /// Keeps what still fits.
    pub(super) fn add(&mut self, data: &[u8]) {
        let room = self.bytes_max - self.bytes.len();
        self.bytes.extend_from_slice(&data[..room.min(data.len())]);
    }
}

/// One request with its answer.
pub(super) struct Exchange {
    /// Who observes it.
    pub(super) desk: Arc<Desk>,
    /// What is observed.
    pub(super) subject: Subject,
    /// When its first byte reached us.
    pub(super) began: Micros,
    /// When that was read.
    came: Micros,
    /// Its number on the connection.
    pub(super) number: u64,
    /// The counts of both directions.
    pub(super) tally: Arc<Tally>,
    /// The beginning of the answer's body.
    pub(super) sample: Sample,
    /// Whether that is the dependency's own answer, and not a fault's.
    pub(super) is_sample_its_own: bool,
    /// The answer's headers that the desk wants.
    pub(super) answer_headers: Vec<(Box<str>, Box<[u8]>)>,
    /// The times to wait that a fault's answer named, in place of the dependency's.
    told: Option<Vec<RetryAfter>>,
    /// The protocol's own code with which the dependency or a fault refused it.
    pub(super) code: Option<Arc<str>>,
    /// Its place among the WebSockets that are open, once it is to become one.
    pub(super) socket: Option<Entered>,
    /// Which faults acted on it.
    pub(super) faults: Vec<FaultId>,
    /// The set that decided about it last.
    pub(super) decided_by: Option<Arc<FaultSet>>,
    /// When the fault that held it was lifted.
    released: Option<Micros>,
    /// Whether a fault holds it, or its answer.
    is_held: bool,
    /// Who is to act on the dependency's answer once it comes.
    acts_on_answer: Option<FaultId>,
    /// Its bytes, on which faults may act.
    stretch: Stretch,
    is_recorded: bool,
}

impl Exchange {
    /// Begins to observe a request.
    pub(super) fn new(desk: Arc<Desk>, subject: Subject, began: Arrival) -> Self {
        let is_post = match &subject {
            Subject::Attempt(call) => *call.method == *"POST",
            Subject::Operation { .. } | Subject::Refused(_) => false,
        };
        let tally = Tally::keeping(desk.request_bytes(), is_post);
        let number = desk.began(&subject, began.at);
        let mut stretch = Stretch::from(began);
        stretch.answered_since(began);
        Self {
            desk,
            subject,
            began: began.at,
            came: began.read,
            number,
            tally: Arc::new(tally),
            sample: Sample::default(),
            is_sample_its_own: false,
            answer_headers: Vec::new(),
            told: None,
            code: None,
            socket: None,
            faults: Vec::new(),
            decided_by: None,
            released: None,
            is_held: false,
            acts_on_answer: None,
            stretch,
            is_recorded: false,
        }
    }

    /// Takes its place among the WebSockets, if it is to become one.
    pub(super) fn enter_sockets(&mut self) {
        let Subject::Attempt(call) = &mut self.subject else {
            return;
        };
        let is_handshake = *call.operation == *"Connect" && *call.method == *"GET";
        if let Some(sockets) = self.desk.sockets().filter(|_| is_handshake) {
            let entered = sockets.enter(call.connection);
            call.place = Some(entered.place(false));
            self.socket = Some(entered);
        }
    }

    /// A header of the answer that was kept.
    pub(super) fn answer_header(&self, name: &str) -> Option<String> {
        self.answer_headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// A fault answers with these headers.
    pub(super) fn tells<'a>(&mut self, headers: impl Iterator<Item = (&'a str, &'a str)>) {
        let told = headers.filter_map(|(name, value)| retry_after(name, value));
        self.told = Some(told.collect());
    }

    /// The times that the answer asked the client to wait.
    pub(super) fn retry_after(&self) -> Vec<RetryAfter> {
        if let Some(told) = &self.told {
            return told.clone();
        }
        let headers = self.answer_headers.iter();
        headers
            .filter_map(|(name, value)| retry_after(name, std::str::from_utf8(value).ok()?))
            .collect()
    }

    /// Takes back that a fault acted: it could not be carried out.
    pub(super) fn did_not_act(&mut self, fault: FaultId) {
        self.faults.retain(|known| *known != fault);
        if let Some(set) = &self.decided_by {
            set.did_not_act(fault);
        }
    }

    /// Waits until the client was sent what was written, as faults on the wire may hold it back:
    /// only then it has its answer.
    pub(super) async fn settle(&mut self) {
        if !self.desk.is_held_back() {
            return;
        }
        let holding = self.desk.held_by();
        let held_by = holding.map_or_else(Vec::new, |holding| holding.borrow().clone());
        self.acted(&held_by);
        self.desk.sent().await;
        if !held_by.is_empty() {
            self.released();
        }
    }

    /// When the fault that held it was lifted, given how it ended: who left while another held it
    /// was as patient as it was.
    pub(super) fn released_at(&self, end: AttemptEnd) -> Option<Micros> {
        self.released
            .filter(|_| !self.is_held || end != AttemptEnd::GaveUp)
    }

    /// Ends it now.
    pub(super) fn finish(&mut self, end: AttemptEnd) {
        self.finish_at(end, self.desk.now());
    }

    /// Ends it at this moment, unless it has ended.
    pub(super) fn finish_at(&mut self, end: AttemptEnd, at: Micros) {
        if !self.is_recorded {
            self.is_recorded = true;
            self.settle_answer();
            let (end, at) = self.seen_by_client(end, at);
            let desk = Arc::clone(&self.desk);
            desk.record(self, end, at);
        }
    }

    /// When the client left, if it was seen to.
    fn seen_leaving(&self) -> Option<Micros> {
        let life = self.desk.life();
        let left = self.tally.half_closed_at();
        let left = left.or_else(|| life.and_then(|life| life.seen_leaving()));
        left.filter(|left| *left >= self.began)
    }

    /// How it ended for the client, and when: faults on bytes may have hidden that from the engine.
    /// They are noted.
    fn seen_by_client(&mut self, end: AttemptEnd, at: Micros) -> (AttemptEnd, Micros) {
        let desk = Arc::clone(&self.desk);
        let Some(life) = desk.life() else {
            return (end, at);
        };
        self.acted(&life.acted_on(&self.stretch));
        if let Some(at) = desk.marked() {
            self.tally.left(at);
        }
        let swallowed = life.swallowed(&self.stretch);
        let swallowed = swallowed.filter(|_| end == AttemptEnd::Answered);
        let end = swallowed.map_or(end, |_| AttemptEnd::Cut);
        let is_heard = !matches!(end, AttemptEnd::GaveUp | AttemptEnd::Cut)
            || self.stretch.has_begun_to_leave(life);
        if !is_heard {
            self.tally.unheard();
        }
        if let Some(cut_at) = swallowed {
            self.acted(&life.cut_by());
            return (end, cut_at.max(self.began));
        }
        if end != AttemptEnd::GaveUp {
            return (end, at);
        }
        let left = self.seen_leaving();
        if let Some(cut_at) = life.cut_at(left) {
            self.acted(&life.cut_by());
            return (AttemptEnd::Cut, cut_at.max(self.began));
        }
        (end, left.map_or(at, |left| left.min(at)))
    }
}

impl Asked for Exchange {
    fn now(&self) -> Micros {
        self.desk.now()
    }

    fn came(&self) -> Micros {
        self.came
    }

    fn call(&self) -> Option<&Call> {
        match &self.subject {
            Subject::Attempt(call) => Some(call),
            Subject::Operation { .. } | Subject::Refused(_) => None,
        }
    }

    fn held_by(&self) -> Option<watch::Receiver<Vec<FaultId>>> {
        self.desk.held_by()
    }

    fn refusal(&self) -> Option<Refusal> {
        self.desk.refusal()
    }

    fn station(&self) -> Option<&Arc<Station>> {
        self.desk.station()
    }

    fn acted(&mut self, faults: &[FaultId]) {
        for fault in faults {
            if !self.faults.contains(fault) {
                self.faults.push(*fault);
            }
        }
    }

    fn decided_by(&mut self, set: Arc<FaultSet>) {
        self.decided_by = Some(set);
    }

    fn held(&mut self) {
        self.is_held = true;
    }

    fn goes_on(&mut self) {
        self.is_held = false;
    }

    fn released(&mut self) {
        self.released = Some(self.desk.now());
        self.is_held = false;
    }

    fn will_act_on_answer(&mut self, fault: FaultId) {
        self.acts_on_answer = Some(fault);
    }

    fn settle_answer(&mut self) {
        if let Some(fault) = self.acts_on_answer.take()
            && !self.tally.is_upstream_answered()
        {
            self.is_held = false;
            self.did_not_act(fault);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        let (end, faults) = self.desk.dropped();
        if end == AttemptEnd::GaveUp || self.seen_leaving().is_none() {
            self.acted(&faults);
            return self.finish(end);
        }
        self.finish(AttemptEnd::GaveUp);
    }
}

/// The name under which an answer to a request is remembered, if it may be.
pub(super) fn memory_key(call: &Call) -> Option<String> {
    (*call.method == *"GET").then(|| format!("{}{}", call.host, call.target))
}
