//! Commands, from the client to the dependency.

use super::{
    Client, Desk,
    arrivals::Arrivals,
    make,
    queue::{Awaited, Kind, Ours, Queue, Turn},
};
use crate::{
    fault::{FaultId, FaultSet, Reply, Then},
    history::AttemptEnd,
    protocol::{
        Applied, Recognised,
        redis::{
            error::{exec_aborted, find_error},
            frame::Scanner,
            request::{Arguments, BadCommand, Meaning, Names, Read, meaning},
        },
    },
    proxy::{
        connection::Life,
        decide::{self, Asked, Verdict, decide},
        inlet::{ROOM_MAX, gone_spilling_with, gone_with},
        statement::Statement,
        upstream::UpstreamStream,
    },
    scenario::KeyFrom,
};
use bytes::Bytes;
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::watch,
    time::timeout,
};

/// Commands whose turns are added at once.
const BATCH_MAX: usize = 256;

/// What gives up a transaction.
const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";

/// Why no more commands are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpEnd {
    /// The client closed its direction, or is gone.
    ClientLeft,
    /// Somebody's turn is the last.
    LastTurn,
    /// The dependency takes no more.
    UpstreamBroke,
}

/// A transaction of the client.
#[derive(Debug, Default)]
enum Transaction {
    /// There is none.
    #[default]
    None,
    /// Commands are queued. These faults have spoilt it.
    Open { spoilt_by: Vec<FaultId> },
}

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    On,
    /// The next command has no answer.
    SkipNext,
    Off,
}

/// The half of a connection that reads commands.
pub(super) struct Up<'a> {
    desk: &'a Desk,
    queue: &'a Queue,
    client: &'a mut Client,
    upstream: &'a mut WriteHalf<UpstreamStream>,
    faults: watch::Receiver<Arc<FaultSet>>,
    held_by: watch::Receiver<Vec<FaultId>>,
    arguments: Arguments,
    names: Names,
    transaction: Transaction,
    replies: Replies,
    /// Turns of commands that are not sent on yet.
    batch: Vec<Turn>,
    /// The bytes of those commands.
    taken: usize,
    /// When the bytes came that are there.
    arrivals: Arrivals,
}

/// A command that was recognised.
struct Command {
    statement: Box<Statement>,
    meaning: Meaning,
    /// How many of its bytes are there.
    len: usize,
    /// What finds its end, where that is not there.
    rest: Option<Scanner>,
}

type Step = Result<(), UpEnd>;

