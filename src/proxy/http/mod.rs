//! HTTP/1.1 and HTTP/2 as the proxy speaks them, both ways. Owns no listener and decides nothing.
//!
//! Until the engines stand here, HTTP passes as a stream of bytes.

pub mod body;
pub mod head;

use super::{connection::Accepted, relay};

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    relay::serve(accepted).await;
}
