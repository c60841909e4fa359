//! From the client to the server: asks the faults about each statement before it goes on.

use super::{
    Over, Waiting,
    queue::{Farewell, Kind, Pending, Plan, Queue, may_be_several},
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Recognised, TEXT_BYTES_MAX,
        postgres::{
            Bind, HEADER_BYTES, Header, Parse, REPEATED, Sender, Severity, failing, leading_text,
            message, statement,
        },
    },
    proxy::{
        connection::{Arrival, ClientStream, Life, Shared},
        decide::{Asked, Verdict, decide},
        inlet::Inlet,
        statement::Statement,
        upstream::UpstreamStream,
    },
    scenario::{Capture, KeyFrom},
};
use bytes::Bytes;
use std::{collections::HashMap, sync::Arc};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
};

/// How much of a body is looked at: a statement's text as far as it is matched, or the parameters
/// that keys and captures come from.
const LOOK_BYTES: usize = 2 * TEXT_BYTES_MAX;

/// The most prepared statements, and portals, that are remembered by name; beyond them all are
/// forgotten, and what they execute is then of unknown kind.
const NAMES_MAX: usize = 10_000;

/// The most bytes of prepared statements' texts; beyond them the texts of those that were prepared
/// before are forgotten, and only their kinds and tables are known.
const TEXTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A prepared statement.
#[derive(Debug, Clone)]
struct Prepared {
    recognised: Recognised,
    /// The declared types of the parameters that are of interest here, by their number.
    types: Vec<(usize, u32)>,
}

/// What an `Execute` executes.
#[derive(Debug, Clone, Default)]
struct Portal {
    recognised: Recognised,
    captured: Vec<(String, String)>,
}

/// Passes on what the client sends.
pub(super) struct Up<'a> {
    client: Inlet<ReadHalf<ClientStream>>,
    upstream: WriteHalf<UpstreamStream>,
    queue: &'a Queue,
    connection: u64,
    life: &'a Arc<Life>,
    shared: &'a Arc<Shared>,
    faults: watch::Receiver<Arc<FaultSet>>,
    held_by: watch::Receiver<Vec<FaultId>>,
    /// Bytes of the message that is being passed on.
    passing: usize,
    /// Bytes of the message that is being left out.
    dropping: usize,
    /// Whether that message says farewell.
    is_last: bool,
    /// The `Bind` that came last since the last `Sync`, with its portal, where a fault may want it
    /// again, and how many came.
    bound: Option<(Box<[u8]>, Bytes)>,
    binds: u32,
    /// Bytes sent for the next `Execute` since the last `Sync`, and when the first of them came since
    /// the client last asked for an answer.
    prelude_bytes: usize,
    prelude_began: Option<Arrival>,
    /// When bytes were last read, when the first of a message came of which there is not enough
    /// yet, and when those of the message did that is looked at.
    read: Arrival,
    part_since: Option<Arrival>,
    came: Arrival,
    /// Whether the client has gone: what it had sent goes nowhere.
    is_left: bool,
    /// Parameters that keys and captures come from.
    wanted: Vec<usize>,
    statements: HashMap<Box<[u8]>, Prepared>,
    portals: HashMap<Box<[u8]>, Portal>,
    texts_bytes: usize,
}

/// What is to be done with the message at hand.
enum Step {
    /// Pass it on.
    Pass,
    /// Ask the faults about it first.
    Ask(Kind, Box<Statement>),
    /// Look at it again when some of the answers that are due have come.
    Room,
}

impl<'a> Up<'a> {
    pub(super) fn new(
        client: Inlet<ReadHalf<ClientStream>>,
        upstream: WriteHalf<UpstreamStream>,
        queue: &'a Queue,
        connection: u64,
        life: &'a Arc<Life>,
        shared: &'a Arc<Shared>,
    ) -> Self {
        let captures = shared.config.capture.values();
        let mut wanted: Vec<usize> = captures
            .filter_map(|capture| match capture {
                Capture::Parameter(nth) => Some(*nth),
                _ => None,
            })
            .collect();
        wanted.extend(key_parameter(shared));
        Self {
            client,
            upstream,
            queue,
            connection,
            life,
            shared,
            faults: shared.switch.subscribe(),
            held_by: life.held_by(),
            passing: 0,
            dropping: 0,
            is_last: false,
            bound: None,
            binds: 0,
            prelude_bytes: 0,
            prelude_began: None,
            read: life.arrival(),
            part_since: None,
            came: life.arrival(),
            is_left: false,
            wanted,
            statements: HashMap::new(),
            portals: HashMap::new(),
            texts_bytes: 0,
        }
    }

