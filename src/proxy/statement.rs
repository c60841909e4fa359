//! One statement or command with its answer, from its first byte to the observation: what the
//! engines of databases share.
//!
//! The engines fill it in as they go. However it ends, also when its engine is dropped half-way,
//! exactly one observation is recorded.

use super::{
    conduct::Farewell,
    connection::{Arrival, Life, Refusal, Shared, Stretch},
    decide::Asked,
    station::Station,
};
use crate::{
    fault::{FaultId, FaultSet},
    history::{Attempt, AttemptEnd, Observation},
    protocol::{Applied, Call, Recognised},
    scenario::Capture,
    units::Micros,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{sync::watch, time::timeout};

/// What became of the copies that a fault had sent of a statement.
#[derive(Debug, Clone, Copy, Default)]
struct Copies {
    /// How many were sent.
    sent: u32,
    /// How many were answered.
    answered: u32,
    /// How many of these were carried out and changed something.
    applied: u32,
    /// How many rows the first of these changed, where its answer says so.
    rows: Option<u64>,
    /// Whether what they did lasts only if their transaction does.
    in_transaction: bool,
}

/// One statement with its answer.
pub(super) struct Statement {
    life: Arc<Life>,
    call: Call,
    began: Micros,
    came: Micros,
    /// Its number on the connection.
    number: u64,
    first_byte: Option<Micros>,
    code: Option<Arc<str>>,
    bytes_up: u64,
    bytes_down: u64,
    is_sent: bool,
    /// What the dependency's own answer said, once it came.
    answer: Option<Applied>,
    /// How many rows it changed, where its answer says so.
    rows: Option<u64>,
    /// Whether it found its row as it was to be, or may have.
    held: bool,
    perhaps_held: bool,
    /// Copies of it that were sent besides.
    copies: Copies,
    faults: Vec<FaultId>,
    decided_by: Option<Arc<FaultSet>>,
    released: Option<Micros>,
    /// Whether a fault holds it, or its answer.
    is_held: bool,
    acts_on_answer: Option<FaultId>,
    /// When the client closed its direction while it waited for the answer.
    left: Option<Micros>,
    /// When it was over, where that is known before what became of it.
    ended: Option<Micros>,
    captured: BTreeMap<String, String>,
    /// Its bytes, on which faults may act.
    stretch: Stretch,
    /// The client was gone before all of its answer had left for it.
    is_gone: bool,
    /// The client has its answer; only what became of the statement is not known, to us or to it.
    is_withheld: bool,
    /// When its transaction was over without an answer that says how.
    untold: Option<Micros>,
    is_recorded: bool,
}

impl Statement {
    /// Begins to observe a statement whose first byte reached us when it `began`.
    pub(super) fn new(
        shared: &Arc<Shared>,
        life: &Arc<Life>,
        connection: u64,
        recognised: Recognised,
        began: impl Into<Arrival>,
    ) -> Self {
        let began = began.into();
        let call = Call::statement(recognised, connection, &mut shared.calls.lock());
        let number = life.request_began(began.at, &call.operation, &call.key);
        Self {
            life: Arc::clone(life),
            call,
            began: began.at,
            came: began.read,
            number,
            first_byte: None,
            code: None,
            bytes_up: 0,
            bytes_down: 0,
            is_sent: false,
            answer: None,
            rows: None,
            held: false,
            perhaps_held: false,
            copies: Copies::default(),
            faults: Vec::new(),
            decided_by: None,
            released: None,
            is_held: false,
            acts_on_answer: None,
            left: None,
            ended: None,
            captured: BTreeMap::new(),
            stretch: began.into(),
            is_gone: false,
            is_withheld: false,
            untold: None,
            is_recorded: false,
        }
    }

    /// Its operation.
    pub(super) fn operation(&self) -> &Arc<str> {
        &self.call.operation
    }

    /// Which faults acted on it so far.
    pub(super) fn faults(&self) -> &[FaultId] {
        &self.faults
    }

    /// The client closed its direction; it may still wait for the answer, or be gone. The first
    /// moment counts.
    pub(super) fn left(&mut self, at: Micros) {
        self.left.get_or_insert(at);
    }

    /// Whether the client closed its direction.
    pub(super) fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// It is over now for the client, and what became of it is yet to be known.
    pub(super) fn over(&mut self) {
        self.stretch.has_all_down(&self.life);
        let left = self.left.filter(|_| self.is_gone);
        self.ended = Some(left.unwrap_or_else(|| self.life.shared().now()));
    }

    /// The client gave up, when it closed its direction or now.
    pub(super) fn gave_up(&mut self) {
        self.ended = self.left;
        self.finish(AttemptEnd::GaveUp);
    }

    /// Counts bytes from the client.
    pub(super) fn add_up(&mut self, bytes: usize) {
        self.bytes_up += bytes as u64;
    }

    /// Counts bytes to the client, the first of which leave now unless some have left before.
    pub(super) fn add_down(&mut self, bytes: usize) {
        if bytes > 0 && self.first_byte.is_none() {
            self.first_byte = Some(self.life.shared().now());
        }
        self.count_down(bytes);
    }

    /// Counts bytes to the client that leave with the next write: see [`Statement::leaves`].
    pub(super) fn count_down(&mut self, bytes: usize) {
        if bytes > 0 {
            self.stretch.begins_down(&self.life);
        }
        self.bytes_down += bytes as u64;
    }

    /// The bytes that were counted leave at this moment, unless none were or some have left before.
    pub(super) fn leaves(&mut self, at: Micros) {
        if self.bytes_down > 0 {
            self.first_byte.get_or_insert(at);
        }
    }

    /// The dependency was sent the whole statement.
    pub(super) fn sent_whole(&mut self) {
        self.stretch.has_all_up(&self.life);
        self.is_sent = true;
    }

    /// The dependency's answer has said what became of the statement.
    pub(super) fn upstream_answered(&mut self, applied: Applied) {
        self.answer = Some(applied);
    }

    /// The dependency was sent the whole of a copy of the statement.
    pub(super) fn copy_sent(&mut self) {
        self.copies.sent += 1;
    }

    /// The dependency has answered a copy of the statement: whether it was carried out, how many
    /// rows it changed, and whether that lasts only if its transaction does. One that changed no
    /// row did nothing.
    pub(super) fn copy_answered(
        &mut self,
        is_carried_out: bool,
        rows: Option<u64>,
        in_transaction: bool,
    ) {
        self.copies.answered += 1;
        self.copies.in_transaction |= in_transaction;
        if is_carried_out && rows != Some(0) {
            if self.copies.applied == 0 {
                self.copies.rows = rows;
            }
            self.copies.applied += 1;
        }
    }

    /// The dependency's answer says that so many rows were changed; of several statements in one
    /// text the numbers add up.
    pub(super) fn changed(&mut self, rows: u64) {
        self.rows = Some(self.rows.unwrap_or(0).saturating_add(rows));
    }

    /// It found its row, also where it changed none.
    pub(super) fn held(&mut self) {
        self.held = true;
    }

    /// It may have found its row where it changed none: the answer counts those that it changed.
    pub(super) fn perhaps_held(&mut self) {
        self.perhaps_held = true;
    }

    /// The protocol's error code in what the client is sent: SQLSTATE, errno, the first word of a
    /// Redis error.
    pub(super) fn code(&mut self, code: impl Into<Arc<str>>) {
        self.code = Some(code.into());
    }

    /// Whether the dependency answered that it carried the statement out.
    pub(super) fn is_applied(&self) -> bool {
        self.answer == Some(Applied::Yes)
    }

    /// Whether the dependency was sent the whole statement.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Whether it is over for the client.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// The client gets its answer, but whether the statement is applied is yet to be known. Once
    /// the answer has left it is [`Statement::over`]. Finished, its client was told how its
    /// transaction ended; dropped, it was not, and never will be.
    pub(super) fn withhold(&mut self) {
        self.settle_answer();
        self.answer = None;
        self.is_withheld = true;
    }

    /// The client has gone before anything of the answer that is known here was sent to it.
    pub(super) fn unheard(&mut self) {
        self.code = None;
        self.first_byte = None;
        self.bytes_down = 0;
        self.is_withheld = false;
    }

    /// Its transaction is over, or the client has gone, without an answer that says how it ended.
    pub(super) fn untold(&mut self) {
        self.untold = Some(self.life.shared().now());
    }

    /// Whether a fault ended its connection with an error: dropping it records it so.
    pub(super) fn is_dismissed(&self) -> bool {
        self.life.last_code().is_some()
    }

    /// Whether the client was, or will be, sent an error code.
    pub(super) fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// Its text, cut off at [`TEXT_BYTES_MAX`](crate::protocol::TEXT_BYTES_MAX).
    pub(super) fn text(&self) -> &str {
        &self.call.target
    }

    /// The first table that it names.
    pub(super) fn table(&self) -> &str {
        &self.call.table
    }

    /// Keeps these values, by the names of the dependency's captures.
    pub(super) fn capture(&mut self, values: Vec<(String, String)>) {
        self.captured.extend(values);
    }

    /// Takes back what was decided last: the statement could not be treated so. Those who acted on
    /// it before, as by a delay, have.
    pub(super) fn last_did_not_act(&mut self) {
        if let Some(last) = self.faults.last().copied() {
            self.did_not_act(last);
        }
    }

    /// Takes back that a fault acted: it could not be carried out.
    pub(super) fn did_not_act(&mut self, fault: FaultId) {
        self.acts_on_answer.take_if(|known| *known == fault);
        self.faults.retain(|known| *known != fault);
        if let Some(set) = &self.decided_by {
            set.did_not_act(fault);
        }
    }

    /// Waits until the client was sent what was written, as faults on the wire may hold it back:
    /// only then it has its answer. One that is gone by then gave up when it left; of one that
    /// closed its direction and reads no more for the time of a linger the same is taken. What was
    /// over before is not concerned.
    pub(super) async fn settle(&mut self) {
        if self.is_over() {
            return;
        }
        self.stretch.has_all_down(&self.life);
        if self.life.is_clear() {
            return;
        }
        let held_by = self.life.held_by().borrow().clone();
        self.acted(&held_by);
        let life = Arc::clone(&self.life);
        let is_reset = tokio::select! {
            biased;
            () = self.leave() => false,
            is_reset = life.client_left() => {
                self.left(life.left_at());
                is_reset
            }
        };
        let linger = life.shared().config.limits.linger;
        self.is_gone =
            is_reset || self.left.is_some() && timeout(linger, self.leave()).await.is_err();
        if let Some(at) = life.gone_early().await {
            self.left(at);
            self.is_gone = true;
        }
        if !held_by.is_empty() {
            self.released();
        }
    }

    /// Waits until what was written has left for the client.
    async fn leave(&mut self) {
        if !self.stretch.has_begun_to_leave(&self.life) {
            self.stretch.begins_to_leave(&self.life).await;
            if self.stretch.has_begun_to_leave(&self.life) {
                self.first_byte = Some(self.life.shared().now());
            }
        }
        self.life.sent().await;
    }

    /// Comes back when there is room to record more, or soon after.
    pub(super) async fn room(&self) {
        self.life.shared().room().await;
    }

    /// Ends it now, unless it has ended.
    pub(super) fn finish(&mut self, end: AttemptEnd) {
        self.finish_at(end, self.life.shared().now());
    }

    /// Ends it at this moment, unless it has ended: of many at once the clock is read once.
    pub(super) fn finish_at(&mut self, end: AttemptEnd, at: Micros) {
        if self.is_recorded {
            return;
        }
        self.is_recorded = true;
        self.life.request_over(self.number);
        self.settle_answer();
        let (end, at) = self.seen_by_client(end, at);
        let bytes = self.bytes_up + self.bytes_down;
        self.life
            .shared()
            .request_ended(&self.call, &self.faults, bytes);
        let attempt = self.attempt(end, at);
        self.life
            .shared()
            .recorder
            .record(Observation::Attempt(attempt));
    }

    /// How it ended for the client, and when: faults on bytes may have hidden that from the engine.
    /// They are noted.
    fn seen_by_client(&mut self, end: AttemptEnd, at: Micros) -> (AttemptEnd, Micros) {
        let acted = self.life.acted_on(&self.stretch);
        self.acted(&acted);
        let end = match end {
            AttemptEnd::Answered if self.is_gone => AttemptEnd::GaveUp,
            end => end,
        };
        let swallowed = self.life.swallowed(&self.stretch);
        let swallowed = swallowed.filter(|_| end == AttemptEnd::Answered);
        let end = swallowed.map_or(end, |_| AttemptEnd::Cut);
        let is_heard = !matches!(end, AttemptEnd::GaveUp | AttemptEnd::Cut)
            || self.stretch.has_begun_to_leave(&self.life);
        if !is_heard {
            self.unheard();
        }
        if let Some(cut_at) = swallowed {
            let cut_by = self.life.cut_by();
            self.acted(&cut_by);
            self.ended = None;
            return (end, cut_at.max(self.began));
        }
        if end != AttemptEnd::GaveUp {
            return (end, at);
        }
        let left = self.seen_leaving();
        if let Some(cut_at) = self.life.cut_at(left) {
            let cut_by = self.life.cut_by();
            self.acted(&cut_by);
            self.ended = None;
            return (AttemptEnd::Cut, cut_at.max(self.began));
        }
        self.ended = self.ended.or(left);
        (end, at)
    }

    /// When the client left, if it was seen to.
    fn seen_leaving(&self) -> Option<Micros> {
        let left = self.left.or_else(|| self.life.seen_leaving());
        left.filter(|left| *left >= self.began)
    }

    fn take_captured(&mut self) -> BTreeMap<String, String> {
        let mut captured = std::mem::take(&mut self.captured);
        for (name, capture) in &self.life.shared().config.capture {
            if matches!(capture, Capture::Key) {
                captured.insert(name.clone(), self.call.key.to_string());
            }
        }
        captured
    }

    /// What became of it and its copies together: whether anything was done, how often beyond once,
    /// how often more it may have been, and the rows that it changed.
    fn with_copies(&self, itself: Applied) -> (Applied, u32, u32, Option<u64>) {
        let Copies {
            sent,
            answered,
            applied,
            rows,
            in_transaction,
        } = self.copies;
        let unknown = sent.saturating_sub(answered);
        if applied == 0 && unknown == 0 {
            return (itself, 0, 0, self.rows);
        }
        let (done, unknown) = match itself {
            _ if !in_transaction => (applied, unknown),
            Applied::Yes => (applied, unknown),
            // Its transaction was taken back, and with that all that was sent in it.
            Applied::No if self.code.is_none() => return (Applied::No, 0, 0, rows),
            // Nobody knows what became of its transaction.
            Applied::No | Applied::Unknown => (0, applied + unknown),
        };
        let (itself, rows) = match (itself, self.rows) {
            // One that met its own copy there and changed no row did nothing more.
            (Applied::Yes, Some(0)) => (Applied::No, rows),
            (Applied::Yes, own) if applied == 0 => (itself, own),
            _ => (itself, rows),
        };
        let (itself, repeated, more) = itself.with_copies(done, unknown);
        (itself, repeated, more, rows)
    }

    fn attempt(&mut self, end: AttemptEnd, at: Micros) -> Attempt {
        let captured = self.take_captured();
        let has_own_key = self.life.shared().config.key.is_some();
        let call = &self.call;
        let applied = match self.answer {
            Some(applied) => applied,
            None if self.is_sent => Applied::Unknown,
            None => Applied::No,
        };
        let (applied, repeated, repeated_unknown, rows) = self.with_copies(applied);
        Attempt {
            dependency: Arc::clone(self.life.dependency()),
            connection: call.connection,
            call: Arc::clone(&call.id),
            by_sdk_id: false,
            attempt: call.attempt,
            declared_max: None,
            operation: Arc::clone(&call.operation),
            key: Arc::clone(&call.key),
            table: (has_own_key && !call.table.is_empty()).then(|| Arc::from(&*call.table)),
            began: self.began,
            first_byte: self.first_byte,
            ended: self.ended.unwrap_or(at),
            end,
            status: None,
            code: self.code.take(),
            applied,
            repeated,
            repeated_unknown,
            rows,
            held: self.held && rows == Some(0),
            perhaps_held: self.perhaps_held && rows == Some(0),
            // What was taken back is what a client expects that was told nothing.
            untold: self.untold.filter(|_| applied != Applied::No),
            faults: std::mem::take(&mut self.faults),
            retry_after: Vec::new(),
            // Who left while another held it was as patient as it was.
            released: self
                .released
                .filter(|_| !self.is_held || end != AttemptEnd::GaveUp),
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            captured,
            trace: None,
        }
    }
}

impl Asked for Statement {
    fn now(&self) -> Micros {
        self.life.shared().now()
    }

    fn came(&self) -> Micros {
        self.came
    }

    fn call(&self) -> Option<&Call> {
        Some(&self.call)
    }

    fn held_by(&self) -> Option<watch::Receiver<Vec<FaultId>>> {
        // A server that hangs accepts connections all the same.
        (!self.call.must_be_named()).then(|| self.life.held_by())
    }

    fn refusal(&self) -> Option<Refusal> {
        self.life.refusal()
    }

    fn station(&self) -> Option<&Arc<Station>> {
        Some(&self.life.shared().station)
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
        self.released = Some(self.life.shared().now());
        self.is_held = false;
    }

    fn will_act_on_answer(&mut self, fault: FaultId) {
        self.acts_on_answer = Some(fault);
    }

    fn settle_answer(&mut self) {
        if let Some(fault) = self.acts_on_answer.take()
            && self.answer.is_none()
        {
            self.is_held = false;
            self.did_not_act(fault);
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        if self.is_withheld {
            self.untold();
            return self.finish(AttemptEnd::Answered);
        }
        if let Some(code) = self.life.last_code() {
            let faults = self.life.cut_by();
            self.acted(&faults);
            self.code(code);
            return self.finish(AttemptEnd::Answered);
        }
        let (end, faults) = match self.life.farewell() {
            Some(Farewell::ClientGone) => (AttemptEnd::GaveUp, self.life.stalled_by()),
            _ if self.seen_leaving().is_some() => (AttemptEnd::GaveUp, Vec::new()),
            Some(Farewell::Reset | Farewell::Fin) => (AttemptEnd::Cut, self.life.cut_by()),
            Some(Farewell::Done | Farewell::Drop) | None => (AttemptEnd::Unfinished, Vec::new()),
        };
        self.acted(&faults);
        self.finish(end);
    }
}
