//! HTTP for the reference programs: answers, small bodies, one request over one connection
//! ([`ask`]), a pool of connections where much is passed on ([`Pool`]), and word to a pager or to
//! another instance ([`tell`]). To third parties it goes through the forward proxy that the
//! environment names, as with every HTTP library.

use super::Refusal;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, client::conn::http1, header,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The longest body that is read, either way.
const BODY_MAX: usize = 1024 * 1024;

/// For what is told to a pager or to another instance.
const TELL: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
};

/// How often it is tried to get a word through, and the pause between two tries.
const TELL_TRIES: u32 = 3;
const TELL_PAUSE: Duration = Duration::from_millis(200);

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    answer
}

/// A body, at most 1 MiB of it; `None` if it is longer or breaks off.
pub(super) async fn body_of(incoming: Incoming) -> Option<Bytes> {
    let body = Limited::new(incoming, BODY_MAX).collect().await.ok()?;
    Some(body.to_bytes())
}

/// Where requests go: `http://host:port`, or a third party.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// `host:port`, for connecting and for the `Host` header.
    pub authority: String,
    /// The address as it was given, without a slash at its end.
    pub url: String,
    /// How a connection comes about; `None`: straight and without TLS.
    tunnel: Option<Tunnel>,
}

/// A way to a third party: TLS, through the forward proxy if there is one.
#[derive(Clone)]
struct Tunnel {
    /// The proxy's `host:port`.
    proxy: Option<String>,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("proxy", &self.proxy)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A third party's HTTPS service, whose name is wired into the program that asks it. `proxy` is
    /// what `HTTPS_PROXY` said; `tls` knows whom to trust.
    ///
    /// # Errors
    /// A proxy that is not `http://host:port`.
    pub(super) fn third_party(
        host: &'static str,
        proxy: Option<&str>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Self, Refusal> {
        let name = ServerName::try_from(host)
            .map_err(|_| Refusal::Usage(format!("`{host}` is no host name")))?;
        let proxy = proxy.map(Self::parse).transpose()?;
        Ok(Self {
            authority: host.to_owned(),
            url: format!("https://{host}"),
            tunnel: Some(Tunnel {
                proxy: proxy.map(|proxy| proxy.authority),
                name,
                tls,
            }),
        })
    }

    /// # Errors
    /// Anything but a plain-text HTTP address.
    pub(super) fn parse(url: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::Usage(format!("`{url}` is not an address like http://host:port"));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
            url: url.trim_end_matches('/').to_owned(),
            tunnel: None,
        })
    }
}

/// How third parties are trusted: by the system's roots, or those of `SSL_CERT_FILE`.
///
/// # Errors
/// No version of TLS is left to speak.
pub(super) fn trust() -> Result<Arc<rustls::ClientConfig>, Refusal> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::Usage(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// How long an attempt waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the connection.
    pub connect: Duration,
    /// From then on, for the whole answer.
    pub answer: Duration,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, or not in time.
    NoConnection,
    /// No whole answer in time.
    NoAnswer,
    /// The connection broke off, or the answer was no HTTP.
    Broken,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConnection => "no connection",
            Self::NoAnswer => "no answer in time",
            Self::Broken => "the connection broke off",
        })
    }
}

/// One request over a connection of its own, so that what a time-out covers is plain to see. The
/// request needs no `Host`; it gets the endpoint's.
pub(super) async fn ask(
    endpoint: &Endpoint,
    mut request: Request<Full<Bytes>>,
    patience: Patience,
) -> Result<Response<Bytes>, Failure> {
    let mut sender = connect(endpoint, patience).await?;
    name_host(endpoint, &mut request)?;
    let exchange = async {
        let answer = sender.send_request(request).await.ok()?;
        whole(answer).await
    };
    within(patience, exchange).await
}

