//! Passes bytes between the client and the dependency, whatever they mean.

use super::{
    connection::{Accepted, Alpn, ClientStream, Life},
    upstream::UpstreamStream,
};
use crate::fault::Closing;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Serves one connection of a plain stream: connects to the dependency, then passes bytes both
/// ways until both sides are done.
pub(super) async fn serve(accepted: Accepted) {
    let Accepted {
        stream,
        life,
        shared,
        server_name,
        alpn,
        ..
    } = accepted;
    let alpn = match alpn.as_deref() {
        Some(b"h2") => Alpn::Http2,
        Some(b"http/1.1") => Alpn::Http1,
        _ => Alpn::None,
    };
    match shared.connect_upstream(server_name.as_deref(), alpn).await {
        Ok(upstream) => pass(stream, upstream, &life).await,
        Err(error) => {
            life.ended(format!("upstream {}", error.kind()));
            life.close(Closing::Reset);
        }
    }
}

/// Passes bytes both ways until both sides are done; half-close is kept. An engine calls this
/// after an upgrade, when all it has buffered is written.
pub(super) async fn pass(mut client: ClientStream, mut upstream: UpstreamStream, life: &Life) {
    let passing =
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, CHUNK, CHUNK);
    match passing.await {
        Ok(_) => life.ended("both sides closed"),
        Err(error) => {
            life.ended(format!("broke off: {error}"));
            life.close(Closing::Reset);
        }
    }
}
