//! PostgreSQL's protocol, version 3: where messages begin and end, what the client's say, and the
//! errors that the server answers with.
//!
//! Reads no more than it needs and changes nothing. Every length that a peer names is checked
//! before it is believed. Source: PostgreSQL's manual, "Frontend/Backend Protocol".

mod error;

pub use error::{
    ERRORS, ErrorDef, ErrorReply, Moment, Session, Severity, Speaker, code_of, conditions,
    find_error, is_sqlstate,
};

use super::{Recognised, sql};
use std::fmt;

/// The longest first packet of a client, in bytes, as in the server itself.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// The longest message, in bytes: what the server itself can hold at once.
pub const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;

/// The bytes of a message before its body: its kind and its length.
pub const HEADER_BYTES: usize = 5;

/// The kinds of operations beside those of SQL: a connection's start-up, a call of a function by
/// the protocol's own message, a request to cancel.
pub const OPERATIONS: &[&str] = &["CONNECT", "FUNCTION", "CANCEL"];

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No message begins with this byte in this direction.
    Kind(u8),
    /// A length that no message of this kind can have.
    Length(u32),
    /// A first packet of no known version.
    Version(u32),
    /// The body does not hold what its kind must.
    Body(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "no message begins with 0x{kind:02x}"),
            Self::Length(length) => write!(f, "no message has the length {length}"),
            Self::Version(version) => write!(f, "unknown protocol version {version:#x}"),
            Self::Body(kind) => write!(f, "malformed message `{}`", char::from(*kind)),
        }
    }
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

impl Sender {
    const fn kinds(self) -> &'static [u8] {
        match self {
            Self::Client => b"QPBDESHCFXdcfp",
            Self::Server => b"RKSZCDTtnsIENAVGHW123dcv",
        }
    }
}

/// What a message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its kind.
    pub kind: u8,
    /// The bytes that follow the header.
    pub body: usize,
}

impl Header {
    /// Reads it off the front; `None` as long as it is not whole.
    ///
    /// # Errors
    /// No message of this sender begins so.
    pub fn read(bytes: &[u8], sender: Sender) -> Result<Option<Self>, Malformed> {
        let Some(&kind) = bytes.first() else {
            return Ok(None);
        };
        if !sender.kinds().contains(&kind) {
            return Err(Malformed::Kind(kind));
        }
        let Some(length) = bytes.get(1..HEADER_BYTES).and_then(number) else {
            return Ok(None);
        };
        let body = (length as usize)
            .checked_sub(4)
            .filter(|body| *body <= MESSAGE_BYTES_MAX)
            .ok_or(Malformed::Length(length))?;
        Ok(Some(Self { kind, body }))
    }

    /// The whole message's length.
    pub fn whole(self) -> usize {
        HEADER_BYTES + self.body
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// The first packet of a client, its length included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Begins a session.
    Startup(Session),
    /// Asks for TLS.
    Tls,
    /// Asks for encryption by GSSAPI.
    Gss,
    /// Cancels what another session runs.
    Cancel,
}

impl Opening {
    /// The length of the whole packet.
    ///
    /// # Errors
    /// Longer than the server allows, or too short for a version.
    pub fn length(prefix: [u8; 4]) -> Result<usize, Malformed> {
        let length = u32::from_be_bytes(prefix);
        let fits = (8..=STARTUP_BYTES_MAX as u32).contains(&length);
        if fits {
            Ok(length as usize)
        } else {
            Err(Malformed::Length(length))
        }
    }

