//! Answers, from the dependency to the client.

use super::{
    Desk, Over, cut, lost, make,
    queue::{Awaited, Kind, Ours, Queue},
    write,
};
use crate::{
    fault::{Closing, FaultId, FaultSet, Then},
    history::AttemptEnd,
    protocol::{
        Applied,
        redis::{
            frame::{Answer, PEEK_BYTES, Scanner, first_bulk, peek},
            request::Meaning,
        },
    },
    proxy::{
        connection::ClientStream,
        decide::{Asked, Held, hold},
        inlet::Inlet,
        relay,
        statement::Statement,
        upstream::UpstreamStream,
    },
};
use bytes::Bytes;
use std::{io, sync::Arc};
use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::watch,
};

/// Commands of one transaction whose end is followed; what becomes of further ones stays unknown.
const TRANSACTION_MAX: usize = 10_000;

/// Answers that are written at once.
const BATCH_MAX: usize = 256;

/// The half of a connection that passes answers.
#[expect(
    clippy::vec_box,
    reason = "statements come boxed, and to move them is what costs"
)]
pub(super) struct Down<'a> {
    desk: &'a Desk,
    queue: &'a Queue,
    client: &'a mut WriteHalf<ClientStream>,
    upstream: &'a mut Inlet<ReadHalf<UpstreamStream>>,
    faults: watch::Receiver<Arc<FaultSet>>,
    scanner: Scanner,
    /// Bytes that go to the client with the next write.
    taken: usize,
    /// Bytes behind them that belong to the message under way and were scanned.
    scanned: usize,
    /// The message under way, once it is known what it is.
    current: Option<Current>,
    /// Commands that are answered with the next write.
    answered: Vec<Box<Statement>>,
    /// Commands that wait for `EXEC`.
    transaction: Vec<Box<Statement>>,
    /// Commands of a transaction whose end is heard, and of which the client is yet to be told.
    settled: Vec<Box<Statement>>,
    /// What was heard of the end of their transaction.
    heard: Heard,
    is_resp3: bool,
    is_subscribed: bool,
}

/// A message under way.
struct Current {
    /// Whose answer it is; `None`: nobody asked for it.
    statement: Option<Box<Statement>>,
    kind: Kind,
    answer: Said,
    fate: Fate,
}

impl Current {
    fn statement(&mut self) -> Option<&mut Statement> {
        self.statement.as_deref_mut()
    }
}

/// What the dependency says, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Error,
    Queued,
    Null,
    Array,
    Map,
    Value,
}

/// What the dependency has said of the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Its commands were carried out, each as the answer's elements say.
    CarriedOut,
    GivenUp,
}

/// What becomes of a message.
enum Fate {
    /// It goes to the client.
    Pass,
    /// It is thrown away, and then this is done.
    Swallow(Instead),
}

/// What is done in place of an answer.
enum Instead {
    /// This is sent.
    Answer(Bytes),
    /// A fault's work.
    Then(Then, FaultId),
}

