//! MySQL's and MariaDB's protocol: `packet` finds packets, `handshake` says what server and client
//! agree on, `answer` where the answer to a command ends, `execute` what a prepared statement is
//! executed with, `error` holds the answers of a server in trouble. Nothing here keeps what passes.

pub mod answer;
pub mod error;
pub mod execute;
pub mod handshake;
pub mod packet;

pub use error::{ERRORS, ErrorDef, Leaves, Meets, find_error, meets};

use super::{
    CONNECT, Recognised,
    sql::{self, Dialect},
};
use answer::Shape;

/// The operations that are commands of the protocol and no statements.
pub const COMMANDS: &[&str] = &[
    CONNECT,
    "CHANGE_USER",
    "FIELD_LIST",
    "INIT_DB",
    "PING",
    "RESET_CONNECTION",
    "SET_OPTION",
    "STATISTICS",
    "COMMAND",
];

/// The operations that a `when` may name: kinds of statements, and the protocol's own commands.
pub fn operations() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().chain(sql::KINDS).copied()
}

/// What a command asks of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The client says goodbye.
    Quit,
    /// A statement as text.
    Query,
    /// A statement to be prepared.
    Prepare,
    /// A prepared statement, by its number.
    Execute(u32),
    /// Rows of a prepared statement, by its number.
    Fetch(u32),
    /// A prepared statement that is no longer wanted.
    Close(u32),
    /// Data for a parameter, from 0, of a prepared statement, without an answer.
    LongData(u32, u16),
    /// A prepared statement whose data are to be forgotten.
    Reset(u32),
    /// Another user, which begins authentication anew.
    ChangeUser,
    /// A stream of events: bytes pass from now on.
    Dump,
    /// One of [`COMMANDS`].
    Other(&'static str, Shape),
}

impl Command {
    /// The command of a payload; of one too short to say, an unknown one.
    pub fn of(payload: &[u8]) -> Self {
        let id = packet::long(payload, 1);
        match (payload.first(), id) {
            (Some(0x01), _) => Self::Quit,
            (Some(0x02), _) => Self::Other("INIT_DB", Shape::Ok),
            (Some(0x03), _) => Self::Query,
            (Some(0x04), _) => Self::Other("FIELD_LIST", Shape::UpToEof),
            (Some(0x09), _) => Self::Other("STATISTICS", Shape::Single),
            (Some(0x0a), _) => Self::Other("COMMAND", Shape::Results),
            (Some(0x0e), _) => Self::Other("PING", Shape::Ok),
            (Some(0x11), _) => Self::ChangeUser,
            (Some(0x12 | 0x1e), _) => Self::Dump,
            (Some(0x16), _) => Self::Prepare,
            (Some(0x17 | 0xfa), Some(id)) => Self::Execute(id),
            (Some(0x18), id) => {
                let parameter = packet::short(payload, 5).unwrap_or(u16::MAX);
                Self::LongData(id.unwrap_or(u32::MAX), parameter)
            }
            (Some(0x19), Some(id)) => Self::Close(id),
            (Some(0x1a), Some(id)) => Self::Reset(id),
            (Some(0x1b), _) => Self::Other("SET_OPTION", Shape::Ok),
            (Some(0x1c), Some(id)) => Self::Fetch(id),
            (Some(0x1f), _) => Self::Other("RESET_CONNECTION", Shape::Ok),
            _ => Self::Other("COMMAND", Shape::Ok),
        }
    }

    /// What its answer is like.
    pub fn shape(self) -> Shape {
        match self {
            Self::Quit | Self::Close(_) | Self::LongData(..) | Self::Dump => Shape::Nothing,
            Self::Query | Self::Execute(_) => Shape::Results,
            Self::Prepare => Shape::Prepared,
            Self::Fetch(_) => Shape::UpToEof,
            Self::ChangeUser => Shape::Single,
            Self::Reset(_) => Shape::Ok,
            Self::Other(_, shape) => shape,
        }
    }
}

/// What faults and histories see of a statement's text.
pub fn recognise(text: &[u8]) -> Recognised {
    sql::recognise(text, Dialect::Mysql)
}

/// What they see of a command that is no statement.
pub fn recognise_command(name: &'static str) -> Recognised {
    Recognised {
        operation: name.into(),
        ..Recognised::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_by_their_first_byte() {
        for (payload, expected) in [
            (&b"\x03SELECT 1"[..], Command::Query),
            (b"\x17\x07\0\0\0\0\x01\0\0\0", Command::Execute(7)),
            (b"\x17\x07", Command::Other("COMMAND", Shape::Ok)),
            (b"\x18\x07\0\0\0\x01\0data", Command::LongData(7, 1)),
            (b"\x19\x07\0\0\0", Command::Close(7)),
            (b"\x1a\x07\0\0\0", Command::Reset(7)),
            (b"\x0e", Command::Other("PING", Shape::Ok)),
            (b"\x01", Command::Quit),
            (b"", Command::Other("COMMAND", Shape::Ok)),
        ] {
            assert_eq!(Command::of(payload), expected);
        }
        assert_eq!(Command::Close(1).shape(), Shape::Nothing);
        let seen = recognise(b"insert into T values (1)");
        assert_eq!((&*seen.operation, &*seen.table), ("INSERT", "t"));
    }
}
