//! Listens for those who drive an API: HTTP/1.1, bounded in connections, bodies and time.

use super::{
    guard::{Guard, Refusal},
    toxiproxy::{Api, Asked, Reply},
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The most connections open at once. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;

/// The largest body that is read, in bytes; more is answered with 413.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a connection may say nothing, and a request's head may take; then it is closed. Clients
/// keep connections for their next request.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// How long a request's body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(15);

/// How long an answer may take to be made; then it is 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// How long an answer may take to be sent, from its first byte; then the connection is closed, as
/// nobody reads it.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// How long the body of a request that is refused is awaited, so that the answer is not lost.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// How long requests under way may take to finish once the server is stopped.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How long accepting rests after it failed, for instance because no file descriptor was left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-toxiproxy-request-id");

/// What an answer is that took too long.
const TOO_LONG: &str =
    "<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>";

/// A running API with its proxies. Dropping it closes everything without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    api: Arc<Api>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds the addresses and begins to answer.
    pub(super) fn start(listen: &[SocketAddr], api: Arc<Api>, guard: Guard) -> io::Result<Self> {
        let (first, others) = match listen {
            [first, others @ ..] => (*first, others),
            [] => return Err(io::Error::other("no address to listen on")),
        };
        let listener = bound(first)?;
        let address = listener.local_addr()?;
        // A port that was chosen for the first is wanted for the others too.
        let others = others
            .iter()
            .map(|other| SocketAddr::new(other.ip(), address.port()));
        let others = others.filter_map(|other| bound(other).ok());
        let listeners: Vec<TcpListener> = std::iter::once(listener).chain(others).collect();
        let server = Self {
            address,
            api,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let desk = Arc::new(Desk {
            api: Arc::clone(&server.api),
            guard,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            stopping: server.stopping.clone(),
        });
        for listener in listeners {
            let (desk, tasks) = (Arc::clone(&desk), server.tasks.clone());
            server.tasks.spawn(desk.accept(listener, tasks));
        }
        server.tasks.close();
        Ok(server)
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes the requests under way, closes every proxy with its connections, and frees the
    /// ports.
    pub async fn stop(self) {
        self.stopping.cancel();
        // Who does not read its answer by then does not get it.
        let _ = timeout(DRAIN_WITHIN, self.tasks.wait()).await;
        // Nor does a request go on that waits for the address of a name.
        let _ = timeout(DRAIN_WITHIN, self.api.proxies().shut()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Where requests come in.
struct Desk {
    api: Arc<Api>,
    guard: Guard,
    permits: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Desk {
    async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let next = async || {
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            let (stream, _) = listener.accept().await.ok()?;
            Some((stream, permit))
        };
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return,
                accepted = next() => accepted,
            };
            let Some((stream, permit)) = accepted else {
                sleep(ACCEPT_REST).await;
                continue;
            };
            let desk = Arc::clone(&self);
            tasks.spawn(async move {
                desk.serve(stream).await;
                drop(permit);
            });
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // Fails only on a connection that is already gone.
        let _ = stream.set_nodelay(true);
        let desk = Arc::clone(&self);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(Bounded::new(stream)), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // A client that breaks off is its own business.
            _ = &mut connection => {}
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Err(refusal) = self.guard.check(&head.headers) {
            let mut body = Limited::new(body, BODY_BYTES_MAX);
            let passing_over = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(REFUSED_WITHIN, passing_over).await;
            return refused(refusal);
        }
        let reading = timeout(BODY_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect());
        let body = match reading.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return written(Reply::plain(413, "request body too large\n"));
            }
            Ok(Err(_)) => return written(Reply::plain(400, "the request body broke off\n")),
            Err(_) => return written(Reply::plain(408, "the request body took too long\n")),
        };
        let asked = Asked {
            method: &head.method,
            path: head.uri.path(),
            user_agent: head.headers.get(USER_AGENT).map(HeaderValue::as_bytes),
            body,
        };
        let answering = timeout(ANSWER_WITHIN, self.api.answer(&asked));
        let reply = answering.await.unwrap_or_else(|_| {
            Reply::with(503, "text/html; charset=utf-8", TOO_LONG.to_owned(), false)
        });
        written(reply)
    }
}

/// A connection whose peer has to read what it is sent.
struct Bounded<S> {
    stream: S,
    /// Since when something is to be sent.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            until: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(sleep(SENT_WITHIN)));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for once everything is written.
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.until = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn refused(refusal: Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::Origin => written(Reply::plain(403, "Origin not allowed\n")),
        Refusal::Host => written(Reply::plain(403, "Host not allowed\n")),
        Refusal::Token => {
            let mut response = written(Reply::plain(401, "token missing or wrong\n"));
            let scheme = HeaderValue::from_static("Basic realm=\"brownout\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            response
        }
    }
}

fn written(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: Option<String>| {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    };
    put(REQUEST_ID, reply.request_id);
    put(LOCATION, reply.location);
    // Who may not ask keeps no connection from those who may.
    let is_refusal = matches!(reply.status, 401 | 403);
    put(CONNECTION, is_refusal.then(|| "close".to_owned()));
    if let Some(content) = reply.content {
        put(CONTENT_TYPE, Some(content.kind.to_owned()));
        if content.is_plain {
            put(X_CONTENT_TYPE_OPTIONS, Some("nosniff".to_owned()));
        }
        *response.body_mut() = Full::new(Bytes::from(content.text));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_answer_is_not_waited_for() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut bounded = Bounded::new(stream);
        for _ in 0..3 {
            bounded.write_all(&[0; 32]).await.expect("there is room");
            bounded.flush().await.expect("it is written");
            sleep(SENT_WITHIN * 2).await;
            peer.read_exact(&mut [0; 32]).await.expect("it is read");
        }
        let began = tokio::time::Instant::now();
        let error = bounded
            .write_all(&[0; 128])
            .await
            .expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < SENT_WITHIN * 2);
    }
}
