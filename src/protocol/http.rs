//! HTTP requests as calls, and the answers that faults make as bytes.
//!
//! What reads heads off a socket and frames bodies is the proxy's; here a head that was read
//! becomes a [`Call`], and a [`Reply`] becomes an [`Answer`] with its status line, headers and
//! body. Nothing here waits or looks at the clock.

use super::{
    Call, CallTracker, Headers, Protocol,
    pusher::{self, Class},
    s3, websocket,
};
use crate::{
    fault::Reply,
    seed::{Seed, name_hash},
};
use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng;
use std::sync::Arc;

/// The methods that a `when` may name as an operation of plain HTTP.
pub const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
];

/// The call that a request's head is an attempt of.
///
/// `target` is as on the wire (HTTP/2: `:path`); of an absolute one, as forward proxies get it,
/// the authority becomes the host. `headers` are in any case, in the order sent; HTTP/2's
/// `:authority` may stand among them and counts as the host.
pub fn identify<'a>(
    protocol: Protocol,
    virtual_host: Option<&str>,
    method: &str,
    target: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    connection: u64,
    tracker: &mut CallTracker,
) -> Call {
    let headers: Headers = headers.into_iter().collect();
    let (authority, path) = split_target(target);
    let host = authority
        .or_else(|| headers.get(":authority"))
        .or_else(|| headers.get("host"))
        .unwrap_or_default();
    let (operation, key): (Arc<str>, Arc<str>) = match protocol {
        Protocol::S3 => {
            let seen = s3::recognise(method, path, host, virtual_host, &headers);
            (seen.operation.into(), seen.resource().into())
        }
        Protocol::Pusher => {
            let path = path.split('?').next().unwrap_or_default();
            let (operation, key) = pusher::recognise_request(method, path);
            (operation.into(), key.into())
        }
        _ => {
            let path = path.split('?').next().unwrap_or_default();
            (method.into(), path.into())
        }
    };
    let identity = Identity::of(&headers);
    let sdk_id: Option<Arc<str>> = identity.id.map(Arc::from);
    let (occurrence, attempt) = tracker.number(&operation, &key, sdk_id.as_ref(), identity.attempt);
    Call {
        id: tracker.name(&operation, &key, occurrence),
        method: if *method == *operation {
            Arc::clone(&operation).into()
        } else {
            method.into()
        },
        target: path.into(),
        host: host.into(),
        table: "".into(),
        operation,
        key,
        sdk_id,
        occurrence,
        attempt,
        declared_max: identity.max,
        connection,
        place: None,
        headers,
    }
}

/// Authority and path of an absolute target, or the target itself.
fn split_target(target: &str) -> (Option<&str>, &str) {
    if target.starts_with('/') {
        return (None, target);
    }
    let Some((_, rest)) = target.split_once("://") else {
        return (None, target);
    };
    match rest.find(['/', '?']) {
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (Some(rest), "/"),
    }
}

/// What a client's SDK says of itself: `amz-sdk-invocation-id` and `amz-sdk-request` of Amazon's,
/// `gccl-invocation-id` and `gccl-attempt-count` within `x-goog-api-client` of Google's,
/// `x-ms-client-request-id` of Microsoft's, whose attempts are not numbered, `x-stainless-retry-count`
/// of OpenAI's and others by the same generator, which count retries and name no call, and
/// `Idempotency-Key`, which is the same for all attempts of one call by its own definition
/// (draft-ietf-httpapi-idempotency-key-header; so sends Stripe's).
struct Identity<'a> {
    id: Option<&'a str>,
    attempt: Option<u32>,
    max: Option<u32>,
}

impl<'a> Identity<'a> {
    fn of(headers: &'a Headers) -> Self {
        let mut identity = Self {
            id: None,
            attempt: None,
            max: None,
        };
        for (name, value) in headers.iter() {
            match name {
                "amz-sdk-invocation-id" => identity.id = Some(value),
                "x-ms-client-request-id" | "idempotency-key" if identity.id.is_none() => {
                    identity.id = Some(value);
                }
                "x-goog-api-client" => {
                    identity.id = identity.id.or(product(value, "gccl-invocation-id"));
                    let count = product(value, "gccl-attempt-count");
                    identity.attempt = identity.attempt.or(count.and_then(positive));
                }
                "x-stainless-retry-count" => {
                    let retries: Option<u32> = value.trim().parse().ok();
                    identity.attempt = retries.and_then(|retries| retries.checked_add(1));
                }
                "amz-sdk-request" => {
                    identity.attempt = parameter(value, "attempt");
                    identity.max = parameter(value, "max");
                }
                _ => {}
            }
        }
        identity
    }
}

