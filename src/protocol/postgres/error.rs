//! The errors of a PostgreSQL server, byte for byte as version 15 sends them, and those of the
//! pooler PgBouncer, as version 1.18 does.

use std::borrow::Cow;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session is over.
    Fatal,
    /// A notice, after which the server breaks off the session without another word.
    Warning,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
        }
    }

    /// Whether the session ends with it.
    pub const fn ends_session(self) -> bool {
        !matches!(self, Self::Error)
    }
}

/// At which moment of a session a server says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// In answer to the start-up packet, before anything of authentication.
    Connecting,
    /// When the client has proved who it is.
    Authenticated,
    /// In answer to a statement.
    Statement,
    /// At any moment, asked or not.
    Session,
}

/// Who says an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The server.
    Server,
    /// PgBouncer, without the fields that only the server has.
    Pooler,
    /// The server; and at once behind it PgBouncer, in whose words the session ends.
    ServerThenPooler(&'static str),
}

/// An error that the server is known to send.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorDef {
    /// Its SQLSTATE.
    pub code: &'static str,
    /// The condition's name in PostgreSQL's manual, which several errors may share.
    pub condition: &'static str,
    /// Its own name, where the condition's does not tell it apart.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// When it is said.
    pub moment: Moment,
    /// The message. `{user}`, `{database}`, `{table}`, `{operation}` and `{pid}` stand for those
    /// of the session and statement.
    pub message: &'static str,
    /// The detail.
    pub detail: &'static str,
    /// The hint.
    pub hint: &'static str,
    /// Where it happened, in the words of SQL.
    pub context: &'static str,
    /// File, line and routine of the server's source.
    pub source: [&'static str; 3],
    /// Who says it.
    pub speaker: Speaker,
}

