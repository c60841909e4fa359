//! Readers of what clients and servers say to each other.

use crate::{
    fault::Direction,
    protocol::{
        CallTracker, Protocol, http as calls,
        mysql::{self, answer::Answer, execute::Bound, handshake, packet},
        postgres, pusher, redis, sql, websocket,
    },
    proxy::http::{
        body::Body,
        head::{self, Framing, RequestFacts},
    },
};

/// Heads of requests and answers, and bodies in chunks. What comes before the first byte 0 (or all)
/// is what a client sends, what comes after it what a server answers.
pub(super) fn http(bytes: &[u8]) {
    let (asked, answered) = halves(bytes);
    let to = request(asked);
    if let Ok(Some(facts)) = head::read_response(answered, &to, |_, facts| facts) {
        assert!(facts.len <= answered.len(), "a head beyond its bytes");
        body(facts.framing, &answered[facts.len..]);
    }
    body(Framing::Chunked, bytes);
}

/// What a request says, or what a plain GET would have said.
fn request(bytes: &[u8]) -> RequestFacts {
    let plain = RequestFacts {
        len: 0,
        framing: Framing::None,
        is_head: false,
        is_get: true,
        is_connect: false,
        is_http10: false,
        keeps_alive: true,
        expects_continue: false,
    };
    let read = head::read_request(bytes, |request, facts| {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let headers = || {
            let all = request.headers.iter();
            all.filter_map(|header| Some((header.name, text(header.value)?)))
        };
        for protocol in [Protocol::Http, Protocol::S3, Protocol::Pusher] {
            let tracker = &mut CallTracker::default();
            let (method, path) = (request.method, request.path);
            let (method, path) = (method.unwrap_or_default(), path.unwrap_or_default());
            let suffix = (protocol == Protocol::S3).then_some("s3.example");
            let _ = calls::identify(protocol, suffix, method, path, headers(), 1, tracker);
        }
        facts
    });
    let Ok(Some(facts)) = read else { return plain };
    assert!(facts.len <= bytes.len(), "a head beyond its bytes");
    let in_part = head::read_request(&bytes[..facts.len - 1], |_, facts| facts);
    assert!(
        !matches!(in_part, Ok(Some(_))),
        "a head in part taken for a whole one"
    );
    body(facts.framing, &bytes[facts.len..]);
    facts
}

/// A body means the same in whichever pieces it comes.
fn body(framing: Framing, bytes: &[u8]) {
    let whole = body_in_pieces(framing, bytes, usize::MAX);
    for piece in [1, 2, 7] {
        assert_eq!(
            whole,
            body_in_pieces(framing, bytes, piece),
            "pieces of {piece} bytes"
        );
    }
}

/// Its length and its data; `None` where it is broken.
fn body_in_pieces(framing: Framing, bytes: &[u8], piece: usize) -> Option<(usize, Vec<u8>)> {
    let mut body = Body::new(framing);
    let (mut seen, mut data) = (0, Vec::new());
    for piece in bytes.chunks(piece.min(bytes.len()).max(1)) {
        let used = body.advance(piece, u64::MAX, |part| data.extend_from_slice(part));
        seen += used.ok()?;
        if body.is_complete() {
            break;
        }
    }
    Some((seen, data))
}

/// What both ends of a PostgreSQL connection say: framed messages, the first packet, and what is
/// taken from their bodies.
pub(super) fn postgres(bytes: &[u8]) {
    let _ = postgres::Opening::read(bytes);
    for sender in [postgres::Sender::Client, postgres::Sender::Server] {
        let mut rest = bytes;
        while let Ok(Some(header)) = postgres::Header::read(rest, sender) {
            let Some(message) = rest.get(postgres::HEADER_BYTES..header.whole()) else {
                break;
            };
            postgres_body(message);
            rest = &rest[header.whole()..];
        }
    }
    postgres_body(bytes);
}

fn postgres_body(body: &[u8]) {
    let text = postgres::leading_text(body);
    assert!(text.len() <= body.len(), "a text beyond its message");
    let _ = postgres::statement(text);
    let _ = postgres::code_of(body);
    let _ = postgres::rows_changed(body);
    let parse = postgres::Parse::read(body);
    if let Some(bind) = postgres::Bind::read(body) {
        for nth in 0..4 {
            let declared = parse.as_ref().map_or(25, |parse| parse.declared(nth));
            let _ = bind.parameter(nth, declared);
        }
    }
}

/// What both ends of a MySQL connection say: packets, hand-shakes, commands with what they bind,
/// and answers.
pub(super) fn mysql(bytes: &[u8]) {
    let _ = handshake::capabilities(bytes);
    let _ = handshake::asked(bytes);
    let mut own = bytes.to_vec();
    let _ = handshake::offer(&mut own, true);
    handshake::set_tls(&mut own, true);
    assert_eq!(own.len(), bytes.len(), "a greeting of another length");
    let (mut rest, mut answers) = (bytes, mysql_answers());
    while let Some(packet) = packet::Packet::begin(rest) {
        assert!(
            packet.payload.len() <= packet.len,
            "a payload beyond its packet"
        );
        mysql_payload(packet.payload);
        for answer in &mut answers {
            let _ = answer.packet(packet.len, packet.payload);
        }
        let Some(next) = rest.get(packet.bytes()..) else {
            break;
        };
        rest = next;
    }
}