    /// Runs until the client is done.
    pub(super) async fn run(mut self) -> Over {
        loop {
            if let Err(over) = self.pass_on().await {
                return over;
            }
            match self.client.fill().await {
                Ok(0) => {
                    self.unless_ended().await;
                    self.cut_off();
                    return self.client_closed().await;
                }
                Ok(_) => {
                    self.read = self.life.arrival();
                    self.shared.room().await;
                }
                Err(_) => {
                    self.unless_ended().await;
                    self.cut_off();
                    return Over::ClientFailed;
                }
            }
        }
    }

    /// Records the statement of which only the beginning came, as a fault cut the connection behind
    /// it.
    fn cut_off(&mut self) {
        if !self.life.is_cut() {
            return;
        }
        let bytes = self.client.bytes();
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let known = |name: &[u8]| self.statements.get(name).map(|one| one.recognised.clone());
        let bound = |name: &[u8]| self.portals.get(name).map(|one| one.recognised.clone());
        let recognised = match bytes.first() {
            Some(b'Q') if !body.is_empty() => Some(statement(leading_text(body))),
            Some(b'P') => Parse::read(body).map(|parse| statement(parse.text)),
            // Most are for the statement and the portal without a name.
            Some(b'B') => known(Bind::read(body).map_or(b"", |bind| bind.statement)),
            Some(b'E') => bound(leading_text(body)),
            Some(b'Q' | b'F') => None,
            _ if self.prelude_began.is_none() => return,
            _ if self.binds > 0 => bound(b""),
            _ => known(b""),
        };
        let recognised = recognised.unwrap_or_else(|| Recognised {
            operation: "OTHER".into(),
            ..Recognised::default()
        });
        let came = self.part_since.take().unwrap_or(self.read);
        let began = self.prelude_began.take().unwrap_or(came);
        let (shared, life) = (self.shared, self.life);
        let mut statement = Statement::new(shared, life, self.connection, recognised, began);
        statement.add_up(self.prelude_bytes + self.client.bytes().len());
        statement.finish(AttemptEnd::GaveUp);
    }

    /// The server hears of it as it would from the client itself.
    async fn client_closed(&mut self) -> Over {
        // A server that is gone already needs not to hear.
        let _ = self.upstream.shutdown().await;
        Over::ClientClosed
    }

    /// Passes on all that has been read, up to a message that is not whole enough to be judged.
    async fn pass_on(&mut self) -> Result<(), Over> {
        let mut end = 0;
        loop {
            if end == 0 {
                self.unless_ended().await;
            }
            let there = self.client.bytes().len() - end;
            if self.passing > 0 {
                let count = self.passing.min(there);
                self.passing -= count;
                end += count;
                if self.passing > 0 {
                    break;
                }
                if self.is_last {
                    self.send(end).await?;
                    return Err(self.client_closed().await);
                }
                continue;
            }
            if self.dropping > 0 {
                self.send(end).await?;
                end = 0;
                let count = self.dropping.min(there);
                self.client.consume(count);
                self.dropping -= count;
                if self.dropping > 0 {
                    break;
                }
                continue;
            }
            let bytes = &self.client.bytes()[end..];
            let header = Header::read(bytes, Sender::Client).map_err(Over::ClientMalformed)?;
            let Some(header) = header.filter(|header| is_enough(*header, bytes)) else {
                if !bytes.is_empty() {
                    self.part_since.get_or_insert(self.read);
                }
                break;
            };
            self.came = self.part_since.take().unwrap_or(self.read);
            match self.look(header, end) {
                Step::Pass => {
                    self.passing = header.whole();
                    self.is_last = header.kind == b'X';
                }
                Step::Ask(kind, statement) => {
                    self.send(end).await?;
                    end = 0;
                    self.ask(header, kind, statement).await?;
                }
                Step::Room => {
                    self.send(end).await?;
                    end = 0;
                    self.queue.has_room().await;
                }
            }
        }
        self.send(end).await
    }

