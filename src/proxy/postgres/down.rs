//! From the server to the client: finds out which statement each answer belongs to, and does to it
//! what was decided.

use super::{
    Over, leaves_within,
    queue::{Farewell, Kind, Pending, Plan, Queue, State, chains, may_be_undone},
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied,
        postgres::{
            ErrorReply, HEADER_BYTES, Header, Sender, Session, Severity, code_of, rows_changed,
        },
        sql::{Dialect, begins_with_queries},
    },
    proxy::{
        connection::{ClientStream, Life, Shared},
        decide::{Asked, Held, hold, lifted},
        inlet::Inlet,
        statement::Statement,
        upstream::UpstreamStream,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
};

/// How much of an error is looked at, in bytes.
const ERROR_BYTES: usize = 4 * 1024;

/// The kinds of statements that may end transactions themselves, outside of an explicit one: what a
/// procedure or a block of code had committed before its error stays.
const COMMITTING: [&str; 2] = ["CALL", "DO"];

/// How much of a command's tag is looked at, in bytes: the longest, of an `INSERT` with the numbers
/// of an object and of its rows, has 39.
const TAG_BYTES: usize = 48;

impl Drop for AtReady {
    /// The session ended before anything could be done: nothing says whether the server has made
    /// good what it carried out.
    fn drop(&mut self) {
        let own = self.statement.as_deref_mut().into_iter();
        let own = own.filter(|_| !self.is_settled);
        for statement in own.chain(self.later.iter_mut().skip(self.later_settled)) {
            if statement.is_applied() && may_be_undone(statement) {
                statement.upstream_answered(Applied::Unknown);
            }
        }
    }
}

/// The most statements of a pipeline that wait for how its session ends; of the oldest beyond them
/// is said that they were cut off.
const LATER_MAX: usize = 1_000;

/// Passes on what the server answers.
pub(super) struct Down<'a> {
    upstream: Inlet<ReadHalf<UpstreamStream>>,
    client: WriteHalf<ClientStream>,
    queue: &'a Queue,
    session: Session,
    life: &'a Arc<Life>,
    faults: watch::Receiver<Arc<FaultSet>>,
    /// The server's process, for errors that name it.
    pid: u32,
    is_authenticated: bool,
    /// Bytes of the message that is being passed on.
    passing: usize,
    /// Bytes of the message that is being left out.
    dropping: usize,
    /// What is to be done at the next `ReadyForQuery`, or as soon as the client asks for what is
    /// answered; until it is ready answers are left out.
    at_ready: Option<AtReady>,
    /// Statements whose answers are whole, to be recorded once they have left.
    done: Vec<Statement>,
    /// While an answer is held back, how many of [`Down::done`] have left before it.
    held_behind: Option<usize>,
}

impl Drop for Down<'_> {
    /// Whoever left while an answer was held back does not hear it; what it says is known all the
    /// same.
    fn drop(&mut self) {
        if let Some(left) = self.held_behind {
            self.look_through(left);
        }
    }
}

/// See [`Down::at_ready`].
struct AtReady {
    then: Then,
    fault: FaultId,
    /// The statement, once its own answer is whole.
    statement: Option<Box<Statement>>,
    /// Later ones of its pipeline, whose answers are left out too.
    later: Vec<Statement>,
    /// Whether the statement's transaction has ended, and in how many of the later ones that of
    /// theirs: what became of them is known.
    is_settled: bool,
    later_settled: usize,
    /// Those that were answered before and ended with what is left out: the client is not told
    /// what became of them.
    untold: Vec<Statement>,
    /// Whether the client was told the error already, as it had asked for what was answered.
    is_said: bool,
}

impl AtReady {
    fn new(then: Then, fault: FaultId) -> Self {
        Self {
            then,
            fault,
            statement: None,
            later: Vec::new(),
            is_settled: false,
            later_settled: 0,
            untold: Vec::new(),
            is_said: false,
        }
    }

    /// The transaction of what is left out has ended so.
    fn settles(&mut self, applied: Applied) {
        let own = self.statement.as_deref_mut().into_iter();
        let own = own.filter(|_| !self.is_settled);
        for statement in own.chain(self.later.iter_mut().skip(self.later_settled)) {
            if applied != Applied::Yes && statement.is_applied() && may_be_undone(statement) {
                statement.upstream_answered(applied);
            }
        }
        self.is_settled |= self.statement.is_some();
        self.later_settled = self.later.len();
    }

