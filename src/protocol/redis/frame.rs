//! Where messages of RESP2 and RESP3 end. Nothing is built up from them: a bulk string of half a
//! gigabyte passes in pieces, and what is kept of a message is one small level for each array
//! that is open.

use std::fmt;

/// The longest bulk string, in bytes: what `proto-max-bulk-len` of Redis is unless changed.
pub const BULK_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The most elements of one array, map or set: what a server itself takes.
pub const ELEMENTS_MAX: u64 = i32::MAX as u64;

/// The deepest nesting of arrays.
pub const DEPTH_MAX: usize = 128;

/// The longest line of an inline command or of a length, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many failed elements of one answer are told apart.
const FAILED_MAX: usize = 1024;

/// Why bytes are no RESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A message begins with this byte.
    Type(u8),
    /// A length is no number.
    Length,
    /// A bulk string is longer than [`BULK_BYTES_MAX`].
    TooLong,
    /// An array has more elements than [`ELEMENTS_MAX`].
    TooMany,
    /// Arrays are nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A line or a bulk string does not end as it must.
    End,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(byte) => write!(f, "no message begins with the byte 0x{byte:02x}"),
            Self::Length => f.write_str("a length is no number"),
            Self::TooLong => f.write_str("a bulk string is longer than 512 MiB"),
            Self::TooMany => f.write_str("an array has more than 2147483647 elements"),
            Self::TooDeep => f.write_str("arrays are nested deeper than 128 times"),
            Self::End => f.write_str("a line or a bulk string does not end with CR LF"),
        }
    }
}

/// Finds the end of messages in bytes that come in any pieces.
#[derive(Debug, Default)]
pub struct Scanner {
    state: State,
    levels: Vec<Level>,
    failed: Vec<u32>,
    element: u32,
    /// An attribute is over, and what it belongs to has not begun.
    owes_value: bool,
}

/// An array that is open.
#[derive(Debug)]
struct Level {
    left: u64,
    /// An attribute stands before the value it belongs to, and is none itself.
    is_attribute: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// A message or an element begins.
    #[default]
    Start,
    /// Within a line whose content does not matter.
    Line { after_cr: bool },
    /// Within the number behind a type.
    Number {
        kind: u8,
        digits: u8,
        value: u64,
        is_negative: bool,
        after_cr: bool,
    },
    /// Within a bulk string: this much of it, its CR LF included, is to come.
    Bulk { left: u64 },
}

impl Scanner {
    /// Goes on over these bytes up to the end of the message. How many belong to it, and whether
    /// it is whole with them; then the next call begins the next message.
    ///
    /// # Errors
    /// The bytes are no RESP.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let mut at = 0;
        while at < bytes.len() {
            let is_over = match self.state {
                State::Start => {
                    if self.levels.is_empty() {
                        self.failed.clear();
                        self.element = 0;
                    }
                    self.begin(bytes[at])?;
                    at += 1;
                    false
                }
                State::Line { after_cr } => {
                    let (used, is_over) = line(&bytes[at..], after_cr)?;
                    at += used;
                    if !is_over {
                        let after_cr = bytes[at - 1] == b'\r';
                        self.state = State::Line { after_cr };
                    }
                    is_over && self.ended()
                }
                State::Number { .. } => {
                    let byte = bytes[at];
                    at += 1;
                    self.number(byte)?
                }
                State::Bulk { left } => {
                    let used = left.min((bytes.len() - at) as u64);
                    let end = bulk_end(&bytes[at..at + used as usize], left);
                    at += used as usize;
                    if !end {
                        return Err(Broken::End);
                    }
                    self.state = State::Bulk { left: left - used };
                    left == used && self.ended()
                }
            };
            if is_over {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Whether it stands between two messages.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Start) && self.levels.is_empty() && !self.owes_value
    }

    /// Which elements of the array that was scanned last are errors, from 0; of very many only
    /// the first.
    pub fn failed(&self) -> &[u32] {
        &self.failed
    }

    /// How many elements of the array that was scanned last, or is being scanned, are whole.
    pub fn elements(&self) -> u32 {
        self.element
    }

