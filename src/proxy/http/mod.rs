//! HTTP/1.1 and HTTP/2 as the proxy speaks them, both ways. Owns no listener and decides nothing:
//! what may be done to a request the faults say, and this carries it out.
//!
//! A connection has a `desk`, which knows who observes it (a dependency's proxy, or the system's
//! front door); each request on it is an `exchange`, whose observation is recorded however it
//! ends. `head` and `body` find out where messages end, `http1` serves the requests of a
//! connection in order, `forward` runs both directions of one, and `memory` keeps answers for the
//! fault that gives them again.

pub mod body;
mod desk;
mod exchange;
mod forward;
pub mod head;
mod http1;
mod inlet;
mod memory;
#[cfg(test)]
mod tests;

pub(super) use memory::Memory;

use super::{
    connection::{Accepted, Alpn, Shared},
    relay,
    upstream::UpstreamStream,
};
use crate::fault::Closing;
use desk::Desk;
use http1::{Dial, Http1};
use std::{io, sync::Arc};

/// Connects to a dependency as the client connected to us.
struct ToDependency {
    shared: Arc<Shared>,
    server_name: Option<String>,
    alpn: Alpn,
}

impl Dial for ToDependency {
    type Stream = UpstreamStream;

    async fn dial(&mut self) -> io::Result<UpstreamStream> {
        let name = self.server_name.as_deref();
        self.shared.connect_upstream(name, self.alpn).await
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
    let desk = Desk::Dependency {
        connection,
        life: Arc::clone(&life),
        shared: Arc::clone(&shared),
    };
    let held_bytes = shared.config.limits.held_bytes;
    let dial = ToDependency {
        shared,
        server_name,
        alpn: Alpn::Http1,
    };
    let mut engine = Http1::new(stream, dial, Arc::new(desk), held_bytes);
    let over = engine.run().await;
    life.ended(over.how);
    if let Some(closing) = over.closing {
        life.close(closing);
        if closing == Closing::HalfClose {
            engine.drain().await;
        }
    }
}