impl<'a> Up<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        queue: &'a Queue,
        client: &'a mut Client,
        upstream: &'a mut WriteHalf<UpstreamStream>,
    ) -> Self {
        Self {
            faults: desk.faults(),
            held_by: desk.life.held_by(),
            arrivals: Arrivals::new(desk.life.arrival()),
            desk,
            queue,
            client,
            upstream,
            arguments: Arguments::default(),
            names: Names::default(),
            transaction: Transaction::None,
            replies: Replies::On,
            batch: Vec::new(),
            taken: 0,
        }
    }

    /// Sends commands on until there are no more.
    pub(super) async fn run(&mut self) -> UpEnd {
        let end = loop {
            let step = match self.pass().await {
                Ok(()) => self.read().await,
                Err(end) => Err(end),
            };
            if let Err(end) = step {
                break end;
            }
        };
        if end == UpEnd::ClientLeft {
            self.queue.left(self.desk.life.left_at());
            // Whoever is gone at the other end as well needs no goodbye.
            let _ = self.upstream.shutdown().await;
        }
        end
    }

    /// Records the command of which only the beginning came, as a fault cut the connection behind
    /// it.
    fn cut_off(&mut self) {
        let bytes = &self.client.bytes()[self.taken..];
        if bytes.is_empty() || !self.desk.life.is_cut() {
            return;
        }
        let len = bytes.len();
        let mut statement = match self.arguments.read(bytes) {
            Ok(Read::Part) if self.arguments.get(bytes, 0).is_some() => {
                self.begin(len, None).statement
            }
            Ok(Read::Part) | Err(_) => self.malformed(),
            // Nothing of a command that began is missing.
            Ok(Read::Whole(_) | Read::Nothing(_)) => return,
        };
        statement.finish(AttemptEnd::GaveUp);
    }

    async fn read(&mut self) -> Step {
        match self.client.fill().await {
            Ok(count @ 1..) => {
                note(&mut self.arrivals, &self.desk.life, self.client, count);
                self.desk.shared.room().await;
                Ok(())
            }
            Ok(0) | Err(_) => {
                self.cut_off();
                Err(UpEnd::ClientLeft)
            }
        }
    }

    /// Sends on all that was read.
    async fn pass(&mut self) -> Step {
        let mut acts = self.may_act();
        loop {
            let bytes = &self.client.bytes()[self.taken..];
            let read = self.arguments.read(bytes);
            let is_batch = !acts && self.is_plain() && self.batch.len() < BATCH_MAX;
            match read {
                Ok(Read::Nothing(len)) => self.taken += len,
                Ok(Read::Whole(len)) if is_batch => {
                    let command = self.begin(len, None);
                    if !self.join(command) {
                        self.flush().await?;
                    }
                    if self.is_last() {
                        self.flush().await?;
                        return Err(UpEnd::LastTurn);
                    }
                }
                Ok(Read::Whole(len)) => {
                    self.flush().await?;
                    let command = self.begin(len, None);
                    self.one(command).await?;
                    acts = self.may_act();
                }
                Ok(Read::Part) => {
                    self.flush().await?;
                    if self.client.has_room() {
                        return Ok(());
                    }
                    self.large().await?;
                    acts = self.may_act();
                }
                Err(bad) => {
                    self.flush().await?;
                    return Err(self.refuse(bad));
                }
            }
        }
    }

    /// Whether any fault may act on a command now.
    fn may_act(&mut self) -> bool {
        self.faults.borrow_and_update().acts_on_requests()
            || !self.held_by.borrow().is_empty()
            || self.desk.life.refusal().is_some()
    }

    /// Whether commands go on as they come and are answered one by one.
    fn is_plain(&self) -> bool {
        let is_spoilt = match &self.transaction {
            Transaction::None => false,
            Transaction::Open { spoilt_by } => !spoilt_by.is_empty(),
        };
        !is_spoilt && self.replies == Replies::On
    }

    /// Recognises the command whose first `len` bytes come next.
    fn begin(&mut self, len: usize, rest: Option<Scanner>) -> Command {
        let bytes = &self.client.bytes()[self.taken..];
        let shared = &self.desk.shared;
        let argument = match shared.config.key {
            Some(KeyFrom::Argument(nth)) => Some(nth),
            _ => None,
        };
        let recognised = self.names.recognise(&self.arguments, bytes, argument);
        let meaning = meaning(&recognised.operation, &self.arguments, bytes);
        let began = self.arrivals.of(self.client.used() + self.taken as u64);
        let (life, connection) = (&self.desk.life, self.desk.connection);
        let mut statement = Box::new(Statement::new(shared, life, connection, recognised, began));
        statement.add_up(len);
        Command {
            statement,
            meaning,
            len,
            rest,
        }
    }

    /// Adds a command that no fault concerns to the batch; false where it is not answered one by
    /// one, so that the batch has to end.
    fn join(&mut self, command: Command) -> bool {
        let Command {
            mut statement,
            meaning,
            len,
            ..
        } = command;
        self.taken += len;
        statement.sent_whole();
        let kind = self.kind(meaning);
        self.follow(meaning);
        let turn = Awaited {
            statement,
            then: None,
            kind,
            copies: 0,
        };
        if matches!(meaning, Meaning::ReplyOff | Meaning::ReplySkip) {
            let mut statement = turn.statement;
            statement.finish(AttemptEnd::Answered);
            return false;
        }
        self.batch.push(Turn::Theirs(turn));
        true
    }

    fn is_last(&self) -> bool {
        let last = self.batch.last();
        last.is_some_and(|turn| {
            matches!(turn, Turn::Theirs(awaited) if awaited.kind == Kind::Of(Meaning::Monitor))
        })
    }

    /// What the answer of a command is like that is sent on now.
    fn kind(&self, meaning: Meaning) -> Kind {
        if self.is_queued(meaning) {
            Kind::Queued
        } else {
            Kind::Of(meaning)
        }
    }

    /// Whether the server only queues a command that is sent on now, until `EXEC` comes.
    fn is_queued(&self, meaning: Meaning) -> bool {
        let ends = matches!(meaning, Meaning::Exec | Meaning::Discard | Meaning::Reset);
        matches!(self.transaction, Transaction::Open { .. }) && !ends
    }

    /// Follows what a command that was sent on means for the next.
    fn follow(&mut self, meaning: Meaning) {
        let is_open = matches!(self.transaction, Transaction::Open { .. });
        match meaning {
            Meaning::Multi if !is_open => {
                self.transaction = Transaction::Open {
                    spoilt_by: Vec::new(),
                };
            }
            Meaning::Exec | Meaning::Discard => self.transaction = Transaction::None,
            Meaning::Reset => {
                self.transaction = Transaction::None;
                self.replies = Replies::On;
            }
            Meaning::ReplyOn => self.replies = Replies::On,
            Meaning::ReplyOff => self.replies = Replies::Off,
            Meaning::ReplySkip if self.replies == Replies::On => self.replies = Replies::SkipNext,
            _ => {}
        }
    }

    /// Sends the batch on.
    async fn flush(&mut self) -> Step {
        if !self.batch.is_empty() {
            self.queue.push(&mut self.batch);
        }
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            let sent = send(self.upstream, &self.client.bytes()[..taken]).await;
            self.client.consume(taken);
            sent.map_err(|_| UpEnd::UpstreamBroke)?;
        }
        if self.queue.has_room() {
            return Ok(());
        }
        let is_reset = tokio::select! {
            biased;
            () = self.queue.room() => return Ok(()),
            is_reset = self.desk.life.client_left() => is_reset,
        };
        // One that merely closed its direction waits for the answers to all that it sent, as long
        // as they go on coming.
        let linger = self.desk.shared.config.limits.linger;
        if is_reset || timeout(linger, self.queue.room()).await.is_err() {
            return Err(UpEnd::ClientLeft);
        }
        Ok(())
    }

    /// A command of which only the beginning fits.
    async fn large(&mut self) -> Step {
        let mut scanner = Scanner::default();
        let bytes = self.client.bytes();
        let len = bytes.len();
        if scanner.advance(bytes).is_err() {
            return Err(self.refuse(BadCommand::Length));
        }
        let command = self.begin(len, Some(scanner));
        self.one(command).await
    }

    /// Decides about one command, and does it.
    async fn one(&mut self, mut command: Command) -> Step {
        self.client
            .set_room_max(self.desk.shared.config.limits.held_bytes);
        let mut waiting = Waiting {
            client: &mut *self.client,
            keep: command.len,
            arrivals: &mut self.arrivals,
            life: &self.desk.life,
        };
        let verdict = decide(&mut *command.statement, &mut self.faults, &mut waiting).await;
        self.client.set_room_max(ROOM_MAX);
        match verdict {
            Verdict::Forward(then) => self.forward(command, then).await,
            Verdict::Reply(reply) => self.reply(command, &reply).await,
            Verdict::Close(closing) => {
                self.last(command.statement, Ours::Cut(closing));
                Err(UpEnd::LastTurn)
            }
            Verdict::GaveUp => {
                self.queue.left(self.desk.life.left_at());
                command.statement.gave_up();
                Err(UpEnd::ClientLeft)
            }
            Verdict::Spilled => {
                let why = "released after more than was kept";
                self.last(command.statement, Ours::Stuck(why));
                Err(UpEnd::LastTurn)
            }
        }
    }

    fn last(&mut self, statement: Box<Statement>, ours: Ours) {
        self.queue.push(&mut vec![Turn::Ours(statement, ours)]);
    }

    /// What is to be done to the answer of a command, and how many copies of it are sent before. What
    /// changes the connection, is part of a transaction, is not answered, or not all there, is left
    /// alone.
    fn repeats(
        &self,
        command: &mut Command,
        then: Option<(Then, FaultId)>,
    ) -> (Option<(Then, FaultId)>, u32) {
        let (times, then, fault) = match then {
            Some((Then::Repeat { times, then }, fault)) => (times, then, fault),
            other => return (other, 0),
        };
        let can_be_repeated = command.meaning == Meaning::Plain
            && matches!(self.transaction, Transaction::None)
            && self.replies == Replies::On
            && command.rest.is_none();
        if can_be_repeated {
            return (Some((*then, fault)), times);
        }
        command.statement.did_not_act(fault);
        (None, 0)
    }

    async fn forward(&mut self, mut command: Command, then: Option<(Then, FaultId)>) -> Step {
        let (mut then, copies) = self.repeats(&mut command, then);
        if let Some((Then::Reply(reply), fault)) = &then {
            if changes_connection(command.meaning) {
                // Forwarded, it would leave client and server with two opinions of the connection.
                command.statement.upstream_answered(Applied::No);
                return self.reply(command, reply).await;
            }
            if self.is_queued(command.meaning) {
                // Carried out it is with `EXEC` alone, and never after an error.
                command.statement.did_not_act(*fault);
                then = None;
            }
        }
        if command.meaning == Meaning::Exec
            && let Transaction::Open { spoilt_by } = &self.transaction
            && !spoilt_by.is_empty()
        {
            command.statement.acted(&spoilt_by.clone());
            let text = find_error("EXECABORT").and_then(|def| def.text);
            let line = Bytes::from(format!("-{}\r\n", text.unwrap_or_default()));
            return self.give_up(command, then, line).await;
        }
        let kind = self.kind(command.meaning);
        let is_silent = self.is_silent(command.meaning);
        self.follow(command.meaning);
        let is_last = kind == Kind::Of(Meaning::Monitor);
        if is_silent {
            return self.send_silently(command, then).await;
        }
        let Command {
            mut statement,
            len,
            rest,
            ..
        } = command;
        if rest.is_none() {
            statement.sent_whole();
        }
        let awaited = Awaited {
            statement,
            then,
            kind,
            copies,
        };
        let turn = self.queue.push(&mut vec![Turn::Theirs(awaited)]);
        for _ in 0..copies {
            let sending = async {
                let bytes = &self.client.bytes()[..len];
                self.upstream.write_all(bytes).await?;
                self.queue.with(turn, Statement::copy_sent);
                self.upstream.flush().await
            };
            sending.await.map_err(|_| UpEnd::UpstreamBroke)?;
        }
        self.taken = len;
        self.flush().await?;
        if let Some(rest) = rest {
            self.send_rest(rest, Some(turn)).await?;
        }
        if is_last {
            return Err(UpEnd::LastTurn);
        }
        Ok(())
    }

    /// Whether the server does not answer this command.
    fn is_silent(&mut self, meaning: Meaning) -> bool {
        match self.replies {
            Replies::Off => meaning != Meaning::ReplyOn && meaning != Meaning::Reset,
            Replies::SkipNext => {
                self.replies = Replies::On;
                true
            }
            Replies::On => matches!(meaning, Meaning::ReplyOff | Meaning::ReplySkip),
        }
    }

    /// Sends on a command without an answer: nothing can be done to that.
    async fn send_silently(&mut self, command: Command, then: Option<(Then, FaultId)>) -> Step {
        let Command {
            mut statement,
            len,
            rest,
            ..
        } = command;
        self.taken = len;
        let sent = match (self.flush().await, rest) {
            (Ok(()), Some(rest)) => self.send_rest(rest, None).await,
            (sent, _) => sent,
        };
        statement.sent_whole();
        match (sent, then) {
            (Ok(()), Some((Then::Close(closing), _))) => {
                self.last(statement, Ours::Cut(closing));
                return Err(UpEnd::LastTurn);
            }
            (Ok(()), _) => statement.finish(AttemptEnd::Answered),
            (Err(UpEnd::ClientLeft), _) => statement.gave_up(),
            (Err(_), _) => statement.finish(AttemptEnd::UpstreamFailed),
        }
        sent
    }

    /// Sends on the rest of a large command.
    async fn send_rest(&mut self, mut rest: Scanner, turn: Option<u64>) -> Step {
        loop {
            let (used, is_whole) = self.more(&mut rest).await?;
            let sent = send(self.upstream, &self.client.bytes()[..used]).await;
            self.client.consume(used);
            if let Some(turn) = turn {
                self.queue.with(turn, |statement| {
                    statement.add_up(used);
                    if is_whole {
                        statement.sent_whole();
                    }
                });
            }
            sent.map_err(|_| UpEnd::UpstreamBroke)?;
            if is_whole {
                return Ok(());
            }
        }
    }

    /// Reads more of a large command: how many bytes of it are there, and whether it ends there.
    async fn more(&mut self, rest: &mut Scanner) -> Result<(usize, bool), UpEnd> {
        if self.client.bytes().is_empty() {
            self.read().await?;
        }
        rest.advance(self.client.bytes())
            .map_err(|_| self.refuse(BadCommand::Length))
    }

    /// Answers a command in the dependency's stead, which sees nothing of it.
    async fn reply(&mut self, command: Command, reply: &Reply) -> Step {
        let mut made = make(reply, command.statement.call());
        let is_error = !made.is_cut;
        if let Transaction::Open { spoilt_by } = &mut self.transaction
            && is_error
        {
            if command.meaning == Meaning::Exec {
                // As a server does that turns away `EXEC` itself.
                made.bytes = exec_aborted(&made.bytes);
                return self.give_up(command, None, made.bytes).await;
            }
            spoilt_by.extend(command.statement.faults().last().copied());
        }
        let is_silent = self.is_silent(command.meaning);
        let Command {
            mut statement,
            len,
            rest,
            ..
        } = command;
        self.client.consume(len);
        if let Some(rest) = rest {
            self.skip_rest(rest).await?;
        }
        if let Some(code) = made.code {
            statement.code(code);
        }
        if is_silent && is_error && !made.closes {
            statement.finish(AttemptEnd::Answered);
            return Ok(());
        }
        let ours = Ours::Answer {
            bytes: made.bytes,
            closes: made.closes,
            is_cut: made.is_cut,
        };
        self.last(statement, ours);
        if made.closes {
            return Err(UpEnd::LastTurn);
        }
        Ok(())
    }

    /// Has the server give up the transaction in place of `EXEC`, which is answered so.
    async fn give_up(
        &mut self,
        command: Command,
        then: Option<(Then, FaultId)>,
        answer: Bytes,
    ) -> Step {
        self.transaction = Transaction::None;
        let Command {
            mut statement, len, ..
        } = command;
        statement.code("EXECABORT");
        let awaited = Awaited {
            statement,
            then,
            kind: Kind::GivenUp(answer),
            copies: 0,
        };
        self.queue.push(&mut vec![Turn::Theirs(awaited)]);
        let sent = send(self.upstream, DISCARD).await;
        self.client.consume(len);
        sent.map_err(|_| UpEnd::UpstreamBroke)
    }

    /// Throws away the rest of a large command.
    async fn skip_rest(&mut self, mut rest: Scanner) -> Step {
        loop {
            let (used, is_whole) = self.more(&mut rest).await?;
            self.client.consume(used);
            if is_whole {
                return Ok(());
            }
        }
    }

    /// An observation of what is no command.
    fn malformed(&mut self) -> Box<Statement> {
        let began = self.arrivals.of(self.client.used() + self.taken as u64);
        let recognised = Recognised {
            operation: "malformed".into(),
            ..Recognised::default()
        };
        let (shared, life) = (&self.desk.shared, &self.desk.life);
        let connection = self.desk.connection;
        Box::new(Statement::new(shared, life, connection, recognised, began))
    }

    /// Refuses what is no command, as a server does, and closes.
    fn refuse(&mut self, bad: BadCommand) -> UpEnd {
        let mut statement = self.malformed();
        statement.code("ERR");
        let ours = Ours::Answer {
            bytes: format!("-ERR Protocol error: {bad}\r\n").into(),
            closes: true,
            is_cut: false,
        };
        self.desk.life.ended(format!("refused: {bad}"));
        self.last(statement, ours);
        UpEnd::LastTurn
    }
}

