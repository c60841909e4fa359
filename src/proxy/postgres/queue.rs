//! The requests of one session whose answers are still due, in the order in which the server will
//! answer them.

use super::Over;
use crate::{
    fault::{Closing, FaultId, Then},
    history::AttemptEnd,
    protocol::{
        Applied, TEXT_BYTES_MAX,
        postgres::{ErrorReply, code_of, rows_changed},
        sql::{Dialect, begins_with_queries},
    },
    proxy::{reserve::Reserved, statement::Statement},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// The most requests whose answers are due; then nothing more is read from the client.
pub(super) const LENGTH_MAX: usize = 10_000;

/// What a request takes whose answer is due, in bytes, beside its statement, and what that takes
/// beside its text.
const PENDING_BYTES: usize = 64;
const STATEMENT_BYTES: usize = 640;

/// What those of one connection may take whatever those of others do, in bytes; what is beyond comes
/// from what all connections share.
const OWN_BYTES: usize = 1024 * 1024;

/// The most statements of one transaction whose fate is waited for; of the oldest beyond it is
/// said that it is unknown.
const UNSETTLED_MAX: usize = 1_000;

/// The kinds of statements that change nothing which a transaction could take back.
const READING: &[&str] = &[
    "SELECT",
    "VALUES",
    "TABLE",
    "SHOW",
    "SET",
    "RESET",
    "FETCH",
    "MOVE",
    "CLOSE",
    "DECLARE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK TO",
    "SAVEPOINT",
    "RELEASE",
    "EXPLAIN",
    "PREPARE",
    "DEALLOCATE",
    "LISTEN",
    "UNLISTEN",
    "LOCK",
    "DISCARD",
    "EMPTY",
    "CONNECT",
];

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The start-up; over at the first `ReadyForQuery`.
    Connect,
    /// A simple query; over at `ReadyForQuery`.
    Query,
    /// A call of a function; over at `ReadyForQuery`.
    Function,
    /// An `Execute`; over at `CommandComplete` and the like.
    Execute,
    /// A `Sync`; over at `ReadyForQuery`.
    Sync,
    /// A `Sync` of ours behind what was parsed and bound, so that copies are transactions of their
    /// own; over at `ReadyForQuery`, of which the client hears nothing.
    Barrier,
    /// A copy of the statement behind it; over at `ReadyForQuery`. The client hears nothing of it.
    Copy,
    /// A `Bind` of ours for the `Execute` behind it, as what the client bound ended with the
    /// barrier; over at `BindComplete`, of which the client hears nothing.
    Rebind,
    /// Nothing was sent: what is to be done stands in the plan.
    Local,
}

/// What is to be done about an answer.
#[derive(Debug)]
pub(super) enum Plan {
    /// The server was made to fail: this replaces its error.
    Fail(Box<ErrorReply>),
    /// The server carries it out; then this is done to its answer.
    After(Then, FaultId),
    /// This error comes once the client has proved who it is.
    Authenticated(Box<ErrorReply>),
    /// The session ends here, after these bytes.
    End(Farewell, Closing),
}

/// The last thing a client is told.
#[derive(Debug)]
pub(super) enum Farewell {
    /// An error.
    Error(Box<ErrorReply>),
    /// Bytes, or none.
    Bytes(Bytes),
}

/// A request whose answer is due.
pub(super) struct Pending {
    pub(super) kind: Kind,
    /// What is observed; nothing for a `Sync`.
    pub(super) statement: Option<Box<Statement>>,
    pub(super) plan: Option<Plan>,
}

/// What both pumps know.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Told when something is to be done that no byte of the server brings about.
    pub(super) local: Notify,
    /// Told when the queue has become shorter after it was full.
    pub(super) room: Notify,
}

