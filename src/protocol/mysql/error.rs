//! MySQL's and MariaDB's errors, word for word as MariaDB 10.11 sends them, and what meets each.

use super::packet::packet;
use crate::protocol::{CONNECT, Call};

/// One error.
#[derive(Debug)]
pub struct ErrorDef {
    /// Its number.
    pub errno: u16,
    /// Its name in the server's sources, without `ER_`, in small letters: files may use it.
    pub name: &'static str,
    /// Its SQLSTATE.
    pub state: &'static str,
    /// Its text; without one, files must say it.
    pub text: Option<&'static str>,
    /// What it meets.
    pub meets: Meets,
    /// What it leaves behind.
    pub leaves: Leaves,
}

/// Which requests a server answers with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// A connection, in place of the greeting.
    Connect,
    /// A connection, after its client has said who it is.
    Login,
    /// Any command.
    Commands,
    /// Statements of SQL.
    Statements,
    /// Statements that change anything.
    Writing,
    /// Statements that take locks.
    Locking,
}

/// What a server leaves behind after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// The session; only the statement is undone.
    Session,
    /// The session, its transaction undone.
    NoTransaction,
    /// Nothing: the connection is closed.
    Nothing,
}

const fn error(
    errno: u16,
    name: &'static str,
    state: &'static str,
    text: &'static str,
    meets: Meets,
    leaves: Leaves,
) -> ErrorDef {
    ErrorDef {
        errno,
        name,
        state,
        text: Some(text),
        meets,
        leaves,
    }
}

/// Every error, by number.
pub const ERRORS: &[ErrorDef] = &[
    error(
        1040,
        "con_count_error",
        "08004",
        "Too many connections",
        Meets::Connect,
        Leaves::Nothing,
    ),
    ErrorDef {
        errno: 1045,
        name: "access_denied_error",
        state: "28000",
        text: None,
        meets: Meets::Login,
        leaves: Leaves::Nothing,
    },
    error(
        1053,
        "server_shutdown",
        "08S01",
        "Server shutdown in progress",
        Meets::Commands,
        Leaves::Nothing,
    ),
    ErrorDef {
        errno: 1129,
        name: "host_is_blocked",
        state: "HY000",
        text: None,
        meets: Meets::Connect,
        leaves: Leaves::Nothing,
    },
    ErrorDef {
        errno: 1203,
        name: "too_many_user_connections",
        state: "42000",
        text: None,
        meets: Meets::Login,
        leaves: Leaves::Nothing,
    },
    error(
        1205,
        "lock_wait_timeout",
        "HY000",
        "Lock wait timeout exceeded; try restarting transaction",
        Meets::Locking,
        Leaves::Session,
    ),
    error(
        1213,
        "lock_deadlock",
        "40001",
        "Deadlock found when trying to get lock; try restarting transaction",
        Meets::Locking,
        Leaves::NoTransaction,
    ),
    ErrorDef {
        errno: 1226,
        name: "user_limit_reached",
        state: "42000",
        text: None,
        meets: Meets::Login,
        leaves: Leaves::Nothing,
    },
    error(
        1290,
        "option_prevents_statement",
        "HY000",
        "The MariaDB server is running with the --read-only option so it cannot execute this statement",
        Meets::Writing,
        Leaves::Session,
    ),
    error(
        1317,
        "query_interrupted",
        "70100",
        "Query execution was interrupted",
        Meets::Statements,
        Leaves::Session,
    ),
    error(
        1927,
        "connection_killed",
        "70100",
        "Connection was killed",
        Meets::Commands,
        Leaves::Nothing,
    ),
    error(
        1969,
        "statement_timeout",
        "70100",
        "Query execution was interrupted (max_statement_time exceeded)",
        Meets::Statements,
        Leaves::Session,
    ),
    error(
        3024,
        "query_timeout",
        "HY000",
        "Query execution was interrupted, maximum statement execution time exceeded",
        Meets::Statements,
        Leaves::Session,
    ),
];

