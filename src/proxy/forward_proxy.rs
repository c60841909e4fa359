//! The forward proxy, for hosts that are wired into libraries: the system finds it in its
//! environment and asks it for hosts, by `CONNECT` or with a whole URL.
//!
//! A host that a dependency lists is led to that dependency's proxy, over a TCP connection like
//! any other, so that everything acts and is observed there: a listener that refuses makes this
//! proxy answer 502, one that does not accept leaves the system waiting for the tunnel, as it
//! would wait at a company's proxy. Resets pass through. A host that nobody lists is refused with
//! 403, or passed on, as the system's file says, and noted either way.
//!
//! In a tunnel bytes pass as they are; TLS is spoken by the dependency's proxy. A request with a
//! whole URL is passed on as a proxy does: with its path alone, without what it said to the proxy,
//! and as the only one of its connection, because the next may be for another host.

use super::{
    door::ACCEPT_PAUSE,
    http::head::{BadHead, HEAD_BYTES_MAX, read_request},
};
use crate::{
    dial,
    history::{Observation, Recorder, Unlisted},
    scenario::{HostPattern, UnlistedHosts},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream, lookup_host},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;

/// The time in which a request's head must come; then the connection is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// The time to connect to a host that is passed on.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Bytes that are under way in each direction of a tunnel: little, as whoever stops reading must
/// be felt at the other end.
const BUFFER_BYTES: usize = 16 * 1024;

/// Headers that speak to the proxy alone, or are said anew.
const OWN_HEADERS: &[&str] = &[
    "proxy-connection",
    "proxy-authorization",
    "connection",
    "keep-alive",
];

/// Where a host leads.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which hosts.
    pub host: HostPattern,
    /// The proxy of their dependency.
    pub to: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    routes: Vec<Route>,
    unlisted: UnlistedHosts,
    recorder: Recorder,
}

