//! PostgreSQL's messages (protocol 3.0), read and written.
//!
//! Reading never goes beyond a message's own length: what does not fit is a broken message and the
//! end of its session.

use super::{refusal::Refusal, statement::Column, value::size_of};
use bytes::{BufMut, Bytes, BytesMut};
use postgres_types::Type;

/// The longest message of a session; further bytes are not read.
pub(super) const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// The longest first message, as in PostgreSQL.
pub(super) const STARTUP_MAX: usize = 10_000;

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

/// What a client may begin with.
#[derive(Debug, PartialEq)]
pub(super) enum Opening {
    /// It asks for TLS or for GSS encryption.
    Encryption,
    Cancel {
        process: i32,
        key: i32,
    },
    Startup {
        minor: u16,
        settings: Vec<(String, String)>,
    },
}

/// A statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// What a client sends in its session.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<Option<Type>>,
    },
    Bind(Bind),
    Describe(Target, String),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close(Target, String),
    Flush,
    Sync,
    Terminate,
    /// `COPY`'s messages, which mean nothing outside of it.
    Copy,
}

/// A portal's parameters and formats.
#[derive(Debug, PartialEq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

fn broken() -> Refusal {
    Refusal::fatal("08P01", "invalid message format")
}

/// The first message, if it is whole.
pub(super) fn opening(buffer: &mut BytesMut) -> Result<Option<Opening>, Refusal> {
    let Some(length) = length_at(buffer, 0)? else {
        return Ok(None);
    };
    if !(8..=STARTUP_MAX).contains(&length) {
        return Err(Refusal::fatal("08P01", "invalid length of startup packet"));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut body = Body(buffer.split_to(length).freeze().slice(4..));
    let code = body.long()?;
    Ok(Some(match code {
        SSL_REQUEST | GSS_REQUEST => Opening::Encryption,
        CANCEL_REQUEST => Opening::Cancel {
            process: body.long()?,
            key: body.long()?,
        },
        _ if code >> 16 == 3 => {
            let mut settings = Vec::new();
            loop {
                let name = body.text()?;
                if name.is_empty() {
                    break;
                }
                settings.push((name, body.text()?));
            }
            let minor = u16::try_from(code & 0xffff).map_err(|_| broken())?;
            Opening::Startup { minor, settings }
        }
        _ => {
            let message = format!(
                "unsupported frontend protocol {}.{}",
                code >> 16,
                code & 0xffff
            );
            return Err(Refusal::fatal("0A000", message));
        }
    }))
}

/// The next message of a session, if it is whole.
pub(super) fn request(buffer: &mut BytesMut) -> Result<Option<Request>, Refusal> {
    let Some(length) = length_at(buffer, 1)? else {
        return Ok(None);
    };
    if length < 4 {
        return Err(broken());
    }
    if length > MESSAGE_MAX {
        return Err(Refusal::fatal(
            "54000",
            format!("a message of more than {MESSAGE_MAX} bytes"),
        ));
    }
    if buffer.len() < length + 1 {
        return Ok(None);
    }
    let whole = buffer.split_to(length + 1).freeze();
    let mut body = Body(whole.slice(5..));
    let request = match whole[0] {
        b'Q' => Request::Query(body.text()?),
        b'P' => parse(&mut body)?,
        b'B' => Request::Bind(bind(&mut body)?),
        b'D' => Request::Describe(body.target()?, body.text()?),
        b'C' => Request::Close(body.target()?, body.text()?),
        b'E' => Request::Execute {
            portal: body.text()?,
            // Zero and less: all.
            rows_max: usize::try_from(body.long()?).unwrap_or(0),
        },
        b'H' => Request::Flush,
        b'S' => Request::Sync,
        b'X' => Request::Terminate,
        b'd' | b'c' | b'f' => return Ok(Some(Request::Copy)),
        kind => {
            let message = format!("invalid frontend message type {kind}");
            return Err(Refusal::fatal("08P01", message));
        }
    };
    if body.0.is_empty() {
        Ok(Some(request))
    } else {
        Err(broken())
    }
}

fn parse(body: &mut Body) -> Result<Request, Refusal> {
    let (name, sql) = (body.text()?, body.text()?);
    let count = body.short()?;
    let types = (0..count).map(|_| body.long().map(|oid| Type::from_oid(oid.cast_unsigned())));
    let types = types.collect::<Result<_, _>>()?;
    Ok(Request::Parse { name, sql, types })
}

fn bind(body: &mut Body) -> Result<Bind, Refusal> {
    let (portal, statement) = (body.text()?, body.text()?);
    let parameter_formats = body.formats()?;
    let count = body.short()?;
    let parameters = (0..count).map(|_| {
        let length = body.long()?;
        match usize::try_from(length) {
            Ok(length) => body.take(length).map(Some),
            Err(_) => Ok(None),
        }
    });
    let parameters = parameters.collect::<Result<_, _>>()?;
    Ok(Bind {
        portal,
        statement,
        parameter_formats,
        parameters,
        result_formats: body.formats()?,
    })
}

fn length_at(buffer: &BytesMut, at: usize) -> Result<Option<usize>, Refusal> {
    let Some(bytes) = buffer.get(at..at + 4) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    usize::try_from(length).map(Some).map_err(|_| broken())
}

/// What is left of a message.
struct Body(Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes, Refusal> {
        if length > self.0.len() {
            return Err(broken());
        }
        Ok(self.0.split_to(length))
    }

    fn short(&mut self) -> Result<u16, Refusal> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn long(&mut self) -> Result<i32, Refusal> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A text that ends with a zero byte.
    fn text(&mut self) -> Result<String, Refusal> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(broken)?;
        let bytes = self.take(end)?;
        self.take(1)?;
        String::from_utf8(bytes.into())
            .map_err(|_| Refusal::fatal("22021", "invalid byte sequence for encoding \"UTF8\""))
    }

    fn target(&mut self) -> Result<Target, Refusal> {
        match self.take(1)?[0] {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            _ => Err(broken()),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, Refusal> {
        let count = self.short()?;
        (0..count)
            .map(|_| self.short().map(u16::cast_signed))
            .collect()
    }
}

/// What is sent to a client, in a buffer until it is flushed.
#[derive(Debug, Default)]
pub(super) struct Outbox(pub BytesMut);

impl Outbox {
    /// A message of this kind, whose length is filled in.
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        let at = self.0.len();
        self.0.put_i32(0);
        body(&mut self.0);
        // A result is bounded far below what a length can say.
        let length = i32::try_from(self.0.len() - at).unwrap_or(i32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn authenticated(&mut self) {
        self.message(b'R', |body| body.put_i32(0));
    }

    pub(super) fn setting(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            text(body, name);
            text(body, value);
        });
    }

    pub(super) fn cancel_key(&mut self, process: i32, key: i32) {
        self.message(b'K', |body| {
            body.put_i32(process);
            body.put_i32(key);
        });
    }

    /// The session goes on in protocol 3.0, without these options.
    pub(super) fn negotiated(&mut self, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.put_i32(0);
            body.put_i32(i32::try_from(unknown.len()).unwrap_or(0));
            unknown.iter().for_each(|option| text(body, option));
        });
    }

    pub(super) fn ready(&mut self, status: u8) {
        self.message(b'Z', |body| body.put_u8(status));
    }

    /// A message without a body: `1` parsed, `2` bound, `3` closed, `n` no rows, `s` suspended,
    /// `I` empty query.
    pub(super) fn bare(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |body| text(body, tag));
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.message(b'E', |body| {
            for (field, value) in refusal.fields() {
                body.put_u8(field);
                text(body, &value);
            }
            body.put_u8(0);
        });
    }

    pub(super) fn parameters(&mut self, types: &[Type]) {
        self.message(b't', |body| {
            body.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
            types.iter().for_each(|kind| body.put_u32(kind.oid()));
        });
    }

    /// The columns of a result; `format` says of each whether it will be binary.
    pub(super) fn columns(&mut self, columns: &[Column], format: impl Fn(usize) -> bool) {
        self.message(b'T', |body| {
            body.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (at, column) in columns.iter().enumerate() {
                text(body, &column.name);
                body.put_i32(0);
                body.put_i16(0);
                body.put_u32(column.kind.oid());
                body.put_i16(size_of(&column.kind));
                body.put_i32(-1);
                body.put_i16(i16::from(format(at)));
            }
        });
    }

    /// A row whose fields are written already.
    pub(super) fn row(&mut self, fields: u16, row: &[u8]) {
        self.message(b'D', |body| {
            body.put_u16(fields);
            body.put_slice(row);
        });
    }
}

