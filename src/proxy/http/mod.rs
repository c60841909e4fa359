//! HTTP/1.1 and HTTP/2 as the proxy speaks them, both ways. Owns no listener and decides nothing:
//! what may be done to a request the faults say, and this carries it out.
//!
//! A connection has a `desk`, which knows who observes it (a dependency's proxy, or the system's
//! front door); each request on it is an `exchange`, whose observation is recorded however it
//! ends. `head` and `body` find out where messages end, `http1` serves the requests of a
//! connection in order, `forward` runs both directions of one, and `memory` keeps answers for the
//! fault that gives them again. `ingress` is the front door.

pub mod body;
mod desk;
mod exchange;
mod forward;
pub mod head;
mod http1;
mod ingress;
mod inlet;
mod memory;
#[cfg(test)]
mod tests;

pub use ingress::Ingress;
pub(super) use memory::Memory;

use super::{
    connection::{Accepted, Alpn, Shared},
    relay,
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
    if accepted.alpn.as_deref() == Some(b"h2") {
        return relay::serve(accepted).await;
    }
    let Accepted {
        stream,
        connection,
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
    serve_client(stream, dial, Arc::new(desk), held_bytes).await;
}

/// Serves one client until its connection is over. Of a request that a fault holds, at most
/// `held_bytes` are kept.
async fn serve_client<C, D>(client: C, dial: D, desk: Arc<Desk>, held_bytes: usize) -> Over
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dial,
{
    let mut engine = Http1::new(client, dial, Arc::clone(&desk), held_bytes);
    let over = engine.run().await;
    desk.leave(&over);
    if over.closing == Some(Closing::HalfClose) {
        engine.drain().await;
    }
    over
}
