//! Commands as clients send them: arrays of bulk strings, or inline as one line.

use super::{
    commands::{self, FirstKey},
    frame::{BULK_BYTES_MAX, ELEMENTS_MAX, LINE_BYTES_MAX},
};
use crate::protocol::Recognised;
use std::{fmt, ops::Range, sync::Arc};

/// How many arguments of a command are looked at, its name included.
pub const ARGUMENTS_MAX: usize = 64;

/// The longest key that is kept, in bytes; a longer one is cut off.
pub const KEY_BYTES_MAX: usize = 1024;

/// Why bytes are no command, in the words in which a server refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCommand {
    /// A line without end.
    InlineTooLong,
    /// The number of arguments is none, or too great.
    Arguments,
    /// A line of a length without end.
    LengthTooLong,
    /// An argument that is no bulk string, but begins with this byte.
    Argument(u8),
    /// The length of an argument is none, or too great.
    Length,
}

impl fmt::Display for BadCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::Arguments => f.write_str("invalid multibulk length"),
            Self::LengthTooLong => f.write_str("too big bulk count string"),
            Self::Argument(byte) => {
                let shown = if byte.is_ascii_graphic() || *byte == b' ' {
                    char::from(*byte)
                } else {
                    '.'
                };
                write!(f, "expected '$', got '{shown}'")
            }
            Self::Length => f.write_str("invalid bulk length"),
        }
    }
}

/// Where the arguments of a command stand in its bytes. Kept by whoever reads many.
#[derive(Debug, Default)]
pub struct Arguments {
    ranges: Vec<Range<usize>>,
}

/// How much of a command is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nothing that calls for an answer: an empty line or array of this many bytes.
    Nothing(usize),
    /// A whole command of this many bytes.
    Whole(usize),
    /// Not all of it. The arguments that are there whole are found.
    Part,
}

impl Arguments {
    /// Reads the command at the beginning of these bytes.
    ///
    /// # Errors
    /// They are no command.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Read, BadCommand> {
        self.ranges.clear();
        match bytes.first() {
            None => Ok(Read::Part),
            Some(b'*') => self.array(bytes),
            Some(_) => self.inline(bytes),
        }
    }

    /// The n-th argument; the command's name is argument 0.
    pub fn get<'a>(&self, bytes: &'a [u8], nth: usize) -> Option<&'a [u8]> {
        bytes.get(self.ranges.get(nth)?.clone())
    }

    fn array(&mut self, bytes: &[u8]) -> Result<Read, BadCommand> {
        let Some((count, mut at)) = number(bytes, 1, BadCommand::Arguments)? else {
            return Ok(Read::Part);
        };
        if count <= 0 {
            return Ok(Read::Nothing(at));
        }
        if count > ELEMENTS_MAX as i64 {
            return Err(BadCommand::Arguments);
        }
        for _ in 0..count {
            match bytes.get(at) {
                None => return Ok(Read::Part),
                Some(b'$') => {}
                Some(other) => return Err(BadCommand::Argument(*other)),
            }
            let Some((len, start)) = number(bytes, at + 1, BadCommand::Length)? else {
                return Ok(Read::Part);
            };
            let len = u64::try_from(len)
                .ok()
                .filter(|len| *len <= BULK_BYTES_MAX)
                .and_then(|len| usize::try_from(len).ok())
                .ok_or(BadCommand::Length)?;
            let end = start + len;
            if bytes.len() < end + 2 {
                return Ok(Read::Part);
            }
            self.push(start..end);
            at = end + 2;
        }
        Ok(Read::Whole(at))
    }

    fn inline(&mut self, bytes: &[u8]) -> Result<Read, BadCommand> {
        let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() >= LINE_BYTES_MAX {
                Err(BadCommand::InlineTooLong)
            } else {
                Ok(Read::Part)
            };
        };
        let mut at = 0;
        while at < end {
            if line[at].is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let quote = Some(line[at]).filter(|byte| matches!(byte, b'"' | b'\''));
            let start = at + usize::from(quote.is_some());
            let is_end = |byte: &u8| match quote {
                Some(quote) => *byte == quote,
                None => byte.is_ascii_whitespace(),
            };
            let len = line[start..end].iter().position(is_end);
            let stop = len.map_or(end, |len| start + len);
            self.push(start..stop);
            at = stop + 1;
        }
        if self.ranges.is_empty() {
            return Ok(Read::Nothing(end + 1));
        }
        Ok(Read::Whole(end + 1))
    }

    fn push(&mut self, range: Range<usize>) {
        if self.ranges.len() < ARGUMENTS_MAX {
            self.ranges.push(range);
        }
    }
}

