//! HTTP/1.x as the standards have it (RFC 9110, 9112), exchange by exchange in raw bytes: what
//! client and origin see of each other is the same directly and through the proxy, in one piece
//! and in many; and what is not passed is refused, seen by nobody, and observed.

use super::{
    super::head::{HEAD_BYTES_MAX, HEADERS_MAX},
    Applied, AsyncReadExt, AsyncWriteExt, AttemptEnd, Duration, GET, Observation, PUT, Protocol,
    Rig, TcpListener, TcpStream, io, soon,
};
use Step::{Ask, Down, OriginCloses, OriginResets, Say, Up};

/// What one side does, and what the other then sees of it.
#[derive(Debug, Clone)]
enum Step {
    /// The client sends this, and the origin gets it.
    Up(Vec<u8>),
    /// The origin sends this, and the client gets it.
    Down(Vec<u8>),
    /// The client sends this, of which the origin takes only as much as it is asked to.
    Ask(Vec<u8>),
    /// The origin gets so many bytes of what was sent.
    Say(usize),
    /// The origin closes; the client sees the end.
    OriginCloses,
    /// The origin resets; the client sees that.
    OriginResets,
}

fn up(bytes: impl AsRef<[u8]>) -> Step {
    Up(bytes.as_ref().to_vec())
}

fn down(bytes: impl AsRef<[u8]>) -> Step {
    Down(bytes.as_ref().to_vec())
}

/// By which way client and origin meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Both send pieces of so many bytes.
    Through {
        piece: usize,
    },
}

/// What both sides got of each other, in the order of the script.
type Seen = Vec<String>;