    /// Reads a whole packet.
    ///
    /// # Errors
    /// Another version of the protocol, or parameters that are not pairs of texts.
    pub fn read(packet: &[u8]) -> Result<Self, Malformed> {
        const TLS: u32 = 80_877_103;
        const GSS: u32 = 80_877_104;
        const CANCEL: u32 = 80_877_102;
        let version = packet.get(4..).and_then(number).unwrap_or_default();
        match version {
            TLS if packet.len() == 8 => Ok(Self::Tls),
            GSS if packet.len() == 8 => Ok(Self::Gss),
            CANCEL if packet.len() >= 16 => Ok(Self::Cancel),
            _ if version >> 16 == 3 => session(&packet[8..]).map(Self::Startup),
            _ => Err(Malformed::Version(version)),
        }
    }
}

/// The parameters of a start-up packet that matter here.
fn session(mut rest: &[u8]) -> Result<Session, Malformed> {
    let mut session = Session::default();
    let malformed = || Malformed::Body(b'0');
    while let Some((name, after)) = text(rest).filter(|(name, _)| !name.is_empty()) {
        let (value, after) = text(after).ok_or_else(malformed)?;
        match name {
            b"user" => session.user = String::from_utf8_lossy(value).into_owned(),
            b"database" => session.database = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
        rest = after;
    }
    if rest != b"\0" || session.user.is_empty() {
        return Err(malformed());
    }
    if session.database.is_empty() {
        session.database.clone_from(&session.user);
    }
    Ok(session)
}

/// A text that ends with a zero byte, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The text that a body begins with, as far as it is there.
pub fn leading_text(body: &[u8]) -> &[u8] {
    text(body).map_or(body, |(text, _)| text)
}

/// How many rows a command changed, by the tag in the server's `CommandComplete`: `INSERT 0 1`,
/// `UPDATE 12`. Nothing is known of a tag that counts rows which were read or copied, that counts
/// none, or that does not end within `body`.
pub fn rows_changed(body: &[u8]) -> Option<u64> {
    let (tag, _) = text(body)?;
    let mut words = std::str::from_utf8(tag).ok()?.split(' ');
    let (command, last) = (words.next()?, words.next_back()?);
    matches!(command, "INSERT" | "UPDATE" | "DELETE" | "MERGE")
        .then(|| last.parse().ok())
        .flatten()
}

/// The operation of a connection's start-up, whose key is the database.
pub fn connecting(session: &Session) -> Recognised {
    Recognised {
        operation: "CONNECT".into(),
        key: session.database.as_str().into(),
        ..Recognised::default()
    }
}

/// The kinds of statements that a fault may have carried out several times: what writes and neither
/// ends a transaction nor asks the client for data.
pub const REPEATED: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "MERGE", "CALL"];

/// A statement's text.
pub fn statement(text: &[u8]) -> Recognised {
    sql::recognise(text, sql::Dialect::Postgres)
}

/// What `Parse` prepares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub text: &'a [u8],
    /// The declared types of its parameters, as far as they are there: four bytes each.
    types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a body, of which at least the name must be there: the text is as much of it as is.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (name, rest) = text(body)?;
        let (statement, rest) = text(rest).unwrap_or((rest, &[]));
        Some(Self {
            name,
            text: statement,
            types: rest.get(2..).unwrap_or_default(),
        })
    }

    /// The declared type of the n-th parameter, from 1; 0 where the server is to find it out.
    pub fn declared(&self, nth: usize) -> u32 {
        let start = nth.saturating_sub(1).saturating_mul(4);
        self.types.get(start..).and_then(number).unwrap_or(0)
    }
}

/// What `Bind` makes a portal of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
    /// Formats and values of the parameters.
    parameters: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads a body, of which at least the names must be there.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = text(body)?;
        let (statement, parameters) = text(rest)?;
        Some(Self {
            portal,
            statement,
            parameters,
        })
    }

    /// The n-th parameter, from 1, as text. `None` where there is none, where it is NULL, or where
    /// it is binary and of no type that is known here.
    ///
    /// `declared` is the type that `Parse` declared, 0 if none: then a binary value of 2, 4 or 8
    /// bytes is taken for an integer and one of 16 bytes for a UUID.
    pub fn parameter(&self, nth: usize, declared: u32) -> Option<String> {
        let formats = short(self.parameters)?;
        let rest = self.parameters.get(2..)?;
        let format = |n: usize| rest.get(2 * n..).and_then(short).unwrap_or(0);
        let is_binary = match formats {
            0 => false,
            1 => format(0) == 1,
            _ => format(nth.checked_sub(1)?) == 1,
        };
        let values = rest.get(2 * formats..)?;
        let count = short(values)?;
        if nth == 0 || nth > count {
            return None;
        }
        let mut rest = values.get(2..)?;
        for _ in 1..nth {
            rest = value(rest)?.1;
        }
        let value = value(rest)?.0?;
        if is_binary {
            binary_as_text(value, declared)
        } else {
            String::from_utf8(value.to_vec()).ok()
        }
    }
}

fn short(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(
        bytes.get(..2)?.try_into().ok()?,
    )))
}

/// A value, `None` for NULL, and what follows it.
fn value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let length = number(bytes)?;
    let rest = bytes.get(4..)?;
    if length == u32::MAX {
        return Some((None, rest));
    }
    let length = length as usize;
    Some((Some(rest.get(..length)?), rest.get(length..)?))
}

