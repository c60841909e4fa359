//! What was carried out in a transaction that is still open: applied is what is committed. It
//! follows what the server's answers say of the session, and asks nothing. The client knows of it
//! once it has the answer that ends the transaction; where that never comes, it cannot.

use super::Statement;
use crate::{
    history::AttemptEnd,
    protocol::{
        Applied, TEXT_BYTES_MAX,
        mysql::COMMANDS,
        sql::{Dialect, begins_transaction},
    },
};
use std::collections::VecDeque;

/// The most statements of one transaction whose fate is waited for; of the oldest beyond it is
/// said that it is unknown.
const UNSETTLED_MAX: usize = 1_000;

/// The number of the error with which a server takes the whole transaction back.
const DEADLOCK: u16 = 1213;

/// The kinds of statements that change nothing which a transaction could take back.
const READING: &[&str] = &[
    "SELECT",
    "VALUES",
    "TABLE",
    "SHOW",
    "SET",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK TO",
    "SAVEPOINT",
    "RELEASE",
    "EXPLAIN",
    "DESCRIBE",
    "PREPARE",
    "DEALLOCATE",
    "FETCH",
    "LOCK",
    "UNLOCK",
    "USE",
    "EMPTY",
];

/// The transaction of a session.
#[derive(Default)]
pub(super) struct Transaction {
    is_open: bool,
    /// Whether the statement under way may commit it.
    may_commit: bool,
    unsettled: VecDeque<Statement>,
    /// Those whose fate is known to us, and of which the client is yet to be told.
    settled: Vec<Statement>,
}

impl Transaction {
    /// Whether the server said that it is open.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// A statement is sent on.
    pub(super) fn begins(&mut self, statement: &Statement) {
        let is_end = |letter: char| letter == ';' || letter.is_whitespace();
        let text = statement.text();
        // A text may have a `COMMIT` behind its first statement.
        self.may_commit = !is_plain(statement)
            || text.len() + 4 > TEXT_BYTES_MAX
            || text.trim_end_matches(is_end).contains(';');
    }

    /// What a statement's answer says of the session, whether or not the client is to have it.
    pub(super) fn follows(
        &mut self,
        statement: &Statement,
        error: Option<u16>,
        is_open: Option<bool>,
    ) {
        self.may_commit = false;
        // A transaction that is open when another begins is committed.
        let begins_another =
            !self.unsettled.is_empty() && begins_transaction(statement.text(), Dialect::Mysql);
        match (error, &**statement.operation()) {
            (Some(DEADLOCK), _) if !begins_another => self.taken_back(),
            (None, "ROLLBACK") => self.taken_back(),
            // Whether it came as far as that.
            (Some(_), _) if begins_another => self.settle(Applied::Unknown),
            (Some(_), _) => {}
            (None, "ROLLBACK TO" | "XA") => self.settle(Applied::Unknown),
            (None, "COMMIT" | "BEGIN") => self.settle(Applied::Yes),
            (None, _) if begins_another => self.settle(Applied::Yes),
            (None, _) if is_open == Some(false) => self.settle(Applied::Yes),
            (None, _) => {}
        }
        self.is_open = is_open.unwrap_or(self.is_open);
    }

    /// As [`Transaction::follows`], once the answer has left for the client: so ends the statement,
    /// or is kept until its fate is known.
    pub(super) fn answered(
        &mut self,
        mut statement: Statement,
        error: Option<u16>,
        is_open: Option<bool>,
    ) {
        self.follows(&statement, error, is_open);
        self.is_told();
        if !self.is_open || !statement.is_applied() || is_reading(&statement) {
            return statement.finish(AttemptEnd::Answered);
        }
        statement.withhold();
        statement.over();
        self.unsettled.push_back(statement);
        if self.unsettled.len() > UNSETTLED_MAX
            && let Some(mut oldest) = self.unsettled.pop_front()
        {
            oldest.finish(AttemptEnd::Answered);
        }
    }

    /// The server has taken it back.
    pub(super) fn taken_back(&mut self) {
        self.is_open = false;
        self.settle(Applied::No);
        self.is_told();
    }

    /// The client did not get the answer that ended it.
    pub(super) fn is_untold(&mut self) {
        self.settled.clear();
    }

    fn is_told(&mut self) {
        for mut statement in self.settled.drain(..) {
            statement.finish(AttemptEnd::Answered);
        }
    }

    fn settle(&mut self, applied: Applied) {
        for mut statement in self.unsettled.drain(..) {
            if applied != Applied::Unknown {
                statement.upstream_answered(applied);
            }
            self.settled.push(statement);
        }
    }
}

impl Drop for Transaction {
    /// The session is over: without its `COMMIT` the server takes it back. What a `COMMIT` that
    /// was not answered did nobody knows.
    fn drop(&mut self) {
        self.is_untold();
        if !self.may_commit {
            self.settle(Applied::No);
            self.is_told();
        }
    }
}

/// Whether it changes nothing that a transaction could take back.
pub(super) fn is_reading(statement: &Statement) -> bool {
    let operation = &&**statement.operation();
    READING.contains(operation) || COMMANDS.contains(operation)
}

/// Whether it leaves an open transaction open.
fn is_plain(statement: &Statement) -> bool {
    matches!(
        &**statement.operation(),
        "SELECT"
            | "INSERT"
            | "UPDATE"
            | "DELETE"
            | "REPLACE"
            | "SAVEPOINT"
            | "RELEASE"
            | "ROLLBACK"
            | "ROLLBACK TO"
    ) || COMMANDS.contains(&&**statement.operation())
}