/// An error without detail, hint and context.
const fn plain(
    code: &'static str,
    condition: &'static str,
    name: &'static str,
    severity: Severity,
    moment: Moment,
    message: &'static str,
    source: [&'static str; 3],
) -> ErrorDef {
    ErrorDef {
        code,
        condition,
        name,
        severity,
        moment,
        message,
        detail: "",
        hint: "",
        context: "",
        source,
        speaker: Speaker::Server,
    }
}

/// An error of PgBouncer's own. All have one SQLSTATE, whatever has happened.
const fn pooler(name: &'static str, moment: Moment, message: &'static str) -> ErrorDef {
    ErrorDef {
        speaker: Speaker::Pooler,
        ..plain(
            POOLERS_CODE,
            "protocol_violation",
            name,
            Severity::Fatal,
            moment,
            message,
            [""; 3],
        )
    }
}

/// The SQLSTATE of everything that PgBouncer says.
const POOLERS_CODE: &str = "08P01";

/// What PgBouncer says when the server's connection is gone in the midst of a transaction.
const SERVER_CRASHED: &str = "server conn crashed?";

use Moment::{Authenticated, Connecting, Session as AnyMoment, Statement};
use Severity::{Error, Fatal, Warning};

/// Every known error; of several with one code the first is meant by the code alone.
///
/// Measured on PostgreSQL 15.18, fields, lines and all, except `58030` and the recovery mode's
/// line, which are from its source; and on PgBouncer 1.18.0.
#[rustfmt::skip]
pub const ERRORS: &[ErrorDef] = &[
    plain("53300", "too_many_connections", "too_many_clients", Fatal, Connecting, "sorry, too many clients already", ["proc.c", "357", "InitProcess"]),
    plain("53300", "too_many_connections", "reserved_slots", Fatal, Authenticated, "remaining connection slots are reserved for non-replication superuser connections", ["postinit.c", "886", "InitPostgres"]),
    plain("53300", "too_many_connections", "role_limit", Fatal, Authenticated, "too many connections for role \"{user}\"", ["miscinit.c", "842", "InitializeSessionUserId"]),
    plain("53300", "too_many_connections", "database_limit", Fatal, Authenticated, "too many connections for database \"{database}\"", ["postinit.c", "384", "CheckMyDatabase"]),
    plain("55000", "object_not_in_prerequisite_state", "database_not_accepting", Fatal, Authenticated, "database \"{database}\" is not currently accepting connections", ["postinit.c", "350", "CheckMyDatabase"]),
    plain("28000", "invalid_authorization_specification", "no_role", Fatal, Authenticated, "role \"{user}\" does not exist", ["miscinit.c", "768", "InitializeSessionUserId"]),
    plain("3D000", "invalid_catalog_name", "no_database", Fatal, Authenticated, "database \"{database}\" does not exist", ["postinit.c", "948", "InitPostgres"]),
    plain("57P03", "cannot_connect_now", "starting_up", Fatal, Connecting, "the database system is starting up", ["postmaster.c", "2415", "ProcessStartupPacket"]),
    plain("57P03", "cannot_connect_now", "shutting_down", Fatal, Connecting, "the database system is shutting down", ["postmaster.c", "2432", "ProcessStartupPacket"]),
    plain("57P03", "cannot_connect_now", "in_recovery", Fatal, Connecting, "the database system is in recovery mode", ["postmaster.c", "2437", "ProcessStartupPacket"]),
    ErrorDef { detail: "Consistent recovery state has not been yet reached.", ..plain("57P03", "cannot_connect_now", "not_yet_accepting", Fatal, Connecting, "the database system is not yet accepting connections", ["postmaster.c", "2421", "ProcessStartupPacket"]) },
    plain("57P01", "admin_shutdown", "administrator_command", Fatal, AnyMoment, "terminating connection due to administrator command", ["postgres.c", "3211", "ProcessInterrupts"]),
    plain("57P01", "admin_shutdown", "immediate_shutdown", Warning, AnyMoment, "terminating connection due to immediate shutdown command", ["postgres.c", "2907", "quickdie"]),
    ErrorDef {
        detail: "The postmaster has commanded this server process to roll back the current transaction and exit, because another server process exited abnormally and possibly corrupted shared memory.",
        hint: "In a moment you should be able to reconnect to the database and repeat your command.",
        ..plain("57P02", "crash_shutdown", "crash_shutdown", Warning, AnyMoment, "terminating connection because of crash of another server process", ["postgres.c", "2895", "quickdie"])
    },
    plain("57P05", "idle_session_timeout", "idle_session_timeout", Fatal, AnyMoment, "terminating connection due to idle-session timeout", ["postgres.c", "3374", "ProcessInterrupts"]),
    plain("25P03", "idle_in_transaction_session_timeout", "idle_in_transaction_session_timeout", Fatal, AnyMoment, "terminating connection due to idle-in-transaction timeout", ["postgres.c", "3363", "ProcessInterrupts"]),
    plain("57014", "query_canceled", "statement_timeout", Error, Statement, "canceling statement due to statement timeout", ["postgres.c", "3319", "ProcessInterrupts"]),
    plain("57014", "query_canceled", "user_request", Error, Statement, "canceling statement due to user request", ["postgres.c", "3349", "ProcessInterrupts"]),
    ErrorDef { context: "while updating tuple (0,1) in relation \"{table}\"", ..plain("55P03", "lock_not_available", "lock_timeout", Error, Statement, "canceling statement due to lock timeout", ["postgres.c", "3312", "ProcessInterrupts"]) },
    plain("55P03", "lock_not_available", "row_locked", Error, Statement, "could not obtain lock on row in relation \"{table}\"", ["heapam.c", "4937", "heap_lock_tuple"]),
    plain("55P03", "lock_not_available", "relation_locked", Error, Statement, "could not obtain lock on relation \"{table}\"", ["namespace.c", "400", "RangeVarGetRelidExtended"]),
    ErrorDef {
        detail: "Process {pid} waits for ShareLock on transaction 742; blocked by process 20444.\nProcess 20444 waits for ShareLock on transaction 741; blocked by process {pid}.",
        hint: "See server log for query details.",
        context: "while updating tuple (0,2) in relation \"{table}\"",
        ..plain("40P01", "deadlock_detected", "deadlock_detected", Error, Statement, "deadlock detected", ["deadlock.c", "1147", "DeadLockReport"])
    },
    plain("40001", "serialization_failure", "concurrent_update", Error, Statement, "could not serialize access due to concurrent update", ["nodeModifyTable.c", "2399", "ExecUpdate"]),
    ErrorDef {
        detail: "Reason code: Canceled on identification as a pivot, during commit attempt.",
        hint: "The transaction might succeed if retried.",
        ..plain("40001", "serialization_failure", "read_write_dependencies", Error, Statement, "could not serialize access due to read/write dependencies among transactions", ["predicate.c", "4879", "PreCommit_CheckForSerializationFailure"])
    },
    plain("25P02", "in_failed_sql_transaction", "in_failed_sql_transaction", Error, Statement, "current transaction is aborted, commands ignored until end of transaction block", ["postgres.c", "1081", "exec_simple_query"]),
    plain("25006", "read_only_sql_transaction", "read_only_sql_transaction", Error, Statement, "cannot execute {operation} in a read-only transaction", ["utility.c", "414", "PreventCommandIfReadOnly"]),
    plain("53400", "configuration_limit_exceeded", "temp_file_limit", Error, Statement, "temporary file size exceeds temp_file_limit (64kB)", ["fd.c", "2202", "FileWrite"]),
    ErrorDef { hint: "Check free disk space.", ..plain("53100", "disk_full", "disk_full", Error, Statement, "could not extend file \"base/16384/16385\": No space left on device", ["md.c", "486", "mdextend"]) },
    ErrorDef { detail: "Failed on request of size 200000004 in memory context \"ExprContext\".", ..plain("53200", "out_of_memory", "out_of_memory", Error, Statement, "out of memory", ["mcxt.c", "1112", "palloc"]) },
    plain("58030", "io_error", "io_error", Error, Statement, "could not read block 0 in file \"base/16384/16385\": Input/output error", ["md.c", "687", "mdread"]),
    pooler("pgbouncer_query_wait_timeout", Statement, "query_wait_timeout"),
    pooler("pgbouncer_no_more_connections", Connecting, "no more connections allowed (max_client_conn)"),
    pooler("pgbouncer_config_error", Connecting, "bouncer config error"),
    pooler("pgbouncer_server_crashed", AnyMoment, SERVER_CRASHED),
    ErrorDef { speaker: Speaker::ServerThenPooler(SERVER_CRASHED), ..plain("57P01", "admin_shutdown", "pgbouncer_server_shutdown", Fatal, AnyMoment, "terminating connection due to administrator command", ["postgres.c", "3211", "ProcessInterrupts"]) },
];

/// The error of this SQLSTATE, condition or own name.
pub fn find_error(name: &str) -> Option<&'static ErrorDef> {
    let by = |wanted: fn(&ErrorDef) -> &'static str| ERRORS.iter().find(|def| wanted(def) == name);
    by(|def| def.code)
        .or_else(|| by(|def| def.condition))
        .or_else(|| by(|def| def.name))
}

