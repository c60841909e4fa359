//! Heads of HTTP/1.x requests and answers: where they end and how their bodies are framed.
//!
//! A head is only looked at, never written anew: what is forwarded are the bytes as received. No
//! sockets here; an incomplete head is a normal answer. Framing that two parsers could read in
//! two ways is refused, because a proxy in the middle must not decide which of them is right.

use std::mem::MaybeUninit;

/// The most bytes of a head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most headers of a head.
pub const HEADERS_MAX: usize = 128;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk and the trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It is not HTTP/1.x.
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    /// It is longer than [`HEAD_BYTES_MAX`] or has more than [`HEADERS_MAX`] headers.
    #[error("head larger than 64 KiB or 128 headers")]
    TooLarge,
    /// Its framing can be read in two ways.
    #[error("ambiguous framing: {0}")]
    Ambiguous(&'static str),
}

impl BadHead {
    /// The status that tells the client.
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            Self::TooLarge => (431, "Request Header Fields Too Large"),
            Self::Malformed(_) | Self::Ambiguous(_) => (400, "Bad Request"),
        }
    }
}

/// What the engine needs to know of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// The head's bytes, empty lines before it included.
    pub len: usize,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the method is HEAD: the answer has no body.
    pub is_head: bool,
    /// Whether the method is GET.
    pub is_get: bool,
    /// Whether the method is CONNECT.
    pub is_connect: bool,
    /// Whether the version is 1.0: the client knows no chunks.
    pub is_http10: bool,
    /// Whether the client keeps the connection after the answer.
    pub keeps_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// What the engine needs to know of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The head's bytes.
    pub len: usize,
    /// The status.
    pub status: u16,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the dependency keeps the connection after the answer.
    pub keeps_alive: bool,
}

impl ResponseFacts {
    /// Whether a final answer is still to come after this one.
    pub const fn is_interim(&self) -> bool {
        self.status >= 100 && self.status < 200 && self.status != 101
    }
}

/// Reads a request's head and hands it to `look`. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// A head that is malformed, too large, or whose framing is ambiguous.
pub fn read_request<T>(
    bytes: &[u8],
    look: impl FnOnce(&httparse::Request<'_, '_>, RequestFacts) -> T,
) -> Result<Option<T>, BadHead> {
    if bytes.is_empty() {
        return Ok(None);
    }
    // They are many, and mostly few are there: none is made before it is needed.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers);
    let Some(len) = completed(parsed, bytes)? else {
        return Ok(None);
    };
    let method = request.method.unwrap_or_default();
    let minor = request.version.unwrap_or(1);
    let facts = Facts::read(request.headers)?;
    let framing = facts.of_request(minor)?;
    let facts = RequestFacts {
        len,
        framing,
        is_head: method == "HEAD",
        is_get: method == "GET",
        is_connect: method == "CONNECT",
        is_http10: minor == 0,
        keeps_alive: facts.keeps_alive(minor),
        expects_continue: facts.expects_continue && minor >= 1 && framing != Framing::None,
    };
    Ok(Some(look(&request, facts)))
}

/// Hands the first line and the headers that are whole of a request's head that broke off to `look`.
///
/// # Errors
/// Not even the first line is there, or what is there is malformed.
pub fn read_beginning<T>(
    bytes: &[u8],
    look: impl FnOnce(&httparse::Request<'_, '_>) -> T,
) -> Result<T, BadHead> {
    let broke_off = BadHead::Malformed("first line");
    let lines = bytes.windows(2).rposition(|end| end == b"\r\n");
    let lines = lines.ok_or(broke_off)? + 2;
    let whole = [&bytes[..lines], b"\r\n"].concat();
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    completed(request.parse(&whole), &whole)?.ok_or(broke_off)?;
    Ok(look(&request))
}

