//! Whose turn it is to be answered: commands in the order in which they came.

use crate::{
    fault::{Closing, FaultId, Then},
    history::AttemptEnd,
    protocol::{Applied, redis::request::Meaning},
    proxy::{reserve::Reserved, statement::Statement},
    units::Micros,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Commands of one connection that may wait for their answers; then no more are read. A server
/// would read on, so it is more than clients pipeline.
pub(super) const TURNS_MAX: usize = 65_536;

/// Turns for which there stays room when all have been answered.
const ROOM_KEPT: usize = 1_024;

/// What a command takes that waits for its answer, in bytes, as measured: its observation with what
/// it is called.
const TURN_BYTES: usize = 704;

/// What the commands of one connection may take whatever those of others do, in bytes; what is beyond
/// comes from what all connections share.
const OWN_BYTES: usize = 1_024 * TURN_BYTES;

/// A command that was sent on.
pub(super) struct Awaited {
    /// Its observation.
    pub(super) statement: Box<Statement>,
    /// What is to happen to its answer.
    pub(super) then: Option<(Then, FaultId)>,
    /// What its answer is like.
    pub(super) kind: Kind,
    /// How many copies of it were sent before, whose answers are still to come.
    pub(super) copies: u32,
}

/// What the answer of a command is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the command means it, outside of a transaction.
    Of(Meaning),
    /// It is within a transaction: `+QUEUED`, or an error.
    Queued,
    /// In its place the server was asked to give up the transaction; the client gets this.
    GivenUp(Bytes),
}

/// An answer of ours.
pub(super) enum Ours {
    /// These bytes; then the connection may be closed.
    Answer {
        /// The bytes.
        bytes: Bytes,
        /// Whether it is closed.
        closes: bool,
        /// Whether they are no answer.
        is_cut: bool,
    },
    /// The connection is cut.
    Cut(Closing),
    /// The connection cannot go on, as this says.
    Stuck(&'static str),
}

/// One turn.
pub(super) enum Turn {
    /// The dependency's.
    Theirs(Awaited),
    /// Ours.
    Ours(Box<Statement>, Ours),
}

impl Turn {
    fn statement(&mut self) -> &mut Statement {
        match self {
            Self::Theirs(awaited) => &mut awaited.statement,
            Self::Ours(statement, _) => statement,
        }
    }
}

/// The turns of one connection. Its lock is never held across a wait.
#[derive(Default)]
pub(super) struct Queue {
    turns: Mutex<Turns>,
    arrived: Notify,
    freed: Notify,
    /// The client has closed its direction.
    pub(super) gone: CancellationToken,
}

struct Turns {
    waiting: VecDeque<Turn>,
    /// How many have had their turn.
    past: u64,
    left: Option<Micros>,
    reserved: Reserved,
    /// Whether somebody was told that there is no room.
    is_full: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            past: 0,
            left: None,
            reserved: Reserved::of_statements(),
            is_full: false,
        }
    }
}

impl Turns {
    /// Whether another turn may be added.
    fn has_room(&mut self) -> bool {
        let bytes = (self.waiting.len() + 1) * TURN_BYTES;
        let has_room = self.waiting.len() < TURNS_MAX && self.reserved.holds(bytes, OWN_BYTES);
        self.is_full = !has_room;
        has_room
    }
}

impl Queue {
    /// Adds turns in their order, and leaves the list empty. The number of the last.
    pub(super) fn push(&self, turns: &mut Vec<Turn>) -> u64 {
        let mut queue = self.turns.lock();
        let is_ours = turns.iter().any(|turn| matches!(turn, Turn::Ours(..)));
        queue.waiting.extend(turns.drain(..));
        let last = queue.past + queue.waiting.len() as u64;
        drop(queue);
        if is_ours {
            self.arrived.notify_one();
        }
        last
    }

    /// Does something with the statement of this turn, unless it has been answered already.
    pub(super) fn with(&self, turn: u64, work: impl FnOnce(&mut Statement)) {
        let mut queue = self.turns.lock();
        let at = turn.checked_sub(queue.past + 1);
        let turn = at.and_then(|at| queue.waiting.get_mut(usize::try_from(at).ok()?));
        if let Some(turn) = turn {
            work(turn.statement());
        }
    }

