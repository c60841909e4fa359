//! PostgreSQL's errors as files describe them, and which requests can meet each.

use super::{
    Gate,
    gate::{By, wildcard},
};
use crate::{
    input::{Fields, Problems, did_you_mean},
    protocol::{
        Call,
        postgres::{self, ErrorReply, Moment, find_error},
    },
};

/// Statements that a failing server still carries out: an error meets them only where a file names
/// them.
const STILL_DONE: &[&str] = &["CONNECT", "CANCEL", "ROLLBACK", "ROLLBACK TO", "EMPTY"];

/// What an error acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A connection's start-up.
    Connecting,
    /// Statements that a failing server does not carry out.
    Statements,
    /// Statements that the file names.
    Named,
    /// Whole connections that are open, idle or not.
    OpenConnections,
}

impl Scope {
    /// Whether a request can meet the error.
    pub(super) fn concerns(self, call: &Call) -> bool {
        match self {
            Self::Connecting => &*call.operation == "CONNECT",
            Self::Statements => !STILL_DONE.contains(&&*call.operation),
            Self::Named => !matches!(&*call.operation, "CONNECT" | "CANCEL"),
            Self::OpenConnections => false,
        }
    }
}

/// Keys of the kind `error` that belong to HTTP.
const OF_HTTP: &[&str] = &[
    "status",
    "body",
    "headers",
    "reason",
    "retry_after",
    "close",
];

/// Reads an error out of the keys of the kind `error`, and what it acts on.
pub(super) fn parse(
    fields: &Fields<'_>,
    gate: &Gate,
    problems: &mut Problems,
) -> Option<(ErrorReply, Scope)> {
    let before = problems.as_slice().len();
    let reply = reply(fields, problems)?;
    let scope = scope(&reply, gate);
    check_operations(fields, gate, &reply, scope, problems);
    Some((reply, scope)).filter(|_| problems.as_slice().len() == before)
}

/// Reads an error out of the keys of the kind `error`.
pub(super) fn reply(fields: &Fields<'_>, problems: &mut Problems) -> Option<ErrorReply> {
    let before = problems.as_slice().len();
    for key in OF_HTTP.iter().filter(|key| fields.has(key)) {
        let said = format!("an error of PostgreSQL has no `{key}`");
        let hint = match *key {
            "body" => "did you mean `message`?",
            _ => "it has `error`, `message`, `detail` and `hint`",
        };
        fields.problem(problems, key, said, hint.to_owned());
    }
    let mut text = |key| fields.text(key, problems).map(|item| item.value);
    let (message, detail, hint) = (text("message"), text("detail"), text("hint"));
    let mut reply = known(fields, message.as_deref(), problems)?;
    if let Some(message) = message {
        reply.message = message.into();
    }
    if let Some(detail) = detail {
        reply.detail = detail.into();
    }
    if let Some(hint) = hint {
        reply.hint = hint.into();
    }
    Some(reply).filter(|_| problems.as_slice().len() == before)
}

fn known(
    fields: &Fields<'_>,
    message: Option<&str>,
    problems: &mut Problems,
) -> Option<ErrorReply> {
    if !fields.has("error") {
        let said = format!("{} does not say which `error`", fields.name());
        let hint = "write a SQLSTATE or the name of a condition: error = \"53300\"".to_owned();
        problems.error(fields.source, fields.span.clone(), said, hint);
        return None;
    }
    let name = fields.text("error", problems)?.value;
    if let Some(def) = find_error(&name) {
        return Some(def.into());
    }
    if postgres::is_sqlstate(&name) {
        if let Some(message) = message {
            return Some(ErrorReply::of_statement(name, message.to_owned()));
        }
        let said = format!("no message is known for the SQLSTATE `{name}`");
        let hint = "write what the server says: message = \"…\"".to_owned();
        fields.problem(problems, "error", said, hint);
        return None;
    }
    let hint = match did_you_mean(&name, postgres::conditions()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a SQLSTATE such as 53300, or a condition's name such as too_many_connections"
            .to_owned(),
    };
    fields.problem(
        problems,
        "error",
        format!("PostgreSQL has no error `{name}`"),
        hint,
    );
    None
}

fn scope(reply: &ErrorReply, gate: &Gate) -> Scope {
    match reply.moment {
        Moment::Connecting | Moment::Authenticated => Scope::Connecting,
        Moment::Session if gate.by == Some(By::Connection) && gate.when.is_empty() => {
            Scope::OpenConnections
        }
        Moment::Session | Moment::Statement if gate.when.operation.is_empty() => Scope::Statements,
        Moment::Session | Moment::Statement => Scope::Named,
    }
}

/// An operation that never meets the error would leave it without effect.
fn check_operations(
    fields: &Fields<'_>,
    gate: &Gate,
    reply: &ErrorReply,
    scope: Scope,
    problems: &mut Problems,
) {
    let connects = |pattern: &String| wildcard(pattern, "CONNECT");
    let named = &gate.when.operation;
    let code = &reply.code;
    if scope == Scope::Connecting && !named.is_empty() && !named.iter().any(connects) {
        let message = format!("`{code}` is said to clients that connect, not to statements");
        let hint = "when = { operation = \"CONNECT\" }, or no `when` at all".to_owned();
        fields.problem(problems, "when", message, hint);
    }
    if scope == Scope::Named && named.iter().all(|pattern| pattern == "CONNECT") {
        let message = format!("`{code}` is said to statements, not to clients that connect");
        let hint = "connecting fails with 53300, 57P03, 55000, 28000 or 3D000".to_owned();
        fields.problem(problems, "when", message, hint);
    }
}
