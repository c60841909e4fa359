//! SnapEngage's live chat on 23 June 2015, small: visitors' questions reach agents over Pusher.
//!
//! ```text
//! visitors -> server -> Pusher (HTTP API) -> Pusher (WebSocket) -> agents' portals
//!               ^  `-> pager (remedied only)                            |      |
//!               `------- read, heartbeats, inbox (remedied) ------------'      `-> transcripts
//! ```
//!
//! What each part does in its two variants stands at the head of its file.

mod portal;
mod portals;
mod pusher;
mod server;
mod trouble;

pub use portals::{Portals, PortalsSetup};
pub use server::{Server, ServerSetup};

#[cfg(test)]
mod tests;