    /// The error that the client is told, where its session goes on.
    fn error(&self) -> Option<&ErrorReply> {
        match &self.then {
            Then::Reply(Reply::Postgres(error)) if !error.severity.ends_session() => Some(error),
            _ => None,
        }
    }

    /// A later statement of the pipeline is over: for the client it was never carried out, as the
    /// one before it failed.
    fn leaves_out(
        &mut self,
        mut statement: Box<Statement>,
        state: &mut State,
        done: &mut Vec<Statement>,
    ) {
        statement.acted(&[self.fault]);
        if let Some(error) = self.error() {
            statement.code(&*error.code);
            return state.keep(statement, done);
        }
        self.later.push(*statement);
        if self.later.len() > LATER_MAX {
            self.later.remove(0).finish(AttemptEnd::Cut);
            self.later_settled = self.later_settled.saturating_sub(1);
        }
    }

    /// The code that the client is told of.
    fn code(&self) -> Option<&str> {
        self.error().map(|error| &*error.code)
    }

    /// Ends the later statements with the session; `fate`: what becomes of those whose transaction
    /// ends with it.
    fn end_later(&mut self, end: AttemptEnd, fate: Option<Applied>) {
        for (nth, mut statement) in self.later.drain(..).enumerate() {
            if let Some(fate) = fate
                && nth >= self.later_settled
                && may_be_undone(&statement)
            {
                statement.upstream_answered(fate);
            }
            statement.finish(end);
        }
    }
}

/// What is to be done with the message at hand.
enum Step {
    Pass,
    Drop,
    /// This in its stead.
    Replace(Vec<u8>),
    /// This, then it.
    Before(Vec<u8>),
    /// It, then this error, and the session ends.
    EndAfter(Box<ErrorReply>),
    /// It later.
    Late(Duration, FaultId),
    /// What was decided for the next `ReadyForQuery`, which it is.
    Act,
    /// The same in its stead, as the client has asked for what is answered.
    ActNow,
}

impl<'a> Down<'a> {
    pub(super) fn new(
        upstream: Inlet<ReadHalf<UpstreamStream>>,
        client: WriteHalf<ClientStream>,
        queue: &'a Queue,
        session: Session,
        life: &'a Arc<Life>,
        shared: &Shared,
    ) -> Self {
        Self {
            upstream,
            client,
            queue,
            session,
            life,
            faults: shared.switch.subscribe(),
            pid: 0,
            is_authenticated: false,
            passing: 0,
            dropping: 0,
            at_ready: None,
            done: Vec::new(),
            held_behind: None,
        }
    }

    /// Runs until the session is over.
    pub(super) async fn run(mut self) -> Over {
        match self.session().await {
            Ok(()) => Over::UpstreamClosed,
            Err(over) => over,
        }
    }

