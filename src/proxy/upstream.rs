//! Connections to the dependency: names resolved, TCP, TLS, ALPN. No faults act here.

use crate::{
    dial,
    protocol::{Protocol, postgres},
};
use rustls::pki_types::ServerName;
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where the dependency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken to it.
    pub tls: bool,
}

impl UpstreamAddress {
    /// Where an `http://` or `https://` URL leads; `None` for a text that is neither.
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
        })
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What ALPN offers to the dependency. It must be what the client speaks to us, as nothing is
/// translated on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// Nothing: any protocol that is not HTTP.
    None,
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// `h2`, then `http/1.1`: only to learn what it speaks.
    Either,
}

impl Alpn {
    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::None => &[],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

const HTTP2_UNKNOWN: u8 = 0;
const HTTP2_NO: u8 = 1;
const HTTP2_YES: u8 = 2;

/// Connects to one dependency.
#[derive(Debug)]
pub(crate) struct Connector {
    address: UpstreamAddress,
    protocol: Protocol,
    connect_limit: Duration,
    /// One configuration for each of [`Alpn`], in its order.
    tls: [Arc<rustls::ClientConfig>; 4],
    http2: AtomicU8,
}

impl Connector {
    pub(super) fn new(
        address: UpstreamAddress,
        tls: &Arc<rustls::ClientConfig>,
        protocol: Protocol,
        connect_limit: Duration,
    ) -> Self {
        let tls = [Alpn::None, Alpn::Http1, Alpn::Http2, Alpn::Either].map(|alpn| {
            let mut config = rustls::ClientConfig::clone(tls);
            config.alpn_protocols = alpn.names();
            Arc::new(config)
        });
        Self {
            address,
            protocol,
            connect_limit,
            tls,
            http2: AtomicU8::new(HTTP2_UNKNOWN),
        }
    }

    /// Connects, within the limit. `name` is the server name for TLS; the upstream's own host
    /// where the client named none.
    pub(crate) async fn connect(
        &self,
        name: Option<&str>,
        alpn: Alpn,
    ) -> io::Result<UpstreamStream> {
        let connecting = self.connect_unbounded(name, alpn);
        match tokio::time::timeout(self.connect_limit, connecting).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn connect_unbounded(
        &self,
        name: Option<&str>,
        alpn: Alpn,
    ) -> io::Result<UpstreamStream> {
        let mut stream = self.dial().await?;
        stream.set_nodelay(true)?;
        // With MySQL TLS begins later, within the protocol.
        if !self.address.tls || self.protocol == Protocol::Mysql {
            return Ok(UpstreamStream::Plain(stream));
        }
        if self.protocol == Protocol::Postgres {
            ask_for_tls(&mut stream).await?;
        }
        // A client that knows us as localhost has not named the dependency.
        let name = name.filter(|name| *name != "localhost");
        let name = ServerName::try_from(name.unwrap_or(&self.address.host).to_owned())
            .map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls[alpn as usize]));
        let stream = Box::pin(connector.connect(name, stream)).await?;
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }

    /// Begins TLS on a connection that was plain until now, within the connect limit.
    pub(crate) async fn secure(&self, stream: UpstreamStream) -> io::Result<UpstreamStream> {
        let UpstreamStream::Plain(stream) = stream else {
            return Ok(stream);
        };
        let name = ServerName::try_from(self.address.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls[Alpn::None as usize]));
        let connecting = Box::pin(connector.connect(name, stream));
        match tokio::time::timeout(self.connect_limit, connecting).await {
            Ok(stream) => Ok(UpstreamStream::Tls(Box::new(stream?))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Connects to the first of the host's addresses that takes it.
    async fn dial(&self) -> io::Result<TcpStream> {
        let host = (self.address.host.as_str(), self.address.port);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in tokio::net::lookup_host(host).await? {
            match dial::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether the dependency is known to speak HTTP/2 over TLS.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed) == HTTP2_YES
    }

    /// It speaks HTTP/2, also without TLS.
    pub(super) fn assume_http2(&self) {
        self.http2.store(HTTP2_YES, Ordering::Relaxed);
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        let alpn = if self.protocol.is_http() {
            Alpn::Either
        } else {
            Alpn::None
        };
        let stream = self
            .connect(None, alpn)
            .await
            .map_err(|error| format!("cannot connect to {}: {error}", self.address))?;
        let http2 = match stream.alpn() {
            Some(b"h2") => HTTP2_YES,
            _ => HTTP2_NO,
        };
        self.http2.store(http2, Ordering::Relaxed);
        Ok(())
    }
}

/// Asks a PostgreSQL server for TLS, which it answers with one byte.
async fn ask_for_tls(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&postgres::TLS_REQUEST).await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    match &answer {
        b"S" => Ok(()),
        _ => Err(io::Error::other("it does not speak TLS")),
    }
}

/// A connection to the dependency.
#[derive(Debug)]
pub(crate) enum UpstreamStream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl UpstreamStream {
    /// What ALPN chose, where TLS is spoken.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(test)]
        super::tally::wrote();
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