/// By what names [`find_error`] finds errors.
pub fn conditions() -> impl Iterator<Item = &'static str> {
    ERRORS
        .iter()
        .flat_map(|def| [def.code, def.condition, def.name])
}

/// An error as it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// Its SQLSTATE.
    pub code: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// When it is said.
    pub moment: Moment,
    /// The message, with placeholders.
    pub message: Cow<'static, str>,
    /// The detail; empty for none.
    pub detail: Cow<'static, str>,
    /// The hint; empty for none.
    pub hint: Cow<'static, str>,
    context: &'static str,
    source: [&'static str; 3],
    speaker: Speaker,
}

impl From<&'static ErrorDef> for ErrorReply {
    fn from(def: &'static ErrorDef) -> Self {
        Self {
            code: def.code.into(),
            severity: def.severity,
            moment: def.moment,
            message: def.message.into(),
            detail: def.detail.into(),
            hint: def.hint.into(),
            context: def.context,
            source: def.source,
            speaker: def.speaker,
        }
    }
}

/// Who is connected to what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl ErrorReply {
    /// An error of a statement that no table of ours knows.
    pub fn of_statement(code: String, message: String) -> Self {
        Self {
            code: code.into(),
            severity: Severity::Error,
            moment: Moment::Statement,
            message: message.into(),
            detail: "".into(),
            hint: "".into(),
            context: "",
            source: [""; 3],
            speaker: Speaker::Server,
        }
    }

    /// The message on the wire: `ErrorResponse`, or `NoticeResponse` for a warning; and what a
    /// pooler says behind it.
    pub fn bytes(&self, session: &Session, pid: u32, operation: &str, table: &str) -> Vec<u8> {
        let filled = |text: &str| {
            text.replace("{user}", &session.user)
                .replace("{database}", &session.database)
                .replace("{operation}", operation)
                .replace("{table}", table)
                .replace("{pid}", &pid.to_string())
        };
        let [file, line, routine] = self.source;
        // What names a table says nothing where there is none.
        let context = if table.is_empty() { "" } else { self.context };
        let severity = self.severity.name();
        let own = match self.speaker {
            Speaker::Pooler => "",
            Speaker::Server | Speaker::ServerThenPooler(_) => severity,
        };
        let fields = [
            (b'S', severity),
            (b'V', own),
            (b'C', &self.code),
            (b'M', &self.message),
            (b'D', &self.detail),
            (b'H', &self.hint),
            (b'W', context),
            (b'F', file),
            (b'L', line),
            (b'R', routine),
        ];
        let mut body = Vec::with_capacity(160);
        for (field, text) in fields {
            if !text.is_empty() {
                body.push(field);
                // A zero byte would end the field.
                body.extend(filled(text).bytes().filter(|byte| *byte != 0));
                body.push(0);
            }
        }
        body.push(0);
        let kind = match self.severity {
            Severity::Warning => b'N',
            Severity::Error | Severity::Fatal => b'E',
        };
        let mut bytes = super::message(kind, &body);
        if let Speaker::ServerThenPooler(words) = self.speaker {
            let body = format!("SFATAL\0C{POOLERS_CODE}\0M{words}\0\0");
            bytes.extend(super::message(b'E', body.as_bytes()));
        }
        bytes
    }
}