    async fn session(&mut self) -> Result<(), Over> {
        loop {
            self.pass_on().await?;
            self.act_on_flush().await?;
            self.end_locally().await?;
            tokio::select! {
                biased;
                reply = self.life.dismissed() => return Err(self.dismiss(reply).await),
                () = self.queue.local.notified() => {}
                read = self.upstream.fill() => match read {
                    Ok(0) => return self.upstream_closed().await,
                    Ok(_) => {}
                    // TLS without its farewell.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return self.upstream_closed().await;
                    }
                    Err(error) => return Err(Over::UpstreamFailed(error)),
                },
            }
        }
    }

    /// The client hears of it as it would from the server itself, also of half a message.
    async fn upstream_closed(&mut self) -> Result<(), Over> {
        let rest = self.upstream.bytes().len();
        self.send(rest).await?;
        // A client that is gone already needs not to hear.
        let _ = self.client.shutdown().await;
        Ok(())
    }

    /// Passes on all that has been read, up to a message that is not whole enough to be judged.
    async fn pass_on(&mut self) -> Result<(), Over> {
        let mut end = 0;
        loop {
            let there = self.upstream.bytes().len() - end;
            if self.passing > 0 {
                let count = self.passing.min(there);
                self.passing -= count;
                end += count;
                if self.passing > 0 {
                    break;
                }
                continue;
            }
            if self.dropping > 0 {
                self.send(end).await?;
                end = 0;
                let count = self.dropping.min(there);
                self.upstream.consume(count);
                self.dropping -= count;
                if self.dropping > 0 {
                    break;
                }
                continue;
            }
            let bytes = &self.upstream.bytes()[end..];
            let header = Header::read(bytes, Sender::Server).map_err(Over::UpstreamMalformed)?;
            let Some(header) = header.filter(|header| is_enough(*header, bytes)) else {
                break;
            };
            match self.look(header, end) {
                Step::Pass => self.passing = header.whole(),
                Step::Drop => self.dropping = header.whole(),
                step => {
                    self.send(end).await?;
                    end = 0;
                    self.carry_out(step, header).await?;
                }
            }
        }
        self.send(end).await?;
        self.record_done().await;
        // Answers have come, and with them room for more requests.
        self.queue.room.notify_one();
        Ok(())
    }

    /// Sends the first bytes of what was read.
    async fn send(&mut self, end: usize) -> Result<(), Over> {
        if end > 0 {
            let bytes = &self.upstream.bytes()[..end];
            let sending = async {
                self.client.write_all(bytes).await?;
                self.client.flush().await
            };
            sending.await.map_err(|_| Over::ClientFailed)?;
            self.upstream.consume(end);
        }
        Ok(())
    }

    async fn send_own(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let sending = async {
            self.client.write_all(bytes).await?;
            self.client.flush().await
        };
        sending.await.map_err(|_| Over::ClientFailed)
    }

    /// All that was written is on its way: so ends what was answered, for the client at least.
    async fn record_done(&mut self) {
        if self.life.is_clear() {
            self.queue.lock().kept_are_over();
        } else {
            for statement in &mut self.done {
                statement.settle().await;
            }
            let mut kept = self.queue.lock().take_kept();
            for statement in &mut kept {
                statement.settle().await;
                statement.over();
            }
            self.queue.lock().keep_again(kept);
        }
        for mut statement in self.done.drain(..) {
            statement.finish(AttemptEnd::Answered);
        }
    }

    /// What is not merely passed on or left out. All before the message has been sent.
    async fn carry_out(&mut self, step: Step, header: Header) -> Result<(), Over> {
        match step {
            Step::Pass => self.passing = header.whole(),
            Step::Drop => self.dropping = header.whole(),
            Step::Replace(bytes) => {
                self.send_own(&bytes).await?;
                self.dropping = header.whole();
            }
            Step::Before(bytes) => {
                self.send_own(&bytes).await?;
                self.passing = header.whole();
            }
            Step::EndAfter(error) => {
                self.send(header.whole().min(self.upstream.bytes().len()))
                    .await?;
                let front = self.queue.lock().pop();
                let statement = front.and_then(|front| front.statement);
                let farewell = Farewell::Error(error);
                return Err(self.say_farewell(statement, farewell, Closing::Fin).await);
            }
            Step::Late(delay, fault) => {
                let gone = async {
                    self.life.client_left().await;
                };
                self.held_behind = Some(self.done.len());
                let held = hold(&mut self.faults, gone, &[fault], Some(delay)).await;
                if held == Held::ClientGone {
                    return Err(Over::ClientClosed);
                }
                self.held_behind = None;
                match held {
                    Held::ClientGone | Held::Elapsed => {}
                    Held::Lifted => {
                        if let Some(statement) = self.queue.lock().statement() {
                            statement.released();
                        }
                    }
                }
            }
            Step::Act => {
                self.act(Some(header.whole())).await?;
                self.passing = header.whole();
            }
            Step::ActNow => {
                self.act(None).await?;
                self.dropping = header.whole();
            }
        }
        Ok(())
    }

    /// Does what was decided, if the client has asked for what was answered since the statement's
    /// own answer was whole.
    async fn act_on_flush(&mut self) -> Result<(), Over> {
        let is_due = self.at_ready.as_ref().is_some_and(|at_ready| {
            at_ready.statement.is_some() && !self.queue.lock().awaits_flush
        });
        // In the middle of a message nothing can be said.
        if is_due && self.passing == 0 {
            self.act(None).await?;
        }
        Ok(())
    }

    /// Keeps account of the answers that are here and that nobody hears any more. So many of those
    /// that are done have left before.
    fn look_through(&mut self, left: usize) {
        for mut statement in self.done.drain(..left) {
            statement.finish(AttemptEnd::Answered);
        }
        let mut at = 0;
        while let Some(bytes) = self.upstream.bytes().get(at..) {
            let header = Header::read(bytes, Sender::Server).ok().flatten();
            let Some(header) = header.filter(|header| is_enough(*header, bytes)) else {
                break;
            };
            // What was to be done later is not decided again.
            if !matches!(self.look(header, at), Step::Late(..)) {
                at += header.whole();
            }
        }
        let mut state = self.queue.lock();
        let pending = state.pending.iter_mut();
        for statement in pending.filter_map(|one| one.statement.as_deref_mut()) {
            statement.unheard();
        }
        for mut statement in state.take_kept() {
            statement.upstream_answered(Applied::Yes);
            self.done.push(*statement);
        }
        for mut statement in self.done.drain(..) {
            // Of those whose own answer left, only how their transaction ended was not heard.
            if !statement.is_over() {
                statement.unheard();
                state.pending.push_front(Pending {
                    kind: Kind::Query,
                    statement: Some(Box::new(statement)),
                    plan: None,
                });
            }
        }
    }

    /// Looks at the message that begins at `at`, and keeps account.
    fn look(&mut self, header: Header, at: usize) -> Step {
        let there = &self.upstream.bytes()[at..];
        let body = &there[HEADER_BYTES..header.whole().min(there.len())];
        let mut state = self.queue.lock();
        let is_asked = !matches!(header.kind, b'N' | b'A' | b'S');
        let in_startup = !self.is_authenticated;
        if in_startup {
            if header.kind == b'R' && body.starts_with(&[0; 4]) {
                self.is_authenticated = true;
                if let Some(error) = take_authenticated(&mut state) {
                    return Step::EndAfter(error);
                }
            }
        } else if header.kind != b'A'
            && header.kind != b'S'
            && state.answers_ours(header.kind, body, &mut self.done)
        {
            return Step::Drop;
        } else if is_asked
            && self.at_ready.is_none()
            && let Some((then, fault)) = take_after(&mut state)
        {
            if let Some(statement) = state.statement() {
                // An answer is there to act on, if not yet what it says.
                statement.upstream_answered(Applied::Unknown);
            }
            match then {
                Then::Late(delay) => return Step::Late(delay, fault),
                then => self.at_ready = Some(AtReady::new(then, fault)),
            }
        }
        let is_left_out =
            is_asked && self.at_ready.is_some() || is_of_failing(&mut state, header.kind);
        let has_statement =
            |at_ready: &Option<AtReady>| at_ready.as_ref().is_some_and(|at| at.statement.is_some());
        let (is_flushed, had_statement) = (state.is_flushed(), has_statement(&self.at_ready));
        let step = match header.kind {
            b'Z' => {
                let status = body.first().copied().unwrap_or(b'I');
                return ready(
                    &mut state,
                    status,
                    &mut self.at_ready,
                    &mut self.done,
                    &self.session,
                    self.pid,
                    header.whole(),
                );
            }
            b'E' => {
                let code = code_of(body);
                error(
                    &mut state,
                    code,
                    in_startup,
                    &mut self.at_ready,
                    &mut self.done,
                    &self.session,
                    self.pid,
                )
            }
            b'C' | b'I' | b's' | b'V' => {
                complete(&mut state, body, &mut self.at_ready, &mut self.done);
                None
            }
            b'G' | b'W' => {
                copies_in(&mut state);
                return Step::Pass;
            }
            b'K' => {
                self.pid = body.first_chunk().map_or(0, |pid| u32::from_be_bytes(*pid));
                None
            }
            _ => None,
        };
        if !had_statement && has_statement(&self.at_ready) {
            if is_flushed {
                return Step::ActNow;
            }
            state.awaits_flush = true;
        }
        if is_left_out {
            return Step::Drop;
        }
        if let Some(step) = step {
            return step;
        }
        let last = self.done.last_mut();
        if let Some(statement) = state.statement().or(last).filter(|_| is_asked) {
            statement.add_down(header.whole());
        }
        Step::Pass
    }

    /// The server has carried the statement out: does what was decided about its answer. `ready`:
    /// the bytes of the `ReadyForQuery` that comes behind it, if the server is ready. Where it was
    /// asked for that already, it is waited for: only then is known what became of the statement.
    async fn act(&mut self, ready: Option<usize>) -> Result<(), Over> {
        if ready.is_none() && self.queue.lock().ready_is_due() {
            return Ok(());
        }
        let Some(mut at_ready) = self.at_ready.take() else {
            return Ok(());
        };
        let Some(mut statement) = at_ready.statement.take() else {
            return Ok(());
        };
        if let Some(error) = at_ready.error() {
            let bytes = self.bytes_of(error, &statement);
            statement.code(&*error.code);
            statement.add_down(bytes.len() + ready.unwrap_or(0));
            self.send_own(&bytes).await?;
            if ready.is_some() {
                self.done.push(*statement);
            } else {
                self.queue.lock().keep(statement, &mut self.done);
                at_ready.is_said = true;
                self.at_ready = Some(at_ready);
            }
            return Ok(());
        }
        let (is_in_transaction, fate) = self.begin_end(ready.is_some());
        if let Some(fate) = fate
            && !at_ready.is_settled
            && (is_in_transaction || may_be_undone(&statement))
        {
            statement.upstream_answered(fate);
        }
        let (over, end) = self.end_session(&at_ready, statement).await;
        at_ready.end_later(end, fate);
        Err(over)
    }

    /// From now on the server is sent nothing more. Whether a transaction is open, and what becomes
    /// of what ends with the session; nothing does if the server is ready and in no transaction.
    fn begin_end(&self, is_ready: bool) -> (bool, Option<Applied>) {
        let mut state = self.queue.lock();
        state.ends = true;
        let is_in_transaction = state.status != b'I';
        let fate = (is_in_transaction || !is_ready).then(|| state.fate());
        (is_in_transaction, fate)
    }

    /// Ends the session in place of a statement's answer; says how, and how later statements of
    /// its pipeline end.
    async fn end_session(
        &mut self,
        at_ready: &AtReady,
        mut statement: Box<Statement>,
    ) -> (Over, AttemptEnd) {
        let farewell = match &at_ready.then {
            Then::Reply(Reply::Postgres(error)) => Farewell::Error(error.clone()),
            Then::Reply(Reply::Garbage(bytes)) => Farewell::Bytes(bytes.clone()),
            Then::Lose => {
                let faults = [at_ready.fault];
                let end = tokio::select! {
                    biased;
                    _ = self.life.client_left() => AttemptEnd::GaveUp,
                    () = lifted(&mut self.faults, &faults) => {
                        statement.released();
                        AttemptEnd::Unfinished
                    }
                };
                statement.finish(end);
                return (Over::ByFault(Closing::Fin), end);
            }
            then => {
                // No byte, and what only answers of HTTP can meet.
                let (delay, closing) = match then {
                    Then::Close(closing) => closing.apart(),
                    _ => (None, Closing::Fin),
                };
                if leaves_within(self.life, delay).await {
                    statement.finish(AttemptEnd::GaveUp);
                    return (Over::ClientClosed, AttemptEnd::GaveUp);
                }
                statement.finish(AttemptEnd::Cut);
                return (Over::ByFault(closing), AttemptEnd::Cut);
            }
        };
        let said = self
            .say_farewell(Some(statement), farewell, Closing::Fin)
            .await;
        (said, AttemptEnd::Cut)
    }

    fn bytes_of(&self, error: &ErrorReply, statement: &Statement) -> Vec<u8> {
        let (operation, table) = (statement.operation(), statement.table());
        error.bytes(&self.session, self.pid, operation, table)
    }

    /// Ends the session if the statement that is due ends it, and no answer is due before.
    async fn end_locally(&mut self) -> Result<(), Over> {
        let front = {
            let mut state = self.queue.lock();
            let front = state.pop_if(|front| front.kind == Kind::Local);
            state.ends |= front.is_some();
            front
        };
        let Some(front) = front else {
            return Ok(());
        };
        match front.plan {
            Some(Plan::End(farewell, closing)) => {
                Err(self.say_farewell(front.statement, farewell, closing).await)
            }
            _ => Ok(()),
        }
    }

    /// Tells the client the last thing it hears, after the time of a closing that has one.
    async fn say_farewell(
        &mut self,
        statement: Option<Box<Statement>>,
        farewell: Farewell,
        closing: Closing,
    ) -> Over {
        let (delay, closing) = closing.apart();
        if leaves_within(self.life, delay).await {
            if let Some(mut statement) = statement {
                statement.finish(AttemptEnd::GaveUp);
            }
            return Over::ClientClosed;
        }
        let (bytes, code) = match (&farewell, &statement) {
            (Farewell::Bytes(bytes), _) => (bytes.to_vec(), None),
            (Farewell::Error(error), statement) => {
                let bytes = match statement {
                    Some(statement) => self.bytes_of(error, statement),
                    None => error.bytes(&self.session, self.pid, "", ""),
                };
                let is_answer = error.severity != Severity::Warning;
                (bytes, is_answer.then(|| error.code.to_string()))
            }
        };
        let end = match code {
            Some(_) => AttemptEnd::Answered,
            None => AttemptEnd::Cut,
        };
        let sent = self.send_own(&bytes).await;
        if let Some(mut statement) = statement {
            statement.add_down(bytes.len());
            if let Some(code) = code {
                statement.code(code);
            }
            statement.settle().await;
            statement.finish(end);
        }
        if closing == Closing::Fin {
            // Under TLS the client is told that nothing follows; it may be gone already.
            let _ = self.client.shutdown().await;
        }
        match sent {
            Ok(()) => Over::ByFault(closing),
            Err(over) => over,
        }
    }

    /// A fault ends the session, whatever it is doing. In the middle of a message nothing can be
    /// said.
    async fn dismiss(&mut self, reply: Reply) -> Over {
        let Reply::Postgres(error) = reply else {
            return Over::ByFault(Closing::Fin);
        };
        if self.passing > 0 {
            return Over::ByFault(Closing::Fin);
        }
        if error.severity != Severity::Warning {
            self.life.said(&error.code);
        }
        let front = self.queue.lock().pop();
        let mut statement = front.and_then(|front| front.statement);
        if let Some(statement) = &mut statement {
            statement.acted(&self.life.cut_by());
        }
        self.say_farewell(statement, Farewell::Error(error), Closing::Fin)
            .await
    }
}