/// The number from `start` to the next CR LF, and where that ends; `None`: not all of it is there.
fn number(
    bytes: &[u8],
    start: usize,
    wrong: BadCommand,
) -> Result<Option<(i64, usize)>, BadCommand> {
    let rest = bytes.get(start..).unwrap_or(&[]);
    let (mut value, mut at) = (0i64, 0);
    let is_negative = rest.first() == Some(&b'-');
    at += usize::from(is_negative);
    loop {
        match rest.get(at) {
            None => return Ok(None),
            Some(byte @ b'0'..=b'9') if at < 18 => value = value * 10 + i64::from(byte - b'0'),
            Some(b'\r') if at > usize::from(is_negative) => break,
            Some(b'0'..=b'9') => return Err(BadCommand::LengthTooLong),
            Some(_) => return Err(wrong),
        }
        at += 1;
    }
    match rest.get(at + 1) {
        None => Ok(None),
        Some(_) => Ok(Some((
            if is_negative { -value } else { value },
            start + at + 2,
        ))),
    }
}

/// What a command means for those that follow it, and for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// One answer, and nothing else.
    Plain,
    /// A transaction begins.
    Multi,
    /// A transaction is carried out.
    Exec,
    /// A transaction is given up.
    Discard,
    /// It is confirmed by a message of its own name.
    Subscription,
    /// From now on the server speaks when it likes.
    Monitor,
    /// `HELLO`: the version of the protocol may change.
    Hello,
    /// `RESET`: the connection is as new.
    Reset,
    /// `CLIENT REPLY ON`.
    ReplyOn,
    /// `CLIENT REPLY OFF`.
    ReplyOff,
    /// `CLIENT REPLY SKIP`.
    ReplySkip,
}

/// What a command means, by its name in capitals.
pub fn meaning(operation: &str, arguments: &Arguments, bytes: &[u8]) -> Meaning {
    match operation {
        "MULTI" => Meaning::Multi,
        "EXEC" => Meaning::Exec,
        "DISCARD" => Meaning::Discard,
        "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
        | "SUNSUBSCRIBE" => Meaning::Subscription,
        "MONITOR" | "SYNC" | "PSYNC" => Meaning::Monitor,
        "HELLO" => Meaning::Hello,
        "RESET" => Meaning::Reset,
        "CLIENT" => {
            let is = |nth, word: &str| {
                let argument = arguments.get(bytes, nth);
                argument.is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
            };
            match () {
                () if !is(1, "REPLY") => Meaning::Plain,
                () if is(2, "OFF") => Meaning::ReplyOff,
                () if is(2, "SKIP") => Meaning::ReplySkip,
                () if is(2, "ON") => Meaning::ReplyOn,
                () => Meaning::Plain,
            }
        }
        _ => Meaning::Plain,
    }
}

/// What faults and histories see of a command: see [`Names::recognise`].
pub fn recognise(arguments: &Arguments, bytes: &[u8], argument: Option<usize>) -> Recognised {
    Names::default().recognise(arguments, bytes, argument)
}

/// What is known of the command that was recognised last. Kept by whoever recognises many: a client
/// that is in a hurry asks the same again and again.
#[derive(Debug, Default)]
pub struct Names {
    last: Option<Name>,
}

/// A command by its name.
#[derive(Debug)]
struct Name {
    /// As it was sent.
    sent: Box<[u8]>,
    /// In capitals.
    operation: Arc<str>,
    first_key: FirstKey,
    carries_secrets: bool,
}

impl Names {
    /// What faults and histories see of a command: its name in capitals, and its first key, or
    /// with `argument` the argument of that number. The arguments of commands that carry passwords
    /// are never a key.
    pub fn recognise(
        &mut self,
        arguments: &Arguments,
        bytes: &[u8],
        argument: Option<usize>,
    ) -> Recognised {
        let name = self.name(arguments.get(bytes, 0).unwrap_or_default());
        let key = match argument {
            _ if name.carries_secrets => None,
            Some(nth) => arguments.get(bytes, nth),
            None => first_key(name.first_key, arguments, bytes),
        };
        Recognised {
            operation: Arc::clone(&name.operation),
            key: key.map_or_else(Arc::default, kept),
            ..Recognised::default()
        }
    }

