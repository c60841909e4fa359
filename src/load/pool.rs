//! Connections to the system, kept open between operations.
//!
//! Open loop needs no limit here: an operation that finds no idle connection dials one, and how
//! many operations are in flight is limited by the driver. Only idle connections are bounded.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{collections::VecDeque, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

/// The most connections that are kept open while nothing uses them.
pub(super) const IDLE_MAX: usize = 256;

/// A connection that was idle for longer is not used again. Common servers close theirs after 2 s
/// or more; a request sent into such a close would fail though the system is well.
const IDLE_FOR_MAX: Duration = Duration::from_secs(1);

/// The time that a connection has to become ready again after an answer was read to its end.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Bytes in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a connection.
pub(super) type Dial =
    Arc<dyn Fn() -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// A connection on which a request can be sent.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// The connections of one driver.
pub(super) struct Pool {
    dial: Dial,
    idle: Mutex<VecDeque<(Sender, Instant)>>,
}

/// A connection, and whether anything was sent on it before.
pub(super) struct Acquired {
    /// The connection.
    pub sender: Sender,
    /// Whether it was idle in the pool.
    pub reused: bool,
}

impl Pool {
    /// A pool without connections.
    pub fn new(dial: Dial) -> Self {
        Self {
            dial,
            idle: Mutex::new(VecDeque::new()),
        }
    }

    /// The idle connection that was used last, or a new one.
    pub async fn acquire(&self) -> io::Result<Acquired> {
        if let Some(sender) = self.take_idle() {
            return Ok(Acquired {
                sender,
                reused: true,
            });
        }
        let stream = (self.dial)().await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // Ends when the sender is dropped or the peer closes; its errors reach the sender.
        tokio::spawn(connection);
        Ok(Acquired {
            sender,
            reused: false,
        })
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        while let Some((sender, since)) = idle.pop_back() {
            if since.elapsed() > IDLE_FOR_MAX {
                // The others have been idle for longer still.
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end, unless the peer closes it.
    pub async fn give_back(&self, mut sender: Sender) {
        if !matches!(timeout(READY_WITHIN, sender.ready()).await, Ok(Ok(()))) {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() == IDLE_MAX {
            idle.pop_front();
        }
        idle.push_back((sender, Instant::now()));
    }
}