/// Whether a message answers what was sent in a statement's stead to make it fail: for a `COMMIT`
/// a `ROLLBACK` goes before.
fn is_of_failing(state: &mut State, kind: u8) -> bool {
    let Some(front) = state.front() else {
        return false;
    };
    let is_commit = |statement: &Statement| **statement.operation() == *"COMMIT";
    matches!(front.plan, Some(Plan::Fail(_)))
        && front.statement.as_deref().is_some_and(is_commit)
        && matches!(kind, b'C' | b'N' | b'1' | b'2' | b'3')
}

/// Takes the error that comes once the client has proved who it is.
fn take_authenticated(state: &mut State) -> Option<Box<ErrorReply>> {
    let front = state.front()?;
    match front.plan.take() {
        Some(Plan::Authenticated(error)) => {
            if let Some(statement) = &mut front.statement {
                statement.upstream_answered(Applied::No);
            }
            Some(error)
        }
        plan => {
            front.plan = plan;
            None
        }
    }
}

/// Takes what is to be done to the answer that begins now.
fn take_after(state: &mut State) -> Option<(Then, FaultId)> {
    let front = state.front()?;
    match front.plan.take() {
        Some(Plan::After(then, fault)) => Some((then, fault)),
        plan => {
            front.plan = plan;
            None
        }
    }
}