    /// Sends the first bytes of what was read.
    async fn send(&mut self, end: usize) -> Result<(), Over> {
        if end > 0 {
            let bytes = &self.client.bytes()[..end];
            let sending = async {
                self.upstream.write_all(bytes).await?;
                self.upstream.flush().await
            };
            sending.await.map_err(Over::UpstreamFailed)?;
            self.client.consume(end);
        }
        Ok(())
    }

    /// Where a fault ends the session, leaves its end to the other pump, which also sees the client
    /// leave: nothing more is sent.
    async fn unless_ended(&self) {
        if self.queue.lock().ends {
            std::future::pending().await
        }
    }

    async fn send_own(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let sending = async {
            self.upstream.write_all(bytes).await?;
            self.upstream.flush().await
        };
        sending.await.map_err(Over::UpstreamFailed)
    }

    /// Looks at the message that begins at `at`.
    fn look(&mut self, header: Header, at: usize) -> Step {
        let there = &self.client.bytes()[at..];
        let whole = header.whole();
        let body = &there[HEADER_BYTES.min(there.len())..whole.min(there.len())];
        match header.kind {
            b'Q' => {
                let recognised = statement(leading_text(body));
                self.begin(Kind::Query, recognised, Vec::new(), self.came, whole)
            }
            b'F' => {
                let recognised = Recognised {
                    operation: "FUNCTION".into(),
                    ..Recognised::default()
                };
                self.begin(Kind::Function, recognised, Vec::new(), self.came, whole)
            }
            b'E' => {
                let portal = self.portals.get(leading_text(body)).cloned();
                let mut portal = portal.unwrap_or_default();
                if portal.recognised.operation.is_empty() {
                    portal.recognised.operation = "OTHER".into();
                }
                let began = self.prelude_began.take().unwrap_or(self.came);
                let bytes = std::mem::take(&mut self.prelude_bytes) + whole;
                self.begin(
                    Kind::Execute,
                    portal.recognised,
                    portal.captured,
                    began,
                    bytes,
                )
            }
            b'P' => {
                let prepared = self.prepare(body);
                self.prelude(whole);
                match prepared {
                    Some((name, prepared)) => self.remember(name, prepared),
                    // Whatever it replaces, what is known may be wrong.
                    None => self.forget_all(),
                }
                Step::Pass
            }
            b'B' => {
                let bound = self.bind(body);
                self.binds += 1;
                self.bound = bound
                    .as_ref()
                    .filter(|_| there.len() >= whole && self.faults.borrow().acts_on_requests())
                    .map(|(portal, _)| (portal.clone(), Bytes::copy_from_slice(&there[..whole])));
                self.prelude(whole);
                if bound.is_none() || self.portals.len() >= NAMES_MAX {
                    self.portals.clear();
                }
                self.portals.extend(bound);
                Step::Pass
            }
            b'C' => {
                let name: Box<[u8]> = leading_text(body.get(1..).unwrap_or_default()).into();
                match body.first() {
                    Some(b'S') => self.forget(&name),
                    Some(b'P') => drop(self.portals.remove(&name)),
                    _ => {}
                }
                Step::Pass
            }
            b'D' => {
                self.prelude(whole);
                Step::Pass
            }
            b'S' => {
                (self.bound, self.binds) = (None, 0);
                (self.prelude_bytes, self.prelude_began) = (0, None);
                let mut state = self.queue.lock();
                if !state.copies_in {
                    if !state.has_room() {
                        return Step::Room;
                    }
                    state.push(Pending {
                        kind: Kind::Sync,
                        statement: None,
                        plan: None,
                    });
                }
                Step::Pass
            }
            b'H' => {
                self.prelude_began = None;
                if self.queue.lock().flush() {
                    self.queue.local.notify_one();
                }
                Step::Pass
            }
            b'd' => {
                if let Some(statement) = self.queue.lock().statement() {
                    statement.add_up(whole);
                }
                Step::Pass
            }
            b'c' | b'f' => {
                self.queue.lock().copies_in = false;
                Step::Pass
            }
            _ => Step::Pass,
        }
    }