fn text(body: &mut BytesMut, text: &str) {
    // A zero byte would end the text early.
    body.put_slice(text.replace('\0', "").as_bytes());
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind);
        bytes.put_i32(i32::try_from(body.len()).expect("short") + 4);
        bytes.put_slice(body);
        bytes
    }

    #[test]
    fn a_message_is_read_once_it_is_whole() {
        let whole = framed(b'Q', b"SELECT 1\0");
        let mut buffer = BytesMut::new();
        for (at, byte) in whole.iter().enumerate() {
            buffer.put_u8(*byte);
            let read = request(&mut buffer).expect("well-formed");
            let expected = (at + 1 == whole.len()).then(|| Request::Query("SELECT 1".to_owned()));
            assert_eq!(read, expected);
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn lengths_that_lie_end_the_session() {
        let lies: [(u8, &[u8]); 7] = [
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\xff\xff"),
            (b'P', b"\0x\0\xff\xff"),
            (b'E', b"\0\0"),
            (b'D', b""),
            (b'Q', b"no end"),
            (b'S', b"more"),
        ];
        for (kind, body) in lies {
            let refusal = request(&mut framed(kind, body)).expect_err("broken");
            assert!(refusal.fatal);
        }
        let mut long = BytesMut::from(&b"Q\x7f\xff\xff\xff"[..]);
        assert_eq!(request(&mut long).expect_err("too long").code, "54000");
        let mut negative = BytesMut::from(&b"Q\xff\xff\xff\xff"[..]);
        assert!(request(&mut negative).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            kind in proptest::sample::select(b"QPBDECHSXdz".to_vec()),
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
        ) {
            let mut buffer = framed(kind, &body);
            if request(&mut buffer).is_ok() {
                assert!(buffer.is_empty());
            }
            let mut buffer = BytesMut::from(&body[..]);
            let _ = opening(&mut buffer);
        }
    }
}