/// A binary value as the text that its type would have. Numbers of types: `pg_type.dat`.
fn binary_as_text(value: &[u8], declared: u32) -> Option<String> {
    const INT8: u32 = 20;
    const INT2: u32 = 21;
    const INT4: u32 = 23;
    const TEXT: [u32; 5] = [19, 25, 705, 1042, 1043];
    const UUID: u32 = 2950;
    match (declared, value.len()) {
        (INT2 | 0, 2) => Some(i16::from_be_bytes(value.try_into().ok()?).to_string()),
        (INT4 | 0, 4) => Some(i32::from_be_bytes(value.try_into().ok()?).to_string()),
        (INT8 | 0, 8) => Some(i64::from_be_bytes(value.try_into().ok()?).to_string()),
        (UUID | 0, 16) => Some(uuid(value)),
        _ if TEXT.contains(&declared) => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

fn uuid(value: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(36);
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A message of this kind.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(kind);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A simple query of this text.
pub fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

/// The packet that asks for TLS.
pub const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What a client sends so that the server itself fails at this place, and thus ends in the state
/// in which a real failure would leave it: its transaction failed, what follows in a pipeline
/// skipped. Its own error is not passed on.
pub mod failing {
    use super::{message, query};

    /// In place of a simple query. The server's log says where it came from.
    pub fn simple() -> Vec<u8> {
        query("brownout: this statement is made to fail")
    }

    /// In place of a simple `COMMIT`, whose failure ends the transaction.
    pub fn simple_commit() -> Vec<u8> {
        query("ROLLBACK; SELECT 1 / 0 AS brownout")
    }

    /// The name of what no client would call so.
    const NAME: &[u8] = b"brownout: made to fail\0";

    /// In place of `Execute`: a portal that does not exist.
    pub fn execute() -> Vec<u8> {
        message(b'E', &[NAME, &[0; 4]].concat())
    }

    /// In place of the `Execute` of a `COMMIT`: first a `ROLLBACK`, then as [`execute`].
    pub fn execute_commit() -> Vec<u8> {
        [
            message(b'P', &[NAME, b"ROLLBACK\0", &[0; 2]].concat()),
            message(b'B', &[NAME, NAME, &[0; 6]].concat()),
            message(b'E', &[NAME, &[0; 4]].concat()),
            message(b'C', &[b"S", NAME].concat()),
            execute(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in parameters {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        let mut packet = u32::try_from(body.len() + 4)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        packet.extend(body);
        packet
    }

    #[test]
    fn the_first_packet_says_who_connects_to_what() {
        let packet = startup(&[
            ("user", "app"),
            ("database", "appdb"),
            ("options", "-c a=b"),
        ]);
        let session = |user: &str, database: &str| Session {
            user: user.to_owned(),
            database: database.to_owned(),
        };
        assert_eq!(
            Opening::read(&packet),
            Ok(Opening::Startup(session("app", "appdb")))
        );
        let packet = startup(&[("user", "app")]);
        assert_eq!(
            Opening::read(&packet),
            Ok(Opening::Startup(session("app", "app")))
        );
        assert_eq!(Opening::read(&TLS_REQUEST), Ok(Opening::Tls));
        assert_eq!(
            Opening::read(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]),
            Ok(Opening::Gss)
        );
        let cancel = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(Opening::read(&cancel), Ok(Opening::Cancel));
    }

    #[test]
    fn first_packets_that_are_none_are_told() {
        assert_eq!(Opening::length([0, 0, 0x27, 0x10]), Ok(10_000));
        assert!(Opening::length([0, 0, 0x27, 0x11]).is_err());
        assert!(Opening::length([0, 0, 0, 7]).is_err());
        assert!(Opening::length(*b"GET ").is_err());
        assert!(Opening::read(&startup(&[])).is_err());
        assert!(Opening::read(&[0, 0, 0, 8, 0, 2, 0, 0]).is_err());
        let mut unended = startup(&[("user", "app")]);
        unended.pop();
        assert!(Opening::read(&unended).is_err());
    }

    #[test]
    fn headers_are_read_only_where_they_can_be_true() {
        let read = |bytes: &[u8]| Header::read(bytes, Sender::Client);
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"Q\0\0\0"), Ok(None));
        assert_eq!(
            read(b"Q\0\0\0\x09x"),
            Ok(Some(Header {
                kind: b'Q',
                body: 5
            }))
        );
        assert_eq!(read(b"\x16\x03"), Err(Malformed::Kind(0x16)));
        assert_eq!(read(b"Q\0\0\0\x03"), Err(Malformed::Length(3)));
        assert_eq!(read(b"Q\xff\xff\xff\xff"), Err(Malformed::Length(u32::MAX)));
        assert!(Header::read(b"T", Sender::Server).is_ok());
        assert!(Header::read(b"Q", Sender::Server).is_err());
    }

    fn bind(formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = b"portal\0name\0".to_vec();
        body.extend((formats.len() as u16).to_be_bytes());
        formats
            .iter()
            .for_each(|format| body.extend(format.to_be_bytes()));
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            match value {
                Some(value) => {
                    body.extend((value.len() as u32).to_be_bytes());
                    body.extend(*value);
                }
                None => body.extend(u32::MAX.to_be_bytes()),
            }
        }
        body
    }

    #[test]
    fn parameters_are_read_as_text() {
        let uuid = [0x12; 16];
        let values: &[Option<&[u8]>] = &[
            Some(b"text"),
            None,
            Some(&7_i16.to_be_bytes()),
            Some(&(-7_i32).to_be_bytes()),
            Some(&i64::MIN.to_be_bytes()),
            Some(&uuid),
            Some(b"varchar"),
        ];
        let body = bind(&[0, 0, 1, 1, 1, 1, 1], values);
        let read = Bind::read(&body).expect("a bind");
        assert_eq!(
            (read.portal, read.statement),
            (&b"portal"[..], &b"name"[..])
        );
        let seen = |nth: usize, declared: u32| read.parameter(nth, declared);
        assert_eq!(seen(0, 0), None);
        assert_eq!(seen(1, 25).as_deref(), Some("text"));
        assert_eq!(seen(2, 25), None);
        assert_eq!(seen(3, 21).as_deref(), Some("7"));
        assert_eq!(seen(4, 0).as_deref(), Some("-7"));
        assert_eq!(seen(5, 20).as_deref(), Some("-9223372036854775808"));
        let expected = "12121212-1212-1212-1212-121212121212";
        assert_eq!(seen(6, 2950).as_deref(), Some(expected));
        assert_eq!(seen(7, 1043).as_deref(), Some("varchar"));
        assert_eq!(seen(4, 701), None);
        assert_eq!(seen(8, 0), None);
    }

    #[test]
    fn one_format_is_for_all_parameters() {
        let body = bind(
            &[1],
            &[Some(&1_i32.to_be_bytes()), Some(&2_i32.to_be_bytes())],
        );
        let read = Bind::read(&body).expect("a bind");
        assert_eq!(read.parameter(2, 23).as_deref(), Some("2"));
    }

    #[test]
    fn parse_names_text_and_declared_types() {
        let body = [&b"s1\0SELECT $1\0"[..], &[0, 1], &23_u32.to_be_bytes()].concat();
        let read = Parse::read(&body).expect("a parse");
        assert_eq!((read.name, read.text), (&b"s1"[..], &b"SELECT $1"[..]));
        assert_eq!((read.declared(1), read.declared(2)), (23, 0));
        let begun = Parse::read(b"s1\0SELECT").expect("what is there of a parse");
        assert_eq!((begun.name, begun.text), (&b"s1"[..], &b"SELECT"[..]));
        assert_eq!(Parse::read(b"s1"), None);
    }

    #[test]
    fn a_tag_says_how_many_rows_were_changed() {
        for (body, rows) in [
            (&b"INSERT 0 1\0"[..], Some(1)),
            (b"INSERT 0 0\0", Some(0)),
            (b"INSERT 16401 1\0", Some(1)),
            (b"UPDATE 0\0", Some(0)),
            (b"DELETE 18446744073709551615\0", Some(u64::MAX)),
            (b"MERGE 12\0", Some(12)),
            // Rows that were read or copied, and tags without a number.
            (b"SELECT 0\0", None),
            (b"COPY 0\0", None),
            (b"CREATE TABLE\0", None),
            (b"UPDATE\0", None),
            (b"", None),
            // Cut off: there may be more digits.
            (b"UPDATE 1", None),
        ] {
            assert_eq!(rows_changed(body), rows, "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), nth in 0_usize..5) {
            let _ = Header::read(&bytes, Sender::Client);
            let _ = Header::read(&bytes, Sender::Server);
            let _ = Opening::read(&bytes);
            let _ = Parse::read(&bytes).map(|parse| parse.declared(nth));
            let _ = Bind::read(&bytes).map(|bind| bind.parameter(nth, 0));
            let _ = code_of(&bytes);
            let _ = rows_changed(&bytes);
        }

        #[test]
        fn values_that_are_cut_short_are_none(cut in 0_usize..60) {
            let body = bind(&[0], &[Some(b"0123456789"), Some(b"abcdefghij")]);
            let cut = cut.min(body.len());
            if let Some(read) = Bind::read(&body[..cut]) {
                let whole = cut == body.len();
                prop_assert_eq!(read.parameter(2, 25).is_some(), whole);
            }
        }
    }
}