/// Reads an answer's head and hands it to `look`. Old line folding and spaces before a colon are
/// let through, as the client is to judge them. `Ok(None)`: more bytes are needed.
///
/// # Errors
/// A head that is malformed, too large, or whose framing is ambiguous.
pub fn read_response<T>(
    bytes: &[u8],
    to: &RequestFacts,
    look: impl FnOnce(&httparse::Response<'_, '_>, ResponseFacts) -> T,
) -> Result<Option<T>, BadHead> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    let Some(len) = completed(parsed, bytes)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let minor = response.version.unwrap_or(1);
    let facts = Facts::read(response.headers)?;
    let facts = ResponseFacts {
        len,
        status,
        framing: facts.of_response(status, to)?,
        // Both framings at once: chunks count, and nothing may follow that could be read otherwise.
        keeps_alive: facts.keeps_alive(minor) && !(facts.has_coding && facts.length.is_some()),
    };
    Ok(Some(look(&response, facts)))
}

fn completed(
    parsed: Result<httparse::Status<usize>, httparse::Error>,
    bytes: &[u8],
) -> Result<Option<usize>, BadHead> {
    match parsed {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_BYTES_MAX => Ok(Some(len)),
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(BadHead::TooLarge),
        Err(error) => Err(BadHead::Malformed(match error {
            httparse::Error::HeaderName => "header name",
            httparse::Error::HeaderValue => "header value",
            httparse::Error::NewLine => "line end",
            httparse::Error::Status => "status",
            httparse::Error::Version => "version",
            _ => "first line",
        })),
    }
}

/// What the headers say about framing and persistence.
#[derive(Debug, Default)]
struct Facts {
    length: Option<u64>,
    has_coding: bool,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
    expects_continue: bool,
}