/// The version of one product out of `gccl/3.1 gccl-attempt-count/2`.
fn product<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let mut products = value.split_ascii_whitespace();
    products.find_map(|product| product.strip_prefix(name)?.strip_prefix('/'))
}

fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0)
}

/// One number out of `attempt=1; max=3`.
fn parameter(value: &str, name: &str) -> Option<u32> {
    value.split(';').find_map(|part| {
        let (known, number) = part.split_once('=')?;
        let number = (known.trim() == name).then(|| number.trim().parse().ok())?;
        number.filter(|number| *number > 0)
    })
}

/// What makes an answer's ids and date.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The run's seed, from which S3's request ids are derived.
    pub seed: Seed,
    /// The `Date` header, as [`date`] prints it.
    pub date: &'a str,
}

/// A moment as HTTP's `Date` wants it: `Fri, 07 Nov 2025 21:19:55 GMT`.
///
/// A moment before the year 0, which HTTP cannot say, is an empty text.
pub fn date(at: jiff::Timestamp) -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .unwrap_or_default()
}

/// What a fault puts on the wire in an answer's place.
#[derive(Debug, Clone)]
pub enum Made {
    /// An answer.
    Answer(Answer),
    /// Bytes that are none; then the connection is closed.
    Garbage(Bytes),
    /// Nothing; then FIN.
    Empty,
    /// A WebSocket that is accepted and closed again.
    Socket(Refused),
}

/// A WebSocket that a fault accepts and closes with a code of Channels.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The handshake's answer and the frames behind it.
    pub bytes: Bytes,
    /// The code.
    pub code: Arc<str>,
}

/// An answer as it goes on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The reason phrase (HTTP/1.1).
    pub reason: String,
    /// Header names, as cased on the wire, and values, framing included.
    pub headers: Vec<(String, String)>,
    /// The body; not sent in answer to HEAD and with statuses that have none.
    pub body: Bytes,
    /// Whether the connection is closed after it.
    pub close: bool,
    /// Whether the body is chunked (HTTP/1.1).
    pub chunked: bool,
    /// The protocol's own error code in it.
    pub code: Option<Arc<str>>,
    /// Whether the request allows a body in the answer.
    has_body: bool,
}

/// The answer that a fault asked for, to this request.
pub fn make(reply: &Reply, call: &Call, stamp: &Stamp<'_>) -> Made {
    match reply {
        Reply::Garbage(bytes) => Made::Garbage(bytes.clone()),
        // Errors of other protocols are no answers here; no file can ask for them.
        Reply::Empty | Reply::Nothing | Reply::Redis { .. } | Reply::Mysql { .. } => Made::Empty,
        Reply::Pusher {
            code,
            reason,
            in_close,
        } => refused(*code, reason, *in_close, call, stamp),
        // No fault on HTTP speaks another protocol; nothing is said then.
        Reply::Postgres(_) => Made::Empty,
        Reply::Http {
            status,
            reason,
            headers,
            body,
            close,
            chunked,
        } => Made::Answer(plain(
            *status, reason, headers, body, *close, *chunked, call, stamp,
        )),
        Reply::S3 {
            code,
            status,
            headers,
            in_200,
            close,
        } => {
            let status = if *in_200 { Some(200) } else { *status };
            let close = close.or(in_200.then_some(false));
            Made::Answer(s3_error(code, status, headers, close, call, stamp))
        }
    }
}

