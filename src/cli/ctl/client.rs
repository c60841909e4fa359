//! Asks a running server one thing at a time.

use crate::cli::{Exit, Failure, paths::in_words};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// How long the server may take to accept, to take a request, and to answer it.
const WITHIN: Duration = Duration::from_secs(30);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Characters that stand for themselves in a path.
const PLAIN: &[u8] = b"-._~";

/// Where a server is, and what it wants to know.
#[derive(Debug)]
pub struct Client {
    /// As it was given, without its token.
    url: String,
    /// `host:port`.
    authority: String,
    authorization: Option<String>,
}

impl Client {
    /// A client of the server at this URL: `http://host:port`, or `http://any:TOKEN@host:port`.
    pub fn of(url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(
                format!("`{}` is no URL of a server", without_user(url)),
                "write it like http://localhost:8474",
            )
        };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(wrong()),
            None => url,
        };
        let rest = rest.trim_end_matches('/');
        let (user, authority) = rest.rsplit_once('@').unwrap_or(("", rest));
        let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('/') || !is_clean(rest) {
            return Err(wrong());
        }
        let has_port = authority
            .rsplit(']')
            .next()
            .is_some_and(|end| end.contains(':'));
        let port = if has_port {
            String::new()
        } else {
            format!(":{}", crate::control::PORT)
        };
        let basic = (!user.is_empty()).then(|| format!("Basic {}", BASE64_STANDARD.encode(user)));
        let bearer = token.filter(|token| is_clean(token));
        Ok(Self {
            url: without_user(url),
            authority: format!("{authority}{port}"),
            authorization: basic.or(bearer.map(|token| format!("Bearer {token}"))),
        })
    }

    /// Asks, and gives what is answered; null where that is nothing.
    pub fn ask(&self, method: &str, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path: String = path
            .iter()
            .map(|part| format!("/{}", escaped(part)))
            .collect();
        let said = self
            .exchange(method, &path, &body)
            .map_err(|error| self.unreachable(&in_words(&error).to_string()))?;
        let (status, content) = taken_apart(&said)
            .ok_or_else(|| self.unreachable("what answers there does not speak HTTP"))?;
        let answer = match content.trim() {
            "" => Some(Value::Null),
            content => serde_json::from_str(content).ok(),
        };
        if (200..300).contains(&status) {
            return answer.ok_or_else(|| self.unreachable("what answers there is no Toxiproxy"));
        }
        let answer = answer.unwrap_or_default();
        let why = answer["error"].as_str().unwrap_or(content).trim();
        Err(Failure {
            exit: if status < 500 {
                Exit::Usage
            } else {
                Exit::NotStarted
            },
            message: if why.is_empty() {
                format!("the server answers {status}")
            } else {
                why.to_owned()
            },
            hint: (status == 401).then(|| "set BROWNOUT_TOKEN to the server's token".to_owned()),
        })
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure {
            exit: Exit::NotStarted,
            message: format!("cannot ask {}: {why}", self.url),
            hint: Some("start one with `brownout serve`, or name it with --host".to_owned()),
        }
    }

    /// With HTTP/1.0, so that the answer comes whole and ends the connection.
    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.set_write_timeout(Some(WITHIN))?;
        let authorization = match &self.authorization {
            Some(said) => format!("Authorization: {said}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nUser-Agent: brownout-ctl/{}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            env!("CARGO_PKG_VERSION"),
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// To the first of its addresses that accepts.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, WITHIN) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A URL as it may be shown: without who asks, and with what token.
fn without_user(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match before.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://{host}"),
        _ => host.to_owned(),
    }
}

fn escaped(part: &str) -> String {
    let mut text = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The status and the body of an answer.
fn taken_apart(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_urls() {
        let of = |url, token| {
            let client = Client::of(url, token).map_err(|failure| failure.message)?;
            Ok::<_, String>((client.authority, client.authorization.unwrap_or_default()))
        };
        let plain = |authority: &str| Ok((authority.to_owned(), String::new()));
        assert_eq!(of("http://localhost:8474", None), plain("localhost:8474"));
        assert_eq!(of("localhost", None), plain("localhost:8474"));
        assert_eq!(of("http://[::1]/", None), plain("[::1]:8474"));
        let bearer = of("faults:1", Some("secret")).expect("it is right");
        assert_eq!(bearer.1, "Bearer secret");
        let basic = of("http://any:secret@faults:1", None).expect("it is right");
        assert_eq!(
            basic,
            ("faults:1".to_owned(), "Basic YW55OnNlY3JldA==".to_owned())
        );
        for wrong in ["https://x", "http://", "", "http://a/b", "http://a\r\nb"] {
            assert!(of(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_message_holds_the_token() {
        for url in [
            "http://any:s3cret@",
            "https://any:s3cret@h",
            "any:s3://cret@h",
            "http://any:s3/s3@cret@h/s",
        ] {
            let failure = Client::of(url, None).expect_err("it is wrong");
            assert!(!failure.message.contains("s3"), "{}", failure.message);
            assert!(!failure.message.contains("cret"), "{}", failure.message);
        }
        let client = Client::of("http://any:s3cret@localhost:1", None).expect("it is right");
        let message = client.unreachable("x").message;
        assert_eq!(message, "cannot ask http://localhost:1: x");
    }

    #[test]
    fn what_is_no_json_is_no_answer() {
        let answered = |body: &'static str| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("its address"));
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}");
            });
            let client = Client::of(&url, None).expect("it is right");
            client
                .ask("GET", &["proxies"], &Value::Null)
                .map_err(|failure| failure.message)
        };
        assert_eq!(answered(""), Ok(Value::Null));
        assert_eq!(answered("{}\n"), Ok(serde_json::json!({})));
        let page = answered("<html></html>").expect_err("it is a page");
        assert!(page.ends_with("is no Toxiproxy"), "{page}");
    }

    #[test]
    fn names_of_any_letters_stay_one_part_of_the_path() {
        assert_eq!(escaped("a-b_c.1"), "a-b_c.1");
        assert_eq!(escaped("a b/c?ü"), "a%20b%2Fc%3F%C3%BC");
    }

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(
            taken_apart("HTTP/1.0 204 No Content\r\n\r\n"),
            Some((204, ""))
        );
        assert_eq!(
            taken_apart("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"),
            Some((200, "{}"))
        );
        assert_eq!(taken_apart("SSH-2.0-x\r\n\r\n"), None);
    }
}