/// The server has carried out what is due; an `Execute` is over with that.
fn complete(
    state: &mut State,
    body: &[u8],
    at_ready: &mut Option<AtReady>,
    all_done: &mut Vec<Statement>,
) {
    let has_committed = state.has_committed;
    let Some(front) = state.front() else {
        return;
    };
    if matches!(front.plan, Some(Plan::Fail(_))) {
        return;
    }
    let kind = front.kind;
    let done = settled(at_ready, all_done);
    let mut operation: Arc<str> = "".into();
    let mut goes_on = false;
    if let Some(statement) = &mut front.statement {
        operation = Arc::clone(statement.operation());
        goes_on = is_end(body) && chains(statement.text());
        // The server answers so to the end of a transaction that has failed, and to a text that
        // takes back what its first statement did.
        let is_undone = body.starts_with(b"ROLLBACK\0")
            && (*operation == *"COMMIT" || may_be_undone(statement));
        statement.upstream_answered(match is_undone {
            // Behind a `COMMIT` of the same text it takes back what came after that.
            true if has_committed => Applied::Unknown,
            true => Applied::No,
            false => Applied::Yes,
        });
        if let Some(rows) = rows_changed(body)
            && !begins_with_queries(statement.text(), Dialect::Postgres)
        {
            statement.changed(rows);
        }
    }
    let fate = match (&*operation, body) {
        ("ROLLBACK TO", _) => {
            state.went_back(done);
            Some(Applied::Unknown)
        }
        ("SAVEPOINT", _) => {
            state.has_savepoint();
            None
        }
        (_, body) if body.starts_with(b"COMMIT\0") => Some(Applied::Yes),
        // Who will commit it, and whether, does not show here.
        (_, body) if body.starts_with(b"PREPARE TRANSAC") => Some(Applied::Unknown),
        (_, body) if body.starts_with(b"ROLLBACK\0") => Some(Applied::No),
        _ => None,
    };
    if let Some(fate) = fate {
        if &*operation != "ROLLBACK TO" {
            state.settle(fate, done);
            state.has_committed |= kind == Kind::Query && fate != Applied::No;
        }
        if let Some(at_ready) = at_ready {
            at_ready.settles(fate);
        }
    }
    match &*operation {
        "ROLLBACK TO" => {}
        _ if is_end(body) && !goes_on => state.status = b'I',
        _ if body.starts_with(b"BEGIN\0") || body.starts_with(b"START TRANSACTION\0") => {
            state.status = b'T';
        }
        _ => {}
    }
    if kind == Kind::Execute {
        let statement = pop_statement(state);
        over(state, statement, at_ready, all_done);
    }
}