/// See [`Queue`].
pub(super) struct State {
    pub(super) pending: VecDeque<Pending>,
    /// What they take, in bytes.
    bytes: usize,
    reserved: Reserved,
    /// Behind how many of them the client has asked for what was answered until then (`Flush`).
    flushed: usize,
    /// Whether something is decided about an answer that is done when the client next asks so.
    pub(super) awaits_flush: bool,
    /// The transaction's state in the last `ReadyForQuery`, or after what was begun or ended since:
    /// `I`, `T` or `E`.
    pub(super) status: u8,
    /// Statements that were carried out in a transaction which is still open: applied is what is
    /// committed.
    unsettled: VecDeque<Box<Statement>>,
    /// How many of them came before the first savepoint.
    before_savepoint: Option<usize>,
    /// Whether the server has reported an error since it was ready last.
    pub(super) batch_has_failed: bool,
    /// Whether the text under way has ended a transaction for good: what came before in it stays,
    /// however the rest of it ends.
    pub(super) has_committed: bool,
    /// The client sends the data of a `COPY`, in which the server ignores `Sync`.
    pub(super) copies_in: bool,
    /// What was said of the copy under way: whether it was carried out, and the rows it changed.
    copy: Option<(bool, Option<u64>)>,
    /// Whether what the client parsed and bound failed before the barrier.
    failed_before_barrier: bool,
    /// A fault ends the session: the server is sent nothing more, so that what became of what it
    /// carried out stays as it was said.
    pub(super) ends: bool,
}

