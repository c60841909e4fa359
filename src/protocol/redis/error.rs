//! Redis's errors, word for word as Redis 7.0 sends them, and which commands a server answers
//! with each.

use super::commands;
use crate::protocol::{CONNECT, Call};
use bytes::Bytes;

/// One error.
#[derive(Debug)]
pub struct ErrorDef {
    /// Its name in files: the first word of its text, `max-clients` excepted.
    pub name: &'static str,
    /// The text, the first word included; without it, files must say what follows that.
    pub text: Option<&'static str>,
    /// Which commands it meets.
    pub meets: Meets,
}

/// Which commands a server answers with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// All.
    All,
    /// Those that change the data set.
    Writing,
    /// Those that may need more memory.
    NeedingMemory,
    /// Those that are not answered while the data set is loaded.
    Loading,
    /// Those that are not answered while a script runs.
    Busy,
    /// Those that must not be answered with stale data.
    Stale,
    /// Those that name keys.
    Keyed,
    /// All but those that log in.
    Unauthenticated,
    /// Those that log in.
    LoggingIn,
    /// `EXEC`.
    Exec,
    /// `SCRIPT`.
    Script,
    /// None: it answers a connection, which is then closed.
    Connections,
}

const fn error(name: &'static str, text: &'static str, meets: Meets) -> ErrorDef {
    ErrorDef {
        name,
        text: Some(text),
        meets,
    }
}

/// Every error, in the order listed.
pub const ERRORS: &[ErrorDef] = &[
    error(
        "LOADING",
        "LOADING Redis is loading the dataset in memory",
        Meets::Loading,
    ),
    error(
        "BUSY",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        Meets::Busy,
    ),
    error(
        "UNKILLABLE",
        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        Meets::Script,
    ),
    error(
        "OOM",
        "OOM command not allowed when used memory > 'maxmemory'.",
        Meets::NeedingMemory,
    ),
    error(
        "READONLY",
        "READONLY You can't write against a read only replica.",
        Meets::Writing,
    ),
    error(
        "MASTERDOWN",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        Meets::Stale,
    ),
    error(
        "NOREPLICAS",
        "NOREPLICAS Not enough good replicas to write.",
        Meets::Writing,
    ),
    error(
        "MISCONF",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
        Meets::Writing,
    ),
    error(
        "CLUSTERDOWN",
        "CLUSTERDOWN Hash slot not served",
        Meets::Keyed,
    ),
    ErrorDef {
        name: "MOVED",
        text: None,
        meets: Meets::Keyed,
    },
    ErrorDef {
        name: "ASK",
        text: None,
        meets: Meets::Keyed,
    },
    error(
        "TRYAGAIN",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        Meets::Keyed,
    ),
    error(
        "CROSSSLOT",
        "CROSSSLOT Keys in request don't hash to the same slot",
        Meets::Keyed,
    ),
    error(
        "NOAUTH",
        "NOAUTH Authentication required.",
        Meets::Unauthenticated,
    ),
    error(
        "WRONGPASS",
        "WRONGPASS invalid username-password pair or user is disabled.",
        Meets::LoggingIn,
    ),
    error(
        "EXECABORT",
        "EXECABORT Transaction discarded because of previous errors.",
        Meets::Exec,
    ),
    error(
        "max-clients",
        "ERR max number of clients reached",
        Meets::Connections,
    ),
    ErrorDef {
        name: "ERR",
        text: None,
        meets: Meets::All,
    },
];

/// The error of this name.
pub fn find_error(name: &str) -> Option<&'static ErrorDef> {
    ERRORS.iter().find(|def| def.name == name)
}

/// The commands that run scripts and functions.
const SCRIPTS: &[&str] = &[
    "EVAL",
    "EVALSHA",
    "EVALSHA_RO",
    "EVAL_RO",
    "FCALL",
    "FCALL_RO",
];

/// Whether a server in this state answers a command so.
pub fn meets(meets: Meets, operation: &str) -> bool {
    if operation == CONNECT {
        return meets == Meets::Connections;
    }
    let known = commands::find(operation);
    let is = |test: fn(&commands::Command) -> bool| known.is_some_and(test);
    match meets {
        Meets::All => true,
        Meets::Writing => is(commands::Command::writes),
        Meets::NeedingMemory => is(commands::Command::needs_memory),
        Meets::Loading => !is(commands::Command::works_while_loading),
        Meets::Busy => !is(commands::Command::works_while_busy),
        // Such a server lets scripts in, and then does not run them.
        Meets::Stale => !is(commands::Command::works_while_stale) || SCRIPTS.contains(&operation),
        Meets::Keyed => is(commands::Command::has_keys),
        Meets::Unauthenticated => !is(commands::Command::works_before_auth),
        Meets::LoggingIn => matches!(operation, "AUTH" | "HELLO"),
        Meets::Exec => operation == "EXEC",
        Meets::Script => operation == "SCRIPT",
        Meets::Connections => false,
    }
}