    /// Waits until there is room for another turn.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.freed.notified().await;
        }
    }

    /// Whether there is room for another turn.
    pub(super) fn has_room(&self) -> bool {
        self.turns.lock().has_room()
    }

    /// Comes back when a turn of ours was added.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Looks at the next turn, which is the dependency's.
    pub(super) fn next_kind<T>(&self, look: impl FnOnce(Option<(&Kind, &Statement)>) -> T) -> T {
        let queue = self.turns.lock();
        look(match queue.waiting.front() {
            Some(Turn::Theirs(awaited)) => Some((&awaited.kind, &awaited.statement)),
            _ => None,
        })
    }

    /// Whether the transaction whose turn it is ends with an `EXEC` that was sent and not answered.
    pub(super) fn has_sent_exec(&self) -> bool {
        let queue = self.turns.lock();
        let end = |turn: &Turn| match turn {
            Turn::Theirs(awaited) => match awaited.kind {
                Kind::Of(Meaning::Exec) => Some(awaited.statement.is_sent()),
                Kind::Of(Meaning::Discard | Meaning::Reset) | Kind::GivenUp(_) => Some(false),
                Kind::Of(_) | Kind::Queued => None,
            },
            Turn::Ours(..) => None,
        };
        queue.waiting.iter().find_map(end).unwrap_or(false)
    }

    /// The dependency answers, and says whether it carried something out: if that is the answer of a
    /// copy of the next command, it is noted and true. Where the answer leaves it open, the copy is
    /// as one that was never answered.
    pub(super) fn copy_answered(&self, said: impl FnOnce(&Statement) -> Applied) -> bool {
        let mut queue = self.turns.lock();
        match queue.waiting.front_mut() {
            Some(Turn::Theirs(awaited)) if awaited.copies > 0 => {
                awaited.copies -= 1;
                let statement = &mut awaited.statement;
                match said(statement) {
                    Applied::Unknown => {}
                    applied => statement.copy_answered(applied == Applied::Yes, None, false),
                }
                true
            }
            _ => false,
        }
    }

    /// Takes the next turn if it is the dependency's.
    pub(super) fn take_theirs(&self) -> Option<Awaited> {
        match self.take(|turn| matches!(turn, Turn::Theirs(_)))? {
            Turn::Theirs(awaited) => Some(awaited),
            Turn::Ours(..) => None,
        }
    }

    /// Takes the next turn if it is ours.
    pub(super) fn take_ours(&self) -> Option<(Box<Statement>, Ours)> {
        match self.take(|turn| matches!(turn, Turn::Ours(..)))? {
            Turn::Ours(statement, ours) => Some((statement, ours)),
            Turn::Theirs(_) => None,
        }
    }

    fn take(&self, is_wanted: impl FnOnce(&Turn) -> bool) -> Option<Turn> {
        let mut queue = self.turns.lock();
        if !queue.waiting.front().is_some_and(is_wanted) {
            return None;
        }
        let mut turn = queue.waiting.pop_front()?;
        let was_full = std::mem::take(&mut queue.is_full);
        if queue.waiting.is_empty() {
            // A burst of commands is over: neither its room nor its share is kept.
            queue.waiting.shrink_to(ROOM_KEPT);
            queue.reserved.shrink(0);
        }
        queue.past += 1;
        if let Some(at) = queue.left {
            turn.statement().left(at);
        }
        drop(queue);
        if was_full {
            self.freed.notify_one();
        }
        Some(turn)
    }

    /// The client closed its direction.
    pub(super) fn left(&self, at: Micros) {
        self.turns.lock().left.get_or_insert(at);
        self.gone.cancel();
    }

    /// The connection is over: so end all that wait.
    pub(super) fn end(&self, end: AttemptEnd) {
        while let Some(mut turn) = self.take(|_| true) {
            let statement = turn.statement();
            if statement.has_left() || end == AttemptEnd::GaveUp {
                statement.gave_up();
            } else {
                statement.finish(end);
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // An engine that is dropped half-way: its client may have left before.
        let queue = self.turns.get_mut();
        if let Some(at) = queue.left {
            for turn in &mut queue.waiting {
                turn.statement().left(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many turns a connection takes until it is told that there is no room.
    fn turns_taken(turns: &mut Turns, most: usize) -> usize {
        (0..most)
            .find(|count| !holds(turns, count + 1))
            .unwrap_or(most)
    }

    fn holds(turns: &mut Turns, count: usize) -> bool {
        turns.reserved.holds(count * TURN_BYTES, OWN_BYTES)
    }

    #[test]
    fn however_many_connections_pipeline_what_waits_is_bounded_and_each_has_its_own_share() {
        let mut connections: Vec<Turns> = (0..200).map(|_| Turns::default()).collect();
        let taken: Vec<usize> = connections
            .iter_mut()
            .map(|turns| turns_taken(turns, TURNS_MAX))
            .collect();
        let own = OWN_BYTES / TURN_BYTES;
        assert!(taken.iter().all(|taken| *taken >= own), "{taken:?}");
        let shared: usize = taken.iter().map(|taken| taken - own).sum();
        assert!(shared * TURN_BYTES <= 64 * 1024 * 1024, "{shared}");
        assert!(
            taken[0] > 10 * own,
            "the first may take a great deal: {taken:?}"
        );
        assert_eq!(taken[199], own, "nothing is left for the last: {taken:?}");
        drop(connections);
        assert!(turns_taken(&mut Turns::default(), TURNS_MAX) > 10 * own);
    }
}