    fn name(&mut self, sent: &[u8]) -> &Name {
        let sent = &sent[..sent.len().min(NAME_BYTES_MAX)];
        let known = self.last.take().filter(|last| *last.sent == *sent);
        self.last.insert(known.unwrap_or_else(|| Name::new(sent)))
    }
}

impl Name {
    fn new(sent: &[u8]) -> Self {
        let mut buffer = [0; NAME_BYTES_MAX];
        let name = capitals(sent, &mut buffer);
        Self {
            sent: sent.into(),
            operation: name.into(),
            first_key: commands::find(name).map_or(FirstKey::At(1), |command| command.first_key),
            carries_secrets: carries_secrets(name),
        }
    }
}

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 64;

fn capitals<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> &'a str {
    let len = name.len().min(NAME_BYTES_MAX);
    let capitals = &mut buffer[..len];
    capitals.copy_from_slice(&name[..len]);
    capitals.make_ascii_uppercase();
    std::str::from_utf8(capitals).unwrap_or("?")
}

fn carries_secrets(name: &str) -> bool {
    matches!(name, "AUTH" | "HELLO" | "ACL" | "CONFIG" | "MIGRATE")
}

fn first_key<'a>(at: FirstKey, arguments: &Arguments, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let get = |nth: usize| arguments.get(bytes, nth);
    let is = |nth, word: &str| {
        get(nth).is_some_and(|bytes: &[u8]| bytes.eq_ignore_ascii_case(word.as_bytes()))
    };
    let after = |word| {
        (1..ARGUMENTS_MAX)
            .find(|nth| is(*nth, word))
            .map(|nth| nth + 1)
    };
    match at {
        FirstKey::Nowhere => None,
        FirstKey::At(nth) => get(usize::from(nth)),
        FirstKey::Counted(nth) => {
            let has_none = get(usize::from(nth)) == Some(b"0");
            get(usize::from(nth) + 1).filter(|_| !has_none)
        }
        FirstKey::Streams => get(after("STREAMS")?),
        FirstKey::Memory => get(2).filter(|_| is(1, "USAGE")),
        FirstKey::Migrate => match get(3) {
            Some(b"") => get(after("KEYS")?),
            key => key,
        },
    }
}