impl Facts {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, BadHead> {
        let mut facts = Self::default();
        for header in headers {
            // Lengths differ, so that most headers cost one comparison of numbers.
            match header.name.len() {
                6 if header.name.eq_ignore_ascii_case("expect") => {
                    facts.expects_continue |= header.value.eq_ignore_ascii_case(b"100-continue");
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    facts.says_close |= has_token(header.value, "close");
                    facts.says_keep_alive |= has_token(header.value, "keep-alive");
                }
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    facts.add_lengths(header.value)?;
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    facts.add_codings(header.value)?;
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    fn add_lengths(&mut self, value: &[u8]) -> Result<(), BadHead> {
        for part in value.split(|byte| *byte == b',') {
            let length = decimal(part.trim_ascii())
                .ok_or(BadHead::Ambiguous("Content-Length is not a number"))?;
            if self.length.is_some_and(|before| before != length) {
                return Err(BadHead::Ambiguous("Content-Length twice, and different"));
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn add_codings(&mut self, value: &[u8]) -> Result<(), BadHead> {
        for part in value.split(|byte| *byte == b',') {
            if self.is_chunked {
                return Err(BadHead::Ambiguous("Transfer-Encoding after chunked"));
            }
            self.has_coding = true;
            self.is_chunked = part.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }

    fn of_request(&self, minor: u8) -> Result<Framing, BadHead> {
        match (self.has_coding, self.length) {
            (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (true, Some(_)) => Err(BadHead::Ambiguous(
                "Content-Length beside Transfer-Encoding",
            )),
            (true, None) if minor == 0 => Err(BadHead::Ambiguous("Transfer-Encoding in HTTP/1.0")),
            (true, None) if !self.is_chunked => Err(BadHead::Ambiguous(
                "Transfer-Encoding that does not end with chunked",
            )),
            (true, None) => Ok(Framing::Chunked),
        }
    }

    fn of_response(&self, status: u16, to: &RequestFacts) -> Result<Framing, BadHead> {
        let is_bodiless = to.is_head || status == 204 || status == 304 || status < 200;
        let is_tunnel = to.is_connect && (200..300).contains(&status);
        match (self.has_coding, self.length) {
            _ if is_bodiless || is_tunnel => Ok(Framing::None),
            (true, _) if self.is_chunked => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            _ => Ok(Framing::UntilClose),
        }
    }

    fn keeps_alive(&self, minor: u8) -> bool {
        !self.says_close && (minor >= 1 || self.says_keep_alive)
    }
}

fn has_token(value: &[u8], token: &str) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Digits alone: a sign, a space or an empty text is no length.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        byte.is_ascii_digit().then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(head: &str) -> Result<Option<RequestFacts>, BadHead> {
        read_request(head.as_bytes(), |_, facts| facts)
    }

    fn framing(headers: &str) -> Result<Framing, BadHead> {
        request(&format!("PUT /a HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
            .map(|facts| facts.expect("a whole head").framing)
    }

    #[test]
    fn a_request_is_framed_by_its_headers() {
        assert_eq!(framing(""), Ok(Framing::None));
        assert_eq!(framing("content-LENGTH: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Content-Length: 5, 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(
            framing("Transfer-Encoding: gzip, Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        assert_eq!(
            framing("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            let refused = framing(headers);
            assert!(
                matches!(refused, Err(BadHead::Ambiguous(_))),
                "{headers:?}: {refused:?}"
            );
        }
        let old = request("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(old, Err(BadHead::Ambiguous(_))), "{old:?}");
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/3.0\r\n\r\n",
            "GET\r\n\r\n",
            "\u{1}\u{2}\u{3}",
        ] {
            let refused = request(head);
            assert!(
                matches!(refused, Err(BadHead::Malformed(_))),
                "{head:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn heads_have_limits() {
        let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(framing(&many), Err(BadHead::TooLarge));
        assert!(framing(&"A: b\r\n".repeat(HEADERS_MAX - 1)).is_ok());
        let long = format!("A: {}\r\n", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(framing(&long), Err(BadHead::TooLarge));
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(request(&endless), Err(BadHead::TooLarge));
        assert_eq!(BadHead::TooLarge.status().0, 431);
    }

    #[test]
    fn a_connection_persists_as_version_and_headers_say() {
        let keeps = |head: &str| request(head).unwrap().unwrap().keeps_alive;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nconnection: te, close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn an_expectation_counts_only_where_a_body_follows() {
        let expects = |head: &str| request(head).unwrap().unwrap().expects_continue;
        assert!(expects(
            "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
        ));
        assert!(!expects("GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n"));
    }

    #[test]
    fn an_answer_is_framed_by_method_status_and_headers() {
        let get = request("GET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        let head = request("HEAD / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        let length = "Content-Length: 7\r\n";
        for (to, status, headers, wanted) in [
            (&get, 200, length, Framing::Length(7)),
            (&get, 200, "", Framing::UntilClose),
            (
                &get,
                200,
                "Transfer-Encoding: chunked\r\n",
                Framing::Chunked,
            ),
            (
                &get,
                200,
                "Transfer-Encoding: gzip\r\n",
                Framing::UntilClose,
            ),
            (&head, 200, length, Framing::None),
            (&head, 200, "Transfer-Encoding: chunked\r\n", Framing::None),
            (&get, 204, "", Framing::None),
            (&get, 304, length, Framing::None),
            (&get, 100, "", Framing::None),
            (&get, 101, "", Framing::None),
        ] {
            let text = format!("HTTP/1.1 {status} \r\n{headers}\r\n");
            let facts = read_response(text.as_bytes(), to, |_, facts| facts);
            let facts = facts.unwrap().unwrap();
            assert_eq!(facts.framing, wanted, "{status} {headers:?}");
            assert_eq!(facts.len, text.len());
            assert_eq!(facts.is_interim(), status == 100);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = read_request(&bytes, |_, facts| facts);
            let get = RequestFacts {
                len: 0, framing: Framing::None, is_head: false, is_get: true,
                is_connect: false, is_http10: false, keeps_alive: true, expects_continue: false,
            };
            let _ = read_response(&bytes, &get, |_, facts| facts);
        }

        #[test]
        fn no_prefix_of_a_head_is_a_head(cut in 0usize..60) {
            let head = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: a\r\n\r\n";
            let cut = cut.min(head.len() - 1);
            prop_assert_eq!(request(&head[..cut]), Ok(None));
        }
    }
}
