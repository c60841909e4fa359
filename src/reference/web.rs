//! HTTP for the reference programs: answers, small bodies, one request over one connection
//! ([`ask`]), a pool of connections where much is passed on ([`Pool`]), and word to a pager or to
//! another instance ([`tell`]).

use super::Refusal;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, client::conn::http1, header,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{fmt, time::Duration};
use tokio::{net::TcpStream, time};

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

/// Where requests go: `http://host:port`.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// `host:port`, for connecting and for the `Host` header.
    pub authority: String,
    /// The address as it was given, without a slash at its end.
    pub url: String,
}

impl Endpoint {
    /// # Errors
    /// Anything but a plain-text HTTP address: these programs speak no TLS.
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
        })
    }
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
    let connecting = TcpStream::connect(&endpoint.authority);
    let stream = match time::timeout(patience.connect, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) | Err(_) => return Err(Failure::NoConnection),
    };
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Broken)?;
    // Ends with its sender, or when the peer closes it.
    tokio::spawn(connection);
    Ok(sender)
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