/// Where those go whose transaction ends with the answer at hand: to those that are answered, or,
/// where that answer is left out, to those whose client is not told.
fn settled<'a>(
    at_ready: &'a mut Option<AtReady>,
    done: &'a mut Vec<Statement>,
) -> &'a mut Vec<Statement> {
    match at_ready {
        Some(at_ready) => &mut at_ready.untold,
        None => done,
    }
}

/// Whether a tag says that a transaction has ended.
fn is_end(body: &[u8]) -> bool {
    let ends: [&[u8]; 3] = [b"COMMIT\0", b"ROLLBACK\0", b"PREPARE TRANSACTION\0"];
    ends.iter().any(|tag| body.starts_with(tag))
}

/// Takes out the statement whose answer is whole. What was decided about it and not begun is not
/// done any more: its answer is left out already.
fn pop_statement(state: &mut State) -> Option<Box<Statement>> {
    let front = state.pop()?;
    let mut statement = front.statement?;
    if let Some(Plan::After(_, fault)) = front.plan {
        statement.did_not_act(fault);
    }
    Some(statement)
}

/// A statement is over, or is to be when the server is ready.
fn over(
    state: &mut State,
    statement: Option<Box<Statement>>,
    at_ready: &mut Option<AtReady>,
    done: &mut Vec<Statement>,
) {
    let Some(statement) = statement else {
        return;
    };
    match at_ready {
        None => state.keep(statement, done),
        Some(at_ready) if at_ready.is_said || at_ready.statement.is_some() => {
            at_ready.leaves_out(statement, state, done);
        }
        Some(at_ready) => at_ready.statement = Some(statement),
    }
}