/// The error of this number or name.
pub fn find_error(name: &str) -> Option<&'static ErrorDef> {
    ERRORS
        .iter()
        .find(|def| def.name == name || def.errno.to_string() == name)
}

/// Kinds of statements that change something.
const WRITING: &[&str] = &[
    "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CREATE", "ALTER", "DROP", "TRUNCATE",
    "RENAME", "GRANT", "REVOKE", "OPTIMIZE", "REPAIR",
];

/// Kinds of statements that lock rows, whatever else they say.
const LOCKING: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"];

/// Whether a server in this state answers a request so.
pub fn meets(meets: Meets, call: &Call) -> bool {
    let operation = &*call.operation;
    if operation == CONNECT {
        return matches!(meets, Meets::Connect | Meets::Login);
    }
    match meets {
        Meets::Connect | Meets::Login => false,
        Meets::Commands => true,
        Meets::Statements => !super::COMMANDS.contains(&operation),
        Meets::Writing => WRITING.contains(&operation),
        Meets::Locking => LOCKING.contains(&operation) || is_locking_read(call),
    }
}

/// `SELECT … FOR UPDATE`, `… LOCK IN SHARE MODE`, `… FOR SHARE`.
fn is_locking_read(call: &Call) -> bool {
    if &*call.operation != "SELECT" {
        return false;
    }
    let text = call.target.to_ascii_uppercase();
    ["FOR UPDATE", "LOCK IN SHARE MODE", "FOR SHARE"]
        .iter()
        .any(|words| text.contains(words))
}

/// The packet on the wire. Before the client has answered the greeting there is no SQLSTATE.
pub fn error_packet(
    def: &ErrorDef,
    text: Option<&str>,
    sequence: u8,
    is_greeting: bool,
) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend_from_slice(&def.errno.to_le_bytes());
    if !is_greeting {
        payload.push(b'#');
        payload.extend_from_slice(def.state.as_bytes());
    }
    payload.extend_from_slice(text.or(def.text).unwrap_or_default().as_bytes());
    packet(sequence, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CallTracker, Recognised};

    fn call(operation: &str, text: &str) -> Call {
        let recognised = Recognised {
            operation: operation.into(),
            text: text.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    }

    #[test]
    fn every_error_is_on_the_wire_byte_for_byte() {
        let lines: Vec<String> = ERRORS
            .iter()
            .map(|def| {
                let text = def.text.is_none().then_some("of the file");
                let is_greeting = def.meets == Meets::Connect;
                let bytes = error_packet(def, text, u8::from(!is_greeting), is_greeting);
                format!("{}: {}", def.errno, bytes.escape_ascii())
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn too_many_connections_has_no_sqlstate_before_the_greeting() {
        let def = find_error("1040").expect("an error");
        let bytes = error_packet(def, None, 0, true);
        assert_eq!(bytes, b"\x17\0\0\0\xff\x10\x04Too many connections");
        assert!(find_error("con_count_error").is_some() && find_error("9999").is_none());
    }

    #[test]
    fn a_server_answers_only_those_requests_so_that_its_state_concerns() {
        for (state, operation, text, expected) in [
            (Meets::Connect, CONNECT, "", true),
            (Meets::Connect, "SELECT", "", false),
            (Meets::Commands, "PING", "", true),
            (Meets::Commands, CONNECT, "", false),
            (Meets::Statements, "SELECT", "", true),
            (Meets::Statements, "PING", "", false),
            (Meets::Writing, "UPDATE", "", true),
            (Meets::Writing, "SELECT", "", false),
            (Meets::Locking, "UPDATE", "", true),
            (Meets::Locking, "SELECT", "select 1 from t for update", true),
            (Meets::Locking, "SELECT", "select 1", false),
        ] {
            assert_eq!(
                meets(state, &call(operation, text)),
                expected,
                "{state:?} {operation}"
            );
        }
    }
}