/// The SQLSTATE in the body of an `ErrorResponse`, as far as the body is there.
pub fn code_of(body: &[u8]) -> Option<&str> {
    body.split(|byte| *byte == 0)
        .take_while(|field| !field.is_empty())
        .find(|field| field[0] == b'C')
        .and_then(|field| std::str::from_utf8(&field[1..]).ok())
        .filter(|code| is_sqlstate(code))
}

/// Whether a text can be a SQLSTATE: five digits and capitals.
pub fn is_sqlstate(text: &str) -> bool {
    text.len() == 5
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn bytes(name: &str) -> Vec<u8> {
        let session = Session {
            user: "app".to_owned(),
            database: "appdb".to_owned(),
        };
        let def = find_error(name).expect("a known error");
        ErrorReply::from(def).bytes(&session, 20443, "UPDATE", "t")
    }

    #[test]
    fn the_measured_lengths_are_kept() {
        for (name, len) in [
            ("too_many_clients", 86),
            ("57P01", 117),
            ("immediate_shutdown", 117),
            ("57P02", 396),
            ("reserved_slots", 141),
            ("starting_up", 105),
            ("shutting_down", 107),
            ("not_yet_accepting", 176),
            ("57014", 110),
            ("user_request", 105),
            ("55P03", 149),
            ("row_locked", 106),
            ("40P01", 320),
            ("40001", 117),
            ("read_write_dependencies", 283),
            ("25P02", 145),
            ("25006", 119),
            ("53400", 102),
            ("57P05", 116),
            ("25P03", 123),
            ("pgbouncer_query_wait_timeout", 40),
            ("pgbouncer_no_more_connections", 67),
            ("pgbouncer_config_error", 42),
            ("pgbouncer_server_crashed", 42),
            ("pgbouncer_server_shutdown", 159),
        ] {
            assert_eq!(bytes(name).len(), len, "{name}");
        }
        let full = b"E\0\0\0\x55SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0Fproc.c\0L357\0RInitProcess\0\0";
        assert_eq!(bytes("53300"), full);
    }

    #[test]
    fn every_error_is_sent_as_the_server_sends_it() {
        let mut all = String::new();
        for def in ERRORS {
            let bytes = bytes(def.name);
            let _ = writeln!(
                all,
                "{} {} ({} bytes, {:?})\n    {}",
                def.code,
                def.name,
                bytes.len(),
                def.moment,
                bytes.escape_ascii()
            );
        }
        insta::assert_snapshot!("postgres_errors", all);
    }

    #[test]
    fn errors_are_found_by_code_condition_and_name() {
        for def in ERRORS {
            assert!(is_sqlstate(def.code));
            assert_eq!(find_error(def.name).map(|found| found.name), Some(def.name));
            assert_eq!(find_error(def.code).map(|found| found.code), Some(def.code));
        }
        assert_eq!(find_error("57P03").map(|def| def.name), Some("starting_up"));
        assert_eq!(find_error("cannot_connect_now"), find_error("57P03"));
        assert_eq!(find_error("nonsense"), None);
    }

    #[test]
    fn the_code_is_read_back() {
        for def in ERRORS {
            assert_eq!(code_of(&bytes(def.name)[5..]), Some(def.code));
        }
        assert_eq!(code_of(b"SERROR\0Mx\0\0C12345\0"), None);
        assert_eq!(code_of(b"C123"), None);
        assert_eq!(code_of(b""), None);
    }

    #[test]
    fn a_zero_byte_does_not_end_a_field() {
        let mut reply = ErrorReply::of_statement("23505".to_owned(), "a\0b".to_owned());
        reply.detail = "d".into();
        let bytes = reply.bytes(&Session::default(), 0, "", "");
        assert_eq!(&bytes[5..], b"SERROR\0VERROR\0C23505\0Mab\0Dd\0\0");
    }
}