impl<'a> Down<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        queue: &'a Queue,
        client: &'a mut WriteHalf<ClientStream>,
        upstream: &'a mut Inlet<ReadHalf<UpstreamStream>>,
    ) -> Self {
        Self {
            faults: desk.faults(),
            desk,
            queue,
            client,
            upstream,
            scanner: Scanner::default(),
            taken: 0,
            scanned: 0,
            current: None,
            answered: Vec::new(),
            transaction: Vec::new(),
            settled: Vec::new(),
            heard: Heard::Nothing,
            is_resp3: false,
            is_subscribed: false,
        }
    }

    /// Passes answers until the connection is over; `None`: until bytes are to pass unread.
    pub(super) async fn run(&mut self) -> Option<Over> {
        match self.pass().await {
            Ok(()) => None,
            Err(over) => {
                self.abandon(over.unanswered);
                Some(over)
            }
        }
    }

    async fn pass(&mut self) -> Result<(), Over> {
        loop {
            if self.current.is_none()
                && let Some((statement, ours)) = self.queue.take_ours()
            {
                self.flush().await?;
                self.ours(statement, ours).await?;
                continue;
            }
            match self.message().await? {
                Progress::Message => continue,
                Progress::LastMessage => return self.flush().await,
                Progress::NeedsMore => {}
            }
            self.flush().await?;
            tokio::select! {
                biased;
                () = self.queue.arrived(), if self.current.is_none() => {}
                read = self.upstream.fill() => match read {
                    Ok(1..) => {}
                    Ok(0) => return Err(self.upstream_closed(None)),
                    Err(error) => return Err(self.upstream_closed(Some(&error))),
                },
            }
        }
    }

    /// Takes what is there of the next message, up to its end.
    async fn message(&mut self) -> Result<Progress, Over> {
        let at = self.taken + self.scanned;
        let bytes = &self.upstream.bytes()[at..];
        if bytes.is_empty() {
            return Ok(Progress::NeedsMore);
        }
        let (used, is_whole) = match self.scanner.advance(bytes) {
            Ok(advanced) => advanced,
            Err(broken) => {
                self.flush().await?;
                let how = format!("upstream broke the protocol: {broken}");
                return Err(Over::upstream(how, Closing::Reset));
            }
        };
        self.scanned += used;
        if self.current.is_none() {
            if !is_whole && self.scanned < PEEK_BYTES {
                return Ok(Progress::NeedsMore);
            }
            self.begin().await?;
        }
        self.take_scanned();
        if !is_whole {
            return Ok(Progress::NeedsMore);
        }
        let is_last = self.end().await?;
        if self.answered.len() >= BATCH_MAX {
            self.flush().await?;
        }
        Ok(if is_last {
            Progress::LastMessage
        } else {
            Progress::Message
        })
    }

    /// Finds out whose answer it is that begins here, and what becomes of it.
    async fn begin(&mut self) -> Result<(), Over> {
        let start = &self.upstream.bytes()[self.taken..self.taken + self.scanned];
        let answer = peek(start);
        let code = match answer {
            Answer::Error(code) => Some(Arc::<str>::from(code)),
            _ => None,
        };
        let said = match answer {
            Answer::Error(_) => Said::Error,
            Answer::Queued => Said::Queued,
            Answer::Null => Said::Null,
            Answer::Array => Said::Array,
            Answer::Map => Said::Map,
            Answer::Push(_) | Answer::Value => Said::Value,
        };
        let awaited = if self.is_unasked(answer, start) {
            None
        } else if self
            .queue
            .copy_answered(|copy| carried_out(copy, said, code.as_deref()))
        {
            self.flush_before().await?;
            self.current = Some(Current {
                statement: None,
                kind: Kind::Of(Meaning::Plain),
                answer: said,
                fate: Fate::Swallow(Instead::Answer(Bytes::new())),
            });
            return Ok(());
        } else {
            self.queue.take_theirs()
        };
        let Some(Awaited {
            mut statement,
            then,
            kind,
            ..
        }) = awaited
        else {
            self.current = Some(Current {
                statement: None,
                kind: Kind::Of(Meaning::Plain),
                answer: said,
                fate: Fate::Pass,
            });
            return Ok(());
        };
        // The answer is there: a fault that acts on it has something to act on.
        statement.upstream_answered(match kind {
            Kind::Of(_) => match applied(&kind, said) {
                Applied::No if said == Said::Error => {
                    carried_out(&statement, said, code.as_deref())
                }
                applied => applied,
            },
            Kind::Queued | Kind::GivenUp(_) => applied(&kind, said),
        });
        if let Some(code) = code {
            statement.code(code);
        }
        self.hear(&kind, said);
        let fate = self.fate(&mut statement, then, &kind, said).await?;
        self.current = Some(Current {
            statement: Some(statement),
            kind,
            answer: said,
            fate,
        });
        Ok(())
    }

    /// Whether no command asked for the message that begins so.
    fn is_unasked(&self, answer: Answer<'_>, start: &[u8]) -> bool {
        let word = match answer {
            Answer::Push(word) => word,
            Answer::Array if !self.is_resp3 => first_bulk(start),
            _ => return false,
        };
        let is_push = matches!(answer, Answer::Push(_));
        self.queue.next_kind(|next| {
            let confirms = next.is_some_and(|(kind, statement)| {
                *kind == Kind::Of(Meaning::Subscription)
                    && statement.operation().eq_ignore_ascii_case(word)
            });
            if is_push {
                !confirms
            } else {
                self.is_subscribed && is_about_subscriptions(word) && !confirms
            }
        })
    }

    async fn fate(
        &mut self,
        statement: &mut Statement,
        then: Option<(Then, FaultId)>,
        kind: &Kind,
        said: Said,
    ) -> Result<Fate, Over> {
        let instead = match (then, kind) {
            (Some((Then::Late(delay), fault)), _) => {
                self.flush_before().await?;
                self.wait(statement, fault, Some(delay)).await?;
                self.given_up(kind, said)
            }
            (Some((then @ (Then::Reply(_) | Then::Lose | Then::Close(_)), fault)), _) => {
                Some(Instead::Then(then, fault))
            }
            (Some((_, fault)), _) => {
                // No file asks for it: only answers of HTTP have bodies.
                statement.did_not_act(fault);
                self.given_up(kind, said)
            }
            (None, _) => self.given_up(kind, said),
        };
        match instead {
            None => Ok(Fate::Pass),
            Some(instead) => {
                self.flush_before().await?;
                Ok(Fate::Swallow(instead))
            }
        }
    }

    fn given_up(&self, kind: &Kind, said: Said) -> Option<Instead> {
        let Kind::GivenUp(answer) = kind else {
            return None;
        };
        // A server that knows of no transaction would have said so to `EXEC`.
        let answer = match said {
            Said::Error => Bytes::from_static(b"-ERR EXEC without MULTI\r\n"),
            _ => answer.clone(),
        };
        Some(Instead::Answer(answer))
    }

    /// Holds an answer back, as long as the fault wants it.
    async fn wait(
        &mut self,
        statement: &mut Statement,
        fault: FaultId,
        delay: Option<std::time::Duration>,
    ) -> Result<(), Over> {
        let gone = self.queue.gone.cancelled();
        match hold(&mut self.faults, gone, &[fault], delay).await {
            Held::Elapsed => Ok(()),
            Held::Lifted => {
                statement.released();
                Ok(())
            }
            Held::ClientGone => {
                statement.gave_up();
                Err(Over::client_gone())
            }
        }
    }

    /// Passes on, or throws away, what was scanned of the message under way.
    fn take_scanned(&mut self) {
        let scanned = std::mem::take(&mut self.scanned);
        match &mut self.current {
            Some(Current {
                fate: Fate::Swallow(_),
                ..
            }) => {
                debug_assert!(self.taken == 0, "what goes to the client was written");
                self.upstream.consume(scanned);
            }
            Some(Current { statement, .. }) => {
                self.taken += scanned;
                if let Some(statement) = statement {
                    statement.count_down(scanned);
                }
            }
            None => {}
        }
    }

    /// The message under way is whole. True if bytes pass unread behind it.
    async fn end(&mut self) -> Result<bool, Over> {
        let Some(current) = self.current.take() else {
            return Ok(false);
        };
        let Current {
            statement,
            kind,
            answer,
            fate,
        } = current;
        self.follow_subscriptions(&kind);
        let Some(statement) = statement else {
            return Ok(false);
        };
        self.follow(&kind, answer);
        let is_last = kind == Kind::Of(Meaning::Monitor);
        match fate {
            Fate::Pass if kind == Kind::Queued && answer == Said::Queued => {
                self.wait_for_exec(statement);
            }
            Fate::Pass => {
                self.answered.append(&mut self.settled);
                self.answered.push(statement);
            }
            Fate::Swallow(instead) => {
                let done = self.instead(statement, instead).await;
                // Dropped, their client was not told.
                self.settled.clear();
                done?;
            }
        }
        Ok(is_last)
    }

    /// A command in a transaction: what becomes of it `EXEC` says.
    fn wait_for_exec(&mut self, mut statement: Box<Statement>) {
        statement.withhold();
        statement.leaves(self.desk.shared.now());
        if self.transaction.len() < TRANSACTION_MAX {
            self.transaction.push(statement);
        } else {
            self.answered.push(statement);
        }
    }

    /// Follows what an answer means for those that come.
    fn follow(&mut self, kind: &Kind, answer: Said) {
        match (kind, answer) {
            (Kind::Of(Meaning::Hello), Said::Map) => self.is_resp3 = true,
            (Kind::Of(Meaning::Hello), Said::Array) => self.is_resp3 = false,
            (Kind::Of(Meaning::Reset), Said::Value) => {
                self.is_resp3 = false;
                self.is_subscribed = false;
            }
            _ => {}
        }
        if self.heard != Heard::Nothing {
            self.end_transaction();
        }
    }

    /// Remembers what the answer that begins says of the end of a transaction.
    fn hear(&mut self, kind: &Kind, said: Said) {
        self.heard = match (kind, said) {
            (Kind::Of(Meaning::Exec), Said::Array) => Heard::CarriedOut,
            (Kind::Of(Meaning::Exec | Meaning::Discard), _)
            | (Kind::Of(Meaning::Reset), Said::Value)
            | (Kind::GivenUp(_), _) => Heard::GivenUp,
            _ => return,
        };
    }

    /// Ends the commands of a transaction by what is known of its end. What `EXEC` did whose answer
    /// never came nobody knows, nor what became of those of which its answer was still to speak.
    fn end_transaction(&mut self) {
        match std::mem::replace(&mut self.heard, Heard::Nothing) {
            Heard::CarriedOut => {
                let failed = self.scanner.failed().to_vec();
                let told = self.scanner.elements();
                self.decide_transaction(|nth, statement| {
                    if failed.binary_search(&nth).is_ok() {
                        // Of its error nothing but that is known.
                        carried_out(statement, Said::Error, None)
                    } else if nth < told {
                        Applied::Yes
                    } else {
                        Applied::Unknown
                    }
                });
            }
            Heard::Nothing if self.queue.has_sent_exec() => {
                self.decide_transaction(|_, _| Applied::Unknown);
            }
            Heard::Nothing | Heard::GivenUp => self.decide_transaction(|_, _| Applied::No),
        }
    }

    fn decide_transaction(&mut self, applied: impl Fn(u32, &Statement) -> Applied) {
        for (nth, mut statement) in self.transaction.drain(..).enumerate() {
            let nth = u32::try_from(nth).unwrap_or(u32::MAX);
            let applied = applied(nth, &statement);
            statement.upstream_answered(applied);
            if statement.is_over() {
                self.settled.push(statement);
            } else {
                // Its `+QUEUED` has yet to leave.
                self.answered.push(statement);
            }
        }
    }

    /// In RESP2 a connection with subscriptions speaks of them without being asked.
    fn follow_subscriptions(&mut self, kind: &Kind) {
        let is_confirmation = *kind == Kind::Of(Meaning::Subscription);
        if self.is_resp3 || !(is_confirmation || self.is_subscribed) {
            return;
        }
        let message = &self.upstream.bytes()[..self.taken];
        if is_confirmation {
            self.is_subscribed = true;
        }
        // The last word of a confirmation is how many subscriptions there are.
        if message.ends_with(b"\r\n:0\r\n") {
            self.is_subscribed = false;
        }
    }

    /// Does what is done in place of an answer.
    async fn instead(
        &mut self,
        mut statement: Box<Statement>,
        instead: Instead,
    ) -> Result<(), Over> {
        match instead {
            Instead::Answer(bytes) => {
                let ours = Ours::Answer {
                    bytes,
                    closes: false,
                    is_cut: false,
                };
                self.ours(statement, ours).await
            }
            Instead::Then(Then::Reply(reply), _) => {
                let made = make(&reply, statement.call());
                if let Some(code) = made.code {
                    statement.code(code);
                }
                let ours = Ours::Answer {
                    bytes: made.bytes,
                    closes: made.closes,
                    is_cut: made.is_cut,
                };
                self.ours(statement, ours).await
            }
            Instead::Then(Then::Close(closing), _) => {
                self.ours(statement, Ours::Cut(closing)).await
            }
            Instead::Then(_, fault) => {
                let gone = self.queue.gone.cancelled();
                let held = hold(&mut self.faults, gone, &[fault], None).await;
                Err(lost(held, &mut statement))
            }
        }
    }

    /// Gives an answer of ours.
    async fn ours(&mut self, mut statement: Box<Statement>, ours: Ours) -> Result<(), Over> {
        match ours {
            Ours::Answer {
                bytes,
                closes,
                is_cut,
            } => {
                statement.add_down(bytes.len());
                if write(self.client, &bytes).await.is_err() {
                    statement.gave_up();
                    return Err(Over::client_gone());
                }
                statement.settle().await;
                statement.finish(if is_cut {
                    AttemptEnd::Cut
                } else {
                    AttemptEnd::Answered
                });
                if closes {
                    return Err(Over::cut("closed after an answer of ours", Closing::Fin));
                }
                Ok(())
            }
            Ours::Cut(closing) => {
                let gone = self.queue.gone.cancelled();
                Err(cut(closing, &mut statement, &mut self.faults, gone).await)
            }
            Ours::Stuck(why) => {
                statement.finish(AttemptEnd::Unfinished);
                Err(Over::cut(why, Closing::Fin))
            }
        }
    }

    /// Writes what goes to the client before the message under way, which stays where it is.
    async fn flush_before(&mut self) -> Result<(), Over> {
        self.flush().await
    }

    /// Writes what goes to the client, and ends those commands that are answered with it.
    async fn flush(&mut self) -> Result<(), Over> {
        let taken = std::mem::take(&mut self.taken);
        if taken == 0 && self.answered.is_empty() {
            return Ok(());
        }
        let now = self.desk.shared.now();
        let under_way = self.current.iter_mut().filter_map(Current::statement);
        for statement in under_way.chain(self.answered.iter_mut().map(AsMut::as_mut)) {
            statement.leaves(now);
        }
        let written = write(self.client, &self.upstream.bytes()[..taken]).await;
        self.upstream.consume(taken);
        self.finish_answered(written.is_err()).await
    }

    /// Ends the commands whose answers were written, or could not be.
    async fn finish_answered(&mut self, mut is_gone: bool) -> Result<(), Over> {
        let mut now = self.desk.shared.now();
        let is_clear = self.desk.life.is_clear();
        let mut has_left = None;
        if !is_gone {
            self.queued_are_over().await;
        }
        let mut settled = Vec::new();
        for mut statement in self.answered.drain(..) {
            if statement.is_over() {
                // The end of its transaction comes behind it: only then its client is told.
                settled.push(statement);
                continue;
            }
            if !is_gone && !is_clear {
                statement.settle().await;
                now = self.desk.shared.now();
            }
            if statement.has_left() && has_left.is_none() {
                has_left = Some(self.desk.life.is_client_reset().await);
                is_gone |= has_left == Some(true);
                now = self.desk.shared.now();
            }
            if is_gone {
                settled.clear();
                statement.gave_up();
                continue;
            }
            for mut statement in settled.drain(..) {
                statement.finish_at(AttemptEnd::Answered, now);
            }
            statement.finish_at(AttemptEnd::Answered, now);
        }
        if is_gone {
            return Err(Over::client_gone());
        }
        Ok(())
    }

    /// What was answered `+QUEUED` until now is over: that has left for the client.
    async fn queued_are_over(&mut self) {
        let newest = self.transaction.iter().rev();
        let new = newest.take_while(|statement| !statement.is_over()).count();
        let first = self.transaction.len() - new;
        for statement in &mut self.transaction[first..] {
            statement.settle().await;
            statement.over();
        }
    }

    fn upstream_closed(&self, error: Option<&io::Error>) -> Over {
        if self.queue.gone.is_cancelled() {
            return Over::client_gone();
        }
        let is_between = self.current.is_none() && self.scanned == 0;
        match error {
            Some(error) => Over::upstream(relay::upstream_failure(error), Closing::Reset),
            None if is_between => Over::upstream("upstream closed", Closing::Fin),
            None => Over::upstream("upstream closed within an answer", Closing::Fin),
        }
    }

    /// The connection is over in the midst of something.
    fn abandon(&mut self, end: AttemptEnd) {
        self.end_transaction();
        let current = self.current.take().and_then(|current| current.statement);
        for mut statement in current.into_iter().chain(self.answered.drain(..)) {
            match end {
                AttemptEnd::GaveUp => statement.gave_up(),
                end => statement.finish(end),
            }
        }
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        // An engine that is dropped half-way knows as much.
        self.end_transaction();
    }
}

