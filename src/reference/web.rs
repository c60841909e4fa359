//! HTTP for the reference programs: answers, small bodies, and one request over one connection.
//!
//! A connection an attempt, never a pool: what a time-out covers is then plain to see.

use super::Refusal;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::{fmt, time::Duration};
use tokio::{net::TcpStream, time};

/// The longest body that is read, either way.
const BODY_MAX: usize = 1024 * 1024;

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

/// A request's body, at most 1 MiB of it; `None` if it is longer or breaks off.
pub(super) async fn body(incoming: Incoming) -> Option<Bytes> {
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

/// One request over a connection of its own. The request needs no `Host`; it gets the endpoint's.
pub(super) async fn ask(
    endpoint: &Endpoint,
    mut request: Request<Full<Bytes>>,
    patience: Patience,
) -> Result<Response<Bytes>, Failure> {
    let connecting = TcpStream::connect(&endpoint.authority);
    let stream = match time::timeout(patience.connect, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) | Err(_) => return Err(Failure::NoConnection),
    };
    let _ = stream.set_nodelay(true);
    let host = header::HeaderValue::from_str(&endpoint.authority).map_err(|_| Failure::Broken)?;
    request.headers_mut().insert(header::HOST, host);
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let answering = async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await.ok()?;
            Some(Response::from_parts(head, body.to_bytes()))
        };
        tokio::pin!(answering, connection);
        // The connection must be driven while the answer is awaited; dropping both closes it.
        tokio::select! {
            answer = &mut answering => answer,
            _ = &mut connection => answering.await,
        }
    };
    match time::timeout(patience.answer, exchange).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::Broken),
        Err(_) => Err(Failure::NoAnswer),
    }
}