impl Queue {
    pub(super) fn new(first: Pending) -> Self {
        Self {
            state: Mutex::new(State {
                bytes: first.bytes(),
                reserved: Reserved::of_statements(),
                pending: VecDeque::from([first]),
                flushed: 0,
                awaits_flush: false,
                status: b'I',
                unsettled: VecDeque::new(),
                before_savepoint: None,
                batch_has_failed: false,
                has_committed: false,
                copies_in: false,
                copy: None,
                failed_before_barrier: false,
                ends: false,
            }),
            local: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Never held across a wait.
    pub(super) fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until there is room for one more.
    pub(super) async fn has_room(&self) {
        while !self.lock().has_room() {
            self.room.notified().await;
        }
    }

    /// Ends all that is still due, as the session is over.
    pub(super) fn abandon(&self, over: &Over) {
        let mut state = self.lock();
        let mut pending = std::mem::take(&mut state.pending);
        state.bytes = 0;
        let fate = fate(&pending, state.status);
        let mut undone = Vec::new();
        state.settle(fate, &mut undone);
        let is_in_transaction = state.status != b'I';
        drop(state);
        let statements = pending
            .iter_mut()
            .filter_map(|pending| pending.statement.as_deref_mut());
        for statement in statements.filter(|_| is_in_transaction) {
            // Carried out, but the server was not ready yet.
            if statement.is_applied() && may_be_undone(statement) {
                statement.upstream_answered(fate);
            }
        }
        for mut statement in undone {
            // Dropped, its client was not told what became of it.
            if fate == Applied::No {
                statement.finish(AttemptEnd::Answered);
            }
        }
        let end = match over {
            Over::ClientClosed | Over::ClientFailed => AttemptEnd::GaveUp,
            Over::ClientMalformed(_) | Over::ByFault(_) => AttemptEnd::Cut,
            Over::UpstreamClosed | Over::UpstreamFailed(_) | Over::UpstreamMalformed(_) => {
                AttemptEnd::UpstreamFailed
            }
        };
        for mut statement in pending.into_iter().filter_map(|pending| pending.statement) {
            // An error that ended the session is an answer.
            if statement.has_code() {
                statement.finish(AttemptEnd::Answered);
            } else if !statement.is_dismissed() {
                statement.finish(end);
            }
        }
    }
}

impl Pending {
    /// What it takes, in bytes.
    fn bytes(&self) -> usize {
        let statement = self.statement.as_deref();
        let own = statement.map_or(0, |statement| STATEMENT_BYTES + statement.text().len());
        PENDING_BYTES + own
    }

    /// Whether it may have ended a transaction for good: an explicit one, or, outside of such a
    /// block, that of a pipeline. A text may have a `COMMIT` behind its first statement.
    fn may_commit(&self, is_in_block: bool) -> bool {
        let sent = self.statement.as_deref().filter(|one| one.is_sent());
        let ends_pipeline = match self.kind {
            Kind::Sync | Kind::Barrier | Kind::Copy => true,
            Kind::Query | Kind::Function => sent.is_some(),
            Kind::Connect | Kind::Execute | Kind::Rebind | Kind::Local => false,
        };
        ends_pipeline && !is_in_block
            || sent.is_some_and(|statement| match &**statement.operation() {
                // `PREPARE TRANSACTION` among them.
                "COMMIT" | "PREPARE" | "OTHER" => true,
                _ => self.kind == Kind::Query && may_be_several(statement.text()),
            })
    }

    /// Whether the server says that it is ready once it has done this.
    fn ends_ready(&self) -> bool {
        match self.kind {
            Kind::Connect
            | Kind::Query
            | Kind::Function
            | Kind::Sync
            | Kind::Barrier
            | Kind::Copy => true,
            Kind::Execute | Kind::Rebind | Kind::Local => false,
        }
    }
}

/// What becomes of an open transaction when its session ends while these answers are due: without
/// its `COMMIT`, or the `Sync` of its pipeline, the server takes it back. `status`: as in
/// `ReadyForQuery`.
fn fate(pending: &VecDeque<Pending>, status: u8) -> Applied {
    let is_in_block = status != b'I';
    if pending.iter().any(|one| one.may_commit(is_in_block)) {
        Applied::Unknown
    } else {
        Applied::No
    }
}

/// Whether an error ends the session.
fn is_fatal(body: &[u8]) -> bool {
    let mut fields = body.split(|byte| *byte == 0);
    fields.any(|field| field == b"VFATAL" || field == b"VPANIC")
}

/// Whether a text may hold more than its first statement.
pub(super) fn may_be_several(text: &str) -> bool {
    let is_end = |letter: char| letter == ';' || letter.is_whitespace();
    text.len() + 4 > TEXT_BYTES_MAX || text.trim_end_matches(is_end).contains(';')
}

/// Whether the end of a transaction begins the next one: `COMMIT AND CHAIN`.
pub(super) fn chains(text: &str) -> bool {
    let words: Vec<&str> = text.split([' ', '\t', '\r', '\n', ';']).collect();
    words
        .windows(2)
        .any(|pair| pair[0].eq_ignore_ascii_case("AND") && pair[1].eq_ignore_ascii_case("CHAIN"))
}

/// Whether a transaction could take back what it did.
pub(super) fn may_be_undone(statement: &Statement) -> bool {
    !READING.contains(&&**statement.operation())
}

impl State {
    /// A request is sent on, or about to be.
    pub(super) fn push(&mut self, pending: Pending) {
        self.bytes += pending.bytes();
        self.pending.push_back(pending);
    }

    /// Whether another one may be sent on before an answer comes. Where the server was not asked to
    /// answer yet, what is held back might be the `Sync` that asks it: only the number is bounded.
    pub(super) fn has_room(&mut self) -> bool {
        let is_unasked = self.pending.back().is_some_and(|last| !last.ends_ready());
        self.pending.len() < LENGTH_MAX
            && (self.reserved.holds(self.bytes, OWN_BYTES) || is_unasked)
    }

    /// A statement's answer is whole. If the server carried it out, it is applied only once its
    /// transaction is.
    pub(super) fn keep(&mut self, mut statement: Box<Statement>, done: &mut Vec<Statement>) {
        if !statement.is_applied() || !may_be_undone(&statement) {
            return done.push(*statement);
        }
        statement.withhold();
        self.unsettled.push_back(statement);
        if self.unsettled.len() > UNSETTLED_MAX
            && let Some(oldest) = self.unsettled.pop_front()
        {
            self.before_savepoint = self.before_savepoint.map(|count| count.saturating_sub(1));
            done.push(*oldest);
        }
    }

    /// The fate of what was carried out in the transaction is known.
    pub(super) fn settle(&mut self, applied: Applied, done: &mut Vec<Statement>) {
        self.before_savepoint = None;
        for mut statement in self.unsettled.drain(..) {
            if applied != Applied::Unknown {
                statement.upstream_answered(applied);
            }
            done.push(*statement);
        }
    }

    /// The server is ready, and in no transaction. What was not ended by a word of the client's was
    /// one transaction: a statement, or a pipeline up to its `Sync`.
    pub(super) fn transaction_is_over(&mut self, done: &mut Vec<Statement>) {
        let failed = std::mem::take(&mut self.batch_has_failed);
        self.settle(if failed { Applied::No } else { Applied::Yes }, done);
    }

    /// The statements that came to be kept since this was last asked, in their order. They have
    /// left for the client, or are about to; [`State::keep_again`] takes them back.
    pub(super) fn take_kept(&mut self) -> VecDeque<Box<Statement>> {
        let newest = self.unsettled.iter().rev();
        let new = newest.take_while(|statement| !statement.is_over()).count();
        self.unsettled.split_off(self.unsettled.len() - new)
    }

    /// See [`State::take_kept`].
    pub(super) fn keep_again(&mut self, kept: VecDeque<Box<Statement>>) {
        self.unsettled.extend(kept);
    }

    /// As [`State::take_kept`], where nothing holds back what was sent: they are over now.
    pub(super) fn kept_are_over(&mut self) {
        let new = self.unsettled.iter_mut().rev();
        for statement in new.take_while(|statement| !statement.is_over()) {
            statement.over();
        }
    }

    /// What becomes of what was carried out and is not committed yet, if the session ends now.
    pub(super) fn fate(&self) -> Applied {
        fate(&self.pending, self.status)
    }

    /// Whether the server was asked already what makes it say that it is ready, and so how the
    /// transaction of a pipeline ends.
    pub(super) fn ready_is_due(&self) -> bool {
        self.pending.iter().any(Pending::ends_ready)
    }

    /// A savepoint was made.
    pub(super) fn has_savepoint(&mut self) {
        self.before_savepoint.get_or_insert(self.unsettled.len());
    }

    /// The transaction went back to a savepoint. Which one is not looked at: what came after the
    /// first may be undone.
    pub(super) fn went_back(&mut self, done: &mut Vec<Statement>) {
        let kept = self.before_savepoint.unwrap_or(0).min(self.unsettled.len());
        done.extend(self.unsettled.drain(kept..).map(|statement| *statement));
    }

    /// The state in which the server will find a request that is sent now, as far as what is due
    /// before it tells: the transaction's, and whether it skips everything up to the next `Sync`.
    pub(super) fn ahead(&self) -> (u8, bool) {
        let mut status = self.status;
        let mut skips = self.batch_has_failed;
        for pending in &self.pending {
            let statement = match (pending.kind, &pending.statement) {
                (Kind::Query, Some(statement)) if may_be_several(statement.text()) => continue,
                (Kind::Query, Some(statement)) => statement,
                (Kind::Execute, Some(statement)) if !skips => statement,
                (Kind::Sync, _) => {
                    skips = false;
                    continue;
                }
                _ => continue,
            };
            let fails = matches!(pending.plan, Some(Plan::Fail(_)));
            skips = fails && pending.kind == Kind::Execute;
            status = match (&**statement.operation(), status) {
                ("COMMIT", _) if fails => b'I',
                (_, b'T') if fails => b'E',
                (_, status) if fails => status,
                ("BEGIN", b'I') => b'T',
                ("COMMIT" | "ROLLBACK", b'T' | b'E') if chains(statement.text()) => b'T',
                ("COMMIT" | "ROLLBACK", _) => b'I',
                (_, status) => status,
            };
        }
        (status, skips)
    }

    /// Takes out the first request whose answer is due.
    pub(super) fn pop(&mut self) -> Option<Pending> {
        self.flushed = self.flushed.saturating_sub(1);
        let front = self.pending.pop_front()?;
        self.bytes = self.bytes.saturating_sub(front.bytes());
        if self.pending.is_empty() {
            self.reserved.shrink(0);
        }
        Some(front)
    }

    /// As [`State::pop`], if it is such a one.
    pub(super) fn pop_if(&mut self, is_wanted: impl FnOnce(&Pending) -> bool) -> Option<Pending> {
        self.pending.front().filter(|front| is_wanted(front))?;
        self.pop()
    }

    /// Takes out a `Sync` which the server does not answer, behind the `Execute` at the front.
    pub(super) fn forget_sync(&mut self) {
        if self
            .pending
            .get(1)
            .is_some_and(|next| next.kind == Kind::Sync)
        {
            let sync = self.pending.remove(1).map_or(0, |sync| sync.bytes());
            self.bytes = self.bytes.saturating_sub(sync);
            if self.flushed > 1 {
                self.flushed -= 1;
            }
        }
    }

    /// The client asks for what was answered until now. True if that is waited for.
    pub(super) fn flush(&mut self) -> bool {
        self.flushed = self.pending.len();
        std::mem::take(&mut self.awaits_flush)
    }

    /// Whether the client has asked so behind the first request whose answer is due.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed > 0
    }

    /// The first request whose answer is due.
    pub(super) fn front(&mut self) -> Option<&mut Pending> {
        self.pending.front_mut()
    }

    /// The statement whose answer comes now.
    pub(super) fn statement(&mut self) -> Option<&mut Statement> {
        self.front()?.statement.as_deref_mut()
    }

    /// The first statement whose answer is due, whatever of ours is due before.
    fn next_statement(&mut self) -> Option<&mut Statement> {
        let mut pending = self.pending.iter_mut();
        pending.find_map(|pending| pending.statement.as_deref_mut())
    }

    /// The server was sent the whole of a copy of the statement that was asked for last.
    pub(super) fn copy_sent(&mut self) {
        let last = self.pending.back_mut();
        if let Some(statement) = last.and_then(|last| last.statement.as_deref_mut()) {
            statement.copy_sent();
        }
    }

    /// The server was sent the whole of the statement that was asked for last.
    pub(super) fn sent_whole(&mut self) {
        let last = self.pending.back_mut();
        if let Some(statement) = last.and_then(|last| last.statement.as_deref_mut()) {
            statement.sent_whole();
        }
    }

    /// Whether what is sent next begins a transaction of its own: nothing of a pipeline, and no
    /// transaction, is before it.
    pub(super) fn begins_alone(&self) -> bool {
        let last = self.pending.back().map(|last| last.kind);
        self.ahead() == (b'I', false) && last != Some(Kind::Execute) && !self.copies_in
    }

    /// Takes a message of the server's that answers what is of ours, and says so; false where the
    /// client is to have it.
    pub(super) fn answers_ours(
        &mut self,
        kind: u8,
        body: &[u8],
        done: &mut Vec<Statement>,
    ) -> bool {
        let Some(front) = self.front().map(|front| front.kind) else {
            return false;
        };
        match (front, kind) {
            (Kind::Barrier, b'E') => {
                let code = code_of(body).map(str::to_owned);
                self.failed_before_barrier = true;
                if let (Some(code), Some(statement)) = (code, self.next_statement()) {
                    statement.code(code);
                }
                false
            }
            (Kind::Barrier, b'Z') => {
                self.batch_has_failed = false;
                self.pop();
                true
            }
            (Kind::Copy, b'C' | b'I') => {
                self.copy = Some((true, rows_changed(body)));
                true
            }
            // What ends the session the client hears too.
            (Kind::Copy, b'E') => {
                self.copy = Some((false, None));
                !is_fatal(body)
            }
            (Kind::Copy, b'Z') => {
                self.pop();
                let (is_done, rows) = self.copy.take().unwrap_or((false, None));
                if let Some(statement) = self.next_statement() {
                    let rows =
                        rows.filter(|_| !begins_with_queries(statement.text(), Dialect::Postgres));
                    statement.copy_answered(is_done, rows, body.first() != Some(&b'I'));
                }
                true
            }
            (Kind::Copy, b'A' | b'S') => false,
            (Kind::Copy, _) => true,
            (Kind::Rebind, b'2') => {
                self.pop();
                true
            }
            (Kind::Rebind, b'E') => {
                self.pop();
                let is_known = std::mem::take(&mut self.failed_before_barrier);
                if is_known {
                    self.batch_has_failed = true;
                    self.skip_executes(None, done);
                }
                is_known
            }
            _ => false,
        }
    }

    /// Takes out the `Execute`s before the next `Sync`, which an error has made the server skip.
    pub(super) fn skip_executes(&mut self, code: Option<&str>, done: &mut Vec<Statement>) {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.kind == Kind::Execute)
        {
            let Some(next) = self.pop() else {
                continue;
            };
            let Some(mut statement) = next.statement else {
                continue;
            };
            match next.plan {
                Some(Plan::After(_, fault)) => statement.did_not_act(fault),
                Some(Plan::Fail(_)) => statement.last_did_not_act(),
                _ => {}
            }
            statement.upstream_answered(Applied::No);
            if let Some(code) = code {
                statement.code(code);
            }
            done.push(*statement);
        }
    }
}
