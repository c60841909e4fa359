//! HTTP/1.1 and HTTP/2 towards the system. Until a message engine stands here, HTTP passes as a
//! stream of bytes.

use super::{connection::Accepted, relay};

/// Serves one connection until it is over.
pub(super) async fn serve(accepted: Accepted) {
    relay::serve(accepted).await;
}
