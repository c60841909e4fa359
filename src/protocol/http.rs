//! HTTP requests as calls, and the answers that faults make as bytes.
//!
//! What reads heads off a socket and frames bodies is the proxy's; here a head that was read
//! becomes a [`Call`], and a [`Reply`] becomes an [`Answer`] with its status line, headers and
//! body. Nothing here waits or looks at the clock.

use super::{Call, CallTracker, Headers, Protocol, s3};
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
        Protocol::Http | Protocol::Tcp => {
            let path = path.split('?').next().unwrap_or_default();
            (method.into(), path.into())
        }
    };
    let identity = Identity::of(&headers);
    let sdk_id: Option<Arc<str>> = identity.id.map(Arc::from);
    let (occurrence, attempt) = tracker.number(&operation, &key, sdk_id.as_ref(), identity.attempt);
    Call {
        id: format!("{operation} {key} #{occurrence}").into(),
        method: if *method == *operation {
            Arc::clone(&operation)
        } else {
            method.into()
        },
        target: path.into(),
        host: host.into(),
        operation,
        key,
        sdk_id,
        occurrence,
        attempt,
        declared_max: identity.max,
        connection,
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
/// `x-ms-client-request-id` of Microsoft's, whose attempts are not numbered.
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
                "x-ms-client-request-id" if identity.id.is_none() => identity.id = Some(value),
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
        Reply::Empty => Made::Empty,
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