async fn send(stream: &mut TcpStream, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// What comes next, as far as so many bytes.
async fn take(stream: &mut TcpStream, len: usize) -> String {
    let mut got = vec![0; len];
    let mut filled = 0;
    let mut end = "";
    while filled < len && end.is_empty() {
        match soon("what was sent", stream.read(&mut got[filled..])).await {
            Ok(0) => end = " and the end",
            Ok(more) => filled += more,
            Err(_) => end = " and a reset",
        }
    }
    format!("{}{end}", got[..filled].escape_ascii())
}

/// What comes to the end.
async fn rest(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    match soon("the end", stream.read_to_end(&mut got)).await {
        Ok(_) => format!("{} and the end", got.escape_ascii()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            format!("{} and a reset", got.escape_ascii())
        }
        Err(error) => panic!("{error}"),
    }
}

/// Plays a script; where the origin does not end it, the client closes at its end.
async fn play(script: &[Step], way: Way) -> (Seen, Vec<AttemptEnd>) {
    let rig = Rig::new(Protocol::Http).await;
    let (address, piece) = match way {
        Way::Direct => (rig.upstream.local_addr().unwrap(), usize::MAX),
        Way::Through { piece } => (rig.proxy.address(), piece),
    };
    let mut client = TcpStream::connect(address).await.unwrap();
    client.set_nodelay(true).unwrap();
    let mut origin = None;
    let mut seen = Seen::new();
    for step in script {
        if let Up(bytes) | Ask(bytes) = step {
            send(&mut client, bytes, piece).await;
        }
        if origin.is_none() {
            let accepted = soon("a connection", rig.upstream.accept()).await;
            let (stream, _) = accepted.unwrap();
            stream.set_nodelay(true).unwrap();
            origin = Some(stream);
        }
        let Some(at) = &mut origin else {
            break;
        };
        match step {
            Up(bytes) => seen.push(take(at, bytes.len()).await),
            Say(len) => seen.push(take(at, *len).await),
            Ask(_) => {}
            Down(bytes) => {
                send(at, bytes, piece).await;
                seen.push(take(&mut client, bytes.len()).await);
            }
            OriginCloses | OriginResets => {
                if matches!(step, OriginResets) {
                    at.set_zero_linger().unwrap();
                }
                origin = None;
                seen.push(rest(&mut client).await);
                break;
            }
        }
    }
    drop(client);
    if let Some(mut origin) = origin {
        seen.push(rest(&mut origin).await);
    }
    let attempts = rig.stop().await;
    (seen, attempts.iter().map(|attempt| attempt.end).collect())
}

/// What a script says that must be seen.
fn wanted(script: &[Step]) -> Seen {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut asked = Vec::new();
    let mut wanted: Seen = Vec::new();
    for step in script {
        match step {
            Up(bytes) | Down(bytes) => wanted.push(text(bytes)),
            Ask(bytes) => asked.extend_from_slice(bytes),
            Say(len) => wanted.push(text(&asked.drain(..*len).collect::<Vec<_>>())),
            OriginCloses => wanted.push(" and the end".to_owned()),
            OriginResets => wanted.push(" and a reset".to_owned()),
        }
    }
    if !matches!(script.last(), Some(OriginCloses | OriginResets)) {
        wanted.push(" and the end".to_owned());
    }
    wanted
}

/// All ways show the same, which is what the script says; and every exchange was observed.
async fn conforms(name: &str, exchanges: usize, script: &[Step]) {
    let wanted = wanted(script);
    let (direct, none) = play(script, Way::Direct).await;
    assert_eq!(direct, wanted, "{name}: directly");
    assert_eq!(none, []);
    let long = script.iter().any(|step| match step {
        Up(bytes) | Down(bytes) | Ask(bytes) => bytes.len() > 20_000,
        Say(_) | OriginCloses | OriginResets => false,
    });
    for piece in [usize::MAX, if long { 9973 } else { 3 }] {
        let (through, ends) = play(script, Way::Through { piece }).await;
        assert_eq!(through, wanted, "{name}: in pieces of {piece}");
        assert_eq!(ends.len(), exchanges, "{name}: {ends:?}");
        let fate = match script.last() {
            Some(OriginResets) => AttemptEnd::UpstreamFailed,
            _ => AttemptEnd::Answered,
        };
        assert_eq!(ends.last(), Some(&fate), "{name}: {ends:?}");
    }
}

/// One request with its answer, and another one after it on the same connection.
async fn exchange(name: &str, request: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
    let script = [up(request), down(answer), up(GET), down(OK)];
    conforms(name, 2, &script).await;
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const CHUNKED: &str = "5;a=\"b;c\";d\r\nhello\r\n00A \t;x\r\n0123456789\r\n1\r\n\n\r\n000;last\r\nX-Sum: 7\r\nx-sum: 8\r\nEmpty:\r\n\r\n";

#[tokio::test]
async fn bodies_in_chunks_pass_with_extensions_and_trailers() {
    for coding in [
        "chunked",
        "Chunked",
        "gzip, chunked",
        "gzip\r\nTE: trailers\r\ntransfer-encoding: chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: {coding}\r\nTrailer: X-Sum\r\n\r\n{CHUNKED}"
        );
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n{CHUNKED}");
        exchange(coding, request, answer).await;
    }
    let empty = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    exchange(
        "no chunk",
        empty,
        "HTTP/1.1 200 \r\ntransfer-encoding:chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    let large: String = (1..400)
        .map(|n| format!("{n:x}\r\n{}\r\n", "c".repeat(n)))
        .collect();
    let large = format!(
        "Transfer-Encoding: chunked\r\n\r\n{large}10000\r\n{}\r\n0\r\n\r\n",
        "d".repeat(65_536)
    );
    exchange(
        "many chunks",
        format!("PUT / HTTP/1.1\r\n{large}"),
        format!("HTTP/1.1 200 OK\r\n{large}"),
    )
    .await;
}

#[tokio::test]
async fn answers_without_a_body_pass_whatever_their_headers_say() {
    let head = "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n";
    for (request, answer) in [
        (head, "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"),
        (
            head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (head, "HTTP/1.1 404 No\r\n\r\n"),
        (
            head,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n",
        ),
        (GET, "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 700\r\n\r\n",
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            GET,
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            PUT,
            "HTTP/1.1 201 Created\r\nLocation: /b/k\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        exchange(answer, request, answer).await;
    }
    let answers = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let script = [
        Ask([head, GET].concat().into()),
        Say(head.len()),
        down(answers),
        Say(GET.len()),
        down(format!("{answers}hello")),
    ];
    conforms("HEAD before GET in one piece", 2, &script).await;
}

#[tokio::test]
async fn heads_keep_order_case_and_every_byte() {
    let requests: [&[u8]; 12] = [
        b"GET / HTTP/1.1\r\nB: 2\r\na: 1\r\nb: 3\r\nB:2\r\nCookie: a=1\r\nA:\t 1 \t\r\nCookie: b=2\r\n\r\n",
        b"get /lower HTTP/1.1\r\nhOsT: x\r\nhost: y\r\n\r\n",
        b"PROPFIND /a//b/../%2e%2E/;p=1?x=%2F&&y=;?#f HTTP/1.1\r\nDepth: 1\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\n\r\n",
        b"X!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nx!#$%&'*+-.^_`|~9: v\r\n\r\n",
        b"GET http://user@other:81/abs?q HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
        b"GET /\xc3\xa4{}|\\^`\"<> HTTP/1.1\r\nX: \xe4\xff\x80 caf\xc3\xa9\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\nA: b\n\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"DELETE / HTTP/1.1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: gzip\r\nVia: 1.1 x\r\nConnection: keep-alive, TE\r\n\r\n",
    ];
    for request in requests {
        exchange(&request.escape_ascii().to_string(), request, OK).await;
    }
    let answers: [&[u8]; 8] = [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nVary: x\r\nset-cookie: b=2\r\nSET-COOKIE:c=3\r\nvary: y\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 299 Caf\xe9 \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nX: \xe4\xff\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX-Old: a\r\n folded\r\n\tagain\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Space : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\ncontent-length: 2\r\nServer: y\r\nDate: never\r\n\r\nok",
    ];
    for answer in answers {
        exchange(&answer.escape_ascii().to_string(), GET, answer).await;
    }
}

#[tokio::test]
async fn interim_answers_pass_each_in_its_turn() {
    let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let chunked = "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    let go_on = down("HTTP/1.1 100 Continue\r\n\r\n");
    let script = [
        up(head),
        go_on.clone(),
        up("hello"),
        down(OK),
        up(GET),
        down(OK),
    ];
    conforms("permission", 2, &script).await;
    let script = [
        up(chunked),
        go_on.clone(),
        up("1\r\nx\r\n"),
        up("0\r\n\r\n"),
        down(OK),
        up(GET),
        down(OK),
    ];
    conforms("permission for chunks", 2, &script).await;
    conforms(
        "no permission waited for",
        2,
        &[
            up(head),
            up("hello"),
            go_on.clone(),
            down(OK),
            up(GET),
            down(OK),
        ],
    )
    .await;
    let refused = down("HTTP/1.1 417 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    conforms(
        "permission refused",
        1,
        &[up(head), refused.clone(), OriginCloses],
    )
    .await;
    let kept = down("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    conforms(
        "refused, and sent all the same",
        2,
        &[up(head), kept, up("hello"), up(GET), down(OK)],
    )
    .await;
    let other = "PUT / HTTP/1.1\r\nExpect: the best\r\nContent-Length: 5\r\n\r\nhello";
    conforms(
        "another expectation",
        1,
        &[up(other), refused, OriginCloses],
    )
    .await;
    let hints = down("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n");
    let working = down("HTTP/1.1 102 Processing\r\n\r\n");
    let script = [
        up(head),
        go_on,
        hints.clone(),
        up("hello"),
        working,
        hints.clone(),
        hints,
        down(OK),
        up(GET),
        down(OK),
    ];
    conforms("all of them", 2, &script).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let all = [GET, PUT, "HEAD / HTTP/1.1\r\n\r\n", GET];
    let script = [
        Ask(all.concat().into()),
        Say(GET.len()),
        down("HTTP/1.1 200 1\r\nContent-Length: 3\r\n\r\none"),
        Say(PUT.len()),
        down("HTTP/1.1 204 2\r\n\r\n"),
        Say(all[2].len()),
        down("HTTP/1.1 200 3\r\nContent-Length: 3\r\n\r\n"),
        Say(GET.len()),
        down("HTTP/1.1 200 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ];
    conforms("four at once", 4, &script).await;
    let script = [Ask(GET.repeat(60).into())].into_iter();
    let each = (0..60).flat_map(|_| [Say(GET.len()), down(OK)]);
    conforms("sixty at once", 60, &script.chain(each).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn connections_persist_or_end_as_both_sides_say() {
    let close = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    conforms(
        "the client closes",
        1,
        &[
            up(close),
            down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
            OriginCloses,
        ],
    )
    .await;
    conforms(
        "the origin closes",
        1,
        &[
            up(GET),
            down("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
            OriginCloses,
        ],
    )
    .await;
    conforms(
        "until it closes",
        1,
        &[
            up(GET),
            down("HTTP/1.1 200 OK\r\n\r\nall "),
            down("there is"),
            OriginCloses,
        ],
    )
    .await;
    conforms(
        "coded until it closes",
        1,
        &[
            up(GET),
            down("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbytes"),
            OriginCloses,
        ],
    )
    .await;
    conforms(
        "nothing until it closes",
        1,
        &[up(GET), down("HTTP/1.0 200 OK\r\n\r\n"), OriginCloses],
    )
    .await;
    let old = "GET / HTTP/1.0\r\n\r\n";
    conforms(
        "an old client",
        1,
        &[
            up(old),
            down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            OriginCloses,
        ],
    )
    .await;
    conforms(
        "an old origin",
        1,
        &[
            up(GET),
            down("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            OriginCloses,
        ],
    )
    .await;
    let keeps = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    conforms(
        "both old, and both keep it",
        2,
        &[up(keeps), down(kept), up(keeps), down(kept)],
    )
    .await;
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
    conforms(
        "reset within the answer",
        1,
        &[up(GET), down(part), OriginResets],
    )
    .await;
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    conforms(
        "reset within a chunk",
        1,
        &[up(GET), down(chunk), OriginResets],
    )
    .await;
    let early = [
        up("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello"),
        down(OK),
        up("world"),
        up(GET),
        down(OK),
    ];
    conforms("an answer before the request's end", 2, &early).await;
}

#[tokio::test]
async fn upgrades_and_tunnels_carry_anything_once_they_are_granted() {
    let upgrade = |to: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {to}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let granted = |to: &str| {
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n")
    };
    for to in ["websocket", "own/2, other", "h2c"] {
        let script = [
            up(upgrade(to)),
            down(format!("{}\x01first bytes", granted(to))),
            up("GET / HTTP/1.1\r\nno request: at all"),
            down(b"\xff\x00\r\n\r\nHTTP/1.1 no answer"),
            up(vec![7; 200_000]),
            down(vec![8; 200_000]),
            OriginCloses,
        ];
        conforms(to, 1, &script).await;
    }
    exchange(
        "declined",
        upgrade("websocket"),
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno",
    )
    .await;
    exchange("ignored", upgrade("websocket"), OK).await;
    let connect = "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n";
    // What its headers say of a body means nothing (RFC 9110, 9.3.6).
    let yes = "HTTP/1.1 200 Yes\r\nContent-Length: 5\r\n\r\n";
    let script = [
        up(connect),
        down(yes),
        up("\x16\x03\x01"),
        down("\x16\x03\x03"),
        OriginCloses,
    ];
    conforms("a tunnel", 1, &script).await;
    for no in [
        "HTTP/1.1 405 No\r\nAllow: GET\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ] {
        exchange("a tunnel that the origin refuses", connect, no).await;
    }
}

#[tokio::test]
async fn heads_and_bodies_pass_up_to_their_limits() {
    let frame = |first: &str, len: usize| {
        let shell = format!("{first}X: \r\nContent-Length: 0\r\n\r\n").len();
        format!(
            "{first}X: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(len - shell)
        )
    };
    let (request, answer) = ("PUT / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n");
    exchange(
        "the largest heads",
        frame(request, HEAD_BYTES_MAX),
        frame(answer, HEAD_BYTES_MAX),
    )
    .await;
    let many = "A: b\r\n".repeat(HEADERS_MAX - 1);
    let many = |first: &str| format!("{first}{many}Content-Length: 0\r\n\r\n");
    exchange("the most headers", many(request), many(answer)).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(60_000));
    exchange("a long target", long, OK).await;
    let body = "b".repeat(3_000_000);
    let body = format!("Content-Length: 3000000\r\n\r\n{body}");
    exchange(
        "a large body",
        format!("{request}{body}"),
        format!("{answer}{body}"),
    )
    .await;
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(16_000));
    let extension = format!("Transfer-Encoding: chunked\r\n\r\n{extension}");
    exchange(
        "a long extension",
        format!("{request}{extension}"),
        format!("{answer}{extension}"),
    )
    .await;
}

/// What is refused before the dependency sees anything of it, with the status. A bystander's
/// request that hides behind it never gets anywhere either.
const REFUSED: &[(&str, u16)] = &[
    // Framing that two parsers read in two ways.
    (
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        400,
    ),
    ("POST / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: 5.0\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length:\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nContent-Length: 5,\r\n\r\nhello", 400),
    (
        "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    // Heads that are none.
    ("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n A: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nA\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nA: b\rB: c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nA\0: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nA(b): c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nÄ: b\r\n\r\n", 400),
    ("GET /\0 HTTP/1.1\r\n\r\n", 400),
    ("GET /a b HTTP/1.1\r\n\r\n", 400),
    ("GET\t/ HTTP/1.1\r\n\r\n", 400),
    ("GET /\r\n\r\n", 400),
    ("GET / http/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.2\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\n\r\n", 400),
    ("GET / HTTP/11\r\n\r\n", 400),
    ("G(T / HTTP/1.1\r\n\r\n", 400),
    ("\x16\x03\x01\x02\0\x01\0\x01\u{7f}", 400),
];

const BYSTANDER: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_seen_by_nobody_and_observed() {
    let mut too_large = vec![
        (
            format!(
                "GET / HTTP/1.1\r\nA: {}\r\n\r\n",
                "x".repeat(HEAD_BYTES_MAX)
            ),
            431,
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(HEAD_BYTES_MAX)),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\n{}\r\n",
                "A: b\r\n".repeat(HEADERS_MAX + 1)
            ),
            431,
        ),
    ];
    too_large.extend(
        REFUSED
            .iter()
            .map(|(request, status)| ((*request).to_owned(), *status)),
    );
    let mut rig = Rig::new(Protocol::Http).await;
    for (request, status) in &too_large {
        let mut client = rig.client().await;
        client.send([request, BYSTANDER].concat()).await;
        let reason = if *status == 431 {
            "Request Header Fields Too Large"
        } else {
            "Bad Request"
        };
        assert_eq!(
            client.rest().await,
            format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "{request}"
        );
        let attempt = rig.attempt().await;
        assert_eq!(
            (&*attempt.operation, attempt.status),
            ("malformed", Some(*status)),
            "{request}"
        );
        assert_eq!(
            (attempt.applied, attempt.end),
            (Applied::No, AttemptEnd::Answered)
        );
        assert!(!attempt.key.is_empty(), "it says why");
    }
    let asked = tokio::time::timeout(Duration::from_millis(20), rig.upstream.accept());
    assert!(asked.await.is_err(), "the dependency was never dialled");
    assert_eq!(rig.stop().await, []);
}

#[tokio::test]
async fn a_body_whose_chunks_two_parsers_read_differently_ends_there() {
    let chunks = [
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1g\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        ";a\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1;a\nx\r\n0\r\n\r\n",
        "1\r\rx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx\r\n0\r\nA: b\n\r\n",
        "1\r\nx\r\n0\r\n\n",
        "00000000000000001\r\nx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
    ];
    let long = [
        format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(20_000)),
        format!("1\r\nx\r\n0\r\n{}\r\n", "T: t\r\n".repeat(12_000)),
    ];
    let mut rig = Rig::new(Protocol::Http).await;
    for chunks in chunks.iter().map(|chunks| (*chunks).to_owned()).chain(long) {
        let mut client = rig.client().await;
        let head = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send([head, &chunks, BYSTANDER].concat()).await;
        let mut origin = rig.accept().await.0;
        let passed = rest(&mut origin).await;
        assert!(!passed.contains("smuggled"), "{chunks}: {passed}");
        drop(origin);
        let answer = client.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{chunks}: {answer}"
        );
        let attempt = rig.attempt().await;
        assert_eq!(
            (attempt.status, attempt.applied),
            (Some(400), Applied::No),
            "{chunks}"
        );
    }
}

#[tokio::test]
async fn an_answer_whose_head_is_too_large_is_refused_and_not_cut_off() {
    let mut rig = Rig::new(Protocol::Http).await;
    for answer in [
        format!(
            "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        ),
        format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX + 1)
        ),
    ] {
        let mut client = rig.client().await;
        client.send(GET).await;
        let mut origin = rig.accept().await;
        origin.expect(GET).await;
        // As much as is taken; the rest finds nobody.
        let _ = origin.0.write_all(answer.as_bytes()).await;
        assert_eq!(
            client.rest().await,
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let attempt = loop {
            match soon("an observation", rig.observed.recv()).await {
                Some(Observation::Attempt(attempt)) => break attempt,
                Some(_) => {}
                None => panic!("the recorder is gone"),
            }
        };
        assert_eq!(
            (attempt.status, attempt.end),
            (Some(502), AttemptEnd::UpstreamFailed)
        );
        let connection = loop {
            if let Some(Observation::Connection(connection)) = soon("it", rig.observed.recv()).await
            {
                break connection;
            }
        };
        assert!(
            connection.how.contains("64 KiB or 128 headers"),
            "{}",
            connection.how
        );
    }
}

#[tokio::test]
async fn a_script_that_is_not_kept_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut origin, _) = listener.accept().await.unwrap();
    send(&mut client, b"abc", 2).await;
    assert_eq!(take(&mut origin, 2).await, "ab");
    drop(client);
    assert_eq!(take(&mut origin, 5).await, "c and the end");
}