/// Notes when a piece of so many bytes came, which is the last that is there.
fn note(arrivals: &mut Arrivals, life: &Life, client: &Client, count: usize) {
    let unused = client.bytes().len() - count;
    let from = client.used() + unused as u64;
    arrivals.note(from, unused > 0, life.arrival());
}

/// The client while a command of it is held; what it sends meanwhile is noted.
struct Waiting<'a> {
    client: &'a mut Client,
    /// The bytes of the command, which must not be thrown away.
    keep: usize,
    arrivals: &'a mut Arrivals,
    life: &'a Life,
}

impl decide::Client for Waiting<'_> {
    async fn gone(&mut self) {
        gone_with(self.client, |client, count| {
            note(self.arrivals, self.life, client, count);
        })
        .await;
    }

    async fn gone_spilling(&mut self) {
        gone_spilling_with(self.client, self.keep, |client, count| {
            note(self.arrivals, self.life, client, count);
        })
        .await;
    }

    fn has_spilled(&self) -> bool {
        self.client.spilled() > 0
    }
}

/// Whether a command changes what the following ones and their answers are like.
fn changes_connection(meaning: Meaning) -> bool {
    !matches!(meaning, Meaning::Plain | Meaning::Exec | Meaning::Discard)
}

async fn send(upstream: &mut WriteHalf<UpstreamStream>, bytes: &[u8]) -> io::Result<()> {
    upstream.write_all(bytes).await?;
    upstream.flush().await
}