/// Posts a value until it is taken, three times at most.
pub(super) async fn tell(endpoint: Endpoint, path: &'static str, value: serde_json::Value) {
    for _ in 0..TELL_TRIES {
        let mut request = Request::new(Full::new(Bytes::from(value.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(path);
        let kind = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        match ask(&endpoint, request, TELL).await {
            Ok(answer) if answer.status().is_success() => return,
            _ => time::sleep(TELL_PAUSE).await,
        }
    }
    eprintln!("{} did not take `{path}`", endpoint.url);
}

/// The most connections that a pool keeps for later.
const IDLE_MAX: usize = 32;

/// Connections to one endpoint that are used again.
#[derive(Debug)]
pub(super) struct Pool {
    pub endpoint: Endpoint,
    idle: Mutex<Vec<Sender>>,
}

type Sender = http1::SendRequest<Full<Bytes>>;

impl Pool {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            idle: Mutex::default(),
        }
    }

    /// As [`ask`], over a connection that is idle if there is one. A request that an idle
    /// connection did not take, because it was closed meanwhile, goes over a fresh one.
    pub(super) async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
        patience: Patience,
    ) -> Result<Response<Bytes>, Failure> {
        name_host(&self.endpoint, &mut request)?;
        loop {
            let kept = self.idle.lock().pop();
            let is_fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) if sender.is_closed() => continue,
                Some(sender) => sender,
                None => connect(&self.endpoint, patience).await?,
            };
            let exchange = async {
                match sender.try_send_request(request).await {
                    Ok(answer) => Ok(whole(answer).await),
                    Err(mut error) => Err(error.take_message()),
                }
            };
            let answer = match time::timeout(patience.answer, exchange).await {
                Ok(Ok(answer)) => answer.ok_or(Failure::Broken),
                Ok(Err(Some(unsent))) if !is_fresh => {
                    request = unsent;
                    continue;
                }
                Ok(Err(_)) => Err(Failure::Broken),
                Err(_) => Err(Failure::NoAnswer),
            }?;
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(sender);
            }
            return Ok(answer);
        }
    }
}

async fn connect(endpoint: &Endpoint, patience: Patience) -> Result<Sender, Failure> {
    let connecting = async {
        match &endpoint.tunnel {
            None => shake_hands(dial(&endpoint.authority).await?).await,
            Some(tunnel) => shake_hands(dig(&endpoint.authority, tunnel).await?).await,
        }
    };
    time::timeout(patience.connect, connecting)
        .await
        .unwrap_or(Err(Failure::NoConnection))
}

async fn dial(authority: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|_| Failure::NoConnection)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn shake_hands<S>(stream: S) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Broken)?;
    // Ends with its sender, or when the peer closes it.
    tokio::spawn(connection);
    Ok(sender)
}

/// A TLS connection to a third party, through the forward proxy's CONNECT if there is one.
async fn dig(host: &str, tunnel: &Tunnel) -> Result<TlsStream<TcpStream>, Failure> {
    let target = format!("{host}:443");
    let stream = match &tunnel.proxy {
        None => dial(&target).await?,
        Some(proxy) => {
            let mut stream = dial(proxy).await?;
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
            let sent = stream.write_all(request.as_bytes()).await;
            if sent.is_err() || !is_open(&mut stream).await {
                return Err(Failure::NoConnection);
            }
            stream
        }
    };
    TlsConnector::from(Arc::clone(&tunnel.tls))
        .connect(tunnel.name.clone(), stream)
        .await
        .map_err(|_| Failure::NoConnection)
}

/// The longest answer of a proxy to CONNECT that is read.
const PROXY_ANSWER_MAX: usize = 8 * 1024;

/// Whether the proxy answered CONNECT with a 200. Read byte by byte, as what follows the head is
/// no longer the proxy's.
async fn is_open(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while head.len() < PROXY_ANSWER_MAX && !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200")
}

fn name_host(endpoint: &Endpoint, request: &mut Request<Full<Bytes>>) -> Result<(), Failure> {
    let host = header::HeaderValue::from_str(&endpoint.authority).map_err(|_| Failure::Broken)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// The answer with its whole body.
async fn whole(answer: Response<Incoming>) -> Option<Response<Bytes>> {
    let (head, body) = answer.into_parts();
    let body = body_of(body).await?;
    Some(Response::from_parts(head, body))
}

async fn within(
    patience: Patience,
    exchange: impl Future<Output = Option<Response<Bytes>>>,
) -> Result<Response<Bytes>, Failure> {
    match time::timeout(patience.answer, exchange).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::Broken),
        Err(_) => Err(Failure::NoAnswer),
    }
}