fn kept(key: &[u8]) -> Arc<str> {
    let key = &key[..key.len().min(KEY_BYTES_MAX)];
    String::from_utf8_lossy(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array(words: &[&str]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        bytes.into_bytes()
    }

    fn recognised(line: &str, argument: Option<usize>) -> (String, String) {
        let words: Vec<&str> = line.split(' ').collect();
        let bytes = array(&words);
        let mut arguments = Arguments::default();
        assert_eq!(arguments.read(&bytes), Ok(Read::Whole(bytes.len())));
        let seen = recognise(&arguments, &bytes, argument);
        (seen.operation.to_string(), seen.key.to_string())
    }

    #[test]
    fn commands_are_named_in_capitals_with_their_first_key() {
        for (line, operation, key) in [
            ("get k", "GET", "k"),
            ("PING", "PING", ""),
            ("MSET a 1 b 2", "MSET", "a"),
            ("BITOP AND dest a b", "BITOP", "dest"),
            ("OBJECT ENCODING k", "OBJECT", "k"),
            ("MEMORY USAGE k", "MEMORY", "k"),
            ("MEMORY DOCTOR", "MEMORY", ""),
            ("EVAL return 2 k1 k2 arg", "EVAL", "k1"),
            ("EVAL return 0 arg", "EVAL", ""),
            ("XREAD COUNT 5 BLOCK 0 streams s1 s2 0 0", "XREAD", "s1"),
            ("XREADGROUP GROUP g c STREAMS s >", "XREADGROUP", "s"),
            ("BLPOP q1 q2 5", "BLPOP", "q1"),
            ("BLMPOP 5 2 q1 q2 LEFT", "BLMPOP", "q1"),
            ("ZUNIONSTORE dest 2 a b", "ZUNIONSTORE", "dest"),
            ("ZUNION 2 a b", "ZUNION", "a"),
            ("XGROUP CREATE s g $", "XGROUP", "s"),
            ("PUBLISH channel hello", "PUBLISH", ""),
            ("MIGRATE h 1 k 0 100", "MIGRATE", ""),
            ("FT.SEARCH index query", "FT.SEARCH", "index"),
            ("AUTH user secret", "AUTH", ""),
            ("HELLO 3 AUTH user secret", "HELLO", ""),
        ] {
            let expected = (operation.to_owned(), key.to_owned());
            assert_eq!(recognised(line, None), expected, "{line}");
        }
    }

    #[test]
    fn a_name_that_is_known_is_recognised_as_one_that_is_not() {
        let mut names = Names::default();
        let mut arguments = Arguments::default();
        for line in [
            "get a", "get b", "GET c", "PING", "get d", "getx e", "AUTH s", "AUTH t", "get f",
        ] {
            let bytes = array(&line.split(' ').collect::<Vec<_>>());
            arguments.read(&bytes).expect("a command");
            let seen = names.recognise(&arguments, &bytes, None);
            assert_eq!(seen, recognise(&arguments, &bytes, None), "{line}");
        }
    }

    #[test]
    fn the_key_may_be_another_argument_but_never_a_secret() {
        assert_eq!(recognised("PUBLISH channel hello", Some(1)).1, "channel");
        assert_eq!(recognised("GET k", Some(5)).1, "");
        for line in [
            "AUTH secret",
            "HELLO 3 AUTH u secret",
            "CONFIG SET requirepass secret",
        ] {
            for nth in 1..5 {
                assert_eq!(recognised(line, Some(nth)).1, "", "{line}");
            }
        }
    }

    #[test]
    fn inline_commands_are_commands() {
        let mut arguments = Arguments::default();
        let bytes = b"set  \"the key\" 'v'\r\nnext";
        assert_eq!(arguments.read(bytes), Ok(Read::Whole(20)));
        assert_eq!(&*recognise(&arguments, bytes, None).key, "the key");
        assert_eq!(arguments.read(b"PING\nGET"), Ok(Read::Whole(5)));
        assert_eq!(arguments.read(b"\r\nPING"), Ok(Read::Nothing(2)));
        assert_eq!(arguments.read(b"*0\r\nPING"), Ok(Read::Nothing(4)));
        assert_eq!(arguments.read(b"*-1\r\n"), Ok(Read::Nothing(5)));
        assert_eq!(arguments.read(b"PI"), Ok(Read::Part));
    }

    #[test]
    fn what_a_server_refuses_is_refused_in_its_words() {
        for (bytes, said) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*1\r\n:5\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (&[b'a'; LINE_BYTES_MAX], "too big inline request"),
        ] {
            let error = Arguments::default().read(bytes).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn what_follows_a_command_depends_on_its_meaning() {
        for (line, expected) in [
            ("MULTI", Meaning::Multi),
            ("CLIENT REPLY off", Meaning::ReplyOff),
            ("CLIENT REPLY SKIP", Meaning::ReplySkip),
            ("CLIENT REPLY ON", Meaning::ReplyOn),
            ("CLIENT SETNAME REPLY", Meaning::Plain),
            ("PSUBSCRIBE a", Meaning::Subscription),
            ("MONITOR", Meaning::Monitor),
            ("GET MULTI", Meaning::Plain),
        ] {
            let bytes = array(&line.split(' ').collect::<Vec<_>>());
            let mut arguments = Arguments::default();
            arguments.read(&bytes).expect("a command");
            let operation = recognise(&arguments, &bytes, None).operation;
            assert_eq!(meaning(&operation, &arguments, &bytes), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_command_in_part_is_never_taken_for_a_whole_one(
            words in prop::collection::vec("[a-z\r\n*$]{0,9}", 1..6),
            cut in 0..100usize,
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let bytes = array(&words);
            let cut = cut.min(bytes.len() - 1);
            let mut arguments = Arguments::default();
            prop_assert_eq!(arguments.read(&bytes[..cut]), Ok(Read::Part));
            prop_assert_eq!(arguments.read(&bytes), Ok(Read::Whole(bytes.len())));
            prop_assert_eq!(arguments.get(&bytes, 0), Some(words[0].as_bytes()));
        }

        #[test]
        fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(Read::Whole(len) | Read::Nothing(len)) = Arguments::default().read(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