/// The answer on the wire. `rest` replaces what follows the first word; of `MOVED` and `ASK` it is
/// the address alone, in front of which the slot of the call's key is put.
pub fn error_bytes(def: &ErrorDef, rest: Option<&str>, call: &Call) -> Bytes {
    let first = def.text.and_then(|text| text.split(' ').next());
    let first = first.unwrap_or(def.name);
    let line = match (def.text, rest) {
        (_, Some(rest)) if matches!(def.name, "MOVED" | "ASK") => {
            format!("-{first} {} {rest}\r\n", slot(call.key.as_bytes()))
        }
        (_, Some(rest)) => format!("-{first} {rest}\r\n"),
        (Some(text), None) => format!("-{text}\r\n"),
        (None, None) => format!("-{first}\r\n"),
    };
    line.into()
}

/// What `EXEC` is answered that would otherwise have been answered this error: the transaction is
/// given up.
pub fn exec_aborted(error: &[u8]) -> Bytes {
    let mut line = b"-EXECABORT Transaction discarded because of: ".to_vec();
    line.extend_from_slice(error.strip_prefix(b"-").unwrap_or(error));
    line.into()
}

/// The cluster's slot of a key: CRC16 of its hash tag, of 16384.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let inner = &key[open + 1..];
        let close = inner.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &inner[..close])
    });
    crc16(tag.unwrap_or(key)) % 16384
}

/// CRC-16/XMODEM, as the cluster specification says.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let mut crc = crc ^ (u16::from(*byte) << 8);
        for _ in 0..8 {
            let carries = crc & 0x8000 != 0;
            crc <<= 1;
            if carries {
                crc ^= 0x1021;
            }
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CallTracker, Recognised};

    fn call(operation: &str, key: &str) -> Call {
        let recognised = Recognised {
            operation: operation.into(),
            key: key.into(),
            ..Recognised::default()
        };
        Call::statement(recognised, 1, &mut CallTracker::default())
    }

    fn line(name: &str, rest: Option<&str>) -> String {
        let def = find_error(name).expect("an error");
        let bytes = error_bytes(def, rest, &call("GET", "foo"));
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn every_error_is_on_the_wire_byte_for_byte() {
        let lines: Vec<String> = ERRORS
            .iter()
            .map(|def| {
                let rest = def.text.is_none().then_some("127.0.0.1:6381");
                format!("{}: {:?}", def.name, line(def.name, rest))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn files_may_say_what_follows_the_first_word() {
        let down = line("CLUSTERDOWN", Some("The cluster is down"));
        assert_eq!(down, "-CLUSTERDOWN The cluster is down\r\n");
        assert_eq!(
            line("ERR", Some("unknown command")),
            "-ERR unknown command\r\n"
        );
        assert_eq!(
            line("max-clients", None),
            "-ERR max number of clients reached\r\n"
        );
    }

    #[test]
    fn slots_are_those_of_the_cluster() {
        for (key, expected) in [
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("", 0),
            ("{user1000}.following", 3443),
            ("{}.a", slot(b"{}.a")),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{user1000}.followers"), slot(b"user1000"));
        assert_ne!(slot(b"{}.a"), 0);
    }

    #[test]
    fn a_server_answers_only_those_commands_so_that_its_state_concerns() {
        for (state, hit, spared) in [
            (
                Meets::Writing,
                &["SET", "DEL", "XGROUP"][..],
                &["GET", "PING", "EVAL"][..],
            ),
            (
                Meets::NeedingMemory,
                &["SET", "LPUSH"],
                &["DEL", "GET", "EXPIRE"],
            ),
            (
                Meets::Loading,
                &["PING", "GET", "JSON.GET"],
                &["INFO", "AUTH", "HELLO"],
            ),
            (
                Meets::Busy,
                &["PING", "GET"],
                &["SCRIPT", "SHUTDOWN", "AUTH"],
            ),
            (Meets::Stale, &["GET", "SET", "EVAL"], &["INFO", "PUBLISH"]),
            (
                Meets::Keyed,
                &["GET", "EVAL", "XREAD"],
                &["PING", "INFO", "MULTI"],
            ),
            (
                Meets::Unauthenticated,
                &["PING", "GET"],
                &["AUTH", "HELLO", "QUIT"],
            ),
            (Meets::LoggingIn, &["AUTH", "HELLO"], &["GET"]),
            (Meets::Exec, &["EXEC"], &["MULTI", "SET"]),
            (Meets::Connections, &[CONNECT], &["GET", "PING"]),
        ] {
            assert!(hit.iter().all(|name| meets(state, name)), "{state:?}");
            assert!(!spared.iter().any(|name| meets(state, name)), "{state:?}");
            assert!(state == Meets::Connections || !meets(state, CONNECT));
        }
    }

    #[test]
    fn exec_says_why_its_transaction_is_given_up() {
        let bytes = exec_aborted(b"-READONLY You can't write against a read only replica.\r\n");
        assert_eq!(
            bytes,
            "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.\r\n"
        );
    }
}