/// A running forward proxy. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct ForwardProxy {
    address: SocketAddr,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl ForwardProxy {
    /// Binds an ephemeral loopback port and begins to accept. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn start(
        routes: Vec<Route>,
        unlisted: UnlistedHosts,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            routes,
            unlisted,
            recorder,
        });
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, shared, tasks.clone(), stopping.clone()));
        tasks.close();
        Ok(Self {
            address,
            stopping,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, closes every open connection at once, and frees the port.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stopping: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepting = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            let (client, _) = listener.accept().await.ok()?;
            client.set_nodelay(true).ok()?;
            Some((client, permit))
        };
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            accepted = accepting => accepted,
        };
        match accepted {
            Some((client, permit)) => {
                let served = live(client, Arc::clone(&shared), stopping.clone(), permit);
                tasks.spawn(served);
            }
            None => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn live(
    mut client: TcpStream,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    tokio::select! {
        biased;
        () = stopping.cancelled() => {}
        // A client that is gone needs no answer, and what it did is seen at the dependency.
        _ = shared.serve(&mut client) => {}
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    host: String,
    port: u16,
    /// What is sent on; `None` in a tunnel, where it is the client's own business.
    head: Option<Vec<u8>>,
}

/// Why a head is not served.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Head(BadHead),
    /// It names no host, or a scheme that is not plain HTTP.
    Target,
}

impl Shared {
    async fn serve(&self, client: &mut TcpStream) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + HEAD_WITHIN;
        let mut bytes = Vec::with_capacity(1024);
        let asked = loop {
            match asked(&bytes) {
                Ok(Some(asked)) => break asked,
                Ok(None) => {}
                Err(wrong) => return refuse_wrong(client, &wrong).await,
            }
            if !read_towards_head(client, &mut bytes, deadline).await? {
                return Ok(());
            }
        };
        let (asked, extra) = asked;
        let extra = bytes.split_off(extra);
        let route = self
            .routes
            .iter()
            .find(|route| route.host.matches(&asked.host));
        let connected = match route {
            Some(route) => self.to_dependency(client, route).await,
            None => self.unlisted(&asked).await,
        };
        match connected {
            Ok(upstream) => pass(client, upstream, asked, &extra).await,
            Err(Refused { status, text }) => answer(client, status, &text).await,
        }
    }

    /// Connects to a dependency's proxy for as long as the client waits.
    async fn to_dependency(&self, client: &TcpStream, route: &Route) -> Result<TcpStream, Refused> {
        let connected = tokio::select! {
            connected = TcpStream::connect(route.to) => connected,
            () = left(client) => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        connected.map_err(|error| Refused {
            status: match error.kind() {
                io::ErrorKind::TimedOut => "504 Gateway Timeout",
                _ => "502 Bad Gateway",
            },
            text: format!("{} cannot be reached: {}\n", route.host, error.kind()),
        })
    }

    /// A host that no dependency lists.
    async fn unlisted(&self, asked: &Asked) -> Result<TcpStream, Refused> {
        let host = format!("{}:{}", asked.host, asked.port);
        let connected = match self.unlisted {
            UnlistedHosts::Refuse => Err(None),
            UnlistedHosts::Pass => connect(asked, true).await,
            UnlistedHosts::PassAnywhere => connect(asked, false).await,
        };
        self.recorder.record(Observation::Unlisted(Unlisted {
            at: self.recorder.now(),
            host: host.clone(),
            passed: !matches!(connected, Err(None)),
        }));
        connected.map_err(|error| match error {
            None => Refused {
                status: "403 Forbidden",
                text: format!(
                    "{host} is in no dependency's `hosts`, so that nothing is sent there\n"
                ),
            },
            Some(error) => Refused {
                status: "502 Bad Gateway",
                text: format!("{host} cannot be reached: {error}\n"),
            },
        })
    }
}

/// An answer of the proxy's own.
struct Refused {
    status: &'static str,
    text: String,
}

/// Connects to a host that nobody lists. `Err(None)`: it is not on this machine, as it must be.
async fn connect(asked: &Asked, local_only: bool) -> Result<TcpStream, Option<io::Error>> {
    let target = (asked.host.as_str(), asked.port);
    if local_only {
        // A name is not even looked up: that alone would leave the machine.
        let is_local = asked.host.eq_ignore_ascii_case("localhost")
            || asked
                .host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        if !is_local {
            return Err(None);
        }
    }
    let connecting = async {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host(target).await? {
            // Whether it is refused says nothing about a dependency.
            match dial::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let timed_out = |_| Some(io::ErrorKind::TimedOut.into());
    let connected = timeout(CONNECT_WITHIN, connecting).await;
    connected.map_err(timed_out)?.map_err(Some)
}

/// Comes back when the client has closed or reset. What it sends meanwhile stays unread.
async fn left(client: &TcpStream) {
    let mut byte = [0];
    match client.peek(&mut byte).await {
        Ok(0) | Err(_) => {}
        // It has begun to speak; it is found out later whether it stays.
        Ok(_) => std::future::pending().await,
    }
}

/// Reads at most as far as the head's end; false when the client has left or takes too long.
async fn read_towards_head(
    client: &mut TcpStream,
    bytes: &mut Vec<u8>,
    deadline: tokio::time::Instant,
) -> io::Result<bool> {
    let mut look = [0; 4096];
    let Ok(seen) = timeout_at(deadline, client.peek(&mut look)).await else {
        return Ok(false);
    };
    let seen = &look[..seen?];
    if seen.is_empty() {
        return Ok(false);
    }
    let before = bytes.len();
    bytes.extend_from_slice(seen);
    // The last bytes of the head may have come before: the end is looked for across the seam.
    let from = before.saturating_sub(3);
    let end = bytes[from..]
        .windows(4)
        .position(|four| four == b"\r\n\r\n");
    let taken = end.map_or(seen.len(), |end| (from + end + 4 - before).min(seen.len()));
    bytes.truncate(before);
    let mut rest = vec![0; taken];
    client.read_exact(&mut rest).await?;
    bytes.extend_from_slice(&rest);
    Ok(true)
}

/// Understands a head, with where it ends. `Ok(None)`: more bytes are needed.
fn asked(bytes: &[u8]) -> Result<Option<(Asked, usize)>, Wrong> {
    let read = read_request(bytes, |request, facts| {
        let target = request.path.unwrap_or_default();
        let asked = if facts.is_connect {
            authority(target, None).map(|(host, port)| Asked {
                host,
                port,
                head: None,
            })
        } else {
            plain(request, target)
        };
        asked.map(|asked| (asked, facts.len))
    });
    match read {
        Ok(None) if bytes.len() > HEAD_BYTES_MAX => Err(Wrong::Head(BadHead::TooLarge)),
        Ok(None) => Ok(None),
        Ok(Some(Some(asked))) => Ok(Some(asked)),
        Ok(Some(None)) => Err(Wrong::Target),
        Err(bad) => Err(Wrong::Head(bad)),
    }
}

/// `host:port` or `[v6]:port`.
fn authority(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let parsed: http::uri::Authority = text.parse().ok()?;
    if text.contains('@') {
        return None;
    }
    let port = parsed.port_u16().or(default)?;
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// A request with a whole URL, and the head that is sent on.
fn plain(request: &httparse::Request<'_, '_>, target: &str) -> Option<Asked> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, port) = authority(&rest[..split], Some(80))?;
    let path = match &rest[split..] {
        path if path.starts_with('/') => path.to_owned(),
        query => format!("/{query}"),
    };
    let mut head = format!(
        "{} {path} HTTP/1.{}\r\n",
        request.method?,
        request.version.unwrap_or(1)
    )
    .into_bytes();
    for header in request.headers.iter() {
        let own = OWN_HEADERS
            .iter()
            .any(|own| header.name.eq_ignore_ascii_case(own));
        if !own {
            head.extend_from_slice(header.name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(header.value);
            head.extend_from_slice(b"\r\n");
        }
    }
    // An upgrade is asked for by these two headers together, and ends the request's connection
    // as HTTP anyway.
    let upgrade = request
        .headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("upgrade"));
    head.extend_from_slice(if upgrade {
        b"Connection: Upgrade\r\n\r\n"
    } else {
        b"Connection: close\r\n\r\n"
    });
    Some(Asked {
        host,
        port,
        head: Some(head),
    })
}

async fn refuse_wrong(client: &mut TcpStream, wrong: &Wrong) -> io::Result<()> {
    match wrong {
        Wrong::Head(bad) => {
            let (status, reason) = bad.status();
            answer(client, &format!("{status} {reason}"), &format!("{bad}\n")).await
        }
        Wrong::Target => {
            let text = "this is a forward proxy: it takes CONNECT host:port, or http://host/path\n";
            answer(client, "400 Bad Request", text).await
        }
    }
}

async fn answer(client: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// Passes bytes both ways until both sides are done, half-close kept. A side that breaks off is
/// broken off towards the other.
async fn pass(
    client: &mut TcpStream,
    mut upstream: TcpStream,
    asked: Asked,
    extra: &[u8],
) -> io::Result<()> {
    upstream.set_nodelay(true)?;
    match &asked.head {
        Some(head) => upstream.write_all(head).await?,
        None => {
            let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
            client.write_all(established).await?;
        }
    }
    upstream.write_all(extra).await?;
    let passed =
        copy_bidirectional_with_sizes(client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await;
    if passed.is_err() {
        for side in [&*client, &upstream] {
            // It fails on a connection that is gone already.
            let _ = socket2::SockRef::from(side).set_linger(Some(Duration::ZERO));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str) -> Option<(String, u16, Option<String>)> {
        let (asked, length) = asked(head.as_bytes()).ok()??;
        assert_eq!(length, head.len());
        let head = asked
            .head
            .map(|head| String::from_utf8(head).expect("text"));
        Some((asked.host, asked.port, head))
    }

    #[test]
    fn a_tunnel_names_host_and_port() {
        let tunnel = |target: &str| check(&format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(
            tunnel("api.segment.io:443"),
            Some(("api.segment.io".into(), 443, None))
        );
        assert_eq!(tunnel("[::1]:8443"), Some(("::1".into(), 8443, None)));
        for wrong in ["api.segment.io", "user@a.io:443", ":443", "/path"] {
            assert_eq!(tunnel(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_whole_url_is_sent_on_as_its_path_without_what_was_said_to_the_proxy() {
        let head = "POST http://Hooks.Example:8080/in?x=1 HTTP/1.1\r\nHost: Hooks.Example:8080\r\n\
                    Proxy-Connection: keep-alive\r\nProxy-Authorization: secret\r\nConnection: keep-alive\r\n\
                    X-Id:  7\r\nContent-Length: 2\r\n\r\n";
        let sent = "POST /in?x=1 HTTP/1.1\r\nHost: Hooks.Example:8080\r\nX-Id: 7\r\n\
                    Content-Length: 2\r\nConnection: close\r\n\r\n";
        assert_eq!(
            check(head),
            Some(("Hooks.Example".into(), 8080, Some(sent.into())))
        );
        let bare = check("GET http://a.io?x HTTP/1.0\r\n\r\n").expect("understood");
        assert_eq!(bare.1, 80);
        assert_eq!(
            bare.2.as_deref(),
            Some("GET /?x HTTP/1.0\r\nConnection: close\r\n\r\n")
        );
    }

    #[test]
    fn what_is_meant_for_a_server_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET https://a.io/ HTTP/1.1\r\n\r\n",
            "GET http:///x HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(asked(head.as_bytes()), Err(Wrong::Target), "{head}");
        }
        assert!(asked(b"nonsense\r\n\r\n").is_err());
        assert_eq!(asked(b"CONNECT a.io:443 HT").expect("so far"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = asked(&bytes);
        }
    }
}
