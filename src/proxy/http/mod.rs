//! HTTP/1.1 and HTTP/2 as the proxy speaks them, both ways. Owns no listener and decides nothing:
//! what may be done to a request the faults say, and this carries it out.
//!
//! A connection has a `desk`, which knows who observes it (a dependency's proxy, or the system's
//! front door); each request on it is an `exchange`, whose observation is recorded however it
//! ends. `decide` asks the faults about it. `head` and `body` find out where messages of HTTP/1.x
//! end, `http1` serves the requests of a connection in order, `forward` runs both directions of
//! one; `http2` serves the streams of a connection side by side. `channels` carries the messages of
//! a WebSocket of Pusher. `memory` keeps answers for the
//! fault that gives them again. `ingress` is the front door.

pub mod body;
mod channels;
mod desk;
mod exchange;
mod forward;
pub mod head;
mod http1;
mod http2;
mod ingress;
mod memory;
#[cfg(test)]
mod tests;

pub use ingress::Ingress;
pub(super) use memory::Memory;

use super::{
    connection::{Accepted, Alpn, Shared},
    replayed::Replayed,
    scratch,
    upstream::UpstreamStream,
};
use crate::fault::Closing;
use desk::Desk;
use http1::{Dial, Http1, Over};
use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// Connects to a dependency as the client connected to us.
struct ToDependency {
    shared: Arc<Shared>,
    server_name: Option<String>,
}

impl Dial for ToDependency {
    type Stream = UpstreamStream;

    async fn dial(&self, alpn: Alpn) -> io::Result<UpstreamStream> {
        let name = self.server_name.as_deref();
        self.shared.connect_upstream(name, alpn).await
    }
}

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        connection,
        alpn,
        server_name,
        life,
        shared,
        ..
    } = accepted;
    let held_bytes = shared.config.limits.held_bytes;
    let desk = Desk::Dependency {
        connection,
        life,
        shared: Arc::clone(&shared),
    };
    let dial = ToDependency {
        shared,
        server_name,
    };
    // Behind TLS the client has already said what it speaks.
    let spoken = alpn.map(|alpn| alpn == b"h2");
    serve_client(stream, spoken, dial, Arc::new(desk), held_bytes).await;
}

/// Serves one client until its connection is over. `is_http2`: what it speaks, where that is known
/// before its first byte. Of a request that a fault holds, at most `held_bytes` are kept.
async fn serve_client<C, D>(
    mut client: C,
    is_http2: Option<bool>,
    dial: D,
    desk: Arc<Desk>,
    held_bytes: usize,
) -> Over
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dial<Stream: 'static>,
{
    let (first, is_http2) = match is_http2 {
        Some(is_http2) => (Vec::new(), is_http2),
        None => match preface(&mut client).await {
            Ok(found) => found,
            Err(error) => {
                let over = Over::left(&format!("client broke off: {error}"));
                desk.leave(&over);
                return over;
            }
        },
    };
    if is_http2 {
        let client = Replayed::new(first, client);
        let over = Box::pin(http2::serve(client, dial, Arc::clone(&desk))).await;
        desk.leave(&over);
        return over;
    }
    let mut engine = Http1::new(client, first, dial, Arc::clone(&desk), held_bytes);
    let over = engine.run().await;
    desk.leave(&over);
    if over.closing == Some(Closing::HalfClose) {
        engine.drain().await;
    }
    over
}

/// How a client begins that speaks HTTP/2 without having asked.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads a client's first bytes until they tell whether it speaks HTTP/2.
async fn preface(client: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, bool)> {
    let mut first = Vec::new();
    loop {
        let read = scratch::read_to(client, &mut first).await?;
        if first.starts_with(PREFACE) {
            return Ok((first, true));
        }
        if read == 0 || !PREFACE.starts_with(&first) {
            return Ok((first, false));
        }
    }
}
