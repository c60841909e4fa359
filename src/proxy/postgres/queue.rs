//! The requests of one session whose answers are still due, in the order in which the server will
//! answer them.

use super::Over;
use crate::{
    fault::{Closing, FaultId, Then},
    history::AttemptEnd,
    protocol::{Applied, postgres::ErrorReply},
    proxy::statement::Statement,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// The most requests whose answers are due; then nothing more is read from the client.
pub(super) const LENGTH_MAX: usize = 10_000;

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
    /// The transaction's state in the last `ReadyForQuery`: `I`, `T` or `E`.
    pub(super) status: u8,
    /// The client sends the data of a `COPY`, in which the server ignores `Sync`.
    pub(super) copies_in: bool,
}

impl Queue {
    pub(super) fn new(first: Pending) -> Self {
        Self {
            state: Mutex::new(State {
                pending: VecDeque::from([first]),
                status: b'I',
                copies_in: false,
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
        while self.lock().pending.len() >= LENGTH_MAX {
            self.room.notified().await;
        }
    }

    /// Ends all that is still due, as the session is over.
    pub(super) fn abandon(&self, over: &Over) {
        let pending = std::mem::take(&mut self.lock().pending);
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

impl State {
    /// The first request whose answer is due.
    pub(super) fn front(&mut self) -> Option<&mut Pending> {
        self.pending.front_mut()
    }

    /// The statement whose answer comes now.
    pub(super) fn statement(&mut self) -> Option<&mut Statement> {
        self.front()?.statement.as_deref_mut()
    }

    /// Takes out the `Execute`s before the next `Sync`, which an error has made the server skip.
    pub(super) fn skip_executes(&mut self, code: Option<&str>, done: &mut Vec<Statement>) {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.kind == Kind::Execute)
        {
            let Some(mut statement) = self.pending.pop_front().and_then(|next| next.statement)
            else {
                continue;
            };
            statement.upstream_answered(Applied::No);
            if let Some(code) = code {
                statement.code(code);
            }
            done.push(*statement);
        }
    }
}