/// The commands that run a script or a function which may write. What it did before an error stays.
const SCRIPTS: [&str; 3] = ["EVAL", "EVALSHA", "FCALL"];

/// The codes of errors with which none is begun.
const NOT_BEGUN: [&str; 11] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MOVED",
    "NOAUTH",
    "NOSCRIPT",
    "TRYAGAIN",
];

/// What an answer says of a command that was carried out at once, or with its transaction.
fn carried_out(statement: &Statement, said: Said, code: Option<&str>) -> Applied {
    let is_begun = || code.is_none_or(|code| !NOT_BEGUN.contains(&code));
    match said {
        Said::Error if SCRIPTS.contains(&&**statement.operation()) && is_begun() => {
            Applied::Unknown
        }
        Said::Error => Applied::No,
        Said::Queued | Said::Null | Said::Array | Said::Map | Said::Value => Applied::Yes,
    }
}

/// What an answer says of the command that it answers.
fn applied(kind: &Kind, said: Said) -> Applied {
    match (kind, said) {
        (_, Said::Error) | (Kind::GivenUp(_), _) => Applied::No,
        // A watched key has changed.
        (Kind::Of(Meaning::Exec), Said::Null) => Applied::No,
        (Kind::Queued, Said::Queued) => Applied::Unknown,
        _ => Applied::Yes,
    }
}

enum Progress {
    /// A message is done.
    Message,
    /// A message is done behind which bytes pass unread.
    LastMessage,
    /// There is nothing more to do with what is there.
    NeedsMore,
}

/// Whether a message of RESP2 that begins with this word is about subscriptions.
fn is_about_subscriptions(word: &str) -> bool {
    matches!(
        word,
        "message"
            | "pmessage"
            | "smessage"
            | "subscribe"
            | "psubscribe"
            | "ssubscribe"
            | "unsubscribe"
            | "punsubscribe"
            | "sunsubscribe"
    )
}