/// The server reports an error.
fn error(
    state: &mut State,
    code: Option<&str>,
    in_startup: bool,
    at_ready: &mut Option<AtReady>,
    done: &mut Vec<Statement>,
    session: &Session,
    pid: u32,
) -> Option<Step> {
    state.batch_has_failed = true;
    let has_committed = state.has_committed;
    let is_outside = state.status == b'I';
    let front = state.front()?;
    let kind = front.kind;
    if let Some(Plan::Fail(reply)) = &front.plan {
        let reply = reply.clone();
        front.plan = None;
        let mut bytes = Vec::new();
        if let Some(statement) = &mut front.statement {
            bytes = reply.bytes(session, pid, statement.operation(), statement.table());
            statement.upstream_answered(Applied::No);
            statement.code(&*reply.code);
            statement.add_down(bytes.len());
        }
        if kind == Kind::Execute {
            let statement = pop_statement(state);
            over(state, statement, at_ready, done);
            state.skip_executes(Some(&reply.code), done);
        }
        return Some(Step::Replace(bytes));
    }
    if in_startup
        && let Some(Plan::After(_, fault)) = front.plan.take()
        && let Some(statement) = &mut front.statement
    {
        statement.did_not_act(fault);
    }
    if let Some(statement) = &mut front.statement {
        // A text of several statements of which a later one failed, behind a `COMMIT`; or of what may
        // have one in itself.
        let commits = is_outside && COMMITTING.contains(&&**statement.operation());
        statement.upstream_answered(if has_committed || commits {
            Applied::Unknown
        } else {
            Applied::No
        });
        if let Some(code) = code {
            statement.code(code);
        }
    }
    if kind == Kind::Execute {
        let statement = pop_statement(state);
        over(state, statement, at_ready, done);
        let told = at_ready.as_ref().and_then(AtReady::code);
        state.skip_executes(told.or(code), done);
    }
    None
}