    fn begin(&mut self, kind: u8) -> Result<(), Broken> {
        self.owes_value = false;
        if self.levels.len() == 1 && matches!(kind, b'-' | b'!') && self.failed.len() < FAILED_MAX {
            self.failed.push(self.element);
        }
        self.state = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => State::Line { after_cr: false },
            b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|' => State::Number {
                kind,
                digits: 0,
                value: 0,
                is_negative: false,
                after_cr: false,
            },
            other => return Err(Broken::Type(other)),
        };
        Ok(())
    }

    /// Takes one byte of a number; true when the message is over.
    fn number(&mut self, byte: u8) -> Result<bool, Broken> {
        let State::Number {
            kind,
            digits,
            value,
            is_negative,
            after_cr,
        } = &mut self.state
        else {
            return Err(Broken::Length);
        };
        match byte {
            b'\n' if *after_cr && *digits > 0 => {
                let (kind, value, is_negative) = (*kind, *value, *is_negative);
                return self.counted(kind, value, is_negative);
            }
            b'\r' if !*after_cr => *after_cr = true,
            _ if *after_cr => return Err(Broken::End),
            b'-' if *digits == 0 && !*is_negative => *is_negative = true,
            b'0'..=b'9' if *digits < 18 => {
                *digits += 1;
                *value = *value * 10 + u64::from(byte - b'0');
            }
            _ => return Err(Broken::Length),
        }
        Ok(false)
    }

    fn counted(&mut self, kind: u8, value: u64, is_negative: bool) -> Result<bool, Broken> {
        if is_negative {
            // RESP2's null, bulk string or array.
            return match value {
                1 => Ok(self.ended()),
                _ => Err(Broken::Length),
            };
        }
        if matches!(kind, b'$' | b'!' | b'=') {
            if value > BULK_BYTES_MAX {
                return Err(Broken::TooLong);
            }
            self.state = State::Bulk { left: value + 2 };
            return Ok(false);
        }
        if value > ELEMENTS_MAX {
            return Err(Broken::TooMany);
        }
        let is_attribute = kind == b'|';
        let left = if matches!(kind, b'%' | b'|') {
            value * 2
        } else {
            value
        };
        self.state = State::Start;
        if left == 0 {
            self.owes_value = is_attribute;
            return Ok(!is_attribute && self.ended());
        }
        if self.levels.len() >= DEPTH_MAX {
            return Err(Broken::TooDeep);
        }
        self.levels.push(Level { left, is_attribute });
        Ok(false)
    }

    /// A value is whole, and with it perhaps those around it; true when the message is.
    fn ended(&mut self) -> bool {
        self.state = State::Start;
        loop {
            if self.levels.len() == 1 {
                self.element = self.element.saturating_add(1);
            }
            let Some(level) = self.levels.last_mut() else {
                return true;
            };
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let was_attribute = level.is_attribute;
            self.levels.pop();
            if was_attribute {
                self.owes_value = true;
                return false;
            }
        }
    }
}

/// Goes on within a line: how many bytes belong to it, and whether it is over.
fn line(bytes: &[u8], after_cr: bool) -> Result<(usize, bool), Broken> {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Ok((bytes.len(), false));
    };
    let has_cr = match at.checked_sub(1) {
        Some(before) => bytes[before] == b'\r',
        None => after_cr,
    };
    if has_cr {
        Ok((at + 1, true))
    } else {
        Err(Broken::End)
    }
}

/// Whether these next bytes of a bulk string, of which `left` are to come with its CR LF, have
/// that where it belongs.
fn bulk_end(bytes: &[u8], left: u64) -> bool {
    let past = |from_end: u64| {
        let at = usize::try_from(left - from_end).ok()?;
        bytes.get(at).copied()
    };
    let cr = if left >= 2 { past(2) } else { None };
    let lf = past(1);
    cr.is_none_or(|byte| byte == b'\r') && lf.is_none_or(|byte| byte == b'\n')
}

/// What is seen at the beginning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// An error, with its first word, cut off at 64 bytes.
    Error(&'a str),
    /// `+QUEUED`: the command waits for `EXEC`.
    Queued,
    /// A message that no command asked for, or a confirmation of one about subscriptions, with
    /// the word it begins with.
    Push(&'a str),
    /// A null of either version.
    Null,
    /// An array.
    Array,
    /// A map, as a server answers `HELLO` in RESP3.
    Map,
    /// Anything else.
    Value,
}

/// The bytes that tell what an answer is.
pub const PEEK_BYTES: usize = 128;

/// What the answer is that begins here. `bytes` must be the whole message, or at least its first
/// [`PEEK_BYTES`].
pub fn peek(bytes: &[u8]) -> Answer<'_> {
    let mut rest = bytes;
    // An attribute stands before the answer itself; which that is then shows no more.
    if rest.first() == Some(&b'|') {
        return Answer::Value;
    }
    match rest.first() {
        Some(b'-') => Answer::Error(first_word(&rest[1..])),
        Some(b'!') => {
            rest = after_line(rest);
            Answer::Error(first_word(rest))
        }
        Some(b'+') if rest.starts_with(b"+QUEUED\r\n") => Answer::Queued,
        Some(b'>') => Answer::Push(first_bulk(rest)),
        Some(b'_') => Answer::Null,
        Some(b'*' | b'$') if rest.get(1) == Some(&b'-') => Answer::Null,
        Some(b'*') => Answer::Array,
        Some(b'%') => Answer::Map,
        _ => Answer::Value,
    }
}

/// The first element of an array that begins here, where it is a short bulk string.
pub fn first_bulk(bytes: &[u8]) -> &str {
    let rest = after_line(bytes);
    if rest.first() != Some(&b'$') {
        return "";
    }
    let content = after_line(rest);
    let end = content.iter().position(|byte| *byte == b'\r');
    std::str::from_utf8(&content[..end.unwrap_or(0)]).unwrap_or("")
}

