//! Looks at an instance until it is ready. It does not judge what is answered beyond 2xx.

use super::Readiness;
use crate::dial;
use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The time that one look may take; a look that hangs must not be the last.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The time in which whoever listens accepts.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// How to look, checked once.
#[derive(Debug, Clone)]
pub(super) enum Look {
    Http { authority: String, request: String },
    Port(String),
    None,
}

impl Look {
    /// The look for a readiness; the error is a lower-case fragment.
    pub fn new(ready: &Readiness) -> Result<Self, String> {
        match ready {
            Readiness::Immediately => Ok(Self::None),
            Readiness::Port { address } => match has_host_and_port(address) {
                true => Ok(Self::Port(address.clone())),
                false => Err(format!("`{address}` has no host and port to be ready at")),
            },
            Readiness::Http { url } => {
                let wrong = || format!("`{url}` is not an http:// URL to be ready at");
                let uri: Uri = url.parse().map_err(|_| wrong())?;
                let host = uri.host().ok_or_else(wrong)?;
                if uri.scheme_str() != Some("http") {
                    return Err(wrong());
                }
                Ok(Self::Http {
                    authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
                    request: uri
                        .path_and_query()
                        .map_or_else(|| "/".to_owned(), ToString::to_string),
                })
            }
        }
    }

    /// Where it looks, `HOST:PORT`.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Http { authority, .. } => Some(authority),
            Self::Port(address) => Some(address),
            Self::None => None,
        }
    }

    /// Looks every 50 ms until ready; the error says what the last look saw.
    pub async fn until_ready(&self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            let seen = match timeout(rest.min(LOOK_WITHIN), self.once()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(seen)) => seen,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() + LOOK_EVERY >= until {
                return Err(seen);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn once(&self) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Port(address) => dial::connect(address)
                .await
                .map(drop)
                .map_err(|error| in_words(&error)),
            Self::Http { authority, request } => get(authority, request).await,
        }
    }
}

/// Whether somebody accepts connections at an address just now; `None` where nothing is heard: there
/// is no such host, or whoever listens has no room left.
pub(crate) async fn accepts(address: &str) -> Option<bool> {
    let connected = timeout(CONNECT_WITHIN, dial::connect(address)).await;
    connected.ok().map(|connected| connected.is_ok())
}

fn has_host_and_port(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// One GET on a connection of its own.
async fn get(authority: &str, path: &str) -> Result<(), String> {
    let stream = dial::connect(authority)
        .await
        .map_err(|error| in_words(&error))?;
    let broken = |error: hyper::Error| format!("no HTTP answer: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = http::Request::get(path)
        .header(http::header::HOST, authority)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async { sender.send_request(request).await.map_err(broken) };
    // The connection is polled here and not in a task: it ends with the look.
    let mut answer = pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let status = answer?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("status {}", status.as_u16()))
    }
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// A server that gives one of these answers to each connection, the last for ever.
    async fn answering(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for nth in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let answer = answers[nth.min(answers.len() - 1)];
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        addr
    }

    fn http(addr: SocketAddr) -> Look {
        let url = format!("http://{addr}/healthz");
        Look::new(&Readiness::Http { url }).unwrap()
    }

    const BAD: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    const GOOD: &str = "HTTP/1.1 204 Fine\r\n\r\n";

    #[tokio::test]
    async fn it_is_ready_once_the_url_answers_2xx() {
        let look = http(answering(&["", BAD, GOOD]).await);
        look.until_ready(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_last_look_saw_is_said() {
        let look = http(answering(&[BAD]).await);
        let seen = look.until_ready(Duration::from_millis(200)).await;
        assert_eq!(seen.unwrap_err(), "status 503");
    }

    #[tokio::test]
    async fn a_port_is_ready_when_it_accepts_and_not_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let look = Look::new(&Readiness::Port {
            address: format!("localhost:{}", addr.port()),
        });
        let look = look.unwrap();
        look.until_ready(Duration::from_secs(5)).await.unwrap();
        drop(listener);
        let seen = look.until_ready(Duration::from_millis(120)).await;
        assert_eq!(seen.unwrap_err(), "connection refused");
    }

    #[test]
    fn only_plain_http_urls_can_be_looked_at() {
        for url in ["https://127.0.0.1/", "healthz", "http://", "ftp://x/"] {
            let ready = Readiness::Http {
                url: url.to_owned(),
            };
            assert!(Look::new(&ready).is_err(), "{url}");
        }
        for address in ["web", "web:", ":80", "web:http"] {
            let address = address.to_owned();
            assert!(Look::new(&Readiness::Port { address }).is_err());
        }
    }
}