    /// Counts what belongs to the next `Execute`.
    fn prelude(&mut self, bytes: usize) {
        self.prelude_bytes += bytes;
        self.prelude_began.get_or_insert(self.came);
    }

    fn prepare(&self, body: &[u8]) -> Option<(Box<[u8]>, Prepared)> {
        let parse = Parse::read(body)?;
        let types = self.wanted.iter().map(|nth| (*nth, parse.declared(*nth)));
        let prepared = Prepared {
            recognised: statement(parse.text),
            types: types.collect(),
        };
        Some((parse.name.into(), prepared))
    }

    fn remember(&mut self, name: Box<[u8]>, prepared: Prepared) {
        self.forget(&name);
        if self.statements.len() >= NAMES_MAX {
            self.forget_all();
        }
        let bytes = prepared.recognised.text.len();
        if self.texts_bytes + bytes > TEXTS_BYTES_MAX {
            for earlier in self.statements.values_mut() {
                earlier.recognised.text = "".into();
            }
            self.texts_bytes = 0;
        }
        self.texts_bytes += bytes;
        self.statements.insert(name, prepared);
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(forgotten) = self.statements.remove(name) {
            self.texts_bytes -= forgotten.recognised.text.len();
        }
    }

    fn forget_all(&mut self) {
        self.statements.clear();
        self.texts_bytes = 0;
    }

    fn bind(&self, body: &[u8]) -> Option<(Box<[u8]>, Portal)> {
        let bind = Bind::read(body)?;
        let Some(prepared) = self.statements.get(bind.statement) else {
            return Some((bind.portal.into(), Portal::default()));
        };
        let mut portal = Portal {
            recognised: prepared.recognised.clone(),
            captured: Vec::new(),
        };
        let value = |nth: usize| {
            let types = prepared.types.iter();
            let declared = types.copied().find(|(of, _)| *of == nth);
            bind.parameter(nth, declared.map_or(0, |(_, declared)| declared))
        };
        if let Some(key) = key_parameter(self.shared).and_then(value) {
            portal.recognised.key = key.into();
        }
        for (name, capture) in &self.shared.config.capture {
            if let Capture::Parameter(nth) = capture
                && let Some(value) = value(*nth)
            {
                portal.captured.push((name.clone(), value));
            }
        }
        Some((bind.portal.into(), portal))
    }

    /// Begins to observe a statement. Where no fault can act on it, it goes on at once.
    fn begin(
        &mut self,
        kind: Kind,
        recognised: Recognised,
        captured: Vec<(String, String)>,
        began: Arrival,
        bytes: usize,
    ) -> Step {
        let mut statement = Box::new(Statement::new(
            self.shared,
            self.life,
            self.connection,
            recognised,
            began,
        ));
        statement.add_up(bytes);
        statement.capture(captured);
        let is_free = !self.is_left
            && !self.faults.borrow().acts_on_requests()
            && self.held_by.borrow().is_empty()
            && !self.life.is_refused()
            && self.queue.lock().has_room();
        if !is_free {
            return Step::Ask(kind, statement);
        }
        statement.sent_whole();
        self.queue.lock().push(Pending {
            kind,
            statement: Some(statement),
            plan: None,
        });
        Step::Pass
    }