/// The answer to a WebSocket's handshake, with the code in an error and in a close frame, or in the
/// latter alone. A request that is no handshake is answered 403, or 503 where the code says to
/// come back later, with the reason.
fn refused(code: u16, reason: &str, in_close: bool, call: &Call, stamp: &Stamp<'_>) -> Made {
    let Some(key) = call.headers.get("sec-websocket-key") else {
        let body = Bytes::from(format!("{reason}\n"));
        let text = ("Content-Type".to_owned(), "text/plain".to_owned());
        let status = match pusher::class_of(code) {
            Some(Class::BackOff | Class::ReconnectAtOnce) => 503,
            _ => 403,
        };
        let reason = reason_of(status);
        let answer = plain(status, reason, &[text], &body, false, false, call, stamp);
        return Made::Answer(answer);
    };
    let mut bytes = BytesMut::new();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        websocket::accept_key(key)
    );
    bytes.put_slice(head.as_bytes());
    bytes.put_slice(&pusher::goodbye(code, reason, in_close));
    Made::Socket(Refused {
        bytes: bytes.freeze(),
        code: code.to_string().into(),
    })
}

#[allow(clippy::too_many_arguments)]
fn plain(
    status: u16,
    reason: &str,
    extra: &[(String, String)],
    body: &Bytes,
    close: bool,
    chunked: bool,
    call: &Call,
    stamp: &Stamp<'_>,
) -> Answer {
    let mut headers = Vec::with_capacity(extra.len() + 3);
    let given = |name: &str| {
        extra
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    if !given("date") {
        headers.push(("Date".to_owned(), stamp.date.to_owned()));
    }
    headers.extend(extra.iter().cloned());
    let bodiless = matches!(status, 204 | 304);
    if chunked && !bodiless {
        headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
    } else if !bodiless && !given("content-length") {
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    if close && !given("connection") {
        headers.push(("Connection".to_owned(), "close".to_owned()));
    }
    Answer {
        status,
        reason: reason.to_owned(),
        headers,
        body: body.clone(),
        close,
        chunked,
        code: None,
        has_body: *call.method != *"HEAD" && !bodiless,
    }
}

/// S3's headers in the order in which S3 sends them.
fn s3_error(
    code: &str,
    status: Option<u16>,
    extra: &[(String, String)],
    close: Option<bool>,
    call: &Call,
    stamp: &Stamp<'_>,
) -> Answer {
    // A code that is not S3's is kept out when the file is read.
    let def = s3::find_error(code).unwrap_or(&s3::ERRORS[0]);
    let status = status.unwrap_or(def.status);
    let close = close.unwrap_or(def.close);
    let (request_id, host_id) = s3_ids(stamp.seed, call);
    let asked = s3::Asked {
        method: &call.method,
        target: &call.target,
        host: &call.host,
        resource: &call.key,
        headers: &call.headers,
        date: stamp.date,
    };
    let body = s3::error_body(def, &asked, &request_id, &host_id);
    let mut headers = vec![
        ("x-amz-request-id".to_owned(), request_id),
        ("x-amz-id-2".to_owned(), host_id),
    ];
    headers.extend(extra.iter().cloned());
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    add("Content-Type", "application/xml");
    add("Transfer-Encoding", "chunked");
    add("Date", stamp.date);
    if close {
        add("Connection", "close");
    }
    add("Server", "AmazonS3");
    Answer {
        status,
        reason: if status == def.status {
            def.reason.to_owned()
        } else {
            reason_of(status).to_owned()
        },
        headers,
        body: body.into(),
        close,
        chunked: true,
        code: Some(def.code.into()),
        has_body: *call.method != *"HEAD",
    }
}

/// The reason phrase that goes with a status, empty where the status has none.
pub fn reason_of(status: u16) -> &'static str {
    ::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

/// S3's request id (16 upper-case letters and digits) and host id (base64 of 56 bytes): a
/// function of the seed and the attempt, so that a run repeats them.
fn s3_ids(seed: Seed, call: &Call) -> (String, String) {
    const UPPER: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = seed.generator(name_hash(&["s3 ids", &call.id]), u64::from(call.attempt));
    let mut letter = |letters: &[u8]| {
        let at = random.next_u32() as usize % letters.len();
        char::from(letters[at])
    };
    let request_id = (0..16).map(|_| letter(UPPER)).collect();
    let mut host_id: String = (0..74).map(|_| letter(BASE64)).collect();
    // The last letter of a group with one byte of padding carries four bits.
    let last: Vec<u8> = BASE64.iter().copied().step_by(4).collect();
    host_id.push(letter(&last));
    host_id.push('=');
    (request_id, host_id)
}

impl Answer {
    /// The body that is really sent: none in answer to HEAD.
    pub fn body_sent(&self) -> Bytes {
        if self.has_body {
            self.body.clone()
        } else {
            Bytes::new()
        }
    }

    /// The whole answer as HTTP/1.1 bytes. To a client of HTTP/1.0, which knows no chunks, send
    /// [`Answer::without_chunks`].
    pub fn http1(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(512 + self.body.len());
        bytes.put_slice(format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).as_bytes());
        for (name, value) in &self.headers {
            bytes.put_slice(name.as_bytes());
            bytes.put_slice(b": ");
            bytes.put_slice(value.as_bytes());
            bytes.put_slice(b"\r\n");
        }
        bytes.put_slice(b"\r\n");
        let body = self.body_sent();
        if !self.chunked {
            bytes.put_slice(&body);
        } else if self.has_body {
            if !body.is_empty() {
                bytes.put_slice(format!("{:x}\r\n", body.len()).as_bytes());
                bytes.put_slice(&body);
                bytes.put_slice(b"\r\n");
            }
            bytes.put_slice(b"0\r\n\r\n");
        }
        bytes.freeze()
    }

    /// The same answer with `Content-Length` in place of chunks.
    #[must_use]
    pub fn without_chunks(mut self) -> Self {
        if self.chunked {
            self.chunked = false;
            for (name, value) in &mut self.headers {
                if name.eq_ignore_ascii_case("transfer-encoding") {
                    "Content-Length".clone_into(name);
                    *value = self.body.len().to_string();
                }
            }
        }
        self
    }

    /// The headers for HTTP/2: names in lower case, without those that concern a connection.
    pub fn http2_headers(&self) -> Vec<(String, String)> {
        const CONNECTION: &[&str] = &[
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
        ];
        self.headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| !CONNECTION.contains(&name.as_str()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(protocol: Protocol, target: &str, headers: &[(&str, &str)]) -> Call {
        let mut tracker = CallTracker::default();
        let headers = headers.iter().copied();
        identify(protocol, None, "PUT", target, headers, 4, &mut tracker)
    }

    #[test]
    fn a_put_of_botocore_is_a_call_with_its_attempts() {
        let mut tracker = CallTracker::default();
        let mut attempt = |sdk_request: &str| {
            let headers = [
                ("Host", "127.0.0.1:31385"),
                ("amz-sdk-invocation-id", "a89b975d"),
                ("amz-sdk-request", sdk_request),
            ];
            let target = "/models/dir/k%201";
            identify(Protocol::S3, None, "PUT", target, headers, 4, &mut tracker)
        };
        let first = attempt("attempt=1; max=3");
        assert_eq!(&*first.operation, "PutObject");
        assert_eq!(&*first.key, "models/dir/k 1");
        assert_eq!(&*first.target, "/models/dir/k%201");
        assert_eq!(&*first.host, "127.0.0.1:31385");
        assert_eq!(&*first.id, "PutObject models/dir/k 1 #1");
        assert_eq!(first.sdk_id.as_deref(), Some("a89b975d"));
        assert_eq!((first.attempt, first.declared_max), (1, Some(3)));
        let third = attempt("ttl=20261121T231815Z; attempt=3; max=3");
        assert_eq!((third.attempt, third.occurrence), (3, 1));
        assert_eq!(third.id, first.id);
        let legacy = attempt("attempt=4");
        assert_eq!((legacy.attempt, legacy.declared_max), (4, None));
    }

    #[test]
    fn without_an_sdk_every_request_is_its_own_call() {
        let mut tracker = CallTracker::default();
        let mut next = || {
            let headers = [("host", "h")];
            identify(
                Protocol::Http,
                None,
                "GET",
                "/a?b",
                headers,
                1,
                &mut tracker,
            )
        };
        let (one, two) = (next(), next());
        assert_eq!(&*one.id, "GET /a #1");
        assert_eq!(&*two.id, "GET /a #2");
        assert_eq!((&*one.key, &*one.target), ("/a", "/a?b"));
    }

    #[test]
    fn azures_id_groups_attempts_and_amazons_goes_first() {
        let azure = [("x-ms-client-request-id", "m")];
        let call = identified(Protocol::Http, "/a", &azure);
        assert_eq!((call.sdk_id.as_deref(), call.attempt), (Some("m"), 1));
        let both = [("amz-sdk-invocation-id", "a"), azure[0]];
        let call = identified(Protocol::Http, "/a", &both);
        assert_eq!(call.sdk_id.as_deref(), Some("a"));
    }

    #[test]
    fn the_sdks_of_others_name_and_number_their_attempts() {
        let google = "gl-python/3.12 gccl/3.1 gccl-invocation-id/u-1 gccl-attempt-count/2";
        for (headers, id, attempt) in [
            ([("x-goog-api-client", google)], Some("u-1"), 2),
            ([("x-stainless-retry-count", "0")], None, 1),
            ([("x-stainless-retry-count", "2")], None, 3),
            ([("x-stainless-retry-count", "4294967295")], None, 1),
            ([("Idempotency-Key", "k-1")], Some("k-1"), 1),
            ([("x-goog-api-client", "gccl-attempt-count/0")], None, 1),
        ] {
            let call = identified(Protocol::Http, "/a", &headers);
            assert_eq!(
                (call.sdk_id.as_deref(), call.attempt),
                (id, attempt),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn the_host_comes_from_the_target_the_authority_or_the_header() {
        for (target, headers, host, path) in [
            ("/a", vec![("Host", "h")], "h", "/a"),
            ("/a", vec![(":authority", "x"), ("host", "h")], "x", "/a"),
            ("http://y:80/a?b", vec![("Host", "h")], "y:80", "/a?b"),
            ("http://y?b", vec![], "y", "?b"),
            ("http://y", vec![], "y", "/"),
            ("y:443", vec![], "", "y:443"),
            ("/http://y/a", vec![("host", "h")], "h", "/http://y/a"),
        ] {
            let call = identified(Protocol::Http, target, &headers);
            assert_eq!((&*call.host, &*call.target), (host, path), "{target}");
        }
    }

    #[test]
    fn nonsense_in_an_sdks_header_is_not_believed() {
        for value in [
            "",
            "attempt=0",
            "attempt=-1",
            "attempt",
            "max=x; attempt=99999999999",
        ] {
            let call = identified(Protocol::S3, "/b/k", &[("amz-sdk-request", value)]);
            assert_eq!((call.attempt, call.declared_max), (1, None), "{value:?}");
        }
    }

    const STAMP: Stamp<'_> = Stamp {
        seed: Seed(7),
        date: "Fri, 07 Nov 2025 21:19:55 GMT",
    };

    fn s3_call(method: &str) -> Call {
        let headers = [
            ("Host", "models.s3.example.com"),
            ("If-None-Match", "*"),
            ("X-Amz-Date", "20251107T211955Z"),
        ];
        let target = "/dir/k%201?uploadId=u%2F1";
        let mut tracker = CallTracker::default();
        let suffix = Some("s3.example.com");
        identify(
            Protocol::S3,
            suffix,
            method,
            target,
            headers,
            1,
            &mut tracker,
        )
    }

    fn s3_reply(code: &str) -> Reply {
        Reply::S3 {
            code: code.to_owned(),
            status: None,
            headers: Vec::new(),
            in_200: false,
            close: None,
        }
    }

    fn answer(reply: &Reply, call: &Call) -> Answer {
        match make(reply, call, &STAMP) {
            Made::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Bytes as text, one line a CR LF, with every byte that is not printable escaped.
    fn shown(bytes: &[u8]) -> String {
        let text = bytes.escape_ascii().to_string();
        let text = text.replace("\\\"", "\"").replace("\\'", "'");
        text.replace("\\r\\n", "\\r\\n\n")
    }

    #[test]
    fn each_s3_error_is_on_the_wire_as_s3_sends_it() {
        for def in s3::ERRORS {
            let bytes = answer(&s3_reply(def.code), &s3_call("POST")).http1();
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(format!("s3_error_{}", def.code), shown(&bytes));
            });
        }
    }

    #[test]
    fn an_error_in_200_keeps_the_connection() {
        let reply = Reply::S3 {
            code: "InternalError".to_owned(),
            status: None,
            headers: vec![("x-amz-version-id".to_owned(), "3".to_owned())],
            in_200: true,
            close: None,
        };
        let answer = answer(&reply, &s3_call("POST"));
        assert!(!answer.close);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("s3_error_in_200", shown(&answer.http1()));
        });
    }

    #[test]
    fn a_status_in_place_of_the_codes_own_brings_its_reason() {
        let reply = Reply::S3 {
            code: "SlowDown".to_owned(),
            status: Some(429),
            headers: Vec::new(),
            in_200: false,
            close: Some(false),
        };
        let text = shown(&answer(&reply, &s3_call("GET")).http1());
        assert!(
            text.starts_with("HTTP/1.1 429 Too Many Requests\\r\\n"),
            "{text}"
        );
        assert!(!text.contains("Connection"), "{text}");
        assert!(text.contains("<Code>SlowDown</Code>"), "{text}");
    }

    #[test]
    fn head_gets_the_headers_and_no_body() {
        let bytes = answer(&s3_reply("NoSuchKey"), &s3_call("HEAD")).http1();
        assert!(
            bytes.ends_with(b"Server: AmazonS3\r\n\r\n"),
            "{}",
            shown(&bytes)
        );
        let plain = http_reply(503, "overloaded");
        let mut call = s3_call("HEAD");
        let bytes = answer(&plain, &call).http1();
        assert!(
            bytes.ends_with(b"Content-Length: 10\r\nConnection: close\r\n\r\n"),
            "{}",
            shown(&bytes)
        );
        call.method = "GET".into();
        assert!(
            answer(&plain, &call)
                .http1()
                .ends_with(b"\r\n\r\noverloaded")
        );
    }

    fn http_reply(status: u16, body: &'static str) -> Reply {
        Reply::Http {
            status,
            reason: reason_of(status).to_owned(),
            headers: vec![("Retry-After".to_owned(), "2".to_owned())],
            body: body.into(),
            close: true,
            chunked: false,
        }
    }

    #[test]
    fn a_plain_answer_has_date_length_and_close() {
        let bytes = answer(&http_reply(503, "overloaded"), &s3_call("GET")).http1();
        let expected = "HTTP/1.1 503 Service Unavailable\r\n\
            Date: Fri, 07 Nov 2025 21:19:55 GMT\r\n\
            Retry-After: 2\r\n\
            Content-Length: 10\r\n\
            Connection: close\r\n\r\noverloaded";
        assert_eq!(shown(&bytes), shown(expected.as_bytes()));
        let bare = answer(&http_reply(204, ""), &s3_call("GET")).http1();
        assert!(!shown(&bare).contains("Content-Length"));
    }

    #[test]
    fn ids_are_the_attempts_own_and_the_same_in_every_run() {
        let ids = |call: &Call, seed| s3_ids(Seed(seed), call);
        let mut call = s3_call("GET");
        let first = ids(&call, 7);
        assert_eq!(first, ids(&call, 7));
        assert_ne!(first, ids(&call, 8));
        call.attempt = 2;
        assert_ne!(first, ids(&call, 7));
        assert_eq!((first.0.len(), first.1.len()), (16, 76));
        let body = answer(&s3_reply("InternalError"), &call).body_sent();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let second = ids(&call, 7);
        assert!(
            text.contains(&second.0) && text.contains(&second.1),
            "{text}"
        );
    }

    #[test]
    fn http2_and_http10_get_no_chunks() {
        let answer = answer(&s3_reply("SlowDown"), &s3_call("GET"));
        let names: Vec<String> = answer
            .http2_headers()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "x-amz-request-id",
            "x-amz-id-2",
            "content-type",
            "date",
            "server",
        ];
        assert_eq!(names, expected);
        let body = answer.body_sent();
        let bytes = answer.without_chunks().http1();
        assert!(bytes.ends_with(&body));
        assert!(shown(&bytes).contains(&format!("Content-Length: {}\\r\\n", body.len())));
    }

    #[test]
    fn what_is_no_answer_stays_none() {
        let call = s3_call("GET");
        assert!(matches!(make(&Reply::Empty, &call, &STAMP), Made::Empty));
        let garbage = Reply::Garbage(Bytes::from_static(b"\x80"));
        assert!(
            matches!(make(&garbage, &call, &STAMP), Made::Garbage(bytes) if bytes == b"\x80"[..])
        );
    }

    #[test]
    fn dates_are_printed_as_http_wants_them() {
        let at = jiff::Timestamp::from_second(1_762_550_395).unwrap();
        assert_eq!(date(at), STAMP.date);
    }
}