/// The client is to send the data of a `COPY`; a `Sync` that it has sent already is not answered.
fn copies_in(state: &mut State) {
    state.copies_in = true;
    let is_execute = state
        .front()
        .is_some_and(|front| front.kind == Kind::Execute);
    if is_execute {
        state.forget_sync();
    }
}

/// The server is ready: everything up to what it was asked last is over.
fn ready(
    state: &mut State,
    status: u8,
    at_ready: &mut Option<AtReady>,
    done: &mut Vec<Statement>,
    session: &Session,
    pid: u32,
    bytes: usize,
) -> Step {
    state.status = status;
    state.copies_in = false;
    state.skip_executes(None, done);
    let is_local = |kind: Kind| kind == Kind::Local;
    state.awaits_flush = false;
    state.has_committed = false;
    let Some(mut front) = state.pop_if(|front| !is_local(front.kind)) else {
        return Step::Pass;
    };
    let mut step = Step::Pass;
    if let Some(statement) = &mut front.statement {
        match front.plan.take() {
            // The server did not fail though it was made to.
            Some(Plan::Fail(reply)) => {
                let error = reply.bytes(session, pid, statement.operation(), statement.table());
                statement.upstream_answered(Applied::No);
                statement.code(&*reply.code);
                statement.add_down(error.len());
                step = Step::Before(error);
            }
            _ if front.kind == Kind::Connect && !statement.has_code() => {
                statement.upstream_answered(Applied::Yes);
            }
            _ => {}
        }
        if at_ready.is_none() {
            statement.add_down(bytes);
        }
    }
    let is_undone = status == b'I' && state.batch_has_failed;
    if let Some(at_ready) = at_ready
        && status == b'I'
    {
        // Something later in its pipeline may have failed in the server itself.
        at_ready.settles(if is_undone { Applied::No } else { Applied::Yes });
    }
    over(state, front.statement.take(), at_ready, done);
    if status == b'I' {
        state.transaction_is_over(settled(at_ready, done));
    } else {
        state.batch_has_failed = false;
    }
    if at_ready.is_some() { Step::Act } else { step }
}

/// Whether enough of a message has been read to judge it.
fn is_enough(header: Header, bytes: &[u8]) -> bool {
    let wanted = match header.kind {
        b'E' => ERROR_BYTES,
        b'C' => TAG_BYTES,
        b'R' => 4,
        b'K' | b'Z' => 8,
        _ => 0,
    };
    bytes.len() >= HEADER_BYTES + header.body.min(wanted)
}