    /// Asks the faults about a statement, all before it being sent.
    async fn ask(
        &mut self,
        header: Header,
        kind: Kind,
        mut statement: Box<Statement>,
    ) -> Result<(), Over> {
        self.queue.has_room().await;
        let mut waiting = Waiting(self.life);
        let verdict = decide(&mut *statement, &mut self.faults, &mut waiting).await;
        if self.queue.lock().ends {
            self.push(Kind::Local, Some(statement), None);
            self.unless_ended().await;
            return Ok(());
        }
        let plan = match verdict {
            Verdict::Forward(Some((Then::Repeat { times, then }, fault))) => {
                return self
                    .repeat(header, kind, statement, (times, *then, fault))
                    .await;
            }
            Verdict::Forward(then) => {
                then.map(|(then, fault)| self.possible(&statement, then, fault))
            }
            Verdict::Reply(Reply::Postgres(error)) if !error.severity.ends_session() => {
                if self.cannot_fail(kind) {
                    statement.last_did_not_act();
                    None
                } else {
                    Some(Plan::Fail(error))
                }
            }
            Verdict::Reply(Reply::Postgres(error)) => {
                return self
                    .end(statement, Farewell::Error(error), Closing::Fin)
                    .await;
            }
            Verdict::Reply(reply) => {
                let bytes = match reply {
                    Reply::Garbage(bytes) => bytes,
                    _ => Bytes::new(),
                };
                return self
                    .end(statement, Farewell::Bytes(bytes), Closing::Fin)
                    .await;
            }
            Verdict::Close(closing) => {
                let nothing = Farewell::Bytes(Bytes::new());
                return self.end(statement, nothing, closing).await;
            }
            Verdict::GaveUp | Verdict::Spilled => {
                let held_by = statement.faults().to_vec();
                statement.finish(AttemptEnd::GaveUp);
                self.give_up(header.whole(), &held_by);
                return Err(Over::ClientClosed);
            }
        };
        if matches!(plan, Some(Plan::Fail(_))) {
            return self.fail(header, kind, statement, plan).await;
        }
        statement.sent_whole();
        self.passing = header.whole();
        self.is_last = false;
        self.push(kind, Some(statement), plan);
        Ok(())
    }

    /// The client has gone while a statement was held, and with it those that it had sent behind
    /// that one, which begin at `at`.
    fn give_up(&mut self, mut at: usize, held_by: &[FaultId]) {
        self.is_left = true;
        while let Some(bytes) = self.client.bytes().get(at..) {
            let header = Header::read(bytes, Sender::Client).ok().flatten();
            let Some(header) = header.filter(|header| is_enough(*header, bytes)) else {
                return;
            };
            let is_of_statement = matches!(header.kind, b'Q' | b'F' | b'P' | b'B' | b'E');
            if is_of_statement && let Step::Ask(_, mut statement) = self.look(header, at) {
                statement.acted(held_by);
                statement.finish(AttemptEnd::GaveUp);
            }
            at += header.whole();
        }
    }

    /// Has the server carry out copies of a statement before itself, each in a transaction of its
    /// own, whose answers the client never sees. What is not all there, is part of a transaction or
    /// a pipeline, or cannot be done twice, is left alone.
    async fn repeat(
        &mut self,
        header: Header,
        kind: Kind,
        mut statement: Box<Statement>,
        (times, then, fault): (u32, Then, FaultId),
    ) -> Result<(), Over> {
        self.passing = header.whole();
        self.is_last = false;
        let whole = self.client.bytes().get(..header.whole());
        let whole = whole.map(Bytes::copy_from_slice);
        let (Some(whole), Some(bind)) = (whole, self.repeats(kind, &statement)) else {
            statement.did_not_act(fault);
            statement.sent_whole();
            self.push(kind, Some(statement), None);
            return Ok(());
        };
        let sync = Bytes::from(message(b'S', b""));
        let copy = match &bind {
            Some(bind) => [&bind[..], &whole, &sync].concat(),
            None => whole.to_vec(),
        };
        if bind.is_some() {
            self.push(Kind::Barrier, None, None);
        }
        for _ in 0..times {
            self.push(Kind::Copy, None, None);
        }
        if bind.is_some() {
            self.push(Kind::Rebind, None, None);
        }
        self.push(kind, Some(statement), Some(Plan::After(then, fault)));
        if bind.is_some() {
            self.send_own(&sync).await?;
        }
        for _ in 0..times {
            let sending = async {
                self.upstream.write_all(&copy).await?;
                self.queue.lock().copy_sent();
                self.upstream.flush().await
            };
            sending.await.map_err(Over::UpstreamFailed)?;
        }
        if let Some(bind) = bind {
            self.send_own(&bind).await?;
        }
        self.queue.lock().sent_whole();
        Ok(())
    }