fn mysql_answers() -> Vec<Answer> {
    let commands = [0x03, 0x04, 0x16, 0x17, 0x1c].map(|command| mysql::Command::of(&[command]));
    let shapes = commands.map(mysql::Command::shape);
    let both = shapes
        .into_iter()
        .flat_map(|shape| [true, false].map(|deprecates_eof| Answer::new(shape, deprecates_eof)));
    both.collect()
}

fn mysql_payload(payload: &[u8]) {
    let _ = mysql::Command::of(payload).shape();
    let _ = mysql::recognise(payload);
    let _ = packet::number(payload);
    for parameters in [0, 1, 3, u16::MAX] {
        let Some(bound) = Bound::read(payload, parameters) else {
            continue;
        };
        let types = bound.types(4).unwrap_or_default();
        for nth in 0..5 {
            let _ = bound.parameter(nth, &types, |nth| nth == 2);
        }
    }
}

/// Commands of Redis's clients and answers of its servers.
pub(super) fn redis(bytes: &[u8]) {
    let whole = messages(bytes, usize::MAX);
    for piece in [1, 3] {
        assert_eq!(whole, messages(bytes, piece), "pieces of {piece} bytes");
    }
    let _ = redis::frame::peek(bytes);
    let _ = redis::frame::first_bulk(bytes);
    let mut arguments = redis::request::Arguments::default();
    let mut rest = bytes;
    while let Ok(read) = arguments.read(rest) {
        let len = match read {
            redis::request::Read::Nothing(len) => len,
            redis::request::Read::Whole(len) => {
                let recognised = redis::request::recognise(&arguments, rest, Some(1));
                let _ = redis::request::meaning(&recognised.operation, &arguments, rest);
                len
            }
            redis::request::Read::Part => break,
        };
        assert!(
            (1..=rest.len()).contains(&len),
            "a command beyond its bytes"
        );
        let mut in_part = redis::request::Arguments::default();
        assert!(
            !matches!(
                in_part.read(&rest[..len - 1]),
                Ok(redis::request::Read::Whole(_))
            ),
            "a command in part taken for a whole one"
        );
        rest = &rest[len..];
    }
}

/// The lengths of the answers in these bytes, given in pieces of this size; `None` where they are
/// broken.
fn messages(bytes: &[u8], piece: usize) -> Option<Vec<usize>> {
    let mut scanner = redis::frame::Scanner::default();
    let (mut lengths, mut len) = (Vec::new(), 0);
    for mut rest in bytes.chunks(piece.min(bytes.len()).max(1)) {
        while !rest.is_empty() {
            let (used, is_over) = scanner.advance(rest).ok()?;
            assert!(used <= rest.len(), "a message beyond its bytes");
            rest = &rest[used..];
            len += used;
            if is_over {
                lengths.push(std::mem::take(&mut len));
            }
        }
    }
    assert_eq!(scanner.is_between(), len == 0, "where a message ends");
    Some(lengths)
}

/// Frames of WebSockets, and the messages of Pusher Channels in them.
pub(super) fn websocket(bytes: &[u8]) {
    for is_client in [true, false] {
        let mut rest = bytes;
        while let Ok(Some(head)) = websocket::read_head(rest, is_client, true) {
            assert!(head.len <= rest.len(), "a head beyond its bytes");
            let in_part = websocket::read_head(&rest[..head.len - 1], is_client, true);
            assert_ne!(
                in_part,
                Ok(Some(head)),
                "a head in part taken for a whole one"
            );
            let end = usize::try_from(head.payload).ok();
            let end = end.and_then(|payload| head.len.checked_add(payload));
            let Some(payload) = end.and_then(|end| rest.get(head.len..end)) else {
                break;
            };
            let mut payload = payload.to_vec();
            if let Some(mask) = head.mask {
                websocket::unmask(&mut payload, mask, 0);
            }
            message(&payload);
            rest = &rest[head.len + payload.len()..];
        }
    }
    message(bytes);
}

fn message(message: &[u8]) {
    let _ = websocket::close_code(message);
    let _ = pusher::error_code(message);
    for direction in [Direction::Up, Direction::Down] {
        let _ = pusher::recognise_message(direction, message);
    }
    if let Some(read) = pusher::Message::read(message) {
        for pointer in ["", "/event", "/data/id", "/data/0", "event"] {
            let _ = read.at(pointer);
        }
    }
    let _ = sql::bounded_text(message);
}

/// What comes before the first byte 0, and what after it.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0);
    at.map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + 1..]))
}