fn after_line(bytes: &[u8]) -> &[u8] {
    let at = bytes.iter().position(|byte| *byte == b'\n');
    at.map_or(&[], |at| &bytes[at + 1..])
}

fn first_word(bytes: &[u8]) -> &str {
    let is_end = |byte: &u8| byte.is_ascii_whitespace();
    let end = bytes.iter().take(64).position(is_end);
    let end = end.unwrap_or_else(|| bytes.len().min(64));
    std::str::from_utf8(&bytes[..end]).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lengths of the messages in these bytes, given in pieces of this size.
    fn lengths(bytes: &[u8], piece: usize) -> Result<Vec<usize>, Broken> {
        let mut scanner = Scanner::default();
        let (mut lengths, mut len) = (Vec::new(), 0);
        for piece in bytes.chunks(piece.max(1)) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, is_over) = scanner.advance(rest)?;
                rest = &rest[used..];
                len += used;
                if is_over {
                    lengths.push(std::mem::take(&mut len));
                }
            }
        }
        assert_eq!(scanner.is_between(), len == 0);
        Ok(lengths)
    }

    const MESSAGES: &[&str] = &[
        "+OK\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        ":1000\r\n",
        "$5\r\nhello\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n$-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.14\r\n",
        "(12345678901234567890\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        "~2\r\n:1\r\n:2\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
        "|1\r\n+ttl\r\n:5\r\n*2\r\n:1\r\n|1\r\n+x\r\n*0\r\n:2\r\n",
        "%0\r\n",
    ];

    #[test]
    fn every_type_is_framed_in_any_pieces() {
        let all = MESSAGES.concat();
        let expected: Vec<usize> = MESSAGES.iter().map(|message| message.len()).collect();
        for piece in [1, 2, 3, 5, 7, 16, all.len()] {
            assert_eq!(
                lengths(all.as_bytes(), piece),
                Ok(expected.clone()),
                "{piece}"
            );
        }
    }

    #[test]
    fn what_is_no_resp_is_told_and_bounded() {
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\n", Broken::Type(b'H')),
            ("\u{80}", Broken::Type(0xc2)),
            ("$x\r\n", Broken::Length),
            ("$-2\r\n", Broken::Length),
            ("$536870913\r\n", Broken::TooLong),
            ("*2147483648\r\n", Broken::TooMany),
            ("*99999999999999999999\r\n", Broken::Length),
            (deep.as_str(), Broken::TooDeep),
            ("$2\r\nabc\r\n", Broken::End),
            ("$2\r\nab\rx", Broken::End),
            ("+OK\n", Broken::End),
            ("$1\rx", Broken::End),
        ] {
            assert_eq!(lengths(bytes.as_bytes(), 3), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn failed_elements_of_a_transaction_are_told() {
        let mut scanner = Scanner::default();
        let bytes = b"*4\r\n+OK\r\n-WRONGTYPE x\r\n*1\r\n-ERR inner\r\n!3\r\nERR\r\n";
        assert_eq!(scanner.advance(bytes), Ok((bytes.len(), true)));
        assert_eq!(scanner.failed(), [1, 3]);
        assert_eq!(scanner.advance(b"+OK\r\n"), Ok((5, true)));
        assert!(scanner.failed().is_empty());
    }

    #[test]
    fn the_beginning_of_an_answer_tells_what_it_is() {
        for (bytes, expected) in [
            ("-OOM command not allowed\r\n", Answer::Error("OOM")),
            ("-ERR\r\n", Answer::Error("ERR")),
            ("!12\r\nSYNTAX error\r\n", Answer::Error("SYNTAX")),
            ("+QUEUED\r\n", Answer::Queued),
            ("+QUEUE\r\n", Answer::Value),
            (
                ">2\r\n$10\r\ninvalidate\r\n_\r\n",
                Answer::Push("invalidate"),
            ),
            ("*-1\r\n", Answer::Null),
            ("_\r\n", Answer::Null),
            ("*2\r\n", Answer::Array),
            ("%1\r\n", Answer::Map),
            (":7\r\n", Answer::Value),
        ] {
            assert_eq!(peek(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(first_bulk(b"*3\r\n$7\r\nmessage\r\n$1\r\nc"), "message");
        assert_eq!(first_bulk(b"*1\r\n:5\r\n"), "");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_and_never_more_than_there_is(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'2'),
                Just(b'+'), Just(b'-'), Just(b'|'), Just(b'>'), any::<u8>(),
            ], 0..200),
            piece in 1..20usize,
        ) {
            let whole = lengths(&bytes, usize::MAX);
            let pieces = lengths(&bytes, piece);
            prop_assert_eq!(&whole, &pieces);
            if let Ok(lengths) = whole {
                prop_assert!(lengths.iter().sum::<usize>() <= bytes.len());
            }
        }
    }
}