    /// Whether a statement can be done twice, and the `Bind` that each `Execute` of it needs.
    fn repeats(&self, kind: Kind, statement: &Statement) -> Option<Option<Bytes>> {
        let can_be = REPEATED.contains(&&**statement.operation())
            && !may_be_several(statement.text())
            && self.queue.lock().begins_alone();
        match kind {
            Kind::Query if can_be => Some(None),
            Kind::Execute if can_be && self.binds == 1 => {
                let (portal, bind) = self.bound.as_ref()?;
                let execute = self.client.bytes().get(HEADER_BYTES..)?;
                (leading_text(execute) == &**portal).then(|| Some(bind.clone()))
            }
            _ => None,
        }
    }

    /// What can be done after the server has carried the statement out. An error in an open
    /// transaction undoes what the statement did, so that there it is the same before and after.
    fn possible(&self, statement: &Statement, then: Then, fault: FaultId) -> Plan {
        match then {
            Then::Reply(Reply::Postgres(error))
                if error.severity == Severity::Error
                    && self.is_in_transaction()
                    && !is_commit(statement) =>
            {
                Plan::Fail(error)
            }
            then => Plan::After(then, fault),
        }
    }

    /// Whether the server will find the statement at hand in an open transaction.
    fn is_in_transaction(&self) -> bool {
        self.queue.lock().ahead().0 == b'T'
    }

    /// Whether no error of a fault can meet the statement: its transaction has failed already, so
    /// that the server's own answer is the only one, or its pipeline has, so that there is none.
    fn cannot_fail(&self, kind: Kind) -> bool {
        let (status, skips) = self.queue.lock().ahead();
        status == b'E' || skips && kind == Kind::Execute
    }

    /// Lets the server fail in the statement's stead.
    async fn fail(
        &mut self,
        header: Header,
        kind: Kind,
        statement: Box<Statement>,
        plan: Option<Plan>,
    ) -> Result<(), Over> {
        let ends = is_commit(&statement) && self.is_in_transaction();
        let bytes = match (kind, ends) {
            (Kind::Execute, false) => failing::execute(),
            (Kind::Execute, true) => failing::execute_commit(),
            (_, false) => failing::simple(),
            (_, true) => failing::simple_commit(),
        };
        self.push(kind, Some(statement), plan);
        self.dropping = header.whole();
        self.send_own(&bytes).await
    }

    /// The session ends with this statement: nothing more is passed on, and the other pump ends
    /// it when all answers due before have come. As no `Sync` follows, the server is asked for them.
    async fn end(
        &mut self,
        statement: Box<Statement>,
        farewell: Farewell,
        closing: Closing,
    ) -> Result<(), Over> {
        let plan = Some(Plan::End(farewell, closing));
        self.push(Kind::Local, Some(statement), plan);
        let is_unsynced = {
            let mut state = self.queue.lock();
            state.flush();
            state.pending.iter().any(|one| one.kind == Kind::Execute)
        };
        if is_unsynced {
            self.send_own(&message(b'H', b"")).await?;
        }
        self.queue.local.notify_one();
        self.life.client_left().await;
        self.unless_ended().await;
        Err(Over::ClientClosed)
    }

    fn push(&self, kind: Kind, statement: Option<Box<Statement>>, plan: Option<Plan>) {
        self.queue.lock().push(Pending {
            kind,
            statement,
            plan,
        });
    }
}

/// Which bound parameter is a statement's key, where the dependency's file says so.
fn key_parameter(shared: &Shared) -> Option<usize> {
    match shared.config.key {
        Some(KeyFrom::Parameter(nth)) => Some(nth),
        _ => None,
    }
}

fn is_commit(statement: &Statement) -> bool {
    **statement.operation() == *"COMMIT"
}

/// Whether enough of a message has been read to judge it.
fn is_enough(header: Header, bytes: &[u8]) -> bool {
    let looked_at = matches!(header.kind, b'Q' | b'P' | b'B' | b'E' | b'C');
    let wanted = if looked_at {
        header.body.min(LOOK_BYTES)
    } else {
        0
    };
    bytes.len() >= HEADER_BYTES + wanted
}
